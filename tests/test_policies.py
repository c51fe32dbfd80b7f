"""What a policy makes of fire times, failures and crowds: stories over both stores, with the time handed in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import a_policy, a_run, a_schedule, an_outcome, at, stored, taken
from programs import Gated, Program

from dracotask import Retry, Task
from dracotask.adoption import Adoption
from dracotask.control import Control
from dracotask.errors import ControlError
from dracotask.model import Declaration, Policy, Run, Schedule
from dracotask.retries import next_attempt
from dracotask.run.load import Loaded
from dracotask.state import State
from dracotask.stores.base import Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sql import IS_ACTIVE
from dracotask.stores.sqlite import SQLiteStore
from dracotask.tick import Tick

EVERY_TEN = "every 10m from 2026-11-21T00:00:00+00:00"


def clock(text: str) -> datetime:
    """Return a time of day of the 21st of November 2026, in UTC."""
    return at(f"2026-11-21T{text}+00:00")


class Shop:
    """A store with the schedule Import, of every ten minutes, and short words for what happens to it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.said = store, []
        self.tick = Tick(store, self.said.append)
        self.control = Control(store, by="anna", log=self.said.append)
        self.state = State(str(folder))
        self.state.create()

    def open(self, first: str = "10:00:00", **policy: Any) -> None:
        facts = {"trigger": EVERY_TEN, "next_fire_time": clock(first), "parameters": "[]"}
        stored(self.store, a_schedule("Import", policy=a_policy(**policy), **facts))

    def declare(self, now: str, **policy: Any) -> None:
        """Load a task file in which Import has this policy."""
        declared = Declaration(
            name="Import", trigger=EVERY_TEN, parameters="[]", policy=a_policy(**policy), description="", source="x:1"
        )
        Adoption(self.state, self.store).adopt(Loaded([declared], "", None, has_file=True, warning=None), clock(now))

    def schedule(self, name: str = "Import") -> Schedule:
        found = self.store.schedule(name)
        assert found is not None
        return found

    def look(self, now: str) -> list[Run]:
        """Claim what is due and return what waits."""
        self.tick.claim_due(clock(now), "tick")
        return self.store.runs(states=["queued"], limit=None)

    def begin(self, now: str) -> Run:
        """Take the next Run."""
        (run,) = self.store.takeable(1, clock(now))
        begun = taken(self.store, run, limit=Policy.from_text(run.policy).most_at_work, now=clock(now))
        assert begun is not None
        return begun

    def end(self, run: Run, now: str, state: str = "succeeded", **facts: Any) -> Run:
        """See a Run to an end, or to its retry."""
        outcome = an_outcome(state=state, finished_at=clock(now), **facts)
        assert self.store.finish(run, outcome, retry_at=next_attempt(run, outcome)) is not None
        found = self.store.run(run.id)
        assert found is not None
        return found

    def fail(self, now: str, error: str = "ConnectionError: gone", state: str = "failed") -> Run:
        """Take the next Run and let it fail."""
        return self.end(self.begin(now), now, state, error=error)

    def rows(self) -> list[tuple[str, str, str | None]]:
        """Return state, time of day and reason of what did not run, in order."""
        rows = self.store.runs(states=("skipped", "missed"), limit=None)
        rows.sort(key=lambda row: row.fire_time or row.queued_at)
        return [(row.state, f"{row.fire_time:%H:%M}", row.summary) for row in rows]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Shop:
    return Shop(store, tmp_path)


def minutes(runs: list[Run]) -> list[str]:
    """Return the time of day of each Run's fire time, in order."""
    return sorted(f"{run.fire_time:%H:%M}" for run in runs if run.fire_time)


# -- After a downtime --------------------------------------------------------------------------


def test_after_a_downtime_each_fire_time_may_have_its_run_one_after_the_other(shop):
    # Given a schedule whose every fire time counts, but of a downtime only three
    shop.open(coalesce="all", catch_up=3)

    # When nobody has looked for an hour
    assert minutes(shop.look("11:05:00")) == ["10:40", "10:50", "11:00"]

    # Then they run in their order, one at a time
    for minute in ("10:40", "10:50", "11:00"):
        run = shop.begin("11:05:00")
        assert f"{run.fire_time:%H:%M}" == minute
        assert shop.store.takeable(5, clock("11:05:00")) == []
        shop.end(run, "11:05:01")
    assert shop.rows() == [("skipped", "10:30", "came late: only the latest 3 became runs")]


