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
    clients = Clients(caller, CALLS, patience or Patience())
    # All at once: a client keeps the place that the environment names when it is made.
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        for service in ("dynamodb", "sqs", "sqs_polls", "s3", "s3_signing", "ssm", "cloudformation"):
            assert getattr(clients, service)
    yield clients, threads
    threads.close()
