"""``export`` and ``import``: what was added and held at one site, as a file, and taken in by another."""

from __future__ import annotations

import os
import sys

from ..clock import utc_now
from ..errors import ControlError
from ..report.lines import counted
from ..report.reading import open_to_read
from ..state import write_whole
from ..transfer import as_text, exported, imported, read_text
from ..visible import visible_line
from .control import controlling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .invocation import Invocation

#: A file larger than this is no export.
MOST_BYTES = 1 << 28


def export(invocation: Invocation, path: str | None) -> None:
    """Write the export to a file, or to stdout.

    :raises ControlError: the file cannot be written.
    """
    with open_to_read(invocation) as store:
        document = exported(store, utc_now())
    if path is None or path == "-":
        sys.stdout.write(as_text(document))
        return
    try:
        write_whole(os.path.abspath(path), as_text(document).encode())
    except OSError as error:
        raise ControlError(f"{path!r:.200} cannot be written: {error.strerror}.") from None
    said = [counted(len(document["added"]), "added schedule"), counted(len(document["declared"]), "changed task")]
    print(f"{' and '.join(said)} written to {visible_line(path)}.")


def import_(invocation: Invocation, path: str, why: str | None, *, replace: bool, dry_run: bool) -> None:
    """Take in an export.

    :raises ControlError: naming the file and the place in it.
    """
    text = _read(path)
    with controlling(invocation) as control:
        try:
            done = imported(control, read_text(text), utc_now(), replace=replace, dry_run=dry_run, why=why)
        except ControlError as error:
            raise ControlError(f"{path}: {error}") from None
    if dry_run:
        print("Nothing is changed. This would be done:")
    for sentence in done:
        print(visible_line(sentence))
    if not done:
        print("There is nothing in it to be done.")


def _read(path: str) -> str:
    """Return the text of a file; ``-`` is stdin."""
    try:
        if path == "-":
            return sys.stdin.read(MOST_BYTES)
        with open(path, encoding="utf-8") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise ControlError(f"{path!r:.200} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ControlError(f"{path!r:.200} is no text in UTF-8.") from None
