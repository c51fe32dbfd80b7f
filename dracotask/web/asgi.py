"""TaskASGIMiddleware: :class:`~.middleware.TaskMiddleware` for ASGI.

    application = TaskASGIMiddleware(app, "/srv/shop")

A request pays for the same comparison, and the application gets ``scope``, ``receive`` and ``send`` as the server made
them, so that streams, websockets and its own lifespan are none of our business.
"""

from __future__ import annotations

from importlib.util import find_spec
from time import monotonic
from urllib.parse import quote

from ..errors import DracotaskError
from .middleware import NOT_FOUND, TaskMiddleware, is_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from typing import Any
    from wsgiref.types import StartResponse, WSGIEnvironment

    from ..scheduler import Scheduler
    from .mounted import Authorize

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

#: All of ASCII that may stand in a query string.
_PRINTABLE = "".join(map(chr, range(33, 127)))


class TaskASGIMiddleware:
    """An ASGI application that serves ``app``, and sees to the tasks of ``docroot`` in passing.

    Where the server has a lifespan, each worker begins with it and not with its first request. The console is a WSGI
    application; it is served by ``a2wsgi``, in threads of its own.

    :param app: the site.
    :param docroot, console, authorize, idle_tick: as of :class:`~.middleware.TaskMiddleware`.
    :raises DocrootNotFound, ValueError: likewise.
    :raises DracotaskError: there is to be a console, and no ``a2wsgi``.
    """

    def __init__(
        self,
        app: ASGIApplication,
        docroot: str | os.PathLike[str],
        *,
        console: str | None = None,
        authorize: Authorize | None = None,
        idle_tick: bool = True,
    ) -> None:
        self.app = app
        # It has the ticker, and the console beside a site of which nobody asks anything.
        self._tasks = TaskMiddleware(_no_site, docroot, console=console, authorize=authorize, idle_tick=idle_tick)
        self._path = None if console is None else console.rstrip("/")
        self._console: ASGIApplication | None = None
        if console is not None and find_spec("a2wsgi") is None:
            raise DracotaskError("The console under ASGI needs a2wsgi: pip install dracotask[asgi]")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.start()
        elif monotonic() > self._tasks._look_at:
            self._tasks._look(_in_short(scope))
        # In small letters for every file system: that costs less than to ask which one it is.
        path = scope.get("path", "")
        if "task" in (lower := path.lower()) and is_private(lower):
            await _refuse(scope, send)
        elif self._path is not None and scope["type"] == "http" and self._is_of_console(_below_root(scope)):
            await self._serve_console(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @property
    def docroot(self) -> str:
        return self._tasks.docroot

    @property
    def local(self) -> Scheduler:
        """As :attr:`.TaskMiddleware.local`; its coroutines are on the event loop of the worker."""
        return self._tasks.local

    def start(self) -> None:
        """Begin without waiting for a request, where the server has no lifespan."""
        self._tasks.start()

    def _is_of_console(self, path: str) -> bool:
        return path == self._path or path.startswith(f"{self._path}/")

    async def _serve_console(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._console is None:
            from a2wsgi import WSGIMiddleware

            self._console = WSGIMiddleware(self._tasks, workers=4)  # type: ignore[arg-type, assignment]
        # (Bytes beyond ASCII, which no browser sends, would be an error there.)
        query = quote(scope["query_string"], safe=_PRINTABLE).encode()
        await self._console({**scope, "query_string": query}, receive, send)  # type: ignore[misc]


def _in_short(scope: Scope) -> WSGIEnvironment:
    """Return what a look wants to know of a request, in the words of WSGI (PEP 3333: bytes in a text)."""
    words = {
        "REQUEST_METHOD": scope.get("method", "GET"), "PATH_INFO": _below_root(scope),
        "SCRIPT_NAME": scope.get("root_path", ""),
    }  # fmt: skip
    return {name: word.encode("utf-8", "replace").decode("latin-1") for name, word in words.items()}


def _below_root(scope: Scope) -> str:
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


async def _refuse(scope: Scope, send: Send) -> None:
    """Answer 404; to a websocket, where the server knows of no such answer, by closing it (which is a 403)."""
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    if scope["type"] == "websocket" and kind not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(NOT_FOUND))]
    await send({"type": f"{kind}.start", "status": 404, "headers": headers})
    await send({"type": f"{kind}.body", "body": NOT_FOUND})


def _no_site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Stand for the site where the console is asked for: what is not the console's never comes here."""
    start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
    return [NOT_FOUND]
