"""Telling the listeners of a site what has happened, in a body of their own.

Whoever has put an outcome on record tells of it afterwards: a command when its run is over, a tick while it
waits for its supervisors. One process tells at a time, in the order in which things happened. A listener may
fail, hang, fork, print without end or end its process: it costs the listener that one event, and nobody else
anything. An event is forgotten when every listener has had it; so after a ``kill -9`` in between a listener may be
told once more, but nothing is lost.
"""

from __future__ import annotations

import os
from time import monotonic

from ..clock import rfc3339, utc_now
from ..errors import DracotaskError, StoreError
from ..failpoints import reach
from ..model import DEFAULT_POLICY, Policy
from ..state import lock
from ..stores.outbox import DROPPED_NOTE
from .channel import LONGEST, Attention
from .listeners import tell
from .output import RunOutput
from .process import fork_body
from .supervisor import PROBLEM_NOTE
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..state import State
    from ..stores.base import Store
    from ..stores.outbox import Row
    from .channel import Sender
    from .watch import Ended

#: So many events are told by one body.
BATCH = 500

#: So many bodies tell one after the other, more than a full outbox takes; what is left then waits for the next tick.
#: For a listener may bring about just what it is told of, and without an end.
MOST_BODIES = 30

#: What the listeners of a batch may print, and how large their log grows before the older half goes.
MAX_OUTPUT, LOG_LIMIT = 1 << 16, 1 << 19

#: Seconds between a polite stop and KILL of a listener that hangs.
STOP_GRACE = 1.0

#: How many processes that were to tell a listener of one event may be killed before it is told no more of that.
MOST_TRIES = 3

#: Seconds that the store may keep us waiting while a body is at work.
STORE_PATIENCE = 0.5

#: After how many seconds at one listener whoever waits for it is told so.
SAID_AFTER = 2.0

#: The niceness of listeners: visitors come first.
NICENESS = 10


