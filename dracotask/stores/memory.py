"""The memory store: the contract's plainest form, for tests and for Schedulers inside one program.

It is durable for as long as its process lives. Threads share one instance; there is no
second process.
"""

from __future__ import annotations

import threading

from ..errors import StoreMissing
from ..model import (
    ACTIVE,
    ENDED,
    NEVER_STARTED,
    QUEUED,
    RUNNING,
    SKIPPED,
    STOPPED,
    Policy,
    Run,
    Schedule,
)
from .base import Store, demanded_run, gap_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any, Self

    from ..model import Claim, Gap, Outcome


class MemoryStore(Store):
    """Keep everything in three dictionaries, under one lock.

    What is handed out is a copy and what is kept is never changed in place, so a caller's
    later edits touch nobody else.
    """

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._runs: dict[str, Run] = {}
        self._notes: dict[str, str] = {}
        self._made = False
        self._transaction = _Transaction()

    def open(self, *, create: bool = True) -> Self:
        if not (create or self._made):
            raise StoreMissing("This memory store was never opened for writing.")
        self._made = True
        return self

    def close(self) -> None:
        pass

    def transaction(self) -> _Transaction:
        return self._transaction

    def _put(self, table: dict[str, Any], key: str, value: Any) -> None:
        """Change one entry (None removes it), so that a rollback can put the old one back."""
        self._transaction.journal.append((table, key, table.get(key)))
        _assign(table, key, value)

    # -- Schedules -------------------------------------------------------------------------

    def schedules(self) -> list[Schedule]:
        with self._transaction:
            return [schedule.but() for schedule in self._schedules.values()]

    def schedule(self, name: str) -> Schedule | None:
        with self._transaction:
            found = self._schedules.get(name)
            return found.but() if found else None

    def _in_force(self) -> list[tuple[datetime, Schedule]]:
        with self._transaction:
            found = [
                (schedule.next_fire_time, schedule.but())
                for schedule in self._schedules.values()
                if schedule.next_fire_time and not schedule.held_at and not schedule.vanished_at
            ]
        return sorted(found, key=lambda pair: pair[0])

    def due(self, now: datetime) -> list[Schedule]:
        return [schedule for fire_time, schedule in self._in_force() if fire_time <= now]

    def next_fire_time(self) -> datetime | None:
        return next((fire_time for fire_time, _ in self._in_force()), None)

    def ahead_of(self, moment: datetime) -> list[Schedule]:
        return [schedule for schedule in self.schedules() if schedule.watermark and schedule.watermark > moment]

    def put_schedule(self, schedule: Schedule) -> bool:
        with self._transaction:
            present = self._schedules.get(schedule.name)
            if (present.rev if present else 0) != schedule.rev:
                return False
            self._put(self._schedules, schedule.name, schedule.but(rev=schedule.rev + 1))
        return True

    def claim(self, schedule: Schedule, claim: Claim, run: Run | None, now: datetime) -> bool:
        with self._transaction:
            moved = schedule.but(next_fire_time=claim.next_fire_time, watermark=claim.watermark)
            if not self.put_schedule(moved):
                return False
            if claim.gap:
                self._record(schedule, claim.gap, now)
            if run and not self._is_on_record(schedule.name, claim.fire_time):
                self.add_run(run)
        return True

    def _fire_times(self, schedule: str) -> dict[datetime, Run]:
        return {run.fire_time: run for run in self._runs.values() if run.schedule == schedule and run.fire_time}

    def _is_on_record(self, schedule: str, fire_time: datetime | None) -> bool:
        return fire_time is not None and fire_time in self._fire_times(schedule)

    def _record(self, schedule: Schedule, gap: Gap, now: datetime) -> None:
        if self._is_on_record(schedule.name, gap.last):
            return
        on_record = self._fire_times(schedule.name)
        earlier = [fire_time for fire_time in on_record if fire_time < gap.first]
        before = on_record[max(earlier)] if earlier else None
        if before and (before.state, before.summary) == (gap.state, gap.reason):
            count = before.fire_count + gap.count if before.fire_count and gap.count else None
            first = before.fire_from or before.fire_time
            self._change(before, fire_from=first, fire_time=gap.last, fire_count=count, finished_at=now)
        else:
            self.add_run(gap_row(schedule, gap, now))

    def demand(self, name: str, run: Run) -> Run | None:
        with self._transaction:
            schedule = self._schedules.get(name)
            if schedule and self.active(run.task):
                self.put_schedule(schedule.but(demand=run.requested_by or run.origin))
                return None
            self.add_run(run)
        return run

    # -- Runs ------------------------------------------------------------------------------

    def _change(self, run: Run, **changes: Any) -> bool:
        """Change a Run if it is still as it was read; return whether it was."""
        with self._transaction:
            present = self._runs.get(run.id)
            if present is None or present.rev != run.rev:
                return False
            self._put(self._runs, run.id, run.but(rev=run.rev + 1, **changes))
        return True

    def add_run(self, run: Run) -> None:
        with self._transaction:
            self._put(self._runs, run.id, run.but())

    def _select(self, *, states: Iterable[str], task: str | None = None) -> list[Run]:
        wanted = tuple(states)
        with self._transaction:
            found = [
                run.but()
                for run in self._runs.values()
                if run.state in wanted and (task is None or run.task == task)
            ]
        return sorted(found, key=lambda run: run.id)

    def active(self, task: str) -> list[Run]:
        return self._select(states=ACTIVE, task=task)

    def queued(self, limit: int) -> list[Run]:
        found: list[Run] = []
        with self._transaction:
            at_work = [run.task for run in self.running()]
            for run in self._select(states=(QUEUED,)):
                instances = Policy.from_text(run.policy).max_instances
                if len(found) < limit and not self._is_held(run) and at_work.count(run.task) < instances:
                    at_work.append(run.task)
                    found.append(run)
        return found

    def _is_held(self, run: Run) -> bool:
        schedule = self._schedules.get(run.schedule)
        return schedule is not None and schedule.held_at is not None

    def running(self) -> list[Run]:
        return self._select(states=(RUNNING,))

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        with self._transaction:
            present = self._runs.get(run.id)
            free = len(self._select(states=(RUNNING,), task=run.task)) < limit
            if present and present.state == QUEUED and present.rev == run.rev and free and not self._is_held(run):
                self._change(
                    present, state=RUNNING, token=token, host=host, pid=pid, started_at=now,
                    attempt=present.attempt + 1,
                )  # fmt: skip
            return self.run(run.id)

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        with self._transaction:
            self.add_run(run)
            return self.take(run, token=token, host=host, pid=pid, now=now, limit=limit) or run

    def give_back(self, run: Run) -> bool:
        with self._transaction:
            mine = self._mine(run)
            return mine is not None and self._change(
                mine, state=QUEUED, token=None, started_at=None, pid=None, attempt=mine.attempt - 1
            )

    def _mine(self, run: Run) -> Run | None:
        """Return the Run as it is stored if it is at work under the token of ``run``."""
        present = self._runs.get(run.id)
        return present if present and present.state == RUNNING and present.token == run.token else None

    def finish(self, run: Run, outcome: Outcome) -> bool:
        with self._transaction:
            mine = self._mine(run)
            if mine is None:
                return False
            self._change(mine, **{name: getattr(outcome, name) for name in outcome.__slots__})
            self._answer_demand(run, outcome.finished_at)
        return True

    def _answer_demand(self, run: Run, now: datetime) -> None:
        """Turn a demand that came while the Run was active into the next Run."""
        schedule = self._schedules.get(run.schedule)
        if schedule and schedule.demand and self.put_schedule(schedule.but(demand=None)):
            self.add_run(demanded_run(schedule, now))

    def skip(self, run: Run, reason: str, now: datetime) -> bool:
        with self._transaction:
            skipped = run.state == QUEUED and self._change(run, state=SKIPPED, summary=reason, finished_at=now)
            if skipped and not self.active(run.task):
                self._answer_demand(run, now)
        return skipped

    def request_stop(self, run_id: str, *, by: str, why: str | None, now: datetime) -> Run | None:
        with self._transaction:
            run = self._runs.get(run_id)
            if run is None or run.state not in ACTIVE:
                return None
            self._change(run, stop_at=now, stop_by=by, stop_why=why)
            if run.state == QUEUED:
                error = f"stopped by {by} before it began"
                self._change(self._runs[run_id], state=STOPPED, finished_at=now, error=error)
                if not self.active(run.task):
                    self._answer_demand(run, now)
            return self.run(run_id)

    def run(self, run_id: str) -> Run | None:
        with self._transaction:
            found = self._runs.get(run_id)
            return found.but() if found else None

    def runs(
        self, *, task: str | None = None, states: Iterable[str] | None = None, limit: int | None = 20
    ) -> list[Run]:
        every = (*ACTIVE, *ENDED, *NEVER_STARTED)
        found = self._select(states=every if states is None else states, task=task)
        return found[::-1][:limit]

    def last_runs(self) -> dict[str, Run]:
        return {run.schedule: run for run in self._select(states=(RUNNING, *ENDED))}

    def prune(self, task: str, *, keep: int, since: datetime, limit: int = 1000) -> list[str]:
        doomed: list[str] = []
        with self._transaction:
            for states in (ENDED, NEVER_STARTED):
                newest_first = self._select(states=states, task=task)[::-1]
                too_many = newest_first[keep:]
                too_old = [run for run in newest_first[:keep] if (run.finished_at or run.queued_at) < since]
                doomed.extend(run.id for run in (too_old + too_many)[::-1])
            del doomed[limit:]
            for run_id in doomed:
                self._put(self._runs, run_id, None)
        return doomed

    def known_runs(self, ids: Iterable[str]) -> set[str]:
        with self._transaction:
            return {run_id for run_id in ids if run_id in self._runs}

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        with self._transaction:
            return self._notes.get(key)

    def put_note(self, key: str, text: str | None) -> None:
        with self._transaction:
            self._put(self._notes, key, text)


class _Transaction:
    """One lock for all; the outermost ``with`` undoes its journal when it is left by an exception."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.journal: list[tuple[dict[str, Any], str, Any]] = []

    def __enter__(self) -> None:
        self.lock.acquire()
        self.depth += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.depth -= 1
        if not self.depth:
            if kind is not None:
                for table, key, value in reversed(self.journal):
                    _assign(table, key, value)
            self.journal.clear()
        self.lock.release()


def _assign(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
