import asyncio
from typing import Any

import pytest

from shared.adapters.dns import DNSLimits, DNSResolver
from shared.domain.dns import LookupFailed
from shared.network import MXHost
from tests.fakes.dns_server import FakeDNS

ZONE: dict[str, dict[str, Any]] = {
    "x.test": {"MX": [[10, "mx1.x.test"], [20, "mx2.x.test"]], "A": ["192.0.2.1"], "TXT": ["v=spf1 -all", "y" * 300]},
    "mx1.x.test": {"A": ["192.0.2.2"], "AAAA": ["2001:db8::2"]},
    "null.test": {"MX": [[0, "."]]},
    "alias.test": {"CNAME": "x.test"},
    "lazy.test": {"CNAME": "x.test", "follow": False},
    "loop.test": {"CNAME": "loop2.test", "follow": False},
    "loop2.test": {"CNAME": "loop.test", "follow": False},
    "broken.test": {"fail": "SERVFAIL"},
    "refused.test": {"fail": "REFUSED"},
    "silent.test": {"fail": "timeout"},
    "big.test": {"A": ["192.0.2.9"], "fail": "truncate"},
    "xn--mller-kva.test": {"A": ["192.0.2.7"]},
    "1.2.0.192.in-addr.arpa": {"PTR": "x.test"},
    "short.test": {"A": ["192.0.2.3"], "ttl": 5},
    "_dmarc.x.test": {"TXT": ["v=DMARC1; p=none"]},
}
FAST = DNSLimits(timeout_s=0.05, tries=2)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self.now


class TestMX:
    async def test_returns_the_set(self) -> None:
        """Preference and name without final dot."""
        async with FakeDNS(ZONE) as server:
            found = await DNSResolver([server.address]).mx("X.test.")

        assert sorted(found or (), key=lambda host: host.preference) == [
            MXHost(10, "mx1.x.test"),
            MXHost(20, "mx2.x.test"),
        ]

    async def test_null_mx_is_one_empty_name(self) -> None:
        """RFC 7505: how the caller recognises it."""
        async with FakeDNS(ZONE) as server:
            assert await DNSResolver([server.address]).mx("null.test") == [MXHost(0, "")]

    @pytest.mark.parametrize("name", ["alias.test", "lazy.test"])
    async def test_follows_aliases(self, name: str) -> None:
        """RFC 5321 §5.1: a domain that is an alias counts as what it stands for."""
        async with FakeDNS(ZONE) as server:
            found = await DNSResolver([server.address]).mx(name)

        assert found is not None
        assert len(found) == 2

    @pytest.mark.parametrize(
        ("name", "expected"), [("mx1.x.test", []), ("missing.test", None), ("a" * 64 + ".test", None)]
    )
    async def test_tells_no_mx_from_no_domain(self, name: str, expected: object) -> None:
        """The one has an implicit MX, the other bounces."""
        async with FakeDNS(ZONE) as server:
            assert await DNSResolver([server.address]).mx(name) == expected

    @pytest.mark.parametrize("name", ["broken.test", "refused.test", "silent.test", "loop.test"])
    async def test_no_answer(self, name: str) -> None:
        """Not knowing is temporary, so it must not look like an answer."""
        async with FakeDNS(ZONE) as server:
            with pytest.raises(LookupFailed):
                await DNSResolver([server.address], limits=FAST).mx(name)

    async def test_a_dead_server_does_not_matter(self) -> None:
        """The next one is asked."""
        async with FakeDNS(ZONE) as server, FakeDNS({"x.test": {"fail": "timeout"}}) as dead:
            resolver = DNSResolver([dead.address, server.address], limits=DNSLimits(timeout_s=0.05, tries=10))

            assert await resolver.mx("x.test")


class TestAddresses:
    async def test_both_families(self) -> None:
        """AAAA and A are asked at once."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address])

            assert set(await resolver.addresses("mx1.x.test")) == {"192.0.2.2", "2001:db8::2"}
            assert await resolver.addresses("mx1.x.test", ipv6=False) == ["192.0.2.2"]

    async def test_none(self) -> None:
        """A name without addresses, or none at all, has an empty set."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address])

            assert await resolver.addresses("null.test") == []
            assert await resolver.addresses("missing.test") == []

    async def test_truncated_answers_come_by_tcp(self) -> None:
        """RFC 7766 §5."""
        async with FakeDNS(ZONE) as server:
            assert await DNSResolver([server.address]).addresses("big.test", ipv6=False) == ["192.0.2.9"]
            assert server.asked_by_tcp == 1

    async def test_international_names(self) -> None:
        """The DNS knows A-labels."""
        async with FakeDNS(ZONE) as server:
            assert await DNSResolver([server.address]).addresses("müller.test") == ["192.0.2.7"]


class TestTXT:
    async def test_strings_are_joined(self) -> None:
        """A DKIM key is longer than one string of 255 (RFC 6376 §3.6.2.2)."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address])

            assert sorted(await resolver.txt("x.test")) == ["v=spf1 -all", "y" * 300]
            assert await resolver.txt("_dmarc.x.test") == ("v=DMARC1; p=none",)
            assert list(await resolver.txt("missing.test")) == []


class TestPointer:
    async def test_returns_the_name(self) -> None:
        """The name of a client for its Received header."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address])

            assert await resolver.pointer("192.0.2.1") == "x.test"
            assert await resolver.pointer("192.0.2.99") is None
            assert await resolver.pointer("nonsense") is None


class TestCache:
    async def test_honours_the_ttl(self) -> None:
        """As long as the zone says, and no longer."""
        clock = Clock()
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address], clock=clock)
            for clock.now in (0, 4, 6):
                await resolver.addresses("short.test", ipv6=False)

            assert server.asked["short.test", "A"] == 2

    async def test_absence_is_kept_for_a_minute(self) -> None:
        """A domain that was just set up must not stay unknown for an hour."""
        clock = Clock()
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address], clock=clock)
            for clock.now in (0, 59, 61):
                await resolver.mx("missing.test")

            assert server.asked["missing.test", "MX"] == 2

    async def test_failures_are_not_kept(self) -> None:
        """The next attempt asks again."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address], limits=FAST)
            for _ in range(2):
                with pytest.raises(LookupFailed):
                    await resolver.mx("refused.test")

            assert server.asked["refused.test", "MX"] >= 2

    async def test_the_same_question_goes_out_once(self) -> None:
        """Ten thousand messages to one domain ask for its MX at the same moment."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address])
            server.hold = asyncio.Event()
            asking = [asyncio.create_task(resolver.mx("x.test")) for _ in range(50)]
            await asyncio.sleep(0)
            asking[0].cancel()
            server.hold.set()

            answers = await asyncio.gather(*asking[1:])
            assert all(len(answer or ()) == 2 for answer in answers)
            assert server.asked["x.test", "MX"] == 1

    async def test_is_bounded(self) -> None:
        """A list of made-up domains must not fill the memory."""
        async with FakeDNS(ZONE) as server:
            resolver = DNSResolver([server.address], limits=DNSLimits(most_answers=3))
            for number in range(10):
                await resolver.mx(f"missing{number}.test")

            assert len(resolver._answers) == 3
