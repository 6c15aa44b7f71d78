"""JSON in and out: strict towards clients, forgiving towards upstreams, compact on the way out. Pure.

``orjson`` does the work; what lives here are the limits around it and the readers for what it refuses.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate, count
from operator import sub
from typing import Any, NoReturn

import orjson

from antigravity2api.errors import Fault, Kind, invalid

_loads = orjson.loads
_BOM = b"\xef\xbb\xbf"
_BACKSLASH = 92
_BLOCK = 1 << 18
_MAX_NUMBER = 64
_MAX_NESTS = 100_000
"""Objects and arrays in one body: each costs the loop some microseconds, so many of them would keep others waiting."""
# A number of more than 64 characters holds at most three runs of digits and four other signs: one run has 20 or more.
# Integers past 64 bits have 19 or more. So one look for 19 digits in a row finds both.
_LONG_RUN = b"0" * 19
_DIGITS_TO_ZERO = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_MARKS = bytes(48 if 48 <= byte <= 57 else 123 if byte in b"[{" else 32 for byte in range(256))
_LARGE_FLOAT = re.compile(rb"[0-9]e[0-9]").search
"""How the parser's floats from 1e16 on are written."""
_LONG_NUMBER = re.compile(rb"[-+.0-9eE]{%d}" % (_MAX_NUMBER + 1))
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes(2 if byte in b"[{" else 0 for byte in range(256))

# An escaped backslash or a whole pair is kept; what is left of the third kind is half a pair.
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_SURROGATES = re.compile(rf"(\\\\|{_HIGH}{_LOW})|{_HIGH}|{_LOW}")
_SURROGATE_BYTES = re.compile(_SURROGATES.pattern.encode("ascii"))
_STRING_OR_COMMAS = re.compile(r'("(?:[^"\\]++|\\.)*+")|(?:,\s*+)++(?=[}\]])|,(?:\s*+,)++', re.DOTALL)

_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
_MISSING = object()


def loads_client(body: bytes | bytearray, *, max_depth: int = 64) -> Any:
    """A client's request body as a dict. Raises ``Fault`` INVALID_REQUEST with a reason.

    Nesting and the length of numbers are checked before anything is parsed, in one pass that allocates little.
    """
    if body.startswith(_BOM):
        body = body[3:]
    if not body or body.isspace():
        raise _unreadable("the body is empty; send a JSON object")
    exact = not _harmless(body, max_depth) and _screen(body, max_depth)
    try:
        value = _loads_exactly(body) if exact else orjson.loads(body)
    except ValueError as error:
        mended = _SURROGATE_BYTES.sub(_half_pair_bytes, body) if b"\\u" in body else body
        if mended == body:
            raise _unreadable(str(error)) from None
        try:
            value = _loads_exactly(mended) if exact else orjson.loads(mended)
        except ValueError as second:
            raise _unreadable(str(second)) from None
    if isinstance(value, dict):
        return value
    raise invalid(f"The JSON body must be an object, not {_name(value)}.", None, "invalid_type")


def glance(body: bytes | bytearray) -> dict[str, Any] | None:
    """A small body as a dict, before any limit was looked at; None for one that is large, broken or something else.

    Good for who takes only what no limit is about, texts at known places: a long integer has become a float here, and
    nesting is whatever the parser allows. All else is to go through ``loads_client``, with what was read given along.
    """
    if len(body) > _BLOCK:
        return None
    try:
        value = _loads(body)
    except ValueError:
        return None
    return value if type(value) is dict else None


def screened(body: bytes | bytearray, value: dict[str, Any], *, max_depth: int = 64) -> dict[str, Any]:
    """What ``glance`` gave, once it is known to be within the limits; else read anew. Raises ``Fault`` as
    ``loads_client``."""
    if _harmless(body, max_depth) or not _screen(body, max_depth):
        return value
    exact: dict[str, Any] = loads_client(body, max_depth=max_depth)
    return exact


def exactly_read(text: bytes) -> bool:
    """Whether JSON text of what was parsed holds no number that may have been a longer integer before."""
    return _LARGE_FLOAT(text) is None


def loads_upstream(data: bytes) -> Any:
    """An upstream's JSON. Forgives half surrogate pairs, invalid UTF-8, NaN and Infinity (read as missing) and stray
    commas. Raises ``ValueError`` for anything else."""
    try:
        return _loads(data)
    except ValueError:
        return _loads_tolerantly(data)


def dumps(value: Any) -> bytes:
    """Compact JSON, non-ASCII unescaped. Integers of any size survive; NaN becomes null, half a pair U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:  # past 64 bits, half a surrogate pair, or deeper than orjson goes
        try:
            return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None


def escape_line_separators(data: bytes) -> bytes:
    """JSON text without raw U+2028, U+2029 and U+0085, at which some clients' line readers split an event."""
    if data.isascii():
        return data
    for raw, escaped in _SEPARATORS:
        data = data.replace(raw, escaped)
    return data


