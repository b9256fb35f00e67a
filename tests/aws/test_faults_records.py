"""Records when DynamoDB throttles, breaks, hangs, or does the work and cannot say so.

Each operation meets each fault once and must give the same answer as without it, having worked
exactly once.  Then it meets the fault at every try, and must say ``StorageUnavailable``, once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.aws.dynamodb_records import DynamoDBRecords
from shared.adapters.aws.verdicts import SDK_ERRORS
from shared.domain.errors import StorageUnavailable
from shared.ports import Absent, Delete, Equals, Exists, Item, Key, LessThan, Put, Update
from tests.aws.conftest import Cloud
from tests.aws.proxy import FOR_EVER, Fault, Kind
from tests.aws.resources import RECORDS

KEY = Key("p", "there")
NEW = Key("p", "new")
BEFORE: Item = {"n": 1, "lease": 0, "owner": "me"}


@dataclass(frozen=True)
class Case:
    """An operation, its right answer, and what lies under both keys after it was done once."""

    act: Callable[[DynamoDBRecords], Awaitable[Any]]
    answer: Any
    there: Item | None
    new: Item | None = None
    adds: bool = False
    """Whether doing it blindly again would add again."""

    refused: bool = False
    reads: bool = False

    def is_unknown(self, kind: Kind) -> bool:
        """Say whether nobody can know if it was carried out: then the caller has to be told so."""
        if kind is Kind.THROTTLE:
            return False
        return self.refused or (self.adds and not kind.is_carried_out)


async def items(records: DynamoDBRecords) -> list[tuple[Key, Item]]:
    """Return what a query finds."""
    return list((await records.query("p")).items)


CASES = {
    "get": Case(lambda records: records.get(KEY), BEFORE, BEFORE, reads=True),
    "get_many": Case(lambda records: records.get_many([KEY, NEW]), {KEY: BEFORE}, BEFORE, reads=True),
    "query": Case(items, [(KEY, BEFORE)], BEFORE, reads=True),
    "put": Case(lambda records: records.put(Put(NEW, {"a": 1})), True, BEFORE, {"a": 1}),
    "put_if_absent": Case(lambda records: records.put(Put(NEW, {"a": 1}, when=(Absent(),))), True, BEFORE, {"a": 1}),
    "put_over": Case(lambda records: records.put(Put(KEY, {"a": 1}, when=(Equals("owner", "me"),))), True, {"a": 1}),
    "put_refused": Case(lambda records: records.put(Put(KEY, {"a": 1}, when=(Absent(),))), False, BEFORE, refused=True),
    "put_many": Case(lambda records: records.put_many([Put(NEW, {"a": 1})]), None, BEFORE, {"a": 1}),
    "set": Case(lambda records: records.update(Update(KEY, set={"n": 2})), {**BEFORE, "n": 2}, {**BEFORE, "n": 2}),
    "set_if": Case(
        lambda records: records.update(Update(KEY, set={"n": 2}, when=(Equals("n", 1),))),
        {**BEFORE, "n": 2},
        {**BEFORE, "n": 2},
    ),
    "add": Case(
        lambda records: records.update(Update(KEY, add={"n": 1})), {**BEFORE, "n": 2}, {**BEFORE, "n": 2}, adds=True
    ),
    "add_to_nothing": Case(lambda records: records.update(Update(NEW, add={"n": 1})), {"n": 1}, BEFORE, {"n": 1}, True),
    "claim": Case(
        lambda records: records.update(
            Update(KEY, set={"lease": 9}, add={"n": 1}, when=(Exists(), LessThan("lease", 5)))
        ),
        {**BEFORE, "n": 2, "lease": 9},
        {**BEFORE, "n": 2, "lease": 9},
        adds=True,
    ),
    "delete": Case(lambda records: records.delete(Delete(KEY)), True, None),
    "delete_if": Case(lambda records: records.delete(Delete(KEY, when=(Equals("owner", "me"),))), True, None),
    "atomically": Case(
        lambda records: records.atomically([Put(NEW, {"a": 1}, when=(Absent(),)), Update(KEY, add={"n": 1})]),
        True,
        {**BEFORE, "n": 2},
        {"a": 1},
    ),
}
KINDS = [kind for kind in Kind if kind is not Kind.PARTIAL]


async def stored(cloud: Cloud) -> tuple[Item | None, Item | None]:
    """Return what lies under both keys."""
    return await cloud.records.get(KEY), await cloud.records.get(NEW)


class TestOneFault:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    @pytest.mark.parametrize("name", CASES)
    async def test_changes_neither_the_answer_nor_the_work(self, cloud: Cloud, name: str, kind: Kind) -> None:
        """A caller cannot tell that anything happened; where nobody can know, it is told so."""
        case = CASES[name]
        await cloud.records.put(Put(KEY, BEFORE))
        cloud.between.disturb(Fault(kind, "dynamodb"))

        if case.is_unknown(kind):
            with pytest.raises(StorageUnavailable):
                await case.act(cloud.records)
            assert await stored(cloud) == (BEFORE, None)
        else:
            assert await case.act(cloud.records) == case.answer
            assert await stored(cloud) == (case.there, case.new)
        assert sum(1 for call in cloud.between.calls if call.fault) == 1


class TestLastingFault:
    @pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.UNAVAILABLE, Kind.LOSE_REPLY], ids=lambda kind: kind.name)
    @pytest.mark.parametrize("name", CASES)
    async def test_is_told_once(self, cloud: Cloud, name: str, kind: Kind) -> None:
        """The SDK's error becomes the port's, with the cause behind it, and the work was done once or not at all."""
        case = CASES[name]
        await cloud.records.put(Put(KEY, BEFORE))
        cloud.between.disturb(Fault(kind, "dynamodb", times=FOR_EVER))

        with pytest.raises(StorageUnavailable) as caught:
            await case.act(cloud.records)

        assert isinstance(caught.value.__cause__, SDK_ERRORS)
        cloud.between.forget()
        done = kind.is_carried_out and not case.reads
        assert await stored(cloud) == ((case.there, case.new) if done else (BEFORE, None))

    async def test_that_hangs_ends_too(self, cloud: Cloud) -> None:
        """A lease lasts thirty seconds: a call must not take longer."""
        cloud.between.disturb(Fault(Kind.HANG, "dynamodb", times=FOR_EVER))

        with pytest.raises(StorageUnavailable, match="ReadTimeoutError"):
            await cloud.records.get(KEY)

    async def test_that_cannot_pass_is_not_tried_again(self, cloud: Cloud) -> None:
        """An operator's mistake is temporary for mail, but waiting does not mend it."""
        cloud.direct.client("dynamodb").delete_table(TableName=RECORDS)

        with pytest.raises(StorageUnavailable, match="ResourceNotFoundException"):
            await cloud.records.get(KEY)

        assert cloud.between.count() == {"GetItem": 1}


