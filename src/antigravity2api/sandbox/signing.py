"""Thought signatures that can be checked: each is an HMAC over the part it was issued for.

A signature is valid on that very part, for the family and backend that issued it. Numbers are compared by value and
keys in any order, because clients write arguments anew; everything else counts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from antigravity2api.sandbox.google import Json
from antigravity2api.sandbox.proto import decode_base64

_MARK = b"\x12sbx"
_NONCE = 8
_MAC = 32
_FILLER = 60

ESCAPES = frozenset(
    decoded
    for word in ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
    for decoded in (decode_base64(word), word.encode())
    if decoded is not None
)
"""Google's two documented escape values, read as base64 and as plain bytes (both are on the wire)."""


def is_escape(signature: str) -> bool:
    """Whether this is the documented value for calls that never had a signature."""
    return decode_base64(signature) in ESCAPES


class Signer:
    """Issues and checks signatures for one family on one backend."""

    def __init__(self, secret: bytes, family: str, backend: str) -> None:
        self._key = hashlib.sha256(secret + b"\0" + family.encode() + b"\0" + backend.encode()).digest()

    def sign(self, part: Json, seed: bytes) -> str:
        """A signature for this part, different for each answer."""
        nonce = hashlib.sha256(seed).digest()[:_NONCE]
        mac = self._mac(part, nonce)
        filler = hashlib.shake_128(mac).digest(_FILLER)  # the real ones are long; nobody may rely on a short one
        return base64.b64encode(_MARK + nonce + mac + filler).decode()

    def is_valid(self, part: Json, signature: str) -> bool:
        """Whether ``signature`` was issued for this part."""
        raw = decode_base64(signature) or b""
        if len(raw) != len(_MARK) + _NONCE + _MAC + _FILLER or not raw.startswith(_MARK):
            return False
        nonce = raw[len(_MARK) : len(_MARK) + _NONCE]
        mac = raw[len(_MARK) + _NONCE : len(_MARK) + _NONCE + _MAC]
        filler = raw[len(_MARK) + _NONCE + _MAC :]
        return hmac.compare_digest(mac, self._mac(part, nonce)) and filler == hashlib.shake_128(mac).digest(_FILLER)

    def _mac(self, part: Json, nonce: bytes) -> bytes:
        content = json.dumps(_content(part), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hmac.digest(self._key, nonce + content.encode(), "sha256")


def _content(part: Json) -> Any:
    if "functionCall" in part:
        call = part["functionCall"]
        return ["call", call.get("name"), _same(call.get("args") or {})]
    if "inlineData" in part:
        return ["data", hashlib.sha256(decode_base64(part["inlineData"].get("data", "")) or b"").hexdigest()]
    if "executableCode" in part:
        return ["code", part["executableCode"].get("code")]
    return ["text", part.get("text", ""), bool(part.get("thought"))]


def _same(value: Any) -> Any:
    """One spelling for numbers that are equal: the wire has doubles only."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_same(item) for item in value]
    return value
