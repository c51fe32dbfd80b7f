"""Scheduler: what a program can say to schedules while they run.

    Scheduler("/srv/shop").hold("NightlyReport", until="2h", why="the database moves")

speaks to a site: each word is one transaction of its store, and in force with it for every worker, host and restart.
Its Runs are processes, started by the site's ticks.

    scheduler = Scheduler()
    scheduler.add(sweep_sessions, every="1m")
    scheduler.start()

has schedules in this process's memory and does the work in its threads, or on its event loop, for what must see the
application's own memory. It forgets with the process, and each process has its own.
"""

from __future__ import annotations

import os
import sys
from typing import overload

from .clock import moment_of, parse_duration, utc_now
from .control import CHANGEABLE, refuse_unknown
from .errors import BadTrigger, suggestion
from .filters import Filter, checked_limit, checked_states
from .model import OMITTED
from .previews import next_few, trigger_said
from .rules import RULE_KEYWORDS, is_said, rule_of
from .stores.base import HOLD_NOTE
from .transfer import exported, imported
from .triggers import parse_trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date, datetime, timedelta
    from typing import Any, Self, TypeVar

    from .events import Event
    from .homes.base import Home
    from .homes.listening import Listening
    from .model import Action, Run, Schedule
    from .rules import Rule
    from .tasks import Task
    from .triggers.base import Trigger

    Told = TypeVar("Told", bound=Callable[[Any], object])

#: How many Runs of a program's own Scheduler are at work at once, unless it says otherwise.
MAX_RUNNING = 8

