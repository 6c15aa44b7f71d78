"""Answers in several pieces, and answers taken up after a break, read as one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.continuation import MOST_PIECES, MOST_RESUMED, Continuation
from antigravity2api.gemini.fold import Fold


def chunk(*parts, finish=None, token=None, **more):
    candidate = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    if token:
        candidate["continuationToken"] = token
    return {"candidates": [candidate], **more}


def text(value, **more):
    return {"text": value, **more}


def shown(chunks):
    fold = Fold()
    for each in chunks:
        fold.feed(each)
    return fold.response()


def test_pieces_become_one_answer_with_the_sum_of_their_counters():
    story = Continuation()
    counted = {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}
    first = story.take(chunk(text("Chapter 1. "), finish="CONTINUATION", token="a", usageMetadata=counted))
    assert story.next_piece() == "a"
    second = story.take(chunk(text("Chapter 2. "), finish="CONTINUATION", token="b", usageMetadata=counted))
    assert story.next_piece() == "b"
    third = story.take(chunk(text("The end."), finish="STOP", usageMetadata=counted))
    assert story.next_piece() is None
    answer = shown([first, second, third])
    assert answer["candidates"] == [
        {
            "content": {"role": "model", "parts": [text("Chapter 1. Chapter 2. The end.")]},
            "index": 0,
            "finishReason": "STOP",
        }
    ]
    assert answer["usageMetadata"] == {"promptTokenCount": 15, "candidatesTokenCount": 21, "totalTokenCount": 36}


def test_running_totals_of_a_piece_are_not_added_twice():
    story = Continuation()
    story.take(chunk(text("a"), usageMetadata={"candidatesTokenCount": 1}))
    story.take(chunk(text("b"), finish="CONTINUATION", token="t", usageMetadata={"candidatesTokenCount": 2}))
    story.next_piece()
    story.take(chunk(text("c"), usageMetadata={"candidatesTokenCount": 1}))
    last = story.take(chunk(text("d"), finish="STOP", usageMetadata={"candidatesTokenCount": 3}))
    assert last["usageMetadata"] == {"candidatesTokenCount": 5}


def test_a_piece_without_a_new_token_leads_nowhere():
    story = Continuation()
    story.take(chunk(text("a"), finish="CONTINUATION", token="t"))
    assert story.next_piece() == "t"
    story.take(chunk(text("b"), finish="CONTINUATION", token="t"))
    assert story.next_piece() is None


def test_pieces_are_bounded():
    story = Continuation()
    for number in range(MOST_PIECES - 1):
        story.take(chunk(text("a"), finish="CONTINUATION", token=f"t{number}"))
        assert story.next_piece() == f"t{number}"
    story.take(chunk(text("a"), finish="CONTINUATION", token="one more"))
    assert story.next_piece() is None


def test_a_continuation_without_a_token_ends_the_answer_as_it_says():
    story = Continuation()
    made = story.take(chunk(text("a"), finish="CONTINUATION"))
    assert made["candidates"][0]["finishReason"] == "CONTINUATION"
    assert story.next_piece() is None
    assert story.resume() is None


def test_a_signature_between_the_pieces_keeps_its_place():
    story = Continuation()
    chunks = [story.take(chunk(text("a"), finish="CONTINUATION", token="t"))]
    story.next_piece()
    chunks.append(story.take(chunk(text("", thoughtSignature="c2ln"))))
    chunks.append(story.take(chunk(text("b"), finish="STOP")))
    parts = shown(chunks)["candidates"][0]["content"]["parts"]
    assert parts == [text("a"), text("", thoughtSignature="c2ln"), text("b")]


@pytest.mark.parametrize("thought", [False, True])
@pytest.mark.parametrize("seen", ["ab+|", "ab+", "ab|+", "ab", "a", ""])
@pytest.mark.parametrize("again", ["ab+", "a|b+", "ab|+"])
def test_a_signature_comes_once_whatever_was_seen_before_a_break(seen, again, thought):
    """``+`` is a signature, ``|`` the end of a part."""

    def parts(spelled):
        for each in filter(None, spelled.split("|")):
            value = text(each.rstrip("+"), **({"thought": True} if thought else {}))
            yield value | {"thoughtSignature": "c2ln"} if each.endswith("+") else value

    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    chunks = [story.take(chunk(part)) for part in parts(seen)]
    story.resume()
    chunks += [story.take(chunk(part)) for part in parts(again)]
    chunks.append(story.take(chunk({"functionCall": {"name": "f", "args": {}}}, finish="STOP")))
    found = [part for each in chunks for part in each["candidates"][0].get("content", {}).get("parts", ())]
    assert "".join(part.get("text", "") for part in found) == "ab"
    assert [part.get("thoughtSignature") for part in found if "thoughtSignature" in part] == ["c2ln"]
    assert "functionCall" in found[-1]


@settings(deadline=None, max_examples=60)
@given(
    st.text(min_size=1, max_size=40),
    st.text(max_size=40),
    st.data(),
)
def test_what_came_since_the_checkpoint_is_shown_once(before, after, data):
    """However the text is cut, before and after the break."""
    broken = data.draw(st.integers(0, len(after)))
    story = Continuation()
    chunks = [story.take(chunk(text(before), token="t"))]
    chunks += [story.take(chunk(text(piece))) for piece in cuts(after[:broken], data)]
    assert story.resume() == "t"
    chunks += [story.take(chunk(text(piece))) for piece in cuts(after, data)]
    chunks.append(story.take(chunk(finish="STOP")))
    parts = shown(chunks)["candidates"][0]["content"]["parts"]
    assert "".join(part["text"] for part in parts) == before + after


def cuts(value, data):
    at = sorted(data.draw(st.sets(st.integers(1, len(value)), max_size=4))) if value else []
    return [value[a:b] for a, b in zip([0, *at], [*at, len(value)], strict=True) if value[a:b]]


def test_a_second_break_before_all_was_repeated():
    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    chunks = [story.take(chunk(text("abcd")))]
    story.resume()
    chunks.append(story.take(chunk(text("ab"))))
    story.resume()
    chunks.append(story.take(chunk(text("abcdef"), finish="STOP")))
    parts = shown(chunks)["candidates"][0]["content"]["parts"]
    assert "".join(part["text"] for part in parts) == "abcdef"


def test_calls_and_thoughts_come_once_too():
    story = Continuation()
    call = {"functionCall": {"name": "f", "args": {"a": 1}}}
    story.take(chunk(text("0"), token="t"))
    chunks = [story.take(chunk(text("hm", thought=True), call))]
    story.resume()
    chunks.append(story.take(chunk(text("hm", thought=True), call, text("go"), finish="STOP")))
    parts = shown(chunks)["candidates"][0]["content"]["parts"]
    assert parts == [text("hm", thought=True), call, text("go")]


@pytest.mark.parametrize("again", [text("abX"), text("ab", thought=True), {"functionCall": {"name": "f", "args": {}}}])
def test_another_answer_than_before_is_a_fault(again):
    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    story.take(chunk(text("abc")))
    story.resume()
    with pytest.raises(Fault) as caught:
        story.take(chunk(again))
    assert caught.value.kind is Kind.TRUNCATED


@pytest.mark.parametrize("finish", ["STOP", "MAX_TOKENS"])
def test_an_answer_that_ends_before_all_was_repeated_is_another_one(finish):
    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    story.take(chunk(text("abc")))
    story.resume()
    story.take(chunk(text("ab")))
    with pytest.raises(Fault) as caught:
        story.take(chunk(finish=finish))
    assert caught.value.kind is Kind.TRUNCATED


def test_a_filter_may_end_an_answer_before_all_was_repeated():
    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    story.take(chunk(text("abc")))
    story.resume()
    assert story.take(chunk(text("ab"), finish="SAFETY"))["candidates"][0]["finishReason"] == "SAFETY"


def test_an_answer_that_ends_where_it_broke_is_whole():
    story = Continuation()
    story.take(chunk(text("0"), token="t"))
    story.take(chunk(text("abc", thoughtSignature="c2ln")))
    story.resume()
    assert story.take(chunk(text("abc"), finish="STOP"))["candidates"][0]["finishReason"] == "STOP"


def test_a_connection_that_keeps_breaking_is_given_up():
    story = Continuation()
    story.take(chunk(text("a"), token="t"))
    assert [story.resume() for _ in range(MOST_RESUMED + 1)] == ["t"] * MOST_RESUMED + [None]
    story.take(chunk(text("b"), token="u"))
    assert story.resume() == "u"
