"""Debian's cron, minute by minute: slow, plain, and without a line of the code that it judges.

It lives through every minute of UTC, looks at the clock of the zone, and notes when each job is run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAMES = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}


def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(NAMES.get(first, first))
        end = int(NAMES.get(last, last)) if last else high if step or span == "*" else start
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def matches(expression: str, wall: datetime) -> bool:
    minute, hour, dom, month, dow = expression.split()
    on_date = wall.day in numbers(dom, 1, 31)
    on_weekday = wall.isoweekday() % 7 in {day % 7 for day in numbers(dow, 0, 6)}
    on_day = on_date and on_weekday if "*" in (dom[0], dow[0]) else on_date or on_weekday
    in_time = wall.minute in numbers(minute, 0, 59) and wall.hour in numbers(hour, 0, 23)
    return in_time and wall.month in numbers(month, 1, 12) and on_day


def fire_times(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Return when cron runs the job, from ``start`` to just before ``end``; ``start`` not near a change."""
    follows_the_clock = "*" in (expression.split()[0][0], expression.split()[1][0])
    moment, found = start, []
    shown_until = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - MINUTE
    while moment < end:
        wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        if follows_the_clock:
            due = matches(expression, wall)
        else:  # All that the clock has not shown yet, be it one minute, a skipped hour, or nothing.
            new = range(1, (wall - shown_until) // MINUTE + 1)
            due = any(matches(expression, shown_until + count * MINUTE) for count in new)
        if due:
            found.append(moment.astimezone(UTC))
        shown_until = max(shown_until, wall)
        moment += MINUTE
    return found
