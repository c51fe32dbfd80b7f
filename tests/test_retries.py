"""Retries on a real site: an attempt is a process, and what waits for the next one outlives them all."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from sites import Site, until

from dracotask.clock import utc_now
from dracotask.model import Run

#: A task that fails until its third attempt, and says so.
FLAKY = (
    "class Flaky(Task):",
    "    retries, retry_delay, retry_backoff = 3, '0s', 1",
    "    def run(self):",
    "        tell(self)",
    "        print('attempt', self.current_run.attempt)",
    "        if self.current_run.attempt < 3:",
    "            raise ConnectionError('gone')",
    "        return 'at last'",
)


def let_retry_come(site: Site) -> None:
    """Bring the moment near for which the Run that waits is put off."""
    with site.store() as store:
        moved = store._execute("UPDATE runs SET not_before = ? WHERE not_before IS NOT NULL", (_a_minute_ago(),))
        assert moved.rowcount == 1
    site.state.look_now()


def _a_minute_ago() -> str:
    return (utc_now() - timedelta(minutes=1)).isoformat(timespec="microseconds")


def demanded(site: Site, task: str) -> None:
    ended = site.run("demand", task)
    assert ended.returncode == 0, ended.stderr


def waiting(site: Site) -> Run:
    """Return the one Run that waits for its retry."""
    (run,) = site.runs(states=["queued"])
    assert run.not_before is not None
    return run


def history(run: Run) -> list[tuple[int, str, str]]:
    return [(each["attempt"], each["state"], each["error"]) for each in json.loads(run.attempts or "[]")]


def test_a_failed_run_is_tried_until_it_succeeds(site):
    # Given a task that needs three attempts
    site.write(*FLAKY)
    site.run("load")

    # When it is demanded, and ticks come
    demanded(site, "Flaky")
    for _ in range(3):
        site.due()

    # Then it is one Run, with each attempt on record
    (run,) = site.runs()
    assert (run.state, run.attempt, run.summary, run.error) == ("succeeded", 3, "at last", None)
    assert history(run) == [(1, "failed", "ConnectionError: gone"), (2, "failed", "ConnectionError: gone")]
    assert [told.attempt for told in site.told("start")] == ["1", "2", "3"]


def test_each_attempt_has_its_own_output_and_log_prints_them_in_order(site):
    site.write(*FLAKY)
    site.run("load")
    demanded(site, "Flaky")
    for _ in range(3):
        site.due()
    (run,) = site.runs()

    printed = site.run("log", run.id).stdout

    heads = [line for line in printed.splitlines() if line.startswith(("---", "attempt", "Connection"))]
    assert heads == [
        "--- attempt 1 ---", "attempt 1", "ConnectionError: gone",
        "--- attempt 2 ---", "attempt 2", "ConnectionError: gone",
        "--- attempt 3 ---", "attempt 3",
    ]  # fmt: skip
    names = sorted(name for name in os.listdir(site.state.runs_folder) if name.endswith(".log"))
    assert names == [f"{run.id}.2.log", f"{run.id}.3.log", f"{run.id}.log"]


def test_what_waits_is_told_wherever_one_looks(site):
    # Given a run that waits for its second retry
    site.write(*FLAKY[:1], "    retries, retry_delay = 3, '1h'", *FLAKY[2:])
    site.run("load")
    demanded(site, "Flaky")
    site.due()
    let_retry_come(site)
    site.due()
    run = waiting(site)

    # Then each command says so
    assert "retry 2 of 3 at " in site.run("list").stdout
    assert "retry 2 of 3 at " in site.run("runs").stdout
    shown = site.run("show", "Flaky").stdout
    assert "after: ConnectionError: gone" in shown
    assert "tried again 3 times, after 1h, each time 2 times as late up to 1h" in shown
    (listed,) = json.loads(site.run("list", "--json").stdout)
    assert listed["next_retry"] == json.loads(site.run("show", "Flaky", "--json").stdout)["next_retry"]
    assert listed["next_retry"] == run.not_before.isoformat().replace("+00:00", "Z")
    (as_json,) = json.loads(site.run("runs", "--json").stdout)
    assert [each["attempt"] for each in as_json["attempts"]] == [1, 2]

    # And the next look is for that moment
    assert site.run("stop", "Flaky").returncode == 0
    assert site.last_run().state == "stopped"


def test_the_next_look_is_for_the_retry(site):
    site.write(*FLAKY[:1], "    retries, retry_delay = 3, '30s'", *FLAKY[2:])
    site.run("load")
    demanded(site, "Flaky")
    site.due()
    site.due()
    looked_for = os.stat(site.state.next_file).st_mtime
    assert abs(looked_for - waiting(site).not_before.timestamp()) < 0.001
    site.run("stop", "Flaky")


def test_by_hand_a_failure_says_that_its_retry_follows(site):
    # Given a task with retries
    site.write(*FLAKY)
    site.run("load")

    # When somebody runs it by hand
    ended = site.run("Flaky")

    # Then the command has failed, and says who goes on
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("dracotask: Flaky failed: ConnectionError: gone; retry 1 of 3 in ")
    assert ended.stderr.endswith(", by whoever looks then\n")

    # And a tick does
    site.due()
    site.due()
    assert site.last_run().state == "succeeded"


def test_a_retry_outlives_the_kill_of_its_supervisor(site):
    # Given an attempt at work, after one that failed
    site.write(
        "class Long(Task):",
        "    retries, retry_delay, on_lost = 3, '1h', 'retry'",
        "    def run(self):",
        "        tell(self)",
        "        if self.current_run.attempt == 1:",
        "            raise OSError('no such host')",
        "        if self.current_run.attempt == 2:",
        "            wait_at_gate()",
    )
    site.run("load")
    demanded(site, "Long")
    site.due()
    let_retry_come(site)
    tick = site.start("due")
    site.wait_for("start", 2)

    # When its supervisor is killed as kill -9 does
    (run,) = site.active()
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: tick.poll() is not None, "the tick ends")
    until(lambda: not site.is_alive(site.told("start")[1].pid), "the body ends with it")
    site.due()

    # Then the Run waits for its third attempt
    lost = waiting(site)
    assert (lost.id, lost.attempt) == (run.id, 2)
    assert [state for _, state, _ in history(lost)] == ["failed", "lost"]

    # And is tried again by whoever comes
    let_retry_come(site)
    site.due()
    assert (site.last_run().state, site.last_run().attempt) == ("succeeded", 3)


def test_a_lost_run_is_on_record_where_nobody_wants_another(site):
    site.write("class Long(Task):", "    retries = 3", "    def run(self):", "        tell(self); wait_at_gate()")
    site.run("load")
    command = site.start("Long")
    site.wait_for("start")
    command.kill()
    command.wait()
    until(lambda: not site.is_alive(site.told("start")[0].pid), "the body ends with it")
    site.due()
    assert (site.last_run().state, site.last_run().attempts) == ("lost", None)


@pytest.mark.parametrize(
    ("point", "state"), [
        ("run_taken", "lost"), ("body_started", "lost"), ("outcome_known", "lost"),
        ("outcome_recorded", "failed"),
    ],
)  # fmt: skip
def test_wherever_a_supervisor_dies_the_run_goes_on_once(site, point, state):
    # Given a task that fails at first, and a supervisor that dies before or after it has recorded that
    site.write(
        "class Flaky(Task):",
        "    retries, retry_delay, on_lost = 3, '0s', 'retry'",
        "    def run(self):",
        "        tell(self)",
        "        if self.current_run.attempt == 1:",
        "            raise OSError('no such host')",
    )
    site.run("load")
    demanded(site, "Flaky")
    site.run("due", env={"DRACOTASK_FAILPOINT": point})
    site.wait_for_silence()

    # When others come by
    for _ in range(3):
        site.due()

    # Then no attempt was begun twice, and the last one is the end
    (run,) = site.runs()
    assert run.state == "succeeded"
    assert [made for _, made, _ in history(run)] == [state]


def test_a_task_that_kills_its_supervisor_every_time_comes_to_an_end(site):
    # Given a task that takes its supervisor with it, and is to be tried again when it is lost
    site.write(
        "class Killer(Task):",
        "    retries, retry_delay, on_lost = 1, '0s', 'retry'",
        "    def run(self):",
        "        tell(self)",
        "        os.kill(os.getppid(), 9)",
        "        wait_at_gate()",
    )
    site.run("load")
    demanded(site, "Killer")

    # When as many ticks come as there could be attempts, and two more
    for _ in range(4):
        site.due()
        site.wait_for_silence()

    # Then it was begun twice, and no more
    (run,) = site.runs()
    assert (run.state, run.attempt, len(site.told("start"))) == ("lost", 2, 2)


def test_a_task_that_takes_too_long_is_tried_again(site):
    site.write(
        "import time",
        "class Slow(Task):",
        "    time_limit, stop_grace, retries, retry_delay = 0.3, 0.2, 1, '0s'",
        "    retry_on = 'TimedOut'",
        "    def run(self):",
        "        tell(self)",
        "        while self.current_run.attempt == 1: time.sleep(0.01)",
    )
    site.run("load")
    demanded(site, "Slow")
    site.due()
    site.due()
    (run,) = site.runs()
    assert (run.state, [state for _, state, _ in history(run)]) == ("succeeded", ["timed_out"])


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        ("ConnectionResetError()", True),  # which is an OSError
        ("shop.Busy('the till')", True),
        ("shop.Calm('the till')", False),
        ("KeyError('x')", False),
        ("SystemExit(3)", False),
    ],
)
def test_only_named_exceptions_are_tried_again(site, error, is_retried):
    site.put("shop.py", "class Busy(Exception): pass\nclass Calm(Exception): pass\n")
    site.write(
        "import shop",
        "class Shop(Task):",
        "    retries, retry_on = 1, [OSError, 'shop.Busy']",
        "    def run(self):",
        f"        raise {error}",
    )
    site.run("load")
    demanded(site, "Shop")
    site.due()
    assert site.last_run().state == ("queued" if is_retried else "failed")


def test_a_task_asks_for_another_attempt_itself_and_has_no_traceback(site):
    # Given a task without retries that waits for a file
    site.write(
        "from dracotask import Retry",
        "class Import(Task):",
        "    def run(self):",
        "        tell(self)",
        "        if not os.path.exists('feed.csv'):",
        "            raise Retry('no feed yet', after='10m')",
    )
    site.run("load")
    demanded(site, "Import")
    site.due()

    # When the file is there at the next attempt
    run = waiting(site)
    assert site.run("log", "Import").stdout == "The task asks to be tried again: no feed yet.\n"
    output = site.output(run)
    (site.docroot / "feed.csv").write_text("")
    let_retry_come(site)
    site.due()

    # Then it was asked for in a word, and came as it was asked for
    assert output == "The task asks to be tried again: no feed yet.\n"
    assert run.error == "asked to be tried again: no feed yet"
    finished = json.loads(run.attempts)[0]["finished_at"]
    assert run.not_before.isoformat() > finished
    assert (site.last_run().state, site.last_run().attempt) == ("succeeded", 2)


def test_a_retry_that_makes_no_sense_is_a_failure(site):
    site.write("from dracotask import Retry", "class Import(Task):", "    def run(self): raise Retry(after='soon')")
    assert site.run("Import").returncode == 1
    run = site.last_run()
    assert (run.state, run.attempts) == ("failed", None)
    assert run.error.startswith("ValueError: 'soon' is not a length of time")


def test_old_attempts_leave_no_file_behind(site):
    # Given a task of which one Run is kept, and a Run of three attempts
    site.write(*FLAKY[:1], "    keep_runs = 1", *FLAKY[1:])
    site.run("load")
    for _ in range(2):
        demanded(site, "Flaky")
        for _ in range(3):
            site.due()
    first, last = site.runs()

    # When history has had its time
    with site.store() as store:
        store.put_note("pruned_at", None)
    site.due()

    # Then the files of each attempt are gone
    assert [run.id for run in site.runs()] == [last.id]
    left = {path.name.partition(".")[0] for path in Path(site.state.runs_folder).iterdir()}
    assert first.id not in left and last.id in left


def test_a_slip_of_the_pen_in_a_policy_is_refused_with_the_right_name(site):
    # Given attributes of which one can only be meant for a policy
    own = "    trace, grade, retried, retry_at, priorities = 1, 'A', False, None, ['low']"
    site.write("class Import(Task):", own, "    time_limt = '10m'", "    def run(self): pass")
    ended = site.run("load")
    assert ended.returncode == 2
    assert "line 3: class Import: time_limt = '10m' is no policy. Did you mean time_limit?" in ended.stderr


def test_letters_in_another_order_are_a_slip_of_the_pen(site):
    site.write("class Import(Task):", "    retires = 3", "    def run(self): pass")
    assert "retires = 3 is no policy. Did you mean retries?" in site.run("load").stderr


def test_after_too_many_failures_the_site_says_who_holds_it(site):
    site.write("class Import(Task):", "    pause_after = 2", "    def run(self): raise OSError('no such host')")
    site.run("load")
    for _ in range(2):
        site.run("Import")
    assert "held by dracotask" in site.run("show", "Import").stdout
    assert "2 failures in a row: OSError: no such host" in site.run("show", "Import").stdout
    assert site.run("resume", "Import").returncode == 0
    assert site.schedule("Import").failures is None
