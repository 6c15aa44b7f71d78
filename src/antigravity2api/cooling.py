"""What the outcome of an attempt teaches about the credential that made it: how long it rests, and its state. Pure.

Google says in ``error.details`` what kind of limit was met, and that decides; its sentences do not. A server in trouble
(503, no capacity, a break) teaches nothing about a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from antigravity2api.credentials import CoolDown, State
from antigravity2api.errors import Fault, Kind
from antigravity2api.upstreams.errors import spent

WHOLE = ""
"""The scope of a rest that holds for every model."""
LONGEST_REST = 6 * 3600.0
"""A delay is believed up to this; then the credential is asked again."""
LONGEST_RESET = 31 * 86400.0
"""The same for the reset of a quota that is used up; Google names up to weeks."""

_REFUSED = (30.0, 600.0)
_BACK_OFF = (2.0, 60.0)
_SPENT = (300.0, 3600.0)
"""Seconds of the first rest and of the longest one where the upstream names none; each is twice the last."""
_LONG = 300.0
"""From here on a named delay is a quota that is used up, not a rate."""
_MIDNIGHT_SLACK = 600.0
"""A day's quota that is refused so soon after midnight is yesterday's: clocks differ."""
_MOST_STRIKES = 16
_MOST_WORDS = 300
PROBATION = 3600.0
"""How long a rest that is over still counts: until then the next failure makes a longer one."""

_STATES = {
    "TOS_VIOLATION": State.DISABLED_BY_TERMS,
    "VALIDATION_REQUIRED": State.NEEDS_VERIFICATION,
    "invalid_grant": State.NEEDS_LOGIN,
    "PROJECT_MISSING": State.NO_PROJECT,
    "PROJECT_PERMISSION_DENIED": State.NO_PROJECT,
}
"""Reasons that a person has to do something about."""


class Why:
    """The kinds of rest, as stored and shown."""

    SPENT = "spent"
    """A quota is used up: asking before its reset is in vain."""
    LIMITED = "limited"
    """A rate; the upstream named the delay."""
    BACK_OFF = "backoff"
    """A 429 without a delay: the pause is our guess."""
    REFUSED = "refused"
    """The credential itself was not accepted; the pause is our guess."""


class Lesson(NamedTuple):
    """What one fault says about the credential. The pause is ``named`` or grows from ``first`` to ``most``."""

    whole: bool
    """Whether every model is concerned, or only the model's quota group."""
    why: str
    first: float
    most: float
    named: float | None = None
    state: State | None = None

    def pause(self, strikes: int) -> float:
        """Seconds of rest after so many failures of this kind before."""
        return min(self.first * 2**strikes, self.most) if self.named is None else self.named


def lesson(fault: Fault, wall: float) -> Lesson | None:
    """What ``fault`` teaches at the wall clock's time ``wall``, or None."""
    delay = fault.retry_after or None
    if fault.kind is Kind.CREDENTIAL:
        named = None if delay is None else min(delay, LONGEST_REST)
        return Lesson(True, Why.REFUSED, *_REFUSED, named, _STATES.get(fault.reason or ""))
    if fault.kind is not Kind.RATE_LIMITED:
        return None
    if spent(fault):
        return _used_up(fault.reason or "", delay, wall)
    if delay is None:
        return Lesson(False, Why.BACK_OFF, *_BACK_OFF)
    if delay >= _LONG and fault.reason is not None:
        return Lesson(False, Why.SPENT, *_SPENT, min(delay, LONGEST_RESET))
    return Lesson(False, Why.LIMITED, *_BACK_OFF, min(delay, LONGEST_REST))


def _used_up(reason: str, delay: float | None, wall: float) -> Lesson:
    """Until the reset where it is known. A short delay beside a day's quota means nothing, so Google's own clients."""
    delay = delay or 0.0
    if "PerDay" in reason or "Daily" in reason:
        since, ahead = midnight(wall)
        if since > _MIDNIGHT_SLACK:
            return Lesson(False, Why.SPENT, *_SPENT, min(max(ahead, delay), LONGEST_RESET))
    if delay >= _LONG:
        return Lesson(False, Why.SPENT, *_SPENT, min(delay, LONGEST_RESET))
    return Lesson(False, Why.SPENT, *_SPENT)


def midnight(wall: float) -> tuple[float, float]:
    """Seconds since the last and until the next midnight of Google's quota days (Pacific time)."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - only who meets such a quota pays for it

    try:
        pacific: ZoneInfo | timezone = ZoneInfo("America/Los_Angeles")
    except (ZoneInfoNotFoundError, OSError, ValueError):  # a machine without time zones: an hour too late in summer
        pacific = timezone(timedelta(hours=-8))
    now = datetime.fromtimestamp(wall, pacific)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return wall - today.timestamp(), (today + timedelta(days=1)).timestamp() - wall


@dataclass(slots=True)
class Rest:
    """One rest of a credential, for a quota group or for everything. ``until`` is on the monotonic clock."""

    until: float = 0.0
    strikes: int = 0
    """Failures in a row; what is left of a rest that is over, until the credential has served."""
    why: str = ""
    reason: str = ""
    message: str = ""
    noted: float = 0.0
    """When it was last changed (wall clock)."""

    def learn(self, what: Lesson, fault: Fault, now: float, wall: float, *, fresh: bool) -> bool:
        """Begin or prolong the rest; whether that is news. Not ``fresh``: an attempt begun before the last lesson."""
        strikes = self.strikes if fresh else max(self.strikes - 1, 0)
        until = now + what.pause(strikes)
        if fresh or not self.strikes:
            self.strikes = min(self.strikes + 1, _MOST_STRIKES)
        elif until <= self.until + 1.0:
            return False
        self.until = max(self.until, until)
        self.why, self.reason, self.message = what.why, fault.reason or "", fault.message
        self.noted = wall
        return True

    def told(self) -> str:
        """Why, in one line for the store; ``read`` understands it."""
        reason = "".join(letter for letter in self.reason if letter.isalnum() or letter in "-_.")[:100]
        return f"{self.why} {reason}: {self.message[:_MOST_WORDS]}"


def read(row: CoolDown, now: float, wall: float) -> Rest | None:
    """A stored rest on our monotonic clock; None for one that is over, was forgotten, or cannot be true.

    A wall clock that jumped cannot make it longer than it was when it began.
    """
    left = min(row.until - wall, row.until - row.updated)
    why, _, rest = row.reason.partition(" ")
    reason, _, message = rest.partition(": ")
    if not left <= LONGEST_RESET:  # NaN too
        return None
    if left <= 0:
        if row.strikes <= 0 or wall - row.until >= PROBATION:
            return None
        left = 0.0
    elif why != Why.SPENT:
        left = min(left, LONGEST_REST)
    strikes = max(1, min(row.strikes, _MOST_STRIKES))
    return Rest(now + left, strikes, why, reason, message, row.updated)
