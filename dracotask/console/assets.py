"""The console's own files, style sheet and script: no build, and no address elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from werkzeug import Response
from werkzeug.exceptions import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .asked import Asked

_KINDS = {"console.css": "text/css", "console.js": "text/javascript"}


@cache
def _content(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


@cache
def version() -> str:
    """Return what changes with the files: an address with it may be kept for ever."""
    return hashlib.sha256(b"".join(map(_content, _KINDS))).hexdigest()[:8]


def asset(asked: Asked, name: str) -> Response:
    """Return one of the files."""
    if name not in _KINDS:
        raise NotFound
    is_of_now = asked.request.args.get("v") == version()
    lasting = "public, max-age=31536000, immutable" if is_of_now else "no-cache"
    return Response(_content(name), content_type=f"{_KINDS[name]}; charset=utf-8", headers={"Cache-Control": lasting})
