"""``doctor``: looks at everything that a working gateway needs and says what is wrong and what to do about it.

It changes nothing, spends no generation, and ends in bounded time: checks run side by side, each within ``LIMIT``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import sqlite3
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from antigravity2api import checks
from antigravity2api.checks import Finding, Place, Result
from antigravity2api.cli import look, peek
from antigravity2api.cli.common import add_json, parser, print_json, read_settings, say
from antigravity2api.credential_checks import Asked, credential_finding
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.settings import SETTINGS, Settings, SettingsError, check, is_loopback

if TYPE_CHECKING:
    from antigravity2api.upstreams.base import Address
    from antigravity2api.upstreams.transport import HttpTransport

T = TypeVar("T")
LIMIT = 10.0
"""Seconds for one check."""
_FETCH_LIMIT = 8.0
_AT_ONCE = 8
_LAST = 60.0
"""Seconds for all credentials together."""
_MARKS = {Result.OK: "ok", Result.WARNING: "warning", Result.PROBLEM: "problem", Result.SKIPPED: "-"}


def run(arguments: list[str]) -> int:
    """Exit 0 when nothing is wrong, 1 when something is."""
    options = parser("doctor", flags=("host", "port", "data_dir", "config"))
    options.add_argument("--offline", action="store_true", help="look at this machine only, ask nobody")
    add_json(options)
    parsed = options.parse_args(arguments)
    findings = _diagnose(parsed)
    if parsed.json:
        print_json({"ok": not _count(findings, Result.PROBLEM), "findings": [_row(one) for one in findings]})
    else:
        _print(findings)
    return 1 if _count(findings, Result.PROBLEM) else 0


def _diagnose(options: argparse.Namespace) -> list[Finding]:
    try:
        settings = read_settings(options)
    except SettingsError as error:
        rest = "Nothing else could be looked at: the settings say where."
        return [*checks.wrong_settings(error.problems), checks.skipped("everything else", rest)]
    return asyncio.run(examine(settings, offline=options.offline))


def _row(finding: Finding) -> dict[str, str]:
    return dataclasses.asdict(finding) | {"result": finding.result.value}


def _print(findings: Sequence[Finding]) -> None:
    for one in findings:
        about = f" {one.subject}" if one.subject and one.subject not in one.meaning else ""
        print(f"{_MARKS[one.result]:<8} {one.check}{about}: {one.meaning}")
        if one.next:
            print(f"{'':<8} -> {one.next}")
    problems, warnings = _count(findings, Result.PROBLEM), _count(findings, Result.WARNING)
    if not problems and not warnings:
        say("Everything is fine.")
    else:
        say(f"{_many(problems, 'problem')}, {_many(warnings, 'warning')}.")


def _many(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def _count(findings: Iterable[Finding], result: Result) -> int:
    return sum(one.result is result for one in findings)


# --- the order of steps ----------------------------------------------------------------------------------------------


async def examine(settings: Settings, *, offline: bool) -> list[Finding]:
    """Every finding, in the order of docs/doctor.md."""
    stored, troubles = await _stored(settings)
    from antigravity2api.configured import configured_records, merged

    records = merged(configured_records(settings), stored)
    refusals, warnings = check(settings, {record.upstream for record in stored if record.enabled})
    made = checks.settings_findings(refusals, [*settings.notices, *warnings])
    made += checks.upstream_findings(settings, records)
    local = _local(settings)
    if offline:
        made += await local + troubles + [checks.skipped("network", "Not asked: --offline.")]
        made += [found for record in records if (found := _known(settings, record))]
    else:
        here, there = await asyncio.gather(local, _network(settings, records))
        made += here + troubles + there
    made += [_switched_off(record) for record in records if not record.enabled]
    hidden = look.hidden_texts(settings, records)
    return [_masked(one, hidden) for one in made]


async def _stored(settings: Settings) -> tuple[list[Record], list[Finding]]:
    """The stored credentials as far as they can be read; a database in trouble has a check of its own."""
    from antigravity2api.store.database import DatabaseError
    from antigravity2api.store.secrets import SecretsError
    from antigravity2api.store.vault import VaultError

    try:
        async with asyncio.timeout(LIMIT):
            records, unreadable = await _in_thread(peek.stored_records, settings)
    except (SecretsError, VaultError) as error:
        return [], checks.vault_findings({"all of them": str(error)})
    except (sqlite3.Error, DatabaseError, OSError, TimeoutError):
        return [], []
    return records, checks.vault_findings(unreadable)


async def _local(settings: Settings) -> list[Finding]:
    folder = settings.data_dir

    def room() -> list[Finding]:
        return [checks.room_finding(str(folder), *look.look_at_room(folder))]

    def port() -> list[Finding]:
        seen = look.look_at_port(settings.host, settings.port)
        holder = look.holder_of(settings.port) if seen is checks.Port.TAKEN else ""
        return [checks.port_finding(settings.host, settings.port, seen, holder)]

    def database() -> list[Finding]:
        return [checks.database_finding(*look.look_at_database(settings.database_url))]

    def secret_files() -> list[Finding]:
        found = look.look_at_secret_files(settings, os.environ, Path.cwd())
        return found or [checks.ok("secret files", "No file with a secret can be read by other users.")]

    return await _side_by_side(
        _bounded("data directory", _in_thread(lambda: [checks.folder_finding(look.look_at_folder(folder))])),
        _bounded("disk", _in_thread(room)),
        _bounded("database", _in_thread(database)),
        _bounded("secret files", _in_thread(secret_files)),
        _bounded("port", _in_thread(port)),
    )


def _known(settings: Settings, record: Record) -> Finding | None:
    """What is known about a credential without asking."""
    if not checks.is_asked(settings, record):
        return None
    if record.state is State.READY:
        return checks.skipped("credential", "Not asked: --offline.", record.id)
    asked = Asked(ok=False, state=record.state, message=record.message, link=record.link, project=None, seconds=0.0)
    return credential_finding(record, asked, _source(settings, record))


def _switched_off(record: Record) -> Finding:
    how = f"`antigravity2api credentials enable {record.id}` switches it on."
    return checks.skipped("credential", f"The operator switched it off; {how}", record.id)


def _source(settings: Settings, record: Record) -> str:
    from antigravity2api.configured import origin

    return "a stored credential" if record.stored else f"it comes from {origin(settings, record)}"


# --- the network -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Way:
    """How it went to reach a place."""

    place: Place
    open: bool = False
    skew: float | None = None
    findings: list[Finding] = field(default_factory=list)


async def _network(settings: Settings, records: Sequence[Record]) -> list[Finding]:
    """The clock first, then the way to each place, then each credential."""
    from antigravity2api.upstreams.transport import HttpTransport, Proxy

    asked = [record for record in records if checks.is_asked(settings, record)]
    places = {record.id: _place_of(settings, record) for record in asked}
    wanted = {place.url: place for place in places.values()}
    if any(record.sort is Sort.OAUTH_USER for record in asked):
        token = _place("token endpoint", settings.oauth_token_url, settings, "oauth_token_url")
        wanted.setdefault(token.url, token)
    if not wanted:
        return [checks.skipped("clock", "There is no upstream to compare it with.")]
    try:
        transport = HttpTransport(proxy=settings.proxy, ca_file=str(settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        return [checks.skipped("clock", "Nobody was asked."), _wrong_ca(settings, error)]
    try:
        proxy = Proxy.parse(settings.proxy) if settings.proxy else None
        dead = await _names(settings, wanted.values(), proxy.host if proxy else None)
        ways = await asyncio.gather(
            *(_reach(settings, transport, place) for place in wanted.values() if _first_host(place, proxy) not in dead)
        )
        opened = {way.place.url for way in ways if way.open}
        skews = {way.place.host: way.skew for way in ways if way.skew is not None}
        made = [checks.clock_finding(skews, time.time()), *dead.values()]
        made += [one for way in ways for one in way.findings]
        reachable = {key: place.url in opened for key, place in places.items()}
        return made + await _credentials(settings, transport, asked, reachable)
    finally:
        await transport.close()


def _first_host(place: Place, proxy: Any) -> str:
    return str(proxy.host) if proxy is not None else place.host


def _place_of(settings: Settings, record: Record) -> Place:
    if record.upstream == "gemini":
        return _place("gemini", settings.gemini_base_url, settings, "gemini_base_url")
    if record.upstream == "antigravity":
        return _place("antigravity", settings.antigravity_base_url, settings, "antigravity_base_url")
    if settings.vertex_base_url:
        return _place("vertex", settings.vertex_base_url, settings, "vertex_base_url")
    from antigravity2api.upstreams.vertex import GLOBAL, address_at

    location = GLOBAL if record.sort is Sort.EXPRESS_KEY else record.location or settings.vertex_location
    return _made("vertex", address_at(location), settings, "vertex_location")


def _place(name: str, url: str, settings: Settings, setting: str) -> Place:
    from antigravity2api.upstreams.transport import address_of

    return _made(name, address_of(url), settings, setting)


def _made(name: str, address: Address, settings: Settings, setting: str) -> Place:
    return Place(name, address.host, address.port, address.tls, _named(settings, setting))


def _named(settings: Settings, name: str) -> str:
    """A setting as the operator knows it, and where its value came from."""
    env = next(setting.env for setting in SETTINGS if setting.name == name)
    origin = settings.origins.get(name, "default")
    return (
        f"{env} (now the default)" if origin == "default" else origin if origin.startswith(env) else f"{env}, {origin}"
    )


def _wrong_ca(settings: Settings, error: Exception) -> Finding:
    why = getattr(error, "strerror", None) or str(error)
    return checks.problem(
        "tls",
        f"The file {settings.ca_file} of ANTIGRAVITY2API_CA_FILE holds no certificate authorities: {why}.",
        "Point it to a PEM file with BEGIN CERTIFICATE in it, or unset it.",
        str(settings.ca_file),
    )


async def _names(settings: Settings, places: Iterable[Place], proxy: str | None) -> dict[str, Finding]:
    """Hosts whose name cannot be resolved. Behind a proxy it is the proxy that resolves the others."""
    settings_of = {place.host: place.setting for place in places}
    hosts = {proxy: _named(settings, "proxy")} if proxy else settings_of
    names = [host for host in hosts if not _is_address(host)]
    errors = await asyncio.gather(*(_resolve(name) for name in names))
    failed = {name: error for name, error in zip(names, errors, strict=True) if error}
    return {
        name: checks.no_address(
            name, why, proxy=proxy is not None, setting=hosts[name], everything=len(failed) == len(hosts)
        )
        for name, why in failed.items()
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _resolve(name: str) -> str:
    """Why a name has no address; empty when it has one."""
    import socket

    try:
        async with asyncio.timeout(LIMIT):
            await _in_thread(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except TimeoutError:
        return f"the name server did not answer within {LIMIT:g} s"
    except OSError as error:
        return (error.strerror or str(error)).rstrip(".").lower()
    except UnicodeError:
        return "it is no name"
    return ""


async def _reach(settings: Settings, transport: HttpTransport, place: Place) -> _Way:
    """One plain request without a credential: any answer will do, its Date header tells the time."""
    from antigravity2api.errors import Fault
    from antigravity2api.upstreams.base import Address, HttpRequest
    from antigravity2api.upstreams.transport import fetch

    way = _Way(place)
    request = HttpRequest("GET", "/", (("User-Agent", settings.user_agent), ("Accept", "*/*")), b"")
    begun = time.monotonic()
    try:
        status, headers, _ = await fetch(
            transport, Address(place.host, place.port, place.tls), request, timeout=_FETCH_LIMIT
        )
    except Fault as fault:
        way.findings.append(checks.unreachable(place, fault.message, proxy=_named(settings, "proxy")))
        return way
    if status == 407:
        said = "The proxy asks for a user and a password (407)."
        way.findings.append(checks.unreachable(place, said, proxy=_named(settings, "proxy")))
        return way
    way.open = True
    way.skew = checks.skew_of(headers.get("date"), time.time())
    way.findings.append(checks.reached(place, time.monotonic() - begun, loopback=is_loopback(place.host)))
    return way


async def _credentials(
    settings: Settings, transport: HttpTransport, records: Sequence[Record], reachable: Mapping[str, bool]
) -> list[Finding]:
    room = asyncio.Semaphore(_AT_ONCE)
    end = time.monotonic() + _LAST

    async def one(record: Record) -> list[Finding]:
        if not reachable[record.id]:
            return [checks.skipped("credential", "Not asked: its upstream is out of reach.", record.id)]
        async with room:
            if time.monotonic() > end:
                return [checks.skipped("credential", "Not asked: there was no time left.", record.id)]
            return await _bounded("credential", _ask(settings, transport, record), record.id)

    return await _side_by_side(*(one(record) for record in records))


async def _ask(settings: Settings, transport: HttpTransport, record: Record) -> list[Finding]:
    from antigravity2api.probe import probe

    found = await probe(settings, record, transport=transport, store=_Looked(settings, record))
    asked = Asked(
        ok=found.ok,
        state=found.state,
        message=found.message,
        link=found.link or "",
        project=found.project,
        seconds=found.seconds,
    )
    return [credential_finding(record, asked, _source(settings, record))]


class _Looked:
    """The store for one who only looks. What is learned is the gateway's and `credentials test`'s to write down; but
    where Google replaced the refresh token, the login would be lost with the one that is stored."""

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record

    def get(self, identity: str) -> Record | None:
        """The credential as it is by now."""
        records, _ = peek.stored_records(self._settings)
        return next((one for one in records if one.id == identity), None)

    def change(self, identity: str, **fields: Any) -> Record:
        """Write a new refresh token down with its access token, and nothing else."""
        secret = fields.get("secret") or {}
        known = self.get(identity) or self._record
        if secret.get("refresh_token", known.secret.get("refresh_token")) == known.secret.get("refresh_token"):
            return known
        from antigravity2api.configured import open_vault

        with contextlib.closing(open_vault(self._settings)) as vault:
            return vault.change(identity, secret=secret)


# --- helpers ---------------------------------------------------------------------------------------------------------


async def _side_by_side(*work: Awaitable[list[Finding]]) -> list[Finding]:
    return [one for findings in await asyncio.gather(*work) for one in findings]


async def _bounded(check: str, work: Awaitable[list[Finding]], subject: str = "") -> list[Finding]:
    try:
        async with asyncio.timeout(LIMIT):
            return await work
    except TimeoutError:
        return [checks.problem(check, f"It did not answer within {LIMIT:g} s.", "Try again later.", subject)]
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        why = f"It could not be checked ({type(error).__name__}: {error})."
        return [checks.warning(check, why, "Please report this.", subject)]


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run what may hang (a dead network disk, a dead name server) where it cannot keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # it is a T where there is no error

    def body() -> None:
        result, error = None, None
        try:
            result = work(*arguments)
        except Exception as failure:  # noqa: BLE001 - raised again where it is awaited
            error = failure
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, daemon=True).start()
    return await done


def _masked(finding: Finding, secrets: Sequence[str]) -> Finding:
    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return "".join(letter if letter.isprintable() else " " for letter in text)

    return dataclasses.replace(
        finding, meaning=hide(finding.meaning), next=hide(finding.next), subject=hide(finding.subject)
    )
