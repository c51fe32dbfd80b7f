"""``Task.around()``: what a run is done within, in a process of its own or in a program's."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from dracotask import Task
from dracotask.errors import LoadError
from dracotask.tasks import declaration

#: A base class that tells what happens, and the tasks of a site that have it in common.
TASKS = """\
import asyncio
from contextlib import contextmanager

from dracotask import Retry, Skip, Task


def say(word):
    with open("said", "a") as file:
        file.write(word + " ")


class Within(Task):
    abstract = True

    @contextmanager
    def around(self):
        say(f"enter{self.current_run.attempt}")
        try:
            yield
        except BaseException as error:
            say(type(error).__name__)
            raise
        else:
            say("well")
        finally:
            say("leave")


class Plain(Within):
    def run(self):
        say("run")
        return "done"


class Coroutine(Within):
    async def run(self):
        await asyncio.sleep(0)
        say("run")
        return "done"


class Skipping(Within):
    def run(self):
        raise Skip("nothing to do")


class Failing(Within):
    retries = 1
    retry_delay = "0s"

    def run(self):
        if self.current_run.attempt == 1:
            raise ValueError("at first")
        return "done"


class Slow(Within):
    time_limit = "1s"

    def run(self):
        import time
        time.sleep(60)


class NoDatabase(Task):
    @contextmanager
    def around(self):
        raise ConnectionError("no database")
        yield

    def run(self):
        say("run")


class Untidy(Task):
    @contextmanager
    def around(self):
        yield
        raise ConnectionError("cannot be closed")

    def run(self):
        return "done"
"""


def said(site) -> str:
    return (site.docroot / "said").read_text().strip()


@pytest.mark.parametrize(
    "name, code, state, words",
    [
        ("Plain", 0, "succeeded", "enter1 run well leave"),
        ("Coroutine", 0, "succeeded", "enter1 run well leave"),
        ("Skipping", 0, "succeeded", "enter1 Skip leave"),
        ("Slow", 124, "timed_out", "enter1 TimedOut leave"),
    ],
)
def test_a_run_is_done_within_it(site, name, code, state, words):
    site.put("__tasks__.py", TASKS)

    ended = site.run(name)

    assert ended.returncode == code, ended.stderr
    assert said(site) == words
    assert site.last_run().state == state


def test_each_attempt_is_within_one_of_its_own(site):
    # Given a task that fails at first
    site.put("__tasks__.py", TASKS)
    assert site.run("Failing").returncode == 1

    # When it is tried again
    site.due()

    assert said(site) == "enter1 ValueError leave enter2 well leave"
    assert site.last_run().state == "succeeded"


@pytest.mark.parametrize("name, error", [("NoDatabase", "no database"), ("Untidy", "cannot be closed")])
def test_what_it_raises_is_the_runs_failure(site, name, error):
    site.put("__tasks__.py", TASKS)

    ended = site.run(name)

    # Then the task was not run, or is no success, and the traceback begins with its own file
    assert ended.returncode == 1
    assert site.last_run().error == f"ConnectionError: {error}"
    assert not (site.docroot / "said").exists()
    assert "dracotask/run" not in site.output(site.last_run())


@pytest.mark.parametrize("name, words", [("Plain", "enter0 run well leave"), ("Coroutine", "enter0 run well leave")])
def test_a_task_is_debugged_within_it(site, name, words):
    site.put("__tasks__.py", TASKS.replace("{self.current_run.attempt}", "0"))

    ended = site.run("run", name, "--debug")

    assert (ended.returncode, said(site)) == (0, words), ended.stderr


class Told(Task):
    """Tells what happens around a run of it, in this process."""

    abstract = True
    words: list[str]

    @contextmanager
    def around(self):
        self.words.append("enter")
        yield
        self.words.append("leave")


def test_a_programs_own_runs_are_done_within_it(program):
    # Given a plain task and a coroutine
    words: list[str] = []

    class Plain(Told):
        def run(self):
            self.words.append("run")

    class Coroutine(Told):
        async def run(self):
            await asyncio.sleep(0)
            self.words.append("await")

    Told.words = words

    # When they are run one after the other
    for kind in (Plain, Coroutine):
        program.scheduler.add(kind)
        program.scheduler.run_now(kind.__name__)
        program.settle()

    assert program.states() == ["succeeded", "succeeded"]
    assert words == ["enter", "run", "leave", "enter", "await", "leave"]


def test_a_test_that_calls_run_goes_without():
    class Report(Told):
        def run(self):
            return "done"

    assert Report().run() == "done"


def test_what_is_not_overridden_may_still_be_entered():
    with Task().around():
        pass


def test_an_around_that_no_run_could_be_within_is_refused_when_the_file_is_loaded():
    class Undecorated(Task):
        def around(self):
            yield

        def run(self):
            pass

    class Promised(Undecorated):
        async def around(self):
            pass

    class Another(Undecorated):
        def around(self, place):
            return place

    for kind, remedy in ((Undecorated, "@contextmanager"), (Promised, "plain def"), (Another, "something else")):
        with pytest.raises(LoadError, match=remedy):
            declaration(kind(), line=1, zone="UTC", policy={})
