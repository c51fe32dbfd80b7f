"""TaskMiddleware and its ticker: what a request pays, who looks when, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import servers
from helpers import a_state

from dracotask.clock import utc_now
from dracotask.errors import DocrootNotFound
from dracotask.state import lock, stamp_lines
from dracotask.web import middleware as middleware_module
from dracotask.web import ticker as ticker_module
from dracotask.web.middleware import FoldingTaskMiddleware, TaskMiddleware, is_private
from dracotask.web.ticker import BEAT, BEATS_ON_PROBATION, Ticker, do_threads_run


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return environ["answer"]


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Looks:
    """Stands in for start_tick, and remembers the ticks that would have been started.

    :ivar code: the exit code of each; None while they live.
    :ivar writes_next: whether each does its work.
    """

    def __init__(self, state: Any) -> None:
        self.state, self.origins, self.code, self.writes_next = state, [], 0, True
        self.words = ""

    def __call__(self, docroot: str, origin: str, **facts: Any) -> Looks:
        self.origins.append(origin)
        self.seen, self.command = facts["seen"], "python dracotask.py"
        os.close(facts["errors"])
        if self.writes_next:
            self.state.write_next(None, "")
        return self

    def poll(self) -> int | None:
        return self.code

    def last_words(self) -> str:
        return self.words

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(middleware_module, "monotonic", clock)
    monkeypatch.setattr(ticker_module, "monotonic", clock)
    return clock


@pytest.fixture
def looks(monkeypatch, tmp_path) -> Looks:
    looks = Looks(a_state(tmp_path))
    monkeypatch.setattr(ticker_module, "start_tick", looks)
    return looks


@pytest.fixture
def without_threads(monkeypatch) -> list[str]:
    """No thread is started; returns the names of those that would have been."""
    wanted: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: wanted.append(thread.name))
    return wanted


def request(application: Any, path: str = "/", **facts: Any) -> tuple[str, Any]:
    """Make a request in this process; return status and the very object that came back."""
    statuses: list[str] = []
    environ = {"PATH_INFO": path, "answer": [b"hello"], **facts}
    answer = application(environ, lambda status, headers, exc_info=None: statuses.append(status))
    return statuses[0], answer


def write_next_in(seconds: float, looks: Looks) -> None:
    looks.state.write_next(None, "")
    os.utime(looks.state.next_file, (time.time() + seconds,) * 2)


# -- Construction ------------------------------------------------------------------------------


def test_construction_does_nothing(tmp_path):
    before = threading.active_count()

    TaskMiddleware(site, tmp_path)

    assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []


def test_a_docroot_that_is_no_folder_is_refused_at_once(tmp_path):
    with pytest.raises(DocrootNotFound, match=r"nowhere' is not a folder. Beside the program it would be os\.path"):
        TaskMiddleware(site, tmp_path / "nowhere")


def test_an_unused_middleware_can_be_pickled(tmp_path):
    # As servers need it that spawn their workers.
    copy = pickle.loads(pickle.dumps(TaskMiddleware(site, tmp_path, idle_tick=False)))

    assert (copy.app, copy.docroot, copy.idle_tick) == (site, str(tmp_path), False)


# -- Responses ---------------------------------------------------------------------------------


def test_the_answer_is_the_application_s_own_object(tmp_path, looks, without_threads):
    application = TaskMiddleware(site, tmp_path)
    for answer in ([b"a", b""], iter([]), io.BytesIO(b"file")):
        assert request(application, answer=answer)[1] is answer


def test_a_failing_ticker_changes_no_response(tmp_path, looks, without_threads, monkeypatch, caplog):
    # Given a state folder in which nothing can be looked at
    monkeypatch.setattr(ticker_module, "lock", lambda *_, **__: 1 // 0)

    # When requests come, then they are answered, and it is told once
    application = TaskMiddleware(site, tmp_path)
    for _ in range(3):
        assert request(application)[0] == "200 OK"
    (record,) = caplog.records
    assert record.message.startswith(f"dracotask: the tasks of {tmp_path} are not looked after: ZeroDivisionError: ")


PRIVATE = """
/__tasks__.py //__tasks__.py /a/../__tasks__.py /__tasks__.py/ /__tasks__.py/info /__tasks__.pyc /__tasks__.pyo
/__pycache__/__tasks__.cpython-311.pyc /__tasks__.py. /__tasks__.py;v=1 \\__tasks__.py /a\\__tasks__.py
/__tasks__.py~ /.__tasks__.py.swp /#__tasks__.py# /__tasks__.py::$DATA /.dracotask /.dracotask/ /.dracotask/state.db
/./.dracotask/log /.dracotask;x/log /.dracotask\\next /a/.dracotask/x /dracotask.toml /dracotask.toml~ /dracotask.toml.
/.dracotask. __tasks__.py
"""
PUBLIC = """
/ /tasks /tasks.py /__tasks__ /__tasks__/ /dracotask /dracotask/ /my.dracotask/ /.dracotasks /dracotask.html
/__debug__/ /task?file=__tasks /static/task.js
"""


@pytest.mark.parametrize("path", [*PRIVATE.split(), "/__tasks__.py ", "/__tasks__.py\0.html", "/.dracotask\0"])
def test_a_private_path_is_not_found(tmp_path, looks, without_threads, path):
    assert is_private(path)
    status, answer = request(TaskMiddleware(site, tmp_path), path)
    assert (status, answer) == ("404 Not Found", [b"404 Not Found\n"])


@pytest.mark.parametrize("path", [*PUBLIC.split(), ""])
def test_any_other_path_is_the_application_s(tmp_path, looks, without_threads, path):
    assert not is_private(path)
    assert request(TaskMiddleware(site, tmp_path), path)[0] == "200 OK"


def test_where_the_file_system_folds_case_so_does_the_middleware(tmp_path, looks, without_threads):
    # Given a file system that shows the task file under another case, as macOS does
    (tmp_path / "__TASKS__.PY").write_text("")
    application = TaskMiddleware(site, tmp_path)

    # When it has been found out, by the first request of the process
    assert request(application)[0] == "200 OK"

    # Then every spelling is private
    assert isinstance(application, FoldingTaskMiddleware)
    for path in ("/__TASKS__.py", "/.DracoTask/state.db", "/DRACOTASK.toml"):
        assert request(application, path)[0] == "404 Not Found"
    assert request(application, "/Tasks")[0] == "200 OK"


# -- Who looks, and when -----------------------------------------------------------------------


def test_requests_look_ten_times_a_second_while_no_thread_beats(tmp_path, looks, clock, without_threads):
    # Given a thread that was started and never runs
    application = TaskMiddleware(site, tmp_path)
    counted: list[str] = []
    application._ticker().look = lambda origin, environ: counted.append(origin)

    # When a hundred requests come in a second
    for _ in range(100):
        clock.now += 0.01
        request(application)

    # Then every tenth looks
    assert without_threads == ["dracotask-ticker"]
    assert 9 <= len(counted) <= 11
    assert set(counted) == {"request"}


def test_no_request_looks_while_the_thread_beats(tmp_path, looks, clock, without_threads):
    # Given a thread that beats
    application = TaskMiddleware(site, tmp_path)
    counted: list[str] = []
    application._ticker().look = lambda origin, environ: counted.append(origin)
    application.beat()

    # When requests come within a second, none of them looks
    clock.now += 0.99
    request(application)
    assert counted == []

    # When the beat has been away for longer, the next one does
    clock.now += 0.02
    request(application)
    assert counted == ["request"]


def test_the_thread_looks_only_after_it_has_woken_on_time_for_a_second(tmp_path, looks, clock):
    # Given a server that freezes every thread for a while, now and then
    application = TaskMiddleware(site, tmp_path)
    ticker = Ticker(application)
    frozen_at, woken, looked_at = {4, 8}, [], []

    def wait(seconds: float) -> None:
        woken.append(seconds)
        clock.now += seconds + (0.5 if len(woken) in frozen_at else 0)
        ticker._stopping = len(looked_at) == 2

    ticker.wake.wait = wait
    ticker.look = lambda origin: looked_at.append(len(woken))

    # When it is at work
    ticker._beat_on()

    # Then it looks after ten punctual beats on end
    assert looked_at == [8 + BEATS_ON_PROBATION, 9 + BEATS_ON_PROBATION]
    assert woken[0] == BEAT


def test_a_thread_that_was_frozen_is_on_probation_again(tmp_path, looks, clock):
    # Given a thread that has proved itself, and is frozen at its twelfth beat
    application = TaskMiddleware(site, tmp_path)
    ticker = Ticker(application)
    beats, looked_at = [], []

    def wait(seconds: float) -> None:
        beats.append(seconds)
        clock.now += seconds + (5 if len(beats) == 12 else 0)
        ticker._stopping = len(beats) > 30

    ticker.wake.wait = wait
    ticker.look = lambda origin: looked_at.append(len(beats))

    # When it is at work, then it does not look when it wakes, but ten beats later
    ticker._beat_on()
    assert looked_at[:4] == [10, 11, 22, 23]


def test_a_process_for_one_request_starts_no_thread(tmp_path, looks, without_threads):
    # As CGI: the request itself looks
    request(TaskMiddleware(site, tmp_path), **{"wsgi.run_once": True})

    assert without_threads == []
    assert looks.origins == ["request"]


def test_a_refused_thread_leaves_the_looking_to_the_requests(tmp_path, looks, clock, monkeypatch):
    # Given a server that allows no thread
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    # When a request comes
    assert request(TaskMiddleware(site, tmp_path))[0] == "200 OK"

    # Then it starts the tick
    assert looks.origins == ["request"]


def test_idle_tick_false_starts_no_thread(tmp_path, looks, without_threads):
    request(TaskMiddleware(site, tmp_path, idle_tick=False))

    assert without_threads == []
    assert looks.origins == ["request"]


def test_start_begins_without_a_request(tmp_path, looks, without_threads):
    # As a hook of the server does, after its fork
    application = TaskMiddleware(site, tmp_path)
    application.start()
    application.start()

    assert without_threads == ["dracotask-ticker"]


def test_several_first_requests_start_one_thread(tmp_path, looks, without_threads):
    # Given requests that all come before the first beat
    application = TaskMiddleware(site, tmp_path)
    for _ in range(5):
        application._look({})

    assert without_threads == ["dracotask-ticker"]


@pytest.mark.parametrize("value", ["0", "false", "No", "OFF"])
def test_the_environment_switches_everything_off(tmp_path, looks, without_threads, monkeypatch, value):
    monkeypatch.setenv("DRACOTASK_ENABLED", value)

    application = TaskMiddleware(site, tmp_path)
    assert request(application)[0] == "200 OK"
    application.start()

    assert (looks.origins, without_threads) == ([], [])


def test_a_forked_worker_has_a_ticker_of_its_own(tmp_path, looks):
    # Given a parent whose ticker has been made, as by a request before the fork
    application = TaskMiddleware(site, tmp_path, idle_tick=False)
    parents = application._ticker()

    # When a worker is forked, then it makes its own
    child = os.fork()
    if child == 0:
        own = application._ticker()
        os._exit(0 if own is not parents and own.pid == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert application._ticker() is parents


@pytest.mark.parametrize("threads_of_uwsgi, run", [(None, True), (1, True), (0, False)])
def test_uwsgi_is_asked_whether_its_threads_run(monkeypatch, threads_of_uwsgi, run):
    if threads_of_uwsgi is not None:
        uwsgi = type(sys)("uwsgi")
        uwsgi.has_threads = threads_of_uwsgi
        monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)

    assert do_threads_run() is run


# -- Looking -----------------------------------------------------------------------------------


@pytest.fixture
def ticker(tmp_path, looks, clock, without_threads) -> Iterator[Ticker]:
    return Ticker(TaskMiddleware(site, tmp_path))


def test_nothing_is_started_before_the_next_moment(ticker, looks, clock):
    write_next_in(30, looks)

    ticker.look("tick")
    assert looks.origins == []

    write_next_in(-0.01, looks)
    ticker.look("tick")
    assert looks.origins == ["tick"]


def test_a_changed_file_is_a_reason_to_look(ticker, looks, tmp_path):
    # Given a task file, and no moment in sight
    (tmp_path / "__tasks__.py").write_text("")
    looks.state.write_next(None, stamp_lines([str(tmp_path / "__tasks__.py")]))
    ticker.look("tick")
    assert looks.origins == []

    # When it is saved, then a tick is started
    (tmp_path / "__tasks__.py").write_text("# new")
    ticker.look("tick")
    assert looks.origins == ["tick"]


def test_a_moment_that_is_too_far_off_is_a_clock_set_back(ticker, looks):
    write_next_in(3600, looks)

    ticker.look("tick")

    assert looks.origins == ["tick"]


def test_nothing_is_started_while_somebody_else_is_at_it(ticker, looks):
    write_next_in(-1, looks)
    held = lock(looks.state.tick_lock)

    ticker.look("request")
    os.close(held)

    assert looks.origins == []


def test_a_tick_is_started_although_nobody_can_note_where_the_console_is(tmp_path, looks, caplog, without_threads):
    # Given a site with a console, and a file of that name that no one can write
    ticker = Ticker(TaskMiddleware(site, tmp_path, console="/tasks"))
    os.symlink("console", looks.state.console_file)
    write_next_in(-1, looks)

    ticker.look("tick")

    assert looks.origins == ["tick"] and caplog.records == []


def test_a_failure_is_told_once_and_tried_again_less_and_less_often(ticker, looks, clock, caplog):
    # Given ticks that fail
    looks.writes_next, looks.code, looks.words = False, 2, "The disk is full."

    # When somebody looks ten times a second for two minutes
    moments = []
    for _ in range(1200):
        before = len(looks.origins)
        ticker.look("tick")
        if len(looks.origins) > before:
            moments.append(int(clock.now - 1000))
        clock.now += 0.1

    # Then each pause is twice as long as the one before, up to a minute
    assert moments == [0, 2, 6, 14, 30, 62]
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["The disk is full."]

    # When one has succeeded, then a later failure is news
    looks.writes_next, looks.code, looks.words = True, 0, ""
    clock.now += 60
    ticker.look("tick")
    ticker.look("tick")
    write_next_in(-1, looks)
    looks.writes_next, looks.code, looks.words = False, 2, "The disk is full."
    clock.now += 60
    ticker.look("tick")
    clock.now += 0.1
    ticker.look("tick")
    assert len(caplog.records) == 2


def test_an_exit_code_of_0_alone_is_no_success(ticker, looks, clock, caplog):
    # Given a server that reaps our children before us, and ticks that die at once
    looks.writes_next, looks.code, looks.words = False, 0, "No module named 'dracotask'"

    # When somebody looks, and looks again
    ticker.look("request")
    clock.now += 1.5
    ticker.look("request")

    # Then it is told all the same
    assert "No module named 'dracotask'" in caplog.text
    assert len(looks.origins) == 1


def test_the_thread_wakes_at_the_next_moment_by_itself(ticker, looks, clock, monkeypatch):
    # Given a tick that still waits for its run, and a moment in 70 ms
    looks.code = None
    ticker.look("tick")
    assert looks.origins == ["tick"]
    clock.now += 1
    monkeypatch.setattr(ticker_module.time, "time", lambda: 2_000_000_000.0)
    os.utime(looks.state.next_file, (2_000_000_000.07,) * 2)
    ticker.look("tick")

    # Then that is how long it sleeps
    assert ticker._pause() == pytest.approx(0.07, abs=0.001)


def test_the_thread_is_in_no_hurry_while_a_tick_decides(ticker, looks, clock):
    # Given a tick that has just been started for a moment that is past
    write_next_in(-5, looks)
    looks.writes_next = False
    ticker.look("tick")

    assert 0.04 < ticker._pause() <= BEAT


# -- What a request pays -----------------------------------------------------------------------

HOT = """\
import ctypes, sys, threading, time
from dracotask import TaskMiddleware

