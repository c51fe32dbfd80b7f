"""The lean path: ``dracotask.py DOCROOT TASKNAME`` and ``dracotask.py DOCROOT due``.

Every run goes through here, so nothing is imported that a run does not need; click and all
that hangs on it come with :mod:`.commands`, for the other verbs.
"""

from __future__ import annotations

import gc
import os
import sys

from ..errors import DracotaskError
from ..model import VERBS
from ..run.process import reset_signals
from .running import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE, caller, run_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


#: Of who brought a tick about the record has so many letters.
LONGEST_BY = 150


def main() -> NoReturn:
    """Run the command line and leave the process, without the tidying that a dying process need not do."""
    # A short life: what is garbage by its end is nobody's. (A body collects again; see run.process.)
    gc.disable()
    reset_signals()
    if sys.platform == "win32":
        _leave(_complain("dracotask needs fork and flock: it runs on Linux, macOS and the BSDs, not on Windows."))
    try:
        docroot, words = sys.argv[1:2], sys.argv[2:]
        # A path may hold any bytes; a name, a reason or an argument is text, as the store is.
        code = dispatch([*docroot, *(word.encode("utf-8", "backslashreplace").decode() for word in words)])
    except DracotaskError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        code = EXIT_STOPPED
    _leave(code)


def dispatch(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code."""
    is_task = len(arguments) >= 2 and arguments[1] not in VERBS and not arguments[1].startswith("-")
    if is_task and len(arguments) == 2:
        return run_task(*arguments)
    if is_task and arguments[2:] in (["-q"], ["--quiet"]):
        from .quiet import run_quietly

        return run_quietly(*arguments[:2])
    if len(arguments) >= 2 and arguments[1] == "due" and not set(arguments) & {"-h", "--help"}:
        return due(arguments[0], arguments[2:])
    from .commands import run_command

    return run_command(arguments)


def due(docroot: str, options: list[str]) -> int:
    """``DOCROOT due``: launch all that is due and wait for it.

    The web process adds ``--lock=FD``, the tick's lock which it has taken, ``--origin=WORD``, and in the environment
    who brought it about.
    """
    from ..site import Site
    from ..siteconfig import BY_VARIABLE

    said = dict(option.partition("=")[::2] for option in options)
    if options == ["--alerts"]:  # from whoever has something to be sent
        Site(docroot).send_alerts()
        return EXIT_DONE
    unknown = said.keys() - {"--lock", "--origin"}
    if unknown:
        return _complain(f"due: no such option: {min(unknown)}. It needs none.")
    if not said.get("--lock", "0").isdecimal():
        return _complain(f"due: --lock={said['--lock']} is no descriptor. It is for the web process; leave it out.")
    held = int(said["--lock"]) if "--lock" in said else None
    by = os.environ.pop(BY_VARIABLE, "")  # no run is to have it
    if "--origin" in said:  # from a server's process
        _close_all_but(held)
    else:
        by = caller()
    # (An environment may hold any bytes, a store only text.)
    Site(docroot).tick(said.get("--origin", "command"), held, by=by.encode("utf-8", "replace").decode()[:LONGEST_BY])
    return EXIT_DONE


def _close_all_but(held: int | None) -> None:
    """Close what a server may have left open to its children: a socket held here keeps its port busy."""
    if held is None:
        os.closerange(3, 4096)
        return
    os.set_inheritable(held, False)
    os.closerange(3, held)
    os.closerange(held + 1, 4096)


def _complain(words: str) -> int:
    from ..visible import visible_line

    print(f"dracotask: {visible_line(words)}", file=sys.stderr)
    return EXIT_USAGE


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or EXIT_FAILED  # nobody could read the answer
    os._exit(code)
