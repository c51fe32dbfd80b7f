"""Which schedules somebody wants to see: by what is the matter with them, by their Task, by a word."""

from __future__ import annotations

from .errors import suggestion
from .model import ACTIVE, ENDED, FAILURES, NEVER_STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from .model import Run, Schedule
    from .stores.reading import Glance

HELD, DUE, WAITING, AT_WORK, FAILING = "held", "due", "waiting", "running", "failing"
ON_DEMAND, GONE = "on-demand", "gone"

#: What can be the matter with a schedule; several may be.
MATTERS = (HELD, DUE, WAITING, AT_WORK, FAILING, ON_DEMAND, GONE)

RUN_STATES = (*ACTIVE, *ENDED, *NEVER_STARTED)


class Filter:
    """What is asked of schedules.

    :param state: one of :data:`MATTERS`; None for any.
    :param task: the name of their Task; None for any.
    :param text: stands in their name, task, description or rule, in capitals or not; None for any.
    :raises ValueError: there is no such state; TypeError: an argument is no text.
    """

    __slots__ = ("state", "task", "text")

    def __init__(self, state: str | None = None, task: str | None = None, text: str | None = None) -> None:
        for name, value in (("state", state), ("task", task), ("text", text)):
            if not isinstance(value, str | None):
                raise TypeError(f"{name}={value!r:.60} is a {type(value).__name__}, and no text.")
        if state is not None and state not in MATTERS:
            raise ValueError(f"{state!r:.60} is no state of a schedule.{suggestion(state[:60], list(MATTERS))}")
        self.state, self.task, self.text = state, task, text and text.casefold()

    def among(
        self,
        schedules: Iterable[Schedule],
        now: datetime,
        *,
        last_runs: Mapping[str, Run],
        running: Iterable[Run],
        site_held: bool,
    ) -> list[Schedule]:
        """Return those of the schedules that are wanted.

        :param last_runs: the newest Run of each that was started, by its name.
        :param running: the Runs at work.
        """
        at_work = {run.schedule for run in running}
        return [
            schedule
            for schedule in schedules
            if self._takes(
                schedule,
                matters_of(
                    schedule, now, last_run=last_runs.get(schedule.name), is_running=schedule.name in at_work,
                    site_held=site_held,
                ),
            )
        ]  # fmt: skip

    def _takes(self, schedule: Schedule, matters: Collection[str]) -> bool:
        if self.state is not None and self.state not in matters:
            return False
        if self.task is not None and schedule.task != self.task:
            return False
        return not self.text or mentions(schedule, self.text)


def mentions(schedule: Schedule | Glance, text: str) -> bool:
    """Tell whether a schedule has a text in its name, task, description or rule.

    :param text: as ``casefold()`` returns it.
    """
    words = (schedule.name, schedule.task, schedule.description or "", schedule.in_force or "")
    return any(text in word.casefold() for word in words)


def matters_of(
    schedule: Schedule, now: datetime, *, last_run: Run | None, is_running: bool, site_held: bool
) -> set[str]:
    """Return all that is the matter with a schedule.

    :param last_run: the newest Run of it that was started.
    """
    if schedule.vanished_at:
        return {GONE}
    found = {HELD} if schedule.held_at or site_held else set()
    if schedule.in_force is None:
        found.add(ON_DEMAND)
    if schedule.next_fire_time is not None and not found & {HELD}:
        found.add(DUE if schedule.next_fire_time <= now else WAITING)
    if is_running:
        found.add(AT_WORK)
    if last_run is not None and last_run.state in FAILURES:
        found.add(FAILING)
    return found


def checked_states(states: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the states of Runs that are asked for; None for all.

    :raises TypeError: it is one word and no list of words; ValueError: there is no such state.
    """
    if states is None:
        return None
    if isinstance(states, str):
        raise TypeError(f"states={states!r:.60} is one text: write states=[{states!r:.60}].")
    wanted = tuple(states)
    for state in wanted:
        if state not in RUN_STATES:
            raise ValueError(f"{state!r:.60} is no state of a run.{suggestion(str(state)[:60], list(RUN_STATES))}")
    return wanted


def checked_limit(limit: object, name: str = "limit", *, or_none: bool = True) -> None:
    """Refuse what is no number of rows.

    :raises TypeError: it is no whole number; ValueError: it is negative.
    """
    if limit is None and or_none:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        remedy = ", or None for all" if or_none else ""
        raise TypeError(f"{name}={limit!r:.60} is no whole number{remedy}.")
    if limit < 0:
        raise ValueError(f"{name}={limit} is negative: it is how many at most.")
