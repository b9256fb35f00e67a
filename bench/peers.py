"""Postfix with opendkim and Haraka with its dkim plugin, as relays to the sink: what Edgepost is held against.

Each signs with RSA-2048, relaxed/relaxed, writes its queue to disk as it does by
default (Postfix with fsync, Haraka without), and runs only while it is measured.
"""

import contextlib
import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from load import free_port, wait_for_port

HARAKA = {"Haraka": "3.3.4", "haraka-plugin-dkim": "1.3.1"}
HARAKA_OVERRIDES = {"encoding-japanese": "2.4.0", "libqp": "2.1.1"}

MASTER = """\
{smtpd}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

RELAY = """\
relayhost = [127.0.0.1]:{port}
smtpd_relay_restrictions = permit_mynetworks, reject
"""

HARAKA_PLUGIN = """\
'use strict'
// Relays for everyone on loopback, asks no resolver, and sends every domain to the sink.
exports.register = function () {
  this.register_hook('lookup_rdns', 'rdns')
  this.register_hook('rcpt', 'any')
  this.register_hook('get_mx', 'sink')
}
exports.rdns = (next) => next(OK, 'localhost')
exports.any = (next, connection) => { connection.relaying = true; next(OK) }
exports.sink = (next) => next(OK, [{ priority: 0, exchange: '127.0.0.1', port: @PORT@ }])
"""


class Missing(Exception):
    """A peer cannot be run here; the text says what is missing."""


def needs_command(*programs: str) -> None:
    """Make sure that the programs are there.

    Raises:
        Missing: one is not.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Missing(f"not installed: {', '.join(missing)}")


def needs(*programs: str) -> None:
    """Make sure that the programs are there and that this is root.

    Raises:
        Missing: one is not.
    """
    needs_command(*programs)
    if os.geteuid() != 0:
        raise Missing("Postfix and opendkim only start as root")


def new_key(directory: Path) -> Path:
    """Return the file of an RSA-2048 key for the peers, made once."""
    key = directory / "dkim.pem"
    if not key.exists():
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", str(key), "2048"], check=True, capture_output=True)
    return key


