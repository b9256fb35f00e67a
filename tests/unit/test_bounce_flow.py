"""Bounces and complaints mark exactly the message and recipient they belong to."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.bounce.matching import ANOTHER_RECIPIENT, NEVER_SENT, TOO_LATE
from shared.domain.bounce.report import Kind
from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind
from shared.domain.incoming import InwardRefusal
from shared.domain.message import Direction, Status
from shared.domain.routes import RouteMode
from shared.domain.suppression import Scope
from shared.flow.bounce import NO_BOUNCE
from shared.flow.find_inward import find_inward
from shared.flow.hold import held
from shared.flow.receive_route import ACCEPTED
from shared.flow.token_keys import rotate_keys
from shared.ports import Item, Key
from shared.store.routes import Routes
from shared.store.servers import Servers
from shared.store.suppressions import Suppressions
from tests.fakes.installation import install
from tests.fakes.inward import RP, Post, complaint, dsn
from tests.fakes.records import FakeRecords


class ClosedRecords(FakeRecords):
    """Must not be read."""

    async def get(self, key: Key) -> Item | None:
        """Fail."""
        raise AssertionError(f"{key} was read")


@pytest.fixture
async def post() -> Post:
    """An installation that mail comes to."""
    return Post(await install())


class TestTakeReturnPath:
    async def test_a_bounce_marks_its_message_and_recipient(self, post: Post) -> None:
        """What the whole thing is for: event, status, suppression."""
        message, other = await post.sent(), await post.sent("other@dest.test")

        kept = await post.take(f"{await post.token(message)}@{RP}", dsn())
        [event] = await post.events()
        await post.follow(event, event)

        assert kept is not None
        assert (event.kind, event.message_id, event.server_id) == (EventKind.BOUNCED, message.id, message.server_id)
        assert event.data["recipient"] == "user@dest.test"
        assert (event.data["type"], event.data["code"], event.data["category"]) == ("hard", "5.1.1", "unknown_user")
        assert event.data["bounce_message"] == kept.id
        assert await post.status(message) is Status.BOUNCED
        assert await post.status(other) is Status.SENT
        entry = await Suppressions(post.here.records).get(Scope(post.here.server.id), "user@dest.test")
        assert entry is not None
        assert entry.active
        assert await post.row(kept) == f"This has been detected as a bounce message for <msg:{message.id}>."

    async def test_what_is_kept_can_be_read_again(self, post: Post) -> None:
        """RFC 5321 §4.2.5: 250 means that the mail is there."""
        message = await post.sent()

        kept = await post.take(f"{await post.token(message)}@{RP}", dsn())

        assert kept is not None
        assert kept.direction is Direction.INCOMING
        assert kept.bounce
        assert (kept.subject, kept.message_id) == ("Undelivered Mail Returned to Sender", "dsn@mx.dest.test")
        assert (await post.here.bodies.get(kept.body_key) or b"").endswith(dsn())

    async def test_any_case_and_the_domains_own_return_path(self, post: Post) -> None:
        """MTAs fold case; the domain's name is no secret and proves nothing."""
        message = await post.sent()

        await post.take(f"{(await post.token(message)).upper()}@psrp.example.test", dsn())

        assert [each.kind for each in await post.events()] == [EventKind.BOUNCED]

    async def test_a_thousand_replays_are_one_event(self, post: Post) -> None:
        """Attack S16; some with the same bytes, which are one mail, and some with others."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"

        kept = {(await post.take(address, dsn(unique=str(number % 5)))).id for number in range(1000)}  # type: ignore[union-attr]

        assert len(kept) == 5
        assert len(await post.events()) == 1

    async def test_a_bounce_that_overtakes_the_end_of_its_attempt_is_told_after_it(self, post: Post) -> None:
        """A local host may answer before the delivery is written down."""
        message = await post.here.accept_one()
        await post.here.claim_one()

        await post.take(f"{await post.token(message)}@{RP}", dsn())

        assert await post.here.take_events() == []
        assert [each.kind for each in await post.events()] == [EventKind.BOUNCED]

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (dsn(action="delayed", status="4.4.1"), NO_BOUNCE[Kind.DELAYED]),
            (dsn(action="relayed", status="2.0.0"), NO_BOUNCE[Kind.DELIVERED]),
            (
                b"From: user@dest.test\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n",
                NO_BOUNCE[Kind.AUTO_REPLY],
            ),
            (b"From: user@dest.test\r\nSubject: Hi\r\n\r\nHello there.\r\n", NO_BOUNCE[Kind.OTHER]),
            (dsn("victim@dest.test"), ANOTHER_RECIPIENT),
            (complaint("victim@dest.test"), ANOTHER_RECIPIENT),
        ],
    )
    async def test_anything_else_changes_nothing_and_is_kept_with_the_reason(
        self, post: Post, raw: bytes, reason: str
    ) -> None:
        """Attacks S15 and S16: own token for another recipient, delays, receipts, answers."""
        message, victim = await post.sent(), await post.sent("victim@dest.test")

        kept = await post.take(f"{await post.token(message)}@{RP}", raw)

        assert await post.row(kept) == reason
        assert [each.kind for each in await post.events()] == [EventKind.RECEIVED]
        assert {await post.status(message), await post.status(victim)} == {Status.SENT}

    async def test_the_address_wins_over_what_is_quoted(self, post: Post) -> None:
        """A report to one message's return path says nothing of another message."""
        message, victim = await post.sent(), await post.sent("victim@dest.test")
        head = f"X-Edgepost-Report: {await post.token(victim)}"

        await post.take(f"{await post.token(message)}@{RP}", dsn("victim@dest.test", head=head))

        assert await post.events(EventKind.BOUNCED) == []

    @pytest.mark.parametrize(("days", "bounced"), [(6, 1), (8, 0)])
    async def test_seven_days_after_the_last_attempt_nothing_is_believed(
        self, post: Post, days: int, bounced: int
    ) -> None:
        """Nobody tries for longer, and tokens lie around in archives."""
        message = await post.sent()
        post.here.clock.advance(timedelta(days=days))

        kept = await post.take(f"{await post.token(message)}@{RP}", dsn())

        assert len(await post.events(EventKind.BOUNCED)) == bounced
        assert (await post.row(kept) == TOO_LATE) is not bool(bounced)

    async def test_what_never_went_out_cannot_bounce(self, post: Post) -> None:
        """A token says who, not that it was sent."""
        message = await post.here.accept_one()
        here = post.here
        await here.messages.settle(here.server, (await here.claim_one()).message, {"status": "Held", "held": True})

        kept = await post.take(f"{await post.token(message)}@{RP}", dsn())

        assert await post.row(kept) == NEVER_SENT


