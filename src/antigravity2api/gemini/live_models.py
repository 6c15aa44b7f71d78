"""What the upstreams say they have, beside what the model table knows: which of them serves a name, and what is listed.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from antigravity2api.gemini.models import ModelEntry, ModelTable, is_name

_VERSION = 1
_PINNED = re.compile(r"-\d{3}$")
_LIVE = re.compile(r"(?:^|-)live(?:-|$)|native-audio")
_NAMED_KINDS = (
    (_LIVE, "live"),
    (re.compile(r"embedding"), "embedding"),
    (re.compile(r"(?:^|-)tts(?:-|$)"), "tts"),
    (re.compile(r"transcribe"), "transcription"),
    (re.compile(r"(?:^|-)(?:image|banana)(?:-|$)"), "image"),
    (re.compile(r"^imagen-"), "imagen"),
    (re.compile(r"^veo-"), "video"),
)
MOST_MODELS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model as an upstream lists it."""

    id: str
    name: str = ""
    kind: str = ""
    """What it is for, where the upstream says that it is not for ``generateContent``; else empty."""
    input_limit: int | None = None
    output_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveList:
    """One upstream's whole list. ``place`` is the root that was asked, ``fetched`` the wall clock's time of it."""

    upstream: str
    place: str
    credential: str
    fetched: float
    models: Mapping[str, LiveModel]

    def has(self, model: str) -> bool:
        """Whether the model is in it, under its own name or with the number of a version."""
        return model in self.models or any(
            name.startswith(model) and _PINNED.fullmatch(name, len(model)) for name in self.models
        )


def listed(models: Iterable[LiveModel]) -> dict[str, LiveModel]:
    """Models by id; names that could not be part of a URL are left out."""
    found: dict[str, LiveModel] = {}
    for model in models:
        if len(found) >= MOST_MODELS:
            break
        if is_name(model.id) and "/" not in model.id:
            found[model.id] = model
    return found


def to_bytes(found: LiveList) -> bytes:
    """The list as it is kept; ``from_bytes`` reads it."""
    rows = [
        [model.id, model.name, model.kind, model.input_limit, model.output_limit] for model in found.models.values()
    ]
    return orjson.dumps({"version": _VERSION, "place": found.place, "models": rows})


def from_bytes(data: bytes, *, upstream: str, credential: str, fetched: float) -> LiveList | None:
    """A kept list; None for what is none."""
    try:
        value = orjson.loads(data)
        if value["version"] != _VERSION:
            return None
        models = [
            LiveModel(id=str(model), name=str(name), kind=str(kind), input_limit=_limit(read), output_limit=_limit(out))
            for model, name, kind, read, out in value["models"]
        ]
        place = str(value["place"])
    except (ValueError, TypeError, KeyError):
        return None
    return LiveList(upstream=upstream, place=place, credential=credential, fetched=fetched, models=listed(models))


def _limit(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def serves(table: ModelTable, found: LiveList | None, upstream: str, model: str) -> bool | None:
    """Whether the upstream has a (resolved) name, or what stands in for it there; None where nobody could be asked."""
    if found is None:
        return None
    bare = model.removeprefix("publishers/google/models/")
    if "/" in bare:  # tuned models are in no list
        return None
    return found.has(table.id_on(upstream, bare) or bare)


def merged(table: ModelTable, lists: Mapping[str, LiveList], upstreams: Sequence[str]) -> list[ModelEntry]:
    """What can be used now: the table's rows that a list confirms or that could not be asked about, then the models
    that only a list knows. Without any upstream the Gemini API's rows."""
    entries = [entry for entry in table.entries() if usable(table, lists, upstreams, entry)]
    shown = {entry.id for entry in table.entries()}
    for upstream in upstreams:
        found = lists.get(upstream)
        for model in found.models.values() if found is not None else ():
            if model.id not in shown and table.resolve(model.id) == model.id:
                shown.add(model.id)
                entries.append(entry_of(table, model, upstream))
    return entries


def usable(table: ModelTable, lists: Mapping[str, LiveList], upstreams: Sequence[str], entry: ModelEntry) -> bool:
    """Whether any of the upstreams serves the row, as far as is known."""
    if not upstreams:
        return entry.surface == "gemini"
    model = entry.alias_of or entry.id
    for upstream in upstreams:
        said = serves(table, lists.get(upstream), upstream, model)
        if table.id_on(upstream, model) is not None if said is None else said:
            return True
    return False


def entry_of(table: ModelTable, model: LiveModel, upstream: str) -> ModelEntry:
    """The row of a model that the table does not have: the rules of its family, and the upstream's own figures."""
    profile = table.profile(model.id)
    profile = replace(
        profile,
        kind=_kind(model, profile.kind if profile.known else ""),
        input_limit=model.input_limit or profile.input_limit,
        output_limit=model.output_limit or profile.output_limit,
    )
    return ModelEntry(id=model.id, display_name=model.name or model.id, profile=profile, surfaces=(upstream,))


def _kind(model: LiveModel, known: str) -> str:
    """What the upstream says, what the name says, what the family is."""
    if model.kind:
        return model.kind
    if known and known != "chat":
        return known
    return next((kind for words, kind in _NAMED_KINDS if words.search(model.id)), known or "chat")
