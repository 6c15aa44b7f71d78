"""``/v1/models``."""

from __future__ import annotations

import json

from antigravity2api.dialects.chat.listing import list_models, one_model
from antigravity2api.gemini.models import ModelEntry, ModelProfile, ModelTable


def test_one_entry_serves_both_sdks() -> None:
    entry = ModelEntry(
        id="gemini-2.5-flash",
        display_name="Gemini 2.5 Flash",
        profile=ModelProfile(family="gemini-2.5", input_limit=1048576, output_limit=65536),
    )
    assert json.loads(one_model(entry, 1764000000)) == {
        "id": "gemini-2.5-flash",
        "object": "model",
        "type": "model",
        "created": 1764000000,
        "created_at": "2025-11-24T16:00:00Z",
        "owned_by": "google",
        "display_name": "Gemini 2.5 Flash",
        "context_length": 1048576,
        "max_output_tokens": 65536,
    }


def test_limits_that_are_unknown_are_left_out() -> None:
    found = json.loads(one_model(ModelEntry(id="x", display_name="", profile=ModelProfile(family="x")), 1))
    assert found["display_name"] == "x" and "context_length" not in found and "max_output_tokens" not in found


def test_the_list_keeps_the_order_of_the_table() -> None:
    entries = ModelTable.load().entries()
    found = json.loads(list_models(entries, 1764000000))
    names = [entry["id"] for entry in found["data"]]
    assert names == [entry.id for entry in entries] and "gemimi-3.0-pro-image" in names
    assert (found["object"], found["has_more"]) == ("list", False)
    assert (found["first_id"], found["last_id"]) == (names[0], names[-1])


def test_an_empty_list() -> None:
    found = json.loads(list_models([], 1))
    assert found["data"] == [] and found["first_id"] is None and found["last_id"] is None
