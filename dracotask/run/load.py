"""The supervisor of a load: has a body read the task file, and believes only what it reports.

A task file may be broken, slow, huge or hostile, or call os._exit: all it can do is not to be
taken over. The last good set of schedules stays in force then.
"""

from __future__ import annotations

import os
import sys
import time

from ..alerts import wanted as wanted_alerts
from ..clock import timedelta
from ..errors import LoadError
from ..failpoints import reach
from ..model import DEFAULT_POLICY, Declaration, Policy
from ..state import lock, stamp, stamp_lines
from ..zones import site_zone
from .channel import Attention
from .loader import declarations, enter
from .outcome import in_bytes
from .output import RunOutput
from .process import fork_body, leave_at_once
from .receipt import code_in_force
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGKILL
    from typing import Any

    from ..siteconfig import Config
    from ..state import State
    from .channel import Sender
    from .watch import Ended
else:
    from _signal import SIGKILL

#: How often a load starts over because a file was saved meanwhile; then the next tick tries.
MOST_TRIES = 3

#: For how long (seconds) nobody may have written to the files before they are read: an editor, a checkout
#: or an upload writes more than once, and each half of it would be a load.
QUIET = 0.06

#: How long (seconds) to wait for such a moment; whoever saves all the time is loaded that seldom.
QUIET_PATIENCE = 1.0

#: How many loaders may die of one version of a file before nobody tries it again.
MOST_DEATHS = 2

#: How long (seconds) to wait for another process that is loading.
LOAD_PATIENCE = 40.0

#: What a loading body may print, and report.
MAX_OUTPUT = 1 << 16


class Loaded:
    """What a load found.

    :ivar declared: the tasks, in the order of definition; empty when there is a problem.
    :ivar stamps: the files that were read and how they looked, the task file first.
    :ivar problem: why the file is not taken over, with the line; None when it is.
    :ivar has_file: whether there is a task file at all.
    :ivar warning: what the site owner should know, or None.
    :ivar listeners: who listens to what, as the store's note has it.
    :ivar code: the digest of what was read, and the commit, as a Run's receipt has them; None where nobody knows.
    :ivar alerts: of what the configuration wants pings and alerts, in the same note.
    :ivar took: how long the load took.
    """

    __slots__ = ("alerts", "code", "declared", "has_file", "listeners", "problem", "stamps", "took", "warning")

    def __init__(
        self,
        declared: list[Declaration],
        stamps: str,
        problem: str | None,
        *,
        has_file: bool,
        warning: str | None,
        listeners: str = "",
        code: str | None = None,
    ) -> None:
        self.listeners, self.code = listeners, code
        self.declared, self.stamps, self.problem = declared, stamps, problem
        self.has_file, self.warning = has_file, warning
        self.alerts = ""
        self.took = timedelta(0)


def load(
    state: State, config: Config, adopt: Callable[[Loaded], None], *, is_needed: Callable[[], bool] | None = None
) -> Loaded | None:
    """Load the task file in a body and have ``adopt`` make what it declares the set in force.

    The store must be closed. The lock ``load.lock`` is held until all is done, so that an older load
    never overtakes a newer one.

    :param is_needed: asked once more under the lock, for another process may just have loaded.
    :return: what was found; None when there was no need.
    :raises LoadError: another process has been loading for too long.
    """
    held = lock(state.load_lock, patience=LOAD_PATIENCE)
    if held is None:
        raise LoadError(f"Another process has been loading {state.task_file} for {LOAD_PATIENCE:.0f} s.")
    try:
        if is_needed is not None and not is_needed():
            return None
        begun = time.monotonic()
        loaded = _load_quiet_files(state, config, held)
        loaded.alerts = wanted_alerts(config)
        loaded.took = timedelta(seconds=time.monotonic() - begun)
        adopt(loaded)
        reach("load_adopted")
        return loaded
    finally:
        os.close(held)


def _load_quiet_files(state: State, config: Config, held: int) -> Loaded:
    """Load, and start over when a file was saved meanwhile, but not for ever."""
    paths = [state.task_file, state.config_file]
    until = time.monotonic() + config.load_limit
    for _ in range(MOST_TRIES):
        _wait_for_quiet(paths)
        loaded = _load_unless_deadly(state, config, held)
        paths = [line.partition("\t")[2] for line in loaded.stamps.splitlines()]
        if loaded.stamps == stamp_lines(paths) or time.monotonic() > until:
            break
    return loaded


def _wait_for_quiet(paths: list[str]) -> None:
    until = time.monotonic() + QUIET_PATIENCE
    while (pause := QUIET - _age(paths)) > 0 and time.monotonic() < until:
        time.sleep(min(pause, QUIET))


