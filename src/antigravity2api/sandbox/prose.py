"""The sandbox's own words: a sentence for every question, made of what was asked and sent, the same each time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from antigravity2api.sandbox.contents import calls_of, results_of, turn_start
from antigravity2api.sandbox.google import Json
from antigravity2api.sandbox.question import Question

_GREETING = re.compile(
    r"\W*(hi|hello|hey|hallo|hola|bonjour|ciao|greetings|"
    r"good (morning|afternoon|evening)|\u4f60\u597d|\u60a8\u597d|\u3053\u3093\u306b\u3061\u306f)"
    r"(?!\w)[^.?]{0,24}",
    re.IGNORECASE,
)
_SAY = re.compile(
    r"\W*(?:please\s+)?(?:say|repeat|echo|reply with|respond with|answer with)"
    r"(?:\s+(?:exactly|only|just|after me|the words?|the phrase|the following|the text))*"
    r"\s*[:,]?\s+[\"'\u201c`]?(?P<text>.+?)[\"'\u201d`]?[.!]?\s*",
    re.IGNORECASE | re.DOTALL,
)
_COUNT = re.compile(r"\bcount\b.*?(-?\d{1,6})\D+?(-?\d{1,6})", re.IGNORECASE | re.DOTALL)
_LONG = re.compile(r"\b(\d{1,6})[ -]words?\b", re.IGNORECASE)
_MY_NAME = re.compile(r"\bmy name is ([\w'-]{1,60})", re.IGNORECASE)
_WHO_AM_I = re.compile(r"\b(what('s| is) my name|who am i)\b", re.IGNORECASE)
_FILLER = (
    "the sandbox writes a plain sentence here so that a long answer has something to stream "
    "and nobody has to wait for a model to think of it"
).split()
MOST_WORDS = 20_000


def question_text(contents: Sequence[Json]) -> str:
    """The words that the current turn is about."""
    content = contents[turn_start(list(contents))]
    return "\n".join(part["text"] for part in content.get("parts") or [] if part.get("text")).strip()


def answer_text(request: Json, question: Question) -> str:
    """The answer to a question in words."""
    contents = request["contents"]
    if results_of(contents[-1]):
        return _from_results(contents)
    text = question.text.strip()
    media = _media(contents)
    if _GREETING.fullmatch(text) and not media:
        return "Hello! How can I help you today?"
    if len(text) <= 2_000 and not media and (match := _SAY.fullmatch(text)):
        return match["text"]
    if (match := _COUNT.search(text)) and int(match[1]) <= int(match[2]) < int(match[1]) + MOST_WORDS:
        return ", ".join(str(number) for number in range(int(match[1]), int(match[2]) + 1))
    if match := _LONG.search(text):
        count = min(int(match[1]), MOST_WORDS)
        return " ".join(_FILLER[at % len(_FILLER)] for at in range(count)).capitalize() + "."
    if _WHO_AM_I.search(text) and (name := _told_name(contents)):
        return f"Your name is {name}."
    if question.sum:
        return f"{question.sum[0]} = {question.sum[1]}"
    return " ".join(_sentences(request, text, media))


def thought_text(question: Question) -> str:
    """The summary of a thought."""
    return (
        f"**Reading the question**\n\nThe user asks: \u201c{_cut(question.text, 160)}\u201d. I look for a tool that "
        f"fits, then "
        "for what the words themselves say.\n"
    )


def _sentences(request: Json, text: str, media: list[str]) -> list[str]:
    said = [f"You asked: \u201c{_cut(text, 400)}\u201d." if text else "You sent no words."]
    if media:
        said.append(f"You sent {', '.join(media)}.")
    said.append("I am the sandbox, so this answer repeats your question; a real model would answer it.")
    system = " ".join(part.get("text", "") for part in (request.get("systemInstruction") or {}).get("parts") or [])
    if system.strip():
        said.append(f"My instructions are: \u201c{_cut(system.strip(), 200)}\u201d.")
    earlier = sum(1 for content in request["contents"] if content.get("role") == "model")
    if earlier:
        said.append(f"I have answered {earlier} time{'s' if earlier > 1 else ''} in this conversation.")
    return said


def _told_name(contents: Sequence[Json]) -> str | None:
    for content in reversed(contents):
        for part in content.get("parts") or []:
            if match := _MY_NAME.search(part.get("text", "")):
                return match[1]
    return None


def _media(contents: Sequence[Json]) -> list[str]:
    """What was sent beside words in the current turn: kind, type and size of each."""
    found = []
    for part in contents[turn_start(list(contents))].get("parts") or []:
        if "inlineData" in part:
            blob = part["inlineData"]
            found.append(_described(blob["mimeType"], size=_size(blob["data"])))
        elif "fileData" in part:
            found.append(
                _described(part["fileData"].get("mimeType") or "unknown type", where=part["fileData"]["fileUri"])
            )
    return found


def _described(mime_type: str, *, size: int | None = None, where: str = "") -> str:
    kind = mime_type.partition("/")[0]
    article = "an" if kind in ("image", "audio") else "a"
    noun = {"image": "image", "audio": "audio file", "video": "video"}.get(kind, "file")
    return f"{article} {noun} ({mime_type}, {where if size is None else f'{size} bytes'})"


def _size(data: str) -> int:
    return len(data.rstrip("=")) * 3 // 4


def _from_results(contents: Sequence[Json]) -> str:
    told = []
    asked = calls_of(contents[-2])
    for call, result in zip(asked, results_of(contents[-1]), strict=True):
        args = call["functionCall"].get("args") or {}
        about = ", ".join(_plain(value) for value in args.values())
        name = result["functionResponse"]["name"] + (f" ({_cut(about, 80)})" if about else "")
        response = result["functionResponse"]["response"]
        if "error" in response:
            told.append(f"{name} failed: {_cut(_plain(response['error']), 300)}")
        else:
            told.append(f"{name} says: {_cut(_plain(response.get('output', response)), 400)}")
        for item in result["functionResponse"].get("parts") or []:
            blob = item.get("inlineData") or {"mimeType": "file", "data": ""}
            told[-1] += f" with {_described(blob['mimeType'], size=_size(blob.get('data', '')))}"
    return " ".join(line if line.endswith((".", "!", "?")) else f"{line}." for line in told)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "\u2026"
