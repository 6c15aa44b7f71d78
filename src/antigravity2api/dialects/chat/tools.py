"""Tools of Chat Completions → function declarations, tool configuration and the two-way map of names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from antigravity2api.dialects.chat import fields
from antigravity2api.errors import invalid
from antigravity2api.gemini.models import ModelProfile

_FITS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}").fullmatch
_BAD = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64
_EMPTY_SCHEMA_KEYS = frozenset(
    {"type", "properties", "required", "additionalProperties", "$schema", "title", "description"}
)
_SAID = frozenset(("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls", "web_search_options"))
_HOSTED = {
    "web_search": "googleSearch",
    "web_search_preview": "googleSearch",
    "google_search": "googleSearch",
    "googleSearch": "googleSearch",
    "url_context": "urlContext",
    "urlContext": "urlContext",
    "code_execution": "codeExecution",
    "codeExecution": "codeExecution",
}
"""Tools that Google runs itself, under the names that clients give them."""


class Names:
    """The request's two-way map between the client's tool names and names that every surface of Google accepts."""

    __slots__ = ("_counts", "_down", "_up")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._up: dict[str, str] = {}
        self._down: dict[str, str] = {}

    def upstream(self, name: str) -> str:
        """The upstream's name for ``name``; the same one within a request, never shared by two names."""
        known = self._up.get(name)
        if known is not None:
            return known
        wanted = name if _FITS(name) else _fitting(name)
        found, count = wanted, self._counts.get(wanted, 1)
        while found in self._down:
            count += 1
            tail = f"_{count}"
            found = wanted[: _LONGEST - len(tail)] + tail
        self._counts[wanted] = count
        self._up[name] = found
        self._down[found] = name
        return found

    def copy(self) -> Names:
        """The same names for another request, which may add its own."""
        made = Names()
        made._counts, made._up, made._down = self._counts.copy(), self._up.copy(), self._down.copy()
        return made

    def __contains__(self, name: str) -> bool:
        return name in self._up

    @property
    def back(self) -> dict[str, str]:
        """Upstream name → client's name."""
        return self._down


def _fitting(name: str) -> str:
    clean = _BAD.sub("_", name)
    if not clean[0].isascii() or not (clean[0].isalpha() or clean[0] == "_"):
        clean = "_" + clean
    if len(clean) <= _LONGEST:
        return clean
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[:55]}_{digest}"


@dataclass(slots=True, kw_only=True)
class ToolPlan:
    """What goes up about tools, and what the answer has to know."""

    names: Names
    tools: list[dict[str, Any]]
    config: dict[str, Any] | None = None
    declared: frozenset[str] = frozenset()
    custom: frozenset[str] = frozenset()
    schemas: dict[str, dict[str, Any]]
    legacy: bool = False
    single: bool = False


@dataclass(slots=True)
class _Declared:
    """Declarations under way, by the client's name (the last of two with one name wins)."""

    functions: dict[str, dict[str, Any]]
    schemas: dict[str, dict[str, Any]]
    custom: set[str]
    hosted: dict[str, str]
    """Google's key → the client's path, for the note when it is dropped."""


