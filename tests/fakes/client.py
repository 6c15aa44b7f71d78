"""A plain HTTP/1.1 client on a socket: it says exactly what it is told and shows exactly what came."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

CHAT = "/v1/chat/completions"
Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = True
    """False when the connection broke before the framing said that the body was over."""

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` object of the body."""
        made: dict[str, Any] = self.json["error"]
        return made

    @property
    def data(self) -> list[str]:
        """The data of each server-sent event."""
        frames = self.body.decode().replace("\r\n", "\n").split("\n\n")
        return [f.removeprefix("data: ") for f in frames if f.startswith("data: ")]

    @property
    def chunks(self) -> list[Any]:
        """Each event's JSON, without the end marker."""
        return [orjson.loads(d) for d in self.data if d != "[DONE]"]

    @property
    def text(self) -> str:
        """All content of the first choice, streamed or not."""
        if self.body.startswith(b"{"):
            return self.json["choices"][0]["message"]["content"] or ""
        return "".join(
            c["choices"][0]["delta"].get("content", "") for c in self.chunks if c.get("choices") and "error" not in c
        )


@dataclass(slots=True)
class Connection:
    """One connection to a server on loopback."""

    port: int
    timeout: float = 20.0
    host: str = "127.0.0.1"
    sock: socket.socket = field(init=False)
    _buffer: bytes = b""

    def __post_init__(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), self.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close at once."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Write these bytes."""
        self.sock.sendall(data)

    def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> None:
        """Write a request with a Host and, where there is a body, its length."""
        self.send(compose(method, target, (("Host", f"localhost:{self.port}"), *headers), body))

    def head(self) -> Reply:
        """Read up to the end of the head (interim answers are skipped)."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                if not self._more():
                    raise ConnectionError(f"closed before a head was complete: {self._buffer[:200]!r}")
            head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            first, *lines = head.decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
            if status >= 200:
                return Reply(status, [(n, v.strip()) for n, v in (line.split(":", 1) for line in lines)])

    def read(self, method: str = "POST") -> Reply:
        """Read a whole answer."""
        reply = self.head()
        reply.body = b"".join(self.pieces(reply, method))
        return reply

    def pieces(self, reply: Reply, method: str = "POST") -> Iterator[bytes]:
        """The body behind ``reply``, piece by piece as it comes; ``reply.complete`` tells how it ended."""
        if method == "HEAD" or reply.status in (204, 304):
            return
        if "chunked" in (reply.header("transfer-encoding") or ""):
            yield from self._chunked(reply)
            return
        length = reply.header("content-length")
        left = int(length) if length is not None else None
        while left is None or left > 0:
            if not self._buffer and not self._more():
                reply.complete = left is None
                return
            piece = self._buffer if left is None else self._buffer[:left]
            self._buffer = self._buffer[len(piece) :]
            left = None if left is None else left - len(piece)
            yield piece

    def events(self, reply: Reply) -> Iterator[str]:
        """The frames of an event stream as they come: data without its prefix, comments with their colon."""
        text = b""
        for piece in self.pieces(reply):
            text = (text + piece).replace(b"\r\n", b"\n")
            while b"\n\n" in text:
                one, text = text.split(b"\n\n", 1)
                yield one.decode().removeprefix("data: ")

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        while self._more():
            pass
        made, self._buffer = self._buffer, b""
        return made

    def closed_within(self, seconds: float) -> bool:
        """Whether the other side closes within that time, whatever it still says."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                if not self._more():
                    return True
            except TimeoutError:
                return False
        return False

    def _chunked(self, reply: Reply) -> Iterator[bytes]:
        while True:
            line = self._line()
            if line is None:
                reply.complete = False
                return
            size = int(line.split(b";")[0], 16)
            if size == 0:
                self._line()
                return
            while len(self._buffer) < size + 2:
                if not self._more():
                    reply.complete = False
                    yield self._buffer[:size]
                    return
            piece, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
            yield piece

    def _line(self) -> bytes | None:
        while b"\r\n" not in self._buffer:
            if not self._more():
                return None
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return False
        self._buffer += data
        return bool(data)


def compose(method: str, target: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """The bytes of a request; ``Content-Length`` is added unless the headers frame the body themselves."""
    named = {n.lower() for n, _ in headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers)]
    if (body or method == "POST") and not named & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def bearer(key: str) -> Headers:
    """The header that carries a client key."""
    return (("Authorization", f"Bearer {key}"),)


def call(
    port: int,
    method: str,
    target: str,
    *,
    key: str | None = None,
    body: Any = None,
    headers: Headers = (),
    timeout: float = 20.0,
) -> Reply:
    """One request on its own connection, its answer read to the end."""
    sent = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    extra: Headers = (("Content-Type", "application/json"),) if body is not None else ()
    if any(n.lower() == "content-type" for n, _ in headers):
        extra = ()
    auth = bearer(key) if key is not None else ()
    with Connection(port, timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an early refusal is still an answer
            connection.request(method, target, (*auth, *extra, *headers, ("Connection", "close")), sent)
        return connection.read(method)


def chat(
    port: int, text: str = "Hello", *, key: str = "sk-text", timeout: float = 20.0, headers: Headers = (), **fields: Any
) -> Reply:
    """One chat completion; ``fields`` join or replace those of the body."""
    body = {"model": "gemini-2.0-flash-exp", "messages": [{"role": "user", "content": text}], **fields}
    return call(port, "POST", CHAT, key=key, body=body, headers=headers, timeout=timeout)
