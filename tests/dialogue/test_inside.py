"""The door with the real flow behind it, on stores in memory."""

import random
from dataclasses import dataclass, field, replace

import pytest

from shared.domain.errors import StorageUnavailable
from shared.domain.event import EventKind
from shared.domain.message import Via
from shared.domain.tenancy import CredentialType
from shared.flow.credentials import NewCredential, create_credential
from shared.flow.reserve_incoming import MAX_BELIEVED
from smtp_node.authentication.inbound import Authentication
from smtp_node.receive.inside import Grant, Inside, inside
from smtp_node.scan.scanning import Scanning
from tests.dialogue.door import GRANT, RecordingInside, open_doors
from tests.dialogue.wire import Wire
from tests.fakes.installation import RAW, Installation, install
from tests.fakes.inward import Post, dsn
from tests.fakes.resolver import FakeResolver


@dataclass(slots=True)
class House:
    """An installation with an SMTP key."""

    installation: Installation
    key: str
    grant: Grant
    scanning: Scanning = field(default_factory=Scanning)

    def functions(self) -> Inside:
        """Return the way inside."""
        resolver = FakeResolver()
        return inside(
            self.installation.acceptance,
            tokens=self.installation.tokens,
            authentication=Authentication(resolver, "mx.example.test"),
            scanning=self.scanning,
            clock=self.installation.clock,
            resolver=resolver,
        )


async def house(
    kind: CredentialType = CredentialType.SMTP, network: str = "", installation: Installation | None = None
) -> House:
    """Return an installation, a fresh one unless given, with one more credential."""
    made = installation or await install()
    issued = await create_credential(
        NewCredential(type=kind, name="smtp", network=network),
        server=made.server,
        records=made.records,
        rng=random.Random(3),
        now=made.clock(),
    )
    return House(made, issued.key, Grant(made.tenant, issued.credential))


async def send(wire: Wire, raw: bytes = RAW) -> str:
    """Send one message to one recipient and return the reply."""
    for command in ("MAIL FROM:<app@example.test>", "RCPT TO:<user@dest.test>", "DATA"):
        assert (await wire.say(command))[:3] in {"250", "354"}
    await wire.send(raw + b".\r\n")
    return await wire.reply()


class TestInside:
    async def test_a_message_by_key_is_stored_and_queued(self) -> None:
        """250 names a message that is really there."""
        behind = await house()
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("submissions")
            await wire.reply()
            assert await wire.log_in(behind.key) == "235 2.7.0 Granted for acme/main"
            reply = await send(wire)

        message = await behind.installation.message(int(reply.removeprefix("250 2.0.0 OK queued as ")))
        assert message.rcpt_to == "user@dest.test"
        assert message.origin.via is Via.ESMTPSA
        assert len(await behind.installation.take_jobs()) == 1

    async def test_networks_are_asked_for_only_by_mail_that_goes_out(self) -> None:
        """On port 25 most mail is for addresses of ours: it must not pay for the look-up of SMTP-IP credentials."""
        behind = RecordingInside()
        behind.network_grant = GRANT
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO client.example.test")
            await wire.say("MAIL FROM:<a@dest.test>")
            await wire.say("RCPT TO:<info@here.test>")
            asked = list(behind.networks_asked)
            await wire.say("RSET")
            await wire.say("MAIL FROM:<a@dest.test>")
            accepted = [await wire.say(f"RCPT TO:<{name}@dest.test>") for name in ("a", "b")]

        assert asked == []
        assert behind.networks_asked == ["127.0.0.1"]
        assert {reply[:3] for reply in accepted} == {"250"}

    async def test_an_api_key_opens_nothing_here(self) -> None:
        """A key of one type never works at another door."""
        behind = await house()
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("submissions")
            await wire.reply()

            assert await wire.log_in(behind.installation.key) == "535 5.7.8 Invalid credential"

    async def test_a_network_needs_no_key(self) -> None:
        """SMTP-IP, from the address that the socket has."""
        behind = await house(CredentialType.SMTP_IP, "127.0.0.0/8")
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO client.example.test")

            assert (await send(wire)).startswith("250 2.0.0")

    @pytest.mark.parametrize(
        ("raw", "reply"),
        [
            (RAW.replace(b"app@example.test", b"ceo@other.test"), "530 5.7.1 From/Sender name is not valid"),
            (RAW.replace(b"From: ", b"From : "), "550 5.6.0 Message has malformed header lines or line ends"),
            (b"no header here\r\n" + RAW, "550 5.6.0 Message has malformed header lines or line ends"),
        ],
    )
    async def test_the_flow_refuses_and_the_door_translates(self, raw: bytes, reply: str) -> None:
        """As tenant A nobody sends as tenant B (attacks S10, S11)."""
        behind = await house()
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("submissions")
            await wire.reply()
            await wire.log_in(behind.key)

            assert await send(wire, raw) == reply
            assert await behind.installation.take_jobs() == []

    async def test_a_grant_is_looked_up_again(self) -> None:
        """What changed meanwhile counts for the next message."""
        behind = await house()
        functions = behind.functions()

        assert await functions.current(behind.grant) == Grant(behind.grant.tenant, behind.grant.credential)
        gone = replace(behind.grant.credential, id=behind.grant.credential.id + 1)
        assert await functions.current(replace(behind.grant, credential=gone)) is None


