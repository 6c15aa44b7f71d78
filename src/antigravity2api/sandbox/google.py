"""Google's error bodies: the exception that carries one, and the wordings that more than one place needs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

GEMINI_SERVICE = "generativelanguage.googleapis.com"
_RPC = "type.googleapis.com/google.rpc."
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GoogleError(Exception):
    """An answer of the shape ``{"error": {"code", "message", "status", "details"}}``."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: str | None = None,
        details: Sequence[Json] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _WORDS.get(code, "UNKNOWN")
        self.details = list(details)
        self.headers = list(headers)

    def json(self) -> Json:
        """The body as a value."""
        error: Json = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}

    def body(self, *, array: bool = False) -> bytes:
        """The body as Google prints it: indented, and in a list where the answer would have been one."""
        value = self.json()
        return (json.dumps([value] if array else value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def detail(kind: str, **fields: Any) -> Json:
    """One element of ``details``: ``ErrorInfo``, ``RetryInfo``, ``QuotaFailure`` …"""
    return {"@type": _RPC + kind, **fields}


def error_info(reason: str, domain: str = "googleapis.com", **metadata: str) -> Json:
    """The machine-readable word of an error."""
    return detail("ErrorInfo", reason=reason, domain=domain, metadata=metadata)


def bad(message: str) -> GoogleError:
    """A request that can be read but not served."""
    return GoogleError(400, message)


def bad_fields(violations: Sequence[tuple[str, str]]) -> GoogleError:
    """A body that does not fit the message; every violation is named: ``(field, description)``."""
    listed = [{"field": field, "description": text} if field else {"description": text} for field, text in violations]
    message = "\n".join(text for _, text in violations)
    return GoogleError(400, message, details=[detail("BadRequest", fieldViolations=listed)])


def key_invalid(
    message: str = "API key not valid. Please pass a valid API key.", service: str = GEMINI_SERVICE
) -> GoogleError:
    """A bad key is 400, not 401."""
    return GoogleError(
        400,
        message,
        details=[
            error_info("API_KEY_INVALID", service=service),
            detail("LocalizedMessage", locale="en-US", message=message),
        ],
    )


def no_key() -> GoogleError:
    """No credential at all on the Gemini API."""
    return GoogleError(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form "
        "of API consumer identity to call this API.",
    )


def token_expired(service: str = GEMINI_SERVICE) -> GoogleError:
    """A bearer token that is missing, wrong or too old."""
    return GoogleError(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        details=[error_info("ACCESS_TOKEN_EXPIRED", service=service)],
        headers=[("www-authenticate", 'Bearer realm="https://accounts.google.com/", error="invalid_token"')],
    )


def model_not_found(model: str, version: str, method: str = "generateContent") -> GoogleError:
    """A model that is unknown, retired, or does not offer the method."""
    return GoogleError(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {method}. Call ListModels to "
        f"see "
        "the list of available models and their supported methods.",
    )


def service_disabled(title: str = "Generative Language API", service: str = GEMINI_SERVICE) -> GoogleError:
    """The API is off in the project."""
    link = {"description": "Google developers console API activation", "url": "https://console.developers.google.com/"}
    return GoogleError(
        403,
        f"{title} has not been used in project 123456789 before or it is disabled.",
        details=[
            error_info("SERVICE_DISABLED", service=service, consumer="projects/123456789"),
            detail("Help", links=[link]),
        ],
    )


def page_of(items: Sequence[str], query: Mapping[str, str], most: int = 1000) -> tuple[Sequence[str], str]:
    """One page of a list, and the token of the next one (empty at the end)."""
    size_text = query.get("pageSize", query.get("page_size", "50"))
    size = int(size_text) if size_text.isdigit() else 0
    if not 0 < size <= most:
        raise bad(f"Invalid value at 'page_size' (TYPE_INT32), \"{size_text}\"")
    token = query.get("pageToken", query.get("page_token", ""))
    try:
        start = int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError:
        raise bad("The page token is invalid.") from None
    end = start + size
    return items[start:end], base64.urlsafe_b64encode(b"%d" % end).decode() if end < len(items) else ""


def quota(model: str, delay: str, *, per: str = "Minute", limit: str = "10") -> GoogleError:
    """A quota: ``QuotaFailure`` names it, ``RetryInfo`` says when (not to be believed for a day's quota)."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    violation: Json = {
        "quotaMetric": metric,
        "quotaId": f"GenerateRequestsPer{per}PerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": model},
    }
    if limit != "0":
        violation["quotaValue"] = limit
    return GoogleError(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, "
        "head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n"
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}\nPlease retry in {delay}.",
        details=[
            detail(
                "Help",
                links=[
                    {
                        "description": "Learn more about Gemini API quotas",
                        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
                    }
                ],
            ),
            detail("QuotaFailure", violations=[violation]),
            detail("RetryInfo", retryDelay=delay),
        ],
    )


def nested(message: str) -> GoogleError:
    """Another vendor's error as a JSON string in ``error.message``, as Cloud Code Assist hands it on."""
    inner = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": "req_vrtx_sandbox",
    }
    return bad(json.dumps(inner))
