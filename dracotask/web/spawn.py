"""Starting ``dracotask.py DOCROOT due`` from a web server's process.

By ``subprocess``, with its own session and nothing of the server's but stderr's file; or by
``posix_spawn`` where subprocess is monkey-patched. Never by fork, which copies a threaded
process into an unusable one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

from ..siteconfig import BY_VARIABLE, find_state, read_config, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What belongs to the server itself, and would mislead its children.
SERVER_VARIABLES = (
    "GUNICORN_", "WERKZEUG_", "UWSGI_", "MOD_WSGI_", "LISTEN_", "WATCHDOG_", "HTTP_", "SERVER_", "REMOTE_",
    "REQUEST_", "CONTENT_", "SCRIPT_",
)  # fmt: skip
SERVER_NAMES = frozenset(
    {
        "NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "PYTHONHOME", "PYTHONINSPECT", "GATEWAY_INTERFACE",
        "PATH_INFO", "PATH_TRANSLATED", "QUERY_STRING", "AUTH_TYPE", "DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT",
        "CONTEXT_PREFIX", "HTTPS",
    }
)  # fmt: skip


class Tick:
    """A tick that was started: a child of the web server's process.

    :param errors: the descriptor of what it writes to stderr.
    :ivar command: how it was started, to be told.
    :ivar seen: what ``next`` looked like then.
    """

    def __init__(
        self, child: subprocess.Popen[bytes] | int, command: str, errors: int, seen: tuple[int, int] | None
    ) -> None:
        self._child, self.command, self._errors, self.seen = child, command, errors, seen

    def poll(self) -> int | None:
        """Return the exit code, or None while it lives. 0 where the server has reaped it before us."""
        if not isinstance(self._child, int):
            return self._child.poll()
        try:
            pid, status = os.waitpid(self._child, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def last_words(self) -> str:
        """Return what it has written to stderr, or "" when that was nothing."""
        return os.pread(self._errors, 4000, 0).decode("utf-8", "replace").strip()

    def close(self) -> None:
        os.close(self._errors)


def start_tick(
    docroot: str, origin: str, *, by: str, held: int | None, errors: int, seen: tuple[int, int] | None
) -> Tick:
    """Start a tick and return at once.

    :param by: who brought it about, in words, for the record of the Runs that it claims.
    :param held: the descriptor of the tick's lock, which the child inherits; None when it must take it.
    :param errors: the descriptor that gets its stderr; it is the Tick's from now on.
    """
    try:
        command = [*entry_point(docroot), docroot, "due"]
        options = [f"--origin={origin}"] if held is None else [f"--origin={origin}", f"--lock={held}"]
        start = _posix_spawn if _is_subprocess_patched() else _popen
        return Tick(start([*command, *options], by, held, errors), shlex.join(command), errors, seen)
    except BaseException:
        os.close(errors)
        raise


def _popen(command: list[str], by: str, held: int | None, errors: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=() if held is None else (held,),
        close_fds=True,
        start_new_session=True,
        env=_tick_environment(by),
    )


def _posix_spawn(command: list[str], by: str, held: int | None, errors: int) -> int:
    actions: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, errors, 2),
    ]
    if held is not None:
        actions.append((os.POSIX_SPAWN_DUP2, held, held))  # onto itself: it loses close-on-exec
    environment = _tick_environment(by)
    return os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True, setsigmask=())


def _tick_environment(by: str) -> dict[str, str | bytes]:
    """Return the environment of a tick. Who brought it about stands there: arguments are seen by all who ask ps(1)."""
    # (As bytes: this server's own encoding may lack the letters.)
    return {**run_environment(), BY_VARIABLE: by.encode("utf-8", "replace")}


def _is_subprocess_patched() -> bool:
    """Tell whether gevent's or eventlet's subprocess is in force, whose fork in Python blocks the hub."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("subprocess"):
        return True
    return "eventlet.green.subprocess" in sys.modules


def run_environment() -> dict[str, str]:
    """Return the server's environment less what belongs to the server itself, in UTF-8 and unbuffered."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in SERVER_NAMES and not name.startswith(SERVER_VARIABLES)
    }
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def entry_point(docroot: str | None = None) -> list[str]:
    """Return the command that is ``dracotask.py``: interpreter and script, both absolute."""
    python = interpreter(docroot)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for script in (
        os.path.join(os.path.dirname(package), "bin", "dracotask.py"),  # a checkout
        os.path.join(os.path.dirname(python), "dracotask.py"),  # a virtual environment
    ):
        if os.path.isfile(script):
            return [python, script]
    return [python, os.path.join(package, "__main__.py")]


def interpreter(docroot: str | None = None) -> str:
    """Return the Python that runs this process, also where ``sys.executable`` is a server's binary.

    :param docroot: the site whose key ``python`` is asked first; None to ask the environment only.
    """
    configured = os.environ.get(variable("python")) or _configured(docroot)
    if configured:
        return configured
    executable = sys.executable or ""
    if _is_python(executable) and os.path.dirname(executable) == os.path.join(sys.prefix, "bin"):
        return executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        for name in (f"python{version}", "python3"):
            candidate = os.path.join(folder, "bin", name)
            if os.path.isfile(candidate):
                return candidate
    return executable if _is_python(executable) else shutil.which("python3") or "/usr/bin/python3"


def _configured(docroot: str | None) -> str | None:
    if docroot is None:
        return None
    path: str | None = read_config(find_state(docroot)).python
    return path


def _is_python(path: str) -> bool:
    return os.path.basename(path).startswith("python") and os.path.isfile(path)
