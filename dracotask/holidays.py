"""Holiday files: the dates on which a task shall not run, as a text or a calendar.

A ``.txt`` has a date or a range on each line, and what follows it is for people:

    # Latvia
    2026-12-25..2026-12-26  Christmas
    2027-01-01              New Year

An ``.ics`` is what every calendar exports: its events that last whole days count, repeated ones too.
"""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta

from .errors import BadTrigger
from .state import stamp_of
from .triggers.exclusion import MOST_DATES, merged, parse_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .triggers.exclusion import Span

#: No list of holidays is longer than this, in bytes.
MAX_SIZE = 1 << 20

#: For which years the events of an .ics are looked up: the last one, this one, and so many after it.
YEARS_AHEAD = 10

#: The files that were read, and the stamp of each just before: a change of theirs is one of the task file.
read_files: dict[str, str] = {}


def read_holidays(path: str | os.PathLike[str], today: date) -> list[Span]:
    """Return the dates in a file, as ranges in order.

    :param path: as seen from the docroot, which is the working directory while the task file is loaded.
    :raises BadTrigger: naming the file, and the line that is no date.
    """
    path = os.path.abspath(path)
    content = _content(path)
    spans = _from_calendar(content, path, today) if path.lower().endswith(".ics") else _from_text(content, path)
    if not spans:
        raise BadTrigger(f"{path}: there is no date in it.")
    if len(spans) > MOST_DATES:
        raise BadTrigger(f"{path}: {len(spans)} dates are too many: {MOST_DATES} are the most, and a range is one.")
    return merged(spans)


def _content(path: str) -> str:
    read_files[path] = "-"  # once it is there, it is time to load
    try:
        # Without waiting: a FIFO in its place may never have a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            read_files[path] = stamp_of(os.fstat(descriptor))
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise BadTrigger(f"exclude={path!r} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_SIZE:
        raise BadTrigger(f"{path}: it is longer than {MAX_SIZE >> 20} MB, and no list of holidays.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadTrigger(f"{path}, line {line}: it is not UTF-8.") from error


def _from_text(content: str, path: str) -> list[Span]:
    spans = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            spans.append(parse_span(words[0]))
        except BadTrigger as error:
            said = str(error).removeprefix("exclude=")
            raise BadTrigger(f"{path}, line {number}: {said}") from error
    return spans


def _from_calendar(content: str, path: str, today: date) -> list[Span]:
    try:
        import icalendar
        import recurring_ical_events  # type: ignore[import-untyped]
    except ImportError as error:
        raise BadTrigger(f"{path}: to read a calendar, pip install dracotask[ics] ({error}).") from error
    try:
        calendars = icalendar.Calendar.from_ical(content, multiple=True)
        events = [event for calendar in calendars for event in calendar.walk("VEVENT") if _lasts_days(event)]
        whole_days = icalendar.Calendar()
        for event in events:
            whole_days.add_component(event)
        begin, end = date(today.year - 1, 1, 1), date(today.year + YEARS_AHEAD + 1, 1, 1)
        return [_span_of(event) for event in recurring_ical_events.of(whole_days).between(begin, end)]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise BadTrigger(f"{path}: it is no calendar that can be read ({type(error).__name__}: {error}).") from error


def _lasts_days(event: Any) -> bool:
    """Tell whether an event lasts whole days; a meeting at four is no holiday."""
    begin = event.get("DTSTART")
    return begin is not None and not isinstance(begin.dt, datetime)


def _span_of(event: Any) -> Span:
    begin = event["DTSTART"].dt
    # (The end is the day after the last one.)
    end = event["DTEND"].dt - timedelta(days=1) if "DTEND" in event else begin
    return begin, max(begin, end)
