"""What the launchers of a program's own Scheduler share: the Runs at work, how one is taken, and how it ends.

A Run may end in whatever way it likes; what it was is on record once, and those who wait for an end are told.
"""

from __future__ import annotations

import contextvars
import inspect
import json
import logging
import os
import sys
import threading
from time import monotonic, thread_time

from ..clock import utc_now
from ..errors import Interrupted, Retry, Skip
from ..model import FAILED, STOPPED, SUCCEEDED, TIMED_OUT, Outcome, Policy, Run
from ..promises import kept
from ..retries import attempt_after
from ..run.outcome import WISH, lost, one_line, over_limit
from ..steering import Steering, at_hand, checked_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from ..stores.base import Store

    #: Does the work of a Run, with these arguments.
    Work = Callable[[Run, Mapping[str, Any], Steering], object]
    Steer = Callable[[str, str, dict[str, str | None]], None]

logger = logging.getLogger("dracotask.scheduler")


class LocalSteering(Steering):
    """What a Run in this process can ask and say.

    :param runs: of which it is one.
    :param run: as it was taken.
    :ivar stopped_by: who wants it stopped, in words; None when nobody does.
    :ivar has_asked: whether it ever asked to go on.
    :ivar when_stopped: is told of the first wish that it stop, if anybody can do more than wait.
    :ivar loop: the event loop that it is on; None for one in a thread.
    """

    def __init__(self, runs: LocalRuns, run: Run, policy: Policy) -> None:
        self.run, self.time_limit, self.grace = run, policy.time_limit, policy.stop_grace
        self.stopped_by: str | None = None
        self.has_asked = self.is_late = False
        self.when_stopped: Callable[[LocalSteering], None] | None = None
        self.loop: AbstractEventLoop | None = None
        self._runs = runs
        self._begun = monotonic()

    def stop(self, by: str) -> None:
        """Have ``proceed()`` say False from now on."""
        is_first = self.stopped_by is None
        self.stopped_by = self.stopped_by or by
        if is_first and self.when_stopped is not None:
            self.when_stopped(self)

    def is_over_limit(self) -> bool:
        if self.time_limit is not None and monotonic() - self._begun >= self.time_limit:
            self.is_late = True
        return self.is_late

    def is_wanted(self) -> bool:
        """Tell whether nobody wants it stopped, and its time is not up."""
        return self.stopped_by is None and not self.is_over_limit()

    def proceed(self) -> bool:
        self.has_asked = True
        return self.is_wanted()

    def can_end(self, here: object) -> bool:
        """Tell whether it may come to its end while ``here``, an event loop or None, waits for that."""
        return self.loop is None or (self.loop is not here and self.loop.is_running())

    def now(self) -> datetime:
        return self._runs.now()

    def zone(self) -> str:
        return self._runs.zone()

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        self._runs.store.report_progress(self.run, *checked_progress(done, total, note), now=self.now())

    def checkpoint(self, text: str) -> None:
        self._runs.store.keep_checkpoint(self.run, text)

    def steer(self, verb: str, details: dict[str, str | None]) -> None:
        self._runs.steer(self.run.schedule, verb, details)


