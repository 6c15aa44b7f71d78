"""Answers: sensible, the same each time, and consistent with what was asked for."""

import base64
import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from antigravity2api.sandbox import Sandbox
from antigravity2api.sandbox.fit import Fitter
from antigravity2api.sandbox.patterns import example
from antigravity2api.sandbox.question import evaluate, read
from sandbox.rawclient import PIXEL, TIME, WEATHER, Reply, ask, generate, parts_of, stream, tools, user, wrapped
from sandbox.schema_check import fits

OLD = "gemini-2.5-flash"


def calls_in(reply: Reply) -> list[Any]:
    return [part["functionCall"] for part in parts_of(reply.json) if "functionCall" in part]


def named(reply: Reply) -> list[Any]:
    return [(call["name"], call["args"]) for call in calls_in(reply)]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Hello", "Hello! How can I help you today?"),
        ("hi there!", "Hello! How can I help you today?"),
        ("\u4f60\u597d", "Hello! How can I help you today?"),
        ("Say this is a test", "this is a test"),
        ('Reply with exactly: "PONG"', "PONG"),
        ("17*23?", "17*23 = 391"),
        ("What is 2 + 2 * 3?", "2 + 2 * 3 = 8"),
        ("Count from 1 to 5", "1, 2, 3, 4, 5"),
    ],
)
async def test_small_talk(sandbox: Sandbox, question: str, answer: str) -> None:
    assert (await generate(sandbox, user(question))).text == answer


async def test_the_question_is_heard(sandbox: Sandbox) -> None:
    text = (
        await generate(sandbox, user("Why is the sky blue?", systemInstruction={"parts": [{"text": "Be brief."}]}))
    ).text
    assert "Why is the sky blue?" in text
    assert "Be brief." in text


async def test_pictures_and_files_are_seen(sandbox: Sandbox) -> None:
    body = {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "What is in this image?"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
                ],
            }
        ]
    }
    reply = await generate(sandbox, body)
    assert f"an image (image/png, {len(base64.b64decode(PIXEL))} bytes)" in reply.text
    assert "a file (application/pdf, 3 bytes)" in reply.text
    details = {item["modality"]: item["tokenCount"] for item in reply.json["usageMetadata"]["promptTokensDetails"]}
    assert details == {"TEXT": 6, "IMAGE": 258, "DOCUMENT": 516}


async def test_the_conversation_is_remembered(sandbox: Sandbox) -> None:
    body = user("What is my name?")
    body["contents"] = [
        *user("My name is Ada")["contents"],
        {"role": "model", "parts": [{"text": "Hi"}]},
        *body["contents"],
    ]
    assert (await generate(sandbox, body)).text == "Your name is Ada."


@pytest.mark.parametrize(
    ("question", "calls"),
    [
        ("What is the weather in Beijing?", [("get_weather", {"location": "Beijing"})]),
        ("what's the weather like in paris", [("get_weather", {"location": "Paris"})]),
        ("Weather in New York in f?", [("get_weather", {"location": "New York", "unit": "f"})]),
        (
            "weather in Beijing and Paris",
            [("get_weather", {"location": "Beijing"}), ("get_weather", {"location": "Paris"})],
        ),
        ("What time is it in Oslo?", [("get_time", {"location": "Oslo"})]),
        ("Weather and time in Rome?", [("get_weather", {"location": "Rome"}), ("get_time", {"location": "Rome"})]),
        ("Hello", []),
        ("Write a poem", []),
    ],
)
async def test_tools_are_called_when_they_fit(sandbox: Sandbox, question: str, calls: list[Any]) -> None:
    reply = await generate(sandbox, user(question, tools=tools()))
    assert named(reply) == calls
    ids = [call["id"] for call in calls_in(reply)]
    assert len(set(ids)) == len(ids)


async def test_the_best_of_several_similar_tools_is_taken(sandbox: Sandbox) -> None:
    path = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    functions = [
        {"name": name, "description": text, "parametersJsonSchema": path}
        for name, text in (
            ("read_file", "Read a file"),
            ("write_file", "Write a file"),
            ("listFiles", "List the files of a folder"),
        )
    ]
    assert named(await generate(sandbox, user("Please read the file src/main.py", tools=tools(*functions)))) == [
        ("read_file", {"path": "src/main.py"})
    ]
    assert [name for name, _ in named(await generate(sandbox, user("list all files", tools=tools(*functions))))] == [
        "listFiles"
    ]


def choice(mode: str, *names: str) -> dict[str, Any]:
    return {"functionCallingConfig": {"mode": mode, **({"allowedFunctionNames": list(names)} if names else {})}}


