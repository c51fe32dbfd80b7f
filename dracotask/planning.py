"""What to do about a Schedule at one moment: pure, and handed the time.

Due means fire time <= now, never "is it this minute": late rather than never, and
once rather than many times, unless the policy wants it otherwise. Whatever is dropped
becomes a :class:`~.model.Gap` with its reason. However long the downtime was, a decision
takes few questions to the trigger and little room.
"""

from __future__ import annotations

from .clock import last_until, timedelta
from .model import MISSED, QUEUED, RUNNING, SKIPPED, Claim, Gap, Policy
from .model import waits_for_retry as waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from .model import Run, Schedule
    from .triggers.base import Trigger

#: How far a clock may be set back before a Schedule stops waiting for it (cron(8)'s rule).
CLOCK_PATIENCE = timedelta(hours=3)

#: So many days are for ever: history is kept no longer, and no arithmetic leaves the years there are.
MOST_DAYS = 36_500

_INSTANT = timedelta(microseconds=1)


# -- What is due -------------------------------------------------------------------------------


def plan(schedule: Schedule, trigger: Trigger, now: datetime, active: Collection[Run] = ()) -> Claim | None:
    """Decide what becomes of the fire times of ``schedule`` up to ``now``.

    :param active: its queued and running Runs, oldest first.
    :return: None when nothing is due.
    """
    first = schedule.next_fire_time
    if first is None or first > now:
        return None
    if schedule.skip_until and first <= schedule.skip_until:
        skipped = latest_until(trigger, first, min(now, schedule.skip_until))
        return _claim(trigger, skipped, gaps=[_gap(trigger, first, skipped, schedule.skip_why or "skipped")])
    policy = Policy.from_text(schedule.policy)
    latest = latest_until(trigger, first, now)
    in_time, gaps = _in_time(trigger, first, latest, now, policy.grace)
    if in_time is None:
        return _claim(trigger, latest, gaps=gaps)
    room, crowd = room_for(policy, active, now)
    if crowd is not None:
        return _claim(trigger, latest, gaps=[*gaps, _gap(trigger, in_time, latest, crowd)])
    chosen = _chosen(trigger, in_time, latest, policy.coalesce, room)
    return _claim(trigger, latest, chosen, [*gaps, *_passed_over(trigger, in_time, latest, chosen, policy)])


def _in_time(
    trigger: Trigger, first: datetime, latest: datetime, now: datetime, grace: float | None
) -> tuple[datetime | None, list[Gap]]:
    """Return the first fire time that is not too late, None when all are, and the Gap of those that are."""
    if grace is None or now - first <= timedelta(seconds=grace):
        return first, []
    last = latest_until(trigger, first, min(latest, now - timedelta(seconds=grace) - _INSTANT))
    reason = f"{'' if first == last else 'up to '}{too_late(now - first, grace)}"
    in_time = trigger.next_after(last) if last < latest else None
    return in_time, [_gap(trigger, first, last, reason, MISSED)]


def too_late(late: timedelta, grace: float) -> str:
    """Say that a Run would begin later than it may."""
    from .clock import in_words

    return f"{in_words(late.total_seconds())} late; its grace is {in_words(grace)}"


def is_too_late(run: Run, now: datetime) -> str | None:
    """Say why a queued Run is not to begin any more, or None when it may.

    What waited too long for a free slot has missed its time as well. A further attempt has not: the first was in time.
    """
    grace = Policy.from_text(run.policy).grace
    if grace is None or run.fire_time is None or run.attempt or now - run.fire_time <= timedelta(seconds=grace):
        return None
    return too_late(now - run.fire_time, grace)


def room_for(policy: Policy, active: Collection[Run], now: datetime) -> tuple[int, str | None]:
    """Return how many Runs may come of what is due, and why none may, as a person would say it; else None.

    What is in the queue is bounded whatever the policy: a task that takes longer than its interval would fill it for
    ever.
    """
    counted = [run for run in active if not waits(run, now)]
    together = policy.catch_up if policy.coalesce == "all" else 1
    if policy.overlap != "allow" and len(counted) < policy.max_instances:
        return together, None
    if policy.overlap == "skip":
        return 0, still_active(counted[0])
    waiting = sum(run.state == QUEUED for run in counted)
    room = (policy.catch_up if policy.overlap == "allow" else together) - waiting
    if room > 0:
        return min(room, together), None
    crowd = "one waits" if waiting == 1 else f"{waiting} wait"
    return 0, f"{still_active(counted[0])}, and {crowd} already"


def still_active(run: Run) -> str:
    """Say since when a Run has been active."""
    if run.state == RUNNING and run.started_at:
        return f"still running since {run.started_at:%H:%M:%S} UTC"
    return f"still queued since {run.queued_at:%H:%M:%S} UTC"


def _chosen(trigger: Trigger, first: datetime, latest: datetime, coalesce: str, room: int) -> list[datetime]:
    """Return those of the fire times from ``first`` to ``latest`` that become Runs."""
    if coalesce == "all" and first != latest:
        return latest_of(trigger, first, latest, room)
    return [first if coalesce == "earliest" else latest]


