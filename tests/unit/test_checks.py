"""What ``doctor`` says about what it saw."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from antigravity2api import checks
from antigravity2api.checks import Folder, Place, Port, Result, Stored, is_asked, upstream_findings
from antigravity2api.credential_checks import Asked, credential_finding
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.settings import load

PLACE = Place("gemini", "generativelanguage.googleapis.com", 443, tls=True, setting="GOOGLE_GEMINI_BASE_URL")
FOLDER = stat.S_IFDIR | 0o700


@pytest.mark.parametrize("seen", Port)
def test_every_state_of_a_port_has_words(seen: Port) -> None:
    found = checks.port_finding("::1", 8045, seen)
    assert "[::1]:8045" in found.meaning or "::1" in found.meaning
    assert bool(found.next) is (found.result is not Result.OK)


def test_who_holds_a_port_is_named() -> None:
    assert "(nginx, process 7)" in checks.port_finding("127.0.0.1", 80, Port.TAKEN, "nginx, process 7").meaning


@pytest.mark.parametrize("seen", Stored)
def test_every_state_of_a_database_has_words(seen: Stored) -> None:
    found = checks.database_finding("/data/x.db", seen, "what SQLite said")
    assert found.check == "database"
    assert bool(found.next) is (found.result is not Result.OK)


@pytest.mark.parametrize(
    ("seen", "result"),
    [
        (Folder("/d", FOLDER), Result.OK),
        (Folder("/d", None, parent="/"), Result.OK),
        (Folder("/d", None, writable=False, parent="/"), Result.PROBLEM),
        (Folder("/d", FOLDER | 0o755), Result.WARNING),
        (Folder("/d", FOLDER | 0o1777), Result.OK),
        (Folder("/d", FOLDER, writable=False), Result.PROBLEM),
        (Folder("/d", FOLDER, enterable=False), Result.PROBLEM),
        (Folder("/d", stat.S_IFDIR), Result.PROBLEM),
        (Folder("/d", stat.S_IFREG | 0o600), Result.PROBLEM),
        (Folder("/d", None, error="Permission denied"), Result.PROBLEM),
    ],
)
def test_the_data_directory(seen: Folder, result: Result) -> None:
    assert checks.folder_finding(seen).result is result


@pytest.mark.parametrize(
    ("free", "files", "result"),
    [
        (1 << 40, None, Result.OK),
        (1 << 40, 1 << 20, Result.OK),
        (1 << 40, 3, Result.PROBLEM),
        (1 << 20, None, Result.PROBLEM),
        (100 << 20, 1 << 20, Result.WARNING),
    ],
)
def test_room(free: int, files: int | None, result: Result) -> None:
    assert checks.room_finding("/d", free, files).result is result


@pytest.mark.parametrize(
    ("date", "skew"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:40", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1000.0),
        ("yesterday", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_the_skew_of_a_date(date: str | None, skew: float | None) -> None:
    assert checks.skew_of(date, 1000.0) == skew


@pytest.mark.parametrize(
    ("skews", "result", "words"),
    [
        ({}, Result.SKIPPED, "not compared"),
        ({"a": 3.0}, Result.OK, "agrees with a"),
        ({"a": -200.0}, Result.WARNING, "3 minutes behind"),
        ({"a": 301.0}, Result.PROBLEM, "5 minutes ahead"),
        ({"a": 4000.0, "b": 1.0}, Result.OK, "agrees with b"),
        ({"a": -90000.0}, Result.PROBLEM, "25 hours behind"),
        ({"a": 9e8}, Result.PROBLEM, "10417 days ahead"),
    ],
)
def test_the_clock(skews: dict[str, float], result: Result, words: str) -> None:
    found = checks.clock_finding(skews, 1_700_000_000.0)
    assert found.result is result
    assert words in found.meaning


@pytest.mark.parametrize(
    ("said", "check"),
    [
        ("The connection to the proxy was refused.", "proxy"),
        ("The proxy refused to connect to the upstream (403).", "proxy"),
        ("Connecting to the proxy took longer than 5 s.", "proxy"),
        ("The upstream's TLS certificate could not be verified.", "tls"),
        ("The TLS handshake with the upstream failed.", "tls"),
        ("The connection to the upstream was refused.", "reach"),
        ("Connecting to the upstream took longer than 5 s.", "reach"),
    ],
)
def test_why_a_host_is_out_of_reach(said: str, check: str) -> None:
    found = checks.unreachable(PLACE, said, proxy="ANTIGRAVITY2API_PROXY (environment)")
    assert (found.check, found.result) == (check, Result.PROBLEM)
    assert found.next


def test_plain_http_beyond_this_machine_is_a_warning() -> None:
    open_place = Place("gemini", "10.0.0.7", 8080, tls=False, setting="GOOGLE_GEMINI_BASE_URL")
    assert checks.reached(open_place, 0.1, loopback=False).result is Result.WARNING
    assert checks.reached(open_place, 0.1, loopback=True).result is Result.OK
    assert checks.reached(PLACE, 0.1, loopback=False).result is Result.OK


def record(sort: Sort = Sort.API_KEY, upstream: str = "gemini", **more: Any) -> Record:
    return Record(id=f"{upstream}-1", upstream=upstream, sort=sort, secret={"key": "hidden"}, **more)


def asked(state: State, message: str = "", *, ok: bool = False, **more: Any) -> Asked:
    return Asked(ok, state, message, **({"link": "", "project": None, "seconds": 0.2} | more))


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("upstream", ["gemini", "vertex", "antigravity"])
def test_every_state_of_every_credential_has_words_and_advice(sort: Sort, state: State, upstream: str) -> None:
    found = credential_finding(record(sort, upstream), asked(state), "it comes from {here}")
    assert found.result is Result.PROBLEM
    assert found.meaning and found.next
    assert "hidden" not in found.meaning + found.next


@pytest.mark.parametrize(
    ("upstream", "message", "words", "result"),
    [
        ("gemini", "User location is not supported for the API use.", "where the request comes from", Result.PROBLEM),
        (
            "gemini",
            "Generative Language API has not been used in project 7 before or it is disabled.",
            "not switched on",
            Result.PROBLEM,
        ),
        ("gemini", "Requests from referer <empty> are blocked.", "limited to other callers", Result.PROBLEM),
        ("gemini", "You exceeded your current quota.", "quota is used up", Result.WARNING),
        ("vertex", "This API method requires billing to be enabled.", "no billing", Result.PROBLEM),
        (
            "vertex",
            "Permission 'aiplatform.endpoints.predict' denied on resource.",
            "lacks a permission",
            Result.PROBLEM,
        ),
        ("antigravity", "Resource has been exhausted (e.g. check quota).", "quota is used up", Result.WARNING),
    ],
)
def test_the_upstreams_own_words_tell_more(upstream: str, message: str, words: str, result: Result) -> None:
    found = credential_finding(record(upstream=upstream), asked(State.READY, message, project="harbor"), "")
    assert found.result is result
    assert words in found.meaning and message in found.meaning
    assert "{project}" not in found.meaning + found.next


def test_the_page_where_it_can_be_mended_is_named() -> None:
    told = asked(State.NEEDS_VERIFICATION, "Verify your account.", link="https://accounts.google.com/verify")
    assert credential_finding(record(upstream="antigravity"), told, "").next.endswith(
        "https://accounts.google.com/verify"
    )


def test_a_credential_that_works() -> None:
    found = credential_finding(record(), asked(State.READY, ok=True, project="harbor"), "")
    assert (found.result, found.meaning) == (Result.OK, "It is accepted (0.2 s, project harbor).")


def test_a_file_with_a_secret() -> None:
    assert checks.secret_file_finding("/f", stat.S_IFREG | 0o600, "The file", refused=True) is None
    for refused, result in ((True, Result.PROBLEM), (False, Result.WARNING)):
        found = checks.secret_file_finding("/f", stat.S_IFREG | 0o644, "The file", refused=refused)
        assert found is not None and found.result is result and "644" in found.meaning


def test_a_stored_vertex_credential_needs_no_switch(tmp_path: Path) -> None:
    stored = record(Sort.SERVICE_ACCOUNT, "vertex", stored=True)
    settings = load({}, {"ANTIGRAVITY2API_DATA_DIR": str(tmp_path)}, tmp_path)
    assert is_asked(settings, stored)
    assert [(one.check, one.result) for one in upstream_findings(settings, [stored])] == [("upstreams", Result.OK)]


def test_a_credential_whose_upstream_is_not_in_the_order_is_told(tmp_path: Path) -> None:
    env = {"ANTIGRAVITY2API_DATA_DIR": str(tmp_path), "ANTIGRAVITY2API_UPSTREAMS": "gemini"}
    stored = record(Sort.SERVICE_ACCOUNT, "vertex", stored=True)
    found = upstream_findings(load({}, env, tmp_path), [stored])
    assert [one.result for one in found] == [Result.PROBLEM, Result.WARNING]
    assert "vertex-1 cannot serve" in found[1].meaning and "ANTIGRAVITY2API_UPSTREAMS" in found[1].meaning


def test_a_stored_account_without_a_project_hears_of_the_command_that_names_one() -> None:
    found = credential_finding(record(Sort.OAUTH_USER, "antigravity", stored=True), asked(State.NO_PROJECT), "stored")
    assert "credentials set antigravity-1 --project" in found.next
    assert "ANTIGRAVITY_PROJECT" not in found.next, "that is the project of a token in the configuration"


@pytest.mark.parametrize(
    "message",
    [
        "This version of Antigravity is no longer supported. Please update.",
        "Cloud Code Private API has not been used in project 1 before or it is disabled.",
    ],
)
def test_a_service_that_does_not_serve_us_points_to_the_supported_ways(message: str) -> None:
    found = credential_finding(record(Sort.OAUTH_USER, "antigravity"), asked(State.READY, message), "stored")
    assert "Gemini API key" in found.next and "Vertex AI" in found.next
