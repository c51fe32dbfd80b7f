"""Draco's ``schedule([minute][, hour][, dow])``, as a cron expression.

Draco counts everything from 0, and its day 0 is Monday where cron's is Sunday. Here is the one place
where that is translated: into names, which mean the same to everybody.
"""

from __future__ import annotations

from ..errors import BadTrigger
from ..model import OMITTED, Omitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


#: Draco's days, as its numbers count them.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: Draco's arguments, the finest first: how many values each has, and what they are.
DRACO_FIELDS = {
    "minute": (60, "minutes are 0-59"),
    "hour": (24, "hours are 0-23"),
    "dow": (7, "days of the week are 0 (Monday) to 6 (Sunday)"),
}


def from_draco(
    minute: int | Iterable[int] | Omitted | None = OMITTED,
    hour: int | Iterable[int] | Omitted | None = OMITTED,
    dow: int | Iterable[int] | Omitted | None = OMITTED,
) -> str:
    """Return the cron expression for the arguments of Draco's ``schedule``.

    Each is a number, several, or None for every value. An omitted argument finer than the finest one
    given is 0, any other omitted one is every value.

    :raises BadTrigger: naming the argument, its value and the range.
    """
    given = {"minute": minute, "hour": hour, "dow": dow}
    names = list(given)
    finest = next((names.index(name) for name in names if given[name] is not OMITTED), 0)
    fields = {}
    for name, value in given.items():
        if isinstance(value, Omitted):
            value = 0 if names.index(name) < finest else None
        fields[name] = _draco_field(name, value)
    return f"{fields['minute']} {fields['hour']} * * {fields['dow']}"


def _draco_field(name: str, value: int | Iterable[int] | None) -> str:
    """Return one field; a full set is a star, for cron's rule about the clock reads the difference."""
    count = DRACO_FIELDS[name][0]
    numbers = range(count) if value is None else _numbers(name, value)
    if len(numbers) == count:
        return "*"
    if name != "dow":
        return ",".join(_ranges(numbers, [str(number) for number in range(count)]))
    # Cron's week starts with the Sunday, so no range may end with it.
    sunday = ["sun"] if 6 in numbers else []
    return ",".join(_ranges([number for number in numbers if number != 6], DAYS) + sunday)


def _numbers(name: str, value: object) -> list[int]:
    """Return the distinct numbers of an argument in order."""
    count, rule = DRACO_FIELDS[name]
    try:
        items = iter([value] if isinstance(value, int | str | bytes) else value)  # type: ignore[call-overload]
    except TypeError as error:
        raise BadTrigger(f"{name}={value!r:.60} is neither a whole number nor several: {rule}.") from error
    numbers = set()
    for item in items:  # one by one: range(10**12) ends with the first that is out of range
        if isinstance(item, bool) or not isinstance(item, int):
            raise BadTrigger(f"{name}={value!r:.60} has {item!r:.60}, which is not a whole number: {rule}.")
        if not 0 <= item < count:
            raise BadTrigger(f"{name}={item!r:.60} is out of range: {rule}.")
        numbers.add(int(item))
    if not numbers:
        raise BadTrigger(f"{name}={value!r:.60} is empty: give one at least, or None for every one; {rule}.")
    return sorted(numbers)


def _ranges(numbers: Iterable[int], names: Sequence[str]) -> list[str]:
    """Return numbers by name, three neighbours or more as a range."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        parts += [f"{names[run[0]]}-{names[run[-1]]}"] if len(run) > 2 else [names[number] for number in run]
    return parts
