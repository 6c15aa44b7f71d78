"""The rules for ``generationConfig``, ``tools`` and ``toolConfig``, by what the model's family takes."""

from __future__ import annotations

import re

from antigravity2api.sandbox.contents import Rules
from antigravity2api.sandbox.google import GoogleError, Json, bad
from antigravity2api.sandbox.schemas import check_json, check_openapi

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", re.ASCII)
MIME_TYPES = frozenset("text/plain application/json application/xml application/yaml text/x.enum".split())
RATIOS = frozenset("1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 21:9".split())
WIDE_RATIOS = frozenset("1:4 4:1 1:8 8:1".split())
SIZES = frozenset("512 1K 2K 4K".split())
_BUILT_IN = (
    "googleSearch", "googleSearchRetrieval", "urlContext", "codeExecution", "computerUse", "googleMaps", "fileSearch",
    "mcpServers", "retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch",
)  # fmt: skip


def check_config(request: Json, rules: Rules) -> None:
    """Raise Google's 400 for the first setting that the model does not take."""
    config: Json = request.get("generationConfig") or {}
    _check_sampling(config, rules)
    _check_lengths(config, rules)
    _check_format(config)
    _check_thinking(config.get("thinkingConfig") or {}, rules)
    _check_modalities(config, rules)
    _check_tools(request, rules)
    if config.get("responseMimeType") == "application/json" and declared(request) and not rules.profile.json_with_tools:
        raise bad("Function calling with a response mime type: 'application/json' is unsupported")
    if request.get("cachedContent"):
        raise GoogleError(403, "CachedContent not found (or permission denied)")


def declared(request: Json) -> list[Json]:
    """All function declarations of the request."""
    return [item for tool in request.get("tools") or [] for item in tool.get("functionDeclarations") or []]


def has_tool(request: Json, name: str) -> bool:
    """Whether a built-in tool is switched on."""
    return any(name in tool for tool in request.get("tools") or [])


def _in_range(config: Json, key: str, name: str, low: float, high: float) -> None:
    value = config.get(key)
    if value is not None and not low <= value <= high:
        raise bad(f"* GenerateContentRequest.generation_config.{name}: {name} must be in the range [{low}, {high}].\n")


def _check_sampling(config: Json, rules: Rules) -> None:
    _in_range(config, "temperature", "temperature", 0.0, 2.0)
    _in_range(config, "topP", "top_p", 0.0, 1.0)
    if config.get("topK", 1) < 1:
        raise bad("* GenerateContentRequest.generation_config.top_k: top_k must be positive.\n")
    for key, name in (("presencePenalty", "presence_penalty"), ("frequencyPenalty", "frequency_penalty")):
        value = config.get(key)
        if value is None:
            continue
        if not -2.0 <= value < 2.0:
            raise bad(f"* GenerateContentRequest.generation_config.{name}: {name} must be in the range [-2.0, 2.0).\n")
        if rules.profile.family == "gemini-4":
            raise bad(f"Penalty is not enabled for models/{rules.model}")
    count = config.get("candidateCount", 1)
    if not 1 <= count <= 8:
        raise bad(
            "* GenerateContentRequest.generation_config.candidate_count: candidate_count must be in the range [1, 8].\n"
        )
    if count != 1 and not rules.profile.multi_candidate:
        raise bad("Multiple candidates is not enabled for this model")
    if "logprobs" in config:
        if not config.get("responseLogprobs"):
            raise bad(
                "* GenerateContentRequest.generation_config.logprobs: only allowed when response_logprobs is set to "
                "true.\n"
            )
        _in_range(config, "logprobs", "logprobs", 0, 20)
    if config.get("responseLogprobs") and not rules.profile.logprobs:
        raise bad(f"Logprobs is not enabled for models/{rules.model}")


def _check_lengths(config: Json, rules: Rules) -> None:
    limit = rules.profile.output_limit or 65_536
    value = config.get("maxOutputTokens")
    if value is not None and not 1 <= value <= limit:
        raise bad(
            f"Unable to submit request because it has a maxOutputTokens value of {value} but the supported range is "
            f"from 1 "
            f"(inclusive) to {limit + 1} (exclusive). Update the value and try again."
        )
    stops = config.get("stopSequences") or []
    if len(stops) > 5:
        raise bad(
            "* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences are allowed, but "
            "found "
            f"{len(stops)}.\n"
        )
    if "" in stops:
        raise bad("* GenerateContentRequest.generation_config.stop_sequences: stop sequences cannot be empty.\n")


def _check_format(config: Json) -> None:
    path = "GenerateContentRequest.generation_config"
    mime_type = config.get("responseMimeType", "text/plain")
    if mime_type not in MIME_TYPES:
        raise bad(
            f"* {path}.response_mime_type: allowed mimetypes are `text/plain`, `application/json`, `application/xml`, "
            "`application/yaml` and `text/x.enum`.\n"
        )
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise bad(f"* {path}: response_schema and response_json_schema cannot both be set.\n")
    schema = config.get("responseSchema", config.get("responseJsonSchema"))
    if schema is None:
        if mime_type == "text/x.enum":
            raise bad(f"* {path}.response_schema: a schema with an enum is required for `text/x.enum`.\n")
        return
    name = "response_schema" if "responseSchema" in config else "response_json_schema"
    if mime_type not in ("application/json", "text/x.enum"):
        raise bad(
            f"* {path}.{name}: only allowed when response_mime_type is set to `application/json` or `text/x.enum`.\n"
        )
    if name == "response_schema":
        check_openapi(schema, f"{path}.{name}")
    else:
        check_json(schema, f"{path}.{name}")
    if mime_type == "text/x.enum" and not schema.get("enum"):
        raise bad(f"* {path}.{name}: a schema with an enum is required for `text/x.enum`.\n")


