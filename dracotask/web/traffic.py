"""Traffic: in which minutes a request came.

From that it can be told when tasks would start if only requests kept the site ticking (:mod:`dracotask.forecast`).
The record is a ring of one byte for each minute of four weeks. A byte says of which day it is, so that what is
left of an earlier round tells itself; to write one takes no lock, and all workers may write the same.
"""

from __future__ import annotations

import os
from time import time

from ..clock import UTC, datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..state import State

#: So many days are on record.
DAYS = 28

#: The minutes of the ring.
MINUTES = DAYS * 1440

#: The bytes before the ring: since when there are records.
_HEAD = 64

_TITLE = b"dracotask traffic since minute "

#: Of a request the record of a Run has so many letters.
LONGEST_REQUEST = 100


class Visits:
    """Puts down in which minutes a request came, as one process of the web server sees it.

    :ivar minute: the last that is on record, counted from 1970; -1 when none is.
    """

    def __init__(self) -> None:
        self.minute = -1

    def put_down(self, state: State, at: float) -> None:
        """Put down that a request came at that time, in seconds since 1970. Never raises: no request is ever hurt."""
        minute = int(at // 60)
        if minute != self.minute and mark(state, minute):
            self.minute = minute

    def are_wanted(self) -> bool:
        """Tell whether it is not known yet that somebody comes in the present minute."""
        return int(time() // 60) != self.minute


def mark(state: State, minute: int) -> bool:
    """Put down that a request came in a minute, counted from 1970; return whether that could be done.

    Without a state folder nothing is made.
    """
    try:
        descriptor = _open(state)
        try:
            if os.fstat(descriptor).st_size != _HEAD + MINUTES or not 0 <= _since(descriptor) <= minute:
                # (Sparse: it takes as much of the disk as there are minutes on record.)
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, _HEAD + MINUTES)
                os.pwrite(descriptor, _TITLE + b"%d\n" % minute, 0)
            os.pwrite(descriptor, _day_mark(minute), _HEAD + minute % MINUTES)
        finally:
            os.close(descriptor)
    except OSError:
        return False  # a forecast must not stop what it tells of
    return True


def _open(state: State) -> int:
    try:
        return os.open(state.traffic_file, os.O_RDWR)
    except FileNotFoundError:
        state.check_user()  # a root's file in somebody's folder would lock them out
        return os.open(state.traffic_file, os.O_RDWR | os.O_CREAT, 0o600)


def _day_mark(minute: int) -> bytes:
    """Return what stands in the place of a minute with a request; a day of the same mark comes round in 19 years."""
    return bytes((minute // 1440 % 255 + 1,))


def _since(descriptor: int) -> int:
    """Return the first minute of the records; -1 where that is not told."""
    head = os.pread(descriptor, _HEAD, 0).rstrip(b"\0\n")
    number = head.removeprefix(_TITLE)
    return int(number) if head.startswith(_TITLE) and number.isdigit() else -1


class Traffic:
    """The minutes in which a request came.

    :param since: the first minute of which anything is known, counted from 1970; None when none is.
    :param minutes: those with a request, in order.
    """

    __slots__ = ("minutes", "since")

    def __init__(self, since: int | None, minutes: Sequence[int]) -> None:
        self.since, self.minutes = since, minutes

    @classmethod
    def read(cls, state: State, now: datetime | None = None) -> Traffic:
        """Return what is on record of the last four weeks. Never raises: what cannot be read is not known."""
        present = int((now.timestamp() if now else time()) // 60)
        try:
            descriptor = os.open(state.traffic_file, os.O_RDONLY)
            try:
                since, ring = _since(descriptor), os.pread(descriptor, MINUTES, _HEAD)
            finally:
                os.close(descriptor)
        except OSError:
            return cls(None, ())
        if not 0 <= since <= present or len(ring) != MINUTES:
            return cls(None, ())
        oldest = max(since, present - MINUTES + 1)
        found = [minute for minute in range(oldest, present + 1) if ring[minute % MINUTES] == _day_mark(minute)[0]]
        return cls(oldest, found)

    @property
    def last(self) -> datetime | None:
        """The last minute with a request; None when there was none."""
        return moment_of_minute(self.minutes[-1]) if self.minutes else None


def moment_of_minute(minute: int) -> datetime:
    """Return when a minute, counted from 1970, began."""
    return datetime.fromtimestamp(minute * 60, UTC)


# -- A request ---------------------------------------------------------------------------------


def is_visit(environ: Mapping[str, Any], console: str | None) -> bool:
    """Tell whether a request counts as traffic: those of the console itself, its metrics and its health, do not.

    :param console: the path of the console; None when there is none.
    """
    path = environ.get("PATH_INFO", "")
    return console is None or not (path == console or path.startswith(f"{console}/"))


def request_in_words(environ: Mapping[str, Any]) -> str:
    """Return a request as the record of a Run says it, without its query: "GET /shop/cart"."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    words = f"{environ.get('REQUEST_METHOD', '')} {path}".strip() or "a request"
    # (A server hands a path over as bytes in a text: PEP 3333.)
    decoded = words[: 8 * LONGEST_REQUEST].encode("latin-1", "replace").decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in decoded)
    return shown if len(shown) <= LONGEST_REQUEST else f"{shown[: LONGEST_REQUEST - 1]}…"
