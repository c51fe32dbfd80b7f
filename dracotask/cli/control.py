"""The verbs that change something while the site is at work, each told by a sentence of what is so now."""

from __future__ import annotations

import json
from contextlib import contextmanager

from ..arguments import handed
from ..clock import utc_now
from ..control import Control
from ..errors import ControlError, ScheduleNotFound
from ..model import RUNNING
from ..report.banners import next_look
from ..report.reading import Reading, open_to_read
from ..report.why import obstacles
from ..report.words import arguments_in_words, moment_in_words, schedule_in_words, soon_in_words
from ..run.supervisor import FILES_NOTE
from ..said import arguments_said, policy_said, rule_said, until_said
from ..state import is_current
from ..visible import visible_line
from .running import caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any
    from zoneinfo import ZoneInfo

    from ..model import Schedule
    from ..stores.base import Store
    from .invocation import Invocation


@contextmanager
def controlling(invocation: Invocation, store: Store | None = None) -> Iterator[Control]:
    """Yield the verbs over the site's open store; afterwards somebody is to look at what they brought about.

    :param store: open; None for the one that is there.
    """
    state = invocation.to_act().state
    with store or open_to_read(invocation) as opened:
        try:
            yield Control(opened, by=caller(), log=state.log)
        except ScheduleNotFound as error:
            files = opened.note(FILES_NOTE)
            if files is None or not is_current(files):
                remedy = f"{state.task_file} has changed since it was loaded: {invocation.command('load')}"
                error.args = (f"{error} {remedy}",)
            raise
    have_somebody_look(invocation)


def have_somebody_look(invocation: Invocation) -> None:
    """Have the next look taken at once, unless it is overdue: since when is what a site owner wants to know."""
    moment = next_look(invocation.state)
    if moment is not None and moment > utc_now():
        invocation.state.look_now()


def open_to_hold(invocation: Invocation) -> Store:
    """Open the store of a site that may be held before anybody has looked at it."""
    site = invocation.to_act()
    site.prepare()
    return site.open_store()


def _say(*sentences: str) -> None:
    print(visible_line(" ".join(sentence for sentence in sentences if sentence)))


def _because(why: str | None) -> str:
    return f": {why.rstrip('.')}." if why else "."


# -- Hold and resume ---------------------------------------------------------------------------


def hold(invocation: Invocation, name: str, until: str | None, why: str | None) -> None:
    now, zone = utc_now(), invocation.zone()
    with controlling(invocation) as control:
        held = control.hold(name, now, until=None if until is None else until_said(until, now, zone), why=why)
        at_work = any(run.state == RUNNING for run in control.store.active(name))
    end = f" until {moment_in_words(held.held_until, now, zone)} ({zone.key})" if held.held_until else ""
    _say(
        f"{name} is held by {held.held_by}{end}{_because(held.held_why)}",
        "Its run that is at work goes on." if at_work else "",
        f"Resume it: {invocation.command('resume', name)}",
    )


def hold_site(invocation: Invocation, why: str | None) -> None:
    with controlling(invocation, open_to_hold(invocation)) as control:
        control.hold_site(utc_now(), why=why)
        at_work = Reading(control.store, invocation.state).running
    _say(
        f"The whole site is held by {caller()}{_because(why)}",
        "What is at work goes on." if at_work else "",
        f"Resume it: {invocation.command('resume', '--all')}",
    )


def resume(invocation: Invocation, name: str, why: str | None) -> None:
    now, zone = utc_now(), invocation.zone()
    with controlling(invocation) as control:
        before = control.find(name)
        was_held, skipped = before.held_at is not None, before.skip_until is not None
        resumed = control.resume(name, now, why=why)
        reading = Reading(control.store, invocation.state)
    if reading.site_hold:
        is_so = "is resumed, but" if was_held else "is not held by itself, but"
        _say(f"{name} {is_so} the whole site is held. Resume that: {invocation.command('resume', '--all')}")
    else:
        skips = "; what was to be skipped is not" if skipped else ""
        _say(f"{name} is {'resumed' if was_held else 'not held'}{skips}{_next(resumed, reading, zone)}.")


def resume_site(invocation: Invocation, why: str | None) -> None:
    with controlling(invocation) as control:
        was_held = control.resume_site(utc_now(), why=why)
        held = [schedule.name for schedule in control.store.schedules() if schedule.held_at]
    _say(
        f"The whole site is {'resumed' if was_held else 'not held'}.",
        f"Still held by themselves: {', '.join(held)}." if held else "",
    )


# -- Rules of time -------------------------------------------------------------------------------


def skip_next(invocation: Invocation, name: str, why: str | None) -> None:
    now, zone = utc_now(), invocation.zone()
    with controlling(invocation) as control:
        schedule = control.skip_next(name, now, why=why)
        following = control.next_after_skips(schedule, now)
    last = schedule.skip_until
    assert last is not None
    when = moment_in_words(last, now, zone)
    is_first = last == schedule.next_fire_time
    which = f"The next run of {name}, {when}, is" if is_first else f"Runs of {name} up to {when} are"
    then = moment_in_words(following, now, zone) if following else "none comes"
    _say(f"{which} skipped; then {then}.")


