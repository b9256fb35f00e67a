"""The public half of the key that signs as Postal does: read without any cryptography."""

import json
from collections.abc import Mapping
from typing import Any, cast

from shared.ports import Records
from shared.store.items import text
from shared.store.keys import postal_key_key


async def published_keys(records: Records) -> Mapping[str, Any]:
    """Return the key set (RFC 7517); empty as long as nobody was to be told in Postal's dialect."""
    item = await records.get(postal_key_key())
    return {"keys": []} if item is None else cast("Mapping[str, Any]", json.loads(text(item, "public")))
