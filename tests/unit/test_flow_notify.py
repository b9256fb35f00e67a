"""Notify: every event reaches every endpoint that wants it, once, whatever the endpoint or this process does."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import StorageUnavailable
from shared.domain.event import EventKind
from shared.domain.ids import ServerId
from shared.domain.parcel import MAX_NOTICES, Parcel
from shared.domain.webhook_retry import DISABLED_AFTER, TRIPS_AFTER, WAITS
from shared.flow.endpoints import EndpointChanges, rotate_secret, update_endpoint
from shared.flow.lanes import MOST_INSIDE
from shared.flow.notify import LEASE, notify
from shared.network import HTTPAnswer
from shared.ports import Outgoing
from shared.store.keys import endpoint_key
from tests.fakes.eventually import eventually
from tests.fakes.http import FakeHTTP, Posted, answer
from tests.fakes.notifying import Hooks, notifying_of, open_hooks

HORIZON = sum(WAITS, timedelta(0)) * 1.1


class Killed(BaseException):
    """The process ends here: nothing of ours catches it."""


def failing(status: int = 500, **headers: str) -> FakeHTTP:
    """Return an endpoint that fails."""
    return FakeHTTP(lambda _: answer(status, b"no", **headers))


async def told(hooks: Hooks, number: int = 1, kind: EventKind = EventKind.DELIVERED) -> Sequence[str]:
    """Hand on events of so many messages and return their ids."""
    messages = [await hooks.here.accept_one(f"user{each}@dest.test") for each in range(number)]
    events = [hooks.event(message, kind) for message in messages]
    await hooks.tell(*events)
    return [str(event.id) for event in events]


class TestHandOn:
    async def test_tells_each_endpoint_what_it_wants(self) -> None:
        """A subscription is a promise in both directions."""
        hooks = await open_hooks()
        await hooks.endpoint(url="https://all.example.com/")
        await hooks.endpoint(url="https://opens.example.com/", events=["MessageOpened"])
        off, _ = await hooks.endpoint(url="https://off.example.com/")
        changes = EndpointChanges(enabled=False)
        here = hooks.here
        await update_endpoint(
            here.server, off.id, changes, records=here.records, keyring=here.stores.keyring, allowed=()
        )
        message = await here.accept_one()

        await hooks.tell(hooks.event(message), hooks.event(message, EventKind.OPENED))
        await hooks.deliver()

        got = sorted((each.url, json.loads(each.body)["event"]) for each in hooks.http.posted)
        assert got == [
            ("https://all.example.com/", "MessageDelivered"),
            ("https://all.example.com/", "MessageOpened"),
            ("https://opens.example.com/", "MessageOpened"),
        ]

    async def test_other_servers_endpoints_hear_nothing(self) -> None:
        """One tenant's mail is no business of another's."""
        hooks = await open_hooks()
        await hooks.endpoint()
        message = await hooks.here.accept_one()
        foreign = hooks.event(message)

        await hooks.tell(replace(foreign, server_id=ServerId(99)))

        assert await hooks.take() == []

    async def test_packs_many_events_into_few_messages(self) -> None:
        """Each message on a queue is paid for."""
        hooks = await open_hooks()
        await hooks.endpoint()

        await told(hooks, 2 * MAX_NOTICES + 1)

        sizes = [len(Parcel.from_json(body).notices) for body, _ in await hooks.take()]
        assert sorted(sizes) == [1, MAX_NOTICES, MAX_NOTICES]

    async def test_the_same_events_twice_are_delivered_once(self) -> None:
        """Whoever hands on may die before he notes it, and does it again."""
        hooks = await open_hooks()
        await hooks.endpoint()
        message = await hooks.here.accept_one()
        for _ in range(2):
            await hooks.tell(hooks.event(message))

        await hooks.deliver()

        assert len(hooks.http.posted) == 1


class TestNotify:
    async def test_a_parcel_delivered_twice_is_sent_once(self) -> None:
        """SQS delivers at least once: after a success nothing may be sent again, at once or later."""
        hooks = await open_hooks()
        await hooks.endpoint()
        [event_id] = await told(hooks)
        [(body, _)] = await hooks.take()
        other = notifying_of(hooks.here, hooks.http)

        first = await asyncio.gather(*(notify(Parcel.from_json(body), using=each) for each in (hooks.notifying, other)))
        hooks.here.clock.advance(LEASE * 2)
        again = await notify(Parcel.from_json(body), using=other)

        assert sorted(first) == [False, True] or first == [True, True]
        assert again is True
        assert hooks.ids() == [event_id]

    async def test_killed_after_the_answer_it_is_sent_again_with_the_same_id(self) -> None:
        """Between the answer and the record lies the only moment at which something is sent twice."""
        hooks = await open_hooks()
        await hooks.endpoint()
        [event_id] = await told(hooks)

        def die(_: Posted) -> HTTPAnswer:
            raise Killed

        hooks.http.script = die
        with pytest.raises(Killed):
            await hooks.deliver()
        hooks.http.script = None
        await hooks.pass_time(LEASE + timedelta(minutes=2))

        assert hooks.ids() == [event_id, event_id]

    async def test_killed_before_the_next_attempt_was_on_its_way_nothing_is_lost(self) -> None:
        """The record knows what is left: whoever finds it does what was left out."""
        hooks = await open_hooks(failing())
        await hooks.endpoint()
        [event_id] = await told(hooks)
        [(body, receipt)] = await hooks.take()
        queue = hooks.queue
        send = queue.send

        async def gone(messages: Sequence[Outgoing]) -> None:
            raise StorageUnavailable("away")

        queue.send = gone  # type: ignore[method-assign]
        with pytest.raises(StorageUnavailable):
            await notify(Parcel.from_json(body), using=hooks.notifying)
        queue.send = send  # type: ignore[method-assign]
        hooks.http.script = None
        assert await notify(Parcel.from_json(body), using=hooks.notifying)
        await queue.delete([receipt])
        await hooks.pass_time(timedelta(minutes=1))

        assert hooks.ids() == [event_id, event_id]

    async def test_what_an_endpoint_took_is_not_sent_again(self) -> None:
        """Of a parcel only what failed is retried."""
        hooks = await open_hooks()
        await hooks.endpoint()
        ids = await told(hooks, 4)
        hooks.http.script = lambda posted: answer(500 if posted.headers["webhook-id"] == ids[2] else 200)
        await hooks.deliver()

        hooks.http.script = None
        await hooks.pass_time(timedelta(minutes=5))

        assert sorted(hooks.ids()) == sorted([*ids, ids[2]])

    async def test_down_for_the_whole_horizon_everything_comes_with_the_same_ids(self) -> None:
        """Three days of outage lose nothing."""
        hooks = await open_hooks(failing(0))
        endpoint, _ = await hooks.endpoint()
        ids = await told(hooks, 30)
        await hooks.deliver()
        await hooks.pass_time(HORIZON, step=timedelta(minutes=20))
        tried = len(hooks.http.posted)
        hooks.http.posted.clear()

        hooks.http.script = None
        await hooks.pass_time(WAITS[-1] * 1.2, step=timedelta(minutes=20))

        assert sorted(hooks.ids()) == sorted(ids)
        assert tried < 30 * 3, "a dead endpoint was asked for every event on every attempt"
        assert (await hooks.stored(endpoint)).failing_since is None

    async def test_five_days_of_failure_disable_it_and_the_others_are_told(self) -> None:
        """Nobody sends for ever to what is never there."""
        hooks = await open_hooks(failing(503))
        endpoint, _ = await hooks.endpoint()
        await told(hooks)
        await hooks.deliver()

        await hooks.pass_time(DISABLED_AFTER + WAITS[-1] * 2, step=timedelta(minutes=30))

        stored = await hooks.stored(endpoint)
        assert (stored.enabled, stored.disabled_reason) == (False, "Every delivery has failed for five days.")
        kinds = [json.loads(each)["kind"] for each in await hooks.here.take_events()]
        assert [each for each in kinds if each != "accepted"] == ["endpoint_disabled"]

    async def test_410_disables_at_once(self) -> None:
        """Gone is meant for ever (RFC 9110 §15.5.11)."""
        hooks = await open_hooks(failing(410))
        endpoint, _ = await hooks.endpoint()
        await told(hooks)

        await hooks.deliver()
        await hooks.pass_time(timedelta(hours=1))

        assert not (await hooks.stored(endpoint)).enabled
        assert len(hooks.http.posted) == 1

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 500])
    async def test_everything_but_2xx_is_tried_again(self, status: int) -> None:
        """A redirect is no delivery: it is never followed."""
        hooks = await open_hooks(failing(status, location="http://169.254.169.254/"))
        await hooks.endpoint()
        [event_id] = await told(hooks)
        await hooks.deliver()

        hooks.http.script = None
        await hooks.pass_time(timedelta(minutes=2))

        assert hooks.ids() == [event_id, event_id]

    async def test_retry_after_is_honoured_for_everything(self) -> None:
        """429 says that there is too much: no other event may come before the time either."""
        hooks = await open_hooks(failing(429, retry_after="1800"))
        await hooks.endpoint()
        await told(hooks)
        await hooks.deliver()
        await told(hooks)

        await hooks.pass_time(timedelta(minutes=28))
        before = len(hooks.http.posted)
        hooks.http.script = None
        await hooks.pass_time(timedelta(hours=1))

        assert before == 1
        assert len(set(hooks.ids())) == 2
        assert len(hooks.http.posted) == 3

    async def test_deleted_endpoint_ends_what_waits_for_it(self) -> None:
        """Who deletes it wants to hear nothing more."""
        hooks = await open_hooks()
        endpoint, _ = await hooks.endpoint()
        await told(hooks)
        await hooks.notifying.endpoints.remove(endpoint.server_id, endpoint.id)

        await hooks.deliver()

        assert hooks.http.posted == []
        assert await hooks.take() == []

    async def test_every_attempt_is_logged(self) -> None:
        """Status, time and the first words of the answer are what a developer asks for."""
        hooks = await open_hooks(FakeHTTP(lambda _: answer(500, b"x" * 5000, took_ms=12)))
        endpoint, _ = await hooks.endpoint()
        [event_id] = await told(hooks)
        await hooks.deliver()
        hooks.http.script = lambda _: answer(200, b"fine \xff\x00")
        await hooks.pass_time(timedelta(minutes=1))

        second, first = await hooks.attempts(endpoint)

        assert (first.status, first.took_ms, first.answer, first.attempt) == (500, 12, "x" * 200, 1)
        assert (second.status, second.event_id, second.attempt) == (200, event_id, 2)
        assert second.answer.startswith("fine")

    async def test_the_log_of_a_parcel_is_bounded(self) -> None:
        """No item grows without end, however long an endpoint fails."""
        hooks = await open_hooks(failing(500))
        endpoint, _ = await hooks.endpoint()
        await told(hooks, MAX_NOTICES)
        await hooks.deliver()

        await hooks.pass_time(DISABLED_AFTER, step=timedelta(minutes=30))

        page = await hooks.here.records.query(f"parcels#{endpoint.server_id}#{endpoint.id}")
        assert max(len(json.dumps(item)) for _, item in page.items) < 200_000


class TestIsolation:
    async def test_a_hanging_endpoint_holds_only_few(self) -> None:
        """Its parcels are put off; everybody else's go out at once."""
        hooks = await open_hooks()
        dead, _ = await hooks.endpoint(url="https://dead.example.com/")
        await hooks.endpoint(url="https://fast.example.com/")
        released = asyncio.Event()

        async def hang(_: Posted) -> HTTPAnswer:
            await released.wait()
            return answer(0)

        hooks.http.script = lambda posted: hang(posted) if "dead" in posted.url else answer(200)
        for _ in range(40):
            await told(hooks)
        taken = await hooks.take()

        hooks.notifying.lanes.patience_s = 20
        work = [asyncio.create_task(notify(Parcel.from_json(body), using=hooks.notifying)) for body, _ in taken]
        await eventually(lambda: sum("fast" in each.url for each in hooks.http.posted) == 40)

        assert sum("dead" in each.url for each in hooks.http.posted) <= MOST_INSIDE
        released.set()
        await asyncio.gather(*work)
        lane = hooks.notifying.lanes.of(await hooks.stored(dead))
        assert lane.paused(hooks.here.clock())

    async def test_what_finds_no_room_comes_again_soon(self) -> None:
        """Waiting would hold up the run, and with it the parcels of others."""
        hooks = await open_hooks()
        await hooks.endpoint()
        hooks.notifying.lanes.patience_s = 0
        ids = [event_id for _ in range(MOST_INSIDE + 3) for event_id in await told(hooks)]
        released = asyncio.Event()

        async def hang(_: Posted) -> HTTPAnswer:
            await released.wait()
            return answer(200)

        hooks.http.script = hang
        work = [
            asyncio.create_task(notify(Parcel.from_json(body), using=hooks.notifying)) for body, _ in await hooks.take()
        ]
        await eventually(lambda: sum(task.done() for task in work) == 3)
        released.set()
        await asyncio.gather(*work)
        hooks.here.clock.advance(timedelta(seconds=5))
        await hooks.deliver()

        assert sorted(hooks.ids()) == sorted(ids)

    async def test_a_pause_is_known_to_other_processes(self) -> None:
        """Each of many functions would otherwise find out by itself, for thirty seconds each time."""
        hooks = await open_hooks(failing(0))
        await hooks.endpoint()
        for _ in range(TRIPS_AFTER):
            await told(hooks)
        await hooks.deliver()
        asked = len(hooks.http.posted)
        await told(hooks)

        [(body, _)] = await hooks.take()
        await notify(Parcel.from_json(body), using=notifying_of(hooks.here, hooks.http))

        assert asked == TRIPS_AFTER
        assert len(hooks.http.posted) == asked

    async def test_after_a_pause_one_event_decides(self) -> None:
        """An endpoint that comes back is not flooded, and one that does not is asked once."""
        hooks = await open_hooks(failing(0))
        await hooks.endpoint()
        await told(hooks, MAX_NOTICES)
        await hooks.deliver()
        first = len(hooks.http.posted)
        await hooks.pass_time(timedelta(seconds=15), step=timedelta(seconds=15))

        assert first < MAX_NOTICES
        assert len(hooks.http.posted) == first + 1


class TestSecrets:
    async def test_both_sign_during_a_rotation(self) -> None:
        """A receiver changes its configuration when it likes, within a day."""
        hooks = await open_hooks()
        endpoint, old = await hooks.endpoint()
        here = hooks.here
        issued = await rotate_secret(
            here.server, endpoint.id, records=here.records, keyring=here.stores.keyring, rng=hooks.rng, now=here.clock()
        )
        await told(hooks)
        await hooks.deliver()
        here.clock.advance(timedelta(days=2))
        await told(hooks)
        await hooks.deliver()

        during, after = (each.headers["webhook-signature"].split() for each in hooks.http.posted)
        assert issued.secret != old
        assert (len(during), len(after)) == (2, 1)

    async def test_nothing_secret_is_stored_readable(self) -> None:
        """A stolen database gives nobody our customers' endpoints."""
        hooks = await open_hooks()
        endpoint, secret = await hooks.endpoint(headers=["Authorization: Bearer sesame"])

        item = await hooks.here.records.get(endpoint_key(endpoint.server_id, endpoint.id))

        stored = json.dumps(item)
        assert secret not in stored
        assert "sesame" not in stored
