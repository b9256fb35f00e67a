"""The clients of rspamd, spamd and clamd: what they say, and what they make of every answer."""

import asyncio
import json
import tracemalloc
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.inspection import MAX_CHECKS, MAX_SCORE, Check, Inspection
from shared.settings import ServiceAddress
from smtp_node.scan import clamd, rspamd, spamd
from smtp_node.scan.clamd import Clamd
from smtp_node.scan.rspamd import Rspamd
from smtp_node.scan.scanner import GARBAGE, REFUSED, UNREACHABLE, ScanFailed, ScannedMail, Scanner
from smtp_node.scan.scanning import BUSY, TIMEOUT, TOO_LARGE, Scanning
from smtp_node.scan.spamd import Spamd
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

PATIENT, QUICK = timedelta(seconds=20), timedelta(milliseconds=200)
RAW = b"".join(MAIL.content)

REPORT = (
    b"Spam detection software, running on the system, has identified it.\r\n\r\n"
    b"Content preview:  Buy now\n   ---- ---------------------- ---\n   -99 PREVIEW_RULE words of the mail\n\n"
    b"Content analysis details:   (1004.1 points, 5.0 required)\r\n\r\n"
    b" pts rule name              description\r\n"
    b"---- ---------------------- --------------------------------------------------\r\n"
    b" 2.7 MISSING_DATE           Missing Date: header\r\n"
    b"-0.1 DKIM_VALID             Message has at least one valid DKIM or DK\r\n"
    b"                            signature\r\n"
    b"1000 GTUBE                  BODY: Generic Test for Unsolicited Bulk Email\r\n"
    b" 1.5 RCVD_IN_XBL            RBL: Received via a relay in Spamhaus XBL\r\n"
    b"                            [192.0.2.9 listed in \xff zen]\r\n\r\n"
)
SPAMD = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: True ; 1004.1 / 5.0\r\n\r\n" + REPORT
RSPAMD = json.dumps(
    {
        "is_skipped": False,
        "score": 7.5,
        "required_score": 15.0,
        "action": "add header",
        "symbols": {
            "LOW": {"name": "LOW", "score": 0.5},
            "OWN_WORD": {"name": "OWN_WORD", "score": 7.0, "description": "Has the word"},
        },
    }
).encode()

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


class TestSpamdAnswers:
    def test_outgoing_mail_is_not_judged_by_how_it_came(self) -> None:
        """Postal's exclusions: no stranger's relay brought it; their points are taken off the score."""
        found = spamd.read_answer(SPAMD, outgoing=True)

        assert found.score == pytest.approx(1004.1 + 0.1 - 1.5)
        assert [each.name for each in found.checks] == ["GTUBE", "MISSING_DATE"]

    def test_words_of_the_mail_are_no_rules(self) -> None:
        """The report quotes the mail before its rules: a forged one would take points off."""
        assert "PREVIEW_RULE" not in [each.name for each in spamd.read_answer(SPAMD, outgoing=False).checks]

    def test_another_report_leaves_the_score(self) -> None:
        """What the report looks like is the site's choice."""
        answer = b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; -0.9 / 5.0\r\n\r\nAll is well.\r\n"

        assert spamd.read_answer(answer, outgoing=True) == Inspection(-0.9)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\n\r\n", GARBAGE),
            (b"HTTP/1.1 200 OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; inf / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; " + b"9" * 400 + b" / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nX: y\r\n\r\nSpam: True ; 9.0 / 5.0\r\n", GARBAGE),
            (b"SPAMD/1.0 76 Bad header line: (EOF)\r\n\r\n", REFUSED),
            (b"\xff\xfe\x00" * 100, GARBAGE),
        ],
    )
    def test_what_is_no_answer_is_no_result(self, answer: bytes, reason: str) -> None:
        """Nothing of it may count as a score."""
        with pytest.raises(ScanFailed) as failed:
            spamd.read_answer(answer, outgoing=False)

        assert failed.value.reason == reason


class TestClamdAnswers:
    @pytest.mark.parametrize(
        ("answer", "threat"),
        [
            (b"stream: OK\0", ""),
            (b"stream: Eicar-Test-Signature FOUND\0", "Eicar-Test-Signature"),
            (b"stream: Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68) FOUND\0", None),
            (b"stream:  FOUND\0", "unnamed"),
            (b"stream: OK FOUND\0", "OK"),
            (b"stream: a\r\nX-Postal-Spam: no\r\n b FOUND\0", "a X-Postal-Spam: no  b"),
            (b"stream: \xff\xe4\x1b[2J FOUND\0", "[2J"),
            (b"stream: " + b"v" * 3000 + b" FOUND\0", "v" * 120),
        ],
    )
    def test_a_name_is_one_harmless_line(self, answer: bytes, threat: str | None) -> None:
        """It goes into records, rows and webhooks; a signature's name is somebody else's text."""
        expected = "Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68)" if threat is None else threat

        assert clamd.read_answer(answer) == Inspection(threat=expected)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"", GARBAGE),
            (b"stream: OK", GARBAGE),
            (b"stream: Eicar-Test-Sig", GARBAGE),
            (b"stream: OK\0stream: OK\0", GARBAGE),
            (b"OK\0", GARBAGE),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", GARBAGE),
            (b"INSTREAM size limit exceeded. ERROR\0", REFUSED),
            (b"stream: Can't allocate memory ERROR\0", REFUSED),
            (b"UNKNOWN COMMAND\0", GARBAGE),
        ],
    )
    def test_what_is_no_answer_is_no_result(self, answer: bytes, reason: str) -> None:
        """Least of all that the mail is clean."""
        with pytest.raises(ScanFailed) as failed:
            clamd.read_answer(answer)

        assert failed.value.reason == reason


