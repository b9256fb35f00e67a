"""Delivery rows as text: what is written is read, by every later release, and garbage is refused."""

import base64
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.message import Delivery, Evidence, Status
from shared.store.delivery_rows import MAX_ROW_BYTES, UnreadableRow, row_of, row_text

TEXT = st.text(max_size=300)
DELIVERIES = st.builds(
    Delivery,
    id=st.integers(1, 2**53),
    attempt=st.integers(1, 1000),
    status=st.sampled_from(Status),
    details=TEXT,
    output=TEXT,
    at=st.integers(0, 4_000_000_000_000).map(lambda ms: datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)),
    log_id=TEXT,
    duration=st.none() | st.timedeltas(timedelta(0), timedelta(days=1)),
    evidence=st.builds(
        Evidence,
        mx=TEXT,
        mx_address=TEXT,
        source_address=TEXT,
        smtp_code=st.integers(0, 599),
        enhanced_code=TEXT,
        tls=TEXT,
        conversation=st.text(max_size=3000),
    ),
)

OF_FORM_1 = (
    "1c=?OYpInPJHUlL%14AQY6H_yD3rihCb4ycm3j+%S1F*@7PR1#&rs*C^IwpojK!rL+Ko3BBs2~eTYJdZ);*?ZiBN!M^B|u*S^&^@j#RZ3#081>O7"
    "_urL*U%E=J75FP6wI;EGX*xl4Gi=Qfle|71}9iMq+^U(Fd$4)h(;I$%GB`ejG_pfvt#m<VgV-dPo)"
)
"""Written once and kept: a change of the form or its dictionary would make what users have stored unreadable."""


class TestRows:
    @given(DELIVERIES)
    def test_what_is_written_is_read(self, delivery: Delivery) -> None:
        """The history of a message is evidence: nothing of it may change."""
        assert row_of(row_text(delivery)) == delivery

    @given(DELIVERIES)
    def test_it_is_text_that_no_format_has_to_escape(self, delivery: Delivery) -> None:
        """Escapes would be paid for by the byte."""
        text = row_text(delivery)

        assert text.isascii()
        assert text.isprintable()
        assert not set('"\\') & set(text)

    def test_a_row_of_form_1_is_read_for_ever(self) -> None:
        """Rows outlive every upgrade."""
        talk = "* connecting to mx.dest.test [192.0.2.25]:25\nS: 220 mx.dest.test ESMTP\n"

        assert row_of(OF_FORM_1) == Delivery(
            id=3_600_000_123_456_789,
            attempt=2,
            status=Status.SOFT_FAIL,
            details="Temporary SMTP delivery error when sending to mx.dest.test:25",
            output="451 4.7.1 später",
            at=datetime(2026, 11, 27, 12, 0, 0, 250_000, tzinfo=UTC),
            log_id="aB3dE5gH",
            duration=timedelta(milliseconds=412),
            evidence=Evidence("mx.dest.test", "192.0.2.25", "198.51.100.1", 451, "4.7.1", "", talk),
        )

    def test_the_longest_row_is_read(self) -> None:
        """The cap on inflating is far above what a delivery holds."""
        talk = "".join(chr(0x10000 + number) for number in range(2048))
        now = datetime(2026, 11, 27, tzinfo=UTC)
        seen = Evidence("m" * 253, "192.0.2.25", "198.51.100.1", 550, "5.1.1", "t" * 80, talk)
        longest = Delivery(2**53, 18, Status.HARD_FAIL, "ü" * 250, "ü" * 512, now, "a" * 8, None, seen)

        assert row_of(row_text(longest)) == longest


class TestGarbage:
    @pytest.mark.parametrize("text", ["", "1", "0", "2abc", "1abc", "1" + "~" * 50, "1é", '1"', "{}", "1\x00"])
    def test_is_refused(self, text: str) -> None:
        """A row that something else wrote must not be shown as history."""
        with pytest.raises(UnreadableRow):
            row_of(text)

    @given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
    def test_of_any_kind_is_refused(self, text: str) -> None:
        """One error for all of it."""
        with pytest.raises(UnreadableRow):
            row_of("1" + text)

    @given(DELIVERIES, st.data())
    def test_a_row_that_was_cut_is_refused(self, delivery: Delivery, data: st.DataObject) -> None:
        """A part of the evidence is none."""
        text = row_text(delivery)
        cut = text[: data.draw(st.integers(0, len(text) - 2))]

        with pytest.raises(UnreadableRow):
            row_of(cut)

    def test_a_bomb_is_refused_early(self) -> None:
        """A few hundred characters could inflate to megabytes."""
        deflate = zlib.compressobj(9)
        bomb = deflate.compress(b" " * 50 * MAX_ROW_BYTES) + deflate.flush()

        with pytest.raises(UnreadableRow):
            row_of("1" + base64.b85encode(bomb).decode())
