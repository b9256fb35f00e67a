"""Settings: every form of value, rules between them, and silence about secrets."""

from base64 import b64encode
from dataclasses import Field, fields
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import ServiceAddress, Settings, SettingsError, SourceAddress, variable

SECRET = "hunter2-s3cret"


def read(**values: str) -> Settings:
    """Read settings from variables given without their prefix, in lower case."""
    return Settings.from_env({f"EDGEPOST_{name.upper()}": value for name, value in values.items()})


def problems(**values: str) -> list[str]:
    """Return what is wrong with the settings, or nothing."""
    try:
        read(**values)
    except SettingsError as exc:
        return exc.problems
    return []


class TestFromEnv:
    def test_an_empty_environment_gives_the_defaults(self) -> None:
        """A laptop needs no configuration at all."""
        assert read() == Settings()

    def test_every_default_is_readable_in_its_own_form(self) -> None:
        """An operator who writes the documented default out gets the same as without it."""
        written = {variable(each): each.metadata["default"] for each in fields(Settings)}

        assert Settings.from_env(written) == Settings()

    def test_an_empty_variable_counts_as_unset(self) -> None:
        """Compose files and units pass variables on that are set to nothing."""
        assert read(http_port="", smart_host="") == Settings()

    def test_other_variables_are_ignored(self) -> None:
        """The environment belongs to others too, and tests tell each other things in it."""
        environment = {"PATH": "/bin", "EDGEPOST": "1", "EDGEPOST_TEST_NODE_MODULES": "/tmp"}

        assert Settings.from_env(environment) == Settings()

    def test_an_unknown_name_is_a_problem(self) -> None:
        """A misspelt name would otherwise be silently without effect."""
        assert problems(htpp_port="1") == ["EDGEPOST_HTPP_PORT is not a setting; see docs/settings.md"]

    def test_all_problems_are_listed_at_once(self) -> None:
        """Nobody wants to start a server ten times to find ten mistakes."""
        found = problems(http_port="x", hostname="A B", smtp_port="2587", tls_cert="a.pem", nonsense="1")

        assert [each.split()[0] for each in found] == [
            "EDGEPOST_HOSTNAME",
            "EDGEPOST_HTTP_PORT",
            "EDGEPOST_NONSENSE",
            "EDGEPOST_SMTP_PORT",
            "EDGEPOST_TLS_CERT",
        ]

    def test_the_error_shows_one_problem_on_each_line(self) -> None:
        """It is printed as it is when the start fails."""
        with pytest.raises(SettingsError) as caught:
            read(http_port="x", smtp_port="x")

        assert len(str(caught.value).splitlines()) == 2


class TestGoodValues:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("http_port", "0", 0),
            ("http_port", "65535", 65535),
            ("retry_growth", "1.5", 1.5),
            ("retry_growth", "1", 1.0),
            ("first_retry", "90s", timedelta(seconds=90)),
            ("first_retry", "2m", timedelta(minutes=2)),
            ("hold_expiry", "12h", timedelta(hours=12)),
            ("hold_expiry", "8d", timedelta(days=8)),
            ("delivery_ipv6", "No", False),
            ("clear_auth_on_loopback", "TRUE", True),
            ("backend", "aws", "aws"),
            ("dkim_algorithms", " ed25519 ", ("ed25519",)),
            ("ip_pools", "a, b_2,c-3", ("a", "b_2", "c-3")),
            ("tls_cert", "", None),
            ("data_dir", "/srv/edge post", Path("/srv/edge post")),
            ("smtp_host", "::", "::"),
            ("smtp_host", "[::1]", "::1"),
            ("smtp_host", "0.0.0.0", "0.0.0.0"),
            ("http_host", "localhost", "localhost"),
            ("hostname", "mx-1.example.com", "mx-1.example.com"),
            ("public_url", "https://mail.example.com:8443/", "https://mail.example.com:8443"),
            ("admin_token", "abc-._~+/=", "abc-._~+/="),
            ("master_key", b64encode(bytes(32)).decode(), b64encode(bytes(32)).decode()),
            ("master_key", "-_" * 21 + "8=", "-_" * 21 + "8="),
            (
                "dns_servers",
                "127.0.0.1:5353, ::1,[::1]:54,dns",
                (("127.0.0.1", 5353), ("::1", 53), ("::1", 54), ("dns", 53)),
            ),
            ("trusted_proxies", "10.0.0.0/8,::1", (ip_network("10.0.0.0/8"), ip_network("::1/128"))),
            (
                "source_addresses",
                "192.0.2.1=mx.example.com, 2001:DB8::1 = mx6.example.com",
                (SourceAddress("192.0.2.1", "mx.example.com"), SourceAddress("2001:db8::1", "mx6.example.com")),
            ),
        ],
    )
    def test_are_read_into_their_type(self, name: str, text: str, value: object) -> None:
        """Everything behind the settings works with typed values, never with text."""
        assert getattr(read(**{name: text}), name) == value


