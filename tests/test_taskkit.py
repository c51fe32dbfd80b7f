"""What Webware's TaskKit could do, a program's own Scheduler can; and each trap that was found in it is closed.

The letters A to H are the checks that correspond to TaskKit's own tests; what comes after is one test for each trap.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from helpers import NOON, at
from programs import PATIENCE, Gated, Patient, nothing

from dracotask import ControlError, ScheduleNotFound, Scheduler, Task
from dracotask.errors import BadTrigger
from dracotask.triggers.interval import IntervalTrigger

# -- A: start, stop, start -------------------------------------------------------------------------


def test_start_and_stop_come_in_any_order_and_number(program):
    # Given one that was never started
    scheduler = Scheduler()

    # When it is stopped, started twice, stopped twice and started again
    assert scheduler.stop() == []
    scheduler.start()
    scheduler.start()
    assert scheduler.is_running
    assert scheduler.stop() == scheduler.stop() == []
    assert not scheduler.is_running
    ran = threading.Event()
    scheduler.add(ran.set, name="ran")
    scheduler.start()

    # Then it works
    scheduler.run_now("ran")
    assert ran.wait(PATIENCE)
    assert scheduler.stop() == []


def test_a_stop_right_after_the_start_does_not_hang():
    for _ in range(100):
        scheduler = Scheduler()
        scheduler.start()
        begun = time.monotonic()
        assert scheduler.stop() == []
        assert time.monotonic() - begun < PATIENCE


def test_to_stop_while_many_short_tasks_end_is_safe():
    for _ in range(20):
        # Given eighty tasks that are about to run
        scheduler = Scheduler(max_running=16)
        for number in range(80):
            scheduler.add(nothing, name=f"short {number}")
            scheduler.run_now(f"short {number}")

        # When all is stopped in the midst of it
        scheduler.start()

        # Then nothing is left at work, and what never began is still queued
        assert scheduler.stop() == []
        assert {run.state for run in scheduler.runs(limit=None)} <= {"succeeded", "queued", "stopped"}


# -- B: the beat of a periodic task ----------------------------------------------------------------


def test_a_periodic_task_keeps_its_beat_and_does_not_drift(program):
    # Given a task of every second, and looks that come some milliseconds late
    program.scheduler.add(nothing, every=1, name="beat")

    # When seven seconds pass
    for _ in range(7):
        program.advance(1.004)

    # Then it ran at each of them, to the point
    assert program.fire_times() == [f"12:00:0{second}" for second in range(1, 8)]
    assert program.scheduler.schedule("beat").next_fire_time == NOON + timedelta(seconds=8)


def test_a_run_that_takes_longer_than_its_period_leaves_the_grid_as_it_is(program):
    # Given a task of every two seconds, of which a run is at work for five
    gated = Gated()
    program.scheduler.add(gated, every=2, name="slow")
    program.pass_time(2)
    gated.wait()
    program.pass_time(2)
    program.pass_time(1)

    # When it ends, and the next fire time comes
    gated.open(2)
    program.settle()
    program.advance(1)

    # Then it runs at that one, and the one in between is on record
    assert program.fire_times() == ["12:00:02", "12:00:06"]
    assert program.states() == ["succeeded", "skipped", "succeeded"]
    assert gated.most_at_once == 1


def test_a_start_far_in_the_past_brings_no_burst(program):
    # Given a task of every second since the year 2000, of which an hour is missed
    program.scheduler.add(nothing, every=1, name="beat")
    program.scheduler.stop()
    program.now += timedelta(hours=1)

    # When it is looked at again
    program.scheduler.start()
    program.settle()

    # Then one run makes up for all
    assert program.fire_times() == ["13:00:00"]
    assert [run.fire_count for run in program.runs() if run.state == "skipped"] == [3599]


@pytest.mark.parametrize("every", [0, -1, 0.5, "0s"])
def test_a_period_of_less_than_a_second_is_refused(program, every):
    with pytest.raises(BadTrigger):
        program.scheduler.add(nothing, every=every)
    assert program.scheduler.schedules() == []


# -- C: once ---------------------------------------------------------------------------------------


def test_what_is_due_once_runs_once_and_is_unknown_then(program):
    # Given a task in three seconds
    program.scheduler.add(nothing, at=NOON + timedelta(seconds=3))

    # When five have passed
    for _ in range(5):
        program.advance(1)

    # Then it ran once, and only the history knows it
    assert program.fire_times("nothing") == ["12:00:03"]
    assert program.scheduler.schedules() == []
    with pytest.raises(ScheduleNotFound):
        program.scheduler.run_now("nothing")


def test_what_is_due_once_may_be_added_again_under_its_name(program):
    for _ in range(2):
        program.scheduler.add(nothing, at=program.now + timedelta(seconds=1))
        program.advance(1)
    assert program.fire_times("nothing") == ["12:00:01", "12:00:02"]


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00+00:00", "2026-11-21T11:59:59+00:00", NOON])
def test_a_moment_that_is_past_is_refused_and_not_forgotten(program, moment):
    with pytest.raises(ControlError, match="never fires again: its last moment is past"):
        program.scheduler.add(nothing, at=moment)


def test_a_beat_that_starts_at_the_epoch_is_a_beat_like_any_other(program):
    # Given a start time of 0, which to TaskKit was none
    epoch = IntervalTrigger(every=60, start=at("1970-01-01T00:00:00+00:00"))
    program.scheduler.add(nothing, trigger=epoch)

    # When its next minute comes
    program.advance(60)

    # Then it runs
    assert program.fire_times() == ["12:01:00"]


# -- D: on demand ----------------------------------------------------------------------------------


def test_on_demand_means_when_asked_and_askable_again(program):
    # Given a task on demand
    program.scheduler.add(nothing, name="asked")

    # When a day passes, then nothing happens
    program.advance(days=1)
    assert program.runs() == []

    # When it is asked for, twice, then it runs each time, and stays
    for number in (1, 2):
        assert program.scheduler.demand("asked")
        program.settle()
        assert program.states() == ["succeeded"] * number
    assert [schedule.name for schedule in program.scheduler.schedules()] == ["asked"]


def test_several_demands_during_a_run_are_one_run_afterwards(program):
    # Given a task on demand that is at work
    gated = Gated()
    program.scheduler.add(gated, name="asked")
    program.scheduler.demand("asked")
    gated.wait()

    # When it is demanded three times
    assert [program.scheduler.demand("asked") for _ in range(3)] == [None, None, None]
    gated.open(5)
    program.settle()

    # Then it runs once more
    assert program.states() == ["succeeded", "succeeded"]
    assert gated.most_at_once == 1


def test_a_demand_during_a_run_counts_for_a_periodic_task_too(program):
    # Given a periodic task that is at work
    gated = Gated()
    program.scheduler.add(gated, every="1h", name="hourly")
    program.pass_time(hours=1)
    gated.wait()

    # When it is demanded
    program.scheduler.demand("hourly")
    gated.open(2)
    program.settle()

    # Then it runs again at once, and keeps its hours
    assert [(run.origin, run.state) for run in program.runs()] == [("tick", "succeeded"), ("demand", "succeeded")]
    assert program.scheduler.schedule("hourly").next_fire_time == NOON + timedelta(hours=2)


def test_an_idle_periodic_task_can_be_demanded_and_an_unknown_one_not(program):
    program.scheduler.add(nothing, every="1h")
    assert program.scheduler.demand("nothing").state == "queued"
    with pytest.raises(ScheduleNotFound, match="Did you mean nothing"):
        program.scheduler.demand("nothin")


# -- E: a stop that the task sees ------------------------------------------------------------------


def test_a_stop_is_seen_by_proceed(program):
    # Given a task at work that asks whether to go on
    task = Patient()
    program.scheduler.add(task, every="1h")
    program.pass_time(hours=1)
    assert task.begun.wait(PATIENCE)

    # When it is stopped
    asked = program.scheduler.stop("Patient", why="the disk is full")
    program.settle()

    # Then it came to an end by itself, and the record says by whom; its schedule goes on
    assert [run.state for run in asked] == ["running"]
    run = program.scheduler.run(asked[0].id)
    assert (run.state, run.summary) == ("stopped", "came to a good place")
    assert run.error == "stopped by anna: the disk is full"
    assert program.scheduler.schedule("Patient").next_fire_time == NOON + timedelta(hours=2)


def test_to_stop_what_is_idle_asks_nobody_and_the_next_run_is_not_touched(program):
    # Given a task that was stopped while it was idle
    program.scheduler.add(nothing, every=1)
    assert program.scheduler.stop("nothing") == []

    # When it runs
    program.advance(1)

    # Then it ends well
    assert program.states() == ["succeeded"]


def test_proceed_outside_of_a_run_says_yes():
    assert Patient().proceed() is True


# -- F: remove -------------------------------------------------------------------------------------


def test_what_is_removed_while_idle_never_runs_again(program):
    program.scheduler.add(nothing, every=1)
    program.advance(1)
    assert program.scheduler.remove("nothing").name == "nothing"
    program.advance(5)
    assert program.fire_times() == ["12:00:01"]


@pytest.mark.parametrize("rule", [{}, {"every": 1}], ids=["on demand", "periodic"])
def test_what_is_removed_while_at_work_ends_and_does_not_come_back(program, rule):
    # Given a task at work, run early or on demand
    gated = Gated()
    program.scheduler.add(gated, name="slow", **rule)
    run = program.scheduler.run_now("slow")
    gated.wait()

    # When it is removed
    program.scheduler.remove("slow")
    program.pass_time(5)
    gated.open(5)
    program.settle()
    program.advance(5)

    # Then the run ended well, and that was all
    assert program.scheduler.run(run.id).state == "succeeded"
    assert len(program.runs()) == 1
    assert program.scheduler.schedules() == []


def test_what_is_unknown_cannot_be_removed(program):
    with pytest.raises(ScheduleNotFound):
        program.scheduler.remove("nobody")


# -- G: daily --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "hour", "minute", "expected"),
    [
        # (asked at 10:00:45 for 10:01, TaskKit ran at 10:01:45)
        ("2026-11-21T10:00:45+00:00", 10, 1, "2026-11-21T10:01:00+00:00"),
        ("2026-11-21T10:00:45.5+00:00", 10, 59, "2026-11-21T10:59:00+00:00"),
        # The minute at hand is past, however few of its seconds are.
        ("2026-11-21T10:01:00+00:00", 10, 1, "2026-11-22T10:01:00+00:00"),
        ("2026-11-21T10:01:00.001+00:00", 10, 1, "2026-11-22T10:01:00+00:00"),
        ("2026-11-21T10:01:00+00:00", 9, 0, "2026-11-22T09:00:00+00:00"),
        ("2026-11-21T23:59:59+00:00", 0, 0, "2026-11-22T00:00:00+00:00"),
        ("2026-12-31T23:59:30+00:00", 23, 59, "2027-01-01T23:59:00+00:00"),
    ],
)
def test_a_daily_task_runs_at_its_minute_sharp(programs, now, hour, minute, expected):
    program = programs(at(now))
    program.scheduler.add(nothing, hour=hour, minute=minute)
    assert program.scheduler.schedule("nothing").next_fire_time == at(expected)
    program.set(at(expected) - timedelta(microseconds=1))
    program.settle()
    assert program.runs() == []
    program.set(at(expected))
    program.settle()
    assert [run.fire_time for run in program.runs()] == [at(expected)]


@pytest.mark.parametrize(
    ("now", "hour", "expected"),
    [
        # Riga: put forward on 29 March 2026 from 03:00 to 04:00, back on 25 October from 04:00 to 03:00
        (
            "2026-03-28T00:00:00+02:00",
            8,
            ["2026-03-28T08:00:00+02:00", "2026-03-29T08:00:00+03:00", "2026-03-30T08:00:00+03:00"],
        ),
        (
            "2026-10-24T00:00:00+03:00",
            8,
            ["2026-10-24T08:00:00+03:00", "2026-10-25T08:00:00+02:00", "2026-10-26T08:00:00+02:00"],
        ),
        # An hour that is skipped comes as soon as the clock was put forward; one that is repeated counts once.
        (
            "2026-03-28T12:00:00+02:00",
            3,
            ["2026-03-29T04:00:00+03:00", "2026-03-30T03:00:00+03:00", "2026-03-31T03:00:00+03:00"],
        ),
        (
            "2026-10-24T12:00:00+03:00",
            3,
            ["2026-10-25T03:00:00+03:00", "2026-10-26T03:00:00+02:00", "2026-10-27T03:00:00+02:00"],
        ),
    ],
    ids=["forward", "back", "skipped hour", "repeated hour"],
)
def test_a_daily_task_stays_at_its_hour_when_the_clock_changes(programs, now, hour, expected):
    # Given a daily task on a clock that is about to change
    program = programs(at(now), timezone="Europe/Riga")
    program.scheduler.add(nothing, hour=hour)

    # When every quarter of an hour of the days around it passes
    while program.now < at(expected[-1]):
        program.advance(minutes=15)

    # Then it ran once a day, at its hour
    assert [run.fire_time for run in program.runs()] == [at(moment) for moment in expected]


@pytest.mark.parametrize("rule", [{"hour": 25}, {"hour": 10, "minute": 60}, {"hour": -1}])
def test_an_hour_or_minute_that_there_is_not_is_refused(program, rule):
    with pytest.raises(BadTrigger):
        program.scheduler.add(nothing, **rule)


# -- H: the end of the program ---------------------------------------------------------------------

ENDS = """
import threading
from dracotask import Scheduler

begun = threading.Event()

def slow():
    begun.set()
    threading.Event().wait(60)

scheduler = Scheduler()
scheduler.add(slow)
scheduler.start()
scheduler.run_now("slow")
assert begun.wait(20)
print("at work")
"""


@pytest.mark.parametrize("last", ["", "assert scheduler.stop(wait=0.1) == ['slow']"], ids=["exit", "stop"])
def test_a_program_ends_at_once_with_a_run_at_work(last):
    # (TaskKit's threads were no daemons when a task was run from the main thread: they held up the exit.)
    ended = subprocess.run(
        [sys.executable, "-c", ENDS + last], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "at work\n", "")


# -- Traps: hold -----------------------------------------------------------------------------------


def test_a_hold_before_the_first_run_hurts_nobody(program):
    # Given a periodic task that is held before it ever ran, which ended TaskKit's whole scheduler
    program.scheduler.add(nothing, every=1, name="held")
    program.scheduler.hold("held", why="not yet")
    program.scheduler.add(nothing, every=1, name="other")

    # When it would be due, and is resumed
    program.advance(1)
    program.advance(1)
    program.scheduler.resume("held")
    program.advance(1)

    # Then the other one ran throughout, and the first from then on, on its grid
    assert program.fire_times("other") == ["12:00:01", "12:00:02", "12:00:03"]
    assert program.fire_times("held") == ["12:00:03"]
    [skipped] = [run for run in program.runs("held") if run.state == "skipped"]
    assert (skipped.fire_count, skipped.summary) == (2, "held by anna: not yet")


def test_what_is_due_once_while_held_is_not_lost(program):
    # Given a one-shot that came due while it was held
    program.scheduler.add(nothing, at=NOON + timedelta(seconds=1))
    program.scheduler.hold("nothing")
    program.advance(5)

    # When it is resumed
    program.scheduler.resume("nothing")
    program.settle()

    # Then what became of it is on record, and it can still be run
    assert program.states() == ["skipped"]
    program.scheduler.run_now("nothing")
    program.settle()
    assert program.states() == ["skipped", "succeeded"]
    assert program.scheduler.schedules() == []


def test_what_is_on_demand_can_be_held_too(program):
    program.scheduler.add(nothing)
    program.scheduler.hold("nothing", until="1m")
    with pytest.raises(ControlError, match="held by anna"):
        program.scheduler.run_now("nothing")
    program.scheduler.demand("nothing")
    program.settle()
    assert program.states() == ["queued"]

    # When the hold ends by itself, then the demand is answered
    program.advance(60)
    assert program.states() == ["succeeded"]


def test_a_hold_of_a_run_at_work_lets_it_end_and_no_other_begin(program):
    gated = Gated()
    program.scheduler.add(gated, every=1, name="slow")
    program.pass_time(1)
    gated.wait()
    program.scheduler.hold("slow")
    gated.open(9)
    program.settle()
    program.advance(3)
    assert program.states() == ["succeeded"]


def test_a_replaced_schedule_keeps_the_hold_that_belongs_to_its_name_and_nothing_else(program):
    # Given a task on demand that is held, with a demand that waits for the run at work
    gated = Gated()
    program.scheduler.add(gated, name="job")
    program.scheduler.run_now("job")
    gated.wait()
    program.scheduler.demand("job")
    program.scheduler.hold("job", why="broken")

    # When a one-shot replaces it
    replaced = program.scheduler.add(nothing, at=NOON + timedelta(seconds=9), name="job", replace=True)
    gated.open()
    program.settle()

    # Then the hold stays; neither the demand nor its being on demand does
    assert (replaced.held_why, replaced.demand) == ("broken", None)
    program.scheduler.resume("job")
    program.advance(9)
    assert program.states() == ["succeeded", "succeeded"]
    assert program.scheduler.schedules() == []


# -- Traps: never two at once ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replace", "remove and add"])
def test_a_name_added_again_during_a_run_brings_no_parallel_one(program, how):
    # Given a task at work
    gated = Gated()
    program.scheduler.add(gated, every=1, name="job")
    program.pass_time(1)
    gated.wait()

    # When it is added again, and comes due
    if how == "replace":
        program.scheduler.add(gated, every=2, name="job", replace=True)
    else:
        program.scheduler.remove("job")
        program.scheduler.add(gated, every=2, name="job")
    program.pass_time(1)
    assert program.states() == ["running", "skipped"]

    # Then it runs when the old run has ended
    gated.open(9)
    program.settle()
    program.advance(2)
    assert gated.most_at_once == 1
    assert program.fire_times() == ["12:00:01", "12:00:04"]


def test_a_name_is_not_taken_twice_by_mistake(program):
    program.scheduler.add(nothing)
    with pytest.raises(ControlError, match="there already"):
        program.scheduler.add(nothing)


def test_a_queued_run_of_what_was_replaced_does_the_old_work(programs):
    # Given one thread, which is busy, and a queued run
    program, gated, done = programs(max_running=1), Gated(), []
    program.scheduler.add(gated, name="busy")
    program.scheduler.run_now("busy")
    gated.wait()
    program.scheduler.add(lambda word: done.append(word), arguments={"word": "old"}, name="job")
    program.scheduler.run_now("job")

    # When another task takes the name
    program.scheduler.add(lambda: done.append("new"), name="job", replace=True)
    program.scheduler.run_now("job")
    gated.open()
    program.settle()

    # Then each run did what it was queued for
    assert done == ["old", "new"]


def test_a_failing_task_that_is_demanded_again_ends_once_and_never_runs_beside_itself(program):
    # Given a failing task on demand at work, with a demand waiting
    def fail() -> None:
        raise ValueError("no")

    gated = Gated(fail)
    program.scheduler.add(gated, name="job")
    program.scheduler.demand("job")
    gated.wait()
    program.scheduler.demand("job")

    # When it fails, and its re-run is demanded again while it is at work
    gated.open()
    gated.wait()
    program.scheduler.demand("job")
    gated.open(9)
    program.settle()

    # Then three runs came one after the other, each with one end
    assert program.states() == ["failed", "failed", "failed"]
    assert gated.most_at_once == 1
    assert [run.error for run in program.runs()] == ["ValueError: no"] * 3


# -- Traps: what is raised -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), ValueError("no")], ids=repr)
def test_whatever_is_raised_ends_a_run_and_neither_thread_nor_schedule(programs, error, caplog):
    # Given one thread, and a task that raises
    told: list[object] = []
    program = programs(max_running=1, on_error=lambda run, raised: told.append((run.state, raised)))

    def fail() -> None:
        raise error

    program.scheduler.add(fail, every=1)

    # When it is due twice
    program.advance(1)
    program.advance(1)

    # Then both runs are on record, logged with their traceback, and told
    assert program.states() == ["failed", "failed"]
    assert told == [("failed", error)] * 2
    assert [record.exc_info[1] for record in caplog.records] == [error] * 2
    assert {record.name for record in caplog.records} == {"dracotask.scheduler"}


@pytest.mark.parametrize("code", [None, 0])
def test_an_exit_without_an_error_is_none(program, code):
    program.scheduler.add(lambda: sys.exit(code), name="leaves")
    program.scheduler.run_now("leaves")
    program.settle()
    assert program.states() == ["succeeded"]


def test_a_handler_that_raises_hurts_nobody(programs, caplog):
    # Given a handler that is broken itself
    def handler(run, error):
        raise SystemExit("broken too")

    program = programs(on_error=handler, max_running=1)
    program.scheduler.add(lambda: 1 / 0, every=1, name="fails")

    # When its task fails twice
    program.advance(1)
    program.advance(1)

    # Then it is logged, and all goes on
    assert program.states() == ["failed", "failed"]
    assert [record.message for record in caplog.records][1::2] == ["on_error failed at the error of fails."] * 2


# -- Traps: run early ------------------------------------------------------------------------------


def test_what_is_run_early_keeps_its_planned_time(program):
    program.scheduler.add(nothing, every="1h")
    program.scheduler.run_now("nothing")
    program.settle()
    assert program.scheduler.schedule("nothing").next_fire_time == NOON + timedelta(hours=1)
    program.advance(hours=1)
    assert [(run.origin, run.state) for run in program.runs()] == [("api", "succeeded"), ("tick", "succeeded")]


def test_to_run_what_is_at_work_is_another_run_afterwards(program):
    gated = Gated()
    program.scheduler.add(gated, name="job")
    runs = [program.scheduler.run_now("job") for _ in range(2)]
    gated.wait()
    gated.open(2)
    program.settle()
    assert [program.scheduler.run(run.id).state for run in runs] == ["succeeded"] * 2
    assert gated.most_at_once == 1


def test_beside_what_is_at_work_another_runs_by_choice(program):
    gated = Gated()
    program.scheduler.add(gated, name="job")
    program.scheduler.run_now("job")
    gated.wait()
    program.scheduler.run_now("job", while_running=True)
    gated.wait()
    assert gated.most_at_once == 2
    gated.open(2)


# -- Traps: one Task under two names ---------------------------------------------------------------


class Named(Task):
    """Tells under which name it runs, before and after the other has begun."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2)
        self.seen: list[tuple[str, str]] = []

    def run(self) -> None:
        before = self.current_run.schedule
        self.both.wait(PATIENCE)
        self.seen.append((before, self.current_run.schedule))


