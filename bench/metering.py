"""Counts what AWS would bill: every request of the SDK in this process, by the documented rules.

Emulators count wrong or not at all, so the rules are here.  The meter sees each call
with its arguments and its answer (botocore's events), knows the caller by its user agent,
and asks for the size of an item after it was written, unseen by itself.

* SQS: each 64 KB of payload of a call is a request; an empty receive is one too.
* DynamoDB, writes: 1 KB of the larger of the item before and after; a failed condition is
  paid like a write; a transaction doubles.  Reads: 4 KB, a query as a whole; eventually
  consistent ones are half.
* S3: by call.

The functions that mail leads to have no SDK; their calls are heard at ``functions.edge.aws``.

AWS: "Read and write capacity mode", "DynamoDB item sizes and formats", "Amazon SQS pricing".
"""

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from item_size import read_units, wire_bytes, write_units

SQS_REQUEST_BYTES = 64 * 1024
HEAD_BYTES = 400
"""Of an answer beside its body, as it travels: its head and the frames around it."""

ITEM_OVERHEAD_BYTES = 100
"""What DynamoDB adds to each stored item for its index."""

STORED = {"message": "message", "events": "events and log", "log": "events and log", "parcels": "webhook attempts"}
"""Kinds of items whose number grows with the letters, by the first word of their partition."""

# Any: arguments and answers are the JSON of AWS's own APIs.
Json = Mapping[str, Any]
Look = Callable[[str, Json], Json | None]
"""Returns the item of a table under a key, without being metered."""


@dataclass(frozen=True, slots=True)
class Use:
    """Something that is billed: who used which kind of what."""

    caller: str
    unit: str
    """As prices.toml names it."""

    what: str


