"""Drives openai 0.28 in its own environment: a JSON job on stdin, what every scenario saw as JSON on stdout."""

import json
import sys

import openai

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
MODEL = "gemini-2.0-flash-exp"


def ask(text, **fields):
    messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
    return openai.ChatCompletion.create(**{"model": MODEL, "messages": messages, **fields})


def whole(response):
    choice = response.choices[0]
    return {
        "id": response.id,
        "object": response.object,
        "model": response.model,
        "role": choice.message.role,
        "content": choice.message.get("content"),
        "finish": choice.finish_reason,
        "usage": dict(response.usage),
    }


def text():
    return whole(ask("Hello"))


def stream():
    seen = list(ask("Hello", stream=True))
    return {
        "content": "".join(c.choices[0].delta.get("content", "") for c in seen),
        "roles": [c.choices[0].delta["role"] for c in seen if "role" in c.choices[0].delta],
        "finish": [c.choices[0].finish_reason for c in seen],
        "nulls": sum(value is None for c in seen for value in c.choices[0].delta.values()),
        "ids": len({c.id for c in seen}),
        "errors": sum("error" in c for c in seen),
    }


def engine():
    return whole(openai.ChatCompletion.create(engine=MODEL, messages=[{"role": "user", "content": "Hello"}]))


def engine_stream():
    seen = openai.ChatCompletion.create(engine=MODEL, messages=[{"role": "user", "content": "Hello"}], stream=True)
    return {"content": "".join(c.choices[0].delta.get("content", "") for c in seen)}


def tools():
    history = [{"role": "user", "content": "What is the weather in Beijing?"}]
    first = ask(history, tools=[TOOL])
    message = first.choices[0].message
    call = message.tool_calls[0]
    history += [
        message.to_dict_recursive(),
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"temp": 3})},
    ]
    second = ask(history, tools=[TOOL])
    return {
        "finish": first.choices[0].finish_reason,
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "answer": second.choices[0].message.content,
    }


def functions():
    declared = [TOOL["function"]]
    history = [{"role": "user", "content": "What is the weather in Beijing?"}]
    first = ask(history, functions=declared)
    message = first.choices[0].message
    history += [
        message.to_dict_recursive(),
        {"role": "function", "name": message.function_call.name, "content": '{"temp": 3}'},
    ]
    second = ask(history, functions=declared)
    streamed = {"name": "", "arguments": "", "finish": None}
    for chunk in ask(history[:1], functions=declared, stream=True):
        call = chunk.choices[0].delta.get("function_call", {})
        streamed["name"] += call.get("name", "")
        streamed["arguments"] += call.get("arguments", "")
        streamed["finish"] = chunk.choices[0].finish_reason or streamed["finish"]
    return {
        "finish": first.choices[0].finish_reason,
        "name": message.function_call.name,
        "arguments": json.loads(message.function_call.arguments),
        "streamed": streamed,
        "answer": second.choices[0].message.content,
    }


def image_in(job):
    made = {}
    for form, url in job["images"].items():
        parts = [{"type": "text", "text": "What is in this?"}, {"type": "image_url", "image_url": {"url": url}}]
        made[form] = ask([{"role": "user", "content": parts}]).choices[0].message.content
    return made


def image_out():
    return whole(ask("Draw a cute cat", model="gemimi-3.0-pro-image"))


def models():
    listed = openai.Model.list()
    return {"object": listed.object, "ids": [m.id for m in listed.data], "one": openai.Model.retrieve(MODEL).id}


def stream_error():
    seen = ""
    try:
        for chunk in ask("Please break off", stream=True):
            seen += chunk.choices[0].delta.get("content", "")
    except openai.error.OpenAIError as raised:
        return {"content": seen, "raised": type(raised).__name__, "message": str(raised)}
    return {"content": seen, "raised": None}


def bad_key():
    return ask("Hello", api_key="sk-wrong")


def bad_request():
    return ask("Hello", temperature="warm")


def no_model():
    return ask("Hello", model="no-such-model")


def limited():
    return ask("too often")


def failing():
    return ask("internal")


SCENARIOS = (
    text, stream, engine, engine_stream, tools, functions, image_in, image_out, models, stream_error,
    bad_key, bad_request, no_model, limited, failing,
)  # fmt: skip


def main():
    job = json.load(sys.stdin)
    openai.api_base = job["base_url"]
    openai.api_key = job["key"]
    made = {}
    for scenario in SCENARIOS:
        try:
            made[scenario.__name__] = scenario(job) if scenario is image_in else scenario()
        except openai.error.OpenAIError as raised:
            made[scenario.__name__] = {
                "raised": type(raised).__name__,
                "status": raised.http_status,
                "error": (raised.json_body or {}).get("error"),
                "headers": dict(raised.headers or {}),
            }
        except Exception as raised:  # noqa: BLE001 - what else a client may trip over is a finding, no crash
            made[scenario.__name__] = {"raised": type(raised).__name__, "message": str(raised)}
    json.dump(made, sys.stdout)


main()