class Telling:
    """Tells what is in the outbox.

    :param open_store: opens the site's store; never open while a body is forked.
    :param environment: what a body's environment has besides this process's own.
    :param limit: seconds that a listener may take for an event.
    :param load_limit: seconds that the task file may take to load.
    :param may_go_on: asked now and then; what is left when it says no is for the next tick.
    :param say: is told, in words, at what listener this takes its time.
    """

    def __init__(
        self,
        state: State,
        open_store: Callable[[], Store],
        *,
        environment: Callable[[], dict[str, str]],
        limit: float,
        load_limit: float,
        may_go_on: Callable[[], bool] = lambda: True,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.state, self.open_store, self.environment = state, open_store, environment
        self.limit, self.load_limit = limit, load_limit
        self.may_go_on, self.say = may_go_on, say

    def tell_all(self) -> None:
        """Tell all there is to tell, unless another process is at it; it will tell this too.

        Nothing is raised: an event that could not be told waits for the next tick.
        """
        try:
            while self._has_news():
                held = lock(self.state.listeners_lock, patience=0)
                if held is None:
                    return
                try:
                    if not self._tell_alone(held):
                        return
                finally:
                    Place.survive(held)
                    os.close(held)
                # What came after our last look and before the lock was let go is still ours to tell.
        except (DracotaskError, OSError) as error:
            self.state.log(f"The listeners were not told: {error}")

    def _has_news(self) -> bool:
        with self.open_store() as store:
            # While the file is broken nobody there can listen.
            return store.note(PROBLEM_NOTE) is None and bool(store.events(1))

    def _tell_alone(self, held: int) -> bool:
        """Tell until nothing is left; return False when there is no getting on, or others are to go on."""
        place = self._after_a_death(held)
        for _ in range(MOST_BODIES):
            with self.open_store() as store:
                self._complain_of_dropped(store)
                rows = store.events(BATCH)
            if not rows:
                os.ftruncate(held, 0)
                return True
            if place is None or place.number != rows[0].number:
                place = Place(rows[0].number, 0)
            place = Place(place.number, place.next_listener, place.tries + 1)
            place.mark(held)  # before there is a body, which may be quicker to kill us than to say what it is about
            place = self._tell(rows, place, held)
            if place is None:
                return False
            if not self.may_go_on():
                break
        else:
            why = "Does a listener bring about what it is told of?"
            self.state.log(f"{MOST_BODIES} processes have told the listeners, and the next tick goes on. {why}")
        self.state.look_now()
        return False

    def _after_a_death(self, held: int) -> Place | None:
        """Return where who told before us had come to; None when it was through.

        It may have been killed for reasons of its own, so its listener is told once more.
        """
        place = Place.marked(held)
        if place is None or place.tries < MOST_TRIES:
            return place
        self.state.log(
            f"Listener {place.next_listener + 1} of the task file has killed {MOST_TRIES} processes that told it of an"
            " event; it is told no more of that."
        )
        return Place(place.number, place.next_listener + 1)

    def _complain_of_dropped(self, store: Store) -> None:
        number = store.note(DROPPED_NOTE)
        if number is not None:
            self.state.log(f"{number} events were dropped, for too many waited: nobody was told of them.")
            store.put_note(DROPPED_NOTE, None)

    def _tell(self, rows: list[Row], place: Place, held: int) -> Place | None:
        """Have a body tell what it can; return where the next is to go on, None when this one told nothing."""
        def work(orders: int, report: Sender) -> int:
            os.nice(NICENESS)
            tell(self.state, rows, place.next_listener, report)

        output = RunOutput(self.state.listeners_output, MAX_OUTPUT)
        body = fork_body(work, environment=self.environment())
        policy = Policy(**{**DEFAULT_POLICY, "time_limit": None, "stop_grace": STOP_GRACE})
        with self.open_store() as store:
            hearing = Hearing(self, store, rows, place, held)
            ended = Watch(body, policy, output, hearing).until_it_ends()
            body.close()
            output.close()
            self._keep_output(output.total)
            return hearing.conclude(ended)

    def _keep_output(self, printed: int) -> None:
        """Put what was printed behind what is in the log of the listeners."""
        if not printed:
            return
        try:
            with open(self.state.listeners_output, "rb") as file:
                text = file.read()
            with open(self.state.listeners_log, "ab", opener=_private) as log:
                log.write(b"-- %s\n%s" % (rfc3339(utc_now().replace(microsecond=0)).encode(), text))
                size = log.tell()
            if size > LOG_LIMIT:
                os.replace(self.state.listeners_log, self.state.listeners_log + ".1")
        except OSError:
            pass  # a full disk costs output, and no event


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Place:
    """Where a telling stands: the listeners of an event before ``next_listener`` have had it.

    It is marked in the lock file, for whoever comes after a death.

    :ivar tries: how many processes were to tell that one, and have not come to their end alive.
    """

    __slots__ = ("next_listener", "number", "tries")

    def __init__(self, number: int, next_listener: int, tries: int = 0) -> None:
        self.number, self.next_listener, self.tries = number, next_listener, tries

    @classmethod
    def marked(cls, held: int) -> Place | None:
        """Return the place in a lock file; None when who wrote it has come to an end."""
        try:
            return cls(*map(int, os.pread(held, 100, 0).split()))
        except (ValueError, TypeError):
            return None

    @classmethod
    def survive(cls, held: int) -> None:
        """Say that whoever was to tell has not died of it, however far it came."""
        place = cls.marked(held)
        if place is not None:
            cls(place.number, place.next_listener).mark(held)

    def mark(self, held: int) -> None:
        try:
            os.pwrite(held, b"%-20d %-10d %-8d" % (self.number, self.next_listener, self.tries), 0)
        except OSError:
            pass  # a full disk keeps nobody from hearing


#: No event has this number.
NOWHERE = Place(0, 0)


class Hearing(Attention):
    """What is heard of a body that tells, and how long its listener may still take.

    The body says ``begin NUMBER LISTENER WORDS`` before each listener, ``complained WORDS`` when it has failed,
    ``over`` when it is through, and ``all NUMBER`` when an event has been told to all. ``broken`` means that the task
    file did not load.
    """

    longest_report = LONGEST

    def __init__(self, telling: Telling, store: Store, rows: list[Row], place: Place, held: int) -> None:
        self.telling, self.store, self.held = telling, store, held
        self._known = {row.number for row in rows}
        self._place = place
        self._at: str | None = None
        self._told: list[int] = []
        self._has_moved = self._is_broken = self._gives_way = False
        self._until = monotonic() + telling.load_limit
        self._say_at = float("inf")

    def must_stop(self) -> float | None:
        self._gives_way = self._gives_way or not self.telling.may_go_on()
        return STOP_GRACE if self._gives_way or monotonic() > self._until else None

    def hear(self, message: list[str]) -> None:
        try:
            self._hear(*message)
        except (ValueError, TypeError, LookupError):
            pass  # any code of the docroot may write there

    def _hear(self, word: str, *more: str) -> None:
        if word == "begin":
            number, listener, words = more
            self._begin(int(number), int(listener), words)
        elif word == "complained" and self._at is not None:
            self._complain(f"failed: {more[0]}")
        elif word == "over" and self._at is not None:
            self._at, self._say_at = None, float("inf")
            self._move(Place(self._place.number, self._place.next_listener + 1))
        elif word == "all" and int(more[0]) in self._known:
            self._told.append(int(more[0]))
            self._move(NOWHERE)  # before it is forgotten: its number may come again
            self._forget()
        elif word == "broken":
            self._is_broken = True

    def _begin(self, number: int, listener: int, words: str) -> None:
        if number not in self._known:
            return
        is_first = (number, listener) == (self._place.number, self._place.next_listener)
        self._place = Place(number, listener, self._place.tries if is_first else 1)
        self._place.mark(self.held)
        reach("listener_begins")
        self._at, self._until = words, monotonic() + self.telling.limit
        self._say_at = monotonic() + SAID_AFTER

    def _move(self, place: Place) -> None:
        self._place, self._has_moved = place, True
        place.mark(self.held)
        self._until = monotonic() + self.telling.limit

    def look(self) -> None:
        self._forget()
        if monotonic() > self._say_at:
            self._say_at = float("inf")
            self.telling.say(f"listener {self._at} takes its time")

    def _forget(self) -> None:
        """Take what all have had out of the outbox; if the store does not answer, at the next look."""
        if not self._told:
            return
        self.store.wait_at_most(STORE_PATIENCE)
        try:
            self.store.forget_events(self._told)
            self._told = []
        except StoreError:
            pass
        finally:
            self.store.wait_at_most(None)

    def _complain(self, what: str) -> None:
        self.telling.state.log(f"Listener {self._at} {what}")

    def conclude(self, ended: Ended) -> Place | None:
        """Return where the next body is to go on; None when this one came to nothing, as will the next.

        :raises StoreError: what was told cannot be forgotten.
        """
        if self._told:
            self.store.forget_events(self._told)
        if self._gives_way:  # the listener that is at it has done no wrong, and hears it once more
            return self._place
        if self._at is not None:
            self._complain(f"{_manner(ended, self.telling.limit)}; that event is not told to it again.")
            return Place(self._place.number, self._place.next_listener + 1)
        if self._has_moved:
            return self._place
        why = "the task file did not load" if self._is_broken else _manner(ended, self.telling.load_limit)
        self.telling.state.log(f"The listeners were not told: {why}. (See {self.telling.state.listeners_log}.)")
        return None


def _manner(ended: Ended, limit: float) -> str:
    """Say how a body came to its end that was not through."""
    if ended.why:
        return f"was killed after {limit:.0f} s"
    code = os.waitstatus_to_exitcode(ended.status)
    return f"was killed by signal {-code}" if code < 0 else f"ended its process with exit code {code}"
