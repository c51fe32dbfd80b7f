"""Tick: what is due, and what becomes of it, over one open store. It never executes.

The brain of the process ``due``, of a command that finds its fire time unclaimed, and of a
Scheduler inside a program: whoever asks, the decisions are these.
"""

from __future__ import annotations

from .clock import in_words, timedelta
from .errors import BadTrigger
from .model import LATE, MISSED, SKIPPED, Claim, Policy, Run, Schedule, new_run, waits_for_retry
from .planning import CLOCK_PATIENCE, first_after, missed_while, plan, room_for, still_active
from .stores.base import HOLD_NOTE
from .stores.holds import SiteHold, held_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from .stores.base import Store
    from .triggers.base import Trigger

#: How long a Schedule waits whose trigger cannot be read: its zone is gone, or an older dracotask is back.
PUT_OFF = timedelta(hours=1)

_INSTANT = timedelta(microseconds=1)


class Tick:
    """The decisions of one look at the clock.

    :param log: is told, in a sentence, what the site owner should know.
    :param by: who has brought the look about, in words; None where nobody knows.
    :param why_late: asked, of a fire time and the present moment, why it was found late.
    """

    def __init__(
        self,
        store: Store,
        log: Callable[[str], None],
        *,
        by: str | None = None,
        why_late: Callable[[datetime, datetime], str | None] | None = None,
    ) -> None:
        self.store, self.log, self.by, self.why_late = store, log, by, why_late
        self._triggers: dict[str, Trigger] = {}

    def trigger(self, text: str) -> Trigger:
        """Return the Trigger of a text.

        :raises BadTrigger: it cannot be read: its zone is gone, or it is another version's.
        """
        from .triggers import parse_trigger

        if text not in self._triggers:
            self._triggers[text] = parse_trigger(text)
        return self._triggers[text]

    # -- Claim -----------------------------------------------------------------------------

    def claim_due(self, now: datetime, origin: str) -> int:
        """Claim everything due, in one durable transaction; return how many Runs came of it."""
        claimed = 0
        with self.store.transaction():
            self.end_holds(now)
            due = self.store.due(now)
            crowds = self.store.crowds([schedule.name for schedule in due])
            for schedule in due:
                try:
                    claimed += len(self.claim(schedule, now, origin, crowds[schedule.name]))
                except BadTrigger as error:
                    self._put_off(schedule, now, error)
            self._free_stranded(now)
        return claimed

    def claim(
        self, schedule: Schedule, now: datetime, origin: str, active: Sequence[Run] | None = None
    ) -> list[Run]:
        """Claim what one Schedule owes by now; return the Runs that came of it.

        :param active: its queued and running Runs, oldest first; None to look for them.
        :raises BadTrigger: its trigger cannot be read.
        """
        if active is None:
            active = self.store.active(schedule.name)
        decided = plan(schedule, self.trigger(schedule.in_force or ""), now, active)
        if decided is None:
            return []
        runs = [self._new_run(schedule, now, origin, fire_time, by=self.by) for fire_time in decided.fire_times]
        return runs if self.store.claim(schedule, decided, runs, now) else []

    def _new_run(self, schedule: Schedule, now: datetime, origin: str, fire_time: datetime, **facts: str | None) -> Run:
        """Return a queued Run, with the cause when its fire time was found late."""
        run = new_run(schedule, now, origin, fire_time=fire_time, **facts)
        if self.why_late and (now - fire_time).total_seconds() > LATE:
            run.late_cause = self.why_late(fire_time, now)
        return run

    def _put_off(self, schedule: Schedule, now: datetime, error: BadTrigger) -> None:
        """Let a Schedule whose trigger cannot be read any more wait, so that it holds up no other."""
        self.log(f"{schedule.name} waits {in_words(PUT_OFF.total_seconds())}: {error}")
        self.store.put_schedule(schedule.but(next_fire_time=now + PUT_OFF))

    def busy(self, schedule: Schedule, now: datetime, *, but: str) -> str | None:
        """Say why a further Run of the Schedule may not begin now, or None when it may.

        :param but: the id of that Run.
        """
        active = self._others(schedule, now, but)
        return still_active(active[0]) if len(active) >= Policy.from_text(schedule.policy).most_at_work else None

    def may_wait(self, schedule: Schedule, now: datetime, run_id: str) -> bool:
        """Tell whether a Run that may not begin now stays in the queue, as if a tick had claimed its fire time."""
        policy = Policy.from_text(schedule.policy)
        return room_for(policy, self._others(schedule, now, run_id), now)[1] is None

    def _others(self, schedule: Schedule, now: datetime, run_id: str) -> list[Run]:
        active = self.store.active(schedule.name)
        return [run for run in active if run.id != run_id and not waits_for_retry(run, now)]

    def _free_stranded(self, now: datetime) -> None:
        """Set back the watermarks that a clock once wrong by hours or years has left in the future, and the retries."""
        for schedule in self.store.ahead_of(now + CLOCK_PATIENCE):
            from .retries import last_attempt_at  # hardly any tick comes here

            reason = f"the clock was set back from {schedule.watermark}; what is on record by then is passed over"
            claim = Claim(next_fire_time=self.next_or_put_off(schedule.in_force, now, None), watermark=now)
            self.store.claim(schedule, claim, [_note_row(schedule, now, reason)], now)
            self.log(f"{schedule.name}: {reason}.")
            for run in self.store.active(schedule.name):
                if waits_for_retry(run, now) and last_attempt_at(run) > now + CLOCK_PATIENCE:
                    self.store.try_now(run, now)

    def first_fire_time(self, trigger: str | None, now: datetime, watermark: datetime | None) -> datetime | None:
        """Return the next fire time of a new or changed trigger; None when there is none, or no trigger.

        :raises BadTrigger: it cannot be read.
        """
        return first_after(self.trigger(trigger) if trigger else None, now, watermark)

    def next_or_put_off(self, trigger: str | None, now: datetime, watermark: datetime | None) -> datetime | None:
        """Return the same of a trigger that may not be readable any more: then it is looked at again later."""
        try:
            return self.first_fire_time(trigger, now, watermark)
        except BadTrigger:
            return now + PUT_OFF

    def claim_for_command(self, schedule: Schedule, run_id: str, by: str, now: datetime) -> Run | None:
        """Claim what is due and return the Run of a command among it, the oldest; None when there is nothing to claim.

        Whatever else it is that makes up for a downtime waits in the queue.
        """
        if schedule.held_at or schedule.vanished_at or schedule.in_force is None or self.store.note(HOLD_NOTE):
            return None
        # Where several may come of it they are counted with those that wait already; of one alone that is seen later.
        is_many = Policy.from_text(schedule.policy).coalesce == "all"
        active = self.store.active(schedule.name) if is_many else ()
        decided = plan(schedule, self.trigger(schedule.in_force), now, active)
        if decided is None or not decided.fire_times:
            return None
        first, *others = decided.fire_times
        run = self._new_run(schedule, now, "command", first, run_id=run_id, by=by)
        runs = [run, *(self._new_run(schedule, now, "command", fire_time, by=by) for fire_time in others)]
        claimed = self.store.claim(schedule, decided, runs, now) and self.store.run(run_id)
        return run if claimed else None

    # -- What a change of rules leaves behind ------------------------------------------------

    def settle(self, schedule: Schedule, now: datetime) -> None:
        """Claim what an outgoing trigger still owes, or record it when its Schedule was held or away.

        :raises BadTrigger: the trigger cannot be read.
        """
        if schedule.in_force is None:
            return
        if schedule.vanished_at:
            self._record_missed(schedule, now, MISSED, "the task was gone from the file")
        elif schedule.held_at:
            self._record_missed(schedule, now, SKIPPED, held_in_words(schedule))
        elif hold := SiteHold.of(self.store):
            self._record_missed(schedule, now, SKIPPED, hold.in_words())
        else:
            self.claim(schedule, now, "tick")
            if schedule.skip_until:  # what was to be skipped is one claim, and what came after it another
                self.claim(self.store.schedule(schedule.name) or schedule, now, "tick")

    def settled(self, schedule: Schedule, now: datetime) -> Schedule:
        """Settle a Schedule as it is by now, and return it as it is then.

        A trigger that cannot be read is told and does not stand in the way: what is to be done may be the mending.
        """
        schedule = self.present(schedule, now)
        try:
            self.settle(schedule, now)
        except BadTrigger as error:
            self.log(f"What {schedule.name} owed is not known: {error}")
        return self.store.schedule(schedule.name) or schedule

    def _record_missed(self, schedule: Schedule, now: datetime, state: str, reason: str) -> None:
        gap = missed_while(schedule, self.trigger(schedule.in_force or ""), now, state, reason)
        if gap:
            # (Its next fire time is up to whoever settles.)
            self.store.claim(schedule, Claim(gaps=[gap], watermark=gap.last), [], now)

    def end_holds(self, now: datetime) -> None:
        """Resume the Schedules whose hold was to end by now, with what fell into it on record."""
        for schedule in self.store.holds_over(now):
            self.present(schedule, now)

    def present(self, schedule: Schedule, now: datetime) -> Schedule:
        """Return the Schedule as it is by now: a hold has ended that was to end, though no tick came to do it."""
        if not (schedule.held_at and schedule.held_until and schedule.held_until <= now):
            return schedule
        # The fire time of that very moment is no longer held.
        freed = self.end_hold(schedule, schedule.held_until - _INSTANT)
        self.store.tell_of_schedule("ScheduleResumed", freed, schedule.held_until, "its end", why=schedule.held_why)
        return freed

    def end_hold(self, schedule: Schedule, moment: datetime) -> Schedule:
        """Resume a Schedule as of ``moment``: what fell into the hold is one row, and nothing comes in a burst.

        :return: the Schedule as it is now stored.
        """
        free: dict[str, datetime | None] = dict.fromkeys(("held_at", "held_by", "held_why", "held_until"))
        if not schedule.vanished_at:  # else all that it misses is told when it is back
            schedule = self.settled(schedule, moment)
            free["next_fire_time"] = self.next_or_put_off(schedule.in_force, moment, schedule.watermark)
        self.store.put_schedule(schedule.but(**free))
        return self.store.schedule(schedule.name) or schedule


def following(schedule: Schedule) -> Schedule:
    """Return a Schedule with the names that its rule comes after, where those who look for its followers look.

    :raises BadTrigger: an after stands where it makes no sense.
    """
    text = schedule.in_force
    if schedule.after is None and "after " not in (text or ""):
        return schedule
    from .triggers.after import column

    return schedule.but(after=column(text))


def _note_row(schedule: Schedule, now: datetime, reason: str) -> Run:
    return new_run(schedule, now, "tick").but(state=SKIPPED, finished_at=now, summary=reason)
