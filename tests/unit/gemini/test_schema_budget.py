"""Schemas made to grow: what a request costs is bounded by what it sends, and nothing is refused for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from antigravity2api.gemini.schema import (
    Budget,
    SchemaCache,
    Target,
    compile_parameters,
    compile_response,
    restore_args,
)
from antigravity2api.gemini.schema_budget import REQUEST_COPIES, REQUEST_NODES, SCHEMA_COPIES

Schema = dict[str, Any]
A, B, C = Target.JSON_SCHEMA, Target.OPENAPI, Target.ANTIGRAVITY
TEXT = {"type": "string"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def chain(make: Callable[[Schema], Schema], links: int = 30) -> Schema:
    """Definitions of which each brings in the next one, several times."""
    definitions = {f"d{index}": make(ref(f"d{index + 1}")) for index in range(links)}
    return {"type": "object", "properties": {"x": ref("d0")}, "$defs": {**definitions, f"d{links}": TEXT}}


def clique(make: Callable[[list[Schema]], Schema], size: int = 25) -> Schema:
    """Definitions of which each brings in all."""
    every = [ref(f"d{index}") for index in range(size)]
    return {
        "type": "object",
        "properties": {"x": ref("d0")},
        "$defs": {f"d{index}": make(every) for index in range(size)},
    }


def named(nodes: list[Schema]) -> Schema:
    return {f"p{index}": node for index, node in enumerate(nodes)}


def holding(node: Any, **definitions: Schema) -> Schema:
    return {"type": "object", "properties": {"x": node}, "$defs": definitions}


WIDE: Schema = {"properties": {f"a{index}": {} for index in range(600)}}
WORDS: Schema = {"enum": [f"w{index}" for index in range(1500)]}
GROWING: dict[str, Schema] = {
    "properties": chain(lambda below: {"properties": {"a": below, "b": below}}),
    "at many depths": chain(lambda below: {"properties": {"a": below, "b": {"properties": {"c": below}}}}, 50),
    "described": chain(lambda below: {"properties": {"a": {**below, "description": "x"}, "b": below}}),
    "allOf": chain(lambda below: {"allOf": [below, below]}),
    "allOf and properties": chain(
        lambda below: {"allOf": [below, below], "properties": {"q": {"type": "string", "description": str(below)}}}
    ),
    "allOf and items": chain(
        lambda below: {"allOf": [below, below], "properties": {"z": {"items": below}, "d": {"title": str(below)}}}
    ),
    "allOf inside": chain(lambda below: {"properties": {"a": {"allOf": [below, {"properties": {"a": below}}]}}}),
    "anyOf": chain(lambda below: {"anyOf": [below, {"items": below}]}),
    "anyOf and properties": chain(
        lambda below: {"properties": {"q": below}, "anyOf": [below, {"properties": {"y": below}}, {"type": "null"}]}
    ),
    "prefixItems": chain(lambda below: {"prefixItems": [below, below, {"prefixItems": [below]}]}),
    "maps": chain(lambda below: {"additionalProperties": {"anyOf": [below, {"additionalProperties": below}]}}),
    "patterns": chain(lambda below: {"patternProperties": {"a": below, "b": below}}),
    "pointers": {
        "type": "object",
        "properties": {
            f"p{index}": {"properties": {name: {"$ref": f"#/properties/p{index + 1}"} for name in "ab"}}
            for index in range(30)
        },
    },
    "recursions": clique(lambda every: {"properties": named(every)}),
    "recursions in allOf": clique(lambda every: {"allOf": every}),
    "recursions in anyOf": clique(lambda every: {"anyOf": [*every, TEXT]}),
    "wide merge": holding({"allOf": [ref("b"), ref("c")] * 300}, b=WIDE, c={"properties": {"a1": TEXT}}),
    "wide merges": holding(
        {"allOf": [{"allOf": [ref(name)], "title": str(index)} for index in range(300) for name in "bc"]},
        b=WIDE,
        c={"properties": dict.fromkeys(WIDE["properties"], TEXT)},
    ),
    "wide union": holding({**WIDE, "anyOf": [{"type": "object", "title": str(index)} for index in range(400)]}),
    "union of wide": holding({"anyOf": [{"allOf": [ref("b")], "title": str(n)} for n in range(400)]}, b=WIDE),
    "members": {"type": "object", "properties": named([ref("b")] * 600), "$defs": {"b": WORDS}},
    "merged members": holding({"allOf": [{"allOf": [ref("b")], "title": str(n)} for n in range(600)]}, b=WORDS),
    "texts": {"type": "object", "properties": named([ref("b")] * 700), "$defs": {"b": {"description": "d" * 9000}}},
    "types": {
        "type": "object",
        "properties": named([{"type": ["string", "array"], "items": {"anyOf": [ref("b"), {"items": ref("b")}]}}] * 99),
        "$defs": {"b": {"properties": {f"a{index}": {"type": ["string", "array"]} for index in range(99)}}},
    },
    "large equals": holding(
        {"allOf": [{"allOf": [ref(name)], "title": str(index)} for index in range(200) for name in "bc"]},
        b={"properties": {"a": {"properties": {f"a{index}": {"minLength": 1} for index in range(400)}}}},
        c={"properties": {"a": {"properties": {f"a{index}": {"minLength": 1} for index in range(400)}}}},
    ),
    "itself": {
        "allOf": [{"$ref": "#"}, {"$ref": "#"}, {"properties": {"a": {"$ref": "#"}, "b": {"allOf": [{"$ref": "#"}]}}}]
    },
}  # fmt: skip


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("name", GROWING)
def test_a_growing_schema_costs_little_and_is_never_refused(name: str, target: Target) -> None:
    budget = Budget()
    compiled = compile_parameters(GROWING[name], target, budget)
    compile_response(GROWING[name], target)
    assert REQUEST_COPIES - budget.copies <= SCHEMA_COPIES
    assert budget.nodes >= 0
    text = orjson.dumps(compiled.schema)
    assert len(text) < 3_000_000
    assert depth(compiled.schema) < 140
    if compiled.schema is not None:
        assert compiled.schema["type"] in ("object", "OBJECT")


@pytest.mark.parametrize("target", list(Target))
def test_the_tools_of_a_request_share_one_budget(target: Target) -> None:
    budget = Budget()
    notes = [
        compile_parameters({**GROWING[name], "title": str(index)}, target, budget).notes
        for index in range(2)
        for name in GROWING
    ]
    assert budget.nodes >= 0
    assert budget.copies >= 0
    assert ("size",) in {tuple(note for note in each if note == "size") for each in notes}


@pytest.mark.parametrize("target", list(Target))
def test_beyond_the_budget_types_are_still_told(target: Target) -> None:
    schema = {
        "type": "object",
        "properties": {
            "s": {"type": "string", "minLength": 2},
            "o": {"properties": {"a": TEXT}},
            "l": {"type": "array", "items": TEXT},
            "r": ref("n"),
            "u": {"anyOf": [TEXT, {"type": "integer"}]},
        },
        "required": ["s"],
        "$defs": {"n": {"type": "integer", "minimum": 1}},
    }
    compiled = compile_parameters(schema, target, Budget(nodes=0))
    assert compiled.notes == ("size",)
    assert compiled.schema is not None
    made = compiled.schema["properties"]
    kinds = {name: str(node.get("type", "any")).lower() for name, node in made.items()}
    assert kinds == {
        "s": "string",
        "o": "object",
        "l": "array",
        "r": "any" if target is A else "integer",
        "u": "any" if target is A else "string",
    }
    assert target is not A or compiled.schema["$defs"]["n"] == {"type": "integer"}
    assert compiled.schema["required"] == ["s"]
    assert target is not C or made["o"]["properties"], "an object without properties is refused there"


def test_a_schema_of_many_nodes_is_loosened_where_the_budget_ends() -> None:
    wide = {
        "type": "object",
        "properties": {f"p{n}": {"type": "string", "minLength": 1} for n in range(REQUEST_NODES + 5)},
    }
    compiled = compile_parameters(wide, B)
    assert compiled.notes == ("size",)
    assert compiled.schema is not None
    made = list(compiled.schema["properties"].values())
    assert made[0] == {"type": "STRING", "minLength": 1}
    assert made[-1] == {"type": "STRING"}
    assert len(made) == REQUEST_NODES + 5


def test_large_plain_schemas_are_not_cut() -> None:
    inner = {"type": "object", "properties": {f"b{n}": {"type": "string", "format": "date"} for n in range(99)}}
    schema = {
        "type": "object",
        "properties": {f"a{n}": ref(f"d{n}") for n in range(60)},
        "$defs": {f"d{n}": {**inner, "title": str(n)} for n in range(60)},
    }
    for target in Target:
        compiled = compile_parameters(schema, target)
        assert "size" not in compiled.notes
        assert orjson.dumps(compiled.schema).count(b"date") == 60 * 99


def test_what_is_reused_reads_as_if_it_were_written_anew() -> None:
    leaf = {"type": "object", "properties": {"e": {"enum": [1, 2]}, "o": {"type": "object"}}}
    schema = {
        "type": "object",
        "properties": {"a": ref("n"), "b": ref("n"), "c": {"items": ref("n")}},
        "$defs": {"n": leaf},
    }
    spelled = {"type": "object", "properties": {"a": leaf, "b": leaf, "c": {"items": leaf}}}
    for target in (B, C):
        assert compile_parameters(schema, target) == compile_parameters(spelled, target)
    described = {
        "type": "object",
        "properties": {"m": {"additionalProperties": ref("n")}, "a": ref("n")},
        "$defs": {"n": leaf},
    }
    assert compile_parameters(described, C).placeholder
    assert compile_parameters(described, C).converted


def test_a_property_called_like_a_keyword_hides_no_recursion() -> None:
    for word in ("default", "enum", "$defs", "const", "examples"):
        loop = {"type": "object", "properties": {word: ref("n"), "b": {"allOf": [ref("n"), ref("n")]}}}
        compiled = compile_parameters({**holding(ref("n")), "$defs": {"n": loop}}, B)
        assert b"recursive: n" in orjson.dumps(compiled.schema)
        assert len(orjson.dumps(compiled.schema)) < 5_000


# -- the memory and the budget


def test_a_hit_takes_as_much_from_the_budget_as_compiling() -> None:
    cache = SchemaCache()
    for schema in (GROWING["recursions"], GROWING["properties"], {"type": "object", "properties": {"a": TEXT}}):
        first, second = Budget(), Budget()
        compiled = cache.compile(schema, "parameters", B, first)
        assert cache.compile(schema, "parameters", B, second) is compiled
        assert (first.nodes, first.copies) == (second.nodes, second.copies)


def test_what_comes_from_memory_is_what_computing_gives() -> None:
    cache = SchemaCache()
    tools = [
        {**GROWING[name], "title": str(index)} for index in range(6) for name in ("recursions", "properties", "types")
    ]
    for order in (tools, tools, tools[::-1], tools[5:], tools):
        fresh, remembered = Budget(), Budget()
        for tool in order:
            expected = compile_parameters(tool, B, fresh)
            assert cache.compile(tool, "parameters", B, remembered) == expected
            assert (fresh.nodes, fresh.copies) == (remembered.nodes, remembered.copies)


def test_a_request_that_was_cut_is_remembered_as_well() -> None:
    cache = SchemaCache()
    tools = [{**GROWING["recursions"], "title": str(index)} for index in range(6)]
    turns = []
    for _ in range(2):
        budget = Budget()
        turns.append([cache.compile(tool, "parameters", B, budget) for tool in tools])
    assert all(one is other for one, other in zip(*turns, strict=True))
    assert len(cache) == 6


def test_what_is_remembered_equals_what_is_computed() -> None:
    schema = {"type": "object", "properties": {"a": TEXT}}
    cache = SchemaCache()
    assert cache.compile(schema, "parameters", B, Budget()) == compile_parameters(schema, B)
    assert cache.compile(schema, "parameters", B) is cache.compile(schema, "parameters", B)


def test_whether_arguments_were_wrapped_is_found_without_compiling_objects() -> None:
    hostile = {**GROWING["recursions"]}
    for _ in range(200):
        assert restore_args({"value": 1.0}, {**hostile, "properties": {"value": {"type": "integer"}}}) == {"value": 1}
    assert restore_args({"value": 1.0}, {"type": "integer"}) == 1
