"""Fields that only we may write are taken out of any head; test_inspection.py has the forms in which they come."""

import pytest

from shared.domain.forged_fields import ForgedFields

OURS = ForgedFields([b"X-Ours", b"X-Ours-Too"])
LINE = b"X-Filling: " + b"x" * 51 + b"\r\n"
BODY = b"\r\nX-Ours: of the body\r\n"


class TestTakenOut:
    @pytest.mark.parametrize("folds", [0, 1, 3000])
    def test_a_field_goes_with_its_folded_lines_and_no_more(self, folds: int) -> None:
        """What follows a field must not become part of the one before it."""
        field, last = b"x-ours : a\r\n" + b"\ty\r\n" * folds, b"Cc: c\r\n\tis its own\r\n"

        assert OURS.taken_out(LINE + b"To: b\r\n" + field + last + BODY) == LINE + b"To: b\r\n" + last + BODY

    @pytest.mark.parametrize("name", [b"X-Ours", b"X-Ours-Too"])
    def test_a_head_of_nothing_else(self, name: bytes) -> None:
        """Then the mail begins with its body."""
        assert OURS.taken_out((name + b": a\r\n") * 20_000 + BODY) == BODY

    @pytest.mark.parametrize("raw", [LINE * 3 + BODY, LINE, b"X-Ours", b"X-Oursy: a\r\n" + BODY, BODY])
    def test_a_mail_without_them_is_the_very_same(self, raw: bytes) -> None:
        """It may be large: no copy is kept."""
        assert OURS.taken_out(raw) is raw