class LocalRuns:
    """The Runs at work in this process, whoever does them: never more than there may be.

    The queue is the store's: a launcher takes the next Run when there is room for one.

    :param store: shared with others by its lock (``transaction()``).
    :param work: does the work of a Run, or returns the coroutine that does.
    :param now: tells the time.
    :param zone: tells in which zone cron rules are read.
    :param steer: has a verb done to a Schedule, by a Run of it.
    :param ended: told of the end of each Run, with what it raised, and when it is to be tried again.
    :param is_coroutine: tells whether the Task of that name is one.
    :param begin_coroutine: begins a Run of such a Task that was taken.
    :param wake: has somebody look at the queue, and take what there is room for.
    :param max_running: how many are at work at most, threads and coroutines together.
    """

    def __init__(
        self,
        store: Store,
        *,
        work: Work,
        now: Callable[[], datetime],
        zone: Callable[[], str],
        steer: Steer,
        ended: Callable[[Run, Outcome, BaseException | None, datetime | None], None],
        is_coroutine: Callable[[str], bool],
        begin_coroutine: Callable[[LocalSteering], None],
        wake: Callable[[], None],
        max_running: int,
    ) -> None:
        self.store, self.work, self.now, self.zone, self.steer = store, work, now, zone, steer
        self.ended, self.max_running = ended, max_running
        self.is_coroutine, self.begin_coroutine, self.wake = is_coroutine, begin_coroutine, wake
        self._host, self._pid = os.uname().nodename, os.getpid()
        # Reentrant, for a signal handler may call in the midst of what it has interrupted.
        self._lock = threading.RLock()
        self._one_ended = threading.Condition(self._lock)
        self._at_work: dict[str, LocalSteering] = {}
        self.is_open = False

    # -- From outside ----------------------------------------------------------------------

    def open(self) -> None:
        """Let Runs be taken from now on."""
        self.is_open = True

    def close(self, by: str, why: str) -> None:
        """Let no further Run be taken, and ask those at work to stop."""
        with self.store.transaction():
            self.is_open = False
            for steering in self.at_work():
                self.store.request_stop(steering.run.id, by=by, why=why, now=self.now())
                steering.stop(f"{by}: {why}")

    def stop(self, run_id: str, by: str) -> None:
        """Ask one Run to stop, if it is at work here."""
        with self.store.transaction():
            steering = self._at_work.get(run_id)
            if steering is not None:
                steering.stop(by)

    def at_work(self) -> list[LocalSteering]:
        """Return those at work, with those that were taken and are about to begin."""
        return list(self._at_work.values())

    def wait(self, patience: float) -> list[str]:
        """Wait until nothing is at work but the Run that asks, and return the names of the Schedules that still are.

        Coroutines cannot come to their end while their loop waits here, or does not run: those are not waited for.
        """
        here, left = running_loop(), self._others()

        def is_over() -> bool:
            left[:] = self._others()
            return not any(steering.can_end(here) for steering in left)

        with self._lock:
            self._one_ended.wait_for(is_over, patience)
        return sorted(steering.run.schedule for steering in left)

    def wait_for_coroutines(self, patience: float) -> None:
        """Wait until those are gone that can be ended from outside."""
        with self._lock:
            self._one_ended.wait_for(lambda: not any(s.loop and s.can_end(None) for s in self.at_work()), patience)

    def _others(self) -> list[LocalSteering]:
        asking = at_hand.get(None)
        mine = None if asking is None else asking.steering
        return [steering for steering in self.at_work() if steering is not mine]

    # -- Taking ----------------------------------------------------------------------------

    def waiting(self) -> list[Run]:
        """Return the queued Runs for which there is room, the first one first."""
        with self.store.transaction():
            return self._waiting(self.max_running)

    def take(self, run: Run) -> LocalSteering | None:
        """Take a queued Run; None when it is another's by now, or there is no room."""
        with self.store.transaction():
            has_room = self.is_open and len(self._at_work) < self.max_running
            return self._taken(run) if has_room else None

    def take_next(self) -> LocalSteering | None:
        """Take the next Run that is no coroutine; coroutines whose turn is before that are begun."""
        while True:
            with self.store.transaction():
                steering = next(filter(None, map(self._taken, self._waiting(1))), None)
            if steering is None or not self.is_coroutine(steering.run.task):
                return steering
            self.begin_coroutine(steering)

    def _waiting(self, most: int) -> list[Run]:
        room = min(self.max_running - len(self._at_work), most)
        return self.store.takeable(room, self.now()) if self.is_open and room > 0 else []

    def _taken(self, run: Run) -> LocalSteering | None:
        policy = Policy.from_text(run.policy)
        token = os.urandom(8).hex()
        taken = self.store.take(
            run, token=token, host=self._host, pid=self._pid, now=self.now(), limit=policy.most_at_work
        )
        if taken is None or taken.token != token:
            return None
        # In the same step: who stops the Run now finds it here.
        steering = self._at_work[run.id] = LocalSteering(self, taken, policy)
        return steering

    # -- Doing -----------------------------------------------------------------------------

    def do(self, steering: LocalSteering) -> None:
        """Do a Run that was taken, here and now, and see to its end. What it sets of its context ends with it."""
        cpu, result, error = thread_time(), None, None
        try:
            result = _done(contextvars.copy_context().run(self.begin, steering))
        except BaseException as raised:
            error = raised
        self.end(steering, result, error, cpu_seconds=round(thread_time() - cpu, 3))

    def begin(self, steering: LocalSteering) -> object:
        """Call the work of a Run and return what that returns."""
        return self.work(steering.run, _arguments(steering.run), steering)

    def end(
        self,
        steering: LocalSteering,
        result: object,
        error: BaseException | None,
        *,
        cpu_seconds: float | None = None,
        lost_why: str | None = None,
    ) -> None:
        """Record the end of a Run, whatever it was, and tell of it. Nothing is raised.

        :param result: what it returned.
        :param error: what it raised.
        :param lost_why: why nobody knows what became of it; None when somebody does.
        """
        try:
            self._record_and_tell(steering, result, error, cpu_seconds, lost_why)
        except BaseException:
            logger.exception("The end of run %s of %s was not seen to.", steering.run.id, steering.run.schedule)
        finally:
            with self._lock:
                self._at_work.pop(steering.run.id, None)
                self._one_ended.notify_all()

    def _record_and_tell(
        self,
        steering: LocalSteering,
        result: object,
        error: BaseException | None,
        cpu_seconds: float | None,
        lost_why: str | None,
    ) -> None:
        run = steering.run
        try:
            outcome = _outcome(steering, result, error) if lost_why is None else lost(self.now(), lost_why)
            outcome.finished_at, outcome.cpu_seconds = self.now(), cpu_seconds
            retry_at = None if lost_why is not None else attempt_after(run, outcome, error)
            is_recorded = self.store.finish(run, outcome, retry_at=retry_at) is not None
        except BaseException:
            retry_at = None
            outcome = lost(utc_now(), "its end could not be recorded")
            is_recorded = self.store.finish(run, outcome) is not None
            logger.exception("The end of run %s of %s could not be recorded.", run.id, run.schedule)
        if is_recorded:
            self.ended(run, outcome, _failure(error), retry_at)


