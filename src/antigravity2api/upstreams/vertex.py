"""Vertex AI: the Gemini models of a Google Cloud project, or of an express-mode API key. Pure.

Source of the field lists: Google's discovery document of aiplatform.googleapis.com (v1). What only the Gemini API knows
is a 400 there, so it is left out and noted. Other vendors' models have APIs of their own there and are not served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from antigravity2api import __version__
from antigravity2api.errors import Fault, Kind, Retry
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
    address_of,
    chosen_target,
    compiled_config,
    compiled_tools,
    distinct,
    header_secret,
    honest_agent,
    only,
    private_hosts,
)

GLOBAL = "global"
_MULTI_REGIONS = frozenset({"eu", "us"})
_FIELDS = frozenset(
    "cachedContent contents continuationToken generationConfig labels modelArmorConfig outputConfig safetySettings "
    "systemInstruction toolConfig tools".split()
)
_CONFIG = frozenset(
    "audioTimestamp audioTranscriptionConfig candidateCount enableAffectiveDialog frequencyPenalty imageConfig "
    "logprobs maxOutputTokens mediaResolution presencePenalty responseFormat responseJsonSchema responseLogprobs "
    "responseMimeType responseModalities responseSchema routingConfig seed speechConfig stopSequences temperature "
    "thinkingConfig topK topP translationConfig".split()
)
_PART = frozenset(
    "audioTranscription codeExecutionResult executableCode fileData functionCall functionResponse inlineData "
    "mediaResolution speechMetadata text thought thoughtSignature videoMetadata".split()
)
_BETA_PART = _PART | {"mediaProcessing"}
_BETA_CONFIG = _CONFIG | {"modelConfig"}
_SIBLINGS = frozenset("mediaProcessing mediaResolution speechMetadata thought thoughtSignature videoMetadata".split())
"""Fields of a part that say nothing without the data beside them."""
_TOOLS = frozenset(
    "codeExecution computerUse enterpriseWebSearch exaAiSearch functionDeclarations googleMaps googleSearch "
    "googleSearchRetrieval parallelAiSearch retrieval urlContext".split()
)
_INNER = {
    "functionResponse": frozenset("id name parts response scheduling".split()),
    "mediaResolution": frozenset({"level"}),
    "googleSearch": frozenset("blockingConfidence excludeDomains searchTypes".split()),
    "googleMaps": frozenset("enableWidget groundingTypes".split()),
    "imageConfig": frozenset("aspectRatio imageOutputOptions imageSize personGeneration prominentPeople".split()),
    "thinkingConfig": frozenset("includeThoughts thinkingBudget thinkingLevel".split()),
    "toolConfig": frozenset("functionCallingConfig retrievalConfig".split()),
    "functionCallingConfig": frozenset("allowedFunctionNames mode streamFunctionCallArguments".split()),
}
"""What a message inside a part, a tool or a configuration may hold."""
_CATEGORIES = frozenset(
    "HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_DANGEROUS_CONTENT HARM_CATEGORY_HARASSMENT "
    "HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_CIVIC_INTEGRITY HARM_CATEGORY_IMAGE_HATE "
    "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT HARM_CATEGORY_IMAGE_HARASSMENT HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT "
    "HARM_CATEGORY_JAILBREAK".split()
)
_SAFETY = frozenset("category method threshold".split())

_LOCATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?").fullmatch
_PROJECT = re.compile(r"(?!\.)[A-Za-z0-9][A-Za-z0-9._:-]{0,127}").fullmatch
_VERSION = re.compile(r"v\d[a-z0-9]{0,15}").fullmatch
_FILES_API = re.compile(r"(?:https://generativelanguage\.googleapis\.com/.*)?\bfiles/[a-z0-9-]+").fullmatch
_NAMED_LOCATION = re.compile(r"/locations/([a-z0-9-]{1,40})/")
_PER_MINUTE = re.compile(r"per[_ ]?minute", re.IGNORECASE)
_MOST_HEADERS = 256
_MOST_PLACES = 256
_OWN_MODELS = "publishers/google/models/"

_ROLE = "Give the account the role Vertex AI User (roles/aiplatform.user) in the project"
_ENABLE = (
    "Enable the Vertex AI API in the project, and wait a few minutes: "
    "https://console.cloud.google.com/apis/library/aiplatform.googleapis.com"
)
_EXPRESS = "Vertex AI takes express-mode API keys only, which a key of Google AI Studio is not"
_WRONG_PROJECT = "Check the project: it must exist, and the account must be allowed to use it"
_HINTS = {
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "The token needs the scope https://www.googleapis.com/auth/cloud-platform",
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": _EXPRESS,
    "API_KEY_INVALID": _EXPRESS,
    "API_KEY_SERVICE_BLOCKED": "Allow the Vertex AI API among the restrictions of the key",
    "BILLING_DISABLED": "Switch on billing for the project: https://console.cloud.google.com/billing",
    "CONSUMER_INVALID": _WRONG_PROJECT,
    "CREDENTIALS_MISSING": _EXPRESS,
    "IAM_PERMISSION_DENIED": _ROLE,
    "SERVICE_DISABLED": _ENABLE,
    "USER_PROJECT_DENIED": _WRONG_PROJECT,
}
"""What the operator can do about a refusal, by Google's own word for it."""
_WORDS = (
    (re.compile(r"permission '?aiplatform\.", re.IGNORECASE), "IAM_PERMISSION_DENIED"),
    (re.compile(r"has not been used in project|it is disabled", re.IGNORECASE), "SERVICE_DISABLED"),
    (re.compile(r"billing", re.IGNORECASE), "BILLING_DISABLED"),
)
"""The same for refusals that carry no such word."""


