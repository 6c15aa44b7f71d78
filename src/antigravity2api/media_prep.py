"""GIFs of a request become PNG before it is read: off the event loop, within a budget over the whole request.

Reading a request is pure and quick and must stay so; decoding a picture is neither. What is no place for a picture
(texts, arguments of calls) is left alone, and a body without any GIF comes back untouched.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from antigravity2api.errors import Fault
from antigravity2api.gemini.gif import GifBudget
from antigravity2api.gemini.jsontext import dumps, loads_client
from antigravity2api.gemini.media import decode_base64, gif_source
from antigravity2api.gemini.parts import MarkdownImage, markdown_pieces

_MARK = b"R0lGOD"
"""How ``GIF8`` starts in base64."""
_TEXT_MARK = _MARK.decode("ascii")
_HOLDERS = frozenset({"image_url", "image", "source", "file"})
_FIELDS = frozenset({"image_url", "image", "url", "data", "file_data", "file_url"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture may stand: an object, its key, and the dotted path for a fault."""

    holder: dict[str, Any]
    key: str
    path: str


def has_gif(body: bytes | bytearray) -> bool:
    """Whether a body may hold a GIF and is worth a closer look; one search at memory speed."""
    return body.find(_MARK) >= 0  # quicker than `in`, which tries the number protocol first


async def convert_gifs(body: bytes | bytearray) -> bytes | bytearray:
    """The body with each GIF of its messages as PNG. Raises ``Fault`` invalid_image_format naming the field."""
    if not has_gif(body):
        return body
    document = loads_client(body)
    pictures = _Pictures()
    for place in _pictures(document):
        await pictures.convert(place)
    for place in _answers(document):
        await pictures.convert_markdown(place)
    return dumps(document) if pictures.changed else body


class _Pictures:
    """The GIFs of one request: each is converted once, however often it stands there."""

    __slots__ = ("_budget", "_made", "changed")

    def __init__(self) -> None:
        self._budget = GifBudget()
        self._made: dict[str, str] = {}
        self.changed = False

    async def convert(self, place: _Place) -> None:
        source = place.holder[place.key]
        data = gif_source(source)
        if data is None:
            return
        png = await self._png(data, place.path)
        place.holder[place.key] = png if data is source else f"data:image/png;base64,{png}"
        self.changed = True

    async def convert_markdown(self, place: _Place) -> None:
        """Pictures of earlier answers. One that is broken or too much loses its data and is text again."""
        text: str = place.holder[place.key]
        for piece in markdown_pieces(text):
            if isinstance(piece, MarkdownImage) and piece.data and gif_source(piece.data) is not None:
                try:
                    png = await self._png(piece.data, place.path)
                except Fault:
                    png = ""
                text = text.replace(piece.data, png)
        if text is not place.holder[place.key]:
            place.holder[place.key] = text
            self.changed = True

    async def _png(self, data: str, path: str) -> str:
        self._budget.count(path)
        if data not in self._made:
            self._made[data] = await asyncio.to_thread(self._convert, data, path)
        return self._made[data]

    def _convert(self, data: str, path: str) -> str:
        png = self._budget.to_png(decode_base64(data, path), path)
        return binascii.b2a_base64(png, newline=False).decode("ascii")


def _messages(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    messages = document.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            yield message, f"messages[{index}]"


def _parts(message: dict[str, Any], path: str, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    parts = message.get(name)
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            yield part, f"{path}.{name}[{index}]"


def _pictures(document: dict[str, Any]) -> Iterator[_Place]:
    """Every string in a place for a picture or a file."""
    for message, path in _messages(document):
        for name in ("content", "images"):
            for part, where in _parts(message, path, name):
                yield from _strings(part, where)
                for key in _HOLDERS:
                    inner = part.get(key)
                    if isinstance(inner, dict) and inner.get("type") != "text":
                        yield from _strings(inner, f"{where}.{key}")


def _strings(holder: dict[str, Any], path: str) -> Iterator[_Place]:
    for key in _FIELDS & holder.keys():
        if isinstance(holder[key], str):
            yield _Place(holder, key, f"{path}.{key}")


def _answers(document: dict[str, Any]) -> Iterator[_Place]:
    """Every text of an assistant that shows a GIF: its images are found again in its Markdown."""
    for message, path in _messages(document):
        if message.get("role") != "assistant":
            continue
        holders = [(message, path, "content")]
        holders += [(part, where, "text") for part, where in _parts(message, path, "content")]
        for holder, where, key in holders:
            text = holder.get(key)
            if isinstance(text, str) and _TEXT_MARK in text:
                yield _Place(holder, key, f"{where}.{key}")
