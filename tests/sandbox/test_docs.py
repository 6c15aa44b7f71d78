"""The page about the sandbox names what there is."""

import re
from pathlib import Path

from antigravity2api.sandbox import FAULTS
from antigravity2api.sandbox.keys import BAD_KEYS
from antigravity2api.sandbox.tokens import REFRESH_FAULTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def table(head: str) -> list[tuple[str, str]]:
    """The rows of the tables whose first column is called ``head``."""
    found = re.findall(rf"^\| {head} \| what happens \|\n\| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [row for part in found for row in re.findall(r"^\| `([^`]+)` \| (.*) \|$", part, re.MULTILINE)]
    return [(name, text.replace("\\|", "|")) for name, text in rows]


def test_faults_are_listed() -> None:
    assert table("fault") == [(name, fault.about) for name, fault in FAULTS.items()]


def test_bad_keys_are_listed() -> None:
    assert table("key") == [(name, about) for name, (about, _) in BAD_KEYS.items()]


def test_refresh_tokens_are_listed() -> None:
    assert table("refresh token") == [(name, fault.about) for name, fault in REFRESH_FAULTS.items()]
