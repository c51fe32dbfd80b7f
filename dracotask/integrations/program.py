"""``flask tasks …`` and ``manage.py tasks …``: dracotask's own program, for the docroot that the settings name.

It runs in a process of its own. The one that it is asked in has set the whole application up, with threads, sockets
and database connections, and the body of a run, which is a fork, must inherit none of them.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading

from ..cli.running import EXIT_USAGE
from ..web.spawn import entry_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: As a shell tells of a program that a signal has ended: this, and the signal's number.
_BY_SIGNAL = 128


def run_program(docroot: str, words: Iterable[str]) -> int:
    """Do what ``dracotask.py DOCROOT WORDS`` does, on the same terminal, and return its exit code.

    Where ``sys.stdout`` is no file, as in a framework's tests of its commands, the output is written there.
    """
    command = [*entry_point(docroot), docroot, *words]
    try:
        code = _on_this_terminal(command) if _is_file(sys.stdout) else _captured(command)
    except OSError as error:
        print(f"dracotask: {command[0]} cannot be started: {error.strerror}.", file=sys.stderr)
        return EXIT_USAGE
    return code if code >= 0 else _BY_SIGNAL - code


def _captured(command: list[str]) -> int:
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    return ended.returncode


def _on_this_terminal(command: list[str]) -> int:
    """Run a program to its end. Ctrl-C is its business, for it hears that too; TERM is handed on to it."""
    sys.stdout.flush()
    child = subprocess.Popen(command)
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, frame: child.terminate()) if is_main else None
    try:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _is_file(stream: object) -> bool:
    try:
        return stream.fileno() >= 0  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return False