class Vertex:
    """``POST /{version}/projects/{project}/locations/{location}/publishers/google/models/{model}:generateContent``.

    The secret is a bearer token, or, for an express credential, an API key in a header; its path has no project then.
    ``locations`` are those that credentials name beside the upstream's own (see ``expect``).
    """

    name = "vertex"
    schema_form = Target.JSON_SCHEMA
    thoughts_may_end = False
    continues = True

    def __init__(
        self,
        project: str | None = None,
        location: str = GLOBAL,
        models: ModelTable | None = None,
        *,
        base_url: str | None = None,
        version: str = "v1",
        locations: Iterable[str] = (),
        user_agent: str = f"antigravity2api/{__version__}",
    ) -> None:
        if not _VERSION(version):
            raise ValueError("the API version must look like v1 or v1beta1")
        self._base = address_of(base_url) if base_url else None
        self._project = project
        self._location = location
        self._models = models
        self._version = version
        self._agent = honest_agent(user_agent)
        self.address = self._base or address_at(location)
        self._hosts = private_hosts(self.address)
        self._places = {location: self.address}
        self.expect(locations)
        self._schemas = SchemaCache()
        self._used = UsedSecrets()
        self._headers: dict[tuple[str, bool, bool], tuple[tuple[str, str], ...]] = {}
        beta = version.startswith("v1beta")
        self._fitter = _Fitter(_BETA_PART if beta else _PART, _BETA_CONFIG if beta else _CONFIG, self._schemas)

    def lists(self, model: str) -> bool:
        """Whether the model table has an id for the model here."""
        return self._models is not None and self._models.id_on(self.name, _bare(model)) is not None

    def expect(self, locations: Iterable[str]) -> None:
        """Credentials name these locations: a model that one lacks may be found with another."""
        for location in locations:
            if _LOCATION(location):
                self._place(location)

    def address_for(self, credential: Credential) -> Address:
        """Where a credential's requests go. Raises ``Fault`` CREDENTIAL for a location that cannot be one."""
        return self._place(GLOBAL if credential.express else credential.location or self._location, credential.id)

    def prepare(self, call: Call, credential: Credential, *, target: Target | None = None) -> HttpRequest:
        """The request for one attempt. Raises ``Fault``."""
        notes = Notes()
        call = self._by_its_id_here(call, notes)
        address = self.address_for(credential)
        where = self._resource(credential)
        self._used.add(credential.secret)
        request = self._fitter.fitted(call, chosen_target(call, target, self.schema_form), notes)
        cached = request.get("cachedContent")
        if isinstance(cached, str) and where and cached.startswith("cachedContents/"):
            request["cachedContent"] = where + cached
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        return HttpRequest(
            "POST",
            f"/{self._version}/{where}{_OWN_MODELS}{call.model}:{method}",
            self._headers_for(credential, stream=call.stream),
            dumps(request),
            distinct(notes),
            None if address is self.address else address,
            notes.loosened,
        )

    def _by_its_id_here(self, call: Call, notes: list[str]) -> Call:
        """The call for the id that the model has here; a model that only stands in for it is told by its name."""
        name = _bare(check_name(call.model))
        if "/" in name:
            raise Fault(
                Kind.MODEL_NOT_FOUND,
                "On Vertex AI only Google's own models are served, by names without a slash.",
                param="model",
                retry=Retry.OTHER_UPSTREAM,
            )
        model = self._models.stand_ins(self.name).get(name) if self._models is not None else None
        if self._models is None or model is None:
            return call if name == call.model else call._replace(model=name)
        notes.append(f"model:{model}")
        return call._replace(model=model, profile=self._models.profile(model))

    def _place(self, location: str, credential: str = "") -> Address:
        if self._base is not None and location not in self._places and _LOCATION(location):
            self._remember(location, self._base)
        found = self._places.get(location)
        if found is None:
            if not _LOCATION(location):
                of = f"the credential {credential}" if credential else "Vertex AI"
                raise _unusable(f"The location of {of} is no location of Google Cloud.", "LOCATION_MALFORMED")
            found = address_at(location)
            self._remember(location, found)
        return found

    def _remember(self, location: str, address: Address) -> None:
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[location] = address

    def _resource(self, credential: Credential) -> str:
        """The first part of the path; nothing for an express key. Raises ``Fault`` CREDENTIAL: none is made up."""
        if credential.express:
            return ""
        project = (credential.project or self._project or "").strip()
        if not _PROJECT(project):
            raise _unusable(
                f"The credential {credential.id} has no project: set GOOGLE_CLOUD_PROJECT, which is missing.",
                "PROJECT_MISSING",
            )
        self._used.add(project)
        return f"projects/{project}/locations/{credential.location or self._location}/"

    def _headers_for(self, credential: Credential, *, stream: bool) -> tuple[tuple[str, str], ...]:
        """The headers for one credential, the same object for all its requests."""
        key = (credential.secret, stream, credential.express)
        headers = self._headers.get(key)
        if headers is None:
            if len(self._headers) >= _MOST_HEADERS:
                self._headers.clear()
            secret = header_secret(credential)
            headers = self._headers[key] = (
                ("Content-Type", "application/json"),
                ("Accept", "text/event-stream" if stream else "application/json"),
                ("User-Agent", self._agent),
                ("x-goog-api-key", secret) if credential.express else ("Authorization", f"Bearer {secret}"),
            )
        return headers

    # -- answers -------------------------------------------------------------------------------------------------------

    def unwrap(self, event: Any) -> Chunk:
        """An event as it is, once it is known to be no error. Raises ``Fault``."""
        if type(event) is dict and "error" not in event:
            return event
        response = errors.plain_response(event)
        if response is None:
            raise self._fault(errors.read_error(200, {}, event), ())
        return response

    def classify(self, status: int, headers: Mapping[str, str], body: bytes, *, secrets: tuple[str, ...] = ()) -> Fault:
        """What a non-200 answer means, and what the operator can do about it."""
        return self._fault(errors.read_error(status, headers, body), secrets)

    def _fault(self, error: errors.UpstreamError, secrets: tuple[str, ...]) -> Fault:
        fault = errors.to_fault(error, secrets=(*secrets, *self._used), hosts=self._hosts)
        match fault.kind:
            case Kind.CREDENTIAL:
                fault.reason = fault.reason or _reason_of(error)
                if hint := _HINTS.get(fault.reason or ""):
                    _add(fault, hint)
            case Kind.MODEL_NOT_FOUND:
                self._explain_missing(error, fault)
            case Kind.RATE_LIMITED if fault.retry_after is None and _PER_MINUTE.search(error.message):
                fault.retry_after = 60.0
            case Kind.TOO_LARGE:
                fault.retry = Retry.OTHER_UPSTREAM  # the limits differ
        return fault

    def _explain_missing(self, error: errors.UpstreamError, fault: Fault) -> None:
        """A model that one location lacks may be at another, and so may a credential."""
        named = _NAMED_LOCATION.search(error.message)
        location = named[1] if named else self._location
        if len(self._places) > 1:
            fault.retry = Retry.OTHER_CREDENTIAL
        if location != GLOBAL:
            _add(
                fault,
                f"The location {location} has not every model, and the newest are at global, us and eu only: "
                "set GOOGLE_CLOUD_LOCATION=global",
            )


