"""A proxy in front of an emulator of AWS that records every call, and disturbs those it is told to.

It runs in a thread of its own, so tests of any kind can use it::

    with proxy(emulator.endpoint) as between:
        ...                                   # AWS_ENDPOINT_URL=between.endpoint
        between.disturb(Fault(Kind.LOSE_REPLY, operation="UpdateItem"))
        ...
        assert between.count("dynamodb") == {"UpdateItem": 2}

| kind | carried out | what the caller sees |
| --- | --- | --- |
| THROTTLE | no | the service's throttling error |
| UNAVAILABLE | no | 503 |
| DROP | no | a closed connection |
| HANG | no | nothing |
| FAIL_AFTER | yes | 500 |
| LOSE_REPLY | yes | a closed connection |
| HANG_AFTER | yes | nothing |
| TRUNCATE | yes | half of the answer, then a closed connection |
| PARTIAL | every second entry of a batch | the others as not done |
"""

import asyncio
import contextlib
import enum
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.aws.calls import Call, call_of

_LARGEST = 64 * 1024 * 1024
_HOP_BY_HOP = frozenset(("connection", "content-length", "expect", "keep-alive", "transfer-encoding"))
"""Headers that belong to one connection (RFC 9110 §7.6.1)."""

FOR_EVER = 1_000_000


class Kind(enum.Enum):
    """What is done to a call."""

    THROTTLE = enum.auto()
    UNAVAILABLE = enum.auto()
    DROP = enum.auto()
    HANG = enum.auto()
    FAIL_AFTER = enum.auto()
    LOSE_REPLY = enum.auto()
    HANG_AFTER = enum.auto()
    TRUNCATE = enum.auto()
    PARTIAL = enum.auto()

    @property
    def is_carried_out(self) -> bool:
        """Whether the service does the work all the same."""
        return self in (Kind.FAIL_AFTER, Kind.LOSE_REPLY, Kind.HANG_AFTER, Kind.TRUNCATE)


@dataclass
class Fault:
    """A disturbance of the next calls that fit."""

    kind: Kind
    service: str = ""
    operation: str = ""
    """Empty, like the service: any."""

    times: int = 1
    every: int = 1
    """Of the calls that fit, each so-manieth one."""

    meanwhile: Callable[[], None] | None = None
    """Done between the work and its reply; blocks the proxy, so it must not go through it."""

    _met: int = 0

    def fits(self, call: Call) -> bool:
        """Say whether it is about such a call, and not used up."""
        wanted = self.operation in ("", call.operation) and self.service in ("", call.service)
        return wanted and self.times > 0 and (self.kind is not Kind.PARTIAL or _entries(call) is not None)

    def meets(self, call: Call) -> bool:
        """Say whether this call is the one to be disturbed; counts those that fit."""
        if not self.fits(call):
            return False
        self._met += 1
        if self._met % self.every:
            return False
        self.times -= 1
        return True


