"""Where the server meets the machine: sockets, descriptors, starting, draining, and several worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

from antigravity2api.server.base import Application
from antigravity2api.server.connection import Connection
from antigravity2api.server.service import Limits, Report, Service

T = TypeVar("T")

BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "localhost")
_RESERVED_DESCRIPTORS = 64
_DESCRIPTORS_WANTED = 65536
_LAST_WORDS = 2.0
"""Seconds that cut requests get to clean up."""
_SECOND_SIGNAL = 1.0
"""A terminal and a supervisor may both send the first one; only a later one is meant as `now`."""
_TURNS = 3
"""Turns of the loop after which what was accepted before a drain has become a connection."""
_QUICK_DEATH = 1.0
QUICK_DEATHS = 5
"""So many workers dying young in a row, and the supervisor gives up."""
_STOPPERS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_BACKOFF = 0.8


class PortInUse(OSError):
    """Another process listens there already."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EADDRINUSE, f"{host}:{port} is in use already")
        self.host = host
        self.port = port


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for an address; the IPv4 loopback brings the IPv6 one along where the machine has it, since
    clients take `localhost` for either. Raises ``PortInUse``, or ``OSError`` for an address that is not ours."""
    if host not in _LOOPBACK:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address[0]) for family, _, _, _, address in found)
        return _listen_all([(family, str(name)) for family, name in addresses], port)
    sockets = _listen_all([(socket.AF_INET, "127.0.0.1")], port)
    try:
        sockets += _listen_all([(socket.AF_INET6, "::1")], sockets[0].getsockname()[1])
    except PortInUse:
        close_all(sockets)
        raise
    except OSError:
        return sockets  # no IPv6 on this machine
    return sockets


def _listen_all(addresses: list[tuple[int, str]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    name = ""
    try:
        for family, name in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(name != "::"))
            sock.bind((name, port))
            sock.listen(BACKLOG)  # at once: until then another process could still take the port
    except OSError as error:
        close_all(sockets)
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(name, port) from None
        raise
    return sockets


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close the sockets of ``bind``."""
    for sock in sockets:
        sock.close()


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what it is now."""
    try:
        import resource  # noqa: PLC0415 - only Unix has it
    except ImportError:
        return _DESCRIPTORS_WANTED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS_WANTED if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def connection_limit(descriptors: int) -> int:
    """How many clients fit below a descriptor limit: some are kept for files, and every running request needs
    one towards the upstream as well."""
    reserved = _RESERVED_DESCRIPTORS if descriptors >= 4 * _RESERVED_DESCRIPTORS else descriptors // 2
    left = descriptors - reserved
    return max(1, left // 2)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop of uvloop where it is installed, else asyncio's."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


class Server:
    """The listening server of one process. ``on_drain`` is called when a drain begins, before anything is closed."""

    def __init__(
        self,
        app: Application,
        sockets: Sequence[socket.socket],
        limits: Limits,
        report: Report,
        on_drain: Callable[[], None] | None = None,
    ) -> None:
        self._app = app
        self._sockets = sockets
        self._limits = limits
        self._report = report
        self._on_drain = on_drain
        self._service: Service | None = None
        self._servers: list[asyncio.Server] = []

    @property
    def draining(self) -> bool:
        """Whether a shutdown has begun: readiness says 503 then."""
        return self._service is not None and self._service.draining

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._service.connections) if self._service is not None else 0

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        capacity = self._limits.max_connections or connection_limit(raise_descriptor_limit())
        service = self._service = Service(self._app, self._limits, self._report, capacity)
        loop.set_exception_handler(LoopErrors(self._report))
        for sock in self._sockets:
            server = await loop.create_server(lambda: Connection(service), sock=sock, backlog=BACKLOG)
            self._servers.append(server)

    async def drain(self, seconds: float | None = None) -> bool:
        """Stop: no new connections, idle ones closed at once, running requests within ``seconds`` (the limit's drain by
        default), then cut. True when nothing had to be cut."""
        service = self._service
        if service is None:
            return True
        if self._on_drain is not None:
            self._on_drain()
        service.draining = True
        for server in self._servers:
            server.close()
        close_all(self._sockets)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for connection in list(service.connections):
            connection.drain()
        try:
            async with asyncio.timeout(self._limits.drain if seconds is None else seconds):
                await service.empty()
        except TimeoutError:
            await self._cut(service)
            return False
        finally:
            service.booking.run()  # nobody's request goes without its line
        return True

    async def run(self) -> bool:
        """Serve until SIGTERM or SIGINT, then drain; a second signal cuts at once. The result is ``drain``'s."""
        loop = asyncio.get_running_loop()
        stop, now = asyncio.Event(), asyncio.Event()
        first = 0.0

        def on_signal() -> None:
            nonlocal first
            if not stop.is_set():
                first = time.monotonic()
                stop.set()
            elif time.monotonic() - first >= _SECOND_SIGNAL:
                now.set()

        for number in _STOPPERS:
            loop.add_signal_handler(number, on_signal)
        try:
            await self.start()
            await stop.wait()
            draining, hurry = asyncio.create_task(self.drain()), asyncio.create_task(now.wait())
            await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if not draining.done() and self._service is not None:
                await self._cut(self._service)
            return await draining
        finally:
            for number in _STOPPERS:
                loop.remove_signal_handler(number)

    async def _cut(self, service: Service) -> None:
        for connection in list(service.connections):
            connection.interrupt()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS / 4):
                await service.empty()
        for connection in list(service.connections):
            connection.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await service.empty()


