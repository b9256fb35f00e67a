"""What Lambda starts for the events consumer: opens everything while it starts, when it has a whole processor."""

from functions.events import handler as function
from functions.events.wiring import services
from functions.starting import check_schema
from functions.telemetry import observed, of_batch

handler = observed("events", function.handler, figures=of_batch)
check_schema(services().records)
