"""Log lines: one line of JSON each, no control characters, no floods, and never in the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import orjson
import pytest

from antigravity2api import telemetry
from antigravity2api.telemetry import Log, clean


def lines_of(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_lines_are_written_by_close_at_the_latest(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as out:
        log = Log(fd=out.fileno())
        log.start()
        log.request(b'{"event":"request","status":200}\n')
        log.event("warning", "something\x1b[31m odd\n", detail="a\u2028b")
        log.close()
    first, second = lines_of(file)
    assert first == {"event": "request", "status": 200}
    assert second["event"] == "something\\x1b[31m odd\\x0a" and second["detail"] == "a\\x2028b"


def test_a_message_that_repeats_is_written_once_a_second(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as out:
        log = Log(fd=out.fileno())
        for _ in range(1000):
            log.event("error", "out of descriptors")
        log.close()
    assert len(lines_of(file)) == 1


def test_the_level_is_a_floor(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as out:
        log = Log(fd=out.fileno(), level="warning")
        log.event("info", "quiet")
        log.request(b'{"event":"request"}\n')
        log.event("error", "loud")
        log.close()
    assert [line["event"] for line in lines_of(file)] == ["loud"]


def test_a_log_that_cannot_be_written_costs_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = Log(fd=writing)
    log.start()
    log.request(b'{"event":"request"}\n')
    log.close()
    assert log.lost == 1
    os.close(writing)


@pytest.mark.parametrize("text", ["plain", "ünïcode 你好 🙂"])
def test_ordinary_text_is_kept(text: str) -> None:
    assert clean(text) == text


def test_long_text_is_cut() -> None:
    assert len(clean("x" * 5000)) == 1025


def test_a_pipe_that_nobody_reads_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antigravity2api.telemetry._LAST_WORDS", 0.2)
    reading, writing = os.pipe()
    log = Log(fd=writing)
    log.start()
    thread = log._thread
    assert thread is not None
    for _ in range(2000):
        log.request(b'{"event":"request","padding":"%b"}\n' % (b"x" * 200))
    log.close()
    assert thread.is_alive()
    os.close(reading)
    thread.join(10)
    assert not thread.is_alive() and log.lost
    os.close(writing)


def test_the_journal_may_tidy_up_while_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept:
        def __init__(self) -> None:
            self.tidied = threading.Event()

        def write(self, lines: bytes) -> None:
            raise AssertionError(lines)

        def tidy(self) -> None:
            self.tidied.set()

    monkeypatch.setattr(telemetry, "_QUIET", 0.01)
    kept = Kept()
    log = Log(fd=-1, journal=kept)
    log.start()
    assert kept.tidied.wait(10)
    log.close()
