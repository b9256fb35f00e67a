"""Tracking as customers use it: a domain of their own, links in a delivered mail, and what comes back."""

import base64
import http.client
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from standalone.demo.signatures import signatures
from tests.e2e.harness import Installation, until

pytestmark = pytest.mark.e2e

HOST = "track.yourdomain.com"
TARGET = "https://shop.example.com/orders/7?a=1&b=2#top"
HTML = '<html><body><a href="https://shop.example.com/orders/7?a=1&amp;b=2#top">Order</a></body></html>'
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


@pytest.fixture(scope="module")
def tracked(installation: Installation) -> Installation:
    """Return the installation with a trusted tracking domain."""
    made = installation.tree.run("track-domain", "add", HOST, "--server", "main", "--trusted")
    assert made["domain"] == HOST
    assert [record["type"] for record in made["records"]] == ["CNAME"]
    return installation


def ask(installation: Installation, path: str, host: str = HOST, method: str = "GET") -> tuple[int, Mapping[str, str]]:
    """Ask the one HTTP port as the reverse proxy does; return status and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", installation.tree.ports["http"], timeout=30)
    try:
        connection.request(method, path, headers={"Host": host, "User-Agent": BROWSER})
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def figure(installation: Installation, name: str, *labels: str) -> float:
    """Return the sum of a figure's lines with these labels."""
    connection = http.client.HTTPConnection("127.0.0.1", installation.tree.ports["http"], timeout=30)
    token = installation.secrets["metrics_token"]
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line for line in text.splitlines() if line.startswith(name) and all(each in line for each in labels)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def visits(installation: Installation) -> list[dict[str, Any]]:
    """Return opens and clicks in the event log."""
    connection = http.client.HTTPConnection("127.0.0.1", installation.tree.ports["http"], timeout=30)
    key = {"X-Server-API-Key": installation.secrets["api_key"]}
    connection.request("GET", "/api/v2/events?event=MessageOpened,MessageLinkClicked", headers=key)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return list(found["events"])


class TestTracking:
    def test_a_link_and_a_pixel_lead_back(self, tracked: Installation) -> None:
        """Delivered, signed, opened, clicked, recorded."""
        tracked.send("reader@example.com", html_body=HTML)
        tracked.until_delivered(["reader@example.com"])
        (mail,) = tracked.internet.to("reader@example.com")
        assert all(each.verified for each in signatures(mail.raw, tracked.published()))
        body = mail.raw
        if b"base64" in body:
            body = b"".join(
                base64.b64decode(each) for each in re.findall(rb"(?:^[A-Za-z0-9+/=]{40,}\r\n)+", body, re.MULTILINE)
            )
        body = body.replace(b"=\r\n", b"").replace(b"=3D", b"=")
        click = re.search(rb'href="https?://([^/]+)(/c/[A-Za-z0-9_-]+)"', body)
        pixel = re.search(rb'<img src="https?://[^/]+(/o/[A-Za-z0-9_-]+)"', body)
        assert click is not None
        assert pixel is not None
        assert click[1].decode().partition(":")[0] == HOST
        assert b"shop.example.com" not in body

        before = figure(tracked, "edgepost_tracking_hits_total", "recorded")
        status, headers = ask(tracked, click[2].decode())
        assert (status, headers["location"]) == (307, TARGET)
        status, headers = ask(tracked, pixel[1].decode())
        assert (status, headers["content-type"]) == (200, "image/gif")
        assert ask(tracked, click[2].decode(), method="HEAD")[0] == 307
        assert ask(tracked, click[2].decode()[:-1])[0] == 404
        assert ask(tracked, click[2].decode(), host="track.localhost")[0] == 404
        assert ask(tracked, "/api/v1/send/message")[0] == 404

        until(
            lambda: figure(tracked, "edgepost_tracking_hits_total", "recorded") == before + 2,
            "both hits to be queued, and no other",
        )
        told = until(lambda: events if len(events := visits(tracked)) == 2 else None, "both events to be in the log")
        assert {event["event"] for event in told} == {"MessageLinkClicked", "MessageOpened"}
        assert {event["payload"]["visitor"] for event in told} == {"human"}
        assert {event["payload"]["message"]["to"] for event in told} == {"reader@example.com"}
        assert [event["payload"]["url"] for event in told if "url" in event["payload"]] == [TARGET]

    def test_a_switched_off_domain_changes_nothing(self, tracked: Installation) -> None:
        """Each message and each domain decides."""
        tracked.tree.run("track-domain", "update", HOST, "--clicks", "off", "--opens", "off")

        def untouched() -> bool:
            recipient = f"quiet{len(tracked.internet.copies())}@example.com"
            tracked.send(recipient, html_body=HTML)
            tracked.until_delivered([recipient])
            (mail,) = tracked.internet.to(recipient)
            return HOST.encode() not in mail.raw

        until(untouched, "nodes to see the change within five seconds")
        tracked.tree.run("track-domain", "update", HOST, "--clicks", "on", "--opens", "on")

    def test_the_proxy_may_get_certificates_for_known_hosts_only(self, tracked: Installation) -> None:
        """Caddy asks before it makes one."""
        for name, status in ((HOST, 200), ("track.localhost", 200), ("evil.test", 404)):
            assert ask(tracked, f"/internal/tls-ask?domain={name}", host="localhost")[0] == status

    def test_keys_rotate_and_old_links_stay(self, tracked: Installation) -> None:
        """Without a restart."""
        before = tracked.tree.run("token-keys", "list")
        after = tracked.tree.run("token-keys", "rotate")

        assert len(after["keys"]) == len(before["keys"]) + 1
        assert after["current"] != before["current"]
        assert "key" not in after["keys"][0]
