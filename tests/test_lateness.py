"""Why a run began late: what was found late, what waited, and how that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import NOON, a_policy, a_run, a_schedule, a_state, an_action, an_outcome, begun, seconds, stored
from sites import Site

from dracotask.clock import from_text, to_text, utc_now
from dracotask.lateness import (
    Hindrance,
    cause_of_finding,
    cause_of_wait,
    joined,
    lateness,
    process_began,
    put_down_hindrance,
)
from dracotask.model import QUEUED, RUNNING, Action, Run
from dracotask.report.words import late_in_words
from dracotask.run.outcome import from_lines, to_lines
from dracotask.stores.memory import MemoryStore

minutes = lambda number: timedelta(minutes=number)  # noqa: E731

TASKS = """
class Long(Task):
    {policy}
    def __init__(self):
        self.schedule(hour=4)
    def run(self):
        tell(self)
        wait_at_gate()

class Short(Task):
    {policy}
    def __init__(self):
        self.schedule(hour=5)
    def run(self):
        tell(self, "short")
"""


def write(site: Site, policy: str = "", config: str = "") -> None:
    """Write a task that waits at the gate and one that does not, and have them loaded."""
    site.write(TASKS.format(policy=policy or "pass"))
    site.put("dracotask.toml", config)
    site.due()


def owe(site: Site, name: str, *, ago: float = 0) -> None:
    """Let a fire time of so many seconds ago be unclaimed."""
    with site.store() as store:
        schedule = store.schedule(name)
        assert schedule is not None
        assert store.put_schedule(schedule.but(next_fire_time=utc_now() - seconds(ago)))
    site.state.look_now()


def let_it_be_long_ago(site: Site, **names: float) -> None:
    """Let what has happened to these schedules' Runs by now have happened so many seconds earlier."""
    with site.store() as store:
        for run in store.runs(limit=None):
            if run.schedule in names:
                for column in ("queued_at", "started_at", "fire_time"):
                    moment = getattr(run, column)
                    if moment:
                        earlier = to_text(moment - seconds(names[run.schedule]))
                        store._execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (earlier, run.id))


def begin_long(site: Site) -> subprocess.Popen[str]:
    """Have the long task begin, and return the tick that waits for it."""
    owe(site, "Long")
    tick = site.start("due")
    site.wait_for("start")
    return tick


def end(tick: subprocess.Popen[str]) -> None:
    assert tick.wait(60) == 0


# -- Found late --------------------------------------------------------------------------------


def test_a_site_without_visitors_is_late_because_no_request_came(site):
    # Given a site that requests keep ticking, the last one an hour ago, and a task of ten minutes ago
    write(site)
    (Path(site.state.seen_folder) / "cron").rename(Path(site.state.seen_folder) / "request")
    age(Path(site.state.seen_folder) / "request", 3600)
    owe(site, "Short", ago=600)

    # When somebody comes by
    site.run("due", "--origin=request", env={"DRACOTASK_BY": "GET / (worker 7)"})

    # Then that is the cause, and who came is on record too
    run = site.last_run("Short")
    assert (run.late_cause, run.requested_by) == ("no request came", "GET / (worker 7)")
    assert minutes(10) <= lateness(run) < minutes(11)
    assert late_in_words(run).startswith("10m") and late_in_words(run).endswith(": no request came")


def test_what_is_found_at_once_has_no_cause(site):
    write(site)
    owe(site, "Short")

    site.due()

    run = site.last_run("Short")
    assert (run.state, run.late_cause, late_in_words(run)) == ("succeeded", None, "")


def test_a_command_that_finds_its_fire_time_late_says_so_too(site):
    # Given a task that cron runs by its name, and cron was away
    write(site)
    age(Path(site.state.seen_folder) / "cron", 3600)
    owe(site, "Short", ago=600)

    assert site.run("Short").returncode == 0

    assert site.last_run("Short").late_cause == "no cron looked"


