"""Rules as people write them down, to be looked at before they count: ``every 90s``, ``0 4 * * mon-fri``."""

from __future__ import annotations

from itertools import islice

from .errors import BadTrigger
from .rules import rule_of
from .triggers import parse_trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .triggers.base import Trigger

#: A line of cron has so many fields; where there is one more, the first is of seconds.
_FIELDS = (5, 6)


def trigger_said(text: str, zone: str, name: str = "") -> Trigger:
    """Return the Trigger that a text describes: as it is stored, or as cron has it, then in ``zone``.

    :param name: of the Schedule that it is for: where cron's H falls depends on it.
    :raises BadTrigger: it describes none.
    """
    if not isinstance(text, str):
        raise BadTrigger(f"{text!r:.60} is no rule: write 'every 90s', '0 4 * * mon-fri' or any trigger as text.")
    line = text.strip().removeprefix("cron ").strip()
    if is_cron_line(line):
        try:
            return rule_of(cron=line)(zone, name)
        except BadTrigger:
            # "cron 0 4 * * * Europe/Riga" has six words as well, the last of which is a zone.
            if line == text.strip() or len(line.split()) == _FIELDS[0]:
                raise
    return parse_trigger(text)


def is_cron_line(text: str) -> bool:
    """Tell whether a text is a line of cron without the word before and a zone after it."""
    words = text.split()
    return (len(words) in _FIELDS and words[0][:1] in "*0123456789HL") or (len(words) == 1 and words[0][:1] == "@")


def fire_times(trigger: Trigger, moment: datetime) -> Iterator[datetime]:
    """Yield the fire times later than a moment."""
    following = trigger.next_after(moment)
    while following is not None:
        yield following
        following = trigger.next_after(following)


def next_few(trigger: Trigger, moment: datetime, number: int) -> list[datetime]:
    """Return the first so many fire times later than a moment."""
    return [*islice(fire_times(trigger, moment), number)]