class TestBadValues:
    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("http_port", "65536", "must be a whole number from 0 to 65535"),
            ("http_port", "-1", "must be a whole number from 0 to 65535"),
            ("http_port", "٣", "must be a whole number from 0 to 65535"),
            ("max_attempts", "0", "must be a whole number from 1 to 100"),
            ("retry_growth", "0.9", "must be a number from 1 to 5"),
            ("retry_growth", "nan", "must be a number from 1 to 5"),
            ("time_factor", "1e3", "must be a number from 1 to 1000000"),
            ("first_retry", "5", "must be a time such as 30s, 5m, 12h or 7d, from 10s to 1d"),
            ("first_retry", "25h", "must be a time such as 30s, 5m, 12h or 7d, from 10s to 1d"),
            ("delivery_ipv6", "maybe", "must be yes or no"),
            ("backend", "gcp", "must be one of embedded, aws"),
            ("dkim_algorithms", "rsa,dsa", "must be a list of rsa, ed25519, each at most once"),
            ("dkim_algorithms", ",", "must be a list of rsa, ed25519, each at most once"),
            ("dkim_algorithms", "rsa,rsa", "must be a list of rsa, ed25519, each at most once"),
            ("ip_pools", " , ", "must be names of letters, digits, - and _, separated by commas"),
            ("ip_pools", "a/b", "must be names of letters, digits, - and _, separated by commas"),
            ("data_dir", "a\0b", "must be a path"),
            ("smtp_host", "256.0.0.1", "must be an IP address or a host name"),
            ("hostname", "Mail.example.com", "must be a host name in lower case, such as mail.example.com"),
            ("hostname", f"{'a' * 64}.com", "must be a host name in lower case, such as mail.example.com"),
            ("hostname", "a.com\n", "must be a host name in lower case, such as mail.example.com"),
            ("admin_token", "two words", "must be letters, digits and -._~+/=, without spaces"),
            ("master_key", b64encode(bytes(31)).decode(), "must be 32 bytes in base64"),
            ("master_key", "*" * 44, "must be 32 bytes in base64"),
            ("master_key", "é" * 44, "must be 32 bytes in base64"),
            ("dns_servers", "127.0.0.1:0", "must be host:port, several separated by commas, IPv6 as [address]:port"),
            ("dns_servers", "fe80::1::2", "must be host:port, several separated by commas, IPv6 as [address]:port"),
            ("trusted_proxies", "10.0.0.1/8", "must be networks such as 10.0.0.0/8, separated by commas"),
            ("source_addresses", "192.0.2.1=a.com,192.0.2.1=b.com", "names an address twice"),
        ],
    )
    def test_say_what_is_expected(self, name: str, text: str, expected: str) -> None:
        """The sentence tells the operator what to write, not only that it was wrong."""
        assert problems(**{name: text}) == [f"EDGEPOST_{name.upper()} {expected}"]

    @pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1=", "=a.com", "a.com=192.0.2.1"])
    def test_source_addresses_are_pairs(self, text: str) -> None:
        """An address without its EHLO name would greet with the wrong one."""
        assert len(problems(source_addresses=text)) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "mail.example.com",
            "ftp://a.com",
            "https://",
            "https://u:p@a.com",
            "https://a.com?x",
            "https://a.com:x",
            "http://[::1",
        ],
    )
    def test_public_urls_are_plain(self, text: str) -> None:
        """Links are built by adding a path to it."""
        assert len(problems(public_url=text)) == 1


class TestAllowNetworks:
    def test_a_protocol_narrows_it(self) -> None:
        """A lab's MX hosts may be private while webhooks still may not reach the inside."""
        allowed = read(allow_networks="smtp:10.0.0.0/8, http:192.168.1.0/24, ::1").allow_networks

        assert allowed.smtp == (ip_network("10.0.0.0/8"), ip_network("::1"))
        assert allowed.http == (ip_network("192.168.1.0/24"), ip_network("::1"))

    @pytest.mark.parametrize(
        "text", ["169.254.0.0/16", "0.0.0.0/0", "http:169.254.169.254/31", "::/0", "::ffff:169.254.0.0/120"]
    )
    def test_the_metadata_service_is_not_among_others(self, text: str) -> None:
        """One request to 169.254.169.254 gives away a cloud machine's credentials."""
        assert problems(allow_networks=text) == [
            "EDGEPOST_ALLOW_NETWORKS may name addresses in 169.254.0.0/16 only one by one, as /32"
        ]

    def test_one_link_local_address_may_be_named(self) -> None:
        """Some installations have a real host there, and say so."""
        assert read(allow_networks="smtp:169.254.1.1/32").allow_networks.smtp == (ip_network("169.254.1.1/32"),)

    @pytest.mark.parametrize("text", ["10.0.0.1/8", "ftp:10.0.0.0/8", "smtp:", "all"])
    def test_anything_else_is_refused(self, text: str) -> None:
        """A network that is misread opens the wrong door."""
        assert problems(allow_networks=text) == [
            "EDGEPOST_ALLOW_NETWORKS must be smtp:CIDR, http:CIDR or CIDR, separated by commas"
        ]


