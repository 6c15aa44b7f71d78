"""What ``logs`` can show later: the lines of finished requests, and, where the operator wants it, their bodies.

Lines go into files in ``DATA_DIR/logs`` as they go to stderr: the log's thread hands over what it writes, one append
for many lines. With ``capture`` on, the four bodies of a request (what the client sent, what went upstream, what came
back, what the client got) are kept in one compressed file a request, under the request's id. Both are bounded by age
and size, the oldest go first. Credentials are in neither: of a request's head only the path and harmless headers are
kept, and a secret that stands in a body is masked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from antigravity2api.upstreams.base import HttpRequest, Sink
from antigravity2api.upstreams.masking import mask_keys

SEGMENT = 4 << 20
"""Bytes of lines in one file, at most; and at most a sixteenth of the room there is."""
MOST_KEPT = 8 << 20
"""Bytes of one body; what is beyond is cut and said to be."""
_WAITING = 64
_MOST_WAITING = 64 << 20
"""Requests and bytes that wait to be written."""
_LAST_WORDS = 5.0
_SAFE_HEADERS = frozenset({"content-type", "content-length", "user-agent", "accept", "x-client-request-id", "host"})
_SAFE_ANSWER = frozenset({"content-type", "retry-after", "x-request-id", "x-antigravity2api-applied", "date", "server"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}").fullmatch
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|password")
_MEDIA = re.compile(r"[0-9A-Za-z+/_-]{4096,}={0,2}")
_SHORTEST_MEDIA = 4096
_EVERY = 60.0


class Journal:
    """The files of one data directory; several worker processes may write at the same time."""

    def __init__(
        self,
        directory: Path,
        *,
        ttl: float,
        max_bytes: int,
        capture: bool = False,
        secrets: Iterable[str] = (),
        wall: Any = time.time,
    ) -> None:
        """``secrets`` are masked wherever they stand in a body."""
        self._directory = directory
        self._bodies = directory / "bodies"
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._segment = min(SEGMENT, max(max_bytes // 16, 4096))
        self._span = ttl / 24
        """How long one file of lines is written to: its lines go when the last of them has to."""
        self._secrets = frozenset(secrets)
        self._wall = wall
        self._fd = -1
        self._size = 0
        self._begun = 0.0
        self._number = 0
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._written = 0
        """Bytes since the last look at what there is."""
        self.capture = capture
        self._lock = threading.Lock()
        self._queue: deque[Capture] = deque()
        self._waiting = 0
        self._wake = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None
        self.lost = 0

    # -- lines -----------------------------------------------------------------------------------------------------

    def write(self, lines: bytes) -> None:
        """Append whole lines. For one thread; raises nothing: a full disk costs the record, not the request."""
        try:
            if self._is_over():
                self._next_segment()
            os.write(self._fd, lines)
            self._size += len(lines)
            self._look_after(len(lines))
        except OSError:
            self.lost += 1
            self._close_segment()

    def tidy(self) -> None:
        """Remove what is too old though nothing was written. For the thread that writes; raises nothing."""
        with contextlib.suppress(OSError):
            self.prune()

    def _is_over(self) -> bool:
        """Whether the next lines go into another file. One that was removed meanwhile takes none any more."""
        if self._fd < 0 or self._size > self._segment:
            return True
        return not 0 <= self._wall() - self._begun <= self._span or os.fstat(self._fd).st_nlink == 0

    def _next_segment(self) -> None:
        self._close_segment()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._begun = self._wall()
        name = time.strftime("requests-%Y%m%dT%H%M%SZ", time.gmtime(self._begun))
        self._number += 1
        path = self._directory / f"{name}-{os.getpid()}-{self._number}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._fd).st_size
        if self._size:
            os.write(self._fd, b"\n")  # a full disk may have cut the last line

    def _close_segment(self) -> None:
        fd, self._fd, self._size = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)

    # -- bodies ----------------------------------------------------------------------------------------------------

    def keep(self, capture: Capture) -> None:
        """Write the bodies of a finished request soon; with too many waiting the oldest go."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        with self._lock:
            self._queue.append(capture)
            self._waiting += capture.size
            while len(self._queue) > _WAITING or (self._waiting > _MOST_WAITING and len(self._queue) > 1):
                self._waiting -= self._queue.popleft().size
                self.lost += 1
        self._wake.set()

    def close(self) -> None:
        """Write what is waiting."""
        self._stop = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS)
        self._close_segment()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while (capture := self._next()) is not None:
                try:
                    self._write_bodies(capture)
                except Exception:  # noqa: BLE001 - the thread serves the next request all the same
                    self.lost += 1
            if self._stop:
                return

    def _next(self) -> Capture | None:
        with self._lock:
            if not self._queue:
                return None
            capture = self._queue.popleft()
            self._waiting -= capture.size
            return capture

    def _write_bodies(self, capture: Capture) -> None:
        for folder in (self._directory, self._bodies):  # one by one: the mode is for the last part of a path
            folder.mkdir(mode=0o700, exist_ok=True)
        import gzip  # noqa: PLC0415 - only where bodies are kept

        data = gzip.compress(orjson.dumps(capture.shown(self._secrets), default=str), compresslevel=1)
        draft = self._bodies / f".{capture.id}.tmp"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        draft.replace(self._bodies / f"{capture.id}.json.gz")
        self._look_after(len(data))

    # -- bounds ----------------------------------------------------------------------------------------------------

    def _look_after(self, written: int) -> None:
        """Remove what is too much, now and then, and whenever a sixteenth of the room was filled."""
        self._written += written
        now = time.monotonic()
        if now >= self._next_look or self._written > self._max_bytes // 16:
            self._next_look = now + _EVERY
            self._written = 0
            self.prune()

    def prune(self) -> None:
        """Remove what is too old, and the oldest of what is too much. Raises OSError."""
        with self._looking:
            found = sorted(_files(self._directory), key=lambda entry: entry[1])
            total = sum(size for _, _, size in found)
            oldest = self._wall() - self._ttl
            for path, changed, size in found:
                began = changed - (self._span if path.suffix == ".jsonl" else 0.0)
                if began >= oldest and total <= self._max_bytes:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                total -= size


