"""Transfer: what was added, held and rescheduled at one site, written down to be taken in by another.

The document is JSON for people and version control: sorted, one fact a line. It says what was wanted, and nothing of
what has run: a Schedule that is taken in counts from then on. The tasks themselves stand in the task file, which moves
along with the site.
"""

from __future__ import annotations

import json
from functools import partial

from .clock import from_text, rfc3339
from .control import Control
from .errors import BadTrigger, ControlError, DracotaskError, suggestion
from .steering import LONGEST_WHY, printable
from .stores.base import HOLD_NOTE
from .stores.holds import SiteHold
from .triggers import parse_trigger
from .triggers.listed import is_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any

    from .model import Schedule
    from .stores.base import Store

#: Raised when an older dracotask could not understand the document any more.
VERSION = 1

#: A list of schedules longer than this is a slip of a loop.
MOST_SCHEDULES = 100_000

_ADDED = ("name", "task", "trigger", "arguments", "policy", "description", "hold")
_DECLARED = ("name", "trigger", "hold")
_HOLD = ("by", "why", "until", "at")
_TOP = ("dracotask", "exported_at", "added", "declared", "hold")


# -- Out -----------------------------------------------------------------------------------------


def exported(store: Store, now: datetime) -> dict[str, Any]:
    """Return the document of a store.

    ``added`` are the dynamic Schedules; ``declared`` are those Tasks of the file that are held or have another rule;
    ``hold`` is that of the whole site.
    """
    schedules = sorted(store.schedules(), key=lambda schedule: schedule.name)
    site = SiteHold.of(store)
    return {
        "dracotask": VERSION,
        "exported_at": rfc3339(now.replace(microsecond=0)),
        "added": [_added(each) for each in schedules if not each.declared],
        "declared": [_declared(each) for each in schedules if each.declared and (each.held_at or each.override)],
        "hold": None if site is None else {"by": site.by, "why": site.why, "at": rfc3339(site.at)},
    }


def _added(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "task": schedule.task,
        "trigger": schedule.trigger,
        "arguments": json.loads(schedule.arguments),
        "policy": json.loads(schedule.own_policy or "{}"),
        "description": schedule.description or "",
        "hold": _hold(schedule),
    }


def _declared(schedule: Schedule) -> dict[str, Any]:
    return {"name": schedule.name, "trigger": schedule.override, "hold": _hold(schedule)}


def _hold(schedule: Schedule) -> dict[str, Any] | None:
    if schedule.held_at is None:
        return None
    until = schedule.held_until
    return {
        "by": schedule.held_by, "why": schedule.held_why, "at": rfc3339(schedule.held_at),
        "until": None if until is None else rfc3339(until),
    }  # fmt: skip


