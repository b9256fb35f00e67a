import random
from ipaddress import ip_network

import pytest

from shared.domain.job import Target, TLSMode, ToHost, ToMX
from shared.domain.outcome import HardFail, SoftFail
from shared.network import MXHost
from smtp_node.deliver.route import Hop, RouteRules, find_route, in_order
from tests.fakes.resolver import FakeResolver

PUBLIC, OTHER, THIRD = "8.8.8.8", "9.9.9.9", "1.1.1.1"
PUBLIC6 = "2606:4700::1111"


async def route(
    target: Target,
    resolver: FakeResolver,
    rules: RouteRules | None = None,
    *,
    trusted: bool = False,
    source: str | None = None,
) -> object:
    """Return the hops as (host, address), or the failure."""
    found = await find_route(
        target,
        resolver=resolver,
        rules=rules or RouteRules(),
        rng=random.Random(1),
        trusted=trusted,
        source_address=source,
    )
    return found if isinstance(found, HardFail | SoftFail) else [(hop.host, hop.address) for hop in found]


class TestInOrder:
    def test_by_preference(self) -> None:
        """RFC 5321 §5.1: the lowest number first."""
        hosts = [MXHost(20, "b"), MXHost(10, "a"), MXHost(30, "c")]

        assert in_order(hosts, random.Random(0)) == ["a", "b", "c"]

    def test_equal_ones_take_turns(self) -> None:
        """RFC 5321 §5.1: load is spread over hosts of equal preference."""
        hosts = [MXHost(10, "a"), MXHost(10, "b")]

        firsts = {in_order(hosts, random.Random(seed))[0] for seed in range(20)}

        assert firsts == {"a", "b"}

    def test_each_once(self) -> None:
        """A host listed twice is tried once."""
        assert in_order([MXHost(10, "a."), MXHost(20, "A")], random.Random(0)) == ["a"]


