"""What the documentation says is what the program does."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from antigravity2api.cli.main import COMMANDS, main
from antigravity2api.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
TABLE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8").partition("<!-- settings")[2]


def test_docs_and_settings_list_the_same_names():
    documented = re.findall(r"^\| `([A-Z0-9_]+)`.*?\| `([a-z_]+)` \|", TABLE, re.MULTILINE)
    assert documented == [(setting.env, setting.name) for setting in SETTINGS]


def test_the_settings_table_is_up_to_date():
    command = [sys.executable, str(ROOT / "scripts/tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_settings_named_in_prose_exist():
    known = {name for setting in SETTINGS for name in (setting.env, f"{setting.env}_FILE")}
    named = {name for page in PAGES for name in re.findall(r"ANTIGRAVITY2API_\w+", page.read_text(encoding="utf-8"))}
    assert named <= known | {"ANTIGRAVITY2API_"}


def test_commands_named_in_prose_exist():
    for page in PAGES:
        for command in re.findall(r"(?:antigravity2api|ag2api) ([a-z]+)", page.read_text(encoding="utf-8")):
            assert command in COMMANDS, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_readme_keeps_the_seeds_snippets():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for needed in (
        "openai.ChatCompletion.create(",
        "from openai import OpenAI",
        "import OpenAI from 'openai'",
        "sk-text",
    ):
        assert needed in text


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split() == targets
    assert {"demo", "test", "check", "lock", "clean", "help"} <= set(targets)
    assert all(re.search(rf"^{target}: .*## \S", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-lock.txt"])
def test_locks_hold_exact_versions_with_hashes_and_no_address(lock):
    lines = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages
    for line in packages:
        assert re.match(r"[a-z0-9._-]+==\S+ ", line)
        assert "--hash=sha256:" in line
        assert "://" not in line


def test_the_runtime_lock_is_part_of_the_development_lock():
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


def flags_of(*command: str) -> set[str]:
    """The flags that a command's help shows."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*command, "--help"]) == 0
    return set(FLAG.findall(out.getvalue())) - {"--help"}


def verbs_of(command: str) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([command, "--help"])
    return re.findall(r"^    ([a-z-]+)(?:  |$)", out.getvalue(), re.MULTILINE) if "VERB" in out.getvalue() else []


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
FLAGS = {
    words: flags_of(*words)
    for command in COMMANDS
    for words in [(command, verb) for verb in verbs_of(command)] or [(command,)]
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_of_printed_commands_exist(page):
    for text in re.findall(r"(?:antigravity2api|ag2api) ([a-z][^`#\n|]*)", page.read_text(encoding="utf-8")):
        words = text.split()
        known = FLAGS.get((words[0],)) or FLAGS.get(tuple(words[:2]), set())
        assert set(FLAG.findall(text)) <= known, text


@pytest.mark.parametrize("command", FLAGS, ids=" ".join)
def test_every_flag_is_told_somewhere(command):
    told = {flag for page in PAGES for flag in FLAG.findall(page.read_text(encoding="utf-8"))}
    assert FLAGS[command] <= told
