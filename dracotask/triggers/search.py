"""Searching, with an end: some triggers have to try fire times of others until one will do.

Two rules may never agree, and a window may always be closed when a rule fires. Every try is a step, those of
the searches within a search count too, and when all steps are used up there is no fire time. So nothing hangs,
however triggers are nested, and every host gives up at the same moment.
"""

from __future__ import annotations

from _thread import _local
from datetime import UTC, datetime

from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: The method ``next_after`` of a trigger that searches.
    Search = Callable[[Any, datetime], datetime | None]

#: How many fire times are tried for one answer: some ten years of a rule for each day, tried against another.
MOST_STEPS = 10_000

#: What had no fire time since then, and has none to come, never fires.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class TooFar(Exception):
    """Raised when all steps of a search are used up.

    :ivar reached: the moment at which it was.
    """

    def __init__(self, reached: datetime) -> None:
        super().__init__(reached)
        self.reached = reached


class _Steps(_local):
    """How many steps the search of this thread has left; None when there is none under way."""

    left: int | None = None


_steps = _Steps()


def bounded(search: Search) -> Search:
    """Return a ``next_after`` that gives None when its search, the outermost one, was given up.

    It gives None beyond the years there are as well.
    """

    def next_after(trigger: Any, moment: datetime) -> datetime | None:
        if _steps.left is not None:
            return search(trigger, moment)
        try:
            return _counted(search, trigger, moment)
        except (TooFar, OverflowError):
            return None

    next_after.__doc__ = search.__doc__
    return next_after


def step(trigger: Trigger, moment: datetime) -> datetime | None:
    """Return what comes next after ``moment`` by a trigger within a search.

    :raises TooFar: this is one step too many.
    """
    if not _steps.left:
        raise TooFar(moment)
    _steps.left -= 1
    return trigger.next_after(moment)


def refuse_never(trigger: Trigger, now: datetime, why: str) -> None:
    """Refuse a trigger that has no fire time, neither after ``now`` nor before.

    :param why: what is the matter with it then, as the end of a sentence.
    :raises BadTrigger: saying how far was looked.
    """
    if trigger.next_after(now) is not None or trigger.next_after(LONG_AGO) is not None:
        return
    try:
        _counted(type(trigger).next_after, trigger, now)
        before = ""
    except TooFar as given_up:
        before = f" before {given_up.reached.year}"
    except OverflowError:
        before = ""
    raise BadTrigger(f"'{str(trigger)[:200]}' never fires: {why}{before}.")


def _counted(search: Search, trigger: Trigger, moment: datetime) -> datetime | None:
    _steps.left = MOST_STEPS
    try:
        return search(trigger, moment)
    finally:
        _steps.left = None
