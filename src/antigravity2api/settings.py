"""Every knob once: type, default, help, where its value came from. Reads the environment and files; starts nothing.

Order: flags, environment, ``.env``, the TOML file, the ancestor project's names, defaults. To add a setting, add one
field to ``Settings`` and run ``make docs``; nothing else needs to know.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

from antigravity2api import __version__
from antigravity2api.forms import (
    AGENT,
    ALIASES,
    DATABASE,
    HOST,
    KEY,
    KEYS,
    LOCATION,
    ORDER,
    PATH,
    PROJECT,
    PROXY,
    REDIS,
    SECONDS,
    SECRET,
    SIZE,
    SWITCH,
    TEXT,
    UPSTREAMS,
    WEB,
    Form,
    choice,
    integer,
    number,
    without_secrets,
)
from antigravity2api.settings_files import as_text, credentials_file, dotenv, is_there, read_text, secret_file

PREFIX = "ANTIGRAVITY2API_"

EXAMPLE_KEYS = frozenset(
    """
    sk-text sk-test sk-1234 sk-12345 sk-123456 sk-xxx sk-xxxx sk-key sk-example sk-demo sk-your-key sk-your-api-key
    your-api-key your_api_key your-key api-key apikey key changeme change-me change_me secret password passwd pwd
    admin admin123 test demo example 123 1234 12345 123456 12345678 123456789
    """.split()
)
"""Keys that stand in examples everywhere, so that scanners try them first."""


class SettingsError(Exception):
    """The configuration is wrong. ``problems`` has one sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# --- the knobs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One knob, as data."""

    name: str
    env: str
    form: Form
    default: Any
    help: str
    shown: str
    """The default in words."""
    secret: bool = False
    also: tuple[str, ...] = ()
    """Other names of equal standing (``GOOGLE_API_KEY``)."""
    ancestor: str | None = None
    """The ancestor project's name, understood when ours is absent."""
    convert: Callable[[str], str] | None = None
    """The ancestor's way to write it → ours."""
    later: bool = False
    """Understood and checked now; what it configures comes in a later release."""


def _knob(form: Form, default: Any, help: str, **rest: Any) -> Any:
    rest = {"shown": in_words(default), **rest, "form": form, "help": help}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=rest)
    return field(default=default, metadata=rest, repr=not rest.get("secret"))


def in_words(value: Any) -> str:
    """A value as an operator would write it."""
    match value:
        case None | () | {}:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(value)
        case {**pairs}:
            return ", ".join(f"{alias}={model}" for alias, model in pairs.items())
    return str(value)


