"""Moments, results and policies in words: pure, with ``now`` and the zone handed in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from ..clock import from_text, in_words
from ..errors import BadTrigger
from ..lateness import lateness
from ..model import (
    ENDED,
    FAILED,
    LATE,
    LOST,
    MISSED,
    QUEUED,
    RUNNING,
    SKIPPED,
    STOPPED,
    SUCCEEDED,
    TIMED_OUT,
    Action,
    Policy,
    Run,
    Schedule,
)
from ..run.outcome import WISH, in_bytes, killed_by, over_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .lines import Listed

#: States as people read them.
STATES = {
    QUEUED: "queued",
    RUNNING: "running",
    SUCCEEDED: "ok",
    FAILED: "failed",
    TIMED_OUT: "timed out",
    STOPPED: "stopped",
    LOST: "lost",
    SKIPPED: "skipped",
    MISSED: "missed",
}

#: Of the text of a rule people see so many letters.
LONGEST_RULE = 200

#: What ``run()`` takes, by the kinds of :mod:`dracotask.arguments`.
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "json": "JSON"}

#: What the verbs have done, as one says it of somebody.
DEEDS = {
    "hold": "held it",
    "resume": "resumed it",
    "skip_next": "skipped",
    "reschedule": "rescheduled it",
    "add": "added it",
    "update": "updated",
    "remove": "removed it",
    "demand": "demanded a run",
    "run_now": "ran it",
    "retry_now": "had a run tried again at once",
    "stop": "asked a run to stop",
}


def about(seconds: float) -> str:
    """Return a length of time in its largest sensible unit: "42s", "23m", "12h", "6 days"."""
    if seconds < 90:
        return f"{seconds:.0f}s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f}m"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f}h"
    return f"{seconds / 86400:.0f} days"


def moment_in_words(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """Return a moment on the site's own clock: "14:25", "tomorrow 03:00", "Sun 04:30", "12 Dec 04:30"."""
    local, today = on_clock(moment, zone), now.astimezone(zone).date()
    time = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    days = (local.date() - today).days
    if days == 0:
        return time
    if days in (1, -1):
        return f"{'tomorrow' if days > 0 else 'yesterday'} {time}"
    if abs(days) < 7:
        return f"{local:%a} {time}"
    return f"{local.day} {local:%b} {time}" if local.year == today.year else f"{local:%Y-%m-%d} {time}"


