"""What the outcome of an attempt teaches about the credential that made it: how long it rests, its state, and both in
words. Pure.

Google says in ``error.details`` what kind of limit was met, and that decides; its sentences do not. A server in trouble
(503, no capacity, a break) teaches nothing about a credential.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from antigravity2api.credentials import CoolDown, Record, State
from antigravity2api.errors import Fault, Kind
from antigravity2api.upstreams.errors import spent

WHOLE = ""
"""The scope of a rest that holds for every model."""
LONGEST_REST = 6 * 3600.0
"""A delay is believed up to this; then the credential is asked again."""
LONGEST_RESET = 31 * 86400.0
"""The same for the reset of a quota that is used up; Google names up to weeks."""

_REFUSED = (30.0, 600.0)
_TOKENLESS = (5.0, 60.0)
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
    "CREDENTIAL_MALFORMED": State.NEEDS_LOGIN,
    "PROJECT_MISSING": State.NO_PROJECT,
    "PROJECT_PERMISSION_DENIED": State.NO_PROJECT,
}
"""Reasons that a person has to do something about."""
STATE_WORDS = {
    State.READY: "ready",
    State.NEEDS_LOGIN: "needs login",
    State.NEEDS_VERIFICATION: "needs verification",
    State.DISABLED_BY_TERMS: "disabled by terms",
    State.NO_PROJECT: "no project",
    State.DISABLED: "disabled by the operator",
}


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
    CLOSED = "closed"
    """The account was closed by its upstream's terms: it is not asked again."""


_REASONS = {
    Why.SPENT: "quota used up",
    Why.LIMITED: "rate limit",
    Why.BACK_OFF: "rate limit",
    Why.REFUSED: "refused",
    Why.CLOSED: "closed by terms",
}


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
    delay, reset = fault.retry_after or None, _reset(fault, wall)
    if fault.kind is Kind.CREDENTIAL:
        named = None if delay is None else min(delay, LONGEST_REST)
        state = _STATES.get(fault.reason or "")
        if state is State.DISABLED_BY_TERMS:
            return Lesson(True, Why.CLOSED, *_REFUSED, LONGEST_RESET, state)
        # No status: no token could be had, and the upstream was not asked.
        pauses = _REFUSED if fault.upstream_status is not None else _TOKENLESS
        return Lesson(True, Why.REFUSED, *pauses, named, state)
    if fault.kind is not Kind.RATE_LIMITED:
        return None
    if reset is not None:
        delay = max(delay or 0.0, reset)
    if spent(fault):
        return _used_up(fault.reason or "", delay, wall, reset)
    if delay is None:
        return Lesson(False, Why.BACK_OFF, *_BACK_OFF)
    if delay >= _LONG and fault.reason is not None:
        return Lesson(False, Why.SPENT, *_SPENT, min(delay, LONGEST_RESET))
    return Lesson(False, Why.LIMITED, *_BACK_OFF, min(delay, LONGEST_REST))


def _reset(fault: Fault, wall: float) -> float | None:
    """Seconds until the quota is whole again, if that was named and is to come."""
    reset = fault.resets_in
    if reset is None and fault.resets_at is not None:
        reset = fault.resets_at - wall
    return reset if reset is not None and reset > 0 else None


def _used_up(reason: str, delay: float | None, wall: float, reset: float | None) -> Lesson:
    """Until the reset where it is known. A short delay beside a day's quota means nothing, so Google's own clients."""
    delay = delay or 0.0
    if "PerDay" in reason or "Daily" in reason:
        since, ahead = midnight(wall)
        if since > _MIDNIGHT_SLACK:
            return Lesson(False, Why.SPENT, *_SPENT, min(max(ahead, delay), LONGEST_RESET))
    if delay >= _LONG:
        return Lesson(False, Why.SPENT, *_SPENT, min(delay, LONGEST_RESET))
    if reset is not None:  # soon; but one that is named again and again is no reset
        return Lesson(False, Why.SPENT, max(reset, 1.0), _SPENT[1])
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

    @property
    def words(self) -> str:
        """The kind of rest in words."""
        return _REASONS.get(self.why, self.why)

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
    elif why not in (Why.SPENT, Why.CLOSED):
        left = min(left, LONGEST_REST)
    strikes = max(1, min(row.strikes, _MOST_STRIKES))
    return Rest(now + left, strikes, why, reason, message, row.updated)


# -- for people --------------------------------------------------------------------------------------------------------


class Cooling(NamedTuple):
    """A rest as people see it; ``until`` is on the wall clock."""

    scope: str
    """A model or quota group; empty for every model."""
    until: float
    why: str
    """One of ``Why``."""
    reason: str
    message: str
    words: str = ""


class View(NamedTuple):
    """How a credential is, for people and metrics. No secret."""

    id: str
    upstream: str
    label: str
    state: State
    words: str
    """``ready``, ``cooling until …``, ``needs login`` …"""
    message: str
    """The upstream's own words, masked."""
    link: str
    cooling: tuple[Cooling, ...]
    running: int = 0
    served: int = 0
    failed: int = 0


def view_of(record: Record, rests: Mapping[str, Rest], now: float, wall: float) -> View:
    """A record with its rests in words; the record's state counts."""
    state = record.state if record.enabled else State.DISABLED
    cooling = tuple(
        Cooling(scope, wall + rest.until - now, rest.why, rest.reason, rest.message, rest.words)
        for scope, rest in rests.items()
        if rest.until > now
    )
    whole = next((rest for rest in cooling if not rest.scope), None)
    words = STATE_WORDS[state]
    if state is State.READY and whole is not None:
        words = f"cooling until {moment(whole.until)} ({whole.words})"
    elif state is State.READY and cooling:
        last = max(cooling, key=lambda rest: rest.until)
        more = f" and {len(cooling) - 1} more" if len(cooling) > 1 else ""
        words = f"cooling until {moment(last.until)} for {last.scope}{more} ({last.words})"
    said = record.message or next((rest.message for rest in (whole, *cooling) if rest and rest.message), "")
    return View(record.id, record.upstream, record.label, state, words, said, record.link, cooling)


def moment(wall: float) -> str:
    """A time of the wall clock as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(wall))


def with_words(words: str, message: str) -> str:
    """Our words with the upstream's."""
    return f"{words}: {message}" if message else words
