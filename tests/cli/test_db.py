"""``db upgrade`` and ``db backup``."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing

import pytest

from antigravity2api.store import database


@pytest.fixture
def path(home):
    return home / ".local/share/antigravity2api/antigravity2api.db"


def test_upgrade_makes_a_private_database(cli, path):
    done = cli("db", "upgrade")
    assert done.code == 0
    assert done.out == f"{path}: version {database.latest()}, new.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "nothing to do" in cli("db", "upgrade").out


def test_upgrade_as_json(cli, path):
    report = json.loads(cli("db", "upgrade", "--json").out)
    assert report == {"path": str(path), "before": 0, "version": database.latest()}


def test_upgrade_where_a_flag_or_a_url_says(cli, tmp_path, monkeypatch):
    assert cli("db", "upgrade", "--data-dir", "here").code == 0
    assert (tmp_path / "here/antigravity2api.db").is_file()
    monkeypatch.setenv("ANTIGRAVITY2API_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    assert cli("db", "upgrade").code == 0
    assert (tmp_path / "other.db").is_file()
    monkeypatch.setenv("ANTIGRAVITY2API_DATABASE_URL", "sqlite:///nowhere/other.db")
    done = cli("db", "upgrade")
    assert (done.code, done.out) == (1, "")
    assert "nowhere" in done.err


@pytest.mark.parametrize("command", [("db", "upgrade"), ("db", "backup", "x"), ("serve", "--sandbox", "--port", "0")])
def test_postgres_comes_later(cli, monkeypatch, command):
    monkeypatch.setenv("ANTIGRAVITY2API_DATABASE_URL", "postgresql://someone:password@host/name")
    done = cli(*command)
    assert (done.code, done.out) == (2, "")
    assert "later release" in done.err
    assert "password" not in done.err


def test_config_check_says_so_too(cli, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_DATABASE_URL", "postgresql://host/name")
    report = json.loads(cli("config", "check", "--json").out)
    assert any("PostgreSQL" in text for text in report["errors"])


def test_a_newer_database_is_refused(cli, path):
    cli("db", "upgrade")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 0)")
    done = cli("db", "upgrade")
    assert (done.code, done.out) == (2, "")
    assert "newer release" in done.err


def test_a_damaged_database_is_a_finding_and_left_alone(cli, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged" * 1000)
    done = cli("db", "upgrade")
    assert (done.code, done.out) == (1, "")
    assert "damaged" in done.err
    assert path.read_bytes() == b"damaged" * 1000
    done = cli("db", "backup", "copy.db")
    assert (done.code, done.out) == (1, "")


def test_backup(cli, path, tmp_path):
    cli("db", "upgrade")
    done = cli("db", "backup", "copy.db")
    copy = tmp_path / "copy.db"
    assert (done.code, done.out, done.err) == (0, f"{copy}\n", "")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert database.is_sound(copy)
    again = cli("db", "backup", "copy.db")
    assert again.code == 2
    assert "--force" in again.err
    report = json.loads(cli("db", "backup", "copy.db", "--force", "--json").out)
    assert report == {"path": str(path), "backup": str(copy), "bytes": copy.stat().st_size}


def test_backup_of_nothing(cli):
    done = cli("db", "backup", "copy.db")
    assert (done.code, done.out) == (1, "")
    assert "no database" in done.err


def test_backup_to_where_nothing_can_be(cli, tmp_path):
    cli("db", "upgrade")
    done = cli("db", "backup", "nowhere/copy.db")
    assert (done.code, done.out) == (1, "")
    assert "nowhere" in done.err
    assert cli("db", "backup", str(tmp_path), "--force").code == 1


@pytest.mark.parametrize("words", [("db",), ("db", "backup"), ("db", "frobnicate"), ("db", "upgrade", "extra")])
def test_wrong_use(cli, words):
    assert cli(*words).code == 2
