"""A real Exim as a recipient's host: takes everything, and reports in its own words what it could not deliver."""

import contextlib
from collections.abc import Iterator

from tests.e2e.postfix_relay import ADDRESS, _free_port
from tests.e2e.unpacked import running_apart, unpacked, working_directory

USER = "Debian-exim"
CONF = """\
primary_hostname = mx.exim.test
spool_directory = DIRECTORY/Debian-exim/spool
log_file_path = DIRECTORY/Debian-exim/log/%s
local_interfaces = {address}
daemon_smtp_ports = {port}
tls_advertise_hosts =
dsn_advertise_hosts = *
acl_smtp_rcpt = accept
never_users =
keep_environment =
begin acl
begin routers
unknown:
  driver = redirect
  domains = dest.test
  local_parts = nobody : lost : bare
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
sed -i "s#DIRECTORY#$DIRECTORY#" "$DIRECTORY/etc/exim4/exim4.conf"
exec /usr/sbin/exim4 -bdf -q5s
"""


@contextlib.contextmanager
def exim_bouncing(sink_host: str, sink_port: int) -> Iterator[int]:
    """Run Exim and yield its port; reports go to the sink; skips the test where that cannot be."""
    folder, port = unpacked("EDGEPOST_TEST_EXIM"), _free_port()
    conf = CONF.format(address=ADDRESS, port=port, sink_host=sink_host, sink_port=sink_port)
    with (
        working_directory([USER], {"exim4/exim4.conf": conf}) as directory,
        running_apart(START, folder=folder, directory=directory, port=port),
    ):
        yield port
