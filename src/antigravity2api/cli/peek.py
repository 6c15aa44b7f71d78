"""The stored credentials as they lie there: nothing is opened for writing, made, mended or upgraded."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from antigravity2api.configured import secrets_of
from antigravity2api.credentials import Record
from antigravity2api.settings import Settings
from antigravity2api.store import database, keep
from antigravity2api.store.vault import Vault

_PATIENCE = 3.0


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even the files that SQLite keeps beside a database in use. Raises
    sqlite3.Error."""
    log = path.with_name(path.name + "-wal")
    # Without a log the file is whole by itself, and nobody writes into it now; with one, SQLite's own locks are needed.
    mode = "mode=ro" if log.exists() else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=_PATIENCE, isolation_level=None)


def stored_records(settings: Settings) -> tuple[list[Record], dict[str, str]]:
    """The stored credentials, and why others cannot be read: by id. Raises sqlite3.Error, OSError and the store's own.

    Not through the vault's own way to the file: that one mends and upgrades what it opens.
    """
    path = database.database_path(settings.database_url)
    if not path.exists():
        return [], {}
    with closing(read_only(path)) as connection:
        if database.version_of(connection) != database.latest():
            return [], {}
        kept = keep.collect(connection, database.latest())
    secrets = secrets_of(dataclasses.replace(settings, open_secret_files=True))  # open ones have a finding of their own
    records = Vault(path, secrets).restore(kept)
    missing = {str(row["id"]) for row in kept.tables["credentials"]} - {record.id for record in records}
    return records, dict.fromkeys(sorted(missing), f"the key in {secrets.where} does not open it")
