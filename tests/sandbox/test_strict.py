"""What Google refuses is refused here, with its words; what it takes is taken."""

from typing import Any

import pytest

from antigravity2api.sandbox import Sandbox
from sandbox.rawclient import PIXEL, WEATHER, generate, tools, user

ESCAPE = "skip_thought_signature_validator"


def config(**settings: Any) -> dict[str, Any]:
    return user("Hello", generationConfig=settings)


def turns(*contents: Any) -> dict[str, Any]:
    """Contents from texts (user) and lists: ``[role, part, …]``."""
    made = [
        {"role": "user", "parts": [{"text": item}]}
        if isinstance(item, str)
        else {"role": item[0], "parts": [{"text": part} if isinstance(part, str) else part for part in item[1:]]}
        for item in contents
    ]
    return {"contents": made, "tools": tools()}


def call(name: str = "get_weather", **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"location": "Oslo"}}, **more}


def result(name: str = "get_weather", **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"output": "rain"}, **more}}


def declares(**function: Any) -> dict[str, Any]:
    return user("Hello", tools=tools({"name": "f", **function}))


def parameters(**schema: Any) -> dict[str, Any]:
    return declares(parameters={"type": "OBJECT", "properties": schema})


def image(mime_type: str = "image/png", data: str = PIXEL) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": mime_type, "data": data}}]}]}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"p": schema}}
    return schema


OLD = "gemini-2.5-flash"
NEW = "gemini-3.8-flash"
FOUR = "gemini-4-argon"

