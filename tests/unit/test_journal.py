"""What is kept of finished requests, within its bounds and without secrets."""

from __future__ import annotations

import base64
import os

import orjson
import pytest

from antigravity2api import journal
from antigravity2api.errors import Fault, Kind
from antigravity2api.journal import Capture, Journal, bodies, requests
from antigravity2api.upstreams.base import HttpRequest


def line(number, **more):
    return orjson.dumps(
        {"ts": f"2026-01-01T00:00:{number:02d}.000Z", "event": "request", "id": f"req_{number}", **more}
    )


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**more):
        made.append(Journal(tmp_path / "logs", **{"ttl": 1000.0, "max_bytes": 1 << 20, **more}))
        return made[-1]

    yield build
    for each in made:
        each.close()


class Heard:
    def __init__(self):
        self.all = []

    def on_head(self, status, headers):
        self.all.append((status, dict(headers)))

    def on_data(self, data):
        self.all.append(data)

    def on_end(self):
        self.all.append("end")

    def on_error(self, fault):
        self.all.append(fault)


def test_lines_come_back_newest_first(make, tmp_path):
    kept = make()
    kept.write(line(1) + b"\n" + line(2) + b"\n")
    kept.write(b'{"event":"something else"}\nhalf a li')
    other = make()
    other.write(line(3) + b"\n")
    assert [found["id"] for found in requests(tmp_path / "logs")] == ["req_3", "req_2", "req_1"]
    (segment,) = {path.stat().st_mode & 0o777 for path in (tmp_path / "logs").iterdir()}
    assert segment == 0o600


