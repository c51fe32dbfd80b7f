"""The outbox: events that are on record and that somebody is still to be told of.

An event is written in the transaction of what it tells, so that neither is ever without the other; and only if
somebody listens to its kind, so that who wants to hear nothing pays nothing. This module is imported when
somebody does.
"""

from __future__ import annotations

import json

from ..events import KINDS, OF_SITE_VERB, OF_STATE, OF_VERB, VERBS_OF_RUNS, ScheduleUpdated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ..events import Event
    from ..model import Action, Run, Schedule

#: So many events wait at most; of more the oldest go, those of progress first.
MOST_EVENTS = 10_000

#: The note that says how many had to go, and nobody was told of them.
DROPPED_NOTE = "events_dropped"


class Row:
    """An event in the outbox.

    :ivar number: later than that of any event that happened before it.
    :ivar text: as :meth:`Event.to_json` writes it.
    """

    __slots__ = ("number", "text")

    def __init__(self, number: int, text: str) -> None:
        self.number, self.text = number, text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and (self.number, self.text) == (other.number, other.text)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Row({self.number}, {self.text!r})"


def is_wanted(kind: str, task: str | None, listeners: str) -> bool:
    """Tell whether somebody listens.

    :param listeners: the note that says who does: kinds, or ``KIND/TASK``, a line each.
    """
    wanted = listeners.split("\n")
    return kind in wanted or (task is not None and f"{kind}/{task}" in wanted)


def event_of_run(run: Run, kind: str | None, more: dict[str, Any]) -> Event:
    """Return what has just happened to a Run that is in this state.

    :param kind: the name of the event, where the state does not tell it.
    """
    moment = more.pop("at", None) or run.finished_at or run.started_at or run.queued_at
    event: Any = KINDS[kind] if kind else OF_STATE[run.state]
    return event.of(run, moment, **more)  # type: ignore[no-any-return]


def event_of_action(action: Action, schedule: Schedule | None) -> Event | None:
    """Return what a verb has done; None when that is told otherwise.

    :param schedule: to which it was done; None when that is gone.
    """
    if action.verb in VERBS_OF_RUNS:
        return None
    if not action.schedule:
        of_site = OF_SITE_VERB.get(action.verb)
        return None if of_site is None else of_site(at=action.at, by=action.by, why=action.why)
    details = json.loads(action.details)
    task = schedule.task if schedule else details.get("task")
    said = {
        "at": action.at, "schedule": action.schedule, "task": task, "by": action.by, "why": action.why,
        "details": details,
    }  # fmt: skip
    kind = OF_VERB.get(action.verb)
    return kind(**said) if kind else ScheduleUpdated(what=action.verb, **said)


def event_of_schedule(
    kind: str, schedule: Schedule, at: datetime, by: str, details: dict[str, Any]
) -> Event:
    """Return what has happened to a Schedule without a verb."""
    why = details.pop("why", None)
    return KINDS[kind](at=at, schedule=schedule.name, task=schedule.task, by=by, why=why, details=details)
