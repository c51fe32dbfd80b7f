"""Whatever dies, fills up or vanishes: nothing runs twice, nothing is lost, nothing is left over."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import NOON, a_run, a_state, an_outcome
from sites import PATIENCE, Site, until

import dracotask
from dracotask import failpoints
from dracotask.run.outcome import from_lines
from dracotask.run.supervisor import Bell, hold_run_lock, leave_outcome, release_run_lock, ring
from dracotask.stores.memory import MemoryStore

#: Each task that tells of its start, and some that wait for us.
TELLING = """\
class Work(Task):
    def __init__(self):
        self.schedule(every="1s")

    def run(self):
        tell(self)
        return "done"
"""

WAITING = """\
class Work(Task):
    def __init__(self):
        self.schedule(cron="0 0 1 1 *")

    def run(self):
        tell(self)
        wait_at_gate()
        print("through the gate")
        return "done"
"""


def task(name: str, *body: str, schedule: str = 'cron="0 0 1 1 *"') -> str:
    """Return the text of a task whose ``run`` has these lines."""
    head = [f"class {name}(Task):", "    def __init__(self):", f"        self.schedule({schedule})"]
    return "\n".join([*head, "    def run(self):", *(f"        {line}" for line in ("tell(self)", *body)), ""])


# -- kill -9 at every point ------------------------------------------------------------------

#: What becomes of the Run when somebody dies at a point of a tick, and how often its work began.
AFTER_DEATH = {
    "tick_locked": ("succeeded", 1),
    "load_forked": ("succeeded", 1),
    "load_reported": ("succeeded", 1),
    "load_adopted": ("succeeded", 1),
    "tick_claimed": ("succeeded", 1),
    "tick_swept": ("succeeded", 1),
    "supervisor_forked": ("succeeded", 1),
    "body_forked": ("failed", 0),
    "run_locked": ("succeeded", 1),
    "run_taken": ("lost", 0),
    "body_started": ("lost", None),  # the body may have begun, or not
    "work_done": ("failed", 1),
    "work_reported": ("failed", 1),
    "outcome_known": ("lost", 1),
    "outcome_recorded": ("succeeded", 1),
    "tick_launched": ("succeeded", 1),
}

#: Points that a plain run passes by; they have tests of their own.
ELSEWHERE = {"run_given_back", "outcome_left", "listener_begins", "alert_sent"}


def test_every_point_in_the_code_is_documented_and_has_a_test():
    package = Path(dracotask.__file__).parent
    in_code = {name for path in package.rglob("*.py") for name in re.findall(r'\breach\("(\w+)"\)', path.read_text())}
    documented = set(re.findall(r"^([a-z_]+)  +[a-z]", failpoints.__doc__ or "", re.MULTILINE))

    assert in_code == documented == {*AFTER_DEATH, *ELSEWHERE}


@pytest.mark.parametrize("point", AFTER_DEATH)
def test_a_death_in_a_tick_costs_at_most_the_run_at_hand(site, point):
    # Given a schedule with a due fire time, and, where a load is to die, a task file that has changed
    site.write(TELLING)
    site.due()
    site.make_due("Work")
    if point.startswith("load"):
        site.write(TELLING, "# changed")

    # When a process dies at that point
    site.run("due", env={"DRACOTASK_FAILPOINT": point})
    site.wait_for_silence()
    if point == "load_forked":  # of a file that kills whoever loads it, more is not to be expected
        assert site.problem() == "the file killed the process that loaded it (signal 9)."
        site.let_a_minute_pass()

    # Then the second tick after it at the latest has the outcome on record
    site.due()
    site.due()
    # (On a slow machine the claim may be of two fire times, of which one is passed over.)
    first = next(run for run in site.runs("Work") if run.state != "skipped")
    state, starts = AFTER_DEATH[point]
    assert (first.state, first.finished_at is not None) == (state, True)
    begun = [told for told in site.told("start") if told.run_id == first.id]
    assert len(begun) == starts if starts is not None else len(begun) <= 1

    # And later fire times run on
    number = len(site.runs(states=["succeeded"]))
    until(lambda: site.due() or len(site.runs(states=["succeeded"])) > number, "the next fire time runs")
    site.assert_nothing_is_left()


@pytest.mark.parametrize(
    "point", ["body_forked", "run_taken", "body_started", "work_done", "outcome_known", "outcome_recorded"]
)
def test_a_death_in_a_command_costs_at_most_its_own_run(site, point):
    # Given a task that has been loaded
    site.write(TELLING)
    site.due()

    # When a process of the command dies
    site.run("Work", env={"DRACOTASK_FAILPOINT": point})
    site.wait_for_silence()

    # Then the next ticks know what became of it
    site.due()
    site.due()
    state, starts = AFTER_DEATH[point]
    first = next(run for run in site.runs("Work") if run.state != "skipped")
    assert first.state == state
    assert starts is None or len([told for told in site.told() if told.run_id == first.id]) == starts

    # And the task runs on
    assert site.run("Work").returncode == 0


def test_a_supervisor_that_dies_with_a_run_given_back_leaves_it_queued(site):
    # Given a queued Run, and a task file that is broken just after the tick has looked at it
    site.write(task("Work"))
    site.due()
    site.make_due("Work")
    program = (
        "from dracotask.launchers.process import ProcessLauncher as Launcher\n"
        "launch = Launcher.launch\n"
        "def broken_first(self, wanted):\n"
        f"    open({str(site.docroot / '__tasks__.py')!r}, 'a').write('def broken(:')\n"
        "    return launch(self, wanted)\n"
        "Launcher.launch = broken_first\n"
        "from dracotask.cli.main import main; main()"
    )

    # When the supervisor dies as soon as the Run waits again
    site.run("due", program=[sys.executable, "-c", program], env={"DRACOTASK_FAILPOINT": "run_given_back"})
    site.wait_for_silence()
    assert [run.state for run in site.runs()] == ["queued"]
    assert "SyntaxError" in site.problem()

    # Then it runs once the file is mended
    site.write(task("Work"))
    site.due()
    assert [(run.state, run.attempt) for run in site.runs()] == [("succeeded", 1)]


def test_a_run_that_is_stopped_before_its_body_could_begin_is_over(site):
    # Given a queued Run, whose task file breaks just after it was taken
    site.write(task("Work"))
    site.due()
    site.make_due("Work")
    program = (
        "from dracotask.run.supervisor import Supervisor\n"
        "from dracotask.control import Control\n"
        "from dracotask.clock import utc_now\n"
        "fresh_body = Supervisor._fresh_body\n"
        "def stopped_meanwhile(self, store, run):\n"
        "    body = fresh_body(self, store, run)\n"
        "    Control(store, by='anna', log=print).stop(run.id, utc_now())\n"
        "    return body\n"
        "take = Supervisor.take\n"
        "def breaking(self, store, run, **facts):\n"
        f"    open({str(site.docroot / '__tasks__.py')!r}, 'a').write('def broken(:')\n"
        "    return take(self, store, run, **facts)\n"
        "Supervisor._fresh_body, Supervisor.take = stopped_meanwhile, breaking\n"
        "from dracotask.cli.main import main; main()"
    )

    # When somebody stops it before the file turns out to be broken
    site.run("due", program=[sys.executable, "-c", program])

    # Then it does not begin once that is mended
    site.write(task("Work"))
    site.due()
    (run,) = site.runs()
    assert (run.state, run.error) == ("stopped", "stopped by anna before it began")
    assert site.told() == []


def test_who_stops_a_run_just_as_it_is_taken_is_heard(tmp_path):
    # Given a Run that has its lock, and a supervisor that has not begun to listen
    state, store = a_state(tmp_path), MemoryStore().open()
    run = a_run()
    held = hold_run_lock(state, run.id)
    begun = store.begin(run, token="mine", host="here", pid=1, now=NOON, limit=1)

    # When somebody stops it
    store.request_stop(run.id, by="anna", why=None, now=NOON)
    ring(state, run.id)

    # Then that is not lost on whoever begins to listen
    assert Bell(store, begun, held).has_rung()
    release_run_lock(state, run.id, held)


def test_a_run_that_nobody_stops_asks_its_store_nothing(tmp_path):
    state, run = a_state(tmp_path), a_run()
    held = hold_run_lock(state, run.id)
    assert not Bell(None, run, held).has_rung()  # type: ignore[arg-type]
    release_run_lock(state, run.id, held)


def test_of_two_outcomes_left_in_one_lock_file_the_later_counts_whole(tmp_path):
    # Given the outcome of a first attempt, which was left although the store had it after all
    state, run = a_state(tmp_path), a_run(token="second")
    held = hold_run_lock(state, run.id)
    first = an_outcome(state="failed", error="ConnectionError: " + "gone " * 50, exit_code=1)
    leave_outcome(held, run.but(token="first"), first, NOON)

    # When that of the second is left
    second = an_outcome(state="succeeded", summary="done")
    leave_outcome(held, run, second, None)

    # Then nothing of the first is read
    assert from_lines(os.pread(held, 1 << 16, 0).decode(), run) == (second, None)
    release_run_lock(state, run.id, held)


# -- The supervisor dies ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        "wait_at_gate()",
        "sum(range(10**13))",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); wait_at_gate()",
    ],
    ids=["waiting", "in C code with the GIL", "deaf to all signals"],
)
@pytest.mark.parametrize("how", ["due", "Work"])
def test_a_body_dies_with_its_supervisor(site, how, work):
    # Given a run at work
    site.write(task("Work", work))
    site.due()
    site.make_due("Work")
    started = site.start(how)
    body = site.wait_for("start").pid

    # When its supervisor is killed
    os.kill(site.last_run().pid, signal.SIGKILL)
    started.communicate(timeout=PATIENCE)

    # Then the body is gone, nothing is locked, and the next tick says so
    until(lambda: not site.is_alive(body), "the body dies")
    assert site.locks_held() == []
    site.due()
    run = site.last_run()
    assert (run.state, run.error) == ("lost", "its supervisor died: killed, or the host went down")


def test_a_body_that_is_still_loading_dies_with_its_supervisor(site):
    # Given a task file that hangs in C code when it is loaded for a run, but not when it is loaded for its schedules
    site.write("import sys", "if sys.argv[-1] != 'load': sum(range(10**13))", task("Work"))
    site.due()
    site.make_due("Work")
    tick = site.start("due")
    run = until(lambda: next(iter(site.runs(states=["running"])), None), "a run is taken")

    # When its supervisor is killed
    os.kill(run.pid, signal.SIGKILL)
    tick.communicate(timeout=PATIENCE)

    # Then nobody goes on
    site.wait_for_silence()
    site.write(task("Work"))
    site.due()
    assert site.the_run(run.id).state == "lost"


def test_a_body_that_kills_its_supervisor_is_lost_and_no_more(site):
    site.write(task("Work", "import os, time", "os.kill(os.getppid(), 9)", "time.sleep(3600)"))
    site.due()
    site.make_due("Work")

    site.run("due")
    site.due()

    assert [run.state for run in site.runs()] == ["lost"]


# -- The store does not answer ---------------------------------------------------------------


@contextmanager
def locked_store(site: Site) -> Iterator[None]:
    """Hold the store as another process would that writes for very long."""
    connection = sqlite3.connect(site.state.store_file, isolation_level=None, timeout=PATIENCE)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


#: How long (seconds) the store is held: less than SQLite's patience, and more.
HELD = [8, pytest.param(35, marks=pytest.mark.long)]


@pytest.mark.parametrize("seconds", HELD)
def test_an_outcome_waits_for_a_locked_store(site, seconds):
    # Given a run that ends while somebody holds the store
    site.write(WAITING)
    site.due()
    site.make_due("Work")
    tick = site.start("due")
    body = site.wait_for("start").pid
    with locked_store(site):
        site.open_gate()
        until(lambda: not site.is_alive(body), "the body ends")
        with pytest.raises(subprocess.TimeoutExpired):
            tick.wait(seconds)
        assert site.last_run().state == "running"

    # When the store is free again
    assert tick.wait(PATIENCE) == 0

    # Then the outcome is on record
    assert (site.last_run().state, site.last_run().summary) == ("succeeded", "done")
    tick.communicate()


@pytest.mark.parametrize("seconds", [8, pytest.param(25, marks=pytest.mark.long)])
def test_what_is_due_while_the_store_is_locked_runs_late_and_is_not_lost(site, seconds):
    # Given a due fire time, and a store that is held
    site.write(task("Work"))
    site.due()
    site.make_due("Work")
    fire_time = site.schedule("Work").next_fire_time

    # When a tick comes
    with locked_store(site):
        tick = site.start("due")
        with pytest.raises(subprocess.TimeoutExpired):
            tick.wait(seconds)

    # Then it does its work afterwards
    assert tick.communicate(timeout=PATIENCE) == ("", "")
    assert [(run.state, run.fire_time) for run in site.runs()] == [("succeeded", fire_time)]


#: A tick whose supervisor gives a store that does not answer up at once.
IMPATIENT = """\
import dracotask.run.supervisor
from dracotask.stores.sqlite import SQLiteStore
dracotask.run.supervisor.RECORD_PATIENCE = 0.1
SQLiteStore.__init__.__kwdefaults__["patience"] = 0.2
from dracotask.cli.main import main
main()
"""


@pytest.mark.parametrize("point", ["", "outcome_left"])
def test_an_outcome_that_cannot_be_recorded_waits_in_the_lock_file(site, point):
    # Given a run that ends while the store is held for longer than its supervisor waits
    site.write(WAITING)
    site.due()
    site.make_due("Work")
    tick = site.start("due", program=[sys.executable, "-c", IMPATIENT], env={"DRACOTASK_FAILPOINT": point})
    site.wait_for("start")
    with locked_store(site):
        site.open_gate()
        tick.communicate(timeout=PATIENCE)
        assert site.last_run().state == "running"

    # When the next tick sweeps
    site.due()

    # Then it is not taken for lost
    run = site.last_run()
    assert (run.state, run.summary, run.exit_code) == ("succeeded", "done", 0)
    assert not Path(site.state.run_lock(run.id)).exists()


# -- The disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"NO SMALL DISK WAS TO BE HAD: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Write until there is no room for a single byte more."""
    path = folder / "full"
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return path


