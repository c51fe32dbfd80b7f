"""Draco's contract: what a Task says of itself, and what it finds around it."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import at

import dracotask
from dracotask.errors import BadTrigger, ConfigError, DracotaskError, LoadError
from dracotask.model import DEFAULT_POLICY, Policy
from dracotask.tasks import Task, declaration
from dracotask.triggers import parse_trigger
from dracotask.triggers.date import DateTrigger
from dracotask.triggers.interval import IntervalTrigger
from dracotask.work import Configuration, Database, Logger

LOADER = """\
import json, sys
from dracotask.run.loader import declarations, enter
from dracotask.siteconfig import find_state, read_config
state = find_state(sys.argv[1])
config = read_config(state)
enter(state.docroot)
report = declarations(state, config, "Europe/Berlin")
print("\\nREPORT" + json.dumps(report))
"""


@pytest.fixture(autouse=True)
def forget_tasks() -> Iterator[None]:
    """Have no class of a test outlive it in the list that the loader reads."""
    before = list(Task.defined)
    yield
    Task.defined[:] = before


@pytest.fixture
def docroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a docroot that is the working directory, as in somebody's unit test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(docroot: Path, source: str) -> dict[str, Any]:
    """Load a task file in a process of its own and return the report."""
    (docroot / "__tasks__.py").write_text(source)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADER, str(docroot)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout.rpartition("\nREPORT")[2])
    return report


def scheduled(*calls: dict[str, Any]) -> str | None:
    """Return the trigger of a task in Berlin that calls schedule() so."""

    class Report(Task):
        def __init__(self) -> None:
            for call in calls:
                self.schedule(**call)

        def run(self) -> None:
            pass

    return declaration(Report(), line=1, zone="Europe/Berlin", policy={}).trigger


# -- The public face ---------------------------------------------------------------------------


def test_everything_is_importable_from_the_package():
    program = (
        "from dracotask import Task, logger, config, database, Skip, Stopped, TimedOut, TaskMiddleware\n"
        "import dracotask\n"
        "for name in dracotask.__all__: getattr(dracotask, name)\n"
        "assert issubclass(Skip, Exception)\n"
        "assert not issubclass(Stopped, Exception) and not issubclass(TimedOut, Exception)\n"
        "assert Task.logger.fget(None) is logger\n"
        "assert set(dracotask.__all__) <= set(dir(dracotask))\n"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_the_package_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Taks"):
        _ = dracotask.Taks


# -- schedule() --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "trigger"),
    [
        ({}, "cron * * * * * Europe/Berlin"),
        ({"minute": 0, "hour": 3}, "cron 0 3 * * * Europe/Berlin"),
        ({"minute": 30}, "cron 30 * * * * Europe/Berlin"),
        ({"dow": 0}, "cron 0 0 * * mon Europe/Berlin"),
        ({"hour": (0, 4, 8, 12, 16, 20)}, "cron 0 0,4,8,12,16,20 * * * Europe/Berlin"),
        ({"hour": None}, "cron 0 * * * * Europe/Berlin"),
        ({"cron": "0 4 * * mon-fri"}, "cron 0 4 * * mon-fri Europe/Berlin"),
        ({"every": "90s"}, "every 90s from 2000-01-01T00:00:00+00:00"),
        ({"every": 90}, "every 90s from 2000-01-01T00:00:00+00:00"),
        ({"every": timedelta(hours=2)}, "every 2h from 2000-01-01T00:00:00+00:00"),
        ({"at": "2027-01-01T00:00+01:00"}, "at 2026-12-31T23:00:00+00:00"),
        ({"at": at("2027-01-01T00:00Z")}, "at 2027-01-01T00:00:00+00:00"),
        ({"trigger": DateTrigger("2027-01-01T00:00Z")}, "at 2027-01-01T00:00:00+00:00"),
        (
            {"trigger": IntervalTrigger(every="1h", start=at("2026-01-01T00:30Z"))},
            "every 1h from 2026-01-01T00:30:00+00:00",
        ),
    ],
)
def test_a_schedule_becomes_a_trigger_that_reads_back(call, trigger):
    assert scheduled(call) == trigger
    assert str(parse_trigger(trigger)) == trigger


def test_dracos_arguments_may_come_by_position():
    class Report(Task):
        def __init__(self) -> None:
            self.schedule(15, (8, 20), 6)

        def run(self) -> None:
            pass

    assert declaration(Report(), line=1, zone="UTC", policy={}).trigger == "cron 15 8,20 * * sun UTC"


def test_several_calls_are_one_trigger_of_any_of_them():
    both = scheduled({"hour": 3}, {"every": "2h"}, {"hour": 3})
    assert both == "any (cron 0 3 * * * Europe/Berlin | every 2h from 2000-01-01T00:00:00+00:00)"


def test_a_task_that_never_calls_it_runs_on_demand():
    assert scheduled() is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"minute": 60}, "minute=60 is out of range: minutes are 0-59"),
        ({"minute": -1}, "minute=-1 is out of range"),
        ({"hour": 24}, "hour=24 is out of range: hours are 0-23"),
        ({"dow": 7}, "dow=7 is out of range"),
        ({"minute": True}, "True, which is not a whole number"),
        ({"minute": 1.0}, "minute=1.0"),
        ({"hour": "3"}, "hour='3'"),
        ({"hour": ()}, "hour=.* is empty"),
        ({"hour": (3, "4")}, "'4', which is not a whole number"),
        ({"hour": object()}, "neither a whole number nor several"),
        ({"cron": "0 4 * *"}, "0 4 . ."),
        ({"cron": "61 4 * * *"}, "Minutes are 0-59"),
        ({"cron": "0 0 31 2 *"}, "31 2"),
        ({"cron": 5}, "cron=5 is no cron line"),
        ({"every": "0.5s"}, "one second is the least"),
        ({"every": "sometimes"}, "not a length of time"),
        ({"every": -5}, "negative"),
        ({"every": True}, "not a length of time"),
        ({"at": "2027-01-01"}, "offset"),
        ({"at": "new year"}, "not a moment"),
        ({"at": 2027}, "not a moment"),
        ({"cron": None}, "cron=None is no cron line"),
        ({"every": None}, "not a length of time"),
        ({"trigger": "every 90s"}, "not a Trigger"),
    ],
)
def test_a_wrong_argument_is_refused_where_it_stands(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        scheduled(call)
    assert isinstance(caught.value, BadTrigger)


@pytest.mark.parametrize(
    "call", [{"hour": 3, "cron": "* * * * *"}, {"cron": "* * * * *", "every": 5}, {"minute": None, "at": "x"}]
)
def test_two_kinds_at_once_are_refused(call):
    with pytest.raises(TypeError, match="call it once for each"):
        scheduled(call)


# -- Declarations ------------------------------------------------------------------------------

TASKS = '''\
from dracotask import Task
import datetime


class Base(Task):
    """What the others have in common."""

    abstract = True
    nice = 3

    def run(self):
        return "done"


class Zebra(Base):
    """Counts stripes.

    At some length.
    """

    time_limit = "10m"
    keep_days = "2w"

    def __init__(self):
        self.schedule(hour=3)  # and no super().__init__()


class Ant(Base):
    max_instances = 2


class Mule(Ant):
    pass


class NotATask:
    pass
'''


def test_a_file_declares_its_tasks_in_the_order_of_definition(tmp_path):
    report = load(tmp_path, TASKS)
    assert report["problem"] is None
    assert [task["name"] for task in report["tasks"]] == ["Zebra", "Ant", "Mule"]

    zebra, ant, mule = report["tasks"]
    assert zebra["trigger"] == "cron 0 3 * * * Europe/Berlin"
    assert ant["trigger"] is mule["trigger"] is None
    assert zebra["description"] == "Counts stripes."
    assert zebra["source"] == "__tasks__.py:15"
    assert "time_limit=600.0" in zebra["policy"] and "keep_days=14.0" in zebra["policy"]
    assert "nice=3" in mule["policy"] and "max_instances=2" in mule["policy"]


def test_the_config_wins_over_the_class(tmp_path):
    (tmp_path / "dracotask.toml").write_text("nice = 7\n[task.Zebra]\ntime_limit = 'none'\n")
    zebra, ant, _ = load(tmp_path, TASKS)["tasks"]
    assert "nice=7" in ant["policy"]
    assert Policy.from_text(zebra["policy"]).time_limit is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("from dracotask import Task\n\n\nclass Report(Task):\n    pass\n", "line 4: class Report has no run()"),
        (
            "from dracotask import Task\nclass Report(Task):\n    nice = 40\n    def run(self): pass\n",
            "line 2: class Report: nice = 40 cannot be",
        ),
        (
            "from dracotask import Task\nclass Report(Task):\n"
            "    def __init__(self):\n        self.schedule(hour=24)\n    def run(self): pass\n",
            "line 4: BadTrigger: hour=24 is out of range",
        ),
        (
            "from dracotask import Task\nclass A(Task):\n    def run(self): pass\n"
            "class A(Task):\n    def run(self): pass\n",
            "line 4: class A is defined a second time (first in line 2)",
        ),
        ("from dracotask import Task\nclass check(Task):\n    def run(self): pass\n", "has the name of a command"),
        ("raise ValueError('two\\nlines')\n", "line 1: ValueError: two"),
        ("import nowhere_to_be_found\n", "line 1: ModuleNotFoundError"),
        ("def broken(:\n", "line 1: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "line 2: the file ends the program"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line_with_its_number(tmp_path, source, problem):
    report = load(tmp_path, source)
    assert problem in report["problem"]
    assert "\n" not in report["problem"]


@pytest.mark.parametrize("name", ["time_limit", "stop_grace", "nice", "max_instances", "keep_runs", "max_output"])
def test_a_policy_that_makes_no_sense_is_refused_by_class_and_name(name):
    wrong = type("Report", (Task,), {name: "nonsense", "run": lambda self: None})
    with pytest.raises(LoadError, match=f"class Report: {name} = 'nonsense' cannot be"):
        declaration(wrong(), line=1, zone="UTC", policy={})


def test_a_policy_comes_from_the_class_over_the_defaults():
    class Report(Task):
        time_limit = None
        max_output = "64 KiB"

        def run(self) -> None:
            pass

    policy = declaration(Report(), line=1, zone="UTC", policy={}).policy
    assert Policy.from_text(policy) == Policy(**{**DEFAULT_POLICY, "time_limit": None, "max_output": 65536})


@pytest.mark.parametrize("value", [0.00001, 1e-6, 1.5e-5, 86400.0, 1e12, None])
def test_any_policy_reads_back(value):
    # (A store keeps it as text; one that cannot be read would stop every tick.)
    policy = Policy(**{**DEFAULT_POLICY, "time_limit": value})
    assert Policy.from_text(policy.to_text()) == policy


def test_a_policy_of_another_version_is_read_as_far_as_it_is_known():
    assert Policy.from_text("nice=3 shiny=7.5") == Policy(**{**DEFAULT_POLICY, "nice": 3})


# -- A task in somebody's unit test ------------------------------------------------------------


def test_a_task_runs_with_none_of_the_machinery(docroot):
    # Given a task that uses all that it finds around it
    (docroot / "dracotask.toml").write_text("[config]\nto = 'anna'\n")
    program = """
