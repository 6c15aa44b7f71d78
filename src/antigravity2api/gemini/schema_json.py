"""Real JSON Schema with the keywords that Google honours. Pure."""

from __future__ import annotations

from typing import Any

from antigravity2api.gemini.schema_budget import Budget
from antigravity2api.gemini.schema_nodes import (
    EXCLUSIVE,
    bounds,
    count,
    distinct,
    distinct_nodes,
    implied,
    kinds,
    members,
    names,
    number,
    sort_of,
)
from antigravity2api.gemini.schema_walk import Spot, Writer

_UNIONS = ("anyOf", "oneOf")
_MOST_INLINED = 1_000
"""Beyond so many copied nodes a reference stays one, even if what stands beside it is lost."""
_JSON_SAID = frozenset({
    "type", "format", "enum", "const", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf",
    "oneOf", "exclusiveMinimum", "exclusiveMaximum", "properties", "additionalProperties", "required",
    "propertyOrdering",
})  # fmt: skip


class JsonSchemaWriter(Writer):
    """Real JSON Schema, the keywords that Google honours; definitions stay definitions."""

    lower = True

    def __init__(self, root: dict[str, Any], budget: Budget) -> None:
        super().__init__(root, budget)
        self._owner = id(root)
        self._inside = 0
        """How many properties of the current definition lead here."""
        self._tight = False
        """A recursive reference was written and no optional property surrounds it yet."""
        self._wanted: list[dict[str, Any]] = []

    def top(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The root; the definitions it needs come to stand in ``definitions``."""
        out = super().top(raw)
        while self._wanted:
            target = self._wanted.pop()
            name = self.document.definitions[id(target)]
            if name in self.definitions:
                continue
            self.definitions[name] = {}
            self._owner, self._inside, self._tight = id(target), 0, False
            spot = Spot((id(self.document.root), id(target)))
            self.definitions[name] = super().node(target, spot)
        return out

    def node(self, raw: Any, spot: Spot) -> dict[str, Any]:
        """As in every writer, but a reference to a definition stays one."""
        if isinstance(raw, dict):
            kept = self._reference(raw, spot)
            if kept is not None:
                return kept
        return super().node(raw, spot)

    def _reference(self, raw: dict[str, Any], spot: Spot) -> dict[str, Any] | None:
        """The node as a bare reference; None where it is none or must be inlined for what stands beside it."""
        ref = raw.get("$ref")
        target = self.document.resolve(ref) if isinstance(ref, str) else None
        if not isinstance(ref, str) or not isinstance(target, dict) or id(target) not in self.document.definitions:
            return None
        beside = [key for key in raw if key in _JSON_SAID or key in ("description", "title", "allOf", "nullable")]
        if beside and id(target) not in spot.path and self.copied < _MOST_INLINED:
            return None
        if self.document.recursive(self._owner, id(target)):
            if not self._inside:
                self.note("$ref")
                return self._stub(ref, target)
            self._tight = True
        self._wanted.append(target)
        name = self.document.definitions[id(target)].replace("~", "~0").replace("/", "~1")
        return {"$ref": f"#/$defs/{name}"}

    def _anything(self) -> dict[str, Any]:
        return {}

    def _write(self, node: dict[str, Any], spot: Spot) -> dict[str, Any]:
        out: dict[str, Any] = {}
        found, nullable = kinds(node)
        nullable = nullable or node.get("nullable") is True
        found, null = self._members(out, node, found)
        nullable = nullable or null
        for union in _UNIONS:
            self._union(out, node, union, spot)
        self._object(out, node, spot)
        self._array(out, node, spot)
        if not found and "enum" not in out:
            found = self._kind_written(out, node, spot)
        if nullable:
            found = self._with_null(out, found)
        head: dict[str, Any] = {}
        if found:
            head["type"] = found[0] if len(found) == 1 else found
        elif "type" in node:
            self.note("type")
        self._annotated(head, node, [])
        if isinstance(node.get("format"), str) and node["format"]:
            head["format"] = node["format"]
        self._limits(out, node, found)
        self._note_left_out(node, _JSON_SAID)
        return {**head, **out}

    @staticmethod
    def _kind_written(out: dict[str, Any], node: dict[str, Any], spot: Spot) -> list[str]:
        """The type of an untyped node, from what was written of it: reading that again must find the same."""
        if "properties" in out or (spot.top and implied(node) == "object"):
            return ["object"]
        return ["array"] if "items" in out or "prefixItems" in out else []

    @staticmethod
    def _with_null(out: dict[str, Any], found: list[str]) -> list[str]:
        """The types with null; where there are none, null joins the alternatives."""
        if found:
            return found if found == ["null"] else [*found, "null"]
        null = {"type": "null"}
        if "enum" in out and out.keys().isdisjoint(_UNIONS):  # of several types: null has no other place
            out["anyOf"] = [{"enum": out.pop("enum")}]
        for union in _UNIONS:
            if union in out and null not in out[union]:
                out[union] = [*out[union], null]
        return found

    def _limits(self, out: dict[str, Any], node: dict[str, Any], found: list[str]) -> None:
        low, high = bounds(node, integer="integer" in found)
        if found != ["integer"] and any(node.get(key) not in (None, False) for key in EXCLUSIVE):
            self.loosen("exclusiveMinimum")
        sizes = (("minItems", count(node.get("minItems"))), ("maxItems", count(node.get("maxItems"))))
        for key, value in (("minimum", low), ("maximum", high), *sizes):
            if value is not None:
                out.setdefault(key, value)
            elif key in node:
                self.note(key)

    def _members(self, out: dict[str, Any], node: dict[str, Any], found: list[str]) -> tuple[list[str], bool]:
        """``enum`` and ``const``: strings and numbers stay, null becomes a type, anything else cannot be said.

        Returns the type words with what the members tell about them, and whether null is a member.
        """
        values = members(node)
        if values is None:
            if "enum" in node:
                self.note("enum")
            return found, False
        null = any(value is None for value in values)
        plain = distinct(value for value in map(_sayable, values) if value is not None and value != "")
        if len(plain) + null < len(distinct(values)):
            self.note("enum")
        sorts = {sort_of(value) for value in plain}
        if not sorts <= {"string", "integer", "number"}:
            if sorts != {"boolean"} or len(plain) < 2:
                self.note("enum")
            return found or ([sorts.pop()] if len(sorts) == 1 else []), null
        if not plain:
            if found not in ([], ["null"]):
                self.loosen("enum")
            return found or (["null"] if null else []), null and bool(found)
        out["enum"] = plain
        if not found:
            found = ["number"] if sorts == {"integer", "number"} else [sorts.pop()] if len(sorts) == 1 else []
        return found, null

    def _union(self, out: dict[str, Any], node: dict[str, Any], key: str, spot: Spot) -> None:
        branches = node.get(key)
        if not isinstance(branches, list) or not branches:
            if key in node:
                self.note(key)
            return
        if key == "oneOf" and len(branches) > 1:
            self.loosen("oneOf")  # Google reads it as anyOf
        written = distinct_nodes(self.node(branch, spot.below()) for branch in branches)
        if all(branch == {} for branch in written):
            self.note(key)
        else:
            out[key] = written

    def _object(self, out: dict[str, Any], node: dict[str, Any], spot: Spot) -> None:
        properties = node.get("properties")
        if isinstance(properties, dict):
            required = names(node.get("required"))
            written: dict[str, Any] = {}
            inner = spot.below()
            for name, below in properties.items():
                outer, self._tight = self._tight, False
                self._inside += 1
                written[name] = self.node(below, inner)
                self._inside -= 1
                if self._tight and name in required:
                    required.remove(name)  # Google: recursive references only inside properties that are not required
                    self.note("required")
                self._tight = outer
            out["properties"] = written
            if any(name not in written for name in required):
                self.loosen("required")
            required = [name for name in required if name in written]
            if required:
                out["required"] = required
            self._ordering(out, node, written)
        elif "properties" in node:
            self.note("properties")
        elif names(node.get("required")):
            self.loosen("required")
        if "required" in node and not isinstance(node["required"], list):
            self.note("required")
        further = node.get("additionalProperties")
        if "patternProperties" in node:
            if further is False:
                further = None  # names that fit a pattern were allowed, and the pattern cannot be said
            self.note("patternProperties")
        if isinstance(further, bool):
            out["additionalProperties"] = further
        elif isinstance(further, dict):
            out["additionalProperties"] = self.node(further, spot.below())
        elif further is not None:
            self.note("additionalProperties")

    def _array(self, out: dict[str, Any], node: dict[str, Any], spot: Spot) -> None:
        items, first = node.get("items"), node.get("prefixItems")
        if isinstance(items, list):
            first, items = items, node.get("additionalItems")
        if isinstance(first, list) and first:
            inner = spot.below()
            out["prefixItems"] = [self.node(item, inner) for item in first]
            if items is False:
                most = count(node.get("maxItems"))
                out["maxItems"] = len(first) if most is None else min(most, len(first))
        elif first is not None and first != []:
            self.note("prefixItems")
        if isinstance(items, dict):
            out["items"] = self.node(items, spot.below())
        elif items is False and "maxItems" not in out:
            self.loosen("items")
        elif isinstance(items, str):
            out["items"] = self._shorthand(items)


def _sayable(value: Any) -> Any:
    """A member as every JSON writer can write it, None where none can."""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
