"""What an answer signed, remembered under what clients return; and found again for the next request. Pure.

``Keeper`` sits in the answer, ``Recall`` in the request; both talk to a ``SignatureStore``. What is kept of a call: its
signature, the upstream's own id, its place among the calls of its step, a mark of its arguments, and with the first
call of a step the signed thoughts before it. What is kept of a text: each signed part, and where in the text it stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from antigravity2api.gemini.signature import (
    SignatureStore,
    Signed,
    Thoughts,
    args_key,
    args_mark,
    call_key,
    concealed,
    image_key,
    same_args,
    step_name,
    text_key,
    thought_key,
    thoughts_of,
    thread_named,
    thread_of,
    usable,
)

_MOST_PARTS = 64
"""Signed parts of one text that are remembered."""
_MOST_EDGE = 64
_LONGEST_ID = 200


class Keeper:
    """Remembers the signed parts of one answer. Calls are told in order, before their ids are shown."""

    __slots__ = (
        "_calls", "_contents", "_family", "_said", "_step", "_store", "_texts", "_thoughts", "_thread", "_upstream",
    )  # fmt: skip

    def __init__(
        self, store: SignatureStore, family: str, upstream: str, contents: Sequence[Mapping[str, Any]]
    ) -> None:
        self._store = store
        self._family = family
        self._upstream = upstream
        self._contents = contents
        self._thread: str | None = None
        self._step = ""
        self._calls = 0
        self._said: dict[str, int] = {}
        """How often the conversation has said each call of this answer so far."""
        self._thoughts: Thoughts = []
        self._texts: list[tuple[int, int, str]] = []

    def thought(self, text: str, signature: str) -> None:
        """A whole signed thought; its text may have been left out by the model."""
        self._thoughts.append((text, signature))
        edges = _edges(text)
        if text.strip() and len(edges[0]) + len(edges[1]) <= _MOST_EDGE:
            self._put(thought_key(self.thread, text), Signed(signature, self._family, self._upstream, edges=edges))

    def text(self, index: int, length: int, signature: str) -> None:
        """A signed part of the text: the piece of that index (the next one, where it is empty), and its length."""
        if len(self._texts) < _MOST_PARTS:
            self._texts.append((index, length, signature))

    def call(
        self, identity: str, name: str, handed: Any, call: Mapping[str, Any], signature: str | None, *, several: bool
    ) -> None:
        """A call under the id that the client gets for it, with the arguments as they are handed out.

        ``several``: the answer has more than one.
        """
        place, self._calls = self._calls, self._calls + 1
        own = call.get("id")
        call_id = own if isinstance(own, str) and len(own) <= _LONGEST_ID and own.isascii() else ""
        thoughts = self._thoughts if place == 0 else None
        if not (signature or call_id or thoughts or several):
            return
        original = call.get("args") or {}
        key = call_key(identity)
        self._step = self._step or step_name(key)
        signed = Signed(
            signature or "",
            self._family,
            self._upstream,
            call_id=call_id,
            step=self._step,
            place=place,
            mark=args_mark(key, handed),
            hidden=concealed(thoughts, original if signature and not same_args(original, handed) else None),
        )
        self._put(key, signed)
        said = args_key(self.thread, name, handed)
        if said not in self._said:
            self._said[said] = self._calls_before(said, name, handed, original)
        self._put(_nth(said, self._said[said]), signed)
        self._said[said] += 1

    def image(self, name: str, signature: str) -> None:
        """A signed picture, by the hash of its bytes."""
        self._put(image_key(name), Signed(signature, self._family, self._upstream))

    def close(self, pieces: Sequence[str], *, altered: bool = False) -> None:
        """The answer is complete; ``pieces`` are its text as the client has it, in the order of ``text``'s indices.

        ``altered``: the text went out differently from how it came, so only what stood behind it can be placed.
        """
        thoughts = self._thoughts if not self._calls else []
        if not self._texts and not thoughts:
            return
        whole = "".join(pieces)
        said = whole.strip()
        edges = _edges(whole)
        if not said or len(edges[0]) + len(edges[1]) > _MOST_EDGE:
            return  # nothing that a client returns would name it
        parts = [(0, 0, "")] if thoughts else []
        if altered:
            parts += [(len(whole), 0, signature) for _, length, signature in self._texts if not length]
        else:
            starts = [0]
            for piece in pieces:
                starts.append(starts[-1] + len(piece))
            parts += [(starts[index], length, signature) for index, length, signature in self._texts]
        earlier = sum(_text_of(content).strip() == said for content in self._contents if content.get("role") == "model")
        step = step_name("".join(signature for _, _, signature in parts)) if len(parts) > 1 else ""
        for number, (start, length, signature) in enumerate(parts):
            hidden = concealed(thoughts) if number == 0 else ""
            signed = Signed(
                signature, self._family, self._upstream,
                step=step, place=start, length=length, edges=edges, hidden=hidden,
            )  # fmt: skip
            self._put(_nth(text_key(self.thread, said, number), earlier), signed)

    def _calls_before(self, said: str, name: str, handed: Any, original: Any) -> int:
        """How often the conversation made the very same call before.

        One that was handed out differently stands there as its model wrote it.
        """
        count = 0
        for content in self._contents:
            for part in content.get("parts") or ():
                call = part.get("functionCall")
                if call is None or call.get("name") != name:
                    continue
                args = call.get("args") or {}
                if args == original != handed:
                    count += same_args(args, original)
                elif args == handed:
                    count += args_key(self.thread, name, args) == said
        return count

    @property
    def thread(self) -> str:
        """The name of the conversation."""
        if self._thread is None:
            self._thread = thread_of(self._contents)
        return self._thread

    def _put(self, key: str, signed: Signed) -> None:
        self._store.put(key, signed)


def _edges(text: str) -> tuple[str, str]:
    """The white space around a text."""
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def _nth(key: str, count: int) -> str:
    """A key for what is said again and again: the same words, the next signature."""
    return f"{key}:{count}" if count else key


def _text_of(content: Mapping[str, Any]) -> str:
    return "".join(part["text"] for part in content.get("parts") or () if "text" in part and not part.get("thought"))


class Recalled(NamedTuple):
    """What is known about a call of the history."""

    signed: Signed
    by_id: bool
    """Found by its id; else by what it says, which a later call may have said too."""
    fits: bool
    """Whether the call still says what it said when it was handed out."""


class Recall:
    """Finds what a ``Keeper`` remembered, for a request to one model family on one upstream."""

    __slots__ = ("_counts", "_family", "_store", "_texts", "_upstream", "foreign", "thread")

    def __init__(self, store: SignatureStore, family: str, upstream: str) -> None:
        self._store = store
        self._counts: dict[str, int] = {}
        """How often each thing was said so far, as far as it was looked up by what it says."""
        self._texts: dict[str, list[Signed]] = {}
        """What was found for the texts of the answer under way."""
        self._family = family
        self._upstream = upstream
        self.thread = ""
        """The conversation's name; to be set before anything is looked up by what it says."""
        self.foreign: set[str] = set()
        """Signatures met so far that belong to another family or upstream: a client may return them as well."""

    def next_answer(self) -> None:
        """Another answer of the conversation is looked at from here on; they are looked at in order."""
        self._texts.clear()

    def may_go(self, signed: Signed) -> bool:
        """Whether what was remembered may go to this family and upstream."""
        if usable(signed, self._family, self._upstream):
            return True
        if signed.signature:
            self.foreign.add(signed.signature)
        if signed.hidden:
            self.foreign.update(signature for _, signature in thoughts_of(signed))
        return False

    def call(self, identity: str, name: str, args: Any) -> Recalled | None:
        """A call by its id, else by what it says."""
        if identity:
            key = call_key(identity)
            signed = self._store.get(key)
            if signed is not None:
                fits = not signed.mark or signed.mark == args_mark(key, args)
                return Recalled(signed, by_id=True, fits=fits)
        key = args_key(self.thread, name, args)
        signed = self._store.get(_nth(key, self._count(key)))
        return None if signed is None else Recalled(signed, by_id=False, fits=True)

    def text(self, text: str) -> list[Signed]:
        """The signed parts of an earlier answer by its text, in order; none where they may not go to this model."""
        known = self._texts.get(text)
        if known is not None:
            return known
        found: list[Signed] = []
        self._texts[text] = found
        if not text or text.isspace():
            return found
        count = self._count(text_key(self.thread, text))
        while len(found) < _MOST_PARTS:
            signed = self._store.get(_nth(text_key(self.thread, text, len(found)), count))
            if signed is None or not self.may_go(signed) or (found and signed.step != found[0].step):
                break
            found.append(signed)
        return found

    def _count(self, key: str) -> int:
        count = self._counts[key] = self._counts.get(key, -1) + 1
        return count

    def thought(self, text: str) -> tuple[str, str] | None:
        """A thought as it came, by its text, and its signature."""
        signed = self._store.get(thought_key(self.thread, text)) if text else None
        if signed is None or not self.may_go(signed):
            return None
        before, behind = signed.edges
        return before + text.strip() + behind, signed.signature

    def image(self, name: str) -> str | None:
        """The signature of a picture by the hash of its bytes."""
        signed = self._store.get(image_key(name))
        return signed.signature if signed is not None and self.may_go(signed) else None


