"""What holds a body in its bounds: its memory, its life, and that nothing it starts gets away."""

from __future__ import annotations

import fcntl
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIGKILL, SIGTERM
else:
    from _signal import SIGKILL, SIGTERM

#: The variable that says in a run's processes which run they are of.
MARK = "DRACOTASK_RUN"

#: From prctl(2).
_PR_SET_CHILD_SUBREAPER = 36

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


def ask_to_stop(leader: int) -> None:
    """Send TERM to the body alone: it is the one that raises Stopped, and its children are its own business."""
    try:
        os.kill(leader, SIGTERM)
    except ProcessLookupError:
        pass


def adopt_orphans() -> bool:
    """Become the parent of whatever is orphaned among our descendants, instead of PID 1; return whether we are.

    So a process that a task sends away with two forks and a session of its own stays in sight. ``ctypes`` takes as
    long to import as a sixth of a bare start; the C module inside it is enough for one call.
    """
    if sys.platform != "linux":
        return False
    try:
        import _ctypes

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        return bool(_ctypes.call_function(prctl, (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0)
    except (ImportError, OSError, AttributeError):
        return False
