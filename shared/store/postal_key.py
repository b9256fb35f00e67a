"""The installation's one key for Postal's signatures: made once, wrapped by the master key."""

import asyncio
import json
from collections.abc import Callable

from shared.domain.postal_signature import WRAP_CONTEXT, PostalSigner
from shared.ports import Absent, Item, Keyring, Put, Records
from shared.store.items import text
from shared.store.keys import postal_key_key


class PostalKey:
    """Reads the key, and makes it at first use."""

    def __init__(self, records: Records, keyring: Keyring) -> None:
        self._records = records
        self._keyring = keyring
        self._signer: PostalSigner | None = None

    async def signer(self, new_key: Callable[[], bytes]) -> PostalSigner:
        """Return the signer; of several that make a key at once, all get the same.

        Args:
            new_key: makes a key; called in a thread, and only if there is none: it may take its time.
        """
        if self._signer is None:
            item = await self._records.get(postal_key_key())
            if item is None:
                private = await asyncio.to_thread(new_key)
                made: Item = {
                    "wrapped": self._keyring.wrap(private, context=WRAP_CONTEXT),
                    "public": json.dumps(PostalSigner.of(private).key_set()),
                }
                await self._records.put(Put(postal_key_key(), made, when=(Absent(),)))
                item = await self._records.get(postal_key_key()) or {}
            self._signer = PostalSigner.of(self._keyring.unwrap(text(item, "wrapped"), context=WRAP_CONTEXT))
        return self._signer
