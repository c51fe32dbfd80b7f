"""``-q``: a run by hand of which nothing is said unless it fails, which is what cron's mail wants."""

from __future__ import annotations

import sys

from ..model import FAILURES, SKIPPED, SUCCEEDED
from .running import run_and_say, say_how_it_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Run
    from ..site import Site


def run_quietly(docroot: str, name: str) -> int:
    """``DOCROOT TASKNAME -q``: run the task here and now; its output is kept, and shown only if it fails."""
    return run_and_say(docroot, name, say_if_failed)


def say_if_failed(site: Site, run: Run) -> None:
    """Print what a run has printed, and how it ended, if that is what somebody has to know."""
    if run.state in FAILURES or run.not_before:
        from .log import Printer, print_file

        printer = Printer()
        print_file(site.state.output_file(run.id, max(run.attempt, 1)), 0, printer)
        printer.close()
        sys.stdout.flush()
    if run.state not in (SUCCEEDED, SKIPPED):
        say_how_it_ended(run)
