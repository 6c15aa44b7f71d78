from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from antigravity2api import cooling
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
from antigravity2api.upstreams.locks import locked
from antigravity2api.upstreams.tokens import Tokens
from antigravity2api.upstreams.transport import HttpTransport
from fakes.google_accounts import GoogleAccounts, granted, page, refused
from fakes.upstream import Gate, Hang, error

REFRESH = "1//0g-first-refresh-token"
CLIENT = ("client.apps.example", "GOCSPX-client-secret")
HOUR = 3600.0


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_now = 1_900_000_000.0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall_now += seconds


class Desk:
    """Everything around the tokens of one process."""

    def __init__(self, google: GoogleAccounts, folder: Path) -> None:
        self.google = google
        self.folder = folder
        self.clock = Clock()
        self.transport = HttpTransport()
        self.vault = Vault(folder / "db.sqlite", Secrets(folder / "secret.key"), wall=lambda: self.clock.wall_now)
        self.heard: list[tuple[str, str, Any]] = []
        self.made: list[Tokens] = []
        self.tokens = self.process()

    def process(self, **more: Any) -> Tokens:
        async def no_pause(seconds: float) -> None:
            assert seconds < 8

        tokens = Tokens(
            self.transport,
            **{
                "vault": self.vault,
                "token_url": self.google.token_url,
                "client": CLIENT,
                "locks": self.folder / "locks",
                "clock": lambda: self.clock.now,
                "wall": lambda: self.clock.wall_now,
                "environ": {"NO_GCE_CHECK": "true"},
                "report": lambda *what: self.heard.append(what),
                "pause": no_pause,
                **more,
            },
        )
        self.made.append(tokens)
        return tokens

    def stored(self, **secret: Any) -> Record:
        """A login in the store; by default one whose token is over."""
        secret = {"refresh_token": REFRESH, **secret}
        return self.vault.add(Record(id="", upstream="antigravity", sort=Sort.OAUTH_USER, secret=secret, project="p-1"))

    def again(self, record: Record) -> Record:
        found = self.vault.get(record.id)
        assert found is not None
        return found

    @property
    def asked(self) -> list[dict[str, str]]:
        return self.google.token_requests

    async def fault(self, record: Record, tokens: Tokens | None = None, **more: Any) -> Fault:
        with pytest.raises(Fault) as caught:
            await (tokens or self.tokens).obtain(record, **more)
        fault = caught.value
        assert fault.kind is Kind.CREDENTIAL
        assert fault.retry is Retry.OTHER_CREDENTIAL
        for secret in (REFRESH, CLIENT[1], "ya29"):
            assert secret not in f"{fault.message} {fault!r} {self.heard}"
        return fault


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
async def desk(google: GoogleAccounts, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(google, tmp_path)
    yield made
    for tokens in made.made:
        await tokens.close()
    await made.transport.close()
    made.vault.close()


# -- which credentials need a token ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "secret"),
    [
        (Sort.API_KEY, {"key": "AIza-key"}),
        (Sort.EXPRESS_KEY, {"key": "AIza-key"}),
        (Sort.ACCESS_TOKEN, {"access_token": "AIza-key"}),
    ],
)
async def test_a_key_is_ready_at_once_and_nothing_renews_it(desk: Desk, sort: Sort, secret: dict[str, str]) -> None:
    record = Record(id="one", upstream="vertex", sort=sort, secret=secret, project="p-1", location="europe-west4")
    credential = desk.tokens.ready(record)
    assert credential is not None
    assert (credential.id, credential.secret, credential.project) == ("one", "AIza-key", "p-1")
    assert (credential.location, credential.express) == ("europe-west4", sort is Sort.EXPRESS_KEY)
    assert await desk.tokens.obtain(record, refused="AIza-key") == credential
    assert not desk.tokens.renewable(record)
    assert desk.asked == []


