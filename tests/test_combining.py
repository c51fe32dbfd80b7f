"""Rules made of other rules: any-of, all-of, jitter, windows, exclusions and lists, held against plain enumeration."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from math import gcd
from zoneinfo import ZoneInfo

import pytest
from helpers import at
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.errors import BadTrigger
from dracotask.planning import latest_until
from dracotask.triggers import Trigger, parse_trigger
from dracotask.triggers.combining import AllTrigger, AnyTrigger
from dracotask.triggers.cron import CronTrigger
from dracotask.triggers.date import DateTrigger
from dracotask.triggers.exclusion import ExceptTrigger
from dracotask.triggers.grammar import MAX_DEPTH, MAX_LENGTH, all_within
from dracotask.triggers.interval import IntervalTrigger
from dracotask.triggers.jitter import JitterTrigger
from dracotask.triggers.listed import ListedTrigger, carried_on, list_ahead, relist_at
from dracotask.triggers.search import MOST_STEPS
from dracotask.triggers.window import WindowTrigger

INSTANT = timedelta(microseconds=1)


def fires(trigger: Trigger, since: datetime, until: datetime) -> list[datetime]:
    """Return the fire times later than ``since``, up to ``until``."""
    found, moment = [], since
    while (following := trigger.next_after(moment)) is not None and following <= until:
        found.append(following)
        moment = following
    return found


class Counted(Trigger):
    """Counts how often a rule is asked."""

    def __init__(self, rule: Trigger) -> None:
        self.rule, self.questions = rule, [0]

    def next_after(self, moment):
        self.questions[0] += 1
        return self.rule.next_after(moment)

    def __str__(self):
        return str(self.rule)


# -- Any-of and all-of ---------------------------------------------------------------------------


def test_each_of_several_rules_keeps_its_own_beat():
    # (APScheduler lost one of them: issue 361.)
    trigger = parse_trigger("any (every 10m | every 15m)")

    times = fires(trigger, at("2026-01-01T00:00Z"), at("2026-01-01T01:00Z"))

    assert [time.minute for time in times] == [10, 15, 20, 30, 40, 45, 50, 0]


second_rules = st.sampled_from(
    [
        "every 7m",
        "every 10m",
        "every 90s from 2026-01-01T00:00:30+00:00",
        "cron */5 * * * * Europe/Riga",
        "cron 0 * * * * UTC",
        "cron 30 2-4 * * * Europe/Riga",
        "cron 0 */2 * * * America/New_York",
        "every 25m until 2026-03-29T01:00:00+00:00",
        "every 1h from 2026-03-29T00:30:00+00:00",
        "at 2026-03-29T01:00:00+00:00",
        "calendar 1 day 03:30 Europe/Riga",
    ]
).map(parse_trigger)
#: The clock is put forward in Riga on this night.
NIGHT = at("2026-03-28T20:00Z"), at("2026-03-29T20:00Z")


@given(st.lists(second_rules, min_size=1, max_size=4))
@settings(deadline=None)
def test_any_of_is_the_union_and_all_of_the_intersection(rules):
    # Given what each of them names in a night
    named = [set(fires(rule, *NIGHT)) for rule in rules]

    # Then together they name what one of them does, or what all do
    assert fires(AnyTrigger(rules), *NIGHT) == sorted(set.union(*named))
    assert fires(AllTrigger(rules), *NIGHT) == sorted(set.intersection(*named))


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 60), st.none() | st.integers(61, 9000)), min_size=2, max_size=4
    )
)
@settings(deadline=None)
def test_intervals_meet_where_enumeration_finds_them(facts):
    # Given intervals of some seconds, with an offset and perhaps an end
    zero = at("2026-01-01T00:00Z")
    rules = [
        IntervalTrigger(
            every=every,
            start=zero + timedelta(seconds=offset),
            end=None if end is None else zero + timedelta(seconds=end),
        )
        for every, offset, end in facts
    ]

    # When they are to agree
    met = fires(AllTrigger(rules), zero - INSTANT, zero + timedelta(seconds=10_000))

    # Then they do at each second at which all of them fire
    expected = [
        second
        for second in range(10_001)
        if all(
            second >= offset and (second - offset) % every == 0 and second <= (end or 10_000)
            for every, offset, end in facts
        )
    ]
    assert met == [zero + timedelta(seconds=second) for second in expected]


def test_long_intervals_without_a_common_measure_meet_when_they_must():
    # Given three primes of seconds, which meet once in seven hundred years
    trigger = parse_trigger(" ".join(["all (every 7919s | every 7907s | every 353s)"]))
    period = timedelta(seconds=7919 * 7907 * 353)

    # When asked about the first meeting after the one that all are counted from
    meeting = trigger.next_after(at("2000-01-01T00:00Z"))

    # Then no search has timed out, and nothing lies in between
    assert meeting == at("2000-01-01T00:00Z") + period
    assert trigger.next_after(meeting - INSTANT) == meeting


def test_intervals_that_can_never_meet_are_known_by_arithmetic():
    even, odd = "every 2s from 2026-01-01T00:00:00Z", "every 2s from 2026-01-01T00:00:01Z"
    assert parse_trigger(f"all ({even} | {odd})").next_after(at("2026-01-01T00:00Z")) is None
    assert gcd(7919, 7907) == 1
    assert (
        parse_trigger("all (every 7919s | every 7907s from 2000-01-01T00:00:00.5Z)").next_after(at("2026-01-01T00:00Z"))
        is None
    )


def test_rules_that_never_agree_come_to_an_end():
    # Given two rules that are an hour apart for ever (APScheduler's AndTrigger hung: issue 281)
    early, late = (Counted(CronTrigger(f"0 {hour} * * *", "Europe/Riga")) for hour in (4, 5))
    trigger = AllTrigger([early, late])

    # When asked
    following = trigger.next_after(at("2026-01-01T00:00Z"))

    # Then the search was given up after so many questions
    assert following is None
    assert early.questions[0] + late.questions[0] == MOST_STEPS


def test_searches_within_searches_share_one_measure():
    # Given rules that never agree, in a window that is never open, on a date that is left out
    rules = [Counted(CronTrigger(f"0 {hour} * * *", "UTC")) for hour in (4, 5)]
    trigger: Trigger = AnyTrigger([AllTrigger(rules)])
    for _ in range(3):
        trigger = ExceptTrigger("2026-01-01", "UTC", WindowTrigger("06:00-07:00", "UTC", trigger))

    assert trigger.next_after(at("2026-01-01T00:00Z")) is None
    assert sum(rule.questions[0] for rule in rules) <= MOST_STEPS


def test_all_of_is_over_when_one_of_them_is():
    trigger = parse_trigger("all (cron 0 4 * * * UTC | every 1h until 2026-01-02T12:00:00+00:00)")
    assert trigger.next_after(at("2026-01-01T12:00Z")) == at("2026-01-02T04:00Z")
    assert trigger.next_after(at("2026-01-02T04:00Z")) is None


def test_what_is_the_same_rule_within_is_opened_up():
    assert parse_trigger("all (every 1h | all (every 2h | every 1h))") == parse_trigger("all(every 1h|every 2h)")


# -- Windows and dates ---------------------------------------------------------------------------

ZONES = ("UTC", "Europe/Riga", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia")

#: Around a change of the clock in each of them, and a day that Apia left out.
SPANS = (
    ("2026-03-28T00:00Z", "2026-03-30T12:00Z"),
    ("2026-10-24T00:00Z", "2026-10-26T12:00Z"),
    ("2026-03-07T12:00Z", "2026-03-09T12:00Z"),
    ("2026-10-31T12:00Z", "2026-11-02T12:00Z"),
    ("2026-04-04T00:00Z", "2026-04-06T00:00Z"),
    ("2026-10-03T00:00Z", "2026-10-05T00:00Z"),
    ("2026-09-05T12:00Z", "2026-09-07T00:00Z"),
    ("2011-12-29T00:00Z", "2012-01-01T00:00Z"),
)

times_of_day = st.builds(
    lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}", st.integers(0, 95).map(lambda n: n * 15)
)
windows = st.tuples(times_of_day, times_of_day).filter(lambda pair: pair[0] != pair[1]).map("-".join)


def is_within(wall: time, window: str) -> bool:
    begin, end = map(time.fromisoformat, window.split("-"))
    return begin <= wall < end if begin < end else wall >= begin or wall < end


@given(
    st.lists(windows, min_size=1, max_size=3),
    st.sampled_from(ZONES),
    st.sampled_from(SPANS),
    st.sampled_from(["5m", "15m", "7m"]),
)
@settings(deadline=None)
def test_a_window_is_what_the_clock_shows_at_each_fire_time(some, zone, span, every):
    # Given a rule, in windows of the day on the clock of a zone that is put forward or back
    since, until = map(at, span)
    rule = IntervalTrigger(every=every)
    trigger = WindowTrigger(",".join(some), zone, rule)

    # When all is named, beginning anywhere
    named = fires(trigger, since, until)

    # Then it is what is left of the rule when each fire time is held against the clock
    def shown(moment):
        return moment.astimezone(ZoneInfo(zone)).time()

    assert named == [one for one in fires(rule, since, until) if any(is_within(shown(one), window) for window in some)]


@given(
    st.lists(st.tuples(st.sampled_from(SPANS), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=4),
    st.sampled_from(ZONES),
    st.sampled_from(SPANS),
    st.sampled_from(["5m", "1h", "7m"]),
)
@settings(deadline=None)
def test_what_is_left_out_is_what_the_calendar_on_the_wall_shows(some, zone, span, every):
    # Given ranges of dates near the changes of clocks
    ranges = [(at(first).date() + timedelta(days=shift), length) for (first, _), shift, length in some]
    days = {begin + timedelta(days=number) for begin, length in ranges for number in range(length + 1)}
    texts = [f"{begin}..{begin + timedelta(days=length)}" for begin, length in ranges]
    rule = IntervalTrigger(every=every)
    trigger = ExceptTrigger(texts, zone, rule)

    since, until = map(at, span)
    expected = [one for one in fires(rule, since, until) if one.astimezone(ZoneInfo(zone)).date() not in days]
    assert fires(trigger, since, until) == expected


def test_a_closed_day_is_not_gone_through_by_the_second():
    # Given a rule of every second that counts for a minute a day, and not at Christmas
    rule = Counted(IntervalTrigger(every="1s"))
    trigger = ExceptTrigger("2026-12-24..2026-12-26", "Europe/Riga", WindowTrigger("03:00-03:01", "Europe/Riga", rule))

    # When asked what comes after the last one before
    following = trigger.next_after(at("2026-12-23T01:00:59Z"))

    # Then it took a few questions
    assert following == at("2026-12-27T01:00Z")
    assert rule.questions[0] < 20


def test_dates_are_kept_in_order_and_joined():
    dates = [date(2026, 12, 26), "2027-01-02", "2026-12-25", "2026-12-31..2027-01-01"]
    trigger = ExceptTrigger(dates, "UTC", IntervalTrigger(every="1h"))
    assert str(trigger).startswith("except 2026-12-25..2026-12-26,2026-12-31..2027-01-02 UTC (every 1h ")


# -- Jitter --------------------------------------------------------------------------------------


@given(
    st.sampled_from(
        [
            "every 1m",
            "every 1s",
            "cron 0 */3 * * * Europe/Riga",
            "any (every 7m | every 10m)",
            "cron 17 3 * * * Europe/Riga",
        ]
    ),
    st.sampled_from(["1s", "30s", "5m", "2h"]),
    st.text("abc xyz()|", min_size=1).filter(str.strip),
)
@settings(deadline=None, max_examples=40)
def test_jitter_puts_each_fire_time_off_but_never_up_to_the_next(text, jitter, seed):
    # Given a rule with jitter, and the rule itself
    rule = parse_trigger(text)
    trigger = JitterTrigger(jitter, seed, rule)
    since = at("2026-03-28T22:00Z")

    # When both are asked about some fire times
    plain = list(islice(iterated(rule, since), 30))
    put_off = [trigger.next_after(moment - INSTANT) for moment in plain]
    named = list(islice(iterated(trigger, put_off[0] - INSTANT), 30))

    # Then each of one belongs to one of the other: none is lost, none comes twice, none is early
    spans = [min(trigger.jitter, after - before) for before, after in pairwise(plain)]
    delays = [shifted - moment for moment, shifted in zip(plain, put_off, strict=True)][:-1]
    assert all(timedelta() <= delay < span for delay, span in zip(delays, spans, strict=True))
    assert named == put_off


def iterated(trigger, moment):
    while (moment := trigger.next_after(moment)) is not None:
        yield moment


def test_jitter_spreads_a_site_evenly_and_without_drift():
    # Given a hundred schedules of the same hour
    triggers = [JitterTrigger("10m", f"page {number}.html", CronTrigger("0 * * * *")) for number in range(100)]

    # When each is asked for a day of fire times
    delays = [
        fire_time - fire_time.replace(minute=0, second=0, microsecond=0)
        for trigger in triggers
        for fire_time in fires(trigger, at("2026-01-01T00:30Z"), at("2026-01-02T00:29Z"))
    ]

    # Then all of them fired each hour, within ten minutes of it, five on the mean, with no minute empty
    assert len(delays) == 2400 and max(delays) < timedelta(minutes=10)
    mean = sum(delays, timedelta()) / len(delays)
    assert timedelta(minutes=4, seconds=45) < mean < timedelta(minutes=5, seconds=15)
    assert {delay // timedelta(minutes=1) for delay in delays} == set(range(10))


def test_all_hosts_and_processes_put_off_by_the_same():
    # Given a rule with jitter
    text = "jitter 1h Report (cron 0 4 * * * Europe/Riga)"
    program = f"""
