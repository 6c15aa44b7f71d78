"""Which requests belong together, and which credential that points to: prompt caches live with a credential. Pure."""

from __future__ import annotations

import math
from hashlib import blake2b

from antigravity2api.gemini.call import Call, conversation

HEADERS = ("x-antigravity2api-affinity", "x-session-affinity")
"""Where a client may say it; the first one given counts."""
_LONGEST = 512
_WORD = 2**64 - 1
_MOST = float(2**64)


def affinity_of(header: str | None, call: Call) -> str | None:
    """The name under which a request is kept on one credential: the client's header, its ``prompt_cache_key`` or
    ``user``, else what every turn of the conversation shares."""
    said = header.strip()[:_LONGEST] if header else ""
    if said:
        return f"header {said}"
    if call.affinity:
        return f"key {call.affinity[:_LONGEST]}"
    return f"conversation {conversation(call.request)}" if call.request.get("contents") else None


def mark(text: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def distance(key: int, seat: int, share: float) -> float:
    """How far a credential is from a key: the nearest one is preferred (weighted rendezvous hashing).

    ``share`` is one by its weight. Nothing else matters, so that others come and go without moving what is between
    the rest.
    """
    mixed = (key ^ seat) * 0x9E3779B97F4A7C15 & _WORD
    mixed = (mixed ^ mixed >> 32) * 0xBF58476D1CE4E5B9 & _WORD
    return -math.log((mixed + 1) / _MOST) * share
