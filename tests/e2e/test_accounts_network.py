"""The operator's proxy and certificate authorities hold for every call: answers, tokens, projects, lists of models."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fakes.client import call
from fakes.desk import KEY, Desk, account, eventually
from fakes.google_accounts import PROJECT, GoogleAccounts, newcomer, operation
from fakes.middle import Authority, TlsFront, TunnelProxy
from fakes.upstream import plain

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]
BASIC = "Basic " + base64.b64encode(b"user:p@ss-hunter2").decode()
CODE, TOKEN = "cloudcode.invalid", "oauth2.invalid"
KINDS = {"token", "loadCodeAssist", "onboardUser", "streamGenerateContent", "generateContent", "fetchAvailableModels"}


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        made.scripts["loadCodeAssist"] = plain(newcomer())
        made.scripts["onboardUser"] = plain(operation(done=True))
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:

        def made(**environ: str) -> Desk:
            return stack.enter_context(Desk(google, ANTIGRAVITY2API_LIVE_MODELS="on", **environ))

        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def kinds(google: GoogleAccounts) -> set[str]:
    return {urlsplit(record.target).path.rpartition(":")[2].rpartition("/")[2] for record in google.requests}


def uses_everything(made: Desk) -> None:
    """A new account, its token, its project, answers, and the list of models."""
    made.brings([account("1//0g-refresh-first", projectId="useful-fuze-a1b2c")])
    made.serve()
    for stream in (True, False):
        reply = made.chat(stream=stream)
        assert (reply.status, reply.text) == (200, "Hello"), reply.body
    call(made.port, "GET", "/v1/models", key=KEY)
    eventually(lambda: kinds(made.google), lambda seen: seen >= KINDS)
    assert made.credentials()["antigravity-1"]["project"] == PROJECT


def test_a_plain_proxy_carries_everything(google: GoogleAccounts, desk: Sits) -> None:
    made = desk(
        ANTIGRAVITY2API_PROXY=google.url.replace("http://", "http://user:p%40ss-hunter2@"),
        ANTIGRAVITY_BASE_URL=f"http://{CODE}",
        GOOGLE_OAUTH_TOKEN_URL="http://localhost:1/token",
    )
    uses_everything(made)
    for record in google.requests:
        assert record.header("proxy-authorization") == BASIC
        assert record.target.startswith((f"http://{CODE}/v1internal:", "http://localhost:1/token"))
    before = len(google.requests)
    made.cli("credentials", "test", "antigravity-1")
    made.cli("models", "--live")
    assert len(google.requests) > before + 1
    assert {record.header("proxy-authorization") for record in google.requests} == {BASIC}
    for text in (*made.everything_written().values(), made.cli("config", "show").stdout.encode()):
        assert b"hunter2" not in text


def test_tunnels_and_an_authority_of_the_operators(google: GoogleAccounts, desk: Sits, authority: Authority) -> None:
    with (
        TlsFront(authority.context(CODE), google.port) as code,
        TlsFront(authority.context(TOKEN), google.port) as token,
        TunnelProxy({CODE: code.port, TOKEN: token.port}, BASIC) as proxy,
    ):
        made = desk(
            ANTIGRAVITY2API_PROXY=f"http://user:p%40ss-hunter2@127.0.0.1:{proxy.port}",
            ANTIGRAVITY2API_CA_FILE=str(authority.file),
            ANTIGRAVITY_BASE_URL=f"https://{CODE}",
            GOOGLE_OAUTH_TOKEN_URL=f"https://{TOKEN}/token",
        )
        uses_everything(made)
        made.cli("credentials", "test", "antigravity-1")
        assert (set(proxy.tunnels), proxy.refused) == ({f"{CODE}:443", f"{TOKEN}:443"}, [])
        for record in google.requests:
            assert record.header("proxy-authorization") is None, "what is the proxy's stays with it"
            assert record.target.startswith(("/v1internal:", "/token"))
            assert record.header("host") == (TOKEN if record.target == "/token" else CODE)


def test_an_authority_nobody_knows_is_refused_and_told(
    google: GoogleAccounts, desk: Sits, authority: Authority
) -> None:
    with TlsFront(authority.context("localhost"), google.port) as front:
        root = f"https://localhost:{front.port}"
        made = desk(ANTIGRAVITY_BASE_URL=root, GOOGLE_OAUTH_TOKEN_URL=f"{root}/token")
        made.brings([account("1//0g-refresh-first")])
        made.serve()
        reply = made.chat()
        assert reply.status == 500, reply.body
        assert "certificate" in reply.error["message"]
        assert "localhost" not in reply.error["message"]
        assert google.requests == []
        made.gateway.stop()
        again = desk(
            ANTIGRAVITY2API_CA_FILE=str(authority.file),
            ANTIGRAVITY_BASE_URL=root,
            GOOGLE_OAUTH_TOKEN_URL=f"{root}/token",
        )
        uses_everything(again)


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_proxy_that_refuses_is_told(google: GoogleAccounts, desk: Sits, authority: Authority, password: str) -> None:
    with TunnelProxy({}, BASIC) as proxy:
        user = f"user:{password}@" if password else ""
        made = desk(
            ANTIGRAVITY2API_PROXY=f"http://{user}127.0.0.1:{proxy.port}",
            ANTIGRAVITY_BASE_URL=f"https://{CODE}",
            GOOGLE_OAUTH_TOKEN_URL=f"https://{TOKEN}/token",
        )
        made.brings([account("1//0g-refresh-first")])
        made.serve()
        reply = made.chat()
        assert reply.status >= 500
        assert "proxy" in reply.error["message"].lower()
        assert TOKEN not in json.dumps(reply.json)
        assert 1 <= len(proxy.refused) <= 6
        assert google.requests == []
