"""Times the send API by itself: the ASGI application called directly, on SQLite, without a network.

EDGEPOST_DATA_DIR=… in_process.py API_KEY JSON_MESSAGE
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping

import measure
from functions.api.app import build_app
from functions.api.wiring import services

WARM_UP = 50
COUNT = 1000


async def call(key: str, body: bytes) -> Mapping[str, float]:
    """Call the ASGI application many times, one after the other, and return percentiles in milliseconds."""
    app = build_app(services())
    headers = [(b"content-type", b"application/json"), (b"x-server-api-key", key.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/v1/send/message",
        "raw_path": b"/api/v1/send/message",
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, (b"host", b"bench"), (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    times = []
    for number in range(WARM_UP + COUNT):
        answers: list[bytes] = []
        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive(requests: object = requests) -> object:
            return next(requests, None) or await asyncio.Event().wait()

        async def send(event: Mapping[str, object], answers: list[bytes] = answers) -> None:
            answers.append(event.get("body", b""))

        started = time.perf_counter()
        await app(dict(scope), receive, send)
        if number >= WARM_UP:
            times.append((time.perf_counter() - started) * 1000)
        if b'"success"' not in b"".join(answers):
            raise RuntimeError(f"the API answered {answers}")
    return {"p50": measure.percentile(times, 50), "p99": measure.percentile(times, 99)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(call(sys.argv[1], sys.argv[2].encode()))))
