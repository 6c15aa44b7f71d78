"""GIF → PNG, its first frame, within a budget. Pure.

Gemini takes no GIF. Decoding one costs by its pixels and not by its bytes, so the size is read from the header before
anything is decoded, and a request has a budget over all its GIFs. ``media_prep`` converts off the event loop.
"""

from __future__ import annotations

import io
import struct

from antigravity2api.errors import Fault, invalid

MOST_PIXELS = 16_000_000
"""Most pixels of one GIF."""
REQUEST_PIXELS = 20_000_000
"""Most pixels of all GIFs of one request."""
REQUEST_GIFS = 20
_MOST_BLOCKS = 16_384
"""Most blocks before the first frame: comments and the like come in blocks of up to 255 bytes."""

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, struct.error)
"""What Pillow raises for pictures that are none."""


class GifBudget:
    """What the GIFs of one request may cost together."""

    __slots__ = ("_count", "_gifs", "_most", "_pixels")

    def __init__(self, *, pixels: int = REQUEST_PIXELS, gifs: int = REQUEST_GIFS) -> None:
        self._pixels = self._most = pixels
        self._gifs = self._count = gifs

    def count(self, param: str) -> None:
        """One more GIF. Raises ``Fault`` invalid_image_format when there are too many."""
        if not self._gifs:
            raise unreadable(param, f"At most {self._count} GIFs are converted for one request.")
        self._gifs -= 1

    def to_png(self, data: bytes, param: str) -> bytes:
        """As ``gif_to_png``, and the pixels count. Raises ``Fault`` invalid_image_format beyond the budget."""
        pixels = gif_pixels(data, param)
        if pixels > self._pixels:
            limit = self._most // 1_000_000
            raise unreadable(param, f"The GIFs of one request may have {limit} million pixels together.")
        self._pixels -= pixels
        return gif_to_png(data, param)


def gif_to_png(data: bytes, param: str) -> bytes:
    """The first frame of a GIF as PNG. Raises ``Fault`` invalid_image_format for one that is too large or broken."""
    from PIL import Image  # noqa: PLC0415  (20 MB of memory that most processes never need)

    gif_pixels(data, param)
    try:
        with Image.open(io.BytesIO(data), formats=("GIF",)) as picture:
            picture.load()
            out = io.BytesIO()
            picture.save(out, format="PNG", compress_level=1)
            return out.getvalue()
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        LookupError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise unreadable(param, "The GIF cannot be read.") from error


def gif_pixels(data: bytes, param: str) -> int:
    """The pixels of a GIF's first frame, by its header alone. Raises ``Fault`` when broken or beyond the limit."""
    broken = unreadable(param, "The GIF cannot be read.")
    if len(data) < 13 or data[:6] not in (b"GIF87a", b"GIF89a"):
        raise broken
    width, height = _int16(data, 6), _int16(data, 8)
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    blocks = 0
    while data[at : at + 1] != b",":
        blocks += 1
        if blocks > _MOST_BLOCKS or at >= len(data) or data[at] == 0x3B:
            raise broken
        if data[at] != 0x21:
            at += 1  # readers skip stray bytes
            continue
        at += 2
        while at < len(data) and data[at] and blocks <= _MOST_BLOCKS:
            at += data[at] + 1
            blocks += 1
        at += 1
    if blocks > _MOST_BLOCKS or at + 10 > len(data):
        raise broken
    width = max(width, _int16(data, at + 1) + _int16(data, at + 5))
    height = max(height, _int16(data, at + 3) + _int16(data, at + 7))
    if not width or not height:
        raise broken
    if width * height > MOST_PIXELS:
        raise unreadable(param, f"The GIF has more than {MOST_PIXELS // 1_000_000} million pixels ({width}x{height}).")
    return width * height


def unreadable(param: str, why: str) -> Fault:
    """The fault for an image that is not taken."""
    return invalid(f"{why} Supported image formats: PNG, JPEG, GIF, WebP, HEIC.", param, "invalid_image_format")


def _int16(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8