def test_a_full_disk_costs_output_and_not_the_run(site, small_disk):
    # Given a site whose state lies on a small disk, and a run at work
    site.put("dracotask.toml", f'state = "{small_disk}/state"')
    site.state.path = f"{small_disk}/state"
    site.write(task("Work", "wait_at_gate()", "print('x' * 300_000)", "return 'done'"))
    site.due()
    site.make_due("Work")
    tick = site.start("due")
    body = site.wait_for("start").pid

    # When the disk fills up, and the run ends
    filling = fill(small_disk)
    site.open_gate()
    until(lambda: not site.is_alive(body), "the body ends")

    # Then its outcome is on record, at the latest when there is room again
    filling.unlink()
    assert tick.communicate(timeout=PATIENCE) == ("", "")
    run = site.last_run()
    assert (run.state, run.summary, run.output_bytes) == ("succeeded", "done", 300_001)
    # And its output is what the disk could take: with no hole in it, and no more than there was
    assert re.fullmatch(r"x*(\n\[dracotask: \d+ bytes left out\]\n)?x*\n?", site.output(run))
    assert len(site.output(run)) <= 300_100


def test_a_tick_on_a_full_disk_says_what_is_wrong_and_loses_nothing(site, small_disk):
    # Given a due fire time, and a disk without room for its claim
    site.put("dracotask.toml", f'state = "{small_disk}/state"')
    site.state.path = f"{small_disk}/state"
    site.write(task("Work"))
    site.due()
    site.make_due("Work")
    for leftover in Path(site.state.path).glob("state.db-*"):
        leftover.unlink()  # its log would have room for a claim
    filling = fill(small_disk)

    # When a tick comes
    ended = site.run("due")

    # Then it says so, and the next one, when there is room again, runs what is due
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "full" in ended.stderr or "No space left" in ended.stderr
    filling.unlink()
    site.due()
    assert [run.state for run in site.runs()] == ["succeeded"]


