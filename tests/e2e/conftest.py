"""One installation for each module that needs no other; tests that kill or disturb it start their own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.aws.emulator import Emulator
from tests.aws.resources import Resources
from tests.e2e.harness import Installation, running


@dataclass(frozen=True)
class Place:
    """Where an installation stores, and how many messages a test of it takes its time for."""

    settings: Mapping[str, str]
    messages: int


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with the usual internet; retries come after a second instead of five minutes."""
    with running(tmp_path_factory.mktemp("edgepost"), time_factor="300") as found:
        yield found


@pytest.fixture
def on_aws(ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Give the settings of an installation on an emptied emulator, which programs find by the environment."""
    ministack.reset()
    for name, value in ministack.environment.items():
        monkeypatch.setenv(name, value)
    resources = Resources(ministack.environment)
    resources.make_storage()
    return resources.settings()


@pytest.fixture(params=["embedded", "aws"])
def place(request: pytest.FixtureRequest) -> Place:
    """Give each backend in turn; an emulator is slower than SQLite, so it gets less to do."""
    if request.param == "aws":
        return Place(request.getfixturevalue("on_aws"), 100)
    return Place({}, 500)
