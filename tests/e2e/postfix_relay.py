"""A real Postfix as the smart host: an instance of its own, which relays for users with a password, over TLS only."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.authority import Authority
from tests.e2e.harness import until
from tests.e2e.programs import missing, program, run

NAME = "relay.test"
ADDRESS = "127.7.1.1"
USER = f"customer@{NAME}"
PASSWORD = "pass/word?#1"
"""Has the characters that must be percent-encoded in a URL."""

MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = /dev/stdout
myhostname = {name}
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [{sink_host}]:{sink_port}
smtpd_tls_chain_files = {certificate}
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_received_header = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_authenticated_header = yes
smtpd_sasl_local_domain = {name}
cyrus_sasl_config_path = {directory}/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
"""

MASTER = """\
postlog   unix-dgram n  -       n       -       1       postlogd
{address}:{starttls_port} inet n - n - - smtpd
{address}:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
"""

SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {directory}/sasldb2
mech_list: PLAIN LOGIN
"""


@dataclass(frozen=True, slots=True)
class Relay:
    """A Postfix that runs; ``authority`` is the certificate that its clients must trust."""

    starttls_port: int
    tls_port: int
    authority: Path
    log: Path

    def sessions(self) -> int:
        """Return how many connections ended, whatever was said in them."""
        return self.log.read_text().count(": disconnect from ")


@contextlib.contextmanager
def postfix_relay(sink_host: str, sink_port: int) -> Iterator[Relay]:
    """Run Postfix, which passes all mail on to the sink; skips the test where that cannot be."""
    postfix, saslpasswd = program("postfix"), program("saslpasswd2")
    if os.geteuid() != 0:
        missing("Postfix can only be started by root")
    # Not pytest's own directory: Postfix's processes run as another user, who may not look into that one.
    directory = Path(tempfile.mkdtemp(prefix="edgepost-postfix-"))
    directory.chmod(0o755)
    authority = Authority(directory)
    ports = _free_port(), _free_port()
    relay = Relay(*ports, authority.certificate, directory / "log")
    values = {
        "directory": directory,
        "name": NAME,
        "address": ADDRESS,
        "sink_host": sink_host,
        "sink_port": sink_port,
        "certificate": authority.issue(NAME),
        "starttls_port": relay.starttls_port,
        "tls_port": relay.tls_port,
    }
    for name, text in (("main.cf", MAIN), ("master.cf", MASTER), ("sasl/smtpd.conf", SASL)):
        file = directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.format_map(values))
    (directory / "queue").mkdir()
    (directory / "data").mkdir()
    run(saslpasswd, "-p", "-c", "-f", str(directory / "sasldb2"), "-u", NAME, USER.partition("@")[0], stdin=PASSWORD)
    owner = pwd.getpwnam("postfix")
    for name in ("data", "sasldb2"):
        os.chown(directory / name, owner.pw_uid, owner.pw_gid)
    with relay.log.open("wb") as output:
        process = subprocess.Popen(
            [postfix, "-c", str(directory), "start-fg"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: process.poll() is not None or all(map(_listens, ports)), "Postfix to listen", timeout_s=30)
        assert process.poll() is None, relay.log.read_text()
        yield relay
    finally:
        # Its master process is in a session of its own, out of reach of signals to ours.
        if process.poll() is None:
            run(postfix, "-c", str(directory), "stop")
        process.wait(30)
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((ADDRESS, port)) == 0
