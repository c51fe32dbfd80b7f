"""What becomes of a Run that has failed: another attempt, when, or none; and of a Schedule that fails and fails.

Pure, as :mod:`.planning` is. A plain run, which ends well, does not come here.
"""

from __future__ import annotations

from .clock import timedelta
from .model import FAILED, FAILURES, LOST, SUCCEEDED, TIMED_OUT, Action, Policy, new_run_id
from .planning import MOST_DAYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from .model import Outcome, Run, Schedule

#: So often a Run may ask for another attempt itself, where its policy has none for it.
MOST_ASKED = 10


def next_attempt(
    run: Run, outcome: Outcome, *, raised: Collection[str] = (), asked: float | None = None, wanted: bool = False
) -> datetime | None:
    """Return when a Run that has failed is to be tried again; None when it is not.

    The moment is the same whoever works it out: what looks like chance in it comes of the Run's id.

    :param run: as it was taken, with the number of the attempt that has ended.
    :param raised: the names of what it raised, those of the base classes among them.
    :param wanted: whether the Run itself has asked for another attempt.
    :param asked: in so many seconds; None for what the policy says.
    """
    policy = Policy.from_text(run.policy)
    if not wanted and not _is_worth_it(policy, outcome.state, raised):
        return None
    if run.attempt > most_retries(policy, outcome.state, wanted=wanted):
        return None
    delay = asked if asked is not None else _delay(policy, run.id, run.attempt)
    return outcome.finished_at + timedelta(seconds=min(delay, MOST_DAYS * 86400.0))


def attempt_after(run: Run, outcome: Outcome, error: BaseException | None) -> datetime | None:
    """Return when a Run that has raised ``error`` in this very process is to be tried again; None when it is not."""
    if outcome.state == SUCCEEDED:
        return None
    from .errors import Retry, lineage

    if isinstance(error, Retry) and outcome.state == FAILED:
        return next_attempt(run, outcome, wanted=True, asked=error.after)
    raised = [] if error is None else lineage(error)
    return next_attempt(run, outcome, raised=[*raised, "TimedOut"] if outcome.state == TIMED_OUT else raised)


def most_retries(policy: Policy, state: str, *, wanted: bool) -> int:
    """Return how many further attempts a Run may have that has ended in this state."""
    if wanted:
        return policy.retries or MOST_ASKED
    return policy.retries or (1 if state == LOST and policy.on_lost == "retry" else 0)


def _is_worth_it(policy: Policy, state: str, raised: Collection[str]) -> bool:
    if state == LOST:
        return policy.on_lost == "retry"
    if state not in (FAILED, TIMED_OUT):
        return False
    return policy.retry_on is None or not set(policy.retry_on.split(",")).isdisjoint(raised)


def _delay(policy: Policy, run_id: str, attempt: int) -> float:
    """Return the seconds between the end of an attempt and the next."""
    from zlib import crc32

    try:
        delay = min(policy.retry_delay * float(policy.retry_backoff) ** (attempt - 1), policy.retry_max_delay)
    except OverflowError:
        delay = policy.retry_max_delay
    # Runs that failed together come back one by one.
    chance: float = crc32(f"{run_id} {attempt}".encode()) / 2**32
    return delay * (1 - policy.retry_jitter * chance)


def attempts_with(run: Run, outcome: Outcome, retry_at: datetime) -> str:
    """Return the JSON of a Run's attempts with the one that has just ended, and when the next is to be."""
    import json

    from .clock import rfc3339

    attempts = json.loads(run.attempts or "[]")
    attempts.append(
        {
            "attempt": run.attempt,
            "state": outcome.state,
            "started_at": rfc3339(run.started_at) if run.started_at else None,
            "finished_at": rfc3339(outcome.finished_at),
            "exit_code": outcome.exit_code,
            "error": outcome.error,
            "retry_at": rfc3339(retry_at),
        }
    )
    return json.dumps(attempts, ensure_ascii=False)


def last_attempt_at(run: Run) -> datetime:
    """Return when the last attempt of a Run that waits for its retry has ended, by the clock of then."""
    import json

    from .clock import from_text

    attempts = json.loads(run.attempts or "[]")
    return from_text(attempts[-1]["finished_at"]) if attempts else run.queued_at


#: Who holds a Schedule that fails and fails.
PAUSER = "dracotask"


def tallied(schedule: Schedule, outcome: Outcome) -> Schedule:
    """Return the Schedule with one more failure in a row, with none, or held for too many; itself when nothing changes.

    What somebody has stopped, or what never began, says nothing either way.
    """
    if outcome.state == SUCCEEDED:
        return schedule.but(failures=None) if schedule.failures else schedule
    if outcome.state not in FAILURES:
        return schedule
    failures, most = (schedule.failures or 0) + 1, Policy.from_text(schedule.policy).pause_after
    counted: Schedule = schedule.but(failures=failures)
    if most is None or failures < most or schedule.held_at:
        return counted
    last = outcome.error or outcome.state
    why = f"{failures} failures in a row: {last}" if failures > 1 else f"it failed: {last}"
    held: Schedule = counted.but(held_at=outcome.finished_at, held_by=PAUSER, held_why=why, held_until=None)
    return held


def pause(schedule: Schedule, outcome: Outcome) -> Action:
    """Return the row that says that a Schedule was held for its failures.

    :param schedule: as it was stored, held.
    """
    return Action(
        id=new_run_id(), at=outcome.finished_at, schedule=schedule.name, rev=schedule.rev, verb="hold",
        by=schedule.held_by or "", why=schedule.held_why, details="{}",
    )  # fmt: skip
