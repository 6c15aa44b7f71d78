"""Commands about credentials while the gateway runs: each is noticed within about a second, without a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fakes.client import call
from fakes.desk import KEY, MODEL, Desk, account, eventually, generated, many, says, token_of
from fakes.google_accounts import GoogleAccounts, form_of, granted
from fakes.upstream import Answer, Gate, ScriptedUpstream, as_asked, text_events

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]
PROMPT = 4.0
"""Seconds within which a change has to be seen; a second on a machine that has nothing else to do."""


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        made.scripts["token"] = lambda record: granted("ya29." + form_of(record)["refresh_token"].rpartition("-")[2])
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def first_word_of(record: Any) -> str:
    """Whose refresh token it was: the last word of it."""
    return token_of(record).removeprefix("ya29.")


def test_a_gateway_without_any_credential_begins_to_serve(upstream: ScriptedUpstream, desk: Sits) -> None:
    upstream.default = as_asked(text_events("Hel", "lo"))
    made = desk(GOOGLE_GEMINI_BASE_URL=upstream.url, ANTIGRAVITY2API_ANTIGRAVITY="off").serve()
    assert "No upstream is configured" in made.gateway.stderr
    reply = made.chat(model="gemini-2.5-flash")
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")
    identity = made.add_key("AIza-key-of-a-test-0123456789")
    reply = eventually(lambda: made.chat(model="gemini-2.5-flash"), lambda reply: reply.status == 200, within=PROMPT)
    assert reply.text == "Hello"
    assert made.state(identity) == "ready"
    made.cli("credentials", "remove", identity, "--yes")
    reply = eventually(lambda: made.chat(model="gemini-2.5-flash"), lambda reply: reply.status != 200, within=PROMPT)
    assert (reply.status, reply.error["code"]) == (500, "no_upstream_credentials")


def test_each_command_is_noticed(google: GoogleAccounts, desk: Sits) -> None:
    made = desk()
    made.brings([account("1//0g-refresh-one", email="one@example.com")])
    made.serve()

    def asked() -> set[str]:
        """Who serves ten conversations."""
        before = len(generated(google))
        replies = [made.chat(f"Number {number}.") for number in range(10)]
        assert {reply.status for reply in replies} == {200}
        return {first_word_of(record) for record in generated(google)[before:]}

    assert asked() == {"one"}
    made.brings([account("1//0g-refresh-two", email="two@example.com")])
    eventually(asked, lambda seen: seen == {"one", "two"}, within=PROMPT)
    made.cli("credentials", "disable", "antigravity-1")
    eventually(asked, lambda seen: seen == {"two"}, within=PROMPT)
    assert made.state("antigravity-1") == "disabled"
    made.cli("credentials", "enable", "antigravity-1")
    eventually(asked, lambda seen: seen == {"one", "two"}, within=PROMPT)
    assert made.state("antigravity-1") == "ready"
    made.cli("credentials", "set", "antigravity-2", "--priority", "5")
    eventually(asked, lambda seen: seen == {"one"}, within=PROMPT)
    made.cli("credentials", "set", "antigravity-1", "--priority", "9")
    eventually(asked, lambda seen: seen == {"two"}, within=PROMPT)
    made.cli("credentials", "remove", "antigravity-2", "--yes")
    eventually(asked, lambda seen: seen == {"one"}, within=PROMPT)
    assert made.state("antigravity-2") == ""
    assert "antigravity-2" not in made.credentials()


def test_what_runs_is_not_cut_off_by_a_removal(google: GoogleAccounts, desk: Sits) -> None:
    gate = Gate()

    def slowly(record: Any) -> Answer:
        whole = says("Hel", "lo")(record)
        return Answer(headers=whole.headers, framing=whole.framing, steps=(whole.steps[0], gate, *whole.steps[1:]))

    google.scripts["streamGenerateContent"] = slowly
    made = desk()
    made.brings([account("1//0g-refresh-one")])
    made.serve()

    def work(number: int) -> Any:
        if number == 0:
            return made.chat(stream=True)
        eventually(lambda: len(generated(google)), lambda count: count == 1)
        made.cli("credentials", "remove", "antigravity-1", "--yes")
        eventually(lambda: made.chat().status, lambda status: status == 500, within=PROMPT)
        gate.open()
        return None

    reply, _ = many(2, work)
    assert (reply.status, reply.text, reply.data[-1]) == (200, "Hello", "[DONE]")


def test_two_workers_notice_as_well(google: GoogleAccounts, desk: Sits) -> None:
    made = desk("--workers", "2")
    made.serve()
    made.brings([account("1//0g-refresh-one")])

    def statuses() -> Counter[int]:
        return Counter(reply.status for reply in many(12, lambda number: made.chat(f"Number {number}.")))

    eventually(statuses, lambda seen: seen == {200: 12}, within=PROMPT)
    made.cli("credentials", "disable", "antigravity-1")
    eventually(statuses, lambda seen: seen == {500: 12}, within=PROMPT)
    made.cli("credentials", "enable", "antigravity-1")
    eventually(statuses, lambda seen: seen == {200: 12}, within=PROMPT)
    assert len(google.token_requests) == 1


def test_a_changed_key_of_encryption_is_told_and_what_is_known_serves_on(google: GoogleAccounts, desk: Sits) -> None:
    made = desk()
    made.brings([account("1//0g-refresh-one")])
    made.serve()
    assert made.chat().status == 200
    made.cli("credentials", "rotate-key")
    made.brings([account("1//0g-refresh-two")])

    def seen() -> Any:
        return call(made.port, "GET", "/metrics", key=KEY).body.decode()

    eventually(seen, lambda text: 'credential="antigravity-2",state="ready"} 1' in text, within=PROMPT)
    assert {made.chat(f"Number {number}.", model=MODEL).status for number in range(10)} == {200}
    assert {first_word_of(record) for record in generated(google)} == {"one", "two"}
