"""Mail that a node passes on: to hosts and to other addresses, as its route says."""

import random
from datetime import timedelta

import pytest

from shared.domain.event import Event, EventKind
from shared.domain.forwarding import LOOP, NO_ROUTE
from shared.domain.job import TLSMode, ToHost, ToMX
from shared.domain.message import Evidence, Message, SpamStatus, Status
from shared.domain.outcome import HardFail, SoftFail
from shared.domain.routes import AddressTarget, SMTPTarget, SpamMode
from shared.domain.suppression import Scope
from shared.flow.follow import Following, follow
from shared.flow.hold import release
from shared.flow.queues import next_job
from shared.flow.routes import delete_route
from shared.flow.settle import settle
from shared.flow.suppress import Suppressing
from shared.settings import SmartHost
from shared.tokens import Named
from smtp_node.authentication.keys import SigningKeys
from smtp_node.deliver.attempt import Attempts
from tests.fakes.forwarding import MAIL, Inbox, open_inbox
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of

HOST = SMTPTarget("mx.corp.test", 2525, TLSMode.TLS)
ADDRESS = AddressTarget("ann@elsewhere.test")


async def attempt(inbox: Inbox, sender: ScriptedSender, *, smart_host: SmartHost | None = None) -> None:
    """Let a node make one attempt at what lies on its queue, and settle it."""
    here = inbox.here
    attempts = Attempts(
        settling=here.settling,
        directory=here.directory,
        keys=SigningKeys(here.stores.keyring),
        tokens=here.tokens,
        sender=sender,  # type: ignore[arg-type]
        clock=here.clock,
        rng=random.Random(3),
        sources=(),
        smart_hosts={"default": smart_host} if smart_host else {},
    )
    claimed = await here.claim_one()
    attempted = await attempts.make(claimed, next_job(claimed.message), pool="default", still_ours=lambda: True)
    assert await settle(claimed, attempted.outcome, took=timedelta(0), using=here.settling, now=here.clock())


async def status(inbox: Inbox, message: Message) -> tuple[Status, str]:
    """Return what has become of a message, and the last row's words."""
    stored, rows = await inbox.history(message)
    return stored.status, rows[-1].details


