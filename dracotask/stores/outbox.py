"""The outbox: events that are on record and that somebody is still to be told of.

An event is written in the transaction of what it tells, so that neither is ever without the other; and only if
somebody listens to its kind, so that who wants to hear nothing pays nothing. This module is imported when
somebody does.
"""

from __future__ import annotations

import json

from ..events import (
    ALERTS,
    KINDS,
    LISTENERS,
    OF_SITE_VERB,
    OF_STATE,
    OF_VERB,
    TURN,
    VERBS_OF_RUNS,
    ScheduleUpdated,
    is_turn,
)
from ..model import FAILURES, SUCCEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ..events import Event
    from ..model import Action, Outcome, Run, Schedule

#: So many events wait at most; of more the oldest go, those of progress first.
MOST_EVENTS = 10_000

#: The note that says how many had to go, and nobody was told of them.
DROPPED_NOTE = "events_dropped"


class Row:
    """An event in the outbox.

    :ivar number: later than that of any event that happened before it.
    :ivar text: as :meth:`Event.to_json` writes it.
    :ivar audience: for whom it is.
    """

    __slots__ = ("audience", "number", "text")

    def __init__(self, number: int, text: str, audience: str = LISTENERS) -> None:
        self.number, self.text, self.audience = number, text, audience

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and (self.number, self.text) == (other.number, other.text)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Row({self.number}, {self.text!r})"


def audiences_of(event: Event, listeners: str) -> list[str]:
    """Return for whom an event goes into the outbox: :data:`LISTENERS`, :data:`ALERTS`, both or nobody.

    :param listeners: the note that says who listens: kinds, or ``KIND/TASK``, a line each.
    """
    wanted, task = listeners.split("\n"), getattr(event, "task", None)
    audiences = [LISTENERS] if _is_among(event.kind, task, wanted) else []
    if _is_among(ALERTS + event.kind, task, wanted) or (is_turn(event) and _is_among(ALERTS + TURN, task, wanted)):
        audiences.append(ALERTS)
    return audiences


def _is_among(kind: str, task: str | None, wanted: list[str]) -> bool:
    return kind in wanted or (task is not None and f"{kind}/{task}" in wanted)


def wanted_by(audience: str, listeners: str) -> str:
    """Return the lines of the note that are of one audience."""
    lines = listeners.split("\n")
    return "\n".join(line for line in lines if line.startswith(ALERTS) == (audience == ALERTS))


def in_a_row(schedule: Schedule | None, outcome: Outcome) -> dict[str, int]:
    """Return what the event of an outcome says of failures in a row, if it says anything.

    :param schedule: as it was before that outcome; None when it is gone.
    """
    before = (schedule.failures or 0) if schedule else 0
    if outcome.state == SUCCEEDED:
        return {"failures": before}
    return {"failures": before + 1} if outcome.state in FAILURES else {}


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
