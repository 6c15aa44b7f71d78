"""The outside of the outside: keys, paths, bodies, the raw protocol."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import orjson
import pytest

from fakes.client import CHAT, Connection, Headers, bearer, call, chat, compose
from fakes.gateway import KEY, GatewayProcess, Start, World
from fakes.google import picture
from fakes.upstream import ScriptedUpstream, as_asked, parts_event, sse, text_events

BODY = {"model": "gemini-2.0-flash-exp", "messages": [{"role": "user", "content": "Hello"}]}
JSON: Headers = (("Content-Type", "application/json"),)


# Keys.

GOOD_KEYS: dict[str, Headers] = {
    "bearer": bearer(KEY),
    "any case of the header": (("AUTHORIZATION", f"Bearer {KEY}"),),
    "x-api-key": (("x-api-key", KEY),),
    "x-goog-api-key": (("x-goog-api-key", KEY),),
    "api-key": (("api-key", KEY),),
}
BAD_KEYS: dict[str, Headers] = {
    "none": (),
    "empty": (("Authorization", ""),),
    "empty bearer": (("Authorization", "Bearer "),),
    "wrong": bearer("sk-wrong"),
    "prefix of the key": bearer(KEY[:-1]),
    "longer than the key": bearer(KEY + "x"),
    "another case": bearer(KEY.upper()),
    "basic": (("Authorization", "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode()),),
    "no scheme": (("Authorization", KEY),),
    "two headers": (*bearer(KEY), *bearer(KEY)),
    "two different headers": (*bearer("sk-wrong"), *bearer(KEY)),
    "quoted": bearer("' OR 1=1 --"),
    "cookie": (("Cookie", f"key={KEY}"),),
}


@pytest.mark.parametrize("name", GOOD_KEYS)
def test_good_key(world: World, name: str) -> None:
    assert call(world.gateway.port, "GET", "/v1/models", headers=GOOD_KEYS[name]).status == 200


@pytest.mark.parametrize("name", BAD_KEYS)
@pytest.mark.parametrize("target", ["/v1/models", CHAT])
def test_bad_key(world: World, name: str, target: str) -> None:
    method, body = ("GET", None) if target == "/v1/models" else ("POST", BODY)
    reply = call(world.gateway.port, method, target, headers=(*BAD_KEYS[name], *JSON), body=body)
    assert reply.status == 401
    assert (reply.error["type"], reply.error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert not world.upstream.requests


@pytest.mark.parametrize(
    "target", [f"/v1/models?key={KEY}", f"/v1/models?api_key={KEY}", f"/v1/models?access_token={KEY}"]
)
def test_a_key_in_the_query_is_no_key(world: World, target: str) -> None:
    assert call(world.gateway.port, "GET", target).status == 401
    assert KEY not in "".join(line for line in world.gateway.stderr.splitlines() if "/v1/models" in line)


def test_several_client_keys() -> None:
    with GatewayProcess("--sandbox", key="sk-one, sk-two") as gateway:
        assert [call(gateway.port, "GET", "/v1/models", key=k).status for k in ("sk-one", "sk-two", "sk-three")] == [
            200,
            200,
            401,
        ]


def test_wrong_keys_do_not_lock_the_right_one_out(world: World) -> None:
    for _ in range(30):
        assert call(world.gateway.port, "GET", "/v1/models", key="sk-wrong").status == 401
    assert call(world.gateway.port, "GET", "/v1/models", key=KEY).status == 200


def test_the_key_is_checked_before_the_body_is_read(world: World) -> None:
    with Connection(world.gateway.port, timeout=5) as connection:
        headers = (("Host", "localhost"), ("Content-Length", "1000000"), *JSON)
        connection.send(compose("POST", CHAT, headers))
        assert connection.read().status == 401


# Paths. Only the exact, case-sensitive path after one percent-decoding is a route.

WITHOUT_A_KEY = [
    "/v1/models", "/V1/models", "/v1//models", "//v1/models", "/v1/models/", "/v1/./models", "/v1/../v1/models",
    "/%76%31/models", "/v1%2Fmodels", "/v1/models;x", "/v1/models%00", "/v1/models%20", "/v1\\models", "/nothing", "/",
    "/health/../v1/models", "/health/live/../../v1/models", "/images/../v1/models",
    "/health/live%2F..%2F..%2Fv1%2Fmodels",
    "/admin/", "/metrics", "/docs", "/openapi.json", "/models",
]  # fmt: skip


@pytest.mark.parametrize("target", WITHOUT_A_KEY)
def test_nothing_opens_without_a_key(world: World, target: str) -> None:
    reply = call(world.gateway.port, "GET", target)
    assert reply.status in (401, 400), (reply.status, reply.body[:200])
    assert b'"data"' not in reply.body


@pytest.mark.parametrize(
    "target",
    [
        "/V1/models",
        "/v1/Models",
        "/v1//models",
        "/v1/./models",
        "/v1/%2e%2e/v1/models",
        "/v1/models%2F..",
        "/v2/models",
    ],
)
def test_near_misses_are_not_found(world: World, target: str) -> None:
    reply = call(world.gateway.port, "GET", target, key=KEY)
    assert reply.status == 404, reply.body
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "target", ["/v1/models", "/models", "/v1/models?beta=true", "/%76%31/models", "/v1/models/gemini-2.0-flash-exp",
               "/v1/models/models%2Fgemini-2.0-flash-exp", "/v1/models/models/gemini-2.0-flash-exp"]
)  # fmt: skip
def test_spellings_of_a_route(world: World, target: str) -> None:
    assert call(world.gateway.port, "GET", target, key=KEY).status == 200


@pytest.mark.parametrize(
    "target", [CHAT, "/chat/completions", CHAT + "?api-version=1", "/v1/engines/gemini-2.0-flash-exp/chat/completions"]
)
def test_spellings_of_chat(world: World, target: str) -> None:
    world.upstream.play(as_asked(text_events("Hello")))
    reply = call(world.gateway.port, "POST", target, key=KEY, body=BODY)
    assert (reply.status, reply.text) == (200, "Hello")


@pytest.mark.parametrize(
    ("method", "target"), [("GET", CHAT), ("PUT", CHAT), ("DELETE", "/v1/models"), ("PATCH", "/v1/models")]
)
def test_a_wrong_method(world: World, method: str, target: str) -> None:
    reply = call(world.gateway.port, method, target, key=KEY)
    assert reply.status == 405
    assert reply.error["type"] == "invalid_request_error"
    assert reply.header("allow")


@pytest.mark.parametrize("target", ["/health/live", "/health/ready"])
def test_health_needs_no_key(world: World, target: str) -> None:
    assert call(world.gateway.port, "GET", target).status == 200


def test_images_need_no_key_and_tell_nothing(world: World) -> None:
    data = base64.b64encode(picture()).decode()
    world.upstream.play(as_asked([parts_event({"inlineData": {"mimeType": "image/png", "data": data}}, finish="STOP")]))
    text = chat(world.gateway.port, model="gemimi-3.0-pro-image").text
    path = "/images/" + text.split("/images/")[1].split(")")[0]
    reply = call(world.gateway.port, "GET", path)
    assert (reply.status, reply.header("content-type"), reply.body) == (200, "image/png", picture())
    assert reply.header("x-content-type-options") == "nosniff"
    assert (reply.header("content-disposition") or "").startswith("inline")
    assert len(path.split("/")[-1].split(".")[0]) >= 22, "at least 128 bits"
    assert call(world.gateway.port, "HEAD", path).status in (200, 405)
    for other in (
        "/images/",
        "/images",
        "/images/../antigravity2api.db",
        "/images/%2e%2e%2fsecret.key",
        path + "x",
        "/images/nope.png",
    ):
        assert call(world.gateway.port, "GET", other).status in (401, 404), other


# What every answer carries.


@pytest.mark.parametrize(
    ("method", "target", "key"),
    [
        ("GET", "/v1/models", KEY),
        ("GET", "/v1/models", None),
        ("GET", "/nothing", KEY),
        ("GET", "/health/live", None),
        ("GET", CHAT, KEY),
    ],
)
def test_every_answer_has_an_id_and_no_server_name(world: World, method: str, target: str, key: str | None) -> None:
    reply = call(world.gateway.port, method, target, key=key)
    assert (reply.header("x-request-id") or "").startswith("req_")
    assert reply.header("x-content-type-options") == "nosniff"
    assert reply.header("server") is None
    assert reply.header("x-powered-by") is None
    assert reply.header("access-control-allow-origin") is None


def test_headers_of_a_chat_answer(world: World) -> None:
    world.upstream.play(sse(text_events("Hi")), sse(text_events("Hi")))
    for stream in (False, True):
        reply = chat(world.gateway.port, stream=stream, headers=(("X-Request-Id", "mine"),))
        assert reply.header("x-request-id") == reply.header("request-id") != "mine"
        assert float(reply.header("openai-processing-ms") or "x") >= 0
        assert "no-cache" in (reply.header("cache-control") or "") or not stream


def test_request_ids_differ(world: World) -> None:
    ids = {call(world.gateway.port, "GET", "/health/live").header("x-request-id") for _ in range(5)}
    assert len(ids) == 5


def test_a_foreign_origin_gets_no_credentials(world: World) -> None:
    reply = call(world.gateway.port, "OPTIONS", CHAT, headers=(("Origin", "https://evil.example"),))
    assert reply.header("access-control-allow-credentials") is None
    assert reply.header("access-control-allow-origin") is None


# Bodies.


def test_a_compressed_body_is_415(world: World) -> None:
    body = gzip.compress(orjson.dumps(BODY))
    reply = call(world.gateway.port, "POST", CHAT, key=KEY, body=body, headers=(*JSON, ("Content-Encoding", "gzip")))
    assert (reply.status, reply.error["type"]) == (415, "invalid_request_error")
    assert not world.upstream.requests


def test_identity_is_no_compression(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    headers = (*JSON, ("Content-Encoding", "identity"))
    assert call(world.gateway.port, "POST", CHAT, key=KEY, body=BODY, headers=headers).status == 200


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"  ",
    "no JSON": b"hello",
    "cut JSON": b'{"model": "m", "messages": [',
    "two values": b"{} {}",
    "array": b"[]",
    "string": b'"x"',
    "null": b"null",
    "not UTF-8": b'{"model": "\xff\xfe", "messages": []}',
    "NaN": b'{"model": "m", "messages": [], "temperature": NaN}',
    "Infinity": b'{"model": "m", "messages": [], "temperature": Infinity}',
    "1e999": b'{"model": "m", "messages": [], "temperature": 1e999}',
    "deep": b'{"model": "m", "messages": ' + b"[" * 100 + b"]" * 100 + b"}",
    "very deep": b"[" * 100_000,
    "long number": b'{"model": "m", "messages": [], "seed": ' + b"9" * 65 + b"}",
    "trailing comma": b'{"model": "m",}',
    "comment": b'{"model": "m" /* x */}',
    "single quotes": b"{'model': 'm'}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_body(world: World, name: str) -> None:
    reply = call(world.gateway.port, "POST", CHAT, key=KEY, body=BAD_BODIES[name], headers=JSON)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error"), reply.body
    assert not world.upstream.requests


def test_a_byte_order_mark_is_tolerated(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    body = b"\xef\xbb\xbf" + orjson.dumps(BODY)
    assert call(world.gateway.port, "POST", CHAT, key=KEY, body=body, headers=JSON).status == 200


def test_depth_in_strings_does_not_count(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    assert chat(world.gateway.port, "[" * 500 + '\\"' * 9).status == 200


@pytest.mark.parametrize("ways", ["declared", "chunked"])
def test_a_body_that_is_too_large(start: Start, upstream: ScriptedUpstream, ways: str) -> None:
    gateway = start(max_body=100_000)
    body = orjson.dumps({**BODY, "messages": [{"role": "user", "content": "x" * 200_000}]})
    if ways == "declared":
        reply = call(gateway.port, "POST", CHAT, key=KEY, body=body)
    else:
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(p), p) for p in (body[i : i + 9000] for i in range(0, len(body), 9000))
        )
        with Connection(gateway.port) as connection:
            headers = (("Host", "x"), *bearer(KEY), *JSON, ("Transfer-Encoding", "chunked"))
            connection.send(compose("POST", CHAT, headers, chunks + b"0\r\n\r\n"))
            reply = connection.read()
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert not upstream.requests


def test_a_chunked_body_is_read(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    body = orjson.dumps(BODY)
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (1, bytes([b])) for b in body)
    with Connection(world.gateway.port) as connection:
        headers = (("Host", "x"), *bearer(KEY), *JSON, ("Transfer-Encoding", "chunked"))
        connection.send(compose("POST", CHAT, headers, chunks + b"0\r\n\r\n"))
        assert connection.read().text == "Hello"


# Nothing of a request steers the upstream call.

STEERING = [
    "../../v1beta/tunedModels/x", "..", "a/../b", "m?key=evil", "m#x", "m%2fx", "m:generateContent", "m\\x",
    "m\r\nX: y", "m x", "", "https://evil.example/m", "//evil.example/m", "m\x00", "x" * 257,
    "модель", "models/", "models/a/b",
    "tunedModels/../x",
]  # fmt: skip


@pytest.mark.parametrize("model", STEERING)
def test_a_model_name_is_no_path(world: World, model: str) -> None:
    world.upstream.default = sse(text_events("Hello"))
    reply = chat(world.gateway.port, model=model)
    world.upstream.default = None
    assert (reply.status, reply.error["param"]) == (400, "model"), reply.body
    assert not world.upstream.requests


@pytest.mark.parametrize("model", [1, None, ["m"], {"name": "m"}, True])
def test_a_model_of_the_wrong_type(world: World, model: Any) -> None:
    reply = chat(world.gateway.port, model=model)
    assert (reply.status, reply.error["param"]) == (400, "model")
    assert not world.upstream.requests


def test_no_field_and_no_header_steers(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    odd: dict[str, Any] = {
        "api_base": "http://evil.example", "base_url": "http://evil.example", "api_key": "evil",
        "headers": {"x-evil": "1"}, "extra_headers": {"x-evil": "1"}, "__proto__": {"url": "x"},
        "constructor": {"prototype": {}}, "endpoint": "x",
        "contents": [{"parts": []}], "systemInstruction": {"parts": [{"text": "evil"}]}, "cachedContent": "x",
    }  # fmt: skip
    headers = (
        ("X-Forwarded-Host", "evil.example"),
        ("x-goog-user-project", "evil"),
        ("Cookie", "a=b"),
        ("X-Evil", "1"),
    )
    headers = (*headers, *JSON)
    assert call(world.gateway.port, "POST", CHAT, key=KEY, body=BODY | odd, headers=headers).status == 200
    (request,) = world.upstream.requests
    seen = b"\n".join(f"{n}: {v}".encode() for n, v in request.headers) + request.body + request.target.encode()
    assert b"evil" not in seen.lower()
    assert KEY.encode() not in seen
    assert request.header("host") == f"127.0.0.1:{world.upstream.port}"
    assert request.header("x-goog-api-key") == "first-upstream-key"
    assert request.header("cookie") is None


# The wire.


def _raw(world: World, data: bytes, timeout: float = 5.0) -> tuple[int | None, bool]:
    """The status that bytes are answered with (None: closed without one), and whether the connection was closed."""
    with Connection(world.gateway.port, timeout) as connection:
        connection.send(data)
        try:
            status: int | None = connection.read().status
        except ConnectionError:
            return None, True
        return status, connection.closed_within(2)


GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    b"Authorization: Bearer sk-text\r\nContent-Type: application/json\r\n"
)
FRAMING: dict[str, tuple[bytes, tuple[int | None, ...]]] = {
    "length and chunked": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "chunked and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", (400,)),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", (400,)),
    "list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}", (400,)),
    "signed length": (POST + b"Content-Length: +2\r\n\r\n{}", (400,)),
    "negative length": (POST + b"Content-Length: -2\r\n\r\n{}", (400,)),
    "hex length": (POST + b"Content-Length: 0x2\r\n\r\n{}", (400,)),
    "underscore length": (POST + b"Content-Length: 1_0\r\n\r\n{}", (400,)),
    "overflowing length": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", (400, 413)),
    "odd transfer encoding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "unknown transfer encoding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked on 1.0": (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "bad chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400,)),
    "0x chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", (400,)),
    "bare LF after a chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", (400,)),
    "wrong chunk end": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", (400,)),
    "long chunk extension": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
        (400,),
    ),
    "two hosts": (GET + b"Host: y\r\n\r\n", (400,)),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", (400,)),
    "folded line": (GET + b"X: a\r\n b\r\n\r\n", (400,)),
    "bare LF": (b"GET /health/live HTTP/1.1\nHost: x\n\n", (400,)),
    "bare CR": (GET + b"X: a\rb\r\n\r\n", (400,)),
    "NUL": (GET + b"X: a\x00b\r\n\r\n", (400,)),
    "blank in a name": (GET + b"X y: z\r\n\r\n", (400,)),
    "blank before the colon": (GET + b"X : z\r\n\r\n", (400,)),
    "no colon": (GET + b"nonsense\r\n\r\n", (400,)),
    "unknown expectation": (POST + b"Expect: tea\r\nContent-Length: 2\r\n\r\n{}", (417,)),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
    "large head": (GET + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 1000) for n in range(40)) + b"\r\n", (431,)),
    "many fields": (GET + b"".join(b"X-%d: a\r\n" % n for n in range(150)) + b"\r\n", (431, 400)),
    "HTTP/9.9": (b"GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n", (505,)),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505, None)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, (400, None)),
    "nonsense": (b"hello there\r\n\r\n", (400, None)),
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing(world: World, name: str) -> None:
    sent, wanted = FRAMING[name]
    status, closed = _raw(world, sent)
    assert status in wanted
    assert closed, "what may be smuggled ends with its connection"
    assert not world.upstream.requests


def test_an_upgrade_is_ignored(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    body = orjson.dumps(BODY)
    head = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Connection(world.gateway.port) as connection:
        connection.send(head + body)
        assert connection.read().text == "Hello"


def test_expect_100_continue(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    body = orjson.dumps(BODY)
    with Connection(world.gateway.port) as connection:
        connection.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.send(body)
        assert connection.read().text == "Hello"


def test_http_1_0(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    body = orjson.dumps({**BODY, "stream": True})
    with Connection(world.gateway.port) as connection:
        connection.send(POST.replace(b"1.1", b"1.0") + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        reply = connection.read()
        assert (reply.status, reply.text, reply.header("transfer-encoding")) == (200, "Hello", None)


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    with Connection(world.gateway.port) as connection:
        connection.send(one + two + one)
        assert [connection.read("GET").status for _ in range(3)] == [200, 401, 200]


def test_a_connection_serves_on_after_an_error(world: World) -> None:
    world.upstream.play(sse(text_events("Hello")))
    with Connection(world.gateway.port) as connection:
        connection.request("POST", CHAT, (*bearer(KEY), *JSON), b"nonsense")
        assert connection.read().status == 400
        connection.request("POST", CHAT, (*bearer(KEY), *JSON), orjson.dumps(BODY))
        assert connection.read().text == "Hello"


def test_slow_heads_and_bodies_are_cut(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_head=0.4, timeout_body=0.4, timeout_keepalive=0.4)
    with Connection(gateway.port) as silent, Connection(gateway.port) as head, Connection(gateway.port) as body:
        head.send(b"GET /health/live HTTP/1.1\r\nHo")
        body.request("POST", CHAT, (*bearer(KEY), *JSON, ("Content-Length", "100")), b"")
        body.send(b'{"model"')
        assert silent.closed_within(4)
        assert head.closed_within(4)
        reply = body.read()
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
        assert body.closed_within(4)
    with Connection(gateway.port) as idle:
        idle.request("GET", "/health/live")
        assert idle.read("GET").status == 200
        assert idle.closed_within(4)
    assert not upstream.requests
