"""Debian's cron, minute by minute: slow, plain, and without a line of the code that it judges.

It lives through every minute of UTC (every second, for six fields), looks at the clock of the zone, and notes when
each job is run. L, LW, 5L and 5#2 are read as Debian would, if it had them.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAMES = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}


@cache
def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(NAMES.get(first, first))
        end = int(NAMES.get(last, last)) if last else high if step or span == "*" else start
        found |= set(range(start, end + 1, int(step or 1)))
    return found


@cache
def on_day(dom: str, dow: str, day: date) -> bool:
    length = monthrange(day.year, day.month)[1]
    if dom == "LW":
        later = [day.replace(day=number).isoweekday() for number in range(day.day, length + 1)]
        on_date = [weekday < 6 for weekday in later] == [True] + [False] * (length - day.day)
    else:
        on_date = day.day == length if dom == "L" else day.day in numbers(dom, 1, 31)
    weekday, is_nth, nth = dow.rstrip("L").partition("#")
    on_weekday = day.isoweekday() % 7 in {number % 7 for number in numbers(weekday, 0, 6)}
    if is_nth:
        on_weekday = on_weekday and (day.day + 6) // 7 == int(nth)
    if dow.endswith("L"):
        on_weekday = on_weekday and day.day + 7 > length
    return on_date and on_weekday if "*" in (dom[0], dow[0]) else on_date or on_weekday


def matches(expression: str, wall: datetime) -> bool:
    second, minute, hour, dom, month, dow = ["0", *expression.split()][-6:]
    in_time = wall.minute in numbers(minute, 0, 59) and wall.hour in numbers(hour, 0, 23)
    in_time = in_time and wall.second in numbers(second, 0, 59)
    return in_time and wall.month in numbers(month, 1, 12) and on_day(dom, dow, wall.date())


def fire_times(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Return when cron runs the job, from ``start`` to just before ``end``; ``start`` not near a change."""
    fields, clock = expression.split(), ZoneInfo(zone)
    follows_the_clock = "*" in (fields[-5][0], fields[-4][0])
    step = MINUTE / 60 if len(fields) == 6 else MINUTE
    moment, found = start.astimezone(UTC), []
    shown_until = moment.astimezone(clock).replace(tzinfo=None) - step
    while moment < end:
        wall = moment.astimezone(clock).replace(tzinfo=None, fold=0)
        if follows_the_clock:
            due = matches(expression, wall)
        else:  # All that the clock has not shown yet, be it one minute, a skipped hour, or nothing.
            new = range(1, (wall - shown_until) // step + 1)
            due = any(matches(expression, shown_until + count * step) for count in new)
        if due:
            found.append(moment)
        shown_until = max(shown_until, wall)
        moment += step
    return found
