"""Reading single JSON Schema nodes: kinds, members, bounds, and merging what several nodes demand at once. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import orjson

KINDS = {
    "string": "string",
    "str": "string",
    "number": "number",
    "float": "number",
    "double": "number",
    "integer": "integer",
    "int": "integer",
    "boolean": "boolean",
    "bool": "boolean",
    "array": "array",
    "list": "array",
    "object": "object",
    "dict": "object",
    "null": "null",
    "none": "null",
}
"""Type words, also those that people take from programming languages."""

_SIGNS = (
    (
        "object",
        ("properties", "patternProperties", "additionalProperties", "minProperties", "maxProperties", "required"),
    ),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems")),
    ("string", ("pattern", "minLength", "maxLength")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)
_LISTS = frozenset({"required", "prefixItems", "enum", "propertyOrdering"})
_MAPS = frozenset({"properties", "patternProperties"})
EXCLUSIVE = ("exclusiveMinimum", "exclusiveMaximum")
_INT64 = 2**63 - 1
_LOOKED_AT = 64
"""Values that a comparison of two nodes looks at."""
_LONG_TEXT = 1_000


def kinds(node: dict[str, Any]) -> tuple[list[str], bool]:
    """The type words of a node without null, and whether null is one of several. Null alone is a kind."""
    said = node.get("type")
    if said is None:
        return [], False
    if isinstance(said, str):
        kind = KINDS.get(said) or KINDS.get(said.lower())
        return [kind] if kind else [], False
    words = said if isinstance(said, list) else [said]
    found: list[str] = []
    for word in words:
        kind = KINDS.get(word.lower()) if isinstance(word, str) else None
        if kind and kind not in found:
            found.append(kind)
    if found == ["null"]:
        return found, False
    return [kind for kind in found if kind != "null"], "null" in found


def implied(node: dict[str, Any]) -> str | None:
    """The type that the keywords of an untyped node speak of."""
    for kind, signs in _SIGNS:
        for sign in signs:
            if sign in node and (sign not in _LISTS or isinstance(node[sign], list)):
                return kind
    return None


def members(node: dict[str, Any]) -> list[Any] | None:
    """The values of ``const`` or ``enum``; None when there is neither."""
    if "const" in node:
        return [node["const"]]
    values = node.get("enum")
    return values if isinstance(values, list) and values else None


def sort_of(value: Any) -> str:
    """The type word of a JSON value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def distinct(values: Iterable[Any]) -> list[Any]:
    """The same values without repetitions; true and 1 are two."""
    seen: dict[str, Any] = {}
    for value in values:
        seen.setdefault(repr(value), value)
    return list(seen.values())


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, as far as a short look can tell: large ones are the same only as one object."""
    todo = [(one, other)]
    left = _LOOKED_AT
    while todo:
        first, second = todo.pop()
        if first is second:
            continue
        left -= 1
        if type(first) is not type(second) or not left:
            return False
        if isinstance(first, dict):
            if len(first) > left or first.keys() != second.keys():
                return False
            todo.extend((value, second[key]) for key, value in first.items())
        elif isinstance(first, list):
            if len(first) > left or len(first) != len(second):
                return False
            todo.extend(zip(first, second, strict=True))
        elif (isinstance(first, str) and len(first) > _LONG_TEXT) or first != second:
            return False
    return True


def distinct_nodes(nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes without repetitions; large ones are told apart as objects, so that nothing large is read twice."""
    seen: dict[str | int, dict[str, Any]] = {}
    for node in nodes:
        seen.setdefault(repr(node) if _is_small(node) else id(node), node)
    return list(seen.values())


def _is_small(node: dict[str, Any]) -> bool:
    todo: list[Any] = [node]
    left = _LOOKED_AT
    while todo:
        value = todo.pop()
        left -= 1
        if isinstance(value, str):
            if len(value) > _LONG_TEXT:
                return False
        elif isinstance(value, dict | list):
            if len(value) > left:
                return False
            todo.extend(value.values() if isinstance(value, dict) else value)
        if left < 0:
            return False
    return True


def distinct_objects(nodes: Iterable[Any]) -> list[Any]:
    """Each object once, where it stands last: merged in this order they say the same as with repetitions."""
    last = {id(node): node for node in reversed(list(nodes))}
    return list(reversed(last.values()))


def is_null(node: dict[str, Any]) -> bool:
    """Whether a node allows null and nothing else."""
    if kinds(node)[0] == ["null"]:
        return True
    values = members(node)
    return values is not None and all(value is None for value in values)


def is_object(node: dict[str, Any]) -> bool:
    """Whether a flat node allows objects and nothing else (null apart)."""
    found, _ = kinds(node)
    return found == ["object"] or (not found and implied(node) == "object" and members(node) is None)


