"""Thought signatures: the opaque values that must return to the very part they came with.

Clients drop fields they do not know, so what a model signed is remembered here under keys the client does return: the
tool-call id we hand out, and hashes of what was said: a call's name and arguments, a text, a thought, a picture. These
hashes belong to one conversation (``thread_of``): nobody's signature ever goes out with another's words.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

ESCAPE = "skip_thought_signature_validator"
"""Google's documented last resort for calls that never had a signature (ai.google.dev, thought signatures)."""

_ESCAPES = (b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go")
_URLSAFE = str.maketrans("-_", "+/")
_OVERHEAD = 400
"""Bytes of memory an entry costs beside its strings."""
_MOST_HIDDEN = 256 << 10


Thoughts = list[tuple[str, str]]
"""Signed thoughts of one answer: the text of each, and its signature."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and where it is valid: the model family and the upstream that made it.

    Beside it stands what the part needs to come back as it was. A call that nobody signed has an empty signature and is
    remembered for the rest.
    """

    signature: str
    family: str
    upstream: str
    call_id: str = ""
    """The id that the upstream itself gave the call."""
    step: str = ""
    """What the calls of one answer share; with ``place`` they find together again, however a client cut them up."""
    place: int = 0
    """Where the call stands in its answer; of a text: where in the whole text the signed part begins."""
    length: int = 0
    """Characters of the signed part of a text."""
    mark: str = ""
    """A hash of the arguments as they were handed out: a call that was edited since is no longer what was signed."""
    edges: tuple[str, str] = ("", "")
    """White space around a whole text, which clients trim."""
    hidden: str = ""
    """Words of the conversation, as ``concealed`` makes them: a store keeps them in memory or encrypted."""


def concealed(thoughts: Thoughts | None = None, args: dict[str, Any] | None = None) -> str:
    """Signed thoughts and original arguments as ``Signed.hidden``; ``""`` for nothing, or for more than is kept."""
    held: dict[str, Any] = {}
    if thoughts:
        held["thoughts"] = thoughts
    if args is not None:
        held["args"] = args
    if not held:
        return ""
    try:
        made = orjson.dumps(held).decode()
    except (TypeError, ValueError):  # integers past 64 bits, half surrogates
        made = json.dumps(held, separators=(",", ":"), default=str)
    return made if len(made) <= _MOST_HIDDEN else ""


def thoughts_of(signed: Signed) -> Thoughts:
    """The thoughts that stood before the call or text."""
    pairs = _revealed(signed).get("thoughts")
    pairs = pairs if isinstance(pairs, list) else []
    return [(pair[0], pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) == 2]


def args_of(signed: Signed) -> dict[str, Any] | None:
    """The arguments as the model wrote them, where they were handed out differently."""
    args = _revealed(signed).get("args")
    return args if isinstance(args, dict) else None


def _revealed(signed: Signed) -> dict[str, Any]:
    if not signed.hidden:
        return {}
    try:
        held = json.loads(signed.hidden)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


class SignatureStore(Protocol):
    """The seam that a durable or shared store joins later. The calls are quick and never raise."""

    def put(self, key: str, signed: Signed) -> None:
        """Remember ``signed`` under ``key`` (bounded; the oldest goes first)."""

    def get(self, key: str) -> Signed | None:
        """What was remembered under ``key``, or None."""

    def none_of(self, keys: Sequence[str]) -> bool:
        """Whether nothing is remembered under any of ``keys``: quicker than to ask for each."""


class MemorySignatures:
    """A store inside this process: bounded by entries, bytes and age; what was not used for longest goes first."""

    __slots__ = ("_bytes", "_clock", "_held", "_max_bytes", "_max_entries", "_ttl")

    def __init__(
        self,
        max_entries: int = 50_000,
        max_bytes: int = 64 << 20,
        ttl: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._held: OrderedDict[str, tuple[Signed, float]] = OrderedDict()
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """Bytes held, estimated."""
        return self._bytes

    def put(self, key: str, signed: Signed, *, age: float = 0.0) -> None:
        """Remember ``signed`` under ``key``; one that is larger than the whole store is not kept.

        ``age`` is how many seconds of its life are over already.
        """
        self._forget(key)
        cost = _cost(key, signed)
        if cost > self._max_bytes:
            return
        self._held[key] = (signed, self._clock() + self._ttl - age)
        self._bytes += cost
        while len(self._held) > self._max_entries or self._bytes > self._max_bytes:
            self._forget(next(iter(self._held)))

    def get(self, key: str) -> Signed | None:
        """What was remembered under ``key`` and is not too old, or None."""
        found = self._held.get(key)
        if found is None:
            return None
        signed, until = found
        if self._clock() >= until:
            self._forget(key)
            return None
        self._held.move_to_end(key)
        return signed

    def none_of(self, keys: Sequence[str]) -> bool:
        """Whether nothing is remembered under any of ``keys``."""
        return all(self.get(key) is None for key in keys)

    def _forget(self, key: str) -> None:
        found = self._held.pop(key, None)
        if found is not None:
            self._bytes -= _cost(key, found[0])


def _cost(key: str, signed: Signed) -> int:
    beside = len(signed.hidden) + len(signed.call_id) + len(signed.step)
    return len(key) + len(signed.signature) + beside + _OVERHEAD


def call_key(external_id: str) -> str:
    """The key of a tool call by the id that we handed out (or whatever id the client uses for it)."""
    return "call:" + (external_id if len(external_id) <= 128 else _digest(external_id.encode("utf-8", "replace")))


def args_key(thread: str, name: str, args: Any) -> str:
    """The key of a tool call by what it says, for clients that rewrite ids.

    Key order and 1 versus 1.0 make no difference; nor does the place in a message, which clients cut, join and reorder.
    """
    return "args:" + _digest(b"\0".join((thread.encode(), name.encode("utf-8", "replace"), _canonical(args))))


def args_mark(key: str, args: Any) -> str:
    """``Signed.mark`` for arguments as they stand, under the key of their call."""
    return hashlib.blake2b(key.encode("utf-8", "replace") + b"\0" + _canonical(args), digest_size=9).hexdigest()


def step_name(seed: str) -> str:
    """``Signed.step``: a name that tells nothing of what it was made of."""
    return hashlib.blake2b(seed.encode("utf-8", "replace"), digest_size=9, person=b"step").hexdigest()


def same_args(one: Any, other: Any) -> bool:
    """Whether two spellings of arguments say the same."""
    return _canonical(one) == _canonical(other)


def image_key(name: str) -> str:
    """The key of an image by the hex digest of its decoded bytes."""
    return "image:" + name


def text_key(thread: str, text: str, number: int = 0) -> str:
    """The key of an answer by its text, white space around it apart; ``number`` counts its signed parts."""
    said = text.strip().encode("utf-8", "replace")
    return "text:" + _digest(b"\0".join((thread.encode(), b"%d" % number, said)))


def thought_key(thread: str, text: str) -> str:
    """The key of a signed thought by its text."""
    return "thought:" + _digest(thread.encode() + b"\0" + text.strip().encode("utf-8", "replace"))


def thread_of(contents: Sequence[Mapping[str, Any]]) -> str:
    """A name for a conversation that its later requests share: its first text, as it goes up."""
    parts = contents[0].get("parts") if contents else None
    first = next((part["text"] for part in parts or () if isinstance(part.get("text"), str)), "")
    return thread_named(first)


def thread_named(first: str) -> str:
    """The same from the first text itself."""
    return _digest(first.encode("utf-8", "replace"))


def tagged(signed: Signed) -> str:
    """A signature with its family and upstream in one word, for shelves that keep a string."""
    return f"{signed.family} {signed.upstream} {signed.signature}"


def untagged(text: str) -> Signed | None:
    """What ``tagged`` made; None for anything else."""
    family, _, rest = text.partition(" ")
    upstream, _, signature = rest.partition(" ")
    return Signed(signature, family, upstream) if family and signature and " " not in signature else None


def signature_bytes(value: str) -> bytes | None:
    """The bytes behind a signature in either base64 alphabet, padded or not; None when it is no base64."""
    bare = value.rstrip("=").translate(_URLSAFE)
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:
        return None


def same_signature(one: str, other: str) -> bool:
    """Whether two spellings hold the same signature."""
    if one == other:
        return True
    decoded = signature_bytes(one)
    return decoded is not None and decoded == signature_bytes(other)


def is_escape(value: Any) -> bool:
    """Whether a value is one of Google's escape values, plain or (as Python's SDK sends it) in base64."""
    if not isinstance(value, str) or not 32 <= len(value) <= 64:
        return False
    return value.encode("utf-8", "replace") in _ESCAPES or signature_bytes(value) in _ESCAPES


def usable(signed: Signed | None, family: str, upstream: str) -> bool:
    """Whether a remembered signature may go to that model family on that upstream; ``""`` stands for any upstream."""
    if signed is None or signed.family != family:
        return False
    return signed.upstream == upstream or not upstream or not signed.upstream


def _canonical(value: Any) -> bytes:
    value = _plain_numbers(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers past 64 bits, half surrogates
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _plain_numbers(value: Any) -> Any:
    """The same value with integral floats as integers: JavaScript clients write 1 where Python writes 1.0."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: _plain_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(entry) for entry in value]
    return value


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
