"""Suppression lists: scopes, expiry, history, holds, and what every change tells."""

import asyncio
import json
from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue, NotFound
from shared.domain.ids import OrganizationId
from shared.domain.suppression import MAX_HISTORY, Reason, Scope, folded
from shared.flow.accept import accept
from shared.flow.suppress import Cause, Suppressing, suppress, unsuppress
from shared.ports import Key
from shared.store.suppressions import Suppressions
from tests.fakes.installation import Installation, install

ADDRESS = "user@dest.test"


def using(here: Installation) -> Suppressing:
    """Return what changing the lists needs."""
    return Suppressing.over(here.stores, here.settings)


async def put_on(here: Installation, scope: Scope, address: str = ADDRESS, **cause: object) -> None:
    """Put an address on a list by hand, unless told otherwise."""
    until = cause.pop("until", None)
    made = Cause(**({"reason": Reason.MANUAL} | cause))  # type: ignore[arg-type]
    await suppress(scope, address, made, until=until, using=using(here), now=here.clock())  # type: ignore[arg-type]


async def told(here: Installation) -> list[dict[str, object]]:
    """Return and take away the events so far."""
    return [json.loads(text) for text in await here.take_events()]


class TestHolding:
    async def test_each_scope_holds_what_is_its_own(self) -> None:
        """A tenant's list must not stop another tenant's mail, nor a stream's the receipts."""
        here = await install()
        server, organization = here.server.id, here.tenant.organization.id
        await put_on(here, Scope(server, stream="news"), "stream@dest.test")
        await put_on(here, Scope(server), "server@dest.test")
        await put_on(here, Scope(organization, organization=True), "organization@dest.test")
        await put_on(here, Scope(OrganizationId(organization + 1), organization=True), "other@dest.test")
        everybody = ["stream@dest.test", "server@dest.test", "organization@dest.test", "other@dest.test"]

        news = await Suppressions(here.records).holding(here.tenant, "news", everybody, here.clock())
        receipts = await Suppressions(here.records).holding(here.tenant, "receipts", everybody, here.clock())
        untagged = await Suppressions(here.records).holding(here.tenant, "", everybody, here.clock())

        assert sorted(news) == ["organization@dest.test", "server@dest.test", "stream@dest.test"]
        assert sorted(receipts) == sorted(untagged) == ["organization@dest.test", "server@dest.test"]

    async def test_case_does_not_matter(self) -> None:
        """Postal's collation: whoever complained as User@ must not get mail as user@."""
        here = await install()
        await put_on(here, Scope(here.server.id), "User@Dest.Test")

        found = await Suppressions(here.records).holding(here.tenant, "", ["uSER@dest.test"], here.clock())

        assert list(found) == ["uSER@dest.test"]

    async def test_ends_when_its_time_is_up(self) -> None:
        """A mailbox may come back; the entry stays for whoever asks."""
        here = await install()
        await put_on(here, Scope(here.server.id), until=here.clock() + timedelta(days=30))
        here.clock.advance(timedelta(days=30))
        suppressions = Suppressions(here.records)

        assert not await suppressions.holding(here.tenant, "", [ADDRESS], here.clock())
        assert await suppressions.get(Scope(here.server.id), ADDRESS) is not None

    async def test_costs_one_read_however_long_the_lists_are(self) -> None:
        """A million entries must cost a send nothing: keys are looked up, nothing is searched."""
        here = await install()
        for number in range(300):
            await put_on(here, Scope(here.server.id), f"u{number}@dest.test")
        asked: list[list[Key]] = []
        read = here.records.get_many

        async def counted(keys: list[Key]) -> object:
            asked.append(list(keys))
            return await read(keys)

        here.records.get_many = counted  # type: ignore[method-assign,assignment]
        here.records.query = None  # type: ignore[method-assign,assignment]  # must not be called

        await Suppressions(here.records).holding(here.tenant, "news", ["a@dest.test", "u7@dest.test"], here.clock())

        assert [len(keys) for keys in asked] == [6]


