"""The brain of a tick, over a memory store, with the time handed in."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from time import sleep

import pytest
from helpers import a_policy, a_state, an_outcome, at, seconds, stored, taken

from dracotask import model
from dracotask.adoption import GONE_PATIENCE, Adoption
from dracotask.housekeeping import PRUNE_EVERY, Housekeeping
from dracotask.launchers.process import ProcessLauncher
from dracotask.model import Declaration, Run, Schedule
from dracotask.run.load import Loaded
from dracotask.run.outcome import to_lines
from dracotask.run.supervisor import FILES_NOTE, PROBLEM_NOTE, hold_run_lock
from dracotask.site import Asked, Site
from dracotask.state import State
from dracotask.stores.memory import MemoryStore
from dracotask.tick import Tick

HOURLY = "every 1h from 2000-01-01T00:00:00+00:00"
HALF_HOURLY = "every 30m from 2000-01-01T00:00:00+00:00"
#: The id of the Run of a command.
COMMAND = "1" * 26

EVERY_SECOND = "every 1s from 2000-01-01T00:00:00+00:00"


def clock(text: str, day: int = 21) -> datetime:
    """Return a time of day in November 2026, in UTC."""
    return at(f"2026-11-{day}T{text}+00:00")


class House:
    """A site's decisions over an empty memory store, and short words for what happens to it."""

    def __init__(self, folder: Path) -> None:
        self.state: State = a_state(folder)
        self.store = MemoryStore().open()
        self.decisions = Tick(self.store, self.state.log)
        self.adoption = Adoption(self.state, self.store)
        self.housekeeping = Housekeeping(self.state, self.store)

    def load(self, now: datetime, problem: str | None = None, /, **triggers: str | None) -> None:
        """Adopt a task file that declares these tasks."""
        declared = [
            Declaration(
                name=name, trigger=trigger, parameters="[]", policy=a_policy(), description="", source="__tasks__.py:1"
            )
            for name, trigger in triggers.items()
        ]
        loaded = Loaded(declared, f"{now}\t__tasks__.py\n", problem, has_file=True, warning=None)
        self.adoption.adopt(loaded, now)

    def tick(self, now: datetime) -> list[Run]:
        """Claim what is due and return the Runs that came of it."""
        before = {run.id for run in self.store.runs(limit=None)}
        self.decisions.claim_due(now, "tick")
        return [run for run in self.store.runs(states=["queued"], limit=None) if run.id not in before]

    def work_off(self) -> None:
        """See every queued Run to a good end."""
        for run in self.store.queued(100):
            self.store.finish(taken(self.store, run), an_outcome())

    def command(self, now: datetime, by: str = "anna") -> Run:
        """Queue the Run that a command for Report asks for."""
        site = Site(self.state.docroot)
        claimed = site._claim_for_command(self.store, self.report(), COMMAND, Asked("Report", by, None, False), now)
        if claimed is not None:
            return claimed
        run = model.new_run(self.report(), now, "command", run_id=COMMAND, by=by)
        self.store.add_run(run)
        return run

    def report(self) -> Schedule:
        schedule = self.store.schedule("Report")
        assert schedule is not None
        return schedule

    def rows(self, *states: str) -> list[tuple[object, ...]]:
        """Return the rows that never started: state, range, count and reason, oldest fire time first."""
        rows = self.store.runs(states=states or ("skipped", "missed"), limit=None)
        rows.sort(key=lambda row: row.fire_time or row.queued_at)
        return [(row.state, row.fire_from, row.fire_time, row.fire_count, row.summary) for row in rows]

    def log(self) -> str:
        return Path(self.state.log_file).read_text() if os.path.exists(self.state.log_file) else ""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    # Within a millisecond ids come in any order, and these stories go by faster.
    ids = count()
    monkeypatch.setattr(model, "new_run_id", lambda: f"{next(ids):026d}")
    return House(tmp_path)


# -- Load --------------------------------------------------------------------------------------


