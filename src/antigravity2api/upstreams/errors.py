"""What an upstream's error means: any body, in any of the shapes seen on the wire, as a ``Fault``. Pure.

Google answers ``{"error": {code, message, status, details}}`` (google.rpc.Status), but also one-element arrays, error
JSON as a string inside ``message`` (Code Assist, Claude behind it), web pages from front ends, and nothing at all.
Status and reason decide; text decides only where Google gives nothing else. The upstream's own sentence stays, masked.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.upstreams.masking import mask
from antigravity2api.upstreams.params import guess_param

_MAX_LEVELS = 10
_MAX_DELAY = 31 * 86400.0
_MAX_PAGE = 16 << 10

_STATUS_OF_WORD = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""google.rpc.Code names, and Anthropic's error types, as HTTP statuses."""

_CREDENTIAL_REASONS = frozenset(
    {
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "ACCOUNT_STATE_INVALID",
        "BILLING_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "CREDENTIALS_MISSING",
        "SERVICE_DISABLED",
        "USER_PROJECT_DENIED",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
    }
)
_QUOTA_REASONS = frozenset({"RATE_LIMIT_EXCEEDED", "QUOTA_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE"})
CAPACITY_REASONS = frozenset({"MODEL_CAPACITY_EXHAUSTED", "MODEL_CAPACITY_EXCEEDED"})
"""A model has no room left, whichever account asks."""
_SPENT_REASONS = frozenset({"QUOTA_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE", "LIMIT_ZERO"})

_BAD_KEY = re.compile(
    r"api[ _-]?key (?:not valid|not found|expired|is invalid|invalid)|invalid api[ _-]?key", re.IGNORECASE
)
_ACCOUNT = re.compile(
    r"location|region|country|territor|billing|free tier|payment|account|api key|credential|enable", re.IGNORECASE
)
_OUTPUT = re.compile(
    r"output[ _-]?tokens?|max[ _]?tokens|maxOutputTokens|thinking[ _]?budget|thinkingBudget", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"(?:tokens?\b|prompt|context|input)[^.\n]{0,120}?"
    r"(?:exceed|too (?:long|large|many|big)|(?:longer|larger|greater|more) than|over the|beyond|maximum|limit)"
    r"|(?:exceed|too (?:many|long)|(?:larger|more) than|maximum)[^.\n]{0,80}?(?:tokens|context (?:length|window|size))",
    re.IGNORECASE,
)
_ABOUT_LENGTH = re.compile(r"token|context (?:length|window|size)|prompt is too|input is too|prompt too", re.IGNORECASE)
_PAYLOAD = re.compile(
    r"(?:payload|request|body|content)[^.\n]{0,40}(?:size|bytes|too large)[^.\n]{0,60}", re.IGNORECASE
)
_FILE_OR_CACHE = re.compile(r"\bcached ?contents?\b|\bfiles?[ /]", re.IGNORECASE)
_ADDRESS_BLOCKED = re.compile(r"automated (?:queries|requests)|unusual traffic", re.IGNORECASE)
_TERMS_BROKEN = re.compile(r"violat|breach|suspen|terminat|banned", re.IGNORECASE)
_PROJECT_REASONS = frozenset({"CONSUMER_INVALID", "IAM_PERMISSION_DENIED", "USER_PROJECT_DENIED"})
_LIMIT_ZERO = re.compile(r"limit:\s*0(?![\d.])")

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_STEP = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ns|us|µs|ms|s|m|h|d)", re.IGNORECASE)
_WAIT = re.compile(
    r"(?:retry|again|reset|available|wait)\b[^.\d\n]{0,24}?\b(?:in|after|for)\s+(?:about\s+)?"
    r"((?:\d{1,12}(?:\.\d{1,12})?\s*(?:ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)\b\s*|"
    r"\d{1,12}(?:\.\d{1,12})?(?:ms|[smhd]))+)",
    re.IGNORECASE,
)
_LONG_UNIT = re.compile(r"(milli)?(s|m|h|d)(?:ec(?:ond)?s?|in(?:ute)?s?|ours?|ays?)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]{0,200}>([^<]{1,300})<", re.IGNORECASE)
_SCRIPTS = re.compile(r"<(script|style)\b[^>]*+>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<[^<>]*+>?")


