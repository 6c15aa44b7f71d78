"""An upstream that costs little: precomputed Gemini answers over raw sockets. Its own process, loopback only.

``POST …:generateContent`` answers one JSON body, ``POST …:streamGenerateContent`` 64 events, each its own chunk on the
wire; the request header ``x-delay-ms`` of the environment (``BENCH_DELAY_MS``) paces them.
"""

from __future__ import annotations

import asyncio
import os
import sys

import orjson

WORDS = [
    *("gate", "river", "stone", "light", "paper", "cloud", "green", "quiet", "train", "north", "amber", "field"),
    *("ocean", "metal", "round", "seven", "é", "你", "🙂", '"', "\n"),
]
EVENTS = 64
DELAY = float(os.environ.get("BENCH_DELAY_MS", "0")) / 1000


def piece(number: int) -> str:
    """About 30 characters of text, the same every time."""
    return " ".join(WORDS[(number * 7 + step * 3) % len(WORDS)] for step in range(6)) + " "


TEXT = "".join(piece(number) for number in range(EVENTS))


def _usage(done: int) -> dict[str, int]:
    return {"promptTokenCount": 8, "candidatesTokenCount": done, "totalTokenCount": 8 + done}


def _event(text: str, done: int, *, last: bool) -> bytes:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    return orjson.dumps(
        {
            "candidates": [candidate],
            "usageMetadata": _usage(done),
            "modelVersion": "gemini-2.5-flash",
            "responseId": "benchmark",
        }
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_PIECES = [
    _chunk(b"data: " + _event(piece(number), number + 1, last=number == EVENTS - 1) + b"\r\n\r\n")
    for number in range(EVENTS)
]
_BODY = _event(TEXT, EVENTS, last=True)
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Emulator(asyncio.Protocol):
    """Reads requests by Content-Length, answers from memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = -1
        self._stream = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            if self._need < 0:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._buffer[:end]).lower()
                mark = head.find(b"content-length:")
                length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
                self._stream = b"streamgeneratecontent" in head.split(b"\r\n", 1)[0]
                self._need = end + 4 + length
            if len(self._buffer) < self._need:
                return
            del self._buffer[: self._need]
            self._need = -1
            self._answer()

    def _answer(self) -> None:
        if not self._stream:
            self._transport.write(_JSON)
        elif not DELAY:
            self._transport.write(_STREAM_HEAD)
            for data in _PIECES:
                self._transport.write(data)
            self._transport.write(b"0\r\n\r\n")
        else:
            self._transport.write(_STREAM_HEAD)
            self._next(0)

    def _next(self, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == EVENTS:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(_PIECES[number])
        asyncio.get_running_loop().call_later(DELAY, self._next, number + 1)


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Emulator, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main(int(sys.argv[1])))
    except ImportError:
        asyncio.run(main(int(sys.argv[1])))
