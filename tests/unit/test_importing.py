"""Files of other programs: what is read, and one clear sentence for everything else."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antigravity2api.credentials import Sort
from antigravity2api.importing import Parsed, parse_credentials

NOW = 1_764_000_000.0
ACCOUNT = {
    "access_token": "ya29.access",
    "refresh_token": "1//refresh",
    "expires_in": 3599,
    "timestamp": 1_763_999_000_000,
    "enable": True,
    "projectId": "bold-owl-123",
}
AUTHORIZED = {
    "type": "authorized_user",
    "client_id": "123.apps.googleusercontent.com",
    "client_secret": "their-own",
    "refresh_token": "1//user",
    "quota_project_id": "quota-project",
    "account": "me@example.com",
    "universe_domain": "googleapis.com",
}
SERVICE = {
    "type": "service_account",
    "project_id": "some-project",
    "private_key_id": "abc",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
    "client_email": "bot@some-project.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}
FEDERATED = {"type": "external_account", "audience": "//iam", "credential_source": {"file": "/var/run/token"}}


def parse(value: object, upstream: str = "antigravity", **more) -> Parsed:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_credentials(raw, upstream, now=NOW, name="accounts.json", **more)


def only(parsed: Parsed):
    assert parsed.problems == []
    (record,) = parsed.records
    return record


# --- what is read ----------------------------------------------------------------------------------------------------


def test_an_account_of_the_ancestor():
    record = only(parse([ACCOUNT]))
    assert (record.id, record.upstream, record.sort) == ("", "antigravity", Sort.OAUTH_USER)
    assert record.secret == {
        "refresh_token": "1//refresh",
        "access_token": "ya29.access",
        "expires_at": 1_764_002_599.0,
        "project_unverified": True,
    }
    assert record.project == "bold-owl-123"
    assert record.enabled


@pytest.mark.parametrize(
    ("enable", "used"), [(True, True), (False, False), (None, True), ("false", False), ("true", True), (0, False)]
)
def test_the_switch_of_the_ancestor(enable, used):
    assert only(parse([{**ACCOUNT, "enable": enable}])).enabled is used


def test_an_account_without_a_switch_is_used():
    assert only(parse([{key: value for key, value in ACCOUNT.items() if key != "enable"}])).enabled


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"accounts": [one]}])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n \t"])
def test_one_or_a_list_with_or_without_a_byte_order_mark(wrap, mark):
    assert only(parse(mark + json.dumps(wrap(ACCOUNT)).encode())).secret["refresh_token"] == "1//refresh"


@pytest.mark.parametrize(
    ("fields", "expires"),
    [
        ({"timestamp": 1_764_000_000_000, "expires_in": 60}, NOW + 60),
        ({"timestamp": 1_764_000_000, "expires_in": 60}, NOW + 60),
        ({"timestamp": "1764000000000", "expires_in": "60"}, NOW + 60),
        ({"expiry_date": 1_764_000_060_000}, NOW + 60),
        ({"expires_at": NOW + 60}, NOW + 60),
        ({}, 0.0),
        ({"timestamp": 1_764_000_000_000}, 0.0),
        ({"timestamp": True, "expires_in": 60}, 0.0),
        ({"timestamp": 1e400, "expires_in": 60}, 0.0),
        ({"timestamp": -5, "expires_in": 60}, 0.0),
        ({"timestamp": [], "expires_in": {}}, 0.0),
        ({"timestamp": 10**400, "expires_in": 60}, 0.0),
    ],
)
def test_when_an_access_token_expires(fields, expires):
    account = {"refresh_token": "1//r", "access_token": "ya29.a", **fields}
    assert only(parse([account])).secret["expires_at"] == expires


def test_a_refresh_token_alone_is_enough():
    record = only(parse({"refresh_token": "1//r"}))
    assert record.secret == {"refresh_token": "1//r", "project_unverified": True}
    assert record.project is None


def test_an_access_token_alone_serves_until_it_expires():
    parsed = parse({"access_token": "ya29.a", "expires_at": NOW + 60})
    record = only(parsed)
    assert record.sort is Sort.ACCESS_TOKEN
    assert "no refresh token" in parsed.notes[0]
    assert "expired and no refresh token" in parse({"access_token": "ya29.a", "expires_at": NOW - 60}).problems[0]


@pytest.mark.parametrize("project", ["../x", "a b", 7, {"id": "x"}, "x" * 200, "\ud800"])
def test_a_project_that_cannot_be_one_is_left_out_and_said(project):
    parsed = parse([{**ACCOUNT, "projectId": project}])
    assert only(parsed).project is None
    assert "left out" in parsed.notes[0]


def test_an_authorized_user():
    record = only(parse(AUTHORIZED))
    assert record.sort is Sort.OAUTH_USER
    assert record.secret == {
        "refresh_token": "1//user",
        "client_id": "123.apps.googleusercontent.com",
        "client_secret": "their-own",
        "project_unverified": True,
    }
    assert (record.project, record.label) == ("quota-project", "me@example.com")
    vertex = only(parse(AUTHORIZED, "vertex"))
    assert vertex.upstream == "vertex"
    assert "project_unverified" not in vertex.secret


def test_a_service_account():
    record = only(parse(SERVICE, "vertex"))
    assert (record.sort, record.project, record.label) == (
        Sort.SERVICE_ACCOUNT,
        "some-project",
        "bot@some-project.iam.gserviceaccount.com",
    )
    assert record.secret == SERVICE


def test_a_service_account_for_antigravity_is_taken_with_a_word_of_warning():
    parsed = parse(SERVICE)
    assert only(parsed).secret == {**SERVICE, "project_unverified": True}
    assert "--upstream vertex" in parsed.notes[0]


def test_a_federated_credential_stays_a_file():
    parsed = parse(FEDERATED, "vertex", path="/etc/federated.json")
    assert only(parsed).sort is Sort.DEFAULT
    assert parsed.records[0].secret == {"file": "/etc/federated.json"}
    assert "keep it there" in parsed.notes[0]
    assert "name its file" in parse(FEDERATED, "vertex").problems[0]
    assert "--upstream vertex" in parse(FEDERATED, "antigravity", path="/x").problems[0]


def test_an_export_of_ours_says_itself_what_it_is_for():
    entry = {"antigravity2api": 1, "upstream": "gemini", "sort": "api_key", "secret": {"key": "AIza"}, "weight": 7}
    record = only(parse(entry, ""))
    assert (record.upstream, record.sort, record.weight, dict(record.secret)) == (
        "gemini",
        Sort.API_KEY,
        7,
        {"key": "AIza"},
    )
    assert "--upstream gemini" in parse(entry, "vertex").problems[0]


@pytest.mark.parametrize(
    "change",
    [
        {"sort": "other"},
        {"sort": "oauth_user"},
        {"upstream": "nobody"},
        {"upstream": "vertex"},
        {"secret": []},
        {"secret": {}},
        {"secret": {"key": 1}},
        {"secret": None},
        {"weight": 0},
        {"weight": "x"},
        {"priority": 10**9},
    ],
)
def test_a_broken_export(change):
    entry = {"antigravity2api": 1, "upstream": "gemini", "sort": "api_key", "secret": {"key": "AIza"}, **change}
    assert "no whole export" in parse(entry, "").problems[0]


# --- what is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (json.dumps([ACCOUNT]).encode("utf-16"), "not UTF-8"),
        (json.dumps([ACCOUNT]).encode("utf-16-le"), "zero bytes"),
        ('{"refresh_token": "é"}'.encode("latin-1"), "not UTF-8"),
        (b"\0" * 100, "zero bytes"),
        (b"refresh_token=1//x", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "JSON"),
        (b"1" * 10_000, "JSON"),
        (b"[]", "empty list"),
        (b"{}", "holds no credential"),
        (b'{"accounts": []}', "empty list"),
        (b'{"accounts": 7}', "holds no credential"),
        (b'"text"', "holds no credential"),
        (b"null", "holds no credential"),
        (b"[7]", "is not a JSON object"),
        (b"[[]]", "is not a JSON object"),
        (b'{"a": 1}', "holds no refresh_token"),
        (b'{"refresh_token": 7}', "cannot be one"),
        (b'{"refresh_token": "a b"}', "cannot be one"),
        (b'{"refresh_token": ""}', "holds no refresh_token"),
        (b'{"refresh_token": "\\ud800"}', "cannot be one"),
        (b'{"installed": {"client_id": "x"}}', "OAuth client and no credential"),
        (b'{"type": "gdch_service_account"}', "Distributed Cloud"),
        (b'{"type": "service_account"}', "client_email and private_key and token_uri"),
        (json.dumps({**SERVICE, "private_key": "-----BEGIN PRIVATE KEY-----\nMII"}).encode(), "not whole"),
    ],
)
def test_one_clear_sentence(raw, words):
    parsed = parse(raw)
    assert parsed.records == []
    (problem,) = parsed.problems
    assert problem.startswith("accounts.json ")
    assert problem.endswith(".")
    assert words in problem
    assert "\n" not in problem


def test_a_gemini_key_is_added_not_imported():
    assert "credentials add" in parse([ACCOUNT], "gemini").problems[0]


def test_a_bad_entry_does_not_stop_the_others():
    parsed = parse([ACCOUNT, {"nothing": 1}, "text", {**ACCOUNT, "refresh_token": "1//other"}])
    assert [record.secret["refresh_token"] for record in parsed.records] == ["1//refresh", "1//other"]
    assert [problem.split(" holds ")[0].split(" is ")[0] for problem in parsed.problems] == [
        "accounts.json: entry 2",
        "accounts.json: entry 3",
    ]


@pytest.mark.parametrize("value", [[ACCOUNT], AUTHORIZED, SERVICE, {"accounts": [ACCOUNT, ACCOUNT]}], ids=str)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_cut_off_at_any_byte(value, indent):
    raw = json.dumps(value, indent=indent).encode() + b"\n"
    for length in range(len(raw) - 1):
        parsed = parse(raw[:length], "vertex")
        assert parsed.records == []
        (problem,) = parsed.problems
        assert problem.startswith("accounts.json is ")
        assert "cut off" in problem or "not JSON" in problem


def test_no_problem_quotes_a_secret():
    planted = "1//planted-secret"
    for entry in ({"refresh_token": f"{planted} x"}, {"token": planted}, {**SERVICE, "private_key": planted}, planted):
        parsed = parse([entry])
        assert parsed.records == []
        assert planted not in " ".join(parsed.problems)
        assert planted not in repr(parsed)
    assert "1//refresh" not in repr(parse([ACCOUNT]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*ACCOUNT, *SERVICE, *AUTHORIZED, "accounts", "antigravity2api"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=JSON, upstream=st.sampled_from(["antigravity", "vertex", "gemini", ""]))
def test_anything_gives_records_or_sentences(value, upstream):
    parsed = parse(value, upstream)
    assert parsed.records or parsed.problems
    assert all(record.upstream == upstream for record in parsed.records if upstream)


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_give_sentences(raw):
    parsed = parse(raw)
    assert parsed.records or parsed.problems
