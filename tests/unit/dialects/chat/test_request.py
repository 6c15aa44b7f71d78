"""Chat Completions requests: decisions that golden cases do not show well."""

from __future__ import annotations

import time
from typing import Any

import pytest

from antigravity2api.dialects.base import StoredImage
from antigravity2api.dialects.chat.request import Plans, parse_chat
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import conversation
from fakes.chat_box import ask, assistant, call, function, make_box, origin, parse, result, user

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def config(**fields: Any) -> dict[str, Any]:
    return parse(ask(**fields)).request["generationConfig"]


def refusal(body: Any, **settings: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        parse(body, make_box(**settings))
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param is not None
    assert caught.value.param.partition("[")[0].partition(".")[0] in caught.value.message
    return caught.value


# -- the frame -----------------------------------------------------------------------------------------------


def test_the_model_is_echoed_as_asked_and_goes_up_resolved() -> None:
    made = parse(ask(model="models/gemini-2.5-flash"))
    assert (made.asked_model, made.model) == ("models/gemini-2.5-flash", "gemini-2.5-flash")


def test_a_model_in_the_body_wins_over_the_path() -> None:
    made = parse(ask(model="gemini-2.5-pro"), at=origin(engine="gemini-2.0-flash-exp"))
    assert made.model == "gemini-2.5-pro"


@pytest.mark.parametrize("model", ["", "a b", "a?b", "a/b", "x" * 257, 5, ["x"], {}])
def test_a_model_name_that_may_not_stand_in_a_url_is_refused(model: Any) -> None:
    assert refusal(ask(model=model)).param == "model"


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"null", b"\xff\xfe", b'{"model": NaN}'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        parse_chat(body, origin(), make_box(), Plans())
    assert caught.value.kind is Kind.INVALID_REQUEST


def test_null_is_absent_everywhere() -> None:
    names = (
        "stream stream_options max_completion_tokens max_tokens temperature top_p top_k n stop seed frequency_penalty "
        "presence_penalty logit_bias logprobs top_logprobs response_format tools tool_choice parallel_tool_calls "
        "functions function_call reasoning_effort reasoning thinking verbosity modalities audio prediction metadata "
        "web_search_options service_tier user safety_identifier prompt_cache_key google extra_body enable_thinking"
    )
    assert parse(ask(**dict.fromkeys(names.split()))) == parse(ask())


def test_unknown_fields_are_ignored_and_steer_nothing() -> None:
    made = parse(
        ask(api_base="http://evil", headers={"x-goog-api-key": "k"}, contents=[], generationConfig={"topK": 1})
    )
    assert made.request == parse(ask()).request
    assert "api_base:ignored" in made.applied


def test_notes_are_safe_inside_a_header() -> None:
    made = parse(ask(**{"a\r\nx-evil: 1": 1, "é": 1, "ok_name": 1, **{f"f{index}": 1 for index in range(50)}}))
    assert "ok_name:ignored" in made.applied
    assert len(made.applied) < 20
    assert all(note.isascii() and note.isprintable() for note in made.applied)


def test_affinity_falls_back_from_cache_key_to_user_to_safety_identifier() -> None:
    assert parse(ask(user="u", safety_identifier="s")).affinity == "u"
    assert parse(ask(safety_identifier="s")).affinity == "s"
    assert parse(ask()).affinity is None


def test_an_endless_user_name_is_shortened() -> None:
    assert len(parse(ask(user="u" * 10_000)).affinity or "") == 32


def test_a_conversation_has_the_same_name_for_every_turn_of_a_conversation() -> None:
    system = {"role": "system", "content": "S"}
    first = parse(ask(system, user("hello")))
    second = parse(ask(system, user("hello"), assistant("hi"), user("more")))
    other = parse(ask(system, user("hello!")))
    assert conversation(first.request) == conversation(second.request) != conversation(other.request)
    assert int(conversation(first.request), 16)


def test_parsing_is_pure() -> None:
    body = ask(user("x"), assistant(None, call("a", "f")), result("a", "1"), tools=[function("f", SCHEMA)])
    assert parse(body) == parse(body)


# -- parameters ------------------------------------------------------------------------------------------------


def test_whole_numbers_may_be_written_as_decimals() -> None:
    made = config(max_tokens=100.0, top_k=40.0, seed=-1)
    assert (made["maxOutputTokens"], made["topK"], made["seed"]) == (100, 40, 0x7FFFFFFF)


@pytest.mark.parametrize(
    "name",
    [
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "seed",
        "presence_penalty",
        "top_logprobs",
    ],
)
@pytest.mark.parametrize("value", ["1", True, [], {}])
def test_numbers_are_not_coerced(name: str, value: Any) -> None:
    fault = refusal(ask(**{name: value}))
    assert (fault.param, fault.code) == (name, "invalid_type")


@pytest.mark.parametrize("name", ["stream", "logprobs", "parallel_tool_calls", "enable_thinking"])
def test_booleans_are_not_coerced(name: str) -> None:
    fault = refusal(ask(**{name: "true"}))
    assert (fault.param, fault.code) == (name, "invalid_type")


@pytest.mark.parametrize(
    "name", ["google", "extra_body", "stream_options", "reasoning", "thinking", "audio", "logit_bias"]
)
def test_objects_are_objects(name: str) -> None:
    fault = refusal(ask(**{name: "x"}))
    assert (fault.param, fault.code) == (name, "invalid_type")


def test_max_completion_tokens_wins_and_both_are_checked() -> None:
    assert config(max_tokens=5, max_completion_tokens=7)["maxOutputTokens"] == 7
    assert refusal(ask(max_tokens=0, max_completion_tokens=7)).param == "max_tokens"


def test_endless_limits_are_clamped() -> None:
    assert config(max_tokens=10**30)["maxOutputTokens"] == 65536
    assert config(model="my-own-model", max_tokens=10**30)["maxOutputTokens"] == 2**31 - 1


def test_a_top_penalty_stays_below_googles_open_end() -> None:
    assert config(presence_penalty=2)["presencePenalty"] == 1.99
    assert refusal(ask(presence_penalty=2.5)).param == "presence_penalty"


def test_top_logprobs_needs_logprobs() -> None:
    assert refusal(ask(top_logprobs=3)).param == "top_logprobs"
    assert "logprobs" not in config(logprobs=False, top_logprobs=0)


def test_an_image_model_never_gets_candidate_count() -> None:
    made = parse(ask(model="gemini-2.5-flash-image", n=2))
    assert made.copies == 2
    assert "candidateCount" not in made.request["generationConfig"]


@pytest.mark.parametrize(
    ("name", "value"), [("logit_bias", {"5": 1}), ("verbosity", "high"), ("prediction", {"type": "content"})]
)
def test_strict_params_refuses_what_would_be_ignored(name: str, value: Any) -> None:
    assert parse(ask(**{name: value})).applied == (f"{name}:ignored",)
    fault = refusal(ask(**{name: value}), strict_params=True)
    assert (fault.param, fault.code) == (name, "unsupported_parameter")


def test_strict_params_lets_neutral_values_pass() -> None:
    assert parse(ask(logit_bias={}, verbosity="medium"), make_box(strict_params=True)).applied == ()


@pytest.mark.parametrize(
    ("asked", "sent", "echoed"),
    [
        ("flex", "flex", "flex"),
        ("priority", "priority", "priority"),
        ("fast", "priority", "priority"),
        ("default", "standard", "default"),
        ("auto", None, None),
    ],
)
def test_service_tiers(asked: str, sent: str | None, echoed: str | None) -> None:
    made = parse(ask(service_tier=asked))
    assert made.request.get("serviceTier") == sent
    assert made.options.service_tier == echoed


def test_a_tier_is_not_claimed_where_the_upstream_has_none() -> None:
    assert parse(ask(service_tier="flex"), at=origin("antigravity")).options.service_tier == "default"


def test_an_unknown_tier_is_ignored_in_sight() -> None:
    made = parse(ask(service_tier="scale"))
    assert "serviceTier" not in made.request
    assert made.applied == ("service_tier:ignored",)


# -- thinking --------------------------------------------------------------------------------------------------


def thinking(model: str, **fields: Any) -> Any:
    return config(model=model, **fields).get("thinkingConfig")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "minimal"}, {"thinkingBudget": 1024}),
        ({"reasoning_effort": "medium"}, {"thinkingBudget": 8192}),
        ({"reasoning_effort": "high"}, {"thinkingBudget": 24576}),
        ({"reasoning_effort": "xhigh"}, {"thinkingBudget": 24576}),
        ({"reasoning": {"effort": "low"}}, {"thinkingBudget": 1024}),
        ({"reasoning": {"max_tokens": 2000}}, {"thinkingBudget": 2000}),
        ({"reasoning": {"enabled": True}}, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, {"thinkingBudget": 3000}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking_budget": 99999}, {"thinkingBudget": 24576}),
        ({"chat_template_kwargs": {"thinking_budget": 512}}, {"thinkingBudget": 512}),
        ({"google": {"thinkingConfig": {"thinkingBudget": 7}}}, {"thinkingBudget": 7}),
        ({"google": {"thinking_config": {"thinking_budget": -1}}}, {"thinkingBudget": -1}),
    ],
)
def test_every_spelling_of_a_budget(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert thinking("gemini-2.5-flash", **fields) == {**expected, "includeThoughts": True}


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "none"},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"effort": "none"}},
        {"thinking": {"type": "disabled"}},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": {"thinking": False}},
        {"thinking_budget": 0},
        {"google": {"thinking_config": {"thinking_budget": 0, "include_thoughts": True}}},
    ],
)
def test_every_spelling_of_off(fields: dict[str, Any]) -> None:
    assert thinking("gemini-2.5-flash", **fields) == {"thinkingBudget": 0}


