"""Bodies by their framing: any cut gives the same, and nothing lenient passes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.server.body import (
    EXTENSION_LIMIT,
    SIZE_LINE_LIMIT,
    TRAILER_LIMIT,
    BodyError,
    ChunkedBody,
    FixedBody,
)

LIMIT = 1_000_000


def read(body: ChunkedBody | FixedBody, pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The body and what follows it, or None if it has not ended."""
    for number, piece in enumerate(pieces):
        rest = body.feed(piece)
        if rest is not None:
            return bytes(body.take()), rest + b"".join(pieces[number + 1 :])
    return bytes(body.take()), None


def single(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


def frame(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + trailer + b"\r\n"


def cut(data: bytes, marks: list[int]) -> list[bytes]:
    places = sorted({mark % (len(data) + 1) for mark in marks} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


BROKEN = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "blank before": b" 3\r\nabc\r\n0\r\n\r\n",
    "blank after": b"3 \r\nabc\r\n0\r\n\r\n",
    "no hex": b"g\r\nabc\r\n0\r\n\r\n",
    "seventeen digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare lf after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare cr after the size": b"3\rabc\r\n0\r\n\r\n",
    "bare lf after the chunk": b"3\r\nabc\n0\r\n\r\n",
    "wrong end": b"3\r\nabcXX0\r\n\r\n",
    "too short a size": b"2\r\nabc\r\n0\r\n\r\n",
    "too long a size": b"4\r\nabc\r\n0\r\n\r\n",
    "cr then not lf": b"3\r\nabc\rX0\r\n\r\n",
    "nul in an extension": b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
    "lf in an extension": b"3;a=\nb\r\nabc\r\n0\r\n\r\n",
    "cr in an extension": b"3;a=\rb\r\nabc\r\n0\r\n\r\n",
    "long size line": b"3;" + b"a" * SIZE_LINE_LIMIT + b"\r\nabc\r\n0\r\n\r\n",
    "long size line without an end": b"3;" + b"a" * SIZE_LINE_LIMIT * 2,
    "trailer without a colon": b"0\r\nabc\r\n\r\n",
    "trailer with a bare lf": b"0\r\na: b\n\r\n",
    "bare lf at the end": b"0\r\n\n",
    "long trailer": b"0\r\n" + b"a: b\r\n" * TRAILER_LIMIT + b"\r\n",
    "long trailer line": b"0\r\na: " + b"b" * TRAILER_LIMIT + b"\r\n\r\n",
    "nul in the trailer": b"0\r\na: \x00\r\n\r\n",
    "a request instead of a chunk": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("split", [lambda data: [data], single], ids=["whole", "byte by byte"])
def test_broken_chunks_are_400(data: bytes, split: object) -> None:
    with pytest.raises(BodyError) as caught:
        read(ChunkedBody(LIMIT), split(data))  # type: ignore[operator]
    assert caught.value.status == 400


def test_nonsense_is_refused_before_its_line_ends() -> None:
    with pytest.raises(BodyError):
        ChunkedBody(LIMIT).feed(b"hello")


@pytest.mark.parametrize("split", [lambda data: [data], single], ids=["whole", "byte by byte"])
def test_chunks(split: object) -> None:
    data = b"3\r\nabc\r\n00A;name=value\r\n0123456789\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\nGET /"
    assert read(ChunkedBody(LIMIT), split(data)) == (b"abc0123456789", b"GET /")  # type: ignore[operator]


def test_an_unfinished_body_is_not_over() -> None:
    data = frame([b"abc", b"defg"], trailer=b"a: b\r\n")
    for end in range(len(data)):
        assert ChunkedBody(LIMIT).feed(data[:end]) is None


def test_too_large_is_413_before_it_arrives() -> None:
    for data in (b"f4241\r\n", b"ffffffffffffffff\r\n", frame([b"x" * LIMIT, b"y"])):
        with pytest.raises(BodyError) as caught:
            ChunkedBody(LIMIT).feed(data)
        assert caught.value.status == 413
    assert ChunkedBody(LIMIT).feed(frame([b"x" * LIMIT])) == b""


def test_extensions_are_bounded_in_all() -> None:
    body = ChunkedBody(LIMIT)
    chunk = b"1;" + b"a" * 3999 + b"\r\nx\r\n"
    for _ in range(EXTENSION_LIMIT // 4000):
        assert body.feed(chunk) is None
    with pytest.raises(BodyError):
        body.feed(chunk)


def test_what_is_not_kept_is_counted() -> None:
    body = ChunkedBody(LIMIT, keep=False)
    assert body.feed(frame([b"abc"])) == b""
    assert (body.received, bytes(body.take())) == (3, b"")
    fixed = FixedBody(3, keep=False)
    assert fixed.feed(b"abcd") == b"d"
    assert (fixed.received, bytes(fixed.take())) == (3, b"")


def test_a_body_is_given_away_once() -> None:
    body = FixedBody(3)
    assert body.feed(b"abc") == b""
    assert body.take() == b"abc"
    assert body.take() == b""


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(max_size=50), max_size=6),
    st.sampled_from([b"", b";a", b';a="b c"']),
    st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"]),
    st.binary(max_size=10),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_any_cut_of_chunks(
    pieces: list[bytes], extension: bytes, trailer: bytes, behind: bytes, marks: list[int]
) -> None:
    data = frame(pieces, extension, trailer) + behind
    wanted = (b"".join(pieces), behind)
    assert read(ChunkedBody(LIMIT), cut(data, marks)) == wanted
    assert read(ChunkedBody(LIMIT), single(data)) == wanted


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=10), st.lists(st.integers(0, 1000), max_size=8))
def test_any_cut_of_a_counted_body(content: bytes, behind: bytes, marks: list[int]) -> None:
    pieces = cut(content + behind, marks) or [b""]
    assert read(FixedBody(len(content)), pieces) == (content, behind)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"0", b"3", b"a", b"\r\n", b"\n", b"\r", b";", b"abc", b": ", b" ", b"\x00"]), max_size=25
    )
)
def test_any_bytes_give_the_same_in_one_piece_and_in_many(parts: list[bytes]) -> None:
    data = b"".join(parts)

    def outcome(pieces: list[bytes]) -> object:
        try:
            return read(ChunkedBody(100), pieces)
        except BodyError as error:
            return error.status

    whole, many = outcome([data] if data else []), outcome(single(data))
    assert whole == many
