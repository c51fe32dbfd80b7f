"""Housekeeping: what dead supervisors left lying about, and history that has had its time."""

from __future__ import annotations

import os

from .clock import is_within, timedelta, to_text
from .model import Policy
from .planning import kept_since
from .run.outcome import from_lines, lost
from .run.supervisor import hold_run_lock, release_run_lock
from .state import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from .model import Outcome, Run
    from .state import State
    from .stores.base import Store

#: How often old history is cleared away.
PRUNE_EVERY = timedelta(hours=1)

#: How long it stays on record who held or changed what.
KEEP_ACTIONS = timedelta(days=400)

_PRUNED_NOTE = "pruned_at"


class Housekeeping:
    """Sweeps and prunes, over one open store."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store

    # -- Sweep -----------------------------------------------------------------------------

    def sweep(self, now: datetime) -> int:
        """Record what dead supervisors could not; return how many Runs that were.

        The kernel lock decides: held means alive, however long it was stopped or swapped out.
        """
        return sum(self._sweep(run, now) for run in self.store.running())

    def _sweep(self, run: Run, now: datetime) -> bool:
        if is_locked(self.state.run_lock(run.id)):
            return False
        held = hold_run_lock(self.state, run.id)
        if held is None:
            return False
        outcome = self._left_outcome(run, held) or lost(now, "its supervisor died: killed, or the host went down")
        written = self.store.finish(run, outcome) is not None
        if written:
            self.state.log(f"Run {run.id} of {run.task}: {outcome.state}, {outcome.error or 'found in its lock file'}.")
        release_run_lock(self.state, run.id, held)
        return written

    def _left_outcome(self, run: Run, held: int) -> Outcome | None:
        text = os.pread(held, 1 << 16, 0).decode("utf-8", "replace")
        return from_lines(text, run)

    # -- Prune -----------------------------------------------------------------------------

    def prune(self, now: datetime) -> None:
        """Clear away old history, rows first and files after, once in :data:`PRUNE_EVERY`."""
        pruned_at = self.store.note(_PRUNED_NOTE)
        if pruned_at and is_within(PRUNE_EVERY, pruned_at, now):
            return
        self.store.put_note(_PRUNED_NOTE, to_text(now))
        for task, text in {schedule.task: schedule.policy for schedule in self.store.schedules()}.items():
            policy = Policy.from_text(text)
            for run_id in self.store.prune(task, keep=policy.keep_runs, since=kept_since(policy, now)):
                _remove(self.state.output_file(run_id))
        self.store.prune_actions(now - KEEP_ACTIONS)
        self._remove_orphans(now)

    def _remove_orphans(self, now: datetime) -> None:
        """Remove files of runs that no row speaks of: left by a crash between row and file, or an older store."""
        names: dict[str, list[str]] = {}
        for name in os.listdir(self.state.runs_folder):
            names.setdefault(name.partition(".")[0], []).append(name)
        for run_id in names.keys() - self.store.known_runs(names):
            for name in names[run_id]:
                path = os.path.join(self.state.runs_folder, name)
                if not is_locked(path) and now.timestamp() - _mtime(path, now) > PRUNE_EVERY.total_seconds():
                    _remove(path)


def _mtime(path: str, default: datetime) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return default.timestamp()  # its run has just ended, and taken it away


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
