"""Events: what has happened to runs, schedules and schedulers, as typed facts.

Who wants to be told says so with :func:`on` in ``__tasks__.py``, or with ``listen()`` of a program's
own Scheduler:

    @on(RunFailed, RunLost)
    def tell_anna(event):
        send_mail("anna@example.com", f"{event.schedule}: {event.error}")

To listen to a family (``RunEvent``, ``ScheduleEvent``) is to listen to all of it. An event is on record
before anybody hears of it, and is told in the order in which things happened. The task file of a run
imports this module too, so nothing heavy is needed here.
"""

from __future__ import annotations

import sys

from .clock import from_text, to_text
from .errors import BadListener
from .model import FAILED, LOST, MISSED, QUEUED, RUNNING, SKIPPED, STOPPED, SUCCEEDED, TIMED_OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from typing import Any, ClassVar, TypeVar

    from .model import Run

    Told = TypeVar("Told", bound="Callable[[Any], object]")


class Event:
    """A fact: it does not change, is equal to another of the same kind and values, and has a text.

    :ivar at: when it happened, in UTC.
    """

    __slots__ = ("at",)

    at: datetime

    def __init__(self, **facts: Any) -> None:
        for name in self.names():
            object.__setattr__(self, name, facts.pop(name, None))
        if facts:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(facts))}")

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all it knows."""
        return [name for kind in reversed(cls.__mro__) for name in getattr(kind, "__slots__", ())]

    @property
    def kind(self) -> str:
        """What has happened, as the name of its class: ``"RunFailed"``."""
        return type(self).__name__

    def to_json(self) -> str:
        """Return the text that :func:`event_from_json` reads back."""
        import json

        facts = {name: _written(name, value) for name in self.names() if (value := getattr(self, name)) is not None}
        return json.dumps({"kind": self.kind, **facts})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} of {self.kind} cannot be set: what has happened does not change.")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.names())

    def __hash__(self) -> int:
        return hash((self.kind, self.at))

    def __repr__(self) -> str:
        facts = (f"{name}={value!r}" for name in self.names() if (value := getattr(self, name)) is not None)
        return f"{self.kind}({', '.join(facts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return event_from_json, (self.to_json(),)


def _written(name: str, value: Any) -> Any:
    return to_text(value) if name in _TIMES else value


#: What is a moment among the facts.
_TIMES = ("at", "fire_from", "fire_time", "started_at", "finished_at", "next_at", "next_fire_time")


def event_from_json(text: str) -> Event:
    """Read :meth:`Event.to_json` back.

    :raises ValueError: it is no event, or of a kind that this version does not know.
    """
    import json

    facts = json.loads(text)
    kind = KINDS.get(facts.pop("kind", None)) if isinstance(facts, dict) else None
    if kind is None:
        raise ValueError(f"{text!r:.80} is no event known here.")
    known = kind.names()
    return kind(**{
        name: from_text(value) if name in _TIMES else value for name, value in facts.items() if name in known
    })  # fmt: skip


# -- A scheduler ---------------------------------------------------------------------------------


class SchedulerEvent(Event):
    """Something has happened to a whole scheduler.

    :ivar by: who did it, in words; None when nobody in particular did.
    :ivar why: the reason that was given, or None.
    """

    __slots__ = ("by", "why")

    by: str | None
    why: str | None


class SchedulerStarted(SchedulerEvent):
    """A program's own Scheduler looks and runs what is due from now on."""

    __slots__ = ()


class SchedulerStopped(SchedulerEvent):
    """A program's own Scheduler starts nothing any more."""

    __slots__ = ()


class SchedulerHeld(SchedulerEvent):
    """Nothing of the whole site, or program, begins from now on."""

    __slots__ = ()


class SchedulerResumed(SchedulerEvent):
    """The hold of the whole site, or program, has ended."""

    __slots__ = ()


class StoreOpened(SchedulerEvent):
    """The store of a program's own Scheduler is in use."""

    __slots__ = ()


class StoreClosed(SchedulerEvent):
    """The store of a program's own Scheduler is in use no more; what it holds stays for the next start."""

    __slots__ = ()


class LauncherStarted(SchedulerEvent):
    """The threads of a program's own Scheduler take Runs from now on."""

    __slots__ = ()


class LauncherStopped(SchedulerEvent):
    """The threads of a program's own Scheduler take no further Run."""

    __slots__ = ()


class AllSchedulesRemoved(SchedulerEvent):
    """Every Schedule that was added has been removed, at one word."""

    __slots__ = ()


# -- Schedules -----------------------------------------------------------------------------------


class ScheduleEvent(Event):
    """Something has happened to a Schedule.

    :ivar schedule: its name.
    :ivar task: the name of its Task.
    :ivar by: who did it, in words: "anna", "the task file", "the task itself".
    :ivar why: the reason that was given, or None.
    :ivar details: what else was said, as the record of the verb has it: ``until``, ``trigger``, ``arguments`` …
    """

    __slots__ = ("schedule", "task", "by", "why", "details")

    schedule: str
    task: str
    by: str
    why: str | None
    details: dict[str, Any]


