"""What tests of several folders share because it takes its time: an emulator of AWS for each process of tests."""

from collections.abc import Iterator

import pytest

from tests.aws.emulator import Emulator, emulator


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Give an emulator of AWS; whoever uses it empties it first."""
    with emulator(tmp_path_factory.mktemp("ministack")) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests: they mostly wait, and the many quick ones fill the gaps and the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
