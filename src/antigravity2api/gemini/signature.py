"""Thought signatures: the opaque values that must return to the very part they came with.

Clients drop fields they do not know, so what a model signed is remembered here under keys the client does return: the
tool-call id we hand out, and a hash of name and arguments for clients that rewrite ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

ESCAPE = "skip_thought_signature_validator"
"""Google's documented last resort for calls that never had a signature (ai.google.dev, thought signatures)."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and where it is valid: the model family and the upstream that made it."""

    signature: str
    family: str
    upstream: str


class SignatureStore(Protocol):
    """The seam that a durable or shared store joins later. Both calls are quick and never raise."""

    def put(self, key: str, signed: Signed) -> None:
        """Remember ``signed`` under ``key`` (bounded; the oldest goes first)."""

    def get(self, key: str) -> Signed | None:
        """What was remembered under ``key``, or None."""
