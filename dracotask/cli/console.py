"""``console``: a link that signs somebody in; where no web application shows the console, it is served here.

The host of a link is never taken from a request: whoever forged its Host header would be sent the token.
"""

from __future__ import annotations

import os
from tempfile import mkstemp
from urllib.parse import quote, urlsplit

from ..clock import utc_now
from ..console.session import READ, WRITE
from ..console.signin import LINK_LIFE, link_to, new_link_token, sign_out_everybody
from ..errors import DracotaskError
from ..keys import address
from ..visible import visible_line
from ..web.spawn import start_tick
from .ports import PortTaken, listen, shown_host
from .running import NO_TERMINAL, caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug.serving import BaseWSGIServer

    from ..state import State
    from ..web.spawn import Tick
    from .invocation import Invocation

#: Where the console is served alone: on this port or, while others have it, one of the next ones.
HOST, PORT, MORE_PORTS = "127.0.0.1", 8766, 20

#: So much is read (letters) of the path at which an application shows the console.
_LONGEST_PATH = 1000

#: What stands for the address of a site that has told nobody.
UNKNOWN = "https://YOUR-SITE"


def open_console(
    invocation: Invocation,
    *,
    read: bool,
    name: str | None,
    url: str | None,
    host: str | None,
    port: int | None,
    sign_out: bool,
) -> None:
    """Print a link to the console, and serve it until Ctrl-C where nothing else does; or sign everybody out.

    :param read: whether the link is for looking only.
    :param name: whom it is for, for the record of what they do; None for whoever asks for it.
    :param url: the address of the console; None for ``console_url``, or none known.
    :param host: where to serve it alone, even if the site shows it; so does ``port``.
    """
    site = invocation.to_act()
    site.prepare()
    link = Link(READ if read else WRITE, name or caller().removesuffix(NO_TERMINAL))
    if sign_out:
        sign_out_everybody(site.state)
        print("Everybody is signed out, and no link is open any more. A new one:", invocation.command("console"))
    elif host is not None or port is not None or _is_nowhere(invocation, url):
        serve_alone(invocation, link, url, host or HOST, port)
    else:
        print_link(invocation, link, url)


def _is_nowhere(invocation: Invocation, url: str | None) -> bool:
    return url is None and invocation.config.console_url is None and mounted_at(invocation.state) is None


# -- The link ----------------------------------------------------------------------------------


def console_link(invocation: Invocation, base: str) -> str:
    """Return a link to the console at an address, for whoever asks, to look and to act."""
    token = new_link_token(invocation.state, role=WRITE, by=caller().removesuffix(NO_TERMINAL), now=utc_now())
    return link_to(base, token)


class Link:
    """What a link is for.

    :param role: what its bearer may do.
    :param name: whom it is for.
    """

    def __init__(self, role: str, name: str) -> None:
        self.role, self.name = role, name

    def say(self, invocation: Invocation, base: str) -> None:
        """Make it, and print it.

        :param base: the address of the console.
        """
        token = new_link_token(invocation.state, role=self.role, by=self.name, now=utc_now())
        purpose = "to look, and change nothing" if self.role == READ else "to look, and to act"
        minutes = LINK_LIFE.seconds // 60
        print(f"Sign in {purpose}, once, within {minutes} minutes:\n\n  {link_to(base, token)}", flush=True)


def print_link(invocation: Invocation, link: Link, url: str | None) -> None:
    """Print a link to the console that the site shows."""
    path = mounted_at(invocation.state)
    base = base_of(url or invocation.config.console_url, path)
    link.say(invocation, base)
    if base.startswith(UNKNOWN):
        print(
            f"\nPut the address of your site where {UNKNOWN} stands. To have it there from now on, say --url, or set"
            f'\nconsole_url = "https://www.example.org{path or "/"}" in {visible_line(invocation.state.config_file)}'
        )


