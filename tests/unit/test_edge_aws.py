"""The tracking functions on AWS: keys, suspensions and hits, without an SDK, and within their import budget."""

import json
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SDKCredentials
from hypothesis import given
from hypothesis import strategies as st

from functions.edge.aws import AWS, AWSFailed
from functions.edge.door import NotRecorded, answered
from functions.edge.hits import Hit
from functions.edge.signature import Credentials, signed_headers
from functions.edge.wiring import aws_services
from functions.redirect.handler import answer as redirect
from shared.tokens import CLICK, Tokens, rotated
from tests.architecture.sources import ROOT
from tests.fakes.lambda_aws import LambdaAWS
from tests.fakes.visits import HOST, KEYS, NAMED, TARGET, TOKENS, visit

MOST_MODULES = 80
"""Beyond those of a bare interpreter; every one is waited for at a cold start."""

LINK = "/c/" + TOKENS.make(CLICK, HOST, NAMED._replace(target=TARGET))


@pytest.fixture
def aws() -> Iterator[LambdaAWS]:
    """Run a small AWS for one test."""
    with LambdaAWS(KEYS.to_json()) as running:
        yield running


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


class TestSignature:
    @given(
        body=st.binary(max_size=200),
        secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
        token=st.sampled_from(("", "session/token+==")),
        at=st.integers(0, 2**32),
        target=st.sampled_from(("AmazonSQS.SendMessage", "AmazonSSM.GetParameter")),
    )
    def test_is_botocores(self, body: bytes, secret: str, token: str, at: int, target: str) -> None:
        """AWS refuses everything else."""
        headers = {"host": "sqs.eu-central-1.amazonaws.com", "content-type": "a/b", "x-amz-target": target}
        ours = signed_headers(
            headers, body, Credentials("AKID", secret, token), service="sqs", region="eu-central-1", at_s=at
        )

        request = AWSRequest("POST", "https://sqs.eu-central-1.amazonaws.com/", headers=dict(headers), data=body)
        signer = SigV4Auth(SDKCredentials("AKID", secret, token or None), "sqs", "eu-central-1")
        request.context["timestamp"] = ours["x-amz-date"]
        request.headers["X-Amz-Date"] = ours["x-amz-date"]
        if token:
            request.headers["X-Amz-Security-Token"] = token
        canonical = signer.canonical_request(request)
        theirs = signer.signature(signer.string_to_sign(request, canonical), request)

        assert ours["authorization"].endswith(f"Signature={theirs}")


class TestCall:
    def test_keeps_its_connection(self, aws: LambdaAWS) -> None:
        """A second handshake would cost more than the call."""
        caller = AWS(aws.environ)
        for _ in range(3):
            caller.call("sqs", "AmazonSQS.SendMessage", "1.0", {"a": 1})

        assert len(aws.sent) == 3
        assert aws.headers[0]["user-agent"].endswith("app/edgepost-redirect")
        assert list(caller._connections) == ["sqs"]

    @pytest.mark.parametrize("how", ["chunked", "close_after_each"])
    def test_takes_every_form_of_answer(self, aws: LambdaAWS, how: str) -> None:
        """Balancers close connections without a word, and some services answer in chunks."""
        setattr(aws, how, True)
        caller = AWS(aws.environ)

        answers = [caller.call("ssm", "AmazonSSM.GetParameter", "1.1", _parameter()) for _ in range(3)]

        assert [answer["Parameter"]["Value"] for answer in answers] == [KEYS.to_json()] * 3

    def test_says_what_failed_and_nothing_secret(self, aws: LambdaAWS) -> None:
        """The text goes into the log."""
        aws.failing.add("GetParameter")
        with pytest.raises(AWSFailed, match=r"^AmazonSSM\.GetParameter: 500 InternalError$"):
            AWS(aws.environ).call("ssm", "AmazonSSM.GetParameter", "1.1", _parameter())
        with pytest.raises(AWSFailed, match=r"^AmazonSSM\.GetParameter: ConnectionRefusedError$"):
            AWS(aws.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}).call(
                "ssm", "AmazonSSM.GetParameter", "1.1", _parameter()
            )

    def test_a_silent_service_is_given_up(self, aws: LambdaAWS) -> None:
        """Somebody waits for the answer."""
        aws.hang.clear()
        with pytest.raises(AWSFailed, match="TimeoutError"):
            AWS(aws.environ).call("sqs", "AmazonSQS.SendMessage", "1.0", {})

    @pytest.mark.parametrize(
        ("environ", "authority"),
        [
            ({"AWS_REGION": "eu-west-1"}, "sqs.eu-west-1.amazonaws.com"),
            ({"AWS_REGION": "cn-north-1"}, "sqs.cn-north-1.amazonaws.com.cn"),
            ({"AWS_ENDPOINT_URL": "http://localhost:4566/"}, "localhost:4566"),
            ({"AWS_ENDPOINT_URL": "https://aws.test"}, "aws.test"),
        ],
    )
    def test_knows_where_to_go(self, environ: dict[str, str], authority: str) -> None:
        """The service of the function's own region, or what the environment says."""
        assert AWS(environ)._endpoint("sqs").authority == authority


