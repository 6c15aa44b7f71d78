"""Histories as clients return them: results that lost their ids, answers cut and joined, signatures in any spelling."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from antigravity2api.errors import Fault
from antigravity2api.gemini.memory import Keeper
from antigravity2api.gemini.signature import (
    ESCAPE,
    Signed,
    call_key,
    concealed,
    image_key,
    tagged,
    thought_key,
    thread_named,
)
from fakes.chat_box import ask, assistant, call, make_box, origin, parse, result, user
from fakes.legal_order import assert_legal

STRICT = "gemini-3-flash-preview"
CLAUDE = "claude-sonnet-4-6"
SIGNATURE = "b3BhcXVlLXRob3VnaHQtc2lnbmF0dXJl"
LONG = base64.b64encode(b"a real signature is long, and this one is too: " * 3).decode()
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def contents(*messages: Any, box: Any = None, model: str = STRICT, at: Any = None) -> list[Any]:
    made = parse(ask(user("x"), *messages, model=model), box or make_box(), at)
    if model != CLAUDE:
        assert_legal(made.request["contents"], made.profile)
    return list(made.request["contents"])


def signed(found: list[Any]) -> list[Any]:
    """Name or text, and signature, of what the model said."""
    return [
        (part["functionCall"]["name"] if "functionCall" in part else part.get("text"), part.get("thoughtSignature"))
        for content in found
        if content["role"] == "model"
        for part in content["parts"]
    ]


def answers(found: list[Any]) -> list[Any]:
    return [
        (part["functionResponse"]["name"], part["functionResponse"]["response"])
        for content in found
        for part in content["parts"]
        if "functionResponse" in part
    ]


# -- signatures in other spellings -------------------------------------------------------------------------------------

GOOGLE = {"google": {"thought_signature": SIGNATURE}}
ON_CALL = [
    {"extra_content": GOOGLE},
    {"thought_signature": SIGNATURE},
    {"thoughtSignature": SIGNATURE},
    {"provider_specific_fields": {"thought_signature": SIGNATURE}},
    {"providerOptions": {"google": {"thoughtSignature": SIGNATURE}}},
    {"providerMetadata": {"vertex": {"thoughtSignature": SIGNATURE}}},
    {"experimental_providerMetadata": {"google": {"thoughtSignature": SIGNATURE}}},
]
ON_MESSAGE = [
    {"extra_content": GOOGLE},
    {"provider_specific_fields": {"thought_signatures": [SIGNATURE, "other"]}},
    {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": SIGNATURE}]},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": SIGNATURE, "format": "google-gemini-v1"}]},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": SIGNATURE, "id": "a"}]},
    {"reasoning": [{"type": "reasoning", "encrypted_content": SIGNATURE}]},
    {"reasoning_items": [{"type": "reasoning", "encrypted_content": SIGNATURE, "call_id": "a"}]},
    {"reasoning_content": [{"type": "thinking", "thinking": "", "signature": SIGNATURE}]},
]


@pytest.mark.parametrize("fields", ON_CALL)
@pytest.mark.parametrize("inside", [False, True], ids=["on the call", "on the function"])
def test_a_call_may_bring_its_signature_in_any_spelling(fields: dict[str, Any], inside: bool) -> None:
    made = call("a", "f")
    (made["function"] if inside else made).update(fields)
    assert signed(contents(assistant(None, made), result("a", "1"))) == [("f", SIGNATURE)]


@pytest.mark.parametrize("fields", ON_MESSAGE)
def test_a_message_may_bring_the_signature_of_its_first_call(fields: dict[str, Any]) -> None:
    found = contents(assistant(None, call("a", "f"), call("b", "g"), **fields), result("a", "1"), result("b", "2"))
    assert signed(found) == [("f", SIGNATURE), ("g", None)]


@pytest.mark.parametrize("fields", [fields for fields in ON_MESSAGE if "thinking" not in str(fields)])
def test_a_message_may_bring_the_signature_of_its_text(fields: dict[str, Any]) -> None:
    assert signed(contents(assistant("said", **fields), user("y"))) == [("said", SIGNATURE)]


def test_a_part_may_bring_its_own() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two", "thought_signature": SIGNATURE}]
    assert signed(contents(assistant(parts), user("y"))) == [("one", None), ("two", SIGNATURE)]


def test_an_id_may_have_a_signature_behind_it() -> None:
    found = contents(
        assistant(None, call(f"call_1__thought__{LONG}", "f")), result(f"call_1__thought__{LONG}"[:40], "1")
    )
    assert signed(found) == [("f", LONG)]
    assert answers(found) == [("f", {"output": "1"})]
    cut = contents(assistant(None, call(f"call_1__thought__{LONG}"[:40], "f")), result("call_1", "1"))
    assert signed(cut) == [("f", ESCAPE)]


WRONG = [7, [], {}, [[]], {"google": 7}, {"google": {"thoughtSignature": 7}}, [{"type": "thinking"}], "", [7]]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "name",
    [
        "provider_specific_fields", "providerOptions", "thought_signature", "thinking_blocks", "reasoning_details",
        "reasoning", "reasoning_items", "reasoning_content", "thought_signatures",
    ],
)  # fmt: skip
def test_a_wrong_type_in_a_field_that_is_not_ours_is_passed_over(name: str, value: Any) -> None:
    made = assistant(None, call("a", "f", **{name: value}), **{name: value})
    assert signed(contents(made, result("a", "1"))) == [("f", ESCAPE)]


def test_a_wrong_type_in_our_own_field_is_refused() -> None:
    made = call("a", "f", extra_content={"google": {"thought_signature": 7}})
    with pytest.raises(Fault) as caught:
        parse(ask(user("x"), assistant(None, made), model=STRICT))
    assert caught.value.param == "messages[1].tool_calls[0].extra_content.google.thought_signature"


def test_what_is_remembered_wins_over_what_came_back_damaged() -> None:
    box = make_box()
    box.signatures.put(call_key("a"), Signed(SIGNATURE, "gemini-3", "gemini"))
    damaged = {"extra_content": {"google": {"thought_signature": SIGNATURE[:-4]}}}
    assert signed(contents(assistant(None, call("a", "f", **damaged)), result("a", "1"), box=box)) == [("f", SIGNATURE)]


def test_a_signature_of_another_model_stays_away_in_any_spelling() -> None:
    box = make_box()
    box.signatures.put(thought_key(thread_named("x"), "hm"), Signed(SIGNATURE, "claude", "antigravity"))
    blocks = [{"type": "thinking", "thinking": "hm", "signature": SIGNATURE}]
    found = contents(assistant(None, call("a", "f"), thinking_blocks=blocks), result("a", "1"), box=box)
    assert signed(found) == [("f", ESCAPE)]


# -- thoughts ----------------------------------------------------------------------------------------------------------


def thinking_box() -> Any:
    """Claude thought aloud before a call and before a text; both are remembered."""
    box = make_box()
    first = Keeper(box.signatures, "claude", "antigravity", [{"role": "user", "parts": [{"text": "x"}]}])
    first.thought("I need f.", SIGNATURE)
    first.call("call_1", "f", {"n": 1}, {"name": "f", "args": {"n": 1}, "id": "toolu_1"}, None, several=False)
    second = Keeper(box.signatures, "claude", "antigravity", [{"role": "user", "parts": [{"text": "x"}]}])
    second.thought("That is all.", LONG)
    second.close(["It is 18."])
    return box


AT = origin("antigravity")
FIRST = {"text": "I need f.", "thought": True, "thoughtSignature": SIGNATURE}
SECOND = {"text": "That is all.", "thought": True, "thoughtSignature": LONG}


def thoughts(found: list[Any]) -> list[Any]:
    return [part for content in found for part in content["parts"] if part.get("thought")]


@pytest.mark.parametrize("identity", ["call_1", "", "rewritten"])
def test_claudes_thoughts_return_though_the_client_kept_nothing_of_them(identity: str) -> None:
    history = [assistant(None, call(identity, "f", '{"n": 1}')), {"role": "tool", "name": "f", "content": "18"}]
    found = contents(*history, assistant("It is 18.\n"), user("y"), box=thinking_box(), model=CLAUDE, at=AT)
    assert [content["parts"][0] for content in found if content["role"] == "model"] == [FIRST, SECOND]
    assert found[1]["parts"][1]["functionCall"]["id"] == "toolu_1"
    assert found[2]["parts"][0]["functionResponse"]["id"] == "toolu_1"


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "I need f."},
        {"reasoning": "I need f.\n"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "I need f.", "signature": "anything="}]},
        {"content": [{"type": "thinking", "thinking": "I need f.", "signature": SIGNATURE}]},
    ],
)
def test_claudes_thoughts_return_with_the_words_that_the_client_kept(fields: dict[str, Any]) -> None:
    box = make_box()
    box.signatures.put(thought_key(thread_named("x"), "I need f."), Signed(SIGNATURE, "claude", "antigravity"))
    message = {**assistant(None, call("other", "g")), **fields}
    found = contents(message, result("other", "1"), box=box, model=CLAUDE, at=AT)
    assert thoughts(found) == [FIRST]


def test_claudes_own_blocks_are_taken_from_a_client_that_alone_has_them() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": SIGNATURE, "format": "anthropic-claude-v1"}]
    for fields in (
        {"reasoning_details": details},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": SIGNATURE}]},
    ):
        found = contents(assistant(None, call("a", "f"), **fields), result("a", "1"), model=CLAUDE, at=AT)
        assert thoughts(found) == [{"text": "hm", "thought": True, "thoughtSignature": SIGNATURE}]
        moved = origin("antigravity")._replace(moved=True)
        assert not thoughts(
            contents(assistant(None, call("a", "f"), **fields), result("a", "1"), model=CLAUDE, at=moved)
        )


def test_results_that_one_text_tells_are_not_called_missing() -> None:
    calls = assistant(None, call("call_aaaaaaaa", "f"), call("call_bbbbbbbb", "g"), call("call_cccccccc", "h"))
    told = "call_aaaaaaaa: 18\ncall_bbbbbbbb: noon"
    found = contents(calls, user(told))
    (_, first), (_, second), (_, third) = answers(found)
    assert first == second == {"output": "the user tells it in the next message"}
    assert "error" in third
    assert found[-1]["parts"] == [{"text": told}]


@pytest.mark.parametrize("spelling", ON_MESSAGE[:2])
def test_claude_signs_no_text(spelling: dict[str, Any]) -> None:
    """A value beside its text is another model's: it would refuse the whole history."""
    found = contents({**assistant("It is 18."), **spelling}, user("y"), model=CLAUDE, at=AT)
    assert signed(found) == [("It is 18.", None)]
    part = {"type": "text", "text": "It is 18.", "thought_signature": SIGNATURE}
    assert signed(contents({"role": "assistant", "content": [part]}, user("y"), model=CLAUDE, at=AT)) == [
        ("It is 18.", None)
    ]


