"""Housekeeping: what dead supervisors left lying about, and history that has had its time."""

from __future__ import annotations

import os

from .clock import is_within, timedelta, to_text
from .planning import kept_since, what_is_kept
from .retries import next_attempt
from .run.outcome import from_lines, lost
from .run.supervisor import hold_run_lock, keep_checkpoint, release_run_lock
from .state import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from .model import Outcome, Run
    from .state import State
    from .stores.base import Store

#: How often old history is cleared away.
PRUNE_EVERY = timedelta(hours=1)

#: How many Runs of a Task are cleared away in one tick.
MOST_PRUNED = 1000

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
        keep_checkpoint(self.state, self.store, run)
        left = self._left_outcome(run, held)
        outcome, retry_at = left or (lost(now, "its supervisor died: killed, or the host went down"), None)
        if left is None:
            retry_at = next_attempt(run, outcome)
        written = self.store.finish(run, outcome, retry_at=retry_at) is not None
        if written:
            self.state.log(f"Run {run.id} of {run.task}: {outcome.state}, {outcome.error or 'found in its lock file'}.")
        release_run_lock(self.state, run.id, held)
        return written

    def _left_outcome(self, run: Run, held: int) -> tuple[Outcome, datetime | None] | None:
        text = os.pread(held, 1 << 16, 0).decode("utf-8", "replace")
        return from_lines(text, run)

    # -- Prune -----------------------------------------------------------------------------

    def prune(self, now: datetime) -> None:
        """Clear away old history, rows first and files after, once in :data:`PRUNE_EVERY`, and while there is more."""
        pruned_at = self.store.note(_PRUNED_NOTE)
        if pruned_at and is_within(PRUNE_EVERY, pruned_at, now):
            return
        doomed: set[str] = set()
        is_done = True
        for task, policy in what_is_kept(self.store.schedules()).items():
            gone = self.store.prune(task, keep=policy.keep_runs, since=kept_since(policy, now), limit=MOST_PRUNED)
            doomed.update(gone)
            is_done = is_done and len(gone) < MOST_PRUNED
        # Else the next tick goes on: a task of every second ends oftener in an hour than one tick clears away.
        self.store.put_note(_PRUNED_NOTE, to_text(now) if is_done else None)
        self.store.prune_actions(now - KEEP_ACTIONS)
        self._remove_files(doomed, now)

    def _remove_files(self, doomed: set[str], now: datetime) -> None:
        """Remove the files of runs that are forgotten, those of each attempt.

        Also of those that no row speaks of: left by a crash between row and file, or an older store.
        """
        names: dict[str, list[str]] = {}
        for name in os.listdir(self.state.runs_folder):
            names.setdefault(name.partition(".")[0], []).append(name)
        for run_id in names.keys() - self.store.known_runs(names):
            for name in names[run_id]:
                path = os.path.join(self.state.runs_folder, name)
                is_old = now.timestamp() - _mtime(path, now) > PRUNE_EVERY.total_seconds()
                if run_id in doomed or (is_old and not is_locked(path)):
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