REFUSED: list[tuple[str, Any, str]] = [
    # bodies that do not fit the message
    (OLD, {**user("x"), "foo": 1}, 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
    (OLD, config(x=1), "Invalid JSON payload received. Unknown name \"x\" at 'generation_config': Cannot find field."),
    (OLD, config(thinkingConfig={"thinking": 1}), "Unknown name \"thinking\" at 'generation_config.thinking_config'"),
    (OLD, [], "Root element must be a message."),
    (OLD, {"contents": "Hello"}, "Invalid value at 'contents' (type.googleapis.com/google.ai.generativelanguage"),
    (OLD, {"contents": ["Hello"]}, "Invalid value at 'contents[0]' (type.googleapis.com/google.ai.generativelanguage"),
    (OLD, {"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"),
    (OLD, {"contents": [{"parts": [{"text": "a", "inlineData": {}}]}]}, "oneof field 'data' is already set"),
    (OLD, {"contents": [{"parts": [{"image_url": "x"}]}]}, "Unknown name \"image_url\" at 'contents[0].parts[0]'"),
    (OLD, {**user("x"), "systemInstruction": []}, "Proto field is not repeating, cannot start list."),
    (OLD, {**user("x"), "generationConfig": {}, "generation_config": {}}, "is already set"),
    (OLD, config(temperature="hot"), "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\""),
    (OLD, config(maxOutputTokens=1.5), "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), 1.5"),
    (OLD, config(seed=2**31), "Invalid value at 'generation_config.seed' (TYPE_INT32), 2147483648"),
    (OLD, config(responseLogprobs="yes"), "(TYPE_BOOL)"),
    (OLD, config(stopSequences="END"), "Invalid value at 'generation_config.stop_sequences' (TYPE_STRING)"),
    (OLD, config(responseModalities=["text"]), "GenerationConfig.Modality"),
    (OLD, user("x", safetySettings=[{"category": "HARM", "threshold": "OFF"}]), 'HarmCategory), "HARM"'),
    (OLD, user("x", serviceTier="FLEX"), "ServiceTier"),
    (OLD, user("x", audioTimestamp=True), 'Unknown name "audioTimestamp"'),
    (OLD, image(data="data:image/png;base64,AAAA"), '(TYPE_BYTES), Base64 decoding failed for "data:image/png'),
    (OLD, image(data="A"), "Base64 decoding failed"),
    # contents
    (OLD, {}, "* GenerateContentRequest.contents: contents is not specified"),
    (OLD, {"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
    (OLD, {"contents": [{"role": "user"}]}, "contents.parts must not be empty"),
    (OLD, {"contents": [{"role": "user", "parts": []}]}, "contents.parts must not be empty"),
    (OLD, {"contents": [{"role": "user", "parts": [{}]}]}, "parts[0].data: required oneof field 'data' must have one"),
    (OLD, {"contents": [{"role": "user", "parts": [{"thought": True}]}]}, "required oneof field 'data'"),
    (OLD, turns(["assistant", "Hi"]), "Please use a valid role: user, model."),
    (OLD, turns(["function", result()]), "Please use a valid role: user, model."),
    (OLD, turns(["system", "Hi"]), "Content with system role is not supported."),
    (OLD, turns(["model", "Hi"], "Hello"), "start with a user role"),
    (NEW, turns("Hello", ["model", "Once upon"]), "end with a user role"),
    (FOUR, turns("Hello", ["model", "Once upon"]), "end with a user role"),
    (
        OLD,
        user("x", systemInstruction={"parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}),
        "only contain text",
    ),
    (OLD, user("x", systemInstruction={"parts": []}), "must not be empty"),
    (OLD, user("x", cachedContent="cachedContents/x"), "CachedContent not found"),
    # media
    (OLD, image("image/gif"), "Unsupported MIME type: image/gif"),
    (OLD, image("image/jpg"), "Unsupported MIME type: image/jpg"),
    (OLD, image("image/svg+xml"), "Unsupported MIME type"),
    (OLD, image("application/octet-stream"), "Unsupported MIME type"),
    (OLD, image(""), "mime_type: required field is missing"),
    (OLD, image(data=""), "data: required field is missing"),
    (
        OLD,
        {"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/x.png"}}]}]},
        "Unsupported file URI type: gs://b/x.png",
    ),
    # order
    (OLD, turns(["user", call()], "x"), "Function call parts must be in a content of the model role"),
    (
        OLD,
        turns("x", ["model", call()], ["model", result()]),
        "Function response parts must be in a content of the user",
    ),
    (
        OLD,
        turns("x", ["model", "Hm."], ["model", call()], ["user", result()]),
        "function call turn comes immediately after",
    ),
    (OLD, turns("x", ["user", result()]), "function response turn comes immediately after a function call turn"),
    (OLD, turns("x", ["model", call()], "and?"), "number of function response parts is equal"),
    (OLD, turns("x", ["model", call(), call("get_time")], ["user", result()]), "number of function response parts"),
    (OLD, turns("x", ["model", call()], ["user", result(), result()]), "number of function response parts"),
    (
        OLD,
        turns("x", ["model", call(), call("get_time")], ["user", result()], ["user", result("get_time")]),
        "number of",
    ),
    (OLD, turns("x", ["model", call()]), "number of function response parts"),
    (OLD, turns("x", ["model", call()], ["user", result("get_time")]), "expected `get_weather`, found `get_time`"),
    (OLD, turns("x", ["model", call(), call("get_time")], ["user", result("get_time"), result()]), "the order of"),
    (
        OLD,
        turns("x", ["model", {"functionCall": {"name": "f", "id": "a"}}], ["user", result("f", id="b")]),
        "expected `a`, found `b`",
    ),
    (
        OLD,
        turns("x", ["model", {"functionCall": {"name": "f", "id": "a"}}], ["user", result("f")]),
        "expected `a`, found ``",
    ),
    (NEW, turns("x", ["model", call(thoughtSignature=ESCAPE)], ["user", result()]), "is missing an id"),
    (OLD, turns("x", ["model", {"functionCall": {"args": {}}}], ["user", result()]), "Name cannot be empty"),
    (OLD, turns("x", ["model", call()], ["user", {"functionResponse": {"name": "get_weather"}}]), "response: required"),
    (
        OLD,
        turns("x", ["model", call()], ["user", result(response="rain")]),
        "(type.googleapis.com/google.protobuf.Struct)",
    ),
    (
        OLD,
        turns(
            "x", ["model", call()], ["user", result(parts=[{"inlineData": {"mimeType": "image/png", "data": PIXEL}}])]
        ),
        "Multimodal function response is not supported",
    ),
    # generationConfig
    (OLD, config(temperature=2.1), "temperature must be in the range [0.0, 2.0]"),
    (OLD, config(temperature=-1), "temperature must be in the range"),
    (OLD, config(topP=1.1), "top_p must be in the range"),
    (OLD, config(topK=0), "top_k must be positive"),
    (OLD, config(presencePenalty=2), "presence_penalty must be in the range"),
    (FOUR, config(presencePenalty=0.5), "Penalty is not enabled"),
    (FOUR, config(frequencyPenalty=0.5), "Penalty is not enabled"),
    (FOUR, config(candidateCount=2), "Multiple candidates is not enabled"),
    (NEW, config(candidateCount=2), "Multiple candidates is not enabled"),
    (OLD, config(candidateCount=9), "candidate_count must be in the range [1, 8]"),
    (OLD, config(candidateCount=0), "candidate_count must be in the range [1, 8]"),
    (OLD, config(logprobs=3), "only allowed when response_logprobs"),
    (OLD, config(responseLogprobs=True, logprobs=21), "logprobs must be in the range"),
    (NEW, config(responseLogprobs=True), "Logprobs is not enabled"),
    (OLD, config(maxOutputTokens=0), "maxOutputTokens value of 0"),
    (OLD, config(maxOutputTokens=65537), "supported range is from 1 (inclusive) to 65537 (exclusive)"),
    ("gemini-2.0-flash", config(maxOutputTokens=8193), "to 8193 (exclusive)"),
    (OLD, config(stopSequences=list("abcdef")), "at most 5 stop sequences"),
    (OLD, config(stopSequences=[""]), "stop sequences cannot be empty"),
    (OLD, config(responseMimeType="application/pdf"), "allowed mimetypes are"),
    (OLD, config(responseSchema={"type": "STRING"}), "only allowed when response_mime_type"),
    (OLD, config(responseJsonSchema={"type": "string"}), "only allowed when response_mime_type"),
    (OLD, config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}), "cannot both be set"),
    (OLD, config(responseMimeType="text/x.enum"), "a schema with an enum is required"),
    (OLD, config(responseModalities=["IMAGE"]), "combination of response modalities"),
    (OLD, config(imageConfig={"aspectRatio": "1:1"}), "Image generation is not enabled"),
    ("gemini-3-pro-image", config(imageConfig={"aspectRatio": "5:7"}), "aspect_ratio must be one of"),
    ("gemini-3-pro-image", config(imageConfig={"imageSize": "1k"}), "image_size must be one of"),
    ("gemini-2.5-flash-image", config(imageConfig={"imageSize": "1K"}), "Image size is not supported"),
    ("gemini-3-pro-image", user("x", tools=tools()), "Function calling is not enabled"),
    # thinking
    (OLD, config(thinkingConfig={"thinkingLevel": "LOW"}), "Thinking level is not supported for this model."),
    (NEW, config(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 5}), "You can only set only one of"),
    (
        NEW,
        config(thinkingConfig={"thinkingLevel": "MINIMAL"}),
        "Thinking level MINIMAL is not supported for this model.",
    ),
    (FOUR, config(thinkingConfig={"thinkingLevel": "MINIMAL"}), "Thinking level MINIMAL is not supported"),
    (FOUR, config(thinkingConfig={"thinkingLevel": "XHIGH"}), "Thinking level XHIGH is not supported"),
    (FOUR, config(thinkingConfig={"thinkingBudget": 1024}), "Thinking budget is not supported"),
    (NEW, config(thinkingConfig={"thinkingLevel": "DEEP"}), 'ThinkingConfig.ThinkingLevel), "DEEP"'),
    (
        "gemini-2.5-pro",
        config(thinkingConfig={"thinkingBudget": 0}),
        "Budget 0 is invalid. This model only works in thinking",
    ),
    ("gemini-2.5-pro", config(thinkingConfig={"thinkingBudget": 100}), "choose a value between 128 and 32768"),
    (OLD, config(thinkingConfig={"thinkingBudget": 30000}), "The thinking budget 30000 is invalid"),
    (
        OLD,
        config(thinkingConfig={"thinkingBudget": 0, "includeThoughts": True}),
        "include_thoughts is only enabled when",
    ),
    ("gemini-2.0-flash", config(thinkingConfig={"includeThoughts": True}), "Thinking is not enabled"),
    # tools
    (OLD, user("x", tools=[{}]), "required one_of 'tool_type'"),
    (OLD, user("x", tools=tools({**WEATHER, "name": "get weather"})), "Invalid function name"),
    (OLD, user("x", tools=tools({**WEATHER, "name": "1st"})), "Invalid function name"),
    (OLD, user("x", tools=tools({**WEATHER, "name": "n" * 65})), "maximum length of 64"),
    (OLD, user("x", tools=tools(WEATHER, WEATHER)), "Duplicate function declaration found: get_weather"),
    (OLD, declares(parameters={"type": "OBJECT"}, parametersJsonSchema={"type": "object"}), "cannot both be set"),
    (OLD, declares(parameters={"type": "STRING"}), "should be of type OBJECT"),
    (OLD, declares(parametersJsonSchema={"type": "string"}), "should be of type OBJECT"),
    (OLD, declares(parametersJsonSchema=[]), "schema must be a JSON object"),
    (OLD, user("x", tools=[*tools(), {"googleSearch": {}}]), "Tool use with function calling is unsupported"),
    (NEW, user("x", tools=[*tools(), {"googleSearch": {}}]), "include_server_side_tool_invocations"),
    (
        OLD,
        {**config(responseMimeType="application/json"), "tools": tools()},
        "Function calling with a response mime type",
    ),
    (OLD, user("x", toolConfig={"functionCallingConfig": {"mode": "ANY"}}), "set without function_declarations"),
    (
        OLD,
        user("x", tools=tools(), toolConfig={"functionCallingConfig": {"mode": "REQUIRED"}}),
        "FunctionCallingConfig.Mode",
    ),
    (
        OLD,
        user("x", tools=tools(), toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}),
        "Allowed function name `g` is not declared",
    ),
    (
        OLD,
        user(
            "x",
            tools=tools(),
            toolConfig={"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["get_time"]}},
        ),
        "only when function calling mode is ANY",
    ),
    ("gemma-3-27b-it", user("x", systemInstruction={"parts": [{"text": "x"}]}), "Developer instruction is not enabled"),
    # schemas
    (
        OLD,
        declares(parameters={"$schema": "x", "type": "OBJECT"}),
        "Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters': Cannot find field.",
    ),
    (
        OLD,
        parameters(p={"type": "STRING", "const": "x"}),
        "Unknown name \"const\" at 'tools[0].function_declarations[0].parameters.properties[0].value'",
    ),
    (
        OLD,
        declares(parameters={"type": "OBJECT", "additionalProperties": False}),
        'Unknown name "additionalProperties"',
    ),
    (OLD, parameters(p={"type": ["STRING", "NULL"]}), 'Unknown name "type" at'),
    (OLD, parameters(p={"type": "TEXT"}), 'Type), "TEXT"'),
    (OLD, parameters(p={"oneOf": []}), 'Unknown name "oneOf"'),
    (OLD, parameters(p={"exclusiveMinimum": 1}), 'Unknown name "exclusiveMinimum"'),
    (OLD, parameters(p={"type": "STRING", "enum": [1, 2]}), "enum[0]' (TYPE_STRING), 1"),
    (OLD, parameters(p={"type": "INTEGER", "enum": ["1"]}), "enum: only allowed for STRING type"),
    (OLD, parameters(p={"type": "STRING", "enum": ["a", ""]}), "enum[1]: cannot be empty"),
    (OLD, parameters(p={"type": "ARRAY"}), "properties[p].items: missing field."),
    (
        OLD,
        declares(parameters={"type": "OBJECT", "properties": {}, "required": ["p"]}),
        "required[0]: property is not defined",
    ),
    (OLD, declares(parametersJsonSchema=nested(40)), "maximum schema depth exceeded"),
    (
        OLD,
        declares(parametersJsonSchema={"type": "object", "properties": {"p": {"$ref": "#/$defs/P"}}}),
        "undefined schema",
    ),
    (
        OLD,
        declares(
            parametersJsonSchema={
                "type": "object",
                "properties": {"p": {"$ref": "#/$defs/P", "description": "x"}},
                "$defs": {"P": {"type": "string"}},
            }
        ),
        "`$ref` cannot stand beside `description`",
    ),
    (
        OLD,
        declares(parametersJsonSchema={"type": "object", "properties": {"p": {"type": "text"}}}),
        "unknown type 'text'",
    ),
]

