"""``models``: what the upstreams said and when, asking them now, and who would serve a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Outcome
from fakes.sandboxes import RunningSandbox

Cli = Callable[..., Outcome]


@pytest.fixture
def google() -> Iterator[RunningSandbox]:
    with RunningSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def world(home: Path, google: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables; all upstreams are the sandbox."""

    def made(**environ: str) -> None:
        roots = ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "ANTIGRAVITY_BASE_URL")
        for name, value in {**dict.fromkeys(roots, google.url), **environ}.items():
            monkeypatch.setenv(name, value)

    return made


ALL = {
    "GEMINI_API_KEY": "gemini-key",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_API_KEY": "express-key",
    "ANTIGRAVITY2API_ANTIGRAVITY": "on",
    "ANTIGRAVITY_ACCESS_TOKEN": "token",
    "ANTIGRAVITY_PROJECT": "project-1",
}


def report(done: Outcome) -> Any:
    return json.loads(done.out)


def test_asked_now_every_upstream_says_what_it_has(
    cli: Cli, world: Callable[..., None], google: RunningSandbox
) -> None:
    world(**ALL)
    found = report(cli("models", "--live", "--json"))
    assert [row["upstream"] for row in found["lists"]] == ["gemini", "vertex", "antigravity"]
    for row in found["lists"]:
        assert (row["source"], row["error"]) == ("live", None)
        assert row["models"] > 5
        assert 0 <= row["age"] < 60
    rows = {row["id"]: row for row in found["models"]}
    assert rows["gemini-3.8-flash"] | {"name": ""} == {
        "id": "gemini-3.8-flash",
        "name": "",
        "kind": "chat",
        "surfaces": ["gemini", "vertex", "antigravity"],
        "source": "live",
        "input_limit": 1_048_576,
        "output_limit": 65_536,
        "alias_of": None,
    }
    assert rows["gemma-4-31b-it"]["surfaces"] == ["gemini"]
    assert "gemini-omni-1.2-flash" not in rows
    assert all(not seen.operation.endswith("enerateContent") for seen in google.requests)


def test_what_was_asked_is_kept_where_there_is_a_database(cli: Cli, world: Callable[..., None]) -> None:
    world(GEMINI_API_KEY="gemini-key")
    assert report(cli("models", "--json"))["lists"][0]["source"] == "table"
    assert cli("db", "upgrade").code == 0
    assert "gemini-omni-1.2-flash" in cli("models").out
    assert cli("models", "--live").code == 0
    done = cli("models")
    assert "gemini-omni-1.2-flash" not in done.out
    assert "models, asked" in done.err
    assert report(cli("models", "--json"))["lists"][0]["credential"] == "gemini-1"
    everything = {row["id"]: row for row in report(cli("models", "--all", "--json"))["models"]}
    assert everything["gemini-omni-1.2-flash"]["source"] == "not listed"
    assert everything["claude-sonnet-4-6"]["surfaces"] == []


def test_who_cannot_be_asked_is_named_and_the_table_speaks(cli: Cli, world: Callable[..., None]) -> None:
    world(GEMINI_API_KEY="invalid,leaked")
    done = cli("models", "--live", "--json")
    assert done.code == 1
    assert "gemini could not be asked for its models: gemini-2:" in done.err
    found = report(done)
    assert found["lists"][0]["source"] == "table"
    assert found["lists"][0]["error"].startswith("gemini-2: ")
    assert "gemini-3.8-flash" in {row["id"] for row in found["models"]}


def test_a_second_credential_is_asked_where_the_first_is_refused(cli: Cli, world: Callable[..., None]) -> None:
    world(GEMINI_API_KEY="invalid,good")
    found = report(cli("models", "--live", "--json"))
    assert found["lists"][0]["credential"] == "gemini-2"


def test_an_alias_is_explained_down_to_the_credential(cli: Cli, world: Callable[..., None]) -> None:
    world(**ALL)
    found = report(cli("models", "--explain", "gemini-2.0-flash-exp", "--json"))
    assert (found["asked"], found["model"], found["in_table"]) == ("gemini-2.0-flash-exp", "gemini-3.8-flash", True)
    assert found["now"] == {"upstream": "gemini", "credential": "gemini-1"}
    assert {row["upstream"]: row["sends"] for row in found["upstreams"]} == {
        "gemini": "gemini-3.8-flash",
        "vertex": "gemini-3.8-flash",
        "antigravity": "gemini-3.7-flash-high",
    }
    assert found["upstreams"][0]["credentials"] == [{"id": "gemini-1", "says": "would serve"}]
    text = cli("models", "--explain", "gemini-2.0-flash-exp").out
    assert "gemini-2.0-flash-exp is an alias of gemini-3.8-flash" in text
    assert "Now: gemini with gemini-1" in text
    assert "sent as gemini-3.7-flash-high" in text


def test_who_does_not_have_it_is_told_with_the_reason(cli: Cli, world: Callable[..., None]) -> None:
    world(**ALL)
    found = report(cli("models", "--explain", "gemma-4-31b-it", "--live", "--json"))
    gemini, vertex, _ = found["upstreams"]
    assert (gemini["serves"], vertex["serves"]) == (True, False)
    assert gemini["why"].startswith("it lists it (asked ")
    assert vertex["why"].startswith("it does not list it (asked ")


def test_upstreams_without_credentials_say_how_to_get_them(cli: Cli, world: Callable[..., None]) -> None:
    world(GEMINI_API_KEY="k")
    found = report(cli("models", "--explain", "claude-sonnet-4-6", "--json"))
    reasons = {row["upstream"]: row["why"] for row in found["without_credentials"]}
    assert "GOOGLE_GENAI_USE_VERTEXAI" in reasons["vertex"]
    assert "ANTIGRAVITY2API_ANTIGRAVITY=on" in reasons["antigravity"]


def test_an_unknown_name_goes_to_the_first_upstream(cli: Cli, world: Callable[..., None]) -> None:
    world(**ALL)
    found = report(cli("models", "--explain", "nobody-knows", "--json"))
    assert (found["in_table"], found["now"]) == (False, {"upstream": "gemini", "credential": "gemini-1"})
    assert "first upstream as it is" in found["upstreams"][0]["why"]
    assert "The model table does not know it" in cli("models", "--explain", "nobody-knows").out


def test_without_any_credential_nobody_serves(cli: Cli) -> None:
    found = report(cli("models", "--explain", "gemini-3.8-flash", "--json"))
    assert (found["now"], found["upstreams"]) == (None, [])
    assert "Now: nobody" in cli("models", "--explain", "gemini-3.8-flash").out


@pytest.mark.parametrize("name", ["../x", "a b", ""])
def test_what_can_be_no_name_is_wrong_use(cli: Cli, name: str) -> None:
    done = cli("models", "--explain", name)
    assert (done.code, done.out) == (2, "")
    assert "NAME" in done.err
