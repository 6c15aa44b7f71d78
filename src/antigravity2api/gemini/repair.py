"""Targeted repairs of a request that an upstream refused with 400, before the first byte went to the client. Pure.

Each repair answers one kind of refusal and is made at most once for a request. What was learned is remembered for the
upstream and the model by ``Learned``, so that the next request does not fail first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.parts import current_turn, parts_of
from antigravity2api.gemini.repair_history import in_words
from antigravity2api.gemini.repair_tools import (
    DESCRIBED,
    blamed,
    declarations_of,
    described,
    digest_of,
    has_schema,
    response_digest,
    restaged,
    simplified,
)
from antigravity2api.gemini.schema import Target
from antigravity2api.gemini.schema_nodes import json_text
from antigravity2api.gemini.signature import ESCAPE
from antigravity2api.gemini.types import Content, GenerateContentRequest, Part
from antigravity2api.gemini.validation import BadStructure

Lesson = (
    tuple[Literal["drop"], str]
    | tuple[Literal["thinking"], tuple[str, ...]]
    | tuple[Literal["hosted"], str]
    | tuple[Literal["target"], Target]
    | tuple[Literal["schema"], tuple[tuple[str, str], ...]]
)
"""What is remembered: a key of ``generationConfig`` that our defaults must not send, thinking settings (as JSON) and
hosted tools beside functions that are refused, the schema form to send, or single schemas (by digest) with the stage to
which they had to be simplified."""

_SIGNATURE = re.compile(
    r"thought[_ ]?signature|missing_thought_signature|`?signature`? in `?thinking`? block|signature: field required"
    r"|expected `?(?:thinking|redacted_thinking)`?|must start with a thinking block"
).search
_MISSING = re.compile(r"missing (?:a )?[`'\"]?thought[_ ]?signature|missing_thought_signature").search
_THINKING = re.compile(
    r"thinking[_ ]?(?:level|budget|config)|include[_ ]?thoughts|(?:not|n't) support thinking"
    r"|thinking(?: mode)? is not (?:supported|enabled|available)"
).search
_SCHEMA = re.compile(
    r"function_?declarations?(?:\[\d+\])?(?:\.|\[)|parameters_?json_?schema|response_?(?:json_?)?schema"
    r"|\btools\.\d+\.|input_schema|invalid (?:json )?schema|schema is invalid"
    r"|schema depth|too many states|should be non-empty for object|only allowed for string"
    r"|set alongside unsupported fields|unknown name \"(?:\$\w+|\w+of|not|const|\w+items|\w*properties|exclusive\w+)\""
    r"|(?:schema|parameters).{0,80}(?:unknown name|cannot find field|unsupported|not supported|too \w+)"
).search
_HOSTED = re.compile(
    r"built-?in tools?.{0,80}function|function call\w*.{0,80}(?:cannot|can't|not) be (?:used|combined)"
    r"|tool use with function calling is (?:unsupported|not supported)|include_?server_?side_?tool_?invocations"
).search
_PAIRS = re.compile(
    r"function (?:response|call) (?:parts?|turn)s?\b.{0,80}\b(?:equal|match|immediately)"
    r"|(?:match|equal).{0,80}function (?:response|call)s?|tool_use.{0,80}without.{0,20}tool_result"
    r"|unexpected `?tool_use_id"
).search
_STEPS = {Target.JSON_SCHEMA: Target.OPENAPI, Target.OPENAPI: Target.ANTIGRAVITY}
_NOT_SCHEMA = re.compile(r"function_?declarations?\[\d+\]\.name|invalid function name|duplicate function").search
_SPELLINGS = {
    "maxOutputTokens": r"max[_ ]?(?:output[_ ]?)?tokens",
    "topK": r"top[_ -]?k",
    "topP": r"top[_ -]?p",
}
_TOO_MUCH = re.compile(r"too (?:many states|deep|large)|(?:schema|max|maximum|nesting) depth|nested too").search
_ABOUT_RESPONSE = re.compile(r"response_?(?:json_?)?schema").search
ASKED_AGAIN = "response_format:asked again"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MOST_LEARNED = 512
_MOST_SCHEMAS = 64
"""Simplified schemas remembered for one model."""
_MOST_THINKING = 16
"""Refused thinking settings remembered for one model."""


@dataclass(slots=True)
class RepairState:
    """What was already tried for one request, and the schema form that its upstream starts with."""

    target: Target = Target.JSON_SCHEMA
    done: set[str] = field(default_factory=set)
    left: int | None = None
    """How many attempts may still follow; None: not known."""
    lessons: list[Lesson] = field(default_factory=list)
    """What the repairs would teach, if they turn out to help: a client's own mistake teaches nothing about a model."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A changed call, what was changed, and what to remember of it."""

    call: Call
    note: str
    learn: Lesson | None = None


def repair(call: Call, fault: Fault, state: RepairState) -> Repair | None:
    """The call changed so that ``fault`` may not come again, or None when nothing of ours is to blame."""
    made = _repaired(call, fault, state)
    if made is not None and made.learn is not None:
        state.lessons.append(made.learn)
    return made


def _repaired(call: Call, fault: Fault, state: RepairState) -> Repair | None:
    if fault.kind is not Kind.INVALID_REQUEST and fault.retry is not Retry.REPAIRED:
        return None
    if isinstance(fault, BadStructure):
        return _once(state, "structure", _asked_again(call, fault))
    text = f"{fault.message} {fault.reason or ''}".lower()
    if _SIGNATURE(text):
        return _once(state, "signatures", _without_signatures(call, missing=bool(_MISSING(text))))
    made = _without_defaults(call, text, state)
    if made is None and _THINKING(text):
        made = _once(state, "thinking", _without_thinking(call))
    if made is None and _HOSTED(text):
        made = _once(state, "hosted", _without_hosted_tools(call))
    if made is None and _PAIRS(text):
        made = _once(state, "pairs", _without_pairs(call))
    if made is None and _SCHEMA(text) and not _NOT_SCHEMA(text):
        made = _simpler(call, fault, text, state)
    return made


def _once(state: RepairState, kind: str, made: Repair | None) -> Repair | None:
    if made is None or kind in state.done:
        return None
    state.done.add(kind)
    return made


# -- signatures --------------------------------------------------------------------------------------------------


def _without_signatures(call: Call, *, missing: bool) -> Repair | None:
    """Without the signatures that came back; where the family demands some, with Google's escape value in their place.

    Claude takes no escape value: its thoughts go altogether, and with them the wish to think, for a turn of calls that
    does not begin with a signed thought is refused.
    """
    contents = call.request.get("contents") or []
    if call.profile.family == "claude":
        return _without_thoughts(call, contents)
    # A model that is not known to be strict is given the escape value only after it said that a signature is missing.
    escape = call.profile.signatures == "strict" or missing
    start = current_turn(contents)
    made = [_resigned(content, escape=escape and index >= start) for index, content in enumerate(contents)]
    kept = [content for content in made if content["parts"]]
    if kept == contents:
        return None
    note = "signatures:escaped" if escape else "signatures:dropped"
    return Repair(_with(call, note, contents=kept), note)


def _resigned(content: Content, *, escape: bool) -> Content:
    parts = parts_of(content)
    wanted = escape and content.get("role") == "model"
    if not wanted and not any("thoughtSignature" in part for part in parts):
        return content
    made: list[Part] = []
    for part in parts:
        first = wanted and "functionCall" in part
        if first:
            wanted = False
        if "thoughtSignature" in part:
            part = _unsigned(part)  # noqa: PLW2901
            if part.get("text") == "" and len(part) == 1 + ("thought" in part):
                continue  # it was there for its signature alone
        made.append({**part, "thoughtSignature": ESCAPE} if first else part)
    return {**content, "parts": made}


def _unsigned(part: Part) -> Part:
    return cast("Part", {key: value for key, value in part.items() if key != "thoughtSignature"})


def _without_thoughts(call: Call, contents: list[Content]) -> Repair | None:
    made: list[Content] = []
    for content in contents:
        parts = [part for part in parts_of(content) if not part.get("thought")]
        bare = [_unsigned(part) for part in parts]
        bare = [part for part in bare if part != {"text": ""}]
        if bare:
            made.append({**content, "parts": bare})
    config = call.request.get("generationConfig") or {}
    if made == contents and "thinkingConfig" not in config:
        return None
    call = _with(call, "thinking:off", contents=made)
    return Repair(_configured(call, _less(config, "thinkingConfig")), "thinking:off")


# -- generationConfig --------------------------------------------------------------------------------------------


def _without_defaults(call: Call, text: str, state: RepairState) -> Repair | None:
    """Without one value that was our default and that the refusal names; the client's own words are never dropped."""
    config = call.request.get("generationConfig") or {}
    named = [key for key in config if key in call.defaulted and key not in state.done and _names(text, key)]
    if not named:
        return None
    # "temperature and top_p cannot both be specified": one of the two is enough, and temperature says more.
    key = next((name for name in named if name != "temperature"), named[0])
    state.done.add(key)
    return Repair(_dropped(call, key), f"{key}:default dropped", ("drop", key))


