"""What becomes of fire times: decided by pure functions that are handed the time."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers import a_policy, a_run, a_schedule, an_outcome, at, seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.errors import lineage
from dracotask.model import Claim, Gap, Outcome, Run, Schedule
from dracotask.planning import (
    CLOCK_PATIENCE,
    MOST_DAYS,
    first_after,
    latest_until,
    missed_while,
    plan,
)
from dracotask.retries import next_attempt
from dracotask.triggers import Trigger, parse_trigger

LATE = "came late: several fire times became one run"
BUSY = "still running since 03:00:00 UTC"
NIGHTLY = parse_trigger("cron 0 3 * * * Europe/Berlin")
EVERY_TEN = parse_trigger("every 10m from 2026-01-01T00:00:00+00:00")


class Asked(Trigger):
    """A trigger that counts how often it is asked."""

    __slots__ = ("inner", "questions")

    def __init__(self, inner: Trigger) -> None:
        self.inner, self.questions = inner, [0]

    def next_after(self, moment: datetime) -> datetime | None:
        self.questions[0] += 1
        return self.inner.next_after(moment)

    def __str__(self) -> str:
        return str(self.inner)


class Named(Trigger):
    """A trigger of just these moments: as irregular as a trigger can be."""

    __slots__ = ("moments",)

    def __init__(self, moments: list[datetime]) -> None:
        self.moments = sorted(moments)

    def next_after(self, moment: datetime) -> datetime | None:
        return next((named for named in self.moments if named > moment), None)

    def __str__(self) -> str:
        return "named"


def due_at(fire_time: str | None, **facts: Any) -> Schedule:
    return a_schedule(next_fire_time=fire_time and at(fire_time), **facts)


def missing(first: str, last: str, count: int | None, reason: str = LATE, state: str = "skipped") -> Gap:
    return Gap(state=state, first=at(first), last=at(last), count=count, reason=reason)


def at_work(*, since: str = "2026-01-01T03:00Z") -> list[Run]:
    """Return the one Run that is at work."""
    return [a_run(state="running", started_at=at(since), attempt=1)]


def run_time(decided: Claim) -> datetime | None:
    """Return the one fire time that becomes a Run; None when none does."""
    (fire_time,) = decided.fire_times or [None]
    return fire_time


def the_gap(decided: Claim) -> Gap | None:
    """Return the one Gap; None when there is none."""
    (gap,) = decided.gaps or [None]
    return gap


# -- plan --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fire_time", [None, "2026-01-01T00:10:00.000001Z", "2027-01-01T00:00Z"])
def test_nothing_is_done_before_the_fire_time(fire_time):
    assert plan(due_at(fire_time), EVERY_TEN, at("2026-01-01T00:10Z")) is None
    assert plan(due_at(fire_time), EVERY_TEN, at("2026-01-01T00:10Z"), at_work()) is None


@pytest.mark.parametrize("now", ["2026-01-01T00:10Z", "2026-01-01T00:19:59.999999Z"])
def test_a_fire_time_becomes_a_run_from_its_moment_on(now):
    assert plan(due_at("2026-01-01T00:10Z"), EVERY_TEN, at(now)) == Claim(
        fire_times=[at("2026-01-01T00:10Z")],
        next_fire_time=at("2026-01-01T00:20Z"),
        watermark=at("2026-01-01T00:10Z"),
    )


def test_several_fire_times_become_the_run_of_the_last_and_a_gap_of_the_others():
    # Given a schedule last looked at before midnight
    schedule = due_at("2026-01-01T00:00Z")

    # When it is looked at in the morning
    decided = plan(schedule, EVERY_TEN, at("2026-01-01T08:05Z"))

    # Then one Run makes up for all
    assert decided == Claim(
        fire_times=[at("2026-01-01T08:00Z")],
        gaps=[missing("2026-01-01T00:00Z", "2026-01-01T07:50Z", 48)],
        next_fire_time=at("2026-01-01T08:10Z"),
        watermark=at("2026-01-01T08:00Z"),
    )


def test_two_fire_times_leave_a_gap_of_one():
    decided = plan(due_at("2026-01-01T00:00Z"), EVERY_TEN, at("2026-01-01T00:10Z"))
    assert the_gap(decided) == missing("2026-01-01T00:00Z", "2026-01-01T00:00Z", 1)
    assert run_time(decided) == at("2026-01-01T00:10Z")


def test_while_a_run_is_active_everything_due_is_a_gap():
    decided = plan(due_at("2026-01-01T00:00Z"), EVERY_TEN, at("2026-01-01T00:25Z"), at_work())
    assert decided == Claim(
        gaps=[missing("2026-01-01T00:00Z", "2026-01-01T00:20Z", 3, BUSY)],
        next_fire_time=at("2026-01-01T00:30Z"),
        watermark=at("2026-01-01T00:20Z"),
    )


def test_after_its_last_fire_time_a_schedule_has_none():
    once = parse_trigger("at 2026-01-01T00:00:00+00:00")
    decided = plan(due_at("2026-01-01T00:00Z"), once, at("2026-03-01T00:00Z"))
    assert (run_time(decided), the_gap(decided)) == (at("2026-01-01T00:00Z"), None)
    assert (decided.next_fire_time, decided.watermark) == (None, at("2026-01-01T00:00Z"))


def test_an_interval_that_ended_long_ago_still_runs_for_its_last_fire_time():
    ending = parse_trigger("every 1h from 2026-01-01T00:00:00+00:00 until 2026-01-01T02:30:00+00:00")
    decided = plan(due_at("2026-01-01T00:00Z"), ending, at("2026-06-01T00:00Z"))
    assert run_time(decided) == at("2026-01-01T02:00Z")
    assert the_gap(decided) == missing("2026-01-01T00:00Z", "2026-01-01T01:00Z", 2)
    assert decided.next_fire_time is None


def test_a_fire_time_of_an_older_rule_counts_once():
    # Given a next fire time that the trigger of today does not name
    decided = plan(due_at("2026-01-01T00:07Z"), EVERY_TEN, at("2026-01-01T00:09Z"))
    assert (run_time(decided), decided.next_fire_time) == (at("2026-01-01T00:07Z"), at("2026-01-01T00:10Z"))


@pytest.mark.parametrize("busy", [None, BUSY])
@pytest.mark.parametrize("seconds_over", [0, 0.000001, 0.999999])
def test_a_year_of_seconds_is_decided_with_few_questions(busy, seconds_over):
    # Given a schedule for every second, asleep for a year
    trigger = Asked(parse_trigger("every 1s from 2000-01-01T00:00:00+00:00"))
    now = at("2027-01-01T00:00Z") + seconds(seconds_over)

    # When it wakes
    decided = plan(due_at("2026-01-01T00:00Z"), trigger, now, at_work() if busy else ())

    # Then it took no thirty million steps
    assert trigger.questions[0] < 100
    assert decided.watermark == at("2027-01-01T00:00Z")
    assert decided.next_fire_time == at("2027-01-01T00:00:01Z")
    assert run_time(decided) == (None if busy else at("2027-01-01T00:00Z"))
    assert the_gap(decided).last == (at("2027-01-01T00:00Z") if busy else at("2026-12-31T23:59:59Z"))


def test_a_long_sleep_of_any_rule_is_decided_with_few_questions():
    for text in ("cron * * * * * UTC", "cron 0 3 29 2 * Europe/Berlin", "any (every 7s | cron 0 0 1 1 * UTC)"):
        trigger = Asked(parse_trigger(text))
        first = trigger.next_after(at("2000-01-01T00:00Z"))
        plan(a_schedule(next_fire_time=first), trigger, at("2026-11-21T12:00Z"))
        assert trigger.questions[0] < 200, text


def test_an_interval_is_counted_by_division_and_cron_is_not():
    interval = plan(due_at("2000-01-01T00:00Z"), parse_trigger("every 1s"), at("2001-01-01T00:00Z"), at_work())
    assert the_gap(interval).count == 366 * 86400 + 1
    decided = plan(due_at("2026-01-01T02:00Z"), NIGHTLY, at("2026-01-03T12:00Z"), at_work())
    assert the_gap(decided) == missing("2026-01-01T02:00Z", "2026-01-03T02:00Z", None, BUSY)


def test_a_night_in_which_the_clock_is_put_forward_has_its_fire_time():
    # Given 02:30 in Berlin, which the 29th of March 2026 does not have
    trigger = parse_trigger("cron 30 2 * * * Europe/Berlin")
    schedule = a_schedule(next_fire_time=trigger.next_after(at("2026-03-28T12:00Z")))

    # When that night and the next one went by unseen
    decided = plan(schedule, trigger, at("2026-03-30T12:00Z"))

    # Then it came as soon as the clock was put forward, and the next day by the new time
    assert the_gap(decided) == missing("2026-03-29T01:00Z", "2026-03-29T01:00Z", 1)
    assert (run_time(decided), decided.next_fire_time) == (at("2026-03-30T00:30Z"), at("2026-03-31T00:30Z"))


def test_a_night_in_which_the_clock_is_put_back_has_one_fire_time():
    # Given 02:30 in Berlin, which the 25th of October 2026 has twice
    trigger = parse_trigger("cron 30 2 * * * Europe/Berlin")
    schedule = a_schedule(next_fire_time=at("2026-10-25T00:30Z"))

    first = plan(schedule, trigger, at("2026-10-25T00:30Z"))
    assert (run_time(first), first.next_fire_time) == (at("2026-10-25T00:30Z"), at("2026-10-26T01:30Z"))
    after_both = plan(schedule, trigger, at("2026-10-25T12:00Z"))
    assert (run_time(after_both), the_gap(after_both)) == (at("2026-10-25T00:30Z"), None)


def test_a_job_of_every_half_hour_follows_the_clock_through_both_passes():
    trigger = parse_trigger("cron */30 * * * * Europe/Berlin")
    decided = plan(due_at("2026-10-25T00:00Z"), trigger, at("2026-10-25T02:10Z"))
    assert run_time(decided) == at("2026-10-25T02:00Z")
    assert the_gap(decided) == missing("2026-10-25T00:00Z", "2026-10-25T01:30Z", None)


def test_deciding_changes_nothing():
    schedule = due_at("2026-01-01T00:00Z")
    before = schedule.but()
    decided = [plan(schedule, EVERY_TEN, at("2026-01-01T08:05Z")) for _ in range(2)]
    assert schedule == before
    assert decided[0] == decided[1]


# -- Policies ----------------------------------------------------------------------------------


def decide(now: str, *active: Run, trigger: Trigger = EVERY_TEN, **policy: Any) -> Claim:
    """Decide about a schedule that nobody has looked at since New Year."""
    decided = plan(due_at("2026-01-01T00:00Z", policy=a_policy(**policy)), trigger, at(now), active)
    assert decided is not None
    return decided


def times(decided: Claim) -> list[str]:
    return [f"{fire_time:%H:%M}" for fire_time in decided.fire_times]


def test_the_earliest_of_several_fire_times_may_be_the_one_that_runs():
    decided = decide("2026-01-01T00:35Z", coalesce="earliest")
    assert times(decided) == ["00:00"]
    assert decided.gaps == (missing("2026-01-01T00:10Z", "2026-01-01T00:30Z", 3),)
    assert decided.watermark == at("2026-01-01T00:30Z")
    assert decide("2026-01-01T00:09Z", coalesce="earliest").gaps == ()


def test_each_of_several_fire_times_may_run_but_only_the_latest_so_many():
    assert times(decide("2026-01-01T00:35Z", coalesce="all")) == ["00:00", "00:10", "00:20", "00:30"]
    assert decide("2026-01-01T00:35Z", coalesce="all").gaps == ()

    decided = decide("2026-01-01T08:05Z", coalesce="all", catch_up=3)

    assert times(decided) == ["07:40", "07:50", "08:00"]
    only = "came late: only the latest 3 became runs"
    assert decided.gaps == (missing("2026-01-01T00:00Z", "2026-01-01T07:30Z", 46, only),)


def test_what_comes_later_than_its_grace_is_missed_and_the_rest_makes_up():
    decided = decide("2026-01-01T01:00:01Z", grace=600.0)
    assert times(decided) == ["01:00"]
    late = "up to 1h late; its grace is 10m"
    assert decided.gaps == (missing("2026-01-01T00:00Z", "2026-01-01T00:50Z", 6, late, "missed"),)

    # To the second the grace counts
    exact = decide("2026-01-01T01:00:00Z", grace=600.0)
    assert exact.gaps[0] == missing("2026-01-01T00:00Z", "2026-01-01T00:40Z", 5, late, "missed")
    assert exact.gaps[1] == missing("2026-01-01T00:50Z", "2026-01-01T00:50Z", 1)


def test_what_is_all_too_late_brings_no_run():
    decided = decide("2026-01-01T00:05Z", grace=60.0)
    late = "5m late; its grace is 1m"
    assert (decided.fire_times, decided.gaps) == (
        (), (missing("2026-01-01T00:00Z", "2026-01-01T00:00Z", 1, late, "missed"),)
    )  # fmt: skip
    assert decided.next_fire_time == at("2026-01-01T00:10Z")


def queued(**facts: Any) -> Run:
    return a_run(queued_at=at("2026-01-01T03:00Z"), **facts)


def test_a_fire_time_may_wait_for_the_end_of_the_run_at_work_but_only_one():
    (at_it,) = at_work()
    assert times(decide("2026-01-01T00:05Z", at_it, overlap="queue")) == ["00:00"]
    crowded = decide("2026-01-01T00:05Z", at_it, queued(), overlap="queue")
    assert the_gap(crowded).reason == f"{BUSY}, and one waits already"


def test_where_each_fire_time_counts_as_many_may_wait_as_make_up():
    (at_it,) = at_work()
    facts = {"overlap": "queue", "coalesce": "all", "catch_up": 3}
    assert times(decide("2026-01-01T01:05Z", at_it, queued(), **facts)) == ["00:50", "01:00"]
    assert the_gap(decide("2026-01-01T01:05Z", at_it, *[queued()] * 3, **facts)).reason.endswith("and 3 wait already")


def test_a_run_may_begin_beside_others_but_the_queue_has_its_bounds():
    many = [*at_work() * 20, queued()]
    assert times(decide("2026-01-01T00:05Z", *many, overlap="allow", catch_up=2)) == ["00:00"]
    crowded = decide("2026-01-01T00:05Z", *many, queued(), overlap="allow", catch_up=2)
    assert the_gap(crowded).reason == f"{BUSY}, and 2 wait already"


def test_a_run_that_waits_for_its_retry_stands_in_nobodys_way():
    waiting = queued(not_before=at("2026-01-01T00:05:00.000001Z"), attempt=1)
    assert times(decide("2026-01-01T00:05Z", waiting)) == ["00:00"]
    assert times(decide("2026-01-01T00:05:01Z", waiting)) == []


@pytest.mark.parametrize("coalesce", ["latest", "earliest", "all"])
@pytest.mark.parametrize("grace", [None, 30.0, 86400.0])
@pytest.mark.parametrize("catch_up", [1, 10, 1000])
def test_a_year_of_seconds_takes_few_questions_and_little_room_whatever_the_policy(coalesce, grace, catch_up):
    trigger = Asked(parse_trigger("every 1s from 2000-01-01T00:00:00+00:00"))
    tracemalloc.start()
    decided = decide("2027-01-01T00:00Z", trigger=trigger, coalesce=coalesce, grace=grace, catch_up=catch_up)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert trigger.questions[0] < 200 + (3 * catch_up if coalesce == "all" else 0)
    assert most < 1 << 20
    assert len(decided.fire_times) == (min(catch_up, 31 if grace == 30 else 1000) if coalesce == "all" else 1)
    assert len(decided.gaps) <= 2


MOMENTS_NEAR = st.integers(0, 2000).map(lambda number: at("2026-01-01T00:00Z") + seconds(number**2 / 7))


@given(
    moments=st.lists(MOMENTS_NEAR, min_size=1, max_size=60, unique=True),
    now=st.integers(0, 600_000),
    coalesce=st.sampled_from(["latest", "earliest", "all"]),
    grace=st.none() | st.integers(1, 300_000).map(float),
    catch_up=st.integers(1, 7),
)
@settings(max_examples=300, deadline=None)
def test_every_fire_time_is_accounted_for_once_and_as_the_policy_says(moments, now, coalesce, grace, catch_up):
    # Given a rule of any moments, bursts among them
    trigger, now = Named(moments), at("2026-01-01T00:00Z") + seconds(now)
    due = [moment for moment in sorted(moments) if moment <= now]
    schedule = a_schedule(
        next_fire_time=min(moments), policy=a_policy(coalesce=coalesce, grace=grace, catch_up=catch_up)
    )

    # When it is decided what becomes of those that are due
    decided = plan(schedule, trigger, now)

    # Then going through them one by one comes to the same
    if not due:
        assert decided is None
        return
    late = [moment for moment in due if grace is not None and now - moment > seconds(grace)]
    in_time = due[len(late) :]
    wanted = {"latest": in_time[-1:], "earliest": in_time[:1], "all": in_time[-catch_up:]}[coalesce]
    assert list(decided.fire_times) == wanted
    ranges = [(gap.first, gap.last) for gap in decided.gaps]
    told = [moment for moment in due for first, last in ranges if first <= moment <= last]
    assert sorted([*told, *wanted]) == due
    assert [gap.state for gap in decided.gaps].count("missed") == bool(late)


# -- next_attempt ------------------------------------------------------------------------------


def failed(state: str = "failed") -> Outcome:
    return an_outcome(state=state, error="ConnectionError: gone")


def delay(run: Run, outcome: Outcome | None = None, **facts: Any) -> float | None:
    """Return in how many seconds a Run is tried again; None for not at all."""
    outcome = outcome or failed()
    moment = next_attempt(run, outcome, **facts)
    return None if moment is None else (moment - outcome.finished_at).total_seconds()


def tried(attempt: int = 1, **policy: Any) -> Run:
    return a_run(id="1" * 26, attempt=attempt, policy=a_policy(**policy))


def test_each_retry_waits_longer_than_the_one_before_up_to_the_longest():
    delays = [delay(tried(attempt, retries=8, retry_max_delay=1000.0)) for attempt in range(1, 10)]
    assert delays == [60, 120, 240, 480, 960, 1000, 1000, 1000, None]


def test_a_constant_delay_and_the_highest_numbers_there_can_be():
    assert delay(tried(3, retries=3, retry_backoff=1.0)) == 60
    assert delay(tried(1000, retries=1000, retry_backoff=10.0)) == 3600
    assert delay(tried(1, retries=1, retry_delay=1e15, retry_max_delay=1e15)) == MOST_DAYS * 86400
    assert delay(tried(1, retries=1, retry_delay=0.0)) == 0


def test_chance_takes_something_off_the_delay_and_is_the_same_for_whoever_asks():
    run = tried(2, retries=5, retry_jitter=0.5)
    delays = {delay(run.but(id=f"{number:026d}")) for number in range(50)}
    assert len(delays) == 50
    assert all(60 <= each <= 120 for each in delays)
    assert delay(run) == delay(run)


@pytest.mark.parametrize("state", ["succeeded", "stopped", "skipped", "missed"])
def test_only_a_failure_is_tried_again(state):
    assert delay(tried(retries=3), failed(state)) is None
    assert delay(tried(retries=3), failed("timed_out")) == delay(tried(retries=3)) == 60
    assert delay(tried(retries=0)) is None


def test_only_the_named_exceptions_are_tried_again():
    run = tried(retries=3, retry_on="shop.Busy,OSError")
    assert delay(run, raised=lineage(ConnectionResetError())) == 60  # which is an OSError
    assert delay(run, raised=["Busy", "shop.Busy", "Exception"]) == 60
    assert delay(run, raised=["Busy", "stall.Busy", "Exception"]) is None
    assert delay(run, raised=lineage(KeyError())) is None
    assert delay(run, raised=[]) is None  # killed, without a word


def test_a_lost_run_is_tried_again_only_where_that_is_wanted_and_once_at_least():
    assert delay(tried(retries=3), failed("lost")) is None
    assert delay(tried(1, on_lost="retry"), failed("lost")) == 60
    assert delay(tried(2, on_lost="retry"), failed("lost")) is None
    assert delay(tried(3, on_lost="retry", retries=3, retry_on="OSError"), failed("lost")) == 240


def test_a_run_may_ask_for_another_attempt_itself_but_not_for_ever():
    assert delay(tried(1), wanted=True, asked=7.0) == 7
    assert delay(tried(10), wanted=True) == 3600
    assert delay(tried(11), wanted=True, asked=7.0) is None
    assert delay(tried(3, retries=2), wanted=True, asked=7.0) is None


# -- first_after and missed_while --------------------------------------------------------------


def test_a_new_trigger_begins_after_now():
    assert first_after(EVERY_TEN, at("2026-01-01T00:10Z"), None) == at("2026-01-01T00:20Z")
    assert first_after(None, at("2026-01-01T00:10Z"), None) is None


def test_a_changed_trigger_begins_after_the_watermark_if_that_is_later():
    # (another host's clock is ahead, and it has claimed 00:30 already)
    now = at("2026-01-01T00:29:57Z")
    assert first_after(EVERY_TEN, now, at("2026-01-01T00:30Z")) == at("2026-01-01T00:40Z")
    assert first_after(EVERY_TEN, now, at("2026-01-01T00:10Z")) == at("2026-01-01T00:30Z")


def test_what_nobody_could_claim_is_one_gap():
    schedule = due_at("2026-01-01T00:00Z")
    why = "the task was gone from the file"
    assert missed_while(schedule, EVERY_TEN, at("2026-01-01T00:30Z"), "missed", why) == missing(
        "2026-01-01T00:00Z", "2026-01-01T00:30Z", 4, why, "missed"
    )
    assert missed_while(schedule, EVERY_TEN, at("2025-12-31T23:59Z"), "missed", why) is None
    assert missed_while(due_at(None), EVERY_TEN, at("2026-01-01T00:30Z"), "missed", why) is None


def test_a_clock_is_waited_for_as_long_as_cron_does():
    assert timedelta(hours=3) == CLOCK_PATIENCE


# -- latest_until ------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC))


@given(moments=st.lists(MOMENTS, min_size=1, max_size=30), until=MOMENTS, data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_latest_fire_time_is_the_one_that_counting_finds(moments, until, data):
    # Given a rule of any moments, and one of them that is past
    past = sorted({moment for moment in moments if moment <= until})
    if not past:
        return
    known = data.draw(st.sampled_from(past))

    # Then bisection finds what going through them one by one does
    assert latest_until(Named(moments), known, until) == past[-1]


@given(
    text=st.sampled_from(
        [
            "every 1m from 2026-01-01T00:00:00+00:00",
            "every 7h from 2026-01-01T00:00:00+00:00 until 2026-01-02T00:00:00+00:00",
            "cron */20 1-5 * * * Europe/Berlin",
            "cron 30 2 * * * Europe/Berlin",
            "any (at 2026-01-01T05:00:00+00:00 | every 9h from 2026-01-01T00:00:00+00:00)",
        ]
    ),
    month=st.sampled_from([1, 3, 10]),
    length=st.timedeltas(timedelta(0), timedelta(days=2)),
)
@settings(max_examples=100, deadline=None)
def test_the_latest_fire_time_of_a_real_trigger_is_the_one_that_counting_finds(text, month, length):
    trigger = parse_trigger(text)
    # The last Sundays of March and October are the nights of the clock
    known = trigger.next_after(datetime(2026, month, 1 if month == 1 else 28 if month == 3 else 24, 12, tzinfo=UTC))
    if known is None:
        return
    until = known + length
    counted = known
    while (following := trigger.next_after(counted)) is not None and following <= until:
        counted = following
    assert latest_until(trigger, known, until) == counted