def test_claudes_thoughts_are_nobody_elses() -> None:
    history = [assistant(None, call("call_1", "f", '{"n": 1}'), reasoning_content="I need f."), result("call_1", "18")]
    found = contents(*history, assistant("It is 18."), user("y"), box=thinking_box(), at=AT)
    assert not thoughts(found)
    assert SIGNATURE not in str(found) and LONG not in str(found)
    assert "toolu_1" not in str(found)


def test_words_without_a_signature_are_no_thought_to_send() -> None:
    found = contents(assistant("a", reasoning_content="hm"), user("y"), model=CLAUDE, at=AT)
    assert not thoughts(found)
    assert "hm" not in str(found)


# -- results without their calls ---------------------------------------------------------------------------------------

TWO = assistant(None, call("call_aaaaaaaa_1", "f"), call("call_bbbbbbbb_2", "g"))


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        # cut ids, in any order
        ([result("call_bbbbbbbb", "2"), result("call_aaaaaaaa", "1")], ["1", "2"]),
        # longer on the side of the results
        ([result("call_aaaaaaaa_1|fc_1", "1"), result("call_bbbbbbbb_2|fc_2", "2")], ["1", "2"]),
        # another id, but the name of the tool
        ([result("other", "2", name="g"), result("another", "1", name="f")], ["1", "2"]),
        # one is left for one
        ([result("call_aaaaaaaa_1", "1"), result("strange", "2")], ["1", "2"]),
        # two for two: nobody guesses
        ([result("strange", "1"), result("stranger", "2")], [None, None]),
        # too short, and the beginning of both
        ([result("call_", "1"), result("call_bbbbbbbb_2", "2")], ["1", "2"]),
        # told twice
        ([result("call_aaaaaaaa_1", "1"), result("call_aaaaaaaa_1", "again")], ["1", None]),
    ],
)
def test_results_find_their_calls_where_that_is_no_guess(results: list[Any], expected: list[Any]) -> None:
    found = contents(TWO, *results)
    told = [response.get("output") for _, response in answers(found)]
    assert told == expected
    left = [each for each in results if each["content"] not in expected]
    for each in left:
        assert f"[result of {each['tool_call_id']}] {each['content']}" in str(found)


