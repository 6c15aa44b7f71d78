"""Accounts of the antigravity upstream in a running gateway: imported from files, renewed, and never shown."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fakes.client import call
from fakes.desk import CLIENT_SECRET, KEY, Desk, account, eventually, generated, many, says, token_of
from fakes.google_accounts import PROJECT, GoogleAccounts, form_of, granted, page, refused
from fakes.upstream import Gate, Hang, error, reason_info, retry_info

USER = {
    "type": "authorized_user",
    "client_id": "their-own.apps.example",
    "client_secret": "GOCSPX-their-own-secret",
    "refresh_token": "1//0g-refresh-authorized-user",
}
Sits = Callable[..., Desk]


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def test_a_whole_set_up_from_the_ancestors_file(google: GoogleAccounts, desk: Sits) -> None:
    made = desk(ANTIGRAVITY2API_CAPTURE="on")
    given = [
        account("1//0g-refresh-first", projectId="useful-fuze-a1b2c"),
        account("1//0g-refresh-second", enable=False, projectId="useful-wave-d3e4f"),
    ]
    first, second = made.brings(given)
    listed = made.credentials()
    assert (listed[first]["state"], listed[first]["project_checked"]) == ("ready", False)
    assert listed[second]["state"] == "disabled"

    made.serve()
    for stream in (True, False):
        reply = made.chat(stream=stream)
        assert (reply.status, reply.text) == (200, "Hello"), reply.body
    (form,) = google.token_requests
    assert form["refresh_token"] == "1//0g-refresh-first"
    assert (form["client_id"], form["client_secret"]) == ("client.apps.example", CLIENT_SECRET)
    assert [record.json["project"] for record in generated(google)] == [PROJECT] * 2, "none that somebody made up"
    assert {token_of(record) for record in generated(google)} == {"ya29.token-1"}
    assert len(google.asked("loadCodeAssist")) == 1

    listed = made.credentials()
    assert (listed[first]["state"], listed[first]["project"], listed[first]["project_checked"]) == (
        "ready",
        PROJECT,
        True,
    )
    assert listed[second]["state"] == "disabled"
    metrics = made.metrics()
    assert metrics['token_refreshes_total{result="ok"}'] == 1
    shown = made.cli("logs", "list", "--json").stdout + made.cli("credentials", "list").stdout
    made.gateway.stop()
    written = made.everything_written() | {"shown": shown.encode(), "metrics": json.dumps(metrics).encode()}
    for name, data in list(written.items()):
        if name.endswith(".gz"):
            written[name] = gzip.decompress(data)
    assert any(name.startswith("logs/bodies") for name in written)
    secrets = ["1//0g-refresh-first", "1//0g-refresh-second", "ya29.token-1", "ya29.old-", CLIENT_SECRET, KEY]
    for name, data in written.items():
        for secret in secrets:
            assert secret.encode() not in data, f"{secret} stands in {name}"


def test_nothing_is_asked_without_the_operators_word(google: GoogleAccounts, desk: Sits) -> None:
    made = desk(ANTIGRAVITY2API_ANTIGRAVITY="off")
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    assert google.requests == []
    made.gateway.stop()
    allowed = desk()
    allowed.brings([account("1//0g-refresh-first")])
    allowed.serve()
    assert "Google's terms do not allow" in allowed.gateway.stderr
    assert allowed.chat().status == 200
    for record in google.requests:
        assert (record.header("user-agent") or "").startswith("antigravity2api/"), record.target
        assert record.header("x-goog-api-client") is None
        assert record.header("client-metadata") is None
    (loaded,) = google.asked("loadCodeAssist")
    assert loaded.json["metadata"]["ideType"] == "IDE_UNSPECIFIED"


def test_an_authorized_user_is_renewed_with_its_own_client(google: GoogleAccounts, desk: Sits) -> None:
    made = desk(ANTIGRAVITY_OAUTH_CLIENT_ID="", ANTIGRAVITY_OAUTH_CLIENT_SECRET="")
    made.brings(USER)
    made.serve()
    assert made.chat().text == "Hello"
    (form,) = google.token_requests
    assert form == {
        "grant_type": "refresh_token",
        "refresh_token": USER["refresh_token"],
        "client_id": USER["client_id"],
        "client_secret": USER["client_secret"],
    }


def test_a_token_that_lives_is_used_as_it_is_and_over_a_restart(google: GoogleAccounts, desk: Sits) -> None:
    made = desk()
    made.brings([account("1//0g-refresh-living", access="ya29.still-alive", expired=False)])
    made.serve()
    assert made.chat().status == 200
    assert google.token_requests == []
    made.gateway.stop()
    made.serve()
    assert made.chat().status == 200
    assert {token_of(record) for record in generated(google)} == {"ya29.still-alive"}
    assert (google.token_requests, len(google.asked("loadCodeAssist"))) == ([], 1), "the project was written down"


def test_a_renewed_token_outlives_the_process(google: GoogleAccounts, desk: Sits) -> None:
    made = desk()
    google.scripts["token"] = granted("ya29.of-the-first-run", refresh="1//0g-refresh-rotated")
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    assert made.chat().status == 200
    made.gateway.kill()
    made.serve()
    assert made.chat().status == 200
    assert len(google.token_requests) == 1
    made.gateway.stop()
    exported = json.loads(made.cli("credentials", "export", "antigravity-1", "--yes").stdout)
    assert exported["secret"]["refresh_token"] == "1//0g-refresh-rotated"


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_requests_need_one_token(google: GoogleAccounts, desk: Sits, workers: int) -> None:
    gate = Gate()
    slow = granted("ya29.for-all")
    google.scripts["token"] = type(slow)(headers=slow.headers, steps=slow.steps, first=(gate,))
    made = desk("--workers", str(workers))
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    count = 100

    def ask(number: int) -> Any:
        if number == count:  # somebody who watches the others
            eventually(made.metrics, lambda seen: seen["requests_in_flight"] == count)
            gate.open()
            return None
        return made.chat(f"Number {number}.", stream=number % 2 == 0)

    replies = [reply for reply in many(count + 1, ask) if reply is not None]
    assert Counter((reply.status, reply.text) for reply in replies) == {(200, "Hello"): count}
    assert len(google.token_requests) == 1
    assert len(google.asked("loadCodeAssist")) == 1
    assert {token_of(record) for record in generated(google)} == {"ya29.for-all"}


def test_killed_while_it_renews_nothing_is_lost(google: GoogleAccounts, desk: Sits) -> None:
    stalled = Gate()
    google.scripts["token"] = [
        lambda record: type(granted("x"))(steps=(b"{}",), first=(stalled,)),
        granted("ya29.second-try"),
    ]
    made = desk()
    made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    before = made.credentials()
    made.serve()

    def ask(number: int) -> None:
        if number:
            google.wait_for(1)
            made.gateway.kill()
            return
        with pytest.raises(ConnectionError):
            made.chat()

    many(2, ask)
    assert made.credentials() == before
    made.serve()
    assert made.chat().text == "Hello"
    assert len(google.token_requests) == 2


# -- a token endpoint in trouble ---------------------------------------------------------------------------------------

TROUBLE: dict[str, tuple[Any, int]] = {
    "500": (error(500, "Internal error encountered."), 3),
    "a page": (page(), 3),
    "a page and 502": (page(502, "<title>502 Bad Gateway</title>"), 3),
    "invalid_grant": (refused("invalid_grant", "Token has been expired or revoked."), 1),
    "invalid_client": (refused("invalid_client", "The OAuth client was not found.", status=401), 1),
    "no token in it": (granted(""), 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TROUBLE)
def test_a_token_endpoint_in_trouble(google: GoogleAccounts, desk: Sits, name: str) -> None:
    google.scripts["token"], most = TROUBLE[name]
    made = desk()
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    _is_refused_in_time(made)
    assert 1 <= len(google.token_requests) <= most
    asked = len(google.token_requests)
    replies = many(100, lambda number: made.chat(f"Number {number}."))
    assert {reply.status for reply in replies} == {500}
    assert len(google.token_requests) == asked, "for a while nobody asks again"
    assert generated(google) == []


def _is_refused_in_time(made: Desk) -> None:
    reply = made.chat(timeout=9.0)
    assert reply.status == 500, reply.body
    assert reply.error["code"] == "no_upstream_credentials"
    streamed = made.chat(timeout=9.0, stream=True)
    assert (streamed.status, streamed.error["code"]) == (500, "no_upstream_credentials")
    for secret in ("1//0g-refresh-first", CLIENT_SECRET):
        assert secret not in reply.body.decode() + made.gateway.stderr


@pytest.mark.slow
def test_a_token_endpoint_that_says_nothing(google: GoogleAccounts, desk: Sits) -> None:
    stalled = granted("ya29.late")
    google.scripts["token"] = type(stalled)(headers=stalled.headers, steps=(Hang(),))
    made = desk()
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    replies = many(20, lambda number: made.chat(f"Number {number}.", timeout=9.5))
    assert {reply.status for reply in replies} == {500}
    assert len(google.token_requests) <= 3
    asked = len(google.token_requests)
    assert {reply.status for reply in many(100, lambda number: made.chat(timeout=5.0))} == {500}
    assert len(google.token_requests) == asked
    assert call(made.port, "GET", "/health/ready").status == 200


@pytest.mark.parametrize("name", ["500", "invalid_grant"])
def test_another_account_serves_meanwhile(google: GoogleAccounts, desk: Sits, name: str) -> None:
    trouble, _ = TROUBLE[name]

    def token(record: Any) -> Any:
        return trouble if b"first" in record.body else granted("ya29.of-the-second")

    google.scripts["token"] = token
    made = desk()
    first, second = made.brings([account("1//0g-refresh-first"), account("1//0g-refresh-second")])
    made.serve()
    replies = [made.chat(f"Number {number}.") for number in range(20)]
    assert {reply.status for reply in replies} == {200}
    assert {token_of(record) for record in generated(google)} == {"ya29.of-the-second"}
    assert len([form for form in google.token_requests if "first" in form["refresh_token"]]) <= 3
    assert made.credentials()[second]["state"] == "ready"
    if name == "invalid_grant":
        assert made.credentials()[first]["state"] == "needs_login"


@pytest.mark.slow
def test_accounts_without_a_token_cost_a_request_no_try(google: GoogleAccounts, desk: Sits) -> None:
    def token(record: Any) -> Any:
        return granted("ya29.of-the-last") if b"-last" in record.body else refused("invalid_grant", "Revoked.")

    google.scripts["token"] = token
    made = desk()
    ids = made.brings([account(f"1//0g-refresh-{number}") for number in range(5)] + [account("1//0g-refresh-last")])
    for number, identity in enumerate(ids):
        made.cli("credentials", "set", identity, "--priority", str(number))
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.text) == (200, "Hello"), reply.body
    made.gateway.stop()
    line = json.loads(made.cli("logs", "show", reply.header("x-request-id") or "", "--json").stdout)["request"]
    assert [one["credential"] for one in line["tries"]] == ids
    assert [one["outcome"] for one in line["tries"]] == ["credential"] * 5 + ["ok"]
    assert (line["credential"], line["attempts"]) == (ids[-1], 1)


@pytest.mark.slow
def test_a_burst_on_five_accounts_of_which_four_fail(google: GoogleAccounts, desk: Sits) -> None:
    def token(record: Any) -> Any:
        name = form_of(record)["refresh_token"].rpartition("-")[2]
        return refused("invalid_grant", "Revoked.") if name == "dead" else granted(f"ya29.{name}")

    trouble = {
        "ya29.busy": error(429, "Slow down.", details=[retry_info("30s")]),
        "ya29.refused": error(401, "Request had invalid authentication credentials."),
        "ya29.unverified": error(403, "Verify.", details=[reason_info("VALIDATION_REQUIRED")]),
    }

    def answer(record: Any) -> Any:
        return trouble.get(token_of(record)) or says("Hel", "lo")(record)

    google.scripts |= {"token": token, "streamGenerateContent": answer, "generateContent": answer}
    made = desk(ANTIGRAVITY2API_MAX_ATTEMPTS="5")
    made.brings([account(f"1//0g-refresh-{name}") for name in ("dead", "busy", "refused", "unverified", "good")])
    made.serve()
    for turn in range(3):
        replies = many(60, lambda number, turn=turn: made.chat(f"Number {turn} {number}.", stream=number % 2 == 0))  # type: ignore[misc]
        assert Counter((reply.status, reply.text) for reply in replies) == {(200, "Hello"): 60}


def test_needs_login_until_a_new_one_is_imported(google: GoogleAccounts, desk: Sits) -> None:
    def token(record: Any) -> Any:
        dead = b"refresh-first" in record.body
        return refused("invalid_grant", "Token has been expired or revoked.") if dead else granted("ya29.new-login")

    google.scripts["token"] = token
    made = desk()
    (first,) = made.brings([account("1//0g-refresh-first", email="kim@example.com")])
    made.serve()
    assert made.chat().status == 500
    row = eventually(made.credentials, lambda rows: rows[first]["state"] == "needs_login")[first]
    assert "expired or revoked" in row["message"]
    assert "expired or revoked" in made.cli("credentials", "list").stdout
    assert made.state(first) == "needs_login"

    assert made.brings([account("1//0g-refresh-newer", email="kim@example.com")]) == [first]
    reply = eventually(made.chat, lambda reply: reply.status == 200)
    assert reply.text == "Hello"
    assert made.credentials()[first]["state"] == "ready"
    assert made.state(first) == "ready"
