"""The questions of a console in portable SQL: each is one statement, and led by an index to what it returns.

A database guesses which of its indices leads to the least, and without statistics it guesses badly. So the
statements here leave it no choice: of what has to hold, only that is written plainly whose index is meant, and
the rest so that no index is thought of (``task || '' = ?``).
"""

from __future__ import annotations

from datetime import datetime

from ..model import ACTIVE, ENDED, STARTED, SUCCEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from ..model import Run, Schedule
    from .reading import Ending, Glance, Recent
    from .sql import SQLStore

#: So many names at most are asked for at once; databases have their limits (SQLite's is 999 in older versions).
MOST_NAMES = 500

#: The conditions of the indices ``runs_state`` and ``runs_rare``, word for word.
_IS_ACTIVE = "state IN ('queued', 'running')"
_IS_RARE = "state <> 'queued' AND state <> 'running' AND state <> 'succeeded'"

#: What people ask for is little among what comes by itself.
_BY_HAND = ("console", "demand")

_IS_STARTED, _IS_ENDED = (f"state IN ({', '.join(map(repr, states))})" for states in (STARTED, ENDED))


def _newest_started(name: str, limit: str) -> str:
    return f"(SELECT id FROM runs WHERE schedule = {name} AND {_IS_STARTED} ORDER BY id DESC LIMIT {limit})"


# -- Schedules ---------------------------------------------------------------------------------

_GLANCES = f"""
    SELECT schedules.name, schedules.task, declared, description, COALESCE("override", "trigger"), next_fire_time,
        held_at, held_until, vanished_at, failures, "after", runs.id, runs.state, runs.started_at
    FROM schedules LEFT JOIN runs ON runs.id = {_newest_started("schedules.name", "1")}
    ORDER BY position
"""


def glances(store: SQLStore) -> list[Glance]:
    from .reading import Glance

    return [
        Glance(
            name, task, bool(declared), description, in_force, _moment(next_fire_time), _moment(held_at),
            _moment(held_until), _moment(vanished_at), failures or 0, after, last_id, last_state, _moment(started_at),
        )
        for (
            name, task, declared, description, in_force, next_fire_time, held_at, held_until, vanished_at, failures,
            after, last_id, last_state, started_at,
        ) in store._execute(_GLANCES)
    ]  # fmt: skip


def schedules(store: SQLStore, names: Collection[str]) -> list[Schedule]:
    wanted = {*names}
    if len(wanted) > MOST_NAMES:
        return [schedule for schedule in store.schedules() if schedule.name in wanted]
    return store._schedules(f"WHERE name IN ({_marks(wanted)}) ORDER BY position", (*wanted,))


# -- The newest of each ------------------------------------------------------------------------

#: Every name that has a history: a seek for each, where a look at every row would be as long as all of history.
_ALL_NAMES = """WITH RECURSIVE wanted (name) AS (
    SELECT MIN(schedule) FROM runs
    UNION ALL SELECT (SELECT MIN(schedule) FROM runs WHERE schedule > wanted.name) FROM wanted WHERE name IS NOT NULL
)"""

_RECENT = "id, state, fire_time, queued_at, started_at, finished_at, late_cause"


def last_runs(store: SQLStore, names: Collection[str] | None) -> dict[str, Run]:
    questions = [(_ALL_NAMES, ())] if names is None else [(_these(part), part) for part in _parts(names)]
    rest = f"WHERE id IN (SELECT {_newest_started('wanted.name', '1')} FROM wanted)"
    found = (run for wanted, values in questions for run in store._runs(rest, values, wanted))
    return {run.schedule: run for run in found}


def recent(store: SQLStore, names: Collection[str], limit: int) -> dict[str, list[Recent]]:
    from .reading import Recent

    found: dict[str, list[Recent]] = {name: [] for name in names}
    for part in _parts(found):
        query = (
            f"{_these(part)} SELECT name, {_RECENT} FROM wanted JOIN runs"
            f" ON id IN {_newest_started('wanted.name', '?')} ORDER BY id"
        )
        for name, run_id, state, *moments, cause in store._execute(query, (*part, limit)):
            found[name].append(Recent(run_id, state, *map(_moment, moments), cause))  # type: ignore[call-arg]
    return found


