"""The class Scheduler: its life in a program, in forks and in a web process, and its verbs over a site."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from helpers import NOON
from programs import PATIENCE, Gated, NewThreads, Patient, in_child, nothing
from servers import KINDS, SiteFolder, start_server, wait_until
from sites import Site, until

from dracotask import ControlError, ScheduleNotFound, Scheduler, Skip, Task, TaskMiddleware
from dracotask.errors import BadTrigger, DocrootNotFound, StoreMissing, WrongUser
from dracotask.homes import program as program_module
from dracotask.launchers import base as base_module
from dracotask.launchers import thread as thread_module
from dracotask.state import State

# -- Life ------------------------------------------------------------------------------------------


def test_to_make_one_starts_nothing():
    threads = NewThreads()
    scheduler = Scheduler()
    scheduler.add(nothing, every=1)
    scheduler.run_now("nothing")
    assert threads() == []
    assert not scheduler.is_running


def test_what_was_asked_for_before_the_start_is_done_at_the_start():
    ran = threading.Event()
    scheduler = Scheduler()
    scheduler.add(ran.set, name="ran")
    scheduler.run_now("ran")
    with scheduler:
        assert ran.wait(PATIENCE)
    assert not scheduler.is_running


def test_a_stop_says_who_is_still_at_work_and_whoever_asks_comes_to_an_end(program):
    # Given a task that asks whether to go on, and one that does not
    patient, gated = Patient(), Gated()
    program.scheduler.add(patient, name="asks")
    program.scheduler.add(gated, name="deaf")
    program.scheduler.run_now("asks")
    program.scheduler.run_now("deaf")
    gated.wait()
    assert patient.begun.wait(PATIENCE)
    program.scheduler.run_now("deaf", why="later")

    # When all is stopped, without waiting
    assert set(program.scheduler.stop(wait=0)) <= {"asks", "deaf"}
    assert program.scheduler.stop(wait="0.2s") == ["deaf"]
    gated.open()
    assert program.scheduler.stop() == []

    # Then both runs are stopped, and what was queued waits for another start
    runs = {run.state: run for run in program.runs()}
    assert program.states("asks") == ["stopped"]
    assert program.states("deaf") == ["stopped", "queued"]
    assert runs["stopped"].error == "stopped by anna: the scheduler was stopped"
    gated.open()
    program.scheduler.start()
    program.settle()
    assert program.states("deaf") == ["stopped", "succeeded"]


def test_a_task_may_stop_the_scheduler_that_runs_it(program):
    left: list[object] = []
    program.scheduler.add(lambda: left.append(program.scheduler.stop()), name="stops")
    begun = time.monotonic()
    program.scheduler.run_now("stops")
    until(lambda: left, "it is stopped")
    assert left == [[]]
    assert time.monotonic() - begun < PATIENCE


def test_stop_without_a_name_is_said_on_purpose(program):
    # Given a variable that is None by mistake
    program.scheduler.add(nothing)
    with pytest.raises((TypeError, ScheduleNotFound)):
        program.scheduler.stop(None)
    assert program.scheduler.is_running


# -- The pool --------------------------------------------------------------------------------------


def test_so_many_runs_are_at_work_and_no_more(programs):
    # Given three threads at most, and twenty runs
    program, gated = programs(max_running=3), Gated()
    for number in range(20):
        program.scheduler.add(gated, name=f"job {number}")
        program.scheduler.run_now(f"job {number}")

    # When three are at work
    for _ in range(3):
        gated.wait()
    program.look()
    assert gated.at_once == 3

    # Then each that ends lets the next one begin
    gated.open(20)
    program.settle()
    assert gated.most_at_once == 3
    assert program.states() == ["succeeded"] * 20


def test_threads_start_when_they_are_needed_and_end_when_they_are_idle(programs, monkeypatch):
    monkeypatch.setattr(thread_module, "IDLE", 0.05)
    threads = NewThreads()
    program = programs(max_running=5)
    assert threads() == ["dracotask-scheduler"]
    gated = Gated()
    for name in ("one", "two"):
        program.scheduler.add(gated, name=name)
        program.scheduler.run_now(name)
        gated.wait()
    assert sorted(threads()) == ["dracotask-run", "dracotask-run", "dracotask-scheduler"]
    gated.open(2)
    program.settle()
    until(lambda: threads() == ["dracotask-scheduler"], "the threads end")
    program.scheduler.run_now("one")
    gated.open()
    program.settle()
    assert program.states() == ["succeeded"] * 3


def test_a_stop_leaves_no_thread_behind():
    threads = NewThreads()
    with Scheduler() as scheduler:
        ran = threading.Event()
        scheduler.add(ran.set, name="ran")
        scheduler.run_now("ran")
        assert ran.wait(PATIENCE)
    until(lambda: threads() == [], "the threads end")


@pytest.mark.parametrize("number", [0, -1, True, 2.5, "8"])
def test_a_bound_that_is_none_is_refused(number):
    with pytest.raises(ValueError, match="at least 1"):
        Scheduler(max_running=number)


def test_no_thread_stands_for_a_schedule_that_waits(program):
    threads = NewThreads()
    for number in range(200):
        program.scheduler.add(nothing, every="1h", name=f"hourly {number}")
    program.look()
    assert threads() == []


# -- What can be added -----------------------------------------------------------------------------


class Greeting(Task):
    """Says hello.

    And more.
    """

    max_instances = 2

    def __init__(self, word: str = "hello") -> None:
        self.word = word
        self.schedule(every="2s")

    def run(self, name: str, times: int = 1) -> str:
        return f"{self.word} {name} {times} {self.current_run.arguments}"


def test_a_class_brings_its_own_rule_policy_and_description(program):
    added = program.scheduler.add(Greeting, arguments={"name": "anna"})
    assert (added.name, added.task, added.description) == ("Greeting", "Greeting", "Says hello.")
    assert added.trigger == "every 2s from 2000-01-01T00:00:00+00:00"
    assert "max_instances=2" in added.policy
    program.advance(2)
    assert [run.summary for run in program.runs()] == ["hello anna 1 {'name': 'anna'}"]


def test_a_rule_that_is_given_counts_before_that_of_the_class(program):
    def added(task: object, name: str, **rule: object) -> str | None:
        return program.scheduler.add(task, name=name, arguments={"name": "anna"}, **rule).trigger

    assert added(Greeting, "fives", every="5s") == "every 5s from 2000-01-01T00:00:00+00:00"
    assert added(Greeting("hi"), "asked", trigger=None) is None
    assert added(Greeting, "text", trigger="every 90s") == "every 90s from 2000-01-01T00:00:00+00:00"


def test_two_tasks_of_one_class_are_told_apart(program):
    # Given two Tasks of a class, under two names
    for word in ("hi", "hello"):
        program.scheduler.add(Greeting(word), trigger=None, name=f"says {word}", arguments={"name": "bob"})

    # When the one is run, then it is the one
    for word in ("hi", "hello"):
        program.scheduler.run_now(f"says {word}", arguments={"name": "eve", "times": 3})
    program.settle()
    words = [run.summary.split()[:3] for run in program.runs()]
    assert sorted(words) == [["hello", "eve", "3"], ["hi", "eve", "3"]]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (lambda: None, "has no name of its own"),
        (functools.partial(nothing), "has no name of its own"),
        (42, "has no name of its own"),
        (Task, "has no run"),
    ],
)
def test_what_has_no_name_or_no_run_is_refused(program, task, words):
    with pytest.raises(ControlError, match=words):
        program.scheduler.add(task)


@pytest.mark.parametrize(("task", "words"), [(42, "cannot be run"), ("Report", "cannot be run")])
def test_what_is_no_task_is_refused(program, task, words):
    with pytest.raises(ControlError, match=words):
        program.scheduler.add(task, name="job")
    assert program.scheduler.schedules() == []


class Promised:
    async def __call__(self) -> None:
        pass


class Generating(Task):
    def run(self) -> Iterator[int]:
        yield pytest.fail("nobody draws from this")


def drawn_by_nobody() -> Iterator[int]:
    yield pytest.fail("nobody draws from this")


@pytest.mark.parametrize("task", [Generating, drawn_by_nobody])
def test_a_generator_is_refused_for_nobody_would_draw_from_it(program, task):
    with pytest.raises(ControlError, match=f"{task.__name__} is a generator, and nobody here would carry it on: do"):
        program.scheduler.add(task, name="job")


@pytest.mark.parametrize(
    ("task", "kind", "better"),
    [
        (lambda: Promised()(), "coroutine", "the coroutine function itself"),
        (lambda: drawn_by_nobody(), "generator", "a plain function"),
    ],
)
def test_a_run_that_returns_a_promise_has_failed(program, task, kind, better):
    # Given a callable of which nobody could know before
    program.scheduler.add(task, name="job")
    program.scheduler.run_now("job")
    program.settle()

    # Then its run says what is wrong
    [run] = program.runs()
    assert (run.state, run.summary) == ("failed", None)
    assert run.error == f"TypeError: it returned a {kind} instead of doing its work: give {better}"


def sweeping(word: str, done: list[str]) -> Callable[[], None]:
    """Return a function whose name is always the same, as in a module that is loaded again."""

    def sweep() -> None:
        done.append(word)

    return sweep


def test_a_function_that_is_defined_again_replaces_the_one_of_its_name(program):
    # Given a function that was added
    done: list[str] = []
    program.scheduler.add(sweeping("old", done), every="1m")

    # When another one of its name comes, it is refused unless it is to replace it
    with pytest.raises(ControlError, match="is there already"):
        program.scheduler.add(sweeping("new", done), every="1m")
    assert program.scheduler.add(sweeping("new", done), every="1m", replace=True).name == "sweep"

    # Then there is one schedule, of the new one
    assert [schedule.name for schedule in program.scheduler.schedules()] == ["sweep"]
    program.advance(minutes=1)
    assert done == ["new"]


def test_what_is_queued_of_a_replaced_function_is_done_by_that_one():
    # Given a run that waits, and a refused and a good replacement
    done: list[str] = []
    scheduler = Scheduler()
    scheduler.add(sweeping("old", done))
    scheduler.run_now("sweep")
    with pytest.raises(ControlError, match="takes no 'x'"):
        scheduler.add(sweeping("bad", done), replace=True, arguments={"x": 1})
    scheduler.add(sweeping("new", done), replace=True)
    scheduler.run_now("sweep", while_running=True)

    # When they are done, then each is what was asked for
    with scheduler:
        until(lambda: len(done) == 2, "both are done")
    assert sorted(done) == ["new", "old"]


def test_thousands_of_functions_of_one_name_are_taken_in_by_one_look_each(program):
    # Given a table of tasks that counts how often it is looked at
    class Counted(dict):
        looks = 0

        def __contains__(self, key: object) -> bool:
            Counted.looks += 1
            return super().__contains__(key)

    tasks = program.home.tasks
    tasks._tasks = Counted()

    # When two thousand of one name are added
    for number in range(2000):
        program.scheduler.add(sweeping(str(number), []), name=f"job {number}")

    # Then each had about one look, and all are told apart
    assert Counted.looks <= 4000
    assert len({schedule.task for schedule in program.scheduler.schedules()}) == 2000
    tasks.keep_only([])
    assert (tasks._known, tasks._numbers) == ({}, {})


def test_a_task_that_is_long_in_the_making_keeps_nobody_waiting(program):
    # Given a Task whose constructor waits
    making, made = threading.Event(), threading.Event()

    class Slow(Task):
        def __init__(self) -> None:
            making.set()
            assert made.wait(PATIENCE)

        def run(self) -> None:
            pass

    program.scheduler.add(nothing)
    adding = threading.Thread(target=program.scheduler.add, args=(Slow,))
    adding.start()
    assert making.wait(PATIENCE)

    # When something else is wanted meanwhile, then it is done
    program.scheduler.run_now("nothing")
    program.settle()
    assert program.states("nothing") == ["succeeded"]
    made.set()
    adding.join()
    assert program.scheduler.schedule("Slow")


def test_lambdas_methods_and_partials_run_under_a_name(program):
    done: list[str] = []
    program.scheduler.add(lambda: done.append("lambda"), name="a lambda")
    program.scheduler.add(done.reverse, name="a method")
    program.scheduler.add(functools.partial(done.append, "partial"), name="a partial")
    for schedule in program.scheduler.schedules():
        program.scheduler.run_now(schedule.name)
    program.settle()
    assert sorted(done) == ["lambda", "partial"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({}, "needs name"), ({"name": 7}, "not a text"), ({"name": "x", "more": 1}, "takes no 'more'")],
)
def test_arguments_are_checked_against_the_signature(program, arguments, words):
    with pytest.raises(ControlError, match=words):
        program.scheduler.add(Greeting, arguments=arguments)
    program.scheduler.add(Greeting, arguments={"name": "anna"})
    with pytest.raises(ControlError, match=words):
        program.scheduler.run_now("Greeting", arguments=arguments)


def test_arguments_are_any_json(program):
    seen: list[object] = []
    deep = {"list": [1, 2.5, None, True], "table": {"a": "ä"}}

    def take(value, *, rest=None):
        seen.append((value, rest))

    program.scheduler.add(take, arguments={"value": deep, "rest": [1]})
    program.scheduler.run_now("take")
    program.settle()
    assert seen == [(deep, [1])]
    with pytest.raises(ControlError, match="JSON"):
        program.scheduler.add(take, arguments={"value": object()}, name="no")


def test_two_kinds_of_rule_at_once_are_refused(program):
    with pytest.raises(TypeError):
        program.scheduler.add(nothing, hour=3, every=1)
    with pytest.raises(TypeError):
        program.scheduler.add(nothing, hour=3, trigger=None)
    program.scheduler.add(nothing)
    with pytest.raises(TypeError, match="takes a rule"):
        program.scheduler.reschedule("nothing")
    with pytest.raises(ControlError, match="in no file"):
        program.scheduler.reschedule("nothing", trigger=None)


# -- What becomes of a run -------------------------------------------------------------------------


def test_a_returned_text_is_the_summary_and_skip_is_one_too(program):
    def skips() -> None:
        raise Skip("nothing new")

    program.scheduler.add(lambda: "412 orders\nand more", name="orders")
    program.scheduler.add(skips)
    program.scheduler.add(lambda: 42, name="number")
    for name in ("orders", "skips", "number"):
        program.scheduler.run_now(name)
    program.settle()
    ended = {run.schedule: (run.state, run.summary) for run in program.runs()}
    assert ended == {
        "orders": ("succeeded", "412 orders"),
        "skips": ("succeeded", "skipped: nothing new"),
        "number": ("succeeded", None),
    }


class Wordless(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class WordlessSkip(Skip):
    def __str__(self) -> str:
        raise ValueError


class Unshown:
    def __repr__(self) -> str:
        raise SystemExit


class Cracked(str):
    def __bool__(self) -> bool:
        raise ValueError

    def splitlines(self, keepends: bool = False) -> list[str]:
        raise ValueError


def raising(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


@pytest.mark.parametrize(
    ("task", "end"),
    [
        (raising(Wordless()), ("failed", None, "Wordless")),
        (raising(WordlessSkip()), ("succeeded", "skipped", None)),
        (raising(SystemExit(Unshown())), ("failed", None, "the task called sys.exit(Unshown)")),
        (lambda: Cracked("12 orders"), ("succeeded", "12 orders", None)),
        (raising(KeyboardInterrupt()), ("failed", None, "KeyboardInterrupt")),
    ],
    ids=["error", "skip", "exit", "text", "interrupt"],
)
def test_whatever_a_run_raises_or_returns_its_end_is_recorded(programs, task, end):
    # Given one thread, and a task that ends in an unheard-of way
    program = programs(max_running=1)
    program.scheduler.add(task, name="odd")
    program.scheduler.add(nothing)

    # When it runs twice, and another one after it
    for name in ("odd", "odd", "nothing"):
        program.scheduler.run_now(name)
    program.settle()

    # Then all have their end
    assert program.states() == [end[0], end[0], "succeeded"]
    run = program.runs("odd")[0]
    assert (run.state, run.summary, run.error) == end


def test_an_end_that_cannot_be_recorded_is_a_lost_run(program, monkeypatch, caplog):
    # Given a store that fails at the first end
    finish, failures = program.home.store.finish, iter([MemoryError("no room")])

    def fail_once(*facts: object, **more: object) -> object:
        for error in failures:
            raise error
        return finish(*facts, **more)

    monkeypatch.setattr(program.home.store, "finish", fail_once)
    program.scheduler.add(nothing)
    program.scheduler.run_now("nothing")
    program.settle()

    # Then the run is lost, and told of
    [run] = program.runs()
    assert (run.state, run.error) == ("lost", "its end could not be recorded")
    assert "no room" in caplog.text


def test_a_thread_that_dies_is_counted_out(programs, monkeypatch, caplog):
    # Given the only thread there may be, which dies of something
    program = programs(max_running=1)
    launcher = program.home.engine().launcher
    do_next, failures = launcher._do_next, iter([GeneratorExit()])

    def fail_once() -> bool:
        for error in failures:
            raise error
        return do_next()

    monkeypatch.setattr(launcher, "_do_next", fail_once)
    program.scheduler.add(nothing)
    program.scheduler.run_now("nothing")
    until(lambda: "before its time" in caplog.text, "it dies")

    # When there is a look again, then there is another thread
    program.scheduler.run_now("nothing")
    program.settle()
    assert program.states() == ["succeeded", "succeeded"]


class Limited(Patient):
    time_limit = 60


def test_over_its_time_limit_a_task_that_asks_is_to_stop(program, monkeypatch):
    # Given a task of a minute at most that is at work
    now = [1000.0]
    monkeypatch.setattr(base_module, "monotonic", lambda: now[0])
    task = Limited()
    program.scheduler.add(task)
    program.scheduler.run_now("Limited")
    assert task.begun.wait(PATIENCE)

    # When the minute is over
    now[0] += 60
    program.settle()

    # Then it ended by itself, too late
    [run] = program.runs()
    assert (run.state, run.summary) == ("timed_out", "came to a good place")
    assert run.error == "over its time limit of 1m"


def test_an_exception_after_a_stop_is_on_record_and_no_failure(programs):
    # Given a task that raises when it is stopped
    told: list[object] = []
    program = programs(on_error=lambda *facts: told.append(facts))
    gated = Gated(lambda: 1 / 0)
    program.scheduler.add(gated, name="job")
    run = program.scheduler.run_now("job")
    gated.wait()

    # When it is stopped by the id of its run
    program.scheduler.stop(run.id, why="enough")
    gated.open()
    program.settle()

    # Then it was stopped
    assert program.states() == ["stopped"]
    assert program.runs()[0].error == "stopped by anna: enough; ZeroDivisionError: division by zero"
    assert told == []


class Counting(Task):
    def __init__(self, gated: Gated) -> None:
        self.gated = gated

    def run(self) -> None:
        for _ in self.track(range(3)):
            self.gated()


def test_progress_is_seen_while_it_is_at_work(program):
    gated = Gated()
    program.scheduler.add(Counting(gated))
    run = program.scheduler.run_now("Counting")
    for done in range(3):
        gated.wait()
        seen = program.scheduler.run(run.id)
        assert (seen.state, seen.progress_done, seen.progress_total) == ("running", done, 3)
        gated.open()
    program.settle()


class Stubborn(Task):
    """Sees to its own schedule in each way there is."""

    def __init__(self, deed: Callable[[Task], None]) -> None:
        self.deed = deed

    def run(self) -> None:
        self.deed(self)


def test_a_task_steers_its_own_schedule(programs):
    program = programs(timezone="Europe/Riga")

    def after(deed: Callable[[Task], None]) -> object:
        program.scheduler.add(Stubborn(deed), every="1h", name="own", replace=True)
        program.scheduler.run_now("own", while_held=True)
        program.settle()
        assert program.states("own")[-1] == "succeeded"
        return program.scheduler.schedule("own")

    held = after(lambda task: task.own_schedule.hold(why="quiet"))
    assert (held.held_by, held.held_why) == ("the task itself", "quiet")
    assert after(lambda task: task.own_schedule.resume()).held_at is None
    assert after(lambda task: task.own_schedule.reschedule(hour=8)).in_force == "cron 0 8 * * * Europe/Riga"
    assert after(lambda task: task.own_schedule.unschedule()) is None
    demanded = iter([True])
    after(lambda task: task.own_schedule.demand() if next(demanded, False) else None)
    assert [run.origin for run in program.runs("own")][-2:] == ["api", "demand"]


def test_a_task_that_steers_a_schedule_which_was_removed_goes_on(program, caplog):
    # Given a task that removes its schedule, and demands it
    def deed(task: Task) -> None:
        program.scheduler.remove("own")
        task.own_schedule.demand()

    program.scheduler.add(Stubborn(deed), name="own")
    program.scheduler.run_now("own")
    program.settle()

    # Then it is told, and the run has gone well
    assert program.states() == ["succeeded"]
    assert "A run of own wanted to demand it, in vain: " in caplog.text


def test_tasks_that_share_an_exclusive_name_take_turns(program):
    class One(Patient):
        exclusive = "warehouse"

    class Two(Patient):
        exclusive = "warehouse"

    one, two = One(), Two()
    for task in (one, two):
        program.scheduler.add(task)
        program.scheduler.run_now(type(task).__name__)
    assert one.begun.wait(PATIENCE)
    program.look()
    assert program.states() == ["running", "queued"]
    program.scheduler.stop("One")
    assert two.begun.wait(PATIENCE)
    program.scheduler.stop("Two")
    program.settle()


# -- Verbs that are refused, and the record --------------------------------------------------------


def test_refusals_name_what_is_wrong(program):
    program.scheduler.add(nothing, every=1)
    with pytest.raises(ScheduleNotFound, match="Did you mean nothing"):
        program.scheduler.hold("nothin")
    with pytest.raises(ControlError, match="is past"):
        program.scheduler.hold("nothing", until=NOON - timedelta(seconds=1))
    with pytest.raises(ValueError, match="negative"):
        program.scheduler.hold("nothing", until=-5)
    with pytest.raises(BadTrigger):
        program.scheduler.reschedule("nothing", every=0)
    with pytest.raises(ControlError, match="cannot be a name"):
        program.scheduler.add(nothing, name=" two\nlines")
    assert program.scheduler.schedule("nobody") is None


@pytest.mark.parametrize("until", [NOON + timedelta(hours=2), "2h", 7200, timedelta(hours=2)])
def test_a_hold_ends_at_a_moment_or_after_a_time(program, until):
    program.scheduler.add(nothing)
    assert program.scheduler.hold("nothing", until=until).held_until == NOON + timedelta(hours=2)


def test_who_did_what_is_on_record(program):
    program.scheduler.add(nothing, every=1, why="new")
    program.scheduler.skip_next("nothing", why="once is enough")
    program.advance(2)
    program.scheduler.remove("nothing")
    assert [(action.verb, action.by, action.why) for action in program.scheduler.actions("nothing")[::-1]] == [
        ("add", "anna", "new"), ("skip_next", "anna", "once is enough"), ("remove", "anna", None),
    ]  # fmt: skip
    assert program.states("nothing") == ["skipped", "succeeded"]
    assert program.scheduler.runs("nothing", states=["succeeded"], limit=1)[0].state == "succeeded"


# -- Years of it -----------------------------------------------------------------------------------


def test_history_is_bounded(program):
    # Given a task that has run five hundred times
    program.scheduler.add(nothing)
    for _ in range(500):
        program.scheduler.run_now("nothing")
    program.settle()

    # Then there are as many as are kept, and some that wait for the next clean-up
    assert len(program.runs()) <= 100 + program_module.PRUNE_AFTER


def test_a_program_may_add_and_forget_for_years(program, monkeypatch):
    # Given five hundred one-shots, each another function, that have come and gone
    monkeypatch.setattr(program_module, "KEEP_TASKS", 10)
    monkeypatch.setattr(program_module, "KEEP_ACTIONS", 10)
    for number in range(50):
        program.scheduler.add(lambda: None, at=program.now + timedelta(seconds=1), name=f"mail {number}")
        program.advance(1)
    home = program.home
    assert len(home.tasks.names()) == 50

    # When it is tidied up
    home._tidy_up()

    # Then little is left of them
    assert home.tasks.names() == []
    assert len(program.runs()) == 10
    assert len(program.scheduler.actions(limit=None)) == 10
    assert home._ended == {}


def test_one_shots_that_were_skipped_or_whose_moment_was_held_are_forgotten(program):
    # Given one that is skipped, one whose moment passes while it is held, and one that is held still
    for name in ("skipped", "resumed", "held"):
        program.scheduler.add(nothing, name=name, at=program.now + timedelta(seconds=1))
    program.scheduler.skip_next("skipped")
    program.scheduler.hold("resumed")
    program.scheduler.hold("held")
    program.advance(2)
    program.scheduler.resume("resumed")
    program.settle()

    # When it is tidied up, then the first two are no more
    program.home._tidy_up()
    assert [schedule.name for schedule in program.scheduler.schedules()] == ["held"]


def test_a_clock_that_is_set_back_is_lived_with(program):
    # Given a beat, and a clock that is set back by half an hour, then by a day
    program.scheduler.add(nothing, every="1m")
    program.advance(minutes=1)
    program.set(NOON - timedelta(minutes=30))
    program.settle()
    assert program.states() == ["succeeded"]

    # When it is set back by a day, then the beat goes on from there
    program.set(NOON - timedelta(days=1))
    program.settle()
    program.advance(minutes=1)
    assert program.states()[-1] == "succeeded"
    assert program.runs()[-1].fire_time == NOON - timedelta(days=1) + timedelta(minutes=1)


def test_a_clock_that_is_stepped_is_noticed_though_nobody_says_so(program, monkeypatch):
    monkeypatch.setattr("dracotask.homes.loop.LONGEST_SLEEP", 0.02)
    program.scheduler.add(nothing, every="1h")
    program.look()
    program.now += timedelta(hours=3)
    until(lambda: sorted(program.states()) == ["skipped", "succeeded"], "the loop sees the time")


def test_a_look_that_fails_is_told_and_tried_again(program, monkeypatch, caplog):
    monkeypatch.setattr("dracotask.homes.loop.AFTER_FAILURE", 0.01)
    claim_due, failures = program.home.tick.claim_due, iter([OSError("no memory")])

    def fail_once(*arguments: object) -> int:
        for error in failures:
            raise error
        return claim_due(*arguments)

    monkeypatch.setattr(program.home.tick, "claim_due", fail_once)
    program.scheduler.add(nothing, every=1)
    program.advance(1)
    until(lambda: program.states() == ["succeeded"], "it is tried again")
    assert "tries again" in caplog.text


# -- Forks -----------------------------------------------------------------------------------------


def run_in_child(scheduler: Scheduler) -> object:
    """Start a Scheduler after a fork, have it do something, and tell what there is."""
    was_running = scheduler.is_running
    scheduler.start()
    ran = threading.Event()
    scheduler.add(ran.set, name="of the child")
    scheduler.run_now("of the child")
    ran.wait(PATIENCE)
    left = scheduler.stop()
    states = [(run.schedule, run.state) for run in scheduler.runs(limit=None)[::-1]]
    return was_running, ran.is_set(), left, states


def test_what_was_made_before_a_fork_works_after_it():
    scheduler = Scheduler()
    scheduler.add(nothing)
    scheduler.run_now("nothing")
    expected = (False, True, [], [("nothing", "succeeded"), ("of the child", "succeeded")])
    assert in_child(lambda: run_in_child(scheduler)) == repr(expected)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_was_started_before_a_fork_is_started_again_after_it(programs):
    # Given a scheduler at work, with a run that waits for its turn
    program, gated = programs(max_running=1), Gated()
    program.scheduler.add(gated, name="slow")
    program.scheduler.add(nothing, name="later")
    program.scheduler.run_now("slow")
    gated.wait()
    program.scheduler.run_now("later")

    # When the process forks, then the child has an engine of its own, and leaves to the parent what is the parent's
    expected = (False, True, [], [("slow", "lost"), ("later", "skipped"), ("of the child", "succeeded")])
    assert in_child(lambda: run_in_child(program.scheduler)) == repr(expected)
    gated.open()
    program.settle()
    assert program.states() == ["succeeded", "succeeded"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_demand_of_the_parent_is_no_run_of_the_child(programs):
    # Given a run at work that is to be followed by another one
    program, gated = programs(), Gated()
    program.scheduler.add(gated, name="slow")
    program.scheduler.run_now("slow")
    gated.wait()
    program.scheduler.demand("slow")

    # When the process forks, then only the parent answers it
    expected = (False, True, [], [("slow", "lost"), ("of the child", "succeeded")])
    assert in_child(lambda: run_in_child(program.scheduler)) == repr(expected)
    gated.open(2)
    program.settle()
    assert program.states() == ["succeeded", "succeeded"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_the_midst_of_work_leaves_no_lock_behind():
    # Given a scheduler that is busy all the time
    with Scheduler() as scheduler:
        for number in range(8):
            scheduler.add(nothing, name=f"job {number}")
        busy = threading.Event()

        def ask() -> None:
            while not busy.is_set():
                for number in range(8):
                    scheduler.demand(f"job {number}")

        asking = threading.Thread(target=ask)
        asking.start()

        # When it is forked from another thread, again and again, then each child works
        for _ in range(20):
            assert in_child(lambda: run_in_child(scheduler)[:3]) == repr((False, True, []))
        busy.set()
        asking.join()


# -- Signals ---------------------------------------------------------------------------------------

INTERRUPTED = """\
import random, signal, threading, time
from dracotask import Scheduler

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
dice, caught = random.Random(7), 0
scheduler = Scheduler(max_running=2)
scheduler.add(lambda: None, name="x", every=3600)
scheduler.start()

