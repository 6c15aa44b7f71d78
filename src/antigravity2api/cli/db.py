"""``db upgrade`` and ``db backup``. Both may be used while the gateway runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from antigravity2api.cli.common import add_json, parser, print_json, refuse, say, settings_from


def run(arguments: list[str]) -> int:
    """Upgrade the database, or copy it."""
    options = parser("db")
    verbs = options.add_subparsers(dest="verb", metavar="VERB", required=True)
    about = {
        "upgrade": "bring the database to this release's version",
        "backup": "copy the database, also while it is in use",
    }
    upgrade, backup = (
        verbs.add_parser(name, help=text, description=text, allow_abbrev=False) for name, text in about.items()
    )
    backup.add_argument("file", metavar="FILE", help="where the copy goes")
    backup.add_argument("--force", action="store_true", help="replace a file that is there")
    for verb in (upgrade, backup):
        verb.add_argument("--config", metavar="FILE", help="the TOML file")
        verb.add_argument("--data-dir", metavar="DIR", help="where keys, images and the database live")
        add_json(verb)
    parsed = options.parse_args(arguments)
    return {"upgrade": _upgrade, "backup": _backup}[parsed.verb](parsed)


def _path(options: argparse.Namespace, *, make: bool) -> Path:
    """The configured file; ``make`` also makes the data directory it may be in."""
    settings = settings_from(options)

    from antigravity2api.store.database import DatabaseRefused, database_path

    try:
        path = database_path(settings.database_url)
    except DatabaseRefused as error:
        refuse([str(error)])
    if make and path.parent == settings.data_dir.absolute():
        from antigravity2api.cli.firstrun import make_data_dir

        make_data_dir(settings.data_dir)
    return path


def _upgrade(options: argparse.Namespace) -> int:
    path = _path(options, make=True)

    import sqlite3

    from antigravity2api.store import database, keep

    try:
        before, now = database.upgrade(path)
    except database.DatabaseRefused as error:
        refuse([str(error)])
    except (sqlite3.Error, database.DatabaseError, OSError) as error:
        say(f"error: the database {path} cannot be upgraded: {error}.")
        if database.is_damage(error):
            say(
                "The file is damaged. Restore a backup; or `serve` moves it aside and begins a new one with the stored "
                "credentials of its snapshot."
            )
        return 1
    if not before and (snapshot := keep.snapshot_path(path)).is_file():
        say(f"note: a new database begins with the credentials in {snapshot}.")
    if options.json:
        print_json({"path": str(path), "before": before, "version": now})
    elif before == now:
        print(f"{path}: version {now}, nothing to do.")
    else:
        print(f"{path}: version {now}" + (f", was {before}." if before else ", new."))
    return 0


def _backup(options: argparse.Namespace) -> int:
    path, target = _path(options, make=False), Path(options.file).absolute()
    if not path.is_file():
        say(f"error: there is no database at {path} yet.")
        return 1

    import sqlite3

    from antigravity2api.store import database

    try:
        size = database.backup(path, target, replace=options.force)
    except FileExistsError:
        refuse([f"{target} is there already; --force replaces it."])
    except database.DatabaseRefused as error:
        refuse([str(error)])
    except (sqlite3.Error, database.DatabaseError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        say(f"error: no backup was made at {target}: {reason.rstrip('.')}.")
        return 1
    if options.json:
        print_json({"path": str(path), "backup": str(target), "bytes": size})
    else:
        print(target)
    return 0
