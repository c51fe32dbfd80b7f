"""Starting the processes that send pings and alerts (:mod:`.alerting`), beside whatever this one is at.

Only a site that wants any comes here. A fresh interpreter and not a fork: whoever starts it may have the store open.
"""

from __future__ import annotations

import os
import sys
from time import monotonic, sleep

from ..state import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..state import State

#: The option that has ``due`` send, and nothing else.
OPTION = "--alerts"

#: After how many seconds whoever waits is told for what, and how often (seconds) somebody looks.
SAID_AFTER, LOOK_EVERY = 2.0, 0.01


class Senders:
    """The processes that this one has started to send pings and alerts."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._children: list[int] = []

    def start(self) -> None:
        """Start one; not while another, whoever has started it, is at it: that takes along what is new.

        Never raises: what is told of is worth more than that it is told.
        """
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        command = [sys.executable, os.path.join(package, "__main__.py"), self.state.docroot, "due", OPTION]
        nothing: list[Any] = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        try:
            if not is_locked(self.state.alerts_lock):
                # (In a group of its own: a Ctrl-C is for whoever waits for it.)
                child = os.posix_spawn(command[0], command, os.environ, file_actions=nothing, setpgroup=0)
                self._children.append(child)
        except OSError as error:
            self.state.log(f"Pings and alerts wait for the next tick: none can send them ({error.strerror}).")

    def wait(self, may_go_on: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Wait until all of them have ended.

        :param may_go_on: asked now and then; when it says no they are left to themselves.
        :param say: is told, in words, what this waits for, if it takes its time.
        """
        say_at = monotonic() + SAID_AFTER
        while self._children and may_go_on():
            if _has_ended(self._children[-1]):
                self._children.pop()
                continue
            if monotonic() > say_at:
                say_at = float("inf")
                say("a ping or an alert is still on its way")
            sleep(LOOK_EVERY)


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True  # whoever watched over a run has reaped it
