"""Settings: forms, precedence, secrets in files, and messages an operator can act on."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from antigravity2api.gemini.models import ModelTable
from antigravity2api.settings import (
    EXAMPLE_KEYS,
    SETTINGS,
    Settings,
    SettingsError,
    check,
    configured_upstreams,
    is_loopback,
    load,
    redacted,
)
from antigravity2api.upstreams.transport import Proxy

BY_NAME = {setting.name: setting for setting in SETTINGS}
CONTRACT = """
ANTIGRAVITY2API_API_KEY
ANTIGRAVITY2API_HOST
ANTIGRAVITY2API_PORT
ANTIGRAVITY2API_DATA_DIR
ANTIGRAVITY2API_CONFIG
ANTIGRAVITY2API_WORKERS
ANTIGRAVITY2API_DATABASE_URL
ANTIGRAVITY2API_REDIS_URL
ANTIGRAVITY2API_SECRET_KEY
GEMINI_API_KEY
GOOGLE_GEMINI_BASE_URL
GOOGLE_GENAI_USE_VERTEXAI
GOOGLE_CLOUD_PROJECT
GOOGLE_CLOUD_LOCATION
GOOGLE_APPLICATION_CREDENTIALS
GOOGLE_VERTEX_BASE_URL
ANTIGRAVITY_BASE_URL
ANTIGRAVITY2API_ANTIGRAVITY
ANTIGRAVITY_ACCESS_TOKEN
ANTIGRAVITY_PROJECT
ANTIGRAVITY_OAUTH_CLIENT_ID
ANTIGRAVITY_OAUTH_CLIENT_SECRET
GOOGLE_OAUTH_TOKEN_URL
ANTIGRAVITY2API_MAX_ATTEMPTS
ANTIGRAVITY2API_COOLDOWN
ANTIGRAVITY2API_TIMEOUT_CONNECT
ANTIGRAVITY2API_TIMEOUT_HEAD
ANTIGRAVITY2API_TIMEOUT_FIRST_EVENT
ANTIGRAVITY2API_TIMEOUT_GAP
ANTIGRAVITY2API_TIMEOUT_TOTAL
ANTIGRAVITY2API_TIMEOUT_BODY
ANTIGRAVITY2API_TIMEOUT_KEEPALIVE
ANTIGRAVITY2API_TIMEOUT_WRITE
ANTIGRAVITY2API_TIMEOUT_DRAIN
ANTIGRAVITY2API_HEARTBEAT
ANTIGRAVITY2API_MAX_BODY
ANTIGRAVITY2API_IMAGES
""".split()
ANCESTORS = """
PORT HOST API_KEY DEFAULT_TEMPERATURE DEFAULT_TOP_P DEFAULT_TOP_K DEFAULT_MAX_TOKENS MAX_REQUEST_SIZE TIMEOUT PROXY
SYSTEM_INSTRUCTION IMAGE_BASE_URL
""".split()


@pytest.fixture
def read(tmp_path: Path):
    """Load with a home of its own; ``dotenv`` and ``toml`` write those files first."""

    def run(flags=None, *, dotenv: str | None = None, toml: str | None = None, **environ: str) -> Settings:
        if dotenv is not None:
            (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        if toml is not None:
            home = tmp_path / ".config" / "antigravity2api"
            home.mkdir(parents=True, exist_ok=True)
            (home / "config.toml").write_text(toml, encoding="utf-8")
        return load(flags or {}, {"HOME": str(tmp_path), **environ}, tmp_path)

    return run


def problems(call, *args, **kwargs) -> str:
    with pytest.raises(SettingsError) as caught:
        call(*args, **kwargs)
    return "\n".join(caught.value.problems)


def test_defaults_need_nothing_but_a_home(read, tmp_path):
    settings = read()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8045, 1)
    assert settings.data_dir == tmp_path / ".local/share/antigravity2api"
    assert settings.database_url == f"sqlite:///{settings.data_dir}/antigravity2api.db"
    timeouts = {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if "timeout" in field.name
    }
    assert timeouts == {
        "timeout_connect": 5,
        "timeout_head": 10,
        "timeout_first_event": 300,
        "timeout_gap": 120,
        "timeout_total": 600,
        "timeout_body": 30,
        "timeout_keepalive": 60,
        "timeout_write": 60,
        "timeout_drain": 30,
    }
    assert (settings.heartbeat, settings.max_body, settings.max_attempts) == (15, 32 * 2**20, 3)
    assert (settings.default_temperature, settings.default_top_p, settings.default_top_k) == (1, 0.85, 50)
    assert (settings.default_max_tokens, settings.images, settings.antigravity) == (8096, "url", False)
    assert set(settings.origins.values()) == {"default"}
    assert check(settings) == ([], [])


def test_every_name_of_the_contract_is_a_setting():
    assert set(CONTRACT) <= {setting.env for setting in SETTINGS}
    assert set(ANCESTORS) == {setting.ancestor for setting in SETTINGS if setting.ancestor}
    assert BY_NAME["gemini_api_key"].also == ("GOOGLE_API_KEY",)


def test_each_name_stands_once():
    names = [name for setting in SETTINGS for name in (setting.env, *setting.also)]
    assert len(names) == len(set(names))


def test_precedence_is_flags_environment_dotenv_toml_ancestor_default(read):
    layers = {"toml": "port = 4", "dotenv": "ANTIGRAVITY2API_PORT=3", "ANTIGRAVITY2API_PORT": "2", "PORT": "5"}
    settings = read({"port": "1"}, **layers)
    assert (settings.port, settings.origins["port"]) == (1, "--port")
    settings = read(**layers)
    assert (settings.port, settings.origins["port"]) == (2, "ANTIGRAVITY2API_PORT (environment)")
    settings = read(PORT="5")
    assert (settings.port, settings.origins["port"]) == (3, "ANTIGRAVITY2API_PORT (.env)")
    settings = read(dotenv="", PORT="5")
    assert settings.port == 4
    assert settings.origins["port"].endswith("config.toml)")
    settings = read(toml="", PORT="5")
    assert (settings.port, settings.origins["port"]) == (5, "PORT (environment)")
    assert read().port == 8045


def test_an_empty_value_counts_as_absent(read):
    settings = read(ANTIGRAVITY2API_PORT="", GEMINI_API_KEY=" ", GOOGLE_API_KEY="k1,k2")
    assert (settings.port, settings.gemini_api_key) == (8045, ("k1", "k2"))


def test_keys_are_split_and_named_once(read):
    settings = read(ANTIGRAVITY2API_API_KEY="a, b,,a ,c")
    assert settings.api_key == ("a", "b", "c")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("1024", 1024),
        ("32MB", 32 * 2**20),
        ("32 MB", 32 * 2**20),
        ("50mb", 50 * 2**20),
        ("1.5 KiB", 1536),
        ("1g", 2**30),
    ],
)
def test_sizes(read, raw, expected):
    assert read(ANTIGRAVITY2API_MAX_BODY=raw).max_body == expected


@pytest.mark.parametrize(
    ("raw", "expected"), [("30", 30), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("250ms", 0.25), ("7d", 604800)]
)
def test_durations(read, raw, expected):
    assert read(ANTIGRAVITY2API_IMAGES_TTL=raw).images_ttl == pytest.approx(expected)


@pytest.mark.parametrize("word", ["on", "ON", "true", "True", "1", "yes"])
def test_switches_on(read, word):
    assert read(ANTIGRAVITY2API_ANTIGRAVITY=word).antigravity is True


@pytest.mark.parametrize("word", ["off", "false", "0", "No"])
def test_switches_off(read, word):
    assert read(ANTIGRAVITY2API_COOLDOWN=word).cooldown is False


@pytest.mark.parametrize(
    ("name", "raw", "hint"),
    [
        ("ANTIGRAVITY2API_PORT", "80 45", "a whole number from 0 to 65535"),
        ("ANTIGRAVITY2API_PORT", "70000", "a whole number from 0 to 65535"),
        ("ANTIGRAVITY2API_PORT", "٨٠٤٥", "a whole number"),
        ("ANTIGRAVITY2API_PORT", "tcp://10.0.0.1:8045", "enableServiceLinks"),
        ("ANTIGRAVITY2API_HOST", "999.1.1.1", "an IP address or a host name"),
        ("ANTIGRAVITY2API_HOST", "http://localhost", "an IP address or a host name"),
        ("ANTIGRAVITY2API_MAX_ATTEMPTS", "6", "from 1 to 5"),
        ("ANTIGRAVITY2API_MAX_ATTEMPTS", "0", "from 1 to 5"),
        ("ANTIGRAVITY2API_MAX_BODY", "32 XB", "32MB"),
        ("ANTIGRAVITY2API_MAX_BODY", "-1", "bytes"),
        ("ANTIGRAVITY2API_TIMEOUT_GAP", "0", "more than 0"),
        ("ANTIGRAVITY2API_TIMEOUT_GAP", "nan", "seconds"),
        ("ANTIGRAVITY2API_TIMEOUT_GAP", "inf", "seconds"),
        ("ANTIGRAVITY2API_COOLDOWN", "maybe", "`on` or `off`"),
        ("ANTIGRAVITY2API_IMAGES", "file", "`url` or `inline`"),
        ("ANTIGRAVITY2API_UPSTREAMS", "gemini,openai", "gemini, vertex, antigravity"),
        ("ANTIGRAVITY2API_ALIASES", "fast", "alias=model"),
        ("ANTIGRAVITY2API_ALIASES", "fast=..", "alias=model"),
        ("ANTIGRAVITY2API_ALIASES", "fast=models/../x", "alias=model"),
        ("ANTIGRAVITY2API_ALIASES", "a/b=x", "alias=model"),
        ("GOOGLE_GEMINI_BASE_URL", "generativelanguage.googleapis.com", "a URL"),
        ("GOOGLE_GEMINI_BASE_URL", "ftp://host", "a URL"),
        ("GOOGLE_GEMINI_BASE_URL", "https://host:99999", "a URL"),
        ("GOOGLE_GEMINI_BASE_URL", "https://ho st", "a URL"),
        ("GOOGLE_CLOUD_PROJECT", "a/../b", "a project id"),
        ("GOOGLE_CLOUD_LOCATION", "evil.example/#", "a location"),
        ("ANTIGRAVITY2API_USER_AGENT", "antigravity/1.15.8 darwin/arm64", "another client"),
        ("ANTIGRAVITY2API_USER_AGENT", "GeminiCLI/0.61.0", "another client"),
        ("ANTIGRAVITY2API_USER_AGENT", "cloudcode-vscode/1", "another client"),
        ("ANTIGRAVITY2API_USER_AGENT", "a\r\nX-Evil: 1", "printable ASCII"),
        ("DEFAULT_TEMPERATURE", "3", "from 0 to 2"),
    ],
)
def test_a_wrong_value_names_variable_value_and_form(read, name, raw, hint):
    text = problems(read, **{name: raw})
    assert name in text
    assert repr(raw) in text
    assert hint in text


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("ANTIGRAVITY2API_API_KEY", "two words"),
        ("GEMINI_API_KEY", "schlüssel"),
        ("ANTIGRAVITY_ACCESS_TOKEN", "a b"),
        ("ANTIGRAVITY2API_DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("ANTIGRAVITY2API_REDIS_URL", "http://u:hunter2@h"),
        ("ANTIGRAVITY2API_SECRET_KEY", "hunter2 hunter2"),
        ("ANTIGRAVITY2API_PROXY", "socks5://user:hunter2@host:1080"),
        ("PROXY", "http://user:hunter2@host:3128/path"),
        ("PROXY", "user:hunter2@host:3128"),
    ],
)
def test_a_wrong_secret_is_named_but_not_shown(read, name, raw):
    text = problems(read, **{name: raw})
    assert name in text
    assert raw not in text
    assert "hunter2" not in text


@pytest.mark.parametrize("name", ["GOOGLE_GEMINI_BASE_URL", "ANTIGRAVITY2API_IMAGE_BASE_URL", "IMAGE_BASE_URL"])
@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("https://user:hunter2@host", "'https://***@host'"),
        ("https://user:hunt/er@hunter2@host/p", "'https://***@host/p'"),
        ("http:/user:hunter2@host", "'***@host'"),
        ("user:hunter2@host:3128", "'***@host:3128'"),
        ("https://host/?key=hunter2", "'https://host/?***'"),
        ("https://" + "u" * 190 + ":hunter2@host", "'https://***@host'"),
    ],
)
def test_a_wrong_value_is_shown_without_the_password_in_it(read, name, raw, shown):
    text = problems(read, **{name: raw})
    assert shown in text
    assert "hunter2" not in text
    assert "without user" in text


def test_a_wrong_place_of_a_secret_is_shown_without_the_password_in_it(read):
    text = problems(read, ANTIGRAVITY2API_PROXY_FILE="http://user:hunter2@host:3128")
    assert "ANTIGRAVITY2API_PROXY_FILE" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    "raw",
    [
        "http://host:3128",
        "http://host",
        "http://user:pw@host:3128",
        "https://user:p%40ss%2Fword@proxy.example:8443/",
        "http://user@[::1]:3128",
    ],
)
@pytest.mark.parametrize("name", ["ANTIGRAVITY2API_PROXY", "PROXY"])
def test_a_proxy_may_have_a_user_and_shows_no_password(read, name, raw):
    settings = read(**{name: raw})
    assert settings.proxy == raw.rstrip("/")
    assert Proxy.parse(settings.proxy).host in raw
    assert raw.rpartition("@")[0] == "" or raw not in repr(settings)
    shown = redacted(BY_NAME["proxy"], settings.proxy)
    assert shown == re.sub("//.*@", "//***@", settings.proxy)
    assert not any("does not use it yet" in text for text in check(settings)[1])


@pytest.mark.parametrize(
    "raw",
    [
        "host:3128",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://host/path",
        "http://host?x=1",
        "http://a b:c@host",
        "http://us%3Aer:pw@host",
        "http://us%0D%0Aer:pw@host",
        "http://pro\\xy",
    ],
)
def test_a_wrong_proxy_is_refused_with_its_form(read, raw):
    assert "http://user:password@host:port" in problems(read, ANTIGRAVITY2API_PROXY=raw)


def test_a_proxy_may_stand_in_a_file(read, tmp_path):
    (tmp_path / "proxy").write_text("http://user:hunter2@host:3128\n", encoding="utf-8")
    for name in ("ANTIGRAVITY2API_PROXY_FILE", "PROXY_FILE"):
        assert read(**{name: "proxy"}).proxy == "http://user:hunter2@host:3128"


def test_the_ancestors_secrets_may_stand_in_files(read, tmp_path):
    (tmp_path / "key").write_text("abcdefgh12345678\n", encoding="utf-8")
    settings = read(API_KEY_FILE="key")
    assert settings.api_key == ("abcdefgh12345678",)
    assert settings.origins["api_key"] == "API_KEY_FILE (environment)"
    (notice,) = settings.notices
    assert notice == "API_KEY_FILE (environment) is read as ANTIGRAVITY2API_API_KEY_FILE; set that name instead."
    assert "cannot read" in problems(read, API_KEY_FILE="nowhere")
    assert "both set" in problems(read, API_KEY_FILE="key", API_KEY="x")
    assert read(API_KEY_FILE="nowhere", ANTIGRAVITY2API_API_KEY="x" * 20).notices == ()
    assert read(PORT_FILE="nowhere").port == 8045


def test_the_file_of_the_secret_key_is_known_where_it_is_the_one_that_counts(read, tmp_path):
    (tmp_path / "key").write_text("abcdefgh12345678\n", encoding="utf-8")
    assert read(ANTIGRAVITY2API_SECRET_KEY_FILE="key").secret_key_file == tmp_path / "key"
    assert read(dotenv="ANTIGRAVITY2API_SECRET_KEY_FILE=key").secret_key_file == tmp_path / "key"
    both = read(ANTIGRAVITY2API_SECRET_KEY="b" * 20)
    assert (both.secret_key, both.secret_key_file) == ("b" * 20, None)
    assert read(dotenv="").secret_key_file is None
    file = tmp_path / "key"
    assert read(toml=f'secret_key_file = "{file}"').secret_key_file == file


def test_a_wrong_value_that_is_hidden_by_another_is_a_mistake_all_the_same(read):
    assert "'many'" in problems(read, {"port": "1"}, ANTIGRAVITY2API_PORT="many")
    assert "'lots'" in problems(read, {"port": "1"}, dotenv="ANTIGRAVITY2API_PORT=lots")
    # The ancestor's names are other programs' names too: they count only when they are used.
    assert read({"port": "1"}, dotenv="", PORT="many").port == 1


def test_all_problems_are_told_at_once(read):
    text = problems(read, ANTIGRAVITY2API_PORT="x", ANTIGRAVITY2API_PROT="1", dotenv="ANTIGRAVITY2API_HOOST=1")
    assert text.count("\n") == 2


def test_an_unknown_name_gets_a_suggestion(read):
    assert "Did you mean ANTIGRAVITY2API_PORT?" in problems(read, ANTIGRAVITY2API_PROT="1")
    assert "Did you mean ANTIGRAVITY2API_API_KEY" in problems(read, dotenv="ANTIGRAVITY2API_APIKEY=1")
    assert "Did you mean timeout_gap?" in problems(read, dotenv="", toml="timeout_gab = 1")
    assert "config show" in problems(read, toml="", ANTIGRAVITY2API_QQQQQQQQQQQQ="1")


def test_only_secrets_come_from_files(read):
    assert "ANTIGRAVITY2API_PORT_FILE (environment) is not a setting" in problems(read, ANTIGRAVITY2API_PORT_FILE="x")


def test_names_that_kubernetes_makes_are_explained(read):
    assert "enableServiceLinks" in problems(read, ANTIGRAVITY2API_SERVICE_HOST="10.0.0.1")


def test_foreign_names_are_left_alone(read):
    assert read(ANTIGRAVITY_SOMETHING="1", OTHER="2", dotenv="DATABASE_URL=x\n").port == 8045


def test_dotenv_is_read_as_shells_write_it(read):
    settings = read(
        dotenv="\ufeff# comment\n\nexport ANTIGRAVITY2API_PORT=9000 # why\nGEMINI_API_KEY='k#1,k2'\n"
        'ANTIGRAVITY2API_SYSTEM_INSTRUCTION="one\\ntwo \\"x\\" # y"  # note\n'
        "ANTIGRAVITY2API_IMAGE_BASE_URL=https://example.org/a\n"
    )
    assert settings.port == 9000
    assert settings.gemini_api_key == ("k#1", "k2")
    assert settings.system_instruction == 'one\ntwo "x" # y'
    assert settings.image_base_url == "https://example.org/a"


def test_a_broken_dotenv_line_is_named_but_not_shown(read):
    text = problems(read, dotenv="A=1\nsecret-without-a-name\n")
    assert ".env:2" in text
    assert "secret-without" not in text


@given(line=st.text(max_size=60))
@hypothesis_settings(max_examples=120, deadline=None)
def test_any_dotenv_loads_or_is_a_settings_error(tmp_path_factory, line):
    home = tmp_path_factory.mktemp("home")
    (home / ".env").write_text(line, encoding="utf-8", newline="")
    try:
        assert load({}, {"HOME": str(home)}, home).data_dir.is_relative_to(home)
    except SettingsError as error:
        assert error.problems  # noqa: PT017 -- either end is right


@given(value=st.text(max_size=40).filter(str.strip))
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_value_is_read_or_refused_with_valueerror(value):
    for setting in SETTINGS:
        with contextlib.suppress(ValueError):
            assert setting.form.read(value.strip()) is not None, setting.name


def test_secret_files(read, tmp_path):
    (tmp_path / "keys").write_text("k1\nk2\n", encoding="utf-8")
    settings = read(GEMINI_API_KEY_FILE="keys")
    assert settings.gemini_api_key == ("k1", "k2")
    assert settings.origins["gemini_api_key"] == "GEMINI_API_KEY_FILE (environment)"
    assert "both set" in problems(read, GEMINI_API_KEY_FILE="keys", GEMINI_API_KEY="x")
    assert "cannot read" in problems(read, GEMINI_API_KEY_FILE="nowhere")
    assert "is not a path" in problems(read, GEMINI_API_KEY_FILE="~nobody-of-that-name/x")
    (tmp_path / "keys").write_text("", encoding="utf-8")
    assert "empty" in problems(read, GEMINI_API_KEY_FILE="keys")


def test_aliases_that_load_are_names_that_the_model_table_takes(read):
    raw = "fast=models/gemini-2.5-flash, best = gemini-2.5-pro,own=tunedModels/x-1"
    table = ModelTable.load(read(ANTIGRAVITY2API_ALIASES=raw).aliases)
    assert table.resolve("own") == "tunedModels/x-1"
    assert table.resolve("best") == "gemini-2.5-pro"


def test_every_secret_may_come_from_a_file(read, tmp_path):
    good = {"database_url": "postgresql://u:p@h/d", "redis_url": "redis://h:6379/0", "proxy": "http://u:p@h"}
    for setting in (item for item in SETTINGS if item.secret):
        raw = good.get(setting.name, "value-of-a-secret")
        (tmp_path / "secret").write_text(raw + "\n", encoding="utf-8")
        value = getattr(read(**{f"{setting.env}_FILE": str(tmp_path / "secret")}), setting.name)
        assert value in (raw, (raw,))


def test_toml_values_keep_their_types(read, tmp_path):
    home = tmp_path / ".config/antigravity2api"
    home.mkdir(parents=True)
    (home / "token").write_text("t", encoding="utf-8")
    settings = read(
        toml="port = 1\nworkers = 2\ncooldown = false\ntimeout_gap = 1.5\nmax_body = '1KB'\n"
        "gemini_api_key = ['a', 'b']\nantigravity_access_token_file = 'token'\nvertex_credentials = 'c.json'\n"
        "[aliases]\nfast = 'gemini-2.5-flash'\n'gpt-4.1' = 'gemini-2.5-pro'\n"
    )
    assert (settings.port, settings.workers, settings.cooldown, settings.timeout_gap) == (1, 2, False, 1.5)
    assert (settings.max_body, settings.gemini_api_key) == (1024, ("a", "b"))
    # Paths in the file start where the file is.
    assert settings.antigravity_access_token == "t"
    assert settings.vertex_credentials == tmp_path / ".config/antigravity2api/c.json"
    assert settings.aliases == {"fast": "gemini-2.5-flash", "gpt-4.1": "gemini-2.5-pro"}


@pytest.mark.parametrize(
    ("toml", "hint"),
    [
        ("port = ", "not TOML"),
        ("port = [1]", "a list does not fit"),
        ("[port]\na = 1", "a dict does not fit"),
        ("port = 1979-05-27", "a date does not fit"),
        ("config = 'x'", "not a setting"),
        ("aliases = {a = 1}", "a dict does not fit"),
        ("timeout_gap = nan", "seconds"),
    ],
)
def test_a_wrong_toml_file_is_told(read, toml, hint):
    text = problems(read, toml=toml)
    assert hint in text
    assert "config.toml" in text


def test_the_config_file_may_be_named_and_must_then_exist(read, tmp_path):
    assert "cannot read" in problems(read, ANTIGRAVITY2API_CONFIG="nowhere.toml")
    (tmp_path / "my.toml").write_text("port = 7", encoding="utf-8")
    settings = read(ANTIGRAVITY2API_CONFIG="my.toml")
    assert (settings.port, settings.config) == (7, tmp_path / "my.toml")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.toml").write_text("port = 8", encoding="utf-8")
    assert read({"data_dir": "data"}).port == 8


def test_xdg_directories(tmp_path):
    environ = {"XDG_DATA_HOME": str(tmp_path / "d"), "XDG_CONFIG_HOME": str(tmp_path / "c")}
    (tmp_path / "c/antigravity2api").mkdir(parents=True)
    (tmp_path / "c/antigravity2api/config.toml").write_text("port = 9", encoding="utf-8")
    settings = load({}, environ, tmp_path)
    assert (settings.data_dir, settings.port) == (tmp_path / "d/antigravity2api", 9)


def test_without_a_home_the_data_dir_has_to_be_named(tmp_path):
    assert "ANTIGRAVITY2API_DATA_DIR" in problems(load, {}, {}, tmp_path)
    assert load({"data_dir": "x"}, {}, tmp_path).data_dir == tmp_path / "x"


def test_the_ancestors_names_come_with_a_notice(read):
    settings = read(
        PORT="9000",
        HOST="localhost",
        API_KEY="abcdefgh12345678",
        DEFAULT_TEMPERATURE="0.5",
        DEFAULT_TOP_P="0.9",
        DEFAULT_TOP_K="40",
        DEFAULT_MAX_TOKENS="1000",
        MAX_REQUEST_SIZE="50mb",
        TIMEOUT="180000",
        PROXY="http://127.0.0.1:7890",
        SYSTEM_INSTRUCTION="Be kind.",
        IMAGE_BASE_URL="https://img.example",
    )
    assert (settings.port, settings.host, settings.api_key) == (9000, "localhost", ("abcdefgh12345678",))
    assert (settings.default_temperature, settings.default_top_p, settings.default_top_k) == (0.5, 0.9, 40)
    assert (settings.default_max_tokens, settings.max_body) == (1000, 50 * 2**20)
    assert settings.timeout_total == pytest.approx(180)
    assert (settings.proxy, settings.image_base_url) == ("http://127.0.0.1:7890", "https://img.example")
    assert settings.system_instruction == "Be kind."
    assert len(settings.notices) == len(ANCESTORS)
    assert "PORT (environment) is read as ANTIGRAVITY2API_PORT; set that name instead." in settings.notices
    quiet = read(PORT="9000", ANTIGRAVITY2API_PORT="1")
    assert (quiet.port, quiet.notices) == (1, ())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_not_loopback(host):
    assert not is_loopback(host)


def test_beyond_loopback_a_key_is_needed(read):
    refusals, _ = check(read(ANTIGRAVITY2API_HOST="0.0.0.0"))
    assert len(refusals) == 1
    assert "ANTIGRAVITY2API_API_KEY" in refusals[0]
    refusals, warnings = check(read(ANTIGRAVITY2API_HOST="0.0.0.0", ANTIGRAVITY2API_API_KEY="x" * 32))
    assert refusals == []
    assert any("TLS" in text for text in warnings)


@pytest.mark.parametrize("key", ["sk-text", "SK-TEXT", "sk-1234", "changeme", "good-one-8d7f6a5b4c,changeme"])
def test_example_keys_warn_on_loopback_and_refuse_beyond(read, key):
    refusals, warnings = check(read(ANTIGRAVITY2API_API_KEY=key))
    assert refusals == []
    assert any("example" in text for text in warnings)
    refusals, _ = check(read(ANTIGRAVITY2API_API_KEY=key, ANTIGRAVITY2API_HOST="::"))
    assert any("example" in text for text in refusals)
    assert "8d7f6a5b4c" not in "\n".join(refusals)


def test_example_keys_are_compared_in_lower_case():
    assert {key.lower() for key in EXAMPLE_KEYS} == EXAMPLE_KEYS


def test_what_has_no_effect_yet_is_told(read):
    _, warnings = check(read(ANTIGRAVITY2API_REDIS_URL="redis://h", GOOGLE_CLOUD_PROJECT="p"))
    assert [text for text in warnings if "does not use it yet" in text] == [
        "ANTIGRAVITY2API_REDIS_URL (environment) is understood, but this release does not use it yet."
    ]


def test_configured_upstreams_follow_the_order(read):
    assert configured_upstreams(read()) == ()
    assert configured_upstreams(read(GEMINI_API_KEY="k")) == ("gemini",)
    antigravity = {"ANTIGRAVITY_ACCESS_TOKEN": "t", "ANTIGRAVITY_PROJECT": "p", "GEMINI_API_KEY": "k"}
    assert configured_upstreams(read(**antigravity)) == ("gemini",)
    antigravity["ANTIGRAVITY2API_ANTIGRAVITY"] = "on"
    # A project can be found out, a token cannot.
    assert configured_upstreams(read(**{**antigravity, "ANTIGRAVITY_PROJECT": ""})) == ("gemini", "antigravity")
    assert configured_upstreams(read(**{**antigravity, "ANTIGRAVITY_ACCESS_TOKEN": ""})) == ("gemini",)
    assert configured_upstreams(read(ANTIGRAVITY2API_UPSTREAMS="antigravity,gemini", **antigravity)) == (
        "antigravity",
        "gemini",
    )


def test_secrets_show_neither_in_repr_nor_redacted(read):
    settings = read(
        ANTIGRAVITY2API_API_KEY="hunter2-hunter2", ANTIGRAVITY2API_DATABASE_URL="postgresql://u:hunter2@h/d"
    )
    assert "hunter2" not in repr(settings)
    shown = {name: str(redacted(setting, getattr(settings, name))) for name, setting in BY_NAME.items()}
    assert "hunter2" not in "".join(shown.values())
    assert shown["api_key"].startswith("set (15 characters, sha256 ")
    assert shown["database_url"] == "postgresql://***@h/d"
    assert shown["port"] == "8045"