#: Where a program's own Runs are done that are no coroutines: in a few threads, or in the one that looks.
LAUNCHERS = ("thread", "inline")

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
    :param launcher: ``"thread"``, or ``"inline"``: one Run after the other in the one thread that looks at the clock,
        for tests and tiny programs. Coroutine functions run on an event loop in any case.
    :param loop: the event loop for coroutine functions; None for the one that is running where :meth:`start` is called,
        or one of our own, in a thread.
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
        launcher: str | None = None,
        loop: AbstractEventLoop | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        speaker = by or os.path.basename(sys.argv[0] if sys.argv else "") or "a program"
        if docroot is None:
            self._home = _program_home(
                speaker, max_running, on_error, timezone, clock, launcher="thread" if launcher is None else launcher,
                loop=loop,
            )  # fmt: skip
        elif (max_running, on_error, timezone) != (None, None, None):
            raise TypeError(f"max_running, on_error and timezone of {docroot} stand in its dracotask.toml, not here.")
        elif (launcher, loop) != (None, None):
            raise TypeError(f"launcher and loop are for a program's own: the runs of {docroot} are processes.")
        else:
            self._home = _site_home(docroot, speaker)

    # -- Life of a program's own scheduler -------------------------------------------------

    def start(self, *, held: bool = False) -> None:
        """Start to look and to run what is due; once more does no harm, nor does it after :meth:`stop`.

        What is queued and what came due meanwhile is done at once, each schedule once.

        :param held: with all of it held, until :meth:`resume`.
        :raises ControlError: it is a site's, whose ticks start by themselves.
        """
        if held and not self.is_held:
            self._home.refuse_to_start()
            self.hold(why="started held")
        self._home.start()

    @property
    def is_running(self) -> bool:
        """Whether it was started in this process; a site's always is."""
        return self._home.is_running()

    @property
    def is_held(self) -> bool:
        """Whether all of it is held: by :meth:`hold` without a name, or ``hold --all`` on a command line."""
        with self._home.reading() as store:
            return store.note(HOLD_NOTE) is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        # In a thread, for the coroutines that are to come to their end need the loop.
        from asyncio import to_thread

        await to_thread(self.stop)

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
        returns. A coroutine is cancelled; one that asks ``proceed()``, only after half of its grace. The process of a
        site's Run is asked politely and ended after its grace.

        The scheduler itself starts nothing any more, asks all that is at work to stop, and waits; but not for
        coroutines of the event loop that it is called in, which come to their end after it (``async with`` waits for
        them). The schedules stay, for another :meth:`start`.

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
        calendar: str = OMITTED,
        after: str | Iterable[str] = OMITTED,
        trigger: Trigger | str | None = OMITTED,
        time: str = OMITTED,
        start: str | date = OMITTED,
        end: str | date = OMITTED,
        timezone: str = OMITTED,
        between: str = OMITTED,
        exclude: str | date | Iterable[str | date] = OMITTED,
        jitter: str | float | timedelta = OMITTED,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        replace: bool = False,
        held: bool = False,
        policy: Mapping[str, Any] | None = None,
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
        :param held: held from the start, until :meth:`resume`.
        :param policy: where its policy is another than its Task's: ``{"retries": 3, "grace": "5m"}``.
        :raises ScheduleNotFound: the site has no such Task.
        :raises ControlError: the name is taken; the arguments do not fit; the rule never fires.
        :raises BadTrigger: the rule makes no sense.
        """
        said = dict(
            minute=minute, hour=hour, dow=dow, cron=cron, every=every, at=at, calendar=calendar, after=after,
            trigger=trigger, time=time, start=start, end=end, timezone=timezone, between=between, exclude=exclude,
            jitter=jitter,
        )  # fmt: skip
        rule = self._rule(said) if is_said(said) else None
        prepared = self._home.prepare(task, name)
        made = self._made(rule, prepared.label if name is None else name)
        with self._home.control() as control:
            enrolled = self._home.enrol(prepared, name)
            if not is_said(said) and enrolled.trigger is not None:
                made = parse_trigger(enrolled.trigger)
            now = self._home.now()
            added = control.add(
                enrolled.name, enrolled.task, made, now, arguments=arguments, replace=replace, held=held,
                policy=policy, why=why,
            )  # fmt: skip
            self._home.remember(added, rule)
        return added

    def remove(self, name: str, *, why: str | None = None) -> Schedule:
        """Remove a schedule that was added, and return it. What is queued is skipped, what is at work goes on."""
        with self._home.control() as control:
            return control.remove(name, self._home.now(), why=why)

    def remove_all(self, *, why: str | None = None) -> list[Schedule]:
        """Remove every schedule that was added, and return them."""
        with self._home.control() as control:
            return control.remove_all(self._home.now(), why=why)

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
        calendar: str = OMITTED,
        after: str | Iterable[str] = OMITTED,
        trigger: Trigger | str | None = OMITTED,
        time: str = OMITTED,
        start: str | date = OMITTED,
        end: str | date = OMITTED,
        timezone: str = OMITTED,
        between: str = OMITTED,
        exclude: str | date | Iterable[str | date] = OMITTED,
        jitter: str | float | timedelta = OMITTED,
        why: str | None = None,
    ) -> Schedule:
        """Give a schedule another rule, said as in ``Task.schedule()``; it counts at once.

        :param trigger: a Trigger, or its text; None to go back to the rule in the task file.
        """
        said = dict(
            minute=minute, hour=hour, dow=dow, cron=cron, every=every, at=at, calendar=calendar, after=after,
            trigger=trigger, time=time, start=start, end=end, timezone=timezone, between=between, exclude=exclude,
            jitter=jitter,
        )  # fmt: skip
        if not is_said(said):
            kinds = "minute, hour, dow, cron=, every=, at=, calendar=, after= or trigger="
            raise TypeError(f"reschedule() takes a rule: {kinds}.")
        rule = self._rule(said)
        made = self._made(rule, name)
        with self._home.control() as control:
            changed = control.reschedule(name, made, self._home.now(), why=why)
            self._home.remember(changed, rule)
        return changed

    def update(
        self,
        name: str,
        /,
        minute: Any = OMITTED,
        hour: Any = OMITTED,
        dow: Any = OMITTED,
        *,
        why: str | None = None,
        **changes: Any,
    ) -> Schedule:
        """Change a schedule that was added in anything but its name: all that is said, or nothing of it.

        :param changes: ``task``, ``arguments``, ``policy``, ``description``, each in place of what there was; and a
            rule as in :meth:`add`; ``trigger=None`` is for on demand only.
        :raises ScheduleNotFound, ControlError, BadTrigger: no such schedule, or it stands in the task file; no such
            attribute; a value makes no sense.
        """
        draco = {"minute": minute, "hour": hour, "dow": dow}
        said = {**changes, **{key: value for key, value in draco.items() if value is not OMITTED}}
        refuse_unknown(said, known=(*CHANGEABLE, *RULE_KEYWORDS))
        rule = {key: value for key, value in said.items() if key in RULE_KEYWORDS}
        wanted = {key: value for key, value in said.items() if key not in RULE_KEYWORDS}
        again = self._rule({**dict.fromkeys(RULE_KEYWORDS, OMITTED), **rule}) if rule else None
        if rule:
            wanted["trigger"] = self._made(again, name)
        prepared = self._home.prepare(wanted["task"], name) if "task" in wanted else None
        with self._home.control() as control:
            if prepared is not None:
                wanted["task"] = self._home.enrol(prepared, name).task
            updated = control.update(name, wanted, self._home.now(), why=why)
            if rule:
                self._home.remember(updated, again)
        return updated

    # -- Moving them elsewhere -------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """Return what was added, held and rescheduled here, as JSON has it, to be imported elsewhere."""
        with self._home.reading() as store:
            return exported(store, self._home.now())

    def import_(
        self, document: Mapping[str, Any], *, replace: bool = False, dry_run: bool = False, why: str | None = None
    ) -> list[str]:
        """Take in what was exported elsewhere, in one transaction: all of it or nothing.

        :param document: what :meth:`export` returned.
        :param replace: whether added schedules of the same names may be there, to be replaced.
        :param dry_run: check all, and change nothing.
        :return: what was done, or would be, a sentence each.
        :raises ControlError: naming the place in the document.
        """
        with self._home.control() as control:
            return imported(control, document, self._home.now(), replace=replace, dry_run=dry_run, why=why)

    # -- Schedules that wait ---------------------------------------------------------------

    @overload
    def hold(self, *, why: str | None = None) -> None: ...

    @overload
    def hold(
        self, name: str, *, until: str | float | timedelta | datetime | None = None, why: str | None = None
    ) -> Schedule: ...

    def hold(
        self, name: str = OMITTED, *, until: str | float | timedelta | datetime | None = None, why: str | None = None
    ) -> Schedule | None:
        """Let nothing of a schedule begin from now on; what is at work goes on. Without a name, nothing at all.

        :param until: a moment, or a length of time from now ("2h", a number of seconds); None for until
            :meth:`resume`. For a schedule only.
        """
        now = self._home.now()
        if name is OMITTED:
            if until is not None:
                raise TypeError("all is held until somebody resumes it: until= is for one schedule.")
            with self._home.control() as control:
                control.hold_site(now, why=why)
            return None
        end = None if until is None else moment_of(until, now)
        with self._home.control() as control:
            return control.hold(name, now, until=end, why=why)

    @overload
    def resume(self, *, why: str | None = None) -> None: ...

    @overload
    def resume(self, name: str, *, why: str | None = None) -> Schedule: ...

    def resume(self, name: str = OMITTED, *, why: str | None = None) -> Schedule | None:
        """End a hold. What fell into it is one row of the history; nothing comes in a burst.

        Without a name, end the hold of all. What is held by itself stays held.
        """
        if name is OMITTED:
            with self._home.control() as control:
                control.resume_site(self._home.now(), why=why)
            return None
        with self._home.control() as control:
            return control.resume(name, self._home.now(), why=why)

    def skip_next(self, name: str, *, why: str | None = None) -> Schedule:
        """Skip the next fire time that is not skipped yet."""
        with self._home.control() as control:
            return control.skip_next(name, self._home.now(), why=why)

    # -- Who is told -----------------------------------------------------------------------

    def listen(
        self, callback: Callable[[Any], object], *kinds: type[Event], task: str | Iterable[str] | None = None
    ) -> Listening:
        """Have a callable told of what happens to this program's own scheduler from now on.

        It is called with each event, in a thread of its own, in the order in which things happened; it may be
        ``async``. That it fails is logged, that it hangs too, and touches nothing else. (The listeners of a site stand
        in its task file, below ``@on``.)

        :param kinds: kinds of events or families of them, of :mod:`dracotask.events`: ``RunFailed``, ``RunEvent`` …
        :param task: the name of a Task, or several; None for all.
        :return: who listens, with ``stop()`` to end it.
        :raises BadListener: these are no kinds of events; ControlError: it is a site's.
        """
        from .events import Listener

        return self._home.listen(Listener(callback, kinds, task))

    def on(self, *kinds: type[Event], task: str | Iterable[str] | None = None) -> Callable[[Told], Told]:
        """Have the function below told of events, as :meth:`listen` does: ``@scheduler.on(RunFailed)``."""

        def listen(function: Told) -> Told:
            self.listen(function, *kinds, task=task)
            return function

        return listen

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

    def schedules(
        self, *, state: str | None = None, task: str | None = None, text: str | None = None
    ) -> list[Schedule]:
        """Return every schedule, as copies, in the order in which they were first seen.

        :param state: only those that are ``held``, ``due``, ``waiting`` for their next fire time, ``running``,
            ``failing`` (their last Run failed), ``on-demand`` or ``gone`` from the task file; several may be true.
        :param task: only those of this Task.
        :param text: only those with this in their name, task, description or rule.
        """
        wanted = Filter(state, task, text)
        with self._home.reading() as store:
            is_asked = state is not None  # else nobody looks through the Runs
            return wanted.among(
                store.schedules(), self._home.now(), last_runs=store.last_runs() if is_asked else {},
                running=store.running() if is_asked else (), site_held=store.note(HOLD_NOTE) is not None,
            )  # fmt: skip

    def preview(self, name_or_rule: str | Trigger, n: int = 10) -> list[datetime]:
        """Return the next fire times, of a schedule or of a rule that is none's yet; fewer when it ends before.

        What is held or to be skipped is told all the same: these are the times that the rule names.

        :param name_or_rule: the name of a schedule; or a Trigger, or its text: ``every 90s``, ``0 4 * * mon-fri``.
        :param n: so many at most.
        :raises BadTrigger: it is neither.
        """
        checked_limit(n, "n", or_none=False)
        now = self._home.now()
        if not isinstance(name_or_rule, str):
            if not hasattr(name_or_rule, "next_after"):
                raise TypeError(f"{name_or_rule!r:.60} is neither a name nor a rule: give a text or a Trigger.")
            return next_few(name_or_rule, now, n)
        schedule = self.schedule(name_or_rule)
        if schedule is None:
            return next_few(self._said(name_or_rule), now, n)
        if schedule.in_force is None or schedule.vanished_at:
            return []
        return next_few(parse_trigger(schedule.in_force), now, n)

    def _said(self, text: str) -> Trigger:
        try:
            return trigger_said(text, self._home.zone())
        except BadTrigger as error:
            known = [schedule.name for schedule in self.schedules()]
            neither = f"{text!r:.100} is no schedule here, and no rule.{suggestion(text[:100], known)}"
            raise BadTrigger(f"{neither} {error}") from None

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
        wanted = checked_states(states)
        checked_limit(limit)
        with self._home.reading() as store:
            return store.runs(schedule=name, states=wanted, limit=limit)

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

    def _rule(self, said: dict[str, Any]) -> Rule | None:
        trigger = said["trigger"]
        if trigger is None:
            if any(value is not OMITTED for key, value in said.items() if key != "trigger"):
                raise TypeError("trigger=None says that there is no rule: give none beside it.")
            return None
        if isinstance(trigger, str):
            said = {**said, "trigger": parse_trigger(trigger)}
        return self._home.kept(rule_of(**said))

    def _made(self, rule: Rule | None, name: str) -> Trigger | None:
        """Return the Trigger that a rule makes for a schedule of that name."""
        return None if rule is None else rule(self._home.zone(), name, self._home.now())


# (Each home is imported by whoever lives there: a site's brings SQLite along, a program's threads.)


def _program_home(
    by: str,
    max_running: int | None,
    on_error: Callable[[Run, BaseException], object] | None,
    timezone: str | None,
    clock: Callable[[], datetime],
    *,
    launcher: str,
    loop: AbstractEventLoop | None,
) -> Home:
    from .homes.program import ProgramHome

    bound = MAX_RUNNING if max_running is None else max_running
    if isinstance(bound, bool) or not isinstance(bound, int) or bound < 1:
        raise ValueError(f"max_running={max_running!r:.60} cannot be: it is a whole number, at least 1.")
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher={launcher!r:.60} is none. There is: {', '.join(LAUNCHERS)}.")
    if loop is not None and not hasattr(loop, "call_soon_threadsafe"):
        raise TypeError(f"loop={loop!r:.60} is no event loop.")
    return ProgramHome(
        by=by, max_running=bound, timezone=timezone, on_error=on_error, launcher=launcher, loop=loop, clock=clock
    )


def _site_home(docroot: str | os.PathLike[str], by: str) -> Home:
    from .homes.site import SiteHome

    return SiteHome(docroot, by)