#: Of each Schedule the newest Run that is over and was at work, and the newest that succeeded.
_ENDINGS = f"""
    SELECT schedules.name, last.state, last.started_at, last.finished_at, COALESCE(
        (SELECT finished_at FROM runs WHERE schedule = schedules.name AND state = 'succeeded' ORDER BY id DESC LIMIT 1),
        succeeded_at)
    FROM schedules LEFT JOIN runs AS last ON last.id = (
        SELECT id FROM runs WHERE schedule = schedules.name AND {_IS_ENDED} AND started_at IS NOT NULL
        ORDER BY id DESC LIMIT 1)
"""


def endings(store: SQLStore) -> dict[str, Ending]:
    from .reading import Ending
    from .tallies import seconds_of

    found = {}
    for name, state, *moments in store._execute(_ENDINGS):
        started_at, finished_at, succeeded_at = map(_moment, moments)
        found[name] = Ending(seconds_of(state, started_at, finished_at) if state else None, succeeded_at)
    return found


def neighbours(store: SQLStore, run: Run) -> tuple[str | None, str | None]:
    query = (
        "SELECT (SELECT MAX(id) FROM runs WHERE schedule = ? AND id < ?),"
        " (SELECT MIN(id) FROM runs WHERE schedule = ? AND id > ?)"
    )
    older, newer = store._execute(query, (run.schedule, run.id) * 2).fetchone()
    return older, newer


def _these(names: Sequence[str]) -> str:
    return f"WITH wanted (name) AS (VALUES {', '.join(['(?)'] * len(names))})"


# -- History -----------------------------------------------------------------------------------


def runs(
    store: SQLStore,
    facts: dict[str, str | None],
    states: Collection[str] | None,
    ids: tuple[str | None, str | None],
    *,
    limit: int | None,
    from_below: bool,
) -> list[Run]:
    """Return the Runs that :meth:`Store.runs` is asked for.

    :param facts: of columns that each have an index of their own, what is asked for; None for whatever.
    :param ids: between which two they lie.
    :param from_below: of more than ``limit`` the oldest are wanted, and not the newest.
    """
    found: dict[str, Run] = {}
    for lead, condition, wanted in _ways(facts, states):
        conditions, values = _conditions(lead, facts, wanted, ids)
        rest = f"WHERE {' AND '.join([condition, *conditions])} ORDER BY id {'ASC' if from_below else 'DESC'}"
        if limit is not None:
            rest += " LIMIT ?"
            values.append(limit)
        # (One that ended between two of these questions is found by both; by the later one as it is.)
        found.update((run.id, run) for run in store._runs(rest, values))
    in_order = sorted(found.values(), key=lambda run: run.id, reverse=not from_below)[:limit]
    return in_order[::-1] if from_below else in_order


def _ways(
    facts: dict[str, str | None], states: Collection[str] | None
) -> Iterator[tuple[str | None, str, Sequence[str] | None]]:
    """Yield which column's index is to lead, the condition of that index, and the states it is asked for."""
    if states is None or SUCCEEDED in states:
        # Most of all have succeeded, so that by going through those of a Task one comes upon enough.
        yield _lead(facts), "1 = 1", None if states is None else (*states,)
        return
    if active := [state for state in states if state in ACTIVE]:
        yield "state", _IS_ACTIVE, active
    if rare := [state for state in states if state not in ACTIVE]:
        yield None, _IS_RARE, rare


def _lead(facts: dict[str, str | None]) -> str | None:
    if facts["origin"] in _BY_HAND:
        return "origin"
    return next((name for name in ("schedule", "task", "origin") if facts[name] is not None), None)


def _conditions(
    lead: str | None, facts: dict[str, str | None], states: Sequence[str] | None, ids: tuple[str | None, str | None]
) -> tuple[list[str], list[Any]]:
    conditions, values = [], []
    for name, value in facts.items():
        if value is not None:
            conditions.append(f"{name} = ?" if name == lead else f"{name} || '' = ?")
            values.append(value)
    if states is not None:
        conditions.append(f"state IN ({_marks(states)})")
        values += states
    column = "id || ''" if lead == "state" else "id"
    for sign, end in zip("><", ids, strict=True):
        if end is not None:
            conditions.append(f"{column} {sign} ?")
            values.append(end)
    return conditions, values


# -- Small things ------------------------------------------------------------------------------


def _moment(text: str | None) -> Any:
    # (Stored moments are in UTC, and say so: they need not be made so again.)
    return text and datetime.fromisoformat(text)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _parts(names: Collection[str]) -> Iterator[Sequence[str]]:
    each = [*dict.fromkeys(names)]
    for start in range(0, len(each), MOST_NAMES):
        yield each[start : start + MOST_NAMES]
