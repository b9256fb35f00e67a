"""Stamp a mail for addresses of ours: what we know of it goes on top, and what it says in our name goes out.

From the top: what the scanners said, our ``Received``, our ``Authentication-Results``, and the mail. A mail that
begins with a folded line goes on with ``Received`` then, never with a field that says something of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from shared.domain.errors import MalformedMessage
from shared.domain.forged_fields import ForgedFields
from shared.domain.inspection_fields import INSPECTION_FIELDS
from shared.domain.message import Origin
from shared.flow.reserve_incoming import Fingerprint, fingerprint
from smtp_node.receive.off_loop import is_quick, off_loop
from smtp_node.receive.session import Session
from smtp_node.scan.scanner import ScannedMail

AUTHENTICATION_RESULTS = ForgedFields([b"Authentication-Results"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A mail with what goes on it, before it is made for each recipient."""

    mail_from: str
    origin: Origin
    at: datetime
    hostname: str
    results: bytes
    """Our Authentication-Results; empty for a head that cannot be read."""

    clean: bytes
    """The mail without forged fields."""

    authentication: str
    """What ``results`` says, unfolded."""

    came: Fingerprint
    """Of the mail as it came."""

    def parts(self, address: str) -> Sequence[bytes]:
        """Return the mail for one recipient, not joined: it may be large."""
        return (self._received(address), self.results, self.clean)

    def shown_to_scanners(self, recipients: Sequence[str], queue_id: str) -> ScannedMail:
        """Return it as scanners see it."""
        return ScannedMail(
            content=self.parts(recipients[0]),
            mail_from=self.mail_from,
            rcpt_to=tuple(recipients),
            address=self.origin.address,
            name=self.origin.name,
            helo=self.origin.helo,
            queue_id=queue_id,
        )

    def _received(self, address: str) -> bytes:
        """Return the Received field of this hop (RFC 5321 §4.4); it is what loops are recognised by."""
        origin = self.origin
        helo = "".join(char for char in origin.helo if char.isascii() and (char.isalnum() or char in ".:-_[]"))[:255]
        client = f"{helo or 'unknown'} ({origin.name or 'unknown'} [{origin.address}])"
        lines = [
            f"Received: from {client}",
            f"by {self.hostname} with {origin.via.value}",
            f"for <{address}>; {format_datetime(self.at)}",
        ]
        return ("\r\n\t".join(lines) + "\r\n").encode()


async def stamp(session: Session, *, mail_from: str, raw: bytes, origin: Origin) -> Stamped:
    """Find out what goes on the mail, and take out what it may not bring along."""
    inside, quick = session.house.inside, is_quick(raw)
    try:
        results, clean, stated = await inside.authenticate(raw, mail_from, origin)
    except MalformedMessage:
        # Bounces of old systems have strange heads; they must come in all the same. A lenient reader
        # would find forged results in them, and who they claim to be of cannot be told (RFC 8601 §5).
        results, stated = b"", ""
        clean = await off_loop(quick, AUTHENTICATION_RESULTS.taken_out, raw)
    return Stamped(
        mail_from=mail_from,
        origin=origin,
        at=inside.clock(),
        hostname=session.limits.hostname,
        results=results,
        clean=await off_loop(quick, INSPECTION_FIELDS.taken_out, clean),
        authentication=stated,
        came=await off_loop(quick, fingerprint, raw),
    )