class TestAnotherWriter:
    """Between the lost reply and the next try, somebody else writes to the same item."""

    def meanwhile(self, cloud: Cloud, key: Key, attributes: dict[str, Any]) -> Callable[[], None]:
        """Return a write past the proxy, with another stamp."""
        item = {"pk": {"S": key.partition}, "sk": {"S": key.sort}, "~": {"B": b"another!"}, **attributes}
        return lambda: cloud.direct.client("dynamodb").put_item(TableName=RECORDS, Item=item)

    async def test_a_put_is_not_called_refused(self, cloud: Cloud) -> None:
        """It was done: "somebody else has it" would be a lie, so the answer is that nobody knows."""
        other = self.meanwhile(cloud, NEW, {"a": {"N": "5"}})
        cloud.between.disturb(Fault(Kind.LOSE_REPLY, operation="PutItem", meanwhile=other))

        with pytest.raises(StorageUnavailable, match="unknown"):
            await cloud.records.put(Put(NEW, {"a": 1}, when=(Absent(),)))

    async def test_an_add_is_not_repeated(self, cloud: Cloud) -> None:
        """The stamp is gone, so whether it was added cannot be known; adding again could be twice."""
        other = self.meanwhile(cloud, KEY, {"n": {"N": "7"}})
        cloud.between.disturb(Fault(Kind.LOSE_REPLY, operation="UpdateItem", meanwhile=other))

        with pytest.raises(StorageUnavailable):
            await cloud.records.update(Update(KEY, add={"n": 1}))

        assert await cloud.records.get(KEY) == {"n": 7}
        assert cloud.between.count()["UpdateItem"] == 1

    async def test_a_transaction_is_known_by_its_token(self, cloud: Cloud) -> None:
        """What another did after it does not matter."""
        await cloud.records.put(Put(KEY, BEFORE))
        other = self.meanwhile(cloud, NEW, {"a": {"N": "5"}})
        cloud.between.disturb(Fault(Kind.LOSE_REPLY, operation="TransactWriteItems", meanwhile=other))

        assert await cloud.records.atomically([Put(NEW, {"a": 1}, when=(Absent(),)), Update(KEY, add={"n": 1})])

        assert await stored(cloud) == ({**BEFORE, "n": 2}, {"a": 5})


