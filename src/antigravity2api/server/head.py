"""A strict parser for the head of an HTTP/1.x request: bytes in, a checked head or an error with its status out.

Whatever this parser lets pass has one meaning only: one length, one host, one path. Everything that two parsers could
read in two ways (RFC 9112 sections 2.2, 5 and 6) is refused, because a proxy in front of us may have read it the other
way. No sockets and no clock live here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from antigravity2api.server.base import Head

HEAD_LIMIT = 32 * 1024
"""Bytes of a whole head, its empty line included."""
FIELD_LIMIT = 100
TARGET_LIMIT = 8 * 1024
LENGTH_DIGITS = 18
"""More digits than any body has; keeps a length below 2**63."""
CHUNKED = -1
"""The body length of a chunked request."""

_METHOD_LIMIT = 32
_KEPT_LINES = 256
_KEPT_LINE = 512
"""How many lines of heads are remembered, and how long each may be."""
_LINE_LIMIT = _METHOD_LIMIT + TARGET_LIMIT + len("  HTTP/1.1")
_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Every group is possessive and its class excludes what follows it, so a hostile head costs one pass and no more.
_LINE = re.compile(rf"({_TCHAR}++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")
_FIELD = rf"{_TCHAR}++:[\t\x20-\x7e\x80-\xff]*+"
_ONE_FIELD = re.compile(_FIELD)
_NAME = re.compile(rf"{_TCHAR}++")
_ILLEGAL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_HOST = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=]*+(?::[0-9]{0,5}+)?|\[[0-9A-Fa-f:.]++\](?::[0-9]{0,5}+)?")
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*+)([^#]*+)")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SINGLE = {"host": "Host", "content-length": "Content-Length", "transfer-encoding": "Transfer-Encoding"}


class HeadError(Exception):
    """A head that is refused, with the status that says so; the connection ends after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Request(NamedTuple):
    """A checked head and how its body and its connection go on."""

    head: Head
    length: int
    """Bytes of the body, or ``CHUNKED``."""
    keep_alive: bool
    expects: bool
    """Whether the client waits for ``100 Continue``."""


def parse_head(data: bytes, peer: str, local: str, request_id: str) -> Request:
    """The request whose head, up to and including its empty line, is ``data``. Raises ``HeadError``."""
    text = data.decode("latin-1")
    lines = text.split("\r\n")  # the last two are empty
    first = _read_line(lines[0])
    if first is None or len(text) > HEAD_LIMIT:
        raise _wrong_head(text)
    method, target, minor = first
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        field = _read_field(line) if len(line) <= _KEPT_LINE else _read_field.__wrapped__(line)
        if field is None:
            raise _wrong_head(text)
        headers[field[0]] = field[1]
    if len(lines) > FIELD_LIMIT + 3:
        raise HeadError(431, f"The request has more than {FIELD_LIMIT} header fields.")
    if len(headers) != len(lines) - 3:
        headers = _joined(lines[1:-2])
    if target[0] == "/" and "%" not in target and "#" not in target:
        path, _, query = target.partition("?")
        authority = None
    else:
        path, query, authority = _target(target)

    old = minor == "0"
    _check_host(headers, authority, old=old)
    length = _body_length(headers, old=old)
    keep = not old
    if "connection" in headers:
        keep = _keeps_alive(headers["connection"], old=old)
    expects = "expect" in headers and not old and _expects(headers["expect"])
    version = "1.0" if old else "1.1"
    head = Head(method, target, path, query, version, headers, peer, local, request_id, {})
    return Request(head, length, keep, expects)


@lru_cache(_KEPT_LINES)
def _read_line(line: str) -> tuple[str, str, str] | None:
    """Method, target and minor version of a request line; None for one that is refused."""
    match = _LINE.fullmatch(line)
    if match is None or _check_line(line) is not None:
        return None
    return match[1], match[2], match[4]


@lru_cache(_KEPT_LINES)
def _read_field(line: str) -> tuple[str, str] | None:
    """Lower-case name and value of a header line; None for one that is refused. Clients repeat most of theirs."""
    if _ONE_FIELD.fullmatch(line) is None:
        return None
    name, _, value = line.partition(":")
    return name.lower(), value.strip(" \t")


def check_partial(data: bytes | bytearray, start: int) -> None:
    """Raise ``HeadError`` as early as a head that has not ended yet is known to be wrong; bytes before ``start`` were
    looked at earlier."""
    if _ILLEGAL.search(data, max(0, start - 1)) is not None:
        raise HeadError(400, "The request holds a control byte or a bare line end, or is not HTTP at all.")
    line_end = data.find(b"\r\n", 0, _LINE_LIMIT + 2)
    if line_end >= max(0, start - 1):
        error = _check_line(data[:line_end].decode("latin-1"))
        if error is not None:
            raise error
    if line_end < 0 and len(data) > _LINE_LIMIT:
        raise _wrong_line(data.decode("latin-1"))
    if len(data) > HEAD_LIMIT:
        raise HeadError(431, f"The request's header is larger than {HEAD_LIMIT} bytes.")


