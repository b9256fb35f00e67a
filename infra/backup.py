"""Copies the data directory of a running Edgepost to BACKUPS/DATE, and keeps the last copies (docs/backup.md).

backup.py [--every-hours N] [--keep N] DATA BACKUPS

First the database, then the files: the other way round, a file that the
database names might be missing.  The master key is left out on purpose.
"""

import argparse
import shutil
import sqlite3
import tarfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

FOLDERS = ("bodies", "tls")
FILES = ("token-keys.json",)
"""Without it, links of mail that was sent lead nowhere."""

BUSY_S = 60


def back_up(data: Path, backups: Path, keep: int, now: datetime) -> Path:
    """Make one copy, remove all but the last ``keep``, and return the new one's directory.

    A copy that was broken off has another name, and is removed by the next one.
    """
    for unfinished in backups.glob("*.part"):
        shutil.rmtree(unfinished)
    made = backups / f"{now:%Y%m%d-%H%M%S}"
    part = made.with_name(made.name + ".part")
    part.mkdir(mode=0o700, parents=True)
    # mode=rw: a wrong directory is an error, not a new and empty database.
    with closing(sqlite3.connect(f"file:{data / 'edgepost.db'}?mode=rw", uri=True, timeout=BUSY_S)) as database:
        # One moment of the database, whatever is written meanwhile.
        database.execute("VACUUM INTO ?", [str(part / "edgepost.db")])
    for folder in FOLDERS:
        if (data / folder).is_dir():
            _pack(data, folder, part / f"{folder}.tar")
    for file in FILES:
        if (data / file).exists():
            shutil.copy2(data / file, part / file)
    part.rename(made)
    for old in sorted(each for each in backups.iterdir() if each.is_dir())[:-keep]:
        shutil.rmtree(old)
    return made


def _pack(data: Path, folder: str, archive: Path) -> None:
    with tarfile.open(archive, "w") as packed:
        for file in sorted((data / folder).rglob("*")):
            try:
                packed.add(file, arcname=file.relative_to(data), recursive=False)
            except FileNotFoundError:
                continue  # its message has expired meanwhile


def main() -> None:
    """Make a copy now; with ``--every-hours``, again and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("backups", type=Path)
    parser.add_argument("--keep", type=int, default=14, help="copies to keep, 1 or more")
    parser.add_argument("--every-hours", type=float, help="do not end, but copy again after so many hours")
    given = parser.parse_args()
    if given.keep < 1:
        parser.error("--keep must be 1 or more")
    while True:
        try:
            print(f"made {back_up(given.data, given.backups, given.keep, datetime.now(UTC))}", flush=True)
        except (OSError, sqlite3.Error) as exc:
            # The next one may work; whoever watches the log sees this one.
            print(f"no backup: {exc}", flush=True)
            if given.every_hours is None:
                raise SystemExit(1) from exc
        if given.every_hours is None:
            return
        time.sleep(given.every_hours * 3600)


if __name__ == "__main__":
    main()
