"""Tasks, the first page: every task with its last result, when it runs next, and a button."""

from __future__ import annotations

import json
from collections import Counter

from werkzeug import Response
from werkzeug.utils import redirect

from ...arguments import misfit
from ...filters import mentions
from ...model import FAILURES, LOST, RUNNING, Run
from ...report.banners import banners
from ...report.lines import LESSON, mark_of, rank_of
from ...report.pace import eta, share_done
from ...report.reading import Notes, next_queued, really, schedule_as_json
from ...report.source import SourceLine, around
from ...report.words import (
    STATES,
    about,
    duration,
    failure_in_words,
    is_late,
    last_in_words,
    next_in_words,
    progress_in_words,
    retry_in_words,
    rule_in_words,
    title,
    what_it_told,
)
from ...state import TASK_FILE
from ..asked import REFUSALS, ROWS, NothingSaid, Page, answering
from ..charts import MOST_IN_ROW
from ..rows import badge
from .pager import Pager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ...model import Schedule
    from ...stores.base import Store
    from ...stores.reading import Glance
    from ..asked import Asked
    from ..drawings import Drawing

#: What the list can be narrowed to.
MATTERS = ("failed", "late", "running", "held", "on demand", "gone")

#: So many Runs that wait, the newest, are looked at, for what is said of them.
MOST_QUEUED = 500


class Board:
    """All schedules at a glance, and the rows of one page of them."""

    def __init__(self, asked: Asked, store: Store) -> None:
        self.asked, self.store = asked, store
        self.notes = Notes(store)
        self.site_held = self.notes.site_hold is not None
        self.late_after: float = asked.desk.config.late_after
        self.glances = store.glances()
        found = (really(store, asked.desk.state, run) for run in store.running())
        self.at_work = [run for run in found if run.state == RUNNING]
        self.running = {run.schedule: run for run in self.at_work}
        self.queued = next_queued(store, MOST_QUEUED)
        self.marks = {glance.name: self._mark(glance) for glance in self.glances}
        self.text, self.state = asked.word("q"), asked.word("state")
        chosen = [glance for glance in self.glances if self._is_wanted(glance)]
        chosen.sort(key=lambda glance: rank_of(glance, self.marks[glance.name]))
        self.pager = Pager(len(chosen), asked)
        shown = chosen[self.pager.first : self.pager.first + ROWS]
        self.rows = self._rows(shown)
        self.counts = Counter(matter for glance in self.glances for matter in self._matters_of(glance))

    def _mark(self, glance: Glance) -> str:
        with_site = self.site_held and not glance.held_at and not glance.vanished_at
        late = is_late(glance, self.asked.now, self.late_after)
        return mark_of(glance, self._last_state(glance), late, with_site)

    def _last_state(self, glance: Glance) -> str | None:
        if glance.name in self.running:
            return RUNNING
        return LOST if glance.last_state == RUNNING else glance.last_state

    def _is_wanted(self, glance: Glance) -> bool:
        if self.state and self.state not in self._matters_of(glance):
            return False
        return not self.text or mentions(glance, self.text.casefold())

    def _matters_of(self, glance: Glance) -> Iterator[str]:
        """Yield all that is the matter with a schedule, of :data:`MATTERS`."""
        if glance.vanished_at:
            yield "gone"
            return
        if self._last_state(glance) in FAILURES:
            yield "failed"
        if not self.site_held and is_late(glance, self.asked.now, self.late_after):
            yield "late"
        if glance.name in self.running:
            yield "running"
        if glance.held_at:
            yield "held"
        if glance.in_force is None:
            yield "on demand"

    def _rows(self, shown: list[Glance]) -> list[Row]:
        if not shown:
            return []
        names, state = [glance.name for glance in shown], self.asked.desk.state
        schedules = {schedule.name: schedule for schedule in self.store.schedules(names)}
        last_runs = self.store.last_runs(names)
        at_work: dict[str, list[str]] = {}
        for run in self.at_work:
            at_work.setdefault(run.schedule, []).append(run.id)
        drawings = self.asked.drawings.of(self.store, shown, at_work)
        return [
            Row(self, schedules[name], run and really(self.store, state, run), drawings[name])
            for name in names
            if name in schedules
            for run in [self.running.get(name) or last_runs.get(name)]
        ]

    @property
    def present(self) -> list[Glance]:
        return [glance for glance in self.glances if not glance.vanished_at]

    @property
    def is_busy(self) -> bool:
        """Whether something is at work or about to be: then the page is looked at more often."""
        return bool(self.running or self.queued)


