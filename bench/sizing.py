"""What an installation takes: memory of the whole process tree, and disk for each message; writes docs/sizing.md.

bench/sizing.py [MESSAGES]     so many of 10 KB (5,000 unless given), delivered to an exchanger in this process

Memory is PSS: pages that several processes share are counted in parts, so that the sum is what the tree really takes.
The peak with large messages is the kernel's high-water mark of resident memory, shared pages included.
"""

import base64
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import measure  # noqa: E402  # the repository must be importable first
import parts  # noqa: E402
from standalone.demo.mx import SmallMX  # noqa: E402
from standalone.demo.sending import API  # noqa: E402
from standalone.demo.tree import Tree  # noqa: E402

PAGE = ROOT / "docs/sizing.md"
SIZE_BYTES = 10_000
MESSAGES = 5_000
SENDERS = 8
ARRIVAL_S = 600.0
SETTLE_S = 3.0
MILLION = 1_000_000
LARGE_BYTES = 25_000_000
LARGE_AT_ONCE = (1, 4, 8)

WORDS = 3_000
"""Different words that texts are made of; English mail has about as many."""

ROW = '<tr><td style="padding:8px 16px;font-family:Arial,sans-serif;font-size:14px;color:#333333">{}</td></tr>'
"""Of the table that most HTML mail is made of: the same for every message but for the words."""


