"""The cost of a letter: requests and units are asserted, never prices of the day alone."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))

from cost import break_even_kb  # noqa: E402  # a script, found by the line above
from metering import Meter, Use, sqs_requests  # noqa: E402
from shared.adapters.aws.bodies import ITEM_BYTES  # noqa: E402


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """Meter the workload at 100 letters a second, in a process of its own."""
    program = [sys.executable, str(ROOT / "bench" / "cost.py"), "--json", "100"]
    ran = subprocess.run(program, check=True, capture_output=True, timeout=240)
    metered: dict[str, Any] = json.loads(ran.stdout)
    return metered


def all_amounts(bill: dict[str, Any]) -> dict[str, float]:
    """Return the amounts of a bill that were counted; times and what is stored depend on the machine and the ids."""
    lines = {name: line["amount"] for name, line in bill["lines"].items()}
    return {name: amount for name, amount in lines.items() if "bytes" not in name and "GB-seconds" not in name}


def amounts(bill: dict[str, Any], start: str) -> dict[str, float]:
    """Return the lines that begin with these words."""
    return {name.removeprefix(start): line["amount"] for name, line in bill["lines"].items() if name.startswith(start)}


@pytest.mark.slow
class TestCost:
    """One class, so that only one process meters the workload.

    What follows a letter is counted for one open, click or webhook, whose events share their runs with 99 others.
    """

    def test_takes_five_write_units_beside_its_body(self, bill: dict[str, Any]) -> None:
        """Each of them has a name; another one is somebody's decision."""
        units = amounts(bill, "DynamoDB write units: ")
        units.pop("message, condition failed", None)  # two looks at one job, now and then

        body = units.pop("body")

        assert set(units) == {"message (accept)", "message (deliver)", "events", "log", "counters"}
        assert units["message (accept)"] == 1
        assert units["message (deliver)"] <= 2.1
        assert units["events"] == 1
        assert units["log"] + units["counters"] <= 0.2
        assert body <= 4

    def test_takes_three_requests_of_sqs(self, bill: dict[str, Any]) -> None:
        """What is sent, received and deleted together is paid once."""
        requests = amounts(bill, "SQS requests: ")

        assert requests["accept, SendMessage"] == 1
        assert sum(requests.values()) <= 3

    def test_runs_two_functions(self, bill: dict[str, Any]) -> None:
        """One run for each request, and one for a hundred events."""
        assert amounts(bill, "Lambda: ")["accept, invocations"] == 1
        assert amounts(bill, "Lambda: ")["record, invocations"] <= 0.011

    def test_reads_little(self, bill: dict[str, Any]) -> None:
        """Tenants are kept for five seconds; the body and the recipient's suppressions are read each time."""
        reads = amounts(bill, "DynamoDB read units: ")

        assert reads["body"] == 1
        assert reads["suppressions"] <= 4
        assert reads["tenants and the rest"] <= 2.5

    def test_a_million_cost_at_most_twelve_dollars(self, bill: dict[str, Any]) -> None:
        """By the list prices of bench/prices.toml; the functions' times depend on this machine and have a dollar."""
        counted = [line["dollars"] for name, line in bill["lines"].items() if not name.endswith("GB-seconds")]

        assert sum(counted) <= 11

    @pytest.mark.parametrize(("kind", "function"), [("open", "pixel"), ("click", "redirect")])
    def test_a_hit_takes_one_run_one_request_and_little_more_than_its_event(
        self, bill: dict[str, Any], kind: str, function: str
    ) -> None:
        """The function that answers sends one event; what it knows of servers and keys is read once a minute."""
        took = all_amounts(bill["follows"][kind])

        assert took.pop(f"Lambda: {function}, invocations") == 1
        assert took.pop("SQS requests: answer, SendMessage") == 1
        assert took.pop("DynamoDB write units: events") == 1
        assert took.pop("DynamoDB read units: hits kept") == 1
        assert took.pop("DynamoDB write units: log") + took.pop("DynamoDB write units: counters") <= 0.2
        assert took.pop("SQS requests: record, ReceiveMessage") <= 0.11
        assert took.pop("SQS requests: record, DeleteMessage") <= 0.11
        # The server, once for a run that finds its cache grown old.
        assert took.pop("DynamoDB read units: tenants and the rest") <= 0.1
        assert all(amount <= 0.05 for amount in took.values()), took

    def test_a_webhook_takes_a_share_of_its_parcel(self, bill: dict[str, Any]) -> None:
        """Of a hundred deliveries, four parcels for each endpoint: no request and no unit for each webhook."""
        took = all_amounts(bill["follows"]["webhook"])

        assert took.pop("DynamoDB read units: messages") == pytest.approx(1 / 5)
        assert took.pop("DynamoDB write units: parcels") <= 0.15
        assert sum(amount for name, amount in took.items() if name.startswith("SQS requests: ")) <= 0.05
        assert all(amount <= 0.06 for amount in took.values()), took


class TestEdgeCalls:
    def test_are_counted_like_those_of_the_sdk(self) -> None:
        """They are heard at the one method that makes them."""

        class AWS:
            def call(self, *_: object) -> dict[str, Any]:
                return {"Items": []}

        meter = Meter(lambda *_: None)
        meter.attach_edge(AWS)
        aws, values = AWS(), {":p": {"S": "suspended"}}

        aws.call("sqs", "AmazonSQS.SendMessage", "1.0", {"MessageBody": "x" * 65_537})
        aws.call("dynamodb", "DynamoDB_20120810.Query", "1.0", {"ExpressionAttributeValues": values})

        assert meter.used == {
            Use("edge", "sqs_request", "SendMessage"): 2,
            Use("edge", "read_unit", "suspended (query)"): 0.5,
        }


class TestBodies:
    def test_lie_where_they_are_cheaper(self) -> None:
        """The constant of the adapter is what the prices say."""
        prices = tomllib.loads((ROOT / "bench" / "prices.toml").read_text(encoding="utf-8"))

        assert break_even_kb(prices) * 1024 == ITEM_BYTES


class TestSQSRequests:
    @pytest.mark.parametrize(
        ("asked", "answered", "requests"),
        [
            ({"QueueUrl": "q"}, {}, 1),
            ({"MessageBody": "x" * 65_536}, {}, 1),
            ({"MessageBody": "x" * 65_537}, {}, 2),
            ({"Entries": [{"MessageBody": "ü" * 10_000}] * 10}, {}, 4),
            ({"QueueUrl": "q"}, {"Messages": [{"Body": "x" * 100_000}]}, 2),
        ],
    )
    def test_each_64_kb_is_one(self, asked: dict[str, Any], answered: dict[str, Any], requests: int) -> None:
        """AWS: Amazon SQS pricing, "How are Amazon SQS requests priced"."""
        assert sqs_requests(asked, answered) == requests