def as_text(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# -- In ------------------------------------------------------------------------------------------


def read_text(text: str) -> dict[str, Any]:
    """Return the document in a text.

    :raises ControlError: it is no JSON, with line and column.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}" if isinstance(
            error, json.JSONDecodeError
        ) else str(error)  # fmt: skip
        raise ControlError(f"it is no JSON: {where}.") from None
    except RecursionError:
        raise ControlError("it is no export: its brackets go too deep.") from None
    return document  # type: ignore[no-any-return]


def imported(
    control: Control, document: Any, now: datetime, *, replace: bool = False, dry_run: bool = False,
    why: str | None = None,
) -> list[str]:  # fmt: skip
    """Make true what a document says, in one transaction: all of it or nothing.

    :param replace: whether dynamic Schedules of the same names may be there, to be replaced.
    :param dry_run: check all, and change nothing.
    :return: what was done, or would be, a sentence each.
    :raises ControlError: naming the place.
    """
    said = Document(document)
    try:
        with control.store.transaction():
            done = said.make_true(control, now, replace=replace, why=why)
            if dry_run:
                raise _OnlyTried(done)
    except _OnlyTried as tried:
        return tried.done
    return done


class _OnlyTried(Exception):
    """Raised to undo what was only tried."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.done = done


class Document:
    """A document whose shape is right.

    :raises ControlError: it is not, with the place.
    """

    def __init__(self, said: Any) -> None:
        top = _table(said, "the file", _TOP, needed=("dracotask",))
        version = top["dracotask"]
        if version != VERSION or isinstance(version, bool):
            raise ControlError(f"dracotask: version {version!r:.40} is not {VERSION}, the one that is known here.")
        self.added = _tables(top, "added", _ADDED, needed=("name", "task", "trigger"))
        self.declared = _tables(top, "declared", _DECLARED, needed=("name",))
        hold = top.get("hold")
        self.hold = None if hold is None else _table(hold, "hold", _HOLD, needed=())

    def make_true(self, control: Control, now: datetime, *, replace: bool, why: str | None) -> list[str]:
        """Do what the document says, within a transaction that an error undoes.

        :return: a sentence for each deed.
        """
        done = []
        for number, said in enumerate(self.declared):
            done += _at(f"declared[{number}]", said, partial(_change, control, said, now, why))
        for number, said in enumerate(self.added):
            done += _at(f"added[{number}]", said, partial(_add, control, said, now, replace, why))
        if self.hold is not None and control.store.note(HOLD_NOTE) is None:
            done += _at("hold", {}, partial(_hold_site, control, self.hold, now, why))
        return done


def _add(control: Control, said: dict[str, Any], now: datetime, replace: bool, why: str | None) -> list[str]:
    name, task = _text(said, "name"), _text(said, "task")
    trigger = said["trigger"]
    rule = None if trigger is None else _trigger(trigger)
    was_there = control.store.schedule(name) is not None
    control.add(
        name, task, rule, now, arguments=_mapping(said, "arguments"), policy=_mapping(said, "policy"), replace=replace,
        why=why,
    )  # fmt: skip
    description = said.get("description")
    if description and description != control.template(task).description:
        control.update(name, {"description": description}, now, why=why)
    done = [f"{name} is {'replaced' if was_there else 'added'}: it runs {task}."]
    return done + _hold_as_said(control, name, said, now, why)


def _change(control: Control, said: dict[str, Any], now: datetime, why: str | None) -> list[str]:
    """Hold and reschedule a Task of the file."""
    name, done = _text(said, "name"), []
    schedule = control.template(name)
    if said.get("trigger") is not None and said["trigger"] != schedule.override:
        control.reschedule(name, _trigger(said["trigger"]), now, why=why)
        done.append(f"{name} is rescheduled.")
    return done + _hold_as_said(control, name, said, now, why)


def _hold_as_said(
    control: Control, name: str, said: dict[str, Any], now: datetime, why: str | None
) -> list[str]:
    if said.get("hold") is None:
        return []
    hold = _table(said["hold"], "hold", _HOLD, needed=())
    until = None if hold.get("until") is None else _moment(hold["until"], "hold.until")
    if until is not None and until <= now:
        return [f"The hold of {name} was over {rfc3339(until)}."]
    by, reason, at = _terms(hold, now)
    held = control.hold(name, now, until=until, why=why)
    # The row says who has taken it in; the hold goes on in its own terms.
    control.store.put_schedule(held.but(held_by=by or held.held_by, held_why=reason, held_at=at))
    return [f"{name} is held."]


def _hold_site(control: Control, hold: dict[str, Any], now: datetime, why: str | None) -> list[str]:
    by, reason, at = _terms(hold, now)
    control.hold_site(now, why=why)
    SiteHold(at, by or control.by, reason).put(control.store)
    return ["The whole site is held."]


def _terms(hold: dict[str, Any], now: datetime) -> tuple[str | None, str | None, datetime]:
    """Return by whom, why and since when a hold is."""
    for key in ("by", "why"):
        if not isinstance(hold.get(key), str | None):
            raise ControlError(f"hold.{key}: {hold[key]!r:.60} is no text.")
    by, why = (printable(hold.get(key) or "")[:LONGEST_WHY] or None for key in ("by", "why"))
    at = now if hold.get("at") is None else min(_moment(hold["at"], "hold.at"), now)
    return by, why, at


# -- Reading, with the place in every error --------------------------------------------------------


def _at(place: str, said: Mapping[str, Any], do: Callable[[], list[str]]) -> list[str]:
    """Do something, and name the place in what goes wrong."""
    try:
        return do()
    except (DracotaskError, ValueError, TypeError) as error:
        name = said.get("name")
        named = f" ({name})" if isinstance(name, str) else ""
        raise ControlError(f"{place}{named}: {str(error).strip()}") from error


def _trigger(text: Any) -> Any:
    if not isinstance(text, str):
        raise ControlError(f"trigger: {text!r:.60} is no text.")
    if is_listed(text):
        raise BadTrigger(
            f"trigger: {text!r:.80} is of a class of the site's own, whose fire times only a load of its task file"
            " knows: add it there anew."
        )
    return parse_trigger(text)


def _table(said: Any, place: str, keys: tuple[str, ...], *, needed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ControlError(f"{place}: it is {_kind(said)}, and no object.")
    for key in said:
        if key not in keys:
            raise ControlError(f"{place}: there is no {key!r:.60} in an export.{suggestion(str(key)[:60], [*keys])}")
    for key in needed:
        if key not in said:
            raise ControlError(f"{place}: {key!r} is missing.")
    return said


def _tables(top: dict[str, Any], key: str, keys: tuple[str, ...], *, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    listed = top.get(key, [])
    if not isinstance(listed, list):
        raise ControlError(f"{key}: it is {_kind(listed)}, and no list.")
    if len(listed) > MOST_SCHEDULES:
        raise ControlError(f"{key}: {len(listed)} schedules are more than {MOST_SCHEDULES}.")
    tables = [_table(said, f"{key}[{number}]", keys, needed=needed) for number, said in enumerate(listed)]
    names: set[Any] = set()
    for number, table in enumerate(tables):
        if str(table["name"]) in names:
            raise ControlError(f"{key}[{number}]: {table['name']!r:.60} is there twice.")
        names.add(str(table["name"]))
    return tables


def _text(said: dict[str, Any], key: str) -> str:
    if not isinstance(said[key], str):
        raise ControlError(f"{key}: it is {_kind(said[key])}, and no text.")
    return str(said[key])


def _mapping(said: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = said.get(key)
    if not isinstance(value, dict | None):
        raise ControlError(f"{key}: it is {_kind(value)}, and no object.")
    return value or None


def _moment(text: Any, place: str) -> datetime:
    try:
        return from_text(text)
    except (ValueError, TypeError):
        raise ControlError(f"{place}: {text!r:.60} is no moment: write 2027-01-31T14:00:00Z.") from None


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
