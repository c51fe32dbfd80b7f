"""The engine of a program's own Scheduler: what looks at the clock there, and who does the work."""

from __future__ import annotations

import threading
from time import monotonic

from ..launchers.base import LocalRuns, LocalSteering, running_loop
from ..stores.interrupts import uninterrupted
from .loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ..launchers.aio import AsyncioLauncher
    from ..launchers.inline import InlineLauncher
    from ..launchers.thread import ThreadLauncher
    from .program import ProgramHome


class Engine:
    """What is at work in one process: the loop and the launchers. Started and stopped any number of times."""

    def __init__(self, home: ProgramHome) -> None:
        self.home = home
        self.loop: Loop | None = None
        self.runs = LocalRuns(
            home.store, work=home.work, now=home.now, zone=home.zone, steer=home.steer, ended=home.ended,
            is_coroutine=home.is_coroutine, begin_coroutine=self._begin_coroutine, wake=self.wake,
            max_running=home.max_running,
        )  # fmt: skip
        self.launcher = _launcher(home.launcher, self.runs)
        self._coroutines: AsyncioLauncher | None = None
        self._found_loop: AbstractEventLoop | None = None
        self._changing = threading.RLock()  # a signal handler may stop what it has interrupted

    def wake(self) -> None:
        loop = self.loop
        if loop is not None:
            loop.wake()

    def start(self) -> None:
        with uninterrupted, self._changing:
            self._find_loop()
            if self.loop is None:
                loop = Loop(self.home.look)
                loop.start()
                self.runs.open()
                self.loop = loop
                self.home.tell("StoreOpened", "LauncherStarted", "SchedulerStarted")
                loop.wake()

    def _find_loop(self) -> None:
        """Have coroutines that are still to begin run on the event loop at hand, if none was given."""
        if self.loop is None or self._found_loop is None:
            self._found_loop = running_loop()
            if self._coroutines is not None:
                self._coroutines.loop = self.home.given_loop() or self._found_loop

    def stop(self, wait: float) -> list[str]:
        until = monotonic() + wait
        with uninterrupted, self._changing:
            loop, self.loop = self.loop, None
            self.runs.close(self.home.by, "the scheduler was stopped")
            self.launcher.close()
            if self._coroutines is not None:
                self._coroutines.close()
        if loop is not None:
            loop.stop(wait)
        still_at_work = self.runs.wait(max(0.0, until - monotonic()))
        if loop is not None:
            self.home.tell("LauncherStopped", "StoreClosed", "SchedulerStopped")
            if self.home.audience is not None:
                self.home.audience.wait(max(0.0, until - monotonic()))
        return still_at_work

    # -- Launching -------------------------------------------------------------------------

    def launch(self) -> None:
        """Have the Runs done that wait, as far as there is room."""
        if self._coroutines is not None:
            self._coroutines.look()
        wanted = 0
        for run in self.runs.waiting():
            if not self.home.is_coroutine(run.task):
                wanted += 1
            elif (steering := self.runs.take(run)) is not None:
                self._begin_coroutine(steering)
        if wanted:
            self.launcher.launch(wanted)

    def _begin_coroutine(self, steering: LocalSteering) -> None:
        with self._changing:
            coroutines = self._coroutines
            if coroutines is None:
                from ..launchers.aio import AsyncioLauncher  # a program without coroutines needs no asyncio

                coroutines = AsyncioLauncher(self.runs, self.home.given_loop() or self._found_loop)
                self._coroutines = coroutines
        coroutines.begin(steering)


def _launcher(name: str, runs: LocalRuns) -> ThreadLauncher | InlineLauncher:
    if name == "inline":
        from ..launchers.inline import InlineLauncher

        return InlineLauncher(runs)
    from ..launchers.thread import ThreadLauncher

    return ThreadLauncher(runs)
