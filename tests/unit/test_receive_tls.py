"""Certificates: made once, reloaded, never replaced by a broken one."""

import logging
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from shared.settings import Settings, SettingsError
from smtp_node.receive.tls import TLSContexts, self_signed, tls_contexts

NOW = datetime.now(UTC)


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of certificates with their keys in the same file."""
    return lambda name: self_signed(tmp_path / name, "mx.example.test", now=NOW)


class TestSelfSigned:
    def test_is_for_the_host_and_ten_years(self, tmp_path: Path) -> None:
        """Clients that check it must find the name; nobody renews it."""
        certificate = x509.load_pem_x509_certificate(self_signed(tmp_path, "mx.example.test", now=NOW).read_bytes())

        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["mx.example.test", "localhost"]
        assert certificate.not_valid_after_utc - NOW > timedelta(days=3650)

    def test_is_made_once(self, tmp_path: Path) -> None:
        """Clients may have pinned it."""
        first = self_signed(tmp_path, "mx.example.test", now=NOW).read_bytes()

        assert self_signed(tmp_path, "mx.example.test", now=NOW).read_bytes() == first
        assert [each.name for each in tmp_path.iterdir()] == ["self-signed.pem"]

    def test_nobody_else_may_read_the_key(self, tmp_path: Path) -> None:
        """Other users of the machine."""
        made = self_signed(tmp_path / "tls", "mx.example.test", now=NOW)

        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


class TestTLSContexts:
    def test_keeps_the_context_while_files_stay(self, pair: Callable[[str], Path]) -> None:
        """Building one costs a millisecond."""
        ticks = [0.0]
        contexts = TLSContexts(pair("a"), ticks=lambda: ticks[0])
        first = contexts.current()
        ticks[0] = 5.0

        assert contexts.current() is first

    def test_takes_a_new_pair_within_a_second(self, pair: Callable[[str], Path]) -> None:
        """Certificates are renewed while we run."""
        ticks = [0.0]
        file = pair("a")
        contexts = TLSContexts(file, ticks=lambda: ticks[0])
        first = contexts.current()
        pair("b").replace(file)

        assert contexts.current() is first
        ticks[0] = 1.0
        assert contexts.current() is not first

    @pytest.mark.parametrize("broken", ["", "nonsense", None])
    def test_keeps_the_old_pair_when_the_new_one_is_broken(
        self, pair: Callable[[str], Path], caplog: pytest.LogCaptureFixture, broken: str | None
    ) -> None:
        """A renewal that went wrong must not stop mail, but somebody must look."""
        ticks = [0.0]
        file = pair("a")
        contexts = TLSContexts(file, ticks=lambda: ticks[0])
        first = contexts.current()
        file.unlink() if broken is None else file.write_text(broken)

        for ticks[0] in (1.0, 2.0, 3.0):
            assert contexts.current() is first

        assert {each.levelno for each in caplog.records} == {logging.ERROR}
        pair("b").replace(file)
        ticks[0] = 4.0
        assert contexts.current() is not first

    def test_a_certificate_may_come_before_its_key(self, pair: Callable[[str], Path], tmp_path: Path) -> None:
        """Tools write two files, one after the other."""
        ticks = [0.0]
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        certificate.write_bytes(pair("a").read_bytes())
        key.write_bytes(pair("a").read_bytes())
        contexts = TLSContexts(certificate, key, ticks=lambda: ticks[0])
        first = contexts.current()

        certificate.write_bytes(pair("b").read_bytes() + b"\n")
        ticks[0] = 1.0
        between = contexts.current()
        key.write_bytes(pair("b").read_bytes() + b"\n")
        ticks[0] = 2.0

        assert between is first
        assert contexts.current() is not first


class TestTLSContextsOfSettings:
    def test_makes_a_certificate_where_none_is_given(self, tmp_path: Path) -> None:
        """TLS works from the first start."""
        assert tls_contexts(Settings(data_dir=tmp_path)).current() is not None
        assert (tmp_path / "tls" / "self-signed.pem").exists()

    def test_says_what_is_wrong_with_the_given_one(self, tmp_path: Path) -> None:
        """The operator sees the file's name at start."""
        with pytest.raises(SettingsError, match=r"cert\.pem"):
            tls_contexts(Settings(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem"))

    def test_says_when_none_can_be_made(self, tmp_path: Path) -> None:
        """A directory that cannot be used is a clear line, not a traceback."""
        (tmp_path / "tls").write_text("a file where the directory should be")

        with pytest.raises(SettingsError, match="no TLS certificate"):
            tls_contexts(Settings(data_dir=tmp_path))
