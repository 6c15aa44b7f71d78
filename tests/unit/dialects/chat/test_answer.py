"""Answers as Chat Completions: what the golden cases do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antigravity2api.dialects.chat.encoder import ChatEncoder
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.signature import (
    Signed,
    args_key,
    call_key,
    text_key,
    thought_key,
    thoughts_of,
    thread_named,
)
from fakes.chat_answer import (
    ORIGIN,
    SIGNATURE,
    chunks,
    event,
    frames,
    joined,
    make_box,
    make_call,
    streamed,
    text,
    thought,
    tool,
    usage_chunks,
    whole,
)

THREAD = thread_named("Hello")


def encoder(**notes: Any) -> ChatEncoder:
    return ChatEncoder(make_call(**notes), ORIGIN, make_box(), "gemini")


def message(*events: Any, **notes: Any) -> dict[str, Any]:
    return whole(events, make_call(**notes))["choices"][0]["message"]


# -- streams -----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_there_is_something_to_show() -> None:
    made = encoder()
    assert made.feed({"usageMetadata": {"promptTokenCount": 1}}) == b""
    assert made.feed(event(text(""))) == b""
    assert made.feed(event(tool("f"))) == b"", "a call is held until the end is known"
    assert b"tool_calls" in made.feed({"candidates": [{"finishReason": "STOP"}]})


def test_text_goes_out_at_once_and_the_finish_at_the_end() -> None:
    made = encoder()
    assert b'"He"' in made.feed(event(text("He")))
    assert made.feed(event(finish="STOP")) == b""
    assert frames(made.finish())[-2]["choices"][0]["finish_reason"] == "stop"


def test_usage_may_follow_the_finish() -> None:
    data = streamed(
        [
            event(text("a"), finish="STOP", usage={"promptTokenCount": 1}),
            {"usageMetadata": {"candidatesTokenCount": 4}},
        ],
        make_call(include_usage=True),
    )
    (last,) = usage_chunks(chunks(data))
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 5


def test_text_behind_the_finish_is_not_lost() -> None:
    found = joined(chunks(streamed([event(text("a"), finish="STOP"), event(text("b"), finish="STOP")])))
    assert found[0]["message"]["content"] == "ab"


def test_the_role_and_the_first_text_come_together() -> None:
    first = chunks(streamed([event(text("He")), event(finish="STOP")]))[0]
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": "He"}, "finish_reason": None}]


def test_the_models_name_is_the_clients() -> None:
    events = [{**event(text("He"), finish="STOP"), "modelVersion": "gemini-2.5-flash-001"}]
    assert {chunk["model"] for chunk in chunks(streamed(events))} == {"gemini-2.0-flash-exp"}
    assert whole(events)["model"] == "gemini-2.0-flash-exp"


def test_line_ends_of_unicode_are_escaped_on_every_road() -> None:
    words = "a\u2028b\u2029c\x85d"
    data = streamed(
        [event(text(words)), event(text(words)), event(thought(words)), event(tool("f", {"a": words}), finish="STOP")]
    )
    raw = data.decode("utf-8")
    assert raw.count("\\u2028") == 4
    assert raw.split("\n") == [*raw.splitlines(), ""]
    assert joined(chunks(data))[0]["message"]["content"] == words * 2


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    found = joined(
        chunks(streamed([event(text("a")), event(text("x\ud83dy")), event(tool("f", {"k": "\udc00"}), finish="STOP")]))
    )
    assert found[0]["message"]["content"] == "ax\ufffdy"
    assert json.loads(found[0]["message"]["tool_calls"][0]["function"]["arguments"]) == {"k": "\ufffd"}


def test_a_break_is_one_error_frame_and_no_end_marker() -> None:
    made = encoder()
    made.feed(event(text("He")))
    with pytest.raises(Fault) as caught:
        made.finish()
    (last,) = frames(made.fail(caught.value))
    assert last["error"]["code"] == "upstream_stream_truncated" and set(last) == {"error"}


def test_a_ping_is_a_comment() -> None:
    assert encoder().ping() == b": ping\n\n"


def test_a_malformed_end_is_told_before_a_call_goes_out() -> None:
    made = encoder()
    assert made.feed(event(tool("f"))) == b""
    with pytest.raises(Fault) as caught:
        made.feed({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert caught.value.kind is Kind.MALFORMED_CALL


def test_candidates_beyond_the_wish_are_left_out() -> None:
    data = streamed([event(text("a"), finish="STOP", index=0), event(text("b"), finish="STOP", index=1)])
    assert list(joined(chunks(data))) == [0]


def test_one_candidate_of_two_without_an_end_is_a_cut() -> None:
    with pytest.raises(Fault) as caught:
        streamed([event(text("a"), index=0), event(text("b"), index=1, finish="STOP")], make_call(candidates=2))
    assert caught.value.kind is Kind.TRUNCATED


def test_copies_share_one_stream() -> None:
    call = make_call(copies=2, candidates=2, include_usage=True)
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    events = [
        event(text("A"), index=0, usage={**usage, "candidatesTokenCount": 1}),
        event(text("B"), index=1, usage=usage),
        event(finish="STOP", index=1, usage={**usage, "candidatesTokenCount": 4, "totalTokenCount": 14}),
        event(text("a"), index=0, finish="STOP", usage={**usage, "candidatesTokenCount": 3, "totalTokenCount": 13}),
    ]
    found = chunks(streamed(events, call))
    assert [choice["message"]["content"] for _, choice in sorted(joined(found).items())] == ["Aa", "B"]
    assert usage_chunks(found)[0]["usage"]["prompt_tokens"] == 10
    assert usage_chunks(found)[0]["usage"]["completion_tokens"] == 7


def test_a_missing_copy_is_a_cut() -> None:
    with pytest.raises(Fault) as caught:
        streamed([event(text("A"), index=0, finish="STOP")], make_call(copies=2, candidates=2))
    assert caught.value.kind is Kind.TRUNCATED


@pytest.mark.parametrize("notes", [{"candidates": 2}, {"candidates": 2, "copies": 2}])
def test_a_refused_prompt_answers_every_choice(notes: dict[str, Any]) -> None:
    events = [{"promptFeedback": {"blockReason": "SAFETY"}}]
    found = joined(chunks(streamed(events, make_call(**notes))))
    answer = whole(events, make_call(**notes))
    assert [found[index] for index in sorted(found)] == answer["choices"]
    assert [choice["message"]["refusal"] for choice in answer["choices"]] == ["SAFETY"] * 2
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["content_filter"] * 2


def test_an_upstream_that_writes_nulls_keeps_its_counts() -> None:
    made = encoder(include_usage=True)
    made.feed(event(text("a"), usage={"promptTokenCount": 7, "candidatesTokenCount": None}))
    for _ in range(3):
        made.feed(event(text("b"), usage={"promptTokenCount": None, "candidatesTokenCount": 2}))
    assert made.usage == {"promptTokenCount": 7, "candidatesTokenCount": 2}


def test_a_backend_that_ends_on_thoughts() -> None:
    made = encoder()
    made.thoughts_may_end = True
    usage = {"promptTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 7}
    sent = made.feed(event(thought("Done."), usage=usage)) + made.finish()
    assert joined(chunks(sent))[0]["finish_reason"] == "stop"


def test_ratings_do_not_slow_a_text_down_nor_change_it() -> None:
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}]
    events = [event(text(word), index=0, safetyRatings=ratings) for word in ("a", "b", "c")]
    assert joined(chunks(streamed([*events, event(finish="STOP")])))[0]["message"]["content"] == "abc"


# -- calls -------------------------------------------------------------------------------------------------------------


def test_ids_are_ours_short_and_unique() -> None:
    call = {"functionCall": {"name": "f", "args": {}, "id": "upstream-id"}}
    entries = message(event(call, call, finish="STOP"))["tool_calls"]
    names = {entry["id"] for entry in entries}
    assert len(names) == 2 and all(name.startswith("call_") and len(name) <= 40 for name in names)


def test_signatures_are_remembered_by_id_and_by_what_was_called() -> None:
    box = make_box()
    made = ChatEncoder(make_call(names={"get_x": "get/x"}), ORIGIN, box, "gemini")
    sent = made.feed(event(tool("get_x", {"b": 1, "a": 2}, SIGNATURE), tool("get_x", {}), finish="STOP"))
    shown = frames(sent)[0]["choices"][0]["delta"]["tool_calls"][0]["id"]
    held = box.signatures.get(call_key(shown))
    assert (held.signature, held.family, held.upstream, held.place) == (SIGNATURE, "gemini-3", "gemini", 0)
    assert box.signatures.get(args_key(THREAD, "get_x", {"a": 2, "b": 1})) == held
    other = box.signatures.get(args_key(THREAD, "get_x", {}))
    assert (other.signature, other.step, other.place) == ("", held.step, 1)
    assert len(box.signatures.held) == 4


@pytest.mark.parametrize(
    "parts",
    [
        [thought("Let me "), thought("see"), thought(".", thoughtSignature=SIGNATURE)],
        [thought("Let me "), thought("see"), thought("."), thought("", thoughtSignature=SIGNATURE), text("Yes")],
        [thought("Let me see."), {"thought": True, "thoughtSignature": SIGNATURE}],
    ],
)
def test_the_signature_of_thoughts_is_remembered_by_their_text(parts: list[Any]) -> None:
    events = [*[event(part) for part in parts], event(text("Hi"), finish="STOP")]
    for answer in (streamed, whole):
        box = make_box()
        answer(events, make_call(), box)
        assert box.signatures.get(thought_key(THREAD, "Let me see.")) == Signed(SIGNATURE, "gemini-3", "gemini")
        words = "".join(part.get("text", "") for part in parts if not part.get("thought")) + "Hi"
        before = box.signatures.get(text_key(THREAD, words))
        assert (before.signature, thoughts_of(before)) == ("", [("Let me see.", SIGNATURE)])


def test_arguments_come_back_as_the_schema_says() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "x": {"type": "number"}}}
    (entry,) = message(event(tool("f", {"n": 3.0, "x": 2.5}), finish="STOP"), schemas={"f": schema})["tool_calls"]
    assert entry["function"]["arguments"] == '{"n":3,"x":2.5}'


def test_arguments_of_parameters_that_were_no_object_are_unwrapped() -> None:
    box, schema = make_box(), {"type": "array", "items": {"type": "string"}}
    events = [event(tool("f", {"value": ["a"]}, SIGNATURE), finish="STOP")]
    (entry,) = whole(events, make_call(schemas={"f": schema}), box)["choices"][0]["message"]["tool_calls"]
    assert entry["function"]["arguments"] == '["a"]'
    assert box.signatures.get(args_key(THREAD, "f", {"value": ["a"]})) is not None


def test_free_text_for_a_custom_tool_whatever_the_model_called_it() -> None:
    (entry,) = message(event(tool("sh", {"cmd": "ls"}), finish="STOP"), custom_tools=["sh"])["tool_calls"]
    assert entry["custom"] == {"name": "sh", "input": '{"cmd":"ls"}'} and "function" not in entry


def test_calls_before_a_filter_keep_the_filters_word() -> None:
    answer = whole([event(tool("f", {}), finish="SAFETY")])
    assert answer["choices"][0]["finish_reason"] == "content_filter"


def test_an_integer_of_any_size_survives() -> None:
    (entry,) = message(event(tool("f", {"n": 10**30}), finish="STOP"))["tool_calls"]
    assert entry["function"]["arguments"] == '{"n":1' + "0" * 30 + "}"


def test_a_value_deeper_than_json_goes_is_the_upstreams_fault() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Fault) as caught:
        streamed([event(tool("f", {"a": deep}), finish="STOP")])
    assert caught.value.kind is Kind.BAD_ANSWER


# -- whole answers -----------------------------------------------------------------------------------------------------


def test_content_is_null_with_calls_alone_and_else_a_text() -> None:
    assert message(event(tool("f"), finish="STOP"))["content"] is None
    assert message(event(text("a"), tool("f"), finish="STOP"))["content"] == "a"
    assert message(event(thought("a"), finish="STOP"))["content"] == ""


def test_logprobs_of_several_events_make_one_list() -> None:
    def said(word: str) -> dict[str, Any]:
        return event(text(word), logprobsResult={"chosenCandidates": [{"token": word, "logProbability": -1}]})

    events = [
        said("a"),
        said("b"),
        event(finish="STOP", logprobsResult={"chosenCandidates": [{"token": "", "logProbability": float("nan")}]}),
    ]
    answer = whole(events)["choices"][0]
    assert answer == joined(chunks(streamed(events)))[0]
    assert [(entry["token"], entry["logprob"]) for entry in answer["logprobs"]["content"]] == [
        ("a", -1.0),
        ("b", -1.0),
        ("", -9999.0),
    ]


def test_json_that_was_cut_is_handed_on_as_it_is() -> None:
    events = [event(text('{"value": [1, '), finish="MAX_TOKENS")]
    assert message(*events, json_wrapped=True)["content"] == '{"value": [1, '


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ("  ```\n[1]\n```  \n", "[1]"),
        ("```\n```", ""),
        ("~~~\n1\n~~~", "~~~\n1\n~~~"),
        ("`a`", "`a`"),
        ("```json {} ```", "```json {} ```"),
        ("```\na\n```\nb\n```\nc\n```", "```\na\n```\nb\n```\nc\n```"),
        ("x ```\na\n```", "x ```\na\n```"),
        ("````\n```\na\n```\n````", "```\na\n```"),
        ("``", "``"),
    ],
)
def test_one_fence_around_everything_is_taken_off(given: str, expected: str) -> None:
    events = [event(text(letter)) for letter in given] + [event(finish="STOP")]
    assert message(*events, strip_fence=True)["content"] == expected
    assert joined(chunks(streamed(events, make_call(strip_fence=True))))[0]["message"]["content"] == expected
