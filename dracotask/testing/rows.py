"""The history of a simulation, kept small: a year of minutes is half a million Runs.

As objects they would take 600 bytes each. Here a Run is some numbers in columns, and what it shares with others is
kept once; it is a :class:`~dracotask.model.Run` again when somebody looks at it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, overload

from ..model import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)

#: Stands for no moment, and for nobody counted.
_NONE = -(1 << 62)

#: What nearly every Run has for itself.
_MOMENTS = ("fire_from", "fire_time", "queued_at", "started_at", "finished_at")
_OWN = ("id", *_MOMENTS, "fire_count")

#: What it shares with most others of its Schedule, or is mostly None.
_SHARED = tuple(name for name in Run.__slots__ if name not in _OWN)
_shared_of: Callable[[Run], tuple[Any, ...]] = attrgetter(*_SHARED)


class Ledger:
    """Columns of Runs; each Run has its number."""

    def __init__(self) -> None:
        self._columns = {name: array("q") for name in (*_MOMENTS, "fire_count")}
        self._ids = array("q")
        self._kinds = array("l")
        self._known: dict[tuple[Any, ...], int] = {}
        self._shared: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, run: Run) -> None:
        """Keep a Run that will not change any more. Its id is a number."""
        shared = _shared_of(run)
        kind = self._known.get(shared)
        if kind is None:
            kind = self._known[shared] = len(self._shared)
            self._shared.append(shared)
        self._kinds.append(kind)
        self._ids.append(int(run.id))
        for name in _MOMENTS:
            self._columns[name].append(_number(getattr(run, name)))
        self._columns["fire_count"].append(_NONE if run.fire_count is None else run.fire_count)

    def __getitem__(self, number: int) -> Run:
        own = {name: _moment(self._columns[name][number]) for name in _MOMENTS}
        count = self._columns["fire_count"][number]
        return Run(
            id=run_id(self._ids[number]), fire_count=None if count == _NONE else count, **own,
            **dict(zip(_SHARED, self._shared[self._kinds[number]], strict=True)),
        )  # fmt: skip

    def in_time(self) -> array[int]:
        """Return the numbers of all Runs, by when they began, or should have."""
        started, fired, queued = (self._columns[name] for name in ("started_at", "fire_time", "queued_at"))
        when = [
            next(moment for moment in moments if moment != _NONE)
            for moments in zip(started, fired, queued, strict=True)
        ]
        return array("q", sorted(range(len(when)), key=lambda number: (when[number], self._ids[number])))

    def those(self, numbers: Iterable[int], holds: Callable[[Run], bool]) -> array[int]:
        """Return the numbers of the Runs of which ``holds`` is true; it is asked once for all that are alike.

        Of a Run it is shown the task, schedule, state and whatever else is shared.
        """
        is_so = [holds(Run(**dict(zip(_SHARED, shared, strict=True)))) for shared in self._shared]
        return array("q", (number for number in numbers if is_so[self._kinds[number]]))

    def lateness(self, numbers: Iterable[int]) -> list[int]:
        """Return how many microseconds after its fire time each Run began, of those that have both."""
        started, fired = self._columns["started_at"], self._columns["fire_time"]
        return [
            started[number] - fired[number] for number in numbers if _NONE not in (started[number], fired[number])
        ]


class Rows(Sequence[Run]):
    """Some Runs of a Ledger, in an order. They are made when they are looked at."""

    def __init__(self, ledger: Ledger, numbers: Sequence[int]) -> None:
        self._ledger, self.numbers = ledger, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Run: ...

    @overload
    def __getitem__(self, at: slice) -> Rows: ...

    def __getitem__(self, at: int | slice) -> Run | Rows:
        if isinstance(at, slice):
            return Rows(self._ledger, self.numbers[at])
        return self._ledger[self.numbers[at]]

    def __iter__(self) -> Iterator[Run]:
        return map(self._ledger.__getitem__, self.numbers)

    def where(self, holds: Callable[[Run], bool]) -> Rows:
        """Return those of which ``holds`` is true, which may look at what Runs share: task, schedule, state."""
        return Rows(self._ledger, self._ledger.those(self.numbers, holds))

    def lateness(self) -> list[int]:
        return self._ledger.lateness(self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        few = ", ".join(map(repr, self[:2]))
        return f"<{len(self)} runs: {few}{', …' if len(self) > 2 else ''}>"


class RealRows(list[Run]):
    """Runs as a store has them, which can be asked what :class:`Rows` can."""

    def where(self, holds: Callable[[Run], bool]) -> RealRows:
        return RealRows(filter(holds, self))

    def lateness(self) -> list[int]:
        return [
            (run.started_at - run.fire_time) // _INSTANT for run in self if run.started_at and run.fire_time
        ]


def _same(one: object, other: object) -> bool:
    return one == other


def run_id(number: int) -> str:
    """Return the id of the Run of that number: as wide as a real one, and in the same order."""
    return f"{number:026d}"


def _number(moment: datetime | None) -> int:
    return _NONE if moment is None else (moment - _EPOCH) // _INSTANT


def _moment(number: int) -> datetime | None:
    return None if number == _NONE else _EPOCH + timedelta(microseconds=number)
