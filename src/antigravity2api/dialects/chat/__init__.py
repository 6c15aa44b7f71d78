"""OpenAI's Chat Completions."""

from __future__ import annotations

from antigravity2api.dialects.base import Encoder, Origin, Toolbox
from antigravity2api.dialects.chat.checks import check_chat
from antigravity2api.dialects.chat.encoder import ChatEncoder
from antigravity2api.dialects.chat.errors import chat_error
from antigravity2api.dialects.chat.params import own_param
from antigravity2api.dialects.chat.render import render_chat
from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.types import Response
from antigravity2api.gemini.usage import Usage


class ChatDialect:
    """Implements ``dialects.base.Dialect``."""

    name = "chat"

    def __init__(self) -> None:
        self._plans = Plans()

    def parse(self, body: bytes | bytearray, origin: Origin, box: Toolbox) -> Call:
        """The client's JSON body as a Call."""
        return parse_chat(body, origin, box, self._plans)

    def encoder(self, call: Call, origin: Origin, box: Toolbox, upstream: str) -> Encoder:
        """A fresh encoder for one attempt."""
        return ChatEncoder(call, origin, box, upstream)

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
        """The whole answer from a folded response."""
        return render_chat(call, response, origin, box, upstream, text=text, usage=usage)

    def check(self, call: Call, response: Response, box: Toolbox) -> tuple[str, ...]:
        """What has to be said about a whole answer. Raises ``Fault`` where it is not fit for the client."""
        return check_chat(call, response, box.validators)

    def blame(self, call: Call, fault: Fault) -> None:
        """Name the client's own field, or none."""
        fault.param = own_param(fault.param, call.said)

    def error(self, fault: Fault) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body before the first byte of an answer."""
        return chat_error(fault)


__all__ = ["ChatDialect"]
