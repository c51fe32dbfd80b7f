"""The values everybody speaks of: Schedule, Run, Policy and Claim.

Plain classes with ``__slots__`` rather than dataclasses, and strings rather than
enums: every tick and every run imports this module, and those two alone cost more
than a bare interpreter (docs/benchmarks.rst).
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any, Self

QUEUED = "queued"
RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
TIMED_OUT = "timed_out"
STOPPED = "stopped"
LOST = "lost"
SKIPPED = "skipped"
MISSED = "missed"

#: The Run is not over: it waits, or its body is at work.
ACTIVE = (QUEUED, RUNNING)
#: The Run's body was started and is over.
ENDED = (SUCCEEDED, FAILED, TIMED_OUT, STOPPED, LOST)
#: No body was started; the reason stands in the summary.
NEVER_STARTED = (SKIPPED, MISSED)
#: The Run's body was started, be it over or not.
STARTED = (RUNNING, *ENDED)
#: The Run has failed, by itself or for want of a living process. Stopped is what somebody wanted.
FAILURES = (FAILED, TIMED_OUT, LOST)

#: A Run that begins later than so many seconds after its moment is late.
LATE = 2.0

#: The words after DOCROOT that are commands, or kept for commands to come. No Task may be named like one.
VERBS = (
    "add", "check", "console", "demand", "drain", "due", "export", "hold", "import", "init", "list", "load", "log",
    "metrics", "preview", "remove", "reschedule", "resume", "run", "runs", "serve", "show",
    "simulate", "skip-next", "stop", "update",
)  # fmt: skip


class Omitted:
    """The type of ``OMITTED``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OMITTED"


#: Stands for an argument that was left out, which is not the same as None: to Draco that is "every value".
OMITTED: Any = Omitted()

_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> str:
    """Return a new Run id: 26 letters, ordered by time, the rest random.

    Never a number counted by the database: a deleted and recreated database would
    give the next Run the id, and so the lock and the output, of another.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    # (Twenty bits for the nanoseconds: of a program's own Runs hundreds fall into one millisecond, in their order.)
    number = milliseconds << 80 | nanoseconds << 60 | int.from_bytes(os.urandom(8), "big") >> 4
    return _in_letters(number, 26)


def id_from(moment: datetime) -> str:
    """Return what stands between the ids of Runs made before a moment and those made from then on."""
    milliseconds, microseconds = divmod(max(round(moment.timestamp() * 1_000_000), 0), 1000)
    # (Only the letters of the time: what is continued by any letter is greater.)
    return _in_letters(milliseconds << 80 | microseconds * 1000 << 60, 14)


def _in_letters(number: int, count: int) -> str:
    return "".join(_ID_LETTERS[number >> shift & 31] for shift in range(125, 125 - 5 * count, -5))


class Value:
    """A plain value: slots, keyword arguments, equality and a readable repr."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, **values: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, values.pop(name, None))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(values))}")

    def copy(self) -> Self:
        """Return a copy; a store hands out nothing else."""
        twin = object.__new__(type(self))
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def but(self, **changes: Any) -> Self:
        """Return a copy with these values changed."""
        twin = self.copy()
        for name, value in changes.items():
            if name not in self.__slots__:
                raise TypeError(f"{type(self).__name__} has no {name}")
            setattr(twin, name, value)
        return twin

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        facts = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name) is not None
        )
        return f"{type(self).__name__}({facts})"


