"""Where a program's own Runs are done: coroutines on a loop that is given, found or our own, and the rest inline."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from programs import PATIENCE, Gated, NewThreads, in_child, nothing
from sites import until

from dracotask import ControlError, Scheduler, Skip, Task, TimedOut, current_task, task
from dracotask.launchers.aio import AsyncioLauncher


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Give an event loop that a program runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Waiting:
    """A coroutine function that waits until it is cancelled, or ``over`` is set by its own loop's thread."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended: list[str] = []

    async def __call__(self) -> str:
        self.begun.release()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return "slept"

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE)


# -- Which loop ------------------------------------------------------------------------------------


async def where() -> str:
    await asyncio.sleep(0)
    return f"{threading.current_thread().name} {id(asyncio.get_running_loop())}"


def test_a_coroutine_function_runs_on_a_loop_of_our_own_in_a_thread_that_ends_with_the_scheduler():
    threads = NewThreads()
    with Scheduler() as scheduler:
        # Given a program with no loop at all
        scheduler.add(where)

        # When a coroutine function runs twice
        for _ in range(2):
            run = scheduler.run_now("where")
            until(lambda run=run: scheduler.run(run.id).state == "succeeded", "it runs")

        # Then there is one loop, in one thread
        [first, second] = {run.summary for run in scheduler.runs()} | {"-"}
        assert "dracotask-asyncio" in max(first, second)
        assert sorted(threads()) == ["dracotask-asyncio", "dracotask-scheduler"]
    until(lambda: threads() == [], "the threads end")


def test_no_asyncio_thread_is_there_before_a_coroutine_is(program):
    threads = NewThreads()
    program.scheduler.add(nothing)
    program.scheduler.add(where)
    program.scheduler.run_now("nothing")
    program.settle()
    assert "dracotask-asyncio" not in threads()


def test_coroutines_run_on_the_loop_that_is_given(programs):
    with loop_in_a_thread() as loop:
        program = programs(loop=loop)
        program.scheduler.add(where)
        program.scheduler.run_now("where")
        program.settle()
        assert program.runs()[0].summary.endswith(f" {id(loop)}")
        program.scheduler.stop()


def test_coroutines_run_on_the_loop_in_which_the_scheduler_was_started():
    async def main() -> tuple[str | None, int, list[str]]:
        async with Scheduler() as scheduler:
            scheduler.add(where)
            run = scheduler.run_now("where")
            while scheduler.run(run.id).state != "succeeded":
                await asyncio.sleep(0.001)
            return scheduler.run(run.id).summary, id(asyncio.get_running_loop()), threads()

    threads = NewThreads()
    summary, loop, seen = asyncio.run(main())
    assert summary == f"MainThread {loop}"
    assert seen == ["dracotask-scheduler"]
    until(lambda: threads() == [], "the threads end")


def test_async_with_waits_for_what_it_has_cancelled():
    # Given a coroutine that needs the loop to tidy up after it was cancelled
    tidied: list[str] = []

    async def tidy() -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0.01)
            tidied.append("tidied")

    begun = asyncio.Event()

    async def main() -> Scheduler:
        async with Scheduler(by="anna") as scheduler:
            scheduler.add(tidy)
            scheduler.run_now("tidy")
            await begun.wait()
        assert tidied == ["tidied"]
        return scheduler

    # When the program comes to its end, then the run is stopped
    [run] = asyncio.run(main()).runs()
    assert (run.state, run.error) == ("stopped", "stopped by anna: the scheduler was stopped")