def address_at(location: str) -> Address:
    """Google's own host for a location."""
    if location == GLOBAL:
        host = "aiplatform.googleapis.com"
    elif location in _MULTI_REGIONS:
        host = f"aiplatform.{location}.rep.googleapis.com"
    else:
        host = f"{location}-aiplatform.googleapis.com"
    return Address(host, 443, True)


class _Fitter:
    """Leaves in a request what one version of the API knows."""

    __slots__ = ("_config", "_part", "_schemas")

    def __init__(self, part: frozenset[str], config: frozenset[str], schemas: SchemaCache) -> None:
        self._part = part
        self._config = config
        self._schemas = schemas

    def fitted(self, call: Call, target: Target, notes: list[str]) -> dict[str, Any]:
        """A new request with known fields alone, schemas compiled. Raises ``Fault``."""
        request = only(call.request, _FIELDS, notes)
        contents = request.get("contents")
        if contents:
            request["contents"] = self._contents(contents, notes)
        config = request.get("generationConfig")
        if config:
            config = compiled_config(only(config, self._config, notes), target, notes, self._schemas)
            request["generationConfig"] = _fitted_config(config, notes)
        tools = request.get("tools")
        if tools:
            request["tools"] = _fitted_tools(compiled_tools(tools, target, notes, self._schemas), notes)
            if not request["tools"]:
                del request["tools"]
                request.pop("toolConfig", None)
        choice = request.get("toolConfig")
        if choice:
            choice = _inner(choice, ("functionCallingConfig",), only(choice, _INNER["toolConfig"], notes), notes)
            request["toolConfig"] = choice
            if not choice:
                del request["toolConfig"]
        if request.get("safetySettings"):
            request["safetySettings"] = _fitted_safety(request["safetySettings"], notes)
        return request

    def _contents(self, contents: list[Any], notes: list[str]) -> list[Any]:
        """The same contents where nothing has to go; else copies. Raises ``Fault`` for a file out of reach."""
        known = self._part
        made = []
        for content in contents:
            parts = content.get("parts") or ()
            if all(part.keys() <= known and _INNER.keys().isdisjoint(part) for part in parts):
                if any("fileData" in part for part in parts):
                    _check_files(parts)
                made.append(content)
                continue
            _check_files(parts)
            kept = [part for part in (self._fitted_part(part, notes) for part in parts) if part is not None]
            if kept:
                made.append({**content, "parts": kept})
        return made

    def _fitted_part(self, part: dict[str, Any], notes: list[str]) -> dict[str, Any] | None:
        """The part, or None where only what nobody knows here was in it."""
        kept = only(part, self._part, notes)
        if kept.keys() <= _SIBLINGS:
            return None if len(kept) < len(part) else kept
        return _inner(part, ("functionResponse", "mediaResolution"), kept, notes)


