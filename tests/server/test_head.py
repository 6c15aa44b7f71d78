"""The head parser: what it refuses and with what, what it lets pass, and that it never breaks."""

from __future__ import annotations

import contextlib
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.server.head import (
    CHUNKED,
    FIELD_LIMIT,
    HEAD_LIMIT,
    TARGET_LIMIT,
    HeadError,
    Request,
    check_partial,
    parse_head,
)

USUAL = b"GET / HTTP/1.1\r\nHost: localhost:8045\r\n"


def parse(data: bytes) -> Request:
    return parse_head(data, "127.0.0.1", "127.0.0.1:8045", "req_1")


def status_of(data: bytes) -> int | None:
    try:
        parse(data)
    except HeadError as error:
        return error.status if error.message else -1
    return None


def status_in_pieces(data: bytes) -> int | None:
    """The same, byte by byte, as a connection sees it."""
    seen = b""
    try:
        for position in range(len(data)):
            seen = data[: position + 1]
            if seen.endswith(b"\r\n\r\n"):
                parse(seen)
                return None
            check_partial(seen, position)
    except HeadError as error:
        return error.status
    raise AssertionError("the head never ended")


def field(line: bytes) -> bytes:
    return USUAL + line + b"\r\n\r\n"


REFUSED = {
    "both framings": (field(b"Content-Length: 3\r\nTransfer-Encoding: chunked"), 400),
    "both framings, other order": (field(b"Transfer-Encoding: chunked\r\nContent-Length: 3"), 400),
    "two lengths": (field(b"Content-Length: 3\r\nContent-Length: 4"), 400),
    "the same length twice": (field(b"Content-Length: 3\r\ncontent-length: 3"), 400),
    "a list of lengths": (field(b"Content-Length: 3, 3"), 400),
    "plus": (field(b"Content-Length: +3"), 400),
    "minus": (field(b"Content-Length: -3"), 400),
    "hex length": (field(b"Content-Length: 0x3"), 400),
    "underscore": (field(b"Content-Length: 1_0"), 400),
    "superscript two": (field(b"Content-Length: \xb2"), 400),
    "empty length": (field(b"Content-Length:"), 400),
    "blank in length": (field(b"Content-Length: 1 0"), 400),
    "fraction": (field(b"Content-Length: 1.0"), 400),
    "overflow": (field(b"Content-Length: 18446744073709551617"), 400),
    "two hosts": (field(b"Host: other"), 400),
    "the same host twice": (field(b"host: localhost:8045"), 400),
    "no host": (b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", 400),
    "no field at all": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: x/health/live?\r\n\r\n", 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "host list": (b"GET / HTTP/1.1\r\nHost: a, b c\r\n\r\n", 400),
    "te identity": (field(b"Transfer-Encoding: identity"), 400),
    "te list": (field(b"Transfer-Encoding: gzip, chunked"), 400),
    "te twice in a line": (field(b"Transfer-Encoding: chunked, chunked"), 400),
    "te two lines": (field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), 400),
    "te unknown": (field(b"Transfer-Encoding: xchunked"), 400),
    "te empty": (field(b"Transfer-Encoding:"), 400),
    "te quoted": (field(b'Transfer-Encoding: "chunked"'), 400),
    "te parameter": (field(b"Transfer-Encoding: chunked;q=1"), 400),
    "te other case": (field(b"Transfer-Encoding: Chunked"), 400),
    "te vertical tab": (field(b"Transfer-Encoding: \x0bchunked"), 400),
    "te on 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "folded": (field(b"X-A: b\r\n c"), 400),
    "folded by a tab": (field(b"X-A: b\r\n\tc"), 400),
    "folded first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare lf in a field": (field(b"X-A: b\nX-B: c"), 400),
    "bare cr in a field": (field(b"X-A: b\rX-B: c"), 400),
    "cr cr lf": (field(b"X-A: b\r"), 400),
    "bare lf everywhere": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare lf after the line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "nul in a value": (field(b"X-A: b\x00c"), 400),
    "nul in a name": (field(b"X-\x00A: b"), 400),
    "escape in a value": (field(b"X-A: \x1b[31m"), 400),
    "delete in a value": (field(b"X-A: \x7f"), 400),
    "blank before the colon": (field(b"X-A : b"), 400),
    "blank before the length's colon": (field(b"Content-Length : 3"), 400),
    "tab before the colon": (field(b"Transfer-Encoding\t: chunked"), 400),
    "blank in a name": (field(b"X A: b"), 400),
    "no colon": (field(b"X-A"), 400),
    "empty name": (field(b": b"), 400),
    "name in brackets": (field(b"(X-A): b"), 400),
    "name not ascii": (field(b"X-\xc3\xa4: b"), 400),
    "unknown expectation": (field(b"Expect: 200-ok"), 417),
    "two expectations": (field(b"Expect: 100-continue, x"), 417),
    "http/2 line": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "http/9.9": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
    "http/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "http/0.9 with a version": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "http/0.9": (b"GET /\r\n\r\n", 400),
    "version without a minor": (b"GET / HTTP/1\r\nHost: x\r\n\r\n", 400),
    "version with two digits": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "lower-case version": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two blanks in the line": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "tab in the line": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "blank in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "blank after the line": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "blank before the line": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two empty lines first": (b"\r\n\r\n\r\n", 400),
    "method with brackets": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "long method": (b"G" * 40 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "authority": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "path without a slash": (b"GET v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "other scheme": (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "absolute without a host": (b"GET http:///v1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "absolute with a user": (b"GET http://a@b/v1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "fragment in the query": (b"GET /a?b#c HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "target not ascii": (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "bad percent": (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "cut percent": (b"GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "percent nul": (b"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "percent line end": (b"GET /a%0d%0ab HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "percent escape": (b"GET /a%1b%5b31m HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "path not utf-8": (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * TARGET_LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "very long target": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "large head": (field(b"X-A: " + b"a" * HEAD_LIMIT), 431),
    "many fields": (field(b"\r\n".join(b"X-%d: a" % number for number in range(FIELD_LIMIT))), 431),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(data: bytes, status: int) -> None:
    assert status_of(data) == status


SHORT = {name: row for name, row in REFUSED.items() if len(row[0]) < 1000}


@pytest.mark.parametrize(("data", "status"), SHORT.values(), ids=SHORT.keys())
def test_refuses_byte_by_byte(data: bytes, status: int) -> None:
    assert status_in_pieces(data) == status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000, 414),
        (b"A" * 9000, 400),
        (USUAL + b"X-A: " + b"a" * HEAD_LIMIT, 431),
        (b"GET / HTTP/3.0\r\nHo", 505),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/1.1\n", 400),
    ],
)
def test_refuses_what_has_not_ended(data: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        check_partial(bytearray(data), 0)
    assert caught.value.status == status


def test_partial_heads_are_fine() -> None:
    whole = USUAL + b"X-A: b\r\nContent-Length: 3\r\n\r\n"
    for end in range(len(whole) - 3):
        check_partial(whole[:end], 0)
        check_partial(bytearray(whole[:end]), max(0, end - 1))


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/v1/models?a=b?c", "/v1/models", "a=b?c"),
        (b"/v1/models?a=%zz", "/v1/models", "a=%zz"),
        (b"/v1beta/models/gemini%2Dpro%3AgenerateContent", "/v1beta/models/gemini-pro:generateContent", ""),
        (b"/a%2Fb", "/a/b", ""),
        (b"/a%252Fb", "/a%2Fb", ""),
        (b"/%C3%A4", "/ä", ""),
        (b"//v1//models", "//v1//models", ""),
        (b"/v1/../admin", "/v1/../admin", ""),
        (b"/v1/models;a=b", "/v1/models;a=b", ""),
        (b"/a%3Fb?c", "/a?b", "c"),
        (b"/%23", "/#", ""),
        (b"http://other:1/v1/models?a", "/v1/models", "a"),
        (b"HTTPS://other", "/", ""),
        (b"http://other?a=b", "/", "a=b"),
        (b"/v1/chat/completions?x=" + b"a" * 8000, "/v1/chat/completions", "x=" + "a" * 8000),
    ],
)
def test_targets(target: bytes, path: str, query: str) -> None:
    head = parse(b"GET %b HTTP/1.1\r\nHost: evil\r\n\r\n" % target).head
    assert (head.path, head.query, head.target) == (path, query, target.decode())
    assert head.headers["host"] == ("evil" if target.startswith(b"/") else "other:1" if b":1" in target else "other")


