"""The model table: profiles, aliases, and names that are safe inside a URL.

A model is one row of ``models.toml``. Rules of lookup: an exact row, else a row's family pattern, else (only for a
``gemini-N`` without either) the nearest version below it, so that a newer one takes the newest row, else the permissive
profile, which changes nothing the client sent.
"""

from __future__ import annotations

import math
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from antigravity2api.errors import invalid

_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_WIDE_RATIOS = (*_RATIOS, "1:4", "4:1", "1:8", "8:1")
_LEVELS = (("MINIMAL", 1024), ("LOW", 8192), ("MEDIUM", 16384), ("HIGH", 32768))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """What a model family takes and refuses. Facts: the tables of Google's model documentation, in ``models.toml``."""

    family: str
    """Generation for signatures: ``gemini-2.5``, ``gemini-3``, ``claude`` …; ``unknown`` for the permissive profile."""
    known: bool = True
    """False for the permissive profile: whatever the client set goes up unchanged."""
    kind: str = "chat"
    """``chat``, ``image``, ``tts``, ``embedding``, ``transcription``, ``video`` or ``imagen``."""
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
    level_headroom: tuple[tuple[str, int], ...] = _LEVELS
    """Tokens added to a visible budget for each level; our own figures."""
    output_limit: int | None = None
    """The model's ``outputTokenLimit``."""
    input_limit: int | None = None
    logprobs: bool = False
    prefill: bool = True
    """Whether a trailing model turn is continued."""
    image_output: bool = False
    image_size: bool = False
    """Whether ``imageConfig.imageSize`` is known."""
    image_sizes: tuple[str, ...] = ("1K", "2K", "4K")
    wide_ratios: bool = False
    """Whether the very wide and very tall aspect ratios are known."""
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


PERMISSIVE = ModelProfile(
    family="unknown", known=False, multi_candidate=True, logprobs=True, signatures="optional", image_size=True
)
"""For names that no row and no pattern fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model that can be offered. ``alias_of`` names the row behind an alias."""

    id: str
    display_name: str
    profile: ModelProfile
    surfaces: tuple[str, ...] = ("gemini",)
    """Where the id exists: ``gemini``, ``vertex``, ``antigravity``. An alias exists where its model does."""
    alias_of: str | None = None

    @property
    def surface(self) -> str:
        """The first of its surfaces."""
        return self.surfaces[0]

    def on(self, surface: str) -> bool:
        """Whether a surface knows the id."""
        return surface in self.surfaces

    @property
    def kind(self) -> str:
        """What the model is for, as in the profile."""
        return self.profile.kind

    @property
    def input_limit(self) -> int | None:
        """Most input tokens, where known."""
        return self.profile.input_limit

    @property
    def output_limit(self) -> int | None:
        """Most output tokens, where known."""
        return self.profile.output_limit


# -- names ---------------------------------------------------------------------------------------------------

_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_NAME = re.compile(rf"(?:models/|tunedModels/|publishers/{_SEGMENT}/models/)?{_SEGMENT}").fullmatch
_LONGEST_NAME = 256
_VERSION = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])").match


def is_name(name: str) -> bool:
    """Whether ``name`` may become part of a URL."""
    return len(name) <= _LONGEST_NAME and _NAME(name) is not None


def check_name(name: Any, param: str = "model") -> str:
    """``name`` itself if it may become part of a URL, else ``Fault`` INVALID_REQUEST at ``param``."""
    if not isinstance(name, str):
        said = "null" if name is None else type(name).__name__
        raise invalid(f"'{param}' must be a string that names a model, but got {said}.", param, "invalid_type")
    if not name:
        raise invalid(f"'{param}' must name a model, but is empty.", param)
    if len(name) > _LONGEST_NAME:
        raise invalid(f"'{param}' is longer than {_LONGEST_NAME} characters.", param)
    if not _NAME(name):
        raise invalid(
            f"'{param}' may hold letters, digits, '.', '_' and '-' only (a slash only in 'models/', 'tunedModels/' and "
            "'publishers/…/models/').",
            param,
        )
    return name


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


