"""Faults of connection and framing: resets, stalls, broken HTTP, odd but legal ways to write an event stream."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from antigravity2api.sandbox.exchange import JSON_TYPE, SSE_TYPE, Exchange, encode
from antigravity2api.sandbox.fault import Fault, Run, once
from antigravity2api.sandbox.google import GoogleError, Json
from antigravity2api.sandbox.wire import chunk, response_head

_MEGABYTE = 1 << 20
BOMB_MEGABYTES = 256
HUGE_EVENT = 20 * _MEGABYTE
MANY_EVENTS = 5_000
_SETTLE = 0.05
"""Time for bytes to arrive before a reset overtakes them."""

Frame = Callable[[bytes], bytes]


# before the head


async def _reset(ex: Exchange) -> None:
    ex.conn.reset()


async def _close(ex: Exchange) -> None:
    ex.conn.close()


async def _silent(ex: Exchange) -> None:
    await ex.conn.pause(ex.timing.stall)
    ex.conn.close()


async def _drip_head(ex: Exchange) -> None:
    """One byte of a head that never ends."""
    head = response_head(200, [("content-type", ex.content_type), ("x-drip", "d" * 100_000)])
    for index in range(min(len(head), int(ex.timing.stall / max(ex.timing.beat, 0.001)))):
        await ex.conn.write(head[index : index + 1])
        await ex.conn.pause(ex.timing.beat)
    ex.conn.close()


def _bytes_then_close(data: bytes) -> Run:
    async def run(ex: Exchange) -> None:
        await ex.conn.write(data)
        ex.conn.close()

    return run


async def _huge_head(ex: Exchange) -> None:
    headers = [("content-type", ex.content_type), ("content-length", "0"), ("x-large", "h" * 400_000)]
    await ex.conn.write(response_head(200, headers))
    ex.conn.close()


async def _many_headers(ex: Exchange) -> None:
    headers = [("content-length", "0"), *((f"x-{number}", "1") for number in range(20_000))]
    await ex.conn.write(response_head(200, headers))
    ex.conn.close()


async def _early(ex: Exchange) -> None:
    """The refusal while the request's body is still on its way."""
    error = GoogleError(429, "Resource has been exhausted (e.g. check quota).")
    await ex.send(429, error.body(), headers=[("connection", "close")])
    await ex.conn.discard(5.0)
    ex.conn.close()


async def _stale(ex: Exchange) -> None:
    """The first request of a connection is served; the next one finds it closed, as an idle limit would have it."""
    if ex.conn.served:
        ex.conn.reset()
        return
    await ex.plain()


# in the middle of the body