def on_clock(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment on the clock of a zone; on that of UTC where it would leave the years there are."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def soon_in_words(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """Return a moment to come, or how far it is when it is near: "in 40s", "tomorrow 03:00"."""
    left = (moment - now).total_seconds()
    if left <= 0:
        return "now"
    return f"in {about(left)}" if left < 3600 else moment_in_words(moment, now, zone)


def since_in_words(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """Return a moment of the past and how long ago that was: "14:02, 35m ago"."""
    ago = about((now - moment).total_seconds())
    return f"{moment_in_words(moment.replace(microsecond=0), now, zone)}, {ago} ago"


@lru_cache(1024)
def schedule_in_words(trigger: str | None) -> str:
    """Return when a task is due, in words; a text that this version cannot read stands for itself."""
    if trigger is None:
        return "on demand"
    from ..triggers import parse_trigger
    from ..triggers.words import describe

    try:
        return describe(parse_trigger(trigger))
    except BadTrigger:
        return trigger


def rule_in_short(trigger: str | None) -> str:
    """Return the text of a trigger for people, who want no more than the beginning of a list of dates; "" for none."""
    text = trigger or ""
    return text if len(text) <= LONGEST_RULE else f"{text[:LONGEST_RULE]}…"


def rule_in_words(schedule: Schedule) -> str:
    """Return when a task is due, in words, and whether that is another rule than the file's."""
    words = schedule_in_words(schedule.in_force)
    return f"{words} (rescheduled)" if schedule.override else words


def title(name: str, task: str) -> str:
    """Return the name of a Schedule or a Run, with the Task where that is another."""
    return name if name == task else f"{name} ({task})"


def is_late(schedule: Listed, now: datetime, late_after: float) -> bool:
    """Tell whether a fire time has gone by for so long that something must be wrong."""
    if schedule.held_at or schedule.vanished_at or schedule.next_fire_time is None:
        return False
    return now - schedule.next_fire_time > timedelta(seconds=late_after)


def next_in_words(schedule: Schedule, now: datetime, zone: tzinfo, late_after: float) -> tuple[str, str]:
    """Return when a task will run next, or why it will not, at length and in short."""
    if schedule.vanished_at:
        return "gone from the file", "gone"
    if schedule.held_at:
        if schedule.held_until and schedule.held_until <= now:
            return f"its hold ended {moment_in_words(schedule.held_until, now, zone)}", "hold ended"
        by = f"held by {schedule.held_by}" if schedule.held_by else "held"
        return by + _held_from_to(schedule, now, zone), by
    fire_time = schedule.next_fire_time
    if fire_time is None:
        return ("no more", "no more") if schedule.in_force and not schedule.after else ("-", "-")
    if schedule.skip_until and fire_time <= schedule.skip_until:
        through = "" if fire_time == schedule.skip_until else "up to "
        return f"skips {through}{moment_in_words(schedule.skip_until, now, zone)}", "skipped"
    left = (fire_time - now).total_seconds()
    if is_late(schedule, now, late_after):
        return f"late by {in_words(-left)}", f"late {about(-left)}"
    if left <= 0:
        return "due now", "due now"
    relative = f"in {about(left)}"
    return f"{moment_in_words(fire_time, now, zone)}, {relative}", relative


def _held_from_to(schedule: Schedule, now: datetime, zone: tzinfo) -> str:
    """Return since or until when a Schedule is held: the one that matters more."""
    if schedule.held_until:
        return f" until {moment_in_words(schedule.held_until, now, zone)}"
    return f" since {moment_in_words(schedule.held_at.replace(microsecond=0), now, zone)}" if schedule.held_at else ""


def last_in_words(run: Run | None, now: datetime, zone: tzinfo) -> tuple[str, str]:
    """Return when a task ran last, at length and in short."""
    if run is None or run.started_at is None:
        return "-", "-"
    seconds = (now - run.started_at).total_seconds()
    if run.state == RUNNING:
        return f"now, {in_words(round(max(seconds, 0)))}", "now"
    if run.started_at.astimezone(zone).date() == now.astimezone(zone).date():
        started = run.started_at.astimezone(zone)
        return f"{started:%H:%M}, {about(seconds)} ago", f"{about(seconds)} ago"
    if seconds < 7 * 86400:
        words = moment_in_words(run.started_at.replace(second=0, microsecond=0), now, zone)
        return words, words.partition(" ")[0] if words.startswith("yesterday") else f"{about(seconds)} ago"
    return f"{about(seconds)} ago", f"{about(seconds)} ago"


def result_in_words(run: Run | None) -> str:
    """Return how a Run ended: "ok, 0.8s: 412 sessions deleted"; "" for none."""
    if run is None:
        return ""
    word = STATES.get(run.state, run.state)
    if run.state == RUNNING and run.stop_at:
        word = "stopping"
    took = duration(run)
    if run.attempt > 1 and run.state != QUEUED:
        word = f"{word}, attempt {run.attempt}"
    head = f"{word}, {in_words(took)}" if took is not None else word
    if run.state == RUNNING and (progress := progress_in_words(run)):
        return f"{head}, {progress}"
    told = what_it_told(run)
    return f"{head}: {told}" if told else head


def progress_in_words(run: Run) -> str:
    """Return how far a Run is: "42 %, page 12", "1200 done"; "" when it never said."""
    if run.progress_done is None:
        return ""
    if run.progress_total:
        done = f"{100 * run.progress_done / run.progress_total:.0f} %"
    else:
        done = f"{run.progress_done:g} done"
    return f"{done}, {run.progress_note}" if run.progress_note else done


def duration(run: Run) -> float | None:
    """Return the seconds that a Run took; None while it is not over, or where it never started."""
    if run.started_at is None or run.finished_at is None:
        return None
    return max((run.finished_at - run.started_at).total_seconds(), 0.0)


def late_in_words(run: Run) -> str:
    """Return how late a Run began and why: "4m 12s: no request came"; "" for one that was in time, or never began."""
    late = lateness(run)
    if late is None or late.total_seconds() <= LATE:
        return ""
    words = in_words(late.total_seconds())
    return f"{words}: {run.late_cause}" if run.late_cause else words


def exit_in_words(run: Run) -> str:
    """Return how the process of a Run ended: "exit code 1", "killed by SIGKILL (out of memory?)"; "" while it has not.

    With whose doing that was, where it was not its own: a limit, or somebody who wanted it stopped.
    """
    if run.state not in ENDED:
        return ""
    if run.state == LOST:
        return "its supervisor died before it could tell"
    code = run.exit_code
    manner = "" if code is None else f"exit code {code}" if code >= 0 else killed_by(-code)
    why = {TIMED_OUT: over_limit(Policy.from_text(run.policy).time_limit), STOPPED: "stopped"}.get(run.state, "")
    if (run.error or "").startswith("over its memory limit"):
        why = run.error or ""
    # (Who was killed for a reason that is known did not run out of memory.)
    return ", ".join(filter(None, (why, manner.partition(" (")[0] if why else manner)))


def resources_in_words(run: Run) -> str:
    """Return what a Run took: "CPU 31s, 84 MiB peak"; "" where nobody counted."""
    cpu = "" if run.cpu_seconds is None else f"CPU {in_words(run.cpu_seconds)}"
    memory = f"{in_bytes(run.peak_memory)} peak" if run.peak_memory else ""
    return ", ".join(filter(None, (cpu, memory)))


def code_in_words(code: str | None) -> str:
    """Return which code it is, as a Run's receipt or the note has it: "3f2a9c81b0de, commit 9fceb02d0ae5"."""
    digest, _, commit = (code or "").partition(" ")
    return f"{digest}, commit {commit}" if commit else digest


def what_it_told(run: Run) -> str:
    """Return what a Run has to say of its end: its summary, what went wrong, or why it never started."""
    told = (run.summary if run.state in (SUCCEEDED, SKIPPED, MISSED) else run.error) or ""
    if run.state == STOPPED:
        told = told.removeprefix("stopped ")  # said once is enough
    if run.fire_from and run.fire_count:
        return f"{run.fire_count} fire times: {told}" if told else f"{run.fire_count} fire times"
    return told


def retry_in_words(run: Run, now: datetime, zone: tzinfo) -> str:
    """Return which retry a Run waits for and when that is: "retry 2 of 5 at 12:34"; "" when it waits for none."""
    if run.state != QUEUED or run.not_before is None:
        return ""
    if run.not_before <= now:
        return f"{which_retry(run)} now"
    return f"{which_retry(run)} at {moment_in_words(run.not_before.replace(microsecond=0), now, zone)}"


def failure_in_words(run: Run) -> str:
    """Return how the last attempt of a Run ended that waits for its retry: "failed: no such host"."""
    error = run.error or ""
    return error if error.startswith(WISH) else f"failed: {error}"


def which_retry(run: Run) -> str:
    """Return which retry a Run waits for: "retry 2 of 5"; nobody has numbered those that it asked for itself."""
    retries = Policy.from_text(run.policy).retries
    return f"retry {run.attempt} of {retries}" if run.attempt <= retries else f"retry {run.attempt}"


def waiting_in_words(run: Run, now: datetime, zone: tzinfo) -> str:
    """Return the same with what went wrong: "retry 2 of 5 at 12:34, after: ConnectionError"."""
    words = retry_in_words(run, now, zone)
    return f"{words}, after: {run.error}" if words and run.error else words


def lateness_in_words(policy: Policy) -> str:
    """Return what becomes of fire times that come late, together, or while a Run is active."""
    together = {
        "latest": "one run makes up for several, the latest",
        "earliest": "one run makes up for several, the earliest",
        "all": f"each of several has its run, at most the latest {policy.catch_up}",
    }[policy.coalesce]
    late = "however late" if policy.grace is None else f"missed when {in_words(policy.grace)} late"
    beside = {
        "skip": "while one is active others are skipped",
        "queue": "while one is active others wait",
        "allow": "one may begin beside another",
    }[policy.overlap]
    priority = f"; priority {policy.priority}" if policy.priority else ""
    return f"{late}; {together}; {beside}{priority}"


def failing_in_words(policy: Policy) -> str:
    """Return what becomes of a Run that failed; "" when nothing does."""
    said = []
    if policy.retries:
        backoff = f", each time {policy.retry_backoff:g} times as late" if policy.retry_backoff > 1 else ""
        more = f" up to {in_words(policy.retry_max_delay)}" if backoff else ""
        only = f", if it raised {policy.retry_on.replace(',', ' or ')}" if policy.retry_on else ""
        said.append(f"tried again {policy.retries} times, after {in_words(policy.retry_delay)}{backoff}{more}{only}")
    if policy.on_lost == "retry":
        said.append("tried again when its process died")
    if policy.pause_after:
        said.append(f"held after {policy.pause_after} failures in a row")
    return "; ".join(said)


def limits_in_words(policy: Policy) -> str:
    """Return what a Run may take."""
    limit = f"at most {in_words(policy.time_limit)}" if policy.time_limit else "no time limit"
    memory = f", at most {in_bytes(policy.memory_limit)} of memory" if policy.memory_limit else ""
    grace = f"{in_words(policy.stop_grace)} to tidy up"
    alone = f", exclusive: {policy.exclusive}" if policy.exclusive else ""
    return f"{limit}{memory}, {grace}, {policy.max_instances} at a time, niceness {policy.nice}{alone}"


def keeping_in_words(policy: Policy) -> str:
    """Return how much of the past is kept."""
    return f"{policy.keep_runs} runs or {policy.keep_days:g} days, {in_bytes(policy.max_output)} of output each"


# -- What it is handed, and what was done to it ---------------------------------------------------


def arguments_in_words(arguments: Mapping[str, Any]) -> str:
    """Return what ``run()`` is handed, as JSON has it: ``to = "anna", limit = 5``."""
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())


