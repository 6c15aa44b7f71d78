from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from antigravity2api.oauth import (
    PATH,
    Listener,
    Login,
    LoginRefused,
    email_of,
    exchange,
    listening,
    pages_beside,
)
from antigravity2api.upstreams.grants import GOOGLE_TOKEN_URL, Client
from antigravity2api.upstreams.transport import HttpTransport
from fakes.google_accounts import EMAIL, GoogleAccounts, granted, page, refused
from fakes.upstream import error, plain

CLIENT = Client("client.apps.example", "GOCSPX-client-secret")


@pytest.fixture
def login() -> Login:
    return Login.begin(CLIENT, 4567)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_asks_for_a_lasting_login_with_pkce(login: Login) -> None:
    query = {key: value[0] for key, value in parse_qs(urlsplit(login.page()).query).items()}
    digest = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=").decode()
    assert query["code_challenge"] == digest
    assert query["code_challenge_method"] == "S256"
    assert (query["access_type"], query["prompt"], query["response_type"]) == ("offline", "consent", "code")
    assert query["redirect_uri"] == "http://127.0.0.1:4567/oauth2callback"
    assert query["state"] == login.state
    assert set(query["scope"].split()) == {
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
    }
    assert login.verifier not in login.page()
    assert CLIENT.secret is not None
    assert CLIENT.secret not in login.page()


def test_every_login_has_its_own_secrets_and_shows_none(login: Login) -> None:
    other = Login.begin(CLIENT, 4567)
    assert login.state != other.state
    assert login.verifier != other.verifier
    assert 43 <= len(login.verifier) <= 128  # RFC 7636
    for secret in (login.state, login.verifier, "GOCSPX"):
        assert secret not in repr(login)


def test_an_emulators_pages_lie_beside_its_token_endpoint() -> None:
    assert pages_beside(GOOGLE_TOKEN_URL) == (
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://www.googleapis.com/oauth2/v2/userinfo",
    )
    assert pages_beside("http://127.0.0.1:9/token")[1] == "http://127.0.0.1:9/oauth2/v2/userinfo"


# -- what a person pastes ----------------------------------------------------------------------------------------------


def test_a_whole_address_a_query_or_a_code_can_be_pasted(login: Login) -> None:
    query = f"state={login.state}&code=4%2F0abc&scope=x"
    for text in (f"{login.redirect}?{query}", f"  {login.redirect}?{query}\n", query, "4/0abc", "'4/0abc'"):
        assert login.code_in(text) == "4/0abc"


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a b", "x" * 5000, "http://127.0.0.1:1/oauth2callback?code=4/0abc", "code=1&state=other", "ä"],
)
def test_what_is_no_answer_of_this_login_is_refused(login: Login, text: str) -> None:
    with pytest.raises(LoginRefused):
        login.code_in(text)


def test_a_refusal_in_the_browser_is_explained(login: Login) -> None:
    with pytest.raises(LoginRefused, match="test users"):
        login.code_in(f"http://x/?error=access_denied&state={login.state}")
    with pytest.raises(LoginRefused, match="organi"):
        login.code_of(f"error=admin_policy_enforced&state={login.state}")
    with pytest.raises(LoginRefused, match="odd_error"):
        login.code_of(f"error=odd_error&state={login.state}")
    with pytest.raises(LoginRefused, match="no code"):
        login.code_of(f"state={login.state}")


# -- the listener ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        made.login = Login.begin(CLIENT, made.port)
        yield made


async def ask(listener: Listener, target: str, *, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    name = f"127.0.0.1:{listener.port}" if host is None else host
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(" ")[1]), answer


async def test_one_good_answer_ends_it(listener: Listener) -> None:
    assert listener.login is not None
    status, text = await ask(listener, f"{PATH}?state={listener.login.state}&code=4%2F0abc")
    assert status == 200
    assert await listener.code() == "4/0abc"
    for secret in ("4/0abc", "4%2F0abc", listener.login.state, listener.login.verifier):
        assert secret not in text
    assert "no-store" in text
    assert (await ask(listener, f"{PATH}?state={listener.login.state}&code=other"))[0] == 400


