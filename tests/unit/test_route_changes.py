"""Routes that are changed while mail waits for them: endpoints, options, logins, secrets."""

import base64
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.domain.errors import InvalidValue, NotFound
from shared.domain.job import TLSMode
from shared.domain.message import Status
from shared.domain.route_changes import RouteChanges, TargetOptions, changed
from shared.domain.routes import (
    AddressTarget,
    Encoding,
    HTTPTarget,
    PayloadFormat,
    Route,
    RouteMode,
    SMTPTarget,
    SpamMode,
    current_target,
)
from shared.domain.webhook_signature import plain_signature, standard_signature
from shared.flow.route_trial import try_route
from shared.flow.routes import BOTH_SECRETS, delete_route, rotate_route_secret, update_route
from shared.store.routes import Routes
from tests.fakes.forwarding import URL, Inbox, open_inbox
from tests.fakes.http import answer

HOST, ADDRESS = SMTPTarget("mail.example.com"), AddressTarget("a@b.test")
LOGIN = "https://ann:p%40ss%3Aword@app.example.com/mail"


async def update(inbox: Inbox, route: Route, **changes: Any) -> Route:
    """Change a route of the inbox."""
    here = inbox.here
    return await update_route(
        route, RouteChanges(**changes), allowed=(), records=here.records, keyring=here.stores.keyring
    )


async def rotate(inbox: Inbox, route: Route, keep: timedelta = BOTH_SECRETS) -> tuple[Route, str]:
    """Rotate a route's secret."""
    here = inbox.here
    made = await rotate_route_secret(
        route, keep=keep, records=here.records, keyring=here.stores.keyring, rng=inbox.rng, now=here.clock()
    )
    return made.route, made.secret


class TestChanged:
    async def test_endpoints_take_the_place_of_all_there_are(self) -> None:
        """And make the mode Endpoint."""
        inbox = await open_inbox()
        route = await inbox.route(mode=RouteMode.HOLD)

        after = changed(route, RouteChanges(targets=[HOST, ADDRESS]))

        assert (after.mode, after.targets) == (RouteMode.ENDPOINT, (HOST, ADDRESS))

    async def test_another_mode_takes_endpoints_away(self) -> None:
        """Or the route could have neither."""
        inbox = await open_inbox()
        route = await inbox.route(URL)

        after = changed(route, RouteChanges(mode=RouteMode.REJECT, spam_mode=SpamMode.FAIL))

        assert (after.mode, after.spam_mode, after.targets) == (RouteMode.REJECT, SpamMode.FAIL, ())

    async def test_options_count_for_all_endpoints_of_their_kind(self) -> None:
        """What is not given stays."""
        inbox = await open_inbox()
        raw = HTTPTarget("https://b.example/", format=PayloadFormat.RAW, attachments=False)
        route = await inbox.route(URL, raw, HOST, ADDRESS)
        options = TargetOptions(encoding=Encoding.FORM, timeout_s=60, tls=TLSMode.TLS)

        after = changed(route, RouteChanges(options=options))

        assert after.targets == (
            replace(URL, encoding=Encoding.FORM, timeout_s=60),
            replace(raw, encoding=Encoding.FORM, timeout_s=60),
            replace(HOST, tls=TLSMode.TLS),
            ADDRESS,
        )

    @pytest.mark.parametrize(
        "changes",
        [
            RouteChanges(options=TargetOptions(timeout_s=4)),
            RouteChanges(options=TargetOptions(timeout_s=61)),
            RouteChanges(options=TargetOptions(tls=TLSMode.TLS)),
            RouteChanges(targets=[HOST], options=TargetOptions(timeout_s=30)),
            RouteChanges(targets=[HOST], mode=RouteMode.HOLD),
            RouteChanges(mode=RouteMode.HOLD, options=TargetOptions(strip_replies=True)),
            RouteChanges(targets=[]),
        ],
    )
    async def test_refuses_what_would_do_nothing(self, changes: RouteChanges) -> None:
        """An option that is silently dropped is found out weeks later."""
        inbox = await open_inbox()
        route = await inbox.route(URL)

        with pytest.raises(InvalidValue):
            changed(route, changes)


