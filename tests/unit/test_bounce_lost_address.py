"""Bounces that lost the address they were to come to: what in them still names the message, and what does not."""

import uuid
from datetime import timedelta

import pytest

from shared.domain.event import EventKind
from shared.domain.message import Status
from shared.flow.bounce import MAX_LOOKED_UP, UNMATCHED
from shared.flow.servers import NewServer, create_server
from shared.tokens import Named
from tests.fakes.installation import RAW, install
from tests.fakes.inward import RP, Post, dsn

UNNAMED = RAW.replace(b"Message-ID: <one@example.test>\r\n", b"")
"""Without a Message-ID, so that we make one."""


@pytest.fixture
async def post() -> Post:
    """An installation that mail comes to."""
    return Post(await install())


class TestWithoutTheAddress:
    async def test_without_its_address_the_returned_head_says_it(self, post: Post) -> None:
        """Some hosts report to the server's own token, as Postal's return path is."""
        message = await post.sent()
        head = f"X-Edgepost-Report: {await post.token(message)}"

        await post.take(f"{post.here.server.token}@psrp.example.test", dsn(head=head))

        [event] = await post.events()
        assert (event.kind, event.message_id) == (EventKind.BOUNCED, message.id)

    async def test_our_message_id_alone_says_it(self, post: Post) -> None:
        """Hosts that return only some fields keep this one."""
        message = await post.sent(raw=UNNAMED)

        await post.take(f"{post.here.server.token}@psrp.example.test", dsn(head=f"Message-ID: <{message.message_id}>"))

        assert [(each.kind, each.message_id) for each in await post.events()] == [(EventKind.BOUNCED, message.id)]

    async def test_the_envelope_id_alone_says_it(self, post: Post) -> None:
        """RFC 3461 §4.4: of a report that returns nothing of the message."""
        message = await post.sent()
        field = f"Original-Envelope-Id: {await post.token(message)}\r\nReporting-MTA:".encode()

        await post.take(f"{post.here.server.token}@{RP}", dsn().replace(b"Reporting-MTA:", field))

        assert [(each.kind, each.message_id) for each in await post.events()] == [(EventKind.BOUNCED, message.id)]

    async def test_a_message_id_of_several_recipients_proves_nothing(self, post: Post) -> None:
        """Each of them sees it, and could report that another does not exist."""
        here = post.here
        accepted = await here.accept("user@dest.test", "victim@dest.test", raw=UNNAMED)
        name = accepted.message_id

        kept = await post.take(f"{here.server.token}@{RP}", dsn("victim@dest.test", head=f"Message-ID: <{name}>"))

        assert await post.row(kept) == UNMATCHED

    @pytest.mark.parametrize("what", ["customer's own", "another id", "other random bits", "another server"])
    async def test_other_message_ids_prove_nothing(self, post: Post, what: str) -> None:
        """Attack S15: what can be guessed or belongs elsewhere changes nothing."""
        here = post.here
        message, victim = await post.sent(raw=UNNAMED), await post.sent("victim@dest.test", raw=UNNAMED)
        own, number = message.message_id.partition("@")[0].split(".")
        name = {
            "customer's own": (await post.sent()).message_id,
            "another id": message.message_id.replace(number, f"{victim.id:014x}"),
            "other random bits": message.message_id.replace(own, str(uuid.UUID(int=7))),
            "another server": message.message_id,
        }[what]
        server = here.server
        if what == "another server":
            server = await create_server(
                NewServer(name="Other"),
                organization=here.tenant.organization,
                records=here.records,
                rng=here.rng,
                now=here.clock(),
            )

        await post.take(f"{server.token}@{RP}", dsn(head=f"Message-ID: <{name}>"))

        assert await post.events(EventKind.BOUNCED) == []
        assert {await post.status(message), await post.status(victim)} == {Status.SENT}

    async def test_postals_token_proves_nothing(self, post: Post) -> None:
        """Postal believes it wherever it stands; everybody who gets the mail sees it."""
        message = await post.sent()

        kept = await post.take(f"{post.here.server.token}@{RP}", dsn(head=f"X-Postal-MsgID: {message.token}"))

        assert await post.row(kept) == UNMATCHED
        assert await post.status(message) is Status.SENT

    @pytest.mark.parametrize("field", ["X-Edgepost-Report", "Return-Path", "Message-ID"])
    @pytest.mark.parametrize("late", ["eight days late", "for somebody else"])
    async def test_names_are_believed_as_little_as_the_address(self, post: Post, field: str, late: str) -> None:
        """Seven days, and for the message's own recipient."""
        message = await post.sent(raw=UNNAMED)
        token = await post.token(message)
        value = {"X-Edgepost-Report": token, "Return-Path": f"<{token}@{RP}>", "Message-ID": f"<{message.message_id}>"}
        recipient = "user@dest.test"
        if late == "eight days late":
            post.here.clock.advance(timedelta(days=8))
        else:
            recipient = "victim@dest.test"

        await post.take(f"{post.here.server.token}@{RP}", dsn(recipient, head=f"{field}: {value[field]}"))

        assert await post.events(EventKind.BOUNCED) == []
        assert await post.status(message) is Status.SENT

    async def test_one_tenants_address_changes_nothing_of_anothers(self, post: Post) -> None:
        """Tenant B has valid addresses of its own, and has seen the whole mail of tenant A."""
        here = post.here
        message = await post.sent(raw=UNNAMED)
        other = await create_server(
            NewServer(name="Other"),
            organization=here.tenant.organization,
            records=here.records,
            rng=here.rng,
            now=here.clock(),
        )
        theirs = (await here.tokens.tokens()).return_path(Named(other.id, message.id))
        head = f"X-Edgepost-Report: {await post.token(message)}\r\nMessage-ID: <{message.message_id}>"

        await post.take(f"{theirs}@{RP}", dsn(head=head))

        assert await post.events(EventKind.BOUNCED) == []
        assert await post.status(message) is Status.SENT

    async def test_a_list_of_message_ids_costs_few_look_ups(self, post: Post) -> None:
        """Whoever writes a report may name any number of messages."""
        message = await post.sent(raw=UNNAMED)
        names = [f"52c1ba27-9d6f-4a0e-8d0e-6a2f3a1c9b77.{number + 1:014x}@{RP}" for number in range(MAX_LOOKED_UP)]
        head = "\r\n".join(f"Message-ID: <{name}>" for name in [*names, message.message_id])

        kept = await post.take(f"{post.here.server.token}@{RP}", dsn(head=head))

        assert await post.row(kept) == UNMATCHED

    async def test_a_quoted_token_is_no_proof_for_another_server(self, post: Post) -> None:
        """Attack S15: whoever gets a mail sees its token, so it counts only where it belongs."""
        here = post.here
        other = await create_server(
            NewServer(name="Other"),
            organization=here.tenant.organization,
            records=here.records,
            rng=here.rng,
            now=here.clock(),
        )
        message = await post.sent()
        head = f"X-Edgepost-Report: {await post.token(message)}"

        await post.take(f"{other.token}@{RP}", dsn(head=head))

        assert [(each.kind, each.server_id) for each in await post.events()] == [(EventKind.RECEIVED, other.id)]
