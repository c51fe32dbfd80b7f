"""Triggers in words, for lists and pages: ``weekdays 16:15``, ``every 15 minutes``.

Local times are those of the trigger's own zone, which is not repeated. What has no short name is
explained at length by cronsim.
"""

from __future__ import annotations

from datetime import date, datetime

from ..clock import format_duration
from .after import AfterTrigger
from .base import Trigger
from .calendar import CalendarIntervalTrigger
from .clocks import find_zone
from .combining import AllTrigger, AnyTrigger
from .cron import CronTrigger
from .date import DateTrigger
from .exclusion import ExceptTrigger
from .interval import IntervalTrigger
from .jitter import JitterTrigger
from .listed import ListedTrigger
from .times import CALENDAR_START
from .window import WindowTrigger

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
        return _cron(trigger) + _span(trigger)
    if isinstance(trigger, CalendarIntervalTrigger):
        until = "" if trigger.end is None else f" until {trigger.end}"
        return f"{_calendar(trigger)} at {trigger.time.isoformat('seconds').removesuffix(':00')}{until}"
    if isinstance(trigger, IntervalTrigger):
        until = "" if trigger.end is None else f" until {_moment(trigger.end)}"
        return _interval(format_duration(trigger.every)) + until
    if isinstance(trigger, DateTrigger):
        return f"once, {_moment(trigger.at)}"
    if isinstance(trigger, AfterTrigger):
        return f"after {_listed([*trigger.names]).replace(' and ', ' or ')}"
    if isinstance(trigger, AnyTrigger):
        return " and ".join(map(describe, trigger.triggers))
    if isinstance(trigger, AllTrigger):
        return ", if also ".join(map(describe, trigger.triggers))
    if isinstance(trigger, JitterTrigger):
        return f"{describe(trigger.trigger)}, up to {format_duration(trigger.jitter)} later"
    if isinstance(trigger, WindowTrigger):
        return f"{describe(trigger.trigger)}, within {_listed(trigger.windows.split(','))}"
    if isinstance(trigger, ExceptTrigger):
        return f"{describe(trigger.trigger)}, but not on {_dates(trigger)}"
    if isinstance(trigger, ListedTrigger):
        return f"as {trigger.name} says"
    return str(trigger)


def _dates(trigger: ExceptTrigger) -> str:
    """Return the dates that are left out, if they are few, or how many."""
    spans = trigger.dates
    if len(spans) > MAX_TIMES:
        return f"{sum((end - begin).days + 1 for begin, end in spans)} days"
    return _listed([f"{begin}" if begin == end else f"{begin} to {end}" for begin, end in spans])


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


def _span(trigger: CronTrigger) -> str:
    """Return from when until when a cron rule goes, on its own clock."""
    ends = (("from", trigger.start), ("until", trigger.end))
    return "".join(f" {word} {_moment(_local(end, trigger.zone))}" for word, end in ends if end is not None)


def _local(moment: datetime, zone: str) -> datetime:
    """Return a moment on the clock of a zone; as it is where that clock would leave the years there are."""
    try:
        return moment.astimezone(find_zone(zone))
    except OverflowError:  # an end in 9999, which is to say never
        return moment


def _calendar(trigger: CalendarIntervalTrigger) -> str:
    """Return ``every 3 months on the 31st``, ``every 2 weeks on mondays``, ``every 10 days``."""
    words = trigger.every.split()
    parts = [f"{count} {unit}" for count, unit in zip(words[::2], words[1::2], strict=True)]
    every = f"every {parts[0].removeprefix('1 ') if len(parts) == 1 else _listed(parts)}"
    start = trigger.start
    if trigger.months and trigger.days:
        return every
    if trigger.days:
        return every if trigger.days % 7 else f"{every} on {DAYS[start.isoweekday() % 7]}"
    of_month = "" if trigger.months % 12 else f" of {start:%B}"
    return f"{every} on the {_ordinal(start)}{of_month}"


def _ordinal(day: date) -> str:
    """Return ``31st``."""
    ending = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return f"{day.day}{ending}"


def _cron(trigger: CronTrigger) -> str:
    from cronsim import CronSim

    fields = CronSim(trigger.expression, CALENDAR_START)
    days = _days(fields)
    if days is None:
        return _explained(fields)
    is_one_each_hour = len(fields.minutes) == len(fields.seconds) == 1
    if is_one_each_hour and len(fields.hours) <= MAX_TIMES and _step(fields.hours, 24) is None:
        return f"{days} {_listed([_time(hour, fields) for hour in sorted(fields.hours)])}"
    on_the_minute = fields.seconds == {0}
    rhythm = _rhythm(sorted(fields.minutes), sorted(fields.hours)) if on_the_minute else _rhythm_of_seconds(fields)
    if rhythm is None:
        return _explained(fields)
    return rhythm if days == "daily" else f"{rhythm} on {days}"


def _time(hour: int, fields: CronSim) -> str:
    """Return a time of day by its hour, with the one minute and the one second that a rule has."""
    (minute,), (second,) = fields.minutes, fields.seconds
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _rhythm_of_seconds(fields: CronSim) -> str | None:
    """Return ``every 10s`` for a rule of all minutes and hours and some seconds, or None for any other."""
    step = _step(fields.seconds, 60)
    if step is None or len(fields.minutes) < 60 or len(fields.hours) < 24:
        return None
    return _interval(f"{step}s")


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
