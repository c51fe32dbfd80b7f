"""After trigger: a Run follows the success of another Schedule's.

It names no moment: whoever records the success queues the Run, in the same step. With rules of time it
makes an any-of.
"""

from __future__ import annotations

from datetime import datetime

from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model import Schedule

#: In a name these would end it, or the rule around it.
FORBIDDEN = frozenset(",|()")

#: More names than this are a slip of a loop.
MOST_NAMES = 100


class AfterTrigger(Trigger):
    """Fire after each success of one of ``names``, Schedules or Tasks.

    :raises BadTrigger: there is none, or one of them is no name.
    """

    __slots__ = ("names",)

    names: tuple[str, ...]

    def __init__(self, names: str | type | Iterable[str | type]) -> None:
        self.names = _checked(names)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return None: it has no fire time of its own."""
        return None

    def __str__(self) -> str:
        return f"after {','.join(self.names)}"


def _checked(said: str | type | Iterable[str | type]) -> tuple[str, ...]:
    try:
        several = said.split(",") if isinstance(said, str) else [said] if isinstance(said, type) else list(said)
    except TypeError:
        raise BadTrigger(f'after={said!r:.60} names no task: write after="Import", or a list of names.') from None
    names = [name.__name__ if isinstance(name, type) else name for name in several]
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or FORBIDDEN & set(name):
            raise BadTrigger(f'after={name!r:.60} is no name of a task: write after="Import", or a list of names.')
    if not 0 < len(names) <= MOST_NAMES:
        raise BadTrigger(f"after= takes 1 to {MOST_NAMES} names, and not {len(names)}.")
    return tuple(dict.fromkeys(name.strip() for name in names))


def parse_after(text: str) -> AfterTrigger:
    """Return the trigger that was written as ``after Import,Export``."""
    return AfterTrigger(text.removeprefix("after"))


def names_before(trigger: Trigger) -> tuple[str, ...]:
    """Return the names whose success brings a Run, in a rule by itself or in an any-of.

    :raises BadTrigger: one stands within another rule, where it could only ever stand for never.
    """
    if isinstance(trigger, AfterTrigger):
        return trigger.names
    from .combining import AnyTrigger
    from .grammar import all_within

    if isinstance(trigger, AnyTrigger):
        return tuple(dict.fromkeys(name for part in trigger.triggers for name in names_before(part)))
    if any(isinstance(part, AfterTrigger) for part in all_within(trigger)):
        raise BadTrigger(f"'{str(trigger)[:200]}': after stands by itself, or in an any-of; it has no time to change.")
    return ()


def column(text: str | None) -> str | None:
    """Return what a Schedule keeps of a rule's text for those who look for its followers: ``,Import,``; None for none.

    :raises BadTrigger: an after stands where it makes no sense.
    """
    if text is None or "after " not in text:
        return None
    from . import parse_trigger

    names = names_before(parse_trigger(text))
    return f",{','.join(names)}," if names else None


def names_in_force(schedules: Iterable[Schedule]) -> dict[str, list[str]]:
    """Return what comes before each Schedule that comes after another, by its name."""
    return {each.name: each.after.strip(",").split(",") for each in schedules if each.after}


def circle(name: str, before: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the way from a name back to itself along those that come before it; nothing when there is none."""
    came_from: dict[str, str] = {}
    waiting = [name]
    while waiting:
        here = waiting.pop()
        for earlier in before.get(here, ()):
            if earlier == name:
                way = [here, name]
                while way[0] != name:
                    way.insert(0, came_from[way[0]])
                return way
            if earlier not in came_from:
                came_from[earlier] = here
                waiting.append(earlier)
    return []
