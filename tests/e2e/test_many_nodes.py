"""Several nodes on one queue: whatever comes twice, stops or dies, each message goes out once."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.domain.ids import MessageId, ServerId
from shared.domain.job import Job, ToMX
from shared.flow.claim import LEASE
from shared.ports import Depth, Outgoing, Queue
from smtp_node.deliver.destinations import START_SLOTS
from tests.e2e.conftest import Place
from tests.e2e.harness import Installation, Mailing, addresses, running, unexplained, until
from tests.e2e.nodes import Node, paused
from tests.fakes.mx_script import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MESSAGES = 100
HELD = 10
TIMES = 5
"""How often each job is on the queue."""

NODES = 4


def repeat(queue: Queue, server_id: int, ids: Sequence[int], domain: str) -> None:
    """Put the first job of each message on the queue again, so often that there are ``TIMES``."""
    jobs = [
        Outgoing(Job(ServerId(server_id), MessageId(each), 1, ToMX(domain)).to_json(), group=str(server_id))
        for each in ids
        for _ in range(TIMES - 1)
    ]
    asyncio.run(queue.send(jobs))


def depth(queue: Queue) -> Depth:
    """Count what lies on the queue."""
    return asyncio.run(queue.depth())


@pytest.fixture
def installation(tmp_path: Path, place: Place) -> Iterator[Installation]:
    """A running installation on each backend."""
    with running(tmp_path, **place.settings) as found:
        yield found


class TestManyNodes:
    def test_nothing_is_lost_and_nothing_comes_twice(self, installation: Installation, tmp_path: Path) -> None:
        """SQS delivers at least once, machines stop and die: only a final dot without a recorded 250 may repeat."""
        rng, release, kills = random.Random(5), tmp_path / "release", []
        server_id = installation.secrets["server"]["id"]
        held, usual = addresses("held", HELD, "held.test"), addresses("usual", MESSAGES - HELD)
        exchanger = installation.internet.exchanger("held.test", data=Step(hold=str(release)))
        # The first node has begun with these when it is stopped for longer than its lease.
        ids = [installation.send(each) for each in held]
        until(lambda: len(exchanger.sessions) >= min(HELD, 5), "the first node to be held before 354")
        stopped = until(lambda: installation.part_pid("deliver"), "the first node")

        with contextlib.ExitStack() as stack:
            queue = stack.enter_context(installation.stores()).work["default"]
            began = time.monotonic()
            resume = stack.enter_context(contextlib.ExitStack())
            resume.enter_context(paused(stopped))
            kills.append(time.time())
            release.touch()
            repeat(queue, server_id, ids, "held.test")
            others = [stack.enter_context(Node(installation, tmp_path / f"node-{n}")) for n in range(1, NODES)]
            with Mailing(installation, usual, repeat=True) as mailing:
                for number, node in enumerate(others, 1):
                    until(
                        lambda number=number: len(mailing.ids) >= number * len(usual) // NODES or mailing.done,
                        "some more to be accepted",
                    )
                    repeat(queue, server_id, [*set().union(*mailing.ids.values())], "example.com")
                    kills.append(node.kill())
                    node.start()
                    with paused(rng.choice(others).pid):
                        kills.append(time.time())
                        time.sleep(0.5)
            until(
                lambda: time.monotonic() - began > LEASE.total_seconds() + 3, "the lease of the first node to be over"
            )
            resume.close()
            installation.until_delivered([*held, *usual])
            until(mailing.all_sent, "everything to be recorded as sent")
            until(lambda: installation.status(ids[-1]) == "Sent", "what was held to be recorded as sent")
            until(lambda: depth(queue) == Depth(0, 0, 0, 0), "every job to be deleted")

        assert all(len(each) == 1 for each in mailing.ids.values())
        assert not unexplained(installation.internet, kills)
        copies = installation.internet.copies()
        assert {recipient: copies[recipient] for recipient in held} == dict.fromkeys(held, 1)
        assert '"claim_lost"' in installation.tree.log.read_text(), "the first node took no notice"


class TestDrain:
    def test_what_was_not_begun_goes_to_another_node_at_once(self, installation: Installation, tmp_path: Path) -> None:
        """A deploy must not delay mail by a lease: SIGTERM returns what only waits for its turn."""
        release, recipients = tmp_path / "release", addresses("drain", START_SLOTS * 2, "held.test")
        exchanger = installation.internet.exchanger("held.test", data=Step(hold=str(release)))
        ids = [installation.send(each) for each in recipients]
        until(lambda: len(exchanger.sessions) == START_SLOTS, "the first node to use all its slots")

        with Node(installation, tmp_path / "node"):
            os.kill(until(lambda: installation.part_pid("deliver"), "the first node"), signal.SIGTERM)
            # Those of the first node are still held, and their lease is not over.
            until(
                lambda: len(exchanger.sessions) == START_SLOTS * 2, "the second node", timeout_s=LEASE.total_seconds()
            )
            release.touch()
            installation.until_delivered(recipients)
            for each in ids:
                installation.until_status(each, "Sent")

        copies = installation.internet.copies()
        assert {recipient: copies[recipient] for recipient in recipients} == dict.fromkeys(recipients, 1)