until = time.monotonic() + 20
while caught < 300 and time.monotonic() < until:
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.random() * 0.0005 + 0.00001)
        scheduler.demand("x")
        while True:
            scheduler.hold("x"), scheduler.resume("x")
    except KeyboardInterrupt:
        caught += 1

scheduler.resume("x")  # the last one may have come between the two, or in the first steps of one
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
answers = []
other = threading.Thread(target=lambda: answers.append(scheduler.run_now("x", while_running=True).id), daemon=True)
other.start()
other.join(10)
while scheduler.run(answers[0]).state != "succeeded" and time.monotonic() < until + 10:
    time.sleep(0.001)
store = scheduler._home.store
assert len(store._schedules.in_force()) == 1, store._schedules.in_force()
print(caught, len(answers), scheduler.run(answers[0]).state, scheduler.stop())
"""


def test_ctrl_c_in_the_midst_of_verbs_leaves_all_whole_and_nothing_locked():
    # Given a program whose main thread is interrupted three hundred times, at any point of any verb
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=90)

    # Then all threads go on with a whole store
    assert (ended.returncode, ended.stdout) == (0, "300 1 succeeded []\n"), ended.stderr


@pytest.fixture
def own_interrupts() -> Iterator[None]:
    """See to it that SIGINT is handled as in any Python program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_waits_for_the_end_of_a_change_and_comes_then(program, own_interrupts):
    # Given a verb in the midst of which somebody presses Ctrl-C
    program.scheduler.add(nothing)
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with program.home.control() as control:
            signal.raise_signal(signal.SIGINT)
            steps.append(control.hold("nothing", program.now).name)
        steps.append("never comes here")

    # Then the change is whole, and the next Ctrl-C is as ever
    assert steps == ["nothing"]
    assert program.scheduler.schedule("nothing").held_at
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_handler_of_the_program_s_own_is_left_alone(program):
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        with program.home.control():
            signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("lock", ["the loop's", "the launcher's", "the engine's"])