@pytest.mark.parametrize("host", [b"", b"localhost:8045", b"[::1]:8045", b"a_b.example", b"127.0.0.1", b"x:", b"xn--a"])
def test_hosts(host: bytes) -> None:
    assert parse(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).head.headers["host"] == host.decode()


def test_fields() -> None:
    head = parse(field(b"X-A:b\r\nX-B:   c d  \t\r\nx-c:\r\nX-D: \xc3\xa9\r\nX-E: a:b: c")).head
    assert head.headers["x-a"] == "b"
    assert head.headers["x-b"] == "c d"
    assert head.headers["x-c"] == ""
    assert head.headers["x-d"] == "\xc3\xa9"
    assert head.headers["x-e"] == "a:b: c"
    assert (head.peer, head.local, head.request_id) == ("127.0.0.1", "127.0.0.1:8045", "req_1")


def test_repeated_fields_stay_visible() -> None:
    head = parse(field(b"Authorization: Bearer a\r\nauthorization: Bearer b\r\nCookie: a=1\r\nCookie: b=2")).head
    assert head.headers["authorization"] == "Bearer a, Bearer b"
    assert head.headers["cookie"] == "a=1; b=2"


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (b"X: y", 0),
        (b"Content-Length: 0", 0),
        (b"Content-Length: 0012", 12),
        (b"Content-Length: 10737418240", 10737418240),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding:  chunked ", CHUNKED),
        (b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 5", 5),
    ],
)
def test_lengths(lines: bytes, length: int) -> None:
    assert parse(field(lines)).length == length


