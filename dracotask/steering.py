"""Steering: what a task at work can say to whoever looks after it, and ask.

In a body it is a pipe to the supervisor, in a program's own Scheduler a few fields; outside of a
run, in a unit test say, it does nothing.
"""

from __future__ import annotations

from contextvars import ContextVar

from .model import OMITTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime, timedelta
    from typing import Any

    from .tasks import Task
    from .triggers.base import Trigger


#: The Task that is at work in this thread or coroutine, in a program's own Scheduler; a body has one for the process.
at_hand: ContextVar[Task] = ContextVar("dracotask.at_hand")

#: A note on the progress, and a reason, are cut or refused beyond so many letters.
LONGEST_NOTE, LONGEST_WHY = 200, 500

#: What an attempt may leave for the next one, in bytes of JSON: where it was, and not what it has made.
LARGEST_CHECKPOINT = 1 << 16


class Steering:
    """The way that leads nowhere, and the shape of those that lead somewhere."""

    def proceed(self) -> bool:
        """Tell whether to go on."""
        return True

    def now(self) -> datetime:
        """Return the present moment."""
        from .clock import utc_now

        return utc_now()

    def zone(self) -> str:
        """Return the name of the time zone of cron rules: here that of the docroot at hand."""
        from .work import site_config
        from .zones import site_zone

        return site_zone(site_config().timezone)[0]

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        """Say how far the work is.

        :raises TypeError, ValueError: what is said makes no sense.
        """
        checked_progress(done, total, note)

    def checkpoint(self, text: str) -> None:
        """Keep what the next attempt is to find, as JSON; when it returns, it is kept.

        :raises OSError: it cannot be.
        """

    def steer(self, verb: str, details: dict[str, str | None]) -> None:
        """Have a verb of :class:`~.control.Control` done to the Schedule of this Run.

        :param verb: ``hold``, ``resume``, ``demand``, ``reschedule`` or ``unschedule``.
        :param details: its arguments as texts: ``until`` (ISO, UTC), ``why``, ``trigger`` (None: the file's).
        """


def checked_progress(done: Any, total: Any, note: Any) -> tuple[float, float | None, str | None]:
    """Return a progress as it is kept: numbers that can be compared, and a note on one line.

    :raises TypeError, ValueError: naming the argument.
    """
    if not isinstance(note, str | None):
        raise TypeError(f"note is a {type(note).__name__}, and no text.")
    if note:
        note = printable(note[:LONGEST_NOTE])
    return _number("done", done), None if total is None else _number("total", total), note or None


def checked_checkpoint(data: object) -> str:
    """Return what an attempt leaves for the next one, as JSON.

    :raises TypeError, ValueError: JSON does not know it, or it is too large.
    """
    import json

    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    if len(text) > LARGEST_CHECKPOINT:  # (all of it is ASCII)
        raise ValueError(
            f"a checkpoint of {len(text)} bytes is too large: {LARGEST_CHECKPOINT} are the most. Say where the work"
            " is, and keep what it has made elsewhere."
        )
    return text


def printable(words: str) -> str:
    """Return words on one line, without what is none to be printed."""
    return "".join(letter if letter.isprintable() else " " for letter in words).strip()


def _number(name: str, value: Any) -> float:
    # (numpy's numbers, Decimal and Fraction are numbers; True is a slip of the pen.)
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is a {type(value).__name__}, and no number.")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} is {value!r:.60}: it must be zero or more, and finite.")
    return number


class OwnSchedule:
    """The Schedule of the Run at hand, steered from within it; in force as soon as it is said.

    Each verb is recorded as done by the task itself. What makes no sense is refused here, with a TypeError or a
    ValueError. What cannot be done all the same is told in the site's log, and the Run goes on.

    :param why: the reason in a few words; it stands beside the verb in the record.
    """

    def __init__(self, steering: Steering, name: str) -> None:
        self._steering, self._name = steering, name

    def reschedule(
        self,
        minute: Any = OMITTED,
        hour: Any = OMITTED,
        dow: Any = OMITTED,
        *,
        cron: str = OMITTED,
        every: str | float | timedelta = OMITTED,
        at: str | datetime = OMITTED,
        calendar: str = OMITTED,
        after: str | Iterable[str] = OMITTED,
        trigger: Trigger = OMITTED,
        time: str = OMITTED,
        start: str | date = OMITTED,
        end: str | date = OMITTED,
        timezone: str = OMITTED,
        between: str = OMITTED,
        exclude: str | date | Iterable[str | date] = OMITTED,
        jitter: str | float | timedelta = OMITTED,
        file: bool = False,
        why: str | None = None,
    ) -> None:
        """Give the Schedule another rule, said as in ``Task.schedule()``: ``reschedule(every="2m")``.

        For a Task's own Schedule it counts until the file has another.

        :param file: go back to the rule that stands in the file, instead of any other.
        :raises ValueError: the rule makes no sense, or never fires again; TypeError: there is none, or two.
        """
        rule = dict(
            minute=minute, hour=hour, dow=dow, cron=cron, every=every, at=at, calendar=calendar, after=after,
            trigger=trigger, time=time, start=start, end=end, timezone=timezone, between=between, exclude=exclude,
            jitter=jitter,
        )  # fmt: skip
        said = {name: value for name, value in rule.items() if value is not OMITTED}
        if bool(said) == bool(file):
            raise TypeError("reschedule() takes a rule, such as every='2m', or file=True for the one in the file.")
        self._steer("reschedule", why, trigger=self._in_words(said) if said else None)

    def hold(self, *, until: str | float | timedelta | datetime | None = None, why: str | None = None) -> None:
        """Let nothing more of the Schedule begin; what runs now goes on.

        :param until: a moment, or a length of time from now ("2h", a number of seconds); None for until somebody
            resumes.
        :raises ValueError: it is past, or cannot be understood.
        """
        from .clock import moment_of, to_text

        now = self._steering.now()
        end = None if until is None else moment_of(until, now)
        if end is not None and end <= now:
            raise ValueError(f"until={until!r:.60} is past: a hold ends later than now, or when somebody resumes.")
        self._steer("hold", why, until=None if end is None else to_text(end))

    def resume(self, *, why: str | None = None) -> None:
        """End a hold."""
        self._steer("resume", why)

    def demand(self, *, why: str | None = None) -> None:
        """Have it run once more when this Run has ended; several demands are one."""
        self._steer("demand", why)

    def unschedule(self, *, why: str | None = None) -> None:
        """Let this Run be the last: a Schedule that was added is removed, a Task's own one is held."""
        self._steer("unschedule", why)

    def _steer(self, verb: str, why: str | None, **details: str | None) -> None:
        if not isinstance(why, str | None):
            raise TypeError(f"why is a {type(why).__name__}, and no text.")
        if why and len(why) > LONGEST_WHY:
            raise ValueError(f"why has {len(why)} letters: {LONGEST_WHY} are the most.")
        self._steering.steer(verb, {**details, "why": why})

    def _in_words(self, rule: dict[str, Any]) -> str:
        """Return the text of the Trigger that a rule says.

        :raises BadTrigger: it makes no sense, or never fires again.
        """
        from .errors import BadTrigger
        from .rules import rule_of

        trigger = rule_of(**rule).lasting()(self._steering.zone(), self._name, self._steering.now())
        if trigger.next_after(self._steering.now()) is None and "after" not in rule:
            raise BadTrigger(f"'{str(trigger)[:200]}' never fires again: its last moment is past.")
        return str(trigger)
