"""What a run costs: cold by ``dracotask.py DOCROOT TASKNAME``, and as one of 50 that are due at once.

    python benchmarks/cold_run.py [ROUNDS]
"""

from __future__ import annotations

import resource
import sqlite3
import sys
from pathlib import Path

from common import CHECKOUT, DRACOTASK, dracotask, interleaved, say, site

EMPTY = """
from dracotask import Task

class Empty(Task):
    def run(self):
        pass
"""

FIFTY = """
from dracotask import Task

for number in range(50):
    def __init__(self):
        self.schedule(every="1d")
    def run(self):
        pass
    type(f"Due{number}", (Task,), {"__init__": __init__, "run": run, "__module__": __name__})
"""


def cold(rounds: int) -> None:
    with site(EMPTY) as docroot:
        dracotask(docroot, "Empty")  # loads the file and writes bytecode
        bare_and = {"python -c pass": [sys.executable, "-c", "pass"]}
        ours = {"dracotask.py DOCROOT Empty": [*DRACOTASK, str(docroot), "Empty"]}
        # Two by two, so that each meets the caches as the other leaves them.
        taken = interleaved({**bare_and, **ours}, rounds)
        for words in ("import sqlite3", "import click"):
            peer = {f"python -c '{words}'": [sys.executable, "-c", words]}
            taken = {**interleaved({**bare_and, **peer}, rounds), **taken}
        runs = sqlite3.connect(docroot / ".dracotask" / "state.db").execute(
            "SELECT COUNT(*) FROM runs WHERE state = 'succeeded'"
        )
        assert runs.fetchone()[0] == rounds + 1, "every run is on record"
    bare = taken["python -c pass"]
    say(
        f"Cold run, outcome on record (median of {rounds}, interleaved)",
        [("command", "ms", "x bare"), *((name, value * 1000, value / bare) for name, value in taken.items())],
    )


def at_once() -> None:
    with site(FIFTY) as docroot:
        dracotask(docroot, "due")  # first sight
        _make_due(docroot)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        dracotask(docroot, "due")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        store = sqlite3.connect(docroot / ".dracotask" / "state.db")
        (done,) = store.execute("SELECT COUNT(*) FROM runs WHERE state = 'succeeded'").fetchone()
        (span,) = store.execute(
            "SELECT (julianday(MAX(finished_at)) - julianday(MIN(started_at))) * 86400"
            " FROM runs WHERE state = 'succeeded'"
        ).fetchone()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    say(
        "Fifty runs due at once, four at a time",
        [("runs", "CPU ms a run, the tick included", "all done after ms"), (done, cpu * 1000 / done, span * 1000)],
    )


def _make_due(docroot: Path) -> None:
    store = sqlite3.connect(docroot / ".dracotask" / "state.db")
    with store:
        store.execute("UPDATE schedules SET next_fire_time = '2026-01-01T00:00:00.000000+00:00', watermark = NULL")
    store.close()


if __name__ == "__main__":
    print(f"{sys.version.split()[0]}, {CHECKOUT.name}")
    cold(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
    at_once()
