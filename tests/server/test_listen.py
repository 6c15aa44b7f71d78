"""Binding, descriptors, draining, signals, and worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.server.listen import (
    LoopErrors,
    PortInUse,
    bind,
    close_all,
    connection_limit,
    raise_descriptor_limit,
)

Start = Callable[..., Any]
SOURCE = Path(__file__).parents[2] / "src"
HAS_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()


@contextlib.contextmanager
def bound(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    sockets = bind(host, port)
    try:
        yield sockets
    finally:
        close_all(sockets)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_both_loopbacks_on_one_port(host: str) -> None:
    with bound(host) as sockets:
        names = [sock.getsockname()[:2] for sock in sockets]
        assert [name for name, _ in names] == ["127.0.0.1", "::1"][: 1 + HAS_IPV6]
        assert len({port for _, port in names}) == 1


def test_other_addresses_are_taken_as_they_are() -> None:
    with bound("0.0.0.0") as sockets:
        assert [sock.getsockname()[0] for sock in sockets] == ["0.0.0.0"]
    if HAS_IPV6:
        with bound("::1") as sockets:
            assert [sock.getsockname()[0] for sock in sockets] == ["::1"]


def test_a_port_in_use_is_its_own_error() -> None:
    with bound("127.0.0.1") as sockets:
        port = sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            with pytest.raises(PortInUse, match=f"{port} is in use already"):
                bind(host, port)


def test_the_other_loopback_in_use_is_an_error_too() -> None:
    if not HAS_IPV6:
        return
    with bound("::1") as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(PortInUse):
            bind("127.0.0.1", port)
        with socket.socket() as free:  # and the first one was given back
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))


def test_a_foreign_address_is_an_os_error() -> None:
    with pytest.raises(OSError, match="assign"):
        bind("192.0.2.1", 0)


def test_connection_limit_stays_below_the_descriptors() -> None:
    for descriptors in (1, 16, 64, 100, 256, 1024, 4096, 65536):
        assert 1 <= connection_limit(descriptors) <= max(1, descriptors - min(64, descriptors // 2))
    assert connection_limit(1024) == 480
    assert connection_limit(4096) > 2000


def test_the_soft_descriptor_limit_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_loop_errors_are_told_once_a_second() -> None:
    told: list[str] = []
    now = 0.0
    errors = LoopErrors(lambda message, error: told.append(f"{message} {error!r}"), clock=lambda: now)
    loop = asyncio.new_event_loop()
    for _ in range(1000):
        errors(loop, {"message": "accept failed", "exception": OSError(24, "x")})
    errors(loop, {"message": "another"})
    assert len(told) == 2
    now = 1.5
    errors(loop, {"message": "accept failed"})
    assert len(told) == 3
    for number in range(1000):
        errors(loop, {"message": str(number)})
    assert len(errors._last) <= 101
    loop.close()


# Draining.


def test_drain_closes_the_idle_at_once_and_refuses_the_new(serving: Start) -> None:
    s = serving()
    with s.client() as idle, s.client() as silent:
        assert idle.get().reply().status == 200
        s.wait_for(lambda: s.server.connections == 2)
        began = time.monotonic()
        assert s.drain(30).result(5) is True
        assert time.monotonic() - began < 1
        assert s.server.draining
        assert idle.is_closed()
        assert silent.is_closed()
        with pytest.raises(ConnectionRefusedError):
            s.client()


def test_drain_lets_running_requests_end(serving: Start) -> None:
    s = serving()
    with s.client() as stream, s.client() as waiting, s.client() as half:
        stream.get("/wait-in-stream").until(b"begun")
        waiting.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        half.send(b"GET /echo HT")
        s.wait_for(lambda: any(each._partial for each in s.server._service.connections))
        drained = s.drain(30)
        s.wait_for(lambda: s.server.draining)
        reply = half.send(b"TP/1.1\r\nHost: x\r\n\r\n").reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert half.is_closed()
        assert not drained.done()
        s.app.go.set()
        assert stream.until(b"0\r\n\r\n").endswith(b" done\r\n0\r\n\r\n")
        reply = waiting.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert drained.result(5) is True
        assert stream.is_closed()


def test_drain_waits_for_what_was_written_to_arrive(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/huge")
        s.wait_for(lambda: not s.app.booked.empty())
        drained = s.drain(30)
        assert len(c.reply().body) == 20_000_000
        assert drained.result(5) is True


def test_drain_cuts_at_its_limit(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        assert s.drain(0.2).result(5) is False
        assert s.app.events.get(timeout=5) == "cancelled"
        assert c.is_closed()
        assert s.booked() == ("/wait", 499, 0, "cut")


def test_drain_waits_for_work_after_the_answer(serving: Start) -> None:
    s = serving(grace=0.1)
    with s.client() as c:
        assert c.get("/work-after").reply().status == 200
    drained = s.drain(30)
    s.wait_for(lambda: s.server.connections == 0)
    assert not drained.done()
    s.app.go.set()
    assert drained.result(5) is True


# Processes.

PROGRAM = """
import asyncio, os, sys, time
sys.path.insert(0, {source!r})
from antigravity2api.server.base import Admission, Refusal
from antigravity2api.server.listen import Server, bind, run_loop, run_workers
from antigravity2api.server.service import Limits