def test_stop_within_the_loop_does_not_wait_for_coroutines_that_need_it():
    # Given a coroutine at work on the loop
    waiting = Waiting()

    async def main() -> tuple[list[str], float, Scheduler]:
        scheduler = Scheduler(by="anna")
        scheduler.start()
        scheduler.add(waiting, name="waiting")
        scheduler.run_now("waiting")
        while not waiting.begun.acquire(blocking=False):
            await asyncio.sleep(0.001)

        # When the scheduler is stopped in that loop, with all the patience there is
        left = scheduler.stop(wait=PATIENCE)
        asked = scheduler.runs()[0].state
        while scheduler.runs()[0].state == "running":
            await asyncio.sleep(0.001)
        return left, asked, scheduler

    # Then it comes back at once, and the coroutine is cancelled after it
    begun = time.monotonic()
    left, asked, scheduler = asyncio.run(main())
    assert time.monotonic() - begun < PATIENCE
    assert (left, asked, scheduler.runs()[0].state, waiting.ended) == (["waiting"], "running", "stopped", ["cancelled"])


def test_what_is_no_loop_and_no_launcher_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no event loop"):
        Scheduler(loop="main")
    with pytest.raises(ValueError, match="There is: thread, inline"):
        Scheduler(launcher="threads")
    with pytest.raises(TypeError, match="are processes"):
        Scheduler(tmp_path, launcher="inline")


# -- What becomes of a coroutine -------------------------------------------------------------------


class Report(Task):
    """Says what it is handed."""

    async def run(self, shop: str, days: int = 7) -> str:
        await asyncio.sleep(0)
        self.progress(days, 10)
        return f"{shop} {days} {self.current_run.arguments} {self.proceed()} {current_task() is self}"


def test_a_task_whose_run_is_a_coroutine_has_its_arguments_and_progress(program):
    program.scheduler.add(Report, arguments={"shop": "north"})
    program.scheduler.run_now("Report")
    program.scheduler.run_now("Report", arguments={"shop": "south", "days": 3})
    with pytest.raises(ControlError, match="takes no 'day'"):
        program.scheduler.run_now("Report", arguments={"day": 3})
    program.settle()
    assert [(run.summary, run.progress_done, run.progress_total) for run in program.runs()] == [
        ("north 7 {'shop': 'north'} True True", 7, 10),
        ("south 3 {'days': 3, 'shop': 'south'} True True", 3, 10),
    ]


async def skips() -> None:
    raise Skip("nothing new")


async def leaves() -> None:
    raise SystemExit


async def exits() -> None:
    raise SystemExit(3)


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("no such shop")


async def interrupted() -> None:
    raise KeyboardInterrupt


async def cancels_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "end"),
    [
        (skips, ("succeeded", "skipped: nothing new", None)),
        (leaves, ("succeeded", None, None)),
        (exits, ("failed", None, "the task called sys.exit(3)")),
        (fails, ("failed", None, "ValueError: no such shop")),
        (interrupted, ("failed", None, "KeyboardInterrupt")),
        (cancels_itself, ("failed", None, "CancelledError")),
    ],
)
def test_whatever_a_coroutine_raises_its_end_is_recorded_and_the_loop_goes_on(programs, work, end):
    # Given a loop of the program's
    with loop_in_a_thread() as loop:
        program = programs(loop=loop)
        program.scheduler.add(work, name="odd")
        program.scheduler.add(where)

        # When a coroutine ends in some way, and another one comes after it
        program.scheduler.run_now("odd")
        program.settle()
        program.scheduler.run_now("where")
        program.settle()

        # Then both have their end
        odd, other = program.runs()
        assert (odd.state, odd.summary, odd.error) == end
        assert other.state == "succeeded"
        program.scheduler.stop()


def test_on_error_is_told_of_a_coroutine_that_fails(programs, caplog):
    told: list[tuple[str, BaseException]] = []
    program = programs(on_error=lambda run, error: told.append((run.state, error)))
    program.scheduler.add(fails)
    program.scheduler.run_now("fails")
    program.settle()
    [(state, error)] = told
    assert (state, str(error)) == ("failed", "no such shop")
    assert "fails failed: ValueError: no such shop" in caplog.text


def test_a_run_that_is_stopped_is_cancelled(program):
    waiting = Waiting()
    program.scheduler.add(waiting, name="waiting")
    run = program.scheduler.run_now("waiting")
    waiting.wait()
    program.scheduler.stop(run.id, why="enough")
    program.settle()
    [ended] = program.runs()
    assert (ended.state, ended.error, waiting.ended) == ("stopped", "stopped by anna: enough", ["cancelled"])


