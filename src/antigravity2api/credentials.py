"""What a credential is, wherever it comes from: configuration, or the store. Values only; no clock, no socket.

A ``Record`` says who may ask an upstream and with what; a ``gemini.call.Credential`` is what one request carries (a
key, or a bearer token that was made from the record).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple


class Sort(StrEnum):
    """How a credential proves itself. ``Record.secret`` has the keys named here."""

    API_KEY = "api_key"
    """``key``: a Gemini API key."""
    EXPRESS_KEY = "express_key"
    """``key``: a Vertex AI express-mode API key."""
    SERVICE_ACCOUNT = "service_account"
    """Google's service-account JSON as it is."""
    DEFAULT = "application_default"
    """``file`` or nothing: what google-auth finds (a file, the metadata server, workload identity)."""
    OAUTH_USER = "oauth_user"
    """``refresh_token``, and, where they are its own, ``client_id`` and ``client_secret``; without them the configured
    OAuth client refreshes it. The token last obtained is ``access_token`` with ``expires_at`` (seconds, wall clock);
    ``login`` is another one for each time that somebody stored it."""
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a word for a kind
    """``access_token``: a bearer token obtained elsewhere; nothing refreshes it."""


UNCHECKED = "project_unverified"
"""The key in ``Record.secret`` of an account whose project is not confirmed: True for one that a file named, ``NAMED``
for one of the operator, whose word counts where Google names none."""
NAMED = "by the operator"


class State(StrEnum):
    """What a person has to know about a credential. Cooling down is the pool's own knowledge and not stored here."""

    READY = "ready"
    NEEDS_LOGIN = "needs_login"
    NEEDS_VERIFICATION = "needs_verification"
    DISABLED_BY_TERMS = "disabled_by_terms"
    NO_PROJECT = "no_project"
    DISABLED = "disabled"
    """By the operator."""


USABLE = frozenset({State.READY, State.NO_PROJECT, State.NEEDS_LOGIN, State.NEEDS_VERIFICATION})
"""States in which the last credential left is asked all the same: it may have been mended meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One credential. ``id`` is safe to log and unique among all upstreams."""

    id: str
    upstream: str
    """``gemini``, ``vertex`` or ``antigravity``."""
    sort: Sort
    secret: Mapping[str, Any] = field(repr=False)
    label: str = ""
    """A name for people: an account's e-mail address, or what the operator chose."""
    project: str | None = None
    location: str | None = None
    """Vertex only; None is the configured one."""
    enabled: bool = True
    weight: int = 1
    """How many requests it gets compared with the others, 1 to 100."""
    priority: int = 0
    """Lower ones are asked first; those of one priority share the load."""
    stored: bool = False
    """In the store (and not in the configuration): commands can change it."""
    state: State = State.READY
    message: str = ""
    """The upstream's own words for a state that is not ready."""
    link: str = ""
    """Where the account's owner can mend it, if the upstream named a page."""
    changed: float = 0.0
    """When it was last written (seconds, wall clock)."""


def is_hearsay(record: Record) -> bool:
    """Whether nobody stands for the record's project: a file named it, which may have made it up."""
    return record.secret.get(UNCHECKED) is True


def needs_project(record: Record) -> bool:
    """Whether a project has to be found for the credential, or confirmed, before its first use."""
    if record.upstream != "antigravity":
        return False
    return not record.project or bool(record.secret.get(UNCHECKED))


def is_found(record: Record) -> bool:
    """Whether the record's project is one that was found, or can be; one of the configuration is the operator's own."""
    return record.stored or not record.project


class CoolDown(NamedTuple):
    """One row of what is remembered about a credential over restarts; times are seconds of the wall clock."""

    credential: str
    """The record's id; for one of the configuration also a mark of its secret (see ``memory_key``)."""
    scope: str
    """A model or a quota group; empty for the whole credential."""
    until: float
    """0 where it was taken back: the credential served."""
    strikes: int
    """Failures in a row."""
    reason: str
    updated: float


def memory_key(record: Record) -> str:
    """Under which name cool-downs of a record are kept. An id of the store is never used twice; one of the
    configuration is a position, and the next start may have another key there."""
    if record.stored:
        return record.id
    secret = record.secret
    names = ("key", "access_token", "refresh_token", "client_email", "file")
    mark = next((str(secret[name]) for name in names if secret.get(name)), record.project or "")
    return f"{record.id}#{blake2b(mark.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}"
