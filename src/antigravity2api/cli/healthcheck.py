"""``healthcheck``: for containers and scripts. Needs no key."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException

from antigravity2api.cli.common import parser, say, settings_from, written
from antigravity2api.forms import SECONDS


def run(arguments: list[str]) -> int:
    """Exit 0 when the gateway answers ready, else 1."""
    options = parser("healthcheck", flags=("host", "port", "config", "data_dir"))
    options.add_argument(
        "--timeout", type=written(SECONDS), default=3.0, metavar="S", help="seconds to wait (default 3)"
    )
    parsed = options.parse_args(arguments)
    settings = settings_from(parsed)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- is not bound here
    address = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    connection = HTTPConnection(host, settings.port, timeout=parsed.timeout)
    try:
        connection.request("GET", "/health/ready", headers={"Host": address})
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        say(f"not ready: http://{address} does not answer ({_reason(error)}).")
        return 1
    finally:
        connection.close()
    if status != 200:
        say(f"not ready: http://{address}/health/ready answered {status}.")
        return 1
    print("ready")
    return 0


def _reason(error: Exception) -> str:
    """Why, without the number that the system has for it."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
