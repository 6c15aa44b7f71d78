"""The stand-ins themselves: what the other end-to-end tests lean on."""

from __future__ import annotations

import threading

import pytest

from fakes.client import Connection, Reply, call, compose
from fakes.upstream import (
    Answer,
    Close,
    Gate,
    Hang,
    Recorded,
    Reset,
    ScriptedUpstream,
    as_asked,
    error,
    fold,
    frame,
    parts_event,
    plain,
    sse,
    text_events,
)


def _post(upstream: ScriptedUpstream, body: object = None) -> Reply:
    return call(upstream.port, "POST", "/v1beta/models/m:streamGenerateContent?alt=sse", body=body or {"a": 1})


def test_a_stop_leaves_no_task_behind() -> None:
    with ScriptedUpstream(Answer(steps=(b"{", Hang()))) as upstream, Connection(upstream.port) as client:
        client.request("POST", "/v1beta/models/m:generateContent", body=b"{}")
        (record,) = upstream.wait_for(1)
        upstream.stop()
        assert record.done.is_set(), "who plays an answer has ended by itself"
        assert upstream._loop.is_closed()


def test_plays_in_order_and_records(upstream: ScriptedUpstream) -> None:
    upstream.play(error(429, "slow down"), plain({"ok": True}))
    assert _post(upstream).status == 429
    reply = _post(upstream, {"b": "é"})
    assert (reply.status, reply.json) == (200, {"ok": True})
    assert [r.json for r in upstream.requests] == [{"a": 1}, {"b": "é"}]
    assert (upstream.requests[0].model, upstream.requests[0].streams) == ("m", True)


def test_rules_win_over_the_queue(upstream: ScriptedUpstream) -> None:
    upstream.when(lambda r: b"special" in r.body, plain({"rule": 1}))
    upstream.play(plain({"queue": 1}))
    assert _post(upstream, {"x": "special"}).json == {"rule": 1}
    assert _post(upstream).json == {"queue": 1}
    assert _post(upstream).status == 501


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("cut", [None, 1, 7])
def test_a_stream_survives_every_cut(upstream: ScriptedUpstream, framing: str, eol: str, cut: int | None) -> None:
    events = text_events("Hé", "llo 🙂")
    upstream.play(sse(events, eol=eol, cut=cut, framing=framing))
    reply = _post(upstream)
    assert reply.body == b"".join(frame(e, eol) for e in events)
    assert reply.complete


def test_keeps_a_connection(upstream: ScriptedUpstream) -> None:
    upstream.play(plain({"n": 1}), plain({"n": 2}))
    with Connection(upstream.port) as connection:
        for number in (1, 2):
            connection.request("POST", "/x", (), b"{}")
            assert connection.read().json == {"n": number}
    assert upstream.connections == 1


@pytest.mark.parametrize("end", [Close(), Reset()])
def test_breaks_off_mid_stream(upstream: ScriptedUpstream, end: Close | Reset) -> None:
    upstream.play(sse(text_events("so far", finish=None), after=(end,)))
    reply = _post(upstream)
    assert not reply.complete
    assert b"so far" in reply.body


def test_short_body_and_raw_bytes(upstream: ScriptedUpstream) -> None:
    upstream.play(Answer(framing="raw", steps=(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Close())))
    reply = _post(upstream)
    assert (reply.complete, reply.body) == (False, b"abc")


def test_notices_a_client_that_leaves(upstream: ScriptedUpstream) -> None:
    upstream.play(sse(text_events("a", finish=None), after=(Hang(),)))
    with Connection(upstream.port) as connection:
        connection.request("POST", "/x", (), b"{}")
        next(connection.events(connection.head()))
    assert upstream.wait_for(1)[0].gone.wait(5)


def test_a_gate_holds_the_answer(upstream: ScriptedUpstream) -> None:
    gate = Gate()
    upstream.play(sse(text_events("late"), first=(gate,)))
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(_post(upstream)))
    thread.start()
    upstream.wait_for(1)
    assert not replies
    gate.open()
    thread.join(5)
    assert b"late" in replies[0].body


def test_folds_and_answers_as_asked() -> None:
    call_event = parts_event({"functionCall": {"name": "f"}}, finish="STOP", usage=(1, 2))
    events = [*text_events("a", "b", finish=None), call_event]
    whole = fold(events)
    assert whole["candidates"][0]["content"]["parts"] == [{"text": "ab"}, {"functionCall": {"name": "f"}}]
    assert whole["candidates"][0]["finishReason"] == "STOP"
    assert whole["usageMetadata"]["totalTokenCount"] == 3
    script = as_asked(events)
    record = Recorded(0, 1, "POST", "/v1beta/models/m:generateContent", [], b"{}")
    assert script(record).framing == "length"
    record.target = "/v1beta/models/m:streamGenerateContent?alt=sse"
    assert script(record).framing == "chunked"


def test_composes_a_request() -> None:
    assert compose("POST", "/x", (("A", "b"),), b"hi") == b"POST /x HTTP/1.1\r\nA: b\r\nContent-Length: 2\r\n\r\nhi"
