"""The filter for PasteDeploy, as Pyramid's ini files have it.

    [filter:tasks]
    use = egg:dracotask
    console = /tasks

    [pipeline:main]
    pipeline = tasks shop

``docroot`` is the folder of the ini file if it is not said, and a relative one is counted from there.
"""

from __future__ import annotations

import os

from ..web.middleware import TaskMiddleware
from .options import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIApplication


def filter_factory(global_conf: Mapping[str, str], **local_conf: str) -> Callable[[WSGIApplication], TaskMiddleware]:
    """Return what wraps an application; ``paste.filter_factory``.

    :param global_conf: the ini file's defaults, with ``here``.
    :param local_conf: ``docroot``, ``console``, ``authorize`` (``shop.tasks:may_see``) and ``idle_tick``.
    :raises ConfigError: a key is unknown, or a value makes no sense.
    """
    here = global_conf.get("here", os.getcwd())
    options = read_options({"docroot": here, **local_conf}, "[filter] of dracotask")
    options["docroot"] = os.path.join(here, options["docroot"])
    return lambda app: TaskMiddleware(app, **options)
