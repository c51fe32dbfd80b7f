"""Access: who a visitor is, and what they may do here. Nobody comes in who is not known."""

from __future__ import annotations

import logging

from ..clock import utc_now
from .session import READ, ROLES, WRITE, printable, signed_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from wsgiref.types import WSGIEnvironment

    from ..state import State

logger = logging.getLogger("dracotask")

#: What ``authorize`` may return, in words.
_REMEDY = f'It must return None, "{READ}", "{WRITE}", or one of these with a name: ("{WRITE}", "anna")'

#: So many different complaints are told in the life of a process, each of them once.
MOST_COMPLAINTS = 50

_told: set[str] = set()


class Visitor:
    """Somebody who may come in.

    :ivar role: ``"read"`` or ``"write"``.
    :ivar name: who it is, printable; None where nobody says.
    :ivar how: who says so: ``"link"``, a sign-in link, or ``"authorize"``, the site itself.
    """

    __slots__ = ("how", "name", "role")

    def __init__(self, role: str, name: str | None, how: str) -> None:
        self.role, self.name, self.how = role, name, how

    @property
    def may_write(self) -> bool:
        return self.role == WRITE


class Access:
    """Who may come into the console of a site.

    :param authorize: asked, with the request's environ, for each request; then nobody else is. It returns None for
        nobody, ``"read"``, ``"write"``, or one of these with a name. Whatever else it returns or raises lets nobody in.
    """

    def __init__(self, state: State, *, authorize: Callable[[WSGIEnvironment], object] | None = None) -> None:
        self.state, self.authorize = state, authorize

    @property
    def is_by_link(self) -> bool:
        """Whether a sign-in link leads in here."""
        return self.authorize is None

    def visitor(self, environ: WSGIEnvironment, mount: str, *, now: datetime | None = None) -> Visitor | None:
        """Return who makes a request, or None for somebody who is not known.

        :param mount: the path under which the console is (``Request.script_root``).
        :param now: None for the present moment.
        """
        if self.authorize is not None:
            return _visitor_said(self.authorize, environ)
        try:
            grant = signed_in(self.state, environ, mount, now or utc_now())
        except OSError as error:
            complain(f"The console's key cannot be read, so nobody can come in: {error.strerror}.")
            return None
        return None if grant is None else Visitor(grant.role, grant.name or None, "link")


def _visitor_said(authorize: Callable[[WSGIEnvironment], object], environ: WSGIEnvironment) -> Visitor | None:
    try:
        said = authorize(environ)
        visitor = None if said is None else _as_visitor(said)
        problem = None if said is None or visitor else _kind(said)
    except Exception as error:
        # Not what it says: that may be a password, or a database's address with one in it.
        complain(f"authorize() of the console raised {type(error).__name__}{_place(error)}, so nobody came in.")
        return None
    if problem is not None:
        complain(f"authorize() of the console returned {problem}, so nobody came in. {_REMEDY}.")
    return visitor


def _as_visitor(said: object) -> Visitor | None:
    """Return the visitor that ``authorize`` speaks of; None where it makes no sense."""
    match said:
        case str():
            role, name = said, ""
        case (str() as role, str() | None as name) if isinstance(said, tuple):
            name = name or ""
        case _:
            return None
    return Visitor(role, printable(name) or None, "authorize") if role in ROLES else None


def _kind(said: object) -> str:
    """Return what something is, in words that give nothing of it away."""
    if isinstance(said, bool):
        return f"{said}, which says neither who nor what for"
    if isinstance(said, str):
        return "a text that is no role"
    if type(said).__name__ == "coroutine":
        return "a coroutine: it must be a plain function, not an async one"
    if isinstance(said, tuple):
        return f"a tuple of {len(said)} that is no role with a name"
    return f"an object of the type {type(said).__name__[:100]}"


def _place(error: Exception) -> str:
    """Return where an exception was raised, as " (/srv/shop/wsgi.py:12)"."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return f" ({step.tb_frame.f_code.co_filename}:{step.tb_lineno})" if step is not None else ""


def complain(words: str) -> None:
    """Tell the log, of each thing once: a visitor may ask as often as they like."""
    if words not in _told and len(_told) < MOST_COMPLAINTS:
        _told.add(words)
        logger.error("%s", words)