@contextlib.contextmanager
def opendkim(directory: Path, port: int) -> Iterator[int]:
    """Run opendkim as a signing milter and yield its process id."""
    needs("opendkim")
    home = directory / "opendkim"
    home.mkdir(parents=True, exist_ok=True)
    key = home / "key.pem"
    key.write_bytes(new_key(directory).read_bytes())
    key.chmod(0o600)
    shutil.chown(key, "opendkim")
    shutil.chown(home, "opendkim")
    settings = home / "opendkim.conf"
    settings.write_text(
        textwrap.dedent(f"""\
            Socket inet:{port}@127.0.0.1
            Mode s
            Domain example.com
            Selector bench
            KeyFile {key}
            Canonicalization relaxed/relaxed
            SignatureAlgorithm rsa-sha256
            InternalHosts 127.0.0.0/8
            Syslog no
            RequireSafeKeys no
            UserID opendkim
            """)
    )
    process = subprocess.Popen(
        ["opendkim", "-f", "-x", str(settings)], start_new_session=True, stderr=(home / "log").open("wb")
    )
    try:
        wait_for_port(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postfix(directory: Path, sink_port: int) -> Iterator[tuple[int, list[int]]]:
    """Run Postfix with opendkim; yields its port and the sessions whose CPU counts."""
    needs("postfix", "opendkim", "openssl")
    home = directory / "postfix"
    port, milter = free_port(), free_port()
    smtpd = f"127.0.0.1:{port} inet n - n - - smtpd\n  -o smtpd_milters=inet:127.0.0.1:{milter}"
    with (
        opendkim(directory, milter) as signer,
        running_postfix(home, main_cf(home, RELAY.format(port=sink_port)), MASTER.format(smtpd=smtpd)) as master,
    ):
        wait_for_port(port)
        yield port, [signer, master]


@contextlib.contextmanager
def running_postfix(home: Path, main: str, master: str) -> Iterator[int]:
    """Run Postfix with all of its files in an emptied directory; yields the master's process id."""
    shutil.rmtree(home, ignore_errors=True)
    for part in ("etc", "spool", "lib"):
        (home / part).mkdir(parents=True)
    for each in (home.parent, home, home / "spool"):
        each.chmod(0o755)
    shutil.chown(home / "lib", "postfix")
    (home / "etc/main.cf").write_text(main)
    (home / "etc/master.cf").write_text(master)
    control = ["postfix", "-c", str(home / "etc")]
    subprocess.run([*control, "start"], check=True, capture_output=True)
    try:
        yield int((home / "spool/pid/master.pid").read_text())
    finally:
        subprocess.run([*control, "stop"], check=False, capture_output=True)


def main_cf(home: Path, mail: str) -> str:
    """Return Postfix's settings, all of its files below ``home``; ``mail`` says where mail goes."""
    fixed = textwrap.dedent(f"""\
        compatibility_level = 3.6
        queue_directory = {home}/spool
        data_directory = {home}/lib
        command_directory = /usr/sbin
        daemon_directory = /usr/lib/postfix/sbin
        meta_directory = /etc/postfix
        mail_owner = postfix
        setgid_group = postdrop
        inet_interfaces = 127.0.0.1
        inet_protocols = ipv4
        myhostname = postfix.bench.test
        mydestination =
        mynetworks = 127.0.0.0/8
        smtp_dns_support_level = disabled
        smtp_tls_security_level = none
        smtpd_client_connection_count_limit = 0
        smtpd_client_event_limit_exceptions = 127.0.0.0/8
        maillog_file = {home}/lib/mail.log
        maillog_file_prefixes = {home}
        local_recipient_maps =
        alias_maps =
        """)
    return fixed + mail


def _install_haraka(home: Path) -> None:
    if (home / "node_modules/Haraka").exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    package = {"name": "bench", "private": True, "dependencies": HARAKA, "overrides": HARAKA_OVERRIDES}
    (home / "package.json").write_text(json.dumps(package))
    done = subprocess.run(
        ["npm", "install", "--omit=optional", "--no-audit", "--no-fund"], cwd=home, check=False, capture_output=True
    )
    if done.returncode:
        raise Missing("Haraka could not be installed with npm")


@contextlib.contextmanager
def haraka(directory: Path, sink_port: int) -> Iterator[tuple[int, list[int]]]:
    """Run Haraka with its dkim plugin; yields its port and the session whose CPU counts."""
    needs_command("openssl")
    config = {
        "plugins": "to_sink\ndkim\n",
        "outbound.ini": "enable_tls=false\nlocal_mx_ok=true\nconcurrency_max=100\n",
        "dkim.ini": "[sign]\nenabled=true\nselector=bench\ndomain=example.com\n[canon]\nbody=relaxed\n"
        "[verify]\nenabled=false\n",
        "dkim.private.key": new_key(directory).read_text(),
    }
    plugins = {"to_sink": HARAKA_PLUGIN.replace("@PORT@", str(sink_port))}
    with running_haraka(directory / "haraka", "instance", config, plugins) as (port, process):
        yield port, [process]


@contextlib.contextmanager
def running_haraka(
    home: Path, name: str, config: Mapping[str, str], plugins: Mapping[str, str]
) -> Iterator[tuple[int, int]]:
    """Run Haraka with settings and plugins of our own; yields its port and process id."""
    needs_command("node", "npm")
    _install_haraka(home)
    instance = home / name
    shutil.rmtree(instance, ignore_errors=True)
    for part in ("config", "plugins", "queue"):
        (instance / part).mkdir(parents=True)
    (instance / "node_modules").symlink_to(home / "node_modules")
    port = free_port()
    usual = {
        "smtp.ini": f"listen=127.0.0.1:{port}\n",
        "log.ini": "[main]\nlevel=error\nformat=default\n",
        "loglevel": "ERROR\n",
        "me": "haraka.bench.test\n",
        # It crashes without this file.
        "connection.ini": (home / "node_modules/Haraka/config/connection.ini").read_text(),
    }
    for each, text in {**usual, **config}.items():
        (instance / "config" / each).write_text(text)
    for each, text in plugins.items():
        (instance / f"plugins/{each}.js").write_text(text)
    process = subprocess.Popen(
        ["node", str(home / "node_modules/Haraka/bin/haraka"), "-c", str(instance)],
        cwd=instance,
        start_new_session=True,
        stdout=(instance / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()
