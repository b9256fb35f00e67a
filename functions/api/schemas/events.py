"""What the event log answers."""

from typing import Annotated, Any

from pydantic import BaseModel, Field


class EventEnvelope(BaseModel):
    """One event, as webhooks of our own dialect carry it."""

    event: Annotated[str, Field(description="Its name, such as MessageDelivered.")]
    timestamp: Annotated[float, Field(description="When it happened, in seconds since 1970.")]
    # Any: each event has a payload of its own, see /api/v2/events/schemas.
    payload: dict[str, Any]
    uuid: Annotated[str, Field(description="The same wherever and however often it is told.")]


class EventPage(BaseModel):
    """Some events in the order of recording."""

    events: list[EventEnvelope]
    cursor: Annotated[str, Field(description="Where the next page begins; good for as long as events are kept.")]
    more: Annotated[bool, Field(description="Whether the next page may have something at once.")]
