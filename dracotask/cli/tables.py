"""Tables as plain aligned text: pure, with ``now``, the zone and the paper handed in."""

from __future__ import annotations

from datetime import datetime, tzinfo

from ..clock import in_words
from ..model import ENDED, FAILURES, RUNNING, SUCCEEDED, Run, Schedule
from ..report.lines import counted, mark_of, rank_of
from ..report.pace import eta, share_done
from ..report.words import (
    STATES,
    about,
    duration,
    failure_in_words,
    is_late,
    last_in_words,
    late_in_words,
    moment_in_words,
    next_in_words,
    result_in_words,
    retry_in_words,
    rule_in_words,
    title,
    waiting_in_words,
)
from ..visible import visible_line
from .bar import drawn, percent
from .output import Paper, cells

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Spaces between two columns.
GAP = 2

#: On a terminal too narrow for all, columns give way in this order, each down to so many letters.
GIVING_WAY = (
    ("LATE", 28), ("SCHEDULE", 28), ("RESULT", 28), ("LATE", 8), ("SCHEDULE", 16), ("RESULT", 12), ("SCHEDULE", 10),
    ("NEXT", 9), ("TASK", 12), ("LAST", 7),
)  # fmt: skip

#: Where a result or a schedule would get less room than this, the other columns are told in short.
ROOM = 28

#: How many letters the bar of a run at work takes in a list on a terminal.
BAR = 10


class Line:
    """A task as its line of the list tells it.

    :ivar mark: ``failed``, ``running``, ``ok``, ``late``, ``held`` or "".
    :ivar share: how much of what is at work is done, 0 to 1; None when nobody knows.
    :ivar left: what is left of it, in words.
    """

    __slots__ = ("last", "left", "mark", "next", "rank", "result", "schedule", "share", "words")

    def __init__(
        self,
        schedule: Schedule,
        run: Run | None,
        queued: Run | None,
        now: datetime,
        zone: tzinfo,
        late_after: float,
        site_held: bool = False,
    ) -> None:
        self.schedule = schedule
        self.words = rule_in_words(schedule)
        self.next = next_in_words(schedule, now, zone, late_after)
        with_site = site_held and not schedule.held_at and not schedule.vanished_at
        if with_site:
            self.next = "held with the site", "held"
        elif queued is not None and not schedule.held_at:
            waits = f"queued, {about(max((now - queued.queued_at).total_seconds(), 0))}"
            retry = retry_in_words(queued, now, zone)
            self.next = (retry, retry.partition(" at ")[0]) if retry else (waits, waits)
        self.last = last_in_words(run, now, zone)
        self.result = visible_line(result_in_words(run))
        self.share = share_done(run) if run is not None and run.state == RUNNING else None
        seconds = eta(run, now, None) if run is not None and self.share else None
        self.left = f"{about(seconds)} left" if seconds is not None and seconds >= 1 else ""
        if queued is not None and queued.not_before and queued.error:
            self.result = visible_line(failure_in_words(queued))
        late = is_late(schedule, now, late_after)
        self.mark = mark_of(schedule, None if run is None else run.state, late, site_held=with_site)
        self.rank = rank_of(schedule, self.mark)


def task_lines(
    schedules: Iterable[Schedule],
    last_runs: dict[str, Run],
    queued: dict[str, Run],
    *,
    now: datetime,
    zone: tzinfo,
    late_after: float,
    site_held: bool = False,
) -> list[Line]:
    """Return the tasks as lines, in the order in which they are shown."""
    lines = [
        Line(schedule, last_runs.get(schedule.name), queued.get(schedule.name), now, zone, late_after, site_held)
        for schedule in schedules
    ]
    return sorted(lines, key=lambda line: line.rank)


def task_table(lines: Sequence[Line], paper: Paper) -> list[str]:
    """Return the list of tasks as lines of text."""
    table = _task_columns(lines, paper, short=False)
    if _is_tight(table, paper):
        table = _task_columns(lines, paper, short=True)
    return render(table, [line.mark for line in lines], paper)


def _task_columns(lines: Sequence[Line], paper: Paper, *, short: bool) -> dict[str, list[str]]:
    return {
        "TASK": [visible_line(title(line.schedule.name, line.schedule.task)) for line in lines],
        "SCHEDULE": [visible_line(line.words) for line in lines],
        "NEXT": [visible_line(line.next[short]) for line in lines],
        "LAST": [line.last[short] for line in lines],
        "RESULT": [_result(line, paper, short=short) for line in lines],
    }


def _result(line: Line, paper: Paper, *, short: bool) -> str:
    """Return how the last run ended, or, on a terminal, how far the one at work is: "63% ██████▎··· 25s left"."""
    if line.share is None or paper.width is None:
        return line.result
    bar = "" if short else drawn(line.share, BAR, paper)
    return " ".join(filter(None, (percent(line.share), bar, line.left)))


