"""``list``: every task, when it runs next, when it last ran and how that went."""

from __future__ import annotations

import os
import shutil
import sys
import time

from ..clock import utc_now
from ..errors import StoreMissing
from .banners import banners
from .output import print_json
from .reading import read, schedule_as_json
from .tables import task_lines, task_table, tasks_counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .invocation import Invocation


#: Seconds between two drawings of ``list -w``.
REDRAW_EVERY = 1.0

#: A line that wraps would make the screen scroll (DECAWM).
_CUT_LINES, _WRAP_LINES = "\033[?7l", "\033[?7h"

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\033[H", "\033[K", "\033[J"

LESSON = """\
    from dracotask import Task

    class Hello(Task):
        def __init__(self):
            self.schedule(hour=3)
        def run(self):
            return "it works"
"""


def print_list(invocation: Invocation) -> None:
    print("\n".join(list_lines(invocation)))


def print_list_as_json(invocation: Invocation) -> None:
    try:
        reading = read(invocation)
    except StoreMissing:
        return print_json([])
    print_json([schedule_as_json(each, reading.last_runs.get(each.name)) for each in reading.schedules])


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
    for banner in banners(invocation, reading, now, zone):
        above += banner.lines(paper)
    if above:
        above.append("")
    if not reading.schedules:
        return above + (_teach(invocation) if reading.was_loaded else _untouched(invocation))
    late_after = invocation.config.late_after
    lines = task_lines(
        reading.schedules, reading.last_runs, reading.queued, now=now, zone=zone, late_after=late_after,
        site_held=reading.site_hold is not None,
    )  # fmt: skip
    details = f"Details: {invocation.command('show', lines[0].schedule.name)}"
    footer = f"{tasks_counted(lines, zone.key)}   {details}"
    return [*above, *task_table(lines, paper), paper.paint(footer, "dim")]


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
    lines = [f"No tasks yet. Put a Task subclass in {invocation.state.task_file}:", "", *LESSON.splitlines(), ""]
    if os.path.exists(invocation.state.task_file):
        return lines
    return [*lines, f"or have one written: {invocation.command('init')}"]


