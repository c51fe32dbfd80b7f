"""Rules of time: Draco's arguments, intervals, dates, any of several, and what holds for all of them.

(Cron, the calendar, and clocks that are put forward and back have files of their own.)
"""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.errors import BadTrigger, DracotaskError
from dracotask.triggers import Trigger, parse_trigger
from dracotask.triggers.calendar import CalendarIntervalTrigger
from dracotask.triggers.combining import AnyTrigger
from dracotask.triggers.cron import CronTrigger
from dracotask.triggers.date import DateTrigger, parse_at
from dracotask.triggers.draco import from_draco
from dracotask.triggers.interval import EPOCH, IntervalTrigger, parse_every

at = datetime.fromisoformat


def between(trigger: Trigger, start: datetime, end: datetime) -> list[datetime]:
    """Return the fire times later than ``start`` and before ``end``."""
    found = []
    fire_time = trigger.next_after(start)
    while fire_time is not None and fire_time < end:
        found.append(fire_time)
        fire_time = trigger.next_after(fire_time)
    return found


# Draco's schedule(): every example of the design.


@pytest.mark.parametrize(
    ("arguments", "expression"),
    [
        ({}, "* * * * *"),
        ({"hour": (0, 4, 8, 12, 16, 20)}, "0 0,4,8,12,16,20 * * *"),
        ({"minute": 30}, "30 * * * *"),
        ({"dow": 0}, "0 0 * * mon"),
        ({"dow": 6}, "0 0 * * sun"),
        ({"minute": 30, "dow": 0}, "30 * * * mon"),
        ({"hour": 4, "minute": None}, "* 4 * * *"),
        ({"hour": None}, "0 * * * *"),
        ({"dow": None}, "0 0 * * *"),
        ({"hour": 3, "dow": range(5)}, "0 3 * * mon-fri"),
        ({"hour": 3, "dow": (6, 5)}, "0 3 * * sat,sun"),
        ({"hour": 3, "dow": [4, 5, 6]}, "0 3 * * fri,sat,sun"),
        ({"hour": 3, "dow": {1, 2, 3, 4, 5, 6}}, "0 3 * * tue-sat,sun"),
        ({"minute": range(60), "hour": range(24), "dow": range(7)}, "* * * * *"),
        ({"minute": [15, 15, 0]}, "0,15 * * * *"),
        ({"minute": (n for n in (5, 6, 7, 20))}, "5-7,20 * * * *"),
    ],
)
def test_a_draco_schedule_becomes_a_cron_expression(arguments, expression):
    assert from_draco(**arguments) == expression


def test_the_arguments_of_draco_come_minute_first():
    assert from_draco(4) == "4 * * * *"
    assert from_draco(4, 5, 6) == "4 5 * * sun"


def test_day_0_of_draco_is_a_monday():
    # Given the manual's Monday, whatever cron thinks of 0
    trigger = CronTrigger(from_draco(dow=0))

    # When a week passes
    fire_times = between(trigger, at("2026-11-20T12:00Z"), at("2026-11-27T12:00Z"))

    # Then it fires as Monday begins, once
    assert fire_times == [at("2026-11-23T00:00Z")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minute": 60}, "minute=60 is out of range: minutes are 0-59."),
        ({"hour": [1, 24]}, "hour=24 is out of range: hours are 0-23."),
        ({"hour": -1}, "hour=-1 is out of range"),
        ({"dow": 7}, "dow=7 is out of range: days of the week are 0 (Monday) to 6 (Sunday)."),
        ({"dow": True}, "dow=True has True, which is not a whole number"),
        ({"minute": (0, False)}, "minute=(0, False) has False, which is not a whole number"),
        ({"hour": ()}, "hour=() is empty: give one at least, or None for every one; hours are 0-23."),
        ({"minute": "5"}, "minute='5' has '5', which is not a whole number"),
        ({"minute": b"5"}, "which is not a whole number"),
        ({"minute": 4.0}, "minute=4.0 is neither a whole number nor several: minutes are 0-59."),
        ({"minute": [None]}, "minute=[None] has None, which is not a whole number"),
    ],
)
def test_a_wrong_argument_of_draco_is_named_with_its_range(arguments, message):
    with pytest.raises(ValueError) as caught:
        from_draco(**arguments)
    assert message in str(caught.value)


