from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.configured import open_vault
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.probe import probe, quota
from antigravity2api.sandbox import Sandbox
from antigravity2api.settings import Settings, load
from fakes.google_accounts import PROJECT, GoogleAccounts, account, granted, newcomer, page, refused
from fakes.upstream import error, plain

TOKEN = "ya29.kept-token"


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def settings(google: GoogleAccounts, tmp_path: Path) -> Settings:
    env = {
        "ANTIGRAVITY2API_DATA_DIR": str(tmp_path),
        "ANTIGRAVITY2API_ANTIGRAVITY": "on",
        "ANTIGRAVITY_OAUTH_CLIENT_ID": "client",
        "GOOGLE_OAUTH_TOKEN_URL": google.token_url,
        "ANTIGRAVITY_BASE_URL": google.url,
        "GOOGLE_GEMINI_BASE_URL": google.url,
        "GOOGLE_VERTEX_BASE_URL": google.url,
    }
    return load({}, env, tmp_path)


def key(text: str = "AIza-key") -> Record:
    return Record(id="gemini-1", upstream="gemini", sort=Sort.API_KEY, secret={"key": text})


def user(**more: Any) -> Record:
    secret = {"access_token": TOKEN, "expires_at": time.time() + 3000, "refresh_token": "1//0g-refresh"}
    return Record(id="antigravity-1", upstream="antigravity", sort=Sort.OAUTH_USER, secret={**secret, **more})


def vertex(token: str = TOKEN, project: str | None = "p-1", **more: Any) -> Record:
    about = {"sort": Sort.ACCESS_TOKEN, "secret": {"access_token": token}, **more}
    return Record(id="vertex-1", upstream="vertex", project=project, **about)


# -- a scripted Google -------------------------------------------------------------------------------------------------


async def test_an_account_that_works(settings: Settings, google: GoogleAccounts) -> None:
    found = await probe(settings, user())
    assert (found.ok, found.state, found.project, found.tier) == (True, State.READY, PROJECT, "free-tier")
    assert found.message == "3 models"
    assert found.seconds > 0
    assert [one.target for one in google.requests] == ["/v1internal:loadCodeAssist", "/v1internal:fetchAvailableModels"]


async def test_a_new_account_is_not_taken_in_by_a_look(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["loadCodeAssist"] = plain(newcomer())
    found = await probe(settings, user())
    assert found.ok
    assert "first use" in found.message
    assert google.asked("onboardUser") == []


async def test_an_upstream_that_is_off_is_not_asked(settings: Settings, google: GoogleAccounts) -> None:
    off = dataclasses.replace(settings, antigravity=False)
    vault = open_vault(off)
    record = vault.add(dataclasses.replace(user(expires_at=0), id=""))
    found = await probe(off, record)
    view = await quota(off, record)
    assert (found.ok, found.state) == (False, State.READY)
    for said in (found.message, view.source):
        assert "ANTIGRAVITY2API_ANTIGRAVITY=on" in said
        assert "terms" in said
    assert view.failed
    assert google.requests == [], "neither a token nor an account"
    vault.close()


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (error(403, "Disabled for violation of Terms of Service."), State.DISABLED_BY_TERMS),
        (plain(account(project=None)), State.NO_PROJECT),
        (error(401, "Invalid credentials."), State.NEEDS_LOGIN),
        (error(429, "Resource has been exhausted."), State.READY),
        (page(200), State.READY),
        (error(503, "Unavailable."), State.READY),
    ],
)
async def test_an_account_that_does_not(settings: Settings, google: GoogleAccounts, answer: Any, state: State) -> None:
    google.scripts["loadCodeAssist"] = answer
    found = await probe(settings, user())
    assert (found.ok, found.state) == (False, state)
    assert found.message
    assert TOKEN not in found.message


