"""Outgoing mail is scanned before its first attempt, where its server has a threshold for it."""

import json
from datetime import timedelta

from functions.api.v1_message_view import record_view
from shared.domain.event import Event, EventKind
from shared.domain.event_names import Dialect
from shared.domain.inspection import Inspection, check
from shared.domain.message import Delivery, Evidence, Message, SpamStatus, Status
from shared.domain.notice import Notice, message_facts
from shared.domain.outcome import Outcome, Sent, SoftFail
from shared.domain.webhook_payload import webhook_body
from shared.flow.follow import Following, follow
from shared.flow.servers import ServerChanges, update_server
from shared.flow.suppress import Suppressing
from shared.store.suppressions import Suppressions
from smtp_node.scan.scanning import Scanning
from tests.fakes.installation import RAW, Installation, install
from tests.fakes.scanners import FakeScanner
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of

CHECKS = (check("LOW", -0.5), check("BAYES_99", 4.5, "Bayes spam probability"), check("URIBL", 4.0))
SPAM = Inspection(8.0, CHECKS)
CLEAN = Inspection(0.4, (), "")
TOO_HIGH = "Message is likely spam. Threshold is 8.0 and the message scored 8.0."


async def sending(threshold: float | None = 8.0, raw: bytes = RAW) -> tuple[Installation, Message]:
    """Return an installation whose server has that threshold, with a message to be sent."""
    here = await install()
    if threshold is not None:
        changes = ServerChanges(outbound_spam_threshold=threshold)
        await update_server(here.server.permalink, changes, records=here.records)
    return here, await here.accept_one(raw=raw)


async def attempt(
    here: Installation, message: Message, sender: ScriptedSender, scanning: Scanning
) -> tuple[Message, Delivery]:
    """Let a node work until it has told of an attempt; return the message and its last row."""
    before = here.events.sent
    await work_until(worker_of(here, sender, scanning=scanning), lambda: here.events.sent > before)
    found = await here.messages.with_deliveries(here.server, message.id)
    assert found is not None
    return found[0], found[1][-1]


