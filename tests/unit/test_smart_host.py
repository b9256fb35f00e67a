"""Smart hosts, as a setting names them."""

import pytest

from shared.setting_values import WrongValue
from shared.smart_host import POOL_SMART_HOSTS, SmartHost, parse_smart_host


class TestParseSmartHost:
    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("smtp://relay.example.com", SmartHost("relay.example.com", 587, "starttls")),
            ("smtps://relay.example.com", SmartHost("relay.example.com", 465, "tls")),
            ("smtp://relay.example.com:25?tls=none", SmartHost("relay.example.com", 25, "none")),
            ("smtp://relay.example.com?tls=tls", SmartHost("relay.example.com", 465, "tls")),
            ("smtp://relay.example.com?ssl_mode=Auto", SmartHost("relay.example.com", 587, "opportunistic")),
            ("smtp://relay.example.com?ssl_mode=STARTLS", SmartHost("relay.example.com", 587, "starttls")),
            (
                "smtp://u%40a:p%2F%3F%23@relay.example.com/",
                SmartHost("relay.example.com", 587, "starttls", "u@a", "p/?#"),
            ),
            ("smtp://u:p@127.0.0.1:2525?tls=none", SmartHost("127.0.0.1", 2525, "none", "u", "p")),
            ("smtp://[2001:DB8::1]:26", SmartHost("2001:db8::1", 26, "starttls")),
        ],
    )
    def test_understands(self, text: str, host: SmartHost) -> None:
        """Operators copy what their relay's provider or their Postal says."""
        assert parse_smart_host(text) == host

    def test_empty_means_none(self) -> None:
        """Without a smart host, mail goes to the recipients' MX hosts."""
        assert parse_smart_host("") is None

    @pytest.mark.parametrize("mode", ["none", "opportunistic"])
    def test_refuses_to_send_a_password_in_the_clear(self, mode: str) -> None:
        """RFC 4954 §4: a plain password must not cross a network unprotected."""
        with pytest.raises(WrongValue, match="tls must be starttls or tls"):
            parse_smart_host(f"smtp://u:p@relay.example.com?tls={mode}")

    @pytest.mark.parametrize(
        "text",
        [
            "relay.example.com",
            "http://relay.example.com",
            "smtp://",
            "smtp://relay.example.com:0",
            "smtp://relay.example.com:70000",
            "smtp://relay.example.com/path",
            "smtp://relay.example.com#x",
            "smtp://relay.example.com?tls=maybe",
            "smtp://relay.example.com?port=25",
            "smtp://relay.example.com?tls",
            "smtps://relay.example.com?tls=starttls",
            "smtp://user@relay.example.com",
            "smtp://u:a b@relay.example.com",
        ],
    )
    def test_refuses(self, text: str) -> None:
        """A relay that is misread gets all mail, or none of it."""
        with pytest.raises(WrongValue):
            parse_smart_host(text)


class TestPoolSmartHosts:
    def test_reads_one_relay_for_each_pool(self) -> None:
        """Only some pools' addresses may be unable to reach port 25."""
        assert POOL_SMART_HOSTS("bulk=smtp://a.example.com  vip=smtps://u:p=q@b.example.com") == (
            ("bulk", SmartHost("a.example.com", 587, "starttls")),
            ("vip", SmartHost("b.example.com", 465, "tls", "u", "p=q")),
        )

    @pytest.mark.parametrize(
        "text", ["smtp://a.example.com", "bulk=", "=smtp://a.example.com", "a=smtp://a.com a=smtp://b.com", "a=b"]
    )
    def test_refuses(self, text: str) -> None:
        """A pool without its relay, or with two, is a mistake."""
        with pytest.raises(WrongValue):
            POOL_SMART_HOSTS(text)
