"""Claim, settle, hold and due: every step done twice, and every crash between two steps."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import NotFound, WrongState
from shared.domain.ids import MessageId
from shared.domain.message import Evidence, Status
from shared.domain.outcome import HardFail, Held, Outcome, Postponed, Sent, SoftFail
from shared.flow.claim import LEASE, MAX_CLAIMS, MAX_LOOKS, RECORD_MAY_COME, Claimed, Dropped, Later, Settled, claim
from shared.flow.due import Scheduling, do_due
from shared.flow.hold import CANCELLED, cancel, held, release
from shared.flow.settle import ABANDONED, complete, settle
from shared.ports import Update
from shared.settings import Settings
from shared.store.keys import message_key
from tests.fakes.installation import Installation, install

TOOK = timedelta(seconds=1)


async def try_claim(here: Installation, job: object, sent_at: object, receives: int = 1) -> object:
    """Try to claim for a job now."""
    return await claim(
        job,  # type: ignore[arg-type]
        sent_at=sent_at,  # type: ignore[arg-type]
        receives=receives,
        directory=here.directory,
        messages=here.messages,
        now=here.clock(),
    )


async def attempt(here: Installation, outcome: Outcome) -> Claimed:
    """Claim the one waiting job, settle it with the outcome, delete the job."""
    [(job, received)] = await here.take_jobs(1)
    claimed = await try_claim(here, job, received.sent_at)
    assert isinstance(claimed, Claimed)
    assert await settle(claimed, outcome, took=TOOK, using=here.settling, now=here.clock())
    await here.work.delete([received.receipt])
    return claimed


async def tick(here: Installation) -> int:
    """Run the every-minute stage now."""
    return await do_due(using=Scheduling(here.settling, here.directory), now=here.clock())


def kinds(events: list[str]) -> list[str]:
    """Return the kinds of events."""
    return [json.loads(event)["kind"] for event in events]


class TestClaim:
    async def test_one_of_two_gets_it(self) -> None:
        """A job that the queue delivers twice is attempted once."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()

        first = await try_claim(here, job, received.sent_at)
        second = await try_claim(here, job, received.sent_at)

        assert isinstance(first, Claimed)
        assert not first.abandoned
        assert second == Later(LEASE)

    async def test_the_work_of_a_dead_node_comes_back(self) -> None:
        """A lease ends by itself, and the next node knows of the abandoned attempt."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        await try_claim(here, job, received.sent_at)
        here.clock.advance(LEASE + timedelta(seconds=1))

        taken_over = await try_claim(here, job, received.sent_at)

        assert isinstance(taken_over, Claimed)
        assert taken_over.abandoned

    async def test_a_message_that_kills_nodes_is_poison(self) -> None:
        """After five abandoned claims nobody should try a sixth time."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        for _ in range(MAX_CLAIMS):
            claimed = await try_claim(here, job, received.sent_at)
            assert isinstance(claimed, Claimed)
            assert not claimed.poison
            here.clock.advance(LEASE + timedelta(seconds=1))

        last = await try_claim(here, job, received.sent_at)

        assert isinstance(last, Claimed)
        assert last.poison

    async def test_a_job_without_a_record_is_dropped_in_the_end(self) -> None:
        """It was never promised: its accept died before the record."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        orphan = replace(job, message_id=MessageId(job.message_id + 1))

        early = await try_claim(here, orphan, received.sent_at)
        here.clock.advance(RECORD_MAY_COME + timedelta(seconds=1))
        late = await try_claim(here, orphan, received.sent_at, MAX_LOOKS + 1)

        assert isinstance(early, Later)
        assert early.soon
        assert late == Dropped()

    async def test_an_attempt_that_was_settled_is_not_made_again(self) -> None:
        """A job delivered an hour after Sent must not send."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        claimed = await try_claim(here, job, received.sent_at)
        assert isinstance(claimed, Claimed)
        await settle(claimed, Sent("ok", "250 ok"), took=TOOK, using=here.settling, now=here.clock())

        assert isinstance(await try_claim(here, job, received.sent_at), Settled)