def test_a_signal_handler_may_stop_the_scheduler_wherever_it_interrupts(program, lock):
    # Given a main thread that is just within one of the locks
    engine = program.home.engine()
    held = {"the loop's": engine.loop._lock, "the launcher's": engine.launcher._lock, "the engine's": engine._changing}
    before = signal.signal(signal.SIGUSR1, lambda number, frame: program.scheduler.stop(wait=0))
    try:
        # When the signal comes
        with held[lock]:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    # Then it is stopped
    assert not program.scheduler.is_running


# -- In a web process ------------------------------------------------------------------------------


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


@pytest.fixture
def middleware(tmp_path, monkeypatch) -> Iterator[TaskMiddleware]:
    monkeypatch.setattr("dracotask.web.ticker.start_tick", lambda *_, **__: pytest.fail("no tick is wanted here"))
    monkeypatch.setattr("dracotask.web.ticker.Ticker.look", lambda *_: None)
    made = TaskMiddleware(hello, tmp_path, idle_tick=False)
    yield made
    for scheduler in made._schedulers:
        scheduler.stop(wait=0)


def request(application: TaskMiddleware, **facts: object) -> None:
    assert application({"PATH_INFO": "/", **facts}, lambda *_: None) == [b"hello"]


def test_local_starts_with_the_first_request(middleware):
    ran = threading.Event()
    middleware.local.add(ran.set, name="ran")
    middleware.local.run_now("ran")
    assert not middleware.local.is_running
    request(middleware)
    assert middleware.local.is_running
    assert ran.wait(PATIENCE)


