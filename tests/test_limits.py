"""A body is held in its bounds, and whatever it does, its outcome says what happened."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sites import PATIENCE, SCRIPT, Site, until

from dracotask.clock import utc_now
from dracotask.model import Run
from dracotask.run.family import Family, strangers_among_us
from dracotask.run.limits import MARK as RUN_MARK
from dracotask.run.output import MARK
from dracotask.run.supervisor import ring

LIMIT = GRACE = 0.4


def write_task(site: Site, *body: str, **policy: Any) -> None:
    """Write a task Work whose ``run`` has these lines, and whose class says this of its policy."""
    site.write(
        "import os, signal, subprocess, sys, threading, time",
        "from dracotask import Stopped, TimedOut",
        "class Work(Task):",
        *(f"    {key} = {value!r}" for key, value in {"stop_grace": GRACE, **policy}.items()),
        "    def run(self):",
        "        tell(self)",
        *("        " + line for line in body),
    )


def run_work(site: Site) -> tuple[Run, subprocess.CompletedProcess[str]]:
    """Run the task to its end; return its Run and how the command ended."""
    ended = site.run("Work")
    return site.last_run(), ended


def stop(site: Site) -> None:
    """Ask, as an operator would, that the run be stopped."""
    with site.store() as store:
        assert store.request_stop(site.told()[0].run_id, by="alice", why="it is late", now=utc_now())
    ring(site.state, site.told()[0].run_id)


# -- Limits and stops ------------------------------------------------------------------------

#: What tells of the exception, and goes on to its end.
POLITE = [
    "try:",
    "    wait_at_gate()",
    "except BaseException as error:",
    "    tell(self, type(error).__name__)",
    "    raise",
]

DEAF = {
    "ignoring TERM": ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "while True: signal.pause()"],
    "blocking all signals": ["signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())", "wait_at_gate()"],
    "in C code with the GIL": ["sum(range(10**13))"],
    "stopped by itself": ["os.kill(os.getpid(), signal.SIGSTOP)"],
    "swallowing the exception": ["try:", "    wait_at_gate()", "except BaseException:", "    wait_at_gate()"],
    "with the work in a thread": [
        "thread = threading.Thread(target=wait_at_gate)",
        "thread.start()",
        "while True:",
        "    try: thread.join()",
        "    except BaseException: pass",
    ],
}


def time_out(site: Site) -> Run:
    """Run the task into its time limit."""
    run, ended = run_work(site)
    assert ended.returncode == 124
    assert (run.state, run.error[:30]) == ("timed_out", "over its time limit of 0.4s" + run.error[27:30])
    return run


def stop_it(site: Site) -> Run:
    """Run the task until it has begun, and stop it."""
    started = site.start("Work")
    site.wait_for("start")
    stop(site)
    _, words = started.communicate(timeout=PATIENCE)
    run = site.last_run()
    assert started.returncode == 130
    assert words == f"dracotask: Work {run.error.replace('stopped', 'stopped:', 1)}\n"
    assert (run.state, run.error[:28]) == ("stopped", "stopped by alice: it is late")
    return run


@pytest.mark.parametrize("end, error", [(time_out, "TimedOut"), (stop_it, "Stopped")])
def test_a_polite_body_sees_the_exception_and_can_tidy_up(site, end, error):
    write_task(site, *POLITE, "finally:", "    print('tidied')", time_limit=LIMIT if end is time_out else 3600)

    run = end(site)

    assert [told.word for told in site.told()] == ["start", error]
    assert "killed" not in run.error
    assert site.output(run).startswith("tidied\n")
    assert f"dracotask.errors.{error}" in site.output(run)
    assert run.exit_code == 1


@pytest.mark.parametrize("end", [time_out, stop_it])
@pytest.mark.parametrize("body", DEAF.values(), ids=DEAF)
def test_a_deaf_body_is_killed_when_the_grace_is_over(site, end, body):
    write_task(site, *body, time_limit=LIMIT if end is time_out else 3600)

    run = end(site)

    assert run.error.endswith(", killed 0.4s later")
    assert run.exit_code == -9
    # It should be grace + 1 s; a busy machine gets more.
    assert (run.finished_at - run.started_at).total_seconds() < 10 * (LIMIT + GRACE + 1)


def test_the_stack_of_a_deaf_body_is_in_its_output(site):
    write_task(site, "print('begun')", "sum(range(10**13))", time_limit=LIMIT)

    run = time_out(site)

    words = site.output(run)
    assert words.startswith("begun\n")
    assert re.search(r'most recent call first\):\n  File ".*/__tasks__\.py", line \d+ in run\n', words)


@pytest.mark.parametrize("end", [time_out, stop_it])
def test_the_children_of_a_body_end_with_it(site, end):
    # Given a body with children that keep all its descriptors, one in a process group of its own
    write_task(
        site,
        "for own_group in (False, True):",
        "    if os.fork() == 0:",
        "        if own_group: os.setpgid(0, 0)",
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "        tell(self, 'child')",
        "        while True: signal.pause()",
        "wait_at_gate()",
        time_limit=LIMIT if end is time_out else 3600,
    )

    # When it is ended
    end(site)

    # Then nobody is left
    site.wait_for_silence()


#: How a child gets out of sight; each is told of, and stays until somebody ends it.
ESCAPES = {
    "with a session of its own": ["os.setsid()"],
    "orphaned": ["if os.fork(): os._exit(0)"],
    "as a daemon": ["os.setsid()", "if os.fork(): os._exit(0)", "os.chdir('/')", "os.closerange(0, 1000)"],
    "in another program": ["os.setsid()", "if os.fork(): os._exit(0)", "sleep = 'sleep'"],
    "without its environment": ["os.setsid()", "if os.fork(): os._exit(0)", "os.environ.clear()", "sleep = 'sleep'"],
    "with a child of its own": ["os.setsid()", "if os.fork() == 0: os.setsid()"],
}


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("end", [time_out, stop_it])
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_who_slips_away_ends_with_the_run(site, end, escape):
    # Given a body that first of all lets a child slip away, deaf to all that can be ignored
    write_task(
        site,
        "sleep = None",
        "place = os.getcwd()",
        "if os.fork() == 0:",
        *("    " + line for line in escape),
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "    os.chdir(place)",
        "    tell(self, 'away')",
        "    if sleep: os.execvp(sleep, [sleep, '3600'])",
        "    while True: signal.pause()",
        "wait_at_gate()",
        time_limit=3 if end is time_out else 3600,
    )

    # When the run is ended
    started = site.start("Work")
    site.wait_for("away", 2 if escape == ESCAPES["with a child of its own"] else 1)
    if end is stop_it:
        stop(site)
    started.communicate(timeout=PATIENCE)

    # Then its outcome is not on record before all are gone
    assert started.returncode == (130 if end is stop_it else 124)
    assert [told.pid for told in site.told("away") if is_there(told.pid)] == []


def test_where_no_orphan_is_adopted_the_environment_tells_whose_it_is():
    # Given a process that has left its session and its parent, as on a host where nobody adopts
    command = ["sh", "-c", "setsid sleep 3600 >/dev/null & echo $!"]
    started = subprocess.run(command, env={**os.environ, RUN_MARK: "a-run"}, stdout=subprocess.PIPE, text=True)
    pid = int(started.stdout)
    of_nobody = strangers_among_us(0)

    # Then it is none of another run's
    assert Family(1 << 30, "another", of_nobody).living() == []

    # And ends with its own
    until(lambda: Family(1 << 30, "a-run", of_nobody).living() == [pid])
    Family(1 << 30, "a-run", of_nobody).end()
    until(lambda: not is_there(pid) or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())


def test_what_one_run_leaves_behind_on_purpose_outlives_the_stop_of_the_next(site):
    # Given one supervisor for two runs, of which the first leaves daemons behind
    site.put("dracotask.toml", "max_running = 1\n")
    site.write(
        "import os, signal",
        "class First(Task):",
        "    def __init__(self): self.schedule(cron='0 0 1 1 *')",
        "    def run(self):",
        "        tell(self, type(self).__name__)",
        "        for number in range(2):",
        "            if os.fork() == 0:",
        "                if number: os.setsid()",
        "                if os.fork(): os._exit(0)",
        "                tell(self, 'left')",
        "                signal.pause()",
        "class Second(First):",
        "    def run(self):",
        "        tell(self, 'Second')",
        "        wait_at_gate()",
    )
    site.due()
    site.make_due("First", "Second")
    tick = site.start("due")
    site.wait_for("left", 2)
    second = site.wait_for("Second")

    # When the second is stopped
    with site.store() as store:
        assert store.request_stop(second.run_id, by="alice", why=None, now=utc_now())
    ring(site.state, second.run_id)
    tick.communicate(timeout=PATIENCE)

    # Then the daemons are still there
    assert [run.state for run in site.runs()] == ["succeeded", "stopped"]
    left = [told.pid for told in site.told("left")]
    assert [is_there(pid) for pid in left] == [True, True]
    for pid in left:
        os.kill(pid, signal.SIGKILL)


LEAVING = [
    "ready = os.pipe()",
    "if os.fork() == 0:",
    "    os.setsid()",
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "    tell(self, 'child')",
    "    os.close(ready[1])",
    "    while True: signal.pause()",
    "os.close(ready[1])",
    "os.read(ready[0], 1)",
]


def test_a_child_that_holds_the_pipe_does_not_delay_the_outcome(site):
    write_task(site, *LEAVING, "print('last words')", "return 'done'")

    run, ended = run_work(site)

    assert (run.state, run.summary, ended.stdout) == ("succeeded", "done", "last words\n")
    os.kill(site.told("child")[0].pid, signal.SIGKILL)


def test_a_child_that_returns_from_run_does_not_speak_for_the_run(site):
    # Given a task that forks, and whose child comes back from run() first, with another answer
    write_task(site, "child = os.fork()", "if not child: return 'child'", "os.waitpid(child, 0)", "return 'parent'")

    run, _ = run_work(site)

    assert (run.state, run.summary) == ("succeeded", "parent")


def test_a_signal_to_the_supervisor_stops_the_run_and_is_recorded(site):
    write_task(site, *POLITE)
    started = site.start("Work")
    site.wait_for("start")

    started.terminate()
    started.communicate(timeout=PATIENCE)

    assert started.returncode == 130
    assert (site.last_run().state, site.last_run().error) == ("stopped", "stopped by a TERM to its supervisor")


def test_the_end_of_a_terminal_stops_the_run_and_is_recorded(site):
    write_task(site, *POLITE)
    started = site.start("Work")
    site.wait_for("start")

    started.send_signal(signal.SIGHUP)
    started.communicate(timeout=PATIENCE)

    assert started.returncode == 130
    assert site.last_run().state == "stopped"


def test_nohup_is_respected(site):
    write_task(site, "wait_at_gate()")
    started = site.start("Work", program=["nohup", sys.executable, str(SCRIPT)])
    site.wait_for("start")

    started.send_signal(signal.SIGHUP)
    site.open_gate()
    started.communicate(timeout=PATIENCE)

    assert (started.returncode, site.last_run().state) == (0, "succeeded")


def test_a_term_from_elsewhere_is_told_apart(site):
    write_task(site, *POLITE)
    started = site.start("Work")
    os.kill(site.wait_for("start").pid, signal.SIGTERM)

    started.communicate(timeout=PATIENCE)

    assert (site.last_run().state, site.last_run().error) == ("stopped", "stopped by a TERM from outside dracotask")


# -- How a body ends -------------------------------------------------------------------------

ENDS = {
    "os._exit(0)": (0, "ended the process itself with exit code 0 (os._exit?)"),
    "os._exit(3)": (3, "ended the process itself with exit code 3 (os._exit?)"),
    "import ctypes; ctypes.string_at(0)": (-11, "killed by SIGSEGV, a segmentation fault"),
    "os.abort()": (-6, "killed by SIGABRT, it aborted"),
    "os.kill(os.getpid(), 9)": (-9, "killed by SIGKILL (out of memory?)"),
    "sys.exit(3)": (3, "the task called sys.exit(3)"),
    "sys.exit('no money')": (1, "the task called sys.exit('no money')"),
    "sys.exit(256)": (1, "the task called sys.exit(256)"),
    "raise ValueError('no such order')": (1, "ValueError: no such order"),
    "raise ValueError": (1, "ValueError"),
    "raise ValueError('first\\nsecond')": (1, "ValueError: first"),
    "raise KeyboardInterrupt": (1, "KeyboardInterrupt"),
    "raise type('Odd', (BaseException,), {})('one')": (1, "Odd: one"),
    "os.closerange(3, 1000)": (0, "ended the process itself with exit code 0 (os._exit?)"),
    "raise RecursionError('too deep')": (1, "RecursionError: too deep"),
}


@pytest.mark.parametrize("line", ENDS)
def test_a_failure_says_what_happened(site, line):
    write_task(site, line)

    run, ended = run_work(site)

    assert (run.state, run.exit_code, run.error) == ("failed", *ENDS[line])
    assert ended.returncode == 1
    assert ended.stderr == f"dracotask: Work failed: {run.error}\n"
    assert run.cpu_seconds >= 0 and run.peak_memory > 1 << 20 and run.output_bytes == len(site.output(run))


def test_a_body_killed_from_outside_has_failed(site):
    write_task(site, "wait_at_gate()")
    started = site.start("Work")
    os.kill(site.wait_for("start").pid, signal.SIGKILL)

    started.communicate(timeout=PATIENCE)

    assert (site.last_run().state, site.last_run().error) == ("failed", "killed by SIGKILL (out of memory?)")


def test_a_traceback_begins_with_the_task(site):
    write_task(site, "raise ValueError('no such order')")

    run, _ = run_work(site)

    assert re.fullmatch(
        r'Traceback \(most recent call last\):\n  File ".*/__tasks__.py", line \d+, in run\n'
        r"    raise ValueError\('no such order'\)\nValueError: no such order\n",
        site.output(run),
    )


@pytest.mark.parametrize(
    "line, summary",
    [
        ("sys.exit(0)", None),
        ("sys.exit()", None),
        ("return None", None),
        ("return 42", None),
        ("return b'bytes'", None),
        ("return ''", None),
        ("return ' \\n\\n '", None),
        ("return '412 orders'", "412 orders"),
        ("return '\\n first \\nsecond'", "first"),
        ("return 'a\\x1b[31m\\x00\\u202eb'", "a\ufffd[31m\\0\ufffdb"),
        ("return 'x' * 10_000", "x" * 499 + "…"),
        ("return '\\ud800'", "\ufffd"),
        ("raise Skip('nothing to do')", "skipped: nothing to do"),
        ("raise Skip", "skipped"),
    ],
)
def test_a_success_has_a_summary_of_one_line(site, line, summary):
    write_task(site, line)

    run, ended = run_work(site)

    assert (run.state, run.exit_code, run.error) == ("succeeded", 0, None)
    assert re.sub("\ufffd+", "\ufffd", run.summary or "") == (summary or "")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_body_over_its_memory_limit_says_so(site):
    write_task(site, "x = bytearray(1 << 30)", memory_limit="300 MiB")

    run, _ = run_work(site)

    assert (run.state, run.error) == ("failed", "over its memory limit of 300 MiB (MemoryError)")


def test_a_memory_limit_below_what_a_body_has_already_is_a_failure_that_says_so(site):
    write_task(site, "x = bytearray(10 << 20)", memory_limit="1 MiB")

    run, _ = run_work(site)

    assert (run.state, run.error) == ("failed", "over its memory limit of 1 MiB (MemoryError)")


def test_a_memory_limit_beyond_the_one_inherited_is_no_failure(site):
    write_task(site, "pass", memory_limit="8 GiB")

    ended = site.run("Work", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))

    assert (ended.returncode, site.last_run().state) == (0, "succeeded")


#: Children that each have as much memory as they write to.
EATING = [
    "for number in range(3):",
    "    if os.fork() == 0:",
    "        x = b'x' * (100 << 20)",
    "        tell(self, 'full')",
    "        while True: signal.pause()",
]


@pytest.mark.parametrize("away", ["pass", "os.setsid()"])
def test_a_memory_limit_counts_all_processes_of_a_run_together(site, away):
    # Given a limit that each process keeps within, and all together do not
    eating = [*EATING[:2], f"        {away}", *EATING[2:]]
    write_task(site, *eating, "wait_at_gate()", memory_limit="250 MiB")

    # When it is run
    run, _ = run_work(site)

    # Then all are ended
    assert run.state == "failed"
    assert re.fullmatch(r"over its memory limit of 250 MiB \([34] processes together\)", run.error)
    site.wait_for_silence()


def test_memory_that_processes_share_counts_once(site):
    # Given a large piece of memory that children only inherit
    write_task(
        site,
        "x = b'x' * (100 << 20)",
        *(line.replace("x = b'x' * (100 << 20)", "pass") for line in EATING),
        "wait_at_gate()",
        "return 'done'",
        memory_limit="250 MiB",
    )
    started = site.start("Work")
    site.wait_for("full", 3)

    # When it has been looked at several times
    begun = utc_now()
    until(lambda: (utc_now() - begun).total_seconds() > 1)
    site.open_gate()
    started.communicate(timeout=PATIENCE)

    # Then nobody minds
    assert (site.last_run().state, site.last_run().summary) == ("succeeded", "done")
    for told in site.told("full"):
        os.kill(told.pid, signal.SIGKILL)


def test_niceness_is_that_of_all_processes_of_a_run(site):
    site.write(
        "import subprocess",
        "class Work(Task):",
        "    nice = 7",
        "    def __init__(self): self.schedule(cron='0 0 1 1 *')",
        "    def run(self):",
        "        return subprocess.run(['sh', '-c', 'nice'], capture_output=True, text=True).stdout",
    )
    site.due()
    site.make_due("Work")
    site.due()
    assert site.last_run().summary == str(min(os.nice(0) + 7, 19))


def test_a_caller_whose_name_is_no_text_may_run_a_task(site):
    write_task(site, "pass")
    ended = site.run("Work", env={"LOGNAME": os.fsdecode(b"Jos\xe9"), "SUDO_USER": ""})
    assert (ended.returncode, site.last_run().state) == (0, "succeeded")


def test_what_a_run_took_is_on_record(site):
    printing = ["print('out')", "print('err', file=sys.stderr)"]
    write_task(site, "x = bytearray(50 << 20)", "sum(range(3_000_000))", *printing)

    run, _ = run_work(site)

    assert 0 < run.cpu_seconds < 60
    assert 50 << 20 < run.peak_memory < 500 << 20
    assert run.output_bytes == len("out\nerr\n")
    assert site.output(run) == "out\nerr\n"


# -- Output ----------------------------------------------------------------------------------


def peak_memory_of(pid: int) -> int:
    """Return the most memory that a process has had, in kilobytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])


