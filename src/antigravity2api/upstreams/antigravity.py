"""Antigravity / Cloud Code Assist: the envelope around a Gemini request, and what its errors mean. Pure.

A private API without a published contract, off unless the operator switches it on. We say honestly who we are, invent
no project, and never route around an account that was closed.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from antigravity2api import __version__
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential, conversation
from antigravity2api.gemini.jsontext import dumps
from antigravity2api.gemini.models import ModelTable, check_name
from antigravity2api.gemini.schema import SchemaCache, Target
from antigravity2api.gemini.types import Chunk
from antigravity2api.upstreams import claude, errors
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
)

_FIELDS = frozenset({"contents", "generationConfig", "systemInstruction", "toolConfig", "tools"})
_CONFIG = frozenset(
    {
        "candidateCount",
        "frequencyPenalty",
        "imageConfig",
        "logprobs",
        "maxOutputTokens",
        "mediaResolution",
        "presencePenalty",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseModalities",
        "responseSchema",
        "seed",
        "speechConfig",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
_DRAWING_FIELDS = frozenset({"contents", "generationConfig", "systemInstruction"})
_DRAWING_CONFIG = frozenset({"imageConfig", "responseModalities", "seed", "temperature", "topK", "topP"})
_CLAUDE = ("claude-",)
_CHUNK_KEYS = ("candidates", "promptFeedback", "usageMetadata")


_RETIRED = re.compile(
    r"[\w .()-]{1,80} is no longer available\. Please switch to [\w .()-]{1,160}", re.IGNORECASE
).fullmatch


def _new_request_id() -> str:
    return f"agent-{uuid.uuid4()}"


def quota_group(model: str) -> str:
    """Which models share one quota of an account here: all Gemini ones, and Claude's with gpt-oss."""
    if model.startswith(("claude-", "gpt-oss-")):
        return "claude-* gpt-oss-*"
    return "gemini-*" if model.startswith("gemini-") else model


class Antigravity:
    """``POST /v1internal:generateContent`` with a bearer token and a project."""

    name = "antigravity"
    schema_form = Target.OPENAPI
    thoughts_may_end = True
    continues = False

    def __init__(
        self,
        address: Address,
        models: ModelTable | None = None,
        *,
        user_agent: str = f"antigravity2api/{__version__}",
        request_id: Callable[[], str] = _new_request_id,
    ) -> None:
        self.address = address
        self._models = models
        self._agent = honest_agent(user_agent)
        self._request_id = request_id
        self._hosts = private_hosts(address)
        self._schemas = SchemaCache()
        self._used = UsedSecrets()

    def lists(self, model: str) -> bool:
        """Whether the model table has an id for the model here, or knows it as of a family that only we have."""
        if self._models is None:
            return False
        if self._models.id_on(self.name, model) is not None:
            return True
        return self._models.entry(model) is None and self._models.profile(model).family in ("claude", "gpt-oss")

    def prepare(self, call: Call, credential: Credential, *, target: Target | None = None) -> HttpRequest:
        """The enveloped request for one attempt. Raises ``Fault``."""
        notes = Notes()
        call = self._by_its_id_here(call, notes)
        model = check_name(call.model)
        project = _project(credential)
        self._used.add(credential.secret, project)
        if call.request.get("cachedContent"):
            raise Fault(
                Kind.INVALID_REQUEST,
                "Cached content does not exist on this upstream.",
                param="cached_content",
                retry=Retry.OTHER_UPSTREAM,
            )
        drawing = call.profile.image_output or "image" in model
        request = _drawing(call, notes) if drawing else _talking(call, model, target, notes, self._schemas)
        envelope: dict[str, Any] = {
            "project": project,
            "model": model,
            "requestId": self._request_id(),
            "requestType": "image_gen" if drawing else "agent",
            "userAgent": "antigravity2api",
            "request": request,
        }
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        return HttpRequest(
            "POST",
            f"/v1internal:{method}",
            (
                ("Content-Type", "application/json"),
                ("Accept", "text/event-stream" if call.stream else "application/json"),
                ("User-Agent", self._agent),
                ("Authorization", f"Bearer {header_secret(credential)}"),
            ),
            dumps(envelope),
            distinct(notes),
            None,
            notes.loosened,
        )

    def _by_its_id_here(self, call: Call, notes: list[str]) -> Call:
        """The call for the id that the model has here; a model that only stands in for it is told by its name."""
        models = self._models
        model = models.stand_ins(self.name).get(call.model) if models is not None else None
        if models is None or model is None:
            return call
        notes.append(f"model:{model}")
        return call._replace(model=model, profile=models.profile(model))

    def unwrap(self, event: Any) -> Chunk:
        """The response inside an event; an event without one says nothing. Raises ``Fault``."""
        if type(event) is dict and "error" not in event:
            response = event.get("response")
            if type(response) is dict and "error" not in response:
                usage = response.get("usageMetadata")
                if type(usage) is not dict or not usage.get("promptTokenCount"):
                    _look_for_notice(response)
                return response
        return self._unusual(event)

    def _unusual(self, event: Any) -> Chunk:
        if isinstance(event, list) and len(event) == 1:
            event = event[0]
        inner = event.get("response") if isinstance(event, dict) else event
        if inner is None:
            inner = {}
        for candidate in (event, inner):
            if not isinstance(candidate, dict):
                raise Fault(Kind.BAD_ANSWER, "The upstream sent an event of an unknown form.", retry=Retry.SAME)
            if candidate.get("error") is not None:
                raise self._judged(errors.read_error(200, {}, candidate))
        if not inner and any(key in event for key in _CHUNK_KEYS):
            return dict(event)  # not wrapped
        return inner

    def classify(self, status: int, headers: Mapping[str, str], body: bytes, *, secrets: tuple[str, ...] = ()) -> Fault:
        """What a non-200 answer means."""
        return self._judged(errors.read_error(status, headers, body), secrets)

    def _judged(self, error: errors.UpstreamError, secrets: tuple[str, ...] = ()) -> Fault:
        fault = errors.to_fault(error, secrets=(*secrets, *self._used), hosts=self._hosts)
        if error.status == 403 and fault.kind is Kind.CREDENTIAL:
            _explain_refusal(error, fault)
        return fault


