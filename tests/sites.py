"""A real site for tests: a docroot in a folder, real processes, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from dracotask.clock import to_text, utc_now
from dracotask.model import ACTIVE, Run, Schedule
from dracotask.planning import latest_until
from dracotask.state import State, is_locked
from dracotask.stores.sqlite import SQLiteStore
from dracotask.triggers import parse_trigger

SCRIPT = Path(__file__).parent.parent / "bin" / "dracotask.py"

#: Ten times what the slowest of these things takes on a busy machine (seconds).
PATIENCE = 60.0

#: Importable from each task file: what a run witnesses of itself, and a gate where it waits for the test.
TOLD = '''\
import os


def tell(task, word="start"):
    run = task.current_run
    line = f"{run.id} {run.attempt} {word} {os.getpid()}\\n".encode()
    descriptor = os.open("witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line)
    os.fsync(descriptor)
    os.close(descriptor)


def wait_at_gate():
    """Wait until the test lets us through; it ends in error when nobody ever will."""
    with open("gate") as gate:
        gate.read()
'''


def until(holds: Callable[[], Any], what: str = "", *, patience: float = PATIENCE) -> Any:
    """Return what ``holds`` returns as soon as that is true."""
    end = time.monotonic() + patience
    while not (found := holds()):
        assert time.monotonic() < end, f"It never came about: {what or holds}"
        time.sleep(0.01)
    return found


class Witness:
    """One line of the witness file."""

    def __init__(self, line: str) -> None:
        self.run_id, self.attempt, self.word, pid = line.split(" ")
        self.pid = int(pid)


class Site:
    """A docroot with its processes, which all carry a mark of the test."""

    def __init__(self, docroot: Path, state: Path | None = None) -> None:
        self.docroot, self.mark = docroot, uuid.uuid4().hex
        self.state = State(str(docroot), str(state) if state else None)
        docroot.mkdir(exist_ok=True)
        self._started: list[subprocess.Popen[str]] = []
        (docroot / "told.py").write_text(TOLD)
        os.mkfifo(docroot / "gate")

    def write(self, *lines: str, head: str = "from dracotask import Skip, Task\nfrom told import *\n") -> Path:
        """Write the task file, after the imports that every one needs."""
        return self.put("__tasks__.py", head + "\n".join(lines) + "\n")

    def put(self, name: str, text: str) -> Path:
        """Save a file of the docroot as careful editors do: aside, then in its place."""
        path = self.docroot / name
        aside = path.with_suffix(".aside")
        aside.write_text(text)
        aside.rename(path)
        return path

    # -- Its processes ---------------------------------------------------------------------

    def start(self, *arguments: str, program: list[str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start ``dracotask.py DOCROOT ARGUMENTS``."""
        environment = {**os.environ, "DRACOTASK_TEST_MARK": self.mark, **options.pop("env", {})}
        command = [*(program or [sys.executable, str(SCRIPT)]), str(self.docroot), *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=environment, text=True, **{**streams, **options})
        self._started.append(process)
        return process

    def run(self, *arguments: str, patience: float = PATIENCE, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``dracotask.py DOCROOT ARGUMENTS`` to its end."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=patience)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def due(self, **options: Any) -> None:
        """Run a tick to its end; all must be well with it."""
        ended = self.run("due", **options)
        assert (ended.returncode, ended.stderr) == (0, "")

    def processes(self) -> list[int]:
        """Return the pids of every process that the test has started, and of theirs."""
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and self.mark.encode() in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                pass  # it has just ended
        return found

    def is_alive(self, pid: int) -> bool:
        return pid in self.processes()

    def wait_for_silence(self) -> None:
        until(lambda: not self.processes(), "all processes end")

    def end_all(self) -> None:
        """Kill whatever is left of the test."""
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for process in self._started:
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()

    # -- Its store -------------------------------------------------------------------------

    @contextmanager
    def store(self) -> Iterator[SQLiteStore]:
        store = SQLiteStore(self.state.store_file).open(create=False)
        with store:
            yield store

    def runs(self, task: str | None = None, **facts: Any) -> list[Run]:
        """Return the history, oldest first."""
        with self.store() as store:
            return store.runs(task=task, limit=None, **facts)[::-1]

    def the_run(self, run_id: str) -> Run:
        with self.store() as store:
            found = store.run(run_id)
        assert found is not None
        return found

    def last_run(self, task: str | None = None) -> Run:
        return self.runs(task)[-1]

    def active(self) -> list[Run]:
        return self.runs(states=ACTIVE)

    def schedule(self, name: str) -> Schedule:
        with self.store() as store:
            found = store.schedule(name)
        assert found is not None
        return found

    def make_due(self, *names: str) -> None:
        """Let the latest fire time of each schedule be unclaimed."""
        with self.store() as store:
            for name in names:
                schedule = store.schedule(name)
                assert schedule is not None and schedule.trigger is not None
                trigger, now = parse_trigger(schedule.trigger), utc_now()
                first = trigger.next_after(now - timedelta(days=400))
                assert first is not None and first <= now
                moved = schedule.but(next_fire_time=latest_until(trigger, first, now))
                assert store.put_schedule(moved)
        self.state.look_now()

    def problem(self) -> str | None:
        with self.store() as store:
            return store.note("problem")

    def let_a_minute_pass(self) -> None:
        """Bring the moment near at which a load that failed is tried again."""
        with self.store() as store:
            assert store.note("retry_at")
            store.put_note("retry_at", to_text(utc_now()))

    def locks_held(self) -> list[str]:
        """Return the locks of the state folder that somebody holds."""
        folder = Path(self.state.path)
        files = [folder / "tick.lock", folder / "load.lock", *folder.glob("slots/*"), *folder.glob("runs/*.lock")]
        return [str(path) for path in files if is_locked(str(path))]

    # -- What its tasks told ---------------------------------------------------------------

    def told(self, word: str | None = None) -> list[Witness]:
        """Return what the tasks have witnessed, in order."""
        try:
            lines = (self.docroot / "witness").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [witness for line in lines if word in (None, (witness := Witness(line)).word)]

    def wait_for(self, word: str = "start", number: int = 1) -> Witness:
        """Wait until a task has told ``word`` so many times."""
        until(lambda: len(self.told(word)) >= number, f"a task tells {word!r}")
        return self.told(word)[number - 1]

    def open_gate(self) -> None:
        """Let the task that waits at the gate through."""
        until(self.push_gate, "a task comes to the gate")

    def push_gate(self) -> bool:
        """Let those through who are at the gate; return whether anybody was."""
        try:
            # Without waiting: there may never be anybody at the gate.
            os.close(os.open(self.docroot / "gate", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def output(self, run: Run) -> str:
        """Return what a run has printed; one that printed nothing has no file."""
        file = Path(self.state.output_file(run.id))
        return file.read_text(errors="replace") if file.exists() else ""

    def assert_started_once(self) -> None:
        """No attempt of any Run was ever started twice."""
        starts = Counter((told.run_id, told.attempt) for told in self.told("start"))
        assert set(starts.values()) <= {1}

    def assert_nothing_is_left(self) -> None:
        """No process, no lock, no second start."""
        self.wait_for_silence()
        assert self.locks_held() == []
        self.assert_started_once()
