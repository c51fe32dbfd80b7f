"""Calendar trigger: every so many years, months, weeks or days, at a time of day on the clock of a zone.

An interval is a fixed length of time. This one goes by dates: every third month at 03:00 stays at 03:00 when
the clock is put forward, and on its day although months differ.

- Dates are counted from a start date, months keeping its day of the month. **A date that does not exist is
  left out**: from the 31st on, every month is seven times a year. For the last day of each month write
  ``cron 0 3 L * *`` instead.
- A time that the clock leaves out comes as soon as it has been put forward, and one that is shown twice counts
  the first time: the rule of :mod:`cron <dracotask.triggers.cron>` for fixed times. (APScheduler leaves
  such a day out.)
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger
from .clocks import find_zone, first_shown, wall_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: What dates are counted from unless told otherwise: the first of a month, of a year and of a century, and a Monday.
FIRST_DATE = date(2001, 1, 1)

#: The units, the largest first, and how many of each a hundred years have.
UNITS = {"year": 100, "month": 1_200, "week": 5_200, "day": 36_500}

_REMEDY = "write '3 months', '1 year', '2 weeks' or '10 days'"


class CalendarIntervalTrigger(Trigger):
    """Fire at a time of day on every so many-th date.

    :param every: ``3 months``, ``1 year 6 months``, ``2 weeks``, ``10 days``. Of months and days together the
        months are added first, then the days.
    :param time: ``03:00`` or ``03:00:30``, on the clock of the zone.
    :param zone: an IANA name.
    :param start: the first date, as ``2026-01-31``.
    :param end: no date is later than this; None for no end.
    :raises BadTrigger: when one of them is not right, or the end is before the start.
    """

    __slots__ = ("every", "time", "zone", "start", "end", "months", "days")

    def __init__(
        self,
        every: str,
        time: str | time = "00:00",
        zone: str = "UTC",
        *,
        start: date | str = FIRST_DATE,
        end: date | str | None = None,
    ) -> None:
        counts = _counts(every)
        self.every, self.time, self.zone = _written(counts), parse_time(time), zone
        self.months, self.days = counts["year"] * 12 + counts["month"], counts["week"] * 7 + counts["day"]
        find_zone(zone)
        self.start = parse_day(start, name="start")
        self.end = None if end is None else parse_day(end, name="end")
        if self.end is not None and self.end < self.start:
            raise BadTrigger(f"{self} never fires: its end is before its start.")

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment``, or None when over."""
        try:
            shown = wall_at(as_utc(moment), find_zone(self.zone)).date()
            for day in self._dates_from(shown):
                fire_time = first_shown(datetime.combine(day, self.time), self.zone)
                if fire_time > moment:
                    return fire_time
        except OverflowError:  # One end of the calendar, the year 1 or 9999.
            pass
        return None

    def wall_after(self, wall: datetime) -> datetime | None:
        """Return the first wall time later than ``wall`` that the rule names, shown or not."""
        walls = (datetime.combine(day, self.time) for day in self._dates_from(wall.date()))
        return next((named for named in walls if named > wall), None)

    def follows_the_clock(self) -> bool:
        """Return False: it is for a fixed time."""
        return False

    def _dates_from(self, day: date) -> Iterator[date]:
        """Yield the dates of the rule, from the first that is not before ``day``."""
        months, days = self.months, self.days
        dates = (_mixed if months and days else _even)(self.start, months, days, day)
        for found in dates:
            if self.end is not None and found > self.end:
                return
            if found >= day:
                yield found

    def __str__(self) -> str:
        text = f"calendar {self.every} {_time_text(self.time)} {self.zone} from {self.start.isoformat()}"
        return text if self.end is None else f"{text} until {self.end.isoformat()}"


def parse_calendar(text: str) -> CalendarIntervalTrigger:
    """Return the trigger that was written as ``calendar 3 months 03:00 Europe/Riga from … until …``."""
    words = text.split()[1:]
    dates: dict[str, str] = {}
    for name in ("until", "from"):
        if len(words) >= 2 and words[-2] == name:
            dates[name] = words.pop()
            words.pop()
    if len(words) < 4:
        raise BadTrigger(f"{text!r:.200} is not a calendar trigger: write 'calendar 3 months 03:00 Europe/Riga'.")
    start, end = dates.get("from", FIRST_DATE), dates.get("until")
    return CalendarIntervalTrigger(" ".join(words[:-2]), words[-2], words[-1], start=start, end=end)


