"""``logs list`` and ``logs show ID``: what happened to a request, with every change and its reason."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from antigravity2api.changes import explained, loosened
from antigravity2api.cli.common import add_json, parser, print_json, print_table, refuse, say, settings_from, written
from antigravity2api.forms import integer
from antigravity2api.telemetry import clean

_WIDEST = 100_000


def run(arguments: list[str]) -> int:
    """List finished requests, or show one."""
    options = parser("logs")
    verbs = options.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="the last requests, newest first", allow_abbrev=False)
    listed.add_argument("--last", type=written(integer(1, _WIDEST)), default=20, metavar="N", help="how many (20)")
    listed.add_argument("--all", action="store_true", help="also what asked no model: lists, metrics, health checks")
    listed.add_argument("--failed", action="store_true", help="only those that failed or were refused")
    listed.add_argument("--changed", action="store_true", help="only those with something changed or dropped")
    listed.add_argument("--model", metavar="NAME", help="only for this model, by either of its names")
    shown = verbs.add_parser("show", help="one request, in full", allow_abbrev=False)
    shown.add_argument("id", metavar="ID", help="the x-request-id of its answer")
    for verb in (listed, shown):
        verb.add_argument("--config", metavar="FILE", help="the TOML file")
        verb.add_argument("--data-dir", metavar="DIR", help="where keys, images and the database live")
        add_json(verb)
    parsed = options.parse_args(arguments)
    directory = settings_from(parsed).data_dir / "logs"
    return {"list": _list, "show": _show}[parsed.verb](parsed, directory)


def _list(options: argparse.Namespace, directory: Path) -> int:
    from antigravity2api.journal import requests

    lines = list(islice(_wanted(options, requests(directory)), options.last))
    if options.json:
        print_json(lines)
        return 0
    if not lines:
        say(f"No request is on record in {directory}.")
        return 0
    print_table(
        ["TIME", "ID", "STATUS", "MODEL", "UPSTREAM", "CREDENTIAL", "TRIES", "MS", "CHANGED"],
        [
            [
                clean(str(line.get(name, "")))
                for name in ("ts", "id", "status", "model", "upstream", "credential", "attempts", "ms", "applied")
            ]
            for line in lines
        ],
    )
    return 0


def _wanted(options: argparse.Namespace, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not options.all and line.get("method") != "POST":
            continue
        if options.failed and line.get("outcome") == "ok" and int(line.get("status", 0)) < 400:
            continue
        if options.changed and not line.get("applied"):
            continue
        if options.model and options.model not in (line.get("model"), line.get("asked")):
            continue
        yield line


def _show(options: argparse.Namespace, directory: Path) -> int:
    from antigravity2api.journal import bodies, requests

    line = next((line for line in requests(directory) if line.get("id") == options.id), None)
    try:
        kept = bodies(directory, options.id)
    except (OSError, ValueError, EOFError) as error:
        refuse([f"what was captured of {clean(options.id)} cannot be read: {error}."])
    if line is None and kept is None:
        say(
            f"No request {clean(options.id)} is on record in {directory}.",
            "The id is the x-request-id of the answer. `logs_ttl` and `logs_max_bytes` say how long requests are kept.",
        )
        return 1
    changes = [note.strip() for note in str((line or {}).get("applied", "")).split(", ") if note.strip()]
    reasons = [{"note": note, "why": explained(note)} for note in changes]
    schemas: dict[str, list[str]] = (line or {}).get("loosened") or {}
    reasons += [{"note": f"schema of {whose}", "why": loosened(whose, words)} for whose, words in schemas.items()]
    if options.json:
        print_json({"request": line, "changes": reasons, "bodies": kept})
        return 0
    _print(line or {}, reasons, kept)
    return 0


def _print(line: dict[str, Any], reasons: list[dict[str, str]], kept: dict[str, Any] | None) -> None:
    for name, value in line.items():
        if name not in ("level", "event", "applied", "loosened", "tries"):
            print(f"{name:<18}{clean(str(value))}")
    tries = line.get("tries") or []
    for number, attempt in enumerate(tries, 1):
        words = ", ".join(f"{name} {clean(str(value))}" for name, value in attempt.items() if value not in ("", None))
        print(f"{'try ' + str(number):<18}{words}")
    for reason in reasons:
        print(f"{'changed':<18}{clean(reason['note'])}: {clean(reason['why'])}.")
    if kept is None:
        say("", "Bodies were not kept: ANTIGRAVITY2API_CAPTURE=on keeps those of later requests.")
        return
    _section("what the client sent", kept["client_sent"])
    for number, attempt in enumerate(kept["upstream"], 1):
        _section(f"try {number}: what went to {attempt['upstream']} with {attempt['credential']}", attempt["sent"])
        _section(f"try {number}: what came back", {**attempt["got"], "trouble": attempt.get("trouble")})
    _section("what the client got", kept["client_got"])


def _section(title: str, value: dict[str, Any]) -> None:
    print(f"\n== {title}")
    for name, item in value.items():
        if item in (None, "", {}):
            continue
        text = item if isinstance(item, str) else json.dumps(item, indent=2, ensure_ascii=False)
        print(f"{name}: {_harmless(text)}")


def _harmless(text: str) -> str:
    """Text with its lines, without what would move a terminal's cursor."""
    return "\n".join(
        "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in row)
        for row in text.splitlines()
    )
