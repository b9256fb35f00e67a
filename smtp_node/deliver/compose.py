"""The bytes that go on the wire: trace and id fields, signatures, then the stored message.

Of the stored message nothing is changed but tracked links, the pixel, and the field
that asks for List-Unsubscribe, so what was accepted is what arrives.
"""

from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import NamedTuple

from shared.domain.dns_records import own_return_path
from shared.domain.letter import REPORT_HEADER
from shared.domain.message import Message, Via
from shared.domain.tenancy import Domain, Server
from smtp_node.authentication.keys import SigningKey
from smtp_node.authentication.sign import sign
from smtp_node.deliver.tracking.rewrite import Marking
from smtp_node.deliver.tracking.safely import tracked
from smtp_node.deliver.unsubscribing import Unsubscribing, with_unsubscribing


class Composed(NamedTuple):
    """What goes on the wire, in two pieces: a large message is not copied to have fields put before it."""

    added: bytes
    """Fields: signatures, Received, the message's token."""

    raw: bytes
    """The stored message; the very same bytes if no link is tracked and nothing is asked for."""

    report_token: str = ""
    """What reports on it are to name it by; empty for nothing."""


def compose(
    message: Message,
    server: Server,
    body: bytes,
    keys: Sequence[SigningKey],
    *,
    marking: Marking | None,
    report_token: str,
    unsubscribing: Unsubscribing | None,
    hostname: str,
    at: datetime,
) -> Composed:
    """Return the complete message for one recipient, signed with every key.

    Args:
        message: whose token and origin are written into the head.
        server: its privacy mode decides what Received tells.
        body: the stored message, CRLF line ends.
        keys: of the domain that authorised the sender.
        marking: how links and opens are tracked; None if they are not.
        report_token: names message and recipient to whoever reports it; empty for none.
        unsubscribing: how the recipient may unsubscribe, if the message asks for that; None if it cannot be.
        hostname: of this installation, for Received.
        at: time of the signature.
    """
    raw = with_unsubscribing(tracked(message, body, marking), unsubscribing)
    ids = b"X-Postal-MsgID: %s\r\n" % message.token.encode()
    if report_token:
        ids += REPORT_HEADER + b": %s\r\n" % report_token.encode()
    added = sign(raw, keys, at=at) + received_field(message, server, hostname=hostname) + ids
    return Composed(added, raw, report_token)


def received_field(message: Message, server: Server, *, hostname: str) -> bytes:
    """Return the Received field of the hop from the client to us (RFC 5321 §4.4).

    Empty for messages handed over complete, as in Postal (send/raw).  In privacy
    mode nothing is said of the client.  Every word comes from addresses and names
    that were checked before, yet only harmless characters are let through.
    """
    origin = message.origin
    if origin.via is Via.RAW_HTTP:
        return b""
    date = format_datetime(message.accepted_at)
    by = f"by {hostname} with {origin.via.value}; {date}"
    if server.privacy_mode or not origin.address:
        return f"Received: {by}\r\n".encode()
    helo = "api" if origin.via is Via.HTTP else _harmless(origin.helo) or "unknown"
    name = _harmless(origin.name) or "unknown"
    return f"Received: from {helo} ({name} [{_harmless(origin.address)}])\r\n\t{by}\r\n".encode()


def _harmless(word: str) -> str:
    return "".join(char for char in word if char.isascii() and (char.isalnum() or char in ".:-_"))[:255]


def return_path(message: Message, server: Server, domain: Domain, token: str, *, shared_domain: str) -> str:
    """Return the envelope sender, where bounces come back; empty for a null sender.

    Args:
        message: whose sender.
        server: its server, whose token stands in (as in Postal, app/senders/smtp_sender.rb) where there is no other.
        domain: which signs the message; under its own return path SPF counts for DMARC (RFC 7489 §3.1.2).
        token: names message and recipient; empty if the keys could not be read.
        shared_domain: the installation's return-path domain.
    """
    if message.bounce:
        return ""
    host = own_return_path(domain.name) if domain.own_return_path else shared_domain
    return f"{token or server.token}@{host}"
