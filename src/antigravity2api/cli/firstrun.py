"""What a first start makes: the data directory and one random client key."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from pathlib import Path

from antigravity2api.cli.common import refuse, say
from antigravity2api.ids import token62
from antigravity2api.settings import Settings


def make_data_dir(path: Path) -> None:
    """Make the data directory, for its owner alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        private = not _open_to_others(found)
        # A shared place such as /tmp (sticky) or somebody else's volume is not ours to close.
        if not private and found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
            path.chmod(0o700)
        elif not private:
            say(f"warning: {path} can be entered by other users of this machine.")
        if not os.access(path, os.W_OK | os.X_OK):
            refuse([f"the data directory {path} cannot be written to; choose another with --data-dir."])
    except OSError as error:
        refuse([f"cannot use the data directory {path}: {error.strerror}; choose another with --data-dir."])


def _open_to_others(found: os.stat_result) -> bool:
    return os.name == "posix" and bool(found.st_mode & 0o077)


def refuse_open_key(settings: Settings) -> None:
    """What is encrypted is no secret while the key beside it is none: no start until that is mended."""
    path = settings.data_dir / "secret.key"
    try:
        opened = _open_to_others(path.stat())
    except OSError:  # none there, or out of reach, which is told where it is needed
        return
    if opened and not settings.open_secret_files:
        advice = "chmod 600 it; ANTIGRAVITY2API_OPEN_SECRET_FILES=on starts all the same"
        refuse([f"{path} can be read by other users of this machine: {advice}."])


def with_first_key(settings: Settings) -> Settings:
    """The settings with a key in them: the one that an earlier start made, or a new one, shown this once."""
    path = settings.data_dir / "api_key"
    try:
        key = _make(path)
        if key is None:
            key = _kept(path, open_to_others=settings.open_secret_files)
            say(f"API key: the one in {path}.")
        else:
            say(f"A first API key was made: {key}", f"It is shown this once, and kept in {path}.")
    except OSError as error:
        refuse([f"cannot use {path}: {error.strerror}."])
    return dataclasses.replace(settings, api_key=(key,), origins={**settings.origins, "api_key": str(path)})


def _make(path: Path) -> str | None:
    """A new key in a new file, or None when there is one already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return None
    key = "sk-" + token62(43)  # 256 bits
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(descriptor)
    return key


def _kept(path: Path, *, open_to_others: bool) -> str:
    if _open_to_others(path.stat()) and not open_to_others:
        advice = "chmod 600 it, or remove it to get a new key; ANTIGRAVITY2API_OPEN_SECRET_FILES=on starts all the same"
        refuse([f"{path} can be read by other users of this machine: {advice}."])
    key = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[!-+\--~]{16,512}", key):
        refuse([f"{path} does not hold a key; remove it, and the next start makes a new one."])
    return key
