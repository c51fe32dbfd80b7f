"""Rules: what ``schedule()`` is told, checked at once and turned into a Trigger.

The zone is the site's and the name the Schedule's, both known only to whoever loads the file: a rule waits for them.
"""

from __future__ import annotations

from .errors import BadTrigger
from .model import OMITTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from .triggers.base import Trigger

    #: Makes a Trigger for a zone and a Schedule's name.
    Maker = Callable[[str, str], Trigger]

#: The arguments of ``schedule()`` that say a rule, by what they are for. Of the kinds there is one in each call.
DRACO = ("minute", "hour", "dow")
KINDS = ("cron", "every", "at", "calendar", "after", "trigger")
BOUNDS = ("time", "start", "end", "timezone")
WRAPS = ("between", "exclude", "jitter")

RULE_KEYWORDS = DRACO + KINDS + BOUNDS + WRAPS

#: Which bounds each kind may have.
_MAY_HAVE = {
    "draco": ("start", "end", "timezone"),
    "cron": ("start", "end", "timezone"),
    "every": ("start", "end"),
    "at": (),
    "calendar": ("time", "start", "end", "timezone"),
    "after": (),
    "trigger": (),
}

#: Where a rule is tried out before its zone and name are known.
_ANY_ZONE, _ANY_NAME = "UTC", "a-name"


def is_said(said: Mapping[str, object]) -> bool:
    """Tell whether any of the arguments was given."""
    return any(value is not OMITTED for value in said.values())


class Rule:
    """One rule as it was said. Called with a zone and the name of a Schedule it makes the Trigger.

    :param said: by keyword; only what was given.
    :raises ValueError: for anything out of range; TypeError: for what does not go together.
    """

    __slots__ = ("_dates", "_kind", "_said")

    def __init__(self, said: dict[str, Any]) -> None:
        said = {name: _lasting(name, value) for name, value in said.items()}
        self._said, self._kind = said, _kind_of(said)
        _refuse_mixtures(self._kind, said)
        # A file of holidays is read here and now, while the task file is loaded.
        self._dates = _dates_of(said["exclude"]) if "exclude" in said else None
        zone = said.get("timezone", _ANY_ZONE)
        base = _unasked() if self.is_of_own_class else _BASES[self._kind](said, zone, _ANY_NAME)
        self._wrapped(base, zone, _ANY_NAME)

    def lasting(self) -> Rule:
        """Return itself, unless it has to be looked up time and again, as is done with the task file.

        :raises BadTrigger: it is of somebody's own class, or leaves out a file of holidays.
        """
        if self.is_of_own_class or any(map(_is_file, _values(self._said.get("exclude", ())))):
            raise BadTrigger(
                "a trigger of your own class, or a file of holidays, is looked up whenever the task file is loaded:"
                " say it there, in schedule(). Here give the dates themselves."
            )
        return self

    @property
    def is_of_own_class(self) -> bool:
        """Whether it is a trigger of somebody's own class, which is asked ahead for its fire times."""
        return self._kind == "trigger" and not type(_checked(self._said["trigger"])).__module__.startswith(_OURS)

    def __call__(self, zone: str, name: str, now: datetime | None = None) -> Trigger:
        """Return the Trigger for a Schedule of that name, on the clock of ``zone`` unless the rule has its own.

        :param now: from when on a class of somebody's own is asked; None for the present moment.
        :raises BadTrigger: it can never fire there.
        """
        if now is None:
            from .clock import utc_now

            now = utc_now()
        zone = self._said.get("timezone", zone)
        base = self._asked(now) if self.is_of_own_class else _BASES[self._kind](self._said, zone, name)
        trigger = self._wrapped(base, zone, name)
        _refuse_never(trigger, now)
        return trigger

    def _asked(self, now: datetime) -> Trigger:
        from .triggers.listed import list_ahead

        return list_ahead(self._said["trigger"], now.replace(microsecond=0))

    def _wrapped(self, trigger: Trigger, zone: str, name: str) -> Trigger:
        """Return a trigger with its exclusions, windows and jitter around it."""
        said = self._said
        if self._dates is not None:
            from .triggers.exclusion import ExceptTrigger

            trigger = ExceptTrigger(self._dates, zone, trigger)
        if "between" in said:
            from .triggers.window import WindowTrigger

            trigger = WindowTrigger(said["between"], zone, trigger)
        if "jitter" in said:
            from .triggers.jitter import JitterTrigger

            # Around all else: what is put off a little beyond a window's end belongs to the window.
            trigger = JitterTrigger(said["jitter"], name, trigger)
        return trigger


