"""A Run as a row of a table tells it."""

from __future__ import annotations

from ..clock import in_words
from ..lateness import lateness
from ..model import FAILURES, QUEUED, RUNNING, Run
from ..report.words import STATES, duration, failure_in_words, moment_in_words, title, what_it_told
from .asked import Asked

#: What brought a Run about, as people say it.
ORIGINS = {
    "request": "a request",
    "tick": "the idle worker",
    "command": "a command",
    "console": "the console",
    "api": "a program",
    "demand": "a demand",
    "after": "another task",
}


def badge(state: str) -> str:
    """Return the class of a state's colour: ``ok``, ``x`` for what has failed, ``r`` at work, "" for the others."""
    return "x" if state in FAILURES else {"succeeded": "ok", RUNNING: "r"}.get(state, "")


class RunRow:
    """One Run.

    :ivar began: when it began, or should have, in words.
    :ivar late: how late that was; "" where it was not, or on demand.
    """

    def __init__(self, run: Run, asked: Asked) -> None:
        self.run = run
        self.title = title(run.schedule, run.task)
        moment = run.started_at or run.fire_time or run.queued_at
        self.began = moment_in_words(moment.replace(microsecond=0), asked.now, asked.zone)
        self.state, self.badge, self.told = STATES.get(run.state, run.state), badge(run.state), what_it_told(run)
        if run.state == QUEUED and run.not_before is not None:
            self.told = f"waits for its retry; {failure_in_words(run)}"
        self.trigger, self.who = ORIGINS.get(run.origin, run.origin), run.requested_by or ""
        took = duration(run)
        self.took = "" if took is None else in_words(took)
        late = lateness(run)
        self.late = "" if late is None else in_words(late.total_seconds())
        self.late_cause = run.late_cause or ""
