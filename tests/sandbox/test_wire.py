"""The listener: what it reads, what it turns down, and that it stays usable."""

import asyncio
import gzip
import json

from antigravity2api.sandbox import Sandbox
from sandbox.rawclient import Client, ask, generate, request_bytes, stream, user

TARGET = "/v1beta/models/gemini-3.8-flash:generateContent"
HELLO = user("Hello")


async def test_a_connection_serves_many_requests(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        for _ in range(3):
            assert (await client.ask("POST", TARGET, HELLO)).text == "Hello! How can I help you today?"
    assert len(sandbox.requests) == 3


async def test_requests_sent_at_once_are_answered_in_order(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        for word in ("one", "two"):
            client.writer.write(request_bytes("POST", TARGET, user(f"Say {word}"), {"x-goog-api-key": "k"}))
        assert [(await client.reply()).text for _ in range(2)] == ["one", "two"]


async def test_a_chunked_body_is_read(sandbox: Sandbox) -> None:
    raw = json.dumps(HELLO).encode()
    async with Client(sandbox) as client:
        client.writer.write(
            f"POST {TARGET} HTTP/1.1\r\nx-goog-api-key: k\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            + b"%x\r\n%b\r\n" % (10, raw[:10])
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw) - 10, raw[10:])
        )
        assert (await client.reply()).status == 200


async def test_a_gzipped_body_is_read(sandbox: Sandbox) -> None:
    reply = await ask(
        sandbox, TARGET, gzip.compress(json.dumps(HELLO).encode()), x_goog_api_key="k", content_encoding="gzip"
    )
    assert reply.status == 200


async def test_a_client_may_ask_before_it_sends_the_body(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        raw = request_bytes("POST", TARGET, HELLO, {"x-goog-api-key": "k", "expect": "100-continue"})
        at = raw.index(b"\r\n\r\n") + 4
        client.writer.write(raw[:at])
        assert (await client.reply()).status == 100
        client.writer.write(raw[at:])
        assert (await client.reply()).status == 200


async def test_what_is_no_http_gets_a_400(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        client.writer.write(b"EHLO there\r\n\r\n")
        assert (await client.reply()).status == 400


async def test_two_lengths_are_refused(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, TARGET, HELLO, x_goog_api_key="k", transfer_encoding="chunked")
    assert reply.status == 400


async def test_a_post_needs_a_length(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        client.writer.write(f"POST {TARGET} HTTP/1.1\r\nx-goog-api-key: k\r\n\r\n".encode())
        assert (await client.reply()).status == 411


async def test_a_large_head_is_refused(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        client.writer.write(f"POST {TARGET} HTTP/1.1\r\nx-large: {'h' * 100_000}\r\n\r\n".encode())
        assert (await client.reply()).status == 431


async def test_a_large_body_is_refused_before_it_is_sent() -> None:
    async with Sandbox(max_body=1000) as sandbox, Client(sandbox) as client:
        client.writer.write(f"POST {TARGET} HTTP/1.1\r\ncontent-length: 1001\r\n\r\n".encode())
        assert (await client.reply()).status == 413


async def test_paths_that_lead_nowhere_are_404(sandbox: Sandbox) -> None:
    for target in (
        "/",
        "/v1beta",
        "/v1beta/models/x/y:generateContent",
        "/v1internal/generateContent",
        "/V1beta/models",
    ):
        assert (await ask(sandbox, target, {})).status == 404


async def test_a_client_that_leaves_is_noticed(sandbox: Sandbox) -> None:
    sandbox.timing = type(sandbox.timing)(stall=60.0)
    async with Client(sandbox) as client:
        target = "/v1beta/models/gemini-fault-stall-midstream:streamGenerateContent?alt=sse"
        client.writer.write(request_bytes("POST", target, HELLO, {"x-goog-api-key": "k"}))
        await client.reader.readuntil(b"data: ")
    async with asyncio.timeout(5):
        while sandbox.requests[-1].outcome == "open":  # noqa: ASYNC110 - the sandbox offers no event for it
            await asyncio.sleep(0.001)
    assert sandbox.requests[-1].outcome == "left"


async def test_pace_spreads_the_events() -> None:
    async with Sandbox(pace=0.005) as sandbox:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        reply = await stream(sandbox, user("count from 1 to 12"))
        assert loop.time() - begin >= 0.005 * (len(reply.events) - 1)
        assert reply.text == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"


async def test_two_hundred_streams_at_once(sandbox: Sandbox) -> None:
    replies = await asyncio.gather(*(stream(sandbox, user(f"Say number {index}")) for index in range(200)))
    assert [reply.text for reply in replies] == [f"number {index}" for index in range(200)]
    assert len(sandbox.requests) == 200


async def test_requests_are_remembered_without_secrets(sandbox: Sandbox) -> None:
    await generate(sandbox, HELLO, x_goog_api_key="top-secret")
    await ask(sandbox, "/v1beta/models?key=top-secret&pageSize=1", method="GET", accept="*/*")
    first, second = sandbox.requests
    assert (first.method, first.operation, first.model, first.outcome) == (
        "POST",
        "generateContent",
        "gemini-3.8-flash",
        "done",
    )
    assert first.body == HELLO
    assert first.credential == second.credential == "top-secret"
    assert second.target == "/v1beta/models?key=***&pageSize=1"
    assert "top-secret" not in repr(sandbox.requests)
    sandbox.reset()
    assert not sandbox.requests


async def test_memory_for_requests_is_bounded(sandbox: Sandbox) -> None:
    for _ in range(300):
        await generate(sandbox, HELLO)
    assert len(sandbox.requests) == 256


async def test_stop_ends_open_streams() -> None:
    sandbox = Sandbox(stall=60.0)
    await sandbox.start()
    async with Client(sandbox) as client:
        target = "/v1beta/models/gemini-fault-stall-midstream:streamGenerateContent?alt=sse"
        client.writer.write(request_bytes("POST", target, HELLO, {"x-goog-api-key": "k"}))
        await client.reader.readuntil(b"data: ")
        await sandbox.stop()
        assert sandbox.open_connections == 0
        await sandbox.stop()
