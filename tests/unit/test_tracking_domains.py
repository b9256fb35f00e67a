"""Tracking domains: whose they are, when they count, and which mail uses them."""

from dataclasses import replace

import pytest

from shared.domain.dns import LookupFailed
from shared.domain.errors import InvalidValue, NameTaken, NotFound, NotPermitted
from shared.domain.tenancy import Scope, Server
from shared.domain.tracking import TrackDomain, Tracking, base_url, checked_excluded, is_excluded, tracking_of
from shared.flow.organizations import create_organization, suspend_organization, unsuspend_organization
from shared.flow.servers import NewServer, create_server, delete_server, suspend_server, unsuspend_server
from shared.flow.track_domains import (
    NewTrackDomain,
    add_track_domain,
    delete_track_domain,
    find_track_domain,
    list_track_domains,
    track_records,
    update_track_domain,
    verify_track_domain,
)
from shared.settings import Settings
from shared.store.suspended import Suspended
from shared.store.track_domains import TrackDomains
from tests.fakes.installation import Installation, install
from tests.fakes.resolver import FakeResolver

SETTINGS = Settings(track_domain="track.host.test", public_url="https://mail.host.test", hostname="mail.host.test")
NAME = "track.example.test"


async def add(
    here: Installation,
    name: str = NAME,
    *,
    server: Server | None = None,
    trusted: bool = False,
    sending_domain: str = "",
    scope: Scope = Scope.ADMIN,
) -> TrackDomain:
    """Add a tracking domain."""
    wanted = NewTrackDomain(name=name, scope=scope, sending_domain=sending_domain, trusted=trusted)
    return await add_track_domain(
        wanted, server=server or here.server, records=here.records, settings=SETTINGS, now=here.clock()
    )


async def verify(here: Installation, domain: TrackDomain, **dns: str) -> tuple[bool, str]:
    """Look in a DNS with these CNAME records."""
    resolver = FakeResolver(cname={name.replace("__", "."): target for name, target in dns.items()})
    found = await verify_track_domain(
        domain, records=here.records, resolver=resolver, settings=SETTINGS, now=here.clock()
    )
    return found.verified, found.explanation


async def other_server(here: Installation) -> Server:
    """Make a server of somebody else."""
    organization = await create_organization("Other", records=here.records, rng=here.rng, now=here.clock())
    return await create_server(
        NewServer(name="Other"), organization=organization, records=here.records, rng=here.rng, now=here.clock()
    )


class TestAdd:
    async def test_is_found_by_name_and_in_the_list(self) -> None:
        """In the form in which requests name it."""
        here = await install()
        added = await add(here, "Track.EXAMPLE.test.")

        assert added.name == NAME
        assert await find_track_domain(NAME, records=here.records) == added
        assert await list_track_domains(here.server, records=here.records) == [added]
        assert [(each.type, each.name, each.value) for each in track_records(added, SETTINGS)] == [
            ("CNAME", NAME, "track.host.test")
        ]

    async def test_counts_only_once_it_is_verified_or_trusted(self) -> None:
        """A name whose owner did not agree must not stand in mail."""
        here = await install()

        assert (await add(here)).verified_at is None
        assert (await add(here, "t2.example.test", trusted=True)).verified_at == here.clock()

    async def test_trust_needs_the_admin(self) -> None:
        """Checked here, whatever door the word came through."""
        here = await install()
        with pytest.raises(NotPermitted):
            await add(here, trusted=True, scope=Scope.SERVER)

    @pytest.mark.parametrize(
        "name", ["track.host.test", "mail.host.test", "localhost", "x", "127.0.0.1", "a b.test", "http://x.test", ""]
    )
    async def test_names_that_serve_something_else_are_refused(self, name: str) -> None:
        """Who takes the API's own name would take the API away."""
        here = await install()
        with pytest.raises(InvalidValue):
            await add(here, name)

    async def test_a_name_belongs_to_one_server(self) -> None:
        """Tokens are told apart by it."""
        here = await install()
        await add(here, trusted=True)
        with pytest.raises(NameTaken):
            await add(here)
        with pytest.raises(NameTaken):
            await add(here, server=await other_server(here))

    async def test_an_unverified_claim_keeps_nobody_away(self) -> None:
        """Otherwise anybody could take names of others, and leave them."""
        here = await install()
        squatter = await other_server(here)
        await add(here, server=squatter)

        mine = await add(here)

        assert await find_track_domain(NAME, records=here.records) == mine
        assert await list_track_domains(squatter, records=here.records) == []
        await verify(here, mine, track__example__test="track.host.test")
        with pytest.raises(NameTaken):
            await add(here, server=squatter)

    async def test_a_sending_domain_must_be_the_servers(self) -> None:
        """A mistyped one would track nothing, silently."""
        here = await install()
        assert (await add(here, sending_domain="Example.test")).sending_domain == "example.test"
        with pytest.raises(NotFound):
            await add(here, "t2.example.test", sending_domain="other.test")


