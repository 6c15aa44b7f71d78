"""After the first byte: what was delivered stays, nothing is repeated, and every end is told for what it is."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import orjson
import pytest

from fakes.client import CHAT, Connection, Reply, bearer, chat
from fakes.gateway import KEY, GatewayProcess, Start, World
from fakes.gateway import UPSTREAM_KEYS as KEYS
from fakes.upstream import (
    Answer,
    Close,
    Delay,
    Gate,
    Hang,
    Reset,
    ScriptedUpstream,
    error,
    error_object,
    frame,
    parts_event,
    sse,
    sse_bytes,
    text_events,
)

PARTIAL = text_events("so ", "far", finish=None)
GOOD = sse(text_events("Hel", "lo"))


def check_broken(reply: Reply, text: str = "so far") -> dict[str, Any]:
    """A stream that failed after its first byte; returns its error object."""
    assert reply.status == 200
    assert reply.text == text
    *chunks, last = reply.chunks
    assert set(last) == {"error"}
    assert {"message", "type", "param", "code"} <= set(last["error"])
    assert all("error" not in chunk for chunk in chunks)
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
    assert "[DONE]" not in reply.data
    assert reply.complete
    made: dict[str, Any] = last["error"]
    return made


BREAKS = {
    "close": (sse(PARTIAL, after=(Close(),)), "upstream_stream_truncated"),
    "reset": (sse(PARTIAL, after=(Reset(),)), "upstream_stream_truncated"),
    "clean end": (sse(PARTIAL), "upstream_stream_truncated"),
    "connection's end": (sse(PARTIAL, framing="close"), "upstream_stream_truncated"),
    "half an event": (sse_bytes([*map(frame, PARTIAL), b'data: {"candidates": [{"con']), None),
    "unreadable event": (sse_bytes([*map(frame, PARTIAL), b"data: {nonsense}\n\n"]), None),
    "error event": (sse([*PARTIAL, {"error": error_object(503, "The model is overloaded.")}]), "upstream_overloaded"),
    "bare error": (
        sse_bytes([*map(frame, PARTIAL), b'{\n  "error": {\n    "code": 500,\n    "message": "x"\n  }\n}\n']),
        None,
    ),
    "bad chunk": (
        Answer(
            framing="raw",
            steps=(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                *(b"%x\r\n%b\r\n" % (len(f), f) for f in map(frame, PARTIAL)),
                b"zz\r\n",
            ),
        ),
        None,
    ),
    "malformed call": (
        sse([*PARTIAL, {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "bad"}]}]),
        "upstream_malformed_call",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_after_the_first_byte(world: World, name: str) -> None:
    answer, code = BREAKS[name]
    world.upstream.play(answer, GOOD)
    made = check_broken(chat(world.gateway.port, stream=True))
    assert made["code"] == code or code is None
    assert made["message"]
    assert len(world.upstream.requests) == 1, "never tried again after the first byte"


@pytest.mark.parametrize("name", ["close", "clean end", "error event"])
def test_a_break_is_no_answer_where_nothing_is_streamed(world: World, name: str) -> None:
    world.upstream.play(*[BREAKS[name][0]] * 3)
    reply = chat(world.gateway.port)
    assert (reply.status, reply.error["type"]) == (500, "server_error")


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_any_cut_of_the_bytes_gives_the_same_text(world: World, cut: int, eol: str) -> None:
    text = ("Grüße, ", "世界 🙂\u2028", '"quoted"\n\n', "data: [DONE]")
    world.upstream.play(sse(text_events(*text), eol=eol, cut=cut))
    reply = chat(world.gateway.port, stream=True)
    assert reply.text == "".join(text)
    assert reply.data[-1] == "[DONE]"


ODD_FRAMES = {
    "no blank": b"data:%b\n\n",
    "comment": b": hello\n\ndata: %b\n\n",
    "other fields": b"event: message\nid: 7\nretry: 10\ndata: %b\n\n",
    "bare CR": b"data: %b\r\r",
}


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_odd_frames(world: World, name: str) -> None:
    world.upstream.play(sse_bytes([ODD_FRAMES[name].replace(b"%b", orjson.dumps(e)) for e in text_events("Hel", "lo")]))
    assert chat(world.gateway.port, stream=True).text == "Hello"


def test_multi_line_data_and_a_last_event_without_its_blank_line(world: World) -> None:
    first, last = (orjson.dumps(e, option=orjson.OPT_INDENT_2) for e in text_events("Hel", "lo"))
    lines = [b"".join(b"data: " + line + b"\n" for line in one.split(b"\n")) for one in (first, last)]
    world.upstream.play(sse_bytes([lines[0] + b"\n", lines[1].rstrip(b"\n")]))
    reply = chat(world.gateway.port, stream=True)
    assert (reply.text, reply.data[-1]) == ("Hello", "[DONE]")


def test_an_array_instead_of_a_stream(world: World) -> None:
    body = orjson.dumps(text_events("Hel", "lo"), option=orjson.OPT_INDENT_2)
    world.upstream.play(Answer(headers=(("Content-Type", "application/json"),), steps=(body,)))
    assert chat(world.gateway.port, stream=True).text == "Hello"


def test_usage_after_the_finish_counts(world: World) -> None:
    events = [
        *text_events("Hello", usage=None),
        {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}},
    ]
    world.upstream.play(sse(events), sse(events))
    assert chat(world.gateway.port).json["usage"]["total_tokens"] == 7
    reply = chat(world.gateway.port, stream=True, stream_options={"include_usage": True})
    assert reply.chunks[-1]["usage"]["total_tokens"] == 7


def test_the_first_text_arrives_while_the_rest_is_held(world: World) -> None:
    gate = Gate()
    world.upstream.play(sse(text_events("first", "second"), between=(gate,)))
    with Connection(world.gateway.port) as connection:
        ask(connection)
        events = connection.events(connection.head())
        assert orjson.loads(next(events))["choices"][0]["delta"] == {"role": "assistant", "content": "first"}
        gate.open()
        assert [*events][-1] == "[DONE]"


def ask(connection: Connection, *, stream: bool = True, **fields: Any) -> None:
    """Write a chat request on a connection of the test's own."""
    body = {
        "model": "gemini-2.0-flash-exp",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        **fields,
    }
    headers = (*bearer(KEY), ("Content-Type", "application/json"))
    connection.request("POST", CHAT, headers, orjson.dumps(body))


