"""What every trigger promises.

A trigger is a rule of time and nothing else: it keeps no state and reads no clock, so any process
may ask any trigger about any moment, in any order, and all of them hear the same.
"""

from __future__ import annotations

from datetime import datetime


class Trigger:
    """An immutable rule that names moments, the fire times.

    ``str(trigger)`` is its stored form, which `parse_trigger` reads back. Triggers are equal when
    their texts are. A subclass sets its attributes once, in ``__init__``.
    """

    __slots__ = ()

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time strictly later than ``moment``, or None when there is none.

        Pure. The fire time is aware and in UTC. None also means that it would lie beyond the years
        that a datetime can hold.

        :raises ValueError: when ``moment`` is naive.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what comes next_after(moment).")

    def __str__(self) -> str:
        raise NotImplementedError(f"{type(self).__name__} must have a text that reads back.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Trigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise AttributeError(f"A trigger does not change: make a new one instead of setting {name}.")
        object.__setattr__(self, name, value)