def site(environ, start_response):
    return ()

application = TaskMiddleware(site, sys.argv[1])
environ = {"PATH_INFO": "/index.html"}
application(environ, None)
until = time.monotonic() + 20
while application._look_at < time.monotonic() + 0.3:  # the thread's beat
    assert time.monotonic() < until
    application(environ, None)  # it may be asked for: once a minute
    time.sleep(0.01)
known = set(sys.modules)
gettid = ctypes.CDLL(None).getppid  # a system call that marks begin and end

def visit():
    gettid()
    application._look_at = 0.0  # as the thread asks, once a minute, whether anybody comes
    for _ in range(200_000):
        application(environ, None)
    gettid()

thread = threading.Thread(target=visit, name="visitor")
thread.start()
thread.join()
print(sorted(set(sys.modules) - known), [thread.name for thread in threading.enumerate()])
"""


def test_requests_make_no_system_call_and_import_nothing(tmp_path):
    if shutil.which("strace") is None:
        servers.missing("strace")
    # Given a site with nothing due soon, and a ticker's thread that is awake now and then
    folder = servers.SiteFolder(tmp_path)
    folder.load()
    folder.site.state.write_next(utc_now().replace(year=2098), "")
    trace = tmp_path / "trace"

    # When a thread makes 200 000 requests
    ended = subprocess.run(
        ["strace", "-ff", "-o", trace, sys.executable, "-c", HOT, folder.path],
        env=servers.server_environment(folder, {}), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    folder.end_everything()

    # Then all that the kernel has heard of that thread is who gives way to whom (futex)
    assert ended.returncode == 0, ended.stderr
    modules, names = re.fullmatch(r"(\[.*\]) (\[.*\])\n", ended.stdout).groups()
    assert modules == "[]"
    assert "dracotask-ticker" in names
    (lines,) = [text for file in tmp_path.glob("trace.*") if len(text := between_marks(file.read_text())) > 0]
    assert {line.partition("(")[0] for line in lines} <= {"futex", "getppid"}
    assert len(lines) < 2000


def between_marks(trace: str) -> list[str]:
    """Return the system calls from the first mark to the second; [] where there are none."""
    lines = trace.splitlines()
    marks = [number for number, line in enumerate(lines) if line.startswith("getppid(")]
    return lines[marks[0] : marks[-1] + 1] if len(marks) == 2 else []
