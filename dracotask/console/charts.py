"""Runs as pictures: small SVG, made here of plain values, that needs no script and no inline style.

What has failed is told by more than its colour: it reaches below the line that the others stand on. The classes
are those of the states everywhere in the console: ``x`` has failed, ``r`` is at work, ``s`` was stopped or
never started, and what went well needs none.
"""

from __future__ import annotations

import re
from itertools import groupby
from math import isfinite

from markupsafe import Markup

from ..clock import in_words, rfc3339
from ..model import FAILURES, RUNNING, SUCCEEDED
from ..report.pace import median, p95
from ..report.words import STATES, on_clock
from ..visible import visible_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, tzinfo
    from typing import Protocol

    from ..report.pace import Paced

    class Bar(Paced, Protocol):
        """A Run, or as much of one as a picture of the past needs."""

        @property
        def id(self) -> str: ...
        @property
        def started_at(self) -> datetime | None: ...
        @property
        def late(self) -> float | None: ...


# -- A row of the list -------------------------------------------------------------------------

#: So many runs are drawn in a row, and of so many heights.
MOST_IN_ROW = 30
LEVELS = 5


def sparkline(runs: Sequence[Paced]) -> Markup:
    """Return the last runs as bars, each as high as it took long, against the longest.

    A page has fifty of these, so every byte counts: one outline is drawn around all bars, and one more around
    those of each class. The stylesheet turns it upside up, stretches it and cuts the gaps between the bars.

    :param runs: the oldest first.
    """
    runs = runs[-MOST_IN_ROW:]
    first = MOST_IN_ROW - len(runs)
    levels = _levels(runs)
    paths = [Markup('<path d="{}"/>').format(_outline(first, levels, 0))] if runs else []
    stretches = _stretches(runs)
    for name in sorted({name for name, _ in stretches} - {""}):
        base = -1 if name == "x" else 0
        own = [span for each, span in stretches if each == name]
        paths.append(_path(name, [_outline(first + span.start, levels[span.start : span.stop], base) for span in own]))
    label = _clean(", ".join(f"{number} {word}" for word, number in _counts(runs)) or "no runs")
    return Markup('<svg role="img" aria-label="{}">{}</svg>').format(label, Markup().join(paths))


def _outline(first: int, levels: Sequence[int], base: int) -> str:
    """Return the outline of bars that stand side by side, from the line up."""
    steps = "".join(f"V{level}h{len([*group])}" for level, group in groupby(levels))
    return f"M{first}{base if base < 0 else ' 0'}{steps}V{base}"


def _stretches(runs: Sequence[Paced]) -> list[tuple[str, range]]:
    """Return which runs that follow each other are of one class."""
    stretches = []
    begin = 0
    for name, group in groupby(class_of(run.state) for run in runs):
        end = begin + len([*group])
        stretches.append((name, range(begin, end)))
        begin = end
    return stretches


def _levels(runs: Sequence[Paced]) -> list[int]:
    """Return the height of each bar, 1 to LEVELS; of what nobody knows, that in the middle.

    A height is kept from one bar to the next while it is right to a level and a quarter: fewer steps to write.
    """
    seconds = [_length(run.seconds) for run in runs]
    longest, middle = max((each for each in seconds if each), default=0.0), median(seconds) or 0.0
    heights = [middle if each is None else each for each in seconds]
    levels: list[int] = []
    for exact in (LEVELS * height / longest if longest else 0.0 for height in heights):
        is_near = levels and abs(levels[-1] - exact) < 1.25
        levels.append(levels[-1] if is_near else max(round(exact), 1))
    return levels


# -- The history of a task ---------------------------------------------------------------------

#: So many runs are drawn on the page of a task; up to so many need no more than a part of its width; and there is
#: room for so many, or a single run would be a wall.
MOST = 100
FEW = 30
FEWEST = 12

#: Heights in the picture: the line that durations stand on, what has failed reaches down to, the line that
#: lateness hangs from, and the end. The stylesheet has the labels of the axis beside them.
_LINE, _FOOT, _LATE_LINE, _END = 100, 108, 114, 150

