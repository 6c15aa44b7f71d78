"""Which credential serves the next attempt, and what their outcomes teach. Pure: the clocks are given.

A credential rests for the whole or for one quota group of models, and has a state that a person can understand. Rules:
the best priority first, then whoever has the least to do; a conversation stays where its prompt cache is; nobody rests
for good, and when all do the first to come back is asked all the same, so that no request fails unasked. Only an
account that was closed, or that the operator switched off, is never asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from antigravity2api import cooling
from antigravity2api.affinity import distance, mark
from antigravity2api.cooling import STATE_WORDS, WHOLE, Cooling, Rest, View, Why, moment, view_of, with_words
from antigravity2api.credentials import UNCHECKED, USABLE, CoolDown, Record, Sort, State, memory_key
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential

__all__ = ["Cooling", "Lease", "Memory", "OnState", "Pool", "Ready", "RetryBudget", "View", "static_ready"]

Ready = Callable[[Record], Credential | None]
"""The credential to send now, at once; None where a token has to be fetched first."""
OnState = Callable[[str, State, str, str], None]
"""Record id, state, the upstream's message, a link: called when a state changed, from within a request."""

STATIC = frozenset({Sort.API_KEY, Sort.EXPRESS_KEY, Sort.ACCESS_TOKEN})
"""Kinds that are sent as they are: nothing renews them."""
_MOST_SCOPES = 1000
_ESCAPE = 2
"""A conversation leaves its credential while that runs more than so many, and twice the others' average beside."""
_CLIENTS = frozenset(
    {
        Kind.INVALID_REQUEST,
        Kind.CONTEXT_LENGTH,
        Kind.TOO_LARGE,
        Kind.MODEL_NOT_FOUND,
        Kind.UNSUPPORTED_MEDIA,
    }
)
"""Faults that are no failure of a credential."""


class Memory(Protocol):
    """Where rests are kept over restarts (``store.cooldowns``). No method waits or raises."""

    def rows(self) -> list[CoolDown]:
        """All of them."""

    def put(self, row: CoolDown) -> None:
        """Remember one, in the place of an older one."""


class _Seat:
    """A credential in the pool, with its health."""

    __slots__ = (
        "credential",
        "epoch",
        "failed",
        "id",
        "key",
        "last",
        "link",
        "mark",
        "message",
        "pool",
        "record",
        "rests",
        "running",
        "served",
        "share",
        "state",
        "troubled",
        "turn",
    )

    def __init__(self, pool: Pool, record: Record) -> None:
        self.pool = pool
        self.id = record.id
        self.mark = mark(record.id)
        self.rests: dict[str, Rest] = {}
        self.running = self.served = self.failed = 0
        self.epoch = 0
        """Grows with every lesson: the outcome of an attempt that began before the last one proves nothing new."""
        self.troubled = False
        """Whether it rests, is on probation, or has a state that a success would mend."""
        self.turn = 0.0
        """Requests so far by weight, as if it had never been away: the least one is next."""
        self.last = 0
        self.take(record)

    def take(self, record: Record) -> None:
        """Use this version of the record from now on."""
        self.record = record
        self.key = memory_key(record)
        self.share = 1.0 / max(1, record.weight)
        self.state = record.state if record.enabled else State.DISABLED
        self.message, self.link = record.message, record.link
        self.credential = self.pool.ready(record) if record.sort in STATIC else None

    def free_at(self, group: str) -> float:
        """When it may be asked for a group again; 0 for at once."""
        rests = self.rests
        if not rests:
            return 0.0
        whole, part = rests.get(WHOLE), rests.get(group)
        until = whole.until if whole is not None else 0.0
        return part.until if part is not None and part.until > until else until

    def now(self) -> Record:
        """The record with the state that it has here."""
        return replace(self.record, state=self.state, message=self.message, link=self.link)

    def on_probation(self, group: str) -> bool:
        """Whether it has failed and not served since."""
        return WHOLE in self.rests or group in self.rests


