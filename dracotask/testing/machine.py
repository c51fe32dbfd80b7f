"""The machine: a year on a false clock, decided by the same brain as a real one.

It goes from one moment at which something can happen to the next: a look that finds something due, or the end of a
Run. What becomes of fire times is up to :class:`~dracotask.tick.Tick`, as in a site; here are only the clock, the
slots, and what the Runs are said to do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ..errors import Skip
from ..model import FAILED, RUNNING, SUCCEEDED, TIMED_OUT, Outcome, Policy, Run
from ..retries import attempt_after
from ..run.outcome import lost, one_line, over_limit
from ..tick import Tick
from .store import SimulatedStore
from .traffic import Traffic

#: More rows than this are a slip of the pen: every second for a year would be thirty million.
MOST_ROWS = 2_000_000

_INSTANT = timedelta(microseconds=1)

#: Who takes Runs here.
_TOKEN, _HOST = "simulated", "simulation"


class Down:
    """A time in which nothing at all runs: no look, and no Run survives its beginning."""

    def __init__(self, start: datetime, end: datetime) -> None:
        if end <= start:
            raise ValueError(f"A downtime from {start} to {end} ends before it begins.")
        self.start, self.end = start, end


class Doings:
    """What the Runs are said to do.

    :param duration: how long a Run takes.
    :param error: what a Run raises; None when it ends well.
    """

    def __init__(
        self, duration: Callable[[Run], timedelta], error: Callable[[Run], BaseException | str | None]
    ) -> None:
        self.duration, self.error = duration, error

    def outcome(self, run: Run, now: datetime) -> tuple[Outcome, BaseException | str | None]:
        """Return how a Run ends that begins now, and what it raised."""
        limit, duration = Policy.from_text(run.policy).time_limit, self.duration(run)
        if limit is not None and duration > timedelta(seconds=limit):
            return _ended(TIMED_OUT, now + timedelta(seconds=limit), error=over_limit(limit)), None
        error = self.error(run)
        if error is None:
            return _ended(SUCCEEDED, now + duration), None
        if isinstance(error, Skip):
            return _ended(SUCCEEDED, now + duration, summary=f"skipped: {error}".removesuffix(": ")), None
        words = f"{type(error).__name__}: {error}".removesuffix(": ") if isinstance(error, BaseException) else error
        return _ended(FAILED, now + duration, error=words), error


def _ended(state: str, finished_at: datetime, *, summary: str | None = None, error: str | None = None) -> Outcome:
    code = {SUCCEEDED: 0, FAILED: 1}.get(state)
    return Outcome(
        state=state, exit_code=code, finished_at=finished_at, summary=one_line(summary), error=one_line(error)
    )


class Machine:
    """Goes through the time from ``start`` to ``end``, the latter excluded.

    :param store: with the schedules as they are at the start.
    """

    def __init__(
        self,
        store: SimulatedStore,
        tick: Tick,
        *,
        start: datetime,
        end: datetime,
        traffic: Traffic,
        downtime: Sequence[Down],
        doings: Doings,
        max_running: int,
    ) -> None:
        self.store, self.tick, self.start, self.end = store, tick, start, end
        self.traffic, self.doings, self.max_running = traffic, doings, max_running
        self.downtime = sorted(downtime, key=lambda down: down.start)
        self.looks = 0
        self._looked_at = start - _INSTANT
        #: Runs at work, by their end; the number keeps those of one moment in order.
        self._at_work: list[tuple[datetime, int, Run, Outcome, BaseException | str | None]] = []
        self._began = 0
        #: Runs that died when a downtime began, and when somebody can notice.
        self._dead: list[tuple[datetime, Run]] = []
        self._asked: tuple[datetime, datetime | None] | None = None

    def go(self) -> None:
        """Go to the end."""
        while True:
            over = self._at_work[0][0] if self._at_work else None
            wanted = self._wanted()
            if over is not None and (wanted is None or over <= wanted or over <= (self._look_from(wanted) or over)):
                if over >= self.end:
                    return
                self._end_run()
                continue
            look = None if wanted is None else self._look_from(wanted)
            if look is None or look >= self.end:
                return
            self._look(look)

    # -- Looking -----------------------------------------------------------------------------

    def _wanted(self) -> datetime | None:
        """Return the first moment at which a look would find something to do; None when none would."""
        wanted = self.store.next_fire_time(self._looked_at)
        for noticed, _ in self._dead:
            wanted = noticed if wanted is None else min(wanted, noticed)
        return None if wanted is None else max(wanted, self._looked_at + _INSTANT)

    def _look_from(self, wanted: datetime) -> datetime | None:
        """Return the first look from a moment on, or None: the traffic's, unless all is down then."""
        if wanted >= self.end:
            return None
        if self._asked is None or self._asked[0] != wanted:
            look = self.traffic.first_from(wanted)
            while look is not None and (down := self._down_at(look)) is not None:
                look = self.traffic.first_from(down.end)
            self._asked = wanted, look
        return self._asked[1]

    def _down_at(self, moment: datetime) -> Down | None:
        return next((down for down in self.downtime if down.start <= moment < down.end), None)

    def _look(self, now: datetime) -> None:
        self.looks += 1
        self._looked_at = now
        self._bury(now)
        self.tick.claim_due(now, self.traffic.origin)
        self._begin_queued(now)
        self.store.tidy()
        if len(self.store.ledger) > MOST_ROWS:
            raise ValueError(f"That is more than {MOST_ROWS:,} rows by {now:%Y-%m-%d}: simulate fewer days.")

    def _bury(self, now: datetime) -> None:
        """Put on record the Runs that a downtime has killed, as a sweep does."""
        dead = [run for noticed, run in self._dead if noticed <= now]
        self._dead = [(noticed, run) for noticed, run in self._dead if noticed > now]
        for run in dead:
            self._finish(run, lost(now, "its supervisor died: killed, or the host went down"), None)

    # -- Runs --------------------------------------------------------------------------------

    def _begin_queued(self, now: datetime) -> None:
        """Let what waits begin, as far as there are slots."""
        while (free := self.max_running - len(self._at_work)) > 0 and self.store.has_queued():
            if not [run for run in self.store.takeable(free, now) if self._take(run, now)]:
                return

    def _take(self, run: Run, now: datetime) -> bool:
        limit = Policy.from_text(run.policy).most_at_work
        taken = self.store.take(run, token=_TOKEN, host=_HOST, pid=0, now=now, limit=limit)
        if taken is None or taken.state != RUNNING:
            return False
        self._begin(taken, now)
        return True

    def _begin(self, run: Run, now: datetime) -> None:
        outcome, error = self.doings.outcome(run, now)
        end = outcome.finished_at
        # (One that begins just then, as the one before it ends, is lost as well.)
        down = next((down for down in self.downtime if now <= down.start < end), None)
        if down is not None:
            self._dead.append((down.end, run))
            return
        self._began += 1
        heapq.heappush(self._at_work, (end, self._began, run, outcome, error))

    def _end_run(self) -> None:
        """End the Run that is over first; its supervisor takes the next one that waits."""
        now, _, run, outcome, error = heapq.heappop(self._at_work)
        self._finish(run, outcome, error)
        self._begin_queued(now)

    def _finish(self, run: Run, outcome: Outcome, error: BaseException | str | None) -> None:
        """Put the end of a Run on record, or that it is to be tried again."""
        raised = error if isinstance(error, BaseException) else None
        self.store.finish(run, outcome, retry_at=attempt_after(run, outcome, raised))