class ScheduleAdded(ScheduleEvent):
    """A Schedule is there: added at run time, or new (or back) in the task file."""

    __slots__ = ()


class ScheduleRemoved(ScheduleEvent):
    """A Schedule is gone: removed, or its Task is gone from the file."""

    __slots__ = ()


class ScheduleChanged(ScheduleEvent):
    """The family of what changes a Schedule that stays."""

    __slots__ = ()


class ScheduleHeld(ScheduleChanged):
    """Nothing of the Schedule begins from now on."""

    __slots__ = ()


class ScheduleResumed(ScheduleChanged):
    """The hold has ended, by word or by time."""

    __slots__ = ()


class ScheduleRescheduled(ScheduleChanged):
    """The Schedule has another rule; ``details["trigger"]`` is its text."""

    __slots__ = ()


class ScheduleUpdated(ScheduleChanged):
    """Anything else of the Schedule has changed.

    :ivar what: the verb: ``skip_next``, ``update``.
    """

    __slots__ = ("what",)

    what: str


# -- Runs ----------------------------------------------------------------------------------------


class RunEvent(Event):
    """Something has happened to a Run; its facts are as they were then.

    :ivar run_id: the id of the Run.
    :ivar schedule: the name of its Schedule.
    :ivar task: the name of its Task.
    :ivar origin: what brought it about: ``request tick command console api demand after``.
    :ivar requested_by: who stands behind that, in words, or None.
    :ivar fire_time: the moment it stands for; None on demand. With ``fire_from`` it stands for all from that one to
        this one, ``fire_count`` of them, where somebody has counted.
    :ivar attempt: 1 for the first; 0 before it.
    :ivar state: the state of the Run; of an attempt that is retried, what it ended as.
    :ivar summary: one line of result, or the reason why it never started.
    :ivar error: one line of what went wrong.
    :ivar exit_code: of its body; None in a program's own Scheduler.
    """

    __slots__ = (
        "run_id", "schedule", "task", "origin", "requested_by", "fire_from", "fire_time", "fire_count", "attempt",
        "state", "summary", "error", "exit_code", "started_at", "finished_at",
    )  # fmt: skip

    run_id: str
    schedule: str
    task: str
    origin: str
    requested_by: str | None
    fire_from: datetime | None
    fire_time: datetime | None
    fire_count: int | None
    attempt: int
    state: str
    summary: str | None
    error: str | None
    exit_code: int | None
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, run: Run, at: datetime, **more: Any) -> RunEvent:
        """Return the event of a Run as it is."""
        facts = {name: getattr(run, name) for name in RunEvent.__slots__ if name != "run_id"}
        return cls(at=at, run_id=run.id, **facts, **more)


class RunQueued(RunEvent):
    """A Run is on record and waits to begin."""

    __slots__ = ()


class RunStarted(RunEvent):
    """An attempt has begun."""

    __slots__ = ()


class RunProgressed(RunEvent):
    """The task has said how far it is; told every few seconds at most.

    :ivar done: how much, in the task's own measure, of ``total`` (None when nobody knows).
    :ivar note: its words, or None.
    """

    __slots__ = ("done", "total", "note")

    done: float
    total: float | None
    note: str | None


class RunSucceeded(RunEvent):
    """The work is done; ``summary`` is what ``run()`` returned.

    :ivar failures: how many Runs of its Schedule had failed in a row before it; 0 when all was well.
    """

    __slots__ = ("failures",)

    failures: int


class RunFailed(RunEvent):
    """It failed for good; ``error`` says how.

    :ivar failures: how many Runs of its Schedule have failed in a row, this one among them: 1 when all was well before.
    """

    __slots__ = ("failures",)

    failures: int


class RunTimedOut(RunEvent):
    """It took too long, and no attempt is left.

    :ivar failures: as of :class:`RunFailed`.
    """

    __slots__ = ("failures",)

    failures: int


class RunStopped(RunEvent):
    """Somebody wanted it stopped, at work or before it began."""

    __slots__ = ()


class RunLost(RunEvent):
    """Its process is gone without a word.

    :ivar failures: as of :class:`RunFailed`.
    """

    __slots__ = ("failures",)

    failures: int


class RunRetried(RunEvent):
    """An attempt has failed, and another will follow.

    :ivar next_at: when that may begin.
    """

    __slots__ = ("next_at",)

    next_at: datetime


class RunSkipped(RunEvent):
    """Fire times became no Run, or a Run that waited never began; ``summary`` is the reason."""

    __slots__ = ()


class RunMissed(RunEvent):
    """Fire times went by unseen or came too late; ``summary`` is the reason."""

    __slots__ = ()


#: What a Run that is in a state has just come to.
OF_STATE: dict[str, type[RunEvent]] = {
    QUEUED: RunQueued, RUNNING: RunStarted, SUCCEEDED: RunSucceeded, FAILED: RunFailed, TIMED_OUT: RunTimedOut,
    STOPPED: RunStopped, LOST: RunLost, SKIPPED: RunSkipped, MISSED: RunMissed,
}  # fmt: skip