class Lease:
    """The right to use one credential for one attempt; always given back, with an outcome or dropped."""

    __slots__ = ("_epoch", "_model", "_seat", "credential")

    def __init__(self, seat: _Seat, model: str, credential: Credential | None) -> None:
        self._seat = seat
        self._model = model
        self._epoch = seat.epoch
        self.credential = credential
        """None where a token has to be fetched first; who fetches it may put it here."""

    @property
    def record(self) -> Record:
        """Whose credential this is."""
        return self._seat.record

    def release(self, fault: Fault | None) -> None:
        """Give the credential back; ``None`` means that it served. Later calls do nothing."""
        epoch, self._epoch = self._epoch, -1
        if epoch < 0:
            return
        seat = self._seat
        seat.running -= 1
        if fault is not None:
            seat.pool.failed(seat, self._model, epoch, fault)
            return
        seat.served += 1
        if seat.troubled:
            seat.pool.served(seat, self._model, epoch)

    def drop(self) -> None:
        """Give it back without a judgement (the client left)."""
        if self._epoch >= 0:
            self._epoch = -1
            self._seat.running -= 1


class Pool:
    """The credentials of one upstream."""

    def __init__(
        self,
        records: Sequence[Record],
        ready: Ready,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
        cooldown: bool = True,
        memory: Memory | None = None,
        quota_group: Callable[[str], str] = str,
        on_state: OnState | None = None,
    ) -> None:
        self.ready = ready
        self._clock = clock
        self._wall = wall
        self._cooldown = cooldown
        self._memory = memory
        self._group = quota_group
        self._on_state = on_state
        self._turn = 0.0
        self._count = 0
        self._all: dict[str, _Seat] = {}
        self._seats: list[_Seat] = []
        self._calm: list[_Seat] = []
        """Who can be asked in the best priority while nobody is in trouble; else empty."""
        self._only: _Seat | None = None
        self.update(records)

    def __len__(self) -> int:
        """How many may be asked at all."""
        return len(self._seats)

    # -- choosing --------------------------------------------------------------------------------------------------

    def pick(
        self, model: str, tried: Collection[str] = (), affinity: str | None = None, *, again: bool = False
    ) -> Lease | None:
        """A lease for ``model``; None when every credential that may be asked is in ``tried``.

        ``affinity`` names what belongs together. With ``again`` one of ``tried`` is taken rather than one that rests:
        for another attempt after a failure that was not the credential's.
        """
        seat = self._only
        if seat is None:
            seat = self._choose(model, tried, affinity)
            if again and tried and (seat is None or not self._is_free(seat, model)):
                other = self._choose(model, (), affinity)
                if seat is None or (other is not None and self._is_free(other, model)):
                    seat = other
            if seat is None:
                return None
            self._turn = max(seat.turn, self._turn)
            seat.turn = self._turn + seat.share
            self._count = seat.last = self._count + 1
        elif tried and not again and seat.id in tried:
            return None  # nothing else to choose; a rest does not keep the only one from being asked
        seat.running += 1
        return Lease(seat, model, seat.credential or self.ready(seat.record))

    def worth(self, model: str, tried: Collection[str] = ()) -> bool:
        """Whether another attempt of the same request with a credential not in ``tried`` could go better.

        Not with one whose quota is used up, or that was told how long to wait: it would only say so again.
        """
        now, group = self._clock(), self._group(model)
        for seat in self._seats:
            if seat.id in tried:
                continue
            rest = seat.rests.get(group)
            if rest is None or rest.until <= now or rest.why not in (Why.SPENT, Why.LIMITED):
                return True
        return False

    def spare(self, model: str, tried: Collection[str] = (), *, warm: bool = False) -> bool:
        """Whether there is a credential not in ``tried`` about which nothing bad is known; ``warm``: one that has all
        it needs to be sent now."""
        group = self._group(model)
        return any(
            seat.state is State.READY
            and seat.id not in tried
            and not seat.on_probation(group)
            and not (warm and (seat.credential or self.ready(seat.record)) is None)
            for seat in self._seats
        )

    def free_in(self, model: str) -> float:
        """Seconds until some credential may serve ``model``; 0 when one may now."""
        seats = [seat for seat in self._seats if seat.state is State.READY] or self._seats
        if not seats:
            return 0.0
        group = self._group(model)
        first = min(seat.free_at(group) for seat in seats)
        return max(0.0, first - self._clock()) if first else 0.0

    def _choose(self, model: str, tried: Collection[str], affinity: str | None) -> _Seat | None:
        if self._calm and not tried:
            return self._best(self._calm, affinity)
        now, group = self._clock(), self._group(model)
        free: list[_Seat] = []
        rest: _Seat | None = None
        rank = (0, 0.0)
        for seat in self._seats:
            if seat.id in tried:
                continue
            at = seat.free_at(group)
            if seat.state is State.READY:
                # After a rest one request finds out for all whether it is over.
                if at <= now and (not at or not seat.running or not seat.on_probation(group)):
                    free.append(seat)
                    continue
                own = (0, at)
            else:
                own = (1, at)
            if rest is None or own < rank:
                rest, rank = seat, own
        if not free:
            return rest
        best = min(seat.record.priority for seat in free)
        free = [seat for seat in free if seat.record.priority == best]
        if tried:  # somebody has failed in this request: rather one that has served, and not failed since
            free = [seat for seat in free if not seat.on_probation(group)] or free
            free = [seat for seat in free if seat.served] or free
        return self._best(free, affinity)

    def _best(self, seats: Sequence[_Seat], affinity: str | None) -> _Seat:
        if len(seats) == 1:
            return seats[0]
        return self._least(seats) if affinity is None else self._nearest(seats, affinity)

    def _least(self, seats: Sequence[_Seat]) -> _Seat:
        """The one with the least to do by weight; among equals each has its share of turns."""
        behind = self._turn
        best, least, first = seats[0], math.inf, 0.0
        for seat in seats:
            load = seat.running * seat.share
            if load > least:
                continue
            turn = seat.turn if seat.turn > behind else behind  # noqa: FURB136 - a call for each costs a third
            if load < least or turn < first or (turn == first and seat.last < best.last):
                best, least, first = seat, load, turn
        return best

    def _nearest(self, seats: Sequence[_Seat], affinity: str) -> _Seat:
        """The one that a conversation belongs to, or the next one while that has much more to do than the others."""
        key = mark(affinity)
        best, least = seats[0], math.inf
        for seat in seats:
            away = distance(key, seat.mark, seat.share)
            if away < least:
                best, least = seat, away
        if best.running * best.share <= _ESCAPE:
            return best
        running = sum(seat.running for seat in seats)
        weights = sum(1.0 / seat.share for seat in seats)
        for seat in sorted(seats, key=lambda seat: distance(key, seat.mark, seat.share)):
            others = (running - seat.running) / (weights - 1.0 / seat.share)
            if seat.running * seat.share <= _ESCAPE + 2 * others:
                return seat
        return self._least(seats)

    def _is_free(self, seat: _Seat, model: str) -> bool:
        return seat.state is State.READY and seat.free_at(self._group(model)) <= self._clock()

    # -- learning --------------------------------------------------------------------------------------------------

    def served(self, seat: _Seat, model: str, epoch: int) -> None:
        """A credential served though it had been in trouble; called by ``Lease.release``."""
        if epoch != seat.epoch:
            return  # it began before the last lesson, and proves nothing
        before = len(seat.rests)
        for scope in (WHOLE, self._group(model)):
            self._forget(seat, scope)
        if seat.rests:
            oldest = next(iter(seat.rests))
            if seat.rests[oldest].until + cooling.PROBATION < self._clock():
                del seat.rests[oldest]
        if seat.state is not State.READY and seat.state in USABLE:
            self._change(seat, State.READY, "", "")
        elif len(seat.rests) != before:
            self._sort()

    def _forget(self, seat: _Seat, scope: str) -> None:
        if seat.rests.pop(scope, None) is not None and self._memory is not None:
            self._memory.put(CoolDown(seat.key, scope, 0.0, 0, "", self._wall()))

    def failed(self, seat: _Seat, model: str, epoch: int, fault: Fault) -> None:
        """An attempt failed; called by ``Lease.release``."""
        if fault.kind in _CLIENTS:
            return
        seat.failed += 1
        if self._all.get(seat.id) is not seat:
            return
        wall = self._wall()
        what = cooling.lesson(fault, wall)
        if what is None or not (what.whole or model):
            return
        if not self._cooldown and what.why != Why.CLOSED:  # that is no cool-down: it is not to be asked again
            return
        now = self._clock()
        scope = WHOLE if what.whole else self._group(model)
        if scope not in seat.rests and len(seat.rests) >= _MOST_SCOPES:
            seat.rests = {name: rest for name, rest in seat.rests.items() if rest.until > now or name == WHOLE}
        rest = seat.rests.setdefault(scope, Rest())
        news = rest.learn(what, fault, now, wall, fresh=epoch == seat.epoch)
        seat.epoch += 1
        self._calm, seat.troubled = [], True
        if news and self._memory is not None:
            until = wall + rest.until - now
            self._memory.put(CoolDown(seat.key, scope, until, rest.strikes, rest.told(), wall))
        if what.state is not None:
            self._change(seat, what.state, fault.message, fault.link or "")

    def report(self, record_id: str, fault: Fault | None, model: str = "") -> None:
        """What something else than a request (a list of models, a test) learned about a credential."""
        seat = self._all.get(record_id)
        if seat is None:
            return
        if fault is None:
            self.served(seat, model, seat.epoch)
        else:
            self.failed(seat, model, seat.epoch, fault)

    def _change(self, seat: _Seat, state: State, message: str, link: str) -> None:
        if self._all.get(seat.id) is not seat:
            return  # it was removed meanwhile
        if (seat.state, seat.message, seat.link) == (state, message, link):
            return
        seat.state, seat.message, seat.link = state, message, link
        self._sort()
        if self._on_state is not None:
            self._on_state(seat.id, state, message, link)

    # -- what others know ------------------------------------------------------------------------------------------

    def update(self, records: Iterable[Record]) -> None:
        """These are the credentials from now on; the health of those that stay is kept."""
        old, self._all = self._all, {}
        fresh = False
        for record in records:
            seat = old.get(record.id)
            if seat is None:
                seat = _Seat(self, record)
                fresh = True
            elif record != seat.record:
                self._renew(seat, record)
            self._all[record.id] = seat
        self._sort()
        if fresh and self._memory is not None:
            self.merge(self._memory.rows())

    def _renew(self, seat: _Seat, record: Record) -> None:
        """Take a changed record over. Its state counts where somebody changed it; a new secret begins anew."""
        before, state, message, link = seat.record, seat.state, seat.message, seat.link
        mended = (
            is_given_anew(record, before)
            or (record.enabled and not before.enabled)
            or (record.state is State.READY and before.state is not State.READY)
        )
        seat.take(record)
        if mended:
            seat.epoch += 1
            self._forget(seat, WHOLE)
        elif record.enabled and (record.state, record.message) == (before.state, before.message):
            seat.state, seat.message, seat.link = state, message, link

    def merge(self, rows: Iterable[CoolDown]) -> None:
        """Take over what was stored: by an earlier process, or by another one meanwhile. The newer one counts."""
        now, wall = self._clock(), self._wall()
        seats = {seat.key: seat for seat in self._all.values()}
        for row in rows:
            seat = seats.get(row.credential)
            if seat is None:
                continue
            known = seat.rests.get(row.scope)
            if known is not None and row.updated <= known.noted:
                continue
            rest = cooling.read(row, now, wall)
            is_closed = rest is not None and rest.why == Why.CLOSED
            if not (self._cooldown or is_closed):
                continue
            if rest is not None and is_closed:
                if seat.record.stored:
                    continue  # its state is stored, and a new login changes that
                seat.state, seat.message = State.DISABLED_BY_TERMS, rest.message
            if rest is not None:
                seat.rests[row.scope] = rest
                seat.epoch += 1
            elif known is not None:
                del seat.rests[row.scope]
        self._sort()

    def _sort(self) -> None:
        """Who may be asked: everybody but who is switched off or was shut out."""
        seats = [seat for seat in self._all.values() if seat.record.enabled and seat.state in USABLE]
        self._seats = seats
        self._only = seats[0] if len(seats) == 1 else None
        self._calm = []
        for seat in self._all.values():
            seat.troubled = bool(seat.rests) or seat.state is not State.READY
        if not any(seat.troubled for seat in seats):
            best = min((seat.record.priority for seat in seats), default=0)
            self._calm = [seat for seat in seats if seat.record.priority == best]

    # -- for people ------------------------------------------------------------------------------------------------

    def views(self) -> list[View]:
        """How every credential is now."""
        now, wall = self._clock(), self._wall()
        return [
            view_of(seat.now(), seat.rests, now, wall)._replace(
                running=seat.running, served=seat.served, failed=seat.failed
            )
            for seat in self._all.values()
        ]

    def explain(self, model: str) -> list[tuple[str, str]]:
        """Each credential in the order in which a request for ``model`` would ask it now, and why."""
        told: dict[str, str] = {}
        while (seat := self._choose(model, told, None)) is not None:
            told[seat.id] = self._standing(seat, model, first=not told)
        for seat in self._all.values():
            if seat.id not in told:
                told[seat.id] = with_words(STATE_WORDS[seat.state], seat.message)
        return list(told.items())

    def _standing(self, seat: _Seat, model: str, *, first: bool) -> str:
        group, now = self._group(model), self._clock()
        at = seat.free_at(group)
        busy = f", {seat.running} running" if seat.running else ""
        if seat.state is not State.READY:
            trouble = with_words(STATE_WORDS[seat.state], seat.message)
        elif at > now:
            rests = [rest for rest in (seat.rests.get(WHOLE), seat.rests.get(group)) if rest is not None]
            last = max(rests, key=lambda rest: rest.until)
            until = moment(self._wall() + at - now)
            trouble = with_words(f"cooling until {until} ({last.words})", last.message)
        elif first:
            return f"would serve{busy}"
        else:
            return f"ready, priority {seat.record.priority}{busy}"
        return f"would be asked all the same, nothing better is left: {trouble}" if first else trouble

    def nobody(self) -> Fault:
        """Why nobody can be asked: the ``Fault`` of a request when ``pick`` gave None at once."""
        if not self._all:
            return Fault(Kind.CREDENTIAL, "No credential is configured for this upstream.")
        seat = next((seat for seat in self._all.values() if seat.state is State.DISABLED_BY_TERMS), None)
        if seat is None:
            return Fault(Kind.CREDENTIAL, "Every credential of this upstream is disabled.", reason="DISABLED")
        return Fault(
            Kind.CREDENTIAL, with_words("The account was disabled by terms", seat.message), reason="TOS_VIOLATION"
        )


def static_ready(record: Record) -> Credential | None:
    """A ``Ready`` for keys and tokens that nothing has to be fetched for."""
    secret = record.secret.get("key") or record.secret.get("access_token")
    if not secret:
        return None
    return Credential(record.id, str(secret), record.project, record.location, record.sort is Sort.EXPRESS_KEY)


def is_given_anew(record: Record, before: Record) -> bool:
    """Whether somebody gave the credential once more, or with another project. What the gateway itself writes down (a
    token that was renewed, a project that was found) is neither."""
    if _given(record) != _given(before) or record.location != before.location:
        return True
    searched = record.upstream == "antigravity" and not record.secret.get(UNCHECKED)
    return record.project != before.project and not searched


def _given(record: Record) -> object:
    """What of the secret came from a person."""
    secret = record.secret
    if record.sort is Sort.OAUTH_USER:
        return secret.get("login") or secret.get("refresh_token")
    return {key: value for key, value in secret.items() if key != UNCHECKED}


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