@given(st.sets(st.integers(0, 59), min_size=1), st.sets(st.integers(0, 23), min_size=1))
@settings(deadline=None, max_examples=50)
def test_any_draco_schedule_is_a_good_cron_expression(minutes, hours):
    # Given any minutes and hours at all
    trigger = CronTrigger(from_draco(minutes, hours))

    # When a day passes
    times = between(trigger, at("2026-01-01T23:59Z"), at("2026-01-03T00:00Z"))

    # Then it fires at each of them
    expected = [(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)]
    assert [(time.hour, time.minute) for time in times] == expected


# What is refused.


@pytest.mark.parametrize(
    "zone",
    ["Mars/Olympus", "", "..", "Europe", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", None, 5, "TZ=UTC", "UTC0", "+02"],
)
def test_an_unknown_zone_is_refused_by_name(zone):
    with pytest.raises(BadTrigger) as caught:
        CronTrigger("0 4 * * *", zone)
    assert f"zone {zone!r:.60} is not known here" in str(caught.value)


@pytest.mark.parametrize(
    ("every", "message"),
    [
        ("0.5s", "every='0.5s' is too short: one second is the least."),
        ("999ms", "every='999ms' is too short: one second is the least."),
        (0, "every=0 is too short"),
        (timedelta(milliseconds=999), "too short"),
        (-5, "every=-5 is negative"),
        (timedelta(days=-1), "is negative"),
        (float("nan"), "every=nan is not a length of time: write '90s'"),
        (float("inf"), "every=inf is not a length of time"),
        (float("-inf"), "is not a length of time"),
        (True, "every=True is not a length of time"),
        (None, "every=None is not a length of time"),
        ("soon", "every='soon' is not a length of time"),
        (1e18, "is not a length of time"),
        (10**400, "is not a length of time"),
        ("101y", "is not a length of time"),
        ("99999d", "every='99999d' is too long: a hundred years is the most."),
    ],
)
def test_a_wrong_interval_is_refused(every, message):
    with pytest.raises(BadTrigger) as caught:
        parse_every(every)
    assert message in str(caught.value)


def test_an_interval_that_ends_before_it_starts_is_refused():
    with pytest.raises(BadTrigger, match="never fires: its end is before its start"):
        IntervalTrigger(every="1h", start=at("2026-01-02T00:00Z"), end=at("2026-01-01T00:00Z"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2027-01-01T00:00:00", "give an offset, as in 2027-01-01T00:00:00+00:00 for UTC"),
        (datetime(2027, 1, 1), "at='2027-01-01 00:00:00' could be many moments: give an offset"),
        ("2027-01-01", "could be many moments"),
        ("tomorrow", "at='tomorrow' is not a moment: write it as 2027-01-01T00:00:00+01:00."),
        ("", "is not a moment"),
        (date(2027, 1, 1), "is not a moment: give an ISO text or an aware datetime"),
        (1_800_000_000, "is not a moment"),
        (1_800_000_000.5, "at=1800000000.5 is not a moment"),
        (float("nan"), "at=nan is not a moment"),
        (True, "at=True is not a moment"),
        ("2" * 10_000, "is not a moment"),
        ("٢٠٢٧-01-01T00:00+00:00", "is not a moment"),
        ("10000-01-01T00:00+00:00", "is not a moment"),
        ("9999-12-31T23:59-01:00", "is outside the years 1 to 9999 in UTC"),
        ("0001-01-01T00:00+14:00", "is outside the years 1 to 9999 in UTC"),
    ],
)
def test_a_moment_that_could_be_many_or_none_is_refused(value, message):
    with pytest.raises(BadTrigger) as caught:
        parse_at(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "yearly",
        "cron",
        "cron 0 4 * * *",
        "cron 0 4 * * * Europe/Riga Europe/Riga",
        "cron 0 4 * * * Mars/Olympus",
        "cron 99 4 * * * UTC",
        "every",
        "every90s",
        "every 90s from",
        "every 90s from noon",
        "every 90s until noon",
        "at",
        "at 2027-01-01T00:00:00",
        "any",
        "any ()",
        "any (every 90s",
        "any (every 90s | )",
        None,
        b"every 90s",
    ],
)
def test_a_text_that_is_no_trigger_is_refused(text):
    with pytest.raises(BadTrigger) as caught:
        parse_trigger(text)
    assert str(caught.value)
    assert isinstance(caught.value, DracotaskError)