def bodies(kind: str, count: int) -> Iterator[str]:
    """Yield bodies of about ``SIZE_BYTES``, all different: HTML, or what no compression makes smaller."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlucmfw", k=rng.randint(2, 9))) for _ in range(WORDS)]
    for _ in range(count):
        if kind == "html":
            yield "\n".join(ROW.format(" ".join(rng.choices(words, k=8))) for _ in range(SIZE_BYTES // 155))
        else:
            noise = base64.b64encode(rng.randbytes(SIZE_BYTES * 3 // 4)).decode()
            yield "\n".join(noise[start : start + 72] for start in range(0, len(noise), 72))


def pss_mb(pid: str) -> float:
    """Return the proportional set size of one process."""
    text = Path("/proc", pid, "smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1024


def peak_mb(pid: str) -> float:
    """Return the most resident memory that a process ever had."""
    status = Path("/proc", pid, "status").read_text()
    return int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


def memory_of(tree: Tree) -> dict[str, float]:
    """Return the memory of each process of the tree, in MB."""
    found = {name: pss_mb(pid) for name, pid in sorted(parts.part_pids(tree.pid).items())}
    return {"supervisor": pss_mb(str(tree.pid)), **found}


def _settings(mx: SmallMX) -> dict[str, str]:
    return {
        "first_domain": "example.com",
        "smart_host": f"smtp://127.0.0.1:{mx.port}?tls=none",
        "allow_networks": "smtp:127.0.0.0/8",
    }


def _send_all(tree: Tree, mx: SmallMX, kind: str, count: int) -> None:
    api = API(tree.url, tree.secrets()["api_key"])

    def send(numbered: tuple[int, str]) -> None:
        number, text = numbered
        to = [f"user{number}@dest.test"]
        api.send({"to": to, "from": measure.SENDER, "subject": f"Order {number}", "html_body": text})

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, enumerate(bodies(kind, count))))
    recipients = frozenset(f"user{number}@dest.test" for number in range(count))
    arrived = mx.wait_for(recipients, count, timeout_s=ARRIVAL_S)
    if arrived != count:
        raise RuntimeError(f"{arrived} of {count} arrived")
    time.sleep(SETTLE_S)  # the last events are recorded


def _disk_bytes(data_dir: Path) -> int:
    """Return the size of the database and of the bodies that are files, without the write-ahead log."""
    files = [data_dir / "edgepost.db", *(data_dir / "bodies").rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())


def _filled(home: Path, kind: str, count: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Fill a new installation; return its memory before and after, and the bytes on disk for each message."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with SmallMX() as mx, Tree(home / "data", _settings(mx)) as tree:
        idle = memory_of(tree)
        empty = _disk_bytes(home / "data")
        _send_all(tree, mx, kind, count)
        busy = memory_of(tree)
        tree.stop()  # what lies in the write-ahead log goes into the database
        used = _disk_bytes(home / "data") - empty
    return idle, busy, used / count


def _large_letter(number: int) -> dict[str, object]:
    """Return the parameters of send/raw for a message that no compression makes smaller."""
    head = f"From: {measure.SENDER}\r\nTo: user{number}@dest.test\r\nSubject: Large\r\n\r\n".encode()
    noise = base64.encodebytes(random.Random(number).randbytes(LARGE_BYTES * 57 // 78)).replace(b"\n", b"\r\n")
    data = base64.b64encode(head + noise).decode()
    return {"mail_from": measure.SENDER, "rcpt_to": [f"user{number}@dest.test"], "data": data}


def _with_large(home: Path, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Send large messages by the API, all at once; return each part's peak, and its memory afterwards."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with SmallMX() as mx, Tree(home / "data", _settings(mx)) as tree:
        api = API(tree.url, tree.secrets()["api_key"])
        letters = [_large_letter(number) for number in range(count)]
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda letter: api.call("send/raw", letter), letters))
        recipients = frozenset(f"user{number}@dest.test" for number in range(count))
        if mx.wait_for(recipients, count, timeout_s=ARRIVAL_S) != count:
            raise RuntimeError("not all arrived")
        time.sleep(SETTLE_S)
        peaks = {name: peak_mb(pid) for name, pid in sorted(parts.part_pids(tree.pid).items())}
        return peaks, memory_of(tree)


def _large_table(home: Path) -> str:
    found = {count: _with_large(home, count) for count in LARGE_AT_ONCE}
    rows: list[Sequence[str]] = []
    for name in ("http", "deliver"):
        cells = [f"{found[count][which][name]:,.0f}" for count in LARGE_AT_ONCE for which in (0, 1)]
        rows.append([name, *cells])
    titles = [f"{count} at once: {what}" for count in LARGE_AT_ONCE for what in ("peak", "kept")]
    return measure.table([f"{LARGE_BYTES // MILLION} MB messages, MB", *titles], rows)


def _node_memory(home: Path) -> dict[str, float]:
    shutil.rmtree(home, ignore_errors=True)
    tree = Tree(home / "data", {}, runs="node")
    (home / "data").mkdir(parents=True)
    tree.run("initialize")
    with tree:
        return memory_of(tree)


def _memory_table(idle: dict[str, float], busy: dict[str, float], node: dict[str, float], count: int) -> str:
    names = list(dict.fromkeys([*idle, *node]))
    rows: list[Sequence[str]] = [
        [name, *(f"{found[name]:,.0f}" if name in found else "" for found in (idle, busy, node))] for name in names
    ]
    rows.append(["**all**", *(f"**{sum(found.values()):,.0f}**" for found in (idle, busy, node))])
    return measure.table(["PSS, MB", "idle", f"after {count:,} messages", "`edgepost node`, idle"], rows)


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the tables into the page."""
    count = int(arguments[0]) if arguments else MESSAGES
    home = measure.DIRECTORY / "sizing"
    idle, busy, html = _filled(home / "html", "html", count)
    _, _, noise = _filled(home / "noise", "noise", count)
    node = _node_memory(home / "node")
    disk = measure.table(
        [f"{SIZE_BYTES // 1000} KB message", "bytes on disk for each", "GB for a million"],
        [
            ["HTML, which compresses", f"{html:,.0f}", f"{html * MILLION / 1e9:.1f}"],
            ["incompressible, like an attached picture", f"{noise:,.0f}", f"{noise * MILLION / 1e9:.1f}"],
        ],
    )
    memory = _memory_table(idle, busy, node, count)
    large = _large_table(home / "large")
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, {measure.machine()}; {count:,} messages of each kind"
    section = f"<!-- measured -->\n{memory}\n\n{large}\n\n{disk}\n\n{stamp}\n<!-- end -->"
    print(section)
    page = PAGE.read_text()
    PAGE.write_text(re.sub(r"<!-- measured -->.*?<!-- end -->", lambda _: section, page, flags=re.DOTALL))
    shutil.rmtree(home)


if __name__ == "__main__":
    main(sys.argv[1:])
