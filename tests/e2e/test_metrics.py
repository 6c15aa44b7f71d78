"""``/metrics`` of a real process: what clients did is in it, and nothing of what they said."""

from __future__ import annotations

import re

from fakes.client import call, chat
from fakes.gateway import UPSTREAM_KEYS, World
from fakes.upstream import as_asked, text_events

SECRET = "a sentence that is nobody else's business"


def test_what_clients_did(world: World) -> None:
    gateway = world.gateway
    world.upstream.default = as_asked(text_events("Hel", "lo"))
    for stream in (True, False):
        reply = chat(gateway.port, SECRET, key=gateway.key, model="gemini-2.5-flash", stream=stream)
        assert reply.status == 200
    reply = call(gateway.port, "GET", "/metrics", key=gateway.key)
    assert reply.status == 200
    assert (reply.header("content-type") or "").startswith("text/plain; version=0.0.4")
    text = reply.body.decode()
    for stream in ("true", "false"):
        about = f'dialect="chat",model="gemini-2.5-flash",upstream="gemini",stream="{stream}"'
        assert _number(text, f'requests_total{{{about},status="2xx",outcome="ok"}}') == 1
        assert _number(text, f"request_duration_seconds_count{{{about}}}") == 1
        assert _number(text, f"first_event_seconds_count{{{about}}}") == 1
        assert _number(text, f'tokens_total{{{about},kind="completion"}}') == 20
    assert not [word for word in (gateway.key, SECRET, *UPSTREAM_KEYS) if word in text]


def test_it_takes_a_key(world: World) -> None:
    reply = call(world.gateway.port, "GET", "/metrics")
    assert (reply.status, b"antigravity2api_" in reply.body) == (401, False)


def _number(text: str, sample: str) -> float:
    found = re.search(rf"^antigravity2api_{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])
