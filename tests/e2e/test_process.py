"""The process: how it starts, refuses to start, tells, keeps secrets and ends."""

from __future__ import annotations

import signal
import socket
import stat
from pathlib import Path

import orjson
import pytest

from fakes.client import CHAT, Connection, bearer, call, chat
from fakes.gateway import KEY, GatewayFailed, GatewayProcess, Start, free_port, run_cli
from fakes.upstream import Gate, ScriptedUpstream, error, sse, text_events

CANARIES = {
    "client key": "sk-canary-client-4711",
    "upstream key": "canary-upstream-key-4712",
    "prompt": "canary prompt about whales",
    "answer": "canary answer about whales",
}


def test_sigterm_lets_a_stream_finish(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    gate = Gate()
    upstream.play(sse(text_events("Hel", "lo"), between=(gate,)))
    with Connection(gateway.port) as connection, Connection(gateway.port) as idle:
        idle.request("GET", "/health/live")
        assert idle.read("GET").status == 200
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True})
        connection.request("POST", CHAT, (*bearer(KEY), ("Content-Type", "application/json")), body)
        events = connection.events(connection.head())
        assert "Hel" in next(events)
        gateway.signal(signal.SIGTERM)
        assert idle.closed_within(3), "idle connections end at once"
        with pytest.raises(ConnectionError):
            _until_refused(gateway.port)
        gate.open()
        assert [*events][-1] == "[DONE]"
    assert gateway.wait(10) == 0


def _until_refused(port: int) -> None:
    for _ in range(100):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_the_drain_is_limited(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start(timeout_drain=0.4)
    upstream.play(sse(text_events("Hel", "lo"), between=(Gate(),)))
    with Connection(gateway.port) as connection:
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True})
        connection.request("POST", CHAT, (*bearer(KEY), ("Content-Type", "application/json")), body)
        next(connection.events(connection.head()))
        assert gateway.stop(8) == 0
        assert b"[DONE]" not in connection.rest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_at_once(start: Start, number: int) -> None:
    gateway = start()
    gateway.signal(number)
    assert gateway.wait(4) in (0, 130)


@pytest.mark.slow
def test_two_starts_on_one_port(start: Start) -> None:
    first = start()
    done = run_cli("serve", "--sandbox", "--port", str(first.port), env={"ANTIGRAVITY2API_API_KEY": "sk-x"})
    assert done.returncode not in (0, None)
    assert str(first.port) in done.stderr
    assert "Traceback" not in done.stderr
    assert call(first.port, "GET", "/health/ready").status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"ANTIGRAVITY2API_TIMEOUT_GAPP": "3"}, "ANTIGRAVITY2API_TIMEOUT_GAP"),
        ({"ANTIGRAVITY2API_PORTT": "3"}, "ANTIGRAVITY2API_PORT"),
        ({"ANTIGRAVITY2API_PORT": "many"}, "ANTIGRAVITY2API_PORT"),
        ({"ANTIGRAVITY2API_MAX_ATTEMPTS": "9"}, "ANTIGRAVITY2API_MAX_ATTEMPTS"),
        ({"ANTIGRAVITY2API_MAX_ATTEMPTS": "0"}, "ANTIGRAVITY2API_MAX_ATTEMPTS"),
        ({"ANTIGRAVITY2API_COOLDOWN": "maybe"}, "ANTIGRAVITY2API_COOLDOWN"),
        ({"ANTIGRAVITY2API_TIMEOUT_GAP": "-1"}, "ANTIGRAVITY2API_TIMEOUT_GAP"),
        ({"GOOGLE_GEMINI_BASE_URL": "not a url"}, "GOOGLE_GEMINI_BASE_URL"),
        ({"ANTIGRAVITY2API_API_KEY_FILE": "/nowhere/at/all"}, "ANTIGRAVITY2API_API_KEY_FILE"),
    ],
)
def test_a_wrong_setting_is_exit_code_2(env: dict[str, str], said: str) -> None:
    done = run_cli("serve", "--sandbox", env={"ANTIGRAVITY2API_API_KEY": "sk-x", "ANTIGRAVITY2API_PORT": "1"} | env)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("args", [("serve", "--prot", "1"), ("serv",), ("serve", "--port", "x"), ("serve", "extra")])
def test_wrong_use_is_exit_code_2(args: tuple[str, ...]) -> None:
    done = run_cli(*args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_beyond_loopback_without_a_key_is_refused() -> None:
    done = run_cli("serve", "--sandbox", "--host", "0.0.0.0", "--port", str(free_port()))
    assert done.returncode == 2, done.stderr
    assert "key" in done.stderr.lower()


@pytest.mark.slow
@pytest.mark.parametrize("key", ["sk-text", "sk-1234", "changeme"])
def test_an_example_key_is_refused_beyond_loopback(key: str) -> None:
    done = run_cli(
        "serve", "--sandbox", "--host", "0.0.0.0", "--port", str(free_port()), env={"ANTIGRAVITY2API_API_KEY": key}
    )
    assert done.returncode == 2, done.stderr


def test_an_example_key_is_a_warning_on_loopback(sandbox_gateway: GatewayProcess) -> None:
    assert "sk-text" in sandbox_gateway.stderr or "example" in sandbox_gateway.stderr.lower()


def test_loopback_only_by_default(sandbox_gateway: GatewayProcess) -> None:
    address = next((info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)), "127.0.0.1")
    if str(address).startswith("127."):
        assert call(sandbox_gateway.port, "GET", "/health/live").status == 200
        return
    with pytest.raises(ConnectionError):
        socket.create_connection((str(address), sandbox_gateway.port), 2).close()