def test_local_starts_by_the_hook_after_a_fork(middleware):
    assert not middleware.local.is_running
    middleware.start()
    assert middleware.local.is_running


def test_local_that_was_stopped_is_not_started_by_the_next_request(middleware, monkeypatch):
    # Given a process where every request looks, for no thread beats
    middleware.local.add(nothing)
    request(middleware)
    middleware.local.stop()

    # When another request comes, or the hook, then it stays as it was wanted
    middleware._look_at = 0.0
    request(middleware)
    middleware.start()
    assert not middleware.local.is_running

    # When it is started again by hand, then it runs; and a fork begins anew
    middleware.local.start()
    assert middleware.local.is_running
    middleware.local.stop()
    assert in_child(lambda: (request(middleware), middleware.start(), middleware.local.is_running)[-1]) == "True"


def test_local_that_is_first_asked_for_by_a_request_starts_at_once(middleware):
    request(middleware)
    assert middleware.local.is_running
    assert middleware.local is middleware.local


def test_local_is_not_started_as_cgi_nor_switched_off_nor_without_threads(middleware, monkeypatch, tmp_path):
    middleware.local.add(nothing)
    request(middleware, **{"wsgi.run_once": True})
    assert not middleware.local.is_running
    monkeypatch.setitem(sys.modules, "uwsgi", type("uwsgi", (), {"has_threads": False}))
    middleware.start()
    assert not middleware.local.is_running
    monkeypatch.delitem(sys.modules, "uwsgi")
    monkeypatch.setenv("DRACOTASK_ENABLED", "0")
    other = TaskMiddleware(hello, tmp_path)
    other.local.add(nothing)
    other.start()
    assert not other.local.is_running


