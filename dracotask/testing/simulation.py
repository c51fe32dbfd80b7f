"""What a simulation has found: which Runs would have happened, when, and why others would not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from ..clock import in_words
from ..errors import ScheduleNotFound
from ..model import MISSED, SKIPPED, STARTED, SUCCEEDED, Run
from .rows import RealRows, Rows

#: So many rows stand in a report in full.
FEW = 12

_SECOND = 1_000_000


class Lateness:
    """How long after their fire times Runs began.

    :ivar count: how many there were that had a fire time.
    :ivar mean: on average; zero when there were none.
    :ivar worst: at most.
    """

    __slots__ = ("count", "mean", "worst")

    def __init__(self, microseconds: list[int]) -> None:
        self.count = len(microseconds)
        self.mean = timedelta(microseconds=sum(microseconds) // max(self.count, 1))
        self.worst = timedelta(microseconds=max(microseconds, default=0))

    def __str__(self) -> str:
        if not self.worst:
            return "on time"
        return f"{in_words(self.mean.total_seconds())} late on average, {in_words(self.worst.total_seconds())} at worst"


class Simulation:
    """The history of a simulation. It yields its rows by time.

    :ivar rows: every row by time: Runs, and what was skipped or missed with its reason in ``summary``.
    :ivar names: of the Schedules.
    :ivar zone: the name of the zone in which moments are told, and read where they have no offset.
    :ivar looks: how often somebody looked and found something.
    :ivar log: what a site's log would say.
    :ivar notes: what is not known, and so not in the rows.
    """

    def __init__(
        self,
        rows: Rows | RealRows,
        names: list[str],
        *,
        title: str,
        start: datetime,
        end: datetime,
        zone: str,
        traffic: str,
        looks: int,
        log: list[str],
        notes: Sequence[str] = (),
    ) -> None:
        self.rows, self.names, self.title = rows, names, title
        self.start, self.end, self.zone, self.traffic, self.looks, self.log = start, end, zone, traffic, looks, log
        self.notes = [*notes]

    @property
    def runs(self) -> Rows | RealRows:
        """What began."""
        return self.rows.where(lambda run: run.state in STARTED)

    @property
    def skipped(self) -> Rows | RealRows:
        return self.rows.where(lambda run: run.state == SKIPPED)

    @property
    def missed(self) -> Rows | RealRows:
        return self.rows.where(lambda run: run.state == MISSED)

    @property
    def lateness(self) -> Lateness:
        return Lateness(self.runs.lateness())

    def of(self, name: str) -> Simulation:
        """Return the part of one Schedule, or of all of one Task.

        :raises ScheduleNotFound: there is none of that name.
        """
        rows = self.rows.where(lambda run: name in (run.schedule, run.task))
        if not len(rows) and name not in self.names:
            raise ScheduleNotFound(name, self.names)
        return self._part(rows, [each for each in self.names if each == name or rows.where(partial(_is_of, each))])

    def _of_schedule(self, name: str) -> Simulation:
        return self._part(self.rows.where(lambda run: run.schedule == name), [name])

    def _part(self, rows: Rows | RealRows, names: list[str]) -> Simulation:
        return Simulation(
            rows, names, title=self.title, start=self.start, end=self.end, zone=self.zone, traffic=self.traffic,
            looks=self.looks, log=self.log, notes=self.notes,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Run]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Simulation of {self.title}: {len(self.runs)} runs in {len(self.rows)} rows>"

    # -- To be read ------------------------------------------------------------------------

    def __str__(self) -> str:
        head = f"{self.title}, {self.on_clock(self.start)} to {self.on_clock(self.end)} ({self.zone})"
        lines = [f"{head}, traffic: {self.traffic}", *(f"  ! {note}" for note in self.notes)]
        lines += [*(self._told(name) for name in self.names), ""]
        lines += [f"  {self.in_words(run)}" for run in self.rows[:FEW]]
        if len(self.rows) > FEW:
            lines.append(f"  … {len(self.rows) - FEW} more rows")
        return "\n".join(lines).rstrip()

    def _told(self, name: str) -> str:
        return f"  {name}: {Summary(name, self._of_schedule(name))}"

    def summaries(self) -> list[Summary]:
        """Return the numbers of each Schedule."""
        return [Summary(name, self._of_schedule(name)) for name in self.names]

    def in_words(self, run: Run) -> str:
        """Return a row as a line: when, what, and how it went or why not."""
        when = run.fire_time or run.queued_at
        words = run.state.replace("_", " ")
        if run.fire_from:
            words += f" since {self.on_clock(run.fire_from)}" + (f", {run.fire_count} times" if run.fire_count else "")
        late = (run.started_at - run.fire_time).total_seconds() if run.started_at and run.fire_time else 0
        facts = [f"began {in_words(late)} late"] if late else []
        facts += [f"attempt {run.attempt}"] if run.attempt > 1 else []
        facts += [text for text in (run.error, run.summary) if text]
        return f"{self.on_clock(when)}  {run.schedule}  {words}{': ' if facts else ''}{'; '.join(facts)}"

    def on_clock(self, moment: datetime) -> str:
        """Return a moment on the clock of the zone, to the second where it has seconds."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return f"{local:%a %Y-%m-%d %H:%M}" + (f":{local:%S}" if local.second else "")


def _is_of(name: str, run: Run) -> bool:
    return run.schedule == name


def _is_in(state: str, run: Run) -> bool:
    return run.state == state


class Summary:
    """The numbers of one Schedule.

    :ivar runs: how many began, and of them by ``states`` how they ended.
    :ivar skipped: how many fire times were skipped, and ``missed``, as far as somebody counted.
    """

    __slots__ = ("lateness", "missed", "name", "runs", "skipped", "states")

    def __init__(self, name: str, part: Simulation) -> None:
        runs = part.runs
        self.name, self.runs, self.lateness = name, len(runs), part.lateness
        self.states = {state: len(runs.where(partial(_is_in, state))) for state in STARTED}
        self.skipped = sum(run.fire_count or 1 for run in part.skipped)
        self.missed = sum(run.fire_count or 1 for run in part.missed)

    def __str__(self) -> str:
        words = [f"{self.runs} runs" if self.runs != 1 else "1 run"]
        words += [
            f"{number} {state.replace('_', ' ')}"
            for state, number in self.states.items()
            if number and state != SUCCEEDED
        ]
        words += [f"{number} {state}" for state, number in ((SKIPPED, self.skipped), (MISSED, self.missed)) if number]
        return f"{', '.join(words)}; {self.lateness}" if self.runs else ", ".join(words)
