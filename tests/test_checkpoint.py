"""Going on where it was: what an attempt leaves for the next one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NOON, a_run, a_schedule, an_outcome, begun, seconds, stored
from sites import until

from dracotask import Task
from dracotask.stores.base import Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore

COUNTING = (
    "class Count(Task):",
    "    retries = 3",
    "    retry_delay = '1s'",
    "    on_lost = 'retry'",
    "    def run(self):",
    "        begin = self.current_run.checkpoint",
    "        open('found', 'a').write(f'{begin}\\n')",
    "        for number in range(begin['next'] if begin else 0, 6):",
    "            open('done', 'a').write(f'{number}\\n')",
    "            self.checkpoint({'next': number + 1})",
    "            if number == 2 and not begin:",
    "                @END@",
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


def count_with(site, end: str) -> None:
    head = "from dracotask import *\nfrom told import *\nimport os, signal\n"
    site.write(*(line.replace("@END@", end) for line in COUNTING), head=head)


def retry(site) -> None:
    """Have the next attempt made now."""
    until(lambda: site.active(), "an attempt waits")
    with site.store() as store:
        store._execute("UPDATE runs SET not_before = NULL WHERE not_before IS NOT NULL")
    site.due()
    site.wait_for_silence()


def test_the_store_keeps_it_over_a_retry(store):
    stored(store, a_schedule())
    run = begun(store, a_run())
    store.keep_checkpoint(run.but(token="another"), '"not mine"')
    store.keep_checkpoint(run, "[1]")
    store.finish(run, an_outcome(state="failed"), retry_at=NOON + seconds(60))
    assert store.run(run.id).checkpoint == "[1]"
    store.keep_checkpoint(run, "[2]")  # it is at work no more
    assert store.run(run.id).checkpoint == "[1]"


@pytest.mark.parametrize("end", ["raise ValueError('no')", "os._exit(3)", "os.kill(os.getpid(), 11)"])
def test_the_next_attempt_goes_on_where_the_last_one_was(site, end):
    # Given a task that comes to half of its work, in whatever way it ends there
    count_with(site, end)
    site.run("Count")

    # When it is tried again
    retry(site)

    # Then nothing was done twice, and nothing left out
    assert (site.docroot / "done").read_text().split() == [*"012345"]
    assert (site.docroot / "found").read_text().splitlines() == ["None", "{'next': 3}"]
    assert site.last_run().state == "succeeded"
    assert json.loads(site.last_run().checkpoint) == {"next": 6}
    assert not os.path.exists(site.state.checkpoint_file(site.last_run().id))


def test_it_outlives_the_death_of_supervisor_and_body(site):
    # Given a task that hangs at half of its work
    count_with(site, "tell(self, 'half'); wait_at_gate()")
    process = site.start("Count")
    site.wait_for("half")

    # When everybody who looks after it is killed, and a tick comes
    process.send_signal(signal.SIGKILL)
    site.wait_for_silence()
    site.due()
    retry(site)

    # Then it has gone on where it was
    assert (site.docroot / "done").read_text().split() == [*"012345"]


@pytest.mark.parametrize(
    ("data", "error"),
    [({1, 2}, TypeError), (float("nan"), ValueError), ("x" * 70_000, ValueError), (object(), TypeError)],
)
def test_what_cannot_be_kept_is_refused_at_once(data, error):
    with pytest.raises(error):
        Task().checkpoint(data)


def test_outside_of_a_run_it_does_nothing():
    assert Task().checkpoint({"page": 3}) is None


def test_any_thread_and_whatever_it_forks_may_leave_one(site):
    # Given a task of which two threads leave one again and again, and what it forks meanwhile
    site.write(
        "class Busy(Task):",
        "    def run(self):",
        "        import os, signal, threading",
        "        over = threading.Event()",
        "        def keep():",
        "            while not over.is_set(): self.checkpoint('by a thread')",
        "        self.checkpoint('the first')  # a fork in the midst of an import would hang by itself",
        "        threads = [threading.Thread(target=keep) for _ in range(2)]",
        "        for thread in threads: thread.start()",
        "        ends = []",
        "        for _ in range(20):",
        "            child = os.fork()",
        "            if not child:",
        "                signal.alarm(30)  # or it would wait for ever",
        "                self.checkpoint('by a child')",
        "                os._exit(0)",
        "            ends.append(os.waitpid(child, 0)[1])",
        "        over.set()",
        "        for thread in threads: thread.join()",
        "        return repr(set(ends))",
    )

    # When it runs, then none has waited for a lock that nobody could let go any more
    site.run("Busy")
    assert site.last_run().summary == "{0}"
    assert json.loads(site.last_run().checkpoint) in ("by a thread", "by a child")


def test_what_a_task_scribbles_into_the_file_is_no_checkpoint(site):
    site.write(
        "class Scribble(Task):",
        "    def run(self):",
        "        self.checkpoint([1])",
        "        import glob",
        "        open(glob.glob('.dracotask/runs/*.checkpoint')[0], 'w').write('{')",
    )
    assert site.run("Scribble").returncode == 0
    assert site.last_run().checkpoint is None


def test_in_a_program_it_is_kept_at_once(program):
    found = []

    class Count(Task):
        retries = 1
        retry_delay = "1s"

        def run(self):
            found.append(self.current_run.checkpoint)
            self.checkpoint({"page": 3})
            if len(found) == 1:
                raise ValueError("no")

    program.scheduler.add(Count, name="count")
    program.scheduler.run_now("count")
    program.advance(0)
    program.advance(2)

    assert found == [None, {"page": 3}]