class Limited(Task):
    time_limit = "50ms"

    async def run(self) -> str:
        try:
            await asyncio.sleep(PATIENCE)
        except Exception:
            return "a cancellation is no Exception"
        return "slept"


def test_over_its_time_limit_a_coroutine_is_cancelled_and_on_error_is_told(programs):
    told: list[tuple[str, type[BaseException]]] = []
    program = programs(on_error=lambda run, error: told.append((run.state, type(error))))
    program.scheduler.add(Limited)
    program.scheduler.run_now("Limited")
    program.settle()
    [run] = program.runs()
    assert (run.state, run.summary, run.error) == ("timed_out", None, "over its time limit of 50ms")
    assert told == [("timed_out", TimedOut)]


def test_a_coroutine_that_asks_to_go_on_is_let_come_to_a_good_place(program):
    # Given a coroutine that asks, and one that does not
    begun = threading.Semaphore(0)

    async def asks() -> str:
        while current_task().proceed():
            begun.release()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        return "came to a good place"

    program.scheduler.add(asks)
    program.scheduler.run_now("asks")
    assert begun.acquire(timeout=PATIENCE)

    # When it is stopped, then it ends by itself
    program.scheduler.stop("asks")
    program.settle()
    assert [(run.state, run.summary) for run in program.runs()] == [("stopped", "came to a good place")]


def test_a_cancellation_by_the_program_itself_is_a_stop(program):
    # Given a coroutine at work on our loop
    waiting = Waiting()
    program.scheduler.add(waiting, name="waiting")
    run = program.scheduler.run_now("waiting")
    waiting.wait()

    # When somebody else cancels its asyncio task
    launcher = program.home.engine()._coroutines
    job = launcher._jobs[run.id]
    job.get_loop().call_soon_threadsafe(job.cancel)
    program.settle()

    # Then it was stopped, and did not fail
    [ended] = program.runs()
    assert (ended.state, ended.error) == ("stopped", "stopped by its event loop: the asyncio task was cancelled")


def test_what_is_stopped_before_it_has_begun_never_begins(program, monkeypatch):
    # Given a run that was taken, and is stopped before the loop comes to it
    begin = AsyncioLauncher.begin

    def stop_first(launcher: AsyncioLauncher, steering: object) -> None:
        program.scheduler.stop(steering.run.id)
        begin(launcher, steering)

    monkeypatch.setattr(AsyncioLauncher, "begin", stop_first)
    waiting = Waiting()
    program.scheduler.add(waiting, name="waiting")
    program.scheduler.run_now("waiting")
    program.settle()

    # Then it is stopped, with none of its work done
    assert program.states() == ["stopped"]
    assert not waiting.begun.acquire(blocking=False)


# -- How many --------------------------------------------------------------------------------------


def test_a_thousand_coroutines_are_at_work_at_once_in_one_thread(programs):
    # Given a thousand schedules of a coroutine function
    threads = NewThreads()
    program = programs(max_running=1000)
    begun, over = threading.Semaphore(0), []

    async def waits() -> None:
        begun.release()
        if not over:
            over.append(asyncio.Event())
        await over[0].wait()

    for number in range(1000):
        program.scheduler.add(waits, name=f"job {number}")
        program.scheduler.run_now(f"job {number}")

    # When all have begun
    for _ in range(1000):
        assert begun.acquire(timeout=PATIENCE)
    assert sorted(threads()) == ["dracotask-asyncio", "dracotask-scheduler"]
    assert program.states() == ["running"] * 1000

    # Then all are stopped together
    assert program.scheduler.stop(wait=PATIENCE) == []
    assert set(program.states()) == {"stopped"}


def test_threads_and_coroutines_together_are_never_more_than_there_may_be(programs):
    # Given room for three, and many of both kinds
    program, gated = programs(max_running=3), Gated()
    counted = {"now": 0, "most": 0}
    lock = threading.Lock()

    def count(step: int) -> None:
        with lock:
            counted["now"] += step
            counted["most"] = max(counted["most"], counted["now"])

    def plain() -> None:
        count(1)
        time.sleep(0.002)
        count(-1)

    async def coroutine() -> None:
        count(1)
        await asyncio.sleep(0.002)
        count(-1)

    program.scheduler.add(gated, name="gated")
    program.scheduler.run_now("gated")
    gated.wait()
    count(1)
    for number in range(30):
        work = coroutine if number % 2 else plain
        program.scheduler.add(work, name=f"job {number}")
        program.scheduler.run_now(f"job {number}")

    # When all others are done, then there was never room for more than two
    until(lambda: program.states().count("succeeded") == 30, "all are done")
    assert counted["most"] <= 3
    gated.open()
    program.settle()


def test_each_comes_in_its_turn_whether_thread_or_coroutine(programs):
    # Given room for one, and a queue of both kinds behind what is at work
    program, gated, order = programs(max_running=1), Gated(), []
    program.scheduler.add(gated, name="gated")
    program.scheduler.run_now("gated")
    gated.wait()

    async def coroutine(number: int) -> None:
        order.append(number)

    def plain(number: int) -> None:
        order.append(number)

    for number, work in enumerate([coroutine, plain, plain, coroutine, coroutine, plain]):
        program.scheduler.add(work, name=f"job {number}", arguments={"number": number})
        program.scheduler.run_now(f"job {number}")

    # When it is their turn, then they come in the order of the queue
    gated.open()
    program.settle()
    assert order == [0, 1, 2, 3, 4, 5]


def test_a_coroutine_that_blocks_the_loop_hurts_only_its_loop(program):
    # Given a coroutine that blocks
    gated = Gated()

    async def blocks() -> None:
        gated()

    program.scheduler.add(blocks)
    program.scheduler.run_now("blocks")
    gated.wait()

    # When something else is wanted, then it is done
    ran = threading.Event()
    program.scheduler.add(ran.set, name="ran")
    program.scheduler.run_now("ran")
    assert ran.wait(PATIENCE)

    # And a stop says who is still at work
    assert program.scheduler.stop(wait="50ms") == ["blocks"]
    gated.open()
    assert program.scheduler.stop() == []
    assert program.states("blocks") == ["stopped"]


# -- The end of a loop -----------------------------------------------------------------------------


def test_a_loop_that_is_closed_early_loses_its_runs_and_hangs_nobody(program):
    # Given a loop that runs for a while, with a coroutine at work on it
    loop, waiting = asyncio.new_event_loop(), Waiting()
    scheduler = Scheduler(by="anna", loop=loop)
    scheduler.add(waiting, name="waiting")
    with scheduler:
        scheduler.run_now("waiting")

        async def for_a_while() -> None:
            while not waiting.begun.acquire(blocking=False):
                await asyncio.sleep(0.001)

        loop.run_until_complete(for_a_while())

        # When it is closed, and another run is wanted
        loop.close()
        scheduler.add(where)
        run = scheduler.run_now("where")
        until(lambda: scheduler.run(run.id).state == "failed", "it is told")
        assert scheduler.stop(wait=PATIENCE) == []

    # Then what was at work is lost
    lost = scheduler.runs("waiting")[0]
    assert (lost.state, lost.error) == ("lost", "its event loop was closed while it was at work")
    assert scheduler.run(run.id).error == "RuntimeError: Event loop is closed"


def test_a_loop_that_stands_still_hangs_no_stop():
    # Given a loop that was stopped with a coroutine at work
    loop, waiting = asyncio.new_event_loop(), Waiting()
    with Scheduler(loop=loop) as scheduler:
        scheduler.add(waiting, name="waiting")
        scheduler.run_now("waiting")
        loop.run_until_complete(asyncio.to_thread(waiting.wait))

        # When the scheduler is stopped, then it says who is at work, at once
        begun = time.monotonic()
        assert scheduler.stop(wait=PATIENCE) == ["waiting"]
        assert time.monotonic() - begun < PATIENCE

    # When the loop goes on, then the run comes to its end
    async def turn() -> None:
        while scheduler.runs()[0].state == "running":
            await asyncio.sleep(0)

    loop.run_until_complete(turn())
    loop.close()
    assert scheduler.runs()[0].state == "stopped"


