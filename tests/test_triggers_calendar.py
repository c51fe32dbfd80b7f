"""Calendar rules: every so many years, months, weeks or days, at a time of day."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dracotask.errors import BadTrigger
from dracotask.triggers import calendar, parse_trigger
from dracotask.triggers.calendar import CalendarIntervalTrigger
from dracotask.triggers.words import describe

at = datetime.fromisoformat


def dates(trigger, after: str, number: int) -> list[str]:
    """Return the first few fire times later than a moment, on the clock of the trigger's zone."""
    found, moment = [], at(after)
    for _ in range(number):
        moment = trigger.next_after(moment)
        found.append(f"{moment.astimezone(ZoneInfo(trigger.zone)):%Y-%m-%d %H:%M}")
    return found


def test_every_third_month_stays_at_three_on_the_clock():
    # Given Riga, which is two hours ahead of UTC in winter and three in summer
    trigger = CalendarIntervalTrigger("3 months", "03:00", "Europe/Riga", start="2026-01-15")

    # Then its day and its time stay, whatever the clock has done in between
    assert dates(trigger, "2026-01-01T00:00Z", 4) == [
        "2026-01-15 03:00", "2026-04-15 03:00", "2026-07-15 03:00", "2026-10-15 03:00",
    ]  # fmt: skip
    assert trigger.next_after(at("2026-04-01T00:00Z")) == at("2026-04-15T00:00Z")


def test_a_month_without_the_day_is_left_out():
    trigger = CalendarIntervalTrigger("1 month", "03:00", start="2026-01-31")
    assert dates(trigger, "2026-01-31T12:00Z", 7) == [
        "2026-03-31 03:00", "2026-05-31 03:00", "2026-07-31 03:00", "2026-08-31 03:00",
        "2026-10-31 03:00", "2026-12-31 03:00", "2027-01-31 03:00",
    ]  # fmt: skip


def test_a_leap_day_comes_in_leap_years():
    trigger = CalendarIntervalTrigger("1 year", "03:00", start="2024-02-29")
    assert dates(trigger, "2024-03-01T00:00Z", 1) == ["2028-02-29 03:00"]
    assert dates(trigger, "2096-03-01T00:00Z", 1) == ["2104-02-29 03:00"]
    assert dates(CalendarIntervalTrigger("100 years", "03:00", start="2000-02-29"), "2000-03-01T00:00Z", 1) == [
        "2400-02-29 03:00"
    ]


def test_the_last_day_of_each_month_is_a_matter_for_cron():
    trigger = parse_trigger("cron 0 3 L * * UTC")
    assert dates(trigger, "2026-01-31T12:00Z", 2) == ["2026-02-28 03:00", "2026-03-31 03:00"]


def test_without_a_start_all_hosts_count_from_the_same_monday():
    assert str(CalendarIntervalTrigger("2 weeks")) == "calendar 2 weeks 00:00 UTC from 2001-01-01"
    moment = at("2026-11-21T00:00Z")
    assert CalendarIntervalTrigger("2 weeks").next_after(moment).weekday() == 0
    assert CalendarIntervalTrigger("1 month").next_after(moment) == at("2026-12-01T00:00Z")
    assert CalendarIntervalTrigger("1 year").next_after(moment) == at("2027-01-01T00:00Z")


def test_months_are_added_first_and_then_days():
    # As APScheduler has it: each date follows from the one before it
    trigger = CalendarIntervalTrigger("1 month 1 day", "03:00", start="2026-01-30")
    assert dates(trigger, "2026-01-01T00:00Z", 4) == [
        "2026-01-30 03:00", "2026-03-31 03:00", "2026-06-01 03:00", "2026-07-02 03:00",
    ]  # fmt: skip


def test_the_end_counts_too():
    trigger = CalendarIntervalTrigger("1 day", "03:00:30", start="2026-11-20", end="2026-11-21")
    assert trigger.next_after(at("2026-11-20T12:00Z")) == at("2026-11-21T03:00:30Z")
    assert trigger.next_after(at("2026-11-21T12:00Z")) is None


