"""The store of a simulation: the memory store without what only threads, Ctrl-C and other processes make necessary.

It decides as the memory store decides, in half the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..model import ACTIVE, Policy, Run, Schedule
from ..stores.indices import Table
from ..stores.memory import MemoryStore
from .rows import Ledger, run_id

#: So many Runs are kept here at most before those that are over go to the ledger.
MOST_RUNS = 1000


class SimulatedStore(MemoryStore):
    """Keeps what is still to change, and hands what is over to a ledger.

    Its Runs are numbered in the order in which they come about, so that each simulation tells the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self._numbered = 0
        self._transaction: Any = _Alone()
        unasked = (self._runs.of_task, self._runs.of_schedule, self._runs.started_of, self._runs.in_state)
        self._runs.forget(*unasked)

    # (What is handed out is no copy: nobody here changes a value in place.)

    def _put(self, table: Table[Any], key: str, value: Any) -> None:
        table.put(key, value)

    def _of_places(self, places: Iterable[tuple[datetime, int, str]]) -> list[Schedule]:
        return [row.schedule for row in self._schedules.each(name for _, _, name in places)]

    def schedule(self, name: str) -> Schedule | None:
        row = self._schedules.get(name)
        return row.schedule if row else None

    def active(self, schedule: str) -> list[Run]:
        return list(self._runs.each(self._runs.active_of(schedule)))

    def run(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def add_run(self, run: Run) -> None:
        self._numbered += 1
        numbered = run.but(id=run_id(self._numbered), despite_hold=bool(run.despite_hold))
        self._put(self._runs, numbered.id, numbered)

    def queued(self, limit: int, now: datetime | None = None) -> list[Run]:
        places = self._runs.queue()
        if len(places) != 1:
            return super().queued(limit, now)
        # Nearly always: nothing is to be weighed against it.
        (run,) = self._runs.each(place[-1] for place in places)
        is_free = limit > 0 and self._may_begin(run, Policy.from_text(run.policy).most_at_work, now)
        return [run] if is_free else []

    def has_queued(self) -> bool:
        """Tell whether any Run is queued, be it for later."""
        return bool(self._runs.queue())

    # -- What is over ----------------------------------------------------------------------

    def tidy(self) -> None:
        """Hand over what is over, once there is enough of it."""
        if self._numbered - len(self.ledger) > MOST_RUNS:
            self.hand_over(self._may_go)

    def hand_over(self, may_go: Any = lambda run: True) -> None:
        for run in [run for run in self._runs.values() if may_go(run)]:
            self.ledger.add(run)
            self._put(self._runs, run.id, None)

    def _may_go(self, run: Run) -> bool:
        """Tell whether a Run is over. The last row of a Schedule may still grow over the fire times after it."""
        if run.state in ACTIVE:
            return False
        places = self._runs.fire_times_of(run.schedule)
        return not places or places[-1][1] != run.id


class _Alone:
    """A transaction where nobody else is: what fails ends the simulation, so nothing is undone."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass
