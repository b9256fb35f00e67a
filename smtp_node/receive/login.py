"""AUTH PLAIN and LOGIN: from the client's lines to the key (RFC 4954, RFC 4616).

The password is the key; the user name may be anything.  CRAM-MD5 needs the key
itself on our side, and we store only its hash, so it cannot be offered.
"""

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable

from smtp_node.receive.replies import AUTH_ABORTED, AUTH_PROTOCOL_ERROR, BAD_BASE64, UNKNOWN_MECHANISM, Reply

MECHANISMS = "PLAIN LOGIN"
ASK_NOTHING = Reply(334, "", "")
ASK_USERNAME = Reply(334, "", "VXNlcm5hbWU6")
ASK_PASSWORD = Reply(334, "", "UGFzc3dvcmQ6")

Ask = Callable[[Reply], Awaitable[bytes]]
"""Sends a 334 and returns the client's next line."""


async def read_key(mechanism: str, initial: str | None, ask: Ask) -> str | Reply:
    """Return the key that the client sends, or the reply to what it sent instead.

    Args:
        mechanism: in capitals.
        initial: the initial response, still in Base64, if the command had one.
        ask: to get the rest.
    """
    match mechanism:
        case "PLAIN":
            answer = _decoded(await ask(ASK_NOTHING) if initial is None else initial.encode())
            if isinstance(answer, Reply):
                return answer
            # RFC 4616 §2: authorization identity, user name, password.
            parts = answer.split(b"\0")
            return _text(parts[2]) if len(parts) == 3 else AUTH_PROTOCOL_ERROR
        case "LOGIN":
            username = _decoded(await ask(ASK_USERNAME) if initial is None else initial.encode())
            if isinstance(username, Reply):
                return username
            password = _decoded(await ask(ASK_PASSWORD))
            return password if isinstance(password, Reply) else _text(password)
        case _:
            return UNKNOWN_MECHANISM


def _decoded(line: bytes) -> bytes | Reply:
    line = line.strip()
    if line == b"*":
        return AUTH_ABORTED  # RFC 4954 §4
    if line == b"=":
        return b""  # RFC 4954 §4: an empty initial response
    try:
        return b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return BAD_BASE64


def _text(key: bytes) -> str:
    # Bytes that are no text match no key, whatever they become here.
    return key.decode("utf-8", "replace")
