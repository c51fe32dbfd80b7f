"""What holds a body in its bounds: its memory, its life, and the end of its whole session."""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIGKILL, SIGTERM
else:
    from _signal import SIGKILL, SIGTERM

#: Where there is no such thing (macOS), a body outlives a killed supervisor.
_F_SETSIG = getattr(fcntl, "F_SETSIG", None)


def limit_memory(limit: int | None) -> None:
    """Bound the address space of this process and its children to ``limit`` bytes; None for no bound."""
    if limit is not None:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)  # who started us is stricter
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def die_with(life: int) -> None:
    """Have the kernel kill this process when the other end of the pipe ``life`` is closed.

    The kernel does it, so C code that keeps the GIL dies too, and no library is needed: the read
    end of a pipe owes its owner a signal when something happens there, and the signal can be chosen.
    """
    if _F_SETSIG is None:
        return
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, _F_SETSIG, SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        orphaned = os.read(life, 1) == b""
    except BlockingIOError:
        return
    if orphaned:  # it died before the kernel was told
        os._exit(1)


def end_session(leader: int, number: int = SIGKILL) -> None:
    """Send a signal to every process of the session that ``leader`` leads.

    The process group would miss those that a shell's job control put into groups of their own.
    To be called before the leader is reaped: until then nobody else can have its number.
    """
    for pid in {leader, *_session(leader)}:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


def ask_to_stop(leader: int) -> None:
    """Send TERM to the body alone: it is the one that raises Stopped, and its children are its own business."""
    try:
        os.kill(leader, SIGTERM)
    except ProcessLookupError:
        pass


def _session(leader: int) -> list[int]:
    """Return the processes of a session from /proc; nothing where there is no /proc."""
    found = []
    try:
        numbers = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in numbers:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # "pid (any name) state ppid pgrp session …"
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) > 3 and int(fields[3]) == leader:
            found.append(int(name))
    return found