def test_a_deleted_store_is_built_anew_and_runs_no_old_fire_time_again(site):
    # Given a run at work
    site.write(WAITING)
    site.due()
    site.make_due("Work")
    tick = site.start("due")
    body = site.wait_for("start").pid

    # When the store is deleted under its feet, and the run ends
    os.unlink(site.state.store_file)
    site.open_gate()
    assert tick.communicate(timeout=PATIENCE) == ("", "")
    assert not site.is_alive(body)

    # Then the next tick begins anew: at first sight, so that the old fire time does not run again
    site.due()
    site.due()
    assert [run for run in site.runs() if run.fire_time] == []
    assert len(site.told("start")) == 1

    # And so it does when nothing is at work
    site.make_due("Work")
    for name in ("state.db", "state.db-wal"):
        if os.path.exists(os.path.join(site.state.path, name)):
            os.unlink(os.path.join(site.state.path, name))
    site.due()
    assert site.runs() == []
    assert site.schedule("Work").next_fire_time > site.schedule("Work").watermark


def test_a_new_store_takes_nothing_over_from_the_log_of_a_deleted_one(site):
    # Given a process that died with the store open, so that its write-ahead log is still there
    site.write(task("Work"))
    site.due()
    site.make_due("Work")
    site.run("due", env={"DRACOTASK_FAILPOINT": "outcome_recorded"})
    site.wait_for_silence()

    # When only the database itself is deleted
    os.unlink(site.state.store_file)
    site.due()

    # Then the new one is empty, and sound
    assert site.runs() == []
    with site.store() as store:
        assert store._execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_state_folder_deleted_whole_is_made_again(site):
    # Given a run at work
    site.write(WAITING)
    site.due()
    site.make_due("Work")
    tick = site.start("due")
    site.wait_for("start")

    # When all of the folder goes, and the run ends
    shutil.rmtree(site.state.path)
    site.open_gate()
    tick.communicate(timeout=PATIENCE)

    # Then the next tick makes it again, and a task runs
    site.due()
    assert site.runs() == []
    runner = site.start("Work")
    site.wait_for("start", 2)
    site.open_gate()
    assert runner.communicate(timeout=PATIENCE)[0] == "through the gate\n"
    assert site.last_run().state == "succeeded"


