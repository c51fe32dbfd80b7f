"""What a supervisor and its body say to each other: one order down, a few reports up.

A pair of pipes rather than a socket pair: ``socket`` costs a tenth of a bare interpreter's
start. A message is a few texts; four bytes of length stand before it.
"""

from __future__ import annotations

import os

from ..clock import from_text, to_text
from ..model import Run

#: A load of ten thousand tasks reports about three megabytes; more than this is no report.
LONGEST = 64 << 20


class Sender:
    """The end that speaks; it falls silent in a process that a task forks: only the body speaks for the run."""

    __slots__ = ("descriptor", "pid")

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.pid = descriptor, os.getpid()

    def is_of_this_process(self) -> bool:
        return self.pid == os.getpid()

    def send(self, *fields: str) -> None:
        """Send one message. That the other side is gone is no reason to fail: it shows soon enough."""
        if not self.is_of_this_process():
            return
        body = "\0".join(field.replace("\0", "\\0") for field in fields).encode("utf-8", "surrogatepass")
        rest = memoryview(len(body).to_bytes(4, "big") + body)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError:
            pass  # gone, or closed by a task that closes all it finds


def receive(descriptor: int) -> list[str] | None:
    """Wait for the one order that comes down and return its fields; None when the other side is gone."""
    mailbox = Mailbox()
    while not mailbox.messages:
        data = os.read(descriptor, 1 << 16)
        if not data:
            return None
        mailbox.feed(data)
    return mailbox.messages[0]


class Mailbox:
    """The end that listens to several messages: bytes in, messages out."""

    __slots__ = ("_bytes", "messages")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.messages: list[list[str]] = []

    def feed(self, data: bytes) -> None:
        """Take in what the pipe had, whole messages or not."""
        self._bytes += data
        while len(self._bytes) >= 4:
            length = int.from_bytes(self._bytes[:4], "big")
            if length > LONGEST:
                self._bytes.clear()  # the task wrote to a descriptor that was not its own
                return
            if len(self._bytes) < 4 + length:
                return
            text = self._bytes[4 : 4 + length].decode("utf-8", "replace")
            del self._bytes[: 4 + length]
            self.messages.append(text.split("\0"))

    def last(self, *kinds: str) -> list[str] | None:
        """Return the fields of the last message of one of these kinds, or None."""
        return next((message for message in reversed(self.messages) if message[0] in kinds), None)


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
