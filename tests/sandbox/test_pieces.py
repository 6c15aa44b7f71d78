"""Answers in pieces: each is asked for with the token of the one before."""

from __future__ import annotations

import asyncio

from antigravity2api.sandbox import PREFIX, Sandbox
from sandbox.rawclient import Client, generate, parts_of, request_bytes, stream, user

HELLO = user("Hello")
ENDLESS = 10


async def test_three_pieces_and_their_tokens(sandbox: Sandbox) -> None:
    for ask in (generate, stream):
        texts, token = [], None
        for _ in range(ENDLESS):
            body = {**HELLO, "continuationToken": token} if token else HELLO
            reply = await ask(sandbox, body, PREFIX + "continued")
            events = reply.events if ask is stream else [reply.json]
            texts += [part["text"] for event in events for part in parts_of(event)]
            last = events[-1]["candidates"][0]
            token = last.get("continuationToken")
            if last["finishReason"] == "STOP":
                break
        assert "".join(texts) == "Chapter 1. It begins.\nChapter 2. It goes on.\nChapter 3. It ends.\n"
        assert token is None


async def test_a_token_that_was_never_given_is_refused(sandbox: Sandbox) -> None:
    for token in ("c2FuZGJveCBwaWVjZSA5", "c2FuZGJveCBwaWVjZSB4", "bm90aGluZw=="):
        reply = await generate(sandbox, {**HELLO, "continuationToken": token}, PREFIX + "continued")
        assert reply.status == 400


async def test_a_break_after_a_checkpoint(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        target = f"/v1beta/models/{PREFIX}checkpoint-break:streamGenerateContent?alt=sse"
        client.writer.write(request_bytes("POST", target, HELLO, {"x-goog-api-key": "key"}))
        async with asyncio.timeout(20):
            received = await client.reader.read()
    assert b"continuationToken" in received
    assert not received.endswith(b"0\r\n\r\n")
    body = {**HELLO, "continuationToken": "c2FuZGJveCBwaWVjZSAx"}
    rest = await stream(sandbox, body, PREFIX + "checkpoint-break")
    assert "".join(part["text"] for event in rest.events for part in parts_of(event)) == "a time there was an end."
