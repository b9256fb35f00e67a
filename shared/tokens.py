"""Tokens: what a pixel, a link, an unsubscribe address or a return path says of itself, signed.

A token carries all that it needs, so nothing is looked up before it is believed,
and it works for ever.  Standard library only: three functions import this file
while somebody waits.

| bytes | what |
| --- | --- |
| 1 | version |
| 2 | id of the key, which may have been rotated out long ago |
| 16 (return path: 10) | MAC: HMAC-SHA256, cut, over kind, host and content |
| 4, 7, rest | content: server, message, and of a link its target |

The content is covered by a key stream that starts from the MAC, as in SIV (RFC
5297, with HMAC for the MAC and SHAKE-256 for the stream): a target often holds
the recipient's address, and neither it nor an id is anybody's business.  Equal
contents give equal tokens, so that each attempt at a message sends the same bytes.

The kind and, except for return paths, the host stand in the MAC only: a token
is worthless under another path and on another tenant's tracking domain.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

VERSION: Final = 1
KEY_BYTES: Final = 32
MAX_TARGET_BYTES: Final = 2000
"""Links to longer addresses stay untracked: together with the token some readers would cut them off."""

MAX_TOKEN_LENGTH: Final = 2720
MAC_BYTES: Final = 16
RETURN_PATH_MAC_BYTES: Final = 10

OPEN: Final = "open"
CLICK: Final = "click"
UNSUBSCRIBE: Final = "unsubscribe"
_RETURN_PATH: Final = "return path"

_HEAD_BYTES: Final = 3
_SERVER_BYTES: Final = 4
_MESSAGE_BYTES: Final = 7
_NAME_BYTES: Final = _SERVER_BYTES + _MESSAGE_BYTES


class TokenKeys(NamedTuple):
    """All keys there ever were, by id of four hexadecimal digits; the current one signs."""

    current: str
    keys: Mapping[str, bytes]

    def to_json(self) -> str:
        """Return the form in which keys are kept."""
        kept = {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}
        return json.dumps({"current": self.current, "keys": kept}, indent=2) + "\n"


class Named(NamedTuple):
    """What a token speaks of."""

    server_id: int
    message_id: int
    target: str = ""
    """Where a link leads; empty for the other kinds."""


def read_keys(text: str) -> TokenKeys:
    """Read what ``TokenKeys.to_json`` wrote.

    Raises:
        ValueError: not keys, or the current one is missing; the text is never repeated, it is secret.
    """
    try:
        body = json.loads(text)
        keys = {str(key_id): base64.b64decode(key, validate=True) for key_id, key in body["keys"].items()}
        current = str(body["current"])
        well_formed = all(len(key) == KEY_BYTES and len(bytes.fromhex(key_id)) == 2 for key_id, key in keys.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("these are no token keys") from None
    if current not in keys or not well_formed:
        raise ValueError("these are no token keys")
    return TokenKeys(current, keys)


def rotated(keys: TokenKeys | None, random_bytes: Callable[[int], bytes]) -> TokenKeys:
    """Return the keys with a new current one; all old ones stay, because links work for ever.

    Args:
        keys: None makes the first key.
        random_bytes: from the system's generator.

    Raises:
        ValueError: there are 1,000 keys already, which no honest rotation reaches.
    """
    known = dict(keys.keys) if keys else {}
    if len(known) >= 1000:
        raise ValueError("there are too many token keys")
    while (key_id := random_bytes(2).hex()) in known:
        pass
    return TokenKeys(key_id, known | {key_id: random_bytes(KEY_BYTES)})


def key_id_of(token: str) -> str:
    """Return the id of the key that a URL token claims to be signed with; empty if it is no token."""
    raw = _decoded(token[:4], base64.urlsafe_b64decode)
    return raw[1:3].hex() if raw is not None and len(raw) == _HEAD_BYTES and raw[0] == VERSION else ""


def return_path_key_id(local_part: str) -> str:
    """Return the same of a return path; empty if it is none."""
    raw = _decoded(local_part[:8].upper(), base64.b32decode) if local_part.isascii() else None
    return raw[1:3].hex() if raw is not None and len(raw) == 5 and raw[0] == VERSION else ""


class Tokens:
    """Makes and reads tokens under a set of keys."""

    def __init__(self, keys: TokenKeys) -> None:
        self._keys = {key_id: _Key(key) for key_id, key in keys.keys.items()}
        self._current = keys.current

    def knows(self, key_id: str) -> bool:
        """Tell whether a key is among these."""
        return key_id in self._keys

    def make(self, kind: str, host: str, named: Named) -> str:
        """Return a token for a URL path: letters, digits, ``-`` and ``_``.

        Args:
            kind: ``OPEN``, ``CLICK`` or ``UNSUBSCRIBE``.
            host: tracking domain that will serve it, lower case, without port.
            named: a link's target is ASCII, of at most ``MAX_TARGET_BYTES``.

        Raises:
            ValueError: the target is too long or not ASCII.
        """
        target = named.target.encode("ascii")
        if len(target) > MAX_TARGET_BYTES:
            raise ValueError("the target is too long for a token")
        sealed = self._sealed(kind, host, _name_bytes(named) + target, MAC_BYTES)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, kind: str, host: str, token: str) -> Named | None:
        """Return what a URL token speaks of; None if we did not make it for this kind and host."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        sealed = _decoded(token + "=" * (-len(token) % 4), base64.urlsafe_b64decode)
        # One token has one spelling: the spare bits of its last letter are 0.
        if sealed is None or base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
            return None
        content = self._opened(kind, host, sealed, MAC_BYTES)
        return None if content is None else _named(content)

    def return_path(self, named: Named) -> str:
        """Return the local part of an envelope sender: 39 lower-case letters and digits (MTAs fold case)."""
        sealed = self._sealed(_RETURN_PATH, "", _name_bytes(named), RETURN_PATH_MAC_BYTES)
        return base64.b32encode(sealed).rstrip(b"=").decode().lower()

    def read_return_path(self, local_part: str) -> Named | None:
        """Return whose return path it is, in whatever case; None if we did not make it."""
        if len(local_part) > 40 or not local_part.isascii():
            return None
        sealed = _decoded(local_part.upper() + "=" * (-len(local_part) % 8), base64.b32decode)
        if sealed is None or base64.b32encode(sealed).rstrip(b"=").decode().lower() != local_part.lower():
            return None
        content = self._opened(_RETURN_PATH, "", sealed, RETURN_PATH_MAC_BYTES)
        return None if content is None else _named(content)

    def _sealed(self, kind: str, host: str, content: bytes, mac_bytes: int) -> bytes:
        key = self._keys[self._current]
        mac = key.mac(kind, host, content)[:mac_bytes]
        return bytes([VERSION]) + bytes.fromhex(self._current) + mac + key.covered(mac, content)

    def _opened(self, kind: str, host: str, sealed: bytes, mac_bytes: int) -> bytes | None:
        body_at = _HEAD_BYTES + mac_bytes
        if len(sealed) < body_at + _NAME_BYTES or sealed[0] != VERSION:
            return None
        key = self._keys.get(sealed[1:_HEAD_BYTES].hex())
        if key is None:
            return None
        mac = sealed[_HEAD_BYTES:body_at]
        content = key.covered(mac, sealed[body_at:])
        # Compared in constant time: how much of a guess was right must not show.
        return content if hmac.compare_digest(mac, key.mac(kind, host, content)[:mac_bytes]) else None