class Policy(Value):
    """How a Run may behave. The claim copies it into the Run, so later edits touch later Runs.

    :param time_limit: seconds a body may take; None for no limit.
    :param stop_grace: seconds between the polite stop (TERM) and KILL.
    :param max_output: bytes of output kept, half of them the head and half the tail.
    :param memory_limit: bytes of address space of a body; None for no limit.
    :param nice: niceness of a body that a tick starts, 0 to 19.
    :param exclusive: a name; of all Runs with the same one, whatever their Task, one is at work at a time.
        None for no such bond.
    :param max_instances: how many Runs of one Schedule may be at work at once.
    :param keep_runs: how many ended Runs of a Task are kept.
    :param keep_days: days an ended Run is kept.
    :param coalesce: which of several fire times that came due together become Runs: ``latest``, ``earliest`` or
        ``all``, but not more than ``catch_up``.
    :param catch_up: how many Runs, the latest, make up at most for what fell due together.
    :param grace: seconds a Run may begin late; what is later is missed. None for however late.
    :param overlap: what becomes of a fire time while ``max_instances`` Runs are active: ``skip``, ``queue`` or
        ``allow``.
    :param priority: of what waits, the highest begins first.
    :param retries: how many further attempts a Run has that failed or took too long.
    :param retry_delay: seconds between the end of an attempt and the first retry.
    :param retry_backoff: by what the delay is multiplied with each further one; 1 for always the same.
    :param retry_max_delay: seconds that the delay never exceeds.
    :param retry_jitter: the share of the delay that chance may take off, 0 to 1.
    :param retry_on: names of exceptions, between commas, that are worth a retry; None for any failure.
    :param on_lost: what becomes of a Run whose process died: ``record`` or ``retry``.
    :param pause_after: after how many failures in a row the Schedule is held; None for never.
    """

    __slots__ = (
        "time_limit", "stop_grace", "max_output", "memory_limit", "nice", "exclusive", "max_instances",
        "keep_runs", "keep_days", "coalesce", "catch_up", "grace", "overlap", "priority", "retries", "retry_delay",
        "retry_backoff", "retry_max_delay", "retry_jitter", "retry_on", "on_lost", "pause_after",
    )  # fmt: skip

    time_limit: float | None
    stop_grace: float
    max_output: int
    memory_limit: int | None
    nice: int
    exclusive: str | None
    max_instances: int
    keep_runs: int
    keep_days: float
    coalesce: str
    catch_up: int
    grace: float | None
    overlap: str
    priority: int
    retries: int
    retry_delay: float
    retry_backoff: float
    retry_max_delay: float
    retry_jitter: float
    retry_on: str | None
    on_lost: str
    pause_after: int | None

    @property
    def most_at_work(self) -> int:
        """How many Runs of one Schedule may be at work at once, as far as their own rules go."""
        return ANY_NUMBER if self.overlap == "allow" else self.max_instances

    def to_text(self) -> str:
        """Return the text that a store keeps: ``time_limit=86400.0 stop_grace=10.0 …``."""
        return " ".join(f"{name}={getattr(self, name)}" for name in self.__slots__)

    @classmethod
    def from_text(cls, text: str) -> Policy:
        """Read :meth:`to_text` back; names of another version are passed over."""
        if text not in _policies:
            if len(_policies) >= MOST_POLICIES:
                _policies.clear()
            _policies[text] = cls._read(text)
        return _policies[text]

    @classmethod
    def _read(cls, text: str) -> Policy:
        values: dict[str, Any] = dict(DEFAULT_POLICY)
        for pair in text.split():
            name, _, value = pair.partition("=")
            if name in _WORDS:
                values[name] = None if value == "None" else value
            elif name in values:
                # A small float is written with an exponent and no point.
                is_whole = value.lstrip("-").isdigit()
                values[name] = None if value == "None" else int(value) if is_whole else float(value)
        return cls(**values)


#: So many Runs of one Schedule may be at work where each may begin beside the others.
ANY_NUMBER = 1000

#: The parts of a policy that are words and no numbers.
_WORDS = ("exclusive", "coalesce", "overlap", "retry_on", "on_lost")

#: The policies that were read, by their text: they are few, and each Run is asked for its own several times.
_policies: dict[str, Policy] = {}
MOST_POLICIES = 1000

#: The policy of a Task that says nothing, in dracotask.toml's own words.
DEFAULT_POLICY: dict[str, Any] = {
    "time_limit": 86400.0,  # A hung task must not fill the cap for ever.
    "stop_grace": 10.0,
    "max_output": 1 << 20,
    "memory_limit": None,
    "nice": 10,  # Visitors come first.
    "exclusive": None,
    "max_instances": 1,
    "keep_runs": 100,
    "keep_days": 90.0,
    "coalesce": "latest",
    "catch_up": 10,
    "grace": None,  # Late rather than never.
    "overlap": "skip",
    "priority": 0,
    "retries": 0,
    "retry_delay": 60.0,
    "retry_backoff": 2.0,
    "retry_max_delay": 3600.0,
    "retry_jitter": 0.0,
    "retry_on": None,
    "on_lost": "record",
    "pause_after": None,
}