class TestSettle:
    @pytest.mark.parametrize(
        ("outcome", "status", "kind"),
        [
            (Sent("accepted", "250 ok"), Status.SENT, "delivered"),
            (SoftFail("busy", "451 later"), Status.SOFT_FAIL, "delayed"),
            (HardFail("unknown", "550 no"), Status.HARD_FAIL, "failed"),
            (Held("Server is in development mode."), Status.HELD, "held"),
        ],
    )
    async def test_an_outcome_becomes_status_row_and_event(self, outcome: Outcome, status: Status, kind: str) -> None:
        """Whoever looks at the message sees what the event says."""
        here = await install()
        message = await here.accept_one()

        await attempt(here, outcome)

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        after, [row] = found
        assert (after.status, after.attempt, after.lease_until, after.claims) == (status, 2, None, 0)
        assert (row.status, row.details, row.attempt) == (status, outcome.details, 1)  # type: ignore[union-attr]
        assert kinds(await here.take_events()) == [kind]

    async def test_a_long_wait_is_told_once(self) -> None:
        """A limit of ours that holds mail up for an hour is worth knowing; every ten minutes it is not."""
        here = await install()
        await here.accept_one()

        for _ in range(12):
            await attempt(here, Postponed(here.clock() + timedelta(minutes=10), "the limit is reached"))
            here.clock.advance(timedelta(minutes=10))

        assert kinds(await here.take_events()) == ["postponed"]

    async def test_evidence_is_kept(self) -> None:
        """The SMTP conversation of every attempt can be read later."""
        here = await install()
        message = await here.accept_one()
        evidence = Evidence("mx.dest.test", "192.0.2.1", "192.0.2.9", 250, "2.0.0", "TLSv1.3 X", "> EHLO")

        await attempt(here, Sent("accepted", "250 ok", evidence))

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        assert found[1][0].evidence == evidence
        assert found[1][0].duration == TOOK

    async def test_a_lost_claim_writes_nothing(self) -> None:
        """A node that slept through its lease must not overwrite what another wrote."""
        here = await install()
        message = await here.accept_one()
        slow = await here.claim_one()
        here.clock.advance(LEASE + timedelta(seconds=1))
        fast = await here.claim_one()
        assert await settle(fast, Sent("ok", "250"), took=TOOK, using=here.settling, now=here.clock())

        written = await settle(slow, HardFail("no", "550"), took=TOOK, using=here.settling, now=here.clock())

        assert not written
        assert (await here.message(message.id)).status is Status.SENT

    async def test_an_abandoned_attempt_leaves_a_row(self) -> None:
        """It may have been sent more than once, and people must be able to see that."""
        here = await install()
        message = await here.accept_one()
        await here.claim_one()
        here.clock.advance(LEASE + timedelta(seconds=1))

        await attempt(here, Sent("ok", "250"))

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        assert [(row.status, row.details) for row in found[1]] == [
            (Status.SOFT_FAIL, ABANDONED),
            (Status.SENT, "ok"),
        ]

    async def test_postponed_costs_nothing(self) -> None:
        """Limits of ours are no attempt: no row, no event, the same attempt again."""
        here = await install()
        message = await here.accept_one()

        await attempt(here, Postponed(here.clock() + timedelta(seconds=10), "crowded"))
        here.clock.advance(timedelta(seconds=11))

        assert await here.take_events() == []
        assert (await here.message(message.id)).deliveries == 0
        [(job, _)] = await here.take_jobs()
        assert job.attempt == 1

    async def test_what_follows_is_repeated_after_a_crash(self) -> None:
        """Killed between the record and the job: the next node completes it, once."""
        here = await install()
        await here.accept()
        [(job, received)] = await here.take_jobs()
        claimed = await try_claim(here, job, received.sent_at)
        assert isinstance(claimed, Claimed)
        await settle(claimed, SoftFail("busy", "451"), took=TOOK, using=here.settling, now=here.clock())
        first = await here.take_events()

        found = await try_claim(here, job, received.sent_at)
        assert isinstance(found, Settled)
        rows = await here.messages.with_deliveries(here.server, found.message.id)
        assert rows is not None
        await complete(found.tenant, found.message, rows[1], using=here.settling, now=here.clock())

        again = await here.take_events()
        assert [json.loads(event)["id"] for event in again] == [json.loads(event)["id"] for event in first]

    async def test_a_remote_may_say_when_to_come_again(self) -> None:
        """Postal reads "… 300 seconds" and "… 5 minutes" from replies."""
        here = await install()
        message = await here.accept_one()

        await attempt(here, SoftFail("greylisted", "451 in 1 minutes", retry_after=timedelta(seconds=70)))

        assert (await here.message(message.id)).next_attempt_at == here.clock() + timedelta(seconds=70)


