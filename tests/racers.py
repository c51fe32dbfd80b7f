"""What races for a store: each function is one racer's whole life, in a thread or as a process.

As a process: ``racers.py FILE NAME NUMBER`` says it is ready, waits for the starting line, and
prints what it won as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from helpers import NOON, a_run, a_schedule, an_outcome, runs_in_order, seconds, taken

from dracotask.model import Claim, Run, new_run
from dracotask.stores.base import HOLD_NOTE, Store
from dracotask.stores.sqlite import SQLiteStore

#: How many fire times, runs or schedules a race is about.
PRIZES = 60

MOST_INSTANCES = 2

#: How many times the site is held and resumed.
ROUNDS = 8

#: The Tasks that share an exclusive name.
SHARERS = ("Import", "Export")


def lay_out(store: Store) -> None:
    """Put into the store what the racers race for."""
    with store.transaction():
        for number in range(PRIZES):
            store.put_schedule(a_schedule(f"Task{number}", next_fire_time=NOON))
            store.add_run(runs_in_order(number + 1, task=f"Task{number}")[-1])
        store.put_schedule(a_schedule("Every", next_fire_time=NOON))


def claim(store: Store, racer: int) -> list[str]:
    """Claim each fire time of one schedule as it comes; return those won."""
    won: list[str] = []
    while True:
        schedule = store.schedule("Every")
        assert schedule is not None and schedule.next_fire_time is not None
        fire_time = schedule.next_fire_time
        if fire_time >= NOON + seconds(PRIZES):
            return won
        decided = Claim(fire_times=[fire_time], next_fire_time=fire_time + seconds(1), watermark=fire_time)
        if store.claim(schedule, decided, [new_run(schedule, NOON, "tick", fire_time=fire_time)], NOON):
            won.append(fire_time.isoformat())


def take(store: Store, racer: int) -> list[str]:
    """Take whatever is queued; return those won."""
    won: list[str] = []
    while queued := store.queued(4):
        won += [run.id for run in queued if taken(store, run, token=f"racer {racer}")]
    return won


def finish(store: Store, racer: int) -> list[str]:
    """Write the outcome of every Run that racer 0 took before the start; return those written."""
    runs = [run.but(token="everybody's") for run in store.runs(limit=None)]
    return [run.id for run in runs if store.finish(run, an_outcome()) is not None]


def stay_within_limit(store: Store, racer: int) -> list[int]:
    """Take Runs of one Task, and finish them a little later; return how many were at work with each."""
    seen: list[int] = []
    while waiting := [run for run in store.active("Crowd") if run.state == "queued"]:
        seen += _use_up(store, waiting[:2], racer, limit=MOST_INSTANCES)
    return seen


def _use_up(store: Store, runs: list[Run], racer: int, *, limit: int) -> list[int]:
    """Take these Runs, and finish those won a little later; return how many were at work with each."""
    seen: list[int] = []
    mine: list[Run] = []
    for run in runs:
        with store.transaction():
            if won := taken(store, run, token=f"racer {racer}", limit=limit):
                mine.append(won)
                seen.append(len(store.running()))
    time.sleep(0.002)
    for run in mine:
        store.finish(run, an_outcome())
    return seen


def hold(store: Store, racer: int) -> Any:
    """Racer 0 holds each schedule, and returns all Runs there and then; the others claim and take."""
    names = [f"Task{number}" for number in range(10)]
    if racer == 0:
        return {name: _hold(store, name) for name in names}
    open_ones = names
    while open_ones:
        open_ones = [name for name in open_ones if _use(store, name, racer)]
        time.sleep(0.002)  # SQLite knows no queue: who never rests lets nobody in
    return None


def _hold(store: Store, name: str) -> list[str]:
    time.sleep(0.02)
    with store.transaction():
        schedule = store.schedule(name)
        assert schedule is not None
        assert store.put_schedule(schedule.but(held_at=NOON, held_by="an operator"))
        return marks(store, name)


def _use(store: Store, name: str, racer: int) -> bool:
    """Claim and take once for a schedule; tell whether it was not held before we even began."""
    schedule = store.schedule(name)
    assert schedule is not None and schedule.next_fire_time is not None
    # What a racer read before the hold is what it goes on with after it.
    waiting = [run for run in store.active(name) if run.state == "queued"]
    was_open = schedule.held_at is None
    fire_time = schedule.next_fire_time
    decided = Claim(fire_times=[fire_time], next_fire_time=fire_time + timedelta(hours=1), watermark=fire_time)
    if was_open:
        store.claim(schedule, decided, [new_run(schedule, NOON, "tick", fire_time=fire_time)], NOON)
    for run in waiting[:2]:
        if mine := taken(store, run, token=f"racer {racer}"):
            store.finish(mine, an_outcome())
    return was_open


def hold_site(store: Store, racer: int) -> Any:
    """Racer 0 holds and resumes the site, and returns what was begun by each hold and by its end."""
    if racer == 0:
        held = [_hold_site(store) for _ in range(ROUNDS)]
        store.put_note("over", "")
        return held
    won = 0
    while store.note("over") is None:
        run = a_run(f"Free{racer}", id=f"{racer}-{won:09d}-{time.monotonic_ns()}")
        won += _begin(store, run, f"racer {racer}", at_once=won % 2 == 0)
        time.sleep(0.002)
    return won


def _hold_site(store: Store) -> list[list[str]]:
    time.sleep(0.01)
    with store.transaction():
        store.put_note(HOLD_NOTE, "by racer 0")
        at_hold = _begun(store)
    time.sleep(0.01)
    with store.transaction():
        at_end = _begun(store)
        store.put_note(HOLD_NOTE, None)
    return [at_hold, at_end]


def _begin(store: Store, run: Run, token: str, *, at_once: bool) -> bool:
    """Begin a Run, in one step or two; tell whether it could be."""
    if at_once:
        return store.begin(run, token=token, host="here", pid=1, now=NOON, limit=1000).token == token
    store.add_run(run)
    return taken(store, run, token=token, limit=1000) is not None


def _begun(store: Store) -> list[str]:
    return [run.id for run in store.running()]


def be_alone(store: Store, racer: int) -> list[int]:
    """Take Runs of two Tasks that share an exclusive name; return how many were at work with each."""
    seen: list[int] = []
    while waiting := [run for name in SHARERS for run in store.active(name) if run.state == "queued"]:
        seen += _use_up(store, waiting[:: len(waiting) // 2 + 1], racer, limit=1000)
    return seen


def marks(store: Store, name: str) -> list[str]:
    """Return what a claim or a take would change: which Runs there are, and which of them were begun."""
    return sorted(f"{run.id} {run.started_at}" for run in _runs_of(store, name))


def _runs_of(store: Store, name: str) -> list[Run]:
    return store.runs(task=name, limit=None)


def open_and_ask(store: Store, racer: int) -> list[str]:
    """Open a store that nobody has made yet, and write a note of one's own into it."""
    store.put_note(f"racer {racer}", "was here")
    return [f"racer {racer}"]


RACES: dict[str, Callable[[Store, int], Any]] = {
    race.__name__: race for race in (claim, take, finish, stay_within_limit, hold, hold_site, be_alone, open_and_ask)
}


def main() -> None:
    path, name, number = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    with SQLiteStore(path).open() as store:
        won = RACES[name](store, int(number))
    print(json.dumps(won), flush=True)


if __name__ == "__main__":
    main()
