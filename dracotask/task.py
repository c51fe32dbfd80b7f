"""Task: what a site owner writes, and what he finds around him while it runs.

    class NightlyReport(Task):
        \"\"\"Sends the sales figures.\"\"\"

        def __init__(self):
            self.schedule(minute=0, hour=3)

        def run(self):
            ...
            return "412 orders"

The signature of ``schedule``, the names ``logger``, ``config`` and ``database``, and the file
``__tasks__.py`` are Draco's (its manual, chapters 5.2 and 5.6).
"""

from __future__ import annotations

import sys

from .errors import LoadError
from .model import OMITTED, Declaration, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta
    from typing import Any, ClassVar, TypeVar

    from .model import Run
    from .steering import OwnSchedule, Steering
    from .triggers.base import Trigger
    from .work import Configuration, Database, Logger

    Item = TypeVar("Item")


class Nowhere:
    """Stands for the way to nobody, where it is first asked for: a run that never asks is spared the import."""

    def __get__(self, task: object, kind: object) -> Steering:
        from .steering import Steering

        return Steering()


class Task:
    """A template of work: subclass it in ``DOCROOT/__tasks__.py`` and give it a ``run()``.

    Every strict subclass that the file defines is a task, in the order of definition, but for those
    with ``abstract = True`` of their own. A Task that never calls :meth:`schedule` runs only on
    demand. It can be tested as ``MyTask().run()``, with none of the machinery.

    The policy of a task is set on the class: ``time_limit = "10m"``, ``stop_grace``, ``max_output``,
    ``memory_limit``, ``nice``, ``max_instances``, ``keep_runs``, ``keep_days``; dracotask.toml has the
    same names, and wins. ``exclusive = "name"`` binds tasks that must not run beside each other.
    """

    abstract: ClassVar[bool] = True

    #: Every subclass as it is defined: itself and its line; the loader reads it.
    defined: ClassVar[list[tuple[type[Task], int]]] = []

    #: Whether schedule() reads what it is told. The body of a run has no use for it, and saves cron's import.
    reads_schedules: ClassVar[bool] = True

    #: What this execution is: ``id``, ``schedule``, ``fire_time`` (None on demand), ``attempt`` and ``arguments`` (a
    #: dictionary). None in a unit test.
    current_run: Run | None = None

    #: The way to whoever looks after this execution; outside of one it leads nowhere.
    steering: Steering = Nowhere()  # type: ignore[assignment]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "abstract" not in cls.__dict__:
            cls.abstract = False
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__") != cls.__module__:
            frame = frame.f_back
        Task.defined.append((cls, frame.f_lineno))

    def __init__(self) -> None:
        """Subclasses call ``self.schedule(...)`` here, and may forget ``super().__init__()``."""

    def schedule(
        self,
        minute: Any = OMITTED,
        hour: Any = OMITTED,
        dow: Any = OMITTED,
        *,
        cron: str = OMITTED,
        every: str | float | timedelta = OMITTED,
        at: str | datetime = OMITTED,
        trigger: Trigger = OMITTED,
    ) -> None:
        """Say when the task is due. Several calls join: it is due whenever one of them says so.

        :param minute: 0 to 59; a number, several (a tuple, list, set or range), or None for all.
        :param hour: 0 to 23, likewise.
        :param dow: day of the week, likewise; **0 is Monday** and 6 Sunday (in cron 0 is Sunday).
            An *omitted* argument finer than the finest given one is 0, any other omitted one means
            all: ``schedule(hour=4)`` is 04:00, ``schedule(minute=30)`` hourly at :30,
            ``schedule(dow=0)`` Mondays at 00:00 and ``schedule()`` every minute.
        :param cron: a line of cron's five fields instead, in cron's own numbering.
        :param every: an interval instead: "90s", "15m", "2h", a number of seconds or a timedelta; a second
            at least. It is counted from a fixed moment, so that every host names the same fire times.
        :param at: one moment instead: "2027-01-01T00:00+01:00", or a datetime with a zone.
        :param trigger: a Trigger instead.
        :raises ValueError: for anything out of range; TypeError: for two kinds at once.
        """
        if not Task.reads_schedules:
            return
        from .rules import rule_of

        rule = rule_of(minute, hour, dow, cron=cron, every=every, at=at, trigger=trigger)
        self.__dict__.setdefault("_rules", []).append(rule)

    def run(self, **arguments: Any) -> str | None:
        """Do the work. A returned text is the Run's one-line summary; an exception is its failure.

        Parameters are what a schedule that is added at run time, or a command, hands over by name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run().")

    # -- While it runs -----------------------------------------------------------------------

    def proceed(self) -> bool:
        """Tell whether to go on: False once somebody wants this Run stopped, or its time is up.

        A task that asks is let alone until it has come to a good place, for half of its grace; one that never asks
        gets the exception Stopped at once. True outside of a Run. (Webware TaskKit's ``proceed()``.)
        """
        return self.steering.proceed()

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Say how far the work is; it is shown while the Run is at work, and stays on record.

        It may be said as often as one likes: what is written is the latest, every second or so.

        :param done: how much is done, in any measure.
        :param total: how much it will be; None when nobody knows.
        :param note: a few words on what is being done.
        """
        self.steering.progress(done, total, note)

    def track(self, items: Iterable[Item], *, total: int | None = None) -> Iterator[Item]:
        """Yield each of ``items``, tell the progress, and end early when the work is not to go on.

        :param total: how many there are; None to ask ``len()``, if it can be asked.
        """
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # type: ignore[arg-type]
        done = 0
        for item in items:
            if not self.proceed():
                return
            self.progress(done, total)
            yield item
            done += 1
        self.progress(done, total)

    @property
    def own_schedule(self) -> OwnSchedule:
        """The Schedule that this Run is of, to be steered from within."""
        from .steering import OwnSchedule

        return OwnSchedule(self.steering)

    @property
    def logger(self) -> Logger:
        """The logger, as importable from dracotask: ``debug info warn warning error exception``."""
        from .work import logger

        return logger

    @property
    def config(self) -> Configuration:
        """The site owner's own table [config] of dracotask.toml, read-only."""
        from .work import config

        return config

    @property
    def database(self) -> Database:
        """The site's database: committed when the Run succeeds, rolled back when it fails."""
        from .work import database

        return database


def declaration(task: Task, *, line: int, zone: str, policy: dict[str, Any]) -> Declaration:
    """Return what ``task`` declares, with its cron rules in ``zone`` and the site's ``policy`` over its own.

    :raises LoadError: a policy on the class makes no sense, or there is no ``run()``.
    """
    kind = type(task)
    if kind.run is Task.run:
        raise LoadError(f"class {kind.__name__} has no run(). Give it one, or set abstract = True.")
    from .arguments import parameters_of

    try:
        parameters = parameters_of(task.run)
    except ValueError as error:
        raise LoadError(f"class {kind.__name__}: {error}.") from None
    rules = [rule(zone) if callable(rule) else rule for rule in task.__dict__.get("_rules", ())]
    description = next((line for line in map(str.strip, (kind.__doc__ or "").splitlines()) if line), "")
    return Declaration(
        name=kind.__name__,
        trigger=_joined(rules),
        parameters=parameters,
        policy=_policy(kind, policy).to_text(),
        description=description,
        source=f"__tasks__.py:{line}",
    )


def _joined(rules: list[Trigger]) -> str | None:
    if len(rules) > 1:
        from .triggers.combining import AnyTrigger

        return str(AnyTrigger(rules))
    return str(rules[0]) if rules else None


def _policy(kind: type[Task], site: dict[str, Any]) -> Policy:
    from .model import DEFAULT_POLICY
    from .siteconfig import POLICY_KEYS

    own: dict[str, Any] = {}
    for key, (read, _) in POLICY_KEYS.items():
        if hasattr(kind, key):
            try:
                own[key] = read(getattr(kind, key))
            except (ValueError, TypeError) as error:
                raise LoadError(f"class {kind.__name__}: {key} = {getattr(kind, key)!r} cannot be: {error}.") from None
    return Policy(**{**DEFAULT_POLICY, **own, **site})
