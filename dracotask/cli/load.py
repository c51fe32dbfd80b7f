"""``load``: take in the task file now, and say what that changed."""

from __future__ import annotations

import os

from ..clock import utc_now
from ..errors import LoadError
from ..report.words import schedule_in_words
from ..triggers.listed import is_same_rule
from ..visible import visible_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Schedule
    from ..run.load import Loaded
    from .invocation import Invocation


def load(invocation: Invocation) -> None:
    """Load the task file and print the tasks it declares, each with what is new about it.

    :raises LoadError: it is broken, and the last good set stays in force.
    """
    site = invocation.to_act()
    site.prepare()
    before = _schedules(invocation)
    loaded = site.load()
    if loaded.problem:
        raise LoadError(f"{site.state.task_file} is broken: {loaded.problem}")
    for line in summary(loaded, before):
        print(line)
    if not loaded.declared:
        kind = "defines no task" if os.path.exists(site.state.task_file) else "does not exist"
        print(f"{site.state.task_file} {kind}. See: {invocation.command()}")


def _schedules(invocation: Invocation) -> dict[str, Schedule]:
    with invocation.site.open_store() as store:
        return {each.name: each for each in store.schedules() if each.declared and not each.vanished_at}


def summary(loaded: Loaded, before: dict[str, Schedule]) -> list[str]:
    """Return a line for each task: ``+`` new, ``~`` with a new schedule, ``-`` gone from the file."""
    names = [declared.name for declared in loaded.declared]
    width = max(map(len, [*names, *before]), default=0)
    lines = []
    for declared in loaded.declared:
        known = before.get(declared.name)
        sign = "+" if known is None else " " if is_same_rule(known.trigger, declared.trigger, utc_now()) else "~"
        was = f", was {schedule_in_words(known.trigger)}" if known and sign == "~" else ""
        lines.append(f"{sign} {declared.name:<{width}}  {schedule_in_words(declared.trigger)}{was}")
    lines += [f"- {name:<{width}}  gone from the file" for name in before if name not in names]
    return [visible_line(line) for line in lines]
