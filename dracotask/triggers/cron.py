"""Cron trigger: five fields and a zone, or six with the seconds first.

The clock is put forward and back here, by the rule of Debian's cron:

- A job at a fixed time runs once a day, whatever the clock does. A time that is skipped comes as
  soon as the clock has been put forward; one that is repeated counts the first time.
- A job whose minute or hour starts with a star follows the clock: nothing for a skipped hour, and
  both passes of a repeated one.

(cronsim, which reads the fields, follows it too, but steps by whole hours, and so loses a job where the
clock moves by half of one; from inside the second pass of a repeated hour it would answer with a moment
of the first; and with seconds it has no rule.)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger
from .clocks import INSTANT, SECOND, changes, find_zone, first_shown, wall_at
from .date import parse_at
from .fields import follows_the_clock, plain
from .times import times_of

#: No clock has ever been moved by more, and none twice in this time.
_DAY = timedelta(days=1)

#: From before all starts there can be; two days into the calendar, when the clocks of all zones show a date in it.
_BEGINNING = datetime.min.replace(tzinfo=UTC) + 2 * _DAY

#: How many years a search goes on, as cronsim's does.
_MOST_YEARS = 50


class CronTrigger(Trigger):
    """Fire as cron would, on the clock of a zone.

    :param expression: minute, hour, day of month, month and day of week, as cron has them (0 and 7 are
        Sunday), perhaps after a field of seconds; or a macro such as ``@daily``.
    :param zone: an IANA name.
    :param start: no fire time is earlier than this moment; None for no start. As in `parse_at`.
    :param end: no fire time is later than this moment; None for no end.
    :raises BadTrigger: when one of them is not right, or there can be no fire time.
    """

    __slots__ = ("expression", "zone", "start", "end")

    def __init__(
        self,
        expression: str,
        zone: str = "UTC",
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> None:
        self.expression, self.zone = plain(expression), zone
        find_zone(zone)
        self.start = None if start is None else parse_at(start, name="start")
        self.end = None if end is None else parse_at(end, name="end")
        if self.start and self.end and self.next_after(_BEGINNING) is None:
            raise BadTrigger(f"{self} never fires: it names no moment from its start to its end.")

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment``, or None if there is none for fifty years."""
        try:
            moment = as_utc(moment)
            if self.start is not None and moment < self.start:
                moment = self.start - INSTANT
            fire_time = self._first_after(moment)
        except OverflowError:  # One end of the calendar, the year 1 or 9999.
            return None
        return fire_time if fire_time is None or self.end is None or fire_time <= self.end else None

    def wall_after(self, wall: datetime) -> datetime | None:
        """Return the first wall time later than ``wall`` that the expression names, shown or not."""
        return times_of(self.expression).after(wall)

    def follows_the_clock(self) -> bool:
        """Return True if it fires whenever the clock shows its time, False for once a day in any case."""
        return follows_the_clock(self.expression)

    def _first_after(self, moment: datetime) -> datetime | None:
        if self.zone == "UTC":
            wall = self.wall_after(moment.replace(tzinfo=None))
            return None if wall is None else wall.replace(tzinfo=UTC)
        return self._with_the_clock(moment) if self.follows_the_clock() else self._once_a_day(moment)

    def _once_a_day(self, moment: datetime) -> datetime | None:
        shown = wall_at(moment, find_zone(self.zone))
        if shown.fold:
            # In a second pass the clock has already shown all that it will show up to its end.
            *_, change = changes(self.zone, moment - _DAY, moment)
            shown = change.before - SECOND
        wall = self.wall_after(shown)
        return None if wall is None else first_shown(wall, self.zone)

    def _with_the_clock(self, moment: datetime) -> datetime | None:
        shown = wall_at(moment, find_zone(self.zone))
        offset, last_year = shown - moment.replace(tzinfo=None), shown.year + _MOST_YEARS
        # With an end: half past two on the second Sunday of March is left out in New York every year.
        while (wall := self.wall_after(shown)) is not None and wall.year <= last_year:
            fire_time = (wall - offset).replace(tzinfo=UTC)
            change = next(changes(self.zone, moment, fire_time), None)
            if change is None:
                return fire_time
            # The clock does not come to it as it goes now. Look again from where it is put to.
            moment, shown = change.moment, change.after - SECOND
            offset = change.after - moment.replace(tzinfo=None)
        return None

    def __str__(self) -> str:
        text = f"cron {self.expression} {self.zone}"
        if self.start is not None:
            text += f" from {self.start.isoformat()}"
        return text if self.end is None else f"{text} until {self.end.isoformat()}"


def parse_cron(text: str) -> CronTrigger:
    """Return the trigger that was written as ``cron 0 4 * * mon-fri Europe/Riga from … until …``."""
    words = text.split()
    end = _taken(words, "until")
    start = _taken(words, "from")
    if len(words) not in (7, 8) and not (len(words) == 3 and words[1].startswith("@")):
        remedy = "write cron, five fields or six, and a zone, as in 'cron 0 4 * * mon-fri Europe/Riga'"
        raise BadTrigger(f"{text!r:.200} is not a cron trigger: {remedy}.")
    return CronTrigger(" ".join(words[1:-1]), words[-1], start=start, end=end)


def _taken(words: list[str], name: str) -> str | None:
    """Return what stands after ``name`` at the end of the words, and take both away; None if it is not there."""
    if len(words) < 2 or words[-2] != name:
        return None
    value = words.pop()
    words.pop()
    return value
