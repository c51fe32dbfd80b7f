"""The clock of a served site jumps by an hour and by a year, both ways: nothing runs twice, and nothing stands still.

The server and all that it starts live under libfaketime, which reads from a file how far their clock is off. The tests
look from outside, on the true clock.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from servers import KINDS, Server, SiteFolder, missing, stays, wait_until

from dracotask.clock import utc_now
from dracotask.model import NEVER_STARTED, SUCCEEDED, Run, Schedule
from dracotask.planning import CLOCK_PATIENCE

pytestmark = pytest.mark.server

EVERY_SECOND = """\
import json, os
from dracotask import Task

class Second(Task):
    def __init__(self):
        self.schedule(every="1s")
    def run(self):
        run = self.current_run
        line = json.dumps([run.id, run.fire_time.isoformat(), run.attempt]) + "\\n"
        witness = os.open("witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(witness, line.encode())
        os.close(witness)
"""

#: libfaketime 0.9.10 lets no process sleep on a clock that it is told to let alone: this does, before it is asked.
SLEEP = """\
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
"""

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
#: The jumps are checked to this: what a busy machine may take to start a run.
SLACK = timedelta(seconds=60)


class FalseClock:
    """The clock of the server, as far off the true one as it is told."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "faketime"
        self.libraries = [library_of_sleep(folder), libfaketime()]
        self.set(timedelta())

    def set(self, offset: timedelta) -> None:
        aside = self.file.with_suffix(".aside")
        aside.write_text(f"{offset.total_seconds():+.0f}\n")
        aside.rename(self.file)
        self.offset = offset

    def now(self) -> datetime:
        return utc_now() + self.offset

    def environment(self) -> dict[str, str]:
        """Return what makes a process live by it. Sleeping, and the times of files, stay as they are."""
        return {
            "LD_PRELOAD": " ".join(map(str, self.libraries)), "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip


def library_of_sleep(folder: Path) -> Path:
    if shutil.which("cc") is None:
        missing("a C compiler")
    library = folder / "sleep.so"
    command = ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"]
    subprocess.run(command, input=SLEEP, text=True, check=True)
    return library


def libfaketime() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime")
    return found[0]


class Served:
    """A site with a task of every second, and its server with the false clock."""

    def __init__(self, folder: SiteFolder, clock: FalseClock, server: Server) -> None:
        self.folder, self.clock, self.server = folder, clock, server

    def schedule(self) -> Schedule:
        with self.folder.site.open_store() as store:
            return store.schedule("Second")

    def succeeded(self) -> list[Run]:
        return [run for run in self.folder.runs("Second") if run.state == SUCCEEDED]

    def starts(self) -> list[tuple[str, str, int]]:
        try:
            lines = (self.folder.path / "witness").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [tuple(json.loads(line)) for line in lines]

    def wait_for_more(self) -> None:
        """Wait for two further runs, at the time of the false clock."""
        known = len(self.succeeded())
        wait_until(lambda: len(self.succeeded()) >= known + 2, "two more runs", 60)
        assert any(abs(run.fire_time - self.clock.now()) < SLACK for run in self.succeeded())

    def assert_nothing_is_double(self) -> None:
        """Look at the witness: each attempt was started once, and no fire time had two runs."""
        assert max(Counter(self.starts()).values()) == 1
        fire_times = [fire_time for _, fire_time, _ in self.starts()]
        assert len(fire_times) == len(set(fire_times))


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    folder, clock = SiteFolder(tmp_path, EVERY_SECOND), FalseClock(tmp_path)
    folder.load()
    server = Server(KINDS[0], folder, **clock.environment())
    site = Served(folder, clock, server)
    try:
        server.wake_workers()
        site.wait_for_more()
        yield site
    finally:
        server.stop()
        folder.end_everything()


def test_an_hour_forward_makes_one_run_and_one_row(served):
    # When the clock jumps forward by an hour
    served.clock.set(HOUR)
    served.wait_for_more()

    # Then the hour is one row that says why, beside the one run that makes up for it
    served.assert_nothing_is_double()
    (long_gap,) = [row for row in served.folder.runs() if row.fire_from and row.fire_time - row.fire_from > HOUR / 2]
    assert long_gap.state in NEVER_STARTED
    assert long_gap.summary
    assert abs(long_gap.fire_count - 3600) < SLACK.total_seconds()
    spans = sorted((row.fire_from or row.fire_time, row.fire_time) for row in served.folder.runs())
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_an_hour_back_waits_for_the_watermark_and_goes_on(served):
    # Given a clock that was an hour ahead for a while
    served.clock.set(HOUR)
    served.wait_for_more()

    # When it is put right
    served.clock.set(timedelta())
    wait_until(lambda: not served.server.ticks(), "what was begun has ended")
    before = len(served.starts())

    # Then the schedule waits for the time that it has seen already, as cron does
    watermark = served.schedule().watermark
    assert stays(lambda: len(served.starts()) == before, 4.0)
    assert served.schedule().watermark == watermark > served.clock.now() + HOUR / 2

    # and goes on as soon as the clock has passed it
    served.clock.set(watermark - utc_now() + timedelta(seconds=1))
    served.wait_for_more()
    served.assert_nothing_is_double()


@pytest.mark.parametrize("detour", [YEAR, CLOCK_PATIENCE + HOUR], ids=["a year", "four hours"])
def test_a_clock_that_was_far_ahead_is_no_reason_to_wait(served, detour):
    # Given a clock that was far ahead for a while
    served.clock.set(detour)
    served.wait_for_more()

    # When it is put right, the schedule goes on at once
    served.clock.set(timedelta())
    served.wait_for_more()

    # Then a row says what has happened, and nothing that has run runs again
    served.assert_nothing_is_double()
    assert any("the clock was set back" in (row.summary or "") for row in served.folder.runs())
    assert served.schedule().watermark < served.clock.now() + SLACK


def test_a_year_back_is_no_reason_to_wait_either(served):
    # When the clock falls back by a year
    served.clock.set(-YEAR)
    served.wait_for_more()

    # and is put right again
    served.clock.set(timedelta())
    served.wait_for_more()

    # Then nothing ran twice, and what ran a year ago bears its own date
    served.assert_nothing_is_double()
    a_year_ago = utc_now() - YEAR
    fire_times = [datetime.fromisoformat(fire_time) for _, fire_time, _ in served.starts()]
    assert sum(abs(fire_time - a_year_ago) < SLACK for fire_time in fire_times) >= 2