async def test_the_tool_choice_is_obeyed(sandbox: Sandbox) -> None:
    async def names(question: str, config: Any) -> list[str]:
        return [name for name, _ in named(await generate(sandbox, user(question, tools=tools(), toolConfig=config)))]

    assert await names("Weather in Oslo?", choice("NONE")) == []
    assert await names("Hello", choice("ANY")) == ["get_weather"]
    assert await names("Hello", choice("ANY", "get_time")) == ["get_time"]
    assert await names("Weather in Oslo?", choice("ANY", "get_time")) == ["get_time"]
    assert await names("Hello", choice("VALIDATED")) == []
    assert await names("Weather in Oslo?", choice("VALIDATED", "get_time")) == []


async def test_results_are_used(sandbox: Sandbox) -> None:
    question = user("Weather in Oslo?", tools=tools())
    model = parts_of((await generate(sandbox, question, OLD)).json)
    for response, said in (
        ({"output": "21 C, clear"}, "get_weather (Oslo) says: 21 C, clear."),
        ({"error": "upstream timed out"}, "get_weather (Oslo) failed: upstream timed out."),
        ({"temperature": 21}, 'get_weather (Oslo) says: {"temperature": 21}.'),
    ):
        result = {"functionResponse": {"name": "get_weather", "response": response}}
        contents = [*question["contents"], {"role": "model", "parts": model}, {"role": "user", "parts": [result]}]
        assert (await generate(sandbox, {**question, "contents": contents}, OLD)).text == said


async def test_stop_sequences_end_the_text(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Count from 1 to 9", generationConfig={"stopSequences": ["9", "4"]}))
    assert reply.text == "1, 2, 3, "
    assert reply.json["candidates"][0]["finishReason"] == "STOP"


async def test_the_limit_counts_thoughts_too(sandbox: Sandbox) -> None:
    async def limited(limit: int, model: str) -> Any:
        return (
            await generate(sandbox, user("Write 500 words", generationConfig={"maxOutputTokens": limit}), model)
        ).json

    part = await limited(60, "gemini-2.5-flash")
    assert part["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert part["usageMetadata"]["thoughtsTokenCount"] + part["usageMetadata"]["candidatesTokenCount"] == 60
    nothing = await limited(30, "gemini-2.5-flash")
    assert nothing["candidates"][0] == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    assert nothing["usageMetadata"]["thoughtsTokenCount"] == 30
    assert "candidatesTokenCount" not in nothing["usageMetadata"]
    plain = await limited(30, "gemini-2.0-flash")
    assert plain["usageMetadata"]["candidatesTokenCount"] == 30


async def test_thoughts_are_shown_on_demand(sandbox: Sandbox) -> None:
    shown = await generate(sandbox, user("Hello", generationConfig={"thinkingConfig": {"includeThoughts": True}}))
    first, second = parts_of(shown.json)
    assert first["thought"] is True
    assert "thought" not in second
    hidden = (await generate(sandbox, user("Hello"))).json
    assert len(parts_of(hidden)) == 1
    assert hidden["usageMetadata"]["thoughtsTokenCount"] > 0
    off = (await generate(sandbox, user("Hello", generationConfig={"thinkingConfig": {"thinkingBudget": 0}}), OLD)).json
    assert "thoughtsTokenCount" not in off["usageMetadata"]
    high, low = [
        (await generate(sandbox, user("Hi", generationConfig={"thinkingConfig": {"thinkingLevel": level}}))).json
        for level in ("HIGH", "LOW")
    ]
    assert high["usageMetadata"]["thoughtsTokenCount"] > low["usageMetadata"]["thoughtsTokenCount"]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("gemini-3.8-flash", user("Why is the sky blue? \U0001f600 gr\u00fc\u00df")),
        ("gemini-3.8-flash", user("Hi", generationConfig={"thinkingConfig": {"includeThoughts": True}})),
        ("gemini-2.5-flash", user("Tell me two things", generationConfig={"candidateCount": 2})),
        ("gemini-3.8-flash", user("Weather in Paris and London?", tools=tools())),
        ("gemini-3.8-flash", user("Who won?", tools=[{"googleSearch": {}}])),
        ("gemini-3.8-flash", user("Compute 2+3", tools=[{"codeExecution": {}}])),
        ("gemini-3-pro-image", user("Draw a house")),
        ("gemini-2.5-flash", user("Write 900 words", generationConfig={"maxOutputTokens": 300})),
        ("gemini-2.5-flash", user("Write 900 words", generationConfig={"maxOutputTokens": 1})),
        ("gemini-3.8-flash-tts", user("Say cheerfully: hello", generationConfig={"responseModalities": ["AUDIO"]})),
    ],
)
async def test_a_stream_adds_up_to_the_whole_answer(sandbox: Sandbox, model: str, body: Any) -> None:
    whole = (await generate(sandbox, body, model)).json
    reply = await stream(sandbox, body, model)
    events = reply.events
    assert reply.headers["content-type"] == "text/event-stream"
    assert events[-1]["usageMetadata"] == whole["usageMetadata"]
    usage = whole["usageMetadata"]
    assert usage["totalTokenCount"] == sum(
        usage.get(key, 0)
        for key in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
    )
    totals = [event["usageMetadata"]["totalTokenCount"] for event in events]
    assert totals == sorted(totals)
    assert {event["responseId"] for event in events} == {whole["responseId"]}
    assert {event["modelVersion"] for event in events} == {model}
    for candidate in whole["candidates"]:
        own = [event["candidates"][0] for event in events if event["candidates"][0]["index"] == candidate["index"]]
        assert [item.get("finishReason") for item in own] == [None] * (len(own) - 1) + [candidate["finishReason"]]
        assert {item["content"]["role"] for item in own} == {"model"}
        parts = [part for item in own for part in item["content"].get("parts", [])]
        wanted = candidate["content"].get("parts", [])
        for thought in (True, False):
            assert "".join(part.get("text", "") for part in parts if bool(part.get("thought")) == thought) == "".join(
                part.get("text", "") for part in wanted if bool(part.get("thought")) == thought
            )
        assert [part for part in parts if "text" not in part] == [part for part in wanted if "text" not in part]
        assert own[-1].get("groundingMetadata") == candidate.get("groundingMetadata")