@given(st.text(alphabet="0123456789*-:TZ+.|() crontevyafmilus", max_size=40))
@settings(deadline=None)
def test_whatever_is_written_a_trigger_is_read_or_refused_never_a_surprise(text):
    for word in ("cron", "every", "at", "any"):
        with suppress(BadTrigger):
            assert parse_trigger(f"{word} {text}")


@pytest.mark.parametrize(
    "text", ["cron 0 4 * * * UTC", "every 60s", "at 2027-01-01T00:00Z", "calendar 1 day 04:00 UTC"]
)
def test_a_naive_moment_is_refused_by_every_trigger(text):
    with pytest.raises(ValueError, match="has no offset"):
        parse_trigger(text).next_after(datetime(2026, 1, 1))


# Intervals, dates, any of several.


def test_lateness_never_adds_up():
    # Given a trigger of every ten minutes from midnight
    trigger = IntervalTrigger(every=timedelta(minutes=10), start=at("2026-01-01T00:00Z"))

    # When the last look came seven minutes late
    fire_time = trigger.next_after(at("2026-01-01T00:17Z"))

    # Then the next fire time is still on the ten
    assert fire_time == at("2026-01-01T00:20Z")


def test_an_interval_starts_with_its_start_and_ends_with_its_end():
    trigger = IntervalTrigger(every="1h", start=at("2026-01-01T00:00Z"), end=at("2026-01-01T02:00Z"))
    times = between(trigger, at("2020-01-01T00:00Z"), at("2027-01-01T00:00Z"))
    assert times == [at("2026-01-01T00:00Z"), at("2026-01-01T01:00Z"), at("2026-01-01T02:00Z")]
    assert trigger.next_after(at("2026-01-01T02:00Z")) is None


def test_an_interval_may_have_milliseconds():
    trigger = parse_trigger("every 1500ms")
    assert between(trigger, at("2026-01-01T00:00Z"), at("2026-01-01T00:00:05Z")) == [
        at("2026-01-01T00:00:01.5Z"), at("2026-01-01T00:00:03Z"), at("2026-01-01T00:00:04.5Z"),
    ]  # fmt: skip


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC)),
    st.fractions(-2, 110),
)
@settings(deadline=None, max_examples=100)
def test_an_interval_names_what_counting_from_its_start_does(every, start, passed):
    # Given an interval, and its fire times as one counts them, each from the one before
    counted = [start]
    while len(counted) < 100:
        counted.append(counted[-1] + every)
    trigger = IntervalTrigger(every=every, start=start, end=counted[-1])

    # When asked about any moment from before its start until after its end
    asked = start + every * float(passed)

    # Then it names those that are left, one by one, and no more
    for expected in [moment for moment in counted if moment > asked][:20]:
        asked = trigger.next_after(asked)
        assert asked == expected
    assert trigger.next_after(counted[-1]) is None


def test_an_interval_with_no_start_is_counted_from_the_same_moment_everywhere():
    trigger = IntervalTrigger(every="90s")
    assert str(trigger) == "every 90s from 2000-01-01T00:00:00+00:00"
    assert trigger.next_after(EPOCH) == at("2000-01-01T00:01:30Z")
    assert trigger == parse_trigger("every 90s")


def test_an_interval_does_not_care_for_dst():
    # Given a start by the clock of Berlin, the evening before it is put forward
    start = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Berlin"))

    # When a day of 24 hours has passed
    fire_time = IntervalTrigger(every="1d", start=start).next_after(start)

    # Then it fires, whatever the clock shows
    assert fire_time == at("2026-03-29T11:00Z")


def test_a_date_fires_once():
    trigger = DateTrigger("2027-01-01T00:00:00+01:00")
    assert str(trigger) == "at 2026-12-31T23:00:00+00:00"
    assert trigger.next_after(at("2026-12-31T22:59:59.999999Z")) == at("2026-12-31T23:00Z")
    assert trigger.next_after(at("2026-12-31T23:00Z")) is None


def test_any_of_several_fires_with_each_and_once_with_both():
    # Given half past and every fifteen minutes, which meet once an hour
    half_past, quarters = CronTrigger("30 * * * *"), IntervalTrigger(every="15m")
    trigger = AnyTrigger([half_past, quarters, DateTrigger("2026-01-01T00:20Z")])

    # When most of an hour passes
    times = between(trigger, at("2026-01-01T00:00Z"), at("2026-01-01T00:50Z"))

    # Then each moment is named once
    assert [f"{time:%H:%M}" for time in times] == ["00:15", "00:20", "00:30", "00:45"]


