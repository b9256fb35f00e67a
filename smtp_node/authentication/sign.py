"""DKIM signatures for outgoing mail (RFC 6376, RFC 8463).

relaxed/relaxed, SHA-256, the whole body (never ``l=``, with which anybody may
append), no expiry.  The body hash and the canonical header are computed once for
all keys.  Names in ``h=`` stand once more than the message has them, so that a
replayed copy cannot be given a second From or Subject (RFC 6376 §5.4.2, §8.15).
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from shared.domain.headers import check_bytes, split_head
from smtp_node.authentication.canonical import relaxed_blocks, relaxed_header
from smtp_node.authentication.keys import SigningKey

ALWAYS_SIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
)
"""Listed even when absent, so that none can be added.  RFC 8058 §4 asks for the last two."""

SIGNED_IF_PRESENT = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"list-id",
    b"list-help",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"feedback-id",
    b"auto-submitted",
)
"""A forwarding mailing list may add these without breaking the signature."""

ALGORITHM_TAGS = {"rsa": b"rsa-sha256", "ed25519": b"ed25519-sha256"}
SIGNATURE_LINE = 72


def sign(raw: bytes, keys: Sequence[SigningKey], *, at: datetime) -> bytes:
    """Return the DKIM-Signature fields to put before the message, each with its CRLF.

    Args:
        raw: the message as it will be sent, CRLF line ends throughout.
        keys: one signature is made with each, in this order; none gives no bytes.
        at: the moment of signing (``t=``), to the second.

    Raises:
        MalformedMessage: bytes or a head that would not verify after transport.
    """
    if not keys:
        return b""
    check_bytes(raw)
    head = split_head(raw)
    digest = hashlib.sha256()
    for block in relaxed_blocks(raw, head.body_at):
        digest.update(block)
    body_hash = base64.b64encode(digest.digest())
    values: dict[bytes, list[bytes]] = defaultdict(list)
    for each in head.fields:
        values[each.key].append(each.raw[len(each.key) + 1 :])
    names = _signed_names(values)
    signed = _canonical_headers(values, names)
    return b"".join(_signature(key, signed, names, body_hash, at) for key in keys)


def _signed_names(values: Mapping[bytes, Sequence[bytes]]) -> Sequence[bytes]:
    listed = [*ALWAYS_SIGNED, *(name for name in SIGNED_IF_PRESENT if name in values)]
    return [name for name in listed for _ in range(len(values.get(name, ())) + 1)]


def _canonical_headers(values: Mapping[bytes, Sequence[bytes]], names: Sequence[bytes]) -> bytes:
    """Return the hash input of the named fields: of a repeated one the last comes first (RFC 6376 §5.4.2)."""
    left = {name: list(values.get(name, ())) for name in dict.fromkeys(names)}
    return b"".join(relaxed_header(name, left[name].pop()) for name in names if left[name])


def _signature(key: SigningKey, signed: bytes, names: Sequence[bytes], body_hash: bytes, at: datetime) -> bytes:
    tags = b";\r\n ".join(
        (
            b"v=1; a=%b; c=relaxed/relaxed" % ALGORITHM_TAGS[key.algorithm.value],
            b"d=%b; s=%b; t=%d" % (key.domain.encode("ascii"), key.selector.encode("ascii"), int(at.timestamp())),
            b"h=" + _folded_names(names),
            b"bh=" + body_hash,
            b"b=",
        )
    )
    # RFC 6376 §3.7: the field itself counts with an empty b= and without its CRLF.
    own = relaxed_header(b"DKIM-Signature", tags).removesuffix(b"\r\n")
    signature = base64.b64encode(signed_bytes(key.private, signed + own))
    lines = [signature[at : at + SIGNATURE_LINE] for at in range(0, len(signature), SIGNATURE_LINE)]
    return b"DKIM-Signature: " + tags + b"\r\n ".join(lines) + b"\r\n"


def signed_bytes(private: RSAPrivateKey | Ed25519PrivateKey, data: bytes) -> bytes:
    """Return the signature of the data: SHA-256 with either kind of key."""
    match private:
        case RSAPrivateKey():
            return private.sign(data, PKCS1v15(), SHA256())
        case Ed25519PrivateKey():
            # RFC 8463 §3: PureEdDSA over the SHA-256 hash, not over the data.
            return private.sign(hashlib.sha256(data).digest())
    assert_never(private)


def _folded_names(names: Sequence[bytes]) -> bytes:
    """Return ``h=``'s list in lines under 78 characters; white space may stand beside its colons (RFC 6376 §3.5)."""
    lines = [b""]
    for name in names:
        if len(lines[-1]) + len(name) > SIGNATURE_LINE:
            lines.append(b"")
        lines[-1] += name + b":"
    return b"\r\n ".join(lines).removesuffix(b":")
