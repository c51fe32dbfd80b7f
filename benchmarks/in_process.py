"""What a program's own Scheduler costs, and how late it is.

    python benchmarks/in_process.py [SECONDS]

A thousand schedules of one second, their phases spread over it, for so many seconds (20): how late each run began, and
what share of a processor that took. Then a thousand that are due in one instant: until the last one is done.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import common

from dracotask.clock import utc_now
from dracotask.model import Run
from dracotask.scheduler import Scheduler
from dracotask.triggers.date import DateTrigger
from dracotask.triggers.interval import IntervalTrigger

SCHEDULES = 1000

#: The first of a second, which starts the threads, is not counted.
WARM_UP = 1.0


def spread(seconds: float) -> None:
    """Run a thousand schedules of one second, one each millisecond."""
    scheduler = Scheduler()
    lateness = listen(scheduler)
    begin = utc_now().replace(microsecond=0) + timedelta(seconds=2)
    for number in range(SCHEDULES):
        phase = begin + timedelta(seconds=number / SCHEDULES)
        scheduler.add(nothing, trigger=IntervalTrigger(every=1, start=phase), name=f"beat {number}")
    time.sleep(max(0.0, (begin - utc_now()).total_seconds()))
    with scheduler:
        time.sleep(WARM_UP)
        lateness.clear()
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
        late = lateness[:]
    common.say(
        f"{SCHEDULES} schedules of one second, their phases spread over it, for {seconds:.0f} s",
        [
            ("runs", len(late), f"of {SCHEDULES * seconds:.0f}"),
            ("started_at - fire_time, median", common.quantile(late, 0.5), "ms"),
            ("p99", common.quantile(late, 0.99), "ms"),
            ("the latest", max(late), "ms"),
            ("processor", 100 * share, "% of one"),
            ("a run", 1000 * share * seconds / len(late), "ms of processor"),
        ],
    )


def nothing() -> None:
    pass


def listen(scheduler: Any, call: Callable[[], object] = nothing) -> list[float]:
    """Return a list that gets how late (milliseconds) each Run began, by its record; then ``call``."""
    lateness: list[float] = []
    launcher = scheduler._home.engine().runs
    ended = launcher.ended

    def told(run: Run, *end: Any) -> None:
        ended(run, *end)
        assert run.started_at and run.fire_time
        lateness.append((run.started_at - run.fire_time).total_seconds() * 1000)
        call()

    launcher.ended = told
    return lateness


def burst() -> float:
    """Return how long (milliseconds) a thousand take that are due in one instant, until the last is on record."""
    numbers, all_done = itertools.count(1), threading.Event()
    scheduler = Scheduler()
    listen(scheduler, lambda: next(numbers) == SCHEDULES and all_done.set())
    moment = utc_now() + timedelta(seconds=2)
    for number in range(SCHEDULES):
        scheduler.add(nothing, trigger=DateTrigger(moment), name=f"once {number}")
    with scheduler:
        assert all_done.wait(60)
        return (utc_now() - moment).total_seconds() * 1000


def main() -> None:
    spread(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
    taken = sorted(burst() for _ in range(5))
    common.say(f"{SCHEDULES} due in one instant, until the last is on record (of five times)", [
        ("the best", taken[0], "ms"), ("median", taken[2], "ms"), ("the worst", taken[-1], "ms"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
