"""What every command is handed: the site, the paper to print on, and how it was called."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from ..errors import ConfigError
from ..report.desk import NAME as NAME
from ..report.desk import Desk
from .output import Paper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..site import Site
    from .listing import Selection


class Invocation(Desk):
    """One call of the program.

    :param docroot: as it was typed.
    :ivar selection: which schedules ``list`` is to show; None for all.
    """

    def __init__(self, docroot: str) -> None:
        super().__init__(docroot, program=program())
        self.paper = Paper.of(sys.stdout)
        self.selection: Selection | None = None

    def to_act(self) -> Site:
        """Return the site for a command that changes something.

        :raises ConfigError: dracotask.toml is broken; WrongUser: the site is somebody else's.
        """
        if self.config.problem:
            raise ConfigError(self.config.problem)
        self.state.check_user()
        return self.site


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