import dracotask
from dracotask import Task, config, database, logger


class Report(Task):
    def __init__(self):
        self.schedule(hour=3)

    def run(self):
        assert self.current_run is None
        assert (self.logger, self.config, self.database) == (logger, config, database)
        self.logger.info("To %s", config["to"])
        cursor = self.database.cursor()
        cursor.execute("CREATE TABLE sales (count INTEGER)")
        cursor.execute("INSERT INTO sales VALUES (412)")
        self.database.commit()
        return f"{cursor.execute('SELECT count FROM sales').fetchone()[0]} orders"


print(Report().run())
database.close()
"""
    # When it is run by a program that knows nothing of sites
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)

    # Then it works as it would in a run
    assert (ended.returncode, ended.stdout) == (0, "412 orders\n"), ended.stderr
    assert ended.stderr.endswith(" INFO To anna\n")
    assert (docroot / ".dracotask" / "data.db").exists()
    assert not (docroot / ".dracotask" / "state.db").exists()


def test_a_task_without_run_says_so():
    class Report(Task):
        pass

    with pytest.raises(NotImplementedError, match="Report has no run"):
        Report().run()


# -- logger ------------------------------------------------------------------------------------


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="dracotask.task")
    return caplog


@pytest.mark.parametrize(
    ("method", "level"),
    [("debug", 10), ("info", 20), ("warn", 30), ("warning", 30), ("error", 40), ("exception", 40)],
)
def test_each_method_logs_at_its_level(logged, method, level):
    getattr(Logger(), method)("Said %s", method)
    assert logged.record_tuples == [("dracotask.task", level, f"Said {method}")]


@pytest.mark.parametrize("args", [("412", 3), (("412", 3),)])
def test_arguments_come_one_by_one_or_as_dracos_tuple(logged, args):
    Logger().info("%s orders, %d late", *args)
    assert logged.messages == ["412 orders, 3 late"]


def test_a_message_of_several_lines_is_dedented_before_its_arguments_are_put_in(logged):
    Logger().warn(
        """
        Late orders:
          %s
        """,
        "      one\n      two",
    )
    assert logged.messages == ["Late orders:\n        one\n      two"]


def test_a_message_of_one_line_is_left_as_it_is(logged):
    Logger().info("   as it is, 100%")
    assert logged.messages == ["   as it is, 100%"]


@pytest.mark.parametrize("message", [ValueError("no orders"), 412, None])
def test_any_object_is_a_message(logged, message):
    Logger().error(message)
    assert logged.messages == [str(message)]


def test_an_exception_is_logged_with_its_traceback(logged):
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        Logger().exception("No %s", "luck")
    assert logged.messages == ["No luck"]
    assert logged.records[0].exc_info[0] is ZeroDivisionError


def test_the_line_of_a_record_is_the_tasks(logged):
    Logger().info("From here")
    assert logged.records[0].filename == os.path.basename(__file__)
    assert logged.records[0].funcName == "test_the_line_of_a_record_is_the_tasks"


def test_logging_that_the_site_has_set_up_itself_is_left_alone(docroot):
    program = (
        "import logging, sys; logging.basicConfig(stream=sys.stdout, format='mine: %(message)s', level='INFO')\n"
        "from dracotask import logger\nlogger.info('once'); logger.debug('never')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("mine: once\n", "")


# -- config ------------------------------------------------------------------------------------


@pytest.fixture
def table(docroot: Path) -> Configuration:
    (docroot / "dracotask.toml").write_text(
        "[config]\nto = ['anna', 'bert']\nmax = 3\n[config.mail]\nhost = 'mx'\n[config.mail.tls]\non = true\n"
    )
    return Configuration()


def test_the_table_is_read_like_a_dictionary(table):
    assert table["to"] == ["anna", "bert"]
    assert (table.get("max"), table.get("min"), table.get("min", 1)) == (3, None, 1)
    assert "max" in table and "min" not in table
    assert list(table) == table.keys() == ["to", "max", "mail"]
    assert (len(table), dict(table.items())["max"]) == (3, 3)


def test_a_key_that_is_missing_is_named_with_its_table(table):
    with pytest.raises(KeyError, match=r"min \(in \[config\] of dracotask.toml\)"):
        table["min"]
    with pytest.raises(KeyError, match=r"port \(in \[config.mail\]"):
        table.namespace("mail")["port"]


def test_a_namespace_is_a_table_within(table):
    assert table.namespace("mail")["host"] == "mx"
    assert table.namespace("mail").namespace("tls")["on"] is True
    assert len(table.namespace("nowhere")) == 0
    with pytest.raises(ConfigError, match=r"\[config\] max is a value"):
        table.namespace("max")


def test_the_table_is_read_only(table):
    with pytest.raises(TypeError):
        table["max"] = 4
    with pytest.raises(TypeError):
        del table["max"]


def test_without_a_file_the_table_is_empty(docroot):
    assert list(Configuration()) == []


# -- database ----------------------------------------------------------------------------------


@pytest.fixture
def database(docroot: Path) -> Iterator[Database]:
    database = Database()
    yield database
    database.close()


def rows(path: Path) -> list[tuple[str]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT name FROM sales").fetchall()
    finally:
        connection.close()


def test_nothing_is_opened_before_it_is_touched(database, docroot):
    database.commit()
    database.rollback()
    database.close()
    assert database.dbapi is sqlite3
    assert list(docroot.iterdir()) == []


def test_the_default_is_a_file_beside_the_store(database, docroot):
    database.cursor().execute("CREATE TABLE sales (name TEXT)")
    database.commit()
    assert rows(docroot / ".dracotask" / "data.db") == []


def test_what_is_committed_stays_and_what_is_rolled_back_or_left_does_not(database, docroot):
    cursor = database.cursor()
    cursor.execute("CREATE TABLE sales (name TEXT)")
    for name, end in (("kept", database.commit), ("undone", database.rollback), ("left", database.close)):
        cursor.execute("INSERT INTO sales VALUES (?)", (name,))
        end()
    assert rows(docroot / ".dracotask" / "data.db") == [("kept",)]


def test_after_closing_the_next_touch_opens_it_again(database):
    first = database.connection()
    assert database.connection() is first
    database.close()
    assert database.connection() is not first


@pytest.mark.parametrize("url", ["sqlite://sales.db", "sqlite:///{docroot}/sales.db"])
def test_the_url_names_a_file_by_its_path_or_within_the_docroot(database, docroot, url):
    (docroot / "dracotask.toml").write_text(f"[database]\nurl = '{url.format(docroot=str(docroot)[1:])}'\n")
    database.cursor().execute("CREATE TABLE sales (name TEXT)")
    database.commit()
    assert rows(docroot / "sales.db") == []
    assert not (docroot / ".dracotask").exists()


def test_a_secret_comes_from_the_environment(database, docroot, monkeypatch):
    (docroot / "dracotask.toml").write_text("[database]\nurl = 'env:SALES_URL'\n")
    with pytest.raises(ConfigError, match="the environment has no SALES_URL"):
        database.connection()
    monkeypatch.setenv("SALES_URL", "sqlite://secret.db")
    database.cursor().execute("CREATE TABLE sales (name TEXT)")
    assert (docroot / "secret.db").exists()


@pytest.mark.parametrize(
    "url", ["sqlite://.dracotask/state.db", "sqlite://link.db", "sqlite://x/../.dracotask/state.db"]
)
def test_the_stores_own_file_is_refused_under_any_name(database, docroot, url):
    (docroot / ".dracotask").mkdir()
    (docroot / "x").mkdir()
    (docroot / "link.db").symlink_to(".dracotask/state.db")
    (docroot / "dracotask.toml").write_text(f"[database]\nurl = '{url}'\n")
    with pytest.raises(ConfigError, match="own store"):
        database.connection()


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("url = 'mongodb://x'", "'mongodb' is no database known here"),
        ("url = 'sales.db'", "no database known here"),
        ("url = ''", "no database known here"),
        ("url = 5", "url = 5"),
        ("path = 'x'", "path: unknown key. There is: url."),
    ],
)
def test_a_url_that_names_no_database_is_refused(database, docroot, toml, words):
    (docroot / "dracotask.toml").write_text(f"[database]\n{toml}\n")
    with pytest.raises(DracotaskError, match=words):
        database.connection()


def test_the_database_follows_the_state_where_it_was_moved(database, docroot):
    (docroot / "dracotask.toml").write_text("state = 'var/state'\n")
    database.connection()
    assert (docroot / "var" / "state" / "data.db").exists()
    assert not (docroot / ".dracotask").exists()


def test_a_forked_child_has_a_connection_of_its_own(docroot):
    # Given a task that forks while it has changes in hand
    program = """
import os
from dracotask.work import Database
database = Database()
database.cursor().execute("CREATE TABLE sales (name TEXT)")
database.commit()
database.cursor().execute("INSERT INTO sales VALUES ('mine')")
for touch in (lambda: database.close(), lambda: database.cursor().execute("SELECT * FROM sales").fetchall()):
    child = os.fork()
    if not child:
        try:
            touch()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
database.commit()
database.close()
"""
    # When its children close and read
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    # Then the parent's changes are none the worse
    assert (ended.returncode, ended.stderr) == (0, "")
    assert rows(docroot / ".dracotask" / "data.db") == [("mine",)]
