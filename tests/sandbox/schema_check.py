"""A small reading of JSON Schema and of Google's Schema, to check made values with."""

import re
from typing import Any


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    """Whether ``value`` validates."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].split("/")[1:]:
            target = target[step]
        return fits(value, target, root)
    if value is None and schema.get("nullable"):
        return True
    checks = (
        "enum" not in schema or value in schema["enum"],
        "const" not in schema or value == schema["const"],
        "anyOf" not in schema or any(fits(value, option, root) for option in schema["anyOf"]),
        "oneOf" not in schema or any(fits(value, option, root) for option in schema["oneOf"]),
        all(fits(value, option, root) for option in schema.get("allOf", [])),
        _typed(value, schema.get("type")),
        _sized(value, schema),
        _filled(value, schema, root),
    )
    return all(checks)


def _typed(value: Any, kinds: Any) -> bool:
    if kinds is None:
        return True
    listed = [kind.lower() for kind in (kinds if isinstance(kinds, list) else [kinds])]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    found = {
        "string": isinstance(value, str),
        "number": number,
        "integer": number and float(value).is_integer(),
        "boolean": isinstance(value, bool),
        "null": value is None,
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    return any(found[kind] for kind in listed)


def _sized(value: Any, schema: Any) -> bool:
    if isinstance(value, str):
        return int(schema.get("minLength", 0)) <= len(value) <= int(schema.get("maxLength", 10**9)) and (
            "pattern" not in schema or re.search(schema["pattern"], value) is not None
        )
    if isinstance(value, list):
        return int(schema.get("minItems", 0)) <= len(value) <= int(schema.get("maxItems", 10**9))
    if isinstance(value, int | float) and not isinstance(value, bool):
        step = schema.get("multipleOf")
        return (
            schema.get("minimum", -1e99) <= value <= schema.get("maximum", 1e99)
            and schema.get("exclusiveMinimum", -1e99) < value < schema.get("exclusiveMaximum", 1e99)
            and (step is None or abs(value / step - round(value / step)) < 1e-9)
        )
    return True


def _filled(value: Any, schema: Any, root: Any) -> bool:
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        return all(fits(item, first[at] if at < len(first) else rest, root) for at, item in enumerate(value))
    if not isinstance(value, dict):
        return True
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
    return (
        all(name in value for name in schema.get("required", []))
        and len(value) >= int(schema.get("minProperties", 0))
        and all(fits(item, properties.get(name, extra), root) for name, item in value.items())
    )
