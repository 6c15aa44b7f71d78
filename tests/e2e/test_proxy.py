"""A configured proxy: the upstream is reached through it, with its user's name and password."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fakes.client import chat
from fakes.gateway import Start, run_cli
from fakes.upstream import ScriptedUpstream, sse, text_events

UPSTREAM = "http://upstream.invalid"
"""A name that nobody can resolve: only a proxy gets there."""
BASIC = "Basic " + base64.b64encode(b"user:p@ss-hunter2").decode()


def proxy_url(proxy: ScriptedUpstream) -> str:
    return proxy.url.replace("http://", "http://user:p%40ss-hunter2@")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ANTIGRAVITY2API_PROXY", "ANTIGRAVITY2API_PROXY_FILE", "PROXY"])
def test_requests_go_through_the_proxy_with_its_credentials(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path, name: str
) -> None:
    value = proxy_url(upstream)
    if name.endswith("_FILE"):
        (tmp_path / "proxy").write_text(value + "\n")
        (tmp_path / "proxy").chmod(0o600)
        value = str(tmp_path / "proxy")
    upstream.play(sse(text_events("Hello")))
    gateway = start(env={"GOOGLE_GEMINI_BASE_URL": UPSTREAM, name: value})
    assert chat(gateway.port, model="gemini-2.5-flash").text == "Hello"
    (asked,) = upstream.requests
    assert asked.target.startswith(f"{UPSTREAM}/v1beta/models/gemini-2.5-flash:")
    assert asked.header("proxy-authorization") == BASIC
    assert asked.header("host") == "upstream.invalid"
    assert "hunter2" not in gateway.stderr
    assert "does not use it yet" not in gateway.stderr


@pytest.mark.slow
@pytest.mark.parametrize("value", ["socks5://user:hunter2@host:1080", "user:hunter2@host:3128"])
def test_a_proxy_that_cannot_be_used_stops_the_start_and_is_not_shown(value: str) -> None:
    for name in ("ANTIGRAVITY2API_PROXY", "PROXY"):
        done = run_cli("serve", env={name: value})
        assert done.returncode == 2
        assert f"{name} (environment)" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
