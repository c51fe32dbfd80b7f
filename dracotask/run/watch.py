"""Watching over a body until it is gone: its output, its reports, its limit, and who wants it stopped."""

from __future__ import annotations

import os
import select
from time import monotonic

from .channel import Mailbox
from .limits import ask_to_stop, end_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGQUIT
    from typing import Any

    from ..model import Policy
    from .output import RunOutput
    from .process import Body
else:
    from _signal import SIGQUIT

#: How often (seconds) somebody looks whether a stop was asked for, and the tail of a long output is written.
LOOK_EVERY = 0.2

#: How long (seconds) before KILL a deaf body is told to print where it hangs.
_LAST_WORDS = 0.2

_CHUNK = 1 << 16

#: How much of what is still in the pipe after the body's end is read; a grandchild may print for ever.
_LEFTOVER = 1 << 20


class Ended:
    """The facts of a body's end, as the kernel tells them.

    :ivar status: as of wait(2).
    :ivar mailbox: what the body reported.
    :ivar why: ``"stop"`` or ``"limit"`` when it was ended from outside, else None.
    """

    __slots__ = ("killed", "mailbox", "status", "usage", "why")

    def __init__(self, status: int, usage: Any, mailbox: Mailbox, why: str | None, killed: bool) -> None:
        self.status, self.usage, self.mailbox, self.why, self.killed = status, usage, mailbox, why, killed


class Watch:
    """One body under watch.

    :param must_stop: asked every :data:`LOOK_EVERY` seconds whether somebody wants an end.
    :param may_leave_processes: whether what the body started may outlive its end by itself.
    """

    def __init__(
        self,
        body: Body,
        policy: Policy,
        output: RunOutput,
        must_stop: Callable[[], bool],
        *,
        may_leave_processes: bool = True,
    ) -> None:
        self.body, self.policy, self.output, self.must_stop = body, policy, output, must_stop
        self.may_leave_processes = may_leave_processes
        self.mailbox = Mailbox()
        self.why: str | None = None
        self.killed = False
        self._said_last_words = False
        self._is_reading, self._is_over = True, False
        self._kill_at = 0.0
        self._limit_at = body.started + policy.time_limit if policy.time_limit else float("inf")

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
                self.output.flush()
                self._steer(now)
            elif self.why:
                self._steer(now)  # to the moment; but the tail of a long output is not written at each chunk
        if end >= 0:
            os.close(end)
        return self._reap()

    def _patience(self, end: int) -> float:
        return LOOK_EVERY if end >= 0 and not self.output.is_behind() else 0.02

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
        data = os.read(self.body.reports, _CHUNK)
        self.mailbox.feed(data)
        return bool(data)

    def _steer(self, now: float) -> None:
        """Ask politely at the limit or when a stop is wanted; and end the session when the grace is over."""
        if self.why is None:
            if now >= self._limit_at:
                self._ask("limit", now)
            elif self.must_stop():
                self._ask("stop", now)
        elif now >= self._kill_at:
            self.killed = True
            end_session(self.body.pid)
        elif now >= self._kill_at - _LAST_WORDS and not self._said_last_words:
            self._said_last_words = True
            self._kill_at = now + _LAST_WORDS
            os.kill(self.body.pid, SIGQUIT)

    def _ask(self, why: str, now: float) -> None:
        self.why = why
        self._kill_at = now + self.policy.stop_grace
        ask_to_stop(self.body.pid)

    def _reap(self) -> Ended:
        if self.why or not self.may_leave_processes:
            # What it left behind goes with it, while its number is still its own.
            end_session(self.body.pid)
        self._drain(_LEFTOVER)
        os.set_blocking(self.body.reports, False)
        try:
            while self._listen():
                pass
        except BlockingIOError:
            pass  # a grandchild has the other end
        _, status, usage = os.wait4(self.body.pid, 0)
        return Ended(status, usage, self.mailbox, self.why, self.killed)


def _pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends; -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _is_gone(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
