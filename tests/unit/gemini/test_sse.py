"""Bytes of an answer → JSON texts: any form, any cut, bounded."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.sse import EventReader

ONE = {"candidates": [{"content": {"parts": [{"text": 'a "quoted" } { ] \\ é \u2028 end'}], "role": "model"}}]}
TWO = {"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": {"totalTokenCount": 4}}
ERROR = {"error": {"code": 500, "message": 'An "internal" error { \\', "status": "INTERNAL"}}


def text(value) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def pretty(value) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def event(value, end: bytes = b"\r\n") -> bytes:
    return b"data: " + text(value) + end + end


def read(*pieces: bytes, limit: int = 64 << 20) -> list[bytes]:
    reader = EventReader(limit)
    out = [one for piece in pieces for one in reader.feed(piece)]
    return out + reader.flush()


STREAMS = {
    "crlf": (event(ONE) + event(TWO), [ONE, TWO]),
    "lf": (event(ONE, b"\n") + event(TWO, b"\n"), [ONE, TWO]),
    "cr": (event(ONE, b"\r") + event(TWO, b"\r"), [ONE, TWO]),
    "mixed ends": (event(ONE, b"\n") + event(TWO, b"\r") + event(ONE), [ONE, TWO, ONE]),
    "no blank": ((event(ONE) + event(TWO)).replace(b"data: ", b"data:"), [ONE, TWO]),
    "byte order mark": (b"\xef\xbb\xbf" + event(ONE), [ONE]),
    "comments and fields": (
        b": hello\r\n\r\nevent: message\r\nid: 7\r\nretry: 100\r\nid\r\nfoo: bar\r\n" + event(ONE) + b":\n\n",
        [ONE],
    ),
    "many lines": (b"".join(b"data: " + line + b"\r\n" for line in pretty(ONE).split(b"\n")) + b"\r\n", [ONE]),
    "many lines without blank": (
        b"".join(b"data:" + line + b"\n" for line in pretty(ONE).split(b"\n")) + b"\n",
        [ONE],
    ),
    "done": (event(ONE) + b"data: [DONE]\r\n\r\n", [ONE]),
    "empty data": (b"data:\n\ndata\n\ndata: \n\n" + event(ONE), [ONE]),
    "no end": (event(ONE) + b"data: " + text(TWO), [ONE, TWO]),
    "one line end": (event(ONE) + b"data: " + text(TWO) + b"\r\n", [ONE, TWO]),
    "raw error": (event(ONE) + pretty(ERROR) + b"\n", [ONE, ERROR]),
    "raw error without a blank line before": (b"data: " + text(ONE) + b"\n" + pretty(ERROR), [ONE, ERROR]),
    "raw error, then events": (pretty(ERROR) + b"\r\n" + event(ONE), [ERROR, ONE]),
    "plain body": (text(ONE), [ONE]),
    "pretty body": (pretty(ONE) + b"\n", [ONE]),
    "indented body": (b"\n\n   " + pretty(ONE), [ONE]),
    "bodies in a row": (text(ONE) + text(TWO) + b"\n" + pretty(ERROR), [ONE, TWO, ERROR]),
    "array": (b"[" + pretty(ONE) + b"\n,\r\n" + pretty(TWO) + b"\n]\n", [ONE, TWO]),
    "compact array": (text([ONE, TWO, ERROR]), [ONE, TWO, ERROR]),
    "array of one error": (pretty([ERROR]), [ERROR]),
    "open array": (b"[" + text(ONE) + b",\n", [ONE]),
    "empty array": (b"[]\n", []),
    "nothing": (b"", []),
    "only line ends": (b"\r\n\n\r\r\n", []),
}


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS)
def test_each_form_is_read_however_it_is_cut(stream, expected):
    whole = read(stream)
    assert [json.loads(one) for one in whole] == expected
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == whole
    for at in range(len(stream) + 1):
        assert read(stream[:at], stream[at:]) == whole
        assert read(stream[:at], b"", stream[at : at + 3], stream[at + 3 :]) == whole


@given(
    stream=st.lists(st.sampled_from([stream for stream, _ in STREAMS.values()]), max_size=3).map(b"".join)
    | st.text('data:{}[]"\\ \r\n,x<', max_size=60).map(str.encode)
    | st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 900), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_any_cut_equals_the_whole(stream, cuts):
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(stream)


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html>\n<body>Bad gateway</body>\n</html>\n",
        b"upstream connect error or disconnect",
        b"Data: {}\n\n",
        b"[1, 2]",
        b'["a"]',
        b'data: {"a":\n\n',
        b'{"a": [1',
        event(ONE) + b"oops\r\n\r\n",
    ],
)
def test_what_is_neither_is_handed_out_so_that_parsing_fails(garbage):
    with pytest.raises(ValueError):  # noqa: PT011  # the JSON parser's
        [json.loads(one) for one in read(garbage)]


@pytest.mark.parametrize("more", [text(TWO), event(TWO), b"\n" + pretty(TWO), b"[" + text(TWO) + b"]"])
def test_more_may_follow_a_whole_body(more):
    assert [json.loads(one) for one in read(text(ONE), more)] == [ONE, TWO]
    assert [json.loads(one) for one in read(text(ONE) + more)] == [ONE, TWO]
    reader = EventReader()
    assert reader.feed(text(ONE)) == [text(ONE)]
    with pytest.raises(Fault):
        EventReader(100).feed(text({"data": "x" * 100}))


def test_events_come_as_soon_as_they_are_complete():
    reader = EventReader()
    assert reader.feed(event(ONE)) == [text(ONE)]
    assert reader.feed(event(TWO)[:-1]) == [text(TWO)]
    reader = EventReader()
    assert reader.feed(b"[" + text(ONE)) == [text(ONE)]
    assert reader.feed(b",\r\n" + text(TWO)[:9]) == []
    assert reader.feed(text(TWO)[9:]) == [text(TWO)]
    reader = EventReader()
    body = pretty(ONE)
    assert reader.feed(body) == [body]
    assert reader.feed(b"\n") == []


def test_a_cr_at_the_end_of_a_read_ends_the_line_at_once():
    reader = EventReader()
    assert reader.feed(b"data: {}\r\n\r") == [b"{}"]
    assert reader.feed(b"\ndata: {}\r") == []
    assert reader.feed(b"\r") == [b"{}"]


@pytest.mark.parametrize("wrap", [event, text, lambda value: b"[" + text(value) + b"]"])
def test_an_event_past_the_limit_is_refused_in_whole_and_in_parts(wrap):
    stream = wrap({"data": "x" * 3000})
    assert len(read(stream, limit=4000)) == 1
    for pieces in ([stream], [stream[at : at + 100] for at in range(0, len(stream), 100)]):
        with pytest.raises(Fault) as caught:
            read(*pieces, limit=2000)
        assert caught.value.kind is Kind.BAD_ANSWER


def test_the_limit_is_per_event_and_not_per_stream():
    many = [event({"data": "x" * 1000})] * 50
    assert len(read(*many, limit=2000)) == 50
    assert len(read(b"".join(many), limit=2000)) == 50
    assert len(read(b"data: {\n" * 3 + b"\n", limit=40)) == 1
    with pytest.raises(Fault):
        read(b"data: {\n" * 50, limit=40)


@pytest.mark.parametrize("wrap", [event, text, lambda value: b"[" + text(value) + b"]"], ids=["sse", "raw", "array"])
def test_a_huge_event_in_small_reads_costs_little_memory(wrap):
    def measured(megabytes: int) -> int:
        stream = wrap({"data": "QUJD" * (megabytes << 18)})
        pieces = [stream[at : at + 4096] for at in range(0, len(stream), 4096)]
        size = len(stream)
        del stream
        reader = EventReader()
        tracemalloc.start()
        out = []
        while pieces:
            out += reader.feed(pieces.pop(0))
        out += reader.flush()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(out) == 1
        assert len(out[0]) > megabytes << 20
        return peak * 100 // size

    measured(1)
    assert measured(8) < 300


def test_thousands_of_elements_in_one_read_are_all_read():
    element = text(TWO)
    for stream in (b"[" + b",".join([element] * 5000) + b"]", (element + b"\n") * 5000, b"data:" + element + b"\r\r"):
        assert len(read(stream if len(stream) > 10_000 else stream * 5000)) == 5000
