"""The seam to client languages. A dialect is pure: values in, values out; no sockets, no clock but ``ids``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.memory import TextKeys
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.signature import SignatureStore
from antigravity2api.gemini.types import Chunk, Response
from antigravity2api.gemini.usage import Usage
from antigravity2api.gemini.validation import Validators


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A generated image on its way back upstream: base64 in the standard alphabet."""

    mime_type: str
    data: str
    signature: str | None


class ImageShelf(Protocol):
    """Where generated images are kept between turns."""

    def put(self, data: bytes, mime_type: str, signature: str | None) -> str:
        """Keep the bytes and return the path a client can GET: ``/images/{id}.{ext}``. Raises OSError."""

    def get(self, path: str) -> StoredImage | None:
        """The image behind a path that ``put`` returned, or None when it is unknown or expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """The knobs that translation depends on; made once from ``settings``."""

    temperature: float = 1.0
    top_p: float = 0.85
    top_k: int = 50
    max_tokens: int = 8096
    headroom: bool = True
    show_thoughts: bool = True
    strict_params: bool = False
    mid_system: str = "inline"
    filler: str = "(continued)"
    max_n: int = 4
    images: str = "url"
    image_base_url: str | None = None
    images_extra: bool = False
    fetch_images: bool = False
    system_instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a dialect may use beside its input."""

    models: ModelTable
    signatures: SignatureStore
    images: ImageShelf
    settings: ChatSettings
    validators: Validators = field(default_factory=Validators)
    text_keys: TextKeys = field(default_factory=TextKeys)


class Origin(NamedTuple):
    """How the client reached us, as far as translation cares.

    ``base_url`` is such as ``http://localhost:8045``, ``engine`` the model in an old SDK's path, ``upstream`` the name
    of the upstream that will most likely serve (signatures).
    """

    base_url: str
    engine: str | None = None
    upstream: str = ""
    moved: bool = False
    """Another upstream was asked before: a signature of unknown origin may be its own, and stays here."""


class Encoder(Protocol):
    """One per stream. Output is complete frames of the dialect's event stream.

    ``feed`` may return ``b""`` while nothing is worth sending (usage only, held tool calls): until it has returned
    bytes nothing was sent and the whole encoder may be thrown away for another attempt. ``feed`` and ``finish`` raise
    ``Fault`` when the answer turns out malformed, empty or cut; the caller then calls ``fail`` if bytes were sent.
    """

    accept_empty: bool
    """Whether an answer that stopped without any part is honest (set by the gateway after one retry)."""
    thoughts_may_end: bool
    """Whether a turn of thoughts alone may end without a finish reason (a habit of the upstream)."""

    @property
    def applied(self) -> Sequence[str]:
        """What was changed in the answer so far, or has to be said about it."""

    def feed(self, chunk: Chunk) -> bytes: ...

    @property
    def members(self) -> int:
        """What the text of the next event has to be so that it may go to ``more``: of a part with one member (a text)
        or with two (a thought). 0 where none may."""

    def more(self, text: str) -> bytes:
        """``feed`` for an event that is known to be nothing but one more piece of the text or thought under way, and
        perhaps counters, which ``counted`` gets."""

    def counted(self, meta: Any) -> None:
        """The ``usageMetadata`` of the last of several events whose texts went to ``more``."""

    def finish(self) -> bytes:
        """The end of a stream that ended cleanly: finish, usage if asked, end marker."""

    def fail(self, fault: Fault) -> bytes:
        """The dialect's error event; nothing follows it."""

    def ping(self) -> bytes:
        """A comment that clients ignore."""

    @property
    def usage(self) -> Mapping[str, Any]:
        """The merged ``usageMetadata`` seen so far."""


class Dialect(Protocol):
    """A client language."""

    name: str

    def parse(self, body: bytes | bytearray, origin: Origin, box: Toolbox) -> Call:
        """The client's JSON body as a Call. Raises ``Fault`` with the path of the field at fault."""

    def encoder(self, call: Call, origin: Origin, box: Toolbox, upstream: str) -> Encoder:
        """A fresh encoder for one attempt at ``upstream``."""

    def render(
        self,
        call: Call,
        response: Response,
        origin: Origin,
        box: Toolbox,
        upstream: str,
        *,
        text: str | None = None,
        usage: Usage | None = None,
    ) -> bytes:
        """The whole answer from a folded response, through the same mapping as the stream. Raises ``Fault``.

        Whoever has looked already says what the response's ``fold.plain_text`` and ``usage.usage_of`` are."""

    def check(self, call: Call, response: Response, box: Toolbox) -> tuple[str, ...]:
        """What has to be said about a whole answer. Raises ``Fault`` where it is not fit for the client, while another
        attempt is still possible."""

    def blame(self, call: Call, fault: Fault) -> None:
        """Make ``fault.param`` the field of this client's request that an upstream complains about, if it is one."""

    def error(self, fault: Fault) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body for a fault before the first byte."""
