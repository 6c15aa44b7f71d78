"""Generated images on disk: unguessable names, kept for a while, oldest out first.

Each image is one file ``{id}.{ext}`` and, when the model signed it, ``{id}.sig`` beside it, so that the image can go
back upstream as the part it was. The name is the key: who knows it may read it.

Several workers share one folder without a lock. Each may write a 256th of the limit before it lists the folder again,
and a listing leaves a sixteenth free for what others have written meanwhile: so sixteen workers stay within the limit.
There are never many more than ``_MOST_FILES`` files, so a listing takes some tens of milliseconds at most.
"""

from __future__ import annotations

import base64
import errno
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
_MOST_FILES = 8_192
_SPARE = 16
_SHARE = 256
_SWEEP_SECONDS = 3600.0


class DiskImages:
    """An ``ImageShelf`` in a folder. ``ttl`` in seconds, ``max_bytes`` over all files; 143 random bits per name."""

    def __init__(
        self, folder: Path, *, ttl: float = 7 * 86400, max_bytes: int = 2**30, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes_left = 0
        """How much may be written before the folder is listed again."""
        self._files_left = 0
        self._next_sweep = 0.0

    def put(self, data: bytes, mime_type: str, signature: str | None) -> str:
        """Write atomically and return the path to link. Raises OSError (no room) and KeyError for a foreign type."""
        extension = _EXTENSIONS[mime_type]
        if len(data) > self._max_bytes:
            raise OSError(errno.ENOSPC, "the image is larger than the room for images")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take(len(data) + len(signature or ""), 2 if signature else 1)
        identity = token62(24)
        if signature:
            self._write(f"{identity}.sig", signature.encode())
        self._write(f"{identity}.{extension}", data)
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

    def _take(self, size: int, files: int) -> None:
        """Take what will be written from our share; list the folder when the share is used up, or after an hour."""
        if self._bytes_left < size or self._files_left < files or self._clock() >= self._next_sweep:
            self._make_room(size, files)
        self._bytes_left -= size
        self._files_left -= files

    def _make_room(self, size: int, files: int) -> None:
        """Remove what is too old or too much beside what comes; see how much may be written until the next listing."""
        now = self._clock()
        found = []
        for entry in os.scandir(self._folder):
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another worker was quicker
                continue
            found.append((info.st_mtime, info.st_size, entry.path))
        found.sort()
        room = self._max_bytes - self._max_bytes // _SPARE - size - sum(each for _, each, _ in found)
        places = _MOST_FILES - files - len(found)
        for written, each, path in found:
            if written >= now - self._ttl and room >= 0 and places >= 0:
                break
            Path(path).unlink(missing_ok=True)
            room += each
            places += 1
        self._bytes_left = size + max(0, min(room // _SPARE, self._max_bytes // _SHARE))
        self._files_left = files + max(0, min(places // _SPARE, _MOST_FILES // _SHARE))
        self._next_sweep = now + _SWEEP_SECONDS
