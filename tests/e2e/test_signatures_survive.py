"""Thought signatures outlive a restart, and every worker has them, for clients that keep nothing but the ids."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fakes.client import chat
from fakes.gateway import GatewayProcess, Start
from fakes.upstream import Answer, Recorded, ScriptedUpstream, as_asked, parts_event

MODEL = "gemini-3-pro-preview"
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"turn": {"type": "integer"}}}},
}


def signature(turn: int) -> str:
    return base64.b64encode(b"signature of turn %04d" % turn).decode()


def signs(record: Recorded) -> Answer:
    """One more call, signed, for every request."""
    turn = sum(1 for content in record.json["contents"] for part in content["parts"] if "functionCall" in part)
    call = {"functionCall": {"name": "look", "args": {"turn": turn}}, "thoughtSignature": signature(turn)}
    return as_asked([parts_event(call, finish="STOP", usage=(10, 5))])(record)


class Forgetful:
    """A client that keeps what OpenAI documents, and drops ``extra_content``."""

    def __init__(self, *, rewrites_ids: bool = False) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": "Look around."}]
        self._rewrites_ids = rewrites_ids

    def turn(self, gateway: GatewayProcess, *, stream: bool) -> None:
        reply = chat(gateway.port, model=MODEL, messages=self.messages, tools=[TOOL], stream=stream)
        assert reply.status == 200, reply.body
        if stream:
            deltas = [chunk["choices"][0]["delta"] for chunk in reply.chunks if chunk.get("choices")]
            calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        else:
            calls = reply.json["choices"][0]["message"]["tool_calls"]
        kept = []
        for call in calls:
            identity = f"mine-{len(self.messages)}" if self._rewrites_ids else call["id"]
            kept.append({"id": identity, "type": "function", "function": dict(call["function"])})
        self.messages.append({"role": "assistant", "content": None, "tool_calls": kept})
        self.messages += [{"role": "tool", "tool_call_id": call["id"], "content": "seen"} for call in kept]


def sent(record: Recorded) -> list[str | None]:
    """The signatures of the calls in a request, in order."""
    parts = [part for content in record.json["contents"] for part in content["parts"]]
    return [part.get("thoughtSignature") for part in parts if "functionCall" in part]


def check(upstream: ScriptedUpstream, turns: int) -> None:
    assert len(upstream.requests) == turns
    for number, record in enumerate(upstream.requests):
        assert sent(record) == [signature(turn) for turn in range(number)]


@pytest.fixture
def signing(upstream: ScriptedUpstream) -> ScriptedUpstream:
    upstream.default = signs
    return upstream


@pytest.mark.slow
@pytest.mark.parametrize("rewrites_ids", [False, True], ids=["keeps ids", "rewrites ids"])
def test_workers_share_signatures(start: Start, signing: ScriptedUpstream, rewrites_ids: bool) -> None:
    gateway = start("--workers", "2")
    client = Forgetful(rewrites_ids=rewrites_ids)
    turns = 0
    # Each turn is a connection of its own, and chance says which worker takes it. A worker keeps one to the upstream.
    while turns < 8 or (len({record.connection for record in signing.requests}) < 2 and turns < 60):
        client.turn(gateway, stream=turns % 2 == 0)
        turns += 1
    check(signing, turns)
    assert signing.connections >= 2, "one worker served everything"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_keeps_signatures(start: Start, signing: ScriptedUpstream, workers: int) -> None:
    gateway = start("--workers", str(workers))
    client = Forgetful()
    for _ in range(4):
        client.turn(gateway, stream=True)
    assert gateway.stop() == 0
    gateway.start()
    client.turn(gateway, stream=True)
    gateway.kill()
    gateway.start()
    client.turn(gateway, stream=False)
    check(signing, 6)


@pytest.mark.slow
def test_the_database_holds_no_text_of_a_conversation(start: Start, signing: ScriptedUpstream) -> None:
    gateway = start()
    client = Forgetful()
    client.messages[0]["content"] = "canary-prompt"
    client.turn(gateway, stream=True)
    identity = client.messages[1]["tool_calls"][0]["id"]
    files = [path for path in gateway.data_dir.iterdir() if path.name.startswith("antigravity2api.db")]
    kept = b"".join(path.read_bytes() for path in files)
    assert signature(0).encode() in kept
    assert not re.search(rb"canary-prompt|\blook\b|" + identity.encode(), kept)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@contextlib.contextmanager
def locked(gateway: GatewayProcess) -> Iterator[None]:
    other = sqlite3.connect(gateway.data_dir / "antigravity2api.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.slow
def test_a_locked_database_holds_nobody_up(start: Start, signing: ScriptedUpstream) -> None:
    gateway = start()
    client = Forgetful()
    client.turn(gateway, stream=True)
    with locked(gateway):
        begun = time.monotonic()
        for _ in range(6):
            client.turn(gateway, stream=True)
        assert time.monotonic() - begun < 3
    assert gateway.stop() == 0
    gateway.start()
    client.turn(gateway, stream=True)
    check(signing, 8)


@pytest.mark.slow
def test_a_damaged_database_is_moved_aside_and_said(start: Start, signing: ScriptedUpstream) -> None:
    gateway = start()
    assert gateway.stop() == 0
    database = gateway.data_dir / "antigravity2api.db"
    database.write_bytes(os.urandom(9000))
    gateway.start()
    client = Forgetful()
    for _ in range(2):
        client.turn(gateway, stream=True)
    check(signing, 2)
    (aside,) = gateway.data_dir.glob("antigravity2api.db.corrupt-*")
    assert aside.stat().st_size == 9000
    assert str(aside) in gateway.stderr


@pytest.mark.slow
def test_a_newer_database_is_refused(start: Start, signing: ScriptedUpstream) -> None:
    gateway = start()
    assert gateway.stop() == 0
    with contextlib.closing(sqlite3.connect(gateway.data_dir / "antigravity2api.db")) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, 0)")
    gateway.spawn()
    assert gateway.wait() == 2
    assert "newer release" in gateway.stderr
    assert "Traceback" not in gateway.stderr
