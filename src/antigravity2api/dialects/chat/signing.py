"""Where the thought signatures of a history come from: what we remembered, and what the client kept.

Our documented field is ``extra_content.google.thought_signature``, as Google's own endpoint spells it; a wrong type
there is refused. Other gateways and clients have spellings of their own (``brought``): those are read where they make
sense and passed over where they do not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat import fields
from antigravity2api.gemini.memory import Recall, cut
from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.signature import (
    Signed,
    Thoughts,
    is_escape,
    same_signature,
    signature_bytes,
    thoughts_of,
    untagged,
)

_FORMAT = "google-gemini"
_NAMES = ("thought_signature", "thoughtSignature")
_PLACES = (
    "provider_specific_fields",  # LiteLLM
    "providerOptions", "providerMetadata", "experimental_providerMetadata", "provider_options", "provider_metadata",
    "extra_content",
)  # fmt: skip
"""Where clients keep what belongs to a vendor: the signature itself, or an object by the vendor's name that has it."""
_IN_ID = "__thought__"
"""LiteLLM's mark in an id that has a signature behind it."""
_SHORTEST_IN_ID = 64
"""Characters of a signature in an id; a shorter rest is what a client left of one."""
_OPENAI = frozenset(
    "role content refusal annotations audio name tool_calls function_call "  # of messages
    "id type function custom arguments input".split()
)
"""Fields of OpenAI's own in messages, calls and functions: none of them holds a signature."""
_THINKING = ("thinking", "text", "reasoning", "summary", "content")
_MOST_READ = 256


@dataclass(slots=True)
class Brought:
    """The signatures that one message brings along in any spelling."""

    own: str | None = None
    """Of the message itself."""
    calls: dict[str, str] = field(default_factory=dict)
    """By the id of a call."""
    nameless: str | None = None
    """Of the message's first call, or of its text where it has none."""
    thoughts: Thoughts = field(default_factory=list)
    reasoning: str = ""
    """Thoughts in words alone."""


class Said(NamedTuple):
    """What a call says, and where it stands among the calls of its message."""

    identity: str
    name: str
    args: dict[str, Any]
    position: int


def wants_signatures(profile: ModelProfile) -> bool:
    """Whether the model has to do with signatures at all."""
    return profile.signatures != "none" or not profile.known


