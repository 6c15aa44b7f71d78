"""Schemas as the sandbox's strict checks and a validator of its own take them, and values made from them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
from hypothesis import strategies as st

from antigravity2api.gemini.schema import Target
from antigravity2api.sandbox import proto
from antigravity2api.sandbox.messages import CODE_ASSIST, GEMINI
from antigravity2api.sandbox.schemas import check_json, check_openapi

TOOLS = Path(__file__).parent.parent / "data" / "tools"
SURFACES = ("gemini json", "gemini openapi", "antigravity", "claude")
"""Where a schema can go, in the words of the tests."""
TARGET_OF = {
    "gemini json": Target.JSON_SCHEMA,
    "gemini openapi": Target.OPENAPI,
    "antigravity": Target.OPENAPI,
    "claude": Target.ANTIGRAVITY,
}


class Tool(NamedTuple):
    """One tool of the corpus, with arguments that fit and arguments that do not."""

    name: str
    parameters: dict[str, Any]
    samples: list[Any]
    wrong: list[Any]


@cache
def corpus() -> dict[str, list[Tool]]:
    """The tools of every server."""
    return {
        path.stem: [Tool(**tool) for tool in json.loads(path.read_text("utf-8"))["tools"]]
        for path in sorted(TOOLS.glob("*.json"))
    }


def accept(schema: dict[str, Any] | None, surface: str) -> None:
    """Raises the upstream's refusal, as the sandbox words it."""
    if schema is None:
        assert surface != "claude", "an object with at least one property is wanted there"
        return
    target = TARGET_OF[surface]
    if target is Target.JSON_SCHEMA:
        check_json(schema, "parameters_json_schema", top_object=True)
        return
    request = {"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]}
    if surface == "gemini openapi":
        read = proto.check(request, "GenerateContentRequest", GEMINI)
    else:
        read = proto.check({"model": "m", "request": request}, "Envelope", CODE_ASSIST)["request"]
    parameters = read["tools"][0]["functionDeclarations"][0]["parameters"]
    check_openapi(parameters, "parameters", top_object=True)
    if surface == "claude":
        assert parameters.get("properties"), "object schema needs at least one property"


def judge(schema: dict[str, Any]) -> Any:
    """A validator of the schema as it stands, in the draft that it names, or that knows its words."""
    try:
        return jsonschema_rs.validator_for(schema, offline=True, validate_formats=False)
    except ValueError:
        return jsonschema_rs.Draft7Validator(schema, offline=True, validate_formats=False)


def as_json_schema(node: dict[str, Any]) -> dict[str, Any]:
    """Google's ``Schema`` message in the words of JSON Schema."""
    out = {key: value for key, value in node.items() if key not in ("type", "nullable", "properties", "items", "anyOf")}
    if "type" in node:
        word = node["type"].lower()
        out["type"] = [word, "null"] if node.get("nullable") else word
        if node.get("nullable") and "enum" in out:
            out["enum"] = [*out["enum"], None]
    if "properties" in node:
        out["properties"] = {name: as_json_schema(below) for name, below in node["properties"].items()}
    if "items" in node:
        out["items"] = as_json_schema(node["items"])
    if "anyOf" in node:
        out["anyOf"] = [as_json_schema(branch) for branch in node["anyOf"]]
        if node.get("nullable"):
            out["anyOf"].append({"type": "null"})
    return out


def values(schema: Any, root: dict[str, Any] | None = None, depth: int = 4) -> st.SearchStrategy[Any]:
    """Values that mostly fit a compiled schema (real JSON Schema, the keywords that it may have)."""
    if schema is True or schema == {}:
        return scalars
    if not isinstance(schema, dict):
        return st.nothing()
    root = schema if root is None else root
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        return values(root["$defs"][name], root, depth - 1) if depth else scalars
    for key in ("anyOf", "oneOf"):
        if key in schema:
            rest = {name: value for name, value in schema.items() if name not in (key, "$defs")}
            return st.one_of([values({**rest, **branch}, root, depth) for branch in schema[key]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    words = schema.get("type", ["object"] if "properties" in schema else ["string", "integer", "null"])
    return st.one_of([_of(word, schema, root, depth) for word in (words if isinstance(words, list) else [words])])


scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["", "a", "aa", "1", 2.5]))


def _of(word: str, schema: dict[str, Any], root: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", -9), schema.get("maximum", 9)
    match word:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(int(max(-99, low)), int(max(-99, low, min(99, high))))
        case "number":
            return st.sampled_from([0, 1, -4, 2.5, 3, *(edge for edge in (low, high) if abs(edge) < 10**15)])
        case "string":
            return st.sampled_from(["", "a", "aa", "1", "2025-01-01"])
        case "array":
            return _array(schema, root, depth)
    return _object(schema, root, depth)


def _array(schema: dict[str, Any], root: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if depth <= 0:
        return st.just([])
    first = [values(item, root, depth - 1) for item in schema.get("prefixItems", ())]
    rest = values(schema.get("items", True), root, depth - 1)
    low = min(schema.get("minItems", 0), 4)
    more = st.lists(rest, min_size=max(0, low - len(first)), max_size=max(2, low))
    return st.tuples(st.tuples(*first), more).map(lambda both: [*both[0], *both[1]])


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = [name for name in schema.get("required", ()) if name in properties]
    if depth <= 0:
        properties = {name: properties[name] for name in required}
    made = {name: values(below, root, depth - 1) for name, below in properties.items()}
    return st.fixed_dictionaries(
        {name: made[name] for name in required},
        optional={name: value for name, value in made.items() if name not in required},
    )
