"""Runs the benchmarks named on the command line, or all, and writes docs/performance.md."""

import re
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import api  # noqa: E402  # the repository must be importable first
import bombs  # noqa: E402
import inbound  # noqa: E402
import measure  # noqa: E402
import parts  # noqa: E402
import relay  # noqa: E402
import signing  # noqa: E402
import storage  # noqa: E402
import suppression  # noqa: E402
import tracking  # noqa: E402
import webhooks  # noqa: E402

PAGE = ROOT / "docs/performance.md"

HEAD = """\
# Performance

Measured by `make bench` (`bench/`), which writes the tables below; each can be measured again by itself with
`bench/run.sh NAME`. Everything runs on one machine over loopback, load tools included, so compare columns of one table
rather than single numbers: other load on the machine lowers all rates. CPU is that of the measured program's own
processes. Medians of several rounds.
"""

TEXTS = {
    "relay": """\
## Relay

SMTP in, queue on disk, DKIM with RSA-2048 (relaxed/relaxed), SMTP out to Postfix's `smtp-sink`; 5 KB messages, 20
sessions, one message a connection. Edgepost is the whole tree with SQLite and `EDGEPOST_DURABILITY=normal`; Postfix
writes its queue with fsync, Haraka without. All run at the same time, one is loaded at a time, in turns.""",
    "inbound": """\
## Mail in

Mail for a domain of one's own on port 25, one message a connection, on disk before 250. Edgepost checks SPF, DKIM,
DMARC and ARC of each and keeps it for a route; it is the whole tree with SQLite, synced (`EDGEPOST_DURABILITY=full`)
and not (`normal`, the default: safe from crashes of programs, not from a power failure). Postfix syncs its queue, and a
Maildir after it; Haraka syncs a file. Neither checks anything. All run at the same time, one is loaded at a time, in
turns.""",
    "bombs": """\
## Mail in beside attackers

Four ordinary sessions send 4 KB mails one after the other, quiet and while attackers do one thing as fast as they can.
What an ordinary mail takes is counted from connecting to the reply to its final dot. Quiet and attacked turns alternate
in one run. Attackers run at the lowest priority: they would not share a machine with their victim.
The process that reads reports is not in the memory ([sizing.md](sizing.md) has it). Attackers have another address.""",
    "api": """\
## Send API""",
    "signing": """\
## DKIM signatures""",
    "tracking": """\
## Tracking

Marking an HTML message in the node, and one hit of a function: token believed, hit sent to a queue, answered. Cold
start is a fresh process until the first answer, keys read, above a bare interpreter; both from .pyc files.""",
    "parts": """\
## Parts""",
    "webhooks": """\
## Webhooks

Receivers are small programs on the same machine. First, how long an event takes from its happening to a healthy
endpoint, beside another healthy one and beside one that hangs. Then the relay, without endpoints and with five that are
told of everything.""",
    "suppression": """\
## Suppression lists

Accepting messages, one after the other, in a process of its own with SQLite: on a server whose list is empty and on one
whose list is very long, in turns of a hundred. No recipient is on a list, which is the usual case.""",
    "storage": """\
## Storage

The same operations on a small and on a very large database: what grows must not become slower. Large is also larger
than SQLite's page cache, so random reads pay for the operating system's.""",
}


def benchmarks(directory: Path) -> dict[str, Callable[[], str]]:
    """Return all benchmarks by name, in the order of the page."""
    return {
        "relay": lambda: relay.run(directory),
        "inbound": lambda: inbound.run(directory),
        "bombs": lambda: bombs.run(directory),
        "api": lambda: api.run(directory),
        "signing": signing.run,
        "tracking": tracking.run,
        "parts": lambda: parts.run(directory),
        "webhooks": lambda: webhooks.run(directory),
        "suppression": lambda: suppression.run(directory),
        "storage": lambda: storage.run(directory),
    }


def _sections() -> dict[str, str]:
    """Return the sections that the page has now, so that a part can be measured again alone."""
    text = PAGE.read_text() if PAGE.exists() else ""
    found = re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    return dict(found)


def main(names: list[str]) -> int:
    """Run them, write the page, and return the exit status: 1 if any could not run."""
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    measure.DIRECTORY.mkdir(parents=True, exist_ok=True)
    measure.DIRECTORY.chmod(0o755)  # smtp-sink and opendkim give up root.
    known = benchmarks(measure.DIRECTORY)
    if unknown := set(names) - set(known):
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = False
    for name in names or known:
        print(f"{name} …", flush=True)
        try:
            result = known[name]()
        except Exception:  # noqa: BLE001  # one that cannot run must not take the others with it
            traceback.print_exc()
            failed = True
            continue
        stamp = f"{datetime.now(UTC):%Y-%m-%d}, {measure.machine()}"
        _write(_sections() | {name: f"{TEXTS[name]}\n\n{result}\n\n{stamp}"})
        print(result, flush=True)
    return int(failed)


def _write(sections: dict[str, str]) -> None:
    ordered = [f"<!-- {name} -->\n{sections[name]}\n<!-- end -->" for name in TEXTS if name in sections]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n\n".join([HEAD.rstrip(), *ordered]) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
