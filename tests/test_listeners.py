"""Listeners of a site, told by real processes; whatever they do, it hurts nobody. And those of a program."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import NOON, a_run, an_outcome, begun
from programs import PATIENCE, Gated
from sites import Site, until

from dracotask import RunEvent, RunFailed, RunSucceeded, ScheduleEvent, Scheduler, SchedulerEvent, current_task
from dracotask.errors import ControlError
from dracotask.events import KINDS, Event, event_from_json
from dracotask.homes import listening
from dracotask.run import telling
from dracotask.stores.base import LISTENERS_NOTE

HEAD = '''\
from dracotask import *
from told import *
import json, os, signal, sys, time


def note(name, event):
    """Write down who heard of what, and where."""
    facts = [name, event.kind, getattr(event, "schedule", None), getattr(event, "error", None), os.getpid()]
    descriptor = os.open("heard", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps(facts) + "\\n").encode())
    os.close(descriptor)


class Good(Task):
    def run(self):
        return "well"


class Bad(Task):
    def run(self):
        raise ValueError("no")
'''

#: The last of them in each file: it hears whatever the others do.
LAST = ("@on(RunSucceeded, RunFailed)", "def last(event):", "    note('last', event)")


def write(site: Site, *lines: str) -> None:
    site.write(*lines, head=HEAD)


def heard(site: Site, name: str | None = None) -> list[tuple[str, ...]]:
    """Return who heard of what, in order."""
    path = site.docroot / "heard"
    lines = path.read_text().splitlines() if path.exists() else []
    facts = [json.loads(line) for line in lines]
    return [(fact[1], fact[2]) for fact in facts if name in (None, fact[0])]


def log(site: Site) -> str:
    return Path(site.state.log_file).read_text()


def waiting(site: Site) -> int:
    with site.store() as store:
        return len(store.events(1000))


# -- Told --------------------------------------------------------------------------------------


def test_a_listener_is_told_when_the_outcome_is_on_record_in_another_process(site):
    # Given a listener that looks at the record
    write(
        site,
        "@on(RunFailed)",
        "def look(event):",
        "    from dracotask import Scheduler",
        "    run = Scheduler('.').run(event.run_id)",
        "    open('found', 'w').write(f'{run.state} {run.pid != os.getpid()} {event.error}')",
    )

    # When the task fails
    ended = site.run("Bad")

    # Then it has found the outcome there, and the command ends as ever
    assert (site.docroot / "found").read_text() == "failed True ValueError: no"
    assert ended.returncode == 1
    assert waiting(site) == 0


def test_each_hears_what_it_wanted_in_the_order_in_which_it_happened(site):
    write(
        site,
        "@on(RunEvent, task='Bad')",
        "def of_bad(event): note('bad', event)",
        "@on(RunEvent)",
        "async def of_all(event): note('all', event)",
    )
    site.run("Good")
    site.run("Bad")

    of_bad = [("RunQueued", "Bad"), ("RunStarted", "Bad"), ("RunFailed", "Bad")]
    of_good = [("RunQueued", "Good"), ("RunStarted", "Good"), ("RunSucceeded", "Good")]
    assert heard(site, "bad") == of_bad
    assert heard(site, "all") == [*of_good, *of_bad]


def test_what_a_tick_brings_about_is_told_by_the_tick(site):
    # Given a task that is due
    write(
        site,
        "class Due(Task):",
        "    def __init__(self): self.schedule(every='1h')",
        "    def run(self): pass",
        *LAST,
    )
    site.run("load")
    site.make_due("Due")

    # When a tick has run it
    site.due()

    # Then it is told when the tick has ended
    assert heard(site) == [("RunSucceeded", "Due")]


def test_a_run_whose_supervisor_was_killed_is_told_as_lost(site):
    write(
        site,
        "class Waits(Task):",
        "    def run(self):",
        "        tell(self)",
        "        wait_at_gate()",
        "@on(RunLost)",
        "def lost(event): note('lost', event)",
    )
    process = site.start("Waits")
    site.wait_for()
    process.send_signal(signal.SIGKILL)
    site.wait_for_silence()

    site.due()

    assert heard(site) == [("RunLost", "Waits")]


def test_verbs_and_changes_of_the_file_are_told_by_the_next_tick(site):
    write(site, "@on(ScheduleEvent, SchedulerEvent)", "def changes(event): note('changes', event)")
    site.run("load")
    site.run("hold", "Good")
    Scheduler(site.docroot).resume("Good")
    Scheduler(site.docroot).hold()

    site.due()

    assert heard(site) == [
        ("ScheduleAdded", "Good"), ("ScheduleAdded", "Bad"), ("ScheduleHeld", "Good"), ("ScheduleResumed", "Good"),
        ("SchedulerHeld", None),
    ]  # fmt: skip


def test_nothing_is_written_and_nothing_forked_where_nobody_listens(site):
    write(site)
    site.run("Bad")
    assert waiting(site) == 0
    assert not os.path.exists(site.state.listeners_lock)


def test_what_waits_for_listeners_that_are_gone_is_forgotten(site):
    # Given an event that nobody has told yet
    write(site, *LAST)
    site.run("load")
    site.run("Good", env={"DRACOTASK_FAILPOINT": "outcome_recorded"})
    assert waiting(site) == 1

    # When the file has no listener any more
    write(site)
    site.due()

    # Then the event is gone
    assert waiting(site) == 0 and heard(site) == []


def test_what_happens_while_the_file_is_broken_is_told_when_it_is_mended(site):
    # Given an event that nobody has told yet, and a file that is broken by now
    write(site, *LAST)
    site.run("load")
    site.run("Good", env={"DRACOTASK_FAILPOINT": "outcome_recorded"})
    write(site, "this is no Python", *LAST)
    site.due()
    assert heard(site) == []

    # When it is mended
    write(site, *LAST)
    site.due()

    # Then it is told
    assert heard(site) == [("RunSucceeded", "Good")]


def test_what_a_file_that_cannot_be_loaded_for_now_keeps_from_being_told_waits(site):
    # Given an event, and a file that cannot be loaded when it is to be told, though it is as it was
    down = "if os.path.exists('down') and sys.argv[2:] == ['listeners']: raise OSError('the database is down')"
    write(site, down, *LAST)
    (site.docroot / "down").touch()
    site.run("Good")

    # When several ticks have tried
    for _ in range(3):
        site.due()
    assert "the task file did not load" in log(site) and "killed" not in log(site)

    # Then it is told when it can be
    (site.docroot / "down").unlink()
    site.due()
    assert heard(site) == [("RunSucceeded", "Good")]


def test_who_begins_to_listen_where_nobody_did_hears_no_past(site):
    # Given an event that somebody wrote for a listener who was just gone
    write(site)
    site.run("load")
    with site.store() as store:
        store.put_note(LISTENERS_NOTE, "RunQueued\nRunSucceeded")
        store.finish(begun(store, a_run("Good")), an_outcome())
        store.put_note(LISTENERS_NOTE, None)
    assert waiting(site) == 2

    # When another comes
    write(site, *LAST)
    site.due()

    # Then it hears nothing of that, and all that follows
    assert heard(site) == []
    site.run("Good")
    assert heard(site) == [("RunSucceeded", "Good")]


def test_a_task_that_is_a_function_is_named_by_itself(site):
    write(
        site,
        "@task",
        "def sweep(): pass",
        "@on(RunSucceeded, task=[sweep, Good])",
        "def both(event): note('both', event)",
    )
    for name in ("sweep", "Bad", "Good"):
        site.run(name)
    assert heard(site) == [("RunSucceeded", "sweep"), ("RunSucceeded", "Good")]


# -- By hand -----------------------------------------------------------------------------------


def test_how_a_run_ended_is_said_before_anybody_is_told(site):
    # Given a listener that waits
    write(site, "@on(RunFailed)", "def waits(event): wait_at_gate()")
    site.run("load")

    # When a task fails by hand
    process = site.start("Bad")

    # Then that is said meanwhile
    assert process.stderr.readline() == "dracotask: Bad failed: ValueError: no\n"
    assert process.poll() is None
    site.open_gate()
    process.communicate(timeout=60)
    assert process.returncode == 1


def test_a_terminal_is_told_for_whom_a_command_waits(site):
    # Given a listener that waits, and a task that is run from a terminal
    write(site, "@on(RunSucceeded)", "def waits(event): wait_at_gate()")
    line = HEAD.count("\n") + 1
    site.run("load")
    terminal, theirs = os.openpty()
    process = site.start("Good", stderr=theirs)
    os.close(theirs)

    # When it takes its time, then that is said, and how to be spared it
    said = b""
    while b"next tick" not in said:
        said += os.read(terminal, 1 << 12)
    assert b"Good ok in" in said.splitlines()[0]
    words = f"dracotask: listener waits (line {line}) at RunSucceeded of Good, run {site.last_run().id}, takes its time"
    assert said.splitlines()[1].decode() == f"{words}; Ctrl-C leaves it to the next tick"
    site.open_gate()
    process.communicate(timeout=60)
    os.close(terminal)


def test_nobody_has_to_wait_for_a_listener(site):
    # Given a listener that hangs the first time
    write(
        site,
        "@on(RunSucceeded)",
        "def slow(event):",
        "    note('slow', event)",
        "    if not os.path.exists('hung'):",
        "        open('hung', 'w').close()",
        "        time.sleep(600)",
        *LAST,
    )
    site.run("load")
    process = site.start("Good")
    until(lambda: (site.docroot / "hung").exists(), "it hangs")

    # When Ctrl-C is hit
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    # Then the command ends as the run did, and the next tick tells; no listener is blamed
    assert (process.returncode, said) == (0, "")
    assert waiting(site) == 1
    site.wait_for_silence()
    site.due()
    assert heard(site, "last") == [("RunSucceeded", "Good")]
    assert len(heard(site, "slow")) == 2
    assert "killed" not in log(site)


# -- Whatever a listener does ------------------------------------------------------------------

WAYS = {
    "raises": ("raise RuntimeError('broken')", "failed: RuntimeError: broken"),
    "exits": ("sys.exit(3)", "failed: SystemExit: 3"),
    "os._exit": ("os._exit(7)", "ended its process with exit code 7"),
    "crashes": ("os.kill(os.getpid(), 11)", "was killed by signal 11"),
    "hangs": ("time.sleep(600)", "was killed after 1 s"),
    "hangs deaf": ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", "was killed after 1 s"),
    "lets go of all": ("os.closerange(3, 200)", "ended its process with exit code 0"),
}


@pytest.mark.parametrize(("what", "words"), WAYS.values(), ids=WAYS)
def test_a_listener_may_fail_in_any_way(site, what, words):
    # Given one listener that does it, and one that hears after it
    site.put("dracotask.toml", 'listener_limit = "1s"\n')
    write(site, "@on(RunSucceeded)", "def wild(event):", "    note('wild', event)", f"    {what}", *LAST)

    # When a task runs twice
    for _ in range(2):
        ended = site.run("Good")
        assert (ended.returncode, ended.stderr) == (0, "")

    # Then it is told of each once, and so is the other; the log says what it did, and of which run
    assert heard(site, "wild") == heard(site, "last") == [("RunSucceeded", "Good")] * 2
    line = HEAD.count("\n") + 1
    assert f"Listener wild (line {line}) at RunSucceeded of Good, run {site.last_run().id}, {words}" in log(site)
    assert [run.state for run in site.runs()] == ["succeeded"] * 2
    assert waiting(site) == 0


def test_the_traceback_of_a_listener_is_kept(site):
    write(site, "@on(RunFailed)", "def wild(event):", "    raise RuntimeError('broken')")
    site.run("Bad")
    text = Path(site.state.listeners_log).read_text()
    assert "RuntimeError: broken" in text and "in wild" in text


def test_where_a_listener_hangs_is_kept(site):
    site.put("dracotask.toml", 'listener_limit = "0.5s"\n')
    write(site, "@on(RunFailed)", "def hangs(event):", "    time.sleep(600)")
    site.run("Bad")
    assert "in hangs" in Path(site.state.listeners_log).read_text()


def test_a_listener_that_prints_without_end_fills_no_disk(site):
    write(site, "@on(RunFailed)", "def loud(event):", "    for _ in range(3000): print('x' * 10_000)", *LAST)
    site.run("Bad")
    assert heard(site, "last") == [("RunFailed", "Bad")]
    assert os.stat(site.state.listeners_log).st_size < 100_000


def test_a_listener_that_goes_elsewhere_takes_nobody_along(site):
    write(site, "@on(RunSucceeded)", "def away(event): os.chdir('/')", *LAST)
    site.run("Good")
    assert heard(site) == [("RunSucceeded", "Good")]


def test_a_listener_that_reports_nonsense_is_not_believed(site):
    write(
        site,
        "from dracotask.run.channel import Sender",
        "@on(RunSucceeded)",
        "def scribbles(event):",
        "    for descriptor in range(3, 20):",
        "        for words in (['complained'], ['all'], ['begin', 'x'], ['over', 'x'], ['all', '7'], ['']):",
        "            try: Sender(descriptor).send(*words)",
        "            except OSError: pass",
        *LAST,
    )
    assert site.run("Good").stderr == ""
    assert heard(site) == [("RunSucceeded", "Good")]
    assert waiting(site) == 0


def test_a_listener_that_brings_about_what_it_is_told_of_keeps_nobody_for_ever(site):
    # Given a listener that holds what it hears is held
    write(
        site,
        "@on(ScheduleHeld)",
        "def again(event):",
        "    note('again', event)",
        "    Scheduler('.', by='a listener').hold('Good')",
    )
    site.run("load")
    site.run("hold", "Good")

    # When a tick tells
    site.due()

    # Then it comes to its end, though there is always more to tell, and says so
    assert len(heard(site)) == telling.MOST_BODIES
    assert waiting(site) == 1
    assert "Does a listener bring about what it is told of?" in log(site)


def test_a_listener_that_forks_tells_nobody_twice(site):
    write(site, "@on(RunFailed)", "def forks(event):", "    os.fork()", *LAST)
    site.run("Bad")
    assert heard(site) == [("RunFailed", "Bad")]


def test_what_a_listener_leaves_behind_goes_with_it(site):
    write(
        site,
        "@on(RunFailed)",
        "def forks(event):",
        "    if os.fork() == 0:",
        "        time.sleep(600)",
    )
    site.run("Bad")
    site.wait_for_silence()


def test_changes_of_a_listener_to_the_database_are_kept_unless_it_fails(site):
    write(
        site,
        "@on(RunSucceeded)",
        "def keeps(event):",
        "    database.cursor().execute('CREATE TABLE IF NOT EXISTS kept (name)')",
        "    database.cursor().execute('INSERT INTO kept VALUES (1)')",
        "@on(RunSucceeded)",
        "def fails(event):",
        "    database.cursor().execute('INSERT INTO kept VALUES (2)')",
        "    raise ValueError",
        "@on(RunSucceeded)",
        "def counts(event):",
        "    open('kept', 'w').write(repr(database.cursor().execute('SELECT name FROM kept').fetchall()))",
    )
    site.run("Good")
    assert (site.docroot / "kept").read_text() == "[(1,)]"


# -- Whatever happens to those who tell --------------------------------------------------------


@pytest.mark.parametrize("point", ["outcome_recorded", "listener_begins"])
def test_an_event_outlives_the_death_of_whoever_was_to_tell_it(site, point):
    # Given a run whose process is killed between outcome and telling, or in the midst of it
    write(site, *LAST)
    site.run("load")
    assert site.run("Good", env={"DRACOTASK_FAILPOINT": point}).returncode == -signal.SIGKILL
    site.wait_for_silence()
    before = heard(site)

    # When the next tick comes
    site.due()

    # Then it is told; once more at the most
    assert heard(site) in ([("RunSucceeded", "Good")], [*before, ("RunSucceeded", "Good")])
    assert len(heard(site)) >= 1
    assert waiting(site) == 0


def test_a_listener_that_kills_those_who_tell_is_given_up(site):
    # Given a listener that kills its parent
    write(site, "@on(RunSucceeded)", "def murder(event):", "    os.kill(os.getppid(), 9); time.sleep(9)", *LAST)
    site.run("load")
    site.run("Good")
    site.wait_for_silence()

    # When ticks come by
    for _ in range(3):
        site.run("due")
        site.wait_for_silence()

    # Then it is told no more, and the other is
    assert heard(site, "last") == [("RunSucceeded", "Good")]
    assert waiting(site) == 0


def test_of_many_commands_at_once_each_is_told_once_and_in_order(site):
    write(site, "@on(RunEvent)", "def all(event): note('all', event)", *LAST)
    site.run("load")
    processes = [site.start(name) for name in ["Good", "Bad"] * 3]
    for process in processes:
        process.communicate(timeout=60)
    site.due()

    runs = site.runs()
    ends = [kind for kind, _ in heard(site, "last")]
    assert len(ends) == sum(run.state in ("succeeded", "failed") for run in runs)
    numbers = {"RunQueued": 0, "RunStarted": 1, "RunSucceeded": 2, "RunFailed": 2, "RunSkipped": 2}
    for name in ("Good", "Bad"):
        steps = [numbers[kind] for kind, schedule in heard(site, "all") if schedule == name]
        started = [step for step in steps if step == 1]
        assert len(started) == len([run for run in runs if run.task == name and run.started_at])


# -- Refused at load ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("@on", "def hear(event): pass"), f"line {HEAD.count(chr(10)) + 1}: BadListener: <function hear"),
        (("@on(RunFailed)", "def hear(): pass"), "hear cannot be told of events: write def hear(event)."),
        (("@on(RunFailed, task='God')", "def hear(event): pass"), "there is no such task. Did you mean Good?"),
        (("@on(ValueError)", "def hear(event): pass"), "is no kind of event: write @on(RunFailed)"),
    ],
)
def test_a_listener_that_could_never_hear_is_refused_with_its_line(site, lines, why):
    write(site, *lines)
    site.run("load")
    assert why in site.problem()


# -- A program's own ---------------------------------------------------------------------------


def settle(program, handle) -> None:
    program.settle()
    assert handle.wait(PATIENCE)


def test_a_program_is_told_in_a_thread_of_its_own_in_order(program):
    found: list[tuple[str, bool]] = []
    me = threading.get_ident()

    def hear(event):
        found.append((event.kind, threading.get_ident() == me))

    handle = program.scheduler.listen(hear, RunEvent, ScheduleEvent)
    program.scheduler.add(lambda: "well", at="2026-11-21T12:00:01Z", name="once")
    program.advance(2)
    settle(program, handle)

    kinds = ["ScheduleAdded", "RunQueued", "RunStarted", "RunSucceeded", "ScheduleRemoved"]
    assert found == [(kind, False) for kind in kinds]


def test_the_scheduler_itself_is_told_of(programs):
    found: list[str] = []
    scheduler = Scheduler(by="anna")

    @scheduler.on(SchedulerEvent)
    def hear(event):
        found.append(event.kind)

    with scheduler:
        scheduler.hold()
        scheduler.resume()
        scheduler.remove_all()

    assert found == [
        "StoreOpened", "LauncherStarted", "SchedulerStarted", "SchedulerHeld", "SchedulerResumed",
        "AllSchedulesRemoved", "LauncherStopped", "StoreClosed", "SchedulerStopped",
    ]  # fmt: skip


def test_only_the_tasks_that_were_asked_for_are_told_of(program):
    found = []

    async def hear(event):
        found.append(event.schedule)

    handle = program.scheduler.listen(hear, RunSucceeded, task="wanted")

    def wanted():
        pass

    program.scheduler.add(wanted, every="1h")
    program.scheduler.add(lambda: None, every="1h", name="other")
    program.advance(hours=1)
    settle(program, handle)
    assert found == ["wanted"]


def test_one_that_waits_for_itself_does_not_wait_for_ever(program):
    found: list[bool] = []
    handle = program.scheduler.listen(lambda event: found.append(handle.wait()), ScheduleEvent)
    program.scheduler.add(print, name="x")
    assert handle.wait(PATIENCE) and found == [False]


def test_who_has_stopped_listening_hears_nothing_more(program):
    found: list[str] = []
    handle = program.scheduler.listen(lambda event: found.append(event.kind), ScheduleEvent)
    handle.stop()
    handle.stop()
    program.scheduler.add(print, name="x")
    program.settle()
    assert found == [] and program.home.store.listeners() == ""


def test_one_that_fails_is_logged_and_hears_the_next(program, caplog):
    found: list[str] = []

    def fails(event):
        found.append(event.kind)
        raise RuntimeError("broken")

    handle = program.scheduler.listen(fails, ScheduleEvent)
    program.scheduler.add(print, name="x")
    program.scheduler.hold("x")
    settle(program, handle)

    assert found == ["ScheduleAdded", "ScheduleHeld"]
    record = next(record for record in caplog.records if "fails failed at ScheduleAdded" in record.message)
    assert record.exc_info and "broken" in str(record.exc_info[1])


def test_one_that_hangs_is_told_and_keeps_nobody_waiting(program, caplog, monkeypatch):
    # Given one that hangs, and another
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(listening, "HANGS_AFTER", 0.0)
    monkeypatch.setattr(listening, "MOST_WAITING", 2)
    begun, gate, found = threading.Event(), threading.Event(), []

    def hangs(event):
        begun.set()
        assert gate.wait(PATIENCE)

    slow = program.scheduler.listen(hangs, ScheduleEvent)
    quick = program.scheduler.listen(lambda event: found.append(event.kind), ScheduleEvent)

    # When things happen
    program.scheduler.add(print, name="x")
    assert begun.wait(PATIENCE)
    for _ in range(4):
        program.scheduler.hold("x")
        assert quick.wait(PATIENCE)
    program.advance(1)

    # Then the other hears of all, it is told, and what is too much for the first is dropped and counted
    assert found == ["ScheduleAdded", *["ScheduleHeld"] * 4]
    until(lambda: "hangs has been at ScheduleAdded" in caplog.text, "it is told")
    assert slow.dropped == 2 and "slower than what happens" in caplog.text
    gate.set()
    assert slow.wait(PATIENCE)


def test_a_site_says_where_its_listeners_stand(tmp_path):
    with pytest.raises(ControlError, match=r"write @on\(RunFailed\) above a function"):
        Scheduler(tmp_path).listen(print, RunFailed)


# -- Each fact ---------------------------------------------------------------------------------

ANNA = {"by": "anna", "why": None}
FAILED = {"state": "failed", "error": "ValueError: no"}

#: What the first event of each kind knows.
OF_BOTH: dict[str, dict[str, object]] = {
    "RunRetried": {**FAILED, "attempt": 1},
    "RunSucceeded": {"state": "succeeded", "summary": "well", "attempt": 1, "fire_time": None, "error": None},
    "ScheduleHeld": {"by": "anna", "why": "lunch"},
    "SchedulerHeld": ANNA,
    "SchedulerResumed": ANNA,
    "AllSchedulesRemoved": {"by": "anna"},
}  # fmt: skip
OF_A_PROGRAM: dict[str, dict[str, object]] = {
    **OF_BOTH,
    "RunQueued": {"schedule": "good", "task": "good", "origin": "api", "requested_by": "anna", "attempt": 0},
    "RunStarted": {"schedule": "good", "state": "running", "attempt": 1, "finished_at": None},
    "RunProgressed": {"schedule": "bad", "done": 1.0, "total": 2.0, "note": "half"},
    "RunFailed": {"schedule": "bad", "task": "fails", "attempt": 2, **FAILED},
    "RunTimedOut": {"schedule": "late", "error": "over its time limit of 0.1s"},
    "RunStopped": {"schedule": "waits", "error": "stopped by anna before it began", "started_at": None},
    "RunSkipped": {"schedule": "busy", "fire_count": 1, "summary": "still running since 12:01:02 UTC"},
    "RunMissed": {"schedule": "graced", "summary": "32s late; its grace is 1s"},
    "ScheduleAdded": {**ANNA, "schedule": "good", "details": {"task": "good", "arguments": "{}"}},
    "ScheduleRemoved": {"schedule": "busy", "task": "busy", "details": {"task": "busy"}},
    "ScheduleResumed": {"schedule": "good", "by": "its end", "why": "lunch"},
    "ScheduleUpdated": {"schedule": "good", "what": "update", "details": {"description": "better"}},
}
OF_A_SITE: dict[str, dict[str, object]] = {
    **OF_BOTH,
    "RunQueued": {"schedule": "Good", "task": "Good", "origin": "command", "attempt": 0, "state": "queued"},
    "RunStarted": {"schedule": "Good", "attempt": 1, "state": "running"},
    "RunProgressed": {"schedule": "Late", "done": 1.0, "total": 2.0, "note": "half"},
    "RunFailed": {"schedule": "Bad", "exit_code": 1, "attempt": 1, **FAILED},
    "RunTimedOut": {"schedule": "Late", "state": "timed_out"},
    "RunStopped": {"schedule": "Again", "error": "stopped by anna before its retry"},
    "RunLost": {"schedule": "Waits", "state": "lost"},
    "RunSkipped": {"schedule": "Waits", "origin": "command"},
    "RunMissed": {"schedule": "Graced", "origin": "tick"},
    "ScheduleAdded": {"schedule": "Good", "by": "the task file", "details": {"trigger": None}},
    "ScheduleRemoved": {"schedule": "extra", "task": "Good", "by": "anna", "why": "enough"},
    "ScheduleResumed": {"schedule": "Good", **ANNA},
    "ScheduleUpdated": {"schedule": "Good", "what": "skip_next"},
}


def test_every_fact_there_is_is_told_in_a_program(programs):
    # Given a program that hears of all
    found: list[Event] = []
    program = programs()
    program.scheduler.stop()
    handle = program.scheduler.listen(found.append, Event)
    scheduler, gate = program.scheduler, Gated()
    scheduler.start()

    def fails():
        if current_task().current_run.attempt == 1:
            current_task().progress(1, 2, "half")
        raise ValueError("no")

    async def late():
        await asyncio.sleep(600)

    # When all happens that can
    scheduler.add(lambda: "well", name="good")
    scheduler.run_now("good", why="to see")
    scheduler.add(fails, name="bad", policy={"retries": 1, "retry_delay": "1s"})
    scheduler.run_now("bad")
    program.advance()
    program.advance(2)
    scheduler.add(late, name="late", policy={"time_limit": "0.1s"})
    scheduler.run_now("late")
    program.settle()
    scheduler.add(gate, every="1m", name="busy")
    program.pass_time(60)
    gate.wait()
    program.pass_time(60)  # the one before is still at work
    gate.open()
    program.settle()
    scheduler.remove("busy")
    scheduler.add(print, every="1m", name="graced", policy={"grace": "1s"})
    program.advance(90)
    scheduler.hold("good", until=program.now + timedelta(seconds=60), why="lunch")
    program.advance(90)
    scheduler.run_now("good", why="x", while_held=True)
    program.settle()
    scheduler.add(print, name="waits")
    scheduler.hold()
    scheduler.demand("waits")
    scheduler.stop("waits", why="no use")
    scheduler.resume()
    scheduler.reschedule("good", every="2h")
    scheduler.update("good", description="better")
    scheduler.remove("good", why="enough")
    scheduler.remove_all()
    scheduler.stop()
    assert handle.wait(PATIENCE)

    # Then each is told, but for the loss of a process that only a site's runs have, with all that is known of it
    assert {*KINDS} - {event.kind for event in found} == {"RunLost"}
    for kind, facts in OF_A_PROGRAM.items():
        event = next(event for event in found if event.kind == kind)
        assert {name: getattr(event, name) for name in facts} == facts
        assert event.at >= NOON and (event.at - NOON).total_seconds() < 600  # by the program's clock

    # And in the order in which things happen
    lives: dict[str, list[str]] = {}
    for event in found:
        if isinstance(event, RunEvent):
            lives.setdefault(event.schedule, []).append(event.kind)
    assert lives["bad"] == ["RunQueued", "RunStarted", "RunProgressed", "RunRetried", "RunStarted", "RunFailed"]
    assert lives["late"] == ["RunQueued", "RunStarted", "RunTimedOut"]
    assert lives["waits"] == ["RunQueued", "RunStopped"]
    assert [event.at for event in found] == sorted(event.at for event in found)


def test_every_fact_of_runs_and_schedules_is_told_in_a_site(site):
    # Given a site that hears of all
    write(
        site,
        "class Late(Task):",
        "    time_limit = '0.2s'",
        "    def run(self):",
        "        self.progress(1, 2, 'half')",
        "        time.sleep(600)",
        "class Again(Task):",
        "    retries = 1",
        "    retry_delay = '1h'",
        "    def run(self): raise ValueError('no')",
        "class Waits(Task):",
        "    def run(self):",
        "        tell(self)",
        "        wait_at_gate()",
        "class Graced(Task):",
        "    grace = '1s'",
        "    def __init__(self): self.schedule(cron='0 0 1 1 *')",
        "    def run(self): pass",
        "@on(Event)",
        "def all(event): open('events', 'a').write(event.to_json() + '\\n')",
    )
    site.run("load")
    scheduler = Scheduler(site.docroot, by="anna")

    # When all happens that can
    for name in ("Good", "Bad", "Late", "Again"):
        site.run(name)
    scheduler.stop("Again")
    waits = site.start("Waits")
    site.wait_for()
    assert site.run("Waits").returncode == 75
    waits.send_signal(signal.SIGKILL)
    waits.communicate()
    site.wait_for_silence()
    site.make_due("Graced")
    scheduler.hold("Good", why="lunch")
    scheduler.resume("Good")
    scheduler.hold()
    scheduler.resume()
    scheduler.reschedule("Good", every="2h")
    scheduler.skip_next("Good")
    scheduler.add("Good", every="1h", name="extra")
    scheduler.remove_all(why="enough")
    site.due()
    site.due()

    # Then each is told, but for what only a program has, and all that is known of it
    found = [event_from_json(line) for line in (site.docroot / "events").read_text().splitlines()]
    of_a_program = {kind for kind in KINDS if kind.startswith(("Store", "Launcher"))}
    assert {*KINDS} - {event.kind for event in found} == of_a_program | {"SchedulerStarted", "SchedulerStopped"}
    for kind, facts in OF_A_SITE.items():
        event = next(event for event in found if event.kind == kind)
        assert {name: getattr(event, name) for name in facts} == facts
    assert waiting(site) == 0