async def brought(wire: Wire, raw: bytes, *recipients: str) -> str:
    """Bring a mail from the null sender and return the reply to it."""
    await wire.reply()
    await wire.say("EHLO mx.dest.test")
    for command in ("MAIL FROM:<>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"):
        assert (await wire.say(command))[:3] in {"250", "354"}
    await wire.send(raw + b".\r\n")
    return await wire.reply()


class TestInward:
    async def test_a_bounce_is_kept_with_what_was_checked(self) -> None:
        """Trace and Authentication-Results on top, one in our name taken out, every other byte as it came."""
        behind = await house()
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"
        raw = b"Authentication-Results: mx.example.test; dmarc=pass\r\n" + dsn().replace(b"No such", b"\xe4 such")
        async with open_doors(inside=behind) as doors:
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO mx.dest.test")
            for command in ("MAIL FROM:<>", f"RCPT TO:<{address}>", "DATA"):
                assert (await wire.say(command))[:3] in {"250", "354"}
            await wire.send(raw + b".\r\n")
            reply = await wire.reply()

        kept = await behind.installation.message(int(reply.removeprefix("250 2.0.0 OK queued as ")))
        stored = await behind.installation.bodies.get(kept.body_key)
        assert stored is not None
        head, ours, rest = stored.partition(b"Authentication-Results: mx.example.test;\r\n spf=")
        assert head.startswith(b"Received: from mx.dest.test (unknown [127.0.0.1])\r\n\tby mx.example.test with ESMTP")
        assert f"for <{address}>;".encode() in head
        assert ours
        assert b"dmarc=pass" not in rest
        assert rest.endswith(raw.partition(b"\r\n")[2])
        assert [each.kind for each in await post.events()] == [EventKind.BOUNCED]

    @pytest.mark.parametrize("strange", [b"no field at all\r\n", b" folded\r\n", b"X: y\r\n" * 1001, b"X : y\r\n"])
    async def test_a_head_that_we_cannot_read_claims_no_results(self, strange: bytes) -> None:
        """Another reader may find fields in it: RFC 8601 §5 wants none there that seem to be ours."""
        behind = await house()
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"
        forged = b"authentication-results: mx.example.test;\r\n dmarc=pass header.from=bank.test\r\n"
        rest = b"Subject: x\r\n\r\nAuthentication-Results: of the body\r\n"
        async with open_doors(inside=behind) as doors:
            reply = await brought(await doors.connect("smtp"), strange + forged + rest, address)

        kept = await behind.installation.message(int(reply.removeprefix("250 2.0.0 OK queued as ")))
        stored = await behind.installation.bodies.get(kept.body_key)
        assert stored is not None
        assert b"dmarc=pass" not in stored
        assert stored.endswith(strange + rest)

    async def test_what_one_refuses_the_other_gets(self) -> None:
        """A stranger who fills a return path must not keep a mail to two addresses from the second."""
        behind = await house()
        post = Post(behind.installation)
        full = f"{await post.token(await post.sent())}@rp.localhost"
        other = f"{await post.token(await post.sent('other@dest.test'))}@rp.localhost"
        for number in range(MAX_BELIEVED):
            await post.take(full, dsn(unique=str(number)))
        raw = dsn(unique="last")
        async with open_doors(inside=behind) as doors:
            alone = await brought(await doors.connect("smtp"), raw, full)
            both = await brought(await doors.connect("smtp"), raw, full, other)

        assert alone.startswith("552 5.2.2")
        assert both.startswith("250 2.0.0 OK queued as ")
        assert len(await post.incoming()) == MAX_BELIEVED + 1

    async def test_a_storage_that_is_away_is_temporary(self) -> None:
        """Not knowing is temporary: a wrong 550 would lose the bounce."""
        inside = RecordingInside()
        inside.error = StorageUnavailable("away")
        async with open_doors(inside=inside) as doors:
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO mx.dest.test")
            for command in ("MAIL FROM:<>", "RCPT TO:<good@rp.example.test>", "DATA"):
                assert (await wire.say(command))[:3] in {"250", "354"}
            await wire.send(b"Subject: x\r\n\r\n.\r\n")

            assert (await wire.reply()).startswith("451 4.3.0")

    async def test_too_many_mails_about_one_message_are_refused_in_the_session(self) -> None:
        """Nothing is answered with 250 that is not kept."""
        behind = await house()
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"
        replies = []
        async with open_doors(inside=behind) as doors:
            for number in range(MAX_BELIEVED + 1):
                wire = await doors.connect("smtp")
                await wire.reply()
                await wire.say("EHLO mx.dest.test")
                for command in ("MAIL FROM:<>", f"RCPT TO:<{address}>", "DATA"):
                    assert (await wire.say(command))[:3] in {"250", "354"}
                await wire.send(dsn(unique=str(number)) + b".\r\n")
                replies.append(await wire.reply())

        assert {each[:9] for each in replies[:-1]} == {"250 2.0.0"}
        assert replies[-1] == "552 5.2.2 Enough mail has come about this message"

    async def test_recipients_here_and_elsewhere_need_a_message_each(self) -> None:
        """One answer cannot tell of two things that may go different ways."""
        inside = RecordingInside()
        inside.network_grant = GRANT
        async with open_doors(inside=inside) as doors:
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO client.example.test")
            await wire.say("MAIL FROM:<app@example.test>")

            assert (await wire.say("RCPT TO:<info@here.test>")).startswith("250")
            assert (await wire.say("RCPT TO:<user@foreign.test>")).startswith("452 4.5.3")
            assert (await wire.say("RCPT TO:<sales@here.test>")).startswith("250")
