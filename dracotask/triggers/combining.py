"""Any-of and all-of triggers: several rules as one.

A Task that calls ``schedule`` twice still has one Schedule, with one next fire time and one history.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import gcd

from ..clock import as_utc
from ..errors import BadTrigger
from .base import Trigger
from .clocks import INSTANT
from .grammar import MOST_PARTS, split
from .search import bounded, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .interval import IntervalTrigger

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AnyTrigger(Trigger):
    """Fire whenever one of ``triggers`` does; once, when several do at the same moment.

    Any-ofs within are opened up, and repetitions dropped.

    :raises BadTrigger: when there is none, or one of them is no Trigger.
    """

    __slots__ = ("triggers",)

    triggers: tuple[Trigger, ...]

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        self.triggers = _opened(triggers, AnyTrigger, "any-of")

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the earliest of the fire times later than ``moment``, or None when all are over."""
        # Each from its own point of view: one that is far off takes nothing from the others.
        fire_times = [trigger.next_after(moment) for trigger in self.triggers]
        return min((fire_time for fire_time in fire_times if fire_time is not None), default=None)

    def __str__(self) -> str:
        return f"any ({' | '.join(map(str, self.triggers))})"


class AllTrigger(Trigger):
    """Fire when all of ``triggers`` do, at the very same moment; it is over when one of them is.

    All-ofs within are opened up, and repetitions dropped. Intervals are joined by arithmetic: whether ``every 7919s``
    and ``every 7907s`` ever meet, and when, is known without a search. The others are tried against each other, and
    what has not met in :data:`~.search.MOST_STEPS` tries is over.

    :raises BadTrigger: when there is none, or one of them is no Trigger.
    """

    __slots__ = ("_asked", "triggers")

    triggers: tuple[Trigger, ...]

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        from .interval import IntervalTrigger

        self.triggers = _opened(triggers, AllTrigger, "all-of")
        intervals = [trigger for trigger in self.triggers if isinstance(trigger, IntervalTrigger)]
        others = [trigger for trigger in self.triggers if not isinstance(trigger, IntervalTrigger)]
        self._asked: list[Trigger] = [*intervals, *others] if len(intervals) < 2 else [Meeting(intervals), *others]

    @bounded
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment later than ``moment`` at which all agree, or None when there is none any more."""
        agreed, candidate = 0, as_utc(moment) + INSTANT
        while agreed < len(self._asked):
            for trigger in self._asked:
                following = step(trigger, candidate - INSTANT)
                if following is None:
                    return None
                # Whoever is later has the word, and all others are asked again.
                agreed = agreed + 1 if following == candidate else 1
                candidate = following
                if agreed >= len(self._asked):
                    break
        return candidate

    def __str__(self) -> str:
        return f"all ({' | '.join(map(str, self.triggers))})"


class Meeting(Trigger):
    """Where several intervals meet, by the Chinese remainder theorem; it has no text of its own.

    All is counted in whole microseconds since 1970, for the period may be longer than any IntervalTrigger's.

    :ivar first: the first moment at which all of them have begun and meet; None when they never do.
    :ivar period: the time from one meeting to the next.
    """

    __slots__ = ("first", "last", "period")

    def __init__(self, intervals: Iterable[IntervalTrigger]) -> None:
        remainder, period = 0, 1
        begin, last = 0, _whole(datetime.max.replace(tzinfo=UTC))
        meets = True
        for interval in intervals:
            anchor, every = _whole(interval.start), interval.every // INSTANT
            common = gcd(period, every)
            meets = meets and (anchor - remainder) % common == 0
            turns = (anchor - remainder) // common * pow(period // common, -1, every // common)
            remainder += turns % (every // common) * period
            period = period // common * every
            begin = max(begin, anchor)
            last = last if interval.end is None else min(last, _whole(interval.end))
        self.first: int | None = begin + (remainder - begin) % period if meets else None
        self.period, self.last = period, last

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first meeting later than ``moment``, or None when there is none any more."""
        if self.first is None:
            return None
        meeting = self.first + max(0, (_whole(as_utc(moment)) - self.first) // self.period + 1) * self.period
        return None if meeting > self.last else _EPOCH + meeting * INSTANT


def _whole(moment: datetime) -> int:
    return (moment - _EPOCH) // INSTANT


def _opened(triggers: Iterable[Trigger], kind: type[AnyTrigger | AllTrigger], name: str) -> tuple[Trigger, ...]:
    """Return triggers with those of the same kind opened up, each once."""
    found: dict[Trigger, None] = {}
    for trigger in triggers:
        if not isinstance(trigger, Trigger):
            raise BadTrigger(f"{name} takes Triggers, and {trigger!r:.60} is none: use parse_trigger.")
        found.update(dict.fromkeys(trigger.triggers if isinstance(trigger, kind) else [trigger]))
    if not found:
        raise BadTrigger(f"{name} nothing never fires: give one Trigger at least.")
    if len(found) > MOST_PARTS:
        raise BadTrigger(f"{name} {len(found)} rules is too much: {MOST_PARTS} are the most.")
    return tuple(found)


def parse_any(text: str, parse: Callable[[str], Trigger]) -> AnyTrigger:
    """Return the trigger that was written as ``any (T | T)``, each part of it read by ``parse``."""
    return AnyTrigger([parse(part) for part in split(text, "any (every 90s | every 7m)")[1]])


def parse_all(text: str, parse: Callable[[str], Trigger]) -> AllTrigger:
    """Return the trigger that was written as ``all (T | T)``, each part of it read by ``parse``."""
    return AllTrigger([parse(part) for part in split(text, "all (every 2w | cron 0 0 1 * * UTC)")[1]])
