"""What ``doctor`` makes of what it saw: findings in plain words, each with what to do next. Pure.

Looking is done elsewhere (``cli.doctor`` and ``cli.look``). A finding never holds a secret; whoever prints them masks
the configured ones once more.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from antigravity2api.credentials import Record
from antigravity2api.settings import Settings
from antigravity2api.upstreams.codeassist import TERMS

MOST_SKEW = 300.0
"""Seconds that a clock may be wrong: Google refuses signed requests beyond it, and expiry times mean nothing."""
_SOME_SKEW = 30.0
_LEAST_ROOM = 16 << 20
_SOME_ROOM = 512 << 20
_LEAST_FILES = 256


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    check: str
    """Which check: a word of the table in docs/doctor.md."""
    result: Result
    meaning: str
    """What was found, and what it means."""
    next: str = ""
    """What to do about it: a command, a setting, a page."""
    subject: str = ""
    """What it is about, where a check looks at several: a credential's id, an address, a file."""


def ok(check: str, meaning: str, subject: str = "") -> Finding:
    """Nothing to do."""
    return Finding(check, Result.OK, meaning, "", subject)


def problem(check: str, meaning: str, next: str, subject: str = "") -> Finding:
    """Something does not work."""
    return Finding(check, Result.PROBLEM, meaning, next, subject)


def warning(check: str, meaning: str, next: str, subject: str = "") -> Finding:
    """Something works, and may hurt later."""
    return Finding(check, Result.WARNING, meaning, next, subject)


def skipped(check: str, meaning: str, subject: str = "") -> Finding:
    """Something could not be looked at."""
    return Finding(check, Result.SKIPPED, meaning, "", subject)


# --- configuration ---------------------------------------------------------------------------------------------------


def wrong_settings(problems: Iterable[str]) -> list[Finding]:
    """The configuration cannot be read."""
    advice = "Mend it where it stands; `antigravity2api config check` tells whether `serve` would start."
    return [problem("configuration", text, advice) for text in problems]


def settings_findings(refusals: Sequence[str], warnings: Sequence[str]) -> list[Finding]:
    """What ``serve`` would refuse or warn of."""
    made = [problem("configuration", text, "Until then `serve` ends with exit code 2.") for text in refusals]
    made += [warning("configuration", text, "") for text in warnings]
    return made or [ok("configuration", "Every setting is known and has a value that fits.")]


def upstream_findings(settings: Settings, records: Sequence[Record]) -> list[Finding]:
    """Whether anything can answer, and what Antigravity's switch means."""
    made = []
    usable = [record for record in records if record.enabled and _switched_on(settings, record)]
    if not usable:
        made.append(
            problem(
                "upstreams",
                "No upstream has a credential, so no model can answer.",
                "Set GEMINI_API_KEY (a key from https://aistudio.google.com/apikey) and start again, or try everything "
                "on made-up answers: `antigravity2api serve --sandbox`.",
            )
        )
    else:
        names = ", ".join(dict.fromkeys(record.upstream for record in usable))
        made.append(ok("upstreams", f"{len(usable)} credential{'s' if len(usable) > 1 else ''} for: {names}."))
    if settings.antigravity:
        made.append(
            warning(
                "terms",
                f"The antigravity upstream is on. {TERMS}.",
                "A Gemini API key is the supported way; ANTIGRAVITY2API_ANTIGRAVITY=off switches this one off.",
            )
        )
    elif idle := [record.id for record in records if record.upstream == "antigravity"]:
        made.append(
            warning(
                "terms",
                f"The antigravity upstream is off, so {_listed(idle)} cannot serve.",
                f"{TERMS}. If you accept that, set ANTIGRAVITY2API_ANTIGRAVITY=on.",
            )
        )
    unused = [record.id for record in records if record.upstream not in settings.upstreams]
    if unused:
        where = settings.origins.get("upstreams", "upstreams")
        made.append(
            warning("upstreams", f"{_listed(unused)} cannot serve: its upstream is not among {where}.", "Add it there.")
        )
    return made


