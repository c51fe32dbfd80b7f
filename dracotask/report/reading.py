"""What a site's store says at one moment, read without making or changing anything; also as JSON."""

from __future__ import annotations

import json
import os

from ..adoption import WARNING_NOTE
from ..clock import rfc3339
from ..errors import RunNotFound, StoreMissing, TaskNotFound
from ..model import LOST, QUEUED, RUNNING, STARTED, Run, Schedule
from ..run.supervisor import FILES_NOTE, PROBLEM_NOTE
from ..state import is_current, is_locked
from ..stores.base import CODE_NOTE
from ..stores.holds import SiteHold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from ..model import Action
    from ..state import State
    from ..stores.base import Store
    from .desk import Desk

#: In the order in which JSON has them.
RUN_KEYS = (
    "id", "schedule", "task", "state", "origin", "fire_time", "queued_at", "started_at", "finished_at",
    "attempt", "host", "pid", "exit_code", "summary", "error",
    "fire_from", "fire_count", "cpu_seconds", "peak_memory", "output_bytes", "requested_by",
    "arguments", "progress_done", "progress_total", "progress_note", "stop_by", "stop_why", "priority", "not_before",
    "late_cause", "code", "python",
)  # fmt: skip


class Notes:
    """What a store says of the whole site.

    :ivar site_hold: the hold of the whole site, or None.
    :ivar problem: why the task file as it is now is not in force, or None.
    :ivar warning: what the site owner should know, or None.
    :ivar code: which code is in force, as a Run's receipt has it, or None.
    :ivar was_loaded: somebody has looked at the task file before.
    :ivar is_current: the files in force still look as they did when they were loaded.
    """

    def __init__(self, store: Store) -> None:
        self.site_hold = SiteHold.of(store)
        self.problem = store.note(PROBLEM_NOTE)
        self.warning = store.note(WARNING_NOTE)
        self.code = store.note(CODE_NOTE)
        files = store.note(FILES_NOTE)
        self.was_loaded = files is not None
        self.is_current = files is not None and is_current(files)


class Reading(Notes):
    """The same, with all Schedules and the Runs that matter.

    :ivar queued: by Schedule, the Run that waits to be started.
    :ivar running: those whose body is at work.
    """

    def __init__(self, store: Store, state: State) -> None:
        # Without a transaction, which would keep the writers waiting for whoever only looks.
        super().__init__(store)
        self.schedules = store.schedules()
        self.last_runs = {name: really(store, state, run) for name, run in store.last_runs().items()}
        self.queued = next_queued(store)
        self.running = [run for run in store.running() if really(store, state, run).state == RUNNING]


def next_queued(store: Store, limit: int | None = None) -> dict[str, Run]:
    """Return, by Schedule, the Run that waits to be started.

    :param limit: so many of those that wait, the newest, are looked at; None for all.
    """
    queued = store.runs(states=(QUEUED,), limit=limit)
    # (One that could begin now tells more than one that waits for its retry.)
    return {run.schedule: run for run in sorted(queued, key=lambda run: run.not_before is None)}


def really(store: Store, state: State, run: Run) -> Run:
    """Return a Run as it is: one whose lock nobody holds is lost, though only the next look will record it."""
    if run.state != RUNNING or is_locked(state.run_lock(run.id)):
        return run
    run = store.run(run.id) or run  # it may have ended in between
    if run.state != RUNNING:
        return run
    lost: Run = run.but(state=LOST, error="its supervisor died; the next look puts that on record")
    return lost


def open_to_read(desk: Desk) -> Store:
    """Open the store that is there; ``with`` closes it again.

    :raises StoreMissing: there is none yet; WrongUser: it is somebody else's.
    """
    state = desk.state
    if not os.path.lexists(state.path) and os.access(state.docroot, os.X_OK):
        raise StoreMissing(f"{state.task_file} was never looked at. Take it in: {desk.command('load')}")
    state.check_user()
    return desk.site.open_store(create=False)


def read(desk: Desk) -> Reading:
    """Return what the store says now; raises like :func:`open_to_read`."""
    with open_to_read(desk) as store:
        return Reading(store, desk.state)


def find_schedule(desk: Desk, store: Store, name: str) -> Schedule:
    """Return the Schedule of that name, also one that is gone from the file.

    :raises TaskNotFound: there never was one.
    """
    schedule = store.schedule(name)
    if schedule is None:
        raise TaskNotFound(name, desk.state.task_file, [schedule.name for schedule in store.schedules()])
    return schedule


def find_run(desk: Desk, store: Store, word: str) -> Run:
    """Return the Run of that id, or the newest one of that Schedule which was started.

    :raises TaskNotFound: it is neither; RunNotFound: the Task never ran.
    """
    run = store.run(word)
    if run is not None:
        return run
    newest = runs_named(desk, store, word, states=STARTED, limit=1)
    # One that waits for its retry was started too.
    newest += [run for run in store.active(word) if run.state == QUEUED and run.attempt]
    newest.sort(key=lambda run: run.id, reverse=True)
    if not newest:
        raise RunNotFound(f"{word} has never run. Run it now: {desk.command(word)}")
    return newest[0]


def runs_of(store: Store, schedule: Schedule, *, states: Iterable[str] | None = None, limit: int) -> list[Run]:
    """Return the history of one Schedule, newest first. (By its Task as well, for which a store has an index.)"""
    return store.runs(task=schedule.task, schedule=schedule.name, states=states, limit=limit)


def runs_named(
    desk: Desk, store: Store, name: str, *, states: Iterable[str] | None = None, limit: int
) -> list[Run]:
    """Return the history of a name, newest first; also of one that was removed, which its Runs remember.

    :raises TaskNotFound: there never was such a Schedule, or its history is gone as well.
    """
    if store.schedule(name) is None and store.runs(schedule=name, limit=1):
        return store.runs(schedule=name, states=states, limit=limit)
    return runs_of(store, find_schedule(desk, store, name), states=states, limit=limit)


# -- As JSON -----------------------------------------------------------------------------------


def run_as_json(run: Run) -> dict[str, Any]:
    facts = {name: _value(getattr(run, name)) for name in RUN_KEYS}
    return {**facts, "arguments": json.loads(run.arguments), "attempts": json.loads(run.attempts or "[]")}


def schedule_as_json(schedule: Schedule, last_run: Run | None, queued: Run | None = None) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "task": schedule.task,
        "trigger": schedule.trigger,
        "declared": schedule.declared,
        "held": schedule.held_at is not None,
        "next_fire_time": _value(schedule.next_fire_time),
        "next_retry": _value(queued.not_before) if queued else None,
        "last_run": None if last_run is None else run_as_json(last_run),
    }


def action_as_json(action: Action) -> dict[str, Any]:
    facts = {name: _value(getattr(action, name)) for name in ("at", "verb", "by", "why")}
    return {**facts, "details": json.loads(action.details)}


def values_as_json(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return some of the attributes of a Schedule or a Run, its moments as text."""
    return {name: _value(getattr(value, name)) for name in names}


def _value(value: Any) -> Any:
    return rfc3339(value) if hasattr(value, "tzinfo") else value


def moments_as_json(moments: list[datetime]) -> list[str]:
    return [rfc3339(moment) for moment in moments]
