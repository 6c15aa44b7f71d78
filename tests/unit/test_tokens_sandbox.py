"""Renewals against the embedded upstream's token endpoint, and through a proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antigravity2api.credentials import Record, Sort
from antigravity2api.errors import Fault
from antigravity2api.sandbox import Sandbox
from antigravity2api.sandbox.tokens import REFRESH_FAULTS
from antigravity2api.upstreams.tokens import Tokens
from antigravity2api.upstreams.transport import HttpTransport
from fakes.google_accounts import GoogleAccounts

SERVED = frozenset({"refresh-slow", "refresh-short"})
"""Faults that end in a token all the same."""


def login(refresh: str) -> Record:
    return Record(id="antigravity-1", upstream="antigravity", sort=Sort.OAUTH_USER, secret={"refresh_token": refresh})


@pytest.mark.parametrize("name", sorted(REFRESH_FAULTS))
async def test_every_fault_of_the_token_endpoint_ends_in_time(name: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    await sandbox.start()
    transport = HttpTransport()
    limit = 20.0 if name in SERVED else 1.5
    url = f"{sandbox.base_url}/token"
    tokens = Tokens(transport, vault=None, token_url=url, client=("client", None), locks=tmp_path, limit=limit)
    record = login(name)
    waiting = [tokens.obtain(record) for _ in range(20)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    kind = Fault if name not in SERVED else object
    assert all(isinstance(one, kind) and isinstance(one, BaseException) == (kind is Fault) for one in found)
    assert len([seen for seen in sandbox.requests if seen.operation == "token"]) <= 3
    await tokens.close()
    await transport.close()
    await sandbox.stop()


async def test_a_token_comes_through_the_proxy(tmp_path: Path) -> None:
    with GoogleAccounts() as google:  # which takes the whole address as a proxy does
        transport = HttpTransport(proxy=google.url)
        url = "http://localhost:1/token"
        tokens = Tokens(transport, vault=None, token_url=url, client=("client", None), locks=tmp_path)
        assert (await tokens.obtain(login("1//0g-refresh"))).secret == "ya29.token-1"
        assert google.requests[0].target == "http://localhost:1/token"
        await tokens.close()
        await transport.close()
