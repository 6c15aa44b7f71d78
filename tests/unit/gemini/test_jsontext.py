"""Limits and forgiveness of the JSON readers."""

from __future__ import annotations

import json
import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.jsontext import dumps, escape_line_separators, loads_client, loads_upstream

BIG = 1 << 80
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 90), 1 << 90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=25,
)


def refusal(body: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        loads_client(body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return ('{"a":' + opening * (depth - 1) + closing * (depth - 1) + "}").encode()


@given(value=st.dictionaries(st.text(max_size=8), values, max_size=5))
@settings(max_examples=80, deadline=None)
def test_what_json_says_arrives_unchanged(value):
    assert loads_client(json.dumps(value).encode()) == value
    assert loads_client(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value
    assert json.loads(dumps(value)) == value


@given(body=st.binary(max_size=60) | st.text('[]{}",:0123456789.eE+-\\untrflas \n', max_size=60).map(str.encode))
@settings(max_examples=120, deadline=None)
def test_any_bytes_give_a_dict_or_a_fault(body):
    try:
        value = loads_client(body)
    except Fault as fault:
        value = {"kind": fault.kind}
    assert isinstance(value, dict)
    assert value.get("kind", Kind.INVALID_REQUEST) is Kind.INVALID_REQUEST


@given(body=st.binary(max_size=60) | st.text('[]{}",:0123456789.eE+-\\uNaIfity \n', max_size=60).map(str.encode))
@settings(max_examples=120, deadline=None)
def test_any_upstream_bytes_give_a_value_or_a_value_error(body):
    try:
        value = loads_upstream(body)
    except ValueError:  # the caller's Fault
        return
    assert isinstance(json.loads(dumps(value)), dict | list | str | int | float | bool | None)


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_an_empty_body_is_told_as_such(body):
    assert "empty" in refusal(body).message


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b"true", b"1.5"])
def test_the_top_must_be_an_object(body):
    assert refusal(body).code == "invalid_type"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":}',
        b'{"a":1}}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":01}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        '{"a":1}'.encode("utf-16"),
        b"undefined",
    ],
)
def test_what_is_no_json_is_refused_with_the_words_clients_know(body):
    fault = refusal(body)
    assert fault.message.startswith("Could not parse the JSON body: ")
    assert fault.param is None


def test_a_byte_order_mark_is_tolerated():
    assert loads_client(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert loads_upstream(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_duplicate_keys_and_bytearrays_are_fine():
    assert loads_client(bytearray(b'{"a":1,"a":2}')) == {"a": 2}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}"), ('[{"k":[', "]}]")])
def test_nesting_is_limited_to_64(opening, closing):
    levels = opening.count("[") + opening.count("{")
    inner = opening * 21 + "1" + closing * 21 if levels == 3 else opening * 63 + "1" + closing * 63
    body = f'{{"a":{inner}}}'.encode()
    assert loads_client(body)
    deeper = f'{{"a":[{inner}]}}'.encode()
    assert "64 levels" in refusal(deeper).message


def test_brackets_in_strings_do_not_count():
    text = "[{" * 5000
    assert loads_client(json.dumps({"a": text, "b": text + '"\\' + text}).encode())["a"] == text
    many = json.dumps({"a": [{"b": text + '\\"'}] * 100}).encode()
    assert len(loads_client(many)["a"]) == 100


