"""Webhooks as a customer sees them: a receiver in Node, as a guide prints it, and the simulator's whole course."""

import json
import os
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.domain.event import EventKind
from shared.domain.event_names import EDGEPOST_NAMES
from shared.domain.event_schemas import event_schema
from shared.domain.webhook_retry import WAITS
from tests.e2e.harness import SENDER, Installation, running, until
from tests.e2e.programs import NODE_MODULES, missing, program, run
from tests.e2e.receiver import Receiver
from tests.fakes.json_schema import problems

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parent.parent / "data" / "webhooks"
SIMULATOR = "simulator.edgepost.invalid"
KIND_OF = {name: kind for kind, name in EDGEPOST_NAMES.items()}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that may reach receivers on this machine, and whose retries come at once."""
    with running(tmp_path_factory.mktemp("hooks"), allow_networks="http:127.0.0.0/8", time_factor="300") as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that lives as long as the test."""
    made = Receiver()
    yield made
    made.close()


@contextmanager
def endpoint(installation: Installation, url: str, *more: str) -> Iterator[dict[str, Any]]:
    """Make a webhook for the first server and delete it afterwards."""
    server = installation.secrets["server"]["permalink"]
    made = installation.tree.run("webhook", "create", "--server", server, "--url", url, *more)
    try:
        yield made
    finally:
        installation.tree.run("webhook", "delete", str(made["id"]), "--server", server)


