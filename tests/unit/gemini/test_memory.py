"""What an answer signed is kept so that it returns as it was, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.gemini.memory import Keeper, Recall, TextKeys, cut
from antigravity2api.gemini.signature import (
    MemorySignatures,
    Signed,
    args_of,
    call_key,
    tagged,
    text_key,
    thoughts_of,
    thread_named,
    untagged,
)

CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]
THREAD = thread_named("Hello")


def keeper(store: Any, *, family: str = "gemini-3", upstream: str = "gemini", contents: Any = None) -> Keeper:
    return Keeper(store, family, upstream, CONTENTS if contents is None else contents)


def recall(store: Any, *, family: str = "gemini-3", upstream: str = "gemini", first: str = "Hello") -> Recall:
    made = Recall(store, family, upstream)
    made.thread = thread_named(first)
    return made


def call(args: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": "f", "args": args or {}, **more}


def test_a_call_is_found_by_its_id_and_by_what_it_says() -> None:
    store = MemorySignatures()
    keeper(store).call("call_1", "f", {"a": 1}, call({"a": 1}, id="up"), "c2ln", several=False)
    for identity in ("call_1", "", "rewritten"):
        found = recall(store).call(identity, "f", {"a": 1.0})
        assert found is not None and found.fits
        assert (found.signed.signature, found.signed.call_id, found.by_id) == ("c2ln", "up", identity == "call_1")
    assert recall(store).call("", "f", {"a": 2}) is None
    assert recall(store, first="Another conversation").call("", "f", {"a": 1}) is None


def test_equal_calls_are_told_apart_by_their_order_alone() -> None:
    """Clients cut an answer into messages of one call each, join two answers into one, and turn the order around."""
    store = MemorySignatures()
    made = keeper(store)
    made.call("call_1", "g", {"a": 1}, {"name": "g", "args": {"a": 1}}, "b25l", several=True)
    made.call("call_2", "f", {"a": 1}, call({"a": 1}), None, several=True)
    made.call("call_3", "f", {"a": 1}, call({"a": 1}), None, several=True)
    parts = [{"functionCall": call({"a": 1})}, {"functionCall": call({"a": 2})}, {"functionCall": call({"a": 1})}]
    keeper(store, contents=[*CONTENTS, {"role": "model", "parts": parts}]).call(
        "call_4", "f", {"a": 1}, call({"a": 1}), "dHdv", several=False
    )
    read = recall(store)
    found = [read.call("", "f", {"a": 1}) for _ in range(3)] + [read.call("", "g", {"a": 1})]
    known = [(each.signed.signature, each.signed.place) for each in found if each is not None]
    assert known == [("", 1), ("", 2), ("dHdv", 0), ("b25l", 0)]


def test_a_repeated_call_that_went_out_differently_is_counted() -> None:
    store = MemorySignatures()
    keeper(store).call("call_1", "f", {"a": 2}, call({"a": "2"}), "b25l", several=False)
    contents = [*CONTENTS, {"role": "model", "parts": [{"functionCall": call({"a": "2"})}]}]
    keeper(store, contents=contents).call("call_2", "f", {"a": 2}, call({"a": "2"}), "dHdv", several=False)
    read = recall(store)
    found = [read.call("", "f", {"a": 2}) for _ in range(2)]
    assert [each and each.signed.signature for each in found] == ["b25l", "dHdv"]


def test_a_call_that_was_edited_no_longer_fits() -> None:
    store = MemorySignatures()
    keeper(store).call("call_1", "f", {"a": 1}, call({"a": 1}), "c2ln", several=False)
    found = recall(store).call("call_1", "f", {"a": 2})
    assert found is not None and not found.fits


def test_arguments_that_went_out_differently_come_back_as_they_were() -> None:
    store = MemorySignatures()
    made = keeper(store)
    made.call("call_1", "f", {"a": 2}, call({"a": "2"}), "c2ln", several=True)
    made.call("call_2", "f", {"a": 2.0}, call({"a": 2}), None, several=True)
    first, second = (recall(store).call(name, "f", {"a": 2}) for name in ("call_1", "call_2"))
    assert first is not None and second is not None
    assert args_of(first.signed) == {"a": "2"}
    assert args_of(second.signed) is None
    assert (first.signed.step, first.signed.place, second.signed.place) == (second.signed.step, 0, 1)


def test_nothing_is_kept_of_a_call_with_nothing_to_keep() -> None:
    store = MemorySignatures()
    keeper(store).call("call_1", "f", {}, call(), None, several=False)
    assert len(store) == 0


@pytest.mark.parametrize("strange", [7, None, "x" * 300, "\ud800", ["id"]])
def test_an_id_of_the_upstream_that_is_none_is_not_kept(strange: Any) -> None:
    store = MemorySignatures()
    keeper(store).call("call_1", "f", {}, call(id=strange), "c2ln", several=False)
    assert store.get(call_key("call_1")).call_id == ""  # type: ignore[union-attr]


def test_the_same_call_again_has_the_signature_of_its_own_time() -> None:
    store = MemorySignatures()
    contents: list[Any] = [*CONTENTS]
    for number in range(3):
        keeper(store, contents=contents).call(
            f"c{number}", "f", {"a": 1}, call({"a": 1}), f"c2ln{number}", several=False
        )
        contents += [
            {"role": "model", "parts": [{"functionCall": call({"a": 1})}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ]
    read = recall(store)
    found = [read.call("", "f", {"a": 1}) for _ in range(4)]
    assert [one and one.signed.signature for one in found] == ["c2ln0", "c2ln1", "c2ln2", None]


def test_thoughts_stand_with_the_first_call() -> None:
    store = MemorySignatures()
    made = keeper(store, family="claude")
    made.thought("Let me see.", "dGhvdWdodA==")
    made.thought("", "cmVkYWN0ZWQ=")
    made.call("call_1", "f", {}, call(id="toolu_1"), None, several=True)
    made.call("call_2", "f", {}, call(id="toolu_2"), None, several=True)
    made.close(["So."])
    read = recall(store, family="claude")
    first, second = (read.call(name, "f", {}) for name in ("call_1", "call_2"))
    assert first is not None and second is not None
    assert thoughts_of(first.signed) == [("Let me see.", "dGhvdWdodA=="), ("", "cmVkYWN0ZWQ=")]
    assert thoughts_of(second.signed) == []
    assert read.thought("Let me see.\n") == ("Let me see.", "dGhvdWdodA==")
    assert read.text("So.") == []


def test_thoughts_stand_with_the_text_of_an_answer_without_calls() -> None:
    store = MemorySignatures()
    made = keeper(store, family="claude")
    made.thought("Hm.", "dGhvdWdodA==")
    made.close(["Yes", "."])
    (found,) = recall(store, family="claude").text(" Yes.\n")
    assert thoughts_of(found) == [("Hm.", "dGhvdWdodA==")]
    assert cut("Yes.", [found]) is None


PIECES = ["\n Hel", "lo, ", "you", " there. "]


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ([(3, 8, "czE=")], [("\n Hello, you", None), (" there. ", "czE=")]),
        ([(4, 0, "czE=")], [("\n Hello, you there. ", None), ("", "czE=")]),
        ([(0, 5, "czE=")], [("\n Hel", "czE="), ("lo, you there. ", None)]),
        ([(0, 5, "czE="), (2, 3, "czI="), (4, 0, "czM=")],
         [("\n Hel", "czE="), ("lo, ", None), ("you", "czI="), (" there. ", None), ("", "czM=")]),
    ],
)  # fmt: skip
def test_a_text_is_cut_as_it_came(signed: list[Any], expected: list[Any]) -> None:
    store = MemorySignatures()
    made = keeper(store)
    for one in signed:
        made.text(*one)
    made.close(PIECES)
    for told in ("".join(PIECES), "Hello, you there.", "  Hello, you there.\n\n"):
        assert cut(told, recall(store).text(told)) == expected
    assert recall(store).text("Hello, you there!") == []


def test_a_text_that_went_out_differently_keeps_what_stood_behind_it() -> None:
    store = MemorySignatures()
    made = keeper(store)
    made.text(0, 7, "czE=")
    made.text(1, 0, "czI=")
    made.close(['{"a":1}'], altered=True)
    told = '{"a":1}'
    assert cut(told, recall(store).text(told)) == [(told, None), ("", "czI=")]


def test_the_same_text_again_has_the_signature_of_its_own_time() -> None:
    store = MemorySignatures()
    contents: list[Any] = [*CONTENTS]
    for number in range(3):
        made = keeper(store, contents=contents)
        made.text(0, 5, f"c2ln{number}")
        made.close(["Done."])
        contents += [{"role": "model", "parts": [{"text": "Done."}]}, {"role": "user", "parts": [{"text": "Go on"}]}]
    read = recall(store)
    found = []
    for _ in range(4):
        read.next_answer()
        assert read.text("Done.") == read.text("Done.")
        found.append([signed.signature for signed in read.text("Done.")])
    assert found == [["c2ln0"], ["c2ln1"], ["c2ln2"], []]


def test_parts_of_an_older_answer_do_not_join_a_newer_one() -> None:
    store = MemorySignatures()
    older = keeper(store)
    older.text(0, 2, "b2xk")
    older.text(1, 2, "b2xkMg==")
    older.close(["ab", "cd"])
    newer = keeper(store)
    newer.text(0, 4, "bmV3")
    newer.close(["abcd"])
    assert cut("abcd", recall(store).text("abcd")) == [("abcd", "bmV3")]


def test_only_its_family_and_upstream_gets_a_signature_back() -> None:
    store = MemorySignatures()
    made = keeper(store)
    made.text(0, 2, "c2ln")
    made.close(["Hi"])
    made.image("abc", "cGlj")
    for other in ({"family": "gemini-4"}, {"upstream": "antigravity"}):
        read = recall(store, **other)
        assert read.text("Hi") == []
        assert read.image("abc") is None
        assert read.foreign == {"c2ln", "cGlj"}
    assert recall(store).image("abc") == "cGlj"


def test_an_answer_without_words_to_know_it_by_is_not_kept() -> None:
    store = MemorySignatures()
    for pieces in ([], [""], [" \n"], [" " * 100 + "x"]):
        made = keeper(store)
        made.text(0, 0, "c2ln")
        made.close(pieces)
    assert len(store) == 0


def test_more_than_is_kept_is_left_out() -> None:
    store = MemorySignatures()
    made = keeper(store, family="claude")
    made.thought("x" * (1 << 20), "dGhvdWdodA==")
    made.call("call_1", "f", {}, call(id="toolu_1"), None, several=False)
    kept = store.get(call_key("call_1"))
    assert kept is not None
    assert (kept.call_id, kept.hidden) == ("toolu_1", "")


def test_a_tag_tells_whose_a_signature_is() -> None:
    signed = Signed("c2ln", "gemini-3", "gemini")
    assert untagged(tagged(signed)) == signed
    assert [untagged(text) for text in ("c2ln", "", "a b", "a b c d")] == [None] * 4


def test_what_does_not_describe_a_text_does_not_cut_it() -> None:
    assert cut("abc", [Signed("c2ln", "f", "u", place=2, length=5)]) is None
    assert (
        cut("abc", [Signed("c2ln", "f", "u", place=2, length=1), Signed("c2ln", "f", "u", place=0, length=1)]) is None
    )


def test_keys_of_texts_are_the_same_when_they_are_remembered_and_bounded() -> None:
    keys = TextKeys(most=2)
    answers = ["a", " a ", "b", "a"]
    plain = text_key(thread_named("x"), "a")
    assert keys.of("x", answers) == [plain, f"{plain}:1", text_key(thread_named("x"), "b"), f"{plain}:2"]
    assert keys.of("x", answers) == keys.of("x", answers)
    assert len(keys) <= 2
    assert keys.of("y", ["a"]) != keys.of("x", ["a"])
