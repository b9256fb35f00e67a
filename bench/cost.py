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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from cost_followers import A_LETTER, CLICK, ENDPOINTS, OPEN, WEBHOOK, Followed, hits, webhooks  # noqa: E402  # likewise
from cost_workload import Scenario, Workload, workload  # noqa: E402  # the path comes first
from item_size import read_units, write_units  # noqa: E402
from metering import Use  # noqa: E402
from tests.aws.emulator import emulator  # noqa: E402

SCENARIOS = (
    Scenario(rate=1, letters=25, at_once=1, received=1, batch=1, parcels=1, pace_s=1.0),
    Scenario(rate=100, letters=200, at_once=5, received=2, batch=100, parcels=4),
    Scenario(rate=10_000, letters=400, at_once=10, received=4, batch=100, parcels=10),
)
MINUTES_A_MONTH = 43_800
DAYS_A_MONTH = 30.4
BODY_DAYS, MESSAGE_DAYS, EVENT_DAYS, PARCEL_DAYS = 30, 60, 45, 10
"""Defaults of the retention settings, and shared.store.parcels.KEPT."""

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
    used: Mapping[Use, float], log_bytes: float, sizes: Mapping[str, float], letters: int, prices: Any
) -> list[Line]:
    """Return the bill of what was used for so many letters; also for so many of what follows them."""
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
    stages = {"api": "accept", "events": "record", "edge": "answer", "webhooks": "notify"}
    who = stages.get(use.caller, use.caller)
    match use.unit:
        case "write_unit":
            stage = f"message ({who})" if use.what == "message" else use.what.replace(" (transaction)", "")
            return use.unit, f"DynamoDB write units: {stage}"
        case "read_unit":
            kinds = {"body": "body", "suppression": "suppressions", "message": "messages"}
            kinds["events (query)"] = "hits kept"
            return use.unit, f"DynamoDB read units: {kinds.get(use.what, 'tenants and the rest')}"
        case "sqs_request":
            return use.unit, f"SQS requests: {who}, {use.what.removesuffix(' (by Lambda)').removesuffix('Batch')}"
        case "received_bytes":
            return ("egress_byte", "Data to a node outside AWS, bytes") if use.caller == "deliver" else None
        case "egress_byte":
            return use.unit, "Data out, bytes"
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
        "webhook attempts": (PARCEL_DAYS, month + backup),
    }
    return [
        Line(f"Storage: {name}, bytes for {days} days", sizes[name], sizes[name] * 1e-3 * days / DAYS_A_MONTH * price)
        for name, (days, price) in kept.items()
        if name in sizes
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
        alone, logged = dict(made.meter.used), made.logs.bytes - logged
        bill = lines(alone, logged, _sizes(made), scenario.letters, prices)
        followed = {kind: await hits(made, kind, scenario) for kind in (OPEN, CLICK)}
        followed[WEBHOOK] = await webhooks(made, scenario, alone, logged)
        await made.minute()
        made.meter.reset()
        await made.minute()
        minute = sum(amount * _price(use.unit, prices) / 1e6 for use, amount in made.meter.used.items() if _name(use))
    return {
        "rate": scenario.rate,
        "lines": {line.name: {"amount": line.amount, "dollars": line.dollars} for line in bill},
        "total": sum(line.dollars for line in bill),
        "month": minute * MINUTES_A_MONTH,
        "follows": {kind: _followed(kind, each, prices) for kind, each in followed.items()},
    }


def _followed(kind: str, followed: Followed, prices: Any) -> dict[str, Any]:
    """Return the bill of one kind: amounts for one of them, dollars for those that follow a million letters."""
    bill = lines(followed.used, followed.log_bytes, followed.stored, followed.count, prices)
    share = A_LETTER[kind]
    made = {line.name: {"amount": line.amount, "dollars": line.dollars * share} for line in bill if line.amount}
    return {"lines": made, "total": sum(line["dollars"] for line in made.values())}


def _sizes(made: Workload) -> Mapping[str, float]:
    """Return the stored bytes of one letter, from the items that there are."""
    letters = sum(table == "records" and key.startswith("{'pk': {'S': 'message#") for table, key in made.meter.sizes)
    return {kind: size / letters for kind, size in made.meter.stored().items() if kind != "other"}


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
    top = [
        "| line | " + " | ".join(f"{head}, each | $" for head in heads) + " |",
        "| --- " * (1 + 2 * len(heads)) + "|",
    ]
    totals = [each["total"] for each in measured]
    letter = [*top, *_rows(measured), _sum("together, dollars for a million letters", totals)]
    about = (
        f"List prices of {prices['region']}, {prices['date']}, no free tier. Beside that, the every-minute function"
        f" costs ${measured[-1]['month']:.2f} a month, however many letters there are. A body is cheaper in DynamoDB"
        f" than in S3 up to {break_even_kb(prices)} KB as stored."
    )
    names = {
        OPEN: f"opens, {A_LETTER[OPEN]:.0%} of letters",
        CLICK: f"clicks, {A_LETTER[CLICK]:.0%} of letters",
        WEBHOOK: f"webhooks, {ENDPOINTS} a letter",
    }
    follows = list(top)
    for kind, name in names.items():
        bills = [each["follows"][kind] for each in measured]
        sums = [bill["total"] for bill in bills]
        follows += [*_rows(bills, f"{kind}: "), _sum(name, sums)]
        totals = [total + more for total, more in zip(totals, sums, strict=True)]
    follows.append(_sum("together with the letters, dollars for a million of them", totals))
    what = "What follows: each is for one open, click or webhook, $ for those that follow a million letters."
    return "\n".join([*letter, "", about, "", what, "", *follows, ""])


def _rows(bills: Sequence[dict[str, Any]], prefix: str = "") -> Sequence[str]:
    rows: list[str] = []
    for name in sorted({name for each in bills for name in each["lines"]}, key=lambda name: ("bytes" in name, name)):
        found = [each["lines"].get(name, {"amount": 0, "dollars": 0}) for each in bills]
        cells = [f"{_shown(line['amount'])} | {line['dollars']:.2f}" for line in found]
        rows.append(f"| {prefix}{name} | " + " | ".join(cells) + " |")
    return rows


def _sum(name: str, dollars: Sequence[float]) -> str:
    return f"| **{name}**" + "".join(f" | | **{each:.2f}**" for each in dollars) + " |"


def _shown(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


if __name__ == "__main__":
    main(sys.argv[1:])
