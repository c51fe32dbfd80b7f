"""Runs: the history of the site, narrowed by what stands in the address."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from werkzeug.exceptions import BadRequest

from ...model import ACTIVE, ENDED, FAILURES, NEVER_STARTED
from ...report.reading import really, run_as_json
from ...report.words import STATES
from ..asked import ROWS, Page
from ..rows import ORIGINS, RunRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Run
    from ..asked import Asked

#: What may be asked for in one word, beside the states themselves.
FAMILIES = {"any failure": FAILURES, "never started": NEVER_STARTED, "active": ACTIVE}


class Wanted:
    """Which Runs are wanted, as the address says.

    :raises BadRequest: it makes no sense.
    """

    def __init__(self, asked: Asked) -> None:
        self.schedule, self.state, self.origin = asked.word("schedule"), asked.word("state"), asked.word("origin")
        self.since, self.until = asked.word("since"), asked.word("until")
        self.before, self.after = asked.word("before", 26), asked.word("after", 26)
        self.limit = asked.number("limit", ROWS, 1, 500)
        self._zone = asked.zone

    def states(self) -> tuple[str, ...] | None:
        if self.state is None:
            return None
        if self.state in FAMILIES:
            return FAMILIES[self.state]
        if self.state not in STATES:
            raise BadRequest(f"There is no state {self.state!r:.60}.")
        return (self.state,)

    def filters(self) -> dict[str, Any]:
        """Return it as the store's own words."""
        since, until = self._day(self.since, "since"), self._day(self.until, "until")
        return {
            "schedule": self.schedule, "states": self.states(), "origin": self.origin, "before": self.before,
            "after": self.after, "since": since, "until": None if until is None else until + timedelta(days=1),
        }  # fmt: skip

    def _day(self, text: str | None, name: str) -> datetime | None:
        """Return the beginning of a day on the site's clock."""
        if text is None:
            return None
        try:
            day = date.fromisoformat(text)
            if not 1970 <= day.year <= 9000:
                raise ValueError(day)
        except ValueError:
            raise BadRequest(f"{name}={text!r:.40} is no day: write 2027-01-31.") from None
        return datetime(day.year, day.month, day.day, tzinfo=self._zone)

    def query(self) -> dict[str, str | None]:
        return {
            name: getattr(self, name) for name in ("schedule", "state", "origin", "since", "until")
        }


def page(asked: Asked) -> Page:
    wanted = Wanted(asked)
    runs = _read(asked, wanted, wanted.limit + 1)
    rows = [RunRow(run, asked) for run in runs[: wanted.limit]]
    query = wanted.query()
    older = asked.links.to("runs", **query, before=rows[-1].run.id) if len(runs) > wanted.limit else None
    newest = asked.links.to("runs", **query) if wanted.before else None
    return Page(
        "runs.html", wanted=wanted, rows=rows, older=older, newest=newest, origins=ORIGINS, poll=15,
        states=[*FAMILIES, *ACTIVE, *ENDED, *NEVER_STARTED],
    )  # fmt: skip


def as_json(asked: Asked) -> list[dict[str, Any]]:
    wanted = Wanted(asked)
    return [run_as_json(run) for run in _read(asked, wanted, wanted.limit)]


def _read(asked: Asked, wanted: Wanted, limit: int) -> list[Run]:
    filters = wanted.filters()
    with asked.reading() as store:
        return [really(store, asked.desk.state, run) for run in store.runs(**filters, limit=limit)]
