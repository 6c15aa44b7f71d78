"""``credentials``: what the upstreams are asked with. Every verb may be used while the gateway runs.

No secret is taken as an argument (other users see those) and none is shown, except by ``export``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from antigravity2api.cli import credentials_in, credentials_out
from antigravity2api.cli.common import add_json, parser, print_json, print_table, refuse, say, written
from antigravity2api.cli.vaults import KINDS, chosen, opened, rows_of
from antigravity2api.credentials import NAMED, UNCHECKED, Record, Sort, State
from antigravity2api.forms import LOCATION, PROJECT, TEXT, UPSTREAMS, integer

WEIGHT = integer(1, 100)
PRIORITY = integer(-1000, 1000)
Verb = Callable[[argparse.Namespace], int]


def run(arguments: list[str]) -> int:
    """Run one of the verbs."""
    options = parser("credentials")
    verbs = options.add_subparsers(dest="verb", metavar="VERB", required=True)
    made = _parsers(verbs)
    for verb in made.values():
        verb.add_argument("--config", metavar="FILE", help="the TOML file")
        verb.add_argument("--data-dir", metavar="DIR", help="where keys, images and the database live")
        add_json(verb)
    parsed = options.parse_args(arguments)
    does: dict[str, Verb] = {
        "list": _list,
        "add": credentials_in.add,
        "import": credentials_in.import_file,
        "test": credentials_out.test,
        "quota": credentials_out.quota,
        "enable": _enable,
        "disable": _disable,
        "set": _set,
        "remove": _remove,
        "rotate-key": credentials_out.rotate_key,
        "export": credentials_out.export,
    }
    return does[parsed.verb](parsed)


def _parsers(verbs: Any) -> dict[str, argparse.ArgumentParser]:
    def verb(name: str, about: str, ids: str | None = None) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        if ids is not None:
            one.add_argument("ids", nargs=ids, metavar="ID", help="as `credentials list` shows it")
        return one

    made = {
        "list": verb("list", "show all credentials, those of the configuration too"),
        "add": verb("add", "store a key or a Google credential"),
        "import": verb("import", "store what a file of another program holds"),
        "test": verb("test", "ask the upstream whether a credential works; spends no generation", "*"),
        "quota": verb("quota", "show what is left of the quota, where the upstream tells", "*"),
        "enable": verb("enable", "use a credential again", "+"),
        "disable": verb("disable", "use a credential no more, but keep it", "+"),
        "set": verb("set", "change how a credential is used"),
        "remove": verb("remove", "forget a credential", "+"),
        "rotate-key": verb("rotate-key", "encrypt everything that is stored with another key"),
        "export": verb("export", "print credentials with their secrets, in a form that `import` reads", "+"),
    }
    _inputs(made["add"], made["import"])
    made["set"].add_argument("id", metavar="ID", help="as `credentials list` shows it")
    made["remove"].add_argument("--yes", action="store_true", help="do not ask")
    made["export"].add_argument("--yes", action="store_true", help="yes, print secrets")
    made["rotate-key"].add_argument("--new-key-file", metavar="FILE", help="the new key; a random one without it")
    for one in (made["add"], made["set"]):
        one.add_argument("--label", type=written(TEXT), metavar="TEXT", help="a name for people")
        one.add_argument("--weight", type=written(WEIGHT), metavar="N", help="its share of the requests, 1 to 100")
        one.add_argument("--priority", type=written(PRIORITY), metavar="N", help="lower ones are asked first")
        one.add_argument("--project", type=written(PROJECT), metavar="ID", help="the Google Cloud project")
        one.add_argument("--location", type=written(LOCATION), metavar="NAME", help="the location for Vertex AI")
    return made


def _inputs(add: argparse.ArgumentParser, imported: argparse.ArgumentParser) -> None:
    add.add_argument("--upstream", choices=UPSTREAMS, required=True, help="where it is for")
    source = add.add_mutually_exclusive_group(required=True)
    source.add_argument("--key-file", metavar="FILE", help="a Gemini API key, or a Google JSON for vertex; - is stdin")
    source.add_argument("--express-key-file", metavar="FILE", help="an express-mode API key of Vertex AI; - is stdin")
    source.add_argument("--adc", action="store_true", help="this machine's application default credentials (vertex)")
    imported.add_argument(
        "file", metavar="FILE", help="accounts.json, authorized_user or service-account JSON; - is stdin"
    )
    imported.add_argument("--upstream", choices=UPSTREAMS, help="where it is for; our own exports say it themselves")


# --- verbs -----------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    with opened(options) as store:
        rows = rows_of(store, store.everything())
        problems = store.vault.unreadable()
    if options.json:
        print_json({"credentials": rows, "problems": list(problems.values())})
    elif rows:
        head = ["ID", "UPSTREAM", "KIND", "ACCOUNT", "STATE", "PROJECT", "SOURCE", "CHANGED"]
        print_table(head, [_cells(row) for row in rows])
        for row in rows:
            if row["message"]:
                print(f"{row['id']}: {row['message']}")
    elif not problems:
        say(
            "There are no credentials yet: `antigravity2api credentials add --upstream gemini --key-file FILE`, or set "
            "GEMINI_API_KEY."
        )
    say(*(f"error: {text}" for text in problems.values()))
    return 1 if problems else 0


def _cells(row: dict[str, Any]) -> list[str]:
    state = f"{row['words']}: {row['link']}" if row["link"] else row["words"]
    changed = row["changed"] or ""
    return [
        row["id"],
        row["upstream"],
        KINDS[row["kind"]],
        row["label"],
        state,
        f"{row['project'] or ''}{'' if row['project_checked'] else ' (unchecked)'}",
        row["source"],
        changed,
    ]


def _enable(options: argparse.Namespace) -> int:
    return _changed(options, lambda record: {"enabled": True, **_asked_again(record)})


def _asked_again(record: Record) -> dict[str, Any]:
    """The operator's word that something was mended; what only a login mends stays as it is."""
    needs_login = record.state is State.NEEDS_LOGIN and record.sort is Sort.OAUTH_USER
    if record.state is State.READY or needs_login:
        return {}
    return {"state": State.READY, "message": "", "link": ""}


