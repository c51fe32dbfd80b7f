"""TaskASGIMiddleware: what a request pays, what is refused, and what is let through as it came."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from dracotask.errors import DocrootNotFound, DracotaskError
from dracotask.integrations.asgi import TaskASGIMiddleware
from dracotask.web import asgi as asgi_module
from dracotask.web import middleware as middleware_module


class Told:
    """An ASGI application that remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, *call: Any) -> None:
        self.calls.append(call)


class Tickers:
    """Stands in for Ticker, and remembers what it was asked."""

    made: list[Tickers]

    def __init__(self, middleware: Any) -> None:
        self.is_off, self.asked = True, []
        Tickers.made.append(self)

    def start(self) -> None:
        self.asked.append("start")

    def look(self, origin: str, environ: Any = None) -> None:
        self.asked.append((origin, environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"]))

    def put_down_visit(self, at: float) -> None:
        pass


@pytest.fixture(autouse=True)
def tickers(monkeypatch) -> Iterator[list[Tickers]]:
    """No tick is started by these tests."""
    Tickers.made = []
    monkeypatch.setattr(middleware_module, "Ticker", Tickers)
    yield Tickers.made


def http(path: str, **more: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1",
        **more,
    }  # fmt: skip


def ask(application: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is sent to a server that hands over ``scope`` and, one after the other, ``messages``."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else await asyncio.Event().wait()  # nothing more comes

    asyncio.run(application(scope, receive, send))
    return sent


def text_of(sent: list[dict[str, Any]]) -> str:
    return b"".join(message.get("body", b"") for message in sent).decode()


# -- What passes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
def test_the_application_gets_what_the_server_made(kind, tmp_path):
    # Given what a server hands over
    told = Told()
    call = ({"type": kind, "path": "/cart"}, object(), object())

    asyncio.run(TaskASGIMiddleware(told, tmp_path)(*call))

    # Then the application has the very objects
    ((scope, receive, send),) = told.calls
    assert (scope is call[0], receive is call[1], send is call[2]) == (True, True, True)


def test_a_request_between_two_beats_only_looks_at_the_clock(tmp_path, tickers, monkeypatch):
    # Given a worker whose thread has just looked
    application = TaskASGIMiddleware(Told(), tmp_path)
    ask(application, http("/"))
    application._tasks.beat()
    asked = list(tickers[0].asked)

    # When a request comes, and whoever would open a file or import something is stopped
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        patch.setattr("os.stat", refuse)
        patch.setattr(builtins, "__import__", refuse)
        with pytest.raises(StopIteration):
            application(http("/task-force"), None, None).send(None)

    # Then the ticker was not asked
    assert tickers[0].asked == asked


def test_a_request_looks_where_nobody_else_does(tmp_path, tickers):
    ask(TaskASGIMiddleware(Told(), tmp_path), http("/shop/cärt", root_path="/shop"))

    assert tickers[0].asked == ["start", ("request", "GET", "/shop", "/c\xc3\xa4rt")]


def test_a_worker_begins_with_its_lifespan(tmp_path, tickers):
    asyncio.run(TaskASGIMiddleware(Told(), tmp_path)({"type": "lifespan"}, None, None))

    assert tickers[0].asked == ["start"]


async def stream(request: Any) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for part in ("be", "fore", "after"):
            yield part

    return StreamingResponse(parts())


async def echo(websocket: Any) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


def test_streams_and_websockets_and_lifespans_go_on_working(tmp_path):
    # Given a site that has all three
    lived = []

    @asynccontextmanager
    async def lifespan(app):
        lived.append("begun")
        yield
        lived.append("over")

    routes = [Route("/stream", stream), WebSocketRoute("/echo", echo)]
    application = TaskASGIMiddleware(Starlette(routes=routes, lifespan=lifespan), tmp_path)

    # When a server serves it
    ask(application, {"type": "lifespan", "state": {}}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    streamed = ask(application, http("/stream"))
    hello = {"type": "websocket.receive", "text": "hello"}
    echoed = ask(application, {**http("/echo"), "type": "websocket"}, {"type": "websocket.connect"}, hello)

    # Then all is as it would be without us, part by part
    assert lived == ["begun", "over"]
    assert [part["body"] for part in streamed[1:]] == [b"be", b"fore", b"after", b""]
    assert [message["type"] for message in echoed] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert echoed[1]["text"] == "hello"


# -- What does not -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/__tasks__.py", "/x/.dracotask/state.db", "/dracotask.toml", "/__TASKS__.PY"])
def test_private_files_are_not_there(path, tmp_path):
    told = Told()
    application = TaskASGIMiddleware(told, tmp_path)

    start, body = ask(application, http(path))

    assert (start["status"], body["body"]) == (404, b"404 Not Found\n")
    assert told.calls == []


def test_nor_are_they_for_websockets(tmp_path):
    application = TaskASGIMiddleware(Told(), tmp_path)
    scope = {"type": "websocket", "path": "/__tasks__.py"}

    # The server may know how a websocket is answered, or only how it is closed.
    start, _ = ask(application, {**scope, "extensions": {"websocket.http.response": {}}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert ask(application, scope) == [{"type": "websocket.close"}]


def test_a_docroot_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DocrootNotFound):
        TaskASGIMiddleware(Told(), tmp_path / "nowhere")


# -- The console -------------------------------------------------------------------------------------


class FakeConsole:
    """Stands in for the console: tells what WSGI told it."""

    def __init__(self, docroot: str, **options: Any) -> None:
        pass

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Type", "text/plain")])
        told = [environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]]
        return [" ".join(told).encode(), b" ", body]


@pytest.fixture
def application(tmp_path, monkeypatch) -> TaskASGIMiddleware:
    """Return a site with a console under /tasks, and another such site below /below."""
    monkeypatch.setitem(sys.modules, "dracotask.console.app", SimpleNamespace(Console=FakeConsole))

    async def home(request):
        return PlainTextResponse("the site's")

    site = Starlette(routes=[Route("/{path:path}", home)])
    mounted = Starlette(routes=[Mount("/below", TaskASGIMiddleware(site, tmp_path, console="/tasks"))])
    return TaskASGIMiddleware(mounted, tmp_path, console="/tasks")


@pytest.mark.parametrize(
    "path, query, told",
    [
        ("/tasks", b"", "GET /tasks   "),
        ("/tasks/runs", b"state=failed", "GET /tasks /runs state=failed "),
        ("/below/tasks/runs", b"", "GET /below/tasks /runs  "),
        ("/tasks", b"q=\xff%41", "GET /tasks  q=%FF%41 "),  # no browser sends such bytes; they are no error
    ],
)
def test_the_console_is_served_where_it_is_mounted(application, path, query, told):
    sent = ask(application, http(path, query_string=query))

    assert (sent[0]["status"], text_of(sent)) == (200, told)


def test_a_form_of_the_console_is_read_to_its_end(application):
    # Given a form that comes in two parts
    scope = http("/tasks/runs", method="POST", headers=[(b"content-length", b"11")])
    parts = [{"type": "http.request", "body": b"why=", "more_body": True}, {"type": "http.request", "body": b"because"}]

    assert text_of(ask(application, scope, *parts)) == "POST /tasks /runs  why=because"


@pytest.mark.parametrize("path", ["/below/", "/below/tasksforce", "/below/cart/tasks"])
def test_what_is_beside_the_console_is_the_sites(application, path):
    assert text_of(ask(application, http(path))) == "the site's"


def test_what_is_private_is_so_below_the_console_too(application):
    assert ask(application, http("/tasks/__tasks__.py"))[0]["status"] == 404


def test_a_console_without_a2wsgi_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(asgi_module, "find_spec", lambda name: None)

    TaskASGIMiddleware(Told(), tmp_path)
    with pytest.raises(DracotaskError, match=r"pip install dracotask\[asgi\]"):
        TaskASGIMiddleware(Told(), tmp_path, console="/tasks")