def test_no_fire_time_is_claimed_twice_when_the_clock_goes_back(shop):
    shop.open(coalesce="all", overlap="queue")
    shop.look("10:25:00")
    moved_back = shop.schedule().but(next_fire_time=clock("10:10:00"))
    assert shop.store.put_schedule(moved_back)
    assert minutes(shop.look("10:35:00")) == ["10:00", "10:10", "10:20", "10:30"]


def test_the_earliest_runs_and_the_row_of_the_others_does_not_swallow_it(shop):
    # Given a row of others that ends just before
    shop.open(coalesce="earliest")
    shop.look("10:35:00")
    shop.end(shop.begin("10:35:00"), "10:36:00")

    # When the same happens once more
    assert minutes(shop.look("11:15:00")) == ["10:40"]

    # Then there are two rows, with the run between them
    found = [(f"{row.fire_from:%H:%M}", f"{row.fire_time:%H:%M}", row.fire_count)
             for row in shop.store.runs(states=["skipped"], limit=None)]  # fmt: skip
    assert sorted(found) == [("10:10", "10:30", 3), ("10:50", "11:10", 3)]


def test_what_is_too_late_is_missed_and_says_so(shop):
    shop.open(grace=300.0)
    assert minutes(shop.look("10:22:00")) == ["10:20"]
    assert shop.rows() == [("missed", "10:10", "up to 22m late; its grace is 5m")]


def test_what_waited_too_long_for_a_slot_is_missed_and_the_next_one_begins(shop):
    # Given two fire times that wait for a free slot
    shop.open(coalesce="all", overlap="queue", grace=900.0)
    shop.look("10:00:00")
    assert minutes(shop.look("10:10:00")) == ["10:00", "10:10"]

    # When there is room at last
    run = shop.begin("10:16:00")

    # Then the late one was not begun
    assert f"{run.fire_time:%H:%M}" == "10:10"
    assert ("missed", "10:00", "16m late; its grace is 15m") in shop.rows()


def test_after_a_long_wait_thousands_are_found_late_in_a_few_steps(tmp_path):
    # Given a queue of twelve hundred, all of which have waited too long
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        with store.transaction():
            for number in range(1200):
                late = a_run(f"Task{number}", policy=a_policy(grace=60.0), fire_time=clock("10:00:00"))
                store.add_run(late)

        # When somebody looks for the next one
        steps: list[str] = []
        store._connection.set_trace_callback(steps.append)
        assert store.takeable(1, clock("12:00:00")) == []
        store._connection.set_trace_callback(None)

        # Then all are on record, and the disk was waited for a few times only
        assert len(store.runs(states=["missed"], limit=None)) == 1200
        assert sum(step == "COMMIT" for step in steps) < 15


def test_a_further_attempt_is_not_late(shop):
    shop.open(grace=60.0, retries=1, retry_delay=600.0)
    shop.look("10:00:00")
    shop.fail("10:00:10")
    assert shop.begin("10:10:10").attempt == 2


def test_a_run_that_was_asked_for_is_never_too_late(shop):
    shop.open(grace=60.0)
    run = shop.control.run_now("Import", clock("09:00:00"))
    assert shop.begin("09:55:00").id == run.id


# -- While one is active -----------------------------------------------------------------------


def test_the_next_fire_time_waits_for_the_end_and_the_one_after_is_skipped(shop):
    # Given a run that takes longer than its interval
    shop.open(overlap="queue")
    shop.look("10:00:00")
    long = shop.begin("10:00:01")

    # When two fire times pass meanwhile
    assert minutes(shop.look("10:10:00")) == ["10:10"]
    assert minutes(shop.look("10:20:00")) == ["10:10"]
    assert shop.store.takeable(1, clock("10:21:00")) == []

    # Then one begins at the end, and the other is on record
    shop.end(long, "10:22:00")
    assert minutes([shop.begin("10:22:00")]) == ["10:10"]
    assert shop.rows() == [("skipped", "10:20", "still running since 10:00:01 UTC, and one waits already")]


