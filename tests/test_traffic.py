"""Traffic: in which minutes a request came, who has brought a tick about, and that no request pays for either."""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import servers
from helpers import a_state
from hypothesis import given
from hypothesis import strategies as st
from servers import CGI_KIND, KINDS, Server, SiteFolder, start_server, wait_until
from sites import Site, until

from dracotask.state import State
from dracotask.web import middleware as middleware_module
from dracotask.web import ticker as ticker_module
from dracotask.web import traffic as traffic_module
from dracotask.web.middleware import TaskMiddleware
from dracotask.web.traffic import LONGEST_REQUEST, MINUTES, Traffic, is_visit, mark, request_in_words

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON_MINUTE = int(NOON.timestamp() // 60)


# -- The record --------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3 * 1440), max_size=40))
def test_what_is_read_are_the_minutes_of_the_last_four_weeks(tmp_path_factory, steps):
    # Given requests in some minutes of many weeks, so that the ring goes round
    state = a_state(tmp_path_factory.mktemp("site"))
    minute, marked = NOON_MINUTE, []
    for step in steps:
        minute += step
        marked.append(minute)
        assert mark(state, minute)

    # When they are read a while after the last
    now = minute + 90
    traffic = Traffic.read(state, datetime.fromtimestamp(now * 60, UTC))

    # Then just those of the last four weeks are there
    assert list(traffic.minutes) == [minute for minute in marked if minute > now - MINUTES]
    assert traffic.since == (max(marked[0], now - MINUTES + 1) if marked else None)


def test_a_record_of_years_ago_is_not_taken_for_one_of_today(tmp_path):
    # Given a site that was visited all day, eight weeks and a year ago
    state = a_state(tmp_path)
    for weeks in (60, 8):
        for minute in range(NOON_MINUTE - weeks * 7 * 1440, NOON_MINUTE - weeks * 7 * 1440 + 1440, 7):
            mark(state, minute)

    # When it is visited again, then that is all there is
    mark(state, NOON_MINUTE)
    assert list(Traffic.read(state, NOON).minutes) == [NOON_MINUTE]


def test_the_record_takes_little_of_the_disk(tmp_path):
    state = a_state(tmp_path)
    mark(state, NOON_MINUTE)

    status = os.stat(state.traffic_file)
    assert (status.st_size, status.st_mode & 0o777) == (MINUTES + 64, 0o600)
    assert status.st_blocks * 512 <= 16384


def test_without_a_state_folder_nothing_is_made(tmp_path):
    assert not mark(State(str(tmp_path)), NOON_MINUTE)

    assert list(tmp_path.iterdir()) == []
    assert Traffic.read(State(str(tmp_path))).since is None


@pytest.mark.parametrize("content", [b"", b"x", b"dracotask traffic since minute soon\n", b"\xff" * (MINUTES + 64)])
def test_what_is_no_record_is_begun_anew(tmp_path, content):
    state = a_state(tmp_path)
    Path(state.traffic_file).write_bytes(content)
    assert list(Traffic.read(state, NOON).minutes) == []

    assert mark(state, NOON_MINUTE)

    assert list(Traffic.read(state, NOON).minutes) == [NOON_MINUTE]


def test_records_of_a_clock_that_was_ahead_are_begun_anew(tmp_path):
    # Given a site that was first visited next year, by a clock that has been set right since
    state = a_state(tmp_path)
    mark(state, NOON_MINUTE + 365 * 1440)
    assert Traffic.read(state, NOON).since is None

    mark(state, NOON_MINUTE)

    traffic = Traffic.read(state, NOON)
    assert (traffic.since, list(traffic.minutes)) == (NOON_MINUTE, [NOON_MINUTE])


def test_a_record_that_cannot_be_written_hurts_nobody(tmp_path):
    state = a_state(tmp_path)
    os.mkdir(state.traffic_file)

    assert not mark(state, NOON_MINUTE)
    assert Traffic.read(state, NOON).minutes == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_nobody_makes_a_file_in_the_state_folder_of_another(tmp_path):
    state = a_state(tmp_path)
    os.chown(state.path, 12345, 12345)

    assert not mark(state, NOON_MINUTE)
    assert not os.path.exists(state.traffic_file)


# -- A request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/shop/cart", "QUERY_STRING": "token=s3cret"}, "GET /shop/cart"),
        ({"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "POST /app/x"),
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/caf\xc3\xa9"}, "GET /café"),
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/\xff\xfe"}, "GET /��"),
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/\x1b[31m\r\nX-Evil: 1\0"}, "GET /�[31m��X-Evil: 1�"),
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/\xe2\x80\xaegpj.exe"}, "GET /�gpj.exe"),
        ({"REQUEST_METHOD": "GET", "PATH_INFO": "/☃"}, "GET /?"),
        ({}, "a request"),
    ],
)
def test_a_request_is_told_without_its_query_and_with_what_can_be_seen(facts, words):
    assert request_in_words(facts) == words


def test_of_a_long_request_the_beginning_is_told():
    words = request_in_words({"REQUEST_METHOD": "GET", "PATH_INFO": "/" + "\xc3\xa9" * 100_000})

    assert len(words) == LONGEST_REQUEST
    assert words.startswith("GET /éé") and words.endswith("é…")


@pytest.mark.parametrize(
    "path, counts", [("/", True), ("/tasks", False), ("/tasks/runs.json", False), ("/tasksy", True), ("", True)]
)
def test_the_console_s_own_requests_are_no_traffic(path, counts):
    assert is_visit({"PATH_INFO": path}, "/tasks") is counts
    assert is_visit({"PATH_INFO": path}, None)


# -- In the web process ------------------------------------------------------------------------


class Clock:
    """Stands in for time.monotonic and time.time, from noon on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        for module in (middleware_module, ticker_module):
            monkeypatch.setattr(module, "monotonic", lambda: 1000.0 + self.passed)
        for module in (middleware_module, traffic_module):
            monkeypatch.setattr(module, "time", lambda: NOON.timestamp() + self.passed)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(ticker_module, "start_tick", lambda *_, **__: pytest.fail("no tick is due"))
    return Clock(monkeypatch)


class Served:
    """A site in this process, with a ticker whose thread is played by the test."""

    def __init__(self, folder: Path, clock: Clock, **options: Any) -> None:
        self.state, self.clock = a_state(folder), clock
        self.state.write_next(None, "")
        os.utime(self.state.next_file, (time.time() + 60,) * 2)
        self.middleware = TaskMiddleware(lambda environ, start_response: [], folder, **options)
        self.ticker = self.middleware._ticker()
        self.ticker.start = lambda: None

    def request(self, path: str = "/", **facts: Any) -> None:
        self.middleware({"PATH_INFO": path, **facts}, lambda *_: None)

    def beat(self) -> None:
        self.middleware.beat(asks=self.ticker._asks())

    def wait(self, seconds: float) -> None:
        """Let time pass, with a beat twice a second."""
        for _ in range(int(seconds * 2)):
            self.clock.passed += 0.5
            self.beat()

    def minutes(self) -> list[int]:
        """Return the minutes on record, counted from noon."""
        now = NOON + timedelta(seconds=self.clock.passed)
        return [minute - NOON_MINUTE for minute in Traffic.read(self.state, now).minutes]


def test_the_thread_puts_down_what_the_requests_only_say(tmp_path, clock, monkeypatch):
    # Given a site whose thread beats, and a request in the first minute and the fourth
    site = Served(tmp_path, clock)
    site.beat()
    site.request()
    site.wait(200)
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda *facts: opened.append(facts))
    site.request()
    site.request()
    monkeypatch.undo()

    # When the thread has gone on, then it has put down both, and no request has opened a file
    site.clock = clock = Clock(monkeypatch)
    clock.passed = 200
    site.beat()
    assert opened == []
    assert site.minutes() == [0, 3]


def test_a_request_is_asked_for_once_a_minute(tmp_path, clock, monkeypatch):
    # Given a thread that beats, and ten requests a second for three minutes
    site, said = Served(tmp_path, clock), []
    come = site.middleware._come
    monkeypatch.setattr(site.middleware, "_come", lambda environ: said.append(come(environ)))
    for step in range(1800):
        clock.passed = step / 10
        if step % 5 == 0:
            site.beat()
        site.request()

    # Then three of them said that they came, and the others passed by
    assert len(said) == 3
    assert site.minutes() == [0, 1, 2]


def test_a_request_that_looks_puts_itself_down(tmp_path, clock):
    # Given a site in Draco's strict way, without a thread
    site = Served(tmp_path, clock, idle_tick=False)

    # When requests come in some of the minutes
    for seconds in (0, 1, 59, 61, 600):
        clock.passed = seconds
        site.request()

    assert site.minutes() == [0, 1, 10]


def test_a_thread_that_was_frozen_is_not_believed(tmp_path, clock):
    # Given a thread that has asked for a request, and then stood still
    site = Served(tmp_path, clock)
    site.beat()
    clock.passed = 90

    # When a request comes, then it looks by itself
    site.request()
    assert site.minutes() == [1]


def test_who_looks_at_the_console_is_no_visitor(tmp_path, clock):
    # Given a console that somebody has left open, which asks for news every second
    site = Served(tmp_path, clock, console="/tasks")
    site.middleware.app.app = site.middleware.app._console = lambda environ, start_response: []
    for _ in range(200):
        site.request("/tasks/tasks.json")
        site.wait(1)
    assert site.minutes() == []

    # When a visitor comes, it is known at the next beat
    site.request("/shop")
    site.beat()
    assert site.minutes() == [3]


def test_a_site_that_is_switched_off_keeps_no_record(tmp_path, clock, monkeypatch):
    monkeypatch.setenv("DRACOTASK_ENABLED", "0")
    site = Served(tmp_path, clock)

    site.request()

    assert not os.path.exists(site.state.traffic_file)


# -- Real servers ------------------------------------------------------------------------------


STRICT = "application.app.idle_tick = False\n"


@pytest.fixture
def started(tmp_path) -> Iterator[list[Server]]:
    """Servers to be ended."""
    found: list[Server] = []
    yield found
    for server in found:
        server.kill()
        server.folder.end_everything()


@pytest.mark.server
@pytest.mark.parametrize("name", ["gunicorn", "gunicorn-gevent", "gunicorn-strict", "cgi"])
def test_the_minutes_with_a_request_are_known_under_any_server(tmp_path, started, name):
    # Given a site that was loaded before
    folder = SiteFolder(tmp_path)
    folder.load()
    if name == "gunicorn-strict":
        with open(folder.path / "wsgi.py", "a") as file:
            file.write(STRICT)
    kind = {**{kind.name: kind for kind in KINDS}, "cgi": CGI_KIND, "gunicorn-strict": KINDS[0]}[name]
    started.append(server := start_server(kind, folder))
    state, begun = folder.site.state, int(time.time() // 60)

    # When both of its workers are visited
    server.wake_workers()

    # Then this minute is on record
    traffic = wait_until(lambda: (found := Traffic.read(state)).minutes and found, "the visit is put down")
    assert begun <= traffic.since <= traffic.minutes[0] <= traffic.minutes[-1] <= int(time.time() // 60)


@pytest.mark.server
@pytest.mark.parametrize("kind", [KINDS[3], CGI_KIND], ids=repr)
def test_the_record_of_a_run_names_the_request_that_brought_it_about(tmp_path, started, kind):
    # Given a site whose requests look, and a task that is due and tells its environment
    told = "class Told(Short):\n    def run(self):\n        print(dict(os.environ))\n"
    folder = SiteFolder(tmp_path, servers.TASKS + told)
    folder.load()
    started.append(server := start_server(kind, folder))
    server.wake_workers()
    wait_until(lambda: not server.ticks(), "the first ticks are over")
    folder.make_due("Told")

    # When somebody comes by
    def has_run() -> bool:
        server.get("/caf%C3%A9/cart?token=s3cret")
        return bool(folder.runs("Told"))

    wait_until(has_run, "a request looks")
    run = wait_until(lambda: (found := folder.runs("Told")[0]).finished_at and found, "the task ends")

    # Then the record has the request without its query, and the worker; and the body knows nothing of it
    assert run.origin == "request"
    request, _, worker = (run.requested_by or "").partition(" (worker ")
    assert request == "GET /café/cart"
    assert worker.rstrip(")").isdigit()
    output = Path(folder.site.state.output_file(run.id)).read_text()
    assert "PATH" in output and "cart" not in output and "DRACOTASK_BY" not in output
    assert "request" in folder.site.state.last_seen()


@pytest.mark.server
def test_what_runs_between_requests_names_its_worker(tmp_path, started):
    # Given a server whose thread looks, and a task that is due
    folder = SiteFolder(tmp_path)
    folder.load()
    started.append(server := start_server(KINDS[0], folder))
    server.wake_workers()
    wait_until(lambda: not server.ticks(), "the first ticks are over")
    folder.make_due("Short")

    # When nobody comes by
    (run,) = wait_until(lambda: folder.runs("Short"), "it is claimed", 30)

    # Then the record names the worker whose thread it was, and the thread was seen
    assert (run.origin, run.requested_by) in {("tick", f"worker {pid}") for pid in server.workers()}
    wait_until(lambda: "tick" in folder.site.state.last_seen(), "the idle worker was seen")


# -- Who keeps the site ticking ----------------------------------------------------------------


def test_cron_is_told_from_a_person_by_the_missing_terminal(site: Site):
    # Given a site that nobody has looked at
    site.write("class Report(Task):", "    def run(self):", "        pass")
    assert site.state.last_seen() == {}

    # When cron looks, it was cron
    before = datetime.now(UTC) - timedelta(seconds=1)
    site.due()
    assert set(site.state.last_seen()) == {"cron"}
    assert before <= site.state.last_seen()["cron"] <= datetime.now(UTC)

    # When somebody does at a terminal, it was them
    ours, theirs = pty.openpty()
    site.due(stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert set(site.state.last_seen()) == {"cron", "command"}


def test_the_record_of_a_run_names_who_has_called_due(site: Site):
    # Given a task that is due
    site.write("class Report(Task):", "    def __init__(self):", "        self.schedule(hour=4)")
    with open(site.docroot / "__tasks__.py", "a") as file:
        file.write("    def run(self):\n        pass\n")
    site.due()
    site.make_due("Report")

    # When anna's cron looks
    site.due(env={"LOGNAME": "anna", "SUDO_USER": "", "DRACOTASK_BY": "somebody else"})

    run = site.last_run("Report")
    assert (run.origin, run.requested_by) == ("command", "anna (no terminal)")


def test_who_says_to_be_another_is_no_path(site: Site):
    # Given a tick of an origin that is none
    site.write("class Report(Task):", "    def run(self):", "        pass")
    site.due()

    site.run("due", "--origin=../../evil")

    until(lambda: "command" in site.state.last_seen())
    assert not (site.docroot.parent / "evil").exists()