def test_a_store_that_was_down_is_the_cause_of_what_fell_due_meanwhile(site):
    # Given a store that cannot be read, when a tick comes
    write(site)
    owe(site, "Short", ago=30)
    database = Path(site.state.store_file)
    sound = database.read_bytes()
    for name in ("-wal", "-shm"):
        database.with_name(database.name + name).unlink(missing_ok=True)
    database.write_bytes(b"no database" * 1000)
    failed = site.run("due")
    assert failed.returncode == 2

    # When it is back, a minute later
    hindrance = Hindrance.of(site.state)
    assert hindrance is not None and hindrance.words.startswith("the store was down: ")
    database.write_bytes(sound)
    site.due()

    # Then the record says so, and the next tick knows of nothing any more
    assert (site.last_run("Short").late_cause or "").startswith("the store was down: ")
    assert Hindrance.of(site.state) is None


def test_a_site_that_was_switched_off_is_late_for_that(site):
    write(site)
    owe(site, "Short", ago=30)
    site.put("dracotask.toml", "enabled = false\n")
    site.due()

    site.put("dracotask.toml", "enabled = true\n")
    site.due()

    assert site.last_run("Short").late_cause == "the site was switched off"


def age(path: Path, seconds: float) -> None:
    """Let a file have been touched so many seconds ago."""
    moment = utc_now().timestamp() - seconds
    os.utime(path, (moment, moment))


FIRE = NOON
FOUND = NOON + minutes(10)


@pytest.mark.parametrize(
    "facts, cause",
    [
        ({}, "nobody looked"),
        ({"looker": "request"}, "no request came"),
        ({"looker": "tick"}, "no request came"),
        ({"looker": "cron"}, "no cron looked"),
        ({"looker": "cron", "seen": {"request": -60}}, "no request came, and no cron looked"),
        ({"looker": "request", "seen": {"cron": -60}}, "no request came, and no cron looked"),
        # Who has not looked for a month is not expected.
        ({"looker": "request", "seen": {"cron": -31 * 86400}}, "no request came"),
        # Somebody has looked since, so there was nothing to be found yet.
        ({"looker": "request", "seen": {"request": 60}}, None),
        # A tick that failed is followed by another within a minute.
        ({"seen": {"tick": 30}, "failed": (-600, 30)}, "a tick failed: the disk is full"),
        ({"seen": {"tick": -50}, "failed": (-600, -50)}, "a tick failed: the disk is full"),
        ({"looker": "request", "seen": {"tick": -500}, "failed": (-600, -500)}, "no request came"),
        ({"looker": "tick", "loading": -9}, "the task file was being loaded"),
        ({"looker": "tick", "loading": 500}, "no request came"),
        # The tick was there in time, and came to the fire time late.
        ({"looker": "tick", "began": 0.4}, "the server was busy"),
        ({"looker": "tick", "began": 5}, "no request came"),
        # A process of long ago says nothing.
        ({"looker": "tick", "began": -4000}, "no request came"),
    ],
)
def test_the_cause_of_finding_it_late(facts, cause):
    # Given what was found ten minutes late, and facts in seconds from the fire time
    failed = [FIRE + seconds(each) for each in facts.get("failed", ())]
    found = cause_of_finding(
        FIRE,
        FOUND,
        hindrance=Hindrance(*failed, "a tick failed: the disk is full") if failed else None,
        seen={kind: FIRE + seconds(ago) for kind, ago in facts.get("seen", {}).items()},
        looker=facts.get("looker", "command"),
        loading_since=FIRE + seconds(facts["loading"]) if "loading" in facts else None,
        began=FIRE + seconds(facts["began"]) if "began" in facts else None,
    )

    assert found == cause


def test_a_hindrance_that_goes_on_is_told_since_it_began(tmp_path):
    state = a_state(tmp_path)
    for moment in (NOON, NOON + minutes(1)):
        put_down_hindrance(state, "a tick failed:  two\nlines \x00 of \udcff", moment)
    hindrance = Hindrance.of(state)
    assert (hindrance.since, hindrance.last) == (NOON, NOON + minutes(1))
    assert hindrance.words == "a tick failed: two lines \x00 of \\udcff"

    # Another begins anew; and half a file is none
    put_down_hindrance(state, "the site was switched off", NOON + minutes(2))
    assert Hindrance.of(state).since == NOON + minutes(2)
    Path(state.hindrance_file).write_text("2026-11-21")
    assert Hindrance.of(state) is None


