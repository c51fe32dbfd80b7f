"""The body as a process: forked by its supervisor, the only one that runs the docroot's code."""

from __future__ import annotations

import gc
import os
import sys

from ..failpoints import reach
from .channel import Sender
from .limits import die_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIG_DFL, SIGHUP, SIGINT, SIGKILL, SIGTERM, default_int_handler, signal
    from typing import NoReturn

    #: What a body does: handed the descriptor its order comes by, and the way to report.
    Work = Callable[[int, Sender], int]
else:
    # ``signal`` is this module, wrapped in enums whose import each run would pay for.
    from _signal import SIG_DFL, SIGHUP, SIGINT, SIGKILL, SIGTERM, default_int_handler, signal


class Body:
    """A body as its supervisor sees it.

    :ivar pid: also the number of its session.
    :ivar output: what it prints, to be read.
    :ivar reports: what it reports, to be read.
    :ivar orders: what it is told.
    :ivar life: open for as long as the body may live.
    """

    __slots__ = ("life", "orders", "output", "pid", "reports")

    def __init__(self, pid: int, output: int, reports: int, orders: int, life: int) -> None:
        self.pid, self.output, self.reports, self.orders, self.life = pid, output, reports, orders, life

    def order(self, *fields: str) -> None:
        """Say what is to be done, once."""
        Sender(self.orders).send(*fields)

    def stop(self) -> None:
        """Say that it is to stop, once, to a body that asks."""
        Sender(self.orders).send("stop")

    def close(self) -> None:
        for descriptor in (self.output, self.reports, self.orders, self.life):
            os.close(descriptor)

    def dismiss(self) -> None:
        """End a body that gets no order. It is not waited for: its task file may load for ever."""
        os.kill(self.pid, SIGKILL)
        self.close()
        os.waitpid(self.pid, 0)


def fork_body(work: Work, *, environment: dict[str, str]) -> Body:
    """Fork a body that does ``work`` and exits with what it returns.

    The store must be closed: no connection crosses a fork.

    :raises OSError: no process is to be had (EAGAIN, ENOMEM).
    """
    output, reports, orders, life = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    _flush()
    try:
        pid = os.fork()
    except OSError:
        for descriptor in (*output, *reports, *orders, *life):
            os.close(descriptor)
        raise
    if pid == 0:
        _be_body(work, environment, output[1], reports[1], orders[0], life[0])
    _let_begin(pid)
    for descriptor in (output[1], reports[1], orders[0], life[0]):
        os.close(descriptor)
    return Body(pid, output[0], reports[0], orders[1], life[1])


def _let_begin(pid: int) -> None:
    """Have a process that was just forked begin at once, on another processor than ours.

    A kernel without scheduling domains, as small virtual machines have, leaves it behind its parent for a slice of
    three milliseconds, though another processor is idle; what moves it is a change of where it may run. Any other
    kernel has placed it there already.
    """
    try:
        allowed = os.sched_getaffinity(0)
        with open("/proc/self/stat", "rb", buffering=0) as file:
            here = int(file.read().rpartition(b")")[2].split()[36])  # "processor", of proc(5)
        if len(allowed) > 1:
            os.sched_setaffinity(pid, allowed - {here})
            os.sched_setaffinity(pid, allowed)
    except (OSError, AttributeError, IndexError):
        pass  # forbidden, or no such thing (macOS)


def _be_body(
    work: Work, environment: dict[str, str], output: int, reports: int, orders: int, life: int
) -> NoReturn:
    """Do the work and leave, without a step back into the supervisor's code."""
    code = 1
    try:
        signal(SIGHUP, SIG_DFL)
        signal(SIGTERM, SIG_DFL)  # the supervisor's handlers would only take a note here
        signal(SIGINT, default_int_handler)
        _let_go_of_everything_but(output, reports, orders, life)
        os.setsid()
        die_with(life)  # not by the pipe of orders: an order that comes would be taken for the end
        reach("body_forked")
        _use_streams(output)
        gc.freeze()  # what came with the fork is looked at by no collection, and so not copied
        gc.enable()
        os.environ.update(environment)
        code = work(orders, Sender(reports))
    except BaseException:
        # What the docroot's code raises never comes so far: this is an error of ours, and its place is the output.
        import traceback

        traceback.print_exc()
    finally:
        _leave(code)


def _let_go_of_everything_but(*kept: int) -> None:
    """Close all descriptors but the standard three and ``kept``: locks live as long as any copy of theirs."""
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    # (Containers may allow a billion, which old kernels close one by one.)
    os.closerange(low, min(os.sysconf("SC_OPEN_MAX"), 1 << 16))


def _use_streams(output: int) -> None:
    """Send stdout and stderr to the supervisor, in the order they are written; stdin has nothing to say."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)
    # The objects of the parent may be closed, in another encoding, or a server's own.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _leave(code: int) -> NoReturn:
    """End as Python ends (threads joined, atexit called, streams flushed), less what a dying process need not tidy."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit = sys.modules.get("atexit")
        if atexit is not None:
            atexit._run_exitfuncs()
    except BaseException:
        code = code or 1
    finally:
        leave_at_once(code)


def leave_at_once(code: int) -> NoReturn:
    """End without waiting for threads, and without atexit's tidying."""
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed, broken or never there


#: What a server may have set to be ignored. PIPE stays ignored, as Python has it: a write to nobody is an OSError;
#: and HUP, for the sake of nohup(1), in all but a body.
_RESET = ("SIGINT", "SIGQUIT", "SIGALRM", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCHLD")


def reset_signals() -> None:
    """Undo the signal mask and the ignored signals that were inherited: the first act of each process of ours.

    (``_signal`` is the module that ``signal`` wraps into enums, whose import a run would pay for.)
    """
    import _signal  # type: ignore[import-not-found]

    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for name in _RESET:
        number = getattr(_signal, name)
        if _signal.getsignal(number) == _signal.SIG_IGN:
            signal(number, SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) == SIG_DFL:
        signal(_signal.SIGINT, _signal.default_int_handler)