@pytest.mark.parametrize("what", ["due", "Work"])
def test_a_state_folder_that_cannot_be_is_a_clear_error(site, what):
    # Given a state folder below a regular file
    site.put("plain", "")
    site.put("dracotask.toml", 'state = "plain/state"')
    site.write(task("Work"))

    # When anything is asked
    ended = site.run(what)

    # Then it says what is wrong, and what to do
    assert ended.returncode == 2
    words = r"dracotask: The state folder .*/plain/state cannot be \w+: Not a directory\..*\n"
    assert re.fullmatch(words, ended.stderr)
    assert site.told() == []


@pytest.mark.parametrize("what", ["due", "Work"])
def test_a_state_folder_that_may_only_be_read_is_a_clear_error(site, small_disk, what):
    # Given a state folder that was made, on a disk that has turned read-only
    site.put("dracotask.toml", f'state = "{small_disk}/state"')
    site.state.path = f"{small_disk}/state"
    site.write(task("Work"))
    site.due()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    # When anything is asked
    ended = site.run(what)

    # Then it says what is wrong
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("dracotask: ") and ended.stderr.count("\n") == 1
    assert site.told() == []


# -- Many at once ----------------------------------------------------------------------------


def test_of_many_ticks_at_once_one_decides(site):
    # Given a schedule with a due fire time
    site.write(task("Work"))
    site.due()
    site.make_due("Work")

    # When six ticks come at the same time
    ticks = [site.start("due") for _ in range(6)]
    answers = [tick.communicate(timeout=PATIENCE) for tick in ticks]

    # Then it runs once
    assert answers == [("", "")] * 6
    assert [run.state for run in site.runs()] == ["succeeded"]
    assert len(site.told("start")) == 1


