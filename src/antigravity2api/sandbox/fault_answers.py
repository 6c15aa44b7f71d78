"""Faults inside well-framed answers: finish reasons, blocked prompts, empty or impossible values."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from antigravity2api.sandbox import png
from antigravity2api.sandbox.answers import seed_of
from antigravity2api.sandbox.exchange import Exchange
from antigravity2api.sandbox.fault import Fault, Run, once
from antigravity2api.sandbox.google import GoogleError, Json

Change = Callable[[Exchange, list[Json]], list[Json]]
_FILTERED = {
    "safety": "SAFETY",
    "recitation": "RECITATION",
    "blocklist": "BLOCKLIST",
    "prohibited": "PROHIBITED_CONTENT",
    "spii": "SPII",
    "language": "LANGUAGE",
    "image-safety": "IMAGE_SAFETY",
    "no-image": "NO_IMAGE",
    "other": "OTHER",
    "unspecified": "FINISH_REASON_UNSPECIFIED",
    "too-many-calls": "TOO_MANY_TOOL_CALLS",
    "missing-signature": "MISSING_THOUGHT_SIGNATURE",
    "limited": "PUP_LIMITED_DISABLED",
}
_MALFORMED = "Malformed function call: print(default_api.get_weather(location=Beijing)"
_UNDECLARED = "Unexpected tool call: no tool named run_shell was declared."


def _changed(change: Change) -> Run:
    async def run(ex: Exchange) -> None:
        await ex.play(change(ex, ex.chunks()))

    return run


def _event(chunks: list[Json], parts: Any = None, finish: Any = None, **candidate: Any) -> Json:
    """An event like the given answer's last one, with other parts and another end."""
    shown: Json = {}
    if parts is not None:
        shown["content"] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    if finish is not None:
        shown["finishReason"] = finish
    shown["index"] = 0
    shown.update(candidate)
    return {"candidates": [shown], **_rest(chunks)}


def _rest(chunks: list[Json]) -> Json:
    return {key: value for key, value in chunks[-1].items() if key != "candidates"}


def _prompt_only(chunks: list[Json]) -> Json:
    """The rest of an event, with the usage of an answer that has no words."""
    rest = _rest(chunks)
    usage = rest["usageMetadata"]
    figures = {"promptTokenCount": usage["promptTokenCount"], "totalTokenCount": usage["promptTokenCount"]}
    return {**rest, "usageMetadata": {**figures, "promptTokensDetails": usage["promptTokensDetails"]}}


def _finish_alone(reason: str, **candidate: Any) -> Change:
    """A candidate without content that ends for ``reason``."""
    return lambda _, chunks: [
        {"candidates": [{"finishReason": reason, "index": 0, **candidate}], **_prompt_only(chunks)}
    ]


def _finish_after(finish: Any) -> Change:
    """The ordinary answer with another finish reason."""

    def change(_: Exchange, chunks: list[Json]) -> list[Json]:
        last = {**chunks[-1], "candidates": [{**chunks[-1]["candidates"][0], "finishReason": finish}]}
        return [*chunks[:-1], last]

    return change


def _safety_midway(_: Exchange, chunks: list[Json]) -> list[Json]:
    ratings = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
    begun = _event(chunks, [{"text": "Sure, here"}])
    return [begun, {"candidates": [{"finishReason": "SAFETY", "index": 0, "safetyRatings": ratings}], **_rest(chunks)}]


