"""The one exception tree. A fault knows its kind and whether another attempt can help; it knows no HTTP and no JSON.

    Fault
    ├── the client's      INVALID_REQUEST CONTEXT_LENGTH UNAUTHORIZED MODEL_NOT_ALLOWED NOT_FOUND METHOD_NOT_ALLOWED
    │                     MODEL_NOT_FOUND REQUEST_TIMEOUT TOO_LARGE UNSUPPORTED_MEDIA
    ├── the upstream's    CREDENTIAL RATE_LIMITED UPSTREAM_ERROR OVERLOADED UPSTREAM_TIMEOUT UNREACHABLE BAD_ANSWER
    │                     TRUNCATED MALFORMED_CALL EMPTY
    └── our own           UNAVAILABLE INTERNAL

Each dialect has one table from kind to status and body; only the gateway decides about another attempt.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What went wrong, in words that no dialect owns."""

    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    UNAUTHORIZED = "unauthorized"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"

    CREDENTIAL = "credential"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    OVERLOADED = "overloaded"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"
    TRUNCATED = "truncated"
    MALFORMED_CALL = "malformed_call"
    EMPTY = "empty"

    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Retry(StrEnum):
    """Where another attempt could succeed."""

    NEVER = "never"
    SAME = "same"
    """The same request once more, any credential."""
    OTHER_CREDENTIAL = "other_credential"
    """Another credential of the same upstream; with only one, that one again."""
    OTHER_UPSTREAM = "other_upstream"
    """Another upstream that serves the model."""
    REPAIRED = "repaired"
    """Only after the request was changed (see ``gemini.repair``)."""


class Fault(Exception):
    """Anything that ends an attempt or a request.

    ``param`` is the dotted path of the client's field at fault (``messages[1].content``), ``code`` a finer word than
    the kind in OpenAI's vocabulary (``invalid_type``), ``retry_after`` seconds, ``reason`` the upstream's own
    machine-readable word (``API_KEY_INVALID``), ``upstream_status`` its HTTP status where one arrived, ``link`` a page
    where the credential's owner can mend it (for the operator, never for a client). ``resets_in`` (seconds) or
    ``resets_at`` (seconds since 1970) is when a quota is whole again, where the upstream named that.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry: Retry = Retry.NEVER,
        retry_after: float | None = None,
        reason: str | None = None,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry = retry
        self.retry_after = retry_after
        self.reason = reason
        self.upstream_status = upstream_status
        self.link: str | None = None
        self.resets_in: float | None = None
        self.resets_at: float | None = None

    def __repr__(self) -> str:
        place = f"param={self.param!r}, code={self.code!r}, retry={self.retry.value}"
        return f"Fault({self.kind.value}, {self.message!r}, {place})"


def invalid(message: str, param: str | None, code: str = "invalid_value") -> Fault:
    """The client's request is wrong at ``param``; say what is expected there."""
    return Fault(Kind.INVALID_REQUEST, message, param=param, code=code)