def test_a_process_knows_when_it_began():
    now = utc_now()
    code = "from dracotask.lateness import *; from dracotask.clock import utc_now; print(process_began(utc_now()))"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip()

    # (The kernel counts in hundredths of a second.)
    assert now - seconds(0.5) < from_text(told) < utc_now()
    assert process_began(utc_now()) < now


# -- What waited -------------------------------------------------------------------------------


def test_a_run_that_waited_for_a_slot_says_so(site):
    # Given one slot, in which a task is at work, and another that is due
    write(site, config="max_running = 1\n")
    tick = begin_long(site)
    owe(site, "Short")
    site.due()
    let_it_be_long_ago(site, Long=400, Short=300)

    # When the slot is free
    site.open_gate()
    end(tick)

    # Then the other has waited five minutes for it
    run = site.last_run("Short")
    assert run.late_cause == "the only slot was busy"
    assert minutes(5) <= lateness(run) < minutes(6)


def test_both_causes_stand_on_record(site):
    # Given a fire time that was found late, and then waits for a slot
    write(site, config="max_running = 1\n")
    tick = begin_long(site)
    age(Path(site.state.seen_folder) / "cron", 3600)
    owe(site, "Short", ago=600)
    site.due()
    assert site.last_run("Short").late_cause == "no cron looked"
    let_it_be_long_ago(site, Long=400, Short=300)

    site.open_gate()
    end(tick)

    assert site.last_run("Short").late_cause == "no cron looked; then the only slot was busy"


def test_a_run_that_waited_for_an_earlier_one_says_so(site):
    # Given a task that is at work when it falls due again, and lets that wait
    write(site, policy='overlap = "queue"')
    tick = begin_long(site)
    owe(site, "Long")
    site.due()
    let_it_be_long_ago(site, Long=300)

    site.open_gate()
    site.wait_for("start", 2)
    site.open_gate()
    end(tick)

    first, second = site.runs("Long")
    # (It has been made to look as if both had been queued five minutes ago.)
    assert (first.late_cause, second.late_cause) == (None, "an earlier run was at work")


def test_a_run_that_waited_for_a_rival_says_whose_that_was(site):
    write(site, policy='exclusive = "db"')
    tick = begin_long(site)
    owe(site, "Short")
    site.due()
    let_it_be_long_ago(site, Long=400, Short=300)

    site.open_gate()
    end(tick)
    site.due()

    assert site.last_run("Short").late_cause == "Long was at work (exclusive: db)"


def test_a_run_that_was_held_in_the_queue_says_by_whom(site):
    # Given a task that waits for a slot, is held there, and resumed when the slot is free
    write(site, config="max_running = 1\n")
    tick = begin_long(site)
    owe(site, "Short")
    site.due()
    let_it_be_long_ago(site, Long=400, Short=300)
    held = site.run("hold", "Short", "--why", "the database moves", env={"LOGNAME": "anna", "SUDO_USER": ""})
    assert held.returncode == 0
    with site.store() as store:
        store._execute('UPDATE actions SET "at" = ?', (to_text(utc_now() - seconds(200)),))
    site.open_gate()
    end(tick)
    assert site.last_run("Short").state == "queued"

    site.run("resume", "Short")
    resumed_at = utc_now()
    site.due()

    # Then both are told, in their order
    cause = site.last_run("Short").late_cause or ""
    assert cause.startswith("the only slot was busy; then held by anna (no terminal) until ")
    told = datetime.strptime(cause[-9:], "%H:%M UTC")
    assert abs((told.hour * 60 + told.minute) - (resumed_at.hour * 60 + resumed_at.minute)) in (0, 1, 1439)


