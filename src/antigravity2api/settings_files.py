"""The files that settings come from: ``.env``, secrets, Google's credentials. What is wrong is told in words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from antigravity2api.forms import PATH, without_secrets

_LINE = re.compile(
    r"""(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|([^#'"\s][^#]*?|[^\s#]\S*)?)\s*(?:\#.*)?""",
    re.ASCII,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def is_there(path: Path) -> bool:
    """Whether there is such a file, as far as this user may see: a directory that is closed to him has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    """``NAME=value`` lines; blank lines, comments, ``export`` and quotes as shells write them; no expansion."""
    text = read_text(path, f"{path}", problems) if is_there(path) else ""
    values: dict[str, str] = {}
    for row, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        if (match := _LINE.fullmatch(line)) is None:
            # The line is not quoted: it may hold a secret.
            problems.append(f"{path}:{row}: not NAME=value.")
            continue
        name, single, double, bare = match.groups()
        if double is not None:
            double = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), double)
        values[name] = single if single is not None else double if double is not None else bare or ""
    return values


def as_text(name: str, value: object) -> str | None:
    """A TOML value in the words that the environment would use; None for what does not fit."""
    match value:
        case str():
            return value
        case bool():
            return "on" if value else "off"
        case int() | float():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case dict() if name == "aliases" and all(isinstance(item, str) for item in value.values()):
            return ",".join(f"{alias}={model}" for alias, model in value.items())
    return None


def read_text(path: Path, where: str, problems: list[str]) -> str:
    """A small text file; empty where it cannot be read, which joins ``problems``."""
    shown = without_secrets(str(path))  # somebody may have put the secret itself where its place belongs
    start = "" if where == str(path) else f"{where}: "
    try:
        if path.stat().st_size > 2**20:
            problems.append(f"{start}{shown} is larger than 1 MB.")
            return ""
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(f"{start}cannot read {shown}: {error.strerror}.")
    except UnicodeDecodeError:
        problems.append(f"{start}{shown} is not UTF-8.")
    return ""


def secret_file(base: Path, pointer: str, where: str, problems: list[str]) -> str:
    """What a ``…_FILE`` setting points to."""
    try:
        path = base / PATH.read(pointer)
    except ValueError:
        problems.append(f"{where}: {without_secrets(pointer)[:200]!r} is not a path.")
        return ""
    count = len(problems)
    text = read_text(path, where, problems).strip()
    if not text and len(problems) == count:
        problems.append(f"{where}: {path} is empty.")
    return text


def credentials_file(path: Path) -> dict[str, Any]:
    """A Google credentials file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes()[: 2**20])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
