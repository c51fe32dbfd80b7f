"""``show``: all there is to know of one task, and why it is not at work now."""

from __future__ import annotations

from ..clock import rfc3339
from ..report.reading import open_to_read
from ..report.shown import Shown
from ..report.words import about, action_in_words, moment_in_words, on_clock
from ..visible import visible_line
from .output import print_json
from .tables import run_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

    from .invocation import Invocation


def print_task(invocation: Invocation, name: str) -> None:
    with open_to_read(invocation) as store:
        shown = Shown(invocation, store, name)
    schedule, paper = shown.schedule, invocation.paper
    print(paper.paint(visible_line(schedule.name), "bold"))
    if schedule.description:
        print(f"  {visible_line(schedule.description)}")
    print()
    for label, words in shown.facts():
        if words:
            line = visible_line(words)
            print(f"  {label:<10}{line if label else paper.paint(line, 'dim')}")
    _print_upcoming(invocation, shown)
    _print_actions(shown, invocation.zone())
    _print_runs(invocation, shown)


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
    with open_to_read(invocation) as store:
        shown = Shown(invocation, store, name)
    print_json(shown.as_json())