class TestOutgoing:
    async def test_without_a_threshold_nothing_is_scanned(self) -> None:
        """As in Postal: a scan costs time, and customers' mail is not looked into for nothing."""
        here, message = await sending(None)
        scanner = FakeScanner(SPAM)

        sent, _ = await attempt(here, message, ScriptedSender(), Scanning(scanner))

        assert (sent.status, sent.inspected, scanner.shown) == (Status.SENT, False, [])

    async def test_what_would_go_out_is_scanned(self) -> None:
        """With our Received field, so that the scanner knows where it came from."""
        here, message = await sending()
        scanner = FakeScanner(CLEAN)

        sent, _ = await attempt(here, message, ScriptedSender(), Scanning(scanner))

        [shown] = scanner.shown
        raw = b"".join(shown.content)
        assert b"\r\nReceived: from api (unknown [192.0.2.7])" in raw
        assert raw.endswith(RAW)
        assert (shown.rcpt_to, shown.sent_by, shown.queue_id) == (("user@dest.test",), "main", message.token)
        assert shown.mail_from == "app@example.test"
        assert (sent.status, sent.inspected, sent.spam_status, sent.spam_score) == (
            Status.SENT,
            True,
            SpamStatus.NOT_SPAM,
            0.4,
        )

    async def test_at_the_threshold_nothing_is_sent(self) -> None:
        """Postal's words, and beside them what the scanner found, what counts most first."""
        here, message = await sending()
        sender = ScriptedSender()

        failed, row = await attempt(here, message, sender, Scanning(FakeScanner(SPAM)))

        assert (failed.status, failed.spam_status, failed.spam_score) == (Status.HARD_FAIL, SpamStatus.SPAM, 8.0)
        assert (row.details, row.output) == (TOO_HIGH, "BAYES_99=4.5, URIBL=4.0, LOW=-0.5")
        assert sender.plans == []
        [event] = [Event.from_json(each) for each in await here.take_events()]
        assert (event.kind, event.details, event.output) == (EventKind.FAILED, row.details, row.output)

    async def test_a_threat_is_never_sent(self) -> None:
        """Where Postal only notes it."""
        here, message = await sending()
        sender = ScriptedSender()
        scanning = Scanning(FakeScanner(Inspection(0.0)), FakeScanner(Inspection(threat="Eicar")))

        failed, row = await attempt(here, message, sender, scanning)

        assert (failed.status, failed.threat, row.details) == (
            Status.HARD_FAIL,
            "Eicar",
            "Message contains a threat: Eicar.",
        )
        assert sender.plans == []

    async def test_the_recipient_is_not_suppressed_for_it(self) -> None:
        """It says nothing of the address, however often it happens."""
        here, message = await sending()
        using = Following(Suppressing.over(here.stores, here.settings), here.directory, here.messages)

        for _ in range(3):
            await attempt(here, message, ScriptedSender(), Scanning(FakeScanner(SPAM)))
            message = await here.accept_one()
        await follow([Event.from_json(each) for each in await here.take_events()], using=using, now=here.clock())

        held = await Suppressions(here.records).holding(here.tenant, "", ["user@dest.test"], here.clock())
        assert held == {}

    async def test_a_retry_is_not_scanned_again_and_costs_no_further_write(self) -> None:
        """The result is part of the write that settles the first attempt."""
        here, message = await sending()
        scanner, answers = FakeScanner(CLEAN), [SoftFail("later"), Sent("ok", "250 ok", Evidence(smtp_code=250))]
        sender = ScriptedSender(lambda _: answers.pop(0))
        updates = _counting_updates(here)

        waiting, _ = await attempt(here, message, sender, Scanning(scanner))
        with_scan = len(updates)
        here.clock.advance(timedelta(minutes=10))
        sent, _ = await attempt(here, message, sender, Scanning(scanner))

        assert (waiting.status, waiting.spam_status) == (Status.SOFT_FAIL, SpamStatus.NOT_SPAM)
        assert (sent.status, sent.spam_status, sent.spam_score) == (Status.SENT, SpamStatus.NOT_SPAM, 0.4)
        assert len(scanner.shown) == 1
        assert (with_scan, len(updates)) == (2, 4)  # a claim and a settlement each

    async def test_a_scanner_that_is_away_stops_no_mail(self) -> None:
        """It goes out unchecked, and is shown again at the next attempt, if there is one."""
        here, message = await sending()
        outcomes: list[Outcome] = [SoftFail("later"), Sent("ok", "250 ok", Evidence(smtp_code=250))]
        sender = ScriptedSender(lambda _: outcomes.pop(0))

        waiting, _ = await attempt(here, message, sender, Scanning(FakeScanner(OSError())))
        here.clock.advance(timedelta(minutes=10))
        sent, _ = await attempt(here, message, sender, Scanning(FakeScanner(CLEAN)))

        assert (waiting.status, waiting.inspected) == (Status.SOFT_FAIL, False)
        assert (sent.status, sent.spam_status) == (Status.SENT, SpamStatus.NOT_SPAM)

    async def test_test_mode_shows_it_too(self) -> None:
        """Test mode goes the whole way but the last step."""
        here, message = await sending(raw=b"X-Edgepost-Test-Mode: yes\r\n" + RAW)

        failed, row = await attempt(here, message, ScriptedSender(), Scanning(FakeScanner(SPAM)))

        assert (message.test_mode, failed.status, row.details) == (True, Status.HARD_FAIL, TOO_HIGH)


class TestShown:
    async def test_to_apis_and_webhooks(self) -> None:
        """Postal's inspection, and spam_status in both dialects."""
        here, message = await sending()
        scanning = Scanning(FakeScanner(SPAM), FakeScanner(Inspection(threat="Eicar")))

        failed, _ = await attempt(here, message, ScriptedSender(), scanning)

        assert record_view(failed, {"inspection"}) == {
            "inspection": {
                "inspected": True,
                "spam": True,
                "spam_score": 8.0,
                "threat": True,
                "threat_details": "Eicar",
            }
        }
        [event] = [Event.from_json(each) for each in await here.take_events()]
        for facts, status in ((message_facts(failed), "Spam"), (message_facts(message), "NotChecked")):
            for dialect in Dialect:
                body = webhook_body(Notice(event, facts), dialect)
                assert body is not None
                assert json.loads(body)["payload"]["message"]["spam_status"] == status


def _counting_updates(here: Installation) -> list[str]:
    """Note the key of each further update of a message."""
    keys: list[str] = []
    update = here.records.update

    async def noting(change):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if change.key.partition.startswith("message#"):
            keys.append(change.key.sort)
        return await update(change)

    here.records.update = noting  # type: ignore[method-assign]
    return keys
