"""What the three official SDKs see: openai 0.28, the current openai for Python, and openai for Node."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from fakes.client import call
from fakes.gateway import World
from fakes.google import CITIES, GREETING, PNG, SIGNATURE, THOUGHTS, picture

pytestmark = pytest.mark.timeout(300)  # the first test of a run may bring an SDK

Seen = dict[str, Any]
TEXT = "".join(GREETING)
SDKS = [pytest.param("old", marks=pytest.mark.oldsdk), "new", pytest.param("js", marks=pytest.mark.node)]
MODERN = ["new", pytest.param("js", marks=pytest.mark.node)]
USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Seen:
    """The scenarios of the SDK that a test is parametrised with."""
    made: Seen = request.getfixturevalue(request.param)
    return made


every = pytest.mark.parametrize("seen", SDKS, indirect=True)
modern = pytest.mark.parametrize("seen", MODERN, indirect=True)
only_new = pytest.mark.parametrize("seen", ["new"], indirect=True)
only_old = pytest.mark.parametrize("seen", SDKS[:1], indirect=True)
only_js = pytest.mark.parametrize("seen", SDKS[2:], indirect=True)


@every
def test_text(seen: Seen) -> None:
    made = seen["text"]
    assert made["id"].startswith("chatcmpl-")
    assert (made["object"], made["model"]) == ("chat.completion", "gemini-2.0-flash-exp")
    assert (made["role"], made["content"], made["finish"]) == ("assistant", TEXT, "stop")
    assert USAGE.items() <= made["usage"].items()


@modern
def test_the_request_id_is_visible(seen: Seen) -> None:
    assert seen["text"]["request_id"].startswith("req_")


@every
def test_stream(seen: Seen) -> None:
    made = seen["stream"]
    assert made["content"] == TEXT
    assert made["roles"] == ["assistant"]
    assert made["finish"][-1] == "stop"
    assert set(made["finish"][:-1]) == {None}
    assert made.get("usage", 0) == 0


@only_old
def test_the_old_snippet_meets_no_null_and_no_error_key(seen: Seen) -> None:
    assert (seen["stream"]["nulls"], seen["stream"]["errors"], seen["stream"]["ids"]) == (0, 0, 1)


@modern
def test_usage_in_a_stream_only_on_demand(seen: Seen) -> None:
    made = seen["stream_usage"]
    (usage,) = made["usages"]
    assert USAGE.items() <= usage.items()
    assert made["last_has_it"]


@only_new
def test_the_usage_chunk_has_no_choices(seen: Seen) -> None:
    assert seen["stream_usage"]["choices_with_usage"] == [0]


@every
def test_tools_round_trip(seen: Seen) -> None:
    made = seen["tools"]
    assert (made["finish"], made["name"]) == ("tool_calls", "get_weather")
    assert made["arguments"] == {"location": "Beijing"}
    assert made["answer"] == 'The tools said get_weather={"temp":3}'


@only_new
def test_a_call_carries_its_signature_and_no_text(seen: Seen) -> None:
    made = seen["tools"]
    assert made["content"] is None
    assert re.fullmatch(r"call_[0-9A-Za-z]{24}", made["id"])
    assert made["signature"] == {"google": {"thought_signature": SIGNATURE}}


@modern
def test_parallel_tools_round_trip(seen: Seen) -> None:
    made = seen["parallel"]
    assert (made["ids"], made["cities"]) == (2, list(CITIES))
    assert made["answer"] == 'The tools said get_weather={"output":"result 0"}; get_weather={"output":"result 1"}'


@only_old
def test_legacy_functions(seen: Seen) -> None:
    made = seen["functions"]
    assert (made["finish"], made["name"], made["arguments"]) == (
        "function_call",
        "get_weather",
        {"location": "Beijing"},
    )
    assert made["streamed"] == {"name": "get_weather", "arguments": '{"location":"Beijing"}', "finish": "function_call"}
    assert made["answer"] == 'The tools said get_weather={"temp":3}'


@only_old
def test_engine_in_the_path(seen: Seen) -> None:
    assert (seen["engine"]["content"], seen["engine"]["model"]) == (TEXT, "gemini-2.0-flash-exp")
    assert seen["engine_stream"]["content"] == TEXT


@only_new
def test_stream_helper(seen: Seen) -> None:
    made = seen["helper"]
    assert (made["content"], made["role"], made["finish"]) == (TEXT, "assistant", "stop")
    assert (made["deltas"], made["done"]) == (len(GREETING), 1)


@only_js
def test_stream_helper_of_node(seen: Seen) -> None:
    assert seen["helper"] == {"content": TEXT, "whole": TEXT, "finish": "stop"}


@modern
def test_stream_helper_with_tools(seen: Seen) -> None:
    made = seen["helper_tools"]
    assert made["finish"] == "tool_calls"
    assert made["names"] == ["get_weather", "get_weather"]
    assert made["cities"] == list(CITIES)


@only_js
def test_tool_runner_of_node(seen: Seen) -> None:
    assert seen["run_tools"] == {"answer": 'The tools said get_weather={"output":"3 degrees in Beijing"}'}


@modern
def test_structured_output(seen: Seen) -> None:
    assert seen["parse"] == {"title": "Faust", "year": 1808}


@only_new
def test_structured_output_streamed(seen: Seen) -> None:
    assert seen["parse_stream"] == {"title": "Faust", "year": 1808}


@modern
def test_thoughts_are_reasoning_and_not_content(seen: Seen) -> None:
    made = seen["reasoning"]
    assert (made["content"], made["reasoning"]) == ("42", "".join(THOUGHTS))
    assert (made["streamed_content"], made["streamed"]) == ("42", "".join(THOUGHTS))


@only_new
def test_reasoning_chunks_have_no_content_key(seen: Seen) -> None:
    assert (seen["reasoning"]["mixed"], seen["reasoning"]["tokens"]) == (0, 7)


@every
def test_images_in(seen: Seen) -> None:
    assert seen["image_in"] == {
        "JPEG": "I see image/jpeg",
        "PNG": "I see image/png",
        "GIF": "I see image/png",  # Gemini's list has no GIF: its first frame goes up as PNG
        "WEBP": "I see image/webp",
    }


@every
def test_image_out(seen: Seen, world: World) -> None:
    made = seen["image_out"]
    assert (made["model"], made["finish"]) == ("gemimi-3.0-pro-image", "stop")
    found = re.search(r"!\[image\]\(http://127\.0\.0\.1:\d+(/images/[^)]+\.png)\)", made["content"])
    assert found, made["content"]
    assert made["content"].startswith("Here it is.")
    shown = call(world.gateway.port, "GET", found[1])
    assert (shown.status, shown.header("content-type"), shown.body) == (200, "image/png", PNG)


@only_new
def test_image_out_streamed(seen: Seen) -> None:
    assert re.search(r"!\[image\]\(http://[^)]+\.png\)", seen["image_stream"]["content"])
    assert seen["image_stream"]["model"] == "gemimi-3.0-pro-image"


def test_image_bytes_reach_the_upstream_unchanged(new: Seen, world: World) -> None:
    sent = {}
    for request in world.upstream.requests:
        if request.method != "POST":
            continue
        for part in request.json["contents"][-1]["parts"]:
            if "inlineData" in part:
                sent[part["inlineData"]["mimeType"]] = base64.b64decode(part["inlineData"]["data"])
    assert sent["image/jpeg"] == picture("JPEG")
    assert sent["image/webp"] == picture("WEBP")
    assert sent["image/png"].startswith(b"\x89PNG")


@every
def test_models(seen: Seen) -> None:
    made = seen["models"]
    assert {"gemini-2.0-flash-exp", "gemimi-3.0-pro-image"} <= set(made["ids"])
    assert made["one"] == "gemini-2.0-flash-exp"


@only_new
def test_model_ids_with_a_prefix(seen: Seen) -> None:
    assert seen["models"]["prefixed"] in ("gemini-2.0-flash-exp", "models/gemini-2.0-flash-exp")


@only_new
def test_a_missing_model_is_not_found(seen: Seen) -> None:
    assert (seen["models_missing"]["raised"], seen["models_missing"]["status"]) == ("NotFoundError", 404)


@only_new
def test_a_blocked_prompt_is_a_filtered_answer(seen: Seen) -> None:
    assert (seen["blocked"]["finish"], seen["blocked"]["content"]) == ("content_filter", "")


@only_new
def test_a_cut_answer_says_length(seen: Seen) -> None:
    assert (seen["shortened"]["finish"], seen["shortened"]["content"]) == ("length", "So it")


@every
def test_an_error_in_the_middle_raises(seen: Seen) -> None:
    made = seen["stream_error"]
    assert made["content"] == "so far"
    assert made["raised"] in ("APIError", "ServiceUnavailableError")
    assert "The model broke off." in made["message"]


@only_new
def test_a_cut_stream_raises(seen: Seen) -> None:
    made = seen["stream_death"]
    assert (made["content"], made["raised"], made["code"]) == ("so far", "APIError", "upstream_stream_truncated")


@only_js
def test_a_cut_stream_raises_in_the_helper(seen: Seen) -> None:
    assert seen["helper_error"]["raised"]
    assert "content" not in seen["helper_error"]


CLASSES = [
    ("bad_key", 401, "AuthenticationError", "AuthenticationError"),
    ("bad_request", 400, "InvalidRequestError", "BadRequestError"),
    ("no_model", 404, "InvalidRequestError", "NotFoundError"),
    ("limited", 429, "RateLimitError", "RateLimitError"),
    ("failing", 500, "APIError", "InternalServerError"),
]


@every
@pytest.mark.parametrize(("scenario", "status", "old_class", "new_class"), CLASSES)
def test_error_classes(seen: Seen, scenario: str, status: int, old_class: str, new_class: str) -> None:
    made = seen[scenario]
    assert made["status"] == status
    assert made["raised"] == (old_class if "engine" in seen else new_class)
    error = made["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert isinstance(error["code"], str)
    headers = {name.lower(): value for name, value in made["headers"].items()}
    assert headers["x-request-id"].startswith("req_")
    if status == 429:
        assert headers["retry-after"] == "7"


@only_new
@pytest.mark.parametrize("scenario", ["no_model_stream", "limited_stream"])
def test_errors_before_a_stream_keep_their_status(seen: Seen, scenario: str) -> None:
    assert seen[scenario]["status"] in (404, 429)