class Meter:
    """Sums of everything that was used."""

    def __init__(self, look: Look) -> None:
        self.used: Counter[Use] = Counter()
        self._look = look
        self.sizes: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def attach(self, session: Any) -> None:
        """Listen to a botocore session: clients that it makes from now on are heard."""
        session.register("provide-client-params.*", self._before)
        session.register("before-call.*", self._call)
        session.register("after-call.*", self._after)

    def attach_edge(self, calling: type) -> None:
        """Listen to all objects of ``functions.edge.aws.AWS``, under the name ``edge``."""
        call = calling.call  # type: ignore[attr-defined]  # it has

        def heard(aws: Any, service: str, target: str, version: str, parameters: dict[str, Any]) -> dict[str, Any]:
            answer: dict[str, Any] = call(aws, service, target, version, parameters)
            self._request("edge", service, target.rpartition(".")[2], parameters, answer)
            return answer

        calling.call = heard  # type: ignore[attr-defined]

    def add(self, caller: str, unit: str, what: str, amount: float = 1) -> None:
        """Count something that no request of ours shows."""
        with self._lock:
            self.used[Use(caller, unit, what)] += amount  # type: ignore[assignment]  # a Counter adds floats too

    def reset(self) -> None:
        """Begin anew; sizes of items stay known."""
        with self._lock:
            self.used.clear()

    def stored(self) -> Counter[str]:
        """Return the bytes of all items that were written, with what DynamoDB adds to each, by kind."""
        with self._lock:
            sizes = dict(self.sizes)
        sums: Counter[str] = Counter()
        for (table, key), size in sizes.items():
            first = key.partition("#")[0].rpartition("'")[2]
            kind = "body" if "bodies" in table else STORED.get(first, "other")
            sums[kind] += size + ITEM_OVERHEAD_BYTES
        return sums

    # --- What botocore tells

    def _before(self, params: Json, context: dict[str, Any], **_: object) -> None:
        context["metered"] = dict(params)

    def _call(self, params: Json, context: dict[str, Any], **_: object) -> None:
        agent = re.search(r"app/(?:edgepost-)?([\w-]+)", str(params["headers"].get("User-Agent", "")))
        context["metered_caller"] = agent[1] if agent else "other"

    def _after(self, http_response: Any, parsed: Json, model: Any, context: Json, **_: object) -> None:
        caller, service = context["metered_caller"], model.service_model.service_name
        self._request(caller, service, model.name, context["metered"], parsed)
        body = b"" if model.has_streaming_output else http_response.content
        received = len(body) + int(parsed.get("ContentLength", 0)) + HEAD_BYTES
        self.add(caller, "received_bytes", service, received)

    def _request(self, caller: str, service: str, operation: str, asked: Json, parsed: Json) -> None:
        match service:
            case "sqs":
                self.add(caller, "sqs_request", operation, sqs_requests(asked, parsed))
            case "dynamodb":
                for unit, what, amount in self._dynamodb(operation, asked, parsed):
                    self.add(caller, unit, what, amount)
            case "s3":
                unit = "s3_put" if operation in {"PutObject", "CopyObject", "ListObjectsV2"} else "s3_get"
                self.add(caller, unit, operation)
            case _:
                self.add(caller, f"{service}_request", operation)

    # --- DynamoDB

    def _dynamodb(self, operation: str, asked: Json, parsed: Json) -> Iterable[tuple[str, str, float]]:
        failed = "Error" in parsed
        match operation:
            case "PutItem" | "UpdateItem" | "DeleteItem":
                key = asked.get("Key") or asked["Item"]
                yield self._write(asked["TableName"], key, put=None if failed else asked.get("Item"), failed=failed)
            case "TransactWriteItems":
                for each in asked["TransactItems"]:
                    [(_, write)] = each.items()
                    key = write.get("Key") or write["Item"]
                    unit, what, amount = self._write(write["TableName"], key, failed=failed)
                    yield unit, f"{what} (transaction)", 2 * amount
            case "BatchWriteItem":
                for table, writes in asked["RequestItems"].items():
                    for each in writes:
                        [(_, write)] = each.items()
                        yield self._write(table, write.get("Key") or write["Item"])
            case _:
                yield from self._read(operation, asked, parsed)

    def _read(self, operation: str, asked: Json, parsed: Json) -> Iterable[tuple[str, str, float]]:
        match operation:
            case "GetItem":
                size = wire_bytes(parsed["Item"]) if "Item" in parsed else 0
                yield "read_unit", _kind(asked["Key"], asked["TableName"]), _reads(size, asked)
            case "BatchGetItem":
                for table, wanted in asked["RequestItems"].items():
                    found = parsed.get("Responses", {}).get(table, [])
                    sizes = [wire_bytes(item) for item in found]
                    sizes += [0] * (len(wanted["Keys"]) - len(found))
                    yield "read_unit", _kind(wanted["Keys"][0], table), sum(_reads(size, wanted) for size in sizes)
            case "Query":
                size = sum(wire_bytes(item) for item in parsed.get("Items", []))
                partition = next(iter(asked["ExpressionAttributeValues"].values()))["S"]
                yield "read_unit", f"{partition.partition('#')[0]} (query)", _reads(size, asked)
            case _:
                raise ValueError(f"{operation} has no rule yet")

    def _write(self, table: str, key: Json, *, put: Json | None = None, failed: bool = False) -> tuple[str, str, float]:
        """Return the write units of one item, by the larger of its two sizes."""
        names = {name: key[name] for name in ("pk", "sk") if name in key}
        item = put or self._look(table, names)
        after = wire_bytes(item) if item else 0
        place = (table, str(names))
        with self._lock:
            before = self.sizes.get(place, 0)
            self.sizes[place] = after
        kind = _kind(names, table)
        return "write_unit", f"{kind}, condition failed" if failed else kind, write_units(max(before, after))


def sqs_requests(asked: Json, parsed: Json) -> int:
    """Return the billed requests of one call."""
    sent = [asked, *asked.get("Entries", ())]
    texts = [each.get("MessageBody", "") for each in sent] + [each["Body"] for each in parsed.get("Messages", ())]
    return max(1, math.ceil(sum(len(text.encode()) for text in texts) / SQS_REQUEST_BYTES))


def _reads(size: int, asked: Json) -> float:
    return read_units(size, consistent=bool(asked.get("ConsistentRead")))


def _kind(key: Json, table: str) -> str:
    """Return what kind of item lies there: the first word of its partition."""
    return "body" if "bodies" in table else str(key["pk"]["S"]).partition("#")[0]
