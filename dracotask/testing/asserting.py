"""What a test asserts of a simulation, or of the history of a site.

Each says in its error what did happen instead, for that is the first thing one wants to know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ..clock import utc_now
from ..model import NEVER_STARTED, STARTED, Run
from ..scheduler import Scheduler
from ..site import Site
from ..zones import site_zone
from .moments import moment_said
from .rows import RealRows
from .simulation import Simulation

#: So many rows that did come about stand in an error.
FEW = 5



def assert_ran(
    subject: Simulation | str | os.PathLike[str],
    name: str,
    at: str | datetime | None = None,
    times: int | None = None,
    *,
    state: str | None = None,
) -> list[Run]:
    """Assert that a Schedule, or a Task, ran, and return the Runs.

    :param subject: a simulation; or a docroot, for what its history knows.
    :param at: the fire time; of a Run on demand, when it began. Without an offset it is in the zone of ``subject``.
    :param times: just so many Runs; None for at least one.
    :param state: only Runs that ended so: ``"succeeded"``, ``"failed"`` …
    :raises AssertionError: it is not so; ScheduleNotFound: there is none of that name.
    """
    history = _history(subject, name)
    moment = None if at is None else moment_said(at, history.zone)
    found = [run for run in _began(history) if _is_at(run, moment) and state in (None, run.state)]
    if (times is None and found) or len(found) == times:
        return found
    wanted = "at least once" if times is None else _times(times)
    raise AssertionError(
        f"{name} {_ran(found, state)}{_at(history, moment)}, and not {wanted}. {_instead(history, moment)}"
    )


def assert_not_ran(
    subject: Simulation | str | os.PathLike[str], name: str, at: str | datetime | None = None
) -> None:
    """Assert that a Schedule, or a Task, did not run: at all, or at a moment.

    :raises AssertionError: it did; ScheduleNotFound: there is none of that name.
    """
    history = _history(subject, name)
    moment = None if at is None else moment_said(at, history.zone)
    found = [run for run in _began(history) if _is_at(run, moment)]
    if found:
        raise AssertionError(f"{name} {_ran(found, None)}{_at(history, moment)}:{_listed(history, found)}")


def assert_skipped(
    subject: Simulation | str | os.PathLike[str],
    name: str,
    at: str | datetime | None = None,
    reason: str | None = None,
) -> list[Run]:
    """Assert that a fire time is on record as skipped or missed, and return the rows.

    :param at: the fire time, which may lie within a row that stands for several.
    :param reason: words that stand in the reason.
    :raises AssertionError: it is not so; ScheduleNotFound: there is none of that name.
    """
    history = _history(subject, name)
    moment = None if at is None else moment_said(at, history.zone)
    there = [run for run in history.rows if run.state in NEVER_STARTED and _covers(run, moment)]
    found = [run for run in there if reason is None or reason in (run.summary or "")]
    if found:
        return found
    if there:
        but = f"but not for {reason!r}:{_listed(history, there)}"
        raise AssertionError(f"{name} was skipped{_at(history, moment)}, {but}")
    raise AssertionError(f"{name} was not skipped{_at(history, moment)}. {_instead(history, moment)}")


# -- What there is ---------------------------------------------------------------------------------


def _history(subject: Simulation | str | os.PathLike[str], name: str) -> Simulation:
    return (subject if isinstance(subject, Simulation) else _of_site(os.fspath(subject))).of(name)


def _of_site(docroot: str) -> Simulation:
    """Return the history of a site as it really was, in the shape of a simulation."""
    site, scheduler = Site(docroot), Scheduler(docroot)
    runs = RealRows(scheduler.runs(limit=None)[::-1])
    moments = [run.queued_at for run in runs] or [utc_now()]
    return Simulation(
        runs, [schedule.name for schedule in scheduler.schedules()], title=site.docroot, start=min(moments),
        end=max(moments), zone=site_zone(site.config.timezone)[0], traffic="as it was", looks=0, log=[],
    )  # fmt: skip


def _began(history: Simulation) -> Sequence[Run]:
    return [run for run in history.rows if run.state in STARTED]


def _is_at(run: Run, moment: datetime | None) -> bool:
    return moment is None or moment == (run.fire_time or run.started_at)


def _covers(run: Run, moment: datetime | None) -> bool:
    last = run.fire_time or run.queued_at
    return moment is None or (run.fire_from or last) <= moment <= last


# -- In words --------------------------------------------------------------------------------------


def _ran(found: list[Run], state: str | None) -> str:
    how = f" and {state}" if state else ""
    return f"ran{how} {_times(len(found))}" if found else f"did not run{how}"


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _at(history: Simulation, moment: datetime | None) -> str:
    return "" if moment is None else f" at {history.on_clock(moment)} ({history.zone})"


def _instead(history: Simulation, moment: datetime | None) -> str:
    """Return what did come about: what is nearest to the moment, or the first."""
    if not len(history.rows):
        return f"Nothing of it came about from {history.on_clock(history.start)} to {history.on_clock(history.end)}."
    near = _nearest(moment) if moment else None
    few = sorted(history.rows, key=near)[:FEW] if near else list(history.rows[:FEW])
    return f"What did come about:{_listed(history, sorted(few, key=_when), len(history.rows))}"


def _nearest(moment: datetime) -> Callable[[Run], timedelta]:
    return lambda run: timedelta() if _covers(run, moment) else abs(_when(run) - moment)


def _when(run: Run) -> datetime:
    return run.fire_time or run.queued_at


def _listed(history: Simulation, runs: Sequence[Run], total: int | None = None) -> str:
    lines = [f"\n  {history.in_words(run)}" for run in runs[:FEW]]
    more = (total or len(runs)) - len(lines)
    return "".join(lines) + (f"\n  … and {more} more" if more > 0 else "")
