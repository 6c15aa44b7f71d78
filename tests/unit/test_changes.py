"""Every short note has a sentence."""

from __future__ import annotations

import pytest

from antigravity2api.changes import explained


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("model:gemini-x", "has the model as gemini-x"),
        ("max_tokens:clamped 65536", "max_tokens was more than the model takes; 65536 was sent"),
        ("frequency_penalty:dropped", "frequency_penalty is refused by this model"),
        ("user:ignored", "user has no counterpart"),
        ("google.thinking_config:unknown keys ignored", "google.thinking_config has keys"),
        ("messages[3].content[0]:thoughts are not sent back", "messages[3].content[0]"),
        ("schema:OPENAPI", "sent as OPENAPI"),
        ("schema.format", "format in a schema"),
        ("tools[0]:dropped", "tools[0] is refused"),
        ("topK", "topK is not known to the upstream"),
        ("coerced:f", "arguments of f had the wrong JSON type"),
        ("signatures:escaped", "escape value"),
        ("tool.get_weather:loosened", "schema of tool get_weather; it was sent in a looser form"),
        ("tool.get_weather:reduced", "went into the description"),
        ("tool.get_weather:dropped", "tool get_weather in every form"),
        ("response_format:described", "an instruction asked for it"),
        ("response_format:asked again", "did not fit the schema"),
        ("thinkingConfig:off without the signed thought of these calls", "signed thought"),
        ("thinkingLevel:HIGH", "highest thinking level"),
        ("continued:3", "in 3 pieces"),
    ],
)
def test_a_note_in_words(note, words):
    assert words in explained(note)


def test_what_is_no_note_stays():
    assert explained("some thing: else") == "some thing: else"