class TestTakeComplaint:
    @pytest.mark.parametrize("where", ["fbl", "abuse", "return path"])
    @pytest.mark.parametrize("recipient", ["user@dest.test", ""])
    async def test_a_complaint_suppresses_for_ever(self, post: Post, where: str, recipient: str) -> None:
        """RFC 6590: most hide the recipient; our token in the reported message names it."""
        message = await post.sent()
        token = await post.token(message)
        address = f"{token if where == 'return path' else where}@{RP}"

        kept = await post.take(address, complaint(recipient, head=f"X-Edgepost-Report: {token}"))
        [event] = await post.events()
        await post.follow(event)

        assert (event.kind, event.message_id) == (EventKind.COMPLAINED, message.id)
        assert (event.data["type"], event.data["source"]) == ("abuse", "isp.test")
        assert await post.row(kept) == f"This is a complaint about <msg:{message.id}>."
        entry = await Suppressions(post.here.records).get(Scope(post.here.server.id), "user@dest.test")
        assert entry is not None
        assert entry.until is None

    @pytest.mark.parametrize("field", ["X-Edgepost-Report: {}", "Return-Path: <{}@rp.localhost>", "Original-Mail-From"])
    async def test_the_token_stands_in_the_envelope_sender_too(self, post: Post, field: str) -> None:
        """Reporters leave out different fields."""
        message = await post.sent()
        token = await post.token(message)
        raw = complaint(head=field.format(token))
        if field == "Original-Mail-From":
            line = f"Version: 1\r\nOriginal-Mail-From: <{token}@rp.localhost>"
            raw = complaint().replace(b"Version: 1", line.encode())

        await post.take(f"fbl@{RP}", raw)

        assert [(each.kind, each.message_id) for each in await post.events()] == [(EventKind.COMPLAINED, message.id)]

    @pytest.mark.parametrize(
        "raw",
        [
            complaint(),
            complaint("user@dest.test"),
            complaint("user@dest.test", head="X-Edgepost-Report: aaaabbbbccccddddeeeeffffgggghhhhiiiijjj"),
        ],
    )
    async def test_a_report_without_our_token_suppresses_nobody(self, post: Post, raw: bytes) -> None:
        """Anybody can write anybody's address into a report."""
        await post.sent()

        assert await post.take(f"fbl@{RP}", raw) is None
        assert await post.events() == []

    async def test_not_spam_is_no_complaint(self, post: Post) -> None:
        """RFC 6430."""
        message = await post.sent()
        head = f"X-Edgepost-Report: {await post.token(message)}"

        await post.take(f"fbl@{RP}", complaint(head=head, kind="not-spam"))

        assert await post.events(EventKind.COMPLAINED) == []

    async def test_other_mail_to_a_report_address_is_refused(self, post: Post) -> None:
        """Nobody reads it."""
        for local in ("fbl", "dmarc", "tlsrpt"):
            with pytest.raises(InvalidValue):
                await post.take(f"{local}@{RP}", b"Subject: Hello\r\n\r\nHi.\r\n")


