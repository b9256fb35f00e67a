"""One installation for each module that needs no other; tests that kill or disturb it start their own."""

from collections.abc import Iterator

import pytest

from tests.e2e.harness import Installation, running


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with the usual internet; retries come after a second instead of five minutes."""
    with running(tmp_path_factory.mktemp("edgepost"), time_factor="300") as found:
        yield found
