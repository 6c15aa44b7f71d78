"""The credentials of the configuration, and of configuration and store together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from antigravity2api.credentials import Record, Sort
from antigravity2api.settings import Settings, vertex_project

if TYPE_CHECKING:
    from antigravity2api.store.secrets import Secrets
    from antigravity2api.store.vault import Vault


class Stored(Protocol):
    """What is needed of a vault."""

    def records(self) -> list[Record]:
        """The stored credentials."""
        ...


def configured_records(settings: Settings) -> list[Record]:
    """The credentials that the configuration has, ids by place: ``gemini-1`` is the first of its keys."""
    made: list[Record] = []
    made += _keys("gemini", Sort.API_KEY, settings.gemini_api_key)
    if settings.vertex:
        made += _vertex(settings)
    if settings.antigravity_access_token:
        made += _numbered(
            "antigravity",
            Sort.ACCESS_TOKEN,
            [{"access_token": settings.antigravity_access_token}],
            project=settings.antigravity_project,
        )
    return made


def origin(settings: Settings, record: Record) -> str:
    """Where a credential of the configuration comes from, in words."""
    setting = {"gemini": "gemini_api_key", "antigravity": "antigravity_access_token"}.get(record.upstream)
    if setting is None:
        express = record.sort is Sort.EXPRESS_KEY
        setting = "gemini_api_key" if express else "vertex_credentials" if record.secret else "vertex"
        if express:
            return "GOOGLE_API_KEY"
    return settings.origins.get(setting, setting)


def all_records(settings: Settings, vault: Stored | None) -> list[Record]:
    """Configuration and store, ids unique: stored ones keep theirs. Raises what the vault raises."""
    return merged(configured_records(settings), vault.records() if vault is not None else [])


def merged(configured: Sequence[Record], stored: Sequence[Record]) -> list[Record]:
    """Both, the configured ones first; one whose id a stored one has gets the next free number.

    What is stored and configured is one credential: the stored one, which remembers more.
    """
    if not (configured and stored):
        return [*configured, *stored]

    from antigravity2api.store.vault import is_same  # noqa: PLC0415 - SQLite, for those who store something

    taken = {record.id for record in stored}
    mine: list[Record] = []
    for record in configured:
        if any(is_same(record, one) for one in stored):
            continue
        identity, number = record.id, 1
        while identity in taken:
            number += 1
            identity = f"{record.upstream}-{number}"
        taken.add(identity)
        mine.append(record if identity == record.id else dataclasses.replace(record, id=identity))
    return [*mine, *stored]


def open_vault(settings: Settings) -> Vault:
    """The stored credentials of these settings. Raises DatabaseRefused for an address that we do not take."""
    from antigravity2api.store.database import database_path  # noqa: PLC0415 - SQLite, for those who store something
    from antigravity2api.store.vault import Vault  # noqa: PLC0415 - as above

    return Vault(database_path(settings.database_url), secrets_of(settings))


def secrets_of(settings: Settings) -> Secrets:
    """The key that encrypts what is stored: the configured one, or a file in the data directory."""
    from antigravity2api.store.secrets import FILE, VARIABLE, Secrets  # noqa: PLC0415 - as above

    return Secrets(
        settings.data_dir.absolute() / FILE,
        text=settings.secret_key,
        text_file=settings.secret_key_file,
        where=settings.origins.get("secret_key", VARIABLE),
        open_to_others=settings.open_secret_files,
    )


def _vertex(settings: Settings) -> Iterator[Record]:
    if settings.vertex_api_key:
        return _keys("vertex", Sort.EXPRESS_KEY, settings.vertex_api_key)
    file = {"file": str(settings.vertex_credentials)} if settings.vertex_credentials else {}
    return _numbered("vertex", Sort.DEFAULT, [file], project=vertex_project(settings))


def _keys(upstream: str, sort: Sort, keys: Iterable[str]) -> Iterator[Record]:
    return _numbered(upstream, sort, ({"key": key} for key in keys))


def _numbered(
    upstream: str, sort: Sort, secrets: Iterable[dict[str, Any]], project: str | None = None
) -> Iterator[Record]:
    for number, secret in enumerate(secrets, 1):
        yield Record(id=f"{upstream}-{number}", upstream=upstream, sort=sort, secret=secret, project=project)
