"""Forward: mail reaches HTTP endpoints once, is tried again while they are down, and modes do what they say."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from functions.inbound.handler import forward_record
from functions.outward.records import all_at_once
from shared.domain.engagement import counted_as
from shared.domain.event import Event, EventKind
from shared.domain.forwarding import NO_ROUTE, QUARANTINE
from shared.domain.holding import SUSPENDED
from shared.domain.incoming import spf_passed
from shared.domain.inspection import SPAM_FAILS
from shared.domain.job import Job, TLSMode, ToHost, ToInbound, ToMX
from shared.domain.message import SpamStatus, Status
from shared.domain.routes import AddressTarget, HTTPTarget, RouteMode, SMTPTarget, SpamMode
from shared.domain.webhook_signature import plain_signature, standard_signature
from shared.flow.forward import PAUSED
from shared.flow.hold import cancel, held, release
from shared.flow.queues import next_job, target_of
from shared.flow.routes import delete_route
from shared.network import HTTPAnswer
from shared.store.postal_key import PostalKey
from shared.store.servers import Servers
from tests.fakes.flaky import Flaky
from tests.fakes.forwarding import MAIL, URL, forwarding_of, open_inbox
from tests.fakes.http import FakeHTTP, Posted, answer
from tests.fakes.inward import Post


def answers(*statuses: int, **headers: str) -> Callable[[Posted], HTTPAnswer]:
    """Return a script that gives these answers in turn, the last one for ever."""
    left = list(statuses)

    def script(request: Posted) -> HTTPAnswer:
        return answer(left.pop(0) if len(left) > 1 else left[0], **headers)

    return script


class TestForward:
    async def test_mail_reaches_the_endpoint_and_is_sent(self) -> None:
        """The payload, and a row of the message's history as for outgoing mail."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))

        await inbox.deliver()

        [posted] = inbox.http.posted
        stored, [row] = await inbox.history(message)
        assert json.loads(posted.body)["id"] == message.id
        assert posted.headers["content-type"] == "application/json"
        assert posted.headers["user-agent"].startswith("Postal/3.")
        assert (stored.status, row.status) == (Status.SENT, Status.SENT)
        assert (row.details, row.output) == (f"Received a 200 from {URL.url}", "OK")
        [event] = [Event.from_json(each) for each in await inbox.here.take_events()]
        assert (event.kind, event.message_id) == (EventKind.DELIVERED, message.id)
        assert counted_as(event) == {"delivered_incoming": 1}  # not among what was delivered to the world

    async def test_requests_are_signed_in_three_ways(self) -> None:
        """Our plain signature, Standard Webhooks', and Postal's with the installation's key."""
        inbox = await open_inbox()
        await inbox.receive(await inbox.route(URL))

        await inbox.deliver()

        [posted] = inbox.http.posted
        secret, signed = inbox.secrets["support@example.test"], posted.headers
        assert signed["x-edgepost-signature"] == plain_signature(secret, posted.body)
        at = int(signed["webhook-timestamp"])
        assert signed["webhook-signature"] == standard_signature(secret, signed["webhook-id"], at, posted.body)
        signer = await PostalKey(inbox.here.records, inbox.here.stores.keyring).signer(bytes)
        assert {name.lower(): value for name, value in signer.headers(posted.body).items()}.items() <= signed.items()

    async def test_once_after_success_however_often_the_job_comes(self) -> None:
        """SQS delivers twice: the second finds the attempt over."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))
        await inbox.send_job(message)

        await inbox.deliver()
        await inbox.send_job(message)
        await inbox.deliver()

        assert len(inbox.http.posted) == 1
        assert len((await inbox.history(message))[1]) == 1

    async def test_two_consumers_at_once_send_once(self) -> None:
        """The claim decides; the other job comes back and finds it done."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))
        await inbox.send_job(message)

        await asyncio.gather(inbox.deliver(), inbox.deliver(forwarding_of(inbox.here, inbox.http)))

        assert len(inbox.http.posted) == 1

    @pytest.mark.parametrize("status", [0, 301, 400, 401, 404, 429, 500, 503])
    async def test_is_tried_again_while_the_endpoint_is_down(self, status: int) -> None:
        """Same body, same webhook-id, until it is taken; then never again."""
        inbox = await open_inbox(FakeHTTP(answers(status, status, 200)))
        message = await inbox.receive(await inbox.route(URL))

        await inbox.deliver()
        assert (await inbox.history(message))[0].status is Status.SOFT_FAIL
        await inbox.pass_time(timedelta(hours=2))

        first, second, third = inbox.http.posted
        assert first.body == second.body == third.body
        assert len({each.headers["webhook-id"] for each in inbox.http.posted}) == 1
        rows = (await inbox.history(message))[1]
        assert [each.status for each in rows] == [Status.SOFT_FAIL, Status.SOFT_FAIL, Status.SENT]

    async def test_gives_up_after_the_retry_schedule(self) -> None:
        """Postal's 18 attempts; the sender is told then."""
        inbox = await open_inbox(FakeHTTP(answers(500)))
        message = await inbox.receive(await inbox.route(URL))

        await inbox.deliver()
        await inbox.pass_time(timedelta(days=3), step=timedelta(minutes=5))

        stored, rows = await inbox.history(message)
        assert (stored.status, len(rows)) == (Status.HARD_FAIL, 18)
        assert len(await inbox.here.take_jobs()) == 1

    @pytest.mark.parametrize("status", [406, 410, 413, 422])
    async def test_a_refusal_of_this_mail_is_final(self, status: int) -> None:
        """The application has looked at it and does not want it."""
        inbox = await open_inbox(FakeHTTP(answers(status)))
        message = await inbox.receive(await inbox.route(URL))

        await inbox.deliver()
        await inbox.pass_time(timedelta(hours=1))

        assert len(inbox.http.posted) == 1
        assert (await inbox.history(message))[0].status is Status.HARD_FAIL

    async def test_waits_as_long_as_the_endpoint_asks(self) -> None:
        """429 with Retry-After (RFC 9110 §10.2.3)."""
        inbox = await open_inbox(FakeHTTP(answers(429, 200, retry_after="3600")))
        await inbox.receive(await inbox.route(URL))

        await inbox.deliver()
        await inbox.pass_time(timedelta(minutes=55))
        assert len(inbox.http.posted) == 1
        await inbox.pass_time(timedelta(minutes=10))

        assert len(inbox.http.posted) == 2

    async def test_a_dead_endpoint_takes_nothing_from_others(self) -> None:
        """After five failures its lane is paused: attempts are not even sent, while the other's mail goes on."""
        inbox = await open_inbox(FakeHTTP(lambda request: answer(200 if "other" in request.url else 0)))
        dead = await inbox.route(URL)
        alive = await inbox.route(HTTPTarget("https://other.example.com/"), address="sales@example.test")
        failing = [await inbox.receive(dead) for _ in range(8)]
        good = await inbox.receive(alive, rcpt_to="sales@example.test")

        for _ in range(4):
            inbox.here.clock.advance(timedelta(seconds=4))
            await inbox.deliver()

        histories = [await inbox.history(each) for each in failing]
        assert sum(row.details == PAUSED for _, rows in histories for row in rows) == 3
        assert len([each for each in inbox.http.posted if "other" not in each.url]) == 5
        assert (await inbox.history(good))[0].status is Status.SENT

    async def test_a_kill_before_the_answer_is_written_sends_the_same_again(self) -> None:
        """At least once up to the record: the second has the same webhook-id, and the history says so."""
        taken = asyncio.Event()

        async def hang() -> HTTPAnswer:
            taken.set()
            return await asyncio.Future()

        inbox = await open_inbox(FakeHTTP(lambda _: answer(200) if taken.is_set() else hang()))
        message = await inbox.receive(await inbox.route(URL))
        killed = asyncio.create_task(inbox.deliver())
        await taken.wait()
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)

        inbox.here.clock.advance(timedelta(seconds=31))
        await inbox.deliver(forwarding_of(inbox.here, inbox.http))

        assert len({each.headers["webhook-id"] for each in inbox.http.posted}) == 1
        assert len(inbox.http.posted) == 2
        stored, rows = await inbox.history(message)
        assert stored.status is Status.SENT
        assert "may be sent more than once" in rows[0].details

    async def test_a_storage_that_is_away_costs_attempts_not_the_mail(self) -> None:
        """Claims without an outcome would count as abandoned, and five of them as poison."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))
        bodies = Flaky(inbox.here.bodies)
        settling = inbox.here.settling
        using = replace(inbox.forwarding, settling=replace(settling, stores=replace(settling.stores, bodies=bodies)))
        bodies.failing = True
        await inbox.deliver(using)
        bodies.failing = False

        assert (await inbox.history(message))[0].status is Status.SOFT_FAIL
        await inbox.pass_time(timedelta(minutes=10))

        assert (await inbox.history(message))[0].status is Status.SENT

    async def test_one_bad_record_fails_alone(self) -> None:
        """ReportBatchItemFailures: the others of the batch are done and deleted."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))
        node = Job(message.server_id, message.id, 1, ToMX("x.test"))
        bodies = {"good": next_job(message).to_json(), "bad": "{}", "node": node.to_json()}
        sent = {"SentTimestamp": "1767225600000", "ApproximateReceiveCount": "1"}
        records = [{"messageId": name, "body": body, "attributes": sent} for name, body in bodies.items()]

        found = await all_at_once(records, partial(forward_record, using=inbox.forwarding), function="inbound")

        assert found == {"batchItemFailures": [{"itemIdentifier": "bad"}, {"itemIdentifier": "node"}]}
        assert len(inbox.http.posted) == 1


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "status"),
        [(RouteMode.ACCEPT, Status.PROCESSED), (RouteMode.HOLD, Status.HELD), (RouteMode.BOUNCE, Status.HARD_FAIL)],
    )
    async def test_do_what_they_say(self, mode: RouteMode, status: Status) -> None:
        """Postal: app/lib/message_dequeuer/incoming_message_processor.rb."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(mode=mode))

        await inbox.deliver()

        assert (await inbox.history(message))[0].status is status
        assert inbox.http.posted == []

    async def test_held_mail_is_listed_and_processed_when_released(self) -> None:
        """Mode Hold, as Postal: a release only says that somebody has looked at it."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(mode=RouteMode.HOLD))
        await inbox.deliver()
        page = await held(inbox.here.server, using=inbox.here.settling)
        assert [each.id for each in page.messages] == [message.id]

        await release(inbox.here.server, message.id, using=inbox.here.settling)
        await inbox.deliver()

        assert (await inbox.history(message))[0].status is Status.PROCESSED

    async def test_a_cancelled_hold_sends_nothing(self) -> None:
        """The existing flow: cancel ends it unsent."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(mode=RouteMode.HOLD))
        await inbox.deliver()

        await cancel(inbox.here.server, message.id, using=inbox.here.settling, now=inbox.here.clock())
        await inbox.deliver()

        assert (await inbox.history(message))[0].status is Status.HOLD_CANCELLED

    async def test_marked_spam_goes_on(self) -> None:
        """spam_mode Mark, the default: the payload says it."""
        inbox = await open_inbox()
        await inbox.receive(await inbox.route(URL), spam_status=SpamStatus.SPAM)

        await inbox.deliver()

        assert json.loads(inbox.http.posted[0].body)["spam_status"] == "Spam"

    async def test_quarantined_spam_goes_out_when_released(self) -> None:
        """spam_mode Quarantine: held, and a person may let it go to the endpoint."""
        inbox = await open_inbox()
        route = await inbox.route(URL, spam_mode=SpamMode.QUARANTINE)
        message = await inbox.receive(route, spam_status=SpamStatus.SPAM)
        await inbox.deliver()
        stored, [row] = await inbox.history(message)
        assert (stored.status, row.details, inbox.http.posted) == (Status.HELD, QUARANTINE, [])

        await release(inbox.here.server, message.id, using=inbox.here.settling)
        await inbox.deliver()

        assert (await inbox.history(message))[0].status is Status.SENT
        assert len(inbox.http.posted) == 1

    async def test_failed_spam_is_told_nobody(self) -> None:
        """spam_mode Fail: its sender is not who it says, so no bounce."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL, spam_mode=SpamMode.FAIL), spam_status=SpamStatus.SPAM)

        await inbox.deliver()

        stored, [row] = await inbox.history(message)
        assert (stored.status, row.details) == (Status.HARD_FAIL, SPAM_FAILS)
        assert await inbox.here.take_jobs() == []

    async def test_a_deleted_route_gets_nothing_more(self) -> None:
        """What waits for a retry is not given to an endpoint that its owner has taken away."""
        inbox = await open_inbox()
        route = await inbox.route(URL)
        message = await inbox.receive(route)
        await delete_route(route, records=inbox.here.records)

        await inbox.deliver()

        stored, [row] = await inbox.history(message)
        assert (stored.status, row.details, inbox.http.posted) == (Status.HARD_FAIL, NO_ROUTE, [])

    async def test_a_suspended_server_holds(self) -> None:
        """As for outgoing mail, in the same words."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))
        await Servers(inbox.here.records).suspend(inbox.here.server, inbox.here.clock(), "abuse")
        inbox.here.clock.advance(timedelta(minutes=2))

        await inbox.deliver()

        stored, [row] = await inbox.history(message)
        assert (stored.status, row.details, inbox.http.posted) == (Status.HELD, SUSPENDED, [])


class TestTargets:
    async def test_each_kind_has_its_queue(self) -> None:
        """HTTP and modes are the inbound function's; hosts and addresses are a node's."""
        inbox = await open_inbox()
        message = await inbox.receive(await inbox.route(URL))

        def of(endpoint: HTTPTarget | SMTPTarget | AddressTarget | None) -> object:
            return target_of(replace(message, endpoint=endpoint))

        assert isinstance(of(URL), ToInbound)
        assert of(None) == ToInbound()
        assert of(SMTPTarget("mx.corp.test", 2525, TLSMode.TLS)) == ToHost("mx.corp.test", 2525, TLSMode.TLS)
        assert of(AddressTarget("ann@elsewhere.test")) == ToMX("elsewhere.test")
        assert Job.from_json(next_job(message).to_json()) == next_job(message)


class TestReceived:
    async def test_a_repeated_mail_reaches_each_endpoint_once(self) -> None:
        """The client did not see our 250 and sends the same bytes again: one copy for each endpoint all the same."""
        inbox = await open_inbox()
        post, other = Post(inbox.here), HTTPTarget("https://b.example.com/")
        await inbox.route(URL, other)

        first = await post.take("Support+tag@example.test", MAIL)
        again = await post.take("Support+tag@example.test", MAIL)
        await inbox.deliver()

        assert first == again
        assert sorted(each.url for each in inbox.http.posted) == [URL.url, other.url]
        assert len({json.loads(each.body)["id"] for each in inbox.http.posted}) == 2
        kinds = [event.kind for event in await post.events()]
        assert sorted(kinds) == [EventKind.DELIVERED] * 2 + [EventKind.RECEIVED] * 2

    async def test_what_came_to_the_return_path_and_is_no_bounce_goes_to_its_route(self) -> None:
        """Postal's ``__returnpath__``: automatic replies reach the application."""
        inbox = await open_inbox()
        post = Post(inbox.here)
        await inbox.route(URL, address="__returnpath__")

        await post.take(f"{inbox.here.server.token}@rp.localhost", MAIL)
        await inbox.deliver()

        [posted] = inbox.http.posted
        assert json.loads(posted.body)["subject"] == "Help"
        assert posted.headers["x-edgepost-signature"]


class TestSPFPassed:
    @pytest.mark.parametrize(
        ("stated", "passed"),
        [
            ("us.test; spf=pass smtp.mailfrom=ann@sender.test; dkim=none", True),
            ('us.test; spf=pass smtp.mailfrom="an n@sender.test"; dkim=none', True),
            ("us.test; spf=pass smtp.helo=mx.sender.test", False),
            ("us.test; spf=fail smtp.mailfrom=ann@sender.test", False),
            ('us.test; spf=fail smtp.mailfrom="; spf=pass smtp.mailfrom=a"@x.test', False),
            ("us.test; dkim=pass header.d=sender.test", False),
            ("", False),
        ],
    )
    def test_reads_our_own_field_only_as_we_wrote_it(self, stated: str, passed: bool) -> None:
        """A sender's words stand in quotes and prove nothing; HELO proves no sender."""
        assert spf_passed(stated) is passed