class TestRspamdAnswers:
    def test_a_mail_ruled_out_at_once_has_a_score(self) -> None:
        """Rspamd's GTUBE: is_skipped, and a symbol that scores nothing."""
        said = {"is_skipped": True, "score": 15.0, "symbols": {"GTUBE": {"name": "GTUBE", "score": 0.0}}}

        assert rspamd.read_answer(json.dumps(said).encode()) == Inspection(15.0, (Check("GTUBE", 0.0),))

    def test_only_the_weightiest_symbols_are_kept(self) -> None:
        """They go into a header field: their number is bounded, whatever the site configures."""
        symbols = {f"S{number}": {"score": number / 10} for number in range(400)}

        found = rspamd.read_answer(json.dumps({"score": 1, "symbols": symbols}).encode())

        assert len(found.checks) == MAX_CHECKS
        assert found.checks[0].name == "S399"

    @pytest.mark.parametrize(
        ("body", "checks"),
        [
            (b'{"score": 1, "symbols": {"A\\r\\nX: y": {"score": 1}}}', [Check("A_X_y", 1.0)]),
            (b'{"score": 1, "symbols": {"": {"score": 1}}}', [Check("_", 1.0)]),
            (
                b'{"score": 1, "symbols": {"A": {"score": 1, "description": "\\r\\n\\r\\n<b>\\u20ac\\u0000"}}}',
                [Check("A", 1.0, "<b>")],
            ),
            (b'{"score": 1, "symbols": {"A": {"score": NaN}, "B": {"score": -Infinity}, "C": 4, "D": {}}}', []),
            (b'{"score": 1, "symbols": {"A": {"score": true}, "B": {"score": "9"}}}', []),
            (b'{"score": 1, "symbols": ["A"]}', []),
            (b'{"score": 1}', []),
        ],
    )
    def test_symbols_are_made_harmless(self, body: bytes, checks: Sequence[Check]) -> None:
        """Names and descriptions come from whoever wrote a rule, and repeat words of the mail."""
        assert rspamd.read_answer(body) == Inspection(1.0, tuple(checks))

    @pytest.mark.parametrize(("number", "score"), [("1e300", MAX_SCORE), ("-1e300", -MAX_SCORE), ("-0.001", 0.0)])
    def test_a_score_is_bounded(self, number: str, score: float) -> None:
        """Records hold whole hundredths."""
        found = rspamd.read_answer(b'{"score": %s}' % number.encode()).score

        assert str(found) == str(score)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b'"score"',
            b"{}",
            b'{"score": null}',
            b'{"score": "7"}',
            b'{"score": true}',
            b'{"score": NaN}',
            b'{"score": Infinity}',
            b'{"score": 1e999}',
            b'{"score": ' + b"9" * 5000 + b"}",
            b'{"score": 7',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe{}",
            b"<html>404</html>",
        ],
    )
    def test_what_is_no_answer_is_no_result(self, body: bytes) -> None:
        """Nothing of it may count as a score, and nothing may crash."""
        with pytest.raises(ScanFailed) as failed:
            rspamd.read_answer(body)

        assert failed.value.reason == GARBAGE

    @pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "302 Found", "500 Error"])
    async def test_another_status_is_no_result(self, status: str) -> None:
        """A wrong password answers 403; a redirect would send the mail elsewhere."""
        answer = http(RSPAMD, status, b"Location: http://127.0.0.1:1/\r\n")
        with pytest.raises(ScanFailed) as failed:
            await scan("rspamd", saying(answer))

        assert failed.value.reason == REFUSED


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

    async def test_only_so_many_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """A flood waits in line here, not in the scanner; whose time is up passes."""
        scanner = FakeScanner(Inspection(7.0), timeout=QUICK, gate=asyncio.Event())
        asking = Scanning(scanner)

        found = await asyncio.gather(*(asking.inspect(MAIL) for _ in range(30)))

        assert scanner.most_at_once == len(scanner.shown) == 10
        assert not any(each.inspected for each in found)
        results = [vars(each)["result"] for each in caplog.records]
        assert (results.count(TIMEOUT), results.count(BUSY)) == (10, 20)
        scanner.gate = None
        assert (await asking.inspect(MAIL)).score == 7.0
