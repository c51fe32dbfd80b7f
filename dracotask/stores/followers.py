"""What comes after a Run that has succeeded: a Run of each Schedule that waits for it."""

from __future__ import annotations

from ..model import SKIPPED, new_run
from .holds import SiteHold, held_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from ..model import Run, Schedule
    from .base import Store


def run_after(store: Store, schedule: Schedule, ended: Run, now: datetime) -> Run:
    """Return the Run of a Schedule that comes after the one that has ended, or the row that says why there is none."""
    run = new_run(schedule, now, "after", by=f"{ended.schedule}, run {ended.id}")
    why = _why_not(store, schedule, now)
    return run if why is None else run.but(state=SKIPPED, finished_at=now, summary=why)


def _why_not(store: Store, schedule: Schedule, now: datetime) -> str | None:
    if schedule.vanished_at:
        return "the task was gone from the file"
    if schedule.held_at and not (schedule.held_until and schedule.held_until <= now):
        return held_in_words(schedule)
    hold = SiteHold.of(store)
    return None if hold is None else hold.in_words()