def test_a_result_told_in_words_answers_the_call_it_names() -> None:
    found = contents(
        TWO, result("call_aaaaaaaa_1", "1"), user("Result of call_bbbbbbbb_2: it is 18."), user("And now?")
    )
    assert answers(found) == [("f", {"output": "1"}), ("g", {"output": "Result of call_bbbbbbbb_2: it is 18."})]
    assert found[-1]["parts"] == [{"text": "And now?"}]


def test_a_user_who_speaks_of_something_else_answers_no_call() -> None:
    found = contents(TWO, result("call_aaaaaaaa_1", "1"), user("call_aaaaaaaa_1 is done, go on"))
    assert answers(found)[1] == ("g", {"error": "no result was returned for this call"})
    assert found[-1]["parts"] == [{"text": "call_aaaaaaaa_1 is done, go on"}]


def test_text_behind_a_result_that_found_its_call_stays() -> None:
    found = contents(TWO, result("strange", "1", name="g"), user("go on"), result("call_aaaaaaaa_1", "2"))
    assert answers(found) == [("f", {"output": "2"}), ("g", {"output": "1"})]
    assert found[-1]["parts"] == [{"text": "go on"}]


# -- answers cut and joined --------------------------------------------------------------------------------------------


def stepped(*steps: list[str], family: str = "gemini-3") -> Any:
    """A box that knows the calls of several answers, each by its name."""
    box = make_box()
    for names in steps:
        keeper = Keeper(box.signatures, family, "gemini", [{"role": "user", "parts": [{"text": "x"}]}])
        for place, name in enumerate(names):
            made = {"name": name, "args": {}, "id": f"up-{name}"}
            keeper.call(f"call_{name}", name, {}, made, SIGNATURE if place == 0 else None, several=len(names) > 1)
    return box


