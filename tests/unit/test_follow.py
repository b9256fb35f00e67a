"""What deliveries, bounces and complaints do to the suppression lists, each event given twice."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.event import Event, EventKind
from shared.domain.ids import MessageId
from shared.domain.message import Evidence, Message
from shared.domain.outcome import HardFail, Held, Outcome, Sent, SoftFail
from shared.domain.suppression import Reason, Scope, Suppression
from shared.flow.claim import Claimed, claim
from shared.flow.follow import Following, follow
from shared.flow.hold import release
from shared.flow.settle import settle
from shared.flow.suppress import Cause, Suppressing, suppress
from shared.settings import Settings
from shared.store.suppressions import Suppressions
from tests.fakes.installation import Installation, install

UNKNOWN = HardFail("refused", "550 5.1.1 no such user", Evidence(smtp_code=550, enhanced_code="5.1.1"))
POLICY = HardFail("refused", "554 5.7.1 policy", Evidence(smtp_code=554, enhanced_code="5.7.1"))
BODY_GONE = HardFail("Raw message has been removed. Cannot send message.")
GREYLISTED = SoftFail("later", "450 4.2.0 later", Evidence(smtp_code=450, enhanced_code="4.2.0"))
STORE_AWAY = SoftFail("away", evidence=Evidence(enhanced_code="4.3.0"))


def following(here: Installation) -> Following:
    """Return what following needs."""
    return Following(Suppressing.over(here.stores, here.settings), here.directory, here.messages)


async def see(here: Installation, *events: Event) -> None:
    """Follow events as the queue brings them: twice."""
    for _ in range(2):
        await follow(events, using=following(here), now=here.clock())


async def attempt(here: Installation, outcome: Outcome) -> Message:
    """Send a message to an outcome, and follow its event."""
    message = await here.accept_one(tag="news")
    await end(here, outcome)
    return message


async def end(here: Installation, outcome: Outcome) -> None:
    """Settle the waiting attempt, and follow its event."""
    [(job, received)] = await here.take_jobs(1)
    claimed = await claim(
        job,
        sent_at=received.sent_at,
        receives=1,
        directory=here.directory,
        messages=here.messages,
        now=here.clock(),
    )
    assert isinstance(claimed, Claimed)
    await here.work.delete([received.receipt])
    assert await settle(claimed, outcome, took=timedelta(0), using=here.settling, now=here.clock())
    await see(here, *[Event.from_json(text) for text in await here.take_events()])


def about(here: Installation, message: Message, kind: EventKind, **data: object) -> Event:
    """Return an event about a message."""
    return Event(kind, here.server.id, message.id, 1, here.clock(), data=data)


async def entry(here: Installation, stream: str = "") -> Suppression | None:
    """Return what holds mail to the recipient, if anything does."""
    found = await Suppressions(here.records).get(Scope(here.server.id, stream=stream), "user@dest.test")
    return found if found is not None and found.holds(here.clock()) else None


class TestFailures:
    async def test_an_unknown_user_is_suppressed_at_once(self) -> None:
        """Every further try costs reputation and cannot succeed."""
        here = await install()

        await attempt(here, UNKNOWN)

        found = await entry(here)
        assert found is not None
        assert (found.reason, found.detail, len(found.history)) == (Reason.HARD_BOUNCE, "550 5.1.1 no such user", 1)
        assert found.until == here.clock() + timedelta(days=30)

    async def test_another_refusal_only_at_the_second(self) -> None:
        """Postal's rule: one policy refusal says little of the address."""
        here = await install()

        await attempt(here, POLICY)
        after_one = await entry(here)
        here.clock.advance(timedelta(hours=23))
        await attempt(here, POLICY)

        assert after_one is None
        found = await entry(here)
        assert found is not None
        assert found.reason is Reason.HARD_FAILURES

    async def test_two_refusals_far_apart_do_not_count_together(self) -> None:
        """The window is 24 hours."""
        here = await install()

        await attempt(here, POLICY)
        here.clock.advance(timedelta(hours=25))
        await attempt(here, POLICY)

        assert await entry(here) is None

    async def test_giving_up_suppresses(self) -> None:
        """Postal: too many soft fails."""
        here = await install(replace(Settings(), max_attempts=1))

        await attempt(here, GREYLISTED)

        found = await entry(here)
        assert found is not None
        assert found.reason is Reason.SOFT_FAILURES

    @pytest.mark.parametrize("outcome", [BODY_GONE, STORE_AWAY])
    async def test_our_own_faults_suppress_nobody(self, outcome: Outcome) -> None:
        """The recipient has nothing to do with a body that was removed or a store that was away."""
        here = await install(replace(Settings(), max_attempts=1))

        await attempt(here, outcome)
        await attempt(here, outcome)

        assert await entry(here) is None

    async def test_a_soft_failure_suppresses_nobody(self) -> None:
        """It is tried again."""
        here = await install()

        await attempt(here, GREYLISTED)

        assert await entry(here) is None

    async def test_each_rule_can_be_turned_off(self) -> None:
        """The operator decides."""
        off = replace(
            Settings(),
            max_attempts=1,
            suppress_bad_addresses=False,
            suppress_hard_failures=0,
            suppress_exhausted=False,
            suppress_complaints=False,
            suppress_unsubscribes=False,
        )
        here = await install(off)

        for outcome in (UNKNOWN, UNKNOWN, POLICY, GREYLISTED):
            message = await attempt(here, outcome)
        await see(here, about(here, message, EventKind.COMPLAINED), about(here, message, EventKind.UNSUBSCRIBED))

        assert await entry(here) is None
        assert await entry(here, "news") is None