def read_tools(body: fields.Body, profile: ModelProfile, applied: list[str]) -> ToolPlan:
    """Everything that the client said about tools. Notes join ``applied``; raises ``Fault``."""
    if _SAID.isdisjoint(body):
        return ToolPlan(names=Names(), tools=[], schemas={})
    tools = fields.array(body, "tools")
    functions = fields.array(body, "functions")
    single = fields.boolean(body, "parallel_tool_calls") is False
    search = fields.mapping(body, "web_search_options")
    legacy = bool(functions) and not tools
    spellings = ("function_call", "tool_choice") if legacy else ("tool_choice", "function_call")
    choice_path = next((name for name in spellings if body.get(name) is not None), spellings[0])
    choice = body.get(choice_path)
    names = Names()
    found = _Declared({}, {}, set(), {})
    if tools:
        for index, tool in enumerate(tools):
            _read_tool(fields.item(tool, f"tools[{index}]"), f"tools[{index}]", found)
    elif functions:
        for index, function in enumerate(functions):
            path = f"functions[{index}]"
            _read_function(fields.item(function, path), path, found)
    if search is not None:
        found.hosted.setdefault("googleSearch", "web_search_options")
    if not profile.tools and (found.functions or found.hosted):
        applied.append("tools:dropped")
        return ToolPlan(names=names, tools=[], schemas={}, legacy=legacy, single=single)
    for name in found.functions:
        if _FITS(name):
            names.upstream(name)
    declarations = [{"name": names.upstream(name), **entry} for name, entry in found.functions.items()]
    renamed = sum(1 for up, name in names.back.items() if up != name)
    if renamed:
        applied.append(f"tools:renamed {renamed}")
    config = _read_choice(choice, choice_path, found, names)
    upstream, config = _combine(declarations, found.hosted, config, profile, applied)
    return ToolPlan(
        names=names,
        tools=upstream,
        config=config,
        declared=frozenset(names.back),
        custom=frozenset(found.custom),
        schemas=found.schemas,
        legacy=legacy,
        single=single,
    )


