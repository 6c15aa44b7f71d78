"""A Chat Completions body → ``Call``. Pure: the same body, origin and toolbox give the same call."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat import fields
from antigravity2api.dialects.chat.messages import History, read_messages, read_plain
from antigravity2api.dialects.chat.notes import ChatNotes
from antigravity2api.dialects.chat.params import Generation, read_generation
from antigravity2api.dialects.chat.tools import Names, ToolPlan, read_tools
from antigravity2api.errors import invalid
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.jsontext import exactly_read, glance, loads_client, screened
from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.types import GenerateContentRequest

_LONGEST_AFFINITY = 256
_LONGEST_KEY = 64 * 1024
_AFFINITY = frozenset({"prompt_cache_key", "safety_identifier", "user"})
_OF_ONE_REQUEST = frozenset({"messages", "prompt_cache_key", "safety_identifier", "user"})
"""Fields that a plan does not look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a body asks beside its messages. Requests of one agent share it, so nothing in it is ever changed."""

    asked: str
    model: str
    profile: ModelProfile
    stream: bool
    include_usage: bool
    tools: ToolPlan
    made: Generation
    defaulted: frozenset[str]
    said: frozenset[str]
    applied: tuple[str, ...]
    options: ChatNotes | None
    """What is to be noted for the answer where the messages add nothing to it; None where it depends on the origin."""
    exact: bool = False
    """Whether a body that was only glanced at may have it: none of its numbers can have been another one."""


class Plans:
    """The plans of late: agents repeat their tools and parameters, tens of kilobytes of them, with every turn.

    Bounded in number and in the size of what is kept; what was not used for longest goes first.
    """

    __slots__ = ("_held", "_most")

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._held: OrderedDict[bytes, Plan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def known(self, data: dict[str, Any], origin: Origin) -> tuple[Plan | None, bytes | None]:
        """The plan for a body if it is one of late, and the name to make one under."""
        rest = {name: value for name, value in data.items() if name not in _OF_ONE_REQUEST}
        if origin.engine is not None:
            rest["\0engine"] = origin.engine
        try:
            key = orjson.dumps(rest)
        except TypeError:  # an integer past 64 bits, or nested too deeply
            return None, None
        plan = self._held.get(key)
        if plan is not None:
            self._held.move_to_end(key)
        return plan, key

    def made(self, key: bytes | None, data: dict[str, Any], origin: Origin, box: Toolbox) -> Plan:
        """A new plan. Raises ``Fault`` with the path of the field at fault."""
        if key is None or len(key) > _LONGEST_KEY:
            return _planned(data, origin, box, exact=False)
        plan = self._held[key] = _planned(data, origin, box, exact=exactly_read(key))
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return plan


def parse_chat(body: bytes | bytearray, origin: Origin, box: Toolbox, plans: Plans) -> Call:
    """The client's JSON body as a ``Call``. Raises ``Fault`` with the path of the field at fault."""
    glanced = glance(body)
    if glanced is None:
        data = loads_client(body)
        plan, key = plans.known(data, origin)
    else:
        plan, key = plans.known(glanced, origin)
        if plan is not None and plan.exact and _texts_alone(glanced):
            history = read_plain(glanced["messages"], plan.profile, box)
            if history is not None:  # texts alone: there is nothing in it that a limit is about
                return _call(plan, history, plan.tools.names, plan.applied, glanced, origin, box)
        data = screened(body, glanced)
        if data is not glanced:
            plan, key = plans.known(data, origin)
    plan = plan or plans.made(key, data, origin, box)
    names, applied = plan.tools.names, plan.applied
    messages = _messages(data)
    history = read_plain(messages, plan.profile, box)
    if history is None:
        names, notes = names.copy(), list(applied)
        history = read_messages(messages, plan.profile, origin, box, names, notes)
        applied = tuple(notes)
    return _call(plan, history, names, applied, data, origin, box)


def _texts_alone(data: dict[str, Any]) -> bool:
    """Whether what a plan does not look at may hold nothing but texts."""
    messages = data.get("messages")
    if type(messages) is not list or not messages:
        return False
    return _AFFINITY.isdisjoint(data) or all(type(data.get(name, "")) is str for name in _AFFINITY)


def _messages(data: dict[str, Any]) -> list[Any]:
    messages = fields.array(data, "messages")
    if messages is None:
        raise fields.missing("messages")
    if not messages:
        raise invalid("Invalid 'messages': empty array. Expected at least one message.", "messages", "empty_array")
    return messages