def _wrong_head(text: str) -> HeadError:
    """Why a whole head does not match, its first line first."""
    line_end = text.find("\r\n")
    error = _check_line(text[:line_end])
    if error is not None:
        return error
    if len(text) > HEAD_LIMIT:
        return HeadError(431, f"The request's header is larger than {HEAD_LIMIT} bytes.")
    return _wrong_field(text[line_end + 2 : -4])


def _check_line(line: str) -> HeadError | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return _wrong_line(line)
    method, target, major, minor = match.groups()
    if len(method) > _METHOD_LIMIT:
        return HeadError(400, "The request's method is too long.")
    if len(target) > TARGET_LIMIT:
        return HeadError(414, f"The request's target is longer than {TARGET_LIMIT} bytes.")
    if major == "1" and minor in "01":
        return None
    if method == "PRI":
        return HeadError(400, "HTTP/2 is not spoken here; use HTTP/1.1.")
    return HeadError(505, f"HTTP/{major}.{minor} is not spoken here; use HTTP/1.1.")


def _wrong_line(line: str) -> HeadError:
    method, _, rest = line.partition(" ")
    if len(rest) > TARGET_LIMIT + len(" HTTP/1.1") and len(method) <= _METHOD_LIMIT and _NAME.fullmatch(method):
        return HeadError(414, f"The request's target is longer than {TARGET_LIMIT} bytes.")
    return HeadError(400, "The request line is not of the form `METHOD target HTTP/1.1`.")


def _wrong_field(block: str) -> HeadError:
    """Why the field lines do not match, for the one who has to repair a client."""
    for line in block.split("\r\n"):
        if _ONE_FIELD.fullmatch(line):
            continue
        if line[:1] in (" ", "\t"):
            return HeadError(400, "A header line is folded (it begins with a blank).")
        name, colon, _ = line.partition(":")
        if not colon:
            return HeadError(400, "A header line has no colon.")
        if _NAME.fullmatch(name) is None:
            return HeadError(400, "A header name holds a character that is not allowed there.")
        break
    return HeadError(400, "The request's header holds a control byte or a bare line end.")


def _joined(lines: list[str]) -> dict[str, str]:
    """The same, with repeated fields joined as RFC 9110 section 5.3 joins them."""
    headers: dict[str, str] = {}
    for line in lines:
        given, _, value = line.partition(":")
        name, value = given.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise HeadError(400, f"The request has two {_SINGLE[name]} fields.")
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + value
    return headers


def _target(target: str) -> tuple[str, str, str | None]:
    """Path, query and, of an absolute target, the authority."""
    authority = None
    if target[0] != "/":
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise HeadError(400, "The request's target is not a path.")
        authority, target = match.groups()
        if not authority:
            raise HeadError(400, "The request's target names no host.")
        if target[:1] != "/":
            target = "/" + target
    raw, _, query = target.partition("?")
    if "#" in target:
        raise HeadError(400, "The request's target holds a fragment.")
    if "%" not in raw:
        return raw, query, authority
    if _BAD_PERCENT.search(raw):
        raise HeadError(400, "The request's path holds a percent sign that encodes nothing.")
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise HeadError(400, "The request's path is not UTF-8.") from None
    if _CONTROL.search(path):
        raise HeadError(400, "The request's path holds a control character.")
    return path, query, authority


def _check_host(headers: dict[str, str], authority: str | None, *, old: bool) -> None:
    host = headers.get("host")
    if host is None:
        if not old:
            raise HeadError(400, "The request has no Host field.")
    elif not _is_host(host):
        raise HeadError(400, "The request's Host field is not a host.")
    if authority is None:
        return
    if not _is_host(authority):
        raise HeadError(400, "The request's target names no host.")
    headers["host"] = authority  # RFC 9112 section 3.2.2: the target's host replaces the field


@lru_cache(_KEPT_LINES)
def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None


def _body_length(headers: dict[str, str], *, old: bool) -> int:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is None:
        if length is None:
            return 0
        if not (length.isascii() and length.isdigit()) or len(length) > LENGTH_DIGITS:
            raise HeadError(400, "The request's Content-Length is not a plain number.")
        return int(length)
    if length is not None:
        raise HeadError(400, "The request has both Content-Length and Transfer-Encoding.")
    if old:
        raise HeadError(400, "HTTP/1.0 has no Transfer-Encoding.")
    if coding != "chunked":
        raise HeadError(400, "The only Transfer-Encoding understood is `chunked`.")
    return CHUNKED


def _keeps_alive(connection: str, *, old: bool) -> bool:
    options = [option.strip(" \t") for option in connection.lower().split(",")]
    return "close" not in options and (not old or "keep-alive" in options)


def _expects(expect: str) -> bool:
    if expect.lower() != "100-continue":
        raise HeadError(417, "The only expectation understood is `100-continue`.")
    return True
