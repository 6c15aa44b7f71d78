"""``credentials test`` and ``quota`` ask the upstreams; ``export`` and ``rotate-key`` handle what is encrypted."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from antigravity2api.cli.common import print_json, print_table, refuse, say
from antigravity2api.cli.vaults import Store, chosen, opened, when
from antigravity2api.credentials import Record, State
from antigravity2api.importing import EXPORT

T = TypeVar("T")
_AT_ONCE = 8


# --- asking ----------------------------------------------------------------------------------------------------------


def test(options: argparse.Namespace) -> int:
    """Ask the upstream about each credential."""
    from antigravity2api.probe import Finding, probe

    with opened(options) as store:
        records = _asked(store, options.ids)
        if not records:
            return _nobody(store, options, "There is no credential to test.")

        async def one(record: Record) -> Finding:
            return await probe(store.settings, record)

        found = asyncio.run(_all(one, records))
        for record, finding in zip(records, found, strict=True):
            _remember(store, record, finding.ok, finding.state, finding.message, finding.link)
        problems = [] if options.ids else list(store.vault.unreadable().values())
    rows = [
        {
            "id": record.id,
            "upstream": record.upstream,
            "ok": finding.ok,
            "state": str(finding.state),
            "message": finding.message,
            "link": finding.link,
            "project": finding.project,
            "tier": finding.tier,
            "seconds": round(finding.seconds, 3),
        }
        for record, finding in zip(records, found, strict=True)
    ]
    if options.json:
        print_json({"credentials": rows, "problems": problems})
    else:
        head = ["ID", "RESULT", "PROJECT", "SECONDS", "WHAT THE UPSTREAM SAYS"]
        print_table(head, [_finding(row) for row in rows])
    say(*(f"error: {text}" for text in problems))
    return 0 if all(row["ok"] for row in rows) and not problems else 1


def _remember(store: Store, record: Record, ok: bool, state: State, message: str, link: str) -> None:  # noqa: FBT001
    """Write down what was found about a stored credential, so that the gateway knows it too.

    Not that it needs a login: a login that is dead has been called so by who asked for its token, and a refusal of
    one moment must not keep a key from being asked.
    """
    if not record.stored or record.state is State.DISABLED_BY_TERMS:
        return
    if ok and record.state is not State.READY:
        store.vault.change(record.id, state=State.READY, message="", link="")
    elif not ok and state not in (State.READY, State.NEEDS_LOGIN, record.state):
        store.vault.change(record.id, state=state, message=message, link=link)


def _finding(row: dict[str, Any]) -> list[str]:
    said = " ".join(filter(None, [row["message"], row["link"]]))
    result = "works" if row["ok"] else str(row["state"]).replace("_", " ")
    if result == "ready":
        result = "failed"
    return [row["id"], result, row["project"] or "", f"{row['seconds']:.2f}", said]


def quota(options: argparse.Namespace) -> int:
    """Show what is left, from where it is known and how old that is."""
    from antigravity2api.probe import QuotaView
    from antigravity2api.probe import quota as ask

    with opened(options) as store:
        records = _asked(store, options.ids)
        if not records:
            return _nobody(store, options, "There is no credential to ask for.")

        async def one(record: Record) -> QuotaView:
            return await ask(store.settings, record)

        found = asyncio.run(_all(one, records))
    told: list[dict[str, Any]] = [
        {
            "id": record.id,
            "source": view.source,
            "fetched_at": when(view.fetched_at),
            "failed": view.failed,
            "quota": [_plain(row) for row in view.rows],
        }
        for record, view in zip(records, found, strict=True)
    ]
    if options.json:
        print_json({"credentials": told})
        return int(any(view["failed"] for view in told))
    rows = [_share(view, row) for view in told for row in view["quota"] or [{}]]
    print_table(["ID", "MODEL", "LEFT", "FULL AGAIN", "SOURCE", "AS OF"], rows)
    return int(any(view["failed"] for view in told))


def _plain(row: Any) -> dict[str, Any]:
    names = ("id", "title", "remaining", "amount", "unit", "reset")
    found = {name: getattr(row, name, None) for name in names}
    if found["reset"] is not None:
        found["reset"] = when(found["reset"])
    return found


def _share(view: dict[str, Any], row: dict[str, Any]) -> list[str]:
    left = f"{row['remaining']:.0%}" if row.get("remaining") is not None else ""
    if row.get("amount") is not None:
        left = f"{left} ({row['amount']} {row.get('unit') or ''})".replace(" )", ")").strip()
    model = row.get("id") or ("not known now" if view["failed"] else "not told by this upstream")
    return [view["id"], model, left, row.get("reset") or "", view["source"], view["fetched_at"]]


def _asked(store: Store, ids: Sequence[str]) -> list[Record]:
    """The named ones, or all that are in use."""
    return chosen(store, ids) if ids else [record for record in store.everything() if record.enabled]


def _nobody(store: Store, options: argparse.Namespace, words: str) -> int:
    """Why nobody was asked; the exit code."""
    problems = list(store.vault.unreadable().values())
    if options.json:
        print_json({"credentials": [], "problems": problems})
    say(*(f"error: {text}" for text in problems))
    if not problems:
        say(f"{words} `antigravity2api credentials list` shows what there is.")
    return 1


async def _all(ask: Callable[[Record], Awaitable[T]], records: Sequence[Record]) -> list[T]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(record: Record) -> T:
        async with room:
            return await ask(record)

    return await asyncio.gather(*map(one, records))


# --- secrets ---------------------------------------------------------------------------------------------------------


def export(options: argparse.Namespace) -> int:
    """Print secrets, because the operator says so."""
    if not options.yes:
        refuse(["this prints secrets in plain text: say --yes, and send it to a file that is yours alone (umask 077)."])
    with opened(options) as store:
        entries = [_entry(record) for record in chosen(store, options.ids, stored=True)]
    print_json(entries[0] if len(entries) == 1 else entries)
    return 0


def _entry(record: Record) -> dict[str, Any]:
    return {
        EXPORT: 1,
        "upstream": record.upstream,
        "sort": record.sort.value,
        "label": record.label,
        "project": record.project,
        "location": record.location,
        "enabled": record.enabled,
        "weight": record.weight,
        "priority": record.priority,
        "secret": dict(record.secret),
    }


def rotate_key(options: argparse.Namespace) -> int:
    """Encrypt everything with another key; whatever stops it in between, all can still be read."""
    from antigravity2api.store.secrets import SecretsError, key_from_file

    try:
        text = key_from_file(Path(options.new_key_file)) if options.new_key_file else None
    except SecretsError as error:
        refuse([str(error)])
    except OSError as error:
        refuse([f"cannot read {options.new_key_file}: {error.strerror}."])
    with opened(options) as store:
        if not store.vault.records() and not store.vault.unreadable():
            if options.json:
                print_json({"encrypted": 0, "problems": []})
            say("Nothing is stored yet, so there is nothing to encrypt anew.")
            return 0
        if store.secrets.configured:
            count, then = _rotate_configured(store, text, options.new_key_file)
        else:
            with store.secrets.rotation(text) as new:
                count = store.vault.rotate(new)
            then = f"The new key is in {store.secrets.where}; a running gateway takes it up by itself."
        problems = list(store.vault.unreadable().values())
    if options.json:
        print_json({"encrypted": count, "problems": problems})
    else:
        print(f"{count} credential{' was' if count == 1 else 's were'} encrypted anew.")
    say(then, "Copies made before (`db backup`) still need the old key.", *(f"error: {text}" for text in problems))
    return 1 if problems else 0


def _rotate_configured(store: Store, text: str | None, name: str | None) -> tuple[int, str]:
    """With a key of the configuration; what a key file encrypted before can be moved to it without a new one."""
    from antigravity2api.store.secrets import FILE, Secrets

    if text is None:
        count = store.vault.rotate(store.secrets)
        if not count:
            refuse([f"the key comes from {store.secrets.where}, so the new one has to be given: --new-key-file FILE."])
        return (
            count,
            f"They use the key in {store.secrets.where} now; {store.settings.data_dir / FILE} is not needed any more.",
        )
    new = Secrets(store.settings.data_dir.absolute() / FILE, text=text, where=str(name))
    count = store.vault.rotate(new)
    then = "a running gateway takes it up by itself" if store.secrets.follows else "then restart the gateway"
    return count, f"Now put the content of {name} where {store.secrets.where} has the old key; {then}."