def _call_then_malformed(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [
        _event(chunks, [{"text": "Let me look."}]),
        _event(chunks, finish="MALFORMED_FUNCTION_CALL", content={}, finishMessage=_MALFORMED),
    ]


def _continuation(_: Exchange, chunks: list[Json]) -> list[Json]:
    token = base64.b64encode(b"sandbox continuation").decode()
    return [_event(chunks, [{"text": "Chapter 1 ..."}], "CONTINUATION", continuationToken=token)]


def _blocked(reason: str) -> Change:
    return lambda _, chunks: [{"promptFeedback": {"blockReason": reason}, **_prompt_only(chunks)}]


def _wrong_types(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [{"candidates": "none", "usageMetadata": [], "modelVersion": 4, "responseId": None}]


def _wrong_parts(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [_event(chunks, content={"parts": {"text": 5}, "role": "model"}, finish="STOP")]


def _text_parts(*parts: Json) -> Change:
    return lambda _, chunks: [_event(chunks, list(parts), "STOP")]


def _in_events(*parts: Json) -> Change:
    def change(_: Exchange, chunks: list[Json]) -> list[Json]:
        return [*(_event(chunks, [part]) for part in parts[:-1]), _event(chunks, [parts[-1]], "STOP")]

    return change


def _no_usage(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [{key: value for key, value in chunk.items() if key != "usageMetadata"} for chunk in chunks]


def _usage_after(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [*_no_usage(_, chunks), _rest(chunks)]


def _no_role(_: Exchange, chunks: list[Json]) -> list[Json]:
    bare = []
    for chunk in chunks:
        shown = {**chunk["candidates"][0]}
        shown.pop("index", None)
        shown["content"] = {key: value for key, value in shown.get("content", {}).items() if key != "role"}
        bare.append({**chunk, "candidates": [shown]})
    return bare


def _empty_events(_: Exchange, chunks: list[Json]) -> list[Json]:
    return [{}, {"candidates": []}, *chunks, _rest(chunks)]


def _image(mime_type: str, data: bytes | str) -> Change:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return _text_parts({"text": "Here it is."}, {"inlineData": {"mimeType": mime_type, "data": text}})


def _good_png() -> bytes:
    return png.draw(16, 16, b"\0\0\0", cat=True)


async def _error_midway(ex: Exchange) -> None:
    """An error object among the events; for a request that does not stream, the status."""
    error = GoogleError(503, "The model is overloaded. Please try again later.")
    if not ex.stream:
        await ex.send_error(error)
        return
    pieces = ex.pieces(ex.chunks()[:2])
    await ex.start()
    for piece in pieces[: 2 if ex.sse else None]:
        await ex.piece(piece)
    await ex.piece(ex.frame(error.json()) if ex.sse else error.body(array=True))
    await ex.end()


async def _error_midway_raw(ex: Exchange) -> None:
    """The same, indented over several lines and without ``data:``."""
    error = GoogleError(500, "An internal error has occurred.")
    if not ex.stream:
        await ex.send_error(error)
        return
    await ex.start()
    for piece in ex.pieces(ex.chunks()[:2])[:2]:
        await ex.piece(piece)
    await ex.piece(error.body())
    await ex.end()


async def _error_first(ex: Exchange) -> None:
    error = GoogleError(503, "The model is overloaded. Please try again later.")
    if not ex.streams_sse:
        await ex.send_error(error)
        return
    await ex.start()
    await ex.piece(ex.frame(error.json()))
    await ex.end()


async def _bad_json(ex: Exchange) -> None:
    """An event in the middle that is cut off inside its JSON, though the framing is whole."""
    if not ex.streams_sse:
        body = b"".join(ex.pieces([ex.chunks()[0]]))
        await ex.send(200, body[: len(body) // 2])
        return
    frames = ex.pieces(ex.chunks())
    await ex.start()
    for number, frame in enumerate(frames):
        await ex.piece(frame if number != 1 else frame[: len(frame) // 2].rstrip(b"\r\n") + b"\r\n\r\n")
    if len(frames) == 1:
        await ex.piece(b'data: {"candidates": [{"content"\r\n\r\n')
    await ex.end()


def _raw_event(parts: bytes) -> Run:
    """A single answer whose parts are these bytes, for what a JSON writer would not write."""

    async def run(ex: Exchange) -> None:
        inner = (
            b'{"candidates": [{"content": {"parts": ['
            + parts
            + b'],"role": "model"},"finishReason": "STOP","index": 0}],'
            b'"usageMetadata": {"promptTokenCount": 4,"candidatesTokenCount": 4,"totalTokenCount": 8},"modelVersion": "'
            + ex.model.encode()
            + b'"}'
        )
        body = b'{"response": ' + inner + b"}" if ex.wrapped else inner
        if not ex.stream:
            await ex.send(200, body)
            return
        await ex.start()
        await ex.piece(b"data: " + body + b"\r\n\r\n" if ex.sse else b"[" + body + b"]")
        await ex.end()

    return run


def _evil_name(ex: Exchange, chunks: list[Json]) -> list[Json]:
    call = {
        "name": "default_api:get\nweather\u2028\x1b[31m",
        "args": {"__proto__": {"polluted": True}, "location": "Beijing"},
    }
    return [_event(chunks, [{"functionCall": call}], "STOP")]


def _thoughts_only(ex: Exchange, chunks: list[Json]) -> list[Json]:
    return [_event(chunks, [{"text": "Thinking, and nothing else.", "thought": True}], "STOP")]


def _many_calls(ex: Exchange, chunks: list[Json]) -> list[Json]:
    seed = seed_of(ex.model, ex.request).hex()
    calls = [
        {"functionCall": {"id": f"{seed[:6]}{number}", "name": f"tool_{number}", "args": {}}} for number in range(100)
    ]
    return [*(_event(chunks, [call]) for call in calls), _event(chunks, [{"text": ""}], "STOP")]


_SCRIPT = b"<html><script>alert(document.domain)</script></html>"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>'
_BAD_CALL = Fault(
    "finish-malformed-call",
    "finishReason MALFORMED_FUNCTION_CALL, no content.",
    _changed(_finish_alone("MALFORMED_FUNCTION_CALL", content={}, finishMessage=_MALFORMED)),
)
_UNEXPECTED = Fault(
    "finish-unexpected-tool-call",
    "finishReason UNEXPECTED_TOOL_CALL, no content.",
    _changed(_finish_alone("UNEXPECTED_TOOL_CALL", content={}, finishMessage=_UNDECLARED)),
)
_EMPTY = Fault(
    "empty-stop",
    "STOP with no parts at all.",
    _changed(
        lambda _, chunks: [
            {
                "candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}],
                **_prompt_only(chunks),
            }
        ]
    ),
)
_FIRST = Fault("error-first-event", "200, and the first event is an error.", _error_first)
_LOST = Fault(
    "finish-malformed-response", "finishReason MALFORMED_RESPONSE.", _changed(_finish_alone("MALFORMED_RESPONSE"))
)
ANSWER_FAULTS: tuple[Fault, ...] = (
    *(_FIRST, once(_FIRST)),
    Fault("error-event", "Some text, then an event with an error.", _error_midway),
    Fault("error-event-raw", "Some text, then an error in indented JSON without data:.", _error_midway_raw),
    Fault("bad-json-event", "An event whose JSON is cut off.", _bad_json),
    *(
        Fault(f"finish-{name}", f"finishReason {reason} without content.", _changed(_finish_alone(reason)))
        for name, reason in _FILTERED.items()
    ),
    Fault("finish-safety-midway", "Some text, then finishReason SAFETY.", _changed(_safety_midway)),
    *(_BAD_CALL, once(_BAD_CALL), _UNEXPECTED, once(_UNEXPECTED), _LOST, once(_LOST)),
    Fault("finish-malformed-midway", "Some text, then MALFORMED_FUNCTION_CALL.", _changed(_call_then_malformed)),
    Fault("finish-max-tokens", "The answer ends with MAX_TOKENS.", _changed(_finish_after("MAX_TOKENS"))),
    Fault(
        "finish-max-tokens-empty",
        "MAX_TOKENS before the first word: thinking took it all.",
        _changed(
            lambda _, chunks: [
                {
                    "candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}],
                    **_prompt_only(chunks),
                }
            ]
        ),
    ),
    Fault(
        "finish-unknown",
        "The answer ends with a reason nobody knows.",
        _changed(_finish_after("A_REASON_OF_TOMORROW")),
    ),
    Fault("finish-number", "The answer ends with the number 1 for STOP.", _changed(_finish_after(1))),
    Fault("finish-continuation", "The answer stops at CONTINUATION with a token.", _changed(_continuation)),
    Fault("prompt-blocked", "No candidates; promptFeedback.blockReason SAFETY.", _changed(_blocked("SAFETY"))),
    Fault(
        "prompt-blocked-unknown",
        "No candidates; a blockReason nobody knows.",
        _changed(_blocked("A_REASON_OF_TOMORROW")),
    ),
    *(_EMPTY, once(_EMPTY)),
    Fault(
        "thoughts-then-text",
        "Two thought events, then the text.",
        _changed(
            _in_events(
                {"text": "**Planning**\n", "thought": True},
                {"text": "Working it out.\n", "thought": True},
                {"text": "391"},
            )
        ),
    ),
    Fault("thoughts-only", "A thought, STOP, and no text.", _changed(_thoughts_only)),
    Fault("usage-missing", "The ordinary answer without usageMetadata.", _changed(_no_usage)),
    Fault("usage-after", "usageMetadata alone in an event after the end.", _changed(_usage_after)),
    Fault("role-missing", "Candidates without role and index.", _changed(_no_role)),
    Fault("empty-events", "Events that hold nothing, before and after the answer.", _changed(_empty_events)),
    Fault(
        "part-unknown",
        "A part of a kind nobody knows between two texts.",
        _changed(_text_parts({"text": "Before. "}, {"hologram": {"id": 1}}, {"text": "After."})),
    ),
    Fault(
        "nan-json",
        "NaN and Infinity in the JSON.",
        _raw_event(b'{"functionCall": {"name": "get_weather","args": {"location": "Beijing","t": NaN,"u": Infinity}}}'),
    ),
    Fault("wrong-types", "candidates is a text, usageMetadata a list.", _changed(_wrong_types)),
    Fault("wrong-parts", "parts is an object and text a number.", _changed(_wrong_parts)),
    Fault("lone-surrogate", "Half a surrogate pair in the text.", _raw_event(b'{"text": "before \\ud83d after"}')),
    Fault(
        "tool-no-args",
        "A functionCall without args.",
        _changed(_text_parts({"functionCall": {"name": "get_weather"}})),
    ),
    Fault(
        "tool-args-null",
        "A functionCall with args null.",
        _changed(_text_parts({"functionCall": {"name": "get_weather", "args": None}})),
    ),
    Fault(
        "tool-args-text",
        "A functionCall whose args are a text.",
        _changed(_text_parts({"functionCall": {"name": "get_weather", "args": '{"location": "Beijing"}'}})),
    ),
    Fault(
        "tool-same-id",
        "Two calls with one id.",
        _changed(
            _in_events(
                {"functionCall": {"id": "same", "name": "get_weather", "args": {"location": "Paris"}}},
                {"functionCall": {"id": "same", "name": "get_weather", "args": {"location": "London"}}},
            )
        ),
    ),
    Fault("tool-many", "A hundred calls, each in its own event.", _changed(_many_calls)),
    Fault("tool-evil-name", "A call with control bytes in its name and __proto__ in its args.", _changed(_evil_name)),
    Fault("evil-image", "An HTML page that is called image/png.", _changed(_image("image/png", _SCRIPT))),
    Fault("evil-image-svg", "An SVG with a script.", _changed(_image("image/svg+xml", _SVG))),
    Fault(
        "evil-image-mime",
        "A good PNG under a MIME type made to break out of a path or a header.",
        _changed(_image('image/../../x"\r\nx-evil: 1<script>', _good_png())),
    ),
    Fault(
        "evil-image-base64",
        "An image whose data is no base64.",
        _changed(_image("image/png", "!!! not base64 !!!")),
    ),
    Fault("evil-image-empty", "An image without a byte.", _changed(_image("image/png", b""))),
    Fault(
        "evil-text",
        "Text that looks like the stream's own framing, with every kind of line end.",
        _changed(
            _in_events(
                {"text": "one\r\n\r\ndata: [DONE]\r\n\r\n"},
                {"text": 'two\u2028three\x85\n\ndata: {"error": {}}\n\n'},
                {"text": "four \x00\x1b[31m \U0001f600"},
            )
        ),
    ),
)
"""All faults of this kind, in the order of the documentation."""
