"""What became of a run, in one state and in words: pure, from the facts of its end."""

from __future__ import annotations

import os

from ..clock import from_text, in_words, to_text
from ..model import FAILED, LOST, MISSED, STOPPED, SUCCEEDED, TIMED_OUT, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from ..model import Policy, Run
    from .watch import Ended

#: A summary or an error is one line of at most so many letters.
LINE = 500

#: How the error of a Run begins that has raised Retry.
WISH = "asked to be tried again"

_SIGNALS = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL, an illegal instruction", 6: "SIGABRT, it aborted",
    7: "SIGBUS, a bus error", 8: "SIGFPE, an arithmetic error", 9: "SIGKILL (out of memory?)",
    11: "SIGSEGV, a segmentation fault", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU, out of CPU time",
}  # fmt: skip


def judge(ended: Ended, policy: Policy, *, stopped_by: str | None, now: datetime, output_bytes: int) -> Outcome:
    """Return the Outcome of a body that is gone.

    :param stopped_by: who wanted it stopped and why, in words.
    """
    code = os.waitstatus_to_exitcode(ended.status)
    state, summary, error = _verdict(ended, policy, code, stopped_by)
    return Outcome(
        state=state,
        exit_code=code,
        summary=one_line(summary),
        error=one_line(error),
        finished_at=now,
        cpu_seconds=round(ended.usage.ru_utime + ended.usage.ru_stime, 3),
        peak_memory=ended.usage.ru_maxrss * 1024,
        output_bytes=output_bytes,
    )


def _verdict(
    ended: Ended, policy: Policy, code: int, stopped_by: str | None
) -> tuple[str, str | None, str | None]:
    report = ended.mailbox.last("done", "failed", "interrupted", "gone", "retry")
    kind, words = (report[0], "\0".join(report[1:])) if report else (None, None)
    # A task that has heard no from proceed() has not done all it would have done.
    if kind == "done" and code == 0 and not (ended.why and ended.mailbox.last("told")):
        return SUCCEEDED, words or None, None
    summary = words or None if kind == "done" else None
    manner = f", killed {in_words(ended.grace)} later" if ended.grace is not None else ""
    if ended.why == "limit":
        return TIMED_OUT, summary, f"{over_limit(policy.time_limit)}{manner}"
    if ended.why == "stop":
        return STOPPED, summary, f"stopped by {stopped_by}{manner}"
    if ended.why == "memory":
        return FAILED, None, _over_memory(policy, ended.number)
    if kind == "failed":
        return FAILED, None, _with_limit(words or "", policy)
    if kind == "retry":
        _, why = _wish(ended)
        return FAILED, None, f"{WISH}{f': {why}' if why else ''}"
    if kind == "gone":
        return MISSED, "the task is gone from the file", None
    if kind == "interrupted":
        return STOPPED, None, "stopped by a TERM from outside dracotask"
    return FAILED, None, _unreported(code)


def over_limit(time_limit: float | None) -> str:
    """Say that a Run took longer than it may."""
    return f"over its time limit of {in_words(time_limit or 0)}"


def _with_limit(error: str, policy: Policy) -> str:
    if error.startswith("MemoryError") and policy.memory_limit:
        return f"over its memory limit of {in_bytes(policy.memory_limit)} (MemoryError)"
    return error


def _over_memory(policy: Policy, number: int) -> str:
    together = f" ({number} processes together)" if number > 1 else ""
    return f"over its memory limit of {in_bytes(policy.memory_limit or 0)}{together}"


def _unreported(code: int) -> str:
    """Put in words how a body ended that did not come to say so itself."""
    if code < 0:
        return killed_by(-code)
    return f"ended the process itself with exit code {code} (os._exit?)"


def killed_by(number: int) -> str:
    """Say which signal has ended a process, and what that may mean."""
    return f"killed by {_SIGNALS.get(number, f'signal {number}')}"


def _wish(ended: Ended) -> tuple[float | None, str]:
    """Return in how many seconds a body wants to be tried again (None: as the policy says), and why."""
    _, after, why = [*(ended.mailbox.last("retry") or ()), "", "", ""][:3]
    try:
        seconds = float(after)
    except ValueError:
        return None, why
    return (seconds if 0 <= seconds < float("inf") else None), why


def retry_time(run: Run, outcome: Outcome, ended: Ended) -> datetime | None:
    """Return when a Run that has failed is to be tried again; None when it is not."""
    from ..retries import next_attempt

    report = ended.mailbox.last("done", "failed", "interrupted", "gone", "retry")
    if outcome.state == FAILED and report and report[0] == "retry" and not ended.why:
        return next_attempt(run, outcome, wanted=True, asked=_wish(ended)[0])
    raised = ",".join((ended.mailbox.last("raised") or ())[1:]).split(",")
    if outcome.state == TIMED_OUT:
        raised.append("TimedOut")
    elif ended.why == "memory":
        raised.append("MemoryError")
    return next_attempt(run, outcome, raised=raised)


def lost(now: datetime, why: str) -> Outcome:
    """Return the Outcome of a run whose supervisor is gone without a word."""
    return Outcome(state=LOST, error=why, finished_at=now)


def one_line(words: str | None) -> str | None:
    """Return the first line of what a task said, bounded and printable; None stays None."""
    if not words:
        return None
    line = next((line for line in words.splitlines() if line.strip()), "").strip()
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return line if len(line) <= LINE else line[: LINE - 1] + "…"


def in_bytes(number: float) -> str:
    """Return a number of bytes for people: "200 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} GiB"


# -- Left in the lock file when no store would have it -----------------------------------------

_MOMENTS = ("finished_at", "retry_at")
_NUMBERS = {"exit_code": int, "cpu_seconds": float, "peak_memory": int, "output_bytes": int}


def to_lines(run: Run, outcome: Outcome, retry_at: datetime | None = None) -> str:
    """Return the Outcome as text that :func:`from_lines` reads back."""
    facts = [("token", run.token), *((name, getattr(outcome, name)) for name in outcome.__slots__)]
    facts.append(("retry_at", retry_at))
    written = ((name, to_text(value) if name in _MOMENTS and value else value) for name, value in facts)
    return "".join(f"{name}={value}\n" for name, value in written if value is not None) + "end\n"


def from_lines(text: str, run: Run) -> tuple[Outcome, datetime | None] | None:
    """Read an Outcome that the supervisor of ``run`` left, and when there is to be a retry.

    None when there is no such text, or not a whole one.
    """
    lines = text.strip("\0 ").splitlines()
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    if "end" not in lines or facts.pop("token", None) != run.token:
        return None
    retry_at = facts.pop("retry_at", None)
    values = {name: _NUMBERS[name](value) if name in _NUMBERS else value for name, value in facts.items()}
    outcome = Outcome(**{**values, "finished_at": from_text(facts["finished_at"])})
    return outcome, from_text(retry_at) if retry_at else None