def _harmless(body: bytes | bytearray, max_depth: int) -> bool:
    """Whether a body can be read at once: it holds too few brackets and digits for anything to be wrong with them.

    Counts what stands in strings too, so it may say no without a reason; ``_screen`` looks closer then.
    """
    if len(body) > _BLOCK:
        return False
    marks = body.translate(_MARKS)
    return marks.count(b"{") <= max_depth and marks.find(_LONG_RUN) < 0


def _screen(body: bytes | bytearray, max_depth: int) -> bool:
    """Refuse too deep or too much nesting and endless numbers; True when an integer may need more than 64 bits.

    Looks only at what stands outside strings, block by block: a body may be megabytes of base64 in one string.
    """
    depth = inside = start = nests = 0
    carry: bytes | bytearray = b""
    exact = False
    size = len(body)
    while start < size:
        block = body[start : start + _BLOCK] if size > _BLOCK else body
        if block.endswith(b"\\") and (len(block) - len(block.rstrip(b"\\"))) & 1:
            block = body[start : start + _BLOCK + 1]  # never cut between a backslash and what it escapes
        start += len(block)
        if _BACKSLASH in block and block.find(b'\\"') >= 0:  # `in` with bytes costs an exception inside
            block = block.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = block.split(b'"')
        outside = carry + b"".join(pieces[inside::2])
        inside ^= (len(pieces) - 1) & 1
        fresh = outside[len(carry) :] if carry else outside
        opened = fresh.count(b"[") + fresh.count(b"{")
        nests += opened
        if nests > _MAX_NESTS:
            raise _unreadable(f"it holds more than {_MAX_NESTS} objects and arrays")
        if depth + opened > max_depth:
            depth = _descend(fresh, depth, max_depth)
        elif start < size:
            depth += opened - fresh.count(b"]") - fresh.count(b"}")
        if outside.translate(_DIGITS_TO_ZERO).find(_LONG_RUN) >= 0:
            if _LONG_NUMBER.search(outside):
                raise _unreadable(f"it holds a number of more than {_MAX_NUMBER} characters")
            exact = True
        carry = outside[-_MAX_NUMBER:]
    return exact


def _descend(text: bytes | bytearray, depth: int, max_depth: int) -> int:
    """The depth after ``text``, which has no strings; raises when it goes below ``max_depth`` on the way."""
    brackets = text.translate(None, _NOT_BRACKETS)
    deepest = max(map(sub, accumulate(brackets.translate(_STEPS)), count(1)))
    if depth + deepest > max_depth:
        raise _unreadable(f"it is nested more than {max_depth} levels deep")
    opened = brackets.count(b"[") + brackets.count(b"{")
    return depth + 2 * opened - len(brackets)


def _loads_exactly(body: bytes | bytearray) -> Any:
    """As orjson reads it, but with integers past 64 bits kept to the digit."""
    return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("number is infinity when parsed as double")
    return number


def _loads_tolerantly(data: bytes) -> Any:
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if "\\u" in text:
        text = _SURROGATES.sub(_half_pair, text)
    try:
        try:
            value = _DECODER.decode(text)
        except ValueError:
            mended = _STRING_OR_COMMAS.sub(_one_comma, text)
            if mended == text:
                raise
            value = _DECODER.decode(mended)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    return None if value is _MISSING else _items(value)


def _half_pair(match: re.Match[str]) -> str:
    return match[1] or "\\ufffd"


def _half_pair_bytes(match: re.Match[bytes]) -> bytes:
    return match[1] or b"\\ufffd"


def _one_comma(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    return "," if match[0].endswith(",") and match.string[match.end() : match.end() + 1] not in ("}", "]") else ""


def _number_or_missing(text: str) -> object:
    number = float(text)
    return _MISSING if math.isinf(number) else number


def _without_missing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: _items(value) for key, value in pairs if value is not _MISSING}


def _items(value: Any) -> Any:
    """Lists keep their length: an element that is missing is null."""
    if isinstance(value, list):
        return [None if item is _MISSING else _items(item) if isinstance(item, list) else item for item in value]
    return value


_DECODER = json.JSONDecoder(
    strict=False,  # raw control characters inside strings are let through
    parse_constant=lambda _word: _MISSING,
    parse_float=_number_or_missing,
    object_pairs_hook=_without_missing,
)


def _plain(value: Any) -> Any:
    """A copy that the standard library writes as valid JSON."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unreadable(reason: str) -> Fault:
    if "not valid UTF-8" in reason:  # the parser's words speak of surrogates
        reason = "it is not valid UTF-8"
    return Fault(Kind.INVALID_REQUEST, f"Could not parse the JSON body: {reason.rstrip('.')}.")


def _name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"
