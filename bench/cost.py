"""What a million letters cost on AWS: meters the workload on an emulator, multiplies by list prices, prints tables.

cost.py            all rates, and docs/cost.md is written anew between its marks
cost.py --json 100 one rate, as JSON on standard output, nothing written

At each rate the batching windows see so many letters at once:

* 1 a second: each stage finds one letter at a time; Lambda's five pollers give the events
  function one event a run, whatever the window.  Paced in real time, so that caches expire.
* 100 a second: a node's windows of 50 ms see 5 letters, a receive brings the 2 that came during the
  last one; the events function gets full batches of 100.
* 10,000 a second: 50 nodes with 200 a second each, 10 letters in a window, which is all that a call
  of SQS takes, 4 in a receive; full batches of 100 from one server.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from cost_workload import Scenario, Workload, workload  # noqa: E402  # the path comes first
from item_size import read_units, write_units  # noqa: E402
from metering import Use  # noqa: E402
from tests.aws.emulator import emulator  # noqa: E402

SCENARIOS = (
    Scenario(rate=1, letters=25, at_once=1, received=1, batch=1, pace_s=1.0),
    Scenario(rate=100, letters=200, at_once=5, received=2, batch=100),
    Scenario(rate=10_000, letters=400, at_once=10, received=4, batch=100),
)
MINUTES_A_MONTH = 43_800
DAYS_A_MONTH = 30.4
BODY_DAYS, MESSAGE_DAYS, EVENT_DAYS = 30, 60, 45
"""Defaults of the retention settings."""

ITEM_OVERHEAD_BYTES = 100
"""What DynamoDB adds to each stored item for its index."""

PAGE = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- table: bench/cost.py -->", "<!-- end of table -->"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill, for one letter."""

    name: str
    amount: float
    dollars: float
    """For a million letters."""


def lines(
    used: Mapping[Use, float], log_bytes: int, sizes: Mapping[str, float], letters: int, prices: Any
) -> list[Line]:
    """Return the bill of what was used for so many letters."""
    sums: Counter[tuple[str, str]] = Counter()
    for use, amount in used.items():
        named = _name(use)
        if named:
            sums[named] += amount / letters  # type: ignore[assignment]  # a Counter adds floats too
    made = [Line(name, amount, amount * _price(unit, prices)) for (unit, name), amount in sorted(sums.items())]
    log_gb = log_bytes / letters / 1e9
    made.append(Line("CloudWatch Logs, bytes", log_bytes / letters, log_gb * 1e6 * prices["each"]["log_gb"]))
    return made + _storage(sizes, prices)


def _name(use: Use) -> tuple[str, str] | None:
    """Return the unit of a use and the name of its line; None if nobody pays for it."""
    who = {"api": "accept", "deliver": "deliver", "events": "record"}.get(use.caller, use.caller)
    match use.unit:
        case "write_unit":
            stage = f"message ({who})" if use.what == "message" else use.what.replace(" (transaction)", "")
            return use.unit, f"DynamoDB write units: {stage}"
        case "read_unit":
            kinds = {"body": "body", "suppression": "suppressions"}
            return use.unit, f"DynamoDB read units: {kinds.get(use.what, 'tenants and the rest')}"
        case "sqs_request":
            return use.unit, f"SQS requests: {who}, {use.what.removesuffix(' (by Lambda)').removesuffix('Batch')}"
        case "received_bytes":
            return ("egress_byte", "Data to a node outside AWS, bytes") if use.caller == "deliver" else None
        case "lambda_gb_second":
            return use.unit, f"Lambda: {who}, GB-seconds"
        case "lambda_request":
            return use.unit, f"Lambda: {who}, invocations"
        case _:
            return use.unit, f"{use.unit}: {who}, {use.what}"


def _price(unit: str, prices: Any) -> float:
    """Return the dollars of a million of the unit."""
    match unit:
        case "egress_byte":
            return float(prices["each"]["egress_gb"]) / 1e3
        case "lambda_gb_second":
            return float(prices["each"][unit]) * 1e6
        case "sqs_request":
            return float(prices["million"][unit]) + float(prices["million"]["sqs_fair_surcharge"])
        case _:
            return float(prices["million"][unit])


def _storage(sizes: Mapping[str, float], prices: Any) -> list[Line]:
    """Return what keeping costs, for the whole retention; sizes are those of one letter."""
    month, backup = (float(prices["each"][f"dynamodb_{name}"]) for name in ("gb_month", "pitr_gb_month"))
    kept = {
        "message": (MESSAGE_DAYS, month + backup),
        "events and log": (EVENT_DAYS, month + backup),
        "body": (BODY_DAYS, month),
    }
    return [
        Line(f"Storage: {name}, bytes for {days} days", sizes[name], sizes[name] * 1e-3 * days / DAYS_A_MONTH * price)
        for name, (days, price) in kept.items()
    ]