async def test_without_sse_a_stream_is_one_list(sandbox: Sandbox) -> None:
    target = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    reply = await ask(sandbox, target, user("Count from 1 to 9"))
    assert reply.headers["content-type"].startswith("application/json")
    assert "".join(part["text"] for event in reply.json for part in parts_of(event)) == "1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert (await ask(sandbox, target, {})).json[0]["error"]["code"] == 400


async def test_the_same_request_has_the_same_answer(sandbox: Sandbox) -> None:
    body = user("Weather in Paris and London?", tools=tools())
    first, second = await generate(sandbox, body), await generate(sandbox, body)
    assert first.body == second.body
    async with Sandbox() as other:
        assert (await stream(other, body)).body == (await stream(sandbox, body)).body
    assert (await generate(sandbox, user("Weather in Paris?", tools=tools()))).json["responseId"] != first.json[
        "responseId"
    ]


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspectRatio": "16:9"}, (1368, 768)),
        ({"aspectRatio": "1:1", "imageSize": "2K"}, (2048, 2048)),
    ],
)
async def test_pictures_are_real(sandbox: Sandbox, config: Any, size: Any) -> None:
    body = user("Draw a cute cat", generationConfig={"responseModalities": ["TEXT", "IMAGE"], "imageConfig": config})
    reply = (await generate(sandbox, body, "gemini-3-pro-image")).json
    text, image = parts_of(reply)
    assert "Draw a cute cat" in text["text"]
    assert image["inlineData"]["mimeType"] == "image/png"
    with Image.open(io.BytesIO(base64.b64decode(image["inlineData"]["data"]))) as opened:
        opened.load()
        assert opened.size == size
        assert len(opened.getcolors() or []) >= 4
    assert reply["usageMetadata"]["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": 1120}]


async def test_a_picture_may_come_alone(sandbox: Sandbox) -> None:
    body = user("Draw a house", generationConfig={"responseModalities": ["IMAGE"]})
    assert [next(iter(part)) for part in parts_of((await generate(sandbox, body, "gemini-2.5-flash-image")).json)] == [
        "inlineData"
    ]


