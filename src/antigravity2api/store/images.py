"""Generated images on disk: unguessable names, kept for a while, oldest out first.

Each image is one file ``{id}.{ext}`` and, when the model signed it, ``{id}.sig`` beside it, so that the image can go
back upstream as the part it was. The name is the key: who knows it may read it.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from antigravity2api.dialects.base import StoredImage
from antigravity2api.ids import token62

_NAME = re.compile(r"(?P<id>[0-9A-Za-z]{24})\.(?P<ext>png|jpg|webp|gif)")
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
_EXTENSIONS = {mime: extension for extension, mime in _TYPES.items()}
PREFIX = "/images/"


class DiskImages:
    """An ``ImageShelf`` in a folder. ``ttl`` in seconds, ``max_bytes`` over all files; 143 random bits per name."""

    def __init__(
        self, folder: Path, *, ttl: float = 7 * 86400, max_bytes: int = 10**9, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._total: int | None = None

    def put(self, data: bytes, mime_type: str, signature: str | None) -> str:
        """Write atomically and return the path to link. Raises OSError (disk full) and KeyError for a foreign type."""
        extension = _EXTENSIONS[mime_type]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = token62(24)
        if signature:
            self._write(f"{identity}.sig", signature.encode())
        self._write(f"{identity}.{extension}", data)
        self._make_room(len(data))
        return f"{PREFIX}{identity}.{extension}"

    def get(self, path: str) -> StoredImage | None:
        """The image with its signature, for the way back upstream."""
        found = self.read(path)
        if found is None:
            return None
        data, mime_type = found
        try:
            signature = (self._folder / f"{path[len(PREFIX) :].partition('.')[0]}.sig").read_text("ascii")
        except (OSError, ValueError):
            signature = None
        return StoredImage(mime_type, base64.b64encode(data).decode("ascii"), signature)

    def read(self, path: str) -> tuple[bytes, str] | None:
        """Bytes and MIME type behind a link, or None when it is no name of ours, gone or expired."""
        match = _NAME.fullmatch(path.removeprefix(PREFIX))
        if match is None or not path.startswith(PREFIX):
            return None
        file = self._folder / match.group()
        try:
            if file.stat().st_mtime < self._clock() - self._ttl:
                return None
            return file.read_bytes(), _TYPES[match["ext"]]
        except OSError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        draft = self._folder / f".{name}.tmp"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            draft.replace(self._folder / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _make_room(self, added: int) -> None:
        """Count, and remove what is too old or too much. The folder is listed only when a limit is near or unknown."""
        if self._total is not None and self._total + added <= self._max_bytes and self._clock() < self._next_sweep:
            self._total += added
            return
        now = self._clock()
        files = []
        for entry in os.scandir(self._folder):
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another worker was quicker
                continue
            files.append((info.st_mtime, info.st_size, entry.path))
        files.sort()
        total = sum(size for _, size, _ in files)
        for written, size, path in files:
            if written >= now - self._ttl and total <= self._max_bytes:
                break
            Path(path).unlink(missing_ok=True)
            total -= size
        self._total = total
        self._next_sweep = now + 3600

    _next_sweep = 0.0