TAKEN: list[tuple[str, Any]] = [
    (OLD, user("")),
    (OLD, declares(parameters={"type": 6, "properties": {"p": {"type": 1}}})),
    (NEW, user("Hello")),
    (NEW, {"contents": [{"parts": [{"text": "No role"}]}]}),
    (NEW, {"contents": {"parts": {"text": "One message where a list belongs"}}}),
    (
        NEW,
        {
            **user("x"),
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "generation_config": {"max_output_tokens": "5"},
        },
    ),
    (NEW, {**user("x"), "tools": None, "generationConfig": {"temperature": None}}),
    (NEW, {**user("x"), "model": "models/gemini-3.8-flash"}),
    (NEW, turns("Pick a number.", ["model", "Seven."], "Double it.")),
    (NEW, turns("One", "Two")),
    (OLD, turns("Hello", ["model", "Once upon"])),
    (
        OLD,
        config(
            temperature=1,
            topP=0.85,
            topK=50,
            candidateCount=1,
            maxOutputTokens=8096,
            stopSequences=["END"],
            seed=7,
            presencePenalty=0.0,
            frequencyPenalty=0.0,
            responseLogprobs=True,
            logprobs=3,
            responseMimeType="application/json",
            responseJsonSchema={"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
            responseModalities=["TEXT"],
            mediaResolution="MEDIA_RESOLUTION_LOW",
            thinkingConfig={"includeThoughts": True, "thinkingBudget": 1024},
        ),
    ),
    (
        NEW,
        user(
            "x",
            safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}],
            serviceTier="standard",
        ),
    ),
    (NEW, image()),
    (NEW, image(data=PIXEL.replace("+", "-").replace("/", "_").rstrip("="))),
    (
        NEW,
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {
                            "fileData": {
                                "mimeType": "video/mp4",
                                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x",
                            },
                            "videoMetadata": {"startOffset": "10s", "endOffset": "25.5s", "fps": 2},
                            "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                        },
                        {"text": "Summarise the clip."},
                    ],
                }
            ]
        },
    ),
    (NEW, user("x", tools=[{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}])),
    (NEW, user("x", tools=[*tools(), {"googleSearch": {}}], toolConfig={"includeServerSideToolInvocations": True})),
    (NEW, {**config(responseMimeType="application/json"), "tools": tools()}),
    (NEW, config(temperature=0.2, topP=0.5, topK=3)),
    (FOUR, config(candidateCount=1, thinkingConfig={"thinkingLevel": "low"})),
    ("gemini-4-neon", config(thinkingConfig={"thinkingLevel": "XHIGH"})),
    ("gemini-3.6-flash", config(thinkingConfig={"thinkingLevel": "MINIMAL"})),
    ("gemini-3-flash-preview", config(thinkingConfig={"thinkingBudget": 1024})),
    ("gemini-2.5-flash", config(thinkingConfig={"thinkingBudget": -1, "includeThoughts": True})),
    ("gemini-2.5-flash-lite", config(thinkingConfig={"thinkingBudget": 0})),
    (
        "gemini-nano-banana-2.1",
        config(responseModalities=["TEXT", "IMAGE"], imageConfig={"aspectRatio": "16:9", "imageSize": "1K"}),
    ),
    ("gemini-9-newest", config(thinkingConfig={"thinkingLevel": "LOW"})),
    (OLD, turns("x", ["model", "Hm.", call()], ["user", result(), "look at this"], "and now?")),
    (
        NEW,
        turns(
            "x",
            ["model", {"functionCall": {"id": "c1", "name": "shot"}, "thoughtSignature": ESCAPE}],
            ["user", result("shot", id="c1", parts=[{"inlineData": {"mimeType": "image/png", "data": PIXEL}}])],
        ),
    ),
    (
        OLD,
        user("x", tools=tools({"name": "no_arguments"}), toolConfig={"functionCallingConfig": {"mode": "VALIDATED"}}),
    ),
    (
        OLD,
        parameters(
            p={"type": "string", "nullable": True, "minLength": "1"},
            q={"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
        ),
    ),
    (
        OLD,
        declares(
            parametersJsonSchema={
                "$schema": "x",
                "type": "object",
                "additionalProperties": False,
                "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}},
                "properties": {
                    "n": {"$ref": "#/$defs/N"},
                    "t": {"type": ["string", "null"]},
                    "e": {"enum": [1, "a", None]},
                    "c": {"const": 4},
                },
            }
        ),
    ),
    (NEW, user("x", labels={"team": "a"}, store=False)),
]