def test_a_model_that_does_not_think_by_itself_is_not_asked_for_thoughts() -> None:
    assert thinking("gemini-2.5-flash-lite") is None
    assert thinking("gemini-2.5-flash-lite", reasoning_effort="low") == {
        "thinkingBudget": 1024,
        "includeThoughts": True,
    }


@pytest.mark.parametrize(
    "fields", [{"thinking": {"type": "enabled"}}, {"reasoning": {"enabled": True}}, {"enable_thinking": True}]
)
def test_switched_on_without_an_amount(fields: dict[str, Any]) -> None:
    assert thinking("gemini-2.5-flash-lite", **fields) == {"thinkingBudget": -1, "includeThoughts": True}
    assert thinking("gemini-3-flash-preview", **fields) == {"includeThoughts": True}


def test_never_level_and_budget_together() -> None:
    made = thinking(
        "gemini-3-flash-preview", google={"thinking_config": {"thinking_budget": 500, "thinking_level": "low"}}
    )
    assert made == {"thinkingLevel": "LOW", "includeThoughts": True}


def test_image_and_unknown_models_get_no_thinking_of_ours() -> None:
    assert thinking("gemini-3.1-flash-image", reasoning_effort="high") is None
    assert thinking("my-own-model", reasoning_effort="high") is None
    assert thinking("my-own-model", google={"thinking_config": {"thinking_level": "odd"}}) == {"thinkingLevel": "odd"}


