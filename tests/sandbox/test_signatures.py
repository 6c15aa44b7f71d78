"""Thought signatures: where they come, and that only the very part they came with may bring them back."""

import base64
import copy
from typing import Any

import pytest

from antigravity2api.sandbox import Sandbox
from sandbox.rawclient import generate, parts_of, stream, tools, user, wrapped

NEW = "gemini-3.8-flash"
ESCAPES = [
    "skip_thought_signature_validator",
    base64.b64encode(b"skip_thought_signature_validator").decode(),
    "context_engineering_is_the_way_to_go",
]


async def called(sandbox: Sandbox, question: str = "Weather in Paris and London?", model: str = NEW) -> list[Any]:
    reply = await generate(sandbox, user(question, tools=tools()), model)
    return parts_of(reply.json)


def answered(calls: list[Any], question: str = "Weather in Paris and London?") -> dict[str, Any]:
    """The next request of the turn: the calls as they came, and a result for each."""
    results = []
    for part in calls:
        call = part["functionCall"]
        result = {"name": call["name"], "response": {"output": "18 C"}}
        results.append({"functionResponse": {"id": call["id"], **result} if "id" in call else result})
    return {
        "contents": [
            {"role": "user", "parts": [{"text": question}]},
            {"role": "model", "parts": copy.deepcopy(calls)},
            {"role": "user", "parts": results},
        ],
        "tools": tools(),
    }


async def test_the_first_call_alone_is_signed(sandbox: Sandbox) -> None:
    first, second = await called(sandbox)
    assert first["functionCall"]["args"] == {"location": "Paris"}
    assert second["functionCall"]["args"] == {"location": "London"}
    assert "thoughtSignature" in first
    assert "thoughtSignature" not in second


async def test_calls_returned_as_they_came_are_taken(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, answered(await called(sandbox)))
    assert reply.status == 200
    assert reply.text == "get_weather (Paris) says: 18 C. get_weather (London) says: 18 C."