def _switched_on(settings: Settings, record: Record) -> bool:
    if record.upstream not in settings.upstreams:
        return False
    return settings.antigravity or record.upstream != "antigravity"


def is_asked(settings: Settings, record: Record) -> bool:
    """Whether a credential belongs to what is in use, so that it is worth asking."""
    return record.enabled and _switched_on(settings, record)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


# --- this machine ----------------------------------------------------------------------------------------------------


class Port(StrEnum):
    """What was found at the address to listen on."""

    FREE = "free"
    OURS = "ours"
    NOT_READY = "not_ready"
    TAKEN = "taken"
    DENIED = "denied"
    FOREIGN = "foreign"
    UNKNOWN_NAME = "unknown_name"


def port_finding(host: str, port: int, seen: Port, holder: str = "") -> Finding:
    """Whether ``serve`` can listen; ``holder`` names the process that does, where the system tells."""
    place = f"{f'[{host}]' if ':' in host else host}:{port}"
    match seen:
        case Port.FREE:
            return ok("port", f"{place} is free." if port else "Any free port will be taken.", place)
        case Port.OURS:
            return ok("port", f"A gateway is running at {place} and is ready.", place)
        case Port.NOT_READY:
            return warning(
                "port",
                f"A gateway is running at {place}, but is not ready: it is stopping.",
                "Wait, or start it.",
                place,
            )
        case Port.TAKEN:
            by = f" ({holder})" if holder else ""
            return problem(
                "port",
                f"Another program{by} listens at {place}, so `serve` cannot.",
                "Stop that program, or choose another port: --port or ANTIGRAVITY2API_PORT.",
                place,
            )
        case Port.DENIED:
            return problem(
                "port",
                f"This user may not listen at {place}.",
                "Ports below 1024 belong to root on most systems: choose a higher one with ANTIGRAVITY2API_PORT.",
                place,
            )
        case Port.FOREIGN:
            return problem(
                "port",
                f"{host} is no address of this machine.",
                "Set ANTIGRAVITY2API_HOST to one that is, such as 127.0.0.1 or 0.0.0.0.",
                place,
            )
        case Port.UNKNOWN_NAME:
            return problem(
                "port", f"The name {host} has no address.", "Set ANTIGRAVITY2API_HOST to an IP address.", place
            )


@dataclass(frozen=True, slots=True)
class Folder:
    """The data directory as it was found. ``mode`` is None where there is nothing."""

    path: str
    mode: int | None
    owner: int = -1
    user: int = -1
    """Who asks."""
    enterable: bool = True
    writable: bool = True
    parent: str = ""
    """The nearest directory above that is there, where the path is missing."""
    error: str = ""
    """Why it could not even be looked at."""


def folder_finding(seen: Folder) -> Finding:
    """Whether the data directory can be used."""
    check, place = "data directory", seen.path
    elsewhere = "Or choose another one: --data-dir or ANTIGRAVITY2API_DATA_DIR."
    if seen.error:
        return problem(check, f"{place} cannot be looked at: {seen.error}.", elsewhere, place)
    if seen.mode is None:
        if seen.writable:
            return ok(check, f"{place} is not there yet; the first start makes it.", place)
        return problem(
            check,
            f"{place} is not there, and cannot be made in {seen.parent}: this user may not write there.",
            f"Make it: `mkdir -p {place}` as a user who may, then give it to this one with chown. {elsewhere}",
            place,
        )
    if not stat.S_ISDIR(seen.mode):
        return problem(check, f"{place} is a file, not a directory.", f"Move it away. {elsewhere}", place)
    if not (seen.enterable and seen.writable) or seen.mode & 0o700 != 0o700:
        mode = f"its mode is {stat.S_IMODE(seen.mode):03o}, its owner is user {seen.owner}, this is user {seen.user}"
        return problem(
            check,
            f"{place} cannot be read and written as it should ({mode}).",
            f"`chmod 700 {place}`, and `chown` it to the user that runs the gateway. {elsewhere}",
            place,
        )
    if seen.mode & 0o077 and not seen.mode & stat.S_ISVTX:
        return warning(check, f"{place} can be entered by other users of this machine.", f"`chmod 700 {place}`.", place)
    return ok(check, f"{place} can be read and written.", place)


