"""The walk over a schema that all targets share: references, ``allOf``, limits, notes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from antigravity2api.gemini.schema_nodes import KINDS, kinds, merge, names
from antigravity2api.gemini.schema_refs import REFERENCES, Document

MAX_DEPTH = 64
MAX_NODES = 20_000
_INLINE_DEPTH = 56
"""Deeper than this nothing is inlined, so that what comes out can be read by us again."""
_GENEROUS_NODES = 1_000
"""Up to so many nodes a recursion is unrolled twice, beyond once."""
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
    """A schema beyond the limits of depth and size."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the walk is. ``path``: the targets of references that lead here, the root first."""

    path: tuple[int, ...]
    depth: int = 1
    top: bool = False

    def below(self) -> Spot:
        """One level deeper."""
        return Spot(self.path, self.depth + 1)

    def through(self, others: list[Spot]) -> Spot:
        """The same place, reached through all that ``others`` came through as well."""
        known = len(self.path)
        further = dict.fromkeys(target for other in others for target in other.path[known:])
        return replace(self, path=(*self.path, *further)) if further else self


class Writer:
    """One compilation: follows references, merges ``allOf``, keeps count, and leaves the wording to its subclass."""

    lower = False
    """Whether type words are written in lower case."""

    def __init__(self, root: dict[str, Any]) -> None:
        _check_size(root)
        self.document = Document(root)
        self.notes: dict[str, None] = {}
        self.definitions: dict[str, Any] = {}
        self.converted = False
        self.filled = False
        self.fill_objects = True
        self._root = Spot((id(root),), top=True)
        self._nodes = 0

    def flat(self, raw: Any) -> dict[str, Any]:
        """A node of the top level without references and ``allOf``."""
        node, spot = self._flatten(raw, self._root)
        self._root = self._root.through([spot])
        return node

    def top(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The whole schema in the target's words."""
        return self._write(*self._flatten(raw, self._root))

    def note(self, keyword: str) -> None:
        """Remember a keyword that could not be said; a client's own words never get into a note."""
        self.notes[keyword if keyword in _VOCABULARY else "other keywords"] = None

    def empty_object(self) -> dict[str, Any]:
        """What an object without properties needs to be accepted, if anything."""
        return {}

    def node(self, raw: Any, spot: Spot) -> dict[str, Any]:
        """One schema position in the target's words."""
        self._nodes += 1
        inlined = len(spot.path) > 1
        if spot.depth > MAX_DEPTH and not inlined:
            raise TooLarge(f"it is nested deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES or (inlined and spot.depth > _INLINE_DEPTH + 4):
            return self._anything()
        return self._write(*self._flatten(raw, spot))

    def _write(self, node: dict[str, Any], spot: Spot) -> dict[str, Any]:
        raise NotImplementedError

    def _anything(self) -> dict[str, Any]:
        raise NotImplementedError

    def _flatten(self, raw: Any, spot: Spot) -> tuple[dict[str, Any], Spot]:
        """A node without references and ``allOf``, and the spot with the path of what it was made of."""
        if not isinstance(raw, dict):
            return self._shorthand(raw), spot
        refs = [raw[key] for key in REFERENCES if isinstance(raw.get(key), str)]
        every = raw.get("allOf")
        if not refs and every is None:
            return raw, spot
        found = [self._follow(ref, spot) for ref in refs]
        if isinstance(every, list):
            inner = spot.below()
            found.extend(self._flatten(member, inner) for member in every)
        elif every is not None:
            self.note("allOf")
        own = {key: value for key, value in raw.items() if key != "allOf" and key not in REFERENCES}
        return merge([*(part for part, _ in found), own]), spot.through([other for _, other in found])

    def _follow(self, ref: str, spot: Spot) -> tuple[dict[str, Any], Spot]:
        target = self.document.resolve(ref)
        if not isinstance(target, dict):
            if target is None:
                self.note("$ref")
            return {}, spot
        self._nodes += 1
        unrolled = 2 if self._nodes < _GENEROUS_NODES else 1
        if spot.path.count(id(target)) >= unrolled or spot.depth > _INLINE_DEPTH or self._nodes > MAX_NODES:
            return self._stub(ref, target), spot
        return self._flatten(target, Spot((*spot.path, id(target)), spot.depth + 1))

    def _stub(self, ref: str, target: dict[str, Any]) -> dict[str, Any]:
        """What stands where a recursion is cut."""
        name = ref.rpartition("/")[2].rpartition("#")[2].replace("~1", "/").replace("~0", "~")
        if not name:
            title = target.get("title")
            name = title if isinstance(title, str) and title else "root"
        found, _ = kinds(target)
        kind = found[0] if len(found) == 1 and found[0] in ("array", "string") else "object"
        return {"type": kind, "description": f"recursive: {name}"}

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


def _check_size(root: dict[str, Any]) -> None:
    todo: list[tuple[Any, int]] = [(root, 1)]
    seen = 0
    while todo:
        value, depth = todo.pop()
        if depth > _MOST_NESTING:
            raise TooLarge(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            seen += 1
            if seen > MAX_NODES:
                raise TooLarge(f"it has more than {MAX_NODES} nodes")
            value = value.values()
        todo.extend((entry, depth + 1) for entry in value if isinstance(entry, dict | list))