def test_only_fire_times_after_the_first_sight_count(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    assert (house.report().watermark, house.report().next_fire_time) == (clock("10:00:00"), clock("11:00:00"))
    assert (house.report().declared, house.report().task, house.report().source) == (True, "Report", "__tasks__.py:1")
    assert house.tick(clock("10:59:59.999999")) == []
    assert [run.fire_time for run in house.tick(clock("11:00:00"))] == [clock("11:00:00")]


def test_a_task_on_demand_has_no_fire_time(house):
    house.load(clock("10:00:00"), Report=None)
    assert house.report().next_fire_time is None
    assert house.tick(clock("10:00:00", 25)) == []


def test_schedules_keep_the_order_of_the_file(house):
    house.load(clock("10:00:00"), Zebra=None, Ant=HOURLY, Mule=None)
    assert [schedule.name for schedule in house.store.schedules()] == ["Zebra", "Ant", "Mule"]


def test_an_unchanged_declaration_is_left_alone(house):
    # Given a schedule that is due this very instant
    house.load(clock("10:00:00"), Report=HOURLY)
    before = house.report()

    # When the file is loaded again, unchanged
    house.load(clock("11:00:00.200000"), Report=HOURLY)

    # Then its fire time is not forgotten
    assert house.report() == before
    assert [run.fire_time for run in house.tick(clock("11:00:01"))] == [clock("11:00:00")]


def test_a_change_of_the_policy_leaves_the_fire_time_alone(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    stored(house.store, house.report().but(policy=a_policy(nice=3), description="as it was"))

    house.load(clock("11:30:00"), Report=HOURLY)

    assert (house.report().policy, house.report().description) == (a_policy(), "")
    assert house.report().next_fire_time == clock("11:00:00")


def test_a_changed_trigger_settles_first_what_was_due(house):
    # Given a schedule due since eleven and twelve
    house.load(clock("10:00:00"), Report=HOURLY)

    # When its trigger is changed before a tick has seen it
    house.load(clock("12:10:00"), Report=HALF_HOURLY)

    # Then the old trigger's fire times are a Run and a row, and the new one begins from now
    (run,) = house.store.active("Report")
    assert run.fire_time == clock("12:00:00")
    assert house.rows() == [
        ("skipped", None, clock("11:00:00"), 1, "came late: several fire times became one run")
    ]
    assert (house.report().trigger, house.report().next_fire_time) == (HALF_HOURLY, clock("12:30:00"))
    assert house.report().watermark == clock("12:00:00")


def test_a_changed_trigger_never_names_a_fire_time_twice(house):
    # Given a fire time that a host whose clock is ahead has claimed
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))

    # When a host whose clock is behind loads a changed file
    house.load(clock("10:59:57"), Report=HALF_HOURLY)

    # Then it goes on after what was claimed
    assert house.report().next_fire_time == clock("11:30:00")


