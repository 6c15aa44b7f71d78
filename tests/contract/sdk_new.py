"""Drives the current openai package in its own environment: a JSON job on stdin, what was seen as JSON on stdout."""

import json
import sys

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
MODEL = "gemini-2.0-flash-exp"
JOB = json.load(sys.stdin)
client = openai.OpenAI(base_url=JOB["base_url"], api_key=JOB["key"], max_retries=0, timeout=20)


class Book(BaseModel):
    title: str
    year: int


def user(text):
    return [{"role": "user", "content": text}]


def ask(text, **fields):
    messages = text if isinstance(text, list) else user(text)
    made = client.chat.completions.create(**{"model": MODEL, "messages": messages, **fields})
    if isinstance(made, ChatCompletion):
        ChatCompletion.model_validate(made.model_dump(), strict=True)
    return made


def whole(response):
    choice = response.choices[0]
    return {
        "id": response.id,
        "object": response.object,
        "model": response.model,
        "role": choice.message.role,
        "content": choice.message.content,
        "finish": choice.finish_reason,
        "usage": response.usage.model_dump(exclude_none=True),
        "request_id": response._request_id,
    }


def text():
    return whole(ask("Hello"))


def chunks(text, **fields):
    seen = []
    for chunk in ask(text, stream=True, **fields):
        ChatCompletionChunk.model_validate(chunk.model_dump(exclude_unset=True), strict=True)
        seen.append(chunk)
    return seen


def stream():
    seen = chunks("Hello")
    return {
        "content": "".join(c.choices[0].delta.content or "" for c in seen),
        "roles": [c.choices[0].delta.role for c in seen if c.choices[0].delta.role],
        "finish": [c.choices[0].finish_reason for c in seen],
        "usage": sum(c.usage is not None for c in seen),
        "ids": len({(c.id, c.created, c.model) for c in seen}),
    }


def stream_usage():
    seen = chunks("Hello", stream_options={"include_usage": True})
    return {
        "usages": [c.usage.model_dump(exclude_none=True) for c in seen if c.usage],
        "choices_with_usage": [len(c.choices) for c in seen if c.usage],
        "last_has_it": seen[-1].usage is not None,
    }


def tools():
    history = user("What is the weather in Beijing?")
    first = ask(history, tools=[TOOL])
    message = first.choices[0].message
    call = message.tool_calls[0]
    history += [message, {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"temp": 3})}]
    second = ask(history, tools=[TOOL])
    return {
        "finish": first.choices[0].finish_reason,
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "content": message.content,
        "id": call.id,
        "signature": (call.model_extra or {}).get("extra_content"),
        "answer": second.choices[0].message.content,
    }


def parallel():
    history = user("Compare two cities")
    message = ask(history, tools=[TOOL]).choices[0].message
    history.append(message)
    for number, call in reversed(list(enumerate(message.tool_calls))):
        history.append({"role": "tool", "tool_call_id": call.id, "content": f"result {number}"})
    return {
        "ids": len({c.id for c in message.tool_calls}),
        "cities": [json.loads(c.function.arguments)["location"] for c in message.tool_calls],
        "answer": ask(history, tools=[TOOL]).choices[0].message.content,
    }


def helper():
    with client.chat.completions.stream(model=MODEL, messages=user("Hello")) as opened:
        events = [event.type for event in opened]
        final = opened.get_final_completion()
    return {
        "content": final.choices[0].message.content,
        "role": final.choices[0].message.role,
        "finish": final.choices[0].finish_reason,
        "deltas": events.count("content.delta"),
        "done": events.count("content.done"),
    }


def helper_tools():
    with client.chat.completions.stream(model=MODEL, messages=user("Compare two cities"), tools=[TOOL]) as opened:
        final = opened.get_final_completion()
    calls = final.choices[0].message.tool_calls
    return {
        "finish": final.choices[0].finish_reason,
        "names": [c.function.name for c in calls],
        "cities": [json.loads(c.function.arguments)["location"] for c in calls],
        "ids": len({c.id for c in calls}),
        "content": final.choices[0].message.content,
    }