def test_no_thread_to_be_had_changes_no_response(middleware, monkeypatch, caplog):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    middleware.local.add(nothing)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    request(middleware)
    assert "can't start new thread" in caplog.text


def test_a_site_without_local_loads_nothing_of_it(middleware, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("dracotask.scheduler", "dracotask.homes"))]:
        monkeypatch.delitem(sys.modules, name)
    middleware.start()
    request(middleware)
    assert "dracotask.scheduler" not in sys.modules
    assert "dracotask.homes.program" not in sys.modules


LOCAL_WSGI = """\
import os
from dracotask import TaskMiddleware

swept = []

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    return [" ".join(map(str, set(swept))).encode()]

application = TaskMiddleware(site, os.path.dirname(os.path.abspath(__file__)))
application.local.add(lambda: swept.append(os.getpid()), every=1, name="sweep")
"""


@pytest.mark.server
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in ("gunicorn", "gunicorn-preload")], ids=repr)
def test_each_worker_of_a_server_runs_its_own_within_its_own_memory(kind, tmp_path):
    # Given a server of two workers whose application has a local schedule
    folder = SiteFolder(tmp_path)
    (folder.path / "wsgi.py").write_text(LOCAL_WSGI)
    server = start_server(kind, folder)
    try:
        # When each has had a request
        server.wake_workers()

        # Then each has run it in its own memory
        def own() -> set[int]:
            answers = server.get_many(6)
            return {answer.worker for answer in answers if answer.body.decode().split() == [str(answer.worker)]}

        wait_until(lambda: len(own()) == 2, f"both workers sweep\n{server.words()}", 20)
    finally:
        server.stop()
        server.kill()
        folder.end_everything()
    assert "Traceback" not in server.words()


