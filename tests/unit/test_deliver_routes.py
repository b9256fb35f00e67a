from dataclasses import replace
from typing import Any

import pytest

from shared.domain.job import TLSMode, ToHost
from shared.domain.outcome import HardFail, Sent, SoftFail
from shared.settings import SmartHost
from smtp_node.deliver.route import RouteRules
from smtp_node.deliver.send import Plan
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step
from tests.fakes.sending import PLAN, ours, outcome_of, sending


class TestNextHost:
    @pytest.mark.parametrize("stage", ["greeting", "mail", "rcpt", "data"])
    async def test_temporary_failure_leads_to_the_next(self, stage: str) -> None:
        """RFC 5321 §5.1: the other exchangers are there for this."""
        async with (
            SinkMX(host="127.0.0.2", **{stage: Step(reply="450 later")}) as first,
            SinkMX(host="127.0.0.1", port=first.port) as second,
            sending(second, "127.0.0.2") as sender,
        ):
            outcome = await sender.send(PLAN, still_ours=ours)

            assert isinstance(outcome, Sent)
            assert outcome.evidence.mx == "mx1.d.test"
            assert "S: 450 later" in outcome.evidence.conversation
            assert len(second.transactions) == 1

    async def test_no_connection_leads_to_the_next(self) -> None:
        """A host that is down costs nothing but a moment."""
        async with SinkMX() as mx, sending(mx, "127.0.0.3") as sender:
            outcome = await sender.send(PLAN, still_ours=ours)

            assert isinstance(outcome, Sent)
            assert "the connection was refused" in outcome.evidence.conversation

    @pytest.mark.parametrize(
        "script", [{"rcpt": Step(reply="550 no")}, {"dot": Step(reply="451 later")}, {"dot": Step(then="drop")}]
    )
    async def test_a_verdict_or_a_sent_body_ends_the_attempt(self, script: dict[str, Step]) -> None:
        """Another host would say the same, or deliver it twice."""
        async with (
            SinkMX(host="127.0.0.2", **script) as first,
            SinkMX(host="127.0.0.1", port=first.port) as second,
            sending(second, "127.0.0.2") as sender,
        ):
            outcome = await sender.send(PLAN, still_ours=ours)

            assert isinstance(outcome, HardFail | SoftFail)
            assert second.sessions == []

    async def test_what_a_host_said_outweighs_one_that_was_not_there(self) -> None:
        """Greylisting by the first, and the second down: the reply explains the failure."""
        async with (
            SinkMX(host="127.0.0.2", rcpt=Step(reply="450 4.2.0 greylisted")) as first,
            sending(first, "127.0.0.2") as sender,
        ):
            outcome = await sender.send(PLAN, still_ours=ours)

            assert outcome.output == "450 4.2.0 greylisted"  # type: ignore[union-attr]

    async def test_nobody_there(self) -> None:
        """All hosts tried are named, as Postal does."""
        async with SinkMX() as mx, sending(mx, "127.0.0.3", port=1) as sender:
            outcome = await sender.send(PLAN, still_ours=ours)

            assert isinstance(outcome, SoftFail)
            assert outcome.details == "No SMTP servers were available for d.test. Tried mx0.d.test and mx1.d.test."
            assert outcome.output == "the connection was refused"

    async def test_forbidden_addresses_are_never_connected_to(self) -> None:
        """An MX record that points at ourselves must not open a connection."""
        async with SinkMX() as mx, sending(mx) as sender:
            sender._rules = RouteRules(mx.port)

            outcome = await sender.send(PLAN, still_ours=ours)

            assert isinstance(outcome, HardFail)
            assert mx.sessions == []


