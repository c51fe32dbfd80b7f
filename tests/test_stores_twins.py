"""The memory store and the SQLite file are twins: whatever is done to both, they answer alike."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from helpers import NOON, a_policy, a_run, a_schedule, an_action, an_outcome, seconds, taken

from dracotask import model, retries
from dracotask.clock import to_text
from dracotask.events import KINDS
from dracotask.model import Claim, Gap, new_run
from dracotask.stores import tallies
from dracotask.stores.base import CODE_NOTE, HOLD_NOTE, LISTENERS_NOTE, Store
from dracotask.stores.indices import Index
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore

NAMES = ("Riga", "Oslo", "Bern", "Rome")
TASKS = ("Report", "Backup")
ORIGINS = ("api", "console")


class Undone(Exception):
    """Raised to break a transaction off."""


class Story:
    """Things that happen to a store. Of one seed the story is always the same, whoever it happens to."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.dice = store, random.Random(seed)
        self.deeds: list[Callable[[], Any]] = [
            self.add, self.change, self.remove, self.claim, self.claim, self.claim, self.demand, self.queue, self.begin,
            self.take, self.take, self.give_back, self.finish, self.finish, self.progress, self.skip, self.stop,
            self.try_now, self.hold_site, self.act, self.prune, self.listen, self.keep_checkpoint, self.forget,
            self.load,
        ]  # fmt: skip

    def go_on(self) -> list[Any]:
        """Let a few things happen in one transaction, of which some break off; return what came of each."""
        answers: list[Any] = []
        try:
            with self.store.transaction():
                answers.extend(self.dice.choice(self.deeds)() for _ in range(self.dice.randint(1, 8)))
                if self.dice.random() < 0.2:
                    raise Undone
        except Undone:
            answers.append("undone")
        return answers

    def answers(self) -> dict[str, Any]:
        """Return what there is to know of the store."""
        store, now = self.store, self.moment()
        return {
            "schedules": store.schedules(), "due": store.due(now), "next": store.next_fire_time(),
            "later": store.next_fire_time(now),
            "over": store.holds_over(now), "ahead": store.ahead_of(now), "running": store.running(),
            "queued": [store.queued(2), store.queued(100), store.queued(100, now)],
            "last": store.last_runs(), "runs": store.runs(limit=None), "glances": store.glances(),
            "some": [store.schedules(["Rome", "Riga", "Nobody"]), store.last_runs(["Oslo", "Nobody"])],
            "recent": store.recent(NAMES, 3), "tallies": store.tallies(), "pages": self.pages(),
            "endings": store.endings(),
            "neighbours": [store.neighbours(run) for run in store.runs(limit=5)],
            "active": [store.active(name) for name in NAMES],
            "crowds": [store.crowds(NAMES), store.crowds([*NAMES, *map(str, range(99))])],
            "actions": store.actions(limit=None),
            "history": [store.runs(task=task, limit=3, states=states) for task in TASKS for states in (
                None, model.ENDED, ("missed", "running"),
            )],
            "events": [row.text for row in store.events(1000)],
            "done": [store.actions(schedule=name) for name in ("", *NAMES)],
        }  # fmt: skip

    def pages(self) -> list[Any]:
        """Return some pages of history, each for a question of which chance leaves out most."""
        ids = [run.id for run in self.store.runs(limit=None)] or ["0"]
        return [self.store.runs(**self.some_of({
            "task": self.dice.choice(TASKS), "schedule": self.dice.choice(NAMES), "origin": self.dice.choice(ORIGINS),
            "states": self.dice.sample((*model.ACTIVE, *model.ENDED, *model.NEVER_STARTED), 3),
            "before": self.dice.choice(ids), "after": self.dice.choice(ids), "limit": self.dice.randrange(9),
        })) for _ in range(5)]  # fmt: skip

    def some_of(self, question: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in question.items() if self.dice.random() < 0.4}

    def moment(self) -> Any:
        return NOON + seconds(self.dice.randrange(30))

    def perhaps(self, value: Any) -> Any:
        return value if self.dice.random() < 0.5 else None

    def some_schedule(self) -> Any:
        name = self.dice.choice(NAMES)
        return self.store.schedule(name) or a_schedule(
            name, task=self.dice.choice(TASKS), declared=False, policy=a_policy(pause_after=self.perhaps(2)),
            after=self.perhaps(f",{self.dice.choice(NAMES)},"),
        )

    def some_run(self, *states: str) -> Any:
        """Return a Run in one of these states, sometimes under another's token or of an older revision."""
        found = self.store.runs(states=states, limit=None)
        run = self.dice.choice(found) if found else a_run()
        return run.but(token="another's", rev=run.rev - 1) if self.dice.random() < 0.1 else run

    def a_new_run(self) -> Any:
        exclusive, instances = self.dice.choice((None, None, "db", "mta")), self.dice.randint(1, 2)
        return new_run(self.some_schedule(), self.moment(), self.dice.choice(ORIGINS)).but(
            policy=a_policy(max_instances=instances), exclusive=exclusive, despite_hold=self.dice.random() < 0.2,
            priority=self.dice.choice((0, 0, 5, -5)),
        )

    def add(self) -> Any:
        return self.store.put_schedule(self.some_schedule().but(rev=0, next_fire_time=self.moment()))

    def change(self) -> Any:
        until = self.perhaps(self.moment())
        moments = {name: self.perhaps(self.moment()) for name in ("next_fire_time", "held_at", "vanished_at")}
        return self.store.put_schedule(self.some_schedule().but(held_until=until, **moments))

    def remove(self) -> Any:
        return self.store.remove_schedule(self.some_schedule())

    def claim(self) -> Any:
        schedule, fire_time = self.some_schedule(), self.perhaps(self.moment())
        first, state, reason = self.moment(), self.dice.choice(model.NEVER_STARTED), self.dice.choice(("busy", "late"))
        last = first + seconds(self.dice.randrange(3))
        gap = self.perhaps(Gap(state=state, first=first, last=last, count=self.perhaps(2), reason=reason))
        fire_times = [fire_time, fire_time + seconds(1)][: self.dice.randint(1, 2)] if fire_time else []
        claim = Claim(
            fire_times=fire_times, gaps=[gap] if gap else [], next_fire_time=self.moment(), watermark=self.moment()
        )
        runs = [new_run(schedule, NOON, "tick", fire_time=fire_time) for fire_time in fire_times]
        return self.store.claim(schedule, claim, runs, self.moment())

    def demand(self) -> Any:
        run = self.a_new_run()
        return self.store.demand(run.schedule, run)

    def queue(self) -> Any:
        self.store.add_run(self.a_new_run())

    def begin(self) -> Any:
        run, limit = self.a_new_run(), self.dice.randint(1, 2)
        return self.store.begin(run, token="mine", host="here", pid=1, now=self.moment(), limit=limit)

    def take(self) -> Any:
        return taken(self.store, self.some_run("queued"), limit=self.dice.randint(1, 2), now=self.moment())

    def give_back(self) -> Any:
        return self.store.give_back(self.some_run("running"))

    def try_now(self) -> Any:
        return self.store.try_now(self.some_run("queued", "running"), self.moment())

    def finish(self) -> Any:
        cause = self.perhaps("busy")
        outcome = an_outcome(state=self.dice.choice(model.ENDED), finished_at=self.moment(), late_cause=cause)
        return self.store.finish(self.some_run("running"), outcome, retry_at=self.perhaps(self.moment()))

    def progress(self) -> Any:
        run, done, total = self.some_run("running"), self.dice.randrange(9), self.perhaps(9)
        self.store.report_progress(run, done, total, "counting", now=self.moment())

    def skip(self) -> Any:
        return self.store.skip(self.some_run("queued", "running"), "no use", self.moment())

    def stop(self) -> Any:
        run, grace = self.some_run("queued", "running", "failed"), self.perhaps(3)
        return self.store.request_stop(run.id, by="anna", why=None, now=self.moment(), grace=grace)

    def hold_site(self) -> Any:
        self.store.put_note(HOLD_NOTE, f"{to_text(NOON)}\tanna\tmoving" if self.dice.random() < 0.3 else None)

    def load(self) -> Any:
        self.store.put_note(CODE_NOTE, self.perhaps(f"code {self.dice.randrange(9)}"))

    def listen(self) -> Any:
        # (Progress is told with the time of day, and so never twice the same.)
        kinds = self.dice.sample([kind for kind in KINDS if kind != "RunProgressed"], 12)
        self.store.put_note(LISTENERS_NOTE, self.perhaps("\n".join(kinds)))

    def keep_checkpoint(self) -> Any:
        self.store.keep_checkpoint(self.some_run("running"), f"[{self.dice.randrange(9)}]")

    def forget(self) -> Any:
        waiting = self.store.events(1000)
        self.store.forget_events([self.dice.choice(waiting).number] if waiting else [])

    def act(self) -> Any:
        name = self.dice.choice(("", *NAMES))
        self.store.add_action(an_action(name, id=model.new_run_id(), at=self.moment(), rev=self.dice.randrange(40)))

    def prune(self) -> Any:
        if self.dice.random() < 0.1:
            self.store.prune_actions(self.moment())
        task, keep, limit = self.dice.choice(TASKS), self.dice.randrange(2, 9), self.dice.randint(1, 5)
        return self.store.prune(task, keep=keep, since=NOON + seconds(self.dice.randrange(5)), limit=limit)


