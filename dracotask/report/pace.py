"""How long runs take: what is usual, what is slow, and how much of the one at work is left. Pure."""

from __future__ import annotations

from math import isfinite

from ..clock import in_words
from ..model import RUNNING, SUCCEEDED
from .words import about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Protocol

    from ..model import Run

    class Paced(Protocol):
        """A Run, or as much of one as tells how long it took."""

        @property
        def state(self) -> str: ...
        @property
        def seconds(self) -> float | None: ...


#: What is usual takes so many runs to know.
FEWEST = 3

#: An estimate from progress is worth nothing before so many seconds.
EARLIEST = 1.0


def median(numbers: Iterable[float | None]) -> float | None:
    """Return the number in the middle, or between the two there; None when there is no number."""
    known = sorted(_known(numbers))
    if not known:
        return None
    return known[(len(known) - 1) // 2] / 2 + known[len(known) // 2] / 2


def p95(numbers: Iterable[float | None]) -> float | None:
    """Return the smallest of the numbers that is not exceeded by 95 in a hundred; None when there is no number."""
    known = sorted(_known(numbers))
    return known[(95 * len(known) + 99) // 100 - 1] if known else None


def usual(runs: Iterable[Paced]) -> float | None:
    """Return the seconds that a success usually takes: the median; None when there were too few to tell."""
    took = _known(run.seconds for run in runs if run.state == SUCCEEDED)
    return median(took) if len(took) >= FEWEST else None


def usual_in_words(seconds: float | None) -> str:
    """Return "usually 1m 5s"; "" when nobody knows."""
    return "" if seconds is None else f"usually {in_words(seconds)}"


def eta(run: Run, now: datetime, usually: float | None) -> float | None:
    """Return the seconds that are left of a Run at work; None when nobody can tell.

    Its own word counts first: at a third after ten seconds, twenty are left. Where it says nothing, it
    will take what is usual, until it has taken longer.

    :param usually: what :func:`usual` says.
    """
    if run.state != RUNNING or run.started_at is None:
        return None
    elapsed = (now - run.started_at).total_seconds()
    share = share_done(run)
    if share and elapsed > EARLIEST:
        left = elapsed * (1 - share) / share
        return left if isfinite(left) else None
    return usually - elapsed if usually is not None and 0 <= elapsed < usually else None


def eta_in_words(seconds: float | None) -> str:
    """Return "about 25s left"; "" when nobody knows, and nothing is promised of the last second."""
    return f"about {about(seconds)} left" if seconds is not None and seconds >= 1 else ""


def share_done(run: Run) -> float | None:
    """Return how much of a Run is done, 0 to 1; None when it did not say, or not of how much."""
    done, total = run.progress_done, run.progress_total
    if done is None or total is None or not isfinite(done) or not 0 < total < float("inf"):
        return None
    return min(max(done / total, 0.0), 1.0)


def _known(numbers: Iterable[float | None]) -> list[float]:
    """Return those that are lengths of time: neither missing nor endless, and none before it began."""
    return [max(number, 0.0) for number in numbers if number is not None and isfinite(number)]
