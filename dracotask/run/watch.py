"""Watching over a body until it is gone: its output, its reports, its limit, and who wants it stopped."""

from __future__ import annotations

import os
import select
from time import monotonic

from .channel import Mailbox
from .limits import ask_to_stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import SIGQUIT
    from typing import Any

    from ..model import Policy
    from .channel import Attention
    from .family import Family, Process
    from .output import RunOutput
    from .process import Body
else:
    from _signal import SIGQUIT

#: How often (seconds) somebody looks whether a stop was asked for, and the tail of a long output is written.
LOOK_EVERY = 0.2

#: How long (seconds) before KILL a deaf body is told to print where it hangs.
_LAST_WORDS = 0.2

_FOR_EVER = float("inf")

_CHUNK = 1 << 16

#: How much of what is still in the pipe after the body's end is read; a grandchild may print for ever.
_LEFTOVER = 1 << 20


#: As much is taken of what a body wants done at once, before somebody looks at clock and bell again.
_REPORTS_CHUNK = 1 << 11


class Ended:
    """The facts of a body's end, as the kernel tells them.

    :ivar status: as of wait(2).
    :ivar mailbox: what the body reported.
    :ivar why: ``"stop"``, ``"limit"`` or ``"memory"`` when it was ended from outside, else None.
    :ivar grace: seconds it was given before it was killed; None when it was not.
    :ivar number: of how many processes the memory was too much together.
    """

    __slots__ = ("grace", "mailbox", "number", "status", "usage", "why")

    def __init__(
        self, status: int, usage: Any, mailbox: Mailbox, *, why: str | None, grace: float | None, number: int
    ) -> None:
        self.status, self.usage, self.mailbox = status, usage, mailbox
        self.why, self.grace, self.number = why, grace, number


