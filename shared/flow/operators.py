"""The operator's bearer tokens: of the management API, and of the figures."""

from hmac import compare_digest

from shared.domain.credentials import key_hash
from shared.ports import Records
from shared.settings import Settings
from shared.store.installation import Installations


async def is_admin_token(token: str, *, settings: Settings, records: Records) -> bool:
    """Whether it is the admin token; one in the settings always wins over the one made at first start."""
    if settings.admin_token:
        return _same(key_hash(token), key_hash(settings.admin_token))
    installation = await Installations(records).get()
    return installation is not None and _same(key_hash(token), installation.admin_token_hash)


async def may_read_metrics(token: str, *, settings: Settings, records: Records) -> bool:
    """Whether it opens the figures of the whole installation: the metrics token, or the admin's."""
    if settings.metrics_token:
        right = _same(key_hash(token), key_hash(settings.metrics_token))
    else:
        installation = await Installations(records).get()
        right = installation is not None and _same(key_hash(token), installation.metrics_token_hash)
    return right or await is_admin_token(token, settings=settings, records=records)


def _same(given: str, stored: str) -> bool:
    # Hashes are compared, so that the time taken tells nothing about the token.
    return bool(stored) and compare_digest(given, stored)
