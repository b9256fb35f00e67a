"""What the API needs to answer a request, opened once by ``wiring.py``."""

from dataclasses import dataclass

from shared.flow.accept import Acceptance
from shared.ports import Clock, Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.events import Events
from shared.store.messages import Messages

OVERHEAD_BYTES = 1_000_000
"""What a request may have beyond a message of the largest size in base64."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the doors of the API: what accepting needs, and the time."""

    using: Acceptance
    clock: Clock

    @property
    def settings(self) -> Settings:
        """Return the installation's settings."""
        return self.using.settings

    @property
    def stores(self) -> Stores:
        """Return records, bodies and queues."""
        return self.using.stores

    @property
    def max_request_bytes(self) -> int:
        """Return how large a request may be: a message of the largest size in base64, and what stands around it."""
        return self.settings.max_message_bytes * 4 // 3 + OVERHEAD_BYTES

    @property
    def directory(self) -> Directory:
        """Return the way to tenants and their credentials."""
        return self.using.directory

    @property
    def messages(self) -> Messages:
        """Return the messages of all servers."""
        return self.using.messages

    @property
    def events(self) -> Events:
        """Return what happened to the messages of all servers."""
        return Events(self.stores.records)