def test_centuries_after_its_start_the_answer_is_still_a_jump_away(monkeypatch):
    # Given a rule from the year 1, and dates that are counted as they are made
    made = []

    class Counted(date):
        def __new__(cls, *parts):
            made.append(parts)
            return super().__new__(cls, *parts)

    trigger = CalendarIntervalTrigger("1 month", "03:00", start="0001-01-31")
    monkeypatch.setattr("dracotask.triggers.calendar.date", Counted)

    # When it is asked about nine thousand years later
    fire_time = trigger.next_after(at("9000-02-01T00:00Z"))

    # Then a handful was enough
    assert fire_time == at("9000-03-31T03:00Z")
    assert 0 < len(made) < 10


def test_months_and_days_together_are_gone_through_but_once(monkeypatch):
    # Given a rule whose every date follows from the one before, asked about a day far off
    trigger = CalendarIntervalTrigger("1 month 2 days", "03:00", start="0001-01-01")
    first = trigger.next_after(at("2500-01-01T00:00Z"))
    made = []
    following = calendar._following
    monkeypatch.setattr(calendar, "_following", lambda *facts: made.append(facts) or following(*facts))

    # When it is asked again, and a date further, and a date back
    assert trigger.next_after(at("2500-01-01T00:00Z")) == first
    second = trigger.next_after(first)
    assert second > first and trigger.next_after(at("2499-01-01T00:00Z")) < first

    # Then no more than that date was found anew
    assert len(made) <= 1


def enumerated(years: int, months: int, days: int, start: date):
    """Yield the dates of a rule from its start on, a day at a time, counting months on the way."""
    day, last = start, start
    yield start
    months += 12 * years
    while day.year < 2150:
        if months:
            passed, day = 0, last
            while passed == 0 or passed % months or day.day != last.day:
                day += timedelta(days=1)
                passed = (day.year - last.year) * 12 + day.month - last.month
        day = last = day + timedelta(days=days)
        yield day


@given(
    st.sampled_from(
        [(0, 1, 0), (0, 3, 0), (1, 0, 0), (4, 0, 0), (2, 5, 0), (0, 0, 1), (0, 0, 10), (0, 0, 14), (0, 1, 1), (0, 2, 9)]
    ),
    st.dates(date(1995, 1, 1), date(2005, 1, 1)),
    st.dates(date(1994, 1, 1), date(2035, 1, 1)),
)
@example((0, 1, 0), date(2000, 1, 31), date(2026, 2, 1))
@example((1, 0, 0), date(2000, 2, 29), date(2026, 2, 1))
@settings(deadline=None, max_examples=100)
def test_it_names_the_dates_that_a_patient_reader_of_calendars_finds(step, start, asked):
    # Given a rule and its dates, found by turning page after page
    years, months, days = step
    words = zip(step, ("year", "month", "day"), strict=True)
    trigger = CalendarIntervalTrigger(" ".join(f"{n} {unit}" for n, unit in words if n), "04:30", start=start)
    found = (day for day in enumerated(years, months, days, start) if day >= asked)

    # Then it names the same ones, from any date on
    moment = datetime(asked.year, asked.month, asked.day, tzinfo=UTC)
    for day in islice(found, 5):
        moment = trigger.next_after(moment)
        assert moment == datetime.combine(day, time(4, 30), UTC)


