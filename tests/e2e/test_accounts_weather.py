"""Accounts while something around them is slow, locked or ends: requests are served as long as anything can serve."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from fakes.client import call
from fakes.desk import KEY, Desk, account, eventually, generated, many, says, token_of
from fakes.google_accounts import GoogleAccounts, form_of, granted, newcomer, operation
from fakes.upstream import Answer, Gate, Recorded, error, plain

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def name_of(record: Recorded) -> str:
    return form_of(record)["refresh_token"].rpartition("-")[2]


def behind(gate: Gate, answer: Answer) -> Answer:
    """The same once the gate is open."""
    return Answer(status=answer.status, headers=answer.headers, steps=answer.steps, first=(gate,))


def test_another_account_serves_while_one_waits_for_its_token(google: GoogleAccounts, desk: Sits) -> None:
    gate = Gate()

    def token(record: Recorded) -> Answer:
        given = granted(f"ya29.{name_of(record)}")
        return behind(gate, given) if name_of(record) == "slow" else given

    google.scripts["token"] = token
    made = desk()
    quick, slow = made.brings([account("1//0g-refresh-quick"), account("1//0g-refresh-slow")])
    made.cli("credentials", "disable", slow)
    made.serve()
    assert made.chat().status == 200
    made.cli("credentials", "enable", slow)
    eventually(lambda: made.state(slow), lambda state: state == "ready")
    replies = many(20, lambda number: made.chat(f"Number {number}.", timeout=5.0))
    assert {reply.status for reply in replies} == {200}
    assert {token_of(record) for record in generated(google)} == {"ya29.quick"}
    gate.open()
    eventually(
        lambda: {made.chat(f"Once more, {number}.").status for number in range(6)} and generated(google),
        lambda seen: "ya29.slow" in {token_of(record) for record in seen},
        within=20,
    )
    assert len([form for form in google.token_requests if form["refresh_token"].endswith("slow")]) == 1
    assert made.credentials()[quick]["state"] == "ready"


def test_another_account_serves_while_one_is_taken_in(google: GoogleAccounts, desk: Sits) -> None:
    google.scripts["token"] = lambda record: granted(f"ya29.{name_of(record)}")
    usual = google.scripts.pop("loadCodeAssist", None)

    def load(record: Recorded) -> Answer:
        return (
            plain(newcomer())
            if token_of(record) == "ya29.new"
            else plain({"currentTier": {"id": "free-tier"}, "cloudaicompanionProject": "old-harbor-1"})
        )

    assert usual is None
    google.scripts |= {"loadCodeAssist": load, "onboardUser": plain(operation(done=False))}
    google.scripts["abc-1"] = plain(operation(done=False))
    made = desk()
    old, new = made.brings([account("1//0g-refresh-old"), account("1//0g-refresh-new")])
    made.cli("credentials", "disable", new)
    made.serve()
    assert made.chat().status == 200
    made.cli("credentials", "enable", new)
    eventually(lambda: made.state(new), lambda state: state == "ready")
    replies = many(20, lambda number: made.chat(f"Number {number}.", timeout=5.0))
    assert {reply.status for reply in replies} == {200}
    assert len(google.asked("onboardUser")) == 1
    assert made.state(old) == "ready"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_withdrawn_token_is_renewed_once_for_all_workers(google: GoogleAccounts, desk: Sits, workers: int) -> None:
    unauthorized = error(401, "Request had invalid authentication credentials.")
    script: Any = lambda record: unauthorized if token_of(record) == "ya29.gone" else says("Hel", "lo")(record)  # noqa: E731
    google.scripts |= {"streamGenerateContent": script, "generateContent": script}
    made = desk("--workers", str(workers))
    made.brings([account("1//0g-refresh-first", access="ya29.gone", expired=False)])
    made.serve()
    replies = many(40, lambda number: made.chat(f"Number {number}.", stream=number % 2 == 0))
    assert {(reply.status, reply.text) for reply in replies} == {(200, "Hello")}
    assert len(google.token_requests) == 1


def test_a_locked_database_costs_no_answer(google: GoogleAccounts, desk: Sits) -> None:
    made = desk()
    made.brings([account("1//0g-refresh-first")])
    made.serve()
    with closing(sqlite3.connect(made.folder / "antigravity2api.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        reply = made.chat(timeout=20.0)
        assert (reply.status, reply.text) == (200, "Hello"), reply.body
        begun = time.monotonic()
        assert {made.chat(f"Number {number}.").status for number in range(10)} == {200}
        assert time.monotonic() - begun < 5
        assert call(made.port, "GET", "/metrics", key=KEY).status == 200
        other.execute("ROLLBACK")
    assert len(google.token_requests) == 1
    assert made.chat().status == 200


def test_it_ends_in_time_while_a_token_is_fetched(google: GoogleAccounts, desk: Sits) -> None:
    gate = Gate()
    google.scripts["token"] = lambda record: behind(gate, granted("ya29.late"))
    made = desk(ANTIGRAVITY2API_TIMEOUT_DRAIN="1")
    made.brings([account("1//0g-refresh-first")])
    made.serve()

    def work(number: int) -> Any:
        if number:
            return made.chat(timeout=15.0)
        google.wait_for(1)
        made.gateway.signal()
        return made.gateway.wait(10)

    code, reply = many(2, work)
    assert code == 0
    assert reply.status == 503 or reply.error["code"] == "shutting_down"
    assert "Traceback" not in made.gateway.stderr
    gate.open()


def test_a_key_of_encryption_that_does_not_fit_is_told(google: GoogleAccounts, desk: Sits) -> None:
    made = desk(ANTIGRAVITY2API_SECRET_KEY="a-first-key-of-encryption-0123456789")
    made.brings([account("1//0g-refresh-first")])
    assert not (made.folder / "secret.key").exists()
    made.serve()
    assert made.chat().status == 200
    made.gateway.stop()
    made.gateway._env["ANTIGRAVITY2API_SECRET_KEY"] = "another-key-of-encryption-9876543210"
    made.serve()
    reply = made.chat()
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    eventually(lambda: made.gateway.stderr, lambda text: "encrypted with another key" in text)
    made.gateway.stop()
    made.gateway._env["ANTIGRAVITY2API_SECRET_KEY"] = "a-first-key-of-encryption-0123456789"
    made.serve()
    assert made.chat().status == 200
    assert len(google.token_requests) == 1