async def test_a_stored_token_that_lives_is_used_without_asking(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.kept", expires_at=desk.clock.wall_now + 3000, expires_in=3599)
    credential = desk.tokens.ready(record)
    assert credential is not None
    assert credential.secret == "ya29.kept"
    assert desk.asked == []


@pytest.mark.parametrize(
    "token",
    [
        {},
        {"access_token": "ya29.old"},
        {"access_token": "ya29.old", "expires_at": "soon"},
        {"access_token": "ya29.old", "expires_at": True},
        {"access_token": "ya29.old", "expires_at": 1_900_000_000.0},
        {"access_token": "ya29.old", "expires_at": float("nan")},
        {"access_token": "", "expires_at": 1_900_009_999.0},
        {"access_token": 7, "expires_at": 1_900_009_999.0},
    ],
)
async def test_a_token_that_is_over_or_makes_no_sense_is_fetched_anew(desk: Desk, token: dict[str, Any]) -> None:
    record = Record(id="u", upstream="antigravity", sort=Sort.OAUTH_USER, secret={"refresh_token": REFRESH, **token})
    assert desk.tokens.ready(record) is None
    assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"
    assert desk.asked == [
        {
            "grant_type": "refresh_token",
            "refresh_token": REFRESH,
            "client_id": CLIENT[0],
            "client_secret": CLIENT[1],
        }
    ]


async def test_a_login_with_its_own_client_is_renewed_with_that(desk: Desk) -> None:
    record = desk.stored(client_id="mine.apps.example")
    await desk.tokens.obtain(record)
    assert desk.asked[0]["client_id"] == "mine.apps.example"
    assert "client_secret" not in desk.asked[0]


async def test_a_login_without_any_client_is_told_so(desk: Desk) -> None:
    tokens = desk.process(client=None)
    fault = await desk.fault(desk.stored(), tokens)
    assert fault.reason == "CLIENT_MISSING"
    assert "ANTIGRAVITY_OAUTH_CLIENT_ID" in fault.message
    assert desk.asked == []


# -- one renewal for everybody -----------------------------------------------------------------------------------------


async def test_a_hundred_requests_on_a_token_that_is_over_ask_once(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.old", expires_at=desk.clock.wall_now - 1)
    credentials = await asyncio.gather(*(desk.tokens.obtain(record) for _ in range(100)))
    assert {credential.secret for credential in credentials} == {"ya29.token-1"}
    assert len(desk.asked) == 1


async def test_who_stops_waiting_does_not_stop_the_renewal(desk: Desk) -> None:
    gate = Gate()
    desk.google.scripts["token"] = dataclasses.replace(granted("ya29.late"), first=(gate,))
    record = desk.stored()
    first = asyncio.create_task(desk.tokens.obtain(record))
    second = asyncio.create_task(desk.tokens.obtain(record))
    await asyncio.to_thread(desk.google.wait_for, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open()
    assert (await second).secret == "ya29.late"
    assert len(desk.asked) == 1


async def test_another_process_that_was_first_is_believed(desk: Desk) -> None:
    record = desk.stored()
    other = desk.process()
    assert (await other.obtain(record)).secret == "ya29.token-1"
    assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"
    assert len(desk.asked) == 1
    assert desk.tokens.ready(desk.again(record)) is not None


async def test_two_processes_at_once_ask_once(desk: Desk) -> None:
    record = desk.stored()
    both = await asyncio.gather(desk.process().obtain(record), desk.process().obtain(record))
    assert [credential.secret for credential in both] == ["ya29.token-1"] * 2
    assert len(desk.asked) == 1


async def test_a_process_that_keeps_the_lock_for_too_long_costs_no_more_than_the_limit(desk: Desk) -> None:
    record = desk.stored()
    tokens = desk.process(limit=0.6)
    async with locked(desk.folder / "locks", record.id, limit=1):
        fault = await desk.fault(record, tokens)
    assert fault.reason == "TOKEN_BUSY"
    assert desk.asked == []


async def test_without_a_place_for_locks_it_goes_on(desk: Desk) -> None:
    (desk.folder / "file").write_text("")
    tokens = desk.process(locks=desk.folder / "file" / "locks")
    assert (await tokens.obtain(desk.stored())).secret == "ya29.token-1"


# -- ahead of time -----------------------------------------------------------------------------------------------------


async def _renewed(desk: Desk, tokens: Tokens, record: Record) -> None:
    """Wait for a renewal in the background."""
    flight = tokens._accounts[record.id].flight
    assert flight is not None
    await flight


async def test_a_token_is_renewed_before_its_end_while_requests_go_on_with_it(desk: Desk) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    desk.clock.pass_by(3599 - 601)
    assert desk.tokens.ready(record) is not None
    assert desk.tokens._accounts[record.id].flight is None  # too early
    desk.clock.pass_by(302)
    for _ in range(100):
        credential = desk.tokens.ready(record)
        assert credential is not None
        assert credential.secret == "ya29.token-1"
    await _renewed(desk, desk.tokens, record)
    credential = desk.tokens.ready(record)
    assert credential is not None
    assert credential.secret == "ya29.token-2"
    assert len(desk.asked) == 2


async def test_processes_do_not_renew_at_the_same_moment(desk: Desk) -> None:
    ahead = {desk.process()._ahead for _ in range(8)}
    assert len(ahead) == 8
    assert all(300 <= seconds <= 600 for seconds in ahead)


async def test_a_short_token_is_renewed_in_its_last_quarter(desk: Desk) -> None:
    desk.google.scripts["token"] = [granted("ya29.short", seconds=100)]
    record = desk.stored()
    await desk.tokens.obtain(record)
    desk.clock.pass_by(74)
    assert desk.tokens.ready(record) is not None
    assert desk.tokens._accounts[record.id].flight is None
    desk.clock.pass_by(2)
    assert desk.tokens.ready(record) is not None
    await _renewed(desk, desk.tokens, record)
    assert len(desk.asked) == 2


async def test_an_old_token_is_used_to_its_end_when_renewing_fails(desk: Desk) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    desk.google.scripts["token"] = error(500, "An internal error has occurred.")
    desk.clock.pass_by(3400)
    assert desk.tokens.ready(record) is not None
    await _renewed(desk, desk.tokens, record)
    asked = len(desk.asked)
    assert asked == 4  # one, and three tries
    for _ in range(100):
        assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"
    assert desk.tokens._accounts[record.id].flight is None
    desk.clock.pass_by(200)
    await desk.fault(record)
    assert desk.again(record).state is State.READY


# -- what a token endpoint can do --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "tries"),
    [
        (error(500, "An internal error has occurred."), 3),
        (error(503, "Unavailable."), 3),
        (page(200), 3),
        (page(502), 3),
        (granted(""), 3),
        (granted("two words"), 3),
        (refused("internal_failure", status=500), 3),
        (refused("invalid_client", "The OAuth client was not found.", status=401), 1),
        (refused("temporarily_unavailable", status=400), 1),
        (refused("slow_down", status=429), 1),
        (page(403), 1),
        (page(302), 1),
        (error(404, "Not found."), 1),
    ],
)
async def test_what_may_pass_by_itself_is_tried_again_later(desk: Desk, script: Any, tries: int) -> None:
    desk.google.scripts["token"] = script
    record = desk.stored()
    await desk.fault(record)
    assert len(desk.asked) == tries
    await asyncio.gather(*(desk.fault(record) for _ in range(100)))
    assert len(desk.asked) == tries, "the next hundred do not ask again"
    assert desk.again(record).state is State.READY
    assert desk.again(record).secret["refresh_token"] == REFRESH
    del desk.google.scripts["token"]
    desk.clock.pass_by(6)
    assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"


async def test_a_passing_failure_is_not_seen(desk: Desk) -> None:
    desk.google.scripts["token"] = [error(500, "An internal error has occurred."), page(200)]
    assert (await desk.tokens.obtain(desk.stored())).secret == "ya29.token-1"
    assert len(desk.asked) == 3


async def test_an_endpoint_that_says_nothing_is_waited_for_within_the_limit(desk: Desk) -> None:
    desk.google.scripts["token"] = dataclasses.replace(granted("ya29.never"), first=(Hang(),))
    record = desk.stored()
    tokens = desk.process(limit=0.8)
    fault = await desk.fault(record, tokens)
    assert fault.reason in ("UPSTREAM_TIMEOUT", "TOKEN_TIMEOUT")
    assert len(desk.asked) == 1


async def test_an_endpoint_that_is_not_there_is_a_fault_in_words(desk: Desk) -> None:
    desk.google.stop()
    fault = await desk.fault(desk.stored())
    assert fault.reason == "UNREACHABLE"


@pytest.mark.parametrize("reason", ["invalid_client", "unauthorized_client", "deleted_client"])
async def test_a_client_that_is_wrong_is_configuration_and_not_the_logins_fault(desk: Desk, reason: str) -> None:
    desk.google.scripts["token"] = refused(reason, "The OAuth client was not found.", status=401)
    record = desk.stored()
    fault = await desk.fault(record)
    assert "ANTIGRAVITY_OAUTH_CLIENT_ID" in fault.message
    assert desk.again(record).state is State.READY
    lesson = cooling.lesson(fault, 0.0)
    assert lesson is not None
    assert lesson.state is None, "the right client may come with the next start"


async def test_the_client_of_an_imported_file_is_not_looked_for_in_the_configuration(desk: Desk) -> None:
    desk.google.scripts["token"] = refused("unauthorized_client", "Unauthorized.", status=401)
    fault = await desk.fault(desk.stored(client_id="its-own"))
    assert "ANTIGRAVITY_OAUTH_CLIENT_ID" not in fault.message
    assert "file that it came from" in fault.message


async def test_a_dead_login_is_said_so_in_googles_words(desk: Desk) -> None:
    desk.google.scripts["token"] = refused("invalid_grant", f"Token has been expired or revoked: {REFRESH}")
    record = desk.stored()
    fault = await desk.fault(record)
    assert fault.reason == "invalid_grant"
    assert len(desk.asked) == 1
    found = desk.again(record)
    assert found.state is State.NEEDS_LOGIN
    assert "expired or revoked" in found.message
    assert REFRESH not in found.message
    assert found.secret["refresh_token"] == REFRESH, "nothing is thrown away"
    revision = desk.vault.revision()
    desk.clock.pass_by(61)
    await desk.fault(found)
    assert len(desk.asked) == 2
    assert desk.vault.revision() == revision, "the same words are not written again"


async def test_a_dead_login_that_was_mended_meanwhile_is_ready_again(desk: Desk) -> None:
    desk.google.scripts["token"] = [refused("invalid_grant", "Revoked.")]
    record = desk.stored()
    await desk.fault(record)
    desk.clock.pass_by(61)
    await desk.tokens.obtain(desk.again(record))
    found = desk.again(record)
    assert (found.state, found.message) == (State.READY, "")


async def test_a_login_that_was_replaced_while_google_was_asked_is_not_dead(desk: Desk) -> None:
    record = desk.stored()

    def replaced(_: Any) -> Any:
        desk.vault.change(record.id, secret={"refresh_token": "1//0g-second"})
        return refused("invalid_grant", "Token has been expired or revoked.")

    desk.google.scripts["token"] = [replaced]
    assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"
    assert [form["refresh_token"] for form in desk.asked] == [REFRESH, "1//0g-second"]
    assert desk.again(record).state is State.READY


async def test_a_new_login_is_used_at_once_though_the_old_one_was_dead(desk: Desk) -> None:
    desk.google.scripts["token"] = [refused("invalid_grant", "Revoked.")]
    record = desk.stored()
    await desk.fault(record)
    renewed = desk.vault.change(record.id, secret={"refresh_token": "1//0g-second"}, state=State.READY, message="")
    assert desk.tokens.ready(renewed) is None
    assert (await desk.tokens.obtain(renewed)).secret == "ya29.token-1"


async def test_the_token_of_a_login_that_was_replaced_is_not_used_on(desk: Desk) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    renewed = desk.vault.change(
        record.id, secret={"refresh_token": "1//0g-second", "access_token": None, "expires_at": None}
    )
    assert desk.tokens.ready(renewed) is None


async def test_a_removed_login_is_no_login(desk: Desk) -> None:
    record = desk.stored()
    desk.vault.remove(record.id)
    fault = await desk.fault(record)
    assert fault.reason == "CREDENTIAL_REMOVED"
    assert desk.asked == []


# -- what is written down ----------------------------------------------------------------------------------------------


async def test_a_new_refresh_token_is_written_before_anybody_uses_the_token(desk: Desk) -> None:
    desk.google.scripts["token"] = [granted("ya29.one", refresh="1//0g-second")]
    record = desk.stored()
    written: list[Any] = []
    change = desk.vault.change

    def spy(*about: Any, **fields: Any) -> Record:
        written.append(desk.tokens._accounts[record.id].held)
        return change(*about, **fields)

    desk.vault.change = spy  # type: ignore[method-assign]
    await desk.tokens.obtain(record)
    assert written == [None]
    secret = desk.again(record).secret
    assert (secret["refresh_token"], secret["access_token"]) == ("1//0g-second", "ya29.one")
    assert secret["expires_at"] == pytest.approx(desk.clock.wall_now + 3599)
    # The pool may have the older record for a moment: it is the same login.
    assert desk.tokens.ready(record) is not None
    assert desk.tokens.ready(desk.again(record)) is not None
    desk.clock.pass_by(HOUR)
    await desk.tokens.obtain(record)
    assert desk.asked[1]["refresh_token"] == "1//0g-second"


async def test_without_a_new_refresh_token_the_old_one_stays(desk: Desk) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    assert desk.again(record).secret["refresh_token"] == REFRESH


async def test_a_login_outside_the_store_keeps_its_new_refresh_token_in_memory(desk: Desk) -> None:
    desk.google.scripts["token"] = [granted("ya29.one", refresh="1//0g-second")]
    record = Record(id="u", upstream="antigravity", sort=Sort.OAUTH_USER, secret={"refresh_token": REFRESH})
    await desk.tokens.obtain(record)
    assert desk.tokens.ready(record) is not None
    desk.clock.pass_by(HOUR)
    await desk.tokens.obtain(record)
    assert desk.asked[1]["refresh_token"] == "1//0g-second"


async def test_a_store_that_fails_costs_nobody_their_answer_and_no_refresh_token(desk: Desk) -> None:
    desk.google.scripts["token"] = [granted("ya29.one", refresh="1//0g-second")]
    record = desk.stored()
    change = desk.vault.change

    def full(*about: Any, **fields: Any) -> Record:
        raise OSError("No space left on device")

    desk.vault.change = full  # type: ignore[method-assign]
    assert (await desk.tokens.obtain(record)).secret == "ya29.one"
    assert ("error", "token not stored") in [what[:2] for what in desk.heard]
    desk.vault.change = change  # type: ignore[method-assign]
    desk.clock.pass_by(HOUR)
    await desk.tokens.obtain(record)
    assert desk.asked[1]["refresh_token"] == "1//0g-second"
    assert desk.again(record).secret["refresh_token"] == "1//0g-second"


async def test_a_store_that_cannot_be_read_does_not_stop_a_renewal(desk: Desk) -> None:
    record = desk.stored()

    def broken(*about: Any) -> Record:
        raise OSError("Input/output error")

    desk.vault.get = broken  # type: ignore[method-assign,assignment]
    assert (await desk.tokens.obtain(record)).secret == "ya29.token-1"


async def test_a_login_of_the_meantime_is_not_overwritten(desk: Desk) -> None:
    record = desk.stored()

    def replaced(_: Any) -> Any:
        desk.vault.change(record.id, secret={"refresh_token": "1//0g-second"})
        return granted("ya29.of-the-old-login", refresh="1//0g-rotated")

    desk.google.scripts["token"] = [replaced]
    await desk.tokens.obtain(record)
    assert desk.again(record).secret["refresh_token"] == "1//0g-second"
    assert "access_token" not in desk.again(record).secret


# -- clocks, and a 401 as the last word --------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86400.0, -600.0, 600.0, 3000.0, 86400.0 * 365])
async def test_a_clock_that_jumps_causes_no_renewal(desk: Desk, jump: float) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    desk.clock.wall_now += jump
    for _ in range(20):
        desk.clock.pass_by(100)
        assert (await desk.tokens.obtain(desk.again(record))).secret == "ya29.token-1"
    assert len(desk.asked) == 1


async def test_a_stored_token_is_not_believed_for_longer_than_its_life(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.kept", expires_at=desk.clock.wall_now + 10 * 86400, expires_in=3599)
    assert desk.tokens.ready(record) is not None
    desk.clock.now += 3600
    assert desk.tokens.ready(record) is None


async def test_a_token_that_is_refused_is_renewed_once_for_all_who_had_it(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.dead", expires_at=desk.clock.wall_now + 3000)
    assert (await desk.tokens.obtain(record)).secret == "ya29.dead"
    got = await asyncio.gather(*(desk.tokens.obtain(record, refused="ya29.dead") for _ in range(50)))
    assert {credential.secret for credential in got} == {"ya29.token-1"}
    late = await desk.tokens.obtain(record, refused="ya29.dead")
    assert late.secret == "ya29.token-1"
    assert len(desk.asked) == 1


async def test_a_new_token_that_is_refused_as_well_is_not_renewed_again_and_again(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.dead", expires_at=desk.clock.wall_now + 3000)
    await desk.tokens.obtain(record)
    await desk.tokens.obtain(record, refused="ya29.dead")
    for _ in range(20):
        fault = await desk.fault(record, refused="ya29.token-1")
        assert fault.reason == "ACCESS_TOKEN_REFUSED"
        assert (await desk.tokens.obtain(record)).secret == "ya29.token-1", "and the next request is served"
    assert len(desk.asked) == 1
    desk.clock.pass_by(31)
    assert (await desk.tokens.obtain(record, refused="ya29.token-1")).secret == "ya29.token-2"


async def test_a_refused_token_is_not_taken_from_the_store_again(desk: Desk) -> None:
    record = desk.stored(access_token="ya29.dead", expires_at=desk.clock.wall_now + 3000)
    assert (await desk.tokens.obtain(record, refused="ya29.dead")).secret == "ya29.token-1"
    assert len(desk.asked) == 1


async def test_a_project_that_was_found_later_goes_with_the_same_token(desk: Desk) -> None:
    record = desk.stored()
    await desk.tokens.obtain(record)
    credential = desk.tokens.ready(dataclasses.replace(desk.again(record), project="p-2"))
    assert credential is not None
    assert (credential.secret, credential.project) == ("ya29.token-1", "p-2")
    assert len(desk.asked) == 1


# -- service accounts and default credentials --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_file() -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": "sa-project-1",
        "private_key_id": "k1",
        "private_key": text,
        "client_email": "robot@sa-project-1.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def _claims(form: dict[str, str]) -> dict[str, Any]:
    from google.auth import jwt

    claims: dict[str, Any] = jwt.decode(form["assertion"], verify=False)  # type: ignore[no-untyped-call]
    return claims


def _account(key_file: dict[str, str], **more: Any) -> Record:
    return Record(id="vertex-1", upstream="vertex", sort=Sort.SERVICE_ACCOUNT, secret={**key_file, **more})


async def test_a_service_account_signs_for_its_token(desk: Desk, key_file: dict[str, str]) -> None:
    credential = await desk.tokens.obtain(_account(key_file))
    assert (credential.secret, credential.project) == ("ya29.token-1", "sa-project-1")
    (form,) = desk.asked
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = _claims(form)
    assert claims["iss"] == key_file["client_email"]
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_key_files_own_token_endpoint_is_asked_unless_another_is_configured(
    desk: Desk, key_file: dict[str, str]
) -> None:
    tokens = desk.process(token_url="https://oauth2.googleapis.com/token")
    record = _account(key_file, token_uri=f"{desk.google.url}/token")
    await tokens.obtain(record)
    assert _claims(desk.asked[0])["aud"] == f"{desk.google.url}/token"


@pytest.mark.parametrize("url", ["http://evil.example/token", "file:///etc/passwd", "https://user@h/", "nonsense"])
async def test_a_token_endpoint_without_tls_is_not_asked(desk: Desk, key_file: dict[str, str], url: str) -> None:
    tokens = desk.process(token_url="https://oauth2.googleapis.com/token")
    fault = await desk.fault(_account(key_file, token_uri=url), tokens)
    assert fault.reason == "CREDENTIAL_MALFORMED"


@pytest.mark.parametrize("key", ["", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n", None])
async def test_a_broken_key_is_said_so_without_showing_it(desk: Desk, key_file: dict[str, str], key: Any) -> None:
    fault = await desk.fault(_account(key_file, private_key=key))
    assert fault.reason == "CREDENTIAL_MALFORMED"
    assert "BEGIN" not in fault.message
    assert desk.asked == []


async def test_googles_clock_is_taken_where_it_finds_ours_wrong(desk: Desk, key_file: dict[str, str]) -> None:
    true_time = desk.clock.wall_now - 900
    words = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    desk.google.scripts["token"] = [refused("invalid_grant", words, date=formatdate(true_time, usegmt=True))]
    assert (await desk.tokens.obtain(_account(key_file))).secret == "ya29.token-1"
    assert _claims(desk.asked[1])["iat"] == int(true_time)


async def test_a_clock_that_cannot_be_mended_is_no_dead_key(desk: Desk, key_file: dict[str, str]) -> None:
    words = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    desk.google.scripts["token"] = refused("invalid_grant", words)
    record = desk.vault.add(dataclasses.replace(_account(key_file), id=""))
    fault = await desk.fault(record)
    assert fault.reason == "CLOCK_SKEW"
    assert "clock" in fault.message
    assert desk.again(record).state is State.READY
    assert len(desk.asked) == 1


async def test_a_key_that_was_deleted_needs_another_one(desk: Desk, key_file: dict[str, str]) -> None:
    desk.google.scripts["token"] = refused("invalid_grant", "Invalid JWT Signature.")
    record = desk.vault.add(dataclasses.replace(_account(key_file), id=""))
    await desk.fault(record)
    assert desk.again(record).state is State.NEEDS_LOGIN
    assert desk.again(record).message == "Invalid JWT Signature."


def _default(file: Path | None = None) -> Record:
    secret = {"file": str(file)} if file else {}
    return Record(id="vertex-1", upstream="vertex", sort=Sort.DEFAULT, secret=secret)


async def test_default_credentials_of_a_user_and_of_a_service_account(
    desk: Desk, key_file: dict[str, str], tmp_path: Path
) -> None:
    user = {
        "type": "authorized_user",
        "client_id": "gcloud.example",
        "client_secret": "s",
        "refresh_token": REFRESH,
        "quota_project_id": "user-project-1",
    }
    file = tmp_path / "adc.json"
    file.write_text(json.dumps(user))
    credential = await desk.tokens.obtain(_default(file))
    assert (credential.secret, credential.project) == ("ya29.token-1", "user-project-1")
    assert desk.asked[0]["client_id"] == "gcloud.example"
    file.write_text(json.dumps(key_file))
    desk.clock.pass_by(HOUR)
    assert (await desk.tokens.obtain(_default(file))).project == "sa-project-1"


async def test_gclouds_own_file_is_found(desk: Desk, key_file: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps(key_file))
    tokens = desk.process(environ={"HOME": str(tmp_path)})
    assert (await tokens.obtain(_default())).project == "sa-project-1"


@pytest.mark.parametrize("text", ["", "{", '{"type": "authorized_us', "[]", '{"type": "gdch_service_account"}'])
async def test_a_default_file_that_is_no_credentials_file_is_named(desk: Desk, tmp_path: Path, text: str) -> None:
    file = tmp_path / "adc.json"
    file.write_text(text)
    fault = await desk.fault(_default(file))
    assert "adc.json" in fault.message
    assert str(tmp_path) not in fault.message


async def test_a_default_file_that_is_being_written_is_read_again(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "adc.json"
    file.write_text('{"type": "authorized_us')
    record = _default(file)
    fault = await desk.fault(record)
    lesson = cooling.lesson(fault, 0.0)
    assert lesson is not None
    assert lesson.state is None, "it may be whole a moment later, and nobody would ask again"
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": REFRESH}
    file.write_text(json.dumps(user))
    desk.clock.pass_by(6)
    assert (await desk.tokens.obtain(record)).secret


async def test_without_default_credentials_the_operator_hears_how_to_make_them(desk: Desk) -> None:
    fault = await desk.fault(_default())
    assert fault.reason == "DEFAULT_CREDENTIALS_MISSING"
    assert "gcloud auth application-default login" in fault.message


async def test_the_metadata_server_is_asked_directly(desk: Desk) -> None:
    flavor = ("Metadata-Flavor", "Google")
    token = granted("ya29.machine", seconds=1800)
    desk.google.scripts |= {
        "token": dataclasses.replace(token, headers=(*token.headers, flavor)),
        "project-id": dataclasses.replace(page(200, "machine-project-1"), headers=(flavor,)),
    }
    behind = HttpTransport(proxy="http://127.0.0.1:9")  # a proxy that nobody is behind
    tokens = Tokens(
        behind, vault=None, locks=desk.folder, environ={"GCE_METADATA_HOST": f"127.0.0.1:{desk.google.port}"}
    )
    credential = await tokens.obtain(_default())
    assert (credential.secret, credential.project) == ("ya29.machine", "machine-project-1")
    assert desk.google.requests[0].header("metadata-flavor") == "Google"
    await tokens.close()
    await behind.close()


async def test_federated_credentials_get_their_token_from_google_auth_over_our_connections(
    desk: Desk, tmp_path: Path
) -> None:
    subject = tmp_path / "subject"
    subject.write_text("subject-token")
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{desk.google.url}/v1/token",
        "credential_source": {"file": str(subject)},
    }
    file = tmp_path / "adc.json"
    file.write_text(json.dumps(info))
    desk.google.scripts["token"] = granted("ya29.federated", issued_token_type="x")
    credential = await desk.tokens.obtain(dataclasses.replace(_default(file), project="p-9"))
    assert (credential.secret, credential.project) == ("ya29.federated", "p-9")
    assert desk.asked[0]["subject_token"] == "subject-token"
    agent = desk.google.requests[0].header("user-agent")
    assert agent is not None
    assert agent.startswith("antigravity2api/")


async def test_no_program_is_started_for_a_token(desk: Desk, tmp_path: Path) -> None:
    made = tmp_path / "made"
    info = {
        "type": "external_account",
        "audience": "a",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"executable": {"command": f"touch {made}"}},
    }
    file = tmp_path / "adc.json"
    file.write_text(json.dumps(info))
    fault = await desk.fault(_default(file))
    assert "no program is started" in fault.message
    assert not made.exists()