#: Where the triggers are at home that have a text of their own.
_OURS = f"{__package__}.triggers."


#: More values than this in one argument are a slip of a loop.
MOST_VALUES = 10_000


def _lasting(name: str, value: Any) -> Any:
    """Return a value that can be read time and again: of what can be gone through but once, a list.

    :raises BadTrigger: it has no end, or is far away.
    """
    if not hasattr(value, "__next__"):
        return value
    from itertools import islice

    values = [*islice(value, MOST_VALUES + 1)]
    if len(values) > MOST_VALUES:
        raise BadTrigger(f"{name}= has more than {MOST_VALUES} values.")
    return values


def rule_of(minute: Any = OMITTED, hour: Any = OMITTED, dow: Any = OMITTED, **keywords: Any) -> Rule:
    """Return the rule that the arguments of :meth:`Task.schedule` say.

    :raises ValueError: for anything out of range; TypeError: for what does not go together.
    """
    keywords |= {"minute": minute, "hour": hour, "dow": dow}
    unknown = keywords.keys() - set(RULE_KEYWORDS)
    if unknown:
        raise TypeError(f"schedule() has no {', '.join(sorted(unknown))}=: it takes {', '.join(RULE_KEYWORDS)}.")
    return Rule({name: value for name, value in keywords.items() if value is not OMITTED})


def _kind_of(said: Mapping[str, Any]) -> str:
    """Return which kind of rule is said; minute, hour and dow together are ``draco``, and so is nothing at all."""
    kinds = [kind for kind in KINDS if kind in said]
    if len(kinds) + any(part in said for part in DRACO) > 1:
        one_of = ", ".join(f"{kind}=" for kind in KINDS if kind != "trigger")
        raise TypeError(f"schedule() takes minute, hour, dow, or one of {one_of}; call it once for each.")
    return kinds[0] if kinds else "draco"


def _refuse_mixtures(kind: str, said: Mapping[str, Any]) -> None:
    """Refuse what would have no effect: whoever wrote it meant something by it."""
    for wrap in WRAPS:
        if wrap in said and kind == "after":
            raise TypeError(f"{wrap}= does not go with after=, which has no time of its own.")
    for bound in BOUNDS:
        if bound not in said or bound in _MAY_HAVE[kind]:
            continue
        if bound == "time":
            raise TypeError("time= goes with calendar=, as in calendar='3 months', time='03:00'.")
        if bound == "timezone":
            if "between" in said or "exclude" in said or any(map(_is_naive, said.values())):
                continue
            remedy = "write calendar='1 day' for a time of day"
            raise TypeError(f"timezone= says nothing beside {kind}=, which needs no clock: {remedy}.")
        raise TypeError(f"{bound}= does not go with {kind}=: it goes with minute, hour, dow, cron=, every=, calendar=.")


def _is_naive(value: object) -> bool:
    """Tell whether a value is a moment that lacks its zone."""
    from datetime import datetime

    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return False
    return isinstance(value, datetime) and value.tzinfo is None


# -- What each kind makes ------------------------------------------------------------------------