def tasks_counted(lines: Sequence[Line], zone: str) -> str:
    """Return the line under the list: "5 tasks, 1 failed, 1 running, 1 late. Times in Europe/Paris."."""
    present = [line.schedule for line in lines if not line.schedule.vanished_at]
    parts = [counted(sum(each.declared for each in present), "task")]
    parts.append(counted(sum(not each.declared for each in present), "added schedule"))
    for mark in ("failed", "running"):
        parts.append(f"{sum(line.mark == mark for line in lines)} {mark}")
    parts.append(f"{sum(line.next[0].startswith('late') for line in lines)} late")
    parts.append(f"{sum(line.mark == 'held' for line in lines)} held")
    said = [part for part in parts if not part.startswith("0 ")] or ["No tasks"]
    return f"{', '.join(said)}. Times in {zone}."


def run_table(runs: Sequence[Run], paper: Paper, *, now: datetime, zone: tzinfo, with_task: bool = True) -> list[str]:
    """Return Runs as lines of text, in the order given."""
    table = {
        "RUN": [visible_line(run.id) for run in runs],
        "TASK": [visible_line(title(run.schedule, run.task)) for run in runs],
        "WHEN": [_when(run, now, zone) for run in runs],
        "BY": [run.origin for run in runs],
        "LATE": [visible_line(late_in_words(run)) for run in runs],
        "RESULT": [visible_line(waiting_in_words(run, now, zone) or result_in_words(run)) for run in runs],
    }
    if not with_task:
        del table["TASK"]
    if not any(table["LATE"]):
        del table["LATE"]
    if _is_tight(table, paper):
        del table["BY"]
    return render(table, [run_mark(run) for run in runs], paper)


def _when(run: Run, now: datetime, zone: tzinfo) -> str:
    """Return when a Run began, or, for one that never did, when it should have."""
    moment = run.started_at or run.fire_time or run.queued_at
    return moment_in_words(moment.replace(microsecond=0), now, zone)


def run_mark(run: Run) -> str:
    if run.state in FAILURES:
        return "failed"
    return {RUNNING: "running", SUCCEEDED: "ok"}.get(run.state, "")


def ended_in_words(run: Run) -> str:
    """Return how a Run ended and what it took: "ok in 0.8s", "stopped after 12s"."""
    took = duration(run)
    if took is None or run.state not in ENDED:
        return STATES.get(run.state, run.state)
    return f"{STATES[run.state]} {'in' if run.state == SUCCEEDED else 'after'} {in_words(took)}"


# -- Columns -----------------------------------------------------------------------------------


def render(table: dict[str, list[str]], marks: Sequence[str], paper: Paper) -> list[str]:
    """Return a table as lines: a header, then a mark and the cells of each row; cut to fit the paper, if it can be."""
    widths = _widths(table, paper.width)
    lines = [paper.paint("  " + _joined(list(table), list(widths.values()), paper), "dim")]
    for mark, *row in zip(marks, *table.values(), strict=True):
        lines.append(f"{paper.mark(mark)} {_joined(row, list(widths.values()), paper)}".rstrip())
    return lines


def _joined(row: Sequence[str], widths: Sequence[int], paper: Paper) -> str:
    cut = [paper.cut(text, width) for text, width in zip(row, widths, strict=True)]
    padded = [text + " " * (width - cells(text)) for text, width in zip(cut, widths, strict=True)]
    return (" " * GAP).join(padded).rstrip()


def _widths(table: dict[str, list[str]], available: int | None) -> dict[str, int]:
    widths = {name: max(cells(name), _widest(column)) for name, column in table.items()}
    if available is None:
        return widths
    for name, least in GIVING_WAY:
        excess = sum(widths.values()) + _between(table) - available
        if excess > 0 and name in widths:
            widths[name] = max(min(least, widths[name]), widths[name] - excess)
    return widths


def _is_tight(table: dict[str, list[str]], paper: Paper) -> bool:
    """Tell whether the paper is too narrow for all columns, even when the talkative ones are cut to `ROOM`."""
    if paper.width is None:
        return False
    widths = {name: max(cells(name), _widest(column)) for name, column in table.items()}
    for name in {"SCHEDULE", "RESULT", "LATE"} & widths.keys():
        widths[name] = min(widths[name], ROOM)
    return sum(widths.values()) + _between(table) > paper.width


def _widest(column: Sequence[str]) -> int:
    return max(map(cells, column), default=0)


def _between(table: dict[str, list[str]]) -> int:
    return GAP * (len(table) - 1) + 2  # the mark and its space
