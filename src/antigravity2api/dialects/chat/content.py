"""Message content → parts: text, pictures, sound, files; and the images of earlier answers found again in Markdown."""

from __future__ import annotations

import re
from typing import Any

import orjson

from antigravity2api.dialects.base import ImageShelf, StoredImage, Toolbox
from antigravity2api.dialects.chat import fields
from antigravity2api.dialects.chat.signing import Signer
from antigravity2api.errors import Fault, invalid
from antigravity2api.gemini import media
from antigravity2api.gemini.gif import GifBudget
from antigravity2api.gemini.jsontext import loads_client
from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.parts import MarkdownImage, markdown_pieces, shelf_path
from antigravity2api.gemini.types import Part

_TEXT = frozenset({"text", "input_text", "output_text"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_USER_TYPES = "'text', 'image_url', 'input_audio', 'file' and 'video_url'"

_MOST_LOOKUPS = 64
_MOST_STORED = 48 << 20
_HIDDEN_GIF_PIXELS = 4_000_000
"""Base64 characters of stored images that one request may bring back."""
_SHALLOW = 60
_LONG_DIGITS = re.compile(r"\d{19}").search
"""Integers that may need more than 64 bits are kept to the digit, which takes the slower reader."""


class _Shelf:
    """Our stored images within a budget: a link costs a client nothing, the bytes behind it cost us."""

    __slots__ = ("_images", "_left", "_lookups", "_seen")

    def __init__(self, images: ImageShelf) -> None:
        self._images = images
        self._seen: dict[str, StoredImage | None] = {}
        self._lookups = _MOST_LOOKUPS
        self._left = _MOST_STORED

    def get(self, path: str) -> StoredImage | None:
        if path not in self._seen:
            if not self._lookups:
                return None
            self._lookups -= 1
            self._seen[path] = self._images.get(path)
        stored = self._seen[path]
        if stored is None or len(stored.data) > self._left:
            return None
        self._left -= len(stored.data)
        return stored


class Reader:
    """Reads the content of one request's messages. Nothing is dropped unseen: what is no known part is refused."""

    __slots__ = ("_applied", "_gifs", "_images", "_linked", "_profile", "_shelf", "_signer", "said")

    def __init__(self, profile: ModelProfile, box: Toolbox, applied: list[str], signer: Signer) -> None:
        self._profile = profile
        self._signer = signer
        self.said = ""
        """The whole text of the assistant's message that was read last."""
        # GIFs are converted before a body is read; this is for those in a spelling that hid them.
        self._gifs = GifBudget(pixels=_HIDDEN_GIF_PIXELS)
        self._images = box.images
        self._shelf: _Shelf | None = None
        self._applied = applied
        self._linked: list[tuple[Part, MarkdownImage]] = []

    def parts(self, content: Any, path: str) -> list[Part]:
        """A user's content."""
        if content is None:
            return []
        if isinstance(content, str):
            return [{"text": content}] if content else []
        if not isinstance(content, list):
            raise fields.wrong_type(path, "a string or an array of parts", content)
        made: list[Part] = []
        for index, item in enumerate(content):
            where = f"{path}[{index}]"
            part = fields.item(item, where)
            kind = part.get("type")
            if kind == "text":
                text = part.get("text")
                if not isinstance(text, str):
                    text = _text_of(part, where)
                if text:
                    made.append({"text": text})
            else:
                found = self._part(part, kind, where)
                if found is not None:
                    made.append(found)
        return made

    def _part(self, part: dict[str, Any], kind: Any, path: str) -> Part | None:
        try:
            return self._read(part, kind, path)
        except Fault as fault:
            raise fields.named(fault) from None

    def _read(self, part: dict[str, Any], kind: Any, path: str) -> Part | None:
        match kind:
            case "input_text" | "output_text":
                text = _text_of(part, path)
                return {"text": text} if text else None
            case "image_url" | "input_image":
                return self._image_url(part, path)
            case "image":
                return self._image(part, path)
            case "input_audio":
                return self._audio(part, path)
            case "file" | "input_file":
                return self._file(part, path)
            case "document":
                return self._document(part, path)
            case "video_url" | "input_video":
                return self._video(part, path)
            case None:
                raise fields.missing(f"{path}.type", f"Supported values are: {_USER_TYPES}.")
            case _:
                fields.text(part, "type", path)
                raise fields.one_of(f"{path}.type", kind, _USER_TYPES)

    def texts(self, content: Any, path: str) -> list[str]:
        """The text of a system message."""
        if content is None:
            return []
        if isinstance(content, str):
            return [content]
        found = []
        for index, item in enumerate(_parts_list(content, path)):
            where = f"{path}[{index}]"
            part = fields.item(item, where)
            kind = fields.text(part, "type", where)
            if kind is None:
                raise fields.missing(f"{where}.type", "System messages take 'text' parts.")
            if kind not in _TEXT:
                raise fields.one_of(f"{where}.type", kind, "'text' (a system message takes nothing else)")
            found.append(_text_of(part, where))
        return found

    def assistant(self, message: dict[str, Any], path: str) -> list[Part]:
        """What an assistant said, with the images of its answer in their places."""
        content = message.get("content")
        made: list[Part] = []
        self.said = ""
        if isinstance(content, str):
            self.said = content
            self._said(content, made)
        elif content is not None:
            self._said_in_parts(_parts_list(content, f"{path}.content"), f"{path}.content", made)
        refusal = fields.text(message, "refusal", path)
        if refusal and not made:
            made.append({"text": refusal})
        if message.get("images") is not None and not any("inlineData" in part for part in made):
            for index, item in enumerate(fields.array(message, "images", path) or ()):
                where = f"{path}.images[{index}]"
                made.append(self._image_url(fields.item(item, where), where))
        if message.get("audio") is not None:
            self._spoken(message, path, made)
        return made

    def _said_in_parts(self, items: list[Any], path: str, made: list[Part]) -> None:
        parts = [(fields.item(item, f"{path}[{index}]"), f"{path}[{index}]") for index, item in enumerate(items)]
        texts = [_text_of(part, where) for part, where in parts if _is_text(part)]
        self.said = "".join(texts)
        whole = len(texts) > 1 and len(texts) == len(parts)
        if whole and ("![" in self.said or self._signer.signs(self.said)):
            self._said(self.said, made)  # one answer, cut into parts by the client
            return
        for part, where in parts:
            self._assistant_part(part, where, made)

    def _assistant_part(self, part: dict[str, Any], path: str, made: list[Part]) -> None:
        kind = part.get("type")
        if kind == "refusal":
            refusal = fields.text(part, "refusal", path)
            if refusal:
                made.append({"text": refusal})
        elif _is_text(part):
            self._said(_text_of(part, path), made, self._signer.of_part(part))
        elif isinstance(kind, str) and kind in _THOUGHTS:
            if not self._signer.keeps(part):
                self._applied.append(f"{path}:thoughts are not sent back")
        else:
            found = self._part(part, kind, path)
            if found is not None:
                made.append(found)

    def _said(self, text: str, made: list[Part], signature: str | None = None) -> None:
        """A text of an answer as the parts that it was; ``signature`` is the client's word about it."""
        for piece, signed in self._signer.pieces(text):
            if signed is not None:
                made.append({"text": piece, "thoughtSignature": signed})
                signature = None
            elif "![" in piece:
                made += [
                    {"text": inner} if isinstance(inner, str) else self._own_image(inner)
                    for inner in markdown_pieces(piece)
                ]
            elif piece:
                made.append({"text": piece})
        if signature is not None and made and "text" in made[-1]:
            made[-1]["thoughtSignature"] = signature

    @property
    def _draws(self) -> bool:
        """Whether the model has to do with signed pictures."""
        return self._profile.image_output or not self._profile.known

    def _own_image(self, image: MarkdownImage) -> Part:
        """An image of an earlier answer as the part it was; one without its bytes yet where they are on our shelf."""
        part: Part
        if image.path is None:
            try:
                part = media.image_from_base64(image.data, "messages", gifs=self._gifs)
            except Fault:
                return {"text": f"![{image.alt}](data:{image.mime_type};base64,{image.data})"}
            if self._draws and (signature := self._signer.of_image(part["inlineData"]["data"])):
                part["thoughtSignature"] = signature
            return part
        part = {"inlineData": {"mimeType": "", "data": ""}}
        self._linked.append((part, image))
        return part

    def fill(self) -> None:
        """Bring the bytes of the images that assistant texts link to, the latest first; else the link is text again."""
        for part, image in reversed(self._linked):
            stored = self._stored(image.path)
            if stored is None:
                part.clear()
                part["text"] = f"![{image.alt}]({image.path})"
                continue
            part["inlineData"] = {"mimeType": stored.mime_type, "data": stored.data}
            if stored.signature and self._draws and (signature := self._signer.of_shelf(stored.signature)):
                part["thoughtSignature"] = signature

    def _spoken(self, message: dict[str, Any], path: str, made: list[Part]) -> None:
        """An earlier spoken answer: its transcript where the client kept one."""
        audio = fields.mapping(message, "audio", path) or {}
        transcript = fields.text(audio, "transcript", f"{path}.audio")
        if made:
            return
        if transcript:
            made.append({"text": transcript})
        else:
            self._applied.append(f"{path}.audio:dropped")

    def result(self, content: Any, path: str) -> tuple[str, list[Part]]:
        """A tool's result: its text and whatever else it holds."""
        if content is None:
            return "", []
        if isinstance(content, str):
            return content, []
        texts: list[str] = []
        media: list[Part] = []
        for part in self.parts(content, path):
            if "text" in part:
                texts.append(part["text"])
            else:
                media.append(part)
        return "\n".join(texts), media

    # -- media -----------------------------------------------------------------------------------------------------

    def _image_url(self, part: dict[str, Any], path: str) -> Part:
        value = part.get("image_url")
        where = f"{path}.image_url"
        detail = fields.text(part, "detail", path)
        if isinstance(value, dict):
            detail = fields.text(value, "detail", where) or detail
            value, where = value.get("url"), f"{where}.url"
        if not value:
            raise fields.missing(where, "Give the image as a data URL: data:image/png;base64,…")
        if not isinstance(value, str):
            raise fields.wrong_type(where, "a string", value)
        return self._picture(value, where, low=detail == "low")

    def _picture(self, url: str, path: str, *, low: bool = False) -> Part:
        """An image by data URL, or by the link that we gave out for one of our own."""
        stored = self._stored(shelf_path(url))
        if stored is not None:
            return {"inlineData": {"mimeType": stored.mime_type, "data": stored.data}}
        return media.image_part(url, path, low_detail=low and self._profile.media_resolution, gifs=self._gifs)

    def _stored(self, path: str | None) -> StoredImage | None:
        if path is None:
            return None
        if self._shelf is None:
            self._shelf = _Shelf(self._images)
        return self._shelf.get(path)

    def _image(self, part: dict[str, Any], path: str) -> Part:
        """Anthropic's image (``source``) and MCP's (``data`` and ``mimeType``)."""
        source = fields.mapping(part, "source", path)
        if source is None:
            if "data" in part:
                return media.image_from_base64(part["data"], f"{path}.data", gifs=self._gifs)
            return self._image_url({"image_url": part.get("image_url", part.get("image"))}, path)
        where = f"{path}.source"
        kind = fields.text(source, "type", where)
        if kind == "url":
            return self._picture(fields.required_text(source, "url", where), f"{where}.url")
        if kind not in (None, "base64"):
            raise fields.one_of(f"{where}.type", kind, "'base64' and 'url'")
        return media.image_from_base64(fields.required_text(source, "data", where), f"{where}.data", gifs=self._gifs)

    def _audio(self, part: dict[str, Any], path: str) -> Part:
        audio = fields.mapping(part, "input_audio", path)
        where = path if audio is None else f"{path}.input_audio"
        audio = part if audio is None else audio
        data = fields.required_text(audio, "data", where)
        return media.audio_part(data, fields.text(audio, "format", where), f"{where}.data")

    def _file(self, part: dict[str, Any], path: str) -> Part:
        nested = fields.mapping(part, "file", path)
        where = path if nested is None else f"{path}.file"
        file = part if nested is None else nested
        name = fields.text(file, "filename", where)
        for key in ("file_data", "file_url"):
            data = fields.text(file, key, where)
            if data is not None:
                return media.file_part(data, name, f"{where}.{key}", gifs=self._gifs)
        if fields.text(file, "file_id", where) is not None:
            raise invalid(
                "This gateway keeps no uploaded files; send the file itself in 'file_data' (a data URL or base64).",
                f"{where}.file_id",
            )
        raise fields.missing(f"{where}.file_data", "Give the file as a data URL or base64.")

    def _document(self, part: dict[str, Any], path: str) -> Part:
        """Anthropic's document: base64 or plain text."""
        source = fields.mapping(part, "source", path)
        where = f"{path}.source"
        if source is None:
            raise fields.missing(where)
        kind = fields.text(source, "type", where)
        if kind == "text":
            return {"text": fields.required_text(source, "data", where)}
        if kind == "url":
            return media.file_part(fields.required_text(source, "url", where), None, f"{where}.url", gifs=self._gifs)
        if kind not in (None, "base64"):
            raise fields.one_of(f"{where}.type", kind, "'base64', 'text' and 'url'")
        data = fields.required_text(source, "data", where)
        title = fields.text(part, "title", path)
        declared = fields.text(source, "media_type", where)
        return media.file_part(data, title, f"{where}.data", mime_type=declared, gifs=self._gifs)

    def _video(self, part: dict[str, Any], path: str) -> Part:
        value = part.get("video_url")
        where = f"{path}.video_url"
        if isinstance(value, dict):
            value, where = value.get("url"), f"{where}.url"
        if value is None:
            raise fields.missing(where, "Give the video as a data URL: data:video/mp4;base64,…")
        return media.video_part(value, where)


def _parts_list(content: Any, path: str) -> list[Any]:
    if isinstance(content, list):
        return content
    raise fields.wrong_type(path, "a string or an array of parts", content)


def _is_text(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and kind in _TEXT


def _text_of(part: dict[str, Any], path: str) -> str:
    text = fields.text(part, "text", path)
    if text is None:
        raise fields.missing(f"{path}.text")
    return text


def inner_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a string holds, within a body's limits; None when it holds something else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        if text.count("{") + text.count("[") < _SHALLOW and _LONG_DIGITS(text) is None:
            found = orjson.loads(text)  # within every limit, so the quick way
        else:
            found = loads_client(text.encode("utf-8", "replace"))
    except (ValueError, Fault):
        return None
    return found if isinstance(found, dict) else None


def inner_value(text: str) -> Any:
    """Any other JSON that a string holds; None when it holds none."""
    try:
        orjson.loads(text)
        return loads_client(b'{"value":%b}' % text.encode("utf-8", "replace"))["value"]
    except (ValueError, Fault):
        return None
