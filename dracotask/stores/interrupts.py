"""Ctrl-C in the midst of a change, which has to wait until the change is whole.

Python raises KeyboardInterrupt between any two steps of the main thread, also between taking a lock and knowing that
it is taken; no ``try`` helps there. So SIGINT is only remembered for as long as a change lasts, which is no longer
than the blink of an eye.
"""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Uninterrupted:
    """A context manager within which the main thread's Ctrl-C waits; it is raised when the outermost is left.

    Other threads are never interrupted, so for them it does nothing. Nor does it where the program has a handler of
    its own for SIGINT (asyncio, a server): that one is the program's, and is called as ever.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._came = False

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        if self._depth:
            self._depth += 1
        elif signal.getsignal(signal.SIGINT) in (signal.default_int_handler, self._remember):
            self._came = False
            try:
                signal.signal(signal.SIGINT, self._remember)
            except ValueError:  # in a subinterpreter, which hears of no signal
                return
            # (What came before this line was raised before it: signal() sees to it first.)
            self._depth = 1

    def __exit__(self, *exc: object) -> None:
        if not self._depth or threading.get_ident() != threading.main_thread().ident:
            return
        if self._depth > 1:
            self._depth -= 1
            return
        try:
            self._depth = 0  # from here on it is raised at once
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: Any) -> None:
        if not self._depth:
            signal.default_int_handler(number, frame)
        self._came = True

    def _forget(self) -> None:
        """In a child: the thread that forked is the main one now, and in the midst of nothing."""
        self._depth = 0
        if signal.getsignal(signal.SIGINT) == self._remember:
            signal.signal(signal.SIGINT, signal.default_int_handler)


#: A process has one main thread and one SIGINT.
uninterrupted = Uninterrupted()

os.register_at_fork(after_in_child=uninterrupted._forget)