def test_one_task_under_two_names_sees_its_own_run_under_each(program):
    # Given one Task under two names
    task = Named()
    program.scheduler.add(task, name="A")
    program.scheduler.add(task, name="B")

    # When both are at work at once
    program.scheduler.run_now("A")
    program.scheduler.run_now("B")
    program.settle()

    # Then each saw its own name throughout
    assert sorted(task.seen) == [("A", "A"), ("B", "B")]
    assert task.current_run is None


# -- Traps: changes from within and without --------------------------------------------------------


class Slower(Task):
    """Grows its own period, as TaskKit's setPeriod() could."""

    def run(self) -> None:
        self.own_schedule.reschedule(every="1m", why="nothing to do")


def test_a_task_changes_its_own_period(program):
    program.scheduler.add(Slower(), every=1)
    program.advance(1)
    assert program.scheduler.schedule("Slower").next_fire_time == NOON + timedelta(minutes=1)
    assert program.scheduler.actions("Slower")[0].by == "the task itself"


class Again(Task):
    """Runs once more, a minute later, as TaskKit's startTime() could have it."""

    def run(self) -> None:
        if self.current_run.fire_time == NOON + timedelta(seconds=1):
            self.own_schedule.reschedule(at=NOON + timedelta(minutes=1))


def test_a_one_shot_may_have_itself_run_again(program):
    program.scheduler.add(Again(), at=NOON + timedelta(seconds=1))
    program.advance(1)
    program.advance(59)
    assert program.fire_times() == ["12:00:01", "12:01:00"]
    assert program.scheduler.schedules() == []


