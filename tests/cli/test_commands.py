"""``models``, ``healthcheck`` and ``sandbox``."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from antigravity2api.gemini.models import ModelTable


def test_models_lists_the_table(cli):
    done = cli("models", "--json")
    rows = json.loads(done.out)["models"]
    assert (done.code, done.err) == (0, "")
    assert [row["id"] for row in rows] == [entry.id for entry in ModelTable.load().entries()]
    assert {"id", "name", "kind", "surfaces", "source", "input_limit", "output_limit", "alias_of"} == set(rows[0])
    by_id = {row["id"]: row for row in rows}
    assert by_id["gemini-3.1-flash-lite"]["surfaces"] == ["gemini", "vertex", "antigravity"]
    assert {row["source"] for row in rows} == {"table"}
    text = cli("models").out
    assert "gemini, vertex, antigravity" in text
    assert all(row["id"] in text for row in rows)


def test_models_knows_the_operators_aliases(cli, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_ALIASES", "fast=gemini-2.5-flash")
    rows = {row["id"]: row for row in json.loads(cli("models", "--json").out)["models"]}
    assert rows["fast"]["alias_of"] == "gemini-2.5-flash"


def test_models_lists_the_sandboxes_faults_when_asked(cli):
    report = json.loads(cli("models", "--sandbox", "--json").out)
    assert report["faults"]
    assert all(fault["id"] and fault["about"] for fault in report["faults"])
    assert "faults" not in json.loads(cli("models", "--json").out)


@pytest.fixture
def ready_server():
    """A server that answers ``/health/ready`` with the statuses it is given."""
    statuses = [200]
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(statuses[-1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield str(server.server_port), statuses, paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthcheck_says_ready(cli, ready_server):
    port, _, paths = ready_server
    assert cli("healthcheck", "--port", port) == (0, "ready\n", "")
    assert paths == ["/health/ready"]


def test_healthcheck_asks_this_machine_when_it_serves_all_addresses(cli, ready_server):
    port, _, _ = ready_server
    assert cli("healthcheck", "--host", "0.0.0.0", "--port", port).code == 0


def test_healthcheck_finds_a_draining_gateway_not_ready(cli, ready_server):
    port, statuses, _ = ready_server
    statuses.append(503)
    done = cli("healthcheck", "--port", port)
    assert (done.code, done.out) == (1, "")
    assert "503" in done.err


def test_healthcheck_finds_nobody(cli, unused_tcp_port):
    done = cli("healthcheck", "--port", str(unused_tcp_port))
    assert (done.code, done.out) == (1, "")
    assert "does not answer" in done.err


@pytest.mark.parametrize("port", ["x", "-1", "70000", "٨"])
def test_sandbox_wants_a_port(cli, port):
    done = cli("sandbox", "--port", port)
    assert done.code == 2
    assert f"--port: {port!r} is not a whole number from 0 to 65535" in done.err


@pytest.mark.parametrize("pace", ["x", "-1", "61", "nan"])
def test_sandbox_wants_a_pace(cli, pace):
    done = cli("sandbox", "--pace", pace)
    assert done.code == 2
    assert f"--pace: {pace!r} is not a number from 0 to 60" in done.err


def test_sandbox_is_told_port_and_pace(cli, monkeypatch):
    made = []

    class Recorder:
        def __init__(self, host, port, *, pace):
            made.append((host, port, pace))

        async def start(self):
            raise OSError(98, "Address already in use")

    monkeypatch.setattr("antigravity2api.sandbox.Sandbox", Recorder)
    assert cli("sandbox").code == 1
    assert cli("sandbox", "--port", "0", "--pace", "0.25").code == 1
    assert made == [("127.0.0.1", 8046, 0.0), ("127.0.0.1", 0, 0.25)]


def test_sandbox_help_tells_about_keys(cli):
    assert "any key that is not empty" in " ".join(cli("sandbox", "--help").out.split())


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan"])
def test_healthcheck_wants_seconds(cli, seconds):
    done = cli("healthcheck", "--timeout", seconds)
    assert done.code == 2
    assert f"--timeout: {seconds!r} is not seconds" in done.err


def test_sandbox_says_when_the_port_is_taken(cli, ready_server):
    port, _, _ = ready_server
    done = cli("sandbox", "--port", port)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: 127.0.0.1:{port} is in use already: choose another one with --port.\n"
