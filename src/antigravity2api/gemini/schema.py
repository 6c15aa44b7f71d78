"""JSON Schema → what each surface of Gemini accepts. Pure; an object, however odd, is loosened and never refused.

Only schema positions are walked: a property named like a keyword, a default or an enum value is data. References are
followed, ``allOf`` merged, and every keyword that a target does not know is said in another way or left out.
Sources: ai.google.dev/api/caching#Schema and ai.google.dev/gemini-api/docs/structured-output for the keywords.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import orjson

from antigravity2api.errors import Fault, invalid
from antigravity2api.gemini.schema_budget import Budget
from antigravity2api.gemini.schema_json import JsonSchemaWriter
from antigravity2api.gemini.schema_nodes import is_object, kinds, united
from antigravity2api.gemini.schema_openapi import OpenApiWriter
from antigravity2api.gemini.schema_restore import PLACEHOLDER, restored
from antigravity2api.gemini.schema_walk import INDIRECT, TooLarge, Writer

Kind = Literal["parameters", "response"]


class Target(StrEnum):
    """How a surface wants its schemas."""

    JSON_SCHEMA = "json_schema"
    """Real JSON Schema in ``parametersJsonSchema`` and ``responseJsonSchema``."""
    OPENAPI = "openapi"
    """Google's ``Schema`` message, an OpenAPI 3.0 subset, in ``parameters`` and ``responseSchema``."""
    ANTIGRAVITY = "antigravity"
    """The ``Schema`` message with types, names and enums only, as the models behind Antigravity take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A schema for a target. Shared between requests: never change it in place."""

    schema: dict[str, Any] | None
    """None: leave the field out."""
    notes: tuple[str, ...] = ()
    """Keywords that could not be said."""
    loosened: tuple[str, ...] = ()
    """Keywords by which the client's schema is stricter than this one: those, and the ones that are said in words."""
    wrapped: bool = False
    """The top level was no object and stands under ``value`` now."""
    placeholder: str | None = None
    """An argument that no client declared, for surfaces that refuse objects without any."""
    converted: bool = False
    """Whether enum members became strings that ``restore_args`` turns back."""


_NOTHING = Compiled(schema=None)
_MOST_BESIDE = 200
"""Keywords that may stand beside alternatives which are made one object."""


def compile_parameters(schema: Any, target: Target, budget: Budget | None = None) -> Compiled:
    """The parameters of a function. Raises ``Fault`` invalid_function_parameters for what is no object or too deep.

    ``budget`` is shared by all schemas of a request; what goes beyond it is loosened and noted as ``size``.
    """
    code = "invalid_function_parameters"
    if schema is None and target is not Target.ANTIGRAVITY:
        return _NOTHING
    writer = _writer({} if schema is None else schema, target, code, budget)
    try:
        node, wrapped = _parameters(writer, writer.document.root)
    except TooLarge as limit:
        raise _refused(str(limit), code) from None
    if node is None and target is Target.ANTIGRAVITY:
        node = {"type": "OBJECT", **writer.empty_object(), "required": [PLACEHOLDER]}
    return Compiled(wrapped=wrapped, **_made(writer, node))


def compile_response(schema: Any, target: Target, budget: Budget | None = None) -> Compiled:
    """A schema for structured output; arrays and enums may stand at the top. Raises ``Fault`` invalid_json_schema."""
    code = "invalid_json_schema"
    if schema is None:
        return _NOTHING
    writer = _writer(schema, target, code, budget)
    writer.fill_objects = False
    try:
        node = writer.top(schema)
    except TooLarge as limit:
        raise _refused(str(limit), code) from None
    says_nothing = not node or (node.get("type") == "OBJECT" and not node.get("properties"))
    return Compiled(**_made(writer, None if says_nothing else node))


