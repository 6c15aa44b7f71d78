"""``config init``, ``config check`` and ``config show``."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from antigravity2api.cli.config import template
from antigravity2api.settings import SETTINGS, load


def test_init_writes_a_private_file_that_says_everything(cli, home):
    done = cli("config", "init")
    path = home / ".config/antigravity2api/config.toml"
    assert (done.code, done.out) == (0, f"{path}\n")
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text(encoding="utf-8")
    for setting in SETTINGS:
        assert setting.name == "config" or re.search(rf"^# \[?{setting.name}", text, re.MULTILINE), setting.name
    assert cli("config", "check").code == 0


def test_init_keeps_a_file_that_is_there(cli, home):
    (home / "own.toml").write_text("port = 1", encoding="utf-8")
    done = cli("config", "init", "--config", "own.toml")
    assert (done.code, done.out) == (2, "")
    assert "--force" in done.err
    assert (home / "own.toml").read_text(encoding="utf-8") == "port = 1"
    assert cli("config", "init", "--config", "own.toml", "--force").code == 0


def test_init_goes_beside_the_data_when_that_is_named(cli, home):
    assert cli("config", "init", "--data-dir", "data").out == f"{home}/data/config.toml\n"
    (home / "data/config.toml").write_text("port = 7", encoding="utf-8")
    assert cli("config", "init", "--data-dir", "data").code == 2
    assert "7" in cli("config", "show", "--data-dir", "data").out.splitlines()[2]


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.name not in ("config", "aliases")])
def test_each_line_of_the_file_holds_the_default(tmp_path: Path, name: str):
    line = next(line for line in template().splitlines() if re.match(rf"# {name}(_file)? = ", line))
    tomllib.loads(line.removeprefix("# "))
    environ = {"HOME": str(Path("~").expanduser())}
    if "_file = " in line or line.endswith('= ""'):
        return
    (tmp_path / "config.toml").write_text(line.removeprefix("# "), encoding="utf-8")
    given = load({"config": "config.toml"}, environ, tmp_path)
    assert getattr(given, name) == getattr(load({}, environ, tmp_path), name)


def test_check_tells_all_problems(cli, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_PORT", "x")
    monkeypatch.setenv("ANTIGRAVITY2API_PROT", "1")
    done = cli("config", "check")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 2
    done = cli("config", "check", "--json")
    report = json.loads(done.out)
    assert (done.code, report["ok"], len(report["errors"])) == (2, False, 2)


def test_check_refuses_what_serve_would_refuse(cli, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_HOST", "0.0.0.0")
    assert cli("config", "check").code == 2


def test_check_passes_notices_on(cli, monkeypatch):
    monkeypatch.setenv("TIMEOUT", "1000")
    done = cli("config", "check")
    assert done.code == 0
    assert "TIMEOUT (environment) is read as ANTIGRAVITY2API_TIMEOUT_TOTAL" in done.err


def test_show_lists_every_setting_and_no_secret(cli, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "hunter2,hunter3")
    done = cli("config", "show", "--origin")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [setting.name for setting in SETTINGS]
    assert "hunter" not in done.out
    assert "GEMINI_API_KEY (environment)" in done.out
    assert "ORIGIN" not in cli("config", "show").out


def test_show_as_json(cli, monkeypatch, home):
    monkeypatch.setenv("ANTIGRAVITY2API_ALIASES", "fast=gemini-2.5-flash")
    (home / ".env").write_text("ANTIGRAVITY2API_PORT=9\nGEMINI_API_KEY=hunter2\n", encoding="utf-8")
    done = cli("config", "show", "--json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["port"] == {
        "name": "port",
        "env": "ANTIGRAVITY2API_PORT",
        "value": 9,
        "origin": "ANTIGRAVITY2API_PORT (.env)",
    }
    assert rows["aliases"]["value"] == {"fast": "gemini-2.5-flash"}
    assert "hunter" not in done.out


def test_a_verb_is_needed(cli):
    assert cli("config").code == 2
    assert cli("config", "frobnicate").code == 2
