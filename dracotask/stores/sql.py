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
    Action,
    Policy,
    Run,
    Schedule,
)
from .base import HOLD_NOTE, Store, demanded_run, gap_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from ..model import Claim, Gap, Outcome, Value

#: The version of the tables (in :mod:`.schema`); a store of another version is let alone.
SCHEMA_VERSION = 2

_IN_FORCE = "held_at IS NULL AND vanished_at IS NULL AND next_fire_time IS NOT NULL"
_HOLD_ENDS = "held_until IS NOT NULL AND held_at IS NOT NULL AND vanished_at IS NULL"
_SITE_IS_HELD = f"EXISTS (SELECT 1 FROM notes WHERE \"key\" = '{HOLD_NOTE}')"

#: Spelt so that no index on the schedule is thought of: its history may be long, and those that are active are few.
_OF_SCHEDULE = "schedule || '' = ?"

#: What has to be so for a Run to begin; the values are of :func:`_beginning`.
_MAY_BEGIN = (
    f"(? = 1 OR NOT {_SITE_IS_HELD}"
    " AND NOT EXISTS (SELECT 1 FROM schedules WHERE name = ? AND held_at IS NOT NULL))"
    f" AND (SELECT COUNT(*) FROM runs AS others WHERE others.state = ? AND others.{_OF_SCHEDULE}) < ?"
    ' AND NOT EXISTS (SELECT 1 FROM runs AS others WHERE others.state = ? AND others."exclusive" = ?)'
)


def _beginning(run: Run, limit: int) -> tuple[Any, ...]:
    # (A Run without an exclusive name hands in NULL, which is equal to nothing.)
    return (int(bool(run.despite_hold)), run.schedule, RUNNING, run.schedule, limit, RUNNING, run.exclusive)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _assigned(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}" = ?' for name in names)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_SCHEDULE = _quoted(Schedule.__slots__)
_RUN = _quoted(Run.__slots__)
_ACTION = _quoted(Action.__slots__)
_TIMES = frozenset(
    name for kind in (Schedule, Run) for name in kind.__slots__ if name.endswith(("_at", "_time", "_from", "_until"))
) | {"watermark", "at"}
#: No database agrees with another on what true is.
_FLAGS = frozenset(("declared", "despite_hold"))


def _encode(value: Value) -> list[Any]:
    return [_written(name, getattr(value, name)) for name in value.__slots__]


def _written(name: str, part: Any) -> Any:
    if name in _FLAGS:
        return int(bool(part))
    return to_text(part) if name in _TIMES and part is not None else part


def _decode(kind: type[Any], row: Sequence[Any]) -> Any:
    return kind(**{name: _read(name, part) for name, part in zip(kind.__slots__, row, strict=True)})