class TestAnswersOfTheWorld:
    @pytest.mark.parametrize(
        ("kind", "category", "suppressed"),
        [
            ("hard", "unknown_user", True),
            ("hard", "mailbox_disabled", True),
            ("hard", "policy", False),
            ("soft", "mailbox_full", False),
            ("undetermined", "other", False),
            ("hard", "no such category", False),
        ],
    )
    async def test_a_bounce_counts_like_a_refusal(self, kind: str, category: str, *, suppressed: bool) -> None:
        """Postal never suppresses for what comes back later."""
        here = await install()
        message = await attempt(here, Sent("ok", "250"))

        await see(here, about(here, message, EventKind.BOUNCED, type=kind, category=category))

        assert (await entry(here) is not None) is suppressed

    async def test_a_complaint_suppresses_for_ever(self) -> None:
        """Whoever complained must get nothing more of this server."""
        here = await install()
        message = await attempt(here, Sent("ok", "250"))

        await see(here, about(here, message, EventKind.COMPLAINED))

        found = await entry(here)
        assert found is not None
        assert (found.reason, found.until) == (Reason.COMPLAINT, None)

    async def test_unsubscribing_stops_the_stream_alone(self) -> None:
        """Whoever leaves a newsletter still wants receipts."""
        here = await install()
        message = await attempt(here, Sent("ok", "250"))

        await see(here, about(here, message, EventKind.UNSUBSCRIBED))

        assert await entry(here, "news") is not None
        assert await entry(here) is None

    async def test_what_the_simulator_makes_up_suppresses_nobody(self) -> None:
        """Otherwise the second run of a customer's tests would find its recipient held."""
        here = await install()
        message = await here.accept_one("hardbounce@simulator.edgepost.invalid", tag="news")

        await see(here, about(here, message, EventKind.BOUNCED, type="hard", code="5.1.1"))
        await see(here, about(here, message, EventKind.COMPLAINED, type="abuse"))

        holding = await Suppressions(here.records).holding(here.tenant, "news", [message.rcpt_to], here.clock())
        assert not holding

    async def test_a_bounce_with_a_code_alone_is_judged_by_it(self) -> None:
        """Not every reporter of bounces knows our categories."""
        here = await install()
        message = await attempt(here, Sent("ok", "250"))

        await see(here, about(here, message, EventKind.BOUNCED, type="hard", code="5.1.1"))

        assert await entry(here) is not None

    async def test_events_about_nothing_known_change_nothing(self) -> None:
        """Messages expire, servers are deleted, and an event may be late."""
        here = await install()
        message = await here.accept_one()
        strangers = [
            replace(about(here, message, EventKind.BOUNCED, type=["text"]), message_id=message.id),
            replace(about(here, message, EventKind.COMPLAINED), message_id=MessageId(12345)),
            replace(about(here, message, EventKind.OPENED)),
            replace(about(here, message, EventKind.COMPLAINED), message_id=MessageId(0)),
        ]

        await see(here, *strangers)

        assert await entry(here) is None


class TestLifting:
    async def held_and_released(self, here: Installation) -> Message:
        """Suppress the address, and let a message go all the same."""
        scope = Scope(here.server.id)
        using = Suppressing.over(here.stores, here.settings)
        await suppress(scope, "user@dest.test", Cause(reason=Reason.MANUAL), until=None, using=using, now=here.clock())
        message = await here.accept_one()
        await end(here, Held("suppressed"))
        await release(here.server, message.id, using=here.settling)
        here.clock.advance(timedelta(seconds=1))
        return message

    async def test_a_delivery_after_release_lifts_it(self) -> None:
        """Postal removes the address on a successful delivery: it has proved to work."""
        here = await install()
        await self.held_and_released(here)

        await end(here, Sent("ok", "250"))

        assert await entry(here) is None
        kinds = [json.loads(text)["kind"] for text in await here.take_events()]
        assert kinds == ["suppression_removed"]

    async def test_a_failure_after_release_does_not(self) -> None:
        """The address is as it was."""
        here = await install()
        await self.held_and_released(here)

        await end(here, POLICY)

        assert await entry(here) is not None

    async def test_an_ordinary_delivery_costs_no_read_and_lifts_nothing(self) -> None:
        """A message that was on its way before the complaint must not take it back."""
        here = await install()
        message = await here.accept_one()
        await see(here, about(here, message, EventKind.COMPLAINED))

        await end(here, Sent("ok", "250"))

        assert await entry(here) is not None
