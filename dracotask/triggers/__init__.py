"""Rules of time: cron, interval, calendar and date, and what is made of them.

Each is a module of its own, imported when a text asks for it.
"""

from __future__ import annotations

from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Trigger", "parse_trigger"]

#: The first word of each kind, with the module that knows it and the function in it that reads its text.
KINDS = {
    "cron": ("cron", "parse_cron"),
    "every": ("interval", "parse_interval"),
    "at": ("date", "parse_date"),
    "calendar": ("calendar", "parse_calendar"),
    "after": ("after", "parse_after"),
    "by": ("listed", "parse_listed"),
}

#: The same of those with triggers within, whose reader is handed this one for them.
WRAPPERS = {
    "any": ("combining", "parse_any"),
    "all": ("combining", "parse_all"),
    "jitter": ("jitter", "parse_jitter"),
    "except": ("exclusion", "parse_exclusion"),
    "between": ("window", "parse_window"),
}


def parse_trigger(text: str) -> Trigger:
    """Return the Trigger that a text describes; ``parse_trigger(str(trigger)) == trigger``.

    :raises BadTrigger: when no Trigger is written so.
    """
    word = text.split(maxsplit=1)[0] if isinstance(text, str) and text.strip() else ""
    if word in KINDS:
        return _reader(KINDS[word])(text.strip())  # type: ignore[no-any-return]
    # (Those may be written without a space: any(every 90s | every 7m).)
    word = word.partition("(")[0]
    if word in WRAPPERS:
        from .grammar import measure

        measure(text)
        return _reader(WRAPPERS[word])(text.strip(), parse_trigger)  # type: ignore[no-any-return]
    raise BadTrigger(
        f"{text!r:.200} is not a trigger: write 'cron 0 4 * * mon-fri Europe/Riga', 'every 90s', "
        "'at 2027-01-01T00:00:00+01:00' or 'any (… | …)'."
    )


def _reader(place: tuple[str, str]) -> Any:
    module, function = place
    return getattr(__import__(f"{__name__}.{module}", fromlist=[function]), function)