def test_of_a_gigabyte_head_and_tail_are_kept(site):
    # Given a task that prints a gigabyte, numbered by megabytes
    write_task(
        site,
        "with open(1, 'wb', closefd=False) as out:",
        "    for number in range(1000): out.write(b'%010d' % number * 100_000)",
        "tell(self, 'printed')",
        "wait_at_gate()",
    )
    started = site.start("due")
    started.communicate(timeout=PATIENCE)
    started = site.start("Work", stdout=subprocess.DEVNULL)
    site.wait_for("printed")

    # When it has printed it all
    supervisor = site.last_run().pid
    assert peak_memory_of(supervisor) < 60_000
    site.open_gate()
    started.communicate(timeout=PATIENCE)

    # Then a mebibyte of it is kept, from both ends, and all is counted
    run = site.last_run()
    half = 1 << 19
    assert run.output_bytes == 10**9
    head, tail = b"%010d" % 0 * 100_000, b"%010d" % 999 * 100_000
    kept = Path(site.state.output_file(run.id)).read_bytes()
    assert kept == head[:half] + MARK % (10**9 - 2 * half) + tail[-half:]


def test_one_line_of_a_hundred_megabytes_is_cut_like_any_other(site):
    write_task(site, "with open(1, 'wb', closefd=False) as out: out.write(b'x' * 10**8)", max_output=1000)

    site.run("Work", stdout=subprocess.DEVNULL)

    run = site.last_run()
    assert run.output_bytes == 10**8
    assert Path(site.state.output_file(run.id)).read_bytes() == b"x" * 500 + MARK % (10**8 - 1000) + b"x" * 500


