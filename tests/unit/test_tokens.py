"""Tokens: read exactly as made, and nothing else is believed."""

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tokens import (
    CLICK,
    MAX_TARGET_BYTES,
    OPEN,
    UNSUBSCRIBE,
    Named,
    TokenKeys,
    Tokens,
    key_id_of,
    read_keys,
    rotated,
)

HOST = "track.example.com"
KINDS = (OPEN, CLICK, UNSUBSCRIBE)


def randomness(seed: int = 1) -> Callable[[int], bytes]:
    """Return a repeatable source of bytes."""
    return random.Random(seed).randbytes


KEYS = rotated(None, randomness())
TOKENS = Tokens(KEYS)

names = st.builds(
    Named,
    st.integers(1, 2**31 - 1),
    st.integers(1, 2**53 - 1),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300),
)


def flipped(token: str, rng: random.Random) -> str:
    """Return the token with one letter changed."""
    at = rng.randrange(len(token))
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return token[:at] + rng.choice([each for each in letters if each != token[at].lower()]) + token[at + 1 :]


class TestURLTokens:
    @given(named=names, kind=st.sampled_from(KINDS))
    def test_are_read_as_they_were_made(self, named: Named, kind: str) -> None:
        """A link leads where it led when the mail was sent."""
        token = TOKENS.make(kind, HOST, named)

        assert TOKENS.read(kind, HOST, token) == named
        assert re.fullmatch(r"[A-Za-z0-9_-]+", token)

    @given(named=names)
    def test_another_kind_or_host_is_refused(self, named: Named) -> None:
        """A pixel's token must not unsubscribe, and one tenant's token means nothing on another's domain."""
        token = TOKENS.make(OPEN, HOST, named)

        assert [TOKENS.read(kind, HOST, token) for kind in (CLICK, UNSUBSCRIBE)] == [None, None]
        assert TOKENS.read(OPEN, "track.other.example", token) is None

    def test_a_thousand_forgeries_are_refused(self) -> None:
        """One changed letter, one missing end, one foreign key: never a hit."""
        rng = random.Random(5)
        foreign = Tokens(TokenKeys(KEYS.current, {KEYS.current: bytes(32)}))
        accepted = 0
        for number in range(1000):
            named = Named(rng.randrange(1, 2**31), rng.randrange(1, 2**53), f"https://example.com/{number}")
            token = TOKENS.make(CLICK, HOST, named)
            tried = (
                flipped(token, rng),
                token[: rng.randrange(len(token))],
                token + rng.choice("Aa-_="),
                foreign.make(CLICK, HOST, named),
            )
            accepted += sum(TOKENS.read(CLICK, HOST, each) is not None for each in tried)

        assert accepted == 0

    @given(token=st.text(max_size=3000))
    def test_anything_else_is_refused_without_a_fuss(self, token: str) -> None:
        """Strangers write what they like into a path."""
        assert TOKENS.read(CLICK, HOST, token) is None
        assert isinstance(key_id_of(token), str)

    def test_say_nothing_readable(self) -> None:
        """A target may hold the recipient's address; ids next to each other give tokens without likeness."""
        target = "https://example.com/u?email=jane@example.net"
        one, two = (TOKENS.make(CLICK, HOST, Named(7, number, target)) for number in (100, 101))

        assert "jane" not in one
        alike = sum(left == right for left, right in zip(one[4:], two[4:], strict=True))
        assert alike < len(one) / 8

    def test_are_the_same_each_time(self) -> None:
        """Two attempts at one message must send the same bytes."""
        named = Named(7, 100, "https://example.com/")

        assert TOKENS.make(CLICK, HOST, named) == Tokens(KEYS).make(CLICK, HOST, named)

    def test_a_target_has_its_limit(self) -> None:
        """Longer links stay as they are, so nobody asks for a token."""
        longest = "https://example.com/".ljust(MAX_TARGET_BYTES, "x")
        assert TOKENS.read(CLICK, HOST, TOKENS.make(CLICK, HOST, Named(1, 1, longest))) == Named(1, 1, longest)
        with pytest.raises(ValueError, match="too long"):
            TOKENS.make(CLICK, HOST, Named(1, 1, longest + "x"))


class TestReturnPaths:
    @given(server=st.integers(1, 2**31 - 1), message=st.integers(1, 2**53 - 1), data=st.data())
    def test_survive_folding_of_case(self, server: int, message: int, data: st.DataObject) -> None:
        """Some MTAs write local parts in capitals."""
        local_part = TOKENS.return_path(Named(server, message))
        seen = "".join(data.draw(st.sampled_from((each, each.upper()))) for each in local_part)

        assert TOKENS.read_return_path(seen) == Named(server, message)
        assert re.fullmatch(r"[a-z2-7]{39}", local_part)

    def test_a_thousand_forgeries_are_refused(self) -> None:
        """A guessed return path would let strangers bounce other people's mail."""
        rng = random.Random(6)
        accepted = 0
        for _ in range(1000):
            local_part = TOKENS.return_path(Named(rng.randrange(1, 2**31), rng.randrange(1, 2**53)))
            tried = (flipped(local_part, rng), local_part[:-1], local_part + "a", f"{local_part}=")
            accepted += sum(TOKENS.read_return_path(each) is not None for each in tried)

        assert accepted == 0

    @given(local_part=st.text(max_size=64))
    def test_anything_else_is_refused_without_a_fuss(self, local_part: str) -> None:
        """The local part comes from a stranger's RCPT."""
        assert TOKENS.read_return_path(local_part) is None


class TestKeys:
    def test_old_tokens_stay_good_after_rotation(self) -> None:
        """A link in a mail of last year still leads on."""
        named = Named(7, 100, "https://example.com/")
        old = TOKENS.make(CLICK, HOST, named)
        keys = rotated(KEYS, randomness(2))

        assert keys.current != KEYS.current
        assert Tokens(keys).read(CLICK, HOST, old) == named
        assert key_id_of(Tokens(keys).make(CLICK, HOST, named)) == keys.current
        assert TOKENS.read(CLICK, HOST, Tokens(keys).make(CLICK, HOST, named)) is None

    def test_are_kept_as_they_were_written(self) -> None:
        """They lie in a file or in a parameter, as JSON."""
        keys = rotated(KEYS, randomness(3))

        assert read_keys(keys.to_json()) == keys

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"current": "0001", "keys": {}}',
            '{"current": "0001", "keys": {"0001": "c2hvcnQ="}}',
            '{"current": "xx", "keys": {"xx": "' + "A" * 43 + '="}}',
            '{"current": "0001", "keys": []}',
        ],
    )
    def test_a_damaged_file_is_an_error_that_tells_no_key(self, text: str) -> None:
        """Signing with half a key would be worse than not starting."""
        with pytest.raises(ValueError, match=r"^these are no token keys$"):
            read_keys(text)
