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

from .errors import BadTrigger, LoadError
from .model import Declaration, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from typing import Any, ClassVar

    from .model import Run
    from .triggers.base import Trigger
    from .work import Configuration, Database, Logger

#: Stands for an argument that was left out, which is not the same as None.
OMITTED: Any = type("Omitted", (), {"__repr__": lambda self: "(omitted)"})()


class Task:
    """A template of work: subclass it in ``DOCROOT/__tasks__.py`` and give it a ``run()``.

    Every strict subclass that the file defines is a task, in the order of definition, but for those
    with ``abstract = True`` of their own. A Task that never calls :meth:`schedule` runs only on
    demand. It can be tested as ``MyTask().run()``, with none of the machinery.

    The policy of a task is set on the class: ``time_limit = "10m"``, ``stop_grace``, ``max_output``,
    ``memory_limit``, ``nice``, ``max_instances``, ``keep_runs``, ``keep_days``; dracotask.toml has the
    same names, and wins.
    """

    abstract: ClassVar[bool] = True

    #: Every subclass as it is defined: itself and its line; the loader reads it.
    defined: ClassVar[list[tuple[type[Task], int]]] = []

    #: Whether schedule() reads what it is told. The body of a run has no use for it, and saves cron's import.
    reads_schedules: ClassVar[bool] = True

    #: What this execution is: ``id``, ``fire_time`` (None on demand), ``attempt``, ``schedule``. None in a unit test.
    current_run: Run | None = None

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
        draco = (minute, hour, dow)
        kinds = (("cron", cron), ("every", every), ("at", at), ("trigger", trigger))
        said = [(name, value) for name, value in kinds if value is not OMITTED]
        if len(said) + any(part is not OMITTED for part in draco) > 1:
            raise TypeError("schedule() takes minute, hour, dow, or one of cron=, every=, at=; call it once for each.")
        rule = _RULES[said[0][0]](said[0][1]) if said else _draco_cron(draco)
        self.__dict__.setdefault("_rules", []).append(rule)

    def run(self) -> str | None:
        """Do the work. A returned text is the Run's one-line summary; an exception is its failure."""
        raise NotImplementedError(f"{type(self).__name__} has no run().")

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
    rules = [rule(zone) if callable(rule) else rule for rule in task.__dict__.get("_rules", ())]
    description = next((line for line in map(str.strip, (kind.__doc__ or "").splitlines()) if line), "")
    return Declaration(
        name=kind.__name__,
        trigger=_joined(rules),
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


# The zone is the site's, and known only to whoever loads the file: a cron rule waits for it.


def _checked_cron(expression: str) -> Any:
    from .triggers.cron import CronTrigger

    if not isinstance(expression, str):
        raise BadTrigger(f"cron={expression!r} is no cron line. Write cron=\"*/15 * * * *\", or leave it out.")
    CronTrigger(expression, "UTC")
    return lambda zone: CronTrigger(expression, zone)


def _draco_cron(arguments: tuple[Any, Any, Any]) -> Any:
    from .triggers.draco import OMITTED as LEFT_OUT
    from .triggers.draco import from_draco

    minute, hour, dow = (LEFT_OUT if part is OMITTED else part for part in arguments)
    return _checked_cron(from_draco(minute, hour, dow))


def _interval(every: str | float | timedelta) -> Trigger:
    from .triggers.interval import EPOCH, IntervalTrigger, parse_every

    return IntervalTrigger(every=parse_every(every), start=EPOCH)


def _date(at: str | datetime) -> Trigger:
    from .triggers.date import DateTrigger, parse_at

    return DateTrigger(parse_at(at))


def _checked_trigger(trigger: Trigger) -> Trigger:
    from .triggers import parse_trigger

    if not callable(getattr(trigger, "next_after", None)):
        raise BadTrigger(f"trigger={trigger!r} is not a Trigger. For a rule in words use cron=, every= or at=.")
    parse_trigger(str(trigger))  # what is stored must be readable
    return trigger


_RULES: dict[str, Callable[[Any], Any]] = {
    "cron": _checked_cron,
    "every": _interval,
    "at": _date,
    "trigger": _checked_trigger,
}
