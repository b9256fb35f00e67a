"""Reading ahead, patience, names, and who a recipient belongs to."""

import asyncio

import pytest

from shared.domain.dns import LookupFailed
from smtp_node.receive.inflow import ClientGone, Inflow, LineTooLong
from smtp_node.receive.limits import Door
from smtp_node.receive.names import ReverseNames
from smtp_node.receive.patience import Patience
from smtp_node.receive.recipients import Denied, Outbound, decide_recipient
from smtp_node.receive.replies import AUTHENTICATION_REQUIRED, RELAYING_DENIED, Reply
from tests.dialogue.door import GRANT


def inflow(*pieces: bytes) -> Inflow:
    """Return one whose client has sent this and closed."""
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return Inflow(reader)


class TestInflow:
    async def test_reads_lines_with_either_end(self) -> None:
        """CRLF, and LF alone outside of a message."""
        stream = inflow(b"one\r\ntwo\nthr", b"ee\r\nhalf")

        assert [await stream.line(10) for _ in range(4)] == [b"one", b"two", b"three", None]

    async def test_an_endless_line_is_dropped_whole(self) -> None:
        """Its rest must not be read as the next command."""
        stream = inflow(b"x" * 1000, b"y" * 1000 + b"\r\nnext\r\n")

        with pytest.raises(LineTooLong):
            await stream.line(100)
        assert await stream.line(100) == b"next"

    async def test_put_back_is_read_next(self) -> None:
        """Commands may follow the message in the same packet."""
        stream = inflow(b"message")
        assert await stream.piece() == b"message"

        stream.put_back(b"NOOP\r\n")

        assert stream.has_line
        assert await stream.line(10) == b"NOOP"

    async def test_the_end_within_a_message_is_an_error(self) -> None:
        """Half a message is none."""
        with pytest.raises(ClientGone):
            await inflow().piece()

    async def test_a_reset_is_an_error(self) -> None:
        """As the operating system reports it."""
        reader = asyncio.StreamReader()
        reader.set_exception(ConnectionResetError())

        with pytest.raises(ClientGone):
            await Inflow(reader).line(10)


class FakeTimer:
    def __init__(self, when: float, callback: object) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        """Never fire."""
        self.cancelled = True


class FakeTimers:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.set: list[FakeTimer] = []

    def time(self) -> float:
        """Return the moment set."""
        return self.now

    def call_at(self, when: float, callback: object) -> FakeTimer:
        """Remember a timer."""
        timer = FakeTimer(when, callback)
        self.set.append(timer)
        return timer

    def move_to(self, now: float) -> None:
        """Let time pass, and timers with it."""
        self.now = now
        for timer in [each for each in self.set if not each.cancelled and each.when <= now]:
            timer.cancelled = True
            timer.callback()


class TestPatience:
    def test_runs_out_at_the_last_deadline(self) -> None:
        """However often it was moved."""
        timers, ran_out = FakeTimers(), []
        patience = Patience(timers, lambda: ran_out.append(timers.now))

        for moment in (10.0, 20.0, 30.0):
            patience.until(moment)
        for moment in (10.0, 29.0, 30.0, 40.0):
            timers.move_to(moment)

        assert ran_out == [30.0]
        assert len(timers.set) == 2

    def test_an_earlier_deadline_counts_at_once(self) -> None:
        """A message has less time than an idle session."""
        timers, ran_out = FakeTimers(), []
        patience = Patience(timers, lambda: ran_out.append(timers.now))
        patience.until(100.0)

        patience.until(5.0)
        timers.move_to(5.0)

        assert ran_out == [5.0]

    def test_cancelled_never_runs_out(self) -> None:
        """The session is gone."""
        timers, ran_out = FakeTimers(), []
        patience = Patience(timers, lambda: ran_out.append(timers.now))
        patience.until(5.0)

        patience.cancel()
        timers.move_to(10.0)

        assert ran_out == []


class FakePointers:
    """A resolver that knows some addresses and counts questions."""

    def __init__(self) -> None:
        self.known = {"192.0.2.1": "mail.example.com", "192.0.2.2": "evil\r\nBcc: x", "192.0.2.3": LookupFailed("x")}
        self.asked: list[str] = []

    async def pointer(self, address: str) -> str | None:
        """Answer from the table."""
        self.asked.append(address)
        answer = self.known.get(address)
        if isinstance(answer, Exception):
            raise answer
        return answer


class TestReverseNames:
    @pytest.mark.parametrize(
        ("address", "name"),
        [
            ("192.0.2.1", "mail.example.com"),
            ("192.0.2.2", ""),
            ("192.0.2.3", ""),
            ("192.0.2.4", ""),
            ("127.0.0.1", ""),
        ],
    )
    async def test_gives_host_names_only(self, address: str, name: str) -> None:
        """Whoever owns the address writes the name, and it will stand in a header."""
        assert await ReverseNames(FakePointers()).of(address) == name

    async def test_asks_once_for_a_while(self) -> None:
        """Failures are remembered too: a dead DNS server must not cost a second per message."""
        resolver, now = FakePointers(), [0.0]
        names = ReverseNames(resolver, ticks=lambda: now[0])

        for now[0] in (0.0, 599.0, 600.0):
            await names.of("192.0.2.3")

        assert resolver.asked == ["192.0.2.3"] * 2


class TestDecideRecipient:
    def test_a_grant_sends_out(self) -> None:
        """By AUTH or by network, at any door."""
        assert decide_recipient(door=Door.SMTP, grant=GRANT, inward=None) == Outbound(GRANT)

    @pytest.mark.parametrize(
        ("door", "reply"),
        [
            (Door.SMTP, RELAYING_DENIED),
            (Door.SUBMISSION, AUTHENTICATION_REQUIRED),
            (Door.SUBMISSIONS, AUTHENTICATION_REQUIRED),
        ],
    )
    def test_nobody_else_does(self, door: Door, reply: Reply) -> None:
        """Port 25 is no relay; the others say what is missing."""
        assert decide_recipient(door=door, grant=None, inward=None) == Denied(reply)