def _combine(
    declarations: list[dict[str, Any]],
    hosted: dict[str, str],
    config: dict[str, Any] | None,
    profile: ModelProfile,
    applied: list[str],
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Functions in one Tool, hosted tools each in its own; where both together are refused, functions win."""
    upstream: list[dict[str, Any]] = []
    if declarations:
        upstream.append({"functionDeclarations": declarations})
        if hosted and not profile.search_with_tools:
            applied.extend(f"{path}:dropped" for path in hosted.values())
            return upstream, config
        if hosted:
            config = {**(config or {}), "includeServerSideToolInvocations": True}
    upstream.extend({key: {}} for key in hosted)
    return upstream, config


def _read_tool(tool: dict[str, Any], path: str, found: _Declared) -> None:
    kind = fields.text(tool, "type", path)
    if kind is None:
        kind = "function" if "function" in tool else next((key for key in tool if key in _HOSTED), None)
    match kind:
        case None:
            raise fields.missing(f"{path}.type", "Use 'function' or 'custom'.")
        case "function":
            nested = fields.mapping(tool, "function", path)
            if nested is None and "name" not in tool:
                raise fields.missing(f"{path}.function")
            _read_function(tool if nested is None else nested, path if nested is None else f"{path}.function", found)
        case "custom":
            nested = fields.mapping(tool, "custom", path)
            if nested is None and "name" not in tool:
                raise fields.missing(f"{path}.custom")
            _read_custom(tool if nested is None else nested, path if nested is None else f"{path}.custom", found)
        case _ if kind in _HOSTED:
            found.hosted.setdefault(_HOSTED[kind], path)
        case _:
            raise fields.one_of(f"{path}.type", kind, "'function', 'custom' and 'web_search'")


def _read_function(function: dict[str, Any], path: str, found: _Declared) -> None:
    name = fields.required_text(function, "name", path)
    description = fields.text(function, "description", path)
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(
            f"Invalid type for '{path}.parameters': expected a JSON Schema object, but got {fields.kind(schema)}.",
            f"{path}.parameters",
            "invalid_function_parameters",
        )
    entry: dict[str, Any] = {}
    if description:
        entry["description"] = description
    found.schemas.pop(name, None)
    if schema and not _takes_nothing(schema):
        entry["parametersJsonSchema"] = schema
        found.schemas[name] = schema
    found.custom.discard(name)
    found.functions[name] = entry


def _takes_nothing(schema: dict[str, Any]) -> bool:
    """Whether a schema allows no argument at all; some surfaces refuse an OBJECT without properties."""
    return (
        not schema.get("properties")
        and schema.get("type", "object") == "object"
        and not schema.get("additionalProperties")
        and schema.keys() <= _EMPTY_SCHEMA_KEYS
    )


def _read_custom(tool: dict[str, Any], path: str, found: _Declared) -> None:
    """A free-text tool becomes a function with the one string ``input``; a grammar can only be described."""
    name = fields.required_text(tool, "name", path)
    description = fields.text(tool, "description", path) or ""
    form = fields.mapping(tool, "format", path) or {}
    if fields.text(form, "type", f"{path}.format") == "grammar":
        grammar = fields.mapping(form, "grammar", f"{path}.format") or form
        definition = fields.text(grammar, "definition", f"{path}.format.grammar") or ""
        syntax = fields.text(grammar, "syntax", f"{path}.format.grammar") or "lark"
        description = f"{description}\n\nThe input must match this {syntax} grammar:\n{definition}".strip()
    schema = {
        "type": "object",
        "properties": {"input": {"type": "string", "description": "The whole input of the tool as plain text."}},
        "required": ["input"],
    }
    entry: dict[str, Any] = {"description": description} if description else {}
    entry["parametersJsonSchema"] = schema
    found.schemas[name] = schema
    found.custom.add(name)
    found.functions[name] = entry


def _read_choice(choice: Any, path: str, found: _Declared, names: Names) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return _choice_word(choice, path, found)
    if not isinstance(choice, dict):
        raise fields.wrong_type(path, "a string or an object", choice)
    kind = fields.text(choice, "type", path)
    if kind == "allowed_tools":
        return _allowed(choice, path, found, names)
    if kind in ("auto", "none", "required", "any"):
        return _choice_word(kind, f"{path}.type", found)
    if kind not in (None, "function", "custom", "tool"):
        raise fields.one_of(f"{path}.type", kind, "'function', 'custom' and 'allowed_tools'")
    return _calling("ANY", [_chosen(choice, path, found, names)])


def _choice_word(word: str, path: str, found: _Declared) -> dict[str, Any] | None:
    match word:
        case "auto":
            return None
        case "none":
            return _calling("NONE") if found.functions else None
        case "required" | "any":
            if found.functions:
                return _calling("ANY")
            if found.hosted:
                return None
            raise invalid(f"'{path}' asks for a tool call, but 'tools' declares none.", path)
        case _:
            raise fields.one_of(path, word, "'none', 'auto', 'required' and a named tool")


def _allowed(choice: dict[str, Any], path: str, found: _Declared, names: Names) -> dict[str, Any]:
    nested = fields.mapping(choice, "allowed_tools", path)
    path = f"{path}.allowed_tools" if nested is not None else path
    allowed = choice if nested is None else nested
    mode = fields.text(allowed, "mode", path) or "auto"
    if mode not in ("auto", "required", "any"):
        raise fields.one_of(f"{path}.mode", mode, "'auto' and 'required'")
    tools = fields.array(allowed, "tools", path)
    if tools is None:
        raise fields.missing(f"{path}.tools")
    if not tools:
        raise invalid(f"Invalid '{path}.tools': empty array. Name at least one tool.", f"{path}.tools", "empty_array")
    chosen = [
        _chosen(fields.item(tool, f"{path}.tools[{index}]"), f"{path}.tools[{index}]", found, names)
        for index, tool in enumerate(tools)
    ]
    return _calling("VALIDATED" if mode == "auto" else "ANY", list(dict.fromkeys(chosen)))


def _chosen(choice: dict[str, Any], path: str, found: _Declared, names: Names) -> str:
    """The upstream's name of the tool that ``choice`` names, nested as Chat does or flat as Responses does."""
    for key in ("function", "custom"):
        nested = fields.mapping(choice, key, path)
        if nested is not None:
            choice, path = nested, f"{path}.{key}"
            break
    name = fields.required_text(choice, "name", path)
    if name not in found.functions:
        shown = name if len(name) <= 64 else name[:64] + "…"
        raise invalid(f"The tool {shown!r} is not declared in 'tools'.", path.partition(".")[0])
    return names.upstream(name)


def _calling(mode: str, allowed: list[str] | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"mode": mode}
    if allowed:
        config["allowedFunctionNames"] = allowed
    return {"functionCallingConfig": config}
