"""``list``: every task, when it runs next, when it last ran and how that went."""

from __future__ import annotations

import os
import shutil
import sys
import time
from textwrap import indent

from ..clock import utc_now
from ..errors import StoreMissing, suggestion
from ..filters import Filter
from ..report.banners import banners
from ..report.lines import LESSON, counted
from ..report.reading import Reading, read, schedule_as_json
from .output import print_json
from .tables import task_lines, task_table, tasks_counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ..model import Schedule
    from .invocation import Invocation
    from .tables import Line


#: Seconds between two drawings of ``list -w``.
REDRAW_EVERY = 1.0

#: A line that wraps would make the screen scroll (DECAWM).
_CUT_LINES, _WRAP_LINES = "\033[?7l", "\033[?7h"

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\033[H", "\033[K", "\033[J"

#: What a list can be sorted by.
SORTS = ("name", "next", "last")


class Selection:
    """Which schedules a list shows, and in which order.

    :param sort: one of :data:`SORTS`; None for trouble first.
    :raises ValueError: there is no such order, or state.
    """

    def __init__(
        self, *, sort: str | None = None, reverse: bool = False, state: str | None = None, task: str | None = None,
        text: str | None = None,
    ) -> None:  # fmt: skip
        if sort is not None and sort not in SORTS:
            raise ValueError(f"--sort: {sort!r:.60} is none.{suggestion(sort[:60], list(SORTS))}")
        try:
            self.filter = Filter(state, task, text)
        except ValueError as error:
            raise ValueError(f"--state: {error}") from None
        self.sort, self.reverse = sort, reverse

    def of(self, reading: Reading, now: datetime) -> list[Schedule]:
        """Return what is to be shown, sorted if that is wanted."""
        found = self.filter.among(
            reading.schedules, now, last_runs=reading.last_runs, running=reading.running,
            site_held=reading.site_hold is not None,
        )  # fmt: skip
        return found if self.sort is None else self.sorted(found, reading)

    def sorted(self, schedules: list[Schedule], reading: Reading) -> list[Schedule]:
        """Return schedules in the order that is wanted; what has no such moment comes last either way."""
        keys = {schedule.name: self._key(schedule, reading) for schedule in schedules}
        with_key = [schedule for schedule in schedules if keys[schedule.name] is not None]
        without = [schedule for schedule in schedules if keys[schedule.name] is None]
        return [*sorted(with_key, key=lambda schedule: keys[schedule.name], reverse=self.reverse), *without]

    def _key(self, schedule: Schedule, reading: Reading) -> Any:
        match self.sort:
            case "next":
                return None if schedule.held_at or schedule.vanished_at else schedule.next_fire_time
            case "last":
                run = reading.last_runs.get(schedule.name)
                return run and (run.started_at or run.queued_at)
        return schedule.name.casefold()

    def arranged(self, lines: list[Line], schedules: list[Schedule]) -> list[Line]:
        """Return the lines of a list in the order that is wanted."""
        if self.sort is None:
            return lines[::-1] if self.reverse else lines
        place = {schedule.name: number for number, schedule in enumerate(schedules)}
        return sorted(lines, key=lambda line: place[line.schedule.name])


def print_list(invocation: Invocation) -> None:
    print("\n".join(list_lines(invocation)))


def print_list_as_json(invocation: Invocation) -> None:
    try:
        reading = read(invocation)
    except StoreMissing:
        return print_json([])
    last_runs, queued = reading.last_runs, reading.queued
    selection = invocation.selection or Selection()
    schedules = selection.of(reading, utc_now())
    if selection.reverse and selection.sort is None:
        schedules.reverse()
    print_json([schedule_as_json(each, last_runs.get(each.name), queued.get(each.name)) for each in schedules])


def watch_list(invocation: Invocation) -> None:
    """Keep the list on the screen until Ctrl-C."""
    sys.stdout.write(_CUT_LINES)
    try:
        while True:
            invocation.look_again()
            lines = list_lines(invocation)
            height = shutil.get_terminal_size().lines
            if len(lines) >= height:
                lines = [*lines[: height - 2], f"  {invocation.paper.dots()} {len(lines) - height + 2} more lines"]
            text = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
            sys.stdout.write(_HOME + text + _CLEAR_BELOW)
            sys.stdout.flush()
            time.sleep(REDRAW_EVERY)
    except KeyboardInterrupt:
        print()
    finally:
        sys.stdout.write(_WRAP_LINES)


def list_lines(invocation: Invocation) -> list[str]:
    """Return all that ``list`` prints."""
    try:
        reading = read(invocation)
    except StoreMissing:
        return _untouched(invocation)
    now, zone, paper = utc_now(), invocation.zone(), invocation.paper
    above: list[str] = []
    for banner in banners(invocation, reading, reading.schedules, now, zone):
        above += banner.lines(paper)
    if above:
        above.append("")
    if not reading.schedules:
        return above + (_teach(invocation) if reading.was_loaded else _untouched(invocation))
    late_after, selection = invocation.config.late_after, invocation.selection or Selection()
    schedules = selection.of(reading, now)
    if not schedules:
        return [*above, f"None of {tasks_in_all(reading.schedules)} is such a one."]
    lines = task_lines(
        schedules, reading.last_runs, reading.queued, now=now, zone=zone, late_after=late_after,
        site_held=reading.site_hold is not None,
    )  # fmt: skip
    lines = selection.arranged(lines, schedules)
    details = f"Details: {invocation.command('show', lines[0].schedule.name)}"
    footer = f"{tasks_counted(lines, zone.key)}   {details}"
    return [*above, *task_table(lines, paper), paper.paint(footer, "dim")]


def tasks_in_all(schedules: list[Schedule]) -> str:
    """Return how many there are, in words."""
    return counted(len(schedules), "schedule")


def _untouched(invocation: Invocation) -> list[str]:
    """Say what to do next on a site whose task file nobody has looked at."""
    if not os.path.exists(invocation.state.task_file):
        return _teach(invocation)
    return [
        f"{invocation.state.task_file} has not been looked at yet.",
        f"Take it in:       {invocation.command('load')}",
        f"or run a task:    {invocation.command('TASKNAME')}",
    ]


def _teach(invocation: Invocation) -> list[str]:
    lesson = indent(LESSON, "    ").splitlines()
    lines = [f"No tasks yet. Put a Task subclass in {invocation.state.task_file}:", "", *lesson, ""]
    if os.path.exists(invocation.state.task_file):
        return lines
    return [*lines, f"or have one written: {invocation.command('init')}"]