@pytest.mark.parametrize(("model", "body", "message"), REFUSED)
async def test_refused(sandbox: Sandbox, model: str, body: Any, message: str) -> None:
    reply = await generate(sandbox, body, model)
    assert reply.status == (403 if "CachedContent" in message else 400), reply.body
    assert message in reply.error["message"]
    assert reply.error["code"] == reply.status
    assert reply.error["status"] == ("PERMISSION_DENIED" if reply.status == 403 else "INVALID_ARGUMENT")
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize(("model", "body"), TAKEN)
async def test_taken(sandbox: Sandbox, model: str, body: Any) -> None:
    reply = await generate(sandbox, body, model)
    assert reply.status == 200, reply.body
    assert reply.json["candidates"][0]["finishReason"] in ("STOP", "MAX_TOKENS")


async def test_every_violation_is_named(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, {**user("x"), "a": 1, "generationConfig": {"b": 1}})
    violations = reply.error["details"][0]["fieldViolations"]
    assert [item.get("field") for item in violations] == [None, "generation_config"]
    assert reply.error["message"] == "\n".join(item["description"] for item in violations)
    assert reply.error["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"


@pytest.mark.parametrize(
    "body", [b"{", b"", b'{"contents": [}', b"\xff\xfe", b"[" * 2000, b'{"a":' * 150 + b"1" + b"}" * 150]
)
async def test_what_is_no_json_is_refused(sandbox: Sandbox, body: bytes) -> None:
    reply = await generate(sandbox, body)
    assert reply.status == 400
    assert reply.error["message"].startswith("Invalid JSON payload received.")


async def test_a_prompt_beyond_the_window_is_refused(sandbox: Sandbox) -> None:
    reply = await generate(sandbox, user("word " * 1_000_000))
    assert (
        "The input token count (1250000) exceeds the maximum number of tokens allowed (1048576)."
        in reply.error["message"]
    )


@pytest.mark.parametrize(
    "model",
    [
        "there-is-no-such-model",
        "gpt-4o",
        "claude-opus-4-6-thinking",
        "gemini-fault-no-such-fault",
        "Gemini-2.5-flash",
        "text-embedding-004",
        "gemini-embedding-001",
        "gemini-",
        "gemini-x%2fy",
    ],
)
async def test_unknown_models_are_404(sandbox: Sandbox, model: str) -> None:
    reply = await generate(sandbox, user("x"), model)
    assert reply.status == 404
    if "%" not in model:
        assert reply.error["message"].startswith(
            f"models/{model} is not found for API version v1beta, or is not supported for"
        )
    assert reply.error["status"] == "NOT_FOUND"


async def test_keys(sandbox: Sandbox) -> None:
    body = user("Hello")
    assert (await generate(sandbox, body, authorization="Bearer anything")).status == 200
    reply = await generate(sandbox, body, accept="*/*")
    assert (reply.status, reply.error["status"]) == (403, "PERMISSION_DENIED")
    for key, status, word in (
        ("invalid", 400, "API_KEY_INVALID"),
        ("expired", 400, "API_KEY_INVALID"),
        ("leaked", 403, "leaked"),
        ("limited", 429, "RetryInfo"),
        ("exhausted", 429, "PerDay"),
    ):
        reply = await generate(sandbox, body, x_goog_api_key=key)
        assert reply.status == status
        assert word in reply.body.decode()
    assert (await generate(sandbox, body, authorization="Bearer expired")).status == 401
