"""Tasks: what a site owner writes, and what he finds around him while it runs.

    class NightlyReport(Task):
        \"\"\"Sends the sales figures.\"\"\"

        def __init__(self):
            self.schedule(minute=0, hour=3)

        def run(self):
            ...
            return "412 orders"

The signature of ``schedule``, the names ``logger``, ``config`` and ``database``, and the file
``__tasks__.py`` are Draco's (its manual, chapters 5.2 and 5.6). (The module is not called ``task``:
in the package that is the decorator of :mod:`.functions`.)
"""

from __future__ import annotations

import sys

from .errors import LoadError
from .model import OMITTED, Declaration, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date, datetime, timedelta
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

    #: Whether its Schedule is held when it is seen for the first time, until somebody resumes it.
    start_held: ClassVar[bool] = False

    #: Every subclass as it is defined: itself and its line; the loader reads it.
    defined: ClassVar[list[tuple[type[Task], int]]] = []

    #: Whether schedule() reads what it is told. The body of a run has no use for it, and saves cron's import.
    reads_schedules: ClassVar[bool] = True

    #: The function that ``@task`` has made it of; None for a class.
    of_function: ClassVar[Callable[..., Any] | None] = None

    #: The one that this process was forked for, in the body of a run.
    of_this_process: ClassVar[Task | None] = None

    #: What this execution is: ``id``, ``schedule``, ``fire_time`` (None on demand), ``attempt`` and ``arguments`` (a
    #: dictionary). None in a unit test.
    current_run: Run | None = None

    #: The way to whoever looks after this execution; outside of one it leads nowhere.
    steering: Steering = Nowhere()  # type: ignore[assignment]

    def __init_subclass__(cls, line: int | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "abstract" not in cls.__dict__:
            cls.abstract = False
        if line is None:
            frame = sys._getframe(1)
            while frame.f_back and frame.f_globals.get("__name__") != cls.__module__:
                frame = frame.f_back
            line = frame.f_lineno
        Task.defined.append((cls, line))

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
        calendar: str = OMITTED,
        after: str | type[Task] | Iterable[str | type[Task]] = OMITTED,
        trigger: Trigger = OMITTED,
        time: str = OMITTED,
        start: str | date = OMITTED,
        end: str | date = OMITTED,
        timezone: str = OMITTED,
        between: str = OMITTED,
        exclude: str | date | Iterable[str | date] = OMITTED,
        jitter: str | float | timedelta = OMITTED,
    ) -> None:
        """Say when the task is due. Several calls join: it is due whenever one of them says so.

        Of minute, hour and dow together, cron, every, at, calendar, after and trigger there is one in each call.

        :param minute: 0 to 59; a number, several (a tuple, list, set or range), or None for all.
        :param hour: 0 to 23, likewise.
        :param dow: day of the week, likewise; **0 is Monday** and 6 Sunday (in cron 0 is Sunday).
            An *omitted* argument finer than the finest given one is 0, any other omitted one means
            all: ``schedule(hour=4)`` is 04:00, ``schedule(minute=30)`` hourly at :30,
            ``schedule(dow=0)`` Mondays at 00:00 and ``schedule()`` every minute.
        :param cron: a line of cron's five fields, in cron's own numbering; six with the seconds first. ``H`` stands for
            a number of the task's own.
        :param every: an interval: "90s", "15m", "2h", a number of seconds or a timedelta. It is counted from a fixed
            moment, so that every host names the same fire times.
        :param at: one moment: "2027-01-01T00:00+01:00", or a datetime with a zone.
        :param calendar: every so many dates: "3 months", "1 year", "2 weeks", "10 days".
        :param after: the name of a task or schedule, or several: it runs whenever one of them has succeeded. While it
            is at work then, it runs once more when that has ended.
        :param trigger: a Trigger, of a class of your own too.
        :param time: with ``calendar``, the time of day; "00:00" if omitted.
        :param start: no fire time is earlier: a moment as in ``at``, with ``calendar`` a date. With ``every`` it is the
            first, with ``calendar`` the one that is counted from.
        :param end: no fire time is later, likewise.
        :param timezone: whose clock this rule goes by, an IANA name; the site's if omitted. With it, moments may do
            without their own.
        :param between: only while that clock shows so much: "22:00-06:00", "08:00-12:00,13:00-17:00"; the end is
            without.
        :param exclude: dates on which it is not due: "2026-12-25", a range "2026-12-28..2027-01-02", a date, several
            of them, or the path of a file of them in the docroot, .txt or .ics.
        :param jitter: put each fire time off by up to so much, always by the same and never up to the next, so that
            not all tasks of the world begin on the hour.
        :raises ValueError: for anything out of range; TypeError: for what does not go together.
        """
        if not Task.reads_schedules:
            return
        from .rules import rule_of

        rule = rule_of(
            minute, hour, dow, cron=cron, every=every, at=at, calendar=calendar, after=after,
            trigger=trigger, time=time,
            start=start, end=end, timezone=timezone, between=between, exclude=exclude, jitter=jitter,
        )  # fmt: skip
        self.__dict__.setdefault("_rules", []).append(rule)

    def run(self, **arguments: Any) -> str | None:
        """Do the work. A returned text is the Run's one-line summary; an exception is its failure.

        It may be an ``async def``, which ``asyncio.run()`` then does. There a stop is asyncio's ``CancelledError``.

        Parameters are what a schedule that is added at run time, or a command, hands over by name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run().")

    def around(self) -> AbstractContextManager[object]:
        """Return what ``run()`` is done within: a context manager. As it is here it does nothing.

        It is meant to be overridden once, in a base class of your own: to set a framework up, to enter its context::

            @contextmanager
            def around(self):
                with app.app_context():
                    yield

        It is entered in the process of the Run, by each attempt anew, and what it raises is the Run's failure. An
        ``async def run()`` is done within it as a whole. A test that calls ``run()`` goes without.
        """
        from contextlib import nullcontext

        return nullcontext()

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

    def checkpoint(self, data: Any) -> None:
        """Keep where the work is, for the attempt after this one, if this one fails, is killed or taken too long.

        That finds it as ``self.current_run.checkpoint``, which is None at first. It is kept when this returns; each
        replaces the one before.

        :param data: anything that JSON knows, of 64 KiB at most.
        :raises TypeError, ValueError: it is nothing of the sort; OSError: it cannot be kept.
        """
        from .steering import checked_checkpoint

        self.steering.checkpoint(checked_checkpoint(data))

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

        return OwnSchedule(self.steering, self.current_run.schedule if self.current_run else type(self).__name__)

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


def work_of(task: Task) -> Callable[..., Any]:
    """Return what does the work of a Task, and takes its arguments: ``run()``, or the function under ``@task``."""
    return type(task).of_function or task.run


def declaration(
    task: Task, *, line: int, zone: str, policy: dict[str, Any], now: datetime | None = None
) -> Declaration:
    """Return what ``task`` declares, with its cron rules in ``zone`` and the site's ``policy`` over its own.

    :param now: as in :class:`~.rules.Rule`.
    :raises LoadError: a policy on the class makes no sense, or there is no ``run()`` that does the work.
    """
    kind = type(task)
    if kind.run is Task.run:
        raise LoadError(f"class {kind.__name__} has no run(). Give it one, or set abstract = True.")
    from .arguments import parameters_of
    from .promises import REMEDY, is_generator

    if is_surrounded(task):
        _check_around(kind)
    work = work_of(task)
    if is_generator(work):
        raise LoadError(f"{in_words(kind)}: {work.__name__}() is a generator, and nobody draws from it: {REMEDY}.")
    try:
        parameters = parameters_of(work)
    except ValueError as error:
        raise LoadError(f"{in_words(kind)}: {error}.") from None
    trigger = rule_in_force(task, zone, kind.__name__, now)
    description = next((line for line in map(str.strip, (kind.__doc__ or "").splitlines()) if line), "")
    return Declaration(
        name=kind.__name__,
        trigger=None if trigger is None else str(trigger),
        parameters=parameters,
        policy=_policy(kind, policy).to_text(),
        description=description,
        source=f"__tasks__.py:{line}",
        start_held=_starts_held(kind),
    )


def is_surrounded(task: Task) -> bool:
    """Tell whether ``run()`` is to be done within something: most often not, and nothing is to be entered."""
    return type(task).around is not Task.around


def _check_around(kind: type[Task]) -> None:
    """Refuse an ``around()`` that no run could be within.

    :raises LoadError: it is one.
    """
    import inspect

    from .promises import is_coroutine, is_generator

    said = f"{in_words(kind)}: around()"
    if is_generator(kind.around) or is_coroutine(kind.around):
        raise LoadError(f"{said} returns no context manager. Let it be a plain def, and put @contextmanager above it.")
    try:
        inspect.signature(kind.around).bind(None)
    except TypeError:
        remedy = "If it has nothing to do with run(), call it something else."
        raise LoadError(f"{said} is called with nothing but self, and returns a context manager. {remedy}") from None


def _starts_held(kind: type[Task]) -> bool:
    said = kind.start_held
    if not isinstance(said, bool):
        raise LoadError(f"{in_words(kind)}: start_held = {said!r:.60} cannot be: it is True or False.")
    return said


def in_words(kind: type[Task]) -> str:
    """Return what a task is called in messages: "class Report", "function sweep"."""
    return f"{'class' if kind.of_function is None else 'function'} {kind.__name__}"


def rule_in_force(task: Task, zone: str, name: str, now: datetime | None = None) -> Trigger | None:
    """Return the Trigger of a Schedule of that name by what ``task`` said in ``schedule()``; None for on demand only.

    :param now: as in :class:`~.rules.Rule`.
    """
    rules = [rule(zone, name, now) for rule in task.__dict__.get("_rules", ())]
    if len(rules) > 1:
        from .triggers.combining import AnyTrigger

        return AnyTrigger(rules)
    return rules[0] if rules else None


def _policy(kind: type[Task], site: dict[str, Any]) -> Policy:
    from .keys import POLICY_KEYS
    from .model import DEFAULT_POLICY

    _refuse_slips(kind)
    own: dict[str, Any] = {}
    for key, (read, _) in POLICY_KEYS.items():
        if hasattr(kind, key):
            try:
                own[key] = read(getattr(kind, key))
            except (ValueError, TypeError) as error:
                raise LoadError(f"{in_words(kind)}: {key} = {getattr(kind, key)!r} cannot be: {error}.") from None
    return Policy(**{**DEFAULT_POLICY, **own, **site})


def _refuse_slips(kind: type[Task]) -> None:
    """Refuse what can only be a slip of the pen for a policy; any other attribute is the task's own business.

    :raises LoadError: with the name that would be right.
    """
    from .keys import POLICY_KEYS, likely_policy

    for base in kind.__mro__[: kind.__mro__.index(Task)]:
        for name, value in vars(base).items():
            is_plain = isinstance(value, str | int | float | list | tuple | None)
            if is_plain and not name.startswith("_") and name not in POLICY_KEYS and not hasattr(Task, name):
                meant = likely_policy(name)
                if meant is not None:
                    said = f"{in_words(kind)}: {name} = {value!r:.80}"
                    raise LoadError(f"{said} is no policy. Did you mean {meant}?")