async def test_a_token_that_is_refused_is_renewed_once(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["loadCodeAssist"] = [error(401, "Invalid credentials.")]
    assert (await probe(settings, user())).ok
    assert len(google.token_requests) == 1


async def test_a_dead_login_is_said_so_and_written_down(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["token"] = refused("invalid_grant", "Token has been expired or revoked.")
    vault = open_vault(settings)
    record = vault.add(dataclasses.replace(user(expires_at=0), id=""))
    found = await probe(settings, record)
    assert (found.ok, found.state) == (False, State.NEEDS_LOGIN)
    assert "expired or revoked" in found.message
    again = vault.get(record.id)
    assert again is not None
    assert again.state is State.NEEDS_LOGIN
    vault.close()


async def test_a_token_that_a_look_renewed_is_written_down(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["token"] = granted("ya29.new", refresh="1//0g-second")
    vault = open_vault(settings)
    record = vault.add(dataclasses.replace(user(expires_at=0), id=""))
    assert (await probe(settings, record)).ok
    again = vault.get(record.id)
    assert again is not None
    assert again.secret["refresh_token"] == "1//0g-second"
    vault.close()


async def test_what_is_no_gemini_api_is_noticed(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["models"] = plain({"hello": "world"})
    found = await probe(settings, key())
    assert not found.ok
    assert "base URL" in found.message
    google.stop()
    assert "refused" in (await probe(settings, key())).message


async def test_what_is_left_of_a_quota(settings: Settings, google: GoogleAccounts) -> None:
    before = time.time()
    view = await quota(settings, user())
    assert view.source == "fetchAvailableModels, retrieveUserQuota"
    assert before <= view.fetched_at <= time.time()
    assert view.age(view.fetched_at + 5) == 5
    left = {row.id: row.remaining for row in view.rows}
    assert left == {
        "gemini-3-flash": 0.82,
        "claude-sonnet-4-6": 0.0,
        "gpt-oss-120b-medium": None,
        "gemini-3-pro": 0.84,
        "gemini-2.5-pro": 0.0,
    }
    assert google.asked("retrieveUserQuota")[0].json == {"project": PROJECT}


async def test_a_quota_without_buckets_and_one_that_cannot_be_asked(settings: Settings, google: GoogleAccounts) -> None:
    google.scripts["retrieveUserQuota"] = error(403, "Not for you.")
    assert (await quota(settings, user())).source == "fetchAvailableModels"
    google.scripts["fetchAvailableModels"] = error(503, "Unavailable.")
    view = await quota(settings, user())
    assert view.failed
    assert view.rows == ()
    assert "could not be asked" in view.source


async def test_nobody_tells_the_quota_of_keys(settings: Settings, google: GoogleAccounts) -> None:
    for record in (key(), vertex()):
        view = await quota(settings, record)
        assert (view.rows, view.failed) == ((), False)
        assert view.source.startswith("none: ")
    assert google.requests == []


# -- the emulator ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sandboxed(settings: Settings) -> AsyncIterator[tuple[Settings, Sandbox]]:
    sandbox = Sandbox()
    await sandbox.start()
    url = sandbox.base_url
    yield (
        dataclasses.replace(
            settings,
            gemini_base_url=url,
            vertex_base_url=url,
            antigravity_base_url=url,
            oauth_token_url=f"{url}/token",
        ),
        sandbox,
    )
    await sandbox.stop()


@pytest.mark.parametrize(
    ("record", "ok", "state"),
    [
        (key("good"), True, State.READY),
        (key("invalid"), False, State.NEEDS_LOGIN),
        (key("expired"), False, State.NEEDS_LOGIN),
        (key("leaked"), False, State.READY),
        (key(""), False, State.NEEDS_LOGIN),
        (vertex("good"), True, State.READY),
        (vertex("no-role"), False, State.READY),
        (vertex("expired"), False, State.NEEDS_LOGIN),
        (vertex("good", project="api-off"), False, State.READY),
        (vertex("good", project=None), False, State.NO_PROJECT),
        (
            vertex(project=None, sort=Sort.EXPRESS_KEY, secret={"key": "good"}),
            True,
            State.READY,
        ),
        (user(), True, State.READY),
        (user(access_token=None, refresh_token="refresh-invalid-grant"), False, State.NEEDS_LOGIN),
        (user(access_token=None, refresh_token="refresh-no-token"), False, State.READY),
        (user(access_token="banned"), False, State.DISABLED_BY_TERMS),
    ],
    ids=lambda value: value.secret.get("key") or value.secret.get("access_token") if isinstance(value, Record) else "",
)
async def test_credentials_of_every_kind(
    sandboxed: tuple[Settings, Sandbox], record: Record, ok: bool, state: State
) -> None:
    settings, sandbox = sandboxed
    found = await probe(settings, record)
    assert (found.ok, found.state) == (ok, state), found.message
    assert ok or found.message
    assert not [seen for seen in sandbox.requests if seen.operation in ("generateContent", "streamGenerateContent")]
