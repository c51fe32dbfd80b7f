"""What a list of thousands, a chart and a page of history ask of a store, whichever it is.

A console shows a little of very much. So these values have few columns and are made quickly. No run imports them.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime


class Glance(NamedTuple):
    """A Schedule in few words, with its newest Run that was started.

    :param in_force: the text of the trigger that counts, be it the declared one or an operator's; None for on demand.
    :param failures: how many of its Runs have failed in a row.
    :param last_id: None when none was started, or none is here any more; ``last_state`` and ``last_started_at`` are
        then None as well.
    """

    name: str
    task: str
    declared: bool
    description: str
    in_force: str | None
    next_fire_time: datetime | None
    held_at: datetime | None
    held_until: datetime | None
    vanished_at: datetime | None
    failures: int
    after: str | None
    last_id: str | None
    last_state: str | None
    last_started_at: datetime | None


class Recent(NamedTuple):
    """A Run in few words, for one of many bars of a chart."""

    id: str
    state: str
    fire_time: datetime | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    late_cause: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it is not over."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max((self.finished_at - self.started_at).total_seconds(), 0.0)

    @property
    def late(self) -> float | None:
        """Seconds that it began after its fire time; None where it had none, or has not begun."""
        if self.started_at is None or self.fire_time is None:
            return None
        return max((self.started_at - self.fire_time).total_seconds(), 0.0)


class Ending(NamedTuple):
    """How the Runs of a Schedule came to their ends of late.

    :param seconds: how long the newest that is over was at work; None when none was, or is here any more.
    :param succeeded_at: when the newest that succeeded has ended, whether it is still here or not; None when none did.
    """

    seconds: float | None
    succeeded_at: datetime | None