class TestTLS:
    async def test_used_when_offered(self) -> None:
        """RFC 7435: any encryption, even with a certificate nobody knows."""
        outcome, mx = await outcome_of(tls=True)

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].tls
        assert outcome.evidence.tls.startswith("TLSv1.3 ")

    @pytest.mark.parametrize(
        "sink",
        [
            {"tls": "broken"},
            {"tls": True, "starttls": Step(reply="454 not now")},
            {"tls": True, "starttls": Step(then="drop")},
        ],
    )
    async def test_broken_tls_falls_back_to_clear_text(self, sink: dict[str, Any]) -> None:
        """Between MX hosts undelivered is worse than unencrypted; it is noted."""
        outcome, mx = await outcome_of(**sink)

        assert isinstance(outcome, Sent)
        assert outcome.evidence.tls == ""
        assert len(mx.sessions) == 2
        assert "connecting again without TLS" in outcome.evidence.conversation

    async def test_replies_injected_before_tls_are_ignored(self) -> None:
        """CVE-2026-55558: what came in clear text must not be heard inside TLS."""
        outcome, mx = await outcome_of(
            tls=True, starttls=Step(reply=b"220 go\r\n250-mx.test\r\n250 SIZE 1\r\n"), extensions=[]
        )

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].mail == "<a@x.test>"

    @pytest.mark.parametrize(
        ("mode", "sink"),
        [
            (TLSMode.STARTTLS, {}),
            (TLSMode.STARTTLS, {"tls": "broken"}),
            (TLSMode.STARTTLS, {"tls": True, "starttls": Step(reply="454 not now")}),
            (TLSMode.TLS, {}),
            (TLSMode.TLS, {"tls": True}),
        ],
        ids=["not offered", "broken", "refused", "plain host", "starttls host"],
    )
    async def test_demanded_tls_never_falls_back(self, mode: TLSMode, sink: dict[str, Any]) -> None:
        """A stripped STARTTLS must not get the message in clear text."""
        async with SinkMX(**sink) as mx, sending(mx) as sender:
            outcome = await sender.send(replace(PLAN, target=ToHost("mx.test", mx.port, mode)), still_ours=ours)

            assert isinstance(outcome, SoftFail)
            assert not any(line.startswith("MAIL") for session in mx.sessions for line in session.commands)

    @pytest.mark.parametrize(("mode", "tls"), [(TLSMode.STARTTLS, True), (TLSMode.TLS, "implicit")])
    @pytest.mark.parametrize(("host", "expected"), [("mx.test", Sent), ("mx0.d.test", SoftFail)])
    async def test_the_certificate_is_held_to_the_name(
        self, mode: TLSMode, tls: bool | str, host: str, expected: type
    ) -> None:
        """In the checked modes another name's certificate is as good as none."""
        async with SinkMX(tls=tls) as mx, sending(mx) as sender:
            outcome = await sender.send(replace(PLAN, target=ToHost(host, mx.port, mode)), still_ours=ours)

            assert isinstance(outcome, expected)

    async def test_can_be_left_out(self) -> None:
        """For a relay on the same machine."""
        async with SinkMX(tls=True) as mx, sending(mx) as sender:
            await sender.send(replace(PLAN, target=ToHost("mx.test", mx.port, TLSMode.NONE)), still_ours=ours)

            assert not mx.transactions[0].tls


class TestSmartHost:
    def plan(self, mx: SinkMX, tls: str = "starttls") -> Plan:
        """Give a plan whose MX mail goes to the sink."""
        return replace(PLAN, smart_host=SmartHost("mx.test", mx.port, tls, "user", "secret"))

    @pytest.mark.parametrize("offer", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=PLAIN"])
    async def test_takes_the_mail_of_all_domains(self, offer: str) -> None:
        """With a login by whatever mechanism it offers; the password is not recorded."""
        async with SinkMX(tls=True, users={"user": "secret"}, extensions=[offer]) as mx, sending(mx) as sender:
            outcome = await sender.send(self.plan(mx), still_ours=ours)

            assert isinstance(outcome, Sent)
            assert mx.transactions[0].user == "user"
            assert "****" in outcome.evidence.conversation
            for secret in ("c2VjcmV0", "AHVzZXIAc2VjcmV0"):
                assert secret not in outcome.evidence.conversation

    @pytest.mark.parametrize("sink", [{"users": {"user": "other"}}, {}], ids=["wrong password", "no AUTH"])
    async def test_a_refused_login_is_temporary(self, sink: dict[str, Any]) -> None:
        """A typing error of the operator must not bounce all mail."""
        async with SinkMX(tls=True, **sink) as mx, sending(mx) as sender:
            outcome = await sender.send(self.plan(mx), still_ours=ours)

            assert isinstance(outcome, SoftFail)
            assert outcome.details == "No SMTP servers were available for mx.test. Tried mx.test."

    async def test_named_targets_stay_as_they_are(self) -> None:
        """An SMTP endpoint of a route is not the relay's business."""
        async with SinkMX() as mx, SinkMX() as relay, sending(mx) as sender:
            plan = replace(self.plan(relay), target=ToHost("mx.test", mx.port, TLSMode.NONE))

            assert isinstance(await sender.send(plan, still_ours=ours), Sent)
            assert (len(mx.transactions), len(relay.sessions)) == (1, 0)
