"""Locks between processes that the event loop can wait for: files on this machine, let go by a process that dies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

if sys.platform != "win32":
    import errno
    import fcntl

    _BUSY = frozenset({errno.EACCES, errno.EAGAIN})

_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}").fullmatch
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.15


class Busy(Exception):
    """Another process kept the lock for too long."""


@contextlib.asynccontextmanager
async def locked(folder: Path, name: str, *, limit: float) -> AsyncIterator[bool]:
    """Hold the lock of that name; True while it is held, False where there are no locks (a read-only directory, a file
    system or a platform without them): then only this process's own order counts. Raises ``Busy`` after ``limit``
    seconds."""
    handle = _open(folder, name)
    if handle is None:
        yield False
        return
    try:
        yield await _acquire(handle, limit)
    finally:
        os.close(handle)  # which lets go of it


def _open(folder: Path, name: str) -> int | None:
    if sys.platform == "win32":
        return None
    file = name if _SAFE(name) else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


async def _acquire(handle: int, limit: float) -> bool:
    """Ask again and again, because waiting in the system call would stop the loop."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limit
    pause = _FIRST_PAUSE
    while True:
        try:
            if not _try(handle):
                raise Busy
            return True
        except Busy:
            if loop.time() + pause > until:
                raise
        except OSError:
            return False
        await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - no secret
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _try(handle: int) -> bool:
    """Whether the lock is ours now. Raises ``OSError`` where files cannot be locked."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True
