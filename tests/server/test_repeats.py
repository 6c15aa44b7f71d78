"""Heads that come again are taken as read, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.server.head import HeadError, Request, parse_head
from antigravity2api.server.repeats import Repeats

HEAD = b"POST /v1/x?q=1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nContent-Length: %b\r\nX-A: b\r\n\r\n"


def read(repeats: Repeats, raw: bytes, identity: str = "req_1") -> Request:
    return repeats.read(raw, "192.0.2.1", "h:80", identity)


def outcome(reader: Callable[[], Request]) -> Request | tuple[int, str]:
    """A request, or why it is refused."""
    try:
        return reader()
    except HeadError as error:
        return error.status, error.message


def alike(raw: bytes, repeats: Repeats) -> bool:
    """Whether memory makes no difference for a head."""
    wanted = outcome(lambda: parse_head(raw, "192.0.2.1", "h:80", "req_1"))
    got = outcome(lambda: read(repeats, raw))
    return same(got, wanted) if isinstance(got, Request) and isinstance(wanted, Request) else got == wanted


def same(one: Request, other: Request) -> bool:
    """Whether two requests say the same, the listed length apart."""
    first, second = one.head, other.head
    headers = [{k: v for k, v in head.headers.items() if k != "content-length"} for head in (first, second)]
    return (
        headers[0] == headers[1]
        and one[1:] == other[1:]
        and first._replace(headers={}, memo={}) == second._replace(headers={}, memo={})
    )


def test_a_repeated_head_says_the_same_with_its_own_length_and_sender() -> None:
    repeats = Repeats()
    first = read(repeats, HEAD % b"5")
    first.head.memo["known"] = "of this head"
    again = repeats.read(HEAD % b"1234", "192.0.2.9", "h:80", "req_2")
    assert again.length == 1234
    assert (again.head.peer, again.head.request_id) == ("192.0.2.9", "req_2")
    assert again.head.headers["authorization"] == "Bearer k"
    assert again.head.memo == {"known": "of this head"}
    assert same(again, parse_head(HEAD % b"1234", "192.0.2.9", "h:80", "req_2"))


@pytest.mark.parametrize("length", [b"", b"-5", b"+5", b" 5", b"5 ", b"5,5", b"0x5", b"5_0", b"1" * 19, "٣".encode()])
def test_a_length_of_another_form_is_not_taken_from_memory(length: bytes) -> None:
    repeats = Repeats()
    read(repeats, HEAD % b"5")
    assert alike(HEAD % length, repeats)


@pytest.mark.parametrize(
    "change",
    [
        (b"Bearer k", b"Bearer K"),
        (b"POST", b"PUT"),
        (b"q=1", b"q=2"),
        (b"X-A: b", b"Content-Length: 5"),
        (b"X-A: b", b"Transfer-Encoding: chunked"),
        (b"Content-Length", b"content-length"),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_any_other_difference_is_read_anew(change: tuple[bytes, bytes]) -> None:
    repeats = Repeats()
    read(repeats, HEAD % b"5").head.memo["known"] = "of this head"
    raw = (HEAD % b"5").replace(*change)
    assert alike(raw, repeats)
    assert repeats.read(HEAD % b"5", "", "", "").head.memo == {"known": "of this head"}


def test_a_length_inside_another_field_is_no_length() -> None:
    repeats = Repeats()
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nX-Content-Length: %b\r\nY:\x20\r\n\r\n"
    assert read(repeats, raw % b"5").length == 0
    assert read(repeats, raw % b"6").head.headers["x-content-length"] == "6"


def test_what_is_kept_is_bounded() -> None:
    repeats = Repeats()
    for number in range(1000):
        read(repeats, b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
    read(repeats, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    assert 0 < len(repeats._kept) <= 256
    assert max(map(len, repeats._kept)) <= 2048


_NAMES = st.sampled_from([b"Host", b"Content-Length", b"content-length", b"X", b"Transfer-Encoding", b"Connection"])
_VALUES = st.sampled_from([b"h", b"5", b"17", b"chunked", b"close", b"", b"5\r\nContent-Length: 5"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(_NAMES, _VALUES), max_size=4), min_size=1, max_size=6))
def test_memory_changes_nothing(heads: list[list[tuple[bytes, bytes]]]) -> None:
    repeats = Repeats()
    for fields in heads * 2:
        raw = b"GET / HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
        assert alike(raw, repeats)
