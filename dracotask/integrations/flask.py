"""The Flask extension.

    app = Flask(__name__)
    DracoTask(app)

It reads the configuration of the app when it is made: ``DRACOTASK_DOCROOT`` (the app's own folder, ``app.root_path``,
if it is not said), ``DRACOTASK_CONSOLE`` (no console if it is not said, for ``/tasks`` may be a page of yours),
``DRACOTASK_AUTHORIZE`` and ``DRACOTASK_IDLE_TICK``.
"""

from __future__ import annotations

import click

from ..errors import DracotaskError
from ..keys import ALL_KEYS
from ..web.middleware import TaskMiddleware
from .options import read_options
from .program import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flask import Flask

#: So begin the variables that a run has, and an alert command: they may make the app as well.
_TOLD = ("run", "alert_")

#: All that follows belongs to the program that is called, with its options and its --help.
_AS_THEY_ARE = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": list[str]()}


class DracoTask:
    """Sees to the tasks of a Flask app while it serves, and adds ``flask tasks``.

    One may be for any number of apps. Of each, ``app.extensions["dracotask"]`` is its
    :class:`~dracotask.web.middleware.TaskMiddleware`, with ``start()`` and ``local``.

    :param app: the app; None to say it later, as an app factory does, by :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Wrap the app's ``wsgi_app``. Nothing starts before its first request, so the reloader may do as it likes.

        :raises ConfigError: the app's configuration makes no sense; DocrootNotFound: it names no folder.
        :raises DracotaskError: the app has one already.
        """
        if "dracotask" in app.extensions:
            raise DracotaskError(f"DracoTask: the app {app.name!r} has one already. Say init_app(app) once.")
        said = {"docroot": app.root_path, **_said(app)}
        middleware = TaskMiddleware(app.wsgi_app, **read_options(said, "the Flask app's configuration, DRACOTASK_…"))
        app.wsgi_app = middleware  # type: ignore[method-assign]
        app.extensions["dracotask"] = middleware
        if "tasks" not in app.cli.commands:
            app.cli.add_command(_command(middleware.docroot))


def _said(app: Flask) -> dict[str, Any]:
    """Return what the app's configuration says. A whole environment in it has variables that are others' to read."""
    said = app.config.get_namespace("DRACOTASK_")
    return {key: value for key, value in said.items() if not (key in ALL_KEYS or key.startswith(_TOLD))}


def _command(docroot: str) -> click.Command:
    """Return ``flask tasks``, which is the program ``dracotask.py`` for this docroot."""

    @click.command("tasks", context_settings=_AS_THEY_ARE, add_help_option=False)
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def tasks(context: click.Context, words: tuple[str, ...]) -> None:
        """Scheduled tasks: list them, run, hold, stop one, see what ran."""
        context.exit(run_program(docroot, words))

    return tasks
