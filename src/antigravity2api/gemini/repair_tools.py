"""One refused schema among many: the tool it belongs to is found in the refusal, made simpler alone, and left out at
last; a response schema is described in words at last. Pure.

A step is never taken back, each is noted, and each is remembered once the upstream took the request for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import orjson

from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call, MendedTool
from antigravity2api.gemini.schema import Target, compile_parameters
from antigravity2api.gemini.schema_nodes import json_text
from antigravity2api.gemini.types import GenerateContentRequest

LOOSENED = "loosened"
"""Types, names and enums alone, everything else in words."""
REDUCED = "reduced"
"""The names of its arguments and plain types; the schema stands in the description as text."""
DROPPED = "dropped"
STAGES = (LOOSENED, REDUCED, DROPPED)
DESCRIBED = "described"
"""A response schema in the system instruction."""

_GOOGLES = re.compile(r"tools?\[(\d{1,4})\]\.function_?declarations?\[(\d{1,4})\]", re.IGNORECASE).findall
_ALONE = re.compile(r"(?<!\]\.)\bfunction_?declarations?\[(\d{1,4})\]", re.IGNORECASE).findall
_ANTHROPICS = re.compile(r"\btools\.(\d{1,4})\.", re.IGNORECASE).findall
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}").fullmatch
_LONGEST_SCHEMA = 4_000
_SCALARS = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN"})

Declaration = dict[str, Any]


def has_schema(declaration: Mapping[str, Any]) -> bool:
    """Whether a declaration has parameters that were not simplified yet."""
    return "parametersJsonSchema" in declaration


def blamed(request: GenerateContentRequest, fault: Fault) -> list[str]:
    """The names of the tools that a refusal speaks of, by number or by name; none where it speaks of all or nothing."""
    places = [
        (at, index, declaration["name"])
        for at, tool in enumerate(request.get("tools") or [])
        for index, declaration in enumerate(tool.get("functionDeclarations") or [])
    ]
    text = fault.message
    numbered = {(int(at), int(index)) for at, index in _GOOGLES(text)}
    alone = {int(index) for index in _ALONE(text)}
    flat = {int(index) for index in _ANTHROPICS(text)}
    found = [
        name
        for number, (at, index, name) in enumerate(places)
        if (at, index) in numbered or index in alone or number in flat
    ]
    if not found and not (numbered or alone or flat):
        found = [name for _, _, name in places if _is_spoken_of(name, text)]
    return found


def _is_spoken_of(name: str, text: str) -> bool:
    """Whether a text names a tool, not just uses a word that is also its name."""
    shown = re.escape(name)
    return re.search(rf"""(?i:functions?|tools?|declarations?)(?i:\s(?:named|called|name))?:?\s+{shown}(?![\w-])
        |[`'"]{shown}[`'"]""", text, re.VERBOSE) is not None  # fmt: skip


def simplified(call: Call, names: Iterable[str], left: int | None, *, bare: bool) -> tuple[Call, list[MendedTool]]:
    """The call with some tools one step simpler, and what was made of them.

    ``left``: how many attempts may follow; with the last of them no risk is taken. ``bare``: the upstream already gets
    the form that a first step would give.
    """
    stages = {mended.name: mended.stage for mended in call.mended_tools}
    last = left is not None and left < 2
    wanted: dict[str, str] = {}
    for name in names:
        done = stages.get(name)
        if done is None:
            wanted[name] = REDUCED if last or bare else LOOSENED
        elif done == LOOSENED and not last:
            wanted[name] = REDUCED
        else:
            wanted[name] = DROPPED
    return restaged(call, wanted)


def restaged(call: Call, wanted: Mapping[str, str]) -> tuple[Call, list[MendedTool]]:
    """The call with each named tool at a stage, and what was made of them."""
    known = {mended.name: mended for mended in call.mended_tools}
    made: list[MendedTool] = []
    tools: list[dict[str, Any]] = []
    for tool in call.request.get("tools") or []:
        declarations = tool.get("functionDeclarations")
        if declarations is None:
            tools.append(tool)
            continue
        kept: list[Declaration] = []
        for declaration in declarations:
            stage = wanted.get(declaration["name"])
            if stage is None:
                kept.append(declaration)
                continue
            before = known.get(declaration["name"])
            original = before.original if before is not None else declaration
            made.append(MendedTool(declaration["name"], digest_of(original), stage, original))
            if stage != DROPPED:
                kept.append(_at(stage, original))
        if kept:
            tools.append({**tool, "functionDeclarations": kept})
    if not made:
        return call, made
    request = cast("GenerateContentRequest", {**call.request, "tools": tools})
    gone = [mended.name for mended in made if mended.stage == DROPPED]
    if gone:
        request = _without_choice_of(request, gone)
    names = {mended.name for mended in made}
    mended_tools = (*(mended for mended in call.mended_tools if mended.name not in names), *made)
    notes = [f"tool.{mended.name}:{mended.stage}" for mended in made]
    return call.with_request(request, *notes)._replace(mended_tools=mended_tools), made


def digest_of(declaration: Mapping[str, Any]) -> str:
    """What a declaration is remembered by."""
    try:
        text = orjson.dumps(declaration)
    except TypeError:  # an integer past 64 bits
        text = repr(declaration).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def declarations_of(request: GenerateContentRequest) -> Iterator[Declaration]:
    """Every function declaration of a request."""
    for tool in request.get("tools") or []:
        yield from tool.get("functionDeclarations") or []


# -- the stages --------------------------------------------------------------------------------------------------------


def _at(stage: str, declaration: Declaration) -> Declaration:
    """A declaration at a stage, its parameters in the words of Google's ``Schema`` message, which no step changes."""
    schema = declaration.get("parametersJsonSchema")
    made = {key: value for key, value in declaration.items() if key not in ("parametersJsonSchema", "parameters")}
    if not isinstance(schema, dict):
        return made
    compiled = compile_parameters(schema, Target.ANTIGRAVITY).schema or {}
    if stage == LOOSENED:
        return {**made, "parameters": compiled}
    properties = {name: _plain(node) for name, node in (compiled.get("properties") or {}).items() if _PLAIN_NAME(name)}
    required = [name for name in compiled.get("required", ()) if name in properties]
    text = json_text(schema)
    shown = text if len(text) <= _LONGEST_SCHEMA else text[:_LONGEST_SCHEMA] + "…"
    told = f"The arguments must match this JSON Schema: {shown}"
    made["description"] = f"{made['description']}\n\n{told}" if made.get("description") else told
    if properties:
        made["parameters"] = {
            "type": "OBJECT",
            "properties": properties,
            **({"required": required} if required else {}),
        }
    return made


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    """One argument with a plain type: what is more than a scalar is passed as JSON text."""
    kind = node.get("type")
    words = node.get("description")
    words = words if isinstance(words, str) else ""
    if kind not in _SCALARS:
        words = f"{words} (as JSON text)" if words else "as JSON text"
        kind = "STRING"
    return {"type": kind, **({"description": words} if words else {})}


def _without_choice_of(request: GenerateContentRequest, gone: list[str]) -> GenerateContentRequest:
    """The request without a wish to call tools that are not declared any more."""
    if not request.get("tools"):
        request = cast("GenerateContentRequest", {key: value for key, value in request.items() if key != "tools"})
    config = request.get("toolConfig")
    if not config:
        return request
    calling = config.get("functionCallingConfig") or {}
    allowed = [name for name in calling.get("allowedFunctionNames") or () if name not in gone]
    left = any(True for _ in declarations_of(request))
    kept = {key: value for key, value in config.items() if key != "functionCallingConfig"}
    if left and (allowed or not calling.get("allowedFunctionNames")):
        kept["functionCallingConfig"] = {**calling, **({"allowedFunctionNames": allowed} if allowed else {})}
    if not left:
        kept.pop("includeServerSideToolInvocations", None)
    made = {key: value for key, value in request.items() if key != "toolConfig"}
    return cast("GenerateContentRequest", {**made, "toolConfig": kept} if kept else made)


# -- response schemas --------------------------------------------------------------------------------------------------


def described(call: Call) -> Call | None:
    """The call with its response schema in words; None where there is none."""
    config = call.request.get("generationConfig") or {}
    schema = config.get("responseJsonSchema")
    if schema is None:
        return None
    text = f"Answer with JSON only, matching this JSON Schema:\n{json_text(schema)}"
    parts = [*(call.request.get("systemInstruction") or {"parts": []})["parts"], {"text": text}]
    request = {
        **call.request,
        "generationConfig": {key: value for key, value in config.items() if key != "responseJsonSchema"},
        "systemInstruction": {"parts": parts},
    }
    return call.with_request(cast("GenerateContentRequest", request), f"response_format:{DESCRIBED}")


def response_digest(request: GenerateContentRequest) -> str | None:
    """What a response schema is remembered by."""
    schema = (request.get("generationConfig") or {}).get("responseJsonSchema")
    return None if schema is None else "response " + digest_of({"schema": schema})