class TestVerify:
    async def test_wants_the_cname(self) -> None:
        """As Postal; what was found instead is said."""
        here = await install()
        domain = await add(here)

        assert await verify(here, domain) == (
            False,
            f"{NAME} has no CNAME record; publish at {NAME} a CNAME record to track.host.test",
        )
        assert (await verify(here, domain, track__example__test="elsewhere.test"))[1].startswith(
            f"{NAME} is a CNAME of 'elsewhere.test'; publish"
        )
        assert (await verify(here, domain, track__example__test="TRACK.host.test"))[0]
        assert (await find_track_domain(NAME, records=here.records)).verified_at == here.clock()

    async def test_stays_whatever_the_dns_says_later(self) -> None:
        """Links that were sent must go on working."""
        here = await install()

        assert (await verify(here, await add(here, trusted=True)))[0]

    async def test_not_knowing_changes_nothing(self) -> None:
        """A failing name server is no answer."""
        here = await install()
        domain = await add(here)
        with pytest.raises(LookupFailed):
            await verify_track_domain(
                domain,
                records=here.records,
                resolver=FakeResolver(failing=[NAME]),
                settings=SETTINGS,
                now=here.clock(),
            )

    async def test_one_that_was_taken_over_meanwhile_is_not(self) -> None:
        """The proof was for a name that is somebody else's now."""
        here = await install()
        claim = await add(here, server=await other_server(here))
        await add(here)
        with pytest.raises(NotFound):
            await verify(here, claim, track__example__test="track.host.test")


class TestChange:
    async def test_switches_and_exclusions(self) -> None:
        """Each by itself, and seen by whoever asks next."""
        here = await install()
        domain = await add(here)

        changed = await update_track_domain(domain, clicks=False, excluded=["Bank.test", "*.gov"], records=here.records)

        assert (changed.opens, changed.clicks, changed.excluded) == (True, False, ("bank.test", "*.gov"))
        assert await find_track_domain(NAME, records=here.records) == changed
        assert await update_track_domain(changed, records=here.records) == changed

    async def test_deleting_needs_the_name(self) -> None:
        """Links of mail that was sent lead nowhere from then on."""
        here = await install()
        domain = await add(here)
        with pytest.raises(InvalidValue):
            await delete_track_domain(domain, typed_name="x", records=here.records)
        for _ in range(2):
            await delete_track_domain(domain, typed_name=NAME, records=here.records)
        with pytest.raises(NotFound):
            await find_track_domain(NAME, records=here.records)

    async def test_deleting_a_claim_leaves_the_new_owner_alone(self) -> None:
        """Whoever lost a name must not be able to take it away."""
        here = await install()
        claim = await add(here, server=await other_server(here))
        mine = await add(here)

        await TrackDomains(here.records).remove(claim)

        assert await find_track_domain(NAME, records=here.records) == mine

    async def test_they_go_with_their_server(self) -> None:
        """The name is free again."""
        here = await install()
        await add(here)
        await delete_server("main", typed_name="Main", records=here.records)
        with pytest.raises(NotFound):
            await find_track_domain(NAME, records=here.records)