# -- Over a site -----------------------------------------------------------------------------------

REPORT = """
class Report(Task):
    '''Sends the figures.'''
    def __init__(self):
        self.schedule(hour=4)
    def run(self, shop: str = "all"):
        tell(self)
        if shop == "wait":
            wait_at_gate()
        return shop
"""


@pytest.fixture
def shop(site: Site) -> Scheduler:
    site.write(REPORT)
    site.due()
    return Scheduler(site.docroot, by="anna")


def test_the_verbs_over_a_site_are_in_its_store_and_a_look_is_wanted(site, shop):
    before = os.stat(site.state.next_file).st_mtime
    held = shop.hold("Report", until="2h", why="the database moves")
    assert site.schedule("Report").held_by == held.held_by == "anna"
    assert os.stat(site.state.next_file).st_mtime < before  # it said when to look; now that is at once
    shop.resume("Report")
    assert shop.skip_next("Report").skip_until == site.schedule("Report").next_fire_time
    assert shop.reschedule("Report", every="5m").override.startswith("every 5m from")
    assert shop.reschedule("Report", trigger=None).override is None
    assert [action.verb for action in shop.actions("Report")] == [
        "reschedule", "reschedule", "skip_next", "resume", "hold",
    ]  # fmt: skip
    assert [schedule.name for schedule in shop.schedules()] == ["Report"]
    assert shop.schedule("Report").declared


