"""Under every kind of server: what is due is started, once, and no request is the worse for it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import servers
from servers import KINDS, Kind, Server, SiteFolder, can_listen, is_alive, start_server, stays, wait_until

pytestmark = pytest.mark.server

ALL = [*KINDS, servers.CGI_KIND]
BY_NAME = {kind.name: kind for kind in ALL}

for_kinds = partial(pytest.mark.parametrize, "server", ids=repr, indirect=True)
where_threads_run = for_kinds([kind for kind in ALL if kind.threads])
where_no_thread_runs = for_kinds([kind for kind in ALL if not kind.threads])
with_master = for_kinds([kind for kind in ALL if kind.master])
GUNICORN, GEVENT = BY_NAME["gunicorn"], BY_NAME["gunicorn-gevent"]

#: A thread of ours looks only after it has woken on time for a second on end.
PROBATION = 1.2


@pytest.fixture(scope="module", params=ALL, ids=repr)
def server(request, tmp_path_factory) -> Iterator[Server]:
    """A server that several tests share, for its start is what takes time."""
    folder = SiteFolder(tmp_path_factory.mktemp(request.param.name))
    folder.load()
    server = start_server(request.param, folder)
    server.wake_workers()
    yield server
    server.kill()
    folder.end_everything()


@pytest.fixture
def folder(server) -> SiteFolder:
    wait_until(lambda: not server.ticks(), "what the test before has started is over")
    server.folder.forget()
    return server.folder


@pytest.fixture
def own(tmp_path) -> Iterator[list]:
    """Servers that a test starts for itself, to be ended."""
    started: list[Server] = []
    yield started
    for server in started:
        server.kill()
        server.folder.end_everything()


def site_with(kind: Kind, folder: SiteFolder, own: list[Server], **environment: str) -> Server:
    server = start_server(kind, folder, **environment)
    own.append(server)
    return server


def visit(server: Server) -> None:
    """Make one request that looks, if no thread does: requests look ten times a second."""
    time.sleep(0.11)
    assert server.get().status == 200


def ended(folder: SiteFolder, name: str) -> bool:
    return [run.state for run in folder.runs(name)][:1] == ["succeeded"]


# -- Starting ----------------------------------------------------------------------------------


def test_a_due_task_starts_once_however_many_requests_there_are(server, folder):
    # Given a task that is due
    before = len(folder.runs("Short"))
    folder.make_due("Short")

    # When three clients make 24 requests, and cron comes at the same moment
    cron = subprocess.Popen([sys.executable, servers.SCRIPT, folder.path, "due"], env=server.environment)
    answers = server.get_many(24)
    cron.wait(30)

    # Then it was started once, and all were answered
    wait_until(lambda: folder.told("Short"), f"Short has been started\n{server.words()}")
    wait_until(lambda: ended(folder, "Short"), "Short has run")
    assert stays(lambda: len(folder.told("Short")) == 1, 0.3)
    assert len(folder.runs("Short")) == before + 1
    assert {answer.status for answer in answers} == {200}


@where_threads_run
def test_a_quiet_site_goes_on_firing(server, folder):
    # Given that each worker has had a request, and none comes any more
    server.wake_workers()
    time.sleep(PROBATION)

    for _ in range(2):
        # When a task becomes due
        folder.forget()
        folder.make_due("Short")

        # Then the ticker starts it
        wait_until(lambda: folder.told("Short"), f"the ticker has started Short\n{server.words()}")
        assert [facts["origin"] for facts in folder.told("Short")] == ["tick"]
        wait_until(lambda: ended(folder, "Short"), "Short has run")


@where_no_thread_runs
def test_a_request_starts_what_is_due(server, folder):
    # Given a task that has become due, which nobody notices
    folder.make_due("Short")
    assert stays(lambda: not folder.told(), 0.5)

    # When a single request comes
    visit(server)

    # Then it is started
    wait_until(lambda: folder.told("Short"), f"the request has started Short\n{server.words()}")
    assert [facts["origin"] for facts in folder.told("Short")] == ["request"]
    wait_until(lambda: ended(folder, "Short"), "Short has run")


# -- Transparency ------------------------------------------------------------------------------


def test_responses_are_untouched(server):
    # The site itself answers 500 when its iterable comes back as another object.
    plain, file = server.get("/"), server.get("/file")

    assert (plain.status, plain.body) == (200, b"before\0\xffafter")
    assert (file.status, file.body) == (200, b"0123456789" * 1000)


def test_private_files_are_not_found_however_they_are_spelled(server):
    for path in (
        "/__tasks__.py", "//__tasks__.py", "/x/../__tasks__.py", "/__tasks__.py/", "/__tasks__.py;a=1",
        "/__tasks__%2Epy", "/%5f%5ftasks__.py", "/__tasks__.py%00.html", "/__tasks__.py%20", "/__tasks__.py.",
        "/.%5C__tasks__.py", "/__tasks__.pyc", "/__pycache__/__tasks__.cpython-311.pyc", "/.__tasks__.py.swp",
        "/.dracotask/state.db", "/.dracotask", "/%2edracotask/next", "/./.dracotask/log", "/dracotask.toml",
        "/dracotask.toml~", "/a/b/dracotask.toml?x=1",
    ):  # fmt: skip
        assert server.get(path).status == 404, path


def test_the_site_keeps_its_own_paths(server):
    for path in ("/tasks", "/__debug__/", "/task.py", "/mydracotask", "/a/dracotask"):
        assert server.get(path).status == 200


# -- The child ---------------------------------------------------------------------------------


def test_a_run_has_nothing_of_the_server(server, folder):
    # When a request or the ticker starts a task
    folder.make_due("Short")
    visit(server)
    wait_until(lambda: folder.told("Short"), f"Short has been started\n{server.words()}")

    # Then it lives in its own session, hears every signal and holds nothing of the server
    (facts,) = folder.told("Short")
    assert facts["session"] == facts["pid"]
    assert facts["blocked"] == 0
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        assert not facts["ignored"] >> (number - 1) & 1, number
    assert not [path for path in facts["open"] if "socket:" in path or "inotify" in path]
    assert facts["cwd"] == str(folder.path)
    assert facts["origin"] in ("request", "tick")
    wait_until(lambda: ended(folder, "Short"), "Short has run")


def test_no_zombie_is_left(server, folder):
    # When a short task has ended
    folder.make_due("Short")
    visit(server)
    wait_until(lambda: folder.told("Short"), f"Short has been started\n{server.words()}")
    wait_until(lambda: ended(folder, "Short"), "Short has run")

    # Then the server owns no dead child any more; where no thread runs, the next request sees to it
    def is_clean() -> bool:
        if not server.kind.threads:
            visit(server)
        return not server.zombies()

    wait_until(is_clean, "the zombies are gone")


def test_a_saved_task_file_is_seen(server, folder):
    # When the task file gets another task, saved in place and then, as editors do, by a rename
    for number, save in enumerate((Path.write_text, write_by_rename)):
        name = f"New{number}"
        save(folder.path / "__tasks__.py", f"{servers.TASKS}\nclass {name}(Short):\n    pass\n")
        if not server.kind.threads:
            visit(server)

        # Then it is known, where no thread runs after one request
        wait_until(lambda name=name: knows(folder, name), f"{name} is known\n{server.words()}", 5)
    folder.save(servers.TASKS)


def write_by_rename(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def knows(folder: SiteFolder, name: str) -> bool:
    with folder.site.open_store() as store:
        return store.schedule(name) is not None


@with_master
def test_only_workers_have_a_ticker(server, folder):
    # Given that it has had time to come up
    server.wake_workers()
    time.sleep(PROBATION)

    # Then no thread of ours and no inotify instance is in the master
    assert len(os.listdir(f"/proc/{server.pid}/task")) == 1
    held = [os.path.realpath(f"/proc/{server.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.pid}/fd")]
    assert not [path for path in held if "inotify" in path]


# -- Ends --------------------------------------------------------------------------------------


def start_sleeping(server: Server) -> dict:
    """Have a request or the ticker start the task that sleeps, and return what it told."""
    server.folder.make_due("Sleeping")
    until = time.monotonic() + 10
    while not server.folder.told("Sleeping"):
        server.get()
        assert time.monotonic() < until, server.words()
        time.sleep(0.05)
    return server.folder.told("Sleeping")[0]


def end_of(folder: SiteFolder, facts: dict) -> str:
    """End the task that sleeps, and return what its record says."""
    os.kill(facts["supervisor"], signal.SIGTERM)
    wait_until(lambda: folder.run(facts["run"]).state != "running", "the run is recorded")
    return folder.run(facts["run"]).state


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_a_run_survives_everything_that_happens_to_its_server(kind, tmp_path, own):
    # Given a task at work, and the tick that started it
    folder = SiteFolder(tmp_path)
    folder.load()
    server = site_with(kind, folder, own)
    facts = start_sleeping(server)

    if kind.master:
        # When every worker is killed, then the task is still at work
        server.replace_workers(lambda: [os.kill(pid, signal.SIGKILL) for pid in server.workers()])
        assert is_alive(facts["pid"])

        # When the server is restarted gracefully, likewise
        server.replace_workers(lambda: os.kill(server.pid, signal.SIGHUP))
        assert is_alive(facts["pid"])

    # When the server is stopped
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 8

    # Then its port is free at once, the task is still at work, and what becomes of it is recorded
    assert can_listen(server.port)
    assert is_alive(facts["pid"])
    assert end_of(folder, facts) == "stopped"
    assert [run.state for run in folder.runs()] == ["stopped"]


# -- Off ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GUNICORN, GEVENT], ids=repr)
def test_the_environment_switches_everything_off(kind, tmp_path, own):
    # Given a site with DRACOTASK_ENABLED=0
    folder = SiteFolder(tmp_path)
    server = site_with(kind, folder, own, DRACOTASK_ENABLED="0")

    # When it is visited, then nothing is started: not even the state folder is made
    until = time.monotonic() + PROBATION
    while time.monotonic() < until:
        assert server.get().status == 200
    assert not (folder.path / ".dracotask").exists()
    assert server.get("/__tasks__.py").status == 404


@pytest.mark.parametrize("kind", [GUNICORN, GEVENT], ids=repr)
def test_the_configuration_launches_nothing_while_it_says_so(kind, tmp_path, own):
    # Given a site with enabled = false and a task that is due
    folder = SiteFolder(tmp_path)
    folder.load()
    folder.configure("enabled = false\n")
    server = site_with(kind, folder, own)
    folder.make_due("Short")

    # When it is visited, then nothing is launched
    until = time.monotonic() + PROBATION
    while time.monotonic() < until:
        assert server.get().status == 200
    assert folder.runs() == [] and folder.told() == []

    # When the line is taken away, then it is
    folder.configure("")
    wait_until(lambda: server.get() and folder.told("Short"), f"Short has been started\n{server.words()}")


# -- Trouble -----------------------------------------------------------------------------------


def another_users_state_folder(folder: SiteFolder) -> None:
    if os.geteuid() != 0:
        servers.missing("root, who alone can give a folder away")
    folder.load()
    os.chown(folder.path / ".dracotask", 65534, 65534)


def no_place_for_the_state_folder(folder: SiteFolder) -> None:
    folder.configure('state = "/proc/dracotask"\n')


def no_interpreter(folder: SiteFolder) -> None:
    folder.configure('python = "/nowhere/python"\n')


def a_broken_interpreter(folder: SiteFolder) -> None:
    folder.configure('python = "/bin/false"\n')


@pytest.mark.parametrize(
    "kind, trouble, word",
    [
        (GUNICORN, another_users_state_folder, "sudo -u"),
        (GUNICORN, no_place_for_the_state_folder, "cannot be made"),
        (GUNICORN, no_interpreter, "/nowhere/python"),
        (GUNICORN, a_broken_interpreter, "/bin/false"),
        (GEVENT, no_place_for_the_state_folder, "cannot be made"),
        (GEVENT, no_interpreter, "/nowhere/python"),
        (GEVENT, a_broken_interpreter, "/bin/false"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", repr(value)),
)
def test_trouble_is_told_once_and_hurts_no_request(kind, trouble, word, tmp_path, own):
    # Given a site whose tasks cannot be looked after, and a list of the processes that are tried
    folder = SiteFolder(tmp_path)
    trouble(folder)
    server = site_with(kind, folder, own)

    # When it is visited for a while
    with counting_ticks(folder) as ticks:
        statuses, until = set(), time.monotonic() + 2.5
        while time.monotonic() < until:
            statuses |= {answer.status for answer in server.get_many(6)}

    # Then every request is answered, each worker tells once what is wrong, and hardly anything is tried
    assert statuses == {200}
    told = [line for line in server.words().splitlines() if "are not looked after" in line]
    assert 1 <= len(told) <= kind.workers, server.words()
    assert all(word in line for line in told)
    assert len(ticks) <= 2 * kind.workers  # at once, and after two seconds


class counting_ticks:
    """Collects the pids of ticks of a site while it lasts; short-lived ones may slip through."""

    def __init__(self, folder: SiteFolder) -> None:
        self.folder, self.pids, self.done = folder, set(), threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> set[int]:
        self.thread.start()
        return self.pids

    def __exit__(self, *exc: object) -> None:
        self.done.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.done.wait(0.005):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"due" in command and str(self.folder.path).encode() in command:
                    self.pids.add(int(pid))


def test_a_tick_is_tried_less_and_less_often(tmp_path, own):
    # Given an interpreter that only notes that it was called
    folder = SiteFolder(tmp_path)
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho >>{shlex.quote(str(calls))}\nexit 1\n")
    python.chmod(0o755)
    folder.configure(f'python = "{python}"\n')
    server = site_with(BY_NAME["wsgiref"], folder, own)

    # When the site is visited for five seconds
    until = time.monotonic() + 5
    while time.monotonic() < until:
        server.get()

    # Then it was called at once, after two seconds, and not yet again
    assert len(calls.read_text().splitlines()) == 2
