"""Why a task is not at work now, in plain words: whoever reads them should know what to do next."""

from __future__ import annotations

from ..model import Policy, Run, Schedule
from ..state import is_locked
from .banners import next_look, nobody_looks, site_held_in_words
from .words import moment_in_words, next_in_words, progress_in_words, rule_in_words, since_in_words, waiting_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, tzinfo

    from .desk import Desk
    from .reading import Notes


def obstacles(
    desk: Desk, notes: Notes, running: Iterable[Run], schedule: Schedule, now: datetime, zone: tzinfo
) -> Iterator[str]:
    """Yield all that keeps a Run of a Schedule from beginning, but for the Runs of its own.

    :param running: the Runs at work, of all Schedules.
    """
    if notes.problem:
        yield f"waits for the task file to be mended ({notes.problem})"
    if not desk.config.enabled:
        yield f"switched off with the whole site (enabled = false in {desk.config.origin('enabled')})"
    if schedule.vanished_at:
        yield f"gone from the file since {since_in_words(schedule.vanished_at, now, zone)}"
    if schedule.held_at:
        yield held_in_words(schedule, now, zone)
    if notes.site_hold:
        words = site_held_in_words(notes.site_hold, now, zone)
        yield words[0].lower() + words[1:]
    rival = _rival(running, schedule)
    if rival:
        yield f"waits for {rival.schedule}, {at_work(rival, now, zone)} (exclusive: {rival.exclusive})"
    if desk.config.enabled and nobody_looks(desk.state, now):
        yield _nobody_looks(desk, now, zone)


def queue_in_words(desk: Desk, queued: Run, now: datetime, zone: tzinfo) -> str:
    """Return since when a Run waits to be started, and whether all slots are busy."""
    words = waiting_in_words(queued, now, zone)
    if words and queued.not_before and queued.not_before > now:
        return words
    words = words or f"queued since {since_in_words(queued.queued_at, now, zone)}"
    most = desk.config.max_running
    if all(is_locked(desk.state.slot(number)) for number in range(1, most + 1)):
        return f"{words}: all slots are busy ({most})"
    return words


def held_in_words(schedule: Schedule, now: datetime, zone: tzinfo) -> str:
    """Return who holds a Schedule, since when, until when and why."""
    since = f" since {since_in_words(schedule.held_at, now, zone)}" if schedule.held_at else ""
    until = f", until {moment_in_words(schedule.held_until, now, zone)}" if schedule.held_until else ""
    if schedule.held_until and schedule.held_until <= now:
        until += ", which is past: the next look resumes it"
    why = f": {schedule.held_why}" if schedule.held_why else ""
    return f"held by {schedule.held_by or 'somebody'}{since}{until}{why}"


def at_work(run: Run, now: datetime, zone: tzinfo) -> str:
    """Return since when a Run is at work, where, how far it is, and whether it is to stop."""
    words = f"running since {since_in_words(run.started_at or run.queued_at, now, zone)}"
    words += f" as process {run.pid} on {run.host}"
    progress = progress_in_words(run)
    if progress:
        words += f", {progress}"
    if run.stop_at:
        words += f", asked to stop by {run.stop_by}" + (f" ({run.stop_why})" if run.stop_why else "")
    return words


def what_comes(schedule: Schedule, now: datetime, zone: tzinfo, late_after: float) -> str:
    """Return when a Schedule runs by itself, or that it never does."""
    if schedule.in_force is None:
        return "runs on demand only"
    if schedule.next_fire_time is None and schedule.after:
        return f"runs {rule_in_words(schedule)}"
    if schedule.next_fire_time is None:
        return "never fires again: its last moment is past"
    words, _ = next_in_words(schedule, now, zone, late_after)
    return words if words.startswith(("late", "due", "skips")) else f"next {words}"


def _rival(running: Iterable[Run], schedule: Schedule) -> Run | None:
    """Return the Run of another Schedule beside which none of this one may be at work, or None."""
    exclusive = Policy.from_text(schedule.policy).exclusive
    others = (run for run in running if run.exclusive == exclusive and run.schedule != schedule.name)
    return next(others, None) if exclusive else None


def _nobody_looks(desk: Desk, now: datetime, zone: tzinfo) -> str:
    moment = next_look(desk.state)
    since = f"since {since_in_words(moment, now, zone)}" if moment else "yet"
    return f"nobody has looked {since}: no request came and no cron runs `due`"