class Schedule(Value):
    """What joins a Task and a Trigger with its state: one row of the store.

    :param name: unique over all schedules; a declared one is named like its Task.
    :param declared: whether ``__tasks__.py`` says so; a dynamic one was added at run time.
    :param trigger: the text of the Trigger; None when the Task runs only on demand.
    :param override: the text of the Trigger that an operator has set over a declared one; None for none.
    :param arguments: what ``run()`` is handed by name, as JSON.
    :param parameters: what ``run()`` can be handed, as :mod:`.arguments` writes it.
    :param next_fire_time: the first fire time not yet claimed; None when there is none.
    :param watermark: the last fire time claimed or recorded. It never decreases, but for a clock set back.
    :param held_at: since when nothing is claimed or taken; None when not held.
    :param held_until: when the hold ends by itself; None when somebody has to resume.
    :param skip_until: fire times up to this one are skipped; None when none is.
    :param skip_why: who wanted that and why, in words.
    :param vanished_at: since when the Task is gone from the file; None when it is there.
    :param demand: who asked for one more Run while one was active; None when nobody did.
    :param own_policy: what is said of the policy of this Schedule beside its Task's, as JSON; None for nothing.
    :param failures: how many of its Runs have failed in a row.
    :param after: the names of the Schedules whose success brings a Run of this one, between commas, as in
        ``,Import,``; None for none.
    :param rev: raised by every change; what was read is changed only if it is still so.
    """

    __slots__ = (
        "name", "task", "declared", "trigger", "override", "arguments", "parameters", "policy", "description",
        "source", "next_fire_time", "watermark", "held_at", "held_by", "held_why", "held_until", "skip_until",
        "skip_why", "vanished_at", "demand", "own_policy", "failures", "after", "rev",
    )  # fmt: skip

    name: str
    task: str
    declared: bool
    trigger: str | None
    override: str | None
    arguments: str
    parameters: str
    policy: str
    description: str
    source: str
    next_fire_time: datetime | None
    watermark: datetime | None
    held_at: datetime | None
    held_by: str | None
    held_why: str | None
    held_until: datetime | None
    skip_until: datetime | None
    skip_why: str | None
    vanished_at: datetime | None
    demand: str | None
    own_policy: str | None
    failures: int | None
    after: str | None
    rev: int

    @property
    def in_force(self) -> str | None:
        """The text of the Trigger that counts: the operator's before the file's; None on demand only."""
        return self.override or self.trigger


class Run(Value):
    """One requested execution of a Task, or a row that says why there was none.

    :param origin: ``request``, ``tick``, ``command``, ``console``, ``api`` or ``demand``.
    :param requested_by: the person or process behind the origin, in words.
    :param fire_time: the moment it stands for; None on demand. With ``fire_from`` the row
        stands for every fire time from that one to this one.
    :param fire_count: how many fire times those are; None where nobody counted.
    :param token: the random mark of the supervisor that took it.
    :param exclusive: the policy's, where a store can ask for it.
    :param despite_hold: whether it may begin while its Schedule, or the site, is held.
    :param summary: one line of result, or the reason why it never started.
    :param error: one line of what went wrong.
    :param progress_done: how much is done, in the task's own measure, of ``progress_total``; None when it never said.
    :param stop_grace: seconds between the polite stop and KILL, if whoever stops it said so; else the policy's.
    :param priority: the policy's, where a store can ask for it: of what waits, the highest begins first.
    :param not_before: when a Run that waits for its retry may begin; None for at once.
    :param attempts: how its attempts before this one ended, as JSON; None when there was none.
    :param checkpoint: what an attempt has left for the next one, as JSON; None for nothing.
    :param late_cause: why it began later than its fire time, in words; None when it did not, or nobody knows.
    :param code: the digest of the task file and its helpers as they were in force, and after a space the commit
        where the docroot is a checkout; None where there is no file.
    :param python: the version of the interpreter: "3.11.7".
    """

    __slots__ = (
        "id", "schedule", "task", "state", "origin", "requested_by", "fire_from", "fire_time",
        "fire_count", "queued_at", "started_at", "finished_at", "attempt", "host", "pid", "token",
        "policy", "arguments", "exclusive", "despite_hold", "exit_code", "summary", "error", "cpu_seconds",
        "peak_memory", "output_bytes", "progress_done", "progress_total", "progress_note", "stop_at", "stop_by",
        "stop_why", "stop_grace", "priority", "not_before", "attempts", "checkpoint", "late_cause", "code", "python",
        "rev",
    )  # fmt: skip

    id: str
    schedule: str
    task: str
    state: str
    origin: str
    requested_by: str | None
    fire_from: datetime | None
    fire_time: datetime | None
    fire_count: int | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    host: str | None
    pid: int | None
    token: str | None
    policy: str
    arguments: str
    exclusive: str | None
    despite_hold: bool
    exit_code: int | None
    summary: str | None
    error: str | None
    cpu_seconds: float | None
    peak_memory: int | None
    output_bytes: int | None
    progress_done: float | None
    progress_total: float | None
    progress_note: str | None
    stop_at: datetime | None
    stop_by: str | None
    stop_why: str | None
    stop_grace: float | None
    priority: int
    not_before: datetime | None
    attempts: str | None
    checkpoint: str | None
    late_cause: str | None
    code: str | None
    python: str | None
    rev: int


