"""What Lambda starts for the every-minute function: opens everything while it starts, when it has a whole processor."""

from functions.scheduled import handler as function
from functions.scheduled.wiring import services
from functions.starting import check_schema
from functions.telemetry import observed, of_minute

handler = observed("scheduled", function.handler, figures=of_minute)
check_schema(services().records)
