"""The three calls to AWS that these functions make, without an SDK: boto3 would take a third of a second to start.

HTTP/1.1 over one kept connection for each service, with short time limits: somebody waits.
"""

import json
import socket
import time
from collections.abc import Mapping
from io import BufferedRWPair
from typing import Any, NamedTuple

from functions.edge.signature import Credentials, signed_headers

TIMEOUT_S = 1.0
"""For connecting, and for each read and write."""

MAX_ANSWER_BYTES = 1024 * 1024
MAX_LINE = 8192


class AWSFailed(Exception):
    """AWS did not answer, or refused; the text says which, never what was sent."""


class Endpoint(NamedTuple):
    """Where a service is reached."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The Host header: without the port where it is the scheme's own."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


class AWS:
    """Signed calls as this function; not for several threads at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._connections: dict[str, BufferedRWPair] = {}

    def call(self, service: str, target: str, version: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call an operation of a JSON service and return its answer.

        A connection that had been closed meanwhile is opened again once, so a request
        may arrive twice.

        Args:
            service: such as ``sqs``.
            target: such as ``AmazonSQS.SendMessage``.
            version: of the JSON protocol, ``1.0`` or ``1.1``.
            parameters: of the operation.

        Raises:
            AWSFailed: no answer, or another than 200.
        """
        endpoint = self._endpoint(service)
        body = json.dumps(parameters).encode()
        request = self._request(service, endpoint, target, version, body)
        kept = self._connections.pop(service, None)
        for connection in (kept, None) if kept else (None,):
            try:
                stream = connection or _connected(endpoint)
                status, answer, keep = _exchange(stream, request)
            except (OSError, ValueError) as exc:
                if connection is None:
                    raise AWSFailed(f"{target}: {type(exc).__name__}") from exc
                continue
            if keep:
                self._connections[service] = stream
            if status != 200:
                raise AWSFailed(f"{target}: {status} {_code(answer)}")
            try:
                return dict(json.loads(answer))
            except ValueError as exc:
                raise AWSFailed(f"{target}: no JSON") from exc
        raise AssertionError("the last try returns or raises")

    def _endpoint(self, service: str) -> Endpoint:
        own = self._environ.get("AWS_ENDPOINT_URL", "")
        if own:
            scheme, _, rest = own.partition("://")
            host, _, port = rest.partition("/")[0].partition(":")
            return Endpoint(host, int(port or (443 if scheme == "https" else 80)), scheme == "https")
        suffix = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        return Endpoint(f"{service}.{self._region}.{suffix}", 443, tls=True)

    def _request(self, service: str, endpoint: Endpoint, target: str, version: str, body: bytes) -> bytes:
        function = self._environ.get("AWS_LAMBDA_FUNCTION_NAME", "edge")
        headers = {
            "host": endpoint.authority,
            "content-type": f"application/x-amz-json-{version}",
            "x-amz-target": target,
        }
        credentials = Credentials(
            self._environ.get("AWS_ACCESS_KEY_ID", ""),
            self._environ.get("AWS_SECRET_ACCESS_KEY", ""),
            self._environ.get("AWS_SESSION_TOKEN", ""),
        )
        sent = signed_headers(headers, body, credentials, service=service, region=self._region, at_s=time.time())
        # In the form of the SDK's application id, so that logs name the caller in one way.
        sent |= {"user-agent": f"edgepost app/edgepost-{function}", "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


def _connected(endpoint: Endpoint) -> BufferedRWPair:
    connection = socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_S)
    try:
        if endpoint.tls:
            # Imported here: an emulator on this machine is reached without it.
            import ssl  # noqa: PLC0415

            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=endpoint.host)
        # The stream holds the socket open.
        return connection.makefile("rwb")
    finally:
        connection.close()


def _exchange(stream: BufferedRWPair, request: bytes) -> tuple[int, bytes, bool]:
    """Send a request and return status, body, and whether the connection stays open (RFC 9112)."""
    stream.write(request)
    stream.flush()
    protocol, _, rest = _line(stream).partition(b" ")
    status = int(rest[:3])
    headers: dict[bytes, bytes] = {}
    while line := _line(stream):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip().lower()
        if len(headers) > 100:
            raise ValueError("too many headers")
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b"".join(_chunks(stream))
    else:
        size = int(headers[b"content-length"]) if b"content-length" in headers else MAX_ANSWER_BYTES
        body = stream.read(min(size, MAX_ANSWER_BYTES))
        if size <= MAX_ANSWER_BYTES and b"content-length" in headers and len(body) < size:
            raise ValueError("the answer was cut off")
    keep = protocol == b"HTTP/1.1" and headers.get(b"connection") != b"close" and len(body) < MAX_ANSWER_BYTES
    return status, body, keep


def _chunks(stream: BufferedRWPair) -> list[bytes]:
    chunks: list[bytes] = []
    while size := int(_line(stream).partition(b";")[0], 16):
        if sum(map(len, chunks)) + size > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        chunks.append(stream.read(size))
        _line(stream)
    while _line(stream):
        pass
    return chunks


def _line(stream: BufferedRWPair) -> bytes:
    line = stream.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("the connection ended")
    return line.rstrip(b"\r\n")


def _code(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("__type", ""))[:100]
    except (ValueError, AttributeError):
        return ""
