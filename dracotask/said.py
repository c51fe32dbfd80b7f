"""What is said on a command line of moments, rules and arguments, made into values.

A time without a zone is one on the site's own clock, as in the task file and in all that is printed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from .clock import moment_of, parse_duration
from .errors import BadTrigger, ControlError
from .previews import trigger_said
from .rules import KINDS, rule_of
from .triggers import Trigger
from .triggers.clocks import find_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo
    from typing import Any
    from zoneinfo import ZoneInfo

_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)

_REMEDY = "write 14:00, '2027-01-31 14:00' or 2027-01-31T14:00+01:00"


def until_said(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment that a text says, as such or as a length of time from ``now``.

    :raises ControlError: it is neither.
    """
    if "-" in text[1:] or ":" in text:
        return at_said(text, now, zone, option="--until")
    if text.strip().isdecimal():  # 20270131 is a day to whoever writes it, and a number of seconds to us
        raise ControlError(f"--until: {text!r:.60} has no unit: write 90s, 2h or 3d. For a moment {_REMEDY}.")
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise ControlError(f"--until: {error} For a moment {_REMEDY}.") from None


def at_said(text: str, now: datetime, zone: tzinfo, *, option: str = "--at") -> datetime:
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


def rule_said(words: Iterable[str], now: datetime, zone: ZoneInfo, name: str, **options: str | None) -> Trigger | None:
    """Return the Trigger that is said, in words or by options; None when nothing is.

    :param words: the text of a Trigger; a cron line may go without its zone.
    :param name: of the Schedule that it is for.
    :param options: those of :func:`~.commands.rule_options`; None for each that was not given.
    :raises BadTrigger, ControlError: it makes no sense, or is said in two ways.
    """
    said: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    text = " ".join(words).strip()
    kinds = [kind for kind in KINDS if kind in said]
    if len(kinds) + bool(text) > 1:
        raise ControlError("one rule at a time: say it in words, or with --cron, --every, --at, --calendar or --after.")
    if text:
        said |= _in_words(text, zone.key)
    elif said and not kinds:
        remedy = "say it in words, or with --cron, --every, --at, --calendar or --after"
        raise ControlError(f"--{min(said)} goes with a rule: {remedy}.")
    if not said:
        return None
    try:
        return rule_of(**_with_moments(said, now, zone)).lasting()(zone.key, name, now)
    except TypeError as error:  # which options go together
        raise ControlError(str(error)) from None


def _in_words(text: str, zone: str) -> dict[str, Any]:
    """Return what a text says, as an argument of ``schedule()``."""
    kind, _, rest = text.partition(" ")
    if kind == "at":
        return {"at": rest}
    if kind == "cron" and len(rest.split()) == 5:
        return {"cron": rest}
    try:
        return {"trigger": trigger_said(text, zone)}
    except BadTrigger:
        if kind != "cron" or len(rest.split()) in (1, 5, 6, 7):
            raise
        remedy = "quote the line, 'cron 0 4 * * *', for its stars are the shell's too"
        raise BadTrigger(f"{text!r:.60} is no rule: {remedy}.") from None


def _with_moments(said: dict[str, Any], now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return what is said with its moments on the rule's own clock, or the site's; those of a calendar are dates."""
    clock = find_zone(said["timezone"]) if "timezone" in said else zone
    names = ("at",) if "calendar" in said else ("at", "start", "end")
    moments = {name: at_said(said[name], now, clock, option=f"--{name}") for name in names if name in said}
    if moments and not {"cron", "between", "exclude"} & said.keys():
        said.pop("timezone", None)  # it has said all that it has to say
    return {**said, **moments}


def policy_said(words: Iterable[str]) -> dict[str, str]:
    """Return what is said by ``--policy KEY=VALUE``; nothing for ``none``.

    :raises ControlError: a word is none, or a key comes twice.
    """
    listed = list(words)
    return {} if listed == ["none"] else arguments_said(listed, what="policy", example="grace=5m")


def arguments_said(
    words: Iterable[str], *, what: str = "argument for run()", example: str = "KEY=VALUE"
) -> dict[str, str]:
    """Return the words ``KEY=VALUE`` as a dictionary.

    :raises ControlError: a word is none, or a key comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, is_one, value = word.partition("=")
        if not is_one or not key:
            raise ControlError(f"{word!r:.60} is no {what}: write {example}.")
        if key in found:
            raise ControlError(f"{key!r:.60} is said twice.")
        found[key] = value
    return found
