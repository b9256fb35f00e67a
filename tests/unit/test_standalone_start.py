"""What happens before the parts run: sockets, the data directory, and where log lines go."""

import errno
import json
import logging
import os
import socket
import threading
from pathlib import Path

import pytest

from shared.settings import Settings
from standalone import sockets
from standalone.data_dir import DataDirLock, fresh_run_dir, prepare
from standalone.log_writer import ThreadedLineHandler
from standalone.sockets import close_all, inherited, open_all, ports_of, write_ports
from standalone.starting import CannotStart

FREE = dict.fromkeys(("HTTP_PORT", "SMTP_PORT", "SUBMISSION_PORT", "SUBMISSIONS_PORT"), "0")


def settings(**given: str) -> Settings:
    """Return settings with free ports where none is given."""
    return Settings.from_env({f"EDGEPOST_{name}": value for name, value in (FREE | given).items()})


class TestOpenAll:
    def test_opens_each_door_on_its_own_port(self) -> None:
        """Four doors, four ports, each already listening."""
        opened = open_all(settings())
        ports = ports_of(opened)

        for port in ports.values():
            socket.create_connection(("127.0.0.1", port)).close()
        close_all(opened)

        assert list(ports) == ["http", "smtp", "submission", "submissions"]
        assert len(set(ports.values())) == 4

    def test_every_address_of_a_name_has_the_same_port(self) -> None:
        """``localhost`` is two addresses on most machines, and a client may take either."""
        opened = open_all(settings(HTTP_HOST="localhost"))
        ports = {each.getsockname()[1] for each in opened["http"]}
        close_all(opened)

        assert len(ports) == 1

    def test_all_addresses_of_ipv6_take_ipv4_too(self) -> None:
        """One setting listens to the whole world, whatever the system's default is."""
        try:
            opened = open_all(settings(SMTP_HOST="::"))
        except CannotStart:
            pytest.skip("this machine has no IPv6")
        socket.create_connection(("127.0.0.1", ports_of(opened)["smtp"])).close()
        close_all(opened)

    def test_busy_port_is_tried_again_for_a_moment(self) -> None:
        """The parts of a supervisor that was killed let go of their ports a moment later."""
        other = socket.create_server(("127.0.0.1", 0))
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.close()

        close_all(open_all(settings(HTTP_PORT=str(other.getsockname()[1])), pause=pause))

        assert pauses == [sockets.BUSY_PAUSE_S]

    def test_nothing_stays_open_when_one_fails(self) -> None:
        """The next try must not find the ports busy with the last one's leftovers."""
        with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as free:
            busy, port = other.getsockname()[1], free.getsockname()[1]
            free.close()
            with pytest.raises(CannotStart):
                open_all(settings(HTTP_PORT=str(port), SUBMISSIONS_PORT=str(busy)), pause=lambda _: None)

        socket.create_server(("127.0.0.1", port)).close()

    @pytest.mark.parametrize(
        ("number", "port", "says"),
        [
            (errno.EACCES, 25, "CAP_NET_BIND_SERVICE"),
            (errno.EACCES, 25, "setcap"),
            (errno.EACCES, 25, "EDGEPOST_SMTP_PORT"),
            (errno.EACCES, 2525, "Permission denied"),
            (errno.EADDRNOTAVAIL, 25, "EDGEPOST_SMTP_HOST"),
            (errno.EMFILE, 25, "Too many open files"),
        ],
    )
    def test_says_what_to_do(self, number: int, port: int, says: str) -> None:
        """Whoever reads it has not read the documentation yet."""
        sentence = sockets._sentence("smtp", "192.0.2.1", port, OSError(number, "x"))

        assert f"Cannot listen for smtp on 192.0.2.1 port {port}: " in sentence
        assert says in sentence
        assert "\n" not in sentence

    def test_unknown_host_name_is_said(self) -> None:
        """A name that resolves to nothing is a typing mistake in one setting."""
        with pytest.raises(CannotStart, match=r"EDGEPOST_SMTP_HOST=no-such-host\.invalid is not a known name"):
            open_all(settings(SMTP_HOST="no-such-host.invalid"))


class TestInherited:
    def test_are_the_sockets_of_the_numbers(self) -> None:
        """A part gets its doors by name and number."""
        made = socket.create_server(("127.0.0.1", 0))
        port = made.getsockname()[1]

        found = inherited([f"smtp={os.dup(made.fileno())}"])
        made.close()

        assert found["smtp"][0].getsockname()[1] == port
        close_all(found)


class TestWritePorts:
    def test_is_whole_at_any_time(self, tmp_path: Path) -> None:
        """Programs wait for the file and read it at once."""
        write_ports(tmp_path, {"http": 1})
        write_ports(tmp_path, {"http": 2})

        assert json.loads((tmp_path / "ports.json").read_text()) == {"http": 2}
        assert [each.name for each in tmp_path.iterdir()] == ["ports.json"]


class TestDataDir:
    def test_is_made_for_its_owner_only(self, tmp_path: Path) -> None:
        """It holds mail and keys."""
        prepare(tmp_path / "a" / "b")

        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
        assert [*(tmp_path / "a" / "b").iterdir()] == []

    def test_has_one_holder_at_a_time(self, tmp_path: Path) -> None:
        """The second is told who the first is."""
        first, second = DataDirLock(tmp_path), DataDirLock(tmp_path)
        first.acquire()

        with pytest.raises(CannotStart, match=rf"\(process {os.getpid()}\)"):
            second.acquire()
        first.release()
        second.acquire()
        second.release()

    def test_run_directory_starts_empty(self, tmp_path: Path) -> None:
        """Figures and states of the last start are not those of this one."""
        (fresh_run_dir(tmp_path) / "metrics" / "counter_http.db").touch()

        run = fresh_run_dir(tmp_path)

        assert [each.name for each in run.rglob("*")] == ["metrics"]


def logger_on(handler: logging.Handler) -> logging.Logger:
    """Return a logger of its own for the handler."""
    logger = logging.getLogger("tests.standalone")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


class TestThreadedLineHandler:
    def test_writes_lines_in_order(self) -> None:
        """What happened first stands first."""
        reading, writing = os.pipe()
        handler = ThreadedLineHandler(writing)
        logger = logger_on(handler)

        for number in range(500):
            logger.info("line %d", number)
        handler.flush()
        os.close(writing)

        with os.fdopen(reading) as lines:
            assert lines.read().splitlines() == [f"line {number}" for number in range(500)]

    def test_reader_that_hangs_stops_nobody(self) -> None:
        """A stuck log collector must not stop mail."""
        reading, writing = os.pipe()
        handler = ThreadedLineHandler(writing, max_waiting=100)
        logger = logger_on(handler)

        for _ in range(1_000):
            logger.info("x" * 1_000)
        with os.fdopen(reading) as lines:
            threading.Thread(target=lambda: (handler.flush(), os.close(writing))).start()
            read = lines.read().splitlines()

        dropped = [json.loads(line) for line in read if line.startswith("{")]
        assert sum(each["lines"] for each in dropped) == 1_000 - (len(read) - len(dropped))
        assert dropped[0]["event"] == "log_lines_dropped"

    def test_reader_that_is_gone_stops_nobody(self) -> None:
        """Lines are lost then; mail is not."""
        reading, writing = os.pipe()
        os.close(reading)
        handler = ThreadedLineHandler(writing)

        logger_on(handler).info("unheard")
        handler.flush()
        os.close(writing)
