"""The stack as everybody deploys it, on MiniStack: sent through the function's URL, delivered by a node, kept, deleted.

Everything talks to MiniStack through a proxy that records who called what: at the
end the calls are held against the template's permissions, one by one.
"""

import contextlib
import json
import random
import re
import smtplib
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks import Webhook

from shared.tokens import UNSUBSCRIBE, Named, Tokens, read_keys
from standalone.demo.sending import NotSent
from tests.architecture.sources import ROOT
from tests.aws.iam import Request, Statement, is_allowed, unused
from tests.aws.requests import STACK, WHO, made_by_lambda, requests_of
from tests.aws.template import policies
from tests.e2e.deployed import VIEWER
from tests.e2e.deployed_inbound import bring, mail, return_path, route, taken, told
from tests.e2e.deployed_world import GREY, PARAMETERS, SLOW, World, deployed, operate
from tests.e2e.harness import DOMAIN, until
from tests.e2e.receiver import Receiver
from tests.fakes.inward import dsn

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RACERS = 8

TRACKED = "track.yourdomain.com"
TARGET = "https://shop.example.com/orders/7?a=1&b=2#top"
HTML = '<html><body><a href="https://shop.example.com/orders/7?a=1&amp;b=2#top">Order</a></body></html>'

TRACKING = ("PixelFunction", "RedirectFunction", "UnsubscribeFunction")
ZIP_LIMITS_MB = {
    "ApiFunction": 12.0,
    "EventsFunction": 6.0,
    "InboundFunction": 18.0,
    "ScheduledFunction": 7.5,  # with dnspython
    "WebhooksFunction": 18.0,
    **dict.fromkeys(TRACKING, 0.1),
}
UNZIPPED_LIMITS_MB = {
    "ApiFunction": 40.0,
    "EventsFunction": 25.0,
    "InboundFunction": 62.0,
    "ScheduledFunction": 25.0,
    "WebhooksFunction": 62.0,
    **dict.fromkeys(TRACKING, 0.2),
}
"""Byte code included.  Lambda's own limit is 250 MB; every megabyte is fetched in a cold start."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stack after `make deploy-local`, with a node whose waits are 300 times shorter."""
    with deployed(tmp_path_factory.mktemp("deployed")) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A customer's endpoint that lives as long as the test."""
    made = Receiver()
    yield made
    made.close()


