"""What Lambda starts for the API: opens everything while it starts, when it has a whole processor."""

from functions.api import handler as function
from functions.api.wiring import services
from functions.starting import check_schema
from functions.telemetry import observed

handler = observed("api", function.handler)
check_schema(services().stores.records)