def _from_ms(raw: str) -> str:
    return f"{raw}ms" if re.fullmatch(r"\d+(\.\d+)?", raw, re.ASCII) else raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one start. Durations are seconds, sizes are bytes."""

    host: str = _knob(HOST, "127.0.0.1", "Address to listen on; with the default also ::1.", ancestor="HOST")
    port: int = _knob(integer(0, 65535), 8045, "Port to listen on; 0 takes a free one.", ancestor="PORT")
    data_dir: Path = _knob(
        PATH, Path(), "Where keys, images and the database live.", shown="~/.local/share/antigravity2api"
    )
    config: Path | None = _knob(PATH, None, "The TOML file.", shown="config.toml in the data or XDG config directory")
    workers: int = _knob(integer(1, 64), 1, "Server processes.")
    log_level: str = _knob(choice("debug", "info", "warning", "error"), "info", "How much is logged on stderr.")
    api_key: tuple[str, ...] = _knob(
        KEYS, (), "Keys that clients may use.", secret=True, ancestor="API_KEY", shown="made at the first start"
    )

    upstreams: tuple[str, ...] = _knob(ORDER, UPSTREAMS, "Order in which upstreams are tried.")
    gemini_api_key: tuple[str, ...] = _knob(
        KEYS,
        (),
        "Gemini API keys: configures the `gemini` upstream. With Vertex AI on and neither project nor location set, "
        "`GOOGLE_API_KEY` is the express-mode key of Vertex AI instead.",
        env="GEMINI_API_KEY",
        also=("GOOGLE_API_KEY",),
        secret=True,
    )
    gemini_base_url: str = _knob(
        WEB, "https://generativelanguage.googleapis.com", "Root of the Gemini API.", env="GOOGLE_GEMINI_BASE_URL"
    )
    vertex: bool = _knob(
        SWITCH,
        False,
        "The `vertex` upstream: Vertex AI.",
        env="GOOGLE_GENAI_USE_VERTEXAI",
        also=("GOOGLE_GENAI_USE_ENTERPRISE",),
    )
    vertex_project: str | None = _knob(PROJECT, None, "Project for Vertex AI.", env="GOOGLE_CLOUD_PROJECT")
    vertex_location: str = _knob(LOCATION, "global", "Location for Vertex AI.", env="GOOGLE_CLOUD_LOCATION")
    vertex_credentials: Path | None = _knob(
        PATH,
        None,
        "Google credentials file for Vertex AI.",
        env="GOOGLE_APPLICATION_CREDENTIALS",
        shown="the machine's own (application default credentials)",
    )
    vertex_base_url: str | None = _knob(WEB, None, "Other root for Vertex AI.", env="GOOGLE_VERTEX_BASE_URL")
    antigravity: bool = _knob(SWITCH, False, "The `antigravity` upstream; `on` says that you read the terms warning.")
    antigravity_base_url: str = _knob(
        WEB,
        "https://cloudcode-pa.googleapis.com",
        "Root of Antigravity / Cloud Code Assist.",
        env="ANTIGRAVITY_BASE_URL",
    )
    antigravity_access_token: str | None = _knob(
        KEY, None, "A bearer token obtained elsewhere.", env="ANTIGRAVITY_ACCESS_TOKEN", secret=True
    )
    antigravity_project: str | None = _knob(PROJECT, None, "The project of that token.", env="ANTIGRAVITY_PROJECT")
    antigravity_oauth_client_id: str | None = _knob(
        KEY, None, "Your own OAuth client for `login`; none is shipped.", env="ANTIGRAVITY_OAUTH_CLIENT_ID"
    )
    antigravity_oauth_client_secret: str | None = _knob(
        KEY, None, "The secret of that client.", env="ANTIGRAVITY_OAUTH_CLIENT_SECRET", secret=True
    )
    oauth_token_url: str = _knob(
        WEB, "https://oauth2.googleapis.com/token", "Google's token endpoint.", env="GOOGLE_OAUTH_TOKEN_URL"
    )
    proxy: str | None = _knob(PROXY, None, "HTTP proxy towards the upstreams.", secret=True, ancestor="PROXY")
    user_agent: str = _knob(
        AGENT, f"antigravity2api/{__version__}", "How we name ourselves upstream.", shown="antigravity2api/VERSION"
    )

    ca_file: Path | None = _knob(PATH, None, "More certificate authorities (PEM) to trust in calls to the upstreams.")
    live_models: bool = _knob(SWITCH, True, "Ask the upstreams now and then which models they have.")

    max_attempts: int = _knob(integer(1, 5), 3, "Upstream tries a request; 1 means no retry and no failover.")
    cooldown: bool = _knob(SWITCH, True, "Learned cool-downs of credentials.")
    timeout_connect: float = _knob(SECONDS, 5.0, "Connecting to the upstream.")
    timeout_head: float = _knob(SECONDS, 10.0, "A client's request head, counted from accept.")
    timeout_first_event: float = _knob(SECONDS, 300.0, "From the request sent to the upstream's first event.")
    timeout_gap: float = _knob(SECONDS, 120.0, "Between two upstream events.")
    timeout_total: float = _knob(SECONDS, 600.0, "A whole answer.", ancestor="TIMEOUT", convert=_from_ms)
    timeout_body: float = _knob(SECONDS, 30.0, "A client's request body, plus 1 for each 64 KB.")
    timeout_keepalive: float = _knob(SECONDS, 60.0, "An idle client connection.")
    timeout_write: float = _knob(SECONDS, 60.0, "A client that does not read.")
    timeout_drain: float = _knob(SECONDS, 30.0, "Running answers at shutdown.")
    heartbeat: float = _knob(SECONDS, 15.0, "Silence before a comment keeps a stream alive.")
    max_body: int = _knob(
        SIZE, 32 * 2**20, "Largest request body; 413 beyond.", shown="32MB", ancestor="MAX_REQUEST_SIZE"
    )

    default_temperature: float = _knob(number(0, 2), 1.0, "When the client sends none.", ancestor="DEFAULT_TEMPERATURE")
    default_top_p: float = _knob(number(0, 1), 0.85, "When the client sends none.", ancestor="DEFAULT_TOP_P")
    default_top_k: int = _knob(integer(1, 1000), 50, "When the client sends none.", ancestor="DEFAULT_TOP_K")
    default_max_tokens: int = _knob(
        integer(1, 10**7), 8096, "When the client sends none.", ancestor="DEFAULT_MAX_TOKENS"
    )
    headroom: bool = _knob(SWITCH, True, "Add room for thinking to `max_tokens`.")
    show_thoughts: bool = _knob(SWITCH, True, "Ask thinking models for thought summaries.")
    strict_params: bool = _knob(SWITCH, False, "Refuse parameters that the model cannot use, instead of ignoring them.")
    mid_system: str = _knob(
        choice("inline", "hoist"), "inline", "Later system messages: left in place, or moved to the top."
    )
    system_instruction: str | None = _knob(
        TEXT, None, "System text put before each request's own.", ancestor="SYSTEM_INSTRUCTION"
    )
    filler: str = _knob(TEXT, "(continued)", "User text where Gemini needs a user turn and the client sent none.")
    max_n: int = _knob(integer(1, 8), 4, "Most answers (`n`) a request may ask for.")
    fetch_images: bool = _knob(SWITCH, False, "Fetch http(s) image URLs of requests.")
    images: str = _knob(
        choice("url", "inline"), "url", "Generated images: links under /images/, or Markdown data URLs."
    )
    images_extra: bool = _knob(SWITCH, False, "Put generated images into `message.images` as well.")
    images_ttl: float = _knob(SECONDS, 7 * 86400.0, "How long a generated image is kept.", shown="7d")
    images_max_bytes: int = _knob(SIZE, 2**30, "Room for generated images; the oldest go first.", shown="1GB")
    image_base_url: str | None = _knob(
        WEB, None, "Address in image links.", shown="the one the client used", ancestor="IMAGE_BASE_URL"
    )
    aliases: Mapping[str, str] = _knob(ALIASES, {}, "Your own model names.")

    database_url: str = _knob(DATABASE, "", "The database.", shown="sqlite:///DATA_DIR/antigravity2api.db", secret=True)
    redis_url: str | None = _knob(REDIS, None, "Shared limits and locks across nodes.", secret=True, later=True)
    secret_key: str | None = _knob(
        SECRET, None, "Encrypts credentials at rest.", secret=True, shown="made in DATA_DIR/secret.key"
    )
    capture: bool = _knob(SWITCH, False, "Keep request and answer bodies for `logs show`; they hold what users wrote.")
    logs_ttl: float = _knob(SECONDS, 3 * 86400.0, "How long `logs` remembers a request.", shown="3d")
    logs_max_bytes: int = _knob(SIZE, 64 * 2**20, "Room for what `logs` remembers; the oldest go first.", shown="64MB")
    metrics_open: bool = _knob(SWITCH, False, "Serve /metrics without a key.")
    open_secret_files: bool = _knob(SWITCH, False, "Start although a secret file can be read by others.")

    vertex_api_key: tuple[str, ...] = field(default=(), repr=False)
    """Express-mode keys of Vertex AI: ``GOOGLE_API_KEY``, where it is read so."""
    secret_key_file: Path | None = None
    """Where ``secret_key`` was read from, if that is a file of its own."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value came from, by setting name."""
    notices: tuple[str, ...] = ()
    """One-line remarks for the operator."""


