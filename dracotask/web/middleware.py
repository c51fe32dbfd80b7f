"""TaskMiddleware: the one line that a site owner adds.

    application = TaskMiddleware(application, "/srv/shop")

A request pays for a look at the clock, a comparison and a search for four letters; there is
no lock, no I/O and no import, and the response is the application's own object, so that
``wsgi.file_wrapper`` and streaming go on working (PEP 3333). Whatever goes wrong with the
tasks, no response changes.
"""

from __future__ import annotations

import os
from importlib import import_module
from time import monotonic, time

from ..errors import DocrootNotFound
from .mounted import Mounted
from .ticker import BEAT, BEAT_PATIENCE, Ticker, have_threads, logger
from .traffic import is_visit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ..scheduler import Scheduler
    from .mounted import Authorize

#: The answer to whoever asks for what is private.
NOT_FOUND = b"404 Not Found\n"


class TaskMiddleware:
    """A WSGI application that serves ``app``, and sees to the tasks of ``docroot`` in passing.

    :param app: the site.
    :param docroot: the folder with ``__tasks__.py``.
    :param console: where the console is to be found, ``"/tasks"``; None for nowhere.
    :param authorize: asked, with the request's environ, who may see the console: returns None for nobody, ``"read"``,
        ``"write"``, or one of these with a name, ``("write", "anna")``. None for those with a sign-in link
        (``dracotask.py DOCROOT console``).
    :param idle_tick: whether tasks are started between two requests too. False is Draco's strict way:
        only a request starts something.
    :raises DocrootNotFound: ``docroot`` is not a folder.
    :raises ValueError: ``console`` is no path; TypeError: there is ``authorize``, and no console.
    """

    def __init__(
        self,
        app: WSGIApplication,
        docroot: str | os.PathLike[str],
        *,
        console: str | None = None,
        authorize: Authorize | None = None,
        idle_tick: bool = True,
    ) -> None:
        self.docroot = os.path.abspath(docroot)
        if not os.path.isdir(self.docroot):
            raise DocrootNotFound(
                f"TaskMiddleware: the docroot {self.docroot!r} is not a folder."
                " Beside the program it would be os.path.dirname(os.path.abspath(__file__))."
            )
        if authorize is not None and console is None:
            raise TypeError("TaskMiddleware: authorize= is for the console, and there is none: console='/tasks'.")
        self.app = app if console is None else Mounted(app, self.docroot, console, authorize)
        self.console = console
        self.idle_tick = idle_tick
        # By pid: what was made before a fork is of no use after it, and no hook of a fork can be relied on
        # (uWSGI calls none).
        self._tickers: dict[int, Ticker] = {}
        self._look_at = 0.0
        self._trusted_until = 0.0
        #: When the last request came that a beat has asked for; None while it is not there, and when that is put down.
        self.came_at: float | None = None
        self._schedulers: list[Scheduler] = []
        self._begun_in = self._local_begun_in = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if monotonic() > self._look_at:
            self._look(environ)
        try:
            # What is private has these four letters in its name, and little else has.
            if "task" in environ["PATH_INFO"] and is_private(environ["PATH_INFO"]):
                return _refuse(start_response)
        except KeyError:
            pass  # PEP 3333 lets a server leave out what is empty
        return self.app(environ, start_response)

    def start(self) -> None:
        """Begin without waiting for a request: for a server's hook that runs in each worker after its fork.

        ``post_worker_init`` of gunicorn, ``postfork`` of uWSGI, ``WSGIImportScript`` of mod_wsgi.
        """
        self._begin(self._ticker())

    @property
    def local(self) -> Scheduler:
        """The Scheduler for what must see the application's memory; made when it is first asked for.

        **Each worker runs its own**, in its threads: it starts with the first request there, or with :meth:`start`.
        What is added before the server forks, each worker has. (Not as CGI, nor where DRACOTASK_ENABLED is off or
        uWSGI lacks ``enable-threads``.)
        """
        if not self._schedulers:
            # By name: this floor knows nothing of what stands above it, and a site without one does not load it.
            scheduler: Any = import_module("dracotask.scheduler")
            self._schedulers.append(scheduler.Scheduler())
            if self._begun_in == os.getpid():
                self._start_local()
        # Of two threads that come here at once, one's is kept and the other's never holds a schedule.
        return self._schedulers[0]

    def beat(self, *, asks: bool = False) -> None:
        """Tell the requests of this process that somebody else is looking; the ticker's thread does so.

        :param asks: whether the next request is to say that it came.
        """
        self._trusted_until = monotonic() + BEAT_PATIENCE
        self._look_at = 0.0 if asks else self._trusted_until

    def fold_case(self) -> None:
        """From now on compare paths without regard to case, for the docroot's file system does so too."""
        self.__class__ = FoldingTaskMiddleware

    def _look(self, environ: WSGIEnvironment) -> None:
        """Have this request look, as long as no thread's beat says that somebody does; then it says that it came."""
        if monotonic() <= self._trusted_until:
            return self._come(environ)
        self._look_at = monotonic() + BEAT
        ticker = self._ticker()
        if not environ.get("wsgi.run_once"):  # as CGI: the process ends before a thread of its could look
            self._begin(ticker)
        ticker.look("request", environ)
        if self._is_visit(environ):
            ticker.put_down_visit(time())

    def _come(self, environ: WSGIEnvironment) -> None:
        """Say that a request came, in memory only: the thread puts it down."""
        if self._is_visit(environ):
            self.came_at = time()
            self._look_at = self._trusted_until

    def _is_visit(self, environ: WSGIEnvironment) -> bool:
        return is_visit(environ, self.app.path if isinstance(self.app, Mounted) else None)

    def _begin(self, ticker: Ticker) -> None:
        ticker.start()
        self._begun_in = os.getpid()
        self._start_local()

    def _start_local(self) -> None:
        """Start the local Scheduler, once in each process: who stops it later wants it stopped."""
        pid = os.getpid()
        if not self._schedulers or self._local_begun_in == pid or self._ticker().is_off or not have_threads():
            return
        try:
            self._schedulers[0].start()
            self._local_begun_in = pid
        except RuntimeError as error:  # as in Ticker.start()
            logger.error("dracotask: the local schedules of this process are not run: %s", error)

    def _ticker(self) -> Ticker:
        pid = os.getpid()
        ticker = self._tickers.get(pid)
        if ticker is None:
            # Of two threads that come here at once, one's Ticker is kept and the other's never started.
            ticker = self._tickers.setdefault(pid, Ticker(self))
        return ticker


class FoldingTaskMiddleware(TaskMiddleware):
    """The same on a file system that takes ``__TASKS__.PY`` for ``__tasks__.py``; the ticker finds out."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if monotonic() > self._look_at:
            self._look(environ)
        if is_private(environ.get("PATH_INFO", "").lower()):
            return _refuse(start_response)
        return self.app(environ, start_response)


def is_private(path: str) -> bool:
    """Tell whether a URL's path names the task file, its bytecode, the state folder or dracotask.toml.

    However it is spelt, as far as some file system or server behind us might agree; and whatever an editor
    leaves beside them (``.__tasks__.py.swp``, ``dracotask.toml~``).
    """
    for segment in path.replace("\\", "/").split("/"):
        name = segment.partition("\0")[0].partition(";")[0].rstrip(". ")
        if name == ".dracotask" or "__tasks__." in name or "dracotask.toml" in name:
            return True
    return False


def _refuse(start_response: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(NOT_FOUND)))]
    start_response("404 Not Found", headers)
    return [NOT_FOUND]
