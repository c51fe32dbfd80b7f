"""The contract of stores/base.py, sentence by sentence, over every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    NOON,
    a_policy,
    a_run,
    a_schedule,
    an_action,
    an_outcome,
    at,
    begun,
    ended,
    runs_in_order,
    seconds,
    stored,
    taken,
)

from dracotask.errors import StoreMissing
from dracotask.model import Action, Claim, Gap, Run, Schedule, new_run
from dracotask.stores.base import HOLD_NOTE, PYTHON, Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore

ONE, TWO, THREE, FOUR = (NOON + seconds(3600 * hour) for hour in range(1, 5))


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if kind == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


@pytest.fixture
def other(kind: str, store: Store, tmp_path: Path) -> Iterator[Store]:
    """Return another handle to the same data: threads share a memory store, processes open the file anew."""
    if kind == "memory":
        yield store
        return
    with SQLiteStore(str(tmp_path / "state.db")).open(create=False) as opened:
        yield opened


def claimed(store: Store, schedule: Schedule, **facts: Any) -> bool:
    """Claim a fire time for a Run that fits it, and go on to ``next_fire_time``."""
    fire_time, gap = facts.pop("fire_time", None), facts.pop("gap", None)
    fire_times, gaps = [fire_time] if fire_time else [], [gap] if gap else []
    claim = Claim(**{"watermark": fire_time, "fire_times": fire_times, "gaps": gaps, **facts})
    runs = [new_run(schedule, NOON, "tick", fire_time=fire_time) for fire_time in claim.fire_times]
    return store.claim(schedule, claim, runs, NOON)


def skipped(first: Any, last: Any, count: int | None, reason: str = "still running", state: str = "skipped") -> Gap:
    return Gap(state=state, first=first, last=last, count=count, reason=reason)


def recorded(store: Store, gap: Gap) -> None:
    """Record a Gap for the schedule Report."""
    schedule = store.schedule("Report") or stored(store, a_schedule())
    assert claimed(store, schedule, gap=gap, watermark=gap.last, next_fire_time=gap.last + seconds(3600))


def names(schedules: list[Schedule]) -> list[str]:
    return [schedule.name for schedule in schedules]


def a_dynamic(name: str, **facts: Any) -> Schedule:
    """Return a schedule that was added at run time, as one of several of the task Report."""
    return a_schedule(name, task="Report", declared=False, **facts)


def ranges(store: Store) -> list[tuple[Any, Any, int | None]]:
    """Return what the rows of fire times that did not run say, in the order of those."""
    rows = sorted(store.runs(states=("skipped", "missed"), limit=None), key=lambda run: run.fire_time)
    return [(row.fire_from, row.fire_time, row.fire_count) for row in rows]


# -- Opening -----------------------------------------------------------------------------------


def test_a_new_store_is_empty(store):
    assert store.schedules() == store.runs() == store.due(NOON) == store.running() == store.queued(5) == []
    assert store.next_fire_time() is store.schedule("Report") is store.run("x") is store.note("x") is None
    assert store.last_runs() == {}
    assert store.holds_over(NOON) == store.actions() == store.active("Report") == store.ahead_of(NOON) == []


def test_opening_and_closing_twice_does_no_harm(store):
    store.put_note("fact", "kept")
    store.open().open()
    assert store.note("fact") == "kept"

    store.close()
    store.close()

    with store.open() as opened:
        assert opened is store
        assert store.note("fact") == "kept"


def test_a_reader_finds_no_store_where_nobody_made_one(kind, tmp_path):
    path = tmp_path / "state.db"
    unmade = MemoryStore() if kind == "memory" else SQLiteStore(str(path))
    with pytest.raises(StoreMissing):
        unmade.open(create=False)
    assert not path.exists()


# -- Schedules ---------------------------------------------------------------------------------


def test_a_schedule_is_kept_with_all_its_facts(store, other):
    # Given a schedule with a value in every field
    facts = {name: f"{name}, with ünicode and\nlines" for name in Schedule.__slots__}
    times = ("next_fire_time", "watermark", "held_at", "held_until", "skip_until", "vanished_at")
    moments = {name: NOON + seconds(number + 0.000001) for number, name in enumerate(times)}
    schedule = Schedule(**{**facts, **moments, "declared": False, "rev": 0})

    # When it is stored
    assert store.put_schedule(schedule)

    # Then everybody reads it back, its revision raised
    assert other.schedule(schedule.name) == schedule.but(rev=1)
    assert other.schedules() == [schedule.but(rev=1)]


def test_what_is_handed_out_is_a_copy(store):
    stored(store, a_schedule())
    begun(store, run := a_run())
    store.schedule("Report").name = store.schedules()[0].name = "changed"
    store.run(run.id).state = store.runs()[0].state = "changed"
    assert store.schedule("Report").name == "Report"
    assert store.run(run.id).state == "running"


def test_a_schedule_is_changed_only_if_it_is_still_as_it_was_read(store, other):
    # Given two who read the same revision
    read = stored(store, a_schedule())

    # When both change it
    assert other.put_schedule(read.but(description="the quicker"))
    lost = store.put_schedule(read.but(description="the slower"))

    # Then the slower hears of it, by a value
    assert lost is False
    assert store.schedule("Report") == read.but(description="the quicker", rev=2)


def test_inserting_is_lost_to_a_schedule_of_the_same_name(store, other):
    first = stored(store, a_schedule(description="first"))
    assert other.put_schedule(a_schedule(description="second")) is False
    assert store.schedule("Report") == first


def test_a_change_of_what_is_not_there_is_lost(store):
    assert store.put_schedule(a_schedule(rev=3)) is False
    assert store.schedules() == []


def test_the_watermark_is_written_as_handed_in(store):
    read = stored(store, a_schedule(watermark=TWO))
    store.put_schedule(read.but(watermark=ONE))
    assert store.schedule("Report").watermark == ONE


def test_schedules_come_in_the_order_in_which_they_were_first_seen_vanished_ones_too(store):
    for name in ("Zebra", "Ant", "Mule"):
        stored(store, a_schedule(name))
    store.put_schedule(store.schedule("Zebra").but(vanished_at=NOON))
    store.put_schedule(store.schedule("Ant").but(description="changed later"))
    assert [schedule.name for schedule in store.schedules()] == ["Zebra", "Ant", "Mule"]


def test_due_is_what_has_a_fire_time_by_now_soonest_first(store):
    for name, fire_time in (("Later", TWO), ("Now", ONE), ("Long", NOON), ("Never", None)):
        stored(store, a_schedule(name, next_fire_time=fire_time))
    assert [schedule.name for schedule in store.due(ONE)] == ["Long", "Now"]
    assert [schedule.name for schedule in store.due(ONE - seconds(0.000001))] == ["Long"]
    assert store.next_fire_time() == NOON


def test_what_is_held_or_vanished_is_never_due(store):
    stored(store, a_schedule("Held", next_fire_time=NOON, held_at=NOON))
    stored(store, a_schedule("Gone", next_fire_time=NOON, vanished_at=NOON))
    stored(store, a_schedule("Open", next_fire_time=TWO))
    assert store.due(ONE) == []
    assert store.next_fire_time() == TWO


def test_ahead_of_are_the_schedules_whose_watermark_is_later(store):
    for name, watermark in (("Stuck", TWO), ("Level", ONE), ("New", None)):
        stored(store, a_schedule(name, watermark=watermark))
    assert [schedule.name for schedule in store.ahead_of(ONE)] == ["Stuck"]


def test_a_hold_is_over_at_the_moment_it_was_to_last_to(store):
    # Given schedules held until this moment or that, for good, and one that is gone from the file
    for name, held_until in (("Later", THREE), ("Soon", TWO), ("Sooner", ONE), ("For good", None)):
        stored(store, a_schedule(name, next_fire_time=NOON, held_at=NOON, held_until=held_until))
    stored(store, a_schedule("Gone", held_at=NOON, held_until=NOON, vanished_at=NOON))

    # Then the holds end one by one
    assert store.holds_over(ONE - seconds(0.000001)) == []
    assert names(store.holds_over(ONE)) == ["Sooner"]
    assert names(store.holds_over(TWO)) == ["Sooner", "Soon"]

    # And the next thing to happen is the end of a hold, or a fire time, whatever is sooner
    assert store.next_fire_time() == ONE
    stored(store, a_schedule("Open", next_fire_time=ONE - seconds(1)))
    assert store.next_fire_time() == ONE - seconds(1)
    assert names(store.due(FOUR)) == ["Open"]


def test_what_is_resumed_is_no_more_a_hold_that_ends(store):
    held = stored(store, a_schedule(next_fire_time=TWO, held_at=NOON, held_until=ONE))
    stored(store, held.but(held_at=None, held_until=None))
    assert store.holds_over(FOUR) == []
    assert store.next_fire_time() == TWO


def test_while_the_site_is_held_nothing_is_due(store, other):
    # Given a schedule that is due and a site that is held
    stored(store, a_schedule(next_fire_time=ONE))
    store.put_note(HOLD_NOTE, "")
    assert other.due(FOUR) == []
    assert other.next_fire_time() is None

    # When the site is resumed
    store.put_note(HOLD_NOTE, None)

    # Then it is due as it was
    assert names(other.due(FOUR)) == ["Report"]
    assert other.next_fire_time() == ONE


def test_a_schedule_is_removed_only_if_it_is_still_as_it_was_read(store, other):
    # Given a schedule with a history
    read = stored(store, a_schedule(next_fire_time=ONE, watermark=TWO))
    run = ended(store, a_run())
    changed = stored(other, read.but(description="the quicker"))

    # Then who read it before the change cannot remove it
    assert store.remove_schedule(read) is False
    assert store.schedule("Report") == changed

    # And who read it after can, once; its Runs stay
    assert store.remove_schedule(changed) is True
    assert store.remove_schedule(changed) is False
    assert other.schedule("Report") is None
    assert other.schedules() == other.due(FOUR) == other.ahead_of(NOON) == []
    assert other.next_fire_time() is None
    assert other.run(run.id) == run


def test_what_was_never_stored_cannot_be_removed(store):
    assert store.remove_schedule(a_schedule()) is False


def test_a_schedule_that_was_removed_comes_back_as_the_last(store):
    for name in ("Zebra", "Ant", "Mule"):
        stored(store, a_schedule(name))
    assert store.remove_schedule(store.schedule("Ant"))
    stored(store, a_schedule("Ant"))
    assert names(store.schedules()) == ["Zebra", "Mule", "Ant"]


def test_a_name_that_comes_back_goes_on_where_its_actions_ended(store, other):
    # Given a schedule that was added, held, changed by a claim, and removed, and another that was not
    added = stored(store, a_schedule())
    store.add_action(an_action(rev=added.rev, verb="add"))
    held = stored(store, added.but(held_at=NOON))
    store.add_action(an_action(rev=held.rev))
    claimed(store, held, next_fire_time=TWO, watermark=ONE)
    last = store.schedule("Report")
    store.add_action(an_action(rev=last.rev + 1, verb="remove"))
    store.add_action(an_action("Backup", rev=70))
    assert store.remove_schedule(last)

    # When it comes back and is held again
    again = stored(other, a_schedule())
    store.add_action(an_action(rev=again.rev, verb="add"))
    store.add_action(an_action(rev=stored(other, again.but(held_at=TWO)).rev))

    # Then in the order of revisions the actions lead to the state of now
    assert again.rev == last.rev + 2
    replay = sorted(store.actions(schedule="Report"), key=lambda action: action.rev)
    assert [(action.rev, action.verb) for action in replay] == [
        (1, "add"), (2, "hold"), (4, "remove"), (5, "add"), (6, "hold"),
    ]  # fmt: skip
    assert store.schedule("Report").rev == 6
    # And a name that nobody has done anything to begins at 1
    assert stored(store, a_schedule("Fresh")).rev == 1


# -- Claim -------------------------------------------------------------------------------------


def test_a_claim_makes_the_run_the_gap_and_the_next_fire_time_in_one_step(store, other):
    # Given a schedule that was due three times
    schedule = stored(store, a_schedule(next_fire_time=ONE))

    # When the last is claimed and the others recorded
    gap = skipped(ONE, TWO, 2, "came late")
    assert claimed(store, schedule, fire_time=THREE, gap=gap, next_fire_time=FOUR)

    # Then all of it is there for everybody
    assert other.schedule("Report") == schedule.but(next_fire_time=FOUR, watermark=THREE, rev=2)
    (run,) = other.active("Report")
    assert (run.state, run.fire_time, run.schedule) == ("queued", THREE, "Report")
    (row,) = other.runs(states=["skipped"])
    assert (row.fire_from, row.fire_time, row.fire_count, row.summary) == (ONE, TWO, 2, "came late")
    assert (row.finished_at, row.started_at) == (NOON, None)


def test_a_claim_of_an_older_revision_does_nothing(store, other):
    schedule = stored(store, a_schedule(next_fire_time=ONE))
    other.put_schedule(schedule.but(held_at=NOON))

    assert claimed(store, schedule, fire_time=TWO, gap=skipped(ONE, ONE, 1), next_fire_time=THREE) is False

    assert store.schedule("Report") == schedule.but(held_at=NOON, rev=2)
    assert store.runs() == []


def test_a_fire_time_on_record_is_passed_over(store):
    # Given a fire time that ran before the clock was set back
    schedule = stored(store, a_schedule(next_fire_time=ONE))
    claimed(store, schedule, fire_time=ONE, next_fire_time=TWO)
    back = stored(store, store.schedule("Report").but(next_fire_time=ONE, watermark=NOON))

    # When it is claimed again
    assert claimed(store, back, fire_time=ONE, next_fire_time=TWO) is True

    # Then there is still one Run, and the schedule has gone on
    assert len(store.runs()) == 1
    assert (store.schedule("Report").next_fire_time, store.schedule("Report").watermark) == (TWO, ONE)


def test_fire_times_of_two_schedules_do_not_meet(store):
    for name in ("Report", "Backup"):
        assert claimed(store, stored(store, a_schedule(name)), fire_time=ONE, next_fire_time=TWO)
    assert len(store.runs()) == 2


def test_a_claim_without_a_run_moves_the_schedule_alone(store):
    schedule = stored(store, a_schedule(next_fire_time=ONE))
    assert claimed(store, schedule, next_fire_time=None, watermark=ONE)
    assert store.schedule("Report") == schedule.but(next_fire_time=None, watermark=ONE, rev=2)
    assert store.runs() == []


def test_a_gap_of_one_fire_time_is_no_range(store):
    recorded(store, skipped(ONE, ONE, 1))
    assert ranges(store) == [(None, ONE, 1)]


def test_a_gap_that_continues_the_row_before_it_extends_that_row(store):
    # Given a fire time skipped because a run is at work
    recorded(store, skipped(ONE, ONE, 1))
    (row,) = store.runs()

    # When the next two are skipped for the same reason
    recorded(store, skipped(TWO, TWO, 1))
    recorded(store, skipped(THREE, FOUR, 2))

    # Then one row stands for the whole range, from the first of them on
    assert ranges(store) == [(ONE, FOUR, 4)]
    assert store.runs()[0].id == row.id
    assert store.runs()[0].rev > row.rev


def test_nobody_counts_a_range_of_which_a_part_was_not_counted(store):
    recorded(store, skipped(ONE, ONE, 1))
    recorded(store, skipped(TWO, THREE, None))
    assert ranges(store) == [(ONE, THREE, None)]
    recorded(store, skipped(FOUR, FOUR, 1))
    assert ranges(store) == [(ONE, FOUR, None)]


def test_a_gap_for_another_reason_or_of_another_state_is_a_row_of_its_own(store):
    recorded(store, skipped(ONE, ONE, 1, "still running"))
    recorded(store, skipped(TWO, TWO, 1, "came late"))
    recorded(store, skipped(THREE, THREE, 1, "came late", "missed"))
    assert ranges(store) == [(None, ONE, 1), (None, TWO, 1), (None, THREE, 1)]


def test_a_run_between_two_gaps_keeps_them_apart(store):
    recorded(store, skipped(ONE, ONE, 1))
    claimed(store, store.schedule("Report"), fire_time=TWO, next_fire_time=THREE)
    recorded(store, skipped(THREE, THREE, 1))
    assert ranges(store) == [(None, ONE, 1), (None, THREE, 1)]


def test_a_gap_never_draws_a_row_of_the_future_back(store):
    # Given rows from when the clock was wrong by years
    recorded(store, skipped(at("2030-01-01T01:00Z"), at("2030-01-01T02:00Z"), 2))

    # When fire times are skipped after it was set right
    recorded(store, skipped(ONE, ONE, 1))
    recorded(store, skipped(TWO, TWO, 1))

    # Then those are a row of their own, which grows as ever
    assert ranges(store) == [(ONE, TWO, 2), (at("2030-01-01T01:00Z"), at("2030-01-01T02:00Z"), 2)]


def test_a_gap_on_record_is_recorded_once(store):
    recorded(store, skipped(ONE, TWO, 2))
    recorded(store, skipped(ONE, TWO, 2))
    assert ranges(store) == [(ONE, TWO, 2)]


# -- Demand ------------------------------------------------------------------------------------


def test_a_demand_runs_at_once_when_nothing_of_the_schedule_is_active(store, other):
    stored(store, a_schedule())
    ended(store, a_run())
    run = a_run(requested_by="anna")
    assert store.demand("Report", run) == run
    assert other.run(run.id) == run
    assert other.schedule("Report").demand is None


@pytest.mark.parametrize("state", ["queued", "running"])
def test_several_demands_while_a_run_is_active_become_one_when_it_has_ended(store, other, state):
    # Given a Run that waits, or is at work
    stored(store, a_schedule(arguments='{"of": "today"}'))
    store.add_run(active := a_run())
    if state == "running":
        taken(store, active)

    # When it is demanded twice
    assert store.demand("Report", a_run(requested_by="anna")) is None
    assert other.demand("Report", a_run(requested_by="bert")) is None

    # Then there is still one Run, until it ends
    assert store.runs() == store.active("Report")
    assert len(store.runs()) == 1
    if state == "queued":
        taken(store, active)
    (following,) = store.finish(active.but(token="mine"), an_outcome(finished_at=TWO))
    assert other.active("Report") == [following]
    assert (following.state, following.origin, following.requested_by) == ("queued", "demand", "bert")
    assert (following.queued_at, following.fire_time, following.arguments) == (TWO, None, '{"of": "today"}')

    # And the demand is answered by it, once
    assert store.schedule("Report").demand is None
    begun_one = taken(store, following)
    store.finish(begun_one, an_outcome())
    assert other.active("Report") == []


def test_a_demand_lets_nobody_change_the_schedule_as_it_was(store):
    read = stored(store, a_schedule(next_fire_time=ONE))
    begun(store, a_run())
    store.demand("Report", a_run(origin="console"))
    assert store.put_schedule(read) is False
    assert store.schedule("Report").demand == "console"


def test_a_demand_is_not_lost_where_there_is_no_schedule_to_flag(store):
    begun(store, a_run())
    run = a_run()
    assert store.demand("Report", run) == run
    assert store.run(run.id) == run


@pytest.mark.parametrize("how", ["skip", "stop"])
def test_a_demand_is_answered_when_the_run_it_waited_for_never_begins(store, how):
    # Given a demand that waits for a queued Run
    stored(store, a_schedule())
    store.add_run(waiting := a_run())
    assert store.demand("Report", a_run(requested_by="anna")) is None

    # When that one is skipped or stopped
    if how == "skip":
        assert store.skip(waiting, "no use any more", TWO)
    else:
        assert store.request_stop(waiting.id, by="bert", why=None, now=TWO)

    # Then it is the demand's turn
    (following,) = store.active("Report")
    assert (following.requested_by, following.queued_at) == ("anna", TWO)
    assert store.schedule("Report").demand is None


def test_a_demand_waits_on_when_another_run_is_still_active(store):
    stored(store, a_schedule())
    begun(store, at_work := a_run())
    store.add_run(waiting := a_run())
    store.demand("Report", a_run(requested_by="anna"))
    store.skip(waiting, "already running", TWO)
    assert store.active("Report") == [store.run(at_work.id)]
    assert store.schedule("Report").demand == "anna"


def test_a_demand_waits_for_its_own_schedule_and_for_no_other_of_the_task(store):
    # Given two schedules of one task, of which one is at work
    for name in ("Riga", "Oslo"):
        stored(store, a_dynamic(name))
    at_work = begun(store, a_run(schedule="Riga"))

    # When both are demanded
    assert store.demand("Riga", a_run(schedule="Riga", requested_by="anna")) is None
    free = store.demand("Oslo", a_run(schedule="Oslo", requested_by="anna"))

    # Then the idle one runs at once, and the other when its own Run has ended
    assert store.active("Oslo") == [free]
    (following,) = store.finish(at_work, an_outcome())
    assert (following.schedule, following.task) == ("Riga", "Report")
    assert store.active("Riga") == [following]


@pytest.mark.parametrize("how", ["skip", "stop"])
def test_a_demand_is_answered_whatever_else_of_the_task_is_active(store, how):
    # Given a demand that waits for a queued Run, and another schedule of the same task at work
    for name in ("Riga", "Oslo"):
        stored(store, a_dynamic(name))
    begun(store, a_run(schedule="Oslo"))
    store.add_run(waiting := a_run(schedule="Riga"))
    store.demand("Riga", a_run(schedule="Riga", requested_by="anna"))

    # When the queued one never begins
    if how == "skip":
        assert store.skip(waiting, "no use any more", TWO)
    else:
        assert store.request_stop(waiting.id, by="bert", why=None, now=TWO)

    # Then it is the demand's turn
    assert [run.requested_by for run in store.active("Riga")] == ["anna"]


# -- Take, give back, finish -------------------------------------------------------------------


def test_a_run_is_kept_with_all_its_facts(store, other):
    texts = {name: f"{name}, with ünicode and\nlines" for name in Run.__slots__}
    times = ("fire_from", "fire_time", "queued_at", "started_at", "finished_at", "stop_at", "not_before")
    moments = {name: NOON + seconds(number + 0.000001) for number, name in enumerate(times)}
    numbers = {
        "fire_count": 3, "attempt": 2, "pid": 77, "exit_code": -9, "cpu_seconds": 0.25, "peak_memory": 5 << 30,
        "output_bytes": 7, "progress_done": 0.5, "progress_total": 3.0, "stop_grace": 1.5, "priority": -7, "rev": 4,
    }  # fmt: skip
    run = Run(**{**texts, **moments, **numbers, "state": "stopped", "despite_hold": True})
    store.add_run(run)
    assert other.run(run.id) == run


def test_nobody_has_leave_to_begin_despite_a_hold_who_was_not_given_it(store):
    store.add_run(run := a_run(despite_hold=None))
    assert store.run(run.id).despite_hold is False


def test_a_taken_run_is_running_and_carries_its_takers_mark(store, other):
    store.add_run(run := a_run())
    won = store.take(run, token="t1", host="web1", pid=77, now=TWO, limit=1)
    assert won == other.run(run.id)
    assert won == run.but(
        state="running", token="t1", host="web1", pid=77, started_at=TWO, attempt=1, python=PYTHON, rev=2
    )
    assert other.running() == [won]


def test_a_run_can_be_inserted_and_taken_in_one_step(store, other):
    begun = store.begin(a_run(id="01"), token="mine", host="here", pid=4242, now=NOON, limit=1)

    assert (begun.state, begun.token, begun.attempt) == ("running", "mine", 1)
    assert other.run("01") == begun


def test_a_run_that_cannot_be_taken_is_inserted_queued(store):
    # Given a schedule that is at work already
    store.begin(a_run(id="01"), token="theirs", host="here", pid=1, now=NOON, limit=1)

    # When one more is to begin
    run = store.begin(a_run(id="02"), token="mine", host="here", pid=2, now=NOON, limit=1)

    # Then it waits, and can be taken later
    assert (run.state, store.run("02").state, store.run("02").token) == ("queued", "queued", None)
    assert taken(store, run, limit=2) is not None


def test_a_take_that_comes_second_returns_the_run_as_the_winner_has_it(store, other):
    store.add_run(run := a_run())
    won = other.take(run, token="theirs", host="web1", pid=77, now=ONE, limit=9)
    assert store.take(run, token="mine", host="web2", pid=88, now=TWO, limit=9) == won
    assert store.run(run.id).token == "theirs"


def test_a_take_of_a_run_that_is_gone_is_none(store):
    assert store.take(a_run(), token="mine", host="here", pid=1, now=NOON, limit=1) is None


def test_a_take_of_an_older_revision_is_lost(store):
    store.add_run(run := a_run())
    first = taken(store, run)
    store.give_back(first)
    assert taken(store, run, token="again") is None
    assert taken(store, store.run(run.id), token="again") is not None


def test_nothing_of_a_held_schedule_is_taken(store):
    schedule = stored(store, a_schedule())
    store.add_run(run := a_run())
    store.put_schedule(schedule.but(held_at=NOON))
    assert taken(store, run) is None
    assert store.run(run.id) == run

    store.put_schedule(store.schedule("Report").but(held_at=None))
    assert taken(store, run) is not None


def test_nothing_is_taken_while_the_site_is_held(store, other):
    # Given a site that is held, with a Run queued and one that comes
    run, coming = runs_in_order(2)
    store.add_run(run)
    store.put_note(HOLD_NOTE, "by anna")
    assert taken(other, run) is None
    begun = other.begin(coming, token="mine", host="here", pid=1, now=NOON, limit=1)
    assert (begun.state, begun.token) == ("queued", None)
    assert other.queued(9) == []

    # When it is resumed
    store.put_note(HOLD_NOTE, None)

    # Then both can begin
    assert other.queued(9) == [run]
    assert taken(other, run) and taken(other, begun, limit=2)


@pytest.mark.parametrize("held", ["the schedule", "the site", "both"])
def test_a_run_with_leave_begins_despite_a_hold(store, held):
    # Given a hold, and a Run of each sort
    stored(store, a_schedule(held_at=None if held == "the site" else NOON))
    if held != "the schedule":
        store.put_note(HOLD_NOTE, "by anna")
    obedient, leave, more = runs_in_order(3)
    store.add_run(obedient)
    store.add_run(leave := leave.but(despite_hold=True))

    # Then the one that was given leave can be taken, or begun
    assert store.queued(9) == [leave]
    assert taken(store, obedient) is None
    won = taken(store, leave)
    assert won == store.run(leave.id)

    # And it counts like any other
    more = more.but(despite_hold=True)
    assert store.begin(more, token="t", host="here", pid=1, now=NOON, limit=1).state == "queued"
    store.finish(won, an_outcome())
    assert taken(store, more) is not None


def test_the_schedules_of_one_task_run_side_by_side(store):
    # Given two schedules of one task with a Run each, and one more of the first
    first, second, third = (
        a_run(id=f"{number:026d}", schedule=name) for number, name in enumerate(("Riga", "Oslo", "Riga"))
    )
    for run in (first, second, third):
        store.add_run(run)
    assert store.queued(9) == [first, second]

    # When those that can be taken are
    assert taken(store, first) and taken(store, second)

    # Then each schedule counts for itself
    assert taken(store, third) is None
    assert store.queued(9) == []
    begun = store.begin(a_run(schedule="Bern"), token="mine", host="here", pid=1, now=NOON, limit=1)
    assert begun.state == "running"
    assert [run.id for run in store.active("Riga")] == [first.id, third.id]
    assert [run.id for run in store.active("Oslo")] == [second.id]
    assert store.active("Report") == []


def test_of_one_exclusive_name_one_is_at_work(store, other):
    # Given Runs of three tasks that share a name, one with another name, and one with none
    first, second, third, apart, free = (
        a_run(task, id=f"{number:026d}", exclusive=name)
        for number, (task, name) in enumerate(
            (("Import", "db"), ("Export", "db"), ("Dump", "db"), ("Mail", "mta"), ("Clean", None))
        )
    )
    for run in (first, second, apart, free):
        store.add_run(run)
    assert store.queued(9) == [first, apart, free]

    # When one of them is at work
    won = taken(store, first)

    # Then no other of its name can be taken, or begun; whoever has another name, or none, can
    assert taken(other, second) is None
    assert other.begin(third, token="mine", host="here", pid=1, now=NOON, limit=9).state == "queued"
    assert other.queued(9) == [apart, free]
    assert taken(other, apart) and taken(other, free)

    # And when it has ended, or was given back, the next can
    store.finish(won, an_outcome())
    assert other.queued(9) == [second]
    given_back = taken(other, second)
    other.give_back(given_back)
    assert taken(store, third)


def test_an_exclusive_run_waits_although_it_may_begin_despite_a_hold(store):
    begun(store, a_run("Import", exclusive="db"))
    store.put_note(HOLD_NOTE, "by anna")
    store.add_run(run := a_run("Export", exclusive="db", despite_hold=True))
    assert taken(store, run) is None
    assert store.queued(9) == []


def test_no_more_are_taken_than_the_limit_says(store):
    # Given three Runs of a schedule of which two may be at work, and one of another schedule
    first, second, third = runs_in_order(3)
    for run in (first, second, third):
        store.add_run(run)
    begun(store, a_run("Backup"))

    # When they are taken
    assert taken(store, first, limit=2) and taken(store, second, limit=2)

    # Then the third waits until one has ended
    assert taken(store, third, limit=2) is None
    assert store.run(third.id) == third
    store.finish(first.but(token="mine"), an_outcome())
    assert taken(store, third, limit=2) is not None


def test_a_run_given_back_waits_as_if_nobody_had_taken_it(store, other):
    run = begun(store, a_run())
    assert store.give_back(run) is True
    back = other.run(run.id)
    assert (back.state, back.token, back.started_at, back.pid, back.attempt) == ("queued", None, None, None, 0)
    assert back.rev > run.rev
    assert store.give_back(run) is False


def test_a_run_that_is_to_stop_is_not_given_back(store):
    run = begun(store, a_run())
    store.request_stop(run.id, by="anna", why=None, now=TWO)
    assert store.give_back(run) is False
    assert store.run(run.id).state == "running"


def test_what_waits_for_its_retry_can_be_tried_at_once(store, other):
    # Given a Run that waits for its retry, and one that waits for its turn
    stored(store, a_schedule("Report"))
    failed = begun(store, a_run("Report"))
    store.finish(failed, an_outcome(state="failed", finished_at=ONE), retry_at=THREE)
    waiting, other_run = store.run(failed.id), a_run("Report")
    store.add_run(other_run)

    # When both are to begin now
    assert store.try_now(waiting, TWO) is True
    assert store.try_now(other_run, TWO) is False

    # Then the first may, and a second look at what it was finds it changed
    assert other.run(failed.id) == waiting.but(not_before=TWO, rev=waiting.rev + 1)
    assert store.try_now(waiting, ONE) is False


def test_only_its_taker_can_give_a_run_back(store):
    run = begun(store, a_run())
    assert store.give_back(run.but(token="another's")) is False
    assert store.run(run.id) == run


def test_an_outcome_is_written_whole_and_once(store, other):
    run = begun(store, a_run())
    outcome = an_outcome(
        state="failed", exit_code=-11, summary="half of it", error="killed by SIGSEGV", cpu_seconds=0.25,
        peak_memory=5 << 30, output_bytes=3 << 33,
    )  # fmt: skip
    assert store.finish(run, outcome) == []
    facts = {name: getattr(outcome, name) for name in outcome.__slots__}
    assert other.run(run.id) == run.but(**facts, rev=run.rev + 1)

    assert other.finish(run, an_outcome()) is None
    assert store.run(run.id).state == "failed"


def test_an_outcome_of_somebody_elses_run_is_not_written(store):
    # Given a Run that was given back and is another supervisor's by now
    old = begun(store, a_run(), token="old")
    store.give_back(old)
    new = taken(store, store.run(old.id), token="new")

    assert store.finish(old, an_outcome()) is None
    assert store.run(old.id) == new
    assert store.finish(new, an_outcome()) == []


def test_a_run_that_nobody_took_has_no_outcome(store):
    store.add_run(run := a_run())
    assert store.finish(run, an_outcome()) is None
    assert store.run(run.id) == run


def test_progress_is_written_while_the_run_is_at_work_and_by_its_taker(store, other):
    # Given a Run at work
    run = begun(store, a_run())

    # When it says how far it is
    store.report_progress(run, 1, None, None, now=NOON)
    assert other.run(run.id) == run.but(progress_done=1)
    store.report_progress(run, 2.5, 10, "schöne Zeile", now=NOON)

    # Then everybody can read it, and what was read before can still be changed
    told = run.but(progress_done=2.5, progress_total=10, progress_note="schöne Zeile")
    assert other.run(run.id) == told
    store.report_progress(run.but(token="another's"), 99, None, None, now=NOON)
    assert other.run(run.id) == told

    # And it stays on record when the Run has ended, and can be said no more
    assert store.finish(run, an_outcome()) == []
    store.report_progress(run, 99, None, None, now=NOON)
    assert other.run(run.id).progress_done == 2.5


def test_a_run_that_is_not_there_makes_no_progress(store):
    store.report_progress(a_run(token="mine"), 1, 2, "half", now=NOON)
    assert store.runs() == []


# -- Skip and stop -----------------------------------------------------------------------------


def test_a_queued_run_is_skipped_with_its_reason(store, other):
    store.add_run(run := a_run())
    assert store.skip(run, "already runs", TWO) is True
    assert other.run(run.id) == run.but(state="skipped", summary="already runs", finished_at=TWO, rev=2)
    assert store.skip(run, "once more", THREE) is False


def test_a_run_that_was_taken_meanwhile_is_not_skipped(store):
    store.add_run(run := a_run())
    at_work = taken(store, run)
    assert store.skip(run, "already runs", TWO) is False
    assert store.skip(at_work, "already runs", TWO) is False
    assert store.run(run.id) == at_work


def test_a_queued_run_is_stopped_at_once(store, other):
    store.add_run(run := a_run())
    stopped = store.request_stop(run.id, by="anna", why="wrong day", now=TWO)
    assert stopped == other.run(run.id)
    assert (stopped.state, stopped.finished_at, stopped.started_at) == ("stopped", TWO, None)
    assert (stopped.stop_at, stopped.stop_by, stopped.stop_why) == (TWO, "anna", "wrong day")
    assert "anna" in stopped.error
    assert taken(store, run) is None


def test_a_running_run_is_marked_to_be_stopped(store, other):
    run = begun(store, a_run())
    marked = store.request_stop(run.id, by="anna", why=None, now=TWO)
    assert marked == other.run(run.id)
    assert marked == run.but(stop_at=TWO, stop_by="anna", rev=run.rev + 1)
    # And its supervisor can still record the outcome
    assert store.finish(run, an_outcome(state="stopped")) == []


def test_who_stops_a_run_may_say_how_long_it_has_to_end(store, other):
    run = begun(store, a_run())
    assert store.request_stop(run.id, by="anna", why=None, now=TWO, grace=1.5).stop_grace == 1.5
    assert other.run(run.id).stop_grace == 1.5
    # And who is more patient, or in greater haste, later, is heard as well
    assert store.request_stop(run.id, by="bert", why=None, now=THREE, grace=0).stop_grace == 0
    assert store.request_stop(run.id, by="anna", why=None, now=FOUR).stop_grace is None


def test_there_is_nothing_to_stop_in_a_run_that_is_over_or_unknown(store):
    over = ended(store, a_run())
    assert store.request_stop(over.id, by="anna", why=None, now=TWO) is None
    assert store.request_stop("nobody", by="anna", why=None, now=TWO) is None
    assert store.run(over.id) == over


# -- What is asked about Runs ------------------------------------------------------------------


def test_queued_are_the_runs_that_could_be_taken_now_oldest_first(store):
    # Given a schedule at work, one held, one that may run twice, and one with two waiting
    stored(store, a_schedule("Held", held_at=NOON))
    begun(store, a_run("Busy"))
    twice = a_policy(max_instances=2)
    waiting = [
        a_run(task, id=f"{number:026d}", policy=policy)
        for number, (task, policy) in enumerate(
            zip(
                ["Twice", "Held", "Two", "Busy", "Two", "Twice", "Twice"],
                [twice, *[a_policy()] * 4, twice, twice],
                strict=True,
            )
        )
    ]
    for run in reversed(waiting):
        store.add_run(run)

    # Then those are left out for which there is no room, or no leave
    assert store.queued(limit=10) == [waiting[0], waiting[2], waiting[5]]
    assert store.queued(limit=2) == [waiting[0], waiting[2]]
    assert store.queued(limit=0) == []


def test_active_are_the_queued_and_running_runs_of_a_schedule_oldest_first(store):
    first, second, third = runs_in_order(3)
    store.add_run(second)
    begun(store, first)
    ended(store, third)
    store.add_run(a_run("Backup"))
    assert store.active("Report") == [store.run(first.id), second]
    assert store.running() == [store.run(first.id)]


def test_the_history_of_a_schedule_is_its_own(store):
    # Given runs of two schedules of one task
    for run in runs_in_order(6):
        store.add_run(run.but(schedule="Mine" if int(run.id) % 2 else "Report"))

    # Then each has its own, whether it is still there or not
    assert [int(run.id) for run in store.runs(schedule="Mine", limit=2)] == [5, 3]
    assert [int(run.id) for run in store.runs(task="Report", schedule="Report")] == [6, 4, 2]
    assert store.runs(schedule="Other") == store.runs(task="Other", schedule="Mine") == []


def test_the_history_comes_newest_first_and_as_far_as_asked(store):
    # Given 25 Runs, the odd ones over, and one of another task
    runs = runs_in_order(25)
    for number, run in enumerate(runs):
        (ended if number % 2 else begun)(store, run)
    store.add_run(other_task := a_run("Backup", id="9" * 26))

    ids = [run.id for run in reversed(runs)]
    assert [run.id for run in store.runs()] == [other_task.id, *ids][:20]
    assert [run.id for run in store.runs(task="Report", limit=None)] == ids
    assert [run.id for run in store.runs(task="Report", states=["succeeded"], limit=2)] == ids[1:5:2]
    assert [run.id for run in store.runs(states=("queued",))] == [other_task.id]
    assert store.runs(states=()) == store.runs(task="Nobody") == []


def test_the_history_of_a_task_is_that_of_all_its_schedules(store):
    runs = [run.but(schedule=name) for run, name in zip(runs_in_order(3), ("Riga", "Oslo", "Riga"), strict=True)]
    begun(store, runs[0])
    store.add_run(runs[1])
    ended(store, runs[2])
    assert [run.id for run in store.runs(task="Report")] == [run.id for run in reversed(runs)]
    assert store.runs(task="Riga") == []


def test_last_runs_are_the_newest_that_were_started(store):
    first, second, third, fourth, fifth = runs_in_order(5)
    ended(store, first)
    ended(store, second, state="failed")
    store.add_run(third)
    recorded(store, skipped(ONE, ONE, 1))
    begun(store, fourth.but(schedule="Backup", task="Backup"))
    store.add_run(fifth.but(schedule="Fresh", task="Fresh"))
    assert store.last_runs() == {"Report": store.run(second.id), "Backup": store.run(fourth.id)}


def test_known_are_the_runs_that_are_in_the_store(store):
    store.add_run(run := a_run())
    assert store.known_runs([run.id, "nobody"]) == store.known_runs(iter([run.id])) == {run.id}
    assert store.known_runs([]) == set()


# -- Prune -------------------------------------------------------------------------------------

LONG_AGO = at("2000-01-01T00:00Z")


def test_the_newest_runs_that_ended_are_kept(store, other):
    runs = runs_in_order(5)
    for run in runs:
        ended(store, run)
    ended(store, of_another := a_run("Backup"))

    gone = store.prune("Report", keep=2, since=LONG_AGO)

    assert sorted(gone) == [run.id for run in runs[:3]]
    assert [run.id for run in other.runs(task="Report")] == [runs[4].id, runs[3].id]
    assert other.run(of_another.id)
    assert store.prune("Report", keep=2, since=LONG_AGO) == []


def test_what_ended_long_ago_goes_however_little_there_is(store):
    old, new = runs_in_order(2)
    ended(store, old, finished_at=ONE)
    ended(store, new, finished_at=TWO)
    assert store.prune("Report", keep=100, since=TWO) == [old.id]


def test_active_runs_and_schedules_never_go(store):
    # Given Runs of long ago that wait or are at work
    stored(store, a_schedule())
    waiting, at_work = runs_in_order(2, queued_at=LONG_AGO)
    store.add_run(waiting)
    begun(store, at_work, now=LONG_AGO)

    assert store.prune("Report", keep=0, since=FOUR) == []
    assert len(store.active("Report")) == 2
    assert store.schedule("Report")


def test_the_schedules_of_a_task_share_its_history(store):
    runs = [run.but(schedule=name) for run, name in zip(runs_in_order(3), ("Riga", "Oslo", "Riga"), strict=True)]
    for run in runs:
        ended(store, run)
    assert store.prune("Report", keep=2, since=LONG_AGO) == [runs[0].id]


def test_a_fire_time_that_was_cleared_away_is_on_record_no_more(store):
    recorded(store, skipped(ONE, ONE, 1))
    store.prune("Report", keep=0, since=LONG_AGO)
    recorded(store, skipped(ONE, ONE, 1))
    recorded(store, skipped(TWO, TWO, 1))
    assert ranges(store) == [(ONE, TWO, 2)]


def test_rows_that_never_started_do_not_push_out_runs_that_did(store):
    # Given one Run that ended, and many fire times skipped since
    ran = ended(store, a_run(id="0" * 26))
    for number in range(6):
        recorded(store, skipped(ONE + seconds(number), ONE + seconds(number), 1, f"reason {number}"))

    gone = store.prune("Report", keep=2, since=LONG_AGO)

    assert len(gone) == 4
    assert store.run(ran.id) == ran
    assert len(ranges(store)) == 2
    # And by age they go like the rest
    assert len(store.prune("Report", keep=2, since=NOON + seconds(1))) == 2


def test_a_clean_up_takes_the_oldest_first_and_not_more_than_so_many(store):
    runs = runs_in_order(6)
    for run in runs:
        ended(store, run)
    recorded(store, skipped(ONE, ONE, 1))
    gone = [store.prune("Report", keep=0, since=LONG_AGO, limit=3) for _ in range(4)]
    assert gone[:2] == [[run.id for run in runs[:3]], [run.id for run in runs[3:]]]
    assert [len(ids) for ids in gone] == [3, 3, 1, 0]


def test_old_ones_within_the_newest_go_after_the_oldest(store):
    # Given Runs of which the newer ended long ago (a clock was wrong)
    runs = runs_in_order(4)
    for run, finished_at in zip(runs, (THREE, THREE, ONE, ONE), strict=True):
        ended(store, run, finished_at=finished_at)
    assert store.prune("Report", keep=2, since=TWO, limit=2) == [runs[0].id, runs[1].id]


# -- Actions -----------------------------------------------------------------------------------


def test_an_action_is_kept_with_all_its_facts(store, other):
    facts = {name: f"{name}, with ünicode and\nlines" for name in Action.__slots__}
    action = Action(**{**facts, "at": NOON + seconds(0.000001), "rev": 7})
    store.add_action(action)
    assert other.actions() == [action]
    store.actions()[0].by = "changed"
    assert store.actions() == [action]


def test_actions_come_newest_first_and_as_far_as_asked(store):
    # Given what was done to two schedules and to the site, 25 times
    done = [
        an_action(("Report", "Backup", "")[number % 3], at=NOON + seconds(number), rev=number) for number in range(25)
    ]
    for action in done:
        store.add_action(action)

    newest = done[::-1]
    assert store.actions(limit=None) == newest
    assert store.actions() == newest[:20]
    assert store.actions(limit=2) == newest[:2]
    assert store.actions(schedule="Report", limit=3) == [done[24], done[21], done[18]]
    assert store.actions(schedule="") == done[2::3][::-1]
    assert store.actions(schedule="Nobody") == []


def test_what_was_done_to_a_schedule_comes_in_the_order_of_revisions_wherever_the_clock_went(store):
    first, second = an_action(rev=1, at=TWO), an_action(rev=2, at=ONE)
    same_moment = an_action(rev=3, at=ONE)
    for action in (same_moment, first, second):
        store.add_action(action)
    assert store.actions(schedule="Report") == [same_moment, second, first]


def test_old_actions_are_forgotten(store, other):
    for number, at_ in enumerate((NOON, ONE, TWO, THREE)):
        store.add_action(an_action("Report" if number % 2 else "", at=at_, rev=number))
    store.prune_actions(TWO)
    assert [action.at for action in other.actions()] == [THREE, TWO]
    store.prune_actions(FOUR)
    assert other.actions() == []


# -- Notes and transactions --------------------------------------------------------------------


def test_a_note_is_written_changed_and_removed(store, other):
    store.put_note("files", "1 2 3\t/söme/path\n")
    assert other.note("files") == "1 2 3\t/söme/path\n"
    store.put_note("files", "")
    assert other.note("files") == ""
    store.put_note("files", None)
    store.put_note("never there", None)
    assert other.note("files") is None


def test_an_exception_undoes_all_of_a_transaction(store, other):
    # Given a schedule and a Run
    schedule = stored(store, a_schedule(next_fire_time=ONE))
    store.add_run(run := a_run())
    store.put_note("fact", "before")

    # When a transaction that changes all of it breaks off
    with pytest.raises(RuntimeError), store.transaction():
        claimed(store, schedule, fire_time=ONE, gap=None, next_fire_time=TWO)
        begun(store, a_run("Backup"))
        taken(store, run)
        store.put_note("fact", "after")
        store.put_note("new", "fact")
        store.prune("Report", keep=0, since=FOUR)
        raise RuntimeError

    # Then all is as it was
    assert other.schedules() == [schedule]
    assert other.runs() == [run]
    assert (other.note("fact"), other.note("new")) == ("before", None)


def test_what_was_undone_is_found_by_no_question(store, other):
    # Given three schedules, of which one is at work, and what was done to it
    for name in ("Zebra", "Ant", "Mule"):
        stored(store, a_schedule(name, next_fire_time=ONE))
    at_work, waiting, more = runs_in_order(3, task="Ant", exclusive="db")
    begun(store, at_work)
    store.add_run(waiting)
    store.add_action(done := an_action("Ant", rev=5))

    # When a transaction that turns everything over breaks off
    with pytest.raises(RuntimeError), store.transaction():
        store.finish(at_work.but(token="mine"), an_outcome())
        begun(store, waiting.but(id="9" * 26, schedule="Mule"), limit=1)
        store.skip(waiting, "no use", TWO)
        claimed(store, store.schedule("Ant"), fire_time=ONE, gap=None, next_fire_time=TWO)
        assert store.remove_schedule(store.schedule("Ant"))
        stored(store, store.schedule("Mule").but(held_at=NOON, held_until=TWO))
        store.put_note(HOLD_NOTE, "by anna")
        store.add_action(an_action("Ant", rev=9))
        store.prune_actions(THREE)
        raise RuntimeError

    # Then every question is answered as before
    assert names(other.schedules()) == names(other.due(ONE)) == ["Zebra", "Ant", "Mule"]
    assert (other.next_fire_time(), other.holds_over(FOUR), other.actions()) == (ONE, [], [done])
    assert [run.id for run in other.active("Ant")] == [at_work.id, waiting.id]
    assert [run.id for run in other.running()] == [at_work.id]
    assert other.active("Mule") == other.runs(states=("skipped", "succeeded")) == other.queued(9) == []
    assert list(other.last_runs()) == ["Ant"]
    assert other.begin(more, token="mine", host="here", pid=1, now=NOON, limit=9).state == "queued"
    # And the fire time that was claimed in it can be claimed
    assert claimed(store, store.schedule("Ant"), fire_time=ONE, next_fire_time=TWO)
    assert [run.fire_time for run in store.active("Ant")].count(ONE) == 1


def test_of_nested_transactions_the_outermost_counts(store, other):
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.put_note("inner", "done")
        raise RuntimeError
    assert other.note("inner") is None

    with store.transaction():
        with pytest.raises(RuntimeError), store.transaction():
            store.put_note("inner", "done")
            raise RuntimeError
        store.put_note("outer", "done")
    assert (other.note("inner"), other.note("outer")) == ("done", "done")


def test_after_a_transaction_that_broke_off_the_next_one_works(store, other):
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), store.transaction():
            store.put_note("fact", "never")
            raise KeyboardInterrupt
    with store.transaction():
        store.put_note("fact", "at last")
    assert other.note("fact") == "at last"


def test_a_transaction_sees_its_own_changes(store):
    with store.transaction():
        schedule = stored(store, a_schedule(next_fire_time=ONE))
        assert store.due(ONE) == [schedule]
        claimed(store, schedule, fire_time=ONE, next_fire_time=None)
        assert store.next_fire_time() is None
        (queued,) = store.queued(1)
        assert taken(store, queued) == store.running()[0]
