"""TLS towards remote hosts: two contexts, made once and shared by all connections.

A context per connection would read the CA bundle each time: 37 ms of CPU.
"""

import ssl
from pathlib import Path

from shared.domain.job import TLSMode


class TLSContexts:
    """The client contexts of this node; make them outside of hot paths.

    Args:
        ca_file: certificates to trust in place of the system's.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._verified = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._opportunistic = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # RFC 7435: without a policy that names the host, any encryption is better than none,
        # and the alternative to a weak certificate would be clear text.
        self._opportunistic.check_hostname = False
        self._opportunistic.verify_mode = ssl.CERT_NONE
        self._opportunistic.set_ciphers("DEFAULT:@SECLEVEL=0")

    def for_mode(self, mode: TLSMode) -> ssl.SSLContext:
        """Return the context that a handshake in this mode uses."""
        return self._verified if mode in (TLSMode.STARTTLS, TLSMode.TLS) else self._opportunistic


def described(tls: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """Return version and cipher, such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty for clear text."""
    if tls is None:
        return ""
    cipher = tls.cipher()
    return f"{tls.version()} {cipher[0]}" if cipher else ""
