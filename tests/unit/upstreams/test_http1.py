"""One answer in one read is taken as the same answer in many."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault
from antigravity2api.upstreams.http1 import Connection, _usual_answer


class Heard:
    """A sink, its holder and the transport: what came of one answer."""

    def __init__(self) -> None:
        self.sink = self
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.end = ""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, dict(headers)

    def on_data(self, data: bytes) -> None:
        assert data
        self.body += data

    def on_end(self) -> None:
        """The holder's ``completed`` tells."""

    def on_error(self, fault: Fault) -> None:
        """The holder's ``broken`` tells."""

    def completed(self, connection: Connection, *, reusable: bool) -> None:
        self.end = f"complete, reusable: {reusable}"

    def broken(self, connection: Connection, fault: Fault, *, unanswered: bool) -> None:
        self.end = f"{fault.kind}: {fault.message}"

    def write(self, data: bytes) -> None:
        """To nowhere."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Nothing is open."""

    def told(self) -> tuple[int, dict[str, str], bytes, str]:
        return self.status, self.headers, self.body, self.end


def heard(*reads: bytes, before: bytes = b"") -> tuple[int, dict[str, str], bytes, str]:
    """What a connection says of an answer in these reads, and perhaps of one before on the same connection."""
    connection = Connection()
    connection.connection_made(Heard())  # type: ignore[arg-type]  # as much of a transport as it uses
    if before:
        connection.send(b"", b"", Heard())
        connection.data_received(before)
    found = Heard()
    connection.send(b"", b"", found)
    for read in reads:
        if not found.end:
            connection.data_received(read)
    return found.told()


def cut(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nVary: Origin\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
USUAL = {
    "a length": JSON,
    "one chunk": CHUNKED,
    "an error": JSON.replace(b"200 OK", b"429 Too Many Requests"),
    "no phrase": JSON.replace(b" OK", b""),
    "names in any case": JSON.replace(b"Content-", b"cONTENT-").replace(b": ", b":\t "),
    "an empty body": JSON.replace(b"Length: 2", b"Length: 0")[:-2],
    "a large chunk": CHUNKED.replace(b"2\r\n{}", b"1000\r\n" + b"x" * 4096),
}
UNUSUAL = {
    "closes": JSON.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "old": JSON.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two chunks": CHUNKED.replace(b"2\r\n{}\r\n", b"1\r\n{\r\n1\r\n}\r\n"),
    "an extension": CHUNKED.replace(b"2\r\n{}", b"2;a=b\r\n{}"),
    "a trailer": CHUNKED.replace(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n"),
    "a field twice": JSON.replace(b"\r\n\r\n", b"\r\nVary: a\r\nVary: b\r\n\r\n"),
    "both framings": CHUNKED.replace(b"\r\n\r\n2", b"\r\nContent-Length: 2\r\n\r\n2"),
    "two lengths": JSON.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "a signed length": JSON.replace(b"Length: 2", b"Length: +2"),
    "a signed size": CHUNKED.replace(b"\r\n2\r\n", b"\r\n+2\r\n"),
    "too much": JSON + b"HTTP/1.1 200 OK\r\n",
    "too little": JSON[:-1],
    "until close": JSON.replace(b"Content-Length: 2\r\n", b""),
    "no body": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "first an interim one": b"HTTP/1.1 100 Continue\r\n\r\n" + JSON,
    "a bare line end": JSON.replace(b"\r\nContent-L", b"\nContent-L"),
    "no colon": JSON.replace(b"Content-Type:", b"Content-Type"),
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "compressed": JSON.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"),
}


@pytest.mark.parametrize("data", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("before", [b"", JSON, CHUNKED, UNUSUAL["two chunks"]], ids=["fresh", "1", "2", "3"])
def test_the_usual_answer_needs_no_parser(data: bytes, before: bytes) -> None:
    assert _usual_answer(data) is not None
    assert heard(data, before=before) == heard(*cut(data)) == heard(*cut(data), before=before)


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("before", [b"", JSON], ids=["fresh", "used"])
def test_the_parser_decides_about_all_else(data: bytes, before: bytes) -> None:
    assert _usual_answer(data) is None
    whole, pieces = heard(data, before=before), heard(*cut(data), before=before)
    assert whole[:3] == pieces[:3]


_LINES = [
    b"Content-Length: 2", b"Content-Length: 4", b"Transfer-Encoding: chunked", b"X: y", b"x:", b": y",
    b"Connection: close", b"Content-Encoding: identity", b"A b: c", b"\xc3\xa9: d", b"E: \xc3\xa9",
]  # fmt: skip
_BODIES = [b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n", b"{} {}"]
_FIRST = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 500 ",
    b"HTTP/1.1 404",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 99 X",
    b"HTTP/1.1 304 N",
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_FIRST), st.lists(st.sampled_from(_LINES), max_size=4), st.sampled_from(_BODIES))
def test_what_is_taken_without_the_parser_is_what_it_would_have_said(
    first: bytes, lines: list[bytes], body: bytes
) -> None:
    data = b"\r\n".join([first, *lines, b"", body])
    if _usual_answer(data) is not None:
        assert heard(data) == heard(*cut(data))
