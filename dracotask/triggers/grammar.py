"""How triggers are written into each other: ``WORD … (T | T)``, to any sensible depth.

What is written is measured before it is read, so that no text makes much work.
"""

from __future__ import annotations

from ..errors import BadTrigger
from .base import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The longest text of a trigger; what comes near it is a long list of dates.
MAX_LENGTH = 100_000

#: How deep triggers may lie within each other.
MAX_DEPTH = 10

#: How many triggers an any-of or all-of may have.
MOST_PARTS = 100


def measure(text: str) -> None:
    """Refuse a text that is too long, too deep, or has parentheses that do not match.

    :raises BadTrigger: saying which.
    """
    if len(text) > MAX_LENGTH:
        raise BadTrigger(f"a trigger of {len(text)} letters is too long: {MAX_LENGTH} are the most.")
    depth = deepest = 0
    for letter in filter("()".__contains__, text):
        depth += 1 if letter == "(" else -1
        deepest = max(deepest, depth)
        if depth < 0:
            break
    if depth:
        raise BadTrigger(f"{text!r:.200} is not a trigger: its parentheses do not match.")
    if deepest > MAX_DEPTH:
        raise BadTrigger(f"{text!r:.200} is not a trigger: more than {MAX_DEPTH} within each other are too deep.")


def split(text: str, example: str) -> tuple[list[str], list[str]]:
    """Return the words before the parentheses of ``WORD … (T | T)``, without the first, and what lies within.

    :param example: how it is written, for the message.
    :raises BadTrigger: it is not written so.
    """
    head, is_open, inside = text.partition("(")
    if not is_open or not inside.endswith(")"):
        raise BadTrigger(f"{text!r:.200} is not a trigger: write '{example}'.")
    parts, depth = [""], 0
    for letter in inside[:-1]:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            raise BadTrigger(f"{text!r:.200} is not a trigger: write '{example}'.")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if len(parts) > MOST_PARTS:
        raise BadTrigger(f"{len(parts)} rules in one is too much: {MOST_PARTS} are the most.")
    return head.split()[1:], [part.strip() for part in parts]


def unwrap(text: str, count: int, example: str, parse: Callable[[str], Trigger]) -> tuple[list[str], Trigger]:
    """Return the ``count`` words of ``WORD … (T)`` after the first, and the trigger within.

    :raises BadTrigger: it is not written so.
    """
    words, parts = split(text, example)
    if len(words) != count or len(parts) != 1:
        raise BadTrigger(f"{text!r:.200} is not a trigger: write '{example}'.")
    return words, parse(parts[0])


def all_within(trigger: Trigger) -> Iterator[Trigger]:
    """Yield a trigger and all that lie within it."""
    yield trigger
    inner = getattr(trigger, "trigger", None)
    for part in getattr(trigger, "triggers", () if inner is None else (inner,)):
        yield from all_within(part)