def _names(text: str, key: str) -> bool:
    pattern = _SPELLINGS.get(key) or _HUMP.sub("[_ ]?", key).lower()
    return re.search(rf"(?<![a-z0-9]){pattern}(?![a-z0-9])", text) is not None


def _dropped(call: Call, key: str) -> Call:
    config = call.request.get("generationConfig") or {}
    call = _configured(call, _less(config, key), f"{key}:default dropped")
    return call._replace(defaulted=call.defaulted - {key})


def _without_thinking(call: Call) -> Repair | None:
    config = call.request.get("generationConfig") or {}
    if "thinkingConfig" not in config:
        return None
    note = "thinkingConfig:dropped"
    refused = json_text(config["thinkingConfig"])
    return Repair(_configured(call, _less(config, "thinkingConfig"), note), note, ("thinking", (refused,)))


# -- tools -------------------------------------------------------------------------------------------------------


def _without_hosted_tools(call: Call) -> Repair | None:
    """Functions alone, where the model takes no hosted tool (search, code) beside them."""
    tools = call.request.get("tools") or []
    functions = [tool for tool in tools if "functionDeclarations" in tool]
    if not functions or len(functions) == len(tools):
        return None
    note = "hosted tools:dropped"
    request: GenerateContentRequest = {**call.request, "tools": functions}
    config = _less(request.get("toolConfig") or {}, "includeServerSideToolInvocations")
    if config:
        request["toolConfig"] = config
    else:
        request.pop("toolConfig", None)
    return Repair(call.with_request(request, note), note, ("hosted", "beside functions"))


def _without_pairs(call: Call) -> Repair | None:
    """The history with its calls and results in words, where the upstream does not take them as pairs."""
    contents = in_words(call.request.get("contents") or [])
    if contents is None:
        return None
    note = "tool results:in words"
    return Repair(_with(call, note, contents=contents), note)


# -- schemas -----------------------------------------------------------------------------------------------------


def _simpler(call: Call, fault: Fault, text: str, state: RepairState) -> Repair | None:
    """Simpler schemas: those that the refusal names alone, or all of them in the next form."""
    now = _form(call, state)
    every = [each["name"] for each in declarations_of(call.request) if "parametersJsonSchema" in each]
    named = blamed(call.request, fault)
    known = {mended.name for mended in call.mended_tools}
    single = [name for name in named if name in every or name in known]
    formless = 'unknown name "parametersjsonschema"' in text
    one_of_several = bool(known) or len(single) < len(every)
    no_more_steps = state.left == 1 and not state.done.isdisjoint(Target)
    if single and not formless and (one_of_several or no_more_steps):
        return _isolated(call, single, now, state, text)
    made = _next_form(call, now, state)
    if made is not None or not _ABOUT_RESPONSE(text):
        return made or (_isolated(call, single, now, state, text) if single and state.left is not None else None)
    digest = response_digest(call.request)
    told = described(call)
    if told is None or digest is None:
        return None
    return _once(state, "response", Repair(told, told.applied[-1], ("schema", ((digest, DESCRIBED),))))


def _form(call: Call, state: RepairState) -> Target:
    """The schema form that the upstream was sent."""
    if call.profile.family == "claude" and state.target is not Target.JSON_SCHEMA:
        return Target.ANTIGRAVITY  # whatever else the upstream takes
    return Target(call.schema_target) if call.schema_target is not None else state.target


def _isolated(call: Call, names: list[str], now: Target, state: RepairState, text: str) -> Repair | None:
    # A schema that is too deep or too large stays so when only its keywords become looser ones.
    bare = now is Target.ANTIGRAVITY or _TOO_MUCH(text) is not None
    taught, mended = simplified(call, names, state.left, bare=bare)
    if not mended:
        return None
    lesson: Lesson = ("schema", tuple((tool.digest, tool.stage) for tool in taught.mended_tools))
    return Repair(taught, ", ".join(f"tool.{tool.name}:{tool.stage}" for tool in mended), lesson)


def _next_form(call: Call, now: Target, state: RepairState) -> Repair | None:
    """The next simpler schema form, A to B to C, each step once; None where the call holds no schema."""
    target = _STEPS.get(now)
    if target is None or target in state.done or not _has_schema(call.request):
        return None
    state.done.add(target)
    state.target = target
    note = f"schema:{target.value}"
    return Repair(_with(call, note)._replace(schema_target=target.value), note, ("target", target))