@pytest.mark.parametrize("seed", range(6))
def test_two_stores_with_the_same_past_answer_alike(seed, tmp_path: Path, monkeypatch):
    # Given a store of each kind, where what is over is soon counted for good
    monkeypatch.setattr(tallies, "MOST_ANEW", 5)
    with MemoryStore().open() as memory, SQLiteStore(str(tmp_path / "state.db")).open() as sqlite:
        sqlite._execute("PRAGMA synchronous = OFF")
        stories = [Story(store, seed) for store in (memory, sqlite)]
        ids = [count(1), count(1)]
        for _ in range(60):
            # When the same happens to both
            told = []
            for story, numbers in zip(stories, ids, strict=True):
                for home in (model, retries):
                    monkeypatch.setattr(home, "new_run_id", lambda numbers=numbers: f"{next(numbers):026d}")
                told.append((story.go_on(), story.answers()))

            # Then the same came of it
            assert told[0] == told[1]


class Broken(BaseException):
    """Raised by a step of an index, as Ctrl-C might be between any two."""


@pytest.mark.parametrize("seed", range(20))
def test_a_change_that_breaks_off_between_any_two_steps_leaves_all_as_it_was(seed, monkeypatch):
    # Given a memory store with a past
    store = MemoryStore().open()
    story, dice = Story(store, seed), random.Random(seed)
    for _ in range(15):
        story.go_on()

    def kept() -> list[Any]:
        tables = (store._schedules, store._runs, store._actions, store._notes, store._tallies)
        return [({**table._values}, [copy.deepcopy(index._groups) for index in table._indices]) for table in tables]

    move, left = Index.move, [0]

    def break_off(index: Index[Any], old: Any, new: Any) -> None:
        left[0] -= 1
        if left[0] == 0 and dice.random() < 0.5:
            raise Broken
        before, after = index._spot(old), index._spot(new)
        if left[0] == 0 and before and before != after:  # it is gone from one place, and not yet in the other
            index._remove(*before)
            raise Broken
        move(index, old, new)
        if left[0] == 0:
            raise Broken

    # When any step of any change breaks off
    monkeypatch.setattr(Index, "move", break_off)
    for _ in range(30):
        before, left[0] = kept(), dice.randint(1, 40)
        try:
            story.go_on()
        except Broken:
            # Then all is as it was before, and nobody is kept out
            assert kept() == before
        assert (store._transaction.depth, store._transaction.journal) == (0, [])