def break_even_kb(prices: Any) -> int:
    """Return the largest body, in KB as stored, that is cheaper in DynamoDB than in S3; written and read once."""
    million, each = prices["million"], prices["each"]
    months = BODY_DAYS / DAYS_A_MONTH
    for kb in range(1, 400):
        size, gb = kb * 1024, kb * 1024 / 1e9
        item = write_units(size) * million["write_unit"] + read_units(size, consistent=True) * million["read_unit"]
        item += gb * 1e6 * each["dynamodb_gb_month"] * months
        # Reading asks DynamoDB first.
        thing = million["s3_put"] + million["s3_get"] + million["read_unit"] + gb * 1e6 * each["s3_gb_month"] * months
        if item > thing:
            return kb - 1
    raise AssertionError("S3 is cheaper for large things")


async def _measure(scenario: Scenario, directory: Path, running: Any, prices: Any) -> dict[str, Any]:
    async with workload(running, directory) as made:
        await made.go(replace(scenario, letters=10, pace_s=0))  # what is read once, at the start
        made.meter.reset()
        logged = made.logs.bytes
        await made.go(scenario)
        sizes = _sizes(made)
        bill = lines(made.meter.used, made.logs.bytes - logged, sizes, scenario.letters, prices)
        await made.minute()
        made.meter.reset()
        await made.minute()
        minute = sum(amount * _price(use.unit, prices) / 1e6 for use, amount in made.meter.used.items() if _name(use))
    return {
        "rate": scenario.rate,
        "lines": {line.name: {"amount": line.amount, "dollars": line.dollars} for line in bill},
        "total": sum(line.dollars for line in bill),
        "month": minute * MINUTES_A_MONTH,
    }


def _sizes(made: Workload) -> Mapping[str, float]:
    """Return the stored bytes of one letter, from the items that there are."""
    sums: defaultdict[str, int] = defaultdict(int)
    counts: Counter[str] = Counter()
    for table in ("records", "bodies"):
        kinds = {"message": "message", "events": "events and log", "log": "events and log"}
        for (where, key), size in made.meter.sizes.items():
            if where == table:
                first = key.partition("#")[0].rpartition("'")[2]
                kind = "body" if table == "bodies" else kinds.get(first, "")
                sums[kind] += size + ITEM_OVERHEAD_BYTES
                counts[first if table == "records" else "body"] += 1
    letters = counts["message"]
    return {kind: sums[kind] / letters for kind in ("message", "events and log", "body")}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=int, metavar="RATE", help="one rate only, as JSON")
    chosen = parser.parse_args(arguments).json
    prices = tomllib.loads((ROOT / "bench" / "prices.toml").read_text(encoding="utf-8"))
    if chosen is not None:
        [scenario] = [each for each in SCENARIOS if each.rate == chosen]
        with tempfile.TemporaryDirectory() as directory, emulator(Path(directory)) as running:
            print(json.dumps(asyncio.run(_measure(scenario, Path(directory), running, prices))))
        return
    # A process for each: functions keep their stores and logs for as long as theirs lives.
    program = [sys.executable, __file__, "--json"]
    measured = [
        json.loads(subprocess.run([*program, str(each.rate)], check=True, capture_output=True).stdout)
        for each in SCENARIOS
    ]
    table = _table(measured, prices)
    print(table)
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")


def _table(measured: Sequence[dict[str, Any]], prices: Any) -> str:
    heads = [f"{each['rate']:,}/s" for each in measured]
    names = sorted({name for each in measured for name in each["lines"]}, key=lambda name: ("bytes" in name, name))
    rows = [
        "| line | " + " | ".join(f"{head}, each | $" for head in heads) + " |",
        "| --- " * (1 + 2 * len(heads)) + "|",
    ]
    for name in names:
        found = [each["lines"].get(name, {"amount": 0, "dollars": 0}) for each in measured]
        cells = [f"{_shown(line['amount'])} | {line['dollars']:.2f}" for line in found]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    totals = "".join(f" | | **{each['total']:.2f}**" for each in measured)
    rows.append(f"| **together, dollars for a million letters**{totals} |")
    about = (
        f"List prices of {prices['region']}, {prices['date']}, no free tier. Beside that, the every-minute function"
        f" costs ${measured[-1]['month']:.2f} a month, however many letters there are. A body is cheaper in DynamoDB"
        f" than in S3 up to {break_even_kb(prices)} KB as stored."
    )
    rows += ["", about, ""]
    return "\n".join(rows)


def _shown(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


if __name__ == "__main__":
    main(sys.argv[1:])
