"""In a body: the end of a ``run()`` that is no plain function. Imported only for one that returns something odd.

A coroutine is done by asyncio.run(), with all of its tidiness. TERM cancels it as asyncio does, so that what it awaits
can let go in good order; the Run is stopped or timed out all the same. Where the loop does not turn, for a coroutine
that works or waits without ``await``, TERM is an exception as in a plain ``run()``.
"""

from __future__ import annotations

from signal import SIGTERM, pthread_kill

from ..promises import REMEDY, kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from typing import Any

    from ..errors import Interrupted
    from .body import StopSignal

#: How long (seconds) a loop may not turn after TERM before whatever keeps it is interrupted; less within a short grace.
LOOP_PATIENCE = 0.5


def awaited(result: object, stop: StopSignal, grace: float) -> object:
    """Return what a coroutine returns, or the result itself if it is none.

    :param stop: what becomes of TERM.
    :param grace: seconds between TERM and KILL.
    :raises Interrupted: TERM came, and the coroutine has let itself be cancelled.
    :raises TypeError: it is a generator, or can be awaited and is no coroutine.
    """
    if type(result).__name__ != "coroutine":
        return kept(result, REMEDY)
    cancelling = Cancelling(result, min(LOOP_PATIENCE, grace / 4))  # type: ignore[arg-type]
    before, stop.deliver = stop.deliver, cancelling
    try:
        return cancelling.until_it_ends()
    finally:
        stop.deliver = before


class Cancelling:
    """A coroutine that TERM cancels.

    :param patience: how many seconds the loop may not turn after TERM.
    """

    def __init__(self, work: Coroutine[Any, Any, object], patience: float) -> None:
        self.work, self.patience = work, patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._result: object = None
        self._error: BaseException | None = None
        self._interruption: type[Interrupted] | None = None
        self._turns = self._is_over = False  # the one since the last TERM

    def until_it_ends(self) -> object:
        """Do the work, and tidy up after it as asyncio.run() does."""
        import asyncio

        try:
            asyncio.run(self._do())
        finally:
            self._is_over = True
            self.work.close()  # if it never came to begin
        if self._error is None:
            return self._result
        if self._interruption is not None and isinstance(self._error, asyncio.CancelledError):
            raise self._interruption().with_traceback(self._error.__traceback__) from None
        raise self._error

    async def _do(self) -> None:
        """Keep what the work raises: asyncio would have a SystemExit end the loop in the midst of everything."""
        import asyncio

        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        try:
            self._result = await self.work
        except BaseException as error:
            self._error = error

    def __call__(self, interruption: type[Interrupted]) -> None:
        """Have it cancelled; called in the main thread, wherever TERM came in between."""
        is_stuck = self._interruption is not None and not self._turns
        if self._loop is None or self._is_over or is_stuck:
            raise interruption
        self._interruption, self._turns = interruption, False
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # it was closed just now
            raise interruption from None
        self._watch()

    def _cancel(self) -> None:
        self._turns = True
        if self._main is not None:
            self._main.cancel()

    def _watch(self) -> None:
        """Send TERM once more if the loop does not turn: then whatever keeps it is interrupted."""
        import threading

        def look() -> None:
            if not self._turns:
                # To the main thread: there it ends a sleep, too.
                pthread_kill(threading.main_thread().ident or 0, SIGTERM)

        alarm = threading.Timer(self.patience, look)
        alarm.daemon = True
        alarm.start()
