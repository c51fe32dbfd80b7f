"""Console: the WSGI application behind ``TaskMiddleware(…, console="/tasks")`` and ``dracotask.py DOCROOT console``.

It opens the store for a request, and closes it with it; what it changes it changes by the verbs that the command line
has too. Nobody comes in without the key (:mod:`.access`), nothing on a page comes from elsewhere (:data:`POLICY`), and
all of it works without JavaScript.
"""

from __future__ import annotations

import logging
import os
from urllib.parse import quote

from werkzeug import Request as BaseRequest
from werkzeug import Response
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    InternalServerError,
    RequestURITooLarge,
    ServiceUnavailable,
)
from werkzeug.routing import Map, Rule

from ..errors import DocrootNotFound, DracotaskError, StoreBusy, StoreMissing
from ..report.banners import unwritable
from ..report.desk import Desk
from .access import Access
from .asked import Asked, Page, untouched
from .assets import asset
from .drawings import Drawings
from .origin import refusal
from .pages import activity, doors, run, runs, setup, task, tasks, watch
from .render import as_json, render
from .signin import Throttle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import IO, Any
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ..state import State
    from ..web.mounted import Authorize

logger = logging.getLogger("dracotask")

#: Content Security Policy: nothing but the console's own files, nothing inline, nobody's frame.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

#: What all answers say. A page is asked for anew each time, and mostly found to be as it was (ETag).
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # (No referrer at all would make the Origin of a form "null", which is refused where there is no Sec-Fetch-Site.)
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Cookie",
}

#: Who may have a page: those who may look, or anybody, where the view itself asks for what it needs.
READERS, ANYBODY = "readers", "anybody"

#: The form of a page is no longer than this (bytes), nor is a query.
LONGEST_FORM = 1 << 16


class Request(BaseRequest):
    """A request, of which no more is read than a form of the console could have."""

    max_content_length = LONGEST_FORM
    max_form_memory_size = LONGEST_FORM
    max_form_parts = 200

    def _get_file_stream(self, *facts: object) -> IO[bytes]:
        raise BadRequest("No form of the console sends a file.")


class View:
    """What answers an address.

    :param answer: takes the :class:`~.asked.Asked` and what the address names; returns a Page, a Response, or what
        is to be sent as JSON.
    """

    __slots__ = ("answer", "who")

    def __init__(self, answer: Callable[..., Any], who: str = READERS) -> None:
        self.answer, self.who = answer, who


def _get(address: str, answer: Callable[..., Any], who: str = READERS) -> Rule:
    return Rule(address, endpoint=View(answer, who), methods=("GET",))


def _post(address: str, answer: Callable[..., Any], who: str = READERS) -> Rule:
    return Rule(address, endpoint=View(answer, who), methods=("POST",))


#: The addresses, below where the console is mounted. None leads to another by itself: a redirect needs a host.
ADDRESSES = Map(
    [
        _get("/", tasks.page),
        _post("/", tasks.act),
        _get("/tasks.json", tasks.as_json),
        _get("/task", task.page),
        _post("/task", task.act),
        _get("/task/<name>", task.page),
        _post("/task/<name>", task.act),
        _get("/task.json", task.as_json),
        _get("/task/<name>.json", task.as_json),
        _get("/runs", runs.page),
        _get("/runs.json", runs.as_json),
        _get("/runs/<run_id>", run.page),
        _post("/runs/<run_id>", run.act),
        _get("/runs/<run_id>.json", run.as_json),
        _get("/runs/<run_id>/output", run.output),
        _get("/runs/<run_id>/raw", run.raw),
        _get("/setup", setup.page),
        _get("/setup.json", setup.as_json),
        _get("/activity", activity.page),
        _get("/activity.json", activity.as_json),
        _get("/metrics", watch.metrics, ANYBODY),
        _get("/health", watch.health, ANYBODY),
        _get("/sign-in", doors.sign_in_page, ANYBODY),
        _post("/sign-in", doors.sign_in, ANYBODY),
        _post("/sign-out", doors.sign_out, ANYBODY),
        _get("/static/<name>", asset, ANYBODY),
    ],
    strict_slashes=False,
    merge_slashes=False,
)


class Console:
    """The console of one site. Making it opens nothing.

    :param docroot: the folder with ``__tasks__.py``.
    :param authorize: says who may come in, as of :class:`~dracotask.TaskMiddleware`; None for those with a link.
    :param path: where it is mounted, for the link that the command line prints; None where it stands alone.
    :raises DocrootNotFound: it is not a folder.
    """

    def __init__(
        self, docroot: str | os.PathLike[str], *, authorize: Authorize | None = None, path: str | None = None
    ) -> None:
        self.docroot, self.authorize, self.path = os.path.abspath(docroot), authorize, path
        if not os.path.isdir(self.docroot):
            raise DocrootNotFound(f"Console: the docroot {self.docroot!r} is not a folder.")
        self.throttle, self.drawings = Throttle(), Drawings()
        self._told_in = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._answer(Request(environ))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        asked: Asked | None = None
        if len(request.query_string) > LONGEST_FORM:
            return _failed(request, asked, RequestURITooLarge())
        if not request.environ.get("PATH_INFO"):
            return _with_slash(request)
        try:
            desk = Desk(self.docroot, program="dracotask")
            self._tell_where(desk.state, request.script_root)
            access = Access(desk.state, authorize=self.authorize)
            visitor = access.visitor(request.environ, request.script_root)
            asked = Asked(request, desk, visitor=visitor, access=access, throttle=self.throttle, drawings=self.drawings)
            view, named = _view_of(asked)
            _refuse_strangers(asked, view)
            _read(request)
            return _response(asked, view.answer(asked, **named))
        except StoreMissing as error:
            return _failed(request, asked, error, untouched)
        except Exception as error:
            return _failed(request, asked, error)

    def _tell_where(self, state: State, place: str) -> None:
        """Leave word in the state folder of where the console is, for the command that prints a link to it."""
        if self.path is None or self._told_in == os.getpid():
            return
        self._told_in = os.getpid()
        try:
            state.note_console(place)
        except OSError:
            pass  # the command then serves it by itself