async def test_numbers_and_key_order_may_be_spelt_anew(sandbox: Sandbox) -> None:
    function = {
        "name": "add",
        "description": "Add two numbers",
        "parametersJsonSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    }
    reply = await generate(sandbox, user("Add 3 and 4.5", tools=tools(function)))
    calls = parts_of(reply.json)
    assert calls[0]["functionCall"]["args"] == {"a": 3, "b": 4.5}
    request = {**answered(calls), "tools": tools(function)}
    request["contents"][1]["parts"][0]["functionCall"]["args"] = {"b": 4.5, "a": 3.0}
    assert (await generate(sandbox, request)).status == 200


@pytest.mark.parametrize("escape", ESCAPES)
async def test_the_documented_escape_is_taken(sandbox: Sandbox, escape: str) -> None:
    request = answered(await called(sandbox))
    request["contents"][1]["parts"][0]["thoughtSignature"] = escape
    assert (await generate(sandbox, request)).status == 200


def _missing(parts: list[Any]) -> None:
    del parts[0]["thoughtSignature"]


def _moved(parts: list[Any]) -> None:
    parts[1]["thoughtSignature"] = parts[0].pop("thoughtSignature")


def _swapped(parts: list[Any]) -> None:
    parts[0]["functionCall"]["args"] = {"location": "Rome"}


def _renamed(parts: list[Any]) -> None:
    parts[0]["functionCall"]["args"]["unit"] = "c"


def _trimmed(parts: list[Any]) -> None:
    parts[0]["thoughtSignature"] = parts[0]["thoughtSignature"][:-8]


def _foreign(parts: list[Any]) -> None:
    parts[0]["thoughtSignature"] = base64.b64encode(b"from another backend" * 4).decode()


def _empty(parts: list[Any]) -> None:
    parts[0]["thoughtSignature"] = ""


def _null(parts: list[Any]) -> None:
    parts[0]["thoughtSignature"] = None


@pytest.mark.parametrize("change", [_missing, _moved, _swapped, _renamed, _trimmed, _foreign, _empty, _null])
async def test_anything_else_is_refused(sandbox: Sandbox, change: Any) -> None:
    request = answered(await called(sandbox))
    change(request["contents"][1]["parts"])
    reply = await generate(sandbox, request)
    assert reply.status == 400
    if change is _missing:
        assert reply.error["message"].startswith("Function call is missing a thought_signature in functionCall parts.")
        assert "function call `default_api:get_weather` , position 2." in reply.error["message"]
    else:
        assert reply.error["message"] == "Corrupted thought signature."


async def test_a_result_may_not_carry_one(sandbox: Sandbox) -> None:
    request = answered(await called(sandbox))
    request["contents"][2]["parts"][0]["thoughtSignature"] = request["contents"][1]["parts"][0]["thoughtSignature"]
    assert (await generate(sandbox, request)).status == 400


async def test_every_step_of_the_turn_needs_its_own(sandbox: Sandbox) -> None:
    question = "What is the weather in Oslo, and then the time there?"
    first = await called(sandbox, question)
    assert [part["functionCall"]["name"] for part in first] == ["get_weather"]
    second_request = answered(first, question)
    second = parts_of((await generate(sandbox, second_request)).json)
    assert [part["functionCall"]["name"] for part in second] == ["get_time"]
    third = answered(second, question)
    third["contents"] = [*second_request["contents"], *third["contents"][1:]]
    assert (await generate(sandbox, third)).status == 200
    unsigned = copy.deepcopy(third)
    del unsigned["contents"][3]["parts"][0]["thoughtSignature"]
    assert "position 4" in (await generate(sandbox, unsigned)).error["message"]
    del third["contents"][1]["parts"][0]["thoughtSignature"]
    assert "position 2" in (await generate(sandbox, third)).error["message"]


async def test_earlier_turns_are_not_asked(sandbox: Sandbox) -> None:
    request = answered(await called(sandbox))
    del request["contents"][1]["parts"][0]["thoughtSignature"]
    request["contents"].append({"role": "user", "parts": [{"text": "Thanks!"}]})
    assert (await generate(sandbox, request)).status == 200


async def test_text_beside_a_result_starts_no_new_turn(sandbox: Sandbox) -> None:
    request = answered(await called(sandbox))
    del request["contents"][1]["parts"][0]["thoughtSignature"]
    request["contents"][2]["parts"].append({"text": "Thanks!"})
    assert (await generate(sandbox, request)).status == 400


async def test_another_family_and_another_backend_do_not_know_it(sandbox: Sandbox) -> None:
    request = answered(await called(sandbox))
    assert (await generate(sandbox, request, "gemini-3.1-pro-preview")).status == 200
    assert (await generate(sandbox, request, "gemini-4-argon")).error["message"] == "Corrupted thought signature."
    reply = await wrapped(sandbox, request, "gemini-3.7-flash-high")
    assert reply.error["message"] == "Corrupted thought signature."


async def test_the_older_family_asks_for_none_but_knows_a_false_one(sandbox: Sandbox) -> None:
    calls = await called(sandbox, model="gemini-2.5-flash")
    assert "thoughtSignature" in calls[0]
    assert "id" not in calls[0]["functionCall"]
    request = answered(calls)
    assert (await generate(sandbox, request, "gemini-2.5-flash")).status == 200
    request["contents"][1]["parts"][0]["thoughtSignature"] = "QUJD"
    assert (await generate(sandbox, request, "gemini-2.5-flash")).status == 400
    del request["contents"][1]["parts"][0]["thoughtSignature"]
    assert (await generate(sandbox, request, "gemini-2.5-flash")).status == 200


async def test_text_is_signed_on_its_last_part(sandbox: Sandbox) -> None:
    endings = set()
    for number in range(12):
        question = f"Tell me something about number {number}"
        unary = parts_of((await generate(sandbox, user(question))).json)
        assert [("thoughtSignature" in part) for part in unary] == [True]
        streamed = [part for event in (await stream(sandbox, user(question))).events for part in parts_of(event)]
        assert [("thoughtSignature" in part) for part in streamed] == [False] * (len(streamed) - 1) + [True]
        endings.add(streamed[-1]["text"] == "")
        history = {
            "contents": [*user(question)["contents"], {"role": "model", "parts": streamed}, *user("Go on")["contents"]]
        }
        assert (await generate(sandbox, history)).status == 200
        history["contents"][1]["parts"][-1]["text"] += "!"
        assert (await generate(sandbox, history)).status == 400
    assert endings == {True, False}


async def test_signatures_outlive_a_restart() -> None:
    async with Sandbox() as first:
        request = answered(await called(first))
    async with Sandbox() as second:
        assert (await generate(second, request)).status == 200
    async with Sandbox(secret=b"another") as third:
        assert (await generate(third, request)).status == 400


async def test_images_are_signed(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Draw a cat"), "gemini-3-pro-image")
    text, image = parts_of(reply.json)
    assert "thoughtSignature" not in text
    history = {
        "contents": [
            *user("Draw a cat")["contents"],
            {"role": "model", "parts": [text, image]},
            *user("Bluer")["contents"],
        ]
    }
    assert (await generate(sandbox, history, "gemini-3-pro-image")).status == 200


async def test_calls_may_come_in_events_of_their_own(sandbox: Sandbox) -> None:
    events = (await stream(sandbox, user("Weather in Paris and London?", tools=tools()))).events
    parts = [part for event in events for part in parts_of(event)]
    calls = [part for part in parts if "functionCall" in part]
    assert calls == await called(sandbox)
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
