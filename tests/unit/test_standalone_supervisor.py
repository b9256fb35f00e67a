"""The supervisor, with tiny parts of its own making."""

import asyncio
import json
import os
import signal
import socket
import textwrap
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from standalone.parts import CONFIGURATION, Part
from standalone.supervisor import Patience, Supervisor

LIMIT_S = 60.0
IMPATIENT = Patience(
    first_wait=timedelta(milliseconds=10),
    longest_wait=timedelta(milliseconds=40),
    drain=timedelta(seconds=20),
)

STEADY = """
    async def run(context):
        servers = [
            await asyncio.start_server(serve, sock=each) for sockets in context.listening.values() for each in sockets
        ]
        context.ready()
        await context.stop.wait()
        for server in servers:
            server.close()
        (context.run_dir / "drained").touch()

    async def serve(reader, writer):
        writer.write(b"here\\n")
        writer.close()
"""

CRASHES_ONCE = """
    async def run(context):
        crashed = context.run_dir / "crashed"
        if not crashed.exists():
            crashed.touch()
            raise RuntimeError("as the test wants")
        await steady(context)
""" + STEADY.replace("run(", "steady(")

STUCK = """
    async def run(context):
        context.ready()
        await asyncio.Event().wait()
"""

TELLS_ITS_ENVIRONMENT = """
    import os

    async def run(context):
        context.ready()
        (context.run_dir / "malloc").write_text(os.environ["MALLOC_MMAP_THRESHOLD_"])
        await context.stop.wait()
"""

MISCONFIGURED = """
    from standalone.starting import CannotStart

    async def run(context):
        raise CannotStart("the certificate cannot be read")
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Return a directory with the parts as modules."""
    for name, text in {
        "fake_steady": STEADY,
        "fake_crashes_once": CRASHES_ONCE,
        "fake_stuck": STUCK,
        "fake_misconfigured": MISCONFIGURED,
        "fake_tells": TELLS_ITS_ENVIRONMENT,
    }.items():
        (tmp_path / f"{name}.py").write_text("import asyncio\n" + textwrap.dedent(text))
    return tmp_path


class Tree:
    """A supervisor that runs in this process."""

    def __init__(self, modules: Path, parts: Sequence[Part], *, patience: Patience = IMPATIENT) -> None:
        self.run_dir = modules / "run"
        self.run_dir.mkdir()
        self.listening = {"door": [_listening_socket()]}
        self.address = self.listening["door"][0].getsockname()
        self.ready = asyncio.Event()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPOST_")}
        environ["PYTHONPATH"] = str(modules)
        supervisor = Supervisor(
            parts, self.listening, self.run_dir, on_ready=self.ready.set, patience=patience, environ=environ
        )
        self.ended = asyncio.create_task(supervisor.run())

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """What ``parts.json`` says now."""
        return json.loads((self.run_dir / "parts.json").read_text())  # type: ignore[no-any-return]

    async def is_ready(self) -> None:
        """Wait until all parts were ready, or the supervisor failed."""
        waiting = asyncio.create_task(self.ready.wait())
        async with asyncio.timeout(LIMIT_S):
            await asyncio.wait((waiting, self.ended), return_when=asyncio.FIRST_COMPLETED)
        assert self.ready.is_set(), self.ended

    async def status(self) -> int:
        """Wait for the end and return the exit status."""
        async with asyncio.timeout(LIMIT_S):
            return await self.ended


def _listening_socket() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)
    return made


