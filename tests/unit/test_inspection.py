"""What a server makes of what scanners said, and what endpoints are told of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidValue
from shared.domain.headers import split_head
from shared.domain.inspection import MAX_CHECKS, Inspection, Ruling, check, rule_incoming, rule_outgoing
from shared.domain.inspection_fields import INSPECTION_FIELDS, inspection_fields
from shared.domain.message import SpamStatus
from shared.domain.routes import SpamMode
from shared.domain.thresholds import OUTBOUND, SPAM, SPAM_FAILURE, Range, checked_threshold, outbound_change
from tests.dialogue.door import SERVER

OWN = replace(SERVER, spam_threshold=5.0, spam_failure_threshold=20.0)
TOO_HIGH = "Message's spam score is higher than the failure threshold for this server. Threshold is currently 20.0."
ROUTE_FAILS = "Message is spam and the route specifies it should be failed."
THREAT = "Message contains a threat: Eicar."
HEAD = b"Subject: x\r\n"


class TestRuleIncoming:
    @pytest.mark.parametrize(
        ("inspection", "mode", "status", "failure"),
        [
            (Inspection(), SpamMode.FAIL, SpamStatus.NOT_CHECKED, ""),
            (Inspection(threat=""), SpamMode.FAIL, SpamStatus.NOT_CHECKED, ""),
            (Inspection(5.0), SpamMode.FAIL, SpamStatus.NOT_SPAM, ""),
            (Inspection(5.01), SpamMode.MARK, SpamStatus.SPAM, ""),
            (Inspection(5.01), SpamMode.QUARANTINE, SpamStatus.SPAM, ""),
            (Inspection(5.01), SpamMode.FAIL, SpamStatus.SPAM, ROUTE_FAILS),
            (Inspection(19.99), SpamMode.MARK, SpamStatus.SPAM, ""),
            (Inspection(20.0), SpamMode.MARK, SpamStatus.SPAM, TOO_HIGH),
            (Inspection(20.0), SpamMode.QUARANTINE, SpamStatus.SPAM, TOO_HIGH),
            (Inspection(1.0, threat="Eicar"), SpamMode.MARK, SpamStatus.NOT_SPAM, THREAT),
            (Inspection(30.0, threat="Eicar"), SpamMode.MARK, SpamStatus.SPAM, THREAT),
            (Inspection(threat="Eicar"), SpamMode.QUARANTINE, SpamStatus.NOT_CHECKED, THREAT),
        ],
    )
    def test_is_postals_and_a_threat_fails(
        self, inspection: Inspection, mode: SpamMode, status: SpamStatus, failure: str
    ) -> None:
        """Above the one threshold is spam, at the other it fails (incoming_message_processor.rb)."""
        assert rule_incoming(inspection, OWN, mode) == Ruling(inspection, status, failure)

    def test_a_failure_threshold_below_the_other_counts(self) -> None:
        """Postal asks about it first; what fails for its score is spam, so that nobody is sent a bounce."""
        ruling = rule_incoming(
            Inspection(12.0), replace(OWN, spam_threshold=25.0, spam_failure_threshold=10.0), SpamMode.MARK
        )

        assert ruling.status is SpamStatus.SPAM
        assert ruling.failure.endswith("currently 10.0.")


class TestRuleOutgoing:
    @pytest.mark.parametrize(
        ("inspection", "status", "failure"),
        [
            (Inspection(), SpamStatus.NOT_CHECKED, ""),
            (Inspection(7.99), SpamStatus.NOT_SPAM, ""),
            (Inspection(8.0), SpamStatus.SPAM, "Message is likely spam. Threshold is 8.0 and the message scored 8.0."),
            (Inspection(1.0, threat="Eicar"), SpamStatus.NOT_SPAM, THREAT),
        ],
    )
    def test_at_the_threshold_it_fails(self, inspection: Inspection, status: SpamStatus, failure: str) -> None:
        """As in Postal (outgoing_message_processor.rb), where a threat changes nothing."""
        assert rule_outgoing(inspection, 8.0) == Ruling(inspection, status, failure)


class TestFields:
    def test_are_postals(self) -> None:
        """Names, values and their form are what applications made for Postal look for."""
        checks = (check("A", 6.5, "Has (some) words"), check("B", 1.0))
        ruling = rule_incoming(Inspection(7.5, checks, ""), OWN, SpamMode.MARK)

        assert inspection_fields(ruling, OWN) == (
            b"X-Postal-Spam: yes\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: 7.5\r\n"
            b"X-Postal-Threat: no\r\n"
            b"X-Edgepost-Spam-Checks: A=6.5 (Has [some] words),\r\n\tB=1.0\r\n"
        )

    @pytest.mark.parametrize(
        ("inspection", "fields"),
        [
            (Inspection(), b""),
            (Inspection(threat="Eicar"), b"X-Postal-Threat: yes\r\n"),
            (
                Inspection(-1.0),
                b"X-Postal-Spam: no\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: -1.0\r\n",
            ),
        ],
    )
    def test_say_only_what_is_known(self, inspection: Inspection, fields: bytes) -> None:
        """A mail that nobody scanned is not clean."""
        assert inspection_fields(rule_incoming(inspection, OWN, SpamMode.MARK), OWN) == fields

    @given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False), st.text()), max_size=80))
    def test_no_scanner_can_write_a_field_of_its_own(self, said: list[tuple[str, float, str]]) -> None:
        """Scanners repeat words of the mail: a line end among them would be a field of the sender's."""
        checks = tuple(check(name, score, words) for name, score, words in said)
        fields = inspection_fields(Ruling(Inspection(1.0, checks, "")), OWN)

        head = split_head(fields + b"\r\nbody")
        assert len(head.fields) == 4 + bool(checks)
        assert max(map(len, fields.split(b"\r\n"))) < 998
        assert fields.count(b"\r\n\t") == max(0, min(len(checks), MAX_CHECKS) - 1)