@pytest.mark.parametrize(
    ("version", "lines", "keep"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive, CLOSE\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_keep_alive(version: bytes, lines: bytes, keep: bool) -> None:
    request = parse(b"GET / HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, lines))
    assert request.keep_alive is keep
    assert request.head.version == version.decode()


def test_expectation() -> None:
    assert parse(field(b"Expect: 100-Continue")).expects
    assert not parse(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects
    assert not parse(b"POST / HTTP/1.0\r\nExpect: something\r\n\r\n").expects


def test_old_clients_need_no_host() -> None:
    assert parse(b"GET / HTTP/1.0\r\n\r\n").head.headers == {}


@pytest.mark.parametrize("line", [b"X-A" * 10_000, b"X-A: " + b"\t " * 10_000 + b"\x01", b"a:\r\n" * 7000 + b"b"])
def test_hostile_heads_are_refused_whatever_they_repeat(line: bytes) -> None:
    data = field(line)[: HEAD_LIMIT - 4] + b"\r\n\r\n"
    assert status_of(data) in (400, 431)


WORDS = (
    [
        b"GET ",
        b"POST ",
        b"/",
        b"/v1",
        b"http://h",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: x",
        b"%41",
    ],
    [
        b"Content-Length: ",
        b"Transfer-Encoding: ",
        b"chunked",
        b"12",
        b":",
        b" ",
        b"\t",
        b"\x00",
        b"\x7f",
        b"\xff",
        b"%",
    ],
    [b"Expect: 100-continue", b"Connection: close", b"?", b"#", b"a", b"@", b"[::1]", b",", b"%00", b"%0a", b"%c2%85"],
)
PIECES = st.sampled_from([word for words in WORDS for word in words])
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def check_accepted(request: Request) -> None:
    head = request.head
    assert head.path.startswith("/")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", head.path + head.query + head.target + head.method)
    for name, value in head.headers.items():
        assert name == name.lower()
        assert re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9a-z]+", name)
        assert not CONTROL.search(value)
        assert value == value.strip(" \t")
    assert request.length == CHUNKED or 0 <= request.length < 2**63


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.binary(max_size=20))
def test_any_bytes(middle: bytes, noise: bytes) -> None:
    for data in (middle, noise, b"GET /" + middle + noise, USUAL + middle, USUAL + noise + b": " + middle):
        whole = data + b"\r\n\r\n"
        status = status_of(whole)
        assert status in (None, 400, 414, 417, 431, 505)
        if status is None:
            check_accepted(parse(whole))
        with contextlib.suppress(HeadError):
            check_partial(data, 0)


TOKEN = string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-"
NAMES = st.text(TOKEN, min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"host", "content-length", "transfer-encoding", "expect", "connection"}
)
VALUES = st.binary(max_size=30).map(lambda value: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", value))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(NAMES.map(str.lower), VALUES, max_size=8),
    st.text(string.ascii_lowercase + string.digits + "/._~-", max_size=20).map("/".__add__),
)
def test_what_is_right_passes_unchanged_however_it_is_cut(fields: dict[str, bytes], path: str) -> None:
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in fields.items())
    data = b"GET %b HTTP/1.1\r\nhost: h\r\n%b\r\n" % (path.encode(), lines)
    head = parse(data).head
    assert head.path == path
    wanted = {name: value.decode("latin-1").strip(" \t") for name, value in fields.items()}
    assert dict(head.headers) == {"host": "h", **wanted}
    assert status_in_pieces(data) is None
