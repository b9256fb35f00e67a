"""The node tracks what it sends: by the message's switches, its domain and its server."""

import json
import logging
from typing import Any

import pytest

from shared.domain.tenancy import Scope
from shared.domain.tracking import Tracking
from shared.flow.track_domains import NewTrackDomain, add_track_domain, update_track_domain
from shared.settings import Settings
from shared.store.servers import Servers
from shared.tokens import CLICK, OPEN, Named
from smtp_node.deliver.compose import compose
from smtp_node.deliver.tracking.rewrite import Marking
from smtp_node.deliver.tracking.safely import tracked
from standalone.log_figures import WORKER_ERRORS
from tests.fakes.installation import Installation, install
from tests.unit.test_deliver_worker import ScriptedSender, work_until, worker_of

HOST = "track.example.test"
HTML = (
    b"From: App <app@example.test>\r\nTo: user@dest.test\r\nSubject: Hello\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <one@example.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n%b\r\n"
    b'<body><a href="https://shop.example.com/a?b=1&amp;c=2">go</a></body>\r\n'
)
SETTINGS = Settings(public_url="https://mail.host.test", track_domain="track.host.test")


async def track(here: Installation, **changes: Any) -> None:
    """Give the server a tracking domain."""
    wanted = NewTrackDomain(name=HOST, scope=Scope.ADMIN, trusted=True)
    domain = await add_track_domain(
        wanted, server=here.server, records=here.records, settings=SETTINGS, now=here.clock()
    )
    await update_track_domain(domain, records=here.records, **changes)


async def sent(here: Installation, head: bytes = b"", **changes: object) -> bytes:
    """Send a message and return what went on the wire."""
    sender = ScriptedSender()
    await here.accept(raw=HTML % head, **changes)
    await work_until(worker_of(here, sender), lambda: bool(sender.plans))
    return sender.plans[0].added + sender.plans[0].raw


def is_clicked(raw: bytes, host: str = HOST) -> bool:
    """Tell whether the link is tracked under the host."""
    assert (b"https://shop.example.com/a" in raw) is not (b"https://%b/c/" % host.encode() in raw)
    return b"https://%b/c/" % host.encode() in raw


def is_opened(raw: bytes, host: str = HOST) -> bool:
    """Tell whether there is a pixel of the host."""
    return b'<img src="https://%b/o/' % host.encode() in raw


class TestTracked:
    async def test_a_fault_of_ours_costs_the_tracking_and_not_the_message(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It would come again at each attempt, and after eighteen the message would be lost."""
        here = await install(SETTINGS)
        message = await here.accept_one()

        def broken(raw: bytes, marking: Marking | None) -> bytes:
            raise RecursionError("a form that nobody thought of")

        with caplog.at_level(logging.ERROR):
            assert tracked(message, HTML, None, rewrite=broken) == HTML

        [line] = [each for each in caplog.records if each.msg == "tracking_failed"]
        assert vars(line)["message_id"] == message.id
        assert "tracking_failed" in WORKER_ERRORS  # so that it is counted

    async def test_such_a_message_is_sent(self) -> None:
        """The whole way: a link whose token cannot be made."""
        here = await install(SETTINGS)
        await track(here)
        message = await here.accept_one(raw=HTML % b"")
        body = HTML.replace(b"go</a>", b'go</a> <a href="https+notrack://shop.example.com/b">x</a>') % b""
        composed = compose(
            message,
            here.server,
            body,
            (),
            marking=Marking(Tracking(host=HOST, clicks=True), "https://x", Unmaking(), Named(7, 1)),  # type: ignore[arg-type]
            report_token="",
            unsubscribing=None,
            hostname="mx.test",
            at=here.clock(),
        )

        assert composed.raw == body.replace(b"+notrack", b"")


class Unmaking:
    """Tokens with a fault."""

    def make(self, *_: object) -> str:
        """Fail as no library is expected to."""
        raise ZeroDivisionError


class TestTracking:
    async def test_links_and_pixel_speak_of_the_message(self) -> None:
        """What comes back names this message and leads where the link led."""
        here = await install(SETTINGS)
        await track(here)
        raw = await sent(here)
        tokens = await here.tokens.tokens()
        [message_id] = [message["message"] for message in [await _delivered(here)]]

        link = tokens.read(CLICK, HOST, raw.partition(b"/c/")[2].partition(b'"')[0].decode())
        pixel = tokens.read(OPEN, HOST, raw.partition(b"/o/")[2].partition(b'"')[0].decode())

        assert link == (here.server.id, message_id, "https://shop.example.com/a?b=1&c=2")
        assert pixel == (here.server.id, message_id, "")

    @pytest.mark.parametrize("opens", [True, False, None])
    @pytest.mark.parametrize("clicks", [True, False, None])
    async def test_the_message_decides_for_itself(self, opens: bool | None, clicks: bool | None) -> None:
        """As it was submitted, by API or header; what it does not say the domain says."""
        here = await install(SETTINGS)
        await track(here, clicks=False)
        raw = await sent(here, track_opens=opens, track_clicks=clicks)

        assert (is_opened(raw), is_clicked(raw)) == (opens is not False, clicks is True)

    async def test_headers_switch_too(self) -> None:
        """The same on every door, and Postal's own word."""
        for head in (b"X-Edgepost-Track: opens=no, clicks=no\r\n", b"X-AMP: skip\r\n"):
            here = await install(SETTINGS)
            await track(here)
            raw = await sent(here, head)
            assert (is_opened(raw), is_clicked(raw)) == (False, False)

    async def test_nothing_without_a_tracking_domain(self) -> None:
        """The installation's own is used only where the server allows it."""
        here = await install(SETTINGS)
        raw = await sent(here, track_opens=True, track_clicks=True)
        assert (is_opened(raw), is_clicked(raw)) == (False, False)

    async def test_the_installations_own_where_the_server_allows_it(self) -> None:
        """For customers without a name of their own."""
        here = await install(SETTINGS)
        await Servers(here.records).change(here.server, shared_tracking=True)
        raw = await sent(here)

        assert (is_opened(raw, "track.host.test"), is_clicked(raw, "track.host.test")) == (True, True)

    async def test_a_bounce_is_not_tracked(self) -> None:
        """Machines read it."""
        here = await install(SETTINGS)
        await track(here)

        assert not is_opened(await sent(here, bounce=True))

    async def test_mail_goes_out_untracked_rather_than_late(self) -> None:
        """Damaged keys are the operator's trouble, not the recipient's."""
        here = await install(SETTINGS)
        await track(here)
        here.tokens._store.text = "nonsense"  # type: ignore[attr-defined]
        raw = await sent(here)

        assert (is_opened(raw), is_clicked(raw)) == (False, False)

    async def test_what_is_signed_is_what_leaves(self) -> None:
        """The stored message stays as it was accepted."""
        here = await install(SETTINGS)
        await track(here)
        raw = await sent(here)

        assert raw.startswith(b"DKIM-Signature:")
        assert is_clicked(raw)


async def _delivered(here: Installation) -> dict[str, Any]:

    [event] = await here.take_events()
    return dict(json.loads(event))
