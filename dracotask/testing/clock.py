"""A clock that stands still, for tests of what asks for the time."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..clock import moment_of, parse_duration
from .moments import moment_said


class FrozenClock:
    """Tells one moment until it is told another: ``Scheduler(clock=FrozenClock("2027-01-01 12:00"))``.

    :param moment: a datetime, or ISO text; without an offset it is UTC.
    """

    def __init__(self, moment: str | datetime) -> None:
        self.moment = moment_said(moment, "UTC")

    def __call__(self) -> datetime:
        return self.moment

    def set(self, moment: str | datetime) -> datetime:
        """Put the clock to a moment, be it forward or back, and return it."""
        self.moment = moment_said(moment, "UTC")
        return self.moment

    def advance(self, by: str | float | timedelta) -> datetime:
        """Put the clock forward by a length of time (``"5m"``, a number of seconds), and return the new moment."""
        self.moment = moment_of(parse_duration(by), self.moment)
        return self.moment

    def __repr__(self) -> str:
        return f"FrozenClock({self.moment.isoformat()!r})"
