"""The Django app, ``dracotask.integrations.django`` in ``INSTALLED_APPS``.

    # settings.py; all of it may be left out
    DRACOTASK = {
        "docroot": BASE_DIR,
        "console": "/tasks",
        "authorize": "dracotask.integrations.django.staff_only",
    }

    # wsgi.py
    application = wrap_wsgi(get_wsgi_application())

In ``asgi.py`` it is ``wrap_asgi``. ``manage.py tasks`` is dracotask's own program; a task that needs Django is a
:class:`DjangoTask`. (Nothing of Django is imported before it is needed: a task file may import this.)
"""

from __future__ import annotations

from contextlib import contextmanager

from ...errors import ConfigError
from ...tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from ...web.asgi import ASGIApplication, TaskASGIMiddleware
    from ...web.middleware import TaskMiddleware

__all__ = ["DjangoTask", "staff_only", "wrap_asgi", "wrap_wsgi"]


class DjangoTask(Task):
    """A Task whose ``run()`` finds Django set up, and leaves no database connection behind.

    Which settings, ``DJANGO_SETTINGS_MODULE`` says. Cron's runs have it from ``[env]`` in ``dracotask.toml``.
    """

    abstract = True

    @contextmanager
    def around(self) -> Iterator[None]:
        import django
        from django.apps import apps
        from django.db import close_old_connections

        if not apps.ready:  # it is, in a program that has set it up itself
            django.setup()
        close_old_connections()
        try:
            yield
        finally:
            close_old_connections()


def wrap_wsgi(application: WSGIApplication) -> TaskMiddleware:
    """Return a WSGI application that sees to the tasks, as ``settings.DRACOTASK`` says; for ``wsgi.py``.

    :raises ConfigError: the settings make no sense; DocrootNotFound: they name no folder.
    """
    from ...web.middleware import TaskMiddleware

    return TaskMiddleware(application, **options())


def wrap_asgi(application: ASGIApplication) -> TaskASGIMiddleware:
    """Return an ASGI application that sees to the tasks, likewise; for ``asgi.py``."""
    from ...web.asgi import TaskASGIMiddleware

    return TaskASGIMiddleware(application, **options())


def options() -> dict[str, Any]:
    """Return what ``settings.DRACOTASK`` says, as arguments of the middleware; the docroot is ``BASE_DIR`` without.

    :raises ConfigError: it makes no sense, or names no docroot and there is no ``BASE_DIR`` either.
    """
    from django.conf import settings

    from ..options import read_options

    said = {"docroot": getattr(settings, "BASE_DIR", None), **getattr(settings, "DRACOTASK", {})}
    said.pop("permission", None)  # which staff_only reads
    if said["docroot"] is None:
        raise ConfigError('settings.DRACOTASK: say "docroot", the folder with __tasks__.py, for there is no BASE_DIR.')
    return read_options(said, "settings.DRACOTASK")


def staff_only(environ: WSGIEnvironment) -> tuple[str, str] | None:
    """Let Django's staff see the console, and superusers steer; an ``authorize``.

    With ``settings.DRACOTASK = {"permission": "shop.steer_tasks", …}`` staff who have that permission may steer, too.

    :return: the role and the user's name; None for anybody else.
    """
    from django.conf import settings
    from django.contrib.auth import get_user
    from django.db import close_old_connections

    permission = getattr(settings, "DRACOTASK", {}).get("permission")
    close_old_connections()
    try:
        user = get_user(_request(environ))
        if not (user.is_active and user.is_staff):
            return None
        may_steer = user.is_superuser or (permission is not None and user.has_perm(permission))
        return "write" if may_steer else "read", user.get_username()
    finally:
        close_old_connections()  # no request of Django's ends here, which would do it


def _request(environ: WSGIEnvironment) -> Any:
    """Return a request with its session, as SessionMiddleware makes it, and nothing else."""
    from importlib import import_module

    from django.conf import settings
    from django.core.handlers.wsgi import WSGIRequest

    request = WSGIRequest(environ)
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    return request