def test_the_oldest_go_first(make, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT", 10)
    now = [1_000_000.0]
    kept = make(max_bytes=3 * len(line(1)), wall=lambda: now[0])
    for number in range(6):
        kept.write(line(number) + b"\n")
        for path in (tmp_path / "logs").iterdir():
            if path.stat().st_mtime > 2_000_000:  # written now: say when it would have been
                os.utime(path, (now[0], now[0]))
        now[0] += 1
    kept.prune()
    assert [found["id"] for found in requests(tmp_path / "logs")] == ["req_5", "req_4"]
    now[0] += 2000
    kept.prune()
    assert list(requests(tmp_path / "logs")) == []


def test_a_directory_that_cannot_be_written_costs_the_record_alone(make, tmp_path):
    (tmp_path / "logs").write_text("a file")
    kept = make()
    kept.write(line(1) + b"\n")
    assert kept.lost == 1


def test_four_bodies_and_the_sink_hears_everything(make, tmp_path):
    kept = make(capture=True)
    secret = "ya29." + "x" * 30
    picture = base64.b64encode(os.urandom(6000)).decode()
    asked = {"model": "m", "messages": [{"role": "user", "content": "my key is AIza" + "A" * 35}]}
    capture = Capture(
        "req_1",
        "/v1/chat/completions",
        {"authorization": "Bearer " + "k" * 20, "user-agent": "u"},
        orjson.dumps(asked),
    )
    heard = Heard()
    request = HttpRequest("POST", "/v1beta/x", (("Authorization", secret),), b'{"token":"%s"}' % secret.encode())
    sent = capture.sent("gemini", "gemini-1", secret, request, heard)
    sent.on_head(200, {"content-type": "application/json", "set-cookie": "c"})
    sent.on_data(b'{"image":"%s"}' % picture.encode())
    sent.on_end()
    failed = capture.sent("gemini", "gemini-2", "another-secret", request, heard)
    fault = Fault(Kind.UNREACHABLE, "Nobody there.")
    failed.on_error(fault)
    capture.status = 200
    capture.answer.add(b"data: {}\n\n")
    capture.answer.add(b"data: [DONE]\n\n")
    kept.keep(capture)
    kept.close()
    assert heard.all[2:] == ["end", fault]

    found = bodies(tmp_path / "logs", "req_1")
    text = orjson.dumps(found).decode()
    assert secret not in text
    assert "AIza" not in text
    assert "k" * 20 not in text
    assert picture not in text
    assert found["client_sent"]["body"]["messages"][0]["content"] == "my key is ***"
    assert found["client_sent"]["headers"] == {"user-agent": "u"}
    first, second = found["upstream"]
    assert first["sent"] == {"target": "POST /v1beta/x", "body": {"token": "***"}}
    assert first["got"]["headers"] == {"content-type": "application/json"}
    assert first["got"]["body"]["image"].startswith("[6000 bytes, sha256 of their base64 ")
    assert second["trouble"] == "Nobody there."
    assert found["client_got"] == {"status": 200, "body": "data: {}\n\ndata: [DONE]\n\n"}


def test_a_body_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(journal, "MOST_KEPT", 4)
    body = journal.Body(b"abc")
    body.add(b"def")
    assert body.shown(()) == {"cut": "6 bytes, the first 4 of them kept", "begin": "abcd"}


@pytest.mark.parametrize("name", ["../requests", "a/b", "", "x" * 100, "req_unknown"])
def test_an_id_is_no_path(tmp_path, name):
    assert bodies(tmp_path, name) is None


def test_a_quiet_file_of_lines_goes_when_its_first_line_has_to(make, tmp_path):
    now = [1_000_000.0]
    kept = make(ttl=2400.0, wall=lambda: now[0])
    folder = tmp_path / "logs"
    for number in range(5):  # a line each minute: after a hundred seconds there is a new file
        kept.write(line(number) + b"\n")
        newest = max(folder.iterdir(), key=lambda path: path.name)
        os.utime(newest, (now[0], now[0]))
        now[0] += 60.0
    assert len(list(folder.iterdir())) == 3
    now[0] = 1_000_000.0 + 2400.0 + 1
    kept.tidy()
    assert [found["id"] for found in requests(folder)] == ["req_4", "req_3", "req_2"]
    now[0] += 240.0
    kept.tidy()
    assert list(requests(folder)) == []
    kept.write(line(6) + b"\n")  # the file it wrote to is gone
    assert [found["id"] for found in requests(folder)] == ["req_6"]


def test_a_full_room_is_looked_after_at_once(make, tmp_path):
    kept = make(max_bytes=32 << 10)
    for number in range(4000):
        kept.write(line(number % 60) + b"\n")
    assert sum(path.stat().st_size for path in (tmp_path / "logs").iterdir()) <= 40 << 10
    assert len(list(requests(tmp_path / "logs"))) > 200


def test_what_waits_to_be_written_is_bounded(make, monkeypatch):
    monkeypatch.setattr(journal, "_MOST_WAITING", 1000)
    kept = make(capture=True)
    monkeypatch.setattr(kept, "_thread", object())  # one that does nothing
    for number in range(10):
        kept.keep(Capture(f"req_{number}", "/", {}, b"x" * 300))
    assert [capture.id for capture in kept._queue] == ["req_7", "req_8", "req_9"]
    assert kept.lost == 7
    kept.keep(Capture("req_large", "/", {}, b"x" * 5000))
    assert [capture.id for capture in kept._queue] == ["req_large"], "the last one is kept, however large"
    kept._thread = None


@pytest.mark.parametrize(
    "said",
    [
        rb'{"a":"1\/\/0gPlantedRefreshToken_abc"}',
        rb'{"a":"\u0031//0gPlantedRefreshToken_abc"}',
        rb'data: {"a":"1\/\/0gPlantedRefreshToken_abc"}' + b"\n\n",
        b"event: x\r\ndata: 1//0gPlantedRefreshToken_abc\r\n\r\n",
        b'{"a":["1//0gPlantedRefreshToken_abc',
        b'{"1//0gPlantedRefreshToken_abc":1}',
    ],
)
def test_a_secret_is_found_however_the_json_is_written(said):
    shown = orjson.dumps(journal.Body(said).shown(())).decode()
    assert "0gPlanted" not in shown
    assert "***" in shown


def test_what_hides_nothing_stays_byte_for_byte():
    said = 'event: a\r\ndata: {"x" : [1, 2.50, "ü"]}\r\n\r\n: comment\n\ndata: [DONE]\n\n'
    assert journal.Body(said.encode()).shown({"a secret"}) == said


def test_a_short_secret_breaks_no_json():
    assert journal.Body(b'{"a":true,"b":"true or null","c":null}').shown({"true", "null"}) == {
        "a": True,
        "b": "*** or ***",
        "c": None,
    }


def test_depth_is_no_trouble():
    said = b'{"a":' * 5000 + b'"1//0gPlantedRefreshToken_abc"' + b"}" * 5000
    assert "0gPlanted" not in orjson.dumps(journal.Body(said).shown(())).decode()
