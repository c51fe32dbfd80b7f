"""``preview``: when a task, or a rule that is nobody's yet, comes next, with what the clock does to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from ..clock import rfc3339, utc_now
from ..errors import BadTrigger, ControlError, StoreMissing, suggestion
from ..model import Schedule
from ..previews import is_cron_line, trigger_said
from ..report.reading import open_to_read
from ..report.upcoming import Upcoming, upcoming
from ..report.words import on_clock, rule_in_short, schedule_in_words
from ..said import at_said
from ..triggers import parse_trigger
from ..visible import visible_line
from ..zones import is_zone
from .output import print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .invocation import Invocation

_INSTANT = timedelta(microseconds=1)


class Previewed:
    """A rule and its next fire times.

    :ivar name: of the Schedule; None for a rule that is nobody's.
    """

    def __init__(self, schedule: Schedule, name: str | None, zone: ZoneInfo, moment: datetime, number: int) -> None:
        self.schedule, self.name, self.zone = schedule, name, zone
        self.times = [*islice(upcoming(schedule, moment), number)]
        self.is_over = len(self.times) < number


def preview(
    invocation: Invocation, words: list[str], *, number: int, since: str | None, timezone: str | None, as_json: bool
) -> None:
    """Print the next fire times.

    :param words: the name of a Schedule, or a rule.
    :raises BadTrigger: it is neither; ControlError: ``since`` or ``timezone`` makes no sense.
    """
    zone, now = _zone(invocation, timezone), utc_now()
    moment = now if since is None else at_said(since, now, zone, option="--from")
    previewed = _previewed(invocation, " ".join(words), zone, moment, number, is_later=since is not None)
    if as_json:
        print_json(_as_json(previewed))
    else:
        _print(invocation, previewed)


def _zone(invocation: Invocation, name: str | None) -> ZoneInfo:
    if name is None:
        return invocation.zone()
    if not is_zone(name):
        raise ControlError(f"--timezone: there is no zone {name!r:.60}. Write one as Europe/Riga, or UTC.")
    return ZoneInfo(name)


def _previewed(
    invocation: Invocation, text: str, zone: ZoneInfo, moment: datetime, number: int, *, is_later: bool
) -> Previewed:
    schedules = {} if is_cron_line(text) else _schedules(invocation)
    found = schedules.get(text)
    if found is None:
        rule = str(_trigger(text, zone, list(schedules)))
        found = Schedule(name=text, task=text, declared=False, trigger=rule, rev=0)
        is_later, name = True, None
    else:
        name = text
    if is_later and found.in_force is not None:
        # A fire time of that very moment counts.
        first = parse_trigger(found.in_force).next_after(moment - _INSTANT)
        found = found.but(next_fire_time=first)
    return Previewed(found, name, zone, moment, number)


def _schedules(invocation: Invocation) -> dict[str, Schedule]:
    """Return the site's schedules, if anybody has looked at it: a rule needs no site."""
    try:
        with open_to_read(invocation) as store:
            return {schedule.name: schedule for schedule in store.schedules()}
    except StoreMissing:
        return {}


def _trigger(text: str, zone: ZoneInfo, known: list[str]) -> Any:
    try:
        return trigger_said(text, zone.key)
    except BadTrigger as error:
        if text.isidentifier():
            raise BadTrigger(
                f"{text!r:.100} is no task here, and no rule.{suggestion(text[:100], known)}"
                ' Write a rule as "every 90s" or "0 4 * * mon-fri".'
            ) from None
        raise error


def _print(invocation: Invocation, previewed: Previewed) -> None:
    schedule, zone, paper = previewed.schedule, previewed.zone, invocation.paper
    who = f"{previewed.name}: " if previewed.name else ""
    print(paper.paint(visible_line(f"{who}{schedule_in_words(schedule.in_force)}"), "bold"))
    if schedule.in_force:
        print(paper.paint(visible_line(f"  {rule_in_short(schedule.in_force)}"), "dim"))
    if not previewed.times:
        print("It comes at no time by itself.")
        return
    width = max(len(_local(each, zone)) for each in previewed.times)
    print(paper.paint(f"  {zone.key:<{width}}  UTC", "dim"))
    for each in previewed.times:
        line = f"  {_local(each, zone):<{width}}  {rfc3339(each.fire_time)}  {'; '.join(each.notes)}"
        print(visible_line(line).rstrip())
    if previewed.is_over:
        print("Then it is over.")


def _local(each: Upcoming, zone: ZoneInfo) -> str:
    return f"{on_clock(each.fire_time, zone):%a %Y-%m-%d %H:%M:%S %Z}"


def _as_json(previewed: Previewed) -> dict[str, Any]:
    schedule, zone = previewed.schedule, previewed.zone
    return {
        "name": previewed.name,
        "trigger": schedule.in_force,
        "schedule": schedule_in_words(schedule.in_force),
        "timezone": zone.key,
        "fire_times": [
            {
                "fire_time": rfc3339(each.fire_time),
                "local": each.fire_time.astimezone(zone).isoformat(),
                "notes": each.notes,
            }
            for each in previewed.times
        ],
    }
