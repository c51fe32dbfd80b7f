"""The processes of a run: its body and whatever that has started, wherever it went.

A child may leave the session, fork twice, ignore every signal and forget its environment. Its
descent it cannot leave, for the supervisor adopts what is orphaned; where no such thing is
(macOS), session and environment have to do.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from .limits import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from signal import SIGKILL
else:
    from _signal import SIGKILL

#: How long (seconds) the end of those is awaited that are killed: one may hang in a driver.
END_PATIENCE = 1.0

#: Seconds between two looks who is still there.
_PAUSE = 0.002

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """What the kernel tells of a process. ``since`` tells it from a later one of the same number."""

    __slots__ = ("is_dead", "parent", "pid", "session", "since")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        # state ppid pgrp session tty tpgid flags … starttime
        self.pid, self.is_dead = pid, fields[0] in (b"Z", b"X")
        self.parent, self.session, self.since = int(fields[1]), int(fields[3]), int(fields[19])


class Family:
    """A body and its descendants.

    :param body: its pid, which is also the number of its session. Not reaped yet, so that nobody else can have it.
    :param run_id: of what run; None for a load.
    :param strangers: children of this process that belong to no run, or to one that has ended.
    """

    def __init__(self, body: int, run_id: str | None, strangers: Iterable[Process] = ()) -> None:
        self.body = body
        self._mark = f"{MARK}={run_id}".encode() if run_id else None
        self._strangers = {(process.pid, process.since) for process in strangers}

    def living(self) -> list[int]:
        """Return the pids of those that are alive."""
        everybody = _everybody()
        for pid in [process.pid for process in everybody.values() if self._is_strange(process)]:
            del everybody[pid]
        roots = [process for process in everybody.values() if self._is_root(process)]
        return [process.pid for process in _descendants(roots, everybody) if not process.is_dead]

    def _is_strange(self, process: Process) -> bool:
        return process.pid in (1, os.getpid()) or (process.pid, process.since) in self._strangers

    def _is_root(self, process: Process) -> bool:
        if self.body in (process.pid, process.session):
            return True
        if self._mark is None:  # a load may have a whole program around it, with children of its own
            return False
        return process.parent == os.getpid() or self._mark in _environment(process.pid)

    def end(self) -> None:
        """Kill all of them, and again until nobody is left: whoever is killed may just have forked."""
        until = monotonic() + END_PATIENCE
        _kill(self.body)
        _kill(-self.body)  # its group: where there is no /proc that is all that can be known
        while alive := self.living():
            for pid in alive:
                _kill(pid)
            if monotonic() > until:
                return
            sleep(_PAUSE)

    # -- Memory ----------------------------------------------------------------------------

    def over(self, limit: int) -> int:
        """Return how many they are if all have more memory together than ``limit`` bytes; 0 if they have not.

        What several share counts once. To know that takes the kernel a while: first comes what it knows at once.
        """
        pids = list(self._walk())
        is_over = sum(map(_resident, pids)) > limit and sum(map(_share, pids)) > limit
        return len(pids) if is_over else 0

    def _walk(self) -> Iterator[int]:
        """Yield the body and its descendants, without a look at everybody else on the host."""
        strangers = {pid for pid, _ in self._strangers}
        waiting = [self.body, *(pid for pid in children_of(os.getpid()) if pid not in strangers and pid != self.body)]
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting += children_of(pid)


def children_of(pid: int) -> list[int]:
    """Return the children of a process; nothing where the kernel does not list them."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += _read(f"/proc/{pid}/task/{thread}/children").split()
    except OSError:
        pass
    return [int(child) for child in found]


def strangers_among_us(body: int) -> list[Process]:
    """Return the descendants of this process but for ``body``: what an earlier run has left behind on purpose."""
    if set(children_of(os.getpid())) == {body}:
        return []
    everybody = _everybody()
    ours = [process for process in everybody.values() if process.parent == os.getpid() and process.pid != body]
    return _descendants(ours, everybody)


def _descendants(roots: list[Process], everybody: dict[int, Process]) -> list[Process]:
    """Return ``roots`` and all that descend from them."""
    children: dict[int, list[Process]] = {}
    for process in everybody.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    waiting = [*roots]
    while waiting:
        process = waiting.pop()
        if process.pid not in found:
            found[process.pid] = process
            waiting += children.get(process.pid, [])
    return list(found.values())


def _everybody() -> dict[int, Process]:
    """Return all processes from /proc; nothing where there is no /proc."""
    found = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    for name in filter(str.isdigit, names):
        # "pid (any name) state ppid …"
        fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
        if len(fields) > 19:
            found[int(name)] = Process(int(name), fields)
    return found


def _environment(pid: int) -> list[bytes]:
    return _read(f"/proc/{pid}/environ").split(b"\0")


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process has, with what it shares with others."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def _share(pid: int) -> int:
    """Return the bytes of memory that a process has, of what it shares with others its part."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)


def _read(path: str) -> bytes:
    """Return the content of a file of /proc; nothing when its process has gone, or is none of our business."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