class Signer:
    """Finds signatures for one request. Those of another model family or upstream are never handed back."""

    __slots__ = ("_claude", "_moved", "recall", "wanted")

    def __init__(self, profile: ModelProfile, origin: Origin, box: Toolbox) -> None:
        self.recall = Recall(box.signatures, profile.family, origin.upstream)
        self.wanted = wants_signatures(profile)
        self._claude = profile.family == "claude"
        self._moved = origin.moved

    # -- what the client brought -----------------------------------------------------------------------------------

    def brought(self, message: Mapping[str, Any], path: str) -> Brought:
        """Everything in an assistant message that may be a signature. Raises ``Fault`` for our own field alone."""
        if message.keys() <= _OPENAI and not isinstance(message.get("content"), list):
            return Brought()
        found = Brought(own=self._acceptable(documented(message, path)))
        if not self.wanted:
            return found
        calls = message.get("tool_calls")
        names = {call["id"] for call in calls if _has_id(call)} if isinstance(calls, list) else set()
        for detail in _objects(message.get("reasoning_details")):
            self._take_detail(detail, names, found)
        for key in ("thinking_blocks", "reasoning", "reasoning_content", "reasoning_items", "content"):
            for block in _objects(message.get(key)):
                self._take_block(block, names, found)
        for key in ("reasoning_content", "reasoning"):
            words = message.get(key)
            if isinstance(words, str) and words and not found.reasoning:
                found.reasoning = words
        loose = self._acceptable(spelled(message))
        if found.own is None:
            found.nameless = found.nameless or loose
        if self._claude:  # it signs thoughts alone: whatever stands beside them is another's
            found.own = found.nameless = None
        return found

    def _take_detail(self, detail: dict[str, Any], names: set[str], found: Brought) -> None:
        """OpenRouter's ``reasoning_details``; a format names the vendor, none may be anybody's."""
        form = detail.get("format")
        if detail.get("type") == "reasoning.encrypted":
            if isinstance(form, str) and not form.startswith(_FORMAT):
                return
            self._take(detail.get("data"), detail.get("id"), names, found)
        elif detail.get("type") == "reasoning.text":
            self._take_thought(detail.get("text"), detail.get("signature"), found)

    def _take_block(self, block: dict[str, Any], names: set[str], found: Brought) -> None:
        """Thinking blocks, reasoning items, and content parts with either."""
        kind = block.get("type")
        if kind not in ("thinking", "reasoning"):
            return
        if isinstance(block.get("encrypted_content"), str):
            self._take(block["encrypted_content"], block.get("call_id") or block.get("id"), names, found)
            return
        signature = block.get("signature")
        words = next((block[key] for key in _THINKING if isinstance(block.get(key), str)), "")
        self._take_thought(words, signature if isinstance(signature, str) else spelled(block), found)

    def _take(self, value: Any, identity: Any, names: set[str], found: Brought) -> None:
        signature = self._acceptable(value if isinstance(value, str) else None)
        if signature is None:
            return
        if isinstance(identity, str) and identity in names:
            found.calls.setdefault(identity, signature)
        elif found.nameless is None:
            found.nameless = signature

    def _take_thought(self, words: Any, value: Any, found: Brought) -> None:
        signature = self._acceptable(value if isinstance(value, str) else None)
        if signature is not None and isinstance(words, str):
            found.thoughts.append((words, signature))

    def _acceptable(self, signature: str | None) -> str | None:
        """None for what Google would refuse as corrupted, and for escape values: those are placed later, by rule.

        After a failover a value that only the client knows may be the other upstream's: what is ours is in the store.
        """
        if self._moved or not self.wanted or not signature or is_escape(signature):
            return None
        return signature if signature_bytes(signature) else None

    # -- what goes up ----------------------------------------------------------------------------------------------

    def for_call(
        self, call: Mapping[str, Any], function: Mapping[str, Any], path: str, said: Said, brought: Brought
    ) -> tuple[str | None, Signed | None]:
        """The signature of one call, and what else is remembered of it; the escape value is not its business."""
        given = self._acceptable(documented(call, path))
        if given is None and function is not call:
            given = self._acceptable(documented(function, path))
        if not self.wanted:
            return None, None
        known = self.recall.call(said.identity, said.name, said.args)
        if known is not None and not self.recall.may_go(known.signed):
            # Whatever the client brings is of that call as well. Which calls were one answer is true for any model.
            return None, Signed("", "", "", step=known.signed.step, place=known.signed.place)
        if known is not None and known.by_id:
            return (known.signed.signature or None) if known.fits else None, known.signed
        if given is None:
            given = self._loose(call, function, said, brought)
        if given is None or self.is_foreign(given) or self._claude:  # Claude signs thoughts, never calls
            return (known.signed.signature or None, known.signed) if known is not None else (None, None)
        return given, known.signed if known is not None else None

    def _loose(self, call: Mapping[str, Any], function: Mapping[str, Any], said: Said, brought: Brought) -> str | None:
        """What another gateway's spelling says about one call."""
        given = None
        if not (call.keys() <= _OPENAI and function.keys() <= _OPENAI):
            given = spelled(call) or spelled(function)
        if given is None:
            given = _behind_id(call.get("id"))
        given = self._acceptable(given) or brought.calls.get(said.identity)
        if given is not None or said.position:
            return given
        if brought.nameless is not None:
            return brought.nameless
        if self._claude:
            return None
        # Thinking blocks stand for the answer of which the call is the first part, unless they are known as another's.
        for words, signature in brought.thoughts:
            if self.recall.thought(words) is None and not self.is_foreign(signature):
                return signature
        return None

    def is_foreign(self, signature: str) -> bool:
        """Whether a signature is known to be another family's or upstream's."""
        return any(same_signature(signature, foreign) for foreign in self.recall.foreign)

    def pieces(self, text: str) -> list[tuple[str, str | None]]:
        """A text of an earlier answer, cut into the parts as which it came."""
        return (cut(text, self.recall.text(text)) if self.wanted else None) or [(text, None)]

    def signs(self, text: str) -> bool:
        """Whether a signed answer with this text is remembered."""
        return self.wanted and bool(self.recall.text(text))

    def of_part(self, part: Mapping[str, Any]) -> str | None:
        """What the client says about one part of an answer's text."""
        signature = None if self._claude else self._acceptable(spelled(part))
        return None if signature is None or self.is_foreign(signature) else signature

    def of_image(self, data: str) -> str | None:
        """The signature of a picture, by its base64."""
        return self.recall.image(hashlib.sha256(base64.b64decode(data)).hexdigest())

    def of_shelf(self, kept: str) -> str | None:
        """The signature that lies on the shelf beside a picture; one without a tag may be anybody's."""
        signed = untagged(kept)
        if signed is None:
            return self._acceptable(kept)
        return signed.signature if self.recall.may_go(signed) else None

    def keeps(self, part: Mapping[str, Any]) -> bool:
        """Whether a thought among the parts of a message is signed, so that it may go back."""
        signature = part.get("signature")
        return self._acceptable(signature if isinstance(signature, str) else spelled(part)) is not None

    def thoughts(self, brought: Brought, said: str, call: Signed | None) -> Thoughts:
        """The signed thoughts that stood before an answer, by its first call, its text, or what the client kept."""
        if not self.wanted:
            return []
        kept = thoughts_of(call) if call is not None else []
        if not kept and said:
            kept = next((thoughts_of(signed) for signed in self.recall.text(said)[:1]), [])
        if not kept:
            kept = self._kept_thoughts(brought)
        return kept

    def _kept_thoughts(self, brought: Brought) -> Thoughts:
        found: Thoughts = []
        for words, signature in brought.thoughts:
            known = self.recall.thought(words)
            if known is not None:
                found.append(known)
            elif self._claude and not self.is_foreign(signature):
                found.append((words, signature))
        if not found and brought.reasoning:
            known = self.recall.thought(brought.reasoning)
            if known is not None:
                found.append(known)
        return found


