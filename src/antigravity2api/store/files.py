"""Small private files that are old or new after a crash, never half of both."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file (0600) so that a crash at any moment leaves what was there or all of ``content``. Raises OSError.

    One process at a time: the draft has one name, so that a killed process leaves no more than one behind.
    """
    draft = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory outlive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # some systems and file systems take no directory here
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_to_others(found: os.stat_result) -> bool:
    """Whether other users of this machine may read a file."""
    return os.name == "posix" and bool(found.st_mode & 0o077)