#: Where an axis may end, in seconds: half of it is a number one likes to read, too.
_ENDS = (
    0.02, 0.1, 0.2, 1, 2, 4, 10, 20, 30, 60, 120, 240, 600, 1200, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600,
    86400, 2 * 86400, 4 * 86400, 10 * 86400, 20 * 86400, 40 * 86400, 100 * 86400,
)  # fmt: skip

#: Lateness that is not worth a look must not look like much: its axis ends no sooner than after these seconds.
_LEAST_LATE = 60.0


def history_chart(runs: Iterable[Bar], zone: tzinfo, link: Callable[[str], str]) -> Markup:
    """Return the last runs as a picture: durations up from a line, below it how late each began; "" without any.

    Each bar leads to its run, for whoever points at it. By keyboard a hundred links more would be a nuisance: they are
    out of its way, and hidden from screen readers, as the table of the same runs has them all. The numbers
    that matter stand in the caption. The labels are no part of the SVG, which is stretched to any width.

    :param runs: the oldest first; those that were never started are left out.
    :param zone: the site's.
    :param link: returns where a run is told in full, by its id.
    """
    started = [run for run in runs if run.started_at][-MOST:]
    if not started:
        return Markup()
    history = _History(started, zone)
    return Markup(
        '<figure class="history{}"><figcaption>{}</figcaption>'
        '<div class="plot"><div class="y" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}{}{}{}</svg></div>'
        '<div class="x-axis">{}</div></figure>'
    ).format(
        " few" if len(started) <= FEW else "", history.caption(), history.labels(), history.width, _END,
        history.lines(), history.bars(), history.lateness(), history.links(link), history.ends(),
    )  # fmt: skip


