"""The fire times to come, each with what a site owner would wonder about: why it is skipped, or oddly late.

What the clock does is told by cron's own rule (:mod:`dracotask.triggers.cron`): a job at a fixed time runs
once a day, and one whose minute or hour starts with a star follows the clock. Calendar rules are of the first
kind. Intervals pay no heed to it.
"""

from __future__ import annotations

from datetime import datetime

from ..errors import BadTrigger
from ..triggers import parse_trigger
from ..triggers.calendar import CalendarIntervalTrigger
from ..triggers.clocks import INSTANT, SECOND, changes, find_zone
from ..triggers.cron import CronTrigger
from ..triggers.jitter import JitterTrigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Schedule
    from ..triggers import Trigger

    #: A rule that is read on the clock of a zone.
    ClockRule = CronTrigger | CalendarIntervalTrigger


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
    """Yield what the clock of a cron or calendar rule does to a fire time.

    :param before: the fire time before it, or now: the clock may have been put forward in between.
    """
    for rule, named in _named(trigger, fire_time):
        yield from _forward_notes(rule, before, named)
        yield from _backward_notes(rule, named)


def _named(trigger: Trigger, fire_time: datetime) -> Iterator[tuple[ClockRule, datetime]]:
    """Yield the rules that are read on a clock and bring a fire time, however deep they lie, with what they name."""
    if trigger.next_after(fire_time - INSTANT) != fire_time:
        return
    if isinstance(trigger, CronTrigger | CalendarIntervalTrigger):
        yield trigger, fire_time
        return
    if isinstance(trigger, JitterTrigger):
        fire_time = trigger.put_off_from(fire_time)
    inner = getattr(trigger, "triggers", None) or [getattr(trigger, "trigger", None)]
    for each in filter(None, inner):
        yield from _named(each, fire_time)


def _forward_notes(rule: ClockRule, before: datetime, fire_time: datetime) -> Iterator[str]:
    """Yield the times that the clock leaves out, where the rule would have had one of them."""
    for change in changes(rule.zone, before, fire_time):
        wall = rule.wall_after(change.before - SECOND)
        if wall is None or wall >= change.after:  # also for a clock that is put back
            continue
        clock = f"the clock goes from {change.before:%H:%M} to {change.after:%H:%M}"
        if rule.follows_the_clock():
            yield f"{wall:%a %H:%M} is skipped: {clock}"
        elif fire_time == change.moment:
            too = rule.wall_after(change.after - SECOND) == change.after
            yield f"{'also for' if too else 'instead of'} {wall:%H:%M}: {clock}"


def _backward_notes(rule: ClockRule, fire_time: datetime) -> Iterator[str]:
    """Yield what becomes of a time that the clock shows twice."""
    local = fire_time.astimezone(find_zone(rule.zone))
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        return
    if rule.follows_the_clock():
        yield f"{local:%H:%M} comes twice that day: the {'second' if local.fold else 'first'} time"
    else:
        yield f"{local:%H:%M} comes twice that day: only the first time counts"
