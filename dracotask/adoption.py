"""Adoption: what a load has found becomes the set of schedules in force."""

from __future__ import annotations

from .clock import from_text, is_within, timedelta, to_text
from .model import Schedule
from .planning import overlaid
from .run.supervisor import FILES_NOTE, PROBLEM_NOTE
from .stores.base import BROKEN_NOTE, CODE_NOTE, LISTENERS_NOTE
from .tick import Tick, following

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from .model import Declaration
    from .run.load import Loaded
    from .state import State
    from .stores.base import Store

#: A name or file that is gone counts only after so long: editors and git take a file away for an instant.
GONE_PATIENCE = timedelta(seconds=2)

#: Of the text of a rule the log shows so many letters.
LONGEST_RULE = 200

#: The note that holds what the site owner should know of the time zone.
WARNING_NOTE = "warning"

_GONE_NOTE = "gone_since"

#: Who holds a Schedule that starts held.
HOLDER = "the task file"


class Adoption:
    """Makes declarations true, over one open store."""

    def __init__(self, state: State, store: Store) -> None:
        self.state, self.store = state, store
        self.tick = Tick(store, state.log)

    def must_load(self, is_current: bool, now: datetime) -> bool:
        """Tell whether the task file is to be loaded: it changed, never was, or lacked something just now."""
        gone_since = self.store.note(_GONE_NOTE)
        return not is_current or (gone_since is not None and not is_within(GONE_PATIENCE, gone_since, now))

    def adopt(self, loaded: Loaded, now: datetime) -> None:
        """Make what a load found the set in force; a file with a problem changes only what is told of it."""
        with self.store.transaction():
            self.store.put_note(FILES_NOTE, loaded.stamps)
            known_problem = self.store.note(PROBLEM_NOTE)
            self.store.put_note(PROBLEM_NOTE, loaded.problem)
            self._put_down_break(known_problem, loaded.problem, now)
            if loaded.problem:
                if loaded.problem != known_problem:
                    self.state.log(f"{self.state.task_file} is broken, and the last good set stays: {loaded.problem}")
                # What is gone from a broken file nobody can tell: left standing, it would be looked for for ever.
                self.store.put_note(_GONE_NOTE, None)
                self._hear(loaded, but_listeners=True)
                return
            self.store.put_note(WARNING_NOTE, loaded.warning)
            self.store.put_note(CODE_NOTE, loaded.code)
            self._hear(loaded)
            changes = [change for declared in loaded.declared if (change := self._declare(declared, now))]
            changes += self._drop({declared.name for declared in loaded.declared}, now)
            changes += self._follow(now)
            if changes:
                self._warn_of_followers(loaded.declared)
        if changes or known_problem:
            news = ", ".join(changes) or ("mended, nothing else new" if loaded.has_file else "it is gone")
            self.state.log(f"Loaded {self.state.task_file}: {news}.")

    def _put_down_break(self, before: str | None, problem: str | None, now: datetime) -> None:
        """Put down since when the file is broken, or until when it was: what has waited meanwhile is late for that."""
        if problem and not before:
            self.store.put_note(BROKEN_NOTE, to_text(now))
        elif before and not problem and (since := self.store.note(BROKEN_NOTE)):
            self.store.put_note(BROKEN_NOTE, f"{since.partition(chr(9))[0]}\t{to_text(now)}")

    def _declare(self, declared: Declaration, now: datetime) -> str | None:
        """Make one declaration true; return what changed, as the log says it, or None."""
        present = self.store.schedule(declared.name)
        if present is None:
            self.store.put_schedule(self._first_sight(declared, now))
            self._tell("ScheduleAdded", declared.name, now)
            return f"+ {declared.name} ({_in_short(declared.trigger)})"
        if not present.declared:
            present = self._take_name(self.tick.settled(present, now))
        if present.trigger != declared.trigger or present.vanished_at:
            renewed = self._listed_anew(present, declared, now)
            if renewed is None:
                return self._redeclare(present, declared, now)
            self._put_if_changed(present, renewed)
            return None
        self._put_if_changed(present, _with(present, declared))
        return None

    def _first_sight(self, declared: Declaration, now: datetime) -> Schedule:
        upcoming = self.tick.first_fire_time(declared.trigger, now, None)
        return as_declared(declared, now).but(watermark=now, next_fire_time=upcoming)

    def _take_name(self, dynamic: Schedule) -> Schedule:
        """Let the Task of a file have the name that a dynamic Schedule had; a hold stays, for it is the name's."""
        self.state.log(f"{dynamic.name} was added for task {dynamic.task}; now a task of that name takes its place.")
        own = dynamic.but(declared=True, task=dynamic.name, arguments="{}", own_policy=None)
        self.store.put_schedule(own)
        return self.store.schedule(dynamic.name) or dynamic

    def _listed_anew(self, present: Schedule, declared: Declaration, now: datetime) -> Schedule | None:
        """Return a Schedule whose rule is the same, and its fire times listed anew; None when it is another rule.

        What is due by the old list stays so, and so does an operator's rule.
        """
        if present.vanished_at or present.trigger is None or declared.trigger is None:
            return None
        from .triggers.listed import carried_on

        upcoming = present.next_fire_time
        text = carried_on(present.trigger, declared.trigger, upcoming or now, now)
        if text is None:
            return None
        if present.override is None and (upcoming is None or upcoming > now):
            upcoming = self.tick.next_or_put_off(text, now, present.watermark)
        return _with(present, declared.but(trigger=text)).but(next_fire_time=upcoming)

    def list_again_at(self, loaded: Loaded, now: datetime) -> datetime | None:
        """Return when a class that has listed its fire times is to be asked again; None when none has."""
        from .triggers.listed import is_listed, relist_at

        texts = [declared.trigger for declared in loaded.declared if is_listed(declared.trigger)]
        moments = [relist_at(self.tick.trigger(text), now) for text in texts if text]
        return min((moment for moment in moments if moment), default=None)

    def _redeclare(self, present: Schedule, declared: Declaration, now: datetime) -> str:
        """Take over a changed trigger, or a name that came back, once the old one's due times are settled."""
        present = self.tick.settled(present, now)
        # An operator's rule stands until the file has another.
        override = present.override if present.trigger == declared.trigger else None
        wanted = _with(present, declared).but(override=override, vanished_at=None)
        if wanted.in_force != present.in_force or present.vanished_at:
            upcoming = self.tick.next_or_put_off(wanted.in_force, now, present.watermark)
            wanted = wanted.but(next_fire_time=upcoming, skip_until=None, skip_why=None)
        self._put_if_changed(present, following(wanted))
        self._tell("ScheduleAdded" if present.vanished_at else "ScheduleRescheduled", declared.name, now)
        sign = "+ back:" if present.vanished_at else "~"
        return f"{sign} {declared.name} ({_in_short(declared.trigger)})"

    def _follow(self, now: datetime) -> list[str]:
        """Let dynamic Schedules share the lot of their Task: its policy, its absence and its return."""
        schedules = self.store.schedules()
        tasks = {schedule.name: schedule for schedule in schedules if schedule.declared}
        changes = []
        for schedule in schedules:
            task = tasks.get(schedule.task)
            if schedule.declared or task is None:
                continue
            if schedule.vanished_at and not task.vanished_at:
                schedule = self.tick.settled(schedule, now)
                upcoming = self.tick.next_or_put_off(schedule.trigger, now, schedule.watermark)
                schedule = schedule.but(next_fire_time=upcoming)
                changes.append(f"+ back: {schedule.name}")
            elif task.vanished_at and not schedule.vanished_at:
                changes.append(f"- {schedule.name}")
            facts: dict[str, Any] = {name: getattr(task, name) for name in ("parameters", "vanished_at")}
            facts["policy"] = overlaid(task.policy, schedule.own_policy)
            was_there = not schedule.vanished_at
            self._put_if_changed(self.store.schedule(schedule.name) or schedule, schedule.but(**facts))
            if was_there == bool(task.vanished_at):
                self._tell("ScheduleRemoved" if was_there else "ScheduleAdded", schedule.name, now)
        return changes

    # -- Listeners and followers -----------------------------------------------------------

    def _hear(self, loaded: Loaded, *, but_listeners: bool = False) -> None:
        """Put down who listens. What waits to be told to nobody is forgotten, and the first to come hears no past.

        :param but_listeners: only for whom pings and alerts are: nobody knows whom a broken file has listen.
        """
        before = self.store.note(LISTENERS_NOTE) or ""
        if not (before or loaded.listeners or loaded.alerts):
            return
        from .events import ALERTS, LISTENERS
        from .stores.outbox import wanted_by

        had = {audience: wanted_by(audience, before) for audience in (LISTENERS, ALERTS)}
        has = {LISTENERS: had[LISTENERS] if but_listeners else loaded.listeners, ALERTS: loaded.alerts}
        if had == has:
            return
        self.store.put_note(LISTENERS_NOTE, "\n".join(filter(None, has.values())) or None)
        for audience in has:
            while not (had[audience] and has[audience]) and (waiting := self.store.events(1000, audience)):
                self.store.forget_events([row.number for row in waiting])

    def _tell(self, kind: str, name: str, now: datetime) -> None:
        if self.store.listeners() and (schedule := self.store.schedule(name)):
            self.store.tell_of_schedule(kind, schedule, now, "the task file", trigger=schedule.in_force)

    def _warn_of_followers(self, declared: list[Declaration]) -> None:
        """Say which names come before another and are nobody's, for they may still be added; and what goes in a circle.

        (Within the file that is refused; here it goes through what was added at run time.)
        """
        for task in declared:
            schedule = self.store.schedule(task.name) if "after " in (task.trigger or "") else None
            for name in (schedule.after if schedule and schedule.after else "").strip(",").split(","):
                if name and self.store.schedule(name) is None:
                    why = "and there is no task or schedule of that name yet"
                    self.state.log(f"{task.name} comes after {name}, {why}.")
            if schedule and schedule.after:
                self._warn_of_circle(schedule)

    def _warn_of_circle(self, schedule: Schedule) -> None:
        from .triggers.after import circle, names_in_force

        if way := circle(schedule.name, names_in_force(self.store.schedules())):
            self.state.log(f"{' after '.join(way)}: they run after each other for ever. Reschedule or remove one.")

    def _drop(self, names: Iterable[str], now: datetime) -> list[str]:
        """Let the declared schedules that are in ``names`` no more vanish; return what changed."""
        gone = [s for s in self.store.schedules() if s.declared and not s.vanished_at and s.name not in names]
        gone_since = self.store.note(_GONE_NOTE)
        if not gone:
            self.store.put_note(_GONE_NOTE, None)
            return []
        if gone_since is None:
            self.store.put_note(_GONE_NOTE, to_text(now))
            return []
        if is_within(GONE_PATIENCE, gone_since, now):
            return []
        self.store.put_note(_GONE_NOTE, None)
        for schedule in gone:
            self.store.put_schedule(schedule.but(vanished_at=now))
            self._tell("ScheduleRemoved", schedule.name, now)
        return [f"- {schedule.name}" for schedule in gone]

    def _put_if_changed(self, present: Schedule, wanted: Schedule) -> None:
        if wanted != present:
            self.store.put_schedule(wanted)

    def next_look(self, now: datetime | None = None) -> datetime | None:
        """Return the moment when something is due next, or None when nothing is.

        :param now: as in :meth:`~.stores.base.Store.next_fire_time`.
        """
        moments = [self.store.next_fire_time(now)]
        if gone_since := self.store.note(_GONE_NOTE):
            moments.append(from_text(gone_since) + GONE_PATIENCE)
        return min((moment for moment in moments if moment), default=None)


def as_declared(declared: Declaration, now: datetime) -> Schedule:
    """Return the Schedule of a Task as it is when it is first seen, but for its fire times."""
    blank = Schedule(name=declared.name, task=declared.name, declared=True, arguments="{}", rev=0)
    if declared.start_held:
        blank = blank.but(held_at=now, held_by=HOLDER, held_why="start_held")
    return _with(blank, declared)


def _in_short(trigger: str | None) -> str:
    """Return a rule as the log says it; a list of dates can be long."""
    if trigger is None:
        return "on demand"
    return trigger if len(trigger) <= LONGEST_RULE else f"{trigger[:LONGEST_RULE]}…"


def _with(schedule: Schedule, declared: Declaration) -> Schedule:
    facts = {name: getattr(declared, name) for name in ("trigger", "parameters", "description", "source")}
    return following(schedule.but(**facts, policy=overlaid(declared.policy, schedule.own_policy)))
