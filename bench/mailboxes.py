"""Postfix and Haraka as the last host of a domain: what Edgepost's port 25 is held against.

Each takes mail for any user of ``example.com`` and says 250 once it is synced to disk.
Postfix in two ways: into its queue only, where mail is held; and on into Maildirs, which
it syncs once more.  Haraka has no such queue of its own, so a plugin of a few lines writes
each mail to a file with fsync.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import peers
from load import free_port, wait_for_port

DOMAIN = "example.com"

VIRTUAL = """\
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:inbox/
virtual_mailbox_limit = 0
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
message_size_limit = 26214400
smtpd_relay_restrictions = reject_unauth_destination
"""

HARAKA_PLUGIN = """\
'use strict'
const fs = require('fs')
const path = require('path')
// Takes mail for everybody, and says 250 once it is synced to a file.
exports.register = function () {
  this.register_hook('lookup_rdns', 'rdns')
  this.register_hook('rcpt', 'any')
  this.register_hook('queue', 'keep')
}
exports.rdns = (next) => next(OK, 'localhost')
exports.any = (next) => next(OK)
exports.keep = (next, connection) => {
  const mail = connection.transaction
  const file = fs.createWriteStream(path.join('@DIRECTORY@', mail.uuid), { flush: true })
  file.on('close', () => next(OK))
  file.on('error', () => next(DENYSOFT))
  mail.message_stream.pipe(file)
}
"""


@contextlib.contextmanager
def postfix(directory: Path, *, held: bool) -> Iterator[tuple[int, list[int]]]:
    """Run Postfix; yields its port and the session whose CPU counts.

    Args:
        directory: of the whole benchmark.
        held: mail stays in the queue; else it goes on into a Maildir.
    """
    peers.needs("postfix")
    home = directory / ("postfix-held" if held else "postfix-maildir")
    port, owner = free_port(), 65534
    main = peers.main_cf(home, VIRTUAL.format(domain=DOMAIN, home=home, uid=owner, gid=owner))
    smtpd = f"127.0.0.1:{port} inet n - n - - smtpd"
    if held:
        smtpd += "\n  -o smtpd_recipient_restrictions=check_recipient_access,static:HOLD"
    master = peers.MASTER.format(smtpd=smtpd) + "virtual unix - n n - - virtual\n"
    with peers.running_postfix(home, main, master) as pid:
        (home / "mail").mkdir()
        os.chown(home / "mail", owner, owner)
        wait_for_port(port)
        yield port, [pid]


@contextlib.contextmanager
def haraka(directory: Path) -> Iterator[tuple[int, list[int]]]:
    """Run Haraka; yields its port and the session whose CPU counts."""
    kept = directory / "haraka-mail"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    plugins = {"keep": HARAKA_PLUGIN.replace("@DIRECTORY@", str(kept))}
    with peers.running_haraka(directory / "haraka", "inbound", {"plugins": "keep\n"}, plugins) as (port, process):
        yield port, [process]
