"""Answers in the form of a function URL (payload 2.0)."""

import base64
from typing import Any, TypeAlias

# Any: an answer is JSON.
Response: TypeAlias = dict[str, Any]

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel, 43 bytes."""

_ALWAYS = {
    # Proxies that keep an answer would hide the next open, and a redirect must stay ours to change.
    "cache-control": "no-store, no-cache, must-revalidate, max-age=0, private",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
}


def response(
    status: int, body: str = "", *, content_type: str = "text/plain; charset=utf-8", **headers: str
) -> Response:
    """Return an answer with a text; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "statusCode": status,
        "headers": {**_ALWAYS, "content-type": content_type, **named},
        "body": body,
        "isBase64Encoded": False,
    }


def pixel() -> Response:
    """Return the pixel."""
    made = response(200, base64.b64encode(PIXEL).decode(), content_type="image/gif")
    made["headers"]["cross-origin-resource-policy"] = "cross-origin"
    return made | {"isBase64Encoded": True}


def redirect(target: str) -> Response:
    """Return a temporary redirect, 307 as Postal's (RFC 9110 §15.4.8)."""
    return response(307, location=target)


def not_found() -> Response:
    """Return the one answer for everything that is not ours: forged, of another kind or host, or no token at all."""
    return response(404, "Not found\n")


def gone() -> Response:
    """Return the answer for servers that are suspended."""
    return response(410, "This link is no longer available.\n")


def not_allowed(allow: str) -> Response:
    """Return the answer for other methods (RFC 9110 §15.5.6)."""
    return response(405, "Method not allowed\n", allow=allow)


def unavailable() -> Response:
    """Return the answer for what could not be kept; the client may repeat it."""
    return response(503, "Please try again in a minute.\n", retry_after="60")
