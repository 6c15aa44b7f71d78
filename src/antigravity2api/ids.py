"""Identifiers and the clock, in one injectable place."""

from __future__ import annotations

import secrets
import time

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def token62(length: int) -> str:
    """``length`` random characters of ``[0-9A-Za-z]`` (5.95 bits each), from the system's generator."""
    number = int.from_bytes(secrets.token_bytes(length), "big")
    out = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        out.append(_BASE62[digit])
    return "".join(out)


def call_id() -> str:
    """The id of one tool call, unique over all conversations, at most 40 characters as old clients demand."""
    return "call_" + token62(24)


def completion_id() -> str:
    """The id of one chat completion."""
    return "chatcmpl-" + token62(24)


def request_id() -> str:
    """The id that every answer carries as ``x-request-id``."""
    return "req_" + token62(20)


def now() -> int:
    """Whole seconds since 1970, for ``created`` fields."""
    return int(time.time())
