"""``stop``: ask that runs end, and wait to see what becomes of them."""

from __future__ import annotations

import time

from ..clock import in_words, utc_now
from ..housekeeping import Housekeeping
from ..model import ACTIVE, STOPPED, Policy, Run
from ..report.reading import open_to_read
from ..run.supervisor import ring
from ..state import is_locked
from .control import controlling
from .running import EXIT_DONE, EXIT_FAILED
from .tables import ended_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .invocation import Invocation

#: Seconds beyond its grace that a Run is waited for: it is killed, reaped and put on record in these.
PATIENCE = 5.0

#: Seconds between two looks whether a Run is over.
LOOK_EVERY = 0.1


def stop(invocation: Invocation, word: str, why: str | None, grace: float | None) -> int:
    """Stop a Run, or all of a Schedule that are queued or running; say what became of each.

    :param grace: seconds between the polite request and KILL; None for those of the policy.
    """
    with controlling(invocation) as control:
        asked = control.stop(word, utc_now(), why=why, grace=grace)
        over = control.store.run(word)
    for run in asked:
        ring(invocation.state, run.id)
    if not asked:
        print(f"{over.schedule} is over: {ended_in_words(over)}." if over else f"{word} is not running.")
        return EXIT_DONE
    # One after the other, and all within the grace of the slowest.
    ends = time.monotonic() + max(_grace(run, grace) for run in asked) + PATIENCE
    return max(_wait_and_say(invocation, run, ends) for run in asked)


def _grace(run: Run, grace: float | None) -> float:
    return Policy.from_text(run.policy).stop_grace if grace is None else grace


def _wait_and_say(invocation: Invocation, run: Run, ends: float) -> int:
    """Wait until a Run is over, say how it ended and return the exit code."""
    begun = time.monotonic()
    now = _wait(invocation, run, ends)
    waited = in_words(time.monotonic() - begun)
    if now is None or now.state in ACTIVE:
        where = f"process {run.pid} on {run.host}" if run.pid else "nobody has started it"
        print(f"{run.schedule} is not over after {waited}: {where}. See: {invocation.command('show', run.task)}")
        return EXIT_FAILED
    if now.state != STOPPED:
        print(f"{run.schedule} ended before it could be stopped: {ended_in_words(now)}.")
    elif now.started_at is None:
        print(f"{run.schedule} was still queued; it will not be started.")
    else:
        killed = ", killed: it did not heed the polite request" if ", killed" in (now.error or "") else ""
        print(f"{run.schedule} was stopped within {waited}{killed}.")
    return EXIT_DONE


def _wait(invocation: Invocation, run: Run, ends: float) -> Run | None:
    """Return the Run when it is over, or as it is when patience is."""
    lock = invocation.state.run_lock(run.id)
    while is_locked(lock) and time.monotonic() < ends:
        time.sleep(LOOK_EVERY)
    with open_to_read(invocation) as store:
        Housekeeping(invocation.state, store).sweep(utc_now())  # if its supervisor is dead, nobody else will say so
        return store.run(run.id)
