"""Window: a rule that counts only at certain hours of the day.

Whether a window is open is read off the clock of a zone, at each fire time: through the nights when that clock is put
forward or back, 22:00-06:00 is what the clock shows between those two.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger
from .clocks import INSTANT, changes, find_zone, wall_at
from .grammar import unwrap
from .search import bounded, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: More windows than this make no day.
MOST_WINDOWS = 50

_DAY = timedelta(days=1)


class WindowTrigger(Trigger):
    """Fire when ``trigger`` does, if the clock of a zone then shows a time within one of ``windows``.

    :param windows: from the first time of day up to, and not with, the second: ``22:00-06:00`` (over midnight), or
        several, ``08:00-12:00,13:00-17:00``.
    :param zone: an IANA name.
    :raises BadTrigger: when one of them makes no sense.
    """

    __slots__ = ("_spans", "trigger", "windows", "zone")

    def __init__(self, windows: str, zone: str, trigger: Trigger) -> None:
        self._spans = parse_windows(windows)
        self.windows = ",".join(f"{_written(begin)}-{_written(end)}" for begin, end in self._spans)
        self.zone, self.trigger = zone, trigger
        find_zone(zone)

    @bounded
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment`` within a window, or None when there is none any more."""
        fire_time = step(self.trigger, as_utc(moment))
        while fire_time is not None and not self._is_open(fire_time):
            # Straight to where a window may be open: a night of every="1s" is not gone through by the second.
            fire_time = step(self.trigger, self._opening(fire_time) - INSTANT)
        return fire_time

    def _is_open(self, moment: datetime) -> bool:
        time = self._time_of_day(moment)
        return any(
            begin <= time < end if begin < end else time >= begin or time < end for begin, end in self._spans
        )

    def _opening(self, moment: datetime) -> datetime:
        """Return when the next window opens after ``moment``; or when the clock changes, if it does before."""
        time = self._time_of_day(moment)
        opening = moment + min((begin - time) % _DAY for begin, _ in self._spans)
        return next((change.moment for change in changes(self.zone, moment, opening)), opening)

    def _time_of_day(self, moment: datetime) -> timedelta:
        wall = wall_at(moment, find_zone(self.zone))
        return timedelta(hours=wall.hour, minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)

    def __str__(self) -> str:
        return f"between {self.windows} {self.zone} ({self.trigger})"


def parse_windows(text: str) -> list[tuple[timedelta, timedelta]]:
    """Return windows as times since midnight, begin and end.

    :raises BadTrigger: when one of them is none.
    """
    remedy = "write 22:00-06:00, or several, 08:00-12:00,13:00-17:00"
    if not isinstance(text, str):
        raise BadTrigger(f"between={text!r:.60} is no window: {remedy}.")
    spans = []
    for word in text.split(","):
        begin, _, end = word.partition("-")
        try:
            span = _since_midnight(begin), _since_midnight(end)
        except ValueError as error:
            raise BadTrigger(f"between={text!r:.60} has {word.strip()!r:.30}, which is no window: {remedy}.") from error
        if span[0] % _DAY == span[1] % _DAY:
            raise BadTrigger(
                f"between={text!r:.60} has {word.strip()!r:.30}, which is the whole day or nothing: {remedy}."
            )
        spans.append(span)
    if len(spans) > MOST_WINDOWS:
        raise BadTrigger(f"between={text!r:.60} has {len(spans)} windows: {MOST_WINDOWS} are the most.")
    return spans


def _since_midnight(text: str) -> timedelta:
    """Return a time of day, 00:00 to 24:00, with seconds if it has any."""
    parts = text.strip().split(":")
    if not 2 <= len(parts) <= 3 or not all(len(part) <= 2 and part.isascii() and part.isdigit() for part in parts):
        raise ValueError("not as HH:MM")
    hours, minutes, seconds = (int(part) for part in [*parts, "0"][:3])
    time = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if minutes > 59 or seconds > 59 or time > _DAY:
        raise ValueError("no time of day")
    return time


def _written(time: timedelta) -> str:
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def parse_window(text: str, parse: Callable[[str], Trigger]) -> WindowTrigger:
    """Return the trigger that was written as ``between 22:00-06:00 Europe/Riga (T)``."""
    (windows, zone), trigger = unwrap(text, 2, "between 22:00-06:00 Europe/Riga (every 5m)", parse)
    return WindowTrigger(windows, zone, trigger)