class TestKeys:
    def test_are_read_once_and_a_new_one_is_found(self, aws: LambdaAWS) -> None:
        """Rotation needs no restart."""
        clock = Clock()
        services = aws_services(aws.environ, clock)
        assert [services.tokens(KEYS.current) is not None for _ in range(5)] == [True] * 5
        assert aws.calls == ["GetParameter"]

        keys = rotated(KEYS, random.Random(8).randbytes)
        aws.token_keys = keys.to_json()
        clock.now += 11
        found = services.tokens(keys.current)

        assert found is not None
        assert found.knows(keys.current)
        assert found.knows(KEYS.current)

    def test_unknown_key_ids_cause_few_readings(self, aws: LambdaAWS) -> None:
        """A forger may name another in every request."""
        clock = Clock()
        services = aws_services(aws.environ, clock)
        for _ in range(100):
            clock.now += 0.5
            services.tokens("ffff")

        assert len(aws.calls) <= 6

    def test_stay_good_while_they_cannot_be_read(self, aws: LambdaAWS) -> None:
        """Links must not stop with Parameter Store."""
        clock = Clock()
        services = aws_services(aws.environ, clock)
        services.tokens(KEYS.current)
        for text in ("nonsense", None):
            aws.token_keys = text  # type: ignore[assignment]
            clock.now += 100
            assert services.tokens(KEYS.current) is not None

    def test_missing_ones_are_temporary(self, aws: LambdaAWS) -> None:
        """Not knowing is no "not found"."""
        aws.failing.add("GetParameter")
        services = aws_services(aws.environ, Clock())

        assert redirect(visit(LINK), services).response["statusCode"] == 503


class TestSuspended:
    def test_are_read_once_a_minute_page_by_page(self, aws: LambdaAWS) -> None:
        """However many servers are suspended."""
        clock = Clock()
        services = aws_services(aws.environ, clock)
        aws.suspended = [3, 5, 8, 13, 21]
        assert services.suspended() == frozenset(aws.suspended)
        aws.suspended = []
        assert services.suspended() == {3, 5, 8, 13, 21}

        aws.failing.add("Query")
        clock.now += 61
        assert services.suspended() == {3, 5, 8, 13, 21}

        aws.failing.clear()
        clock.now += 61
        assert services.suspended() == frozenset()


