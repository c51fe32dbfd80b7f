"""Clocks on the walls of zones: what they show, and where they are put forward or back.

What a clock shows is a naive datetime here, a *wall* time; a moment is aware and in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from ..errors import BadTrigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: The least step of a wall time that a rule names.
SECOND = timedelta(seconds=1)

#: The least distance between two moments.
INSTANT = timedelta(microseconds=1)

_DAY = timedelta(days=1)

#: Changes are looked for, and remembered, by pieces of time of this length.
_PIECE = timedelta(days=32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Change:
    """A moment at which a clock is put forward or back.

    :ivar before: the wall time that it would have shown at this moment.
    :ivar after: the wall time that it shows instead; later than ``before`` when it is put forward.
    """

    __slots__ = ("moment", "before", "after")

    def __init__(self, moment: datetime, before: datetime, after: datetime) -> None:
        self.moment, self.before, self.after = moment, before, after


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


def wall_at(moment: datetime, zone: tzinfo) -> datetime:
    """Return the wall time at a moment; its ``fold`` is 1 in the second pass of a repeated hour."""
    return moment.astimezone(zone).replace(tzinfo=None)


def first_shown(wall: datetime, name: str) -> datetime:
    """Return the moment at which the clock of a zone has come to a wall time for the first time.

    A time that is shown twice is come to the first time. One that is left out is come to as soon as
    the clock has been put forward.
    """
    zone = find_zone(name)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # PEP 495: for a time left out, fold=0 has the offset from before, and so the later moment.
    return next(changes(name, second, first)).moment


def changes(name: str, since: datetime, until: datetime) -> Iterator[Change]:
    """Yield the changes of a zone's clock that are later than ``since`` and not later than ``until``."""
    if name == "UTC":
        return
    for number in range((since - _EPOCH) // _PIECE, (until - _EPOCH) // _PIECE + 1):
        for change in _changes_of_piece(name, number):
            if since < change.moment <= until:
                yield change


@lru_cache(maxsize=2048)
def _changes_of_piece(name: str, number: int) -> tuple[Change, ...]:
    """Return the changes within one piece of time, its first moment included.

    Looked for from day to day: since there are zones, none has changed its clock twice within three.
    """
    zone, found = find_zone(name), []
    # From the second before, for a change is seen by comparing with what was.
    early = _EPOCH + number * _PIECE - SECOND
    for _ in range(_PIECE // _DAY):
        late = early + _DAY
        if _offset(zone, late) != _offset(zone, early):
            found.append(_change_between(early, late, zone))
        early = late
    return tuple(found)


def _change_between(early: datetime, late: datetime, zone: tzinfo) -> Change:
    """Return the one change between two moments, by bisection."""
    was = _offset(zone, early)
    while late - early > INSTANT:
        middle = early + (late - early) / 2
        early, late = (middle, late) if _offset(zone, middle) == was else (early, middle)
    wall = late.replace(tzinfo=None)
    return Change(late, wall + was, wall + _offset(zone, late))


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
