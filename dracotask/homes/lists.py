"""What trigger classes of a program's own have named ahead, and when they are asked again.

A Trigger of a class that is none of ours has its fire times listed in the text of its Schedule, here as in a site. In
a site the next load lists them anew, here it is done between two looks at the clock.
"""

from __future__ import annotations

import logging

from ..clock import timedelta
from ..planning import first_after
from ..triggers import parse_trigger
from ..triggers.listed import carried_on, is_listed, relist_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..model import Schedule
    from ..stores.base import Store
    from ..triggers import Trigger

    #: Asks for the Trigger once more, on the clock of a zone, for a Schedule of a name, from a moment on.
    Again = Callable[[str, str, datetime], Trigger | None]

#: A class is asked again after so long at the earliest.
SOONEST = timedelta(seconds=60)

logger = logging.getLogger("dracotask.scheduler")


class OwnLists:
    """The Schedules of a program that have a list for a trigger. Guarded by the store's lock."""

    def __init__(self, store: Store, *, zone: Callable[[], str], now: Callable[[], datetime]) -> None:
        self.store, self._zone, self._now = store, zone, now
        self._again: dict[str, tuple[Again, datetime | None]] = {}

    def remember(self, schedule: Schedule, again: Again | None) -> None:
        """Take note of the rule of a Schedule, whatever it is.

        :param again: asks for it once more; None when nobody can.
        """
        if again is None or schedule.trigger is None or not is_listed(schedule.trigger):
            self._again.pop(schedule.name, None)
        else:
            self._again[schedule.name] = again, relist_at(parse_trigger(schedule.trigger), self._now())

    def may_go_on(self, name: str) -> bool:
        """Tell whether a class may name more fire times than it did."""
        return name in self._again and self._again[name][1] is not None

    def renew(self) -> None:
        """Ask the classes again whose list is half used up."""
        for name, (again, moment) in list(self._again.items()):
            schedule = self.store.schedule(name)
            if schedule is None or not is_listed(schedule.trigger):
                self._again.pop(name, None)
            elif moment is not None and moment <= self._now():
                self._renew(name, again)

    def _renew(self, name: str, again: Again) -> None:
        try:
            trigger = again(self._zone(), name, self._now())  # without the lock: it is the program's own code
        except Exception:
            logger.exception("%s has the fire times that are listed, and no more for now.", name)
            trigger = None
        with self.store.transaction():
            schedule, now = self.store.schedule(name), self._now()
            self._again[name] = again, now + SOONEST
            if schedule is not None and schedule.trigger is not None and trigger is not None:
                self.store.put_schedule(_with_list(schedule, str(trigger), now))
                moment = relist_at(trigger, now)
                self._again[name] = again, moment and max(moment, now + SOONEST)


def _with_list(schedule: Schedule, text: str, now: datetime) -> Schedule:
    """Return a Schedule with its rule listed anew; what is due by the old list stays so."""
    upcoming = schedule.next_fire_time
    text = carried_on(schedule.trigger or "", text, upcoming or now, now) or text
    if upcoming is None or upcoming > now:
        upcoming = first_after(parse_trigger(text), now, schedule.watermark)
    renewed: Schedule = schedule.but(trigger=text, next_fire_time=upcoming)
    return renewed
