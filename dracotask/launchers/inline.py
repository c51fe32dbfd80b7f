"""The inline launcher: Runs one after the other in the thread that looks, for tests and tiny programs.

While one is at work nothing else is looked at, and no other begins but coroutines.
"""

from __future__ import annotations

from .base import LocalRuns


class InlineLauncher:
    """Does Runs where it is called.

    :param runs: what is at work, and where the next Run comes from.
    """

    def __init__(self, runs: LocalRuns) -> None:
        self.runs = runs

    def launch(self, wanted: int) -> None:
        """Do what is queued, until nothing is."""
        while (steering := self.runs.take_next()) is not None:
            self.runs.do(steering)

    def close(self) -> None:
        """Nothing of its own is to be closed."""
