"""``metrics``: what Prometheus may read of a site, printed or put where node_exporter's textfile collector looks."""

from __future__ import annotations

import os
import sys
from tempfile import mkstemp

from ..clock import utc_now
from ..errors import ControlError
from ..metrics import exposition
from ..report.reading import open_to_read
from ..said import arguments_said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .invocation import Invocation

#: Whoever collects is another user.
MODE = 0o644


def print_metrics(invocation: Invocation, path: str | None, words: Iterable[str]) -> None:
    """Write the metrics to a file, or to stdout.

    :param words: the labels to be added, ``KEY=VALUE`` each.
    :raises ControlError: a label is none; the file cannot be written, and the old one stays.
    """
    labels = arguments_said(words, what="label", example="site=shop")
    with open_to_read(invocation) as store:
        text, _ = exposition(invocation, store, utc_now(), labels=labels)
    if path is None or path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        return
    try:
        put_in_place(os.path.abspath(path), text)
    except OSError as error:
        raise ControlError(f"{path!r:.200} cannot be written: {error.strerror}.") from None


def put_in_place(path: str, text: bytes) -> None:
    """Write a file for everybody to read, of which nobody ever sees half.

    :raises OSError: it cannot be written; the old one stays.
    """
    folder, name = os.path.split(path)
    # (By this name, with no .prom at its end, no collector takes it for one of its own.)
    descriptor, aside = mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(descriptor, MODE)
        os.rename(aside, path)
    except OSError:
        os.unlink(aside)
        raise
