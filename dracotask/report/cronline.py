"""The one line of cron that a site needs, with every path in full."""

from __future__ import annotations

import os
import pwd
import shlex

from ..web.spawn import entry_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk


def cron_line(desk: Desk) -> str:
    """Return the line of a crontab that looks once a minute for what is due."""
    docroot = desk.site.docroot
    command = shlex.join([*entry_point(docroot), docroot, "due"])
    return f"* * * * * {command.replace('%', chr(92) + '%')}"  # cron takes a bare % for a line end


def edit_crontab(owner: str) -> str:
    """Return the command that opens the crontab of the site's user."""
    if user_name(os.geteuid()) == owner:
        return "crontab -e"
    return f"{'' if os.geteuid() == 0 else 'sudo '}crontab -u {shlex.quote(owner)} -e"


def site_owner(desk: Desk) -> str:
    """Return the name of the one user of the site."""
    for path in (desk.state.path, desk.site.docroot):
        try:
            return user_name(os.stat(path).st_uid)
        except OSError:
            continue
    return user_name(os.geteuid())


def user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"