def _inner(whole: Mapping[str, Any], names: Iterable[str], kept: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """``kept`` with only known fields in those of its messages."""
    for name in names:
        value = whole.get(name)
        if isinstance(value, dict) and name in kept and not value.keys() <= _INNER[name]:
            kept[name] = only(value, _INNER[name], notes)
    return kept


def _fitted_config(config: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    config = _inner(config, ("imageConfig", "thinkingConfig"), dict(config), notes)
    thinking = config.get("thinkingConfig")
    if thinking and str(thinking.get("thinkingLevel", "")).upper() == "XHIGH":
        notes.append("thinkingLevel:HIGH")  # the highest word that this API has
        config["thinkingConfig"] = {**thinking, "thinkingLevel": "HIGH"}
    return config


def _fitted_tools(tools: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    made = []
    for tool in tools:
        kept = _inner(tool, ("googleSearch", "googleMaps"), only(tool, _TOOLS, notes), notes)
        if kept:
            made.append(kept)
    return made


def _fitted_safety(settings: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    made = []
    for setting in settings:
        if setting.get("category") in _CATEGORIES:
            made.append(only(setting, _SAFETY, notes))
        else:
            notes.append("safetySettings")
    return made


def _check_files(parts: Iterable[Mapping[str, Any]]) -> None:
    """Files of the Gemini API lie with the key that uploaded them, where Vertex AI cannot read them."""
    for part in parts:
        uri = (part.get("fileData") or {}).get("fileUri")
        if isinstance(uri, str) and _FILES_API(uri):
            raise Fault(
                Kind.INVALID_REQUEST,
                "Vertex AI cannot read files that were uploaded to the Gemini API; give their bytes, or a gs:// URI.",
                param="messages",
                retry=Retry.OTHER_UPSTREAM,
            )


def _bare(model: str) -> str:
    return model.removeprefix(_OWN_MODELS)


def _unusable(message: str, reason: str) -> Fault:
    return Fault(Kind.CREDENTIAL, message, retry=Retry.OTHER_CREDENTIAL, reason=reason)


def _reason_of(error: errors.UpstreamError) -> str | None:
    """Google's word for a refusal that came without it."""
    if error.status != 403:
        return None
    return next((reason for words, reason in _WORDS if words.search(error.message)), None)


def _add(fault: Fault, words: str) -> None:
    fault.message = f"{fault.message.rstrip('. ')}. {words}."
    fault.args = (fault.message,)
