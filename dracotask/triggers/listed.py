"""Listed trigger: the fire times that a class of the site owner's own has named ahead.

The docroot's code runs only in bodies. So while the task file is loaded, such a class is asked for its fire times of
the year to come, and they stand in the trigger's text. It is listed anew before they are used up. Whoever looks at
the clock reads that list, and imports nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta

from ..clock import as_utc, format_duration, parse_duration
from ..errors import BadTrigger
from .base import Trigger
from .date import parse_at
from .grammar import all_within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: How far ahead a class is asked, and for how many fire times at most.
AHEAD, MOST_MOMENTS = timedelta(days=400), 500

#: Fire times closer than this are the work of a loop in a program, not of a schedule.
CLOSEST = timedelta(seconds=1)

#: How much of what is over stays listed: what jitter puts off is not over yet.
KEPT = timedelta(days=1)

EXAMPLE = "by bank:BankDays 2027-01-04T08:00:00+00:00 +1d +3d to 2028-02-01T00:00:00+00:00"


class ListedTrigger(Trigger):
    """Fire at the moments that a class has named.

    :param name: of the class, as ``MODULE:CLASS``.
    :param moments: in order.
    :param horizon: up to when they are all there are; None when no more will come.
    :raises BadTrigger: when one of them makes no sense.
    """

    __slots__ = ("horizon", "moments", "name")

    def __init__(self, name: str, moments: Iterable[datetime], horizon: datetime | None = None) -> None:
        self.name, self.moments = name, tuple(map(as_utc, moments))
        self.horizon = horizon and as_utc(horizon)
        module, _, kind = name.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *kind.split(".")]):
            raise BadTrigger(f"{name!r:.80} does not name a class: write MODULE:CLASS.")
        if len(self.moments) > 2 * MOST_MOMENTS:
            raise BadTrigger(f"{len(self.moments)} moments of {name} are too many to list.")
        if any(second - first < CLOSEST for first, second in zip(self.moments, self.moments[1:], strict=False)):
            raise BadTrigger(f"the moments of {name} are not in order, or closer than a second.")
        if self.horizon is not None and self.moments and self.horizon < self.moments[-1]:
            raise BadTrigger(f"the moments of {name} go beyond their horizon.")

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment later than ``moment``, or None when no more are listed."""
        # Compared as it is: a moment at the very edge of the calendar cannot be moved to UTC.
        if moment.utcoffset() is None:
            as_utc(moment)
        index = bisect_right(self.moments, moment)
        return self.moments[index] if index < len(self.moments) else None

    def __str__(self) -> str:
        words = [self.moments[0].isoformat()] if self.moments else ["never"]
        words += [
            f"+{format_duration(second - first)}"
            for first, second in zip(self.moments, self.moments[1:], strict=False)
        ]
        end = [] if self.horizon is None else ["to", self.horizon.isoformat()]
        return " ".join(["by", self.name, *words, *end])

    def relist_at(self, now: datetime) -> datetime | None:
        """Return when the class is to be asked again: when half of what is to come is used up; None for never."""
        if self.horizon is None:
            return None
        upcoming = self.moments[bisect_right(self.moments, now) :]
        half = now + max(self.horizon - now, CLOSEST) / 2
        return min(half, upcoming[len(upcoming) // 2]) if upcoming else half


def list_ahead(trigger: Trigger, now: datetime) -> ListedTrigger:
    """Ask a trigger of any class for its fire times after ``now``, and return them.

    :raises BadTrigger: naming the class, when it answers what no trigger may.
    """
    name = f"{type(trigger).__module__}:{type(trigger).__name__}"
    _refuse_drifting(trigger, name, now)
    moments: list[datetime] = []
    last, horizon = now, now + AHEAD
    while len(moments) < MOST_MOMENTS:
        following = _asked(trigger, name, last)
        if following is None:
            return ListedTrigger(name, moments)
        if following > horizon:
            break
        if moments and following - last < CLOSEST:
            pair = f"{last.isoformat()} and {following.isoformat()}"
            raise BadTrigger(f"{name} names {pair}: a second apart is the least.")
        moments.append(following)
        last = following
    else:
        horizon = last
    return ListedTrigger(name, moments, horizon)


def _refuse_drifting(trigger: Trigger, name: str, now: datetime) -> None:
    """Refuse a class that counts from whenever it is asked: each load would put its next fire time off.

    :raises BadTrigger: asked a little later, it names another moment.
    """
    first = _asked(trigger, name, now)
    if first is None or first > now + AHEAD:
        return
    # (In whole seconds, for a class may leave those below as they are.)
    later = max(now, (now + (first - now) / 2).replace(microsecond=0))
    second = _asked(trigger, name, later)
    if second != first:
        other = "None" if second is None else second.isoformat()
        raise BadTrigger(
            f"next_after({now.isoformat()}) of {name} is {first.isoformat()}, and next_after({later.isoformat()}) is "
            f"{other}: until the one has come it must stay the same. Count from a fixed moment, not from the one given."
        )


def _asked(trigger: Trigger, name: str, moment: datetime) -> datetime | None:
    """Return what a trigger names after ``moment``, once it is sure to be right."""
    asked = f"next_after({moment.isoformat()}) of {name}"
    try:
        following = trigger.next_after(moment)
    except Exception as error:
        raise BadTrigger(f"{asked} failed: {type(error).__name__}: {error}{_place(error)}") from error
    if following is None:
        return None
    if not isinstance(following, datetime):
        raise BadTrigger(f"{asked} returned {following!r:.60}: it must be an aware datetime, or None.")
    try:
        following = as_utc(following)
    except (ValueError, OverflowError) as error:
        raise BadTrigger(f"{asked} returned {following.isoformat()}, which is no moment: give it a zone.") from error
    if following <= moment:
        raise BadTrigger(f"{asked} returned {following.isoformat()}, which is not later.")
    return following


def _place(error: Exception) -> str:
    """Return where an error was raised, as the end of a sentence."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace else ""


def parse_listed(text: str) -> ListedTrigger:
    """Return the trigger that was written as ``by MODULE:CLASS 2027-01-04T08:00:00+00:00 +1d … to …``."""
    bad = BadTrigger(f"{text!r:.200} is not a list of fire times: '{EXAMPLE}'.")
    words = text.split()[1:]
    if not 2 <= len(words) <= 2 * MOST_MOMENTS + 3:
        raise bad
    horizon = parse_at(words[-1], name="to ") if words[-2] == "to" else None
    name, *said = words[:-2] if horizon else words
    if said == ["never"] or not said:
        return ListedTrigger(name, [], horizon)
    moments = [parse_at(said[0], name="")]
    try:
        for word in said[1:]:
            if not word.startswith("+"):
                raise bad
            moments.append(moments[-1] + parse_duration(word[1:]))
    except (ValueError, OverflowError) as error:
        raise bad from error
    return ListedTrigger(name, moments, horizon)


# -- From one list to the next ---------------------------------------------------------------------

_LIST = re.compile(r"(?<![^(| ])by [^\s()|]+:[^()|]*[^()|\s]")


def is_listed(text: str | None) -> bool:
    """Tell whether a trigger's text has lists in it."""
    return text is not None and _LIST.search(text) is not None


def relist_at(trigger: Trigger, now: datetime) -> datetime | None:
    """Return when the first of the lists within a trigger is to be made anew; None for never."""
    moments = [part.relist_at(now) for part in all_within(trigger) if isinstance(part, ListedTrigger)]
    return min((moment for moment in moments if moment), default=None)


def is_same_rule(old: str | None, new: str | None, now: datetime) -> bool:
    """Tell whether two texts are one rule, listed anew perhaps."""
    return old == new or (old is not None and new is not None and carried_on(old, new, now, now) is not None)


def carried_on(old: str, new: str, since: datetime, now: datetime) -> str | None:
    """Return a rule listed anew, with what its old list still has to say; None when it is another rule.

    It is the same when all else in the text is, and both lists name the same moments where both have any.

    :param since: what fell due since then is not settled yet.
    """
    if _LIST.sub("by", old) != _LIST.sub("by", new):
        return None
    pairs = list(zip(map(parse_listed, _LIST.findall(old)), map(parse_listed, _LIST.findall(new)), strict=True))
    if not all(_agree(before, after, now) for before, after in pairs):
        return None
    joined = iter([str(_carried_on(before, after, since - KEPT)) for before, after in pairs])
    return _LIST.sub(lambda found: next(joined), new)


def _agree(old: ListedTrigger, new: ListedTrigger, now: datetime) -> bool:
    """Tell whether two lists name the same moments from ``now`` up to where the first of them ends."""
    end = min(one.horizon or datetime.max.replace(tzinfo=UTC) for one in (old, new))
    named = [[moment for moment in one.moments if now < moment <= end] for one in (old, new)]
    return old.name == new.name and named[0] == named[1]


def _carried_on(old: ListedTrigger, new: ListedTrigger, since: datetime) -> ListedTrigger:
    first = new.moments[0] if new.moments else datetime.max.replace(tzinfo=UTC)
    # Closer than a second they cannot lie: the new list names what the old one has, or what comes after it.
    before = [moment for moment in old.moments if moment >= since and first - moment >= CLOSEST]
    return ListedTrigger(new.name, [*before[-MOST_MOMENTS:], *new.moments], new.horizon)