def parse():
    made = client.chat.completions.parse(model=MODEL, messages=user("A book as JSON"), response_format=Book)
    return made.choices[0].message.parsed.model_dump()


def parse_stream():
    with client.chat.completions.stream(model=MODEL, messages=user("A book as JSON"), response_format=Book) as opened:
        return opened.get_final_completion().choices[0].message.parsed.model_dump()


def reasoning():
    message = ask("think").choices[0].message
    streamed = [c.choices[0].delta for c in chunks("think")]
    return {
        "content": message.content,
        "reasoning": message.reasoning_content,
        "streamed": "".join((d.model_extra or {}).get("reasoning_content", "") for d in streamed),
        "streamed_content": "".join(d.content or "" for d in streamed),
        "mixed": sum("reasoning_content" in (d.model_extra or {}) and d.content is not None for d in streamed),
        "tokens": ask("think").usage.completion_tokens_details.reasoning_tokens,
    }


def image_in():
    made = {}
    for form, url in JOB["images"].items():
        parts = [{"type": "text", "text": "What is in this?"}, {"type": "image_url", "image_url": {"url": url}}]
        made[form] = ask([{"role": "user", "content": parts}]).choices[0].message.content
    return made


def image_out():
    return whole(ask("Draw a cute cat", model="gemimi-3.0-pro-image"))


def image_stream():
    seen = chunks("Draw a cute cat", model="gemimi-3.0-pro-image")
    return {"content": "".join(c.choices[0].delta.content or "" for c in seen), "model": seen[0].model}


def models():
    listed = client.models.list()
    return {
        "object": listed.object,
        "ids": [m.id for m in listed.data],
        "one": client.models.retrieve(MODEL).id,
        "prefixed": client.models.retrieve("models/" + MODEL).id,
    }


def models_missing():
    return client.models.retrieve("no-such-model").id


def blocked():
    return whole(ask("something forbidden"))


def shortened():
    return whole(ask("cut short"))


def stream_error(words="Please break off"):
    seen = ""
    try:
        for chunk in ask(words, stream=True):
            seen += chunk.choices[0].delta.content or ""
    except openai.APIError as raised:
        return {"content": seen, "raised": type(raised).__name__, "message": raised.message, "code": raised.code}
    return {"content": seen, "raised": None}


def stream_death():
    return stream_error("die")


def bad_key():
    return client.with_options(api_key="sk-wrong").chat.completions.create(model=MODEL, messages=user("Hello"))


def bad_request():
    return ask("Hello", temperature="warm")


def no_model():
    return ask("Hello", model="no-such-model")


def no_model_stream():
    return ask("Hello", model="no-such-model", stream=True)


def limited():
    return ask("too often")


def limited_stream():
    return ask("too often", stream=True)


def failing():
    return ask("internal")


SCENARIOS = (
    text, stream, stream_usage, tools, parallel, helper, helper_tools, parse, parse_stream, reasoning, image_in,
    image_out, image_stream, models, models_missing, blocked, shortened, stream_error, stream_death, bad_key,
    bad_request, no_model, no_model_stream, limited, limited_stream, failing,
)  # fmt: skip


def main():
    made = {}
    for scenario in SCENARIOS:
        try:
            made[scenario.__name__] = scenario()
        except openai.APIStatusError as raised:
            made[scenario.__name__] = {
                "raised": type(raised).__name__,
                "status": raised.status_code,
                "error": raised.body,
                "headers": dict(raised.response.headers),
            }
        except Exception as raised:  # noqa: BLE001 - what else a client may trip over is a finding, no crash
            made[scenario.__name__] = {"raised": type(raised).__name__, "message": str(raised)}
    json.dump(made, sys.stdout)


main()
