"""The seam to backends: wrap a Call, unwrap an event, say what an error means. Pure; sockets are in ``transport``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.schema import Target
from antigravity2api.gemini.types import Chunk


class Address(NamedTuple):
    """Where an upstream lives, from configuration alone; nothing of a request can change it."""

    host: str
    port: int
    tls: bool
    prefix: str = ""
    """Path in front of every target, without a slash at its end (reverse proxies)."""


class HttpRequest(NamedTuple):
    """One HTTP/1.1 request, ready to send. ``headers`` without Host, Content-Length and Connection."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    notes: tuple[str, ...] = ()
    """What the upstream's form made us change or drop, for ``x-antigravity2api-applied``."""
    address: Address | None = None
    """Where this request goes, if not to the upstream's own address: a credential may have a place of its own."""
    loosened: Mapping[str, tuple[str, ...]] | None = None
    """Whose schema (a tool's upstream name, ``response_format``) says less than the client's, and by which keywords."""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.target})"  # headers hold secrets, the body holds prompts


class Upstream(Protocol):
    """A backend that serves GenerateContent."""

    name: str
    address: Address
    schema_form: Target
    """How schemas are written unless a call says otherwise."""
    thoughts_may_end: bool
    """Whether a turn of thoughts alone may end without a finish reason (see ``gemini.fold.Ending``)."""

    continues: bool
    """Whether a request can go on with the ``continuationToken`` of an answer."""

    def lists(self, model: str) -> bool:
        """Whether the model is known to be served here; an unknown name goes to the first upstream all the same."""

    def prepare(self, call: Call, credential: Credential) -> HttpRequest:
        """The request to send; the same bytes for the same input, but for an envelope's fresh request id. Raises
        ``Fault``. The schema form is ``call.schema_target`` or the upstream's own default."""

    def unwrap(self, event: Any) -> Chunk:
        """A decoded event as a GenerateContentResponse. Raises ``Fault`` for an error object or a wrong type."""

    def classify(self, status: int, headers: Mapping[str, str], body: bytes, *, secrets: tuple[str, ...] = ()) -> Fault:
        """What a non-200 answer means. Header names are lower case; ``secrets`` never appear in the message."""


class Sink(Protocol):
    """Who receives an upstream's answer. All calls are synchronous, in order; exactly one of the last two ends it."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None: ...

    def on_data(self, data: bytes) -> None:
        """Decoded body bytes as they came; never empty."""

    def on_end(self) -> None:
        """The body is complete by its own framing."""

    def on_error(self, fault: Fault) -> None:
        """The exchange failed: UNREACHABLE before a head (also when connecting takes too long), TRUNCATED or BAD_ANSWER
        after it, BAD_ANSWER for what is no HTTP."""


class Exchange(Protocol):
    """An upstream request under way."""

    def pause(self) -> None:
        """Stop reading (the client is slow)."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Give up at once; no callback comes after it. Idempotent."""


class Transport(Protocol):
    """The only thing that opens a socket to an upstream."""

    def open(self, address: Address, request: HttpRequest, sink: Sink) -> Exchange:
        """Send the request, on a kept connection if there is one. Returns at once; ``sink`` hears the rest.

        A kept connection that turns out dead before any byte of an answer is replaced unseen (once)."""

    async def close(self) -> None:
        """Close every connection."""
