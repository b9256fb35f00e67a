"""A receiver of webhooks on this machine."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Takes webhooks on a loopback port; ``answer`` is the status it gives, with ``headers``, after ``patience_s``."""

    def __init__(self) -> None:
        self.answer = 200
        self.headers: dict[str, str] = {}
        self.patience_s = 0.0
        self.taken: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                deadline = time.monotonic() + receiver.patience_s
                while receiver.patience_s and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.send_response(receiver.answer)
                self.send_header("Content-Length", "2")
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"OK")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self) -> list[dict[str, Any]]:
        """Return the events that were taken, parsed."""
        return [json.loads(body) for _, body in self.taken]

    def names(self, message_id: int) -> list[str]:
        """Return the names of a message's events, in the order of coming."""
        return [each["event"] for each in self.bodies() if _message_id(each) == message_id]

    def close(self) -> None:
        """Listen no more."""
        self.server.shutdown()
        self.server.server_close()


def _message_id(body: dict[str, Any]) -> int | None:
    message = body["payload"].get("message") or body["payload"].get("original_message") or {}
    return message.get("id")
