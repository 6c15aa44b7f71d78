"""How ``doctor`` looks at this machine: directory, disk, database, port, files with secrets. Nothing is changed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from antigravity2api.checks import Finding, Folder, Port, Stored, secret_file_finding
from antigravity2api.cli.peek import read_only
from antigravity2api.credentials import Record
from antigravity2api.settings import SETTINGS, Settings
from antigravity2api.settings_files import dotenv
from antigravity2api.store import database

_LIVE = b'{"status":"live"}'
_PATIENCE = 3.0
_LONGEST_CHECK = 8.0
"""Seconds for the database's own check; a large one is not read to its end."""
_LOOPBACK = ("127.0.0.1", "localhost")
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


# --- directory and disk ----------------------------------------------------------------------------------------------


def look_at_folder(path: Path) -> Folder:
    """The data directory; where it is missing, whether it could be made."""
    user = os.geteuid() if hasattr(os, "geteuid") else -1
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        parent = nearest(path)
        may = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        return Folder(str(path), None, user=user, writable=may, parent=str(parent))
    except OSError as error:
        return Folder(str(path), None, error=error.strerror or type(error).__name__)
    return Folder(
        str(path),
        found.st_mode,
        owner=found.st_uid,
        user=user,
        enterable=os.access(path, os.R_OK | os.X_OK),
        writable=os.access(path, os.W_OK),
    )


def nearest(path: Path) -> Path:
    """The path itself or the nearest one above it that is there."""
    for place in (path.absolute(), *path.absolute().parents):
        try:
            if place.exists():
                return place
        except OSError:
            continue
    return Path(path.absolute().anchor)


def look_at_room(path: Path) -> tuple[int, int | None]:
    """Free bytes below a path, and how many more files fit, if the file system tells."""
    place = nearest(path)
    free = shutil.disk_usage(place).free
    if not hasattr(os, "statvfs"):
        return free, None
    found = os.statvfs(place)
    return free, found.f_favail if found.f_files else None


# --- port ------------------------------------------------------------------------------------------------------------


def look_at_port(host: str, port: int) -> Port:
    """What is at an address: nothing, a gateway of ours, or another program."""
    if port == 0:
        return _try_to_bind(host, 0)
    body = _ask(host, port, "/health/live")
    if body is not None and body[1] == _LIVE:
        ready = _ask(host, port, "/health/ready")
        return Port.OURS if ready is not None and ready[0] == 200 else Port.NOT_READY
    return _try_to_bind(host, port)


