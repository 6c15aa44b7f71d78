"""Parameters of Chat Completions → ``generationConfig``: ranges, our defaults, and what each model family takes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from antigravity2api.dialects.base import ChatSettings
from antigravity2api.dialects.chat import fields
from antigravity2api.dialects.chat.thinking import Thinking, read_thinking
from antigravity2api.dialects.chat.tools import ToolPlan
from antigravity2api.errors import invalid
from antigravity2api.gemini.models import ModelProfile, fit_budget, headroom, image_config

_INT32 = 2**31 - 1
_STOP_LIMIT = 5
"""Google takes five stop sequences, OpenAI four."""
_STRICT = frozenset({"logit_bias", "verbosity", "prediction"})
"""Ignored fields that change the answer enough for ``strict_params`` to refuse them."""
_HANDLED = frozenset((
    "model", "messages", "stream", "stream_options", "max_completion_tokens", "max_tokens", "temperature", "top_p",
    "top_k", "n", "stop", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
    "response_format", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls",
    "reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget", "chat_template_kwargs",
    "modalities", "audio", "web_search_options", "service_tier", "google", "extra_body", "user", "safety_identifier",
    "prompt_cache_key",
))  # fmt: skip
_PLAIN = frozenset((
    "model", "messages", "stream", "stream_options", "max_completion_tokens", "max_tokens", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "user",
))  # fmt: skip
"""Fields that are read before, or elsewhere."""
_SAMPLING = frozenset(("temperature", "top_p", "top_k"))
_LIMITS = frozenset(("max_completion_tokens", "max_tokens"))
_GOOGLE = frozenset(("google", "extra_body"))
_SPOKEN = frozenset(("modalities", "audio"))
_IMAGE_FIELDS = ("image_config", "size", "aspect_ratio", "image_size", "quality")
_NEUTRAL = {"verbosity": "medium", "repetition_penalty": 1, "typical_p": 1, "top_a": 0, "min_p": 0}
"""Values that ask for nothing, beside the empty ones."""
_SPEAKABLE = re.compile(r"[A-Za-z0-9_.\-]{1,40}").fullmatch
_ALSO = {
    "reasoning_effort": (
        "reasoning", "thinking", "thinking_budget", "enable_thinking", "chat_template_kwargs", "google", "extra_body",
    ),
    "max_tokens": ("max_completion_tokens",),
    "tools": ("functions", "web_search_options"),
    "tool_choice": ("function_call",),
    "top_logprobs": ("logprobs",),
    "modalities": ("audio",),
    "image_config": ("size", "aspect_ratio", "image_size", "quality", "google", "extra_body"),
    "cached_content": ("google", "extra_body"),
}  # fmt: skip
"""Other fields that come to the same at Google."""
_ALWAYS = frozenset(("model", "messages"))
_MOST_NOTES = 16
_VOICES = {
    "alloy": "Kore",
    "ash": "Puck",
    "ballad": "Enceladus",
    "cedar": "Charon",
    "coral": "Aoede",
    "echo": "Iapetus",
    "fable": "Umbriel",
    "marin": "Leda",
    "nova": "Zephyr",
    "onyx": "Algenib",
    "sage": "Sulafat",
    "shimmer": "Despina",
    "verse": "Fenrir",
}
"""OpenAI's voices → Google's prebuilt ones of a like register; other names go up as they are."""
_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority", "default": "standard"}
_ECHOED = {"flex": "flex", "priority": "priority", "standard": "default"}


@dataclass(slots=True, kw_only=True)
class Generation:
    """What the parameters come to."""

    config: dict[str, Any] = field(default_factory=dict)
    defaulted: set[str] = field(default_factory=set)
    candidates: int = 1
    copies: int = 1
    hide_reasoning: bool = False
    instruction: str | None = None
    """Text for the system instruction that stands in for a response format."""
    json_answer: bool = False
    json_schema: dict[str, Any] | None = None
    modalities: tuple[str, ...] = ()
    audio: dict[str, Any] | None = None
    service_tier: str | None = None
    echoed_tier: str | None = None
    cached_content: str | None = None


def read_generation(
    body: fields.Body, profile: ModelProfile, settings: ChatSettings, tools: ToolPlan, applied: list[str]
) -> Generation:
    """Every parameter but messages and tools. Notes join ``applied``; raises ``Fault``."""
    made = Generation()
    google = {} if _GOOGLE.isdisjoint(body) else read_google(body)
    _sampling(body, profile, settings, made, applied)
    thinking = read_thinking(body, google, profile, settings, applied)
    made.hide_reasoning = thinking.hide
    config = _budget(body, profile, settings, made, thinking, applied)
    if config:
        made.config["thinkingConfig"] = config
        if not thinking.said:
            made.defaulted.add("thinkingConfig")
    if profile.image_output or profile.audio_output or not _SPOKEN.isdisjoint(body):
        _modalities(body, google, profile, made, applied)
    if _PLAIN.issuperset(body):  # most requests say nothing of what follows
        return made
    if body.get("stop") is not None:
        _stop(body, made)
    if body.get("seed") is not None:
        made.config["seed"] = fields.whole(body["seed"], "seed") & _INT32
    _penalties(body, profile, made, applied)
    _candidates(body, profile, settings, made)
    _logprobs(body, profile, made)
    if body.get("response_format") is not None:
        _response_format(body, profile, tools, made, applied)
    if google:
        made.cached_content = _spelled(google, "cached_content", "cachedContent")
    if body.get("service_tier") is not None:
        _service_tier(body, made, applied)
    _note_ignored(body, profile, settings, applied)
    return made


def own_param(param: str | None, said: frozenset[str]) -> str | None:
    """The field to blame for an upstream's refusal: the one it was read as, where the client sent that, else another of
    the client's that comes to the same; None where the value was ours."""
    if param is None:
        return None
    root = re.split(r"[.\[]", param, maxsplit=1)[0]
    if root in _ALWAYS or root in said:
        return param
    return next((other for other in _ALSO.get(root, ()) if other in said), None)


