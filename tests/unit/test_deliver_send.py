import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.outcome import HardFail, Postponed, Sent, SoftFail
from smtp_node.deliver.limits import Timeouts
from tests.fakes.mx import SinkMX
from tests.fakes.mx_script import Step
from tests.fakes.sending import LINE, NOW, ONE_BY_ONE, PLAN, QUICK, RAW, ours, outcome_of, sending


class TestSent:
    async def test_delivers_the_exact_bytes(self) -> None:
        """What was signed is what arrives; only leading dots are doubled on the wire (RFC 5321 §4.5.2)."""
        outcome, mx = await outcome_of()

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].wire == RAW.replace(b"\r\n.l", b"\r\n..l")
        assert mx.bodies == [RAW]
        assert mx.transactions[0].mail == f"<a@x.test> SIZE={len(RAW)}"
        assert mx.transactions[0].rcpts == ["b@d.test"]
        assert mx.sessions[0].helo == "me.test"

    async def test_says_so_in_postals_words(self) -> None:
        """Dashboards and scripts made for Postal read these sentences."""
        outcome, mx = await outcome_of()

        assert outcome.details == (
            f"Message for b@d.test accepted by 127.0.0.1:{mx.port} (mx0.d.test) (from 127.0.0.1)"
        )
        assert outcome.output == "250 2.0.0 queued"

    async def test_gives_evidence(self) -> None:
        """Who took it, where, and what was said."""
        outcome, _ = await outcome_of()
        evidence = outcome.evidence

        assert (evidence.mx, evidence.mx_address, evidence.source_address) == ("mx0.d.test", "127.0.0.1", "127.0.0.1")
        assert (evidence.smtp_code, evidence.enhanced_code, evidence.tls) == (250, "2.0.0", "")
        assert "C: RCPT TO:<b@d.test>\nS: 250 2.1.5 ok\nC: DATA" in evidence.conversation
        assert "token-1234" not in evidence.conversation

    @pytest.mark.parametrize("then", ["drop-after", "reset-after"])
    async def test_a_connection_lost_after_250_changes_nothing(self, then: str) -> None:
        """250 is the remote's word, however rude it is afterwards."""
        outcome, _ = await outcome_of(dot=Step(then=then))

        assert isinstance(outcome, Sent)

    async def test_null_sender(self) -> None:
        """Bounces have no return path (RFC 5321 §4.5.5)."""
        _, mx = await outcome_of(replace(PLAN, mail_from=""))

        assert mx.transactions[0].mail.startswith("<> ")

    async def test_from_the_given_address(self) -> None:
        """Reputation belongs to an address, so mail leaves from the one chosen."""
        outcome, _ = await outcome_of(replace(PLAN, source_address="127.0.0.9"))

        assert outcome.evidence.source_address == "127.0.0.9"

    async def test_large_message(self) -> None:
        """Several megabytes go out in blocks, unchanged."""
        raw = b"Subject: x\r\n\r\n" + b".a line of text\r\n" * 200_000

        outcome, mx = await outcome_of(replace(PLAN, raw=raw))

        assert isinstance(outcome, Sent)
        assert mx.bodies == [raw]

    async def test_an_old_host_knows_only_helo(self) -> None:
        """RFC 5321 §3.2: HELO after a refused EHLO; no parameters then."""
        outcome, mx = await outcome_of(ehlo=Step(reply="502 unknown"))

        assert isinstance(outcome, Sent)
        assert mx.transactions[0].mail == "<a@x.test>"

    async def test_a_slow_host_has_its_time(self) -> None:
        """A tarpit that stays within the timeouts gets its mail delivered."""
        outcome, _ = await outcome_of(rcpt=Step(byte_every_s=0.005))

        assert isinstance(outcome, Sent)


