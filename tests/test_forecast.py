"""The forecast: how late a task would start if only requests kept the site ticking."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dracotask.forecast import Forecast, forecast, longest_lull
from dracotask.web.traffic import Traffic

PARIS = ZoneInfo("Europe/Paris")

#: A Monday at midnight in Paris, in a winter without a change of the clock.
START = datetime(2026, 1, 5, tzinfo=PARIS).astimezone(UTC)
minutes = lambda number: timedelta(minutes=number)  # noqa: E731


def minute(moment: datetime) -> int:
    return int(moment.timestamp() // 60)


def traffic(*hours: float, days: int = 7, since: datetime = START) -> Traffic:
    """Return the traffic of a site that is visited every day at the same hours."""
    visits = [minute(since + timedelta(days=day, hours=hour)) for day in range(days) for hour in hours]
    return Traffic(minute(since), sorted(visits))


def test_a_task_at_night_starts_with_the_first_visitor_of_the_morning():
    # Given a shop that is visited from 7:12 to 23:30
    shop = traffic(7.2, 12, 18, 23.5)

    # When it is asked when a task of three in the morning would start
    expected = forecast(shop, time(3), START + timedelta(days=7), PARIS)

    # Then that is four hours and twelve minutes later, on each of the seven days
    assert expected == Forecast(median=minutes(252), worst=minutes(252), days=7)
    # And in the evening the wait is for the morning
    assert forecast(shop, time(23, 45), START + timedelta(days=7), PARIS).worst == minutes(7 * 60 + 27)
    # And in the minute of a visit there is none
    assert forecast(shop, time(12), START + timedelta(days=7), PARIS).worst == minutes(0)


def test_a_fire_time_stands_for_its_time_of_day_on_the_site_s_clock():
    shop, now = traffic(7.2), START + timedelta(days=7)

    # (In July three o'clock in Paris is one o'clock in UTC, and in January two.)
    in_summer = datetime(2026, 7, 1, 1, tzinfo=UTC)
    assert forecast(shop, in_summer, now, PARIS) == forecast(shop, time(3), now, PARIS)


def test_one_bad_day_is_the_worst_and_not_the_median():
    # Given a site with a visit at eight, but for one Sunday without any
    visits = [minute(START + timedelta(days=day, hours=8)) for day in range(14) if day != 6]
    now = START + timedelta(days=14)

    expected = forecast(Traffic(minute(START), visits), time(3), now, PARIS)

    assert expected == Forecast(median=minutes(300), worst=minutes(300 + 1440), days=14)


@pytest.mark.parametrize("known, days", [(timedelta(hours=23, minutes=59), None), (timedelta(days=1), 1)])
def test_less_than_a_day_on_record_is_no_forecast(known, days):
    expected = forecast(traffic(12, days=1), time(6), START + known, PARIS)

    assert (expected and expected.days) == days


def test_a_site_that_nobody_visits_is_as_late_as_it_has_been_on_record():
    nobody = Traffic(minute(START), [])

    expected = forecast(nobody, time(0), START + timedelta(days=3), PARIS)

    assert expected.worst == timedelta(days=3)
    assert forecast(Traffic(None, []), time(0), START, PARIS) is None


def test_today_counts_only_once_it_is_the_worst():
    # Given a site with a visit at nine, and nobody since yesterday
    shop = traffic(9, days=3)

    # When it is five, today's wait is shorter than the others were in the end
    assert forecast(shop, time(3), START + timedelta(days=3, hours=5), PARIS).days == 3
    # When it is ten, it is the worst there was
    assert forecast(shop, time(3), START + timedelta(days=3, hours=10), PARIS) == Forecast(
        median=minutes(6 * 60), worst=minutes(7 * 60), days=4
    )


@pytest.mark.parametrize("change", ["2026-03-29", "2026-10-25"])
def test_the_days_on_which_the_clock_is_changed_are_days_like_others(change):
    # Given a site that is visited at 8:30 by its own clock, around a change
    first = datetime.fromisoformat(change).replace(tzinfo=PARIS) - timedelta(days=2)
    visits = [(first + timedelta(days=day)).replace(hour=8, minute=30).astimezone(UTC) for day in range(5)]
    shop = Traffic(minute(first.astimezone(UTC)), [minute(visit) for visit in visits])
    now = (first + timedelta(days=5)).astimezone(UTC)

    # Then a task of 2:30, a time that is left out or comes twice, is six hours late, on that day an hour off
    expected = forecast(shop, time(2, 30), now, PARIS)
    assert (expected.median, expected.days) == (minutes(360), 5)
    # (In spring it is due at 3:30; in autumn the first 2:30 counts.)
    assert expected.worst == minutes(360 if change == "2026-03-29" else 420)
    assert forecast(shop, time(8, 30), now, PARIS).worst == minutes(0)


@given(
    visits=st.sets(st.integers(0, 20 * 1440), max_size=60),
    at=st.times().map(lambda at: at.replace(microsecond=0, fold=0)),
    known=st.integers(1440, 20 * 1440),
    zone=st.sampled_from([PARIS, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Santiago")]),
)
def test_the_forecast_is_what_comes_of_going_through_the_minutes_one_by_one(visits, at, known, zone):
    since, now = minute(START), START + minutes(known)
    seen = sorted(since + visit for visit in visits if visit <= known)

    expected = forecast(Traffic(since, seen), at, now, zone)

    assert expected == slowly_forecast(set(seen), since, at, now, zone)


def slowly_forecast(visits: set[int], since: int, at: time, now: datetime, zone: ZoneInfo) -> Forecast | None:
    """Walk from each fire time from minute to minute until there is a visit, or the present."""
    delays, waiting = [], []
    for day in range(-1, 23):
        local = datetime.combine((START + timedelta(days=day)).date(), at, zone)
        fire_time = local.astimezone(UTC)
        if not START <= fire_time <= now:
            continue
        current = minute(fire_time)
        while current not in visits and current <= minute(now):
            current += 1
        if current > minute(now):
            waiting.append(now - fire_time)
        else:
            delays.append(max(datetime.fromtimestamp(current * 60, UTC) - fire_time, timedelta()))
    delays = sorted([*delays, *(wait for wait in waiting if not delays or wait > max(delays))])
    if not delays:
        return None
    middle = [delays[(len(delays) - 1) // 2], delays[len(delays) // 2]]
    return Forecast(median=(middle[0] + middle[1]) / 2, worst=delays[-1], days=len(delays))


# -- The longest lull --------------------------------------------------------------------------


def test_the_longest_lull_of_the_last_week_is_told_with_its_begin():
    # Given a site that is visited twice a day, and was not at all on its first three days
    visits = [minute(START + timedelta(days=day, hours=hour)) for day in range(3, 14) for hour in (9, 20)]
    known = Traffic(minute(START), visits)

    # Then in the last week it is a night, and when those days were the last week it is they
    lull = longest_lull(known, START + timedelta(days=14))
    assert (lull.length, lull.begin.astimezone(PARIS).hour) == (timedelta(hours=13), 20)
    early = longest_lull(Traffic(minute(START), visits[:4]), START + timedelta(days=5))
    assert (early.begin, early.length) == (START, timedelta(days=3, hours=9))


def test_a_lull_that_is_not_over_counts_for_as_long_as_it_has_lasted():
    lull = longest_lull(traffic(9, days=1), START + timedelta(days=4, hours=9))

    assert lull.length == timedelta(days=4)
    assert longest_lull(Traffic(None, []), START) is None
