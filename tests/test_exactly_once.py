"""Every fire time has exactly one outcome, whatever the number of workers and whatever becomes of them.

Ten tasks of one second, four workers of two threads under light load; and the same while somebody
kills a worker every three seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from servers import Kind, Server, SiteFolder, is_alive, processes, start_server, wait_until

from dracotask.model import ACTIVE, ENDED, SUCCEEDED, Run

pytestmark = pytest.mark.server

NAMES = [f"Second{number}" for number in range(10)]

TASKS = """\
import json, os
from dracotask import Task

class EverySecond(Task):
    abstract = True
    def __init__(self):
        self.schedule(every="1s")
    def run(self):
        run = self.current_run
        line = json.dumps([run.schedule, run.fire_time.isoformat(), run.id]) + "\\n"
        witness = os.open("witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(witness, line.encode())
        os.close(witness)
""" + "".join(f"\nclass {name}(EverySecond):\n    pass\n" for name in NAMES)

FOUR_BY_TWO = Kind(
    "gunicorn-4x2",
    [
        sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:PORT", "-w", "4", "-k", "gthread", "--threads", "2",
        "--no-control-socket", "wsgi:application",
    ],
    workers=4,
    master=True,
)  # fmt: skip

#: Requests a second, and how many clients make them.
RATE, CLIENTS = 50, 2
MAX_RUNNING = 4
SECOND = timedelta(seconds=1)


class Background:
    """Does something over and over in threads of its own, while it lasts."""

    def __init__(self, step: Callable[[], None], pause: float, threads: int = 1) -> None:
        self.step, self.pause = step, pause
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._go_on) for _ in range(threads)]

    def _go_on(self) -> None:
        while not self.done.wait(self.pause):
            self.step()

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *exc: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()


class Visitors:
    """Light load; remembers which requests failed, and when they were under way."""

    def __init__(self, server: Server) -> None:
        self.server, self.answered = server, 0
        self.failed: list[tuple[float, float, str]] = []

    def visit(self) -> None:
        began = time.monotonic()
        try:
            status = str(self.server.get().status)
        except (OSError, http.client.HTTPException) as error:
            status = repr(error)
        if status == "200":
            self.answered += 1
        else:
            self.failed.append((began, time.monotonic(), status))


class Killer:
    """Kills a worker as often as it is asked."""

    def __init__(self, server: Server) -> None:
        self.server, self.moments = server, []

    def kill(self) -> None:
        self.moments.append(time.monotonic())
        os.kill(random.choice(self.server.workers()), signal.SIGKILL)


class Census:
    """Counts the bodies that are there at one moment, and keeps the greatest number."""

    def __init__(self, server: Server) -> None:
        self.server, self.most = server, 0

    def count(self) -> None:
        by_pid = {process.pid: process for process in processes()}
        # A body leads a session, as a tick does; but its parent, the supervisor, is in the session of a tick,
        # and the parent of a tick in the server's.
        bodies = [
            process.pid
            for process in by_pid.values()
            if process.session == process.pid
            and process.state != "Z"
            and (parent := by_pid.get(process.parent)) is not None
            and parent.session not in (parent.pid, self.server.pid)
            and parent.is_ours(self.server.folder.mark)
        ]
        # Those that are still there were all there at the moment when the list was complete.
        self.most = max(self.most, sum(map(is_alive, bodies)))


@pytest.fixture
def folder(tmp_path) -> Iterator[SiteFolder]:
    folder = SiteFolder(tmp_path, TASKS)
    folder.configure(f"max_running = {MAX_RUNNING}\n")
    yield folder
    folder.end_everything()


@pytest.mark.parametrize(
    "length, kill_every, share",
    [
        (8, None, 0.90),
        (10, 3, 0.70),
        pytest.param(60, None, 0.90, marks=pytest.mark.long),
        pytest.param(60, 3, 0.70, marks=pytest.mark.long),
    ],
    ids=lambda value: str(value),
)
def test_every_fire_time_has_exactly_one_outcome(folder, length, kill_every, share):
    # Given ten tasks of one second, four workers and some visitors
    folder.load()
    first_sight = {name: schedule_of(folder, name).watermark for name in NAMES}
    server = start_server(FOUR_BY_TWO, folder)
    visitors, killer, census = Visitors(server), Killer(server), Census(server)

    # When they are at it for a while, and somebody may kill a worker now and then
    try:
        load = Background(visitors.visit, CLIENTS / RATE, CLIENTS)
        murder = Background(killer.kill, kill_every or 3600)
        with load, murder, Background(census.count, 0.05):
            time.sleep(length)
    finally:
        server.stop()
    wait_until(lambda: not any(run.state in ACTIVE for run in folder.runs()), "everything is over", 20)

    # Then each fire time since first sight is on record once, in a row of its own or in a range
    witness = [json.loads(line) for line in (folder.path / "witness").read_text().splitlines()]
    started = expected = 0
    for name in NAMES:
        rows = folder.runs(name)
        watermark = schedule_of(folder, name).watermark
        assert datetime.now(watermark.tzinfo) - watermark < 25 * SECOND
        due = seconds_between(first_sight[name], watermark)
        assert Counter(time for row in rows for time in covered(row)) == Counter(due), name
        # and what was started was started once, and ended well
        assert {row.state for row in rows if row.state in ENDED} == {SUCCEEDED}
        ran = sorted((row.fire_time.isoformat(), row.id) for row in rows if row.state == SUCCEEDED)
        assert sorted((fire_time, run_id) for task, fire_time, run_id in witness if task == name) == ran
        started, expected = started + len(ran), expected + len(due)

    # and nearly everything was started, never more at once than may be
    assert expected >= len(NAMES) * (length - 2)
    assert started >= share * expected, f"{started} of {expected}"
    assert 1 <= census.most <= MAX_RUNNING

    # and no request failed but those within a worker that was killed
    assert visitors.answered > 0.5 * RATE * length
    for began, failed, why in visitors.failed:
        assert any(began - 0.1 <= moment <= failed + 0.1 for moment in killer.moments), why


def schedule_of(folder: SiteFolder, name: str):
    with folder.site.open_store() as store:
        return store.schedule(name)


def seconds_between(after: datetime, until: datetime) -> list[datetime]:
    """Return the whole seconds later than ``after``, up to ``until``."""
    first = after.replace(microsecond=0) + SECOND
    return [first + number * SECOND for number in range(int((until - first) / SECOND) + 1)]


def covered(row: Run) -> list[datetime]:
    """Return the fire times that a row stands for."""
    if row.fire_from is None:
        return [row.fire_time]
    return seconds_between(row.fire_from - SECOND, row.fire_time)