@dataclass(slots=True)
class UpstreamError:
    """An error answer, understood but not yet judged."""

    status: int
    word: str = ""
    """google.rpc's code name or Anthropic's error type."""
    message: str = ""
    """The upstream's own sentence, unmasked."""
    reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    delay: float | None = None
    """Seconds that the upstream wants us to wait."""
    reset: float | None = None
    """Seconds until a quota is whole again; what RetryInfo says beside it may be shorter, and in vain."""
    reset_at: float | None = None
    """The same as a moment (seconds since 1970), where the answer does not say what time it is there."""
    structured: bool = True
    """Whether it was JSON; a web page or a bare text may be anybody's on the way."""
    quota_ids: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    """Request fields it finds fault with, in its own spelling."""
    links: list[str] = field(default_factory=list)


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Iterable[str] = (),
    hosts: Iterable[str] = (),
) -> Fault:
    """The ``Fault`` of a non-200 answer by Google's general rules."""
    return to_fault(read_error(status, headers, body), secrets=secrets, hosts=hosts)


def fault_from_event(event: Any, *, secrets: Iterable[str] = (), hosts: Iterable[str] = ()) -> Fault:
    """The ``Fault`` of an error object that came inside a 200: its own code counts."""
    return to_fault(read_error(200, {}, event), secrets=secrets, hosts=hosts)


def plain_response(event: Any) -> dict[str, Any] | None:
    """The response in an event that is not wrapped, where it has an empty ``error`` or a list around it; None for an
    error. Raises ``Fault`` for what is no object."""
    if isinstance(event, list) and len(event) == 1:  # errors of a request without alt=sse
        event = event[0]
    if not isinstance(event, dict):
        raise Fault(Kind.BAD_ANSWER, "The upstream sent an event that is no JSON object.", retry=Retry.SAME)
    if event.get("error") is not None:
        return None
    return {key: value for key, value in event.items() if key != "error"}


def spent(fault: Fault) -> bool:
    """Whether a RATE_LIMITED fault means a quota that is gone for hours, not a moment's rate."""
    reason = fault.reason or ""
    return fault.kind is Kind.RATE_LIMITED and (reason in _SPENT_REASONS or "PerDay" in reason or "Daily" in reason)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_error(status: int, headers: Mapping[str, str], body: Any) -> UpstreamError:
    """Whatever can be learned from an error answer; never raises. ``body`` is bytes or an already decoded value."""
    error = UpstreamError(status)
    node = _decoded(body, error) if isinstance(body, bytes) else body
    error.structured = isinstance(node, dict | list)
    code = _unwrap(node, error)
    if not 300 <= status <= 599:
        error.status = code or _STATUS_OF_WORD.get(error.word, 500 if status == 200 else status)
    if not error.message:
        error.message = _no_words(error.status)
    error.reset = parse_duration(error.metadata.get("quotaResetDelay"))
    if error.reset is None and (stamp := error.metadata.get("quotaResetTimeStamp")):
        error.reset = _until(stamp, headers)
        error.reset_at = _moment(stamp) if error.reset is None else None
    if error.delay is None:
        error.delay = error.reset if error.reset is not None else _delay_beside(error, headers)
    return error


