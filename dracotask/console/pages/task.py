"""A task: when it runs, how that went, what it is and what can be done about it."""

from __future__ import annotations

import json

from werkzeug import Response
from werkzeug.exceptions import NotFound
from werkzeug.utils import redirect

from ...arguments import handed
from ...errors import TaskNotFound
from ...homes.site import SiteHome
from ...model import FAILURES
from ...report.reading import runs_of
from ...report.shown import Shown
from ...report.source import definition
from ...report.words import STATES, about, action_in_words, parameter_in_words, title
from ...said import rule_said, until_said
from ..asked import REFUSALS, NothingSaid, Page, answering
from ..charts import history_chart
from ..rows import RunRow, badge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...control import Control
    from ...model import Schedule
    from ..asked import Asked

#: So many runs are drawn, and so many of the last listed, as is what was done; and so many of the last failures.
DRAWN, LISTED, FAILED = 100, 15, 5


class Field:
    """What ``run()`` takes under one name, as a form asks for it.

    :ivar value: what the Schedule hands over by itself, as a person would type it; or what has been typed.
    """

    def __init__(self, name: str, kind: str, needed: bool, arguments: dict[str, Any], typed: str | None) -> None:
        self.name, self.needed = name, needed and name not in arguments
        self.hint = parameter_in_words(kind, needed or name in arguments)
        value = arguments.get(name, "")
        handed = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        self.value = handed if typed is None else typed


def fields_of(schedule: Schedule, asked: Asked) -> list[Field]:
    arguments, typed = json.loads(schedule.arguments), asked.request.form
    return [
        Field(name, kind, needed, arguments, typed.get(f"arg.{name}"))
        for name, kind, needed in json.loads(schedule.parameters or "[]")
        if name != "**"
    ]


def page(asked: Asked, name: str | None = None, problem: str | None = None) -> Page | Response:
    name = _named(asked, name)
    with asked.reading() as store:
        try:
            shown = Shown(asked.desk, store, name, few=LISTED)
        except TaskNotFound as error:
            if store.runs(schedule=name, limit=1):
                return redirect(asked.links.to("runs", schedule=name))  # it was removed, and its Runs remember it
            raise NotFound(str(error)) from None
        recent = store.recent([name], DRAWN).get(name, [])
        failures = runs_of(store, shown.schedule, states=FAILURES, limit=FAILED)
    schedule = shown.schedule
    return Page(
        "task.html", shown=shown, schedule=schedule,
        title=title(schedule.name, schedule.task),
        rows=[RunRow(run, asked) for run in shown.runs], failures=[RunRow(run, asked) for run in failures],
        chart=history_chart(recent, asked.zone, asked.links.run),
        fields=fields_of(schedule, asked), is_held=bool(schedule.held_at or shown.notes.site_hold),
        source=definition(asked.desk.docroot, schedule.source),
        actions=[(each, action_in_words(each, asked.now, asked.zone)) for each in shown.actions],
        state=shown.last_run and STATES[shown.last_run.state], badge=shown.last_run and badge(shown.last_run.state),
        **asked.filled_in(problem), **answering(problem),
        poll=2 if shown.running or shown.queued else 15, about=about,
    )  # fmt: skip


def _named(asked: Asked, name: str | None) -> str:
    """Return which Schedule is meant, by the path or, where that could not hold it, by the query."""
    named = name if name is not None else asked.word("name", 250)
    if named is None:
        raise NotFound("The address names no task.")
    return named


def as_json(asked: Asked, name: str | None = None) -> dict[str, Any]:
    with asked.reading() as store:
        try:
            return Shown(asked.desk, store, _named(asked, name)).as_json()
        except TaskNotFound as error:
            raise NotFound(str(error)) from None


# -- What can be done --------------------------------------------------------------------------


def act(asked: Asked, name: str | None = None) -> Page | Response:
    """Do what a form of the page says."""
    name, home, deed = _named(asked, name), asked.home(), asked.field("do") or ""
    try:
        if deed == "run":
            return redirect(asked.links.run(_run(asked, home, name)), 303)
        if deed == "stop":
            _stop(asked, home, name)
        else:
            with home.control() as control:
                _steer(asked, control, deed, name)
    except REFUSALS as error:
        return page(asked, name, str(error).removeprefix("--until: "))
    return redirect(asked.links.to("") if deed == "remove" else asked.links.task(name), 303)


def _steer(asked: Asked, control: Control, deed: str, name: str) -> None:
    now, why = asked.now, asked.field("why")
    match deed:
        case "hold":
            until = asked.field("until")
            control.hold(name, now, until=until_said(until, now, asked.zone) if until else None, why=why)
        case "resume":
            control.resume(name, now, why=why)
        case "skip":
            control.skip_next(name, now, why=why)
        case "demand":
            control.demand(name, now, why=why, origin="console")
        case "reschedule":
            rule = asked.field("rule")
            if rule is None:
                raise ValueError("Say the rule: every 5m, cron 0 3 * * *, at 2027-01-31 14:00 …")
            control.reschedule(name, rule_said([rule], now, asked.zone, name), now, why=why)
        case "restore":
            control.reschedule(name, None, now, why=why)
        case "remove":
            control.remove(name, now, why=why)
        case _:
            raise NothingSaid


def _run(asked: Asked, home: SiteHome, name: str) -> str:
    """Queue a Run with what the form hands over; return its id."""
    form = asked.request.form
    with home.control() as control:
        schedule = control.find(name)
        said = {key[4:]: value for key, value in form.items() if key.startswith("arg.") and value != ""}
        arguments = json.loads(handed(schedule, said)) if said or "args" in form else None
        run = control.run_now(
            name, asked.now, arguments=arguments, while_held="while_held" in form, why=asked.field("why"),
            origin="console",
        )  # fmt: skip
        return run.id


def _stop(asked: Asked, home: SiteHome, name: str) -> None:
    with home.control() as control:
        stopped = control.stop(name, asked.now, why=asked.field("why"))
    home.stop_runs(stopped)
