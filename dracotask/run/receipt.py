"""A run's receipt: which code is in force, as a digest of its files and the commit of its checkout.

The supervisor of a load reads both for itself: the code that is told of has no say in it.
"""

from __future__ import annotations

import hashlib
import os
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: So many hex digits of a digest, and of a commit, are enough to tell two apart.
DIGITS = 12

#: So many files are read, and so many bytes of all together; of more code there is no digest.
MOST_FILES, MOST_BYTES = 1000, 1 << 26

#: So many bytes of git's own files are read.
MOST_OF_GIT = 1 << 23

#: So many folders up a checkout is looked for; and so many references may stand for each other.
MOST_FOLDERS, MOST_REFERENCES = 40, 5

_PYTHON = (".py", ".so", ".pyc")


def code_in_force(docroot: str, task_file: str, others: Iterable[str]) -> str | None:
    """Return the digest of the code, and after a space the commit where the docroot is in a checkout of git.

    Never raises; None where there is no task file, or it cannot be read.

    :param others: the files that it read besides; those count that are Python's, and within the docroot.
    """
    inside = os.path.join(docroot, "")
    helpers = {path for path in others if path.startswith(inside) and path.endswith(_PYTHON)} - {task_file}
    digest = _digest(docroot, [task_file, *sorted(helpers)])
    commit = commit_of(docroot) if digest else None
    return f"{digest} {commit}" if commit else digest


def _digest(docroot: str, paths: list[str]) -> str | None:
    """Return the digest of the names and bytes of files; None when one cannot be read, or they are too many."""
    if len(paths) > MOST_FILES:
        return None
    digest, left = hashlib.sha256(), MOST_BYTES
    for path in paths:
        content = read_at_most(path, left)
        if content is None:
            return None
        left -= len(content)
        # (The length stands before the bytes, so that they can be cut in one way only.)
        digest.update(b"%s\0%d\0" % (os.fsencode(os.path.relpath(path, docroot)), len(content)) + content)
    return digest.hexdigest()[:DIGITS]


def read_at_most(path: str, most: int) -> bytes | None:
    """Return what is in a file; None when it cannot be read, is longer than ``most`` bytes, or no regular file."""
    try:
        if not S_ISREG(os.stat(path).st_mode):  # a FIFO may never have a writer
            return None
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError):
        return None
    return content if len(content) <= most else None


# -- The commit --------------------------------------------------------------------------------


def commit_of(folder: str) -> str | None:
    """Return the commit that is checked out where a folder lies; None where none is, or git keeps it another way.

    Read from git's files: git itself may not be there, and would run what a checkout tells it to (hooks, filters).
    """
    for top in _upwards(folder):
        place = os.path.join(top, ".git")
        if os.path.isdir(place):
            return _head(place)
        if (said := _text(place)) and said.startswith("gitdir: "):  # a worktree, or a submodule
            return _head(os.path.join(top, said.removeprefix("gitdir: ")))
    return None


def _upwards(folder: str) -> Iterator[str]:
    for _ in range(MOST_FOLDERS):
        yield folder
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def _head(place: str) -> str | None:
    """Return the commit of a git directory's HEAD; None for a checkout without a commit yet."""
    common = _text(os.path.join(place, "commondir"))
    places = [place, os.path.join(place, common)] if common else [place]
    said = _text(os.path.join(place, "HEAD"))
    for _ in range(MOST_REFERENCES):
        if said is None or not said.startswith("ref: "):
            break
        said = _reference(places, said.removeprefix("ref: "))
    is_commit = said is not None and len(said) in (40, 64) and not said.strip("0123456789abcdef")
    return said[:DIGITS] if said and is_commit else None


def _reference(places: list[str], name: str) -> str | None:
    """Return what a reference says: a worktree's own comes first, then those of all, then the packed ones."""
    if not name.startswith("refs/") or ".." in name:
        return None
    for place in places:
        if said := _text(os.path.join(place, name)):
            return said
    for line in (_text(os.path.join(places[-1], "packed-refs")) or "").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    return None


def _text(path: str) -> str | None:
    content = read_at_most(path, MOST_OF_GIT)
    return None if content is None else os.fsdecode(content).rstrip("\n")