class ModelTable:
    """Aliases and profiles, loaded from ``models.toml`` (and an operator's own aliases)."""

    __slots__ = ("_aliases", "_entries", "_globs", "_ids_on", "_profiles", "_versions")

    def __init__(self, data: Mapping[str, Any], extra_aliases: Mapping[str, str]) -> None:
        self._aliases: dict[str, str] = {**data["aliases"], **_checked_aliases(extra_aliases)}
        self._ids_on: Mapping[str, Mapping[str, str]] = data["ids_on"]
        self._profiles: dict[str, ModelProfile] = {}
        self._globs: list[tuple[tuple[str, ...], ModelProfile]] = []
        self._versions: list[tuple[tuple[int, int], ModelProfile]] = []
        self._entries: dict[str, ModelEntry] = {}
        shared: dict[str, Any] = {"level_headroom": tuple(data["headroom"].items())}
        for row in data["model"]:
            self._add(row, data["family"], shared)
        self._versions.sort(key=lambda item: item[0])
        for alias in (*data["offered"]["aliases"], *extra_aliases):
            self._offer(alias)

    @classmethod
    def load(cls, extra_aliases: Mapping[str, str] | None = None) -> ModelTable:
        """The package's table with an operator's aliases, which win. Raises ValueError for an unusable one."""
        raw = pkgutil.get_data("antigravity2api.gemini", "models.toml")
        if raw is None:
            raise FileNotFoundError("antigravity2api/gemini/models.toml is missing from the installation")
        return cls(tomllib.loads(raw.decode()), extra_aliases or {})

    def _add(self, row: Mapping[str, Any], families: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        name, like = row["id"], row.get("like")
        family: Mapping[str, Any] = families.get(row.get("family", ""), {})
        if like is None:
            values = {**shared, **family, **row}
            known: dict[str, Any] = {key: values[key] for key in values.keys() & _FIELDS}
            for key, value in known.items():
                if isinstance(value, list):
                    known[key] = tuple(value)
            profile = ModelProfile(**known)
        else:
            profile = self._profiles[like]
        self._profiles[name] = profile
        if "match" in row:
            self._globs.append((tuple(row["match"]), profile))
        if "version" in row:
            self._versions.append((_version(row["version"]), profile))
        if row.get("listed", True):
            self._entries[name] = ModelEntry(
                id=name,
                display_name=row.get("name", name),
                profile=profile,
                surfaces=tuple(row.get("surfaces") or family.get("surfaces") or ("gemini",)),
            )

    def _offer(self, alias: str) -> None:
        target = self._follow(alias)
        entry = self._entries.get(target)
        self._entries[alias] = ModelEntry(
            id=alias,
            display_name=alias,
            profile=self.profile(target),
            surfaces=entry.surfaces if entry else ("gemini",),
            alias_of=target,
        )

    def _follow(self, name: str) -> str:
        for _ in range(8):
            target = self._aliases.get(name)
            if target is None or target == name:
                break
            name = target
        return name

    def resolve(self, name: Any, param: str = "model") -> str:
        """The name that goes upstream: checked, without ``models/``, after the aliases. Raises ``Fault``."""
        return self._follow(check_name(name, param).removeprefix("models/"))

    def profile(self, model: str) -> ModelProfile:
        """What is known about a (resolved) name."""
        if not model.startswith("tunedModels/"):
            model = model.rpartition("/")[2]
            known = self._profiles.get(model) or self._by_glob(model) or self._by_version(model)
            if known is not None:
                return known
        return PERMISSIVE

    def _by_glob(self, model: str) -> ModelProfile | None:
        for globs, profile in self._globs:
            if any(_fits(glob, model) for glob in globs):
                return profile
        return None

    def _by_version(self, model: str) -> ModelProfile | None:
        found = _VERSION(model)
        if found is None:
            return None
        asked = (int(found[1]), int(found[2] or 0))
        below = [profile for version, profile in self._versions if version <= asked]
        return below[-1] if below else None

    def entries(self) -> list[ModelEntry]:
        """Everything that ``/v1/models`` may offer, aliases last."""
        return list(self._entries.values())

    def entry(self, name: str) -> ModelEntry | None:
        """The offered model or alias of that very name."""
        return self._entries.get(name.removeprefix("models/"))

    def id_on(self, surface: str, model: str) -> str | None:
        """The id by which a surface knows a (resolved) name: itself or its stand-in there; None for neither."""
        entry = self._entries.get(model)
        if entry is not None and entry.on(surface):
            return model
        return self.stand_ins(surface).get(model)

    def stand_ins(self, surface: str) -> Mapping[str, str]:
        """Names that a surface lacks, and the id to send there instead."""
        return self._ids_on.get(surface, {})


_FIELDS = frozenset(ModelProfile.__dataclass_fields__)


def _checked_aliases(aliases: Mapping[str, str]) -> Mapping[str, str]:
    for alias, target in aliases.items():
        for name in (alias, target):
            if not is_name(name):
                raise ValueError(f"the alias {alias!r} = {target!r} is no usable model name")
    return aliases


def _fits(glob: str, text: str) -> bool:
    """Whether ``text`` has the pieces of ``glob`` between its stars, in order."""
    first, *rest = glob.split("*")
    if not rest:
        return text == glob
    if not text.startswith(first):
        return False
    at = len(first)
    for piece in rest[:-1]:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(text) - at >= len(rest[-1]) and text.endswith(rest[-1])


# -- thinking ------------------------------------------------------------------------------------------------

_EFFORT_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Google's own figures on its OpenAI-compatible endpoint."""
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_ORDER = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_GOOGLE_KEYS = {
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "include_thoughts": "includeThoughts",
}


def thinks(profile: ModelProfile) -> bool:
    """Whether the model thinks when nobody says anything about it."""
    if profile.thinking == "level":
        return profile.default_level is not None
    return profile.thinking == "budget" and profile.default_budget not in (None, 0)


def effort_to_thinking(profile: ModelProfile, effort: str) -> dict[str, Any] | None:
    """OpenAI's effort as budget or level; None where the model takes neither. Raises ``Fault`` for an unknown word."""
    if effort not in _EFFORTS:
        raise invalid(
            "Supported efforts are 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' and 'max'.", "reasoning_effort"
        )
    if profile.image_output or profile.thinking == "none":
        return None
    if profile.thinking == "level":
        wanted = {"none": "MINIMAL", "max": "XHIGH"}.get(effort, effort.upper())
        return {"thinkingLevel": _nearest_level(profile, wanted)}
    if effort == "none":
        return _thinking_off(profile)
    return {"thinkingBudget": _clamp(profile, _EFFORT_BUDGETS.get(effort, profile.budget_max))}


def budget_to_thinking(profile: ModelProfile, budget: int) -> dict[str, Any] | None:
    """A number of thinking tokens (0 off, below 0 the model's own choice) for the profile; None for "say nothing"."""
    if profile.thinking == "level":
        if budget < 0:
            return None
        level = "MINIMAL" if budget == 0 else "LOW" if budget < 2048 else "MEDIUM" if budget < 12288 else "HIGH"
        return {"thinkingLevel": _nearest_level(profile, level)}
    if profile.thinking != "budget":
        return None
    if budget == 0:
        return _thinking_off(profile)
    if budget < 0:
        return {"thinkingBudget": -1} if profile.family.startswith("gemini") else None
    return {"thinkingBudget": _clamp(profile, budget)}


def google_thinking(profile: ModelProfile, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Google's own thinking configuration, either spelling, made acceptable; unchanged for an unknown model."""
    said = {_GOOGLE_KEYS.get(key, key): value for key, value in config.items() if value is not None}
    if not profile.known:
        return said or None
    if profile.thinking == "none":
        return None
    budget, level = said.pop("thinkingBudget", None), said.pop("thinkingLevel", None)
    made: dict[str, Any] | None = None
    if isinstance(level, str) and level.upper() in _ORDER:
        made = level_to_thinking(profile, level)
    elif isinstance(budget, int) and not isinstance(budget, bool):
        made = budget_to_thinking(profile, budget)
    merged = {**(made or {}), **said}
    if merged.get("thinkingBudget") == 0:
        merged.pop("includeThoughts", None)
    return merged or None


def level_to_thinking(profile: ModelProfile, level: str) -> dict[str, Any] | None:
    """A thinkingLevel word for the profile; on a budget family the budget of the same effort."""
    level = level.upper()
    if profile.thinking == "level":
        return {"thinkingLevel": _nearest_level(profile, level)}
    if profile.thinking == "budget":
        return effort_to_thinking(profile, level.lower())
    return None


def thinking_config(
    profile: ModelProfile,
    *,
    effort: str | None = None,
    budget: int | None = None,
    google: Mapping[str, Any] | None = None,
    include: bool | None = None,
) -> dict[str, Any] | None:
    """The whole ``thinkingConfig``: Google's own words win over a budget, which wins over an effort.

    ``include`` asks for thought summaries; it is left out where thinking is switched off (upstream refuses the pair).
    """
    if google:
        made = google_thinking(profile, google)
    elif budget is not None:
        made = budget_to_thinking(profile, budget)
    else:
        made = effort_to_thinking(profile, effort) if effort is not None else None
    if include is None or not profile.known or profile.thinking == "none" or "includeThoughts" in (made or {}):
        return made
    off = (made or {}).get("thinkingBudget") == 0 or (made is None and not thinks(profile))
    return made if off or not include else {**(made or {}), "includeThoughts": True}


def fit_budget(profile: ModelProfile, config: dict[str, Any] | None, max_output: int | None) -> dict[str, Any] | None:
    """The config with a budget that leaves 1024 of ``max_output`` for the answer (where no headroom is added)."""
    if config is None or max_output is None:
        return config
    budget = config.get("thinkingBudget")
    if not isinstance(budget, int) or budget <= max_output - 1024:
        return config
    if max_output - 1024 >= max(profile.budget_min, 1):
        return {**config, "thinkingBudget": max_output - 1024}
    off = _thinking_off(profile)
    rest = {key: value for key, value in config.items() if key != "thinkingBudget"}
    if off is None or off["thinkingBudget"] == 0:
        rest.pop("includeThoughts", None)
    return {**rest, **(off or {})} or None


def headroom(profile: ModelProfile, config: Mapping[str, Any] | None) -> int:
    """Tokens that thinking may take beside the visible answer: by what is sent, else by the model's default."""
    if profile.thinking == "none" or not profile.known:
        return 0
    budget = config.get("thinkingBudget") if config else None
    if isinstance(budget, int):
        return budget if budget >= 0 else profile.budget_max or _level_figure(profile, profile.default_level)
    level = config.get("thinkingLevel") if config else None
    if isinstance(level, str):
        return _level_figure(profile, level.upper())
    if profile.thinking == "level":
        return _level_figure(profile, profile.default_level)
    default = profile.default_budget or 0
    return default if default >= 0 else profile.budget_max


def _level_figure(profile: ModelProfile, level: str | None) -> int:
    if level is None:
        return 0
    figures = dict(profile.level_headroom)
    return figures.get(level, max(figures.values()))


def _nearest_level(profile: ModelProfile, wanted: str) -> str:
    """The level itself where the model has it, else the next stronger one, else its strongest."""
    if wanted in profile.levels or not profile.levels:
        return wanted
    at = _ORDER.index(wanted) if wanted in _ORDER else len(_ORDER)
    return next((level for level in profile.levels if _ORDER.index(level) > at), profile.levels[-1])


def _thinking_off(profile: ModelProfile) -> dict[str, Any] | None:
    """The least thinking: 0 where allowed, nothing said where it is off anyway, else the smallest budget."""
    if profile.budget_zero:
        return {"thinkingBudget": 0}
    return None if profile.default_budget == 0 else {"thinkingBudget": profile.budget_min}


def _clamp(profile: ModelProfile, budget: int) -> int:
    return max(profile.budget_min, min(budget, profile.budget_max))


# -- images --------------------------------------------------------------------------------------------------

_NAMED_SIZES = {
    "256x256": "1:1",
    "512x512": "1:1",
    "1024x1024": "1:1",
    "1536x1024": "3:2",
    "1024x1536": "2:3",
    "1792x1024": "16:9",
    "1024x1792": "9:16",
}
_PIXELS = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})").fullmatch
_RATIO = re.compile(r"[1-9]\d?:[1-9]\d?").fullmatch
_SIZES = ("1K", "2K", "4K")
_QUALITIES = {"auto": 0, "low": 0, "medium": 0, "standard": 0, "high": 1, "hd": 1, "xhigh": 2, "max": 2}