def new_run(
    schedule: Schedule,
    now: datetime,
    origin: str,
    *,
    fire_time: datetime | None = None,
    run_id: str | None = None,
    by: str | None = None,
) -> Run:
    """Return a queued Run with a copy of the schedule's policy and arguments."""
    policy = Policy.from_text(schedule.policy)
    return Run(
        id=run_id or new_run_id(), schedule=schedule.name, task=schedule.task, state=QUEUED, origin=origin,
        requested_by=by, fire_time=fire_time, queued_at=now, attempt=0, policy=schedule.policy,
        arguments=schedule.arguments, exclusive=policy.exclusive, despite_hold=False, priority=policy.priority, rev=1,
    )  # fmt: skip


def waits_for_retry(run: Run, now: datetime) -> bool:
    """Tell whether a Run has failed, and its next attempt is for later: until then it stands in nobody's way."""
    return run.state == QUEUED and run.not_before is not None and run.not_before > now


class Gap(Value):
    """Fire times that did not run, and why: becomes one row, or extends the one before it."""

    __slots__ = ("state", "first", "last", "count", "reason")

    state: str
    first: datetime
    last: datetime
    count: int | None
    reason: str


class Claim(Value):
    """What :func:`dracotask.planning.plan` decided for one Schedule at one moment.

    :param fire_times: the fire times that become a Run each, in order.
    :param gaps: those that become rows instead, a row for each Gap, in order.
    """

    __slots__ = ("fire_times", "gaps", "next_fire_time", "watermark")

    def __init__(self, **values: Any) -> None:
        for name in ("fire_times", "gaps"):
            values[name] = tuple(values.get(name, ()))
        super().__init__(**values)

    fire_times: Sequence[datetime]
    gaps: Sequence[Gap]
    next_fire_time: datetime | None
    watermark: datetime | None


class Outcome(Value):
    """How a Run ended, as its supervisor saw it; written once."""

    __slots__ = (
        "state", "exit_code", "summary", "error", "finished_at", "cpu_seconds", "peak_memory",
        "output_bytes", "late_cause",
    )  # fmt: skip

    state: str
    exit_code: int | None
    summary: str | None
    error: str | None
    finished_at: datetime
    cpu_seconds: float | None
    peak_memory: int | None
    output_bytes: int | None
    late_cause: str | None

    def facts(self) -> dict[str, Any]:
        """Return what it makes of the Run. A cause of lateness is no part of it where the outcome knows none."""
        names = self.__slots__ if self.late_cause is not None else self.__slots__[:-1]
        return {name: getattr(self, name) for name in names}


class Action(Value):
    """What somebody did to a Schedule, or to the whole site: the row that each verb leaves.

    :param schedule: its name; "" for the whole site.
    :param rev: the revision of the Schedule that the verb made; 0 for the whole site. Replayed in this order the
        rows lead to the state of now.
    :param verb: ``hold resume skip_next reschedule add update remove demand run_now
        retry_now stop``.
    :param by: who, in words.
    :param details: what else was said, as JSON: ``until``, ``trigger``, ``task``, ``arguments``, ``run``.
    """

    __slots__ = ("id", "at", "schedule", "rev", "verb", "by", "why", "details")

    id: str
    at: datetime
    schedule: str
    rev: int
    verb: str
    by: str
    why: str | None
    details: str


class Declaration(Value):
    """What a loaded ``__tasks__.py`` says of one Task.

    :param start_held: whether its Schedule is held when it is first seen.
    """

    __slots__ = ("name", "trigger", "parameters", "policy", "description", "source", "start_held")

    name: str
    trigger: str | None
    parameters: str
    policy: str
    description: str
    source: str
    start_held: bool
