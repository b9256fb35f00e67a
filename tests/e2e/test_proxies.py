"""The shipped Caddyfile and nginx.conf, run before a real installation."""

import base64
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from standalone.http import KEEP_ALIVE_S
from tests.architecture.sources import ROOT
from tests.e2e.harness import SENDER, Installation, running, trusting, until
from tests.e2e.programs import program, run, self_signed

pytestmark = pytest.mark.e2e

CLIENT = "127.0.0.77"
"""The client's own address: not the proxy's, so that it shows which of the two Edgepost believes to have spoken to."""

MAX_MESSAGE_BYTES = 26_214_400
START_S = 30.0


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that believes the proxy, which speaks to it from 127.0.0.1."""
    with running(tmp_path_factory.mktemp("behind"), trusted_proxies="127.0.0.1/32") as found:
        yield found


@pytest.fixture(scope="module", params=["caddy", "nginx"])
def url(
    request: pytest.FixtureRequest, behind: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return where the proxy listens; it runs with the shipped file."""
    start = {"caddy": caddy, "nginx": nginx}[request.param]
    with start(tmp_path_factory.mktemp(request.param), behind.tree.ports["http"]) as port:
        yield f"https://localhost:{port}"


@contextlib.contextmanager
def caddy(directory: Path, upstream: int) -> Iterator[int]:
    """Run Caddy with the shipped file, its certificate by its own authority."""
    port = free_port()
    settings = directory / "Caddyfile"
    ours_alone = "\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n"
    settings.write_text((ROOT / "infra/Caddyfile").read_text().replace("\n{\n", f"\n{{\n{ours_alone}", 1))
    home = {name: str(directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    sites = {"SITE": f"https://localhost:{port}", "TRACKING_SITE": f"https://:{port}"}
    ours = home | sites | {"UPSTREAM": f"127.0.0.1:{upstream}"}
    run(program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(settings), **ours)
    with proxy(port, directory, program("caddy"), "run", "--adapter", "caddyfile", "--config", str(settings), **ours):
        yield port


@contextlib.contextmanager
def nginx(directory: Path, upstream: int) -> Iterator[int]:
    """Run nginx with the shipped file, its addresses and certificate in place of the sample's."""
    port, pem = free_port(), self_signed(directory)
    text = (ROOT / "infra/nginx.conf").read_text()
    for sample, ours in {
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "    listen [::]:443 ssl;\n": "",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "    listen [::]:80;\n": "",
        "/etc/letsencrypt/live/mail.example.com/fullchain.pem": str(pem),
        "/etc/letsencrypt/live/mail.example.com/privkey.pem": str(pem),
    }.items():
        assert sample in text
        text = text.replace(sample, ours)
    (directory / "site.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include site.conf;\n}}\n"
    )
    words = (program("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf"))
    if os.geteuid() == 0:
        words = (*words, "-g", "user root;")
    run(*words, "-t")
    with proxy(port, directory, *words):
        yield port


@contextlib.contextmanager
def proxy(port: int, directory: Path, *words: str, **environment: str) -> Iterator[None]:
    """Run a proxy until the end of the block, once it speaks TLS: Caddy listens before it has made its certificate."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(words, env=os.environ | environment, stdout=log, stderr=log)
        with process:
            try:
                until(
                    lambda: process.poll() is not None or speaks_tls(port), "the proxy to speak TLS", timeout_s=START_S
                )
                assert process.poll() is None, (directory / "log").read_text()
                yield
            finally:
                process.terminate()


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def speaks_tls(port: int) -> bool:
    """Tell whether somebody at the port has a certificate for localhost."""
    try:
        with socket.create_connection(("127.0.0.1", port), START_S) as plain:
            trusting().wrap_socket(plain, server_hostname="localhost").close()
    except OSError:
        return False
    return True


def client() -> httpx.Client:
    """Return a client with an address of its own."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT, verify=False), timeout=60)


def send(url: str, behind: Installation, recipient: str, **headers: str) -> dict[str, object]:
    """Send a message through the proxy and return the answer."""
    message = {"to": [recipient], "from": SENDER, "subject": "Test", "plain_body": "Hello"}
    key = {"X-Server-API-Key": behind.secrets["api_key"]}
    with client() as http:
        return dict(http.post(f"{url}/api/v1/send/message", json=message, headers=key | headers).json())


def received(behind: Installation, recipient: str) -> bytes:
    """Return the first Received field of the mail that arrived, unfolded."""
    behind.until_delivered([recipient])
    head = (
        behind.internet.to(recipient)[0].raw.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    )
    return next(line for line in head.split(b"\r\n") if line.startswith(b"Received: from"))


class TestProxy:
    def test_passes_on_requests_and_health(self, url: str, behind: Installation) -> None:
        """What a load balancer or a monitor asks, it asks through the proxy."""
        with client() as http:
            assert http.get(f"{url}/health").text == "OK"
        assert send(url, behind, f"first-{url[-4:]}@example.com")["status"] == "success"

    @pytest.mark.parametrize("claim", ["", "203.0.113.9", "203.0.113.9, 127.0.0.1", "127.0.0.1"])
    def test_edgepost_sees_the_client_and_not_what_it_claims(self, url: str, behind: Installation, claim: str) -> None:
        """SMTP-IP rules, limits and abuse reports rest on this address; anybody can send the header."""
        recipient = f"claim{abs(hash((url, claim)))}@example.com"

        answer = send(url, behind, recipient, **({"X-Forwarded-For": claim} if claim else {}))

        assert answer["status"] == "success"
        assert b"[127.0.0.77]" in received(behind, recipient)

    def test_largest_message_passes(self, url: str, behind: Installation) -> None:
        """A proxy whose limit is below Edgepost's own refuses with a page that no client understands."""
        head = f"From: {SENDER}\r\nTo: large@example.com\r\nSubject: Large\r\n\r\n".encode()
        line = b"x" * 76 + b"\r\n"
        raw = head + line * ((MAX_MESSAGE_BYTES - len(head) - 2000) // len(line))
        body = {"rcpt_to": ["large@example.com"], "mail_from": SENDER, "data": base64.b64encode(raw).decode()}

        with client() as http:
            reply = http.post(
                f"{url}/api/v1/send/raw", json=body, headers={"X-Server-API-Key": behind.secrets["api_key"]}
            )

        assert reply.json()["status"] == "success", reply.text[:300]

    def test_larger_ones_are_refused(self, url: str, behind: Installation) -> None:
        """Nginx reads the whole body first and refuses it alone; with Caddy Edgepost may have answered before."""
        with client() as http:
            reply = http.post(
                f"{url}/api/v1/send/raw",
                content=b'{"data": "' + b"x" * 40_000_000 + b'"}',
                headers={"X-Server-API-Key": behind.secrets["api_key"], "Content-Type": "application/json"},
            )

        assert reply.status_code == 413 or reply.json()["data"]["code"] == "MessageTooLarge"


class TestIdleConnections:
    def test_caddy_lets_go_before_edgepost(self) -> None:
        """A request that meets a connection just closed fails with 502, and a POST cannot be repeated."""
        adapted = json.loads(run(program("caddy"), "adapt", "--config", str(ROOT / "infra/Caddyfile")))

        found = [each["idle_timeout"] for each in found_at(adapted, "keep_alive")]
        assert found
        assert max(found) / 1e9 < KEEP_ALIVE_S

    def test_nginx_lets_go_before_edgepost(self) -> None:
        """The same for nginx."""
        text = (ROOT / "infra/nginx.conf").read_text()

        assert "keepalive_timeout 60s;" in text
        assert KEEP_ALIVE_S > 60


def found_at(document: object, name: str) -> Iterator[dict[str, int]]:
    """Yield every value of that name, however deep it lies."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == name:
                yield value
            else:
                yield from found_at(value, name)
    elif isinstance(document, list):
        for each in document:
            yield from found_at(each, name)