def image_config(
    profile: ModelProfile,
    size: str | None = None,
    quality: str | None = None,
    aspect_ratio: str | None = None,
    image_size: str | None = None,
) -> dict[str, Any] | None:
    """OpenAI's ``size`` and ``quality``, or Google's own words (which win), as ``imageConfig``. Raises ``Fault``."""
    ratio, step = _size(profile, size)
    if quality is not None:
        if quality not in _QUALITIES:
            raise invalid(f"Supported qualities are {', '.join(sorted(_QUALITIES))}.", "quality")
        wanted = _QUALITIES[quality]
        step = max(step or 0, wanted) if wanted else step
    resolution = None if step is None else _SIZES[step]
    if aspect_ratio and aspect_ratio != "auto":
        if not _RATIO(aspect_ratio):
            raise invalid("An aspect ratio looks like 16:9.", "aspect_ratio")
        ratio = aspect_ratio
    if image_size and image_size != "auto":
        resolution = image_size.upper()
        if profile.known and profile.image_size and resolution not in profile.image_sizes:
            raise invalid(f"This model makes images of {', '.join(profile.image_sizes)}.", "image_size")
    made = {}
    if ratio is not None:
        made["aspectRatio"] = ratio
    if resolution is not None and profile.image_size:
        made["imageSize"] = resolution
    return made or None


def _size(profile: ModelProfile, size: str | None) -> tuple[str | None, int | None]:
    """Aspect ratio and resolution step of an OpenAI size."""
    if not size or size == "auto":
        return None, None
    named = _NAMED_SIZES.get(size)
    if named is not None:
        return named, 0
    pixels = _PIXELS(size)
    if pixels is None:
        raise invalid("A size is 'auto' or looks like 1024x1024.", "size")
    width, height = int(pixels[1]), int(pixels[2])
    ratios: Iterable[str] = _WIDE_RATIOS if profile.wide_ratios else _RATIOS
    wanted = math.log(width / height)
    nearest = min(ratios, key=lambda ratio: abs(wanted - _log_ratio(ratio)))
    longest = max(width, height)
    return nearest, 0 if longest <= 1536 else 1 if longest <= 3072 else 2


def _log_ratio(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return math.log(int(width) / int(height))
