"""Moments and lengths of time as a test says them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from ..clock import as_utc


def moment_said(said: object, zone: str) -> datetime:
    """Return a moment in UTC that is said as a datetime or as ISO text; one without an offset is in ``zone``.

    :raises ValueError: it is none.
    """
    try:
        moment = datetime.fromisoformat(said.strip()) if isinstance(said, str) else said
        if isinstance(moment, datetime):
            return as_utc(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{said!r:.60} is no moment: write '2027-01-31 14:00', 2027-01-31T14:00+01:00, or a datetime.")
