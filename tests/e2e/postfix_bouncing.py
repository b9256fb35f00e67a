"""A real Postfix as a recipient's host: takes everything, and reports in its own words what it could not deliver."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.harness import until
from tests.e2e.postfix_relay import ADDRESS, MASTER, _free_port, _listens
from tests.e2e.programs import missing, program, run

MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = /dev/stdout
myhostname = mx.dest.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [{sink_host}]:{sink_port}
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
smtpd_reject_unlisted_recipient = no
recipient_delimiter = +
virtual_alias_maps = inline:{{ {{ alias@dest.test = real@inner.test }} }}
transport_maps = inline:{{
    {{ nobody@dest.test = error:5.1.1 User unknown in virtual mailbox table }}
    {{ lost@dest.test = error:5.1.1 User unknown in virtual mailbox table }}
    {{ bare@dest.test = error:5.1.1 User unknown in virtual mailbox table }}
    {{ full@dest.test = error:5.2.2 Mailbox full, over quota }}
    {{ disabled@dest.test = error:5.2.1 This mailbox is disabled }}
    {{ spam@dest.test = error:5.7.1 This message looks like spam }}
    {{ kept@dest.test = discard: }}
    {{ gone@dest.test = error:5.1.6 User has moved }}
    {{ real@inner.test = error:5.1.1 No such user }}
    {{ refused@dest.test = smtp:[{sink_host}]:{closed_port} }} }}
maximal_queue_lifetime = 0
smtp_tls_security_level = none
"""


DISCARD = "discard unix - - n - - discard"


@contextlib.contextmanager
def postfix_bouncing(sink_host: str, sink_port: int) -> Iterator[int]:
    """Run Postfix and yield its port; reports go to the sink; skips the test where that cannot be."""
    postfix = program("postfix")
    if os.geteuid() != 0:
        missing("Postfix can only be started by root")
    # Not pytest's own directory: Postfix's processes run as another user, who may not look into that one.
    directory = Path(tempfile.mkdtemp(prefix="edgepost-postfix-"))
    directory.chmod(0o755)
    port = _free_port()
    values = {"directory": directory, "sink_host": sink_host, "sink_port": sink_port, "closed_port": _free_port()}
    services = [line for line in MASTER.splitlines() if "inet n" not in line]
    (directory / "main.cf").write_text(MAIN.format_map(values))
    (directory / "master.cf").write_text("\n".join([f"{ADDRESS}:{port} inet n - n - - smtpd", *services, DISCARD, ""]))
    (directory / "queue").mkdir()
    (directory / "data").mkdir()
    os.chown(directory / "data", pwd.getpwnam("postfix").pw_uid, pwd.getpwnam("postfix").pw_gid)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [postfix, "-c", str(directory), "start-fg"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        until(lambda: process.poll() is not None or _listens(port), "Postfix to listen", timeout_s=30)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        if process.poll() is None:
            run(postfix, "-c", str(directory), "stop")
        process.wait(30)
        shutil.rmtree(directory)
