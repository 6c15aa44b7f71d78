"""Files with credentials, as other programs write them, read into records. Pure: bytes in, drafts and sentences out.

Known are the ancestor project's ``accounts.json`` (a list of OAuth tokens), Google's credential files
(https://google.aip.dev/auth: authorized_user, service_account, external_account), and our own exports.
A file that is cut off, empty or of another kind gets one sentence; one bad entry does not stop the others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from antigravity2api.credentials import Record, Sort, State
from antigravity2api.forms import LOCATION, PROJECT, UPSTREAMS, Form

LARGEST = 16 << 20
"""Bytes of a file that are read at most."""
EXPORT = "antigravity2api"
"""The key that marks an entry of ours; its value is the version of the form."""
_TOKEN = re.compile(r"[!-~]{1,8192}")
_MARKS = {"type", "private_key", "client_email", "refresh_token", "refreshToken", "access_token", "accessToken"}
_FEDERATED = ("external_account", "external_account_authorized_user", "impersonated_service_account")
_CLIENT = (
    "is an OAuth client and no credential: set ANTIGRAVITY_OAUTH_CLIENT_ID and ANTIGRAVITY_OAUTH_CLIENT_SECRET "
    "from it, then use `login`"
)
_NO_TOKENS = "holds no refresh_token, access_token or service-account key: add it anew with `login` or from its source"


_NEEDED = {
    Sort.API_KEY: ("key",),
    Sort.EXPRESS_KEY: ("key",),
    Sort.SERVICE_ACCOUNT: ("client_email", "private_key"),
    Sort.OAUTH_USER: ("refresh_token",),
    Sort.ACCESS_TOKEN: ("access_token",),
}
"""What a secret of each sort cannot do without."""


class Parsed(NamedTuple):
    """What a file held: drafts without ids, and a sentence for each thing that could not be used."""

    records: list[Record]
    problems: list[str]
    notes: list[str]
    """What the operator should know about what was read."""


class _Unusable(Exception):
    """An entry cannot be used; the message goes on after its name."""


def parse_credentials(
    text: bytes, upstream: str, *, now: float, name: str = "the file", path: str | None = None
) -> Parsed:
    """The credentials in a file for an upstream; our own exports name it themselves, and it may be empty for them.

    ``now`` is the wall clock in seconds, ``name`` how to call the file, ``path`` where it stays, if it does.

    Never raises for what is in the file, and never quotes it.
    """
    try:
        entries = _entries(_value(text))
    except _Unusable as error:
        return Parsed([], [f"{name} {error}."], [])
    parsed = Parsed([], [], [])
    for number, entry in enumerate(entries, 1):
        where = name if len(entries) == 1 else f"{name}: entry {number}"
        try:
            record, note = _record(entry, upstream, now, path)
        except _Unusable as error:
            parsed.problems.append(f"{where} {error}.")
            continue
        parsed.records.append(record)
        if note:
            parsed.notes.append(f"{where} {note}.")
    return parsed


# --- the file --------------------------------------------------------------------------------------------------------


def _value(text: bytes) -> Any:
    if not text.strip():
        raise _Unusable("is empty: it may have been cut off while it was written; copy it again from its source")
    if len(text) > LARGEST:
        raise _Unusable("is larger than 16 MB and no file of credentials")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Unusable("is not UTF-8 text: save it as UTF-8 (JSON has no other form), or copy it again") from None
    if "\0" in decoded:
        raise _Unusable("holds zero bytes: it is damaged or not UTF-8; copy it again from its source")
    if not decoded.strip():
        raise _Unusable("is empty: it may have been cut off while it was written; copy it again from its source")
    try:
        return json.loads(decoded)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        if error.pos >= len(decoded.rstrip()) or error.msg.startswith("Unterminated"):
            raise _Unusable(f"is cut off ({where}): copy it again from its source") from None
        raise _Unusable(f"is not JSON ({where}): it is damaged or another kind of file; copy it again") from None
    except (ValueError, RecursionError):
        raise _Unusable("is not JSON that credentials would be written in; copy it again from its source") from None


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        if "accounts" in value and not value.keys() & _MARKS:
            value = value["accounts"]
        elif not value:
            raise _Unusable("holds no credential")
        else:
            return [value]
    if not isinstance(value, list):
        raise _Unusable("holds no credential: a JSON object, or a list of them, was expected")
    if not value:
        raise _Unusable("holds an empty list: there is nothing to import")
    return value


# --- one entry -------------------------------------------------------------------------------------------------------


def _record(entry: Any, upstream: str, now: float, path: str | None) -> tuple[Record, str]:
    if not isinstance(entry, dict):
        raise _Unusable("is not a JSON object")
    if EXPORT in entry:
        return _exported(entry, upstream), ""
    if not upstream:
        raise _Unusable("does not say what it is for: name --upstream antigravity or --upstream vertex")
    if upstream == "gemini":
        raise _Unusable("is no Gemini API key: put the key alone into a file and use `credentials add`")
    if any(isinstance(entry.get(kind), dict) for kind in ("installed", "web")):
        raise _Unusable(_CLIENT)
    kind = entry.get("type")
    if kind == "service_account" or (kind is None and "private_key" in entry):
        return _service_account(entry, upstream)
    if kind in _FEDERATED:
        return _federated(upstream, path), "stays where it is: the gateway reads it again and again, so keep it there"
    if kind == "gdch_service_account":
        raise _Unusable("is a credential of Google Distributed Cloud, which has no such models")
    return _user(entry, upstream, now)


def _exported(entry: Mapping[str, Any], upstream: str) -> Record:
    """An entry of `credentials export`."""
    try:
        sort, secret = Sort(entry["sort"]), entry["secret"]
        made = Record(
            id="",
            upstream=str(entry["upstream"]),
            sort=sort,
            secret=secret,
            label=_words(entry.get("label")),
            project=_formed(PROJECT, entry.get("project")),
            location=_formed(LOCATION, entry.get("location")),
            enabled=_enabled(entry.get("enabled")),
            weight=int(entry.get("weight", 1)),
            priority=int(entry.get("priority", 0)),
        )
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _Unusable("is no whole export of this program") from None
    needed = _NEEDED.get(sort, ())
    fits = isinstance(secret, dict) and all(isinstance(secret.get(key), str) and secret[key] for key in needed)
    if not fits or (made.upstream == "gemini") is not (sort is Sort.API_KEY) or made.upstream not in UPSTREAMS:
        raise _Unusable("is no whole export of this program")
    if not 1 <= made.weight <= 100 or not -1000 <= made.priority <= 1000:
        raise _Unusable("is no whole export of this program")
    if upstream and made.upstream != upstream:
        raise _Unusable(f"is a credential of {made.upstream}: import it with --upstream {made.upstream}")
    return made


def _service_account(entry: Mapping[str, Any], upstream: str) -> tuple[Record, str]:
    key = entry.get("private_key")
    missing = [word for word in ("client_email", "private_key", "token_uri") if not isinstance(entry.get(word), str)]
    if missing:
        raise _Unusable(f"is a service account without {' and '.join(missing)}: download its key again")
    if not isinstance(key, str) or not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+-----END ", key, re.DOTALL):
        raise _Unusable("is a service account whose private_key is not whole: download its key again")
    secret: dict[str, Any] = dict(entry)
    note = ""
    if upstream == "antigravity":
        secret["project_unverified"] = True
        note = (
            "is a service account; Google serves Antigravity to users as a rule, and `credentials test` tells whether "
            "to this one. Its place is --upstream vertex"
        )
    project = _formed(PROJECT, entry.get("project_id"))
    label = _words(entry["client_email"])
    return Record(
        id="", upstream=upstream, sort=Sort.SERVICE_ACCOUNT, secret=secret, label=label, project=project
    ), note


def _federated(upstream: str, path: str | None) -> Record:
    if upstream != "vertex":
        raise _Unusable(f"is a federated credential, which {upstream} does not take: import it with --upstream vertex")
    if path is None:
        raise _Unusable("is a federated credential, which is read again and again: name its file")
    return Record(id="", upstream=upstream, sort=Sort.DEFAULT, secret={"file": path})


def _user(entry: Mapping[str, Any], upstream: str, now: float) -> tuple[Record, str]:
    """A user's tokens: one of the ancestor's accounts, an authorized_user, or what other programs cache."""
    refresh = _token(entry, "refresh_token", "refreshToken")
    access = _token(entry, "access_token", "accessToken")
    if refresh is None and access is None:
        raise _Unusable(_NO_TOKENS)
    expires = _expires(entry)
    dead = expires is not None and expires <= now
    if refresh is None and dead:
        raise _Unusable("has an access token that expired and no refresh token: use `login`")
    secret: dict[str, Any] = {}
    if refresh is not None:
        secret["refresh_token"] = refresh
    client = _token(entry, "client_id", "clientId")
    if client is not None and refresh is not None:
        secret["client_id"] = client
        client_secret = _token(entry, "client_secret", "clientSecret")
        if client_secret is not None:
            secret["client_secret"] = client_secret
    if access is not None:
        secret["access_token"] = access
        if expires is not None:
            secret["expires_at"] = expires
        elif refresh is not None:
            secret["expires_at"] = 0.0  # nobody can tell how old it is: it is renewed before its first use
    project, note = _project(entry)
    if upstream == "antigravity":
        secret["project_unverified"] = True
    made = Record(
        id="",
        upstream=upstream,
        sort=Sort.OAUTH_USER if refresh is not None else Sort.ACCESS_TOKEN,
        secret=secret,
        label=_words(entry.get("email") or entry.get("account")),
        project=project,
        enabled=_enabled(entry.get("enable", entry.get("enabled"))),
        state=State.READY,
    )
    if refresh is None:
        note = note or "has no refresh token: it serves until its access token expires"
    return made, note


def _project(entry: Mapping[str, Any]) -> tuple[str | None, str]:
    keys = ("projectId", "project_id", "project", "quota_project_id", "cloudaicompanionProject")
    given = next((entry[key] for key in keys if entry.get(key)), None)
    if given is None:
        return None, ""
    project = _formed(PROJECT, given)
    return project, "" if project else "has a project that cannot be one; it is left out and looked up instead"


def _expires(entry: Mapping[str, Any]) -> float | None:
    """When the access token dies, seconds of the wall clock, if the entry can tell."""
    issued, life = _number(entry.get("timestamp")), _number(entry.get("expires_in", entry.get("expiresIn")))
    if issued is not None and life is not None:
        return _seconds(issued) + life
    for key in ("expiry_date", "expires_at", "expiresAt"):
        moment = _number(entry.get(key))
        if moment is not None:
            return _seconds(moment)
    return None


def _seconds(moment: float) -> float:
    """A time since 1970 that is written in milliseconds, or in seconds."""
    return moment / 1000 if moment > 1e11 else moment


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number < 1e15 else None


def _token(entry: Mapping[str, Any], *names: str) -> str | None:
    value = next((entry[name] for name in names if entry.get(name) is not None), None)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value.strip()):
        raise _Unusable(f"has a {names[0]} that cannot be one: copy it again from its source")
    return value.strip()


def _enabled(value: Any) -> bool:
    """The ancestor's switch; where it is absent the account is used."""
    if isinstance(value, str):
        return value.strip().lower() not in ("false", "0", "no", "off")
    return value is None or bool(value)


def _formed(form: Form, value: Any) -> str | None:
    read: Callable[[str], Any] = form.read
    try:
        return str(read(value.strip())) if isinstance(value, str) else None
    except ValueError:
        return None


def _words(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:200] if character.isprintable()).strip()
