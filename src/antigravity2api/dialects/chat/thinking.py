"""Every spelling of "think more or less" that clients know → one ``thinkingConfig``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antigravity2api.dialects.base import ChatSettings
from antigravity2api.dialects.chat import fields
from antigravity2api.gemini.models import ModelProfile, budget_to_thinking, effort_to_thinking, google_thinking, thinks

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SAID = frozenset(
    ("reasoning_effort", "reasoning", "thinking", "thinking_budget", "enable_thinking", "chat_template_kwargs")
)
_GOOGLE_KEYS = {
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "include_thoughts": "includeThoughts",
}


@dataclass(slots=True)
class Thinking:
    """The ``thinkingConfig`` to send, if any, and whether the client wants to see none of it."""

    config: dict[str, Any] | None = None
    hide: bool = False
    explicit: bool = False
    """Google's own configuration: its budget is the client's word and is not fitted to a limit."""
    said: bool = False
    """Whether the client said anything; else the configuration is our default."""


@dataclass(slots=True)
class _Asked:
    effort: str | None = None
    budget: int | None = None
    exclude: bool = False
    on: bool = False
    """Thinking was switched on without a word about how much."""

    def __bool__(self) -> bool:
        return self.effort is not None or self.budget is not None


def read_thinking(
    body: fields.Body, google: dict[str, Any], profile: ModelProfile, settings: ChatSettings, applied: list[str]
) -> Thinking:
    """All of a request's wishes about thinking, Google's own configuration first, then effort, then budgets."""
    said = [] if _SAID.isdisjoint(body) else [name for name in body if name in _SAID and body[name] is not None]
    asked = _read_asked(body) if said else _Asked()
    explicit = _explicit(google, applied) if google else None
    capable = profile.known and profile.thinking != "none" and not profile.image_output
    if not said and not explicit:
        shown = capable and settings.show_thoughts and thinks(profile)
        return Thinking({"includeThoughts": True}) if shown else Thinking()
    config: dict[str, Any] | None = None
    if capable and asked:
        if asked.effort is not None:
            config = effort_to_thinking(profile, asked.effort)
        elif asked.budget is not None:
            config = budget_to_thinking(profile, asked.budget)
    elif capable and asked.on and not thinks(profile):
        config = budget_to_thinking(profile, -1) or effort_to_thinking(profile, "medium")
    elif asked and explicit is None and asked.effort != "none":
        applied.append(f"{said[0]}:ignored")
    if explicit:
        theirs = google_thinking(profile, explicit)
        if theirs is None:
            applied.append("google.thinking_config:ignored")
        elif "thinkingBudget" in theirs or "thinkingLevel" in theirs:
            config = theirs
        else:
            config = {**(config or {}), **theirs}
    if capable:
        config = _include(config, profile, exclude=asked.exclude, show=bool(said) or settings.show_thoughts)
    # Where an upstream needs the thoughts all the same, for the signature on them, the client does not see them.
    hidden = asked.exclude or (config is not None and config.get("includeThoughts") is False)
    return Thinking(config or None, hidden, bool(explicit), said=True)


def _include(config: dict[str, Any] | None, profile: ModelProfile, *, exclude: bool, show: bool) -> dict[str, Any]:
    """Ask for thought summaries wherever the model will think; beside a budget of 0 Google refuses the wish."""
    config = dict(config or {})
    thinking = config.get("thinkingBudget") != 0 and (
        "thinkingBudget" in config or "thinkingLevel" in config or thinks(profile)
    )
    if not thinking:
        config.pop("includeThoughts", None)
    elif exclude:
        config["includeThoughts"] = False
    elif show:
        config.setdefault("includeThoughts", True)
    return config


def _explicit(google: dict[str, Any], applied: list[str]) -> dict[str, Any] | None:
    """Google's own thinking configuration in Google's REST spelling, its types checked."""
    key = "thinking_config" if google.get("thinking_config") is not None else "thinkingConfig"
    path = f"google.{key}"
    given = fields.mapping(google, key, "google")
    if given is None:
        return None
    found: dict[str, Any] = {}
    for name in given:
        camel = _GOOGLE_KEYS.get(name, name)
        value: Any = None
        match camel:
            case "thinkingBudget":
                value = fields.integer(given, name, -1, 2**31 - 1, path)
            case "thinkingLevel":
                value = fields.text(given, name, path)
            case "includeThoughts":
                value = fields.boolean(given, name, path)
            case _:
                applied.append("google.thinking_config:unknown keys ignored")
        if value is not None:
            found[camel] = value
    return found


def _read_asked(body: fields.Body) -> _Asked:
    """The spellings of OpenAI, OpenRouter, DeepSeek and Qwen; the first that says something wins."""
    found = _Asked()
    _effort(found, body, "reasoning_effort")
    reasoning = fields.mapping(body, "reasoning")
    if reasoning:
        _effort(found, reasoning, "effort", "reasoning")
        _budget(found, reasoning, "max_tokens", "reasoning")
        _switch(found, reasoning, "enabled", "reasoning")
        found.exclude = fields.boolean(reasoning, "exclude", "reasoning") or False
    thinking = fields.mapping(body, "thinking")
    if thinking:
        _budget(found, thinking, "budget_tokens", "thinking")
        kind = fields.text(thinking, "type", "thinking")
        found.on = found.on or kind == "enabled"
        if kind not in (None, "enabled", "disabled", "adaptive", "auto"):
            raise fields.one_of("thinking.type", kind, "'enabled', 'disabled' and 'adaptive'")
        if kind == "disabled":
            _off(found)
    _switch(found, body, "enable_thinking")
    _budget(found, body, "thinking_budget")
    template = fields.mapping(body, "chat_template_kwargs")
    if template:
        _switch(found, template, "enable_thinking", "chat_template_kwargs")
        _switch(found, template, "thinking", "chat_template_kwargs")
        _budget(found, template, "thinking_budget", "chat_template_kwargs")
    return found


def _effort(found: _Asked, body: fields.Body, key: str, at: str = "") -> None:
    effort = fields.text(body, key, at)
    if not effort:
        return
    if effort not in _EFFORTS:
        raise fields.one_of(fields.join(at, key), effort, ", ".join(f"'{word}'" for word in _EFFORTS))
    if not found:
        found.effort = effort


def _budget(found: _Asked, body: fields.Body, key: str, at: str = "") -> None:
    budget = fields.integer(body, key, -1, 2**31 - 1, at)
    if budget is not None and not found:
        found.budget = budget


def _switch(found: _Asked, body: fields.Body, key: str, at: str = "") -> None:
    wanted = fields.boolean(body, key, at)
    if wanted is False:
        _off(found)
    found.on = found.on or wanted is True


def _off(found: _Asked) -> None:
    if not found:
        found.effort = "none"
