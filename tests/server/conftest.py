"""A server on loopback in its own thread, once on asyncio's loop and once on uvloop's, and an application that shows
what reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pytest

from antigravity2api.server.base import Admission, Head, Headers, Refusal, Responder
from antigravity2api.server.listen import Server, bind, new_event_loop
from antigravity2api.server.service import Limits

JSON: Headers = [(b"content-type", b"application/json")]
MAX_BODY = 8 * 1024 * 1024
LOOPS: list[str] = ["asyncio"] + (["uvloop"] if importlib.util.find_spec("uvloop") else [])


class ShowingApp:
    """Answers with what it got; other paths misbehave in the ways their names say."""

    def __init__(self) -> None:
        self.booked: queue.Queue[tuple[str, int, int, str]] = queue.Queue()
        self.heads: list[Head] = []
        self.events: queue.Queue[str] = queue.Queue()
        self.headers: Headers = JSON
        self.go = threading.Event()
        self.written = 0
        self.paused = 0

    def admit(self, head: Head) -> Admission | Refusal:
        self.heads.append(head)
        if head.path == "/crash-in-admit":
            raise RuntimeError("planted")
        if head.path == "/refused":
            return Refusal(401, JSON, b'{"error":"no key"}')
        handler = getattr(self, "on_" + head.path.strip("/").replace("-", "_"), None)
        if handler is None:
            return Refusal(404, JSON, b'{"error":"no route"}')
        return Admission(handler, {"/small": 10, "/bodiless": 0}.get(head.path, MAX_BODY))

    def refuse(self, status: int, head: Head | None, message: str) -> Refusal:
        return Refusal(status, JSON, json.dumps({"error": message}).encode())

    def finished(self, head: Head, status: int, sent_bytes: int, seconds: float, outcome: str) -> None:
        assert seconds >= 0
        self.booked.put((head.path, status, sent_bytes, outcome))

    async def on_echo(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        shown = {
            "method": head.method,
            "query": head.query,
            "length": len(body),
            "sha": hashlib.sha256(body).hexdigest(),
        }
        responder.send(200, self.headers, json.dumps(shown).encode())

    on_small = on_bodiless = on_echo

    async def on_large(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.send(200, self.headers, b"x" * 3_000_000)

    async def on_huge(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.send(200, self.headers, b"x" * 20_000_000)

    async def on_stream(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [(b"content-type", b"text/event-stream")])
        for number in range(3):
            responder.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0)
        responder.end()
        responder.write(b"too late")

    async def on_nothing_to_say(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.send(204, [], b"ignored")

    async def on_head_first(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [])
        await asyncio.to_thread(self.go.wait, 5)
        responder.end()

    async def on_wait(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        """Until ``go``, then an answer."""
        self.events.put("waiting")
        await self._until_go()
        responder.send(200, JSON, b"{}")

    async def on_wait_in_stream(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [])
        responder.write(b"begun")
        await self._until_go()
        responder.write(b" done")
        responder.end()

    async def _until_go(self) -> None:
        try:
            while not self.go.is_set():  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.events.put("cancelled")
            raise

    async def on_firehose(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        """Writes 8 MB as fast as the client reads, and not faster."""
        piece = b"x" * 10_000
        resumed = asyncio.Event()
        responder.on_resume = resumed.set
        responder.start(200, [])
        for _ in range(800):
            responder.write(piece)
            self.written += len(piece)
            if responder.paused:
                self.paused += 1
                resumed.clear()
                await resumed.wait()
        responder.end()

    async def on_silent(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        """Returns without an answer."""

    async def on_unfinished(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [])
        responder.write(b"half")

    async def on_crash(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        raise RuntimeError("planted secret")

    async def on_crash_late(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [])
        responder.write(b"half")
        raise RuntimeError("planted secret")

    async def on_twice(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.start(200, [])
        responder.send(200, [], b"again")

    def on_at_once(self, head: Head, body: bytes | bytearray, responder: Responder) -> InCallbacks:
        """Over before it returns."""
        responder.send(200, JSON, b"{}")
        responder.leave()
        return InCallbacks(self, responder)

    def on_in_callbacks(self, head: Head, body: bytes | bytearray, responder: Responder) -> InCallbacks:
        """An answer in a later turn of the loop, without a task."""
        running = InCallbacks(self, responder)
        asyncio.get_running_loop().call_soon(running.answer)
        return running

    def on_never(self, head: Head, body: bytes | bytearray, responder: Responder) -> InCallbacks:
        self.events.put("waiting")
        return InCallbacks(self, responder)

    def on_leaves_silent(self, head: Head, body: bytes | bytearray, responder: Responder) -> InCallbacks:
        responder.leave()
        return InCallbacks(self, responder)

    def on_breaks(self, head: Head, body: bytes | bytearray, responder: Responder) -> InCallbacks:
        raise RuntimeError("planted secret")

    async def on_work_after(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        """Books something after the answer, as long as ``go`` takes."""
        responder.send(200, JSON, b"{}")
        try:
            await asyncio.to_thread(self.go.wait, 5)
            self.events.put("booked")
        except asyncio.CancelledError:
            self.events.put("cancelled")
            raise


@dataclass(slots=True, eq=False)
class InCallbacks:
    """A request that runs without a task."""

    app: ShowingApp
    responder: Responder

    def answer(self) -> None:
        self.responder.send(200, JSON, b"{}")
        self.responder.leave()

    def cancel(self) -> None:
        self.app.events.put("cancelled")
        self.responder.send(503, JSON, b"{}")
        self.responder.leave()


@dataclass(slots=True)
class Reply:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw_head: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Raw:
    """A client that sends exactly what it is told."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(10)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Self:
        self.sock.sendall(data)
        return self

    def get(self, path: str = "/echo", *lines: str) -> Self:
        return self.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode())

    def post(self, path: str, body: bytes, *lines: str) -> Self:
        head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""]
        return self.send("\r\n".join(head).encode() + body)

    def half_close(self) -> Self:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reply(self, method: str = "GET") -> Reply:
        """The next final answer, by its framing; informational ones are skipped."""
        while True:
            head = self.until(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")[:-2]
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                break
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            body = self.rest()
        return Reply(status, headers, body, head)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._more()
        return self._taken(self.buffer.index(mark) + len(mark))

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        return self._taken(count)

    def rest(self) -> bytes:
        """Everything up to the end of the connection; raises ConnectionResetError for a reset."""
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        return self._taken(len(self.buffer))

    def is_closed(self) -> bool:
        """Whether the connection ends (either way) without another byte."""
        try:
            return self.rest() == b""
        except ConnectionError:
            return True

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return body

    def _taken(self, count: int) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(bytes(self.buffer))
        self.buffer += data


@dataclass
class Serving:
    """A running server, seen from outside and, through ``call``, from inside its loop."""

    loop_name: str
    limits: Limits
    app: ShowingApp = field(default_factory=ShowingApp)
    reports: list[str] = field(default_factory=list)
    port: int = 0
    server: Server | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def __post_init__(self) -> None:
        self._sockets = bind("127.0.0.1", 0)
        self.port = self._sockets[0].getsockname()[1]
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(5)

    def _run(self) -> None:
        factory = asyncio.new_event_loop if self.loop_name == "asyncio" else new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        def report(message: str, error: BaseException | None) -> None:
            self.reports.append(f"{message}: {error!r}")

        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.server = Server(self.app, self._sockets, self.limits, report)
        await self.server.start()
        self._ready.set()
        await self._stop.wait()
        for _ in range(10):  # what the kernel accepted for us becomes a connection, which the drain then closes
            await asyncio.sleep(0)
        await self.server.drain(0)

    def client(self, *, receive_buffer: int | None = None) -> Raw:
        return Raw(self.port, receive_buffer=receive_buffer)

    def drain(self, seconds: float) -> Any:
        """Begin a drain; a future of its result."""
        assert self.loop is not None
        assert self.server is not None
        return asyncio.run_coroutine_threadsafe(self.server.drain(seconds), self.loop)

    def booked(self) -> tuple[str, int, int, str]:
        """The next request that the application was told the end of."""
        return self.app.booked.get(timeout=5)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        """Wait until the server's side has come to something."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.002)

    def stop(self) -> None:
        self.app.go.set()
        if self.loop is not None and self._stop is not None:
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(params=LOOPS)
def serving(request: pytest.FixtureRequest) -> Iterator[Callable[..., Serving]]:
    """Starts servers: ``serving(head=0.2)`` with that limit, else with the usual ones."""
    started: list[Serving] = []

    def start(**limits: Any) -> Serving:
        started.append(Serving(request.param, Limits(**limits)))
        return started[-1]

    yield start
    for each in started:
        each.stop()
