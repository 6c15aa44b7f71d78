"""``models``: what can be used now, by the model table and by what the upstreams said when they were last asked."""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antigravity2api.cli.common import add_json, parser, print_json, print_table, say
from antigravity2api.cli.vaults import Store, opened, when
from antigravity2api.credentials import Record

if TYPE_CHECKING:
    from antigravity2api.gemini.live_models import LiveList
    from antigravity2api.gemini.models import ModelEntry, ModelTable
    from antigravity2api.upstreams.base import Upstream


def run(arguments: list[str]) -> int:
    """List the models, or explain who serves one."""
    options = parser("models", flags=("config", "data_dir"))
    what = options.add_mutually_exclusive_group()
    what.add_argument("--explain", metavar="NAME", help="tell who would serve a model now, and why not the others")
    what.add_argument("--all", action="store_true", help="list what no configured upstream has, too")
    options.add_argument("--live", action="store_true", help="ask the upstreams for their models now")
    options.add_argument("--sandbox", action="store_true", help="list the sandbox's fault models too")
    add_json(options)
    parsed = options.parse_args(arguments)
    with opened(parsed) as store:
        view = look(store)
        troubles = _ask_now(store, view) if parsed.live else {}
        if parsed.explain is not None:
            from antigravity2api.cli.models_explain import explain

            explain(store, view, parsed.explain, json=parsed.json)
        else:
            _print(view, parsed, troubles)
        return 1 if troubles else 0


@dataclass(frozen=True, slots=True)
class View:
    """What a gateway with these settings would know."""

    table: ModelTable
    upstreams: Mapping[str, Upstream]
    """Those that the settings allow, in the operator's order."""
    records: Mapping[str, list[Record]]
    """The credentials of each; an upstream without any is not there."""
    lists: dict[str, LiveList]

    @property
    def names(self) -> tuple[str, ...]:
        """The upstreams that have a credential, in order."""
        return tuple(name for name in self.upstreams if name in self.records)


def look(store: Store) -> View:
    """The table, the upstreams, their credentials, and the lists that were kept."""
    from antigravity2api.gemini.models import ModelTable
    from antigravity2api.model_lists import kept_list
    from antigravity2api.server.accounts import upstreams_of
    from antigravity2api.store.database import database_path

    table = ModelTable.load(store.settings.aliases)
    upstreams = upstreams_of(store.settings, table)
    records: dict[str, list[Record]] = {}
    for record in store.everything():
        if record.upstream in upstreams:
            records.setdefault(record.upstream, []).append(record)
    cache = _File(database_path(store.settings.database_url))
    now = time.time()
    kept = [kept_list(cache, upstream, now) for name, upstream in upstreams.items() if name in records]
    return View(table, upstreams, records, {found.upstream: found for found in kept if found is not None})


class _File:
    """The database as a command uses it: read as it is, written only where it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row, or None."""
        from antigravity2api.cli.peek import read_only

        if not self._path.is_file():
            return None
        try:
            with closing(read_only(self._path)) as connection:
                found: tuple[Any, ...] | None = connection.execute(sql, parameters).fetchone()
                return found
        except sqlite3.Error:
            return None  # a database of an older version has no such table; `doctor` looks into the rest

    def write(self, sql: str, parameters: Sequence[Any], size: int = 0) -> None:
        """Remember it for the gateway, if it can be: it is a cache."""
        from antigravity2api.store.database import DatabaseError, connect_known

        if not self._path.is_file():
            return
        try:
            with closing(connect_known(self._path, busy=2.0)) as connection:
                connection.execute(sql, parameters)
        except (sqlite3.Error, DatabaseError) as error:
            say(f"warning: the list was not kept: {error}")


# -- asking ------------------------------------------------------------------------------------------------------------


def _ask_now(store: Store, view: View) -> dict[str, str]:
    """Ask every upstream, with the first credential that it accepts; what went wrong, by upstream."""
    import asyncio

    from antigravity2api.gemini.live_models import to_bytes
    from antigravity2api.model_lists import FORGET, WRITE
    from antigravity2api.store.database import database_path

    troubles: dict[str, str] = {}
    cache = _File(database_path(store.settings.database_url))
    for name in view.names:
        found = asyncio.run(_asked(store, view.upstreams[name], view.records[name]))
        if isinstance(found, str):
            troubles[name] = found
            say(f"error: {name} could not be asked for its models: {found}")
            continue
        view.lists[name] = found
        cache.write(WRITE, (name, found.credential, found.fetched, to_bytes(found)))
        cache.write(FORGET, (name, found.credential))
    return troubles


