"""The adapters' clients and threads, pointed at an emulator or at a proxy before it."""

import contextlib
from collections.abc import Iterator, Mapping

import pytest

from shared.adapters.aws.session import Clients, Patience
from shared.adapters.aws.threads import CALLS, Threads


@contextlib.contextmanager
def adapters(
    environment: Mapping[str, str], *, caller: str, patience: Patience | None = None
) -> Iterator[tuple[Clients, Threads]]:
    """Give clients and threads; the SDK finds the emulator by the environment, as everywhere."""
    threads = Threads(caller)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        clients = Clients(caller, CALLS, patience or Patience())
        # All at once: a client that were made later would find what another block has put into the environment.
        for name in (name for name, value in vars(Clients).items() if isinstance(value, property)):
            getattr(clients, name)
        yield clients, threads
    threads.close()
