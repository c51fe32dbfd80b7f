"""Origin: was a form sent by a page of the console itself, or by one of another site that the visitor has open too?

The rule is that of Go 1.25 (net/http, CrossOriginProtection), and needs no token in the form: a browser says in
Sec-Fetch-Site where a request comes from, and no page can say anything else for it. Where that is absent, as for plain
http to another host, the host in Origin must be the one that the request was sent to. Where that is absent too, Go lets
the request pass as one of no browser; here it is refused, for nobody but browsers sends forms.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: What changes nothing, and so may come from anywhere (RFC 9110, 9.2.1).
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_PORTS = {"http": 80, "https": 443}

# RFC 6454: a browser writes neither a path nor a user in it; RFC 3986 for a host. What two headers say, a server joins
# by a comma, which neither of them takes.
_HOST = r"(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
_is_host = re.compile(_HOST, re.ASCII | re.IGNORECASE).fullmatch
_is_origin = re.compile(rf"(?P<scheme>https?)://{_HOST}", re.ASCII | re.IGNORECASE).fullmatch

_OPEN_IT = "Open the console's own page and do it there."


def refusal(environ: WSGIEnvironment) -> str | None:
    """Return why a request must not change anything, in words for whoever sent it; None when it may."""
    if environ.get("REQUEST_METHOD") in SAFE_METHODS:
        return None
    site = environ.get("HTTP_SEC_FETCH_SITE", "")
    if site in ("same-origin", "none"):
        return None
    if site:
        return f"This came from a page of another site, so nothing was done. {_OPEN_IT}"
    return _refusal_by_origin(environ.get("HTTP_ORIGIN", ""), environ.get("HTTP_HOST", ""))


def _refusal_by_origin(said: str, asked: str) -> str | None:
    if not said:
        return (
            "The browser does not say which page this came from, so nothing was done. A proxy in between must pass the"
            " headers Sec-Fetch-Site and Origin; a program must send Origin, with the address of the console."
        )
    origin, host = _is_origin(said), _is_host(asked)
    if origin is None:
        return f"The browser does not tell this page from one of another site, so nothing was done. {_OPEN_IT}"
    if host is not None and _place(origin, origin["scheme"]) == _place(host, origin["scheme"]):
        return None
    heard = f"for {host[0]}" if host is not None else "without saying for which host"
    return (
        f"The browser asked {origin[0]}, but the request came here {heard}, so nothing was done. A proxy in between"
        " must pass the header Host unchanged (nginx: proxy_set_header Host $http_host; Apache: ProxyPreserveHost On)."
        f" If there is none, this came from a page of another site. {_OPEN_IT}"
    )


def _place(found: re.Match[str], scheme: str) -> tuple[str, int]:
    """Return host and port; where no port stands it is that of the scheme."""
    return found["host"].lower(), int(found["port"] or _PORTS[scheme.lower()])
