"""What a supervisor and its body say to each other: an order and perhaps "stop" down, a few reports up.

A pair of pipes rather than a socket pair: ``socket`` costs a tenth of a bare interpreter's
start. A message is a few texts; four bytes of length stand before it.

``done``, ``failed``, ``retry`` and ``interrupted`` say how the run ended, ``raised`` by what, ``stale`` and ``gone``
that it never began, ``polite`` that the task asks whether to go on, ``told`` that it has heard no. ``progress`` and
``steer`` want something done at once; ``report`` is what a load has found.
"""

from __future__ import annotations

import os

from ..clock import from_text, to_text
from ..model import Run

#: A load of ten thousand tasks reports about three megabytes; more than this is no report.
LONGEST_OF_A_LOAD = 64 << 20

#: Nothing that a run's body says is longer; a write of so many bytes to a pipe is never torn by another's.
LONGEST = 4096 - 4

#: Of these the last is kept. Whatever else a task may write to the pipe is passed on at once, and forgotten.
_KEPT = ("done", "failed", "gone", "interrupted", "raised", "retry", "stale", "polite", "told", "report")


class Sender:
    """The end that speaks.

    :ivar pid: the process that made it: only the body speaks for the run, not what a task forks.
    """

    __slots__ = ("_pipe", "descriptor", "pid")

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.pid = descriptor, os.getpid()
        self._pipe = identity(descriptor)

    def is_of_this_process(self) -> bool:
        return self.pid == os.getpid()

    def is_open(self) -> bool:
        """Tell whether it still leads to where it did: a task may close all it finds."""
        return identity(self.descriptor) == self._pipe

    def send(self, *fields: str) -> None:
        """Send one message, unless this is a process that a task has forked."""
        if self.is_of_this_process():
            self.say(*fields)

    def say(self, *fields: str) -> None:
        """Send one message. That the other side is gone is no reason to fail: it shows soon enough.

        Any process and thread of a run may, without a lock: up to :data:`LONGEST` bytes go as a whole.
        """
        body = "\0".join(field.replace("\0", "\\0") for field in fields).encode("utf-8", "surrogatepass")
        rest = memoryview(len(body).to_bytes(4, "big") + body)
        try:
            # A task that closes all it finds may have a file of its own under our number by now.
            while rest and identity(self.descriptor) == self._pipe:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError:
            pass


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return what tells the pipe behind a descriptor from any other file; None when it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def receive(descriptor: int) -> list[str] | None:
    """Wait for the next message that comes down and return its fields; None when the other side is gone.

    Not a byte more is read: that a stop lies in the pipe is how a task hears of it.
    """
    length = _read_exactly(descriptor, 4)
    text = _read_exactly(descriptor, int.from_bytes(length, "big")) if length else None
    return None if text is None else text.decode("utf-8", "surrogatepass").split("\0")


def _read_exactly(descriptor: int, number: int) -> bytes | None:
    data = b""
    while len(data) < number:
        more = os.read(descriptor, number - len(data))
        if not more:
            return None
        data += more
    return data


class Mailbox:
    """The end that listens: bytes in, messages out. However much is said, it stays small.

    :param longest: bytes of the longest message there can be.
    """

    __slots__ = ("_bytes", "_last", "_longest")

    def __init__(self, longest: int = LONGEST) -> None:
        self._bytes, self._longest = bytearray(), longest
        self._last: dict[str, list[str]] = {}

    def feed(self, data: bytes) -> list[list[str]]:
        """Take in what the pipe had, whole messages or not; return those that want something done at once."""
        self._bytes += data
        urgent = []
        while (message := self._next()) is not None:
            kind = message[0]
            if kind in _KEPT:
                self._last.pop(kind, None)  # so that the order is that of the last of each
                self._last[kind] = message
            else:
                urgent.append(message)
        return urgent

    def _next(self) -> list[str] | None:
        length = int.from_bytes(self._bytes[:4], "big")
        if len(self._bytes) >= 4 and length > self._longest:
            self._bytes.clear()  # the task wrote to a descriptor that was not its own
        if len(self._bytes) < 4 + length:
            return None
        text = self._bytes[4 : 4 + length].decode("utf-8", "replace")
        del self._bytes[: 4 + length]
        return text.split("\0")

    def last(self, *kinds: str) -> list[str] | None:
        """Return the fields of the last message of one of these kinds, or None."""
        return next((self._last[kind] for kind in reversed(self._last) if kind in kinds), None)


class Attention:
    """What a watch asks and tells somebody else. This is the one of a load, in which nobody takes an interest."""

    #: What the longest report may be.
    longest_report = LONGEST_OF_A_LOAD

    def must_stop(self) -> float | None:
        """Return how many seconds of grace are left to a body that somebody wants stopped, from now; else None."""
        return None

    def hear(self, message: list[str]) -> None:
        """Take in a report that wants something done at once."""

    def look(self) -> None:
        """Do what is done now and then."""


def order_of(run: Run, stamps: str, niceness: int) -> list[str]:
    """Return the order that has a body do ``run``: all that it needs to know of it.

    :param stamps: how the task file and its helpers looked when they were loaded into the schedules in force.
    """
    fire_time = to_text(run.fire_time) if run.fire_time else ""
    facts = (run.id, run.schedule, run.task, run.origin, fire_time, str(run.attempt), run.arguments, run.policy)
    return [*facts, stamps, str(niceness)]


def run_of(order: list[str]) -> tuple[Run, str, int]:
    """Read :func:`order_of` back: the Run, the stamps and the niceness."""
    run_id, schedule, task, origin, fire_time, attempt, arguments, policy, stamps, niceness = order
    run = Run(
        id=run_id, schedule=schedule, task=task, origin=origin, attempt=int(attempt), arguments=arguments,
        fire_time=from_text(fire_time) if fire_time else None, policy=policy,
    )  # fmt: skip
    return run, stamps, int(niceness)
