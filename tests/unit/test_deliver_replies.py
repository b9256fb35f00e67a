import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.replies import MAX_OUTPUT, Reply, Stage, Verdict, judge, readable

GO_ON, TEMPORARY, PERMANENT = Verdict.GO_ON, Verdict.TEMPORARY, Verdict.PERMANENT


class TestJudge:
    @pytest.mark.parametrize(
        ("stage", "code", "verdict"),
        [
            (Stage.GREETING, 220, GO_ON),
            (Stage.GREETING, 421, TEMPORARY),
            (Stage.GREETING, 554, TEMPORARY),
            (Stage.EHLO, 550, TEMPORARY),
            (Stage.STARTTLS, 454, TEMPORARY),
            (Stage.AUTH, 535, TEMPORARY),
            (Stage.MAIL, 250, GO_ON),
            (Stage.MAIL, 451, TEMPORARY),
            (Stage.MAIL, 553, PERMANENT),
            (Stage.RCPT, 250, GO_ON),
            (Stage.RCPT, 251, GO_ON),
            (Stage.RCPT, 252, GO_ON),
            (Stage.RCPT, 450, TEMPORARY),
            (Stage.RCPT, 452, TEMPORARY),
            (Stage.RCPT, 550, PERMANENT),
            (Stage.RCPT, 354, TEMPORARY),
            (Stage.DATA, 354, GO_ON),
            (Stage.DATA, 250, TEMPORARY),
            (Stage.DATA, 554, PERMANENT),
            (Stage.DOT, 250, GO_ON),
            (Stage.DOT, 354, TEMPORARY),
            (Stage.DOT, 421, TEMPORARY),
            (Stage.DOT, 451, TEMPORARY),
            (Stage.DOT, 500, PERMANENT),
            (Stage.DOT, 554, PERMANENT),
        ],
    )
    def test_follows_the_table(self, stage: Stage, code: int, verdict: Verdict) -> None:
        """RFC 5321 §4.2.1, and that a refused connection says nothing about the message."""
        assert judge(Reply(code, ""), stage) is verdict

    @given(st.sampled_from(Stage), st.integers(-1000, 1000))
    def test_only_5yz_is_permanent(self, stage: Stage, code: int) -> None:
        """Not knowing is temporary: a wrong permanent verdict loses mail."""
        if judge(Reply(code, ""), stage) is PERMANENT:
            assert 500 <= code <= 599

    def test_the_code_decides(self) -> None:
        """A 250 whose text speaks of failure is still the remote's word that it has the message."""
        assert judge(Reply(250, "5.7.1 refused"), Stage.DOT) is GO_ON


class TestReply:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("5.1.1 no such user", "5.1.1"),
            ("4.7.650 later", "4.7.650"),
            ("2.0.0", "2.0.0"),
            ("5.7.1\nsecond line", "5.7.1"),
            ("no such user", ""),
            ("1.2.3 hello", ""),
            ("5.1.1: no", ""),
            ("see 5.1.1", ""),
            ("", ""),
        ],
    )
    def test_enhanced_code(self, text: str, code: str) -> None:
        """RFC 2034 §4: it stands first in the text, or is not there."""
        assert Reply(550, text).enhanced_code == code

    def test_as_text(self) -> None:
        """What is kept with a delivery is bounded."""
        assert str(Reply(250, "ok")) == "250 ok"
        assert str(Reply(250, "")) == "250"
        assert len(str(Reply(550, "x" * 5000))) == MAX_OUTPUT


class TestReadable:
    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"plain", "plain"),
            (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
            (b"Gr\xfc\xdfe", "Gr\ufffd\ufffde"),
            (b"a\x00b\x1b[31mc", "a b [31mc"),
            (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ],
    )
    def test_cleans(self, raw: bytes, text: str) -> None:
        """A remote's words end up in logs, terminals and web pages."""
        assert readable(raw.decode("utf-8", "surrogateescape")) == text

    @given(st.binary(max_size=200))
    def test_is_always_storable(self, raw: bytes) -> None:
        """Lone surrogates cannot be written to a store."""
        shown = readable(raw.decode("utf-8", "surrogateescape"))

        assert all(char == "\n" or char.isprintable() for char in shown)
        shown.encode()

    def test_is_bounded(self) -> None:
        """Ten thousand lines help nobody."""
        assert readable("x\n" * 10_000).count("\n") < 100
