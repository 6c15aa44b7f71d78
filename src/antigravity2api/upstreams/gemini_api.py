"""The Gemini API with an API key. Pure: requests out, events and errors in.

Source of the field lists: Google's published schema of GenerateContentRequest on generativelanguage.googleapis.com; a
field that only Vertex knows is a 400 there, so it is left out and noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from antigravity2api import __version__
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.jsontext import dumps
from antigravity2api.gemini.models import ModelTable, check_name
from antigravity2api.gemini.schema import SchemaCache, Target
from antigravity2api.gemini.types import Chunk
from antigravity2api.upstreams import errors
from antigravity2api.upstreams.base import Address, HttpRequest
from antigravity2api.upstreams.shaping import (
    Notes,
    UsedSecrets,
    chosen_target,
    compiled_config,
    compiled_tools,
    distinct,
    header_secret,
    honest_agent,
    only,
    private_hosts,
    without,
)

_FIELDS = frozenset(
    {
        "cachedContent",
        "contents",
        "continuationToken",
        "generationConfig",
        "labels",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    }
)
_VERTEX_CONFIG = frozenset({"audioTimestamp", "modelConfig", "modelSelectionConfig", "responseFormat", "routingConfig"})
_VERTEX_IMAGE = frozenset({"imageOutputOptions", "personGeneration", "prominentPeople"})
_VERTEX_TOOLS = frozenset({"enterpriseWebSearch", "exaAiSearch", "parallelAiSearch", "retrieval"})
_VERTEX_SEARCH = frozenset({"blockingConfidence", "excludeDomains"})
_PLAIN = frozenset({"contents", "generationConfig", "systemInstruction"})
_PLAIN_CONFIG = frozenset(
    {
        "candidateCount",
        "frequencyPenalty",
        "maxOutputTokens",
        "presencePenalty",
        "responseMimeType",
        "responseModalities",
        "seed",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
"""What goes up as it is: a request of these alone needs no fitting."""
_MOST_HEADERS = 256
_MOST_TARGETS = 256
_VERSION = re.compile(r"v\d[a-z0-9]{0,15}").fullmatch


class GeminiApi:
    """``POST /{version}/models/{model}:generateContent``, the key in a header only."""

    name = "gemini"
    schema_form = Target.JSON_SCHEMA
    thoughts_may_end = False
    continues = True

    def __init__(
        self,
        address: Address,
        models: ModelTable | None = None,
        *,
        version: str = "v1beta",
        user_agent: str = f"antigravity2api/{__version__}",
    ) -> None:
        if not _VERSION(version):
            raise ValueError("the API version must look like v1 or v1beta")
        self.address = address
        self._models = models
        self._version = version
        self._agent = honest_agent(user_agent)
        self._hosts = private_hosts(address)
        self._schemas = SchemaCache()
        self._used = UsedSecrets()
        self._headers: dict[tuple[str, bool], tuple[tuple[str, str], ...]] = {}
        self._targets: dict[tuple[str, bool], str] = {}

    def lists(self, model: str) -> bool:
        """Whether the model table has the model as one of the Gemini API's."""
        entry = self._models.entry(model) if self._models is not None else None
        return entry is not None and entry.surface == "gemini"

    def prepare(self, call: Call, credential: Credential, *, target: Target | None = None) -> HttpRequest:
        """The request for one attempt. Raises ``Fault``."""
        path = self._targets.get((call.model, call.stream)) or self._new_target(call)
        secret = credential.secret
        self._used.add(secret)
        headers = self._headers.get((secret, call.stream)) or self._new_headers(credential, stream=call.stream)
        request: Mapping[str, Any] = call.request
        if request.keys() <= _PLAIN and request.get("generationConfig", {}).keys() <= _PLAIN_CONFIG:
            return HttpRequest("POST", path, headers, dumps(request))
        notes = Notes()
        fitted = _fitted(call, chosen_target(call, target, self.schema_form), notes, self._schemas)
        return HttpRequest("POST", path, headers, dumps(fitted), distinct(notes), None, notes.loosened)

    def _new_target(self, call: Call) -> str:
        """The path of a model's method. Raises ``Fault`` for a name that cannot stand in one."""
        model = check_name(call.model)
        path = model if "/" in model else f"models/{model}"
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        if len(self._targets) >= _MOST_TARGETS:
            self._targets.clear()
        target = self._targets[model, call.stream] = f"/{self._version}/{path}:{method}"
        return target

    def _new_headers(self, credential: Credential, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The headers for one credential, the same object for all its requests."""
        if len(self._headers) >= _MOST_HEADERS:
            self._headers.clear()
        headers = self._headers[credential.secret, stream] = (
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream" if stream else "application/json"),
            ("User-Agent", self._agent),
            ("x-goog-api-key", header_secret(credential)),
        )
        return headers

    def unwrap(self, event: Any) -> Chunk:
        """An event as it is, once it is known to be no error. Raises ``Fault``."""
        if type(event) is dict and "error" not in event:
            return event
        return self._unusual(event)

    def _unusual(self, event: Any) -> Chunk:
        response = errors.plain_response(event)
        if response is None:
            raise errors.fault_from_event(event, secrets=self._used, hosts=self._hosts)
        return response

    def classify(self, status: int, headers: Mapping[str, str], body: bytes, *, secrets: tuple[str, ...] = ()) -> Fault:
        """What a non-200 answer means."""
        return errors.classify(status, headers, body, secrets=(*secrets, *self._used), hosts=self._hosts)


def _fitted(call: Call, target: Target, notes: list[str], schemas: SchemaCache) -> dict[str, Any]:
    """The request with only what the Gemini API knows, schemas compiled."""
    request = only(call.request, _FIELDS, notes)
    config = request.get("generationConfig")
    if config:
        config = compiled_config(config, target, notes, schemas)
        if not _VERTEX_CONFIG.isdisjoint(config):
            config = without(config, _VERTEX_CONFIG, notes)
        image = config.get("imageConfig")
        if image and not _VERTEX_IMAGE.isdisjoint(image):
            config = {**config, "imageConfig": without(image, _VERTEX_IMAGE, notes)}
        request["generationConfig"] = config
    tools = request.get("tools")
    if tools:
        request["tools"] = _fitted_tools(compiled_tools(tools, target, notes, schemas), notes)
        if not request["tools"]:
            del request["tools"]
            request.pop("toolConfig", None)
    choice = request.get("toolConfig")
    calling = choice.get("functionCallingConfig") if choice else None
    if choice and calling and "streamFunctionCallArguments" in calling:
        calling = without(calling, ("streamFunctionCallArguments",), notes)
        request["toolConfig"] = {**choice, "functionCallingConfig": calling}
    if request.get("safetySettings"):
        request["safetySettings"] = [without(setting, ("method",), notes) for setting in request["safetySettings"]]
    return request


def _fitted_tools(tools: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    out = []
    for tool in tools:
        kept = without(tool, _VERTEX_TOOLS, notes) if not _VERTEX_TOOLS.isdisjoint(tool) else tool
        search = kept.get("googleSearch")
        if search and not _VERTEX_SEARCH.isdisjoint(search):
            kept = {**kept, "googleSearch": without(search, _VERTEX_SEARCH, notes)}
        if kept:
            out.append(kept)
    return out
