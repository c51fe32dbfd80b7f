"""The store decides every race: threads race for the memory store, processes for the SQLite file."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import racers
from helpers import NOON, a_policy, begun, runs_in_order, seconds

from dracotask.stores.base import Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore

PROCESSES = 4
THREADS = 8

#: Runs a race of that name to its end and returns what each racer won.
Race = Callable[[str], list[Any]]


def race_of_threads(store: Store, name: str, number: int) -> list[Any]:
    won: list[Any] = [None] * number
    line = threading.Barrier(number)

    def racer(mine: int) -> None:
        line.wait()
        won[mine] = racers.RACES[name](store, mine)

    threads = [threading.Thread(target=racer, args=(mine,)) for mine in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return won


def race_of_processes(path: Path, name: str, number: int) -> list[Any]:
    command = [sys.executable, racers.__file__, str(path), name]
    with ExitStack() as tidy:
        processes = []
        for mine in range(number):
            process = subprocess.Popen(
                [*command, str(mine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            tidy.enter_context(process)
            tidy.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=60)[0]) for process in processes]


@pytest.fixture(params=["memory", "sqlite"])
def raced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Race]]:
    """Return a store with prizes in it, and a way to run a race for them."""
    switching = sys.getswitchinterval()
    path = tmp_path / "state.db"
    if request.param == "memory":
        sys.setswitchinterval(1e-5)  # threads that take turns politely race for nothing
        store: Store = MemoryStore()
    else:
        store = SQLiteStore(str(path))
    with store.open():
        racers.lay_out(store)
        if request.param == "memory":
            yield store, lambda name: race_of_threads(store, name, THREADS)
        else:
            yield store, lambda name: race_of_processes(path, name, PROCESSES)
    sys.setswitchinterval(switching)


def joined(won: list[list[Any]]) -> list[Any]:
    return [prize for of_one in won for prize in of_one]


def test_each_fire_time_is_claimed_by_exactly_one(raced):
    # Given a schedule with a fire time each second
    store, race = raced

    # When everybody claims what comes
    claimed = joined(race("claim"))

    # Then each fire time was won once, and is one Run
    expected = [(NOON + seconds(number)).isoformat() for number in range(racers.PRIZES)]
    assert sorted(claimed) == expected
    assert sorted(run.fire_time.isoformat() for run in store.active("Every")) == expected


def test_each_queued_run_is_taken_by_exactly_one(raced):
    store, race = raced

    # When everybody takes what is queued
    won = race("take")

    # Then each Run was won once, and carries the token of its winner
    assert len(joined(won)) == len(set(joined(won))) == racers.PRIZES
    holders = {run.id: run.token for run in store.running()}
    assert holders == {run_id: f"racer {racer}" for racer, of_one in enumerate(won) for run_id in of_one}
    assert {run.attempt for run in store.running()} == {1}


def test_an_outcome_is_written_once(raced):
    # Given Runs at work under a token that several believe to be theirs
    store, race = raced
    for run in store.queued(limit=racers.PRIZES):
        store.take(run, token="everybody's", host="here", pid=1, now=NOON, limit=1)

    # When everybody finishes them
    written = joined(race("finish"))

    # Then each has one outcome
    assert len(written) == len(set(written)) == racers.PRIZES
    assert store.running() == []


def test_max_instances_is_never_exceeded(raced):
    # Given a crowd of queued Runs of one Task, of which two may be at work
    store, race = raced
    policy = a_policy(max_instances=racers.MOST_INSTANCES)
    with store.transaction():
        for run in runs_in_order(40, task="Crowd", policy=policy):
            store.add_run(run.but(id=run.id.replace("0", "z")))

    # When everybody takes and finishes
    at_work = joined(race("stay_within_limit"))

    # Then there were never more, and all were worked off
    assert len(at_work) == 40
    assert max(at_work) <= racers.MOST_INSTANCES


def test_nothing_is_claimed_or_taken_once_a_hold_is_committed(raced):
    # Given schedules with Runs queued, and racers who claim and take without a pause
    store, race = raced

    # When somebody holds one after the other
    at_hold = race("hold")[0]

    # Then each schedule looks as it did within the transaction of its hold
    assert {name: racers.marks(store, name) for name in at_hold} == at_hold


def test_nothing_is_taken_between_the_hold_of_a_site_and_its_end(raced):
    # Given racers who queue and take, or begin, without a pause
    _, race = raced

    # When somebody holds and resumes the site several times
    held, *begun_by_others = race("hold_site")

    # Then by the end of each hold just that is at work which was within the transaction that began it
    assert [at_end for _, at_end in held] == [at_hold for at_hold, _ in held]
    # And it was a race: each got something in before a hold and something after one
    assert len(held[-1][0]) > len(held[0][0]) > 0
    assert all(begun_by_others)


def test_of_an_exclusive_name_never_two_are_at_work(raced):
    # Given a crowd of queued Runs of two Tasks that share an exclusive name
    store, race = raced
    with store.transaction():
        for number, run in enumerate(runs_in_order(40, exclusive="the database")):
            name = racers.SHARERS[number % 2]
            store.add_run(run.but(id=run.id.replace("0", "z"), schedule=name, task=name))

    # When everybody takes and finishes
    at_work = joined(race("be_alone"))

    # Then each was at work alone, and all were worked off
    assert at_work == [1] * 40


def test_a_transaction_is_seen_whole_or_not_at_all():
    # Given a thread in the middle of a transaction on a shared memory store
    store = MemoryStore().open()
    run = begun(store, runs_in_order(1)[0])
    inside, seen, answered = threading.Event(), [], threading.Event()

    def look() -> None:
        inside.wait(10)
        seen.extend([store.note("fact"), store.run(run.id), store.known_runs([run.id]), store.schedule("New")])
        answered.set()

    looker = threading.Thread(target=look)
    looker.start()

    # When another looks meanwhile, and the transaction is undone
    with pytest.raises(RuntimeError), store.transaction():
        store.put_note("fact", "half a fact")
        store.request_stop(run.id, by="me", why=None, now=NOON)
        store.put_schedule(racers.a_schedule("New"))
        inside.set()
        answered.wait(0.1)
        raise RuntimeError
    looker.join(10)

    # Then it has seen nothing of it
    assert seen == [None, run, {run.id}, None]