def test_c_code_that_prints_with_the_gil_held_is_drained(site):
    write_task(site, "import ctypes; libc = ctypes.PyDLL(None)", "libc.puts(b'x' * 200_000)", "libc.fflush(None)")

    run, ended = run_work(site)

    assert (run.state, run.output_bytes, len(ended.stdout)) == ("succeeded", 200_001, 200_001)


def test_any_bytes_are_kept_as_they_are(site):
    write_task(site, "os.write(1, bytes(range(256)))")
    site.due()

    site.run("Work", stdout=subprocess.DEVNULL)

    assert Path(site.state.output_file(site.last_run().id)).read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    "line", ["os.close(1); os.close(2)", "sys.stdout.close(); sys.stderr.close()", "sys.stdout = None"]
)
def test_a_body_may_close_its_output(site, line):
    write_task(site, "print('before')", line, "return 'done'")

    run, _ = run_work(site)

    assert (run.state, run.summary, site.output(run)) == ("succeeded", "done", "before\n")


def test_a_listener_that_goes_away_costs_only_what_it_would_have_heard(site):
    # Given a command whose output somebody reads no longer
    write_task(site, "print('one')", "wait_at_gate()", "print('two' * 100_000)", "return 'done'")
    started = site.start("Work")
    site.wait_for("start")
    assert started.stdout.readline() == "one\n"
    started.stdout.close()

    # When the task goes on
    site.open_gate()
    started.stderr.read()
    started.wait(PATIENCE)

    # Then the run is as if nothing were
    assert (site.last_run().state, site.last_run().output_bytes) == ("succeeded", len("one\n") + 300_001)