def test_a_schedule_is_added_to_a_site_and_run_by_its_tick(site, shop):
    # Given a schedule of a visitor's
    added = shop.add("Report", every="1h", name="north", arguments={"shop": "north"})
    assert (added.task, added.declared) == ("Report", False)

    # When it is wanted now, and a tick comes
    run = shop.run_now("north", why="asked for")
    assert (run.state, run.origin, run.requested_by) == ("queued", "api", "anna")
    site.due()

    # Then it has run with its arguments
    assert (shop.run(run.id).state, shop.run(run.id).summary) == ("succeeded", "north")
    assert [each.id for each in shop.runs("north")] == [run.id]
    assert shop.runs("Report") == []
    assert shop.demand("north").schedule == "north"
    shop.remove("north")
    assert shop.schedule("north") is None
    assert [run.state for run in shop.runs("north")] == ["skipped", "succeeded"]


def test_a_run_of_a_site_is_stopped_by_its_name_and_by_its_id(site, shop):
    shop.add("Report", name="slow", arguments={"shop": "wait"})
    for number, word in enumerate(("slow", None), 1):
        # Given a run at work
        run = shop.run_now("slow")
        tick = site.start("due")
        site.wait_for("start", number)

        # When it is stopped, then it ends soon
        assert [asked.id for asked in shop.stop(word or run.id, why="enough", grace="2s")] == [run.id]
        tick.wait(30)
        ended = shop.run(run.id)
        assert (ended.state, ended.stop_by, ended.stop_why, ended.stop_grace) == ("stopped", "anna", "enough", 2.0)


