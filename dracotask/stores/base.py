"""The contract of a store.

A store decides every race. It knows no time of its own (``now`` is handed in) and no
triggers: what is decided elsewhere it makes true, or finds that somebody was quicker.
A lost race is a value, never an exception.

Every method is one durable transaction: when it has returned, neither ``kill -9`` nor a
power cut takes it back. Several calls become one transaction within
``with store.transaction():``; nobody else's changes come between them, and an exception
undoes them all.

*Conditional* means: the row is changed only if its ``rev`` is still the one of the value
handed in, and every change raises ``rev``.
"""

from __future__ import annotations

import sys

from ..model import MISSED, SKIPPED, Action, id_from, new_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Self

    from ..events import Event
    from ..model import Claim, Gap, Outcome, Run, Schedule
    from .outbox import Row
    from .reading import Ending, Glance, Recent
    from .tallies import Tally

#: The note that holds the whole site: while it is there, nothing is claimed or taken. Its text says who, when and why.
HOLD_NOTE = "hold"

#: The note that says since when the task file has been broken, and, after a TAB, until when it was.
BROKEN_NOTE = "broken"

#: The note that says who listens to what: kinds of events, a line each, ``KIND/TASK`` for those of one Task only.
LISTENERS_NOTE = "listeners"

#: The note that says what code is in force: a digest, and after a space the commit where there is one.
CODE_NOTE = "code"

#: The version of the interpreter that takes Runs here.
PYTHON = ".".join(map(str, sys.version_info[:3]))

#: So many queued Runs are found too late in one step, which keeps others waiting no longer than a moment.
MOST_LATE = 500