def test_a_budget_gives_way_to_a_small_limit() -> None:
    assert thinking("gemini-2.5-flash", reasoning_effort="low", max_completion_tokens=300) == {"thinkingBudget": 0}
    made = thinking("gemini-2.5-pro", reasoning_effort="low", max_completion_tokens=300)
    assert made == {"thinkingBudget": 128, "includeThoughts": True}


def test_unknown_keys_of_googles_configuration_do_not_go_up() -> None:
    made = parse(ask(model="gemini-2.5-flash", google={"thinking_config": {"thinking_budget": 5, "x": 1}}))
    assert made.request["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 5, "includeThoughts": True}
    assert made.applied


# -- tools -----------------------------------------------------------------------------------------------------


def test_the_clients_schema_goes_up_untouched() -> None:
    body = ask(tools=[function("f", {"$schema": "x", "type": "object", "properties": {"const": {"const": 1}}})])
    made = parse(body)
    declared = made.request["tools"][0]["functionDeclarations"][0]
    assert declared["parametersJsonSchema"] == body["tools"][0]["function"]["parameters"]
    assert made.options.schemas["f"] is declared["parametersJsonSchema"]


def test_a_tool_without_parameters_is_fine() -> None:
    made = parse(ask(tools=[function("f"), function("g", {}), function("h", {"type": "object"})]))
    assert made.request["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}, {"name": "h"}]}]


def test_an_open_object_is_not_taken_for_no_arguments() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    made = parse(ask(tools=[function("f", schema)]))
    assert made.request["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == schema


def test_a_flat_tool_is_understood() -> None:
    made = parse(ask(tools=[{"type": "function", "name": "f", "parameters": SCHEMA}]))
    assert made.request["tools"][0]["functionDeclarations"] == [{"name": "f", "parametersJsonSchema": SCHEMA}]


def test_legacy_functions_report_their_own_path() -> None:
    fault = refusal({**ask(), "functions": [{"name": "f", "parameters": []}]})
    assert (fault.param, fault.code) == ("functions[0].parameters", "invalid_function_parameters")


def test_old_functions_with_a_new_choice() -> None:
    made = parse({**ask(), "functions": [{"name": "f"}], "tool_choice": "required"})
    assert made.request["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def test_many_names_that_look_alike_after_cleaning_stay_apart() -> None:
    names = ["é" * count + "x" * 70 for count in range(1, 40)] + ["a b", "a/b", "a.b", "a_b", "a_b_2"]
    made = parse(ask(tools=[function(name) for name in names]))
    declared = [entry["name"] for entry in made.request["tools"][0]["functionDeclarations"]]
    assert len(set(declared)) == len(names)
    assert [made.options.names[name] for name in declared] == names
    assert all(len(name) <= 64 for name in declared)
    assert "a_b" in declared
    assert made.options.names["a_b"] == "a_b"


def test_search_stands_beside_nothing_else_it_may_not() -> None:
    made = parse(ask(tools=[{"type": "web_search"}, {"google_search": {}}]))
    assert made.request["tools"] == [{"googleSearch": {}}]


def test_json_beside_search_on_an_older_family_is_asked_for_in_words() -> None:
    made = parse(ask(web_search_options={}, response_format={"type": "json_object"}))
    assert "responseMimeType" not in made.request["generationConfig"]
    assert made.options.strip_fence


# -- histories -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_history_of_odd_calls_takes_linear_time() -> None:
    """Repeated ids, nameless results and repeated names must not be looked up by walking the history each time."""
    count = 20_000
    calls = [call("same", "f") for _ in range(count)]
    results: list[Any] = [result("same", "1") for _ in range(count // 2)]
    results += [{"role": "tool", "name": "f", "content": "2"} for _ in range(count // 2)]
    before = time.thread_time()
    made = parse(ask(user("x"), assistant(None, *calls), *results, model="gemini-3.8-flash"))
    assert time.thread_time() - before < 5
    answers = [part["functionResponse"]["response"] for part in made.request["contents"][2]["parts"]]
    assert answers == [{"output": "1"}] * (count // 2) + [{"output": "2"}] * (count // 2)


def test_deeply_nested_strings_of_json_stay_text() -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    made = parse(
        ask(user("x"), assistant(None, call("a", "f", deep), call("b", "g", "[" * 300 + "]" * 300)), result("a", deep))
    )
    calls, results = made.request["contents"][1]["parts"], made.request["contents"][2]["parts"]
    assert calls[0]["functionCall"]["args"] == {"_raw": deep}
    assert "_raw" in calls[1]["functionCall"]["args"]
    assert results[0]["functionResponse"]["response"] == {"output": deep}


def test_arguments_may_be_an_object_already() -> None:
    made = parse(ask(user("x"), assistant(None, call("a", "f", {"n": 1})), result("a", "1")))
    assert made.request["contents"][1]["parts"][0]["functionCall"]["args"] == {"n": 1}
    fault = refusal(ask(user("x"), assistant(None, call("a", "f", 5))))
    assert fault.param == "messages[1].tool_calls[0].function.arguments"


def test_an_injected_comma_does_not_make_arguments_valid() -> None:
    made = parse(ask(user("x"), assistant(None, call("a", "f", '1,"value":2')), result("a", "1")))
    assert made.request["contents"][1]["parts"][0]["functionCall"]["args"] == {"_raw": '1,"value":2'}


def test_function_messages_pair_by_name_with_the_last_unanswered_call() -> None:
    legacy = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": f'{{"n":{n}}}'}}
        for n in (1, 2)
    ]
    made = parse(ask(user("x"), *legacy, {"role": "function", "name": "f", "content": "two"}))
    responses = [
        part["functionResponse"]["response"]
        for content in made.request["contents"]
        for part in content["parts"]
        if "functionResponse" in part
    ]
    assert responses == [{"error": "no result was returned for this call"}, {"output": "two"}]


def test_a_spoken_answer_is_its_transcript_or_a_note() -> None:
    made = parse(ask(user("x"), assistant(None, audio={"id": "a1", "transcript": "hello"}), user("y")))
    assert made.request["contents"][1]["parts"] == [{"text": "hello"}]
    made = parse(ask(user("x"), assistant(None, audio={"id": "a1"}), user("y")))
    assert made.applied == ("messages[1].audio:dropped",)


def test_models_without_system_instructions_get_the_text_in_front() -> None:
    made = parse(ask({"role": "system", "content": "S"}, user("x"), model="gemini-3.8-flash-tts"))
    assert "systemInstruction" not in made.request
    assert made.request["contents"] == [{"role": "user", "parts": [{"text": "S"}, {"text": "x"}]}]


def test_an_argument_signature_is_found_for_a_client_that_rewrites_ids() -> None:
    from antigravity2api.gemini.signature import Signed, args_key, thread_named

    box = make_box()
    box.signatures.put(args_key(thread_named("x"), "f", {"n": 1}), Signed("c2ln", "gemini-3", "gemini"))
    body = ask(
        user("x"),
        assistant(None, call("other", "f", '{"n": 1.0}')),
        result("other", "1"),
        model="gemini-3-flash-preview",
    )
    part = parse(body, box).request["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == "c2ln"


# -- images of ours --------------------------------------------------------------------------------------------

LINK = "http://localhost:8045/images/{}.png"
ONE, TWO = "a" * 24, "b" * 24


def shelf(**stored: tuple[str, str | None]) -> Any:
    box = make_box()
    for name, (data, signature) in stored.items():
        box.images.held[f"/images/{name}.png"] = StoredImage("image/png", data, signature)
    return box


def drawn(box: Any, *messages: Any, model: str = "gemini-3-pro-image") -> list[Any]:
    return parse(ask(user("draw"), *messages, user("make it blue"), model=model), box).request["contents"]


def test_a_link_of_ours_becomes_the_image_with_its_signature() -> None:
    box = shelf(**{ONE: ("QUJD", "c2ln")})
    contents = drawn(box, assistant(f"Here you are:\n\n![image]({LINK.format(ONE)})\n\n"))
    assert contents[1]["parts"] == [
        {"text": "Here you are:"},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}, "thoughtSignature": "c2ln"},
    ]


def test_an_images_signature_goes_to_models_that_draw_only() -> None:
    contents = drawn(
        shelf(**{ONE: ("QUJD", "c2ln")}), assistant(f"![image]({LINK.format(ONE)})"), model="gemini-2.5-flash"
    )
    assert contents[1]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]


def test_a_link_that_is_gone_or_foreign_stays_text() -> None:
    contents = drawn(shelf(), assistant(f"![image]({LINK.format(ONE)}) ![x](https://example.com/cat.png)"))
    texts = [part["text"] for part in contents[1]["parts"]]
    assert texts == [f"![image](/images/{ONE}.png)", " ![x](https://example.com/cat.png)"]


def test_the_latest_images_come_back_first_when_there_are_too_many() -> None:
    box = shelf(**{ONE: ("A" * (40 << 20), None), TWO: ("B" * (20 << 20), None)})
    contents = drawn(
        box, assistant(f"![image]({LINK.format(ONE)})"), user("again"), assistant(f"![image]({LINK.format(TWO)})")
    )
    assert contents[1]["parts"] == [{"text": f"![image](/images/{ONE}.png)"}]
    assert contents[3]["parts"][0]["inlineData"]["data"].startswith("BBB")


def test_a_repeated_link_is_looked_up_once() -> None:
    box = shelf(**{ONE: ("QUJD", None)})
    asked: list[str] = []
    found = box.images.get
    box.images.get = lambda path: asked.append(path) or found(path)
    contents = drawn(box, assistant(f"![image]({LINK.format(ONE)})" * 500))
    assert len(asked) == 1
    assert len(contents[1]["parts"]) == 500


def test_a_user_may_point_to_an_image_of_ours() -> None:
    part = {"type": "image_url", "image_url": {"url": LINK.format(ONE)}}
    made = parse(ask(user([part])), shelf(**{ONE: ("QUJD", "c2ln")}))
    assert made.request["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]
    assert refusal(ask(user([part]))).code == "invalid_image_url"


def test_extra_images_are_used_where_the_text_holds_none() -> None:
    images = [{"type": "image_url", "image_url": {"url": LINK.format(ONE)}}]
    box = shelf(**{ONE: ("QUJD", None)})
    assert len(drawn(box, assistant("", images=images))[1]["parts"]) == 1
    assert len(drawn(box, assistant(f"![image]({LINK.format(ONE)})", images=images))[1]["parts"]) == 1


def test_a_text_signature_does_not_land_on_an_image() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "dGV4dA=="}}}
    contents = drawn(shelf(**{ONE: ("QUJD", "c2ln")}), assistant(f"Here:\n\n![image]({LINK.format(ONE)})", **extra))
    assert [part["thoughtSignature"] for part in contents[1]["parts"]] == ["dGV4dA==", "c2ln"]


def test_the_placeholder_of_the_documentation_works_as_printed() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQSkZJRg..."}}
    made = parse(ask(user([part])))
    assert made.request["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}}
    ]


def test_a_gif_goes_up_as_png() -> None:
    gif = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    made = parse(ask(user([{"type": "image_url", "image_url": {"url": f"data:image/gif;base64,{gif}"}}])))
    assert made.request["contents"][0]["parts"][0]["inlineData"]["mimeType"] == "image/png"


def test_files_and_sound() -> None:
    parts = [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}},
        {"type": "file", "file": {"filename": "a.csv", "file_data": "YSxiCg=="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZFZm10IA==", "format": "wav"}},
        {"type": "document", "source": {"type": "text", "data": "plain"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAAGGZ0eXBtcDQy"}},
    ]
    made = parse(ask(user(parts)))
    found = [part.get("text") or part["inlineData"]["mimeType"] for part in made.request["contents"][0]["parts"]]
    assert found == ["application/pdf", "a,b\n", "audio/wav", "plain", "video/mp4"]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "ftp://x/y.png", "javascript:1", "", "data:image/png,"]
)
def test_an_image_is_never_opened_or_fetched(url: str) -> None:
    fault = refusal(ask(user([{"type": "image_url", "image_url": {"url": url}}])))
    assert fault.param == "messages[0].content[0].image_url.url"


def test_thoughts_of_another_dialect_are_left_out_in_sight() -> None:
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]
    made = parse(ask(user("x"), assistant(content), user("y")))
    assert made.request["contents"][1]["parts"] == [{"text": "a"}]
    assert made.applied == ("messages[1].content[0]:thoughts are not sent back",)
