"""What the API needs to answer a request, opened once by ``wiring.py``."""

from dataclasses import dataclass

from shared.flow.accept import Acceptance
from shared.ports import Clock, Stores
from shared.settings import Settings
from shared.store.directory import Directory
from shared.store.messages import Messages


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the doors of the API."""

    settings: Settings
    using: Acceptance
    directory: Directory
    messages: Messages
    stores: Stores
    clock: Clock