class TestTrackingOf:
    async def test_is_decided_in_an_order(self) -> None:
        """For the sending domain, below it, any of the server, the installation's own, none."""
        here = await install()
        named = replace(await add(here, "a.other.test", trusted=True), sending_domain="example.test")
        below = await add(here, "z.example.test", trusted=True)
        other = await add(here, "a2.other.test", trusted=True)
        unverified = await add(here, "b.example.test")

        def host(*domains: TrackDomain, shared: str = "") -> str:
            return tracking_of(domains, sending_domain="example.test", shared_host=shared, opens=None, clicks=None).host

        assert host(other, below, named) == "a.other.test"
        assert host(other, below) == "z.example.test"
        assert host(other, unverified, shared="s.test") == "a2.other.test"
        assert host(unverified, shared="s.test") == "s.test"
        assert host(unverified) == ""
        assert host(replace(named, sending_domain="else.test")) == ""

    @pytest.mark.parametrize("own", [True, False])
    @pytest.mark.parametrize("message", [True, False, None])
    async def test_the_message_decides_before_its_domain(self, own: bool, message: bool | None) -> None:
        """Opens and clicks each."""
        here = await install()
        domain = replace(await add(here, trusted=True), opens=own, clicks=not own)

        found = tracking_of([domain], sending_domain="x.test", shared_host="", opens=message, clicks=message)

        assert (found.opens, found.clicks) == ((own, not own) if message is None else (message, message))

    def test_nothing_without_a_host(self) -> None:
        """A message may ask for tracking where there is no name for it."""
        assert not tracking_of([], sending_domain="x.test", shared_host="", opens=True, clicks=True)
        assert tracking_of([], sending_domain="x.test", shared_host="s.test", opens=None, clicks=False) == Tracking(
            host="s.test", opens=True, clicks=False
        )


class TestExcluded:
    @pytest.mark.parametrize(
        ("host", "out"),
        [
            ("bank.test", True), ("bank.test:8080", True), ("www.bank.test", False), ("xbank.test", False),
            ("a.gov", True), ("a.b.gov", True), ("gov", False), ("port.test:81", True), ("port.test", False),
        ],
    )  # fmt: skip
    def test_hosts_are_exact_unless_a_star_says_otherwise(self, host: str, out: bool) -> None:
        """As in Postal, and with subdomains where wanted."""
        excluded = frozenset(checked_excluded(["bank.test", "*.gov", "port.test:81"]))

        assert is_excluded(host, excluded) is out

    @pytest.mark.parametrize("names", [["a b"], ["http://x.test"], ["x.test:port"], ["*"], ["x.test"] * 101])
    def test_what_is_none_is_refused(self, names: list[str]) -> None:
        """It would exclude nothing, silently."""
        with pytest.raises(InvalidValue):
            checked_excluded(names)


class TestBaseURL:
    @pytest.mark.parametrize(
        ("public", "base"),
        [
            ("https://mail.host.test", "https://t.test"),
            ("http://localhost:8080", "http://t.test:8080"),
            ("https://mail.host.test/edgepost", "https://t.test"),
        ],
    )
    def test_has_scheme_and_port_of_the_public_url(self, public: str, base: str) -> None:
        """On a laptop links work too."""
        assert base_url("t.test", public) == base


class TestSuspended:
    async def test_follows_servers_and_organizations(self) -> None:
        """Links of a suspended server stop, and those of an organization's servers."""
        here = await install()
        listed = Suspended(here.records)
        server, now = here.server, here.clock()

        await suspend_server("main", "spam", records=here.records, events=here.events, now=now)
        assert await listed.all() == {server.id}
        await suspend_organization("acme", "spam", records=here.records, now=now)
        await unsuspend_server("main", records=here.records)
        assert await listed.all() == {server.id}
        await unsuspend_organization("acme", records=here.records)
        assert await listed.all() == frozenset()

        await suspend_server("main", "spam", records=here.records, events=here.events, now=now)
        await suspend_organization("acme", "spam", records=here.records, now=now)
        await unsuspend_organization("acme", records=here.records)
        assert await listed.all() == {server.id}
        await delete_server("main", typed_name="Main", records=here.records)
        assert await listed.all() == frozenset()
