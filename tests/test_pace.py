"""How long runs take, and how much is left of the one at work."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dracotask.model import FAILED, RUNNING, SUCCEEDED, Run
from dracotask.report.pace import eta, eta_in_words, median, p95, share_done, usual, usual_in_words
from dracotask.stores.reading import Recent

NOW = datetime.fromisoformat("2026-11-21T03:00Z")


def ended(state: str, seconds: float | None) -> Recent:
    """Return a run that has taken so long, or is at work."""
    finished_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    return Recent("id", state, NOW, NOW, NOW, finished_at, None)


def at_work(elapsed: float, done: float | None = None, total: float | None = None) -> Run:
    """Return a run that began so many seconds ago and has told how far it is."""
    started_at = NOW - timedelta(seconds=elapsed)
    return Run(state=RUNNING, started_at=started_at, progress_done=done, progress_total=total)


def test_what_is_usual_is_the_median_of_what_went_well():
    # Given runs of which one took long, one failed at once and one is at work
    runs = [*(ended(SUCCEEDED, seconds) for seconds in (60, 65, 900)), ended(FAILED, 1), ended(RUNNING, None)]

    # Then it is the one in the middle of those that went well
    assert usual(runs) == 65
    assert usual_in_words(usual(runs)) == "usually 1m 5s"


def test_nothing_is_usual_before_the_third_time():
    assert usual([ended(SUCCEEDED, 60), ended(SUCCEEDED, 60), ended(FAILED, 60)]) is None
    assert usual_in_words(None) == ""


@pytest.mark.parametrize(
    ("numbers", "middle", "most"),
    [
        ([], None, None),
        ([None, nan, inf], None, None),
        ([3, None, 1], 2, 3),
        ([-5, 1], 0.5, 1),
        (range(1, 101), 50.5, 95),
        (range(1, 21), 10.5, 19),
    ],
)
def test_the_middle_and_nearly_all_of_some_numbers(numbers, middle, most):
    assert (median(numbers), p95(numbers)) == (middle, most)


@given(st.lists(st.floats(0) | st.none(), min_size=1))
def test_the_middle_is_never_more_than_nearly_all_and_both_are_within_the_numbers(numbers):
    known = [number for number in numbers if number is not None and number < inf]
    middle, most = median(numbers), p95(numbers)
    assert (middle is None) == (most is None) == (not known)
    assert not known or min(known) <= most <= max(known)
    assert not known or middle <= max(known)


@pytest.mark.parametrize(
    ("run", "usually", "left"),
    [
        # Its own word counts first,
        (at_work(10, 1, 3), 1000, 20),
        (at_work(10, 3, 3), None, 0),
        (at_work(10, 9, 3), None, 0),
        # but not at once, nor when it has done nothing, or did not say of how much.
        (at_work(1, 1, 300), 60, 59),
        (at_work(10, 0, 300), 60, 50),
        (at_work(10, 5, None), 60, 50),
        (at_work(10, nan, 300), 60, 50),
        (at_work(10, 5, 0), None, None),
        # What has taken longer than usual may end at any time.
        (at_work(61), 60, None),
        (at_work(10), None, None),
        # Our clock is not that of the host where it began.
        (at_work(-5), 60, None),
        # Nothing is left of what is over, or has not begun.
        (at_work(10, 1, 3).but(state=SUCCEEDED), 60, None),
        (at_work(10, 1, 3).but(started_at=None), 60, None),
    ],
)
def test_what_is_left_of_a_run(run, usually, left):
    assert eta(run, NOW, usually) == pytest.approx(left)


def test_what_is_left_in_words():
    assert eta_in_words(25) == "about 25s left"
    assert eta_in_words(400) == "about 7m left"
    assert eta_in_words(0.4) == eta_in_words(None) == ""


def test_a_run_cannot_be_more_than_done():
    assert share_done(at_work(1, 12, 10)) == 1
    assert share_done(at_work(1, -1, 10)) == 0
    assert share_done(at_work(1, 1, inf)) is None
