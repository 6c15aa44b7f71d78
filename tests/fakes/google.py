"""``answer``: a scripted Gemini that a whole suite can talk to. What the last user text says decides what it does."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import orjson
from PIL import Image

from fakes.upstream import (
    Answer,
    Close,
    Recorded,
    as_asked,
    error,
    error_object,
    frame,
    parts_event,
    plain,
    retry_info,
    sse,
    sse_bytes,
    text_events,
    usage_of,
)

GREETING = ("Hello! ", "How can I ", "help you?")
THOUGHTS = ("First I look. ", "Then I think.")
SIGNATURE = base64.b64encode(b"signature of a call").decode()
CITIES = ("Beijing", "Paris")


def picture(form: str = "PNG", size: int = 4) -> bytes:
    """A small picture in one of Pillow's formats."""
    made = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 30)).save(made, form)
    return made.getvalue()


PNG = picture()


def parts_of(record: Recorded) -> list[dict[str, Any]]:
    """Every part of the last user content."""
    parts: list[dict[str, Any]] = record.json["contents"][-1]["parts"]
    return parts


def last_text(record: Recorded) -> str:
    """All text of the last user content."""
    return " ".join(part["text"] for part in parts_of(record) if "text" in part)


def _call(city: str, **extra: Any) -> dict[str, Any]:
    return {"functionCall": {"name": "get_weather", "args": {"location": city}}, **extra}


def _results(record: Recorded) -> Answer | None:
    found = [part["functionResponse"] for part in parts_of(record) if "functionResponse" in part]
    if not found:
        return None
    said = "; ".join(f"{one['name']}={orjson.dumps(one['response']).decode()}" for one in found)
    return as_asked(text_events("The tools said ", said))(record)


def _weather(record: Recorded) -> Answer:
    return as_asked([parts_event(_call("Beijing", thoughtSignature=SIGNATURE), finish="STOP", usage=(10, 5))])(record)


def _parallel(record: Recorded) -> Answer:
    first = parts_event(_call(CITIES[0], thoughtSignature=SIGNATURE))
    return as_asked([first, parts_event(_call(CITIES[1]), finish="STOP", usage=(10, 9))])(record)


def _thinking(record: Recorded) -> Answer:
    thoughts = [parts_event({"text": text, "thought": True}) for text in THOUGHTS]
    answer = parts_event({"text": "42"}, finish="STOP")
    answer["usageMetadata"] = usage_of(10, 1, thoughts=7)
    return as_asked([*thoughts, answer])(record)


def _draw(record: Recorded) -> Answer:
    data = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}
    return as_asked([parts_event({"text": "Here it is."}), parts_event(data, finish="STOP", usage=(10, 1290))])(record)


def _see(record: Recorded) -> Answer:
    types = [part["inlineData"]["mimeType"] for part in parts_of(record) if "inlineData" in part]
    return as_asked(text_events("I see ", ", ".join(types)))(record)


def _book(record: Recorded) -> Answer:
    return as_asked(text_events('{"title":"Faust",', '"year":1808}'))(record)


def _breaks(record: Recorded) -> Answer:
    frames = [frame(event) for event in text_events("so ", "far", finish=None)]
    return sse_bytes([*frames, frame({"error": error_object(503, "The model broke off.")})])


def _dies(record: Recorded) -> Answer:
    return sse(text_events("so ", "far", finish=None), after=(Close(),))


def _blocked(record: Recorded) -> Answer:
    event = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    }
    return sse([event]) if record.streams else plain(event)


def _fails(status: int, message: str, **extra: Any) -> Callable[[Recorded], Answer]:
    return lambda record: error(status, message, **extra)


WORDS: dict[str, Callable[[Recorded], Answer]] = {
    "weather": _weather,
    "two cities": _parallel,
    "think": _thinking,
    "draw": _draw,
    "what is in this": _see,
    "as json": _book,
    "break off": _breaks,
    "die": _dies,
    "forbidden": _blocked,
    "cut short": as_asked(text_events("So it", finish="MAX_TOKENS")),
    "argument": _fails(400, "Request contains an invalid argument."),
    "too often": _fails(429, "You exceeded your current quota.", details=[retry_info("7s")]),
    "internal": _fails(500, "An internal error has occurred."),
    "overloaded": _fails(503, "The model is overloaded. Please try again later."),
}


def answer(record: Recorded) -> Answer:
    """The default script of ``ScriptedUpstream`` for suites that talk to a whole Gemini."""
    if record.method == "GET":
        return plain({"models": [{"name": "models/gemini-2.5-flash"}]})
    if "no-such-model" in record.target:
        return error(404, "models/no-such-model is not found for API version v1beta.")
    if (results := _results(record)) is not None:
        return results
    said = last_text(record).lower()
    for word, script in WORDS.items():
        if word in said:
            return script(record)
    return as_asked(text_events(*GREETING))(record)
