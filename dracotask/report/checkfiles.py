"""What ``check`` finds out about folders: links on the way, file system, room and permissions."""

from __future__ import annotations

import os
import shlex
import stat

from ..run.outcome import in_bytes
from ..state import NETWORK_FILE_SYSTEMS, file_system
from .finding import ok, problem, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .desk import Desk
    from .finding import Finding

#: File systems of a container or a live medium, gone with it.
PASSING_FILE_SYSTEMS = ("overlay", "aufs", "tmpfs", "ramfs")

#: Bytes free: below the first the store may fail at any moment, below the second it soon will.
NO_ROOM, LITTLE_ROOM = 10 << 20, 200 << 20


def check_files(desk: Desk) -> Iterator[Finding]:
    """Yield what is found about the docroot's path and the state folder."""
    state, config = desk.state, desk.config
    if config.origin("state") == "default":
        yield from _check_links(desk.site.docroot)
    yield from check_file_system(file_system(_there(state.path)), state.path)
    yield from check_room(*_room(state.path), state.path)
    yield from _check_mode(state.path)


def _check_links(docroot: str) -> Iterator[Finding]:
    link = first_link(docroot)
    if link is None:
        return
    remedy = 'If it will point elsewhere one day, set state = "/var/lib/…": history and locks lie in the docroot.'
    yield warning("path", f"{link} is a symbolic link", remedy)


def first_link(path: str) -> str | None:
    """Return the first component of a path that is a symbolic link, or None."""
    found = None
    while path != os.path.dirname(path):
        if os.path.islink(path):
            found = path
        path = os.path.dirname(path)
    return found


def check_file_system(kind: str, path: str) -> Iterator[Finding]:
    """Yield whether a file system of that kind can keep a state folder."""
    elsewhere = f'Set state = "/a/folder/on/a/local/disk" in dracotask.toml, instead of {path}.'
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        yield problem("disk", f"{kind} is a network file system: locks and SQLite do not hold there", elsewhere)
    elif kind in PASSING_FILE_SYSTEMS:
        remedy = "Mount a volume there if history and the times already claimed shall outlive it."
        yield warning("disk", f"{path} lies on {kind}, which goes with its container or at a restart", remedy)
    else:
        yield ok("disk", f"{path} lies on {kind or 'a file system that this system does not name'}")


def check_room(free: int, inodes: int | None, path: str) -> Iterator[Finding]:
    """Yield whether there is room for the store and the output of runs."""
    remedy = "Make room, or move the state folder with the key state."
    if inodes == 0:
        yield problem("room", f"no file can be made any more beside {path} (no inode is free)", remedy)
    elif free < NO_ROOM:
        yield problem("room", f"{in_bytes(free)} are free for {path}", remedy)
    elif free < LITTLE_ROOM:
        yield warning("room", f"{in_bytes(free)} are free for {path}", remedy)
    else:
        yield ok("room", f"{in_bytes(free)} are free")


def _room(path: str) -> tuple[int, int | None]:
    status = os.statvfs(_there(path))
    # btrfs and others count no inodes at all.
    return status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None


def _check_mode(path: str) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return
    if mode & 0o077:
        remedy = f"chmod 700 {shlex.quote(path)}"
        yield warning("mode", f"others may look into {path} (mode {mode:o}): it holds output and settings", remedy)


def _there(path: str) -> str:
    """Return the path, or the nearest folder above it that exists."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path