def parse_time(value: str | time) -> time:
    """Return a time of day to the second, given as ``03:00``, as ``03:00:30`` or as a naive time.

    :raises BadTrigger: when it is none of these.
    """
    wrong = BadTrigger(f"time={value!r:.60} is no time of day: write '03:00' or '03:00:30'.")
    if isinstance(value, str):
        parts = value.strip().split(":")
        if len(parts) not in (2, 3) or not all(len(part) == 2 and part.isascii() and part.isdigit() for part in parts):
            raise wrong
        try:
            return time.fromisoformat(value.strip())
        except ValueError:
            raise wrong from None
    if not isinstance(value, time) or value.tzinfo is not None or value.microsecond:
        raise wrong
    return value.replace(fold=0)


def parse_day(value: date | str, *, name: str) -> date:
    """Return a date, given as such or as ``2026-01-31``.

    :param name: the argument, for the message.
    :raises BadTrigger: when it is neither.
    """
    wrong = BadTrigger(f"{name}={value!r:.60} is no date: a calendar counts dates, write '2026-01-31'.")
    if isinstance(value, str):
        if len(value) != 10 or not value.isascii():
            raise wrong
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise wrong from None
    if isinstance(value, datetime) or not isinstance(value, date):
        raise wrong
    return value


# -- Dates -------------------------------------------------------------------------------------


def _even(start: date, months: int, days: int, day: date) -> Iterator[date]:
    """Yield the dates of a rule of months or of days; from a little before ``day``, if the start is far behind."""
    if days:
        passed = max((day - start).days // days, 0)
        for number in range(start.toordinal() + passed * days, date.max.toordinal() + 1, days):
            yield date.fromordinal(number)
        return
    passed = max((_month(day) - _month(start)) // months, 0)
    for number in range(_month(start) + passed * months, _month(date.max) + 1, months):
        found = _in_month(number, start.day)
        if found is not None:
            yield found


def _mixed(start: date, months: int, days: int, day: date) -> Iterator[date]:
    """Yield the dates of a rule of months and of days; from ``day`` on, if they were found so far before."""
    found = _found(start, months, days)
    number = bisect_left(found, day)
    while True:
        if number == len(found):
            following = _following(found[number - 1], months, days)
            if following is None:
                return
            # Not appended: another thread may be at the same place, and has found the same.
            found[number:] = [following]
        yield found[number]
        number += 1


@lru_cache(maxsize=64)
def _found(start: date, months: int, days: int) -> list[date]:
    """Return the dates of a rule that this process knows. Each follows from the one before it, so from the start."""
    return [start]


def _following(found: date, months: int, days: int) -> date | None:
    """Return the date so many months and days after one, or None when there is none any more."""
    later = (_in_month(number, found.day) for number in range(_month(found) + months, _month(date.max) + 1, months))
    following = next(filter(None, later), None)
    return None if following is None or (date.max - following).days < days else following + timedelta(days=days)


def _month(day: date) -> int:
    """Return the number of a month, counted from the year 0."""
    return day.year * 12 + day.month - 1


def _in_month(month: int, day: int) -> date | None:
    """Return a date by the number of its month, or None when that month has no such day."""
    try:
        return date(month // 12, month % 12 + 1, day)
    except ValueError:
        return None


# -- Texts -------------------------------------------------------------------------------------


def _counts(every: str) -> dict[str, int]:
    """Return how many of each unit a text such as ``1 year 6 months`` names.

    :raises BadTrigger: when it names none, one twice, or too many.
    """
    wrong = BadTrigger(f"calendar={every!r:.60} is no number of years, months, weeks or days: {_REMEDY}.")
    if not isinstance(every, str) or len(every) > 60 or not every.isascii():
        raise wrong
    words, counts = every.lower().split(), dict.fromkeys(UNITS, 0)
    if not words or len(words) % 2:
        raise wrong
    for number, word in zip(words[::2], words[1::2], strict=True):
        unit = word.removesuffix("s")
        if unit not in UNITS or counts[unit] or not number.isdigit():
            raise wrong
        if not 1 <= int(number) <= UNITS[unit]:
            raise BadTrigger(f"calendar={every!r:.60} is out of bounds: {unit}s are 1 to {UNITS[unit]}.")
        counts[unit] = int(number)
    return counts


def _written(counts: dict[str, int]) -> str:
    return " ".join(f"{count} {unit}{'s' * (count != 1)}" for unit, count in counts.items() if count)


def _time_text(value: time) -> str:
    return value.isoformat("seconds" if value.second else "minutes")