def _broken_off(ending: Run, *, sized: bool = False) -> Run:
    """The first half of the ordinary answer, then ``ending``. A request that does not stream gets a Content-Length."""

    async def run(ex: Exchange) -> None:
        pieces = ex.pieces(ex.chunks())
        half = pieces[: max(1, len(pieces) // 2)]
        if sized or not ex.stream:
            length = str(sum(map(len, pieces)) + 1_000 * sized)
            await ex.conn.write(response_head(200, [("content-type", ex.content_type), ("content-length", length)]))
            for piece in half:
                await ex.conn.write(piece)
        else:
            await ex.start()
            for piece in half:
                await ex.piece(piece)
        await ex.conn.pause(_SETTLE)
        await ending(ex)

    return run


async def _reset_in_chunk(ex: Exchange) -> None:
    await ex.conn.write(b'400\r\ndata: {"candidates": [{"cont')
    await ex.conn.pause(_SETTLE)
    ex.conn.reset()


async def _stall_in_event(ex: Exchange) -> None:
    await ex.conn.write(chunk(b'data: {"candidates": [{"content": {"parts": [{"text": "half of it'))
    await _silent(ex)


async def _bad_chunk(ex: Exchange) -> None:
    await ex.conn.write(b"zz\r\nnot a chunk\r\n")
    ex.conn.close()


async def _bad_chunk_first(ex: Exchange) -> None:
    await ex.start()
    await _bad_chunk(ex)


async def _no_finish(ex: Exchange) -> None:
    """A clean end, but the last event is missing."""
    chunks = ex.chunks()
    if not ex.stream:
        shown = {key: value for key, value in chunks[0]["candidates"][0].items() if key != "finishReason"}
        await ex.play([{**chunks[0], "candidates": [shown]}])
        return
    whole = chunks[:-1] or [_unfinished(chunks[0])]
    await ex.play(whole)


def _unfinished(event: Json) -> Json:
    return {
        **event,
        "candidates": [{key: value for key, value in event["candidates"][0].items() if key != "finishReason"}],
    }


# legal framings


def _framed(frame: Frame, *, last: Frame | None = None, preface: bytes = b"") -> Run:
    """The ordinary answer with its events written differently; other forms of answer are left alone."""

    async def run(ex: Exchange) -> None:
        if not ex.streams_sse:
            await ex.plain()
            return
        values = [encode(ex.wrap(value)) for value in ex.chunks()]
        await ex.start()
        if preface:
            await ex.piece(preface)
        for number, value in enumerate(values):
            is_last = number == len(values) - 1
            await ex.piece((last or frame)(value) if is_last else frame(value))
        await ex.end()

    return run


def _multi_line(value: bytes) -> bytes:
    """One event over several ``data:`` lines, cut where JSON allows a line end."""
    return b"".join(b"data: " + line + b"\r\n" for line in value.replace(b": ", b":\n").split(b"\n")) + b"\r\n"


def _cut_into(size_of: Callable[[int], int]) -> Run:
    """The ordinary body in chunks that have nothing to do with its events."""

    async def run(ex: Exchange) -> None:
        body = b"".join(ex.pieces(ex.chunks()))
        await ex.start()
        at = number = 0
        while at < len(body):
            size = size_of(number)
            await ex.piece(body[at : at + size])
            at, number = at + size, number + 1
        await ex.end()

    return run


async def _split_utf8(ex: Exchange) -> None:
    """Text of two, three and four bytes a character, every character cut over two chunks."""
    text = "gr\u00fc\u00df \u4f60\u597d \U0001f600 \u20ac"
    chunks = ex.chunks()
    first = {**chunks[0], "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}
    end = {"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}]}
    body = b"".join(ex.pieces([first, {**chunks[-1], **end}])) if ex.stream else b"".join(ex.pieces([_finished(first)]))
    await ex.start()
    start = 0
    for at in range(1, len(body)):
        if body[at] & 0xC0 == 0x80:
            await ex.piece(body[start:at])
            await ex.conn.pause(0.001)
            start = at
    await ex.piece(body[start:])
    await ex.end()


def _finished(event: Json) -> Json:
    return {**event, "candidates": [{**event["candidates"][0], "finishReason": "STOP"}]}


async def _trailers(ex: Exchange) -> None:
    await ex.start(("trailer", "x-checksum"))
    for piece in ex.pieces(ex.chunks()):
        await ex.piece(piece)
    await ex.conn.write(b"0\r\nx-checksum: 1\r\nx-other: 2\r\n\r\n")


async def _chunk_extensions(ex: Exchange) -> None:
    await ex.start()
    for piece in ex.pieces(ex.chunks()):
        await ex.conn.write(b"%X;name=value\r\n%b\r\n" % (len(piece), piece))
    await ex.end()


async def _http10(ex: Exchange) -> None:
    """No length and no chunks: the body ends with the connection."""
    await ex.conn.write(response_head(200, [("content-type", ex.content_type)], version="HTTP/1.0"))
    for piece in ex.pieces(ex.chunks()):
        await ex.conn.write(piece)
    ex.conn.close()


async def _until_close(ex: Exchange) -> None:
    await ex.conn.write(response_head(200, [("content-type", ex.content_type), ("connection", "close")]))
    for piece in ex.pieces(ex.chunks()):
        await ex.conn.write(piece)
    ex.conn.close()


async def _informational(ex: Exchange) -> None:
    await ex.conn.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    await ex.plain()


async def _gzip(ex: Exchange) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    await ex.start(("content-encoding", "gzip"))
    for piece in ex.pieces(ex.chunks()):
        await ex.piece(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH))
    await ex.piece(packer.flush())
    await ex.end()


async def _gzip_corrupt(ex: Exchange) -> None:
    body = bytearray(zlib.compress(b"".join(ex.pieces(ex.chunks())), wbits=31))
    for at in range(12, len(body) - 8):
        body[at] ^= 0x5A
    await ex.send(200, bytes(body), ex.content_type, [("content-encoding", "gzip")])


async def _gzip_cut(ex: Exchange) -> None:
    body = zlib.compress(b"".join(ex.pieces(ex.chunks())), wbits=31)
    await ex.send(200, body[: len(body) // 2], ex.content_type, [("content-encoding", "gzip")])


async def _gzip_bomb(ex: Exchange) -> None:
    """One event whose text unpacks to 256 MB, made by repeating one packed block: it costs the sandbox nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    lead = (
        b'data: {"candidates": [{"content": {"parts": [{"text": "'
        if ex.streams_sse
        else b'{"candidates": [{"content": {"parts": [{"text": "'
    )
    begin = packer.compress(lead) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"a" * _MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    await ex.start(("content-encoding", "gzip"))
    await ex.piece(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + begin)
    for _ in range(BOMB_MEGABYTES):
        await ex.piece(block)
        await ex.conn.pause(0)
    tail = b'"}],"role": "model"},"finishReason": "STOP"}]}\r\n\r\n'
    crc = zlib.crc32(lead)
    for _ in range(BOMB_MEGABYTES):
        crc = zlib.crc32(b"a" * _MEGABYTE, crc)
        await ex.conn.pause(0)
    crc = zlib.crc32(tail, crc)
    size = len(lead) + BOMB_MEGABYTES * _MEGABYTE + len(tail)
    await ex.piece(
        packer.compress(tail) + packer.flush() + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    )
    await ex.end()


# sizes and speeds


async def _huge_event(ex: Exchange) -> None:
    last = ex.chunks()[-1]
    huge = {**last, "candidates": [{"content": {"parts": [{"text": "h" * HUGE_EVENT}], "role": "model"}, "index": 0}]}
    end = {
        **last,
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
    }
    await ex.play([huge, end])


async def _many(ex: Exchange) -> None:
    last = ex.chunks()[-1]
    shown = [
        {**last, "candidates": [{"content": {"parts": [{"text": f"{number} "}], "role": "model"}, "index": 0}]}
        for number in range(MANY_EVENTS)
    ]
    await ex.play([*shown[:-1], _finished(shown[-1])])


async def _trickle(ex: Exchange) -> None:
    """The ordinary answer, one event a beat."""
    await ex.start()
    for piece in ex.pieces(ex.chunks()):
        await ex.piece(piece)
        await ex.conn.pause(ex.timing.beat)
    await ex.end()


async def _slow_start(ex: Exchange) -> None:
    """Five beats of silence after the head, as long thinking makes them."""
    await ex.start()
    await ex.conn.pause(5 * ex.timing.beat)
    for piece in ex.pieces(ex.chunks()):
        await ex.piece(piece)
    await ex.end()


async def _slow_head(ex: Exchange) -> None:
    await ex.conn.pause(5 * ex.timing.beat)
    await ex.plain()


async def _endless(ex: Exchange) -> None:
    """Events without end, one a beat, until the stall limit."""
    last = ex.chunks()[-1]
    event = {**last, "candidates": [{"content": {"parts": [{"text": "on and "}], "role": "model"}, "index": 0}]}
    await ex.start()
    for _ in range(int(ex.timing.stall / max(ex.timing.beat, 0.001))):
        await ex.piece(ex.frame(ex.wrap(event)))
        await ex.conn.pause(ex.timing.beat)
    ex.conn.reset()


async def _comment_flood(ex: Exchange) -> None:
    """A comment a beat and never an event."""
    await ex.start(content_type=SSE_TYPE)
    for _ in range(int(ex.timing.stall / max(ex.timing.beat, 0.001))):
        await ex.piece(b": still here\r\n\r\n")
        await ex.conn.pause(ex.timing.beat)
    ex.conn.close()


async def _after_end(ex: Exchange) -> None:
    """Bytes that nobody asked for behind a complete answer."""
    body = b"".join(ex.pieces(ex.chunks()))
    head = response_head(200, [("content-type", ex.content_type), ("content-length", str(len(body)))])
    await ex.conn.write(head + body + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    await ex.conn.pause(_SETTLE)
    ex.conn.close()


async def _stays_open(ex: Exchange) -> None:
    """A complete answer, but neither the chunks nor the connection end."""
    await ex.start()
    for piece in ex.pieces(ex.chunks()):
        await ex.piece(piece)
    await _silent(ex)


async def _half_head(ex: Exchange) -> None:
    await ex.conn.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: " + (SSE_TYPE if ex.streams_sse else JSON_TYPE).encode() + b"\r\nx-ha"
    )
    await _silent(ex)


_RESET = Fault("reset-before-headers", "The connection is reset before a byte of the answer.", _reset)
_CLOSE = Fault("close-before-headers", "The connection is closed before a byte of the answer.", _close)
_STALL = Fault("stall-before-headers", "Nothing at all is answered until the stall limit.", _silent)
WIRE_FAULTS: tuple[Fault, ...] = (
    *(_RESET, once(_RESET), _CLOSE, once(_CLOSE), _STALL, once(_STALL)),
    Fault("headers-drip", "The head comes one byte a beat and never ends.", _drip_head),
    Fault("headers-stall", "Half a head, then silence until the stall limit.", _half_head),
    Fault(
        "garbage-status",
        "Bytes that are no HTTP.",
        _bytes_then_close(b"SSH-2.0-OpenSSH_9.9\r\n\x00\x01\x02garbage\r\n\r\n"),
    ),
    Fault("headers-huge", "A head of 400 KB.", _huge_head),
    Fault("headers-many", "A head of 20,000 lines.", _many_headers),
    Fault(
        "headers-conflict",
        "Content-Length and Transfer-Encoding together.",
        _bytes_then_close(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: "
            b"chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\n\r\n"
        ),
    ),
    Fault("bad-chunk-size", "The first chunk has no readable size.", _bad_chunk_first),
    Fault("bad-chunk-midstream", "Half the answer, then a chunk without a readable size.", _broken_off(_bad_chunk)),
    Fault("early-response", "429 before the request's body has been read.", _early, early=True),
    Fault("keepalive-race", "The second request on a kept connection is reset.", _stale, early=False),
    Fault("reset-midstream", "Half the answer, then a reset.", _broken_off(_reset)),
    Fault("close-midstream", "Half the answer, then a close without the last chunk.", _broken_off(_close)),
    Fault("reset-midchunk", "Half the answer, then a reset inside a chunk.", _broken_off(_reset_in_chunk)),
    Fault("short-body", "A Content-Length that is larger than the body.", _broken_off(_close, sized=True)),
    Fault("stall-midstream", "Half the answer, then silence until the stall limit.", _broken_off(_silent)),
    Fault("stall-midevent", "Half the answer and half an event, then silence.", _broken_off(_stall_in_event)),
    Fault("eof-no-finish", "A clean end without the event that has the finishReason.", _no_finish),
    Fault("stays-open", "A complete answer on a connection that does not end.", _stays_open),
    Fault("split-utf8", "Characters of several bytes, each cut over two chunks.", _split_utf8),
    Fault("single-bytes", "Each byte in a chunk of its own.", _cut_into(lambda _: 1)),
    Fault("odd-chunks", "Chunks of 1 to 97 bytes across the events.", _cut_into(lambda number: number * 7 % 97 + 1)),
    Fault("lf-only", "Lines end with LF.", _framed(lambda value: b"data: " + value + b"\n\n")),
    Fault("cr-only", "Lines end with CR.", _framed(lambda value: b"data: " + value + b"\r\r")),
    Fault("no-blank", "No blank after data:.", _framed(lambda value: b"data:" + value + b"\r\n\r\n")),
    Fault(
        "bom",
        "A byte order mark before the first event.",
        _framed(lambda value: b"data: " + value + b"\r\n\r\n", preface=b"\xef\xbb\xbf"),
    ),
    Fault(
        "comments",
        "Comments, ids, event names and retry lines among the events.",
        _framed(
            lambda value: (
                b": hello\r\nid: 1\r\nevent: message\r\nretry: 100\r\ndata: " + value + b"\r\n: bye\r\n\r\n:\r\n\r\n"
            )
        ),
    ),
    Fault("multi-line-data", "Each event over many data: lines.", _framed(_multi_line)),
    Fault(
        "blank-lines",
        "Several blank lines between events.",
        _framed(lambda value: b"\r\n\r\ndata: " + value + b"\r\n\r\n\r\n"),
    ),
    Fault(
        "last-event-without-blank-line",
        "The last event ends with the stream.",
        _framed(lambda value: b"data: " + value + b"\r\n\r\n", last=lambda value: b"data: " + value),
    ),
    Fault(
        "done-mark",
        "An OpenAI-style [DONE] after the last event.",
        _framed(
            lambda value: b"data: " + value + b"\r\n\r\n",
            last=lambda value: b"data: " + value + b"\r\n\r\ndata: [DONE]\r\n\r\n",
        ),
    ),
    Fault("trailers", "Trailer fields after the last chunk.", _trailers),
    Fault("chunk-extensions", "Chunk sizes with extensions, in capital digits.", _chunk_extensions),
    Fault("http10", "An HTTP/1.0 answer that ends with the connection.", _http10),
    Fault("until-close", "An HTTP/1.1 answer without length or chunks.", _until_close),
    Fault("informational-1xx", "103 and 102 before the answer.", _informational),
    Fault("gzip", "The answer is gzipped, whatever was accepted.", _gzip),
    Fault("gzip-bomb", f"A gzipped event that unpacks to {BOMB_MEGABYTES} MB.", _gzip_bomb),
    Fault("gzip-corrupt", "The gzipped bytes are damaged.", _gzip_corrupt),
    Fault("gzip-cut", "The gzipped bytes end in the middle.", _gzip_cut),
    Fault("huge-event", f"An event with {HUGE_EVENT >> 20} MB of text.", _huge_event),
    Fault("many-events", f"{MANY_EVENTS} events.", _many),
    Fault("trickle", "One event a beat.", _trickle),
    Fault("slow-first-event", "The head at once, the first event after five beats.", _slow_start),
    Fault("slow-head", "The head after five beats.", _slow_head),
    Fault("endless", "Events without end, one a beat.", _endless),
    Fault("comments-only", "A comment a beat and never an event.", _comment_flood),
    Fault("after-end", "A second, uninvited answer behind the first.", _after_end),
)
"""All faults of this kind, in the order of the documentation."""
