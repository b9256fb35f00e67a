"""The bounces that we send: what they say, and whom nothing is sent."""

from dataclasses import replace

import pytest

from shared.domain.bounce.reading import read_bounce
from shared.domain.bounce.report import Kind
from shared.domain.job import ToMX
from shared.domain.message import Delivery, Message, SpamStatus, Status
from shared.domain.routes import RouteMode
from shared.domain.suppression import Reason, Scope
from shared.flow.bounce_back import bounce_back
from shared.flow.suppress import Cause, Suppressing, suppress
from tests.fakes.forwarding import MAIL, URL, Inbox, open_inbox
from tests.fakes.http import FakeHTTP, answer


async def bounced(raw: bytes = MAIL, **changes: object) -> tuple[Inbox, Message]:
    """Let a mail fail at a route that bounces everything."""
    inbox = await open_inbox()
    message = await inbox.receive(await inbox.route(mode=RouteMode.BOUNCE), raw, **changes)
    await inbox.deliver()
    assert (await inbox.history(message))[0].status is Status.HARD_FAIL
    return inbox, message


class TestReport:
    async def test_is_an_rfc_3464_report_that_our_own_reader_understands(self) -> None:
        """From the null sender, signed by the route's domain, to whoever wrote."""
        inbox, message = await bounced()

        [(job, _)] = await inbox.here.take_jobs()
        bounce = await inbox.here.message(job.message_id)
        assert (bounce.rcpt_to, bounce.mail_from, bounce.bounce) == ("ann@sender.test", "", True)
        assert (bounce.domain, job.target) == ("example.test", ToMX("sender.test"))
        raw = await inbox.here.bodies.get(bounce.body_key)
        assert raw is not None
        found = read_bounce(raw)
        assert found.kind is Kind.BOUNCE
        assert [each.recipient for each in found.bounced] == ["support@example.test"]
        assert b"Auto-Submitted: auto-replied\r\n" in raw
        assert b"In-Reply-To: <q@sender.test>\r\n" in raw
        assert b"Subject: Mail Delivery Failed (Help)\r\n" in raw
        assert b"It is broken" not in raw  # never the body
        assert message.token.encode() not in raw

    async def test_does_not_tell_where_the_mail_went(self) -> None:
        """URLs and answers of endpoints are the tenant's business."""
        inbox = await open_inbox(FakeHTTP(lambda _: answer(422, b"internal detail")))
        await inbox.receive(await inbox.route(URL))

        await inbox.deliver()

        [(job, _)] = await inbox.here.take_jobs()
        raw = await inbox.here.bodies.get((await inbox.here.message(job.message_id)).body_key)
        assert raw is not None
        assert b"app.example.com" not in raw
        assert b"internal detail" not in raw
        assert b"Status: 5.7.1\r\n" in raw

    async def test_comes_once_however_often_the_job_comes(self) -> None:
        """A crash after the record: what follows is done again, with the same id and token."""
        inbox, message = await bounced()
        await inbox.send_job(replace(message, attempt=1))
        await inbox.deliver()

        ids = {job.message_id for job, _ in await inbox.here.take_jobs()}
        assert len(ids) == 1

    async def test_takes_another_id_if_its_own_is_taken(self) -> None:
        """A row's id is drawn as message ids are: some other message may have it."""
        inbox = await open_inbox()
        here = inbox.here
        message = await inbox.receive(await inbox.route(mode=RouteMode.BOUNCE))
        other = await here.accept_one()
        row = Delivery(other.id, 1, Status.HARD_FAIL, "no", "", here.clock(), "log12345")

        for _ in range(2):
            await bounce_back(
                here.tenant,
                message,
                row,
                stores=here.stores,
                messages=here.messages,
                settings=here.settings,
                now=here.clock(),
            )

        assert await here.message(other.id) == other
        assert (await here.message(other.id + 1)).rcpt_to == message.mail_from

    async def test_hostile_fields_make_no_header(self) -> None:
        """Subjects and ids are the sender's words."""
        inbox, _ = await bounced(subject="x\r\nBcc: victim@x.test\x00" + "é" * 300, message_id="a>\r\nX: y")

        [(job, _)] = await inbox.here.take_jobs()
        raw = await inbox.here.bodies.get((await inbox.here.message(job.message_id)).body_key)
        assert raw is not None
        assert b"\nBcc:" not in raw.partition(b"\r\n\r\n")[0]
        assert b"\nX: y" not in raw
        assert b"In-Reply-To" not in raw


class TestNobodyIsTold:
    @pytest.mark.parametrize(
        "changes",
        [
            {"mail_from": ""},
            {"mail_from": "MAILER-DAEMON@sender.test"},
            {"sender_verified": False},
            {"bounce": True},
            {"spam_status": SpamStatus.SPAM},
            {"threat": "Eicar-Test-Signature"},
            {"mail_from": "not an address"},
            {"mail_from": "ann@sender.test\r\nRCPT TO:<x@y.test>"},
        ],
    )
    async def test_by_the_envelope(self, changes: dict[str, object]) -> None:
        """The null sender, daemons, senders that may be forged, spam, threats, and what is no address."""
        inbox, _ = await bounced(**changes)

        assert await inbox.here.take_jobs() == []

    @pytest.mark.parametrize(
        "field",
        [
            b"Auto-Submitted: auto-replied\r\n",
            b"auto-submitted:\r\n AUTO-GENERATED (vacation); x=y\r\n",
            b"X-Auto-Response-Suppress: DR, OOF\r\n",
            b"X-Auto-Response-Suppress: All\r\n",
            b"Content-Type: multipart/report; report-type=delivery-status\r\n",
            b"Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n",
            b"a line that is no field\r\n",
        ],
    )
    async def test_that_a_machine_wrote(self, field: bytes) -> None:
        """Machines would answer each other for ever (RFC 3834 §2)."""
        inbox, _ = await bounced(field + MAIL)

        assert await inbox.here.take_jobs() == []

    async def test_but_a_person_is(self) -> None:
        """Auto-Submitted: no says that a person wrote (RFC 3834 §5)."""
        inbox, _ = await bounced(b"Auto-Submitted: no\r\n" + MAIL)

        assert len(await inbox.here.take_jobs()) == 1

    async def test_who_is_suppressed(self) -> None:
        """Bounces to an address that does not exist hurt our reputation as any mail does."""
        inbox = await open_inbox()
        here = inbox.here
        message = await inbox.receive(await inbox.route(mode=RouteMode.BOUNCE))
        scope, using = Scope(here.server.id), Suppressing.over(here.stores, here.settings)
        await suppress(scope, message.mail_from, Cause(reason=Reason.MANUAL), until=None, using=using, now=here.clock())

        await inbox.deliver()

        assert await here.take_jobs() == []