from datetime import datetime
from dracotask.triggers import parse_trigger
print(parse_trigger({text!r}).next_after(datetime.fromisoformat("2026-01-01T00:00Z")))
"""

    # When processes whose hash() differs are asked
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    # Then both answer as we do
    assert answers == {f"{parse_trigger(text).next_after(at('2026-01-01T00:00Z'))}\n"}


def test_a_downtime_is_bridged_in_few_questions_with_jitter_too():
    rule = Counted(IntervalTrigger(every="1s"))
    trigger = JitterTrigger("1d", "Report", rule)
    first = trigger.next_after(at("2026-01-01T00:00Z"))

    latest_until(trigger, first, at("2027-01-01T00:00Z"))

    assert rule.questions[0] < 10_000


def test_jitter_asks_for_no_openssl():
    program = """
import sys
from datetime import datetime
from dracotask.triggers import parse_trigger
parse_trigger("jitter 1h Report (every 1d)").next_after(datetime.fromisoformat("2026-01-01T00:00Z"))
assert "_hashlib" not in sys.modules and "random" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# -- All of them ---------------------------------------------------------------------------------

moments = st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(ZONES)
simple = (
    st.builds(
        lambda every, start: IntervalTrigger(every=every, start=start),
        st.timedeltas(timedelta(seconds=1), timedelta(days=90)),
        moments,
    )
    | st.builds(
        lambda minute, hour, day, zone: CronTrigger(f"{minute} {hour} {day}", zone),
        st.sampled_from(["*", "*/15", "7,37", "0"]),
        st.sampled_from(["*", "2", "*/3", "1-3"]),
        st.sampled_from(["* * *", "1 * *", "* * sun", "13 * 5"]),
        zones,
    )
    | st.builds(DateTrigger, moments)
    | st.sampled_from(
        ["calendar 1 month 03:00 Europe/Riga from 2001-01-31", "calendar 10 days 02:30 America/New_York"]
    ).map(parse_trigger)
    | st.builds(
        lambda first, gaps: ListedTrigger("bank:Days", [first + timedelta(days=day) for day in sorted(gaps)], None),
        moments,
        st.sets(st.integers(0, 500), max_size=5),
    )
)


