"""Who listens to a program's own Scheduler: each is told in a thread of its own, in the order in which things happened.

So a listener that hangs keeps nobody waiting: no Run, no schedule and no other listener.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections import deque
from time import monotonic

from ..events import Event, Listener, event_from_json
from ..promises import wait_for
from ..stores.base import LISTENERS_NOTE
from ..stores.outbox import MOST_EVENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..stores.memory import MemoryStore

#: So many events wait for a listener that is slower than what happens; what comes then is dropped for it, and counted.
MOST_WAITING = 1000

#: How long (seconds) a listener may be at one event before that is told as a warning.
HANGS_AFTER = 10.0

logger = logging.getLogger("dracotask.scheduler")


class Listening:
    """One who listens, until :meth:`stop`.

    :ivar dropped: how many events it was not told of, for too many waited.
    """

    def __init__(self, listener: Listener, leave: Callable[[Listening], None]) -> None:
        self.listener, self.dropped = listener, 0
        self._leave = leave
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        # Reentrant, for a signal handler may do what is told of.
        self._lock = threading.RLock()
        self._through = threading.Condition(self._lock)
        self._waiting: deque[Event] = deque()
        self._is_at_work = self._is_told = False
        self._at: tuple[Event, float] | None = None
        self._worker = 0

    def stop(self) -> None:
        """Hear nothing any more; what it is being told just now it may hear to the end."""
        self._leave(self)
        with self._lock:
            self._waiting.clear()

    def wait(self, patience: float | None = None) -> bool:
        """Wait until it has heard all that has happened so far; return False when that takes longer.

        The listener itself cannot wait for that, and gets False at once.

        :param patience: in seconds; None for as long as it takes.
        """
        with self._lock:
            if self._worker == threading.get_ident():
                return False
            return self._through.wait_for(lambda: not self._is_at_work, patience)

    # -- Told by others --------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Have it told, soon."""
        if self._pid != os.getpid():
            self._begin_anew()  # its thread is the parent's, and so is what it was still to be told
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._drop()
                return
            self._waiting.append(event)
            is_at_work, self._is_at_work = self._is_at_work, True
        if not is_at_work:
            self._start()

    def _drop(self) -> None:
        self.dropped += 1
        if self.dropped == 1:
            name = self.listener.name
            logger.warning("Listener %s is slower than what happens: events are dropped for it.", name)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work_off, name="dracotask-listener", daemon=True).start()
        except RuntimeError:  # no thread is to be had, or the interpreter is about to end
            with self._lock:
                self._is_at_work = False

    def look(self) -> None:
        """Say so if it has been at the same event for long."""
        at = self._at
        if at is not None and not self._is_told and monotonic() - at[1] > HANGS_AFTER:
            self._is_told = True
            logger.warning(
                "Listener %s has been at %s for %.0f s, and hears of nothing else.", self.listener.name, at[0].kind,
                monotonic() - at[1],
            )  # fmt: skip

    # -- In its thread ---------------------------------------------------------------------

    def _work_off(self) -> None:
        self._worker = threading.get_ident()
        while (event := self._next()) is not None:
            try:
                promise = self.listener.function(event)
                if inspect.isawaitable(promise):
                    wait_for(promise)
            except BaseException:
                logger.exception("Listener %s failed at %s.", self.listener.name, event.kind)

    def _next(self) -> Event | None:
        with self._lock:
            self._is_told = False
            if self._waiting:
                event = self._waiting.popleft()
                self._at = event, monotonic()
                return event
            self._at, self._is_at_work, self._worker = None, False, 0
            self._through.notify_all()
            return None


class Audience:
    """All who listen to one Scheduler, over its store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self._listening: list[Listening] = []
        store.on_events = self._pass_on

    def listen(self, listener: Listener) -> Listening:
        """Let somebody listen from now on."""
        listening = Listening(listener, self._leave)
        with self.store.transaction():
            self._listening.append(listening)
            self._note()
        return listening

    def _leave(self, listening: Listening) -> None:
        with self.store.transaction():
            if listening in self._listening:
                self._listening.remove(listening)
                self._note()

    def _note(self) -> None:
        wanted = {line for listening in self._listening for line in listening.listener.wanted()}
        self.store.put_note(LISTENERS_NOTE, "\n".join(sorted(wanted)) or None)

    def _pass_on(self) -> None:
        """Hand what has just happened to those who listen; within the transaction's lock, and so in order."""
        try:
            rows = self.store.events(MOST_EVENTS)
            self.store.forget_events([row.number for row in rows])
            for event in [event_from_json(row.text) for row in rows]:
                for listening in self._listening:
                    if listening.listener.hears(event):
                        listening.put(event)
        except Exception:  # it must not undo what has happened
            logger.exception("Listeners could not be told.")

    def look(self) -> None:
        """See whether somebody hangs."""
        for listening in [*self._listening]:
            listening.look()

    def wait(self, patience: float) -> None:
        """Wait until all have heard what has happened so far, but not longer than ``patience``, in seconds."""
        until = monotonic() + patience
        for listening in [*self._listening]:
            if threading.current_thread().name != "dracotask-listener":  # one that stops the scheduler waits for itself
                listening.wait(max(0.0, until - monotonic()))