class TestUnsubscribe:
    async def test_a_mail_unsubscribes_as_a_click_does(self, post: Post) -> None:
        """RFC 2369 §3.2: the mailto form of List-Unsubscribe; whoever does both is told of once."""
        message = await post.sent()

        await post.take(f"unsubscribe+{await post.token(message)}@{RP}", b"Subject: unsubscribe\r\n\r\n")

        [event] = await post.events()
        assert (event.kind, event.message_id, event.attempt, event.subject) == (
            EventKind.UNSUBSCRIBED,
            message.id,
            0,
            "",
        )


class TestFindInward:
    async def test_guesses_cost_no_look_up(self, post: Post) -> None:
        """The MAC is checked first, and a wrong one never reaches the store."""
        message = await post.sent()
        token = await post.token(message)
        wrong = [
            token[:-1] + ("a" if token[-1] != "a" else "b"),
            token[::-1],
            "a" * 39,
            token + "a",
            f"unsubscribe+{token[:-2]}",
        ]
        records = ClosedRecords(post.here.clock)
        finding = replace(post.finding, servers=Servers(records), routes=Routes(records))

        found = [await find_inward(f"{each}@{RP}", using=finding) for each in wrong]

        assert found == [InwardRefusal.NO_SUCH_SERVER] * len(wrong)

    async def test_a_rotated_key_still_opens_old_return_paths(self, post: Post) -> None:
        """Bounces come days later."""
        message = await post.sent()
        address = f"{await post.token(message)}@{RP}"
        rotate_keys(post.here.token_keys, post.here.rng.randbytes)
        post.here.clock.advance(timedelta(minutes=3))

        new = await post.token(message)

        assert new != address.partition("@")[0]
        assert (await post.find(address)).to == (await post.find(f"{new}@{RP}")).to

    async def test_strangers_are_none_of_ours(self, post: Post) -> None:
        """Then a grant or nothing decides."""
        assert await find_inward("user@dest.test", using=post.finding) is None


class TestReceiveRoute:
    async def test_accepted_mail_is_kept_and_told_of(self, post: Post) -> None:
        """Mode Accept: nothing further."""
        await post.route(RouteMode.ACCEPT)

        kept = await post.take("Info+sales@example.test", b"Subject: Hello\r\n\r\nHi.\r\n")

        assert kept is not None
        assert (kept.rcpt_to, kept.status, kept.domain) == ("Info+sales@example.test", Status.PROCESSED, "example.test")
        assert await post.row(kept) == ACCEPTED
        assert [(each.kind, each.message_id) for each in await post.events()] == [(EventKind.RECEIVED, kept.id)]

    async def test_held_mail_is_listed_and_its_hold_ends(self, post: Post) -> None:
        """Mode Hold."""
        here = post.here
        await post.route(RouteMode.HOLD)

        kept = await post.take("info@example.test", b"Subject: Hello\r\n\r\nHi.\r\n")

        assert kept is not None
        assert [each.id for each in (await held(here.server, using=here.settling)).messages] == [kept.id]
        assert kept.hold_expires_at == here.clock() + here.settings.hold_expiry

    async def test_the_routes_token_is_an_address_too(self, post: Post) -> None:
        """Postal: forward addresses at the route domain, with the tag kept."""
        route = await post.route(RouteMode.ACCEPT)

        found = await post.find(f"{route.token.upper()}+a.B@routes.localhost")

        assert found.address == "info+a.B@example.test"

    async def test_rejecting_routes_and_suspended_servers_refuse_in_the_session(self, post: Post) -> None:
        """Never accepted and bounced later (attack S13)."""
        here = post.here
        await post.route(RouteMode.REJECT)
        assert await find_inward("info@example.test", using=post.finding) is InwardRefusal.REJECTED

        await Servers(here.records).suspend(here.server, here.clock(), "abuse")
        here.clock.advance(timedelta(seconds=6))
        assert await find_inward("info@example.test", using=post.finding) is InwardRefusal.SUSPENDED
        assert await find_inward(f"{here.server.token}@{RP}", using=post.finding) is InwardRefusal.SUSPENDED


class TestReports:
    async def test_a_dmarc_report_is_counted(self, post: Post) -> None:
        """RFC 9990: at the address that the domain's DMARC record names."""
        xml = (
            b"<?xml version='1.0'?><feedback><report_metadata><org_name>isp</org_name><report_id>1</report_id>"
            b"<date_range><begin>1767225600</begin><end>1767312000</end></date_range></report_metadata>"
            b"<policy_published><domain>example.test</domain><p>none</p></policy_published>"
            b"<record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated>"
            b"<disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row></record></feedback>"
        )
        raw = b"Subject: Report\r\nContent-Type: text/xml\r\n\r\n" + xml

        assert await post.take(f"DMARC@{RP}", raw) is None

        found = await post.here.records.query("reports#example.test")
        assert [item["messages"] for _, item in found.items] == [3]
