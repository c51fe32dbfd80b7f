"""Traffic: when somebody looks at what is due, in a simulation.

A site without cron's line and without visitors looks at nothing. Each kind of traffic answers one question, so that
a year of minutes in which nothing is due costs as much as a year in which nobody comes: when is the first look from
a moment on?
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from ..clock import as_utc, rfc3339
from ..errors import BadTrigger
from ..previews import trigger_said
from ..triggers import Trigger, parse_trigger
from .moments import moment_said

_INSTANT = timedelta(microseconds=1)

#: Hours of the day in which there is traffic, and the traffic within them: "08:00-22:00 every 30s".
_OPEN_HOURS = re.compile(r"(\d{1,2}:\d\d-\d{1,2}:\d\d)\s+(\S.*)", re.ASCII)


class Traffic:
    """Somebody who looks.

    :ivar origin: what a Run says it came of.
    """

    origin = "request"

    def first_from(self, moment: datetime) -> datetime | None:
        """Return the first look at ``moment`` or later; None when there is none. Asked for ever later moments."""
        raise NotImplementedError


class Idle(Traffic):
    """The thread of a web process, which looks by itself whenever something is due."""

    origin = "tick"

    def first_from(self, moment: datetime) -> datetime | None:
        return moment


class Nobody(Traffic):
    """No visitor, no cron."""

    def first_from(self, moment: datetime) -> datetime | None:
        return None


class ByRule(Traffic):
    """Looks whenever a Trigger fires.

    :param origin: ``request``, or ``command`` for cron.
    """

    def __init__(self, trigger: Trigger, origin: str = "request") -> None:
        self.trigger, self.origin = trigger, origin

    def first_from(self, moment: datetime) -> datetime | None:
        return self.trigger.next_after(moment - _INSTANT)


class Listed(Traffic):
    """Looks at moments that are known."""

    def __init__(self, moments: Sequence[datetime]) -> None:
        self.moments = sorted(moments)

    def first_from(self, moment: datetime) -> datetime | None:
        at = bisect_left(self.moments, moment)
        return self.moments[at] if at < len(self.moments) else None


class Drawn(Traffic):
    """Looks at moments drawn from a generator, which need never end.

    :raises ValueError: it goes back in time.
    """

    def __init__(self, moments: Iterator[datetime]) -> None:
        self._moments = moments
        self._last: datetime | None = None

    def first_from(self, moment: datetime) -> datetime | None:
        while self._last is None or self._last < moment:
            following = next(self._moments, None)
            if following is None:
                return None
            if self._last is not None and following < self._last:
                raise ValueError(f"The traffic goes back in time, from {rfc3339(self._last)} to {rfc3339(following)}.")
            self._last = following
        return self._last


def traffic_said(said: object, zone: str) -> Traffic:
    """Return the traffic that is said: a word, a rule as text, a Trigger, moments, or a Traffic.

    :param zone: of the hours in which there is traffic, and of moments without a zone.
    :raises ValueError: it is none; BadTrigger: its rule makes no sense.
    """
    match said:
        case Traffic():
            return said
        case Trigger():
            return ByRule(said)
        case "idle":
            return Idle()
        case None | "none":
            return Nobody()
        case "cron":
            return ByRule(parse_trigger("every 1m"), "command")
        case str():
            return ByRule(_rule(said, zone))
        case Iterator():
            return Drawn(as_utc(moment_said(each, zone)) for each in said)
        case Iterable():
            return Listed([moment_said(each, zone) for each in said])
    raise ValueError(f"traffic={said!r:.80} is none. {_REMEDY}")


_REMEDY = (
    'Write "every 5m", "idle" (the thread of a web process), "cron", "none", "08:00-22:00 every 30s", a trigger as '
    "text, or give the moments."
)


def _rule(text: str, zone: str) -> Trigger:
    hours = _OPEN_HOURS.fullmatch(text.strip())
    try:
        if hours:
            return parse_trigger(f"between {hours[1]} {zone} ({trigger_said(hours[2], zone)})")
        return trigger_said(text, zone)
    except BadTrigger as error:
        raise BadTrigger(f"traffic={text!r:.80} is none: {error} {_REMEDY}") from None
