"""Uploads: requests that are too large for the door, put where the door fetches them.

An upload's name tells when it ends, so that nothing has to be stored before the
bytes come.  Its key holds the server's id: the same name at another server is
another upload, which nobody has made.
"""

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import InvalidValue
from shared.domain.ids import ServerId, draw_token
from shared.domain.moments import from_ms, to_ms

LIVES = timedelta(hours=1)
"""From the promise of a place to the last moment at which the upload may be put and used."""

_NAME = re.compile(r"([0-9a-f]{11})-[A-Za-z0-9]{24}")


@dataclass(frozen=True, slots=True)
class Upload:
    """The name of one upload, and until when it is good."""

    server_id: ServerId
    id: str
    expires_at: datetime

    @property
    def key(self) -> str:
        """Where its bytes lie."""
        return f"uploads/{self.server_id}/{self.id}"


def new_upload(server_id: ServerId, *, now: datetime, rng: random.Random) -> Upload:
    """Return an upload of the server that ends after ``LIVES``; its name cannot be guessed."""
    expires_ms = to_ms(now + LIVES)
    return Upload(server_id, f"{expires_ms:x}-{draw_token(rng, 24)}", from_ms(expires_ms))


def upload_of(server_id: ServerId, given: str) -> Upload:
    """Return the server's upload of this name, whether it was ever made or not.

    Raises:
        InvalidValue: no upload has such a name.
    """
    found = _NAME.fullmatch(given)
    if found is None:
        raise InvalidValue("it is not the id of an upload")
    return Upload(server_id, given, from_ms(int(found[1], 16)))
