"""As much of JSON Schema as our schemas use: enough to find a payload that does not keep to its own."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def problems(value: Any, schema: Mapping[str, Any], path: str = "$") -> Iterator[str]:
    """Yield a sentence for everything in the value that the schema does not allow.

    Raises:
        NotImplementedError: the schema uses a word that this does not know.
    """
    unknown = set(schema) - {
        *("$schema", "title", "description", "type", "properties", "required", "enum", "const"),
        *("additionalProperties", "maxLength", "format"),
    }
    if unknown:
        raise NotImplementedError(f"{unknown}")
    if "const" in schema and value != schema["const"]:
        yield f"{path} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {value!r}, none of {schema['enum']}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{path} is {value!r}, no {kinds}"
    if isinstance(value, str):
        yield from _of_text(value, schema, path)
    if isinstance(value, dict):
        yield from _of_object(value, schema, path)


def _of_text(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path} is too long"
    if schema.get("format") == "uuid" and str(uuid.UUID(value)) != value:
        yield f"{path} is no UUID"


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{path}.{name} is missing" for name in schema.get("required", []) if name not in value)
    if properties:
        yield from (f"{path}.{name} is in no schema" for name in value if name not in properties)
    for name, each in value.items():
        yield from problems(each, properties.get(name, schema.get("additionalProperties", {})), f"{path}.{name}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