class TestPipelining:
    async def test_commands_go_out_together(self) -> None:
        """RFC 2920: two round trips less; the body still waits for 354."""
        released = asyncio.Event()
        async with SinkMX(mail=Step(hold=released)) as mx, sending(mx) as sender:
            task = asyncio.create_task(sender.send(PLAN, still_ours=ours))
            await mx.reached.wait()
            released.set()

            assert isinstance(await task, Sent)
            assert mx.bodies == [RAW]

    @pytest.mark.parametrize("reply", [b"250 2.1.0 ok\r\n", b"250-2.1.0 o\r\n250 k\r\n"])
    async def test_replies_may_come_in_any_pieces(self, reply: bytes) -> None:
        """Neither packets nor pauses decide where a reply ends."""
        slow = Step(reply=reply, byte_every_s=0.001)

        outcome, mx = await outcome_of(mail=slow, rcpt=replace(slow), data=Step(byte_every_s=0.001))

        assert isinstance(outcome, Sent)
        assert mx.bodies == [RAW]

    async def test_354_after_a_refusal_gets_no_body(self) -> None:
        """RFC 2920 §3.1: DATA was written before the recipient was refused."""
        outcome, mx = await outcome_of(rcpt=Step(reply="550 5.1.1 no"), data=Step(reply="354 go on"))

        assert isinstance(outcome, HardFail)
        assert mx.transactions == []
        assert len(mx.sessions[0].commands) == 4

    async def test_a_refusal_before_closing_is_heard(self) -> None:
        """What came before the end of the connection counts."""
        outcome, _ = await outcome_of(rcpt=Step(reply="550 5.1.1 no", then="drop-after"))

        assert isinstance(outcome, HardFail)
        assert outcome.output == "550 5.1.1 no"


class TestRefused:
    @pytest.mark.parametrize("extensions", [ONE_BY_ONE, ("PIPELINING",)], ids=["one by one", "pipelined"])
    @pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
    async def test_5yz_is_final(self, stage: str, extensions: Sequence[str]) -> None:
        """RFC 5321 §4.2.1: the message will never be taken."""
        outcome, mx = await outcome_of(extensions=extensions, **{stage: Step(reply="550 5.1.1 no such user")})

        assert isinstance(outcome, HardFail)
        assert outcome.details == f"Permanent SMTP delivery error when sending to mx0.d.test:{mx.port}"
        assert outcome.output == "550 5.1.1 no such user"
        assert (outcome.evidence.smtp_code, outcome.evidence.enhanced_code) == (550, "5.1.1")

    @pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
    @pytest.mark.parametrize("reply", ["450 4.2.0 try again in 300 seconds", "421 try again in 300 seconds"])
    async def test_4yz_is_tried_again(self, stage: str, reply: str) -> None:
        """The remote's own hint says when."""
        outcome, mx = await outcome_of(**{stage: Step(reply=reply)})

        assert isinstance(outcome, SoftFail)
        assert outcome.details == f"Temporary SMTP delivery error when sending to mx0.d.test:{mx.port}"
        assert outcome.retry_after == timedelta(seconds=310)
        assert not outcome.maybe_sent

    @pytest.mark.parametrize("stage", ["greeting", "ehlo"])
    async def test_5yz_before_mail_is_not_about_the_message(self, stage: str) -> None:
        """A blocked address of ours must not bounce a customer's mail."""
        step = Step(reply="554 5.7.1 go away")

        outcome, _ = await outcome_of(**({stage: step} | ({"helo": step} if stage == "ehlo" else {})))

        assert isinstance(outcome, SoftFail)
        assert outcome.details == "No SMTP servers were available for d.test. Tried mx0.d.test."
        assert "554 5.7.1 go away" in outcome.output

    @pytest.mark.parametrize("extensions", [ONE_BY_ONE, ("PIPELINING",)], ids=["one by one", "pipelined"])
    @pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data"])
    @pytest.mark.parametrize(
        "step",
        [
            Step(then="drop"),
            Step(then="reset"),
            Step(then="silence"),
            Step(reply=b"no code at all\r\n"),
            Step(reply=b"\xff\xfe\x00\r\n"),
            Step(reply=b"9" * 20_000),
            Step(reply=b"250-again and again\r\n" * 5_000),
            Step(reply="999 what"),
            Step(reply="100 hm"),
            Step(reply=b"22"),
        ],
        ids=["drop", "reset", "silence", "no code", "binary", "long line", "endless", "999", "100", "half"],
    )
    async def test_nonsense_is_temporary(self, stage: str, step: Step, extensions: Sequence[str]) -> None:
        """Not knowing is temporary, and never takes longer than the timeouts."""
        outcome, mx = await outcome_of(timeouts=QUICK, extensions=extensions, **{stage: replace(step)})

        assert isinstance(outcome, SoftFail)
        assert not outcome.maybe_sent
        assert mx.transactions == []
        assert len(outcome.evidence.conversation.encode()) <= 8192
        outcome.output.encode()

    async def test_reply_that_is_no_utf_8(self) -> None:
        """Remotes write Latin-1; what is kept must be storable."""
        outcome, _ = await outcome_of(rcpt=Step(reply=b"550 5.1.1 unbekannter Empf\xe4nger\x1b[2J\r\n"))

        assert outcome.output == "550 5.1.1 unbekannter Empf\ufffdnger [2J"

    @pytest.mark.parametrize("extensions", [ONE_BY_ONE, ("PIPELINING",)], ids=["one by one", "pipelined"])
    async def test_a_reply_nobody_asked_for_is_not_taken_for_another(self, extensions: Sequence[str]) -> None:
        """Off by one, the reply to RCPT would be taken for the one to the final dot, and mail be lost."""
        outcome, mx = await outcome_of(
            extensions=extensions, mail=Step(reply=b"250 ok\r\n250 ok\r\n"), dot=Step(reply="550 no")
        )

        assert isinstance(outcome, SoftFail)
        assert mx.transactions == []