@given(st.integers(1, 31), st.integers(1, 30), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
@settings(deadline=None, max_examples=100)
def test_no_month_with_the_day_is_left_out(day, months, asked):
    # Given every so many months from a January on
    trigger = CalendarIntervalTrigger(f"{months} months", start=date(2000, 1, day))
    fire_time = trigger.next_after(datetime(asked.year, asked.month, asked.day, tzinfo=UTC))

    # Then between the question and the answer lies no month of the rule that has the day
    passed = (fire_time.year - 2000) * 12 + fire_time.month - 1
    assert passed % months == 0 and fire_time.day == day
    for number in range(passed - months, (asked.year - 2000) * 12 + asked.month - 1, -months):
        assert monthrange(2000 + number // 12, number % 12 + 1)[1] < day


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": ""}, "calendar='' is no number of years, months, weeks or days: write '3 months', '1 year'"),
        ({"every": "months"}, "calendar='months' is no number"),
        ({"every": "3"}, "is no number of years"),
        ({"every": "3 fortnights"}, "is no number of years"),
        ({"every": "1 month 2 months"}, "is no number of years"),
        ({"every": "-1 months"}, "is no number of years"),
        ({"every": "1.5 months"}, "is no number of years"),
        ({"every": "٣ months"}, "is no number of years"),
        ({"every": "9" * 10_000 + " months"}, "is no number of years"),
        ({"every": 3}, "calendar=3 is no number of years"),
        ({"every": True}, "calendar=True is no number of years"),
        ({"every": "0 months"}, "is out of bounds: months are 1 to 1200."),
        ({"every": "101 years"}, "is out of bounds: years are 1 to 100."),
        ({"time": "3:00"}, "time='3:00' is no time of day: write '03:00' or '03:00:30'."),
        ({"time": "24:00"}, "time='24:00' is no time of day"),
        ({"time": "03:00:00.5"}, "is no time of day"),
        ({"time": "٠٣:00"}, "is no time of day"),
        ({"time": 3}, "time=3 is no time of day"),
        ({"time": time(3, 0, tzinfo=UTC)}, "is no time of day"),
        ({"time": time(3, 0, 0, 5)}, "is no time of day"),
        ({"zone": "Mars/Olympus"}, "zone 'Mars/Olympus' is not known here"),
        ({"zone": "TZ=UTC"}, "zone 'TZ=UTC' is not known here"),
        ({"start": "2026-02-31"}, "start='2026-02-31' is no date: a calendar counts dates, write '2026-01-31'."),
        ({"start": "2026-01-31T03:00Z"}, "is no date"),
        ({"start": "20260131"}, "is no date"),
        ({"start": datetime(2026, 1, 31, tzinfo=UTC)}, "is no date"),
        ({"start": 1_800_000_000.0}, "is no date"),
        ({"end": "0000-01-01"}, "end='0000-01-01' is no date"),
        ({"start": "2026-01-31", "end": "2026-01-30"}, "never fires: its end is before its start."),
    ],
)
def test_a_wrong_calendar_rule_is_refused_with_what_would_be_right(arguments, message):
    with pytest.raises(BadTrigger) as caught:
        CalendarIntervalTrigger(**{"every": "3 months", **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "calendar", "calendar 3 months", "calendar 3 months 03:00", "calendar 3 months Europe/Riga 03:00",
        "calendar 3 months 03:00 UTC from", "calendar 3 months 03:00 UTC until soon", "calendar 03:00 UTC",
    ],
)  # fmt: skip
def test_a_text_that_is_no_calendar_rule_is_refused(text):
    with pytest.raises(BadTrigger):
        parse_trigger(text)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("calendar 3 Months 03:00 Europe/Riga", "calendar 3 months 03:00 Europe/Riga from 2001-01-01"),
        ("calendar 6 months 1 year 03:00:00 UTC", "calendar 1 year 6 months 03:00 UTC from 2001-01-01"),
        ("calendar 1 days 03:00:05 UTC until 2030-01-01",
         "calendar 1 day 03:00:05 UTC from 2001-01-01 until 2030-01-01"),
    ],
)  # fmt: skip
def test_a_calendar_rule_is_stored_in_one_form(text, stored):
    assert str(parse_trigger(text)) == stored
    assert str(parse_trigger(stored)) == stored


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("calendar 3 months 03:00 UTC from 2026-01-31", "every 3 months on the 31st at 03:00"),
        ("calendar 1 month 03:00 UTC from 2026-01-02", "every month on the 2nd at 03:00"),
        ("calendar 1 month 03:00 UTC from 2026-01-11", "every month on the 11th at 03:00"),
        ("calendar 1 year 03:00 UTC from 2026-12-23", "every year on the 23rd of December at 03:00"),
        ("calendar 2 weeks 03:00:30 UTC", "every 2 weeks on mondays at 03:00:30"),
        ("calendar 10 days 03:00 UTC until 2030-01-01", "every 10 days at 03:00 until 2030-01-01"),
        ("calendar 1 day 03:00 UTC", "every day at 03:00"),
        ("calendar 1 year 6 months 03:00 UTC", "every 1 year and 6 months on the 1st at 03:00"),
        ("calendar 1 month 3 days 03:00 UTC", "every 1 month and 3 days at 03:00"),
    ],
)
def test_a_calendar_rule_is_said_in_a_few_words(text, words):
    assert describe(parse_trigger(text)) == words
