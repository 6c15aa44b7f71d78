"""What may stand in a sentence that clients see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.upstreams.masking import MAX_TEXT, mask

UNCHANGED = [
    "API key not valid. Please pass a valid API key.",
    "* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 10",
    "limit: 10, model: gemini-3.8-flash\nPlease retry in 34.074824224s.",
    "For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
    "Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
    "Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
    "Expected OAuth 2 access token, login cookie or other valid authentication credential.",
    "messages.13.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
    "Invalid JSON payload received. Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters'",
    "a temperature value of 1000 but the supported range is from 0 (inclusive) to 2.0001 (exclusive)",
    "models/gemini-2.0-flash-exp is not found for API version v1beta, or is not supported for generateContent.",
    "max_tokens: 100000 > 64000, key: value, limit:10000, 12:30:45, ratio 16:9",
    "The project settings and the project quota allow nothing.",
    "Ünïcödé 你好 🙂 stays",
]


@pytest.mark.parametrize("text", UNCHANGED)
def test_a_plain_sentence_stays_as_it_is(text):
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("used AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSyA"),
        ("token ya29.a0AfH6SMBx-long_token", "a0AfH6"),
        ("Authorization: Bearer abc.def-ghi123", "abc.def"),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcj"),
        ("GET /v1beta/models?key=plain-secret-1 failed", "plain-secret"),
        ("x-goog-api-key: some-very-long-key-value", "some-very"),
        ('{"api_key": "abcdef123456"}', "abcdef"),
        ("refresh 1//0gABCDEFGHIJKLMN-x", "0gABC"),
        ("client GOCSPX-abc_def", "GOCSPX"),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "eyJ"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
        ("for bob.smith+x@example.com here", "bob.smith"),
        ("robot@my-proj.iam.gserviceaccount.com is denied", "my-proj"),
        ("in projects/secret-name/locations/x", "secret-name"),
        ("in project 123456789 before", "123456789"),
        ("in project secret-name-1.", "secret-name"),
        ("project 'quoted'", "quoted"),
        ("consumer 'project_number:987654321'", "987654321"),
        ("from backend-7.prod.internal:8443", "backend-7"),
        ("at db1.corp.google.com now", "db1"),
        ("xyz.sandbox.googleapis.com said", "sandbox"),
        ("at 10.11.12.13:9000 refused", "10.11"),
        ("at [2001:db8::1]:443", "2001"),
        ("localhost:8080 closed", "8080"),
        ("open /home/borg/server/x.cc:12", "borg"),
        ("see https://wiki.corp.example.com/page?x=1 for", "wiki"),
        ("http://ai.google.dev.evil.example/x", "evil"),
        ("https://console.developers.google.com/apis?project=12345", "12345"),
    ],
)
def test_secrets_and_inner_names_are_masked_in_place(text, hidden):
    masked = mask(text)
    assert hidden in text
    assert hidden not in masked
    assert "*" in masked or "[" in masked


def test_the_very_secret_is_masked_wherever_it_stands():
    assert mask("you sent k-1234/x, k-1234/x", ["k-1234/x", ""]) == "you sent ***, ***"
    assert mask("from gw.my.example and gw.my.example:81", hosts=["gw.my.example"]) == "from [host] and [host]"


def test_what_forges_or_hides_is_stripped():
    assert mask("\x1b[31mred\x1b[0m\x00 a\r\nb\x7f \u202eevil\u200b \x1b]0;title\x07x\ty") == "red a\nb evil x\ty"


def test_long_texts_are_cut():
    assert len(mask("word " * 5000)) <= MAX_TEXT
    assert mask("word " * 5000).endswith("…")


def test_emails_may_stay_where_they_are_wanted():
    assert mask("for bob@example.com", emails=False) != mask("for bob@example.com")


@given(text=st.text(max_size=300), secret=st.text("abcdef-123", min_size=8, max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_secret_never_survives(text, secret):
    assert secret not in mask(text + secret + text, [secret])


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "x-",
        "1:",
        "[:",
        "a@",
        "key=",
        "projects/",
        "project ",
        "bearer ",
        "http://",
        "/app/",
        "\x1b[",
        "eyJaaaaaaaaa.",
    ],
)
def test_a_text_that_only_repeats_comes_to_a_bounded_end(piece):
    assert len(mask(piece * 8000)) <= MAX_TEXT
