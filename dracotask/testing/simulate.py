"""simulate(): the time machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from ..model import Schedule
from ..tick import Tick
from ..triggers import parse_trigger
from ..triggers.clocks import find_zone
from ..triggers.grammar import all_within
from ..triggers.listed import ListedTrigger, is_listed
from .machine import Doings, Machine
from .moments import moment_said
from .rows import Rows
from .said import downtime_said, durations_said, failures_said
from .simulation import Simulation
from .sources import source_of
from .store import SimulatedStore
from .traffic import Traffic, traffic_said

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

_INSTANT = timedelta(microseconds=1)


def simulate(
    subject: str | os.PathLike[str] | Mapping[str, Any] | type | Iterable[Any],
    traffic: str | Traffic | Iterable[Any] | None = "idle",
    start: str | datetime = "2027-01-01",
    days: float = 30,
    *,
    # Two moments each; what is at work when one begins is lost.
    downtime: Iterable[tuple[Any, Any]] = (),
    durations: Mapping[str, Any] | None = None,
    failures: Mapping[str, Any] | None = None,
    # None for what dracotask.toml says.
    max_running: int | None = None,
    timezone: str | None = None,
    as_it_is: bool = False,
) -> Simulation:
    """Return which Runs would happen in some days, when, and why others would not.

    Nothing is run, and no docroot is changed. All is decided by the same code as in a real site; the same arguments
    give the same answer.

    :param subject: a docroot, whose task file is loaded in a process of its own; a Task class or several; or rules
        as text by name: ``{"Report": "cron 0 4 * * *"}``.
    :param traffic: who looks: ``"idle"``, the thread of a web process, on time; ``"cron"``, each minute; ``"every
        5m"``, or any trigger as text; ``"08:00-22:00 every 30s"``, visitors by day only; moments, as a list or from
        a generator; ``"none"``, nobody.
    :param start: a moment; one without an offset is in the site's zone. A fire time of that very moment counts.
    :param days: how long it goes on.
    :param downtime: times in which nothing at all runs.
    :param durations: how long Runs take, by Schedule or Task: a length of time, or a function of the Run. Those that
        are not named take no time.
    :param failures: which Runs fail, by Schedule or Task: True for all, 3 for each third, an exception, the fire
        times, or a function of the Run that returns True, an exception or a text for a failure.
    :param max_running: how many Runs are at work at once.
    :param timezone: instead of the site's.
    :param as_it_is: of a docroot: the schedules that its store has now, added and held ones too.
    :raises LoadError: the task file is broken; ScheduleNotFound: ``durations`` or ``failures`` name what is not
        there; ValueError, TypeError: an argument makes no sense.
    """
    if timezone is not None:
        find_zone(timezone)
    source = source_of(subject, start=start, timezone=timezone, as_it_is=as_it_is)
    begin = moment_said(start, source.zone)
    end = _end(begin, days)
    log: list[str] = []
    store = SimulatedStore()
    tick = Tick(store.open(), log.append)
    for schedule in source.schedules:
        store.put_schedule(_as_first_seen(schedule, tick, begin - _INSTANT))
    if source.site_hold is not None:
        source.site_hold.put(store)
    names = {name for schedule in source.schedules for name in (schedule.name, schedule.task)}
    doings = Doings(
        durations_said(durations or {}, names), failures_said(failures or {}, names, source.zone)
    )
    machine = Machine(
        store, tick, start=begin, end=end, traffic=traffic_said(traffic, source.zone),
        downtime=downtime_said(downtime, source.zone), doings=doings,
        max_running=_at_least_one(source.max_running if max_running is None else max_running),
    )  # fmt: skip
    machine.go()
    store.hand_over()
    return Simulation(
        Rows(store.ledger, store.ledger.in_time()), [schedule.name for schedule in source.schedules],
        title=source.title, start=begin, end=end, zone=source.zone, traffic=_in_words(traffic), looks=machine.looks,
        log=log, notes=[*_notes(source.schedules, begin, end)],
    )  # fmt: skip


def _as_first_seen(schedule: Schedule, tick: Tick, moment: datetime) -> Schedule:
    """Return a Schedule as it is when it is first seen at a moment; a hold stays."""
    upcoming = tick.first_fire_time(schedule.in_force, moment, None)
    held_at = moment if schedule.held_at else None
    return schedule.but(rev=0, watermark=moment, next_fire_time=upcoming, held_at=held_at, skip_until=None, demand=None)


def _notes(schedules: Iterable[Schedule], begin: datetime, end: datetime) -> Iterator[str]:
    """Yield what nobody can know: the fire times that a class of somebody's own has not been asked for."""
    for schedule in schedules:
        if not is_listed(schedule.in_force):
            continue
        for part in all_within(parse_trigger(schedule.in_force or "")):
            if isinstance(part, ListedTrigger) and part.horizon is not None and part.horizon < end:
                known = f"{max(part.horizon, begin):%Y-%m-%d %H:%M} UTC"
                yield f"{schedule.name}: {part.name} has named its fire times up to {known}; nothing of it comes later."


def _end(begin: datetime, days: object) -> datetime:
    span = days / timedelta(days=1) if isinstance(days, timedelta) else days
    if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span <= 36_500:
        raise ValueError(f"days={days!r:.60} cannot be: it is a number greater than zero, and a hundred years at most.")
    try:
        return begin + timedelta(days=span)
    except OverflowError:
        raise ValueError(f"days={days!r:.60} from {begin:%Y-%m-%d} is beyond the years there are.") from None


def _at_least_one(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"max_running={number!r:.60} cannot be: it is a whole number, at least 1.")
    return number


def _in_words(traffic: object) -> str:
    if traffic is None:
        return "none"
    return traffic if isinstance(traffic, str) else f"as handed in ({type(traffic).__name__})"
