"""What each refusal of an upstream leads to; every repair once, only what is ours, nothing changed in place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.repair import Learned, RepairState, apply_learned, repair
from antigravity2api.gemini.schema import Target
from antigravity2api.gemini.signature import ESCAPE

TABLE = ModelTable.load()
MISSING = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, "
    "and missing thought_signature may lead to degraded model performance. Additional data, function call "
    "`default_api:get_weather` , position 2."
)


def make(model: str = "gemini-3.8-flash", **fields: Any) -> Call:
    request: dict[str, Any] = {
        "contents": [
            {"role": "user", "parts": [{"text": "first"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "b2xk"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
            {"role": "model", "parts": [{"text": "said"}, {"text": "", "thoughtSignature": "b2xkZXI="}]},
            {"role": "user", "parts": [{"text": "second"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": "dGhvdWdodA=="},
                    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "bmV3"},
                    {"functionCall": {"name": "f", "args": {"a": 2}}},
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}] * 2},
            {"role": "model", "parts": [{"functionCall": {"name": "g", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "g", "response": {}}}]},
        ],
        "generationConfig": {"temperature": 1, "topP": 0.85, "topK": 50, "maxOutputTokens": 8096},
    }
    request.update(fields.pop("request", {}))
    return Call(
        dialect="chat",
        operation="chat",
        asked_model=model,
        model=model,
        profile=TABLE.profile(model),
        request=request,  # type: ignore[arg-type]
        stream=True,
        **fields,
    )


def refusal(message: str, **fields: Any) -> Fault:
    return Fault(Kind.INVALID_REQUEST, message, upstream_status=400, **fields)


# -- signatures


@pytest.mark.parametrize(
    "message",
    [
        MISSING,
        "Corrupted thought signature.",
        "Invalid thought signature.",
        "Unable to submit request because Thought signature is not valid..",
    ],
)
def test_signatures_are_replaced_by_the_escape_on_the_first_call_of_each_step(message: str) -> None:
    call = make()
    before = copy.deepcopy(call.request)
    state = RepairState()
    made = repair(call, refusal(message), state)
    assert made is not None
    assert made.learn is None
    contents = made.call.request["contents"]
    assert call.request == before
    assert contents[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert contents[3]["parts"] == [{"text": "said"}]
    assert contents[5]["parts"] == [
        {"text": "hm", "thought": True},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": ESCAPE},
        {"functionCall": {"name": "f", "args": {"a": 2}}},
    ]
    assert contents[7]["parts"] == [{"functionCall": {"name": "g", "args": {}}, "thoughtSignature": ESCAPE}]
    assert contents[0] is call.request["contents"][0]
    assert made.note in made.call.applied
    assert repair(made.call, refusal(message), state) is None


def test_a_finish_reason_that_asks_for_signatures_is_repaired_too() -> None:
    fault = Fault(Kind.MALFORMED_CALL, "refused", reason="MISSING_THOUGHT_SIGNATURE", retry=Retry.REPAIRED)
    assert repair(make(), fault, RepairState()) is not None


def test_older_families_only_lose_their_signatures() -> None:
    made = repair(make("gemini-2.5-flash"), refusal("Corrupted thought signature."), RepairState())
    assert made is not None
    assert "thoughtSignature" not in str(made.call.request)


def test_no_escape_is_invented_for_a_model_that_nobody_knows_unless_it_asks() -> None:
    made = repair(make("nobody-knows"), refusal("Corrupted thought signature."), RepairState())
    assert made is not None
    assert ESCAPE not in str(made.call.request)
    made = repair(make("nobody-knows"), refusal(MISSING), RepairState())
    assert made is not None
    assert ESCAPE in str(made.call.request)


@pytest.mark.parametrize(
    "message",
    [
        "messages.13.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
        "When `thinking` is enabled, a final `assistant` message must start with a thinking block.",
        "messages.3.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.0.thinking.signature: Field required",
    ],
)
def test_claude_gets_no_escape_but_stops_thinking(message: str) -> None:
    request = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}, "maxOutputTokens": 9000}}
    made = repair(make("claude-opus-4-6-thinking", request=request), refusal(message), RepairState())
    assert made is not None
    text = str(made.call.request)
    assert ESCAPE not in text
    assert "thought" not in text.replace("thoughts", "")
    assert made.call.request["generationConfig"] == {"maxOutputTokens": 9000}
    assert [content["role"] for content in made.call.request["contents"]].count("model") == 4


def test_nothing_to_strip_is_no_repair() -> None:
    request = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    assert repair(make(request=request), refusal(MISSING), RepairState()) is None


# -- our defaults


@pytest.mark.parametrize(
    ("message", "key"),
    [
        (
            "Unable to submit request because it has a topK value of 50 but the supported range is from 1 to 41",
            "topK",
        ),
        ("top_k must be at most 40", "topK"),
        ("Invalid value at 'generation_config.top_p'", "topP"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "topP"),
        ("max_output_tokens must be in the range 1 to 2048", "maxOutputTokens"),
        ("maxOutputTokens is too large", "maxOutputTokens"),
        ("temperature is not supported with this model", "temperature"),
    ],
)
def test_a_default_of_ours_that_is_refused_is_dropped_and_learned(message: str, key: str) -> None:
    call = make(defaulted=frozenset({"temperature", "topP", "topK", "maxOutputTokens"}))
    state = RepairState()
    made = repair(call, refusal(message), state)
    assert made is not None
    assert made.learn == ("drop", key)
    assert call.request["generationConfig"].keys() - made.call.request["generationConfig"].keys() == {key}
    assert key not in made.call.defaulted
    assert repair(call, refusal(message), state) is None or key == "topP"


def test_a_second_default_may_be_refused_after_the_first() -> None:
    call = make(defaulted=frozenset({"topK", "topP"}))
    state = RepairState()
    first = repair(call, refusal("topK is out of range"), state)
    assert first is not None
    second = repair(first.call, refusal("topP is out of range"), state)
    assert second is not None
    assert second.call.request["generationConfig"].keys() == {"temperature", "maxOutputTokens"}


def test_the_clients_own_values_are_never_dropped() -> None:
    call = make(defaulted=frozenset({"topP"}))
    assert repair(call, refusal("topK value of 50 is out of range"), RepairState()) is None
    assert repair(make(), refusal("temperature must be below 2"), RepairState()) is None


# -- thinking


@pytest.mark.parametrize(
    "message",
    [
        "Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.",
        "thinking_budget is out of range; supported values are integers from 512 to 24576",
        "Thinking is not supported for this model",
        "Invalid value at 'generation_config.thinking_config'",
        "Thinking_config.include_thoughts is only enabled when thinking is enabled.",
        "This model does not support thinking.",
    ],
)
def test_a_refused_thinking_config_is_dropped(message: str) -> None:
    request = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL", "includeThoughts": True}}}
    state = RepairState()
    made = repair(make(request=request), refusal(message), state)
    assert made is not None
    assert "generationConfig" not in made.call.request
    assert made.learn == ("thinking", ('{"thinkingLevel":"MINIMAL","includeThoughts":true}',))
    assert repair(make(request=request), refusal(message), state) is None
    assert repair(make(), refusal(message), RepairState()) is None


# -- schemas

TOOLS = {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}]}


@pytest.mark.parametrize(
    "message",
    [
        "Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters': Cannot find field.",
        "* tools[0].function_declarations[3].parameters.properties: should be non-empty for OBJECT type",
        "Unknown name \"parametersJsonSchema\" at 'request.tools[0].functionDeclarations[0]': Cannot find field.",
        "Invalid value at 'generation_config.response_schema'",
        "maximum schema depth exceeded",
        "The specified schema produces a constraint that has too many states for serving.",
        "function_declarations[0].parameters.properties[x].enum: only allowed for STRING type",
        "The parameters schema for function f is too complex",
    ],
)
def test_a_refused_schema_steps_down_twice(message: str) -> None:
    call, state = make(request=TOOLS), RepairState()
    first = repair(call, refusal(message), state)
    assert first is not None
    assert first.learn == ("target", Target.OPENAPI)
    assert first.call.schema_target == Target.OPENAPI.value
    assert first.call.request["tools"] == call.request["tools"]
    second = repair(first.call, refusal(message), state)
    assert second is not None
    assert second.call.schema_target == Target.ANTIGRAVITY.value
    assert repair(second.call, refusal(message), state) is None


def test_a_response_schema_counts_as_one() -> None:
    request = {"generationConfig": {"responseJsonSchema": {"type": "object"}}}
    made = repair(
        make(request=request), refusal("Unknown name \"responseJsonSchema\" at 'generation_config'"), RepairState()
    )
    assert made is not None
    assert made.call.schema_target == Target.OPENAPI.value


def test_an_upstream_that_starts_lower_steps_down_from_there() -> None:
    message = "tools[0].function_declarations[0].parameters: unsupported"
    made = repair(make(request=TOOLS), refusal(message), RepairState(target=Target.OPENAPI))
    assert made is not None
    assert made.learn == ("target", Target.ANTIGRAVITY)
    assert repair(make(request=TOOLS), refusal(message), RepairState(target=Target.ANTIGRAVITY)) is None


# -- hosted tools


@pytest.mark.parametrize(
    "message",
    [
        "Built-in tools ({google_search}) and Function Calling cannot be combined in the same request.",
        "Tool use with function calling is unsupported",
        "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling.",
    ],
)
def test_functions_win_over_hosted_tools(message: str) -> None:
    request = {
        "tools": [*TOOLS["tools"], {"googleSearch": {}}],
        "toolConfig": {"includeServerSideToolInvocations": True, "functionCallingConfig": {"mode": "ANY"}},
    }
    state = RepairState()
    made = repair(make("nobody-knows", request=request), refusal(message), state)
    assert made is not None
    assert made.call.request["tools"] == TOOLS["tools"]
    assert made.call.request["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert made.learn == ("hosted", "beside functions")
    assert repair(make(request=request), refusal(message), state) is None
    assert repair(make(request=TOOLS), refusal(message), RepairState()) is None
    bare = {**request, "toolConfig": {"includeServerSideToolInvocations": True}}
    made = repair(make(request=bare), refusal(message), RepairState())
    assert made is not None
    assert "toolConfig" not in made.call.request


# -- pairs


@pytest.mark.parametrize(
    "message",
    [
        "Please ensure that the number of function response parts is equal to the number of function call parts.",
        "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
        "Please ensure that function response turn comes immediately after a function call turn.",
        "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_x.",
        "messages.3.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_x.",
        "The number of function calls must match the number of function responses.",
    ],
)
def test_calls_and_results_that_are_refused_as_pairs_are_told_in_words(message: str) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    last = {"functionResponse": {"name": "g", "response": {"output": "fine"}, "parts": [picture]}}
    contents = [*make().request["contents"][:-1], {"role": "user", "parts": [last]}]
    call, state = make(request={"contents": contents}), RepairState()
    before = copy.deepcopy(call)
    made = repair(call, refusal(message), state)
    assert made is not None
    assert call == before
    assert made.call.applied == ("tool results:in words",)
    parts = [part for content in made.call.request["contents"] for part in content["parts"]]
    assert not [part for part in parts if "functionCall" in part or "functionResponse" in part]
    assert made.call.request["contents"][-2:] == [
        {"role": "model", "parts": [{"text": "[called g with {}]"}]},
        {"role": "user", "parts": [{"text": "[result of g] fine"}, picture]},
    ]
    assert {"text": '[called f with {"a":2}]'} in parts
    assert repair(made.call, refusal(message), state) is None
    plain = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    assert repair(make(request=plain), refusal(message), RepairState()) is None


# -- what is nobody's fault of ours


@pytest.mark.parametrize(
    "fault",
    [
        refusal("Please use a valid role: user, model."),
        refusal("The input token count (1250074) exceeds the maximum number of tokens allowed (1048576)."),
        refusal('Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
        refusal("[FieldViolation] tools[0].function_declarations[0].name: Invalid function name."),
        refusal(""),
        Fault(Kind.RATE_LIMITED, "topK quota for thinking_budget and schema"),
        Fault(Kind.UPSTREAM_ERROR, MISSING),
    ],
)
def test_other_faults_are_left_alone(fault: Fault) -> None:
    call = make(request=TOOLS, defaulted=frozenset({"topK", "topP", "temperature", "maxOutputTokens"}))
    assert repair(call, fault, RepairState()) is None


# -- what is remembered


def test_lessons_are_applied_for_their_upstream_and_model_only() -> None:
    learned = Learned()
    learned.note("gemini", "gemini-3.8-flash", ("drop", "topK"))
    learned.note("gemini", "gemini-3.8-flash", ("target", Target.OPENAPI))
    learned.note("gemini", "gemini-3.8-flash", ("target", Target.ANTIGRAVITY))
    call = make(request=TOOLS, defaulted=frozenset({"topK", "topP"}))
    taught = apply_learned(call, learned, "gemini")
    assert "topK" not in taught.request["generationConfig"]
    assert taught.schema_target == Target.ANTIGRAVITY.value
    assert "topK:default dropped" in taught.applied
    assert apply_learned(call, learned, "vertex") is call
    assert apply_learned(make("gemini-2.5-pro"), learned, "gemini").schema_target is None
    own = make(defaulted=frozenset())
    assert apply_learned(own, learned, "gemini").request["generationConfig"]["topK"] == 50


def test_the_memory_of_lessons_is_bounded() -> None:
    learned = Learned()
    for index in range(2000):
        learned.note("gemini", f"model-{index}", ("drop", "topK"))
    assert learned.lessons("gemini", "model-0") == ()
    assert learned.lessons("gemini", "model-1999") == (("drop", "topK"),)


def test_a_refused_wish_is_left_out_the_next_time_only_where_it_is_the_same() -> None:
    learned = Learned()
    for level in ("MINIMAL", "HIGH"):
        learned.note("gemini", "gemini-3.8-flash", ("thinking", (f'{{"thinkingLevel":"{level}"}}',)))
    learned.note("gemini", "gemini-3.8-flash", ("hosted", "beside functions"))
    for level, stays in (("MINIMAL", False), ("HIGH", False), ("LOW", True)):
        call = make(request={"generationConfig": {"thinkingConfig": {"thinkingLevel": level}}})
        taught = apply_learned(call, learned, "gemini")
        assert ("thinkingConfig" in taught.request.get("generationConfig", {})) is stays
        assert taught.applied == (() if stays else ("thinkingConfig:dropped",))
    both = make(request={"tools": [*TOOLS["tools"], {"googleSearch": {}}]})
    assert apply_learned(both, learned, "gemini").request["tools"] == TOOLS["tools"]
    alone = make(request={"tools": [{"googleSearch": {}}]})
    assert apply_learned(alone, learned, "gemini") == alone
    for number in range(40):
        learned.note("gemini", "gemini-3.8-flash", ("thinking", (str(number),)))
    assert (
        max(len(lesson[1]) for lesson in learned.lessons("gemini", "gemini-3.8-flash") if lesson[0] == "thinking") == 16
    )


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("parameters.properties[a].oneOf: unsupported", "loosened"),
        ("parameters.properties[depth].type: invalid", "loosened"),
        ("parameters: schema exceeds the maximum depth", "reduced"),
        ("parameters: produces a constraint that has too many states for serving", "reduced"),
    ],
)
def test_a_tool_that_is_too_much_is_reduced_at_once(reason: str, stage: str) -> None:
    tools = [{"functionDeclarations": [{"name": name, "parametersJsonSchema": {"type": "object"}} for name in "fg"]}]
    made = repair(make(request={"tools": tools}), refusal(f"tools[0].function_declarations[1].{reason}"), RepairState())
    assert made is not None
    assert made.note == f"tool.g:{stage}"
