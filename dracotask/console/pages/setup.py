"""Setup: who keeps the site ticking, what is wrong and what to do about it, and what traffic alone would bring."""

from __future__ import annotations

import platform
import sqlite3
from datetime import time, timedelta
from importlib.metadata import PackageNotFoundError, version
from itertools import islice

from ...clock import in_words, rfc3339
from ...errors import BadTrigger
from ...forecast import forecast, longest_lull
from ...keys import ALL_KEYS
from ...report.banners import banners
from ...report.checks import find, value_in_words, value_shown
from ...report.checkweb import deny_lines
from ...report.cronline import cron_line, edit_crontab, site_owner
from ...report.reading import Notes
from ...report.words import since_in_words
from ...triggers import parse_trigger
from ...web.traffic import Traffic
from ..asked import Page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...forecast import Forecast
    from ...report.finding import Finding
    from ...stores.reading import Glance
    from ..asked import Asked

#: Who looks for what is due, in the order in which they are told, and what each is.
LOOKERS = {
    "request": ("a request", "a visitor came"),
    "tick": ("the idle worker", "a thread of the web server, between two requests"),
    "cron": ("cron", "a timer that runs due"),
    "command": ("somebody by hand", "due, on a terminal"),
}

#: Who looks by the clock comes once a minute at least; who did not for so long does not any more.
LAPSE = timedelta(seconds=150)

#: What the forecast is told for.
AT_NIGHT = time(3, 0)

#: So many of the tasks are told what traffic alone would do to them, of those for which a wait matters: what comes
#: again within so long is left out.
MOST_FORECASTS, SOON = 5, timedelta(hours=1)


class Setup:
    """What the page says, as read at one moment."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.desk = asked, asked.desk
        with asked.reading() as store:
            self.notes, self.glances = Notes(store), store.glances()
        self.banners = list(banners(asked.desk, self.notes, self.glances, asked.now, asked.zone))
        # (Not by a load, which forks: this process may have threads. What the last one found stands in the notes.)
        self.findings: list[Finding] = list(find(asked.desk, may_load=False))
        self.owner = site_owner(asked.desk)
        self.cron_line, self.edit = cron_line(asked.desk), edit_crontab(self.owner)
        self.traffic = Traffic.read(asked.desk.state)

    def lookers(self) -> Iterator[tuple[str, str, str]]:
        """Yield who keeps the site ticking, what that is, and when it was last seen, in words."""
        seen = self.desk.state.last_seen()
        for looker, (name, what) in LOOKERS.items():
            moment = seen.get(looker)
            yield name, what, since_in_words(moment, self.asked.now, self.asked.zone) if moment else "never"

    def config(self) -> Iterator[tuple[str, str, str]]:
        """Yield each key, its value in words, and where that comes from."""
        for key in ALL_KEYS:
            yield key, value_in_words(self.desk, key), self.desk.config.origin(key)

    def forecasts(self) -> list[tuple[str, str]]:
        """Return what would become of a time of day, and of the tasks that come next, if only requests looked."""
        now, zone = self.asked.now, self.asked.zone
        told = [("a task at 03:00", forecast(self.traffic, AT_NIGHT, now, zone))]
        coming = [each for each in self.glances if each.next_fire_time and not each.held_at and not each.vanished_at]
        coming.sort(key=lambda each: each.next_fire_time or now)
        for each in islice(filter(_is_rare, coming), MOST_FORECASTS):
            assert each.next_fire_time is not None
            told.append((each.name, forecast(self.traffic, each.next_fire_time, now, zone)))
        return [(name, in_forecast(found)) for name, found in told if found is not None]

    def lull(self) -> str:
        """Return the longest time of the last week without a request, in words; "" where nobody knows."""
        found = longest_lull(self.traffic, self.asked.now)
        if found is None:
            return ""
        begin = since_in_words(found.begin, self.asked.now, self.asked.zone)
        return f"{in_words(found.length.total_seconds())}, from {begin}"

    @property
    def keeps_time(self) -> bool:
        """Whether somebody looks by the clock, however few visitors there are."""
        seen = self.desk.state.last_seen()
        moments = [seen[looker] for looker in ("tick", "cron") if looker in seen]
        return any(self.asked.now - moment < LAPSE for moment in moments)


def _is_rare(glance: Glance) -> bool:
    """Tell whether a schedule that has a next fire time comes again no sooner than after :data:`SOON`."""
    assert glance.next_fire_time is not None
    try:
        following = parse_trigger(glance.in_force or "").next_after(glance.next_fire_time)
    except BadTrigger:
        return False
    return following is None or following - glance.next_fire_time > SOON


def in_forecast(found: Forecast) -> str:
    """Return a forecast in words."""
    days = f"by {found.days} days on record" if found.days > 1 else "by one day on record"
    if not found.worst:
        return f"on time, {days}"
    return f"{_late(found.median)} in the median, at worst {_late(found.worst)}, {days}"


def _late(late: timedelta) -> str:
    return f"{in_words(late.total_seconds())} late" if late else "on time"


def page(asked: Asked) -> Page:
    setup = Setup(asked)
    return Page(
        "setup.html", setup=setup, banners=setup.banners, findings=setup.findings, versions=versions(),
        deny_lines=deny_lines(asked.desk), poll=15,
    )  # fmt: skip


def as_json(asked: Asked) -> dict[str, Any]:
    setup, desk = Setup(asked), asked.desk
    return {
        "docroot": desk.docroot,
        "timezone": asked.zone.key,
        "findings": [each.as_json() for each in setup.findings],
        "config": {key: {"value": value_shown(desk, key), "origin": desk.config.origin(key)} for key in ALL_KEYS},
        "cron_line": setup.cron_line,
        "user": setup.owner,
        "last_seen": {looker: rfc3339(moment) for looker, moment in desk.state.last_seen().items()},
        "forecast": dict(setup.forecasts()),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return what this console is made of."""
    try:
        own = version("dracotask")
    except PackageNotFoundError:
        own = "from a checkout"
    return {"dracotask": own, "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
