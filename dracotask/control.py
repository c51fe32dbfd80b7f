"""Control: what people do to schedules while they run, over one open store.

Each verb is one durable transaction, in force with it for every worker and host, and leaves its
row: who, when, why. Nothing here executes: what a verb asks for, a tick and a supervisor bring
about.
"""

from __future__ import annotations

import json

from .arguments import refuse_misfit, written
from .clock import from_text, rfc3339, to_text
from .errors import ControlError, ScheduleNotFound, suggestion
from .model import ACTIVE, ANY_NUMBER, QUEUED, VERBS, Action, Policy, Schedule, new_run, new_run_id, waits_for_retry
from .planning import overlaid
from .steering import LONGEST_WHY, printable
from .stores.base import HOLD_NOTE
from .stores.holds import SiteHold, because
from .tick import Tick, following
from .triggers.after import circle, names_before, names_in_force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from .model import Run
    from .stores.base import Store
    from .triggers.base import Trigger

#: A name is read by people, and stands in every table.
LONGEST_NAME = 200

#: What of a dynamic Schedule can be changed.
CHANGEABLE = ("task", "trigger", "arguments", "policy", "description")

#: Under which name a Schedule keeps what is said of it under another.
_KEPT_AS = {"policy": "own_policy"}


class Control:
    """The verbs.

    :param by: who uses them, in words: "anna", "the console", "the task itself".
    :param log: is told what the site owner should know.
    """

    #: Whether somebody asks the classes again that have listed their fire times.
    lists_anew = False

    def __init__(self, store: Store, *, by: str, log: Callable[[str], None]) -> None:
        self.store, self.by = store, printable(by)[:LONGEST_NAME]
        self.tick = Tick(store, log)

    # -- Hold and resume -------------------------------------------------------------------

    def hold(
        self, name: str, now: datetime, *, until: datetime | None = None, why: str | None = None
    ) -> Schedule:
        """Let nothing of a Schedule be claimed or begun from now on. What is at work goes on.

        The hold belongs to the name: it outlives reloads, restarts and the task's absence. To hold what is held
        changes its end and its reason.

        :param until: when it ends by itself; None for when somebody resumes.
        :raises ScheduleNotFound, ControlError: no such Schedule; ``until`` is past.
        """
        _check_until(until, now)
        with self.store.transaction():
            schedule = self._settled_unless_held(self.find(name), now)
            held = schedule.but(
                held_at=schedule.held_at or now, held_by=self.by, held_why=_checked_why(why), held_until=until
            )
            return self._put(held, now, "hold", why, until=until and to_text(until))

    def resume(self, name: str, now: datetime, *, why: str | None = None) -> Schedule:
        """End the hold of a Schedule: what fell into it is one row of the history, and nothing comes in a burst.

        What was to be skipped is to be skipped no more. To resume what is neither held nor skips changes nothing.

        :raises ScheduleNotFound: no such Schedule.
        """
        with self.store.transaction():
            schedule = self.find(name)
            if not schedule.held_at and not schedule.skip_until:
                return schedule
            schedule = self.tick.present(schedule, now)
            if schedule.held_at:
                schedule = self.tick.end_hold(schedule, now)
            return self._put(schedule.but(skip_until=None, skip_why=None, failures=None), now, "resume", why)

    def hold_site(self, now: datetime, *, why: str | None = None) -> None:
        """Let nothing of the whole site be claimed or begun from now on, whatever is added meanwhile.

        To hold what is held changes the reason, if one is given.
        """
        said = _checked_why(why)
        with self.store.transaction():
            self.tick.claim_due(now, "tick")  # what is owed by now waits in the queue
            hold = SiteHold.of(self.store) or SiteHold(now, self.by, None)
            hold.why = said or hold.why
            hold.put(self.store)
            self._record("", 0, now, "hold", said, {})

    def resume_site(self, now: datetime, *, why: str | None = None) -> bool:
        """End the hold of the site; what fell into it is a row of each Schedule. Return False if it was not held."""
        with self.store.transaction():
            hold = SiteHold.of(self.store)
            if hold is None:
                return False
            self.store.put_note(HOLD_NOTE, None)
            self.tick.end_holds(now)
            for schedule in self.store.due(now):
                # As if each had been held by itself.
                held = schedule.but(held_at=now, held_by=f"{hold.by}, with the site", held_why=hold.why)
                self.tick.end_hold(held, now)
            self._record("", 0, now, "resume", _checked_why(why), {})
        return True

    # -- Rules of time -----------------------------------------------------------------------

    def skip_next(self, name: str, now: datetime, *, why: str | None = None) -> Schedule:
        """Skip the next fire time that is not skipped yet; it will be on record as skipped.

        :raises ScheduleNotFound, ControlError: no such Schedule; it has no fire time to come.
        """
        with self.store.transaction():
            schedule = self._settled_unless_held(self.find(name), now)
            upcoming = self.next_after_skips(schedule, now)
            if upcoming is None:
                raise ControlError(f"{schedule.name} has no fire time to come that could be skipped.")
            said = f"skipped by {self.by}{because(_checked_why(why))}"
            if schedule.skip_until and schedule.skip_until > now:
                said = _joined(schedule.skip_why, said)
            wanted = schedule.but(skip_until=upcoming, skip_why=said)
            return self._put(wanted, now, "skip_next", why, fire_time=to_text(upcoming))

    def next_after_skips(self, schedule: Schedule, now: datetime) -> datetime | None:
        """Return the next fire time that nobody has asked to skip, or None."""
        upcoming = schedule.next_fire_time
        if schedule.held_at:  # what falls into the hold is skipped anyway
            upcoming = self.tick.first_fire_time(schedule.in_force, schedule.held_until or now, schedule.watermark)
        if upcoming is None or schedule.in_force is None or schedule.vanished_at:
            return None
        skip_until = schedule.skip_until
        if skip_until and skip_until >= upcoming:
            return self.tick.trigger(schedule.in_force).next_after(skip_until)
        return upcoming

    def reschedule(
        self, name: str, trigger: Trigger | None, now: datetime, *, why: str | None = None
    ) -> Schedule:
        """Give a Schedule another Trigger.

        What the old one owes is claimed first. For a Task's own Schedule the new one counts until the file has
        another, or until None is given.

        :param trigger: None to go back to the one in the file.
        :raises ScheduleNotFound, ControlError: no such Schedule; the trigger never fires; a dynamic Schedule has no
            file to go back to.
        """
        with self.store.transaction():
            schedule = self.find(name)
            if trigger is None and not schedule.declared:
                raise ControlError(f"{name} was added at run time, and stands in no file whose rule could count again.")
            if trigger is not None:
                self._check_rule(trigger, now)
            settled = self.tick.settled(schedule, now)
            text = None if trigger is None else str(trigger)
            changed = settled.but(**{"override" if schedule.declared else "trigger": text, "skip_until": None})
            upcoming = self.tick.first_fire_time(changed.in_force, now, settled.watermark)
            return self._put(changed.but(next_fire_time=upcoming, skip_why=None), now, "reschedule", why, trigger=text)

    # -- Dynamic schedules -------------------------------------------------------------------

    def add(
        self,
        name: str,
        task: str,
        trigger: Trigger | None,
        now: datetime,
        *,
        arguments: Mapping[str, Any] | None = None,
        replace: bool = False,
        held: bool = False,
        policy: Mapping[str, Any] | None = None,
        why: str | None = None,
    ) -> Schedule:
        """Add a dynamic Schedule: a Task under a name of its own. It outlives reloads and restarts.

        :param task: the name of a Task.
        :param trigger: None for on demand only.
        :param arguments: what ``run()`` is handed by name; JSON has to know all of it.
        :param replace: whether a dynamic Schedule of that name may be there already; it is replaced then, and a
            Run of it that is at work goes on. A hold stays, for it belongs to the name.
        :param held: hold it from the start, until somebody resumes.
        :param policy: what is another than in the policy of the Task, by the keys of dracotask.toml.
        :raises ScheduleNotFound: there is no such Task.
        :raises ControlError: the name is taken or no name; the arguments do not fit; the trigger never fires.
        """
        _check_name(name)
        text_of_arguments, own = written(arguments or {}), own_policy(policy)
        if trigger is not None:
            self._check_rule(trigger, now)
        with self.store.transaction():
            template = self.template(task)
            refuse_misfit(task, template.parameters, arguments or {})
            present = self._replaceable(name, replace)
            text = None if trigger is None else str(trigger)
            blank = Schedule(name=name, declared=False, watermark=now, rev=0)
            settled = blank if present is None else self.tick.settled(present, now)
            added = settled.but(
                task=task, trigger=text, override=None, arguments=text_of_arguments, parameters=template.parameters,
                policy=overlaid(template.policy, own), own_policy=own, description=template.description,
                source=template.source, vanished_at=None,
                skip_until=None, skip_why=None, demand=None, failures=None,
                next_fire_time=self.tick.first_fire_time(text, now, settled.watermark),
            )  # fmt: skip
            stored = self._put(added, now, "add", why, task=task, trigger=text, arguments=text_of_arguments, policy=own)
            return self.hold(name, now, why=why) if held else stored

    def update(self, name: str, changes: Mapping[str, Any], now: datetime, *, why: str | None = None) -> Schedule:
        """Change a dynamic Schedule in anything but its name: all that is said, or nothing.

        What its old rule owes is claimed first, if it gets another. What is at work or queued stays as it is.

        :param changes: by attribute (:data:`CHANGEABLE`): ``task``, the name of a Task; ``trigger``, a Trigger, or
            None for on demand only; ``arguments`` and ``policy``, in place of those there were; ``description``.
        :raises ScheduleNotFound: there is no such Schedule, or no such Task.
        :raises ControlError: it is a Task's own; there is no such attribute; one of the values does not do.
        """
        refuse_unknown(changes)
        with self.store.transaction():
            schedule = self.find(name)
            if schedule.declared:
                raise ControlError(
                    f"{name} stands in the task file: give it another rule with reschedule, or change the file."
                )
            changed = self._changed(schedule, changes)
            trigger = changes.get("trigger")
            if trigger is not None:
                self._check_rule(trigger, now)
            if "trigger" in changes or changed["vanished_at"] != schedule.vanished_at:
                text = schedule.trigger if "trigger" not in changes else None if trigger is None else str(trigger)
                settled = self.tick.settled(schedule, now)
                upcoming = self.tick.first_fire_time(text, now, settled.watermark)
                new_rule = dict(trigger=text, next_fire_time=upcoming, skip_until=None, skip_why=None)
                schedule, changed = settled, {**changed, **new_rule}
            # (What there is none of any more is said too, or nobody could tell what was changed.)
            said = {key: changed.get(_KEPT_AS.get(key, key)) or "" for key in changes}
            return self._put(schedule.but(**changed), now, "update", why, **said)

    def _changed(self, schedule: Schedule, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return what becomes of a Schedule but for its rule, all of it checked.

        :raises ScheduleNotFound, ControlError: it cannot be.
        """
        task = changes.get("task", schedule.task)
        arguments = changes.get("arguments", json.loads(schedule.arguments))
        template = self.template(task)
        text_of_arguments = written(arguments or {})
        refuse_misfit(task, template.parameters, arguments or {})
        changed = {"task": task, "arguments": text_of_arguments, "parameters": template.parameters}
        changed["vanished_at"] = None
        changed["own_policy"] = own = own_policy(changes["policy"]) if "policy" in changes else schedule.own_policy
        changed["policy"] = overlaid(template.policy, own)
        if task != schedule.task:
            changed |= {"source": template.source, "description": template.description}
        if "description" in changes:
            changed["description"] = checked_description(changes["description"])
        return changed

    def remove(self, name: str, now: datetime, *, why: str | None = None) -> Schedule:
        """Remove a dynamic Schedule. What of it is queued is skipped; what is at work goes on.

        :return: the Schedule as it was.
        :raises ScheduleNotFound, ControlError: no such Schedule; it is a Task's own.
        """
        with self.store.transaction():
            schedule = self.find(name)
            if schedule.declared:
                raise ControlError(f"{name} stands in the task file: hold it, or take it out of the file.")
            if schedule.demand:  # or the end of a queued Run would bring the next
                self.store.put_schedule(schedule.but(demand=None))
            for run in self.store.active(name):
                if run.state == QUEUED:
                    self.store.skip(run, f"{name} was removed by {self.by}", now)
            present = self.find(name)
            self.store.remove_schedule(present)
            self._record(name, present.rev + 1, now, "remove", _checked_why(why), {"task": present.task})
            return present

    def remove_all(self, now: datetime, *, why: str | None = None) -> list[Schedule]:
        """Remove every dynamic Schedule, as :meth:`remove` does; return them as they were."""
        with self.store.transaction():
            names = [schedule.name for schedule in self.store.schedules() if not schedule.declared]
            removed = [self.remove(name, now, why=why) for name in names]
            self._record("", 0, now, "remove_all", _checked_why(why), {})
            return removed

    # -- Runs ----------------------------------------------------------------------------------

    def run_now(
        self,
        name: str,
        now: datetime,
        *,
        arguments: Mapping[str, Any] | None = None,
        while_held: bool = False,
        while_running: bool = False,
        why: str | None = None,
        origin: str = "api",
    ) -> Run:
        """Queue a Run of a Schedule, whose own fire times stay as they are.

        :param arguments: instead of the Schedule's; None for those.
        :param while_held: begin it although its Schedule, or the site, is held.
        :param while_running: begin it although another Run of it is at work; else it waits for that one's end.
        :raises ScheduleNotFound, ControlError: no such Schedule, or its Task is gone; it is held; the arguments do
            not fit.
        """
        with self.store.transaction():
            schedule = self.tick.present(self._runnable(name), now)
            if not while_held and (schedule.held_at or self.store.note(HOLD_NOTE)):
                who = f"held by {schedule.held_by}" if schedule.held_at else "held with the whole site"
                raise ControlError(f"{name} is {who}: resume it, or run it although it is held.")
            run = new_run(schedule, now, origin, by=self.by).but(despite_hold=while_held)
            if arguments is not None:
                run = run.but(arguments=written(arguments))
            refuse_misfit(name, schedule.parameters, json.loads(run.arguments))
            if while_running:
                policy = Policy.from_text(run.policy).but(max_instances=ANY_NUMBER)
                run = run.but(policy=policy.to_text())
            self.store.add_run(run)
            self._put(self.find(name), now, "run_now", why, run=run.id)
            return run

    def demand(self, name: str, now: datetime, *, why: str | None = None, origin: str = "demand") -> Run | None:
        """Have a Schedule run once more: at once, or when the Run that is active has ended.

        Several demands become one.

        :return: the queued Run; None when it comes after the present one.
        :raises ScheduleNotFound, ControlError: no such Schedule, or its Task is gone.
        """
        with self.store.transaction():
            schedule = self._runnable(name)
            refuse_misfit(name, schedule.parameters, json.loads(schedule.arguments))
            waiting = next((run for run in self.store.active(name) if _answers(run, schedule, now)), None)
            if waiting:  # begun later than this, it will do
                return waiting
            run = self.store.demand(name, new_run(schedule, now, origin, by=self.by))
            self._put(self.find(name), now, "demand", why, run=run and run.id)
            return run

    def retry_now(self, run_id: str, now: datetime, *, why: str | None = None) -> Run:
        """Have a Run that waits for its retry tried again at once, instead of when its policy says.

        :raises ControlError: there is no such Run, or it waits for none.
        """
        with self.store.transaction():
            run = self.store.run(run_id)
            if run is None or not waits_for_retry(run, now) or not self.store.try_now(run, now):
                raise ControlError(f"the run {run_id:.60} does not wait for a retry.")
            self._put(self.find(run.schedule), now, "retry_now", why, run=run.id)
            return self.store.run(run_id) or run

    def stop(
        self, word: str, now: datetime, *, why: str | None = None, grace: float | None = None
    ) -> list[Run]:
        """Ask that a Run, or all that are active of a Schedule, be stopped; return those that were asked.

        :param word: the id of a Run, or the name of a Schedule.
        :param grace: seconds between the polite request and KILL; None for those of the policy.
        :raises ScheduleNotFound: there is neither.
        """
        said = _checked_why(why)
        with self.store.transaction():
            run = self.store.run(word)
            runs = [run] if run else self._all_of(word)
            asked = [run for run in runs if run.state in ACTIVE and self._ask(run, now, said, grace)]
            for run in asked:
                schedule = self.store.schedule(run.schedule)
                if schedule:
                    self._put(schedule, now, "stop", said, run=run.id)
            return asked

    def _all_of(self, name: str) -> list[Run]:
        """Return what is active of a Schedule, and forget that more of it was demanded."""
        schedule = self.find(name)
        if schedule.demand:
            self.store.put_schedule(schedule.but(demand=None))
        return self.store.active(name)

    def _ask(self, run: Run, now: datetime, why: str | None, grace: float | None) -> bool:
        return self.store.request_stop(run.id, by=self.by, why=why, now=now, grace=grace) is not None

    # -- From within ---------------------------------------------------------------------------

    def steer(self, name: str, verb: str, details: Mapping[str, str | None], now: datetime) -> None:
        """Do what a Run wants done to its own Schedule, in the words of :class:`~.steering.Steering`.

        :raises DracotaskError, ValueError: it cannot be done.
        """
        until, trigger, why = details.get("until"), details.get("trigger"), details.get("why")
        match verb:
            case "hold":
                self.hold(name, now, until=from_text(until) if until else None, why=why)
            case "resume":
                self.resume(name, now, why=why)
            case "demand":
                self.demand(name, now, why=why)
            case "reschedule":
                self.reschedule(name, self.tick.trigger(trigger) if trigger else None, now, why=why)
            case "unschedule" if self.find(name).declared:
                self.hold(name, now, why=why)
            case "unschedule":
                self.remove(name, now, why=why)
            case _:
                raise ControlError(f"there is no such verb as {verb!r:.40}.")

    # -- Finding and checking --------------------------------------------------------------------

    def find(self, name: str) -> Schedule:
        """Return the Schedule of that name, vanished or not.

        :raises ScheduleNotFound: there is none; with the likeliest name. TypeError: it is no text.
        """
        if not isinstance(name, str):
            raise TypeError(f"{name!r:.80} is no name of a schedule: give a text, such as the name of the task.")
        schedule = self.store.schedule(name)
        if schedule is None:
            raise ScheduleNotFound(name, [schedule.name for schedule in self.store.schedules()])
        return schedule

    def _runnable(self, name: str) -> Schedule:
        schedule = self.find(name)
        if schedule.vanished_at:
            moment = rfc3339(schedule.vanished_at.replace(microsecond=0))
            raise ControlError(f"the task of {name} has been gone from the file since {moment}.")
        return schedule

    def template(self, task: str) -> Schedule:
        """Return the declared Schedule of a Task, whose policy a dynamic one shares."""
        schedule = self.store.schedule(task)
        if schedule is None or not schedule.declared or schedule.vanished_at:
            known = [one.name for one in self.store.schedules() if one.declared and not one.vanished_at]
            raise ScheduleNotFound(task, known, kind="task")
        return schedule

    def _replaceable(self, name: str, replace: bool) -> Schedule | None:
        present = self.store.schedule(name)
        if present and present.declared:
            raise ControlError(f"{name} is the name of a task: a schedule that is added needs one of its own.")
        if present and not replace:
            raise ControlError(f"{name} is there already, of task {present.task}: remove it, or replace it.")
        return present

    def _check_rule(self, trigger: Trigger, now: datetime) -> None:
        """Refuse a rule that never fires again, or that cannot be kept up here."""
        from .triggers.listed import is_listed

        if not self.lists_anew and is_listed(str(trigger)):
            raise ControlError(
                "a list of fire times is made by the class itself, and goes with the task file: call"
                " schedule(trigger=…) there."
            )
        _check_fires(trigger, now)

    # -- Acting ------------------------------------------------------------------------------------

    def _settled_unless_held(self, schedule: Schedule, now: datetime) -> Schedule:
        """Return the Schedule settled, while nothing is held or away: what falls into a hold is told when that ends."""
        schedule = self.tick.present(schedule, now)
        is_open = not schedule.held_at and not schedule.vanished_at and self.store.note(HOLD_NOTE) is None
        return self.tick.settled(schedule, now) if is_open else schedule

    def _put(self, schedule: Schedule, now: datetime, verb: str, why: str | None, **details: object) -> Schedule:
        """Write a Schedule with the row of its verb; return it as it is now stored."""
        schedule = following(schedule)
        if schedule.after is not None and verb in ("add", "update", "reschedule"):
            self._refuse_circle(schedule)
        if not self.store.put_schedule(schedule):
            raise ControlError(f"{schedule.name} is being changed by somebody else: try again.")
        written = self.find(schedule.name)
        said = {key: value for key, value in details.items() if value is not None}
        self._record(schedule.name, written.rev, now, verb, _checked_why(why), said)
        return written

    def _refuse_circle(self, schedule: Schedule) -> None:
        """Refuse a rule with which Schedules would run after each other for ever."""
        others = [each for each in self.store.schedules() if each.name != schedule.name]
        if way := circle(schedule.name, names_in_force([*others, schedule])):
            raise ControlError(f"{' after '.join(way)}: they would run after each other for ever.")

    def _record(
        self, name: str, rev: int, now: datetime, verb: str, why: str | None, details: dict[str, Any]
    ) -> None:
        action = Action(
            id=new_run_id(), at=now, schedule=name, rev=rev, verb=verb, by=self.by, why=why, details=json.dumps(details)
        )
        self.store.add_action(action)


def refuse_unknown(changes: Mapping[str, Any], known: Sequence[str] = CHANGEABLE) -> None:
    """Refuse to change what is no attribute that could be changed, or nothing at all.

    :param known: the attributes, and other words for them.
    :raises ControlError: with the likeliest attribute.
    """
    if not changes:
        raise ControlError(f"say what is to change: {', '.join(CHANGEABLE)}.")
    for key in changes:
        if key == "name":
            raise ControlError("a schedule keeps its name, which its history knows: remove it and add another.")
        if key not in known:
            raise ControlError(f"a schedule has no {key!r:.60} that could be changed.{suggestion(key, [*known])}")


def checked_description(text: object) -> str:
    """Return a description as it is kept: on one line.

    :raises ControlError: it is no text, or too long.
    """
    if not isinstance(text, str):
        raise ControlError(f"description={text!r:.60} is a {type(text).__name__}, and no text.")
    if len(text) > LONGEST_WHY:
        raise ControlError(f"a description of {len(text)} letters is too long: {LONGEST_WHY} are the most.")
    return printable(text)


def own_policy(said: Mapping[str, Any] | None) -> str | None:
    """Return what is said of a Schedule's own policy as it is kept; None for nothing.

    :raises ControlError: there is no such policy, or it makes no sense, with what would.
    """
    if said is not None and not hasattr(said, "items"):
        raise ControlError(f"policy={said!r:.60} is none: write policy={{'grace': '5m'}}.")
    if not said:
        return None
    from .keys import read_policy

    try:
        return json.dumps(read_policy(said))
    except ValueError as error:
        raise ControlError(str(error)) from None


def _check_until(until: datetime | None, now: datetime) -> None:
    if until is not None and until <= now:
        moment = rfc3339(until.replace(microsecond=0))
        raise ControlError(f"until {moment} is past: a hold ends later than now, or when somebody resumes.")


def _check_fires(trigger: Trigger, now: datetime) -> None:
    if trigger.next_after(now) is None and not names_before(trigger):
        raise ControlError(f"'{str(trigger)[:200]}' never fires again: its last moment is past.")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name != name.strip():
        raise ControlError(f"{name!r:.80} cannot be a name: write letters, on one line, with no space at either end.")
    if name in VERBS or name.startswith("-"):
        raise ControlError(f"{name!r:.80} cannot be a name: on a command line it would mean something else.")
    if len(name) > LONGEST_NAME:
        raise ControlError(f"a name of {len(name)} letters is too long: {LONGEST_NAME} are the most.")


def _checked_why(why: str | None) -> str | None:
    """Return a reason as it goes on record: on one line and not too long; None when none is given."""
    if not why:
        return None
    if not isinstance(why, str):
        raise TypeError(f"why={why!r:.60} is a {type(why).__name__}, and no text.")
    words = printable(why)
    if len(words) > LONGEST_WHY:
        raise ControlError(f"a reason of {len(words)} letters is too long: {LONGEST_WHY} are the most.")
    return words or None


def _joined(before: str | None, said: str) -> str:
    """Return why several fire times are skipped: each reason once, and the last alone when they are too long."""
    if before is None:
        return said
    if any(reason == said or reason.startswith(f"{said}:") for reason in before.split("; ")):
        return before
    joined = f"{before}; {said}"
    return joined if len(joined) <= LONGEST_WHY else said


def _answers(run: Run, schedule: Schedule, now: datetime) -> bool:
    """Tell whether a Run that is still to begin is just what a demand for the Schedule would bring."""
    is_next = run.state == QUEUED and not waits_for_retry(run, now)
    return is_next and (run.arguments, run.policy) == (schedule.arguments, schedule.policy)
