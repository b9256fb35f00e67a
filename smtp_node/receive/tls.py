"""The certificate of the SMTP ports: read again when it changes, made once if there is none."""

import ipaddress
import logging
import os
import secrets
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.settings import Settings, SettingsError

log = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0
SELF_SIGNED_FOR = timedelta(days=3652)


class TLSContexts:
    """Gives the context for the next handshake.

    The files are looked at once a second at most.  A new pair that cannot be
    used, such as a certificate whose key is not written yet, leaves the old
    one in place and is tried again when the files change once more.
    """

    def __init__(
        self, certificate: Path, key: Path | None = None, *, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the pair for the first time; ``key`` None means it stands in the certificate's file.

        Raises:
            SettingsError: the files cannot be used.
        """
        self._files = [certificate] if key is None else [certificate, key]
        self._ticks = ticks
        self._checked_at = ticks()
        try:
            self._stamp = self._look()
            self._context = _context(certificate, key)
        except (OSError, ValueError) as exc:
            raise SettingsError([f"the TLS certificate {certificate} or its key cannot be used: {exc}"]) from exc

    def current(self) -> ssl.SSLContext:
        """Return the context of the latest usable pair."""
        now = self._ticks()
        if now - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = now
            self._reload()
        return self._context

    def _reload(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._context = _context(self._files[0], self._files[1] if len(self._files) > 1 else None)
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            log.exception("tls_certificate_rejected", extra={"path": str(self._files[0])})
        else:
            log.info("tls_certificate_reloaded", extra={"path": str(self._files[0])})

    def _look(self) -> list[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(each.st_mtime_ns, each.st_size, each.st_ino) for each in found]


def tls_contexts(settings: Settings) -> TLSContexts:
    """Return contexts for the certificate of the settings, else for a self-signed one.

    Raises:
        SettingsError: the certificate cannot be read or made.
    """
    if settings.tls_cert is not None:
        return TLSContexts(settings.tls_cert, settings.tls_key)
    try:
        return TLSContexts(self_signed(settings.data_dir / "tls", settings.hostname, now=datetime.now(UTC)))
    except OSError as exc:
        raise SettingsError([f"no TLS certificate can be made in {settings.data_dir}: {exc.strerror}"]) from exc


def self_signed(folder: Path, hostname: str, *, now: datetime) -> Path:
    """Return the file with a self-signed certificate and its key, made if it is not there.

    Several processes may ask at once: all get the same file.
    """
    final = folder / "self-signed.pem"
    if final.exists():
        return final
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f"self-signed.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_make_pair(hostname, now))
        # A link fails where a rename would replace: the first one made stays.
        os.link(draft, final)
        log.info("tls_certificate_made", extra={"path": str(final)})
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return final


def _make_pair(hostname: str, now: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in dict.fromkeys((hostname, "localhost"))]
    names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + SELF_SIGNED_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 8996: TLS 1.0 and 1.1 must not be used.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An encrypted key must fail here, not wait for somebody to type at a terminal.
    context.load_cert_chain(certificate, key, password="")
    return context
