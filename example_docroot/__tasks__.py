"""The tasks of the example site. Every class below is one; read them from top to bottom.

This file is all there is to set up: no queue, no daemon, no registration. Save a change
while the site is being served, and it is in force a moment later. Run any task by hand with

    dracotask example_docroot PageGenerator
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from datetime import datetime
from pathlib import Path

from dracotask import RunFailed, Skip, Task, config, database, logger, on, task

# A task runs in a process of its own, in this folder: not in the web server, and not in a request.
PAGES = Path(__file__).parent / "pages"


class PageGenerator(Task):
    """Writes a static page."""  # The first line stands in `dracotask example_docroot show PageGenerator`.

    # How a task may behave is said on its class; dracotask.toml can say it for all of them.
    time_limit = "30s"

    def __init__(self):
        self.schedule(every="5s")

    # Visitors may have it write further files: a schedule that is added at run time hands its arguments
    # to run(). See wsgi.py, or try: dracotask example_docroot add tea PageGenerator --every 3s file=tea.html
    def run(self, file: str = "clock.html"):
        if not re.fullmatch(r"[a-z]{1,20}\.html", file):
            raise ValueError(f"{file!r} is no name for a page")
        written_at = datetime.now().astimezone().strftime("%H:%M:%S %Z")
        PAGES.mkdir(exist_ok=True)
        # A visitor must never see half a page: write beside it, then rename. That is one step.
        unfinished = PAGES / f"{file}.new"
        unfinished.write_text(f"<!doctype html><title>A page</title><p>Written at <b>{written_at}</b>.</p>\n")
        os.replace(unfinished, PAGES / file)
        # What run() returns is the run's summary, one line in every list.
        return f"written at {written_at}"


class SessionSweeper(Task):
    """Deletes the sessions of visitors who have been away for a minute."""

    def __init__(self):
        self.schedule(every="10s")

    def run(self):
        # The database that [database] in dracotask.toml names: opened when it is first touched,
        # committed when the run succeeds, rolled back when it fails, closed in any case.
        cursor = database.cursor()
        try:
            (before,) = cursor.execute("SELECT count(*) FROM session").fetchone()
        except database.dbapi.OperationalError:
            # Nothing to do is no failure. wsgi.py makes the table when somebody visits.
            raise Skip("nobody has visited yet") from None
        cursor.execute("DELETE FROM session WHERE seen_at < ?", (time.time() - 60,))
        return f"{cursor.rowcount} of {before} sessions swept"


class Report(Task):
    """Counts the sessions, for the page."""

    def __init__(self):
        # Draco's way: minute, hour, dow, each a number, several, or None for every one.
        # Left out, hour and dow mean every one: this is every other minute. In dow 0 is Monday.
        self.schedule(minute=range(0, 60, 2))

    def run(self):
        cursor = database.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, seen_at REAL)")
        cursor.execute("CREATE TABLE IF NOT EXISTS report (at TEXT, line TEXT)")
        (sessions,) = cursor.execute("SELECT count(*) FROM session").fetchone()
        # [config] in dracotask.toml is yours; [config.report] is a part of it.
        line = f"{config['title']}: {sessions} {config.namespace('report').get('noun', 'sessions')}"
        cursor.execute("DELETE FROM report")
        cursor.execute("INSERT INTO report VALUES (?, ?)", (datetime.now().strftime("%H:%M"), line))
        # Whatever a run prints or logs is kept: `dracotask example_docroot log Report`.
        # The indentation that the lines share is taken away.
        logger.info(
            """
            The report of %s
                %s
            """,
            datetime.now().strftime("%d %B, %H:%M"),
            line,
        )
        return line


class Flaky(Task):
    """Fails now and then, so that you see what a failure looks like."""

    keep_runs = 30  # of its history; the others keep 100

    def __init__(self):
        # Two calls are one schedule: every half minute, and at each full hour.
        self.schedule(every="30s")
        self.schedule(minute=0)

    def run(self):
        print("Throwing a die ...")  # print() does as well as logger
        number = random.randint(1, 6)
        if number <= 2:
            raise Skip(f"a {number}, so there is nothing to do")  # a success, with its reason
        if number <= 4:
            return f"a {number}, all went well"
        # Any other exception is a failure. Its traceback is kept, and the schedule goes on.
        return self.divide(number, by=number - number)

    def divide(self, number, *, by):
        return f"{number / by:.1f}"


class Slower(Task):
    """Lengthens its own period, a second each time, from two to ten."""

    def __init__(self):
        self.schedule(every="2s")

    def run(self):
        cursor = database.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS period (seconds INTEGER)")
        (seconds,) = cursor.execute("SELECT max(seconds) FROM period").fetchone()
        seconds = 2 if seconds is None or seconds >= 10 else seconds + 1
        cursor.execute("DELETE FROM period")
        cursor.execute("INSERT INTO period VALUES (?)", (seconds,))
        # The schedule of this very run, steered from within. It counts at once, and outlives a restart.
        self.own_schedule.reschedule(every=seconds)
        return f"every {seconds} s from now on"


class Thumbnails(Task):
    """Takes its time, says how far it is, and stops where it is good to stop. Runs on demand."""

    stop_grace = "20s"

    def run(self, pictures: int = 60):
        # track() tells the progress, and asks proceed(): after `dracotask example_docroot stop Thumbnails`
        # the loop ends with the picture at hand, and no exception comes in its way.
        done = 0
        for _ in self.track(range(pictures)):
            time.sleep(0.5)
            done += 1
        return f"{done} of {pictures} pictures"


# A function is a task as well, and a coroutine too. This one has no time of its own: it follows Report.
# Whatever goes wrong is tried again, after two seconds and after four.
@task(after="Report", retries=2, retry_delay="2s")
async def announce():
    """Tells the world of the report."""
    database.cursor().execute("CREATE TABLE IF NOT EXISTS report (at TEXT, line TEXT)")
    (reports,) = database.cursor().execute("SELECT count(*) FROM report").fetchone()
    await asyncio.sleep(0.1)  # here you would await the world
    return f"{reports} told"


# Called whenever a run of Flaky has failed for good, in a process of its own. It might write you a mail.
@on(RunFailed, task="Flaky")
def lament(event):
    logger.warning("Alas, %s: %s", event.task, event.error)


class OnDemand(Task):
    """Is never due: it calls no schedule(). Run it by hand, or from a crontab of yours."""

    def run(self):
        # What this run is; None where a unit test calls run() by itself.
        run = self.current_run
        return f"run {run.id}, asked for by {run.origin}" if run else "in a unit test"