def has_no_jitter(trigger: Trigger) -> bool:
    return not any(isinstance(part, JitterTrigger) for part in all_within(trigger))


def wrapped(inner):
    some = st.lists(inner, min_size=1, max_size=3)
    return (
        some.map(AnyTrigger)
        | some.map(AllTrigger)
        | st.builds(WindowTrigger, windows, zones, inner)
        | st.builds(
            lambda day, days, zone, trigger: ExceptTrigger(f"{day}..{day + timedelta(days=days)}", zone, trigger),
            st.dates(date(2001, 1, 1), date(2060, 1, 1)),
            st.integers(0, 400),
            zones,
            inner,
        )
        | st.builds(
            JitterTrigger,
            st.timedeltas(timedelta(seconds=1), timedelta(days=1)),
            st.text(min_size=1).filter(str.strip),
            inner.filter(has_no_jitter),
        )
    )


nested = st.recursive(simple, wrapped, max_leaves=5)


@given(nested, moments)
@settings(deadline=None, max_examples=150)
def test_fire_times_go_forward_however_rules_are_nested_and_asking_changes_nothing(trigger, moment):
    # Given any nesting of rules, and any moment
    text, last = str(trigger), moment

    # When asked a few times, each time about the answer before
    for _ in range(3):
        fire_time = trigger.next_after(last)
        if fire_time is None:
            break

        # Then the answer is later, in UTC, the same again, and there is nothing in between
        assert fire_time > last and fire_time.tzinfo is UTC
        assert trigger.next_after(last) == fire_time
        assert trigger.next_after(fire_time - INSTANT) == fire_time
        last = fire_time
    assert str(trigger) == text