def signal_self(number: signal.Signals = signal.SIGTERM) -> None:
    """Send this process a signal; the supervisor has its handler in place."""
    os.kill(os.getpid(), number)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition that other processes bring about."""
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110  # another process makes it true
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process, not counting one that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestStart:
    async def test_parts_serve_on_the_sockets_they_inherit(self, modules: Path) -> None:
        """The supervisor opens the doors, so a part that is away loses no connection attempt."""
        tree = Tree(modules, [Part("steady", "fake_steady", ("door",))])
        await tree.is_ready()

        reader, writer = await asyncio.open_connection(*tree.address)
        said = await reader.readline()
        writer.close()
        signal_self()

        assert said == b"here\n"
        assert await tree.status() == 0

    async def test_parts_give_back_the_memory_of_large_messages(self, modules: Path) -> None:
        """Glibc would keep it for good, once a few have been freed."""
        tree = Tree(modules, [Part("tells", "fake_tells")])
        await tree.is_ready()
        signal_self()

        assert await tree.status() == 0
        assert (modules / "run/malloc").read_text() == "1048576"

    async def test_a_part_that_can_never_start_ends_everything(self, modules: Path, capfd: Any) -> None:
        """A wrong certificate must not become a loop of restarts: the operator gets the sentence and status 2."""
        tree = Tree(modules, [Part("steady", "fake_steady"), Part("wrong", "fake_misconfigured")])

        assert await tree.status() == CONFIGURATION
        assert "edgepost wrong: the certificate cannot be read\n" in capfd.readouterr().err


class TestRestart:
    async def test_a_part_that_ends_with_an_error_is_started_again(self, modules: Path) -> None:
        """An unforeseen failure costs a moment, not the night."""
        tree = Tree(modules, [Part("once", "fake_crashes_once", ("door",))])

        await tree.is_ready()
        restarts = tree.states["once"]["restarts"]
        signal_self()

        assert restarts == 1
        assert await tree.status() == 0

    async def test_a_part_that_is_killed_is_started_again_on_the_same_socket(self, modules: Path) -> None:
        """Clients that come meanwhile wait in the kernel's queue and are served."""
        tree = Tree(modules, [Part("steady", "fake_steady", ("door",))])
        await tree.is_ready()
        first = tree.states["steady"]["pid"]

        os.kill(first, signal.SIGKILL)
        reader, writer = await asyncio.open_connection(*tree.address)
        said = await reader.readline()
        writer.close()
        second = tree.states["steady"]["pid"]
        signal_self()

        assert said == b"here\n"
        assert second != first
        assert await tree.status() == 0

    def test_waits_grow_up_to_a_bound(self) -> None:
        """A part that fails for days is tried every ten seconds, not slower and not faster."""
        waits = [Patience().wait_after(failures).total_seconds() for failures in (1, 2, 3, 6, 7, 1000)]

        assert waits == [0.2, 0.4, 0.8, 6.4, 10.0, 10.0]


class TestEnd:
    async def test_parts_finish_what_they_began(self, modules: Path) -> None:
        """SIGTERM is a request: a deployment must cut off nobody."""
        tree = Tree(modules, [Part("steady", "fake_steady")])
        await tree.is_ready()

        signal_self()

        assert await tree.status() == 0
        assert (tree.run_dir / "drained").exists()

    async def test_new_connections_are_refused_once_parts_have_closed_theirs(self, modules: Path) -> None:
        """A client that is refused at once tries elsewhere; one that is left hanging does not."""
        tree = Tree(modules, [Part("steady", "fake_steady", ("door",)), Part("stuck", "fake_stuck")])
        await tree.is_ready()

        signal_self()
        await until((tree.run_dir / "drained").exists)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*tree.address)
        signal_self()

        assert await tree.status() == 1

    async def test_a_part_that_does_not_end_is_killed_after_the_drain(self, modules: Path) -> None:
        """A stuck part must not keep the machine from being rebooted."""
        patience = Patience(drain=timedelta(milliseconds=50))
        tree = Tree(modules, [Part("stuck", "fake_stuck")], patience=patience)
        await tree.is_ready()

        signal_self(signal.SIGINT)

        assert await tree.status() == 1

    async def test_a_second_signal_kills_at_once(self, modules: Path) -> None:
        """Somebody at a terminal who presses Ctrl-C twice means it."""
        tree = Tree(modules, [Part("stuck", "fake_stuck")])
        await tree.is_ready()
        pid = tree.states["stuck"]["pid"]

        signal_self(signal.SIGINT)
        await until(lambda: tree.listening["door"][0].fileno() == -1)
        signal_self(signal.SIGINT)

        assert await tree.status() == 1
        assert not is_running(pid)
