"""The gateway beside nginx passing the same bytes, in one run, as ratios of CPU seconds (the figure noise moves least).

``python benchmarks/run.py [--rounds 3] [--seconds 2]``

The emulated upstream and the load run on the first core, the measured process alone on the last one. Needs Linux;
without nginx on the machine the ratios are left out. Everything listens on loopback and ends with the run.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
NGINX = """
daemon off; worker_processes 1; error_log /dev/null; pid {work}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; client_max_body_size 64m; client_body_buffer_size 16m;
  upstream emulator {{ server 127.0.0.1:{emulator}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=1024; keepalive_requests 1000000;
    location / {{ proxy_pass http://emulator/v1beta/models/m:{{method}}; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and its children."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += tree(int(child))
    return pids


def cpu(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process and its children in MB (``VmHWM``: its peak)."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1])
    return total / 1024


@contextmanager
def process(command: list[str], core: int, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A child on one core, ended with the block."""
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(env or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - this program has no threads
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def load(port: int, mode: str, concurrency: int, seconds: float) -> dict[str, float]:
    """One load on the first core."""
    command = [sys.executable, str(HERE / "load.py"), str(port), mode, str(concurrency), str(seconds)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {CORES[0]}),
        timeout=180,
    )
    if done.returncode:
        raise SystemExit(f"load failed: {done.stderr[-800:]}")
    result: dict[str, float] = orjson.loads(done.stdout)
    return result


def wait_ready(port: int, path: str, limit: float = 20.0) -> float:
    """Seconds until the port answers."""
    begun = time.perf_counter()
    while time.perf_counter() < begun + limit:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return time.perf_counter() - begun
        except urllib.error.HTTPError:
            return time.perf_counter() - begun
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"nothing answers on port {port}")


@contextmanager
def emulator(delay_ms: int) -> Iterator[int]:
    """The upstream on the first core."""
    port = free_port()
    command = [sys.executable, str(HERE / "emulator.py"), str(port)]
    with process(command, CORES[0], {"BENCH_DELAY_MS": str(delay_ms)}) as started:
        if started.stdout is not None:
            started.stdout.readline()  # it says when it is ready
        yield port


@contextmanager
def gateway(upstream: int) -> Iterator[tuple[int, int, float]]:
    """The gateway on the last core: its port, pid and seconds to ready."""
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        env = {
            "ANTIGRAVITY2API_API_KEY": "sk-text",
            "GEMINI_API_KEY": "benchmark",
            "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{upstream}",
        }
        command = [sys.executable, "-m", "antigravity2api", "serve", "--port", str(port), "--data-dir", data]
        with process(command, CORES[-1], env) as started:
            yield port, started.pid, wait_ready(port, "/health/ready")


@contextmanager
def nginx(upstream: int, method: str) -> Iterator[tuple[int, int, float]]:
    """Run nginx on the last core, passing every request to one method of the upstream."""
    port = free_port()
    with tempfile.TemporaryDirectory() as work:
        conf = Path(work, "nginx.conf")
        text = NGINX.format(work=work, emulator=upstream, port=port).replace("{method}", method)
        conf.write_text(text)
        with process(["nginx", "-c", str(conf), "-p", work], CORES[-1]) as started:
            yield port, started.pid, wait_ready(port, "/")


FIGURES = {
    # name: mode, concurrency, paced, what is counted, per how many
    "JSON, c=16": ("json", 16, 0, "ok", 1_000),
    "streams, c=16": ("sse", 16, 0, "events", 100_000),
    "500 paced streams": ("sse", 500, 100, "events", 100_000),
    "10 MB image, c=4": ("large", 4, 0, "ok", 1_000),
}


def measure(name: str, seconds: float, who: str) -> dict[str, float]:
    """One figure of one system: CPU seconds per unit, latency, memory."""
    mode, concurrency, delay, counted, per = FIGURES[name]
    method = "streamGenerateContent" if mode == "sse" else "generateContent"
    with emulator(delay) as upstream:
        system = gateway(upstream) if who == "gateway" else nginx(upstream, method)
        with system as (port, pid, ready):
            idle = rss(pid)
            if not delay:
                load(port, mode, min(concurrency, 4), 0.5)
            one = load(port, mode, 1, 0.5) if mode != "large" and not delay else {}
            before = cpu(pid)
            seen = load(port, mode, concurrency, 0 if delay else seconds)
            spent = cpu(pid) - before
            result = {
                "cpu": spent / max(1, seen[counted]) * per,
                "bad": seen["bad"],
                "p50_ms": one.get("p50_ms", 0.0),
                "first_ms": one.get("first_ms") or 0.0,
                "idle_mb": idle,
                "peak_mb": rss(pid, "VmHWM"),
                "ready_s": ready,
            }
    return result


def main() -> None:
    """Measure, interleaved by round, and print a table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=2.0)
    given = options.parse_args()
    systems = ["gateway", *(["nginx"] if shutil.which("nginx") else [])]
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    print(f"{model}, {len(CORES)} cores, Python {platform.python_version()}, {platform.system()} {platform.release()}")
    for name, (_, _, _, _, per) in FIGURES.items():
        rows: dict[str, list[dict[str, float]]] = {who: [] for who in systems}
        for _ in range(given.rounds):
            for who in systems:
                rows[who].append(measure(name, given.seconds, who))

        def middle(who: str, key: str, rows: dict[str, list[dict[str, float]]] = rows) -> float:
            return statistics.median(row[key] for row in rows[who])

        line = f"{name}: {middle('gateway', 'cpu'):.3f} CPU s per {per:,}"
        if "nginx" in systems:
            line += (
                f", nginx {middle('nginx', 'cpu'):.3f}, ratio {middle('gateway', 'cpu') / middle('nginx', 'cpu'):.2f}"
            )
        line += f"; peak {middle('gateway', 'peak_mb'):.0f} MB"
        if middle("gateway", "p50_ms"):
            line += f"; p50 at c=1 {middle('gateway', 'p50_ms'):.2f} ms"
        if middle("gateway", "first_ms"):
            line += f", first text {middle('gateway', 'first_ms'):.2f} ms"
        print(line + f"; wrong answers {sum(row['bad'] for row in rows['gateway']):.0f}", flush=True)
    print(f"idle {middle('gateway', 'idle_mb'):.0f} MB, start to ready {middle('gateway', 'ready_s'):.2f} s")


if __name__ == "__main__":
    main()