def test_any_of_several_is_over_when_all_are():
    trigger = AnyTrigger([DateTrigger("2026-01-01T00:00Z"), DateTrigger("2027-01-01T00:00Z")])
    assert trigger.next_after(at("2026-06-01T00:00Z")) == at("2027-01-01T00:00Z")
    assert trigger.next_after(at("2027-01-01T00:00Z")) is None


def test_any_ofs_within_are_opened_up_and_repetitions_dropped():
    every, once = IntervalTrigger(every=60), DateTrigger("2027-01-01T00:00Z")
    assert AnyTrigger([every, AnyTrigger([once, every])]).triggers == (every, once)


def test_any_of_nothing_and_of_things_that_are_no_triggers_is_refused():
    with pytest.raises(BadTrigger, match="never fires"):
        AnyTrigger([])
    with pytest.raises(BadTrigger, match="takes Triggers"):
        AnyTrigger(["every 90s"])


# What holds for all of them.

SOME_TRIGGERS = [
    "cron 0 4 * * mon-fri Europe/Riga",
    "cron 30 2 * * * America/New_York",
    "cron */15 * L * * Australia/Lord_Howe",
    "cron 0 0 29 2 * UTC",
    "cron 0,30 0 4 * * sun#2 America/Santiago from 2026-01-01T00:00:00+00:00 until 2040-01-01T00:00:00.500000+00:00",
    "cron */7 * * * * * UTC until 2040-01-01T00:00:00+00:00",
    "calendar 3 months 03:00 Europe/Riga from 2026-01-31",
    "calendar 2 weeks 02:30:15 America/New_York from 2001-01-01 until 2040-12-31",
    "calendar 1 year 1 month 10 days 00:00 Pacific/Apia from 2000-02-29",
    "every 90s from 2026-01-01T00:00:00+00:00",
    "every 90m from 2026-01-01T00:00:00.250000+00:00 until 2027-01-01T00:00:00+00:00",
    "every 1.000001s from 2000-01-01T00:00:00+00:00",
    "at 2027-01-01T00:00:00+00:00",
    "any (cron 0 4 * * * UTC | at 2027-01-01T00:00:00+00:00)",
    "all (cron 0 0 1 * * UTC | every 2w from 2000-01-01T00:00:00+00:00)",
    "jitter 1d Report (cron 0 4 * * * Pacific/Kiritimati)",
    "except 0001-01-01,9999-12-31 Etc/GMT+12 (cron 0 4 * * * Europe/Riga)",
    "between 22:00-06:00 Pacific/Kiritimati (every 5m from 2000-01-01T00:00:00+00:00)",
    "by bank:BankDays 2027-01-04T08:00:00+00:00 +1d +3d to 2028-02-01T00:00:00+00:00",
]


@pytest.mark.parametrize("text", SOME_TRIGGERS)
def test_a_trigger_is_stored_as_text_that_reads_back(text):
    trigger = parse_trigger(text)
    assert str(trigger) == text
    assert parse_trigger(str(trigger)) == trigger


def test_spaces_in_a_text_are_of_no_importance():
    assert parse_trigger("  cron  0 4  * * *\tUTC ") == CronTrigger("0 4 * * *")
    assert CronTrigger(" 0  4 * * * ") == CronTrigger("0 4 * * *")
    assert parse_trigger("any ( every 1m|every 2m )") == parse_trigger("any (every 1m | every 2m)")