def test_a_run_that_waited_for_the_file_to_be_mended_says_so(site):
    # Given a task that is due while its file is broken
    write(site)
    owe(site, "Short")
    good = (site.docroot / "__tasks__.py").read_text()
    site.put("__tasks__.py", "def broken(:\n")
    site.due()
    assert site.last_run("Short").state == "queued"
    let_it_be_long_ago(site, Short=300)
    with site.store() as store:
        store.put_note("broken", to_text(utc_now() - seconds(400)))

    # When it is mended
    site.put("__tasks__.py", good)
    site.due()

    assert site.last_run("Short").late_cause == "the task file was broken"


# (In the tables that follow, the run is queued at noon and begins five minutes later.)
BEGAN = NOON + minutes(5)


def other(start: float, stop: float | None = None, **facts: Any) -> Run:
    """Return a Run that was at work from and to so many minutes after noon."""
    plain: dict[str, Any] = {
        "task": "Other", "queued_at": NOON - minutes(60), "started_at": NOON + minutes(start), "attempt": 1,
        "fire_time": NOON, "state": RUNNING if stop is None else "succeeded",
        "finished_at": None if stop is None else NOON + minutes(stop),
    }  # fmt: skip
    return a_run(**{**plain, **facts})


def waited(**facts: Any) -> Run:
    return a_run(started_at=BEGAN, attempt=1, fire_time=NOON, state=RUNNING, **facts)


def hold(start: float, verb: str = "hold", **facts: Any) -> Action:
    return an_action(at=NOON + minutes(start), verb=verb, **facts)


EXCLUSIVE = {"exclusive": "db"}
UNTIL_FOUR = '{"until": "2026-11-21T12:04:00+00:00"}'


@pytest.mark.parametrize(
    "run, others, facts, cause",
    [
        (waited(), [], {}, None),
        (waited(), [other(-10, 5)], {}, "the only slot was busy"),
        (waited(), [other(-10, 5)], {"slots": 2}, None),
        (waited(), [other(-10, 5), other(-10, None)], {"slots": 2}, "all 2 slots were busy"),
        # One after the other, without a gap
        (waited(), [other(-10, 2), other(-9, 3), other(2, 5), other(3, None)], {"slots": 2}, "all 2 slots were busy"),
        # It was over before, or began afterwards
        (waited(), [other(-10, -1), other(6, None)], {}, None),
        # Too short to be the reason
        (waited(), [other(-10, 0.3)], {}, None),
        # What was run by hand takes no slot; what cron's due has claimed does
        (waited(), [other(-10, 5, origin="command", fire_time=None)], {}, None),
        (waited(), [other(-10, 5, origin="command")], {}, "the only slot was busy"),
        (waited(), [other(-10, 5, task="Report")], {"slots": 4}, "an earlier run was at work"),
        # What explains it best counts
        (waited(), [other(-10, 5, task="Report")], {}, "an earlier run was at work"),
        (waited(policy=a_policy(max_instances=2)), [other(-10, 5, task="Report")], {"slots": 4}, None),
        (
            waited(policy=a_policy(max_instances=2)), [other(-10, 5, task="Report"), other(-9, 5, task="Report")],
            {"slots": 4}, "2 earlier runs were at work",
        ),
        (waited(policy=a_policy(overlap="allow")), [other(-10, 5, task="Report")], {"slots": 4}, None),
        (waited(**EXCLUSIVE), [other(-10, 5, **EXCLUSIVE)], {"slots": 4}, "Other was at work (exclusive: db)"),
        (waited(**EXCLUSIVE), [other(-10, 5, exclusive="disk")], {"slots": 4}, None),
        (
            waited(**EXCLUSIVE), [other(-10, 2, **EXCLUSIVE), other(2, 5, task="Import", **EXCLUSIVE)], {"slots": 4},
            "Other was at work (exclusive: db); then Import was at work (exclusive: db)",
        ),
        (
            waited(), [other(-10, 1), other(1, 5, priority=9, queued_at=NOON + minutes(1))], {},
            "the only slot was busy, with runs of a higher priority",
        ),
        # It was there before, and would have been first in any case
        (waited(), [other(-10, 5, priority=9)], {}, "the only slot was busy"),
        (waited(), [], {"holds": [[hold(5, "resume"), hold(1)]]}, "held by anna until 12:05 UTC"),
        (waited(), [], {"holds": [[], [hold(3, "resume"), hold(0)]]}, "held by anna until 12:03 UTC"),
        (waited(), [], {"holds": [[hold(1, details=UNTIL_FOUR)]]}, "held by anna until 12:04 UTC"),
        # Resumed before, or held anew by another
        (waited(), [], {"holds": [[hold(-2, "resume"), hold(-9)]]}, None),
        (
            waited(), [], {"holds": [[hold(5, "resume"), hold(3, by="bert"), hold(0)]]},
            "held by anna until 12:03 UTC; then held by bert until 12:05 UTC",
        ),
        (
            waited(), [other(-10, 2)], {"holds": [[hold(5, "resume"), hold(1)]]},
            "the only slot was busy; then held by anna until 12:05 UTC",
        ),
        (waited(), [], {"broken": to_text(NOON)}, "the task file was broken"),
        (waited(), [], {"broken": f"{to_text(NOON)}\t{to_text(NOON + minutes(4))}"}, "the task file was broken"),
        (waited(), [], {"broken": f"{to_text(NOON - minutes(9))}\t{to_text(NOON - minutes(4))}"}, None),
        # Of a long wait only the end is known
        (waited(), [other(4.5, 5)], {"known_since": NOON + minutes(4.5)}, "the only slot was busy"),
    ],
)  # fmt: skip
def test_the_cause_of_a_wait(run, others, facts, cause):
    assert cause_of_wait(run, others, **facts) == cause


