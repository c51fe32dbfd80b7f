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
    SUCCEEDED,
    Action,
    Outcome,
    Policy,
    Run,
    Schedule,
    waits_for_retry,
)
from .base import CODE_NOTE, HOLD_NOTE, LISTENERS_NOTE, PYTHON, Store, demanded_run, gap_row, id_range, unbegun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from ..model import Claim, Gap, Value
    from .outbox import Row
    from .reading import Ending, Glance, Recent
    from .tallies import Tally

#: The version of the tables (in :mod:`.schema`); a store of another version is let alone.
SCHEMA_VERSION = 4

#: What is active of one Schedule is found by going through what is active of all; for more than these that is gone
#: through once.
FEW = 20

_IN_FORCE = "held_at IS NULL AND vanished_at IS NULL AND next_fire_time IS NOT NULL"
_HOLD_ENDS = "held_until IS NOT NULL AND held_at IS NOT NULL AND vanished_at IS NULL"
_ANYBODY_FOLLOWS = 'EXISTS (SELECT 1 FROM schedules AS others WHERE others."after" IS NOT NULL)'
_SITE_IS_HELD = f"EXISTS (SELECT 1 FROM notes WHERE \"key\" = '{HOLD_NOTE}')"

#: The condition of the index of what is active, word for word.
IS_ACTIVE = "state IN ('queued', 'running')"

#: Spelt so that no index on the schedule is thought of: its history may be long, and those that are active are few.
_OF_SCHEDULE = "schedule || '' = ?"

_AT_WORK = f"others.{IS_ACTIVE} AND others.state = ?"

#: What has to be so for a Run to begin; the values are of :func:`_beginning`.
_MAY_BEGIN = (
    f"(? = 1 OR NOT {_SITE_IS_HELD}"
    " AND NOT EXISTS (SELECT 1 FROM schedules WHERE name = ? AND held_at IS NOT NULL))"
    f" AND (SELECT COUNT(*) FROM runs AS others WHERE {_AT_WORK} AND others.{_OF_SCHEDULE}) < ?"
    f' AND NOT EXISTS (SELECT 1 FROM runs AS others WHERE {_AT_WORK} AND others."exclusive" = ?)'
)

_CODE = f"(SELECT \"value\" FROM notes WHERE \"key\" = '{CODE_NOTE}')"

#: Whether what is over up to that id is counted for good already (:data:`.tallies.TALLIED_NOTE`): if so, a Run that
#: comes to its end has to be counted as well.
_IS_TALLIED = "EXISTS (SELECT 1 FROM notes WHERE \"key\" = 'tallied' AND \"value\" >= ?)"

#: What an attempt leaves in its row that says nothing of the next one.
_UNDONE = ", ".join(
    f'"{name}" = NULL'
    for name in ("token", "host", "pid", "started_at", "progress_done", "progress_total", "progress_note")
)


def _beginning(run: Run, limit: int) -> tuple[Any, ...]:
    # (A Run without an exclusive name hands in NULL, which is equal to nothing.)
    return (int(bool(run.despite_hold)), run.schedule, RUNNING, run.schedule, limit, RUNNING, run.exclusive)


