"""What a tick costs by what is there and by what is due.

    python benchmarks/many_schedules.py [ROUNDS]

The process ``due`` as a whole, and within it the part over the store: claim, queue and next look.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path

from common import CHECKOUT, DRACOTASK, interleaved, say, site

from dracotask.clock import utc_now
from dracotask.model import Schedule
from dracotask.site import Site
from dracotask.stores.base import Store

TASK = """
from dracotask import Task

class Work(Task):
    def run(self):
        pass
"""

EXISTING, DUE = (10, 100, 1_000, 10_000), (0, 1, 10)


def fill(docroot: Path, number: int) -> Site:
    """Add so many schedules of a month; none is due for long."""
    found = Site(str(docroot))
    found.prepare()
    found.load()
    now = utc_now()
    with found.open_store() as store, store.transaction():
        work = store.schedule("Work")
        assert work is not None
        for count in range(number):
            upcoming = now + timedelta(days=2, seconds=count)
            added = work.but(
                name=f"Work{count:05}", declared=False, rev=0, watermark=now, next_fire_time=upcoming,
                trigger=f"every 30d from {upcoming.isoformat()}",
            )  # fmt: skip
            store.put_schedule(added)
    return found


def make_due(store: Store, number: int) -> None:
    now = utc_now()
    with store.transaction():
        for schedule in schedules(store, number):
            moved = {"next_fire_time": now - timedelta(seconds=1), "watermark": now - timedelta(days=1)}
            store.put_schedule(schedule.but(**moved))


def schedules(store: Store, number: int) -> list[Schedule]:
    return [found for count in range(number) if (found := store.schedule(f"Work{count:05}"))]


def decide(found: Site, due: int, rounds: int) -> float:
    """Return the median milliseconds of the part of a tick over the store, with so much due."""
    taken = []
    for _ in range(rounds):
        with found.open_store() as store:
            make_due(store, due)
        with found.open_store() as store:
            begun = time.perf_counter()
            assert found.decisions(store).claim_due(utc_now(), "tick") == due
            store.queued(4)
            found.adoption(store).next_look()
            taken.append(time.perf_counter() - begun)
            with store.transaction():
                for run in store.runs(states=["queued"], limit=None):
                    store.skip(run, "for the next round", utc_now())
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{sys.version.split()[0]}, {CHECKOUT.name}")
    decided, idle = {}, {}
    for existing in EXISTING:
        with site(TASK) as docroot:
            found = fill(docroot, existing)
            decided[existing] = [decide(found, due, rounds) for due in DUE]
            commands = {"bare": [sys.executable, "-c", "pass"], "due": [*DRACOTASK, str(docroot), "due"]}
            taken = interleaved(commands, rounds)
            idle[existing] = taken["due"] / taken["bare"]
    say(
        f"The part of a tick over the store, ms (median of {rounds}), and a tick with nothing due as a whole",
        [
            ("schedules", *(f"{due} due" for due in DUE), "due, x bare"),
            *((existing, *decided[existing], idle[existing]) for existing in EXISTING),
        ],
    )