def test_runs_may_begin_beside_each_other(shop):
    shop.open(overlap="allow")
    for minute in ("10:00:00", "10:10:00", "10:20:00"):
        shop.look(minute)
        shop.begin(minute)
    assert minutes(shop.store.running()) == ["10:00", "10:10", "10:20"]
    assert shop.rows() == []


def test_of_what_waits_the_highest_priority_begins_first_and_then_the_oldest(shop):
    for number, priority in enumerate([0, -5, 7, 0, 7]):
        shop.store.add_run(a_run(f"Task{number}", id=f"{number:026d}", priority=priority))
    order = [run.task for run in shop.store.queued(9)]
    assert order == ["Task2", "Task4", "Task0", "Task3", "Task1"]


def test_a_run_has_the_priority_of_its_policy(shop):
    shop.open(priority=42)
    assert [run.priority for run in shop.look("10:00:00")] == [42]
    assert shop.control.run_now("Import", clock("10:00:00")).priority == 42


def test_ten_thousand_in_the_queue_are_not_sorted_for_the_first(tmp_path):
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        plan = store._execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM runs WHERE {IS_ACTIVE} AND state = ? ORDER BY priority DESC, id",
            ("queued",),
        ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH runs USING INDEX runs_state (state=?)"]


# -- Retries -----------------------------------------------------------------------------------


def test_a_failed_run_waits_and_is_tried_again(shop):
    # Given a task with two retries
    shop.open(retries=2, retry_delay=60.0)
    shop.look("10:00:00")

    # When it fails
    waiting = shop.fail("10:00:30")

    # Then it waits, and says what went wrong and when it goes on
    assert (waiting.state, waiting.not_before, waiting.attempt) == ("queued", clock("10:01:30"), 1)
    assert (waiting.error, waiting.finished_at, waiting.token) == ("ConnectionError: gone", None, None)
    assert shop.store.queued(5, clock("10:01:29")) == shop.store.queued(5) == []
    assert shop.store.next_fire_time(clock("10:00:30")) == clock("10:01:30")

    # And at that moment it is tried again, and after that once more
    assert shop.fail("10:01:30", "Busy").not_before == clock("10:03:30")
    ended = shop.end(shop.begin("10:03:30"), "10:03:31", summary="at last")
    assert (ended.state, ended.attempt, ended.error, ended.not_before) == ("succeeded", 3, None, None)
    assert [(each["attempt"], each["state"], each["error"]) for each in json.loads(ended.attempts)] == [
        (1, "failed", "ConnectionError: gone"), (2, "failed", "Busy"),
    ]  # fmt: skip
    assert json.loads(ended.attempts)[0]["started_at"] == "2026-11-21T10:00:30Z"


def test_the_last_attempt_is_the_outcome(shop):
    shop.open(retries=1)
    shop.look("10:00:00")
    shop.fail("10:00:00")
    ended = shop.fail("10:01:00", "over its limit", "timed_out")
    assert (ended.state, ended.attempt, ended.error) == ("timed_out", 2, "over its limit")


def test_nobody_takes_a_run_before_its_retry(shop):
    shop.open(retries=1)
    shop.look("10:00:00")
    waiting = shop.fail("10:00:00")
    assert taken(shop.store, waiting, now=clock("10:00:59")) is None
    assert taken(shop.store, waiting, now=clock("10:01:00")) is not None


def test_a_retry_that_waits_keeps_neither_a_fire_time_nor_a_demand_waiting(shop):
    # Given a run that waits for its retry
    shop.open(retries=1, retry_delay=3600.0)
    shop.look("10:00:00")
    waiting = shop.fail("10:00:01")

    # When the next fire time comes, and somebody demands a run
    assert minutes(shop.look("10:10:00")) == ["10:00", "10:10"]
    shop.end(shop.begin("10:10:00"), "10:10:01")
    demanded = shop.control.demand("Import", clock("10:11:00"))

    # Then both have begun before it
    assert demanded is not None and demanded.id != waiting.id
    assert shop.begin("10:11:00").id == demanded.id