class App:
    def admit(self, head):
        return Admission(self.answer, 0)

    async def answer(self, head, body, responder):
        if head.path == "/die":
            os._exit(7)
        if head.path == "/descriptors":
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        responder.start(200, [])
        responder.write(b"%d" % os.getpid())
        if head.path == "/slow":
            await asyncio.sleep(0.5)
        if head.path == "/forever":
            await asyncio.sleep(60)
        responder.end()

    def refuse(self, status, head, message):
        return Refusal(status, [], message.encode())

    def finished(self, *arguments):
        pass

async def main():
    def report(message, error):
        print("report:", message, file=sys.stderr)
    clean = await Server(App(), sockets, Limits(drain=5), report).run()
    return 0 if clean else 4

sockets = bind("127.0.0.1", 0)
print(sockets[0].getsockname()[1], flush=True)
{end}
"""
ONE = "sys.exit(run_loop(main()))"
TWO = "sys.exit(run_workers(2, sockets, lambda index: run_loop(main())))"


class Program:
    def __init__(self, end: str) -> None:
        code = textwrap.dedent(PROGRAM).format(source=str(SOURCE), end=end)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def get(self, path: str = "/") -> str:
        """The body of an answer on a fresh connection: the worker's process id."""
        with self.open(path) as sock:
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return data.partition(b"\r\n\r\n")[2].decode()

    def open(self, path: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return sock

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, errors


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    started: list[Program] = []

    def start(end: str) -> Program:
        started.append(Program(end))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.communicate(timeout=10)


def first_byte(sock: socket.socket) -> None:
    data = b""
    while not data.partition(b"\r\n\r\n")[2]:
        data += sock.recv(65536)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("end", [ONE, TWO], ids=["one process", "two workers"])
def test_a_signal_lets_streams_end_and_exits_clean(program: Callable[[str], Program], end: str, number: int) -> None:
    p = program(end)
    assert p.get().isdigit()
    with p.open("/slow") as sock:
        first_byte(sock)
        assert p.stop(number) == (0, "")
        assert sock.recv(100) == b""  # an end, not a reset


def test_a_second_signal_cuts(program: Callable[[str], Program]) -> None:
    p = program(ONE)
    with p.open("/forever") as sock:
        first_byte(sock)
        p.process.send_signal(signal.SIGTERM)
        time.sleep(1.1)
        assert p.process.poll() is None
        code, _ = p.stop()
        assert code in (0, 4)
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_a_dead_worker_is_replaced(program: Callable[[str], Program]) -> None:
    p = program(TWO)
    seen = {p.get() for _ in range(50)}
    assert 1 <= len(seen) <= 2
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            p.get("/die")
    end = time.monotonic() + 5
    while not ({p.get() for _ in range(10)} - seen):
        assert time.monotonic() < end
    assert p.stop() == (0, "")


def test_workers_that_cannot_live_end_the_supervisor(program: Callable[[str], Program]) -> None:
    p = program("sys.exit(run_workers(2, sockets, lambda index: 3, quick_deaths=3))")
    _, errors = p.process.communicate(timeout=10)
    assert (p.process.returncode, errors) == (3, "")


def test_a_worker_that_raises_says_why(program: Callable[[str], Program]) -> None:
    p = program("sys.exit(run_workers(1, sockets, lambda index: 1 / 0, quick_deaths=1))")
    _, errors = p.process.communicate(timeout=10)
    assert p.process.returncode == 1
    assert "ZeroDivisionError" in errors


def test_workers_end_with_their_supervisor(program: Callable[[str], Program]) -> None:
    p = program(TWO)
    workers = {p.get() for _ in range(50)}
    p.process.kill()
    end = time.monotonic() + 5
    while any(Path(f"/proc/{worker}").exists() and not is_zombie(worker) for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.01)
    # A connection that waited in the queue of a socket that closes is reset, a later one refused.
    with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
        p.get()


def is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def answers(p: Program) -> bool:
    try:
        return p.get().isdigit()
    except ConnectionError:
        return False


def test_out_of_descriptors_recovers_and_is_quiet(program: Callable[[str], Program]) -> None:
    p = program(ONE)
    p.get("/descriptors")
    clients = [socket.create_connection(("127.0.0.1", p.port), timeout=10) for _ in range(60)]
    time.sleep(1.2)
    for each in clients:
        each.close()
    end = time.monotonic() + 5
    while not answers(p):
        assert time.monotonic() < end
    code, errors = p.stop()
    assert code == 0
    assert len(errors.splitlines()) <= 5
