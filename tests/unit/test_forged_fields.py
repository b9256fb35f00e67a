"""Fields that only we may write are taken out of any head, however long it is."""

import pytest

from shared.domain.forged_fields import ForgedFields
from shared.domain.headers import BLOCK_BYTES

OURS = ForgedFields([b"X-Ours", b"X-Ours-Too"])
LINE = b"X-Filling: " + b"x" * 51 + b"\r\n"
FOLDED = b"\t" + b"y" * 61 + b"\r\n"
BLOCK = BLOCK_BYTES // len(FOLDED)
"""Lines in one."""

BODY = b"\r\nX-Ours: of the body\r\n"


class TestTakenOut:
    @pytest.mark.parametrize("before", [0, 1, BLOCK - 1, BLOCK, BLOCK + 500])
    @pytest.mark.parametrize("folds", [0, 1, 2, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
    def test_wherever_a_field_lies_and_however_long_it_is(self, before: int, folds: int) -> None:
        """A head is searched in pieces; none may begin with the rest of a field whose name was in another."""
        first, last = LINE * before, b"\tis its own\r\n" + LINE * 5
        field = b"x-ours : a\r\n" + FOLDED * folds

        assert OURS.taken_out(first + b"To: b\r\n" + field + b"Cc: c\r\n" + last + BODY) == (
            first + b"To: b\r\nCc: c\r\n" + last + BODY
        )

    @pytest.mark.parametrize("name", [b"X-Ours", b"X-Ours-Too"])
    def test_a_head_of_nothing_else(self, name: bytes) -> None:
        """Then the mail begins with its body."""
        assert OURS.taken_out((name + b": a\r\n") * 20_000 + BODY) == BODY

    @pytest.mark.parametrize(
        "raw", [LINE * 3 * BLOCK + BODY, LINE * 3 * BLOCK, b"X-Ours", b"X-Oursy: a\r\n" + BODY, BODY]
    )
    def test_a_mail_without_them_is_the_very_same(self, raw: bytes) -> None:
        """It may be large: no copy is kept."""
        assert OURS.taken_out(raw) is raw