def parse_duration(text: object) -> float | None:
    """Seconds of ``34.07s``, ``900ms``, ``1h43m56s`` or a bare number; None when it is none of these."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return _bounded(float(text))
    if isinstance(text, Mapping):  # google.protobuf.Duration, spelled out
        seconds, nanos = parse_duration(text.get("seconds", 0)), text.get("nanos")
        return None if seconds is None else _bounded(seconds + (nanos / 1e9 if isinstance(nanos, int) else 0.0))
    if not isinstance(text, str):
        return None
    text = text.strip()[:64]
    if re.fullmatch(r"\d{1,12}(?:\.\d{1,12})?", text):
        return _bounded(float(text))
    total, at = 0.0, 0
    for step in _DURATION_STEP.finditer(text):
        if text[at : step.start()].strip():
            return None
        total += float(step[1]) * _UNITS[step[2].lower()]
        at = step.end()
    return _bounded(total) if at and not text[at:].strip() else None


def _bounded(seconds: float) -> float | None:
    return min(seconds, _MAX_DELAY) if seconds >= 0 else None


def _decoded(body: bytes, error: UpstreamError) -> Any:
    """The body's JSON, or its words when it is none."""
    text = body.strip()
    if not text:
        return None
    if text[:1] in b'{["':
        try:
            return loads_upstream(text)
        except ValueError:
            # The end is missing or garbled: what can be read of it is still better than nothing.
            found = re.search(rb'"message"\s*:\s*("(?:[^"\\]++|\\.)*+")', text[:_MAX_PAGE])
            if found:
                return {"message": loads_upstream(found[1])}
    page = text[:_MAX_PAGE].decode("utf-8", "replace")
    if text[:1] == b"<":
        return f"The upstream answered {error.status} with a web page: {_page_words(page)}".rstrip(" :")
    return page[:600]


def _page_words(page: str) -> str:
    """The title of a web page, else the beginning of its text; the text where the title hides what matters."""
    title = None if _ADDRESS_BLOCKED.search(page) else _TITLE.search(page)
    words = title[2] if title else _TAGS.sub(" ", _SCRIPTS.sub(" ", page))
    return " ".join(html.unescape(words).split())[:300]


def _unwrap(node: Any, error: UpstreamError) -> int | None:
    """Walk to the innermost sentence, noting what stands beside it on the way. Returns the outermost numeric code."""
    code: int | None = None
    for _ in range(_MAX_LEVELS * 3):  # a level is an array, an object and a string at most
        if isinstance(node, list):
            node = next((item for item in node if item), None)
        elif isinstance(node, str):
            inner = _json_inside(node)
            if inner is None:
                error.message = node.strip()
                break
            error.message = node.strip()
            node = inner
        elif isinstance(node, dict):
            noted = _note(node, error)
            code = code or noted
            following = _following(node, error)
            if following is None:
                break
            node = following
        else:
            break
    return code


def _json_inside(text: str) -> Any:
    """The error object that a sentence consists of or ends with, if any."""
    start = text.find("{")
    if start < 0 or start > 300 or not text.rstrip().endswith(("}", "]")):
        return None
    if text.lstrip().startswith("["):
        start = text.find("[")
    try:
        inner = loads_upstream(text[start:].encode("utf-8", "replace"))
    except ValueError:
        return None
    head = next(iter(inner), None) if isinstance(inner, list) else inner
    return inner if isinstance(head, dict) and ("error" in head or "message" in head) else None


def _following(node: dict[str, Any], error: UpstreamError) -> Any:
    """Where the sentence of this object is found."""
    inner = node.get("error")
    if isinstance(inner, dict | list):
        return inner
    described = node.get("error_description")
    if isinstance(inner, str) and isinstance(described, str):  # OAuth's form
        error.reason = error.reason or inner
        return described
    for key in ("message", "error", "detail", "error_message", "msg", "title"):
        value = node.get(key)
        if isinstance(value, str | dict | list) and value:
            return value
    if node and not error.message:
        error.message = orjson.dumps(node, default=str).decode()[:600]
    return None


def _note(node: dict[str, Any], error: UpstreamError) -> int | None:
    """Keep the code, the word and the details of one level."""
    for key in ("status", "type"):
        word = node.get(key)
        if isinstance(word, str) and word in _STATUS_OF_WORD:
            error.word = word if not error.word or error.word not in _STATUS_OF_WORD else error.word
    details = node.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            _note_detail(detail, error)
    code = node.get("code")
    if isinstance(code, str) and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 100 <= code <= 599 else None


