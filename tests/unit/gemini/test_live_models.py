"""The upstreams' own lists, and what they make of the model table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.gemini.live_models import (
    LiveList,
    LiveModel,
    entry_of,
    from_bytes,
    listed,
    merged,
    serves,
    to_bytes,
)
from antigravity2api.gemini.models import ModelTable

TABLE = ModelTable.load({"mine": "gemini-2.5-pro"})


def live(upstream: str, *names: str, **more: Any) -> LiveList:
    models = listed(LiveModel(id=name, **more) for name in names)
    return LiveList(upstream=upstream, place="h:1", credential=f"{upstream}-1", fetched=5.0, models=models)


def ids(lists: dict[str, LiveList], *upstreams: str) -> list[str]:
    return [entry.id for entry in merged(TABLE, lists, upstreams)]


def test_while_nobody_could_be_asked_the_table_speaks():
    assert serves(TABLE, None, "gemini", "gemini-2.5-pro") is None
    found = ids({}, "gemini")
    assert "gemini-2.5-pro" in found
    assert "gemini-2.0-flash-exp" in found
    assert "claude-sonnet-4-6" not in found
    assert "claude-sonnet-4-6" in ids({}, "antigravity")
    assert ids({}) == ids({}, "gemini")


def test_what_the_list_lacks_is_not_listed_and_what_it_has_is():
    lists = {"gemini": live("gemini", "gemini-3.8-flash", "gemini-5-argon")}
    assert serves(TABLE, lists["gemini"], "gemini", "gemini-3.8-flash") is True
    assert serves(TABLE, lists["gemini"], "gemini", "gemini-2.5-pro") is False
    found = ids(lists, "gemini")
    # An alias is there where its model is; a model that the table does not know comes last.
    assert found == ["gemini-3.8-flash", "gemini-2.0-flash-exp", "gemini-5-argon"]


def test_one_upstream_that_has_it_is_enough():
    lists = {"gemini": live("gemini", "gemini-3.8-flash")}
    assert "gemini-2.5-pro" in ids(lists, "gemini", "vertex")
    lists["vertex"] = live("vertex", "gemini-3.8-flash")
    assert "gemini-2.5-pro" not in ids(lists, "gemini", "vertex")


def test_a_list_may_have_what_the_table_places_elsewhere():
    lists = {"gemini": live("gemini", "gemini-3.8-flash", "gemini-3-flash-agent")}
    assert "gemini-3-flash-agent" in ids(lists, "gemini")


def test_a_stand_in_counts_for_the_model_it_stands_for():
    lists = {"antigravity": live("antigravity", "gemini-3.7-flash-high")}
    assert serves(TABLE, lists["antigravity"], "antigravity", "gemini-3.8-flash") is True
    assert serves(TABLE, lists["antigravity"], "antigravity", "gemini-3.5-flash") is False
    found = ids(lists, "antigravity")
    assert set(found) == {"gemini-3.7-flash-high", "gemini-3.7-flash", "gemini-3.8-flash", "gemini-2.0-flash-exp"}


@pytest.mark.parametrize(
    ("name", "has"), [("gemini-2.5-flash", True), ("gemini-2.5", False), ("gemini-2.5-flash-00", False)]
)
def test_a_pinned_version_counts_for_its_model(name: str, has: bool):
    assert live("vertex", "gemini-2.5-flash-001").has(name) is has


@pytest.mark.parametrize("name", ["publishers/google/models/gemini-3.8-flash", "gemini-3.8-flash"])
def test_the_long_name_is_the_same_model(name: str):
    assert serves(TABLE, live("vertex", "gemini-3.8-flash"), "vertex", name) is True


@pytest.mark.parametrize("name", ["tunedModels/mine", "publishers/x/models/y"])
def test_what_no_list_can_have_is_unknown(name: str):
    assert serves(TABLE, live("gemini", "gemini-3.8-flash"), "gemini", name) is None


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("gemini-5-argon", "", "chat"),
        ("gemini-5-flash-image", "", "image"),
        ("gemini-5-flash-tts", "", "tts"),
        ("gemini-embedding-9", "embedding", "embedding"),
        ("text-embedding-009", "", "embedding"),
        ("gemini-5-flash-live", "", "live"),
        ("gemini-5-flash-native-audio-latest", "live", "live"),
        ("brand-new", "", "chat"),
        ("brand-new-image", "", "image"),
        ("imagen-9", "imagen", "imagen"),
        ("veo-9", "video", "video"),
        ("aqa", "other", "other"),
    ],
)
def test_what_a_new_model_is_for(name: str, said: str, kind: str):
    entry = entry_of(TABLE, LiveModel(id=name, kind=said, name="New", input_limit=7, output_limit=8), "gemini")
    assert (entry.kind, entry.display_name, entry.input_limit, entry.output_limit) == (kind, "New", 7, 8)
    assert entry.surfaces == ("gemini",)


def test_a_new_model_without_figures_has_those_of_its_family():
    entry = entry_of(TABLE, LiveModel(id="gemini-3.9-flash"), "vertex")
    assert (entry.display_name, entry.input_limit) == ("gemini-3.9-flash", 1_048_576)


def test_names_that_are_aliases_of_ours_or_no_names_are_left_out():
    names = ["gemini-2.0-flash", "mine", "../x", "a/b", "tunedModels/x", "", "x" * 300, "fine"]
    lists = {"gemini": live("gemini", *names)}
    assert list(lists["gemini"].models) == ["gemini-2.0-flash", "mine", "fine"]
    assert ids(lists, "gemini") == ["fine"]


def test_a_list_is_kept_as_it_was():
    found = live("gemini", "a", "b", name="N", kind="live", input_limit=1)
    assert from_bytes(to_bytes(found), upstream="gemini", credential="gemini-1", fetched=5.0) == found


@settings(max_examples=60, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=60), st.sampled_from([b"[]", b"{}", b'{"version":1}', b'{"version":1,"models":[[1]]}'])
    )
)
def test_what_was_not_kept_by_us_is_no_list(data: bytes):
    assert from_bytes(data, upstream="gemini", credential="x", fetched=0.0) is None
