"""Tracking domains behind the shipped Caddyfile: a certificate for every name that is ours, for no other."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import Installation
from tests.e2e.test_proxies import caddy

pytestmark = pytest.mark.e2e

HOST = "track.yourdomain.com"


@pytest.fixture(scope="module")
def port(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run Caddy before an installation with one tracking domain; give its port."""
    installation.tree.run("track-domain", "add", HOST, "--server", "main", "--trusted")
    with caddy(tmp_path_factory.mktemp("caddy"), installation.tree.ports["http"]) as found:
        yield found


def ask(port: int, host: str, path: str) -> httpx.Response:
    """Ask over TLS for a name, wherever it points."""
    with httpx.Client(verify=False, timeout=30) as client:  # noqa: S501  # Caddy made itself an authority
        request = client.build_request("GET", f"https://127.0.0.1:{port}{path}", headers={"Host": host})
        request.extensions["sni_hostname"] = host
        return client.send(request)


def test_a_tracking_domain_gets_its_certificate_when_it_is_asked_for(port: int) -> None:
    """Nobody has to configure anything for a new customer's name."""
    answer = ask(port, HOST, "/o/x")

    assert (answer.status_code, answer.text) == (404, "Not found\n")


def test_other_names_get_none(port: int, tmp_path: Path) -> None:
    """Whoever points a name at this machine must not use up the certificate authority's limits."""
    with pytest.raises(httpx.ConnectError):
        ask(port, "evil.test", "/")


def test_nobody_learns_of_our_customers_through_the_proxy(port: int) -> None:
    """The question is the proxy's own."""
    for host in ("localhost", HOST):
        assert ask(port, host, f"/internal/tls-ask?domain={HOST}").status_code == 404
