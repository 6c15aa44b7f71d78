"""Vertex AI's own ways: who may ask in which project, where a model is, how it refuses, and its list of models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from antigravity2api.sandbox.google import (
    GoogleError,
    Json,
    bad,
    error_info,
    key_invalid,
    page_of,
    service_disabled,
    token_expired,
)
from antigravity2api.sandbox.keys import BAD_KEYS, credential_of
from antigravity2api.sandbox.proto import check
from antigravity2api.sandbox.routes import Route
from antigravity2api.sandbox.usage import prompt_tokens
from antigravity2api.sandbox.vertex_messages import PACKAGES, VERTEX, VERTEX_BETA

SERVICE = "aiplatform.googleapis.com"
NO_ROLE = "no-role"
"""The token of an account that lacks the role."""
_NAME = re.compile(r"gemini-[a-z0-9][a-z0-9._-]{0,80}", re.ASCII)
_ABSENT = re.compile(r"embedding|-live|-latest$", re.ASCII)
_WIDE_ONLY = re.compile(r"gemini-(?:[4-9]|\d\d)", re.ASCII)
_WIDE = frozenset({"global", "us", "eu"})

MODELS: Sequence[str] = (
    "gemini-4-neon", "gemini-4-hydrogen", "gemini-4-carbon", "gemini-4-argon", "gemini-3.8-flash", "gemini-3.7-flash",
    "gemini-3.6-flash", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview",
    "gemini-3.1-pro-preview-customtools", "gemini-3.1-flash-lite", "gemini-3-flash-preview", "gemini-2.5-pro",
    "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3-pro-image", "gemini-3.1-flash-image",
    "gemini-3.1-flash-lite-image", "gemini-2.5-flash-image", "gemini-nano-banana-2.1", "gemini-3.8-flash-tts",
    "gemini-3.8-flash-lite-tts", "gemini-embedding-001", "gemini-embedding-2", "imagen-4.0-generate-001",
    "veo-3.1-generate-001", "text-embedding-005",
)  # fmt: skip
"""What the list of the publisher shows; among them models that no ``generateContent`` serves."""


# -- refusals ----------------------------------------------------------------------------------------------------------


def resource_exhausted() -> GoogleError:
    """The shared quota is used up: no details and no delay."""
    return GoogleError(
        429,
        "Resource exhausted. Please try again later. Please refer to "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
    )


def model_missing(resource: str) -> GoogleError:
    """No such model there; ``resource`` is its whole name."""
    return GoogleError(
        404,
        f"Publisher Model `{resource}` was not found or your project does not have access to it. Please ensure you are "
        "using a valid model version. For more information, see: "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
    )


def permission_denied(resource: str) -> GoogleError:
    """The account lacks the role, or the project does not exist: Google does not say which."""
    permission = "aiplatform.endpoints.predict"
    return GoogleError(
        403,
        f"Permission '{permission}' denied on resource '//{SERVICE}/{resource}' (or it may not exist).",
        details=[error_info("IAM_PERMISSION_DENIED", SERVICE, permission=permission, resource=resource)],
    )


def api_disabled() -> GoogleError:
    """The API is off in the project."""
    return service_disabled("Vertex AI API", SERVICE)


def _no_billing() -> GoogleError:
    return GoogleError(
        403,
        "This API method requires billing to be enabled. Please enable billing on project #123456789 by visiting "
        "https://console.developers.google.com/billing/enable then retry.",
        details=[error_info("BILLING_DISABLED", service=SERVICE, consumer="projects/123456789")],
    )


def _no_credentials(*, key: bool) -> GoogleError:
    if key:
        text = (
            "API keys are not supported by this API. Expected OAuth2 access token or other authentication credentials "
            "that assert a principal. See https://cloud.google.com/docs/authentication"
        )
    else:
        text = (
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
            "other valid authentication credential. See "
            "https://developers.google.com/identity/sign-in/web/devconsole-project."
        )
    return GoogleError(401, text, details=[error_info("CREDENTIALS_MISSING", service=SERVICE)])


BAD_PROJECTS: Mapping[str, tuple[str, Callable[[str], GoogleError]]] = MappingProxyType(
    {
        "wrong-project": ("403 IAM_PERMISSION_DENIED, or it may not exist", permission_denied),
        "api-off": ("403 SERVICE_DISABLED", lambda _: api_disabled()),
        "no-billing": ("403 BILLING_DISABLED", lambda _: _no_billing()),
    }
)
"""The projects that are bad: what each gets, and the error itself."""


# -- gates -------------------------------------------------------------------------------------------------------------


def resource_of(found: Route) -> str:
    """The whole name of the model that a request is for."""
    return f"{found.parent}publishers/google/models/{found.model}"


def check_access(headers: Mapping[str, str], found: Route) -> None:
    """A bearer token for a project, an express-mode key where the path has none; either may ask for the list."""
    key = headers.get("x-goog-api-key", "") or found.query.get("key", "")
    token = credential_of({"authorization": headers.get("authorization", "")}, {})
    asks_for_list = found.operation in ("listPublisherModels", "getPublisherModel")
    if found.parent or (asks_for_list and token):
        if not token:
            raise _no_credentials(key=bool(key))
        _check_token(token, found)
        if found.project in BAD_PROJECTS:
            raise BAD_PROJECTS[found.project][1](resource_of(found))
        return
    if not key:
        raise _no_credentials(key=False) if not token else bad("The resource name has no project and no location.")
    if key in ("invalid", "expired"):
        raise key_invalid(service=SERVICE)
    _check_bad(key, found)


def _check_token(token: str, found: Route) -> None:
    if token in ("invalid", "expired"):
        raise token_expired(SERVICE)
    if token == NO_ROLE:
        raise permission_denied(resource_of(found))
    _check_bad(token, found)


def _check_bad(credential: str, found: Route) -> None:
    if credential in ("limited", "exhausted"):
        raise resource_exhausted()
    if credential in BAD_KEYS:
        raise BAD_KEYS[credential][1](found.model)


def check_model(found: Route) -> None:
    """The newest generations are at the wide locations only; other vendors' models are not served this way."""
    model = found.model
    known = _NAME.fullmatch(model) is not None and _ABSENT.search(model) is None
    narrow = bool(found.parent) and found.location not in _WIDE
    if not known or (narrow and _WIDE_ONLY.match(model)):
        raise model_missing(resource_of(found))


