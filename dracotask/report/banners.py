"""What stands above the list of tasks when something is wrong: the fact, and what to do about it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from ..visible import visible_line
from .cronline import cron_line, edit_crontab, site_owner
from .words import since_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

    from ..cli.output import Paper
    from ..model import Schedule
    from ..state import State
    from ..stores.holds import SiteHold
    from ..stores.reading import Glance
    from .desk import Desk
    from .reading import Notes

#: A tick is due once a minute at least. When none came for so long, none comes.
NOBODY_AFTER = timedelta(minutes=2)


class Banner:
    """One thing that is wrong.

    :param kind: ``broken config held off nobody missing changed warning readonly``, for those who add to the words.
    :param remedy: what to do about it, in lines.
    :ivar colour: "red" where tasks do not run as they should, "yellow" where they might not.
    """

    __slots__ = ("colour", "fact", "kind", "remedy")

    def __init__(self, colour: str, kind: str, fact: str, *remedy: str) -> None:
        self.colour, self.kind, self.fact, self.remedy = colour, kind, fact, remedy

    def lines(self, paper: Paper) -> list[str]:
        mark = paper.paint({"red": "x", "yellow": "!"}[self.colour], self.colour)
        if paper.unicode and self.colour == "red":
            mark = paper.mark("failed")
        return [f"{mark} {paper.paint(visible_line(self.fact), 'bold')}", *(f"  {line}" for line in self.remedy)]


def banners(
    desk: Desk, notes: Notes, schedules: Iterable[Schedule | Glance], now: datetime, zone: tzinfo
) -> Iterator[Banner]:
    """Yield what is wrong with a site, the most serious first.

    :param schedules: all there are.
    """
    config, state, schedules = desk.config, desk.state, list(schedules)
    yield from unwritable(desk)
    if notes.problem:
        fact = f"{state.task_file} is broken: {notes.problem}"
        mend = "Mend it, then:" if notes.is_current else "It has changed since; see whether it is mended:"
        stays = "Its last good version stays in force." if schedules else "No version of it is in force yet."
        remedy = f"{stays} {mend} {desk.command('load')}"
        yield Banner("red", "broken", fact, remedy)
    if config.problem:
        remedy = "The last good configuration stays in force until that is mended."
        yield Banner("red", "config", config.problem, remedy)
    if notes.site_hold:
        fact = f"{site_held_in_words(notes.site_hold, now, zone)}."
        remedy = f"Nothing begins until it is resumed: {desk.command('resume', '--all')}"
        yield Banner("yellow", "held", fact, remedy)
    if not config.enabled:
        where = config.origin("enabled")
        yield Banner("yellow", "off", "Tasks are switched off on this site.", f"enabled = false stands in {where}.")
    elif any(schedule.in_force and not schedule.vanished_at for schedule in schedules):
        yield from _nobody_looks(desk, now, zone)
    if not os.path.exists(state.task_file):
        fact = f"{state.task_file} does not exist."
        yield Banner("yellow", "missing", fact, f"Have one written: {desk.command('init')}")
    elif notes.was_loaded and not notes.is_current and not notes.problem:
        remedy = f"The next look takes it over; at once: {desk.command('load')}"
        fact = f"{state.task_file} or a file that it imports has changed since it was loaded."
        yield Banner("yellow", "changed", fact, remedy)
    if notes.warning:
        yield Banner("yellow", "warning", *_sentence_and_remedy(notes.warning))


def unwritable(desk: Desk) -> Iterator[Banner]:
    """Yield the banner of a site whose state cannot be written: mostly, its store cannot be read either then."""
    path = desk.state.path
    if not is_writable(desk.state):
        remedy = f"No task runs, and nothing is recorded, until {site_owner(desk)} may write there again."
        yield Banner("red", "readonly", f"The state folder {path} cannot be written.", remedy)


def is_writable(state: State) -> bool:
    """Tell whether anything can be put on record, as far as the permissions of the state folder go."""
    return os.access(state.path, os.W_OK)


def site_held_in_words(hold: SiteHold, now: datetime, zone: tzinfo) -> str:
    """Return who holds the whole site, since when and why."""
    words = f"The whole site is held by {hold.by} since {since_in_words(hold.at, now, zone)}"
    return f"{words}: {hold.why}" if hold.why else words


def _nobody_looks(desk: Desk, now: datetime, zone: tzinfo) -> Iterator[Banner]:
    """Yield the banner of a site whose tasks wait for a visitor."""
    if not nobody_looks(desk.state, now):
        return
    moment = next_look(desk.state)
    since = f"since {since_in_words(moment, now, zone)}" if moment else "yet"
    remedy = f"Serve a request, or add this line for cron ({edit_crontab(site_owner(desk))}):"
    yield Banner("yellow", "nobody", f"Nobody has looked {since}: no task runs by itself.", remedy, cron_line(desk))


def nobody_looks(state: State, now: datetime) -> bool:
    """Tell whether nobody has looked for what is due for so long that nobody does."""
    moment = next_look(state)
    return moment is None or now - moment >= NOBODY_AFTER


def next_look(state: State) -> datetime | None:
    """Return the moment at which somebody should look next, a minute after the last look at the latest."""
    try:
        return datetime.fromtimestamp(os.stat(state.next_file).st_mtime, UTC)
    except OSError:
        return None


def _sentence_and_remedy(warning: str) -> tuple[str, str]:
    fact, _, remedy = warning.partition(". ")
    return fact[0].upper() + fact[1:].removesuffix(".") + ".", remedy