def _note_detail(detail: dict[str, Any], error: UpstreamError) -> None:
    match str(detail.get("@type", "")).rpartition(".")[2]:
        case "RetryInfo":
            delay = parse_duration(detail.get("retryDelay"))
            error.delay = delay if delay is not None else error.delay
        case "ErrorInfo":
            reason = detail.get("reason")
            if isinstance(reason, str) and reason:
                error.reason = error.reason or reason[:100]
            metadata = detail.get("metadata")
            if isinstance(metadata, dict):
                error.metadata |= {str(key): str(value)[:2000] for key, value in metadata.items()}
                limit = metadata.get("quota_limit")
                if isinstance(limit, str):
                    error.quota_ids.append(limit)
        case "QuotaFailure":
            for violation in _dicts(detail.get("violations")):
                quota = violation.get("quotaId") or violation.get("subject")
                if isinstance(quota, str):
                    error.quota_ids.append(quota[:200])
        case "BadRequest":
            for violation in _dicts(detail.get("fieldViolations")):
                if isinstance(violation.get("field"), str):
                    error.fields.append(violation["field"][:300])
        case "Help":
            error.links += [link["url"] for link in _dicts(detail.get("links")) if isinstance(link.get("url"), str)]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _delay_beside(error: UpstreamError, headers: Mapping[str, str]) -> float | None:
    """A wait that is named elsewhere than in the details."""
    header = headers.get("retry-after", "").strip()
    delay = parse_duration(header) if header[:1].isdigit() else _until(header, headers)
    if delay is None:
        found = _WAIT.search(error.message)
        delay = parse_duration(_LONG_UNIT.sub(r"\1\2", found[1]).replace("millis", "ms")) if found else None
    if delay is None and error.status == 429 and any("PerMinute" in quota for quota in error.quota_ids):
        delay = 60.0
    return delay


def _until(moment: str | None, headers: Mapping[str, str]) -> float | None:
    """Seconds from the answer's own Date to a moment, so that no clock of ours is trusted."""
    if not moment or "date" not in headers:
        return None
    try:
        now = parsedate_to_datetime(headers["date"])
        try:
            then = parsedate_to_datetime(moment)
        except ValueError:
            then = datetime.fromisoformat(moment)
        if now.tzinfo is None or then.tzinfo is None:
            now, then = now.replace(tzinfo=UTC), then.replace(tzinfo=UTC)
        return _bounded(max(0.0, (then - now).total_seconds()))
    except (ValueError, OverflowError):
        return None


def _moment(stamp: str) -> float | None:
    try:
        then = datetime.fromisoformat(stamp)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def closed_by_terms(error: UpstreamError) -> bool:
    """Whether an account was closed for a breach of the terms. That they still have to be accepted is another thing."""
    if error.reason == "TOS_VIOLATION" or error.metadata.get("appeal_url"):
        return True
    return "terms of service" in error.message.lower() and bool(_TERMS_BROKEN.search(error.message))


def misplaced(error: UpstreamError) -> bool:
    """Whether a 403 is about the project that was named: not the account's, or not there."""
    if error.reason is None:
        return error.structured and "permission" in error.message.lower()
    return error.reason in _PROJECT_REASONS


def _no_words(status: int) -> str:
    if 300 <= status < 400:
        return "The upstream answered with a redirect, which is not followed."
    return f"The upstream answered with status {status} and no explanation."


# -- judging -----------------------------------------------------------------------------------------------------------


def to_fault(error: UpstreamError, *, secrets: Iterable[str] = (), hosts: Iterable[str] = ()) -> Fault:
    """Kind, retry advice and the masked sentence of an error, by status and reason."""
    fault = _judge(error)
    fault.message = mask(error.message.replace("default_api:", ""), secrets, hosts=hosts) or _no_words(error.status)
    fault.args = (fault.message,)
    fault.upstream_status = error.status
    fault.reason = fault.reason or error.reason
    if fault.kind is Kind.CREDENTIAL:
        fault.link = next(filter(is_link, (error.metadata.get("activationUrl", ""), *error.links)), None)
    return fault


def is_link(text: str) -> bool:
    """Whether this is an https address that can be shown as it is."""
    return (
        text.startswith("https://") and text.isascii() and text.isprintable() and " " not in text and len(text) <= 1000
    )