class TestRetries:
    async def test_eighteen_attempts_then_the_end(self) -> None:
        """Five minutes growing by 1.3: a day of tries, every one of them made, then HardFail."""
        here = await install()
        message = await here.accept_one()
        started = here.clock()
        await tick(here)

        for _ in range(18):
            await attempt(here, SoftFail("busy", "451 later"))
            after = await here.message(message.id)
            if after.status is Status.HARD_FAIL:
                break
            assert after.next_attempt_at is not None
            here.clock.advance(after.next_attempt_at - here.clock())
            await tick(here)

        found = await here.messages.with_deliveries(here.server, message.id)
        assert found is not None
        assert [row.status for row in found[1]] == [Status.SOFT_FAIL] * 17 + [Status.HARD_FAIL]
        assert "Given up after 18 attempts" in found[1][-1].details
        assert timedelta(hours=23) < here.clock() - started < timedelta(hours=28)
        assert await here.take_jobs() == []

    async def test_long_waits_survive_a_stopped_schedule(self) -> None:
        """After hours without the every-minute stage nothing due was skipped."""
        here = await install(Settings(first_retry=timedelta(hours=1)))
        await here.accept()
        await tick(here)
        await attempt(here, SoftFail("busy", "451"))
        here.clock.advance(timedelta(hours=9))

        done = await tick(here)

        assert done == 1
        assert [job.attempt for job, _ in await here.take_jobs()] == [2]
        assert await tick(here) == 0

    async def test_an_entry_for_a_finished_minute_is_sent_at_once(self) -> None:
        """A node that was stopped while it wrote the entry would put it where nobody looks."""
        here = await install(Settings(first_retry=timedelta(hours=1)))
        await here.accept()
        await tick(here)
        claimed = await here.claim_one()
        wrote_at = here.clock()
        here.clock.advance(timedelta(hours=2))
        await tick(here)

        await settle(claimed, SoftFail("busy", "451"), took=TOOK, using=here.settling, now=wrote_at)

        assert 2 in [job.attempt for job, _ in await here.take_jobs()]


class TestHolds:
    async def held_message(self, here: Installation) -> MessageId:
        """Accept a message and hold it."""
        message = await here.accept_one()
        await attempt(here, Held("Server is in development mode."))
        await here.take_events()
        return message.id

    async def test_release_sends_it_after_all(self) -> None:
        """Released once, it is claimed once, and knows that it was released."""
        here = await install()
        message_id = await self.held_message(here)
        assert [each.id for each in (await held(here.server, using=here.settling)).messages] == [message_id]

        await release(here.server, message_id, using=here.settling)

        claimed = await here.claim_one()
        assert claimed.message.released
        assert (await held(here.server, using=here.settling)).messages == []

    async def test_a_job_of_a_message_still_held_waits(self) -> None:
        """The job of a release may overtake its record; it must neither send nor vanish."""
        here = await install()
        message_id = await self.held_message(here)
        before = await here.message(message_id)
        await release(here.server, message_id, using=here.settling)
        [(job, received)] = await here.take_jobs()
        still_held = Update(message_key(here.server, before.direction, before.id), set={"held": True})
        await here.records.update(still_held)

        assert isinstance(await try_claim(here, job, received.sent_at), Later)

    async def test_release_twice_is_refused(self) -> None:
        """The second one finds nothing held."""
        here = await install()
        message_id = await self.held_message(here)
        await release(here.server, message_id, using=here.settling)

        with pytest.raises(WrongState):
            await release(here.server, message_id, using=here.settling)
        with pytest.raises(NotFound):
            await release(here.server, MessageId(1), using=here.settling)

    async def test_cancel_ends_it_unsent(self) -> None:
        """Postal's words, one event, and nothing that could be sent."""
        here = await install()
        message_id = await self.held_message(here)

        await cancel(here.server, message_id, using=here.settling, now=here.clock())

        found = await here.messages.with_deliveries(here.server, message_id)
        assert found is not None
        assert (found[0].status, found[1][-1].details) == (Status.HOLD_CANCELLED, CANCELLED)
        assert kinds(await here.take_events()) == ["hold_cancelled"]
        [(job, received)] = await here.take_jobs()
        assert isinstance(await try_claim(here, job, received.sent_at), Settled)

    async def test_a_hold_expires_after_seven_days(self) -> None:
        """Nobody looked: it ends unsent, as in Postal."""
        here = await install()
        await tick(here)
        message_id = await self.held_message(here)
        here.clock.advance(timedelta(days=7, seconds=1))

        await tick(here)
        await tick(here)

        assert (await here.message(message_id)).status is Status.HOLD_CANCELLED
        assert kinds(await here.take_events()) == ["hold_cancelled"]

    async def test_expiry_leaves_released_mail_alone(self) -> None:
        """The entry of an old hold must not cancel what was sent since."""
        here = await install()
        await tick(here)
        message_id = await self.held_message(here)
        await release(here.server, message_id, using=here.settling)
        await attempt(here, Sent("ok", "250"))
        here.clock.advance(timedelta(days=7, seconds=1))

        await tick(here)

        assert (await here.message(message_id)).status is Status.SENT