class TestForward:
    async def test_an_address_gets_the_mail_under_our_return_path_sealed(self) -> None:
        """SPF holds, bounces come back here, and the host there sees what we saw of the sender."""
        inbox, sender = await open_inbox(), ScriptedSender()
        message = await inbox.receive(await inbox.route(ADDRESS))

        await work_until(worker_of(inbox.here, sender), lambda: bool(sender.plans))

        [plan] = sender.plans
        local_part, _, domain = plan.mail_from.partition("@")
        assert (plan.rcpt_to, plan.target, domain) == ("ann@elsewhere.test", ToMX("elsewhere.test"), "rp.localhost")
        named = Named(message.server_id, message.id)
        assert (await inbox.here.tokens.tokens()).read_return_path(local_part) == named
        assert plan.added.startswith(b"ARC-Seal: i=1; a=ed25519-sha256;")
        assert plan.added.endswith(b"Delivered-To: support@example.test\r\n")
        assert plan.raw == MAIL
        assert b"DKIM-Signature" not in plan.added  # it is not ours
        assert b"X-Postal-MsgID" not in plan.added
        assert (await inbox.history(message))[0].status is Status.SENT

    async def test_a_host_gets_it_for_the_address_it_was_sent_to(self) -> None:
        """Postal: an SMTP endpoint takes the place of the MX, nothing else changes."""
        inbox, sender = await open_inbox(), ScriptedSender()
        await inbox.receive(await inbox.route(HOST))

        await attempt(inbox, sender)

        [plan] = sender.plans
        assert (plan.rcpt_to, plan.target) == ("support@example.test", ToHost("mx.corp.test", 2525, TLSMode.TLS))

    async def test_a_smart_host_takes_addresses_but_no_named_hosts(self) -> None:
        """Where port 25 is blocked, forwards leave as all mail does; a named host is meant."""
        relay = SmartHost("relay.test", 587, "starttls", "", "")
        for target, by_relay in ((ADDRESS, True), (HOST, False)):
            inbox, sender = await open_inbox(), ScriptedSender()
            await inbox.receive(await inbox.route(target))

            await attempt(inbox, sender, smart_host=relay)

            assert sender.plans[0].via_smart_host is by_relay

    async def test_a_bounce_keeps_its_null_sender(self) -> None:
        """A bounce must not cause another (RFC 5321 §4.5.5)."""
        inbox, sender = await open_inbox(), ScriptedSender()
        await inbox.receive(await inbox.route(ADDRESS), mail_from="")

        await attempt(inbox, sender)

        assert sender.plans[0].mail_from == ""

    async def test_is_tried_again_at_the_same_place(self) -> None:
        """A retry must not go to the MX of the address that the mail was sent to: that is us."""
        inbox = await open_inbox()
        sender = ScriptedSender(lambda _: SoftFail("later", evidence=Evidence(smtp_code=452)))
        await inbox.receive(await inbox.route(HOST))
        await attempt(inbox, sender)
        await drop_jobs(inbox)

        await inbox.pass_time(timedelta(minutes=6))
        await attempt(inbox, sender)

        assert [plan.target for plan in sender.plans] == [ToHost("mx.corp.test", 2525, TLSMode.TLS)] * 2

    async def test_mail_that_was_here_before_goes_no_further(self) -> None:
        """Two addresses that forward to each other."""
        inbox, sender = await open_inbox(), ScriptedSender()
        message = await inbox.receive(await inbox.route(ADDRESS), b"delivered-to: <SUPPORT@example.test>\r\n" + MAIL)

        await attempt(inbox, sender)

        assert (await status(inbox, message), sender.plans) == ((Status.HARD_FAIL, LOOP), [])

    async def test_mail_of_too_many_hops_goes_no_further(self) -> None:
        """A loop through hosts that take our mark off (RFC 5321 §6.3)."""
        inbox, sender = await open_inbox(), ScriptedSender()
        hops = b"Received: from a by b; Thu, 01 Jan 2026 12:00:00 +0000\r\n" * 51
        message = await inbox.receive(await inbox.route(ADDRESS), hops + MAIL)

        await attempt(inbox, sender)

        assert await status(inbox, message) == (Status.HARD_FAIL, LOOP)

    async def test_a_deleted_route_sends_nothing_more(self) -> None:
        """Its owner has taken it away."""
        inbox, sender = await open_inbox(), ScriptedSender()
        route = await inbox.route(ADDRESS)
        message = await inbox.receive(route)
        await delete_route(route, records=inbox.here.records)

        await attempt(inbox, sender)

        assert (await status(inbox, message), sender.plans) == ((Status.HARD_FAIL, NO_ROUTE), [])

    async def test_quarantined_mail_goes_to_its_address_when_released(self) -> None:
        """A release sends the job to where the route says, not to the recipient's MX."""
        inbox, sender = await open_inbox(), ScriptedSender()
        route = await inbox.route(ADDRESS, spam_mode=SpamMode.QUARANTINE)
        message = await inbox.receive(route, spam_status=SpamStatus.SPAM)
        await attempt(inbox, sender)
        assert (await inbox.history(message))[0].status is Status.HELD
        await drop_jobs(inbox)

        await release(inbox.here.server, message.id, using=inbox.here.settling)
        await attempt(inbox, sender)

        assert [plan.rcpt_to for plan in sender.plans] == ["ann@elsewhere.test"]

    async def test_a_failure_for_good_is_told_the_sender(self) -> None:
        """As for HTTP endpoints; the remote's words stay here."""
        inbox = await open_inbox()
        refusal = HardFail(
            "no", "550 5.1.1 secret@elsewhere.test unknown", Evidence(smtp_code=550, enhanced_code="5.1.1")
        )
        await inbox.receive(await inbox.route(ADDRESS))

        await attempt(inbox, ScriptedSender(lambda _: refusal))

        [job] = [job for job, _ in await inbox.here.take_jobs() if not job.incoming]
        bounce = await inbox.here.message(job.message_id)
        raw = await inbox.here.bodies.get(bounce.body_key)
        assert raw is not None
        assert bounce.rcpt_to == "ann@sender.test"
        assert b"elsewhere.test" not in raw

    async def test_a_failure_suppresses_nobody(self) -> None:
        """The recipient is the tenant's own address: mail that the tenant sends there must not be held."""
        inbox = await open_inbox()
        here = inbox.here
        refusal = HardFail("no", "550 5.1.1 unknown", Evidence(smtp_code=550, enhanced_code="5.1.1"))
        await inbox.receive(await inbox.route(ADDRESS))
        await attempt(inbox, ScriptedSender(lambda _: refusal))

        events = [Event.from_json(each) for each in await here.take_events()]
        suppressing = Suppressing.over(here.stores, here.settings)
        await follow(events, using=Following(suppressing, here.directory, here.messages), now=here.clock())

        assert [each.kind for each in events] == [EventKind.FAILED]
        assert await suppressing.suppressions.get(Scope(here.server.id), "support@example.test") is None

    @pytest.mark.parametrize("raw", [b"no header at all", b"bare\nline: feed\r\n\r\n", b"\r\n\x00"])
    async def test_mail_that_cannot_be_sealed_goes_out_unsealed(self, raw: bytes) -> None:
        """A seal is help for others; mail does not fail for want of one."""
        inbox, sender = await open_inbox(), ScriptedSender()
        await inbox.receive(await inbox.route(HOST), raw)

        await attempt(inbox, sender)

        assert (sender.plans[0].added, sender.plans[0].raw) == (b"Delivered-To: support@example.test\r\n", raw)


async def drop_jobs(inbox: Inbox) -> None:
    """Delete what lies on the work queue, as a node does once it has settled."""
    inbox.here.clock.advance(timedelta(seconds=31))
    await inbox.here.work.delete([received.receipt for _, received in await inbox.here.take_jobs()])
