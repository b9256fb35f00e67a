"""Programs of others that send to an installation or judge what it sent."""

import datetime as dt
import json
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

TIMEOUT_S = 60
NODE_MODULES = "EDGEPOST_TEST_NODE_MODULES"
REQUIRED = "EDGEPOST_TEST_REQUIRE_PROGRAMS"


def missing(reason: str) -> NoReturn:
    """Skip the test; fail it where every program was to be installed (``.ci/run`` as root says so)."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    pytest.skip(reason)


def program(name: str) -> str:
    """Return the path of a program; skips the test if this machine has none."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        missing(f"{name} is not installed")
    return found


def run(*words: str, stdin: str = "", **environment: str) -> str:
    """Run a program to its end and return what it printed; a failure shows that."""
    done = subprocess.run(
        words,
        input=stdin,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def opendkim_verdict(raw: bytes, published: Mapping[str, str], directory: Path) -> str:
    """Return what opendkim says on a message; the keys come from a file instead of the DNS."""
    opendkim = program("opendkim")
    keys, settings, message = (directory / name for name in ("keys", "opendkim.conf", "message.eml"))
    keys.write_text("".join(f"{name} {value}\n" for name, value in published.items()))
    settings.write_text(f"Mode v\nTestPublicKeys {keys}\nSyslog no\n")
    message.write_bytes(raw)
    return run(opendkim, "-x", str(settings), "-t", str(message), "-v", "-v")


def node_modules() -> str:
    """Return the folder that holds ``@atech/postal``; skips the test if there is none."""
    folder = os.environ.get(NODE_MODULES, "")
    if not Path(folder, "@atech/postal/package.json").exists():
        missing(f"{NODE_MODULES} names no folder with @atech/postal (npm install @atech/postal)")
    return folder


def send_with_node(
    port: int, certificate: Path, key: str, recipient: str, sender: str, folder: str
) -> Mapping[str, int]:
    """Send with Postal's own client for node, unchanged, and return the ids it got.

    It speaks HTTPS on port 443 only, so the default port of node's agent is set
    to the proxy's, and the proxy's certificate is made one that node trusts.
    """
    script = """
        const https = require('https'), Postal = require('@atech/postal')
        https.globalAgent.defaultPort = Number(process.env.PORT)
        const message = new Postal.SendMessage(new Postal.Client('127.0.0.1', process.env.KEY))
        message.to(process.env.RECIPIENT)
        message.from(process.env.SENDER)
        message.subject('From node')
        message.plainBody('Hello world!')
        message.htmlBody('<p>Hello world!</p>')
        message.header('X-PHP-Test', 'value')
        message.attach('textmessage.txt', 'text/plain', 'Hello world!')
        message.send().then(result => {
          const ids = {}
          for (const [to, sent] of Object.entries(result.recipients())) ids[to] = sent.id()
          console.log(JSON.stringify(ids))
        }, error => { console.error(error); process.exit(1) })
    """
    environment = {
        "NODE_PATH": folder,
        "NODE_EXTRA_CA_CERTS": str(certificate),
        "NODE_NO_WARNINGS": "1",
        "PORT": str(port),
        "KEY": key,
        "RECIPIENT": recipient,
        "SENDER": sender,
    }
    found: Mapping[str, int] = json.loads(run(program("node"), "-e", script, **environment))
    return found


@contextmanager
def tls_proxy(target_port: int, directory: Path) -> Iterator[tuple[int, Path]]:
    """Serve HTTPS in front of an HTTP port; yields the port and the certificate that clients must trust."""
    certificate = self_signed(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Proxy", (_Forward,), {"target_port": target_port}))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], certificate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Forward(BaseHTTPRequestHandler):
    """Passes a POST on; chunked bodies stay chunked, as the client sent them."""

    target_port: int
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.target_port, timeout=TIMEOUT_S)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        body: Iterator[bytes] | bytes
        body = self._chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", "0")))
        connection.request("POST", self.path, body, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Stay silent: what a test prints is for failures."""


def self_signed(directory: Path) -> Path:
    """Return a PEM file with a key and a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = directory / "proxy.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


def swaks(port: int, login: Mapping[str, str], sender: str, recipient: str, *extra: str) -> str:
    """Send with swaks over STARTTLS with AUTH and return the conversation."""
    tool = program("swaks")
    if subprocess.run([program("perl"), "-MNet::SSLeay", "-e", "1"], capture_output=True, check=False).returncode:
        missing("swaks cannot do TLS without Net::SSLeay (Debian: libnet-ssleay-perl)")
    words: Sequence[str] = (
        *(tool, "--server", f"127.0.0.1:{port}", "--tls", "--auth", "PLAIN"),
        *("--auth-user", login["username"], "--auth-password", login["password"]),
        *("--from", sender, "--to", recipient, *extra),
    )
    return run(*words)
