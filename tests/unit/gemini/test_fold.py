"""Folding events into one answer; how answers end; what they cost."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.fold import (
    Ending,
    Finish,
    Fold,
    blocked,
    merge_copies,
)
from antigravity2api.gemini.usage import usage_of
from fakes.chat_answer import SIGNATURE, event, folded, text, thought, tool


def parts(*events: Any) -> list[dict[str, Any]]:
    return folded(events)["candidates"][0]["content"]["parts"]


def test_plain_text_becomes_one_part() -> None:
    assert parts(event(text("He")), event(text("l"), text("lo")), event(finish="STOP")) == [{"text": "Hello"}]


def test_thoughts_and_text_stay_apart_and_in_order() -> None:
    found = parts(
        event(thought("a")), event(thought("b"), text("c")), event(thought("d")), event(text("e"), finish="STOP")
    )
    assert found == [thought("ab"), text("c"), thought("d"), text("e")]


def test_a_signed_part_is_never_merged() -> None:
    signed = text("lo", thoughtSignature=SIGNATURE)
    found = parts(event(text("He")), event(signed), event(text("!")), event(text("?"), finish="STOP"))
    assert found == [text("He"), signed, text("!?")]


def test_an_empty_signed_part_is_kept_and_an_empty_plain_one_is_not() -> None:
    signed = text("", thoughtSignature=SIGNATURE)
    assert parts(event(text("Hi")), event(text(""), signed, finish="STOP")) == [text("Hi"), signed]


def test_events_are_not_changed() -> None:
    first = event(text("He"))
    folded([first, event(text("llo"), finish="STOP")])
    assert first == event(text("He"))


def test_side_data_of_each_candidate_comes_along() -> None:
    first = event(text("a"), index=0, citationMetadata={"citationSources": [{"uri": "u1"}]}, avgLogprobs=-1.0)
    second = event(
        text("b"), index=0, finish="STOP", citationMetadata={"citationSources": [{"uri": "u2"}]}, avgLogprobs=-0.5
    )
    other = event(text("c"), index=1, finish="MAX_TOKENS", safetyRatings=[{"category": "X"}])
    response = folded([first, other, second])
    one, two = response["candidates"]
    assert one["citationMetadata"] == {"citationSources": [{"uri": "u1"}, {"uri": "u2"}]}
    assert one["avgLogprobs"] == -0.5 and one["finishReason"] == "STOP"
    assert two["index"] == 1 and two["finishReason"] == "MAX_TOKENS" and two["safetyRatings"] == [{"category": "X"}]


def test_grounding_sent_anew_in_full_and_in_pieces() -> None:
    chunk = [{"web": {"uri": "https://a"}}]
    support = [{"segment": {"endIndex": 1}, "groundingChunkIndices": [0]}]
    in_full = folded(
        [
            event(text("ab"), groundingMetadata={"groundingChunks": chunk, "groundingSupports": support}),
            event(finish="STOP", groundingMetadata={"groundingChunks": chunk, "groundingSupports": support}),
        ]
    )
    assert in_full["candidates"][0]["groundingMetadata"] == {"groundingChunks": chunk, "groundingSupports": support}
    more = [{"web": {"uri": "https://b"}}]
    in_pieces = folded(
        [
            event(text("ab"), groundingMetadata={"groundingChunks": chunk, "groundingSupports": support}),
            event(finish="STOP", groundingMetadata={"groundingChunks": more, "groundingSupports": support}),
        ]
    )
    grounding = in_pieces["candidates"][0]["groundingMetadata"]
    assert grounding["groundingChunks"] == chunk + more
    assert [entry["groundingChunkIndices"] for entry in grounding["groundingSupports"]] == [[0], [1]]


def test_model_and_id_are_the_first_events() -> None:
    response = folded(
        [
            {**event(text("a")), "modelVersion": "m1", "responseId": "r1", "other": 1},
            {**event(finish="STOP"), "modelVersion": "m2", "responseId": "r2", "other": 2},
        ]
    )
    assert (response["modelVersion"], response["responseId"], response["other"]) == ("m1", "r1", 2)


def test_usage_is_the_last_value_of_each_field() -> None:
    fold = Fold()
    fold.feed(event(text("a"), usage={"promptTokenCount": 5, "cachedContentTokenCount": 2, "totalTokenCount": 5}))
    fold.feed(event(text("b"), usage={"promptTokenCount": None, "candidatesTokenCount": 1, "totalTokenCount": 6}))
    fold.feed(event(finish="STOP", usage={"candidatesTokenCount": 3}))
    expected = {"promptTokenCount": 5, "cachedContentTokenCount": 2, "totalTokenCount": 6, "candidatesTokenCount": 3}
    assert fold.usage == fold.response()["usageMetadata"] == expected


# -- how it ended ------------------------------------------------------------------------------------------------------

FILTERS = (
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII MODEL_ARMOR ESCALATION PUP_LIMITED_DISABLED "
    "IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION"
).split()
MALFORMED = "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL MALFORMED_RESPONSE TOO_MANY_TOOL_CALLS".split()
LOOSE = ["NO_IMAGE", "IMAGE_OTHER", "OTHER", "FINISH_REASON_UNSPECIFIED", "SOMETHING_NEW", 0, 5, 6, 17, "9"]


def ending(reason: Any, *seen: Any, **extra: Any) -> Ending:
    made = Ending()
    for part in seen:
        made.see(part)
    made.note({"finishReason": reason, **extra})
    return made


@pytest.mark.parametrize("reason", [*FILTERS, 3, 4, "3", 4.0])
def test_filters(reason: Any) -> None:
    assert ending(reason).judge() is Finish.FILTER
    assert ending(reason, text("a"), tool("f")).judge() is Finish.FILTER


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "CONTINUATION", 2])
def test_length(reason: Any) -> None:
    assert ending(reason).judge() is Finish.LENGTH


@pytest.mark.parametrize("reason", ["STOP", "stop", 1, "1"])
def test_a_natural_end(reason: Any) -> None:
    assert ending(reason, text("a")).judge() is Finish.STOP
    assert ending(reason, thought("a")).judge() is Finish.STOP
    assert ending(reason, tool("f")).judge() is Finish.STOP
    assert ending(reason, {"toolCall": {"id": "1"}}).judge() is Finish.STOP


@pytest.mark.parametrize("seen", [(), (text(""),), (text("", thoughtSignature=SIGNATURE),)])
def test_a_natural_end_without_anything_is_tried_again_and_then_accepted(seen: Any) -> None:
    with pytest.raises(Fault) as caught:
        ending("STOP", *seen).judge()
    assert (caught.value.kind, caught.value.retry) == (Kind.EMPTY, Retry.SAME)
    assert ending("STOP", *seen).judge(accept_empty=True) is Finish.STOP


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_answers_fail_at_once(reason: str) -> None:
    with pytest.raises(Fault) as caught:
        ending(reason, text("a"), tool("f"), finishMessage="Malformed function call: f(")
    fault = caught.value
    assert (fault.kind, fault.code, fault.retry) == (Kind.MALFORMED_CALL, "upstream_malformed_call", Retry.SAME)
    assert fault.message.endswith("Malformed function call: f(") and reason in fault.message


def test_a_missing_signature_asks_for_repair() -> None:
    with pytest.raises(Fault) as caught:
        ending("MISSING_THOUGHT_SIGNATURE")
    assert (caught.value.retry, caught.value.reason) == (Retry.REPAIRED, "MISSING_THOUGHT_SIGNATURE")


@pytest.mark.parametrize("reason", LOOSE)
def test_loose_ends_are_fine_with_output_only(reason: Any) -> None:
    assert ending(reason, text("a")).judge() is Finish.STOP
    assert ending(reason, tool("f")).judge() is Finish.STOP
    with pytest.raises(Fault) as caught:
        ending(reason, thought("a")).judge(accept_empty=True)
    assert (caught.value.kind, caught.value.code, caught.value.retry) == (Kind.EMPTY, "empty_response", Retry.NEVER)


@pytest.mark.parametrize("reason", [None, ""])
def test_no_end_is_a_cut(reason: Any) -> None:
    with pytest.raises(Fault) as caught:
        ending(reason, text("a")).judge(accept_empty=True)
    assert (caught.value.kind, caught.value.code) == (Kind.TRUNCATED, "upstream_stream_truncated")


def test_thoughts_may_end_an_answer_where_the_backend_is_known_for_it() -> None:
    usage = {"promptTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 7}
    assert ending(None, thought("a")).judge(thoughts_may_end=usage) is Finish.STOP
    for seen, counted in (
        ((thought("a"),), {}),
        ((thought("a"), text("b")), usage),
        ((thought("a"), tool("f")), usage),
    ):
        with pytest.raises(Fault) as caught:
            ending(None, *seen).judge(thoughts_may_end=counted)
        assert caught.value.kind is Kind.TRUNCATED
    fold = Fold(thoughts_may_end=True)
    fold.feed(event(thought("a"), usage=usage))
    assert fold.response()["candidates"][0]["finishReason"] == "STOP"


def test_a_known_reason_outlives_an_unknown_one() -> None:
    made = ending("FINISH_REASON_UNSPECIFIED", text("a"))
    made.note({"finishReason": "MAX_TOKENS"})
    made.note({"finishReason": "WHATEVER"})
    assert made.judge() is Finish.LENGTH


def test_a_refused_prompt_is_an_answer() -> None:
    response = folded([{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}])
    assert "candidates" not in response and blocked(response) == "SAFETY"


@pytest.mark.parametrize(
    ("feedback", "reason"),
    [
        ({"blockReason": "OTHER", "blockReasonMessage": "No."}, "OTHER: No."),
        ({"blockReason": 4}, "4"),
        ({"blockReason": ""}, None),
        ({"blockReason": 0}, None),
        ({"blockReason": True}, None),
        ({"blockReason": ["SAFETY"]}, None),
        ({"safetyRatings": []}, None),
        ("SAFETY", None),
    ],
)
def test_block_reasons(feedback: Any, reason: str | None) -> None:
    assert blocked({"promptFeedback": feedback}) == reason


@pytest.mark.parametrize(
    "chunk",
    [
        [],
        {"candidates": {}},
        {"candidates": "x"},
        {"candidates": ["x"]},
        {"candidates": [{"content": []}]},
        {"candidates": [{"content": {"parts": "x"}}]},
        {"candidates": [{"content": {"parts": [1]}}]},
        event({"text": 5}),
        event({"functionCall": "f"}),
        event({"functionCall": {}}),
        event({"functionCall": {"name": 3}}),
        event({"functionCall": {"name": "f", "args": [1]}}),
        event({"inlineData": "x"}),
        event({"inlineData": {"data": 5}}),
        event({"executableCode": "x"}),
        event({"codeExecutionResult": []}),
        event({"fileData": 1}),
        event(finish=["STOP"]),
        event(finish={"word": "STOP"}),
        event(finish=True),
        event(text("a"), index=-1),
        event(text("a"), index="0"),
        event(text("a"), index=1.5),
        event(text("a"), index=10**9),
    ],
)
def test_wrong_types_are_a_fault(chunk: Any) -> None:
    with pytest.raises(Fault) as caught:
        Fold().feed(chunk)
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"candidates": None},
        {"candidates": [{"content": None}]},
        {"candidates": [{"content": {"parts": None}}]},
        {"candidates": [{"index": 0.0}]},
        event(text("a"), groundingMetadata="x", citationMetadata=[1], logprobsResult=3),
        {"usageMetadata": "x"},
        {"usageMetadata": [["promptTokenCount", 1]]},
        {"promptFeedback": 3},
    ],
)
def test_what_is_missing_or_beside_the_point_is_none(chunk: Any) -> None:
    fold = Fold()
    fold.feed(chunk)
    assert fold.usage == {}


def test_nothing_at_all_is_a_cut() -> None:
    with pytest.raises(Fault) as caught:
        folded([{"usageMetadata": {"promptTokenCount": 1}}])
    assert caught.value.kind is Kind.TRUNCATED


def test_copies_become_candidates() -> None:
    one = folded([event(text("a"), finish="STOP", usage={"promptTokenCount": 4, "candidatesTokenCount": 1})])
    two = folded([event(text("b"), finish="STOP", usage={"promptTokenCount": 4, "candidatesTokenCount": 2})])
    merged = merge_copies([one, two])
    assert [candidate["index"] for candidate in merged["candidates"]] == [0, 1]
    assert usage_of(merged["usageMetadata"]).total == 7
