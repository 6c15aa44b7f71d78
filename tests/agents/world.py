"""A strict upstream in a thread, which keeps account of everything it signs, and a gateway process in front of it."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from antigravity2api.sandbox import Sandbox
from antigravity2api.sandbox.app import Seen
from antigravity2api.sandbox.families import profile
from antigravity2api.sandbox.signing import Signer, is_escape

OWN_ID = re.compile(r"toolu_vrtx_01[0-9a-f]{22}|[a-z0-9]{8}")
"""Ids as this upstream gives them."""


@dataclass
class Ledger:
    """Every signature that was issued, and by whom: family and backend."""

    issued: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Signature → family, backend, kind of part."""

    def of(self, owner: tuple[str, str]) -> set[str]:
        return {signature for signature, (family, backend, _) in self.issued.items() if (family, backend) == owner}


class Upstream:
    """A sandbox on a thread of its own; use as a context manager."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.sandbox = _Accounting(self.ledger)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self.sandbox.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self.sandbox.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @property
    def url(self) -> str:
        return self.sandbox.base_url

    def gemini(self) -> dict[str, str]:
        """Settings for the Gemini API alone."""
        return {"GEMINI_API_KEY": "key", "GOOGLE_GEMINI_BASE_URL": self.url, "ANTIGRAVITY2API_COOLDOWN": "off"}

    def antigravity(self) -> dict[str, str]:
        """Settings for Antigravity alone."""
        return {
            "ANTIGRAVITY2API_ANTIGRAVITY": "on",
            "ANTIGRAVITY_BASE_URL": self.url,
            "ANTIGRAVITY_ACCESS_TOKEN": "token",
            "ANTIGRAVITY_PROJECT": "project-1",
            "ANTIGRAVITY2API_COOLDOWN": "off",
        }

    def seen(self) -> list[Sent]:
        """The generation requests since the last look."""
        made = []
        while self.sandbox.requests:
            seen = self.sandbox.requests.popleft()
            if "enerateContent" in seen.operation:
                made.append(Sent(seen))
        self.sandbox._kept_bytes = 0
        return made


@dataclass
class Sent:
    """A request as it reached the upstream."""

    seen: Seen

    @property
    def contents(self) -> list[dict[str, Any]]:
        body = self.seen.body
        found: list[dict[str, Any]] = (body["request"] if self.seen.wrapped else body)["contents"]
        return found

    @property
    def config(self) -> dict[str, Any]:
        body = self.seen.body
        found: dict[str, Any] = (body["request"] if self.seen.wrapped else body).get("generationConfig") or {}
        return found

    @property
    def owner(self) -> tuple[str, str]:
        """Whose signatures are good here: family and backend."""
        return profile(self.seen.model).family, "code-assist" if self.seen.wrapped else "gemini-api"

    @property
    def parts(self) -> list[dict[str, Any]]:
        return [part for content in self.contents for part in content["parts"]]

    @property
    def signatures(self) -> list[str]:
        """All signatures, escape values apart."""
        found = [part["thoughtSignature"] for part in self.parts if "thoughtSignature" in part]
        return [signature for signature in found if not is_escape(signature)]

    @property
    def escapes(self) -> int:
        return sum(is_escape(part.get("thoughtSignature", "")) for part in self.parts)

    @property
    def foreign_ids(self) -> list[str]:
        """Ids of calls that no upstream gave."""
        found = [part["functionCall"].get("id", "") for part in self.parts if "functionCall" in part]
        return [identity for identity in found if not OWN_ID.fullmatch(identity)]


class _Accounting(Sandbox):
    """The sandbox; what it signs is written down."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def _rules(self, *args: Any, **named: Any) -> Any:
        rules = super()._rules(*args, **named)
        backend = "code-assist" if rules.wrapped else "gemini-api"
        return dataclasses.replace(rules, signer=_Writing(rules.signer, self._ledger, rules.profile.family, backend))


class _Writing(Signer):
    def __init__(self, inner: Signer, ledger: Ledger, family: str, backend: str) -> None:
        self._key = inner._key
        self._ledger = ledger
        self._owner = family, backend

    def sign(self, part: Any, seed: bytes) -> str:
        made = super().sign(part, seed)
        kind = "thought" if part.get("thought") else next(iter(part.keys() - {"thoughtSignature"}))
        self._ledger.issued[made] = (*self._owner, kind)
        return made


class Check:
    """Looks at what reached the upstream after every turn of one agent."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.others = set(upstream.ledger.issued)
        self.signed: set[str] = set()
        upstream.seen()

    def turn(self) -> Sent:
        """One request went up, it was taken, and everything came home that its model had signed before."""
        (sent,) = self.upstream.seen()
        assert sent.seen.status < 400, sent.seen
        issued = self.upstream.ledger.issued
        due = {one for one in self.signed if issued[one][:2] == sent.owner}
        if sent.owner[0] == "claude" and "thinkingConfig" not in sent.config:
            due = set()  # its thoughts go back only where it thinks
        found = sent.signatures
        strange = [(issued.get(one), found.count(one)) for one in found if one not in due or found.count(one) > 1]
        assert not strange
        assert set(found) == due, [issued[one] for one in due.difference(found)]
        self.signed = issued.keys() - self.others
        return sent