class TextKeys:
    """The keys of answers of late: a conversation shows all its earlier texts again with every turn.

    Found by Python's own hash of a text, which is seeded anew in every process, and costs a tenth of the key's; two
    texts of a process share one about as soon as two of the keys' own digests would if these had 64 bits.
    """

    __slots__ = ("_held", "_most")

    def __init__(self, most: int = 8192) -> None:
        self._most = most
        self._held: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, first: str, answers: Sequence[str]) -> list[str]:
        """The keys of a conversation's answers, given in order by their texts; ``first`` is its first text."""
        held = self._held
        keys = [held.get(hash((first, text))) or self._made(first, text) for text in answers]
        if len(keys) > 1 and len(set(keys)) < len(keys):
            counts: dict[str, int] = {}
            for place, key in enumerate(keys):
                count = counts[key] = counts.get(key, -1) + 1
                keys[place] = _nth(key, count)
        return keys

    def _made(self, first: str, text: str) -> str:
        if len(self._held) >= self._most:
            self._held.clear()
        key = self._held[hash((first, text))] = text_key(thread_named(first), text)
        return key


def cut(text: str, signed: Sequence[Signed]) -> list[tuple[str, str | None]] | None:
    """An answer's text as it came: pieces with their signatures, and unsigned ones between them.

    None where ``signed`` does not describe this text.
    """
    parts = [part for part in signed if part.signature]
    if not parts:
        return None
    before, behind = parts[0].edges
    whole = before + text.strip() + behind
    made: list[tuple[str, str | None]] = []
    at = 0
    for part in parts:
        end = part.place + part.length
        if part.place < at or end > len(whole):
            return None
        if part.place > at:
            made.append((whole[at : part.place], None))
        made.append((whole[part.place : end], part.signature))
        at = end
    if at < len(whole):
        made.append((whole[at:], None))
    return made
