"""What is said on a command line of moments, rules and arguments, made into values.

A time without a zone is one on the site's own clock, as in the task file and in all that is printed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ..clock import moment_of, parse_duration
from ..errors import BadTrigger, ControlError
from ..rules import rule_of
from ..triggers import Trigger, parse_trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)

_REMEDY = "write 14:00, '2027-01-31 14:00' or 2027-01-31T14:00+01:00"


def until_said(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment that a text says, as such or as a length of time from ``now``.

    :raises ControlError: it is neither.
    """
    if "-" in text[1:] or ":" in text:
        return at_said(text, now, zone, option="--until")
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise ControlError(f"--until: {error} For a moment {_REMEDY}.") from None


def at_said(text: str, now: datetime, zone: ZoneInfo, *, option: str = "--at") -> datetime:
    """Return the moment that a text says; a time of day is the next one that the site's clock will show.

    :raises ControlError: it is no moment.
    """
    try:
        found = _TIME_OF_DAY.fullmatch(text.strip())
        moment = _next_time(found, now.astimezone(zone)) if found else datetime.fromisoformat(text.strip())
        return moment_of(moment if moment.tzinfo else moment.replace(tzinfo=zone), now)
    except (ValueError, OverflowError):
        raise ControlError(f"{option}: {text!r:.60} is no moment: {_REMEDY}.") from None


def _next_time(found: re.Match[str], local: datetime) -> datetime:
    hour, minute, second = (int(part or 0) for part in found.groups())
    today = local.replace(hour=hour, minute=minute, second=second, microsecond=0, tzinfo=None, fold=0)
    return today if today > local.replace(tzinfo=None) else today + timedelta(days=1)


def seconds_said(text: str | None, option: str) -> float | None:
    """Return a length of time in seconds; None for none.

    :raises ControlError: it is none.
    """
    try:
        return None if text is None else parse_duration(text).total_seconds()
    except ValueError as error:
        raise ControlError(f"{option}: {error}") from None


def rule_said(
    words: Iterable[str],
    now: datetime,
    zone: ZoneInfo,
    *,
    cron: str | None = None,
    every: str | None = None,
    at: str | None = None,
) -> Trigger | None:
    """Return the Trigger that is said, in words or by an option; None when nothing is.

    :param words: the text of a Trigger; a cron line may go without its zone.
    :raises BadTrigger, ControlError: it makes no sense, or is said in two ways.
    """
    text = " ".join(words)
    if sum(map(bool, (text, cron is not None, every is not None, at is not None))) > 1:
        raise ControlError("one rule at a time: say it in words, or with --cron, --every or --at.")
    kind, _, rest = text.strip().partition(" ")
    if cron is None and kind == "cron" and len(rest.split()) == 5:
        cron = rest
    if at is None and kind == "at":
        at = rest
    if cron is None and kind == "cron" and len(rest.split()) != 6:
        remedy = "quote the line, 'cron 0 4 * * *', for its stars are the shell's too"
        raise BadTrigger(f"{text!r:.60} is no rule: {remedy}.")
    if cron is not None:
        in_zone = rule_of(cron=cron)
        return in_zone(zone.key) if callable(in_zone) else in_zone
    if at is not None:
        return _trigger(at=at_said(at, now, zone))
    if every is not None:
        return _trigger(every=every)
    return parse_trigger(text) if text else None


def _trigger(**rule: object) -> Trigger:
    found = rule_of(**rule)
    assert isinstance(found, Trigger)
    return found


def arguments_said(words: Iterable[str]) -> dict[str, str]:
    """Return the words ``KEY=VALUE`` as a dictionary.

    :raises ControlError: a word is none, or a key comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, is_one, value = word.partition("=")
        if not is_one or not key:
            raise ControlError(f"{word!r:.60} is no argument for run(): write KEY=VALUE.")
        if key in found:
            raise ControlError(f"{key!r:.60} is said twice.")
        found[key] = value
    return found
