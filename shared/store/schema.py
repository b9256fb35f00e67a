"""The form of all records, as a number that the installation's item has."""

from shared.ports import Item, Records
from shared.store.items import number
from shared.store.keys import installation_key

RECORDS_SCHEMA = 1
"""A change that an older Edgepost would misread raises it.

It is checked wherever the installation is read: by ``serve``, ``node`` and ``initialize``
before they do anything, and by functions on AWS while they start.
"""


def schema_problem(item: Item | None) -> str:
    """Return why the records may not be used; empty if they may, or there are none yet."""
    # Stores of the first versions have no number; theirs is the first form.
    schema = number(item, "schema") if item and "schema" in item else 1
    if schema <= RECORDS_SCHEMA:
        return ""
    return (
        f"the records have schema version {schema}; this Edgepost knows versions up to {RECORDS_SCHEMA}:"
        " run the newer Edgepost that wrote them, or restore a backup"
    )


async def stored_schema_problem(records: Records) -> str:
    """Read the installation's item and return what ``schema_problem`` says of it."""
    return schema_problem(await records.get(installation_key()))