class TestScanners:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("127.0.0.1:783", ("127.0.0.1", 783, "")),
            ("[::1]:3310", ("::1", 3310, "")),
            ("scan.internal:783", ("scan.internal", 783, "")),
            ("/run/clamav/clamd.ctl", ("", 0, "/run/clamav/clamd.ctl")),
        ],
    )
    def test_listen_on_a_port_or_a_socket(self, text: str, address: tuple[str, int, str]) -> None:
        """Debian's clamd has a socket, its spamd a port."""
        assert read(spamd=text, clamd=text).spamd == ServiceAddress(*address)

    @pytest.mark.parametrize(
        "text", ["127.0.0.1", "::1:783", "host:0", "host:65536", "/" + "x" * 120, "run/clamd", "a b:1"]
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        """A scanner that cannot be reached would leave all mail unscanned."""
        assert problems(clamd=text) == [
            "EDGEPOST_CLAMD must be HOST:PORT, IPv6 as [address]:port, or the path of a socket"
        ]

    def test_rspamd_has_a_url_and_a_password(self) -> None:
        """The password goes into a header: nothing may stand in it that ends one."""
        given = read(rspamd_url="http://127.0.0.1:11334/", rspamd_password="q1$,;")
        assert (given.rspamd_url, given.rspamd_password) == ("http://127.0.0.1:11334", "q1$,;")
        assert len(problems(rspamd_password="a\r\nb", rspamd_url="127.0.0.1:11334")) == 2


class TestRules:
    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"tls_cert": "a.pem"}, "TLS_KEY"),
            ({"tls_key": "a.pem"}, "TLS_CERT"),
            ({"smtp_port": "587", "submission_port": "587"}, "SUBMISSION_PORT"),
            ({"http_port": "2525"}, "SMTP_PORT"),
            ({"body_retention": "61d"}, "MESSAGE_RETENTION"),
            ({"hold_expiry": "31d"}, "BODY_RETENTION"),
            ({"max_attempts": "100", "retry_growth": "5"}, "BODY_RETENTION"),
        ],
    )
    def test_settings_fit_together(self, values: dict[str, str], named: str) -> None:
        """What is right by itself can still be wrong beside another."""
        (problem,) = problems(**values)

        assert f"EDGEPOST_{named}" in problem

    def test_ports_may_repeat_on_different_addresses(self) -> None:
        """Two addresses have two sets of ports."""
        assert problems(http_host="127.0.0.2", http_port="2525") == []

    def test_several_ports_may_be_left_to_the_system(self) -> None:
        """Port 0 is a different port each time; tests run side by side with it."""
        assert problems(http_port="0", smtp_port="0", submission_port="0", submissions_port="0") == []

    def test_a_rule_about_an_unreadable_setting_is_not_asked(self) -> None:
        """A second sentence that follows from the first mistake would only confuse."""
        assert len(problems(tls_cert="a\0b", tls_key="key.pem")) == 1


class TestSecrets:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("smart_host", f"smtp://user:{SECRET}@"),
            ("smart_host", f"smtp://user:{SECRET}@relay.example.com:99999"),
            ("smart_host", f"smtp://user:{SECRET}#x@relay.example.com"),
            ("smart_host", f"smtp://user:{SECRET}/x@relay.example.com"),
            ("smart_host", f"smtp://user:12?{SECRET}@relay.example.com"),
            ("smart_host", f"smtp://user:{SECRET}@relay.example.com?tls={SECRET}"),
            ("smart_host", f"smtp://user:{SECRET}@[{SECRET}"),
            ("smart_host", SECRET),
            ("pool_smart_hosts", f"bulk=smtp://user:{SECRET}@relay.example.com:x"),
            ("pool_smart_hosts", f"smtp://user:{SECRET}@relay.example.com"),
            ("master_key", SECRET),
            ("admin_token", f"{SECRET} "),
            ("metrics_token", f"{SECRET}\n"),
            ("http_port", SECRET),
            ("public_url", f"https://user:{SECRET}@mail.example.com"),
            ("trusted_proxies", SECRET),
            ("source_addresses", SECRET),
            ("first_retry", SECRET),
            ("rspamd_password", f"{SECRET} x"),
            ("rspamd_url", f"http://rspamd:{SECRET}@127.0.0.1:11334"),
        ],
    )
    def test_never_stand_in_an_error(self, name: str, text: str) -> None:
        """The start's error goes to logs that many people read, even when a secret sits in the wrong variable."""
        with pytest.raises(SettingsError) as caught:
            read(**{name: text})

        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    @given(st.sampled_from(fields(Settings)), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_any_text_is_read_or_refused_with_a_sentence(self, each: "Field[object]", text: str) -> None:
        """No input may end the start with a traceback of ours."""
        for problem in problems(**{each.name: text}):
            assert problem.startswith("EDGEPOST_")

    def test_the_password_is_not_in_the_value_as_shown(self) -> None:
        """Settings end up in debuggers and tracebacks."""
        assert SECRET not in repr(read(smart_host=f"smtp://user:{SECRET}@relay.example.com"))
