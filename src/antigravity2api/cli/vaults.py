"""What the commands about credentials share: opening the store, rows for people and programs, errors as exit codes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from antigravity2api.cli.common import refuse, say, settings_from
from antigravity2api.configured import configured_records, merged, open_vault, origin, secrets_of
from antigravity2api.credentials import CoolDown, Record, Sort
from antigravity2api.settings import Settings

if TYPE_CHECKING:
    from antigravity2api.store.secrets import Secrets
    from antigravity2api.store.vault import Vault

KINDS = {
    "api_key": "API key",
    "express_key": "express key",
    "service_account": "service account",
    "application_default": "default credentials",
    "oauth_user": "OAuth user",
    "access_token": "access token",
}


@dataclass(frozen=True, slots=True)
class Store:
    """The settings with the store that they name."""

    settings: Settings
    secrets: Secrets
    vault: Vault

    def configured(self) -> list[Record]:
        """The credentials of the configuration."""
        return configured_records(self.settings)

    def everything(self) -> list[Record]:
        """Those and the stored ones."""
        return merged(self.configured(), self.vault.records())

    def source(self, record: Record) -> str:
        """Where a credential comes from, in words."""
        return "stored" if record.stored else origin(self.settings, record)


@contextmanager
def opened(options: argparse.Namespace, *, make: bool = False) -> Iterator[Store]:
    """The store of a command; what it raises ends the command with a sentence. ``make`` makes the data directory."""
    settings = settings_from(options)

    from antigravity2api.store.database import DatabaseRefused
    from antigravity2api.store.secrets import SecretsError
    from antigravity2api.store.vault import VaultError

    try:
        secrets = secrets_of(settings)
        vault = open_vault(settings)
        secrets.check()
    except (DatabaseRefused, SecretsError) as error:
        refuse([str(error)])
    if make:
        from antigravity2api.cli.firstrun import make_data_dir

        make_data_dir(settings.data_dir)
    try:
        yield Store(settings, secrets, vault)
    except (VaultError, SecretsError, OSError) as error:
        say(f"error: {error}")
        raise SystemExit(1) from error
    finally:
        say(*(f"warning: {text}" for text in vault.news()))
        vault.close()


async def put_in(store: Store, record: Record) -> Record:
    """Store a credential; a gateway that renews an older login of that account just now does not write over it."""
    from antigravity2api.upstreams.locks import Busy, locked

    taken = [one.id for one in store.configured()]
    before = store.vault.find(record)
    if before is None or record.sort is not Sort.OAUTH_USER:
        return store.vault.add(record, taken=taken)
    try:
        async with locked(store.settings.data_dir / "locks", before.id, limit=10.0):
            return store.vault.add(record, taken=taken)
    except Busy:
        return store.vault.add(record, taken=taken)


def chosen(store: Store, ids: Sequence[str], *, stored: bool = False) -> list[Record]:
    """The credentials of these ids; one that is not there, or not in the store where it has to be, is wrong use."""
    known = {record.id: record for record in store.everything()}
    hidden = store.vault.unreadable()
    found, problems = [], []
    for identity in dict.fromkeys(ids):
        record = known.get(identity)
        if record is None:
            problems.append(hidden.get(identity) or missing(identity, [*known, *hidden]))
        elif stored and not record.stored:
            problems.append(f"{identity} comes from {store.source(record)}: change it there.")
        else:
            found.append(record)
    if problems:
        refuse(problems)
    return found


def missing(identity: str, known: Iterable[str]) -> str:
    """What to say about an id that does not exist."""
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(identity, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else "`credentials list` shows what there is."
    return f"there is no credential {identity[:64]!r}. {hint}"


class _Rests:
    """Rests as a pool wants to read them."""

    def __init__(self, rows: list[CoolDown]) -> None:
        self._rows = rows

    def rows(self) -> list[CoolDown]:
        return self._rows

    def put(self, row: CoolDown) -> None:
        """A command only looks."""


def rows_of(store: Store, records: Sequence[Record]) -> list[dict[str, Any]]:
    """What may be shown of credentials: no secret."""
    from antigravity2api.pool import Pool, static_ready

    rests = _Rests(store.vault.cooldowns() if store.settings.cooldown else [])
    # As the gateway would see them, with the rests it remembers; a pool has one upstream, and ids are unique anyway.
    views = {view.id: view for view in Pool(records, static_ready, clock=time.monotonic, memory=rests).views()}
    return [_row(store, record, views[record.id]) for record in records]


def _row(store: Store, record: Record, view: Any) -> dict[str, Any]:
    return {
        "id": record.id,
        "upstream": record.upstream,
        "kind": record.sort.value,
        "label": record.label,
        "state": view.state.value,
        "words": view.words,
        "message": view.message,
        "link": view.link,
        "cooling": [
            {"scope": rest.scope, "until": when(rest.until), "reason": rest.reason or rest.why} for rest in view.cooling
        ],
        "enabled": record.enabled,
        "project": record.project,
        "project_checked": not (record.project and record.secret.get("project_unverified")),
        "location": record.location,
        "weight": record.weight,
        "priority": record.priority,
        "source": store.source(record),
        "stored": record.stored,
        "changed": when(record.changed) if record.changed else None,
    }


def when(moment: float) -> str:
    """A time of the wall clock for people and programs (RFC 3339)."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