def _check_thinking(config: Json, rules: Rules) -> None:
    profile = rules.profile
    if not config or profile.thinking == "any":
        return
    if profile.thinking == "none":
        raise bad(f"Thinking is not enabled for models/{rules.model}")
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is not None and budget is not None:
        raise bad("You can only set only one of thinking budget and thinking level.")
    if level is not None:
        if profile.thinking == "budget":
            raise bad("Thinking level is not supported for this model.")
        if level not in profile.levels:
            raise bad(
                f"Thinking level {level} is not supported for this model. Please retry with other thinking level."
            )
    if budget is None:
        return
    if profile.thinking == "level" and not profile.budget_max:
        raise bad("Thinking budget is not supported for this model. Please use thinking level instead.")
    if budget == 0 and not profile.budget_zero:
        raise bad("Budget 0 is invalid. This model only works in thinking mode.")
    if budget not in (0, -1) and not profile.budget_min <= budget <= profile.budget_max:
        raise bad(
            f"The thinking budget {budget} is invalid. Please choose a value between {profile.budget_min} and "
            f"{profile.budget_max}."
        )
    if budget == 0 and config.get("includeThoughts"):
        raise bad("Thinking_config.include_thoughts is only enabled when thinking is enabled.")


def _check_modalities(config: Json, rules: Rules) -> None:
    profile = rules.profile
    wanted = config.get("responseModalities") or []
    allowed = {"TEXT"} if not profile.audio_output else {"AUDIO"}
    if profile.image_output:
        allowed = {"TEXT", "IMAGE"}
    if profile.known and not set(wanted) <= allowed:
        raise bad(
            f"The requested combination of response modalities ({', '.join(wanted)}) is not supported by the model. "
            f"models/"
            f"{rules.model} accepts the following combination of response modalities:\n* {', '.join(sorted(allowed))}\n"
        )
    image = config.get("imageConfig")
    if image is None:
        return
    if profile.known and not profile.image_output:
        raise bad(f"Image generation is not enabled for models/{rules.model}")
    ratio, size = image.get("aspectRatio"), image.get("imageSize")
    wide = "3.1-flash" in rules.model or "nano-banana" in rules.model or not profile.known
    if ratio is not None and ratio not in (RATIOS | WIDE_RATIOS if wide else RATIOS):
        listed = ", ".join(f"'{item}'" for item in sorted(RATIOS | WIDE_RATIOS if wide else RATIOS))
        raise bad(
            f"* GenerateContentRequest.generation_config.image_config.aspect_ratio: aspect_ratio must be one of "
            f"{listed}.\n"
        )
    if size is None:
        return
    if not profile.image_size:
        raise bad(f"Image size is not supported for models/{rules.model}")
    if size not in SIZES or (size == "512" and not wide):
        raise bad(
            "* GenerateContentRequest.generation_config.image_config.image_size: image_size must be one of 1K, 2K, "
            "4K.\n"
        )


def _check_tools(request: Json, rules: Rules) -> None:
    tools = request.get("tools") or []
    seen: set[str] = set()
    built_in = False
    for number, tool in enumerate(tools):
        path = f"GenerateContentRequest.tools[{number}]"
        if not tool:
            raise bad(f"* {path}.tool_type: required one_of 'tool_type' must have one initialized field\n")
        built_in = built_in or any(name in tool for name in _BUILT_IN)
        for index, function in enumerate(tool.get("functionDeclarations") or []):
            _check_function(function, f"{path}.function_declarations[{index}]", seen)
    if seen and not rules.profile.tools:
        raise bad(f"Function calling is not enabled for models/{rules.model}")
    calling: Json = request.get("toolConfig") or {}
    if seen and built_in:
        if not rules.profile.search_with_tools:
            raise bad("Tool use with function calling is unsupported")
        here = not (rules.wrapped or rules.vertex)  # elsewhere the field is not known
        if rules.profile.known and here and not calling.get("includeServerSideToolInvocations"):
            raise bad(
                "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function "
                "calling."
            )
    _check_choice(calling.get("functionCallingConfig") or {}, seen)


def _check_function(function: Json, path: str, seen: set[str]) -> None:
    name = function.get("name", "")
    if not NAME.fullmatch(name):
        raise bad(
            f"* {path}.name: Invalid function name. Must start with a letter or an underscore. Must be alphanumeric "
            f"(a-z, "
            "A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.\n"
        )
    if name in seen:
        raise bad(f"Duplicate function declaration found: {name}")
    seen.add(name)
    for field, other in (("parameters", "parametersJsonSchema"), ("response", "responseJsonSchema")):
        spelled = field if field == "response" else "parameters"
        if field in function and other in function:
            raise bad(f"* {path}: {spelled} and {spelled}_json_schema cannot both be set.\n")
        if field in function:
            check_openapi(function[field], f"{path}.{field}", top_object=field == "parameters")
        if function.get(other) is not None:
            check_json(function[other], f"{path}.{spelled}_json_schema", top_object=field == "parameters")


def _check_choice(choice: Json, names: set[str]) -> None:
    mode = choice.get("mode", "AUTO")
    if mode in ("ANY", "VALIDATED") and not names:
        raise bad("Function calling config is set without function_declarations.")
    allowed = choice.get("allowedFunctionNames") or []
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise bad("Allowed function names should be set only when function calling mode is ANY or VALIDATED.")
    for name in allowed:
        if name not in names:
            raise bad(f"Allowed function name `{name}` is not declared in function_declarations.")
