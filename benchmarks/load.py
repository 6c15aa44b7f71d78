"""A load generator that checks every answer: closed loop, raw sockets, one process. Prints one JSON line.

python load.py PORT MODE CONCURRENCY SECONDS     MODE: json, sse or large
SECONDS 0 sends one request on each connection, the connections spread over 6.4 seconds
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import sys
import time

import orjson
from emulator import TEXT

LARGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 30720).decode()
SYSTEM = "You are a careful assistant that answers briefly, in plain words, and never makes anything up. " * 6


def request(port: int, mode: str) -> bytes:
    """The bytes of one request."""
    question: object = "Please tell me something about rivers and stones."
    if mode == "large":
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + LARGE}}
        question = [{"type": "text", "text": "What is in this picture?"}, image]
    body = orjson.dumps(
        {
            "model": "gemini-2.5-flash",
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hello! How can I help you today?"},
                {"role": "user", "content": question},
            ],
            "stream": mode == "sse",
            "temperature": 0.7,
            "max_tokens": 1024,
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer sk-text\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """One connection that asks again and again until the time is up."""

    def __init__(self, port: int, mode: str, until: float) -> None:
        self.port, self.mode, self.until = port, mode, until
        self.ok = self.bad = self.events = 0
        self.latencies: list[float] = []
        self.firsts: list[float] = []

    async def run(self, wait: float) -> None:
        """Ask until the end; a wrong answer counts as bad."""
        await asyncio.sleep(wait)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        message = request(self.port, self.mode)
        while True:
            begun = time.perf_counter()
            writer.write(message)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head.lower():
                body = await self._chunked(reader, begun)
            else:
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
            self.latencies.append(time.perf_counter() - begun)
            if self._right(head, body):
                self.ok += 1
            else:
                self.bad += 1
            if time.perf_counter() >= self.until:
                break
        writer.close()

    async def _chunked(self, reader: asyncio.StreamReader, begun: float) -> bytes:
        body = bytearray()
        while size := int(await reader.readline(), 16):
            if not body:
                self.firsts.append(time.perf_counter() - begun)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return bytes(body)

    def _right(self, head: bytes, body: bytes) -> bool:
        if not head.startswith(b"HTTP/1.1 200"):
            return False
        if self.mode != "sse":
            answer = orjson.loads(body)
            if "candidates" in answer:
                return bool(answer["candidates"][0]["content"]["parts"][0]["text"] == TEXT)
            return bool(answer["choices"][0]["message"]["content"] == TEXT)
        text = []
        frames = [frame for frame in body.replace(b"\r\n", b"\n").split(b"\n\n") if frame.startswith(b"data: ")]
        for frame in frames:
            if frame == b"data: [DONE]":
                continue
            event = orjson.loads(frame[6:])
            if "candidates" in event:
                text.append(event["candidates"][0]["content"]["parts"][0]["text"])
            else:
                text.append(event["choices"][0]["delta"].get("content", ""))
        self.events += 64
        return "".join(text) == TEXT


async def main(port: int, mode: str, concurrency: int, seconds: float) -> None:
    """Run the load and print what was seen."""
    until = time.perf_counter() + seconds
    clients = [Client(port, mode, until) for _ in range(concurrency)]
    spread = 6.4 if seconds == 0 else 0.0
    await asyncio.gather(*(client.run(spread * n / concurrency) for n, client in enumerate(clients)))
    latencies = [value for client in clients for value in client.latencies]
    firsts = [value for client in clients for value in client.firsts]
    result = {
        "ok": sum(client.ok for client in clients),
        "bad": sum(client.bad for client in clients),
        "events": sum(client.events for client in clients),
        "p50_ms": round(statistics.median(latencies) * 1000, 3),
        "first_ms": round(statistics.median(firsts) * 1000, 3) if firsts else None,
    }
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
