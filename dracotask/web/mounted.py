"""The console, mounted beside the site's own pages: ``TaskMiddleware(app, docroot, console="/tasks")``."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    #: Says of a request who may see the console, and what they may do there.
    Authorize = Callable[[WSGIEnvironment], object]


class Mounted:
    """A WSGI application with the console under ``path``; all other requests go to ``app`` as they came.

    :param path: begins with a slash and does not end with one.
    :param authorize: as of :class:`~.middleware.TaskMiddleware`.
    """

    def __init__(self, app: WSGIApplication, docroot: str, path: str, authorize: Authorize | None) -> None:
        self.app, self.docroot = app, docroot
        self.path, self.authorize = checked_path(path), authorize
        self._below = self.path + "/"
        self._console: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(self._below) or path == self.path:
            return self._console_at(path, environ)(environ, start_response)
        return self.app(environ, start_response)

    def _console_at(self, path: str, environ: WSGIEnvironment) -> WSGIApplication:
        """Return the console, and let the request be one of its own (PEP 3333: what was used up of the path)."""
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self.path
        environ["PATH_INFO"] = path[len(self.path) :]
        if self._console is None:
            # By name, when it is first asked for: this floor knows nothing of what stands above it.
            app: Any = import_module("dracotask.console.app")
            self._console = app.Console(self.docroot, authorize=self.authorize, path=self.path)
        return self._console


def checked_path(path: object) -> str:
    """Return the path of a console as it is compared.

    :raises ValueError: nothing could be mounted there.
    """
    if not isinstance(path, str) or not path.startswith("/") or "//" in path or not path.isprintable():
        raise ValueError(f"console={path!r:.80} is no path: write console='/tasks'.")
    if path == "/":
        raise ValueError(
            "console='/' would hide the site itself: mount it lower, as console='/tasks', or serve it alone with"
            " dracotask.py DOCROOT console."
        )
    # (As a server hands it over: PEP 3333's bytes in a text.)
    return path.rstrip("/").encode().decode("latin-1")
