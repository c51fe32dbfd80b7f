"""What ``check`` finds out about private files: whether a server hands them to anybody who asks."""

from __future__ import annotations

import os

from ..state import CONFIG_FILE, TASK_FILE
from .finding import ok, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .desk import Desk
    from .finding import Finding

#: Seconds to wait for one answer.
PATIENCE = 10


def private_paths(desk: Desk) -> list[str]:
    """Return what nobody must be served: the URL paths of the task file, the settings and the store."""
    state = desk.state
    store = os.path.relpath(state.store_file, state.docroot)
    return [TASK_FILE, CONFIG_FILE, *([] if store.startswith(os.pardir) else [store])]


def deny_lines(desk: Desk) -> list[str]:
    """Return what keeps nginx and Apache from serving the private files of a docroot."""
    import re

    paths = private_paths(desk)
    # The folder of the store, and what Python may have made of the task file.
    names = [*paths[:2], *map(os.path.dirname, paths[2:]), "__pycache__"]
    pattern = f"/({'|'.join(map(re.escape, names))})(/|$)"
    return [
        f"nginx   location ~ {pattern} {{ return 404; }}",
        f'Apache  RedirectMatch 404 "{pattern}"',
    ]


def check_web(desk: Desk, url: str) -> Iterator[Finding]:
    """Ask the site for its private files as a stranger would, and yield what it answers."""
    from urllib.parse import urlsplit

    if urlsplit(url).scheme not in ("http", "https"):
        yield problem("served", f"{url} is no address of a web site", "Write it like --url https://shop.example/")
        return
    for name in private_paths(desk):
        yield _check_one(desk, f"{url.rstrip('/')}/{name}", name)


def _check_one(desk: Desk, address: str, name: str) -> Finding:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(address, headers={"User-Agent": "dracotask check"}), timeout=PATIENCE) as answer:
            status, begin = answer.status, answer.read(1 << 16)
    except HTTPError as error:
        error.close()
        return ok("served", f"{address} answers {error.code}")
    except (OSError, ValueError) as error:
        return problem("served", f"{address} cannot be asked: {getattr(error, 'reason', error)}", "Is the server up?")
    if status != 200:
        return ok("served", f"{address} answers {status}")
    if begin == _begin_of(os.path.join(desk.site.docroot, name), len(begin)):
        return problem("served", f"{address} hands the file to everybody", "Deny it in the front server, see below.")
    remedy = "It is not the file itself, but a refusal would be sure. See below."
    return problem("served", f"{address} answers 200", remedy)


def _begin_of(path: str, size: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(size) or None
    except OSError:
        return None
