"""Processes that use the verbs while others claim: ``operators.py STATE_DB ROLE NUMBER``.

``tick`` claims and takes for ever, and counts its rounds in a file; ``steer`` holds, adds and reschedules at
random, as often as it is told. All of them may be killed at any moment.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from helpers import NOON, an_outcome, seconds, taken

from dracotask.control import Control
from dracotask.errors import ControlError, ScheduleNotFound, StoreBusy
from dracotask.stores.base import Store
from dracotask.stores.sqlite import SQLiteStore
from dracotask.tick import Tick
from dracotask.triggers.interval import IntervalTrigger

#: The names that everybody fights about.
NAMES = [f"Report of shop {number}" for number in range(6)]


def beats(folder: Path) -> list[int]:
    """Return how many rounds each ticking process has begun."""
    return [os.stat(path).st_size for path in folder.glob("beat.*")]


def moment(folder: Path) -> datetime:
    """Return what time it is in this story: a second for each round of the fastest process."""
    return NOON + seconds(max(beats(folder), default=0))


def tick(store: Store, folder: Path, number: int) -> None:
    """Claim what is due and begin and end what is queued, for ever."""
    beat = os.open(folder / f"beat.{number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    decisions = Tick(store, lambda sentence: None)
    while True:
        os.write(beat, b".")
        try:
            decisions.claim_due(moment(folder), "tick")
            for run in store.queued(4):
                if mine := taken(store, run, now=moment(folder)):
                    store.finish(mine, an_outcome())
        except StoreBusy:
            pass  # nobody waits for ever; the next round is soon
        time.sleep(0.002)  # SQLite knows no queue: who never rests lets nobody in


def steer(store: Store, folder: Path, number: int) -> None:
    """Use verbs at random until killed, or a hundred times."""
    dice = random.Random(f"{number} {os.getpid()}")
    control = Control(store, by=f"operator {number}", log=lambda sentence: None)
    for _ in range(100):
        try:
            dice.choice(VERBS)(control, dice, dice.choice(NAMES), moment(folder))
        except (ControlError, ScheduleNotFound, StoreBusy):
            pass  # somebody was quicker: it is there already, or gone


def _hold(control: Control, dice: random.Random, name: str, now: datetime) -> None:
    control.hold(name, now, until=dice.choice([None, now + seconds(10**6)]), why=f"why {dice.random()}")


def _resume(control: Control, dice: random.Random, name: str, now: datetime) -> None:
    control.resume(name, now)


def _add(control: Control, dice: random.Random, name: str, now: datetime) -> None:
    arguments = {"shop": dice.randrange(1000)}
    control.add(name, "Report", _rule(dice), now, arguments=arguments, replace=dice.random() < 0.5)


def _reschedule(control: Control, dice: random.Random, name: str, now: datetime) -> None:
    control.reschedule(name, _rule(dice), now)


def _remove(control: Control, dice: random.Random, name: str, now: datetime) -> None:
    control.remove(name, now)


def _rule(dice: random.Random) -> IntervalTrigger:
    return IntervalTrigger(every=dice.randrange(1, 60))


Verb = Callable[[Control, random.Random, str, datetime], None]

VERBS: list[Verb] = [_hold, _resume, _add, _add, _reschedule, _remove]

ROLES = {"tick": tick, "steer": steer}

if __name__ == "__main__":
    path = Path(sys.argv[1])
    with SQLiteStore(str(path)).open() as opened:
        ROLES[sys.argv[2]](opened, path.parent, int(sys.argv[3]))
