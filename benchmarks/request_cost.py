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


def nanoseconds(call: Callable[[], object], rounds: int, each: int) -> float:
    """Return the median nanoseconds of one call, the loop's own cost taken off."""
    empty, taken = [], []
    turns = range(each)
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        for _ in turns:
            pass
        empty.append(time.perf_counter_ns() - begun)
        begun = time.perf_counter_ns()
        for _ in turns:
            call()
        taken.append(time.perf_counter_ns() - begun)
    return (statistics.median(taken) - statistics.median(empty)) / each


def compare(count: int, each: int) -> list[tuple[object, ...]]:
    with site(tasks(count)) as docroot:
        dracotask(docroot, "due")
        ours, nothing = TaskMiddleware(app, docroot), DoNothing(app)
        ours(ENVIRON, None)  # the ticker begins
        time.sleep(1.0)
        monotonic, path = time.monotonic, ENVIRON["PATH_INFO"]
        rounds = 15
        bare = nanoseconds(lambda: nothing(ENVIRON, None), rounds, each)
        full = nanoseconds(lambda: ours(ENVIRON, None), rounds, each)
        clock = nanoseconds(lambda: monotonic(), rounds, each)
        search = nanoseconds(lambda: "task" in path, rounds, each)
        lambda_alone = nanoseconds(lambda: None, rounds, each)
        for ticker in ours._tickers.values():
            ticker.stop()
    measure = clock + search - 2 * lambda_alone
    return [count, full - bare, clock - lambda_alone, search - lambda_alone, (full - bare) / measure]


if __name__ == "__main__":
    each = (int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000) // 15
    say(
        "What the middleware adds to a request over one that does nothing, ns",
        [
            ("schedules", "adds", "a clock read", "a substring test", "x their sum"),
            *(tuple(compare(count, each)) for count in (1, 5000)),
        ],
    )
