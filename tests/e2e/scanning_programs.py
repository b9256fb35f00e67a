"""Real rspamd, spamd and clamd on throw-away ports and sockets, run as nobody, without any network."""

import contextlib
import hashlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.e2e.harness import until
from tests.e2e.programs import program

ADDRESS = "127.0.0.1"
USER = "nobody"
START_S = 60

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""What every spam filter calls spam (spamassassin.apache.org/gtube)."""

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""What every virus scanner calls a virus (eicar.org), harmless."""

AWFUL_WORD = "buy-my-pills"
"""Has 25 points with the rspamd that is run here."""

RSPAMD = """\
options {{
    filters = "regexp";
    url_tld = "{directory}/tld";
    control_socket = "{directory}/control mode=0600";
    cache_file = "{directory}/symbols";
    history_file = "{directory}/history";
    hs_cache_dir = "{directory}";
    tempdir = "{directory}";
    allow_raw_input = true;
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
worker "normal" {{ bind_socket = "{address}:{port}"; count = 1; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
modules {{ path = "{directory}/lua/"; }}
regexp {{ "AWFUL_WORD" {{ re = "/{word}/{{body}}"; score = 25.0; description = "Has the word of this test"; }} }}
"""

CLAMD = """\
DatabaseDirectory {directory}/signatures
LocalSocket {directory}/clamd.ctl
TemporaryDirectory {directory}
LogFile {directory}/clamd.log
Foreground yes
"""


class Scanner:
    """A scanner that runs, and how Edgepost is told of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", **settings: str) -> None:
        self._process = process
        self.settings = settings

    def stop(self) -> None:
        """End it, as a crash would."""
        self._process.kill()
        self._process.wait(START_S)


@contextlib.contextmanager
def rspamd() -> Iterator[Scanner]:
    """Run rspamd with one rule of this test and its own for GTUBE."""
    port = _free_port()
    with _directory() as directory:
        (directory / "tld").write_text("test\ncom\n")
        (directory / "lua").mkdir()
        values = {"directory": directory, "address": ADDRESS, "port": port, "word": AWFUL_WORD}
        (directory / "rspamd.conf").write_text(RSPAMD.format_map(values))
        words = [program("rspamd"), "--no-fork", "--config", str(directory / "rspamd.conf")]
        with _running(words, directory, lambda: _listens(port)) as process:
            yield Scanner(process, rspamd_url=f"http://{ADDRESS}:{port}")


@contextlib.contextmanager
def spamd() -> Iterator[Scanner]:
    """Run SpamAssassin with the rules that Debian ships, without network tests."""
    port = _free_port()
    with _directory() as directory:
        words = [
            *(program("spamd"), "--local", "--nouser-config", "--syslog=stderr", "--cf=use_bayes 0"),
            *(f"--listen={ADDRESS}:{port}", "--allowed-ips=127.0.0.1", f"--pidfile={directory}/pid"),
            *("--min-children=1", "--max-children=2", "--helper-home-dir"),
        ]
        with _running(words, directory, lambda: _listens(port)) as process:
            yield Scanner(process, spamd=f"{ADDRESS}:{port}")


@contextlib.contextmanager
def clamd() -> Iterator[Scanner]:
    """Run ClamAV with a single signature, EICAR's."""
    with _directory() as directory:
        (directory / "signatures").mkdir()
        signature = f"{hashlib.md5(EICAR, usedforsecurity=False).hexdigest()}:{len(EICAR)}:Eicar-Test-Signature\n"
        (directory / "signatures" / "own.hdb").write_text(signature)
        (directory / "clamd.conf").write_text(CLAMD.format(directory=directory))
        path = directory / "clamd.ctl"
        words = [program("clamd"), "--config-file", str(directory / "clamd.conf")]
        with _running(words, directory, lambda: _answers(path)) as process:
            yield Scanner(process, clamd=str(path))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    # Not pytest's own directory: nobody may not look into that one, and its paths are too long for sockets.
    directory = Path(tempfile.mkdtemp(prefix="edgepost-scan-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _running(words: Sequence[str], directory: Path, ready: Callable[[], bool]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program as nobody until the end of the block."""
    as_root = os.geteuid() == 0
    if as_root:
        nobody = pwd.getpwnam(USER)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=directory,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **({"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []} if as_root else {}),
        )
    try:
        until(lambda: process.poll() is not None or ready(), f"{words[0]} to listen", timeout_s=START_S)
        assert process.poll() is None, log.read_text(errors="replace")
        yield process
    finally:
        process.terminate()
        process.wait(START_S)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((ADDRESS, port)) == 0


def _answers(path: Path) -> bool:
    """Whether clamd has read its signatures: before, it listens and does not answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        with contextlib.suppress(OSError):
            client.connect(str(path))
            client.sendall(b"zPING\0")
            return client.recv(16) == b"PONG\0"
    return False