# Heartbeats.


@pytest.fixture(scope="module")
def beating() -> Any:
    with ScriptedUpstream() as upstream:
        env = {
            "GEMINI_API_KEY": ",".join(KEYS),
            "GOOGLE_GEMINI_BASE_URL": upstream.url,
            "ANTIGRAVITY2API_COOLDOWN": "off",
            "ANTIGRAVITY2API_HEARTBEAT": "0.1",
        }
        with GatewayProcess(env=env) as gateway:
            yield World(gateway, upstream)


@pytest.fixture
def beat(beating: World) -> World:
    beating.upstream.reset()
    return beating


def test_heartbeats_before_the_first_chunk(beat: World) -> None:
    gate = Gate()
    beat.upstream.play(sse(text_events("Hel", "lo"), first=(gate,)))
    with Connection(beat.gateway.port) as connection:
        ask(connection)
        reply = connection.head()
        assert (reply.status, (reply.header("content-type") or "").split(";")[0]) == (200, "text/event-stream")
        events = connection.events(reply)
        assert next(events).startswith(":")
        assert next(events).startswith(":")
        gate.open()
        rest = [e for e in events if not e.startswith(":")]
    assert rest[-1] == "[DONE]"
    assert "".join(orjson.loads(e)["choices"][0]["delta"].get("content", "") for e in rest[:-1]) == "Hello"


def test_heartbeats_between_chunks(beat: World) -> None:
    gate = Gate()
    beat.upstream.play(sse(text_events("Hel", "lo"), between=(gate,)))
    with Connection(beat.gateway.port) as connection:
        ask(connection)
        events = connection.events(connection.head())
        assert "Hel" in next(events)
        assert next(events).startswith(":")
        gate.open()
        assert [*events][-1] == "[DONE]"


@pytest.mark.parametrize(
    "failure", [error(503, "overloaded"), error(429, "slow down"), sse([{"error": error_object(500, "x")}])]
)
def test_after_a_heartbeat_another_attempt_is_still_allowed(beat: World, failure: Answer) -> None:
    slow = Answer(
        status=failure.status,
        headers=failure.headers,
        steps=failure.steps,
        framing=failure.framing,
        first=(Delay(0.3),),
    )
    beat.upstream.play(slow, GOOD)
    reply = chat(beat.gateway.port, stream=True)
    assert (reply.status, reply.text, reply.data[-1]) == (200, "Hello", "[DONE]")
    assert reply.body.startswith(b":")
    assert len(beat.upstream.requests) == 2


