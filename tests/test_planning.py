"""What becomes of fire times: decided by pure functions that are handed the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers import a_schedule, at, seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.model import Claim, Gap, Schedule
from dracotask.planning import CLOCK_PATIENCE, first_after, latest_until, missed_while, plan
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


# -- plan --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fire_time", [None, "2026-01-01T00:10:00.000001Z", "2027-01-01T00:00Z"])
def test_nothing_is_done_before_the_fire_time(fire_time):
    assert plan(due_at(fire_time), EVERY_TEN, at("2026-01-01T00:10Z"), busy=None) is None
    assert plan(due_at(fire_time), EVERY_TEN, at("2026-01-01T00:10Z"), busy=BUSY) is None


@pytest.mark.parametrize("now", ["2026-01-01T00:10Z", "2026-01-01T00:19:59.999999Z"])
def test_a_fire_time_becomes_a_run_from_its_moment_on(now):
    assert plan(due_at("2026-01-01T00:10Z"), EVERY_TEN, at(now), busy=None) == Claim(
        fire_time=at("2026-01-01T00:10Z"),
        next_fire_time=at("2026-01-01T00:20Z"),
        watermark=at("2026-01-01T00:10Z"),
    )


def test_several_fire_times_become_the_run_of_the_last_and_a_gap_of_the_others():
    # Given a schedule last looked at before midnight
    schedule = due_at("2026-01-01T00:00Z")

    # When it is looked at in the morning
    decided = plan(schedule, EVERY_TEN, at("2026-01-01T08:05Z"), busy=None)

    # Then one Run makes up for all
    assert decided == Claim(
        fire_time=at("2026-01-01T08:00Z"),
        gap=missing("2026-01-01T00:00Z", "2026-01-01T07:50Z", 48),
        next_fire_time=at("2026-01-01T08:10Z"),
        watermark=at("2026-01-01T08:00Z"),
    )


def test_two_fire_times_leave_a_gap_of_one():
    decided = plan(due_at("2026-01-01T00:00Z"), EVERY_TEN, at("2026-01-01T00:10Z"), busy=None)
    assert decided.gap == missing("2026-01-01T00:00Z", "2026-01-01T00:00Z", 1)
    assert decided.fire_time == at("2026-01-01T00:10Z")


def test_while_a_run_is_active_everything_due_is_a_gap():
    decided = plan(due_at("2026-01-01T00:00Z"), EVERY_TEN, at("2026-01-01T00:25Z"), busy=BUSY)
    assert decided == Claim(
        gap=missing("2026-01-01T00:00Z", "2026-01-01T00:20Z", 3, BUSY),
        next_fire_time=at("2026-01-01T00:30Z"),
        watermark=at("2026-01-01T00:20Z"),
    )


def test_after_its_last_fire_time_a_schedule_has_none():
    once = parse_trigger("at 2026-01-01T00:00:00+00:00")
    decided = plan(due_at("2026-01-01T00:00Z"), once, at("2026-03-01T00:00Z"), busy=None)
    assert (decided.fire_time, decided.gap) == (at("2026-01-01T00:00Z"), None)
    assert (decided.next_fire_time, decided.watermark) == (None, at("2026-01-01T00:00Z"))


def test_an_interval_that_ended_long_ago_still_runs_for_its_last_fire_time():
    ending = parse_trigger("every 1h from 2026-01-01T00:00:00+00:00 until 2026-01-01T02:30:00+00:00")
    decided = plan(due_at("2026-01-01T00:00Z"), ending, at("2026-06-01T00:00Z"), busy=None)
    assert decided.fire_time == at("2026-01-01T02:00Z")
    assert decided.gap == missing("2026-01-01T00:00Z", "2026-01-01T01:00Z", 2)
    assert decided.next_fire_time is None


def test_a_fire_time_of_an_older_rule_counts_once():
    # Given a next fire time that the trigger of today does not name
    decided = plan(due_at("2026-01-01T00:07Z"), EVERY_TEN, at("2026-01-01T00:09Z"), busy=None)
    assert (decided.fire_time, decided.next_fire_time) == (at("2026-01-01T00:07Z"), at("2026-01-01T00:10Z"))


@pytest.mark.parametrize("busy", [None, BUSY])
@pytest.mark.parametrize("seconds_over", [0, 0.000001, 0.999999])
def test_a_year_of_seconds_is_decided_with_few_questions(busy, seconds_over):
    # Given a schedule for every second, asleep for a year
    trigger = Asked(parse_trigger("every 1s from 2000-01-01T00:00:00+00:00"))
    now = at("2027-01-01T00:00Z") + seconds(seconds_over)

    # When it wakes
    decided = plan(due_at("2026-01-01T00:00Z"), trigger, now, busy=busy)

    # Then it took no thirty million steps
    assert trigger.questions[0] < 100
    assert decided.watermark == at("2027-01-01T00:00Z")
    assert decided.next_fire_time == at("2027-01-01T00:00:01Z")
    assert decided.fire_time == (None if busy else at("2027-01-01T00:00Z"))
    assert decided.gap.last == (at("2027-01-01T00:00Z") if busy else at("2026-12-31T23:59:59Z"))


def test_a_long_sleep_of_any_rule_is_decided_with_few_questions():
    for text in ("cron * * * * * UTC", "cron 0 3 29 2 * Europe/Berlin", "any (every 7s | cron 0 0 1 1 * UTC)"):
        trigger = Asked(parse_trigger(text))
        first = trigger.next_after(at("2000-01-01T00:00Z"))
        plan(a_schedule(next_fire_time=first), trigger, at("2026-11-21T12:00Z"), busy=None)
        assert trigger.questions[0] < 200, text


def test_an_interval_is_counted_by_division_and_cron_is_not():
    interval = plan(due_at("2000-01-01T00:00Z"), parse_trigger("every 1s"), at("2001-01-01T00:00Z"), busy=BUSY)
    assert interval.gap.count == 366 * 86400 + 1
    decided = plan(due_at("2026-01-01T02:00Z"), NIGHTLY, at("2026-01-03T12:00Z"), busy=BUSY)
    assert decided.gap == missing("2026-01-01T02:00Z", "2026-01-03T02:00Z", None, BUSY)


def test_a_night_in_which_the_clock_is_put_forward_has_its_fire_time():
    # Given 02:30 in Berlin, which the 29th of March 2026 does not have
    trigger = parse_trigger("cron 30 2 * * * Europe/Berlin")
    schedule = a_schedule(next_fire_time=trigger.next_after(at("2026-03-28T12:00Z")))

    # When that night and the next one went by unseen
    decided = plan(schedule, trigger, at("2026-03-30T12:00Z"), busy=None)

    # Then it came as soon as the clock was put forward, and the next day by the new time
    assert decided.gap == missing("2026-03-29T01:00Z", "2026-03-29T01:00Z", 1)
    assert (decided.fire_time, decided.next_fire_time) == (at("2026-03-30T00:30Z"), at("2026-03-31T00:30Z"))


def test_a_night_in_which_the_clock_is_put_back_has_one_fire_time():
    # Given 02:30 in Berlin, which the 25th of October 2026 has twice
    trigger = parse_trigger("cron 30 2 * * * Europe/Berlin")
    schedule = a_schedule(next_fire_time=at("2026-10-25T00:30Z"))

    first = plan(schedule, trigger, at("2026-10-25T00:30Z"), busy=None)
    assert (first.fire_time, first.next_fire_time) == (at("2026-10-25T00:30Z"), at("2026-10-26T01:30Z"))
    after_both = plan(schedule, trigger, at("2026-10-25T12:00Z"), busy=None)
    assert (after_both.fire_time, after_both.gap) == (at("2026-10-25T00:30Z"), None)


def test_a_job_of_every_half_hour_follows_the_clock_through_both_passes():
    trigger = parse_trigger("cron */30 * * * * Europe/Berlin")
    decided = plan(due_at("2026-10-25T00:00Z"), trigger, at("2026-10-25T02:10Z"), busy=None)
    assert decided.fire_time == at("2026-10-25T02:00Z")
    assert decided.gap == missing("2026-10-25T00:00Z", "2026-10-25T01:30Z", None)


def test_deciding_changes_nothing():
    schedule = due_at("2026-01-01T00:00Z")
    before = schedule.but()
    decided = [plan(schedule, EVERY_TEN, at("2026-01-01T08:05Z"), busy=None) for _ in range(2)]
    assert schedule == before
    assert decided[0] == decided[1]


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