def read_google(body: fields.Body) -> dict[str, Any]:
    """Google's own extension object, on top or inside ``extra_body``, where Python programs leave it by mistake."""
    outer = fields.mapping(body, "extra_body")
    nested = fields.mapping(outer, "google", "extra_body") if outer else None
    return fields.mapping(body, "google") or nested or {}


def _spelled(google: dict[str, Any], snake: str, camel: str) -> str | None:
    key = snake if google.get(snake) is not None else camel
    return fields.text(google, key, "google") or None


def _sampling(
    body: fields.Body, profile: ModelProfile, settings: ChatSettings, made: Generation, applied: list[str]
) -> None:
    config = made.config
    temperature = top_p = top_k = None
    if not _SAMPLING.isdisjoint(body):
        temperature = fields.number(body, "temperature", 0, 2)
        top_p = fields.number(body, "top_p", 0, 1)
        top_k = fields.integer(body, "top_k", -1, _INT32)
    if profile.sampling == "refused":
        for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
            if value is not None:
                applied.append(f"{name}:dropped")
        return
    fill = profile.sampling == "used"
    # Claude behind Google takes one of temperature and topP only, so at most temperature is filled in there.
    alone = profile.family.startswith("claude")
    if temperature is not None:
        config["temperature"] = temperature
    elif fill and not (alone and top_p is not None):
        config["temperature"] = settings.temperature
        made.defaulted.add("temperature")
    if top_p is not None:
        config["topP"] = top_p
    elif fill and not alone:
        config["topP"] = settings.top_p
        made.defaulted.add("topP")
    if top_k is not None:
        if top_k > 0:  # 0 and -1 say "off" (vLLM's habit)
            config["topK"] = top_k
    elif fill and not alone:
        config["topK"] = settings.top_k
        made.defaulted.add("topK")


def _budget(
    body: fields.Body,
    profile: ModelProfile,
    settings: ChatSettings,
    made: Generation,
    thinking: Thinking,
    applied: list[str],
) -> dict[str, Any] | None:
    """``maxOutputTokens``: Google's counts thinking, ``max_tokens`` is what the client wants to see of the answer.

    Returns the thinking configuration, its budget fitted into a limit that has no headroom.
    """
    total = visible = None
    if not _LIMITS.isdisjoint(body):
        total = fields.integer(body, "max_completion_tokens", 1)
        visible = fields.integer(body, "max_tokens", 1)
    limit = profile.output_limit or _INT32
    if total is not None:
        if total > limit:
            applied.append(f"max_completion_tokens:clamped {limit}")
        value = min(total, limit)
        extra = None
    else:
        if visible is None:
            visible = settings.max_tokens
            made.defaulted.add("maxOutputTokens")
        elif visible > limit:
            applied.append(f"max_tokens:clamped {limit}")
        extra = headroom(profile, thinking.config) if settings.headroom else None
        value = min(visible + (extra or 0), limit)
    made.config["maxOutputTokens"] = value
    if extra is None and not thinking.explicit and profile.known:
        return fit_budget(profile, thinking.config, value)
    return thinking.config


