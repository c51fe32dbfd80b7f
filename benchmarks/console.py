"""What the pages of the console cost, with a long history, by time, queries and bytes.

    python benchmarks/console.py [SCHEDULES] [RUNS] [ROUNDS]

By default 1,000 schedules with 1,000,000 runs, and for comparison 50 with 5,000. The pages are asked of the WSGI
application itself, in this process, so no server and no network is in the figures.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from common import quantile, say, site
from werkzeug.test import Client, TestResponse

from dracotask.clock import utc_now
from dracotask.console.app import Console
from dracotask.model import DEFAULT_POLICY, Policy, Run, Schedule, new_run
from dracotask.site import Site
from dracotask.stores.base import Store
from dracotask.stores.sqlite import SQLiteStore

TASK = """
from dracotask import Task

class Work(Task):
    def run(self):
        pass
"""

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"

WORDS = ("Clean", "Fetch", "Send", "Prune", "Rebuild", "Check", "Count", "Mail", "Rotate", "Warm")
THINGS = ("Sessions", "Rates", "Report", "Uploads", "Search", "Links", "Orders", "Digest", "Logs", "Cache")


def fill(docroot: Path, schedules: int, runs: int) -> Site:
    """Put schedules into a site, and a history behind them: nine runs in ten went well."""
    found = Site(str(docroot))
    found.prepare()
    found.load()
    now = utc_now()
    chance = random.Random(4)
    with found.open_store() as store, store.transaction():
        names = list(_schedules(store, schedules, now))
        for run in _history(names, runs, now, chance):
            store._insert_run(run)  # type: ignore[attr-defined]
    return found


def _schedules(store: Store, number: int, now: datetime) -> Iterator[Schedule]:
    for count in range(number):
        name = f"{WORDS[count % 10]}{THINGS[count // 10 % 10]}{count // 100 or ''}"
        schedule = Schedule(
            name=name, task=name, declared=True, trigger="cron 15 * * * * UTC", arguments="{}", parameters="[]",
            policy=Policy(**DEFAULT_POLICY).to_text(), description="Does what it is there for, every hour",
            source="__tasks__.py:4", next_fire_time=now + timedelta(minutes=count % 60 + 1), watermark=now, rev=0,
        )  # fmt: skip
        store.put_schedule(schedule)
        yield schedule


def _history(schedules: list[Schedule], number: int, now: datetime, chance: random.Random) -> Iterator[Run]:
    for count in range(number):
        schedule = schedules[count % len(schedules)]
        begun = now - timedelta(seconds=(number - count) * 30)
        took = chance.lognormvariate(1, 0.3)
        state = "succeeded" if chance.random() < 0.97 else "failed"
        yield new_run(schedule, begun, "tick", fire_time=begun, run_id=_run_id(begun, count)).but(
            state=state, started_at=begun, finished_at=begun + timedelta(seconds=took), attempt=1, pid=4711,
            host="web1", exit_code=0 if state == "succeeded" else 1, cpu_seconds=took / 2, peak_memory=50 << 20,
            summary="412 of them done" if state == "succeeded" else None,
            error=None if state == "succeeded" else "Oops",
        )  # fmt: skip


def _run_id(moment: datetime, count: int) -> str:
    number = int(moment.timestamp() * 1000) << 80 | count
    return "".join(LETTERS[number >> shift & 31] for shift in range(125, -1, -5))


def ask(found: Site, path: str, rounds: int) -> tuple[float, list[float], int, int]:
    """Return the milliseconds that a page took, the first time and then, its bytes and the number of its queries.

    The first time is the median of five consoles that nobody has asked before, in a process that has.
    """
    first = quantile([_timed(a_browser(found), path)[0] for _ in range(6)][1:], 0.5)
    browser = a_browser(found)
    taken = [_timed(browser, path)[0] for _ in range(rounds)]
    with _counted() as statements:
        _, answer = _timed(browser, path)
    return first, taken, len(answer.data), len(statements)


def a_browser(found: Site) -> Client:
    return Client(Console(found.docroot, authorize=lambda environ: "write"))


def _timed(browser: Client, path: str) -> tuple[float, TestResponse]:
    begun = time.perf_counter()
    answer = browser.get(path)
    taken = 1000 * (time.perf_counter() - begun)
    assert answer.status_code == 200, answer.text
    return taken, answer


class _counted:
    """Notes the statements that are executed within."""

    def __enter__(self) -> list[str]:
        self._execute = execute = SQLiteStore._execute
        statements: list[str] = []

        def noted(store: SQLiteStore, statement: str, values: object = ()) -> object:
            statements.append(statement)
            return execute(store, statement, values)  # type: ignore[arg-type]

        SQLiteStore._execute = noted  # type: ignore[method-assign,assignment]
        return statements

    def __exit__(self, *exc: object) -> None:
        SQLiteStore._execute = self._execute  # type: ignore[method-assign]


def main(schedules: int, runs: int, rounds: int) -> None:
    for many, long in ((50, 5_000), (schedules, runs)):
        with site(TASK) as docroot:
            found = fill(docroot, many, long)
            with found.open_store() as store:
                one, run = store.schedules()[-1].name, store.runs(limit=1)[0].id
            rows = []
            for path in (
                "/", "/?page=2", "/?state=failed", f"/task/{one}", "/runs", "/runs?state=failed", f"/runs/{run}",
                "/setup", "/activity",
            ):  # fmt: skip
                if path == "/?page=2" and many <= 50:
                    continue
                first, taken, size, queries = ask(found, path, rounds)
                name = path.replace(run, "ID").replace(one, "NAME")
                times = (f"{time:.1f}" for time in (first, quantile(taken, 0.5), quantile(taken, 0.95)))
                rows.append((name, *times, size, queries))
            say(
                f"The console with {many:,} schedules and {long:,} runs",
                [("page", "first ms", "p50 ms", "p95 ms", "bytes", "queries"), *rows],
            )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*given, *(1_000, 1_000_000, 100)[len(given) :])