@given(nested)
@settings(deadline=None)
def test_every_nesting_reads_back_from_its_text(trigger):
    assert parse_trigger(str(trigger)) == trigger


# -- Texts that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all (every 90s", "its parentheses do not match"),
        ("all every 90s)", "its parentheses do not match"),
        ("any )every 90s(", "its parentheses do not match"),
        ("any (every 90s) | (every 7m)", "is not a trigger: write 'any (every 90s | every 7m)'"),
        ("any ()", "'' is not a trigger"),
        ("all (every 90s | )", "'' is not a trigger"),
        ("jitter 30s (every 90s)", "write 'jitter 30s Report (cron 0 4 * * * UTC)'"),
        ("jitter 30s a b (every 90s)", "write 'jitter 30s Report"),
        ("jitter 0s a (every 90s)", "out of bounds: from a millisecond to a day"),
        ("jitter 2d a (every 90s)", "out of bounds: from a millisecond to a day"),
        ("jitter 1m a (any (jitter 1s b (every 90s) | every 1h))", "is one too many"),
        ("jitter 1m a (every 90s | every 2m)", "write 'jitter 30s Report"),
        ("between 22:00-06:00 (every 90s)", "write 'between 22:00-06:00 Europe/Riga (every 5m)'"),
        ("between 22-6 UTC (every 90s)", "has '22-6', which is no window: write 22:00-06:00"),
        ("between 25:00-26:00 UTC (every 90s)", "which is no window"),
        ("between 24:30-26:00 UTC (every 90s)", "which is no window"),
        ("between 10:60-11:00 UTC (every 90s)", "which is no window"),
        ("between 10:00-10:00 UTC (every 90s)", "the whole day or nothing"),
        ("between 00:00-24:00 UTC (every 90s)", "the whole day or nothing"),
        ("between 10:00-11:00, UTC (every 90s)", "has '', which is no window"),
        (f"between {','.join(['10:00-11:00'] * 51)} UTC (every 90s)", "has 51 windows: 50 are the most"),
        ("between 10:00-11:00 Mars/Sea (every 90s)", "zone 'Mars/Sea' is not known here"),
        ("except 2026-02-30 UTC (every 90s)", "exclude='2026-02-30' is no date"),
        ("except 20260203 UTC (every 90s)", "exclude='20260203' is no date"),
        ("except 2026-12-28..2026-12-27 UTC (every 90s)", "ends before it begins"),
        ("except UTC (every 90s)", "write 'except 2026-12-25"),
        ("except 2026-12-25 Mars/Sea (every 90s)", "zone 'Mars/Sea' is not known here"),
        (f"except {','.join(['2026-12-25'] * 4001)} UTC (every 90s)", "4000 are the most"),
        (f"any ({' | '.join(['every 90s'] * 101)})", "100 are the most"),
        (
            "any (" * (MAX_DEPTH + 1) + "every 90s" + ")" * (MAX_DEPTH + 1),
            "more than 10 within each other are too deep",
        ),
        ("all (" * 50_000, "too long"),
        ("(" * 5000 + ")" * 5000, "is not a trigger"),
        ("any" + "(" * 5000 + ")" * 5000, "too deep"),
        ("any (every 90s" + " " * MAX_LENGTH + ")", "100000 are the most"),
        ("by bank:BankDays", "is not a list of fire times"),
        ("by os.system('x') 2026-01-01T00:00:00+00:00", "does not name a class"),
        ("by bank 2026-01-01T00:00:00+00:00", "does not name a class"),
        ("by bank:BankDays 2026-01-01T00:00:00", "could be many moments"),
        ("by bank:BankDays 2026-01-01T00:00:00+00:00 1d", "is not a list of fire times"),
        ("by bank:BankDays 2026-01-01T00:00:00+00:00 +0.1s", "not in order, or closer than a second"),
        ("by bank:BankDays 2026-01-01T00:00:00+00:00 +900000000000d", "is not a list of fire times"),
        ("by bank:BankDays 2026-01-01T00:00:00+00:00 +1d to 2026-01-01T12:00:00+00:00", "beyond their horizon"),
        ("by bank:BankDays 2026-01-01T00:00:00+00:00" + " +1d" * 2000, "is not a list of fire times"),
    ],
)
def test_a_text_that_is_no_trigger_is_refused_with_what_would_be_right(text, message):
    with pytest.raises(BadTrigger) as caught:
        parse_trigger(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_text_is_read_however_deep_it_may_be():
    text = "any (" * MAX_DEPTH + "every 90s" + ")" * MAX_DEPTH
    assert parse_trigger(text) == parse_trigger("any (every 90s)")


# -- Classes of somebody's own -------------------------------------------------------------------


class Quarters(Trigger):
    """Every quarter of an hour, up to a moment."""

    def __init__(self, end: datetime | None = None) -> None:
        self.end = end

    def next_after(self, moment):
        following = IntervalTrigger(every="15m").next_after(moment)
        return None if self.end and following > self.end else following


def test_a_class_is_asked_ahead_for_what_it_names():
    # Given a class without a text of its own
    now = at("2026-01-01T00:00Z")

    # When it is asked for a year to come, and for no more fire times than are listed
    listed = list_ahead(Quarters(), now)

    # Then the list says up to where it goes, reads back, and names the same up to there
    assert listed.name == "test_combining:Quarters" and len(listed.moments) == 500
    assert listed.horizon == listed.moments[-1] == now + 500 * timedelta(minutes=15)
    assert parse_trigger(str(listed)) == listed
    assert fires(listed, now, listed.horizon) == fires(Quarters(), now, listed.horizon)
    # And half of it is used up before it is made anew
    assert relist_at(listed, now) == now + 250 * timedelta(minutes=15)


def test_a_class_that_comes_to_an_end_has_no_horizon():
    listed = list_ahead(Quarters(at("2026-01-01T00:50Z")), at("2026-01-01T00:00Z"))
    assert str(listed) == "by test_combining:Quarters 2026-01-01T00:15:00+00:00 +15m +15m"
    assert relist_at(listed, at("2026-01-01T00:00Z")) is None
    over = list_ahead(Quarters(at("2026-01-01T00:50Z")), at("2026-02-01T00:00Z"))
    assert str(over) == "by test_combining:Quarters never"
    assert parse_trigger(str(over)) == over and over.next_after(at("2000-01-01T00:00Z")) is None


def test_a_list_made_anew_goes_on_where_the_old_one_is():
    # Given a rule that was listed at midnight and again two hours later, while one fire time of one o'clock is due
    first, second, due = at("2026-01-01T00:00Z"), at("2026-01-01T02:01Z"), at("2026-01-01T01:00Z")
    old, new = (str(JitterTrigger("5m", "Pay", list_ahead(Quarters(), now))) for now in (first, second))

    # When the second list takes the place of the first
    text = carried_on(old, new, due, second)

    # Then it names all that is due, and no fire time twice
    assert text is not None
    since, until = due - timedelta(minutes=5), at("2026-01-03T00:00Z")
    assert fires(parse_trigger(text), since, until) == fires(JitterTrigger("5m", "Pay", Quarters()), since, until)


def test_a_list_of_another_rule_is_another_rule():
    now = at("2026-01-01T00:00Z")
    old = str(list_ahead(Quarters(), now))
    assert carried_on(old, str(JitterTrigger("5m", "Pay", list_ahead(Quarters(), now))), now, now) is None
    assert carried_on(old, str(list_ahead(Quarters(now + timedelta(hours=1)), now)), now, now) is None
    assert carried_on(old, old.replace("Quarters", "Halves"), now, now) is None
    assert carried_on("every 90s", "every 91s", now, now) is None


def wrong(answer):
    class Wrong(Trigger):
        def next_after(self, moment):
            return answer(moment)

    return Wrong()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda moment: moment, "which is not later"),
        (lambda moment: moment - timedelta(days=1), "which is not later"),
        (lambda moment: moment.replace(tzinfo=None) + timedelta(days=1), "which is no moment: give it a zone"),
        (lambda moment: "tomorrow", "returned 'tomorrow': it must be an aware datetime, or None"),
        (lambda moment: moment + timedelta(seconds=0.5), "a second apart is the least"),
        (lambda moment: 1 / 0, "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_class_whose_answers_no_trigger_may_give_is_refused(answer, message):
    with pytest.raises(BadTrigger, match="test_combining:Wrong") as caught:
        list_ahead(wrong(answer), at("2026-01-01T00:00Z"))
    assert message in str(caught.value)


def test_a_class_that_counts_from_whenever_it_is_asked_is_refused():
    with pytest.raises(BadTrigger, match="Count from a fixed moment"):
        list_ahead(wrong(lambda moment: moment + timedelta(hours=1)), at("2026-01-01T00:00Z"))

    # But one that keeps the seconds it is given is right, as long as those are its own
    hourly = wrong(lambda moment: moment.replace(minute=0, second=0) + timedelta(hours=1))
    assert list_ahead(hourly, at("2026-01-01T00:30:15Z")).moments[:2] == (
        at("2026-01-01T01:00Z"), at("2026-01-01T02:00Z")
    )  # fmt: skip


@pytest.mark.parametrize("word", ["any", "all", "jitter", "except", "between", "by"])
def test_what_a_refusal_says_to_write_is_right_and_fires(word):
    with pytest.raises(BadTrigger) as caught:
        parse_trigger(word)
    example = str(caught.value).split("'")[-2]
    assert example.startswith(f"{word} ")
    assert parse_trigger(example).next_after(at("2026-11-21T00:00Z"))