def test_of_a_held_schedule_nothing_is_claimed_when_its_trigger_changes(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    stored(house.store, house.report().but(held_at=clock("10:30:00"), held_by="anna"))

    house.load(clock("12:10:00"), Report=HALF_HOURLY)

    assert house.store.active("Report") == []
    assert house.rows() == [("skipped", clock("11:00:00"), clock("12:00:00"), 2, "held by anna")]
    assert (house.report().held_at, house.report().next_fire_time) == (clock("10:30:00"), clock("12:30:00"))


@pytest.mark.parametrize(("old", "new"), [(HOURLY, None), (None, HOURLY)])
def test_a_trigger_may_come_and_go(house, old, new):
    house.load(clock("10:00:00"), Report=old)
    house.load(clock("10:30:00"), Report=new)
    assert house.report().next_fire_time == (clock("11:00:00") if new else None)


def test_a_broken_file_changes_nothing_but_what_is_told(house):
    house.load(clock("10:00:00"), Report=HOURLY, Backup=None)
    before = house.store.schedules()

    # When a broken file is loaded twice
    for minute in (10, 20):
        house.load(clock(f"10:{minute}:00"), "line 7: NameError: name 'x' is not defined")

    # Then all is as it was, the problem is known, and it was logged once
    assert house.store.schedules() == before
    assert house.store.note(PROBLEM_NOTE) == "line 7: NameError: name 'x' is not defined"
    assert house.store.note(FILES_NOTE).startswith(str(clock("10:20:00")))
    assert house.log().count("line 7") == 1

    # And when it is mended, that is told too
    house.load(clock("10:30:00"), Report=HOURLY, Backup=None)
    assert house.store.note(PROBLEM_NOTE) is None
    assert house.store.schedules() == before
    assert "mended" in house.log()


# -- Vanished ----------------------------------------------------------------------------------


def test_a_name_that_is_gone_for_an_instant_is_not_gone(house):
    # Given a file that an editor takes away for an instant
    house.load(clock("10:00:00"), Report=HOURLY)
    house.load(clock("10:59:59"))

    # When a fire time comes in that instant
    assert len(house.tick(clock("11:00:00"))) == 1
    house.load(clock("11:00:00.500000"), Report=HOURLY)

    # Then nothing has happened to the schedule, and nobody looks again for its sake
    assert house.report().vanished_at is None
    assert house.report().next_fire_time == clock("12:00:00")
    assert not house.adoption.must_load(True, clock("11:00:10"))


def test_a_name_that_stays_away_vanishes_after_two_seconds(house):
    house.load(clock("10:00:00"), Report=HOURLY, Backup=None)
    gone_at = clock("10:30:00")
    house.load(gone_at, Backup=None)

    # Given that somebody looks again, and loads again, when the two seconds are over
    assert house.adoption.next_look() == gone_at + GONE_PATIENCE
    assert not house.adoption.must_load(True, gone_at + seconds(1.9))
    assert house.adoption.must_load(True, gone_at + seconds(2))
    house.load(gone_at + seconds(1.9), Backup=None)
    assert house.report().vanished_at is None
    house.load(gone_at + seconds(2), Backup=None)

    # Then it never fires, and is not forgotten
    assert house.report().vanished_at == gone_at + seconds(2)
    assert house.tick(clock("15:00:00")) == []
    assert house.adoption.next_look() is None
    assert not house.adoption.must_load(True, clock("15:00:00"))
    assert "- Report" in house.log()


def test_what_comes_back_brings_no_burst_but_a_row_of_what_it_missed(house):
    # Given a schedule that ran at eleven and then vanished
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    house.work_off()
    house.load(clock("11:30:00"))
    house.load(clock("11:30:02"))

    # When it comes back in the afternoon
    house.load(clock("15:30:00"), Report=HOURLY)

    # Then it goes on with the next fire time, and the others are one row
    assert house.rows() == [
        ("missed", clock("12:00:00"), clock("15:00:00"), 4, "the task was gone from the file")
    ]
    assert (house.report().vanished_at, house.report().next_fire_time) == (None, clock("16:00:00"))
    assert house.tick(clock("15:59:59")) == []
    assert len(house.tick(clock("16:00:00"))) == 1
    assert "back: Report" in house.log()


def test_what_comes_back_keeps_its_hold_and_its_history(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    stored(house.store, house.report().but(held_at=clock("11:10:00"), held_by="anna"))
    house.load(clock("11:30:00"))
    house.load(clock("11:30:02"))

    house.load(clock("11:40:00"), Report=HALF_HOURLY)

    assert (house.report().held_by, house.report().watermark) == ("anna", clock("11:00:00"))
    assert len(house.store.runs(task="Report")) == 1


def test_a_name_that_vanished_twice_is_two_stories(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    for hour in (11, 14):
        house.load(clock(f"{hour - 1}:30:00"))
        house.load(clock(f"{hour - 1}:30:02"))
        house.load(clock(f"{hour}:30:00"), Report=HOURLY)
        assert house.report().vanished_at is None
    house.tick(clock("15:00:00"))
    assert house.store.active("Report")[0].fire_time == clock("15:00:00")


def test_a_clock_set_back_does_not_keep_a_name_that_is_gone(house):
    # Given a name that went while the clock was a day ahead
    house.load(clock("10:00:00"), Report=HOURLY)
    house.load(clock("10:00:00", 22))

    # When the clock has been set right
    assert house.adoption.must_load(True, clock("10:10:00"))
    house.load(clock("10:10:00"))

    # Then the name is not waited for until tomorrow
    assert house.report().vanished_at == clock("10:10:00")


# -- Claim -------------------------------------------------------------------------------------


def test_a_run_carries_what_its_schedule_said_when_it_was_claimed(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    (run,) = house.tick(clock("11:00:07"))
    house.store.put_schedule(house.report().but(policy=a_policy(nice=1), arguments='{"a": 1}'))
    assert (run.state, run.origin, run.attempt) == ("queued", "tick", 0)
    assert (run.fire_time, run.queued_at) == (clock("11:00:00"), clock("11:00:07"))
    assert (house.store.run(run.id).policy, house.store.run(run.id).arguments) == (a_policy(), "{}")


def test_a_tick_claims_each_fire_time_once_however_often_it_looks(house):
    house.load(clock("10:00:00"), Report=HOURLY, Backup=HALF_HOURLY)
    assert len(house.tick(clock("11:00:00"))) == 2
    house.work_off()
    assert house.tick(clock("11:00:00")) == house.tick(clock("11:29:59")) == []
    assert [run.task for run in house.tick(clock("11:30:00"))] == ["Backup"]


def test_the_answer_counts_the_runs_that_came_of_it(house):
    house.load(clock("10:00:00"), Report=HOURLY, Backup=HOURLY, Demand=None)
    assert house.decisions.claim_due(clock("10:30:00"), "tick") == 0
    assert house.decisions.claim_due(clock("11:00:00"), "request") == 2
    # Both are still active, so the next fire times are rows
    assert house.decisions.claim_due(clock("12:00:00"), "tick") == 0


def test_what_comes_due_while_a_run_is_active_is_one_row_that_grows(house):
    # Given a run of a task that is due each second
    house.load(clock("10:00:00"), Report=EVERY_SECOND)
    (run,) = house.tick(clock("10:00:01"))
    taken(house.store, run, now=clock("10:00:01"))

    # When ticks go by while it is at work
    for second in range(2, 20):
        assert house.tick(clock(f"10:00:{second:02}")) == []
    house.tick(clock("10:01:00"))

    # Then the fire times are one row from the first to the last, and nothing is lost
    assert house.rows() == [
        ("skipped", clock("10:00:02"), clock("10:01:00"), 59, "still running since 10:00:01 UTC")
    ]
    # And when it has ended, the next fire time is a Run
    house.store.finish(run.but(token="mine"), an_outcome())
    assert [run.fire_time for run in house.tick(clock("10:01:01"))] == [clock("10:01:01")]


def test_rows_of_two_runs_that_were_in_the_way_are_two(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    house.tick(clock("12:00:00"))
    house.work_off()
    house.tick(clock("13:00:00"))
    house.tick(clock("14:00:00"))
    assert house.rows() == [
        ("skipped", None, clock("12:00:00"), 1, "still queued since 11:00:00 UTC"),
        ("skipped", None, clock("14:00:00"), 1, "still queued since 13:00:00 UTC"),
    ]


def test_a_task_that_may_run_twice_is_busy_when_it_does(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    stored(house.store, house.report().but(policy=a_policy(max_instances=2)))
    assert len(house.tick(clock("11:00:00"))) == 1
    assert len(house.tick(clock("12:00:00"))) == 1
    assert house.tick(clock("13:00:00")) == []


def test_a_held_schedule_is_passed_by(house):
    house.load(clock("10:00:00"), Report=HOURLY, Backup=HOURLY)
    stored(house.store, house.report().but(held_at=clock("10:30:00")))
    assert [run.task for run in house.tick(clock("11:00:00"))] == ["Backup"]


# -- A clock that is set -----------------------------------------------------------------------


def test_a_clock_set_back_by_two_hours_is_waited_for(house):
    # Given a schedule that has run at eleven
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    house.work_off()

    # When the clock is set back to nine
    for time in ("09:00:00", "10:00:00", "11:00:00", "11:59:59"):
        assert house.tick(clock(time)) == []

    # Then it goes on where it was, and no row is left
    assert len(house.tick(clock("12:00:00"))) == 1
    assert house.rows() == []


def test_a_clock_set_back_by_three_hours_is_still_waited_for(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("12:00:00"))
    house.work_off()
    house.tick(clock("09:00:00"))
    assert house.report().watermark == clock("12:00:00")


def test_a_clock_set_back_by_four_hours_starts_over_and_passes_over_what_is_on_record(house):
    # Given a schedule that has run at twelve and thirteen
    house.load(clock("11:30:00"), Report=HOURLY)
    for time in ("12:00:00", "13:00:00"):
        assert len(house.tick(clock(time))) == 1
        house.work_off()

    # When the clock is set back to nine
    house.tick(clock("09:00:00"))

    # Then it is not silent until two, and a row and the log say so
    assert (house.report().watermark, house.report().next_fire_time) == (clock("09:00:00"), clock("10:00:00"))
    ((state, _, fire_time, _, reason),) = house.rows()
    assert (state, fire_time) == ("skipped", None)
    assert "the clock was set back from 2026-11-21 13:00:00" in reason
    assert "set back" in house.log()
    for time, runs in (("10:00:00", 1), ("11:00:00", 1), ("12:00:00", 0), ("13:00:00", 0), ("14:00:00", 1)):
        assert len(house.tick(clock(time))) == runs, time
        house.work_off()
    assert len(house.rows()) == 1


def test_a_clock_that_was_years_ahead_makes_nobody_silent_for_years(house):
    # Given a tick at boot, when the clock said 2030
    house.load(clock("10:00:00"), Report=HOURLY, Demand=None)
    house.tick(at("2030-01-01T00:00Z"))
    house.work_off()

    # When the clock is right again
    house.tick(clock("10:30:00"))

    # Then the schedule is too
    assert [run.fire_time for run in house.tick(clock("11:00:00"))] == [clock("11:00:00")]
    # And what is skipped now does not touch what is on record for then
    house.tick(clock("12:00:00"))
    house.tick(clock("13:00:00"))
    ((_, first, last, count, _), *_) = house.rows()[1:]
    assert (first, last, count) == (clock("12:00:00"), clock("13:00:00"), 2)


def test_a_schedule_first_seen_by_a_wrong_clock_is_set_right_too(house):
    house.load(at("2030-01-01T00:30Z"), Report=HOURLY)
    house.tick(clock("10:30:00"))
    assert house.report().next_fire_time == clock("11:00:00")


# -- Commands ----------------------------------------------------------------------------------


def test_a_command_takes_the_due_fire_time(house):
    # Given a task in cron and in schedule() for the same time
    house.load(clock("10:00:00"), Report=HOURLY)

    # When cron comes first
    run = house.command(clock("11:00:00"), by="root")

    # Then the fire time is its own, and the tick finds nothing left to do
    assert (run.id, run.origin, run.requested_by, run.fire_time) == (COMMAND, "command", "root", clock("11:00:00"))
    assert house.store.run(run.id) == run
    assert house.tick(clock("11:00:00")) == []
    assert house.rows() == []


def test_a_command_for_several_due_fire_times_leaves_the_row_that_a_tick_would(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    run = house.command(clock("13:05:00"), by="root")
    assert run.fire_time == clock("13:00:00")
    assert [row[1:4] for row in house.rows()] == [(clock("11:00:00"), clock("12:00:00"), 2)]


@pytest.mark.parametrize("state", ["not due", "claimed", "held", "vanished", "on demand"])
def test_a_command_is_a_demand_when_no_fire_time_is_to_be_had(house, state):
    # Given a schedule with nothing due, or nothing to be claimed
    now = clock("10:30:00") if state == "not due" else clock("11:00:00")
    house.load(clock("10:00:00"), Report=None if state == "on demand" else HOURLY)
    if state == "claimed":
        house.tick(now)
    if state in ("held", "vanished"):
        stored(house.store, house.report().but(**{f"{state}_at": clock("10:10:00")}))
    before = house.report()

    # When somebody runs it by hand
    run = house.command(now)

    # Then it runs anyway, and the schedule is as it was
    assert (run.fire_time, run.state, run.origin) == (None, "queued", "command")
    assert house.store.run(COMMAND) == run
    assert house.report() == before


def test_a_command_that_read_an_older_schedule_claims_nothing(house):
    # Given a command that read the schedule before a tick claimed it
    house.load(clock("10:00:00"), Report=HOURLY)
    read = house.report()
    house.tick(clock("11:00:00"))

    assert house.decisions.claim_for_command(read, COMMAND, "anna", clock("11:00:00")) is None
    assert house.store.run(COMMAND) is None


def test_a_command_for_a_fire_time_on_record_is_a_demand(house):
    # Given a fire time that ran before the clock was set back
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    house.work_off()
    stored(house.store, house.report().but(next_fire_time=clock("11:00:00"), watermark=clock("10:00:00")))

    run = house.command(clock("11:00:00"))

    assert run.fire_time is None
    assert house.store.run(run.id) == run
    assert house.report().next_fire_time == clock("12:00:00")


# -- Sweep -------------------------------------------------------------------------------------


def at_work(house: House) -> tuple[Run, int]:
    """Return a Run at work and the descriptor of its lock, which its supervisor would hold."""
    house.load(clock("10:00:00"), Report=HOURLY)
    (run,) = house.tick(clock("11:00:00"))
    held = hold_run_lock(house.state, run.id)
    assert held is not None
    return taken(house.store, run), held


def test_a_run_whose_lock_is_held_is_alive_however_long_it_takes(house):
    run, held = at_work(house)
    assert house.housekeeping.sweep(clock("11:00:00", 28)) == 0
    assert house.store.run(run.id) == run
    os.close(held)


def test_a_run_whose_lock_is_free_is_lost_once(house):
    run, held = at_work(house)
    os.close(held)

    assert house.housekeeping.sweep(clock("11:05:00")) == 1
    lost = house.store.run(run.id)
    assert (lost.state, lost.finished_at) == ("lost", clock("11:05:00"))
    assert "supervisor died" in lost.error
    assert run.id in house.log()
    # And nothing is left of it that a later sweep could trip over
    assert not os.path.exists(house.state.run_lock(run.id))
    assert house.housekeeping.sweep(clock("11:06:00")) == 0


def test_a_run_whose_lock_file_is_gone_is_lost(house):
    run, held = at_work(house)
    os.close(held)
    os.unlink(house.state.run_lock(run.id))
    assert house.housekeeping.sweep(clock("11:05:00")) == 1
    assert house.store.run(run.id).state == "lost"


def test_an_outcome_that_was_left_in_the_lock_file_is_believed(house):
    # Given a supervisor that the store would not listen to, and that wrote its last words down
    run, held = at_work(house)
    outcome = an_outcome(summary="412 orders", finished_at=clock("11:02:00"), cpu_seconds=0.25, peak_memory=1 << 20)
    os.pwrite(held, to_lines(run, outcome).encode(), 0)
    os.close(held)

    # When it is found
    assert house.housekeeping.sweep(clock("11:30:00")) == 1

    # Then the run is what it was, not lost
    facts = {name: getattr(outcome, name) for name in outcome.__slots__}
    assert house.store.run(run.id) == run.but(**facts, rev=run.rev + 1)


@pytest.mark.parametrize("words", ["token=another's\nstate=succeeded\nend\n", "state=succ", "\xff\xfe", "token=mine\n"])
def test_last_words_of_another_or_by_halves_are_not_believed(house, words):
    run, held = at_work(house)
    os.pwrite(held, words.encode("latin-1"), 0)
    os.close(held)
    house.housekeeping.sweep(clock("11:30:00"))
    assert house.store.run(run.id).state == "lost"


def test_a_queued_run_is_nothing_to_sweep(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    (run,) = house.tick(clock("11:00:00"))
    assert house.housekeeping.sweep(clock("11:00:00", 28)) == 0
    assert house.store.run(run.id) == run


# -- Housekeeping ------------------------------------------------------------------------------


def test_the_next_look_is_at_the_soonest_fire_time(house):
    assert house.adoption.next_look() is None
    house.load(clock("10:00:00"), Report=HOURLY, Backup=HALF_HOURLY, Demand=None)
    assert house.adoption.next_look() == clock("10:30:00")


def outputs(house: House) -> set[str]:
    return set(os.listdir(house.state.runs_folder))


def touch(path: str, moment: datetime) -> None:
    with open(path, "w"):
        pass
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def test_old_history_goes_with_its_output_and_only_once_an_hour(house):
    # Given three runs with their output, of which one is to be kept
    house.load(clock("10:00:00"), Report=HOURLY)
    stored(house.store, house.report().but(policy=a_policy(keep_runs=1)))
    for hour in (11, 12, 13):
        (run,) = house.tick(clock(f"{hour}:00:00"))
        touch(house.state.output_file(run.id), clock(f"{hour}:00:00"))
        house.work_off()

    # When it is cleared away
    house.housekeeping.prune(clock("13:10:00"))

    # Then rows and files of the others are gone
    (kept,) = house.store.runs(states=["succeeded"], limit=None)
    assert outputs(house) == {f"{kept.id}.log"}
    # And the next time is an hour later
    (run,) = house.tick(clock("14:00:00"))
    house.work_off()
    house.housekeeping.prune(clock("14:09:59"))
    assert len(house.store.runs()) == 2
    house.housekeeping.prune(clock("14:10:00"))
    assert [run.id for run in house.store.runs()] == [run.id]


def test_a_command_brings_no_more_into_the_queue_than_a_tick_would(house):
    # Given a task of which each fire time counts, with a run at work and ten fire times due
    house.load(clock("10:00:00"), Report=HALF_HOURLY)
    policy = a_policy(coalesce="all", overlap="queue", catch_up=3)
    stored(house.store, house.report().but(policy=policy))
    (run,) = house.tick(clock("10:30:00"))
    taken(house.store, run)

    # When commands come, again and again
    for hour in range(12, 20):
        house.command(clock(f"{hour}:05:00"))

    # Then no more wait than may
    assert len(house.store.runs(states=["queued"], limit=None)) == 3


def test_of_a_task_is_kept_what_any_of_its_schedules_wants_to_keep(house):
    # Given a task of which all is kept, and a schedule that was added for it with a policy of its own
    house.load(clock("10:00:00"), Report=HOURLY)
    brief = house.report().but(name="Brief", declared=False, rev=0, policy=a_policy(keep_runs=1, keep_days=0.001))
    stored(house.store, brief.but(trigger=None, next_fire_time=None))
    for hour in (11, 12, 13):
        house.tick(clock(f"{hour}:00:00"))
        house.work_off()

    # When history is cleared away
    house.housekeeping.prune(clock("13:10:00"))

    # Then that of the task is still there
    assert len(house.store.runs(states=["succeeded"], limit=None)) == 3


def test_what_one_tick_cannot_clear_away_the_next_ones_do(house, monkeypatch):
    # Given more history than is cleared away at once
    monkeypatch.setattr("dracotask.housekeeping.MOST_PRUNED", 2)
    house.load(clock("10:00:00"), Report=EVERY_SECOND)
    stored(house.store, house.report().but(policy=a_policy(keep_runs=1)))
    for second in range(1, 6):
        house.tick(clock(f"10:00:{second:02}"))
        house.work_off()

    # When ticks come, of which no two are an hour apart
    for second in range(6, 9):
        house.housekeeping.prune(clock(f"10:00:{second:02}"))

    # Then it is gone
    assert len(house.store.runs(states=["succeeded"], limit=None)) == 1


def test_history_goes_by_age_too(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    house.tick(clock("11:00:00"))
    house.work_off()
    house.housekeeping.prune(clock("11:00:00") + timedelta(days=89))
    assert len(house.store.runs()) == 1
    house.housekeeping.prune(at("2028-01-01T00:00Z"))
    assert house.store.runs() == []


def test_a_clock_once_wrong_does_not_keep_history_for_years(house):
    house.load(clock("10:00:00"), Report=HOURLY)
    house.housekeeping.prune(at("2030-01-01T00:00Z"))
    house.tick(clock("11:00:00"))
    stored(house.store, house.report().but(policy=a_policy(keep_days=0.001)))
    house.work_off()
    house.housekeeping.prune(clock("13:00:00"))
    assert house.store.runs() == []


def test_files_that_no_row_speaks_of_are_removed_when_they_are_old_and_nobodys(house):
    # Given files of a run that is known, of unknown ones, and of one that is only just beginning
    run, held = at_work(house)
    now, old = clock("11:30:00"), clock("11:30:00") - 2 * PRUNE_EVERY
    touch(house.state.output_file(run.id), old)
    touch(house.state.output_file("unknown"), old)
    touch(house.state.run_lock("unknown"), old)
    touch(house.state.output_file("new"), now)
    beginning = hold_run_lock(house.state, "beginning")
    os.utime(house.state.run_lock("beginning"), (0, 0))

    house.housekeeping.prune(now)

    assert outputs(house) == {f"{run.id}.log", f"{run.id}.lock", "new.log", "beginning.lock"}
    os.close(held)
    os.close(beginning)


def test_a_run_that_ends_while_files_are_looked_at_is_no_trouble(house, monkeypatch):
    # Given a listing of files of which one is gone by the time it is looked at
    monkeypatch.setattr(os, "listdir", lambda path: ["gone.lock", "gone.log"])
    house.housekeeping.prune(clock("10:00:00"))


def test_a_trigger_that_cannot_be_read_any_more_holds_up_no_other(tmp_path):
    # Given two hourly tasks, the zone of one of which has gone from this host
    house = House(tmp_path)
    house.load(clock("09:30"), Gone="cron 0 * * * * Europe/Berlin", Fine=HOURLY)
    gone = house.store.schedule("Gone")
    house.store.put_schedule(gone.but(trigger="cron 0 * * * * Mars/Olympus"))

    # When the hour comes
    runs = house.tick(clock("10:00"))

    # Then the other runs, the one waits without anybody looking at once again, and the log says why
    assert [run.task for run in runs] == ["Fine"]
    assert house.store.schedule("Gone").next_fire_time == clock("11:00")
    assert "Mars/Olympus" in Path(house.state.log_file).read_text()


def test_a_schedule_whose_old_trigger_cannot_be_read_can_be_mended(tmp_path):
    # Given a due task whose zone has gone from this host
    house = House(tmp_path)
    house.load(clock("09:30"), Report="cron 0 * * * * Europe/Berlin")
    house.store.put_schedule(house.report().but(trigger="cron 0 * * * * Mars/Olympus"))

    # When the file names another
    house.load(clock("10:30"), Report=HOURLY)

    # Then that is in force, and the log says that something may have been missed
    assert (house.report().trigger, house.report().next_fire_time) == (HOURLY, clock("11:00"))
    assert "Mars/Olympus" in Path(house.state.log_file).read_text()


def test_a_clock_set_back_and_a_trigger_that_cannot_be_read_do_not_stop_the_ticks(tmp_path):
    house = House(tmp_path)
    house.load(clock("09:30"), Report="cron 0 * * * * Europe/Berlin")
    ahead = house.report().but(trigger="cron 0 * * * * Mars/Olympus", watermark=at("2036-01-01T00:00Z"))
    house.store.put_schedule(ahead)

    assert house.tick(clock("10:00")) == []
    assert house.report().watermark == clock("10:00")
    assert house.report().next_fire_time == clock("11:00")


def test_a_name_gone_from_a_file_that_breaks_then_makes_nobody_look_all_the_time(house):
    # Given a name that is gone from a file, which is broken a second later
    house.load(clock("10:00:00"), Report=HOURLY, Backup=None)
    house.load(clock("10:30:00"), Backup=None)
    house.load(clock("10:30:01"), "line 1: SyntaxError")

    # Then nothing is due before the hour, and nobody loads the broken file again for its sake
    assert house.adoption.next_look() == clock("11:00:00")
    assert not house.adoption.must_load(True, clock("10:30:05"))
    # And the name is gone two seconds after somebody could tell again
    house.load(clock("10:40:00"), Backup=None)
    assert house.report().vanished_at is None
    house.load(clock("10:40:02"), Backup=None)
    assert house.report().vanished_at == clock("10:40:02")


@pytest.mark.parametrize("days", [1e6, 1e14])
def test_history_may_be_kept_for_ever(house, days):
    house.load(clock("10:00:00"), Report=HOURLY)
    stored(house.store, house.report().but(policy=a_policy(keep_days=days)))
    house.tick(clock("11:00:00"))
    house.work_off()
    house.housekeeping.prune(at("2028-01-01T00:00Z"))
    assert len(house.store.runs()) == 1


def test_an_outcome_left_in_a_lock_file_that_never_had_its_full_size_is_believed(house):
    # Given a run that began on a full disk, whose supervisor could leave its last words all the same
    run, held = at_work(house)
    os.ftruncate(held, 0)
    outcome = an_outcome(finished_at=clock("11:04:00"))
    os.pwrite(held, to_lines(run, outcome).encode(), 0)
    os.close(held)

    assert house.housekeeping.sweep(clock("11:05:00")) == 1
    assert house.store.run(run.id).state == "succeeded"


def test_a_slot_whose_holder_has_just_looked_in_vain_is_not_passed_over(tmp_path):
    # Given a supervisor that has found nothing more to do, and still has the only slot
    state = a_state(tmp_path)
    os.makedirs(os.path.dirname(state.slot(1)), exist_ok=True)
    looked, gate = tmp_path / "looked", tmp_path / "gate"

    class Looking:
        def listen(self) -> None: ...

        def work_off_queue(self, may_go_on: object) -> None:
            with looked.open("a") as file:
                file.write("x")
            for _ in count():
                if gate.exists():
                    return
                sleep(0.01)

    def launcher() -> ProcessLauncher:
        return ProcessLauncher(state, Looking(), max_running=1, private=[], is_open=lambda slot: True)

    first, second = launcher(), launcher()
    first.launch(1)
    while not looked.exists():
        sleep(0.01)

    # When the next tick finds no slot for what it has just queued
    second.launch(1)
    assert second.children == []
    gate.touch()
    first.wait()

    # Then the supervisor looks once more
    assert looked.read_text() == "xx"
