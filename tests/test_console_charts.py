"""Runs as pictures: right, small, and well-formed whatever they are made of."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dracotask.console.charts import LEVELS, MOST, history_chart, sparkline
from dracotask.model import FAILED, FAILURES, RUNNING, STOPPED, SUCCEEDED, TIMED_OUT

START = datetime.fromisoformat("2026-11-21T02:00:00.25Z")
PARIS = ZoneInfo("Europe/Paris")


class Bar(NamedTuple):
    """A run as a chart sees it."""

    state: str = SUCCEEDED
    seconds: float | None = 60.0
    late: float | None = 0.0
    started_at: datetime | None = START
    id: str = "01k3v8qz5n2m4p6r8t0w2y4a6c"


def link(run_id: str) -> str:
    return f"runs/{run_id}"


def night_after_night(count: int, seed: int = 1, spread: float = 0.2) -> list[Bar]:
    """Return a typical history: durations that vary, two failures."""
    chance = random.Random(seed)
    failed = {count - 7, count // 2}
    return [
        Bar(
            FAILED if number in failed else SUCCEEDED, 60 * chance.lognormvariate(0, spread), chance.expovariate(1),
            START + timedelta(days=number - count),
        )
        for number in range(count)
    ]  # fmt: skip


def heights(outline: str) -> dict[int, int]:
    """Return the height of the picture at each place, read from an outline such as ``M3 0V2h1V5h2V0``."""
    found, place, height = {}, 0, 0
    for command, x, y in re.findall(r"([MVh])(-?\d+)(?: ?(-?\d+))?", outline):
        if command == "M":
            place = int(x)
            assert y
        elif command == "V":
            height = int(x)
        else:
            found.update(dict.fromkeys(range(place, place + int(x)), height))
            place += int(x)
    return found


def paths(svg: str) -> dict[str, str]:
    return {each.get("class", ""): each.get("d") for each in ElementTree.fromstring(svg).iter("path")}


# -- A row of the list -------------------------------------------------------------------------


def test_each_run_of_a_row_is_a_bar_as_high_as_it_took_long():
    # Given runs of which one took eight times as long as the shortest
    runs = [Bar(seconds=seconds) for seconds in (10, 80, 40, 40)]

    # When drawn
    (outline,) = paths(sparkline(runs)).values()

    # Then they stand at the right end, the longest as high as there is room, and neighbours of one height are one step
    assert heights(outline) == {26: 1, 27: 5, 28: 2, 29: 2}
    assert outline == "M26 0V1h1V5h1V2h2V0"


def test_what_has_failed_has_a_class_and_reaches_below_the_line():
    # Given runs of all kinds, the last of them still at work
    runs = [Bar(), Bar(FAILED), Bar(TIMED_OUT), Bar(), Bar(STOPPED), Bar(FAILED), Bar(RUNNING, None)]

    # When drawn
    drawn = paths(sparkline(runs))

    # Then each class has its own outline over that of all
    assert heights(drawn[""]).keys() == set(range(23, 30))
    assert drawn["x"] == "M24-1V5h2V-1M28-1V5h1V-1"
    assert drawn["s"] == "M27 0V5h1V0"
    # And what is at work is as high as is usual
    assert drawn["r"] == "M29 0V5h1V0"


def test_a_row_is_told_in_words_to_whoever_does_not_see_it():
    label = re.compile('aria-label="([^"]*)"')
    runs = [*night_after_night(28), Bar(STOPPED), Bar(RUNNING, None)]
    assert label.findall(sparkline(runs)) == ["26 ok, 2 failed, 1 running, 1 stopped"]
    assert label.findall(sparkline([])) == ["no runs"]


def test_only_the_last_thirty_runs_are_drawn():
    runs = [Bar(seconds=1000), *night_after_night(30)]
    assert sparkline(runs) == sparkline(runs[1:])


def test_fifty_rows_leave_room_for_the_page():
    # Given fifty tasks whose runs vary by a fifth
    rows = [len(sparkline(night_after_night(30, seed))) for seed in range(50)]

    # Then a row is a hundred and eighty bytes, and never much more, however wild it is
    assert sum(rows) < 50 * 180
    assert max(len(sparkline(night_after_night(30, seed, spread=2))) for seed in range(50)) < 260


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30))
def test_a_bar_is_right_to_a_level_and_a_quarter(seconds):
    # (All that is written is a step where it is needed.)
    drawn = heights(paths(sparkline([Bar(seconds=each) for each in seconds]))[""])
    exact = [LEVELS * each / max(seconds) for each in seconds]
    for height, right in zip((drawn[place] for place in sorted(drawn)), exact, strict=True):
        assert height == pytest.approx(right, abs=1.25)


# -- The history of a task ---------------------------------------------------------------------


def test_each_bar_of_a_history_leads_to_its_run_and_tells_of_it():
    # Given two runs, one of which was late and failed
    runs = [
        Bar(seconds=108, late=0.4, started_at=START - timedelta(days=400), id="a"),
        Bar(FAILED, 3, 130, id="b"),
    ]

    # When drawn
    figure = ElementTree.fromstring(history_chart(runs, PARIS, link))

    # Then each is told on the site's clock, and is out of the keyboard's way
    links = list(figure.iter("a"))
    assert [each.get("href") for each in links] == ["runs/a", "runs/b"]
    assert [each.findtext("title") for each in links] == [
        "17 Oct 2025 04:00: ok in 1m 48s, 0.4s late",
        "21 Nov 03:00: failed after 3s, 2m 10s late",
    ]
    assert {each.get("tabindex") for each in links} == {"-1"}


def test_the_numbers_of_a_history_stand_in_its_caption():
    # Given a hundred runs whose durations and lateness are known
    runs = [Bar(seconds=number, late=number / 10) for number in range(1, 101)]
    runs[9] = Bar(FAILED, 1000, None)

    # Then the caption has how many ended how, and the median of what went well
    figure = ElementTree.fromstring(history_chart(runs, PARIS, link))
    caption = "".join(figure.find("figcaption").itertext())
    assert caption == "99 ok, 1 failed · median 51s, p95 1m 36s · late by 5.1s, p95 9.6s"


@pytest.mark.parametrize(
    ("longest", "labels"),
    [
        (0, ["20ms", "10ms", "0"]),
        (0.7, ["1s", "0.5s", "0"]),
        (47, ["1m", "30s", "0"]),
        (61, ["2m", "1m", "0"]),
        (5 * 3600, ["8h", "4h", "0"]),
        (86400, ["24h", "12h", "0"]),
        (150 * 86400, ["200 days", "100 days", "0"]),
    ],
)
def test_an_axis_ends_at_a_number_one_likes_to_read(longest, labels):
    figure = ElementTree.fromstring(history_chart([Bar(seconds=longest), Bar(seconds=0)], PARIS, link))
    assert [each.text for each in figure.iter("span") if not each.get("class")][:3] == labels


def test_a_little_lateness_does_not_look_like_much():
    # Given runs that began a second late, and one of an hour
    little, much = Bar(late=1), Bar(late=3600)

    # Then a second is next to nothing, although nothing was later
    assert paths(history_chart([little], PARIS, link))["late"] == "M11.1 114V115h.8V114"
    assert paths(history_chart([little, much], PARIS, link))["late"] == "M11.1 114V150h.8V114"


def test_nobody_draws_what_never_began():
    assert history_chart([], PARIS, link) == ""
    assert history_chart([Bar(started_at=None)], PARIS, link) == ""


def test_a_history_of_a_hundred_runs_leaves_room_for_their_table():
    chart = history_chart(night_after_night(150), PARIS, link)
    assert chart.count("<a ") == MOST
    assert len(chart) < 17_000


# -- Whatever they are made of -----------------------------------------------------------------

ANY_LENGTH = st.none() | st.floats() | st.sampled_from([0, -1, 1e-9, 1e308])
ANY_BAR = st.builds(
    Bar,
    st.sampled_from([SUCCEEDED, RUNNING, STOPPED, *FAILURES]) | st.text(max_size=5),
    ANY_LENGTH, ANY_LENGTH,
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.text(max_size=10) | st.sampled_from(["\"'<a>&", "\x00\ud800\ufffe", "]]>"]),
)  # fmt: skip


@given(st.lists(ANY_BAR, max_size=40))
@settings(max_examples=150)
def test_any_runs_make_a_picture_that_is_well_formed(runs):
    # When drawn
    pictures = [sparkline(runs), history_chart(runs, PARIS, link)]

    # Then a strict parser reads them, and the policy of the console has nothing against them
    for picture in filter(None, pictures):
        for element in ElementTree.fromstring(picture.encode()).iter():
            assert element.tag in {
                "svg", "path", "figure", "figcaption", "div", "span", "time", "a", "title", "rect",
            }  # fmt: skip
            assert not {"style", "onclick", "id"} & {*element.keys()}
            assert element.tag != "path" or re.fullmatch(r"[MVHh0-9. -]+", element.get("d"))
