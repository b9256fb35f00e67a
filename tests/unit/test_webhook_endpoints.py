"""Endpoints: what may be one, and what is known of it."""

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from shared.domain.endpoint import MAX_ENDPOINTS, MAX_HEADERS, checked_headers, checked_url
from shared.domain.errors import InvalidValue, NotFound
from shared.domain.event import EventKind
from shared.domain.event_names import Dialect
from shared.domain.ids import ServerId
from shared.flow.endpoints import EndpointChanges, find_endpoint, list_endpoints, update_endpoint
from shared.flow.servers import delete_server
from tests.fakes.notifying import open_hooks

LEADS_INSIDE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0:8080/",
    "http://①②⑦.⓪.⓪.①/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://localhost/",
    "http://localhost./",
    "http://LOCALHOST:8080/",
    "http://x.localhost/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
]
NO_URL = [
    "",
    " ",
    "x",
    "//example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "http://",
    "http:///x",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://evil@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://example.com/#fragment",
    "http://example.com/#",
    "http://example.com\\@127.0.0.1/",
    "http://exa mple.com/",
    "http://example.com/\r\nHost: x",
    "http://example.com/\x00",
    "http://example.com/\u200b",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "http://example.com:x/",
    "http://.example.com/",
    "http://exa..mple.com/",
    "http://[::1/",
    "http://example.com/" + "x" * 2000,
]


class TestCheckedURL:
    @pytest.mark.parametrize("url", LEADS_INSIDE)
    def test_refuses_what_leads_inside(self, url: str) -> None:
        """Whatever a form of an address means to some resolver, it is refused when somebody types it (attack H4)."""
        with pytest.raises(InvalidValue):
            checked_url(url, ())

    @pytest.mark.parametrize("url", NO_URL)
    def test_refuses_what_is_no_endpoint(self, url: str) -> None:
        """Only http and https, only hosts, no credentials in a place that is logged."""
        with pytest.raises(InvalidValue):
            checked_url(url, ())

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "http://example.com:8080/hooks?x=1&y=%20",
            "https://hooks.example.co.uk/a/b;c=d",
            "https://bücher.example/",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "HTTPS://Example.COM/",
        ],
    )
    def test_takes_what_is_public(self, url: str) -> None:
        """As it was typed."""
        assert checked_url(f" {url} ", ()) == url

    def test_the_operator_may_open_networks(self) -> None:
        """Development happens on one machine."""
        allowed = (ip_network("127.0.0.0/8"),)

        assert checked_url("http://127.0.0.1:3000/", allowed)
        assert checked_url("http://localhost:3000/", allowed)
        with pytest.raises(InvalidValue):
            checked_url("http://10.0.0.1/", allowed)
        with pytest.raises(InvalidValue):
            checked_url("http://169.254.169.254/", (ip_network("169.254.0.0/16"),))


class TestCheckedHeaders:
    @pytest.mark.parametrize(
        "header",
        [
            "X",
            ": x",
            "X y: z",
            "X-A: a\r\nX-B: b",
            "X-A: ä",
            "X-A: \x00",
            "Host: example.com",
            "Content-Length: 5",
            "transfer-encoding: chunked",
            "Webhook-Id: 1",
            "x-edgepost-signature: 1",
            "X-Postal-Signature: 1",
            "X-A: " + "x" * 1001,
        ],
    )
    def test_refuses_what_would_change_the_request(self, header: str) -> None:
        """A line end in a value is a second header; ours are ours (attack H13)."""
        with pytest.raises(InvalidValue):
            checked_headers([header])

    def test_has_bounds(self) -> None:
        """Each is sent with each event."""
        assert checked_headers(["Authorization: Bearer x:y"]) == {"Authorization": "Bearer x:y"}
        with pytest.raises(InvalidValue):
            checked_headers([f"X-{number}: x" for number in range(MAX_HEADERS + 1)])
        with pytest.raises(InvalidValue):
            checked_headers(["X-A: 1", "x-a: 2"])


class TestEndpoints:
    async def test_events_are_named_in_either_dialect(self) -> None:
        """And those that the dialect does not have are refused, not silently never sent."""
        hooks = await open_hooks()

        made, _ = await hooks.endpoint(events=["MessageSent", "MessageOpened"])

        assert made.kinds == {EventKind.DELIVERED, EventKind.OPENED}
        with pytest.raises(InvalidValue):
            await hooks.endpoint(events=["Nonsense"])
        with pytest.raises(InvalidValue, match="complained"):
            await hooks.endpoint(events=["SpamComplaint"], dialect=Dialect.POSTAL)

    async def test_a_server_has_only_so_many(self) -> None:
        """Each event goes to all of them."""
        hooks = await open_hooks()
        for _ in range(MAX_ENDPOINTS):
            await hooks.endpoint()

        with pytest.raises(InvalidValue):
            await hooks.endpoint()

    async def test_another_servers_looks_unknown(self) -> None:
        """Ids of others say nothing (attack H8)."""
        hooks = await open_hooks()
        made, _ = await hooks.endpoint()
        other = replace(hooks.here.server, id=ServerId(99))

        with pytest.raises(NotFound):
            await find_endpoint(other, made.id, records=hooks.here.records)

    async def test_enabling_forgets_the_failures(self) -> None:
        """Whoever has repaired it must not be disabled again at once."""
        hooks = await open_hooks()
        made, _ = await hooks.endpoint()
        here = hooks.here
        now = here.clock()
        await hooks.notifying.endpoints.note_failing(made, since=now, paused_until=now, pauses=3)
        await hooks.notifying.endpoints.disable(made, "why")

        changed = await update_endpoint(
            here.server,
            made.id,
            EndpointChanges(enabled=True),
            records=here.records,
            keyring=here.stores.keyring,
            allowed=(),
        )

        assert (changed.enabled, changed.failing_since, changed.pauses, changed.disabled_reason) == (True, None, 0, "")

    async def test_goes_with_its_server(self) -> None:
        """Nothing of a deleted server is left to send to."""
        hooks = await open_hooks()
        await hooks.endpoint()
        here = hooks.here

        await delete_server(here.server.permalink, typed_name=here.server.name, records=here.records)

        assert await list_endpoints(here.server, records=here.records) == []

    async def test_headers_are_sent(self) -> None:
        """They are how many receivers authenticate."""
        hooks = await open_hooks()
        await hooks.endpoint(headers=["Authorization: Bearer sesame"], dialect=Dialect.POSTAL)
        await hooks.tell(hooks.event(await hooks.here.accept_one()))
        await hooks.deliver()

        [posted] = hooks.http.posted
        assert posted.headers["authorization"] == "Bearer sesame"
        assert posted.headers["user-agent"].startswith("Postal/3.3")
        assert len(posted.headers["x-postal-signature-kid"]) == 64
        assert json.loads(posted.body)["event"] == "MessageSent"
