"""Moments and lengths of time, and their texts.

Every moment inside dracotask is aware and in UTC: whatever comes from outside passes `as_utc` once.
Lengths of time are timedeltas; people write them as ``90s`` or ``1h30m``, and read them in words.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import UTC as UTC
    from datetime import datetime as datetime
    from datetime import timedelta as timedelta
else:
    try:
        # The same classes; up to Python 3.11 ``datetime`` brings a second set, in Python, that each run would pay for.
        from _datetime import datetime, timedelta, timezone
    except ImportError:
        from datetime import datetime, timedelta, timezone

    UTC = timezone.utc  # noqa: UP017

#: Milliseconds in each unit that a duration may be written in, the largest first.
UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

#: No sensible duration is longer than this; it bounds the work done for one that is not sensible.
MAX_TEXT = 40


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC.

    :raises ValueError: when it is naive, for it could be any of some forty moments.
    """
    if moment.utcoffset() is None:
        text = moment.isoformat()
        raise ValueError(f"{text} has no offset: write {text}+00:00 if it is UTC.")
    return moment.astimezone(UTC)


def to_text(moment: datetime) -> str:
    """Return the moment as text of a fixed width, which sorts as the moments do."""
    return as_utc(moment).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """Return the moment that `to_text` wrote, or any other ISO text that has an offset.

    :raises ValueError: when it is no moment, or a naive one.
    """
    return as_utc(datetime.fromisoformat(text))


def is_within(span: timedelta, since: str, now: datetime) -> bool:
    """Tell whether ``now`` lies within ``span`` of a written moment; one that is in the future was a wrong clock's."""
    return timedelta() <= now - from_text(since) < span


def last_until(next_after: Callable[[datetime], datetime | None], known: datetime, moment: datetime) -> datetime:
    """Return the last fire time up to ``moment``, found by bisection.

    Bisection needs some thirty questions for a year of missed seconds; counting them one
    by one would need thirty million.

    :param next_after: a trigger's.
    :param known: a fire time not later than ``moment``.
    """
    upper = moment
    while (following := next_after(known)) is not None and following <= moment:
        known = following
        middle = known + (upper - known) / 2
        while middle > known:
            candidate = next_after(middle)
            if candidate is not None and candidate <= moment:
                known = candidate
                break
            upper = middle
            middle = known + (upper - known) / 2
    return known


def rfc3339(moment: datetime) -> str:
    """Return the moment as ``2026-11-21T04:00:00Z``, with a fraction only if it has one."""
    return as_utc(moment).isoformat().removesuffix("+00:00") + "Z"


def parse_duration(value: str | float | timedelta) -> timedelta:
    """Return a length of time given as ``90s``, ``1h30m``, a number of seconds or a timedelta.

    Units are w, d, h, m, s and ms, each at most once and the largest first. Text without a unit is
    seconds, since an environment variable knows no numbers.

    :raises ValueError: when it is none of these, negative, or longer than a timedelta can be.
    """
    try:
        duration = _duration(value)
    except (ValueError, OverflowError) as error:
        remedy = "write '90s', '15m', '1h30m', '1d' or a number of seconds"
        raise ValueError(f"{value!r:.60} is not a length of time: {remedy}.") from error
    if duration < timedelta():
        raise ValueError(f"{value!r:.60} is negative: a length of time is not.")
    return duration


def moment_of(value: str | float | timedelta | datetime, now: datetime) -> datetime:
    """Return a moment that was said as such, or as a length of time from ``now``: ``2h``, 90, ``2027-01-01T00:00Z``.

    :raises ValueError: it is neither, or naive.
    """
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, str) and "-" in value[1:]:
        return from_text(value)
    try:
        return now + parse_duration(value)
    except OverflowError:
        raise ValueError(f"{value!r:.60} from now is beyond the years there are.") from None


def format_duration(duration: timedelta) -> str:
    """Return a length of time in the largest unit that divides it, as `parse_duration` reads it.

    Exact to the microsecond: an hour and a half is ``90m``, and half a second ``0.5s``.
    """
    microseconds = duration // timedelta(microseconds=1)
    for unit, milliseconds in UNITS.items():
        count, rest = divmod(microseconds, milliseconds * 1_000)
        if count and not rest and unit != "ms":
            return f"{count}{unit}"
    sign, (whole, fraction) = "-" * (microseconds < 0), divmod(abs(microseconds), 1_000_000)
    return f"{sign}{whole}.{fraction:06d}".rstrip("0").rstrip(".") + "s"


def in_words(seconds: float) -> str:
    """Return a length of time for people, as exact as they need it: ``0.8s``, ``1m 48s``, ``3 days``."""
    if seconds < 0:
        return f"-{in_words(-seconds)}"
    if 0 < seconds < 0.1:
        return f"{max(seconds * 1000, 1):.0f}ms"
    # Rounded before it is compared, or 59.7 seconds would read as 60s.
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole, minutes = round(seconds), round(seconds / 60)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _pair(whole, "m", "s")
    return _pair(minutes, "h", "m") if minutes < 48 * 60 else f"{minutes // 1440} days"


def _pair(count: int, large: str, small: str) -> str:
    """Return two neighbouring units, sixty of the one in the other; nothing is said of zero."""
    upper, lower = divmod(count, 60)
    return f"{upper}{large} {lower}{small}" if lower else f"{upper}{large}"


def _duration(value: object) -> timedelta:
    """Return any accepted value as a timedelta, perhaps a negative one."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return timedelta(microseconds=_microseconds(value))
    # True is an int to Python, and a mistake to everybody else.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a {type(value).__name__}")
    return timedelta(seconds=value)


def _microseconds(text: str) -> int:
    """Return the microseconds in a text such as ``1h 30m``; in integers, so that nothing is rounded."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise ValueError("empty or too long")
    words = text.lower().split()
    if len(words) == 1 and not words[0].strip("0123456789."):
        words[0] += "s"
    total, units = 0, list(UNITS)
    for word in words:
        while word:
            size = next((i for i, char in enumerate(word) if char not in "0123456789."), len(word) - 1)
            unit = "ms" if word.startswith("ms", size) else word[size]
            # Looked up among the smaller units only: 30m1h and 1m1m are slips of the pen.
            units = units[units.index(unit) + 1 :]
            total += _scaled(word[:size], UNITS[unit] * 1_000)
            word = word[size + len(unit) :]
    return total


def _scaled(number: str, scale: int) -> int:
    """Return a decimal number times ``scale``, less what is smaller than one."""
    whole, _, fraction = number.partition(".")
    return int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
