"""Google's ``Schema`` message, an OpenAPI 3.0 subset. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from antigravity2api.gemini.schema_budget import Budget
from antigravity2api.gemini.schema_nodes import (
    EXCLUSIVE,
    bounds,
    count,
    distinct,
    distinct_nodes,
    implied,
    is_null,
    is_object,
    json_text,
    kinds,
    members,
    names,
    sort_of,
    united,
)
from antigravity2api.gemini.schema_restore import PLACEHOLDER
from antigravity2api.gemini.schema_walk import Spot, Writer

_UNIONS = ("anyOf", "oneOf")
_APART = frozenset({*_UNIONS, "title", "description", "nullable"})
_SHAPE = frozenset({
    "type", "properties", "patternProperties", "additionalProperties", "items", "prefixItems", "enum", "const", "anyOf",
    "oneOf", "format", "pattern", "minimum", "maximum", "minLength", "maxLength", "nullable",
})  # fmt: skip
"""Keywords by which a branch of a union says more than which properties are required."""
_OPEN_SAID = frozenset({
    "type", "format", "enum", "const", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf",
    "oneOf", "properties", "required", "propertyOrdering", "minProperties", "maxProperties", "minLength", "maxLength",
    "pattern", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems", "additionalProperties",
    "patternProperties", "additionalItems",
})  # fmt: skip
_FORMATS = {
    "string": frozenset({"date-time", "date", "email", "byte", "enum"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}
_LIMITS = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
})  # fmt: skip
"""What is not said beside members: they are told one by one."""
_ANY = "any JSON value as text"
_PREFERENCE = ("string", "number", "integer", "boolean")
_MOST_HINTED = 400


class OpenApiWriter(Writer):
    """Google's ``Schema`` message: references inlined, what it has no word for told in the description.

    ``bare`` leaves types, names, items and enums only, and one branch of every union.
    """

    def __init__(self, root: dict[str, Any], budget: Budget, *, bare: bool) -> None:
        super().__init__(root, budget)
        self._bare = bare

    def empty_object(self) -> dict[str, Any]:
        """A property nobody asked for, where objects without any are refused."""
        if not self._bare or not self.fill_objects:
            return {}
        self.filled = True
        return {"properties": {PLACEHOLDER: {"type": "BOOLEAN", "description": "Always true; carries no meaning."}}}

    def _anything(self) -> dict[str, Any]:
        return {"type": "STRING", "description": _ANY}

    def _of_kind(self, kind: str) -> dict[str, Any]:
        out: dict[str, Any] = {"type": kind.upper()}
        if kind == "array":
            out["items"] = self._anything()
        elif kind == "object":
            out.update(self.empty_object())
        return out

    def _annotated(self, out: dict[str, Any], node: dict[str, Any], hints: list[str]) -> dict[str, Any]:
        super()._annotated(out, node, hints)
        if self._bare:
            out.pop("title", None)
        return out

    def _write(self, node: dict[str, Any], spot: Spot) -> dict[str, Any]:
        found, nullable = kinds(node)
        values = members(node)
        out: dict[str, Any] | None = None
        branches = next((node[key] for key in _UNIONS if isinstance(node.get(key), list) and node[key]), None)
        if branches is not None:
            if "oneOf" in node and (len(branches) > 1 or "anyOf" in node):
                self.loosen("oneOf")  # it becomes anyOf, and beside one it has no place
            out = self._union(node, branches, spot)
        if out is None and len(found) > 1 and values is None:
            out = self._union(node, [{"type": kind} for kind in found], spot)
        if out is None:
            kind = found[0] if len(found) == 1 else None if values is not None else implied(node)
            out = self._plain(node, kind, spot)
        if nullable or node.get("nullable") is True:
            out["nullable"] = True
        return out

    def _union(self, node: dict[str, Any], branches: list[Any], spot: Spot) -> dict[str, Any] | None:
        """Alternatives. What stands beside them holds for each and moves inside; None when they only restrict."""
        apart: dict[str, Any] = {key: node[key] for key in ("title", "description") if key in node}
        own = {key: value for key, value in node.items() if key not in _APART}
        if len(kinds(own)[0]) > 1:
            own.pop("type")
        each = [self._flatten(branch, spot) for branch in branches]
        flats = list({id(flat): (flat, inner) for flat, inner in each}.values())
        if not any(flat.keys() & _SHAPE for flat, _ in flats):
            self.note("anyOf")
            return None
        left = [(flat, inner) for flat, inner in flats if not is_null(flat)]
        if not left:
            return self._plain({**apart, "type": "null"}, "null", spot)
        if len(left) == 1:
            flat, inner = left[0]
            parts = [flat, *(part for part in (own, apart) if part)]
            out = self._write(self.merged(parts, keep=0), replace(inner, settled=spot.settled) if own else inner)
        elif self._bare:
            whole = spot.through([inner for _, inner in left])
            out = self._write(self.merged([*self._best([flat for flat, _ in left], apart), own], keep=0), whole)
        else:
            out = self._alternatives([self._branch(own, flat, inner, spot) for flat, inner in left], apart)
        if len(left) < len(flats):
            out["nullable"] = True
        return out

    def _branch(self, own: dict[str, Any], flat: dict[str, Any], inner: Spot, spot: Spot) -> dict[str, Any]:
        """One of several alternatives with what stands beside them all."""
        if not own:
            return self.node(flat, inner.below())
        return self.node(self.merged([own, flat]), replace(inner.below(), inlined=True, settled=spot.settled))

    def _alternatives(self, written: list[dict[str, Any]], apart: dict[str, Any]) -> dict[str, Any]:
        level: list[dict[str, Any]] = []
        for branch in written:
            level.extend(branch["anyOf"] if branch.keys() == {"anyOf"} else [branch])
        level = distinct_nodes(level)
        if len(level) > 1:
            return {"anyOf": level, **self._annotated({}, apart, [])}
        described = self._annotated({}, apart, [])
        return {**level[0], **described}

    def _best(self, flats: list[dict[str, Any]], apart: dict[str, Any]) -> list[dict[str, Any]]:
        """The branch that says most, with a word about the others: objects, then arrays, then the loosest scalar."""
        self.note("anyOf")
        objects = [flat for flat in flats if is_object(flat)]
        lists = [flat for flat in flats if kinds(flat)[0] == ["array"] or implied(flat) == "array"]
        values = [members(flat) for flat in flats]
        others: list[str] = []
        if objects:
            chosen = united(objects) if len(objects) > 1 else objects[0]
            others = [_word(flat) for flat in flats if not is_object(flat)]
        elif lists:
            chosen = lists[0]
            others = [_word(flat) for flat in flats if flat is not chosen]
        elif all(value is not None for value in values):
            chosen = {"enum": [entry for value in values for entry in value or ()]}
        else:
            plain = [flat for flat, value in zip(flats, values, strict=True) if value is None]
            chosen = min(plain, key=lambda flat: _rank(_word(flat)))
            others = [_word(flat) for flat in flats if flat is not chosen]
        words = [word for word in dict.fromkeys(others) if word != _word(chosen)]
        if not words:
            return [chosen, apart]
        said = apart.get("description") or chosen.get("description")
        hint = "or " + ", ".join(words)
        described = {**apart, "description": f"{said} ({hint})" if isinstance(said, str) and said else hint}
        return [chosen, described]

    def _plain(self, node: dict[str, Any], kind: str | None, spot: Spot) -> dict[str, Any]:
        """A node of one type."""
        out: dict[str, Any] = {}
        hints: list[str] = []
        kind = self._members(out, node, kind, hints)
        if kind is None and spot.top and "enum" not in out:
            kind = "object"
        if kind is None:
            kind = "string"
            hints.append(_ANY)
        elif kind == "null":
            kind, out["nullable"] = "string", True
            hints.append("null")
            self.loosen("type")
        if "enum" not in out:
            if kind == "object":
                self._object(out, node, spot, hints)
            elif kind == "array":
                self._array(out, node, spot, hints)
            else:
                self._scalar(out, node, kind, hints)
        self._note_left_out(node, _OPEN_SAID)
        return {"type": kind.upper(), **self._annotated({}, node, hints), **out}

    def _members(self, out: dict[str, Any], node: dict[str, Any], kind: str | None, hints: list[str]) -> str | None:
        """``enum`` and ``const`` as strings, which is all that this target takes; returns the kind they leave."""
        values = members(node)
        if values is None:
            if "enum" in node:
                self.note("enum")
            return kind
        null = any(value is None for value in values)
        plain = distinct(value for value in values if value is not None and value != "")
        if null and plain:
            out["nullable"] = True
        if len(plain) + null < len(distinct(values)):
            self.note("enum")
        if not plain:
            if kind not in (None, "null"):
                self.loosen("enum")
            return kind or ("null" if null else "string")
        sorts = list(dict.fromkeys(sort_of(value) for value in plain))
        said = kinds(node)[0]
        if said and any(sort not in said and not (sort == "integer" and "number" in said) for sort in sorts):
            self.loosen("type")  # no member fits it
        for key in _LIMITS & node.keys():
            self.loosen(key)
        if kind in ("object", "array") or {"object", "array"} & {*sorts}:
            self.note("enum")
            text = ", ".join(json_text(value) for value in plain)
            hints.append("one of " + (text if len(text) <= _MOST_HINTED else text[:_MOST_HINTED] + "…"))
            return kind or (sorts[0] if len(sorts) == 1 else None)
        if sorts == ["boolean"] and len(plain) == 2:
            return "boolean"
        words = [sort for sort in sorts if sort != "string"]
        if words:
            hints.append(" or ".join(words))
            self.converted = True
        out["enum"] = distinct(value if isinstance(value, str) else json_text(value) for value in plain)
        return "string"

    def _object(self, out: dict[str, Any], node: dict[str, Any], spot: Spot, hints: list[str]) -> None:
        properties = node.get("properties")
        written: dict[str, Any] = {}
        if isinstance(properties, dict):
            inner = spot.below()
            written = {name: self.node(below, inner) for name, below in properties.items()}
        elif "properties" in node:
            self.note("properties")
        if written:
            out["properties"] = written
            required = [name for name in names(node.get("required")) if name in written]
            if required:
                out["required"] = required
        if len(names(node.get("required"))) > len(out.get("required", ())):
            self.loosen("required")
        if not written and not spot.top:
            out.update(self.empty_object())
        if "required" in node and not isinstance(node["required"], list):
            self.note("required")
        if not self._bare:
            self._ordering(out, node, written)
        for key in ("minProperties", "maxProperties"):
            self._limit(out, hints, node, key, count(node.get(key)))
        self._further(node, spot, hints)

    def _further(self, node: dict[str, Any], spot: Spot, hints: list[str]) -> None:
        """Properties that have no name in the schema: a map is described, a tail of named properties is let go."""
        if node.get("additionalProperties", True) not in (True, {}) or node.get("patternProperties"):
            self.loosen("additionalProperties")
        further = [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), dict) else []
        patterns = node.get("patternProperties")
        if isinstance(patterns, dict):
            further.extend(patterns.values())
        if isinstance(node.get("properties"), dict) and node["properties"]:
            if further:
                self.note("additionalProperties")
            return
        filled, converted = self.filled, self.converted
        words = [_summary(self.node(raw, spot.below())) for raw in further if isinstance(raw, dict) and raw]
        self.filled, self.converted = filled, converted
        if words:
            hints.append("object whose values are " + " or ".join(dict.fromkeys(words)))

    def _array(self, out: dict[str, Any], node: dict[str, Any], spot: Spot, hints: list[str]) -> None:
        items, first = node.get("items"), node.get("prefixItems")
        if isinstance(items, list):
            first, items = items, node.get("additionalItems")
        low, high = count(node.get("minItems")), count(node.get("maxItems"))
        if isinstance(first, list) and first:
            rest = [items] if isinstance(items, dict) and items else []
            self.loosen("prefixItems")
            out["items"] = self.node({"anyOf": [*first, *rest]}, spot.below())
            low = len(first) if low is None else low
            high = len(first) if high is None and not rest else high
        elif isinstance(items, dict | str) or items is True:
            out["items"] = self.node(items, spot.below())
        else:
            out["items"] = {"type": "STRING"}
            if items is False:
                self.loosen("items")
        self._limit(out, hints, node, "minItems", low)
        self._limit(out, hints, node, "maxItems", high)
        if node.get("uniqueItems") is True:
            hints.append("items are unique")
            self.loosen("uniqueItems")

    def _scalar(self, out: dict[str, Any], node: dict[str, Any], kind: str, hints: list[str]) -> None:
        if kind == "string":
            for key in ("minLength", "maxLength"):
                self._limit(out, hints, node, key, count(node.get(key)))
            pattern = node.get("pattern")
            self._limit(out, hints, node, "pattern", pattern if isinstance(pattern, str) and pattern else None)
        elif kind != "boolean":
            low, high = bounds(node, integer=kind == "integer")
            if kind != "integer" and any(node.get(key) not in (None, False) for key in EXCLUSIVE):
                self.loosen("exclusiveMinimum")
            self._limit(out, hints, node, "minimum", low)
            self._limit(out, hints, node, "maximum", high)
            step = node.get("multipleOf")
            if isinstance(step, int | float) and not isinstance(step, bool):
                hints.append(f"multiple of {json_text(step)}")
                self.loosen("multipleOf")
        form = node.get("format")
        if isinstance(form, str) and form:
            if not self._bare and form in _FORMATS.get(kind, ()):
                out["format"] = form
            else:
                hints.append(f"format: {form}")
        elif form is not None:
            self.note("format")

    def _limit(self, out: dict[str, Any], hints: list[str], node: dict[str, Any], key: str, value: Any) -> None:
        """A constraint as a keyword, or in words where the target has no keyword for it."""
        if value is None:
            if key in node:
                self.note(key)
        elif self._bare:
            self.loosen(key)
            hints.append(f"{key}: {json_text(value) if not isinstance(value, str) else value}")
        else:
            out[key] = value


def _word(flat: dict[str, Any]) -> str:
    """A flat node as one type word."""
    found, _ = kinds(flat)
    if found:
        return found[0]
    values = members(flat)
    if values:
        return sort_of(values[0]) if values[0] is not None else "string"
    return implied(flat) or "string"


def _rank(word: str) -> int:
    return _PREFERENCE.index(word) if word in _PREFERENCE else len(_PREFERENCE)


def _summary(node: dict[str, Any]) -> str:
    """A written node in a few words."""
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_summary(branch) for branch in node["anyOf"]))
    if "enum" in node:
        shown = ", ".join(json_text(value) for value in node["enum"])
        return "one of " + (shown if len(shown) <= _MOST_HINTED else shown[:_MOST_HINTED] + "…")
    kind = str(node.get("type", "any"))
    if kind == "ARRAY":
        return "ARRAY of " + _summary(node.get("items", {"type": "STRING"}))
    keys = [name for name in node.get("properties", ()) if name != PLACEHOLDER]
    if kind == "OBJECT" and keys:
        shown = ", ".join(keys)
        return "OBJECT with " + (shown if len(shown) <= _MOST_HINTED else shown[:_MOST_HINTED] + "…")
    return kind
