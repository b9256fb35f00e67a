"""Requests to the tracking functions, and services without a world outside."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from functions.edge.door import NotRecorded, Services
from functions.edge.hits import Cap, Hit
from shared.tokens import Named, Tokens, rotated
from standalone.lambda_events import function_url_event

HOST = "track.example.test"
KEYS = rotated(None, random.Random(3).randbytes)
TOKENS = Tokens(KEYS)
NAMED = Named(12345, 678901234567)
TARGET = "https://shop.example.com/a?b=1&c=2#d"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


def visit(
    path: str, method: str = "GET", *, host: str = HOST, body: bytes = b"", ip: str = "192.0.2.7", **headers: str
) -> dict[str, Any]:
    """Return the event of a request; underscores in names of headers stand for hyphens."""
    named = {"host": host, "user-agent": FIREFOX} | {name.replace("_", "-"): each for name, each in headers.items()}
    return function_url_event(method, path, "", named, body, source_ip=ip, at=NOW)


class World:
    """Services that keep what is recorded."""

    def __init__(self, *, tokens: Tokens | None = TOKENS, monotonic: Callable[[], float] = lambda: 0.0) -> None:
        self.hits: list[Hit] = []
        self.touched = 0
        """How often anything outside was asked: keys do not count, they are in memory."""

        self.suspended: frozenset[int] = frozenset()
        self.failing = False
        self.services = Services(
            tokens=lambda _: tokens,
            suspended=self._suspended,
            record=self._record,
            cap=Cap(monotonic),
            now=NOW.timestamp,
        )

    def _suspended(self) -> frozenset[int]:
        self.touched += 1
        return self.suspended

    def _record(self, hit: Hit) -> None:
        self.touched += 1
        if self.failing:
            raise NotRecorded("the queue is away")
        self.hits.append(hit)
