"""The forecast: when tasks would start here if only requests kept the site ticking.

Pure, from the traffic on record (:mod:`dracotask.web.traffic`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise

from .web.traffic import moment_of_minute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .web.traffic import Traffic

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)

#: The longest gap is looked for in so much of the past.
RECENT = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """How late a task would have started on the days on record.

    :ivar median: on half of the days it would have been no later than so.
    :ivar worst: and on none later than so.
    :ivar days: of how many days that is.
    """

    median: timedelta
    worst: timedelta
    days: int


@dataclass(frozen=True, kw_only=True)
class Lull:
    """A time without a request.

    :ivar begin: the minute of the last request before it, or the first on record.
    """

    begin: datetime
    length: timedelta


def forecast(traffic: Traffic, at: time | datetime, now: datetime, zone: tzinfo) -> Forecast | None:
    """Return how late a task would start that is due at a time of day; None when less than a day is on record.

    To the minute: a request in the very minute comes at once. A day whose request has not come yet counts only when
    that makes it the worst.

    :param at: on the clock of the zone; or a fire time, which stands for its time of day there.
    """
    if traffic.since is None or now - moment_of_minute(traffic.since) < _DAY:
        return None
    local = at.astimezone(zone).time() if isinstance(at, datetime) else at
    delays, waiting = [], []
    for fire_time in _each_day(local, moment_of_minute(traffic.since), now, zone):
        delay = _until_request(traffic.minutes, fire_time)
        if delay is None:
            waiting.append(now - fire_time)
        else:
            delays.append(delay)
    worst = max(delays, default=timedelta(-1))
    delays = sorted([*delays, *(delay for delay in waiting if delay > worst)])
    return Forecast(median=_median(delays), worst=delays[-1], days=len(delays)) if delays else None


def longest_lull(traffic: Traffic, now: datetime) -> Lull | None:
    """Return the longest time of the last week between two minutes with a request; None when nothing is on record.

    What began before the week, or is not over yet, counts as long as it is on record and has lasted.
    """
    if traffic.since is None:
        return None
    first = max(traffic.since, int((now - RECENT).timestamp() // 60))
    known = traffic.minutes[bisect_left(traffic.minutes, first) :]
    ends = [first, *known, int(now.timestamp() // 60)]
    begin, end = max(pairwise(ends), key=lambda pair: pair[1] - pair[0])
    return Lull(begin=moment_of_minute(begin), length=(end - begin) * _MINUTE)


def _each_day(local: time, since: datetime, now: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the moment of a time of day on each day from ``since`` up to ``now``."""
    day = since.astimezone(zone).date() - _DAY
    while day <= now.astimezone(zone).date():
        # (A time that the clock leaves out, in spring, is as much later as the clock is put forward.)
        moment = datetime.combine(day, local, zone).astimezone(UTC)
        if since <= moment <= now:
            yield moment
        day += _DAY


def _until_request(minutes: Sequence[int], moment: datetime) -> timedelta | None:
    """Return how long it is to the next minute with a request; None when none has come yet."""
    place = bisect_left(minutes, int(moment.timestamp() // 60))
    return max(moment_of_minute(minutes[place]) - moment, timedelta()) if place < len(minutes) else None


def _median(values: Sequence[timedelta]) -> timedelta:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