def _draco(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.draco import from_draco

    expression = from_draco(*(said.get(part, OMITTED) for part in DRACO))
    return _cron({**said, "cron": expression}, zone, name)


def _cron(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.cron import CronTrigger
    from .triggers.fields import spread

    expression = said["cron"]
    if not isinstance(expression, str):
        raise BadTrigger(f"cron={expression!r} is no cron line. Write cron=\"*/15 * * * *\", or leave it out.")
    return CronTrigger(spread(expression, name), zone, **_moments(said, "start", "end"))


def _every(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.interval import IntervalTrigger, parse_every

    return IntervalTrigger(every=parse_every(said["every"]), **_moments(said, "start", "end"))


def _at(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.date import DateTrigger

    return DateTrigger(_moments(said, "at")["at"])


def _calendar(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.calendar import CalendarIntervalTrigger

    dates = {bound: said[bound] for bound in ("start", "end") if bound in said}
    return CalendarIntervalTrigger(said["calendar"], said.get("time", "00:00"), zone, **dates)


def _after(said: dict[str, Any], zone: str, name: str) -> Trigger:
    from .triggers.after import AfterTrigger

    return AfterTrigger(said["after"])


def _ready(said: dict[str, Any], zone: str, name: str) -> Trigger:
    """Return the Trigger that was given, of one of our classes."""
    from .triggers import parse_trigger

    trigger = _checked(said["trigger"])
    parse_trigger(str(trigger))  # what is stored must be readable
    return trigger


def _unasked() -> Trigger:
    """Return what stands for a trigger of somebody's own class before it is asked."""
    from .triggers.listed import ListedTrigger

    return ListedTrigger("own:Class", [])


def _checked(trigger: Any) -> Trigger:
    from .triggers.base import Trigger

    if not isinstance(trigger, Trigger):
        raise BadTrigger(f"trigger={trigger!r:.60} is not a Trigger. For a rule in words use cron=, every= or at=.")
    return trigger


_BASES: dict[str, Callable[[dict[str, Any], str, str], Trigger]] = {
    "draco": _draco,
    "cron": _cron,
    "every": _every,
    "at": _at,
    "calendar": _calendar,
    "after": _after,
    "trigger": _ready,
}


def _moments(said: Mapping[str, Any], *names: str) -> dict[str, datetime]:
    """Return those of the moments that are said; one without an offset is a local time of ``timezone``."""
    from .triggers.date import parse_at

    found = {}
    for name in names:
        if name not in said:
            continue
        value = said[name]
        if "timezone" in said and _is_naive(value):
            from datetime import datetime

            from .triggers.clocks import first_shown

            wall = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
            value = first_shown(wall, said["timezone"])
        found[name] = parse_at(value, name=name)
    return found


def _dates_of(exclude: Any) -> str:
    """Return the dates to be left out as they stand in a trigger's text, those of a file of holidays read from it."""
    from .triggers.exclusion import dates_text, parse_dates

    values = _values(exclude)
    files = [value for value in values if _is_file(value)]
    dates = [value for value in values if not _is_file(value)]
    spans = parse_dates(dates) if dates or not files else []
    if files:
        from .clock import utc_now
        from .holidays import read_holidays

        spans += [span for path in files for span in read_holidays(path, utc_now().date())]
    return dates_text(spans)


def _values(exclude: Any) -> list[Any]:
    return [exclude] if isinstance(exclude, str) or not hasattr(exclude, "__iter__") else list(exclude)


def _is_file(value: object) -> bool:
    from os import PathLike, fspath

    return isinstance(value, str | PathLike) and str(fspath(value)).lower().endswith((".txt", ".ics"))


def _refuse_never(trigger: Trigger, now: datetime) -> None:
    """Refuse a combination that never comes about.

    :raises BadTrigger: saying why, and how far was looked.
    """
    from .triggers.grammar import all_within

    for part in all_within(trigger):
        # (Of what a class has listed, nobody knows what comes after.)
        why = _NEVER.get(type(part).__name__)
        if why and not any(type(inner).__name__ == "ListedTrigger" for inner in all_within(part)):
            from .triggers.search import refuse_never

            refuse_never(part, now, why)


_NEVER = {
    "AllTrigger": "its rules never agree",
    "WindowTrigger": "in none of its windows does the rule within fire",
    "ExceptTrigger": "on no other date does the rule within fire",
}