class TestSuppress:
    async def test_tells_once_why_and_whose(self) -> None:
        """Whoever listens to webhooks keeps a list in step."""
        here = await install()

        await put_on(here, Scope(here.server.id, stream="news"), reason=Reason.UNSUBSCRIBE, source="event-1")
        await put_on(here, Scope(here.server.id, stream="news"), reason=Reason.UNSUBSCRIBE, source="event-1")

        events = await told(here)
        assert len({event["id"] for event in events}) == 1
        data = events[0]["data"]
        assert isinstance(data, dict)
        assert (events[0]["kind"], data["address"], data["scope"], data["stream"], data["type"]) == (
            "suppression_added",
            ADDRESS,
            "stream",
            "news",
            "unsubscribe",
        )

    async def test_the_same_event_does_not_bring_back_what_was_taken_off(self) -> None:
        """Queues deliver again, hours later: an operator's word must stand."""
        here = await install()
        scope = Scope(here.server.id)
        await put_on(here, scope, reason=Reason.HARD_BOUNCE, source="event-1")
        await unsuppress(scope, ADDRESS, Cause(reason=Reason.MANUAL), using=using(here), now=here.clock())

        await put_on(here, scope, reason=Reason.HARD_BOUNCE, source="event-1")

        assert not await Suppressions(here.records).holding(here.tenant, "", [ADDRESS], here.clock())

    async def test_a_bounce_does_not_shorten_a_complaint(self) -> None:
        """Thirty days after a bounce the complaint would be forgotten."""
        here = await install()
        scope = Scope(here.server.id)
        await put_on(here, scope, reason=Reason.COMPLAINT, source="event-1")
        await put_on(here, scope, reason=Reason.HARD_BOUNCE, source="event-2", until=here.clock() + timedelta(days=30))

        entry = await Suppressions(here.records).get(scope, ADDRESS)

        assert entry is not None
        assert (entry.reason, entry.until) == (Reason.COMPLAINT, None)

    async def test_a_complaint_makes_a_bounce_last(self) -> None:
        """The stronger reason wins, whichever came first."""
        here = await install()
        scope = Scope(here.server.id)
        await put_on(here, scope, reason=Reason.HARD_BOUNCE, source="event-1", until=here.clock() + timedelta(days=30))
        await put_on(here, scope, reason=Reason.COMPLAINT, source="event-2")

        entry = await Suppressions(here.records).get(scope, ADDRESS)

        assert entry is not None
        assert (entry.reason, entry.until, len(entry.history)) == (Reason.COMPLAINT, None, 2)

    async def test_history_stays_and_stays_short(self) -> None:
        """An item must not grow for ever with an address that bounces every month."""
        here = await install()
        scope = Scope(here.server.id)
        for number in range(MAX_HISTORY + 5):
            await put_on(here, scope, detail=str(number), until=here.clock() + timedelta(days=1))
            here.clock.advance(timedelta(days=2))

        entry = await Suppressions(here.records).get(scope, ADDRESS)

        assert entry is not None
        assert [change.detail for change in entry.history] == [str(n) for n in range(5, MAX_HISTORY + 5)]

    async def test_two_at_once_lose_nothing(self) -> None:
        """A bounce and a complaint may be worked on in the same moment."""
        here = await install()
        scope = Scope(here.server.id)

        await asyncio.gather(
            put_on(here, scope, reason=Reason.COMPLAINT, source="event-1"),
            put_on(here, scope, reason=Reason.HARD_BOUNCE, source="event-2", until=here.clock() + timedelta(days=30)),
        )

        entry = await Suppressions(here.records).get(scope, ADDRESS)
        assert entry is not None
        assert (entry.reason, entry.until) == (Reason.COMPLAINT, None)

    @pytest.mark.parametrize(
        "address", ["", "user", "user@", "@dest.test", "a@b@c.test", "a\n@dest.test", "<a@dest.test>"]
    )
    async def test_refuses_what_is_no_address(self, address: str) -> None:
        """It would hold nobody's mail and stand in the list for ever."""
        here = await install()

        with pytest.raises(InvalidValue):
            await put_on(here, Scope(here.server.id), address)


class TestUnsuppress:
    async def test_takes_off_and_tells(self) -> None:
        """The entry stays as history."""
        here = await install()
        scope = Scope(here.server.id)
        await put_on(here, scope)
        await told(here)

        await unsuppress(scope, ADDRESS, Cause(reason=Reason.MANUAL), using=using(here), now=here.clock())

        assert not await Suppressions(here.records).holding(here.tenant, "", [ADDRESS], here.clock())
        assert [event["kind"] for event in await told(here)] == ["suppression_removed"]
        entry = await Suppressions(here.records).get(scope, ADDRESS)
        assert entry is not None
        assert [change.added for change in entry.history] == [True, False]

    async def test_twice_is_refused(self) -> None:
        """The second caller must learn that there was nothing to take off."""
        here = await install()
        cause = Cause(reason=Reason.MANUAL)

        with pytest.raises(NotFound):
            await unsuppress(Scope(here.server.id), ADDRESS, cause, using=using(here), now=here.clock())


class TestAccept:
    async def test_tells_in_the_answer_who_is_suppressed(self) -> None:
        """Postal accepts such mail without a word; ids and tokens stay as its clients expect."""
        here = await install()
        await put_on(here, Scope(here.server.id), "User@dest.test")

        answer = await accept(
            here.submission("user@DEST.test", "free@dest.test"), using=here.acceptance, now=here.clock()
        )

        assert {to: each.suppressed for to, each in answer.messages.items()} == {
            "user@DEST.test": "added by hand",
            "free@dest.test": "",
        }
        assert all(each.token for each in answer.messages.values())

    async def test_a_repeated_request_is_told_again(self) -> None:
        """The answer under an idempotency key must not hide it."""
        here = await install()
        await put_on(here, Scope(here.server.id))
        submission = here.submission(idempotency_key="k", request_digest="d")

        first = await accept(submission, using=here.acceptance, now=here.clock())
        again = await accept(submission, using=here.acceptance, now=here.clock())

        assert first == again
        assert first.messages[ADDRESS].suppressed


class TestFolded:
    def test_keeps_what_tells_people_apart(self) -> None:
        """Only case is folded: dots and plus signs are some hosts' own business."""
        assert folded("First.Last+Tag@Dest.Test") == "first.last+tag@dest.test"