class TestCurrentTarget:
    async def test_the_same_place_is_the_same_endpoint(self) -> None:
        """Options are the route's as it is now; of two with one URL the very one."""
        inbox = await open_inbox()
        form = replace(URL, encoding=Encoding.FORM)
        route = await inbox.route(URL, form, HOST, ADDRESS)

        assert current_target(route, form) == form
        assert current_target(route, replace(URL, timeout_s=60)) == URL
        assert current_target(route, replace(HOST, tls=TLSMode.NONE)) == HOST
        assert current_target(route, SMTPTarget("mail.example.com", 26)) is None
        assert current_target(route, HTTPTarget("https://elsewhere.example/")) is None
        assert current_target(route, None) is None


class TestUpdateRoute:
    async def test_waiting_mail_is_sent_as_the_route_is_now(self) -> None:
        """Whoever mends a wrong option must not lose what waits."""
        inbox = await open_inbox()
        inbox.http.script = lambda _: answer(500)
        route = await inbox.route(URL)
        message = await inbox.receive(route)
        await inbox.deliver()
        inbox.http.script = None

        await update(inbox, route, options=TargetOptions(format=PayloadFormat.RAW, timeout_s=45))
        await inbox.pass_time(timedelta(minutes=10))

        stored, _ = await inbox.history(message)
        assert stored.status is Status.SENT
        assert "base64" in json.loads(inbox.http.posted[-1].body)
        assert [each.timeout_s for each in inbox.http.posted] == [30, 45]

    async def test_mail_for_an_endpoint_that_was_taken_away_fails(self) -> None:
        """What its owner took away gets nothing more."""
        inbox = await open_inbox()
        route = await inbox.route(URL)
        message = await inbox.receive(route)

        await update(inbox, route, targets=[HTTPTarget("https://new.example.com/")])
        await inbox.deliver()

        stored, _ = await inbox.history(message)
        assert (stored.status, inbox.http.posted) == (Status.HARD_FAIL, [])

    async def test_secret_token_and_address_stay(self) -> None:
        """Receivers and forwarders know them."""
        inbox = await open_inbox()
        route = await inbox.route(URL)

        after = await update(inbox, route, targets=[URL, HOST])

        assert (after.token, after.address, after.secret) == (route.token, route.address, route.secret)
        assert await Routes(inbox.here.records).by_token(route.token) == after

    async def test_of_two_changes_at_once_one_is_refused(self) -> None:
        """Or who changes the spam mode would bring back the endpoints, and their logins, of a moment before."""
        inbox = await open_inbox()
        route = await inbox.route(HTTPTarget(LOGIN))
        changed_first = await update(inbox, route, targets=[HOST])

        with pytest.raises(NotFound, match="just now"):
            await update(inbox, route, spam_mode=SpamMode.FAIL)

        assert await Routes(inbox.here.records).get(route.server_id, route.domain, route.name) == changed_first

    async def test_a_deleted_route_is_not_made_again(self) -> None:
        """Nor is one of the same name that somebody else made meanwhile changed."""
        inbox = await open_inbox()
        route = await inbox.route(URL)
        await delete_route(route, records=inbox.here.records)
        other = await inbox.route(URL)

        with pytest.raises(NotFound):
            await update(inbox, route, mode=RouteMode.REJECT)

        assert await Routes(inbox.here.records).by_token(other.token) == other


