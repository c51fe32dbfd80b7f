"""Rules: what ``schedule()`` is told, checked at once and turned into a Trigger.

The zone is the site's, and known only to whoever loads the file: a cron rule waits for it.
"""

from __future__ import annotations

from .errors import BadTrigger
from .model import OMITTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from typing import Any

    from .triggers.base import Trigger


def rule_of(
    minute: Any = OMITTED, hour: Any = OMITTED, dow: Any = OMITTED, **kinds: Any
) -> Trigger | Callable[[str], Trigger]:
    """Return the rule that the arguments of :meth:`Task.schedule` say: a Trigger, or what makes one for a zone.

    :raises ValueError: for anything out of range; TypeError: for two kinds at once.
    """
    draco = (minute, hour, dow)
    said = [(name, value) for name, value in kinds.items() if value is not OMITTED]
    if len(said) + any(part is not OMITTED for part in draco) > 1:
        raise TypeError("schedule() takes minute, hour, dow, or one of cron=, every=, at=; call it once for each.")
    return _RULES[said[0][0]](said[0][1]) if said else _draco_cron(draco)  # type: ignore[no-any-return]


def _checked_cron(expression: str) -> Any:
    from .triggers.cron import CronTrigger

    if not isinstance(expression, str):
        raise BadTrigger(f"cron={expression!r} is no cron line. Write cron=\"*/15 * * * *\", or leave it out.")
    CronTrigger(expression, "UTC")
    return lambda zone: CronTrigger(expression, zone)


def _draco_cron(arguments: tuple[Any, Any, Any]) -> Any:
    from .triggers.draco import from_draco

    return _checked_cron(from_draco(*arguments))


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
