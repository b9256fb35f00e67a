"""Exchangers and DNS servers that misbehave: the right status, a retry where there is hope, and nobody else slowed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.harness import Installation, addresses, running, until
from tests.e2e.internet import NETWORK, Internet
from tests.fakes.mx_script import Step

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ATTEMPTS = 4
HUGE_REPLY = b"250-" + b"x" * 500 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to misbehave and the statuses of the deliveries that must come of it."""

    name: str
    statuses: Sequence[str]
    script: Mapping[str, Step] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    message: Mapping[str, Any] = field(default_factory=dict)
    local: str = "someone"


def _twice(reply: str) -> Step:
    return Step(reply=reply, times=2)


RECOVERS = ("SoftFail", "SoftFail", "Sent")
ONCE = ("SoftFail", "Sent")

EXCHANGERS = (
    Case("busy-greeting", RECOVERS, {"greeting": _twice("421 4.3.2 busy")}),
    Case("refusing-greeting", RECOVERS, {"greeting": _twice("554 5.3.2 go away")}),
    # Once, not twice: the next attempt finds the connection kept, and a kept one that refuses MAIL is replaced.
    Case("later-at-mail", ONCE, {"mail": Step(reply="451 4.7.1 greylisted", times=1)}),
    Case("never-at-mail", ["HardFail"], {"mail": Step(reply="550 5.7.1 no")}),
    Case("later-at-rcpt", RECOVERS, {"rcpt": _twice("450 4.2.0 greylisted")}),
    Case("never-at-rcpt", ["HardFail"], {"rcpt": Step(reply="550 5.1.1 no such user")}),
    Case("later-at-data", RECOVERS, {"data": _twice("451 4.3.0 later")}),
    Case("never-at-data", ["HardFail"], {"data": Step(reply="554 5.6.0 no")}),
    Case("later-at-dot", RECOVERS, {"dot": _twice("452 4.3.1 full")}),
    Case("never-at-dot", ["HardFail"], {"dot": Step(reply="554 5.7.1 spam")}),
    Case("always-later", ["SoftFail"] * (ATTEMPTS - 1) + ["HardFail"], {"rcpt": Step(reply="450 4.2.0 later")}),
    Case("drops-at-greeting", ONCE, {"greeting": Step(then="drop", times=1)}),
    Case("resets-at-rcpt", ONCE, {"rcpt": Step(then="reset", times=1)}),
    Case("resets-in-body", ONCE, {"body": Step(then="reset", times=1)}),
    Case("drops-after-dot", ONCE, {"dot": Step(then="drop", times=1)}),
    Case("resets-after-250", ["Sent"], {"after": Step(then="reset")}),
    Case("endless-reply", ONCE, {"ehlo": Step(reply=HUGE_REPLY * 20_000, times=1)}),
    Case("no-utf8", ["HardFail"], {"rcpt": Step(reply=b"550 5.1.1 \xff\xfe\x80 nobody\r\n")}),
    Case("no-code", ONCE, {"mail": Step(reply=b"hello there\r\n", times=1)}),
    Case("odd-text", ["Sent"], {"dot": Step(reply="250 5.5.0 actually fine")}),
    Case("broken-tls", ["Sent"], settings={"tls": "broken"}),
    Case("good-tls", ["Sent"], settings={"tls": True}),
    Case("no-extensions", ["Sent"], settings={"extensions": ()}, message={"plain_body": "grüß dich"}),
    Case("no-smtputf8", ["HardFail"], settings={"extensions": ("8BITMIME",)}, local="jürgen"),
)

