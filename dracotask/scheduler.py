"""Scheduler: what is due, what becomes of it, and what is left lying about. It never executes."""

from __future__ import annotations

import os

from .clock import from_text, in_words, timedelta, to_text
from .errors import BadTrigger
from .model import (
    MISSED,
    RUNNING,
    SKIPPED,
    Claim,
    Policy,
    Run,
    Schedule,
    new_run,
)
from .planning import CLOCK_PATIENCE, first_after, missed_while, plan
from .run.outcome import from_lines, lost
from .run.supervisor import FILES_NOTE, PROBLEM_NOTE, hold_run_lock, release_run_lock
from .state import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from .model import Declaration, Outcome
    from .run.load import Loaded
    from .state import State
    from .stores.base import Store
    from .triggers.base import Trigger

#: A name or file that is gone counts only after so long: editors and git take a file away for an instant.
GONE_PATIENCE = timedelta(seconds=2)

#: How long a Schedule waits whose trigger cannot be read: its zone is gone, or an older dracotask is back.
PUT_OFF = timedelta(hours=1)

#: How often old history is cleared away.
PRUNE_EVERY = timedelta(hours=1)

#: So many days are for ever: history is kept no longer, and no arithmetic leaves the years there are.
MOST_DAYS = 36_500

#: The note that holds what the site owner should know of the time zone.
WARNING_NOTE = "warning"

_GONE_NOTE, _PRUNED_NOTE = "gone_since", "pruned_at"


