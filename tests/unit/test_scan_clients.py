"""The clients of rspamd, spamd and clamd: what they say, and what they make of every answer."""

import asyncio
import tracemalloc
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.inspection import Check, Inspection
from shared.settings import ServiceAddress
from smtp_node.scan.clamd import Clamd
from smtp_node.scan.rspamd import Rspamd
from smtp_node.scan.scanner import GARBAGE, REFUSED, UNREACHABLE, ScanFailed, ScannedMail, Scanner
from smtp_node.scan.scanning import BUSY, TIMEOUT, TOO_LARGE, Scanning
from smtp_node.scan.spamd import Spamd
from tests.fakes.eventually import eventually
from tests.fakes.scanners import (
    MAIL,
    FakeScanner,
    Speak,
    endless,
    hang,
    hang_up,
    http,
    listening,
    saying,
    stopping_after,
)
from tests.unit.test_scan_answers import RSPAMD, SPAMD

PATIENT, QUICK = timedelta(seconds=20), timedelta(milliseconds=200)
RAW = b"".join(MAIL.content)

CLIENTS: dict[str, Callable[[ServiceAddress, timedelta], Scanner]] = {
    "clamd": Clamd,
    "spamd": Spamd,
    "rspamd": lambda address, timeout: Rspamd(f"http://{address.host}:{address.port}", timeout, "p4ss"),
}
GOOD = {"clamd": b"stream: OK\0", "spamd": SPAMD, "rspamd": http(RSPAMD)}


async def scan(client: str, speak: Speak, mail: ScannedMail = MAIL) -> Inspection:
    """Have the mail scanned by one client."""
    async with listening(speak) as address:
        return await CLIENTS[client](address, PATIENT).scan(mail)


def scanning(scanner: Scanner) -> Scanning:
    """Return the one scanner in its place."""
    return Scanning(virus=scanner) if isinstance(scanner, Clamd) else Scanning(scanner)


class TestConversation:
    async def test_clamd_gets_the_mail_in_chunks(self) -> None:
        """clamd(8): each chunk after its length, a length of zero at the end."""
        heard: list[bytes] = []
        mail = replace(MAIL, content=(b"a" * 70_000, b"", b"b" * 3))

        assert await scan("clamd", saying(b"stream: OK\0", heard), mail) == Inspection(threat="")
        assert heard == [b"a" * 70_000 + b"b" * 3]

    async def test_spamd_gets_the_mail_under_its_envelope_sender(self) -> None:
        """Rules about the sender look for it in Return-Path; the length counts that too."""
        heard: list[bytes] = []

        found = await scan("spamd", saying(SPAMD, heard))

        added = b"Return-Path: <ann@sender.test>\r\n"
        head = b"REPORT SPAMC/1.2\r\nContent-length: %d\r\n\r\n" % len(added + RAW)
        assert heard == [head + added + RAW]
        assert found.score == 1004.1
        assert found.checks[0] == Check("GTUBE", 1000.0, "BODY: Generic Test for Unsolicited Bulk Email")
        assert Check("DKIM_VALID", -0.1, "Message has at least one valid DKIM or DK signature") in found.checks

    async def test_rspamd_is_told_the_envelope(self) -> None:
        """Its protocol has a header for each thing; one that would break the request is made harmless."""
        heard: list[bytes] = []
        mail = replace(MAIL, helo="evil\r\nPassword: x", rcpt_to=("a@here.test", "b@here.test"))

        found = await scan("rspamd", saying(http(RSPAMD), heard), mail)

        head, _, body = heard[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert body == RAW
        assert lines[0] == b"POST /checkv2 HTTP/1.1"
        for wanted in (
            b"From: ann@sender.test",
            b"Rcpt: a@here.test",
            b"Rcpt: b@here.test",
            b"IP: 192.0.2.9",
            b"Hostname: mx.sender.test",
            b"Helo: evil  Password: x",
            b"Queue-Id: abcd1234",
            b"Password: p4ss",
        ):
            assert wanted in lines
        assert not [line for line in lines if line.startswith((b"User:", b"Transfer-Encoding:"))]
        assert found == Inspection(7.5, (Check("OWN_WORD", 7.0, "Has the word"), Check("LOW", 0.5)))

    async def test_rspamd_is_told_who_sends(self) -> None:
        """With a user it skips what it checks of strangers (rspamd.com/doc/tutorials/scanning_outbound.html)."""
        heard: list[bytes] = []

        await scan("rspamd", saying(http(RSPAMD), heard), replace(MAIL, sent_by="main", address="", mail_from=""))

        head = heard[0].partition(b"\r\n\r\n")[0]
        assert b"\r\nUser: main\r\n" in head
        assert b"\r\nIP:" not in head
        assert b"\r\nFrom:" not in head

    @pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "302 Found", "500 Error"])
    async def test_another_status_is_no_result(self, status: str) -> None:
        """A wrong password answers 403; a redirect would send the mail elsewhere."""
        answer = http(RSPAMD, status, b"Location: http://127.0.0.1:1/\r\n")
        with pytest.raises(ScanFailed) as failed:
            await scan("rspamd", saying(answer))

        assert failed.value.reason == REFUSED

    @pytest.mark.parametrize("client", CLIENTS)
    async def test_a_large_mail_is_not_copied(self, client: str) -> None:
        """A node holds many mails of 25 MB; a scan may not double them."""
        body = bytes(8_000_000)
        peaks: list[int] = []

        async def take(reader: StreamReader, writer: StreamWriter) -> None:
            taken = 0
            while taken < len(body):
                taken += len(await reader.read(65_536))
                peaks.append(tracemalloc.get_traced_memory()[1])
            writer.write(GOOD[client])
            writer.write_eof()
            await reader.read()

        tracemalloc.start()
        try:
            async with listening(take) as address:
                scanner = replace(CLIENTS[client](address, PATIENT), max_bytes=9_000_000)  # type: ignore[type-var]
                found = await scanning(scanner).inspect(replace(MAIL, content=(b"Subject: x\r\n\r\n", body)))
        finally:
            tracemalloc.stop()

        assert found.inspected
        assert len(peaks) > 20
        assert max(peaks) < 2_000_000


