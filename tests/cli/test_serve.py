"""What ``serve`` does before and around the server: refusals, the first key, what it tells. The server is replaced at
its one seam by a recorder."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket

import pytest

from antigravity2api.server import run as server_run


@pytest.fixture
def served(monkeypatch):
    """What reached the server, in order."""
    calls = []

    def run(settings, *, sandbox, announce):
        calls.append((settings, sandbox))
        announce([f"http://127.0.0.1:{settings.port}", f"http://[::1]:{settings.port}"])
        return 0

    monkeypatch.setattr(server_run, "run", run, raising=False)
    return calls


def test_the_first_start_makes_a_key_and_shows_it_once(cli, home, served):
    os.umask(0o022)
    done = cli("serve")
    assert (done.code, done.out) == (0, "")
    key = re.search(r"A first API key was made: (sk-\w{43})\n", done.err)[1]
    data = home / ".local/share/antigravity2api"
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "api_key").stat().st_mode & 0o777 == 0o600
    assert served[0][0].api_key == (key,)

    again = cli("serve")
    assert key not in again.err
    assert f"API key: the one in {data}/api_key." in again.err
    assert served[1][0].api_key == (key,)
    assert served[1][0].origins["api_key"] == f"{data}/api_key"


def test_keys_differ(cli, served):
    cli("serve", "--data-dir", "a")
    cli("serve", "--data-dir", "b")
    assert served[0][0].api_key != served[1][0].api_key


def test_a_key_file_that_others_can_read_stops_the_start(cli, home, served, monkeypatch):
    cli("serve", "--data-dir", "data")
    (home / "data/api_key").chmod(0o644)
    done = cli("serve", "--data-dir", "data")
    assert done.code == 2
    assert "chmod 600" in done.err
    assert served[0][0].api_key[0] not in done.err
    monkeypatch.setenv("ANTIGRAVITY2API_OPEN_SECRET_FILES", "on")
    assert cli("serve", "--data-dir", "data").code == 0


@pytest.mark.parametrize("text", ["", "short", "two words that are long enough", "a,b,c,d,e,f,g,h,i,j,k,l"])
def test_a_key_file_without_a_key_stops_the_start(cli, home, served, text):
    (home / "data").mkdir(mode=0o700)
    (home / "data/api_key").write_text(text, encoding="utf-8")
    (home / "data/api_key").chmod(0o600)
    done = cli("serve", "--data-dir", "data")
    assert (done.code, served) == (2, [])
    assert "does not hold a key" in done.err


def test_an_open_data_directory_is_closed(cli, home, served):
    (home / "data").mkdir(mode=0o755)
    cli("serve", "--data-dir", "data")
    assert (home / "data").stat().st_mode & 0o777 == 0o700


def test_a_shared_data_directory_is_left_alone_with_a_warning(cli, home, served):
    (home / "data").mkdir()
    (home / "data").chmod(0o1777)
    done = cli("serve", "--data-dir", "data")
    assert (home / "data").stat().st_mode & 0o7777 == 0o1777
    assert "can be entered by other users" in done.err


def test_a_data_directory_that_cannot_be_made_stops_the_start(cli, home, served):
    (home / "file").write_text("", encoding="utf-8")
    done = cli("serve", "--data-dir", "file/data")
    assert (done.code, served) == (2, [])
    assert "--data-dir" in done.err


def test_a_configured_key_makes_no_other(cli, home, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_API_KEY", "x" * 40)
    done = cli("serve", "--data-dir", "data")
    assert not (home / "data/api_key").exists()
    assert "x" * 40 not in done.err
    assert served[0][0].api_key == ("x" * 40,)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_without_a_key_is_refused(cli, served, host):
    done = cli("serve", "--host", host)
    assert (done.code, done.out, served) == (2, "", [])
    assert "ANTIGRAVITY2API_API_KEY" in done.err


def test_an_example_key_warns_on_loopback_and_is_refused_beyond(cli, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_API_KEY", "sk-text")
    done = cli("serve")
    assert done.code == 0
    assert "warning: sk-text" in done.err
    assert cli("serve", "--host", "0.0.0.0").code == 2
    assert len(served) == 1


def test_without_an_upstream_it_starts_and_tells_how_to_add_one(cli, served):
    done = cli("serve")
    assert done.code == 0
    assert served[0][1] is False
    assert "GEMINI_API_KEY=... antigravity2api serve" in done.err
    assert "antigravity2api serve --sandbox" in done.err


@pytest.mark.parametrize(("environ", "level"), [({}, "error"), ({"GEMINI_API_KEY": "hunter2"}, "warning")])
def test_stored_credentials_that_cannot_be_read_are_an_error_where_nothing_else_is_left(
    cli, home, served, monkeypatch, environ, level
):
    (home / "key").write_text("AIza-planted-0123456789")
    cli("credentials", "add", "--upstream", "gemini", "--key-file", "key")
    (home / ".local/share/antigravity2api/secret.key").write_text("another-key-of-some-length\n")
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    assert f"{level}: 1 stored credential cannot be decrypted" in cli("serve").err


@pytest.mark.parametrize(("environ", "level"), [({}, "error"), ({"GEMINI_API_KEY": "hunter2"}, "warning")])
def test_a_database_that_lost_its_credentials_is_an_error_where_nothing_else_is_left(
    cli, home, monkeypatch, environ, level
):
    data = home / ".local/share/antigravity2api"
    data.mkdir(parents=True)
    (data / "antigravity2api.db").write_bytes(b"x" * 4096)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    taken = socket.create_server(("127.0.0.1", 0))
    done = cli("serve", "--port", str(taken.getsockname()[1]))
    taken.close()
    assert done.code == 1, "no further than the port"
    assert f"{level}: the database was damaged" in done.err


def test_with_a_gemini_key_nothing_is_missing(cli, served, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "hunter2")
    done = cli("serve")
    assert "No upstream" not in done.err
    assert "hunter2" not in done.err


def test_antigravity_repeats_the_terms(cli, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_ANTIGRAVITY", "on")
    done = cli("serve")
    assert "terms do not allow" in done.err
    assert "ANTIGRAVITY_ACCESS_TOKEN" in done.err
    assert "No upstream" in done.err


def test_antigravity_without_an_account_says_how_to_get_one(cli, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_ANTIGRAVITY", "on")
    monkeypatch.setenv("ANTIGRAVITY_ACCESS_TOKEN", "hunter2")
    assert "No upstream" not in cli("serve").err
    monkeypatch.delenv("ANTIGRAVITY_ACCESS_TOKEN")
    done = cli("serve")
    assert "antigravity2api login" in done.err
    assert "No upstream" in done.err
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    done = cli("serve")
    assert "antigravity2api login" in done.err
    assert "No upstream" not in done.err


def test_a_stored_credential_is_enough(cli, served, monkeypatch, tmp_path):
    key = tmp_path / "key"
    key.write_text("AIza" + "A" * 35)
    assert cli("credentials", "add", "--upstream", "gemini", "--key-file", str(key)).code == 0
    assert "No upstream" not in cli("serve").err


def test_a_key_that_opens_nothing_is_told_and_no_other_upstream_is_asked_for(cli, served, monkeypatch, tmp_path):
    key = tmp_path / "key"
    key.write_text("AIza" + "A" * 35)
    cli("credentials", "add", "--upstream", "gemini", "--key-file", str(key))
    (tmp_path / ".local/share/antigravity2api/secret.key").unlink()
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "the-key-of-somebody-else")
    done = cli("serve")
    assert done.code == 0
    assert "1 stored credential" in done.err and "credentials list" in done.err
    assert "No upstream" not in done.err


def test_a_short_key_of_encryption_is_a_wrong_setting(cli, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_SECRET_KEY", "short-k")
    for words in (("serve",), ("config", "check")):
        done = cli(*words)
        assert done.code == 2, words
        assert "16 or more characters" in done.err
        assert "short-k" not in done.err
    assert served == []


def test_flags_reach_the_server(cli, served, home):
    done = cli("serve", "--host", "localhost", "--port", "9000", "--data-dir", "d", "--workers", "2", "--sandbox")
    settings, sandbox = served[0]
    assert (settings.host, settings.port, settings.workers, settings.data_dir) == ("localhost", 9000, 2, home / "d")
    assert sandbox is True
    assert "Listening on http://127.0.0.1:9000 and http://[::1]:9000." in done.err


@pytest.mark.parametrize(
    "flags", [["--port", "x"], ["--port", ""], ["--workers", "0"], ["--config", "nowhere"], ["extra"]]
)
def test_wrong_flags_are_wrong_use(cli, served, flags):
    done = cli("serve", *flags)
    assert (done.code, done.out, served) == (2, "", [])


def test_the_demo_prints_requests_to_paste_and_no_scare(cli, served, monkeypatch):
    monkeypatch.setenv("ANTIGRAVITY2API_API_KEY", "sk-text")
    done = cli("serve", "--sandbox", "--demo", "--port", "8045")
    assert done.code == 0
    assert "warning" not in done.err
    commands = re.findall(r"^curl (?:.*\\\n)*.*$", done.err, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        assert words[0] == "curl"
        assert words[1].startswith("http://localhost:8045/v1/")
        assert "Authorization: Bearer sk-text" in words
        if "-d" in words:
            assert json.loads(words[words.index("-d") + 1])["messages"]
    assert "admin" not in done.err


@pytest.mark.parametrize("flags", [["--demo"], ["--demo", "--sandbox", "--host", "0.0.0.0"]])
def test_the_demo_is_for_the_sandbox_on_loopback_alone(cli, served, monkeypatch, flags):
    monkeypatch.setenv("ANTIGRAVITY2API_API_KEY", "sk-text")
    assert cli("serve", *flags).code == 2
    assert served == []


@pytest.mark.parametrize("arguments", [(), ("--sandbox",)])
def test_an_open_key_of_stored_credentials_stops_the_start(cli, home, arguments):
    (home / "data").mkdir()
    key = home / "data/secret.key"
    key.write_text("A" * 43)
    key.chmod(0o644)
    done = cli("serve", "--data-dir", "data", *arguments)
    assert done.code == 2
    assert f"{key} can be read by other users of this machine: chmod 600 it" in done.err
