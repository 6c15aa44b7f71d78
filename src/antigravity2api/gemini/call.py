"""``Call``: what a client asked, understood. The one value that dialects make and upstreams send."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.types import GenerateContentRequest


class MendedTool(NamedTuple):
    """What was made of one refused tool."""

    name: str
    """The upstream's."""
    digest: str
    """Of its declaration, as the client gave it."""
    stage: str
    """How far it was simplified (``gemini.repair_tools.STAGES``)."""
    original: dict[str, Any]
    """The declaration before that."""


class Call(NamedTuple):
    """One request of a client, in the hub's language; made by keywords, changed by ``_replace`` into a new one.

    ``request`` is target-neutral: function parameters stand as the client's own JSON Schema in
    ``parametersJsonSchema``, structured output in ``responseJsonSchema``; each upstream compiles them
    (``gemini.schema``) for what it accepts.
    It is never changed in place: attempts share it.
    """

    dialect: str
    operation: str
    """``chat`` for now; media and counting operations join later."""
    asked_model: str
    """As the client spelled it; echoed in the answer."""
    model: str
    """After the alias table, without ``models/``; what goes upstream."""
    profile: ModelProfile
    request: GenerateContentRequest
    stream: bool
    options: Any = None
    """The dialect's own notes for the way back (names map, legacy shape, usage wanted …)."""
    defaulted: frozenset[str] = frozenset()
    """Keys of ``generationConfig`` whose value is our default, not the client's wish: droppable when refused."""
    schema_target: str | None = None
    """A schema form (``gemini.schema.Target`` value) that was learned to be needed; None: the upstream's default."""
    applied: tuple[str, ...] = ()
    """What was changed, dropped or renamed, for ``x-antigravity2api-applied``."""
    said: frozenset[str] = frozenset()
    """The client's own top-level fields that were not null: only these may be blamed for a refusal."""
    mended_tools: tuple[MendedTool, ...] = ()
    """Tools whose schema an upstream refused, and what was made of them."""
    copies: int = 1
    """How many parallel upstream calls make up the answer (``n`` on models without ``candidateCount``)."""
    affinity: str | None = None
    """What ties a conversation to a credential (``prompt_cache_key``, ``user``), if the client said."""

    def with_request(self, request: GenerateContentRequest, *notes: str) -> Call:
        """The same call with a repaired request; ``notes`` join ``applied``."""
        return self._replace(request=request, applied=(*self.applied, *notes))


def conversation(request: GenerateContentRequest) -> str:
    """A name that every turn of one conversation shares: its system text and its first text of the user."""
    parts = [*request.get("systemInstruction", {"parts": []})["parts"]]
    contents = request.get("contents")
    first = next((part["text"] for part in contents[0]["parts"] if "text" in part), "") if contents else ""
    text = "\0".join([*(part["text"] for part in parts if "text" in part), first])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret with the name under which it may be spoken of. ``id`` is safe to log; ``secret`` never is."""

    id: str
    secret: str = field(repr=False)
    project: str | None = None
    location: str | None = None
    """Vertex AI alone: where its requests go; None is the upstream's own location."""
    express: bool = False
    """Vertex AI alone: the secret is an express-mode API key and no bearer token."""
