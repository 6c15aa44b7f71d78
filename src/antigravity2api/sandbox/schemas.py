"""Schemas in requests: Google's own subset (``parameters``, ``responseSchema``) and JSON Schema, with their limits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from antigravity2api.sandbox.google import Json, bad

MAX_DEPTH = 32
_JSON_TYPES = frozenset("string number integer boolean array object null".split())
_SHAPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("properties", "$defs", "definitions", "patternProperties"), (dict,)),
        **dict.fromkeys(("enum", "required", "anyOf", "oneOf", "allOf", "prefixItems", "propertyOrdering"), (list,)),
        **dict.fromkeys(("items", "additionalProperties"), (dict, bool)),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), (int, float)),
        **dict.fromkeys(
            ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), (int, float)
        ),
        **dict.fromkeys(("format", "pattern", "title", "description", "$ref"), (str,)),
    }
)
"""What each keyword of JSON Schema holds."""


def check_openapi(schema: Json, path: str, *, top_object: bool = False) -> None:
    """The ``Schema`` message beyond what its field list says. ``path`` is Google's, for the message."""
    if top_object and schema.get("type", "OBJECT") != "OBJECT":
        raise bad(f"* {path}: parameters schema should be of type OBJECT.\n")
    _check_openapi(schema, path, 0)


def _check_openapi(schema: Json, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise bad(f"* {path}: maximum schema depth exceeded\n")
    _check_kind(schema, path)
    properties: Json = schema.get("properties") or {}
    for key, spelled in (("required", "required"), ("propertyOrdering", "property_ordering")):
        for index, name in enumerate(schema.get(key) or []):
            if name not in properties:
                raise bad(f"* {path}.{spelled}[{index}]: property is not defined\n")
    if "items" in schema:
        _check_openapi(schema["items"], f"{path}.items", depth + 1)
    for name, below in properties.items():
        _check_openapi(below, f"{path}.properties[{name}]", depth + 1)
    for index, below in enumerate(schema.get("anyOf") or []):
        _check_openapi(below, f"{path}.any_of[{index}]", depth + 1)


def _check_kind(schema: Json, path: str) -> None:
    """Keywords that only one type may have."""
    kind = schema.get("type")
    enum = schema.get("enum") or []
    for key, only in (("enum", "STRING"), ("properties", "OBJECT"), ("items", "ARRAY")):
        if schema.get(key) and kind not in (None, only):
            raise bad(f"* {path}.{key}: only allowed for {only} type\n")
    if "" in enum:
        raise bad(f"* {path}.enum[{enum.index('')}]: cannot be empty\n")
    if kind == "ARRAY" and "items" not in schema:
        raise bad(f"* {path}.items: missing field.\n")


def check_json(schema: Any, path: str, *, top_object: bool = False) -> None:
    """JSON Schema: free keywords, but known types, references that resolve, bare ``$ref`` and a limit to its depth."""
    if not isinstance(schema, dict):
        raise bad(f"* {path}: schema must be a JSON object.\n")
    if top_object and schema.get("type", "object") != "object" and "$ref" not in schema:
        raise bad(f"* {path}: parameters schema should be of type OBJECT.\n")
    _check_json(schema, path, 0, schema)


def _check_json(schema: Any, path: str, depth: int, root: Json) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise bad(f"* {path}: schema must be a JSON object.\n")
    if depth > MAX_DEPTH:
        raise bad(f"* {path}: maximum schema depth exceeded\n")
    if "$ref" in schema:
        siblings = [key for key in schema if not key.startswith("$")]
        if siblings:
            raise bad(f"* {path}: `$ref` cannot stand beside `{siblings[0]}`; only keys that start with `$` may.\n")
        if resolve(schema["$ref"], root) is None:
            raise bad(f"* {path}: reference to undefined schema at {schema['$ref']}\n")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _JSON_TYPES:
            raise bad(f"* {path}.type: unknown type {kind!r}\n")
    for key, shape in _SHAPES.items():
        value = schema.get(key)
        if key in schema and (not isinstance(value, shape) or (isinstance(value, bool) and bool not in shape)):
            raise bad(f"* {path}.{key}: invalid value\n")
    if not all(isinstance(name, str) for name in schema.get("required", [])):
        raise bad(f"* {path}.required: must be a list of names\n")
    for name, below in _below(schema):
        _check_json(below, f"{path}.{name}", depth + 1, root)


def _below(schema: Json) -> list[tuple[str, Any]]:
    """The schemas directly inside this one."""
    found: list[tuple[str, Any]] = []
    for key in ("properties", "$defs", "definitions"):
        inner = schema.get(key)
        if isinstance(inner, dict):
            found += [(f"{key}[{name}]", below) for name, below in inner.items()]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found.append((key, schema[key]))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner = schema.get(key)
        if isinstance(inner, list):
            found += [(f"{key}[{index}]", below) for index, below in enumerate(inner)]
    return found


def resolve(ref: Any, root: Json) -> Json | None:
    """The schema that a local reference (``#``, ``#/$defs/Name``) points to."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    value: Any = root
    for step in ref[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None
