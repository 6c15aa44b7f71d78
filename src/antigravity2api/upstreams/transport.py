"""The only place that opens a socket to an upstream: dialling, kept connections, proxies, TLS.

Certificates are verified, redirects are not followed, proxies come from configuration alone (never from the
environment). Limits on silence and on the whole answer are the gateway's; only the time to connect is bounded here.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.together import Together
from antigravity2api.upstreams.base import Address, Exchange, HttpRequest, Sink, Transport
from antigravity2api.upstreams.http1 import Connection
from antigravity2api.upstreams.shaping import address_of

CONNECT_TIMEOUT = 5.0
MAX_IDLE = 128
IDLE_LIMIT = 50.0
"""Seconds; shorter than the minute after which most servers and load balancers close."""
_PROXY_HEAD = 16 << 10
_MOST_HEADS = 64
_TARGET = re.compile(r"[!-~]+").fullmatch
_LINE_ENDS = frozenset("\r\n\0")
_NO_HEAD = "The request to the upstream holds a character that HTTP does not allow."


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy from configuration."""

    host: str
    port: int
    tls: bool
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """``http://user:password@host:port``; raises ``ValueError`` saying what is wrong, without quoting the URL."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError:
            raise ValueError("the proxy must be a URL like http://host:port") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the proxy must be an http:// or https:// URL")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, authorization)


class HttpTransport:
    """HTTP/1.1 to the upstreams over kept connections. Made inside a running loop."""

    def __init__(
        self,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_idle: int = MAX_IDLE,
        idle_limit: float = IDLE_LIMIT,
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle_limit = idle_limit
        self._proxy = Proxy.parse(proxy) if proxy else None
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Address, deque[Connection]] = {}
        self._idle_count = 0
        self._heads: dict[tuple[Address, str, tuple[tuple[str, str], ...]], tuple[bytes, bytes]] = {}
        """Heads of late without target and length, by all that goes into them."""
        self._exchanges: set[_HttpExchange] = set()
        self._arrived = Together(self._loop)
        """Answers that have come as a whole."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        if ca_file:
            self._context()  # a file that cannot be read is told at the start

    def open(self, address: Address, request: HttpRequest, sink: Sink) -> Exchange:
        """Send ``request``; see ``upstreams.base.Transport``."""
        exchange = _HttpExchange(self, address, request, sink)
        self._exchanges.add(exchange)
        if self._closed:
            fault = Fault(Kind.UNAVAILABLE, "The gateway is shutting down.")
            self._loop.call_soon(exchange.failed, fault)
            return exchange
        try:
            exchange.head = self._head_of(address, request)
        except ValueError as error:
            self._loop.call_soon(exchange.failed, Fault(Kind.INTERNAL, str(error)))
            return exchange
        connection = self._take(address)
        if connection is not None:
            exchange.start(connection)
        else:
            self.dial(exchange)
        return exchange

    async def close(self) -> None:
        """Close every connection; exchanges under way fail."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()
        self._idle_count = 0
        for exchange in list(self._exchanges):
            exchange.failed(Fault(Kind.UNAVAILABLE, "The gateway is shutting down."))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- kept connections ----------------------------------------------------------------------------------------------

    def keep(self, address: Address, connection: Connection) -> None:
        """Keep a connection that may serve again."""
        if self._closed or self._idle_count >= self._max_idle:
            connection.abort()
            return
        if connection.paused:
            connection.resume()
        connection.idle_since = self._loop.time()
        connections = self._idle.get(address)
        if connections is None:
            connections = self._idle[address] = deque()
        connections.append(connection)
        self._idle_count += 1
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_limit, self._sweep)

    def _take(self, address: Address) -> Connection | None:
        """The connection used last, which is the likeliest to be alive."""
        connections = self._idle.get(address)
        while connections:
            connection = connections.pop()
            self._idle_count -= 1
            # One that breaks at this very moment is replaced unseen, as any that turns out dead.
            if not connection.closed and self._loop.time() - connection.idle_since < self._idle_limit:
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        """Close what has been idle for too long; comes back as long as anything is idle."""
        self._sweeper = None
        oldest_allowed = self._loop.time() - self._idle_limit
        for address, connections in list(self._idle.items()):
            kept = deque(one for one in connections if one.usable and one.idle_since > oldest_allowed)
            for connection in connections:
                if connection not in kept:
                    connection.abort()
            self._idle_count -= len(connections) - len(kept)
            if kept:
                self._idle[address] = kept
            else:
                del self._idle[address]
        if self._idle_count:
            self._sweeper = self._loop.call_later(max(self._idle_limit / 4, 0.05), self._sweep)

    def forget(self, exchange: _HttpExchange) -> None:
        """An exchange is over."""
        self._exchanges.discard(exchange)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _head_of(self, address: Address, request: HttpRequest) -> bytes:
        """The request's head. Raises ``ValueError`` for what would not be one head."""
        if _TARGET(request.target) is None:
            raise ValueError(_NO_HEAD)
        key = (address, request.method, request.headers)
        parts = self._heads.get(key)
        if parts is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            parts = self._heads[key] = self._head_around(address, request)
        before, after = parts
        if request.body or request.method not in ("GET", "DELETE"):
            return b"%b%b%bContent-Length: %d\r\n\r\n" % (before, request.target.encode(), after, len(request.body))
        return b"%b%b%b\r\n" % (before, request.target.encode(), after)

    def _head_around(self, address: Address, request: HttpRequest) -> tuple[bytes, bytes]:
        """What a head holds before its target and behind it; requests with the same headers share it."""
        authority = _authority(address.host, address.port, 443 if address.tls else 80)
        before = f"{request.method} {address.prefix}"
        lines = [f"Host: {authority}", "Accept-Encoding: identity"]
        if self._proxy is not None and not address.tls:
            before = f"{request.method} http://{authority}{address.prefix}"
            if self._proxy.authorization:
                lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        lines += [f"{name}: {value}" for name, value in request.headers]
        for text in (before, *lines):
            if not text.isascii() or not _LINE_ENDS.isdisjoint(text):
                raise ValueError(_NO_HEAD)
        if before.count(" ") != 1:
            raise ValueError(_NO_HEAD)
        return before.encode("ascii"), "\r\n".join([" HTTP/1.1", *lines, ""]).encode("ascii")

    # -- dialling ------------------------------------------------------------------------------------------------------

    def dial(self, exchange: _HttpExchange) -> None:
        """Connect for ``exchange`` in the background."""
        task = self._loop.create_task(self._connect_for(exchange))
        exchange.dialling = task
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._dialled(done, exchange))

    def _dialled(self, task: asyncio.Task[None], exchange: _HttpExchange) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            exchange.dialling = None
            exchange.failed(Fault(Kind.INTERNAL, "Connecting to the upstream failed unexpectedly."))

    async def _connect_for(self, exchange: _HttpExchange) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect(exchange.address)
        except (OSError, TimeoutError, ssl.SSLError, UnicodeError, _ProxyError) as error:
            exchange.dialling = None
            exchange.failed(self._unreachable(error))
            return
        exchange.dialling = None
        if exchange.over:
            connection.abort()
        else:
            exchange.start(connection)

    async def _connect(self, address: Address) -> Connection:
        proxy = self._proxy
        if proxy is None:
            return await self._reach(address.host, address.port, tls=address.tls)
        if not address.tls:
            return await self._reach(proxy.host, proxy.port, tls=proxy.tls)
        return await self._tunnel(proxy, address)

    async def _reach(self, host: str, port: int, *, tls: bool) -> Connection:
        """Connect to the first address of ``host`` that answers; none may eat the time of the others."""
        addresses = await self._resolve(host, port)
        context = self._context() if tls else None
        deadline = self._loop.time() + self._connect_timeout
        for index, where in enumerate(addresses):
            left = len(addresses) - index
            try:
                async with asyncio.timeout((deadline - self._loop.time()) / left):
                    _, connection = await self._loop.create_connection(
                        self._new_connection, where, port, ssl=context, server_hostname=host if context else None
                    )
                return connection
            except (OSError, TimeoutError) as error:
                if left == 1 or isinstance(error, ssl.SSLError):
                    raise
        raise OSError("the name has no address")

    def _new_connection(self) -> Connection:
        return Connection(self._arrived.add)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(info[4][0]) for info in infos))

    async def _tunnel(self, proxy: Proxy, address: Address) -> Connection:
        """A TLS connection through the proxy's CONNECT."""
        _, greeter = await self._loop.create_connection(
            lambda: _Greeter(self._loop, proxy, address),
            proxy.host,
            proxy.port,
            ssl=self._context() if proxy.tls else None,
            server_hostname=proxy.host if proxy.tls else None,
        )
        try:
            await greeter.done
            connection = self._new_connection()
            transport = await self._loop.start_tls(
                greeter.transport, connection, self._context(), server_hostname=address.host
            )
            if transport is None:
                raise ConnectionResetError
        except BaseException:
            greeter.transport.abort()
            raise
        connection.attach(transport)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            context = ssl.create_default_context()  # verifies; honours SSL_CERT_FILE
            if self._ca_file:
                context.load_verify_locations(cafile=self._ca_file)
            context.set_alpn_protocols(["http/1.1"])
            self._tls = context
        return self._tls

    def _unreachable(self, error: BaseException) -> Fault:
        """What failed, in words that name no host."""
        to = "the proxy" if self._proxy is not None else "the upstream"
        retry = Retry.SAME
        match error:
            case _ProxyError():
                text = str(error)
            case TimeoutError():
                text = f"Connecting to {to} took longer than {self._connect_timeout:g} s."
            case ssl.SSLCertVerificationError():
                text, retry = "The upstream's TLS certificate could not be verified.", Retry.OTHER_UPSTREAM
            case ssl.SSLError():
                text = "The TLS handshake with the upstream failed."
            case socket.gaierror() | UnicodeError():
                text = f"The name of {to} could not be resolved."
            case ConnectionRefusedError():
                text = f"The connection to {to} was refused."
            case ConnectionError():
                text = f"The connection to {to} was closed while it was being made."
            case _:
                text = f"Connecting to {to} failed."
        return Fault(Kind.UNREACHABLE, text, retry=retry)


