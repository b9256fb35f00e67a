"""A real OpenSMTPD before a recipient's mailboxes: takes everything, and reports what the host behind it refused.

That host is a sink which refuses every recipient; what is kept goes to another one.
"""

import contextlib
from collections.abc import Iterator

from tests.e2e.postfix_relay import ADDRESS, _free_port
from tests.e2e.sinks import sink
from tests.e2e.unpacked import running_apart, unpacked, working_directory
from tests.fakes.mx_script import Step

CONF = """\
listen on {address} port {port} hostname mx.opensmtpd.test
action refusing relay host smtp://127.0.0.1:{refusing}
action keeping relay host smtp://127.0.0.1:{keeping}
action back relay host smtp://{sink_host}:{sink_port}
match from any for rcpt-to {{ "nobody@dest.test", "lost@dest.test", "bare@dest.test" }} action refusing
match from any for rcpt-to "kept@dest.test" action keeping
match from any for any action back
"""

START = """\
fresh /var/lib /var/lib/opensmtpd/empty
fresh /var/spool /var/spool/smtpd
chmod 711 /var/spool/smtpd
fresh /run /run/lock
exec /usr/sbin/smtpd -d -f /etc/smtpd.conf
"""


@contextlib.contextmanager
def opensmtpd_bouncing(sink_host: str, sink_port: int) -> Iterator[int]:
    """Run OpenSMTPD and yield its port; reports go to ``sink_host``; skips the test where that cannot be."""
    folder, port = unpacked("EDGEPOST_TEST_OPENSMTPD"), _free_port()
    with sink(rcpt=Step(reply="550 5.1.1 No such user here", times=1000)) as refusing, sink() as keeping:
        conf = CONF.format(
            address=ADDRESS,
            port=port,
            refusing=refusing.port,
            keeping=keeping.port,
            sink_host=sink_host,
            sink_port=sink_port,
        )
        with (
            working_directory(["opensmtpd", "opensmtpq"], {"smtpd.conf": conf}) as directory,
            running_apart(START, folder=folder, directory=directory, port=port),
        ):
            yield port
