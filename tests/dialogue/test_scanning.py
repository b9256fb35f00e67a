"""Mail that scanners speak of, from port 25 through the real flow, on stores in memory."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.event import Event, EventKind
from shared.domain.inspection import Inspection, check
from shared.domain.message import Message, SpamStatus, Status
from shared.domain.routes import Route, RouteMode, SpamMode, Target
from shared.flow.hold import release
from shared.flow.routes import NewRoute, create_route
from shared.flow.servers import ServerChanges, update_server
from shared.ports import Key
from shared.store.message_items import message_of
from smtp_node.scan.scanning import Scanning
from tests.dialogue.door import open_doors
from tests.dialogue.test_inside import House, house
from tests.fakes.forwarding import URL, Inbox, open_inbox
from tests.fakes.inward import Post, dsn
from tests.fakes.scanners import FakeScanner

MAIL = (
    b"From: Ann <ann@sender.test>\r\nTo: info@example.test\r\nSubject: Help\r\n"
    b"Message-ID: <q@sender.test>\r\n\r\nIt is broken.\r\n"
)
FORGED = b"X-Postal-Spam: no\r\nX-Postal-Threat: no\r\n"
SPAM = Inspection(7.5, (check("OWN_WORD", 7.5, "Has the word"),))
AWFUL = Inspection(20.0, (check("OWN_WORD", 20.0),))
THREAT = Inspection(threat="Eicar")
REFUSED = "550 5.7.1 Message refused as spam"
TOO_HIGH = "Message's spam score is higher than the failure threshold for this server. Threshold is currently 20.0."
CLEAN = Inspection(0.5, threat="")


async def scanned_by(said: Inspection) -> tuple[House, FakeScanner]:
    """Return an installation whose scanners say this of every mail."""
    behind, spam = await house(), FakeScanner(said)
    virus = FakeScanner(Inspection(threat=said.threat)) if said.threat is not None else None
    behind.scanning = Scanning(spam if said.score is not None else None, virus)
    return behind, spam


async def make_route(
    behind: House,
    *targets: Target,
    mode: RouteMode = RouteMode.ACCEPT,
    name: str = "info",
    spam: SpamMode = SpamMode.MARK,
) -> Route:
    """Make a route of the first domain."""
    here = behind.installation
    wanted = NewRoute(address=f"{name}@example.test", mode=mode, targets=targets, spam_mode=spam)
    made = await create_route(
        wanted,
        server=here.server,
        allowed=(),
        records=here.records,
        keyring=here.stores.keyring,
        rng=here.rng,
        now=here.clock(),
    )
    return made.route


async def bring(behind: House, *recipients: str, raw: bytes = MAIL, times: int = 1) -> str:
    """Bring the mail to port 25 and return the reply; several times, each in a session of its own."""
    reply = ""
    async with open_doors(inside=behind) as doors:
        for _ in range(times):
            wire = await doors.connect("smtp")
            await wire.reply()
            await wire.say("EHLO mx.sender.test")
            await wire.say("MAIL FROM:<ann@sender.test>")
            for each in recipients or ("info@example.test",):
                assert (await wire.say(f"RCPT TO:<{each}>")).startswith("250")
            assert (await wire.say("DATA")).startswith("354")
            await wire.send(raw + b".\r\n")
            reply = await wire.reply()
    return reply


async def kept(behind: House) -> list[tuple[Message, bytes, list[str]]]:
    """Return all incoming messages with their bodies and what their rows say."""
    here = behind.installation
    found = []
    for key in await Post(here).incoming():
        item = await here.records.get(Key(key.partition, key.sort))
        assert item is not None
        message = message_of(item)
        history = await here.messages.with_deliveries(here.server, message.id)
        raw = await here.bodies.get(message.body_key)
        assert history is not None
        assert raw is not None
        found.append((message, raw, [row.details for row in history[1]]))
    return found


async def events(behind: House) -> list[Event]:
    """Return what was told, each once."""
    return await Post(behind.installation).events()


class TestScanning:
    async def test_spam_is_marked_and_goes_on(self) -> None:
        """Record, header fields and scanners agree; what the sender claimed is gone, all else as it came."""
        behind, spam = await scanned_by(SPAM)
        await make_route(behind)

        reply = await bring(behind, raw=FORGED + MAIL)

        assert reply.startswith("250 2.0.0 OK queued as ")
        [(message, raw, _)] = await kept(behind)
        assert (message.inspected, message.spam_status, message.spam_score) == (True, SpamStatus.SPAM, 7.5)
        fields = b"X-Postal-Spam: yes\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: 7.5\r\n"
        ours = fields + b"X-Edgepost-Spam-Checks: OWN_WORD=7.5 (Has the word)\r\nReceived: from mx.sender.test "
        assert raw.startswith(ours)
        assert raw.endswith(b"\r\n" + MAIL)
        assert raw.count(b"X-Postal-") == 3
        [shown] = spam.shown
        assert b"".join(shown.content).endswith(b"\r\n" + MAIL)
        assert (shown.mail_from, shown.rcpt_to, shown.helo, shown.address, shown.sent_by) == (
            "ann@sender.test",
            ("info@example.test",),
            "mx.sender.test",
            "127.0.0.1",
            "",
        )

    @pytest.mark.parametrize("beginning", [b"\t-99\r\n", b" yes\r\n", b"X-Postal-Spam: no\r\n -99\r\n", b"\r\n"])
    async def test_a_mail_cannot_go_on_with_our_fields(self, beginning: bytes) -> None:
        """A folded line at its very beginning belongs to whatever field stands above."""
        behind, _ = await scanned_by(SPAM)
        behind.scanning = Scanning(FakeScanner(Inspection(7.5)), FakeScanner(Inspection(threat="")))
        await make_route(behind)

        await bring(behind, raw=beginning + MAIL)

        [(_, raw, _)] = await kept(behind)
        assert raw.startswith(
            b"X-Postal-Spam: yes\r\nX-Postal-Spam-Threshold: 5.0\r\nX-Postal-Spam-Score: 7.5\r\n"
            b"X-Postal-Threat: no\r\nReceived: from "
        )

    async def test_unscanned_mail_says_nothing_and_loses_forged_fields(self) -> None:
        """Without a scanner too, nobody may claim to have been scanned by us; broken heads are no way around it."""
        behind = await house()
        await make_route(behind)

        await bring(behind, raw=FORGED + MAIL)
        await bring(behind, raw=b"no field at all\r\n" + FORGED + MAIL)

        for message, raw, _ in await kept(behind):
            assert (message.inspected, message.spam_status, message.spam_score) == (False, SpamStatus.NOT_CHECKED, 0.0)
            assert b"X-Postal-" not in raw
            assert raw.endswith(MAIL)

    async def test_mail_is_scanned_once_however_many_get_it(self) -> None:
        """A scan costs more than everything else together."""
        behind, spam = await scanned_by(CLEAN)
        await make_route(behind)
        await make_route(behind, name="sales")

        await bring(behind, "info@example.test", "sales@example.test")

        assert [each.rcpt_to for each in spam.shown] == [("info@example.test", "sales@example.test")]
        assert [message.spam_status for message, _, _ in await kept(behind)] == [SpamStatus.NOT_SPAM] * 2

    async def test_bounces_are_not_scanned(self) -> None:
        """They quote what was sent; a bounce that is lost for a word in it is a failure nobody hears of."""
        behind, spam = await scanned_by(replace(AWFUL, threat="Eicar"))
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"

        assert (await bring(behind, address, raw=dsn())).startswith("250")
        assert spam.shown == []


class TestHangingScanners:
    async def test_mail_passes_unchecked_and_bounces_do_not_wait(self) -> None:
        """A scanner that takes the mail and says nothing: each mail waits its time, and no longer."""
        behind = await house()
        stuck = [FakeScanner(timeout=timedelta(milliseconds=300), gate=asyncio.Event()) for _ in range(2)]
        behind.scanning = Scanning(*stuck)
        await make_route(behind)
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"

        replies = await asyncio.gather(bring(behind), bring(behind, address, raw=dsn()))

        assert [each[:3] for each in replies] == ["250", "250"]
        assert [len(each.shown) for each in stuck] == [1, 1]
        for message, raw, _ in await kept(behind):
            assert (message.inspected, message.spam_status) == (False, SpamStatus.NOT_CHECKED)
            assert b"X-Postal-" not in raw


class TestFailing:
    @pytest.mark.parametrize("mode", [RouteMode.ACCEPT, RouteMode.HOLD, RouteMode.BOUNCE])
    @pytest.mark.parametrize(
        ("said", "reply", "details"),
        [
            (
                AWFUL,
                REFUSED,
                TOO_HIGH,
            ),
            (
                THREAT,
                "550 5.7.1 Message refused, a virus scanner found a threat in it",
                "Message contains a threat: Eicar.",
            ),
        ],
    )
    async def test_the_sender_hears_it_and_a_record_is_kept(
        self, mode: RouteMode, said: Inspection, reply: str, details: str
    ) -> None:
        """Whatever the route would do: the owner can see what was refused, and nobody is sent a bounce."""
        behind, _ = await scanned_by(said)
        await make_route(behind, mode=mode)

        assert await bring(behind) == reply

        [(message, _, rows)] = await kept(behind)
        assert (message.status, rows) == (Status.HARD_FAIL, [details])
        assert message.threat == (said.threat or "")
        told = {each.kind: each for each in await events(behind)}
        assert set(told) == {EventKind.RECEIVED, EventKind.FAILED}
        assert told[EventKind.FAILED].details == details
        assert told[EventKind.FAILED].output == said.summary()
        assert await behind.installation.take_jobs() == []

    async def test_the_same_bytes_again_are_the_same_message(self) -> None:
        """A sender that tries again after 550 makes no second record and no second event."""
        behind, _ = await scanned_by(THREAT)
        await make_route(behind)

        await bring(behind, times=3)

        assert len(await kept(behind)) == 1
        assert len(await events(behind)) == 2

    @pytest.mark.parametrize(
        ("first", "then"), [(THREAT, CLEAN), (AWFUL, Inspection()), (CLEAN, THREAT), (SPAM, AWFUL)]
    )
    @pytest.mark.parametrize("mode", [RouteMode.ACCEPT, RouteMode.ENDPOINT])
    async def test_of_a_repeated_mail_the_first_ruling_counts(
        self, mode: RouteMode, first: Inspection, then: Inspection
    ) -> None:
        """A list is updated, a scanner dies: one mail cannot be refused and delivered, nor told of as both."""
        behind, _ = await scanned_by(first)
        await make_route(behind, *([URL] if mode is RouteMode.ENDPOINT else []), mode=mode)
        reply = await bring(behind)
        [(before, raw, rows)] = await kept(behind)
        told = await events(behind)
        jobs = (await behind.installation.stores.inbound.depth()).ready

        behind.scanning = Scanning(FakeScanner(then), FakeScanner(then))

        assert await bring(behind) == reply
        assert await kept(behind) == [(before, raw, rows)]
        assert {each.kind for each in await events(behind)} == {each.kind for each in told}
        assert (await behind.installation.stores.inbound.depth()).ready == 2 * jobs  # of one message, claimed once

    async def test_an_endpoint_never_gets_it(self) -> None:
        """Several endpoints: one record, no job, and nothing that could be released."""
        behind, _ = await scanned_by(THREAT)
        await make_route(behind, URL, replace(URL, url="https://b.example.com/"), mode=RouteMode.ENDPOINT)

        await bring(behind)

        [(message, _, _)] = await kept(behind)
        assert message.status is Status.HARD_FAIL
        assert (await behind.installation.stores.inbound.depth()).ready == 0
        with pytest.raises(Exception, match="is not held"):
            await release(behind.installation.server, message.id, using=behind.installation.settling)

    async def test_one_recipient_that_takes_it_makes_it_250(self) -> None:
        """One answer stands for all; the others' records say what became of theirs."""
        behind, _ = await scanned_by(SPAM)
        await make_route(behind, spam=SpamMode.FAIL)
        await make_route(behind, name="sales")

        assert (await bring(behind, "info@example.test", "sales@example.test")).startswith("250")
        assert sorted(message.status for message, _, _ in await kept(behind)) == [Status.HARD_FAIL, Status.PROCESSED]

    async def test_a_return_path_beside_it_makes_it_250(self) -> None:
        """A bounce that came along was taken."""
        behind, _ = await scanned_by(THREAT)
        await make_route(behind)
        post = Post(behind.installation)
        address = f"{await post.token(await post.sent())}@rp.localhost"

        assert (await bring(behind, "info@example.test", address, raw=dsn())).startswith("250")

    async def test_a_route_may_ask_for_it(self) -> None:
        """spam_mode Fail, known in the session."""
        behind, _ = await scanned_by(SPAM)
        await make_route(behind, spam=SpamMode.FAIL)

        assert await bring(behind) == REFUSED
        [(_, _, rows)] = await kept(behind)
        assert rows == ["Message is spam and the route specifies it should be failed."]

    async def test_thresholds_are_the_servers(self) -> None:
        """What is spam to one is none to another, from the next mail on."""
        behind, _ = await scanned_by(SPAM)
        here = behind.installation
        await make_route(behind)
        await update_server(here.server.permalink, ServerChanges(spam_threshold=7.5), records=here.records)

        await bring(behind)

        [(message, raw, _)] = await kept(behind)
        assert message.spam_status is SpamStatus.NOT_SPAM
        assert b"X-Postal-Spam: no\r\nX-Postal-Spam-Threshold: 7.5\r\nX-Postal-Spam-Score: 7.5\r\n" in raw


