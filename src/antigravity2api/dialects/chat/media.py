"""Bytes and code of an answer as Markdown: kinds of data by their first bytes, fences, links, WAV headers."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from typing import Any

from antigravity2api.gemini.media import sniff

_URLSAFE = str.maketrans("-_", "+/")
_TYPE_NAME = re.compile(r"[A-Za-z0-9.+-]{1,40}/[A-Za-z0-9.+-]{1,60}")
_LINKABLE = re.compile(r"(?:https?|gs)://[^\s\x00-\x20<>\"\\^`{|}]+", re.IGNORECASE)
_TICKS = re.compile(r"`{3,}")
_LANGUAGE = re.compile(r"[a-z][a-z0-9+#-]{0,20}")
_HEAD = 64
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PCM = "audio/pcm"
"""Headless samples."""
STREAM_LENGTH = 0xFFFFFFFF
"""What a WAV header says where the length is not known yet."""


def readable(data: str) -> tuple[bytes, str] | None:
    """The bytes behind base64 of either alphabet, and clean base64 of them; None when they are none."""
    standard = data.translate(_URLSAFE) if "-" in data or "_" in data else data
    try:
        return binascii.a2b_base64(standard, strict_mode=True), standard
    except ValueError:
        pass  # unpadded, or broken into lines
    try:
        raw = binascii.a2b_base64(standard + "===")
    except ValueError:
        return None
    return raw, base64.b64encode(raw).decode("ascii")


def image_type(head: bytes) -> str | None:
    """The MIME type of an image that every browser shows, by its first bytes; None for anything else."""
    found = sniff(head[:_HEAD])
    return found if found in _SHOWN else None


def audio_type(head: bytes, label: str) -> str | None:
    """The MIME type of audio by its first bytes; headless PCM only by its label. None for anything else."""
    found = sniff(head[:_HEAD])
    if is_pcm(label):
        return found if found == "audio/wav" else PCM
    return found if found is not None and found.startswith("audio/") else None


def is_pcm(label: str) -> bool:
    """Whether a MIME type says headless 16 bit samples, as Gemini's speech does."""
    return label.lower().split(";")[0].strip() in ("audio/l16", "audio/pcm", "audio/x-pcm")


def pcm_rate(label: str) -> int:
    """Samples a second of ``audio/L16;codec=pcm;rate=24000``."""
    found = re.search(r"rate=(\d{4,6})", label)
    return int(found[1]) if found else 24000


def wav_header(rate: int, length: int = STREAM_LENGTH) -> bytes:
    """The head of a mono 16 bit WAV file with ``length`` bytes of samples."""
    whole = min(length + 36, STREAM_LENGTH)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + struct.pack("<4sI", b"data", length)


def data_url(mime_type: str, data: str) -> str:
    """Clean base64 as an address."""
    return f"data:{mime_type};base64,{data}"


def image_markdown(url: str) -> str:
    """A picture inside text."""
    return f"\n\n![image]({url})\n\n"


def link_markdown(words: str, url: str) -> str:
    """A link inside text."""
    return f"\n\n[{words}]({url})\n\n"


def left_out_note(label: Any) -> str:
    """What stands where data was that can be neither shown nor linked."""
    known = isinstance(label, str) and _TYPE_NAME.fullmatch(label.split(";")[0].strip())
    kind = known.group() if known else "unknown type"
    return f"\n\n[The model sent data ({kind}) that cannot be shown here.]\n\n"


def file_markdown(file: Mapping[str, Any]) -> str:
    """A link to a file that the upstream keeps; a note where its address is none to follow."""
    uri = file.get("fileUri")
    if not isinstance(uri, str) or not _LINKABLE.fullmatch(uri):
        return left_out_note(file.get("mimeType"))
    return link_markdown("file", uri.replace("(", "%28").replace(")", "%29"))


def code_markdown(code: Mapping[str, Any]) -> str:
    """Code that the model had run."""
    text = code.get("code")
    if not isinstance(text, str) or not text:
        return ""
    language = str(code.get("language") or "").lower()
    return _fenced(text, language if _LANGUAGE.fullmatch(language) and "unspecified" not in language else "")


def output_markdown(result: Mapping[str, Any]) -> str:
    """What came out of running code; a failure without words shows its name."""
    text = result.get("output")
    if not isinstance(text, str) or not text:
        outcome = result.get("outcome")
        if not isinstance(outcome, str) or outcome in ("", "OUTCOME_OK", "OUTCOME_UNSPECIFIED"):
            return ""
        text = outcome
    return _fenced(text, "output")


def _fenced(text: str, info: str) -> str:
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"\n\n{fence}{info}\n{text}{end}{fence}\n\n"


def without_fence(text: str) -> str:
    """The inside of one Markdown fence that surrounds a whole text; the text itself where none does."""
    stripped = text.strip()
    if not stripped.startswith("```"):
        return text
    ticks = len(stripped) - len(stripped.lstrip("`"))
    first, newline, rest = stripped.partition("\n")
    if not newline or "`" in first[ticks:]:
        return text
    fence = "`" * ticks
    if not rest.endswith("\n" + fence) and rest != fence:
        return rest if "\n" + fence not in rest else text
    inside = rest[: -ticks - 1] if rest != fence else ""
    return text if "\n" + fence in "\n" + inside else inside