def turns(found: list[Any]) -> list[list[str]]:
    return [
        names
        for content in found
        if (names := [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part])
    ]


def one(*names: str) -> dict[str, Any]:
    return assistant(None, *[call(f"call_{name}", name) for name in names])


def told(*names: str) -> list[dict[str, Any]]:
    return [result(f"call_{name}", f"of {name}") for name in names]


@pytest.mark.parametrize(
    "history",
    [
        [one("a", "b"), *told("a", "b"), one("c"), *told("c")],
        [one("a"), *told("a"), one("b"), *told("b"), one("c"), *told("c")],
        [one("a"), one("b"), *told("b", "a"), one("c"), *told("c")],
        [one("a", "b", "c"), *told("c", "b", "a")],
        [one("b", "a"), *told("a", "b"), one("c"), *told("c")],
        [one("b"), *told("b"), one("a", "c"), *told("c", "a")],
    ],
)
def test_calls_stand_in_the_answers_they_came_in(history: list[Any]) -> None:
    found = contents(*history, box=stepped(["a", "b"], ["c"]))
    assert turns(found) == [["a", "b"], ["c"]]
    assert signed(found) == [("a", SIGNATURE), ("b", None), ("c", SIGNATURE)]
    assert answers(found) == [(name, {"output": f"of {name}"}) for name in "abc"]


def test_the_steps_of_another_model_are_steps_all_the_same() -> None:
    found = contents(one("a"), *told("a"), one("b"), *told("b"), box=stepped(["a", "b"], family="gemini-4"))
    assert turns(found) == [["a", "b"]]
    assert signed(found) == [("a", ESCAPE), ("b", None)]


def test_what_nobody_remembers_stays_as_it_is() -> None:
    assert turns(contents(one("a"), *told("a"), one("b"), *told("b"))) == [["a"], ["b"]]
    assert turns(contents(one("a"), one("b"), *told("a", "b"))) == [["a", "b"]]
    assert turns(contents(one("a"), assistant("so", call("call_b", "b")), *told("a", "b"))) == [["a"], ["b"]]


