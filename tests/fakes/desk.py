"""``Desk``: one data directory with stored credentials, the commands about it, and the gateway that serves from it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fakes.client import Reply, call, chat
from fakes.gateway import GatewayProcess, run_cli
from fakes.google_accounts import GoogleAccounts
from fakes.upstream import Answer, Recorded, as_asked, text_events

T = TypeVar("T")
KEY = "sk-desk-5Zk0Qw8rT2yU6iO1pA3s"
CLIENT_SECRET = "GOCSPX-of-a-client-of-ours"
MODEL = "gemini-3-flash"
HOUR_MS = 3_600_000


def account(refresh: str, *, access: str = "", expired: bool = True, **more: Any) -> dict[str, Any]:
    """One entry of the ancestor's ``accounts.json``."""
    issued = time.time() * 1000 - (2 * HOUR_MS if expired else 0)
    return {
        "access_token": access or f"ya29.old-{refresh[-8:]}",
        "refresh_token": refresh,
        "expires_in": 3599,
        "timestamp": int(issued),
        **more,
    }


def wrapped(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Events as Code Assist wraps them."""
    return [{"response": dict(event), "traceId": "0123456789abcdef"} for event in events]


def says(*texts: str, model: str = MODEL) -> Callable[[Recorded], Answer]:
    """A generation by Code Assist."""

    def script(record: Recorded) -> Answer:
        events = text_events(*texts, model=model)
        if record.streams:
            return as_asked(wrapped(events))(record)
        whole = as_asked(events)(record)
        (body,) = whole.steps
        assert isinstance(body, bytes)
        return Answer(headers=whole.headers, steps=(b'{"response":%b,"traceId":"0123456789abcdef"}' % body,))

    return script


def generated(google: GoogleAccounts) -> list[Recorded]:
    """The requests for an answer, streamed or not."""
    return [record for record in google.requests if "enerateContent" in record.target]


def token_of(record: Recorded) -> str:
    """The bearer token that a request carried."""
    return (record.header("authorization") or "").removeprefix("Bearer ")


def eventually(look: Callable[[], T], want: Callable[[T], bool], *, within: float = 8.0) -> T:
    """What ``look`` sees once it is as wanted; the time is generous, for machines that are busy."""
    end = time.monotonic() + within
    while not want(seen := look()):
        assert time.monotonic() < end, f"after {within} s it is still {seen!r}"
        time.sleep(0.05)
    return seen


def many(count: int, work: Callable[[int], T]) -> list[T]:
    """``work`` for each number, all at once."""
    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(work, range(count)))


class Desk:
    """Use as a context manager; the gateway is started by ``serve``."""

    def __init__(self, google: GoogleAccounts, *args: str, **environ: str) -> None:
        self.google = google
        for name in ("streamGenerateContent", "generateContent"):
            google.scripts.setdefault(name, says("Hel", "lo"))
        self.env = {
            "ANTIGRAVITY2API_API_KEY": KEY,
            "ANTIGRAVITY2API_LIVE_MODELS": "off",
            "ANTIGRAVITY2API_ANTIGRAVITY": "on",
            "ANTIGRAVITY_OAUTH_CLIENT_ID": "client.apps.example",
            "ANTIGRAVITY_OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "GOOGLE_OAUTH_TOKEN_URL": google.token_url,
            "ANTIGRAVITY_BASE_URL": google.url,
        } | environ
        self.gateway = GatewayProcess(*args, env=self.env, key=KEY)
        self.folder = self.gateway.data_dir
        self.env["ANTIGRAVITY2API_DATA_DIR"] = str(self.folder)

    # -- commands --------------------------------------------------------------------------------------------------

    def cli(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """One command about the data directory."""
        done = run_cli(*args, env=self.env)
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done

    def brings(self, content: Any, *, upstream: str = "antigravity") -> list[str]:
        """``credentials import`` of a file with this JSON; the ids."""
        path = self.gateway.cwd / "import.json"
        path.write_text(json.dumps(content))
        done = self.cli("credentials", "import", str(path), "--upstream", upstream, "--json")
        path.unlink()
        return [row["id"] for row in json.loads(done.stdout)["credentials"]]

    def add_key(self, key: str, *more: str, upstream: str = "gemini") -> str:
        """``credentials add`` of an API key; its id."""
        path = self.gateway.cwd / "key"
        path.write_text(key)
        path.chmod(0o600)
        done = self.cli("credentials", "add", "--upstream", upstream, "--key-file", str(path), "--json", *more)
        path.unlink()
        return str(json.loads(done.stdout)["credentials"][0]["id"])

    def credentials(self) -> dict[str, dict[str, Any]]:
        """``credentials list``, by id."""
        done = self.cli("credentials", "list", "--json")
        return {row["id"]: row for row in json.loads(done.stdout)["credentials"]}

    # -- the gateway -----------------------------------------------------------------------------------------------

    def serve(self) -> Self:
        """Start the gateway and wait until it is ready."""
        self.gateway.start()
        return self

    @property
    def port(self) -> int:
        return self.gateway.port

    def chat(self, text: str = "Hello", **fields: Any) -> Reply:
        """One chat completion."""
        return chat(self.port, text, key=KEY, **({"model": MODEL} | fields))

    def metrics(self) -> dict[str, float]:
        """The samples of ``/metrics``, by name and labels."""
        reply = call(self.port, "GET", "/metrics", key=KEY)
        assert reply.status == 200, reply.body
        lines = [line for line in reply.body.decode().splitlines() if line and not line.startswith("#")]
        pairs = (line.removeprefix("antigravity2api_").rsplit(" ", 1) for line in lines)
        return {name: float(value) for name, value in pairs}

    def state(self, identity: str) -> str:
        """The state of a credential, as the running gateway tells it."""
        start = f'credential="{identity}",state="'
        return next(
            (name.partition(start)[2].partition('"')[0] for name, on in self.metrics().items() if start in name and on),
            "",
        )

    def everything_written(self) -> dict[str, bytes]:
        """All that lies in the data directory, and what was said on stderr."""
        files = {str(path.relative_to(self.folder)): path.read_bytes() for path in self._files()}
        return files | {"stderr": self.gateway.stderr.encode()}

    def _files(self) -> Iterable[Path]:
        for folder, _, names in os.walk(self.folder):
            for name in names:
                yield Path(folder, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.__exit__(kind, error, trace)
