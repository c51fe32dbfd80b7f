"""Verbs are in force with their transaction, for every process, and what is on record is what happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import operators
import pytest
from helpers import NOON, a_schedule
from operators import NAMES, beats, moment
from sites import until

from dracotask.control import Control
from dracotask.model import Action, Schedule
from dracotask.stores.sqlite import SQLiteStore

ROUNDS = 200
WORKERS = 4
OPERATORS = 8

EVERY_SECOND = "every 1s from 2000-01-01T00:00:00+00:00"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(str(tmp_path / "state.db")).open() as opened:
        parameters = '[["shop", "int", false]]'
        opened.put_schedule(a_schedule(trigger=EVERY_SECOND, next_fire_time=NOON, parameters=parameters))
        yield opened


@pytest.fixture
def start(store: SQLiteStore) -> Iterator[Any]:
    """Return what starts a process of a role; all are killed at the end."""
    with ExitStack() as tidy:

        def begin(role: str, number: int) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, operators.__file__, store.path, role, str(number)])
            tidy.callback(process.wait)
            tidy.callback(process.kill)
            return process

        yield begin


def marks(store: SQLiteStore) -> list[str]:
    """Return what a claim or a take would change: the Runs, how far each is, and the schedule's watermark."""
    runs = [f"{run.id} {run.started_at} {run.fire_time}" for run in store.runs(limit=None)]
    return [*runs, *(f"{schedule.name} {schedule.watermark}" for schedule in store.schedules())]


def test_after_a_holds_commit_nothing_is_claimed_or_taken(store, start, tmp_path):
    # Given four processes that claim and begin a task without a pause
    workers = [start("tick", number) for number in range(WORKERS)]
    until(lambda: len(beats(tmp_path)) == WORKERS, "all are at it")
    control = Control(store, by="anna", log=lambda sentence: None)

    for _ in range(ROUNDS):
        # When it is held
        with store.transaction():
            control.hold("Report", moment(tmp_path))
            at_the_hold = marks(store)

        # Then nothing changes, though each of them tries
        seen = beats(tmp_path)
        until(lambda seen=seen: all(now > then + 1 for then, now in zip(seen, beats(tmp_path), strict=True)))
        assert marks(store) == at_the_hold

        # And when it is resumed, it goes on
        control.resume("Report", moment(tmp_path))
        count = len(at_the_hold)
        until(lambda count=count: len(marks(store)) > count + 1, "it goes on")
        store.prune("Report", keep=5, since=NOON)
    assert [worker.poll() for worker in workers] == [None] * WORKERS


def replayed(actions: list[Action]) -> dict[str, tuple[Any, ...]]:
    """Return the schedules to which the rows of the verbs lead: who holds it until when, rule and arguments."""
    found: dict[str, dict[str, Any]] = {}
    for action in sorted(actions, key=lambda action: (action.schedule, action.rev)):
        said = json.loads(action.details)
        state = found.get(action.schedule)
        match action.verb:
            case "add":
                kept = state or {"held_by": None, "held_why": None, "until": None}
                found[action.schedule] = {**kept, "trigger": said["trigger"], "arguments": said["arguments"]}
            case "remove":
                del found[action.schedule]
            case "hold":
                state |= {"held_by": action.by, "held_why": action.why, "until": said.get("until")}
            case "resume":
                state |= {"held_by": None, "held_why": None, "until": None}
            case "reschedule":
                state |= {"trigger": said["trigger"]}
    return {name: tuple(state[key] for key in sorted(state)) for name, state in found.items()}


def as_it_is(schedule: Schedule) -> tuple[Any, ...]:
    held_until = schedule.held_until.isoformat(timespec="microseconds") if schedule.held_until else None
    return schedule.arguments, schedule.held_by, schedule.held_why, schedule.trigger, held_until


def test_replaying_the_rows_of_the_verbs_gives_the_final_state(store, start):
    # Given eight processes that hold, add, reschedule and remove at random, and one that claims
    dice = random.Random(1)
    start("tick", 0)
    crowd = {number: start("steer", number) for number in range(OPERATORS)}

    # When one after the other is killed in the middle of it, and another comes
    while len(store.actions(limit=None)) < 300:
        number = dice.randrange(OPERATORS)
        count = len(store.actions(limit=None))
        until(lambda count=count: len(store.actions(limit=None)) > count + 5, "they go on")
        crowd[number].send_signal(signal.SIGKILL)
        crowd[number].wait()
        crowd[number] = start("steer", number)
    for process in crowd.values():
        process.kill()
        process.wait()

    # Then what is on record leads to what there is
    rows = store.actions(limit=None)
    assert len({(row.schedule, row.rev) for row in rows}) == len(rows)
    final = {schedule.name: as_it_is(schedule) for schedule in store.schedules() if schedule.name in NAMES}
    assert replayed(rows) == final