class TestBody:
    @pytest.mark.parametrize("then", ["drop", "reset", "silence"])
    async def test_lost_after_the_final_dot(self, then: str) -> None:
        """The remote may have it: tried again, and marked (RFC 1047)."""
        outcome, _ = await outcome_of(timeouts=QUICK, dot=Step(then=then))

        assert isinstance(outcome, SoftFail)
        assert outcome.maybe_sent
        assert "after the final dot" in outcome.evidence.conversation

    async def test_a_reply_without_code_after_the_dot(self) -> None:
        """Whatever it means, the message may have been taken."""
        outcome, _ = await outcome_of(dot=Step(reply=b"okidoki\r\n"))

        assert isinstance(outcome, SoftFail)
        assert outcome.maybe_sent

    @pytest.mark.parametrize("then", ["drop", "reset"])
    async def test_lost_within_the_body(self, then: str) -> None:
        """Without the final dot nothing was sent (RFC 5321 §4.1.1.4)."""
        plan = replace(PLAN, raw=b"S: x\r\n\r\n" + LINE * 20_000)

        outcome, mx = await outcome_of(plan, body=Step(then=then))

        assert isinstance(outcome, SoftFail)
        assert not outcome.maybe_sent
        assert mx.transactions == []

    async def test_a_host_that_stops_reading(self) -> None:
        """RFC 5321 §4.5.3.2.5: a block must be taken in time."""
        plan = replace(PLAN, raw=b"S: x\r\n\r\n" + LINE * 20_000)

        outcome, _ = await outcome_of(plan, timeouts=QUICK, extensions=[], body=Step(then="silence"))

        assert isinstance(outcome, SoftFail)
        assert not outcome.maybe_sent

    async def test_refused_in_the_middle(self) -> None:
        """A host may say 552 before the end and close; its words count."""
        plan = replace(PLAN, raw=b"S: x\r\n\r\n" + LINE * 20_000)

        outcome, _ = await outcome_of(plan, body=Step(reply="552 5.3.4 too big", then="drop-after"))

        assert isinstance(outcome, HardFail | SoftFail)
        assert not getattr(outcome, "maybe_sent", False)

    async def test_the_claim_is_asked_after_354(self) -> None:
        """Whoever lost its lease drops the connection before the first byte of the body."""
        asked = []

        def lost() -> bool:
            asked.append(True)
            return False

        outcome, mx = await outcome_of(still_ours=lost)

        assert outcome == Postponed(NOW, "the claim was lost before the final dot")
        assert asked == [True]
        assert mx.sessions[0].commands[-1] == "DATA"
        assert mx.transactions == []

    async def test_cancelled_in_the_middle(self) -> None:
        """A node that stops must not leave half a transaction to the next message."""
        async with SinkMX(rcpt=Step(then="silence")) as mx, sending(mx, timeouts=Timeouts()) as sender:
            task = asyncio.create_task(sender.send(PLAN, still_ours=ours))
            await mx.reached.wait()
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
            assert sender._pool.idle == 0
