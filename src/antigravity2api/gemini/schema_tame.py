"""A client's JSON Schema as one that can be checked against in bounded time, in the words of draft 2020-12. Pure.

What cannot be read, fetched or bounded is left out, so that a value is only ever found wrong where the schema plainly
says so; where leaving out would turn into forbidding (in ``not``, ``if``, ``oneOf``) the keyword around it goes too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from antigravity2api.gemini.schema_nodes import count, is_null, kinds, members, names, number
from antigravity2api.gemini.schema_refs import REFERENCES, Document

_MOST_NODES = 10_000
_MOST_PATTERNS = 32
_LONGEST_PATTERN = 512
_MOST_AT_ONE_PLACE = 2_000
"""Schemas that may be asked about one value at one place."""
_MOST_UNROLLED = 50_000
"""Up to this size, every reference written out, a schema needs no limit to the depth of values."""
_MOST_VISITS = 50_000
_DEEPEST = 128
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_BELOW = ("items", "additionalProperties", "contains", "propertyNames")
_BELOW_MAPS = ("properties", "patternProperties")

Fits = Callable[[str], bool]
"""Whether a regular expression can be used."""


class _TooMuch(Exception):
    """The schema is beyond what a check may cost."""


@dataclass(frozen=True, slots=True)
class Tame:
    """A schema to check against, and how deep a value may be for that to be cheap; None: any depth."""

    schema: dict[str, Any]
    deepest: int | None
    converted: bool
    """Whether it has enum members other than strings, which some surfaces can only be told as strings."""


def tamed(schema: dict[str, Any], fits: Fits) -> Tame | None:
    """The schema fit for checking; None where checking against it could take too long."""
    taming = _Taming(Document(schema), fits)
    try:
        made = taming.whole()
        return Tame(made, _deepest(made), taming.converted)
    except (_TooMuch, RecursionError):
        return None


class _Taming:
    """One schema on its way."""

    def __init__(self, document: Document, fits: Fits) -> None:
        self.converted = False
        self._document = document
        self._fits = fits
        self._left = _MOST_NODES
        self._patterns = _MOST_PATTERNS
        self._known: dict[str, bool] = {}
        self._lost = 0
        """How often something was left out that would have restricted more."""
        self._names: dict[int, str] = {}
        self._wanted: list[dict[str, Any]] = []

    def whole(self) -> dict[str, Any]:
        made = self._node(self._document.root)
        definitions: dict[str, Any] = {}
        while self._wanted:
            target = self._wanted.pop()
            definitions[self._names[id(target)]] = self._node(target)
        if not isinstance(made, dict):
            made = {}
        return {**made, "$defs": definitions} if definitions else made

    def _node(self, raw: Any) -> dict[str, Any] | bool:
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str):
            raw = {"type": raw}
        if not isinstance(raw, dict):
            self._lost += 1
            return True
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        out: dict[str, Any] = {}
        self._references(raw, out)
        self._values(raw, out)
        self._scalars(raw, out)
        self._object(raw, out)
        self._array(raw, out)
        self._alternatives(raw, out)
        return out

    def _references(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        for key in REFERENCES:
            if key not in raw:
                continue
            target = self._document.resolve(raw[key]) if isinstance(raw[key], str) else None
            if isinstance(target, dict):
                if id(target) not in self._names:
                    self._names[id(target)] = str(len(self._names))
                    self._wanted.append(target)
                refers = {"$ref": f"#/$defs/{self._names[id(target)]}"}
                if "$ref" in out:
                    out.setdefault("allOf", []).append(refers)
                else:
                    out |= refers
            elif target is False:
                out["not"] = {}
            elif target is None:
                self._lost += 1

    def _values(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        said = raw.get("type")
        found, null = kinds(raw)
        null = null or raw.get("nullable") is True
        words = said if isinstance(said, list) else [said]
        whole = all(isinstance(word, str) and kinds({"type": word})[0] for word in words)
        if found and whole:
            out["type"] = [*found, "null"] if null and found != ["null"] else found
        elif said is not None:
            self._lost += 1
        values = members(raw)
        if values is not None:
            out["enum"] = [*values, None] if null and None not in values else values
            self._left -= len(values) // 64
            self.converted = self.converted or any(not isinstance(value, str | None) for value in values)
        elif "enum" in raw:
            self._lost += 1

    def _scalars(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        for key in ("minimum", "maximum"):
            beside, edge = number(raw.get(key)), raw.get(f"exclusiveM{key[1:]}")
            limit = beside if edge is True else number(edge)  # draft 4 has a boolean there
            if beside is not None:
                out[key] = beside
            if limit is not None:
                out[f"exclusiveM{key[1:]}"] = limit
            self._lost += (key in raw and beside is None) + (limit is None and edge not in (None, True, False))
        step = number(raw.get("multipleOf"))
        if step is not None and step > 0:
            out["multipleOf"] = step
        elif "multipleOf" in raw:
            self._lost += 1
        for key in _COUNTS:
            size = count(raw.get(key))
            if size is not None:
                out[key] = size
            elif key in raw:
                self._lost += 1
        if "pattern" in raw:
            if self._usable(raw["pattern"]):
                out["pattern"] = raw["pattern"]
            else:
                self._lost += 1
        if "format" in raw or "contentEncoding" in raw or "contentMediaType" in raw:
            self._lost += 1  # annotations, to us

    def _usable(self, pattern: Any) -> bool:
        if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
            return False
        if pattern not in self._known:
            if not self._patterns:
                return False
            self._patterns -= 1
            self._known[pattern] = self._fits(pattern)
        return self._known[pattern]

    def _object(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        properties = raw.get("properties")
        if isinstance(properties, dict):
            out["properties"] = {name: self._node(below) for name, below in properties.items()}
        required = names(raw.get("required"))
        if required:
            out["required"] = required
        patterns = raw.get("patternProperties")
        open_ended = "properties" in raw and not isinstance(properties, dict)
        if isinstance(patterns, dict):
            kept = {pattern: self._node(below) for pattern, below in patterns.items() if self._usable(pattern)}
            open_ended = open_ended or len(kept) < len(patterns)
            if kept:
                out["patternProperties"] = kept
        elif patterns is not None:
            open_ended = True
        further = raw.get("additionalProperties")
        if open_ended:
            self._lost += 1
        elif isinstance(further, bool | dict):
            out["additionalProperties"] = self._node(further)
        if isinstance(raw.get("propertyNames"), dict):
            out["propertyNames"] = self._node(raw["propertyNames"])
        self._dependencies(raw, out)
        if "unevaluatedProperties" in raw or "unevaluatedItems" in raw:
            self._lost += 1

    def _dependencies(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        needs: dict[str, list[str]] = {}
        for key in ("dependentRequired", "dependencies"):
            entries = raw.get(key)
            for name, needed in entries.items() if isinstance(entries, dict) else ():
                if isinstance(needed, list):
                    needs[name] = names(needed)
                else:
                    self._lost += 1
        if needs:
            out["dependentRequired"] = needs
        if "dependentSchemas" in raw:
            self._lost += 1

    def _array(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        items, first = raw.get("items"), raw.get("prefixItems")
        if isinstance(items, list):
            first, items = items, raw.get("additionalItems")
        if isinstance(first, list) and first:
            out["prefixItems"] = [self._node(item) for item in first]
        if isinstance(items, bool | dict | str):
            out["items"] = self._node(items)
        if raw.get("uniqueItems") is True:
            out["uniqueItems"] = True
        if isinstance(raw.get("contains"), dict):
            lost = self._lost
            out["contains"] = self._node(raw["contains"])
            for key in ("minContains", "maxContains"):
                size = count(raw.get(key))
                if size is not None and (key == "minContains" or self._lost == lost):
                    out[key] = size

    def _alternatives(self, raw: dict[str, Any], out: dict[str, Any]) -> None:
        for key in _IN_PLACE_LISTS:
            branches = raw.get(key)
            if not isinstance(branches, list) or not branches:
                continue
            lost = self._lost
            written = [self._node(branch) for branch in branches]
            if key == "allOf":
                out.setdefault("allOf", []).extend(written)
            elif key == "oneOf" and self._lost == lost:
                out["oneOf"] = written
            elif key in out or (key == "oneOf" and "anyOf" in out):
                out.setdefault("allOf", []).append({"anyOf": written})
            else:
                out["anyOf"] = written
        if raw.get("nullable") is True:
            _let_null_pass(out)
        lost = self._lost
        if "not" in raw:
            written_not = self._node(raw["not"])
            if self._lost == lost:
                out.setdefault("allOf", []).append({"not": written_not})
        lost = self._lost
        if "if" in raw and ("then" in raw or "else" in raw):
            asked = self._node(raw["if"])
            if self._lost == lost:
                out["if"] = asked
                out |= {key: self._node(raw[key]) for key in ("then", "else") if key in raw}


def _let_null_pass(out: dict[str, Any]) -> None:
    """OpenAPI's ``nullable`` beside alternatives: null is one more."""
    for key in ("anyOf", "oneOf"):
        if key in out and not any(isinstance(branch, dict) and is_null(branch) for branch in out[key]):
            out[key] = [*out[key], {"type": "null"}]


