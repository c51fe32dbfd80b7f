"""What people do to schedules, over a store, with the time handed in."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from helpers import a_policy, a_schedule, a_state, an_outcome, at, taken

from dracotask.adoption import Adoption
from dracotask.arguments import misfit, parameters_of, typed
from dracotask.control import LONGEST_WHY, Control
from dracotask.errors import ControlError, ScheduleNotFound
from dracotask.model import Declaration, Policy, Run, Schedule
from dracotask.run.load import Loaded
from dracotask.stores.base import Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore
from dracotask.tick import Tick
from dracotask.triggers.date import DateTrigger
from dracotask.triggers.interval import IntervalTrigger

HOURLY = "every 1h from 2000-01-01T00:00:00+00:00"
PARAMETERS = '[["shop", "str?", false], ["days", "int", false], ["more", "any", false]]'
FIVE_MINUTES = IntervalTrigger(every="5m")


def clock(text: str, day: int = 21) -> datetime:
    """Return a time of day in November 2026, in UTC."""
    return at(f"2026-11-{day}T{text}:00+00:00")


def shortly(value: object) -> str:
    """Return the name of a case; a letter that is not ASCII would not do in one."""
    return ascii(value)[:40]


class House:
    """A store with one hourly task, Report, as of 10:30; and short words for what happens to it."""

    def __init__(self, store: Store, folder: Any) -> None:
        self.store = store
        self.said: list[str] = []
        self.control = Control(store, by="anna", log=self.said.append)
        self.state = a_state(folder)
        self.load(clock("10:30"), Report=HOURLY)

    def load(self, now: datetime, **triggers: str | None) -> None:
        declared = [
            Declaration(
                name=name, trigger=trigger, parameters=PARAMETERS, policy=a_policy(), description="",
                source="__tasks__.py:1",
            )
            for name, trigger in triggers.items()
        ]  # fmt: skip
        loaded = Loaded(declared, f"{now}\t__tasks__.py\n", None, has_file=True, warning=None)
        Adoption(self.state, self.store).adopt(loaded, now)

    def tick(self, now: datetime) -> list[Run]:
        """Claim what is due and return the Runs that came of it."""
        before = {run.id for run in self.store.runs(limit=None)}
        Tick(self.store, self.said.append).claim_due(now, "tick")
        return [run for run in self.store.runs(states=["queued"], limit=None) if run.id not in before]

    def work_off(self) -> None:
        for run in self.store.queued(100):
            mine = taken(self.store, run, limit=1000)
            assert mine is not None
            self.store.finish(mine, an_outcome())

    def schedule(self, name: str = "Report") -> Schedule:
        found = self.store.schedule(name)
        assert found is not None
        return found

    def on_record(self, *states: str) -> list[tuple[str, str | None]]:
        """Return the rows that never started, oldest first: what they stand for and why."""
        rows = self.store.runs(states=states or ("skipped", "missed"), limit=None)[::-1]
        return [(f"{row.fire_from or row.fire_time:%H:%M}-{row.fire_time:%H:%M}", row.summary) for row in rows]


@pytest.fixture(params=["memory", "sqlite"])
def house(request, tmp_path) -> House:
    store = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with store.open() as opened:
        yield House(opened, tmp_path)


# -- Hold and resume -------------------------------------------------------------------------


def test_what_falls_into_a_hold_is_one_row_and_comes_in_no_burst(house):
    # Given an hourly task that is held from 10:40 on
    house.control.hold("Report", clock("10:40"), why="the database moves")

    # When ticks come, and it is resumed after three fire times
    assert house.tick(clock("11:00")) == house.tick(clock("13:00")) == []
    resumed = house.control.resume("Report", clock("13:10"))

    # Then they are one row with the reason, and the next is the next
    assert house.on_record() == [("11:00-13:00", "held by anna: the database moves")]
    assert (resumed.held_at, resumed.next_fire_time) == (None, clock("14:00"))
    assert house.tick(clock("13:59")) == []
    assert len(house.tick(clock("14:00"))) == 1


def test_what_is_owed_when_the_hold_begins_is_claimed_and_waits_for_its_end(house):
    # Given a fire time that nobody has claimed when the hold comes
    house.control.hold("Report", clock("11:10"))

    # Then it is claimed, and not begun while the hold lasts
    (run,) = house.store.runs(states=["queued"])
    assert run.fire_time == clock("11:00")
    assert taken(house.store, run) is None
    assert house.store.queued(9) == []
    house.control.resume("Report", clock("11:20"))
    assert [queued.id for queued in house.store.queued(9)] == [run.id]


def test_a_hold_with_an_end_ends_by_itself_at_the_next_tick(house):
    # Given a hold until half past twelve
    house.control.hold("Report", clock("10:40"), until=clock("12:30"))
    assert house.store.next_fire_time() == clock("12:30")

    # When the first tick comes at five past one
    (run,) = house.tick(clock("13:05"))

    # Then what fell into it is on record, and what came after it runs
    assert house.on_record() == [("11:00-12:00", "held by anna")]
    assert run.fire_time == clock("13:00")
    assert house.schedule().held_at is None


def test_to_hold_what_is_held_changes_its_end_and_its_reason_and_not_its_beginning(house):
    house.control.hold("Report", clock("10:40"), why="the first")
    held = house.control.hold("Report", clock("12:40"), until=clock("14:00"), why="the second")
    assert (held.held_at, held.held_until, held.held_why) == (clock("10:40"), clock("14:00"), "the second")


def test_to_resume_what_is_not_held_changes_nothing(house):
    before = house.schedule()
    assert house.control.resume("Report", clock("10:40")) == before == house.schedule()
    assert house.store.actions() == []


def test_a_hold_outlives_reload_and_the_absence_of_its_task(house):
    # Given a held task
    house.control.hold("Report", clock("10:40"))

    # When it is changed in the file, vanishes, and comes back
    house.load(clock("11:10"), Report="every 30m from 2000-01-01T00:00:00+00:00")
    house.load(clock("11:20"))
    house.load(clock("11:21"))
    assert house.schedule().vanished_at == clock("11:21")
    assert house.tick(clock("12:30")) == []
    house.load(clock("13:10"), Report=HOURLY)

    # Then it is held as before
    assert house.schedule().held_at == clock("10:40")
    assert house.tick(clock("14:00")) == []


def test_a_one_shot_that_comes_while_it_is_held_is_on_record_and_not_lost(house):
    # Given a schedule of one fire time, held
    house.control.add("Once", "Report", DateTrigger(clock("11:00")), clock("10:40"))
    house.control.hold("Once", clock("10:41"))
    assert house.tick(clock("11:00")) != house.tick(clock("11:30"))

    # When it is resumed too late
    resumed = house.control.resume("Once", clock("12:00"), why="at last")

    # Then it says what became of it, and can still be run
    assert ("11:00-11:00", "held by anna") in house.on_record()
    assert resumed.next_fire_time is None
    assert house.control.run_now("Once", clock("12:01")).schedule == "Once"


def test_a_held_site_claims_and_begins_nothing_also_of_what_is_added_later(house):
    # Given a site that is held while a run is queued
    house.tick(clock("11:00"))
    (queued,) = house.store.queued(9)
    house.control.hold_site(clock("11:01"), why="a deploy")
    house.control.add("Later", "Report", FIVE_MINUTES, clock("11:02"))

    # Then nothing is claimed or begun
    assert house.tick(clock("12:00")) == []
    assert taken(house.store, queued) is None
    assert house.store.queued(9) == []
    assert house.store.next_fire_time() is None

    # And what fell into it is a row of each schedule
    assert house.control.resume_site(clock("12:01"))
    assert house.on_record() == [
        ("12:00-12:00", "held by anna, with the site: a deploy"),
        ("11:05-12:00", "held by anna, with the site: a deploy"),
    ] or sorted(house.on_record()) == [
        ("11:05-12:00", "held by anna, with the site: a deploy"),
        ("12:00-12:00", "held by anna, with the site: a deploy"),
    ]
    assert [run.id for run in house.store.queued(9)] == [queued.id]
    assert not house.control.resume_site(clock("12:02"))


def test_a_hold_of_the_site_is_no_time_to_claim_whatever_else_changes(house):
    # Given a held site
    house.control.hold_site(clock("10:40"), why="a deploy")

    # When its task is changed in the file, and then held and rescheduled
    house.load(clock("12:10"), Report="every 30m from 2000-01-01T00:00:00+00:00")
    house.control.hold("Report", clock("12:40"))
    house.control.reschedule("Report", FIVE_MINUTES, clock("12:41"))
    house.control.resume("Report", clock("12:42"))
    house.control.resume_site(clock("12:43"))

    # Then no run has come of it, and each fire time is on record with its reason
    assert house.store.queued(9) == []
    assert house.on_record() == [
        ("11:00-12:00", "held by anna, with the site: a deploy"),
        ("12:30-12:30", "held by anna"),
    ]
    assert house.schedule().next_fire_time == clock("12:45")


def test_what_is_owed_when_the_site_is_held_waits_in_the_queue(house):
    house.control.hold_site(clock("11:10"))
    house.control.resume_site(clock("11:20"))
    (run,) = house.store.queued(9)
    assert (run.fire_time, house.on_record()) == (clock("11:00"), [])


def test_a_hold_that_has_ended_is_over_also_where_no_tick_came_by(house):
    # Given a hold until noon, whose end no tick has seen
    house.control.hold("Report", clock("10:40"), until=clock("12:00"))

    # When it is held again an hour later
    house.control.hold("Report", clock("13:06"), why="again")

    # Then what came after its end is owed, and that of its very end too
    assert house.on_record()[0] == ("11:00-11:00", "held by anna")
    assert house.on_record()[1][0] == "12:00-12:00" and "became one run" in str(house.on_record()[1][1])
    assert clock("13:00") in [run.fire_time for run in house.store.active("Report")]


def test_a_hold_that_has_ended_keeps_nobody_from_a_run_of_now(house):
    house.control.hold("Report", clock("10:40"), until=clock("12:30"))
    assert house.control.run_now("Report", clock("12:31")).state == "queued"


def test_a_rule_that_came_after_a_hold_names_no_moment_before_it(house):
    # Given a hold that ended at 10:50, and another rule at 10:58
    house.control.hold("Report", clock("10:40"), until=clock("10:50"))
    house.control.reschedule("Report", FIVE_MINUTES, clock("10:58"))

    # Then a tick a minute later has nothing to do
    assert house.tick(clock("10:59")) == []
    assert house.schedule().next_fire_time == clock("11:00")


def test_what_a_task_misses_is_told_when_it_is_back_however_it_was_held(house):
    # Given a task that vanishes, is held and resumed, and comes back
    house.load(clock("11:30"))
    house.load(clock("11:31"))
    house.control.hold("Report", clock("11:50"))
    house.control.resume("Report", clock("12:10"))
    house.load(clock("15:30"), Report=HOURLY)

    # Then nothing of that time is forgotten
    assert house.on_record() == [("11:00-15:00", "the task was gone from the file")]
    assert house.schedule().next_fire_time == clock("16:00")


# -- Rules of time ---------------------------------------------------------------------------


def test_the_next_fire_time_is_skipped_and_said_to_be(house):
    # Given a task whose next fire time somebody wants skipped, and then the two after it
    house.control.skip_next("Report", clock("10:40"), why="a holiday")
    house.control.skip_next("Report", clock("10:41"), why="the day after")
    house.control.skip_next("Report", clock("10:42"))
    assert house.schedule().skip_until == clock("13:00")

    # When they come
    assert house.tick(clock("11:00")) == house.tick(clock("12:00")) == house.tick(clock("13:00")) == []

    # Then they are on record with both reasons, and the fourth runs
    assert house.on_record() == [("11:00-13:00", "skipped by anna: a holiday; skipped by anna: the day after")]
    (run,) = house.tick(clock("14:00"))
    assert run.fire_time == clock("14:00")


def test_a_skip_can_be_taken_back(house):
    house.control.skip_next("Report", clock("10:40"))
    house.control.resume("Report", clock("10:41"))
    assert house.schedule().skip_until is None
    assert len(house.tick(clock("11:00"))) == 1


def test_a_tick_that_comes_late_skips_no_more_than_it_was_asked_to(house):
    house.control.skip_next("Report", clock("10:40"))
    house.tick(clock("12:30"))
    (run,) = house.tick(clock("12:30")) or house.store.queued(1)
    assert (house.on_record(), run.fire_time) == ([("11:00-11:00", "skipped by anna")], clock("12:00"))


def test_what_comes_after_a_skip_is_not_lost_when_the_rule_changes(house):
    # Given a skip, and no tick for two fire times
    house.control.skip_next("Report", clock("10:40"))

    # When the rule changes
    house.control.reschedule("Report", FIVE_MINUTES, clock("12:10"))

    # Then the first is skipped, and the second claimed
    assert house.on_record() == [("11:00-11:00", "skipped by anna")]
    assert [run.fire_time for run in house.store.queued(9)] == [clock("12:00")]


def test_a_skip_is_of_the_next_fire_time_to_come_and_not_of_one_that_is_owed(house):
    house.control.skip_next("Report", clock("12:30"))
    assert house.schedule().skip_until == clock("13:00")
    house.control.hold("Report", clock("12:31"), until=clock("14:30"))
    house.control.skip_next("Report", clock("12:32"))
    assert house.schedule().skip_until == clock("15:00")


def test_a_skip_ends_with_the_rule_it_was_meant_for(house):
    house.load(clock("10:41"), Report="every 1d from 2000-01-01T03:00:00+00:00")
    house.control.skip_next("Report", clock("10:42"))
    house.load(clock("10:43"), Report=str(FIVE_MINUTES))
    assert len(house.tick(clock("10:45"))) == 1


def test_what_has_no_fire_time_to_come_cannot_be_skipped(house):
    house.control.add("Demanded", "Report", None, clock("10:40"))
    with pytest.raises(ControlError, match="no fire time to come"):
        house.control.skip_next("Demanded", clock("10:41"))


def test_another_rule_counts_at_once_and_what_the_old_one_owes_is_claimed(house):
    # When a task is rescheduled ten minutes after a fire time that nobody has claimed
    changed = house.control.reschedule("Report", FIVE_MINUTES, clock("11:10"))

    # Then that one is claimed, and the next follows the new rule
    assert [run.fire_time for run in house.store.queued(9)] == [clock("11:00")]
    assert changed.next_fire_time == clock("11:15")
    assert (changed.override, changed.trigger) == (str(FIVE_MINUTES), HOURLY)


def test_an_operators_rule_stands_until_the_file_has_another(house):
    # Given a task with an operator's rule
    house.control.reschedule("Report", FIVE_MINUTES, clock("10:40"))

    # When the file is loaded again as it was
    house.load(clock("10:41"), Report=HOURLY)
    assert house.schedule().next_fire_time == clock("10:45")

    # And then with another rule
    house.work_off()
    house.load(clock("10:42"), Report="every 30m from 2000-01-01T00:00:00+00:00")

    # Then the file's counts
    assert house.schedule().override is None
    assert house.schedule().next_fire_time == clock("11:00")


def test_one_can_go_back_to_the_rule_of_the_file(house):
    house.control.reschedule("Report", FIVE_MINUTES, clock("10:40"))
    back = house.control.reschedule("Report", None, clock("10:41"))
    assert (back.override, back.next_fire_time) == (None, clock("11:00"))
    house.control.add("Mine", "Report", FIVE_MINUTES, clock("10:42"))
    with pytest.raises(ControlError, match="stands in no file"):
        house.control.reschedule("Mine", None, clock("10:43"))


OVER = [DateTrigger(clock("10:00")), IntervalTrigger(every=60, end=clock("10:00"))]


@pytest.mark.parametrize("trigger", OVER, ids=str)
def test_a_rule_that_never_fires_again_is_refused(house, trigger):
    for refused in (
        lambda: house.control.reschedule("Report", trigger, clock("10:40")),
        lambda: house.control.add("Late", "Report", trigger, clock("10:40")),
    ):
        with pytest.raises(ControlError, match="never fires again"):
            refused()
    assert house.store.actions() == []


# -- Dynamic schedules -----------------------------------------------------------------------


def test_a_schedule_is_added_with_a_name_arguments_and_a_rule_of_its_own(house):
    # When a schedule is added
    added = house.control.add("Report of Riga", "Report", FIVE_MINUTES, clock("10:41"), arguments={"shop": "Riga"})
    assert (added.declared, added.task, added.next_fire_time) == (False, "Report", clock("10:45"))

    # Then it fires beside the task's own, and both may be at work at once
    runs = house.tick(clock("11:00"))
    assert {(run.schedule, run.task, run.arguments) for run in runs} == {
        ("Report", "Report", "{}"),
        ("Report of Riga", "Report", '{"shop": "Riga"}'),
    }
    assert all(taken(house.store, run) for run in house.store.queued(9))


def test_what_is_added_outlives_a_reload_and_follows_its_task(house):
    # Given an added schedule
    house.control.add("Mine", "Report", FIVE_MINUTES, clock("10:41"))

    # When the file is loaded again, without the task, and with it
    house.load(clock("10:42"), Report=HOURLY)
    assert house.schedule("Mine").vanished_at is None
    house.load(clock("10:43"), Other=HOURLY)
    house.load(clock("10:44"), Other=HOURLY)
    assert house.schedule("Mine").vanished_at == clock("10:44")
    assert house.tick(clock("10:50")) == []
    house.load(clock("11:01"), Report=HOURLY, Other=HOURLY)

    # Then it goes on, and what it missed is on record
    assert house.schedule("Mine").next_fire_time == clock("11:05")
    assert ("10:45-11:00", "the task was gone from the file") in house.on_record()


def test_a_name_is_replaced_only_on_purpose_and_keeps_its_hold(house):
    # Given an added schedule that is held, with a run at work
    house.control.add("Mine", "Report", FIVE_MINUTES, clock("10:41"))
    (run,) = house.tick(clock("10:45"))
    mine = taken(house.store, run)
    house.control.hold("Mine", clock("10:46"))

    # When another is added by the same name
    with pytest.raises(ControlError, match="is there already, of task Report"):
        house.control.add("Mine", "Report", IntervalTrigger(every="1h"), clock("10:47"))
    replaced = house.control.add("Mine", "Report", IntervalTrigger(every="1h"), clock("10:47"), replace=True)

    # Then the hold stays, for it is the name's, and the run at work ends as its own
    assert (replaced.held_at, replaced.next_fire_time) == (clock("10:46"), clock("11:00"))
    assert house.store.finish(mine, an_outcome()) == []

    # And none is begun beside it
    house.control.resume("Mine", clock("10:48"))
    assert len(house.tick(clock("11:00"))) == 2


def test_what_is_removed_is_gone_with_what_it_has_queued_and_leaves_its_history(house):
    # Given an added schedule with a queued run
    house.control.add("Mine", "Report", FIVE_MINUTES, clock("10:41"))
    house.tick(clock("10:45"))

    # When it is removed
    house.control.remove("Mine", clock("10:46"), why="no more shop")

    # Then nothing of it will begin
    assert house.store.schedule("Mine") is None
    assert [(run.state, run.summary) for run in house.store.runs()] == [("skipped", "Mine was removed by anna")]
    assert house.tick(clock("10:50")) == []
    with pytest.raises(ScheduleNotFound):
        house.control.remove("Mine", clock("10:51"))

    # And the name can be had again
    assert house.control.add("Mine", "Report", None, clock("10:52")).rev > 3


def test_what_is_removed_brings_no_run_back_that_was_demanded(house):
    # Given a schedule with a queued run and a demand for one after it
    house.control.add("Mine", "Report", None, clock("10:41"))
    mine = taken(house.store, house.control.demand("Mine", clock("10:42")))
    house.control.demand("Mine", clock("10:43"))
    house.control.run_now("Mine", clock("10:44"))

    # When it is removed, and the run at work ends
    house.control.remove("Mine", clock("10:45"))
    house.store.finish(mine, an_outcome())

    # Then nothing of it is left to do
    assert house.store.queued(9) == []


def test_a_new_task_of_its_name_has_what_a_dynamic_schedule_owed_settled_first(house):
    house.control.add("Nightly", "Report", FIVE_MINUTES, clock("10:40"), arguments={"shop": "Riga"})
    house.load(clock("10:46"), Report=HOURLY, Nightly=HOURLY)
    (run,) = house.store.queued(9)
    assert (run.task, run.arguments, run.fire_time) == ("Report", '{"shop": "Riga"}', clock("10:45"))


def test_a_rule_that_cannot_be_read_stops_no_load(house):
    # Given a dynamic schedule whose zone is gone, and whose task was away
    house.control.add("Mine", "Report", FIVE_MINUTES, clock("10:40"))
    house.store.put_schedule(house.schedule("Mine").but(trigger="cron 0 4 * * * Mars/Olympus"))
    house.load(clock("10:41"), Other=HOURLY)
    house.load(clock("10:42"), Other=HOURLY)

    # When the task comes back
    house.load(clock("10:50"), Report=HOURLY, Other=HOURLY)

    # Then it is looked at again later
    assert house.schedule("Mine").next_fire_time == clock("11:50")


def test_a_tasks_own_schedule_is_neither_removed_nor_replaced(house):
    with pytest.raises(ControlError, match="stands in the task file: hold it"):
        house.control.remove("Report", clock("10:40"))
    with pytest.raises(ControlError, match="is the name of a task"):
        house.control.add("Report", "Report", FIVE_MINUTES, clock("10:40"), replace=True)


def test_a_row_of_the_history_grows_only_over_what_follows_it(house):
    # Given a schedule that is held, removed, and hours later added and held again
    for began, ended in (("10:00", "12:10"), ("15:00", "17:10")):
        house.control.add("Mine", "Report", IntervalTrigger(every="1h"), clock(began))
        house.control.hold("Mine", clock(began))
        house.control.resume("Mine", clock(ended))
        house.control.remove("Mine", clock(ended))

    # Then the hours between are on no row
    assert house.on_record() == [("11:00-12:00", "held by anna"), ("16:00-17:00", "held by anna")]


def test_a_demand_for_a_task_that_has_gone_is_not_answered(house):
    mine = taken(house.store, house.control.demand("Report", clock("10:40")))
    house.control.demand("Report", clock("10:41"))
    house.load(clock("10:42"))
    house.load(clock("10:43"))
    assert house.store.finish(mine, an_outcome()) == []


def test_a_new_task_takes_the_name_that_a_dynamic_schedule_had(house):
    house.control.add("Nightly", "Report", FIVE_MINUTES, clock("10:40"), arguments={"shop": "Riga"})
    house.load(clock("10:41"), Report=HOURLY, Nightly=HOURLY)
    nightly = house.schedule("Nightly")
    assert (nightly.declared, nightly.task, nightly.arguments) == (True, "Nightly", "{}")
    assert nightly.next_fire_time == clock("11:00")


NO_NAMES = ["", " ", " Mine", "a\nb", "a\x1b[31m", "x" * 10_000, "\x00", "hold", "-x", None, 7]


@pytest.mark.parametrize("name", NO_NAMES, ids=shortly)
def test_what_is_no_name_is_refused(house, name):
    with pytest.raises(ControlError) as refusal:
        house.control.add(name, "Report", None, clock("10:40"))
    assert len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"shoop": "Riga"}, "run() takes no 'shoop'. It takes shop, days, more."),
        ({"days": "7"}, "days = '7' is not a whole number."),
        ({"days": True}, "days = True is not a whole number."),
        ({"more": {1}}, "not what JSON knows"),
        ({"more": float("nan")}, "not what JSON knows"),
        ({"more": "x" * 70_000}, "are too long"),
    ],
    ids=shortly,
)
def test_arguments_that_do_not_fit_are_refused(house, arguments, problem):
    for refused in (
        lambda: house.control.add("Mine", "Report", None, clock("10:40"), arguments=arguments),
        lambda: house.control.run_now("Report", clock("10:40"), arguments=arguments),
    ):
        with pytest.raises(ControlError) as refusal:
            refused()
        assert problem in str(refusal.value)
    assert house.store.runs() == []


# -- Runs --------------------------------------------------------------------------------------


def test_a_run_of_now_leaves_the_schedule_as_it_is(house):
    run = house.control.run_now("Report", clock("10:40"), arguments={"days": 3})
    assert (run.origin, run.requested_by, run.fire_time) == ("api", "anna", None)
    assert json.loads(run.arguments) == {"days": 3}
    assert house.schedule().next_fire_time == clock("11:00")


def test_a_held_task_runs_now_by_choice_and_not_by_mistake(house):
    # Given a held task
    house.control.hold("Report", clock("10:40"))

    # Then it is run only by who says so
    with pytest.raises(ControlError, match="Report is held by anna: resume it"):
        house.control.run_now("Report", clock("10:41"))
    run = house.control.run_now("Report", clock("10:42"), while_held=True)
    assert taken(house.store, run) is not None

    # And likewise while the site is held
    house.control.resume("Report", clock("10:43"))
    house.control.hold_site(clock("10:44"))
    with pytest.raises(ControlError, match="held with the whole site"):
        house.control.run_now("Report", clock("10:45"))


def test_beside_a_run_at_work_another_begins_by_choice(house):
    mine = taken(house.store, house.control.run_now("Report", clock("10:40")))
    assert mine is not None
    waiting = house.control.run_now("Report", clock("10:41"))
    beside = house.control.run_now("Report", clock("10:42"), while_running=True)
    assert [run.id for run in house.store.queued(9)] == [beside.id]
    assert Policy.from_text(beside.policy).max_instances > 1
    assert taken(house.store, waiting) is None


def test_several_demands_become_one_run_after_the_present_one(house):
    # Given a run at work
    mine = taken(house.store, house.control.demand("Report", clock("10:40")))
    assert mine is not None

    # When it is demanded three times, and ends
    assert [house.control.demand("Report", clock(f"10:4{n}")) for n in (1, 2, 3)] == [None] * 3
    inserted = house.store.finish(mine, an_outcome(finished_at=clock("10:50")))

    # Then one run follows
    assert [run.id for run in house.store.queued(9)] == [run.id for run in inserted]
    assert (len(inserted), inserted[0].origin) == (1, "demand")


def test_a_run_that_waits_is_answer_enough_for_a_demand(house):
    first = house.control.demand("Report", clock("10:40"))
    assert house.control.demand("Report", clock("10:41")).id == first.id
    house.work_off()
    assert house.store.queued(9) == []


def test_arguments_that_fitted_once_are_looked_at_again(house):
    # Given a schedule whose task takes other arguments by now
    house.control.add("Mine", "Report", None, clock("10:40"), arguments={"shop": "Riga"})
    house.store.put_schedule(house.schedule("Mine").but(parameters="[]"))

    # Then it is said before anything is queued
    for verb in (house.control.run_now, house.control.demand):
        with pytest.raises(ControlError, match=r"run\(\) takes no 'shop'"):
            verb("Mine", clock("10:41"))


def test_what_is_stopped_is_marked_and_what_is_queued_never_begins(house):
    # Given a run at work and one that waits beside it
    mine = taken(house.store, house.control.run_now("Report", clock("10:40")))
    waiting = house.control.run_now("Report", clock("10:41"))

    # When the schedule is stopped
    asked = house.control.stop("Report", clock("10:42"), why="wrong data", grace=3.0)

    # Then both know
    assert {run.id for run in asked} == {mine.id, waiting.id}
    marked = house.store.run(mine.id)
    assert (marked.state, marked.stop_by, marked.stop_why, marked.stop_grace) == ("running", "anna", "wrong data", 3.0)
    assert house.store.run(waiting.id).state == "stopped"
    assert house.control.stop("Report", clock("10:43")) == [] or marked.state == "running"


def test_names_that_are_not_there_come_with_the_likeliest(house):
    for verb in ("hold", "resume", "skip_next", "remove", "run_now", "demand"):
        with pytest.raises(ScheduleNotFound, match=r"no schedule 'Reprot'\. Did you mean Report\?"):
            getattr(house.control, verb)("Reprot", clock("10:40"))
    with pytest.raises(ScheduleNotFound, match="no task 'Reprot'"):
        house.control.add("Mine", "Reprot", None, clock("10:40"))
    with pytest.raises(ScheduleNotFound):
        house.control.stop("x" * 10_000, clock("10:40"))


def test_what_is_past_cannot_be_waited_for(house):
    with pytest.raises(ControlError, match="is past"):
        house.control.hold("Report", clock("10:40"), until=clock("10:39"))
    assert house.schedule().held_at is None


# -- On record -----------------------------------------------------------------------------------


def test_each_verb_leaves_its_row_with_who_when_and_why(house):
    house.control.hold("Report", clock("10:40"), until=clock("12:00"), why="the database\nmoves")
    house.control.resume("Report", clock("10:41"))
    house.control.reschedule("Report", FIVE_MINUTES, clock("10:42"), why="more often")
    house.control.add("Mine", "Report", None, clock("10:43"), arguments={"days": 3})
    rows = house.store.actions(limit=None)[::-1]
    assert [(row.verb, row.schedule, row.by, f"{row.at:%H:%M}", row.why) for row in rows] == [
        ("hold", "Report", "anna", "10:40", "the database moves"),
        ("resume", "Report", "anna", "10:41", None),
        ("reschedule", "Report", "anna", "10:42", "more often"),
        ("add", "Mine", "anna", "10:43", None),
    ]
    assert json.loads(rows[0].details) == {"until": "2026-11-21T12:00:00.000000+00:00"}
    assert json.loads(rows[3].details) == {"task": "Report", "arguments": '{"days": 3}'}
    assert rows[0].rev < rows[1].rev < rows[2].rev
    assert rows[2].rev == house.schedule().rev


def test_a_reason_that_is_too_long_changes_nothing(house):
    before = house.schedule()
    with pytest.raises(ControlError, match="too long"):
        house.control.hold("Report", clock("10:40"), why="x" * (LONGEST_WHY + 1))
    assert house.schedule() == before


def test_a_schedule_whose_rule_cannot_be_read_any_more_can_still_be_held_and_mended(house):
    # Given a rule of a zone that is gone
    assert house.store.put_schedule(house.schedule().but(trigger="cron 0 4 * * * Mars/Olympus"))

    # Then verbs go on, and another rule is the mending
    house.control.hold("Report", clock("11:10"))
    house.control.resume("Report", clock("11:20"))
    mended = house.control.reschedule("Report", FIVE_MINUTES, clock("11:21"))
    assert mended.next_fire_time == clock("11:25")
    assert any("is not known" in sentence for sentence in house.said)


# -- Arguments -------------------------------------------------------------------------------


def test_the_signature_of_run_says_what_it_can_be_handed():
    def run(shop: str, days: int = 7, *, rate=0.5, fast: bool | None = None, tags: list[str] = (), more="x"): ...

    assert json.loads(parameters_of(run)) == [
        ["shop", "str", True], ["days", "int", False], ["rate", "float", False], ["fast", "bool?", False],
        ["tags", "json", False], ["more", "str", False],
    ]  # fmt: skip


def test_words_become_what_the_signature_says():
    def run(shop, days: int, rate: float = 1, fast: bool = False, tags: dict | None = None): ...

    words = {"shop": "7", "days": "7", "rate": "0.5", "fast": "yes", "tags": '{"a": 1}'}
    values = {"shop": "7", "days": 7, "rate": 0.5, "fast": True, "tags": {"a": 1}}
    assert typed(parameters_of(run), words) == values
    assert misfit(parameters_of(run), values) is None
    assert typed(parameters_of(run), {"tags": "none"}) == {"tags": None}
    with pytest.raises(ValueError, match="days = 'seven' is not a whole number"):
        typed(parameters_of(run), {"days": "seven"})


def test_a_needed_argument_that_is_missing_is_told():
    def run(shop, days: int = 7): ...

    assert misfit(parameters_of(run), {}) == "run() needs shop."
    assert misfit(parameters_of(lambda **more: None), {"anything": 1}) is None
    assert misfit(None, {"anything": 1}) is None


def test_what_can_only_be_given_by_place_cannot_be_handed_over():
    def run(shop, /): ...

    with pytest.raises(ValueError, match="by its place"):
        parameters_of(run)


def test_moments_and_lengths_of_time_are_both_ends_of_a_hold():
    from dracotask.clock import moment_of

    now = clock("10:30")
    assert moment_of("2h", now) == moment_of(7200, now) == moment_of(timedelta(hours=2), now) == clock("12:30")
    assert moment_of("2026-11-21T12:30:00Z", now) == clock("12:30")
    for wrong in ("soon", "-2h", "2026-11-21", float("inf"), "9" * 30 + "d"):
        with pytest.raises(ValueError):
            moment_of(wrong, now)


def test_a_schedule_in_words_of_a_test_has_all_its_facts():
    assert a_schedule().in_force == a_schedule(trigger="x", override=HOURLY).in_force
