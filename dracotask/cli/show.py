"""``show``: all there is to know of one task, and why it is not at work now."""

from __future__ import annotations

import json
from itertools import islice

from ..clock import rfc3339, utc_now
from ..model import RUNNING, Policy
from ..report.reading import (
    Reading,
    action_as_json,
    find_schedule,
    moments_as_json,
    open_to_read,
    really,
    run_as_json,
    runs_of,
    schedule_as_json,
    values_as_json,
)
from ..report.upcoming import upcoming
from ..report.why import at_work, obstacles, queue_in_words, what_comes
from ..report.words import (
    about,
    action_in_words,
    arguments_in_words,
    failing_in_words,
    keeping_in_words,
    lateness_in_words,
    limits_in_words,
    moment_in_words,
    on_clock,
    parameters_in_words,
    policy_in_words,
    rule_in_short,
    schedule_in_words,
)
from ..stores.holds import SiteHold
from ..visible import visible_line
from .output import print_json
from .tables import run_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from typing import Any

    from .invocation import Invocation

#: So many of the next fire times, of the last Runs and of what was done last.
FEW = 5

#: The keys of the JSON that are the Schedule's own, beyond those of the list.
OWN_KEYS = (
    "description", "source", "override", "held_at", "held_by", "held_why", "held_until", "skip_until", "skip_why",
    "vanished_at", "failures",
)  # fmt: skip


class Shown:
    """One Schedule with its last Runs, and the site's notes, as read at one moment."""

    def __init__(self, invocation: Invocation, name: str) -> None:
        state = invocation.state
        with open_to_read(invocation) as store:
            self.schedule = find_schedule(invocation, store, name)
            self.reading = Reading(store, state)
            self.runs = [really(store, state, run) for run in runs_of(store, self.schedule, limit=FEW)]
            active = (really(store, state, run) for run in store.active(name))
            self.running = [run for run in active if run.state == RUNNING]
            self.actions = store.actions(schedule=name, limit=FEW)
        self.now = utc_now()
        self.upcoming = list(islice(upcoming(self.schedule, self.now, self.reading.site_hold is not None), FEW))


def print_task(invocation: Invocation, name: str) -> None:
    shown, paper = Shown(invocation, name), invocation.paper
    schedule = shown.schedule
    print(paper.paint(visible_line(schedule.name), "bold"))
    if schedule.description:
        print(f"  {visible_line(schedule.description)}")
    print()
    for label, words in _facts(invocation, shown):
        if words:
            line = visible_line(words)
            print(f"  {label:<10}{line if label else paper.paint(line, 'dim')}")
    _print_upcoming(invocation, shown)
    _print_actions(shown, invocation.zone())
    _print_runs(invocation, shown)


def _facts(invocation: Invocation, shown: Shown) -> Iterator[tuple[str, str]]:
    """Yield a label and words for each fact; without a label the line belongs to the one above."""
    schedule, policy = shown.schedule, Policy.from_text(shown.schedule.policy)
    yield "Schedule", schedule_in_words(schedule.in_force)
    yield "", rule_in_short(schedule.in_force)
    if schedule.override:
        yield "", f"until the file says otherwise; there it is {schedule_in_words(schedule.trigger)}"
        yield "", rule_in_short(schedule.trigger)
    yield "Now", "; ".join(_now(invocation, shown))
    if not schedule.declared:
        yield "Task", f"{schedule.task}, added at run time"
    yield "Handed", arguments_in_words(json.loads(schedule.arguments))
    yield "Takes", parameters_in_words(schedule.parameters)
    yield "Defined", f"{invocation.site.docroot}/{schedule.source}"
    yield "Limits", limits_in_words(policy)
    yield "Late", lateness_in_words(policy)
    yield "Failing", failing_in_words(policy)
    yield "Its own", policy_in_words(schedule.own_policy)
    yield "Keeps", keeping_in_words(policy)


