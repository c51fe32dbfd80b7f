"""``simulate``: what would run in the days to come, with this traffic, and what would not."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from ..clock import in_words, parse_duration, rfc3339, utc_now
from ..errors import ControlError, StoreMissing
from ..report.reading import open_to_read, run_as_json
from ..said import at_said
from ..testing import Simulation, simulate
from ..visible import visible_line
from .output import print_json
from .tables import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .invocation import Invocation

#: So many rows are told in full, and stand in the JSON at most.
FEW, MANY = 10, 10_000


def print_simulation(
    invocation: Invocation,
    *,
    days: str,
    since: str | None,
    traffic: str,
    downtime: Sequence[str],
    durations: Sequence[str],
    name: str | None,
    as_json: bool,
) -> None:
    """Simulate the site as it is now, and tell what happens.

    :raises DracotaskError, ValueError: an argument makes no sense.
    """
    zone, now = invocation.zone(), utc_now()
    start = now.replace(microsecond=0) if since is None else at_said(since, now, zone, option="--from")
    try:
        found = simulate(
            invocation.site.docroot, traffic, start, _days(days),
            downtime=[_pair(words, "/", "--downtime", "FROM/TO") for words in downtime],
            durations=dict(_pair(words, "=", "--duration", "TASK=LENGTH") for words in durations),
            timezone=zone.key, as_it_is=_was_loaded(invocation),
        )  # fmt: skip
        part = found if name is None else found.of(name)
    except (ValueError, TypeError) as error:
        raise ControlError(str(error)) from error
    if as_json:
        print_json(_as_json(part))
    else:
        _print(invocation, part, zone)


def _was_loaded(invocation: Invocation) -> bool:
    """Tell whether there is a store, with what was added and held; else the task file alone is simulated."""
    try:
        with open_to_read(invocation) as store:
            return bool(store.schedules())
    except StoreMissing:
        return False


def _days(text: str) -> float:
    """Return a number of days, said as such or as a length of time."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parse_duration(text) / timedelta(days=1)
    except ValueError:
        raise ControlError(f"--days: {text!r:.60} is no number of days: write 30, or 12h.") from None


def _pair(words: str, sign: str, option: str, example: str) -> tuple[str, str]:
    first, is_one, second = words.partition(sign)
    if not is_one or not first or not second:
        raise ControlError(f"{option}: {words!r:.60} is none: write {example}.")
    return first, second


def _print(invocation: Invocation, found: Simulation, zone: ZoneInfo) -> None:
    paper = invocation.paper
    head = f"{found.on_clock(found.start)} to {found.on_clock(found.end)} ({zone.key}), traffic: {found.traffic}"
    print(visible_line(head))
    for note in found.notes:
        print(visible_line(f"! {note}"))
    summaries = found.summaries()
    table = {
        "TASK": [visible_line(each.name) for each in summaries],
        "RUNS": [str(each.runs) for each in summaries],
        "SKIPPED": [str(each.skipped) for each in summaries],
        "MISSED": [str(each.missed) for each in summaries],
        "LATE": [_late(each.lateness.mean) for each in summaries],
        "AT WORST": [_late(each.lateness.worst) for each in summaries],
    }
    for line in render(table, ["" for _ in summaries], paper):
        print(line)
    if len(found.rows):
        print()
    for run in found.rows[:FEW]:
        print(visible_line(f"  {found.in_words(run)}"))
    if len(found.rows) > FEW:
        print(paper.paint(f"  {paper.dots()} {len(found.rows) - FEW} more", "dim"))


def _late(span: timedelta) -> str:
    return in_words(span.total_seconds()) if span else "-"


def _as_json(found: Simulation) -> dict[str, Any]:
    return {
        "start": rfc3339(found.start),
        "end": rfc3339(found.end),
        "timezone": found.zone,
        "traffic": found.traffic,
        "tasks": [
            {
                "name": each.name,
                "runs": each.runs,
                "states": {state: number for state, number in each.states.items() if number},
                "skipped": each.skipped,
                "missed": each.missed,
                "late_mean": each.lateness.mean.total_seconds(),
                "late_worst": each.lateness.worst.total_seconds(),
            }
            for each in found.summaries()
        ],
        "rows": [run_as_json(run) for run in found.rows[:MANY]],
        "notes": found.notes,
        "rows_left_out": max(len(found.rows) - MANY, 0),
    }