def room_finding(path: str, free: int, files: int | None) -> Finding:
    """Whether the disk below the data directory has room; ``files`` is how many more it can hold, if it tells."""
    room = f"{free / 2**20:.0f} MB" if free < 10 * 2**30 else f"{free / 2**30:.0f} GB"
    advice = (
        "Free some space. Generated images take ANTIGRAVITY2API_IMAGES_MAX_BYTES, the request log "
        "ANTIGRAVITY2API_LOGS_MAX_BYTES; both can be made smaller."
    )
    if free < _LEAST_ROOM or (files is not None and files < _LEAST_FILES):
        what = f"only {room} are left" if free < _LEAST_ROOM else f"only {files} more files fit"
        return problem("disk", f"The disk of {path} is full: {what}. Nothing can be stored any more.", advice, path)
    if free < _SOME_ROOM:
        return warning("disk", f"The disk of {path} is almost full: {room} are left.", advice, path)
    return ok("disk", f"{room} are free.", path)


class Stored(StrEnum):
    """How the database was found."""

    MISSING = "missing"
    SOUND = "sound"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    BUSY = "busy"
    REFUSED = "refused"


def database_finding(path: str, seen: Stored, told: str = "") -> Finding:
    """What the database's state means; ``told`` is what SQLite or the system said."""
    said = f" ({told})" if told else ""
    match seen:
        case Stored.MISSING:
            return ok("database", f"{path} is not there yet; it is made when it is needed.", path)
        case Stored.SOUND:
            return ok("database", f"{path} is a sound database of this release.", path)
        case Stored.OLDER:
            return ok("database", f"{path} is of an older release; `serve` or `db upgrade` brings it up to date.", path)
        case Stored.NEWER:
            return problem(
                "database",
                f"{path} was made by a newer release{said}.",
                "Start that release again, or restore a backup from before.",
                path,
            )
        case Stored.FOREIGN:
            return problem(
                "database", f"{path} holds tables of another program.", "Set ANTIGRAVITY2API_DATABASE_URL.", path
            )
        case Stored.DAMAGED:
            return problem(
                "database",
                f"{path} is damaged: it is no sound SQLite database{said}.",
                "Check the disk. Restore a backup over it, or start the gateway: `serve` moves the damaged file aside, "
                "saves the credentials it can, and begins a new one.",
                path,
            )
        case Stored.UNREADABLE:
            return problem(
                "database",
                f"{path} cannot be read{said}.",
                f"`chmod 600 {path}`, and `chown` it to the user that runs the gateway.",
                path,
            )
        case Stored.BUSY:
            return warning(
                "database", f"{path} is busy and was not checked to its end{said}.", "Try again later.", path
            )
        case Stored.REFUSED:
            return problem("database", f"The database cannot be used: {told}", "Mend database_url.", path)


def secret_file_finding(path: str, mode: int, what: str, *, refused: bool) -> Finding | None:
    """A file with secrets that other users can read; ``refused``: the gateway does not start with it."""
    if not mode & 0o077:
        return None
    meaning = f"{what} {path} can be read by other users of this machine (mode {stat.S_IMODE(mode):03o})."
    advice = f"`chmod 600 {path}`."
    if refused:
        meaning += " `serve` refuses to use it so."
        return problem("secret files", meaning, advice, path)
    return warning("secret files", meaning, advice, path)


def vault_findings(unreadable: Mapping[str, str]) -> list[Finding]:
    """Stored credentials that cannot be decrypted: id → why."""
    return [
        problem(
            "credential",
            f"The stored credential {identity} cannot be read: {why}.",
            "Put back the key it was encrypted with (ANTIGRAVITY2API_SECRET_KEY or secret.key in the data directory), "
            f"or add it anew and `antigravity2api credentials remove {identity}`.",
            identity,
        )
        for identity, why in unreadable.items()
    ]


# --- the way to the upstreams ----------------------------------------------------------------------------------------


