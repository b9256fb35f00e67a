"""Faults around claims, holds and the schedule: nothing is lost, nothing waits for ever, nothing blocks the others."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.domain.errors import StorageUnavailable, WrongState
from shared.domain.ids import MessageId
from shared.domain.job import Job, ToMX
from shared.domain.message import Status
from shared.domain.outcome import Held, Postponed, Sent, SoftFail
from shared.flow.claim import LEASE, RECORD_MAY_COME, Claim, Dropped, Later, Settled, claim
from shared.flow.due import Scheduling, do_due
from shared.flow.hold import cancel, held, release
from shared.flow.settle import ABANDONED, complete, settle
from shared.ports import Outgoing, Received
from shared.settings import Settings
from shared.store.schedule import Entry
from tests.fakes.installation import Installation, install

TOOK = timedelta(seconds=1)
MOST_RECEIVES = 50


async def look(here: Installation, job: Job, received: Received, receives: int, now: datetime | None = None) -> Claim:
    """Try to claim on the numbered receive of a job."""
    return await claim(
        job,
        sent_at=received.sent_at,
        receives=receives,
        directory=here.directory,
        messages=here.messages,
        now=now or here.clock(),
    )


async def tick(here: Installation) -> int:
    """Run the every-minute stage now."""
    return await do_due(using=Scheduling(here.settling, here.directory), now=here.clock())


async def hold_one(here: Installation) -> MessageId:
    """Accept a message, hold it, and clear both queues."""
    message = await here.accept_one()
    [(job, received)] = await here.take_jobs()
    found = await look(here, job, received, 1)
    await settle(found, Held("Waits."), took=TOOK, using=here.settling, now=here.clock())  # type: ignore[arg-type]
    await here.work.delete([received.receipt])
    await here.take_events()
    return message.id


class TestLookingAgain:
    async def test_a_missing_record_is_awaited_without_becoming_a_dead_letter(self) -> None:
        """Five minutes of looking stay far below the queue's limit, so a slow accept loses nothing."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        orphan = replace(job, message_id=MessageId(job.message_id + 1))
        receives, started = 1, here.clock()

        while isinstance(found := await look(here, orphan, received, receives), Later):
            here.clock.advance(found.wait)
            receives += 1

        assert found == Dropped()
        assert receives < MOST_RECEIVES / 2
        assert RECORD_MAY_COME < here.clock() - started < 2 * RECORD_MAY_COME

    @pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(days=2)])
    async def test_a_node_with_a_fast_clock_does_not_drop_new_jobs(self, skew: timedelta) -> None:
        """The job may be seen a millisecond before its record, whatever this node thinks of the time."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        orphan = replace(job, message_id=MessageId(job.message_id + 1))

        assert isinstance(await look(here, orphan, received, 1, here.clock() + skew), Later)

    async def test_the_job_of_a_release_that_died_is_dropped(self) -> None:
        """Its message is still held and can be released again; a dead letter would help nobody."""
        here = await install()
        message_id = await hold_one(here)
        held_message = await here.message(message_id)
        job = Job(here.server.id, message_id, held_message.attempt, ToMX("dest.test"))
        await here.work.send([Outgoing(job.to_json())])
        [(_, received)] = await here.take_jobs()
        receives = 1

        while isinstance(found := await look(here, job, received, receives), Later):
            here.clock.advance(found.wait)
            receives += 1

        assert found == Dropped()
        assert receives < MOST_RECEIVES / 2


class TestHoldRaces:
    async def test_a_cancel_that_loses_against_a_release_reports_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message goes out, so nobody may hear that it was cancelled."""
        here = await install()
        message_id = await hold_one(here)
        leave_hold = type(here.messages).leave_hold

        async def after_a_release(messages: object, *args: object) -> object:
            monkeypatch.undo()
            await release(here.server, message_id, using=here.settling)
            return await leave_hold(messages, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(type(here.messages), "leave_hold", after_a_release)

        with pytest.raises(WrongState):
            await cancel(here.server, message_id, using=here.settling, now=here.clock())

        assert await here.take_events() == []
        assert (await here.message(message_id)).status is Status.PENDING

    async def test_a_cancel_killed_before_its_event_is_completed_by_its_job(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the record and the event somebody must still know that the event is owed."""
        here = await install()
        message_id = await hold_one(here)

        async def dies(_messages: object) -> None:
            raise StorageUnavailable("killed here")

        monkeypatch.setattr(here.events, "send", dies)
        with pytest.raises(StorageUnavailable):
            await cancel(here.server, message_id, using=here.settling, now=here.clock())
        monkeypatch.undo()

        [(job, received)] = await here.take_jobs()
        found = await look(here, job, received, 1)
        assert isinstance(found, Settled)
        history = await here.messages.with_deliveries(here.server, message_id)
        assert history is not None
        rows = [row for row in history[1] if row.attempt == job.attempt]
        await complete(found.tenant, found.message, rows, using=here.settling, now=here.clock())
        assert [json.loads(event)["kind"] for event in await here.take_events()] == ["hold_cancelled"]

    async def test_a_message_held_again_stays_on_the_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A slow release must not take the entry of the next hold off the list."""
        here = await install()
        message_id = await hold_one(here)
        leave_hold = type(here.messages).leave_hold

        async def then_held_again(messages: object, *args: object) -> object:
            monkeypatch.undo()
            released = await leave_hold(messages, *args)  # type: ignore[arg-type]
            here.clock.advance(timedelta(seconds=5))
            claimed = await here.claim_one()
            await settle(claimed, Held("Suspended."), took=TOOK, using=here.settling, now=here.clock())
            return released

        monkeypatch.setattr(type(here.messages), "leave_hold", then_held_again)

        await release(here.server, message_id, using=here.settling)

        assert [each.id for each in (await held(here.server, using=here.settling)).messages] == [message_id]

    async def test_a_hold_completed_too_late_expires_all_the_same(self) -> None:
        """After a long stop its minute is finished already, where no schedule looks any more."""
        here = await install()
        message_id = await hold_one(here)
        message = await here.message(message_id)
        here.clock.advance(timedelta(days=8))
        for key in [key for key in here.records._kept if key.partition.startswith("due#")]:
            del here.records._kept[key]
        await tick(here)

        await complete(here.tenant, message, [], using=here.settling, now=here.clock())
        await tick(here)

        assert (await here.message(message_id)).status is Status.HOLD_CANCELLED


class TestSettling:
    async def test_an_abandoned_attempt_is_recorded_even_if_the_next_is_postponed(self) -> None:
        """Postponing forgets the claims, so the row is the last trace of it."""
        here = await install()
        message = await here.accept_one()
        await here.claim_one()
        here.clock.advance(LEASE + timedelta(seconds=1))
        claimed = await here.claim_one()

        await settle(claimed, Postponed(here.clock(), "limit"), took=TOOK, using=here.settling, now=here.clock())

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        assert [row.details for row in found[1]] == [ABANDONED]
        assert await here.take_events() == []

    async def test_short_hints_do_not_use_up_all_attempts_within_minutes(self) -> None:
        """A host that is down for an hour and always says "in 5 seconds" must not cost the mail."""
        here = await install()
        message = await here.accept_one()
        started = here.clock()

        while (await here.message(message.id)).status is not Status.HARD_FAIL:
            await tick(here)
            claimed = await here.claim_one()
            hint = SoftFail("busy", "451 try again in 5 seconds", retry_after=timedelta(seconds=15))
            await settle(claimed, hint, took=TOOK, using=here.settling, now=here.clock())
            due = (await here.message(message.id)).next_attempt_at
            here.clock.advance(max(due - here.clock(), LEASE) if due else timedelta(0))
            for _, received in await here.take_jobs():
                await here.work.extend([received.receipt], timedelta(0))
            for body in [body for body in list(here.work._messages.values()) if body.receives > 1]:
                del here.work._messages[body.number]

        assert here.clock() - started > timedelta(hours=12)


class TestDue:
    async def test_an_entry_that_cannot_be_done_holds_up_nobody(self) -> None:
        """A pool that was taken out of the settings must not stop the retries of all others."""
        here = await install(Settings(first_retry=timedelta(hours=1)))
        await tick(here)
        due = here.clock() + timedelta(minutes=30)
        lost = {"do": "send_job", "pool": "gone", "group": "1", "job": "{}"}
        await here.settling.schedule.put(Entry(due, 1, 0, 1, "job", {**lost}))
        await here.settling.schedule.put(Entry(due, 1, 1, 1, "later", {"do": "of a newer version"}))
        fine = {**lost, "pool": "default"}
        await here.settling.schedule.put(Entry(due, 1, 4, 1, "job", {**fine}))
        here.clock.advance(timedelta(hours=2))

        await tick(here)

        assert (await here.work.depth()).ready == 1
        cursor = await here.settling.schedule.cursor()
        here.clock.advance(timedelta(hours=2))
        await tick(here)
        assert (await here.work.depth()).ready == 1
        after = await here.settling.schedule.cursor()
        assert cursor is not None
        assert after is not None
        assert after > cursor

    async def test_what_could_not_be_done_is_tried_again(self) -> None:
        """Once the pool is back its mail goes out."""
        here = await install()
        await tick(here)
        due = here.clock() + timedelta(minutes=30)
        item = {"do": "send_job", "pool": "new", "group": "1", "job": "{}"}
        await here.settling.schedule.put(Entry(due, 1, 0, 1, "job", {**item}))
        here.clock.advance(timedelta(hours=1))
        await tick(here)
        here.stores.work["new"] = here.work  # type: ignore[index]
        here.clock.advance(timedelta(hours=1))

        await tick(here)

        assert (await here.work.depth()).ready == 1


class TestSent:
    async def test_a_second_copy_of_a_job_makes_no_second_copy_of_the_next(self) -> None:
        """Once the next attempt has been claimed, its job need not be sent again."""
        here = await install(Settings(first_retry=timedelta(minutes=1)))
        await here.accept()
        [(job, received)] = await here.take_jobs()
        first = await look(here, job, received, 1)
        await settle(first, SoftFail("busy"), took=TOOK, using=here.settling, now=here.clock())  # type: ignore[arg-type]
        here.clock.advance(timedelta(minutes=2))
        await here.work.delete([received.receipt])
        second = await here.claim_one()
        sent = here.work.sent

        found = await look(here, job, received, 2)
        assert isinstance(found, Settled)
        await complete(found.tenant, found.message, [], using=here.settling, now=here.clock())

        assert here.work.sent == sent
        assert await settle(second, Sent("ok", "250"), took=TOOK, using=here.settling, now=here.clock())


class TestAccept:
    async def test_an_accept_that_hung_sends_its_jobs_once_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stopped for longer than nodes wait for a record, it would answer for mail without a job."""
        monkeypatch.setattr("shared.flow.accept.SLOW_S", -1.0)
        here = await install()

        await here.accept()

        assert [job.attempt for job, _ in await here.take_jobs()] == [1, 1]
