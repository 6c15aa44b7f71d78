"""``models --explain``: who would serve a model now, with which credential, and why not the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from antigravity2api.cli.common import print_json, refuse
from antigravity2api.cli.models import View, age, list_row
from antigravity2api.cli.vaults import Store
from antigravity2api.credentials import CoolDown
from antigravity2api.errors import Fault
from antigravity2api.gemini.live_models import serves
from antigravity2api.pool import Pool, static_ready
from antigravity2api.upstreams.antigravity import quota_group

_ADVICE = {
    "gemini": "set GEMINI_API_KEY",
    "vertex": "set GOOGLE_GENAI_USE_VERTEXAI=true, or `credentials add --upstream vertex`",
    "antigravity": "`antigravity2api login`",
}


def explain(store: Store, view: View, name: str, *, json: bool) -> None:
    """Print it; a name that cannot be one is wrong use."""
    try:
        model = view.table.resolve(name, "NAME")
    except Fault as fault:
        refuse([fault.message])
    entry = view.table.entry(model)
    upstreams = [_of(store, view, upstream, model) for upstream in view.names]
    if upstreams and not any(row["serves"] for row in upstreams):
        upstreams[0] |= {"serves": True, "why": "nobody is known to have it, so it goes to the first upstream as it is"}
    upstreams.sort(key=lambda row: bool(row["serves"] and row["rests"]))  # as the gateway does
    report = {
        "asked": name,
        "model": model,
        "kind": entry.kind if entry is not None else view.table.profile(model).kind,
        "in_table": entry is not None,
        "now": _first(upstreams),
        "upstreams": upstreams,
        "without_credentials": [_off(upstream, view) for upstream in _missing(store, view)],
    }
    if json:
        print_json(report)
    else:
        print("\n".join(_lines(report)))


def _of(store: Store, view: View, upstream: str, model: str) -> dict[str, Any]:
    said = serves(view.table, view.lists.get(upstream), upstream, model)
    known = view.upstreams[upstream].lists(model)
    listed = list_row(view, upstream)
    if said is None:
        why = "the model table has it there" if known else "the model table does not have it there"
        why += "; the upstream was not asked yet"
    else:
        why = f"{'it' if said else 'it does not'} {'lists' if said else 'list'} it (asked {age(listed['age'])} ago)"
    sent = view.table.stand_ins(upstream).get(model, model)
    pool = _pool(store, view, upstream)
    return {
        "upstream": upstream,
        "serves": known if said is None else said,
        "why": why,
        "sends": sent,
        "list": listed,
        "usable": len(pool),
        "rests": not len(pool) or pool.free_in(model) > 0,
        "credentials": [{"id": one, "says": words} for one, words in pool.explain(model)],
    }


def _pool(store: Store, view: View, upstream: str) -> Pool:
    """As the gateway would choose now: by what is stored, and by the rests that it remembers."""
    settings = store.settings
    return Pool(
        view.records[upstream],
        static_ready,
        clock=time.monotonic,
        cooldown=settings.cooldown,
        memory=_Rests(store.vault.cooldowns() if settings.cooldown else []),
        quota_group=quota_group if upstream == "antigravity" else str,
    )


class _Rests:
    """Rests as a pool wants to read them."""

    def __init__(self, rows: list[CoolDown]) -> None:
        self._rows = rows

    def rows(self) -> list[CoolDown]:
        return self._rows

    def put(self, row: CoolDown) -> None:
        """A command only looks."""


def _first(upstreams: Sequence[dict[str, Any]]) -> dict[str, str] | None:
    """The first one that a request would go to."""
    for row in upstreams:
        if row["serves"] and row["usable"]:
            return {"upstream": row["upstream"], "credential": row["credentials"][0]["id"]}
    return None


def _missing(store: Store, view: View) -> list[str]:
    return [name for name in store.settings.upstreams if name not in view.names]


def _off(upstream: str, view: View) -> dict[str, str]:
    if upstream not in view.upstreams:  # only one has to be allowed first
        return {"upstream": upstream, "why": "off: read the terms warning, then set ANTIGRAVITY2API_ANTIGRAVITY=on"}
    return {"upstream": upstream, "why": f"no credential: {_ADVICE[upstream]}"}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    asked, model, now = report["asked"], report["model"], report["now"]
    yield asked if asked == model else f"{asked} is an alias of {model}"
    if not report["in_table"]:
        yield "The model table does not know it: it is sent as it is, and nothing is left out of a request for it."
    yield f"Now: {now['upstream']} with {now['credential']}" if now else "Now: nobody"
    for row in report["upstreams"]:
        yield ""
        yield f"{row['upstream']}: {'serves it' if row['serves'] else 'not asked'}, {row['why']}"
        if row["serves"] and row["rests"] and row is not report["upstreams"][0]:
            yield "  asked when the others have failed: none of its credentials is free"
        if row["serves"] and row["sends"] != model:
            yield f"  sent as {row['sends']}"
        for credential in row["credentials"] if row["serves"] else ():
            yield f"  {credential['id']}: {credential['says']}"
    for row in report["without_credentials"]:
        yield ""
        yield f"{row['upstream']}: {row['why']}"
