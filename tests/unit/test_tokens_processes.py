"""Renewals by several real processes."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from antigravity2api.credentials import Record, Sort
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
from fakes.google_accounts import GoogleAccounts, granted
from fakes.programs import finish, run, start
from fakes.upstream import Gate, Hang

REFRESH = "1//0g-first-refresh-token"
PROGRAM = """
import asyncio, sys
from pathlib import Path
from antigravity2api.store.secrets import Secrets
from antigravity2api.store.vault import Vault
from antigravity2api.upstreams.tokens import Tokens
from antigravity2api.upstreams.transport import HttpTransport

async def main(folder, url, record_id):
    vault = Vault(folder / "db.sqlite", Secrets(folder / "secret.key"))
    transport = HttpTransport()
    tokens = Tokens(transport, vault=vault, token_url=url, client=("client", None), locks=folder / "locks")
    record = vault.get(record_id)
    print("ready", flush=True)
    found = await asyncio.gather(*(tokens.obtain(record) for _ in range(10)))
    print(*{one.secret for one in found})
    await tokens.close()
    await transport.close()
    vault.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        yield made


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = Vault(tmp_path / "db.sqlite", Secrets(tmp_path / "secret.key"))
    yield made
    made.close()


def _login(vault: Vault) -> Record:
    return vault.add(Record(id="", upstream="antigravity", sort=Sort.OAUTH_USER, secret={"refresh_token": REFRESH}))


def test_two_processes_with_twenty_requests_ask_once(google: GoogleAccounts, vault: Vault, tmp_path: Path) -> None:
    record = _login(vault)
    gate = Gate()
    google.scripts["token"] = [dataclasses.replace(granted("ya29.for-all", refresh="1//0g-second"), first=(gate,))]
    both = [start(PROGRAM, tmp_path, google.token_url, record.id) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    google.wait_for(1)
    gate.open()
    assert [finish(process) for process in both] == ["ya29.for-all\n"] * 2
    assert len(google.token_requests) == 1
    found = vault.get(record.id)
    assert found is not None
    assert found.secret["refresh_token"] == "1//0g-second"


def test_a_process_that_is_killed_while_it_renews_loses_nothing(
    google: GoogleAccounts, vault: Vault, tmp_path: Path
) -> None:
    record = _login(vault)
    google.scripts["token"] = [dataclasses.replace(granted("ya29.never"), first=(Hang(),))]
    victim = start(PROGRAM, tmp_path, google.token_url, record.id)
    google.wait_for(1)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    found = vault.get(record.id)
    assert found is not None
    assert found == record
    assert run(PROGRAM, tmp_path, google.token_url, record.id) == "ready\nya29.token-1\n", "its lock went with it"
    assert [form["refresh_token"] for form in google.token_requests] == [REFRESH] * 2
