"""``drain``: hold the whole site, and wait until nothing is at work; for a deployment or a shutdown."""

from __future__ import annotations

import time

from ..clock import utc_now
from ..housekeeping import Housekeeping
from ..model import QUEUED
from ..report.why import at_work
from ..visible import visible_line
from .control import controlling, open_to_hold
from .running import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Run
    from .invocation import Invocation

#: Seconds between two looks whether something is still at work.
LOOK_EVERY = 0.2


def drain(invocation: Invocation, timeout: float | None, why: str | None) -> int:
    """Hold the site and wait until its last Run has ended; return the exit code.

    :param timeout: seconds to wait at most; None for as long as it takes.
    """
    with controlling(invocation, open_to_hold(invocation)) as control:
        control.hold_site(utc_now(), why=why)
    way_out = f"The site stays held until: {invocation.command('resume', '--all')}"
    try:
        if still := _look(invocation):
            _say(f"The whole site is held. Waiting for {_listed(invocation, still)}.")
            still = _wait(invocation, timeout)
    except KeyboardInterrupt:
        _say(f"Waiting was given up; the hold was not. {way_out}")
        return EXIT_STOPPED
    if still:
        _say(f"Still at work: {_listed(invocation, still)}. {way_out}")
        return EXIT_FAILED
    _say(f"Nothing is at work{_queued(invocation)}. {way_out}")
    return EXIT_DONE


def _wait(invocation: Invocation, timeout: float | None) -> list[Run]:
    """Return the Runs that are still at work when patience is over; none when all have ended."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LOOK_EVERY if end is None else end - time.monotonic()
        time.sleep(max(min(left, LOOK_EVERY), 0))
        still = _look(invocation)
        if not still or left <= 0:
            return still


def _look(invocation: Invocation) -> list[Run]:
    """Return the Runs at work, the dead ones put on record."""
    with invocation.site.open_store() as store:
        Housekeeping(invocation.state, store).sweep(utc_now())
        return store.running()


def _queued(invocation: Invocation) -> str:
    with invocation.site.open_store() as store:
        number = len(store.runs(states=(QUEUED,), limit=None))
    return f", {number} queued" if number else ""


def _listed(invocation: Invocation, runs: list[Run]) -> str:
    now, zone = utc_now(), invocation.zone()
    return "; ".join(f"{run.schedule}, {at_work(run, now, zone)}" for run in runs)


def _say(sentence: str) -> None:
    print(visible_line(sentence), flush=True)
