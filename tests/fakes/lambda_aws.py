"""A small AWS over HTTP: Parameter Store, one DynamoDB partition and one SQS queue, for functions without an SDK.

What it cannot be is a judge of signatures: tests compare those with botocore's.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class LambdaAWS:
    """``with LambdaAWS(keys) as aws:`` then give functions ``aws.environ``."""

    def __init__(self, token_keys: str) -> None:
        self.token_keys = token_keys
        self.suspended: list[int] = []
        self.sent: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.failing: set[str] = set()
        """Operations that answer 500."""

        self.hang = threading.Event()
        self.hang.set()
        """Cleared: no answer until it is set."""

        self.chunked = False
        self.close_after_each = False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

            def do_POST(self) -> None:  # http.server's name
                """Answer one call."""
                body = self.rfile.read(int(self.headers["content-length"]))
                operation = self.headers["x-amz-target"].rpartition(".")[2]
                fake.calls.append(operation)
                fake.headers.append(dict(self.headers))
                fake.hang.wait(10)
                status, answer = (500, {"__type": "InternalError"}) if operation in fake.failing else (200, None)
                raw = json.dumps(answer or fake.answer(operation, json.loads(body))).encode()
                self.send_response(status)
                if fake.chunked:
                    self.send_header("transfer-encoding", "chunked")
                    raw = b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
                else:
                    self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
                self.close_connection = fake.close_after_each  # without saying so, as a balancer does

            def log_message(self, *_: Any) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_LAMBDA_FUNCTION_NAME": "redirect",
            "EDGEPOST_SECRETS_PATH": "/edgepost/test",
            "EDGEPOST_RECORDS_TABLE": "records",
            "EDGEPOST_EVENTS_QUEUE": "http://sqs.test/1/events",
        }

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        match operation:
            case "GetParameter":
                assert asked == {"Name": "/edgepost/test/token-keys", "WithDecryption": True}
                return {"Parameter": {"Value": self.token_keys}}
            case "Query":
                assert asked["ExpressionAttributeValues"] == {":suspended": {"S": "suspended"}}
                at = int(asked.get("ExclusiveStartKey", {}).get("sk", {}).get("S", "0"))
                page, more = self.suspended[at : at + 2], len(self.suspended) > at + 2
                items = [{"sk": {"S": f"{each:010d}"}} for each in page]
                last = {"LastEvaluatedKey": {"pk": {"S": "suspended"}, "sk": {"S": str(at + 2)}}} if more else {}
                return {"Items": items, "Count": len(items), **last}
            case "SendMessage":
                self.sent.append(asked)
                return {"MessageId": "1", "MD5OfMessageBody": ""}
        raise AssertionError(operation)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