def _look_for_notice(response: Mapping[str, Any]) -> None:
    """A model that was taken out of service is answered for with one sentence, as if the model had said it. Raises
    ``Fault`` for such an answer: the sentence alone, ended, and no token counted, because no model ran."""
    try:
        (candidate,) = response["candidates"]
        if "finishReason" not in candidate:
            return
        (part,) = candidate["content"]["parts"]
        text = part["text"].strip()
        is_notice = _RETIRED(text) and not part.get("thought") and not any(_counts(response.get("usageMetadata") or {}))
    except (LookupError, TypeError, ValueError, AttributeError):
        return  # of another shape, which is an answer's own
    if is_notice:
        raise Fault(Kind.MODEL_NOT_FOUND, text, param="model", retry=Retry.OTHER_UPSTREAM, reason="MODEL_RETIRED")


def _counts(usage: Mapping[str, Any]) -> Iterator[Any]:
    return (count for name, count in usage.items() if name.endswith("TokenCount"))


def _project(credential: Credential) -> str:
    """The credential's project. Raises ``Fault`` CREDENTIAL: none is ever made up."""
    project = (credential.project or "").strip()
    if project and project.isascii() and project.isprintable():
        return project
    raise Fault(
        Kind.CREDENTIAL,
        f"The credential {credential.id} has no project: set ANTIGRAVITY_PROJECT, which is missing.",
        retry=Retry.OTHER_CREDENTIAL,
        reason="PROJECT_MISSING",
    )


