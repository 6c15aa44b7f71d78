"""Answers that come in pieces, and answers that break behind a checkpoint: the client gets one, whole and once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fakes.client import Reply, call, chat
from fakes.gateway import KEY, UPSTREAM_KEYS, GatewayProcess, Start, run_cli
from fakes.upstream import Close, Recorded, ScriptedUpstream, error, parts_event, plain, reason_info, sse

CHAPTERS = "Chapter 1. It begins.\nChapter 2. It goes on.\nChapter 3. It ends.\n"
STORY = "Once upon a time there was an end."


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with GatewayProcess("--sandbox") as made:
        yield made


def finish_of(reply: Reply) -> str | None:
    if reply.body.startswith(b"{"):
        return str(reply.json["choices"][0]["finish_reason"])
    ends = [chunk["choices"][0]["finish_reason"] for chunk in reply.chunks if chunk.get("choices")]
    (end,) = [end for end in ends if end]
    return str(end)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("model", "text"), [("continued", CHAPTERS), ("checkpoint-break", STORY)])
def test_the_answer_is_whole_and_comes_once(gateway: GatewayProcess, stream: bool, model: str, text: str) -> None:
    reply = chat(gateway.port, model=f"gemini-fault-{model}", stream=stream, stream_options=None)
    assert (reply.status, reply.text, finish_of(reply)) == (200, text, "stop")
    if stream:
        assert reply.data[-1] == "[DONE]"
    shown = logged(gateway, reply)
    notes = [change["note"] for change in shown["changes"]]
    wanted = {"continued": "continued:3", "checkpoint-break": "resumed:1" if stream else ""}[model]
    assert wanted in notes or not wanted
    if wanted and not stream:
        assert wanted in (reply.header("x-antigravity2api-applied") or "")
    assert shown["request"]["outcome"] == "ok"
    tries = {"continued": 3, "checkpoint-break": 2 if stream else 1}[model]
    assert shown["request"]["attempts"] == tries


def logged(gateway: GatewayProcess, reply: Reply) -> dict[str, object] | object:
    """What ``logs`` knows of it, as soon as it is written."""
    identity = reply.header("x-request-id") or ""
    while f'"{identity}"' not in gateway.stderr:
        assert gateway.process is not None
        assert gateway.process.poll() is None
    done = run_cli("logs", "show", identity, "--json", env={"ANTIGRAVITY2API_DATA_DIR": str(gateway.data_dir)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_counters_of_all_pieces_are_added(gateway: GatewayProcess) -> None:
    whole = chat(gateway.port, model="gemini-fault-continued", stream=False).json["usage"]
    streamed = chat(gateway.port, model="gemini-fault-continued", stream=True, stream_options={"include_usage": True})
    usage = streamed.chunks[-1]["usage"]
    assert usage["completion_tokens"] == whole["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def piece(text: str, **candidate: object) -> dict[str, object]:
    event = parts_event({"text": text}, usage=(5, 1))
    event["candidates"][0] |= candidate
    return event


BROKEN = {
    "break": sse([], after=(Close(),), framing="raw"),
    "429": error(429, "Slow down."),
    "503": error(503, "The model is overloaded."),
    "400": error(400, "Invalid continuation token."),
    "403": error(403, "It has not been used before.", details=[reason_info("SERVICE_DISABLED")]),
}


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", BROKEN)
def test_a_piece_that_cannot_be_had_ends_the_answer_as_broken(
    start: Start, upstream: ScriptedUpstream, stream: bool, how: str
) -> None:
    first = piece("So far.", finishReason="CONTINUATION", continuationToken="t1")

    def answer(record: Recorded) -> object:
        if "continuationToken" in record.json:
            return BROKEN[how]
        return sse([first]) if record.streams else plain(first)

    upstream.default = answer  # type: ignore[assignment]
    gateway = start(keys=UPSTREAM_KEYS)
    reply = chat(gateway.port, model="gemini-2.5-flash", stream=stream)
    if stream:
        assert (reply.status, reply.text) == (200, "So far.")
        assert "error" in reply.chunks[-1]
    else:
        assert reply.status >= 400
    assert len(upstream.requests) <= 12


@pytest.mark.slow
def test_pieces_without_an_end_are_bounded(start: Start, upstream: ScriptedUpstream) -> None:
    def answer(record: Recorded) -> object:
        number = len(upstream.requests)
        return sse([piece("x", finishReason="CONTINUATION", continuationToken=f"t{number}")])

    upstream.default = answer  # type: ignore[assignment]
    gateway = start()
    reply = chat(gateway.port, model="gemini-2.5-flash", stream=True)
    assert reply.status == 200
    assert set(reply.text) == {"x"}
    assert len(upstream.requests) < 200
    assert finish_of(reply) == "length" or "error" in reply.chunks[-1]
    assert call(gateway.port, "GET", "/v1/models", key=KEY).status == 200
