"""The thread launcher: Runs in threads of the process at hand, for what must see its memory.

A thread cannot be ended from outside. A stop and a time limit only turn ``proceed()`` False; what the Run becomes is
told when it returns. What it prints goes where the program's output goes.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import threading
from time import monotonic, thread_time

from ..clock import in_words, utc_now
from ..errors import Interrupted, Skip
from ..model import FAILED, STOPPED, SUCCEEDED, TIMED_OUT, Outcome, Policy, Run
from ..run.outcome import lost, one_line
from ..steering import Steering, checked_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from ..stores.base import Store

    #: Does the work of a Run, with these arguments.
    Work = Callable[[Run, Mapping[str, Any], Steering], object]
    Steer = Callable[[str, str, dict[str, str | None]], None]

#: How long (seconds) a thread without work waits for more before it ends.
IDLE = 30.0

logger = logging.getLogger("dracotask.scheduler")


class LocalSteering(Steering):
    """What a Run in a thread can ask and say.

    :param launcher: whose Run it is.
    :param run: as it was taken.
    """

    def __init__(self, launcher: ThreadLauncher, run: Run, time_limit: float | None) -> None:
        self.run, self.time_limit = run, time_limit
        self.thread = threading.get_ident()
        self.stopped_by: str | None = None
        self._launcher = launcher
        self._begun = monotonic()

    def stop(self, by: str) -> None:
        """Have ``proceed()`` say False from now on."""
        self.stopped_by = self.stopped_by or by

    def is_over_limit(self) -> bool:
        return self.time_limit is not None and monotonic() - self._begun >= self.time_limit

    def proceed(self) -> bool:
        return self.stopped_by is None and not self.is_over_limit()

    def now(self) -> datetime:
        return self._launcher.now()

    def zone(self) -> str:
        return self._launcher.zone()

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        self._launcher.store.report_progress(self.run, *checked_progress(done, total, note))

    def steer(self, verb: str, details: dict[str, str | None]) -> None:
        self._launcher.steer(self.run.schedule, verb, details)


class ThreadLauncher:
    """Takes queued Runs and does them, in a few threads that start when they are needed.

    The queue is the store's: a thread takes the next Run when it is through with its own.

    :param store: shared with others by its lock (``transaction()``).
    :param work: does the work of a Run.
    :param now: tells the time.
    :param zone: tells in which zone cron rules are read.
    :param steer: has a verb done to a Schedule, by a Run of it.
    :param ended: told of each Run that is over, with what it raised.
    :param max_running: how many threads there are at most.
    """

    def __init__(
        self,
        store: Store,
        *,
        work: Work,
        now: Callable[[], datetime],
        zone: Callable[[], str],
        steer: Steer,
        ended: Callable[[Run, Outcome, BaseException | None], None],
        max_running: int,
    ) -> None:
        self.store, self.work, self.now, self.zone, self.steer = store, work, now, zone, steer
        self.ended, self.max_running = ended, max_running
        self._host, self._pid = os.uname().nodename, os.getpid()
        # Reentrant, for a signal handler may call in the midst of what it has interrupted.
        self._lock = threading.RLock()
        self._called, self._one_ended = threading.Condition(self._lock), threading.Condition(self._lock)
        self._calls = self._threads = self._idle = 0
        self._at_work: dict[str, LocalSteering] = {}
        self._is_open = False

    # -- From outside ----------------------------------------------------------------------

    def open(self) -> None:
        """Let Runs be taken from now on."""
        self._is_open = True

    def close(self, by: str, why: str) -> None:
        """Let no further Run be taken, and ask those at work to stop. Idle threads end."""
        with self.store.transaction():
            self._is_open = False
            for steering in list(self._at_work.values()):
                self.store.request_stop(steering.run.id, by=by, why=why, now=self.now())
                steering.stop(f"{by}: {why}")
        with self._lock:
            self._called.notify_all()

    def stop(self, run_id: str, by: str) -> None:
        """Ask one Run to stop, if it is at work here."""
        with self.store.transaction():
            steering = self._at_work.get(run_id)
            if steering is not None:
                steering.stop(by)

    def launch(self, wanted: int) -> None:
        """See to it that somebody looks at the queue, for each of ``wanted`` Runs as far as there may be threads."""
        with self._lock:
            self._calls += 1
            self._called.notify(wanted)
            fresh = max(0, min(wanted - self._idle, self.max_running - self._threads))
            self._threads += fresh
        for started in range(fresh):
            try:
                threading.Thread(target=self._work_on, name="dracotask-run", daemon=True).start()
            except RuntimeError:  # no thread is to be had, or the interpreter is about to end
                with self._lock:
                    self._threads -= fresh - started
                return

    def wait(self, patience: float) -> list[str]:
        """Wait until nothing is at work but the Run that asks, and return the names of the Schedules that still are."""
        with self._lock:
            self._one_ended.wait_for(lambda: not self._others(), patience)
            return sorted(self._others())

    def _others(self) -> list[str]:
        me = threading.get_ident()
        return [steering.run.schedule for steering in list(self._at_work.values()) if steering.thread != me]

    # -- A thread --------------------------------------------------------------------------

    def _work_on(self) -> None:
        try:
            self._work_until_idle()
        except BaseException:  # no thread ends without being counted out, or others would wait for it
            with self._lock:
                self._threads -= 1
            logger.exception("A thread for runs has ended before its time.")

    def _work_until_idle(self) -> None:
        """Do one Run after the other; end when there was none for some time, or will be none."""
        waited_enough = False
        while True:
            calls = self._calls
            if self._do_next():
                waited_enough = False
                continue
            with self._lock:
                if calls != self._calls:
                    continue  # somebody called after our look at the queue
                if waited_enough or not self._is_open:
                    self._threads -= 1
                    return
                self._idle += 1
                waited_enough = not self._called.wait(IDLE)
                self._idle -= 1

    def _do_next(self) -> bool:
        """Take the next Run and do it; return whether there was one."""
        try:
            steering = self._take_next()
        except BaseException:
            logger.exception("The next run could not be taken.")
            return False
        if steering is None:
            return False
        try:
            self._see_through(steering)
        except BaseException:
            logger.exception("The end of run %s of %s was not seen to.", steering.run.id, steering.run.schedule)
        finally:
            with self._lock:
                del self._at_work[steering.run.id]
                self._one_ended.notify_all()
        return True

    def _take_next(self) -> LocalSteering | None:
        with self.store.transaction():
            for run in self.store.queued(1) if self._is_open else ():
                policy = Policy.from_text(run.policy)
                token = os.urandom(8).hex()
                taken = self.store.take(
                    run, token=token, host=self._host, pid=self._pid, now=self.now(), limit=policy.max_instances
                )
                if taken is not None and taken.token == token:
                    # In the same step: who stops the Run now finds it here.
                    steering = self._at_work[run.id] = LocalSteering(self, taken, policy.time_limit)
                    return steering
        return None

    def _see_through(self, steering: LocalSteering) -> None:
        """Do a Run that was taken, and record its end: once, whatever it raises or returns."""
        run, cpu, result, error = steering.run, thread_time(), None, None
        try:
            result = _done(self.work(run, _arguments(run), steering))
        except BaseException as raised:
            error = raised
        try:
            outcome = _outcome(steering, result, error)
            outcome.finished_at, outcome.cpu_seconds = self.now(), round(thread_time() - cpu, 3)
            is_recorded = self.store.finish(run, outcome) is not None
        except BaseException:
            outcome = lost(utc_now(), "its end could not be recorded")
            is_recorded = self.store.finish(run, outcome) is not None
            logger.exception("The end of run %s of %s could not be recorded.", run.id, run.schedule)
        if is_recorded:
            self.ended(run, outcome, _failure(error))


def _arguments(run: Run) -> dict[str, Any]:
    return {} if run.arguments == "{}" else dict(json.loads(run.arguments))


def _done(result: object) -> object:
    """Return what the work has returned, if it was work.

    :raises TypeError: it was only promised: nobody would draw from a generator or await a coroutine.
    """
    if result is None or isinstance(result, str):
        return result
    if not (inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.isawaitable(result)):
        return result
    if inspect.isgenerator(result) or inspect.iscoroutine(result):
        result.close()
    raise TypeError(f"it returned a {type(result).__name__} instead of doing its work: give a plain function")


def _outcome(steering: LocalSteering, result: object, error: BaseException | None) -> Outcome:
    """Return what became of a Run: who wanted it stopped has stopped it, in whatever way it came back."""
    words, summary = None, _text(result) if isinstance(result, str) else None
    if isinstance(error, Skip):
        summary = f"skipped: {_text(error)}".removesuffix(": ")
    error = _failure(error)
    if steering.stopped_by is not None:
        state, words = STOPPED, f"stopped by {steering.stopped_by}"
    elif steering.is_over_limit():
        state, words = TIMED_OUT, f"over its time limit of {in_words(steering.time_limit or 0)}"
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
    if isinstance(error, SystemExit):
        return f"the task called sys.exit({_text(error.code, repr) or type(error.code).__name__})"
    return f"{type(error).__name__}: {_text(error)}".removesuffix(": ")


def _text(value: object, words: Callable[[object], str] = str) -> str:
    """Return a value as a plain text; "" when it fails even at that, in whatever way."""
    try:
        return str.__str__(value if isinstance(value, str) and words is str else words(value))
    except BaseException:
        return ""
