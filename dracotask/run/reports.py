"""What a body says while it is at work, and what becomes of it: progress, and verbs for its own Schedule.

Any code in a body may write to the pipe: what makes no sense is told in the site's log, and
harms nobody.
"""

from __future__ import annotations

import json
from time import monotonic

from ..clock import utc_now
from ..errors import DracotaskError, StoreError
from .steering import read_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Run
    from ..state import State
    from ..stores.base import Store

    #: Does a verb to the Schedule of a run at work.
    Steer = Callable[[Store, Run, str, dict[str, str | None]], None]

#: How often (seconds) the progress is written to the store.
PROGRESS_EVERY = 2.0

#: So many verbs wait for a store that does not answer, and so many sentences about one run reach the site's log.
MOST_WAITING, MOST_COMPLAINTS = 100, 10

#: How long (seconds) a store may keep a supervisor waiting that has a limit to mind.
STORE_PATIENCE = 0.5


class Reports:
    """What one body has to say.

    :param steer: does what a task wants done to its own Schedule.
    """

    def __init__(self, state: State, store: Store, run: Run, steer: Steer) -> None:
        self.state, self.store, self.run, self._steer = state, store, run, steer
        self._waiting: list[tuple[str, dict[str, str | None]]] = []
        self._has_progress = False
        self._written: object = None
        self._write_at = 0.0
        self._complaints = 0

    def hear(self, message: list[str]) -> None:
        """Take in a message that wants something done, and do it at once, if the store will have it."""
        if message == ["progress"]:
            self._has_progress = True
        elif message[0] == "steer" and (wish := self._wish(message)):
            # One after the other: behind a verb that waits the others wait as well.
            self._waiting.append(wish)
            if len(self._waiting) == 1:
                self._without_waiting(self._work_off)
            elif len(self._waiting) > MOST_WAITING:
                self._complain(self._waiting.pop()[0], "the store has not answered for too long.")

    def _wish(self, message: list[str]) -> tuple[str, dict[str, str | None]] | None:
        try:
            _, verb, text = message
            details = json.loads(text)
            if isinstance(details, dict) and all(isinstance(value, str | None) for value in details.values()):
                return verb, details
        except (ValueError, RecursionError):
            pass
        return None

    def look(self) -> None:
        """Try again what has not been done yet, and write the progress if it is time."""
        if self._waiting:
            self._without_waiting(self._work_off)
        if self._has_progress and monotonic() >= self._write_at:
            self._write_at = monotonic() + PROGRESS_EVERY
            self._without_waiting(self._write_progress)

    def _without_waiting(self, do: Callable[[], None]) -> None:
        """Do something now or never mind: it comes up again, and a stop or a limit may be due meanwhile."""
        self.store.wait_at_most(STORE_PATIENCE)
        try:
            do()
        except StoreError:
            pass
        finally:
            self.store.wait_at_most(None)

    def _work_off(self) -> None:
        while self._waiting:
            verb, details = self._waiting[0]
            try:
                self._steer(self.store, self.run, verb, details)
            except StoreError:
                raise
            except (DracotaskError, ValueError, TypeError, KeyError, ArithmeticError) as error:
                self._complain(verb, str(error))
            self._waiting.pop(0)

    def _write_progress(self) -> None:
        progress = read_progress(self.state.progress_file(self.run.id))
        if progress is not None and progress != self._written:
            self.store.report_progress(self.run, *progress, now=utc_now())
            self._written = progress

    def _complain(self, verb: str, reason: str) -> None:
        self._complaints += 1
        if self._complaints <= MOST_COMPLAINTS:
            run = self.run
            self.state.log(f"Run {run.id} of {run.task} wanted '{verb:.40}' of its schedule, in vain: {reason}")

    def settle(self) -> None:
        """Do what has not been done yet, and write the progress as it was at the end.

        :raises StoreError: the store will not have it.
        """
        self._work_off()
        if self._has_progress:
            self._write_progress()

    def give_up(self) -> None:
        """Say what will not be done any more."""
        for verb, _ in self._waiting:
            self._complain(verb, "the store did not answer.")
