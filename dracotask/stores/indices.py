"""The tables of the memory store, with sorted indices: no question has to look at all that is kept.

A sorted list is the plainest index there is, and up to some hundred thousand entries the quickest:
to insert is a bisection and a move of pointers, mostly at the end, since ids and fire times rise.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from ..model import ACTIVE, ENDED, NEVER_STARTED, QUEUED, RUNNING, STARTED, Action, Run, Schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

T = TypeVar("T")

#: What a clean-up tells apart in the history of a Task.
KINDS = (ACTIVE, ENDED, NEVER_STARTED)

_KIND = {state: kind for kind in KINDS for state in kind}


class Index(Generic[T]):
    """Where the values of a table stand, in groups that are each in order.

    :param place: returns what a value is sorted by, unique in its group; None leaves the value out.
    :param group: returns the group of a value; without it there is one, whose name is None.
    """

    def __init__(self, place: Callable[[T], Any], group: Callable[[T], Any] = lambda value: None) -> None:
        self._place, self._group = place, group
        self._groups: dict[Any, list[Any]] = {}

    def __call__(self, group: Any = None) -> Sequence[Any]:
        """Return the places of a group, in order. It is the index itself: only to be looked at, and at once."""
        return self._groups.get(group, ())

    def groups(self) -> Iterable[Any]:
        """Return the names of the groups that are not empty."""
        return self._groups

    def move(self, old: T | None, new: T | None) -> None:
        """Let ``new`` stand where it belongs, in place of ``old``; None for nothing."""
        before, after = self._spot(old), self._spot(new)
        if before == after:
            return
        if before:
            self._remove(*before)
        if after:
            insort(self._groups.setdefault(after[0], []), after[1])

    def restore(self, old: T | None, new: T | None) -> None:
        """Let ``old`` stand in its place again, however far :meth:`move` has come with ``new``."""
        with suppress(Exception):  # what has no place, or cannot be compared, was not put either
            after = self._spot(new)
            if after:
                self._remove(*after)
        before = self._spot(old)
        if before:
            self._remove(*before)
            insort(self._groups.setdefault(before[0], []), before[1])

    def _spot(self, value: T | None) -> tuple[Any, Any] | None:
        place = None if value is None else self._place(value)
        return None if value is None or place is None else (self._group(value), place)

    def _remove(self, group: Any, place: Any) -> None:
        places = self._groups.get(group, [])
        at = bisect_left(places, place)
        if places[at : at + 1] == [place]:
            del places[at]
        if not places and group in self._groups:
            del self._groups[group]  # names come and go: their lists must not pile up


class Table(Generic[T]):
    """Values by key, and what is indexed of them."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._indices: list[Index[T]] = []

    def index(self, place: Callable[[T], Any], *group: Callable[[T], Any]) -> Index[T]:
        """Add an :class:`Index` to a table that is still empty."""
        self._indices.append(Index(place, *group))
        return self._indices[-1]

    def forget(self, *indices: Index[T]) -> None:
        """Do without some indices, in a table that is still empty."""
        self._indices = [index for index in self._indices if index not in indices]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> T | None:
        return self._values.get(key)

    def each(self, keys: Iterable[str]) -> Iterator[T]:
        """Yield the values of these keys, each of which is there."""
        return map(self._values.__getitem__, keys)

    def values(self) -> Iterable[T]:
        return self._values.values()

    def items(self) -> Iterable[tuple[str, T]]:
        return self._values.items()

    def put(self, key: str, value: T | None) -> None:
        """Put a value in its place; None removes it."""
        old = self._values.get(key)
        for index in self._indices:
            index.move(old, value)
        self._keep(key, value)

    def restore(self, key: str, old: T | None, new: T | None) -> None:
        """Undo the putting of ``new``, however far it has come."""
        for index in self._indices:
            index.restore(old, new)
        self._keep(key, old)

    def _keep(self, key: str, value: T | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value


class Row(NamedTuple):
    """A Schedule, and its number in the order in which they were first seen.

    :param succeeded_at: when the last of its Runs has ended that succeeded and is cleared away.
    """

    position: int
    schedule: Schedule
    succeeded_at: datetime | None = None


class Schedules(Table[Row]):
    """Schedules by name. The places in the indices end in position and name."""

    def __init__(self) -> None:
        super().__init__()
        self.in_force = self.index(lambda row: _place(_fires_at(row.schedule), row))
        self.held_until = self.index(lambda row: _place(_hold_ends_at(row.schedule), row))
        self.watermark = self.index(lambda row: _place(row.schedule.watermark, row))
        self.after = self.index(lambda row: row.schedule.after and (row.position, row.schedule.name))


def _place(moment: Any, row: Row) -> Any:
    return moment and (moment, row.position, row.schedule.name)


def _fires_at(schedule: Schedule) -> Any:
    return None if schedule.held_at or schedule.vanished_at else schedule.next_fire_time


def _hold_ends_at(schedule: Schedule) -> Any:
    return schedule.held_until if schedule.held_at and not schedule.vanished_at else None


class Runs(Table[Run]):
    """Runs by id. Ids are the places in the indices, or stand there behind what else counts."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = self.index(lambda run: (-(run.priority or 0), run.id) if run.state == QUEUED else None)
        self.retries = self.index(lambda run: run.not_before and (run.not_before, run.id))
        self.in_state = self.index(lambda run: run.id, lambda run: run.state)
        self.of_task = self.index(lambda run: run.id, lambda run: (run.task, _KIND[run.state]))
        self.of_schedule = self.index(lambda run: run.id, _by_schedule)
        self.active_of = self.index(lambda run: run.id if run.state in ACTIVE else None, _by_schedule)
        self.running_of = self.index(lambda run: run.id if run.state == RUNNING else None, _by_schedule)
        self.started_of = self.index(lambda run: run.id if run.state in STARTED else None, _by_schedule)
        self.exclusive = self.index(
            lambda run: run.id if run.state == RUNNING and run.exclusive else None, lambda run: run.exclusive
        )
        self.fire_times_of = self.index(lambda run: run.fire_time and (run.fire_time, run.id), _by_schedule)


def _by_schedule(run: Run) -> str:
    return run.schedule


class Actions(Table[Action]):
    """Actions by id, which is what the places in the indices end in."""

    def __init__(self) -> None:
        super().__init__()
        # In one Schedule revisions tell the order, however clocks went; between two they mean nothing.
        self.in_time = self.index(lambda action: (action.at, action.rev, action.id))
        self.of_schedule = self.index(
            lambda action: (action.rev, action.at, action.id), lambda action: action.schedule
        )
