"""A program's own Scheduler for tests: on a clock that the test moves, with no waiting but for what is at work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from helpers import NOON

from dracotask import Scheduler, Task
from dracotask.model import Run

#: Ten times what the slowest of these things takes on a busy machine (seconds).
PATIENCE = 20.0


def nothing() -> None:
    pass


class Program:
    """A started Scheduler with nothing in it, and its clock."""

    def __init__(self, now: datetime = NOON, **options: Any) -> None:
        self.now = now
        self.scheduler = Scheduler(**{"by": "anna", "timezone": "UTC", "clock": lambda: self.now, **options})
        self.scheduler.start()

    @property
    def home(self) -> Any:
        return self.scheduler._home

    def advance(self, seconds: float = 0, **more: float) -> None:
        """Let time pass, and all be done that is due then."""
        self.pass_time(seconds, **more)
        self.settle()

    def pass_time(self, seconds: float = 0, **more: float) -> None:
        """Let time pass, and what is due be begun; a task may wait for the test."""
        self.set(self.now + timedelta(seconds=seconds, **more))

    def set(self, now: datetime) -> None:
        self.now = now
        self.home.engine().wake()
        self.look()

    def look(self) -> None:
        """Wait until the loop has looked at all that was said and at the time."""
        assert self.home.engine().loop.has_answered(PATIENCE)

    def settle(self) -> None:
        """Wait until all is done that is due."""
        engine = self.home.engine()
        while True:
            self.look()
            assert engine.runs.wait(PATIENCE) == []
            with self.home.store.transaction():  # so that none is just on its way from the queue to a thread
                is_quiet = not self.home.store.queued(1, self.now) and not engine.runs.wait(0)
            if is_quiet and engine.loop.has_answered(0):
                return

    def runs(self, name: str | None = None) -> list[Run]:
        """Return the history, oldest first."""
        return self.scheduler.runs(name, limit=None)[::-1]

    def states(self, name: str | None = None) -> list[str]:
        return [run.state for run in self.runs(name)]

    def fire_times(self, name: str | None = None) -> list[str]:
        """Return the time of day of each fire time that ran."""
        return [f"{run.fire_time:%H:%M:%S}" for run in self.runs(name) if run.started_at and run.fire_time]


class Gated:
    """A callable that waits for the test: ``begun`` counts those who came, ``open()`` lets one through."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.begun, self.gate = threading.Semaphore(0), threading.Semaphore(0)
        self.at_once = self.most_at_once = 0
        self.then = then
        self.lock = threading.Lock()

    def __call__(self) -> object:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        self.begun.release()
        assert self.gate.acquire(timeout=PATIENCE)
        with self.lock:
            self.at_once -= 1
        return self.then()

    def wait(self) -> None:
        """Wait until another Run has come to the gate."""
        assert self.begun.acquire(timeout=PATIENCE)

    def open(self, number: int = 1) -> None:
        self.gate.release(number)


class Patient(Task):
    """Goes on until it is to stop; ``begun`` tells the test that it is at work."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def run(self) -> str:
        self.begun.set()
        pause = threading.Event()
        while self.proceed():
            pause.wait(0.001)
        return "came to a good place"


class NewThreads:
    """The threads of ours that have come since this was made, by name."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def __call__(self) -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - self._before if "dracotask" in thread.name]


def in_child(work: Callable[[], object]) -> str:
    """Do something in a forked child, and return what it returned, as text."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = repr(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(into, answer.encode())
        os._exit(0)
    os.close(into)
    with open(out) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer
