"""Faults that are an HTTP status with a body: Google refuses or fails, or something stands in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from antigravity2api.sandbox import vertex
from antigravity2api.sandbox.exchange import Exchange
from antigravity2api.sandbox.fault import Fault, Run, once
from antigravity2api.sandbox.google import (
    GoogleError,
    Json,
    bad,
    bad_fields,
    detail,
    error_info,
    key_invalid,
    model_not_found,
    nested,
    no_key,
    quota,
    service_disabled,
    token_expired,
)
from antigravity2api.sandbox.signing import is_escape

_CODE_ASSIST = "cloudcode-pa.googleapis.com"
_HTML = "text/html; charset=UTF-8"


def _error(make: Callable[[Exchange], GoogleError]) -> Run:
    async def run(ex: Exchange) -> None:
        await ex.send_error(make(ex))

    return run


def _raw(status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> Run:
    async def run(ex: Exchange) -> None:
        await ex.send(status, body, content_type, headers)

    return run


def _unless(refused: Callable[[Exchange], bool], make: Callable[[Exchange], GoogleError]) -> Run:
    """An error as long as the request has what is refused; the ordinary answer otherwise."""

    async def run(ex: Exchange) -> None:
        if refused(ex):
            await ex.send_error(make(ex))
        else:
            await ex.plain()

    return run


def _config(ex: Exchange, name: str) -> object:
    return (ex.request.get("generationConfig") or {}).get(name)


def _has_real_signature(ex: Exchange) -> bool:
    return any(
        "thoughtSignature" in part and not is_escape(part["thoughtSignature"])
        for content in ex.request.get("contents") or []
        for part in content.get("parts") or []
    )


async def _leaky(ex: Exchange) -> None:
    """A body that quotes the credential it was called with, as debug pages do."""
    secret = ex.headers.get("x-goog-api-key") or ex.headers.get("authorization", "")
    text = (
        'Traceback (most recent call last):\n  File "/srv/backend/handler.py", line 217, in serve\n'
        f"RuntimeError: upstream call failed, request headers: x-goog-api-key: {secret} Authorization: {secret}"
    )
    await ex.send_error(GoogleError(500, text, details=[detail("DebugInfo", detail=f"key={secret}")]))


async def _array(ex: Exchange) -> None:
    await ex.send(400, bad("Request contains an invalid argument.").body(array=True))


def _redirect(ex: Exchange) -> tuple[str, str]:
    return "location", f"http://{ex.headers.get('host', 'localhost')}/elsewhere"


async def _moved(ex: Exchange) -> None:
    await ex.send(302, b"<HTML><BODY>Moved</BODY></HTML>\n", _HTML, [_redirect(ex)])


async def _no_content(ex: Exchange) -> None:
    await ex.conn.write(b"HTTP/1.1 204 No Content\r\nserver: antigravity2api-sandbox\r\n\r\n")


def _limited(reason: str, message: str, delay: str, seconds: str) -> Callable[[Exchange], GoogleError]:
    def make(ex: Exchange) -> GoogleError:
        info = error_info(reason, _CODE_ASSIST, model=ex.model, quotaResetDelay=delay, uiMessage="true")
        return GoogleError(429, message, details=[info, detail("RetryInfo", retryDelay=seconds)])

    return make


def _overloaded(_: Exchange) -> GoogleError:
    return GoogleError(503, "The model is overloaded. Please try again later.")


def _internal(_: Exchange) -> GoogleError:
    return GoogleError(
        500,
        "An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting",
    )


def _too_long(_: Exchange) -> GoogleError:
    return bad("The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).")


def _disabled(ex: Exchange) -> GoogleError:
    return vertex.api_disabled() if ex.resource else service_disabled()


def _gone(ex: Exchange) -> GoogleError:
    return vertex.model_missing(ex.resource) if ex.resource else model_not_found(ex.model, "v1beta")


def _validation(_: Exchange) -> GoogleError:
    link = "https://accounts.google.com/example"
    return GoogleError(
        403,
        "Verify your account to continue.",
        details=[
            error_info("VALIDATION_REQUIRED", _CODE_ASSIST, validation_link=link),
            detail("Help", links=[{"description": "Verify your account", "url": link}]),
        ],
    )


def _terms(_: Exchange) -> GoogleError:
    return GoogleError(
        403,
        "This service has been disabled in this account for violation of Terms of Service. Please submit an appeal to "
        "continue using this product.",
        details=[
            error_info(
                "TOS_VIOLATION",
                _CODE_ASSIST,
                appeal_url_link_text="Submit Appeal",
                appeal_url="https://example.com/appeal",
            )
        ],
    )


def _capacity(ex: Exchange) -> GoogleError:
    return GoogleError(
        503,
        f"No capacity available for model {ex.model} on the server",
        details=[error_info("MODEL_CAPACITY_EXHAUSTED", _CODE_ASSIST, model=ex.model)],
    )


def _unknown_field(_: Exchange) -> GoogleError:
    path = "generation_config.thinking_config"
    return bad_fields(
        [(path, f"Invalid JSON payload received. Unknown name \"thinkingLevel\" at '{path}': Cannot find field.")]
    )


def _top_k(ex: Exchange) -> GoogleError:
    return bad(
        f"Unable to submit request because it has a topK value of {_config(ex, 'topK')} but the supported range is "
        f"from 1 "
        "(inclusive) to 41 (exclusive). Update the value and try again."
    )


def _has_large_top_k(ex: Exchange) -> bool:
    value = _config(ex, "topK")
    return isinstance(value, int) and value > 40


def _thinking(_: Exchange) -> GoogleError:
    return bad("Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.")


def _functions(ex: Exchange) -> Iterator[tuple[str, Json]]:
    """Every declared function with its place, as Google writes it."""
    for at, tool in enumerate(ex.request.get("tools") or []):
        for index, function in enumerate(tool.get("functionDeclarations") or []):
            yield f"tools[{at}].function_declarations[{index}]", function


def _schema_of(function: Json) -> Json:
    schema = function.get("parametersJsonSchema") or function.get("parameters")
    return schema if isinstance(schema, dict) else {}


def _holds_list(function: Json) -> bool:
    nodes = (_schema_of(function).get("properties") or {}).values()
    return any(isinstance(node, dict) and str(node.get("type")).lower() == "array" for node in nodes)


def _tool_refused(wrong: Callable[[Json], bool], words: str) -> Run:
    """A refusal of the first function that is wrong, with its place in ``words``; the others are not looked at."""

    def place(ex: Exchange) -> str | None:
        return next((path for path, function in _functions(ex) if wrong(function)), None)

    return _unless(lambda ex: place(ex) is not None, lambda ex: bad(words.format(place(ex))))


def _has_results(ex: Exchange) -> bool:
    return any(
        "functionResponse" in part
        for content in ex.request.get("contents") or []
        for part in content.get("parts") or []
    )


def _is_mixed(ex: Exchange) -> bool:
    tools = ex.request.get("tools") or []
    functions = sum("functionDeclarations" in tool for tool in tools)
    return 0 < functions < len(tools)


def _nested_deep(_: Exchange) -> GoogleError:
    inner = json.dumps(
        {"error": {"code": 400, "message": nested("Input is too long.").message, "status": "INVALID_ARGUMENT"}}
    )
    return bad(inner)


_PLAIN_429 = Fault(
    "429-plain",
    "429 RESOURCE_EXHAUSTED without details.",
    _error(lambda _: GoogleError(429, "Resource has been exhausted (e.g. check quota).")),
)
_UNAUTHORIZED = Fault("401", "401 UNAUTHENTICATED: the token has expired.", _error(lambda _: token_expired()))
_SIGNATURE = Fault(
    "400-signature",
    "400 Corrupted thought signature, whatever was sent.",
    _error(lambda _: bad("Corrupted thought signature.")),
)
_INTERNAL = Fault("500", "500 INTERNAL.", _error(_internal))
_OVERLOADED = Fault("503", "503 UNAVAILABLE: the model is overloaded.", _error(_overloaded))
_LATE = Fault(
    "504",
    "504 DEADLINE_EXCEEDED.",
    _error(lambda _: GoogleError(504, "Deadline expired before operation could complete.")),
)
_DISABLED = Fault("403-disabled", "403 SERVICE_DISABLED: the API is off in the key's project.", _error(_disabled))
_BAD_KEY = Fault(
    "400-bad-upstream-key", "400 API_KEY_INVALID: the gateway's key is bad.", _error(lambda _: key_invalid())
)
STATUS_FAULTS: tuple[Fault, ...] = (
    *(_PLAIN_429, once(_PLAIN_429, "429-once")),
    Fault("429-retryinfo", "429 for the minute's quota, RetryInfo 7 s.", _error(lambda ex: quota(ex.model, "7s"))),
    Fault(
        "429-per-day",
        "429 for the day's quota, though RetryInfo says 17 s.",
        _error(lambda ex: quota(ex.model, "17s", per="Day", limit="250")),
    ),
    Fault(
        "429-limit-zero",
        "429 with limit: 0: this key can never use the model.",
        _error(lambda ex: quota(ex.model, "5s", per="Day", limit="0")),
    ),
    Fault(
        "429-retry-after",
        "429 with only a Retry-After header (3 s).",
        _error(lambda _: GoogleError(429, "Rate limited.", headers=[("retry-after", "3")])),
    ),
    Fault(
        "429-html",
        "429 with an HTML body.",
        _raw(429, b"<html><title>429</title>Too many requests</html>\n", _HTML),
    ),
    Fault(
        "429-vertex",
        "429 as Vertex AI words it: no details, no delay.",
        _error(lambda _: vertex.resource_exhausted()),
    ),
    Fault(
        "429-rate-limited",
        "429 of Cloud Code: RATE_LIMIT_EXCEEDED, 479 ms.",
        _error(
            _limited(
                "RATE_LIMIT_EXCEEDED",
                "You have exhausted your capacity on this model. Your quota will reset after 0s.",
                "479.417207ms",
                "0.479417207s",
            )
        ),
    ),
    Fault(
        "429-quota-exhausted",
        "429 of Cloud Code: QUOTA_EXHAUSTED for 1h43m56s.",
        _error(
            _limited(
                "QUOTA_EXHAUSTED",
                "You have exhausted your capacity on this model. Your quota will reset after 1h43m56s.",
                "1h43m56s",
                "6236s",
            )
        ),
    ),
    *(_INTERNAL, once(_INTERNAL)),
    Fault("500-leaky", "500 whose text quotes the gateway's key and a stack trace.", _leaky),
    Fault("500-html", "500 with an HTML body.", _raw(500, b"<!DOCTYPE html><title>Error 500</title>\n", _HTML)),
    Fault("502-html", "502 of a front end, in HTML.", _raw(502, b"<!DOCTYPE html><title>Error 502</title>\n", _HTML)),
    *(_OVERLOADED, once(_OVERLOADED)),
    Fault(
        "503-retry-after",
        "503 with Retry-After 2 s.",
        _error(lambda _: GoogleError(503, "The service is currently unavailable.", headers=[("retry-after", "2")])),
    ),
    Fault("503-capacity", "503 of Cloud Code: MODEL_CAPACITY_EXHAUSTED.", _error(_capacity)),
    *(_LATE, once(_LATE)),
    Fault("499", "499 CANCELLED.", _error(lambda _: GoogleError(499, "The operation was cancelled."))),
    Fault("400-argument", "400 INVALID_ARGUMENT.", _error(lambda _: bad("Request contains an invalid argument."))),
    Fault("400-array", "400 wrapped in a list of one.", _array),
    Fault("400-unknown-field", "400 with BadRequest details for a field it does not know.", _error(_unknown_field)),
    *(_SIGNATURE, once(_SIGNATURE)),
    Fault(
        "400-signature-foreign",
        "400 Corrupted thought signature while the history holds any but the escape value.",
        _unless(_has_real_signature, lambda _: bad("Corrupted thought signature.")),
    ),
    Fault("400-token-limit", "400: the prompt is longer than the model's window.", _error(_too_long)),
    Fault(
        "400-location",
        "400 FAILED_PRECONDITION: the country is not served.",
        _error(
            lambda _: GoogleError(400, "User location is not supported for the API use.", status="FAILED_PRECONDITION")
        ),
    ),
    Fault("400-topk", "400 while topK is above 40.", _unless(_has_large_top_k, _top_k)),
    Fault(
        "400-thinking",
        "400 while there is a thinkingConfig.",
        _unless(lambda ex: _config(ex, "thinkingConfig") is not None, _thinking),
    ),
    Fault(
        "400-max-tokens",
        "400 while maxOutputTokens is above 4096.",
        _unless(
            lambda ex: isinstance(value := _config(ex, "maxOutputTokens"), int) and value > 4096,
            lambda ex: bad(
                f"Unable to submit request because it has a maxOutputTokens value of "
                f"{_config(ex, 'maxOutputTokens')} "
                "but the supported range is from 1 (inclusive) to 4097 (exclusive). Update the value and try again."
            ),
        ),
    ),
    Fault(
        "400-tool-keyword",
        "400 for the first tool, by its number, whose schema holds `additionalProperties` at the top.",
        _tool_refused(
            lambda function: "additionalProperties" in _schema_of(function),
            "Invalid JSON payload received. Unknown name \"additionalProperties\" at '{}.parameters': Cannot "
            "find field.",
        ),
    ),
    Fault(
        "400-tool-array",
        "400 for the first tool, by its number, that takes a list.",
        _tool_refused(_holds_list, "* GenerateContentRequest.{}.parameters.properties[0].items: invalid field.\n"),
    ),
    Fault(
        "400-tool-refused",
        "400 for the first tool, by its number, whose name holds `refused`, whatever its schema.",
        _tool_refused(
            lambda function: "refused" in str(function.get("name")),
            "* GenerateContentRequest.{}.parameters: schema is invalid.\n",
        ),
    ),
    Fault(
        "400-tool-results",
        "400 about the number of function responses while the history holds any.",
        _unless(
            _has_results,
            lambda _: bad(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            ),
        ),
    ),
    Fault(
        "400-mixed-tools",
        "400 while a tool of Google's own stands beside functions.",
        _unless(
            _is_mixed,
            lambda _: bad(
                "Built-in tools ({google_search}) and Function Calling cannot be combined in the same request. Please "
                "choose one."
            ),
        ),
    ),
    Fault(
        "400-nested",
        "400 with another vendor's error as a JSON text inside the message, twice over.",
        _error(_nested_deep),
    ),
    *(_BAD_KEY, once(_BAD_KEY)),
    *(_UNAUTHORIZED, once(_UNAUTHORIZED)),
    Fault("403-no-key", "403: no key arrived.", _error(lambda _: no_key())),
    *(_DISABLED, once(_DISABLED)),
    Fault(
        "403-leaked",
        "403: the key was reported as leaked.",
        _error(lambda _: GoogleError(403, "Your API key was reported as leaked. Please use another API key.")),
    ),
    Fault(
        "403-iam",
        "403 IAM_PERMISSION_DENIED of Vertex AI: the account lacks the role.",
        _error(lambda ex: vertex.permission_denied(ex.resource or "projects/sandbox-project-1")),
    ),
    Fault("403-validation", "403 VALIDATION_REQUIRED with a link.", _error(_validation)),
    Fault("403-tos", "403: the account is closed for breaking the terms.", _error(_terms)),
    Fault("404-model", "404: the model is gone.", _error(_gone)),
    Fault(
        "413",
        "413 of a front end, in HTML.",
        _raw(413, b"<!DOCTYPE html><title>Error 413 (Request Entity Too Large)</title>\n", _HTML),
    ),
    Fault("redirect", "302 to another path; it shows among the requests if anyone follows.", _moved),
    Fault(
        "200-error-json",
        "200 with an error body.",
        _raw(200, GoogleError(500, "Internal error encountered.").body(), "application/json"),
    ),
    Fault(
        "200-html",
        "200 with an HTML page.",
        _raw(200, b"<!DOCTYPE html><title>Sign in</title><p>Please sign in.\n", _HTML),
    ),
    Fault("200-empty", "200 with nothing in it.", _raw(200, b"", "text/event-stream")),
    Fault(
        "200-not-json",
        "200 with a body that is no JSON, called JSON.",
        _raw(200, b"upstream connect error\n", "application/json"),
    ),
    Fault("204", "204 No Content.", _no_content),
)
"""All faults of this kind, in the order of the documentation."""
