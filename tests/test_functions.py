"""Functions as tasks: ``@task`` over a def or an async def, in a task file and in any import order."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading

import pytest
from sites import Site

from dracotask import Task, current_task, task
from dracotask.errors import LoadError
from dracotask.tasks import declaration

HEAD = """\
import asyncio

from dracotask import Skip, Task, current_task, task
from told import *

"""


def declared(kind: type[Task]):
    return declaration(kind(), line=1, zone="UTC", policy={})


def last_defined() -> type[Task]:
    return Task.defined[-1][0]


# -- What is made of a function --------------------------------------------------------------------


def test_the_function_stays_as_it_is():
    def sweep(days: int = 7) -> str:
        return f"{days} days"

    assert task(every="5m")(sweep) is sweep
    assert task(sweep) is sweep
    assert sweep(3) == "3 days"
    assert last_defined()().run(days=2) == "2 days"


def test_its_name_its_docstring_and_its_parameters_are_the_task_s():
    @task(every="5m")
    def sweep(days: int, *, dry: bool = False) -> None:
        """Removes what is old.

        Nothing else.
        """

    facts = declared(last_defined())
    assert (facts.name, facts.description) == ("sweep", "Removes what is old.")
    assert facts.parameters == '[["days", "int", true], ["dry", "bool", false]]'
    assert facts.trigger == "every 5m from 2000-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("decorate", "trigger"),
    [
        (task, None),
        (task(), None),
        (task(cron="*/15 8-18 * * mon-fri"), "cron */15 8-18 * * mon-fri UTC"),
        (task(minute=0, hour=4), "cron 0 4 * * * UTC"),
        (task(30), "cron 30 * * * * UTC"),
        (task(at="2037-01-01T00:00Z"), "at 2037-01-01T00:00:00+00:00"),
        (task(every=90), "every 90s from 2000-01-01T00:00:00+00:00"),
    ],
)
def test_every_rule_of_schedule_can_be_said(decorate, trigger):
    def sweep() -> None:
        pass

    assert decorate(sweep) is sweep
    assert declared(last_defined()).trigger == trigger


def test_policies_are_said_beside_the_rule():
    @task(every="5m", time_limit="10m", exclusive="warehouse", max_instances=2, name="Sweep")
    def sweep() -> None:
        pass

    facts = declared(last_defined())
    assert facts.name == "Sweep"
    for part in ("time_limit=600", "exclusive=warehouse", "max_instances=2"):
        assert part in facts.policy


def test_several_above_one_function_join():
    # Given three rules above one function, with a policy in one of them
    @task(every="5m", time_limit="10m")
    @task(hour=4)
    @task(dow=0, hour=6)
    def sweep() -> None:
        pass

    # Then it is one task, due whenever one of them says so
    facts = declared(last_defined())
    assert facts.trigger == (
        "any (cron 0 6 * * mon UTC | cron 0 4 * * * UTC | every 5m from 2000-01-01T00:00:00+00:00)"
    )
    assert "time_limit=600" in facts.policy


def test_under_two_names_a_function_is_two_tasks():
    @task(name="often", every="5m")
    @task(name="seldom", every="5h")
    def sweep() -> None:
        pass

    names = [kind.__name__ for kind, _ in Task.defined[-2:]]
    assert names == ["seldom", "often"]


def test_policies_that_contradict_each_other_are_refused():
    with pytest.raises(TypeError, match="says time_limit twice for sweep"):

        @task(every="5m", time_limit="10m")
        @task(hour=4, time_limit="20m")
        def sweep() -> None:
            pass


@pytest.mark.parametrize(
    ("decorate", "words"),
    [
        (lambda: task(every="5m")(lambda: None), "a function with a name"),
        (lambda: task(every="5m")(print), "is none. Write a def"),
        (lambda: task(every="5m")("sweep"), "is none. Write a def"),
        (lambda: task(type("Sweep", (), {})), r"Let the class Sweep be one of Task"),
        (lambda: task(evry="5m")(nothing), "takes no 'evry'. Did you mean every?"),
        (lambda: task(time_limt="5m")(nothing), "takes no 'time_limt'. Did you mean time_limit?"),
        (lambda: task(name="two words")(nothing), "cannot be one"),
    ],
)
def test_what_is_no_function_and_what_is_no_keyword_is_refused(decorate, words):
    with pytest.raises(TypeError, match=words):
        decorate()


def nothing() -> None:
    pass


def test_a_generator_function_is_refused():
    @task
    def numbers():
        yield 1

    with pytest.raises(LoadError, match=r"function numbers: numbers\(\) is a generator, and nobody draws from it: do"):
        declared(last_defined())


def test_a_parameter_by_its_place_is_refused():
    @task
    def sweep(days, /):
        pass

    with pytest.raises(LoadError, match=r"function sweep: sweep\(\) takes 'days' by its place"):
        declared(last_defined())


# -- The names of the package ----------------------------------------------------------------------

IN_ANY_ORDER = [
    "from dracotask import Task, task",
    "from dracotask import task, Task",
    "import dracotask.tasks; from dracotask import Task, task",
    "import dracotask; dracotask.Task; from dracotask import Task, task",
    "from dracotask.tasks import Task; import dracotask; task = dracotask.task",
    "import dracotask.run.body; from dracotask import *",
    "from dracotask import Scheduler, Task; Scheduler(); from dracotask import task",
]


@pytest.mark.parametrize("imports", IN_ANY_ORDER)
def test_task_is_the_decorator_whatever_was_imported_before(imports):
    program = f"{imports}\n@task(every='5m')\ndef sweep(): pass\nassert issubclass(Task, object), sweep()"
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""


# -- In a task file --------------------------------------------------------------------------------

FUNCTIONS = """
@task(every="1h", time_limit="10m")
def sweep(days: int = 7):
    '''Removes what is old.'''
    me = current_task()
    tell(me)
    me.progress(1, 2)
    return f"{days} {me.current_run.task} {me.proceed()} {type(me).__name__}"


