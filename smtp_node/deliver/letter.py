"""What goes over the wire: an envelope that is safe to write, and a body byte for byte.

This is the last gate before the socket.  aiosmtplib cuts an address at a line end
and sends the rest, so that the recorded recipient and the real one would differ
(CVE-2026-53533); here such an address is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.domain.addresses import domain_name
from shared.domain.errors import InvalidValue
from shared.domain.headers import has_crlf_only

MAX_ADDRESS_BYTES = 512
BLOCK_BYTES = 64 * 1024

_QUOTED_LOCAL = re.compile(r'"[^"\\<>]*"\Z')


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one recipient, checked by ``letter``."""

    mail_from: str
    """Empty for the null sender (RFC 5321 §4.5.5)."""

    rcpt_to: str
    raw: bytes = field(repr=False)
    added: bytes = b""
    """ASCII fields that go before ``raw``, each with its CRLF."""

    envelope_id: str = ""
    """What reports name the message by; empty for nothing."""

    @property
    def size_bytes(self) -> int:
        """Octets of the message with its final CRLF, before dot-stuffing (RFC 1870 §5)."""
        return len(self.added) + len(self.raw) + (0 if self.raw.endswith(b"\r\n") else 2)

    @property
    def eight_bit(self) -> bool:
        """Whether an octet of the message is not ASCII (RFC 6152)."""
        return not self.raw.isascii()

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the envelope cannot be written without SMTPUTF8 (RFC 6531 §3.4)."""
        return not (self.mail_from.isascii() and self.rcpt_to.isascii())

    @property
    def utf8_header(self) -> bool:
        """Whether the head holds UTF-8 (RFC 6532) beyond ASCII."""
        if self.raw.isascii():
            return False
        end = self.raw.find(b"\r\n\r\n")
        head = self.raw if end < 0 else self.raw[:end]
        try:
            return not head.decode("utf-8").isascii()
        except UnicodeDecodeError:
            return False


def letter(mail_from: str, rcpt_to: str, raw: bytes, *, added: bytes = b"", envelope_id: str = "") -> Letter:
    """Return the letter with both domains as A-labels.

    Args:
        mail_from: envelope sender; empty for the null sender.
        rcpt_to: envelope recipient.
        raw: the message, CRLF line ends.
        added: fields that go before it; it is not joined with them, because it may be large.
        envelope_id: what reports are to name it by.

    Raises:
        InvalidValue: an address or the body could be read as more than it is.
    """
    if not rcpt_to:
        raise InvalidValue("there is no recipient")
    # RFC 5321 §2.3.8: CR and LF only together; a lone one may end the message elsewhere (SMTP smuggling).
    if not (has_crlf_only(raw) and has_crlf_only(added)) or (added and not added.endswith(b"\r\n")):
        raise InvalidValue("the message has line ends other than CRLF")
    if envelope_id and not (envelope_id.isascii() and envelope_id.isalnum()):
        raise InvalidValue("the envelope id has characters that are not allowed")
    return Letter(wire_address(mail_from) if mail_from else "", wire_address(rcpt_to), raw, added, envelope_id)


def wire_address(address: str) -> str:
    """Return the address as it stands between ``<`` and ``>`` in a command.

    The domain becomes A-labels, so that only a non-ASCII local part needs SMTPUTF8.
    Sender addresses come from other hosts too, so a domain that is no name
    (an address literal) stays as it is.

    Raises:
        InvalidValue: control characters, angle brackets, or a space outside of quotes.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise InvalidValue("an address must be of the form name@example.com")
    if not address.isprintable() or "<" in address or ">" in address or len(address.encode()) > MAX_ADDRESS_BYTES:
        raise InvalidValue("the address has characters that are not allowed")
    if " " in domain or (" " in local and not _QUOTED_LOCAL.match(local)):
        raise InvalidValue("the address has a space in it")
    try:
        return f"{local}@{domain_name(domain)}"
    except InvalidValue:
        if not domain.isascii():
            raise
        return address


def wire_blocks(raw: bytes, block_bytes: int = BLOCK_BYTES, *, added: bytes = b"") -> Iterator[bytes]:
    """Yield the bytes to write after 354, dot-stuffed (RFC 5321 §4.5.2); the last block ends with the final dot.

    Nothing else is changed.  In blocks, so that a large message is not copied whole; what
    is added before it is written with the first.
    """
    start, end = 0, 0
    block = added
    while end < len(raw):
        start, end = end, min(end + block_bytes, len(raw))
        # A line end is never cut in two: so a block starts a line exactly if it follows a LF.
        if raw[end - 1 : end] == b"\r":
            end += 1
        block = raw[start:end] if start else added + raw[:end]
        starts_line = raw[start - 1 : start] in (b"", b"\n")
        block = (b"." if starts_line and block.startswith(b".") else b"") + block.replace(b"\r\n.", b"\r\n..")
        if end < len(raw):
            yield block
    yield block + (b".\r\n" if (raw or added).endswith(b"\r\n") else b"\r\n.\r\n")