def test_a_name_that_holds_with_a_novel_does_not_fill_the_record():
    cause = cause_of_wait(waited(), [], holds=[[hold(0, by="anna\n" * 1000)]])

    assert len(cause) == 300 and "\n" not in cause


@pytest.mark.parametrize(
    "first, second, both",
    [(None, None, None), ("a", None, "a"), (None, "b", "b"), ("a", "b", "a; then b")],
)
def test_two_causes_are_one_sentence(first, second, both):
    assert joined(first, second) == both


def test_an_outcome_left_in_the_lock_file_keeps_its_cause():
    run = a_run(token="mine")
    outcome = an_outcome(late_cause="no request came; then all 4 slots were busy (exclusive: a=b)")

    assert from_lines(to_lines(run, outcome), run) == (outcome, None)


# -- How late ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts, late",
    [
        ({"fire_time": NOON, "started_at": NOON + minutes(3)}, minutes(3)),
        ({"started_at": NOON + minutes(3)}, minutes(3)),
        ({"fire_time": NOON}, None),
        # A clock that was set back
        ({"fire_time": NOON, "started_at": NOON - minutes(3)}, minutes(0)),
        ({"fire_time": NOON, "started_at": NOON + minutes(60), "attempt": 2}, None),
    ],
)
def test_lateness_counts_from_the_moment_of_a_run(facts, late):
    assert lateness(a_run(**facts)) == late


def test_a_further_attempt_is_late_by_what_it_began_after_its_own_moment():
    # Given a run that has failed, and was to be tried again at ten past
    with MemoryStore() as store:
        stored(store, a_schedule())
        run = begun(store, a_run(policy=a_policy(retries=3)))
        store.finish(run, an_outcome(state="failed", exit_code=1), retry_at=NOON + minutes(10))

        # When it is, at twelve past
        queued = store.run(run.id)
        assert queued.state == QUEUED
        again = store.take(queued, token="t", host="h", pid=1, now=NOON + minutes(12), limit=1)

    assert (again.attempt, lateness(again)) == (2, minutes(2))
    assert json.loads(again.attempts)[0]["retry_at"] == "2026-11-21T12:10:00Z"
