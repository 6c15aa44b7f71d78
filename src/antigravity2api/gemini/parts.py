"""Parts made and read, and images found again in the Markdown in which they went out. Pure.

Markdown is searched by bounded patterns and remembered positions: one pass over megabytes of base64, no backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antigravity2api.gemini.types import Content, Part

_DATA_FIELDS = (
    "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
    "toolCall", "toolResponse",
)  # fmt: skip
_SHELF = re.compile(
    r"(?:https?://[^\s/()<>\"]{1,255}(?:/[^\s()<>\"?#]{0,512})?)?(/images/[A-Za-z0-9_-]{8,128}\.[a-z0-9]{2,5})"
).fullmatch
_DATA_HEAD = re.compile(r"data:(image/[a-z0-9.+-]{1,40})((?:;[a-z0-9=._-]{1,60}){0,4});base64,", re.IGNORECASE).match
_OPENING = re.compile(r"!\[([^\[\]!\n]{0,300})\]\((?=data:|https?:|/)").search
_LONGEST_URL = 2048
_MOST_TRIED = 4096
"""Images looked at in one text; what comes after them stays text."""


def text_part(text: str) -> Part:
    """Plain text."""
    return {"text": text}


def inline_part(mime_type: str, data: str) -> Part:
    """Bytes as standard base64."""
    return {"inlineData": {"mimeType": mime_type, "data": data}}


def call_part(name: str, args: dict[str, Any], *, call_id: str | None = None, signature: str | None = None) -> Part:
    """A function call of the model's."""
    part: Part = {"functionCall": {"name": name, "args": args}}
    if call_id is not None:
        part["functionCall"]["id"] = call_id
    if signature is not None:
        part["thoughtSignature"] = signature
    return part


def response_part(name: str, response: dict[str, Any], *, call_id: str | None = None) -> Part:
    """The result of a function call."""
    part: Part = {"functionResponse": {"name": name, "response": response}}
    if call_id is not None:
        part["functionResponse"]["id"] = call_id
    return part


def data_kind(part: Mapping[str, Any]) -> str | None:
    """The name of the part's data field; None for a part without one that is known."""
    for name in _DATA_FIELDS:
        if name in part:
            return name
    return None


def parts_of(content: Mapping[str, Any] | Content) -> list[Part]:
    """The parts of a content that may lack them."""
    parts = content.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []  # type: ignore[misc]


def current_turn(contents: list[Content]) -> int:
    """Where the current turn starts: behind the last user content with anything but results of functions.

    A content that mixes results and text starts no turn for the API.
    """
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        parts = parts_of(content)
        if content.get("role") != "model" and parts and not any("functionResponse" in part for part in parts):
            return index + 1
    return 0


# -- images in Markdown ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MarkdownImage:
    """An image in a text: on the shelf (``path``), or a data URL (``mime_type`` and unchecked ``data``)."""

    alt: str
    path: str | None = None
    mime_type: str | None = None
    data: str | None = None


def image_markdown(url: str) -> str:
    """How an image stands in an answer."""
    return f"![image]({url})"


def shelf_path(url: str) -> str | None:
    """The shelf's path in an address of a stored image, whatever host it was reached by; None for any other address."""
    found = _SHELF(url) if len(url) <= _LONGEST_URL else None
    return found[1] if found else None


def markdown_pieces(text: str) -> list[str | MarkdownImage]:
    """A text cut at the images that can be ours; everything else, also images of others, stays text.

    The blank lines that an image brings with it are not text.
    """
    pieces: list[str | MarkdownImage] = []
    start = at = closing = 0
    for _ in range(_MOST_TRIED):
        found = _OPENING(text, at)
        if found is None:
            break
        at = found.end()
        if closing < at:
            closing = text.find(")", at)
            if closing < 0:
                break  # no image can end any more
        image = _image(text, found[1], at, closing)
        if image is None:
            continue
        before = text[start : found.start()]
        if start:
            before = before.removeprefix("\n").removeprefix("\n")
        before = before.removesuffix("\n").removesuffix("\n")
        if before:
            pieces.append(before)
        pieces.append(image)
        start = at = closing + 1
    rest = text[start:]
    if start:
        rest = rest.removeprefix("\n").removeprefix("\n")
    if rest:
        pieces.append(rest)
    return pieces


def _image(text: str, alt: str, begin: int, closing: int) -> MarkdownImage | None:
    """The image whose address stands from ``begin`` to the bracket at ``closing``, if it can be ours."""
    head = _DATA_HEAD(text, begin, min(closing, begin + 400))
    if head is not None:
        # Base64 holds no "!": another image in between means that this one never ends.
        if text.find("![", begin, closing) >= 0:
            return None
        return MarkdownImage(alt, None, head[1].lower(), text[head.end() : closing])
    if closing - begin > _LONGEST_URL:
        return None
    path = shelf_path(text[begin:closing])
    return None if path is None else MarkdownImage(alt, path)