def two_due_one_at_work(site: Site) -> subprocess.Popen[str]:
    """Return the tick of a site with one slot, whose first task waits at the gate and the second in the queue."""
    site.put("dracotask.toml", "max_running = 1\n[env]\nGREETING = 'ahoj'\n")
    site.write(
        "import os",
        "class First(Task):",
        "    def __init__(self):",
        "        self.schedule(cron='0 0 1 1 *')",
        "    def run(self):",
        "        tell(self)",
        "        wait_at_gate()",
        "        return os.environ['GREETING']",
        "class Second(First):",
        "    pass",
    )
    site.due()
    site.make_due("First", "Second")
    tick = site.start("due")
    site.wait_for("start")
    return tick


def test_a_site_that_is_switched_off_starts_nothing_that_is_queued_already(site):
    # Given one slot, two due tasks, and the first at work
    tick = two_due_one_at_work(site)

    # When the site is switched off, and the first ends
    site.put("dracotask.toml", "enabled = false")
    site.open_gate()
    tick.communicate(timeout=PATIENCE)

    # Then the second waits
    assert sorted(run.state for run in site.runs()) == ["queued", "succeeded"]

    # And runs when the site is on again
    site.put("dracotask.toml", "enabled = true\n[env]\nGREETING = 'ahoj'\n")
    again = site.start("due")
    site.open_gate()
    again.communicate(timeout=PATIENCE)
    assert [run.state for run in site.runs()] == ["succeeded", "succeeded"]


