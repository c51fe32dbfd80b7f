"""The one thread of a program's own Scheduler: it looks, sleeps until there is something to see, and can be woken."""

from __future__ import annotations

import logging
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: How long (seconds) the loop sleeps at most: a wall clock that was stepped is noticed within it.
LONGEST_SLEEP = 5.0

#: How long (seconds) it waits after a look that failed.
AFTER_FAILURE = 1.0

logger = logging.getLogger("dracotask.scheduler")


class Loop:
    """Looks until it is stopped; then it is done with.

    Whoever changes something calls :meth:`wake`. Calls are counted, and the loop sleeps only when no call came since
    it began its last look; so none is lost, whenever it comes.

    :param look: looks once, and returns how many seconds nothing will be due.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        # Its lock is reentrant, for a signal handler may say something in the midst of what it has interrupted. (Taken
        # by itself and not as the Condition: that is one step, so nothing comes between.)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._calls, self._answered = 1, 0  # its start is the first
        self._stopping = False
        self._thread = threading.Thread(target=self._go_round, name="dracotask-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have it look again, soon."""
        with self._lock:
            self._calls += 1
            self._changed.notify_all()

    def stop(self, wait: float) -> None:
        """Have it end after the look at hand, and wait for that."""
        with self._lock:
            self._stopping = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(wait)

    def has_answered(self, patience: float) -> bool:
        """Wait until a look has begun and ended since the last call, and tell whether one has."""
        with self._lock:
            return self._changed.wait_for(lambda: self._answered == self._calls, patience)

    def _go_round(self) -> None:
        while not self._stopping:
            calls = self._calls
            pause = self._look_safely()
            with self._lock:
                self._answered = calls
                self._changed.notify_all()
                if pause > 0 and calls == self._calls and not self._stopping:
                    self._changed.wait(min(pause, LONGEST_SLEEP))

    def _look_safely(self) -> float:
        try:
            return self._look()
        except Exception:
            logger.exception("The scheduler could not look at what is due, and tries again.")
            return AFTER_FAILURE