class Row:
    """One schedule, as its row tells it."""

    def __init__(self, board: Board, schedule: Schedule, run: Run | None, drawing: Drawing) -> None:
        now, zone = board.asked.now, board.asked.zone
        queued = board.queued.get(schedule.name)
        self.schedule, self.run, self.queued = schedule, run, queued
        self.title = title(schedule.name, schedule.task)
        self.words = rule_in_words(schedule)
        self.mark, self.site_held = board.marks[schedule.name], board.site_held
        self.is_late = is_late(schedule, now, board.late_after) and not board.site_held
        self.next_words, self.next_short = next_in_words(schedule, now, zone, board.late_after)
        if board.site_held and not schedule.held_at and not schedule.vanished_at:
            self.next_words = self.next_short = "held with the site"
        elif queued is not None and not schedule.held_at:
            waits = f"queued {about(max((now - queued.queued_at).total_seconds(), 0))}"
            self.next_words = self.next_short = retry_in_words(queued, now, zone) or waits
        elif run is not None and run.state == RUNNING and schedule.next_fire_time is None and schedule.in_force:
            self.next_words = self.next_short = "when it ends"
        self.when = last_in_words(run, now, zone)[1]
        self.is_running = run is not None and run.state == RUNNING
        self.bars, self.usual = drawing
        self._tell(board)

    def _tell(self, board: Board) -> None:
        """Say how the last Run ended, or how far it is."""
        run, queued = self.run, self.queued
        self.state = self.badge = self.told = ""
        self.took: float | None = None
        self.share: float | None = None
        self.left: float | None = None
        if run is not None:
            self._tell_of(run, board)
        if queued is not None and queued.not_before and queued.error:
            # (In another colour than what has failed for good, and is counted above the list.)
            self.state, self.badge, self.told = "failed", "w", failure_in_words(queued).removeprefix("failed: ")

    def _tell_of(self, run: Run, board: Board) -> None:
        self.state = STATES.get(run.state, run.state)
        self.badge = badge(run.state)
        self.took = duration(run)
        self.told = what_it_told(run)
        if self.is_running:
            self.told = progress_in_words(run)
            self.share = share_done(run)
            self.left = eta(run, board.asked.now, self.usual)
            if run.stop_at:
                self.state = "stopping"

    @property
    def must_ask(self) -> bool:
        """Whether it cannot be run without somebody saying more: what is handed over, or that it is although held."""
        return self.site_held or misfit(self.schedule.parameters, json.loads(self.schedule.arguments)) is not None


def page(asked: Asked, problem: str | None = None) -> Page:
    with asked.reading() as store:
        board = Board(asked, store)
        told = list(banners(asked.desk, board.notes, board.glances, asked.now, asked.zone))
    return Page(
        "tasks.html", **answering(problem), board=board, banners=told,
        poll=2 if board.is_busy else 15, matters=MATTERS, bars=MOST_IN_ROW, lesson=LESSON.splitlines(),
        excerpt=_excerpt(asked, board),
    )  # fmt: skip


def _excerpt(asked: Asked, board: Board) -> list[SourceLine]:
    """Return the lines around the one for which the task file is not in force."""
    if not board.notes.problem:
        return []
    return around(asked.desk.docroot, TASK_FILE, board.notes.problem)


def as_json(asked: Asked) -> list[dict[str, Any]]:
    with asked.reading() as store:
        last_runs, state = store.last_runs(), asked.desk.state
        queued = next_queued(store, MOST_QUEUED)
        return [
            schedule_as_json(each, run and really(store, state, run), queued.get(each.name))
            for each in store.schedules()
            for run in [last_runs.get(each.name)]
        ]


def act(asked: Asked) -> Page | Response:
    """Do what a button of the list, or of the whole site, says."""
    form, home = asked.request.form, asked.home()
    why = asked.field("why")
    try:
        with home.control() as control:
            if name := form.get("run"):
                run = control.run_now(name, asked.now, origin="console")
                return redirect(asked.links.run(run.id), 303)
            if name := form.get("resume"):
                control.resume(name, asked.now)
            elif form.get("site") == "hold":
                control.hold_site(asked.now, why=why)
            elif form.get("site") == "resume":
                control.resume_site(asked.now, why=why)
            else:
                raise NothingSaid
    except REFUSALS as error:
        return page(asked, str(error))
    return redirect(asked.links.to("", **_kept(asked.request.args.items())), 303)


def _kept(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in query if name in ("q", "state", "page")}