def documented(holder: Mapping[str, Any], path: str) -> str | None:
    """``extra_content.google.thought_signature``. Raises ``Fault`` for a wrong type."""
    extra = holder.get("extra_content")
    if extra is None:
        return None
    where = f"{path}.extra_content"
    google = fields.mapping(fields.item(extra, where), "google", where)
    return None if google is None else fields.text(google, "thought_signature", f"{where}.google")


def spelled(holder: Mapping[str, Any]) -> str | None:
    """A signature in any of the spellings that other gateways and clients use; None for wrong types."""
    found = _named(holder)
    for place in _PLACES:
        inner = holder.get(place)
        if found is None and isinstance(inner, dict):
            found = _named(inner) or next((_named(value) for value in _values(inner) if _named(value)), None)
    return found


def _named(holder: Mapping[str, Any]) -> str | None:
    for name in _NAMES:
        value = holder.get(name)
        if isinstance(value, str) and value:
            return value
    several = holder.get("thought_signatures")
    if isinstance(several, list):
        return next((value for value in several if isinstance(value, str) and value), None)
    return None


def _values(holder: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (value for value in holder.values() if isinstance(value, dict))


def bare_id(identity: str) -> str:
    """An id without the signature that another gateway put behind it."""
    return identity.partition(_IN_ID)[0] if _IN_ID in identity else identity


def _behind_id(identity: Any) -> str | None:
    if not isinstance(identity, str) or _IN_ID not in identity:
        return None
    signature = identity.partition(_IN_ID)[2]
    return signature if len(signature) >= _SHORTEST_IN_ID else None


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return [item for item in value[:_MOST_READ] if isinstance(item, dict)] if isinstance(value, list) else []


def _has_id(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("id"), str)
