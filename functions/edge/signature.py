"""Signature Version 4 for the JSON services of AWS ("Create a signed AWS API request", IAM User Guide)."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple


class Credentials(NamedTuple):
    """What Lambda gives a function in its environment."""

    access_key_id: str
    secret_access_key: str
    session_token: str


def signed_headers(
    headers: Mapping[str, str], body: bytes, credentials: Credentials, *, service: str, region: str, at_s: float
) -> dict[str, str]:
    """Return the headers of a ``POST /`` with those that sign it.

    Args:
        headers: to be signed, names in lower case; ``host`` must be among them.
        body: of the request.
        credentials: whose request it is.
        service: as in its endpoint, such as ``sqs``.
        region: such as ``eu-central-1``.
        at_s: seconds since 1970; AWS accepts five minutes of difference.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
    sent = {**headers, "x-amz-date": moment}
    if credentials.session_token:
        sent["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(sent))
    listed = "".join(f"{name}:{sent[name].strip()}\n" for name in sorted(sent))
    canonical = f"POST\n/\n\n{listed}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return sent