def _disable(options: argparse.Namespace) -> int:
    return _changed(options, lambda _: {"enabled": False})


def _set(options: argparse.Namespace) -> int:
    names = ("label", "weight", "priority", "project", "location")
    wanted = {name: value for name in names if (value := getattr(options, name)) is not None}
    if not wanted:
        refuse(["say what to change: --label, --weight, --priority, --project or --location."])
    options.ids = [options.id]

    def fields(record: Any) -> dict[str, Any]:
        if "project" not in wanted or wanted["project"] == record.project:
            return wanted
        more: dict[str, Any] = {}
        if record.upstream == "antigravity":
            more["secret"] = {UNCHECKED: NAMED}  # looked at before its first use, as any other
        if record.state is State.NO_PROJECT:
            more |= {"state": State.READY, "message": "", "link": ""}
        return {**wanted, **more}

    return _changed(options, fields)


def _changed(options: argparse.Namespace, fields: Callable[[Any], dict[str, Any]]) -> int:
    with opened(options) as store:
        made = [store.vault.change(record.id, **fields(record)) for record in chosen(store, options.ids, stored=True)]
        rows = rows_of(store, made)
    if options.json:
        print_json({"credentials": rows})
    else:
        for row in rows:
            print(f"{row['id']}: {row['words']}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    with opened(options) as store:
        hidden = store.vault.unreadable()
        wanted = list(dict.fromkeys(options.ids))
        chosen(store, [identity for identity in wanted if identity not in hidden], stored=True)
        if not options.yes and sys.stdin.isatty() and not _agreed(wanted):
            return 1
        gone = [identity for identity in wanted if store.vault.remove(identity)]
    if options.json:
        print_json({"removed": gone})
    else:
        for identity in gone:
            print(f"{identity}: removed")
    return 0


def _agreed(ids: list[str]) -> bool:
    names = ", ".join(ids)
    sys.stderr.write(f"Forget {names}? This cannot be undone. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