def test_a_demand_at_the_failure_is_answered_at_once(shop):
    shop.open(retries=1, retry_delay=3600.0)
    shop.look("10:00:00")
    run = shop.begin("10:00:00")
    assert shop.control.demand("Import", clock("10:00:01")) is None
    shop.end(run, "10:00:02", "failed")
    assert shop.begin("10:00:02").origin == "demand"


@pytest.mark.parametrize("how", ["stop", "remove"])
def test_a_retry_that_waits_can_be_stopped_and_removed_like_what_is_queued(shop, how):
    # Given a run of a schedule that was added, which waits for its retry
    shop.open(retries=3)
    shop.control.add("Shoes", "Import", None, clock("10:00:00"))
    shop.control.run_now("Shoes", clock("10:00:00"))
    waiting = shop.fail("10:00:01")
    assert (waiting.schedule, waiting.state) == ("Shoes", "queued")

    # When it is stopped, or its schedule removed
    getattr(shop.control, how)("Shoes", clock("10:00:02"))

    # Then it is over, and wakes nobody
    run = shop.store.run(waiting.id)
    assert (run.state, run.not_before) == ("stopped" if how == "stop" else "skipped", None)
    assert shop.store.next_fire_time(clock("10:00:02")) == clock("10:00:00")
    assert run.error == ("stopped by anna before its retry" if how == "stop" else "ConnectionError: gone")


def test_a_retry_does_not_wait_for_a_clock_that_was_wrong_by_a_year(shop):
    # Given a Run that has failed while the clock was a year ahead
    shop.open("10:00:00", retries=3, retry_delay=3600.0)
    ahead = at("2027-11-21T10:00:00+00:00")
    shop.tick.claim_due(ahead, "tick")
    (run,) = shop.store.takeable(1, ahead)
    outcome = an_outcome(state="failed", finished_at=ahead)
    begun = taken(shop.store, run, now=ahead)
    assert shop.store.finish(begun, outcome, retry_at=next_attempt(begun, outcome)) is not None
    assert shop.store.takeable(1, clock("10:30:00")) == []

    # When the clock is right again
    shop.tick.claim_due(clock("10:30:00"), "tick")

    # Then it is tried again at once
    assert shop.begin("10:30:00").attempt == 2


def test_a_retry_that_is_to_come_in_a_week_waits_when_the_clock_goes_back(shop):
    # Given a Run that is tried again in a week, and a watermark that a clock has left far ahead
    shop.open("10:00:00", retries=3, retry_delay=7 * 86400.0, retry_max_delay=7 * 86400.0)
    shop.look("10:00:00")
    waiting = shop.fail("10:00:01")
    assert shop.store.put_schedule(shop.schedule().but(watermark=at("2027-01-01T00:00:00+00:00")))

    # When that is set back
    shop.tick.claim_due(clock("10:05:00"), "tick")

    # Then the Run waits for its week
    found = shop.store.run(waiting.id)
    assert found is not None and found.not_before == waiting.not_before


def test_a_retry_of_what_is_held_waits_for_the_resume(shop):
    shop.open(retries=1)
    shop.look("10:00:00")
    shop.fail("10:00:00")
    shop.control.hold("Import", clock("10:00:01"))
    assert shop.store.takeable(1, clock("10:05:00")) == []
    # And nobody looks for it again and again
    assert shop.store.next_fire_time(clock("10:05:00")) is None
    shop.control.resume("Import", clock("10:06:00"))
    assert shop.begin("10:06:00").attempt == 2


def test_who_is_asked_to_stop_and_fails_is_not_tried_again(shop):
    shop.open(retries=3)
    shop.look("10:00:00")
    run = shop.begin("10:00:00")
    shop.control.stop("Import", clock("10:00:01"))
    assert shop.end(run, "10:00:02", "failed").state == "failed"


def test_what_was_removed_while_it_was_at_work_is_not_tried_again(shop):
    shop.open(retries=3)
    shop.control.add("Shoes", "Import", None, clock("10:00:00"))
    shop.control.run_now("Shoes", clock("10:00:00"))
    run = shop.begin("10:00:00")
    shop.control.remove("Shoes", clock("10:00:01"))
    assert shop.end(run, "10:00:02", "failed").state == "failed"


# -- Failures in a row -------------------------------------------------------------------------


