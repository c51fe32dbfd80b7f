"""Scheduler: what a program can say to schedules while they run.

    Scheduler("/srv/shop").hold("NightlyReport", until="2h", why="the database moves")

speaks to a site: each word is one transaction of its store, and in force with it for every worker, host and restart.
Its Runs are processes, started by the site's ticks.

    scheduler = Scheduler()
    scheduler.add(sweep_sessions, every="1m")
    scheduler.start()

has schedules in this process's memory and does the work in its threads, for what must see the application's own
memory. It forgets with the process, and each process has its own.
"""

from __future__ import annotations

import os
import sys
from typing import overload

from .clock import moment_of, parse_duration, utc_now
from .model import OMITTED
from .rules import rule_of
from .triggers import parse_trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta
    from typing import Any, Self

    from .homes.base import Home
    from .model import Action, Run, Schedule
    from .task import Task
    from .triggers.base import Trigger

#: How many Runs of a program's own Scheduler are at work at once, unless it says otherwise.
MAX_RUNNING = 8

#: How long (seconds) stop() waits for what is at work.
STOP_PATIENCE = 5.0


class Scheduler:
    """The schedules of a site, or of this program.

    It may be used from any thread, and after a fork. In a child that was forked, a program's own is not running: it has
    the schedules as they were, and :meth:`start` there begins anew.

    :param docroot: the site's folder; None for schedules of this program.
    :param by: who speaks, in words, for the record; the program's name by default.
    :param max_running: of this program: how many Runs are at work at most. (The rest is for a program too: a site has
        all that in dracotask.toml.)
    :param on_error: called with the Run and the exception when one has failed, which is logged in any case, with its
        traceback, by ``dracotask.scheduler``.
    :param timezone: the zone of cron rules, an IANA name; the server's by default.
    :param clock: tells the time, for tests.
    :raises DocrootNotFound: ``docroot`` is not a folder.
    """

    def __init__(
        self,
        docroot: str | os.PathLike[str] | None = None,
        *,
        by: str | None = None,
        max_running: int | None = None,
        on_error: Callable[[Run, BaseException], object] | None = None,
        timezone: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        speaker = by or os.path.basename(sys.argv[0] if sys.argv else "") or "a program"
        if docroot is None:
            self._home = _program_home(speaker, max_running, on_error, timezone, clock)
        elif max_running is not None or on_error is not None or timezone is not None:
            raise TypeError(f"max_running, on_error and timezone of {docroot} stand in its dracotask.toml, not here.")
        else:
            self._home = _site_home(docroot, speaker)

    # -- Life of a program's own scheduler -------------------------------------------------

    def start(self) -> None:
        """Start to look and to run what is due; once more does no harm, nor does it after :meth:`stop`.

        What is queued and what came due meanwhile is done at once, each schedule once.

        :raises ControlError: it is a site's, whose ticks start by themselves.
        """
        self._home.start()

    @property
    def is_running(self) -> bool:
        """Whether it was started in this process; a site's always is."""
        return self._home.is_running()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @overload
    def stop(self, *, wait: str | float | timedelta = STOP_PATIENCE) -> list[str]: ...

    @overload
    def stop(self, name: str, *, why: str | None = None, grace: str | float | timedelta | None = None) -> list[Run]: ...

    def stop(
        self,
        name: str = OMITTED,
        *,
        why: str | None = None,
        grace: str | float | timedelta | None = None,
        wait: str | float | timedelta = STOP_PATIENCE,
    ) -> list[Run] | list[str]:
        """Stop a Run, by its id, or all of a schedule; without a name, a program's own scheduler.

        A thread cannot be ended from outside: there ``proceed()`` turns False, and the Run is ``stopped`` when it
        returns. The process of a site's Run is asked politely and ended after its grace.

        The scheduler itself starts nothing any more, asks all that is at work to stop, and waits. The schedules stay,
        for another :meth:`start`.

        :param grace: how long a site's Run has to come to an end; None for its policy's.
        :param wait: how long to wait for what is at work; 0 for not at all.
        :return: the Runs that were asked; of the scheduler itself, the names of the schedules still at work.
        :raises ScheduleNotFound: there is no such schedule or Run.
        """
        if name is OMITTED:
            return self._home.stop(parse_duration(wait).total_seconds())
        seconds = None if grace is None else parse_duration(grace).total_seconds()
        with self._home.control() as control:
            asked = control.stop(name, self._home.now(), why=why, grace=seconds)
        self._home.stop_runs(asked)
        return asked

    # -- Schedules that come and go --------------------------------------------------------

    def add(
        self,
        task: str | Callable[..., Any] | type[Task] | Task,
        minute: Any = OMITTED,
        hour: Any = OMITTED,
        dow: Any = OMITTED,
        *,
        cron: str = OMITTED,
        every: str | float | timedelta = OMITTED,
        at: str | datetime = OMITTED,
        trigger: Trigger | str | None = OMITTED,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        replace: bool = False,
        why: str | None = None,
    ) -> Schedule:
        """Add a schedule, with a rule as in ``Task.schedule()``. Without one it runs on demand only.

        A program's own schedule whose rule is over is forgotten when its last Run has ended, or within a minute when
        that was skipped; its history is not.

        :param task: of a site, the name of a Task; of a program a callable, a Task class (whose own rule counts when
            none is given) or a Task. Each Run has a shallow copy of a Task, with its own ``current_run``.
        :param trigger: a Trigger, or its text; None for on demand only.
        :param name: unique; in a program that of the function or class by default, taken or not.
        :param arguments: what ``run()``, or the callable, is handed by name; JSON has to know all of it.
        :param replace: whether an added schedule of that name may be there, to be replaced, in a program with its
            callable. What of it is at work goes on, and nothing new begins beside it. A hold stays, for it belongs to
            the name.
        :raises ScheduleNotFound: the site has no such Task.
        :raises ControlError: the name is taken; the arguments do not fit; the rule never fires.
        :raises BadTrigger: the rule makes no sense.
        """
        said = dict(minute=minute, hour=hour, dow=dow, cron=cron, every=every, at=at, trigger=trigger)
        rule = self._rule(said) if _is_said(said) else None
        prepared = self._home.prepare(task, name)
        with self._home.control() as control:
            enrolled = self._home.enrol(prepared, name)
            if not _is_said(said) and enrolled.trigger is not None:
                rule = parse_trigger(enrolled.trigger)
            now = self._home.now()
            return control.add(enrolled.name, enrolled.task, rule, now, arguments=arguments, replace=replace, why=why)

    def remove(self, name: str, *, why: str | None = None) -> Schedule:
        """Remove a schedule that was added, and return it. What is queued is skipped, what is at work goes on."""
        with self._home.control() as control:
            return control.remove(name, self._home.now(), why=why)

    def reschedule(
        self,
        name: str,
        minute: Any = OMITTED,
        hour: Any = OMITTED,
        dow: Any = OMITTED,
        *,
        cron: str = OMITTED,
        every: str | float | timedelta = OMITTED,
        at: str | datetime = OMITTED,
        trigger: Trigger | str | None = OMITTED,
        why: str | None = None,
    ) -> Schedule:
        """Give a schedule another rule, said as in ``Task.schedule()``; it counts at once.

        :param trigger: a Trigger, or its text; None to go back to the rule in the task file.
        """
        said = dict(minute=minute, hour=hour, dow=dow, cron=cron, every=every, at=at, trigger=trigger)
        if not _is_said(said):
            raise TypeError("reschedule() takes a rule: minute, hour, dow, cron=, every=, at= or trigger=.")
        rule = self._rule(said)
        with self._home.control() as control:
            return control.reschedule(name, rule, self._home.now(), why=why)

    # -- Schedules that wait ---------------------------------------------------------------

    def hold(
        self, name: str, *, until: str | float | timedelta | datetime | None = None, why: str | None = None
    ) -> Schedule:
        """Let nothing of a schedule begin from now on; what is at work goes on.

        :param until: a moment, or a length of time from now ("2h", a number of seconds); None for until
            :meth:`resume`.
        """
        now = self._home.now()
        end = None if until is None else moment_of(until, now)
        with self._home.control() as control:
            return control.hold(name, now, until=end, why=why)

    def resume(self, name: str, *, why: str | None = None) -> Schedule:
        """End a hold. What fell into it is one row of the history; nothing comes in a burst."""
        with self._home.control() as control:
            return control.resume(name, self._home.now(), why=why)

    def skip_next(self, name: str, *, why: str | None = None) -> Schedule:
        """Skip the next fire time that is not skipped yet."""
        with self._home.control() as control:
            return control.skip_next(name, self._home.now(), why=why)

    # -- Runs that are wanted --------------------------------------------------------------

    def run_now(
        self,
        name: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        while_held: bool = False,
        while_running: bool = False,
        why: str | None = None,
    ) -> Run:
        """Queue a Run of a schedule and return it. The schedule's own fire times stay as they are.

        :param arguments: instead of the schedule's; None for those.
        :param while_held: although it is held.
        :param while_running: beside the one at work; else it waits for that one's end.
        """
        with self._home.control() as control:
            return control.run_now(
                name,
                self._home.now(),
                arguments=arguments,
                while_held=while_held,
                while_running=while_running,
                why=why,
            )

    def demand(self, name: str, *, why: str | None = None) -> Run | None:
        """Have a schedule run once more: at once, or when the Run that is active has ended.

        :return: the queued Run; None when it comes after the present one. Several demands become one.
        """
        with self._home.control() as control:
            return control.demand(name, self._home.now(), why=why)

    # -- What there is, what ran, who did what ---------------------------------------------

    def schedules(self) -> list[Schedule]:
        """Return every schedule, as copies, in the order in which they were first seen."""
        with self._home.reading() as store:
            return store.schedules()

    def schedule(self, name: str) -> Schedule | None:
        """Return a schedule, as a copy; None when there is none of that name."""
        with self._home.reading() as store:
            return store.schedule(name)

    def runs(
        self, name: str | None = None, *, states: Iterable[str] | None = None, limit: int | None = 20
    ) -> list[Run]:
        """Return the history, newest first, as copies.

        :param name: of this schedule, there or not; None for all.
        :param states: in these only: ``queued running succeeded failed timed_out stopped lost skipped missed``.
        :param limit: at most so many; None for all.
        """
        with self._home.reading() as store:
            return store.runs(schedule=name, states=states, limit=limit)

    def run(self, run_id: str) -> Run | None:
        """Return a Run as it is now; None when there is none of that id."""
        with self._home.reading() as store:
            return store.run(run_id)

    def actions(self, name: str | None = None, *, limit: int | None = 20) -> list[Action]:
        """Return who did what, newest first.

        :param name: to this schedule; None for all.
        """
        with self._home.reading() as store:
            return store.actions(schedule=name, limit=limit)

    # -- Rules -----------------------------------------------------------------------------

    def _rule(self, said: dict[str, Any]) -> Trigger | None:
        trigger = said["trigger"]
        if trigger is None:
            if any(value is not OMITTED for key, value in said.items() if key != "trigger"):
                raise TypeError("trigger=None says that there is no rule: give none beside it.")
            return None
        if isinstance(trigger, str):
            said = {**said, "trigger": parse_trigger(trigger)}
        rule = rule_of(**said)
        return rule(self._home.zone()) if callable(rule) else rule


def _is_said(said: Mapping[str, object]) -> bool:
    return any(value is not OMITTED for value in said.values())


# (Each home is imported by whoever lives there: a site's brings SQLite along, a program's threads.)


def _program_home(
    by: str,
    max_running: int | None,
    on_error: Callable[[Run, BaseException], object] | None,
    timezone: str | None,
    clock: Callable[[], datetime],
) -> Home:
    from .homes.program import ProgramHome

    bound = MAX_RUNNING if max_running is None else max_running
    if isinstance(bound, bool) or not isinstance(bound, int) or bound < 1:
        raise ValueError(f"max_running={max_running!r:.60} cannot be: it is a whole number, at least 1.")
    return ProgramHome(by=by, max_running=bound, timezone=timezone, on_error=on_error, clock=clock)


def _site_home(docroot: str | os.PathLike[str], by: str) -> Home:
    from .homes.site import SiteHome

    return SiteHome(docroot, by)
