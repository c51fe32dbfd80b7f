"""``show``: all there is to know of one task."""

from __future__ import annotations

from itertools import islice

from ..clock import rfc3339, utc_now
from ..errors import BadTrigger
from ..model import RUNNING, Policy, Run, Schedule
from .output import print_json, visible_line
from .reading import Reading, find_schedule, moments_as_json, open_to_read, really, run_as_json, schedule_as_json
from .tables import run_table
from .words import about, keeping_in_words, limits_in_words, next_in_words, schedule_in_words, since_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

    from .invocation import Invocation

#: So many of the next fire times, and of the last Runs.
FEW = 5


class Shown:
    """One Schedule with its last Runs, and the site's notes, as read at one moment."""

    def __init__(self, invocation: Invocation, name: str) -> None:
        with open_to_read(invocation) as store:
            self.schedule = find_schedule(invocation, store, name)
            task = self.schedule.task
            self.reading = Reading(store, invocation.state)
            self.runs = [really(store, invocation.state, run) for run in store.runs(task=task, limit=FEW)]
            active = (really(store, invocation.state, run) for run in store.active(task))
            self.running = [run for run in active if run.state == RUNNING]
        self.now = utc_now()
        self.upcoming = list(islice(upcoming(self.schedule, self.now), FEW))


def upcoming(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """Yield the fire times to come, beginning with one that is overdue."""
    if schedule.trigger is None or schedule.vanished_at:
        return
    from ..triggers import parse_trigger

    try:
        trigger = parse_trigger(schedule.trigger)
    except BadTrigger:
        return  # another version's
    moment = schedule.next_fire_time
    while moment is not None:
        yield moment
        moment = trigger.next_after(max(moment, now))


def print_task(invocation: Invocation, name: str) -> None:
    shown, zone, paper = Shown(invocation, name), invocation.zone(), invocation.paper
    schedule, policy = shown.schedule, Policy.from_text(shown.schedule.policy)
    print(paper.paint(visible_line(schedule.name), "bold"))
    if schedule.description:
        print(f"  {visible_line(schedule.description)}")
    print()
    facts = [
        ("Schedule", visible_line(schedule_in_words(schedule.trigger))),
        ("", paper.paint(visible_line(schedule.trigger or ""), "dim")),
        ("Now", visible_line("; ".join(_now(invocation, shown, zone)))),
        ("Defined", visible_line(f"{invocation.site.docroot}/{schedule.source}")),
        ("Limits", limits_in_words(policy)),
        ("Keeps", keeping_in_words(policy)),
    ]
    for label, words in facts:
        if words:
            print(f"  {label:<10}{words}")
    if shown.upcoming:
        print(f"\n  Next, in {zone.key} and in UTC")
        for moment in shown.upcoming:
            left = (moment - shown.now).total_seconds()
            when = f"in {about(left)}" if left > 0 else "due"
            print(f"    {moment.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}  {rfc3339(moment)}  {when}")
    _print_runs(invocation, shown, zone)


def _print_runs(invocation: Invocation, shown: Shown, zone: tzinfo) -> None:
    paper = invocation.paper
    if not shown.runs:
        print(f"\n  It has never run. Run it now: {invocation.command(shown.schedule.task)}")
        return
    print("\n  Last runs")
    for line in run_table(shown.runs, paper, now=shown.now, zone=zone, with_task=False):
        print(line)
    print(paper.paint(f"Output: {invocation.command('log', shown.schedule.task)}", "dim"))


def _now(invocation: Invocation, shown: Shown, zone: tzinfo) -> Iterator[str]:
    """Yield what the task does now, and all that keeps it from running."""
    schedule, now = shown.schedule, shown.now
    for run in shown.running:
        yield _at_work(run, now, zone)
    queued = shown.reading.queued.get(schedule.name)
    if queued:
        yield f"queued since {since_in_words(queued.queued_at, now, zone)}"
    if shown.reading.problem:
        yield f"waits for the task file to be mended ({shown.reading.problem})"
    if not invocation.config.enabled:
        yield f"switched off with the whole site (enabled = false in {invocation.config.origin('enabled')})"
    if schedule.vanished_at:
        yield f"gone from the file since {since_in_words(schedule.vanished_at, now, zone)}"
    elif schedule.held_at:
        why = f" ({schedule.held_why})" if schedule.held_why else ""
        yield f"{next_in_words(schedule, now, zone, 0)[0]} since {since_in_words(schedule.held_at, now, zone)}{why}"
    elif schedule.trigger is None:
        if not shown.running:
            yield f"runs on demand only: {invocation.command(schedule.task)}"
    else:
        words, _ = next_in_words(schedule, now, zone, invocation.config.late_after)
        yield words if words.startswith(("late", "due", "no more")) else f"next {words}"


def _at_work(run: Run, now: datetime, zone: tzinfo) -> str:
    started = run.started_at or run.queued_at
    asked = f", asked to stop by {run.stop_by}" if run.stop_at else ""
    return f"running since {since_in_words(started, now, zone)} as process {run.pid} on {run.host}{asked}"


def print_task_as_json(invocation: Invocation, name: str) -> None:
    shown = Shown(invocation, name)
    schedule = shown.schedule
    policy = Policy.from_text(schedule.policy)
    print_json(
        {
            **schedule_as_json(schedule, shown.reading.last_runs.get(schedule.name)),
            "schedule": schedule_in_words(schedule.trigger),
            "description": schedule.description,
            "source": schedule.source,
            "held_by": schedule.held_by,
            "held_why": schedule.held_why,
            "vanished_at": rfc3339(schedule.vanished_at) if schedule.vanished_at else None,
            "problem": shown.reading.problem,
            "now": "; ".join(_now(invocation, shown, invocation.zone())),
            "policy": {key: getattr(policy, key) for key in policy.__slots__},
            "next_fire_times": moments_as_json(shown.upcoming),
            "runs": [run_as_json(run) for run in shown.runs],
        }
    )
