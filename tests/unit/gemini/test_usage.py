"""What an answer cost, in clients' terms."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.gemini.usage import Tally, combined_usage, estimated_usage, usage_of


def test_thoughts_beside_the_candidates() -> None:
    usage = usage_of(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 40,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 150,
        }
    )
    assert (usage.prompt, usage.completion, usage.total, usage.cached, usage.reasoning) == (100, 50, 150, 40, 30)


def test_thoughts_inside_the_candidates() -> None:
    usage = usage_of(
        {"promptTokenCount": 100, "candidatesTokenCount": 50, "thoughtsTokenCount": 30, "totalTokenCount": 150}
    )
    assert (usage.completion, usage.total, usage.reasoning) == (50, 150, 30)


def test_results_of_upstream_tools_are_prompt() -> None:
    usage = usage_of(
        {
            "promptTokenCount": 14,
            "toolUsePromptTokenCount": 120,
            "candidatesTokenCount": 6,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 170,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}, {"modality": "IMAGE", "tokenCount": 4}],
        }
    )
    assert (usage.prompt, usage.completion, usage.total, usage.reported_total) == (134, 36, 170, 170)
    assert usage.prompt_by_modality == {"text": 10, "image": 4}


@pytest.mark.parametrize("value", [None, "x", -5, True, float("nan"), float("inf"), [], {}, 10**40])
def test_a_count_that_is_none_counts_nothing(value: Any) -> None:
    assert usage_of({"promptTokenCount": value, "candidatesTokenCount": "7"}).total == 7


def test_cached_tokens_are_part_of_the_prompt() -> None:
    assert usage_of({"promptTokenCount": 3, "cachedContentTokenCount": 9}).cached == 3


def test_nulls_do_not_wipe_out_what_is_known() -> None:
    tally = Tally()
    tally.add({"promptTokenCount": 3, "candidatesTokenCount": None})
    tally.add({"promptTokenCount": None, "candidatesTokenCount": 2})
    assert tally.counts == {"promptTokenCount": 3, "candidatesTokenCount": 2} and tally.nulls


def test_copies_share_their_prompt() -> None:
    first = {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 17}
    second = {"promptTokenCount": 10, "candidatesTokenCount": 7, "thoughtsTokenCount": 3, "totalTokenCount": 17}
    usage = usage_of(combined_usage([first, second]))
    assert (usage.prompt, usage.completion, usage.total, usage.reasoning) == (10, 14, 24, 5)
    assert combined_usage([{}, first]) == first and combined_usage([{}]) == {}


def test_an_estimate_counts_text_alone() -> None:
    request = {
        "contents": [
            {"role": "user", "parts": [{"text": "x" * 36}, {"inlineData": {"mimeType": "m", "data": "y" * 999}}]}
        ]
    }
    assert estimated_usage(request, 8) == {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
