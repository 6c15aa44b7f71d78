"""Where the thought signatures of a history come from: the client's own fields first, then what we remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat import fields
from antigravity2api.gemini.models import ModelProfile
from antigravity2api.gemini.signature import args_key, call_key, is_escape, same_signature, signature_bytes, usable

_FORMAT = "google-gemini"


class Signer:
    """Finds signatures for one request. Those of another model family or upstream are never handed back."""

    __slots__ = ("_family", "_moved", "_store", "_upstream", "_wanted")

    def __init__(self, profile: ModelProfile, origin: Origin, box: Toolbox) -> None:
        self._family = profile.family
        self._upstream = origin.upstream
        self._moved = origin.moved
        self._store = box.signatures
        self._wanted = profile.signatures != "none" or not profile.known

    def from_client(self, holder: Mapping[str, Any], path: str) -> str | None:
        """``extra_content.google.thought_signature`` as Google's own endpoint spells it."""
        extra = holder.get("extra_content")
        if extra is None:
            return None
        where = f"{path}.extra_content"
        google = fields.mapping(fields.item(extra, where), "google", where)
        if google is None:
            return None
        return self._usable(fields.text(google, "thought_signature", f"{where}.google"))

    def details(self, message: Mapping[str, Any], path: str) -> dict[str, str]:
        """Signatures in OpenRouter's ``reasoning_details``: by tool-call id, the nameless one under ``""``."""
        found: dict[str, str] = {}
        if message.get("reasoning_details") is None:
            return found
        calls = fields.array(message, "tool_calls", path)
        ids = {call["id"] for call in calls or () if isinstance(call, dict) and isinstance(call.get("id"), str)}
        for detail in fields.array(message, "reasoning_details", path) or ():
            if not isinstance(detail, dict) or detail.get("type") != "reasoning.encrypted":
                continue
            form, data, identity = detail.get("format"), detail.get("data"), detail.get("id")
            if isinstance(form, str) and not form.startswith(_FORMAT):
                continue
            signature = self._usable(data if isinstance(data, str) else None)
            if signature:
                found.setdefault(identity if isinstance(identity, str) and identity in ids else "", signature)
        return found

    def for_call(
        self,
        call: Mapping[str, Any],
        function: Mapping[str, Any],
        path: str,
        identity: str,
        name: str,
        args: dict[str, Any],
        position: int,
        details: Mapping[str, str],
    ) -> str | None:
        """The signature of one call, in the documented order of recovery; the escape value is not its business."""
        given = self.from_client(call, path)
        if given is None and function is not call:
            given = self.from_client(function, path)
        if given is None and details:
            given = details.get(identity) if identity else None
            if given is None and position == 0:
                given = details.get("")
        if not self._wanted:
            return None
        remembered = self._store.get(call_key(identity)) if identity else None
        if given is not None:
            foreign = (
                remembered is not None
                and same_signature(remembered.signature, given)
                and not usable(remembered, self._family, self._upstream)
            )
            return None if foreign else given
        if remembered is None:
            remembered = self._store.get(args_key(self._family, name, args, position))
        if remembered is not None and usable(remembered, self._family, self._upstream):
            return remembered.signature
        return None

    def _usable(self, signature: str | None) -> str | None:
        """None for what Google would refuse as corrupted, and for escape values: those are placed later, by rule.

        After a failover a value that only the client knows may be the other upstream's: what is ours is in the store.
        """
        if self._moved or not self._wanted or not signature or is_escape(signature):
            return None
        return signature if signature_bytes(signature) else None
