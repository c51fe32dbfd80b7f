"""All there is to know of one schedule, and why it is not at work now."""

from __future__ import annotations

import json
from itertools import islice

from ..clock import rfc3339, utc_now
from ..model import QUEUED, RUNNING, Policy
from ..stores.holds import SiteHold
from .reading import (
    Notes,
    action_as_json,
    find_schedule,
    moments_as_json,
    really,
    run_as_json,
    runs_of,
    schedule_as_json,
    values_as_json,
)
from .upcoming import upcoming
from .why import at_work, obstacles, queue_in_words, what_comes
from .words import (
    arguments_in_words,
    code_in_words,
    failing_in_words,
    keeping_in_words,
    lateness_in_words,
    limits_in_words,
    parameters_in_words,
    policy_in_words,
    rule_in_short,
    schedule_in_words,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..model import Run
    from ..stores.base import Store
    from .desk import Desk

#: So many of the next fire times, of the last Runs and of what was done last.
FEW = 5

#: The keys of the JSON that are the Schedule's own, beyond those of the list.
OWN_KEYS = (
    "description", "source", "override", "held_at", "held_by", "held_why", "held_until", "skip_until", "skip_why",
    "vanished_at", "failures",
)  # fmt: skip


class Shown:
    """One Schedule with its last Runs, and the site's notes, as read at one moment.

    :param few: so many of the last Runs, and of what was done.
    :ivar running: its Runs at work; ``rivals`` are those of all.
    :ivar queued: the Run that waits to be started, or None.
    """

    def __init__(self, desk: Desk, store: Store, name: str, *, few: int = FEW) -> None:
        self.desk, self.now = desk, utc_now()
        self.schedule = find_schedule(desk, store, name)
        self.notes = Notes(store)
        self.runs = [really(store, desk.state, run) for run in runs_of(store, self.schedule, limit=few)]
        active = [really(store, desk.state, run) for run in store.active(name)]
        self.running = [run for run in active if run.state == RUNNING]
        self.queued = _next_queued(active)
        self.rivals = [run for run in store.running() if really(store, desk.state, run).state == RUNNING]
        last_run = store.last_runs([name]).get(name)
        self.last_run = last_run and really(store, desk.state, last_run)
        self.actions = store.actions(schedule=name, limit=few)
        self.upcoming = list(islice(upcoming(self.schedule, self.now, self.notes.site_hold is not None), FEW))

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield a label and words for each fact; without a label the line belongs to the one above."""
        schedule, policy = self.schedule, Policy.from_text(self.schedule.policy)
        yield "Schedule", schedule_in_words(schedule.in_force)
        yield "", rule_in_short(schedule.in_force)
        if schedule.override:
            yield "", f"until the file says otherwise; there it is {schedule_in_words(schedule.trigger)}"
            yield "", rule_in_short(schedule.trigger)
        yield "Now", "; ".join(self.present())
        if not schedule.declared:
            yield "Task", f"{schedule.task}, added at run time"
        yield "Handed", arguments_in_words(json.loads(schedule.arguments))
        yield "Takes", parameters_in_words(schedule.parameters)
        yield "Defined", f"{self.desk.site.docroot}/{schedule.source}"
        yield "Limits", limits_in_words(policy)
        yield "Late", lateness_in_words(policy)
        yield "Failing", failing_in_words(policy)
        yield "Its own", policy_in_words(schedule.own_policy)
        yield "Keeps", keeping_in_words(policy)
        yield "Code", code_in_words(self.notes.code)

    def present(self) -> Iterator[str]:
        """Yield what the task does now, all that keeps it from running, and when it is due."""
        desk, schedule, now, zone = self.desk, self.schedule, self.now, self.desk.zone()
        for run in self.running:
            yield at_work(run, now, zone)
        if self.queued is not None:
            yield queue_in_words(desk, self.queued, now, zone)
        if schedule.failures and schedule.failures > 1 and not schedule.held_at:
            yield f"has failed {schedule.failures} times in a row"
        if schedule.demand:
            yield f"once more after that, as {schedule.demand} demanded"
        yield from obstacles(desk, self.notes, self.rivals, schedule, now, zone)
        if not (schedule.held_at or schedule.vanished_at or self.notes.site_hold):
            by_hand = f": {desk.command(schedule.name)}" if schedule.in_force is None and not self.running else ""
            yield what_comes(schedule, now, zone, desk.config.late_after) + by_hand

    def as_json(self) -> dict[str, Any]:
        schedule, hold = self.schedule, self.notes.site_hold
        policy = Policy.from_text(schedule.policy)
        return {
            **schedule_as_json(schedule, self.last_run, self.queued),
            "schedule": schedule_in_words(schedule.in_force),
            **values_as_json(schedule, OWN_KEYS),
            "site_held": values_as_json(hold, SiteHold.__slots__) if hold else None,
            "arguments": json.loads(schedule.arguments),
            "parameters": _parameters_as_json(schedule.parameters),
            "problem": self.notes.problem,
            "now": "; ".join(self.present()),
            "progress": [_progress_as_json(run) for run in self.running],
            "policy": {key: getattr(policy, key) for key in policy.__slots__},
            "own_policy": json.loads(schedule.own_policy or "{}"),
            "next_fire_times": moments_as_json([each.fire_time for each in self.upcoming]),
            "notes": {rfc3339(each.fire_time): each.notes for each in self.upcoming if each.notes},
            "actions": [action_as_json(action) for action in self.actions],
            "runs": [run_as_json(run) for run in self.runs],
        }


def _next_queued(active: list[Run]) -> Run | None:
    """Return the Run that waits; one that could begin now tells more than one that waits for its retry."""
    queued = [run for run in active if run.state == QUEUED]
    return min(queued, key=lambda run: run.not_before is not None, default=None)


def _parameters_as_json(parameters: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "kind": kind, "needed": needed} for name, kind, needed in json.loads(parameters or "[]")]


def _progress_as_json(run: Any) -> dict[str, Any]:
    return {"run": run.id, "done": run.progress_done, "total": run.progress_total, "note": run.progress_note}