class TestFindRoute:
    async def test_follows_mx(self) -> None:
        """Hosts come in the order of their preference."""
        resolver = FakeResolver(
            mx={"x.test": [(20, "mx2.x.test"), (10, "mx1.x.test")]},
            addresses={"mx1.x.test": [PUBLIC], "mx2.x.test": [OTHER]},
        )

        assert await route(ToMX("x.test"), resolver) == [("mx1.x.test", PUBLIC), ("mx2.x.test", OTHER)]

    async def test_without_mx_the_domain_itself(self) -> None:
        """RFC 5321 §5.1: an implicit MX."""
        assert await route(ToMX("x.test"), FakeResolver(addresses={"x.test": [PUBLIC]})) == [("x.test", PUBLIC)]

    async def test_uses_its_own_port_and_opportunistic_tls(self) -> None:
        """MX hosts cannot be asked for a certificate, but for encryption."""
        resolver = FakeResolver(addresses={"x.test": [PUBLIC]})

        found = await find_route(ToMX("x.test"), resolver=resolver, rules=RouteRules(2525), rng=random.Random(0))

        assert found == [Hop("x.test", PUBLIC, 2525, TLSMode.OPPORTUNISTIC)]

    async def test_international_domain(self) -> None:
        """The DNS knows A-labels (RFC 5890)."""
        resolver = FakeResolver(addresses={"xn--mller-kva.test": [PUBLIC]})

        assert await route(ToMX("Müller.test"), resolver) == [("xn--mller-kva.test", PUBLIC)]

    @pytest.mark.parametrize(
        ("target", "failure", "enhanced_code"),
        [
            (ToMX("null.test"), HardFail, "5.1.10"),
            (ToMX("missing.test"), HardFail, "5.1.2"),
            (ToMX("[127.0.0.1]"), HardFail, "5.1.2"),
            (ToMX("127.0.0.1"), HardFail, "5.1.2"),
            (ToMX("a b.test"), HardFail, "5.1.2"),
            (ToMX(""), HardFail, "5.1.2"),
            (ToMX("failing.test"), SoftFail, "4.4.3"),
            (ToMX("mx-failing.test"), SoftFail, "4.4.3"),
            (ToMX("empty.test"), SoftFail, "4.4.4"),
            (ToMX("loop.test"), HardFail, "5.4.4"),
            (ToMX("literal.test"), HardFail, "5.4.4"),
            (ToHost("127.0.0.1", 25, TLSMode.NONE), HardFail, "5.4.4"),
            (ToHost("[::1]", 25, TLSMode.NONE), HardFail, "5.4.4"),
            (ToHost("a b", 25, TLSMode.NONE), HardFail, "5.1.2"),
        ],
    )
    async def test_dead_ends(self, target: Target, failure: type, enhanced_code: str) -> None:
        """What the DNS says for certain is final; what it does not say is temporary."""
        resolver = FakeResolver(
            mx={
                "null.test": [(0, "")],
                "mx-failing.test": [(10, "failing.test")],
                "loop.test": [(10, "localhost"), (20, "metadata.test")],
                "literal.test": [(10, "127.0.0.1")],
            },
            addresses={"localhost": ["127.0.0.1", "::1"], "metadata.test": ["169.254.169.254"]},
            missing=["missing.test"],
            failing=["failing.test"],
        )

        outcome = await route(target, resolver)

        assert isinstance(outcome, failure)
        assert outcome.evidence.enhanced_code == enhanced_code  # type: ignore[attr-defined]

    async def test_forbidden_addresses_are_left_out(self) -> None:
        """One public address among private ones is enough, and the only one used."""
        resolver = FakeResolver(addresses={"x.test": ["10.0.0.1", PUBLIC, "::1"]})

        assert await route(ToMX("x.test"), resolver) == [("x.test", PUBLIC)]

    async def test_allowed_networks(self) -> None:
        """The operator may open private networks for SMTP."""
        resolver = FakeResolver(addresses={"x.test": ["127.0.0.1"]})
        rules = RouteRules(allowed=(ip_network("127.0.0.0/8"),))

        assert await route(ToMX("x.test"), resolver, rules) == [("x.test", "127.0.0.1")]

    async def test_a_smart_host_may_be_private(self) -> None:
        """The operator named it, so it needs no second permission."""
        target = ToHost("relay.test", 587, TLSMode.STARTTLS)
        resolver = FakeResolver(addresses={"relay.test": ["10.0.0.5"]})

        assert await route(target, resolver, trusted=True) == [("relay.test", "10.0.0.5")]

    async def test_an_unanswered_host_does_not_hide_the_others(self) -> None:
        """One lame name server must not stop the mail."""
        resolver = FakeResolver(
            mx={"x.test": [(10, "lame.test"), (20, "good.test")]},
            addresses={"good.test": [PUBLIC]},
            failing=["lame.test"],
        )

        assert await route(ToMX("x.test"), resolver) == [("good.test", PUBLIC)]

    async def test_at_most_five_addresses_of_several_hosts(self) -> None:
        """A domain with fifty hosts must not keep an attempt busy for hours."""
        hosts = [f"mx{number}.test" for number in range(50)]
        resolver = FakeResolver(
            mx={"x.test": [(number, host) for number, host in enumerate(hosts)]},
            addresses={host: [f"8.8.{number}.{low}" for low in range(1, 9)] for number, host in enumerate(hosts)},
        )

        found = await route(ToMX("x.test"), resolver)

        assert [host for host, _ in found] == ["mx0.test", "mx0.test", "mx1.test", "mx1.test", "mx2.test"]  # type: ignore[attr-defined]
        assert len(resolver.asked) < 10

    async def test_families_take_turns(self) -> None:
        """Broken IPv6 must leave a chance to IPv4."""
        resolver = FakeResolver(addresses={"x.test": [PUBLIC6, "2606:4700::2222", PUBLIC, OTHER]})

        found = await route(ToMX("x.test"), resolver)

        assert [":" in address for _, address in found] == [True, False, True, False]  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("rules", "source", "expected"),
        [
            (RouteRules(ipv6=False), None, [PUBLIC]),
            (RouteRules(), "192.0.2.1", [PUBLIC]),
            (RouteRules(), "2001:db8::1", [PUBLIC6]),
            (RouteRules(ipv6=False), "2001:db8::1", [PUBLIC6]),
        ],
    )
    async def test_only_usable_families(self, rules: RouteRules, source: str | None, expected: list[str]) -> None:
        """From an IPv4 address no IPv6 host can be reached, and the other way round."""
        resolver = FakeResolver(addresses={"x.test": [PUBLIC, PUBLIC6]})

        found = await route(ToMX("x.test"), resolver, rules, source=source)

        assert [address for _, address in found] == expected  # type: ignore[attr-defined]
