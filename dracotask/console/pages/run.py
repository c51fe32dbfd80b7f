"""A run: what brought it about, how late it was and why, how it went, and what it said."""

from __future__ import annotations

import json

from werkzeug import Response
from werkzeug.exceptions import NotFound
from werkzeug.utils import redirect

from ...clock import from_text, in_words
from ...homes.site import SiteHome
from ...lateness import lateness
from ...model import ACTIVE, ENDED, FAILED, FAILURES, NEVER_STARTED, QUEUED, RUNNING, Policy
from ...report.outputfile import output_of
from ...report.pace import eta, eta_in_words, share_done, usual, usual_in_words
from ...report.reading import really, run_as_json
from ...report.words import (
    STATES,
    about,
    arguments_in_words,
    duration,
    exit_in_words,
    progress_in_words,
    resources_in_words,
    title,
    waiting_in_words,
    what_it_told,
)
from ..ansi import highlight_traceback
from ..asked import REFUSALS, NothingSaid, Page, answering
from ..charts import MOST_IN_ROW
from ..rows import ORIGINS, RunRow, badge
from ..tail import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...model import Run
    from ...stores.base import Store
    from ..asked import Asked

#: So many runs before this one are listed below it.
BEFORE = 5


class Attempt:
    """One attempt of a Run before the last, as the Run remembers it.

    :param place: which of those that it remembers this is, from 1.
    """

    def __init__(self, place: int, said: dict[str, Any]) -> None:
        self.number: int = said.get("attempt", place)
        state: str = said.get("state", FAILED)
        self.state = STATES.get(state, state)
        self.error: str = said.get("error") or ""
        self.began = from_text(said["started_at"]) if said.get("started_at") else None


class Told:
    """One Run, with what its page says of it."""

    def __init__(self, asked: Asked, store: Store, run_id: str) -> None:
        state = asked.desk.state
        self.asked, self.run = asked, _found(asked, store, run_id)
        run = self.run
        self.title = title(run.schedule, run.task)
        self.older, self.newer = store.neighbours(run)
        earlier = store.runs(schedule=run.schedule, before=run.id, limit=BEFORE)
        self.earlier = [RunRow(really(store, state, each), asked) for each in earlier]
        self.usual = usual(store.recent([run.schedule], MOST_IN_ROW).get(run.schedule, []))
        self.badge, self.state = badge(run.state), STATES.get(run.state, run.state)
        if run.state == RUNNING and run.stop_at:
            self.state = "stopping"
        self.is_running, self.is_active = run.state == RUNNING, run.state in ACTIVE
        self.has_failed, self.never_started = run.state in FAILURES, run.state in NEVER_STARTED
        self.share, self.told = share_done(run), what_it_told(run)
        self.progress = progress_in_words(run) if self.is_running else ""
        self.left = eta_in_words(eta(run, asked.now, self.usual)) if self.is_running else ""
        self.usually = usual_in_words(self.usual)
        self.attempts = [Attempt(number, each) for number, each in enumerate(json.loads(run.attempts or "[]"), 1)]
        self.attempt = _attempt(asked, run)
        self.arguments: dict[str, Any] = json.loads(run.arguments)

    @property
    def attempt_failed(self) -> bool:
        """Whether the attempt whose output is shown has failed."""
        return self.has_failed or any(each.number == self.attempt for each in self.attempts)

    @property
    def poll(self) -> int:
        """Seconds after which to look again: what waits for its retry may wait for long; 0 where all is told."""
        return 0 if not self.is_active else 15 if self.run.not_before else 2

    @property
    def took(self) -> str:
        """How long it took, or has taken so far."""
        if self.is_running and self.run.started_at:
            return about(max((self.asked.now - self.run.started_at).total_seconds(), 0))
        took = duration(self.run)
        return "" if took is None else in_words(took)

    def facts(self) -> Iterator[tuple[str, Any, str]]:
        """Yield a label, a moment or words, and what is added in small letters."""
        yield from self._moments()
        yield from self._receipt()

    def _moments(self) -> Iterator[tuple[str, Any, str]]:
        run = self.run
        if run.fire_time:
            many = f"one row for {run.fire_count} fire times" if run.fire_from and run.fire_count else ""
            yield "Due", run.fire_time, many
        if run.state in NEVER_STARTED:
            yield "On record", run.finished_at or run.queued_at, ""
        elif run.started_at is None or run.origin not in ("tick", "request"):
            yield "Queued", run.queued_at, ""
        if run.started_at:
            yield "Started", run.started_at, self._late()
        if run.finished_at and run.state not in NEVER_STARTED:
            yield "Ended", run.finished_at, ""
        if run.state == QUEUED:
            yield "Waits", waiting_in_words(run, self.asked.now, self.asked.zone) or "for the next look", ""

    def _receipt(self) -> Iterator[tuple[str, Any, str]]:
        """Yield who wanted it, and what its process was, took, was handed and left."""
        run = self.run
        yield "Trigger", ORIGINS.get(run.origin, run.origin), run.requested_by or ""
        if run.pid:
            yield "Process", f"{run.pid} on {run.host}", resources_in_words(run)
        if run.state in ENDED:
            yield "Exit", exit_in_words(run), ""
        if run.stop_by:
            yield "Stopped by", run.stop_by, run.stop_why or ""
        if run.attempt > 1 or self.attempts:
            retries = Policy.from_text(run.policy).retries
            yield "Attempt", str(run.attempt), f"of {retries + 1}" if run.attempt <= retries + 1 else ""
        if self.arguments:
            yield "Handed", arguments_in_words(self.arguments), ""
        if run.code or run.python:
            code, _, commit = (run.code or "").partition(" ")
            version = f"Python {run.python}" if run.python else ""
            yield "Code", code or "-", ", ".join(filter(None, [commit and f"commit {commit}", version]))

    def _late(self) -> str:
        late = lateness(self.run)
        if late is None:
            return ""
        cause = f": {self.run.late_cause}" if self.run.late_cause else ""
        moment = "to begin" if self.run.attempt > 1 else "due" if self.run.fire_time else "asked for"
        return f"{in_words(late.total_seconds())} after it was {moment}{cause}"


