"""What several tests build their stories from: plain schedules, runs, and a site's folder."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dracotask.model import DEFAULT_POLICY, QUEUED, Action, Outcome, Policy, Run, Schedule, new_run_id
from dracotask.state import State
from dracotask.stores.base import Store

at = datetime.fromisoformat
seconds = lambda number: timedelta(seconds=number)  # noqa: E731

#: The moment at which stories happen that do not care which one it is.
NOON = at("2026-11-21T12:00:00+00:00")

HOURLY = "every 1h from 2000-01-01T00:00:00+00:00"


def a_schedule(name: str = "Report", **facts: Any) -> Schedule:
    """Return a declared schedule that was never stored."""
    plain = {
        "name": name, "task": name, "declared": True, "trigger": HOURLY, "arguments": "{}",
        "policy": a_policy(), "description": "", "source": "__tasks__.py:1", "rev": 0,
    }  # fmt: skip
    return Schedule(**{**plain, **facts})


def a_policy(**facts: Any) -> str:
    return Policy(**{**DEFAULT_POLICY, **facts}).to_text()


def a_run(task: str = "Report", **facts: Any) -> Run:
    """Return a queued Run on demand that was never stored."""
    plain = {
        "id": new_run_id(), "schedule": task, "task": task, "state": QUEUED, "origin": "demand",
        "queued_at": NOON, "attempt": 0, "policy": a_policy(), "arguments": "{}", "despite_hold": False,
        "priority": 0, "rev": 1,
    }  # fmt: skip
    return Run(**{**plain, **facts})


def an_action(schedule: str = "Report", **facts: Any) -> Action:
    plain = {
        "id": new_run_id(), "at": NOON, "schedule": schedule, "rev": 1, "verb": "hold", "by": "anna",
        "details": "{}",
    }  # fmt: skip
    return Action(**{**plain, **facts})


def runs_in_order(number: int, **facts: Any) -> list[Run]:
    """Return Runs whose ids rise as those of Runs do that are not of one millisecond."""
    return [a_run(**{"id": f"{count:026d}", **facts}) for count in range(1, number + 1)]


def an_outcome(**facts: Any) -> Outcome:
    return Outcome(**{"state": "succeeded", "exit_code": 0, "finished_at": NOON + seconds(5), **facts})


def stored(store: Store, schedule: Schedule) -> Schedule:
    """Put a schedule into the store and return it as it stands there."""
    assert store.put_schedule(schedule)
    found = store.schedule(schedule.name)
    assert found is not None
    return found


def taken(store: Store, run: Run, *, token: str = "mine", limit: int = 1, now: datetime = NOON) -> Run | None:
    """Take a Run; return it when it was won."""
    found = store.take(run, token=token, host="here", pid=4242, now=now, limit=limit)
    return found if found is not None and found.token == token else None


def begun(store: Store, run: Run, **facts: Any) -> Run:
    """Put a Run into the store and take it."""
    store.add_run(run)
    found = taken(store, run, **{"limit": 1000, **facts})
    assert found is not None
    return found


def ended(store: Store, run: Run, **facts: Any) -> Run:
    """Put a Run into the store and see it to its end."""
    begun(store, run)
    assert store.finish(run.but(token="mine"), an_outcome(**facts)) is not None
    found = store.run(run.id)
    assert found is not None
    return found


def a_state(folder: Any) -> State:
    """Return the state of a new site in ``folder``, its state folder made."""
    state = State(str(folder))
    state.create()
    return state
