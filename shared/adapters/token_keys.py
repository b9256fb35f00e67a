"""Where the keys of tokens lie on the configured backend."""

from shared.domain.errors import StorageUnavailable
from shared.ports import TokenKeyStore
from shared.settings import Settings


def open_token_keys(settings: Settings) -> TokenKeyStore:
    """Return the store of token keys.

    Raises:
        StorageUnavailable: this version cannot use the backend.
    """
    if settings.backend != "embedded":
        raise StorageUnavailable("this version stores on this machine only: set EDGEPOST_BACKEND=embedded")
    # Imported here: a function must not load the adapters of the other backend.
    from shared.adapters.embedded.token_key_file import TokenKeyFile  # noqa: PLC0415

    return TokenKeyFile(settings.data_dir)