def _with_slash(request: Request) -> Response:
    """Send a visitor of "/tasks" to "/tasks/", from where the links of the pages lead on."""
    last = request.environ.get("SCRIPT_NAME", "").rpartition("/")[2].encode("latin-1", "replace")
    query = quote(request.query_string, safe="=&%+")
    return Response(status=308, headers={"Location": f"{quote(last)}/{'?' if query else ''}{query}"})


def _view_of(asked: Asked) -> tuple[View, Mapping[str, Any]]:
    """Return what answers a request, by its path and method alone.

    :raises HTTPException: there is no such address, or it has no such method.
    """
    try:
        view, named = ADDRESSES.bind("console").match(asked.request.path or "/", method=asked.request.method)
    except HTTPException:
        if asked.visitor is None:
            raise Closed from None  # which addresses there are is nobody's business
        raise
    return view, named


def _refuse_strangers(asked: Asked, view: View) -> None:
    """Let in who may come in.

    :raises Forbidden: this visitor may not, or another site's page has sent the form.
    """
    why = refusal(asked.request.environ)
    if why is not None:
        raise Forbidden(why)
    if view.who == READERS and asked.visitor is None:
        raise Closed
    if view.who == READERS and asked.request.method == "POST":
        asked.refuse_readers()


def _read(request: Request) -> None:
    """Take in the query, and the form where there is one.

    :raises HTTPException: they are too long, are no text, or the server can make no sense of how they came.
    """
    try:
        _ = request.args, request.form
    except HTTPException:
        raise
    except Exception as error:  # each server has errors of its own, as for a chunk that has no length
        raise BadRequest("What the request says came broken.") from error


class Closed(Forbidden):
    """Raised when a visitor is not known."""

    description = "The console is closed to those it does not know."


# -- Answers -----------------------------------------------------------------------------------


def _response(asked: Asked, answer: Any) -> Response:
    if isinstance(answer, Response):
        response = answer
    elif isinstance(answer, Page):
        response = render(answer, asked)
    else:
        response = as_json(answer)
    if asked.request.method in ("GET", "HEAD") and response.status_code == 200 and not response.is_streamed:
        response.add_etag(weak=True)
        response.make_conditional(asked.request.environ)
    return response


def _failed(
    request: Request, asked: Asked | None, error: Exception, page: Callable[[Any, Asked], Page] | None = None
) -> Response:
    """Return the answer to a request that could not be met. No traceback reaches a visitor."""
    problem = _as_http(error)
    words = problem.description or problem.name
    if not isinstance(error, HTTPException) and (asked is None or asked.visitor is None):
        words = "The console cannot answer at present."  # what is wrong with the site is nobody's business
    if request.path.endswith(".json") or request.path.endswith("/output"):
        response = as_json({"error": words}, problem.code or 500)
    elif asked is not None and page is not None and asked.visitor is not None and request.method != "POST":
        response = render(page(error, asked), asked)
    else:
        response = _message(request, asked, problem, words)
    for name, value in problem.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers.setdefault(name, value)
    return response


def _message(request: Request, asked: Asked | None, problem: HTTPException, words: str) -> Response:
    template = "closed.html" if isinstance(problem, Closed) else "message.html"
    page = Page(template, status=problem.code or 500, title=problem.name, words=words, banners=[])
    try:
        if asked is not None:
            if problem.code == 503 and asked.visitor is not None:
                page.facts["banners"] = list(unwritable(asked.desk))
            return render(page, asked)
    except Exception:
        logger.exception("The page that tells of a problem could not be made.")
    return Response(f"{words}\n", problem.code or 500, mimetype="text/plain")


def _as_http(error: Exception) -> HTTPException:
    match error:
        case HTTPException():
            return error
        case StoreBusy():
            return ServiceUnavailable("The store is busy: try again in a few seconds.", retry_after=5)
        case DracotaskError():
            return ServiceUnavailable(str(error))
        case OSError():
            logger.error("The console could not answer: %s", error)
            return ServiceUnavailable(f"{type(error).__name__}: {error.strerror or 'the machine would not have it'}.")
    logger.error("The console failed.", exc_info=error)
    return InternalServerError("The console has failed; the server's log says how.")
