"""``serve`` as a process of its own: what it says when it cannot start, and what it leaves behind."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0

DRIVER = """
import os, sys
from shared.settings import Settings
from standalone.parts import Part
from standalone.serve import serve

parts = [Part("steady", "fake_steady", ("http", "smtp", "submission", "submissions"))]
sys.exit(serve(Settings.from_env(os.environ), welcome=lambda first, ports: "SECRETS", parts=parts))
"""

STEADY = """
    import asyncio
    import os

    async def run(context):
        (context.run_dir / "pid").write_text(str(os.getpid()))
        context.ready()
        await context.stop.wait()
"""


class Serving:
    """One ``serve`` with a part that does nothing."""

    def __init__(self, tmp_path: Path, **settings: str) -> None:
        (tmp_path / "fake_steady.py").write_text(textwrap.dedent(STEADY))
        self.data_dir = Path(settings.get("DATA_DIR", str(tmp_path / "data")))
        ports = dict.fromkeys(("HTTP_PORT", "SMTP_PORT", "SUBMISSION_PORT", "SUBMISSIONS_PORT"), "0")
        given = {"DATA_DIR": str(self.data_dir), "DKIM_ALGORITHMS": "ed25519"} | ports | settings
        environ = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPOST_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env=environ
            | {f"EDGEPOST_{name}": value for name, value in given.items()}
            | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def first_line(self) -> str:
        """Return the first line of standard output: it is ready then."""
        assert self._process.stdout
        return self._process.stdout.readline()

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return status, standard output and standard error."""
        assert self._process.stdout
        assert self._process.stderr
        out, err = self._process.stdout.read(), self._process.stderr.read()
        return self._process.wait(LIMIT_S), out, err

    def clean_up(self) -> None:
        """Leave nothing running, whatever happened."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        with self._process:
            self._process.wait(LIMIT_S)

    @property
    def ports(self) -> Mapping[str, int]:
        """The doors' ports."""
        return json.loads((self.data_dir / "ports.json").read_text())  # type: ignore[no-any-return]


Start = Callable[..., Serving]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return how to start one; all are gone after the test."""
    started: list[Serving] = []

    def begin(**settings: str) -> Serving:
        started.append(Serving(tmp_path, **settings))
        return started[-1]

    yield begin
    for each in started:
        each.clean_up()


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition that other processes bring about."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process, not counting one that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def refuses(port: int) -> bool:
    """Whether nobody listens on the port any more."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


class TestServe:
    def test_tells_the_ports_and_where_the_keys_are(self, start: Start) -> None:
        """Port 0 is for tests and for several on one machine: the real ones must be found."""
        serving = start()

        first, ports = serving.first_line(), serving.ports
        serving.signal(signal.SIGTERM)
        status, rest, err = serving.end()

        assert first.startswith(f"Edgepost is ready: http on port {ports['http']}, smtp on port ")
        assert "first-run.json" in rest
        assert status == 0, err
        assert not (serving.data_dir / "ports.json").exists()

    def test_secrets_are_not_shown_to_a_file(self, start: Start) -> None:
        """Standard output of a service ends in a log that many people read."""
        serving = start()

        first = serving.first_line()
        serving.signal(signal.SIGTERM)
        _, rest, err = serving.end()
        secrets = json.loads((serving.data_dir / "first-run.json").read_text())

        assert "SECRETS" not in first + rest
        assert secrets["api_key"] not in first + rest + err

    def test_log_lines_are_json(self, start: Start) -> None:
        """Whatever collects them reads each line by itself."""
        serving = start()

        serving.first_line()
        serving.signal(signal.SIGTERM)
        lines = [json.loads(line) for line in serving.end()[2].splitlines()]

        started = next(line for line in lines if line["event"] == "edgepost_started")
        assert started["level"] == "info"
        assert set(started["ports"]) == {"http", "smtp", "submission", "submissions"}

    def test_killed_supervisor_leaves_no_orphans(self, start: Start) -> None:
        """A part that outlived its supervisor would hold the ports, and the next start would fail."""
        serving = start()
        serving.first_line()
        ports = serving.ports
        part = int((serving.data_dir / "run" / "pid").read_text())

        serving.signal(signal.SIGKILL)
        serving.end()

        until(lambda: not is_running(part))
        assert all(refuses(port) for port in ports.values())

    def test_starts_again_after_it_was_killed(self, start: Start) -> None:
        """Nothing that a killed one left behind keeps the next one from starting."""
        killed = start()
        killed.first_line()
        ports = killed.ports
        killed.signal(signal.SIGKILL)

        again = start(HTTP_PORT=str(ports["http"]))

        assert again.first_line().startswith(f"Edgepost is ready: http on port {ports['http']},")


class TestCannotStart:
    def test_second_one_on_the_same_directory(self, start: Start) -> None:
        """Two would deliver twice as fast and find each other's parts in the figures."""
        first = start()
        first.first_line()

        status, out, err = start().end()

        assert (status, out) == (2, "")
        assert err == (
            f"edgepost: Another `edgepost serve` (process {first.pid}) already runs on the data directory "
            f"{first.data_dir}. Stop it first, or choose another with EDGEPOST_DATA_DIR\n"
        )

    @pytest.mark.parametrize("door", ["http", "submissions"])
    def test_busy_port(self, start: Start, door: str) -> None:
        """The most common mistake of all gets a line with the port, the setting and how to find the culprit."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            serving = start(**{f"{door.upper()}_PORT": str(port)})
            status, out, err = serving.end()

        assert (status, out) == (2, "")
        assert err == (
            f"edgepost: Cannot listen for {door} on 127.0.0.1 port {port}: another program uses it. Find it with "
            f"`ss -tlpn 'sport = :{port}'`, or choose another port with EDGEPOST_{door.upper()}_PORT\n"
        )
        assert not (serving.data_dir / "first-run.json").exists()

    def test_directory_that_cannot_be_written(self, start: Start, tmp_path: Path) -> None:
        """A wrong volume or owner is said before anything is begun."""
        (tmp_path / "file").touch()

        status, out, err = start(DATA_DIR=str(tmp_path / "file" / "data")).end()

        assert (status, out) == (2, "")
        assert err == (
            f"edgepost: Cannot write to the data directory {tmp_path}/file/data: Not a directory. Make it writable for"
            " this user, or choose another with EDGEPOST_DATA_DIR\n"
        )

    def test_wrong_master_key(self, start: Start) -> None:
        """With another key no mail could be signed: better not to take any."""
        serving = start()
        serving.first_line()
        serving.signal(signal.SIGTERM)
        serving.end()
        (serving.data_dir / "master.key").unlink()

        status, out, err = start().end()

        assert (status, out) == (2, "")
        assert err.startswith("edgepost: the master key is not the one that this store was made with")
        assert err.count("\n") == 1

    def test_database_of_a_newer_version(self, start: Start) -> None:
        """An old program must not write into a store whose form it does not know."""
        serving = start()
        serving.first_line()
        serving.signal(signal.SIGTERM)
        serving.end()
        with sqlite3.connect(serving.data_dir / "edgepost.db") as connection:
            connection.execute("PRAGMA user_version = 999")

        status, out, err = start().end()

        assert (status, out) == (2, "")
        assert "newer" in err
        assert err.count("\n") == 1
