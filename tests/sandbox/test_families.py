"""The sandbox's own reading of Google's model pages against the gateway's table: neither may drift alone."""

import pytest

from antigravity2api.gemini.models import ModelTable
from antigravity2api.sandbox.families import is_served, profile

TABLE = ModelTable.load()
NAMES = [
    entry.id
    for entry in TABLE.entries()
    if not entry.alias_of and is_served(entry.id, wrapped=True) and TABLE.profile(entry.id).family != "other"
]
SAME = (
    "family",
    "signatures",
    "thinking",
    "levels",
    "prefill",
    "call_ids",
    "image_output",
    "image_size",
    "multi_candidate",
    "output_limit",
    "tools",
    "multimodal_tool_results",
    "json_with_tools",
    "search_with_tools",
    "logprobs",
)


def test_there_is_something_to_compare() -> None:
    assert len(NAMES) > 15


@pytest.mark.parametrize("name", NAMES)
def test_both_tables_agree(name: str) -> None:
    ours, theirs = profile(name), TABLE.profile(name)
    assert {key: getattr(ours, key) for key in SAME} == {key: getattr(theirs, key) for key in SAME}


@pytest.mark.parametrize(
    "name", ["gemini-4-xenon", "gemini-3.9-flash", "gemini-5-pro", "gemini-2.5-flash-preview-09-2025"]
)
def test_newer_names_inherit_alike(name: str) -> None:
    ours, theirs = profile(name), TABLE.profile(name)
    assert (ours.signatures, ours.thinking, ours.prefill) == (theirs.signatures, theirs.thinking, theirs.prefill)