def _stop(body: fields.Body, made: Generation) -> None:
    stop = body["stop"]
    if isinstance(stop, str):
        stop = [stop]
    elif not isinstance(stop, list):
        raise fields.wrong_type("stop", "a string or an array of strings", stop)
    for index, word in enumerate(stop):
        if not isinstance(word, str):
            raise fields.wrong_type(f"stop[{index}]", "a string", word)
    words = [word for word in stop if word]
    if len(words) > _STOP_LIMIT:
        raise invalid(
            f"Invalid 'stop': array too long. Expected at most {_STOP_LIMIT} sequences, but got {len(words)} instead.",
            "stop",
            "array_above_max_length",
        )
    if words:
        made.config["stopSequences"] = words


def _penalties(body: fields.Body, profile: ModelProfile, made: Generation, applied: list[str]) -> None:
    for name, key in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
        value = fields.number(body, name, -2, 2)
        if not value:
            continue
        if profile.penalties == "dropped":
            applied.append(f"{name}:dropped")
        elif value == 2 and profile.known:  # Google's range is open at its upper end
            applied.append(f"{name}:clamped 1.99")
            made.config[key] = 1.99
        else:
            made.config[key] = value


def _candidates(body: fields.Body, profile: ModelProfile, settings: ChatSettings, made: Generation) -> None:
    count = fields.integer(body, "n", 1, settings.max_n)
    if count is None or count == 1:
        return
    made.candidates = count
    if (profile.multi_candidate or not profile.known) and not profile.image_output:
        made.config["candidateCount"] = count
    else:
        made.copies = count