class TestLogins:
    async def test_are_sent_and_stored_nowhere_in_clear(self) -> None:
        """Postal takes them in URLs; they must not stand in lists, messages or logs."""
        inbox = await open_inbox()
        route = await inbox.route(HTTPTarget(LOGIN))
        await inbox.receive(route)

        await inbox.deliver()

        [posted] = inbox.http.posted
        assert posted.url == URL.url
        assert posted.headers["authorization"] == "Basic " + base64.b64encode(b"ann:p@ss:word").decode()
        assert route.targets == (URL,)
        kept = str(list(inbox.here.records._kept.values()))
        assert "p@ss" not in kept
        assert "p%40ss" not in kept
        assert base64.b64encode(b"ann:p@ss:word").decode() not in kept

    async def test_go_to_their_own_endpoint_only(self) -> None:
        """A password for one host is no other's business."""
        inbox = await open_inbox()
        route = await inbox.route(HTTPTarget(LOGIN), HTTPTarget("https://other.example.com/"))
        for target in route.targets:
            await inbox.receive(route, endpoint=target)

        await inbox.deliver()

        assert {each.url: "authorization" in each.headers for each in inbox.http.posted} == {
            URL.url: True,
            "https://other.example.com/": False,
        }

    async def test_stay_with_options_and_go_with_new_endpoints(self) -> None:
        """Only whoever gives a URL says what its login is."""
        inbox = await open_inbox()
        route = await inbox.route(HTTPTarget(LOGIN))

        slower = await update(inbox, route, options=TargetOptions(timeout_s=60))
        without = await update(inbox, slower, targets=[URL])

        assert slower.logins == route.logins != ""
        assert without.logins == ""

    @pytest.mark.parametrize(
        "url",
        [
            "https://ann@app.example.com/",
            "https://:word@app.example.com/",
            "https://a%3Ab:word@app.example.com/",
            "https://ann:wo%0Ard@app.example.com/",
            "https://ann:wo%FFrd@app.example.com/",
            "https://ann:word@127.0.0.1/",
            "https://ann:word@user:word@app.example.com/x@y#z",
            f"https://ann:{'x' * 600}@app.example.com/",
        ],
    )
    async def test_others_are_refused(self, url: str) -> None:
        """RFC 7617 §2; and what is no login may be a trick to hide the host."""
        inbox = await open_inbox()

        with pytest.raises(InvalidValue):
            await inbox.route(HTTPTarget(url))

    async def test_one_url_has_one_login(self) -> None:
        """Or which of the two is sent would be chance."""
        inbox = await open_inbox()

        with pytest.raises(InvalidValue, match="two passwords"):
            await inbox.route(HTTPTarget(LOGIN), HTTPTarget("https://ann:other@app.example.com/mail"))


class TestRotateRouteSecret:
    async def test_both_secrets_sign_for_a_while(self) -> None:
        """So no receiver must change in the same second."""
        inbox = await open_inbox()
        route = await inbox.route(URL)
        old = inbox.secrets[route.address]

        route, new = await rotate(inbox, route)
        await inbox.receive(route)
        await inbox.deliver()
        inbox.here.clock.advance(BOTH_SECRETS)
        await inbox.receive(route)
        await inbox.deliver()

        first, second = inbox.http.posted
        at, name = int(first.headers["webhook-timestamp"]), first.headers["webhook-id"]
        assert first.headers["webhook-signature"].split(" ") == [
            standard_signature(new, name, at, first.body),
            standard_signature(old, name, at, first.body),
        ]
        assert first.headers["x-edgepost-signature"] == plain_signature(new, first.body)
        assert first.headers["x-edgepost-signature-previous"] == plain_signature(old, first.body)
        assert second.headers["webhook-signature"].count("v1,") == 1
        assert second.headers["x-edgepost-signature"] == plain_signature(new, second.body)

    async def test_at_once_if_nothing_is_kept(self) -> None:
        """After a leak the old one must not sign any more."""
        inbox = await open_inbox()
        route, new = await rotate(inbox, await inbox.route(URL), keep=timedelta(0))
        await inbox.receive(route)

        await inbox.deliver()

        assert inbox.http.posted[0].headers["webhook-signature"].count("v1,") == 1
        assert inbox.http.posted[0].headers["x-edgepost-signature"] == plain_signature(new, inbox.http.posted[0].body)

    async def test_of_two_at_once_one_is_refused(self) -> None:
        """Or the secret that was shown first would never have signed anything."""
        inbox = await open_inbox()
        route = await inbox.route(URL)
        await rotate(inbox, route)

        with pytest.raises(NotFound):
            await rotate(inbox, route)