def test_the_end_of_asyncio_run_is_the_end_of_its_coroutines():
    # Given a program that forgets to stop its scheduler
    waiting = Waiting()
    scheduler = Scheduler()
    scheduler.add(waiting, name="waiting")

    async def main() -> None:
        scheduler.start()
        scheduler.run_now("waiting")
        while not waiting.begun.acquire(blocking=False):
            await asyncio.sleep(0.001)

    # When its loop ends, then the run was cancelled with it
    asyncio.run(main())
    assert [run.state for run in scheduler.runs()] == ["stopped"]
    assert scheduler.stop() == []


def test_a_scheduler_may_be_stopped_and_started_again(programs):
    threads = NewThreads()
    program = programs()
    program.scheduler.add(where)
    for _ in range(3):
        program.scheduler.run_now("where")
        program.settle()
        program.scheduler.stop()
        until(lambda: threads() == [], "the threads end")
        program.scheduler.start()
    assert program.states() == ["succeeded"] * 3


FORGETFUL = """\
import asyncio, threading
from dracotask import Scheduler

begun = threading.Event()

async def waits():
    begun.set()
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.01)
        print("tidied", flush=True)

scheduler = Scheduler()
scheduler.add(waits)
scheduler.run_now("waits")
scheduler.start()
begun.wait()
"""


def test_at_the_end_of_the_program_coroutines_may_let_go_in_good_order():
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", FORGETFUL], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "tidied\n", "")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_has_a_loop_of_its_own(programs):
    # Given a scheduler on a loop of the program's, with a coroutine at work
    with loop_in_a_thread() as loop:
        program, waiting = programs(loop=loop), Waiting()
        program.scheduler.add(waiting, name="waiting")
        program.scheduler.add(where)
        program.scheduler.run_now("waiting")
        waiting.wait()

        # When the process forks
        def in_the_child() -> object:
            scheduler = program.scheduler
            scheduler.start()
            run = scheduler.run_now("where")
            until(lambda: scheduler.run(run.id).state == "succeeded", "it runs")
            return scheduler.run(run.id).summary.split()[0], scheduler.runs("waiting")[0].state, scheduler.stop()

        # Then the child runs its own, and the parent's goes on
        assert in_child(in_the_child) == repr(("dracotask-asyncio", "lost", []))
        assert program.states("waiting") == ["running"]
        program.scheduler.stop("waiting")
        program.settle()
        assert program.states("waiting") == ["stopped"]
        program.scheduler.stop()


# -- Inline ----------------------------------------------------------------------------------------


def test_inline_does_one_run_after_the_other_in_the_thread_that_looks(programs):
    # Given an inline scheduler with two plain functions
    threads, names = NewThreads(), []
    program = programs(launcher="inline")
    program.scheduler.add(lambda: names.append(threading.current_thread().name), name="first")
    program.scheduler.add(lambda: names.append(threading.current_thread().name), name="second")

    # When both run
    for name in ("first", "second"):
        program.scheduler.run_now(name)
    program.settle()

    # Then it was there, and there is no other thread
    assert names == ["dracotask-scheduler"] * 2
    assert threads() == ["dracotask-scheduler"]
    assert program.states() == ["succeeded"] * 2


def test_an_inline_run_may_want_others_and_stop_the_scheduler(programs):
    program = programs(launcher="inline")
    left: list[object] = []
    program.scheduler.add(lambda: left.append(program.scheduler.stop()), name="stops")
    program.scheduler.add(lambda: program.scheduler.run_now("stops"), name="wants")
    program.scheduler.run_now("wants")
    until(lambda: left, "it is stopped")
    assert left == [[]]
    until(lambda: "running" not in program.states(), "it ends")
    assert program.states() == ["succeeded", "stopped"]


