"""The memory store: the contract's plainest form, for tests and for Schedulers inside one program.

It is durable for as long as its process lives. Threads share one instance; there is no
second process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from heapq import merge
from itertools import islice
from operator import attrgetter

from ..errors import StoreMissing
from ..model import (
    ACTIVE,
    ENDED,
    NEVER_STARTED,
    QUEUED,
    RUNNING,
    SKIPPED,
    STOPPED,
    SUCCEEDED,
    Policy,
    Run,
    Schedule,
    Value,
    waits_for_retry,
)
from ..retries import attempts_with, pause, tallied
from .base import CODE_NOTE, HOLD_NOTE, LISTENERS_NOTE, PYTHON, Store, demanded_run, gap_row, id_range, unbegun
from .followers import run_after
from .indices import KINDS, Actions, Row, Runs, Schedules, Table
from .interrupts import uninterrupted
from .reading import Ending, Glance, Recent
from .tallies import Sums, Tally, lost_by_growing, seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any, Self

    from ..model import Action, Claim, Gap, Outcome
    from . import outbox


class MemoryStore(Store):
    """Keep everything in six tables, under one lock.

    What is handed out is a copy and what is kept is never changed in place, so a caller's
    later edits touch nobody else.
    """

    def __init__(self) -> None:
        self._schedules = Schedules()
        self._runs = Runs()
        self._actions = Actions()
        self._notes: Table[str] = Table()
        self._tallies: Table[Tally] = Table()
        self._events: Table[outbox.Row] = Table()
        self._seen = self._told = 0
        #: Called at the end of each transaction that has brought events, while its lock is still held.
        self.on_events: Callable[[], None] | None = None
        self._made = False
        self._transaction = _Transaction()

    def open(self, *, create: bool = True) -> Self:
        if not (create or self._made):
            raise StoreMissing("This memory store was never opened for writing.")
        self._made = True
        for kind in (Run, Schedule):
            _write_copy_out(kind)
        return self

    def close(self) -> None:
        pass

    def transaction(self) -> _Transaction:
        return self._transaction

    def _put(self, table: Table[Any], key: str, value: Any) -> None:
        """Change one entry (None removes it), so that a rollback can put the old one back."""
        # First the journal: what breaks off in the midst of a put is undone as well.
        self._transaction.journal.append((table, key, table.get(key), value))
        table.put(key, value)

    # -- Schedules -------------------------------------------------------------------------

    def schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        wanted = None if names is None else {*names}
        with self._transaction:
            return [schedule.copy() for schedule in self._in_order() if wanted is None or schedule.name in wanted]

    def _in_order(self) -> list[Schedule]:
        # (A removal that was undone has moved its row to the end of the table.)
        return [row.schedule for row in sorted(self._schedules.values(), key=attrgetter("position"))]

    def glances(self) -> list[Glance]:
        with self._transaction:
            return [self._glance(schedule) for schedule in self._in_order()]

    def _glance(self, schedule: Schedule) -> Glance:
        started = self._runs.started_of(schedule.name)
        last: Any = self._runs.get(started[-1]) if started else None
        return Glance(
            schedule.name, schedule.task, bool(schedule.declared), schedule.description,
            schedule.override or schedule.trigger, schedule.next_fire_time, schedule.held_at, schedule.held_until,
            schedule.vanished_at, schedule.failures or 0, schedule.after, last and last.id, last and last.state,
            last and last.started_at,
        )  # fmt: skip

    def schedule(self, name: str) -> Schedule | None:
        with self._transaction:
            row = self._schedules.get(name)
            return row.schedule.copy() if row else None

    def _of_places(self, places: Iterable[tuple[datetime, int, str]]) -> list[Schedule]:
        return [row.schedule.copy() for row in self._schedules.each(name for _, _, name in places)]

    def due(self, now: datetime) -> list[Schedule]:
        with self._transaction:
            places = () if HOLD_NOTE in self._notes else self._schedules.in_force()
            return self._of_places(places[: bisect_right(places, now, key=_moment)])

    def next_fire_time(self, now: datetime | None = None) -> datetime | None:
        with self._transaction:
            if HOLD_NOTE in self._notes:
                return None
            retries = self._runs.retries()
            later = bisect_right(retries, now, key=_moment) if now else 0
            firsts = (
                *self._schedules.in_force()[:1], *self._schedules.held_until()[:1], *retries[later : later + 1]
            )  # fmt: skip
            return min(map(_moment, firsts), default=None)

    def holds_over(self, now: datetime) -> list[Schedule]:
        with self._transaction:
            places = self._schedules.held_until()
            return self._of_places(places[: bisect_right(places, now, key=_moment)])

    def ahead_of(self, moment: datetime) -> list[Schedule]:
        with self._transaction:
            places = self._schedules.watermark()
            later = places[bisect_right(places, moment, key=_moment) :]
            return self._of_places(sorted(later, key=lambda place: place[1]))

    def put_schedule(self, schedule: Schedule) -> bool:
        with self._transaction:
            present = self._schedules.get(schedule.name)
            if (present.schedule.rev if present else 0) != schedule.rev:
                return False
            rev = schedule.rev if present else self._last_rev(schedule.name)
            position = present.position if present else self._next_position()
            succeeded_at = present.succeeded_at if present else None
            self._put(self._schedules, schedule.name, Row(position, schedule.but(rev=rev + 1), succeeded_at))
        return True

    def _next_position(self) -> int:
        self._seen += 1
        return self._seen

    def _last_rev(self, name: str) -> int:
        """Return the highest revision among what was done to a Schedule of that name, or 0."""
        places = self._actions.of_schedule(name)
        return int(places[-1][0]) if places else 0

    def remove_schedule(self, schedule: Schedule) -> bool:
        with self._transaction:
            present = self._schedules.get(schedule.name)
            if present is None or present.schedule.rev != schedule.rev:
                return False
            self._put(self._schedules, schedule.name, None)
        return True

    def claim(self, schedule: Schedule, claim: Claim, runs: Sequence[Run], now: datetime) -> bool:
        with self._transaction:
            moved = schedule.but(next_fire_time=claim.next_fire_time, watermark=claim.watermark)
            if not self.put_schedule(moved):
                return False
            # First the Runs: a Gap after one of them follows it, and not the row before.
            for run in runs:
                if not self._is_on_record(schedule.name, run.fire_time):
                    self.add_run(run)
            for gap in claim.gaps:
                self._record(schedule, gap, now)
        return True

    def _is_on_record(self, schedule: str, fire_time: datetime | None) -> bool:
        if fire_time is None:
            return False
        places = self._runs.fire_times_of(schedule)
        at = bisect_left(places, (fire_time,))
        return at < len(places) and _moment(places[at]) == fire_time

    def _record(self, schedule: Schedule, gap: Gap, now: datetime) -> None:
        """Write a Gap as a row, or let the schedule's row before it grow over it."""
        if self._is_on_record(schedule.name, gap.last):
            return
        before = self._row_before(schedule.name, gap.first)
        follows = before is not None and before.fire_time == schedule.watermark
        if before and follows and (before.state, before.summary) == (gap.state, gap.reason):
            count = before.fire_count + gap.count if before.fire_count and gap.count else None
            first = before.fire_from or before.fire_time
            self._change(before, fire_from=first, fire_time=gap.last, fire_count=count, finished_at=now)
            self._keep_tally(before.task, before.state, lost_by_growing(before.fire_count, gap.count), 0)
            self.tell_of(gap_row(schedule, gap, now).but(id=before.id))
        else:
            self.add_run(gap_row(schedule, gap, now))

    def _row_before(self, schedule: str, fire_time: datetime) -> Run | None:
        places = self._runs.fire_times_of(schedule)
        at = bisect_left(places, (fire_time,))
        return self._runs.get(places[at - 1][1]) if at else None

    def demand(self, name: str, run: Run) -> Run | None:
        with self._transaction:
            row = self._schedules.get(name)
            if row and self._is_active(name, run.queued_at):
                self.put_schedule(row.schedule.but(demand=run.requested_by or run.origin))
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
            self._put(self._runs, run.id, run.but(despite_hold=bool(run.despite_hold)))
            self.tell_of(run)

    def active(self, schedule: str) -> list[Run]:
        with self._transaction:
            return [run.copy() for run in self._runs.each(self._runs.active_of(schedule))]

    def _is_active(self, schedule: str, now: datetime) -> bool:
        return any(not waits_for_retry(run, now) for run in self._runs.each(self._runs.active_of(schedule)))

    def queued(self, limit: int, now: datetime | None = None) -> list[Run]:
        found: list[Run] = []
        at_work: Counter[str] = Counter()
        names: set[str | None] = set()
        with self._transaction:
            for run in self._runs.each(place[-1] for place in self._runs.queue()):
                if len(found) >= limit:
                    break
                room = Policy.from_text(run.policy).most_at_work - at_work[run.schedule]
                if self._may_begin(run, room, now) and (run.exclusive is None or run.exclusive not in names):
                    at_work[run.schedule] += 1
                    names.add(run.exclusive)
                    found.append(run.copy())
        return found

    def _may_begin(self, run: Run, limit: int, now: datetime | None) -> bool:
        """Tell whether nothing stands against a Run: no hold, no delay, no crowd, no other of its exclusive name."""
        return (
            not self._is_held(run)
            and (run.not_before is None or (now is not None and run.not_before <= now))
            and len(self._runs.running_of(run.schedule)) < limit
            and not (run.exclusive and self._runs.exclusive(run.exclusive))
        )

    def _is_held(self, run: Run) -> bool:
        if run.despite_hold:
            return False
        row = self._schedules.get(run.schedule)
        return HOLD_NOTE in self._notes or (row is not None and row.schedule.held_at is not None)

    def running(self) -> list[Run]:
        with self._transaction:
            return [run.copy() for run in self._runs.each(self._runs.in_state(RUNNING))]

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        with self._transaction:
            present = self._runs.get(run.id)
            if present and (present.state, present.rev) == (QUEUED, run.rev) and self._may_begin(present, limit, now):
                self._change(
                    present, state=RUNNING, token=token, host=host, pid=pid, started_at=now, not_before=None,
                    error=None, attempt=present.attempt + 1, **self._circumstances(),
                )  # fmt: skip
            taken = self.run(run.id)
            if taken is not None and taken.token == token:
                self.tell_of(taken)
            return taken

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        with self._transaction:
            if self._may_begin(run, limit, now):
                self.tell_of(run)
                run = run.but(
                    state=RUNNING, token=token, host=host, pid=pid, started_at=now, attempt=1, **self._circumstances()
                )
            self.add_run(run)
        return run

    def _circumstances(self) -> dict[str, str | None]:
        return {"code": self._notes.get(CODE_NOTE), "python": PYTHON}

    def give_back(self, run: Run) -> bool:
        with self._transaction:
            mine = self._mine(run)
            given_back = mine is not None and mine.stop_at is None and self._change(
                mine, state=QUEUED, token=None, started_at=None, pid=None, attempt=mine.attempt - 1
            )
            if given_back:
                self.tell_of(self._runs.get(run.id) or run)
            return given_back

    def try_now(self, run: Run, now: datetime) -> bool:
        with self._transaction:
            present = self._runs.get(run.id)
            is_waiting = present is not None and present.state == QUEUED and present.not_before is not None
            return is_waiting and self._change(run, not_before=now)

    def _mine(self, run: Run) -> Run | None:
        """Return the Run as it is stored if it is at work under the token of ``run``."""
        present = self._runs.get(run.id)
        return present if present and present.state == RUNNING and present.token == run.token else None

    def finish(self, run: Run, outcome: Outcome, *, retry_at: datetime | None = None) -> list[Run] | None:
        with self._transaction:
            mine = self._mine(run)
            if mine is None:
                return None
            facts = outcome.facts()
            if retry_at is not None and mine.stop_at is None and mine.schedule in self._schedules:
                self._change(
                    mine, state=QUEUED, not_before=retry_at, attempts=attempts_with(run, outcome, retry_at),
                    error=outcome.error, token=None, host=None, pid=None, started_at=None, progress_done=None,
                    progress_total=None, progress_note=None,
                )  # fmt: skip
                self.tell_of(mine.but(**facts), "RunRetried", next_at=retry_at)
            else:
                self._change(mine, **facts)
                row = self._schedules.get(mine.schedule)
                self._tell_end(self._runs.get(mine.id) or mine, row.schedule if row else None, outcome)
                self._tally(mine.schedule, outcome)
            return [*self._answer_demand(mine.schedule, outcome.finished_at), *self._go_on_after(mine, outcome)]

    def _tell_end(self, ended: Run, schedule: Schedule | None, outcome: Outcome) -> None:
        if self.listeners():
            from .outbox import in_a_row

            self.tell_of(ended, None, **in_a_row(schedule, outcome))

    def _go_on_after(self, ended: Run, outcome: Outcome) -> list[Run]:
        """Bring a Run of each Schedule that comes after one that has succeeded; return those inserted."""
        begun: list[Run] = []
        if outcome.state != SUCCEEDED:
            return begun
        for _, name in [*self._schedules.after()]:
            schedule = self.schedule(name)
            if schedule is None or f",{ended.schedule}," not in (schedule.after or ""):
                continue
            run = run_after(self, schedule, ended, outcome.finished_at)
            if run.state != QUEUED:
                self.add_run(run)
            elif self.demand(name, run):
                begun.append(run)
        return begun

    def _tally(self, name: str, outcome: Outcome) -> None:
        """Count a failure, or forget those before a success."""
        row = self._schedules.get(name)
        counted = tallied(row.schedule, outcome) if row else None
        if row is None or counted is None or counted is row.schedule:
            return
        self.put_schedule(counted)
        if counted.held_at and not row.schedule.held_at:
            self.add_action(pause(self._schedules.get(name).schedule, outcome))  # type: ignore[union-attr]

    def _answer_demand(self, name: str, now: datetime) -> list[Run]:
        """Turn a demand that came while a Run was active into the next Run, and return it."""
        row = self._schedules.get(name)
        if row is None or not row.schedule.demand:
            return []
        run = demanded_run(row.schedule, now)
        self.put_schedule(row.schedule.but(demand=None))
        if row.schedule.vanished_at:
            return []
        self.add_run(run)
        return [run]

    def _answer_if_idle(self, name: str, now: datetime) -> None:
        if not self._is_active(name, now):
            self._answer_demand(name, now)

    def skip(self, run: Run, reason: str, now: datetime, *, state: str = SKIPPED) -> bool:
        with self._transaction:
            skipped = run.state == QUEUED and self._change(
                run, state=state, summary=reason, finished_at=now, not_before=None
            )
            if skipped:
                self.tell_of(run.but(state=state, summary=reason, finished_at=now))
                self._answer_if_idle(run.schedule, now)
        return skipped

    def report_progress(self, run: Run, done: float, total: float | None, note: str | None, *, now: datetime) -> None:
        with self._transaction:
            mine = self._mine(run)
            if mine:
                self._put(
                    self._runs, run.id, mine.but(progress_done=done, progress_total=total, progress_note=note)
                )
                self.tell_of(mine, "RunProgressed", at=now, done=done, total=total, note=note)

    def keep_checkpoint(self, run: Run, checkpoint: str) -> None:
        with self._transaction:
            mine = self._mine(run)
            if mine:
                self._put(self._runs, run.id, mine.but(checkpoint=checkpoint))

    def request_stop(
        self, run_id: str, *, by: str, why: str | None, now: datetime, grace: float | None = None
    ) -> Run | None:
        marks: dict[str, Any] = {"stop_at": now, "stop_by": by, "stop_why": why, "stop_grace": grace}
        with self._transaction:
            run = self._runs.get(run_id)
            if run is None or run.state not in ACTIVE:
                return None
            if run.state == RUNNING:
                self._change(run, **marks)
            else:
                error = unbegun(by)[0 if run.attempt else 1]
                self._change(run, state=STOPPED, finished_at=now, not_before=None, error=error, **marks)
                self.tell_of(self._runs.get(run_id) or run)
                self._answer_if_idle(run.schedule, now)
            return self.run(run_id)

    def run(self, run_id: str) -> Run | None:
        with self._transaction:
            found = self._runs.get(run_id)
            return found.copy() if found else None

    def runs(
        self,
        *,
        task: str | None = None,
        schedule: str | None = None,
        states: Iterable[str] | None = None,
        origin: str | None = None,
        before: str | None = None,
        after: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 20,
    ) -> list[Run]:
        wanted = (*ACTIVE, *ENDED, *NEVER_STARTED) if states is None else {*states}
        lower, upper = id_range(before, after, since, until)
        with self._transaction:
            lists = [_between(ids, lower, upper) for ids in self._led_by(task, schedule, wanted)]
            asked = (
                run
                for run in self._runs.each(merge(*lists) if after else merge(*map(reversed, lists), reverse=True))
                if run.state in wanted
                and task in (None, run.task)
                and schedule in (None, run.schedule)
                and origin in (None, run.origin)
            )
            found = [run.copy() for run in islice(asked, limit)]
        return found[::-1] if after else found

    def _led_by(self, task: str | None, schedule: str | None, states: Collection[str]) -> list[Sequence[str]]:
        """Return ids in order, list by list, among which all are that may be asked for."""
        if schedule is not None:
            return [self._runs.of_schedule(schedule)]
        if task is not None:
            return [self._runs.of_task((task, kind)) for kind in KINDS]
        return [self._runs.in_state(state) for state in states]

    def last_runs(self, names: Collection[str] | None = None) -> dict[str, Run]:
        with self._transaction:
            started = self._runs.started_of
            wanted = started.groups() if names is None else dict.fromkeys(names)
            newest = self._runs.each(started(name)[-1] for name in wanted if started(name))
            return {run.schedule: run.copy() for run in newest}

    def recent(self, names: Collection[str], limit: int) -> dict[str, list[Recent]]:
        with self._transaction:
            return {name: [*map(_recent, self._newest_started(name, limit))] for name in names}

    def _newest_started(self, name: str, limit: int) -> Iterator[Run]:
        ids = self._runs.started_of(name)
        return self._runs.each(ids[max(len(ids) - limit, 0) :])

    def neighbours(self, run: Run) -> tuple[str | None, str | None]:
        with self._transaction:
            ids = self._runs.of_schedule(run.schedule)
            older, newer = _between(ids, None, run.id)[-1:], _between(ids, run.id, None)[:1]
            return (older[0] if older else None), (newer[0] if newer else None)

    def endings(self) -> dict[str, Ending]:
        with self._transaction:
            return {name: self._ending(row) for name, row in self._schedules.items()}

    def _ending(self, row: Row) -> Ending:
        newest = [*self._runs.each(reversed(self._runs.started_of(row.schedule.name)))]
        worked = next((run for run in newest if run.state in ENDED and run.started_at), None)
        seconds = seconds_of(worked.state, worked.started_at, worked.finished_at) if worked else None
        succeeded_at = next((run.finished_at for run in newest if run.state == SUCCEEDED), row.succeeded_at)
        return Ending(seconds, succeeded_at)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        sums = Sums()
        with self._transaction:
            for key, tally in self._tallies.items():
                state, task = key.split(" ", 1)
                sums.add(task, state, tally.runs, tally.seconds)
            for run in self._runs.values():
                sums.add_run(run)
        return sums.tallies

    def _keep_tally(self, task: str, state: str, runs: int, seconds: float) -> None:
        """Count what the Runs that are here do not tell, or will not tell any more."""
        if runs:
            before = self._tallies.get(f"{state} {task}") or Tally(0, 0.0)
            self._put(self._tallies, f"{state} {task}", Tally(before.runs + runs, before.seconds + seconds))

    def prune(self, task: str, *, keep: int, since: datetime, limit: int = 1000) -> list[str]:
        doomed: list[str] = []
        with self._transaction:
            for kind in (ENDED, NEVER_STARTED):
                ids = self._runs.of_task((task, kind))
                cut = max(len(ids) - keep, 0)
                newest = self._runs.each(ids[cut:])
                doomed += ids[:cut]
                doomed += [run.id for run in newest if (run.finished_at or run.queued_at) < since]
            del doomed[limit:]
            sums = Sums()
            for run in self._runs.each(doomed):
                sums.add_run(run)
            for (of_task, state), tally in sums.tallies.items():
                self._keep_tally(of_task, state, tally.runs, tally.seconds)
            for run_id in doomed:
                self._keep_success(self._runs.get(run_id))
                self._put(self._runs, run_id, None)
        return doomed

    def _keep_success(self, run: Run | None) -> None:
        """Put down when a Run has succeeded that is to be cleared away, if no later one is put down."""
        row = self._schedules.get(run.schedule) if run and run.state == SUCCEEDED else None
        if row and run and run.finished_at and (row.succeeded_at is None or row.succeeded_at < run.finished_at):
            self._put(self._schedules, run.schedule, row._replace(succeeded_at=run.finished_at))

    def known_runs(self, ids: Iterable[str]) -> set[str]:
        with self._transaction:
            return {run_id for run_id in ids if run_id in self._runs}

    # -- Actions ---------------------------------------------------------------------------

    def add_action(self, action: Action) -> None:
        with self._transaction:
            self._put(self._actions, action.id, action.copy())
            self.tell_of_action(action)

    def actions(self, *, schedule: str | None = None, limit: int | None = 20) -> list[Action]:
        with self._transaction:
            places = self._actions.in_time() if schedule is None else self._actions.of_schedule(schedule)
            newest = self._actions.each(place[-1] for place in islice(reversed(places), limit))
            return [action.copy() for action in newest]

    def prune_actions(self, since: datetime) -> None:
        with self._transaction:
            places = self._actions.in_time()
            for *_, action_id in places[: bisect_left(places, since, key=_moment)]:
                self._put(self._actions, action_id, None)

    # -- Events ----------------------------------------------------------------------------

    def listeners(self) -> str:
        return self._notes.get(LISTENERS_NOTE) or ""

    def _put_event(self, audience: str, kind: str, text: str) -> None:
        from .outbox import DROPPED_NOTE, MOST_EVENTS, Row

        self._told += 1
        self._put(self._events, str(self._told), Row(self._told, text, audience))
        self._transaction.at_end = self.on_events
        waiting = self.events(MOST_EVENTS + 1, None) if len(self._events) > MOST_EVENTS else []
        if len(waiting) > MOST_EVENTS:
            progress = (row for row in waiting if row.text.startswith('{"kind": "RunProgressed"'))
            self.forget_events([next(progress, waiting[0]).number])
            self.put_note(DROPPED_NOTE, str(int(self.note(DROPPED_NOTE) or 0) + 1))

    def events(self, limit: int, audience: str | None = "") -> list[outbox.Row]:
        with self._transaction:
            wanted = [row for row in self._events.values() if audience in (None, row.audience)]
            return sorted(wanted, key=attrgetter("number"))[:limit]

    def forget_events(self, numbers: Iterable[int]) -> None:
        with self._transaction:
            for number in numbers:
                self._put(self._events, str(number), None)

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        with self._transaction:
            return self._notes.get(key)

    def put_note(self, key: str, text: str | None) -> None:
        with self._transaction:
            self._put(self._notes, key, text)