def test_a_user_between_two_messages_keeps_them_apart() -> None:
    found = contents(one("a"), *told("a"), user("and?"), one("b"), *told("b"), box=stepped(["a", "b"]))
    assert turns(found) == [["a"], ["b"]]


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_a_picture_inside_the_text_has_its_signature_again() -> None:
    import hashlib

    box = make_box(images="inline")
    digest = hashlib.sha256(base64.b64decode(PNG)).hexdigest()
    box.signatures.put(image_key(digest), Signed(SIGNATURE, "gemini-3", "gemini"))
    markdown = f"Here:\n\n![image](data:image/png;base64,{PNG})\n\n"
    body = ask(user("x"), assistant(markdown), user("bluer"), model="gemini-3-pro-image")
    parts = parse(body, box).request["contents"][1]["parts"]
    assert parts[1] == {"inlineData": {"mimeType": "image/png", "data": PNG}, "thoughtSignature": SIGNATURE}
    elsewhere = parse(body, box, origin("antigravity")).request["contents"][1]["parts"]
    assert "thoughtSignature" not in elsewhere[1]


def test_a_picture_on_the_shelf_keeps_to_its_family_and_upstream() -> None:
    from antigravity2api.dialects.base import StoredImage

    box = make_box()
    path = "/images/AbCdEfGhIjKlMnOpQrStUvWx.png"
    kept = tagged(Signed(SIGNATURE, "gemini-3", "gemini"))
    box.images.held[path] = StoredImage("image/png", PNG, kept)
    body = ask(
        user("x"), assistant(f"![image](http://localhost:8045{path})"), user("bluer"), model="gemini-3-pro-image"
    )
    assert parse(body, box).request["contents"][1]["parts"][0]["thoughtSignature"] == SIGNATURE
    assert "thoughtSignature" not in parse(body, box, origin("antigravity")).request["contents"][1]["parts"][0]


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_arguments_go_back_as_the_model_wrote_them() -> None:
    box = make_box()
    keeper = Keeper(box.signatures, "gemini-3", "gemini", [{"role": "user", "parts": [{"text": "x"}]}])
    keeper.call("call_1", "f", {"level": 2}, {"name": "f", "args": {"level": "2"}}, SIGNATURE, several=False)
    for identity in ("call_1", "rewritten"):
        found = contents(assistant(None, call(identity, "f", '{ "level" : 2.0 }')), result(identity, "1"), box=box)
        assert found[1]["parts"][0]["functionCall"]["args"] == {"level": "2"}
    edited = contents(assistant(None, call("call_1", "f", '{"level": 3}')), result("call_1", "1"), box=box)
    assert edited[1]["parts"][0]["functionCall"]["args"] == {"level": 3}
    assert signed(edited) == [("f", ESCAPE)]


def test_hidden_words_are_read_with_care() -> None:
    box = make_box()
    for hidden in ("not json", "[]", '{"thoughts": 7, "args": 7}', '{"thoughts": [7, ["a"]]}', concealed([])):
        box.signatures.put(call_key("a"), Signed(SIGNATURE, "gemini-3", "gemini", hidden=hidden))
        assert signed(contents(assistant(None, call("a", "f")), result("a", "1"), box=box)) == [("f", SIGNATURE)]


# -- thoughts that the client does not see -----------------------------------------------------------------------------


def test_hidden_thoughts_are_kept_for_the_next_request() -> None:
    from antigravity2api.dialects.chat.render import render_chat
    from fakes.chat_answer import event, folded, thought, tool

    box = make_box()
    google = {"thinking_config": {"thinking_budget": 2048, "include_thoughts": False}}
    body = ask(user("x"), model=CLAUDE, google=google, tools=[{"type": "function", "function": {"name": "f"}}])
    made = parse(body, box, AT)
    response = folded([event(thought("I need f.", thoughtSignature=SIGNATURE), tool("f", {}), finish="STOP")])
    message = json.loads(render_chat(made, response, AT, box, "antigravity"))["choices"][0]["message"]
    assert "reasoning_content" not in message
    found = contents(message, result(message["tool_calls"][0]["id"], "1"), box=box, model=CLAUDE, at=AT)
    assert thoughts(found) == [FIRST]
