"""``serve``: the site on a development server, with its tasks.

With a ``wsgi.py`` in the docroot that is its ``application``; without one, the docroot's files.
"""

from __future__ import annotations

import os
import socket
import sys

from ..errors import DracotaskError, LoadError
from ..run.loader import enter
from ..web.middleware import TaskMiddleware
from .tables import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from wsgiref.types import WSGIApplication

    from ..site import Site
    from .invocation import Invocation

#: What wrappers and frameworks call the application within.
_INNER = ("wsgi_app", "app", "application", "wrapped", "wsgi_application")

_MODULE = "wsgi"


def serve(invocation: Invocation, host: str, port: int) -> None:
    """Serve until Ctrl-C.

    :raises DracotaskError: the port is not to be had; LoadError: wsgi.py is broken.
    """
    from werkzeug.serving import make_server

    site = invocation.to_act()
    listening = listen(host, port)
    told = _tasks_in_words(site)
    middleware = application_of(site)
    server = make_server(host, listening.getsockname()[1], middleware.outermost, threaded=True, fd=listening.fileno())
    listening.close()
    middleware.tasks.start()
    shown = f"[{host}]" if ":" in host else host
    print(f"Serving {site.docroot} on http://{shown}:{server.port}/ with {told}. Ctrl-C ends it.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 is any that is free.

    :raises DracotaskError: it is not to be had, and why.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except (OSError, OverflowError, UnicodeError) as error:
        raise DracotaskError(f"{host} port {port} is no address to serve on: {error}.") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise DracotaskError(_why_not(error, host, port)) from None
    return listening


def _why_not(error: OSError | OverflowError, host: str, port: int) -> str:
    import errno

    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use by another program. Take another: serve --port {port + 1}"
    if number == errno.EACCES:
        return f"Port {port} is for root. Take one from 1024 on: serve --port 8000"
    return f"Port {port} of {host} cannot be had: {getattr(error, 'strerror', None) or error}."


def _tasks_in_words(site: Site) -> str:
    """Load the task file and say how many tasks there are, or what is wrong with it."""
    site.prepare()
    loaded = site.load()
    if loaded.problem:
        return f"no new tasks ({site.state.task_file} is broken: {loaded.problem})"
    return counted(len(loaded.declared), "task")


class Served:
    """An application and the TaskMiddleware in or around it."""

    def __init__(self, outermost: WSGIApplication, tasks: TaskMiddleware) -> None:
        self.outermost, self.tasks = outermost, tasks


def application_of(site: Site) -> Served:
    """Return what is served for a site."""
    path = os.path.join(site.docroot, "wsgi.py")
    enter(site.docroot)
    if not os.path.exists(path):
        from .staticfiles import static_application

        wrapped = TaskMiddleware(static_application(site), site.docroot)
        return Served(wrapped, wrapped)
    application = load_application(path)
    found = wrapped_in(application)
    if found is not None:
        return Served(application, found)
    wrapped = TaskMiddleware(application, site.docroot)
    return Served(wrapped, wrapped)


def load_application(path: str) -> Any:
    """Execute a wsgi.py and return its ``application``.

    :raises LoadError: it is broken, whose traceback is printed, or has none.
    """
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(_MODULE, path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = sys.modules[_MODULE] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        import traceback

        traceback.print_exc()
        raise LoadError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    application = getattr(module, "application", None)
    if not callable(application):
        hint = " It has an app: write application = app" if callable(getattr(module, "app", None)) else ""
        raise LoadError(f"{path} has no callable named application.{hint}")
    return application


def wrapped_in(application: Any) -> TaskMiddleware | None:
    """Return the TaskMiddleware that an application is, or wraps, or None: two would look twice as often."""
    for _ in range(20):
        if isinstance(application, TaskMiddleware):
            return application
        inner = [getattr(application, name, None) for name in _INNER]
        application = next((each for each in inner if callable(each)), None)
        if application is None:
            return None
    return None