def _files(directory: Path) -> Iterator[tuple[Path, float, int]]:
    for folder in (directory, directory / "bodies"):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    about = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), about.st_mtime, about.st_size


# -- reading ----------------------------------------------------------------------------------------------------------


def requests(directory: Path) -> Iterator[dict[str, Any]]:
    """The lines of finished requests, newest first. Lines that cannot be read are left out."""
    lines: list[bytes] = []
    for segment in directory.glob("requests-*.jsonl"):
        with contextlib.suppress(OSError):
            lines += [raw for raw in segment.read_bytes().splitlines() if raw.startswith(b'{"ts":"')]
    # Workers write side by side, so the order of files is not that of requests; each line begins with its time.
    lines.reverse()  # of those of one moment the later one in its file is the newer
    lines.sort(key=_time_of, reverse=True)
    yield from filter(None, map(_line, lines))


def _time_of(raw: bytes) -> bytes:
    return raw[: raw.find(b",")]


def _line(raw: bytes) -> dict[str, Any] | None:
    try:
        line = orjson.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("event") == "request" else None


def bodies(directory: Path, request_id: str) -> dict[str, Any] | None:
    """What was captured of a request, or None. Raises OSError and ValueError for what cannot be read."""
    if _ID(request_id) is None:
        return None
    try:
        data = (directory / "bodies" / f"{request_id}.json.gz").read_bytes()
    except FileNotFoundError:
        return None
    import gzip  # noqa: PLC0415 - as above

    shown: dict[str, Any] = orjson.loads(gzip.decompress(data))
    return shown


# -- one request under way --------------------------------------------------------------------------------------------


class Body:
    """Bytes that come in pieces, kept up to a limit."""

    __slots__ = ("_data", "_total")

    def __init__(self, data: bytes | bytearray = b"") -> None:
        # Bytes do not change, so they need no copy.
        self._data = data if isinstance(data, bytes) and len(data) <= MOST_KEPT else bytearray(data[:MOST_KEPT])
        self._total = len(data)

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes | bytearray) -> None:
        """One more piece."""
        self._total += len(data)
        room = MOST_KEPT - len(self._data)
        if room > 0:
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)
            self._data += data[:room]

    def shown(self, secrets: Iterable[str]) -> Any:
        """JSON where it is JSON, text otherwise, masked; what was cut is told."""
        value = _readable(bytes(self._data), secrets)
        if self._total > len(self._data):
            return {"cut": f"{self._total} bytes, the first {len(self._data)} of them kept", "begin": value}
        return value


def _readable(data: bytes, secrets: Iterable[str]) -> Any:
    try:
        return _harmless(orjson.loads(data), secrets)
    except (ValueError, RecursionError):
        text = data.decode("utf-8", "replace")
    if "data:" not in text:
        return _harmless_text(text, secrets)
    return "".join(_harmless_row(row, secrets) for row in text.splitlines(keepends=True))


