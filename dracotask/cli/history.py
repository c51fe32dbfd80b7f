"""``runs``: the history of a site or of one task, newest first."""

from __future__ import annotations

from ..clock import utc_now
from ..errors import StoreMissing
from ..model import FAILURES
from ..report.reading import open_to_read, really, run_as_json, runs_named
from .output import print_json
from .tables import run_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Run
    from .invocation import Invocation


def print_runs(invocation: Invocation, name: str | None, *, limit: int, failed: bool, as_json: bool) -> None:
    """Print Runs as a table or as JSON.

    :param name: of this Schedule only; None for all.
    """
    runs = _read(invocation, name, limit, failed)
    if as_json:
        print_json([run_as_json(run) for run in runs])
    elif runs:
        print("\n".join(run_table(runs, invocation.paper, now=utc_now(), zone=invocation.zone())))
    else:
        print(f"No {'failed ' if failed else ''}runs {'of ' + name if name else 'yet'}.")


def _read(invocation: Invocation, name: str | None, limit: int, failed: bool) -> list[Run]:
    try:
        with open_to_read(invocation) as store:
            states = FAILURES if failed else None
            if name is None:
                found = store.runs(states=states, limit=limit)
            else:
                found = runs_named(invocation, store, name, states=states, limit=limit)
            return [really(store, invocation.state, run) for run in found]
    except StoreMissing:
        if name is None:
            return []
        raise
