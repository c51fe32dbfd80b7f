"""Date trigger: once, at a moment.

What is due once is a schedule like any other, so that it is stored, claimed, held and seen like any
other.
"""

from __future__ import annotations

from datetime import datetime

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger


class DateTrigger(Trigger):
    """Fire at one moment and never again.

    :param at: the moment, as in `parse_at`.
    """

    __slots__ = ("at",)

    def __init__(self, at: datetime | str) -> None:
        self.at = parse_at(at)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the one fire time, or None when ``moment`` is not before it."""
        # Compared as it is: a moment at the very edge of the calendar cannot be moved to UTC.
        if moment.utcoffset() is None:
            as_utc(moment)
        return self.at if moment < self.at else None

    def __str__(self) -> str:
        return f"at {self.at.isoformat()}"


def parse_at(value: datetime | str, *, name: str = "at") -> datetime:
    """Return a moment in UTC, given as ISO text with an offset or as an aware datetime.

    :param name: the argument, for the message.
    :raises BadTrigger: when it is neither, or naive.
    """
    if not isinstance(value, str | datetime):
        raise BadTrigger(f"{name}={value!r:.60} is not a moment: give an ISO text or an aware datetime.")
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError as error:
        remedy = "write it as 2027-01-01T00:00:00+01:00"
        raise BadTrigger(f"{name}={value!r:.60} is not a moment: {remedy}.") from error
    try:
        return as_utc(moment)
    except OverflowError as error:
        raise BadTrigger(f"{name}={value!r:.60} is outside the years 1 to 9999 in UTC.") from error
    except ValueError as error:
        remedy = f"give an offset, as in {moment.isoformat()}+00:00 for UTC"
        raise BadTrigger(f"{name}={str(value)!r:.60} could be many moments: {remedy}.") from error


def parse_date(text: str) -> DateTrigger:
    """Return the trigger that was written as ``at 2027-01-01T00:00:00+00:00``."""
    return DateTrigger(text.removeprefix("at").strip())