def test_localhost_of_both_families(sandbox_gateway: GatewayProcess) -> None:
    for host in ("127.0.0.1", "::1") if _has_ipv6() else ("127.0.0.1",):
        with Connection(sandbox_gateway.port, host=host) as connection:
            connection.request("GET", "/health/live")
            assert connection.read("GET").status == 200


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("args", [("version",), ("--version",), ("version", "--json")])
def test_version(args: tuple[str, ...]) -> None:
    done = run_cli(*args)
    assert done.returncode == 0
    assert "0." in done.stdout


@pytest.mark.slow
def test_the_ancestors_names_are_understood(upstream: ScriptedUpstream) -> None:
    env = {
        "GEMINI_API_KEY": "k",
        "GOOGLE_GEMINI_BASE_URL": upstream.url,
        "API_KEY": "sk-ancestor",
        "DEFAULT_TEMPERATURE": "0.4",
    }
    upstream.play(sse(text_events("Hello")))
    with GatewayProcess(env=env, key=None) as gateway:
        assert chat(gateway.port, key="sk-ancestor", model="gemini-2.5-flash").status == 200
        assert "API_KEY" in gateway.stderr
        assert "sk-ancestor" not in gateway.stderr
    assert upstream.requests[0].json["generationConfig"]["temperature"] == 0.4


@pytest.mark.slow
def test_a_secret_from_a_file(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    client, key = tmp_path / "client", tmp_path / "key"
    client.write_text("sk-from-file\n")
    key.write_text("upstream-from-file\n")
    for path in (client, key):
        path.chmod(0o600)
    env = {
        "ANTIGRAVITY2API_API_KEY_FILE": str(client),
        "GEMINI_API_KEY_FILE": str(key),
        "GOOGLE_GEMINI_BASE_URL": upstream.url,
    }
    upstream.play(sse(text_events("Hello")))
    with GatewayProcess(env=env, key=None) as gateway:
        assert chat(gateway.port, key="sk-from-file").status == 200
    assert upstream.requests[0].header("x-goog-api-key") == "upstream-from-file"


def test_the_data_directory_is_private(start: Start) -> None:
    gateway = start()
    assert stat.S_IMODE(gateway.data_dir.stat().st_mode) == 0o700
    for path in gateway.data_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700), path


def test_secrets_stay_out_of_log_and_answers(upstream: ScriptedUpstream) -> None:
    env = {
        "GEMINI_API_KEY": CANARIES["upstream key"],
        "GOOGLE_GEMINI_BASE_URL": upstream.url,
        "ANTIGRAVITY2API_COOLDOWN": "off",
    }
    leaky = f"API key {CANARIES['upstream key']} of project 123456789 is limited; see 10.1.2.3:8080"
    answers = b""
    with GatewayProcess(env=env, key=CANARIES["client key"]) as gateway:
        for script in (
            sse(text_events(CANARIES["answer"])),
            error(500, leaky),
            error(429, leaky),
            error(403, leaky),
            error(400, leaky),
            sse([*text_events("a", finish=None), {"error": {"code": 500, "message": leaky}}]),
        ):
            upstream.play(*[script] * 3)
            reply = chat(gateway.port, CANARIES["prompt"], key=CANARIES["client key"], stream=True)
            answers += reply.body + repr(reply.headers).encode()
            upstream.reset()
        call(gateway.port, "GET", f"/v1/models?key={CANARIES['client key']}", key="sk-canary-wrong-4713")
        call(gateway.port, "POST", CHAT, key=CANARIES["client key"], body=b'{"model": "canary prompt about whales", ')
        assert gateway.stop() == 0
        log = gateway.stderr
        kept = b"".join(path.read_bytes() for path in gateway.data_dir.rglob("*") if path.is_file())
    for name, canary in CANARIES.items():
        assert canary not in log, name
        if name in ("upstream key", "client key"):
            assert canary.encode() not in kept, name
    assert "sk-canary-wrong-4713" not in log
    assert CANARIES["upstream key"].encode() not in answers
    assert CANARIES["client key"].encode() not in answers


def test_one_line_a_request_and_control_bytes_are_escaped(start: Start, upstream: ScriptedUpstream) -> None:
    gateway = start()
    upstream.play(error(404, "no\x1b[31m\nforged line"))
    reply = chat(gateway.port, model="m")
    chat(gateway.port, model='m\r\n{"forged": true}\x1b[31m')
    assert gateway.stop() == 0
    assert "\x1b" not in gateway.stderr
    assert not any(line.get("forged") for line in gateway.log)
    request_id = reply.header("x-request-id") or "?"
    assert gateway.stderr.count(request_id) >= 1


def test_workers_share_a_port(upstream: ScriptedUpstream) -> None:
    upstream.default = sse(text_events("Hello"))
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": upstream.url}
    with GatewayProcess("--workers", "2", env=env) as gateway:
        for _ in range(8):
            assert chat(gateway.port).text == "Hello"
        assert gateway.stop(15) == 0


def test_a_gateway_that_cannot_start_says_why() -> None:
    gateway = GatewayProcess(env={"ANTIGRAVITY2API_NONSENSE": "1"}, ready=10)
    with pytest.raises(GatewayFailed, match="ANTIGRAVITY2API_NONSENSE"):
        gateway.start()