MISBEHAVING: dict[str, tuple[Callable[[bytes], Speak], set[str]]] = {
    "hangs": (lambda _: hang, {TIMEOUT}),
    "hangs up": (lambda _: hang_up, {UNREACHABLE, GARBAGE}),
    "says nothing": (lambda _: saying(b""), {UNREACHABLE, GARBAGE}),
    "stops half way": (lambda good: stopping_after(good[: len(good) // 2]), {TIMEOUT}),
    "is cut half way": (lambda good: saying(good[:10]), {UNREACHABLE, GARBAGE}),
    "says garbage": (lambda _: saying(b"\x00\xff\r\n\r\n" * 50), {UNREACHABLE, GARBAGE}),
    "never ends": (lambda good: endless(good[:-1].replace(b"Content-Length", b"X"), b" " * 65_536), {GARBAGE}),
    "never ends its head": (lambda _: endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 9999), {GARBAGE, UNREACHABLE}),
}


class TestMisbehaving:
    @pytest.mark.parametrize("client", CLIENTS)
    @pytest.mark.parametrize("behaviour", MISBEHAVING)
    async def test_leaves_the_mail_unscanned(
        self, client: str, behaviour: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever a scanner does, mail flows on, soon, and somebody can see that it was not scanned."""
        speak, reasons = MISBEHAVING[behaviour]
        caplog.set_level("INFO")
        async with listening(speak(GOOD[client])) as address:
            scanner = CLIENTS[client](address, QUICK if TIMEOUT in reasons else PATIENT)

            assert await scanning(scanner).inspect(MAIL) == Inspection()

        [line] = [each for each in caplog.records if each.msg == "scan_failed"]
        assert (vars(line)["scanner"], line.levelname) == (client, "WARNING")
        assert vars(line)["result"] in reasons

    @pytest.mark.parametrize("client", CLIENTS)
    async def test_refuses_connections(self, client: str, caplog: pytest.LogCaptureFixture) -> None:
        """It is not there: mail flows on at once."""
        async with listening(hang) as address:
            pass

        assert await scanning(CLIENTS[client](address, PATIENT)).inspect(MAIL) == Inspection()
        assert [vars(each)["result"] for each in caplog.records] == [UNREACHABLE]


class TestScanning:
    async def test_both_say_their_part(self) -> None:
        """One says how much it looks like spam, the other what threat it carries."""
        spam, virus = FakeScanner(Inspection(7.0, (Check("A", 7.0),))), FakeScanner(Inspection(threat="Eicar"))

        found = await Scanning(spam, virus).inspect(MAIL)

        assert found == Inspection(7.0, (Check("A", 7.0),), "Eicar")
        assert spam.shown == virus.shown == [MAIL]

    async def test_one_that_fails_leaves_the_others_word(self) -> None:
        """A threat counts although spam could not be looked for."""
        found = await Scanning(FakeScanner(OSError()), FakeScanner(Inspection(threat="Eicar"))).inspect(MAIL)

        assert found == Inspection(threat="Eicar")

    async def test_without_scanners_nothing_is_known(self) -> None:
        """And nothing is logged of it."""
        assert not (await Scanning().inspect(MAIL)).inspected

    async def test_large_mail_is_not_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        """As spamc does: a scan of it would take longer than anybody waits."""
        caplog.set_level("INFO")
        scanner = FakeScanner(Inspection(7.0), max_bytes=len(RAW) - 1)

        assert not (await Scanning(scanner).inspect(MAIL)).inspected
        assert scanner.shown == []
        assert [vars(each)["result"] for each in caplog.records] == [TOO_LARGE]

    async def test_only_so_many_at_once(self) -> None:
        """A flood waits in line here, not in the scanner."""
        scanner = FakeScanner(Inspection(7.0), timeout=PATIENT, gate=asyncio.Event())
        asking = Scanning(scanner)
        flood = asyncio.gather(*(asking.inspect(MAIL) for _ in range(30)))
        await eventually(lambda: len(scanner.shown) >= 10)
        scanner.gate.set()

        found = await flood

        assert scanner.most_at_once == 10
        assert [each.score for each in found] == [7.0] * 30

    async def test_whose_time_is_up_in_line_passes(self, caplog: pytest.LogCaptureFixture) -> None:
        """It was never shown, and takes nobody's turn."""
        scanner = FakeScanner(Inspection(7.0), timeout=PATIENT, gate=asyncio.Event())
        asking = Scanning(scanner)
        before = asyncio.gather(*(asking.inspect(MAIL) for _ in range(10)))
        await eventually(lambda: len(scanner.shown) == 10)
        scanner.timeout = timedelta(milliseconds=1)

        found = await asking.inspect(MAIL)

        assert not found.inspected
        assert [vars(each)["result"] for each in caplog.records] == [BUSY]
        scanner.gate.set()
        assert all(each.inspected for each in await before)
        assert len(scanner.shown) == 10
