"""Triggers in words, for lists and pages: ``weekdays 16:15``, ``every 15 minutes``.

Local times are those of the trigger's own zone, which is not repeated. What has no short name is
explained at length by cronsim.
"""

from __future__ import annotations

from datetime import datetime

from ..clock import format_duration
from .base import Trigger
from .combining import AnyTrigger
from .cron import CALENDAR_START, CronTrigger
from .date import DateTrigger
from .interval import IntervalTrigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cronsim import CronSim

#: As cron counts them.
DAYS = ("sundays", "mondays", "tuesdays", "wednesdays", "thursdays", "fridays", "saturdays")

#: Sets of days that have a name of their own.
SETS_OF_DAYS = {(0, 1, 2, 3, 4, 5, 6): "daily", (1, 2, 3, 4, 5): "weekdays", (0, 6): "weekends"}

UNITS = {"w": "week", "d": "day", "h": "hour", "m": "minute", "s": "second"}

#: More times of day than this are not listed.
MAX_TIMES = 4


def describe(trigger: Trigger) -> str:
    """Return a trigger in words for people; its own text when it is of a kind not known here."""
    if isinstance(trigger, CronTrigger):
        return _cron(trigger)
    if isinstance(trigger, IntervalTrigger):
        until = "" if trigger.end is None else f" until {_moment(trigger.end)}"
        return _interval(format_duration(trigger.every)) + until
    if isinstance(trigger, DateTrigger):
        return f"once, {_moment(trigger.at)}"
    if isinstance(trigger, AnyTrigger):
        return " and ".join(map(describe, trigger.triggers))
    return str(trigger)


def _interval(duration: str) -> str:
    """Return ``every 15 minutes`` for ``15m``; seconds, but for a single one, stay as they are."""
    count, unit = duration[:-1], UNITS[duration[-1]]
    if count == "1":
        return f"every {unit}"
    return f"every {duration}" if unit == "second" else f"every {count} {unit}s"


def _moment(moment: datetime) -> str:
    """Return a moment to the minute, or to what it has of seconds."""
    text = moment.replace(tzinfo=None).isoformat(" ")
    return text.removesuffix(":00")


def _cron(trigger: CronTrigger) -> str:
    from cronsim import CronSim

    fields = CronSim(trigger.expression, CALENDAR_START)
    days = _days(fields)
    if days is None:
        return _explained(fields)
    if len(fields.minutes) == 1 and len(fields.hours) <= MAX_TIMES and _step(fields.hours, 24) is None:
        (minute,) = fields.minutes
        return f"{days} {_listed([f'{hour:02}:{minute:02}' for hour in sorted(fields.hours)])}"
    rhythm = _rhythm(sorted(fields.minutes), sorted(fields.hours))
    if rhythm is None:
        return _explained(fields)
    return rhythm if days == "daily" else f"{rhythm} on {days}"


def _explained(fields: CronSim) -> str:
    """Return what cronsim says, as it stands in the middle of a sentence."""
    text = fields.explain()
    return text[0].lower() + text[1:]


def _days(fields: CronSim) -> str | None:
    """Return the days in words, or None when months or days of the month come into it."""
    every_date = fields.days.issuperset(range(1, 32))
    weekdays = {day % 7 if isinstance(day, int) else day for day in fields.weekdays}
    every_weekday = weekdays.issuperset(range(7))
    if len(fields.months) < 12:
        return None
    # Without a star in either, cron wants only one of them to be right: then all days of one are all days.
    if not fields.day_and and (every_date or every_weekday):
        return "daily"
    if not every_date or not weekdays.issubset(range(7)):
        return None
    numbers = sorted(day for day in weekdays if isinstance(day, int))
    # Sunday is named last, whatever cron makes of it.
    names = [DAYS[day] for day in sorted(numbers, key=lambda day: day or 7)]
    return SETS_OF_DAYS.get(tuple(numbers)) or _listed(names)


def _rhythm(minutes: list[int], hours: list[int]) -> str | None:
    """Return a regular pattern of the day, or None when there is none that is short to say."""
    minute_step, hour_step = _step(minutes, 60), _step(hours, 24)
    if hour_step == 1 and minute_step is not None:
        return _interval(f"{minute_step}m")
    if hour_step is None or len(minutes) > 1:
        return None
    if hour_step == 1:
        return "every hour" if minutes == [0] else f"hourly at :{minutes[0]:02}"
    return f"every {hour_step} hours" + ("" if minutes == [0] else f" at :{minutes[0]:02}")


def _step(numbers: set[int] | list[int], count: int) -> int | None:
    """Return the distance of numbers spread evenly from zero all the way round, or None."""
    step, rest = divmod(count, len(numbers))
    evenly = not rest and len(numbers) > 1 and sorted(numbers) == list(range(0, count, step))
    return step if evenly else None


def _listed(words: list[str]) -> str:
    """Return words joined as in a sentence."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
