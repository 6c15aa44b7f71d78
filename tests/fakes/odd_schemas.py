"""Any JSON Schema a client could send, the senseless ones included."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "type", "properties", "$ref", "enum", "items"]
WORDS = ["string", "number", "integer", "boolean", "array", "object", "null", "STRING", "any", "", 5]
REFS = [
    "#",
    "#/$defs/n",
    "#/$defs/m",
    "#/definitions/n",
    "#/definitions/o~1p",
    "#/properties/a",
    "#/$defs/n/properties/a",
]
REFS += ["#anchor", "https://example.test/x.json", "#/nowhere", "m", "#/allOf/0", "#/$defs/%6e", 7]

odd = st.sampled_from([None, True, False, 0, -1, 2.5, 1e300, 2**70, "x", "3", [], {}, ["a", 1], {"a": 1}])
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 2.5, "", "a", "b", "1"])


@cache
def keywords(depth: int) -> dict[str, st.SearchStrategy[Any]]:
    """Each keyword with a strategy of plausible values, and now and then one of no use."""
    inner = nodes(depth - 1) if depth else st.just({"type": "string"})
    below = st.one_of(inner, st.booleans())
    maps = st.dictionaries(st.sampled_from(NAMES), below, max_size=3)
    lists = st.lists(below, max_size=3)
    figures = st.sampled_from([0, 1, 3, 2.5, -4, True, "2", 2**64, float(10**18)])
    known: dict[str, st.SearchStrategy[Any]] = {
        "type": st.one_of(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), max_size=3)),
        "properties": maps,
        "required": st.lists(st.sampled_from(NAMES), max_size=3),
        "additionalProperties": below,
        "patternProperties": maps,
        "propertyOrdering": st.lists(st.sampled_from(NAMES), max_size=3),
        "items": st.one_of(below, lists),
        "prefixItems": lists,
        "enum": st.lists(st.one_of(scalars, st.just({"a": 1}), st.just([1])), max_size=4),
        "const": scalars,
        "anyOf": lists,
        "oneOf": lists,
        "allOf": lists,
        "not": below,
        "if": below,
        "$ref": st.sampled_from(REFS),
        "$anchor": st.just("anchor"),
        "nullable": st.booleans(),
        "title": st.sampled_from(["T", ""]),
        "description": st.sampled_from(["Says something.", ""]),
        "default": scalars,
        "format": st.sampled_from(["date-time", "uuid", "int32", "double"]),
        "minimum": figures,
        "maximum": figures,
        "exclusiveMinimum": figures,
        "exclusiveMaximum": figures,
        "multipleOf": figures,
        "minItems": figures,
        "maxItems": figures,
        "minLength": figures,
        "pattern": st.just("^a+$"),
        "uniqueItems": st.booleans(),
        "x-secret\r\n": odd,
    }
    return {key: st.one_of(*[plausible] * 7, odd) for key, plausible in known.items()}


@st.composite
def nodes(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    known = keywords(depth)
    chosen = draw(st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True))
    return {key: draw(known[key]) for key in chosen}


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    root = draw(nodes(2))
    if draw(st.booleans()):
        root["$defs"] = {name: draw(nodes(1)) for name in ("n", "m")}
    if draw(st.booleans()):
        root["definitions"] = {name: draw(nodes(1)) for name in ("n", "o/p")}
    return root
