"""What each model family takes, as Google's model pages say it.

Deliberately not read from the gateway's own ``models.toml``: a mistake there must show as a refusal here.
"""

from __future__ import annotations

import re
from dataclasses import replace

from antigravity2api.gemini.models import ModelProfile

_GEMINI = re.compile(r"gemini-(\d+)(?:\.(\d+))?(?:-|$)", re.ASCII)
_NAME = re.compile(r"(gemini|gemma|nano-banana)-[a-z0-9][a-z0-9._-]{0,80}", re.ASCII)
_WRAPPED_NAME = re.compile(r"(gemini|gemma|claude|gpt-oss)-[a-z0-9][a-z0-9._-]{0,80}", re.ASCII)
_NOT_CHAT = re.compile(r"embedding|imagen|veo|-live|aqa", re.ASCII)

_BUDGETS = {  # of the 2.5 family: lowest, highest, whether 0 is taken, default
    "pro": (128, 32768, False, -1),
    "flash-lite": (512, 24576, True, 0),
    "flash": (0, 24576, True, -1),
}
_PERMISSIVE = ModelProfile(
    family="unknown",
    known=False,
    multi_candidate=True,
    thinking="any",
    default_level="LOW",
    budget_max=65536,
    budget_zero=True,
    logprobs=True,
    output_limit=65536,
    input_limit=1_048_576,
    multimodal_tool_results=True,
    signatures="optional",
    image_size=True,
    media_resolution=True,
)
_CLAUDE = ModelProfile(
    family="claude",
    thinking="budget",
    budget_min=1024,
    budget_max=63_999,
    budget_zero=True,
    default_budget=0,
    output_limit=64_000,
    input_limit=200_000,
    json_with_tools=False,
    search_with_tools=False,
    call_ids=True,
    signatures="optional",
)


def is_served(model: str, *, wrapped: bool = False) -> bool:
    """Whether the sandbox has such a model; the wrapped form has other vendors' too."""
    pattern = _WRAPPED_NAME if wrapped else _NAME
    return pattern.fullmatch(model) is not None and _NOT_CHAT.search(model) is None


def profile(model: str) -> ModelProfile:
    """What the model takes and refuses."""
    if model.startswith("claude-"):
        return _CLAUDE
    if model.startswith("gpt-oss-"):
        return ModelProfile(
            family="gpt-oss", output_limit=32_768, input_limit=114_000, json_with_tools=False, search_with_tools=False
        )
    if model.startswith("gemma-"):
        older = model.startswith(("gemma-2", "gemma-3"))
        return ModelProfile(
            family="gemma",
            output_limit=32_768,
            input_limit=262_144,
            system=not older,
            tools=not older,
            json_with_tools=False,
            search_with_tools=False,
            signatures="optional",
        )
    if model.startswith(("gemini-nano-banana", "nano-banana")):
        banana = replace(
            _three(model, 3, 8), family="gemini-nano-banana", call_ids=False, multimodal_tool_results=False
        )
        return _image(banana, model)
    if model.endswith("-latest"):  # moving names stand for the newest of their kind
        return _three("gemini-3.5-flash-lite", 3, 5) if "lite" in model else _three(model, 3, 8)
    if model == "gemini-pro-agent":
        return _three(model, 3, 1)
    match = _GEMINI.match(model)
    if match is None:
        return _PERMISSIVE
    major, minor = int(match[1]), int(match[2] or 0)
    if major < 2 or (major, minor) < (2, 5):
        found = ModelProfile(
            family="gemini-2.0",
            multi_candidate=True,
            logprobs=True,
            output_limit=8192,
            input_limit=1_048_576,
            json_with_tools=False,
            search_with_tools=False,
        )
    elif major == 2:
        found = _two_five(model)
    elif major == 3:
        found = _three(model, major, minor)
    else:
        found = _four(model)
    if "-tts" in model:
        return replace(found, audio_output=True, tools=False, system=False, thinking="none", signatures="none")
    return _image(found, model) if "image" in model else found


def _two_five(model: str) -> ModelProfile:
    kind = "pro" if "pro" in model else "flash-lite" if "flash-lite" in model else "flash"
    low, high, zero, default = _BUDGETS[kind]
    return ModelProfile(
        family="gemini-2.5",
        multi_candidate=True,
        thinking="budget",
        budget_min=low,
        budget_max=high,
        budget_zero=zero,
        default_budget=default,
        output_limit=65_536,
        input_limit=1_048_576,
        logprobs=True,
        json_with_tools=False,
        search_with_tools=False,
        signatures="optional",
        media_resolution=True,
    )


def _three(model: str, major: int, minor: int) -> ModelProfile:
    flash = "flash" in model
    levels: tuple[str, ...] = ("LOW", "MEDIUM", "HIGH")
    if flash and minor < 7:
        levels = ("MINIMAL", *levels)
    default = "MEDIUM" if minor >= 5 else "HIGH"
    if "lite" in model and (major, minor) < (3, 6):
        default = "MINIMAL"
    return ModelProfile(
        family="gemini-3",
        sampling="ignored" if minor >= 6 or "3.5-flash-lite" in model else "used",
        penalties="dropped",
        thinking="level",
        levels=levels,
        default_level=default,
        budget_max=65_536,
        budget_zero=True,
        output_limit=65_536,
        input_limit=1_048_576,
        prefill=minor < 6 and not model.startswith("gemini-3.5-flash-lite"),
        multimodal_tool_results=True,
        call_ids=minor >= 8,
        signatures="strict",
        media_resolution=True,
    )


def _four(model: str) -> ModelProfile:
    deep = "hydrogen" in model or "neon" in model
    return ModelProfile(
        family="gemini-4",
        sampling="ignored",
        penalties="dropped",
        thinking="level",
        levels=("LOW", "MEDIUM", "HIGH", "XHIGH") if deep else ("LOW", "MEDIUM", "HIGH"),
        default_level="HIGH" if deep else "MEDIUM",
        output_limit=65_536,
        input_limit=1_048_576,
        prefill=False,
        multimodal_tool_results=True,
        call_ids=True,
        signatures="strict",
        media_resolution=True,
    )


def _image(found: ModelProfile, model: str) -> ModelProfile:
    """Image models: no calling, thinking only where levels are listed, sizes from the third generation on."""
    third = found.family != "gemini-2.5"
    levels = ("MINIMAL", "HIGH") if model.startswith("gemini-3.1-flash-image") else ()
    return replace(
        found,
        image_output=True,
        image_size=third,
        tools=False,
        thinking="level" if levels else "none",
        levels=levels,
        default_level=levels[0] if levels else None,
        signatures="optional",
        multi_candidate=False,
        prefill=True,
        logprobs=False,
        output_limit=32_768,
    )