def _ask(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    connection = HTTPConnection(_LOCAL.get(host, host), port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(1024)
    except (OSError, HTTPException, UnicodeError):
        return None
    finally:
        connection.close()


def _try_to_bind(host: str, port: int) -> Port:
    seen = _bound(host, port)
    if seen is Port.FREE and port and host in _LOOPBACK and _bound("::1", port) is Port.TAKEN:
        return Port.TAKEN  # `serve` wants both, since clients take `localhost` for either
    return seen


def _bound(host: str, port: int) -> Port:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return Port.UNKNOWN_NAME
    for family, kind, number, _, address in found:
        with socket.socket(family, kind, number) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as `serve` does; a listener is still seen
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind(address)
            except OSError as error:
                if seen := _BIND_ERRORS.get(error.errno or 0):
                    return seen
    return Port.FREE


_BIND_ERRORS = {
    errno.EADDRINUSE: Port.TAKEN,
    errno.EACCES: Port.DENIED,
    errno.EADDRNOTAVAIL: Port.FOREIGN,
}


def holder_of(port: int) -> str:
    """Which process of this user listens at a port, as far as Linux tells; else nothing."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(table):
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                sockets.add(f"socket:[{fields[9]}]")
    if not sockets:
        return ""
    for process in _names("/proc"):
        if process.isdigit() and any(
            _link(f"/proc/{process}/fd/{one}") in sockets for one in _names(f"/proc/{process}/fd")
        ):
            name = next(iter(_lines(f"/proc/{process}/comm")), "").strip()
            return f"{name}, process {process}" if name.isprintable() else f"process {process}"
    return ""


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""


# --- database --------------------------------------------------------------------------------------------------------


def look_at_database(url: str) -> tuple[str, Stored, str]:
    """The file of the database, how it is, and what was said about it."""
    try:
        path = database.database_path(url)
    except database.DatabaseError as error:
        return url.partition("://")[0], Stored.REFUSED, str(error)
    try:
        if not path.exists():
            return str(path), Stored.MISSING, ""
        if path.is_dir():
            return str(path), Stored.REFUSED, f"{path} is a directory."
        with path.open("rb"):
            pass
        with closing(read_only(path)) as connection:
            return str(path), *_examine(connection)
    except database.DatabaseRefused:
        return str(path), Stored.FOREIGN, ""
    except (sqlite3.Error, OSError) as error:
        return str(path), _trouble(error), getattr(error, "strerror", None) or str(error)


def _examine(connection: sqlite3.Connection) -> tuple[Stored, str]:
    version, known = database.version_of(connection), database.latest()
    if version > known:
        return Stored.NEWER, f"version {version}, this one knows up to {known}"
    end = time.monotonic() + _LONGEST_CHECK
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return Stored.BUSY, "it is large"
        raise
    if found != "ok":
        return Stored.DAMAGED, str(found).partition("\n")[0]
    return (Stored.OLDER if version < known else Stored.SOUND), ""


def _trouble(error: Exception) -> Stored:
    if database.is_damage(error):
        return Stored.DAMAGED
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Stored.BUSY
    return Stored.UNREADABLE


# --- files with secrets ----------------------------------------------------------------------------------------------


def look_at_secret_files(settings: Settings, environ: Mapping[str, str], cwd: Path) -> list[Finding]:
    """Files with secrets that other users of this machine can read."""
    made = []
    for path, what, refused in _secret_files(settings, environ, cwd):
        try:
            found = path.stat()
        except OSError:
            continue  # that a configured one is missing, reading the settings has said
        if os.name == "posix" and path.is_file():
            finding = secret_file_finding(str(path), found.st_mode, what, refused=refused)
            if finding is not None:
                made.append(finding)
    return made


def _secret_files(settings: Settings, environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[Path, str, bool]]:
    strict = not settings.open_secret_files
    yield settings.data_dir / "api_key", "The file with the client key", strict and not settings.api_key
    yield settings.data_dir / "secret.key", "The file with the key of the stored credentials", strict
    if settings.vertex_credentials is not None:
        yield settings.vertex_credentials, "The Google credentials file", False
    inline: set[Path] = set()
    for setting in SETTINGS:
        origin = settings.origins.get(setting.name, "default")
        if not setting.secret or origin == "default":
            continue
        pointer = _pointer(origin, settings, environ, cwd)
        if pointer is not None:
            yield pointer, f"The secret file of {origin.partition(' ')[0]},", False
        elif origin.endswith("(.env)"):
            inline.add(cwd / ".env")
        elif settings.config is not None and origin.endswith(f"({settings.config})"):
            inline.add(settings.config)
    for path in sorted(inline):
        yield path, "The configuration file with secrets in it,", False


def _pointer(origin: str, settings: Settings, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The file that a ``…_FILE`` names, from the words that tell where a value came from."""
    name, _, where = origin.partition(" (")
    if not name.lower().endswith("_file"):
        return None
    if where == "environment)":
        return cwd / Path(environ.get(name, "").strip()).expanduser()
    if where == ".env)":
        return cwd / Path(dotenv(cwd / ".env", []).get(name, "").strip()).expanduser()
    if settings.config is None:
        return None
    try:
        table = tomllib.loads(settings.config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return settings.config.parent / Path(str(table.get(name, ""))).expanduser()


def hidden_texts(settings: Settings, records: Sequence[Record]) -> list[str]:
    """Every secret that could get into a sentence, the longest first."""
    found: set[str] = set()
    for setting in SETTINGS:
        if setting.secret:
            value = getattr(settings, setting.name)
            found.update(value if isinstance(value, tuple) else [value] if isinstance(value, str) else [])
    found.update(settings.vertex_api_key)
    for record in records:
        found.update(value for key, value in record.secret.items() if isinstance(value, str) and key not in _PLAIN)
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)


_PLAIN = frozenset({"file", "type", "client_email", "email", "project_id", "token_uri", "auth_uri", "universe_domain"})
"""Parts of a credential's secret that are none."""
