"""A queue when SQS throttles, breaks, hangs, or does the work and cannot say so: nothing is lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from shared.adapters.aws.calls import Calls
from shared.adapters.aws.sqs_queue import SQSQueue, Windows
from shared.adapters.aws.threads import Threads
from shared.adapters.aws.verdicts import SDK_ERRORS
from shared.domain.errors import StorageUnavailable
from shared.ports import Depth, Outgoing, Received
from tests.aws.conftest import SHORT, Cloud
from tests.aws.proxy import FOR_EVER, Fault, Kind

NOW = timedelta(0)
HALF_MINUTE = timedelta(seconds=30)
HOUR = timedelta(hours=1)
KINDS = [kind for kind in Kind if kind is not Kind.PARTIAL]
SENT = [str(number) for number in range(7)]


async def take(cloud: Cloud, *, visibility: timedelta = HALF_MINUTE) -> Sequence[Received]:
    """Receive without waiting."""
    return await cloud.queue.receive(10, wait=NOW, visibility=visibility)


async def taken(cloud: Cloud) -> Counter[str]:
    """Take everything, and return how often each body was there."""
    seen = Counter[str]()
    while some := await take(cloud, visibility=HOUR):
        seen.update(message.body for message in some)
    return seen


async def send(cloud: Cloud) -> None:
    """Send seven messages."""
    await cloud.queue.send([Outgoing(body) for body in SENT])


class TestSend:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    async def test_one_fault_loses_nothing(self, cloud: Cloud, kind: Kind) -> None:
        """A message may be there twice if the reply was lost, never less than once."""
        cloud.between.disturb(Fault(kind, operation="SendMessageBatch"))

        await send(cloud)

        seen = await taken(cloud)
        assert seen.keys() == set(SENT)
        assert max(seen.values()) <= (2 if kind.is_carried_out else 1)

    @pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.UNAVAILABLE, Kind.LOSE_REPLY], ids=lambda kind: kind.name)
    async def test_a_lasting_fault_is_told_once(self, cloud: Cloud, kind: Kind) -> None:
        """Whoever sends must not believe that it is done."""
        cloud.between.disturb(Fault(kind, operation="SendMessageBatch", times=FOR_EVER))

        with pytest.raises(StorageUnavailable) as caught:
            await send(cloud)

        assert isinstance(caught.value.__cause__, SDK_ERRORS)

    async def test_a_part_that_failed_is_sent_again_alone(self, cloud: Cloud) -> None:
        """What SQS took is not sent twice."""
        cloud.between.disturb(Fault(Kind.PARTIAL, operation="SendMessageBatch", times=2))

        await send(cloud)

        assert await taken(cloud) == Counter(SENT)

    async def test_a_part_that_always_fails_is_told(self, cloud: Cloud) -> None:
        """Half of a batch is not all of it."""
        cloud.between.disturb(Fault(Kind.PARTIAL, operation="SendMessageBatch", times=FOR_EVER))

        with pytest.raises(StorageUnavailable, match="some entries"):
            await cloud.queue.send([Outgoing(str(number)) for number in range(10)])


class TestReceive:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    async def test_one_fault_loses_nothing(self, cloud: Cloud, kind: Kind) -> None:
        """What a lost reply had taken comes back when its visibility ends."""
        await send(cloud)
        cloud.between.disturb(Fault(kind, operation="ReceiveMessage"))

        seen = Counter(message.body for message in await take(cloud))
        cloud.advance(HALF_MINUTE)

        assert (seen | await taken(cloud)) == Counter(SENT)

    @pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.UNAVAILABLE, Kind.TRUNCATE], ids=lambda kind: kind.name)
    async def test_a_lasting_fault_is_told_once(self, cloud: Cloud, kind: Kind) -> None:
        """An empty answer would look like an empty queue."""
        await send(cloud)
        cloud.between.disturb(Fault(kind, operation="ReceiveMessage", times=FOR_EVER))

        with pytest.raises(StorageUnavailable) as caught:
            await take(cloud)

        assert isinstance(caught.value.__cause__, SDK_ERRORS)


class TestCancelledReceive:
    async def test_gives_back_though_everything_is_closed(self, cloud: Cloud) -> None:
        """A node ends while its long poll is under way: what it brings must not stay hidden for an hour."""
        threads = Threads("ending")
        queue = SQSQueue(
            cloud.clients,
            Calls(threads, SHORT, random.Random(1)),
            cloud.direct.make_queue("work"),
            windows=Windows(),
        )
        receiving = asyncio.create_task(queue.receive(10, wait=timedelta(seconds=1), visibility=HOUR))
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        threads.close()

        await send(cloud)

        seen = Counter[str]()
        while len(seen) < len(SENT):
            seen.update(m.body for m in await cloud.queue.receive(10, wait=timedelta(seconds=1), visibility=HOUR))
        assert seen == Counter(SENT)


class TestDelete:
    @pytest.mark.parametrize("kind", [*KINDS, Kind.PARTIAL], ids=lambda kind: kind.name)
    async def test_one_fault_does_not_keep_it_from_being_done(self, cloud: Cloud, kind: Kind) -> None:
        """Deleting twice is deleting once, so it is tried again."""
        await send(cloud)
        received = await take(cloud)
        cloud.between.disturb(Fault(kind, operation="DeleteMessageBatch"))

        await cloud.queue.delete([message.receipt for message in received])

        cloud.advance(HALF_MINUTE)
        assert await taken(cloud) == Counter()

    async def test_a_lasting_fault_is_told(self, cloud: Cloud) -> None:
        """The job would come again: its worker must know."""
        await send(cloud)
        received = await take(cloud)
        cloud.between.disturb(Fault(Kind.THROTTLE, operation="DeleteMessageBatch", times=FOR_EVER))

        with pytest.raises(StorageUnavailable):
            await cloud.queue.delete([message.receipt for message in received])


class TestExtend:
    @pytest.mark.parametrize("kind", [*KINDS, Kind.PARTIAL], ids=lambda kind: kind.name)
    async def test_one_fault_does_not_keep_it_from_being_done(self, cloud: Cloud, kind: Kind) -> None:
        """A heartbeat that failed once must not let another node take the job."""
        await send(cloud)
        received = await take(cloud)
        cloud.between.disturb(Fault(kind, operation="ChangeMessageVisibilityBatch"))

        await cloud.queue.extend([message.receipt for message in received], HOUR)

        cloud.advance(HALF_MINUTE)
        assert await taken(cloud) == Counter()


class TestDepth:
    async def test_counts_dead_letters_of_the_queue_beside(self, cloud: Cloud) -> None:
        """Its URL follows from the redrive policy."""
        await cloud.queue.send([Outgoing("x")])
        dead = cloud.direct.client("sqs").get_queue_url(QueueName="work-dead")["QueueUrl"]
        cloud.direct.client("sqs").send_message(QueueUrl=dead, MessageBody="dead")

        assert await cloud.queue.depth() == Depth(ready=1, delayed=0, in_flight=0, dead=1)

    async def test_a_lasting_fault_is_told(self, cloud: Cloud) -> None:
        """No number is better than a wrong one."""
        cloud.between.disturb(Fault(Kind.UNAVAILABLE, operation="GetQueueAttributes", times=FOR_EVER))

        with pytest.raises(StorageUnavailable):
            await cloud.queue.depth()
