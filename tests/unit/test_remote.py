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
        "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "ff02::1", "::127.0.0.1", "::8.8.8.8",
        "64:ff9b:1::7f00:1", "fec0::1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "5f00::1", "100::1", "4000::1",
        "192.0.0.8", "192.0.0.9", "192.0.0.171", "192.88.99.1", "2001:db8::1", "3fff::1", "2001:10::1", "198.18.0.1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
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


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_everyone_reaches_is_public(address: str) -> None:
    assert is_public(address)


def body_of(*urls: str) -> bytes:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return orjson.dumps({"messages": [{"role": "user", "content": parts}]})


async def test_images_are_fetched_side_by_side_and_each_url_once() -> None:
    running = most = 0
    gate = asyncio.Event()
    asked: list[bytes] = []

    async def resolve(host: str) -> list[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 4:
            gate.set()
        await gate.wait()
        running -= 1
        return ["93.184.215.14"]

    remote = answering(ok(PNG), asked=asked)
    remote._resolve = resolve
    urls = [f"https://example.com/{n}.png" for n in range(8)]
    changed = orjson.loads(await remote.prefetch(body_of(*urls, *urls)))
    parts = changed["messages"][0]["content"]
    assert len(parts) == 16
    assert all(part["image_url"]["url"].startswith("data:") for part in parts)
    assert (most, len(asked)) == (4, 8)


async def test_the_images_of_a_request_share_one_budget_of_bytes() -> None:
    remote = answering(ok(b"x" * (12 << 20)))
    with pytest.raises(Fault, match="more than 32 MB together") as caught:
        await remote.prefetch(body_of(*(f"https://example.com/{n}" for n in range(3))))
    assert caught.value.code == "invalid_image_url"


async def test_the_images_of_a_request_share_one_deadline() -> None:
    stopped = 0

    async def resolve(host: str) -> list[str]:
        nonlocal stopped
        try:
            await asyncio.sleep(60)
        finally:
            stopped += 1
        return []

    remote = RemoteImages(resolve=resolve, seconds=0.02)
    with pytest.raises(Fault, match=r"within 0\.02 s") as caught:
        await remote.prefetch(body_of(*(f"https://example.com/{n}" for n in range(6))))
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert stopped == 4, "nothing runs on"


async def test_one_refused_image_ends_the_others() -> None:
    stopped = asyncio.Event()

    async def resolve(host: str) -> list[str]:
        if host == "bad.example":
            return ["127.0.0.1"]
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return []

    with pytest.raises(Fault, match="public address") as caught:
        await RemoteImages(resolve=resolve).prefetch(body_of("https://slow.example/", "https://bad.example/"))
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert stopped.is_set()


async def test_integers_of_any_size_survive() -> None:
    body = body_of("https://example.com/")[:-1] + b',"seed":123456789012345678901}'
    assert b"123456789012345678901" in await answering(ok(PNG)).prefetch(body)


async def test_the_roots_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    async def resolve(host: str) -> list[str]:
        return ["93.184.215.14"]

    async def open_connection(*place: object, ssl: object, server_hostname: str) -> object:
        made.append(ssl)
        raise OSError

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    remote = RemoteImages(resolve=resolve)
    for _ in range(2):
        await refused(remote.prefetch(body_of("https://example.com/")))
    assert len(made) == 2
    assert made[0] is made[1]
