"""What the gateway makes of bad answers and refused tools: another attempt, a change that is told, or a typed error."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from antigravity2api.errors import Kind
from fakes.bench import Bench, said
from fakes.chat_answer import event, frames, text, tool
from fakes.transport import FakeResponder, Play, events, refusal
from fakes.upstream import usage_of

GOOD = events(event(text("Hello"), finish="STOP", usage=usage_of(9, 2)))
APPLIED = "x-antigravity2api-applied"
SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "limit": {"type": "integer"},
        "ids": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["path"],
}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.001)


def function(name: str, parameters: Any = SCHEMA) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def called(*calls: Any, finish: str = "STOP", before: str | None = None) -> Play:
    parts = [tool(name, args) for name, args in calls]
    return events(event(*([text(before)] if before else []), *parts, finish=finish, usage=usage_of(9, 2)))


def calls_of(answer: FakeResponder) -> list[tuple[str, Any]]:
    """The calls that a client gets, streamed or not."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        deltas = [c["choices"][0]["delta"] for c in frames(answer.data) if isinstance(c, dict) and c.get("choices")]
        made = [entry for delta in deltas for entry in delta.get("tool_calls", ())]
    else:
        made = answer.json["choices"][0]["message"]["tool_calls"]
    return [(entry["function"]["name"], json.loads(entry["function"]["arguments"])) for entry in made]


# -- calls


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_are_put_right_and_it_is_told(stream: bool) -> None:
    bench = Bench()
    bench.play(called(("f", {"path": 5, "limit": "3", "ids": "[1]"})))
    answer = await bench.ask(tools=[function("f")], stream=stream)
    assert calls_of(answer) == [("f", {"path": "5", "limit": 3, "ids": [1]})]
    assert answer.headers[APPLIED] == "coerced:f"
    assert bench.trace.applied == ("coerced:f",)


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_that_stay_wrong_go_on_unchanged_and_it_is_told(stream: bool) -> None:
    bench = Bench()
    bench.play(called(("f", {"path": "a", "limit": "many"})))
    answer = await bench.ask(tools=[function("f")], stream=stream)
    assert calls_of(answer) == [("f", {"path": "a", "limit": "many"})]
    assert answer.headers[APPLIED] == "invalid_arguments:f"
    assert len(bench.sent) == 1


async def test_behind_the_head_it_is_told_in_the_log_alone() -> None:
    bench = Bench()
    bench.play(events(event(text("Let me see.")), event(tool("f", {"path": 5}), finish="STOP", usage=usage_of(9, 2))))
    answer = await bench.ask(tools=[function("f")], stream=True)
    assert APPLIED not in answer.headers
    assert bench.trace.applied == ("coerced:f",)


async def test_right_arguments_are_not_spoken_of() -> None:
    bench = Bench()
    bench.play(called(("f", {"path": "a", "limit": 3.0})))
    answer = await bench.ask(tools=[function("f")])
    assert calls_of(answer) == [("f", {"path": "a", "limit": 3})]
    assert APPLIED not in answer.headers


