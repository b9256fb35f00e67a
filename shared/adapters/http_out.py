"""Requests to addresses that customers choose, by aiohttp.

| danger | answer |
| --- | --- |
| a name that leads inside, rebinding, odd spellings | the address of each socket is judged before it is connected |
| redirect to the inside | never followed: 3xx is an answer |
| a slow or endless answer | 5 s to connect, 30 s in all or as the caller says, 64 KB read, then it is closed |
| a decompression bomb | nothing is decompressed |
| our own proxy settings or cookies leaking out | neither is used |

Names are looked up by our own resolver, so that the settings decide which DNS is
asked; ``localhost`` is this machine (RFC 6761 §6.3).
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from time import monotonic
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.domain.dns import LookupFailed
from shared.domain.networks import may_reach
from shared.network import MAX_ANSWER_BYTES, HTTPAnswer, Resolver
from shared.settings import Network

MAX_CONNECTIONS = 1000
KEEP_ALIVE_S = 30.0

REFUSED = "The address may not be reached."
NO_ADDRESS = "The host has no address."
NO_CONNECTION = "No connection."
TIMED_OUT = "No answer in time."
BAD_CERTIFICATE = "The certificate is not valid."
BAD_ANSWER = "The answer is not HTTP."


@dataclass(frozen=True, slots=True)
class HTTPLimits:
    """How long a request may take."""

    connect_s: float = 5
    total_s: float = 30


class _Refused(OSError):
    """The address of a socket is one that may not be reached."""


class _Names(AbstractResolver):
    """Our resolver in aiohttp's form."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the host's addresses of the family."""
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            found: Sequence[str] = ("127.0.0.1", "::1")
        else:
            try:
                found = await self._resolver.addresses(host)
            except LookupFailed as exc:
                raise OSError(NO_ADDRESS) from exc
        made = [_resolved(host, port, address) for address in found]
        usable = [each for each in made if family in (socket.AF_UNSPEC, each["family"])]
        if not usable:
            raise OSError(NO_ADDRESS)
        return usable

    async def close(self) -> None:
        """Nothing is kept open."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}


class AiohttpOut:
    """``HTTPOut`` with connections kept alive; belongs to the event loop of its first request."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        allowed: Sequence[Network] = (),
        limits: HTTPLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            resolver: looks up names.
            allowed: private networks that may be reached.
            limits: timeouts.
            tls: trusts other authorities than the system's; for tests.
        """
        self._resolver = resolver
        self._allowed = tuple(allowed)
        self._limits = limits or HTTPLimits()
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float | None = None
    ) -> HTTPAnswer:
        """Send one POST and return the answer; redirects are answers, and nothing is raised."""
        began = monotonic()
        until = asyncio.get_running_loop().time() + (self._limits.total_s if timeout_s is None else timeout_s)
        try:
            try:
                status, found, content = await self._once(url, headers, body, until)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A kept connection may be closed by its other end at the very moment it is used again.
                status, found, content = await self._once(url, {**headers, "connection": "close"}, body, until)
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # TimeoutError is an OSError
            return HTTPAnswer(0, timedelta(seconds=monotonic() - began), _sentence(exc))
        return HTTPAnswer(status, timedelta(seconds=monotonic() - began), "", found, content)

    async def _once(
        self, url: str, headers: Mapping[str, str], body: bytes, until: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with asyncio.timeout_at(until):
            response = await self._opened().post(url, headers=headers, data=body, allow_redirects=False)
        content = b""
        try:
            async with asyncio.timeout_at(until):
                while len(content) < MAX_ANSWER_BYTES and not response.content.at_eof():
                    content += await response.content.read(MAX_ANSWER_BYTES - len(content))
        except (aiohttp.ClientError, OSError):
            # The status has come, so the request was taken: how the body ends changes nothing.
            response.close()
        # Only a connection whose answer was read to its end may be used again.
        if response.content.at_eof():
            response.release()
        else:
            response.close()
        return response.status, {name.lower(): value for name, value in response.headers.items()}, content

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Names(self._resolver),
                use_dns_cache=False,  # the resolver has its own, by TTL
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE_S,
                socket_factory=self._socket,
                ssl=self._tls or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                # In all, each request has its own limit.
                timeout=aiohttp.ClientTimeout(None, sock_connect=self._limits.connect_s),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    # Any: aiohttp's address information is a tuple of five, of which the last is the family's.
    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Make the socket for exactly this address, if it may be reached: nothing else decides where it goes."""
        family, kind, protocol, _, where = address
        if not may_reach(str(where[0]), self._allowed) or (len(where) > 3 and where[3]):
            raise _Refused(REFUSED)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    async def close(self) -> None:
        """Close all connections.  Twice: nothing more."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


def _sentence(error: BaseException) -> str:
    """Return a general sentence: an error's own words could tell what an inner address answered."""
    texts = {str(each) for each in _causes(error)}
    if any(REFUSED in text for text in texts):
        return REFUSED
    if any(NO_ADDRESS in text for text in texts):
        return NO_ADDRESS
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return BAD_CERTIFICATE
        case TimeoutError():
            return TIMED_OUT
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return BAD_ANSWER
    return NO_CONNECTION


def _causes(error: BaseException) -> Sequence[BaseException]:
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop()
        if each is None or each in found:
            continue
        found.append(each)
        waiting += [each.__cause__, each.__context__, getattr(each, "os_error", None)]
        waiting += list(getattr(each, "exceptions", ()))
    return found
