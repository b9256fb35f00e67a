"""The keyring of an installation and the file its key comes from."""

import base64
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.embedded.master_key import load_master_key
from shared.adapters.keyring import MasterKeyring
from shared.domain.errors import InvalidValue

KEY = bytes(range(32))
OTHER = bytes(32)


class TestUnwrap:
    @given(st.binary(max_size=4000), st.text(st.characters(exclude_categories=["Cs"])))
    def test_returns_what_was_wrapped(self, secret: bytes, context: str) -> None:
        """Any secret, any context."""
        keyring = MasterKeyring(KEY)

        assert keyring.unwrap(keyring.wrap(secret, context=context), context=context) == secret

    def test_two_wraps_look_different(self) -> None:
        """Equal secrets must not be recognisable in the store."""
        keyring = MasterKeyring(KEY)

        assert keyring.wrap(b"same", context="c") != keyring.wrap(b"same", context="c")

    def test_refuses_another_context(self) -> None:
        """A wrapped secret copied to another record must not open there."""
        keyring = MasterKeyring(KEY)

        with pytest.raises(InvalidValue):
            keyring.unwrap(keyring.wrap(b"s", context="domain/1"), context="domain/2")

    def test_refuses_another_key(self) -> None:
        """A start with the wrong key is noticed instead of failing later."""
        with pytest.raises(InvalidValue, match="another master key"):
            MasterKeyring(OTHER).unwrap(MasterKeyring(KEY).wrap(b"s", context="c"), context="c")

    def test_opens_what_an_older_key_wrapped(self) -> None:
        """Rotation keeps the old key for reading."""
        wrapped = MasterKeyring(KEY).wrap(b"s", context="c")

        assert MasterKeyring(OTHER, older=[KEY]).unwrap(wrapped, context="c") == b"s"

    def test_refuses_any_alteration(self) -> None:
        """Every single character counts."""
        keyring = MasterKeyring(KEY)
        wrapped = keyring.wrap(b"secret", context="c")

        for place, letter in enumerate(wrapped):
            altered = wrapped[:place] + ("B" if letter == "A" else "A") + wrapped[place + 1 :]
            with pytest.raises(InvalidValue):
                keyring.unwrap(altered, context="c")

    @pytest.mark.parametrize("text", ["", "v1", "v1.", "v1..", "v2.x.y", "ü.ü.ü", "{own}", "{own}ü", "{own}AAAA"])
    def test_refuses_what_was_never_wrapped(self, text: str) -> None:
        """Nothing in the store may crash the reader."""
        keyring = MasterKeyring(KEY)
        own = keyring.wrap(b"", context="c").rpartition(".")[0] + "."

        with pytest.raises(InvalidValue):
            keyring.unwrap(text.replace("{own}", own), context="c")


class TestMasterKeyring:
    @pytest.mark.parametrize("size", [0, 16, 31, 33])
    def test_refuses_a_key_of_another_length(self, size: int) -> None:
        """AES-256 takes 32 bytes; a shorter key must not pass silently as AES-128."""
        with pytest.raises(InvalidValue, match=f"{size} bytes"):
            MasterKeyring(bytes(size))


class TestLoadMasterKey:
    def test_the_setting_wins(self, tmp_path: Path) -> None:
        """With a key in the settings no file is made."""
        assert load_master_key(base64.b64encode(KEY).decode(), tmp_path / "master.key") == KEY
        assert list(tmp_path.iterdir()) == []

    def test_makes_the_file_once(self, tmp_path: Path) -> None:
        """The second start reads what the first one made, and only the owner can."""
        file = tmp_path / "data" / "master.key"

        first = load_master_key("", file)

        assert load_master_key("", file) == first
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in file.parent.iterdir()] == ["master.key"]

    def test_of_several_processes_one_makes_it(self, tmp_path: Path) -> None:
        """All processes of a first start get the same key."""
        with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
            keys = list(pool.map(load_master_key, [""] * 8, [tmp_path / "master.key"] * 8))

        assert len(set(keys)) == 1

    @pytest.mark.parametrize(
        ("text", "problem"),
        [("short", "base64|bytes"), ("!" * 44, "base64"), (base64.b64encode(bytes(16)).decode(), "16 bytes")],
    )
    def test_refuses_a_bad_key(self, tmp_path: Path, text: str, problem: str) -> None:
        """From the settings or from the file, the message says which and why."""
        file = tmp_path / "master.key"
        file.write_text(text)

        with pytest.raises(InvalidValue, match=problem):
            load_master_key(text, tmp_path / "unused")
        with pytest.raises(InvalidValue, match=f"master.key.*({problem})"):
            load_master_key("", file)

    def test_refuses_to_make_one_when_not_allowed(self, tmp_path: Path) -> None:
        """A command that only reads must not found a second installation."""
        with pytest.raises(InvalidValue, match=r"master\.key"):
            load_master_key("", tmp_path / "master.key", create=False)

        assert list(tmp_path.iterdir()) == []
