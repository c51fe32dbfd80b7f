"""The bars in the rows of the list, kept from one look at it to the next.

A page that looks for news every two seconds would have fifteen hundred runs read and drawn each time, of which
hardly one is new.
"""

from __future__ import annotations

from typing import NamedTuple

from ..report.pace import usual
from .charts import MOST_IN_ROW, sparkline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from markupsafe import Markup

    from ..stores.base import Store
    from ..stores.reading import Glance

    #: What changes when a run of a schedule begins or ends.
    Stamp = tuple[str | None, str | None, tuple[str, ...]]

#: So many schedules are remembered in one process.
MOST = 5000


class Drawing(NamedTuple):
    """The last runs of a schedule.

    :ivar usual: the seconds that a success usually takes; None when there were too few to tell.
    """

    bars: Markup
    usual: float | None


class Drawings:
    """What was drawn of the schedules of one site. Any thread may ask."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Stamp, Drawing]] = {}

    def of(
        self, store: Store, glances: Iterable[Glance], running: Mapping[str, Sequence[str]]
    ) -> dict[str, Drawing]:
        """Return the drawing of each schedule, by its name; those are made anew of which a run has begun or ended.

        :param running: the ids of the Runs at work, by schedule.
        """
        stamps = {each.name: (each.last_id, each.last_state, (*running.get(each.name, ()),)) for each in glances}
        found = {name: known for name, stamp in stamps.items() if (known := self._as_it_was(name, stamp))}
        for name, runs in store.recent([name for name in stamps if name not in found], MOST_IN_ROW).items():
            found[name] = Drawing(sparkline(runs), usual(runs))
            self._remember(name, stamps[name], found[name])
        return found

    def _as_it_was(self, name: str, stamp: Stamp) -> Drawing | None:
        known = self._known.get(name)
        return known[1] if known is not None and known[0] == stamp else None

    def _remember(self, name: str, stamp: Stamp, drawing: Drawing) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = stamp, drawing