BAD_CALLS = {
    "without arguments": called(("f", {})),
    "without any": called(("f", None)),
    "behind some text": called(("f", {}), before="Let me see."),
    "malformed": events(event(finish="MALFORMED_FUNCTION_CALL")),
    "unexpected": events(event(finish="UNEXPECTED_TOOL_CALL")),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bad", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_bad_call_is_tried_again_once_and_unseen(bad: Play, stream: bool) -> None:
    bench = Bench()
    bench.play(bad, called(("f", {"path": "a"})))
    answer = await bench.ask(tools=[function("f")], stream=stream)
    assert calls_of(answer) == [("f", {"path": "a"})]
    assert bench.sent[0] == bench.sent[1], "the same request once more"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bad", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_bad_call_is_an_error_the_second_time(bad: Play, stream: bool) -> None:
    bench = Bench()
    bench.play(bad, bad)
    fault = await bench.fault(tools=[function("f")], stream=stream)
    assert (fault.kind, fault.code) == (Kind.MALFORMED_CALL, "upstream_malformed_call")
    assert len(bench.sent) == 2


async def test_behind_the_first_byte_a_bad_call_is_the_error_event() -> None:
    bench = Bench()
    bench.play(events(event(text("Let me see.")), event(tool("f", {}), finish="STOP")))
    answer = await bench.ask(tools=[function("f")], stream=True)
    *_, last = frames(answer.data)
    assert last["error"]["code"] == "upstream_malformed_call"
    assert b"tool_calls" not in answer.data
    assert b"[DONE]" not in answer.data
    assert len(bench.sent) == 1


@pytest.mark.parametrize("name", ["default_api.f", "default_api:f", "default_api.default_api:f"])
async def test_a_prefix_that_nobody_declared_is_taken_off(name: str) -> None:
    bench = Bench()
    bench.play(called((name, {"path": "a"})))
    assert calls_of(await bench.ask(tools=[function("f")])) == [("f", {"path": "a"})]


async def test_a_prefix_of_a_tool_that_nobody_declared_stays() -> None:
    bench = Bench()
    bench.play(called(("default_api.g", {"path": "a"})))
    assert calls_of(await bench.ask(tools=[function("f")])) == [("default_api.g", {"path": "a"})]


async def test_without_declared_tools_a_call_is_the_clients_to_judge() -> None:
    bench = Bench()
    bench.play(called(("f", {})))
    assert calls_of(await bench.ask()) == [("f", {})]


async def test_a_tool_without_required_arguments_is_called_without_any() -> None:
    bench = Bench()
    bench.play(called(("f", {}), ("g", {})))
    tools = [function("f", {"type": "object", "properties": {"a": {"type": "string"}}}), function("g", None)]
    assert calls_of(await bench.ask(tools=tools)) == [("f", {}), ("g", {})]


async def test_each_of_several_answers_is_checked() -> None:
    bench = Bench()
    bench.play(called(("f", {"path": "a"})), called(("f", {})), called(("f", {"path": "b"})))
    answer = await bench.ask(model="gemini-3-flash-preview", tools=[function("f")], n=2)
    made = [choice["message"]["tool_calls"][0]["function"]["arguments"] for choice in answer.json["choices"]]
    assert sorted(made) == ['{"path":"a"}', '{"path":"b"}']


async def test_a_name_that_the_model_made_up_is_the_clients_to_judge() -> None:
    bench = Bench()
    bench.play(called(("made_up", {"path": "/"})))
    assert calls_of(await bench.ask(tools=[function("f")])) == [("made_up", {"path": "/"})]


# -- structured output

FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def answered(words: str, finish: str = "STOP") -> Play:
    return events(event(text(words), finish=finish, usage=usage_of(9, 2)))


async def test_a_wrong_answer_is_asked_for_again_with_what_is_wrong() -> None:
    bench = Bench()
    bench.play(answered('{"path": 5}'), answered('{"path": "a"}'))
    answer = await bench.ask(response_format=FORMAT)
    assert said(answer) == '{"path": "a"}'
    assert answer.headers[APPLIED] == "response_format:asked again"
    *before, theirs, ours = bench.sent[1]["contents"]
    assert before == bench.sent[0]["contents"]
    assert theirs == {"role": "model", "parts": [{"text": '{"path": 5}'}]}
    assert ours["role"] == "user"
    assert '$.path: 5 is not of type "string"' in ours["parts"][0]["text"]


async def test_prose_is_asked_about_once_and_then_handed_on() -> None:
    """A model that writes JSON by itself and does not refuses, or explains: its words are worth more than an error."""
    bench = Bench()
    bench.play(answered("I would rather not."), answered("Really not."))
    answer = await bench.ask(response_format=FORMAT)
    assert said(answer) == "Really not."
    assert answer.headers[APPLIED] == "response_format:asked again, response_format:prose"
    bench.play(answered("I would rather not."), answered('{"path": "a"}'))
    assert said(await bench.ask(response_format=FORMAT)) == '{"path": "a"}'


async def test_prose_where_json_was_asked_for_in_words_is_an_error_the_second_time() -> None:
    bench = Bench()
    bench.play(answered("Sure."), answered("Sure."))
    fault = await bench.fault(model="gemini-2.5-flash", response_format=FORMAT, tools=[function("f")])
    assert fault.code == "structured_output_invalid"


WRONG = {"half": '{"path":', "type": '{"path": 5}', "missing": "{}", "nothing": " "}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
async def test_a_wrong_answer_twice_is_a_typed_error(words: str) -> None:
    bench = Bench()
    bench.play(answered(words), answered(words))
    fault = await bench.fault(response_format=FORMAT)
    assert (fault.kind, fault.code) == (Kind.BAD_ANSWER, "structured_output_invalid")
    assert len(bench.sent) == 2
    status, _, body = bench.dialect.error(fault)
    assert (status, json.loads(body)["error"]["type"]) == (500, "server_error")


async def test_one_attempt_is_one_attempt() -> None:
    bench = Bench(attempts=1)
    bench.play(answered("{}"))
    assert (await bench.fault(response_format=FORMAT)).code == "structured_output_invalid"


@pytest.mark.parametrize("words", ["[1]", "no"])
async def test_any_object_will_do_without_a_schema(words: str) -> None:
    bench = Bench()
    bench.play(answered(words), answered("{}"))
    assert said(await bench.ask(response_format={"type": "json_object"})) == "{}"


async def test_a_fence_costs_no_attempt() -> None:
    bench = Bench()
    bench.play(answered('```json\n{"path": "a"}\n```'))
    assert said(await bench.ask(response_format=FORMAT)) == '{"path": "a"}'


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY"])
async def test_an_answer_that_was_cut_is_not_judged(finish: str) -> None:
    bench = Bench()
    bench.play(answered('{"pa', finish))
    answer = await bench.ask(response_format=FORMAT)
    assert said(answer) == '{"pa'
    assert answer.json["choices"][0]["finish_reason"] in ("length", "content_filter")


async def test_a_call_is_no_answer_yet() -> None:
    bench = Bench()
    bench.play(called(("f", {"path": "a"}), before="Looking."))
    answer = await bench.ask(model="gemini-3-flash-preview", response_format=FORMAT, tools=[function("f")])
    assert calls_of(answer) == [("f", {"path": "a"})]


async def test_an_instruction_in_place_of_the_format_is_held_to_as_well() -> None:
    bench = Bench()
    bench.play(answered("Sure."), answered('```\n{"path": "a"}\n```'))
    answer = await bench.ask(model="gemini-2.5-flash", response_format=FORMAT, tools=[function("f")])
    assert said(answer) == '{"path": "a"}'
    assert "responseMimeType" not in bench.sent[0]["generationConfig"]


async def test_a_stream_that_ends_wrong_ends_with_the_error_event() -> None:
    bench = Bench()
    bench.play(events(event(text('{"path":')), event(text("5}"), finish="STOP")))
    answer = await bench.ask(response_format=FORMAT, stream=True)
    *_, last = frames(answer.data)
    assert last["error"]["code"] == "structured_output_invalid"
    assert b'"finish_reason":"stop"' not in answer.data
    assert len(bench.sent) == 1


async def test_of_a_stream_that_said_nothing_yet_another_is_asked() -> None:
    bench = Bench()
    bench.play(events(event(text("```json\n{")), event(text("}\n```"), finish="STOP")), answered('{"path": "a"}'))
    answer = await bench.ask(response_format=FORMAT, stream=True)
    assert b'{\\"path\\": \\"a\\"}' in answer.data
    assert len(bench.sent) == 2


async def test_members_told_as_texts_come_back_as_they_were() -> None:
    bench = Bench(second=True)
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    for stream in (False, True):
        bench.play(refusal(404, "models/x is not found."))
        pieces = event(text('{"n":')), event(text(' "2"}'), finish="STOP")
        bench.play(events(*({"response": piece} for piece in pieces)), host="antigravity")
        answer = await bench.ask(model="gemini-3-flash-preview", response_format=asked, stream=stream)
        assert b'{\\"n\\":2}' in answer.data


# -- refused tools

FORMS = {
    "google": "* GenerateContentRequest.tools[0].function_declarations[{0}].parameters.properties[a].items: missing.\n",
    "proto": "Unknown name \"oneOf\" at 'tools[0].function_declarations[{0}].parameters': Cannot find field.",
    "code assist": "Invalid value at 'request.tools[0].function_declarations[{0}].parameters' (Schema), 5",
    "camel": "tools[0].functionDeclarations[{0}].parametersJsonSchema: unsupported schema",
    "anthropic": "tools.{0}.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12.",
    "name": "Invalid schema for function 'bad': it is not supported.",
    "prefixed": "The parameters schema for function default_api:bad is too complex.",
}
TOOLS = [function("good"), function("fine"), function("bad"), function("last")]


def names(sent: Any) -> list[str]:
    return [each["name"] for entry in sent.get("tools", ()) for each in entry["functionDeclarations"]]


def declared(sent: Any, name: str) -> dict[str, Any]:
    return next(each for each in sent["tools"][0]["functionDeclarations"] if each["name"] == name)


@pytest.mark.parametrize("words", FORMS.values(), ids=FORMS)
async def test_one_refused_tool_is_loosened_alone(words: str) -> None:
    bench = Bench()
    bench.play(refusal(400, words.format(2)), GOOD, GOOD)
    answer = await bench.ask(tools=TOOLS)
    assert said(answer) == "Hello"
    assert answer.headers[APPLIED] == "tool.bad:loosened"
    assert names(bench.sent[1]) == ["good", "fine", "bad", "last"]
    assert [name for name in names(bench.sent[1]) if "parameters" in declared(bench.sent[1], name)] == ["bad"]
    again = await bench.ask(tools=TOOLS)
    assert bench.sent[2]["tools"] == bench.sent[1]["tools"], "it does not fail first another time"
    assert again.headers[APPLIED] == "tool.bad:loosened"


async def test_what_stays_refused_is_left_out_and_two_repairs_are_enough() -> None:
    bench = Bench()
    bench.play(refusal(400, FORMS["google"].format(2)), refusal(400, FORMS["google"].format(2)), GOOD, GOOD)
    answer = await bench.ask(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "bad"}})
    assert said(answer) == "Hello"
    assert names(bench.sent[2]) == ["good", "fine", "last"]
    assert answer.headers[APPLIED] == "tool.bad:loosened, tool.bad:dropped"
    assert "toolConfig" not in bench.sent[2], "it cannot be asked for any more"
    await bench.ask(tools=TOOLS)
    assert names(bench.sent[3]) == ["good", "fine", "last"]