NAMES = (
    Case("gone.test", ["HardFail"]),
    Case("null-mx.test", ["HardFail"], settings={"MX": [[0, "."]]}),
    Case("only-a.test", ["Sent"], settings={"A": [f"{NETWORK}.1"]}),
    Case("alias.test", ["Sent"], settings={"CNAME": "only-a.test"}),
    Case("mx-alias.test", ["Sent"], settings={"MX": [[10, "alias.test"]]}),
    Case("truncated.test", ["Sent"], settings={"MX": [[10, "mx1.test"]], "fail": "truncate"}),
    Case("next-host.test", ["Sent"], settings={"MX": [[10, "dead.test"], [20, "mx1.test"]]}),
    Case("self.test", ["HardFail"], settings={"MX": [[10, "loopback.test"]]}),
    Case("metadata.test", ["HardFail"], settings={"A": ["169.254.169.254"]}),
    Case("mapped.test", ["HardFail"], settings={"AAAA": ["::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"]}),
)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that gives up after four attempts and waits a second for the second."""
    directory = tmp_path_factory.mktemp("edgepost")
    with running(directory, time_factor="300", max_attempts=str(ATTEMPTS)) as found:
        yield found


@pytest.fixture(scope="module")
def sent(installation: Installation) -> Mapping[str, int]:
    """Ids of a message to each misbehaving domain, all sent at once."""
    internet = installation.internet
    internet.publish("dead.test", A=[f"{NETWORK}.250"])
    internet.publish("loopback.test", A=["127.0.0.1"])
    for case in EXCHANGERS:
        internet.exchanger(f"{case.name}.test", **case.settings, **case.script)
    for case in NAMES:
        if case.settings:
            internet.publish(case.name, **case.settings)
    domains = {case.name: f"{case.name}.test" for case in EXCHANGERS} | {case.name: case.name for case in NAMES}
    return {
        case.name: installation.send(f"{case.local}@{domains[case.name]}", **case.message)
        for case in (*EXCHANGERS, *NAMES)
    }


def _statuses(installation: Installation, message_id: int) -> list[str]:
    rows = installation.until_status(message_id, "Sent", "HardFail")
    return [row["status"] for row in rows]


class TestExchangers:
    @pytest.mark.parametrize("case", EXCHANGERS, ids=lambda case: case.name)
    def test_outcome_follows_the_reply(self, installation: Installation, sent: Mapping[str, int], case: Case) -> None:
        """4yz and broken conversations are tried again, 5yz ends it, and the history tells (RFC 5321 §4.2.1)."""
        assert _statuses(installation, sent[case.name]) == list(case.statuses)

    def test_a_250_is_final_whatever_follows(self, installation: Installation, sent: Mapping[str, int]) -> None:
        """After 250 the exchanger is responsible, even if it breaks off before QUIT (RFC 5321 §4.2.5)."""
        installation.until_status(sent["resets-after-250"], "Sent")

        assert len(installation.internet.to("someone@resets-after-250.test")) == 1

    def test_a_lost_reply_is_noted(self, installation: Installation, sent: Mapping[str, int]) -> None:
        """Between the dot and its reply nobody can know (RFC 1047): the history says that it may come twice."""
        first, *_ = installation.until_status(sent["drops-after-dot"], "Sent")

        assert "more than once" in first["details"] + first["output"]

    def test_tls_is_used_where_it_works(self, installation: Installation, sent: Mapping[str, int]) -> None:
        """Opportunistic TLS (RFC 7435): better than nothing, and nothing is lost for it."""
        good = installation.until_status(sent["good-tls"], "Sent")
        broken = installation.until_status(sent["broken-tls"], "Sent")

        assert good[-1]["sent_with_ssl"] is True
        assert broken[-1]["sent_with_ssl"] is False


class TestNames:
    @pytest.mark.parametrize("case", NAMES, ids=lambda case: case.name)
    def test_outcome_follows_the_dns(self, installation: Installation, sent: Mapping[str, int], case: Case) -> None:
        """RFC 5321 §5.1, RFC 7505; and no name leads to our own or a private address."""
        assert _statuses(installation, sent[case.name]) == list(case.statuses)

    def test_truncated_answers_are_asked_again_over_tcp(
        self, installation: Installation, sent: Mapping[str, int]
    ) -> None:
        """Domains with many exchangers do not fit into a datagram (RFC 7766 §5)."""
        installation.until_status(sent["truncated.test"], "Sent")

        assert installation.internet.dns.asked_by_tcp > 0

    @pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "timeout"])
    def test_no_answer_is_tried_again(self, installation: Installation, failure: str) -> None:
        """Not knowing is temporary: a resolver that is down for an hour must not bounce mail."""
        domain = f"{failure.lower()}.test"
        installation.internet.publish(domain, fail=failure)
        message_id = installation.send(f"someone@{domain}")
        until(lambda: installation.api().deliveries(message_id), f"a delivery after {failure}")

        installation.internet.publish(domain, MX=[[10, "mx1.test"]])

        rows = installation.until_status(message_id, "Sent")
        assert rows[0]["status"] == "SoftFail"

    def test_at_most_five_addresses_are_tried(self, installation: Installation) -> None:
        """A domain with fifty dead exchangers must not keep a worker for hours (RFC 5321 §5.1 allows a limit)."""
        refusing = [installation.internet.exchanger(greeting=Step(reply="421 busy")) for _ in range(8)]
        hosts = [[10, f"mx{installation.internet.exchangers.index(each) + 1}.test"] for each in refusing]
        installation.internet.publish("many.test", MX=hosts)
        message_id = installation.send("someone@many.test")

        until(lambda: installation.api().deliveries(message_id), "a delivery")

        assert sum(min(1, len(each.sessions)) for each in refusing) >= 1
        first_round = min(len(each.sessions) for each in refusing)
        assert first_round == 0, "all eight were tried in one attempt"


def _silent(internet: Internet, domain: str) -> Callable[[], int]:
    exchanger = internet.exchanger(domain, greeting=Step(then="silence"))
    return lambda: len(exchanger.sessions)


def _tarpit(internet: Internet, domain: str) -> Callable[[], int]:
    exchanger = internet.exchanger(domain, ehlo=Step(byte_every_s=1.0))
    return lambda: len(exchanger.sessions)


@pytest.mark.parametrize("kind", [_silent, _tarpit], ids=["silent", "tarpit"])
class TestOneBadDomain:
    def test_does_not_keep_others_from_going_out(
        self, tmp_path_factory: pytest.TempPathFactory, kind: Callable[[Internet, str], Callable[[], int]]
    ) -> None:
        """Postal's workers all wait for one slow domain; here it gets its share of connections and no more."""
        limit, stuck, others = 5, 200, addresses("other", 100)
        with running(tmp_path_factory.mktemp("bad"), delivery_connections_per_domain=str(limit)) as installation:
            sessions = kind(installation.internet, "bad.test")
            for recipient in addresses("stuck", stuck, "bad.test"):
                installation.send(recipient)
            until(lambda: sessions() >= limit, "connections to the bad domain")
            for recipient in others:
                installation.send(recipient)

            installation.until_delivered(others, timeout_s=30)

            assert sessions() <= limit
            assert not installation.internet.to("stuck-0@bad.test")
