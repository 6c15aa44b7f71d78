"""Identifiers: their form, and that no character is likelier than another."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from antigravity2api import ids


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (ids.call_id, r"call_[0-9A-Za-z]{24}"),
        (ids.completion_id, r"chatcmpl-[0-9A-Za-z]{24}"),
        (ids.request_id, r"req_[0-9A-Za-z]{20,32}"),
    ],
)
def test_forms(make: object, form: str) -> None:
    made = {make() for _ in range(100)}  # type: ignore[operator]
    assert len(made) == 100
    assert all(re.fullmatch(form, each) for each in made)


@pytest.mark.parametrize("length", [0, 1, 20, 1000])
def test_length(length: int) -> None:
    assert len(ids.token62(length)) == length


def test_all_characters_are_equally_likely() -> None:
    counts = Counter(ids.token62(62 * 1000))
    assert len(counts) == 62
    assert all(800 < count < 1200 for count in counts.values())  # six standard deviations
    # A plain remainder of a byte would give the first eight a quarter more.
    assert abs(sum(counts[each] for each in "01234567") - 8000) < 600
