"""Which time zone a site lives in: an IANA name that every process and host can be told."""

from __future__ import annotations

import os


def site_zone(configured: str | None) -> tuple[str, str | None]:
    """Return the name of the site's zone, and a warning when it had to be guessed.

    It is resolved once, when the task file is loaded, and stands in the text of each trigger: so
    cron's environment and the web server's name the same moments.

    :param configured: the key ``timezone``; None to ask the server: $TZ, /etc/timezone, /etc/localtime.
    """
    if configured:
        return configured, None
    for name in (_from_environment(), _from_file(), _from_link()):
        if name and is_zone(name):
            return name, None
    return "UTC", 'no time zone found on this server: UTC it is. Set timezone = "Europe/Paris" or the like.'


def is_zone(name: str) -> bool:
    """Tell whether ``name`` is a zone that this Python knows."""
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _from_environment() -> str | None:
    return os.environ.get("TZ", "").lstrip(":") or None


def _from_file() -> str | None:
    try:
        with open("/etc/timezone", encoding="ascii") as file:
            return file.readline().strip() or None
    except (OSError, ValueError):
        return None


def _from_link() -> str | None:
    _, found, name = os.path.realpath("/etc/localtime").partition("/zoneinfo/")
    return name.removeprefix("posix/").removeprefix("right/") if found else None
