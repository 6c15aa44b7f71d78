"""The walk over a schema that all targets share: references, ``allOf``, limits, notes. Pure.

A node that leads to no recursion means the same wherever a reference brings it in, so it is flattened and written once
and stands there as often as it is referred to. Only recursions are really unrolled, and that has narrow limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from antigravity2api.gemini.schema_budget import SCHEMA_COPIES, SCHEMA_REUSED, Budget, merging, weight
from antigravity2api.gemini.schema_nodes import KINDS, distinct_objects, implied, kinds, merge, merges_whole, names
from antigravity2api.gemini.schema_refs import REFERENCES, Document

MAX_DEPTH = 64
_INLINE_DEPTH = 56
"""Deeper than this nothing is inlined, so that what comes out can be read by us again."""
_TWICE, _ONCE = 500, 1_000
"""Up to so many copied nodes a recursion is unrolled twice, and once; beyond not at all."""
_MOST_NAMED = 80
"""Characters of a name told in a description."""
INDIRECT = frozenset({"allOf", *REFERENCES})
"""Keywords that bring other nodes into one."""
_LEAVES = frozenset({"string", "number", "integer", "boolean"})
_MOST_NESTING = 2 * MAX_DEPTH
_SILENT = frozenset({
    "$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions", "$vocabulary", "$dynamicAnchor", "title",
    "description", "example", "examples", "deprecated", "readOnly", "writeOnly", "nullable", "strict", "default",
    "$recursiveAnchor", "discriminator", "xml", "externalDocs",
})  # fmt: skip
"""Keywords that restrict nothing: left out without a word."""
_VOCABULARY = frozenset({
    "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies",
    "unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "propertyNames",
    "contentEncoding", "contentMediaType", "contentSchema", "patternProperties", "additionalProperties",
    "additionalItems", "multipleOf", "uniqueItems", "pattern", "minLength", "maxLength", "minProperties",
    "maxProperties", "exclusiveMinimum", "exclusiveMaximum", "minimum", "maximum", "minItems", "maxItems",
    "format", "type", "enum", "const", "properties", "required", "items", "prefixItems", "anyOf", "oneOf",
    "allOf", "propertyOrdering", "$ref", "$dynamicRef", "$recursiveRef",
})  # fmt: skip


class TooLarge(Exception):
    """A schema beyond the limit of depth."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the walk is. ``path``: the targets of references that lead here and may lead here again, the root first."""

    path: tuple[int, ...]
    depth: int = 1
    top: bool = False
    inlined: bool = False
    """Whether a reference led here, or what stands here was merged into several nodes: it may be written often."""
    settled: bool = False
    """Whether no recursion starts from here: the path is of no matter."""

    def below(self) -> Spot:
        """One level deeper."""
        return Spot(self.path, self.depth + 1, inlined=self.inlined, settled=self.settled)

    def through(self, others: list[Spot]) -> Spot:
        """The same place, reached through all that ``others`` came through as well."""
        known = len(self.path)
        further = dict.fromkeys(target for other in others for target in other.path[known:])
        inlined = self.inlined or any(other.inlined for other in others)
        if not further and inlined == self.inlined:
            return self
        return replace(self, path=(*self.path, *further), inlined=inlined)


@dataclass(frozen=True, slots=True)
class _Flat:
    """A node without references. ``raw`` is held so that nothing else can get its identity."""

    raw: dict[str, Any]
    node: dict[str, Any]
    height: int
    uncut: bool
    inlined: bool

    def fits(self, spot: Spot) -> bool:
        """Whether it is the same at another depth: nothing was cut here, and nothing would be there."""
        return self.uncut and spot.depth + self.height <= _INLINE_DEPTH


@dataclass(frozen=True, slots=True)
class _Made:
    """A flat node as it was written, with all below it: how deep it goes, what it weighs, what it did to the writer."""

    node: dict[str, Any]
    made: dict[str, Any]
    height: int
    uncut: bool
    size: int
    filled: bool
    converted: bool

    def fits(self, spot: Spot) -> bool:
        """As for flat nodes."""
        return self.uncut and spot.depth + self.height <= _INLINE_DEPTH


