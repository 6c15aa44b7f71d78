"""Names that are safe in a URL, aliases, profiles, and what thinking and image wishes come to."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.models import (
    PERMISSIVE,
    ModelProfile,
    ModelTable,
    budget_to_thinking,
    effort_to_thinking,
    fit_budget,
    google_thinking,
    headroom,
    image_config,
    thinking_config,
    thinks,
)

TABLE = ModelTable.load()
EVERYDAY = ("gemini-2.0-flash", "gemini-2.0-flash-lite", "gemini-1.5-flash", "gemini-1.5-pro", "gemini-3-pro-image")


def profile(name: str) -> ModelProfile:
    return TABLE.profile(name)


# -- names


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemimi-3.0-pro-image", "gemini-3-pro-image"),
        ("models/gemimi-3.0-pro-image", "gemini-3-pro-image"),
        ("gemini-3.0-pro-image", "gemini-3-pro-image"),
        ("gemini-2.0-flash-exp", "gemini-3.8-flash"),
        ("gemini-1.5-pro", "gemini-3.1-pro-preview"),
        ("GEMINI-1.5-pro", "GEMINI-1.5-pro"),
        ("nobody-knows_this.1", "nobody-knows_this.1"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("publishers/google/models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro"),
        ("a" * 256, "a" * 256),
        ("v1..2", "v1..2"),
    ],
)
def test_a_safe_name_is_resolved(name: str, resolved: str) -> None:
    assert TABLE.resolve(name) == resolved


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        7,
        ["gemini-2.5-flash"],
        {"id": "x"},
        True,
        "a" * 257,
        "..",
        ".",
        "models/..",
        "models/",
        "models/.",
        "../../v1beta/tunedModels/x",
        "models/../x",
        "publishers/../models/x",
        "publishers/google/models/..",
        "publishers/google/x",
        "models/a/b",
        "models/models/x",
        "a/b",
        "/a",
        "gemini?key=evil",
        "gemini#x",
        "gemini%2fx",
        "gemini:generateContent",
        "gem ini",
        "gemini\n",
        "gemini\r\nx: y",
        "gemini\0",
        "gémini",
        "gemini\\x",
        "a@b",
        "x\u2028",
    ],
)
def test_an_unsafe_name_is_refused(name: Any) -> None:
    with pytest.raises(Fault) as caught:
        TABLE.resolve(name)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == "model"


def test_an_operators_aliases_win_and_may_chain() -> None:
    table = ModelTable.load({"gpt-4o": "fast", "fast": "gemini-2.5-flash", "loop": "pool", "pool": "loop"})
    assert table.resolve("gpt-4o") == "gemini-2.5-flash"
    assert table.resolve("models/fast") == "gemini-2.5-flash"
    assert table.resolve("loop") in {"loop", "pool"}
    offered = {entry.id: entry for entry in table.entries()}
    assert offered["gpt-4o"].alias_of == "gemini-2.5-flash"
    assert offered["gpt-4o"].output_limit == 65536
    assert TABLE.resolve("gpt-4o") == "gpt-4o"


@pytest.mark.parametrize("aliases", [{"a/b": "gemini-2.5-pro"}, {"mine": "../x"}, {"": "gemini-2.5-pro"}])
def test_an_unusable_alias_is_told_to_the_operator(aliases: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no usable model name"):
        ModelTable.load(aliases)


# -- the list


def test_the_list_offers_models_and_the_spelled_out_aliases() -> None:
    entries = {entry.id: entry for entry in TABLE.entries()}
    assert entries["gemimi-3.0-pro-image"].display_name == "gemimi-3.0-pro-image"
    assert entries["gemimi-3.0-pro-image"].alias_of == "gemini-3-pro-image"
    assert entries["gemini-2.0-flash-exp"].kind == "chat"
    assert entries["gemini-4-neon"].display_name == "Gemini 4 Neon"
    assert entries["gemini-2.5-flash"].input_limit == 1_048_576
    assert entries["claude-sonnet-4-6"].surfaces == ("antigravity",)
    assert entries["gemini-2.0-flash-exp"].surfaces == ("gemini", "vertex")
    assert entries["gemini-embedding-001"].kind == "embedding"
    assert len(entries) == len(TABLE.entries())
    assert TABLE.entry("models/gemini-4-neon") is entries["gemini-4-neon"]
    assert TABLE.entry("nobody-knows") is None
    assert TABLE.entry("gemini-9-x") is None


def test_an_id_may_exist_on_several_surfaces() -> None:
    both = [entry.id for entry in TABLE.entries() if entry.on("gemini") and entry.on("antigravity")]
    assert both == ["gemini-3.1-flash-image", "gemini-3.1-flash-lite"]
    for entry in TABLE.entries():
        assert entry.surfaces
        assert set(entry.surfaces) <= {"gemini", "vertex", "antigravity"}
        assert entry.surface == entry.surfaces[0]
    table = ModelTable.load({"small": "gemini-3.1-flash-lite", "own": "tunedModels/x"})
    small, own = table.entry("small"), table.entry("own")
    assert small is not None
    assert own is not None
    assert small.surfaces == ("gemini", "vertex", "antigravity")
    assert own.surfaces == ("gemini",)


def test_a_surface_has_its_own_ids_for_models_of_another() -> None:
    for name in TABLE.stand_ins("antigravity"):
        there = TABLE.id_on("antigravity", name)
        assert there is not None
        entry, elsewhere = TABLE.entry(there), TABLE.entry(name)
        assert entry is not None, there
        assert entry.on("antigravity")
        assert elsewhere is not None, name
        assert not elsewhere.on("antigravity")
        assert entry.kind == elsewhere.kind
        assert entry.profile.family == elsewhere.profile.family
    assert TABLE.id_on("antigravity", "gemini-3.1-flash-lite") == "gemini-3.1-flash-lite"
    assert TABLE.id_on("gemini", "gemini-3.8-flash") == "gemini-3.8-flash"
    assert TABLE.id_on("antigravity", "gemini-embedding-001") is None
    assert TABLE.id_on("gemini", "claude-sonnet-4-6") is None
    assert TABLE.id_on("nowhere", "gemini-3.8-flash") is None
    assert TABLE.id_on("antigravity", "nobody-knows") is None


@pytest.mark.parametrize("name", ["gemini-2.0-flash-exp", "gemimi-3.0-pro-image", *EVERYDAY])
def test_the_everyday_names_exist_on_every_surface(name: str) -> None:
    for surface in ("gemini", "antigravity"):
        assert TABLE.id_on(surface, TABLE.resolve(name))


def test_rows_hold_together() -> None:
    for entry in TABLE.entries():
        row = entry.profile
        assert row.known
        assert row.thinking in {"none", "budget", "level"}
        assert row.sampling in {"used", "ignored", "refused"}
        assert row.signatures in {"strict", "optional", "none"}
        if row.thinking == "level":
            assert row.levels
            assert row.default_level is None or row.default_level in row.levels
        if row.thinking == "budget":
            assert row.budget_max > row.budget_min
            assert row.default_budget is not None
        assert row.kind != "chat" or (row.input_limit and row.output_limit)


# -- profiles


@pytest.mark.parametrize(
    ("name", "family", "levels", "default"),
    [
        ("gemini-3-flash-preview", "gemini-3", "MINIMAL LOW MEDIUM HIGH", "HIGH"),
        ("gemini-3.1-pro-preview", "gemini-3", "LOW MEDIUM HIGH", "HIGH"),
        ("gemini-3.1-pro-preview-customtools", "gemini-3", "LOW MEDIUM HIGH", "HIGH"),
        ("gemini-3.1-flash-lite", "gemini-3", "MINIMAL LOW MEDIUM HIGH", "MINIMAL"),
        ("gemini-3.5-flash", "gemini-3", "MINIMAL LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-3.5-flash-lite", "gemini-3", "MINIMAL LOW MEDIUM HIGH", "MINIMAL"),
        ("gemini-3.6-flash-high", "gemini-3", "MINIMAL LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-3.7-flash", "gemini-3", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-3.8-flash", "gemini-3", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-4-argon", "gemini-4", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-4-hydrogen", "gemini-4", "LOW MEDIUM HIGH XHIGH", "HIGH"),
        ("gemini-4-neon-preview-11-2026", "gemini-4", "LOW MEDIUM HIGH XHIGH", "HIGH"),
        ("gemini-3.9-pro", "gemini-3", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-5-radon", "gemini-4", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-12.1", "gemini-4", "LOW MEDIUM HIGH", "MEDIUM"),
        ("gemini-pro-agent", "gemini-3", "LOW MEDIUM HIGH", "HIGH"),
    ],
)
def test_levels_by_row_pattern_and_version(name: str, family: str, levels: str, default: str) -> None:
    found = profile(name)
    assert (found.family, found.levels, found.default_level) == (family, tuple(levels.split()), default)


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("gemini-2.5-pro", (128, 32768, False, -1)),
        ("gemini-2.5-pro-preview-06-05", (128, 32768, False, -1)),
        ("gemini-2.5-flash", (1, 24576, True, -1)),
        ("gemini-2.5-flash-lite", (512, 24576, True, 0)),
        ("publishers/google/models/gemini-2.5-flash-lite", (512, 24576, True, 0)),
        ("claude-opus-4-6-thinking", (1024, 32768, False, 0)),
    ],
)
def test_budgets(name: str, figures: tuple[int, int, bool, int]) -> None:
    found = profile(name)
    assert (found.budget_min, found.budget_max, found.budget_zero, found.default_budget) == figures


@pytest.mark.parametrize(
    "name", ["nobody-knows", "tunedModels/gemini-2.5-pro", "gemini-exp-1206", "gemini", "gpt-4o", ""]
)
def test_a_name_that_nothing_fits_gets_the_permissive_profile(name: str) -> None:
    assert profile(name) is PERMISSIVE
    assert not PERMISSIVE.known
    assert PERMISSIVE.multi_candidate
    assert PERMISSIVE.signatures == "optional"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gemini-2.5-flash-image", "image"),
        ("gemini-2.5-flash-image-preview", "image"),
        ("gemini-3-pro-image", "image"),
        ("gemini-3.1-flash-image", "image"),
        ("gemini-nano-banana-2.1", "image"),
        ("gemini-5-flash-image", "image"),
        ("gemini-2.5-flash-preview-tts", "tts"),
        ("gemini-embedding-2", "embedding"),
        ("text-embedding-004", "embedding"),
        ("imagen-4.0-fast-generate-001", "imagen"),
        ("veo-3.0", "video"),
        ("gemini-2.5-flash", "chat"),
        ("gemma-3-27b-it", "chat"),
        ("gpt-oss-120b-medium", "chat"),
    ],
)
def test_what_a_model_is_for(name: str, kind: str) -> None:
    assert profile(name).kind == kind
    assert profile(name).image_output == (kind == "image")


def test_generations_differ_in_what_they_take() -> None:
    old, middle, lite, new = map(
        profile, ("gemini-2.5-pro", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-4-argon")
    )
    assert [p.sampling for p in (old, middle, lite, new)] == ["used", "used", "ignored", "ignored"]
    assert [p.penalties for p in (old, middle, lite, new)] == ["used", "dropped", "dropped", "dropped"]
    assert [p.multi_candidate for p in (old, middle, lite, new)] == [True, False, False, False]
    assert [p.signatures for p in (old, middle, lite, new)] == ["optional", "strict", "strict", "strict"]
    assert [p.multimodal_tool_results for p in (old, middle, lite, new)] == [False, True, True, True]
    assert not old.json_with_tools
    assert not old.search_with_tools
    assert old.prefill
    assert middle.prefill
    assert not profile("gemini-3.6-flash").prefill
    assert [profile(f"gemini-{v}").call_ids for v in ("3.7-flash", "3.8-flash", "4-neon")] == [False, True, True]
    assert profile("gemini-2.0-flash").thinking == "none"


# -- thinking


@pytest.mark.parametrize(
    ("name", "efforts"),
    [
        ("gemini-2.5-flash", {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "max": 24576}),
        ("gemini-2.5-flash-lite", {"none": 0, "minimal": 1024, "low": 1024, "high": 24576, "xhigh": 24576}),
        ("gemini-2.5-pro", {"none": 128, "minimal": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}),
        (
            "gemini-3-flash-preview",
            {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "max": "HIGH"},
        ),
        ("gemini-3.8-flash", {"none": "LOW", "minimal": "LOW", "low": "LOW", "medium": "MEDIUM", "xhigh": "HIGH"}),
        ("gemini-3-pro-x", {"none": "LOW", "medium": "HIGH", "high": "HIGH"}),
        ("gemini-4-neon", {"none": "LOW", "high": "HIGH", "xhigh": "XHIGH", "max": "XHIGH"}),
        ("claude-sonnet-4-6", {"none": None, "low": 1024, "medium": 8192, "max": 32768}),
        ("gemini-2.0-flash", {"none": None, "high": None}),
        ("gemini-3.1-flash-image", {"high": None}),
        ("gemma-4-31b-it", {"high": None}),
        ("nobody-knows", {"none": None, "high": None}),
    ],
)
def test_effort(name: str, efforts: dict[str, Any]) -> None:
    for effort, wanted in efforts.items():
        key = "thinkingLevel" if isinstance(wanted, str) else "thinkingBudget"
        assert effort_to_thinking(profile(name), effort) == (None if wanted is None else {key: wanted}), effort


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        effort_to_thinking(profile("gemini-2.5-pro"), "extreme")
    assert caught.value.param == "reasoning_effort"


@pytest.mark.parametrize(
    ("name", "budget", "wanted"),
    [
        ("gemini-2.5-pro", 0, {"thinkingBudget": 128}),
        ("gemini-2.5-pro", 64, {"thinkingBudget": 128}),
        ("gemini-2.5-pro", 99999, {"thinkingBudget": 32768}),
        ("gemini-2.5-pro", -1, {"thinkingBudget": -1}),
        ("gemini-2.5-flash", 0, {"thinkingBudget": 0}),
        ("gemini-2.5-flash-lite", 100, {"thinkingBudget": 512}),
        ("gemini-3-flash-preview", 0, {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash-preview", 2047, {"thinkingLevel": "LOW"}),
        ("gemini-3-flash-preview", 2048, {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", 12288, {"thinkingLevel": "HIGH"}),
        ("gemini-4-argon", 0, {"thinkingLevel": "LOW"}),
        ("gemini-4-argon", -1, None),
        ("claude-sonnet-4-6", 10, {"thinkingBudget": 1024}),
        ("claude-sonnet-4-6", 0, None),
        ("claude-sonnet-4-6", -1, None),
        ("gemini-2.0-flash", 5000, None),
        ("nobody-knows", 5000, None),
    ],
)
def test_budget(name: str, budget: int, wanted: dict[str, Any] | None) -> None:
    assert budget_to_thinking(profile(name), budget) == wanted


@pytest.mark.parametrize(
    ("name", "config", "wanted"),
    [
        (
            "gemini-2.5-flash",
            {"thinking_budget": 2000, "include_thoughts": True},
            {"thinkingBudget": 2000, "includeThoughts": True},
        ),
        ("gemini-2.5-flash", {"thinkingBudget": 0, "includeThoughts": True}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"thinkingLevel": "low"}, {"thinkingBudget": 1024}),
        ("gemini-3.8-flash", {"thinking_level": "minimal"}, {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", {"thinkingBudget": 24576, "thinkingLevel": "LOW"}, {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", {"thinkingBudget": 24576}, {"thinkingLevel": "HIGH"}),
        ("gemini-4-argon", {"includeThoughts": False}, {"includeThoughts": False}),
        ("gemini-3.1-flash-image", {"thinkingLevel": "HIGH"}, {"thinkingLevel": "HIGH"}),
        ("gemini-2.0-flash", {"thinkingBudget": 5}, None),
        ("nobody-knows", {"thinking_budget": 7, "new_key": 1}, {"thinkingBudget": 7, "new_key": 1}),
        ("nobody-knows", {}, None),
    ],
)
def test_googles_own_configuration(name: str, config: dict[str, Any], wanted: dict[str, Any] | None) -> None:
    assert google_thinking(profile(name), config) == wanted


def test_googles_own_words_win_over_budget_over_effort() -> None:
    flash = profile("gemini-2.5-flash")
    assert thinking_config(flash, effort="high", budget=2000, google={"thinkingBudget": 5000}) == {
        "thinkingBudget": 5000
    }
    assert thinking_config(flash, effort="high", budget=2000) == {"thinkingBudget": 2000}
    assert thinking_config(flash, effort="low", include=True) == {"thinkingBudget": 1024, "includeThoughts": True}
    assert thinking_config(flash, effort="none", include=True) == {"thinkingBudget": 0}
    assert thinking_config(flash, include=True) == {"includeThoughts": True}
    assert thinking_config(flash, google={"includeThoughts": False}, include=True) == {"includeThoughts": False}
    assert thinking_config(profile("gemini-2.5-flash-lite"), include=True) is None
    assert thinking_config(profile("gemini-2.0-flash"), effort="high", include=True) is None
    assert thinking_config(PERMISSIVE, effort="high", include=True) is None


def test_a_budget_leaves_room_for_the_answer() -> None:
    pro, flash = profile("gemini-2.5-pro"), profile("gemini-2.5-flash")
    assert fit_budget(pro, {"thinkingBudget": 24576}, 8096) == {"thinkingBudget": 7072}
    assert fit_budget(pro, {"thinkingBudget": 512}, 8096) == {"thinkingBudget": 512}
    assert fit_budget(pro, {"thinkingBudget": 24576}, 1000) == {"thinkingBudget": 128}
    assert fit_budget(flash, {"thinkingBudget": 24576, "includeThoughts": True}, 1000) == {"thinkingBudget": 0}
    assert fit_budget(profile("claude-sonnet-4-6"), {"thinkingBudget": 8192, "includeThoughts": True}, 1500) is None
    assert fit_budget(pro, {"thinkingLevel": "LOW"}, 100) == {"thinkingLevel": "LOW"}
    assert fit_budget(pro, None, 100) is None


@pytest.mark.parametrize(
    ("name", "config", "tokens"),
    [
        ("gemini-2.5-flash", {"thinkingBudget": 1024}, 1024),
        ("gemini-2.5-flash", {"thinkingBudget": 0}, 0),
        ("gemini-2.5-flash", {"thinkingBudget": -1}, 24576),
        ("gemini-2.5-flash", None, 24576),
        ("gemini-2.5-flash", {"includeThoughts": True}, 24576),
        ("gemini-2.5-pro", None, 32768),
        ("gemini-2.5-flash-lite", None, 0),
        ("gemini-3-flash-preview", {"thinkingLevel": "LOW"}, 8192),
        ("gemini-3-flash-preview", {"thinkingLevel": "minimal"}, 1024),
        ("gemini-3-flash-preview", None, 32768),
        ("gemini-3.8-flash", None, 16384),
        ("gemini-4-neon", {"thinkingLevel": "XHIGH"}, 32768),
        ("gemini-3.1-flash-lite", None, 1024),
        ("claude-sonnet-4-6", None, 0),
        ("claude-sonnet-4-6", {"thinkingBudget": 16384}, 16384),
        ("gemini-2.0-flash", None, 0),
        ("nobody-knows", {"thinkingBudget": 5000}, 0),
    ],
)
def test_headroom(name: str, config: dict[str, Any] | None, tokens: int) -> None:
    assert headroom(profile(name), config) == tokens


def test_which_models_think_unasked() -> None:
    thinking = ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-3.1-flash-lite", "gemini-4-argon"]
    quiet = ["gemini-2.5-flash-lite", "gemini-2.0-flash", "claude-sonnet-4-6", "gemini-3.1-flash-image", "nobody-knows"]
    assert all(thinks(profile(name)) for name in thinking)
    assert not any(thinks(profile(name)) for name in quiet)


# -- images


@pytest.mark.parametrize(
    ("size", "ratio", "step"),
    [
        ("256x256", "1:1", "1K"),
        ("1024x1024", "1:1", "1K"),
        ("1536x1024", "3:2", "1K"),
        ("1024x1536", "2:3", "1K"),
        ("1792x1024", "16:9", "1K"),
        ("1024x1792", "9:16", "1K"),
        ("1920x1080", "16:9", "2K"),
        ("3840x2160", "16:9", "4K"),
        ("2048x2048", "1:1", "2K"),
        ("3000x1000", "21:9", "2K"),
        ("640x480", "4:3", "1K"),
    ],
)
def test_size(size: str, ratio: str, step: str) -> None:
    assert image_config(profile("gemini-3-pro-image"), size) == {"aspectRatio": ratio, "imageSize": step}
    assert image_config(profile("gemini-2.5-flash-image"), size) == {"aspectRatio": ratio}


def test_only_the_wide_ones_know_very_wide_ratios() -> None:
    assert image_config(profile("gemini-3.1-flash-image"), "4000x1000") == {"aspectRatio": "4:1", "imageSize": "4K"}
    assert image_config(profile("gemini-3-pro-image"), "4000x1000") == {"aspectRatio": "21:9", "imageSize": "4K"}


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ({}, None),
        ({"size": "auto"}, None),
        ({"quality": "low"}, None),
        ({"quality": "high"}, {"imageSize": "2K"}),
        ({"quality": "max", "size": "1024x1024"}, {"aspectRatio": "1:1", "imageSize": "4K"}),
        ({"quality": "hd", "size": "4096x4096"}, {"aspectRatio": "1:1", "imageSize": "4K"}),
        ({"aspect_ratio": "16:9"}, {"aspectRatio": "16:9"}),
        ({"aspect_ratio": "3:4", "size": "1024x1024"}, {"aspectRatio": "3:4", "imageSize": "1K"}),
        ({"image_size": "4k"}, {"imageSize": "4K"}),
    ],
)
def test_wishes_for_an_image(wishes: dict[str, str], wanted: dict[str, str] | None) -> None:
    assert image_config(profile("gemini-3-pro-image"), **wishes) == wanted


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"size": "big"}, "size"),
        ({"size": "0x10"}, "size"),
        ({"size": "1024x1024; x"}, "size"),
        ({"quality": "superb"}, "quality"),
        ({"aspect_ratio": "wide"}, "aspect_ratio"),
        ({"image_size": "8K"}, "image_size"),
        ({"image_size": "512"}, "image_size"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(wishes: dict[str, str], param: str) -> None:
    with pytest.raises(Fault) as caught:
        image_config(profile("gemini-3-pro-image"), **wishes)
    assert caught.value.param == param


def test_the_smallest_size_is_for_the_model_that_has_it() -> None:
    assert image_config(profile("gemini-3.1-flash-image"), image_size="512") == {"imageSize": "512"}
