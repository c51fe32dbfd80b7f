"""The files of a docroot as a site, for ``serve`` where there is no ``wsgi.py``."""

from __future__ import annotations

import os
from html import escape
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ..site import Site

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<ul>
{items}
</ul>
</html>
"""


def static_application(site: Site) -> WSGIApplication:
    """Return an application that serves the files of a docroot, and a list of them for a folder."""
    from werkzeug.middleware.shared_data import SharedDataMiddleware

    files = FileList(site.docroot, site.state.path)
    shared: WSGIApplication = SharedDataMiddleware(files, {"/": site.docroot}, cache=False)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = decoded(environ.get("PATH_INFO", ""))
        return (files if files.is_hidden(path) or path.endswith("/") else shared)(environ, start_response)

    return application


def decoded(path: str) -> str:
    """Return a WSGI path as text: servers hand it over as latin-1."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


class FileList:
    """Answers a folder with its index.html or a list of its files, and everything else with 404."""

    def __init__(self, docroot: str, state: str) -> None:
        self.docroot, self.state = docroot, os.path.realpath(state)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        from werkzeug.security import safe_join
        from werkzeug.wrappers import Response

        path = decoded(environ.get("PATH_INFO", "")) or "/"
        folder = None if self.is_hidden(path) else safe_join(self.docroot, path.strip("/"))
        if folder is None or not os.path.isdir(folder):
            response = Response("404 Not Found\n", 404)
        elif not path.endswith("/"):
            response = Response(status=301, headers={"Location": quote(f"{path.rpartition('/')[2]}/")})
        else:
            response = Response(self._page(folder, path), mimetype="text/html")
        return response(environ, start_response)

    def is_hidden(self, path: str) -> bool:
        """Tell whether a path is nobody's business: dot files, Python, the settings and the state folder."""
        parts = [part for part in path.split("/") if part]
        if any(part.startswith(".") or part == "__pycache__" or part == "dracotask.toml" for part in parts):
            return True
        if path.rstrip("/").lower().endswith((".py", ".pyc")):
            return True
        real = os.path.realpath(os.path.join(self.docroot, *parts)) if "\0" not in path else ""
        return not real or real == self.state or real.startswith(os.path.join(self.state, ""))

    def _page(self, folder: str, path: str) -> str:
        try:
            with open(os.path.join(folder, "index.html"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            pass
        items = []
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name = f"{entry.name}/" if entry.is_dir() else entry.name
            if not self.is_hidden(path + name):
                items.append(f'<li><a href="{escape(quote("./" + name))}">{escape(name)}</a>')
        return _PAGE.format(title=escape(f"Files of {path}"), items="\n".join(items) or "<li>no files yet")
