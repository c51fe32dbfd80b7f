"""The local times that a checked cron expression names, found in order.

What the fields mean, Debian's cron to the letter and L, LW and # besides, is read by cronsim. It finds the days as
well. A later time of the same day is looked up here: it is what is asked for most.
"""

from __future__ import annotations

from copy import copy
from datetime import datetime, time
from functools import lru_cache

from ..errors import BadTrigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

#: Where the search for a first fire time starts. The calendar repeats within the years that follow.
CALENDAR_START = datetime(2000, 1, 1)


class Times:
    """The wall times of one expression."""

    __slots__ = ("_days", "_hours", "_minutes", "_seconds", "_first")

    def __init__(self, expression: str) -> None:
        from cronsim import CronSim

        fields = CronSim(expression, CALENDAR_START)
        self._days = CronSim(" ".join(["0 0", *expression.split()[-3:]]), CALENDAR_START)
        self._hours, self._minutes = _followers(fields.hours, 24), _followers(fields.minutes, 60)
        self._seconds = _followers(fields.seconds, 60)
        self._first = time(min(fields.hours), min(fields.minutes), min(fields.seconds))

    def after(self, wall: datetime) -> datetime | None:
        """Return the first of them that is later than ``wall``, or None if there is none for fifty years."""
        days = self._days
        if wall.month in days.months and days.match_day(wall):
            found = self._later_that_day(wall)
            if found is not None:
                return found
        return self._on_a_later_day(wall)

    def _later_that_day(self, wall: datetime) -> datetime | None:
        hour, minute, second = wall.hour, wall.minute, wall.second
        first = self._first
        # A number that follows itself is one of the rule's.
        if self._hours[hour] == hour:
            if self._minutes[minute] == minute and (later := self._seconds[second + 1]) is not None:
                return wall.replace(second=later, microsecond=0, fold=0)
            if (later := self._minutes[minute + 1]) is not None:
                return wall.replace(minute=later, second=first.second, microsecond=0, fold=0)
        if (later := self._hours[hour + 1]) is not None:
            return wall.replace(hour=later, minute=first.minute, second=first.second, microsecond=0, fold=0)
        return None

    def _on_a_later_day(self, wall: datetime) -> datetime | None:
        days = copy(self._days)  # Iteration changes it.
        days.dt = wall.replace(hour=23, minute=59, second=59, microsecond=0, fold=0)
        day = next(days, None)
        return None if day is None else datetime.combine(day, self._first)


@lru_cache(maxsize=512)
def times_of(expression: str) -> Times:
    """Return the wall times of an expression, read once in the life of a process.

    :raises BadTrigger: when it can never fire.
    """
    from cronsim import CronSimError

    try:
        times = Times(expression)
        fires = times.after(CALENDAR_START) is not None
    except CronSimError:  # Each field is right, so it is a 31st of February.
        fires = False
    if not fires:
        raise BadTrigger(f"cron expression {expression!r} never fires: no year has such a day.")
    return times


def _followers(numbers: Container[int], count: int) -> Sequence[int | None]:
    """Return for each number up to ``count`` the first of ``numbers`` that is not less, or None."""
    found: list[int | None] = [None]
    for number in range(count - 1, -1, -1):
        found.append(number if number in numbers else found[-1])
    return found[::-1]
