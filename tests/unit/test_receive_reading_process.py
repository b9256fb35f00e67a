"""Reading strangers' reports in a process of its own: what comes back, and what is left when something dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.domain.errors import InvalidValue, Unavailable
from shared.flow import bounce, take_report
from smtp_node.receive.reading_process import NICENESS, ReadingProcess
from tests.architecture.sources import ROOT
from tests.fakes.eventually import eventually

SAMPLES = sorted((ROOT / "tests" / "data" / "bounces").rglob("*.eml"))


def whereabouts(raw: bytes) -> tuple[int, int]:
    """Return the process that works on the mail, and how nice it is."""
    return os.getpid(), os.nice(0)


def refuse(raw: bytes) -> None:
    """Refuse the mail."""
    raise InvalidValue(raw.decode())


def die(raw: bytes) -> None:
    """End as the kernel ends whoever takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def reading() -> Iterator[ReadingProcess]:
    """Give one that has not begun."""
    made = ReadingProcess()
    yield made
    made.close()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestReadingProcess:
    async def test_is_another_one_and_lets_others_go_first(self, reading: ReadingProcess) -> None:
        """It stays for the next mail."""
        first, niceness = await reading(whereabouts, b"")
        second, _ = await reading(whereabouts, b"")

        assert first == second != os.getpid()
        assert niceness == os.nice(0) + NICENESS

    async def test_errors_come_back_as_they_are(self, reading: ReadingProcess) -> None:
        """The door has a reply for each of them."""
        with pytest.raises(InvalidValue, match="no report"):
            await reading(refuse, b"no report")

    async def test_its_death_costs_the_mail_a_451_and_the_next_one_nothing(self, reading: ReadingProcess) -> None:
        """Whoever brought it comes again."""
        with pytest.raises(Unavailable):
            await reading(die, b"")

        assert (await reading(whereabouts, b""))[0] != os.getpid()

    async def test_it_takes_no_notice_of_sigterm(self, reading: ReadingProcess) -> None:
        """A service manager sends it to all processes at once; the receiving one still has mail to finish."""
        pid, _ = await reading(whereabouts, b"")

        os.kill(pid, signal.SIGTERM)

        assert (await reading(whereabouts, b""))[0] == pid

    async def test_ends_when_closed(self, reading: ReadingProcess) -> None:
        """Nothing stays behind."""
        pid, _ = await reading(whereabouts, b"")

        reading.close()

        await eventually(lambda: not is_there(pid))

    def test_ends_with_the_process_that_receives(self) -> None:
        """However that ends: a kill leaves nobody who could tell it."""
        program = (
            "import asyncio, time\n"
            "from smtp_node.receive.reading_process import ReadingProcess\n"
            "from tests.unit.test_receive_reading_process import whereabouts\n"
            "if __name__ == '__main__':\n"
            "    print(asyncio.run(ReadingProcess()(whereabouts, b''))[0], flush=True)\n"
            "    time.sleep(600)\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as receiving:
            assert receiving.stdout is not None
            pid = int(receiving.stdout.readline())
            there = is_there(pid)
            receiving.kill()

        assert there
        asyncio.run(eventually(lambda: not is_there(pid)))

    async def test_what_is_read_is_the_same(self, reading: ReadingProcess) -> None:
        """It comes back through a pipe."""
        for sample in SAMPLES[::10]:
            raw = sample.read_bytes()
            assert await reading(bounce._read, raw) == bounce._read(raw)
        with pytest.raises(InvalidValue):
            await reading(take_report._read, b"Subject: x\r\n\r\nno report")
