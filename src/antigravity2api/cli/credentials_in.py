"""``credentials add`` and ``credentials import``: secrets come from files and stdin, never as arguments."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from antigravity2api.cli.common import print_json, refuse, say
from antigravity2api.cli.vaults import KINDS, Store, opened, put_in
from antigravity2api.credentials import Record, Sort
from antigravity2api.forms import KEYS
from antigravity2api.importing import EXPORT, LARGEST, Parsed, parse_credentials

if TYPE_CHECKING:
    from antigravity2api.settings import Settings

ANTIGRAVITY_OFF = (
    "the antigravity upstream stays off until ANTIGRAVITY2API_ANTIGRAVITY=on says that you read the terms warning: "
    "Google's terms do not allow third-party software to use that service, and accounts have been suspended for it."
)
NO_CLIENT = (
    "tokens of OAuth users are renewed with your own OAuth client, and none is configured: set "
    "ANTIGRAVITY_OAUTH_CLIENT_ID and ANTIGRAVITY_OAUTH_CLIENT_SECRET."
)
NOT_AS_ARGUMENT = (
    "a secret was given where the name of a file belongs, and other users may have seen it: put it into a file, or "
    "give it on stdin with `-`."
)
_KEY = re.compile(r"(AIza|AQ\.|ya29\.|1//|sk-)\S{8,}|\S*-----BEGIN|\s*\{")
"""What looks like a secret where the name of a file belongs."""


class _Done(NamedTuple):
    record: Record
    outcome: str
    """``added``, ``updated`` or ``there``."""


def add(options: argparse.Namespace) -> int:
    """Store a key or a Google credential."""
    drafts = _drafts(options)
    wanted = {name: getattr(options, name) for name in ("label", "project", "location", "weight", "priority")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if len(drafts.records) > 1 and options.label is not None:
        refuse(["--label names one credential, and the file holds several."])
    records = [dataclasses.replace(record, **wanted) for record in drafts.records]
    if drafts.problems:
        say(*(f"error: {text}" for text in drafts.problems))
        return 1
    with opened(options, make=True) as store:
        known = _configured_already(store, records)
        if known:
            say(*(f"error: {text}" for text in known))
            return 1
        done = _store(store, records)
    return _report(options, store.settings, done, drafts)


def _drafts(options: argparse.Namespace) -> Parsed:
    if options.upstream == "antigravity":
        refuse(
            ["an antigravity credential comes from `login`, or from `credentials import FILE --upstream antigravity`."]
        )
    if (options.adc or options.express_key_file) and options.upstream != "vertex":
        refuse([f"--adc and --express-key-file are for --upstream vertex, not for {options.upstream}."])
    if options.adc:
        return Parsed([Record(id="", upstream="vertex", sort=Sort.DEFAULT, secret={})], [], [])
    if options.express_key_file:
        return _keys(options.express_key_file, "vertex", Sort.EXPRESS_KEY)
    if options.upstream == "gemini":
        return _keys(options.key_file, "gemini", Sort.API_KEY)
    return _parsed(options.key_file, "vertex")


def _keys(name: str, upstream: str, sort: Sort) -> Parsed:
    text = _read(name).decode("utf-8-sig", "replace").strip()
    shown = _shown(name)
    try:
        keys: tuple[str, ...] = KEYS.read(text)
    except ValueError:
        what = "is empty" if not text else "is JSON and no key" if text.startswith(("{", "[")) else "holds no key"
        expected = "one key, or one a line, of printable ASCII without blanks"
        return Parsed([], [f"{shown} {what}: it takes {expected}."], [])
    return Parsed([Record(id="", upstream=upstream, sort=sort, secret={"key": key}) for key in keys], [], [])


def import_file(options: argparse.Namespace) -> int:
    """Store what a file of another program, or an export or a snapshot of ours, holds."""
    raw = _read(options.file)
    with opened(options, make=True) as store:
        parsed = _snapshot(store, raw, options) or _imported(raw, options)
        done = _store(store, parsed.records, keep=_is_snapshot(raw))
    return _report(options, store.settings, done, parsed)


def _imported(raw: bytes, options: argparse.Namespace) -> Parsed:
    if options.upstream is None and f'"{EXPORT}"'.encode() not in raw and raw.strip():
        refuse(["name what the file is for: --upstream antigravity or --upstream vertex."])
    return _parsed(options.file, options.upstream or "", raw)


def _parsed(name: str, upstream: str, raw: bytes | None = None) -> Parsed:
    path = None if name == "-" else str(Path(name).absolute())
    text = _read(name) if raw is None else raw
    return parse_credentials(text, upstream, now=time.time(), name=_shown(name), path=path)


def _is_snapshot(raw: bytes) -> bool:
    from antigravity2api.store.keep import MARK

    return raw.startswith(b"{") and MARK.encode() in raw[:200]


def _snapshot(store: Store, raw: bytes, options: argparse.Namespace) -> Parsed | None:
    """The credentials in a snapshot that lies beside a database; None for any other file."""
    if not _is_snapshot(raw):
        return None
    from antigravity2api.store.keep import SnapshotError, parse_snapshot

    shown = _shown(options.file)
    try:
        kept = parse_snapshot(raw)
    except SnapshotError as error:
        return Parsed([], [f"{shown} cannot be used: {error}."], [])
    found = store.vault.restore(kept)
    lost = kept.credentials - len(found)
    problems = [f"{shown}: {lost} credentials are encrypted with another key than ours."] if lost else []
    return Parsed([one for one in found if options.upstream in (None, one.upstream)], problems, [])


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(name: str) -> bytes:
    """The content of a file or of stdin; what cannot be read is wrong use."""
    if name == "-":
        return sys.stdin.buffer.read(LARGEST + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        if _KEY.match(name):
            refuse([NOT_AS_ARGUMENT])
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        refuse([f"cannot read {name[:200]}: {reason}."])


def _shown(name: str) -> str:
    return "stdin" if name == "-" else name


# --- storing ---------------------------------------------------------------------------------------------------------


def _configured_already(store: Store, records: list[Record]) -> list[str]:
    from antigravity2api.store.vault import is_same

    return [
        f"that credential is there already: {one.id}, from {store.source(one)}."
        for record in records
        for one in store.configured()
        if is_same(record, one)
    ]


def _store(store: Store, records: list[Record], *, keep: bool = False) -> list[_Done]:
    """Store them one by one; with ``keep`` what is there is newer and stays."""
    done = []
    for record in records:
        before = store.vault.find(record)
        if before is not None and keep:
            done.append(_Done(before, "there"))
            continue
        draft = record if keep and store.vault.get(record.id) is None else dataclasses.replace(record, id="")
        made = asyncio.run(put_in(store, draft))
        done.append(_Done(made, "added" if before is None else "updated"))
    return done


def _report(options: argparse.Namespace, settings: Settings, done: list[_Done], parsed: Parsed) -> int:
    notes = [*parsed.notes, *_remarks(settings, [one.record for one in done])]
    if options.json:
        rows = [_row(one) for one in done]
        print_json({"credentials": rows, "problems": parsed.problems, "notes": notes})
    else:
        for record, outcome in done:
            words = " ".join(filter(None, [KINDS[record.sort.value], record.label]))
            state = "" if record.enabled else ", disabled"
            print(f"{record.id}: {'is there already' if outcome == 'there' else outcome} ({words}{state})")
    say(*(f"note: {text}" for text in notes), *(f"error: {text}" for text in parsed.problems))
    if not done and not parsed.problems:
        say("There was nothing to store.")
    return 1 if parsed.problems else 0


def _row(done: _Done) -> dict[str, Any]:
    record = done.record
    return {
        "id": record.id,
        "upstream": record.upstream,
        "kind": record.sort.value,
        "label": record.label,
        "project": record.project,
        "enabled": record.enabled,
        "outcome": done.outcome,
    }


def _remarks(settings: Settings, records: list[Record]) -> list[str]:
    notes = []
    if any(record.upstream == "antigravity" for record in records) and not settings.antigravity:
        notes.append(ANTIGRAVITY_OFF)
    ours = [record for record in records if record.sort is Sort.OAUTH_USER and "client_id" not in record.secret]
    if ours and not settings.antigravity_oauth_client_id:
        notes.append(NO_CLIENT)
    if any(record.upstream == "vertex" and record.sort is not Sort.EXPRESS_KEY for record in records):
        lacking = [record.id for record in records if record.upstream == "vertex" and not record.project]
        if lacking and not settings.vertex_project:
            notes.append(
                f"{', '.join(lacking)} names no project: `credentials set ID --project`, or GOOGLE_CLOUD_PROJECT."
            )
    return notes