class _Key:
    """One key, in its two roles."""

    __slots__ = ("_mac", "_stream")

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.digest(key, b"edgepost token mac", "sha256")
        self._stream = hmac.digest(key, b"edgepost token stream", "sha256")

    def mac(self, kind: str, host: str, content: bytes) -> bytes:
        # Neither kind nor host can hold a NUL, so nothing can be moved from one to the other.
        return hmac.digest(self._mac, b"%s\0%s\0%s" % (kind.encode(), host.encode(), content), "sha256")

    def covered(self, mac: bytes, content: bytes) -> bytes:
        """Return the content with the stream laid over it; twice is the content again."""
        size = len(content)
        stream = hashlib.shake_256(self._stream + mac).digest(size)
        return (int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def _name_bytes(named: Named) -> bytes:
    return named.server_id.to_bytes(_SERVER_BYTES, "big") + named.message_id.to_bytes(_MESSAGE_BYTES, "big")


def _named(content: bytes) -> Named:
    return Named(
        int.from_bytes(content[:_SERVER_BYTES], "big"),
        int.from_bytes(content[_SERVER_BYTES:_NAME_BYTES], "big"),
        content[_NAME_BYTES:].decode("ascii"),
    )


def _decoded(text: str, decode: Callable[[str], bytes]) -> bytes | None:
    try:
        return decode(text)
    except (binascii.Error, ValueError):
        return None
