"""Heads that come again: a client sends the same one with every request of a connection, but for its body's length.

Reading and admitting a head is a tenth of what a plain answer costs. So the outcome is kept under the head's own bytes,
the digits of its Content-Length left out, and taken as it is when exactly these bytes come again. Nothing is decided by
likeness: a head that differs in anything else is read anew by ``server.head``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from antigravity2api.server.base import Head
from antigravity2api.server.head import LENGTH_DIGITS, Request, parse_head

_MOST = 256
_LONGEST = 2 * 1024
_NAMES = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
"""How clients spell the field whose value is no part of the key."""
_new: Any = tuple.__new__
"""Makes a named tuple of fields in their order; half of what its own constructor costs."""


class _Kept(NamedTuple):
    """What a head says beside its length and beside who sent it."""

    fields: tuple[Any, ...]
    keep_alive: bool
    expects: bool
    memo: dict[str, Any]


class Repeats:
    """Reads heads; remembers those of late, bounded in number and size."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[bytes, _Kept] = {}

    def read(self, raw: bytes, peer: str, local: str, request_id: str) -> Request:
        """As ``parse_head``. Raises ``HeadError``."""
        at = raw.find(_NAMES[0])
        if at < 0:
            at = raw.find(_NAMES[1])
        if at < 0:
            key, length = raw, 0
        else:
            start = at + 18
            end = raw.find(b"\r", start)
            digits = raw[start:end]
            if not digits.isdigit() or len(digits) > LENGTH_DIGITS:
                return parse_head(raw, peer, local, request_id)
            key, length = raw[:start] + raw[end:], int(digits)
        kept = self._kept.get(key)
        if kept is None:
            request = parse_head(raw, peer, local, request_id)
            if request.length == length and len(raw) <= _LONGEST:
                self._keep(key, request)
            return request
        head: Head = _new(Head, (*kept.fields, peer, local, request_id, kept.memo))
        again: Request = _new(Request, (head, length, kept.keep_alive, kept.expects))
        return again

    def _keep(self, key: bytes, request: Request) -> None:
        if len(self._kept) >= _MOST:
            self._kept.clear()
        head = request.head
        # The length is the only field that may be another one next time.
        headers = {name: value for name, value in head.headers.items() if name != "content-length"}
        fields = (head.method, head.target, head.path, head.query, head.version, headers)
        self._kept[key] = _Kept(fields, request.keep_alive, request.expects, head.memo)
