"""How many requests each operation costs: AWS's bill is counted work."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared.ports import Absent, Delete, Equals, Exists, Key, Outgoing, Put, Update
from tests.aws.conftest import Cloud

KEY = Key("p", "s")
DAY = timedelta(days=1)
NOW = timedelta(0)

CASES: Mapping[str, tuple[Callable[[Cloud], Awaitable[Any]], Mapping[str, int]]] = {
    "get": (lambda cloud: cloud.records.get(KEY), {"GetItem": 1}),
    "get_many of 130": (
        lambda cloud: cloud.records.get_many([Key("p", f"{n}") for n in range(130)]),
        {"BatchGetItem": 2},
    ),
    "put": (lambda cloud: cloud.records.put(Put(KEY, {})), {"PutItem": 1}),
    "put if absent": (lambda cloud: cloud.records.put(Put(KEY, {}, when=(Absent(),))), {"PutItem": 1}),
    "put refused": (lambda cloud: cloud.records.put(Put(KEY, {}, when=(Exists(),))), {"PutItem": 1}),
    "put_many of 60": (
        lambda cloud: cloud.records.put_many([Put(Key("p", f"{n}"), {}) for n in range(60)]),
        {"BatchWriteItem": 3},
    ),
    "update": (lambda cloud: cloud.records.update(Update(KEY, add={"n": 1})), {"UpdateItem": 1}),
    "update refused": (
        lambda cloud: cloud.records.update(Update(KEY, add={"n": 1}, when=(Equals("n", 9),))),
        {"UpdateItem": 1},
    ),
    "delete": (lambda cloud: cloud.records.delete(Delete(KEY)), {"DeleteItem": 1}),
    "delete if": (lambda cloud: cloud.records.delete(Delete(KEY, when=(Exists(),))), {"TransactWriteItems": 1}),
    "atomically": (
        lambda cloud: cloud.records.atomically([Put(Key("p", f"{n}"), {}) for n in range(25)]),
        {"TransactWriteItems": 1},
    ),
    "query": (lambda cloud: cloud.records.query("p", at_least="a", below="b", newest_first=True), {"Query": 1}),
    "small body": (lambda cloud: cloud.bodies.put("k", b"x" * 10_000, expires_at=cloud.clock() + DAY), {"PutItem": 1}),
    "missing body": (lambda cloud: cloud.bodies.get("k"), {"GetItem": 1, "GetObject": 1}),
    "delete of a body": (lambda cloud: cloud.bodies.delete("k"), {"DeleteItem": 1, "DeleteObject": 1}),
    "depth": (lambda cloud: cloud.queue.depth(), {"GetQueueAttributes": 2}),
    "empty receive": (lambda cloud: cloud.queue.receive(10, wait=NOW, visibility=DAY), {"ReceiveMessage": 1}),
}


class TestRequests:
    @pytest.mark.parametrize("name", CASES)
    async def test_are_as_few_as_can_be(self, cloud: Cloud, name: str) -> None:
        """No reads before writes, no scan, no look-up of where something is."""
        act, expected = CASES[name]

        await act(cloud)

        assert cloud.between.count() == expected

    async def test_a_hundred_senders_share_a_dozen(self, cloud: Cloud) -> None:
        """A request carries ten messages, whoever sends them."""
        await asyncio.gather(*(cloud.queue.send([Outgoing(str(n), group=str(n % 7))]) for n in range(100)))

        assert cloud.between.count("sqs")["SendMessageBatch"] <= 12

    async def test_a_message_at_a_hundred_a_second_costs_less_than_one(self, cloud: Cloud) -> None:
        """Sent, received, extended once and deleted, when there are others at the same time."""
        await asyncio.gather(*(cloud.queue.send([Outgoing(str(n))]) for n in range(100)))
        received = []
        while some := await cloud.queue.receive(10, wait=NOW, visibility=DAY):
            received += some
        await cloud.queue.extend([message.receipt for message in received], DAY)
        await asyncio.gather(*(cloud.queue.delete([message.receipt]) for message in received))

        counted = Counter(cloud.between.count("sqs"))
        assert len(received) == 100
        assert counted["DeleteMessageBatch"] <= 12
        assert counted.total() <= 50

    async def test_name_their_caller(self, cloud: Cloud) -> None:
        """Permissions and costs are told apart by it."""
        await asyncio.gather(
            cloud.records.get(KEY), cloud.queue.send([Outgoing("x")]), cloud.bodies.get("k"), cloud.queue.depth()
        )

        assert {call.app for call in cloud.between.calls} == {"test"}
        assert {(call.service, call.resources) for call in cloud.between.calls} >= {
            ("dynamodb", ("records",)),
            ("dynamodb", ("bodies",)),
            ("sqs", ("work",)),
            ("sqs", ("work-dead",)),
        }


class TestPlacement:
    async def test_follows_from_the_compressed_size(self, cloud: Cloud) -> None:
        """Six kilobytes are where S3 becomes cheaper (docs/decisions/0010)."""
        rng = random.Random(3)

        await cloud.bodies.put("small", rng.randbytes(5_800), expires_at=cloud.clock() + DAY)
        await cloud.bodies.put("large", rng.randbytes(6_200), expires_at=cloud.clock() + DAY)

        assert cloud.between.count() == {"PutItem": 1, "PutObject": 1}


class TestCalls:
    async def test_do_not_wait_for_long_polls(self, cloud: Cloud) -> None:
        """Many pools poll at once; a heartbeat must not stand in line behind them."""
        polls = [
            asyncio.create_task(cloud.queue.receive(10, wait=timedelta(seconds=1), visibility=DAY)) for _ in range(20)
        ]
        await asyncio.sleep(0)

        await asyncio.wait_for(cloud.records.get(KEY), 1)

        assert not all(poll.done() for poll in polls)
        await asyncio.gather(*polls)


def test_one_set_of_adapters_serves_one_loop_after_another(cloud: Cloud) -> None:
    """A function calls ``asyncio.run`` for each invocation on what it opened for the first."""

    async def once(number: int) -> int:
        await cloud.queue.send([Outgoing(str(number))])
        item = await cloud.records.update(Update(KEY, add={"n": 1}))
        await cloud.bodies.get("k")
        return 0 if item is None else int(str(item["n"]))

    assert [asyncio.run(once(number)) for number in range(3)] == [1, 2, 3]
