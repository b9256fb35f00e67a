"""Every sample of tests/data/bounces is read as its ``.expected`` says; its ``.why`` tells what it guards."""

from pathlib import Path

import pytest

from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import Action, Reading

SAMPLES = Path(__file__).parent.parent / "data" / "bounces"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.eml"))


def told(reading: Reading) -> set[str]:
    """Return what was read, in the form of an ``.expected`` file."""
    lines = {f"kind {reading.kind.value}"}
    for each in reading.recipients:
        judged = f" {each.type.value} {each.code} {each.category.value}"
        failing = each.action in (Action.FAILED, Action.DELAYED)
        lines.add(f"{each.action.value} {each.recipient}{judged if failing else ''}")
    lines |= {f"original {each}" for each in reading.originals.message_ids}
    lines |= {f"token {each}" for each in reading.originals.tokens}
    return lines


class TestReadBounce:
    @pytest.mark.parametrize("name", NAMES)
    def test_reads_the_sample_as_expected(self, name: str) -> None:
        """Recipient, hard or soft, code and category must be right for every format."""
        expected = set((SAMPLES / f"{name}.expected").read_text(encoding="utf-8").splitlines())
        reading = read_bounce((SAMPLES / f"{name}.eml").read_bytes())

        found = told(reading)

        if "no originals" in expected:
            assert not reading.originals.message_ids
            expected.discard("no originals")
        # Not every sample lists the names of the original; recipients and kind must agree exactly.
        assert expected <= found
        assert {line for line in found if not line.startswith(("original", "token"))} <= expected

    def test_there_are_sixty_formats_and_each_says_why(self) -> None:
        """A sample whose purpose nobody knows will be deleted some day."""
        bounces = [name for name in NAMES if not name.startswith("not-")]

        assert len(bounces) >= 60
        assert [name for name in NAMES if not (SAMPLES / f"{name}.why").read_text(encoding="utf-8").strip()] == []

    @pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("not-")])
    def test_what_is_no_bounce_bounces_nobody(self, name: str) -> None:
        """A vacation notice must never stop the mail of somebody who is away."""
        assert not read_bounce((SAMPLES / f"{name}.eml").read_bytes()).bounced
