"""The parameters of MAIL and RCPT: what the host offers and the message needs."""

from dataclasses import replace

import pytest

from shared.domain.outcome import HardFail, Sent
from smtp_node.deliver.send import Plan
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step
from tests.fakes.sending import PLAN, ours, outcome_of, sending


class TestParameters:
    @pytest.mark.parametrize(
        ("extensions", "raw", "expected"),
        [
            (["8BITMIME"], b"S: x\r\n\r\n\xc3\xbc\r\n", "<a@x.test> BODY=8BITMIME"),
            ([], b"S: x\r\n\r\n\xc3\xbc\r\n", "<a@x.test>"),
            (["8BITMIME"], b"S: x\r\n\r\nu\r\n", "<a@x.test>"),
            (["SMTPUTF8"], b"S: \xc3\xbc\r\n\r\nu\r\n", "<a@x.test> SMTPUTF8"),
            (["SIZE"], b"S: x\r\n\r\nu\r\n", "<a@x.test> SIZE=11"),
        ],
    )
    async def test_follow_offer_and_need(self, extensions: list[str], raw: bytes, expected: str) -> None:
        """RFC 6152, RFC 6531, RFC 1870: announced where it is true and understood."""
        outcome, mx = await outcome_of(replace(PLAN, raw=raw), extensions=extensions)

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].mail == expected
        assert mx.bodies == [raw]

    @pytest.mark.parametrize(
        ("extensions", "envelope_id", "mail", "rcpt"),
        [
            (
                ["DSN"],
                "abc2",
                "MAIL FROM:<a@x.test> ENVID=abc2",
                "RCPT TO:<b+c=d@d.test> ORCPT=rfc822;b+2Bc+3Dd@d.test",
            ),
            (["DSN"], "", "MAIL FROM:<a@x.test>", "RCPT TO:<b+c=d@d.test>"),
            ([], "abc2", "MAIL FROM:<a@x.test>", "RCPT TO:<b+c=d@d.test>"),
        ],
    )
    async def test_reports_are_told_how_to_name_the_message(
        self, extensions: list[str], envelope_id: str, mail: str, rcpt: str
    ) -> None:
        """RFC 3461 §4: what a report then says even from behind a forward, or without the message."""
        plan = replace(PLAN, rcpt_to="b+c=d@d.test", envelope_id=envelope_id)

        outcome, mx = await outcome_of(plan, extensions=extensions)

        assert isinstance(outcome, Sent)
        assert mx.sessions[0].commands[1:3] == [mail, rcpt]

    @pytest.mark.parametrize("envelope_id", ["a b", "a>", "ü", "a\r\nRSET"])
    async def test_a_strange_envelope_id_is_not_sent(self, envelope_id: str) -> None:
        """The last gate before the socket takes letters and digits only."""
        outcome, mx = await outcome_of(replace(PLAN, envelope_id=envelope_id), extensions=["DSN"])

        assert isinstance(outcome, HardFail)
        assert mx.transactions == []

    @pytest.mark.parametrize("extensions", [["DSN"], ["DSN", "PIPELINING"]])
    @pytest.mark.parametrize(("stage", "parameter"), [("MAIL", "ENVID="), ("RCPT", "ORCPT=")])
    @pytest.mark.parametrize(
        "reply", ["501 5.5.4 Syntax error", "504 5.5.4 Not implemented", "555 5.5.4 Unknown", "455 no"]
    )
    async def test_a_host_that_refuses_what_it_offers_gets_the_mail_without(
        self, extensions: list[str], stage: str, parameter: str, reply: str
    ) -> None:
        """A mail must not fail for what it can do without, and the next one on the connection need not try."""
        steps = {stage.lower(): Step(reply, match=parameter)}
        plan = replace(PLAN, envelope_id="abc2")
        async with SinkMX(extensions=extensions, **steps) as mx, sending(mx) as sender:
            first = await sender.send(plan, still_ours=ours)
            second = await sender.send(plan, still_ours=ours)

        assert isinstance(first, Sent)
        assert isinstance(second, Sent)
        assert [each.mail for each in mx.transactions] == ["<a@x.test>"] * 2
        [session] = mx.sessions
        assert sum(parameter in each for each in session.commands) == 1

    @pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
    async def test_a_host_that_means_the_address_is_asked_twice_and_no_more(self, stage: str) -> None:
        """501 may be about the address: then it says so again."""
        steps = {stage.lower(): Step("501 5.1.3 Bad address")}

        outcome, mx = await outcome_of(replace(PLAN, envelope_id="abc2"), extensions=["DSN"], **steps)

        assert isinstance(outcome, HardFail)
        assert sum(each.startswith(stage) for each in mx.sessions[0].commands) == 2

    async def test_success_is_never_asked_to_be_reported(self) -> None:
        """RFC 3461 §4.1: without NOTIFY only failures and delays are; millions of others would come back."""
        _, mx = await outcome_of(replace(PLAN, envelope_id="abc2"), extensions=["DSN"])

        assert not [each for each in mx.sessions[0].commands if "NOTIFY" in each]

    async def test_too_big_is_not_even_begun(self) -> None:
        """RFC 1870 §4: the host said beforehand that it would refuse."""
        outcome, mx = await outcome_of(extensions=["SIZE 20"])

        assert isinstance(outcome, HardFail)
        assert outcome.evidence.enhanced_code == "5.3.4"
        assert not any(line.startswith("MAIL") for line in mx.sessions[0].commands)

    async def test_non_ascii_local_part_needs_smtputf8(self) -> None:
        """RFC 6531 §3.5: there is no other way to write it."""
        plan = replace(PLAN, rcpt_to="ü@d.test")

        refused, _ = await outcome_of(plan, extensions=[])
        sent, mx = await outcome_of(plan, extensions=["SMTPUTF8"])

        assert (type(refused), refused.evidence.enhanced_code) == (HardFail, "5.6.7")
        assert isinstance(sent, Sent)
        assert mx.transactions[0].rcpts == ["ü@d.test"]

    async def test_international_domain_does_not(self) -> None:
        """A-labels go everywhere."""
        outcome, mx = await outcome_of(replace(PLAN, rcpt_to="b@dü.test"), extensions=[])

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].rcpts == ["b@xn--d-eha.test"]

    @pytest.mark.parametrize(
        "plan",
        [
            replace(PLAN, rcpt_to="d@e.f>\r\nRCPT TO:<evil@x"),
            replace(PLAN, mail_from="a\0@x.test"),
            replace(PLAN, rcpt_to=""),
            replace(PLAN, raw=b"Subject: x\r\n\r\n\n.\nMAIL FROM:<evil@x>\r\n"),
        ],
        ids=["injection", "nul", "nobody", "smuggling"],
    )
    async def test_nothing_reaches_the_wire(self, plan: Plan) -> None:
        """What could be read as more than it is never leaves."""
        outcome, mx = await outcome_of(plan)

        assert isinstance(outcome, HardFail)
        assert mx.sessions == []
