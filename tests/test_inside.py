"""What a task can ask and say while it is at work: whether to go on, how far it is, what becomes of its schedule."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sites import PATIENCE, SCRIPT, Site, until
from test_limits import peak_memory_of, write_task

from dracotask import Task
from dracotask.clock import utc_now
from dracotask.control import Control
from dracotask.model import Run
from dracotask.run.supervisor import ring


def stop(site: Site, *, grace: float | None = None) -> None:
    """Ask, as an operator would, that the run at work be stopped."""
    (run,) = site.active()
    with site.store() as store:
        assert store.request_stop(run.id, by="alice", why=None, now=utc_now(), grace=grace)
    ring(site.state, run.id)


def start(site: Site, word: str = "start") -> subprocess.Popen[str]:
    """Run the task until it has told ``word``."""
    started = site.start("Work")
    site.wait_for(word)
    return started


def ended(site: Site, started: subprocess.Popen[str]) -> Run:
    started.communicate(timeout=PATIENCE)
    return site.last_run("Work")


def seconds_since_stop(run: Run) -> float:
    assert run.stop_at and run.finished_at
    return (run.finished_at - run.stop_at).total_seconds()


# -- proceed() -------------------------------------------------------------------------------

LOOP = ["while self.proceed(): time.sleep(0.001)", "tell(self, 'tidied')", "return 'left early'"]

#: Who asks, if it is not the main thread.
ASKERS = {
    "the main thread": LOOP,
    "a thread": [
        "def work():",
        "    while self.proceed(): time.sleep(0.001)",
        "thread = threading.Thread(target=work)",
        "thread.start()",
        "thread.join()",
        "return 'left early'",
    ],
    "a child": [
        "child = os.fork()",
        "if child == 0:",
        "    while self.proceed(): time.sleep(0.001)",
        "    os._exit(0)",
        "os.waitpid(child, 0)",
        "return 'left early'",
    ],
    "track() over a list": ["for item in self.track([1] * 10**6): time.sleep(0.001)", "return 'left early'"],
}


@pytest.mark.parametrize("lines", ASKERS.values(), ids=ASKERS)
def test_a_task_that_asks_whether_to_go_on_is_let_alone_until_it_has_tidied_up(site, lines):
    # Given a task that asks, and has an hour to tidy up
    write_task(site, *lines, stop_grace=3600)
    started = start(site)

    # When it is stopped
    stop(site)
    run = ended(site, started)

    # Then it hears of it and comes to its own end, with its words on record
    assert started.returncode == 130
    assert (run.state, run.exit_code, run.summary, run.error) == ("stopped", 0, "left early", "stopped by alice")
    # It should be a second; a busy machine gets more.
    assert seconds_since_stop(run) < 10


def test_what_a_task_wrote_that_came_to_its_own_end_is_committed(site):
    write_task(
        site,
        "self.database.cursor().execute('CREATE TABLE IF NOT EXISTS work (item)')",
        "self.database.cursor().execute('INSERT INTO work VALUES (1)')",
        *LOOP,
        stop_grace=3600,
    )
    started = start(site)

    stop(site)
    ended(site, started)

    with sqlite3.connect(Path(site.state.path) / "data.db") as database:
        assert database.execute("SELECT COUNT(*) FROM work").fetchone() == (1,)
    database.close()


def test_who_came_to_his_end_before_he_heard_of_a_stop_has_succeeded(site):
    # Given a task that asks once, and then does the rest of its work, which takes until it is told to stop
    write_task(
        site,
        "assert self.proceed()",
        "import select",
        "select.select([self.steering.orders], [], [])",
        "return 'all done'",
        stop_grace=3600,
    )
    started = start(site)

    # When it is stopped, and ends before it asks again
    stop(site)
    run = ended(site, started)

    # Then all its work is done
    assert (run.state, run.summary, started.returncode) == ("succeeded", "all done", 0)


def test_who_asked_once_and_never_again_gets_the_exception_at_half_of_its_grace(site):
    write_task(
        site,
        "self.proceed()",
        "try:",
        "    wait_at_gate()",
        "except Stopped:",
        "    tell(self, 'Stopped')",
        "    raise",
        stop_grace=1,
    )
    started = start(site)

    stop(site)
    run = ended(site, started)

    assert [told.word for told in site.told()] == ["start", "Stopped"]
    assert (run.state, run.summary, run.error) == ("stopped", None, "stopped by alice")
    assert seconds_since_stop(run) > 0.5


DEAF = {
    "ignoring what it is told": ["while True: self.proceed()"],
    "ignoring TERM": ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "while True: signal.pause()"],
    "in C code with the GIL": ["sum(range(10**13))"],
    "with a deaf grandchild in a session of its own": [
        "if os.fork() == 0:",
        "    os.setsid()",
        "    if os.fork(): os._exit(0)",
        "    tell(self, 'away')",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "while True: signal.pause()",
    ],
}


@pytest.mark.parametrize("lines", DEAF.values(), ids=DEAF)
def test_a_deaf_run_is_gone_when_the_grace_that_was_asked_for_is_over(site, lines):
    # Given a deaf task with an hour of grace
    lines = ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "self.proceed()", *lines]
    write_task(site, *lines, stop_grace=3600)
    started = start(site, "away" if "away" in str(lines) else "start")

    # When it is stopped with less
    stop(site, grace=0.4)
    run = ended(site, started)

    # Then that counts, and nobody is left
    assert (run.state, run.exit_code) == ("stopped", -9)
    assert run.error == "stopped by alice, killed 0.4s later"
    assert seconds_since_stop(run) < 10 * (0.4 + 1)
    site.wait_for_silence()


def test_who_loses_patience_may_stop_again_with_less_grace(site):
    deaf = ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "tell(self, 'deaf')", "while True: signal.pause()"]
    write_task(site, *deaf)
    started = start(site, "deaf")
    stop(site, grace=3600)
    until(lambda: started.poll() is None and site.last_run().stop_at)

    stop(site, grace=0)
    run = ended(site, started)

    assert run.error == "stopped by alice, killed 0s later"


def test_at_its_limit_a_task_is_told_and_keeps_its_words(site):
    write_task(site, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", *LOOP, time_limit=0.4, stop_grace=3600)

    run = ended(site, start(site))

    assert (run.state, run.summary, run.error) == ("timed_out", "left early", "over its time limit of 0.4s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_shuts_down_is_as_polite(site, number):
    write_task(site, *LOOP, stop_grace=3600)
    started = start(site)

    started.send_signal(number)
    run = ended(site, started)

    assert (run.state, run.summary) == ("stopped", "left early")


def test_a_task_that_closes_all_it_finds_is_stopped_as_one_that_never_asked(site):
    # Given a task that closes all, and whose own file has the number of the pipe by now
    write_task(
        site,
        "os.closerange(3, 1000)",
        "files = [open('mine', 'w+') for _ in range(10)]",
        "files[0].write('mine'); files[0].flush()",
        "assert self.proceed()",
        "self.progress(1)",
        "self.own_schedule.hold()",
        "tell(self, 'asked')",
        "while self.proceed(): time.sleep(0.001)",
        stop_grace=3600,
    )
    started = start(site, "asked")

    # When it is stopped
    stop(site)
    run = ended(site, started)

    # Then it gets the exception, and its file is as it was
    assert run.state == "stopped"
    assert (site.docroot / "mine").read_text() == "mine"
    assert site.schedule("Work").held_at is None


def test_a_run_that_neither_asks_nor_says_imports_nothing_for_it(site):
    site.write("class Work(Task):", "    def run(self): pass")
    site.run("Work")

    # (What the body prints of its imports comes to the supervisor's stdout.)
    ended = site.run("Work", program=[sys.executable, "-X", "importtime", str(SCRIPT)])
    modules = set(re.findall(r"^import time:.*\|\s+(\S+)$", ended.stderr + ended.stdout, re.MULTILINE))

    assert modules >= {"dracotask.run.body", "dracotask.run.watch"}
    assert not modules & {f"dracotask.run.{name}" for name in ("steering", "reports", "family")}


# -- progress() ------------------------------------------------------------------------------


def progress_of(run: Run) -> tuple[Any, ...]:
    return run.progress_done, run.progress_total, run.progress_note


def test_progress_is_seen_while_the_run_is_at_work_and_stays_on_record(site):
    # Given a task that says how far it is
    write_task(
        site,
        "self.progress(0, 3)",
        "self.progress(1, 3, 'the first\\nof them')",
        "wait_at_gate()",
        "self.progress(2, 3)",
        "self.progress(3, 3)",
    )
    started = start(site)

    # Then the latest is seen while it is at work
    until(lambda: site.last_run().progress_note, "its progress is seen")
    assert site.last_run().state == "running"
    assert progress_of(site.last_run()) == (1, 3, "the first of them")

    # And the last when it is over
    site.open_gate()
    assert progress_of(ended(site, started)) == (3, 3, None)
    assert not Path(site.state.progress_file(site.last_run().id)).exists()


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "raise ValueError", "sum(range(10**13))"])
def test_the_progress_of_a_run_that_fails_is_as_it_was_at_the_end(site, end):
    write_task(site, "for item in range(100): self.progress(item)", end, time_limit=1)

    run = ended(site, start(site))

    assert run.state in ("failed", "timed_out")
    assert progress_of(run) == (99, None, None)


@pytest.mark.parametrize(
    "items, total, seen",
    [
        ("[1, 2, 3]", None, (3, 3)),
        ("(n for n in range(3))", None, (3, None)),
        ("iter('abc')", 5, (3, 5)),
        ("()", None, (0, 0)),
    ],
)
def test_track_tells_the_progress_over_anything_that_can_be_iterated(site, items, total, seen):
    write_task(site, f"return str(list(self.track({items}, total={total})))")

    run = ended(site, start(site))

    assert run.summary == str(list(eval(items)))
    assert progress_of(run) == (*seen, None)


class Probe(Task):
    """Outside of any run."""


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (("three",), TypeError, "done is a str"),
        ((None,), TypeError, "done is a NoneType"),
        ((True,), TypeError, "done is a bool"),
        ((-1,), ValueError, "done is -1"),
        ((float("nan"),), ValueError, "done is nan"),
        ((10**400,), ValueError, "done is 1"),
        ((1, "3"), TypeError, "total is a str"),
        ((1, float("inf")), ValueError, "total is inf"),
        ((1, 2, b"note"), TypeError, "note is a bytes"),
    ],
)
def test_a_progress_that_makes_no_sense_names_the_argument(arguments, error, words):
    with pytest.raises(error, match=words):
        Probe().progress(*arguments)


def test_outside_of_a_run_all_goes_on():
    task = Probe()
    assert task.proceed() is True
    assert list(task.track("abc")) == ["a", "b", "c"]
    task.own_schedule.hold(until="2h", why="no matter")


def test_a_long_note_is_cut(site):
    write_task(site, "self.progress(1, None, '\U0001f600' * 1000)")
    assert progress_of(ended(site, start(site))) == (1, None, "\U0001f600" * 200)


def test_many_threads_and_children_may_ask_and_say_at_once(site):
    # Given a task with many threads and children that all ask, say, and steer
    write_task(
        site,
        "def work():",
        "    for item in range(200):",
        "        assert self.proceed()",
        "        self.progress(item, 200, str(item) * 40)",
        "    self.own_schedule.hold(why='x' * 400)",
        "children = []",
        "for _ in range(4):",
        "    children.append(os.fork())",
        "    if not children[-1]:",
        "        work()",
        "        os._exit(0)",
        "threads = [threading.Thread(target=work) for _ in range(8)]",
        "for thread in threads: thread.start()",
        "for thread in threads: thread.join()",
        "return str([os.waitpid(child, 0)[1] for child in children])",
    )

    run = ended(site, start(site))

    # Then no word of theirs is torn
    assert (run.state, run.summary) == ("succeeded", "[0, 0, 0, 0]")
    assert progress_of(run) == (199, 200, ("199" * 40)[:200])
    with site.store() as store:
        assert [action.verb for action in store.actions(schedule="Work", limit=None)] == ["hold"] * 12


# -- Floods and forgeries --------------------------------------------------------------------

FORGED = {
    "too long": r"(1 << 30).to_bytes(4, 'big') + b'x' * 10**7",
    "empty": r"bytes(4) * 10**6",
    "of no kind": r"((4000).to_bytes(4, 'big') + b'boo' + bytes(3997)) * 10_000",
    "ends": r"((4000).to_bytes(4, 'big') + b'failed' + b'\0no' * 1331 + b'x') * 10_000",
    "garbage": r"os.urandom(10**7)",
    "verbs": r"b''.join(len(x).to_bytes(4, 'big') + x for x in (b'steer\0hold', b'steer\0hold\0[]', b'steer\0hold\0{',"
    r" b'steer\0explode\0{}', b'steer\0hold\0{\"until\": \"no\"}', b'steer\0reschedule\0{\"trigger\": \"cron\"}',"
    r" b'steer\0hold\0{\"why\": 1}', b'steer', b'progress\0x', b'\xff\xfe', b'steer\0hold\0' + b'[' * 3000)) * 1000",
}  # fmt: skip


@pytest.mark.parametrize("bytes_", FORGED.values(), ids=FORGED)
def test_a_supervisor_stays_small_and_alive_whatever_is_reported(site, bytes_):
    # Given a task that writes to the pipe whatever comes to its mind
    write_task(
        site,
        "pipe = self.steering.report.descriptor",
        f"data = memoryview({bytes_})",
        "while data: data = data[os.write(pipe, data):]",
        "tell(self, 'written')",
        "while self.proceed(): time.sleep(0.001)",
    )
    started = start(site, "written")

    # When it is stopped
    assert peak_memory_of(site.last_run().pid) < 60_000
    stop(site)
    run = ended(site, started)

    # Then all is as with any other
    assert run.state == "stopped"
    assert site.schedule("Work").held_at is None
    assert len(Path(site.state.log_file).read_text()) < 10_000 if Path(site.state.log_file).exists() else True


def test_a_body_that_says_something_all_the_time_is_stopped_all_the_same(site):
    write_task(
        site,
        "tell(self, 'talking')",
        "while True:",
        "    self.progress(time.time(), None, 'x' * 1000)",
        "    self.steering.report.say('steer', 'hold', '{')",
        "    self.steering.report.say('polite')",
        stop_grace=0.4,
    )
    started = start(site, "talking")

    stop(site)
    run = ended(site, started)

    assert run.state == "stopped"
    assert seconds_since_stop(run) < 10


# -- own_schedule ----------------------------------------------------------------------------

YEARLY = "    def __init__(self): self.schedule(cron='0 0 1 1 *')"


def write_yearly(site: Site, *body: str) -> None:
    """Write a task Work that is due at New Year, with these lines of ``run``."""
    head = "from dracotask import Skip, Task\nfrom told import *\nimport os, sys, time\n"
    site.write("class Work(Task):", YEARLY, "    def run(self, **arguments):", "        tell(self)",
               *("        " + line for line in body), head=head)  # fmt: skip
    site.due()


def actions(site: Site) -> list[tuple[str, str, str | None]]:
    with site.store() as store:
        return [(action.verb, action.by, action.why) for action in store.actions(schedule="Work", limit=None)][::-1]


def test_a_task_lengthens_its_own_period_with_each_run(site):
    # Given a task that gives itself another rule, as TaskKit's example does
    write_yearly(site, "hours = len(open('witness').readlines())",
                 "self.own_schedule.reschedule(every=f'{hours}h', why='it is quiet')", "wait_at_gate()")  # fmt: skip

    # When it runs again and again
    for hours in (1, 2, 3):
        started = site.start("Work")
        site.wait_for("start", hours)

        # Then each rule is in force while the run is still at work
        until(lambda hours=hours: str(site.schedule("Work").override).startswith(f"every {hours}h "))
        schedule = site.schedule("Work")
        assert site.active() and schedule.next_fire_time - utc_now() <= timedelta(hours=hours)
        site.open_gate()
        assert ended(site, started).state == "succeeded"
    assert actions(site) == [("reschedule", "the task itself", "it is quiet")] * 3


def test_a_task_goes_back_to_the_rule_in_the_file(site):
    write_yearly(site, "self.own_schedule.reschedule(minute=5)", "self.own_schedule.reschedule(file=True)")
    assert ended(site, start(site)).state == "succeeded"
    assert site.schedule("Work").override is None
    assert [verb for verb, _, _ in actions(site)] == ["reschedule"] * 2


def test_a_task_holds_and_resumes_itself(site):
    write_yearly(site, "self.own_schedule.hold(until='2h', why='the shop is closed')", "wait_at_gate()",
                 "self.own_schedule.resume()")  # fmt: skip
    started = start(site)

    schedule = until(lambda: (found := site.schedule("Work")).held_at and found)
    assert (schedule.held_by, schedule.held_why) == ("the task itself", "the shop is closed")
    assert timedelta(hours=1) < schedule.held_until - utc_now() <= timedelta(hours=2)

    site.open_gate()
    assert ended(site, started).state == "succeeded"
    assert site.schedule("Work").held_at is None


def test_a_demand_from_within_is_one_more_run(site):
    # Given a due task that asks several times for one more run, the first time
    write_yearly(site, "for _ in range(3):", "    if len(open('witness').readlines()) == 1: self.own_schedule.demand()")
    site.make_due("Work")

    # When a tick runs it
    site.due()

    # Then it has run twice
    first, second = site.runs()
    assert (first.state, first.origin) == ("succeeded", "command")
    assert (second.state, second.origin, second.requested_by) == ("succeeded", "demand", "the task itself")


def test_a_demand_while_a_command_runs_it_does_not_wait_for_the_next_minute(site):
    # Given a run by hand
    write_yearly(site, "wait_at_gate()")
    started = start(site)
    assert os.stat(site.state.next_file).st_mtime > time.time()

    # When it is demanded, and then ends
    with site.store() as store:
        assert Control(store, by="alice", log=print).demand("Work", utc_now()) is None
    site.open_gate()
    ended(site, started)

    # Then it is time to look, and it runs once more
    assert os.stat(site.state.next_file).st_mtime <= time.time()
    tick = site.start("due")
    site.wait_for("start", 2)
    site.open_gate()
    tick.communicate(timeout=PATIENCE)
    assert [run.state for run in site.runs()] == ["succeeded", "succeeded"]


def test_a_task_takes_leave(site):
    # Given a task with a schedule in the file, and one that was added
    write_yearly(site, "self.own_schedule.unschedule(why='all is done')")
    with site.store() as store:
        control = Control(store, by="alice", log=print)
        control.add("Added", "Work", None, utc_now(), arguments={"city": "Riga"})
        control.run_now("Added", utc_now())
    site.state.look_now()

    # When both run
    site.due()
    assert site.run("Work").returncode == 0

    # Then the one is held, and the other gone
    assert [run.state for run in site.runs()] == ["succeeded", "succeeded"]
    assert site.schedule("Work").held_why == "all is done"
    with site.store() as store:
        assert store.schedule("Added") is None


def test_a_task_finds_its_arguments(site):
    write_yearly(site, "return repr(self.current_run.arguments)")
    with site.store() as store:
        control = Control(store, by="alice", log=print)
        control.add("Added", "Work", None, utc_now(), arguments={"city": "Riga", "days": [1, 2]})
        control.run_now("Added", utc_now())
    site.due()
    site.run("Work")
    assert [run.summary for run in site.runs()] == ["{'city': 'Riga', 'days': [1, 2]}", "{}"]


@pytest.mark.parametrize(
    "line, error",
    [
        ("reschedule()", "TypeError: reschedule() takes a rule"),
        ("reschedule(every='2h', file=True)", "TypeError: reschedule() takes a rule"),
        ("reschedule(every='2h', minute=3)", "TypeError: "),
        ("reschedule(often=True)", "TypeError: OwnSchedule.reschedule() got an unexpected keyword argument 'often'"),
        ("reschedule(every='soon')", "BadTrigger: "),
        ("reschedule(minute=60)", "BadTrigger: "),
        ("reschedule(at='2020-01-01T00:00Z')", "BadTrigger: 'at 2020-01-01T00:00:00+00:00' never fires again"),
        ("hold(until='yesterday')", "ValueError: 'yesterday' is not a length of time"),
        ("hold(until='2020-01-01T00:00Z')", "ValueError: until='2020-01-01T00:00Z' is past"),
        ("hold(why=3)", "TypeError: why is a int"),
        ("demand(why='x' * 501)", "ValueError: why has 501 letters: 500 are the most."),
        ("hold(why='\U0001f600' * 500)", "ValueError: hold with 6"),
    ],
)
def test_a_verb_that_makes_no_sense_is_refused_in_the_task(site, line, error):
    write_yearly(site, f"self.own_schedule.{line}")

    run = ended(site, start(site))

    assert run.state == "failed" and run.error.startswith(error), run.error
    assert actions(site) == []


def test_what_cannot_be_done_is_told_in_the_log_and_the_run_goes_on(site):
    # Given a task whose schedule is removed while it is at work
    write_yearly(site, "wait_at_gate()", "self.own_schedule.hold()", "return 'done'")
    with site.store() as store:
        control = Control(store, by="alice", log=print)
        control.add("Added", "Work", None, utc_now())
        control.run_now("Added", utc_now())
    tick = site.start("due")
    site.wait_for("start")
    with site.store() as store:
        Control(store, by="alice", log=print).remove("Added", utc_now())

    # When it steers it
    site.open_gate()
    tick.communicate(timeout=PATIENCE)

    # Then
    run = site.last_run()
    assert (run.state, run.summary) == ("succeeded", "done")
    log = Path(site.state.log_file).read_text()
    assert re.search(f"Run {run.id} of Work wanted 'hold' of its schedule, in vain: no schedule 'Added'", log)


def test_a_verb_and_the_progress_wait_for_a_store_that_is_locked(site):
    # Given a task at work, and a store that somebody holds
    write_yearly(site, "wait_at_gate()", "self.own_schedule.hold()", "self.progress(3)", "tell(self, 'said')",
                 "wait_at_gate()", "return 'done'")  # fmt: skip
    started = start(site)
    connection = sqlite3.connect(site.state.store_file, isolation_level=None, timeout=PATIENCE)
    connection.execute("BEGIN EXCLUSIVE")

    # When it steers its schedule, and ends
    site.open_gate()
    body = site.wait_for("said").pid
    site.open_gate()
    until(lambda: not site.is_alive(body), "the body ends")
    connection.rollback()
    connection.close()

    # Then all is on record
    run = ended(site, started)
    assert (run.state, run.progress_done) == ("succeeded", 3)
    assert site.schedule("Work").held_by == "the task itself"


def test_a_locked_store_keeps_no_limit_from_striking(site):
    # Given a task that steers and says how far it is, all the time, while somebody holds the store
    write_task(
        site,
        "wait_at_gate()",
        "for item in range(20): self.own_schedule.hold()",
        "self.progress(1)",
        "tell(self, 'said')",
        "while True: time.sleep(1)",
        time_limit=2,
        stop_grace=0.4,
    )
    started = start(site)
    connection = sqlite3.connect(site.state.store_file, isolation_level=None, timeout=PATIENCE)
    connection.execute("BEGIN EXCLUSIVE")
    site.open_gate()
    body = site.wait_for("said").pid

    # Then the limit strikes all the same
    until(lambda: not site.is_alive(body), "the body ends", patience=20)
    connection.rollback()
    connection.close()
    assert ended(site, started).state == "timed_out"


# -- exclusive -------------------------------------------------------------------------------


def test_tasks_that_exclude_each_other_are_never_at_work_side_by_side(site):
    # Given four tasks, three of which exclude each other, and a slot for each
    site.put("dracotask.toml", "max_running = 4\n")
    site.write(
        "import time",
        "class Free(Task):",
        YEARLY,
        "    def run(self):",
        "        tell(self, 'free')",
        "class First(Free):",
        "    exclusive = 'disk'",
        "    def run(self):",
        "        tell(self, 'begin')",
        "        time.sleep(0.05)",
        "        tell(self, 'end')",
        "class Second(First): pass",
        "class Third(First): pass",
    )
    site.due()
    for round_ in range(3):
        with site.store() as store:
            for name in ("Free", "First", "Second", "Third"):
                Control(store, by="alice", log=print).run_now(name, utc_now())

        # When ticks run them, two at once
        ticks = [site.start("due") for _ in range(2)]
        for tick in ticks:
            assert tick.communicate(timeout=PATIENCE) == ("", "")
        until(lambda: site.due() or not site.active(), "all have run")

        # Then each begins when the one before has ended
        words = [told.word for told in site.told() if told.word != "free"]
        assert words == ["begin", "end"] * 3 * (round_ + 1)
        assert len(site.told("free")) == round_ + 1


def test_after_an_exclusive_run_somebody_looks_at_once(site):
    site.write("class Work(Task):", "    exclusive = 'disk'", "    def run(self): pass")
    site.due()
    assert os.stat(site.state.next_file).st_mtime > time.time()

    site.run("Work")

    assert os.stat(site.state.next_file).st_mtime <= time.time()
