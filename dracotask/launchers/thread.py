"""The thread launcher: Runs in threads of the process at hand, for what must see its memory.

A thread cannot be ended from outside. A stop and a time limit only turn ``proceed()`` False; what the Run becomes is
told when it returns. What it prints goes where the program's output goes.
"""

from __future__ import annotations

import logging
import threading

from .base import LocalRuns

#: How long (seconds) a thread without work waits for more before it ends.
IDLE = 30.0

logger = logging.getLogger("dracotask.scheduler")


class ThreadLauncher:
    """Does Runs in a few threads, which start when they are needed.

    A thread takes the next Run when it is through with its own.

    :param runs: what is at work, and where the next Run comes from.
    """

    def __init__(self, runs: LocalRuns) -> None:
        self.runs = runs
        # Reentrant, for a signal handler may call in the midst of what it has interrupted.
        self._lock = threading.RLock()
        self._called = threading.Condition(self._lock)
        self._calls = self._threads = self._idle = 0

    def launch(self, wanted: int) -> None:
        """See to it that somebody looks at the queue, for each of ``wanted`` Runs as far as there may be threads."""
        with self._lock:
            self._calls += 1
            self._called.notify(wanted)
            fresh = max(0, min(wanted - self._idle, self.runs.max_running - self._threads))
            self._threads += fresh
        for started in range(fresh):
            try:
                threading.Thread(target=self._work_on, name="dracotask-run", daemon=True).start()
            except RuntimeError:  # no thread is to be had, or the interpreter is about to end
                with self._lock:
                    self._threads -= fresh - started
                return

    def close(self) -> None:
        """Let idle threads end, when the Runs are closed."""
        with self._lock:
            self._called.notify_all()

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
                if waited_enough or not self.runs.is_open:
                    self._threads -= 1
                    return
                self._idle += 1
                waited_enough = not self._called.wait(IDLE)
                self._idle -= 1

    def _do_next(self) -> bool:
        """Take the next Run and do it; return whether there was one."""
        try:
            steering = self.runs.take_next()
        except BaseException:
            logger.exception("The next run could not be taken.")
            return False
        if steering is None:
            return False
        self.runs.do(steering)
        return True
