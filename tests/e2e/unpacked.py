"""Mail systems that Debian will not install beside Postfix: unpacked, and run in a place of their own.

Each ``.deb`` is unpacked to a folder of its own (``.ci/run`` does it), which an environment
variable names::

    apt-get download opensmtpd && dpkg-deb -x opensmtpd_*.deb opensmtpd
    EDGEPOST_TEST_OPENSMTPD=$PWD/opensmtpd pytest tests/e2e/test_mta_bounces.py     # as root

They run in a mount namespace, where their files stand over the system's: their programs
and users are there under the names that are compiled into them, and nowhere else.  The
libraries that they need are installed as usual.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.harness import until
from tests.e2e.postfix_relay import ADDRESS, _listens
from tests.e2e.programs import missing

START = """\
set -e
over() { mount -t overlay overlay -o "lowerdir=$1:$2" "$2"; }
fresh() { mount -t tmpfs tmpfs "$1"; mkdir -p "$2"; }
over "$DIRECTORY/etc" /etc
over "$UNPACKED/usr/sbin" /usr/sbin
"""


def unpacked(variable: str) -> str:
    """Return where a mail system lies unpacked; skips the test where it does not, or may not be run."""
    folder = os.environ.get(variable, "")
    if not Path(folder, "usr/sbin").is_dir() or os.geteuid() != 0:
        missing(f"{variable} names no folder with the mail system, or this is not root")
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"this machine allows no mount namespace: {probe.stderr.decode().strip()}")
    return folder


@contextlib.contextmanager
def working_directory(users: Sequence[str], files: dict[str, str]) -> Iterator[Path]:
    """Make a folder whose ``etc`` has these files and users too; each user owns a folder of its name."""
    # Not pytest's own directory: these programs run as other users, who may not look into that one.
    directory = Path(tempfile.mkdtemp(prefix="edgepost-mta-"))
    directory.chmod(0o755)
    try:
        for name, text in files.items():
            file = directory / "etc" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for number, user in enumerate(users, 65000):
            passwd += f"{user}:x:{number}:{number}::/:/bin/false\n"
            group += f"{user}:x:{number}:\n"
            (directory / user).mkdir()
            os.chown(directory / user, number, number)
        (directory / "etc/passwd").write_text(passwd)
        (directory / "etc/group").write_text(group)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def running_apart(script: str, *, folder: str, directory: Path, port: int) -> Iterator[None]:
    """Run a script that ends in ``exec`` of the mail system; it listens on ``ADDRESS`` when the body begins."""
    log = directory / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", START + script],
            env=os.environ | {"DIRECTORY": str(directory), "UNPACKED": folder},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: process.poll() is not None or _listens(port), f"{ADDRESS}:{port} to be served", timeout_s=30)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)