def _passed_over(
    trigger: Trigger, first: datetime, latest: datetime, chosen: list[datetime], policy: Policy
) -> list[Gap]:
    """Return the Gap of the fire times for which others make up, if there are any."""
    if policy.coalesce == "earliest":
        after = trigger.next_after(first) if first < latest else None
        return [] if after is None else [_gap(trigger, after, latest, _COALESCED)]
    if chosen[0] == first:
        return []
    # The day after a downtime one run makes up for all: WP-Cron's users call the alternative a stampede.
    last = latest_until(trigger, first, chosen[0] - _INSTANT)
    reason = _COALESCED if policy.coalesce == "latest" else f"came late: only the latest {len(chosen)} became runs"
    return [_gap(trigger, first, last, reason)]


_COALESCED = "came late: several fire times became one run"


# -- Fire times in bounded time ------------------------------------------------------------------


def latest_until(trigger: Trigger, known: datetime, moment: datetime) -> datetime:
    """Return the last fire time of ``trigger`` up to ``moment``, found with few questions.

    :param known: a fire time not later than ``moment``.
    """
    return last_until(trigger.next_after, known, moment)


def latest_of(trigger: Trigger, first: datetime, latest: datetime, most: int) -> list[datetime]:
    """Return the last ``most`` of the fire times from ``first`` to ``latest``, in order.

    The stretch that holds them is felt for from the end, so that those before it cost nothing.

    :param latest: a fire time; so is ``first``.
    """
    following = trigger.next_after(latest)
    stretch = following - latest if following else timedelta(seconds=1)
    too_short, too_long = timedelta(), None
    while True:
        begin = first - _INSTANT if stretch > latest - first else latest - stretch
        found = _up_to(trigger, begin, latest, 8 * most)
        if found is not None and (len(found) >= most or begin < first):
            return found[-most:]
        if found is None:  # a burst, and more of it than can be gone through
            too_long = stretch
        else:
            too_short = stretch
            # As far as so many would reach, were they as dense before.
            stretch *= min(most / len(found) * 1.1 + 1, 16)
        if too_long is not None and not too_short < stretch < too_long:
            stretch = too_short + (too_long - too_short) / 2


def _up_to(trigger: Trigger, begin: datetime, latest: datetime, most: int) -> list[datetime] | None:
    """Return the fire times after ``begin`` and up to ``latest``; None when they are more than ``most``."""
    found: list[datetime] = []
    fire_time = trigger.next_after(begin)
    while fire_time is not None and fire_time <= latest:
        if len(found) == most:
            return None
        found.append(fire_time)
        fire_time = trigger.next_after(fire_time)
    return found


def first_after(trigger: Trigger | None, now: datetime, watermark: datetime | None) -> datetime | None:
    """Return the next fire time of a new or changed trigger: later than now and than the watermark."""
    if trigger is None:
        return None
    return trigger.next_after(max(now, watermark) if watermark else now)


def missed_while(schedule: Schedule, trigger: Trigger, now: datetime, state: str, reason: str) -> Gap | None:
    """Return the Gap of the fire times up to ``now`` that nobody could claim, or None when there are none."""
    first = schedule.next_fire_time
    if first is None or first > now:
        return None
    return _gap(trigger, first, latest_until(trigger, first, now), reason, state)


def what_is_kept(schedules: Iterable[Schedule]) -> dict[str, Policy]:
    """Return by Task how much of its history is kept: where its Schedules differ, as much as any of them wants."""
    kept: dict[str, Policy] = {}
    for schedule in schedules:
        policy = Policy.from_text(schedule.policy)
        other = kept.setdefault(schedule.task, policy)
        if other is not policy:
            most = {name: max(getattr(policy, name), getattr(other, name)) for name in ("keep_runs", "keep_days")}
            kept[schedule.task] = policy.but(**most)
    return kept


def kept_since(policy: Policy, now: datetime) -> datetime:
    """Return the moment before which no history is kept."""
    return now - timedelta(days=min(policy.keep_days, MOST_DAYS))


def _claim(
    trigger: Trigger, latest: datetime, fire_times: Sequence[datetime] = (), gaps: Sequence[Gap] = ()
) -> Claim:
    return Claim(fire_times=fire_times, gaps=gaps, next_fire_time=trigger.next_after(latest), watermark=latest)


def _gap(trigger: Trigger, first: datetime, last: datetime, reason: str, state: str = SKIPPED) -> Gap:
    return Gap(state=state, first=first, last=last, count=_count(trigger, first, last), reason=reason)


def _count(trigger: Trigger, first: datetime, last: datetime) -> int | None:
    """Count the fire times from ``first`` to ``last`` where division can tell, else None."""
    if first == last:
        return 1
    every = getattr(trigger, "every", None)
    return (last - first) // every + 1 if isinstance(every, timedelta) else None


# -- A Schedule's own policy -------------------------------------------------------------------


def overlaid(policy: str, own: str | None) -> str:
    """Return the policy of a Task with what is said of one Schedule's own over it, as text.

    :param own: as JSON, read before; keys that are no policy's (any more) are passed over.
    """
    if not own:
        return policy
    import json

    said = {key: value for key, value in json.loads(own).items() if key in Policy.__slots__}
    return Policy.from_text(policy).but(**said).to_text()
