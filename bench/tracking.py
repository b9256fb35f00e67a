"""Tracking: what marking a message costs the node, and what a hit costs beside a function of the usual packages."""

import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from email import message_from_bytes
from email import policy as policies
from pathlib import Path

import measure
from shared.domain.tracking import Tracking
from shared.tokens import CLICK, Named, Tokens, rotated
from smtp_node.deliver.tracking.rewrite import Marking, rewritten
from tests.fakes.lambda_aws import LambdaAWS
from tests.fakes.visits import HOST, KEYS, NAMED, TARGET, TOKENS, visit

ROOT = Path(__file__).resolve().parents[1]
STARTS = 7
HITS = 3000
REPEATS = 200

OURS = """
    import json, sys, time
    began = time.perf_counter()
    sys.path.insert(0, {root!r})
    from functions.redirect.handler import handler
"""
USUAL = """
    import json, os, sys, time
    began = time.perf_counter()
    sys.path.insert(0, {root!r})
    import boto3
    from fastapi import FastAPI, Response
    from mangum import Mangum
    from shared.tokens import CLICK, Tokens, read_keys
    app = FastAPI()
    sqs, ssm = boto3.client("sqs"), boto3.client("ssm")
    kept = {{}}

    @app.get("/c/{{token}}")
    def click(token: str) -> Response:
        if "tokens" not in kept:
            name = os.environ["EDGEPOST_SECRETS_PATH"] + "/token-keys"
            kept["tokens"] = Tokens(read_keys(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]))
        named = kept["tokens"].read(CLICK, {host!r}, token)
        sqs.send_message(QueueUrl=os.environ["EDGEPOST_EVENTS_QUEUE"], MessageBody=json.dumps(named))
        return Response(status_code=307, headers={{"location": named.target}})

    handler = Mangum(app, lifespan="off")
"""
MEASURED = """
    events = json.load(open({events!r}))
    class Context:
        aws_request_id = "1"
    answer = handler(events[0], Context())
    cold = time.perf_counter() - began
    assert answer["statusCode"] == 307, answer
    times = []
    for event in events[1:]:
        at = time.perf_counter()
        handler(event, Context())
        times.append(time.perf_counter() - at)
    print(json.dumps([cold * 1000, len(sys.modules), sorted(times)]))
"""


def run() -> str:
    """Measure and return the tables."""
    return f"{_marking()}\n\n{_functions()}"


def _marking() -> str:
    tokens = Tokens(rotated(None, random.Random(1).randbytes))
    marking = Marking(Tracking(host=HOST, opens=True, clicks=True), f"https://{HOST}", tokens, Named(1, 2))
    rows = []
    for name, raw in (("5 KB, 4 links", _message(4, 30)), ("34 KB, 20 links", _message(20, 230))):
        for encoding in ("7bit", "quoted-printable", "base64"):
            mail = _encoded(raw, encoding)
            rows.append(
                [
                    f"{name}, {encoding}",
                    f"{_cpu_us(lambda mail=mail: rewritten(mail, marking)):,.0f}",
                    f"{_cpu_us(lambda mail=mail: rewritten(mail, None)):,.0f}",
                    f"{_cpu_us(lambda mail=mail: _round_trip(mail), REPEATS // 10):,.0f}",
                ]
            )
    return measure.table(["CPU µs/message", "tracked", "not tracked", "`email` package: read, write again"], rows)


def _message(links: int, paragraphs: int) -> str:
    text = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor invidunt ut labore."
    body = [f"<p style='margin:0'>{text}</p>" for _ in range(paragraphs)]
    for number in range(links):
        body[number * paragraphs // links] += f'<a href="https://shop.example.com/p/{number}?a=1&amp;b=2">See</a>'
    return "<html><body>\r\n" + "\r\n".join(body) + "\r\n</body></html>\r\n"


def _encoded(html: str, encoding: str) -> bytes:
    head = "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
    part = message_from_bytes(f"{head}\r\n".encode(), policy=policies.SMTP)
    part.set_content(html.replace("\r\n", "\n"), subtype="html", cte=encoding)
    return part.as_bytes()


def _round_trip(raw: bytes) -> bytes:
    part = message_from_bytes(raw, policy=policies.SMTP)
    part.set_content(part.get_content(), subtype="html")
    return part.as_bytes()


def _cpu_us(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median of several rounds of CPU time for each call, in microseconds."""
    rounds = []
    for _ in range(max(3, measure.ROUNDS)):
        started = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - started) / repeats * 1e6)
    return measure.middle(rounds)


def _functions() -> str:
    rows = []
    with LambdaAWS(KEYS.to_json()) as aws, tempfile.TemporaryDirectory() as directory:
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | aws.environ
        events = Path(directory) / "events.json"
        hits = [
            visit("/c/" + TOKENS.make(CLICK, HOST, NAMED._replace(message_id=at, target=TARGET))) for at in range(HITS)
        ]
        events.write_text(json.dumps([event | {"routeKey": "$default"} for event in hits]))
        bare = measure.middle([_start("print('[0, 0, []]')", environ)[0] for _ in range(STARTS)])
        for name, program in (("redirect", OURS), ("FastAPI + Mangum + boto3, the same work", USUAL)):
            code = textwrap.dedent(program + MEASURED).format(root=str(ROOT), events=str(events), host=HOST)
            one = code.replace("events[1:]", "[]")
            walls, found = zip(*[_start(one, environ) for _ in range(STARTS)], strict=True)
            _, answer = _start(code, environ)
            times = answer[2]
            rows.append(
                [
                    name,
                    f"{measure.middle([wall - bare for wall in walls]):,.0f}",
                    f"{found[0][1]}",
                    f"{times[len(times) // 2] * 1000:.2f}",
                    f"{times[len(times) * 99 // 100] * 1000:.2f}",
                ]
            )
    head = ["a click, recorded in a queue on loopback", "cold start ms", "modules", "warm p50 ms", "warm p99 ms"]
    return measure.table(head, rows)


def _start(program: str, environ: dict[str, str]) -> tuple[float, list]:
    """Run a program to its end; return its wall time in milliseconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    return (time.perf_counter() - began) * 1000, json.loads(done.stdout)
