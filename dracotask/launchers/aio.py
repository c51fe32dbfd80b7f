"""The asyncio launcher: Runs of coroutine functions, any number at once, without a thread each.

They are on the event loop that the program gave or that was running where the Scheduler was started; else on one of
our own, in a thread. A stop and a time limit cancel them, as asyncio does: ``CancelledError`` is raised where they
wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from inspect import isawaitable

from ..errors import Stopped, TimedOut
from .base import LocalRuns, LocalSteering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: What a coroutine has returned, and what it has raised.
    End = tuple[object, BaseException | None]

#: How long (seconds) to wait for our own loop to begin.
LOOP_PATIENCE = 10.0

logger = logging.getLogger("dracotask.scheduler")


class AsyncioLauncher:
    """Does Runs on an event loop.

    :param runs: what is at work.
    :param loop: of the program; None for one of our own, in a thread that is there while it is needed.
    """

    def __init__(self, runs: LocalRuns, loop: asyncio.AbstractEventLoop | None) -> None:
        self.runs, self.loop = runs, loop
        self._own: _OwnLoop | None = None
        self._changing = threading.RLock()
        self._jobs: dict[str, asyncio.Task[End]] = {}

    def begin(self, steering: LocalSteering) -> None:
        """Begin a Run that was taken; from any thread."""
        try:
            with self._changing:
                loop = self.loop or self._own_loop()
                steering.loop, steering.when_stopped = loop, self._when_stopped
                loop.call_soon_threadsafe(self._start, steering, loop)
        except RuntimeError as error:  # it is closed, or no thread is to be had
            self.runs.end(steering, None, error)

    def look(self) -> None:
        """Give up what is at work on a loop that was closed: it will never come to an end."""
        for steering in self.runs.at_work():
            loop: Any = steering.loop
            if loop is not None and loop.is_closed():
                self._give_up(steering)

    def close(self) -> None:
        """Let our own loop end as soon as nothing is at work on it, when the Runs are closed."""
        self.look()
        with self._changing, self.runs.store.transaction():
            if self._own and not self.runs.is_open and all(s.loop is not self._own.loop for s in self.runs.at_work()):
                self._own.close()
                self._own = None

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._own is None:
            self._own = _OwnLoop()
        return self._own.loop

    def _give_up(self, steering: LocalSteering) -> None:
        job = self._jobs.pop(steering.run.id, None)
        self.runs.end(steering, None, None, lost_why="its event loop was closed while it was at work")
        if job is not None:
            try:
                job.get_coro().close()
            except BaseException:
                logger.exception("A run of %s could not be tidied up.", steering.run.schedule)

    # -- In the loop -----------------------------------------------------------------------

    def _start(self, steering: LocalSteering, loop: asyncio.AbstractEventLoop) -> None:
        job = self._jobs[steering.run.id] = loop.create_task(self._do(steering), name=f"dracotask {steering.run.id}")
        if steering.stopped_by is not None:
            job.cancel()
        alarm = None
        if steering.time_limit is not None:
            alarm = loop.call_later(steering.time_limit, self._time_is_up, steering)
        job.add_done_callback(lambda job: self._ended(steering, job, alarm))

    async def _do(self, steering: LocalSteering) -> End:
        """Do the work. What it raises is returned: asyncio would have a SystemExit end the loop."""
        try:
            result = self.runs.begin(steering)
            return await result if isawaitable(result) else result, None
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            return None, error

    def _when_stopped(self, steering: LocalSteering) -> None:
        """Have a Run cancelled; from any thread."""
        loop: Any = steering.loop
        try:
            loop.call_soon_threadsafe(self._cancel, steering)
        except RuntimeError:
            pass  # it is closed, which the next look sees

    def _time_is_up(self, steering: LocalSteering) -> None:
        steering.is_late = True
        self._cancel(steering)

    def _cancel(self, steering: LocalSteering) -> None:
        """Cancel a Run; one that asks whether to go on is let alone for half of its grace."""
        job = self._jobs.get(steering.run.id)
        if job is None:
            return  # it is over, or has not begun and sees for itself
        if steering.has_asked:
            job.get_loop().call_later(steering.grace / 2, job.cancel)
        else:
            job.cancel()

    def _ended(self, steering: LocalSteering, job: asyncio.Task[End], alarm: asyncio.TimerHandle | None) -> None:
        if alarm is not None:
            alarm.cancel()
        if self._jobs.pop(steering.run.id, None) is None:
            return  # it was given up
        self.runs.end(steering, *_end_of(steering, job))
        if self.runs.is_open:
            self.runs.wake()
        else:
            self.close()


def _end_of(steering: LocalSteering, job: asyncio.Task[End]) -> End:
    """Return what a coroutine has returned or raised; what has cancelled it is told from what it has raised itself."""
    try:
        return job.result()
    except asyncio.CancelledError as cancelled:
        if steering.is_wanted():
            if not job.cancelling():
                return None, cancelled  # nobody has: it has raised that by itself
            steering.stop("its event loop: the asyncio task was cancelled")
        error = Stopped() if steering.stopped_by is not None else TimedOut()
        error.__cause__ = cancelled
        return None, error
    except BaseException as error:
        return None, error


class _OwnLoop:
    """An event loop in a thread of its own, which ends as asyncio.run() does: nothing that was begun is left over.

    :raises RuntimeError: no thread is to be had.
    """

    def __init__(self) -> None:
        self._is_running = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        threading.Thread(target=asyncio.run, args=(self._serve(),), name="dracotask-asyncio", daemon=True).start()
        if not self._is_running.wait(LOOP_PATIENCE):
            raise RuntimeError("the event loop does not begin")

    async def _serve(self) -> None:
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._is_running.set()
        await self._over.wait()

    def close(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._over.set)
        except RuntimeError:
            pass  # a task has closed it
