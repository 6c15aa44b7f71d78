"""Every fault does what its line says, in every form of request."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest

from antigravity2api.sandbox import FAULTS, PREFIX, Sandbox
from antigravity2api.sandbox.fault_wires import BOMB_MEGABYTES, HUGE_EVENT, MANY_EVENTS
from sandbox.rawclient import Client, Reply, generate, parts_of, request_bytes, stream, user, wrapped

HELLO = user("Hello")
TEXT = "Hello! How can I help you today?"
COSTLY = frozenset({"gzip-bomb", "huge-event", "single-bytes", "many-events"})
HARMLESS = (
    "keepalive-race",
    "single-bytes",
    "odd-chunks",
    "lf-only",
    "cr-only",
    "no-blank",
    "bom",
    "comments",
    "multi-line-data",
    "blank-lines",
    "last-event-without-blank-line",
    "trailers",
    "chunk-extensions",
    "http10",
    "until-close",
    "informational-1xx",
    "gzip",
    "trickle",
    "slow-first-event",
    "slow-head",
    "usage-missing",
    "usage-after",
    "role-missing",
    "empty-events",
    "finish-unknown",
    "finish-number",
    "finish-max-tokens",
    "done-mark",
    "400-signature-foreign",
    "400-topk",
    "400-thinking",
    "400-max-tokens",
)
"""Faults whose answer holds the ordinary text."""
STATUSES = {
    "429-plain": 429,
    "429-retryinfo": 429,
    "429-per-day": 429,
    "429-html": 429,
    "500": 500,
    "500-leaky": 500,
    "503": 503,
    "504": 504,
    "400-argument": 400,
    "400-signature": 400,
    "400-token-limit": 400,
    "400-location": 400,
    "401": 401,
    "400-bad-upstream-key": 400,
    "403-disabled": 403,
    "404-model": 404,
    "redirect": 302,
    "200-error-json": 200,
    "200-html": 200,
    "200-empty": 200,
    "204": 204,
    "early-response": 429,
}


async def fault(sandbox: Sandbox, name: str, body: Any = HELLO) -> Reply:
    return await stream(sandbox, body, PREFIX + name)


async def bytes_until_end(sandbox: Sandbox, name: str, method: str = "streamGenerateContent?alt=sse") -> bytes:
    """Everything that comes until the connection ends, however it ends."""
    async with Client(sandbox) as client:
        target = f"/v1beta/models/{PREFIX}{name}:{method}"
        client.writer.write(request_bytes("POST", target, HELLO, {"x-goog-api-key": "key", "connection": "close"}))
        received = b""
        try:
            async with asyncio.timeout(20):
                while data := await client.reader.read(1 << 20):
                    received += data
        except ConnectionError:
            received += b"<reset>"
        return received


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in COSTLY])
async def test_every_fault_comes_to_an_end_in_every_form(sandbox: Sandbox, name: str) -> None:
    model = PREFIX + name
    for method in ("generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"):
        await bytes_until_end(sandbox, name, method)
    async with Client(sandbox) as client:
        body = {"model": model, "project": "p", "request": HELLO}
        headers = {"authorization": "Bearer t", "connection": "close"}
        client.writer.write(request_bytes("POST", "/v1internal:streamGenerateContent?alt=sse", body, headers))
        try:
            async with asyncio.timeout(20):
                await client.reader.read()
        except ConnectionError:
            pass
    assert (await generate(sandbox, HELLO)).text == TEXT
    assert {seen.model for seen in list(sandbox.requests)[:-1]} == {model}


def test_every_fault_says_what_it_does() -> None:
    for name, found in FAULTS.items():
        assert found.name == name
        assert found.about.endswith(".")
        assert "\n" not in found.about
        assert found.once == name.endswith("-once")


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
async def test_statuses(sandbox: Sandbox, name: str, status: int) -> None:
    assert (await fault(sandbox, name)).status == status


def ordinary_text(body: bytes) -> str:
    """The text of a stream, read as an event stream should be read."""
    found = []
    for event in body.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:")]
        if data and data != ["[DONE]"]:
            value = json.loads("\n".join(data))
            found += [part["text"] for part in (parts_of(value) if value.get("candidates") else [])]
    return "".join(found)


@pytest.mark.parametrize("name", HARMLESS)
async def test_odd_but_legal_answers_hold_the_text(sandbox: Sandbox, name: str) -> None:
    async with Client(sandbox) as client:
        reply = await client.ask("POST", f"/v1beta/models/{PREFIX}{name}:streamGenerateContent?alt=sse", HELLO)
        while reply.status < 200:
            reply = await client.reply()
    body = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
    assert reply.whole
    assert ordinary_text(body) == TEXT


async def test_resets_and_closes(sandbox: Sandbox) -> None:
    assert await bytes_until_end(sandbox, "reset-before-headers") == b"<reset>"
    assert await bytes_until_end(sandbox, "close-before-headers") == b""
    assert await bytes_until_end(sandbox, "stall-before-headers") == b""
    assert (await bytes_until_end(sandbox, "reset-midstream")).endswith(b"<reset>")
    closed = await bytes_until_end(sandbox, "close-midstream")
    assert b"Hello!" in closed
    assert not closed.endswith((b"0\r\n\r\n", b"<reset>"))
    assert not (await bytes_until_end(sandbox, "garbage-status")).startswith(b"HTTP/")
    assert len(await bytes_until_end(sandbox, "headers-huge")) > 400_000
    assert b"\r\nzz\r\n" in await bytes_until_end(sandbox, "bad-chunk-midstream")
    assert b"\r\n\r\n" not in await bytes_until_end(sandbox, "headers-drip")
    assert (await bytes_until_end(sandbox, "stall-midevent")).endswith(b"half of it\r\n")


@pytest.mark.parametrize("name", ["reset-midstream", "close-midstream", "short-body"])
async def test_a_whole_answer_breaks_off_too(sandbox: Sandbox, name: str) -> None:
    reply = await generate(sandbox, HELLO, PREFIX + name)
    assert reply.status == 200
    assert not reply.whole


async def test_once_is_once_for_each_key(sandbox: Sandbox) -> None:
    async def status(name: str, key: str) -> int:
        return (await stream(sandbox, HELLO, PREFIX + name, x_goog_api_key=key)).status

    assert [await status("503-once", "a") for _ in range(3)] == [503, 200, 200]
    assert [await status("503-once", "b") for _ in range(2)] == [503, 200]
    assert [await status("500-once", "a") for _ in range(2)] == [500, 200]
    sandbox.reset()
    assert [await status("503-once", "a") for _ in range(2)] == [503, 200]


async def test_malformed_call_once(sandbox: Sandbox) -> None:
    first, second = [(await generate(sandbox, HELLO, PREFIX + "finish-malformed-call-once")).json for _ in range(2)]
    assert first["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert "parts" not in first["candidates"][0]["content"]
    assert second["candidates"][0]["finishReason"] == "STOP"


async def test_the_early_answer_does_not_wait_for_the_body(sandbox: Sandbox) -> None:
    async with Client(sandbox) as client:
        target = f"/v1beta/models/{PREFIX}early-response:streamGenerateContent?alt=sse"
        raw = request_bytes("POST", target, b"x" * 3_000_000, {"x-goog-api-key": "key"})
        client.writer.write(raw[:1000])
        assert (await client.reply()).status == 429
        client.writer.write(raw[1000:])
        await client.writer.drain()
        assert await client.reader.read() == b""


async def test_a_kept_connection_goes_stale(sandbox: Sandbox) -> None:
    target = f"/v1beta/models/{PREFIX}keepalive-race:generateContent"
    async with Client(sandbox) as client:
        assert (await client.ask("POST", target, HELLO)).text == TEXT
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.ask("POST", target, HELLO)


async def test_leaky_errors_quote_the_key(sandbox: Sandbox) -> None:
    reply = await stream(sandbox, HELLO, PREFIX + "500-leaky", x_goog_api_key="canary-key")
    assert b"canary-key" in reply.body


async def test_a_redirect_leads_to_a_place_that_is_watched(sandbox: Sandbox) -> None:
    assert (await fault(sandbox, "redirect")).headers["location"].endswith("/elsewhere")


async def test_errors_inside_a_stream(sandbox: Sandbox) -> None:
    first = (await fault(sandbox, "error-first-event")).events
    assert first[0]["error"]["code"] == 503
    later = (await fault(sandbox, "error-event")).events
    assert parts_of(later[0])[0]["text"]
    assert later[-1]["error"]["status"] == "UNAVAILABLE"
    raw = (await fault(sandbox, "error-event-raw")).body
    assert b'\r\n\r\n{\n  "error": {\n    "code": 500,' in raw
    assert (await generate(sandbox, HELLO, PREFIX + "error-event")).status == 503
    broken = (await fault(sandbox, "bad-json-event")).body.split(b"\r\n\r\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[1][6:])


async def test_no_finish_reason(sandbox: Sandbox) -> None:
    reply = await fault(sandbox, "eof-no-finish")
    assert reply.whole
    assert all("finishReason" not in event["candidates"][0] for event in reply.events)
    whole = (await generate(sandbox, HELLO, PREFIX + "eof-no-finish")).json
    assert "finishReason" not in whole["candidates"][0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("safety", "SAFETY"),
        ("recitation", "RECITATION"),
        ("other", "OTHER"),
        ("max-tokens", "MAX_TOKENS"),
        ("continuation", "CONTINUATION"),
    ],
)
async def test_finish_reasons(sandbox: Sandbox, name: str, reason: str) -> None:
    assert (await fault(sandbox, f"finish-{name}")).events[-1]["candidates"][0]["finishReason"] == reason
    whole = (await generate(sandbox, HELLO, PREFIX + f"finish-{name}")).json
    assert whole["candidates"][0]["finishReason"] == reason


async def test_empty_and_blocked(sandbox: Sandbox) -> None:
    (blocked,) = (await fault(sandbox, "prompt-blocked")).events
    assert "candidates" not in blocked
    assert blocked["promptFeedback"] == {"blockReason": "SAFETY"}
    (empty,) = (await fault(sandbox, "empty-stop")).events
    assert empty["candidates"] == [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]


async def test_impossible_json(sandbox: Sandbox) -> None:
    assert b"NaN" in (await fault(sandbox, "nan-json")).body
    assert b"\\ud83d after" in (await fault(sandbox, "lone-surrogate")).body
    call = parts_of((await fault(sandbox, "tool-no-args")).events[0])[0]["functionCall"]
    assert "args" not in call
    wrong = (await fault(sandbox, "wrong-types")).events[0]
    assert isinstance(wrong["candidates"], str)
    assert (await wrapped(sandbox, HELLO, PREFIX + "nan-json")).status == 200


async def test_characters_are_cut(sandbox: Sandbox) -> None:
    reply = await fault(sandbox, "split-utf8")
    assert reply.text == "gr\u00fc\u00df \u4f60\u597d \U0001f600 \u20ac"
    for chunk in reply.chunks[:-1]:
        with pytest.raises(UnicodeDecodeError):
            chunk.decode()


@pytest.mark.slow
async def test_large_answers(sandbox: Sandbox) -> None:
    many = await fault(sandbox, "many-events")
    assert len(many.events) == MANY_EVENTS
    huge = await fault(sandbox, "huge-event")
    assert len(huge.body) > HUGE_EVENT
    single = await fault(sandbox, "single-bytes")
    assert {len(chunk) for chunk in single.chunks} == {1}


@pytest.mark.slow
async def test_the_bomb_is_small_on_the_wire_and_whole(sandbox: Sandbox) -> None:
    reply = await fault(sandbox, "gzip-bomb")
    assert len(reply.body) < 1_000_000
    unpack = zlib.decompressobj(31)
    size = 0
    data = reply.body
    while data or not unpack.eof:
        size += len(unpack.decompress(data, 1 << 20))
        data = unpack.unconsumed_tail
        if unpack.eof:
            break
    assert unpack.eof
    assert size > BOMB_MEGABYTES << 20


@pytest.mark.parametrize("name", ["gzip-corrupt", "gzip-cut"])
async def test_damaged_gzip(sandbox: Sandbox, name: str) -> None:
    reply = await fault(sandbox, name)
    with pytest.raises((EOFError, zlib.error, OSError)):
        gzip.decompress(reply.body)


async def test_conditional_refusals(sandbox: Sandbox) -> None:
    async def status(name: str, **config: Any) -> int:
        return (await generate(sandbox, user("Hi", generationConfig=config), PREFIX + name)).status

    assert await status("400-topk", topK=50) == 400
    assert await status("400-topk", topK=40) == 200
    assert await status("400-max-tokens", maxOutputTokens=8096) == 400
    assert await status("400-max-tokens", maxOutputTokens=4096) == 200
    assert await status("400-thinking", thinkingConfig={"thinkingLevel": "LOW"}) == 400
    signed = {"role": "model", "parts": [{"text": "x", "thoughtSignature": "QUJD"}]}
    body = {"contents": [*HELLO["contents"], signed, *HELLO["contents"]]}
    assert (await generate(sandbox, body, PREFIX + "400-signature-foreign")).status == 400
    signed["parts"][0]["thoughtSignature"] = "skip_thought_signature_validator"
    assert (await generate(sandbox, body, PREFIX + "400-signature-foreign")).status == 200


async def test_faults_check_the_request_first(sandbox: Sandbox) -> None:
    reply = await fault(sandbox, "503", {"contents": []})
    assert reply.status == 400


async def test_evil_images(sandbox: Sandbox) -> None:
    found = {}
    for name in ("evil-image", "evil-image-svg", "evil-image-mime", "evil-image-base64", "evil-image-empty"):
        found[name] = parts_of((await generate(sandbox, HELLO, PREFIX + name)).json)[1]["inlineData"]
    assert found["evil-image"]["mimeType"] == "image/png"
    assert "\r\n" in found["evil-image-mime"]["mimeType"]
