"""Where a route leads, as items: in the route, and in each message that it took."""

from collections.abc import Mapping
from typing import assert_never

from shared.domain.job import TLSMode
from shared.domain.routes import (
    TIMEOUT_S,
    AddressTarget,
    Encoding,
    HTTPTarget,
    PayloadFormat,
    SMTPTarget,
    Target,
)
from shared.ports import Value
from shared.store.items import number, text


def target_item(target: Target) -> Value:
    """Return the value that holds a target; of an HTTP endpoint, what is not usual."""
    match target:
        case HTTPTarget(url):
            item: dict[str, Value] = {"kind": "http", "url": url}
            if target.encoding is not Encoding.JSON:
                item["encoding"] = target.encoding.value
            if target.format is not PayloadFormat.HASH:
                item["format"] = target.format.value
            if not target.attachments:
                item["attachments"] = False
            if target.strip_replies:
                item["strip_replies"] = True
            if target.timeout_s != TIMEOUT_S:
                item["timeout_s"] = target.timeout_s
            return item
        case SMTPTarget(host, port, tls):
            return {"kind": "smtp", "host": host, "port": port, "tls": tls.value}
        case AddressTarget(address):
            return {"kind": "address", "address": address}
        case _:
            assert_never(target)


def target_of(row: Mapping[str, Value]) -> Target:
    """Return the target that a value holds."""
    item = dict(row)
    match text(item, "kind"):
        case "http":
            return HTTPTarget(
                text(item, "url"),
                Encoding(text(item, "encoding") or Encoding.JSON),
                PayloadFormat(text(item, "format") or PayloadFormat.HASH),
                attachments=bool(item.get("attachments", True)),
                strip_replies=bool(item.get("strip_replies", False)),
                timeout_s=number(item, "timeout_s") or TIMEOUT_S,
            )
        case "smtp":
            return SMTPTarget(text(item, "host"), number(item, "port"), TLSMode(text(item, "tls")))
        case _:
            return AddressTarget(text(item, "address"))
