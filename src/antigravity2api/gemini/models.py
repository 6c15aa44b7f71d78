"""The model table: profiles, aliases, and names that are safe inside a URL.

A model is one row of ``models.toml``. Rules of lookup: an exact row, else a row's family pattern, else (only for a newer
``gemini-N``) the newest row, else the permissive profile, which changes nothing the client sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """What a model family takes and refuses. Facts: the tables of Google's model documentation, in ``models.toml``."""

    family: str
    """Generation for signatures: ``gemini-2.5``, ``gemini-3``, ``claude`` …; ``unknown`` for the permissive profile."""
    known: bool = True
    """False for the permissive profile: whatever the client set goes up unchanged."""
    sampling: str = "used"
    """``used``, ``ignored`` or ``refused``: temperature, topP, topK."""
    penalties: str = "used"
    """``used``, ``dropped``: presencePenalty, frequencyPenalty."""
    multi_candidate: bool = False
    thinking: str = "none"
    """``none``, ``budget`` (thinkingBudget) or ``level`` (thinkingLevel)."""
    levels: tuple[str, ...] = ()
    """Accepted thinkingLevel words, upper case, weakest first."""
    default_level: str | None = None
    budget_min: int = 0
    budget_max: int = 0
    budget_zero: bool = False
    """Whether budget 0 (thinking off) is accepted."""
    default_budget: int | None = None
    """-1 dynamic, 0 off."""
    output_limit: int | None = None
    """The model's ``outputTokenLimit``."""
    input_limit: int | None = None
    logprobs: bool = False
    prefill: bool = True
    """Whether a trailing model turn is continued."""
    image_output: bool = False
    image_size: bool = False
    """Whether ``imageConfig.imageSize`` is known."""
    audio_output: bool = False
    tools: bool = True
    system: bool = True
    json_with_tools: bool = True
    """Whether responseMimeType application/json may stand beside functionDeclarations."""
    search_with_tools: bool = True
    multimodal_tool_results: bool = False
    call_ids: bool = False
    """Whether the client's ids must be sent on functionCall and functionResponse."""
    signatures: str = "none"
    """``strict`` (400 when missing on the current turn), ``optional``, ``none``."""
    media_resolution: bool = False


PERMISSIVE = ModelProfile(family="unknown", known=False)
"""For names that no row and no pattern fits."""


class ModelTable:
    """Aliases and profiles, loaded from ``models.toml`` (and an operator's own aliases)."""
