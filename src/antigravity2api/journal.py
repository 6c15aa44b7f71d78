"""What ``logs`` can show later: the lines of finished requests, and, where the operator wants it, their bodies.

Lines go into files in ``DATA_DIR/logs`` as they go to stderr: the log's thread hands over what it writes, one append
for many lines. With ``capture`` on, the four bodies of a request (what the client sent, what went upstream, what came
back, what the client got) are kept in one compressed file a request, under the request's id. Both are bounded by age
and size, the oldest go first. Credentials are in neither: of a request's head only the path and harmless headers are
kept, and a secret that stands in a body is masked.
"""

from __future__ import annotations

import contextlib
import gzip
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
"""Bytes of lines in one file."""
MOST_KEPT = 8 << 20
"""Bytes of one body; what is beyond is cut and said to be."""
_WAITING = 64
_LAST_WORDS = 2.0
_SAFE_HEADERS = frozenset({"content-type", "content-length", "user-agent", "accept", "x-client-request-id", "host"})
_SAFE_ANSWER = frozenset({"content-type", "retry-after", "x-request-id", "x-antigravity2api-applied", "date", "server"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}").fullmatch
_MEDIA = re.compile(r"[0-9A-Za-z+/_-]{4096,}={0,2}")
_EVERY = 60.0


class Journal:
    """The files of one data directory; several worker processes may write at the same time."""

    def __init__(
        self, directory: Path, *, ttl: float, max_bytes: int, capture: bool = False, wall: Any = time.time
    ) -> None:
        self._directory = directory
        self._bodies = directory / "bodies"
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._wall = wall
        self._fd = -1
        self._size = 0
        self._next_look = 0.0
        self.capture = capture
        self._queue: deque[Capture] = deque(maxlen=_WAITING)
        self._wake = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None
        self.lost = 0

    # -- lines -----------------------------------------------------------------------------------------------------

    def write(self, lines: bytes) -> None:
        """Append whole lines. For one thread; raises nothing: a full disk costs the record, not the request."""
        try:
            if self._fd < 0 or self._size > SEGMENT:
                self._next_segment()
            os.write(self._fd, lines)
            self._size += len(lines)
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + _EVERY
                self.prune()
        except OSError:
            self.lost += 1
            self._close_segment()

    def _next_segment(self) -> None:
        self._close_segment()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = time.strftime("requests-%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
        path = self._directory / f"{name}-{os.getpid()}.jsonl"
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
        """Write the bodies of a finished request soon; with too many waiting the oldest goes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        if len(self._queue) == _WAITING:
            self.lost += 1
        self._queue.append(capture)
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
            while self._queue:
                try:
                    self._write_bodies(self._queue.popleft())
                except Exception:  # noqa: BLE001 - the thread serves the next request all the same
                    self.lost += 1
            if self._stop:
                return

    def _write_bodies(self, capture: Capture) -> None:
        self._bodies.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = gzip.compress(orjson.dumps(capture.shown(), default=str), compresslevel=1)
        draft = self._bodies / f".{capture.id}.tmp"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        draft.replace(self._bodies / f"{capture.id}.json.gz")

    # -- bounds ----------------------------------------------------------------------------------------------------

    def prune(self) -> None:
        """Remove what is too old, and the oldest of what is too much. Raises OSError."""
        found = sorted(_files(self._directory), key=lambda entry: entry[1])
        total = sum(size for _, _, size in found)
        oldest = self._wall() - self._ttl
        for path, changed, size in found:
            if changed >= oldest and total <= self._max_bytes:
                break
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
    segments = sorted(directory.glob("requests-*.jsonl"), reverse=True)
    lines: list[dict[str, Any]] = []
    for segment in segments:
        with contextlib.suppress(OSError):
            lines += [line for raw in segment.read_bytes().splitlines() if (line := _line(raw)) is not None]
    # Workers write side by side, so the order of files is not quite that of requests.
    yield from sorted(lines, key=lambda line: str(line.get("ts", "")), reverse=True)


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
    shown: dict[str, Any] = orjson.loads(gzip.decompress(data))
    return shown


# -- one request under way --------------------------------------------------------------------------------------------


class Body:
    """Bytes that come in pieces, kept up to a limit."""

    __slots__ = ("_data", "_total")

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self._data = bytearray(data[:MOST_KEPT])
        self._total = len(data)

    def add(self, data: bytes | bytearray) -> None:
        """One more piece."""
        self._total += len(data)
        room = MOST_KEPT - len(self._data)
        if room > 0:
            self._data += data[:room]

    def shown(self, secrets: Iterable[str]) -> Any:
        """JSON where it is JSON, text otherwise, masked; what was cut is told."""
        value = _readable(bytes(self._data), secrets)
        if self._total > len(self._data):
            return {"cut": f"{self._total} bytes, the first {len(self._data)} of them kept", "begin": value}
        return value


def _readable(data: bytes, secrets: Iterable[str]) -> Any:
    text = _MEDIA.sub(_in_short, mask_keys(data.decode("utf-8", "replace"), secrets))
    try:
        return orjson.loads(text)
    except ValueError:
        return text


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
        self._secrets: set[str] = set()

    def sent(self, upstream: str, credential: str, secret: str, request: HttpRequest, sink: Sink) -> Sent:
        """An attempt begins; the returned sink hears the answer and passes it on."""
        self._secrets.add(secret)
        attempt = Sent(upstream, credential, request, sink)
        self.attempts.append(attempt)
        return attempt

    def shown(self) -> dict[str, Any]:
        """Everything, as it is kept."""
        secrets = self._secrets
        return {
            "id": self.id,
            "at": self.started,
            "client_sent": {"path": self.path, "headers": self.headers, "body": self.client.shown(secrets)},
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
