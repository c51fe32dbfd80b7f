"""The fire times to come, each with what a site owner would wonder about: why it is skipped, or oddly late.

What the clock does is told by cron's own rule (:mod:`dracotask.triggers.cron`): a job at a fixed time runs
once a day, and one whose minute or hour starts with a star follows the clock. Intervals pay no heed to it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ..errors import BadTrigger
from ..triggers import parse_trigger
from ..triggers.combining import AnyTrigger
from ..triggers.cron import CronTrigger, find_zone, follows_the_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from ..model import Schedule
    from ..triggers import Trigger

_INSTANT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


class Upcoming:
    """One fire time to come.

    :ivar notes: why it will not run, or what the clock does to it; mostly empty.
    """

    __slots__ = ("fire_time", "notes")

    def __init__(self, fire_time: datetime, notes: list[str]) -> None:
        self.fire_time, self.notes = fire_time, notes


def upcoming(schedule: Schedule, now: datetime, site_held: bool = False) -> Iterator[Upcoming]:
    """Yield the fire times to come, beginning with one that is overdue."""
    if schedule.in_force is None or schedule.vanished_at:
        return
    try:
        trigger = parse_trigger(schedule.in_force)
    except BadTrigger:
        return  # another version's
    before, moment = now, schedule.next_fire_time
    with_site = ["held with the site, unless it is resumed before"] if site_held else []
    while moment is not None:
        yield Upcoming(moment, [*_notes(schedule, moment), *with_site, *clock_notes(trigger, before, moment)])
        before, moment = moment, trigger.next_after(max(moment, now))


def _notes(schedule: Schedule, fire_time: datetime) -> Iterator[str]:
    """Yield why a fire time will not run."""
    if schedule.skip_until and fire_time <= schedule.skip_until:
        yield schedule.skip_why or "skipped"
    if schedule.held_at and (schedule.held_until is None or fire_time <= schedule.held_until):
        yield "held" if schedule.held_until else "held, unless it is resumed before"


# -- The clock ---------------------------------------------------------------------------------


def clock_notes(trigger: Trigger, before: datetime, fire_time: datetime) -> Iterator[str]:
    """Yield what the clock of a cron rule does to a fire time.

    :param before: the fire time before it, or now: the clock may have been put forward in between.
    """
    for rule in trigger.triggers if isinstance(trigger, AnyTrigger) else (trigger,):
        if isinstance(rule, CronTrigger) and rule.next_after(fire_time - _INSTANT) == fire_time:
            zone = find_zone(rule.zone)
            yield from _forward_notes(rule, before, fire_time, zone)
            yield from _backward_notes(rule, fire_time, zone)


def _forward_notes(rule: CronTrigger, before: datetime, fire_time: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield the times that the clock leaves out, where the rule would have had one of them."""
    for jump in _jumps(zone, before, fire_time):
        left_out = jump.replace(tzinfo=None) + _offset(zone, jump - _MINUTE)
        goes_on = jump.replace(tzinfo=None) + _offset(zone, jump)
        wall = _first_match(rule, left_out, goes_on)
        if wall is None:
            continue
        clock = f"the clock goes from {left_out:%H:%M} to {goes_on:%H:%M}"
        if follows_the_clock(rule.expression):
            yield f"{wall:%a %H:%M} is skipped: {clock}"
        elif fire_time == jump:
            too = _first_match(rule, goes_on, goes_on + _MINUTE) is not None
            yield f"{'also for' if too else 'instead of'} {wall:%H:%M}: {clock}"


def _backward_notes(rule: CronTrigger, fire_time: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield what becomes of a time that the clock shows twice."""
    local = fire_time.astimezone(zone)
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        return
    if follows_the_clock(rule.expression):
        yield f"{local:%H:%M} comes twice that day: the {'second' if local.fold else 'first'} time"
    else:
        yield f"{local:%H:%M} comes twice that day: only the first time counts"


def _first_match(rule: CronTrigger, since: datetime, until: datetime) -> datetime | None:
    """Return the first naive time from ``since`` on and before ``until`` that the rule names, or None."""
    from cronsim import CronSim

    wall: datetime | None = next(CronSim(rule.expression, since - _MINUTE), None)
    return wall if wall is not None and wall < until else None


def _jumps(zone: tzinfo, since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the moments later than ``since``, up to ``until``, at which the clock of a zone is put forward."""
    while since < until:
        following = min(since + _DAY, until)
        if _offset(zone, following) > _offset(zone, since):
            yield _jump(zone, since, following)
        since = following


def _jump(zone: tzinfo, early: datetime, late: datetime) -> datetime:
    """Return the moment between two at which the offset of a zone changes, by bisection."""
    was = _offset(zone, early)
    while late - early > _INSTANT:
        middle = early + (late - early) / 2
        early, late = (middle, late) if _offset(zone, middle) == was else (early, middle)
    return late


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