def skew_of(date: str | None, now: float) -> float | None:
    """Seconds that this machine's clock is ahead of a Date header (behind: negative); None without a good one."""
    if not date:
        return None
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return None
    if there.tzinfo is None:
        there = there.replace(tzinfo=UTC)
    return now - there.timestamp()


def clock_finding(skews: Mapping[str, float], now: float) -> Finding:
    """Whether the clock is right, by what answering hosts said; the one that agrees best counts."""
    if not skews:
        return skipped("clock", "No host told the time, so the clock was not compared.")
    host, skew = min(skews.items(), key=lambda item: abs(item[1]))
    if abs(skew) <= _SOME_SKEW:
        return ok("clock", f"The clock agrees with {host}.")
    here = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    meaning = f"This machine's clock is {_span(abs(skew))} {'ahead' if skew > 0 else 'behind'} (it says {here})."
    advice = "Set it: `timedatectl set-ntp true`, or start chrony or ntpd; in a virtual machine on the host."
    if abs(skew) <= MOST_SKEW:
        return warning("clock", meaning, advice)
    meaning += " Google refuses signed logins, tokens seem alive or dead when they are not, and TLS may fail."
    return problem("clock", meaning, advice)


def _span(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}s"
    return f"{seconds:.0f} seconds"


@dataclass(frozen=True, slots=True)
class Place:
    """A host that has to be reached: an upstream's, or the token endpoint's."""

    name: str
    """``gemini``, ``vertex``, ``antigravity`` or ``token endpoint``."""
    host: str
    port: int
    tls: bool
    setting: str
    """The setting with its address, and where that came from."""

    @property
    def url(self) -> str:
        """As an operator writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        return f"{'https' if self.tls else 'http'}://{host}{'' if self.port == default else f':{self.port}'}"


def no_address(host: str, why: str, *, proxy: bool, setting: str, everything: bool) -> Finding:
    """A name that could not be resolved; ``everything``: no name could."""
    of = "the proxy" if proxy else "the upstream"
    advice = f"Check the spelling in {setting}."
    if everything:
        advice += (
            " If it is right, this machine has no working DNS: look at /etc/resolv.conf, in a container at its "
            "network and --dns."
        )
    return problem("dns", f"The name {host} of {of} has no address: {why}.", advice, host)


def unreachable(place: Place, said: str, *, proxy: str) -> Finding:
    """Why a host could not be reached, from what the transport said. ``proxy`` is the setting, if one is set."""
    if "proxy" in said:
        return problem(
            "proxy",
            f"{said} Nothing reaches {place.url} without it.",
            f"Check {proxy}: the address, the port, user and password; whether the proxy runs; and whether it lets "
            f"{place.host}:{place.port} through. Without a proxy, unset it.",
            place.url,
        )
    if "certificate" in said:
        return problem(
            "tls",
            f"{place.url} answers with a certificate that this machine does not trust: something in between opens TLS "
            "(a company's proxy, an antivirus), the certificate authorities are missing, or the clock is wrong.",
            "Set ANTIGRAVITY2API_CA_FILE to the PEM file with that authority (ask who runs the network); in a slim "
            "container install ca-certificates.",
            place.url,
        )
    if "TLS" in said:
        return problem(
            "tls",
            f"The TLS handshake with {place.url} failed: what listens there may speak no TLS.",
            f"Check {place.setting}: https:// or http://, and the port.",
            place.url,
        )
    return problem(
        "reach",
        f"{place.url} cannot be reached. {said}",
        f"Check {place.setting} and the firewall. Where the way out is a proxy, set ANTIGRAVITY2API_PROXY: the "
        "environment's HTTPS_PROXY is not read.",
        place.url,
    )


def reached(place: Place, seconds: float, *, loopback: bool) -> Finding:
    """A host that answers."""
    if not place.tls and not loopback:
        return warning(
            "reach",
            f"{place.url} answers, without TLS: keys and prompts can be read on the way.",
            f"Use https:// in {place.setting}.",
            place.url,
        )
    return ok("reach", f"{place.url} answers ({seconds * 1000:.0f} ms).", place.url)