class TestQueue:
    def test_takes_a_hit(self, aws: LambdaAWS) -> None:
        """Under the server's group, as all events."""
        services = aws_services(aws.environ, Clock())

        answer = answered(redirect(visit(LINK), services), services)

        assert answer["headers"]["location"] == TARGET
        [sent] = aws.sent
        assert (sent["QueueUrl"], sent["MessageGroupId"]) == ("http://sqs.test/1/events", str(NAMED.server_id))
        assert json.loads(sent["MessageBody"])["kind"] == "clicked"

    def test_one_failure_makes_nobody_else_wait(self, aws: LambdaAWS) -> None:
        """While the queue is away, links lead on at once."""
        clock = Clock()
        services = aws_services(aws.environ, clock)
        aws.failing.add("SendMessage")
        for _ in range(10):
            assert answered(redirect(visit(LINK), services), services)["statusCode"] == 307
        assert aws.calls.count("SendMessage") == 1

        aws.failing.clear()
        clock.now += 6
        services.record(Hit(1, "{}"))
        assert len(aws.sent) == 1

    def test_failures_are_told(self, aws: LambdaAWS, capsys: pytest.CaptureFixture[str]) -> None:
        """A dropped hit is at least a line in the log, which an alarm can count."""
        services = aws_services(aws.environ, Clock())
        aws.failing.add("SendMessage")
        answered(redirect(visit(LINK), services), services)

        line = json.loads(capsys.readouterr().err)
        assert (line["event"], line["server_id"]) == ("hit_not_recorded", NAMED.server_id)
        with pytest.raises(NotRecorded):
            services.record(Hit(1, "{}"))


class TestBehindCloudFront:
    def test_its_headers_count(self, aws: LambdaAWS) -> None:
        """The function's own host and the edge's address say nothing."""
        services = aws_services(aws.environ | {"EDGEPOST_EDGE_PROXY": "cloudfront"}, Clock())
        event = visit(
            LINK,
            host="abc.lambda-url.eu-central-1.on.aws",
            ip="130.176.0.1",
            x_forwarded_host=HOST,
            cloudfront_viewer_address="2001:db8::7:46532",
        )

        answered(redirect(event, services), services)

        assert json.loads(aws.sent[0]["MessageBody"])["data"]["ip"] == "2001:db8::7"

    def test_without_it_they_do_not(self, aws: LambdaAWS) -> None:
        """Anybody may send them to a function URL that is open."""
        services = aws_services(aws.environ, Clock())
        event = visit(LINK, host="evil.test", x_forwarded_host=HOST)

        assert redirect(event, services).response["statusCode"] == 404


PROGRAM = """
    import json, sys
    before = set(sys.modules)
    sys.path.insert(0, {root!r})
    import functions.{function}.handler as module
    import ssl  # an endpoint on AWS is reached by TLS
    answer = module.handler(json.load(open({event!r})), None)
    loaded = sorted(set(sys.modules) - before)
    sys.modules["json"].dump([answer["statusCode"], loaded], sys.stdout)
"""


class TestImportBudget:
    @pytest.mark.parametrize(("function", "prefix"), [("pixel", "/o/"), ("redirect", "/c/"), ("unsubscribe", "/u/")])
    def test_no_package_and_few_modules(self, aws: LambdaAWS, tmp_path: Any, function: str, prefix: str) -> None:
        """Counted after a first request that was answered and recorded; without site-packages none could be loaded."""
        kinds = {"pixel": "open", "redirect": CLICK, "unsubscribe": "unsubscribe"}
        target = TARGET if function == "redirect" else ""
        token = Tokens(KEYS).make(kinds[function], HOST, NAMED._replace(target=target))
        method = "POST" if function == "unsubscribe" else "GET"
        file = tmp_path / "event.json"
        file.write_text(json.dumps(visit(prefix + token, method, body=b"List-Unsubscribe=One-Click")))
        program = textwrap.dedent(PROGRAM.format(root=str(ROOT), function=function, event=str(file)))

        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program], env=aws.environ, capture_output=True, text=True, check=True
        )

        status, loaded = json.loads(done.stdout)
        assert status in (200, 307)
        assert len(aws.sent) == 1
        assert len(loaded) <= MOST_MODULES, loaded
        ours = [name for name in loaded if name.split(".")[0] in ("functions", "shared")]
        assert {name.split(".")[0] for name in loaded} - {"functions", "shared"} <= sys.stdlib_module_names | {"typing"}
        assert "shared.tokens" in ours


def _parameter() -> dict[str, Any]:
    return {"Name": "/edgepost/test/token-keys", "WithDecryption": True}
