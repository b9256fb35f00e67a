"""Where the keys of tokens lie on the configured backend."""

from shared.ports import TokenKeyStore
from shared.settings import Settings


def open_token_keys(settings: Settings, *, caller: str = "") -> TokenKeyStore:
    """Return the store of token keys.

    Args:
        settings: which backend, and where it is.
        caller: the function or part that opens it, as AWS sees it.

    Raises:
        SettingsError: something that the backend needs is not set.
        StorageUnavailable: the stack cannot be asked for its names.
    """
    if settings.backend == "aws":
        from shared.adapters.aws.session import Clients, Patience
        from shared.adapters.aws.stack import names_of
        from shared.adapters.aws.token_key_parameter import TokenKeyParameter

        clients = Clients(caller or "other", 1, Patience())
        return TokenKeyParameter(clients, names_of(settings, clients).secrets_path)
    from shared.adapters.embedded.token_key_file import TokenKeyFile

    return TokenKeyFile(settings.data_dir)