class TestDeployLocal:
    """In this order: what one test leaves is what the next one finds."""

    def test_a_message_sent_through_the_function_is_delivered_by_a_node(self, world: World) -> None:
        """This is the product, in its AWS shape: API, queue, node, events and counters."""
        message_id = world.send("ada@example.com")

        until(lambda: world.statuses(message_id) == ["Sent"], "the function to show Sent")

        (copy,) = world.internet.to("ada@example.com")
        assert b"Subject: Test" in copy.raw

    def test_both_doors_answer(self, world: World) -> None:
        """The REST API reaches the same function; without a key it says so as Postal does."""
        url = urlsplit(world.deployment.outputs()["RestApiUrl"])
        emulated = f"{world.deployment.endpoint}/_aws/execute-api/{(url.hostname or '').split('.')[0]}{url.path}"

        answer = httpx.post(f"{emulated}/api/v1/send/message", json={}, timeout=30)

        assert answer.json()["data"]["code"] == "AccessDenied"

    def test_a_large_message_comes_back_whole(self, world: World) -> None:
        """Its body lies in the bucket, and travels to the node and back through the function."""
        content = random.Random(1).randbytes(200_000)
        attachment = {"name": "a.bin", "content_type": "application/octet-stream", "data": b64encode(content).decode()}

        message_id = world.send("big@example.com", attachments=[attachment])

        until(lambda: world.statuses(message_id) == ["Sent"], "the large message to be sent")
        shown = world.api.call("messages/message", {"id": message_id, "_expansions": ["attachments"]})
        assert shown["attachments"][0]["data"].replace("\n", "") == b64encode(content).decode()
        assert world.deployment.client("s3").list_objects_v2(Bucket=world.deployment.outputs()["BodiesBucket"])[
            "KeyCount"
        ]

    def test_the_same_idempotency_key_is_one_message(self, world: World) -> None:
        """A client that got no answer repeats; two functions may run at once for it."""
        ids = {world.send("once@example.com", key="order-1") for _ in range(2)}

        until(lambda: world.statuses(*ids) == ["Sent"], "the message to be sent")
        assert world.internet.copies()["once@example.com"] == 1

    @pytest.mark.parametrize("door", ["api", "receive"])
    def test_whoever_loses_a_race_for_a_key_removes_the_body(self, world: World, door: str) -> None:
        """Several send with one key at once, until one of them stored a body in vain."""
        send = {
            "api": lambda key: world.send(f"{key}@example.net", key=key),
            "receive": lambda key: world.by_smtp([f"{key}@example.net"], Idempotency_Key=key),
        }[door]
        keys = [f"{door}-race-{number}" for number in range(50)]

        def accepted(key: str) -> bool:
            # Refused for now is what the losers are.
            with contextlib.suppress(NotSent, smtplib.SMTPException):
                send(key)
                return True
            return False

        def raced() -> bool:
            key = keys.pop()
            with ThreadPoolExecutor(RACERS) as racers:
                assert any(racers.map(accepted, [key] * RACERS))
            return "DeleteObject" in world.recorder.count("s3", app=door)

        until(raced, "somebody to lose a race")
        until(lambda: set(world.internet.copies().values()) == {1}, "nobody to have two copies, and all to have one")

    def test_a_long_conversation_keeps_its_job(self, world: World) -> None:
        """The node tells the queue that it is still at work; else another node would take the job."""
        message_id = world.send(f"ada@{SLOW}")

        until(lambda: world.statuses(message_id) == ["Sent"], "the slow exchanger to take the message")

        assert world.recorder.count("sqs", app="deliver")["ChangeMessageVisibilityBatch"]

    def test_a_retry_goes_through_the_schedule(self, world: World) -> None:
        """A wait beyond 15 minutes is a record, which the every-minute function makes a job."""
        message_id = world.send(f"ada@{GREY}")
        until(lambda: world.statuses(message_id) == ["SoftFail"], "the first attempt to fail")

        def is_sent() -> bool:
            world.run_minute()
            return world.statuses(message_id) == ["SoftFail", "Sent"]

        until(is_sent, "the second attempt")

    def test_held_mail_is_released_cancelled_and_expires(self, world: World) -> None:
        """The node holds, the operator's commands decide, and the every-minute function ends what nobody decided."""
        run = world.deployment.edgepost
        run("server", "create", "Trial", "--organization", world.first["organization"], "--mode", "Development")
        run("domain", "add", "trial.test", "--server", "trial", "--trusted")
        key = run("credential", "create", "--server", "trial", "--type", "API")["key"]
        api = world.deployment.api(key)
        held = [world.send(f"held-{n}@example.com", api=api, **{"from": "a@trial.test"}) for n in range(4)]
        until(lambda: all(world.statuses(each, api) == ["Held"] for each in held), "the messages to be held")

        run("message", "release", str(held[0]), "--server", "trial")
        run("message", "cancel", str(held[1]), "--server", "trial")

        def is_over() -> bool:
            world.run_minute()
            return world.statuses(held[2], api)[-1] == "HoldCancelled"

        until(lambda: world.statuses(held[0], api)[-1] == "Sent", "the released message to be sent")
        world.lose_bodies()
        run("message", "release", str(held[3]), "--server", "trial")
        until(lambda: world.statuses(held[3], api)[-1] == "HardFail", "the node to see that the body is gone")
        assert api.call("messages/message", {"id": held[3], "_expansions": ["raw_message"]})["raw_message"] is None
        until(is_over, "the hold to expire")
        assert world.internet.copies().keys().isdisjoint({"held-1@example.com", "held-2@example.com"})

    def test_a_click_goes_through_the_queues_to_a_webhook(self, world: World, receiver: Receiver) -> None:
        """Link, redirect, events queue, record, webhooks queue, the customer's endpoint: each a function of its own."""
        world.deployment.edgepost("track-domain", "add", TRACKED, "--server", "main", "--trusted")
        secret = world.deployment.edgepost("webhook", "create", "--server", "main", "--url", receiver.url)["secret"]
        ask = world.deployment.ask_edge
        message_id, click, pixel = until(lambda: _tracked_mail(world), "a node to see the tracking domain")

        answer = ask("RedirectUrl", click, host=TRACKED)

        assert (answer.status_code, answer.headers["location"]) == (307, TARGET)
        assert ask("PixelUrl", pixel, host=TRACKED).headers["content-type"] == "image/gif"
        assert ask("RedirectUrl", click, host=TRACKED, signed=False).status_code == 403
        assert ask("RedirectUrl", click, host="other.example.com").status_code == 404
        assert ask("RedirectUrl", f"{click[:-1]}~", host=TRACKED).status_code == 404
        wanted = {"MessageAccepted", "MessageDelivered", "MessageLinkClicked", "MessageOpened"}
        until(lambda: wanted <= set(receiver.names(message_id)), "the webhooks to arrive")
        verified = [Webhook(secret).verify(body, headers) for headers, body in list(receiver.taken)]
        (clicked,) = [each["payload"] for each in verified if each["event"] == "MessageLinkClicked"]
        assert (clicked["url"], clicked["ip_address"], clicked["visitor"]) == (TARGET, VIEWER, "human")
        assert clicked["message"]["to"] == "reader@example.com"
        # The log shows nothing younger than five seconds, so that a cursor skips nothing.
        until(
            lambda: wanted <= {each["event"] for each in world.api.get("/api/v2/events")["events"]},
            "the log to show it",
        )

    def test_one_click_unsubscribes(self, world: World, receiver: Receiver) -> None:
        """A mail program's POST, unsigned as they are, puts the address on a list, and that is an event too."""
        world.deployment.edgepost("webhook", "create", "--server", "main", "--url", receiver.url)
        message_id = world.send("leaver@example.com")
        until(lambda: world.statuses(message_id) == ["Sent"], "the message to be sent")
        keys = world.deployment.client("ssm").get_parameter(Name=f"/edgepost/{STACK}/token-keys", WithDecryption=True)
        named = Named(world.first["server"]["id"], message_id, "")
        path = f"/u/{Tokens(read_keys(keys['Parameter']['Value'])).make(UNSUBSCRIBE, TRACKED, named)}"

        def ask(method: str, body: bytes = b"") -> int:
            return world.deployment.ask_edge(
                "UnsubscribeUrl", path, host=TRACKED, method=method, body=body, signed=False
            ).status_code

        assert [ask("GET"), ask("POST", b"x=1"), ask("POST", b"List-Unsubscribe=One-Click")] == [200, 400, 200]
        until(lambda: "SuppressionAdded" in {each["event"] for each in receiver.bodies()}, "the address to be listed")
        assert "MessageUnsubscribed" in receiver.names(message_id)

    def test_a_webhook_comes_again_by_the_schedule(self, world: World, receiver: Receiver) -> None:
        """The endpoint asks for half an hour; afterwards it has what it missed.  Who says Gone is told no more."""
        run = world.deployment.edgepost
        made = run("webhook", "create", "--server", "main", "--url", receiver.url, "--events", "MessageDelivered")
        world.hurry("webhooks")
        receiver.answer, receiver.headers = 503, {"Retry-After": "1800"}
        message_id = world.send("later@example.com")
        until(lambda: receiver.names(message_id), "the first attempt")
        receiver.answer = 200

        def came_again() -> bool:
            world.run_minute()
            return len(receiver.names(message_id)) > 1

        until(came_again, "the second attempt")
        first, second = [body for body in receiver.bodies() if body["payload"]["message"]["id"] == message_id][:2]
        assert first == second
        number = len(receiver.taken)
        run("webhook", "test", str(made["id"]), "--server", "main")
        run("webhook", "replay", str(made["id"]), "--server", "main", "--message", str(message_id))
        until(lambda: len(receiver.taken) >= number + 2, "the test and the replay")
        receiver.answer = 410
        world.send("gone@example.com")
        until(lambda: not run("webhook", "show", str(made["id"]), "--server", "main")["enabled"], "it to be disabled")

    def test_mail_goes_through_a_node_and_a_queue_to_an_endpoint(self, world: World, receiver: Receiver) -> None:
        """Down at first, by queue and by schedule; then taken, signed, under the same id.  A lost body ends it."""
        secret = route(world, "app", "--http", receiver.url)["secret"]
        world.hurry("inbound")
        receiver.answer = 503
        bring(world, f"app@{DOMAIN}", mail("app"))
        until(lambda: len(taken(receiver, "app")) >= 2, "two attempts")
        receiver.headers = {"Retry-After": "1800"}
        tries = len(taken(receiver, "app"))

        def came_again(number: int) -> bool:
            world.run_minute()
            return len(taken(receiver, "app")) >= number

        until(lambda: came_again(tries + 2), "an attempt by the schedule")
        receiver.answer, receiver.headers = 200, {}
        message_id = json.loads(taken(receiver, "app")[0][1])["id"]

        def ends_as(status: str, number: int) -> bool:
            world.run_minute()
            return (world.statuses(number) or [""])[-1] == status

        until(lambda: ends_as("Sent", message_id), "the mail to be taken")
        headers, body = taken(receiver, "app")[-1]
        assert Webhook(secret).verify(body, headers)["plain_body"] == "It is broken.\n"
        assert len({(headers["webhook-id"], body) for headers, body in taken(receiver, "app")}) == 1
        receiver.answer = 503
        bring(world, f"app@{DOMAIN}", mail("lost"))
        lost = json.loads(until(lambda: taken(receiver, "lost"), "an attempt")[0][1])["id"]
        world.lose_bodies()
        until(lambda: ends_as("HardFail", lost), "the function to see that the body is gone")

    def test_mail_is_bounced_held_and_read(self, world: World) -> None:
        """A proved sender is told, also of a large head; held mail is released; a report marks its message."""
        route(world, "gone", "--mode", "Bounce")
        route(world, "wait", "--mode", "Hold")
        bring(world, f"gone@{DOMAIN}", mail("small"))
        bring(world, f"gone@{DOMAIN}", mail("large", filler=16_000))
        bring(world, f"wait@{DOMAIN}", mail("held"))
        until(lambda: told(world, "small") and told(world, "large"), "Ann to be told")
        run = world.deployment.edgepost
        [held] = until(lambda: run("message", "held", "--server", "main")["messages"], "the mail to be held")

        run("message", "release", str(held["id"]), "--server", "main")

        until(lambda: world.statuses(held["id"])[-1] == "Processed", "the mail to be processed")
        message_id = world.send("nobody@example.com")
        until(lambda: world.statuses(message_id) == ["Sent"], "the message to be sent")
        bring(world, return_path(world, "nobody@example.com"), dsn("nobody@example.com"), sender="")
        until(lambda: world.status(message_id) == "Bounced", "the report to mark its message")

    def test_every_event_is_recorded(self, world: World) -> None:
        """The events function takes them from its queue by itself, and leaves none there."""
        queue = world.deployment.outputs()["EventsQueue"]
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def is_empty() -> bool:
            found = world.deployment.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=counts)
            return set(found["Attributes"].values()) == {"0"}

        until(is_empty, "the events queue to be empty")
        table = world.deployment.client("dynamodb").scan(TableName=world.deployment.outputs()["RecordsTable"])
        kinds = [item["sk"]["S"].split("#")[2] for item in table["Items"] if item["pk"]["S"].startswith("events#")]
        assert {"delivered", "delayed", "held", "hold_cancelled"} <= set(kinds)

    def test_packages_are_small(self, world: World) -> None:
        """What is not in a package is neither fetched at a cold start nor there to be attacked."""
        for function, limit in ZIP_LIMITS_MB.items():
            folder = ROOT / ".aws-sam" / "build" / function
            files = [path for path in folder.rglob("*") if path.is_file()]
            packed = BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(folder))
            assert packed.tell() < limit * 1_000_000, function
            assert sum(path.stat().st_size for path in files) < UNZIPPED_LIMITS_MB[function] * 1_000_000, function

    def test_an_update_keeps_what_is_there(self, world: World) -> None:
        """Another deploy changes configuration and code; mail sent before is still shown after it."""
        message_id = world.send("before@example.com")
        until(lambda: world.statuses(message_id) == ["Sent"], "the message to be sent")

        world.deployment.script("local", parameters=f"{PARAMETERS} Hostname=mail.changed.test")

        function = world.deployment.client("lambda").get_function_configuration(FunctionName=f"{STACK}-api")
        assert function["Environment"]["Variables"]["EDGEPOST_HOSTNAME"] == "mail.changed.test"
        assert world.statuses(message_id) == ["Sent"]
        assert world.statuses(world.send("after@example.com")) in ([], ["Sent"])

    def test_every_call_is_permitted_and_every_permission_used(self, world: World) -> None:
        """Least privilege, proved from what the functions, the node and the commands really did (see below)."""
        operate(world)
        names = world.deployment.names()
        asked: dict[str, set[Request]] = {}
        for call in world.recorder.calls:
            asked.setdefault(WHO[call.app], set()).update(requests_of(call))

        refused: list[str] = []
        wasted: list[str] = []
        for who, documents in policies():
            statements = [Statement.of(names.resolve(each)) for each in documents]
            requests = [*asked[who], *made_by_lambda(who, names)]
            refused += [
                f"{who}: {each.action} on {each.resource}" for each in requests if not is_allowed(each, statements)
            ]
            wasted += [f"{who}: {each}" for each in unused(statements, requests)]

        assert not refused, "\n".join(sorted(refused))
        assert not wasted, "\n".join(wasted)

    def test_deleting_leaves_nothing_running(self, world: World) -> None:
        """With its data, because that was asked for; and MiniStack ends."""
        world.node.stop()

        said = world.deployment.script("delete")

        assert "RecordsTable" in said
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{world.deployment.endpoint}/_ministack/health")
        assert not Path(world.deployment.directory / "ministack" / "pid").exists()


def _tracked_mail(world: World) -> tuple[int, str, str] | None:
    """Send a message with a link; return its id and the paths of link and pixel, or None if it left untracked."""
    message_id = world.send("reader@example.com", html_body=HTML)
    until(lambda: world.statuses(message_id) == ["Sent"], "the message to be sent")
    mail = message_from_bytes(world.internet.to("reader@example.com")[-1].raw, policy=default)
    part = mail.get_body(("html",))
    assert part is not None
    click, pixel = (re.search(rf"{TRACKED}[:0-9]*(/{kind}/[\w-]+)", part.get_content()) for kind in "co")
    return (message_id, click[1], pixel[1]) if click and pixel else None
