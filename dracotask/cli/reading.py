"""What a site's store says at one moment, read without making or changing anything; also as JSON."""

from __future__ import annotations

import os

from ..clock import rfc3339
from ..errors import RunNotFound, StoreMissing, TaskNotFound
from ..model import ENDED, LOST, QUEUED, RUNNING, Run, Schedule
from ..run.supervisor import FILES_NOTE, PROBLEM_NOTE
from ..scheduler import WARNING_NOTE
from ..state import is_current, is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ..state import State
    from ..stores.base import Store
    from .invocation import Invocation

#: In the order in which JSON has them.
RUN_KEYS = (
    "id", "schedule", "task", "state", "origin", "fire_time", "queued_at", "started_at", "finished_at",
    "attempt", "host", "pid", "exit_code", "summary", "error",
    "fire_from", "fire_count", "cpu_seconds", "peak_memory", "output_bytes", "requested_by",
)  # fmt: skip


class Reading:
    """The Schedules with the Runs that matter, and the site's notes.

    :ivar queued: by Schedule, the Run that waits to be started.
    :ivar problem: why the task file as it is now is not in force, or None.
    :ivar is_current: the files in force still look as they did when they were loaded.
    """

    def __init__(self, store: Store, state: State) -> None:
        # Without a transaction, which would keep the writers waiting for whoever only looks.
        self.schedules = store.schedules()
        self.last_runs = {name: really(store, state, run) for name, run in store.last_runs().items()}
        self.queued = {run.schedule: run for run in store.runs(states=(QUEUED,), limit=None)}
        self.problem = store.note(PROBLEM_NOTE)
        self.warning = store.note(WARNING_NOTE)
        files = store.note(FILES_NOTE)
        self.is_current = files is not None and is_current(files)


def really(store: Store, state: State, run: Run) -> Run:
    """Return a Run as it is: one whose lock nobody holds is lost, though only the next look will record it."""
    if run.state != RUNNING or is_locked(state.run_lock(run.id)):
        return run
    run = store.run(run.id) or run  # it may have ended in between
    if run.state != RUNNING:
        return run
    lost: Run = run.but(state=LOST, error="its supervisor died; the next look puts that on record")
    return lost


def open_to_read(invocation: Invocation) -> Store:
    """Open the store that is there; ``with`` closes it again.

    :raises StoreMissing: there is none yet; WrongUser: it is somebody else's.
    """
    state = invocation.state
    if not os.path.lexists(state.path) and os.access(state.docroot, os.X_OK):
        raise StoreMissing(f"{state.task_file} was never looked at. Take it in: {invocation.command('load')}")
    state.check_user()
    return invocation.site.open_store(create=False)


def read(invocation: Invocation) -> Reading:
    """Return what the store says now; raises like :func:`open_to_read`."""
    with open_to_read(invocation) as store:
        return Reading(store, invocation.state)


def find_schedule(invocation: Invocation, store: Store, name: str) -> Schedule:
    """Return the Schedule of that name, also one that is gone from the file.

    :raises TaskNotFound: there never was one.
    """
    schedule = store.schedule(name)
    if schedule is None:
        raise TaskNotFound(name, invocation.state.task_file, [schedule.name for schedule in store.schedules()])
    return schedule


def find_run(invocation: Invocation, store: Store, word: str) -> Run:
    """Return the Run of that id, or the newest one of that Task which was started.

    :raises TaskNotFound: it is neither; RunNotFound: the Task never ran.
    """
    run = store.run(word)
    if run is not None:
        return run
    schedule = find_schedule(invocation, store, word)
    newest = store.runs(task=schedule.task, states=(RUNNING, *ENDED), limit=1)
    if not newest:
        raise RunNotFound(f"{word} has never run. Run it now: {invocation.command(word)}")
    return newest[0]


# -- As JSON -----------------------------------------------------------------------------------


def run_as_json(run: Run) -> dict[str, Any]:
    return {name: _value(getattr(run, name)) for name in RUN_KEYS}


def schedule_as_json(schedule: Schedule, last_run: Run | None) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "task": schedule.task,
        "trigger": schedule.trigger,
        "declared": schedule.declared,
        "held": schedule.held_at is not None,
        "next_fire_time": _value(schedule.next_fire_time),
        "last_run": None if last_run is None else run_as_json(last_run),
    }


def _value(value: Any) -> Any:
    return rfc3339(value) if hasattr(value, "tzinfo") else value


def moments_as_json(moments: list[datetime]) -> list[str]:
    return [rfc3339(moment) for moment in moments]
