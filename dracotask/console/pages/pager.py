"""The pages of a long list."""

from __future__ import annotations

from ..asked import ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..asked import Asked


class Pager:
    """Which part of a list is shown.

    :param number: how many rows there are.
    :ivar first: the number of the first one shown, from 0.
    """

    def __init__(self, number: int, asked: Asked) -> None:
        self.number = number
        self.last_page = max((number - 1) // ROWS + 1, 1)
        self.page = asked.number("page", 1, 1, self.last_page)
        self.first = (self.page - 1) * ROWS
        self._links, self._path = asked.links, asked.request.path.strip("/")
        self._query = {name: value for name, value in asked.request.args.items() if name != "page"}

    def link(self, page: int) -> str:
        return self._links.to(self._path, **{**self._query, "page": page if page > 1 else None})