#: What a verb has done to a Schedule, and to the whole site; any other verb is an update, and those of Runs are told
#: by the Runs themselves.
OF_VERB: dict[str, type[ScheduleEvent]] = {
    "add": ScheduleAdded, "remove": ScheduleRemoved, "hold": ScheduleHeld, "resume": ScheduleResumed,
    "reschedule": ScheduleRescheduled,
}  # fmt: skip
OF_SITE_VERB: dict[str, type[SchedulerEvent]] = {
    "hold": SchedulerHeld, "resume": SchedulerResumed, "remove_all": AllSchedulesRemoved,
}  # fmt: skip
VERBS_OF_RUNS = ("demand", "run_now", "stop")


def leaves(family: type[Event]) -> list[type[Event]]:
    """Return the kinds of a family, which are what is told; of a kind, itself."""
    children = family.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [family]


#: The kinds that are told, by name.
KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in leaves(Event)}


# -- Who is told ---------------------------------------------------------------------------------

#: The listeners of the task file, and who sends pings and alerts (:mod:`.alerts`). Before each kind that the note in
#: the store says is wanted, and before each that is in the outbox, stands for whom.
LISTENERS, ALERTS = "", "alerts:"

#: What alerts are about, in that note: a Schedule that was well fails, or one that failed is well again.
TURN = "turn"


def is_turn(event: Event) -> bool:
    """Tell whether with an event a Schedule begins to fail, or ceases to."""
    failures = getattr(event, "failures", None)
    return failures is not None and (failures > 0 if event.kind == "RunSucceeded" else failures == 1)


# -- Listeners -----------------------------------------------------------------------------------


class Listener:
    """Who wants to be told of what.

    :ivar function: takes the event.
    :ivar kinds: the names of the kinds it hears.
    :ivar tasks: the names of the Tasks that it hears of; None for all.
    """

    __slots__ = ("function", "kinds", "tasks")

    #: What the task file has said, in its order; the loader reads it.
    defined: ClassVar[list[Listener]] = []

    def __init__(
        self, function: Callable[[Any], object], families: Iterable[type[Event]], task: object | None = None
    ) -> None:
        self.kinds, self.tasks = _checked_kinds(tuple(families)), _checked_tasks(task)
        self.function = function
        if not callable(function):
            raise BadListener(f"{function!r:.60} cannot be told anything: give a function that takes the event.")

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__qualname__", None) or repr(self.function)[:60])

    @property
    def line(self) -> int:
        """The line in which it is defined; 0 when nobody knows."""
        return int(getattr(getattr(self.function, "__code__", None), "co_firstlineno", 0))

    def hears(self, event: Event) -> bool:
        """Tell whether it is to be told of an event."""
        return event.kind in self.kinds and (self.tasks is None or getattr(event, "task", None) in self.tasks)

    def wanted(self) -> list[str]:
        """Return what it wants to hear, as the note in the store has it: ``RunFailed``, ``RunFailed/Import``."""
        if self.tasks is None:
            return list(self.kinds)
        return [f"{kind}/{task}" for kind in self.kinds for task in self.tasks]


def _checked_kinds(families: tuple[Any, ...]) -> list[str]:
    for family in families:
        if not (isinstance(family, type) and issubclass(family, Event)):
            raise BadListener(f"{family!r:.60} is no kind of event: write @on(RunFailed), or another that there is.")
    if not families:
        raise BadListener("nothing is listened to: name one kind of event at least, as in @on(RunFailed).")
    return list(dict.fromkeys(kind.__name__ for family in families for kind in leaves(family)))


def _checked_tasks(task: Any) -> list[str] | None:
    if task is None:
        return None
    tasks = [*task] if isinstance(task, list | tuple | set | frozenset) else [task]
    names = [_name_of(each) for each in tasks]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise BadListener(f"task={task!r:.60} names no task: give its name, or several in a list.")
    return names


def _name_of(task: Any) -> Any:
    """Return the name of a Task that is said as a class, or as the function that ``@task`` has made one of."""
    functions = sys.modules.get("dracotask.functions")
    kind = task if isinstance(task, type) else functions and callable(task) and functions.decorated(task)
    return kind.__name__ if kind else task


def on(*kinds: type[Event], task: object | None = None) -> Callable[[Told], Told]:
    """Have a function of ``__tasks__.py`` told of events, one after the other, once each is on record.

    It is called in a process of its own, and may be ``async``. What it does, or fails to do, changes nothing of the
    run that it hears of; after ``listener_limit`` it is killed.

    :param kinds: kinds of events, or families of them.
    :param task: the name of a Task, or several; None for all.
    :raises BadListener: these are no kinds of events.
    """
    _checked_kinds(kinds)  # at the line of the @on that says them

    def listen(function: Told) -> Told:
        Listener.defined.append(Listener(function, kinds, task))
        return function

    return listen
