"""The program's front door: help, unknown commands, exit codes, quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from antigravity2api import __version__
from antigravity2api.cli import main as front
from antigravity2api.cli import version
from antigravity2api.cli.main import COMMANDS

SRC = Path(__file__).resolve().parents[2] / "src"


def python(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(SRC), "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=env, **more)


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_is_data_and_names_every_command(cli, argument):
    done = cli(argument)
    assert (done.code, done.err) == (0, "")
    for name, summary in COMMANDS.items():
        assert name in done.out
        assert summary in done.out


def test_no_command_is_wrong_use(cli):
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert "usage:" in done.err


@pytest.mark.parametrize(("word", "meant"), [("srve", "serve"), ("model", "models"), ("health", "healthcheck")])
def test_an_unknown_command_gets_a_suggestion(cli, word, meant):
    done = cli(word)
    assert (done.code, done.out) == (2, "")
    assert f"Did you mean `{meant}`?" in done.err


def test_an_unlike_command_gets_the_list(cli):
    done = cli("frobnicate")
    assert done.code == 2
    assert ", ".join(COMMANDS) in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    done = cli(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"usage: antigravity2api {command}" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_wrong_use(cli, command):
    done = cli(command, "--no-such-option")
    assert (done.code, done.out) == (2, "")


def test_options_are_not_abbreviated(cli):
    assert cli("version", "--js").code == 2


def test_version(cli):
    assert cli("version").out == f"antigravity2api {__version__}\n"
    assert cli("--version").out == f"antigravity2api {__version__}\n"
    assert json.loads(cli("version", "--json").out)["version"] == __version__


def test_an_interrupted_command_ends_with_130(cli, monkeypatch):
    def interrupted(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(version, "run", interrupted)
    assert cli("version") == (130, "", "")


def test_a_reader_that_leaves_is_no_error():
    script = f"{sys.executable} -m antigravity2api config show | head -n 1"
    env = {"PYTHONPATH": str(SRC), "PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_help_imports_nothing_heavy():
    heavy = "asyncio ssl orjson httptools uvloop PIL argparse tomllib antigravity2api.settings antigravity2api.gemini"
    program = (
        "import sys; from antigravity2api.cli.main import main; main(['--help']); "
        f"print([name for name in {heavy.split()!r} if name in sys.modules], file=sys.stderr)"
    )
    assert python("-c", program).stderr == "[]\n"


def test_serve_help_imports_no_server():
    program = (
        "import sys; from antigravity2api.cli.main import main; main(['serve', '--help']); "
        "print([n for n in sys.modules if n.startswith(('asyncio', 'antigravity2api.server'))], file=sys.stderr)"
    )
    assert python("-c", program).stderr == "[]\n"


def test_python_dash_m_is_the_same_program():
    done = python("-m", "antigravity2api", "version")
    assert (done.returncode, done.stdout) == (0, f"antigravity2api {__version__}\n")


def test_every_command_is_a_module_of_its_own():
    files = Path(front.__file__).parent.glob("*.py")
    modules = {path.stem for path in files if "\ndef run(arguments: list[str])" in path.read_text(encoding="utf-8")}
    assert modules == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("credentials",), "antigravity2api credentials: the following arguments are required: VERB; "),
        (("credentials", "lst"), "antigravity2api credentials: VERB cannot be 'lst'. Did you mean `list`?"),
        (("config", "frobnicate"), "VERB cannot be 'frobnicate'. It is one of: init, check, show."),
        (("serve", "--prt", "1"), "antigravity2api serve: there is no option '--prt'. Did you mean --port?"),
        (("serve", "--prt=1"), "antigravity2api serve: there is no option '--prt=1'. Did you mean --port?"),
        (
            ("logs", "list", "--falied"),
            "antigravity2api logs list: there is no option '--falied'. Did you mean --failed?",
        ),
        (("serve", "extra"), "antigravity2api serve: 'extra' is a word too many; `antigravity2api serve --help` tells"),
        (("serve", "--frobnicate"), "there is no option '--frobnicate'; `antigravity2api serve --help` tells more."),
        (("--port", "80"), "options follow it, as in `antigravity2api serve --port 9000`."),
        (("help", "srve"), "there is no command 'srve'. Did you mean `serve`?"),
    ],
)
def test_wrong_use_gets_one_sentence(cli, arguments, said):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", front.LATER)
def test_a_command_to_come_says_what_serves_meanwhile(cli, command):
    done = cli(command, "create", "--name", "x")
    assert (done.code, done.out) == (2, "")
    assert f"`{command}` comes in a later release; until then" in done.err
    assert command not in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_two_spellings(cli, command):
    assert cli("help", command) == cli(command, "--help")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "/data/logs"),
            "error: /data/logs: Permission denied; `antigravity2api doctor` tells what to do.\n",
        ),
        (OSError(28, "No space left on device"), "error: No space left on device.\n"),
        (OSError("odd"), "error: odd.\n"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(cli, monkeypatch, error, said):
    def refused(_arguments):
        raise error

    monkeypatch.setattr(version, "run", refused)
    assert cli("version") == (1, "", said)


def test_a_working_directory_that_is_gone(cli, home, monkeypatch):
    place = home / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    done = cli("config", "check")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: the current directory is gone or closed to this user: change to another one.\n"
