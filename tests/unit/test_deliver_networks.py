from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.networks import may_reach

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "193.0.6.139",
    "2606:4700::1111",
    "2a00:1450:4001:80e::200e",
    "100.63.255.255",
    "172.32.0.1",
]
FORBIDDEN = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a9fe:a9fe::",
    "2002:808:808::1",
    "3fff::1",
    "2606:4700::5efe:a9fe:a9fe",
    "2606:4700::200:5efe:10.0.0.1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
NO_ADDRESS = [
    "",
    "localhost",
    "127.1",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "①②⑦.⓪.⓪.①",
    "8.8.8.8/32",
    "fe80::1%eth0",
    "2606:4700::1%1",
]


def networks(*texts: str) -> list:
    """Return the parsed networks."""
    return [ip_network(text) for text in texts]


class TestMayReach:
    @pytest.mark.parametrize("address", PUBLIC)
    def test_the_public_internet(self, address: str) -> None:
        """Mail goes to public unicast addresses."""
        assert may_reach(address, ())

    @pytest.mark.parametrize("address", FORBIDDEN)
    def test_nothing_else(self, address: str) -> None:
        """A recipient's DNS must not steer us to our own or a cloud's services."""
        assert not may_reach(address, ())

    @pytest.mark.parametrize("text", NO_ADDRESS)
    def test_only_addresses(self, text: str) -> None:
        """Text that a C library would read as an address is none here."""
        assert not may_reach(text, networks("0.0.0.0/0", "::/0"))

    @pytest.mark.parametrize(
        ("address", "allowed", "expected"),
        [
            ("127.0.0.1", ["127.0.0.0/8"], True),
            ("127.0.0.1", ["10.0.0.0/8"], False),
            ("::1", ["::1/128"], True),
            ("10.9.8.7", ["10.9.8.7/32"], True),
            ("169.254.169.254", ["0.0.0.0/0"], False),
            ("169.254.169.254", ["169.254.169.254/32"], True),
            ("fd00:ec2::254", ["fd00::/8"], False),
            ("fd00:ec2::254", ["fd00:ec2::254/128"], True),
            ("fd12::1", ["fd00::/8"], True),
            ("fe80::1", ["fe80::/10"], False),
        ],
    )
    def test_what_the_operator_allowed(self, address: str, allowed: list[str], expected: bool) -> None:
        """Ranges open private networks; addresses with credentials behind them only by name."""
        assert may_reach(address, networks(*allowed)) is expected

    @pytest.mark.parametrize(
        ("address", "allowed", "expected"),
        [
            ("::ffff:127.0.0.1", ["127.0.0.0/8"], False),
            ("::ffff:127.0.0.1", ["::/0"], False),
            ("::ffff:127.0.0.1", ["::/0", "127.0.0.0/8"], True),
            ("64:ff9b::a9fe:a9fe", ["64:ff9b::/96"], False),
            ("64:ff9b::808:808", ["64:ff9b::/96"], True),
        ],
    )
    def test_embedded_addresses_count_twice(self, address: str, allowed: list[str], expected: bool) -> None:
        """A gateway's prefix must not open what lies behind it."""
        assert may_reach(address, networks(*allowed)) is expected

    @given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="127.0.0.0/8"))
    def test_no_embedding_hides_a_private_address(self, address: object) -> None:
        """Every known way to write an IPv4 address as IPv6 is refused."""
        for prefix in ("::", "::ffff:", "64:ff9b::", "2606:4700::5efe:", "64:ff9b:1::"):
            assert not may_reach(f"{prefix}{address}", ())
