"""The process launcher: one supervisor for each free slot, forked from the tick.

A fork costs a quarter of an interpreter's start, and the tick is a fresh process without
threads, so nothing stands against one. The supervisor holds its slot's lock for life; so the
cap holds over any number of ticks, and a dead supervisor's slot is free at once.
"""

from __future__ import annotations

import os
import time

from ..failpoints import reach
from ..state import lock, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..run.supervisor import Supervisor
    from ..state import State


class ProcessLauncher:
    """Forks supervisors.

    :param max_running: how many there may be at once, on this host and for this site.
    :param private: descriptors of the tick that no supervisor may keep (its lock).
    :param is_open: tells whether a slot may still be used; asked before each further Run, for the
        configuration may have changed since the tick.
    """

    def __init__(
        self,
        state: State,
        supervisor: Supervisor,
        *,
        max_running: int,
        private: list[int],
        is_open: Callable[[int], bool],
    ) -> None:
        self.state, self.supervisor = state, supervisor
        self.max_running, self.private, self.is_open = max_running, private, is_open
        self.children: list[int] = []
        self._news, self._way = os.pipe()
        os.set_blocking(self._way, False)

    def launch(self, wanted: int) -> None:
        """Fork a supervisor for each of ``wanted`` Runs, or for as many as there are free slots.

        The store must be closed. What finds no slot stays queued: a supervisor that is done takes the next.
        """
        # Once for all the supervisors and bodies to come, which share it.
        from ..run import body as body
        from ..run import outcome as outcome
        from ..run import watch as watch

        for number in range(1, self.max_running + 1):
            if len(self.children) >= wanted:
                return
            path = self.state.slot(number)
            slot = _lock_or_ring(path)
            if slot is not None:
                try:
                    self._fork(number, slot)
                finally:
                    os.close(slot)

    def _fork(self, number: int, slot: int) -> None:
        child = os.fork()
        if child:
            self.children.append(child)
            return
        code = 1
        try:
            for descriptor in (*self.private, self._news):
                os.close(descriptor)
            self.supervisor.news = self._way
            reach("supervisor_forked")
            self.supervisor.listen()
            self._work_off_queue(number, slot)
            code = 0
        except BaseException as error:
            self.state.log(f"A supervisor failed: {type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _work_off_queue(self, number: int, slot: int) -> None:
        """Work while there is work; and again when a tick came for the slot after the last look at the queue."""
        path = self.state.slot(number)
        held: int | None = slot
        while held is not None:
            rung = os.fstat(held).st_mtime_ns
            self.supervisor.work_off_queue(lambda: self.is_open(number))
            unlock(held)
            held = lock(path, patience=0) if os.stat(path).st_mtime_ns != rung else None

    def wait(self, hear: Callable[[], None] = lambda: None) -> None:
        """Wait until every supervisor forked here has ended, so that none is left to a PID 1 that does not reap.

        :param hear: called when one of them has something to tell.
        """
        os.close(self._way)
        while os.read(self._news, 1 << 12):  # until all of them have let go of the other end
            hear()
        os.close(self._news)
        for child in self.children:
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                pass


def _lock_or_ring(path: str) -> int | None:
    """Take a slot; one that is held is rung, so that who has just looked in vain looks again when it lets go."""
    slot = lock(path, patience=0)
    if slot is None:
        now = time.time_ns()
        os.utime(path, ns=(now, now))
        slot = lock(path, patience=0)
    return slot