class LoopErrors:
    """The loop's exception handler: one report a second for each message. A process out of descriptors fails to accept
    thousands of times a second, and the default handler writes a traceback for each."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._last: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = str(context.get("message", "an error in the event loop"))[:200]
        now = self._clock()
        if now - self._last.get(message, -math.inf) < 1.0:
            return
        if len(self._last) > 100:
            self._last.clear()
        self._last[message] = now
        error = context.get("exception")
        self._report(message, error if isinstance(error, BaseException) else None)


def run_workers(
    count: int, sockets: Sequence[socket.socket], target: Callable[[int], int], *, quick_deaths: int = QUICK_DEATHS
) -> int:
    """Run ``target(index)`` in ``count`` forked processes that share the listening ``sockets``, and look after them: a
    dead one is replaced, SIGTERM and SIGINT are passed on as SIGTERM. Returns when all have ended, 0 after a clean
    stop. To be called before any thread or event loop exists."""
    return _Supervisor(count, sockets, target, quick_deaths).run()


class _Supervisor:
    def __init__(
        self, count: int, sockets: Sequence[socket.socket], target: Callable[[int], int], quick_deaths: int
    ) -> None:
        self._count = count
        self._sockets = sockets
        self._target = target
        self._quick_deaths = quick_deaths
        self._children: dict[int, tuple[int, float]] = {}
        self._stopping = False
        self._quick = 0
        self._code = 0
        self._leash = os.pipe()

    def run(self) -> int:
        previous = {number: signal.signal(number, self._on_signal) for number in _STOPPERS}
        try:
            for index in range(self._count):
                self._fork(index)
            while self._children:
                pid, status = os.waitpid(-1, 0)
                child = self._children.pop(pid, None)
                if child is not None:
                    self._ended(*child, os.waitstatus_to_exitcode(status))
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            for end in self._leash:
                os.close(end)
        return self._code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        close_all(self._sockets)
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _ended(self, index: int, born: float, code: int) -> None:
        if self._stopping:
            if code not in (0, -signal.SIGTERM):
                self._code = self._code or 1
            return
        self._quick = self._quick + 1 if time.monotonic() - born < _QUICK_DEATH else 0
        if self._quick >= self._quick_deaths:  # it cannot live: let whoever started us know
            self._code = code if code > 0 else 1
            self._stop()
            return
        if self._quick:
            time.sleep(min(0.05 * 2**self._quick, _LONGEST_BACKOFF))
        self._fork(index)

    def _fork(self, index: int) -> None:
        # No stop signal may fall between the fork and the entry in the table: the child would not hear of it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPERS)
        try:
            if self._stopping:
                return
            pid = os.fork()
            if pid == 0:
                self._child(index)
            self._children[pid] = (index, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPERS)

    def _child(self, index: int) -> NoReturn:
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPERS)
            os.close(self._leash[1])
            threading.Thread(target=_follow, args=(self._leash[0],), daemon=True).start()
            code = self._target(index)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001 - a forked child must not run on in its parent's code
            sys.excepthook(*sys.exc_info())
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(code)


def _follow(leash: int) -> None:
    """End with the parent: its end of the pipe closes however it dies, and orphans would hold on to the port."""
    with contextlib.suppress(OSError):
        os.read(leash, 1)
        os.kill(os.getpid(), signal.SIGTERM)