class TestTryRoute:
    async def test_sends_a_made_up_mail_to_each_http_endpoint(self) -> None:
        """Signed and in the route's form, as real mail will come; nothing is kept of it."""
        inbox = await open_inbox()
        raw = HTTPTarget("https://raw.example.com/", format=PayloadFormat.RAW, timeout_s=7)
        route = await inbox.route(URL, raw, HOST)
        inbox.http.script = lambda request: answer(200 if request.url == URL.url else 404)
        before = len(inbox.here.records._kept)

        tried = await try_route(route, requests=inbox.forwarding.requests, rng=inbox.rng, now=inbox.here.clock())

        assert [(each.url, each.answer.status) for each in tried] == [(URL.url, 200), (raw.url, 404)]
        posted = {each.url: each for each in inbox.http.posted}
        hashed, packed = (json.loads(posted[each].body) for each in (URL.url, raw.url))
        assert (hashed["rcpt_to"], hashed["auto_submitted"]) == ("support@example.test", "auto-generated")
        assert b"made up" in base64.b64decode(packed["message"])
        assert posted[raw.url].timeout_s == 7
        signature = plain_signature(inbox.secrets[route.address], posted[URL.url].body)
        assert posted[URL.url].headers["x-edgepost-signature"] == signature
        assert len(inbox.here.records._kept) <= before + 1  # Postal's signing key is made at first use

    async def test_needs_an_http_endpoint(self) -> None:
        """Nothing was tried, and that must not look like success."""
        inbox = await open_inbox()
        route = await inbox.route(HOST)

        with pytest.raises(InvalidValue, match="no HTTP endpoint"):
            await try_route(route, requests=inbox.forwarding.requests, rng=inbox.rng, now=inbox.here.clock())


def run(*arguments: str, status: int = 0) -> Any:
    """Run a command with --json and return its document."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


class TestCommands:
    def test_update_rotate_and_show(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What Postal's pages for routes and endpoints do."""
        for name in list(os.environ):
            if name.startswith("EDGEPOST_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("EDGEPOST_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("EDGEPOST_DKIM_ALGORITHMS", "ed25519")
        run("org", "create", "Acme")
        run("server", "create", "Main", "--organization", "acme")
        run("domain", "add", "example.com", "--server", "main", "--trusted")
        route = ("help@example.com", "--server", "main")

        made = run("route", "create", *route, "--http", LOGIN, "--smtp", "h.example", "--timeout", "10")
        updated = run("route", "update", *route, "--format", "rawmessage", "--tls", "tls", "--strip-replies")
        rotated = run("route", "rotate-secret", *route)
        shown = run("route", "show", *route)
        held = run("route", "update", *route, "--mode", "hold")
        refused = run("route", "update", *route, "--timeout", "10", status=1)

        assert made["secret"] != rotated["secret"]
        assert "p%40ss" not in json.dumps(made)
        assert made["endpoint_options"][0]["timeout_s"] == 10
        assert updated["endpoint_options"] == [
            {
                "endpoint": URL.url,
                "encoding": "BodyAsJSON",
                "format": "RawMessage",
                "attachments": True,
                "strip_replies": True,
                "timeout_s": 10,
                "login": True,
                "tls": None,
            },
            dict.fromkeys(updated["endpoint_options"][0]) | {"endpoint": "smtp://h.example:25", "tls": "tls"},
        ]
        assert shown["previous_secret_until"] is not None
        assert {name: shown[name] for name in updated if name != "previous_secret_until"} == {
            name: updated[name] for name in updated if name != "previous_secret_until"
        }
        assert (held["mode"], held["endpoints"]) == ("Hold", [])
        assert "HTTP endpoint" in refused["error"]["message"]
