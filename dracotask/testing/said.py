"""What a test says of durations, failures and downtimes, made into values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

from ..clock import parse_duration
from ..errors import ScheduleNotFound
from ..model import Run
from .machine import Down
from .moments import moment_said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a Run that fails is said to have raised, when nobody says better.
FAILURE = "the simulation lets it fail"

_NOTHING = timedelta()


def durations_said(said: Mapping[str, Any], names: Collection[str]) -> Callable[[Run], timedelta]:
    """Return how long each Run takes.

    :param said: by Schedule or Task, a length of time, or a function of the Run that returns one.
    :raises ScheduleNotFound: there is none of that name; ValueError: it is no length of time.
    """
    _check_names("durations", said, names)
    fixed = {name: value if callable(value) else _span(name, value) for name, value in said.items()}

    def duration(run: Run) -> timedelta:
        value = fixed.get(run.schedule, fixed.get(run.task, _NOTHING)) if fixed else _NOTHING
        return _span(run.schedule, value(run)) if callable(value) else value

    return duration


def _span(name: str, said: Any) -> timedelta:
    try:
        return parse_duration(said)
    except ValueError as error:
        raise ValueError(f"durations of {name}: {error}") from None


def failures_said(
    said: Mapping[str, Any], names: Collection[str], zone: str
) -> Callable[[Run], BaseException | str | None]:
    """Return what each Run raises; None when it ends well.

    :param said: by Schedule or Task: ``True`` for always; a number for each so-manieth; the fire times at which it
        fails; an exception; or a function of the Run, which returns True, an error or a text for a failure.
    :raises ScheduleNotFound: there is none of that name; ValueError, TypeError: it is nothing of these.
    """
    _check_names("failures", said, names)
    judges = {name: _judge(name, value, zone) for name, value in said.items()}

    def error(run: Run) -> BaseException | str | None:
        judge = judges.get(run.schedule) or judges.get(run.task)
        verdict = judge(run) if judge else None
        if isinstance(verdict, type) and issubclass(verdict, BaseException):
            return verdict()
        if isinstance(verdict, BaseException):
            return verdict
        return (verdict if isinstance(verdict, str) else FAILURE) if verdict else None

    return error


def _judge(name: str, said: Any, zone: str) -> Callable[[Run], Any]:
    if isinstance(said, bool | BaseException) or (isinstance(said, type) and issubclass(said, BaseException)):
        return lambda run: said
    if isinstance(said, int):
        return _each(name, said)
    if callable(said):
        return said  # type: ignore[no-any-return]
    if isinstance(said, str | datetime) or not isinstance(said, Iterable):
        raise TypeError(f"failures of {name}: {said!r:.60} is no number, set of fire times, exception or function.")
    moments = {moment_said(each, zone) for each in said}
    return lambda run: run.fire_time in moments


def _each(name: str, number: int) -> Callable[[Run], bool]:
    """Fail each so-manieth time that a Run begins."""
    if number < 1:
        raise ValueError(f"failures of {name}: {number} cannot be; 3 lets each third one fail.")
    begun: Counter[str] = Counter()

    def fails(run: Run) -> bool:
        begun[run.schedule] += 1
        return begun[run.schedule] % number == 0

    return fails


def _check_names(what: str, said: Mapping[str, Any], names: Collection[str]) -> None:
    if not isinstance(said, Mapping):
        raise TypeError(f"{what}={said!r:.60} is no dictionary by the names of tasks.")
    for name in said:
        if name not in names:
            raise ScheduleNotFound(name, sorted(names))


def downtime_said(said: Iterable[Any], zone: str) -> list[Down]:
    """Return the times in which nothing runs, each said as two moments.

    :raises ValueError, TypeError: one is none.
    """
    try:
        pairs = [(start, end) for start, end in said]
    except (TypeError, ValueError):
        raise TypeError("downtime is a list of pairs: [('2027-01-03 12:00', '2027-01-04 08:00')].") from None
    return [Down(moment_said(start, zone), moment_said(end, zone)) for start, end in pairs]
