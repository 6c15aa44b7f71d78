"""One gate for all spellings of a key."""

from __future__ import annotations

import pytest

from antigravity2api.server.auth import Keys

KEYS = Keys(["sk-one", "sk-two"])


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-one"},
        {"authorization": "bearer sk-two"},
        {"x-api-key": "sk-one"},
        {"x-goog-api-key": "sk-two"},
        {"api-key": "sk-one"},
    ],
)
def test_a_good_key_is_accepted_under_every_name(headers: dict[str, str]) -> None:
    assert KEYS.accepts(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "sk-one"},
        {"authorization": "Basic sk-one"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer sk-one, Bearer sk-one"},
        {"authorization": "Bearer SK-ONE"},
        {"authorization": "Bearer sk-on"},
        {"authorization": "Bearer sk-one' OR '1'='1"},
        {"authorization": "Basic x", "x-api-key": "sk-one"},
        {"x-api-key": ""},
        {"x-api-key": "sk-\udcff"},
    ],
)
def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    assert KEYS.accepts(headers) is None


def test_the_public_name_tells_nothing_of_the_key() -> None:
    name = KEYS.accepts({"x-api-key": "sk-one"})
    assert name is not None and "one" not in name and name != KEYS.accepts({"x-api-key": "sk-two"})


def test_no_keys_accept_nothing() -> None:
    assert Keys([]).accepts({"authorization": "Bearer "}) is None