class TestQuarantine:
    @pytest.mark.parametrize(
        ("mode", "after"), [(RouteMode.ACCEPT, Status.PROCESSED), (RouteMode.ENDPOINT, Status.SENT)]
    )
    async def test_holds_spam_until_it_is_released(self, mode: RouteMode, after: Status) -> None:
        """As in Postal it comes before the route's mode."""
        inbox = await open_inbox()
        behind = await _before(inbox, SPAM)
        await make_route(behind, *([URL] if mode is RouteMode.ENDPOINT else []), mode=mode, spam=SpamMode.QUARANTINE)

        assert (await bring(behind)).startswith("250")
        await inbox.deliver()
        [(held, _, rows)] = await kept(behind)
        assert (held.status, rows) == (Status.HELD, ["Message placed into quarantine."])
        await release(inbox.here.server, held.id, using=inbox.here.settling)
        await inbox.deliver()

        assert (await inbox.here.message(held.id)).status is after

    async def test_lets_other_mail_through(self) -> None:
        """And the endpoint is told."""
        inbox = await open_inbox()
        behind = await _before(inbox, CLEAN)
        await make_route(behind, URL, mode=RouteMode.ENDPOINT, spam=SpamMode.QUARANTINE)

        await bring(behind)
        await inbox.deliver()

        [posted] = inbox.http.posted
        assert b'"spam_status":"NotSpam"' in posted.body
        [(message, _, _)] = await kept(behind)
        assert message.status is Status.SENT


async def _before(inbox: Inbox, said: Inspection) -> House:
    """Return a door before that installation whose scanners say this."""
    behind = await house(installation=inbox.here)
    behind.scanning = Scanning(FakeScanner(said))
    return behind
