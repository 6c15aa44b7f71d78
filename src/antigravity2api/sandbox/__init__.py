"""An embedded emulator of Google's API for demos, tests and trying out agents: see ``docs/sandbox.md``."""

from antigravity2api.sandbox.app import Sandbox, Seen
from antigravity2api.sandbox.faults import FAULTS, PREFIX

__all__ = ["FAULTS", "PREFIX", "Sandbox", "Seen"]
