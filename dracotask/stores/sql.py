"""The store contract in portable SQL: what the database stores share.

Races are decided by row counts and unique keys, which every SQL database has; nothing
here needs a dialect. A child class knows how to connect and when to give up.

Times are text of fixed width in UTC, so they sort as they read, in any SQL shell.
"""

from __future__ import annotations

from ..clock import from_text, to_text
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
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from ..model import Claim, Gap, Outcome, Value

#: The version of the tables (in :mod:`.schema`); a store of another version is let alone.
SCHEMA_VERSION = 1

_IN_FORCE = "held_at IS NULL AND vanished_at IS NULL AND next_fire_time IS NOT NULL"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_SCHEDULE = _quoted(Schedule.__slots__)
_RUN = _quoted(Run.__slots__)
_TIMES = frozenset(
    name for kind in (Schedule, Run) for name in kind.__slots__ if name.endswith(("_at", "_time", "_from", "_until"))
) | {"watermark"}


def _encode(value: Value) -> list[Any]:
    return [
        to_text(part) if name in _TIMES and part is not None else part
        for name, part in ((name, getattr(value, name)) for name in value.__slots__)
    ]


def _decode(kind: type[Any], row: Sequence[Any]) -> Any:
    return kind(
        **{
            name: from_text(part) if name in _TIMES and part is not None else part
            for name, part in zip(kind.__slots__, row, strict=True)
        }
    )


