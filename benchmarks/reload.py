"""How soon a saved task file is in force: from the save to the schedule in the store, under a ticker.

    python benchmarks/reload.py [SAVES]
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import time
from pathlib import Path

from common import ENVIRONMENT, quantile, say, site

TASKS = """
from dracotask import Task

class Saved(Task):
    def __init__(self):
        self.schedule(every={seconds})
    def run(self):
        pass
"""


def trigger(docroot: Path) -> str | None:
    try:
        store = sqlite3.connect(f"file:{docroot}/.dracotask/state.db?mode=ro", uri=True, timeout=5)
        row = store.execute('SELECT "trigger" FROM schedules').fetchone()
        store.close()
    except sqlite3.Error:
        return None
    return row[0] if row else None


def wait_for(docroot: Path, seconds: int) -> None:
    until = time.monotonic() + 20
    while not (trigger(docroot) or "").startswith(f"every {seconds}s"):
        if time.monotonic() > until:
            raise SystemExit("the saved file never came into force")
        time.sleep(0.002)


def main(saves: int) -> None:
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    from dracotask import TaskMiddleware

    taken = []
    with site(TASKS.format(seconds=1001)) as docroot:
        middleware = TaskMiddleware(lambda environ, start_response: (), docroot)
        middleware.start()
        wait_for(docroot, 1001)
        time.sleep(1.5)  # a ticker's thread looks once it has proved for a second that threads run here
        for number in range(saves):
            seconds = 100_003 + 2 * number  # odd, so no larger unit divides it
            time.sleep(0.3 + 0.07 * (number % 7))
            (docroot / "__tasks__.py.new").write_text(TASKS.format(seconds=seconds))
            begun = time.monotonic()
            os.replace(docroot / "__tasks__.py.new", docroot / "__tasks__.py")
            wait_for(docroot, seconds)
            taken.append((time.monotonic() - begun) * 1000)
        for ticker in middleware._tickers.values():
            ticker.stop()
    say(
        f"Saved file to schedule in force, ms ({saves} saves)",
        [("median", "p90", "longest"), (statistics.median(taken), quantile(taken, 0.9), max(taken))],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