def _read(name: str, part: Any) -> Any:
    if name in _FLAGS:
        return bool(part)
    return from_text(part) if name in _TIMES and part is not None else part


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
        return [_decode(Schedule, row) for row in rows]

    def schedules(self) -> list[Schedule]:
        return self._schedules("ORDER BY position")

    def schedule(self, name: str) -> Schedule | None:
        found = self._schedules("WHERE name = ?", (name,))
        return found[0] if found else None

    def due(self, now: datetime) -> list[Schedule]:
        return self._schedules(
            f"WHERE {_IN_FORCE} AND next_fire_time <= ? AND NOT {_SITE_IS_HELD} ORDER BY next_fire_time, position",
            (to_text(now),),
        )

    def next_fire_time(self) -> datetime | None:
        firsts = self._execute(
            f"SELECT (SELECT MIN(next_fire_time) FROM schedules WHERE {_IN_FORCE}),"
            f" (SELECT MIN(held_until) FROM schedules WHERE {_HOLD_ENDS}) WHERE NOT {_SITE_IS_HELD}"
        ).fetchone()
        return min((from_text(first) for first in firsts or () if first), default=None)

    def holds_over(self, now: datetime) -> list[Schedule]:
        return self._schedules(
            f"WHERE {_HOLD_ENDS} AND held_until <= ? ORDER BY held_until, position", (to_text(now),)
        )

    def ahead_of(self, moment: datetime) -> list[Schedule]:
        return self._schedules("WHERE watermark > ? ORDER BY position", (to_text(moment),))

    def put_schedule(self, schedule: Schedule) -> bool:
        if not schedule.rev:
            return self._insert_schedule(schedule)
        return self._change(
            f"UPDATE schedules SET {_assigned(Schedule.__slots__)} WHERE name = ? AND rev = ?",
            (*_encode(schedule.but(rev=schedule.rev + 1)), schedule.name, schedule.rev),
        )

    def _insert_schedule(self, schedule: Schedule) -> bool:
        with self.transaction():
            if self.schedule(schedule.name):
                return False
            position, rev = self._execute(
                "SELECT (SELECT COALESCE(MAX(position), 0) + 1 FROM schedules),"
                " (SELECT COALESCE(MAX(rev), 0) + 1 FROM actions WHERE schedule = ?)",
                (schedule.name,),
            ).fetchone()
            values = (position, *_encode(schedule.but(rev=rev)))
            self._execute(f"INSERT INTO schedules (position, {_SCHEDULE}) VALUES ({_marks(values)})", values)
        return True

    def remove_schedule(self, schedule: Schedule) -> bool:
        return self._change("DELETE FROM schedules WHERE name = ? AND rev = ?", (schedule.name, schedule.rev))

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
            "SELECT id, state, summary, fire_count, fire_time FROM runs WHERE schedule = ? AND fire_time < ?"
            " ORDER BY fire_time DESC LIMIT 1",
            (schedule.name, to_text(gap.first)),
        ).fetchone()
        follows = before and schedule.watermark and before[4] == to_text(schedule.watermark)
        if follows and before[1:3] == (gap.state, gap.reason):
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
            if self.active(name) and self._change(
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

    def active(self, schedule: str) -> list[Run]:
        return self._runs(f"WHERE state IN (?, ?) AND {_OF_SCHEDULE} ORDER BY id", (*ACTIVE, schedule))

    def queued(self, limit: int) -> list[Run]:
        found: list[Run] = []
        query = (
            f"WHERE state = ? AND (despite_hold = 1 OR NOT {_SITE_IS_HELD}"
            " AND NOT EXISTS (SELECT 1 FROM schedules WHERE name = runs.schedule AND held_at IS NOT NULL)) ORDER BY id"
        )
        with self.transaction():
            at_work, names = self._at_work()
            for run in self._each_run(query, (QUEUED,)):
                if len(found) >= limit:
                    break
                has_room = at_work.get(run.schedule, 0) < Policy.from_text(run.policy).max_instances
                if has_room and (run.exclusive is None or run.exclusive not in names):
                    at_work[run.schedule] = at_work.get(run.schedule, 0) + 1
                    names.add(run.exclusive)
                    found.append(run)
        return found

    def _at_work(self) -> tuple[dict[str, int], set[str | None]]:
        """Return how many Runs of each Schedule are at work, and the exclusive names that are."""
        rows = self._execute('SELECT schedule, "exclusive" FROM runs WHERE state = ?', (RUNNING,)).fetchall()
        counts: dict[str, int] = {}
        for schedule, _ in rows:
            counts[schedule] = counts.get(schedule, 0) + 1
        return counts, {name for _, name in rows}

    def running(self) -> list[Run]:
        return self._runs("WHERE state = ? ORDER BY id", (RUNNING,))

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        # The conditions stand in the statement itself, and the statement in a transaction.
        with self.transaction():
            self._execute(
                "UPDATE runs SET state = ?, token = ?, host = ?, pid = ?, started_at = ?,"
                f" attempt = attempt + 1, rev = rev + 1 WHERE id = ? AND state = ? AND rev = ? AND {_MAY_BEGIN}",
                (
                    RUNNING, token, host, pid, to_text(now), run.id, QUEUED, run.rev,
                    *_beginning(run, limit),
                ),
            )  # fmt: skip
            return self.run(run.id)

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        with self.transaction():
            if self._execute(f"SELECT 1 WHERE {_MAY_BEGIN}", _beginning(run, limit)).fetchone():
                run = run.but(state=RUNNING, token=token, host=host, pid=pid, started_at=now, attempt=1)
            self.add_run(run)
        return run

    def give_back(self, run: Run) -> bool:
        return self._change(
            "UPDATE runs SET state = ?, token = NULL, started_at = NULL, pid = NULL,"
            " attempt = attempt - 1, rev = rev + 1 WHERE id = ? AND state = ? AND token = ?",
            (QUEUED, run.id, RUNNING, run.token),
        )

    def finish(self, run: Run, outcome: Outcome) -> list[Run] | None:
        with self.transaction():
            written = self._change(
                f"UPDATE runs SET {_assigned(outcome.__slots__)}, rev = rev + 1"
                " WHERE id = ? AND state = ? AND token = ?",
                (*_encode(outcome), run.id, RUNNING, run.token),
            )
            return self._answer_demand(run.schedule, outcome.finished_at) if written else None

    def _answer_demand(self, name: str, now: datetime) -> list[Run]:
        """Turn a demand that came while a Run was active into the next Run, and return it."""
        schedule = self.schedule(name)
        if schedule is None or not schedule.demand:
            return []
        run = demanded_run(schedule, now)
        self.put_schedule(schedule.but(demand=None))
        if schedule.vanished_at:
            return []
        self.add_run(run)
        return [run]

    def _answer_if_idle(self, name: str, now: datetime) -> None:
        if not self.active(name):
            self._answer_demand(name, now)

    def skip(self, run: Run, reason: str, now: datetime) -> bool:
        with self.transaction():
            skipped = self._change(
                "UPDATE runs SET state = ?, summary = ?, finished_at = ?, rev = rev + 1"
                " WHERE id = ? AND state = ? AND rev = ?",
                (SKIPPED, reason, to_text(now), run.id, QUEUED, run.rev),
            )
            if skipped:
                self._answer_if_idle(run.schedule, now)
        return skipped

    def report_progress(self, run: Run, done: float, total: float | None, note: str | None) -> None:
        self._execute(
            "UPDATE runs SET progress_done = ?, progress_total = ?, progress_note = ?"
            " WHERE id = ? AND state = ? AND token = ?",
            (done, total, note, run.id, RUNNING, run.token),
        )

    def request_stop(
        self, run_id: str, *, by: str, why: str | None, now: datetime, grace: float | None = None
    ) -> Run | None:
        marked = "stop_at = ?, stop_by = ?, stop_why = ?, stop_grace = ?, rev = rev + 1 WHERE id = ? AND state = ?"
        marks = (to_text(now), by, why, grace, run_id)
        with self.transaction():
            dequeued = self._change(
                f"UPDATE runs SET state = ?, finished_at = ?, error = ?, {marked}",
                (STOPPED, to_text(now), f"stopped by {by} before it began", *marks, QUEUED),
            )
            if not dequeued and not self._change(f"UPDATE runs SET {marked}", (*marks, RUNNING)):
                return None
            run = self.run(run_id)
            if run and dequeued:
                self._answer_if_idle(run.schedule, now)
            return run

    def run(self, run_id: str) -> Run | None:
        found = self._runs("WHERE id = ?", (run_id,))
        return found[0] if found else None

    def runs(
        self,
        *,
        task: str | None = None,
        schedule: str | None = None,
        states: Iterable[str] | None = None,
        limit: int | None = 20,
    ) -> list[Run]:
        conditions = ["1 = 1"]
        values: list[Any] = []
        if task is not None:
            conditions.append("task = ?")
            values.append(task)
        if schedule is not None:
            conditions.append(_OF_SCHEDULE)
            values.append(schedule)
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

    # -- Actions ---------------------------------------------------------------------------

    def add_action(self, action: Action) -> None:
        values = _encode(action)
        self._execute(f"INSERT INTO actions ({_ACTION}) VALUES ({_marks(values)})", values)

    def actions(self, *, schedule: str | None = None, limit: int | None = 20) -> list[Action]:
        values: list[Any] = []
        # In one Schedule revisions tell the order, however clocks went; between two they mean nothing.
        rest = 'ORDER BY "at" DESC, rev DESC, id DESC'
        if schedule is not None:
            rest = 'WHERE schedule = ? ORDER BY rev DESC, "at" DESC, id DESC'
            values.append(schedule)
        if limit is not None:
            rest += " LIMIT ?"
            values.append(limit)
        return [_decode(Action, row) for row in self._execute(f"SELECT {_ACTION} FROM actions {rest}", values)]

    def prune_actions(self, since: datetime) -> None:
        self._execute('DELETE FROM actions WHERE "at" < ?', (to_text(since),))

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        row = self._execute('SELECT "value" FROM notes WHERE "key" = ?', (key,)).fetchone()
        return str(row[0]) if row else None

    def put_note(self, key: str, text: str | None) -> None:
        with self.transaction():
            self._execute('DELETE FROM notes WHERE "key" = ?', (key,))
            if text is not None:
                self._execute('INSERT INTO notes ("key", "value") VALUES (?, ?)', (key, text))
