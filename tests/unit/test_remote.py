"""Fetching pictures by URL: off by default, and guarded against everything a caller could aim it at."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import orjson
import pytest

from antigravity2api.errors import Fault
from antigravity2api.remote import RemoteImages, is_public

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
Serve = Callable[[bytes], RemoteImages]


def answering(answer: bytes, *, addresses: list[str] | None = None, asked: list[bytes] | None = None) -> RemoteImages:
    async def resolve(host: str) -> list[str]:
        return addresses or ["93.184.215.14"]

    async def connect(address: str, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert is_public(address)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if asked is not None:
                asked.append(head)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host_, port = server.sockets[0].getsockname()[:2]
        streams = await asyncio.open_connection(host_, port)
        server.close()
        return streams

    return RemoteImages(resolve=resolve, connect=connect)


def body_with(url: object) -> bytes:
    return orjson.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]})


def ok(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


async def refused(awaitable: Awaitable[object]) -> Fault:
    with pytest.raises(Fault) as caught:
        await awaitable
    assert caught.value.code == "invalid_image_url"
    assert caught.value.param == "messages[0].content[0].image_url.url"
    return caught.value


@pytest.mark.parametrize("url", ["https://example.com/a.png?x=1", {"url": "https://example.com/a.png?x=1"}])
async def test_an_image_takes_the_place_of_its_url(url: object) -> None:
    asked: list[bytes] = []
    changed = orjson.loads(await answering(ok(PNG), asked=asked).prefetch(body_with(url)))
    part = changed["messages"][0]["content"][0]["image_url"]
    data = part["url"] if isinstance(part, dict) else part
    assert base64.b64decode(data.partition(",")[2]) == PNG
    assert asked[0].startswith(b"GET /a.png?x=1 HTTP/1.1\r\nHost: example.com\r\n")
    assert b"uthorization" not in asked[0]


async def test_a_body_without_urls_is_not_touched() -> None:
    body = body_with({"url": "data:image/png;base64,AAAA"})
    assert await answering(b"").prefetch(body) is body


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://example.com:8443/a.png",
        "https://user:pw@example.com/a.png",
        "https:///a.png",
        "https://exa mple.com/a.png",
        "https://example.com/a\r\nX: y",
        "https://[::1/a.png",
        "https://example.com:99999/a.png",
        "https://пример.com/a.png",
    ],
)
async def test_other_urls_are_refused_without_a_connection(url: str) -> None:
    await refused(answering(ok(PNG)).prefetch(body_with({"url": url})))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "ff02::1",
    ],
)  # fmt: skip
async def test_no_address_inside_is_reached(address: str) -> None:
    assert not is_public(address)
    fault = await refused(
        answering(ok(PNG), addresses=["93.184.215.14", address]).prefetch(body_with({"url": "https://example.com/"}))
    )
    assert address not in fault.message


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"nonsense\r\n\r\n",
        b"",
        ok(b"x" * ((20 << 20) + 1)),
    ],
    ids=["redirect", "404", "cut", "no-http", "nothing", "too-large"],
)
async def test_only_a_whole_small_200_counts(answer: bytes) -> None:
    await refused(answering(answer).prefetch(body_with({"url": "https://example.com/a.png"})))


async def test_a_body_that_ends_with_the_connection_is_read() -> None:
    changed = await answering(b"HTTP/1.1 200 OK\r\n\r\n" + PNG).prefetch(body_with({"url": "https://example.com/"}))
    assert base64.b64encode(PNG) in changed


async def test_too_many_urls_are_refused() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = orjson.dumps({"messages": [{"role": "user", "content": [part] * 17}]})
    with pytest.raises(Fault, match="At most 16"):
        await answering(ok(PNG)).prefetch(body)
