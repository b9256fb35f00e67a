"""What Lambda starts for the inbound consumer: opens everything while it starts, when it has a whole processor."""

from functions.inbound import handler as function
from functions.inbound.wiring import services
from functions.starting import check_schema
from functions.telemetry import observed, of_batch

handler = observed("inbound", function.handler, figures=of_batch)
check_schema(services().outward.stores.records)