class Watch:
    """One body under watch.

    :param attention: is asked and told what goes on; whether to stop every :data:`LOOK_EVERY` seconds.
    :param run_id: of what run; None for a load, whose processes do not outlive its body.
    :param strangers: descendants of this process that are not the run's.
    """

    def __init__(
        self,
        body: Body,
        policy: Policy,
        output: RunOutput,
        attention: Attention,
        *,
        run_id: str | None = None,
        strangers: Sequence[Process] = (),
    ) -> None:
        self.body, self.policy, self.output, self.attention = body, policy, output, attention
        self.run_id, self.strangers = run_id, strangers
        self.mailbox = Mailbox(attention.longest_report)
        self.why: str | None = None
        self.grace = _FOR_EVER
        self.number = 0
        self._is_killed = False
        self._is_reading, self._is_over = True, False
        self._limit_at = monotonic() + policy.time_limit if policy.time_limit else _FOR_EVER
        self._ask_at = self._last_words_at = self._kill_at = _FOR_EVER

    def until_it_ends(self) -> Ended:
        """Serve the body until it is gone and return how that was. Nobody else may reap it."""
        os.set_blocking(self.body.output, False)
        end = _pidfd(self.body.pid)
        poll = select.poll()
        for descriptor in (self.body.output, self.body.reports, end):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        looked_at = monotonic()
        while True:
            self._pace(poll)
            events = {descriptor for descriptor, _ in poll.poll(self._patience(end) * 1000)}
            self._serve(events, poll)
            if end in events if end >= 0 else _is_gone(self.body.pid):
                break
            now = monotonic()
            if now - looked_at >= LOOK_EVERY:
                looked_at = now
                self._look(now)
            elif self.why:
                self._end(now)  # to the moment
        if end >= 0:
            os.close(end)
        return self._reap()

    def _patience(self, end: int) -> float:
        if end < 0 or self.output.is_behind():
            return 0.02
        coming = min(self._ask_at, self._last_words_at, self._kill_at) - monotonic()
        return min(max(coming, 0.0), LOOK_EVERY)

    def _pace(self, poll: select.poll) -> None:
        """Read no more of the body while a reader of ours is slower: then it waits, as with any pipe."""
        self.output.pass_on()
        if self.output.is_behind() and self._is_reading:
            poll.unregister(self.body.output)
            self._is_reading = False
        elif not self.output.is_behind() and not self._is_reading and not self._is_over:
            poll.register(self.body.output, select.POLLIN)
            self._is_reading = True

    def _serve(self, events: set[int], poll: select.poll) -> None:
        if self.body.output in events and not self._drain(_CHUNK):
            poll.unregister(self.body.output)
            self._is_reading, self._is_over = False, True
        if self.body.reports in events and not self._listen():
            poll.unregister(self.body.reports)

    def _drain(self, most: int) -> bool:
        """Read what the body printed; return False at the end of it."""
        while most > 0:
            try:
                data = os.read(self.body.output, _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.output.write(data)
            most -= len(data)
        return True

    def _listen(self) -> bool:
        """Read what the body reports; return False at the end of it."""
        data = os.read(self.body.reports, _REPORTS_CHUNK)
        for message in self.mailbox.feed(data):
            self.attention.hear(message)
        return bool(data)

    # -- Now and then ------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """See what somebody wants, and what the body takes; write down what has come."""
        self.output.flush()
        self.attention.look()
        self._reap_orphans()
        grace = self.attention.must_stop()
        if grace is not None:
            self._want("stop", grace, now)
        if now >= self._limit_at:
            self._want("limit", self.policy.stop_grace, now)
        if self.policy.memory_limit and not self.why:
            self._weigh(self.policy.memory_limit)
        self._end(now)

    def _want(self, why: str, grace: float, now: float) -> None:
        """Begin to end the run; if that has begun already, a shorter grace counts."""
        if grace >= self.grace:
            return
        if self.why is None:
            self.why = why
            self.body.stop()
            # Who asks whether to go on is let alone until he has come to a good place.
            is_polite = why == "stop" and self.mailbox.last("polite") is not None
            self._ask_at = now + grace / 2 if is_polite else now
        elif self._ask_at < _FOR_EVER:
            self._ask_at = min(self._ask_at, now + grace / 2)
        self.grace, self._kill_at = grace, now + grace
        self._last_words_at = self._kill_at - min(_LAST_WORDS, grace / 4)

    def _weigh(self, limit: int) -> None:
        """End all at once when together they have more memory than they may: the host is in danger."""
        self.number = self._family().over(limit)
        if self.number:
            self.why = "memory"
            self._family().end()

    def _end(self, now: float) -> None:
        """Take the steps of an end that are due: TERM, last words, KILL."""
        if now >= self._ask_at:
            self._ask_at = _FOR_EVER
            ask_to_stop(self.body.pid)
        if now >= self._kill_at:
            self._is_killed = True
            self._family().end()
        elif now >= self._last_words_at:
            # What a busy machine has delayed comes late, but not out of turn.
            self._kill_at, self._last_words_at = now + self._kill_at - self._last_words_at, _FOR_EVER
            os.kill(self.body.pid, SIGQUIT)

    def _family(self) -> Family:
        from .family import Family  # most runs come to their end alone

        return Family(self.body.pid, self.run_id, self.strangers)

    def _reap(self) -> Ended:
        if self.why or self.run_id is None:
            # What it left behind goes with it, while its number is still its own.
            self._family().end()
        self._drain(_LEFTOVER)
        self._listen_to_the_rest()
        _, status, usage = os.wait4(self.body.pid, 0)
        self._reap_orphans()
        grace = self.grace if self._is_killed else None
        return Ended(status, usage, self.mailbox, why=self.why, grace=grace, number=self.number)

    def _reap_orphans(self) -> None:
        """Reap those of the adopted that have ended, but not the body, whose status is still to be read."""
        if self.run_id is None:  # a load may have a whole program around it, with children of its own
            return
        try:
            while (dead := os.waitid(os.P_ALL, 0, _ended())) and dead.si_pid != self.body.pid:
                os.waitpid(dead.si_pid, 0)
        except (ChildProcessError, AttributeError):
            pass  # there are none; or no waitid(), and no adopting either (macOS)

    def _listen_to_the_rest(self) -> None:
        """Read what is still in the pipe; but not for ever, for a grandchild may go on."""
        os.set_blocking(self.body.reports, False)
        try:
            for _ in range(_LEFTOVER // _REPORTS_CHUNK):
                if not self._listen():
                    return
        except BlockingIOError:
            pass


def _pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends; -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _is_gone(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, _ended()) is not None


def _ended() -> int:
    """Return what has waitid() tell who has ended, without waiting, and without taking anything away."""
    return os.WEXITED | os.WNOHANG | os.WNOWAIT
