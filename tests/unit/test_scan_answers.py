"""What is made of every answer of rspamd, spamd and clamd."""

import json
from collections.abc import Sequence

import pytest

from shared.domain.inspection import MAX_CHECKS, MAX_SCORE, Check, Inspection
from smtp_node.scan import clamd, rspamd, spamd
from smtp_node.scan.scanner import GARBAGE, REFUSED, ScanFailed

REPORT = (
    b"Spam detection software, running on the system, has identified it.\r\n\r\n"
    b"Content preview:  Buy now\n---- ---------------------- ---\n -99 PREVIEW_RULE words of the mail\n\n"
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
        "filling", [b"-", b"- ", b" ", b"9", b"1 A ", b"- -\r\n", b"1 A\r\n", b"\x00", b"\xc2\x85 1 A"]
    )
    def test_a_report_of_the_longest_kind_is_read_in_one_pass(self, filling: bytes) -> None:
        """A form that looks again from each byte would take hours here."""
        head = b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\n---- -----\r\n"
        answer = head + filling * (250_000 // len(filling)) + b"x\r\n"

        assert spamd.read_answer(answer, outgoing=False).score == 9.0
        assert len(spamd.read_answer(answer, outgoing=False).checks) <= MAX_CHECKS

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\n\r\n", GARBAGE),
            (b"HTTP/1.1 200 OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5.0\r\n\r\n", GARBAGE),
            (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; inf / 5.0\r\n\r\n", GARBAGE),
            ("SPAMD/1.1 0 EX_OK\r\nSpam: True ; ٢٠ / 5.0\r\n\r\n".encode(), GARBAGE),
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