class Proxy:
    """A running proxy."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._faults: list[Fault] = []
        self._going = asyncio.Event()
        self.endpoint = ""

    # --- For tests; any thread may call these.

    @property
    def calls(self) -> Sequence[Call]:
        """All calls since the last ``forget``, in the order in which they ended."""
        with self._lock:
            return list(self._calls)

    def count(self, service: str = "", *, app: str = "") -> Mapping[str, int]:
        """Return how often each operation was called."""
        return Counter(
            call.operation
            for call in self.calls
            if service in ("", call.service) and app in ("", call.app) and call.app != "admin"
        )

    def forget(self) -> None:
        """Start a new record, and disturb nothing any more."""
        with self._lock:
            self._calls.clear()
            self._faults.clear()

    def disturb(self, *faults: Fault) -> None:
        """Disturb calls from now on; the first fault that fits a call is the one that it meets."""
        with self._lock:
            self._faults.extend(faults)

    # --- In its own thread

    async def serve(self, started: Callable[[], None]) -> None:
        """Serve until ``end``."""
        application = web.Application(client_max_size=_LARGEST)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        # No limits: a long poll takes its time, and a slow test is none of the proxy's business.
        # No kept connections: the emulator closes one just when it is used again.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        ) as self._session:
            started()
            await self._going.wait()
            await runner.cleanup()

    def end(self) -> None:
        """End serving; called in the proxy's loop."""
        self._going.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = call_of(request.method, request.raw_path, request.headers, body)
        fault = self._fault_for(call)
        try:
            if fault is not None:
                return await self._disturbed(request, replace(call, fault=fault.kind.name), fault)
            answer = await self._forward(request, body)
        except aiohttp.ClientConnectionError:
            # The emulator has gone, which callers see as it is.
            return await self._silence(request, hang=False)
        self._note(replace(call, status=answer.status, answer=_bytes(answer)))
        return answer

    async def _disturbed(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        if fault.kind is Kind.PARTIAL:
            answer = await self._partly(request, call)
            self._note(replace(call, status=answer.status, answer=_bytes(answer)))
            return answer
        if not fault.kind.is_carried_out:
            refusal = _refusal(call, fault.kind)
            self._note(replace(call, status=refusal.status if refusal else 0))
            return refusal or await self._silence(request, hang=fault.kind is Kind.HANG)
        answer = await self._forward(request, call.request)
        self._note(replace(call, status=0, answer=_bytes(answer)))
        if fault.meanwhile is not None:
            await asyncio.to_thread(fault.meanwhile)
        match fault.kind:
            case Kind.FAIL_AFTER:
                return _error(call, 500, "InternalServerError")
            case Kind.TRUNCATE:
                return await self._half(request, answer)
            case _:
                return await self._silence(request, hang=fault.kind is Kind.HANG_AFTER)

    def _fault_for(self, call: Call) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if call.app != "admin" and fault.meets(call):
                    return fault
        return None

    def _note(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=io.BytesIO(body) if body else None, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def _partly(self, request: web.Request, call: Call) -> web.Response:
        """Forward every second entry of a batch, and say of the others what the service would."""
        done, left = _entries(call) or ([], [])
        answer = await self._forward(request, json.dumps(_with_entries(call, done)).encode())
        told = json.loads(_bytes(answer))
        if call.operation == "BatchGetItem":
            told["UnprocessedKeys"] = _with_entries(call, left)["RequestItems"]
        elif call.operation == "BatchWriteItem":
            told["UnprocessedItems"] = _with_entries(call, left)["RequestItems"]
        else:
            busy = {"Code": "InternalError", "Message": "try again", "SenderFault": False}
            told["Failed"] = [*told.get("Failed", ()), *({"Id": each["Id"], **busy} for each in left)]
        return web.json_response(told, content_type="application/x-amz-json-1.0")

    async def _silence(self, request: web.Request, *, hang: bool) -> web.Response:
        """Say nothing; after the caller went away, or at once, close the connection."""
        transport = request.transport
        # A transport tells nobody when it closes.
        while hang and transport is not None and not transport.is_closing() and not self._going.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if transport is not None:
            transport.abort()
        return web.Response()

    async def _half(self, request: web.Request, whole: web.Response) -> web.StreamResponse:
        body = _bytes(whole)
        answer = web.StreamResponse(status=whole.status, headers=whole.headers)
        answer.content_length = len(body)
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return answer


def _bytes(answer: web.Response) -> bytes:
    body = answer.body
    return body if isinstance(body, bytes) else b""


def _refusal(call: Call, kind: Kind) -> web.Response | None:
    if kind is Kind.UNAVAILABLE:
        return _error(call, 503, "ServiceUnavailable")
    if kind is not Kind.THROTTLE:
        return None
    if call.service == "s3":
        return _error(call, 503, "SlowDown")
    return _error(
        call, 400, "ProvisionedThroughputExceededException" if call.service == "dynamodb" else "ThrottlingException"
    )


def _error(call: Call, status: int, code: str) -> web.Response:
    if call.service == "s3":
        text = f"<Error><Code>{code}</Code><Message>made up</Message></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")
    document = {"__type": f"com.amazonaws.{call.service}#{code}", "message": "made up"}
    return web.json_response(document, status=status, content_type="application/x-amz-json-1.0")


# Any: entries are parts of requests, of as many forms as there are operations.


def _entries(call: Call) -> tuple[list[Any], list[Any]] | None:
    """Return every second entry of a batch, and the others; None if it is none, or has one only."""
    if not (call.operation.startswith("Batch") or call.operation.endswith("Batch")):
        return None
    request = call.json
    every = request.get("Entries")
    if every is None:
        (every,) = request["RequestItems"].values()
        every = every["Keys"] if isinstance(every, dict) else every
    return (every[::2], every[1::2]) if len(every) > 1 else None


def _with_entries(call: Call, entries: list[Any]) -> dict[str, Any]:
    """Return the request of a batch with other entries."""
    request = call.json
    if "Entries" in request:
        return {**request, "Entries": entries}
    ((table, parts),) = request["RequestItems"].items()
    return {**request, "RequestItems": {table: {**parts, "Keys": entries} if isinstance(parts, dict) else entries}}


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of an emulator until the end of the block."""
    made = Proxy(upstream)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(made.serve(started.set),), name="aws-proxy")
    thread.start()
    try:
        if not started.wait(30):
            raise RuntimeError("the proxy did not start")
        yield made
    finally:
        loop.call_soon_threadsafe(made.end)
        thread.join(30)
        loop.close()