class Once(Task):
    """Lets its first run be the last."""

    def run(self) -> None:
        self.own_schedule.unschedule()


def test_a_periodic_task_may_let_a_run_be_its_last(program):
    program.scheduler.add(Once(), every=1)
    program.advance(1)
    program.advance(5)
    assert program.states() == ["succeeded"]
    assert program.scheduler.schedules() == []


def test_an_earlier_time_set_from_outside_wakes_the_loop():
    # Given a scheduler on the real clock that sleeps until tomorrow
    ran = threading.Event()
    with Scheduler() as scheduler:
        scheduler.add(ran.set, every="1d", name="daily")

        # When it is rescheduled to every second
        scheduler.reschedule("daily", every=1)

        # Then it runs within that
        assert ran.wait(PATIENCE)


def test_what_is_handed_out_are_copies(program):
    program.scheduler.add(nothing, every=1)
    for schedule in program.scheduler.schedules():
        schedule.next_fire_time = None
        program.scheduler.remove(schedule.name)
    assert program.scheduler.schedules() == []


# -- Traps: the lost wake-up -----------------------------------------------------------------------


def test_no_wake_up_is_ever_lost():
    # Given a loop that would sleep for long, and another thread that adds and demands at random moments
    ran = threading.Semaphore(0)
    with Scheduler() as scheduler:
        scheduler.add(ran.release, name="first")
        for number in range(10_000):
            # When something is wanted while the loop is somewhere between its look and its sleep
            for _ in range(number * 7919 % 97):
                pass
            scheduler.demand("first") if number % 2 else scheduler.run_now("first")

            # Then it is done without anybody else's waking
            assert ran.acquire(timeout=2.0), f"pair {number} was lost"


def test_no_registration_between_look_and_sleep_is_lost():
    # Given a loop that is told of a new schedule after it has looked, and before it sleeps
    with Scheduler() as scheduler:
        home, ran = scheduler._home, threading.Event()
        look, once = home.look, threading.Event()

        def interrupted() -> float:
            pause = look()
            if not once.is_set():
                once.set()
                scheduler.add(ran.set, every=1, name="late")
            return pause

        home.engine().loop._look = interrupted
        home.engine().wake()

        # Then it runs at its second, though the loop would have slept for five
        assert ran.wait(2.5)