async def test_grounding_is_counted_in_bytes(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Wer gr\u00fc\u00dft \U0001f600? Und du?", tools=[{"googleSearch": {}}]))
    candidate = reply.json["candidates"][0]
    found = candidate["groundingMetadata"]
    raw = reply.text.encode()
    assert len(found["groundingSupports"]) >= 2
    for support in found["groundingSupports"]:
        segment = support["segment"]
        assert raw[segment.get("startIndex", 0) : segment["endIndex"]].decode() == segment["text"]
        assert found["groundingChunks"][support["groundingChunkIndices"][0]]["web"]["uri"].startswith("https://")
    assert found["webSearchQueries"]
    assert reply.json["usageMetadata"]["toolUsePromptTokenCount"] == 120


async def test_code_is_run(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Compute 12 * (3 + 4)", tools=[{"codeExecution": {}}]))
    code, result, text = parts_of(reply.json)
    assert "12 * (3 + 4)" in code["executableCode"]["code"]
    assert result["codeExecutionResult"] == {
        "outcome": "OUTCOME_OK",
        "output": "84\n",
        "id": code["executableCode"]["id"],
    }
    assert "84" in text["text"]


async def test_urls_are_fetched_in_words_only(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Summarise https://example.com/a.", tools=[{"urlContext": {}}]))
    assert reply.json["candidates"][0]["urlContextMetadata"]["urlMetadata"] == [
        {"retrievedUrl": "https://example.com/a", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}
    ]


async def test_log_probabilities(sandbox: Sandbox) -> None:
    body = user("Count from 1 to 3", generationConfig={"responseLogprobs": True, "logprobs": 2})
    candidate = (await generate(sandbox, body, OLD)).json["candidates"][0]
    chosen = candidate["logprobsResult"]["chosenCandidates"]
    assert "".join(item["token"] for item in chosen) == "1, 2, 3"
    assert all(len(item["candidates"]) == 2 for item in candidate["logprobsResult"]["topCandidates"])
    assert candidate["avgLogprobs"] == pytest.approx(sum(item["logProbability"] for item in chosen) / len(chosen))
    streamed = [event["candidates"][0] for event in (await stream(sandbox, body, OLD)).events]
    tokens = [item for part in streamed for item in part.get("logprobsResult", {}).get("chosenCandidates", [])]
    assert tokens == chosen


async def test_several_candidates(sandbox: Sandbox) -> None:
    reply = (await generate(sandbox, user("Hello", generationConfig={"candidateCount": 3}), OLD)).json
    assert [candidate["index"] for candidate in reply["candidates"]] == [0, 1, 2]
    assert len({candidate["content"]["parts"][0]["text"] for candidate in reply["candidates"]}) == 3


SCHEMAS: list[Any] = [
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "n": {"type": "integer", "minimum": 5, "maximum": 7}},
        "required": ["city", "n"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
    {
        "type": "OBJECT",
        "properties": {"a": {"type": "STRING", "enum": ["x", "y"]}, "b": {"type": "BOOLEAN"}},
        "required": ["a", "b"],
    },
    {
        "type": "object",
        "properties": {"t": {"type": ["string", "null"]}, "u": {"anyOf": [{"type": "null"}, {"type": "number"}]}},
        "required": ["t", "u"],
    },
    {
        "type": "object",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name"],
            }
        },
        "properties": {"root": {"$ref": "#/$defs/Node"}},
        "required": ["root"],
    },
    {
        "type": "object",
        "properties": {
            "d": {"type": "string", "format": "date"},
            "c": {"const": 4},
            "p": {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"},
        },
        "required": ["d", "c", "p"],
    },
    {
        "type": "object",
        "properties": {
            "x": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "m": {"type": "integer", "multipleOf": 5, "minimum": 3},
        },
        "required": ["x", "m"],
    },
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {
        "type": "object",
        "allOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ],
    },
    {"type": "string", "minLength": 40, "maxLength": 50},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["red", "green"]},
]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_json_answers_fit_their_schema(sandbox: Sandbox, schema: Any) -> None:
    key = "responseSchema" if schema.get("type") == "OBJECT" else "responseJsonSchema"
    body = user("Two of them for Ada in Paris", generationConfig={"responseMimeType": "application/json", key: schema})
    reply = await generate(sandbox, body)
    assert fits(json.loads(reply.text), schema), reply.text


async def test_json_without_a_schema_and_one_word(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("Hello", generationConfig={"responseMimeType": "application/json"}))
    assert json.loads(reply.text) == {"answer": "Hello! How can I help you today?"}
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["drum", "flute"]}}
    assert (await generate(sandbox, user("Is a flute a flute?", generationConfig=config))).text == "flute"


