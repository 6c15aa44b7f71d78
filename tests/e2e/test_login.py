"""``login`` as a real process in front of a scripted Google."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from antigravity2api.credentials import Record, Sort, State
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
from fakes.gateway import clean_environment, run_cli
from fakes.google_accounts import EMAIL, PROJECT, GoogleAccounts, account, granted, newcomer, operation, refused
from fakes.upstream import error, plain

SECRET = "GOCSPX-client-secret"


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


class Desk:
    """One data directory, and logins into it."""

    def __init__(self, google: GoogleAccounts, folder: Path) -> None:
        self.google = google
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.env = {
            "ANTIGRAVITY2API_DATA_DIR": str(folder),
            "ANTIGRAVITY2API_ANTIGRAVITY": "on",
            "ANTIGRAVITY_OAUTH_CLIENT_ID": "client.apps.example",
            "ANTIGRAVITY_OAUTH_CLIENT_SECRET": SECRET,
            "GOOGLE_OAUTH_TOKEN_URL": google.token_url,
            "ANTIGRAVITY_BASE_URL": google.url,
        }

    def start(self, *args: str) -> tuple[subprocess.Popen[str], str, list[str]]:
        """A login under way: the process, the page it wants to be opened, and what it said before."""
        process = subprocess.Popen(
            [sys.executable, "-m", "antigravity2api", "login", *args],
            env=clean_environment(self.env),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "code_challenge=" in line:
                return process, line.strip(), said
        raise AssertionError(f"no page to open: {said}")

    def end(self, process: subprocess.Popen[str], said: list[str], pasted: str = "") -> tuple[int, str, str]:
        try:
            out, err = process.communicate(pasted, timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        whole = "".join(said) + err
        for secret in (SECRET, "ya29", "1//0g"):
            assert secret not in out + whole
        return process.returncode, out, whole

    def stored(self) -> list[Record]:
        vault = Vault(self.folder / "antigravity2api.db", Secrets(self.folder / "secret.key"))
        try:
            return vault.records()
        finally:
            vault.close()


@pytest.fixture
def desk(google: GoogleAccounts, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(google, tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def redirect(page: str, **fields: str) -> str:
    """The address that Google would send the browser to."""
    query = {key: value[0] for key, value in parse_qs(urlsplit(page).query).items()}
    return f"{query['redirect_uri']}?{urlencode({'state': query['state'], **fields})}"


def get(url: str) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_a_login_by_browser(desk: Desk) -> None:
    process, page, said = desk.start("--json")
    assert page.startswith(f"{desk.google.url}/o/oauth2/v2/auth?")
    assert get(redirect(page, code="4/0abc", state="wrong")) == 400
    assert get(redirect(page, code="4/0abc")) == 200
    code, out, said_all = desk.end(process, said)
    assert code == 0, said_all
    assert json.loads(out) == {
        "id": "antigravity-1",
        "label": EMAIL,
        "project": PROJECT,
        "state": "ready",
        "message": "",
        "link": "",
        "enabled": True,
    }
    assert "Google's terms" in said_all
    (record,) = desk.stored()
    assert (record.sort, record.label, record.project) == (Sort.OAUTH_USER, EMAIL, PROJECT)
    assert record.secret["refresh_token"] == "1//0g-refresh-of-login-1"
    assert record.secret["access_token"] == "ya29.token-1"
    (form,) = desk.google.token_requests
    assert form["redirect_uri"].startswith("http://127.0.0.1:")
    assert form["code_verifier"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_login_without_a_browser(desk: Desk, *, whole: bool) -> None:
    process, page, said = desk.start("--no-browser", "--label", "work", "--port", "40123")
    pasted = redirect(page, code="4/0abc") if whole else "4/0abc"
    assert "127.0.0.1:40123" in pasted or not whole
    code, out, said_all = desk.end(process, said, f"{pasted}\n")
    assert (code, out) == (0, ""), said_all
    assert "antigravity-1 (work), in the project" in said_all
    assert desk.google.token_requests[0]["code"] == "4/0abc"


@pytest.mark.parametrize(
    ("pasted", "words"),
    [
        ("", "Nothing was pasted"),
        ("http://127.0.0.1:1/oauth2callback?state=other&code=4/0abc\n", "another login"),
        ("two words\n", "neither"),
    ],
)
def test_a_paste_that_is_no_answer(desk: Desk, pasted: str, words: str) -> None:
    process, _, said = desk.start("--no-browser")
    code, _, said_all = desk.end(process, said, pasted)
    assert code == 1
    assert words in said_all
    assert desk.google.requests == []
    assert desk.stored() == []


def test_a_refusal_in_the_browser_is_explained(desk: Desk) -> None:
    process, page, said = desk.start()
    assert get(redirect(page, error="access_denied")) == 400
    code, _, said_all = desk.end(process, said)
    assert code == 1
    assert "refused in the browser" in said_all


def login(desk: Desk, *args: str) -> tuple[int, str, str]:
    process, page, said = desk.start("--no-browser", *args)
    return desk.end(process, said, redirect(page, code="4/0abc") + "\n")


def test_the_same_account_once_more_takes_its_own_place(desk: Desk) -> None:
    assert login(desk)[0] == 0
    vault = Vault(desk.folder / "antigravity2api.db", Secrets(desk.folder / "secret.key"))
    vault.change("antigravity-1", state=State.NEEDS_LOGIN, message="Token has been expired or revoked.", weight=7)
    vault.close()
    code, _, said = login(desk)
    assert code == 0, said
    (record,) = desk.stored()
    assert (record.id, record.state, record.message, record.weight) == ("antigravity-1", State.READY, "", 7)
    assert record.secret["refresh_token"] == "1//0g-refresh-of-login-2"


def test_another_account_gets_another_place(desk: Desk) -> None:
    assert login(desk)[0] == 0
    desk.google.scripts["userinfo"] = plain({"email": "lee@example.com"})
    assert login(desk)[0] == 0
    assert [(one.id, one.label) for one in desk.stored()] == [
        ("antigravity-1", EMAIL),
        ("antigravity-2", "lee@example.com"),
    ]


def test_a_new_account_is_taken_in(desk: Desk) -> None:
    desk.google.scripts |= {"loadCodeAssist": plain(newcomer()), "onboardUser": plain(operation(done=True))}
    code, _, said = login(desk)
    assert code == 0, said
    assert desk.stored()[0].project == PROJECT


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [
        (plain(account(project=None)), 1, State.NO_PROJECT),
        (
            plain(newcomer(ineligibleTiers=[{"reasonCode": "VALIDATION_REQUIRED", "validationUrl": "https://g.co/v"}])),
            1,
            State.NEEDS_VERIFICATION,
        ),
        (error(403, "Disabled for violation of Terms of Service."), 1, State.DISABLED_BY_TERMS),
        (error(503, "Unavailable."), 0, State.READY),
    ],
)
def test_an_account_that_cannot_be_used_yet_is_kept_with_the_reason(
    desk: Desk, answer: Any, code: int, state: State
) -> None:
    desk.google.scripts["loadCodeAssist"] = answer
    found, _, said = login(desk)
    assert found == code, said
    (record,) = desk.stored()
    assert (record.state, record.project) == (state, None)
    if state is State.NEEDS_VERIFICATION:
        assert "https://g.co/v" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused("invalid_client", "The OAuth client was not found.", status=401), "ANTIGRAVITY_OAUTH_CLIENT_ID"),
        (granted("ya29.x"), "no refresh token"),
    ],
)
def test_a_code_that_google_does_not_take(desk: Desk, answer: Any, words: str) -> None:
    desk.google.scripts["token"] = answer
    code, _, said = login(desk)
    assert code == 1
    assert words in said
    assert desk.stored() == []


def test_a_google_out_of_reach(desk: Desk) -> None:
    process, page, said = desk.start("--no-browser")
    desk.google.stop()
    code, _, said_all = desk.end(process, said, redirect(page, code="4/0abc") + "\n")
    assert code == 1
    assert "refused" in said_all


def test_without_the_opt_in_there_is_a_warning_and_no_login(desk: Desk) -> None:
    ended = run_cli("login", env={**desk.env, "ANTIGRAVITY2API_ANTIGRAVITY": "off"})
    assert ended.returncode == 2
    assert "Google's terms" in ended.stderr
    assert "ANTIGRAVITY2API_ANTIGRAVITY=on" in ended.stderr
    assert desk.google.requests == []


def test_without_an_oauth_client_the_operator_hears_how_to_make_one(desk: Desk) -> None:
    ended = run_cli("login", env={**desk.env, "ANTIGRAVITY_OAUTH_CLIENT_ID": ""})
    assert ended.returncode == 2
    assert "Desktop app" in ended.stderr


@pytest.mark.parametrize(("upstream", "words"), [("gemini", "GEMINI_API_KEY"), ("vertex", "gcloud")])
def test_other_upstreams_have_no_login(desk: Desk, upstream: str, words: str) -> None:
    ended = run_cli("login", "--upstream", upstream, env=desk.env)
    assert ended.returncode == 2
    assert words in ended.stderr