@contextmanager
def node_receiver(secret: str) -> Iterator[tuple[str, "queue.Queue[dict[str, Any]]"]]:
    """Run the guide's handler in Node; yields its URL and what it did with each request."""
    done: queue.Queue[dict[str, Any]] = queue.Queue()
    words = [program("node"), str(DATA / "receiver.mjs"), str(DATA / "handler.ts"), secret]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        port = int(lines.readline())
        threading.Thread(target=lambda: [done.put(json.loads(line)) for line in lines], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{port}/", done
        finally:
            process.terminate()


class TestSimulator:
    def test_every_recipient_goes_its_whole_course_and_nothing_leaves(
        self, installation: Installation, receiver: Receiver
    ) -> None:
        """A developer integrates before any DNS record is set."""
        courses = {
            "delivered": ["MessageAccepted", "MessageDelivered"],
            "hardbounce": ["MessageAccepted", "MessageDelivered", "MessageBounced"],
            "softbounce+tag": ["MessageAccepted", "MessageDelivered", "MessageBounced"],
            "complaint": ["MessageAccepted", "MessageDelivered", "SpamComplaint"],
            "open": ["MessageAccepted", "MessageDelivered", "MessageOpened"],
            "click": ["MessageAccepted", "MessageDelivered", "MessageOpened", "MessageLinkClicked"],
            "delayed": ["MessageAccepted", "MessageDelayed", "MessageDelivered"],
            "suppressed": ["MessageAccepted", "MessageHeld"],
            "nobody": ["MessageAccepted", "MessageDeliveryFailed"],
        }
        with endpoint(installation, receiver.url):
            sent = {
                name: installation.send(f"{name}@{SIMULATOR}", tag=name, metadata={"order": "42"}) for name in courses
            }
            for name, course in courses.items():
                until(lambda: Counter(receiver.names(sent[name])) >= Counter(course), f"{name}: {course}")  # noqa: B023

        assert {name: sorted(receiver.names(sent[name])) for name in courses} == {
            name: sorted(course) for name, course in courses.items()
        }
        for body in receiver.bodies():
            assert list(problems(body, event_schema(KIND_OF[body["event"]]))) == []
            assert body["payload"]["message"]["metadata"] == {"order": "42"}
            assert body["payload"]["message"]["test_mode"] is True
        assert not installation.internet.copies()

    def test_the_test_switch_works_on_both_doors(self, installation: Installation, receiver: Receiver) -> None:
        """A real address, and all the same nothing leaves."""
        with endpoint(installation, receiver.url, "--events", "MessageDelivered"):
            installation.send("somebody@example.com", test_mode=True)
            with installation.submission() as client:
                text = f"From: {SENDER}\r\nSubject: Test\r\nX-Edgepost-Test-Mode: yes\r\n\r\nHello\r\n"
                client.sendmail(SENDER, ["somebody.else@example.com"], text)
            until(lambda: len(receiver.taken) == 2, "both to be told as delivered")

        assert not installation.internet.copies()
        assert {each["payload"]["message"]["to"] for each in receiver.bodies()} == {
            "somebody@example.com",
            "somebody.else@example.com",
        }


class TestReceivers:
    def test_the_guides_handler_and_verifier_work_as_written(self, installation: Installation) -> None:
        """What is on the web about Postal's webhooks must work here, unchanged."""
        server = installation.secrets["server"]["permalink"]
        with (
            endpoint(installation, "http://127.0.0.1:9/") as made,
            node_receiver(made["secret"]) as (url, done),
        ):
            installation.tree.run("webhook", "update", str(made["id"]), "--server", server, "--url", url)
            sent = {name: installation.send(f"{name}@{SIMULATOR}") for name in ("hardbounce", "click", "complaint")}
            calls = []
            while len(calls) < 7:
                got = done.get(timeout=60)
                assert got["verified"] is True, got
                calls += got["done"]

        url = f"https://{SIMULATOR}/"
        assert sorted(map(json.dumps, calls)) == sorted(
            json.dumps(each)
            for each in [
                *(["markEmailDelivered", message_id] for message_id in sent.values()),
                ["handleBounce", f"hardbounce@{SIMULATOR}", "hard"],
                ["recordOpen", sent["click"]],
                ["recordClick", sent["click"], url],
                ["unsubscribeUser", f"complaint@{SIMULATOR}"],
            ]
        )

    def test_the_npm_reference_library_verifies(self, installation: Installation, receiver: Receiver) -> None:
        """Standard Webhooks is what most customers' frameworks know."""
        modules = os.environ.get(NODE_MODULES, "")
        if not (Path(modules) / "standardwebhooks").is_dir() or not modules:
            missing("the npm package standardwebhooks is not installed")
        with endpoint(installation, receiver.url, "--events", "MessageDelivered") as made:
            installation.send(f"delivered@{SIMULATOR}")
            until(lambda: receiver.taken, "the event")
        headers, body = receiver.taken[0]
        words = (program("node"), str(DATA / "verify_standard.mjs"), made["secret"])

        good = run(*words, stdin=json.dumps({"headers": headers, "body": body.decode()}))
        bad = run(*words, stdin=json.dumps({"headers": headers, "body": body.decode() + " "}))

        assert good.strip() == "ok"
        assert "No matching signature" in bad


class TestRetries:
    def test_what_failed_comes_again_with_the_same_id_after_a_kill(
        self, installation: Installation, receiver: Receiver
    ) -> None:
        """An endpoint that is down, and a process of ours that is killed meanwhile: nothing is lost."""
        receiver.answer = 503
        with endpoint(installation, receiver.url, "--events", "MessageDelivered"):
            installation.send(f"delivered@{SIMULATOR}")
            until(lambda: receiver.taken, "the first attempt")
            installation.kill_part("consumers")
            receiver.answer = 200
            until(lambda: len(receiver.taken) > 1, "the next attempt")

        assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1
        assert len({body for _, body in receiver.taken}) == 1

    def test_attempts_are_shown(self, installation: Installation, receiver: Receiver) -> None:
        """Who asks what became of an event gets status, time and answer."""
        server = installation.secrets["server"]["permalink"]
        with endpoint(installation, receiver.url, "--events", "MessageDelivered") as made:
            installation.send(f"delivered@{SIMULATOR}")
            words = ("webhook", "attempts", str(made["id"]), "--server", server)
            [attempt] = until(lambda: installation.tree.run(*words)["attempts"], "the attempt to be noted")
            tested = installation.tree.run("webhook", "test", str(made["id"]), "--server", server)

        assert (attempt["status"], attempt["event"], attempt["answer"]) == (200, "MessageDelivered", "OK")
        assert tested["delivered"] is True


class TestDocumentedEvents:
    def test_all_kinds_have_a_schema(self) -> None:
        """The table of names and the table of schemas are the same events."""
        assert {event_schema(kind)["title"] for kind in EventKind} == set(KIND_OF)


@pytest.mark.slow
class TestOutage:
    def test_down_for_the_whole_horizon_everything_comes_once_it_is_back(
        self, tmp_path: Path, receiver: Receiver
    ) -> None:
        """Three days of outage and a kill in between: all events come, each with its id, and nothing is disabled."""
        factor = 20_000
        horizon_s = sum((each.total_seconds() for each in WAITS), 0.0) / factor
        settings = {"allow_networks": "http:127.0.0.0/8", "time_factor": str(factor)}
        receiver.answer = 500
        with running(tmp_path, **settings) as installation, endpoint(installation, receiver.url) as made:
            sent = [installation.send(f"delivered+{each}@{SIMULATOR}") for each in range(40)]
            began = time.monotonic()
            until(lambda: time.monotonic() > began + horizon_s / 2, "half of the horizon")
            installation.kill_part("consumers")
            until(lambda: time.monotonic() > began + horizon_s, "the horizon")
            receiver.taken.clear()
            receiver.answer = 200
            until(
                lambda: all(len(set(receiver.names(each))) == 2 for each in sent),
                "both events of every message",
            )
            server = installation.secrets["server"]["permalink"]
            shown = installation.tree.run("webhook", "show", str(made["id"]), "--server", server)

        assert shown["enabled"] is True
        assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 2 * len(sent)

    def test_killed_while_it_waits_for_an_answer_the_event_comes_again(
        self, tmp_path: Path, receiver: Receiver
    ) -> None:
        """Whoever is killed between a request and its answer does not know: the lease ends, and it is sent again."""
        receiver.patience_s = 3600
        with (
            running(tmp_path, allow_networks="http:127.0.0.0/8") as installation,
            endpoint(installation, receiver.url, "--events", "MessageDelivered"),
        ):
            installation.send(f"delivered@{SIMULATOR}")
            until(lambda: receiver.taken, "the request")
            installation.kill_part("consumers")
            receiver.patience_s = 0
            until(lambda: len(receiver.taken) > 1, "the same event again")

        assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1
