"""The lists a backend can be asked for: models, quota, the account's project."""

from __future__ import annotations

from collections.abc import Sequence

from antigravity2api.sandbox.families import is_served, profile
from antigravity2api.sandbox.google import GoogleError, Json, bad, model_not_found, page_of

MODELS: Sequence[str] = (
    "gemini-4-neon", "gemini-4-hydrogen", "gemini-4-carbon", "gemini-4-argon", "gemini-3.8-flash", "gemini-3.7-flash",
    "gemini-3.6-flash", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview",
    "gemini-3.1-pro-preview-customtools", "gemini-3.1-flash-lite", "gemini-3-flash-preview", "gemini-2.5-pro",
    "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.0-flash", "gemini-flash-latest", "gemini-flash-lite-latest",
    "gemini-pro-latest", "gemini-3-pro-image", "gemini-3.1-flash-image", "gemini-3.1-flash-lite-image",
    "gemini-2.5-flash-image", "gemini-nano-banana-2.1", "gemini-3.8-flash-tts", "gemini-3.8-flash-lite-tts",
    "gemma-4-31b-it", "gemma-4-26b-a4b-it",
)  # fmt: skip
"""What the list shows; any other name of these kinds is served too."""

CODE_ASSIST_MODELS: Sequence[tuple[str, str]] = (
    ("gemini-3.7-flash-high", "Gemini 3.7 Flash (High)"),
    ("gemini-3.6-flash-high", "Gemini 3.6 Flash (High)"),
    ("gemini-3-flash-agent", "Gemini 3.5 Flash (High)"),
    ("gemini-3.5-flash-low", "Gemini 3.5 Flash (Medium)"),
    ("gemini-3.5-flash-extra-low", "Gemini 3.5 Flash (Low)"),
    ("gemini-3-flash", "Gemini 3 Flash"),
    ("gemini-pro-agent", "Gemini 3.1 Pro (High)"),
    ("gemini-3.1-pro-low", "Gemini 3.1 Pro (Low)"),
    ("gemini-3.1-flash-lite", "Gemini 3.1 Flash Lite"),
    ("gemini-3.1-flash-image", "Gemini 3.1 Flash Image"),
    ("claude-opus-4-6-thinking", "Claude Opus 4.6 (Thinking)"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("gpt-oss-120b-medium", "GPT-OSS 120B (Medium)"),
)
PROJECT = "sandbox-project-1"


def model_resource(model: str, version: str) -> Json:
    """One model as ``models.get`` shows it."""
    if not is_served(model):
        raise model_not_found(model, version)
    found = profile(model)
    resource: Json = {
        "name": f"models/{model}",
        "version": model.removeprefix("gemini-").split("-")[0],
        "displayName": " ".join(word.capitalize() for word in model.split("-")),
        "description": "Answered by the sandbox, not by a model.",
        "inputTokenLimit": found.input_limit or 1_048_576,
        "outputTokenLimit": found.output_limit or 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
    }
    if found.thinking != "none":
        resource["thinking"] = True
    return resource


def list_models(query: dict[str, str], version: str) -> Json:
    """One page of ``models.list``."""
    models, following = page_of(MODELS, query)
    page: Json = {"models": [model_resource(model, version) for model in models]}
    return {**page, "nextPageToken": following} if following else page


def available_models(reset_time: str) -> Json:
    """``fetchAvailableModels``: a map by id; a share of zero is left out, as proto3 does."""
    models: Json = {}
    for name, title in CODE_ASSIST_MODELS:
        found = profile(name)
        models[name] = {
            "displayName": title,
            "maxTokens": found.input_limit,
            "maxOutputTokens": found.output_limit,
            "supportsImages": found.family != "gpt-oss",
            "quotaInfo": {"remainingFraction": 0.82, "resetTime": reset_time},
        }
        if found.thinking != "none":
            models[name]["supportsThinking"] = True
    models["gpt-oss-120b-medium"]["quotaInfo"] = {"resetTime": reset_time}
    models["tab_flash_lite_preview"] = {"displayName": "tab"}
    return {"models": models, "defaultAgentModelId": CODE_ASSIST_MODELS[0][0], "agentModelSorts": []}


def user_quota(reset_time: str) -> Json:
    """``retrieveUserQuota``: one bucket with something left, one without."""
    return {
        "buckets": [
            {
                "remainingAmount": "840",
                "remainingFraction": 0.84,
                "resetTime": reset_time,
                "tokenType": "REQUESTS",
                "modelId": "gemini-3.1-pro-preview",
            },
            {"resetTime": reset_time, "tokenType": "REQUESTS", "modelId": "gemini-2.5-pro"},
        ]
    }


def code_assist_account(*, onboarded: bool) -> Json:
    """``loadCodeAssist`` for an account that has its project, or for one that has never been here."""
    free: Json = {"id": "free-tier", "name": "Free tier", "isDefault": True}
    standard: Json = {"id": "standard-tier", "name": "Standard tier", "userDefinedCloudaicompanionProject": True}
    if not onboarded:
        return {
            "allowedTiers": [
                {**free, "privacyNotice": {"showNotice": True, "noticeText": "A sandbox keeps nothing."}},
                standard,
            ]
        }
    current = {
        "id": "free-tier",
        "name": "Free tier",
        "description": "The sandbox's only tier.",
        "hasAcceptedTos": True,
    }
    return {"currentTier": current, "allowedTiers": [free, standard], "cloudaicompanionProject": PROJECT}


def check_onboarding(request: Json) -> None:
    """The free tier has a project of Google's; every other needs the user's."""
    tier = request.get("tierId")
    if tier not in ("free-tier", "standard-tier", "legacy-tier"):
        raise bad(f"Tier {tier!r} is not known.")
    if (tier == "free-tier") == bool(request.get("cloudaicompanionProject")):
        raise GoogleError(400, "Precondition check failed.", status="FAILED_PRECONDITION")


def operation(name: str, *, done: bool, project: str = PROJECT) -> Json:
    """A long-running operation of ``onboardUser``."""
    if not done:
        return {"name": name, "done": False}
    return {
        "name": name,
        "done": True,
        "response": {
            "@type": "type.googleapis.com/google.internal.cloud.code.v1internal.OnboardUserResponse",
            "cloudaicompanionProject": {"id": project, "name": project, "projectNumber": "123456789"},
        },
    }
