"""A real Exim as a recipient's host, unpacked beside the tests, because Debian's package conflicts with Postfix's.

::

    apt-get download exim4-daemon-light exim4-base libidn12
    for each in *.deb; do dpkg -x "$each" exim; done
    EDGEPOST_TEST_EXIM=$PWD/exim pytest tests/e2e/test_exim_bounces.py     # as root

It runs in a mount namespace of its own, where its files and its user stand over the system's.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import until
from tests.e2e.postfix_relay import _free_port, _listens

UNPACKED = "EDGEPOST_TEST_EXIM"
ADDRESS = "127.7.1.1"
USER_ID = 65000

CONF = """\
primary_hostname = mx.exim.test
spool_directory = {directory}/spool
log_file_path = {directory}/log/%s
local_interfaces = {address}
daemon_smtp_ports = {port}
tls_advertise_hosts =
acl_smtp_rcpt = accept
never_users =
keep_environment =
begin acl
begin routers
unknown:
  driver = redirect
  domains = dest.test
  local_parts = nobody
  allow_fail
  data = :fail: Unknown user
alias:
  driver = redirect
  domains = dest.test
  local_parts = alias
  data = nobody@dest.test
keep:
  driver = redirect
  domains = dest.test
  data = :blackhole:
back:
  driver = manualroute
  transport = smtp
  route_list = * {sink_host}
  self = send
begin transports
smtp:
  driver = smtp
  port = {sink_port}
  hosts_avoid_tls = *
begin retry
* * F,1m,5s
"""

START = """\
over() {{ mount -t overlay overlay -o "lowerdir=$1:$2" "$2" || exit 9; }}
over {directory}/etc /etc
over {unpacked}/usr/sbin /usr/sbin
over {unpacked}/usr/lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu
exec /usr/sbin/exim4 -bdf -q5s
"""


@contextlib.contextmanager
def exim_bouncing(sink_host: str, sink_port: int) -> Iterator[int]:
    """Run Exim and yield its port; reports go to the sink; skips the test where that cannot be."""
    unpacked = os.environ.get(UNPACKED, "")
    if not unpacked or os.geteuid() != 0:
        pytest.skip(f"{UNPACKED} is not set, or this is not root")
    directory = Path(tempfile.mkdtemp(prefix="edgepost-exim-"))
    directory.chmod(0o755)
    port = _free_port()
    values = {"directory": directory, "unpacked": unpacked, "address": ADDRESS, "port": port}
    (directory / "etc" / "exim4").mkdir(parents=True)
    (directory / "etc/exim4/exim4.conf").write_text(CONF.format(sink_host=sink_host, sink_port=sink_port, **values))
    for name, line in (
        ("passwd", f"Debian-exim:x:{USER_ID}:{USER_ID}::/:/bin/false"),
        ("group", "Debian-exim:x:65000:"),
    ):
        (directory / "etc" / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
    for name in ("spool", "log"):
        (directory / name).mkdir()
        os.chown(directory / name, USER_ID, USER_ID)
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", START.format_map(values)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: process.poll() is not None or _listens(port), "Exim to listen", timeout_s=30)
        assert process.poll() is None, "Exim did not start"
        yield port
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory)
