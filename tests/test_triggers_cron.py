"""Cron lines: what their fields mean, what is refused and with which words, and the spread of H."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from cron_oracle import numbers, on_day
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.errors import BadTrigger
from dracotask.triggers import Trigger, parse_trigger
from dracotask.triggers.cron import CronTrigger
from dracotask.triggers.fields import MACROS, spread

at = datetime.fromisoformat


def first(trigger: Trigger, after: str, number: int) -> list[str]:
    """Return the first few fire times later than a moment, in UTC."""
    found, moment = [], at(after)
    for _ in range(number):
        moment = trigger.next_after(moment)
        found.append(f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00"))
    return found


# -- Fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "days",
    [
        "* * *", "L * *", "LW * *", "31 * *", "29 2 *", "* * 5L", "* * 0L", "* * 5#2", "* * 1#5", "* * 0", "* * 7",
        "13 * 5", "L * 1", "*/2 * 1", "1-7 * *", "28-31/2 2,4 *", "* 3-5/2 1-5", "15,20-25 */5 *", "* * 1-7/2",
        "LW 2 *", "L 2 0",
    ],
)  # fmt: skip
def test_it_fires_on_the_days_on_which_debians_cron_would(days):
    # Given the days of a whole cycle of leap years and weekdays, looked at one by one
    dom, month, dow = days.split()
    trigger = CronTrigger(f"30 4 {days}", "UTC")
    every_day = (date(2000, 1, 1) + timedelta(days=number) for number in range(28 * 366))
    expected = [day for day in every_day if day.month in numbers(month, 1, 12) and on_day(dom, dow, day)]

    # When the trigger is asked from one fire time to the next
    found, fire_time = [], trigger.next_after(at("2000-01-01T00:00Z"))
    while fire_time.date() <= expected[-1]:
        found.append(fire_time.date())
        fire_time = trigger.next_after(fire_time)

    # Then it names the same days
    assert found == expected


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("0 4 * * fri-mon", "0 4 * * fri,sat,sun,mon"),
        ("0 4 * * sat-sun", "0 4 * * sat,sun"),
        ("0 4 * * 6-1", "0 4 * * sat,sun,mon"),
        ("0 4 * * 7-2", "0 4 * * sun,mon,tue"),
        ("0 4 * * fri-tue/2", "0 4 * * fri,sun,tue"),
        ("0 4 1 nov-feb *", "0 4 1 nov,dec,jan,feb *"),
        ("0 4 1 oct-mar/3 *", "0 4 1 oct,jan *"),
        ("0 4 * * FRIL", "0 4 * * 5L"),
        ("0 4 * * mon#1,WED#3", "0 4 * * mon#1,WED#3"),
        ("0 4 lw * *", "0 4 LW * *"),
        ("5-5/10 * * * *", "5 * * * *"),
        ("  0   4\t* * MON-fri ", "0 4 * * MON-fri"),
        ("0 4 * * 5-7", "0 4 * * 5-7"),
        ("@daily", "0 0 * * *"),
        ("@Weekly", "0 0 * * sun"),
    ],
)
def test_a_cron_line_is_stored_in_the_form_that_every_cron_reads(written, stored):
    assert CronTrigger(written).expression == stored
    assert CronTrigger(stored).expression == stored


@given(st.integers(0, 7), st.integers(0, 7))
def test_a_range_of_weekdays_may_go_over_the_end_of_the_week(one, other):
    # Given two weekdays, Sunday as 0 or 7, and the days from one to the other as one counts them on one's fingers
    day, expected = one % 7, {one % 7}
    while day != other % 7:
        day = (day + 1) % 7
        expected.add(day)
    if other - one == 7:
        expected = set(range(7))  # 0-7 is a whole week and a day

    # Then those are the days it fires on
    trigger, moment, found = CronTrigger(f"0 0 * * {one}-{other}"), at("2026-11-01T12:00Z"), set()
    for _ in range(7):
        moment = trigger.next_after(moment)
        found.add(moment.isoweekday() % 7)
    assert found == expected


def test_six_fields_have_the_seconds_first():
    assert first(CronTrigger("*/20 59 23 * * *"), "2026-11-21T00:00Z", 4) == [
        "2026-11-21 23:59",
        "2026-11-21 23:59:20",
        "2026-11-21 23:59:40",
        "2026-11-22 23:59",
    ]
    assert first(CronTrigger("* * * * * *"), "2026-12-31T23:59:58.5Z", 2) == ["2026-12-31 23:59:59", "2027-01-01 00:00"]


def test_a_start_and_an_end_count_too():
    # Given a rule with both, on fire times
    trigger = CronTrigger("0 4 * * *", start=at("2026-11-20T04:00Z"), end="2026-11-22T04:00:00+00:00")

    # Then it fires on both, and neither before nor after
    assert first(trigger, "2001-01-01T00:00Z", 3) == ["2026-11-20 04:00", "2026-11-21 04:00", "2026-11-22 04:00"]
    assert trigger.next_after(at("2026-11-22T04:00Z")) is None
    assert parse_trigger(str(trigger)) == trigger
    assert str(trigger) == "cron 0 4 * * * UTC from 2026-11-20T04:00:00+00:00 until 2026-11-22T04:00:00+00:00"


def test_a_macro_may_stand_in_a_trigger_s_text():
    assert {parse_trigger(f"cron {macro} UTC").expression for macro in MACROS} == set(MACROS.values())


def test_moments_of_any_zone_are_taken_and_utc_is_given():
    fire_time = CronTrigger("0 4 * * *", "Europe/Riga").next_after(at("2026-11-21T03:00+09:00"))
    assert fire_time == at("2026-11-21T02:00Z")
    assert fire_time.tzinfo is UTC


def test_a_leap_day_is_found_years_ahead():
    trigger = CronTrigger("0 0 29 2 *")
    assert trigger.next_after(at("2096-03-01T00:00Z")) == at("2104-02-29T00:00Z")


def test_inside_the_second_pass_of_a_repeated_hour_the_answer_is_later_still():
    # Given 02:10 in Berlin for the second time that night
    moment = at("2026-10-25T01:10Z")

    # When the first pass was the one that counted
    fire_time = CronTrigger("30 2 * * *", "Europe/Berlin").next_after(moment)

    # Then the next is tomorrow's, and no moment of the past
    assert fire_time == at("2026-10-26T01:30Z")


# -- H -------------------------------------------------------------------------------------------


def test_h_is_spread_by_name_and_the_same_in_every_process():
    # Given the lines of two tasks in a process of its own, whose hashes are others
    lines = "spread('H H * * *', 'Import'), spread('H H * * *', 'Export')"
    script = f"from dracotask.triggers.fields import spread; print({lines})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    # Then they are what they are here, and were when this was written
    assert ended.stdout == f"{spread('H H * * *', 'Import')} {spread('H H * * *', 'Export')}\n"
    assert spread("H H * * *", "Import") == "36 4 * * *"


@pytest.mark.parametrize(
    ("expression", "field", "allowed"),
    [
        ("H * * * *", 0, range(60)),
        ("H H H H H H", 0, range(60)),
        ("0 H * * *", 1, range(24)),
        ("0 0 H * *", 2, range(1, 29)),
        ("0 0 1 H *", 3, range(1, 13)),
        ("0 0 * * H", 4, range(7)),
        ("H(10-19) * * * *", 0, range(10, 20)),
        ("0 0 * * H(mon-fri)", 4, range(1, 6)),
        ("0 H(22-23) * * *", 1, range(22, 24)),
    ],
)
def test_h_is_spread_evenly_over_what_is_allowed(expression, field, allowed):
    # Given the same line for many tasks
    lines = [spread(expression, f"Task{number}") for number in range(60 * len(allowed))]

    # Then each number is some task's, and none has too many of them
    found = [int(line.split()[field]) for line in lines]
    assert set(found) == set(allowed)
    assert max(map(found.count, allowed)) < 2 * 60
    assert all(CronTrigger(line).expression == line for line in lines[:20])


def test_h_with_a_step_begins_anywhere_and_goes_on_evenly():
    for number in range(100):
        # Given every quarter of an hour, from a minute of the task's own
        start, rest = spread("H/15 * * * *", f"Task{number}").split("-", 1)
        assert int(start) < 15 and rest == "59/15 * * * *"

        # Or three times in the first half of each hour
        trigger = CronTrigger(spread("H(0-29)/10 * * * *", f"Task{number}"))
        minutes = {moment[-2:] for moment in first(trigger, "2026-11-21T00:00Z", 9)}
        assert len(minutes) == 3 and max(minutes) < "30"


def test_a_line_without_h_is_left_as_it_is():
    assert spread("0 4 * * mon-thu", "Import") == "0 4 * * mon-thu"
    assert spread("@daily", "Import") == "0 0 * * *"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("H(29-0) * * * *", "'H(29-0)' is no minute. The range of an H goes upwards, as in H(0-29)."),
        ("H(0-99) * * * *", "'H(0-99)' is no minute. Minutes are 0-59."),
        ("H(5) * * * *", "goes upwards, as in H(0-29)"),
        ("H5 * * * *", "Write H, H/15, H(0-29) or H(0-29)/10."),
        ("H/0 * * * *", "'H/0' is no minute. A step here is 1 to 60."),
        ("H(0-9)/11 * * * *", "A step here is 1 to 10."),
        ("H/x * * * *", "A step here is 1 to 60."),
        ("H" * 300, "is not a text of 200 plain characters at most"),
        ("H", "has 1 field; five are needed"),
    ],
)
def test_a_wrong_h_is_refused_with_what_would_be_right(expression, message):
    with pytest.raises(BadTrigger) as caught:
        spread(expression, "Import")
    assert message in str(caught.value)


# -- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("60 * * * *", "cron expression '60 * * * *': '60' is no minute. Minutes are 0-59."),
        ("60 * * * * *", "'60' is no second. Seconds are 0-59."),
        ("0 24 * * *", "'24' is no hour. Hours are 0-23."),
        ("0 0 32 * *", "'32' is no day-of-month. Days of the month are 1-31, L for the last or LW for"),
        ("0 0 0 * *", "'0' is no day-of-month."),
        ("0 0 * 13 *", "'13' is no month. Months are 1-12 or jan-dec."),
        ("0 0 * * 8", "'8' is no day-of-week. Days of the week are 0-7 or sun-sat (0 and 7 are Sunday)"),
        ("*/0 * * * *", "'*/0' is no minute. A step here is 1 to 60."),
        ("*/90 * * * *", "A step here is 1 to 60. For a longer distance write every='90m'."),
        ("0 */25 * * *", "'*/25' is no hour. A step here is 1 to 24."),
        ("5-1 * * * *", "'5-1' is no minute. A range goes upwards: write 5-59,0-1."),
        ("0 22-6 * * *", "'22-6' is no hour. A range goes upwards: write 22-23,0-6."),
        ("1-234/5678 * * * *", "'1-234/5678' is no minute. A step here is 1 to 60."),
        ("1-234 * * * *", "'1-234' is no minute. Minutes are 0-59."),
        ("0 0 31 2 *", "cron expression '0 0 31 2 *' never fires: no year has such a day."),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        ("0 0 */31 * 1#2", "never fires"),
        ("@every", "cron expression '@every' is no rule: write every='90s' for an interval."),
        ("@every 5m", "write every='90s' for an interval."),
        ("@reboot", "is no rule: a start is no time: call the task where your program or server starts."),
        ("@fortnightly", "it is one of @hourly @daily @midnight @weekly @monthly @yearly @annually, alone."),
        ("@daily 4", "it is one of @hourly @daily"),
        ("TZ=Europe/Riga 0 4 * * *", "the zone is said apart from it, as in timezone = 'Europe/Riga' or 'cron 0 4 * *"),
        ("CRON_TZ=UTC 0 4 * * *", "the zone is said apart from it"),
        ("* * * * * * *", "has 7 fields; five are needed: minute hour day-of-month month day-of-week. A sixth before"),
        ("0 4 * *", "has 4 fields; five are needed"),
        ("", "has 0 fields; five are needed"),
        ("H * * * *", "H takes its number from a task's name: say it in schedule(), or use spread(expression, name)."),
        ("0 0 15W * *", "'15W' is no day-of-month."),
        ("0 0 L/2 * *", "'L/2' is no day-of-month."),
        ("0 0 * * mon#6", "'mon#6' is no day-of-week."),
        ("0 0 ? * 1", "'?' is no day-of-month."),
        ("-5 * * * *", "'-5' is no minute."),
        ("1.5 * * * *", "'1.5' is no minute."),
        (", * * * *", "'' is no minute."),
        ("\x00 * * * *", "is no minute"),
        ("٣ * * * *", "is not a text of 200 plain characters at most"),
        ("² * * * *", "is not a text of 200 plain characters at most"),
        ("0," * 5000 + "0 * * * *", "is not a text of 200 plain characters at most"),
        ("0 4 * * " + ",".join(["fri-mon"] * 15), "is not a text of 200 plain characters at most"),
        (None, "cron expression None is not a text"),
        (True, "cron expression True is not a text"),
        (5.0, "cron expression 5.0 is not a text"),
    ],
)
def test_a_wrong_cron_expression_is_refused_with_what_would_be_right(expression, message):
    with pytest.raises(BadTrigger) as caught:
        CronTrigger(expression)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("expression", ["* * * * * *", "0 0 29 2 *", "0 0 29 2 1", "*/60 * * * *", "0 0 31 */2 *"])
def test_what_looks_odd_and_is_right_is_taken(expression):
    assert CronTrigger(expression).next_after(at("2026-11-21T00:00Z"))


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"start": "2026-11-21T05:00Z", "end": "2026-11-22T03:00Z"}, "never fires: it names no moment from its start"),
        ({"start": "2026-11-22T05:00Z", "end": "2026-11-21T05:00Z"}, "never fires"),
        ({"start": "2026-11-21"}, "start='2026-11-21' could be many moments: give an offset"),
        ({"end": datetime(2026, 11, 21)}, "end='2026-11-21 00:00:00' could be many moments"),
        ({"start": 1_800_000_000.0}, "start=1800000000.0 is not a moment"),
        ({"end": True}, "end=True is not a moment"),
        ({"start": "0001-01-01T00:00+14:00"}, "start='0001-01-01T00:00+14:00' is outside the years 1 to 9999 in UTC"),
    ],
)
def test_a_wrong_start_or_end_is_refused(span, message):
    with pytest.raises(BadTrigger) as caught:
        CronTrigger("0 4 * * *", **span)
    assert message in str(caught.value)


def test_a_start_at_the_beginning_of_time_and_an_end_at_its_end_are_no_surprise():
    trigger = CronTrigger("0 4 * * *", start="0001-01-01T00:00Z", end="9999-12-31T23:59:59Z")
    assert trigger.next_after(at("0001-01-01T00:00Z")) == at("0001-01-01T04:00Z")
    assert trigger.next_after(at("9999-12-31T04:00Z")) is None


@given(st.text(alphabet="0123456789*/-,#LWHMONSUJA() ", max_size=30))
@settings(deadline=None, max_examples=300)
def test_whatever_is_written_a_cron_expression_is_taken_or_refused_never_a_surprise(text):
    with suppress(BadTrigger):
        text = spread(text, "Import")
    with suppress(BadTrigger):
        assert CronTrigger(text).next_after(at("2026-01-01T00:00Z")) > at("2026-01-01T00:00Z")


counts = st.integers(0, 70).map(str)
spans = st.builds("{}-{}".format, counts, counts) | counts | st.just("*")
parts = spans | st.builds("{}/{}".format, spans, counts) | st.sampled_from(["L", "LW", "5L", "mon#2", "fri-mon", "jan"])
fields = st.lists(parts, min_size=1, max_size=3).map(",".join)


@given(st.lists(fields, min_size=5, max_size=6).map(" ".join))
@settings(deadline=None, max_examples=300)
def test_what_is_taken_is_read_by_cronsim_the_same_way(text):
    from cronsim import CronSim

    # Given any line that is taken
    try:
        trigger = CronTrigger(text)
    except BadTrigger:
        return

    # When cronsim steps through it in UTC, with no shortcut
    sim = CronSim(trigger.expression, at("2026-02-27T22:58:57.5Z"))
    expected = [next(sim) for _ in range(5)]

    # Then our answers are the same
    moment = at("2026-02-27T22:58:57.5Z")
    assert [moment := trigger.next_after(moment) for _ in range(5)] == expected
