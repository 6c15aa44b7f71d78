"""A client of a few lines that shows an answer as it came."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

from antigravity2api.sandbox import Sandbox


@dataclass
class Reply:
    """An answer: status, headers, the body without its chunks, and whether it came whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    trailers: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        frames = self.body.split(b"\r\n\r\n")
        assert frames[-1] == b""
        assert all(frame.startswith(b"data: ") for frame in frames[:-1])
        return [json.loads(frame[6:]) for frame in frames[:-1]]

    @property
    def text(self) -> str:
        """The words of the answer, streamed or not, thoughts left out."""
        found = self.events if self.headers["content-type"] == "text/event-stream" else [self.json]
        return "".join(
            part.get("text", "")
            for event in found
            for part in parts_of(event.get("response", event))
            if not part.get("thought")
        )


def parts_of(response: Any) -> list[Any]:
    """The parts of a response's first candidate."""
    return response["candidates"][0].get("content", {}).get("parts", [])


def user(text: str, **more: Any) -> dict[str, Any]:
    """A request with one question."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def request_bytes(method: str, target: str, body: Any, headers: dict[str, str]) -> bytes:
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"host": "sandbox", "content-length": str(len(raw)), "content-type": "application/json", **headers}
    if body is None:
        del lines["content-length"]
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + raw


class Client:
    """One connection to a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.sandbox.port, limit=1 << 26)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()

    async def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        self.writer.write(
            request_bytes(method, target, body, {"x-goog-api-key": "key"} if headers is None else headers)
        )
        await self.writer.drain()
        return await self.reply()

    async def reply(self) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        if status < 200:
            return Reply(status, headers, b"", True)
        reply = Reply(status, headers, b"", False)
        try:
            if headers.get("transfer-encoding") == "chunked":
                await self._chunks(reply)
            elif "content-length" in headers:
                reply.body = await self.reader.readexactly(int(headers["content-length"]))
            elif status != 204:
                reply.body = await self.reader.read()
            reply.whole = True
        except asyncio.IncompleteReadError as error:
            reply.body += error.partial
        except (ConnectionError, ValueError):
            pass
        return reply

    async def _chunks(self, reply: Reply) -> None:
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if not size:
                break
            chunk = await self.reader.readexactly(size)
            reply.chunks.append(chunk)
            reply.body += chunk
            assert await self.reader.readexactly(2) == b"\r\n"
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            reply.trailers += line


async def ask(sandbox: Sandbox, target: str, body: Any = None, method: str = "POST", **headers: str) -> Reply:
    """One request on a connection of its own."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} or {"x-goog-api-key": "key"}
    async with Client(sandbox) as client:
        return await client.ask(method, target, body, sent)


async def generate(sandbox: Sandbox, body: Any, model: str = "gemini-3.8-flash", **headers: str) -> Reply:
    return await ask(sandbox, f"/v1beta/models/{model}:generateContent", body, **headers)


async def stream(sandbox: Sandbox, body: Any, model: str = "gemini-3.8-flash", **headers: str) -> Reply:
    return await ask(sandbox, f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body, **headers)


async def wrapped(
    sandbox: Sandbox,
    request: Any,
    model: str = "gemini-3.7-flash-high",
    method: str = "generateContent",
    **envelope: Any,
) -> Reply:
    body = {"model": model, "project": "my-project", "request": request, **envelope}
    alt = "?alt=sse" if method.startswith("stream") else ""
    return await ask(sandbox, f"/v1internal:{method}{alt}", body, authorization="Bearer token")


WEATHER = {
    "name": "get_weather",
    "description": "Get weather information",
    "parametersJsonSchema": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "City name"},
            "unit": {"type": "string", "enum": ["c", "f"]},
        },
        "required": ["location"],
        "additionalProperties": False,
    },
}
TIME = {
    "name": "get_time",
    "description": "Local time for a city",
    "parameters": {"type": "OBJECT", "properties": {"location": {"type": "STRING"}}, "required": ["location"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def tools(*functions: dict[str, Any]) -> list[Any]:
    return [{"functionDeclarations": list(functions or (WEATHER, TIME))}]