def _describe() -> Iterator[Setting]:
    for item in fields(Settings):
        if "form" not in item.metadata:
            continue
        env = item.metadata.get("env", PREFIX + item.name.upper())
        rest = {key: value for key, value in item.metadata.items() if key != "env"}
        default: Any = item.default if item.default is not MISSING else {}
        yield Setting(name=item.name, env=env, default=default, **rest)


SETTINGS: tuple[Setting, ...] = tuple(_describe())


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """One place that values come from: raw text by name, the words for it, and where relative paths start."""

    values: Mapping[str, str]
    label: str
    base: Path
    names: Callable[[Setting], Iterable[str]]


def _env_names(setting: Setting) -> Iterable[str]:
    return (setting.env, *setting.also)


def _toml_names(setting: Setting) -> Iterable[str]:
    return (setting.name,)


def load(overrides: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> Settings:
    """The settings of this start. ``overrides`` are flags by setting name. Raises SettingsError with all problems."""
    problems: list[str] = []
    flags = _Source(overrides, "flag", cwd, _toml_names)
    env = _Source(environ, "environment", cwd, _env_names)
    dot = _Source(dotenv(cwd / ".env", problems), ".env", cwd, _env_names)
    for source in (env, dot):
        problems += _unknown(source.values, source.label)

    early = {setting.name: _lookup(setting, (flags, env, dot), []) for setting in SETTINGS if setting.form is PATH}
    path = _config_path(early, environ)
    sources = [flags, env, dot]
    if path is not None:
        sources.append(_Source(_toml(path, problems), str(path), path.parent, _toml_names))

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    notices: list[str] = []
    for setting in SETTINGS:
        found = _lookup(setting, sources, problems) or _ancestor(setting, (env, dot), problems, notices)
        origins[setting.name] = found[1] if found else "default"
        if found:
            values[setting.name] = found[0]
    if path is not None:
        values["config"] = path
    values["secret_key_file"] = _pointed(next(one for one in SETTINGS if one.name == "secret_key"), sources)
    _complete(values, environ, problems)
    notices += _share_google_key(values, origins, sources)
    if problems:
        raise SettingsError(problems)
    return Settings(**values, origins=origins, notices=tuple(notices))


def _lookup(setting: Setting, sources: Iterable[_Source], problems: list[str]) -> tuple[Any, str] | None:
    """The first value and where it stands. Values that it hides are read too: a wrong one is a mistake all the same."""
    found = [
        value for source in sources for name in source.names(setting) if (value := _at(setting, source, name, problems))
    ]
    return found[0] if found else None


def _pointed(setting: Setting, sources: Iterable[_Source]) -> Path | None:
    """The file that a secret comes from; None where its value is given itself."""
    for source in sources:
        suffix = "_file" if source.names is _toml_names else "_FILE"
        for name in source.names(setting):
            if source.values.get(name, "").strip():
                return None
            if pointer := source.values.get(name + suffix, "").strip():
                with contextlib.suppress(ValueError):  # told by who reads it
                    return Path(source.base, PATH.read(pointer))
    return None


def _at(setting: Setting, source: _Source, name: str, problems: list[str]) -> tuple[Any, str] | None:
    suffix = "_file" if source.names is _toml_names else "_FILE"
    raw = source.values.get(name, "").strip()
    pointer = source.values.get(name + suffix, "").strip() if setting.secret else ""
    if raw and pointer:
        problems.append(f"{name} and {name}{suffix} ({source.label}) are both set; keep one.")
        return None
    if pointer:
        where = f"{name}{suffix} ({source.label})"
        raw = secret_file(source.base, pointer, where, problems)
    else:
        where = f"--{name.replace('_', '-')}" if source.label == "flag" else f"{name} ({source.label})"
    if raw and setting.convert and name == setting.ancestor:
        raw = setting.convert(raw)
    return _read(setting, raw, where, source.base, problems) if raw else None


def _read(setting: Setting, raw: str, where: str, base: Path, problems: list[str]) -> tuple[Any, str] | None:
    try:
        value = setting.form.read(raw)
    except ValueError:
        shown = "its value (not shown, it is a secret)" if setting.secret else repr(without_secrets(raw)[:200])
        hint = (
            " Kubernetes made this name from a Service: set enableServiceLinks: false."
            if raw.startswith("tcp://")
            else ""
        )
        problems.append(f"{where}: {shown} is not {setting.form.expected}.{hint}")
        return None
    return (base / value if isinstance(value, Path) else value), where


def _ancestor(
    setting: Setting, sources: Iterable[_Source], problems: list[str], notices: list[str]
) -> tuple[Any, str] | None:
    if setting.ancestor is None:
        return None
    for source in sources:
        for suffix in ("", "_FILE") if setting.secret else ("",):
            if source.values.get(setting.ancestor + suffix, "").strip():
                where = f"{setting.ancestor}{suffix} ({source.label})"
                notices.append(f"{where} is read as {setting.env}{suffix}; set that name instead.")
                return _at(setting, source, setting.ancestor, problems)
    return None


def _complete(values: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """Defaults that depend on other values."""
    if "data_dir" not in values:
        home = _xdg(environ, "XDG_DATA_HOME", ".local/share")
        if home is None:
            problems.append(f"No home directory is known: set {PREFIX}DATA_DIR or --data-dir.")
            return
        values["data_dir"] = home
    values.setdefault("database_url", f"sqlite:///{values['data_dir']}/antigravity2api.db")


def _share_google_key(values: dict[str, Any], origins: dict[str, str], sources: Sequence[_Source]) -> list[str]:
    """GOOGLE_API_KEY as Google's SDKs read it: where Vertex AI is on and neither project nor location is set, it is an
    express-mode key and no Gemini API key. What the operator should know of it."""
    gemini = next(setting for setting in SETTINGS if setting.name == "gemini_api_key")
    named = [source for source in sources if source.names is _env_names]
    google = _lookup(replace(gemini, env=gemini.also[0], also=()), named, []) if values.get("vertex") else None
    if google is None:
        return []
    for place in ("vertex_project", "vertex_location"):
        if place in values:
            return [f"{google[1]} is no express-mode key of Vertex AI, because {origins[place]} is set."]
    values["vertex_api_key"] = google[0]
    keys, origins["gemini_api_key"] = _lookup(replace(gemini, also=()), sources, []) or ((), "default")
    values["gemini_api_key"] = keys
    return [f"{google[1]} is an express-mode key of Vertex AI, because GOOGLE_CLOUD_PROJECT is not set."]


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    # The XDG base directory specification: a relative path in these variables is to be ignored.
    if Path(base := environ.get(variable, "")).is_absolute():
        return Path(base, "antigravity2api")
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home, below_home, "antigravity2api") if home else None


def config_places(data_dir: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """Where the TOML file is looked for when nobody names it: the data directory, then the XDG one."""
    places = (data_dir or _xdg(environ, "XDG_DATA_HOME", ".local/share"), _xdg(environ, "XDG_CONFIG_HOME", ".config"))
    return [place / "config.toml" for place in places if place is not None]


def _config_path(early: Mapping[str, tuple[Any, str] | None], environ: Mapping[str, str]) -> Path | None:
    """The TOML file; one that somebody named has to exist, which reading it finds out."""
    if given := early["config"]:
        return Path(given[0])
    data = early["data_dir"]
    places = config_places(data[0] if data else None, environ)
    return next((place for place in places if is_there(place)), None)


def _unknown(values: Mapping[str, str], label: str) -> Iterator[str]:
    known = {setting.env for setting in SETTINGS} | {f"{setting.env}_FILE" for setting in SETTINGS if setting.secret}
    for name in sorted(values):
        if name.startswith(PREFIX) and name not in known:
            hint = _suggest(name, known)
            if re.search(r"_SERVICE_(HOST|PORT)|_PORT_\d+_", name):
                hint = " Kubernetes made it from a Service: set enableServiceLinks: false in the pod."
            yield f"{name} ({label}) is not a setting.{hint}"


def _suggest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f" Did you mean {close[0]}?" if close else " `antigravity2api config show` lists them all."


def _toml(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        table = tomllib.loads(read_text(path, str(path), problems))
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: not TOML: {error}.")
        return {}
    known = {setting.name for setting in SETTINGS} - {"config"}
    known |= {f"{setting.name}_file" for setting in SETTINGS if setting.secret}
    values: dict[str, str] = {}
    for name, value in table.items():
        if name not in known:
            problems.append(f"{name} ({path}) is not a setting.{_suggest(name, known)}")
        elif (raw := as_text(name, value)) is None:
            problems.append(f"{name} ({path}): a {type(value).__name__} does not fit here.")
        else:
            values[name] = raw
    return values


# --- rules about keys and addresses ----------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check(settings: Settings, stored: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """What forbids a start and what only deserves a warning: ``(refusals, warnings)``. ``stored`` names the upstreams
    that have a credential in the store."""
    refusals: list[str] = []
    warnings: list[str] = []
    local = is_loopback(settings.host)
    if not local and not settings.api_key:
        refusals.append(
            f"{settings.host} can be reached from other machines, and no API key is configured: "
            f"set {PREFIX}API_KEY (or {PREFIX}API_KEY_FILE) to a long random text, or listen on 127.0.0.1."
        )
    if examples := [key for key in settings.api_key if key.lower() in EXAMPLE_KEYS]:
        where = settings.origins.get("api_key", "api_key")
        text = f"{', '.join(examples)} in {where} is an example that anybody would try"
        if local:
            warnings.append(f"{text}; choose a random one before others can reach this machine.")
        else:
            refusals.append(f"{text}: choose a random one, or listen on 127.0.0.1.")
    if settings.database_url.startswith("postgres"):
        where = settings.origins.get("database_url", "database_url")
        refusals.append(f"{where}: PostgreSQL comes in a later release; use sqlite:///PATH.")
    if not local:
        warnings.append(
            f"{settings.host} is served without TLS: put a TLS proxy in front, or keys and prompts can be read."
        )
    warnings += _about_vertex(settings, has_stored="vertex" in stored)
    warnings += [
        f"{origin} is understood, but this release does not use it yet."
        for setting in SETTINGS
        if setting.later and (origin := settings.origins.get(setting.name, "default")) != "default"
    ]
    return refusals, warnings


def configured_upstreams(settings: Settings) -> tuple[str, ...]:
    """The upstreams that have what they need by configuration alone, first choice first."""
    ready = {
        "gemini": bool(settings.gemini_api_key),
        "vertex": settings.vertex and _trouble_with_vertex(settings) is None,
        "antigravity": settings.antigravity and settings.antigravity_access_token is not None,
    }
    return tuple(name for name in settings.upstreams if ready.get(name))


def lacking_upstreams(settings: Settings, stored: Collection[str] = ()) -> list[str]:
    """The upstreams that were switched on and have neither a configured nor a ``stored`` credential; without any
    credential at all, every upstream."""
    ready = {*configured_upstreams(settings), *stored}.intersection(settings.upstreams)
    wanted = {"vertex": settings.vertex, "antigravity": settings.antigravity}
    return [name for name in settings.upstreams if name not in ready and (wanted.get(name) or not ready)]


def vertex_project(settings: Settings) -> str | None:
    """The project for Vertex AI: the operator's word, else the one that the credentials file names. None where only the
    machine's own credentials may know one."""
    if settings.vertex_project or settings.vertex_credentials is None:
        return settings.vertex_project
    file = credentials_file(settings.vertex_credentials)
    named = (file.get(key) for key in ("project_id", "quota_project_id"))
    return next((project for project in named if isinstance(project, str) and project), None)


def _trouble_with_vertex(settings: Settings) -> str | None:
    """Why the upstream that was switched on cannot serve, as far as the settings show it."""
    path = settings.vertex_credentials
    if settings.vertex_api_key or path is None:
        return None
    if not credentials_file(path):
        where = settings.origins.get("vertex_credentials", "vertex_credentials")
        return f"{where}: {without_secrets(str(path))} is no credentials file that can be read"
    return None if vertex_project(settings) else "set GOOGLE_CLOUD_PROJECT, which the credentials file does not name"


def _about_vertex(settings: Settings, *, has_stored: bool) -> Iterator[str]:
    """Warnings about settings that cannot mean what they say."""
    if settings.vertex and (trouble := _trouble_with_vertex(settings)):
        if has_stored:
            yield f"the vertex upstream has its stored credentials only; the configured ones cannot work: {trouble}."
        else:
            yield f"the vertex upstream cannot work like this: {trouble}."
    if settings.vertex and settings.vertex_api_key and settings.vertex_credentials:
        yield (
            "GOOGLE_APPLICATION_CREDENTIALS is not used: GOOGLE_API_KEY without GOOGLE_CLOUD_PROJECT asks for the "
            "express mode of Vertex AI. Set GOOGLE_CLOUD_PROJECT, or remove one of them."
        )
    if settings.vertex and "vertex" not in settings.upstreams:
        yield f"Vertex AI is on, but vertex is not among {settings.origins.get('upstreams', 'upstreams')}."
    alone = settings.vertex_project and not (settings.gemini_api_key or settings.antigravity)
    if not settings.vertex and (settings.vertex_base_url or alone):
        yield "Vertex AI has settings, but is off: set GOOGLE_GENAI_USE_VERTEXAI=true to use it."


def redacted(setting: Setting, value: Any) -> Any:
    """A value as it may be shown: secrets as length and a short hash, URLs without their password."""
    if isinstance(value, Path):
        return str(value)
    if not setting.secret or not value:
        return value
    if setting.form in (DATABASE, PROXY, REDIS):
        return re.sub(r"//[^/]*@", "//***@", value)
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"set ({len(part)} characters, sha256 {sha256(part.encode()).hexdigest()[:8]})" for part in parts)