async def test_with_more_attempts_it_is_reduced_before_it_goes() -> None:
    bench = Bench(attempts=5)
    bench.play(*[refusal(400, FORMS["google"].format(2))] * 3, GOOD)
    answer = await bench.ask(tools=TOOLS)
    assert answer.headers[APPLIED] == "tool.bad:loosened, tool.bad:reduced, tool.bad:dropped"
    reduced = declared(bench.sent[2], "bad")
    assert json.dumps(SCHEMA, separators=(",", ":")) in reduced["description"]
    assert {node["type"] for node in reduced["parameters"]["properties"].values()} == {"STRING", "INTEGER"}


async def test_several_refused_tools_are_loosened_at_once() -> None:
    bench = Bench()
    bench.play(refusal(400, FORMS["google"].format(0) + FORMS["google"].format(2)), GOOD)
    answer = await bench.ask(tools=TOOLS)
    assert answer.headers[APPLIED] == "tool.good:loosened, tool.bad:loosened"


async def test_the_next_refused_tool_gets_no_risk() -> None:
    bench = Bench()
    bench.play(refusal(400, FORMS["google"].format(2)), refusal(400, FORMS["google"].format(0)), GOOD, GOOD)
    answer = await bench.ask(tools=TOOLS)
    assert answer.headers[APPLIED] == "tool.bad:loosened, tool.good:reduced"
    await bench.ask(tools=TOOLS)
    assert bench.sent[3]["tools"] == bench.sent[2]["tools"], "both lessons are kept"