# -- what a check costs ------------------------------------------------------------------------------------------------


def _deepest(root: dict[str, Any]) -> int | None:
    """How deep values may be; raises where a single place already costs too much."""
    definitions = root.get("$defs", {})
    starts = [root, *definitions.values()]
    places = _Places(definitions)
    for start in starts:
        for node in _nodes(start):
            if places.asked(node) > _MOST_AT_ONE_PLACE:
                raise _TooMuch
    try:
        if _Unrolled(definitions).size(root) <= _MOST_UNROLLED:
            return None
    except _TooMuch:
        pass
    spread = max(places.spread(node) for start in starts for node in _nodes(start))
    return _DEEPEST if spread < 2 else max(4, min(_DEEPEST, int(math.log(_MOST_VISITS) / math.log(spread))))


def _nodes(start: Any) -> Iterator[dict[str, Any]]:
    todo = [start]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(_in_place(node, {}))
            todo.extend(_children(node))


def _in_place(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    """Schemas that are asked about the same value."""
    for key in _IN_PLACE_LISTS:
        yield from node.get(key, ())
    for key in _IN_PLACE:
        if key in node:
            yield node[key]
    if "$ref" in node and definitions:
        yield definitions[node["$ref"].rpartition("/")[2]]


def _children(node: dict[str, Any]) -> Iterator[Any]:
    for key in _BELOW_MAPS:
        yield from node.get(key, {}).values()
    for key in _BELOW:
        if key in node:
            yield node[key]
    yield from node.get("prefixItems", ())


class _Places:
    """How many schemas are asked at one place, and how many of those ask about the values below."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._asked: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def asked(self, node: Any) -> int:
        return self._counted(node)[0]

    def spread(self, node: Any) -> int:
        return self._counted(node)[1]

    def _counted(self, node: Any) -> tuple[int, int]:
        if not isinstance(node, dict):
            return 1, 0
        known = self._asked.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise _TooMuch  # it asks itself about the very same value
        self._open.add(id(node))
        asked = 1
        spread = sum(any(key in node for key in group) for group in (("properties", "additionalProperties"), _REST))
        spread += "patternProperties" in node
        for inner in _in_place(node, self._definitions):
            more, wider = self._counted(inner)
            asked, spread = min(asked + more, 10**9), min(spread + wider, 10**9)
        self._open.discard(id(node))
        self._asked[id(node)] = asked, spread
        return asked, spread


_REST = ("items", "prefixItems", "contains")


class _Unrolled:
    """The size of a schema with every reference written out; raises for a recursive one."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: Any) -> int:
        if not isinstance(node, dict):
            return 1
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        if id(node) in self._open:
            raise _TooMuch
        self._open.add(id(node))
        total = 1
        for inner in (*_in_place(node, self._definitions), *_children(node)):
            total = min(total + self.size(inner), 10**9)
        self._open.discard(id(node))
        self._sizes[id(node)] = total
        return total
