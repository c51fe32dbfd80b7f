"""Rules of time: cron, interval, date, and any of several.

Each is a module of its own, imported when a text asks for it.
"""

from __future__ import annotations

from ..errors import BadTrigger
from .base import Trigger

__all__ = ["Trigger", "parse_trigger"]


def parse_trigger(text: str) -> Trigger:
    """Return the Trigger that a text describes; ``parse_trigger(str(trigger)) == trigger``.

    :raises BadTrigger: when no Trigger is written so.
    """
    word = text.split(maxsplit=1)[0] if isinstance(text, str) and text.strip() else None
    if word == "cron":
        from .cron import parse_cron

        return parse_cron(text)
    if word == "every":
        from .interval import parse_interval

        return parse_interval(text.strip())
    if word == "at":
        from .date import parse_date

        return parse_date(text.strip())
    if word == "any":
        from .combining import parse_any

        return parse_any(text.strip(), parse_trigger)
    raise BadTrigger(
        f"{text!r:.200} is not a trigger: write 'cron 0 4 * * mon-fri Europe/Riga', 'every 90s', "
        "'at 2027-01-01T00:00:00+01:00' or 'any (… | …)'."
    )
