"""Which credential serves the next attempt: round robin over the healthy, a timed bench for the others.

Pure: the clock is given. A bench is kept per credential and model (quota) or for the whole credential (a refused key).
Rules: nobody is benched for good; when all are benched the one whose bench ends first is asked all the same, so that a
request never fails unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential

_REFUSED_BENCH = (30.0, 600.0)
"""Seconds on the bench after a refused key: first time, and the most; doubled each time."""
_QUOTA_BENCH = (2.0, 60.0)
"""The same after a 429 that names no delay."""
_LONGEST_QUOTA_BENCH = 6 * 3600.0
"""A named delay is believed, up to this; then the credential is asked again."""


@dataclass(slots=True)
class _Bench:
    until: float = 0.0
    strikes: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Seat:
    credential: Credential
    refused: _Bench
    quota: dict[str, _Bench]
    running: int = 0

    def free_at(self, model: str) -> float:
        bench = self.quota.get(model)
        return max(self.refused.until, bench.until) if bench else self.refused.until


class Lease:
    """The right to use one credential for one attempt; always released with an outcome."""

    __slots__ = ("_model", "_pool", "_seat", "credential")

    def __init__(self, pool: Pool, seat: _Seat, model: str) -> None:
        self._pool = pool
        self._seat: _Seat | None = seat
        self._model = model
        self.credential = seat.credential

    def release(self, fault: Fault | None) -> None:
        """Give the credential back; ``None`` means that it served. Later calls do nothing."""
        seat, self._seat = self._seat, None
        if seat is not None:
            self._pool.settle(seat, self._model, fault)

    def drop(self) -> None:
        """Give it back without a judgement (the client left)."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.running -= 1


class Pool:
    """The credentials of one upstream."""

    def __init__(self, credentials: Sequence[Credential], *, clock: Callable[[], float], cooldown: bool = True) -> None:
        self._seats = [_Seat(credential, _Bench(), {}) for credential in credentials]
        self._clock = clock
        self._cooldown = cooldown
        self._turn = 0

    def __len__(self) -> int:
        return len(self._seats)

    def pick(self, model: str, tried: Collection[str] = ()) -> Lease | None:
        """A lease for ``model``, or None when every credential is in ``tried``."""
        seats = self._seats
        if len(seats) == 1:  # nothing to choose; a bench does not keep the only one from being asked
            seat = seats[0]
            if seat.credential.id in tried:
                return None
            seat.running += 1
            return Lease(self, seat, model)
        now = self._clock()
        best: _Seat | None = None
        best_at = 0.0
        for step in range(len(seats)):
            seat = seats[(self._turn + step) % len(seats)]
            if seat.credential.id in tried:
                continue
            free_at = seat.free_at(model)
            if free_at <= now:
                best = seat
                break
            if best is None or free_at < best_at:
                best, best_at = seat, free_at
        if best is None:
            return None
        self._turn = (seats.index(best) + 1) % len(seats)
        best.running += 1
        return Lease(self, best, model)

    def settle(self, seat: _Seat, model: str, fault: Fault | None) -> None:
        """Book the outcome of an attempt; called by ``Lease.release``."""
        seat.running -= 1
        if fault is None:
            if seat.refused.strikes:
                seat.refused = _Bench()
            if seat.quota:
                seat.quota.pop(model, None)
            return
        if not self._cooldown:
            return
        now = self._clock()
        if fault.kind is Kind.CREDENTIAL:
            _sentence(seat.refused, now, _REFUSED_BENCH, fault)
        elif fault.kind is Kind.RATE_LIMITED:
            if len(seat.quota) > 1000:
                seat.quota = {name: bench for name, bench in seat.quota.items() if bench.until > now}
            _sentence(seat.quota.setdefault(model, _Bench()), now, _QUOTA_BENCH, fault)

    def free_in(self, model: str) -> float:
        """Seconds until some credential may serve ``model``; 0 when one may now."""
        now = self._clock()
        return max(0.0, min((seat.free_at(model) for seat in self._seats), default=now) - now)


def _sentence(bench: _Bench, now: float, bounds: tuple[float, float], fault: Fault) -> None:
    first, most = bounds
    if fault.retry_after is not None:
        pause = min(fault.retry_after, _LONGEST_QUOTA_BENCH)
    else:
        pause = min(first * 2**bench.strikes, most)
    bench.strikes = min(bench.strikes + 1, 16)
    bench.until = max(bench.until, now + pause)
    bench.reason = fault.message


class RetryBudget:
    """Bounds what retries add to an upstream in trouble: a share of the requests, and some that are always allowed."""

    def __init__(self, *, clock: Callable[[], float], share: float = 0.2, always_per_second: float = 10.0) -> None:
        self._clock = clock
        self._share = share
        self._rate = always_per_second
        self._earned = 0.0
        self._free = always_per_second
        self._at = clock()

    def earn(self) -> None:
        """One request came."""
        if self._earned < 100.0:
            self._earned += self._share

    def spend(self) -> bool:
        """Whether one more retry is allowed now."""
        now = self._clock()
        self._free = min(self._rate, self._free + (now - self._at) * self._rate)
        self._at = now
        if self._free >= 1.0:
            self._free -= 1.0
            return True
        if self._earned >= 1.0:
            self._earned -= 1.0
            return True
        return False