def _parameters(writer: Writer, schema: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """The node that must be an object, and whether it had to be wrapped for that; None where it takes no argument."""
    flat = _one_object(writer, writer.flat(schema))
    node = writer.top(flat)
    word = "object" if writer.lower else "OBJECT"
    says_nothing = not node.keys() & {"type", "anyOf", "oneOf", "enum"}
    if node.get("type") == word or says_nothing:
        node.pop("nullable", None)
        empty = says_nothing or not (node.get("properties") or node.get("additionalProperties"))
        return (None if empty else node), False
    return {"type": word, "properties": {"value": node}, "required": ["value"]}, True


def _one_object(writer: Writer, flat: dict[str, Any]) -> dict[str, Any]:
    """A flat top-level node whose alternatives are all objects as one object: a plain one is what Google wants."""
    said, _ = kinds(flat)
    union = next((key for key in ("anyOf", "oneOf") if isinstance(flat.get(key), list) and flat[key]), None)
    if union is None:
        return {**flat, "type": "object"} if "object" in said else flat
    if said not in ([], ["object"]):
        return flat
    own = {key: value for key, value in flat.items() if key not in ("anyOf", "oneOf")}
    if len(own) > _MOST_BESIDE:
        return flat
    if said and writer.lower and isinstance(own.get("properties"), dict):
        return {**flat, "type": "object"}  # real JSON Schema can say this
    parts = [part for part in (writer.flat(branch) for branch in flat[union]) if kinds(part)[0] != ["null"]]
    if not parts or not all(is_object({**own, **part}) for part in parts):
        return flat
    writer.note("anyOf")
    shaped = any(isinstance(part.get("properties"), dict) for part in parts)
    return {**(writer.merged([united(parts), own], keep=0) if shaped else own), "type": "object"}


def _writer(schema: Any, target: Target, code: str, budget: Budget | None) -> Writer:
    if not isinstance(schema, dict):
        raise _refused("expected a JSON Schema object", code)
    budget = budget or Budget()
    try:
        if target is Target.JSON_SCHEMA:
            return JsonSchemaWriter(schema, budget)
        return OpenApiWriter(schema, budget, bare=target is Target.ANTIGRAVITY)
    except TooLarge as limit:
        raise _refused(str(limit), code) from None


def _refused(why: str, code: str) -> Fault:
    return invalid(f"Invalid schema: {why}.", None, code)


def _made(writer: Writer, node: dict[str, Any] | None) -> dict[str, Any]:
    if node is not None and writer.definitions:
        node = {**node, "$defs": writer.definitions}
    return {
        "schema": node,
        "notes": tuple(writer.notes),
        "loosened": tuple({**writer.notes, **writer.loosened}),
        "placeholder": PLACEHOLDER if writer.filled else None,
        "converted": writer.converted,
    }


def restore_args(args: Any, schema: Any, compiled: Compiled | None = None) -> Any:
    """What a model called a function with, as the client's own ``schema`` of its parameters wants it.

    Integral floats become integers where the schema says integer, texts become the numbers of a numeric enum again, an
    argument that only we declared goes, and ``value`` is unwrapped where the parameters are no object. Without
    anything to do the very same object comes back. ``compiled`` spares finding out whether there is a wrapping.
    """
    if isinstance(schema, dict) and isinstance(args, dict) and args.keys() == {"value"}:
        wrapped = compiled.wrapped if compiled is not None else _is_wrapped(schema)
        if wrapped:
            args = args["value"]
    return restored(args, schema)


def _is_wrapped(schema: dict[str, Any]) -> bool:
    if schema.get("type") == "object" and schema.keys().isdisjoint(INDIRECT):
        return False
    return compile_parameters(schema, Target.JSON_SCHEMA).wrapped


@dataclass(frozen=True, slots=True)
class _Kept:
    """A compiled schema and its budget: what it took, or where it began and ended when the budget cut it short."""

    compiled: Compiled
    cost: int
    cut: bool
    begun: tuple[int, int]
    ended: tuple[int, int]

    def serves(self, budget: Budget) -> bool:
        """Whether compiling within ``budget`` would come to the same; if so it is charged."""
        if self.cut:
            if (budget.nodes, budget.copies) != self.begun:
                return False
            budget.nodes, budget.copies = self.ended
            return True
        return budget.take(self.begun[0] - self.ended[0], self.begun[1] - self.ended[1])


class SchemaCache:
    """Remembers compiled schemas by the hash of their JSON: agents send the same tools with each turn.

    Nothing can tell its results from computing: what comes from memory takes as much from a budget as it took at first.
    """

    __slots__ = ("_bytes", "_held", "_max_bytes")

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        self._held: OrderedDict[tuple[bytes, Kind, Target], _Kept] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._held)

    def compile(self, raw: Any, kind: Kind, target: Target, budget: Budget | None = None) -> Compiled:
        """As ``compile_parameters`` or ``compile_response``, from memory where possible."""
        budget = budget or Budget()
        make = compile_parameters if kind == "parameters" else compile_response
        try:
            text = orjson.dumps(raw)
        except TypeError:  # an integer past 64 bits
            return make(raw, target, budget)
        key = (hashlib.blake2b(text, digest_size=16).digest(), kind, target)
        found = self._held.get(key)
        if found is not None and found.serves(budget):
            self._held.move_to_end(key)
            return found.compiled
        begun, refusals = (budget.nodes, budget.copies), budget.refusals
        compiled = make(raw, target, budget)
        cut = budget.refusals != refusals
        if found is None or found.cut:  # a whole one serves more requests than one that was cut
            kept = _Kept(compiled, len(text) + 200, cut, begun, (budget.nodes, budget.copies))
            self._keep(key, kept)
        return compiled

    def _keep(self, key: tuple[bytes, Kind, Target], kept: _Kept) -> None:
        known = self._held.pop(key, None)
        if known is not None:
            self._bytes -= known.cost
        if kept.cost > self._max_bytes // 4:
            return
        self._held[key] = kept
        self._bytes += kept.cost
        while self._bytes > self._max_bytes:
            self._bytes -= self._held.popitem(last=False)[1].cost


__all__ = [
    "PLACEHOLDER",
    "Budget",
    "Compiled",
    "Kind",
    "SchemaCache",
    "Target",
    "compile_parameters",
    "compile_response",
    "restore_args",
]
