"""One request being answered: what faults and the ordinary path need to answer in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from antigravity2api.sandbox.answers import Answer
from antigravity2api.sandbox.google import GoogleError, Json
from antigravity2api.sandbox.stream import events, unary
from antigravity2api.sandbox.wire import Connection, chunk, response_head

JSON_TYPE = "application/json; charset=UTF-8"
SSE_TYPE = "text/event-stream"
_SERVER = ("server", "antigravity2api-sandbox")


def encode(value: Any) -> bytes:
    """JSON on one line, spaced as Google's."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ": ")).encode("utf-8", "replace")


def _nothing() -> Answer:
    raise GoogleError(500, "No answer was prepared.")


@dataclass(frozen=True, slots=True)
class Timing:
    """The waits of a sandbox, in seconds."""

    pace: float = 0.0
    """Between the events of a stream."""
    beat: float = 0.2
    """Between the bytes or events of faults that drip."""
    stall: float = 600.0
    """How long a fault keeps silent before it gives up by itself."""


@dataclass(slots=True)
class Exchange:
    """The request's form and the connection to answer it on."""

    conn: Connection
    timing: Timing
    model: str
    stream: bool
    sse: bool
    wrapped: bool
    headers: Mapping[str, str]
    request: Json
    make_answer: Callable[[], Answer] = _nothing
    trace: str = ""
    resource: str = ""
    """The model's whole name, where Vertex AI was asked."""

    # values

    def chunks(self) -> list[Json]:
        """The ordinary answer's events, not wrapped; a single one for a request that does not stream."""
        answer = self.make_answer()
        return events(answer) if self.stream else [unary(answer)]

    def wrap(self, value: Json) -> Json:
        """An event in the envelope of the form that was asked for."""
        return {"response": value, "traceId": self.trace} if self.wrapped else value

    def frame(self, value: Any) -> bytes:
        """One server-sent event."""
        return b"data: " + encode(value) + b"\r\n\r\n"

    @property
    def streams_sse(self) -> bool:
        """Whether the answer is a stream of server-sent events."""
        return self.stream and self.sse

    def pieces(self, chunks: Iterable[Json]) -> list[bytes]:
        """The bytes of an answer's body, cut where Google would flush."""
        values = [self.wrap(value) for value in chunks]
        if not self.stream:
            body = json.dumps(values[0], indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            half = len(body) // 2
            return [body[:half], body[half:]]
        if self.sse:
            return [self.frame(value) for value in values]
        shown = [json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") for value in values]
        return [(b"[" if index == 0 else b",\r\n") + text for index, text in enumerate(shown)] + [b"\n]"]

    @property
    def content_type(self) -> str:
        """The type of an ordinary answer's body."""
        return SSE_TYPE if self.streams_sse else JSON_TYPE

    # writing

    async def send(
        self, status: int, body: bytes, content_type: str = JSON_TYPE, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer."""
        lines = [("content-type", content_type), ("content-length", str(len(body))), _SERVER, *headers]
        await self.conn.write(response_head(status, lines) + body)

    async def send_error(self, error: GoogleError) -> None:
        """Google's error body; a list of one where the answer would have been a list."""
        array = self.stream and not self.sse
        await self.send(error.code, error.body(array=array), headers=error.headers)

    async def start(self, *headers: tuple[str, str], status: int = 200, content_type: str | None = None) -> None:
        """The head of a chunked answer."""
        lines = [
            ("content-type", content_type or self.content_type),
            ("transfer-encoding", "chunked"),
            _SERVER,
            *headers,
        ]
        await self.conn.write(response_head(status, lines))

    async def piece(self, data: bytes) -> None:
        """One chunk."""
        await self.conn.write(chunk(data))

    async def end(self) -> None:
        """The end of a chunked answer."""
        await self.conn.write(b"0\r\n\r\n")

    async def play(self, chunks: list[Json]) -> None:
        """An answer made of these events, in the form that was asked for."""
        if not self.stream:
            await self.send(200, b"".join(self.pieces([folded(chunks)])))
            return
        await self.start()
        for number, data in enumerate(self.pieces(chunks)):
            if number and self.timing.pace:
                await self.conn.pause(self.timing.pace)
            await self.piece(data)
        await self.end()

    async def plain(self) -> None:
        """The ordinary answer."""
        await self.play(self.chunks())


def folded(chunks: list[Json]) -> Json:
    """Events joined into one response: parts in order, the last word on everything else."""
    if len(chunks) == 1:
        return chunks[0]
    result: Json = {}
    parts: list[Any] = []
    candidate: Json = {}
    for event in chunks:
        result.update({key: value for key, value in event.items() if key != "candidates"})
        for found in event.get("candidates") or ():
            if not isinstance(found, dict):
                return {**event}
            content = found.get("content")
            if isinstance(content, dict) and isinstance(content.get("parts"), list):
                parts += content["parts"]
            candidate.update({key: value for key, value in found.items() if key != "content"})
            candidate["content"] = content
    if not candidate:
        return result
    content = candidate.pop("content", None)
    if parts:
        content = {"parts": parts, "role": "model"}
    shown = candidate if content is None else {"content": content, **candidate}
    return {"candidates": [shown], **result}