def test_after_some_failures_in_a_row_a_schedule_is_held_and_says_why(shop):
    # Given a task that is to be held after the third failure, each with a retry
    shop.open(pause_after=3, retries=1, retry_delay=1.0, retry_backoff=1.0)
    for minute in ("10:00", "10:10"):
        shop.look(f"{minute}:00")
        shop.fail(f"{minute}:00")
        assert shop.schedule().failures == (None if minute == "10:00" else 1)  # what waits is no failure yet
        shop.fail(f"{minute}:01")
    assert (shop.schedule().failures, shop.schedule().held_at) == (2, None)

    # When it fails for the third time
    shop.look("10:20:00")
    shop.fail("10:20:00")
    shop.fail("10:20:01", "over its limit", "timed_out")

    # Then it is held, and that is on record
    held = shop.schedule()
    why = "3 failures in a row: over its limit"
    assert (held.held_at, held.held_by, held.held_why) == (clock("10:20:01"), "dracotask", why)
    (action,) = shop.store.actions(schedule="Import")
    assert (action.verb, action.by, action.why, action.rev) == ("hold", "dracotask", why, held.rev)
    assert shop.look("10:30:00") == []

    # And a resume counts anew
    shop.control.resume("Import", clock("10:31:00"))
    assert (shop.schedule().failures, shop.schedule().held_at) == (None, None)


def test_a_success_ends_the_row_and_a_stop_says_nothing(shop):
    shop.open(pause_after=2)
    told = []
    for minute, state in (("10:00", "failed"), ("10:10", "succeeded"), ("10:20", "lost"), ("10:30", "stopped")):
        shop.look(f"{minute}:00")
        shop.end(shop.begin(f"{minute}:00"), f"{minute}:01", state)
        told.append(shop.schedule().failures)
    assert told == [1, None, 1, 1]
    assert shop.schedule().held_at is None


def test_an_end_that_changes_no_count_leaves_the_schedule_alone(shop):
    shop.open()
    shop.look("10:00:00")
    before = shop.schedule()
    shop.end(shop.begin("10:00:00"), "10:00:01")
    assert shop.schedule() == before


def test_a_success_takes_no_statement_more_than_ever(tmp_path):
    # Given a run at work
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        shop = Shop(store, tmp_path)
        shop.open(pause_after=3, retries=5)
        shop.look("10:00:00")
        run = shop.begin("10:00:00")
        said: list[str] = []
        store._connection.set_trace_callback(said.append)

        # When it succeeds
        shop.store.finish(run, an_outcome())

        # Then its row is written and its schedule read, in one transaction
        assert [words.split()[0] for words in said] == ["BEGIN", "UPDATE", "SELECT", "COMMIT"]


# -- A policy of its own -----------------------------------------------------------------------


def test_an_added_schedule_may_have_another_policy_than_its_task(shop):
    shop.open(retries=1, nice=5)
    own = {"retries": 7, "grace": "5m", "retry_on": ["ConnectionError", "TimedOut"], "time_limit": None}
    added = shop.control.add("Shoes", "Import", None, clock("10:00:00"), policy=own)
    policy = Policy.from_text(added.policy)
    assert (policy.retries, policy.grace, policy.nice, policy.time_limit) == (7, 300.0, 5, None)
    assert policy.retry_on == "ConnectionError,TimedOut"
    assert Policy.from_text(shop.control.run_now("Shoes", clock("10:00:00")).policy) == policy