def test_a_change_of_the_environment_reaches_the_next_run_of_a_busy_supervisor(site):
    # Given one slot, two due tasks, and the first at work
    tick = two_due_one_at_work(site)

    # When the environment is changed and taken over
    site.put("dracotask.toml", "max_running = 1\n[env]\nGREETING = 'hello'\n")
    site.due()
    site.open_gate()
    site.wait_for("start", 2)
    site.open_gate()
    tick.communicate(timeout=PATIENCE)

    # Then the second run has it
    assert sorted(str(run.summary) for run in site.runs()) == ["ahoj", "hello"]


# -- What a body finds around it -------------------------------------------------------------

LOOK_AROUND = """\
import json, os, sys

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith(name))

FIRST_PATH = sys.path[0]

class Work(Task):
    def run(self):
        print("čtyři ✓")
        names = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
        facts = {
            "fds": {name: os.readlink(f"/proc/self/fd/{name}") for name in names},
            "is_leader": os.getsid(0) == os.getpid(),
            "blocked": status("SigBlk"),
            "ignored": status("SigIgn"),
            "cwd": os.getcwd(),
            "path": FIRST_PATH,
            "nice": os.nice(0),
            "env": dict(os.environ),
            "argv": sys.argv,
            "stdin": sys.stdin.read(),
        }
        with open("facts.aside", "w") as file:
            json.dump(facts, file)
        os.rename("facts.aside", "facts")
"""


