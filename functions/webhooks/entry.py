"""What Lambda starts for the webhooks consumer: opens everything while it starts, when it has a whole processor."""

from functions.starting import check_schema
from functions.telemetry import observed, of_batch
from functions.webhooks import handler as function
from functions.webhooks.wiring import services

handler = observed("webhooks", function.handler, figures=of_batch)
check_schema(services().outward.stores.records)