def test_its_own_policy_stays_when_that_of_the_task_changes(shop):
    # Given a schedule with a policy of its own
    shop.declare("09:00:00", retries=1, nice=5)
    shop.control.add("Shoes", "Import", None, clock("10:00:00"), policy={"retries": 7})

    # When the task has another one
    shop.declare("11:00:00", retries=2, nice=9, pause_after=3)

    # Then what the schedule says itself still counts
    policy = Policy.from_text(shop.schedule("Shoes").policy)
    assert (policy.retries, policy.nice, policy.pause_after) == (7, 9, 3)

    # And to replace it without any takes it away
    shop.control.add("Shoes", "Import", None, clock("11:00:01"), replace=True)
    assert Policy.from_text(shop.schedule("Shoes").policy).retries == 2


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"retires": 3}, "'retires' is no policy. Did you mean retries?"),
        ({"retry_on": ["None"]}, "retry_on = ['None'] cannot be: 'None' is no name of an exception."),
        ({"retries": 10**9}, "retries = 1000000000 cannot be: it must be a whole number from 0 to 1000."),
        ({"overlap": "que"}, "overlap = 'que' cannot be: it must be skip, queue or allow (queue?)."),
        ({"grace": -1}, "grace = -1 cannot be: -1 is negative: a length of time is not."),
        ({"pause_after": 0}, "pause_after = 0 cannot be: it must be greater than zero."),
        ({"held": True}, "'held' is no policy."),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_and_nothing_is_added(shop, own, words):
    shop.open()
    with pytest.raises(ControlError) as refused:
        shop.control.add("Shoes", "Import", None, clock("10:00:00"), policy=own)
    assert str(refused.value) == words
    assert shop.store.schedule("Shoes") is None


# -- In a program ------------------------------------------------------------------------------


class Flaky:
    """A callable that fails as often as it is told to."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0
        self.__name__ = "flaky"

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "at last"


def test_a_program_tries_again_what_failed(program):
    # Given a function that fails twice
    flaky = Flaky(ConnectionError("gone"), Retry("not there yet", after=5))
    program.scheduler.add(flaky, name="sync", policy={"retries": 3, "retry_delay": 60, "retry_on": "OSError"})
    program.scheduler.run_now("sync")
    program.advance()
    assert [(run.state, run.error) for run in program.runs()] == [("queued", "ConnectionError: gone")]

    # When its time comes, and comes again
    program.advance(59)
    assert flaky.calls == 1
    program.advance(1)
    assert program.runs()[0].error == "asked to be tried again: not there yet"
    program.advance(5)

    # Then it is done, in one Run
    (run,) = program.runs()
    assert (run.state, run.attempt, run.summary) == ("succeeded", 3, "at last")


def test_who_is_told_of_errors_hears_of_the_last_only(programs):
    heard: list[tuple[int, str]] = []
    program = programs(on_error=lambda run, error: heard.append((run.attempt, str(error))))
    program.scheduler.add(Flaky(OSError("one"), OSError("two")), name="sync", policy={"retries": 1})
    program.scheduler.run_now("sync")
    program.advance()
    program.advance(60)
    assert heard == [(2, "two")]


def test_a_task_of_a_program_has_its_policy_on_its_class(program):
    class Import(Task):
        retries, retry_delay, retry_on = 2, "10s", (KeyError,)
        priority = 3

        def run(self):
            raise LookupError("no such thing")

    program.scheduler.add(Import)
    run = program.scheduler.run_now("Import")
    program.advance()
    assert run.priority == 3
    assert program.states() == ["failed"]  # a LookupError is no KeyError


def test_a_program_that_is_busy_misses_what_is_too_late(programs):
    # Given a program with one thread, which is busy
    program: Program = programs(max_running=1)
    gated = Gated()
    program.scheduler.add(gated, name="long")
    program.scheduler.add(Flaky(), name="quick", every="1h", policy={"grace": "5m"})
    program.scheduler.run_now("long")
    program.pass_time(0)
    gated.wait()

    # When there is room only after the grace
    program.pass_time(hours=1)
    program.pass_time(minutes=6)
    gated.open()
    program.settle()

    # Then it was not begun
    (run,) = program.runs("quick")
    assert (run.state, run.summary) == ("missed", "6m late; its grace is 5m")


def test_a_program_holds_what_fails_and_fails(program):
    program.scheduler.add(
        Flaky(*[OSError("gone")] * 9), name="sync", every="10m", policy={"pause_after": 2}
    )
    for _ in range(5):
        program.advance(minutes=10)
    assert program.states() == ["failed", "failed"]
    assert program.scheduler.schedule("sync").held_why == "2 failures in a row: OSError: gone"


def test_a_program_can_make_up_for_all_and_let_runs_wait(program):
    program.scheduler.add(
        Flaky(), name="sync", every="10m", policy={"coalesce": "all", "catch_up": 4, "overlap": "queue"}
    )
    program.advance(hours=2)
    assert program.fire_times("sync") == ["13:30:00", "13:40:00", "13:50:00", "14:00:00"]


