"""What hurts agents behind other gateways, and the tests that show that it does not hurt here.

The table names tests all over the suite; the names are checked, so that none is lost when a test moves. Below it are
pains that only a whole process in front of a strict upstream can show.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agents.agent import CLAUDE, FLASH, Agent
from agents.world import Upstream
from fakes.client import Reply, chat
from fakes.gateway import GatewayProcess

TESTS = Path(__file__).resolve().parents[1]

PAINS: dict[str, tuple[str, ...]] = {
    # signatures and thinking
    "a call comes back without its thought signature, and the model refuses the whole conversation": (
        "agents/test_conversations.py::test_what_was_signed_comes_home",
        "agents/test_long_conversation.py::test_the_long_conversation_in_other_hands",
        "unit/dialects/chat/test_returns.py::test_a_call_may_bring_its_signature_in_any_spelling",
        "e2e/test_signatures_survive.py::test_a_restart_keeps_signatures",
        "e2e/test_attempts.py::test_a_lost_signature_is_repaired_once",
        "golden/chat/signature_escape_current_turn.json",
    ),
    "Claude refuses a thought without its signature, with a made-up one, or a call that no thought precedes": (
        "agents/test_conversations.py::test_many_steps_in_one_turn",
        "agents/test_pains.py::test_claude_goes_on_without_thinking_where_its_thought_is_lost",
        "unit/dialects/chat/test_returns.py::test_claudes_thoughts_return_though_the_client_kept_nothing_of_them",
        "unit/upstreams/test_antigravity.py::test_without_the_signed_thought_of_the_last_calls_claude_does_not_think",
        "unit/gemini/test_repair.py::test_claude_gets_no_escape_but_stops_thinking",
    ),
    "after a change of model or credential the signatures of the one reach the other": (
        "agents/test_conversations.py::test_models_and_upstreams_change_hands",
        "unit/test_gateway.py::test_a_signature_goes_home_and_nowhere_else",
        "unit/gemini/test_memory.py::test_only_its_family_and_upstream_gets_a_signature_back",
        "golden/chat/signature_of_another_family.json",
        "golden/chat/signature_of_another_upstream.json",
        "e2e/test_attempts.py::test_a_corrupted_signature_is_dropped_once",
    ),
    "thinking levels and budgets that a model does not have": (
        "unit/dialects/chat/test_request.py::test_every_spelling_of_a_budget",
        "unit/dialects/chat/test_request.py::test_never_level_and_budget_together",
        "unit/gemini/test_repair.py::test_a_refused_thinking_config_is_dropped",
        "e2e/test_repairs.py::test_what_was_refused_is_mended_told_and_counted",
        "golden/chat/effort_xhigh.json",
    ),
    "thinking eats max_tokens, and the answer is cut or empty": (
        "golden/chat/headroom_by_default_level.json",
        "golden/chat/headroom_dynamic_budget.json",
        "golden/chat/max_completion_tokens_holds_thinking.json",
        "golden/streams/length-all-thoughts.json",
    ),
    "thoughts leak into the answer, come twice or get lost": (
        "golden/streams/parts-in-one-event.json",
        "golden/streams/thoughts-then-text.json",
        "golden/streams/thoughts-hidden.json",
        "contract/test_sdks.py::test_thoughts_are_reasoning_and_not_content",
    ),
    # streams and their ends
    "a stream says twice, never or wrongly how it ended": (
        "properties/test_chat_stream.py::test_a_stream_adds_up_to_the_whole_answer",
        "unit/dialects/chat/test_answer.py::test_text_goes_out_at_once_and_the_finish_at_the_end",
        "golden/streams/parallel-calls-in-two-events.json",
        "golden/streams/finish-as-number.json",
    ),
    "a cut stream passes for a complete one, or a complete one for a cut": (
        "properties/test_chat_stream.py::test_a_stream_that_stops_early_never_ends_well",
        "unit/dialects/chat/test_answer.py::test_a_backend_that_ends_on_thoughts",
        "e2e/test_streams.py::test_a_break_after_the_first_byte",
        "contract/test_sdks.py::test_a_cut_stream_raises",
    ),
    "empty answers, and credentials that are blamed for honest ones": (
        "e2e/test_attempts.py::test_an_empty_stop_is_tried_once_more_and_then_honest",
        "golden/streams/empty-accepted.json",
        "golden/streams/empty-first-try.json",
    ),
    "a malformed call ends as a silent stop, or is run": (
        "e2e/test_attempts.py::test_a_malformed_call_is_tried_once_more",
        "unit/test_answers_checked.py::test_a_bad_call_is_an_error_the_second_time",
        "unit/test_answers_checked.py::test_behind_the_first_byte_a_bad_call_is_the_error_event",
        "unit/dialects/chat/test_answer.py::test_a_malformed_end_is_told_before_a_call_goes_out",
        "golden/streams/malformed-call.json",
    ),
    "text comes twice after a retry in the middle": (
        "unit/test_gateway.py::test_nothing_is_tried_again_after_the_first_byte",
        "unit/test_gateway.py::test_a_broken_stream_is_taken_up_at_its_checkpoint",
    ),
    "proxies give up while the model thinks": (
        "e2e/test_streams.py::test_heartbeats_before_the_first_chunk",
        "e2e/test_streams.py::test_after_a_heartbeat_another_attempt_is_still_allowed",
        "e2e/test_http.py::test_headers_of_a_chat_answer",
    ),
    "the client is gone, and the upstream goes on at its cost": (
        "e2e/test_streams.py::test_a_client_that_leaves_ends_the_upstream_call",
        "unit/test_gateway.py::test_a_cancelled_request_closes_the_exchange_and_says_goodbye",
    ),
    "events cut in the middle of a character or of their JSON": (
        "e2e/test_streams.py::test_any_cut_of_the_bytes_gives_the_same_text",
        "e2e/test_streams.py::test_odd_frames",
        "properties/test_chat_stream.py::test_every_cut_folds_to_the_same_response",
    ),
    "fields that are missing or null break strict clients": (
        "contract/test_seed.py::test_python_snippet",
        "contract/test_sdks.py::test_the_old_snippet_meets_no_null_and_no_error_key",
        "contract/test_sdks.py::test_stream_helper_with_tools",
        "contract/test_sdks.py::test_tool_runner_of_node",
    ),
    # tools
    "a schema with a keyword that the upstream does not know": (
        "unit/gemini/test_tool_corpus.py::test_every_surface_takes_it_with_all_its_arguments",
        "properties/test_schema.py::test_parameters_become_an_object_that_the_target_accepts",
        "agents/test_pains.py::test_schemas_as_the_world_writes_them_are_taken_by_every_upstream",
    ),
    "one broken tool kills all the others": (
        "e2e/test_repairs.py::test_exactly_the_refused_tool_is_loosened",
        "e2e/test_repairs.py::test_a_tool_that_is_refused_in_every_form_is_left_out",
        "e2e/test_repairs.py::test_several_broken_tools_are_isolated_one_after_the_other",
        "unit/test_answers_checked.py::test_one_refused_tool_is_loosened_alone",
        "agents/test_pains.py::test_schemas_as_the_world_writes_them_are_taken_by_every_upstream",
    ),
    "as many results as calls are demanded, and the history has more or fewer": (
        "unit/dialects/chat/test_returns.py::test_results_find_their_calls_where_that_is_no_guess",
        "properties/test_chat_request.py::test_every_history_becomes_legal",
        "agents/test_pains.py::test_histories_that_were_cut_anywhere_are_taken",
        "e2e/test_repairs.py::test_what_was_refused_is_mended_told_and_counted",
        "golden/chat/result_missing_and_orphan.json",
        "golden/chat/user_between_results.json",
    ),
    "results are paired by place, and the wrong tool gets the answer": (
        "golden/chat/results_grouped_in_call_order.json",
        "golden/chat/repeated_ids.json",
        "golden/chat/result_without_id.json",
        "unit/dialects/chat/test_returns.py::test_results_find_their_calls_where_that_is_no_guess",
    ),
    "ids of calls get lost, are too long, or are refused": (
        "unit/dialects/chat/test_answer.py::test_ids_are_ours_short_and_unique",
        "unit/dialects/chat/test_returns.py::test_an_id_may_have_a_signature_behind_it",
        "golden/chat/call_ids.json",
        "agents/test_conversations.py::test_what_was_signed_comes_home",
    ),
    "arguments that are empty or of the wrong type, and names with a prefix that nobody declared": (
        "golden/streams/call-names-go-back.json",
        "golden/streams/call-prefix-that-was-declared.json",
        "unit/test_answers_checked.py::test_a_bad_call_is_tried_again_once_and_unseen",
        "unit/test_answers_checked.py::test_a_prefix_that_nobody_declared_is_taken_off",
        "unit/test_answers_checked.py::test_arguments_that_stay_wrong_go_on_unchanged_and_it_is_told",
        "unit/dialects/chat/test_answer.py::test_arguments_come_back_as_the_schema_says",
        "unit/gemini/test_validation.py::test_types_are_put_right_where_the_schema_says_so",
    ),
    "functions and search in one request": (
        "golden/chat/web_search_with_functions_2_5.json",
        "golden/chat/web_search_with_functions_3.json",
        "unit/gemini/test_repair.py::test_functions_win_over_hosted_tools",
        "e2e/test_repairs.py::test_what_was_refused_is_mended_told_and_counted",
    ),
    "names that are illegal, too long or given twice": (
        "golden/chat/tool_names.json",
        "golden/chat/duplicate_tools.json",
        "unit/dialects/chat/test_request.py::test_many_names_that_look_alike_after_cleaning_stay_apart",
        "agents/test_pains.py::test_names_of_every_kind_go_and_come_back",
    ),
}


@cache
def names_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("pain", PAINS)
def test_each_pain_has_its_tests(pain: str) -> None:
    for reference in PAINS[pain]:
        file, _, name = reference.partition("::")
        assert (TESTS / file).is_file(), reference
        assert name in names_in(TESTS / file) if name else file.endswith(".json"), reference


def test_every_pain_is_in_the_table() -> None:
    assert len(PAINS) == 23


# -- with a whole process ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(env=upstream.gemini() | upstream.antigravity()) as made:
        yield made


@pytest.fixture
def fresh(upstream: Upstream) -> Upstream:
    """The upstream, with nothing that an earlier test asked."""
    upstream.seen()
    return upstream


def test_claude_goes_on_without_thinking_where_its_thought_is_lost(gateway: GatewayProcess, fresh: Upstream) -> None:
    agent = Agent(**CLAUDE)
    agent.turn(gateway.port)
    assert agent.messages[-1]["role"] == "tool"
    for message in agent.messages:  # another gateway's history: nobody here knows its ids, and its words are new
        for call in message.get("tool_calls") or ():
            call["id"] = f"other_{call['id']}"
        if "tool_call_id" in message:
            message["tool_call_id"] = f"other_{message['tool_call_id']}"
    agent.messages[0]["content"] += " Please."
    agent.ask(gateway.port)
    first, second = fresh.seen()
    assert "thinkingConfig" in first.config
    assert "thinkingConfig" not in second.config
    assert (second.seen.status, second.escapes) == (0, 0)
    assert "thinkingConfig:off" in agent.notes[-1]


def test_histories_that_were_cut_anywhere_are_taken(gateway: GatewayProcess, fresh: Upstream) -> None:
    """Clients trim what is old: calls without results, results without calls, answers without questions."""
    agent = Agent(**FLASH)
    for _ in range(12):
        agent.turn(gateway.port)
    whole = agent.messages
    fresh.seen()
    for start in range(1, len(whole) - 3):
        for left_out in (0, 1, 2):
            history = [*whole[start : start + 3], *whole[start + 3 + left_out :]]
            cut = Agent(**FLASH, messages=[*history, {"role": "user", "content": "And now?"}])
            cut.ask(gateway.port)
    assert {sent.seen.status for sent in fresh.seen()} == {0}


def ask(gateway: GatewayProcess, tools: list[Any], **fields: Any) -> Reply:
    return chat(gateway.port, "Weather in Paris?", tools=tools, **fields)


ODD: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}},
    "properties": {
        "location": {"type": "string", "minLength": 1, "format": "place", "examples": ["Paris"]},
        "unit": {"const": "c"},
        "level": {"enum": [1, 2, None]},
        "when": {"type": ["string", "null"], "format": "date-time"},
        "tree": {"$ref": "#/$defs/node"},
        "either": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": {}}, "required": ["a", "b"]}]},
        "all": {"allOf": [{"type": "object", "properties": {"x": {"type": "number", "exclusiveMinimum": 0}}}]},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "uniqueItems": True},
        "map": {"type": "object", "patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False},
        "type": {"type": "string"}, "$ref": {"type": "string"}, "enum": {"type": "array"}, "any": True, "none": False,
    },
    "required": ["location", "missing"],
    "if": {"properties": {"unit": {"const": "c"}}}, "then": {"required": ["when"]},
    "dependentRequired": {"level": ["when"]}, "unevaluatedProperties": False, "x-order": 7,
}  # fmt: skip


def odd_tools() -> list[Any]:
    """Eighty tools, some with schemas that no upstream knows whole, one with nonsense."""
    schemas: list[Any] = [ODD, {"type": "object"}, {}, None, {"type": "object", "properties": {"a": {"type": "zebra"}}}]
    made = []
    for number in range(80):
        function = {"name": f"tool_{number}", "description": f"Does {number}", "parameters": schemas[number % 5]}
        made.append({"type": "function", "function": {k: v for k, v in function.items() if v is not None}})
    weather = {"name": "get_weather", "description": "Weather of a place", "parameters": ODD}
    return [*made, {"type": "function", "function": weather}]


@pytest.mark.parametrize(
    "model", ["gemini-3.8-flash", "gemini-2.5-flash", "gemini-3.7-flash-high", "claude-sonnet-4-6"]
)
def test_schemas_as_the_world_writes_them_are_taken_by_every_upstream(
    model: str, gateway: GatewayProcess, fresh: Upstream
) -> None:
    reply = ask(gateway, odd_tools(), model=model)
    assert reply.status == 200, reply.body
    (call,) = reply.json["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"])["location"] == "Paris"
    assert [sent.seen.status for sent in fresh.seen()] == [0]


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "gemini-3.7-flash-high", "claude-sonnet-4-6"])
@pytest.mark.parametrize(
    "name", ["mcp__weather/get weather", "1st-weather", "get.weather:now", "weather_für_orte", "weather_" + "x" * 120]
)
def test_names_of_every_kind_go_and_come_back(name: str, model: str, gateway: GatewayProcess, fresh: Upstream) -> None:
    parameters = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
    tools = [
        {"type": "function", "function": {"name": each, "description": "Weather of a place", "parameters": parameters}}
        for each in (name, name)
    ]
    agent = Agent(model=model, tools=tools, asks=iter(["Weather in Paris?"]))
    (call,) = agent.turn(gateway.port)["tool_calls"]
    assert call["function"]["name"] == name
    assert agent.turn(gateway.port, stream=True)["content"]
    assert [sent.seen.status for sent in fresh.seen()] == [0, 0]