async def test_a_repair_that_did_not_help_is_not_remembered() -> None:
    bench = Bench()
    bench.play(*[refusal(400, FORMS["google"].format(2))] * 3)
    assert (await bench.fault(tools=TOOLS)).kind is Kind.INVALID_REQUEST
    bench.play(GOOD)
    await bench.ask(tools=TOOLS)
    assert bench.sent[3]["tools"] == bench.sent[0]["tools"]


async def test_another_tool_of_that_name_is_not_the_one_that_was_refused() -> None:
    bench = Bench()
    bench.play(refusal(400, FORMS["google"].format(2)), GOOD, GOOD)
    await bench.ask(tools=TOOLS)
    other = function("bad", {"type": "object", "properties": {"a": {"type": "string"}}})
    answer = await bench.ask(tools=[*TOOLS[:2], other])
    assert APPLIED not in answer.headers


async def test_a_form_that_nobody_knows_is_no_tools_fault() -> None:
    bench = Bench()
    bench.play(refusal(400, "Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[2]'"), GOOD)
    assert (await bench.ask(tools=TOOLS)).headers[APPLIED] == "schema:openapi"


async def test_the_call_of_a_reduced_tool_comes_back_typed() -> None:
    bench = Bench(attempts=2)
    bench.play(refusal(400, FORMS["google"].format(2)), called(("bad", {"path": "a", "limit": 3, "ids": "[1, 2]"})))
    answer = await bench.ask(tools=TOOLS)
    assert calls_of(answer) == [("bad", {"path": "a", "limit": 3, "ids": [1, 2]})]
    assert answer.headers[APPLIED] == "tool.bad:reduced, coerced:bad"


