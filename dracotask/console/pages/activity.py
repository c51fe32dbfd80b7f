"""Activity: who did what to which schedule, when and why."""

from __future__ import annotations

from ...report.reading import action_as_json
from ...report.words import action_in_words
from ..asked import ROWS, Page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Action
    from ..asked import Asked


#: A page of it is no longer than this.
MOST = 1000


def page(asked: Asked) -> Page:
    actions, limit = _read(asked), _limit(asked)
    shown = [(each, action_in_words(each, asked.now, asked.zone)) for each in actions[:limit]]
    more = min(limit + ROWS, MOST) if len(actions) > limit < MOST else None
    return Page("activity.html", rows=shown, more=more, name=asked.word("name"), poll=15)


def as_json(asked: Asked) -> list[dict[str, Any]]:
    return [{"schedule": each.schedule, **action_as_json(each)} for each in _read(asked)[: _limit(asked)]]


def _limit(asked: Asked) -> int:
    return asked.number("limit", ROWS, 1, MOST)


def _read(asked: Asked) -> list[Action]:
    """Return what was done, newest first, and one more than is shown."""
    with asked.reading() as store:
        return store.actions(schedule=asked.word("name"), limit=_limit(asked) + 1)
