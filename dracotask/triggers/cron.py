"""Cron trigger: five fields and a zone.

The fields are read by cronsim, which knows Debian's cron to the letter. The clock is put forward and
back here, by that cron's rule:

- A job at a fixed time runs once a day, whatever the clock does. A time that is skipped comes as
  soon as the clock has been put forward; one that is repeated counts the first time.
- A job whose minute or hour starts with a star follows the clock: nothing for a skipped hour, and
  both passes of a repeated one.

(cronsim follows it too, but steps by whole hours, and so loses a job where the clock moves by half
of one; from inside the second pass of a repeated hour it would answer with a moment of the first.)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: The longest expression that is read; anything sensible is far below.
MAX_LENGTH = 200

#: Where the search for a first fire time starts. The calendar repeats within the years that follow.
CALENDAR_START = datetime(2000, 1, 1)

#: What is right, for each of the fields that cronsim can complain about.
FIELDS = {
    "minute": "Minutes are 0-59.",
    "hour": "Hours are 0-23.",
    "day-of-month": "Days of the month are 1-31, L for the last or LW for the last weekday.",
    "month": "Months are 1-12 or jan-dec.",
    "day-of-week": "Days of the week are 0-7 or sun-sat (0 and 7 are Sunday); ranges go upwards.",
}


class CronTrigger(Trigger):
    """Fire as cron would, on the clock of a zone.

    :param expression: minute, hour, day of month, month and day of week, as cron has them (0 is Sunday).
    :param zone: an IANA name.
    :raises BadTrigger: when either is not right, or the expression can never fire.
    """

    __slots__ = ("expression", "zone")

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression, self.zone = _checked(expression), zone
        find_zone(zone)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment``, or None if there is none for fifty years."""
        try:
            return self._first_after(as_utc(moment))
        except OverflowError:  # One end of the calendar, the year 1 or 9999.
            return None

    def _first_after(self, moment: datetime) -> datetime | None:
        zone, again = find_zone(self.zone), None
        for wall in self._walls(moment, zone):
            times = self._times(wall, zone)
            later = [time for time in times if time > moment]
            if later:
                # A second pass counts, unless there is still a first pass before it.
                again = min(again or later[0], later[0])
            if later and len(later) == len(times):
                break
        return again

    def _walls(self, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Return the naive local times that match, from the first that may be later than ``moment``."""
        from cronsim import CronSim

        today, tomorrow = (_wall(when, zone) for when in (moment, moment + timedelta(days=1)))
        # When the clock is about to be put back, times that lie behind us will be shown again.
        put_back = max(today + timedelta(days=1) - tomorrow, timedelta())
        # A new one each time, for iteration changes it.
        return CronSim(self.expression, today - put_back)

    def _times(self, wall: datetime, zone: tzinfo) -> list[datetime]:
        """Return the moments, none to two, at which the job is run for a local time."""
        times = _moments(wall, zone)
        if follows_the_clock(self.expression):
            return times
        while not times:
            wall += timedelta(minutes=1)
            times = _moments(wall, zone)
        return times[:1]

    def __str__(self) -> str:
        return f"cron {self.expression} {self.zone}"


def parse_cron(text: str) -> CronTrigger:
    """Return the trigger that was written as ``cron 0 4 * * mon-fri Europe/Riga``."""
    words = text.split()
    if len(words) != 7:
        remedy = "write cron, five fields and a zone, as in 'cron 0 4 * * mon-fri Europe/Riga'"
        raise BadTrigger(f"{text!r:.200} is not a cron trigger: {remedy}.")
    return CronTrigger(" ".join(words[1:6]), words[6])


def find_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name.

    :raises BadTrigger: when this host knows none of that name.
    """
    if name == "UTC":  # Known even where no zones are installed.
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError, AttributeError) as error:
        remedy = "give an IANA name such as Europe/Riga, or install tzdata"
        raise BadTrigger(f"zone {name!r:.60} is not known here: {remedy}.") from error


def follows_the_clock(expression: str) -> bool:
    """Return True for a job that cron runs whenever the clock shows its time, False for a fixed time."""
    minute, hour = expression.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    """Return the time that the clock of a zone shows, naive."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moments(wall: datetime, zone: tzinfo) -> list[datetime]:
    """Return when the clock of a zone shows a time: once; never, if it is skipped; or twice."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    # PEP 495: in a gap fold=0 has the offset before it, and so the later moment.
    return [first] if first == second else [first, second] if first < second else []


def _checked(expression: str) -> str:
    """Return an expression with single spaces, once it is sure that it will fire."""
    if not isinstance(expression, str) or len(expression) > MAX_LENGTH or not expression.isascii():
        rule = f"a text of {MAX_LENGTH} plain characters at most"
        raise BadTrigger(f"cron expression {expression!r:.60} is not {rule}.")
    fields = expression.split()
    if len(fields) != 5:
        count = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        raise BadTrigger(f"cron expression {expression!r} has {count}; five are needed: {' '.join(FIELDS)}.")
    from cronsim import CronSim, CronSimError

    checked = " ".join(fields)
    never = BadTrigger(f"cron expression {checked!r} never fires: no year has such a day.")
    try:
        next(CronSim(checked, CALENDAR_START))
    except StopIteration:
        raise never from None
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        # cronsim calls the 31st of February a bad day too, though each field is right by itself.
        if field == "day-of-month" and _is_right(f"* * {fields[2]} * *"):
            raise never from error
        raise BadTrigger(f"cron expression {checked!r}: {error}. {FIELDS.get(field, '')}".rstrip()) from error
    return checked


def _is_right(expression: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, CALENDAR_START)
    except CronSimError:
        return False
    return True
