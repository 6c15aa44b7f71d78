"""A real PNG, drawn row by row from a few flat shapes: a cat where one is asked for, a landscape otherwise."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

Span = tuple[float, float]
"""Where a shape begins and ends at some height, in units of the picture's shorter side."""
Shape = tuple[int, Callable[[float], Span | None]]
"""A palette index and the span for a height between 0 and 1."""

_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}


def size_of(ratio: str, size: str) -> tuple[int, int]:
    """Width and height in pixels, about as many as the square of that size has."""
    wide, high = (int(number) for number in ratio.split(":"))
    side = _SIDES[size]
    factor = (wide / high) ** 0.5
    return max(8, round(side * factor / 8) * 8), max(8, round(side / factor / 8) * 8)


def draw(width: int, height: int, seed: bytes, *, cat: bool) -> bytes:
    """The bytes of the file; ``seed`` picks the colours."""
    palette = _colours(seed)
    shapes = _cat() if cat else _landscape(seed)
    unit = min(width, height)
    left, top = (width - unit) // 2, (height - unit) // 2
    rows = bytearray()
    for y in range(height):
        row = bytearray(width)
        at = (y - top + 0.5) / unit
        for colour, span_at in shapes:
            span = span_at(at)
            if span is None:
                continue
            begin = max(0, left + round(span[0] * unit))
            end = min(width, left + round(span[1] * unit))
            if end > begin:
                row[begin:end] = bytes((colour,)) * (end - begin)
        rows.append(0)
        rows += row
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    blocks = (
        (b"IHDR", header),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", zlib.compress(bytes(rows), 3)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_block(name, data) for name, data in blocks)


def _block(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _colours(seed: bytes) -> Sequence[bytes]:
    turn = seed[0] % 3
    base = [(186, 220, 244), (240, 178, 92), (60, 48, 44), (244, 236, 224), (228, 120, 132), (104, 166, 92)]
    return [bytes((*colour[turn:], *colour[:turn])) for colour in base]


def _disc(colour: int, x: float, y: float, radius: float) -> Shape:
    def span(at: float) -> Span | None:
        rest = radius * radius - (at - y) ** 2
        return None if rest <= 0 else (x - rest**0.5, x + rest**0.5)

    return colour, span


def _triangle(colour: int, x: float, top: float, bottom: float, half: float) -> Shape:
    def span(at: float) -> Span | None:
        if not top <= at <= bottom:
            return None
        reach = half * (at - top) / (bottom - top)
        return x - reach, x + reach

    return colour, span


def _cat() -> list[Shape]:
    return [
        _triangle(1, 0.30, 0.14, 0.46, 0.16),
        _triangle(1, 0.70, 0.14, 0.46, 0.16),
        _disc(1, 0.5, 0.55, 0.32),
        _disc(3, 0.38, 0.50, 0.07),
        _disc(3, 0.62, 0.50, 0.07),
        _disc(2, 0.38, 0.50, 0.035),
        _disc(2, 0.62, 0.50, 0.035),
        _disc(3, 0.5, 0.70, 0.12),
        _disc(4, 0.5, 0.64, 0.04),
    ]


def _landscape(seed: bytes) -> list[Shape]:
    sun = 0.2 + 0.6 * seed[1] / 255
    hill = 0.15 + 0.7 * seed[2] / 255
    return [
        _disc(1, sun, 0.25, 0.12),
        _triangle(2, hill, 0.35, 0.8, 0.5),
        (5, lambda at: (-99.0, 99.0) if at > 0.72 else None),
    ]
