"""Ends that are no end of the connection: one that stays open behind a finish, and a gateway that has to stop."""

from __future__ import annotations

import signal

import orjson
import pytest

from fakes.client import CHAT, Connection, bearer, chat
from fakes.gateway import KEY, Start
from fakes.upstream import Hang, ScriptedUpstream, sse, text_events


def ask(connection: Connection, *, stream: bool) -> None:
    body = {"model": "gemini-2.5-flash-lite", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    connection.request("POST", CHAT, (*bearer(KEY), ("Content-Type", "application/json")), orjson.dumps(body))


@pytest.mark.parametrize("stream", [False, True])
def test_a_finished_answer_on_an_open_connection_is_whole(
    start: Start, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    gateway = start(timeout_gap=0.4)
    upstream.play(sse(text_events("Hel", "lo"), after=(Hang(),)))
    reply = chat(gateway.port, model="gemini-2.5-flash-lite", stream=stream)
    assert (reply.status, reply.text) == (200, "Hello")
    assert len(upstream.requests) == 1
    if stream:
        assert reply.data[-1] == "[DONE]"


def test_a_stream_that_outlives_the_drain_time_ends_with_an_error(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_drain=0.3)
    upstream.play(sse(text_events("so ", "far", finish=None), after=(Hang(),)))
    with Connection(gateway.port) as connection:
        ask(connection, stream=True)
        events = connection.events(connection.head())
        seen = [next(events)]
        gateway.signal(signal.SIGTERM)
        seen += events
    assert orjson.loads(seen[-1])["error"]["code"] == "shutting_down"
    assert "[DONE]" not in seen
    assert gateway.wait(10) == 0


def test_a_plain_answer_that_outlives_the_drain_time_is_refused(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_drain=0.3)
    upstream.play(sse([], after=(Hang(),)))
    with Connection(gateway.port) as connection:
        ask(connection, stream=False)
        upstream.wait_for(1)
        gateway.signal(signal.SIGTERM)
        reply = connection.read()
    assert (reply.status, reply.json["error"]["code"]) == (503, "shutting_down")
