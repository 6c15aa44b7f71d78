"""Signatures: what is remembered, for how long, under which keys, and for whom it is valid."""

from __future__ import annotations

import base64

import pytest

from antigravity2api.gemini.signature import (
    ESCAPE,
    MemorySignatures,
    Signed,
    args_key,
    call_key,
    image_key,
    is_escape,
    same_signature,
    signature_bytes,
    text_key,
    usable,
)

SIGNED = Signed("c2lnbmF0dXJl", "gemini-3", "gemini")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_put_comes_back_until_it_is_too_old() -> None:
    clock = Clock()
    store = MemorySignatures(ttl=60, clock=clock)
    store.put("a", SIGNED)
    clock.now += 59
    assert store.get("a") is SIGNED
    clock.now += 2
    assert store.get("a") is None
    assert len(store) == 0
    assert store.size == 0


def test_the_entry_not_used_for_longest_goes_first() -> None:
    store = MemorySignatures(max_entries=2)
    store.put("a", SIGNED)
    store.put("b", SIGNED)
    assert store.get("a")
    store.put("c", SIGNED)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]


def test_bytes_are_bounded_and_counted() -> None:
    store = MemorySignatures(max_bytes=10_000)
    for index in range(100):
        store.put(f"key{index}", Signed("x" * 1000, "f", "u"))
        assert store.size <= 10_000
    assert 0 < len(store) < 10
    store.put("huge", Signed("x" * 20_000, "f", "u"))
    assert store.get("huge") is None
    assert len(store) > 0


def test_putting_again_replaces() -> None:
    store = MemorySignatures()
    store.put("a", SIGNED)
    size = store.size
    store.put("a", Signed("other+signature", "gemini-3", "gemini"))
    assert store.get("a") == Signed("other+signature", "gemini-3", "gemini")
    assert len(store) == 1
    assert store.size == size + len("other+signature") - len(SIGNED.signature)


def test_a_key_too_large_to_stay_forgets_what_it_held() -> None:
    store = MemorySignatures(max_bytes=1000)
    store.put("a", SIGNED)
    store.put("a", Signed("x" * 2000, "f", "u"))
    assert store.get("a") is None
    assert store.size == 0


def test_keys_tell_kinds_apart_and_stay_short() -> None:
    keys = {call_key("x"), args_key("f", "x", {}), image_key("x"), text_key("f", "x")}
    assert len(keys) == 4
    assert len(call_key("x" * 10_000)) < 100
    assert call_key("x" * 10_000) != call_key("x" * 10_001)
    assert call_key("half \ud800 pair") == call_key("half \ud800 pair")


def test_arguments_count_by_meaning() -> None:
    key = args_key("gemini-3", "f", {"a": 1, "b": [1.0, {"c": "é"}]})
    assert key == args_key("gemini-3", "f", {"b": [1, {"c": "é"}], "a": 1.0})
    assert key != args_key("gemini-3", "f", {"a": 2, "b": [1.0, {"c": "é"}]})
    assert key != args_key("gemini-2.5", "f", {"a": 1, "b": [1.0, {"c": "é"}]})
    assert key != args_key("gemini-3", "g", {"a": 1, "b": [1.0, {"c": "é"}]})
    assert args_key("f", "n", {"a": True}) != args_key("f", "n", {"a": 1})
    assert args_key("f", "n", {"big": 2**80}) == args_key("f", "n", {"big": 2**80})
    assert args_key("f", "n", {"half": "\ud800"}) == args_key("f", "n", {"half": "\ud800"})


@pytest.mark.parametrize(
    "value",
    [
        ESCAPE,
        "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
        "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I",
        "context_engineering_is_the_way_to_go",
        base64.b64encode(b"context_engineering_is_the_way_to_go").decode(),
    ],
)
def test_every_spelling_of_the_escape_is_known(value: str) -> None:
    assert is_escape(value)


@pytest.mark.parametrize(
    "value", [None, 7, "", "skip", "c2lnbmF0dXJl", "x" * 40, "é" * 40, [ESCAPE], ESCAPE + "=" * 40]
)
def test_what_is_no_escape(value: object) -> None:
    assert not is_escape(value)


def test_signatures_are_equal_by_their_bytes() -> None:
    raw = bytes(range(250, 256)) + b"\xfb\xff\x00"
    standard, safe = base64.b64encode(raw + b"x").decode(), base64.urlsafe_b64encode(raw + b"x").decode()
    assert standard != safe
    assert same_signature(standard, safe)
    assert same_signature(standard, safe.rstrip("="))
    assert not same_signature(standard, "AAAA")
    assert same_signature("no base64!", "no base64!")
    assert not same_signature("no base64!", "nor this!")
    assert signature_bytes("é") is None


def test_a_signature_stays_with_its_family_and_upstream() -> None:
    assert usable(SIGNED, "gemini-3", "gemini")
    assert usable(SIGNED, "gemini-3", "")
    assert not usable(SIGNED, "gemini-4", "gemini")
    assert not usable(SIGNED, "gemini-3", "antigravity")
    assert not usable(None, "gemini-3", "gemini")
