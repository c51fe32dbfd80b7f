"""Moments and lengths of time, and their texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dracotask.clock import (
    as_utc,
    format_duration,
    from_text,
    in_words,
    parse_duration,
    rfc3339,
    to_text,
    utc_now,
)

at = datetime.fromisoformat


def test_now_is_aware_and_in_utc():
    assert utc_now().tzinfo is UTC


def test_a_moment_of_any_zone_becomes_the_same_moment_of_utc():
    moment = as_utc(at("2026-11-21T06:00+02:00"))
    assert moment == at("2026-11-21T04:00Z")
    assert moment.tzinfo is UTC


def test_a_naive_moment_is_refused_with_the_remedy():
    with pytest.raises(ValueError) as caught:
        as_utc(datetime(2026, 11, 21, 4))
    remedy = "write 2026-11-21T04:00:00+00:00 if it is UTC."
    assert str(caught.value) == f"2026-11-21T04:00:00 has no offset: {remedy}"
    with pytest.raises(ValueError, match="has no offset"):
        from_text("2026-11-21T04:00:00")


def test_stored_texts_have_one_width_and_sort_as_the_moments_do():
    # Given moments with and without a fraction, and of other zones
    moments = [at("2026-11-21T04:00Z"), at("2026-11-21T04:00:00.5Z"), at("2026-11-21T07:00+02:00")]

    # When written
    texts = [to_text(moment) for moment in moments]

    # Then all are alike, in order, and read back
    assert texts[0] == "2026-11-21T04:00:00.000000+00:00"
    assert {len(text) for text in texts} == {32}
    assert sorted(texts) == texts
    assert [from_text(text) for text in texts] == moments


def test_other_programs_get_a_fraction_only_where_there_is_one():
    assert rfc3339(at("2026-11-21T06:00+02:00")) == "2026-11-21T04:00:00Z"
    assert rfc3339(at("2026-11-21T04:00:00.25Z")) == "2026-11-21T04:00:00.250000Z"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1h30m", 5_400),
        (" 1H 30M ", 5_400),
        ("1w2d3h4m5s", 788_645),
        ("0.5s", 0.5),
        ("1500ms", 1.5),
        ("1m500MS", 60.5),
        ("1s 0.5ms", 1.0005),
        ("1.5h", 5_400),
        ("90", 90),
        ("0", 0),
        (90, 90),
        (0.25, 0.25),
        (timedelta(minutes=3), 180),
    ],
)
def test_a_length_of_time_is_read(value, seconds):
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "s", "soon", "5x", "30m1h", "1ms1s", "1ms1m", "ms", "5mss", "1m1m",
        "1h30", "1 h", "1.2.3s", ".s", "-5s", "1e3s", "1,5h",
        "٣s", "9" * 39 + "w", "1s" * 5000, -1, -0.5, timedelta(-1), True, None, [], b"90s",
        float("nan"), float("inf"), 1e300, 10**400,
    ],
)  # fmt: skip
def test_what_is_no_length_of_time_is_refused(value):
    with pytest.raises(ValueError, match=r"is not a length of time|is negative"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=36), "36h"),
        (timedelta(days=1), "1d"),
        (timedelta(days=14), "2w"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=500), "0.5s"),
        (timedelta(microseconds=1), "0.000001s"),
        (timedelta(seconds=10), "10s"),
        (timedelta(seconds=-1.5), "-1.5s"),
    ],
)
def test_a_length_of_time_is_written_in_the_largest_unit_that_divides_it(duration, text):
    assert format_duration(duration) == text


@given(st.timedeltas(timedelta(0), timedelta.max))
def test_a_length_of_time_reads_back_exactly(duration):
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.000_2, "1ms"),
        (0.03, "30ms"),
        (0.84, "0.8s"),
        (3, "3s"),
        (9.96, "10s"),
        (42.4, "42s"),
        (59.7, "1m"),
        (108, "1m 48s"),
        (120, "2m"),
        (3_599.6, "1h"),
        (7_800, "2h 10m"),
        (86_400, "24h"),
        (172_799, "2 days"),
        (3 * 86_400 + 3_600, "3 days"),
        (-108, "-1m 48s"),
    ],
)
def test_people_read_a_length_of_time_as_exactly_as_they_need(seconds, words):
    assert in_words(seconds) == words