def _has_schema(request: GenerateContentRequest) -> bool:
    config = request.get("generationConfig") or {}
    return "responseJsonSchema" in config or any(map(has_schema, declarations_of(request)))


# -- structured output -------------------------------------------------------------------------------------------------


def _asked_again(call: Call, bad: BadStructure) -> Repair:
    """The conversation with the answer that was not what was asked for, and a word about it."""
    contents = list(call.request.get("contents") or [])
    if bad.answer.strip():
        contents.append({"role": "model", "parts": [{"text": bad.answer}]})
    sentence = (
        f"This answer does not match the requested format: {bad.sentence}\n"
        "Answer again with the corrected JSON only, without any other text."
    )
    contents.append({"role": "user", "parts": [{"text": sentence}]})
    return Repair(_with(call, ASKED_AGAIN, contents=contents), ASKED_AGAIN)


# -- helpers -----------------------------------------------------------------------------------------------------


def _less(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


def _configured(call: Call, config: dict[str, Any], *notes: str) -> Call:
    request: GenerateContentRequest = {**call.request, "generationConfig": config}
    if not config:
        request = cast("GenerateContentRequest", _less(dict(request), "generationConfig"))
    return call.with_request(request, *notes)


def _with(call: Call, note: str, *, contents: list[Content] | None = None) -> Call:
    request = call.request if contents is None else {**call.request, "contents": contents}
    return call.with_request(request, note)


# -- memory ------------------------------------------------------------------------------------------------------


class Learned:
    """What refusals taught, by upstream and model; bounded, what was not used for longest goes first."""

    __slots__ = ("_held", "empty")

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], dict[str, Lesson]] = OrderedDict()
        self.empty = True
        """Whether nothing was learned yet: most gateways never do."""

    def note(self, upstream: str, model: str, lesson: Lesson) -> None:
        """Remember one lesson; a schema form replaces the one before."""
        self.empty = False
        lessons = self._held.setdefault((upstream, model), {})
        before = lessons.get(lesson[0])
        if lesson[0] == "schema":
            known = dict(before[1]) if before is not None and before[0] == "schema" else {}
            lessons["schema"] = ("schema", tuple((known | dict(lesson[1])).items())[-_MOST_SCHEMAS:])
        elif lesson[0] == "thinking":
            refused = before[1] if before is not None and before[0] == "thinking" else ()
            lessons["thinking"] = ("thinking", tuple(dict.fromkeys((*refused, *lesson[1])))[-_MOST_THINKING:])
        else:
            lessons[f"drop {lesson[1]}" if lesson[0] == "drop" else lesson[0]] = lesson
        self._held.move_to_end((upstream, model))
        while len(self._held) > _MOST_LEARNED:
            self._held.popitem(last=False)

    def lessons(self, upstream: str, model: str) -> tuple[Lesson, ...]:
        """Everything known about a model on an upstream."""
        found = self._held.get((upstream, model))
        if found is None:
            return ()
        self._held.move_to_end((upstream, model))
        return tuple(found.values())


def apply_learned(call: Call, learned: Learned, upstream: str) -> Call:
    """The call without what the upstream is known to refuse for this model. Of the client's own wishes only those go
    that were refused word for word."""
    for lesson in learned.lessons(upstream, call.model):
        made: Repair | None = None
        if lesson[0] == "target":
            call = call._replace(schema_target=lesson[1].value)
        elif lesson[0] == "schema":
            call = _simplified_again(call, dict(lesson[1]))
        elif lesson[0] == "hosted":
            made = _without_hosted_tools(call)
        elif lesson[0] == "thinking":
            config = call.request.get("generationConfig") or {}
            if "thinkingConfig" in config and json_text(config["thinkingConfig"]) in lesson[1]:
                made = _without_thinking(call)
        elif lesson[1] in call.defaulted:
            call = _dropped(call, lesson[1])
        if made is not None:
            call = made.call
    return call


def _simplified_again(call: Call, stages: dict[str, str]) -> Call:
    """The call with the schemas simplified that the upstream refused before."""
    wanted = {
        each["name"]: stages[digest]
        for each in declarations_of(call.request)
        if has_schema(each) and (digest := digest_of(each)) in stages
    }
    if wanted:
        call, _ = restaged(call, wanted)
    if response_digest(call.request) in stages:
        call = described(call) or call
    return call