def policy_in_words(own: str | None) -> str:
    """Return a Schedule's own policy as dracotask.toml would say it: ``retries = 3, time_limit = "none"``."""
    said = json.loads(own or "{}")
    return arguments_in_words({key: "none" if value is None else value for key, value in said.items()})


def parameters_in_words(parameters: str | None) -> str:
    """Return what ``run()`` takes: "to (a text), limit (a whole number, if wanted)"; "" for nothing."""
    words = []
    for name, kind, needed in json.loads(parameters or "[]"):
        if name == "**":
            words.append("anything else")
            continue
        said = parameter_in_words(kind, needed)
        words.append(f"{name} ({said})" if said else name)
    return ", ".join(words)


def parameter_in_words(kind: str, needed: bool) -> str:
    """Return what ``run()`` takes under one name: "a whole number, if wanted"; "" for anything that it needs."""
    return ", ".join(filter(None, (KINDS.get(kind.rstrip("?")), "" if needed else "if wanted")))


def action_in_words(action: Action, now: datetime, zone: tzinfo) -> str:
    """Return what somebody did and why: "anna held it until 14:00: migration"."""
    details = json.loads(action.details)
    words = f"{action.by} {DEEDS.get(action.verb, action.verb)}{_detail(action.verb, details, now, zone)}"
    return f"{words}: {action.why}" if action.why else words


def _detail(verb: str, details: Mapping[str, Any], now: datetime, zone: tzinfo) -> str:
    if verb == "hold" and "until" in details:
        return f" until {moment_in_words(from_text(details['until']), now, zone)}"
    if verb == "skip_next" and "fire_time" in details:
        return f" {moment_in_words(from_text(details['fire_time']), now, zone)}"
    if verb == "reschedule":
        return f", {schedule_in_words(details['trigger'])}" if "trigger" in details else ", back to the file's rule"
    if verb == "update":
        rule = f", now {schedule_in_words(details['trigger'] or None)}" if "trigger" in details else ""
        return f" its {', '.join([*sorted(details.keys() - {'trigger'}), *(['rule'] if rule else [])])}{rule}"
    if verb == "add" and "trigger" in details:
        return f", {schedule_in_words(details['trigger'])}"
    return ""