class SQLStore(Store):
    """All of the contract but opening, closing and transactions."""

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement and return its cursor; errors come as the package's own."""
        raise NotImplementedError

    def _change(self, statement: str, values: Sequence[Any]) -> bool:
        """Run a statement and tell whether it changed (exactly) its row."""
        return bool(self._execute(statement, values).rowcount == 1)

    # -- Schedules -------------------------------------------------------------------------

    def _schedules(self, rest: str, values: Sequence[Any] = ()) -> list[Schedule]:
        rows = self._execute(f"SELECT {_SCHEDULE} FROM schedules {rest}", values).fetchall()
        found = [_decode(Schedule, row) for row in rows]
        for schedule in found:
            schedule.declared = bool(schedule.declared)
        return found

    def schedules(self) -> list[Schedule]:
        return self._schedules("ORDER BY position")

    def schedule(self, name: str) -> Schedule | None:
        found = self._schedules("WHERE name = ?", (name,))
        return found[0] if found else None

    def due(self, now: datetime) -> list[Schedule]:
        return self._schedules(
            f"WHERE {_IN_FORCE} AND next_fire_time <= ? ORDER BY next_fire_time, position", (to_text(now),)
        )

    def next_fire_time(self) -> datetime | None:
        row = self._execute(f"SELECT MIN(next_fire_time) FROM schedules WHERE {_IN_FORCE}").fetchone()
        return from_text(row[0]) if row[0] else None

    def ahead_of(self, moment: datetime) -> list[Schedule]:
        return self._schedules("WHERE watermark > ? ORDER BY position", (to_text(moment),))

    def put_schedule(self, schedule: Schedule) -> bool:
        values = _encode(schedule.but(declared=int(schedule.declared), rev=schedule.rev + 1))
        if schedule.rev:
            assignments = ", ".join(f'"{name}" = ?' for name in Schedule.__slots__)
            return self._change(
                f"UPDATE schedules SET {assignments} WHERE name = ? AND rev = ?",
                (*values, schedule.name, schedule.rev),
            )
        with self.transaction():
            if self.schedule(schedule.name):
                return False
            (position,) = self._execute("SELECT COALESCE(MAX(position), 0) + 1 FROM schedules").fetchone()
            self._execute(
                f"INSERT INTO schedules (position, {_SCHEDULE}) VALUES (?, {_marks(values)})",
                (position, *values),
            )
        return True

    def claim(self, schedule: Schedule, claim: Claim, run: Run | None, now: datetime) -> bool:
        with self.transaction():
            moved = schedule.but(next_fire_time=claim.next_fire_time, watermark=claim.watermark)
            if not self.put_schedule(moved):
                return False
            if claim.gap:
                self._record(schedule, claim.gap, now)
            if run and not self._is_on_record(schedule.name, claim.fire_time):
                self.add_run(run)
        return True

    def _is_on_record(self, schedule: str, fire_time: datetime | None) -> bool:
        if fire_time is None:
            return False
        query = "SELECT 1 FROM runs WHERE schedule = ? AND fire_time = ?"
        return self._execute(query, (schedule, to_text(fire_time))).fetchone() is not None

    def _record(self, schedule: Schedule, gap: Gap, now: datetime) -> None:
        """Write a Gap as a row, or let the schedule's row before it grow over it."""
        if self._is_on_record(schedule.name, gap.last):
            return
        before = self._execute(
            "SELECT id, state, summary, fire_count FROM runs WHERE schedule = ? AND fire_time < ?"
            " ORDER BY fire_time DESC LIMIT 1",
            (schedule.name, to_text(gap.first)),
        ).fetchone()
        if before and before[1:3] == (gap.state, gap.reason):
            count = before[3] + gap.count if before[3] and gap.count else None
            self._execute(
                "UPDATE runs SET fire_from = COALESCE(fire_from, fire_time), fire_time = ?, fire_count = ?,"
                " finished_at = ?, rev = rev + 1 WHERE id = ?",
                (to_text(gap.last), count, to_text(now), before[0]),
            )
        else:
            self.add_run(gap_row(schedule, gap, now))

    def demand(self, name: str, run: Run) -> Run | None:
        with self.transaction():
            if self.active(run.task) and self._change(
                "UPDATE schedules SET demand = ?, rev = rev + 1 WHERE name = ?",
                (run.requested_by or run.origin, name),
            ):
                return None
            self.add_run(run)
        return run

    # -- Runs ------------------------------------------------------------------------------

    def _runs(self, rest: str, values: Sequence[Any] = ()) -> list[Run]:
        return list(self._each_run(rest, values))

    def _each_run(self, rest: str, values: Sequence[Any] = ()) -> Iterator[Run]:
        for row in self._execute(f"SELECT {_RUN} FROM runs {rest}", values):
            yield _decode(Run, row)

    def add_run(self, run: Run) -> None:
        values = _encode(run)
        self._execute(f"INSERT INTO runs ({_RUN}) VALUES ({_marks(values)})", values)

    def active(self, task: str) -> list[Run]:
        return self._runs("WHERE task = ? AND state IN (?, ?) ORDER BY id", (task, *ACTIVE))

    def queued(self, limit: int) -> list[Run]:
        found: list[Run] = []
        with self.transaction():
            at_work: dict[str, int] = dict(
                self._execute("SELECT task, COUNT(*) FROM runs WHERE state = ? GROUP BY task", (RUNNING,))
            )
            query = (
                "WHERE state = ? AND schedule NOT IN (SELECT name FROM schedules WHERE held_at IS NOT NULL)"
                " ORDER BY id"
            )
            for run in self._each_run(query, (QUEUED,)):
                if len(found) >= limit:
                    break
                if at_work.get(run.task, 0) < Policy.from_text(run.policy).max_instances:
                    at_work[run.task] = at_work.get(run.task, 0) + 1
                    found.append(run)
        return found

    def running(self) -> list[Run]:
        return self._runs("WHERE state = ? ORDER BY id", (RUNNING,))

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        # The conditions stand in the statement itself, and the statement in a transaction.
        with self.transaction():
            self._execute(
                "UPDATE runs SET state = ?, token = ?, host = ?, pid = ?, started_at = ?,"
                " attempt = attempt + 1, rev = rev + 1 WHERE id = ? AND state = ? AND rev = ?"
                " AND NOT EXISTS (SELECT 1 FROM schedules WHERE name = ? AND held_at IS NOT NULL)"
                " AND (SELECT COUNT(*) FROM runs AS others WHERE others.task = ? AND others.state = ?) < ?",
                (
                    RUNNING, token, host, pid, to_text(now), run.id, QUEUED, run.rev,
                    run.schedule, run.task, RUNNING, limit,
                ),
            )
            return self.run(run.id)

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        with self.transaction():
            held, running = self._execute(
                "SELECT (SELECT COUNT(*) FROM schedules WHERE name = ? AND held_at IS NOT NULL),"
                " (SELECT COUNT(*) FROM runs WHERE task = ? AND state = ?)",
                (run.schedule, run.task, RUNNING),
            ).fetchone()
            if not held and running < limit:
                run = run.but(state=RUNNING, token=token, host=host, pid=pid, started_at=now, attempt=1)
            self.add_run(run)
        return run

    def give_back(self, run: Run) -> bool:
        return self._change(
            "UPDATE runs SET state = ?, token = NULL, started_at = NULL, pid = NULL,"
            " attempt = attempt - 1, rev = rev + 1 WHERE id = ? AND state = ? AND token = ?",
            (QUEUED, run.id, RUNNING, run.token),
        )

    def finish(self, run: Run, outcome: Outcome) -> bool:
        with self.transaction():
            assignments = ", ".join(f"{name} = ?" for name in outcome.__slots__)
            written = self._change(
                f"UPDATE runs SET {assignments}, rev = rev + 1 WHERE id = ? AND state = ? AND token = ?",
                (*_encode(outcome), run.id, RUNNING, run.token),
            )
            if written:
                self._answer_demand(run, outcome.finished_at)
        return written

    def _answer_demand(self, run: Run, now: datetime) -> None:
        """Turn a demand that came while the Run was active into the next Run."""
        schedule = self.schedule(run.schedule)
        if schedule and schedule.demand and self.put_schedule(schedule.but(demand=None)):
            self.add_run(demanded_run(schedule, now))

    def skip(self, run: Run, reason: str, now: datetime) -> bool:
        with self.transaction():
            skipped = self._change(
                "UPDATE runs SET state = ?, summary = ?, finished_at = ?, rev = rev + 1"
                " WHERE id = ? AND state = ? AND rev = ?",
                (SKIPPED, reason, to_text(now), run.id, QUEUED, run.rev),
            )
            if skipped and not self.active(run.task):
                self._answer_demand(run, now)
        return skipped

    def request_stop(self, run_id: str, *, by: str, why: str | None, now: datetime) -> Run | None:
        marks = (to_text(now), by, why)
        with self.transaction():
            dequeued = self._change(
                "UPDATE runs SET state = ?, finished_at = ?, error = ?, stop_at = ?, stop_by = ?, stop_why = ?,"
                " rev = rev + 1 WHERE id = ? AND state = ?",
                (STOPPED, marks[0], f"stopped by {by} before it began", *marks, run_id, QUEUED),
            )
            marked = not dequeued and self._change(
                "UPDATE runs SET stop_at = ?, stop_by = ?, stop_why = ?, rev = rev + 1 WHERE id = ? AND state = ?",
                (*marks, run_id, RUNNING),
            )
            run = self.run(run_id) if dequeued or marked else None
            if run and dequeued and not self.active(run.task):
                self._answer_demand(run, now)
        return run

    def run(self, run_id: str) -> Run | None:
        found = self._runs("WHERE id = ?", (run_id,))
        return found[0] if found else None

    def runs(
        self, *, task: str | None = None, states: Iterable[str] | None = None, limit: int | None = 20
    ) -> list[Run]:
        conditions = ["1 = 1"]
        values: list[Any] = []
        if task is not None:
            conditions.append("task = ?")
            values.append(task)
        if states is not None:
            wanted = tuple(states)
            conditions.append(f"state IN ({_marks(wanted)})")
            values.extend(wanted)
        rest = f"WHERE {' AND '.join(conditions)} ORDER BY id DESC"
        if limit is not None:
            rest += " LIMIT ?"
            values.append(limit)
        return self._runs(rest, values)

    def last_runs(self) -> dict[str, Run]:
        newest = (
            f"WHERE id IN (SELECT MAX(id) FROM runs WHERE state IN ({_marks((RUNNING, *ENDED))}) GROUP BY schedule)"
        )
        return {run.schedule: run for run in self._runs(newest, (RUNNING, *ENDED))}

    def prune(self, task: str, *, keep: int, since: datetime, limit: int = 1000) -> list[str]:
        doomed: list[str] = []
        with self.transaction():
            for states in (ENDED, NEVER_STARTED):
                of_kind = f"FROM runs WHERE task = ? AND state IN ({_marks(states)})"
                rows = self._execute(
                    f"SELECT id {of_kind} AND (COALESCE(finished_at, queued_at) < ? OR id NOT IN"
                    f" (SELECT id {of_kind} ORDER BY id DESC LIMIT ?)) ORDER BY id LIMIT ?",
                    (task, *states, to_text(since), task, *states, keep, limit - len(doomed)),
                )
                doomed.extend(row[0] for row in rows.fetchall())
            for run_id in doomed:
                self._execute("DELETE FROM runs WHERE id = ?", (run_id,))
        return doomed

    def known_runs(self, ids: Iterable[str]) -> set[str]:
        return {run_id for run_id in ids if self._execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone()}

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        row = self._execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def put_note(self, key: str, text: str | None) -> None:
        with self.transaction():
            self._execute("DELETE FROM notes WHERE key = ?", (key,))
            if text is not None:
                self._execute("INSERT INTO notes (key, value) VALUES (?, ?)", (key, text))
