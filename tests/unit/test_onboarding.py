from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.credentials import NAMED, Record, Sort, State, needs_project
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Credential
from antigravity2api.onboarding import CodeAssistCalls, Projects
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
from antigravity2api.upstreams.shaping import address_of
from antigravity2api.upstreams.transport import HttpTransport
from fakes.google_accounts import PROJECT, STANDARD, GoogleAccounts, account, newcomer, operation
from fakes.upstream import error, plain

VERIFY = "https://accounts.google.com/verify"
CREDENTIAL = Credential("antigravity-1", "ya29.secret-token")


def info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


class Desk:
    def __init__(self, google: GoogleAccounts, folder: Path) -> None:
        self.google = google
        self.folder = folder
        self.now = 1000.0
        self.paused = 0.0
        self.transport = HttpTransport()
        self.vault = Vault(folder / "db.sqlite", Secrets(folder / "secret.key"))
        self.projects = self.process()

    def process(self) -> Projects:
        async def pause(seconds: float) -> None:
            self.now += seconds
            self.paused += seconds
            await asyncio.sleep(0)

        calls = CodeAssistCalls(
            self.transport, address_of(self.google.url), clock=lambda: self.now, pause=pause, agent="antigravity2api/0"
        )
        return Projects(calls, vault=self.vault, locks=self.folder / "locks", clock=lambda: self.now)

    def stored(self, project: str | None = None, **secret: Any) -> Record:
        secret = {"refresh_token": "1//0g-refresh", **secret}
        return self.vault.add(
            Record(id="", upstream="antigravity", sort=Sort.OAUTH_USER, secret=secret, project=project)
        )

    def again(self, record: Record) -> Record:
        found = self.vault.get(record.id)
        assert found is not None
        return found

    async def fault(self, record: Record, **more: Any) -> Fault:
        with pytest.raises(Fault) as caught:
            await self.projects.ensure(record, CREDENTIAL, **more)
        assert CREDENTIAL.secret not in f"{caught.value.message} {self.again(record)}"
        return caught.value


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
async def desk(google: GoogleAccounts, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(google, tmp_path)
    yield made
    await made.projects.close()
    await made.transport.close()
    made.vault.close()


@pytest.mark.parametrize(
    ("record", "needs"),
    [
        (Record(id="a", upstream="antigravity", sort=Sort.OAUTH_USER, secret={}), True),
        (Record(id="a", upstream="antigravity", sort=Sort.OAUTH_USER, secret={}, project="p"), False),
        (
            Record(
                id="a", upstream="antigravity", sort=Sort.OAUTH_USER, secret={"project_unverified": True}, project="p"
            ),
            True,
        ),
        (Record(id="a", upstream="vertex", sort=Sort.DEFAULT, secret={}), False),
    ],
)
def test_who_needs_a_project(record: Record, *, needs: bool) -> None:
    assert needs_project(record) is needs


async def test_a_project_is_found_once_and_written_down(desk: Desk) -> None:
    record = desk.stored()
    found = await asyncio.gather(*(desk.projects.ensure(record, CREDENTIAL) for _ in range(50)))
    assert {one.project for one in found} == {PROJECT}
    assert len(desk.google.asked("loadCodeAssist")) == 1
    assert desk.again(record).project == PROJECT
    known = desk.projects.known(record)
    assert known.project == PROJECT
    assert desk.projects.known(record) is known
    request = desk.google.asked("loadCodeAssist")[0]
    assert request.header("authorization") == "Bearer ya29.secret-token"
    for name in ("x-goog-api-client", "client-metadata", "x-goog-user-project"):
        assert request.header(name) is None


async def test_a_project_that_is_there_is_not_asked_for(desk: Desk) -> None:
    record = desk.stored("p-1")
    assert await desk.projects.ensure(record, CREDENTIAL) is record
    assert desk.google.requests == []


async def test_a_newcomer_is_taken_in_and_waited_for(desk: Desk) -> None:
    desk.google.scripts |= {
        "loadCodeAssist": plain(newcomer()),
        "onboardUser": plain(operation(done=False)),
        "abc-1": [plain(operation(done=False)), plain(operation(done=False)), plain(operation(done=True))],
    }
    record = await desk.projects.ensure(desk.stored(), CREDENTIAL)
    assert record.project == PROJECT
    assert desk.paused == 15.0
    (asked,) = desk.google.asked("onboardUser")
    assert asked.json["tierId"] == "free-tier"
    assert "cloudaicompanionProject" not in asked.json
    assert [one.target for one in desk.google.asked("abc-1")] == ["/v1internal/operations/abc-1"] * 3


async def test_taking_in_has_a_limit(desk: Desk) -> None:
    desk.google.scripts |= {
        "loadCodeAssist": plain(newcomer()),
        "onboardUser": plain(operation(done=False)),
        "abc-1": plain(operation(done=False)),
    }
    record = desk.stored()
    fault = await desk.fault(record)
    assert fault.reason == "ONBOARDING_TIMEOUT"
    assert desk.paused == 120.0
    assert desk.again(record).state is State.READY, "it may still come"


@pytest.mark.parametrize(
    "answer",
    [
        {"name": "operations/abc-1", "done": True, "error": {"code": 7, "message": "Not for you.", "status": "X"}},
        operation(done=True, project=None),
        {"done": False},
        {"done": False, "name": "../../x"},
        {},
    ],
)
async def test_an_operation_that_leads_nowhere_ends_in_words(desk: Desk, answer: dict[str, Any]) -> None:
    desk.google.scripts |= {"loadCodeAssist": plain(newcomer()), "onboardUser": plain(answer)}
    fault = await desk.fault(desk.stored())
    assert fault.message
    assert desk.paused <= 5.0


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (plain(account(project=None)), State.NO_PROJECT, "PROJECT_MISSING"),
        (
            plain(newcomer(ineligibleTiers=[{"reasonCode": "VALIDATION_REQUIRED", "validationUrl": VERIFY}])),
            State.NEEDS_VERIFICATION,
            "VALIDATION_REQUIRED",
        ),
        (
            error(403, "Verify.", details=[info("VALIDATION_REQUIRED", validation_link=VERIFY)]),
            State.NEEDS_VERIFICATION,
            "VALIDATION_REQUIRED",
        ),
        (error(403, "Disabled for violation of Terms of Service."), State.DISABLED_BY_TERMS, "TOS_VIOLATION"),
        (error(403, "The caller does not have permission."), State.NO_PROJECT, "PROJECT_MISSING"),
        (error(403, "Org policy.", details=[info("SECURITY_POLICY_VIOLATED")]), State.NO_PROJECT, "PROJECT_MISSING"),
    ],
)
async def test_a_refusal_is_a_state_with_googles_words(desk: Desk, answer: Any, state: State, reason: str) -> None:
    desk.google.scripts["loadCodeAssist"] = answer
    record = desk.stored()
    fault = await desk.fault(record)
    assert (fault.kind, fault.reason) == (Kind.CREDENTIAL, reason)
    found = desk.again(record)
    assert (found.state, found.project) == (state, None)
    assert found.message
    assert found.link == (VERIFY if state is State.NEEDS_VERIFICATION else "")
    assert (fault.link or "") == found.link
    expected = Retry.OTHER_UPSTREAM if state is State.DISABLED_BY_TERMS else Retry.OTHER_CREDENTIAL
    assert fault.retry is expected
    await asyncio.gather(*(desk.fault(record) for _ in range(20)))
    assert len(desk.google.asked("loadCodeAssist")) == 1, "the next ones do not ask again"
    desk.now += 301
    desk.google.scripts.clear()
    assert (await desk.projects.ensure(record, CREDENTIAL)).project == PROJECT
    mended = state if state is State.DISABLED_BY_TERMS else State.READY
    assert desk.again(record).state is mended


