"""``sandbox``: the embedded upstream alone, for trying clients and the gateway against it."""

from __future__ import annotations

import errno

from antigravity2api.cli.common import parser, say, written
from antigravity2api.forms import integer, number


def run(arguments: list[str]) -> int:
    """Run the sandbox until Ctrl-C."""
    options = parser(
        "sandbox", epilog="It listens on 127.0.0.1 only, takes any key that is not empty, and makes everything up."
    )
    options.add_argument(
        "--port", type=written(integer(0, 65535)), default=8046, metavar="P", help="port to listen on (default 8046)"
    )
    options.add_argument(
        "--pace",
        type=written(number(0, 60)),
        default=0.0,
        metavar="SECONDS",
        help="pause between the events of a stream (default 0)",
    )
    parsed = options.parse_args(arguments)

    import asyncio

    return asyncio.run(_serve(parsed.port, parsed.pace))


async def _serve(port: int, pace: float) -> int:
    import asyncio
    import signal

    from antigravity2api.sandbox import Sandbox

    sandbox = Sandbox("127.0.0.1", port, pace=pace)
    try:
        await sandbox.start()
    except OSError as error:
        say(f"error: {_trouble(error, port)}")
        return 1
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        print(sandbox.base_url, flush=True)
        say(
            "To put the gateway in front of it:",
            f"    GOOGLE_GEMINI_BASE_URL={sandbox.base_url} GEMINI_API_KEY=any antigravity2api serve",
        )
        await stopped.wait()
    finally:
        await sandbox.stop()
    return 0


def _trouble(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"127.0.0.1:{port} is in use already: choose another one with --port."
    return f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port with --port."
