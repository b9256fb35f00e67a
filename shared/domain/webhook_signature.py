"""How a receiver knows that a webhook is ours: shared-secret signatures.

Two at once, made with the same secret.  Standard Webhooks (spec 1.0, "Signature
scheme") signs ``id.timestamp.body`` with the bytes that the secret encodes, so
that a replay is noticed.  The plain one signs the body alone with the secret's
text, which every HMAC function of every language can check in one line.
"""

import base64
import hmac
import random
from collections.abc import Mapping, Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix that Standard Webhooks gives secrets
SECRET_BYTES = 32

PLAIN_HEADER = "X-Edgepost-Signature"
PREVIOUS_PLAIN_HEADER = "X-Edgepost-Signature-Previous"


def new_secret(rng: random.Random) -> str:
    """Return a fresh secret: ``whsec_`` and 32 bytes in base64; ``rng`` is the system's."""
    return SECRET_PREFIX + base64.b64encode(rng.getrandbits(8 * SECRET_BYTES).to_bytes(SECRET_BYTES, "big")).decode()


def standard_signature(secret: str, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Return one ``v1`` signature of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{webhook_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def plain_signature(secret: str, body: bytes) -> str:
    """Return HMAC-SHA256 of the body in hex; the key is the secret's text as it was shown."""
    return hmac.digest(secret.encode(), body, "sha256").hex()


def signature_headers(secrets: Sequence[str], webhook_id: str, sent_at: datetime, body: bytes) -> Mapping[str, str]:
    """Return the headers that sign a request.

    Args:
        secrets: the one that counts; during a rotation also the one before.
        webhook_id: the event's id, the same on every attempt.
        sent_at: of this attempt.
        body: exactly what is sent.
    """
    timestamp_s = int(sent_at.timestamp())
    signatures = [standard_signature(secret, webhook_id, timestamp_s, body) for secret in secrets]
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
        PLAIN_HEADER: plain_signature(secrets[0], body),
    }
    if len(secrets) > 1:
        headers[PREVIOUS_PLAIN_HEADER] = plain_signature(secrets[1], body)
    return headers