class _HttpExchange:
    """One request under way; outlives a kept connection that turned out dead."""

    __slots__ = (
        "_connection",
        "_paused",
        "_replaced",
        "_transport",
        "address",
        "body",
        "dialling",
        "head",
        "over",
        "sink",
    )

    def __init__(self, transport: HttpTransport, address: Address, request: HttpRequest, sink: Sink) -> None:
        self._transport = transport
        self._connection: Connection | None = None
        self._paused = False
        self._replaced = False
        self.address = address
        self.body = request.body
        self.head = b""
        self.sink = sink
        self.dialling: asyncio.Task[None] | None = None
        self.over = False

    def start(self, connection: Connection) -> None:
        """Send the request on ``connection``."""
        self._connection = connection
        if self._paused:
            connection.pause()
        head, body = self.head, self.body
        if not connection.served:
            self.body = b""  # a large one need not live as long as the answer
        connection.send(head, body, self)

    def pause(self) -> None:
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume()

    def close(self) -> None:
        if self.over:
            return
        self._finish()
        if self.dialling is not None:
            self.dialling.cancel()
            self.dialling = None

    def completed(self, connection: Connection, *, reusable: bool) -> None:
        self._connection = None
        transport = self._transport
        if reusable:
            transport.keep(self.address, connection)
        if not self.over:
            self.over = True
            self.body = b""
            transport.forget(self)
            self.sink.on_end()

    def broken(self, connection: Connection, fault: Fault, *, unanswered: bool) -> None:
        self._connection = None
        if self.over:
            return
        if unanswered and connection.reused and not self._replaced:
            # The usual race of kept connections: closed by the other side while our request was on its way.
            self._replaced = True
            self._transport.dial(self)
            return
        self.failed(fault)

    def failed(self, fault: Fault) -> None:
        """End with a fault, unless it is over."""
        if self.over:
            return
        self._finish()
        if self.dialling is not None:
            self.dialling.cancel()
            self.dialling = None
        self.sink.on_error(fault)

    def _finish(self) -> None:
        self.over = True
        self.body = b""
        self._transport.forget(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


class _ProxyError(Exception):
    """The proxy did not open a tunnel."""


class _Greeter(asyncio.Protocol):
    """Asks a proxy for a tunnel and waits for its word."""

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: Proxy, address: Address) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport
        self._proxy = proxy
        self._authority = _authority(address.host, address.port, None)
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's transport reads and writes
        lines = [f"CONNECT {self._authority} HTTP/1.1", f"Host: {self._authority}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._answer) > _PROXY_HEAD:
                self._fail("The proxy's answer is too long.")
            return
        words = self._answer.split(b"\r\n", 1)[0].split(None, 2)
        status = words[1].decode("latin-1") if len(words) > 1 and words[0].startswith(b"HTTP/1.") else "no status"
        if not (len(status) == 3 and status.startswith("2") and status.isdigit()):
            said = status[:3] if status.isdigit() else "no HTTP"
            self._fail(f"The proxy refused to connect to the upstream ({said}).")
        elif end + 4 != len(self._answer):
            self._fail("The proxy sent something that was not asked for.")
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("The proxy closed the connection.")

    def _fail(self, text: str) -> None:
        if not self.done.done():
            self.done.set_exception(_ProxyError(text))


class _Collector:
    """A sink for a short answer that is wanted whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_bytes: int) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()
        self._max_bytes = max_bytes

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        if self.done.done():
            return
        if len(self.body) + len(data) > self._max_bytes:
            self.on_error(Fault(Kind.BAD_ANSWER, "The upstream's answer is too large."))
        else:
            self.body += data

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def on_error(self, fault: Fault) -> None:
        if not self.done.done():
            self.done.set_exception(fault)


async def fetch(
    transport: Transport,
    address: Address,
    request: HttpRequest,
    *,
    timeout: float,  # noqa: ASYNC109  # the answer to running out of time is a Fault
    max_bytes: int = 1 << 20,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of one short side call. Raises ``Fault``; closes the exchange when cancelled."""
    collector = _Collector(asyncio.get_running_loop(), max_bytes)
    exchange = transport.open(address, request, collector)
    try:
        async with asyncio.timeout(timeout):
            await collector.done
    except TimeoutError:
        raise Fault(Kind.UPSTREAM_TIMEOUT, f"The upstream did not answer within {timeout:g} s.") from None
    finally:
        exchange.close()
    return collector.status, collector.headers, bytes(collector.body)


def _authority(host: str, port: int, default: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == default else f"{name}:{port}"


__all__ = ["HttpTransport", "Proxy", "address_of", "fetch"]
