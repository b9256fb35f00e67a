"""Requests to DynamoDB, made and sent by PynamoDB's connection.

PynamoDB builds and sends the requests (``Connection.get_operation_kwargs`` and ``dispatch``);
its own wrappers for put and update are not used, because they cannot ask for the old item of
a failed condition, and their errors lose it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pynamodb.connection.base import Connection, MetaTable

from shared.adapters.aws.attributes import PARTITION, SORT
from shared.adapters.aws.calls import Calls
from shared.adapters.aws.session import Clients
from shared.ports import Key


class _Connection(Connection):
    """PynamoDB's connection on a client of ours, with our time limits and name."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    @property
    def client(self) -> Any:  # noqa: ANN401  # botocore has no types
        """The client, made at the first call."""
        return self._clients.dynamodb


class DynamoDB:
    """The tables of one installation, as one caller uses them."""

    def __init__(self, clients: Clients, calls: Calls) -> None:
        self._connection = _Connection(clients)
        self.calls = calls

    def add_table(self, name: str, *, sort: bool) -> None:
        """Say what the table's keys are; nothing is asked from DynamoDB."""
        names = {PARTITION: "HASH"} | ({SORT: "RANGE"} if sort else {})
        self._connection.add_meta_table(
            MetaTable(
                {
                    "TableName": name,
                    "KeySchema": [{"AttributeName": each, "KeyType": kind} for each, kind in names.items()],
                    "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in names],
                }
            )
        )

    # Any: requests and answers are the JSON of DynamoDB's API reference.

    def arguments(self, table: str, key: Key | str, /, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the request that PynamoDB makes of these parts; see ``Connection.get_operation_kwargs``."""
        partition, sort = (key, None) if isinstance(key, str) else key
        return self._connection.get_operation_kwargs(table, partition, sort, **parts)

    async def call(self, operation: str, arguments: Mapping[str, Any], *, repeatable: bool = True) -> dict[str, Any]:
        """Return DynamoDB's answer to a request.

        Raises: like ``Calls.attempt``.
        """
        # A copy: PynamoDB adds to what it sends.
        send = partial(self._connection.dispatch, operation, dict(arguments))
        return await self.calls.attempt(operation, partial(self.calls.threads.run, send), repeatable=repeatable)
