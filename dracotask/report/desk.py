"""Desk: where a site is looked at from, by a command or by the console."""

from __future__ import annotations

import shlex
from zoneinfo import ZoneInfo

from ..site import Site
from ..zones import is_zone, site_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..siteconfig import Config
    from ..state import State

#: What the program is called where nobody has called it.
NAME = "dracotask.py"


class Desk:
    """A site to be looked at, in its own zone. The site is made when it is first asked for.

    :param docroot: as it was said.
    :param program: how the program is called in a command to be copied.
    """

    def __init__(self, docroot: str, *, program: str = NAME) -> None:
        self.docroot, self.program = docroot, program
        self._site: Site | None = None

    @property
    def site(self) -> Site:
        if self._site is None:
            self._site = Site(self.docroot)
        return self._site

    @property
    def state(self) -> State:
        return self.site.state

    @property
    def config(self) -> Config:
        return self.site.config

    def look_again(self) -> None:
        """Have the configuration read anew when it is next asked for."""
        self._site = None

    def zone(self) -> ZoneInfo:
        """Return the zone in which moments are told: the site's, or UTC where that makes no sense."""
        name, _ = site_zone(self.config.timezone)
        return ZoneInfo(name if is_zone(name) else "UTC")

    def command(self, *words: str) -> str:
        """Return the command line that says ``words``, to be copied."""
        return " ".join([self.program, shlex.quote(self.docroot), *map(shlex.quote, words)])
