"""Any-of trigger: several rules as one.

A Task that calls ``schedule`` twice still has one Schedule, with one next fire time and one history.
"""

from __future__ import annotations

from datetime import datetime

from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class AnyTrigger(Trigger):
    """Fire whenever one of ``triggers`` does; once, when several do at the same moment.

    Any-ofs within are opened up, and repetitions dropped.

    :raises BadTrigger: when there is none, or one of them is no Trigger.
    """

    __slots__ = ("triggers",)

    triggers: tuple[Trigger, ...]

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        found: dict[Trigger, None] = {}
        for trigger in triggers:
            if not isinstance(trigger, Trigger):
                raise BadTrigger(f"any-of takes Triggers, and {trigger!r:.60} is none: use parse_trigger.")
            found.update(dict.fromkeys(trigger.triggers if isinstance(trigger, AnyTrigger) else [trigger]))
        if not found:
            raise BadTrigger("any-of nothing never fires: give one Trigger at least.")
        self.triggers = tuple(found)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the earliest of the fire times later than ``moment``, or None when all are over."""
        fire_times = [trigger.next_after(moment) for trigger in self.triggers]
        return min((fire_time for fire_time in fire_times if fire_time is not None), default=None)

    def __str__(self) -> str:
        return f"any ({' | '.join(map(str, self.triggers))})"


def parse_any(text: str, parse: Callable[[str], Trigger]) -> AnyTrigger:
    """Return the trigger that was written as ``any (T | T)``, each part of it read by ``parse``."""
    inside = text.removeprefix("any").strip()
    if not (inside.startswith("(") and inside.endswith(")")):
        raise BadTrigger(f"{text!r:.200} is not an any-of: write 'any (every 90s | every 7m)'.")
    return AnyTrigger([parse(part) for part in inside[1:-1].split("|")])
