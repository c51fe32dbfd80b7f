"""Interval trigger: every so often, counted from a fixed moment.

The anchor is part of the rule, so every process on every host names the same
moments without talking to each other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..clock import as_utc, format_duration, parse_duration
from ..errors import BadTrigger
from .base import Trigger
from .date import parse_at

#: What intervals are counted from unless told otherwise: long past, so that the first one is never far.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

#: Shorter than this is the work of a loop in a program, not of a schedule.
SHORTEST = timedelta(seconds=1)

#: Longer than this is a slip of the pen, and would soon leave the years that a datetime can hold.
LONGEST = timedelta(days=36_500)


class IntervalTrigger(Trigger):
    """Fire every ``every``, counted from ``start``.

    :param every: the distance between two fire times; a second at least. As in `parse_every`.
    :param start: the first fire time.
    :param end: no fire time is later than this; None for no end.
    :raises BadTrigger: when one of them is out of bounds, or the end is before the start.
    """

    __slots__ = ("end", "every", "start")

    def __init__(
        self,
        *,
        every: str | float | timedelta,
        start: datetime | str = EPOCH,
        end: datetime | str | None = None,
    ) -> None:
        # In UTC: two local times of one zone subtract by wall clock, DST or not.
        self.every, self.start = parse_every(every), parse_at(start, name="start")
        self.end = None if end is None else parse_at(end, name="end")
        if self.end is not None and self.end < self.start:
            raise BadTrigger(f"{self} never fires: its end is before its start.")

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment``, or None when over."""
        try:
            fire_time = self._first_after(as_utc(moment))
        except OverflowError:
            return None
        return None if self.end is not None and fire_time > self.end else fire_time

    def _first_after(self, moment: datetime) -> datetime:
        if moment < self.start:
            return self.start
        # Counted from the anchor, not from the last run, so lateness never adds up.
        passed = (moment - self.start) // self.every
        return self.start + (passed + 1) * self.every

    def __str__(self) -> str:
        text = f"every {format_duration(self.every)} from {self.start.isoformat()}"
        return text if self.end is None else f"{text} until {self.end.isoformat()}"


def parse_every(value: str | float | timedelta) -> timedelta:
    """Return the distance between two fire times, given as text, a number of seconds or a timedelta.

    :raises BadTrigger: when it is no length of time, or out of bounds.
    """
    try:
        every = parse_duration(value)
    except ValueError as error:
        raise BadTrigger(f"every={error}") from error
    if every < SHORTEST:
        raise BadTrigger(f"every={value!r:.60} is too short: one second is the least.")
    if every > LONGEST:
        raise BadTrigger(f"every={value!r:.60} is too long: a hundred years is the most.")
    return every


def parse_interval(text: str) -> IntervalTrigger:
    """Return the trigger that was written as ``every 90s from … until …``; both ends may be left out."""
    head, _, end = text.partition(" until ")
    head, _, start = head.partition(" from ")
    return IntervalTrigger(every=head.removeprefix("every").strip(), start=start or EPOCH, end=end or None)
