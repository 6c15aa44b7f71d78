"""``GatewayProcess``: the real command line, in a process of its own, on a free port and in an empty directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from fakes.client import call
from fakes.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-text"
UPSTREAM_KEYS = ("first-upstream-key", "second-upstream-key")


class GatewayFailed(AssertionError):
    """The process ended, or was not ready in time."""


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a process needs to run, and nothing that configures the gateway but ``extra``."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
    made = {name: os.environ[name] for name in kept if name in os.environ}
    made["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    made["PYTHONUNBUFFERED"] = "1"
    return made | extra


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def run_cli(
    *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    with tempfile.TemporaryDirectory() as fallback:
        return subprocess.run(
            [sys.executable, "-m", "antigravity2api", *args],
            env=clean_environment(env or {}),
            cwd=cwd or fallback,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )


class GatewayProcess:
    """``serve`` with a client key; use as a context manager."""

    def __init__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        key: str | None = KEY,
        port: int | None = None,
        ready: float = 20.0,
    ) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="gateway-", ignore_cleanup_errors=True)
        home = Path(self._home.name)
        self.data_dir = home / "data"
        self.cwd = home / "cwd"
        self.cwd.mkdir()
        self._stderr_path = home / "stderr"
        self.port = port if port is not None else free_port()
        self.key = key or ""
        self._args = args
        self._ready = ready
        # Upstreams here count their requests: the list of models is asked for only where a test is about it.
        own = {"ANTIGRAVITY2API_LIVE_MODELS": "off"} | ({"ANTIGRAVITY2API_API_KEY": key} if key else {})
        self._env = own | dict(env or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Root of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        """What it logged so far."""
        return self._stderr_path.read_text(errors="replace") if self._stderr_path.exists() else ""

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log lines that are JSON objects."""
        made = []
        for line in self.stderr.splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                if isinstance(value := orjson.loads(line), dict):
                    made.append(value)
        return made

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        options = ("--port", str(self.port), "--data-dir", str(self.data_dir))
        with self._stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "antigravity2api", "serve", *options, *self._args],
                env=clean_environment(self._env),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    def start(self) -> Self:
        """Start the process and wait until it is ready."""
        self.spawn()
        end = time.monotonic() + self._ready
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                raise self._failed(f"serve ended with {self.process.returncode}")
            with contextlib.suppress(OSError, ValueError):
                if call(self.port, "GET", "/health/ready", timeout=2).status == 200:
                    return self
            time.sleep(0.03)
        raise self._failed(f"serve was not ready in {self._ready} s")

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send the process a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Its exit code."""
        if self.process is None:
            raise GatewayFailed("serve was not started")
        return self.process.wait(timeout)

    def stop(self, timeout: float = 15.0) -> int:
        """Ask it to end and return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise GatewayFailed(f"serve did not end in {timeout} s after SIGTERM:\n{self.stderr[-3000:]}") from None

    def _failed(self, why: str) -> GatewayFailed:
        """Clean up after a start that did not work."""
        self.kill()
        said = self.stderr[-3000:]
        self._home.cleanup()
        return GatewayFailed(f"{why}:\n{said}")

    def kill(self) -> None:
        """End it without asking, its workers too."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                sys.stderr.write(f"\n--- gateway's stderr ---\n{self.stderr[-4000:]}\n")
                self.kill()
            elif self.process is not None and self.process.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    self.process.wait(3)
                except subprocess.TimeoutExpired:
                    self.kill()
        finally:
            self._home.cleanup()


@dataclass(frozen=True, slots=True)
class World:
    """A gateway and the upstream behind it."""

    gateway: GatewayProcess
    upstream: ScriptedUpstream


Start = Callable[..., GatewayProcess]
"""What the ``start`` fixture gives: settings in, a running gateway out."""
