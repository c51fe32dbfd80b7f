"""What a request pays: the middleware against one that does nothing, in the same process and run.

    python benchmarks/request_cost.py [REQUESTS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from common import dracotask, say, site

from dracotask import TaskMiddleware

ENVIRON = {"PATH_INFO": "/shop/cart", "REQUEST_METHOD": "GET", "wsgi.multithread": True}


class DoNothing:
    """The least a middleware can be."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        return self.app(environ, start_response)


def app(environ, start_response):
    return ()


def tasks(count: int) -> str:
    return f"""
from dracotask import Task

for number in range({count}):
    def __init__(self):
        self.schedule(hour=4)
    type(f"Task{{number}}", (Task,), {{"__init__": __init__, "run": lambda self: None, "__module__": __name__}})
"""


def nanoseconds(calls: dict[str, Callable[[], object]], rounds: int, each: int) -> dict[str, float]:
    """Return the median nanoseconds of each call, measured in turns so that noise meets all alike."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            turns = range(each)
            begun = time.perf_counter_ns()
            for _ in turns:
                call()
            taken[name].append((time.perf_counter_ns() - begun) / each)
    return {name: statistics.median(values) for name, values in taken.items()}


def compare(count: int, requests: int) -> list[tuple[object, ...]]:
    with site(tasks(count)) as docroot:
        dracotask(docroot, "due")
        ours, nothing = TaskMiddleware(app, docroot), DoNothing(app)
        ours(ENVIRON, None)  # the ticker begins
        time.sleep(1.0)
        monotonic, path = time.monotonic, ENVIRON["PATH_INFO"]
        calls = {
            "ours": lambda: ours(ENVIRON, None),
            "nothing": lambda: nothing(ENVIRON, None),
            "clock": lambda: monotonic(),
            "search": lambda: "task" in path,
            "lambda": lambda: None,
        }
        rounds = 100
        cost = nanoseconds(calls, rounds, requests // rounds)
        for ticker in ours._tickers.values():
            ticker.stop()
    adds = cost["ours"] - cost["nothing"]
    clock, search = cost["clock"] - cost["lambda"], cost["search"] - cost["lambda"]
    return [count, adds, clock, search, adds / (clock + search)]


if __name__ == "__main__":
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000
    say(
        "What the middleware adds to a request over one that does nothing, ns",
        [
            ("schedules", "adds", "a clock read", "a substring test", "x their sum"),
            *(tuple(compare(count, requests)) for count in (1, 5000)),
        ],
    )