FORGED = (
    b"X-Postal-Spam: no\r\n",
    b"x-postal-spam-score: -99\r\n",
    b"X-POSTAL-THREAT:no\r\n",
    b"X-Postal-Spam-Threshold:\r\n\t99\r\n more\r\n",
    b"X-Edgepost-Spam-Checks: A=-9\r\n",
)


class TestWithoutForged:
    @pytest.mark.parametrize("forged", FORGED)
    @pytest.mark.parametrize("others", [(b"", HEAD), (HEAD, b""), (HEAD, b"To: <a@b.test>\r\n\tfolded\r\n")])
    def test_takes_them_out(self, forged: bytes, others: tuple[bytes, bytes]) -> None:
        """Whoever reads such a field must be able to believe it; every other byte stays."""
        first, second = others
        body = b"\r\nX-Postal-Spam: no\r\n"
        raw = first + forged + second + body

        assert INSPECTION_FIELDS.taken_out(raw) == first + second + body

    @pytest.mark.parametrize("forged", [*FORGED, b"X-Postal-Spam : no\r\n", b"X-Postal-Threat\t:\r\n no\r\n"])
    def test_of_a_head_that_cannot_be_split_too(self, forged: bytes) -> None:
        """Such a head is taken in; a lenient reader finds fields in it all the same."""
        raw = b"no field at all\r\n" + forged + b"Subject: x\r\n\r\nX-Postal-Spam: no\r\n"

        assert INSPECTION_FIELDS.taken_out(raw) == b"no field at all\r\nSubject: x\r\n\r\nX-Postal-Spam: no\r\n"

    def test_a_mail_without_them_is_the_very_same(self) -> None:
        """It may be large: no copy is made."""
        raw = b"X-Postal-Spammer: x\r\nSubject: X-Postal-Spam: no\r\n\r\nhi\r\n"

        assert INSPECTION_FIELDS.taken_out(raw) is raw

    @pytest.mark.parametrize("raw", [b"", b"\r\n", b"\r\nX-Postal-Spam: no\r\n\r\nX-Postal-Threat: no\r\n"])
    def test_a_body_is_no_head(self, raw: bytes) -> None:
        """What stands behind the first empty line is the sender's."""
        assert INSPECTION_FIELDS.taken_out(raw) is raw

    @pytest.mark.parametrize(
        ("line", "stays"),
        [
            (b"X-Postal-Spam:" + b"\r\n " * 170_000 + b"\r\n", False),
            (b"X-Postal-Spam:" * 35_000 + b"\r\n", False),
            (b"X-Postal-Spam" + b" " * 500_000 + b"\r\n", True),
        ],
    )
    def test_a_head_of_the_longest_kind_is_searched_in_one_pass(self, line: bytes, stays: bool) -> None:
        """A form that looks again from each byte would take hours here."""
        assert (
            INSPECTION_FIELDS.taken_out(HEAD + line + b"\r\nhi\r\n") == HEAD + (line if stays else b"") + b"\r\nhi\r\n"
        )

    def test_of_a_head_beyond_our_own_limit_too(self) -> None:
        """We do not read such a head; whoever gets the mail may."""
        long = b"X-Filling: " + b"x" * 600_000 + b"\r\n"

        assert INSPECTION_FIELDS.taken_out(long + b"X-Postal-Spam: no\r\n\r\nhi\r\n") == long + b"\r\nhi\r\n"

    def test_a_head_without_end_is_searched_too(self) -> None:
        """A mail may end with its head, without any empty line."""
        assert INSPECTION_FIELDS.taken_out(HEAD + b"X-Postal-Spam: no\r\n") == HEAD


class TestThresholds:
    @pytest.mark.parametrize(
        ("value", "allowed"),
        [(-10.5, SPAM), (25.5, SPAM), (9.5, SPAM_FAILURE), (50.5, SPAM_FAILURE), (51.0, OUTBOUND), (-11.0, OUTBOUND)],
    )
    def test_have_the_ranges_of_postals_form(self, value: float, allowed: Range) -> None:
        """A failure threshold of 0 would refuse nearly all mail."""
        with pytest.raises(InvalidValue, match=allowed.name):
            checked_threshold(value, allowed)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_are_numbers(self, value: float) -> None:
        """Nothing is above NaN, so no mail would ever be spam."""
        with pytest.raises(InvalidValue):
            checked_threshold(value, SPAM)

    def test_are_kept_to_two_decimals(self) -> None:
        """As scores are."""
        assert checked_threshold(4.567, SPAM) == 4.57
        assert str(checked_threshold(-0.0, SPAM)) == "0.0"

    def test_outbound_is_a_number_or_none(self) -> None:
        """The command line's words."""
        assert (outbound_change("8"), outbound_change("none"), outbound_change(None)) == (8.0, "none", None)
        with pytest.raises(InvalidValue, match="a number or none"):
            outbound_change("off")