def number(value: Any) -> int | float | None:
    """A finite number that JSON writers can write, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > _INT64:
        return float(value) if abs(value) < 10**300 else None
    return value if math.isfinite(value) else None


def count(value: Any) -> int | None:
    """A natural number of 63 bits, also as text (Google's form of 64-bit integers), or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _INT64 else None


def bounds(node: dict[str, Any], *, integer: bool) -> tuple[int | float | None, int | float | None]:
    """Lowest and highest value, exclusive ones (draft 4's booleans too) made inclusive; exactly so for integers."""
    low, high = number(node.get("minimum")), number(node.get("maximum"))
    below, above = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if below is True and low is not None and integer:
        low = math.floor(low) + 1
    elif (edge := number(below)) is not None:
        edge = math.floor(edge) + 1 if integer else edge
        low = edge if low is None else max(low, edge)
    if above is True and high is not None and integer:
        high = math.ceil(high) - 1
    elif (edge := number(above)) is not None:
        edge = math.ceil(edge) - 1 if integer else edge
        high = edge if high is None else min(high, edge)
    return number(low), number(high)


def names(value: Any) -> list[str]:
    """The strings of a list, each once."""
    return list(dict.fromkeys(entry for entry in value if isinstance(entry, str))) if isinstance(value, list) else []


def json_text(value: Any) -> str:
    """A value as compact JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


def merge(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One node that demands what all parts demand, as far as one node can say it; where not, the later part wins."""
    out: dict[str, Any] = {}
    ours: dict[int, list[Any]] = {}
    for part in parts:
        for key, value in part.items():
            if key in out:
                out[key] = _joined(key, out[key], value, ours)
            elif key in _MAPS and isinstance(value, dict):
                out[key] = dict(value)
            else:
                out[key] = list(value) if key == "required" and isinstance(value, list) else value
    return out


def merges_whole(parts: list[dict[str, Any]]) -> bool:
    """Whether one node can say all that the parts demand, as ``merge`` puts them together."""
    seen: dict[str, Any] = {}
    named = closed = False
    for part in parts:
        for key, value in part.items():
            if key in seen and key not in _HELD_TOGETHER and not same(seen[key], value):
                return False
            seen[key] = value
        named = named or isinstance(part.get("properties"), dict) or "patternProperties" in part
        closed = closed or part.get("additionalProperties", True) not in (True, {})
    return not (named and closed and len(parts) > 1) and not ("const" in seen and "enum" in seen)


_HELD_TOGETHER = frozenset({
    "title", "description", "default", "examples", "example", "$comment", "$schema", "required", "properties",
    "minimum", "minLength", "minItems", "minProperties", "maximum", "maxLength", "maxItems", "maxProperties",
})  # fmt: skip
"""Keywords that say nothing about values, or of which ``merge`` keeps what all parts demand."""


def _both(one: Any, other: Any, ours: dict[int, list[Any]]) -> Any:
    """A node that demands what two nodes demand. ``ours``: the lists of such nodes that this merge wrote."""
    if same(one, other):
        return one
    if id(one) in ours:
        ours[id(one)].append(other)
        return one
    made = {"allOf": [one, other]}
    ours[id(made)] = made["allOf"]
    return made


def _joined(key: str, one: Any, other: Any, ours: dict[int, list[Any]]) -> Any:
    """Two values of one keyword that hold together. Maps and ``required`` are copies of ``merge`` already."""
    if key in _MAPS and isinstance(one, dict) and isinstance(other, dict):
        for name, node in other.items():
            one[name] = _both(one[name], node, ours) if name in one else node
        return one
    if key == "items" and isinstance(one, dict) and isinstance(other, dict):
        return _both(one, other, ours)
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        one.extend(other)
        return one
    if key == "enum" and isinstance(one, list) and isinstance(other, list):
        texts = {repr(value) for value in other}
        return [value for value in one if repr(value) in texts] or other
    if key == "type":
        return _common_type(one, other)
    choose = _TIGHTER.get(key)
    if choose is not None and number(one) is not None and number(other) is not None:
        return choose(one, other)
    return other


_TIGHTER: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}


def _common_type(one: Any, other: Any) -> Any:
    first, null = kinds({"type": one})
    second, also = kinds({"type": other})
    common = [kind for kind in first if kind in second]
    if not common and {*first, *second} == {"integer", "number"}:
        common = ["integer"]
    if not common:
        return other
    return [*common, "null"] if null and also else common[0] if len(common) == 1 else common


def united(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One object node that takes every object that one of the (flat) parts takes."""
    properties: dict[str, list[Any]] = {}
    parts = distinct_objects(parts)
    for part in parts:
        own = part.get("properties")
        for name, node in own.items() if isinstance(own, dict) else ():
            properties.setdefault(name, []).append(node)
    required = set(names(parts[0].get("required")))
    for part in parts[1:]:
        required.intersection_update(names(part.get("required")))
    out: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: nodes[0] if len(nodes) == 1 or all(same(node, nodes[0]) for node in nodes) else {"anyOf": nodes}
            for name, nodes in properties.items()
        },
        "required": [name for name in properties if name in required],
    }
    texts = distinct(part["description"] for part in parts if isinstance(part.get("description"), str))
    if texts:
        out["description"] = "; or: ".join(texts)
    return out