async def test_claude_gets_the_form_that_helps_at_once() -> None:
    bench = Bench(second=True)
    inner = {"type": "invalid_request_error", "message": FORMS["anthropic"].format(2)}
    refused = refusal(400, json.dumps({"type": "error", "error": inner}))
    bench.play(refused, events({"response": event(text("Hello"), finish="STOP")}), host="antigravity")
    answer = await bench.ask(model="claude-sonnet-4-5", tools=TOOLS)
    assert answer.headers[APPLIED].startswith("tool.bad:reduced")
    assert names(bench.sent[1]) == ["good", "fine", "bad", "last"]


async def test_a_refused_response_schema_is_described_at_last() -> None:
    bench = Bench(attempts=5)
    bench.play(*[refusal(400, "Invalid value at 'generation_config.response_schema'")] * 3, answered('{"path": "a"}'))
    answer = await bench.ask(response_format=FORMAT)
    assert said(answer) == '{"path": "a"}'
    assert answer.headers[APPLIED].endswith("response_format:described")
    assert bench.sent[-1]["generationConfig"]["responseMimeType"] == "application/json"
    assert '"required":["path"]' in bench.sent[-1]["systemInstruction"]["parts"][-1]["text"]


# -- whom a refusal blames


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking"),
        ({"google": {"thinking_config": {"thinking_level": "low"}}}, "google"),
    ],
)
async def test_a_refusal_names_a_field_that_the_client_sent(body: dict[str, Any], param: str | None) -> None:
    bench = Bench(attempts=1)
    bench.play(refusal(400, "Thinking level MINIMAL is not supported for this model."))
    assert (await bench.fault(**body)).param == param


@pytest.mark.parametrize(
    ("words", "body", "param"),
    [
        ("maxOutputTokens is too large", {}, None),
        ("maxOutputTokens is too large", {"max_tokens": 5}, "max_tokens"),
        ("maxOutputTokens is too large", {"max_completion_tokens": 5}, "max_completion_tokens"),
        ("Invalid value at 'contents[0]'", {}, "messages"),
    ],
)
async def test_a_refusal_never_blames_what_was_ours(words: str, body: dict[str, Any], param: str | None) -> None:
    bench = Bench(attempts=1)
    bench.play(refusal(400, words))
    assert (await bench.fault(**body)).param == param