_scalars = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 20)}),
    st.fixed_dictionaries({"type": st.just("string"), "format": st.sampled_from(["date", "uri", "email"])}),
    st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"minimum": st.integers(-9, 0), "maximum": st.integers(0, 9)}
    ),
    st.fixed_dictionaries({"type": st.just("number")}, optional={"exclusiveMinimum": st.integers(-9, 0)}),
    st.just({"type": "boolean"}),
    st.fixed_dictionaries({"enum": st.lists(st.text(max_size=5), min_size=1, max_size=4)}),
)
_names = st.sampled_from(["location", "query", "count", "tags", "path", "x"])
_schemas = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 3), "maxItems": st.integers(3, 5)},
        ),
        st.dictionaries(_names, inner, max_size=4).flatmap(
            lambda properties: st.fixed_dictionaries(
                {
                    "type": st.just("object"),
                    "properties": st.just(properties),
                    "required": st.lists(st.sampled_from(sorted(properties)), unique=True)
                    if properties
                    else st.just([]),
                }
            )
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=_schemas, question=st.text(max_size=60))
def test_made_values_fit_any_schema(schema: Any, question: str) -> None:
    assert fits(Fitter(read(question), schema).value(schema), schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{3}-\d{4}$",
        r"^[a-z]+@[a-z]+\.com$",
        r"^(foo|bar)[^x]?$",
        r"^#?[0-9a-fA-F]{6}$",
        r"^(\w)\1$",
        r"x{2,}",
        r"^[^0-9]{2}.$",
    ],
)
def test_patterns_have_examples(pattern: str) -> None:
    assert example(pattern) is not None


@pytest.mark.parametrize(
    "expression", ["9**9**9", "1/0", "__import__('os')", "10**400 * 10**400", "'a'*9", "1" * 300, "True + 1"]
)
def test_sums_are_bounded(expression: str) -> None:
    assert evaluate(expression) is None


async def test_count_tokens(sandbox: Sandbox) -> None:
    target = "/v1beta/models/gemini-3.8-flash:countTokens"
    assert (await ask(sandbox, target, user("Hello, world"))).json == {
        "totalTokens": 3,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
    }
    inner = {"model": "models/gemini-3.8-flash", **user("Hello, world", tools=tools(WEATHER, TIME))}
    assert (await ask(sandbox, target, {"generateContentRequest": inner})).json["totalTokens"] > 50
    for body in (
        {},
        {**user("x"), "generateContentRequest": inner},
        {**user("x"), "tools": []},
        {"generateContentRequest": user("x")},
    ):
        assert (await ask(sandbox, target, body)).status == 400


async def test_models_are_listed_in_pages(sandbox: Sandbox) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = (await ask(sandbox, f"/v1beta/models?pageSize=5&pageToken={token}", method="GET")).json
        names += [model["name"] for model in page["models"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert "models/gemini-3.8-flash" in names
    assert len(set(names)) == len(names) > 10
    one = (await ask(sandbox, "/v1/models/gemini-4-neon", method="GET")).json
    assert one["name"] == "models/gemini-4-neon"
    assert "generateContent" in one["supportedGenerationMethods"]
    assert (await ask(sandbox, "/v1beta/models/nobody", method="GET")).status == 404
    assert (await ask(sandbox, "/v1beta/models?pageSize=x", method="GET")).status == 400


async def test_wrapped_answers_hold_the_same(sandbox: Sandbox) -> None:
    reply = (await wrapped(sandbox, user("Hello"))).json
    assert parts_of(reply["response"])[0]["text"] == "Hello! How can I help you today?"
    assert len(reply["traceId"]) == 16
    streamed = await wrapped(sandbox, user("Hello"), method="streamGenerateContent")
    assert streamed.text == "Hello! How can I help you today?"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("text parts type items x".split()), inner, max_size=3)
    ),
    max_leaves=6,
)
WHOLE = {
    "contents": [
        {
            "role": "user",
            "parts": [{"text": "Weather in Oslo?"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
        },
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {"location": "Oslo"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"output": "rain"}}}]},
    ],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "tools": tools(WEATHER, TIME),
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_time"]}},
    "generationConfig": {
        "temperature": 1,
        "stopSequences": ["x"],
        "maxOutputTokens": 100,
        "candidateCount": 2,
        "thinkingConfig": {"thinkingBudget": 5},
        "responseMimeType": "application/json",
        "responseLogprobs": True,
        "logprobs": 2,
        "responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    },
}


@st.composite
def _spoiled(draw: st.DrawFn) -> Any:
    """A good request with something else in one place."""
    body = json.loads(json.dumps(WHOLE))
    node: Any = body
    while True:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 4)) == 0:
            node[key] = draw(_json)
            return body
        node = node[key]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=_json | _spoiled())
async def test_any_json_gets_an_answer_or_a_refusal(sandbox: Sandbox, body: Any) -> None:
    reply = await generate(sandbox, json.dumps(body).encode(), OLD)
    assert reply.status in (200, 400)
    assert ("candidates" in reply.json) == (reply.status == 200)