def _call(
    plan: Plan,
    history: History,
    names: Names,
    applied: tuple[str, ...],
    data: dict[str, Any],
    origin: Origin,
    box: Toolbox,
) -> Call:
    tools, made = plan.tools, plan.made
    return Call(
        dialect="chat",
        operation="chat",
        asked_model=plan.asked,
        model=plan.model,
        profile=plan.profile,
        request=_request(history, made, tools, box),
        stream=plan.stream,
        options=plan.options
        if names is tools.names and plan.options is not None
        else _notes(made, tools, names, origin, include_usage=plan.include_usage),
        defaulted=plan.defaulted,
        said=plan.said,
        applied=applied,
        copies=made.copies,
        affinity=None if _AFFINITY.isdisjoint(data) else _affinity(data),
    )


def _planned(data: dict[str, Any], origin: Origin, box: Toolbox, *, exact: bool) -> Plan:
    asked = _asked_model(data, origin)
    model = box.models.resolve(asked)
    profile = box.models.profile(model)
    stream = fields.boolean(data, "stream") or False
    include_usage = _include_usage(data)
    applied: list[str] = []
    tools = read_tools(data, profile, applied)
    made = read_generation(data, profile, box.settings, tools, applied)
    return Plan(
        asked=asked,
        model=model,
        profile=profile,
        stream=stream,
        include_usage=include_usage,
        tools=tools,
        made=made,
        defaulted=frozenset(made.defaulted),
        said=frozenset(name for name, value in data.items() if value is not None),
        applied=tuple(applied),
        options=None if made.echoed_tier else _notes(made, tools, tools.names, origin, include_usage=include_usage),
        exact=exact,
    )


def _asked_model(data: dict[str, Any], origin: Origin) -> str:
    """The body's model, or the one that an old SDK puts into the path."""
    model = fields.text(data, "model")
    if model is None:
        model = origin.engine
    if not model:
        raise fields.missing("model", "GET /v1/models lists the names that can be used.")
    return model


def _include_usage(data: dict[str, Any]) -> bool:
    options = fields.mapping(data, "stream_options")
    if not options:
        return False
    return fields.boolean(options, "include_usage", "stream_options") or False


def _affinity(data: dict[str, Any]) -> str | None:
    """What the client says about which conversation or user this is."""
    found = None
    for key in ("safety_identifier", "user", "prompt_cache_key"):
        if key in data:
            found = fields.text(data, key) or found
    if found is not None and len(found) > _LONGEST_AFFINITY:
        return hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return found


def _request(history: History, made: Generation, tools: ToolPlan, box: Toolbox) -> GenerateContentRequest:
    request: GenerateContentRequest = {"contents": history.contents, "generationConfig": made.config}
    system = history.system
    operator = box.settings.system_instruction
    if operator and not made.cached_content:  # Google takes no system instruction beside cached content
        system = [{"text": operator}, *system]
    if made.instruction:
        system = [*system, {"text": made.instruction}]
    if system:
        request["systemInstruction"] = {"parts": system}
    if tools.tools:
        request["tools"] = tools.tools
    if tools.config:
        request["toolConfig"] = tools.config
    if made.cached_content:
        request["cachedContent"] = made.cached_content
    if made.service_tier:
        request["serviceTier"] = made.service_tier
    return request


def _notes(made: Generation, tools: ToolPlan, names: Names, origin: Origin, *, include_usage: bool) -> ChatNotes:
    if not made.modalities and not names.back and made.candidates == 1 and _quiet(made, tools):
        return _WITH_USAGE if include_usage else _WITHOUT
    return ChatNotes(
        include_usage=include_usage,
        legacy_functions=tools.legacy,
        names=names.back,
        declared=tools.declared,
        custom_tools=tools.custom,
        schemas=tools.schemas,
        single_call=tools.single,
        strip_fence=made.json_answer,
        json_answer=made.json_answer,
        json_told=made.instruction is not None,
        json_schema=made.json_schema,
        hide_reasoning=made.hide_reasoning,
        audio=made.audio,
        service_tier=made.echoed_tier if origin.upstream in ("", "gemini") else made.echoed_tier and "default",
        candidates=made.candidates,
        modalities=made.modalities,
    )


_WITHOUT = ChatNotes()
_WITH_USAGE = ChatNotes(include_usage=True)


def _quiet(made: Generation, tools: ToolPlan) -> bool:
    """Whether nothing but usage needs to be noted for the answer."""
    return not (
        made.json_answer or made.hide_reasoning or made.audio or made.echoed_tier or tools.legacy or tools.single
    )