def test_refusals_of_a_site_change_nothing(site, shop):
    with pytest.raises(ScheduleNotFound, match="Did you mean Report"):
        shop.add("Reprot", every=60, name="north")
    with pytest.raises(ScheduleNotFound, match="Did you mean Report"):
        shop.hold("report")
    with pytest.raises(ControlError, match="needs a name of its own"):
        shop.add("Report", every=60)
    with pytest.raises(ControlError, match="name of a task"):
        shop.add("Report", every=60, name="Report", replace=True)
    with pytest.raises(ControlError, match="stand in its __tasks__"):
        shop.add(nothing, every=60, name="north")
    with pytest.raises(ControlError, match="takes no 'days'"):
        shop.add("Report", name="north", arguments={"days": 1})
    with pytest.raises(ControlError, match="never fires"):
        shop.reschedule("Report", at="2020-01-01T00:00Z")
    with pytest.raises(ControlError, match="stands in the task file"):
        shop.remove("Report")
    assert shop.actions() == []


def test_the_scheduler_of_a_site_needs_no_start(site, shop):
    assert shop.is_running
    for verb in (shop.start, shop.stop):
        with pytest.raises(ControlError, match="ticks"):
            verb()


def test_what_stands_in_the_toml_is_refused_here(site):
    with pytest.raises(TypeError, match=r"dracotask\.toml"):
        Scheduler(site.docroot, max_running=3)
    with pytest.raises(DocrootNotFound):
        Scheduler(site.docroot / "nowhere")


def test_a_site_that_nobody_has_looked_at_is_loaded_first(site):
    site.write(REPORT)
    scheduler = Scheduler(site.docroot)
    assert [schedule.name for schedule in scheduler.schedules()] == ["Report"]
    assert scheduler.hold("Report").held_by


def test_a_site_that_cannot_be_loaded_says_why(site):
    site.write("class Report(Task:")
    with pytest.raises(StoreMissing, match="could not be now: "):
        Scheduler(site.docroot).hold("Report")


def test_a_site_of_another_user_is_left_alone(site, shop, monkeypatch):
    def refuse(state: State) -> None:
        raise WrongUser(state.path, 12345)

    monkeypatch.setattr(State, "check_user", refuse)
    with pytest.raises(WrongUser):
        shop.hold("Report")
    with pytest.raises(WrongUser):
        shop.schedules()


def test_rules_of_a_site_are_in_its_zone(site, shop):
    site.put("dracotask.toml", 'timezone = "Europe/Riga"\n')
    assert shop.reschedule("Report", hour=5).override == "cron 0 5 * * * Europe/Riga"


def test_verbs_over_a_site_come_from_any_thread_and_after_a_fork(site, shop):
    held: list[object] = []
    thread = threading.Thread(target=lambda: held.append(shop.hold("Report").held_by))
    thread.start()
    thread.join()
    assert held == ["anna"]
    assert in_child(lambda: shop.resume("Report").held_at) == "None"
    assert site.schedule("Report").held_at is None