LOOK_AROUND_YEARLY = LOOK_AROUND.replace(
    "    def run", "    def __init__(self): self.schedule(cron='0 0 1 1 *')\n\n    def run"
)


def facts_of(site: Site) -> dict[str, Any]:
    return dict(json.loads(until(lambda: (site.docroot / "facts").exists() and (site.docroot / "facts").read_text())))


def bit(number: int) -> int:
    return 1 << number - 1


def test_a_body_has_a_clean_house(site):
    # Given a task that looks around
    site.put("dracotask.toml", '[env]\nGREETING = "ahoj"\n')
    site.write(LOOK_AROUND)

    # When it is run by hand
    ended = site.run("Work", env={"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}, encoding="utf-8")
    facts = facts_of(site)

    # Then it has its streams, and what it needs to speak to its supervisor
    assert (ended.returncode, ended.stdout) == (0, "čtyři ✓\n")
    streams = {name: facts["fds"].pop(name) for name in "012"}
    assert streams["0"] == "/dev/null"
    assert streams["1"] == streams["2"] and streams["1"].startswith("pipe:")
    assert all(target.startswith("pipe:") for target in facts["fds"].values()), facts["fds"]
    assert len(facts["fds"]) <= 3
    # And all else
    assert facts["is_leader"] and facts["stdin"] == ""
    assert facts["blocked"] == 0
    assert facts["cwd"] == facts["path"] == str(site.docroot)
    assert facts["nice"] == os.nice(0)
    assert facts["env"]["GREETING"] == "ahoj"
    assert facts["argv"] == ["dracotask.py", str(site.docroot), "Work"]


HOSTILE = """\
import os, signal, sys, threading

for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
port = os.open("/etc/hostname", os.O_RDONLY)
for number in (50, 51, 900):
    os.dup2(port, number, inheritable=True)

def start():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # SIGCHLD is ignored

thread = threading.Thread(target=start)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("what", ["Work", "due"])
def test_a_hostile_parent_leaves_no_trace_in_a_body(site, what):
    # Given a task that looks around
    site.write(LOOK_AROUND_YEARLY)
    site.due()
    site.make_due("Work")

    # When it is started by a thread that blocks every signal, of a process that ignores many and leaves files open
    script = str(Path(__file__).parent.parent / "bin" / "dracotask.py")
    ended = site.run(what, program=[sys.executable, "-c", HOSTILE, script])

    # Then it sees nothing of all that
    assert ended.stderr == ""
    facts = facts_of(site)
    assert facts["blocked"] == 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        assert not facts["ignored"] & bit(number)
    assert "/etc/hostname" not in facts["fds"].values()
    assert len(facts["fds"]) <= 6


def test_the_server_leaves_no_variable_to_a_run_and_visitors_come_first(site):
    # Given a due task that looks around, and a server with variables of its own
    site.write(LOOK_AROUND_YEARLY)
    site.due()
    site.make_due("Work")
    servers = {"GUNICORN_CMD_ARGS": "-w 4", "NOTIFY_SOCKET": "/run/x", "LISTEN_FDS": "1", "HTTP_PROXY": "http://evil"}
    program = (
        "import os, sys\n"
        "from dracotask import TaskMiddleware\n"
        "app = TaskMiddleware(lambda environ, start_response: [], sys.argv[1])\n"
        "app({'PATH_INFO': '/', 'wsgi.run_once': True}, print)\n"
        "sys.exit(os.wait()[1])\n"
    )

    # When the server's process starts a tick
    ended = site.run(program=[sys.executable, "-c", program], env={**servers, "DATABASE_URL": "postgres://shop"})

    # Then the run has what people configure by the environment, and nothing of the server's
    assert ended.returncode == 0
    facts = facts_of(site)
    assert not servers.keys() & facts["env"].keys()
    assert facts["env"]["DATABASE_URL"] == "postgres://shop"
    # And it is nicer than whoever serves visitors
    assert facts["nice"] == min(os.nice(0) + 10, 19)
    assert site.last_run().origin == "request"


def test_a_reader_that_does_not_read_keeps_neither_limit_nor_record_from_coming(site):
    # Given a task that prints more than a pipe holds, and a listener such as a pager that nobody scrolls
    write_task(site, "while True: print('x' * 1000)", time_limit=1)
    theirs, ours = os.pipe()

    # When it is run by hand
    process = site.start("Work", stdout=ours)
    os.close(ours)
    site.wait_for("start")

    # Then its limit strikes, and the outcome is on record while the listener still has not read a byte
    until(lambda: site.runs() and site.last_run().state == "timed_out", "the run is timed out")

    # And what was printed still comes to who reads on
    with open(theirs, "rb") as reader:
        assert len(reader.read()) >= 1 << 16
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 124