class _History:
    """The parts of the picture.

    :ivar runs: each with its place in the picture, the newest at its right end.
    :ivar top: seconds, where the axis of durations ends, and ``late_top`` that of lateness.
    :ivar usual: the median of what went well, in seconds; None where nothing did.
    """

    def __init__(self, runs: Sequence[Bar], zone: tzinfo) -> None:
        self.zone, self.width = zone, max(FEWEST, len(runs))
        self.runs = list(enumerate(runs, self.width - len(runs)))
        self.top = _axis(run.seconds for run in runs)
        self.late_top = max(_axis(run.late for run in runs), _LEAST_LATE)
        self.took = [run.seconds for run in runs if run.state == SUCCEEDED]
        self.usual = median(self.took)
        self.year = self._clock(runs[-1]).year

    def caption(self) -> Markup:
        """Return the picture in words: how many ended how, and what is usual."""
        key = Markup('<span class="key {}">{} {}</span>')
        runs = [run for _, run in self.runs]
        parts = [Markup(", ").join(key.format(_key(word), number, _clean(word)) for word, number in _counts(runs))]
        for name, words, lengths in (("median", "median", self.took), ("late", "late by", [run.late for run in runs])):
            middle, most = _length(median(lengths)), _length(p95(lengths))
            if middle is not None and most is not None:
                parts.append(Markup("{}, p95 {}").format(key.format(name, words, in_words(middle)), in_words(most)))
        return Markup(" · ").join(parts)

    def labels(self) -> Markup:
        labels = (in_words(self.top), in_words(self.top / 2), "0", f"{in_words(self.late_top)} late")
        return Markup("<span>{}</span><span>{}</span><span>{}</span><span>{}</span>").format(*labels)

    def lines(self) -> Markup:
        heights = (0, _LINE // 2, _LINE, _LATE_LINE)
        return _path("grid", [f"M0 {height}H{self.width}" for height in heights])

    def bars(self) -> Markup:
        """Return how long each took, all of a class in one path, and over them the line of what is usual."""
        paths = []
        for name in ("", "r", "s", "x"):
            foot = _FOOT if name == "x" else _LINE
            own = [(place, self._height(run)) for place, run in self.runs if class_of(run.state) == name]
            paths.append(_path(name or "ok", [_bar(place, foot, _LINE - height) for place, height in own]))
        if self.usual is not None:
            height = _LINE - _scaled(self.usual, self.top, _LINE)
            paths.append(_path("median", [f"M0 {height}H{self.width}"]))
        return Markup().join(paths)

    def _height(self, run: Bar) -> int:
        """Return how high a run is: as is usual while it is not over; and what took no time is there nevertheless."""
        return max(_scaled(self.usual if run.seconds is None else run.seconds, self.top, _LINE), 1)

    def lateness(self) -> Markup:
        heights = [(place, _scaled(run.late, self.late_top, _END - _LATE_LINE)) for place, run in self.runs]
        return _path("late", [_bar(place, _LATE_LINE, _LATE_LINE + height) for place, height in heights if height])

    def links(self, link: Callable[[str], str]) -> Markup:
        """Return what can be pointed at, one column for each run; its size is the stylesheet's."""
        column = Markup('<a href="{}" tabindex="-1"><title>{}</title><rect x="{}"/></a>')
        return Markup().join(
            column.format(_clean(link(run.id)), _clean(self._told(run)), place) for place, run in self.runs
        )

    def _told(self, run: Bar) -> str:
        """Return "21 Nov 03:00: ok in 1m 48s, 0.4s late"."""
        words, took, late = STATES.get(run.state, run.state), _length(run.seconds), _length(run.late)
        if took is not None:
            words += f" {'in' if run.state == SUCCEEDED else 'after'} {in_words(took)}"
        if late and late >= 0.05:
            words += f", {in_words(late)} late"
        return f"{self._moment(run)}: {words}"

    def ends(self) -> Markup:
        """Return the first and the last moment, for the ends of the axis; of few runs, the last."""
        runs = [run for _, run in self.runs]
        shown = [runs[0], runs[-1]] if len(runs) == self.width else runs[-1:]
        moment = Markup('<time datetime="{}">{}</time>')
        return Markup().join(moment.format(rfc3339(self._utc(run)), self._moment(run)) for run in shown)

    def _moment(self, run: Bar) -> str:
        """Return when a run began: "21 Nov 03:00", and the year if that is not the one of the newest."""
        local = self._clock(run)
        return f"{local.day} {local:%b}{'' if local.year == self.year else f' {local.year}'} {local:%H:%M}"

    def _clock(self, run: Bar) -> datetime:
        return on_clock(self._utc(run), self.zone)

    def _utc(self, run: Bar) -> datetime:
        assert run.started_at is not None  # the others were left out
        return run.started_at.replace(microsecond=0)


def _axis(lengths: Iterable[float | None]) -> float:
    """Return where the axis for these lengths of time ends."""
    longest = max((length for length in map(_length, lengths) if length), default=0.0)
    end = float(next((each for each in _ENDS if each >= longest), _ENDS[-1]))
    while end < longest:
        end *= 2
    return end


def _path(name: str, parts: Sequence[str]) -> Markup:
    """Return one path for all the parts; "" for none."""
    return Markup('<path class="{}" d="{}"/>').format(name, "".join(parts)) if parts else Markup()


def _bar(place: int, begin: int, end: int) -> str:
    return f"M{place}.1 {begin}V{end}h.8V{begin}"


def _scaled(length: float | None, top: float, height: int) -> int:
    return round(height * (_length(length) or 0.0) / top)


# -- Both --------------------------------------------------------------------------------------

#: Nothing takes longer, in seconds; it bounds what a damaged row can do to a picture.
_ENDLESS = 1e11

#: What no XML may have in it, however it is written.
_NO_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")


def class_of(state: str) -> str:
    """Return the class of a state in a chart: ``x``, ``r``, ``s``, or "" for what went well."""
    if state in FAILURES:
        return "x"
    return {SUCCEEDED: "", RUNNING: "r"}.get(state, "s")


def _key(word: str) -> str:
    return {"ok": "ok", "failed": "x", "running": "r"}.get(word, "s")


def _counts(runs: Iterable[Paced]) -> list[tuple[str, int]]:
    """Return how many ended how, in words; what went well comes first."""
    words = ["failed" if run.state in FAILURES else STATES.get(run.state, run.state) for run in runs]
    return sorted(((word, words.count(word)) for word in {*words}), key=lambda each: (each[0] != "ok", each[0]))


def _length(seconds: float | None) -> float | None:
    """Return a length of time that can be drawn, or None for what is none."""
    if seconds is None or not isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _ENDLESS)


def _clean(text: str) -> str:
    """Return a text from elsewhere as one line that may stand in XML, once it is escaped."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", visible_line(text))
