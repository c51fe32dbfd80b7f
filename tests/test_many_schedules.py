"""The cost of a tick is that of what is due, however many schedules there are.

It is counted and not timed: in steps of the machine that SQLite's statements are programs for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from dracotask.model import DEFAULT_POLICY, Policy, Schedule, new_run
from dracotask.stores.sqlite import SQLiteStore
from dracotask.tick import Tick

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
DAY = timedelta(days=1)


def schedule(name: str, **facts: object) -> Schedule:
    facts = {"trigger": "every 60d", "next_fire_time": NOON + 30 * DAY, "watermark": NOON - 30 * DAY, **facts}
    return Schedule(
        name=name, task="Work", declared=False, arguments="{}", parameters="[]",
        policy=Policy(**DEFAULT_POLICY).to_text(), description="", source="__tasks__.py:1", rev=0, **facts,
    )  # fmt: skip


def steps_of_a_tick(folder: Path, existing: int, **facts: object) -> int:
    """Return how many steps a tick takes in which three of so many schedules are due."""
    with SQLiteStore(str(folder / f"{existing}.db")).open() as store:
        with store.transaction():
            for number in range(existing):
                store.put_schedule(schedule(f"Far{number:05}", **facts))
            for number in range(3):
                store.put_schedule(schedule(f"Due{number}", next_fire_time=NOON - DAY))
        tick, steps = Tick(store, print), count()
        store._connection.set_progress_handler(lambda: next(steps) and 0, 1)
        assert tick.claim_due(NOON, "tick") == 3
        assert len(store.queued(10)) == 3
        store.next_fire_time()
        store._connection.set_progress_handler(None, 1)
    return next(steps)


def steps_for_each(folder: Path, due: int) -> float:
    """Return how many steps, in hundreds, a tick takes for each of so many schedules that are due.

    Of each a Run is queued already, and the fire time is to wait as well.
    """
    with SQLiteStore(str(folder / f"{due}.db")).open() as store:
        with store.transaction():
            for number in range(due):
                policy = Policy(**{**DEFAULT_POLICY, "max_instances": 2}).to_text()
                each = schedule(f"Due{number:05}", next_fire_time=NOON - DAY).but(policy=policy)
                store.put_schedule(each)
                store.add_run(new_run(each, NOON - DAY, "api"))
        tick, steps = Tick(store, print), count()
        store._connection.set_progress_handler(lambda: next(steps) and 0, 100)
        assert tick.claim_due(NOON, "tick") == due
        store._connection.set_progress_handler(None, 1)
    return next(steps) / due


def test_of_many_that_are_due_each_costs_no_more_than_of_few(tmp_path):
    # (What one claim queues is not gone through again at the claim of the next.)
    assert steps_for_each(tmp_path, 2000) <= 1.5 * steps_for_each(tmp_path, 100)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"held_at": NOON - DAY, "held_by": "test", "next_fire_time": NOON - DAY},
        {"vanished_at": NOON - DAY, "next_fire_time": NOON - DAY},
        {"next_fire_time": None, "trigger": None},
    ],
    ids=["due later", "held and overdue", "gone and overdue", "on demand"],
)
def test_what_is_not_due_costs_a_tick_nothing(tmp_path, facts):
    # Given a few schedules, and ten thousand
    few = steps_of_a_tick(tmp_path, 10, **facts)

    # Then a tick takes as many steps with all of them there
    assert steps_of_a_tick(tmp_path, 10_000, **facts) <= 1.05 * few
