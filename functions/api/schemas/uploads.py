"""What goes in and out of ``/api/v2/uploads``."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NewUpload(BaseModel):
    """What a client says of the bytes it will put."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size_bytes: int = Field(ge=1, le=2**40, description="Exact length of the JSON that will be put.")


class UploadPlace(BaseModel):
    """Where to put the bytes, and how to name them afterwards."""

    id: str = Field(description='Goes into the v1 call: `{"upload": "<id>"}`.')
    url: str = Field(description="Where to put the bytes; whoever has it may. Needs no API key.")
    method: Literal["PUT"] = "PUT"
    headers: Mapping[str, str] = Field(description="To be sent exactly so.")
    expires_at: datetime = Field(description="By then the bytes must be put and the v1 call made.")
    max_bytes: int = Field(description="The largest upload that this installation takes.")
