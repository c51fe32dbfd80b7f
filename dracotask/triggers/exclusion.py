"""Exclusion: a rule that does not count on certain dates, such as holidays.

A date is one on the clock of a zone. It is the dates themselves that stand in the trigger's text: a file of holidays
is read while the task file is loaded (:mod:`dracotask.holidays`), and never again by whoever looks at the clock.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, time, timedelta

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger
from .clocks import INSTANT, find_zone, first_shown, wall_at
from .grammar import unwrap
from .search import bounded, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    #: The first and the last date that are left out.
    Span = tuple[date, date]

#: More dates and ranges than this are no list of holidays.
MOST_DATES = 4000

_DAY = timedelta(days=1)


class ExceptTrigger(Trigger):
    """Fire when ``trigger`` does, but not on any of ``dates``.

    :param dates: each a date, or a text: ``2026-12-25``, or the first and last of a range, ``2026-12-28..2027-01-02``;
        or a text of several with commas.
    :param zone: an IANA name.
    :raises BadTrigger: when one of them makes no sense.
    """

    __slots__ = ("_begins", "dates", "trigger", "zone")

    def __init__(self, dates: str | Iterable[date | str], zone: str, trigger: Trigger) -> None:
        self.dates = tuple(merged(parse_dates(dates)))
        self._begins = [begin for begin, _ in self.dates]
        self.zone, self.trigger = zone, trigger
        find_zone(zone)

    @bounded
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment`` on another date, or None when there is none any more."""
        zone = find_zone(self.zone)
        fire_time = step(self.trigger, as_utc(moment))
        while fire_time is not None and (last := self._last_of(wall_at(fire_time, zone).date())) is not None:
            # Straight to the day after: a holiday of every="1s" is not gone through by the second.
            midnight = first_shown(datetime.combine(last + _DAY, time()), self.zone)
            fire_time = step(self.trigger, max(fire_time, midnight - INSTANT))
        return fire_time

    def _last_of(self, day: date) -> date | None:
        """Return the last date of the range that a date lies in; None when it is not left out."""
        index = bisect_right(self._begins, day) - 1
        return self.dates[index][1] if index >= 0 and day <= self.dates[index][1] else None

    def __str__(self) -> str:
        return f"except {dates_text(self.dates)} {self.zone} ({self.trigger})"


def parse_dates(dates: str | date | Iterable[date | str]) -> list[Span]:
    """Return dates as ranges, each by its first and last date.

    :raises BadTrigger: when one of them is none; when there are none at all, or too many.
    """
    if isinstance(dates, str | date):
        dates = [dates]
    try:
        spans = [span for one in dates for span in _spans(one)]
    except TypeError as error:
        raise BadTrigger(f"exclude={dates!r:.60} are no dates: {REMEDY}.") from error
    if not spans:
        raise BadTrigger(f"exclude={dates!r:.60} leaves nothing out: {REMEDY}.")
    if len(spans) > MOST_DATES:
        raise BadTrigger(f"exclude= has {len(spans)} dates: {MOST_DATES} are the most, and a range is one.")
    return spans


REMEDY = "write '2026-12-25', a range '2026-12-28..2027-01-02', several of them, or give the path of a .txt or .ics"


def _spans(value: date | str) -> list[Span]:
    if isinstance(value, str):
        return [parse_span(word.strip()) for word in value.split(",")]
    # A datetime is a date to Python; here it would be one in which zone?
    if not isinstance(value, date) or isinstance(value, datetime):
        raise BadTrigger(f"exclude={value!r:.60} is no date: {REMEDY}.")
    return [(value, value)]


def parse_span(word: str) -> Span:
    """Return a date, or a range of them, as the first and the last date.

    :raises BadTrigger: when it is neither.
    """
    begin, _, end = word.partition("..")
    try:
        if any(len(part) != len("2026-12-25") for part in (begin, end or begin)):
            raise ValueError("not as YYYY-MM-DD")
        span = date.fromisoformat(begin), date.fromisoformat(end or begin)
    except ValueError as error:
        raise BadTrigger(f"exclude={word!r:.60} is no date ({error}): {REMEDY}.") from error
    if span[1] < span[0]:
        raise BadTrigger(f"exclude={word!r:.60} ends before it begins.")
    return span


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return ranges in order, those joined that overlap or follow each other."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and (begin - found[-1][1]).days <= 1:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def dates_text(spans: Iterable[Span]) -> str:
    """Return ranges as they stand in a trigger's text."""
    return ",".join(map(_written, merged(spans)))


def _written(span: Span) -> str:
    begin, end = span
    return begin.isoformat() if begin == end else f"{begin.isoformat()}..{end.isoformat()}"


def parse_exclusion(text: str, parse: Callable[[str], Trigger]) -> ExceptTrigger:
    """Return the trigger that was written as ``except 2026-12-25,2026-12-28..2027-01-02 Europe/Riga (T)``."""
    (dates, zone), trigger = unwrap(text, 2, "except 2026-12-25,2026-12-28..2027-01-02 UTC (every 5m)", parse)
    return ExceptTrigger(dates, zone, trigger)
