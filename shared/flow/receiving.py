"""What taking mail in needs, grouped for the stages that share it."""

import random
from dataclasses import dataclass

from shared.domain.errors import NotFound
from shared.domain.incoming import Incoming
from shared.domain.tenancy import Tenant
from shared.flow.accept import Acceptance
from shared.flow.token_keys import TokenSource
from shared.ports import Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages
from shared.store.reservations import Reservations


@dataclass(frozen=True, slots=True)
class Receiving:
    """What taking mail in needs."""

    stores: Stores
    directory: Directory
    messages: Messages
    reservations: Reservations
    settings: Settings
    rng: random.Random
    tokens: TokenSource

    @classmethod
    def beside(cls, acceptance: Acceptance, tokens: TokenSource) -> "Receiving":
        """Return it over what accepting has."""
        return cls(
            acceptance.stores,
            acceptance.directory,
            acceptance.messages,
            acceptance.reservations,
            acceptance.settings,
            acceptance.rng,
            tokens,
        )

    async def tenant(self, incoming: Incoming) -> Tenant:
        """Return whose mail it is.

        Raises:
            NotFound: the server was removed since the recipient was named.
        """
        tenant = await self.directory.tenant(incoming.server_id)
        if tenant is None:
            raise NotFound("the server of this address is gone")
        return tenant
