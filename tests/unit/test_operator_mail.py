"""postmaster@ and abuse@ our own names: to the operator's route, or clearly refused."""

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.event import EventKind
from shared.domain.incoming import InwardRefusal, ReportKind, ToReports, ToRoute
from shared.domain.routes import Route, RouteMode
from shared.flow.find_inward import find_inward
from shared.flow.routes import NewRoute, create_route
from shared.settings import Settings, SettingsError
from shared.store.servers import Servers
from smtp_node.receive import replies
from smtp_node.receive.commands import parse_recipient
from smtp_node.receive.recipients import REFUSALS
from tests.fakes.installation import Installation, install
from tests.fakes.inward import RP, Post, complaint, dsn

OURS = [RP, "routes.localhost", "localhost", "psrp.example.test"]
PLAIN = (
    b"From: a@b.test\r\nTo: you@rp.localhost\r\nMessage-ID: <h@b.test>\r\nSubject: Spam from you\r\n\r\nLook here.\r\n"
)


async def run_by_somebody(setting: str = "ops@example.test") -> Post:
    """Return an installation whose operator has named a route."""
    return Post(await install(Settings(postmaster=setting)))


async def route(here: Installation, address: str = "ops@example.test", mode: RouteMode = RouteMode.ACCEPT) -> Route:
    """Make a route."""
    made = await create_route(
        NewRoute(address=address, mode=mode),
        server=here.server,
        allowed=(),
        records=here.records,
        keyring=here.stores.keyring,
        rng=here.rng,
        now=here.clock(),
    )
    return made.route


class TestFindOperator:
    @pytest.mark.parametrize("domain", OURS)
    @pytest.mark.parametrize("name", ["postmaster", "PostMaster", "postmaster+x"])
    async def test_postmaster_at_each_of_our_names_is_the_operator(self, domain: str, name: str) -> None:
        """RFC 5321 §4.5.1, in any case of its letters; the tag says what was written to."""
        post = await run_by_somebody()
        made = await route(post.here)

        found = await post.find(f"{name}@{domain}")

        assert (found.to, found.address) == (ToRoute(made), "ops+postmaster@example.test")

    @pytest.mark.parametrize("domain", OURS)
    async def test_nobody_is_named(self, domain: str) -> None:
        """A fresh installation says so, instead of that a token is wrong; complaints are taken all the same."""
        post = Post(await install())

        assert await find_inward(f"postmaster@{domain}", using=post.finding) is InwardRefusal.NO_OPERATOR
        assert (await post.find(f"abuse@{domain}")).to == ToReports(ReportKind.ABUSE)
        assert REFUSALS[InwardRefusal.NO_OPERATOR].code == 550

    @pytest.mark.parametrize("mode", [None, RouteMode.REJECT])
    async def test_a_route_that_takes_nothing_is_a_mistake_to_be_mended(self, mode: RouteMode | None) -> None:
        """A permanent refusal would lose mail for a typing error."""
        post = await run_by_somebody()
        if mode is not None:
            await route(post.here, mode=mode)

        assert await find_inward(f"postmaster@{RP}", using=post.finding) is InwardRefusal.OPERATOR_MISSING
        assert REFUSALS[InwardRefusal.OPERATOR_MISSING].code == 451

    async def test_a_suspended_server_takes_nothing(self) -> None:
        """Its owner may be who is complained of."""
        post = await run_by_somebody()
        await route(post.here)
        await Servers(post.here.records).suspend(post.here.server, post.here.clock(), "abuse")

        assert await find_inward(f"postmaster@{RP}", using=post.finding) is InwardRefusal.OPERATOR_MISSING

    async def test_a_tenants_own_route_at_the_hosts_name_goes_first(self) -> None:
        """Small installations send from the very name of their host."""
        post = Post(await install(Settings(hostname="example.test", postmaster="ops@example.test")))
        await route(post.here)
        own = await route(post.here, "postmaster@example.test")

        assert (await post.find("postmaster@example.test")).to == ToRoute(own)
        assert (await post.find(f"postmaster@{RP}")).address == "ops+postmaster@example.test"

    async def test_other_domains_postmaster_is_their_own_business(self) -> None:
        """Only our names are ours."""
        post = await run_by_somebody()
        await route(post.here)

        assert await find_inward("postmaster@example.test", using=post.finding) is None


