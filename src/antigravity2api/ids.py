"""Identifiers and the clock, in one injectable place."""

from __future__ import annotations

import random
import secrets
import time

_BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = bytes(_BASE62[number % 62] for number in range(256))
_UNEVEN = bytes(range(256 - 256 % 62, 256))
"""Bytes that would make some characters likelier than others."""


def token62(length: int) -> str:
    """``length`` random characters of ``[0-9A-Za-z]`` (5.95 bits each), from the system's generator: for secrets."""
    token = b""
    while len(token) < length:
        token += secrets.token_bytes(length + 8).translate(_LETTERS, _UNEVEN)
    return token[:length].decode("ascii")


def unique() -> str:
    """24 hexadecimal characters (96 random bits): unique, not secret. The generator is seeded anew in every process."""
    return random.getrandbits(96).to_bytes(12, "big").hex()


def call_id() -> str:
    """The id of one tool call, unique over all conversations, at most 40 characters as old clients demand."""
    return "call_" + unique()


def completion_id() -> str:
    """The id of one chat completion."""
    return "chatcmpl-" + unique()


def request_id() -> str:
    """The id that every answer carries as ``x-request-id``."""
    return "req_" + unique()


def now() -> int:
    """Whole seconds since 1970, for ``created`` fields."""
    return int(time.time())
