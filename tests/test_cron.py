"""Debian's own cron runs the line that ``check`` prints; together with a web server it starts a task once.

The daemon is one of our own. It has a mount namespace for itself, so that it sees only the crontab of these
tests, and neither reads nor disturbs one that serves this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from servers import KINDS, REQUIRED, SCRIPT, SiteFolder, missing, send, start_server, wait_until

from dracotask.clock import utc_now
from dracotask.model import Run

pytestmark = pytest.mark.server

EVERY_MINUTE = """\
from dracotask import Task

class Minutely(Task):
    def __init__(self):
        self.schedule(minute=None)
    def run(self):
        with open("witness", "a") as witness:
            witness.write(self.current_run.fire_time.isoformat() + "\\n")
"""

#: What cron reads and writes is put aside before it starts: its tables, and the file of its pid.
START_CRON = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /etc/cron.d
mount --bind "$1" /var/spool/cron/crontabs
exec cron -f
"""


@pytest.fixture(scope="module")
def minute(request, tmp_path_factory) -> Iterator[tuple[SiteFolder, SiteFolder, datetime]]:
    """Two sites when cron's minute has struck: one that only cron cares for, and one that is served as well.

    And since when all were at it: a minute that struck while they were being started is none of this story.
    """
    if not REQUIRED and request.config.option.markexpr:
        pytest.skip("NOT TESTED HERE: cron's minute takes up to 65 s (bin/test --long, and .ci/run, wait for it)")
    if shutil.which("cron") is None or os.geteuid() != 0:
        missing("cron, or root who may start it")
    quiet, served = (SiteFolder(tmp_path_factory.mktemp(name), EVERY_MINUTE) for name in ("quiet", "served"))
    crontabs = tmp_path_factory.mktemp("crontabs")
    write_crontab(crontabs, quiet, served)
    for folder in (quiet, served):
        folder.load()
    server = start_server(KINDS[0], served)
    cron = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", START_CRON, "sh", str(crontabs)],
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    began = utc_now() + timedelta(seconds=1)  # cron is there by then
    try:
        server.wake_workers()
        wait_until(lambda: is_over(quiet, began) or cron.poll() is not None, "cron has run the task", 150)
        assert cron.poll() is None, "cron did not start"
        wait_until(lambda: is_over(served, began), "somebody has run the task of the served site")
        time.sleep(2)  # for a second run that must not be
        yield quiet, served, began
    finally:
        server.kill()
        send(cron.pid, signal.SIGKILL)
        cron.wait()
        for folder in (quiet, served):
            folder.end_everything()


def write_crontab(crontabs: Path, *folders: SiteFolder) -> None:
    lines = []
    for folder in folders:
        lines += [folder.mark, line_of_check(folder)]
    table = crontabs / "root"
    table.write_text("\n".join([*lines, ""]))
    table.chmod(0o600)


def line_of_check(folder: SiteFolder) -> str:
    """Return the line for cron that ``check`` prints."""
    ended = subprocess.run([sys.executable, SCRIPT, folder.path, "check"], capture_output=True, text=True, timeout=60)
    (line,) = [line.strip() for line in ended.stdout.splitlines() if line.strip().startswith("* * * * * ")]
    return line


def is_over(folder: SiteFolder, began: datetime) -> bool:
    return any(run.state == "succeeded" for run in runs_since(folder, began))


def runs_since(folder: SiteFolder, began: datetime) -> list[Run]:
    return [run for run in folder.runs("Minutely") if run.fire_time > began]


def the_only(runs: list[Run]) -> Run:
    """Return the one Run there should be; if there are others, pytest shows them all."""
    assert len(runs) == 1, runs
    return runs[0]


def test_cron_runs_the_line_that_check_prints(minute):
    quiet, _, began = minute

    run = the_only(runs_since(quiet, began))
    assert (run.origin, run.state) == ("command", "succeeded")
    assert (run.fire_time.second, run.fire_time.microsecond) == (0, 0)
    assert 0 <= (run.started_at - run.fire_time).total_seconds() < 10


def test_cron_and_a_web_server_at_the_same_second_run_a_task_once(minute):
    quiet, served, began = minute

    run = the_only(runs_since(served, began))
    assert run.origin in ("command", "tick", "request")
    assert run.fire_time == runs_since(quiet, began)[0].fire_time
    assert (served.path / "witness").read_text().splitlines().count(run.fire_time.isoformat()) == 1