def _harmless(value: Any, secrets: Iterable[str]) -> Any:
    """A JSON value with its texts masked: however the JSON was written, a secret is found in what it says."""
    if isinstance(value, str):
        return _harmless_text(value, secrets)
    if isinstance(value, dict):
        return {_harmless_text(key, secrets): _harmless(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_harmless(item, secrets) for item in value]
    return value


def _harmless_row(row: str, secrets: Iterable[str]) -> str:
    """A line of an event stream; one with nothing to hide stays as it was."""
    if row.startswith("data:"):
        with contextlib.suppress(ValueError, RecursionError):
            value = orjson.loads(row[5:])
            hidden = _harmless(value, secrets)
            return row if hidden == value else f"data: {orjson.dumps(hidden).decode()}\n"
    return _harmless_text(row, secrets)


def _harmless_text(text: str, secrets: Iterable[str]) -> str:
    if len(text) < 4:
        return text
    text = mask_keys(text, secrets)
    return _MEDIA.sub(_in_short, text) if len(text) >= _SHORTEST_MEDIA else text


def _in_short(match: re.Match[str]) -> str:
    """Pictures and sounds are told by size and hash: they are no help to a reader and most of the bytes."""
    digest = hashlib.sha256(match[0].encode()).hexdigest()[:16]
    return f"[{len(match[0]) * 3 // 4} bytes, sha256 of their base64 {digest}]"


class Capture:
    """The four bodies of one request."""

    __slots__ = ("_secrets", "answer", "attempts", "client", "headers", "id", "path", "started", "status")

    def __init__(self, request_id: str, path: str, headers: Mapping[str, str], body: bytes | bytearray) -> None:
        self.id = request_id
        self.path = path
        self.headers = {name: value for name, value in headers.items() if name in _SAFE_HEADERS}
        self.client = Body(body)
        self.attempts: list[Sent] = []
        self.answer = Body()
        self.status = 0
        self.started = time.time()
        # What the client proves itself with may stand in what it says as well.
        given = (value for name, value in headers.items() if _SECRET_HEADER.search(name))
        self._secrets = {word for value in given for word in value.split()[-1:]}

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return len(self.client) + len(self.answer) + sum(attempt.size for attempt in self.attempts)

    def sent(self, upstream: str, credential: str, secret: str, request: HttpRequest, sink: Sink) -> Sent:
        """An attempt begins; the returned sink hears the answer and passes it on."""
        self._secrets.add(secret)
        attempt = Sent(upstream, credential, request, sink)
        self.attempts.append(attempt)
        return attempt

    def shown(self, known: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Everything, as it is kept; ``known`` are secrets that are not of this request."""
        secrets = known | self._secrets
        return {
            "id": self.id,
            "at": self.started,
            "client_sent": {
                "path": self.path,
                "headers": _harmless(self.headers, secrets),
                "body": self.client.shown(secrets),
            },
            "upstream": [attempt.shown(secrets) for attempt in self.attempts],
            "client_got": {"status": self.status, "body": self.answer.shown(secrets)},
        }


class Sent:
    """A ``Sink`` that keeps what an upstream answers and passes it on."""

    __slots__ = ("_answer", "_body", "_credential", "_headers", "_sink", "_status", "_target", "_trouble", "_upstream")

    def __init__(self, upstream: str, credential: str, request: HttpRequest, sink: Sink) -> None:
        self._upstream = upstream
        self._credential = credential
        self._target = f"{request.method} {request.target}"
        self._body = Body(request.body)
        self._sink = sink
        self._status = 0
        self._headers: dict[str, str] = {}
        self._answer = Body()
        self._trouble = ""

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return len(self._body) + len(self._answer)

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = {name: value for name, value in headers.items() if name in _SAFE_ANSWER}
        self._sink.on_head(status, headers)

    def on_data(self, data: bytes) -> None:
        self._answer.add(data)
        self._sink.on_data(data)

    def on_end(self) -> None:
        self._sink.on_end()

    def on_error(self, fault: Any) -> None:
        self._trouble = fault.message
        self._sink.on_error(fault)

    def shown(self, secrets: Iterable[str]) -> dict[str, Any]:
        """The attempt, as it is kept."""
        return {
            "upstream": self._upstream,
            "credential": self._credential,
            "sent": {"target": self._target, "body": self._body.shown(secrets)},
            "got": {"status": self._status, "headers": self._headers, "body": self._answer.shown(secrets)},
            **({"trouble": self._trouble} if self._trouble else {}),
        }