def _logprobs(body: fields.Body, profile: ModelProfile, made: Generation) -> None:
    wanted = fields.boolean(body, "logprobs")
    top = fields.integer(body, "top_logprobs", 0, 20)
    if not wanted:
        if top:
            raise invalid("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
        return
    if profile.known and not profile.logprobs:
        raise invalid(
            "This model does not return log probabilities. Leave 'logprobs' out or choose a model that has them.",
            "logprobs",
            "unsupported_parameter",
        )
    made.config["responseLogprobs"] = True
    if top:
        made.config["logprobs"] = top


def _response_format(
    body: fields.Body, profile: ModelProfile, tools: ToolPlan, made: Generation, applied: list[str]
) -> None:
    form = body["response_format"]
    if not isinstance(form, dict):
        raise fields.wrong_type("response_format", "an object", form)
    kind = fields.text(form, "type", "response_format")
    schema: Any = None
    match kind:
        case None:
            raise fields.missing("response_format.type", "Use 'text', 'json_object' or 'json_schema'.")
        case "text":
            return
        case "json_object":
            pass
        case "json_schema":
            path = "response_format.json_schema"
            nested = fields.mapping(form, "json_schema", "response_format")
            if nested is None:
                raise fields.missing(path)
            schema = fields.mapping(nested, "schema", path)
        case _:
            raise fields.one_of("response_format.type", kind, "'text', 'json_object' and 'json_schema'")
    made.json_answer, made.json_schema = True, schema
    if tools.tools and not profile.json_with_tools:
        # These models refuse a response format beside tools; an instruction and an unfenced answer come closest.
        made.instruction = _json_instruction(schema)
        applied.append("response_format:emulated")
        return
    made.config["responseMimeType"] = "application/json"
    if schema is not None:
        made.config["responseJsonSchema"] = schema


def _json_instruction(schema: dict[str, Any] | None) -> str:
    said = "Answer with JSON only: no other text and no code fence around it."
    if not schema:
        return said
    shown = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return f"{said} The JSON must match this JSON Schema:\n{shown}"


def _modalities(
    body: fields.Body, google: dict[str, Any], profile: ModelProfile, made: Generation, applied: list[str]
) -> None:
    wanted = fields.array(body, "modalities")
    words: list[str] = []
    for index, word in enumerate(wanted or ()):
        if not isinstance(word, str):
            raise fields.wrong_type(f"modalities[{index}]", "a string", word)
        if word.lower() not in ("text", "image", "audio"):
            raise fields.one_of(f"modalities[{index}]", word, "'text', 'audio' and 'image'")
        words.append(word.lower())
    made.modalities = tuple(words)
    audio = fields.mapping(body, "audio")
    if profile.image_output:
        _image_output(body, google, profile, made)
        if "audio" in words:
            raise invalid("This model draws; it cannot answer with audio.", "modalities")
        return
    if "audio" in words:
        _speech(audio, profile, made)
    elif profile.audio_output and "text" not in words:  # a model that can only speak refuses to write
        _voice(audio or {}, made)
    elif audio is not None:
        applied.append("audio:ignored")
    if "image" in words:
        if profile.known:
            raise invalid("This model cannot answer with images; choose an image model.", "modalities")
        made.config["responseModalities"] = ["TEXT", "IMAGE"]


def _image_output(body: fields.Body, google: dict[str, Any], profile: ModelProfile, made: Generation) -> None:
    made.config["responseModalities"] = ["TEXT", "IMAGE"]
    wish: dict[str, str] = {}
    for source, at in ((google, "google"), (body, "")):
        nested = fields.mapping(source, "image_config", at) or {}
        for holder, path in ((source, at), (nested, fields.join(at, "image_config"))):
            for name in _IMAGE_FIELDS[1:]:
                value = fields.text(holder, name, path)
                if value:
                    wish[name] = value
    if wish:
        shape = image_config(profile, **wish)
        if shape:
            made.config["imageConfig"] = shape


def _speech(audio: dict[str, Any] | None, profile: ModelProfile, made: Generation) -> None:
    if profile.known and not profile.audio_output:
        raise invalid("This model cannot answer with audio; choose a speech model or leave 'audio' out.", "modalities")
    if audio is None:
        raise fields.missing("audio", "Give 'audio' with a 'voice' and a 'format' when 'modalities' asks for audio.")
    form = fields.text(audio, "format", "audio") or "wav"
    if form not in ("wav", "pcm16"):
        raise invalid(
            f"Audio format {form[:20]!r} needs an encoder that this gateway has not; use 'wav' or 'pcm16'.",
            "audio.format",
            "unsupported_value",
        )
    made.audio = {"format": form, "voice": _voice(audio, made)}


def _voice(audio: dict[str, Any], made: Generation) -> str | None:
    voice = audio.get("voice")
    if isinstance(voice, dict):
        voice = fields.required_text(voice, "id", "audio.voice")
    elif voice is not None and not isinstance(voice, str):
        raise fields.wrong_type("audio.voice", "a string or an object", voice)
    made.config["responseModalities"] = ["AUDIO"]
    if voice:
        name = _VOICES.get(voice.lower(), voice)
        made.config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}
    return voice


def _service_tier(body: fields.Body, made: Generation, applied: list[str]) -> None:
    tier = fields.text(body, "service_tier") or "auto"
    if tier == "auto":
        return
    if tier not in _TIERS:
        applied.append("service_tier:ignored")
        return
    made.service_tier = _TIERS[tier]
    made.echoed_tier = _ECHOED[_TIERS[tier]]


def _note_ignored(body: fields.Body, profile: ModelProfile, settings: ChatSettings, applied: list[str]) -> None:
    noted = 0
    for key, value in body.items():
        if key in _HANDLED:
            continue
        if key == "logit_bias" and value is not None and not isinstance(value, dict):
            raise fields.wrong_type(key, "an object", value)
        if not value or _NEUTRAL.get(key) == value:
            continue
        if key in _STRICT and settings.strict_params:
            raise invalid(
                f"'{key}' has no equivalent at Google and strict_params is on. Leave it out.",
                key,
                "unsupported_parameter",
            )
        if profile.image_output and key in _IMAGE_FIELDS:
            continue
        if noted < _MOST_NOTES and _SPEAKABLE(key):
            applied.append(f"{key}:ignored")
            noted += 1