def _now(invocation: Invocation, shown: Shown) -> Iterator[str]:
    """Yield what the task does now, all that keeps it from running, and when it is due."""
    schedule, reading, now, zone = shown.schedule, shown.reading, shown.now, invocation.zone()
    for run in shown.running:
        yield at_work(run, now, zone)
    if schedule.name in reading.queued:
        yield queue_in_words(invocation, reading.queued[schedule.name], now, zone)
    if schedule.failures and schedule.failures > 1 and not schedule.held_at:
        yield f"has failed {schedule.failures} times in a row"
    if schedule.demand:
        yield f"once more after that, as {schedule.demand} demanded"
    yield from obstacles(invocation, reading, schedule, now, zone)
    if not (schedule.held_at or schedule.vanished_at or reading.site_hold):
        by_hand = f": {invocation.command(schedule.name)}" if schedule.in_force is None and not shown.running else ""
        yield what_comes(schedule, now, zone, invocation.config.late_after) + by_hand


def _print_upcoming(invocation: Invocation, shown: Shown) -> None:
    zone = invocation.zone()
    if shown.upcoming:
        print(f"\n  Next, in {zone.key} and in UTC")
    for each in shown.upcoming:
        left = (each.fire_time - shown.now).total_seconds()
        when = "; ".join([f"in {about(left)}" if left > 0 else "due", *each.notes])
        local = on_clock(each.fire_time, zone)
        print(visible_line(f"    {local:%a %Y-%m-%d %H:%M:%S %Z}  {rfc3339(each.fire_time)}  {when}"))


def _print_actions(shown: Shown, zone: tzinfo) -> None:
    if shown.actions:
        print("\n  What was done to it")
    for action in shown.actions:
        when = moment_in_words(action.at.replace(microsecond=0), shown.now, zone)
        print(visible_line(f"    {when}  {action_in_words(action, shown.now, zone)}"))


def _print_runs(invocation: Invocation, shown: Shown) -> None:
    paper, name = invocation.paper, shown.schedule.name
    if not shown.runs:
        print(f"\n  It has never run. Run it now: {visible_line(invocation.command(name))}")
        return
    print("\n  Last runs")
    for line in run_table(shown.runs, paper, now=shown.now, zone=invocation.zone(), with_task=False):
        print(line)
    print(paper.paint(visible_line(f"Output: {invocation.command('log', name)}"), "dim"))


def print_task_as_json(invocation: Invocation, name: str) -> None:
    shown = Shown(invocation, name)
    schedule = shown.schedule
    policy = Policy.from_text(schedule.policy)
    hold = shown.reading.site_hold
    print_json(
        {
            **schedule_as_json(
                schedule, shown.reading.last_runs.get(schedule.name), shown.reading.queued.get(schedule.name)
            ),
            "schedule": schedule_in_words(schedule.in_force),
            **values_as_json(schedule, OWN_KEYS),
            "site_held": values_as_json(hold, SiteHold.__slots__) if hold else None,
            "arguments": json.loads(schedule.arguments),
            "parameters": _parameters_as_json(schedule.parameters),
            "problem": shown.reading.problem,
            "now": "; ".join(_now(invocation, shown)),
            "progress": [_progress_as_json(run) for run in shown.running],
            "policy": {key: getattr(policy, key) for key in policy.__slots__},
            "own_policy": json.loads(schedule.own_policy or "{}"),
            "next_fire_times": moments_as_json([each.fire_time for each in shown.upcoming]),
            "notes": {rfc3339(each.fire_time): each.notes for each in shown.upcoming if each.notes},
            "actions": [action_as_json(action) for action in shown.actions],
            "runs": [run_as_json(run) for run in shown.runs],
        }
    )


def _parameters_as_json(parameters: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "kind": kind, "needed": needed} for name, kind, needed in json.loads(parameters or "[]")]


def _progress_as_json(run: Any) -> dict[str, Any]:
    return {"run": run.id, "done": run.progress_done, "total": run.progress_total, "note": run.progress_note}
