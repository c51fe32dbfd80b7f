"""Holds in words, and that of the whole site, which is a note in the store."""

from __future__ import annotations

from ..clock import from_text, to_text
from .base import HOLD_NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from ..model import Schedule
    from .base import Store


def held_in_words(schedule: Schedule) -> str:
    """Return the reason on record for a fire time that fell into a hold."""
    return f"held by {schedule.held_by}{because(schedule.held_why)}"


def because(why: str | None) -> str:
    """Return a reason as it follows what it is for."""
    return f": {why}" if why else ""


class SiteHold:
    """The hold of the whole site, which is a note in the store.

    :param at: since when.
    :param why: None when nobody said.
    """

    __slots__ = ("at", "by", "why")

    def __init__(self, at: datetime, by: str, why: str | None) -> None:
        self.at, self.by, self.why = at, by, why

    @classmethod
    def of(cls, store: Store) -> SiteHold | None:
        """Return the hold of the site; None when it is not held."""
        note = store.note(HOLD_NOTE)
        if note is None:
            return None
        at, by, why = note.split("\t")
        return cls(from_text(at), by, why or None)

    def in_words(self) -> str:
        """Return the reason on record for a fire time that fell into this hold."""
        return f"held by {self.by}, with the site{because(self.why)}"

    def put(self, store: Store) -> None:
        """Hold the site, in the terms of this hold."""
        store.put_note(HOLD_NOTE, "\t".join([to_text(self.at), self.by, self.why or ""]))