def _found(asked: Asked, store: Store, run_id: str) -> Run:
    run = store.run(run_id) if len(run_id) <= 64 else None
    if run is None:
        raise NotFound("There is no such run; perhaps it is older than what is kept.")
    return really(store, asked.desk.state, run)


def _attempt(asked: Asked, run: Run) -> int:
    """Return which attempt of a Run is meant: the one that the address names, else the last."""
    last = max(run.attempt, 1)
    return asked.number("attempt", last, 1, last)


def page(asked: Asked, run_id: str, problem: str | None = None) -> Page:
    with asked.reading() as store:
        told = Told(asked, store, run_id)
    tail = Tail.end_of(asked.desk.state, told.run, told.attempt)
    trace = highlight_traceback(tail.data, asked.desk.docroot) if told.attempt_failed else None
    return Page(
        "run.html", told=told, tail=tail, trace=trace, **asked.filled_in(problem),
        **answering(problem), poll=told.poll,
    )  # fmt: skip


def as_json(asked: Asked, run_id: str) -> dict[str, Any]:
    with asked.reading() as store:
        return run_as_json(_found(asked, store, run_id))


# -- Output ------------------------------------------------------------------------------------


def output(asked: Asked, run_id: str) -> dict[str, Any]:
    """Return what a Run has printed since byte ``after``, as the page shows it."""
    with asked.reading() as store:
        run = _found(asked, store, run_id)
    after, style = asked.number("after", 0, 0, 10**17), asked.request.args.get("style", "")[:40]
    return Tail.from_place(asked.desk.state, run, _attempt(asked, run), after, style).as_json(run)


def raw(asked: Asked, run_id: str) -> Response:
    """Return the output as it was printed; as a file, for no browser is to make anything of it."""
    with asked.reading() as store:
        run = _found(asked, store, run_id)
    attempt = _attempt(asked, run)
    name = f"{run.id}.{attempt}.log" if attempt > 1 else f"{run.id}.log"
    return Response(
        b"".join(output_of(asked.desk.state, run, attempt).news()), content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename={name}"},
    )  # fmt: skip


# -- What can be done --------------------------------------------------------------------------


def act(asked: Asked, run_id: str) -> Page | Response:
    """Stop a Run, try it again now, or run its Schedule once more with the same arguments."""
    home, why = asked.home(), asked.field("why")
    try:
        match asked.field("do"):
            case "stop":
                with home.control() as control:
                    stopped = control.stop(run_id, asked.now, why=why)
                home.stop_runs(stopped)
            case "retry":
                run_id = _retry(asked, home, run_id, why)
            case _:
                raise NothingSaid
    except REFUSALS as error:
        return page(asked, run_id, str(error))
    return redirect(asked.links.run(run_id), 303)


def _retry(asked: Asked, home: SiteHome, run_id: str, why: str | None) -> str:
    """Have the next attempt now if the Run waits for it, else a Run like it; return the id of what will run."""
    with home.control() as control:
        run = _found(asked, control.store, run_id)
        if run.state == QUEUED and run.not_before is not None:
            control.retry_now(run_id, asked.now, why=why)
            return run_id
        arguments = json.loads(run.arguments)
        return control.run_now(run.schedule, asked.now, arguments=arguments, why=why, origin="console").id