def _containing(text: str) -> str:
    """Return the pattern of LIKE, with the escape "!", for what contains a text."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _assigned(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}" = ?' for name in names)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


_SCHEDULE = _quoted(Schedule.__slots__)
_RUN = _quoted(Run.__slots__)
_ACTION = _quoted(Action.__slots__)
_OUTCOME = _assigned(Outcome.__slots__).replace('"late_cause" = ?', "late_cause = COALESCE(?, late_cause)")
_TIMES = frozenset(
    name for kind in (Schedule, Run) for name in kind.__slots__ if name.endswith(("_at", "_time", "_from", "_until"))
) | {"watermark", "at", "not_before"}
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

    #: What was last read of who listens; None when it never was.
    _listeners: str | None = None

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

    def schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        if names is None:
            return self._schedules("ORDER BY position")
        from .sqlreading import schedules

        return schedules(self, names)

    def glances(self) -> list[Glance]:
        from .sqlreading import glances

        return glances(self)

    def schedule(self, name: str) -> Schedule | None:
        found = self._schedules("WHERE name = ?", (name,))
        return found[0] if found else None

    def due(self, now: datetime) -> list[Schedule]:
        return self._schedules(
            f"WHERE {_IN_FORCE} AND next_fire_time <= ? AND NOT {_SITE_IS_HELD} ORDER BY next_fire_time, position",
            (to_text(now),),
        )

    def next_fire_time(self, now: datetime | None = None) -> datetime | None:
        firsts = self._execute(
            f"SELECT (SELECT MIN(next_fire_time) FROM schedules WHERE {_IN_FORCE}),"
            f" (SELECT MIN(held_until) FROM schedules WHERE {_HOLD_ENDS}),"
            " (SELECT MIN(not_before) FROM runs WHERE not_before IS NOT NULL AND not_before > ?)"
            f" WHERE NOT {_SITE_IS_HELD}",
            (to_text(now) if now else "",),
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

    def claim(self, schedule: Schedule, claim: Claim, runs: Sequence[Run], now: datetime) -> bool:
        with self.transaction():
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
        query = "SELECT 1 FROM runs WHERE schedule = ? AND fire_time = ?"
        return self._execute(query, (schedule, to_text(fire_time))).fetchone() is not None

    def _record(self, schedule: Schedule, gap: Gap, now: datetime) -> None:
        """Write a Gap as a row, or let the schedule's row before it grow over it."""
        if self._is_on_record(schedule.name, gap.last):
            return
        before = self._execute(
            "SELECT id, state, summary, fire_count, fire_time, task FROM runs WHERE schedule = ? AND fire_time < ?"
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
            self._tally_growth(before, gap)
            self.tell_of(gap_row(schedule, gap, now).but(id=before[0]))
        else:
            self.add_run(gap_row(schedule, gap, now))

    def _tally_growth(self, before: Sequence[Any], gap: Gap) -> None:
        from .tallies import lost_by_growing, number_of, put

        run_id, state, _, fire_count, _, task = before
        is_tallied = self._is_tallied(run_id)
        number = number_of(gap.count) if is_tallied else lost_by_growing(fire_count, gap.count)
        if number:
            put(self, task, state, number, 0)

    def demand(self, name: str, run: Run) -> Run | None:
        with self.transaction():
            if self._is_active(name, run.queued_at) and self._change(
                "UPDATE schedules SET demand = ?, rev = rev + 1 WHERE name = ?",
                (run.requested_by or run.origin, name),
            ):
                return None
            self.add_run(run)
        return run

    # -- Runs ------------------------------------------------------------------------------

    def _runs(self, rest: str, values: Sequence[Any] = (), before: str = "") -> list[Run]:
        return list(self._each_run(rest, values, before))

    def _each_run(self, rest: str, values: Sequence[Any] = (), before: str = "") -> Iterator[Run]:
        for row in self._execute(f"{before} SELECT {_RUN} FROM runs {rest}".lstrip(), values):
            yield _decode(Run, row)

    def add_run(self, run: Run) -> None:
        if not self.listeners():
            return self._insert_run(run)
        with self.transaction():
            self._insert_run(run)
            self.tell_of(run)

    def _insert_run(self, run: Run) -> None:
        values = _encode(run)
        self._execute(f"INSERT INTO runs ({_RUN}) VALUES ({_marks(values)})", values)
        if run.state not in ACTIVE:
            self._tally_if_late(run)

    def _is_tallied(self, run_id: str) -> bool:
        return bool(self._execute(f"SELECT {_IS_TALLIED}", (run_id,)).fetchone()[0])

    def _tally_if_late(self, run: Run) -> None:
        """Count a Run that has come to its end, if those around it are counted already."""
        if self._is_tallied(run.id):
            from .tallies import put_run

            put_run(self, run)

    def active(self, schedule: str) -> list[Run]:
        return self._runs(f"WHERE {IS_ACTIVE} AND {_OF_SCHEDULE} ORDER BY id", (schedule,))

    def crowds(self, schedules: Collection[str]) -> dict[str, list[Run]]:
        if len(schedules) <= FEW:
            return super().crowds(schedules)
        crowds: dict[str, list[Run]] = {name: [] for name in schedules}
        for run in self._each_run(f"WHERE {IS_ACTIVE} ORDER BY id"):
            if run.schedule in crowds:
                crowds[run.schedule].append(run)
        return crowds

    def _is_active(self, schedule: str, now: datetime) -> bool:
        return any(not waits_for_retry(run, now) for run in self.active(schedule))

    def queued(self, limit: int, now: datetime | None = None) -> list[Run]:
        found: list[Run] = []
        query = (
            f"WHERE {IS_ACTIVE} AND state = ? AND (not_before IS NULL OR not_before <= ?)"
            f" AND (despite_hold = 1 OR NOT {_SITE_IS_HELD}"
            " AND NOT EXISTS (SELECT 1 FROM schedules WHERE name = runs.schedule AND held_at IS NOT NULL))"
            " ORDER BY priority DESC, id"
        )
        with self.transaction():
            at_work, names = self._at_work()
            for run in self._each_run(query, (QUEUED, to_text(now) if now else "")):
                if len(found) >= limit:
                    break
                has_room = at_work.get(run.schedule, 0) < Policy.from_text(run.policy).most_at_work
                if has_room and (run.exclusive is None or run.exclusive not in names):
                    at_work[run.schedule] = at_work.get(run.schedule, 0) + 1
                    names.add(run.exclusive)
                    found.append(run)
        return found

    def _at_work(self) -> tuple[dict[str, int], set[str | None]]:
        """Return how many Runs of each Schedule are at work, and the exclusive names that are."""
        query = f'SELECT schedule, "exclusive" FROM runs WHERE {IS_ACTIVE} AND state = ?'
        rows = self._execute(query, (RUNNING,)).fetchall()
        counts: dict[str, int] = {}
        for schedule, _ in rows:
            counts[schedule] = counts.get(schedule, 0) + 1
        return counts, {name for _, name in rows}

    def running(self) -> list[Run]:
        return self._runs(f"WHERE {IS_ACTIVE} AND state = ? ORDER BY id", (RUNNING,))

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        # The conditions stand in the statement itself, and the statement in a transaction.
        with self.transaction():
            self._execute(
                "UPDATE runs SET state = ?, token = ?, host = ?, pid = ?, started_at = ?, not_before = NULL,"
                f" error = NULL, code = {_CODE}, python = ?, attempt = attempt + 1, rev = rev + 1"
                " WHERE id = ? AND state = ? AND rev = ?"
                f" AND (not_before IS NULL OR not_before <= ?) AND {_MAY_BEGIN}",
                (
                    RUNNING, token, host, pid, to_text(now), PYTHON, run.id, QUEUED, run.rev, to_text(now),
                    *_beginning(run, limit),
                ),
            )  # fmt: skip
            taken = self.run(run.id)
            if taken is not None and taken.token == token:
                self.tell_of(taken)
            return taken

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        with self.transaction():
            if leave := self._execute(f"SELECT {_CODE} WHERE {_MAY_BEGIN}", _beginning(run, limit)).fetchone():
                self.tell_of(run)
                run = run.but(
                    state=RUNNING, token=token, host=host, pid=pid, started_at=now, attempt=1, code=leave[0],
                    python=PYTHON,
                )  # fmt: skip
            self.add_run(run)
        return run

    def give_back(self, run: Run) -> bool:
        with self.transaction():
            given_back = self._change(
                "UPDATE runs SET state = ?, token = NULL, started_at = NULL, pid = NULL,"
                " attempt = attempt - 1, rev = rev + 1 WHERE id = ? AND state = ? AND token = ? AND stop_at IS NULL",
                (QUEUED, run.id, RUNNING, run.token),
            )
            if given_back and self.listeners() and (queued := self.run(run.id)):
                self.tell_of(queued)
        return given_back

    def try_now(self, run: Run, now: datetime) -> bool:
        return self._change(
            "UPDATE runs SET not_before = ?, rev = rev + 1 WHERE id = ? AND state = ? AND rev = ?"
            " AND not_before IS NOT NULL",
            (to_text(now), run.id, QUEUED, run.rev),
        )

    def finish(self, run: Run, outcome: Outcome, *, retry_at: datetime | None = None) -> list[Run] | None:
        with self.transaction():
            is_retried = retry_at is not None and self._queue_again(run, outcome, retry_at)
            written = is_retried or self._change(
                f"UPDATE runs SET {_OUTCOME}, rev = rev + 1"
                " WHERE id = ? AND state = ? AND token = ?",
                (*_encode(outcome), run.id, RUNNING, run.token),
            )
            if not written:
                return None
            schedule, followers, is_tallied = self._concerned(run, outcome)
            self._tell_end(run, outcome, retry_at if is_retried else None, schedule)
            if is_tallied and not is_retried:
                self._tally_if_late(run.but(**outcome.facts()))
            if schedule is not None and not is_retried:
                schedule = self._tally(schedule, outcome)
            return [*self._answer_demand(schedule, outcome.finished_at), *self._go_on_with(followers, run, outcome)]

    def _concerned(self, run: Run, outcome: Outcome) -> tuple[Schedule | None, list[Schedule], bool]:
        """Return the Schedule of a Run that has ended, those that come after it, and whether it may be counted late.

        In passing it is learnt who listens.
        """
        row = self._execute(
            f'SELECT {_SCHEDULE}, (SELECT "value" FROM notes WHERE "key" = ?), {_ANYBODY_FOLLOWS}, {_IS_TALLIED}'
            " FROM schedules WHERE name = ?",
            (LISTENERS_NOTE, run.id, run.schedule),
        ).fetchone()
        if row is not None:
            self._listeners = row[-3] or ""
        may_be_followed = outcome.state == SUCCEEDED and (row is None or row[-2])
        followers = self._followers(run.schedule) if may_be_followed else []
        if row is None:
            return None, followers, True
        return _decode(Schedule, row[:-3]), followers, bool(row[-1])

    def _followers(self, name: str) -> list[Schedule]:
        found = self._schedules(
            """WHERE "after" IS NOT NULL AND "after" LIKE ? ESCAPE '!' ORDER BY position""", (_containing(f",{name},"),)
        )
        # (LIKE does not tell capitals from small letters.)
        return [schedule for schedule in found if f",{name}," in (schedule.after or "")]

    def _tell_end(
        self, run: Run, outcome: Outcome, retry_at: datetime | None, schedule: Schedule | None
    ) -> None:
        if self.listeners():
            from .outbox import in_a_row

            ended = run.but(**outcome.facts())
            if retry_at:
                self.tell_of(ended, "RunRetried", next_at=retry_at)
            else:
                self.tell_of(ended, None, **in_a_row(schedule, outcome))

    def _go_on_with(self, followers: list[Schedule], ended: Run, outcome: Outcome) -> list[Run]:
        """Bring a Run of each Schedule that comes after the one that has succeeded; return those inserted."""
        if not followers:
            return []
        from .followers import run_after

        begun = []
        for schedule in followers:
            run = run_after(self, schedule, ended, outcome.finished_at)
            if run.state != QUEUED:
                self.add_run(run)
            elif self.demand(schedule.name, run):
                begun.append(run)
        return begun

    def _queue_again(self, run: Run, outcome: Outcome, retry_at: datetime) -> bool:
        """Make a Run that has failed wait for its next attempt, unless nobody wants it any more."""
        from ..retries import attempts_with

        return self._change(
            f"UPDATE runs SET state = ?, not_before = ?, attempts = ?, error = ?, {_UNDONE}, rev = rev + 1"
            " WHERE id = ? AND state = ? AND token = ? AND stop_at IS NULL"
            " AND EXISTS (SELECT 1 FROM schedules WHERE name = ?)",
            (
                QUEUED, to_text(retry_at), attempts_with(run, outcome, retry_at), outcome.error, run.id, RUNNING,
                run.token, run.schedule,
            ),
        )  # fmt: skip

    def _tally(self, schedule: Schedule, outcome: Outcome) -> Schedule:
        """Count a failure, or forget those before a success; return the Schedule as it is now stored."""
        if outcome.state == SUCCEEDED and not schedule.failures:
            return schedule
        from ..retries import pause, tallied

        counted = tallied(schedule, outcome)
        if counted is schedule or not self.put_schedule(counted):
            return schedule
        counted.rev += 1
        if counted.held_at and not schedule.held_at:
            self.add_action(pause(counted, outcome))
        return counted

    def _answer_demand(self, schedule: Schedule | None, now: datetime) -> list[Run]:
        """Turn a demand that came while a Run was active into the next Run, and return it."""
        if schedule is None or not schedule.demand:
            return []
        run = demanded_run(schedule, now)
        self.put_schedule(schedule.but(demand=None))
        if schedule.vanished_at:
            return []
        self.add_run(run)
        return [run]

    def _answer_if_idle(self, name: str, now: datetime) -> None:
        schedule = self.schedule(name)
        if schedule is not None and schedule.demand and not self._is_active(name, now):
            self._answer_demand(schedule, now)

    def skip(self, run: Run, reason: str, now: datetime, *, state: str = SKIPPED) -> bool:
        with self.transaction():
            skipped = self._change(
                "UPDATE runs SET state = ?, summary = ?, finished_at = ?, not_before = NULL, rev = rev + 1"
                " WHERE id = ? AND state = ? AND rev = ?",
                (state, reason, to_text(now), run.id, QUEUED, run.rev),
            )
            if skipped:
                self._tally_if_late(run.but(state=state))
                self.tell_of(run.but(state=state, summary=reason, finished_at=now))
                self._answer_if_idle(run.schedule, now)
        return skipped

    def report_progress(self, run: Run, done: float, total: float | None, note: str | None, *, now: datetime) -> None:
        with self.transaction():
            written = self._change(
                "UPDATE runs SET progress_done = ?, progress_total = ?, progress_note = ?"
                " WHERE id = ? AND state = ? AND token = ?",
                (done, total, note, run.id, RUNNING, run.token),
            )
            if written and self.listeners():
                self.tell_of(run, "RunProgressed", at=now, done=done, total=total, note=note)

    def keep_checkpoint(self, run: Run, checkpoint: str) -> None:
        self._execute(
            "UPDATE runs SET checkpoint = ? WHERE id = ? AND state = ? AND token = ?",
            (checkpoint, run.id, RUNNING, run.token),
        )

    def request_stop(
        self, run_id: str, *, by: str, why: str | None, now: datetime, grace: float | None = None
    ) -> Run | None:
        marked = "stop_at = ?, stop_by = ?, stop_why = ?, stop_grace = ?, rev = rev + 1 WHERE id = ? AND state = ?"
        marks = (to_text(now), by, why, grace, run_id)
        with self.transaction():
            dequeued = self._change(
                f"UPDATE runs SET state = ?, finished_at = ?, not_before = NULL, error = CASE WHEN attempt > 0"
                f" THEN ? ELSE ? END, {marked}",
                (STOPPED, to_text(now), *unbegun(by), *marks, QUEUED),
            )
            if not dequeued and not self._change(f"UPDATE runs SET {marked}", (*marks, RUNNING)):
                return None
            run = self.run(run_id)
            if run and dequeued:
                self._tally_if_late(run)
                self.tell_of(run)
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
        origin: str | None = None,
        before: str | None = None,
        after: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 20,
    ) -> list[Run]:
        from .sqlreading import runs

        facts = {"task": task, "schedule": schedule, "origin": origin}
        wanted = None if states is None else {*states}
        ids = id_range(before, after, since, until)
        return runs(self, facts, wanted, ids, limit=limit, from_below=after is not None)

    def last_runs(self, names: Collection[str] | None = None) -> dict[str, Run]:
        from .sqlreading import last_runs

        return last_runs(self, names)

    def recent(self, names: Collection[str], limit: int) -> dict[str, list[Recent]]:
        from .sqlreading import recent

        return recent(self, names, limit)

    def neighbours(self, run: Run) -> tuple[str | None, str | None]:
        from .sqlreading import neighbours

        return neighbours(self, run)

    def endings(self) -> dict[str, Ending]:
        from .sqlreading import endings

        return endings(self)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        from .tallies import tallies

        return tallies(self)

    def prune(self, task: str, *, keep: int, since: datetime, limit: int = 1000) -> list[str]:
        from .tallies import FACTS, put_rows

        doomed: list[Sequence[Any]] = []
        with self.transaction():
            for states in (ENDED, NEVER_STARTED):
                of_kind = f"FROM runs WHERE task = ? AND state IN ({_marks(states)})"
                rows = self._execute(
                    f"SELECT {FACTS}, schedule {of_kind} AND (COALESCE(finished_at, queued_at) < ? OR id NOT IN"
                    f" (SELECT id {of_kind} ORDER BY id DESC LIMIT ?)) ORDER BY id LIMIT ?",
                    (task, *states, to_text(since), task, *states, keep, limit - len(doomed)),
                )
                doomed.extend(rows.fetchall())
            put_rows(self, [row[:-1] for row in doomed])
            self._keep_successes(doomed)
            for run_id, *_ in doomed:
                self._execute("DELETE FROM runs WHERE id = ?", (run_id,))
        return [row[0] for row in doomed]

    def _keep_successes(self, doomed: Iterable[Sequence[Any]]) -> None:
        """Put down when the last success of each Schedule was, among what is to be cleared away."""
        last: dict[str, str] = {}
        for _, _, state, *_, finished_at, schedule in doomed:
            if state == SUCCEEDED and finished_at:
                last[schedule] = max(last.get(schedule, ""), finished_at)
        for schedule, moment in last.items():
            self._execute(
                "UPDATE schedules SET succeeded_at = ? WHERE name = ? AND COALESCE(succeeded_at, '') < ?",
                (moment, schedule, moment),
            )

    def known_runs(self, ids: Iterable[str]) -> set[str]:
        return {run_id for run_id in ids if self._execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone()}

    # -- Actions ---------------------------------------------------------------------------

    def add_action(self, action: Action) -> None:
        values = _encode(action)
        self._execute(f"INSERT INTO actions ({_ACTION}) VALUES ({_marks(values)})", values)
        self.tell_of_action(action)

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

    # -- Events ----------------------------------------------------------------------------

    def listeners(self) -> str:
        if self._listeners is None:
            self.note(LISTENERS_NOTE)
        return self._listeners or ""

    def _put_event(self, audience: str, kind: str, text: str) -> None:
        from .outbox import MOST_EVENTS

        first, last = self._execute("SELECT MIN(number), MAX(number) FROM events").fetchone()
        row = ((last or 0) + 1, audience + kind, text)
        self._execute("INSERT INTO events (number, kind, event) VALUES (?, ?, ?)", row)
        if first is not None and last + 1 - first >= MOST_EVENTS:
            self._make_room(MOST_EVENTS)

    def _make_room(self, most: int) -> None:
        """Take the oldest out of a full outbox, of progress if there is any, and note that nobody heard of it."""
        from .outbox import DROPPED_NOTE

        (number,) = self._execute("SELECT COUNT(*) FROM events").fetchone()
        if number <= most:
            return
        oldest = self._execute(
            "SELECT COALESCE((SELECT MIN(number) FROM events WHERE kind = ?), (SELECT MIN(number) FROM events))",
            ("RunProgressed",),
        ).fetchone()
        self.forget_events(oldest)
        self.put_note(DROPPED_NOTE, str(int(self.note(DROPPED_NOTE) or 0) + 1))

    def events(self, limit: int, audience: str | None = "") -> list[Row]:
        from ..events import ALERTS, LISTENERS
        from .outbox import Row

        whose, values = "", [limit]
        if audience is not None:
            whose = f"WHERE kind {'LIKE' if audience == ALERTS else 'NOT LIKE'} '{ALERTS}%'"
        rows = self._execute(f"SELECT number, event, kind FROM events {whose} ORDER BY number LIMIT ?", values)
        return [
            Row(number, text, ALERTS if kind.startswith(ALERTS) else LISTENERS) for number, text, kind in rows
        ]

    def forget_events(self, numbers: Iterable[int]) -> None:
        with self.transaction():
            for number in numbers:
                self._execute("DELETE FROM events WHERE number = ?", (number,))

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        # Who reads a note hears at once who listens: a run is to ask for that, and not to pay for it.
        rows = self._execute('SELECT "key", "value" FROM notes WHERE "key" IN (?, ?)', (key, LISTENERS_NOTE))
        notes = dict(rows.fetchall())
        self._listeners = notes.get(LISTENERS_NOTE, "")
        return notes.get(key)

    def put_note(self, key: str, text: str | None) -> None:
        if key == LISTENERS_NOTE:
            self._listeners = None  # a rollback may take it back
        with self.transaction():
            self._execute('DELETE FROM notes WHERE "key" = ?', (key,))
            if text is not None:
                self._execute('INSERT INTO notes ("key", "value") VALUES (?, ?)', (key, text))
