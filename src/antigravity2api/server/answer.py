"""The head of an answer, as bytes: status line, date, ids, the headers every answer has, and the handler's own.

Nothing a handler passes can end a line: a name that is no token is dropped, a control byte in a value becomes a blank.
Framing belongs to the server, so a handler's own framing headers are dropped too.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus

from antigravity2api.server.base import Headers

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]+")
_OURS = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"request-id",
        b"server",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    )
)
_DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_DEFAULT_BITS = {name: 1 << bit for bit, (name, _) in enumerate(_DEFAULTS)}
_CACHED_FIELDS = 256


class AnswerHeads:
    """Writes answer heads. One per process: it keeps the current second's first lines and the fields seen lately."""

    __slots__ = ("_defaults", "_fields", "_firsts", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._firsts: dict[int, bytes] = {}
        self._fields: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self._defaults = tuple(_default_lines(mask) for mask in range(1 << len(_DEFAULTS)))

    def head(self, now: float, status: int, request_id: str, headers: Headers, framing: bytes) -> bytes:
        """A whole head, its empty line included. ``framing``: complete lines; ``now``: seconds since 1970."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._firsts.clear()
        first = self._firsts.get(status)
        if first is None:
            first = self._firsts[status] = _first_lines(status, second)
        key = tuple(headers)
        fields = self._fields.get(key)
        if fields is None:
            fields = self._render(key)
        return b"%b%bx-request-id: %b\r\nrequest-id: %b\r\n%b\r\n" % (
            first,
            fields,
            identity := request_id.encode("latin-1"),
            identity,
            framing,
        )

    def _render(self, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
        lines = []
        given = 0
        for given_name, value in headers:
            name = given_name.lower()
            if name in _OURS or _NAME.fullmatch(name) is None:
                continue
            given |= _DEFAULT_BITS.get(name, 0)
            lines.append(b"%b: %b\r\n" % (name, _CONTROL.sub(b" ", value).strip(b" \t")))
        lines.append(self._defaults[given])
        fields = b"".join(lines)
        # Handlers use few sets of headers again and again; varying values push the rest out once in a while.
        if len(self._fields) >= _CACHED_FIELDS:
            self._fields.clear()
        self._fields[headers] = fields
        return fields


def has_no_body(status: int) -> bool:
    """Whether HTTP forbids an answer of this status to have a body."""
    return status < 200 or status in (204, 304)


def _first_lines(status: int, second: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}\r\ndate: {formatdate(second, usegmt=True)}\r\n".encode("latin-1")


def _default_lines(given: int) -> bytes:
    return b"".join(b"%b: %b\r\n" % default for bit, default in enumerate(_DEFAULTS) if not given & (1 << bit))