def _talking(call: Call, model: str, target: Target | None, notes: list[str], schemas: SchemaCache) -> dict[str, Any]:
    """The inner request for text models."""
    is_claude = model.startswith(_CLAUDE) or call.profile.family == "claude"
    form = Target.ANTIGRAVITY if is_claude else chosen_target(call, target, Target.OPENAPI)
    if form is Target.JSON_SCHEMA:  # not known here
        form = Target.OPENAPI
    request = only(call.request, _FIELDS, notes)
    contents: list[Any] = request.get("contents") or []
    config = only(request.get("generationConfig") or {}, _CONFIG, notes)
    config = compiled_config(config, form, notes, schemas)
    if is_claude:
        contents = request["contents"] = claude.shaped_contents(contents, notes)
        config = claude.shaped_config(config, contents, call, notes)
        if "thinkingConfig" not in config:
            request["contents"] = claude.without_thoughts(contents)
    elif isinstance(config.get("maxOutputTokens"), int) and call.profile.output_limit:
        config["maxOutputTokens"] = min(config["maxOutputTokens"], call.profile.output_limit)
    if config:
        request["generationConfig"] = config
    else:
        request.pop("generationConfig", None)
    if request.get("tools"):
        request["tools"] = compiled_tools(request["tools"], form, notes, schemas)
    if is_claude and _has_functions(request):
        request["toolConfig"] = _validated(request.get("toolConfig") or {})
    request["sessionId"] = session_id(call)
    return request


def _has_functions(request: Mapping[str, Any]) -> bool:
    return any(tool.get("functionDeclarations") for tool in request.get("tools") or ())


def _validated(config: dict[str, Any]) -> dict[str, Any]:
    """AUTO, said or not, becomes VALIDATED, which the native client always asks of Claude; NONE and ANY stay."""
    calling = config.get("functionCallingConfig") or {}
    if calling.get("mode", "AUTO") != "AUTO":
        return config
    return {**config, "functionCallingConfig": {**calling, "mode": "VALIDATED"}}


def _drawing(call: Call, notes: list[str]) -> dict[str, Any]:
    """The inner request for image models: no tools, no thinking, no session; a system text joins the first message."""
    request = only(call.request, _DRAWING_FIELDS, notes)
    contents: list[Any] = list(request.get("contents") or ())
    system = request.pop("systemInstruction", None)
    if system and system.get("parts"):
        notes.append("systemInstruction")
        if contents and contents[0].get("role", "user") == "user":
            contents[0] = {**contents[0], "parts": [*system["parts"], *contents[0].get("parts", ())]}
        else:
            contents.insert(0, {"role": "user", "parts": list(system["parts"])})
    request["contents"] = contents
    given: Mapping[str, Any] = request.get("generationConfig") or {}
    given = {key: value for key, value in given.items() if key not in call.defaulted}
    config = only(given, _DRAWING_CONFIG, notes)
    config.setdefault("responseModalities", ["TEXT", "IMAGE"])
    if "imageConfig" in config:
        config["imageConfig"] = only(config["imageConfig"], {"aspectRatio"}, notes)
        if not config["imageConfig"]:
            del config["imageConfig"]
    request["generationConfig"] = config
    return request


def session_id(call: Call) -> str:
    """A stable name of the conversation, as a negative number in words: it keeps the upstream's prompt cache warm."""
    text = next(
        (
            part["text"]
            for content in call.request.get("contents", ())
            if content.get("role", "user") == "user"
            for part in content.get("parts", ())
            if part.get("text")
        ),
        "",
    )
    text = text or call.affinity or conversation(call.request)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return f"-{int.from_bytes(digest[:8], 'big') & 0x7FFF_FFFF_FFFF_FFFF}"


def _explain_refusal(error: errors.UpstreamError, fault: Fault) -> None:
    """What the operator can do about a 403: verify the account, appeal, or look at the project. A link that Google gave
    for exactly this purpose is shown, whatever its host; to the operator alone, it is the account's own."""
    if error.reason == "VALIDATION_REQUIRED":
        page = error.metadata.get("validation_link") or error.metadata.get("validation_url")
        fault.link = _link(page or next(iter(error.links), ""))
    elif errors.closed_by_terms(error):
        # The account is closed. Another account of the same operator would only be next.
        fault.reason = "TOS_VIOLATION"
        fault.retry = Retry.OTHER_UPSTREAM
        fault.link = _link(error.metadata.get("appeal_url", "")) or fault.link
    elif errors.misplaced(error):
        fault.reason = "PROJECT_PERMISSION_DENIED"


def _link(page: str) -> str | None:
    return page if errors.is_link(page) else None
