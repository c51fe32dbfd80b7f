"""The home of a program's own schedules: its memory. Runs are done in its threads, and on an event loop.

One thread looks at the clock, a few others do the work; none stands for a schedule that waits, nor for a coroutine.
What is forked from the program has the schedules as they were, and an engine of its own once that is started there.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from time import monotonic
from weakref import WeakSet

from ..control import Control
from ..errors import DracotaskError, Retry, ScheduleNotFound
from ..model import ACTIVE, FAILED, QUEUED, TIMED_OUT, Policy
from ..planning import kept_since, what_is_kept
from ..run.outcome import lost
from ..stores.interrupts import uninterrupted
from ..stores.memory import MemoryStore
from ..tasks import Task, rule_in_force
from ..tick import Tick
from ..zones import site_zone
from .base import Enrolled, Home
from .engine import Engine
from .lists import OwnLists
from .tasks import LocalTask, LocalTasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from ..events import Listener
    from ..model import Outcome, Run, Schedule
    from ..rules import Rule
    from ..steering import Steering
    from ..stores.base import Store
    from .listening import Audience, Listening

#: How often (seconds) the home is tidied up.
TIDY_EVERY = 60.0

#: How long (seconds) the end of the process waits for coroutines that were cancelled.
EXIT_PATIENCE = 1.0

#: So many Actions are remembered, and the Runs of so many Tasks that are no more.
KEEP_ACTIONS, KEEP_TASKS = 1000, 100

#: After how many ended Runs of a Task its history is cut back to what its policy keeps.
PRUNE_AFTER = 100

logger = logging.getLogger("dracotask.scheduler")


class LocalControl(Control):
    """The verbs over a program's own schedules, all of which are dynamic: its Tasks have no row of theirs.

    :param tasks: the Tasks that were added.
    """

    lists_anew = True

    def __init__(self, store: Store, tasks: LocalTasks, *, by: str) -> None:
        super().__init__(store, by=by, log=logger.warning)
        self.tasks = tasks

    def template(self, task: str) -> Schedule:
        known = self.tasks.get(task)
        if known is None:
            raise ScheduleNotFound(task, self.tasks.names(), kind="task")
        return known.template()


class ProgramHome(Home):
    """Keeps schedules in memory, and has an engine in each process that starts one.

    :param by: who uses the verbs, in words.
    :param max_running: how many Runs are at work at most.
    :param timezone: the zone of cron rules; None for the server's.
    :param on_error: called with the Run and what it raised.
    :param launcher: ``"thread"`` or ``"inline"``: where Runs are done that are no coroutines.
    :param loop: where coroutines run in this process; None for the loop found at the start, or one of our own.
    :param clock: tells the time.
    """

    def __init__(
        self,
        *,
        by: str,
        max_running: int,
        timezone: str | None,
        on_error: Callable[[Run, BaseException], object] | None,
        launcher: str,
        loop: AbstractEventLoop | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.by, self.max_running, self.timezone = by, max_running, timezone
        self.on_error, self.launcher, self._clock = on_error, launcher, clock
        # (A loop is of one process: in a fork of this one nobody runs it.)
        self._loop, self._pid = loop, os.getpid()
        self.store = MemoryStore().open()
        self.tasks = LocalTasks(self.zone)
        self.tick = Tick(self.store, logger.warning)
        self._lists = OwnLists(self.store, zone=self.zone, now=self.now)
        self._ended: dict[str, int] = {}
        #: How much is kept of the history of each Task, as it was at the last tidying up.
        self._kept: dict[str, Policy] = {}
        self._gone: list[str] = []
        self._tidy_at = monotonic() + TIDY_EVERY
        self.audience: Audience | None = None
        # By pid: the threads of an engine stay behind at a fork, and no hook of a fork can be relied on (uWSGI).
        self._engines: dict[int, Engine] = {}
        _alive.add(self)

    def now(self) -> datetime:
        return self._clock()

    def zone(self) -> str:
        return self.timezone or site_zone(None)[0]

    @contextmanager
    def control(self, by: str | None = None) -> Iterator[Control]:
        with uninterrupted:
            with self.store.transaction():
                yield LocalControl(self.store, self.tasks, by=by or self.by)
            self.engine().wake()

    @contextmanager
    def reading(self) -> Iterator[Store]:
        yield self.store

    def prepare(self, task: Any, name: str | None) -> LocalTask:
        return self.tasks.prepare(task, name)

    def enrol(self, prepared: LocalTask, name: str | None) -> Enrolled:
        known = self.tasks.take_in(prepared).declared
        return Enrolled(known.name, prepared.label if name is None else name, known.trigger)

    def kept(self, rule: Rule) -> Rule:
        return rule

    def remember(self, schedule: Schedule, rule: Rule | None) -> None:
        work = self.tasks[schedule.task].work
        again = rule or (partial(rule_in_force, work) if isinstance(work, Task) else None)
        self._lists.remember(schedule, again)

    def stop_runs(self, runs: list[Run]) -> None:
        for run in runs:
            self.engine().runs.stop(run.id, self._stopper(run))

    def _stopper(self, run: Run) -> str:
        asked = self.store.run(run.id) or run
        return f"{asked.stop_by}: {asked.stop_why}" if asked.stop_why else asked.stop_by or self.by

    # -- The engine of this process --------------------------------------------------------

    def engine(self) -> Engine:
        """Return the engine of this process, made when it is first asked for."""
        engine = self._engines.get(os.getpid())
        return engine if engine is not None else self._made_engine()

    def _made_engine(self) -> Engine:
        made = Engine(self)
        # Of two threads that come here at once, one's engine is kept and the other's never started.
        kept = self._engines.setdefault(os.getpid(), made)
        if kept is made:
            self._leave_to_parents()
        return kept

    def _leave_to_parents(self) -> None:
        """Put on record that what a process before the fork had in hand is not done here."""
        before = [self._engines.pop(pid) for pid in list(self._engines) if pid != os.getpid()]
        if not any(engine.loop for engine in before):
            return
        why = "it went on in the process that this one was forked from"
        with self.store.transaction():
            for schedule in self.store.schedules():
                if schedule.demand:  # the parent answers it; at the end of a Run it would be another one, here too
                    self.store.put_schedule(schedule.but(demand=None))
            for run in self.store.running():
                self.store.finish(run, lost(self.now(), why))
            for run in self.store.runs(states=(QUEUED,), limit=None):
                self.store.skip(run, why, self.now())

    def given_loop(self) -> AbstractEventLoop | None:
        """Return the event loop that was given, in the process that it was given in."""
        return self._loop if os.getpid() == self._pid else None

    def is_running(self) -> bool:
        return self.engine().loop is not None

    def start(self) -> None:
        self.engine().start()

    def stop(self, wait: float) -> list[str]:
        return self.engine().stop(wait)

    # -- Looking ---------------------------------------------------------------------------

    def look(self) -> float:
        """Claim what is due and have it done; return how many seconds nothing will be due."""
        if monotonic() >= self._tidy_at:
            self._tidy_up()
        if self.audience is not None:
            self.audience.look()
        self.tick.claim_due(self.now(), "tick")
        self.engine().launch()
        upcoming = self.store.next_fire_time(self.now())
        return (upcoming - self.now()).total_seconds() if upcoming else TIDY_EVERY

    # -- Listeners -------------------------------------------------------------------------

    def listen(self, listener: Listener) -> Listening:
        with self.store.transaction():
            if self.audience is None:
                from .listening import Audience  # most programs listen to nothing

                self.audience = Audience(self.store)
            return self.audience.listen(listener)

    def tell(self, *kinds: str) -> None:
        """Tell what has happened to the scheduler itself."""
        if self.store.listeners():
            from ..events import KINDS

            with self.store.transaction():
                for kind in kinds:
                    self.store.tell(KINDS[kind](at=self.now(), by=self.by))

    # -- Runs ------------------------------------------------------------------------------

    def work(self, run: Run, arguments: Mapping[str, Any], steering: Steering) -> object:
        """Do the work of a Run; of a coroutine function, return the coroutine."""
        return self.tasks[run.task].run(run, arguments, steering)

    def is_coroutine(self, task: str) -> bool:
        """Tell whether the work of a Task is a coroutine."""
        return self.tasks[task].is_coroutine

    def steer(self, name: str, verb: str, details: Mapping[str, str | None]) -> None:
        """Have a verb done to a Schedule by a Run of it; what cannot be done is told, and the Run goes on."""
        try:
            with self.control(by="the task itself") as control:
                control.steer(name, verb, details, self.now())
        except DracotaskError as error:
            logger.warning("A run of %s wanted to %s it, in vain: %s", name, verb, error)

    def ended(
        self, run: Run, outcome: Outcome, error: BaseException | None, retry_at: datetime | None = None
    ) -> None:
        """Tell of a Run that failed, and forget what is over.

        :param retry_at: when it is to be tried again, if nobody wants it stopped meanwhile.
        """
        with self.store.transaction():
            self._forget_if_over(run.schedule)
            self._prune(run)
        if retry_at is not None and (waiting := self.store.run(run.id)) and waiting.state == QUEUED:
            self._tell_of_retry(waiting, error)
        elif error is not None and outcome.state in (FAILED, TIMED_OUT):
            logger.error("%s failed: %s", run.schedule, outcome.error, exc_info=error)
            self._tell(run, error)
        elif outcome.state == TIMED_OUT:
            logger.warning("%s came back late: %s.", run.schedule, outcome.error)

    def _tell_of_retry(self, run: Run, error: BaseException | None) -> None:
        is_wish = error is None or isinstance(error, Retry)
        logger.log(
            logging.INFO if is_wish else logging.WARNING, "%s: attempt %d failed and another follows at %s: %s",
            run.schedule, run.attempt, run.not_before, run.error, exc_info=None if is_wish else error,
        )  # fmt: skip
        self.engine().wake()

    def _tell(self, run: Run, error: BaseException) -> None:
        if self.on_error is None:
            return
        try:
            self.on_error(self.store.run(run.id) or run, error)
        except BaseException:
            logger.exception("on_error failed at the error of %s.", run.schedule)

    # -- Tidiness --------------------------------------------------------------------------

    def _forget_if_over(self, name: str) -> None:
        """Remove a Schedule that had its last fire time and its last Run; the history remembers."""
        schedule = self.store.schedule(name)
        if (
            schedule is not None
            and schedule.in_force is not None
            and schedule.next_fire_time is None
            and schedule.after is None
            and not self._lists.may_go_on(name)
            and not schedule.held_at
            and not self.store.active(name)
        ):
            self.store.remove_schedule(schedule)
            self.store.tell_of_schedule("ScheduleRemoved", schedule, self.now(), "the end of its rule")

    def _prune(self, run: Run) -> None:
        """Cut back the history of a Task, once in a while."""
        ended = self._ended[run.task] = self._ended.get(run.task, 0) + 1
        if ended >= PRUNE_AFTER:
            del self._ended[run.task]
            self._cut_back(run.task, self._kept.get(run.task) or Policy.from_text(run.policy))

    def _cut_back(self, task: str, policy: Policy) -> None:
        self.store.prune(task, keep=policy.keep_runs, since=kept_since(policy, self.now()))

    def _tidy_up(self) -> None:
        """Forget what nobody asks for any more, so that a program may run, add and remove for years."""
        self._tidy_at = monotonic() + TIDY_EVERY
        self.tick = Tick(self.store, logger.warning)  # which remembers every rule that it has read
        self._lists.renew()
        # Step by step: meanwhile others take their turns at the store.
        schedules = self.store.schedules()
        for schedule in schedules:
            if schedule.next_fire_time is None:  # the last one may have been skipped, so that no Run came to an end
                with self.store.transaction():
                    self._forget_if_over(schedule.name)
        self._kept = what_is_kept(schedules)
        for task, policy in self._kept.items():
            self._cut_back(task, policy)
        oldest = self.store.actions(limit=KEEP_ACTIONS)[KEEP_ACTIONS - 1 :]
        if oldest:
            self.store.prune_actions(oldest[0].at)
        with self.store.transaction():
            active = self.store.runs(states=ACTIVE, limit=None)
            self._forget_tasks({schedule.task for schedule in self.store.schedules()} | {run.task for run in active})

    def _forget_tasks(self, needed: set[str]) -> None:
        """Forget the Tasks that no Schedule or Run needs any more, and in time their history."""
        gone = [name for name in self._gone if name not in needed] + self.tasks.keep_only(needed)
        for task in gone[:-KEEP_TASKS]:
            self.store.prune(task, keep=0, since=self.now())
        self._gone = gone[-KEEP_TASKS:]
        self._ended = {task: number for task, number in self._ended.items() if task in needed}


# -- Forks and the end ---------------------------------------------------------------------------

_alive: WeakSet[ProgramHome] = WeakSet()
_forking = threading.local()


def _before_fork() -> None:
    """Let every change be whole that the child gets a copy of."""
    _forking.held = held = ExitStack()
    for home in list(_alive):
        held.enter_context(home.store.transaction())


def _after_fork() -> None:
    _forking.held.close()


def _at_exit() -> None:
    """Start nothing any more; what is at work ends with the process, but coroutines may let go in good order."""
    running = [home for home in list(_alive) if home.is_running()]
    for home in running:
        home.stop(0.0)
    until = monotonic() + EXIT_PATIENCE
    for home in running:
        home.engine().runs.wait_for_coroutines(max(0.0, until - monotonic()))


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
atexit.register(_at_exit)