def running_loop() -> AbstractEventLoop | None:
    """Return the event loop that is running in this thread, or None; asyncio is not imported for it."""
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio is not None and hasattr(asyncio, "_get_running_loop") else None


def _arguments(run: Run) -> dict[str, Any]:
    return {} if run.arguments == "{}" else dict(json.loads(run.arguments))


def _done(result: object) -> object:
    """Return what the work has returned, if it was work.

    :raises TypeError: it was only promised.
    """
    if result is None or isinstance(result, str):
        return result
    better = "the coroutine function itself" if inspect.isawaitable(result) else "a plain function"
    return kept(result, f"give {better}")


def _outcome(steering: LocalSteering, result: object, error: BaseException | None) -> Outcome:
    """Return what became of a Run: who wanted it stopped has stopped it, in whatever way it came back."""
    words, summary = None, _text(result) if isinstance(result, str) else None
    if isinstance(error, Skip):
        summary = f"skipped: {_text(error)}".removesuffix(": ")
    error = _failure(error)
    if steering.stopped_by is not None:
        state, words = STOPPED, f"stopped by {steering.stopped_by}"
    elif steering.is_over_limit():
        state, words = TIMED_OUT, over_limit(steering.time_limit)
    else:
        state = SUCCEEDED if error is None else FAILED
    if error is not None and not (words and isinstance(error, Interrupted)):
        words = f"{words}; {_in_words(error)}" if words else _in_words(error)
    return Outcome(state=state, summary=one_line(summary), error=one_line(words))


def _failure(error: BaseException | None) -> BaseException | None:
    """Return what a Run has raised unless that ends it well: a Skip, or sys.exit() without an error code."""
    if isinstance(error, SystemExit) and (error.code is None or (isinstance(error.code, int | str) and not error.code)):
        return None
    return None if isinstance(error, Skip) else error


def _in_words(error: BaseException) -> str:
    if isinstance(error, Retry):
        return f"{WISH}: {_text(error)}".removesuffix(": ")
    if isinstance(error, SystemExit):
        return f"the task called sys.exit({_text(error.code, repr) or type(error.code).__name__})"
    return f"{type(error).__name__}: {_text(error)}".removesuffix(": ")


def _text(value: object, words: Callable[[object], str] = str) -> str:
    """Return a value as a plain text; "" when it fails even at that, in whatever way."""
    try:
        return str.__str__(value if isinstance(value, str) and words is str else words(value))
    except BaseException:
        return ""
