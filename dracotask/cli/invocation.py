"""What every command is handed: the site, the paper to print on, and how it was called."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from zoneinfo import ZoneInfo

from ..errors import ConfigError
from ..site import Site
from ..zones import is_zone, site_zone
from .output import Paper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..siteconfig import Config
    from ..state import State
    from .listing import Selection

NAME = "dracotask.py"


class Invocation:
    """One call of the program. The site is made when a command first asks for it.

    :param docroot: as it was typed.
    :ivar selection: which schedules ``list`` is to show; None for all.
    """

    def __init__(self, docroot: str) -> None:
        self.docroot = docroot
        self.paper = Paper.of(sys.stdout)
        self.selection: Selection | None = None
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

    def to_act(self) -> Site:
        """Return the site for a command that changes something.

        :raises ConfigError: dracotask.toml is broken; WrongUser: the site is somebody else's.
        """
        if self.config.problem:
            raise ConfigError(self.config.problem)
        self.state.check_user()
        return self.site

    def zone(self) -> ZoneInfo:
        """Return the zone in which moments are told: the site's, or UTC where that makes no sense."""
        name, _ = site_zone(self.config.timezone)
        return ZoneInfo(name if is_zone(name) else "UTC")

    def command(self, *words: str) -> str:
        """Return the command line that says ``words``, to be copied."""
        return " ".join([program(), shlex.quote(self.docroot), *map(shlex.quote, words)])


def program() -> str:
    """Return how the program was called, in short where the shell would find it."""
    called = sys.argv[0] if sys.argv else NAME
    name = os.path.basename(called)
    if name == "__main__.py":
        return "python -m dracotask"
    found = shutil.which(name)
    if found and os.path.exists(called) and os.path.samefile(found, called):
        return shlex.quote(name)
    return shlex.quote(called or NAME)