class Store:
    """Keeps Schedules and Runs. Nothing is opened before :meth:`open`.

    An instance belongs to the process and the thread that opened it: it is closed before
    a fork and opened again after it. Opening twice or closing twice does no harm.
    """

    def open(self, *, create: bool = True) -> Self:
        """Open the store and return it; ``with`` closes it again.

        :param create: make an empty store where there is none. Reading verbs say False.
        :raises StoreMissing: there is none and ``create`` is False.
        :raises StoreUnusable: it is damaged, of another version, or may not be written.
        :raises StoreBusy: it stayed locked longer than the store's patience.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of every descriptor."""
        raise NotImplementedError

    def leave(self) -> None:
        """Let go as a process may that ends now: what the kernel does by itself need not be done."""
        self.close()

    def wait_at_most(self, seconds: float | None) -> None:
        """Wait no longer than that for other processes from now on; None for as long as is usual."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make the calls within one atomic, durable step; may be nested, the outermost counts."""
        raise NotImplementedError

    # -- Schedules -------------------------------------------------------------------------

    def schedules(self, names: Collection[str] | None = None) -> list[Schedule]:
        """Return every Schedule, vanished ones too, in the order in which they were first seen.

        :param names: only those of these names that are there; None for all.
        """
        raise NotImplementedError

    def glances(self) -> list[Glance]:
        """Return of every Schedule what a list of thousands needs, in the order in which they were first seen."""
        raise NotImplementedError

    def schedule(self, name: str) -> Schedule | None:
        """Return the Schedule of that name, or None."""
        raise NotImplementedError

    def due(self, now: datetime) -> list[Schedule]:
        """Return the Schedules with a fire time <= ``now``, soonest first, without the held and vanished.

        While the whole site is held there is none.
        """
        raise NotImplementedError

    def next_fire_time(self, now: datetime | None = None) -> datetime | None:
        """Return the soonest moment at which :meth:`due`, :meth:`holds_over` or :meth:`queued` would return more.

        :param now: what may be tried again by then already waits for something else, and does not count; None to count
            whatever is to be tried again.
        :return: None when there is no such moment.
        """
        raise NotImplementedError

    def holds_over(self, now: datetime) -> list[Schedule]:
        """Return the Schedules whose ``held_until`` is <= ``now``."""
        raise NotImplementedError

    def ahead_of(self, moment: datetime) -> list[Schedule]:
        """Return the Schedules whose watermark is later than ``moment``."""
        raise NotImplementedError

    def put_schedule(self, schedule: Schedule) -> bool:
        """Insert a Schedule (``rev`` 0) or change it, conditionally; return whether it was done.

        Inserting is lost to a row of the same name. The first ``rev`` of a name is 1; one that comes back after
        its removal goes on after the highest ``rev`` of its Actions. ``watermark`` is written as handed in: that
        it never decreases is the caller's promise.
        """
        raise NotImplementedError

    def remove_schedule(self, schedule: Schedule) -> bool:
        """Forget a Schedule, conditionally; return whether it was done. Its Runs stay."""
        raise NotImplementedError

    def claim(self, schedule: Schedule, claim: Claim, runs: Sequence[Run], now: datetime) -> bool:
        """Turn fire times into Runs, rows that say why not, or both: conditionally, in one step.

        Next fire time and watermark move with it. A Run whose (schedule, fire time) is on record
        already is not inserted: the fire time is passed over, and the answer is still True. A Gap
        that follows the schedule's row of the fire times before it, which its watermark tells, and is of
        the same state and reason, extends that row.

        :param runs: the queued Runs for ``claim.fire_times``, one each.
        :return: False when somebody changed the schedule since it was read; then nothing has happened.
        """
        raise NotImplementedError

    def demand(self, name: str, run: Run) -> Run | None:
        """Ask for one more Run: at once, or, while one of the Schedule is active, when that one has ended.

        One that waits for its retry is not active in this sense.

        :param run: the queued Run to insert. While one is active it is dropped and a flag set; several
            demands become one.
        :return: the inserted Run, or None when the flag was set instead.
        """
        raise NotImplementedError

    # -- Runs ------------------------------------------------------------------------------

    def add_run(self, run: Run) -> None:
        """Insert a Run as it is: on demand, or never started."""
        raise NotImplementedError

    def active(self, schedule: str) -> list[Run]:
        """Return the queued and running Runs of a Schedule, those that wait for a retry too, oldest first."""
        raise NotImplementedError

    def crowds(self, schedules: Collection[str]) -> dict[str, list[Run]]:
        """Return, by name, what :meth:`active` returns of each of these Schedules."""
        return {name: self.active(name) for name in schedules}

    def queued(self, limit: int, now: datetime | None = None) -> list[Run]:
        """Return up to ``limit`` queued Runs that could be taken now: of the highest priority first, then the oldest.

        Left out are those whose next attempt is for later than ``now`` (None: all that were tried before), those of a
        held Schedule or site (but for ``despite_hold``), those whose Schedule has as many bodies at work as it may, and
        those whose ``exclusive`` name is at work already.
        """
        raise NotImplementedError

    def takeable(self, limit: int, now: datetime) -> list[Run]:
        """Return the Runs of :meth:`queued` that are not too late to begin; the others become ``missed``."""
        from ..planning import is_too_late

        in_time: list[Run] = []
        most = limit
        while not in_time and (queued := self.queued(most, now)):
            judged = [(run, is_too_late(run, now)) for run in queued]
            in_time = [run for run, why in judged if why is None]
            if len(in_time) < len(judged):
                # After a long wait thousands may be late: one durable step for many of them.
                with self.transaction():
                    for run, why in judged:
                        if why is not None:
                            self.skip(run, why, now, state=MISSED)
            most = max(limit, MOST_LATE)
        return in_time[:limit]

    def running(self) -> list[Run]:
        """Return the Runs whose bodies are at work, oldest first."""
        raise NotImplementedError

    def take(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run | None:
        """Make a queued Run one's own: state ``running``, conditionally, and only if

        - neither its Schedule nor the site is held, or it is ``despite_hold``,
        - its next attempt is not for later than ``now``,
        - fewer than ``limit`` Runs of its Schedule are running, and
        - no Run of its ``exclusive`` name is.

        All are looked at in the same atomic step: this is the promise of hold and of
        ``max_instances``; a look at claim time is a courtesy. What begins it stands in the Run from then on: the
        ``python`` of this process, and the ``code`` of :data:`CODE_NOTE`.

        :return: the Run as it is now stored, whoever has it, or None when it is gone. It is won
            exactly if its token is the one handed in; so an ambiguous error is cured by asking
            :meth:`run`.
        """
        raise NotImplementedError

    def begin(self, run: Run, *, token: str, host: str, pid: int, now: datetime, limit: int) -> Run:
        """Insert a queued Run and take it in the same step; it stays queued where :meth:`take` would leave it.

        :return: the Run as it is now stored.
        """
        raise NotImplementedError

    def give_back(self, run: Run) -> bool:
        """Make a Run that is running under ``run.token`` ``queued`` again: its body never began.

        :return: False when it is another's by now, or somebody wants it stopped.
        """
        raise NotImplementedError

    def try_now(self, run: Run, now: datetime) -> bool:
        """Let a queued Run that waits for its retry be tried again from ``now`` on, conditionally."""
        raise NotImplementedError

    def finish(self, run: Run, outcome: Outcome, *, retry_at: datetime | None = None) -> list[Run] | None:
        """Write the outcome of a Run, if it is running under ``run.token``.

        If its Schedule was demanded meanwhile, the same step clears the demand and inserts the next
        Run, unless the Task has vanished. An outcome is written once. The same step counts the failures in a row of
        the Schedule, and holds it when its policy has enough of them. A cause of lateness that the Run has stays where
        the outcome knows none.

        Did it succeed, the same step brings a Run of each Schedule that comes ``after`` this one: at once, or, while
        one of it is active, as a demand. Of one that is held or whose Task has vanished it is a row that says so.

        :param run: as it was taken.
        :param retry_at: when the Run is to be tried again. It is queued again then, with this attempt among its
            ``attempts``, unless somebody wants it stopped or its Schedule was removed.

        :return: the Runs inserted; None when nothing was written, for there is an outcome, or the Run is
            another's by now.
        """
        raise NotImplementedError

    def skip(self, run: Run, reason: str, now: datetime, *, state: str = SKIPPED) -> bool:
        """Make a queued Run ``skipped``, conditionally, with the reason in its summary.

        :param state: or ``missed``.

        A demand that waited for this Run, and for no other, is answered as in :meth:`finish`.
        """
        raise NotImplementedError

    def report_progress(self, run: Run, done: float, total: float | None, note: str | None, *, now: datetime) -> None:
        """Write how far a Run is, if it is running under ``run.token``; its ``rev`` stays."""
        raise NotImplementedError

    def keep_checkpoint(self, run: Run, checkpoint: str) -> None:
        """Write what the next attempt of a Run is to find, if it is running under ``run.token``; its ``rev`` stays."""
        raise NotImplementedError

    def request_stop(
        self, run_id: str, *, by: str, why: str | None, now: datetime, grace: float | None = None
    ) -> Run | None:
        """Ask that a Run be stopped. A queued one is ``stopped`` at once; a running one is marked.

        :param grace: seconds between the polite stop and KILL; None for those of its policy.
        A demand that waited for the queued one, and for no other, is answered as in :meth:`finish`.

        :return: the Run afterwards; None when there is no such Run or it is over.
        """
        raise NotImplementedError

    def run(self, run_id: str) -> Run | None:
        """Return the Run of that id, or None."""
        raise NotImplementedError

    def runs(
        self,
        *,
        task: str | None = None,
        schedule: str | None = None,
        states: Iterable[str] | None = None,
        origin: str | None = None,
        before: str | None = None,
        after: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 20,
    ) -> list[Run]:
        """Return the history, newest first. What is asked together has to hold together.

        :param task: of this Task only; None for all.
        :param schedule: of this Schedule only, there or not; None for all.
        :param states: in these states only; None for all.
        :param origin: that came about in this way only; None for all.
        :param before: only those that are older than the Run of this id, there or not: the page that follows it.
        :param after: only those that are newer: the page before it. Of more than ``limit`` these are not the newest,
            but those next to it.
        :param since: only those that came about at this moment or later. That is told by their ids, which are made
            when Runs are queued, or put on record as never started: by the clock of the host, whatever ``now`` was
            handed in.
        :param until: only those that came about before this moment.
        :param limit: at most so many; None for all.
        """
        raise NotImplementedError

    def last_runs(self, names: Collection[str] | None = None) -> dict[str, Run]:
        """Return, by the name of the Schedule, the newest Run that was started.

        :param names: of these Schedules only, there or not; None for all that ever had one on record.
        :return: nothing of a Schedule of which none was started.
        """
        raise NotImplementedError

    def recent(self, names: Collection[str], limit: int) -> dict[str, list[Recent]]:
        """Return, by the name of the Schedule, the newest ``limit`` Runs that were started, the oldest first.

        :return: a list, be it empty, for each of ``names``.
        """
        raise NotImplementedError

    def neighbours(self, run: Run) -> tuple[str | None, str | None]:
        """Return the ids of the next older and the next newer Run of the same Schedule, in whatever state; or None."""
        raise NotImplementedError

    def endings(self) -> dict[str, Ending]:
        """Return, by the name of the Schedule, how its Runs came to their ends of late.

        :return: one for each that is there.
        """
        raise NotImplementedError

    def tallies(self) -> dict[tuple[str, str], Tally]:
        """Return, by Task and state, how many Runs are over since the store was made, those included that are gone.

        Fire times that did not run count one each; where nobody knows how many there were, one. A number never falls.

        A store may put together, in transactions of its own, what is not to be counted again at the next question.
        """
        raise NotImplementedError

    def prune(self, task: str, *, keep: int, since: datetime, limit: int = 1000) -> list[str]:
        """Forget old history of a Task and return the ids, whose files may go now.

        What goes: the Runs that ended and are not among the newest ``keep`` of those, or ended before
        ``since``; rows that never started, when older than ``since`` or not among the newest ``keep``
        of their kind. Active Runs and Schedules never go.

        :param limit: at most so many at once, so that nobody waits for a clean-up.
        """
        raise NotImplementedError

    def known_runs(self, ids: Iterable[str]) -> set[str]:
        """Return those of ``ids`` that are in the store."""
        raise NotImplementedError

    # -- Actions ---------------------------------------------------------------------------

    def add_action(self, action: Action) -> None:
        """Put on record what somebody did. To be called in the transaction in which it is done."""
        raise NotImplementedError

    def actions(self, *, schedule: str | None = None, limit: int | None = 20) -> list[Action]:
        """Return what was done, newest first.

        :param schedule: to this Schedule only, "" to the whole site only; None for all.
        :param limit: at most so many; None for all.
        """
        raise NotImplementedError

    def prune_actions(self, since: datetime) -> None:
        """Forget what was done before ``since``."""
        raise NotImplementedError

    # -- Events ----------------------------------------------------------------------------

    def listeners(self) -> str:
        """Return who listens to what, as :data:`LISTENERS_NOTE` has it; "" when nobody does.

        It may be as it was when this store last read a note or ended a Run: who has just begun to listen need not
        hear what happens in the same instant.
        """
        return self.note(LISTENERS_NOTE) or ""

    def tell(self, event: Event) -> None:
        """Put an event into the outbox, if somebody listens to it. To be called in the transaction of what it tells.

        What a method here does to a Run, and what :meth:`add_action` puts on record, it tells by itself.
        """
        listeners = self.listeners()
        if listeners:
            from .outbox import audiences_of  # at most sites nobody listens

            for audience in audiences_of(event, listeners):
                with self.transaction():
                    self._put_event(audience, event.kind, event.to_json())

    def tell_of(self, run: Run, kind: str | None = None, **more: object) -> None:
        """Tell what has just happened to a Run that is as handed in.

        :param kind: the name of the event, where the state does not tell it; with ``more`` to say.
        """
        if self.listeners():
            from .outbox import event_of_run

            self.tell(event_of_run(run, kind, more))

    def tell_of_action(self, action: Action) -> None:
        """Tell what a verb has done."""
        if self.listeners():
            from .outbox import event_of_action

            event = event_of_action(action, self.schedule(action.schedule))
            if event is not None:
                self.tell(event)

    def tell_of_schedule(self, kind: str, schedule: Schedule, now: datetime, by: str, **details: object) -> None:
        """Tell what has just happened to a Schedule without a verb that leaves its row."""
        if self.listeners():
            from .outbox import event_of_schedule

            self.tell(event_of_schedule(kind, schedule, now, by, details))

    def _put_event(self, audience: str, kind: str, text: str) -> None:
        """Put an event at the end of the outbox; when that is full others go (:data:`~.outbox.MOST_EVENTS`)."""
        raise NotImplementedError

    def events(self, limit: int, audience: str | None = "") -> list[Row]:
        """Return up to ``limit`` events that somebody is still to be told of, in the order in which they happened.

        :param audience: who: :data:`~dracotask.events.LISTENERS`, its ``ALERTS``, or None for anybody.
        """
        raise NotImplementedError

    def forget_events(self, numbers: Iterable[int]) -> None:
        """Take events out of the outbox."""
        raise NotImplementedError

    # -- Notes -----------------------------------------------------------------------------

    def note(self, key: str) -> str | None:
        """Return a fact about the whole site (the files in force, why the last load failed), or None."""
        raise NotImplementedError

    def put_note(self, key: str, text: str | None) -> None:
        """Write such a fact; None removes it."""
        raise NotImplementedError


def gap_row(schedule: Schedule, gap: Gap, now: datetime) -> Run:
    """Return the row that says why fire times did not run."""
    first = gap.first if gap.first != gap.last else None
    return new_run(schedule, now, "tick", fire_time=gap.last).but(
        state=gap.state, fire_from=first, fire_count=gap.count, finished_at=now, summary=gap.reason
    )


def demanded_run(schedule: Schedule, now: datetime) -> Run:
    """Return the Run that answers a demand made while another was active."""
    return new_run(schedule, now, "demand", by=schedule.demand)


def id_range(
    before: str | None, after: str | None, since: datetime | None, until: datetime | None
) -> tuple[str | None, str | None]:
    """Return between which two ids those lie that :meth:`Store.runs` is asked for; None for no such end."""
    lower = [after, id_from(since) if since else None]
    upper = [before, id_from(until) if until else None]
    return max(filter(None, lower), default=None), min(filter(None, upper), default=None)


def unbegun(by: str) -> tuple[str, str]:
    """Say that somebody has stopped a queued Run: before its next attempt, and before the first."""
    return f"stopped by {by} before its retry", f"stopped by {by} before it began"