def test_inline_a_coroutine_goes_to_a_loop_all_the_same(programs):
    program = programs(launcher="inline")
    program.scheduler.add(where)
    program.scheduler.run_now("where")
    program.settle()
    assert program.runs()[0].summary.startswith("dracotask-asyncio ")


# -- The Run at hand -------------------------------------------------------------------------------


def test_a_plain_function_asks_and_tells_by_the_current_task(program):
    # Given a function without self that goes on until it is to stop
    begun = threading.Event()

    def sweep(days: int) -> str:
        me = current_task()
        while me.proceed():
            me.progress(1, days, "sweeping")
            begun.set()
            time.sleep(0.001)
        return f"{me.current_run.schedule} {me.current_run.arguments}"

    program.scheduler.add(sweep, arguments={"days": 7})
    program.scheduler.run_now("sweep")
    assert begun.wait(PATIENCE)

    # When it is stopped, then it hears of it
    program.scheduler.stop("sweep")
    program.settle()
    [run] = program.runs()
    assert (run.state, run.summary, run.progress_note) == ("stopped", "sweep {'days': 7}", "sweeping")


def test_of_many_at_once_each_finds_its_own_current_task(programs):
    # Given threads and coroutines that all look who they are, while the others are at work
    program = programs(max_running=40)
    barrier = threading.Barrier(10)

    def plain() -> str:
        barrier.wait(PATIENCE)
        return current_task().current_run.schedule

    async def coroutine() -> str:
        before = current_task().current_run.schedule
        await asyncio.sleep(0.001)
        in_thread = await asyncio.to_thread(lambda: current_task().current_run.schedule)
        inner = await asyncio.create_task(asyncio.sleep(0, current_task().current_run.schedule))
        assert before == in_thread == inner == current_task().current_run.schedule
        return before

    for number in range(30):
        program.scheduler.add(plain if number < 10 else coroutine, name=f"job {number}")
        program.scheduler.run_now(f"job {number}")
    program.settle()
    assert [(run.state, run.summary) for run in program.runs()] == [
        ("succeeded", f"job {number}") for number in range(30)
    ]


def test_outside_of_a_run_the_current_task_leads_nowhere(program):
    program.scheduler.add(nothing)
    program.scheduler.run_now("nothing")
    program.settle()
    assert current_task().proceed()
    assert current_task().current_run is None
    current_task().progress(1, 2)


LEFT_BEHIND: contextvars.ContextVar[str] = contextvars.ContextVar("LEFT_BEHIND", default="nothing")


@pytest.mark.parametrize("launcher", ["thread", "inline"])
def test_what_a_run_sets_of_its_context_ends_with_it(programs, launcher):
    program = programs(max_running=1, launcher=launcher)

    def leaves() -> str:
        found = LEFT_BEHIND.get()
        LEFT_BEHIND.set("something")
        return found

    program.scheduler.add(leaves)
    for _ in range(2):
        program.scheduler.run_now("leaves")
        program.settle()
    assert [run.summary for run in program.runs()] == ["nothing", "nothing"]


@task(every="5m", time_limit="10m")
@task(hour=4)
async def decorated(days: int = 7) -> str:
    """Sweeps.

    And more.
    """
    await asyncio.sleep(0)
    return f"{days} {current_task().current_run.task}"


@task(name="Renamed")
def function() -> None:
    pass


def test_a_decorated_function_brings_its_rule_policy_and_description(program):
    added = program.scheduler.add(decorated, arguments={"days": 3})
    assert (added.name, added.task, added.description) == ("decorated", "decorated", "Sweeps.")
    assert added.trigger == "any (cron 0 4 * * * UTC | every 5m from 2000-01-01T00:00:00+00:00)"
    assert "time_limit=600" in added.policy
    program.scheduler.run_now("decorated")
    program.settle()
    assert [run.summary for run in program.runs()] == ["3 decorated"]
    assert program.scheduler.add(function).name == "Renamed"
