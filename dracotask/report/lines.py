"""What matters most about each schedule in a list, and the order that follows from it: trouble first."""

from __future__ import annotations

from ..model import FAILURES, RUNNING, SUCCEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol

    class Listed(Protocol):
        """A Schedule, or as much of one as a list needs."""

        @property
        def held_at(self) -> datetime | None: ...
        @property
        def vanished_at(self) -> datetime | None: ...
        @property
        def next_fire_time(self) -> datetime | None: ...


#: What an empty list teaches: the whole of a first task.
LESSON = """\
from dracotask import Task

class Hello(Task):
    def __init__(self):
        self.schedule(hour=3)
    def run(self):
        return "it works"
"""


def mark_of(schedule: Listed, last_state: str | None, late: bool, site_held: bool = False) -> str:
    """Return what matters most about a Schedule now: ``failed``, ``running``, ``ok``, ``late``, ``held`` or "".

    :param last_state: the state of its newest Run that was started; None without one.
    :param late: whether it should have run long ago.
    :param site_held: whether the whole site is held, which must not hide that something has failed.
    """
    if last_state == RUNNING:
        return "running"
    if schedule.vanished_at:
        return ""
    if schedule.held_at:
        return "held"
    if last_state in FAILURES:
        return "failed"
    if site_held:
        return "held"
    if late:
        return "late"
    return "ok" if last_state == SUCCEEDED else ""


def rank_of(schedule: Listed, mark: str) -> tuple[int, float]:
    """Return what a list is sorted by: trouble first, then what is next, then what never comes by itself."""
    if mark in ("failed", "late", "running"):
        return ("failed", "late", "running").index(mark), 0.0
    if schedule.vanished_at:
        return 6, 0.0
    if mark == "held":
        return 4, 0.0
    moment = schedule.next_fire_time
    return (3, moment.timestamp()) if moment else (5, 0.0)


def counted(number: int, noun: str) -> str:
    """Return how many of something there are: "1 task", "12 tasks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
