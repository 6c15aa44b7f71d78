"""Any JSON Schema, however odd, becomes what its target accepts; compiling twice changes nothing more."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.schema import Target, compile_parameters, compile_response, restore_args
from fakes.odd_schemas import NAMES, odd, scalars, schemas

# -- strict readers, written from Google's reference and not from the compiler ---------------------------------------

JSON_KEYS = {
    "$defs", "$ref", "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems",
    "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering",
}  # fmt: skip
OPEN_KEYS = {
    "type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties",
    "required", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "minimum", "maximum", "anyOf",
    "propertyOrdering",
}  # fmt: skip
BARE_KEYS = {"type", "description", "nullable", "enum", "items", "properties", "required"}
FORMATS = {
    "STRING": {"date-time", "date", "email", "byte", "enum"},
    "NUMBER": {"float", "double"},
    "INTEGER": {"int32", "int64"},
}


def accept_json_schema(node: Any, definitions: dict[str, Any], *, root: bool = False) -> None:
    assert isinstance(node, dict)
    assert node.keys() <= JSON_KEYS, node.keys() - JSON_KEYS
    assert root or "$defs" not in node
    if "$ref" in node:
        assert node.keys() == {"$ref"}
        name = node["$ref"].removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        assert name in definitions
        return
    words = node.get("type", [])
    words = [words] if isinstance(words, str) else words
    assert set(words) <= {"string", "number", "integer", "boolean", "array", "object", "null"}
    for key in ("title", "description", "format"):
        assert isinstance(node.get(key, "x"), str)
        assert node.get(key, "x")
    for value in node.get("enum", ["x"]):
        assert isinstance(value, str | int | float)
        assert not isinstance(value, bool)
        assert value != ""
    assert node.get("enum", ["x"])
    accept_numbers(node)
    for key in ("anyOf", "oneOf", "prefixItems"):
        assert node.get(key, ["x"])
        for branch in node.get(key, []):
            accept_json_schema(branch, definitions)
    for below in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])):
        accept_json_schema(below, definitions)
    further = node.get("additionalProperties", True)
    if not isinstance(further, bool):
        accept_json_schema(further, definitions)
    accept_names(node)


def accept_openapi(node: Any, *, bare: bool, root: bool = False) -> None:
    assert isinstance(node, dict)
    keys = BARE_KEYS if bare else OPEN_KEYS
    assert node.keys() <= keys, node.keys() - keys
    assert isinstance(node.get("nullable", True), bool)
    if "anyOf" in node:
        assert node.keys() <= {"anyOf", "title", "description", "nullable"}
        assert len(node["anyOf"]) > 1
        for branch in node["anyOf"]:
            accept_openapi(branch, bare=bare)
        return
    kind = node["type"]
    assert kind in {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"}
    if "enum" in node:
        assert kind == "STRING"
        assert node["enum"]
        assert all(isinstance(value, str) and value for value in node["enum"])
    assert ("items" in node) == (kind == "ARRAY")
    assert kind == "OBJECT" or not node.keys() & {"properties", "required", "minProperties", "maxProperties"}
    assert kind == "STRING" or not node.keys() & {"minLength", "maxLength", "pattern"}
    assert kind in {"NUMBER", "INTEGER"} or not node.keys() & {"minimum", "maximum"}
    if "format" in node:
        assert node["format"] in FORMATS[kind]
    accept_numbers(node)
    if "items" in node:
        accept_openapi(node["items"], bare=bare)
    assert node.get("properties", {"x": 1})
    for below in node.get("properties", {}).values():
        accept_openapi(below, bare=bare)
    assert not bare or kind != "OBJECT" or root or node["properties"]
    accept_names(node)


def accept_numbers(node: dict[str, Any]) -> None:
    for key in ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"):
        if key in node:
            assert isinstance(node[key], int)
            assert not isinstance(node[key], bool)
            assert 0 <= node[key] < 2**63
    for key in ("minimum", "maximum"):
        if key in node:
            assert isinstance(node[key], int | float)
            assert not isinstance(node[key], bool)


def accept_names(node: dict[str, Any]) -> None:
    for key in ("required", "propertyOrdering"):
        if key in node:
            assert node[key]
            assert len(set(node[key])) == len(node[key])
            assert set(node[key]) <= node["properties"].keys()


def tight_references(node: dict[str, Any]) -> set[str]:
    """References that a node holds outside of any property that is not required."""
    if "$ref" in node:
        return {node["$ref"].removeprefix("#/$defs/")}
    found: set[str] = set()
    for key in ("anyOf", "oneOf", "prefixItems"):
        for branch in node.get(key, []):
            found |= tight_references(branch)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            found |= tight_references(node[key])
    for name in node.get("required", []):
        found |= tight_references(node["properties"][name])
    return found


def accept_recursion(definitions: dict[str, Any]) -> None:
    """Google: recursive references only inside properties that are not required."""
    edges = {name.replace("~", "~0").replace("/", "~1"): tight_references(node) for name, node in definitions.items()}
    while True:
        leaves = {name for name, targets in edges.items() if not targets & edges.keys()}
        if not leaves:
            break
        edges = {name: targets for name, targets in edges.items() if name not in leaves}
    assert not edges


def accept(schema: dict[str, Any], target: Target) -> None:
    orjson.dumps(schema)
    if target is Target.JSON_SCHEMA:
        definitions = schema.get("$defs", {})
        accept_json_schema(schema, definitions, root=True)
        for node in definitions.values():
            accept_json_schema(node, definitions)
        accept_recursion(definitions)
    else:
        accept_openapi(schema, bare=target is Target.ANTIGRAVITY, root=True)


# -- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", list(Target))
@settings(max_examples=40, deadline=None)
@given(schema=schemas())
def test_parameters_become_an_object_that_the_target_accepts(target: Target, schema: dict[str, Any]) -> None:
    before = repr(schema)
    compiled = compile_parameters(schema, target)
    assert repr(schema) == before, "the client's schema was changed"
    assert all("\n" not in note and "secret" not in note for note in compiled.notes)
    if compiled.schema is None:
        assert target is not Target.ANTIGRAVITY
        return
    accept(compiled.schema, target)
    assert compiled.schema["type"] == ("object" if target is Target.JSON_SCHEMA else "OBJECT")
    assert compiled.schema.get("properties") or compiled.schema.get("additionalProperties")


@pytest.mark.parametrize("target", list(Target))
@settings(max_examples=40, deadline=None)
@given(schema=schemas())
def test_a_response_schema_is_accepted(target: Target, schema: dict[str, Any]) -> None:
    compiled = compile_response(schema, target)
    if compiled.schema is not None:
        if target is Target.ANTIGRAVITY:
            accept_openapi_without_filler(compiled.schema)
        else:
            accept(compiled.schema, target)


def accept_openapi_without_filler(node: dict[str, Any]) -> None:
    assert node.keys() <= BARE_KEYS
    for below in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])):
        accept_openapi_without_filler(below)


@pytest.mark.parametrize("target", list(Target))
@settings(max_examples=40, deadline=None)
@given(schema=schemas())
def test_compiling_twice_is_compiling_once(target: Target, schema: dict[str, Any]) -> None:
    for make in (compile_parameters, compile_response):
        once = make(schema, target).schema
        if once is not None:
            assert make(once, target).schema == once


@settings(max_examples=40, deadline=None)
@given(schema=st.one_of(odd, scalars), target=st.sampled_from(list(Target)))
def test_only_what_is_no_object_is_refused(schema: Any, target: Target) -> None:
    for make in (compile_parameters, compile_response):
        if schema is None or isinstance(schema, dict):
            make(schema, target)
        else:
            with pytest.raises(Fault) as caught:
                make(schema, target)
            assert caught.value.kind is Kind.INVALID_REQUEST


@settings(max_examples=40, deadline=None)
@given(schema=schemas(), args=st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*NAMES, "value"]), inner, max_size=3))))  # fmt: skip
def test_arguments_are_restored_without_loss(schema: dict[str, Any], args: Any) -> None:
    restored = restore_args(args, schema)
    again = restore_args(restored, schema)
    assert again == restored
    if not (isinstance(args, dict) and args.keys() == {"value"}):
        assert shape(restored) == shape(args)


def shape(value: Any) -> Any:
    """The structure of a value with all scalars alike."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return None