class Writer:
    """One compilation: follows references, merges ``allOf``, keeps count, and leaves the wording to its subclass."""

    lower = False
    """Whether type words are written in lower case."""

    def __init__(self, root: dict[str, Any], budget: Budget) -> None:
        _check_depth(root)
        self.document = Document(root)
        self.notes: dict[str, None] = {}
        self.loosened: dict[str, None] = {}
        """Keywords that are said in words at best: what comes out takes more than what came in."""
        self.definitions: dict[str, Any] = {}
        self.converted = False
        self.filled = False
        self.fill_objects = True
        self.copied = 0
        """Nodes that were made anew though the client wrote them once."""
        self._budget = budget
        self._root = Spot((id(root),), top=True)
        self._reused = 0
        self._size = 0
        self._exhausted = False
        self._deepest = 0
        """How deep the walk came since the node that is being remembered."""
        self._stubs: dict[str, dict[str, Any]] = {}
        self._flats: dict[int | tuple[int, int], _Flat] = {}
        self._mades: dict[int | tuple[int, int], _Made] = {}

    def flat(self, raw: Any) -> dict[str, Any]:
        """A node of the top level without references and ``allOf``."""
        node, spot = self._flatten(raw, self._root)
        self._root = replace(self._root.through([spot]), inlined=False)
        return node

    def top(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The whole schema in the target's words."""
        node, spot = self._flatten(raw, self._root)
        return self._write(node, replace(spot, inlined=False))

    def merged(self, parts: list[dict[str, Any]], keep: int = -1) -> dict[str, Any]:
        """One node that demands what all parts demand; beyond the budget only one of them."""
        if len(parts) == 1:
            return parts[0]
        if self._exhausted or not self._copy(merging(parts)):
            return parts[keep]
        if not merges_whole(parts):
            self.loosen("allOf")
        return merge(parts)

    def note(self, keyword: str) -> None:
        """Remember a keyword that could not be said; a client's own words never get into a note."""
        self.notes[keyword if keyword in _VOCABULARY else "other keywords"] = None

    def loosen(self, keyword: str) -> None:
        """Remember a keyword that is now said in words, or by less than it means."""
        self.loosened[keyword] = None

    def empty_object(self) -> dict[str, Any]:
        """What an object without properties needs to be accepted, if anything."""
        return {}

    def node(self, raw: Any, spot: Spot) -> dict[str, Any]:
        """One schema position in the target's words."""
        if spot.depth > MAX_DEPTH and not spot.inlined and len(spot.path) == 1:
            raise TooLarge(f"it is nested deeper than {MAX_DEPTH} levels")
        if spot.inlined or len(spot.path) > 1:
            self._deepest = max(self._deepest, spot.depth)
            if spot.depth > _INLINE_DEPTH + 4:
                return self._anything()
        if not spot.inlined:
            if not self._budget.take(1):
                return self._loosened(raw)
            leaf = self._leaf(raw)
            if leaf is not None:
                return leaf
        known = spot.inlined and isinstance(raw, dict) and self.document.settled(raw)
        if spot.inlined and not known and not self._copy(1):
            return self._loosened(raw)
        node, inner = self._flatten(raw, spot)
        if not inner.inlined:
            return self._write(node, inner)
        if inner.settled or self.document.settled(node):
            return self._kept(node, inner, raw)
        text = weight(node)
        self._size += 1 + text
        return self._write(node, inner) if not text or self._copy(text) else self._loosened(raw)

    def _kept(self, node: dict[str, Any], spot: Spot, raw: Any) -> dict[str, Any]:
        """A flat node that means the same everywhere: written once, and kept."""
        held = self._mades.get(id(node))
        if held is None or not held.fits(spot):
            again = held is not None
            held = self._mades.get((id(node), spot.depth))
            if held is None:
                return self._loosened(raw) if again and not self._copy(1) else self._kept_made(node, spot)
        if self._reused + held.size > SCHEMA_REUSED or not self._budget.take(held.size):
            return self._loosened(raw)
        self._reused += held.size
        self._size += held.size
        self._deepest = max(self._deepest, spot.depth + held.height)
        self.filled = self.filled or held.filled
        self.converted = self.converted or held.converted
        return held.made

    def _kept_made(self, node: dict[str, Any], spot: Spot) -> dict[str, Any]:
        deepest, filled, converted, size = self._deepest, self.filled, self.converted, self._size
        self._deepest, self.filled, self.converted = spot.depth, False, False
        self._size += 1 + weight(node)
        made = self._write(node, replace(spot, settled=True) if not spot.settled else spot)
        height, uncut = self._deepest - spot.depth, self._deepest <= _INLINE_DEPTH
        kept = _Made(node, made, height, uncut, self._size - size, self.filled, self.converted)
        self._mades[id(node)] = self._mades[id(node), spot.depth] = kept
        self._deepest = max(deepest, self._deepest)
        self.filled = self.filled or filled
        self.converted = self.converted or converted
        return made

    def _copy(self, size: int) -> bool:
        """Take what a copy costs; once that fails nothing more is copied."""
        if self._exhausted or self.copied + size > SCHEMA_COPIES or not self._budget.take(size, size):
            self._exhausted = True
            self.notes["size"] = None
            return False
        self.copied += size
        return True

    def _leaf(self, raw: Any) -> dict[str, Any] | None:
        """The shortest and most frequent nodes: a scalar type with or without a description."""
        if type(raw) is not dict or not 0 < len(raw) < 3:
            return None
        word = raw.get("type")
        if type(word) is not str or word not in _LEAVES:
            return None
        out = {"type": word if self.lower else word.upper()}
        if len(raw) == 2:
            text = raw.get("description")
            if type(text) is not str:
                return None
            if text:
                out["description"] = text
        return out

    def _loosened(self, raw: Any) -> dict[str, Any]:
        """What stands where the budget ends: the type where it can be seen, and nothing of what is in it."""
        self.notes["size"] = None
        ref = (
            next((raw[key] for key in REFERENCES if isinstance(raw.get(key), str)), None) if type(raw) is dict else None
        )
        seen = raw if ref is None else self.document.resolve(ref)
        if not isinstance(seen, dict):
            return self._anything()
        found, _ = kinds(seen)
        kind = found[0] if len(found) == 1 else implied(seen) if not found and "enum" not in seen else None
        return self._anything() if kind is None or kind == "null" else self._of_kind(kind)

    def _of_kind(self, kind: str) -> dict[str, Any]:
        return {"type": kind}

    def _write(self, node: dict[str, Any], spot: Spot) -> dict[str, Any]:
        raise NotImplementedError

    def _anything(self) -> dict[str, Any]:
        raise NotImplementedError

    def _flatten(self, raw: Any, spot: Spot) -> tuple[dict[str, Any], Spot]:
        """A node without references and ``allOf``, and the spot with the path of what it was made of."""
        if not isinstance(raw, dict):
            return self._shorthand(raw), spot
        if raw.keys().isdisjoint(INDIRECT):
            return raw, spot
        if not spot.settled and self.document.settled(raw):
            spot = replace(spot, settled=True)
        if not spot.settled:
            return self._gathered(raw, spot)
        held = self._flats.get(id(raw))
        if held is None or not held.fits(spot):
            again = held is not None
            held = self._flats.get((id(raw), spot.depth))
            if held is None:
                return self._kept_flat(raw, spot, again=again)
        self._deepest = max(self._deepest, spot.depth + held.height)
        return held.node, replace(spot, inlined=True) if held.inlined and not spot.inlined else spot

    def _kept_flat(self, raw: dict[str, Any], spot: Spot, *, again: bool) -> tuple[dict[str, Any], Spot]:
        if again and not self._copy(1):
            return {key: value for key, value in raw.items() if key not in INDIRECT}, spot
        before, self._deepest = self._deepest, spot.depth
        node, made = self._gathered(raw, spot)
        uncut = self._deepest <= _INLINE_DEPTH
        flat = _Flat(raw, node, self._deepest - spot.depth, uncut, made.inlined)
        self._flats[id(raw)] = self._flats[id(raw), spot.depth] = flat
        self._deepest = max(before, self._deepest)
        return node, made

    def _gathered(self, raw: dict[str, Any], spot: Spot) -> tuple[dict[str, Any], Spot]:
        found = []
        for key in REFERENCES:
            if isinstance(raw.get(key), str):
                found.append(self._follow(raw[key], spot))
            elif key in raw:
                self.note(key)
        every = raw.get("allOf")
        if isinstance(every, list) and not self._budget.take(len(every)):
            self.notes["size"] = None
        elif isinstance(every, list):
            inner = spot.below()
            found.extend(self._flatten(member, inner) for member in every)
        elif "allOf" in raw:
            self.note("allOf")
        parts = distinct_objects(part for part, _ in found if part)
        own = {key: value for key, value in raw.items() if key not in INDIRECT}
        if own or not parts:
            parts.append(own)
        return self.merged(parts), spot.through([other for _, other in found])

    def _follow(self, ref: str, spot: Spot) -> tuple[dict[str, Any], Spot]:
        target = self.document.resolve(ref)
        if not isinstance(target, dict):
            if target is None:
                self.note("$ref")
            return {}, spot
        self._deepest = max(self._deepest, spot.depth)
        settled = self.document.settled(target)
        if spot.depth > _INLINE_DEPTH:
            return self._stub(ref, target), spot
        path = spot.path
        if not settled:
            unrolled = 2 if self.copied < _TWICE else 1 if self.copied < _ONCE else 0
            if path.count(id(target)) >= unrolled:
                return self._stub(ref, target), spot
            path = (*path, id(target))
        if spot.inlined and not spot.settled and not self._copy(1):
            return self._stub(ref, target), spot
        return self._flatten(target, Spot(path, spot.depth + 1, inlined=True, settled=settled))

    def _stub(self, ref: str, target: dict[str, Any]) -> dict[str, Any]:
        """What stands where a recursion is cut."""
        self.loosen("$ref")
        if ref not in self._stubs:
            name = ref.rpartition("/")[2].rpartition("#")[2].replace("~1", "/").replace("~0", "~")
            if not name:
                title = target.get("title")
                name = title if isinstance(title, str) and title else "root"
            found, _ = kinds(target)
            kind = found[0] if len(found) == 1 and found[0] in ("array", "string") else "object"
            self._stubs[ref] = {"type": kind, "description": f"recursive: {name[:_MOST_NAMED]}"}
        return self._stubs[ref]

    def _shorthand(self, raw: Any) -> dict[str, Any]:
        """What stands in place of a schema object: a bare type word is understood, all else allows anything."""
        if isinstance(raw, str) and raw.lower() in KINDS:
            return {"type": raw}
        if raw is not True:
            self.note("type")
        return {}

    def _annotated(self, out: dict[str, Any], node: dict[str, Any], hints: list[str]) -> dict[str, Any]:
        """``out`` with title and description, the latter followed by what else must be said in words."""
        if isinstance(node.get("title"), str) and node["title"]:
            out["title"] = node["title"]
        description = node.get("description")
        text = description if isinstance(description, str) else ""
        if hints:
            text = f"{text} ({'; '.join(hints)})" if text else "; ".join(hints)
        if text:
            out["description"] = text
        return out

    def _ordering(self, out: dict[str, Any], node: dict[str, Any], properties: dict[str, Any]) -> None:
        order = [name for name in names(node.get("propertyOrdering")) if name in properties]
        if order:
            out["propertyOrdering"] = order

    def _note_left_out(self, node: dict[str, Any], said: frozenset[str]) -> None:
        for keyword in node:
            if keyword not in said and keyword not in _SILENT:
                self.note(keyword)


def _check_depth(root: dict[str, Any]) -> None:
    level: list[Any] = [root]
    for _ in range(_MOST_NESTING):
        level = [
            entry
            for value in level
            for entry in (value.values() if isinstance(value, dict) else value)
            if isinstance(entry, dict | list)
        ]
        if not level:
            return
    raise TooLarge(f"it is nested deeper than {MAX_DEPTH} levels")