async def test_what_passes_by_itself_is_no_state(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = [error(503, "Unavailable."), error(503, "Unavailable.")]
    record = desk.stored()
    await desk.fault(record)
    assert desk.again(record).state is State.READY
    desk.now += 16
    assert (await desk.projects.ensure(record, CREDENTIAL)).project == PROJECT


async def test_a_single_failure_is_not_seen(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = [error(500, "Internal.")]
    assert (await desk.projects.ensure(desk.stored(), CREDENTIAL)).project == PROJECT


async def test_a_token_that_is_refused_can_be_renewed_and_asked_with_at_once(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = [error(401, "Invalid credentials.")]
    record = desk.stored()
    fault = await desk.fault(record)
    assert fault.upstream_status == 401
    assert (await desk.projects.ensure(record, CREDENTIAL)).project == PROJECT


async def test_a_project_number_is_refused_unasked(desk: Desk) -> None:
    record = desk.stored("123456789", project_unverified=True)
    fault = await desk.fault(record)
    assert "project number" in fault.message
    assert desk.google.requests == []


# -- imported projects -------------------------------------------------------------------------------------------------


async def test_an_imported_project_that_is_the_accounts_is_kept(desk: Desk) -> None:
    record = await desk.projects.ensure(desk.stored(PROJECT, project_unverified=True), CREDENTIAL)
    assert (record.project, record.secret.get("project_unverified")) == (PROJECT, None)
    assert "project_unverified" not in desk.again(record).secret
    assert desk.again(record).secret["refresh_token"] == "1//0g-refresh"


async def test_an_imported_project_that_was_made_up_is_replaced(desk: Desk) -> None:
    def answer(record: Any) -> Any:
        if record.json.get("cloudaicompanionProject"):
            return error(403, "The caller does not have permission on project 'useful-wave-a1b2c'.")
        return plain(account())

    desk.google.scripts["loadCodeAssist"] = answer
    record = await desk.projects.ensure(desk.stored("useful-wave-a1b2c", project_unverified=True), CREDENTIAL)
    assert record.project == PROJECT


async def test_an_imported_project_is_kept_for_accounts_with_projects_of_their_own(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = plain(account(project=None, currentTier=STANDARD))
    record = await desk.projects.ensure(desk.stored("mine-1", project_unverified=True), CREDENTIAL)
    assert record.project == "mine-1"


BUSINESS = {"id": "standard-tier", "userDefinedCloudaicompanionProject": True, "isDefault": True}


async def test_a_newcomer_is_taken_in_with_the_project_that_the_operator_named(desk: Desk) -> None:
    desk.google.scripts |= {
        "loadCodeAssist": plain({"allowedTiers": [BUSINESS]}),
        "onboardUser": plain(operation(done=True, project="mine-1")),
    }
    record = await desk.projects.ensure(desk.stored("mine-1", project_unverified=NAMED), CREDENTIAL)
    assert (record.project, record.secret.get("project_unverified")) == ("mine-1", None)
    (asked,) = desk.google.asked("onboardUser")
    assert (asked.json["tierId"], asked.json["cloudaicompanionProject"]) == ("standard-tier", "mine-1")


async def test_nobody_is_taken_in_with_a_project_that_a_file_named(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = plain({"allowedTiers": [BUSINESS]})
    await desk.fault(desk.stored("useful-wave-a1b2c", project_unverified=True))
    assert desk.google.asked("onboardUser") == []


async def test_the_project_that_the_operator_named_counts_where_google_names_none(desk: Desk) -> None:
    desk.google.scripts["loadCodeAssist"] = plain(account(project=None))
    record = await desk.projects.ensure(desk.stored("mine-1", project_unverified=NAMED), CREDENTIAL)
    assert record.project == "mine-1"


async def test_a_project_that_is_refused_later_is_looked_for_once_more(desk: Desk) -> None:
    record = desk.stored("old-project-1")
    found = await desk.projects.ensure(record, CREDENTIAL, again=True)
    assert found.project == PROJECT
    assert desk.again(record).project == PROJECT
    with pytest.raises(Fault):
        await desk.projects.ensure(found, CREDENTIAL, again=True)
    assert len(desk.google.asked("loadCodeAssist")) == 1


async def test_two_processes_look_once(desk: Desk) -> None:
    record = desk.stored()
    other = desk.process()
    found = await asyncio.gather(desk.projects.ensure(record, CREDENTIAL), other.ensure(record, CREDENTIAL))
    assert [one.project for one in found] == [PROJECT] * 2
    assert len(desk.google.asked("loadCodeAssist")) == 1


async def test_a_store_that_fails_does_not_stop_it(desk: Desk) -> None:
    record = desk.stored()

    def full(*about: Any, **fields: Any) -> Record:
        raise OSError("No space left on device")

    desk.vault.change = full  # type: ignore[method-assign]
    assert (await desk.projects.ensure(record, CREDENTIAL)).project == PROJECT
