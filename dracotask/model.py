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

#: The words after DOCROOT that are commands, or kept for commands to come. No Task may be named like one.
VERBS = (
    "add", "check", "console", "demand", "drain", "due", "hold", "init", "list", "load", "log",
    "metrics", "preview", "remove", "reschedule", "resume", "run", "runs", "serve", "show",
    "simulate", "skip-next", "stop",
)  # fmt: skip

_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> str:
    """Return a new Run id: 26 letters, ordered by time, the rest random.

    Never a number counted by the database: a deleted and recreated database would
    give the next Run the id, and so the lock and the output, of another.
    """
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_ID_LETTERS[number >> shift & 31] for shift in range(125, -1, -5))


class Value:
    """A plain value: slots, keyword arguments, equality and a readable repr."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, **values: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, values.pop(name, None))
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(values))}")

    def but(self, **changes: Any) -> Self:
        """Return a copy with these values changed."""
        return type(self)(**{name: changes.pop(name, getattr(self, name)) for name in self.__slots__}, **changes)

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
    :param max_instances: how many Runs of one Task may be at work at once.
    :param keep_runs: how many ended Runs of a Task are kept.
    :param keep_days: days an ended Run is kept.
    """

    __slots__ = (
        "time_limit", "stop_grace", "max_output", "memory_limit", "nice", "max_instances",
        "keep_runs", "keep_days",
    )  # fmt: skip

    time_limit: float | None
    stop_grace: float
    max_output: int
    memory_limit: int | None
    nice: int
    max_instances: int
    keep_runs: int
    keep_days: float

    def to_text(self) -> str:
        """Return the text that a store keeps: ``time_limit=86400.0 stop_grace=10.0 …``."""
        return " ".join(f"{name}={getattr(self, name)}" for name in self.__slots__)

    @classmethod
    def from_text(cls, text: str) -> Policy:
        """Read :meth:`to_text` back; names of another version are passed over."""
        values: dict[str, Any] = dict(DEFAULT_POLICY)
        for pair in text.split():
            name, _, value = pair.partition("=")
            if name in values:
                # A small float is written with an exponent and no point.
                is_whole = value.lstrip("-").isdigit()
                values[name] = None if value == "None" else int(value) if is_whole else float(value)
        return cls(**values)


#: The policy of a Task that says nothing, in dracotask.toml's own words.
DEFAULT_POLICY: dict[str, Any] = {
    "time_limit": 86400.0,  # A hung task must not fill the cap for ever.
    "stop_grace": 10.0,
    "max_output": 1 << 20,
    "memory_limit": None,
    "nice": 10,  # Visitors come first.
    "max_instances": 1,
    "keep_runs": 100,
    "keep_days": 90.0,
}


class Schedule(Value):
    """What joins a Task and a Trigger with its state: one row of the store.

    :param name: unique over all schedules; a declared one is named like its Task.
    :param trigger: the text of the Trigger; None when the Task runs only on demand.
    :param next_fire_time: the first fire time not yet claimed; None when there is none.
    :param watermark: the last fire time claimed or recorded. It never decreases, but for a clock set back.
    :param held_at: since when nothing is claimed or taken; None when not held.
    :param vanished_at: since when the Task is gone from the file; None when it is there.
    :param demand: who asked for one more Run while one was active; None when nobody did.
    :param rev: raised by every change; what was read is changed only if it is still so.
    """

    __slots__ = (
        "name", "task", "declared", "trigger", "arguments", "policy", "description", "source",
        "next_fire_time", "watermark", "held_at", "held_by", "held_why", "held_until", "vanished_at",
        "demand", "rev",
    )  # fmt: skip

    name: str
    task: str
    declared: bool
    trigger: str | None
    arguments: str
    policy: str
    description: str
    source: str
    next_fire_time: datetime | None
    watermark: datetime | None
    held_at: datetime | None
    held_by: str | None
    held_why: str | None
    held_until: datetime | None
    vanished_at: datetime | None
    demand: str | None
    rev: int


class Run(Value):
    """One requested execution of a Task, or a row that says why there was none.

    :param origin: ``request``, ``tick``, ``command``, ``console``, ``api`` or ``demand``.
    :param requested_by: the person or process behind the origin, in words.
    :param fire_time: the moment it stands for; None on demand. With ``fire_from`` the row
        stands for every fire time from that one to this one.
    :param fire_count: how many fire times those are; None where nobody counted.
    :param token: the random mark of the supervisor that took it.
    :param summary: one line of result, or the reason why it never started.
    :param error: one line of what went wrong.
    """

    __slots__ = (
        "id", "schedule", "task", "state", "origin", "requested_by", "fire_from", "fire_time",
        "fire_count", "queued_at", "started_at", "finished_at", "attempt", "host", "pid", "token",
        "policy", "arguments", "exit_code", "summary", "error", "cpu_seconds", "peak_memory",
        "output_bytes", "stop_at", "stop_by", "stop_why", "rev",
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
    exit_code: int | None
    summary: str | None
    error: str | None
    cpu_seconds: float | None
    peak_memory: int | None
    output_bytes: int | None
    stop_at: datetime | None
    stop_by: str | None
    stop_why: str | None
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
    return Run(
        id=run_id or new_run_id(), schedule=schedule.name, task=schedule.task, state=QUEUED, origin=origin,
        requested_by=by, fire_time=fire_time, queued_at=now, attempt=0, policy=schedule.policy,
        arguments=schedule.arguments, rev=1,
    )  # fmt: skip


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

    :param fire_time: the fire time that becomes a Run; None when none does.
    :param gap: the fire times that become a row instead; None when there are none.
    """

    __slots__ = ("fire_time", "gap", "next_fire_time", "watermark")

    fire_time: datetime | None
    gap: Gap | None
    next_fire_time: datetime | None
    watermark: datetime | None


class Outcome(Value):
    """How a Run ended, as its supervisor saw it; written once."""

    __slots__ = (
        "state", "exit_code", "summary", "error", "finished_at", "cpu_seconds", "peak_memory",
        "output_bytes",
    )  # fmt: skip

    state: str
    exit_code: int | None
    summary: str | None
    error: str | None
    finished_at: datetime
    cpu_seconds: float | None
    peak_memory: int | None
    output_bytes: int | None


class Declaration(Value):
    """What a loaded ``__tasks__.py`` says of one Task."""

    __slots__ = ("name", "trigger", "policy", "description", "source")

    name: str
    trigger: str | None
    policy: str
    description: str
    source: str
