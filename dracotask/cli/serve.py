"""``serve``: the site on a development server, with its tasks.

With a ``wsgi.py`` in the docroot that is its ``application``; without one, the docroot's files.
"""

from __future__ import annotations

import os
import sys

from ..errors import LoadError
from ..report.lines import counted
from ..run.loader import enter
from ..web.middleware import TaskMiddleware
from .ports import listen, shown_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from wsgiref.types import WSGIApplication

    from ..site import Site
    from .invocation import Invocation

#: What wrappers and frameworks call the application within.
_INNER = ("wsgi_app", "app", "application", "wrapped", "wsgi_application")

_MODULE = "wsgi"

#: Where the console is while the docroot's own files are served.
CONSOLE = "/tasks"


def serve(invocation: Invocation, host: str, port: int) -> None:
    """Serve until Ctrl-C.

    :raises DracotaskError: the port is not to be had; LoadError: wsgi.py is broken.
    """
    from werkzeug.serving import make_server

    from .requestlog import RequestLog

    site = invocation.to_act()
    listening = listen(host, port)
    told = _tasks_in_words(site)
    middleware = application_of(site)
    server = make_server(
        host, listening.getsockname()[1], middleware.outermost, threaded=True, fd=listening.fileno(),
        request_handler=RequestLog,
    )  # fmt: skip
    listening.close()
    middleware.tasks.start()
    place = f"http://{shown_host(host)}:{server.port}/"
    try:  # from here on: whoever reads the address may have had enough at once
        print(f"Serving {site.docroot} on {place} with {told}. Ctrl-C ends it.", flush=True)
        if middleware.tasks.console:
            from .console import console_link

            print(f"Its console: {console_link(invocation, place.rstrip('/') + middleware.tasks.console)}", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print()


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

        wrapped = TaskMiddleware(static_application(site), site.docroot, console=CONSOLE)
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