async def _asked(store: Store, upstream: Upstream, records: Sequence[Record]) -> LiveList | str:
    """The upstream's list, or why the last credential did not get it."""
    from antigravity2api.errors import Fault
    from antigravity2api.gemini.call import Credential
    from antigravity2api.model_lists import ask
    from antigravity2api.probe import with_credential
    from antigravity2api.upstreams.base import Transport

    async def read(transport: Transport, credential: Credential) -> LiveList:
        return await ask(transport, upstream, credential, agent=store.settings.user_agent, wall=time.time)

    said = "every credential is switched off"
    for record in (record for record in records if record.enabled):
        try:
            return await with_credential(store.settings, record, read)
        except Fault as fault:
            said = f"{record.id}: {fault.message}"
        except OSError as error:
            said = f"{record.id}: {error}"
    return said


# -- printing ----------------------------------------------------------------------------------------------------------


def _print(view: View, options: argparse.Namespace, troubles: Mapping[str, str]) -> None:
    rows = [_row(view, entry) for entry in _entries(view, everything=options.all)]
    lists = [list_row(view, name) | {"error": troubles.get(name)} for name in view.names]
    faults = _faults() if options.sandbox else []
    if options.json:
        print_json({"models": rows, "lists": lists} | ({"faults": faults} if options.sandbox else {}))
        return
    columns = ("id", "kind", "input_limit", "output_limit", "surfaces", "source", "alias_of")
    print_table(
        ["MODEL", "KIND", "INPUT", "OUTPUT", "WHERE", "SOURCE", "ALIAS OF"],
        [[_cell(row[key]) for key in columns] for row in rows],
    )
    if faults:
        print()
        print_table(["SANDBOX MODEL", "WHAT IT DOES"], [[fault["id"], fault["about"]] for fault in faults])
    say(*(_about_list(row) for row in lists))


def _entries(view: View, *, everything: bool) -> list[ModelEntry]:
    from antigravity2api.gemini.live_models import merged

    if not view.names:
        return view.table.entries()
    entries = merged(view.table, view.lists, view.names)
    shown = {entry.id for entry in entries}
    return entries + ([entry for entry in view.table.entries() if entry.id not in shown] if everything else [])


def _row(view: View, entry: ModelEntry) -> dict[str, Any]:
    from antigravity2api.gemini.live_models import serves

    model = entry.alias_of or entry.id
    said = {name: serves(view.table, view.lists.get(name), name, model) for name in view.names}
    where = [name for name in said if said[name] or (said[name] is None and view.table.id_on(name, model) is not None)]
    gone = not where and any(value is False for value in said.values())
    return {
        "id": entry.id,
        "name": entry.display_name,
        "kind": entry.kind,
        "surfaces": where if view.names else list(entry.surfaces),
        "source": "live" if any(said.values()) else "not listed" if gone else "table",
        "input_limit": entry.input_limit,
        "output_limit": entry.output_limit,
        "alias_of": entry.alias_of,
    }


def list_row(view: View, name: str) -> dict[str, Any]:
    """What is known of one upstream's list, with its age."""
    found = view.lists.get(name)
    return {
        "upstream": name,
        "source": "live" if found is not None else "table",
        "fetched": when(found.fetched) if found is not None else None,
        "age": max(0, round(time.time() - found.fetched)) if found is not None else None,
        "credential": found.credential if found is not None else None,
        "models": len(found.models) if found is not None else None,
    }


def _about_list(row: Mapping[str, Any]) -> str:
    if row["fetched"] is None:
        return f"{row['upstream']}: not asked yet, so the model table speaks for it (`models --live` asks now)."
    return f"{row['upstream']}: {row['models']} models, asked {age(row['age'])} ago with {row['credential']}."


def age(seconds: int) -> str:
    """A span for people."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _cell(value: object) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value or "")


def _faults() -> list[dict[str, str]]:
    from antigravity2api.sandbox.faults import FAULTS, PREFIX

    return [{"id": PREFIX + name, "about": fault.about} for name, fault in FAULTS.items()]