class TestBatches:
    async def test_what_was_left_undone_is_asked_for_again(self, cloud: Cloud) -> None:
        """DynamoDB may do a part of a batch and say so."""
        keys = [Key("p", f"{n:03d}") for n in range(130)]
        cloud.between.disturb(
            Fault(Kind.PARTIAL, operation="BatchWriteItem", times=4),
            Fault(Kind.PARTIAL, operation="BatchGetItem", times=3),
        )

        await cloud.records.put_many([Put(key, {"s": key.sort}) for key in keys])

        assert await cloud.records.get_many(keys) == {key: {"s": key.sort} for key in keys}
        assert sum(1 for call in cloud.between.calls if call.fault) == 7


class TestTooLarge:
    @pytest.mark.parametrize(
        "write",
        [
            lambda records, item: records.put(Put(NEW, item)),
            lambda records, item: records.put(Put(NEW, item, when=(Absent(),))),
            lambda records, item: records.put_many([Put(NEW, item)]),
            lambda records, item: records.update(Update(KEY, set=item)),
            lambda records, item: records.atomically([Put(NEW, item)]),
        ],
        ids=["put", "put_if", "put_many", "update", "atomically"],
    )
    async def test_an_item_over_400_kilobytes_is_a_mistake_of_ours(
        self, cloud: Cloud, write: Callable[..., Awaitable[Any]]
    ) -> None:
        """Trying it again would never help, so it is no outage (DynamoDB quotas: item size)."""
        with pytest.raises(ValueError, match="size"):
            await write(cloud.records, {"a": "x" * 410_000})

        assert len(cloud.between.calls) == 1


class TestExpiredItem:
    """An expired item that DynamoDB has not deleted yet lies in the way."""

    async def put_expired(self, cloud: Cloud) -> None:
        """Leave one under the key."""
        await cloud.records.put(Put(KEY, {"n": 5}, cloud.clock() + timedelta(minutes=1)))
        cloud.advance(timedelta(minutes=1))
        cloud.between.forget()

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    async def test_is_replaced_once_by_an_add(self, cloud: Cloud, kind: Kind) -> None:
        """The put that replaces it survives faults as any put does."""
        await self.put_expired(cloud)
        cloud.between.disturb(Fault(kind, operation="PutItem"))

        assert await cloud.records.update(Update(KEY, add={"n": 1})) == {"n": 1}

        assert await cloud.records.get(KEY) == {"n": 1}

    async def test_does_not_hinder_a_group(self, cloud: Cloud) -> None:
        """An update in a transaction makes a new item in its place."""
        await self.put_expired(cloud)

        assert await cloud.records.atomically([Update(KEY, add={"n": 1}), Put(NEW, {})])

        assert await stored(cloud) == ({"n": 1}, {})

    async def test_fails_conditions_in_a_group(self, cloud: Cloud) -> None:
        """What has expired does not exist."""
        await self.put_expired(cloud)

        assert not await cloud.records.atomically([Update(KEY, set={"n": 1}, when=(Exists(),)), Put(NEW, {})])

        assert await stored(cloud) == (None, None)