def test_wide_is_not_deep():
    wide = {"a": [[[i], {"b": {}}] for i in range(5000)]}
    assert loads_client(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_blocks_are_cut_nowhere_that_matters(shift):
    # Escapes, quotes and numbers around the size of a block, at every offset.
    filler = "x" * ((1 << 18) - 20 + shift)
    value = {"a": filler, "q": '\\"' * 40, "deep": [[[["]" * 9]]]], "n": BIG, "r": "\\" * 41}
    assert loads_client(json.dumps(value).encode()) == value
    too_deep = json.dumps({"a": filler + '\\"\\', "b": 0}).replace("0}", "[" * 80 + "]" * 80 + "}")
    assert "levels" in refusal(too_deep.encode()).message


@pytest.mark.slow
def test_bombs_are_refused_without_memory():
    bombs = [b"[" * 2_000_000, b'{"a":' * 500_000, b'{"a":"' + b"\\" * 3_000_001 + b'"}', b'{"a":' + b'"' * 2_000_000]
    for bomb in bombs:
        tracemalloc.start()
        refusal(bomb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 << 20


def test_the_limits_are_checked_without_a_copy_of_the_body(monkeypatch):
    body = b'{"tools":[' + b"{},".join([b""] * 100) + b'{}],"image":"' + b"QUJDRA1234567890" * (1 << 18) + b'"}'
    assert len(loads_client(body)["image"]) == 16 << 18
    monkeypatch.setattr("antigravity2api.gemini.jsontext.orjson.loads", lambda body: {})
    tracemalloc.start()
    loads_client(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("number", ["1" * 65, "-" + "1" * 64, "0." + "1" * 63, "1" * 62 + "e10"])
def test_endless_numbers_are_refused(number):
    assert "64 characters" in refusal(f'{{"a":[{number}]}}'.encode()).message
    assert loads_client(f'{{"a":"{number}"}}'.encode()) == {"a": number}


@pytest.mark.parametrize("number", [10**19, -(10**19), 1 << 64, -(1 << 63) - 1, 18446744073709551615, BIG])
def test_large_integers_survive_both_ways(number):
    value = loads_client(json.dumps({"schema": {"maximum": number}}).encode())
    assert value == {"schema": {"maximum": number}}
    assert type(value["schema"]["maximum"]) is int
    assert json.loads(dumps(value)) == value


def test_a_number_may_stand_across_blocks():
    head = b'{"a":"' + b"x" * ((1 << 18) - 40) + b'","b":'
    assert loads_client(head + b"1" * 60 + b"}")["b"] == int("1" * 60)
    assert "64 characters" in refusal(head + b"1" * 80 + b"}").message


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    body = rb'{"a":"x\ud800y","b":"\\ud800","c":"\ud83d\ude00","\udc00":1,"d":"\uD83D\\"}'
    expected = {"a": "x\ufffdy", "b": "\\ud800", "c": "\U0001f600", "\ufffd": 1, "d": "\ufffd\\"}
    assert loads_client(body) == expected
    assert loads_upstream(body) == expected
    assert dumps({"a": "\ud800"}) == '{"a":"\ufffd"}'.encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":NaN,"b":[NaN,1],"c":{"d":Infinity,"e":-Infinity},"f":1e999}', {"b": [None, 1], "c": {}}),
        (b"NaN", None),
        (b"[NaN]", [None]),
        (b'{"a":1,,"b":2}', {"a": 1, "b": 2}),
        (b'{"a":"x",\n ,\n"b":[1,,2,],}', {"a": "x", "b": [1, 2]}),
        (b'{"a":"1,,2,}",,"b":1}', {"a": "1,,2,}", "b": 1}),
        (b'{"a":"\xff\xfe"}', {"a": "\ufffd\ufffd"}),
        (b'{"a":"line\nbreak"}', {"a": "line\nbreak"}),
    ],
)
def test_upstream_slips_are_forgiven(text, value):
    assert loads_upstream(text) == value


@pytest.mark.parametrize("text", [b"", b"<html>", b'{"a":', b"{'a':1}", b"[" * 100_000, b'{"a":' * 50_000])
def test_upstream_garbage_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  # any message
        loads_upstream(text)


def test_dumps_is_compact_and_unescaped():
    assert dumps({"a": [1, "é"], "b": float("nan")}) == '{"a":[1,"é"],"b":null}'.encode()
    assert dumps({"a": BIG, "b": [float("inf"), (1,)]}) == f'{{"a":{BIG},"b":[null,[1]]}}'.encode()


def test_dumps_gives_up_with_a_value_error():
    value: list = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        dumps(value)


def test_line_separators_are_escaped_only_where_they_stand():
    text = {"a": "x\u2028y\u2029z\u0085", "b": "“quoted” é"}
    escaped = escape_line_separators(orjson.dumps(text))
    assert len(escaped.decode().splitlines()) == 1
    assert json.loads(escaped) == text
    plain = orjson.dumps({"b": "“é”"})
    assert escape_line_separators(plain) is plain


def test_too_many_objects_are_refused_before_they_are_read():
    many = b'{"a":[' + b"{}," * 99_997 + b"{}]}"
    assert len(loads_client(many)["a"]) == 99_998
    for body in (b'{"a":[' + b"{}," * 99_999 + b"{}]}", b'{"a":[' + b'{"b":"c"},' * 200_000 + b"{}]}"):
        with pytest.raises(Fault) as caught:
            loads_client(body)
        assert "100000 objects and arrays" in caught.value.message
    text = b'{"a":"' + b"[{" * 100_000 + b'"}'
    assert len(loads_client(text)["a"]) == 200_000
