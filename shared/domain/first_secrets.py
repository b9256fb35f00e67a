"""The secrets of a first start: drawn, and read back from the file that keeps them."""

import json
import random
from dataclasses import dataclass, field

from shared.domain.credentials import KEY_LENGTH
from shared.domain.ids import draw_token

PASSWORD_LENGTH = 20
TOKEN_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is shown once; the store keeps hashes only."""

    installation: str
    admin_password: str = field(repr=False)
    admin_token: str = field(repr=False)
    metrics_token: str = field(repr=False)
    api_key: str = field(repr=False)
    smtp_password: str = field(repr=False)


def draw_secrets(rng: random.Random) -> Secrets:
    """Return new secrets; ``rng`` must be the system's randomness."""
    return Secrets(
        installation=draw_token(rng, KEY_LENGTH),
        admin_password=draw_token(rng, PASSWORD_LENGTH),
        admin_token=draw_token(rng, TOKEN_LENGTH),
        metrics_token=draw_token(rng, TOKEN_LENGTH),
        api_key=draw_token(rng, KEY_LENGTH),
        smtp_password=draw_token(rng, KEY_LENGTH),
    )


def secrets_in(content: str | None) -> Secrets | None:
    """Return the secrets in the file's text; None if it is no such file, or was changed."""
    if content is None:
        return None
    try:
        read = json.loads(content)
        secrets = Secrets(
            installation=read["installation"],
            admin_password=read["admin"]["password"],
            admin_token=read["admin_token"],
            metrics_token=read["metrics_token"],
            api_key=read["api_key"],
            smtp_password=read["smtp"]["password"],
        )
    except (ValueError, KeyError, TypeError):
        return None
    complete = all(isinstance(getattr(secrets, name), str) and getattr(secrets, name) for name in Secrets.__slots__)
    return secrets if complete else None
