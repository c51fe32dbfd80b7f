"""What to do about a Schedule at one moment: pure, and handed the time.

Due means fire time <= now, never "is it this minute": late rather than never, and
once rather than many times. Whatever is dropped becomes a :class:`~.model.Gap` with
its reason.
"""

from __future__ import annotations

from .clock import timedelta
from .model import SKIPPED, Claim, Gap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from .model import Policy, Schedule
    from .triggers.base import Trigger

#: How far a clock may be set back before a Schedule stops waiting for it (cron(8)'s rule).
CLOCK_PATIENCE = timedelta(hours=3)

#: So many days are for ever: history is kept no longer, and no arithmetic leaves the years there are.
MOST_DAYS = 36_500

_INSTANT = timedelta(microseconds=1)


def plan(schedule: Schedule, trigger: Trigger, now: datetime, *, busy: str | None) -> Claim | None:
    """Decide what becomes of the fire times of ``schedule`` up to ``now``.

    :param busy: why no Run of its Task can begin now, as a person would say it; None when one can.
    :return: None when nothing is due.
    """
    first = schedule.next_fire_time
    if first is None or first > now:
        return None
    if schedule.skip_until and first <= schedule.skip_until:
        skipped = latest_until(trigger, first, min(now, schedule.skip_until))
        return _claim(trigger, skipped, gap=_gap(trigger, first, skipped, schedule.skip_why or "skipped"))
    latest = latest_until(trigger, first, now)
    if busy:
        return _claim(trigger, latest, gap=_gap(trigger, first, latest, busy))
    if latest == first:
        return _claim(trigger, latest, fire_time=latest)
    # The day after a downtime one run makes up for all: WP-Cron's users call the alternative a stampede.
    passed_over = latest_until(trigger, first, latest - _INSTANT)
    gap = _gap(trigger, first, passed_over, "came late: several fire times became one run")
    return _claim(trigger, latest, fire_time=latest, gap=gap)


def latest_until(trigger: Trigger, known: datetime, moment: datetime) -> datetime:
    """Return the last fire time of ``trigger`` up to ``moment``, found by bisection.

    Bisection needs some thirty questions for a year of missed seconds; counting them one
    by one would need thirty million.

    :param known: a fire time not later than ``moment``.
    """
    upper = moment
    while (following := trigger.next_after(known)) is not None and following <= moment:
        known = following
        middle = known + (upper - known) / 2
        while middle > known:
            candidate = trigger.next_after(middle)
            if candidate is not None and candidate <= moment:
                known = candidate
                break
            upper = middle
            middle = known + (upper - known) / 2
    return known


def first_after(trigger: Trigger | None, now: datetime, watermark: datetime | None) -> datetime | None:
    """Return the next fire time of a new or changed trigger: later than now and than the watermark."""
    if trigger is None:
        return None
    return trigger.next_after(max(now, watermark) if watermark else now)


def missed_while(schedule: Schedule, trigger: Trigger, now: datetime, state: str, reason: str) -> Gap | None:
    """Return the Gap of the fire times up to ``now`` that nobody could claim, or None when there are none."""
    first = schedule.next_fire_time
    if first is None or first > now:
        return None
    return _gap(trigger, first, latest_until(trigger, first, now), reason, state)


def kept_since(policy: Policy, now: datetime) -> datetime:
    """Return the moment before which no history is kept."""
    return now - timedelta(days=min(policy.keep_days, MOST_DAYS))


def _claim(
    trigger: Trigger, latest: datetime, *, fire_time: datetime | None = None, gap: Gap | None = None
) -> Claim:
    return Claim(fire_time=fire_time, gap=gap, next_fire_time=trigger.next_after(latest), watermark=latest)


def _gap(trigger: Trigger, first: datetime, last: datetime, reason: str, state: str = SKIPPED) -> Gap:
    return Gap(state=state, first=first, last=last, count=_count(trigger, first, last), reason=reason)


def _count(trigger: Trigger, first: datetime, last: datetime) -> int | None:
    """Count the fire times from ``first`` to ``last`` where division can tell, else None."""
    if first == last:
        return 1
    every = getattr(trigger, "every", None)
    return (last - first) // every + 1 if every else None
