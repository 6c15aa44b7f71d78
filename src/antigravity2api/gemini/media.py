"""Media of clients → parts: base64 in any spelling, types by first bytes, GIF as PNG. Pure; nothing is ever fetched.

Images that Gemini takes go up byte for byte: only their first bytes are looked at. The base64 text of a large image is
checked once and passed on; no second copy of it is made unless it needs mending.
"""

from __future__ import annotations

import binascii
import re
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from antigravity2api.errors import Fault, Kind, invalid
from antigravity2api.gemini.gif import GifBudget, gif_to_png, unreadable
from antigravity2api.gemini.types import Part

MAX_BYTES = 20 << 20
"""Most decoded bytes of one image or file."""
_URLSAFE = str.maketrans("-_", "+/")
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLOCK = 1 << 18
_SNIFFED = 88
"""Base64 characters that are enough to know a type."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):").match
_GOOGLE_FILE = re.compile(r"https://generativelanguage\.googleapis\.com/v\w{1,20}/files/[A-Za-z0-9_-]{1,128}").fullmatch
_CLOUD_STORAGE = re.compile(r"gs://[a-z0-9][\w.-]{1,221}/[^\s?#]{1,1024}").fullmatch
_MIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}").fullmatch

_UNTYPED = "application/octet-stream"
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "application/x-pdf": "application/pdf",
}
_AUDIO = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "m4a": "audio/mp4",
    "webm": "audio/webm",
    "pcm16": "audio/pcm",
}
_EXTENSIONS = {
    **{name: mime for name, mime in _AUDIO.items() if name not in ("mpeg", "pcm16")},
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "csv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "md": "text/markdown",
    "json": "application/json",
    "xml": "application/xml",
}
_TEXT_EXTENSIONS = frozenset(
    "txt text md markdown rst csv tsv json jsonl ndjson xml html htm xhtml svg css js mjs cjs ts tsx jsx py pyi rb go "
    "rs java kt kts c h cc cpp hpp cs swift php pl lua r sql sh bash zsh ps1 bat yaml yml toml ini cfg conf env log "
    "tex bib diff patch vue gradle properties proto graphql".split()
)
_TEXT_TYPES = frozenset(
    "application/json application/ld+json application/x-ndjson application/jsonl application/xml application/toml "
    "application/xhtml+xml application/javascript application/x-javascript application/typescript application/x-yaml "
    "application/yaml application/sql application/x-sh application/x-httpd-php application/x-python "
    "image/svg+xml".split()
)


# -- base64 ------------------------------------------------------------------------------------------------------


def check_base64(text: str, param: str) -> str:
    """``text`` as standard base64: the very same string where it is clean, mended where it is only sloppy.

    Whitespace, the URL-safe alphabet, percent signs of data URLs, missing padding and a trailing ``...`` (a placeholder
    that people leave in examples) are mended. Raises ``Fault`` invalid_base64 or TOO_LARGE at ``param``.
    """
    if len(text) > MAX_BYTES * 2:
        raise _too_large(param)
    clean = text
    if not _is_clean(text):
        clean = _mended(text)
        if not clean or not _is_clean(clean):
            raise invalid("Expected base64 data, but it is empty or cannot be decoded.", param, "invalid_base64")
    if decoded_size(clean) > MAX_BYTES:
        raise _too_large(param)
    return clean


def decoded_size(clean: str) -> int:
    """How many bytes padded base64 stands for."""
    return len(clean) // 4 * 3 - clean.endswith("=") - clean.endswith("==")


def decode_base64(text: str, param: str) -> bytes:
    """The bytes behind base64 as ``check_base64`` understands it."""
    return binascii.a2b_base64(check_base64(text, param))


def _is_clean(text: str) -> bool:
    """Whether the text is base64 as RFC 4648 writes it. Nothing is decoded: a block at a time, its letters are taken
    out, and what is left must be the padding."""
    size = len(text)
    if not size or size % 4 or not text.isascii():
        return False
    last = (size - 1) // _BLOCK * _BLOCK
    for start in range(0, last, _BLOCK):
        if text[start : start + _BLOCK].encode().translate(None, _LETTERS):
            return False
    rest = text[last:].encode().translate(None, _LETTERS).decode()
    return rest in ("", "=", "==") and text.endswith(rest) and size > len(rest)


def _mended(text: str) -> str:
    if "%" in text:
        text = unquote(text, errors="replace")
    text = "".join(text.split())
    cut = text.endswith(("...", "…"))
    text = text.rstrip(".…=").translate(_URLSAFE)
    spare = len(text) % 4
    if spare == 1 and cut:
        text, spare = text[:-1], 0
    return text + "=" * (-spare % 4)


def _too_large(param: str) -> Fault:
    return Fault(
        Kind.TOO_LARGE,
        f"The data is larger than {MAX_BYTES >> 20} MB.",
        param=param,
        code="request_too_large",
    )


# -- types -------------------------------------------------------------------------------------------------------


def sniff(head: bytes) -> str | None:
    """The MIME type that the first bytes (64 are plenty) prove; None when they prove none."""
    for magic, mime in _MAGIC:
        if head.startswith(magic):
            return mime
    if head[:4] in (b"RIFF", b"FORM"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _FTYP.get(head[8:12], "video/mp4")
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[2] & 0xF0 != 0xF0:
        return "audio/aac" if head[1] & 0xF6 == 0xF0 else "audio/mpeg" if head[1] & 0x06 in (2, 4) else None
    return None


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {
    b"WEBP": "image/webp",
    b"WAVE": "audio/wav",
    b"AVI ": "video/x-msvideo",
    b"AIFF": "audio/aiff",
    b"AIFC": "audio/aiff",
}
_FTYP = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1", b"heif"), "image/heif"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"M4A ", b"M4B "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}


def sniff_base64(clean: str) -> str | None:
    """The MIME type that the first bytes of clean base64 prove."""
    return sniff(binascii.a2b_base64(clean[:_SNIFFED]))


def gif_source(source: str) -> str | None:
    """The base64 of a GIF that is given as data URL or bare; None for anything else. Judged by the first bytes only."""
    scheme = _SCHEME(source[:1024].lstrip())
    data = source
    if scheme is not None:
        if scheme[1].lower() != "data":
            return None
        try:
            _, data = _data_url(source, "", "invalid_image_url")
        except Fault:
            return None
    try:
        head = binascii.a2b_base64(_mended(data[:256])[:8])
    except ValueError:
        return None
    return data if head[:4] == b"GIF8" else None


# -- parts -------------------------------------------------------------------------------------------------------


def image_part(source: Any, param: str, *, low_detail: bool = False, gifs: GifBudget | None = None) -> Part:
    """An image given as data URL or bare base64, or a file that Google holds by its address.

    Addresses of the web are refused with a ``Fault`` at ``param``: whoever may fetch them hands in the data instead.
    ``gifs``, here and below: what the GIFs of the whole request may cost; without it each is measured alone.
    """
    if not isinstance(source, str):
        raise invalid("Expected a data URL with a base64 image.", param, "invalid_type")
    if _GOOGLE_FILE(source) or _CLOUD_STORAGE(source):
        return _file_data(source)
    _, data = _data_url(source, param, "invalid_image_url")
    part = _image(data, param, gifs)
    if low_detail:
        part["mediaResolution"] = {"level": "MEDIA_RESOLUTION_LOW"}  # type: ignore[typeddict-unknown-key]
    return part


def image_from_base64(data: Any, param: str, *, gifs: GifBudget | None = None) -> Part:
    """An image given as base64 alone."""
    if not isinstance(data, str):
        raise invalid("Expected base64 data.", param, "invalid_type")
    return _image(data, param, gifs)


def audio_part(data: Any, form: Any, param: str) -> Part:
    """``input_audio``: base64 with a format word; the first bytes win over the word. ``param``: path of the data."""
    if not isinstance(data, str):
        raise invalid("Expected base64 audio data.", param, "invalid_type")
    form_param = param.removesuffix(".data") + ".format"
    declared = _AUDIO.get(form.lower()) if isinstance(form, str) else None
    if form is not None and declared is None:
        raise invalid("Supported audio formats: wav, mp3, flac, ogg, opus, aac, aiff, m4a, webm.", form_param)
    if data[:5].lower() == "data:":
        mime, data = _data_url(data, param, "invalid_base64")
        declared = declared or (mime if mime and mime.startswith("audio/") else None)
    clean = check_base64(data, param)
    found = sniff_base64(clean)
    mime = found if found is not None and found.startswith("audio/") else declared or found
    if mime is None:
        raise invalid("The audio format is missing and the data does not tell it.", form_param)
    return {"inlineData": {"mimeType": mime, "data": clean}}


def file_part(
    data: Any, filename: str | None, param: str, *, mime_type: str | None = None, gifs: GifBudget | None = None
) -> Part:
    """A file as data URL or bare base64: by its first bytes, else its name, else its declared type.

    Text of any sort becomes a text part, an image is treated as one, all else goes up for the upstream to judge.
    """
    if not isinstance(data, str):
        raise invalid("Expected a data URL or base64 data.", param, "invalid_type")
    declared = _plain_type(mime_type)
    if data[:5].lower() == "data:":
        said, data = _data_url(data, param, "invalid_base64")
        declared = declared or said
    elif _SCHEME(data):
        raise invalid("A file must be given as base64 data; addresses are not fetched.", param, "invalid_value")
    clean = check_base64(data, param)
    found = sniff_base64(clean)
    extension = filename.rpartition(".")[2].lower() if filename and "." in filename else ""
    if found in _IMAGES or (found is None and declared in _IMAGES):
        return _image(clean, param, gifs)
    if found is None and (extension in _TEXT_EXTENSIONS or _is_text_type(declared)):
        text = _text(binascii.a2b_base64(clean))
        if text is not None:
            return {"text": text}
    mime = found or _EXTENSIONS.get(extension) or declared
    if mime is None:
        text = _text(binascii.a2b_base64(clean))
        if text is not None:
            return {"text": text}
        mime = _UNTYPED
    return {"inlineData": {"mimeType": mime, "data": clean}}


def video_part(source: Any, param: str) -> Part:
    """``video_url``: a data URL, or a file that Google holds."""
    if not isinstance(source, str):
        raise invalid("Expected a data URL with a base64 video.", param, "invalid_type")
    if _GOOGLE_FILE(source) or _CLOUD_STORAGE(source):
        return _file_data(source)
    declared, data = _data_url(source, param, "invalid_value")
    clean = check_base64(data, param)
    found = sniff_base64(clean)
    mime = found if found is not None and found.startswith("video/") else declared
    if mime is None or not mime.startswith("video/"):
        raise invalid("Expected a data URL of a video.", param)
    return {"inlineData": {"mimeType": mime, "data": clean}}


def _image(data: str, param: str, gifs: GifBudget | None) -> Part:
    clean = check_base64(data, param)
    mime = sniff_base64(clean)
    if mime not in _IMAGES or mime is None:
        raise unreadable(param, "The data is no image that is understood.")
    if mime == "image/gif":
        if gifs is not None:
            gifs.count(param)
        png = (gif_to_png if gifs is None else gifs.to_png)(binascii.a2b_base64(clean), param)
        return {
            "inlineData": {"mimeType": "image/png", "data": binascii.b2a_base64(png, newline=False).decode("ascii")}
        }
    return {"inlineData": {"mimeType": mime, "data": clean}}


def _file_data(uri: str) -> Part:
    mime = _EXTENSIONS.get(uri.rpartition(".")[2].lower()) if uri.startswith("gs:") else None
    return {"fileData": {"fileUri": uri, **({"mimeType": mime} if mime else {})}}


def _data_url(source: str, param: str, code: str) -> tuple[str | None, str]:
    """MIME type and base64 of a data URL; bare base64 is taken for the data itself.

    Everything else (web addresses, paths, other schemes) is a ``Fault`` with ``code``: nothing is fetched or opened.
    """
    start = source[:1024].lstrip()
    scheme = _SCHEME(start)
    if scheme is None:
        if _is_data(source, param):
            return None, source
        raise invalid("Expected a data URL (data:image/png;base64,…).", param, code)
    if scheme[1].lower() != "data":
        raise invalid(
            "Only data URLs are accepted here: use base64 (data:image/png;base64,…); addresses are not fetched.",
            param,
            code,
        )
    head, comma, _ = start.partition(",")
    if not comma:
        raise invalid("The data URL has no comma before its data.", param, code)
    data = source[source.index(",") + 1 :]
    kind, _, rest = head[5:].partition(";")
    if not rest.lower().rstrip().endswith("base64"):
        if len(data) > 3 * MAX_BYTES:
            raise _too_large(param)
        data = binascii.b2a_base64(unquote_to_bytes(data), newline=False).decode("ascii")
    return _plain_type(kind), data


def _is_data(source: str, param: str) -> bool:
    """Whether a string without a scheme is base64 of something known; a path (``/etc/x``) never is."""
    try:
        return sniff_base64(check_base64(source, param)) is not None
    except Fault as fault:
        if fault.kind is Kind.TOO_LARGE:
            raise
        return False


def _plain_type(declared: str | None) -> str | None:
    """A declared MIME type without parameters, in its usual spelling; None for what is none."""
    if not declared:
        return None
    plain = declared.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain) if _MIME(plain) and plain != _UNTYPED else None


def _is_text_type(mime: str | None) -> bool:
    return mime is not None and (mime.startswith("text/") or mime in _TEXT_TYPES or mime.endswith(("+json", "+xml")))


def _text(data: bytes) -> str | None:
    """Bytes as text where they are text: UTF-8, or UTF-16 that says so."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