def base_of(url: str | None, path: str | None) -> str:
    """Return the address of the console.

    :param url: as it was said; one that names a host alone is the site's, and the path goes behind it.
    :param path: where the application shows the console; None where that is not known.
    :raises DracotaskError: it is no address.
    """
    try:
        base = UNKNOWN if url is None else address(url)
    except ValueError as error:
        raise DracotaskError(f"--url {url!r:.200} cannot be: {error}.") from None
    has_path = urlsplit(base).path.strip("/") != ""
    return base if has_path else base.rstrip("/") + (path or "")


def mounted_at(state: State) -> str | None:
    """Return the path at which an application shows the console, as it stands in an address; None when none does."""
    try:
        with open(state.console_file, encoding="utf-8") as file:
            said = file.read(_LONGEST_PATH).strip()
    except (OSError, ValueError):
        return None
    return quote(_bytes_of(said)).rstrip("/") if said.startswith("/") else None


def _bytes_of(path: str) -> bytes:
    """Return a path as a browser sends it. WSGI hands it on as bytes in a text (PEP 3333)."""
    try:
        sent = path.encode("latin-1")
        sent.decode()
    except ValueError:
        return path.encode()
    return sent


# -- Alone -------------------------------------------------------------------------------------


def serve_alone(invocation: Invocation, link: Link, url: str | None, host: str, port: int | None) -> None:
    """Serve the console until Ctrl-C, and print a link to it.

    :param url: its address as others see it, as behind a tunnel; None for that at which it is served.
    :param port: None for the first that is free.
    :raises DracotaskError: no port is to be had.
    """
    server = _server(invocation.site.docroot, host, _listen(host, port))
    own = f"http://{_name_of(host)}:{server.port}"
    try:  # from here on: whoever reads the address may have had enough at once
        print(f"The console of {visible_line(invocation.site.docroot)} is on {own}/ until Ctrl-C.")
        print("It starts what you run there, and no more by itself: requests to the site do, and cron.\n")
        link.say(invocation, base_of(url or own, None))
        server.serve_forever()
    except KeyboardInterrupt:
        print()


class Looking:
    """The console where it stands alone: after each verb it has a look taken, for nobody else may look for long."""

    def __init__(self, console: WSGIApplication, docroot: str) -> None:
        self.console, self.docroot = console, docroot
        self._ticks: list[Tick] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        statuses: list[str] = []

        def noting(status: str, *more: Any) -> Any:
            statuses.append(status)
            return start_response(status, *more)

        answer = self.console(environ, noting)
        if environ["REQUEST_METHOD"] == "POST" and statuses and statuses[0].startswith("303"):  # it was done
            self._look()
        return answer

    def _look(self) -> None:
        self._ticks = [tick for tick in self._ticks if tick.poll() is None]
        descriptor, path = mkstemp()
        os.unlink(path)
        tick = start_tick(self.docroot, "request", by="the console", held=None, errors=descriptor, seen=None)
        self._ticks.append(tick)


def _server(docroot: str, host: str, listening: socket.socket) -> BaseWSGIServer:
    from werkzeug.serving import make_server

    from ..console.app import Console
    from .requestlog import NoRequestLog

    port = listening.getsockname()[1]
    console = Looking(Console(docroot), docroot)
    with listening:  # the server has a copy of its own
        return make_server(host, port, console, threaded=True, fd=listening.fileno(), request_handler=NoRequestLog)


def _listen(host: str, port: int | None) -> socket.socket:
    if port is not None:
        return listen(host, port, "console")
    for candidate in range(PORT, PORT + MORE_PORTS):
        try:
            return listen(host, candidate, "console")
        except PortTaken:
            pass  # by the console of another site, most likely
    return listen(host, 0, "console")


def _name_of(host: str) -> str:
    """Return the host as a browser may be told it: "all of them" is no address."""
    return os.uname().nodename if host in ("0.0.0.0", "::") else shown_host(host)