@pytest.mark.parametrize("text", SOME_TRIGGERS)
@pytest.mark.parametrize("moment", ["0001-01-01T00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_are_no_surprise(text, moment):
    fire_time = parse_trigger(text).next_after(at(moment))
    assert fire_time is None or fire_time > at(moment)


@pytest.mark.parametrize("edge", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
@pytest.mark.parametrize("text", SOME_TRIGGERS)
def test_moments_that_utc_has_no_name_for_are_no_surprise(text, edge):
    fire_time = parse_trigger(text).next_after(at(edge))
    assert fire_time is None or fire_time > at(edge)


def test_triggers_are_equal_when_their_texts_are():
    assert CronTrigger("0 4 * * *") == CronTrigger("0 4 * * *", "UTC")
    assert CronTrigger("0 4 * * *") != CronTrigger("0 4 * * *", "Europe/Riga")
    assert len({IntervalTrigger(every=90), IntervalTrigger(every="90s"), IntervalTrigger(every="1m30s")}) == 1
    assert CronTrigger("0 4 * * *") != "cron 0 4 * * * UTC"
    assert repr(IntervalTrigger(every=90)) == "<IntervalTrigger every 90s from 2000-01-01T00:00:00+00:00>"


@pytest.mark.parametrize("text", SOME_TRIGGERS)
def test_a_trigger_can_be_copied_and_sent_but_not_changed(text):
    trigger = parse_trigger(text)
    assert pickle.loads(pickle.dumps(trigger)) == copy.deepcopy(trigger) == trigger
    for name in type(trigger).__slots__:
        with pytest.raises(AttributeError, match="does not change"):
            setattr(trigger, name, None)


def test_a_rule_of_ones_own_must_say_what_comes_next_and_have_a_text():
    class Never(Trigger):
        pass

    with pytest.raises(NotImplementedError, match="Never must say"):
        Never().next_after(at("2026-01-01T00:00Z"))
    with pytest.raises(NotImplementedError, match="Never must have a text"):
        str(Never())


moments = st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"])
minutes = st.sampled_from(["*", "0", "*/15", "0,30", "7-59/10", "59", "*/20 *", "5 0", "0,59 0,59"])
hours = st.sampled_from(["*", "0", "2", "*/3", "1-3", "0,12,23"])
days = st.sampled_from(["* * *", "1 * *", "* * sun", "29 2 *", "13 * 5", "L * *", "* * 5L", "* 3,10,11 sun"])
crons = st.builds(lambda m, h, d, zone: CronTrigger(f"{m} {h} {d}", zone), minutes, hours, days, zones)
intervals = st.builds(
    lambda every, start: IntervalTrigger(every=every, start=start),
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    moments,
)
dates = st.builds(DateTrigger, moments)
counts = st.sampled_from(
    ["1 day", "10 days", "2 weeks", "1 month", "3 months", "1 year", "1 year 2 months", "1 month 1 day"]
)
calendars = st.builds(
    lambda every, hour, zone, start: CalendarIntervalTrigger(every, f"{hour:02}:30", zone, start=start),
    counts, st.integers(0, 23), zones, st.dates(date(1990, 1, 1), date(2080, 1, 1)),
)  # fmt: skip
anys = st.builds(AnyTrigger, st.lists(crons | intervals | dates | calendars, min_size=1, max_size=3))


@given(crons | intervals | dates | calendars | anys, moments)
@settings(deadline=None, max_examples=150)
def test_fire_times_only_go_forward_and_asking_changes_nothing(trigger, moment):
    # Given any trigger and any moment
    text, last = str(trigger), moment

    # When asked a few times, each time about the answer before
    for _ in range(5):
        fire_time = trigger.next_after(last)
        if fire_time is None:
            break

        # Then the answer is later, in UTC, the same again, and there is nothing in between
        assert fire_time > last and fire_time.tzinfo is UTC
        assert trigger.next_after(last) == fire_time
        assert trigger.next_after(fire_time - timedelta(microseconds=1)) == fire_time
        last = fire_time
    assert str(trigger) == text


@given(
    crons | intervals | dates | calendars, st.lists(moments, min_size=2, max_size=6), st.randoms(use_true_random=False)
)
@settings(deadline=None, max_examples=150)
def test_the_order_of_questions_is_of_no_matter(trigger, moments, random):
    # Given the answers for some moments, asked in order
    moments = sorted(moments)
    answers = [trigger.next_after(moment) for moment in moments]

    # When a twin is asked in another order, some of them twice
    shuffled = [*range(len(moments)), 0]
    random.shuffle(shuffled)
    twin = parse_trigger(str(trigger))

    # Then it says the same, and who asks later hears of nothing earlier
    assert all(twin.next_after(moments[number]) == answers[number] for number in shuffled)
    told = [answer for answer in answers if answer is not None]
    assert told == sorted(told) and answers[: len(told)] == told


@given(crons | intervals | dates | calendars | anys)
@settings(deadline=None)
def test_every_trigger_reads_back_from_its_text(trigger):
    assert parse_trigger(str(trigger)) == trigger