def _age(paths: list[str]) -> float:
    """Return how many seconds ago one of the files was saved last; a time in the future says nothing."""
    now = time.time_ns()
    times = [int(seen.partition(" ")[0]) for path in paths if (seen := stamp(path)) != "-"]
    return min((now - saved for saved in times if saved <= now), default=1 << 62) / 1e9


def _load_unless_deadly(state: State, config: Config, held: int) -> Loaded:
    """Load once, unless every loader of these very files died of it: there is a note in the lock file."""
    version = stamp_lines([state.task_file, state.config_file])
    count, _, of_version = os.pread(held, 1 << 16, 0).decode("utf-8", "surrogateescape").partition("\n")
    deaths = int(count) if of_version == version else 0
    os.ftruncate(held, 0)
    if deaths >= MOST_DEATHS:
        words = f"the process that loads the file was killed, {deaths} times by now: does it kill its parent?"
        return Loaded([], version, words, has_file=True, warning=None)
    try:
        os.pwrite(held, f"{deaths + 1}\n{version}".encode("utf-8", "surrogateescape"), 0)
    except OSError:
        pass  # a full disk keeps nobody from loading
    try:
        return _load_once(state, config)
    finally:
        os.ftruncate(held, 0)


def _load_once(state: State, config: Config) -> Loaded:
    zone, warning = site_zone(config.timezone)
    before = stamp(state.task_file)
    report = _report(state, config, zone)
    reach("load_reported")
    # The stamps are those of the bytes that were read, and not of what lies there by now.
    files = {
        state.task_file: report.get("seen", before),
        state.config_file: config.stamp,
        **report.get("files", {}),
    }
    stamps = "".join(f"{seen}\t{path}\n" for path, seen in files.items())
    declared = report["declared"] if not report["problem"] else []
    has_file = files[state.task_file] != "-"
    listeners = report.get("listeners", "")
    others = [path for path, seen in report.get("files", {}).items() if seen != "-"]
    code = code_in_force(state.docroot, state.task_file, others) if has_file else None
    return Loaded(
        declared, stamps, report["problem"], has_file=has_file, warning=warning, listeners=listeners, code=code
    )


def _report(state: State, config: Config, zone: str) -> dict[str, Any]:
    """Have a body load the file; return its report, or one that says why there is none."""
    limit = config.load_limit
    policy = Policy(**{**DEFAULT_POLICY, "time_limit": limit, "stop_grace": 1.0})

    def work(orders: int, report: Sender) -> int:
        enter(state.docroot)
        sys.argv = ["dracotask.py", state.docroot, "load"]
        reach("load_forked")
        import json

        report.send("report", json.dumps(declarations(state, config, zone)))
        # Its threads are not waited for, nor is anything tidied: all that counts is said.
        leave_at_once(0)

    for _ in range(2):
        output = RunOutput(state.load_output, MAX_OUTPUT)
        body = fork_body(work, environment=config.environment())
        ended = Watch(body, policy, output, Attention()).until_it_ends()
        body.close()
        output.close()
        report = _read(ended.mailbox.last("report"))
        if report:
            return report
        if ended.status != SIGKILL or ended.why:
            break  # else the OOM killer may have struck, which says nothing of the file
    return {"declared": [], "problem": _silence(ended, policy, output.total)}


def _read(message: list[str] | None) -> dict[str, Any] | None:
    """Return what a body reported; None when it is nothing that a load says, for any code in it may write there."""
    import json

    try:
        _, text = message or ("", "")
        report = dict(json.loads(text))
        report["declared"] = [Declaration(**facts) for facts in report.pop("tasks")]
        texts = [report["seen"], report["problem"] or "", report["listeners"], *report["files"].values()]
        for declared in report["declared"]:
            texts += [getattr(declared, name) for name in declared.__slots__ if name not in ("trigger", "start_held")]
            texts.append(declared.trigger or "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return report if all(isinstance(text, str) for text in texts) else None


def _silence(ended: Ended, policy: Policy, printed: int) -> str:
    """Say why a loading body came to no report."""
    if ended.why == "limit":
        said = f", and printed {in_bytes(printed)}" if printed > MAX_OUTPUT else ""
        return f"the file was not loaded after {policy.time_limit:.0f} s{said}: does it loop or wait at its top level?"
    code = os.waitstatus_to_exitcode(ended.status)
    if code < 0:
        return f"the file killed the process that loaded it (signal {-code})."
    return f"the file ended the process that loaded it, with exit code {code} (os._exit?)."


