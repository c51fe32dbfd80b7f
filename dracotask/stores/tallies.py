"""How many Runs are over since the store was made, for counters that never fall.

No run pays for it. What is in the store is counted there, when somebody asks; what is cleared away leaves its number
in a table. And lest each question go through a whole history, what it has gone through is put together in that table
up to some id, which a note tells. A Run that ends behind that id, because it was at work meanwhile or because the
clock was set back, is counted in the table as it ends.
"""

from __future__ import annotations

from ..clock import from_text
from ..errors import StoreError
from ..model import ACTIVE, ENDED, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Any

    from ..model import Run
    from .sql import SQLStore

#: The note that says up to which id all that is over is counted in the table.
TALLIED_NOTE = "tallied"

#: So many rows at most are counted anew at each question. It takes some milliseconds.
MOST_ANEW = 2000

_UP_TO = f"COALESCE((SELECT \"value\" FROM notes WHERE \"key\" = '{TALLIED_NOTE}'), '')"

#: Those that are not counted in the table.
_ANEW = f"FROM runs WHERE id > {_UP_TO}"

#: What is to be known of a row to count it.
FACTS = "id, task, state, fire_count, started_at, finished_at"


class Tally(Value):
    """How many Runs of a Task have come to an end of one kind.

    :param seconds: how long they were at work, all together.
    """

    __slots__ = ("runs", "seconds")

    def __init__(self, runs: int, seconds: float) -> None:
        self.runs, self.seconds = runs, seconds


def number_of(fire_count: int | None) -> int:
    """Return for how many a row counts; for one where nobody knows."""
    return fire_count or 1


def seconds_of(state: str, started_at: datetime | None, finished_at: datetime | None) -> float:
    """Return how long a body was at work, and no less than nothing where the clock was set back meanwhile."""
    if state not in ENDED or started_at is None or finished_at is None:
        return 0.0
    return max((finished_at - started_at).total_seconds(), 0.0)


def lost_by_growing(before: int | None, more: int | None) -> int:
    """Return what a row that grows over further fire times does not count of them by itself.

    :param before: how many it was of; ``more``: how many come to that; None where nobody knows.
    """
    after = before + more if before and more else None
    return number_of(before) + number_of(more) - number_of(after)


class Sums:
    """Tallies that are being added up."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], Tally] = {}

    def add(self, task: str, state: str, runs: int, seconds: float) -> None:
        before = self.tallies.get((task, state), Tally(0, 0.0))
        self.tallies[task, state] = Tally(before.runs + runs, before.seconds + seconds)

    def add_run(self, run: Run) -> None:
        """Count a Run, if it is over."""
        if run.state not in ACTIVE:
            seconds = seconds_of(run.state, run.started_at, run.finished_at)
            self.add(run.task, run.state, number_of(run.fire_count), seconds)

    def add_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Count those of some rows that are over."""
        for _, task, state, fire_count, *moments in rows:
            if state not in ACTIVE:
                started_at, finished_at = (moment and from_text(moment) for moment in moments)
                self.add(task, state, number_of(fire_count), seconds_of(state, started_at, finished_at))


# -- In SQL ------------------------------------------------------------------------------------


def tallies(store: SQLStore) -> dict[tuple[str, str], Tally]:
    try:
        while _is_much(store):
            _put_together(store)
    except StoreError:
        pass  # the disk is full, say: it takes longer, and the numbers are the same
    # One statement sees one moment: a row is in the one half, or in the other.
    found = store._execute(
        "SELECT NULL, task, state, runs, seconds, NULL, NULL FROM tallies UNION ALL"
        f" SELECT id, task, state, fire_count, NULL, started_at, finished_at {_ANEW}"
    ).fetchall()
    sums = Sums()
    for run_id, task, state, runs, seconds, *_ in found:
        if run_id is None:
            sums.add(task, state, runs, seconds)
    sums.add_rows((*row[:4], *row[5:]) for row in found if row[0] is not None)
    return sums.tallies


def _is_much(store: SQLStore) -> bool:
    query = f"SELECT id {_ANEW} ORDER BY id LIMIT 1 OFFSET ?"
    return store._execute(query, (MOST_ANEW - 1,)).fetchone() is not None


def _put_together(store: SQLStore) -> None:
    """Count the oldest of those that are not in the table, and put them there."""
    with store.transaction():
        rows = store._execute(f"SELECT {FACTS} {_ANEW} ORDER BY id LIMIT ?", (MOST_ANEW,)).fetchall()
        if rows:
            put_rows(store, rows)
            store.put_note(TALLIED_NOTE, rows[-1][0])


def put(store: SQLStore, task: str, state: str, runs: int, seconds: float) -> None:
    """Put so many Runs more into the table. To be called in the transaction in which they become over, or go."""
    change = "UPDATE tallies SET runs = runs + ?, seconds = seconds + ? WHERE task = ? AND state = ?"
    if not store._change(change, (runs, seconds, task, state)):
        row = (task, state, runs, seconds)
        store._execute("INSERT INTO tallies (task, state, runs, seconds) VALUES (?, ?, ?, ?)", row)


def put_run(store: SQLStore, run: Run) -> None:
    """Put a Run into the table that has come to its end behind those which are counted there."""
    seconds = seconds_of(run.state, run.started_at, run.finished_at)
    put(store, run.task, run.state, number_of(run.fire_count), seconds)


def put_rows(store: SQLStore, rows: Iterable[Sequence[Any]]) -> None:
    """Put those rows into the table that are over and not counted there, because they go or shall not be asked again.

    :param rows: :data:`FACTS` of each.
    """
    tallied = store.note(TALLIED_NOTE) or ""
    sums = Sums()
    sums.add_rows(row for row in rows if row[0] > tallied)
    for (task, state), tally in sums.tallies.items():
        put(store, task, state, tally.runs, tally.seconds)