def reschedule(
    invocation: Invocation,
    name: str,
    words: Sequence[str],
    why: str | None,
    *,
    as_in_file: bool,
    **options: str | None,
) -> None:
    """Give a Schedule another rule, or back that of the file.

    :param options: those of a rule.
    """
    now, zone = utc_now(), invocation.zone()
    trigger = rule_said(words, now, zone, name, **options)
    if (trigger is None) is not as_in_file:
        raise ControlError(
            "say the new rule, as in \"every 90s\", --every 90s, --cron '0 4 * * *' or --at 14:00; or --file alone, for"
            " the one in the task file."
        )
    with controlling(invocation) as control:
        schedule = control.reschedule(name, trigger, now, why=why)
        reading = Reading(control.store, invocation.state)
    rule = schedule_in_words(schedule.in_force)
    if as_in_file:
        rule = f"runs {rule} again, as the file says"
    else:
        rule = f"now runs {rule}" + (" (until the file says otherwise)" if schedule.declared else "")
    _say(f"{name} {rule}{_next(schedule, reading, zone)}.")


# -- Schedules that are added --------------------------------------------------------------------


def add(
    invocation: Invocation,
    name: str,
    task: str,
    words: Sequence[str],
    why: str | None,
    *,
    replace: bool,
    held: bool,
    policy: Sequence[str],
    **options: str | None,
) -> None:
    """Add a Schedule.

    :param words: its rule, if it stands in words, and the arguments for ``run()``.
    :param options: those of a rule.
    """
    now, zone = utc_now(), invocation.zone()
    given, own = arguments_said(word for word in words if "=" in word), policy_said(policy)
    trigger = rule_said((word for word in words if "=" not in word), now, zone, name, **options)
    with controlling(invocation) as control:
        template = control.store.schedule(task)
        arguments = json.loads(handed(template, given)) if template else {}
        schedule = control.add(
            name, task, trigger, now, arguments=arguments, replace=replace, held=held, policy=own, why=why
        )
        reading = Reading(control.store, invocation.state)
    with_these = f" with {arguments_in_words(arguments)}" if arguments else ""
    rule = schedule_in_words(schedule.trigger)
    _say(
        f"{name} is {'as said' if replace else 'added'}: it runs {task}{with_these} {rule}"
        f"{_next(schedule, reading, zone)}.",
        f"Run it: {invocation.command('run', name)}" if trigger is None else "",
    )


def update(
    invocation: Invocation,
    name: str,
    words: Sequence[str],
    why: str | None,
    *,
    on_demand: bool,
    task: str | None,
    policy: Sequence[str],
    description: str | None,
    no_arguments: bool,
    **options: str | None,
) -> None:
    """Change what was added, as far as it is said.

    :param words: its rule, if it stands in words, and the arguments for ``run()``.
    :param options: those of a rule.
    """
    now, zone = utc_now(), invocation.zone()
    given = arguments_said(word for word in words if "=" in word)
    trigger = rule_said((word for word in words if "=" not in word), now, zone, name, **options)
    if (trigger is not None and on_demand) or (given and no_arguments):
        raise ControlError("say a rule or --on-demand, and arguments or --no-arguments, not both.")
    changes: dict[str, Any] = {} if trigger is None and not on_demand else {"trigger": trigger}
    if task is not None:
        changes["task"] = task
    if policy:
        changes["policy"] = policy_said(policy)
    if description is not None:
        changes["description"] = description
    with controlling(invocation) as control:
        if given or no_arguments:
            template = control.template(task or control.find(name).task)
            changes["arguments"] = json.loads(handed(template, given)) if given else {}
        schedule = control.update(name, changes, now, why=why)
        reading = Reading(control.store, invocation.state)
    with_these = f" with {arguments_in_words(json.loads(schedule.arguments))}" if schedule.arguments != "{}" else ""
    rule = schedule_in_words(schedule.trigger)
    _say(f"{name} now runs {schedule.task}{with_these} {rule}{_next(schedule, reading, zone)}.")


def remove(invocation: Invocation, name: str, why: str | None) -> None:
    with controlling(invocation) as control:
        removed = control.remove(name, utc_now(), why=why)
        at_work = any(run.state == RUNNING for run in control.store.active(name))
    _say(
        f"{name} is removed: {removed.task} runs under that name no more.",
        "Its run that is at work goes on." if at_work else "",
    )


# -- Runs ------------------------------------------------------------------------------------------


def demand(invocation: Invocation, name: str, why: str | None) -> None:
    """Have a Schedule run once more, by whoever looks next."""
    now, zone = utc_now(), invocation.zone()
    with controlling(invocation) as control:
        is_at_work = any(run.state == RUNNING for run in control.store.active(name))
        run = control.demand(name, now, why=why)
        schedule, reading = control.find(name), Reading(control.store, invocation.state)
    if run is None:
        present = "its run that is at work" if is_at_work else "the run that is queued"
        _say(f"{name} runs once more when {present} has ended.")
        return
    waits = "; ".join(obstacles(invocation, reading, reading.running, schedule, now, zone))
    _say(f"{name} is queued{', but ' + waits if waits else ': the next look starts it'}.")


def _next(schedule: Schedule, reading: Reading, zone: ZoneInfo) -> str:
    """Return when a Schedule runs next, or why it does not, as the end of a sentence."""
    if schedule.vanished_at:
        return "; but its task is gone from the file"
    if schedule.held_at:
        return f"; but it is held by {schedule.held_by}"
    if reading.site_hold:
        return "; but the whole site is held"
    if schedule.next_fire_time is None:
        return "; it never fires again" if schedule.in_force and not schedule.after else ""
    return f"; next {soon_in_words(schedule.next_fire_time, utc_now(), zone)}"