def read_request(value: Any, found: Route) -> Json:
    """The body as this version of the API reads it."""
    request = _checked(value, "GenerateContentRequest", found)
    if request.get("modelArmorConfig") and request.get("safetySettings"):
        raise bad("Only one of model_armor_config and safety_settings may be set.")
    return request


def _checked(value: Any, message: str, found: Route) -> Json:
    catalog = VERTEX if found.version == "v1" else VERTEX_BETA
    return check(value, message, catalog, PACKAGES[found.version])


def count(value: Any, found: Route) -> Json:
    """``countTokens``, which takes the parts of a request beside each other."""
    check_model(found)
    request = _checked(value, "CountTokensRequest", found)
    if not request.get("contents"):
        raise bad("Unable to submit request because at least one contents field is required.")
    tokens = prompt_tokens(request)
    texts = [part.get("text", "") for content in request["contents"] for part in content.get("parts") or ()]
    details = [{"modality": kind, "tokenCount": number} for kind, number in sorted(tokens.items())]
    characters = sum(len("".join(text.split())) for text in texts)
    return {"totalTokens": tokens.total(), "totalBillableCharacters": characters, "promptTokensDetails": details}


# -- the list ----------------------------------------------------------------------------------------------------------


def list_models(query: dict[str, str]) -> Json:
    """One page of the publisher's models."""
    models, following = page_of(MODELS, query)
    page: Json = {"publisherModels": [_publisher_model(model) for model in models]}
    return {**page, "nextPageToken": following} if following else page


def get_model(found: Route) -> Json:
    """One of them."""
    if found.model not in MODELS:
        raise model_missing(resource_of(found))
    return _publisher_model(found.model)


def _publisher_model(model: str) -> Json:
    name = f"publishers/google/models/{model}"
    return {
        "name": name,
        "versionId": "default",
        "openSourceCategory": "PROPRIETARY",
        "launchStage": "PUBLIC_PREVIEW" if "preview" in model else "GA",
        "publisherModelTemplate": f"projects/{{user-project}}/locations/{{location}}/{name}",
        "versionState": "VERSION_STATE_STABLE",
    }