def _recent(run: Run) -> Recent:
    return Recent(*(getattr(run, name) for name in Recent._fields))


def _between(ids: Sequence[str], lower: str | None, upper: str | None) -> Sequence[str]:
    """Return those of some ids in order that lie between two, which need not be there."""
    start = 0 if lower is None else bisect_right(ids, lower)
    return ids[start:] if upper is None else ids[start : bisect_left(ids, upper)]


def _moment(place: tuple[datetime, Any]) -> datetime:
    return place[0]


def _write_copy_out(kind: type[Value]) -> None:
    """Have values of a kind copied by code that names each of their slots, six times as fast as a loop over them.

    A store in memory does hardly anything but copy. A run of a site copies a few, and would pay more for the compiler.
    """
    if kind.copy is not Value.copy:
        return
    lines = ["def copy(self):", " twin = new(kind)", *(f" twin.{name} = self.{name}" for name in kind.__slots__)]
    names: dict[str, Any] = {"new": object.__new__, "kind": kind}
    exec("\n".join([*lines, " return twin"]), names)
    kind.copy = names["copy"]  # type: ignore[method-assign]


class _Transaction:
    """One lock for all; the outermost ``with`` undoes its journal when it is left by an exception.

    In the main thread Ctrl-C waits for its end.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.journal: list[tuple[Table[Any], str, Any, Any]] = []
        self.at_end: Callable[[], None] | None = None

    def __enter__(self) -> None:
        uninterrupted.__enter__()
        self.lock.acquire()
        self.depth += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._settle(is_undone=kind is not None)
        finally:
            self.depth -= 1
            self.lock.release()
            uninterrupted.__exit__()

    def _settle(self, *, is_undone: bool) -> None:
        if self.depth > 1:
            return
        if is_undone:
            for table, key, old, new in reversed(self.journal):
                table.restore(key, old, new)
        at_end, self.at_end = self.at_end, None
        if at_end is not None and not is_undone:
            at_end()  # what it changes here is not undone any more
        self.journal.clear()
