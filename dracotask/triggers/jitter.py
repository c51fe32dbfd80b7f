"""Jitter: a rule whose fire times are put off a little, each by its own, so that not all the world calls at four.

By how much is not left to chance but drawn from the fire time and a seed, the name of the schedule as a rule. So
every host, and every look, names the same moment.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..clock import as_utc, format_duration, last_until, parse_duration
from ..errors import BadTrigger
from .base import Trigger
from .clocks import INSTANT
from .grammar import all_within, unwrap
from .search import bounded, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: More than this is another rule.
LONGEST = timedelta(days=1)

#: Longer seeds say nothing more.
LONGEST_SEED = 200


class JitterTrigger(Trigger):
    """Fire up to ``jitter`` later than ``trigger`` does, but before it fires again.

    The rule itself knows nothing of it, so nothing drifts: ``every 1h`` stays on the hour, and a time in a fold stays
    there.

    :param jitter: what no delay reaches; from a millisecond to a day, as in ``parse_duration``.
    :param seed: what the delays are drawn from. Of two rules with the same seed, both wait as long at the same moment.
    :param trigger: without jitter of its own.
    :raises BadTrigger: when one of them makes no sense.
    """

    __slots__ = ("jitter", "seed", "trigger")

    def __init__(self, jitter: str | float | timedelta, seed: str, trigger: Trigger) -> None:
        self.jitter, self.seed, self.trigger = parse_jitter_length(jitter), seed_of(seed), trigger
        if any(isinstance(part, JitterTrigger) for part in all_within(trigger)):
            raise BadTrigger(f"jitter within jitter, in '{str(self)[:200]}', is one too many.")

    @bounded
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time later than ``moment``, or None when there is none any more."""
        moment = as_utc(moment)
        first = self._next(_earlier(moment, self.jitter))
        if first is None or first > moment:
            return self._delayed(first)
        # Of all that are not later than now, the last may still be put off to a moment to come.
        last = last_until(self._next, first, moment)
        put_off = self._delayed(last)
        return put_off if put_off is None or put_off > moment else self._delayed(self._next(last))

    def put_off_from(self, fire_time: datetime) -> datetime:
        """Return the moment that the rule within has named for a fire time."""
        first = self.trigger.next_after(_earlier(fire_time, self.jitter))
        return fire_time if first is None else last_until(self.trigger.next_after, first, fire_time)

    def _next(self, moment: datetime) -> datetime | None:
        return step(self.trigger, moment)

    def _delayed(self, fire_time: datetime | None) -> datetime | None:
        """Return the fire time as it is put off, before the one that follows."""
        if fire_time is None:
            return None
        following = self._next(fire_time)
        room = self.jitter if following is None else min(self.jitter, following - fire_time)
        return fire_time + _share(self.seed, fire_time, room // INSTANT) * INSTANT

    def __str__(self) -> str:
        return f"jitter {format_duration(self.jitter)} {self.seed} ({self.trigger})"


def _earlier(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _share(seed: str, fire_time: datetime, count: int) -> int:
    """Return a number below ``count``, at random to the eye and always the same."""
    # hashlib would bring OpenSSL along, which is as much as a tenth of a bare start.
    from _blake2 import blake2b

    drawn = blake2b(f"{seed} {fire_time.isoformat()}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(drawn, "big") * count >> 64


def parse_jitter_length(value: str | float | timedelta) -> timedelta:
    """Return by how much a rule is put off at most.

    :raises BadTrigger: when it is no length of time, or out of bounds.
    """
    try:
        jitter = parse_duration(value)
    except ValueError as error:
        raise BadTrigger(f"jitter={error}") from error
    if not timedelta(milliseconds=1) <= jitter <= LONGEST:
        raise BadTrigger(f"jitter={value!r:.60} is out of bounds: from a millisecond to a day.")
    return jitter


def seed_of(name: str) -> str:
    """Return a name as one word without parentheses, as it stands in a trigger's text."""
    if not isinstance(name, str) or not name.strip():
        raise BadTrigger(f"seed {name!r:.60} cannot be: it is a name.")
    letters = (letter if letter.isprintable() and letter not in " ()|" else "_" for letter in name.strip())
    return "".join(letters)[:LONGEST_SEED]


def parse_jitter(text: str, parse: Callable[[str], Trigger]) -> JitterTrigger:
    """Return the trigger that was written as ``jitter 30s SEED (T)``."""
    (jitter, seed), trigger = unwrap(text, 2, "jitter 30s Report (cron 0 4 * * * UTC)", parse)
    return JitterTrigger(jitter, seed, trigger)