class TestTakeIncoming:
    async def test_mail_to_postmaster_is_an_incoming_message(self) -> None:
        """With everything that a route does: history, events, endpoints."""
        post = await run_by_somebody()
        await route(post.here)

        taken = await post.take(f"postmaster@{RP}", PLAIN)

        assert taken is not None
        assert (taken.rcpt_to, taken.route) == ("ops+postmaster@example.test", "ops@example.test")
        assert [each.message_id for each in await post.events(EventKind.RECEIVED)] == [taken.id]

    async def test_what_people_write_to_abuse_reaches_people(self) -> None:
        """Most who write there send no feedback report."""
        post = await run_by_somebody()
        await route(post.here)

        taken = await post.take(f"abuse@{RP}", PLAIN)

        assert taken is not None
        assert taken.rcpt_to == "ops+abuse@example.test"

    async def test_twice_is_once(self) -> None:
        """The sender did not see our 250."""
        post = await run_by_somebody()
        await route(post.here)

        first, again = await post.take(f"abuse@{RP}", PLAIN), await post.take(f"abuse@{RP}", PLAIN)

        assert first is not None
        assert again is not None
        assert first.id == again.id
        assert len(await post.incoming()) == 1

    @pytest.mark.parametrize("domain", OURS)
    async def test_a_complaint_to_abuse_still_counts(self, domain: str) -> None:
        """Reports are for the program, whoever reads the rest."""
        post = await run_by_somebody()
        await route(post.here)
        message = await post.sent()
        head = f"X-Edgepost-Report: {await post.token(message)}"

        await post.take(f"abuse@{domain}", complaint(head=head))

        assert [each.message_id for each in await post.events(EventKind.COMPLAINED)] == [message.id]

    async def test_without_an_operator_people_are_told_that_nobody_reads_it(self) -> None:
        """Better than silence."""
        post = Post(await install())

        with pytest.raises(InvalidValue):
            await post.take(f"abuse@{RP}", PLAIN)

    async def test_a_bounce_to_postmaster_marks_nothing(self) -> None:
        """Only a signed return path does."""
        post = await run_by_somebody()
        await route(post.here)
        await post.sent()

        await post.take(f"postmaster@{RP}", dsn())

        assert not await post.events(EventKind.BOUNCED)


class TestParseRecipient:
    @pytest.mark.parametrize("argument", ["TO:<postmaster>", "TO:<Postmaster>", "to: PostMaster"])
    def test_postmaster_needs_no_domain(self, argument: str) -> None:
        """RFC 5321 §4.1.1.3."""
        assert parse_recipient(argument, utf8=False, hostname="mx.example.test") == "postmaster@mx.example.test"

    @pytest.mark.parametrize("argument", ["TO:<abuse>", "TO:<postmaster@>", "TO:<>"])
    def test_nobody_else_goes_without(self, argument: str) -> None:
        """Only this one name is the standard's."""
        refused = (replies.BAD_RECIPIENT, replies.EMPTY_RECIPIENT)
        assert parse_recipient(argument, utf8=False, hostname="mx.example.test") in refused


class TestSetting:
    @pytest.mark.parametrize("text", ["ops@example.com", "a.b-c@mail.example.com", ""])
    def test_is_a_routes_address(self, text: str) -> None:
        """Or empty, which is usual."""
        assert Settings.from_env({"EDGEPOST_POSTMASTER": text}).postmaster == text

    @pytest.mark.parametrize(
        "text", ["ops", "@example.com", "Ops@example.com", "a+b@example.com", "a@b@c.test", "*@x.test"]
    )
    def test_is_nothing_else(self, text: str) -> None:
        """A start that is refused is seen; mail that goes nowhere is not."""
        with pytest.raises(SettingsError, match="EDGEPOST_POSTMASTER"):
            Settings.from_env({"EDGEPOST_POSTMASTER": text})