class Sampler:
    """Counts bodies at work, as often as it can, in a thread."""

    def __init__(self, site: Site) -> None:
        self.site, self.most, self._over = site, 0, threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.is_set():
            self.most = max(self.most, self._at_work())

    def _at_work(self) -> int:
        """Count the files by which the bodies at work can be told: each is removed at the end of its work."""
        count = 0
        for pid in self.site.processes():
            try:
                links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            except OSError:
                continue
            count += any(link.endswith("/at_work") for link in links)
        return count


FIFTY = """\
def make(number):
    class Work(Task):
        __qualname__ = "Work"

        def __init__(self):
            self.schedule(cron="0 0 1 1 *")

        def run(self):
            with open("at_work", "a"):  # an open file, so that a body at work can be told from /proc
                tell(self)
                tell(self, "end")

    Work.__name__ = f"Work{number}"

for number in range(50):
    make(number)
"""


def test_fifty_due_at_once_keep_to_the_cap_and_all_run(site):
    # Given fifty tasks due at once, and a cap of three
    site.put("dracotask.toml", "max_running = 3\nnice = 0")
    site.write(FIFTY)
    site.due()
    names = [f"Work{number}" for number in range(50)]
    site.make_due(*names)

    # When two ticks come
    with Sampler(site) as sampler:
        ticks = [site.start("due"), site.start("due")]
        answers = [tick.communicate(timeout=PATIENCE) for tick in ticks]

    # Then all have run once, and never more than three at a time
    assert answers == [("", "")] * 2
    assert sorted(run.task for run in site.runs(states=["succeeded"])) == sorted(names)
    assert sampler.most <= 3