@task
async def fetch():
    await asyncio.sleep(0)
    return f"fetched by {current_task().current_run.task}"


@task(name="Report")
def make_a_report():
    raise Skip("nothing new")


class Plain(Task):
    def run(self):
        return sweep.__name__ + " " + str(current_task() is self)
"""


@pytest.fixture
def functions(site: Site) -> Site:
    site.write(FUNCTIONS, head=HEAD)
    return site


def test_functions_run_like_any_task(functions):
    # When each is run by its name
    for name in ("sweep", "fetch", "Report", "Plain"):
        assert functions.run(name).returncode == 0

    # Then they are on record
    assert [(run.task, run.state, run.summary) for run in functions.runs()] == [
        ("sweep", "succeeded", "7 sweep True sweep"),
        ("fetch", "succeeded", "fetched by fetch"),
        ("Report", "succeeded", "skipped: nothing new"),
        ("Plain", "succeeded", "sweep True"),
    ]
    schedule = functions.schedule("sweep")
    assert (schedule.description, schedule.source) == ("Removes what is old.", "__tasks__.py:8")
    assert "time_limit=600" in schedule.policy
    assert functions.last_run("sweep").progress_done == 1


def test_a_traceback_begins_with_the_function(site):
    site.write("@task", "def wrong():", "    raise ValueError('no')", head=HEAD)

    said = site.run("wrong").stdout

    assert re.findall(r'File "(.*?)"', said) == [str(site.docroot / "__tasks__.py")]


def test_a_tick_runs_what_is_due_and_a_command_hands_over_arguments(functions):
    functions.run("run", "sweep", "days=3")
    functions.make_due("sweep")
    functions.due()
    assert [run.summary.split()[0] for run in functions.runs("sweep")] == ["3", "7"]


def test_a_function_hears_that_it_is_to_stop(site):
    # Given a function without self, at work
    site.write(
        """
import time

@task
def patient():
    me = current_task()
    tell(me, "begun")
    while me.proceed():
        time.sleep(0.01)
    return "came to a good place"
""",
        head=HEAD,
    )
    process = site.start("patient")
    site.wait_for("begun")

    # When it is stopped, then it comes to a good place
    site.run("stop", "patient")
    process.wait(60)
    assert (site.last_run().state, site.last_run().summary) == ("stopped", "came to a good place")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("@task(evry='5m')\ndef sweep(): pass",
         "line 6: TypeError: @task of sweep takes no 'evry'. Did you mean every?"),
        ("@task\ndef sweep(): pass\n@task\ndef sweep(): pass",
         "line 9: function sweep is defined a second time (first in line 7)."),
        ("@task(\n  every='5m',\n)\ndef stop(): pass",
         'line 9: function stop has the name of a command. Write @task(name="stop_…").'),
        ("class Stop(Task):\n  def run(self): pass\n@task(name='Stop')\ndef halt(): pass",
         "line 9: function Stop is defined a second time (first in line 6)."),
        ("sweep = task(every='5m')(lambda: 0)",
         "line 6: TypeError: @task needs a function with a name, and '<lambda>' cannot be one. Write a def."),
        ("@task(every='5m', time_limit='soon')\ndef sweep(): pass",
         "line 7: function sweep: time_limit = 'soon' cannot be: "),
        ("@task(cron='61 * * * *')\nasync def sweep(): pass", "line 7: "),
        ("@task\ndef sweep():\n  yield 1", "line 7: function sweep: sweep() is a generator, and nobody draws"),
        ("@task\nclass Sweep: pass", "line 6: TypeError: @task is for functions. Let the class Sweep be one of Task"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_load_with_its_line(site, text, problem):
    site.write(text, head=HEAD)
    assert site.run("load").returncode == 2
    assert site.problem().startswith(problem)


def test_a_function_of_a_helper_is_a_task_where_the_file_says_so(site):
    # Given a helper with a function that is decorated there, and one that the file makes a task
    site.put("helper.py", "from dracotask import task\n\n@task\ndef there(): pass\n\ndef here(): return 'here'\n")
    site.write("import helper\ntask(every='1h')(helper.here)", head=HEAD)

    # Then the file's is one, as with classes
    assert site.run("here").returncode == 0
    assert site.last_run().summary == "here"
    assert site.run("there").returncode == 2


def test_a_task_file_of_functions_alone_imports_nothing_heavy_in_a_body(site):
    site.write(
        """
import sys

@task(every="5m", time_limit="10m")
def look():
    heavy = {"asyncio", "inspect", "linecache", "dracotask.rules", "dracotask.promises", "dracotask.steering"}
    return " ".join(sorted(heavy & set(sys.modules))) or "none"
""",
        head="from dracotask import task\n",
    )
    site.run("look")
    site.run("look")
    assert site.last_run().summary == "none"


# -- Outside of a run ------------------------------------------------------------------------------


def test_a_function_can_be_tested_with_none_of_the_machinery():
    @task(every="5m")
    async def fetch(pages: int = 3) -> str:
        me = current_task()
        me.progress(1, pages)
        return f"{pages} {me.proceed()} {me.current_run}"

    assert asyncio.run(fetch(2)) == "2 True None"


def test_in_a_body_every_thread_has_the_task_at_hand(monkeypatch):
    found: list[Task] = []
    mine = Task()
    monkeypatch.setattr(Task, "of_this_process", mine)
    thread = threading.Thread(target=lambda: found.append(current_task()))
    thread.start()
    thread.join()
    assert found == [mine]
