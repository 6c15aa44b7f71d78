"""The client side of HTTP/1.1 against scripted peers on loopback: each fault that the transport decides."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams import http1
from antigravity2api.upstreams.base import Address, HttpRequest
from antigravity2api.upstreams.transport import HttpTransport, Proxy, address_of, fetch

Script = Callable[["Peer"], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = HttpRequest("GET", "/x", (), b"")


def post(body: bytes = b"{}", target: str = "/x") -> HttpRequest:
    return HttpRequest("POST", target, (("Content-Type", "application/json"),), body)


class Peer:
    """One connection at the scripted server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def request(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return head, await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


class Server:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.tasks: set[asyncio.Task] = set()
        self.address = Address("127.0.0.1", 0, tls=False)
        self.gone = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.script(Peer(reader, writer, self.connections))
        except (OSError, asyncio.IncompleteReadError):
            self.gone.set()
        except asyncio.CancelledError:
            pass
        finally:
            self.tasks.discard(task)
            writer.close()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.address = Address("127.0.0.1", listener.sockets[0].getsockname()[1], tls=tls is not None)
    try:
        yield server
    finally:
        listener.close()
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


@asynccontextmanager
async def transport(**options) -> AsyncIterator[HttpTransport]:
    made = HttpTransport(**options)
    try:
        yield made
    finally:
        await made.close()


def answering(*pieces: bytes, keep: bool = True) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if not keep:
                return

    return script


class Recorder:
    """A sink that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.pieces: list[bytes] = []
        self.fault: Fault | None = None
        self.over = asyncio.Event()
        self.fresh = asyncio.Event()
        self.react: Callable[[str], None] = lambda word: None

    def _note(self, word: str) -> None:
        self.heard.append(word)
        self.fresh.set()
        self.react(word)

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._note("head")

    def on_data(self, data: bytes) -> None:
        assert data
        self.pieces.append(data)
        self._note("data")

    def on_end(self) -> None:
        self._note("end")
        self.over.set()

    def on_error(self, fault: Fault) -> None:
        self.fault = fault
        self._note("error")
        self.over.set()

    async def until(self, word: str) -> None:
        while word not in self.heard:
            await asyncio.wait_for(self.fresh.wait(), 10)
            self.fresh.clear()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


async def run(script: Script, request: HttpRequest | None = None, **options) -> Recorder:
    async with serving(script) as server, transport(**options) as client:
        sink = Recorder()
        client.open(server.address, request or post(), sink)
        await asyncio.wait_for(sink.over.wait(), 20)
        assert sink.heard.count("head") <= 1
        assert sink.heard[-1] in ("end", "error")
        return sink


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ONE_BY_ONE = CHUNKED + b"".join(chunk(bytes([byte])) for byte in "é\u2028".encode()) + b"0\r\n\r\n"

WHOLE = {
    "length": (OK, b"ok"),
    "chunked": (CHUNKED + chunk(b"abc") + chunk(b"de") + b"0\r\n\r\n", b"abcde"),
    "chunk extension": (CHUNKED + b"3;x=y\r\nabc\r\n0\r\n\r\n", b"abc"),
    "trailers": (CHUNKED + chunk(b"abc") + b"0\r\nX-Sum: 1\r\nExpires: never\r\n\r\n", b"abc"),
    "single bytes": (ONE_BY_ONE, "é\u2028".encode()),
    "informational": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", b""),
    "odd headers": (b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nSet-Cookie: \xe9=1\r\ncontent-length:2\r\n\r\nok", b"ok"),
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", b"ok"),
}
CLOSED = {
    "until close": (HEAD + b"\r\nabc", b"abc"),
    "http/1.0": (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabc", b"abc"),
    "http/1.0 with length": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "connection close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "unasked bytes behind": (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"ok"),
}


@pytest.mark.parametrize(("answer", "body"), WHOLE.values(), ids=WHOLE)
async def test_an_answer_arrives_whole_and_its_connection_is_kept(answer, body):
    async with serving(answering(answer)) as server, transport() as client:
        for _ in range(3):
            sink = Recorder()
            client.open(server.address, post(), sink)
            await asyncio.wait_for(sink.over.wait(), 5)
            assert sink.heard[-1] == "end"
            assert sink.body == body
            assert sink.status == int(answer.split(b"HTTP/1.1 ")[-1][:3])
        assert server.connections == 1


@pytest.mark.parametrize(("answer", "body"), CLOSED.values(), ids=CLOSED)
async def test_an_answer_that_ends_its_connection(answer, body):
    async with serving(answering(answer, keep=False)) as server, transport() as client:
        for _ in range(2):
            status, _, got = await fetch(client, server.address, post(), timeout=5)
            assert (status, got) == (200, body)
        assert server.connections == 2


async def test_an_answer_in_single_bytes():
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + b"0\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.request()
        for at in range(len(stream)):
            await peer.send(stream[at : at + 1])
            await asyncio.sleep(0)

    sink = await run(script)
    assert sink.body == b"abc"
    assert sink.heard[-1] == "end"


async def test_one_read_is_one_call():
    sink = await run(answering(CHUNKED + b"".join(chunk(b"x" * 10) for _ in range(100)) + b"0\r\n\r\n"))
    assert sink.heard == ["head", "data", "end"]


async def test_header_names_are_lower_case_and_repeated_ones_joined():
    sink = await run(answering(WHOLE["odd headers"][0]))
    assert sink.headers["x-a"] == "1, 2"
    assert sink.headers["set-cookie"] == "é=1"


async def test_what_goes_out_is_exactly_one_request():
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with serving(script) as server, transport() as client:
        address = Address(server.address.host, server.address.port, tls=False, prefix="/base")
        await fetch(client, address, post(b'{"a":1}'), timeout=5)
    head, body = seen[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /base/x HTTP/1.1"
    assert set(lines[1:-2]) == {
        f"Host: 127.0.0.1:{server.address.port}",
        "Accept-Encoding: identity",
        "Content-Length: 7",
        "Content-Type: application/json",
    }
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("POST", "/x\r\nEvil: 1", (), b""),
        HttpRequest("POST", "/x y", (), b""),
        HttpRequest("POST", "/x", (("X-A", "1\r\nEvil: 1"),), b""),
        HttpRequest("POST", "/x", (("X-A", "1\nEvil: 1"),), b""),
        HttpRequest("POST", "/x", (("X-A", "\u2028"),), b""),
        HttpRequest("POST", "/x", (("X-A", "a\0b"),), b""),
    ],
    ids=["target", "blank", "header", "line feed", "not latin", "nul"],
)
async def test_a_request_that_would_be_two_is_not_sent(request_):
    async with serving(answering(OK)) as server, transport() as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, server.address, request_, timeout=5)
        assert caught.value.kind is Kind.INTERNAL
        assert server.connections == 0


@pytest.mark.parametrize("size", [70_000, 3_000_000])
async def test_a_large_body_arrives_whole(size):
    body = bytes(range(256)) * (size // 256)
    got = []

    async def script(peer: Peer) -> None:
        while True:
            got.append((await peer.request())[1])
            await peer.send(OK)

    async with serving(script) as server, transport() as client:
        for _ in range(2):
            assert (await fetch(client, server.address, post(body), timeout=20))[0] == 200
        assert server.connections == 1
    assert got == [body, body]


@pytest.mark.parametrize("closes", [True, False])
async def test_an_early_answer_to_a_large_body_is_delivered(closes):
    early = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow"

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(early)
        if not closes:
            await asyncio.Event().wait()  # neither reads on nor closes

    async with serving(script) as server, transport() as client:
        for _ in range(5):
            large = post(b"x" * (3_000_000 if closes else 24_000_000))  # more than the sockets hold
            status, headers, body = await fetch(client, server.address, large, timeout=10)
            assert (status, headers["retry-after"], body) == (429, "7", b"slow")
        assert server.connections == 5


FAULTS: dict[str, tuple[list[bytes], Kind, bytes]] = {
    "close before head": ([], Kind.UNREACHABLE, b""),
    "close in head": ([b"HTTP/1.1 200 OK\r\nContent-"], Kind.UNREACHABLE, b""),
    "short body": ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], Kind.TRUNCATED, b"abc"),
    "close mid chunk": ([CHUNKED + b"a\r\nabc"], Kind.TRUNCATED, b"abc"),
    "close between chunks": ([CHUNKED + chunk(b"abc")], Kind.TRUNCATED, b"abc"),
    "close before the last line": ([CHUNKED + chunk(b"abc") + b"0\r\n"], Kind.TRUNCATED, b"abc"),
    "bad chunk size": ([CHUNKED + chunk(b"abc") + b"zz\r\nabc\r\n"], Kind.BAD_ANSWER, b"abc"),
    "chunk without end": ([CHUNKED + b"3\r\nabcdef\r\n"], Kind.BAD_ANSWER, b"abc"),
    "garbage": ([b"SSH-2.0-OpenSSH_9.9\r\n\r\n"], Kind.BAD_ANSWER, b""),
    "garbage status": ([b"HTTP/1.1 abc OK\r\n\r\n"], Kind.BAD_ANSWER, b""),
    "http/2": ([b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"], Kind.BAD_ANSWER, b""),
    "tls": ([b"\x15\x03\x03\x00\x02\x02\x28"], Kind.BAD_ANSWER, b""),
    "upgrade": (
        [b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc"],
        Kind.BAD_ANSWER,
        b"",
    ),
    "two lengths": ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"], Kind.BAD_ANSWER, b""),
    "huge head": ([b"HTTP/1.1 200 OK\r\n" + b"X-Y: " + b"a" * 400_000 + b"\r\n\r\n"], Kind.BAD_ANSWER, b""),
    "many fields": ([b"HTTP/1.1 200 OK\r\n" + b"X-Y: 1234567\r\n" * 30_000], Kind.BAD_ANSWER, b""),
    "many hints": ([b"HTTP/1.1 103 Early\r\nX-Y: 1234567\r\n\r\n" * 4_000 + OK], Kind.BAD_ANSWER, b""),
    "huge trailer": ([CHUNKED + chunk(b"abc") + b"0\r\n" + b"X-Y: 1\r\n" * 60_000], Kind.BAD_ANSWER, b"abc"),
    "unknown encoding": ([HEAD + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"], Kind.BAD_ANSWER, b""),
}


@pytest.mark.parametrize(("pieces", "kind", "body"), FAULTS.values(), ids=FAULTS)
async def test_a_broken_answer_ends_in_a_fault_after_what_came(pieces, kind, body):
    sink = await run(answering(*pieces, keep=False))
    assert sink.fault is not None
    assert sink.fault.kind is kind
    assert sink.body == body
    assert sink.fault.retry is Retry.SAME
    assert "127.0.0.1" not in sink.fault.message


@pytest.mark.parametrize(
    "sent", [b"", CHUNKED + chunk(b"abc"), HEAD + b"\r\nabc"], ids=["before", "chunked", "until close"]
)
async def test_a_reset_is_told(sent):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        if sent:
            await asyncio.sleep(0.05)  # so that what was sent is read before the reset overtakes it
        peer.reset()

    sink = await run(script)
    assert sink.fault is not None
    assert sink.fault.kind is (Kind.TRUNCATED if sent else Kind.UNREACHABLE)
    assert sink.body == (b"abc" if sent else b"")


@pytest.mark.parametrize("reset", [True, False])
async def test_a_kept_connection_that_died_is_replaced_unseen_once(reset):
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1 or peer.number == 3:
            await peer.send(OK)
            await peer.request()
        if reset:
            peer.reset()
        elif peer.number == 2:
            await peer.send(OK)

    async with serving(script) as server, transport() as client:
        await fetch(client, server.address, post(), timeout=5)
        if reset:  # the replacement is reset as well: now it is told
            with pytest.raises(Fault) as caught:
                await fetch(client, server.address, post(b"y" * 100_000), timeout=5)
            assert caught.value.kind is Kind.UNREACHABLE
        else:
            assert (await fetch(client, server.address, post(b"y" * 100_000), timeout=5))[2] == b"ok"
        assert server.connections == 2


async def test_a_kept_connection_that_breaks_inside_an_answer_is_not_replaced():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    async with serving(script) as server, transport() as client:
        await fetch(client, server.address, post(), timeout=5)
        with pytest.raises(Fault) as caught:
            await fetch(client, server.address, post(), timeout=5)
        assert caught.value.kind is Kind.UNREACHABLE
        assert server.connections == 1


async def test_connections_closed_or_spoken_on_while_idle_are_not_used():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await asyncio.sleep(0.02)
        if peer.number == 1:
            await peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            await peer.reader.read()

    async with serving(script) as server, transport() as client:
        for number in (1, 2, 3):
            assert (await fetch(client, server.address, post(), timeout=5))[0] == 200
            assert server.connections == number
            await asyncio.sleep(0.06)


async def test_idle_connections_are_bounded_in_number_and_age():
    async with serving(answering(OK)) as server, transport(max_idle=2, idle_limit=0.1) as client:
        await asyncio.gather(*(fetch(client, server.address, post(), timeout=5) for _ in range(6)))
        assert client._idle_count == 2
        first = server.connections
        await asyncio.sleep(0.3)
        assert client._idle_count == 0
        await fetch(client, server.address, post(), timeout=5)
        assert server.connections == first + 1


async def test_addresses_do_not_share_connections():
    async with serving(answering(OK)) as one, serving(answering(OK)) as two, transport() as client:
        for server in (one, two, one, two):
            await fetch(client, server.address, post(), timeout=5)
        assert (one.connections, two.connections) == (1, 1)


async def test_nagle_is_off():
    async with serving(answering(OK)) as server, transport() as client:
        await fetch(client, server.address, post(), timeout=5)
        connection = client._idle[server.address][0]
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- connecting --------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "word"), [("127.0.0.1", "refused"), ("localhost", "refused"), ("nothing.invalid", "resolved")]
)
async def test_what_cannot_be_reached_is_told_without_its_name(host, word):
    async with transport() as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, Address(host, free_port(), tls=False), GET, timeout=10)
    assert caught.value.kind is Kind.UNREACHABLE
    assert caught.value.retry is Retry.SAME
    assert word in caught.value.message
    assert host not in caught.value.message


async def test_the_time_to_connect_covers_the_handshake():
    async def script(peer: Peer) -> None:
        await peer.reader.read(-1)  # never answers the TLS hello

    async with serving(script) as server, transport(connect_timeout=0.2) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Fault) as caught:
            await fetch(client, Address("127.0.0.1", server.address.port, tls=True), GET, timeout=10)
        assert caught.value.kind is Kind.UNREACHABLE
        assert "0.2 s" in caught.value.message
        assert asyncio.get_running_loop().time() - started < 2


async def test_an_address_that_refuses_gives_way_to_the_next(monkeypatch):
    async with serving(answering(OK)) as server, transport() as client:

        async def resolve(host, port):
            return ["127.0.0.2", "127.0.0.1"]

        monkeypatch.setattr(client, "_resolve", resolve)
        address = Address("two.example", server.address.port, tls=False)
        assert (await fetch(client, address, GET, timeout=5))[0] == 200


async def test_closing_while_connecting_ends_the_attempt_in_silence():
    async def script(peer: Peer) -> None:
        await peer.reader.read(-1)

    async with serving(script) as server, transport() as client:
        sink = Recorder()
        exchange = client.open(Address("127.0.0.1", server.address.port, tls=True), GET, sink)
        await asyncio.sleep(0.05)
        exchange.close()
        exchange.close()
        await asyncio.sleep(0.05)
        assert sink.heard == []
        assert not client._tasks
        assert not client._exchanges


# -- closing, pausing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["sent", "head", "data"])
async def test_closing_is_silent_and_reaches_the_peer_at_once(when):
    gone = asyncio.Event()
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        if when != "sent":
            await peer.send(CHUNKED)
        if when == "data":
            await peer.send(chunk(b"abc"))
        with suppress(ConnectionError):
            assert await peer.reader.read(1) == b""
        gone.set()

    async with serving(script) as server, transport() as client:
        sink = Recorder()
        exchange = client.open(server.address, post(), sink)
        if when == "sent":
            await asyncio.wait_for(asked.wait(), 5)
        else:
            await sink.until(when)
        heard = list(sink.heard)
        exchange.close()
        exchange.close()
        exchange.pause()
        exchange.resume()
        await asyncio.wait_for(gone.wait(), 3)
        assert sink.heard == heard
        assert client._idle_count == 0


@pytest.mark.parametrize("word", ["head", "data"])
async def test_a_sink_may_close_from_within_its_callback(word):
    async with serving(answering(CHUNKED + chunk(b"abc") + b"0\r\n\r\n")) as server, transport() as client:
        sink = Recorder()
        exchange = client.open(server.address, post(), sink)
        sink.react = lambda said: exchange.close() if said == word else None
        await sink.until(word)
        await asyncio.sleep(0.03)
        assert sink.heard[-1] == word
        assert client._idle_count == 0


async def test_a_sink_that_fails_loses_its_connection_only():
    noticed = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: noticed.append(context))
    async with serving(answering(OK)) as server, transport() as client:
        sink = Recorder()

        def burst(said: str) -> None:
            if said == "data":
                raise RuntimeError("a bug")

        sink.react = burst
        client.open(server.address, post(), sink)
        await asyncio.wait_for(sink.over.wait(), 5)
        assert noticed
        assert (await fetch(client, server.address, post(), timeout=5))[0] == 200


async def test_a_paused_exchange_holds_the_peer_back():
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(400):
            await peer.send(chunk(b"x" * 65536))
            sent += 65536
        await peer.send(b"0\r\n\r\n")
        await peer.request()
        await peer.send(OK)

    async with serving(script) as server, transport() as client:
        sink = Recorder()
        exchange = client.open(server.address, post(), sink)
        sink.react = lambda said: exchange.pause() if said == "head" else None
        await sink.until("head")
        await asyncio.sleep(0.3)
        held, received = sent, len(sink.body)
        await asyncio.sleep(0.1)
        assert len(sink.body) == received < 2 << 20
        assert sent == held < 26 << 20
        exchange.resume()
        await asyncio.wait_for(sink.over.wait(), 20)
        assert len(sink.body) == 400 * 65536
        assert (await fetch(client, server.address, post(), timeout=20))[0] == 200  # reading goes on for the next
        assert server.connections == 1


async def test_closing_the_transport_ends_everything():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await peer.reader.read(-1)

    async with serving(script) as server:
        client = HttpTransport()
        sinks = [Recorder(), Recorder()]
        client.open(server.address, post(), sinks[0])
        client.open(Address("127.0.0.1", server.address.port, tls=True), post(), sinks[1])
        await sinks[0].until("head")
        await client.close()
        for sink in sinks:
            assert sink.fault is not None
            assert sink.fault.kind is Kind.UNAVAILABLE
        late = Recorder()
        client.open(server.address, post(), late)
        await asyncio.wait_for(late.over.wait(), 2)
        assert late.heard == ["error"]


async def test_fetch_is_bounded_in_time_and_size():
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.reader.read(-1)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)

    async with serving(script) as server, transport() as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, server.address, GET, timeout=0.1)
        assert caught.value.kind is Kind.UPSTREAM_TIMEOUT
        with pytest.raises(Fault) as caught:
            await fetch(client, server.address, GET, timeout=5, max_bytes=100)
        assert caught.value.kind is Kind.BAD_ANSWER
        assert not client._exchanges


@pytest.mark.slow
async def test_many_at_once_do_not_mix():
    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            await asyncio.sleep(0)
            await peer.send(body)

    async with serving(script) as server, transport() as client:
        bodies = [b"%d" % number * (number % 50 + 1) for number in range(1, 150)]
        answers = await asyncio.gather(*(fetch(client, server.address, post(body), timeout=20) for body in bodies))
        assert [body for _, _, body in answers] == bodies


# -- compression -------------------------------------------------------------------------------------------------------

TEXT = b"data: {}\r\n\r\n" * 2000


def squeezed(data: bytes, encoding: bytes) -> bytes:
    return (
        HEAD + b"Content-Encoding: " + encoding + b"\r\nContent-Length: " + str(len(data)).encode() + b"\r\n\r\n" + data
    )


def packed(data: bytes) -> bytes:
    """Gzip without a time stamp: every worker of a test run makes the same bytes."""
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (packed(TEXT), b"gzip"),
        (packed(TEXT), b"X-GZIP"),
        (packed(TEXT[:5000]) + packed(TEXT[5000:]), b"gzip"),
        (packed(TEXT) + b"\0\0\0\0", b"gzip"),
        (zlib.compress(TEXT), b"deflate"),
        (raw_deflate(TEXT), b"deflate"),
        (TEXT, b"identity"),
    ],
    ids=["gzip", "x-gzip", "two members", "padding", "zlib", "raw deflate", "identity"],
)
async def test_compressed_answers_are_read_although_not_asked_for(data, encoding):
    sink = await run(answering(squeezed(data, encoding)))
    assert sink.fault is None
    assert sink.body == TEXT


async def test_a_compressed_stream_is_decoded_as_it_comes():
    made = zlib.compressobj(wbits=31)
    first = made.compress(b"first") + made.flush(zlib.Z_SYNC_FLUSH)
    second = made.compress(b"second") + made.flush()
    going = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(first))
        await going.wait()
        await peer.send(chunk(second), b"0\r\n\r\n")

    async with serving(script) as server, transport() as client:
        sink = Recorder()
        client.open(server.address, post(), sink)
        while sink.body != b"first":
            await asyncio.wait_for(sink.fresh.wait(), 5)
            sink.fresh.clear()
        going.set()
        await asyncio.wait_for(sink.over.wait(), 5)
        assert sink.body == b"firstsecond"
        assert sink.heard[-1] == "end"


@pytest.mark.parametrize(
    "data",
    [
        packed(TEXT)[:-9],
        b"\x1f\x8b" + b"\xff" * 50,
        packed(TEXT)[:60] + b"\xff" * 60,
        packed(TEXT)[:-8] + b"12345678",
        b"not compressed at all",
    ],
    ids=["cut", "no head", "bad inside", "bad sum", "plain"],
)
async def test_a_corrupt_or_cut_compressed_answer_is_a_fault(data):
    sink = await run(answering(squeezed(data, b"gzip")))
    assert sink.fault is not None
    assert sink.fault.kind is Kind.BAD_ANSWER


@pytest.mark.slow
async def test_a_bomb_is_stopped_at_the_limit(monkeypatch):
    monkeypatch.setattr(http1, "MAX_DECODED", 8 << 20)
    bomb = gzip.compress(b"\0" * (64 << 20))
    sink = await run(answering(squeezed(bomb, b"gzip")))
    assert sink.fault is not None
    assert sink.fault.kind is Kind.BAD_ANSWER
    assert len(sink.body) <= 8 << 20
    assert max(map(len, sink.pieces)) <= 1 << 20


# -- TLS and proxies ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here; the system's package of that name brings it")
    made.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return made


@pytest.fixture
def tls(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_tls_with_a_known_authority(tls, certificate):
    async with serving(answering(OK), tls) as server, transport(ca_file=str(certificate)) as client:
        for host in ("127.0.0.1", "localhost"):
            address = Address(host, server.address.port, tls=True)
            for _ in range(2):
                assert (await fetch(client, address, post(b"z" * 200_000), timeout=10))[2] == b"ok"
        assert server.connections == 2
        connection = client._idle[server.address][0]
        assert connection._transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_the_system_authorities_come_from_ssl_cert_file(tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with serving(answering(OK), tls) as server, transport() as client:
        assert (await fetch(client, server.address, GET, timeout=10))[0] == 200


async def test_an_untrusted_peer_gets_nothing(tls, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.reader.read(10))

    noticed = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: noticed.append(context))
    async with serving(script, tls) as server, transport() as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, server.address, post(b"secret"), timeout=10)
    assert caught.value.kind is Kind.UNREACHABLE
    assert caught.value.retry is Retry.OTHER_UPSTREAM
    assert "certificate" in caught.value.message
    assert b"".join(seen) == b""


async def test_a_wrong_name_is_refused_without_being_told(tls, certificate, monkeypatch):
    async with serving(answering(OK), tls) as server, transport(ca_file=str(certificate)) as client:

        async def resolve(host, port):
            return ["127.0.0.1"]

        monkeypatch.setattr(client, "_resolve", resolve)
        with pytest.raises(Fault) as caught:
            await fetch(client, Address("other.example", server.address.port, tls=True), GET, timeout=10)
    assert "certificate" in caught.value.message
    assert "other.example" not in caught.value.message


async def test_a_peer_without_tls_is_told(certificate):
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(script) as server, transport(ca_file=str(certificate)) as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, Address("127.0.0.1", server.address.port, tls=True), GET, timeout=10)
    assert caught.value.kind is Kind.UNREACHABLE


async def test_an_authority_file_that_is_missing_is_told_at_the_start(tmp_path):
    with pytest.raises(OSError, match=r"No such file|cannot|not found"):
        HttpTransport(ca_file=str(tmp_path / "missing.pem"))


async def test_a_plain_target_goes_through_a_proxy_in_absolute_form():
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    target = Address("plain.example", 8080, tls=False, prefix="/p")
    async with serving(script) as proxy:
        client = HttpTransport(proxy=f"http://user:pass%20word@127.0.0.1:{proxy.address.port}")
        assert (await fetch(client, target, GET, timeout=5))[0] == 200
        await client.close()
    head = seen[0][0]
    assert head.startswith(b"GET http://plain.example:8080/p/x HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in head


def tunnelling(target: Address, seen: list[bytes], answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> Script:
    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def script(peer: Peer) -> None:
        seen.append(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.send(answer)
        if b" 200 " not in answer:
            return
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            await asyncio.gather(pipe(peer.reader, writer), pipe(reader, peer.writer))
        finally:
            writer.close()

    return script


@pytest.mark.parametrize("proxy_tls", [False, True])
async def test_a_tls_target_goes_through_a_tunnel(tls, certificate, proxy_tls):
    seen: list[bytes] = []
    async with serving(answering(OK), tls) as server:
        async with serving(tunnelling(server.address, seen), tls if proxy_tls else None) as proxy:
            url = f"{'https' if proxy_tls else 'http'}://u:p@127.0.0.1:{proxy.address.port}"
            async with transport(proxy=url, ca_file=str(certificate)) as client:
                address = Address("localhost", server.address.port, tls=True)
                for _ in range(2):
                    assert (await fetch(client, address, post(b"q" * 300_000), timeout=10))[2] == b"ok"
        assert server.connections == 1
    assert len(seen) == 1
    assert seen[0].startswith(f"CONNECT localhost:{server.address.port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic dTpw\r\n" in seen[0]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "502"),
        (b"nonsense\r\n\r\n", "no HTTP"),
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000, "too long"),
        (b"HTTP/1.1 200 OK\r\n\r\nunasked", "not asked"),
    ],
    ids=["407", "502", "nonsense", "closed", "long", "unasked"],
)
async def test_a_proxy_that_does_not_open_a_tunnel_is_told(answer, word):
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer)
        if b"200" in answer:
            await peer.reader.read(-1)

    async with serving(script) as proxy, transport(proxy=f"127.0.0.1:{proxy.address.port}") as client:
        with pytest.raises(Fault) as caught:
            await fetch(client, Address("far.example", 443, tls=True), GET, timeout=5)
    assert caught.value.kind is Kind.UNREACHABLE
    assert word in caught.value.message
    assert "far.example" not in caught.value.message


def test_the_environment_names_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def main() -> int:
        async with serving(answering(OK)) as server, transport() as client:
            return (await fetch(client, server.address, GET, timeout=5))[0]

    assert asyncio.run(main()) == 200


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "http://:80", "http://h:99999999", "ftp://x"])
def test_a_proxy_that_is_none_is_refused_without_quoting_it(url):
    with pytest.raises(ValueError, match="the proxy must be") as caught:
        Proxy.parse(url)
    assert url not in str(caught.value)


def test_a_proxys_password_is_not_shown():
    assert "hunter2" not in repr(Proxy.parse("http://u:hunter2@h:1"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://generativelanguage.googleapis.com", Address("generativelanguage.googleapis.com", 443, tls=True)),
        ("http://127.0.0.1:8080/base/", Address("127.0.0.1", 8080, tls=False, prefix="/base")),
        ("http://[::1]:80", Address("::1", 80, tls=False)),
    ],
)
def test_a_base_url_becomes_an_address(url, address):
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["ftp://x", "nothing", "https://", "https://u:p@h", "https://h?x=1", "https://h#x"])
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(ValueError, match="base URL"):
        address_of(url)