async def test_other_requests_change_nothing(listener: Listener) -> None:
    assert listener.login is not None
    good = f"{PATH}?state={listener.login.state}&code=good"
    for target, status in {
        "/": 404,
        "/favicon.ico": 404,
        f"{PATH}/x?state={listener.login.state}&code=bad": 404,
        f"{PATH}?state=wrong&code=bad": 400,
        f"{PATH}?code=bad": 400,
        f"{PATH}?state=%ff&error=access_denied": 400,
        f"{PATH}?" + "&".join(f"a{n}=1" for n in range(100)): 400,
    }.items():
        assert (await ask(listener, target))[0] == status, target
    assert (await ask(listener, good, method="POST"))[0] == 405
    assert (await ask(listener, good, host="evil.example"))[0] == 400
    assert (await ask(listener, good, host=""))[0] == 400
    assert (await ask(listener, good, host=f"localhost:{listener.port}"))[0] == 200
    assert await listener.code() == "good"


async def test_garbage_and_silence_are_let_go(listener: Listener) -> None:
    assert listener.login is not None
    for sent in (b"\r\n\r\n", b"GET\r\n\r\n", b"x" * 40_000, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert (await ask(listener, f"{PATH}?state={listener.login.state}&code=good"))[0] == 200


async def test_a_refusal_ends_it_with_its_reason(listener: Listener) -> None:
    assert listener.login is not None
    status, text = await ask(listener, f"{PATH}?state={listener.login.state}&error=access_denied")
    assert status == 400
    assert "refused in the browser" in text
    with pytest.raises(LoginRefused, match="refused in the browser"):
        await listener.code()


async def test_nobody_is_waited_for_without_end(listener: Listener) -> None:
    with pytest.raises(LoginRefused, match="Nobody"):
        await listener.code(limit=0.01)


async def test_a_port_that_is_taken_is_an_error(listener: Listener) -> None:
    with pytest.raises(OSError, match=r"."):
        async with listening(listener.port):
            pass


# -- the exchange ------------------------------------------------------------------------------------------------------


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport()
    yield made
    await made.close()


async def test_a_code_becomes_tokens(login: Login, google: GoogleAccounts, transport: HttpTransport) -> None:
    google.scripts["token"] = [error(503, "Unavailable.")]
    grant = await exchange(transport, google.token_url, login, "4/0abc", agent="a/1")
    assert (grant.token, grant.refresh_token) == ("ya29.token-1", "1//0g-refresh-of-login-1")
    assert google.token_requests[-1] == {
        "grant_type": "authorization_code",
        "code": "4/0abc",
        "code_verifier": login.verifier,
        "redirect_uri": login.redirect,
        "client_id": CLIENT.id,
        "client_secret": CLIENT.secret,
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused("invalid_grant", "Malformed auth code."), "start again"),
        (refused("invalid_client", "The OAuth client was not found.", status=401), "ANTIGRAVITY_OAUTH_CLIENT_ID"),
        (refused("redirect_uri_mismatch"), "redirect_uri_mismatch"),
        (granted("ya29.x"), "no refresh token"),
        (page(403), "did not take the code"),
    ],
)
async def test_why_a_code_is_not_taken(
    login: Login, google: GoogleAccounts, transport: HttpTransport, answer: object, words: str
) -> None:
    google.scripts["token"] = answer  # type: ignore[assignment]
    with pytest.raises(LoginRefused, match=words) as caught:
        await exchange(transport, google.token_url, login, "4/0abc-code", agent="a/1")
    for secret in ("4/0abc-code", login.verifier, "GOCSPX"):
        assert secret not in str(caught.value)


async def test_the_address_of_the_account(google: GoogleAccounts, transport: HttpTransport) -> None:
    url = pages_beside(google.token_url)[1]
    assert await email_of(transport, "ya29.x", agent="a/1", url=url) == EMAIL
    for answer in (error(401, "No."), page(200), plain([]), plain({"email": 7}), plain({"email": "x"})):
        google.scripts["userinfo"] = answer
        assert await email_of(transport, "ya29.x", agent="a/1", url=url) == ""
    google.stop()
    assert await email_of(transport, "ya29.x", agent="a/1", url=url) == ""
