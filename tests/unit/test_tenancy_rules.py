from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from shared.domain.credentials import Use, key_hash, network, networks_around, use_of
from shared.domain.dns_records import records_to_publish
from shared.domain.errors import InvalidValue
from shared.domain.first_secrets import Secrets, secrets_in
from shared.domain.ids import OrganizationId
from shared.domain.names import (
    Kind,
    check_name,
    check_permalink,
    check_reason,
    check_typed_name,
    permalinks_for,
)
from shared.domain.passwords import hash_password, is_password
from shared.domain.tenancy import DKIMAlgorithm, DKIMKey, Domain

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class TestCheckName:
    def test_keeps_what_people_write(self) -> None:
        """Names are for people, in any language."""
        assert check_name("  Größte Firma 株式会社 ") == "Größte Firma 株式会社"

    @pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x1b[2Jb", "a\u202eb", "x" * 101])
    def test_refuses_what_no_line_can_show(self, name: str) -> None:
        """A name stands in lists and on terminals, which control characters would upset."""
        with pytest.raises(InvalidValue):
            check_name(name)


class TestCheckPermalink:
    @pytest.mark.parametrize("permalink", ["", "-a", "a-", "A", "a_b", "a/b", "ü", "a\n", "x" * 61])
    def test_refuses_other_characters(self, permalink: str) -> None:
        """A permalink stands in paths and commands as it is."""
        with pytest.raises(InvalidValue):
            check_permalink(permalink, Kind.SERVER)

    def test_words_are_reserved_for_each_kind(self) -> None:
        """The words are those of Postal's paths: ``mail`` is one of organizations only."""
        assert check_permalink("mail", Kind.SERVER) == "mail"
        with pytest.raises(InvalidValue, match="reserved"):
            check_permalink("mail", Kind.ORGANIZATION)


class TestPermalinksFor:
    @pytest.mark.parametrize(
        ("name", "first"),
        [
            ("Acme", ["acme", "acme-2", "acme-3"]),
            ("Größe & Có. KG", ["grosse-co-kg", "grosse-co-kg-2"]),
            ("株式会社", ["organization", "organization-2"]),
            ("Admin", ["admin-2"]),
            ("x" * 100, ["x" * 50]),
        ],
    )
    def test_yields_the_best_first(self, name: str, first: list[str]) -> None:
        """What is taken or reserved gets a number, as in Postal."""
        assert list(islice(permalinks_for(name, Kind.ORGANIZATION), len(first))) == first


class TestCheckTypedName:
    def test_only_the_name_itself_confirms(self) -> None:
        """Deleting the wrong thing must take more than a slip."""
        check_typed_name("Acme ", "Acme")
        with pytest.raises(InvalidValue, match="Acme"):
            check_typed_name("acme", "Acme")


class TestCheckReason:
    @pytest.mark.parametrize("reason", ["", "  ", "a\nb", "x" * 251])
    def test_needs_one_line(self, reason: str) -> None:
        """The reason is shown to people later."""
        with pytest.raises(InvalidValue):
            check_reason(reason)


class TestKeyHash:
    def test_any_text_can_be_looked_up(self) -> None:
        """A client may send anything as its key, lone surrogates included."""
        assert key_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert len(key_hash("\ud800")) == 64


class TestNetwork:
    @pytest.mark.parametrize(
        ("text", "normal"),
        [
            ("192.0.2.1", "192.0.2.1/32"),
            (" 192.0.2.0/24 ", "192.0.2.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ],
    )
    def test_has_one_spelling(self, text: str, normal: str) -> None:
        """A network is found by its text, so it must have one."""
        assert network(text) == normal

    @pytest.mark.parametrize(
        "text", ["", "example.com", "192.0.2.1/24", "0.0.0.0/0", "10.0.0.0/7", "::/0", "2001::/31", "::ffff:0:0/96"]
    )
    def test_refuses_what_is_no_network_or_too_wide(self, text: str) -> None:
        """A slip of the pen must not open the door to half the Internet."""
        with pytest.raises(InvalidValue):
            network(text)


class TestNetworksAround:
    def test_most_specific_first(self) -> None:
        """The most specific network wins, as in Postal."""
        around = networks_around("192.0.2.77")
        assert around[0] == "192.0.2.77/32"
        assert around[8] == "192.0.2.0/24"
        assert around[-1] == "192.0.0.0/8"
        assert networks_around("2001:db8::1")[-1] == "2001:db8::/32"

    def test_mapped_addresses_are_folded(self) -> None:
        """A dual-stack listener shows IPv4 clients as IPv6 addresses (RFC 4291 §2.5.5.2)."""
        assert networks_around("::ffff:192.0.2.77") == networks_around("192.0.2.77")

    def test_scope_is_left_out_and_nonsense_is_nowhere(self) -> None:
        """Whatever a socket reports must not raise."""
        assert networks_around("fe80::1%eth0")[0] == "fe80::1/128"
        assert networks_around("unix") == ()


class TestUseOf:
    @pytest.mark.parametrize(
        ("days", "label"),
        [(0, Use.ACTIVE), (29, Use.ACTIVE), (31, Use.QUIET), (183, Use.DORMANT), (366, Use.INACTIVE)],
    )
    def test_label_of_age(self, days: int, label: Use) -> None:
        """The labels are Postal's (app/models/credential.rb, usage_type)."""
        assert use_of(NOW - timedelta(days=days), NOW) is label

    def test_never_used(self) -> None:
        """A key that nobody uses can be deleted without harm."""
        assert use_of(None, NOW) is Use.UNUSED


class TestRecordsToPublish:
    def test_names_everything_once(self) -> None:
        """The owner publishes what is printed, so all of it must be there: both DKIM keys included."""
        keys = [
            DKIMKey(DKIMAlgorithm.RSA, "eprsa-abcdef", "cnNh", ""),
            DKIMKey(DKIMAlgorithm.ED25519, "eped-abcdef", "ZWQ=", ""),
        ]
        domain = Domain("example.com", OrganizationId(1), None, keys, "token", NOW)

        records = records_to_publish(domain, hostname="mx.example.net", return_path_domain="rp.example.net")

        assert [(each.type, each.name, each.value.split(" rua=")[0]) for each in records] == [
            ("TXT", "example.com", "edgepost-verification token"),
            ("TXT", "eprsa-abcdef._domainkey.example.com", "v=DKIM1; k=rsa; p=cnNh"),
            ("TXT", "eped-abcdef._domainkey.example.com", "v=DKIM1; k=ed25519; p=ZWQ="),
            ("TXT", "example.com", "v=spf1 a:mx.example.net ~all"),
            ("CNAME", "psrp.example.com", "rp.example.net"),
            ("TXT", "_dmarc.example.com", "v=DMARC1; p=none;"),
        ]
        assert all(each.purpose for each in records)


class TestPasswords:
    def test_only_the_right_one_matches(self) -> None:
        """The stored text must not be the password, and must not be taken for a hash when it is none."""
        stored = hash_password("right")
        assert stored.startswith("$argon2id$")
        assert is_password("right", stored)
        assert not is_password("wrong", stored)
        assert not is_password("right", "right")


class TestSecretsIn:
    @pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"installation": "x"}', "null"])
    def test_believes_only_whole_files(self, content: str | None) -> None:
        """A file that somebody cut short must not give half an answer."""
        assert secrets_in(content) is None

    def test_never_shows_secrets_when_printed(self) -> None:
        """A secret in a traceback or log line is no secret any more."""
        assert "hush" not in repr(Secrets("id", "hush", "hush", "hush", "hush", "hush"))
