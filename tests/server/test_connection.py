"""Connections over real sockets: framing, order, limits, leaving, back-pressure, and that one never harms another."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from antigravity2api.server.answer import AnswerHeads
from antigravity2api.server.connection import PIPELINE_LIMIT

Start = Callable[..., Any]
"""``serving`` of conftest."""

FRAMING = {
    "both framings": (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two hosts": (b"Host: y\r\n\r\n", 400),
    "odd coding": (b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "folded": (b"X-A: b\r\n c\r\n\r\n", 400),
    "bare lf": (b"X-A: b\n", 400),
    "nul": (b"X-A: \x00", 400),
    "blank in a name": (b"X A: b\r\n\r\n", 400),
    "no colon": (b"XA\r\n\r\n", 400),
    "signed length": (b"Content-Length: +3\r\n\r\nabc", 400),
    "expectation": (b"Expect: the worst\r\n\r\n", 417),
    "large head": (b"X-A: " + b"a" * 40_000, 431),
    "declared 10 GB": (b"Content-Length: 10737418240\r\n\r\n", 413),
    "bad chunk size": (b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "bad chunk end": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
    "bare lf in a chunk": (b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
    "huge chunk": (b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 413),
}
LINES = {
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "no host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
    "http/9.9": (b"GET /echo HTTP/9.9\r\nHost: x\r\n\r\n", 505),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 300, 400),
    "chunked on 1.0": (b"POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "noise": (b"hello there\r\n\r\n", 400),
    "bare lf": (b"GET /echo HTTP/1.1\nHost: x\n\n", 400),
}


@pytest.mark.parametrize(("data", "status"), FRAMING.values(), ids=FRAMING.keys())
def test_bad_framing_is_answered_and_ends_the_connection(serving: Start, data: bytes, status: int) -> None:
    s = serving()
    with s.client() as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + data + b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = c.reply()
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        assert reply.json["error"]
        assert c.is_closed()
    assert s.booked()[1:] == (status, len(reply.body), "ok")
    assert s.app.booked.empty()
    assert s.reports == []


@pytest.mark.parametrize(("data", "status"), LINES.values(), ids=LINES.keys())
def test_bad_lines(serving: Start, data: bytes, status: int) -> None:
    with serving().client() as c:
        assert c.send(data).reply().status == status
        assert c.is_closed()


def test_every_answer_carries_the_safe_headers(serving: Start) -> None:
    s = serving()
    for path in ("/echo", "/refused", "/nowhere", "/crash", "/stream", "/nothing-to-say"):
        with s.client() as c:
            reply = c.get(path).reply()
        assert re.fullmatch(r"req_[0-9A-Za-z]{20,32}", reply.headers["x-request-id"])
        assert reply.headers["request-id"] == reply.headers["x-request-id"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"
        assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", reply.headers["date"])
        assert "server" not in reply.headers


def test_no_header_can_be_injected(serving: Start) -> None:
    s = serving()
    s.app.headers = [
        (b"x-value", b"a\r\nx-injected: 1\r\n\r\n<html>"),
        (b"x-name\r\nx-injected", b"1"),
        (b"x name", b"1"),
        (b"", b"1"),
        (b"content-length", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Server", b"x"),
        (b"X-Request-Id", b"mine"),
        (b"Cache-Control", b"max-age=5"),
        (b"Content-Security-Policy", b"sandbox"),
    ]
    with s.client() as c:
        reply = c.get().reply()
        assert "x-injected" not in reply.headers
        assert reply.headers["x-value"] == "a x-injected: 1 <html>"
        assert reply.headers["cache-control"] == "max-age=5"
        assert reply.headers["content-security-policy"] == "sandbox"
        assert not {"server", "transfer-encoding", "connection", "x name", ""} & set(reply.headers)
        assert reply.raw_head.lower().count(b"content-length") == 1
        assert reply.raw_head.lower().count(b"cache-control") == 1
        assert reply.headers["x-request-id"].startswith("req_")
        assert c.get().reply().status == 200


def test_heads_follow_the_clock_and_know_odd_statuses() -> None:
    heads = AnswerHeads()
    first = heads.head(0.9, 200, "r", [], b"")
    assert b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in first
    assert b"date: Thu, 01 Jan 1970 00:00:01 GMT\r\n" in heads.head(1.0, 200, "r", [], b"")
    assert heads.head(1.0, 599, "r", [], b"").startswith(b"HTTP/1.1 599 Unknown\r\n")
    for number in range(1000):
        assert b"n: %d\r\n" % number in heads.head(1.0, 200, "r", [(b"n", b"%d" % number)], b"")


def test_any_cut_of_requests_gives_the_same_answers(serving: Start) -> None:
    s = serving()
    data = (
        b"\r\nPOST /echo?a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /echo?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n"
        b"\r\nGET /echo?c HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    wanted = [("a", 5), ("b", 5), ("c", 0)]
    cuts = [[data], [data[position : position + 1] for position in range(len(data))]]
    cuts += [[data[:position], data[position:]] for position in range(1, len(data), 7)]
    for pieces in cuts:
        with s.client() as c:
            for piece in pieces:
                c.send(piece)
            shown = [c.reply().json for _ in wanted]
            assert [(each["query"], each["length"]) for each in shown] == wanted
            assert c.reply().status == 401
    assert s.reports == []


def test_pipelined_requests_are_answered_in_order(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        paths = ["/echo", "/stream", "/refused", "/nothing-to-say"]
        c.send(b"".join(f"GET {paths[n % 4]}?{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(400)))
        for number in range(100):
            assert c.reply().json["query"] == str(4 * number)
            assert c.reply().body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
            assert c.reply().status == 401
            assert c.reply().status == 204


def test_later_requests_wait_in_a_bounded_buffer(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        requests = (b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Pad: " + b"x" * 900 + b"\r\n\r\n") * 1000
        c.send(requests)
        (connection,) = s.server._service.connections
        s.wait_for(lambda: connection._flooded)
        assert len(connection._pending) <= PIPELINE_LIMIT
        s.app.go.set()
        reply = c.reply()
        assert reply.status == 200 and reply.headers["connection"] == "close"
        assert c.rest() == b""


def test_a_client_that_sends_too_much_and_leaves_is_noticed(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        c.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000)
        (connection,) = s.server._service.connections
        s.wait_for(lambda: connection._flooded)
    assert s.app.events.get(timeout=5) == "cancelled"


def test_keep_alive_goes_on_after_refusals_with_their_bodies_read(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        for body in (b"", b"x" * 1000):
            assert c.post("/refused", body).reply().status == 401
            assert c.post("/nowhere", body).reply().status == 404
            assert c.post("/crash", body).reply().status == 500
            assert c.post("/crash-in-admit", body).reply().status == 500
        assert c.post("/small", b"x" * 11).reply().status == 413
        c.send(b"POST /refused HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert c.reply().status == 401
        assert c.post("/echo", b"abc").reply().json["length"] == 3
    assert all("planted" in report for report in s.reports)


def test_a_refusal_is_seen_though_a_large_body_is_on_its_way(serving: Start) -> None:
    s = serving()
    body = b"x" * 5_000_000
    for path, status in (("/refused", 401), ("/small", 413), ("/nowhere", 404)):
        client = http.client.HTTPConnection("127.0.0.1", s.port, timeout=10)
        client.request("POST", path, body)
        answer = client.getresponse()
        assert answer.status == status
        assert answer.read()
        assert answer.getheader("connection") == "close"
        client.close()
        assert s.booked()[:2] == (path, status)


def test_reading_on_after_a_refusal_is_bounded_in_time(serving: Start) -> None:
    s = serving(linger=0.2)
    with s.client() as c:
        c.send(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert c.reply().status == 401
        assert c.is_closed()  # our side is closed at once
        s.wait_for(lambda: s.server.connections == 0)


def test_unread_chunked_body_too_large(serving: Start) -> None:
    s = serving()
    client = http.client.HTTPConnection("127.0.0.1", s.port, timeout=10)
    client.request("POST", "/small", iter([b"x" * 100_000] * 20), encode_chunked=True)
    assert client.getresponse().status == 413
    client.close()


def test_a_body_where_none_is_expected_is_read_past(serving: Start) -> None:
    with serving().client() as c:
        assert c.post("/bodiless", b"abc").reply().json["length"] == 0
        c.send(b"POST /bodiless HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        assert c.send(b"x" * 200_000).reply().json["length"] == 0
        assert c.get("/echo").reply().status == 200


def test_upgrade_is_ignored_and_the_body_is_a_body(serving: Start) -> None:
    with serving().client() as c:
        reply = c.post("/echo", b"hello", "Upgrade: websocket", "Connection: upgrade").reply()
        assert (reply.status, reply.json["length"]) == (200, 5)
        assert c.get().reply().status == 200


def test_large_bodies_arrive_whole(serving: Start) -> None:
    s = serving()
    body = bytes(range(256)) * 20_000
    with s.client() as c:
        assert c.post("/echo", body).reply().json["sha"] == hashlib.sha256(body).hexdigest()
        c.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            c.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert c.send(b"0\r\n\r\n").reply().json["sha"] == hashlib.sha256(body).hexdigest()


def test_large_answers_arrive_whole(serving: Start) -> None:
    with serving().client() as c:
        assert c.get("/large").reply().body == b"x" * 3_000_000
        assert c.get().reply().status == 200


def test_continue_is_said_only_after_admission(serving: Start) -> None:
    s = serving()
    head = "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with s.client() as c:
        c.send(head.format("/echo").encode())
        assert c.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert c.send(b"abc").reply().json["length"] == 3
        c.send(head.format("/echo").encode() + b"abc")
        assert c.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    with s.client() as c:
        c.send(head.format("/refused").encode())
        assert c.until(b"\r\n\r\n").startswith(b"HTTP/1.1 401 ")


def test_old_clients(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        reply = c.send(b"GET /echo HTTP/1.0\r\n\r\n").reply()
        assert reply.headers["connection"] == "close"
        assert c.is_closed()
    with s.client() as c:
        c.send(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert c.reply().headers["connection"] == "keep-alive"
        c.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = c.reply()
        assert reply.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert reply.headers["connection"] == "close"
        assert "transfer-encoding" not in reply.headers
    assert [s.booked()[3] for _ in range(3)] == ["ok"] * 3


def test_connection_close(serving: Start) -> None:
    with serving().client() as c:
        assert c.get("/stream", "Connection: close").reply().headers["connection"] == "close"
        assert c.is_closed()


def test_head_requests_get_no_body(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        for path in ("/echo", "/refused", "/stream", "/echo"):
            c.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            reply = c.reply("HEAD")
            assert reply.headers.get("transfer-encoding") == "chunked" or int(reply.headers["content-length"]) > 0
        reply = c.get("/nothing-to-say").reply()
        assert (reply.status, reply.headers.get("content-length")) == (204, None)
        assert c.get().reply().status == 200
    assert [s.booked()[2] for _ in range(5)] == [0] * 5


def test_a_streamed_head_leaves_by_itself(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        assert c.get("/head-first").until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        s.app.go.set()
        assert c.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_chunks_are_one_write_each(serving: Start) -> None:
    with serving().client() as c:
        reply = c.get("/stream")
        assert reply.until(b"\r\n\r\n")
        assert reply.until(b"0\r\n\r\n") == b"".join(b"9\r\ndata: %d\n\n\r\n" % n for n in range(3)) + b"0\r\n\r\n"


@pytest.mark.parametrize(("path", "status"), [("/crash", 500), ("/silent", 500), ("/crash-in-admit", 500)])
def test_a_failing_handler_is_500_without_its_words(serving: Start, path: str, status: int) -> None:
    s = serving()
    with s.client() as c:
        reply = c.get(path).reply()
        assert reply.status == status
        assert b"planted" not in reply.body
        assert c.get().reply().status == 200
    assert len(s.reports) == 1


@pytest.mark.parametrize("path", ["/crash-late", "/unfinished", "/twice"])
def test_a_stream_that_breaks_is_cut_and_not_ended(serving: Start, path: str) -> None:
    s = serving()
    with s.client() as c:
        c.get(path).until(b"\r\n\r\n")
        got = c.rest()
        assert not got.endswith(b"0\r\n\r\n")
        assert got == (b"" if path == "/twice" else b"4\r\nhalf\r\n")
    assert s.booked()[3] == "cut"
    with s.client() as c, pytest.raises(ConnectionResetError):
        # Until close there is no framing to be missing: only a reset tells.
        c.send(f"GET {path} HTTP/1.0\r\n\r\n".encode()).rest()


def test_an_application_that_fails_to_word_or_book_costs_nothing_else(serving: Start) -> None:
    s = serving()

    def fail(*arguments: object) -> None:
        raise RuntimeError("planted")

    s.app.finished = s.app.refuse = fail
    with s.client() as c:
        assert c.get().reply().status == 200
        assert c.get("/crash").reply().status == 500
        assert c.send(b"nonsense\r\n\r\n").reply().status == 400
    s.wait_for(lambda: len(s.reports) == 6)


# Time.


def test_a_connection_that_never_speaks_is_cut(serving: Start) -> None:
    s = serving(head=0.2)
    with s.client() as c:
        assert c.is_closed()
    assert s.app.booked.empty()


def test_a_slow_head_is_408(serving: Start) -> None:
    s = serving(head=0.2)
    with s.client() as c:
        assert c.send(b"GET /echo HTTP/1.1\r\nHo").reply().status == 408
        assert c.is_closed()
    with s.client() as c:
        assert c.get().reply().status == 200
        began = time.monotonic()
        assert c.send(b"GET /ec").reply().status == 408
        assert 0.1 < time.monotonic() - began < 3
    with s.client() as c:
        for _ in range(500):  # each byte in time, the whole not
            c.send(b"G")
            if select.select([c.sock], [], [], 0.02)[0]:
                break
        assert c.reply().status == 408


def test_a_slow_body_is_408(serving: Start) -> None:
    s = serving(body=0.2)
    for framing in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
        with s.client() as c:
            assert c.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + framing).reply().status == 408
            assert c.is_closed()
        assert s.booked() == ("/echo", 408, len(b'{"error": "The request\'s body took too long."}'), "ok")


def test_a_large_body_gets_more_time(serving: Start) -> None:
    s = serving(body=0.2)
    with s.client() as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 199_999)
        assert not select.select([c.sock], [], [], 0.6)[0]  # 199,999 bytes are worth three seconds
        assert c.send(b"x").reply().json["length"] == 200_000


def test_an_idle_connection_is_closed_without_a_word(serving: Start) -> None:
    s = serving(keepalive=0.2)
    with s.client() as c:
        assert c.get().reply().status == 200
        assert c.is_closed()


def test_a_running_request_has_no_limit_here(serving: Start) -> None:
    s = serving(head=0.1, body=0.1, keepalive=0.1)
    with s.client() as c:
        c.get("/wait")
        assert not select.select([c.sock], [], [], 0.4)[0]
        s.app.go.set()
        assert c.reply().status == 200


# Leaving.


@pytest.mark.parametrize("path", ["/wait", "/wait-in-stream"])
def test_leaving_cancels_the_handler(serving: Start, path: str) -> None:
    s = serving(grace=0.2)
    c = s.client().get(path)
    if path == "/wait":
        assert s.app.events.get(timeout=5) == "waiting"
    else:
        c.until(b"begun")
    began = time.monotonic()
    c.sock.close()
    assert s.app.events.get(timeout=5) == "cancelled"
    assert time.monotonic() - began < 1
    assert s.booked() == (path, *((499, 0) if path == "/wait" else (200, 5)), "left")


def test_a_reset_cancels_at_once(serving: Start) -> None:
    s = serving(grace=60)
    with s.client() as c:
        c.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert s.app.events.get(timeout=5) == "cancelled"
    assert s.booked()[3] == "left"


def test_a_client_that_leaves_before_its_handler_began(serving: Start) -> None:
    s = serving()
    for _ in range(20):
        with s.client() as c:
            c.get("/wait")
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with s.client() as c:  # connections are accepted in their order: after this one all have been
        assert c.get().reply().status == 200
    s.wait_for(lambda: s.server.connections == 0 and not s.server._service.running)
    booked = [s.booked() for _ in range(s.app.booked.qsize())]
    assert [outcome for path, _, _, outcome in booked if path == "/wait"] == ["left"] * (len(booked) - 1)
    assert s.reports == []


@pytest.mark.parametrize("path", ["/at-once", "/in-callbacks"])
def test_requests_without_a_task_are_answered_in_order(serving: Start, path: str) -> None:
    s = serving()
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with s.client() as c:
        c.send(asked * 600)  # in one read: none may be answered within another
        for _ in range(600):
            assert c.reply().json == {}
        assert c.get().reply().status == 200
    assert [s.booked()[3] for _ in range(601)] == ["ok"] * 601
    s.wait_for(lambda: not s.server._service.running)
    assert s.reports == []


@pytest.mark.parametrize(
    ("path", "words"), [("/leaves-silent", "a handler returned without an answer"), ("/breaks", "a handler failed")]
)
def test_requests_without_a_task_that_fail_are_answered_and_reported(serving: Start, path: str, words: str) -> None:
    s = serving()
    with s.client() as c:
        assert c.get(path).reply().status == 500
        assert c.get().reply().status == 200
    assert [report.partition(":")[0] for report in s.reports] == [words]


def test_leaving_cancels_a_request_without_a_task(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/never")
        assert s.app.events.get(timeout=5) == "waiting"
    assert s.app.events.get(timeout=5) == "cancelled"
    assert s.booked()[3] == "left"
    s.wait_for(lambda: not s.server._service.running)


def test_leaving_in_the_body(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        s.wait_for(lambda: len(s.app.heads) == 1)
    assert s.booked() == ("/echo", 499, 0, "left")


def test_leaving_in_the_head_is_nothing(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.send(b"GET / HT")
    with s.client() as c:
        c.send(b"GET / HT").half_close()
        assert c.is_closed()
    s.wait_for(lambda: s.server.connections == 0)
    assert s.app.booked.empty()


def test_half_close_still_gets_the_answers(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.get("/wait")
        assert s.app.events.get(timeout=5) == "waiting"
        c.get("/echo").get("/stream").half_close()
        s.app.go.set()
        assert c.reply().status == 200
        assert c.reply().status == 200
        assert c.reply().body.startswith(b"data: 0")
        assert c.is_closed()
    assert [s.booked()[3] for _ in range(3)] == ["ok"] * 3


def test_the_grace_of_a_half_close_ends(serving: Start) -> None:
    s = serving(grace=0.2)
    with s.client() as c:
        c.get("/wait").half_close()
        assert c.is_closed()
    assert s.app.events.get(timeout=5) == "waiting"
    assert s.app.events.get(timeout=5) == "cancelled"
    assert s.booked()[3] == "left"


def test_work_after_the_answer_outlives_the_client(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        assert c.get("/work-after", "Connection: close").reply().status == 200
        assert c.is_closed()
    s.wait_for(lambda: s.server.connections == 0)
    s.app.go.set()
    assert s.app.events.get(timeout=5) == "booked"
    assert s.booked() == ("/work-after", 200, 2, "ok")


# Slow readers.


@pytest.mark.slow
def test_a_slow_reader_holds_the_writer_back_and_gets_everything(serving: Start) -> None:
    s = serving()
    with s.client(receive_buffer=65536) as c:
        c.get("/firehose")
        s.wait_for(lambda: s.app.paused > 0)
        time.sleep(0.1)  # the kernel's buffers fill up
        held = s.app.written
        time.sleep(0.1)
        assert s.app.written == held < 8_000_000
        assert len(c.reply().body) == 8_000_000
    assert s.booked() == ("/firehose", 200, 8_000_000, "ok")


def test_a_reader_that_stops_is_cut(serving: Start) -> None:
    s = serving(write=0.2)
    with s.client(receive_buffer=8192) as c:
        c.get("/firehose")
        assert s.booked()[3] == "cut"
        s.wait_for(lambda: s.server.connections == 0)


@pytest.mark.slow
def test_pipelined_large_answers_wait_for_the_reader(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        s.wait_for(lambda: not s.app.booked.empty())
        time.sleep(0.1)
        assert s.app.booked.qsize() < 10
        for _ in range(30):
            assert len(c.reply().body) == 3_000_000


@pytest.mark.parametrize("line", ["X: y", "Connection: close"])
def test_a_reader_that_stops_after_a_large_answer_is_cut(serving: Start, line: str) -> None:
    s = serving(write=0.2)
    with s.client(receive_buffer=8192) as c:
        c.get("/huge", line)
        assert s.booked()[3] == "ok"  # all was handed over; that it never arrived nobody can know
        began = time.monotonic()
        s.wait_for(lambda: s.server.connections == 0)
        assert time.monotonic() - began < 3


@pytest.mark.slow
@pytest.mark.parametrize("line", ["X: y", "Connection: close"])
def test_a_slow_line_is_not_a_client_that_stops(serving: Start, line: str) -> None:
    s = serving(write=0.3)
    began = time.monotonic()
    with s.client() as c:
        c.get("/huge", line)
        c.until(b"\r\n\r\n")
        for _ in range(10):
            c.exactly(2_000_000)
            time.sleep(0.05)
        if line == "X: y":
            assert c.get().reply().status == 200
        else:
            assert c.is_closed()
    assert time.monotonic() - began > 0.4


# Many.


def test_many_idle_connections_harm_nobody(serving: Start) -> None:
    s = serving()
    clients = [s.client() for _ in range(200)]
    for c in clients[::2]:
        c.get()
    with s.client() as c:
        for _ in range(20):
            assert c.get().reply().status == 200
    assert all(c.reply().status == 200 for c in clients[::2])
    assert all(c.get("/stream").reply().status == 200 for c in clients)
    for c in clients:
        c.sock.close()
    s.wait_for(lambda: s.server.connections == 0)
    assert s.reports == []


def test_full_means_that_the_silent_make_room_oldest_first(serving: Start) -> None:
    s = serving(max_connections=3)
    silent, second, busy = s.client(), s.client(), s.client()
    s.wait_for(lambda: s.server.connections == 3)
    busy.get("/wait")
    assert s.app.events.get(timeout=5) == "waiting"
    with s.client() as c:
        assert c.get().reply().status == 200
        assert silent.is_closed()
        assert second.get("/wait") is second
        assert s.app.events.get(timeout=5) == "waiting"
        with s.client() as d:  # now the idle one makes room
            assert d.get("/wait") is d
            assert s.app.events.get(timeout=5) == "waiting"
            assert c.is_closed()
            with s.client() as refused:
                assert refused.is_closed()
            s.app.go.set()
            assert [each.reply().status for each in (busy, second, d)] == [200] * 3
    for each in (silent, second, busy):
        each.sock.close()


def test_a_broken_connection_is_reported_and_stays_alone(serving: Start) -> None:
    s = serving()
    with s.client() as good, s.client() as bad:
        assert good.get().reply().status == 200
        bad.send(b"GET /ec")
        s.wait_for(lambda: any(each._partial for each in s.server._service.connections))
        (victim,) = [each for each in s.server._service.connections if each._partial]
        victim._partial = "not bytes"
        assert bad.send(b"ho").is_closed()
        assert good.get().reply().status == 200
    assert len(s.reports) == 1
    assert "a connection failed" in s.reports[0]


def test_the_head_says_who_and_where(serving: Start) -> None:
    s = serving()
    with s.client() as c:
        c.post("/echo?x=1", json.dumps({}).encode(), "Authorization: Bearer a", "Authorization: Bearer b").reply()
        head = s.app.heads[0]
        assert head.peer == "127.0.0.1"
        assert head.local == f"127.0.0.1:{s.port}"
        assert head.headers["authorization"] == "Bearer a, Bearer b"
    with socket.create_connection(("::1", s.port)) as v6:
        v6.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert v6.recv(100)
        assert s.app.heads[1].peer == "::1"
        assert s.app.heads[1].local == f"[::1]:{s.port}"
