"""A letter of 10 KB as applications send them, in a request of a function's URL."""

import json
import random
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

BODY_BYTES = 10_240
TEXT = (
    "order account invoice payment delivery address customer support question answer thank please total amount date"
    " number product quantity price shipping tax subtotal reference tracking package courier estimated arrival change"
    " password security device browser location time reset link expire team welcome start guide feature help contact"
)
WORDS = TEXT.split()


def send_request(key: str) -> Mapping[str, Any]:
    """Return a request of the function's URL with a letter of its own, as applications send them."""
    rng = random.Random(uuid.uuid4().int)
    rows = "".join(
        f'<tr><td style="padding:8px 12px;font-family:Helvetica,Arial,sans-serif">{_words(rng, 6)}</td>'
        f'<td align="right" style="padding:8px 12px">{rng.randrange(100, 99999) / 100:.2f} EUR</td></tr>\n'
        for _ in range(20)
    )
    page = f"<!doctype html><html><body><h1>{_words(rng, 5)}</h1><table>{rows}</table>"
    page += "".join(f'<p style="margin:0 0 16px">{_words(rng, 40)}</p>\n' for _ in range(30))
    plain = _words(rng, 150)
    page = page[: BODY_BYTES - len(plain) - 900] + "</body></html>"
    body = json.dumps(
        {
            "to": [f"{uuid.uuid4().hex[:12]}@dest.test"],
            "from": "Customer Service <service@example.test>",
            "subject": f"Your order {rng.randrange(10**9)} is on its way",
            "html_body": page,
            "plain_body": plain,
        }
    )
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/api/v1/send/message",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-server-api-key": key, "host": "api.example.test"},
        "requestContext": {
            "http": {
                "method": "POST",
                "path": "/api/v1/send/message",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "bench",
            },
            "requestId": str(uuid.uuid4()),
            "stage": "$default",
            "time": datetime.now(UTC).isoformat(),
            "timeEpoch": int(time.time() * 1000),
            "domainName": "x.lambda-url.us-east-1.on.aws",
            "accountId": "000000000000",
            "apiId": "x",
            "domainPrefix": "x",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) + rng.choice(("", "s", "ing", f"-{rng.randrange(999)}")) for _ in range(count))