def _judge(error: UpstreamError) -> Fault:
    status = error.status
    if error.reason in CAPACITY_REASONS:
        return _fault(Kind.OVERLOADED, error, Retry.SAME)
    if status == 429 or (status == 403 and error.reason in _QUOTA_REASONS):
        return _quota(error)
    if _is_credentials_fault(error):
        return Fault(Kind.CREDENTIAL, "", retry=Retry.OTHER_CREDENTIAL)
    if error.word == "FAILED_PRECONDITION" and _ACCOUNT.search(error.message):  # a region, or billing
        return Fault(Kind.CREDENTIAL, "", code="upstream_unavailable", retry=Retry.OTHER_CREDENTIAL, reason=error.word)
    match status:
        case 400 | 422:
            return _bad_request(error)
        case 404 if _FILE_OR_CACHE.search(error.message) and "model" not in error.message.lower():
            return Fault(Kind.INVALID_REQUEST, "", param="messages")
        case 404 | 410:
            return Fault(Kind.MODEL_NOT_FOUND, "", param="model", retry=Retry.OTHER_UPSTREAM)
        case 413:
            return Fault(Kind.TOO_LARGE, "")
        case 408 | 504:
            return _fault(Kind.UPSTREAM_TIMEOUT, error, Retry.SAME)
        case 503 | 529:
            return _fault(Kind.OVERLOADED, error, Retry.SAME)
        case 501:
            return Fault(Kind.UPSTREAM_ERROR, "", retry=Retry.OTHER_UPSTREAM)
        case _ if status >= 500 or status in (409, 425, 499):
            return _fault(Kind.UPSTREAM_ERROR, error, Retry.SAME)
    if status < 300:
        return Fault(Kind.BAD_ANSWER, "", retry=Retry.SAME)
    # A redirect, or an answer that no request of ours should get: a wrong address or something in between.
    return Fault(Kind.BAD_ANSWER, "", retry=Retry.OTHER_UPSTREAM)


def _fault(kind: Kind, error: UpstreamError, retry: Retry) -> Fault:
    return Fault(kind, "", retry=retry, retry_after=error.delay)


def _quota(error: UpstreamError) -> Fault:
    fault = _fault(Kind.RATE_LIMITED, error, Retry.OTHER_CREDENTIAL)
    if not error.word and _ADDRESS_BLOCKED.search(error.message):  # our address is meant, whoever asks from it
        fault.retry, fault.reason = Retry.OTHER_UPSTREAM, "ADDRESS_BLOCKED"
        return fault
    if error.reset is not None:
        fault.retry_after = max(error.reset, error.delay or 0.0)
    fault.resets_in, fault.resets_at = error.reset, error.reset_at
    if error.reason is None or error.reason == "RATE_LIMIT_EXCEEDED":
        # The quota's own id says whether waiting a moment helps; Google's delay does not.
        fault.reason = next((quota for quota in error.quota_ids if "PerDay" in quota or "Daily" in quota), error.reason)
    if fault.reason is None:
        fault.reason = "LIMIT_ZERO" if _LIMIT_ZERO.search(error.message) else next(iter(error.quota_ids), None)
    return fault


def _is_credentials_fault(error: UpstreamError) -> bool:
    reason = error.reason or ""
    if error.status in (401, 402, 403):
        return True
    if error.status not in (400, 404, 412):
        return False
    if reason.startswith("API_KEY_") or reason in _CREDENTIAL_REASONS:
        return True
    if error.word in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return True
    return error.status == 400 and bool(_BAD_KEY.search(error.message))


def _bad_request(error: UpstreamError) -> Fault:
    text = error.message
    if _ABOUT_LENGTH.search(text) and _TOO_LONG.search(text) and not _OUTPUT.search(text):
        return Fault(Kind.CONTEXT_LENGTH, "", param="messages", code="context_length_exceeded")
    if _PAYLOAD.search(text) and re.search(r"exceed|too large|limit", text, re.IGNORECASE):
        return Fault(Kind.TOO_LARGE, "")
    return Fault(Kind.INVALID_REQUEST, "", param=guess_param(error.fields, text))