def test_after_a_heartbeat_a_failure_is_the_error_event(beat: World) -> None:
    failure = error(404, "models/x is not found")
    beat.upstream.play(Answer(status=404, headers=failure.headers, steps=failure.steps, first=(Delay(0.3),)))
    reply = chat(beat.gateway.port, stream=True, model="x")
    made = check_broken(reply, text="")
    assert made["code"] == "model_not_found"
    assert len(reply.data) == 1


def test_no_heartbeat_where_nothing_is_streamed(beat: World) -> None:
    failure = error(404, "models/x is not found")
    beat.upstream.play(Answer(status=404, headers=failure.headers, steps=failure.steps, first=(Delay(0.3),)))
    assert chat(beat.gateway.port, model="x").status == 404


# Clients that leave.


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("when", ["before the head", "before the first event", "mid-stream"])
def test_a_client_that_leaves_ends_the_upstream_call(world: World, when: str, stream: bool) -> None:
    held: dict[str, Answer] = {
        "before the head": Answer(first=(Hang(),)),
        "before the first event": sse_bytes([b": nothing yet\n\n"], after=(Hang(),)),
        "mid-stream": sse(PARTIAL, after=(Hang(),)),
    }
    world.upstream.play(held[when])
    with Connection(world.gateway.port) as connection:
        ask(connection, stream=stream)
        (request,) = world.upstream.wait_for(1)
        if when == "mid-stream" and stream:
            assert "so " in next(connection.events(connection.head()))
        if when != "mid-stream":  # an orderly close might be half of one, and has a second of grace
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left = time.monotonic()
    assert request.gone.wait(3)
    assert (request.gone_at or 0) - left < 3


def test_a_half_closed_client_still_gets_its_answer(world: World) -> None:
    world.upstream.play(sse(text_events("Hel", "lo"), first=(Delay(0.2),)))
    with Connection(world.gateway.port) as connection:
        ask(connection, stream=False)
        connection.sock.shutdown(1)
        assert connection.read().text == "Hello"


# Limits on time.


def test_the_gap_between_events_is_limited(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_gap=0.4)
    upstream.play(sse(PARTIAL, after=(Hang(),)))
    began = time.monotonic()
    made = check_broken(chat(gateway.port, stream=True))
    assert made["code"] == "upstream_timeout"
    assert time.monotonic() - began < 5
    assert upstream.requests[0].gone.wait(3)


@pytest.mark.slow
def test_the_whole_answer_is_limited(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_total=0.6, heartbeat=30)
    upstream.play(sse([*PARTIAL, *text_events(*["."] * 40, finish=None)], between=(Delay(0.1),)))
    reply = chat(gateway.port, stream=True)
    assert reply.chunks[-1]["error"]["code"] == "upstream_timeout"
    assert reply.text.startswith("so far")
    assert "[DONE]" not in reply.data


@pytest.mark.slow
def test_a_reader_that_is_too_slow_is_cut(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_write=0.5)
    upstream.play(sse(text_events(*["x" * 200_000] * 200, finish=None), after=(Hang(),)))
    with Connection(gateway.port) as connection:
        ask(connection)
        connection.head()
        assert upstream.wait_for(1)[0].gone.wait(15)


def test_calls_keep_their_own_index_over_chunks(world: World) -> None:
    events = [
        parts_event({"text": "Let me see. "}),
        parts_event({"functionCall": {"name": "f", "args": {"a": 1}}}),
        parts_event({"functionCall": {"name": "f", "args": {"a": 2}}}, {"functionCall": {"name": "g"}}),
        parts_event({"text": ""}, finish="STOP", usage=(1, 2)),
    ]
    world.upstream.play(sse(events))
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    reply = chat(world.gateway.port, stream=True, tools=tools)
    made = [c for chunk in reply.chunks for c in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(c["index"], c["function"]["name"], c["function"]["arguments"]) for c in made] == [
        (0, "f", '{"a":1}'),
        (1, "f", '{"a":2}'),
        (2, "g", "{}"),
    ]
    assert len({c["id"] for c in made}) == 3
    assert reply.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert reply.text == "Let me see. "
