"""``ScriptedUpstream``: an HTTP server on loopback that plays what a test wrote down, byte for byte.

It runs its own event loop in a thread, so synchronous and asynchronous tests use it alike::

    with ScriptedUpstream() as upstream:
        upstream.play(error(429, "slow down"), sse(text_events("Hel", "lo")))
        ...
        assert upstream.requests[1].json["contents"]
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Wait until the test opens the gate (or the client goes away)."""

    event: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Let the answer go on."""
        self.event.set()


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more until the client goes away or the server stops."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in an orderly way, whatever the framing promised."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST)."""


Step = bytes | Delay | Gate | Hang | Close | Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. ``framing``: ``length``, ``chunked``, ``close`` (ends with the connection) or ``raw`` (the steps are
    the whole answer, head included). ``first`` steps are played before the head."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    framing: str = "length"
    first: tuple[Step, ...] = ()


@dataclass(slots=True)
class Recorded:
    """A request as it arrived."""

    number: int
    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed the connection before the answer was complete."""
    gone_at: float | None = None
    done: threading.Event = field(default_factory=threading.Event)
    """Set when the answer was played to its end, or the client had gone."""

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def model(self) -> str:
        """The model named by a ``…/models/{model}:method`` target."""
        return self.target.split("/models/", 1)[-1].split(":", 1)[0]

    @property
    def streams(self) -> bool:
        """Whether an event stream was asked for."""
        return ":streamGenerateContent" in self.target


Script = Answer | Callable[[Recorded], Answer]


class ScriptedUpstream:
    """Plays scripts: first the rules of ``when`` in order, then the queue of ``play``, then ``default``."""

    def __init__(self, default: Script | None = None) -> None:
        self.requests: list[Recorded] = []
        self.default = default
        self._queue: deque[Script] = deque()
        self._rules: list[tuple[Callable[[Recorded], bool], Script]] = []
        self._arrived = threading.Condition()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="scripted-upstream", daemon=True)
        self._thread.start()
        self._started.wait(5)

    @property
    def url(self) -> str:
        """Root for ``GOOGLE_GEMINI_BASE_URL``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return self._connections

    def play(self, *answers: Script) -> None:
        """Queue answers for the requests to come, first in first out."""
        self._queue.extend(answers)

    def when(self, predicate: Callable[[Recorded], bool], answer: Script) -> None:
        """Answer every request that fits ``predicate`` with ``answer``."""
        self._rules.append((predicate, answer))

    def reset(self) -> None:
        """Forget scripts and recordings."""
        self._queue.clear()
        self._rules.clear()
        with self._arrived:
            self.requests.clear()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Recorded]:
        """The first ``count`` requests, as soon as they are there."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise AssertionError(f"{len(self.requests)} of {count} requests arrived in {timeout} s")
            return self.requests[:count]

    def stop(self) -> None:
        """Close every connection and end the thread. Idempotent."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(self._protocol, sock=self._socket))
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            while tasks := asyncio.all_tasks(self._loop):  # each may have begun others, which it waits for
                for task in tasks:
                    task.cancel()
                _, late = self._loop.run_until_complete(asyncio.wait(tasks, timeout=2.0))
                if late:
                    break
            self._loop.run_until_complete(asyncio.sleep(0.01))  # what they closed is closed with the next turns
            self._loop.close()

    def _protocol(self) -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(_Reader(1 << 26, self._loop), self._serve, loop=self._loop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection = self._connections
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self._exchange(reader, writer, connection):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        """One request and its answer; whether the connection may serve another."""
        record = await self._read(reader, connection)
        if record is None:
            return False
        script = self._choose(record)
        answer = script(record) if callable(script) else script
        player = asyncio.ensure_future(self._play(writer, answer))
        watcher = asyncio.ensure_future(_gone(reader).wait())
        try:
            await asyncio.wait({player, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not player.done():
                record.gone_at = time.monotonic()
                record.gone.set()
                return False
            return player.result()
        except ConnectionError:  # noticed while writing
            record.gone_at = time.monotonic()
            record.gone.set()
            return False
        finally:
            for task in (player, watcher):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task
            record.done.set()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Recorded | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(n, v.strip()) for n, v in (line.split(":", 1) for line in lines if line)]
        names = {n.lower(): v for n, v in headers}
        if names.get("expect", "").lower() == "100-continue":
            raise ConnectionError("the gateway has no reason to wait for a 100")
        if "chunked" in names.get("transfer-encoding", ""):
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(names.get("content-length", "0")))
        with self._arrived:
            record = Recorded(len(self.requests), connection, method, target, headers, body)
            self.requests.append(record)
            self._arrived.notify_all()
        return record

    def _choose(self, record: Recorded) -> Script:
        for predicate, script in self._rules:
            if predicate(record):
                return script
        if self._queue:
            return self._queue.popleft()
        if self.default is not None:
            return self.default
        return error(501, "the test scripted no answer for this request")

    async def _play(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        for step in answer.first:
            if not await _step(writer, step):
                return False
        chunked = answer.framing == "chunked"
        if answer.framing != "raw":
            writer.write(_head(answer))
        for step in answer.steps:
            framed = b"%x\r\n%b\r\n" % (len(step), step) if chunked and isinstance(step, bytes) else step
            if not await _step(writer, framed):
                return False
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return answer.framing in ("length", "chunked")


async def _step(writer: asyncio.StreamWriter, step: Step) -> bool:
    """Do one step; False when the connection is over."""
    match step:
        case bytes():
            writer.write(step)
            await writer.drain()
            await asyncio.sleep(0)
        case Delay(seconds):
            await asyncio.sleep(seconds)
        case Gate(event):
            while not event.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.005)
        case Hang():
            await asyncio.Event().wait()
        case Close():
            return False
        case Reset():
            await asyncio.sleep(0.02)  # what was written before must leave the socket, or the reset swallows it
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
    return True


def _head(answer: Answer) -> bytes:
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Odd"
    headers = list(answer.headers)
    if answer.framing == "length":
        length = sum(len(step) for step in answer.steps if isinstance(step, bytes))
        headers.append(("Content-Length", str(length)))
    elif answer.framing == "chunked":
        headers.append(("Transfer-Encoding", "chunked"))
    else:
        headers.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Reader(asyncio.StreamReader):
    """A reader that tells at once, without taking a byte, that the other side has closed."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


def _gone(reader: asyncio.StreamReader) -> asyncio.Event:
    assert isinstance(reader, _Reader)
    return reader.gone


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


# What Google's API answers.


def text_events(
    *texts: str,
    finish: str | None = "STOP",
    usage: tuple[int, int] | None = (10, 20),
    model: str = "gemini-2.0-flash-exp",
) -> list[dict[str, Any]]:
    """One event a text; the last one has the finish reason and the totals."""
    events: list[dict[str, Any]] = [parts_event({"text": text}, model=model) for text in texts]
    if finish is not None:
        events[-1]["candidates"][0]["finishReason"] = finish
    if usage is not None:
        events[-1]["usageMetadata"] = usage_of(*usage)
    return events


def parts_event(
    *parts: dict[str, Any],
    finish: str | None = None,
    usage: tuple[int, int] | None = None,
    model: str = "gemini-2.0-flash-exp",
) -> dict[str, Any]:
    """One event with these parts."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    event: dict[str, Any] = {"candidates": [candidate], "modelVersion": model, "responseId": "r1"}
    if usage is not None:
        event["usageMetadata"] = usage_of(*usage)
    return event


def usage_of(prompt: int, candidates: int, thoughts: int = 0) -> dict[str, int]:
    """Totals as Google counts them."""
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt + candidates + thoughts,
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return usage


def frame(event: Any, eol: str = "\r\n") -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + (eol * 2).encode()


def sse(
    events: Iterable[Any],
    *,
    eol: str = "\r\n",
    cut: int | None = None,
    framing: str = "chunked",
    status: int = 200,
    after: tuple[Step, ...] = (),
    between: tuple[Step, ...] = (),
    first: tuple[Step, ...] = (),
) -> Answer:
    """A stream of events. ``cut`` re-slices its bytes into pieces of that size; ``between`` stands between two events,
    ``after`` behind the last, ``first`` in front of the head."""
    frames = [frame(event, eol) for event in events]
    return sse_bytes(frames, cut=cut, framing=framing, status=status, after=after, between=between, first=first)


def sse_bytes(
    frames: Iterable[bytes],
    *,
    cut: int | None = None,
    framing: str = "chunked",
    status: int = 200,
    after: tuple[Step, ...] = (),
    between: tuple[Step, ...] = (),
    first: tuple[Step, ...] = (),
) -> Answer:
    """As ``sse``, from bytes."""
    pieces = list(frames)
    if cut is not None:
        whole = b"".join(pieces)
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    steps: list[Step] = []
    for number, piece in enumerate(pieces):
        if number:
            steps.extend(between)
        steps.append(piece)
    return Answer(
        status=status,
        headers=(("Content-Type", "text/event-stream"),),
        steps=(*steps, *after),
        framing=framing,
        first=first,
    )


def plain(
    body: Any, *, status: int = 200, headers: tuple[tuple[str, str], ...] = (), first: tuple[Step, ...] = ()
) -> Answer:
    """A JSON answer."""
    return Answer(
        status=status,
        headers=(("Content-Type", "application/json; charset=UTF-8"), *headers),
        steps=(orjson.dumps(body, option=orjson.OPT_INDENT_2),),
        first=first,
    )


def error(
    status: int,
    message: str,
    word: str | None = None,
    *,
    details: list[dict[str, Any]] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Google's error object."""
    return plain({"error": error_object(status, message, word, details)}, status=status, headers=headers)


_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_object(
    status: int, message: str, word: str | None = None, details: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The object inside ``error``."""
    made: dict[str, Any] = {"code": status, "message": message, "status": word or _WORDS.get(status, "UNKNOWN")}
    if details:
        made["details"] = details
    return made


def reason_info(reason: str) -> dict[str, Any]:
    """The ``ErrorInfo`` detail that names a machine-readable reason."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def retry_info(delay: str) -> dict[str, Any]:
    """The ``RetryInfo`` detail."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def as_asked(events: list[dict[str, Any]]) -> Callable[[Recorded], Answer]:
    """``events`` as a stream when one is asked for, else folded into one answer."""

    def script(record: Recorded) -> Answer:
        return sse(events) if record.streams else plain(fold(events))

    return script


def fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer that a stream of events amounts to."""
    whole: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for event in events:
        whole |= {k: v for k, v in event.items() if k != "candidates"}
        for piece in event.get("candidates", []):
            index = piece.get("index", 0)
            kept = candidates.setdefault(index, {"content": {"role": "model", "parts": []}, "index": index})
            kept |= {k: v for k, v in piece.items() if k != "content"}
            for part in piece.get("content", {}).get("parts", []):
                _append(kept["content"]["parts"], part)
    whole["candidates"] = [candidates[index] for index in sorted(candidates)]
    return whole


def _append(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    if parts and part.keys() == {"text"} and parts[-1].keys() == {"text"}:
        parts[-1] = {"text": parts[-1]["text"] + part["text"]}
    else:
        parts.append(part)
