"""A ``run()`` that is a coroutine: in real bodies, with real signals, and nothing left over."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest
from sites import Site

from dracotask import Task

HEAD = """\
import asyncio
import os
import time

from dracotask import Retry, Skip, Task, TimedOut, Stopped, current_task, database
from told import *

"""

CASES = """
class Fetch(Task):
    def __init__(self):
        self.schedule(every="1h")

    async def run(self, pages: int = 3):
        tell(self)
        await asyncio.sleep(0)
        return f"{pages} pages"


class Nothing(Task):
    async def run(self):
        raise Skip("no news")


class Leaves(Task):
    async def run(self):
        raise SystemExit


class Exits(Task):
    async def run(self):
        await asyncio.sleep(0)
        raise SystemExit(7)


class Broken(Task):
    async def run(self):
        await asyncio.sleep(0)
        raise ValueError("no such shop")


class Cancelled(Task):
    async def run(self):
        raise asyncio.CancelledError


class Forwards(Task):
    def run(self):
        return self.fetch()

    async def fetch(self):
        return "forwarded"


class Draws(Task):
    def run(self):
        return (number for number in range(3))


class Number(Task):
    def run(self):
        return 412


class Again(Task):
    retries = 1
    retry_delay = "1h"

    async def run(self):
        raise Retry("later")
"""


@pytest.fixture
def cases(site: Site) -> Site:
    site.write(CASES, head=HEAD)
    return site


@pytest.mark.parametrize(
    ("task", "code", "state", "words"),
    [
        ("Fetch", 0, "succeeded", "3 pages"),
        ("Nothing", 0, "succeeded", "skipped: no news"),
        ("Leaves", 0, "succeeded", None),
        ("Exits", 1, "failed", "the task called sys.exit(7)"),
        ("Broken", 1, "failed", "ValueError: no such shop"),
        ("Cancelled", 1, "failed", "CancelledError"),
        ("Forwards", 0, "succeeded", "forwarded"),
        ("Number", 0, "succeeded", None),
    ],
)
def test_a_coroutine_is_done_and_its_end_is_that_of_any_run(cases, task, code, state, words):
    ended = cases.run(task, env={"PYTHONWARNINGS": "error"})
    run = cases.last_run(task)
    assert (ended.returncode, run.state, run.summary or run.error) == (code, state, words)
    assert "Warning" not in ended.stdout


def test_arguments_reach_a_coroutine_and_a_tick_runs_it_too(cases):
    cases.run("run", "Fetch", "pages=12")
    assert cases.last_run("Fetch").summary == "12 pages"
    cases.make_due("Fetch")
    cases.due()
    assert cases.last_run("Fetch").summary == "3 pages"


def test_a_traceback_begins_with_the_task_and_has_no_frame_of_the_loop(cases):
    shown = cases.run("Broken").stdout
    assert shown.splitlines()[0] == "Traceback (most recent call last):"
    assert "__tasks__.py" in shown.splitlines()[1]
    assert "base_events" not in shown


def test_a_generator_that_is_returned_is_a_failure_that_says_what_to_do(cases):
    cases.run("Draws")
    assert cases.last_run("Draws").error == (
        "TypeError: it returned a generator instead of doing its work: "
        "do the work and return, or say async def and await it"
    )


def test_a_coroutine_may_ask_for_another_attempt(cases):
    cases.run("Again")
    run = cases.last_run("Again")
    assert (run.state, run.not_before is not None) == ("queued", True)


def test_a_coroutine_runs_in_a_debugger_s_process_too(cases):
    ended = cases.run("run", "Forwards", "--debug")
    assert (ended.returncode, ended.stderr) == (0, "dracotask: Forwards ok: forwarded\n")


def test_in_a_debugger_s_process_a_wish_for_another_attempt_is_no_error(cases):
    ended = cases.run("run", "Again", "--debug")
    assert ended.returncode == 1
    assert re.fullmatch("dracotask: Again asks to be tried again.*; nothing is committed.\n", ended.stderr)


# -- Stop and limit --------------------------------------------------------------------------------

WAITING = """
class Waiting(Task):
    stop_grace = "20s"

    async def run(self):
        async with Resource(self):
            tell(self, "begun")
            try:
                await asyncio.sleep(600)
            except Exception:
                tell(self, "swallowed")
            finally:
                await asyncio.sleep(0.01)
                tell(self, "tidied")
        return "slept"


class Resource:
    def __init__(self, task):
        self.task = task

    async def __aenter__(self):
        pass

    async def __aexit__(self, *exc):
        await asyncio.sleep(0.01)
        tell(self.task, f"closed-by-{exc[0].__name__}")
"""


def words_of(site: Site) -> list[str]:
    return [told.word for told in site.told()]


def test_a_stop_cancels_what_a_coroutine_awaits_and_it_lets_go_in_good_order(site):
    # Given a coroutine at work
    site.write(WAITING, head=HEAD)
    process = site.start("Waiting")
    site.wait_for("begun")

    # When it is stopped
    site.run("stop", "Waiting", "--why", "enough")
    process.wait(60)

    # Then it has tidied up, and the run is stopped
    run = site.last_run()
    assert (process.returncode, run.state) == (130, "stopped")
    assert run.error.endswith(": enough")
    assert words_of(site) == ["begun", "tidied", "closed-by-CancelledError"]


def test_over_its_limit_a_coroutine_has_timed_out(site):
    site.write(WAITING, head=HEAD)
    site.put("dracotask.toml", '[task.Waiting]\ntime_limit = "300ms"\n')
    ended = site.run("Waiting")
    run = site.last_run()
    assert (ended.returncode, run.state, run.error) == (124, "timed_out", "over its time limit of 0.3s")
    assert words_of(site) == ["begun", "tidied", "closed-by-CancelledError"]


def test_a_term_from_outside_stops_a_coroutine(site):
    # Given a coroutine at work
    site.write(WAITING, head=HEAD)
    process = site.start("Waiting")
    body = site.wait_for("begun").pid

    # When somebody sends its process a TERM
    os.kill(body, signal.SIGTERM)
    process.wait(60)

    # Then it was stopped by that
    run = site.last_run()
    assert (run.state, run.error) == ("stopped", "stopped by a TERM from outside dracotask")
    assert words_of(site) == ["begun", "tidied", "closed-by-CancelledError"]


@pytest.mark.parametrize(
    "hangs",
    [
        "time.sleep(600)",
        "while True: pass",
        "await asyncio.gather(busy())",
        "asyncio.get_running_loop().call_soon(spin)",
    ],
    ids=["sleeps", "works", "child", "callback"],
)
def test_a_coroutine_that_blocks_its_loop_is_interrupted_like_a_plain_run(site, hangs):
    # Given a coroutine that never comes to await
    site.write(
        f"""
class Blocking(Task):
    stop_grace = "20s"

    async def run(self):
        async def busy():
            tell(self, "begun")
            while True: pass

        def spin():
            tell(self, "begun")
            while True: pass

        try:
            if {hangs.startswith(("time", "while"))}:
                tell(self, "begun")
            {hangs}
            await asyncio.sleep(600)
        finally:
            tell(self, "tidied")
""",
        head=HEAD,
    )
    process = site.start("Blocking")
    site.wait_for("begun")

    # When it is stopped
    site.run("stop", "Blocking")
    process.wait(60)

    # Then that was the end of it, long before its grace was over
    run = site.last_run()
    assert (run.state, "killed" in (run.error or "")) == ("stopped", False)
    assert words_of(site) == ["begun", "tidied"]


def test_a_coroutine_that_asks_is_let_come_to_a_good_place(site):
    # Given a coroutine that asks whether to go on
    site.write(
        """
class Asking(Task):
    stop_grace = "40s"

    async def run(self):
        tell(self, "begun")
        while self.proceed():
            await asyncio.sleep(0.01)
        return "a good place"
""",
        head=HEAD,
    )
    process = site.start("Asking")
    site.wait_for("begun")
    site.run("stop", "Asking")
    process.wait(60)
    run = site.last_run()
    assert (run.state, run.summary) == ("stopped", "a good place")


def test_a_coroutine_that_is_deaf_is_killed_after_its_grace(site):
    site.write(
        """
class Deaf(Task):
    stop_grace = "1s"

    async def run(self):
        tell(self, "begun")
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass
""",
        head=HEAD,
    )
    process = site.start("Deaf")
    site.wait_for("begun")
    site.run("stop", "Deaf")
    process.wait(60)
    assert site.last_run().error.endswith(", killed 1s later")


# -- Leftovers -------------------------------------------------------------------------------------


def test_what_a_coroutine_leaves_behind_is_cleaned_up_without_a_word(site):
    # Given a coroutine that leaves a task, an asynchronous generator and a thread
    site.write(
        """
class Leaving(Task):
    async def run(self):
        async def forever():
            try:
                await asyncio.sleep(600)
            finally:
                tell(self, "task")

        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                tell(self, "generator")

        self.left = asyncio.create_task(forever())
        self.numbers = numbers()
        await anext(self.numbers)
        await asyncio.sleep(0)
        asyncio.get_running_loop().run_in_executor(None, tell, self, "thread")
        return "gone"
""",
        head=HEAD,
    )

    # When it returns
    ended = site.run("Leaving", env={"PYTHONWARNINGS": "error", "PYTHONASYNCIODEBUG": "1"})

    # Then all of it has come to its end
    assert (ended.returncode, site.last_run().summary) == (0, "gone")
    assert sorted(words_of(site)) == ["generator", "task", "thread"]
    assert "Traceback" not in ended.stdout + ended.stderr


def test_what_a_coroutine_writes_is_committed_when_it_succeeds_and_rolled_back_when_it_is_stopped(site):
    # Given a coroutine that writes, and waits
    site.write(
        """
class Orders(Task):
    async def run(self, wait: bool = True):
        database.cursor().execute("CREATE TABLE IF NOT EXISTS orders (number)")
        database.cursor().execute("INSERT INTO orders VALUES (1)")
        tell(self, "begun")
        await asyncio.sleep(600 if wait else 0)


class Count(Task):
    async def run(self):
        [[number]] = database.cursor().execute("SELECT count(*) FROM orders")
        return str(number)
""",
        head=HEAD,
    )
    site.run("run", "Orders", "wait=no")

    # When another run of it is stopped
    process = site.start("Orders")
    site.wait_for("begun", 2)
    site.run("stop", "Orders")
    process.wait(60)

    # Then there is what the first one wrote
    site.run("Count")
    assert site.last_run("Count").summary == "1"


# -- What is no coroutine --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("class Draws(Task):\n    def run(self):\n        yield 1", "class Draws: run() is a generator"),
        ("class Draws(Task):\n    async def run(self):\n        yield 1", "class Draws: run() is a generator"),
    ],
    ids=["generator", "async generator"],
)
def test_a_run_that_is_a_generator_is_refused_at_load(site, definition, words):
    site.write(definition)
    ended = site.run("load")
    assert ended.returncode == 2
    assert f"line 3: {words}, and nobody draws from it: do the work and return, or say async def" in ended.stderr


def test_a_plain_run_imports_no_asyncio(site):
    site.write(
        """
import sys

class Plain(Task):
    def run(self):
        return str("asyncio" in sys.modules)

class Coroutine(Task):
    async def run(self):
        return str("asyncio" in sys.modules)
"""
    )
    for task in ("Plain", "Coroutine"):
        site.run(task)
    assert [run.summary for run in site.runs()] == ["False", "True"]


def test_a_coroutine_can_be_tested_with_none_of_the_machinery():
    class Fetch(Task):
        async def run(self, pages: int = 3) -> str:
            return f"{pages} pages, {self.proceed()}"

    assert asyncio.run(Fetch().run(pages=2)) == "2 pages, True"


def test_the_task_at_hand_of_a_coroutine_is_itself(site):
    site.write(
        """
class Hourly(Task):
    async def run(self):
        in_thread = await asyncio.to_thread(current_task)
        return str(current_task() is self is in_thread)
""",
        head=HEAD,
    )
    site.run("Hourly")
    assert site.last_run().summary == "True"