class Scheduler:
    """The brain of a tick, over one open store."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store

    # -- Claim -----------------------------------------------------------------------------

    def claim_due(self, now: datetime, origin: str) -> int:
        """Claim everything due, in one durable transaction; return how many Runs came of it."""
        claimed = 0
        with self.store.transaction():
            for schedule in self.store.due(now):
                try:
                    claimed += self._claim(schedule, now, origin)
                except BadTrigger as error:
                    self._put_off(schedule, now, error)
            self._free_stranded(now)
        return claimed

    def _put_off(self, schedule: Schedule, now: datetime, error: BadTrigger) -> None:
        """Let a Schedule whose trigger cannot be read any more wait, so that it holds up no other."""
        self.state.log(f"{schedule.name} waits {in_words(PUT_OFF.total_seconds())}: {error}")
        self.store.put_schedule(schedule.but(next_fire_time=now + PUT_OFF))

    def _claim(self, schedule: Schedule, now: datetime, origin: str) -> bool:
        decided = plan(schedule, _trigger(schedule), now, busy=self.busy(schedule))
        if decided is None:
            return False
        run = new_run(schedule, now, origin, fire_time=decided.fire_time) if decided.fire_time else None
        return self.store.claim(schedule, decided, run, now) and run is not None

    def busy(self, schedule: Schedule, *, but: str | None = None) -> str | None:
        """Say why no further Run of the Task may begin, or None when one may.

        :param but: the id of a Run that does not count.
        """
        active = [run for run in self.store.active(schedule.task) if run.id != but]
        if len(active) < Policy.from_text(schedule.policy).max_instances:
            return None
        first = active[0]
        if first.state == RUNNING and first.started_at:
            return f"still running since {first.started_at:%H:%M:%S} UTC"
        return f"still queued since {first.queued_at:%H:%M:%S} UTC"

    def _free_stranded(self, now: datetime) -> None:
        """Set back the watermarks that a clock once wrong by hours or years has left in the future."""
        for schedule in self.store.ahead_of(now + CLOCK_PATIENCE):
            reason = f"the clock was set back from {schedule.watermark}; what is on record by then is passed over"
            next_fire_time = self._first_after(schedule, now)
            claim = Claim(next_fire_time=next_fire_time, watermark=now)
            self.store.claim(schedule, claim, _note_row(schedule, now, reason), now)
            self.state.log(f"{schedule.name}: {reason}.")

    def _first_after(self, schedule: Schedule, now: datetime) -> datetime | None:
        try:
            return first_after(_parse(schedule.trigger), now, None)
        except BadTrigger:
            return now + PUT_OFF

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
        written = self.store.finish(run, outcome)
        if written:
            self.state.log(f"Run {run.id} of {run.task}: {outcome.state}, {outcome.error or 'found in its lock file'}.")
        release_run_lock(self.state, run.id, held)
        return written

    def _left_outcome(self, run: Run, held: int) -> Outcome | None:
        text = os.pread(held, 1 << 16, 0).decode("utf-8", "replace")
        return from_lines(text, run)

    # -- Load ------------------------------------------------------------------------------

    def must_load(self, is_current: bool, now: datetime) -> bool:
        """Tell whether the task file is to be loaded: it changed, never was, or lacked something just now."""
        gone_since = self.store.note(_GONE_NOTE)
        return not is_current or (gone_since is not None and not _is_within(GONE_PATIENCE, gone_since, now))

    def adopt(self, loaded: Loaded, now: datetime) -> None:
        """Make what a load found the set in force; a file with a problem changes only what is told of it."""
        with self.store.transaction():
            self.store.put_note(FILES_NOTE, loaded.stamps)
            known_problem = self.store.note(PROBLEM_NOTE)
            self.store.put_note(PROBLEM_NOTE, loaded.problem)
            if loaded.problem:
                if loaded.problem != known_problem:
                    self.state.log(f"{self.state.task_file} is broken, and the last good set stays: {loaded.problem}")
                # What is gone from a broken file nobody can tell: left standing, it would be looked for for ever.
                self.store.put_note(_GONE_NOTE, None)
                return
            self.store.put_note(WARNING_NOTE, loaded.warning)
            changes = [change for declared in loaded.declared if (change := self._declare(declared, now))]
            changes += self._drop({declared.name for declared in loaded.declared}, now)
        if changes or known_problem:
            news = ", ".join(changes) or ("mended, nothing else new" if loaded.has_file else "it is gone")
            self.state.log(f"Loaded {self.state.task_file}: {news}.")

    def _declare(self, declared: Declaration, now: datetime) -> str | None:
        """Make one declaration true; return what changed, as the log says it, or None."""
        present = self.store.schedule(declared.name)
        if present is None:
            self.store.put_schedule(self._first_sight(declared, now))
            return f"+ {declared.name} ({declared.trigger or 'on demand'})"
        if present.trigger != declared.trigger or present.vanished_at:
            return self._redeclare(present, declared, now)
        self._put_if_changed(present, _with(present, declared))
        return None

    def _first_sight(self, declared: Declaration, now: datetime) -> Schedule:
        trigger = _parse(declared.trigger)
        blank = Schedule(name=declared.name, task=declared.name, declared=True, arguments="{}", rev=0)
        return _with(blank, declared).but(watermark=now, next_fire_time=first_after(trigger, now, None))

    def _redeclare(self, present: Schedule, declared: Declaration, now: datetime) -> str:
        """Take over a changed trigger, or a name that came back, once the old one's due times are settled."""
        try:
            self._settle(present, now)
        except BadTrigger as error:  # its zone is gone, say, and this very load is the mending
            self.state.log(f"What {present.name} missed is not known: {error}")
        present = self.store.schedule(present.name) or present
        upcoming = first_after(_parse(declared.trigger), now, present.watermark)
        self._put_if_changed(present, _with(present, declared).but(next_fire_time=upcoming, vanished_at=None))
        sign = "+ back:" if present.vanished_at else "~"
        return f"{sign} {declared.name} ({declared.trigger or 'on demand'})"

    def _settle(self, schedule: Schedule, now: datetime) -> None:
        """Claim what an outgoing trigger still owes, or record it when its name was away."""
        if not schedule.trigger:
            return
        if not schedule.vanished_at and not schedule.held_at:
            self._claim(schedule, now, "tick")
            return
        reason = "the task was gone from the file" if schedule.vanished_at else "the schedule was held"
        gap = missed_while(schedule, _trigger(schedule), now, MISSED, reason)
        if gap:
            self.store.claim(schedule, Claim(gap=gap, watermark=gap.last), None, now)

    def _drop(self, names: Iterable[str], now: datetime) -> list[str]:
        """Let the declared schedules that are in ``names`` no more vanish; return what changed."""
        gone = [s for s in self.store.schedules() if s.declared and not s.vanished_at and s.name not in names]
        gone_since = self.store.note(_GONE_NOTE)
        if not gone:
            self.store.put_note(_GONE_NOTE, None)
            return []
        if gone_since is None:
            self.store.put_note(_GONE_NOTE, to_text(now))
            return []
        if _is_within(GONE_PATIENCE, gone_since, now):
            return []
        self.store.put_note(_GONE_NOTE, None)
        for schedule in gone:
            self.store.put_schedule(schedule.but(vanished_at=now))
        return [f"- {schedule.name}" for schedule in gone]

    def _put_if_changed(self, present: Schedule, wanted: Schedule) -> None:
        if wanted != present:
            self.store.put_schedule(wanted)

    # -- Commands --------------------------------------------------------------------------

    def claim_for_command(self, schedule: Schedule, run_id: str, by: str, now: datetime) -> Run | None:
        """Claim what is due for the Run of a command and return it; None when there is nothing to claim."""
        if schedule.held_at or schedule.vanished_at:
            return None
        decided = plan(schedule, _trigger(schedule), now, busy=None)
        if decided is None:
            return None
        run = new_run(schedule, now, "command", run_id=run_id, by=by, fire_time=decided.fire_time)
        claimed = self.store.claim(schedule, decided, run, now) and self.store.run(run_id)
        return run if claimed else None

    # -- Housekeeping ----------------------------------------------------------------------

    def next_look(self) -> datetime | None:
        """Return the moment when something is due next, or None when nothing is."""
        moments = [self.store.next_fire_time()]
        if gone_since := self.store.note(_GONE_NOTE):
            moments.append(from_text(gone_since) + GONE_PATIENCE)
        return min((moment for moment in moments if moment), default=None)

    def prune(self, now: datetime) -> None:
        """Clear away old history, rows first and files after, once in :data:`PRUNE_EVERY`."""
        pruned_at = self.store.note(_PRUNED_NOTE)
        if pruned_at and _is_within(PRUNE_EVERY, pruned_at, now):
            return
        self.store.put_note(_PRUNED_NOTE, to_text(now))
        for schedule in self.store.schedules():
            policy = Policy.from_text(schedule.policy)
            since = now - timedelta(days=min(policy.keep_days, MOST_DAYS))
            for run_id in self.store.prune(schedule.task, keep=policy.keep_runs, since=since):
                _remove(self.state.output_file(run_id))
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


def _is_within(span: timedelta, since: str, now: datetime) -> bool:
    """Tell whether ``now`` lies within ``span`` of a moment; one that a wrong clock left in the future is over."""
    return timedelta() <= now - from_text(since) < span


def _mtime(path: str, default: datetime) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return default.timestamp()  # its run has just ended, and taken it away


def _note_row(schedule: Schedule, now: datetime, reason: str) -> Run:
    return new_run(schedule, now, "tick").but(state=SKIPPED, finished_at=now, summary=reason)


def _with(schedule: Schedule, declared: Declaration) -> Schedule:
    changed: Schedule = schedule.but(
        trigger=declared.trigger, policy=declared.policy, description=declared.description, source=declared.source
    )
    return changed


def _trigger(schedule: Schedule) -> Trigger:
    assert schedule.trigger is not None
    from .triggers import parse_trigger

    return parse_trigger(schedule.trigger)


def _parse(text: str | None) -> Trigger | None:
    if text is None:
        return None
    from .triggers import parse_trigger

    return parse_trigger(text)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