def most_overlapping(site: Site) -> int:
    """Return how many runs were at work at once, by what they witnessed themselves."""
    at_work, most = set(), 0
    for told in site.told():
        (at_work.add if told.word == "start" else at_work.discard)(told.pid)
        most = max(most, len(at_work))
    return most


def test_fifty_due_at_once_never_overlap_by_more_than_the_cap(site):
    site.put("dracotask.toml", "max_running = 3\nnice = 0")
    site.write(FIFTY)
    site.due()
    site.make_due(*(f"Work{number}" for number in range(50)))

    site.due()

    assert len(site.told("end")) == 50
    assert most_overlapping(site) <= 3


def test_the_cap_holds_while_supervisors_are_killed(site):
    # Given ten tasks that wait, of which two may run at once
    site.put("dracotask.toml", "max_running = 2")
    names = [f"Work{number}" for number in range(10)]
    site.write(*(task(name, "open('at_work', 'a').write(open('gate').read())") for name in names))
    site.due()
    site.make_due(*names)

    with Sampler(site) as sampler:
        # When the supervisors are killed, again and again, and ticks come to take the rest
        ticks = []
        for round in range(1, 5):
            ticks.append(site.start("due"))
            site.wait_for("start", 2 * round)
            for run in site.runs(states=["running"]):
                os.kill(run.pid, signal.SIGKILL)
            until(lambda: not site.locks_held(), "all locks are free")
        for tick in ticks:
            tick.communicate(timeout=PATIENCE)
        last = site.start("due")
        site.wait_for("start", 10)
        # They may come to the gate one after the other.
        until(lambda: not site.active() or (site.push_gate() and False), "the last two end")
        last.communicate(timeout=PATIENCE)

    # Then what was killed is lost, the rest is done, and never were there more than two at work
    assert sorted(run.state for run in site.runs()) == ["lost"] * 8 + ["succeeded"] * 2
    assert sampler.most <= 2
