"""How values are written in flags, the environment and files: one ``Form`` a kind of value. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

UPSTREAMS = ("gemini", "vertex", "antigravity")


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: ``read`` raises ValueError, ``expected`` says what would be right."""

    expected: str
    read: Callable[[str], Any]


_SIZES = {"": 1, "b": 1, "k": 2**10, "kb": 2**10, "kib": 2**10, "m": 2**20, "mb": 2**20, "mib": 2**20}
_SIZES |= {"g": 2**30, "gb": 2**30, "gib": 2**30}
_SPANS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII)
_WORDS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
_IMITATIONS = ("antigravity/", "geminicli/", "cloudcode")


def _quantity(units: Mapping[str, float]) -> Callable[[str], float]:
    def read(raw: str) -> float:
        match = _QUANTITY.fullmatch(raw.lower())
        if match is None or match[2] not in units:
            raise ValueError
        value = float(match[1]) * units[match[2]]
        if value <= 0:
            raise ValueError
        return value

    return read


def _switch(raw: str) -> bool:
    if (value := _WORDS.get(raw.lower())) is None:
        raise ValueError
    return value


def integer(low: int, high: int) -> Form:
    """A whole number within bounds."""

    def read(raw: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", raw, re.ASCII) or not low <= int(raw) <= high:
            raise ValueError
        return int(raw)

    return Form(f"a whole number from {low} to {high}", read)


def number(low: float, high: float) -> Form:
    """A decimal number within bounds."""

    def read(raw: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", raw, re.ASCII) or not low <= float(raw) <= high:
            raise ValueError
        return float(raw)

    return Form(f"a number from {low:g} to {high:g}", read)


def choice(*words: str) -> Form:
    """One of a few words."""

    def read(raw: str) -> str:
        if raw.lower() not in words:
            raise ValueError
        return raw.lower()

    return Form(" or ".join(f"`{word}`" for word in words), read)


def _items(raw: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stripped for item in re.split(r"[,\n]", raw) if (stripped := item.strip())))


def _keys(raw: str) -> tuple[str, ...]:
    if not (items := _items(raw)) or any(not re.fullmatch(r"[!-~]{1,512}", item) for item in items):
        raise ValueError
    return items


def _key(raw: str) -> str:
    if not re.fullmatch(r"[!-~]{1,8192}", raw):
        raise ValueError
    return raw


def _upstreams(raw: str) -> tuple[str, ...]:
    if not (items := _items(raw.lower())) or not set(items) <= set(UPSTREAMS):
        raise ValueError
    return items


_SEGMENT = r"(?!\.{1,2}(?:[/=\s]|$))[A-Za-z0-9._-]{1,128}"
_MODEL = rf"((?:models/|tunedModels/|publishers/{_SEGMENT}/models/)?{_SEGMENT})"


def _aliases(raw: str) -> dict[str, str]:
    pairs = [re.fullmatch(rf"{_MODEL}\s*=\s*{_MODEL}", item) for item in _items(raw)]
    if not all(pairs):
        raise ValueError
    return {pair[1]: pair[2] for pair in pairs if pair}


def _url(*schemes: str) -> Form:
    def read(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not parts.hostname or not raw.isascii() or re.search(r"[\s\\]", raw):
            raise ValueError
        if "@" in parts.netloc or parts.query or parts.fragment or parts.port == 0:
            raise ValueError
        return raw.rstrip("/")

    return Form("a URL such as https://host or http://host:port/path, without user, query or fragment", read)


def _proxy(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[!-\[\]-~]+", raw):
        raise ValueError
    if parts.path not in ("", "/") or "?" in raw or "#" in raw or parts.port == 0:
        raise ValueError
    # RFC 7617: no colon in the user's name, no control characters in either.
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in user or not (user + password).isprintable():
        raise ValueError
    return raw.rstrip("/")


def _store_url(*schemes: str) -> Callable[[str], str]:
    def read(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or re.search(r"\s", raw):
            raise ValueError
        if parts.scheme == "sqlite" and (parts.netloc or len(parts.path) < 2):
            raise ValueError
        if parts.scheme in ("redis", "rediss", "postgresql", "postgres") and (not parts.hostname or parts.port == 0):
            raise ValueError
        return raw

    return read


def _host(raw: str) -> str:
    bare = raw[1:-1] if raw.startswith("[") and raw.endswith("]") else raw
    if re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", bare):
        return bare
    return str(ipaddress.ip_address(bare))


def matching(pattern: str, expected: str) -> Form:
    """Text that a pattern fits whole."""

    def read(raw: str) -> str:
        if not re.fullmatch(pattern, raw):
            raise ValueError
        return raw

    return Form(expected, read)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://").match


def without_secrets(raw: str) -> str:
    """A text that may be a URL as it may be quoted: no user, no password, no query. Nothing is parsed: it is wrong."""
    before, at, after = raw.rpartition("@")
    scheme = _SCHEME(raw)
    start = scheme[0] if scheme else ""
    if at and re.search("[:/]", before):
        raw = f"{start}***@{after}"
    path, mark, _ = raw.partition("?")
    return f"{path}?***" if mark and scheme else raw


def _path(raw: str) -> Path:
    if "\0" in raw:
        raise ValueError
    try:
        return Path(raw).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError from error


def _user_agent(raw: str) -> str:
    # We never pass for another client: the vendor's own product names may not open the string.
    if not re.fullmatch(r"[!-~]([ -~]{0,254}[!-~])?", raw) or raw.lower().startswith(_IMITATIONS):
        raise ValueError
    return raw


TEXT = Form("text", str)
PATH = Form("a path", _path)
SWITCH = Form("`on` or `off`", _switch)
SECONDS = Form("seconds, more than 0, such as 30 or 1.5 (also 90s, 5m, 2h, 7d)", _quantity(_SPANS))
SIZE = Form("bytes, or a size such as 32MB or 1 GB (1 KB is 1024 bytes)", lambda raw: int(_quantity(_SIZES)(raw)))
HOST = Form("an IP address or a host name", _host)
KEYS = Form("one or more keys, comma separated, of printable ASCII without blanks", _keys)
KEY = Form("printable ASCII without blanks", _key)
SECRET = matching(
    r"[!-~]{16,8192}",
    "a key: 16 or more characters of printable ASCII without blanks, best random ones (`openssl rand -base64 32`)",
)
WEB = _url("http", "https")
PROXY = Form("http://host:port or http://user:password@host:port, special characters percent-encoded", _proxy)
DATABASE = Form("sqlite:///path or postgresql://user@host/name", _store_url("sqlite", "postgresql", "postgres"))
REDIS = Form("redis://host:port/number or rediss://…", _store_url("redis", "rediss"))
PROJECT = matching(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", "a project id of letters, digits and `-`")
LOCATION = matching(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", "a location such as global, eu or europe-west4")
AGENT = Form("printable ASCII that does not pass for another client (antigravity/, GeminiCLI/, CloudCode)", _user_agent)
ORDER = Form(f"some of {', '.join(UPSTREAMS)}, comma separated, first choice first", _upstreams)
ALIASES = Form("alias=model pairs, comma separated (in the TOML file: a table [aliases])", _aliases)
